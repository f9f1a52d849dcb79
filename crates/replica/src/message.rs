//! What shards and core tell each other. Batches are opaque to drivers: they carry them, in order,
//! and may hand emptied ones back for another use.

use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::{OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::{Identity, WatchKind, WatchWanted};

use crate::close::CloseReason;
use crate::ids::{ConnectionKey, SessionKey, ShardId};
use crate::watch::OneShot;

/// What one shard tells the core, in the order in which its connections said it.
#[derive(Debug, Default)]
pub struct SubmissionBatch {
    pub(crate) shard: ShardId,
    pub(crate) entries: Vec<Submission>,
    /// The bodies of the requests.
    pub(crate) bytes: Vec<u8>,
    pub(crate) touches: Vec<Touch>,
    /// No session of this shard was heard of up to here but those in `touches` of this and of
    /// earlier batches.
    pub(crate) touched_up_to_ms: Option<u64>,
}

impl SubmissionBatch {
    /// Whether there is nothing to carry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.touches.is_empty() && self.touched_up_to_ms.is_none()
    }

    /// Empties the batch and keeps its memory, if that is not much.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.touches.clear();
        self.touched_up_to_ms = None;
        self.bytes.clear();
        if self.bytes.capacity() > BATCH_BYTES_KEPT_MAX {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn push_body(&mut self, body: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(body);
        start..self.bytes.len()
    }
}

/// An emptied batch keeps at most this many bytes.
const BATCH_BYTES_KEPT_MAX: usize = 256 << 10;

/// A session was heard of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touch {
    pub(crate) session: SessionKey,
    pub(crate) at_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) connection: ConnectionKey,
    /// When the request was received, by the monotonic clock.
    pub(crate) received_us: u64,
    pub(crate) kind: SubmissionKind,
}

#[derive(Debug)]
pub(crate) enum SubmissionKind {
    /// A write or sync, or a read that waited behind a write and travels with the next one.
    Request(RequestSubmission),
    /// The handshake of a connection.
    Connect(Box<ConnectSubmission>),
    /// The connection is gone.
    Closed { session: SessionKey },
}

#[derive(Debug)]
pub(crate) struct RequestSubmission {
    pub(crate) session: SessionKey,
    pub(crate) xid: Xid,
    pub(crate) op: OpCode,
    pub(crate) body: Range<usize>,
    pub(crate) identities: Arc<[Identity]>,
    /// Whether it is answered from the tree and only travels with the write after it.
    pub(crate) read: bool,
    /// Whether its bytes count as those of a large request.
    pub(crate) large: bool,
}

#[derive(Debug)]
pub(crate) struct ConnectSubmission {
    pub(crate) last_zxid_seen: Zxid,
    pub(crate) timeout_ms: i32,
    pub(crate) session_id: SessionId,
    /// `None` where the client's password has not 16 bytes.
    pub(crate) password: Option<[u8; 16]>,
    /// `None` from clients that leave it out; the reply then leaves it out too.
    pub(crate) read_only: Option<bool>,
}

/// What the core tells one shard, in order.
#[derive(Debug)]
pub struct DeliveryBatch {
    pub(crate) shard: ShardId,
    /// The number of this batch among those that applying made for the shard, from 1; 0 for
    /// batches of [`crate::Core::step`].
    pub(crate) sequence: u64,
    pub(crate) entries: Vec<Delivery>,
    /// The frames of the replies, complete.
    pub(crate) bytes: Vec<u8>,
}

impl DeliveryBatch {
    pub(crate) fn new(shard: ShardId) -> Self {
        DeliveryBatch { shard, sequence: 0, entries: Vec::new(), bytes: Vec::new() }
    }

    /// The shard that it is for.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) connection: ConnectionKey,
    /// The place in the change log at which the reply was made: all changes before it, and none
    /// after it, become events before the reply.
    pub(crate) position: u64,
    /// The frame to send, in the batch's bytes.
    pub(crate) frame: Range<usize>,
    pub(crate) kind: DeliveryKind,
}

#[derive(Debug)]
pub(crate) enum DeliveryKind {
    /// The answer to a submitted request.
    Reply {
        op: OpCode,
        received_us: u64,
        /// Whether it was a read that travelled with a write.
        read: bool,
        /// A watch that the read leaves.
        watch: Option<Box<LeftWatch>>,
    },
    /// The session stands; the frame is the connect response.
    Connected {
        session: SessionKey,
        session_id: SessionId,
        timeout_ms: i32,
        /// When a new session was asked for; `None` for one that is resumed.
        created_us: Option<u64>,
    },
    /// Send the frame, if there is one, and close.
    Close(CloseReason),
    /// The server does not serve any longer: close every connection that asked for a session.
    CloseAll {
        /// Why.
        reason: CloseReason,
        /// Whether no later connection may ask for one either; otherwise the core refuses those.
        for_good: bool,
    },
}

/// A one-shot watch that a read left.
#[derive(Debug)]
pub(crate) struct LeftWatch {
    pub(crate) path: Box<str>,
    pub(crate) watch: OneShot,
}

impl From<WatchWanted<'_>> for LeftWatch {
    fn from(wanted: WatchWanted<'_>) -> Self {
        let watch = match wanted.kind {
            WatchKind::Data => OneShot::Data,
            WatchKind::Child => OneShot::Child,
        };
        LeftWatch { path: wanted.path.as_ref().into(), watch }
    }
}
