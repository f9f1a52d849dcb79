//! What is between taking up a request and answering it, in one order for all sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::{ErrorCode, OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::Identity;
use rookeeper_zab::Segment;
use rookeeper_zab::links::ConnectionId;

use crate::ids::{ConnectionKey, SessionKey};
use crate::shared::Shared;

/// One step of the pipeline. All but transactions are done when everything before them is.
#[derive(Debug)]
pub(super) enum Item {
    /// A transaction, prepared and on its way to the log.
    Txn { zxid: Zxid, reply: Reply },
    /// A request that is answered from the tree: the sync of a server that stands alone, or a read
    /// that travels with the write after it.
    Read(Box<ReadItem>),
    /// A sync, to be answered once this server's view is known to be the latest.
    Sync { ticket: u64, read: Box<ReadItem> },
    /// A request that is answered with an error and changes nothing.
    Refused(Box<RequestReply>, ErrorCode),
    /// The end of a session that only this server knows of: no transaction says so.
    CloseLocal(Box<RequestReply>, SessionId),
    /// A session resumed on a new connection, which may rely on all that was asked before.
    Resumed(Box<Connected>),
}

/// Who waits for a transaction.
#[derive(Debug)]
pub(super) enum Reply {
    /// Nobody: the server itself asked for it.
    None,
    /// A client's request.
    Request(RequestReply),
    /// The handshake of a new session.
    Connect(Box<Connected>),
    /// A learner, which hears of the transaction anyway; what the request counts for, in bytes.
    Learner(ConnectionId, usize),
}

/// A request that waits for its transaction.
#[derive(Debug)]
pub(super) struct RequestReply {
    pub(super) connection: ConnectionKey,
    pub(super) xid: Xid,
    pub(super) op: OpCode,
    pub(super) received_us: u64,
    /// Whether it is a read that travels with a write, and counts for nothing in the load.
    pub(super) travels: bool,
    /// What it counts for in the load.
    pub(super) bytes: usize,
    pub(super) large: bool,
}

impl RequestReply {
    /// The request is answered, or dropped: it counts no longer.
    pub(super) fn release(&self, shared: &Shared) {
        if !self.travels {
            shared.load.remove(self.bytes, self.large);
        }
    }
}

impl Reply {
    /// Nobody will be told: what waited counts no longer.
    pub(super) fn release(&self, shared: &Shared) {
        match self {
            Reply::None | Reply::Learner(..) => {}
            Reply::Request(reply) => reply.release(shared),
            Reply::Connect(_) => shared.load.remove(0, false),
        }
    }
}

impl Item {
    /// Nobody will be told: what waited counts no longer.
    pub(super) fn release(&self, shared: &Shared) {
        match self {
            Item::Txn { reply, .. } => reply.release(shared),
            Item::Read(read) | Item::Sync { read, .. } => read.reply.release(shared),
            Item::Refused(reply, _) | Item::CloseLocal(reply, _) => reply.release(shared),
            Item::Resumed(_) => shared.load.remove(0, false),
        }
    }
}

#[derive(Debug)]
pub(super) struct ReadItem {
    pub(super) reply: RequestReply,
    pub(super) session: SessionId,
    pub(super) body: Box<[u8]>,
    pub(super) identities: Arc<[Identity]>,
}

/// A session that stands.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: ConnectionKey,
    pub(super) session: SessionKey,
    pub(super) session_id: SessionId,
    pub(super) timeout_ms: i32,
    pub(super) read_only: Option<bool>,
    /// When a new session was asked for; `None` for one that is resumed.
    pub(super) created_us: Option<u64>,
}

/// Segments whose transactions are not all applied, in order.
#[derive(Debug, Default)]
pub(super) struct Segments {
    queue: VecDeque<Arc<Segment>>,
    /// How many transactions of the first one were taken.
    taken: usize,
}

impl Segments {
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.queue.push_back(segment);
    }

    /// Shows the transactions after one zxid and through another, as far as they are not applied.
    pub(super) fn each(&self, after: Zxid, through: Zxid, mut show: impl FnMut(&[u8])) {
        let first = self.queue.partition_point(|segment| segment.last_zxid() <= after);
        for segment in self.queue.range(first..) {
            if segment.first_zxid() > through {
                return;
            }
            let records = segment.records().skip_while(|(zxid, _)| *zxid <= after);
            records.take_while(|(zxid, _)| *zxid <= through).for_each(|(_, txn)| show(txn));
        }
    }

    /// The segment of the next transaction and the place in it.
    ///
    /// # Panics
    /// If there is none: what is durable was handed to the disk before.
    pub(super) fn take(&mut self) -> (Arc<Segment>, usize) {
        let segment =
            self.queue.front().expect("a durable transaction stands in a segment").clone();
        let at = self.taken;
        self.taken += 1;
        if self.taken == segment.len() {
            self.queue.pop_front();
            self.taken = 0;
        }
        (segment, at)
    }
}
