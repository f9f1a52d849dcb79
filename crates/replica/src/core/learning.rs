//! What a learner does for its clients (Java: `FollowerRequestProcessor`, `CommitProcessor`,
//! `LearnerZooKeeperServer`): writes are checked, queued and forwarded; the leader's proposals are
//! matched to them and take the same way through the pipeline as on a server that prepares them.
//!
//! A proposal is matched when it comes, not when it is committed. What was forwarded before a
//! session moved here has its proposals before the answer that lets the session in, so a client
//! that starts its request numbers anew is not taken for what it was before. An observer hears of
//! transactions when they are committed: a leader of ours holds its answer back until then, one of
//! Java's does not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::apply::record;
use rookeeper_tree::prepare::check_body;
use rookeeper_zab::{Forward, Segment};

use super::admit::Write;
use super::pipeline::{Connected, Item, ReadItem, Reply, RequestReply};
use super::sessions::Owner;
use super::{Core, CoreEffect, CoreInput};
use crate::close::CloseReason;
use crate::ids::Now;
use crate::shared::Shared;

/// What a learner knows beside what every server knows.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// What each session asked for from its first write on that no proposal answers yet.
    queues: BTreeMap<SessionId, VecDeque<Waiting>>,
    /// How much stands in all queues.
    queued: usize,
    /// The sessions of the forwarded syncs that are not answered, oldest first.
    syncs: VecDeque<SessionId>,
    /// Connections that wait for the leader's word on their session.
    revalidations: BTreeMap<SessionId, VecDeque<Connected>>,
    /// A snapshot became due before this server was synchronised.
    snapshot_due: bool,
    /// The leader sent what cannot be read: nothing more is taken from it.
    broken: bool,
}

/// One request in a session's queue.
#[derive(Debug)]
enum Waiting {
    /// Forwarded; its transaction comes as a proposal.
    Write { cxid: Xid, op: OpCode, reply: Reply },
    /// Forwarded; the leader answers it.
    Sync { ticket: u64, read: Box<ReadItem> },
    /// To be answered in its turn.
    Ready(Item),
}

impl Waiting {
    /// Whether a transaction is what this request became. One that does nothing does not say what
    /// it was.
    fn became(&self, header: &TxnHeader) -> bool {
        let Waiting::Write { cxid, op, .. } = self else { return false };
        let same_op = header.txn_type == op.to_i32();
        *cxid == header.cxid && (same_op || header.txn_type == OpCode::Error.to_i32())
    }
}

impl Learning {
    /// Requests that wait for the leader, or behind one that does.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Nobody will be told: what waited counts no longer.
    pub(super) fn release(&mut self, shared: &Shared) {
        for waiting in std::mem::take(&mut self.queues).into_values().flatten() {
            match waiting {
                Waiting::Write { reply, .. } => reply.release(shared),
                Waiting::Sync { read, .. } => read.reply.release(shared),
                Waiting::Ready(item) => item.release(shared),
            }
        }
        for _ in std::mem::take(&mut self.revalidations).into_values().flatten() {
            shared.load.remove(0, false);
        }
        self.queued = 0;
        self.syncs.clear();
    }

    fn push(&mut self, session: SessionId, waiting: Waiting) {
        self.queued += 1;
        self.queues.entry(session).or_default().push_back(waiting);
    }

    /// Takes the oldest request of a session out of its queue.
    fn pop(&mut self, session: SessionId) -> Option<Waiting> {
        let queue = self.queues.get_mut(&session)?;
        let waiting = queue.pop_front()?;
        self.queued -= 1;
        if queue.is_empty() {
            self.queues.remove(&session);
        }
        Some(waiting)
    }
}

impl Core {
    /// Takes an input that only a learner gets.
    pub(super) fn told_as_learner(
        &mut self,
        now: Now,
        input: CoreInput,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        match input {
            CoreInput::Proposals(segment) => {
                self.count_proposals(now, &segment);
                self.proposed(&segment, shared, effects);
            }
            CoreInput::Committed(zxid) => self.committed(now, zxid.min(self.prepared)),
            CoreInput::Serve { epoch } => {
                self.open = true;
                self.whole_after = Some(self.prepared);
                let start = Zxid(epoch << 32);
                self.begin_epoch = Some(start);
                if start > self.prepared {
                    self.logged_before = self.last_logged();
                    self.prepared = start;
                }
                if std::mem::take(&mut self.learning.snapshot_due) {
                    self.snapshot_due(effects);
                }
            }
            CoreInput::Revalidated { session, valid } => {
                self.revalidated(now, session, valid, shared);
            }
            CoreInput::SyncDone => {
                if let Some(session) = self.learning.syncs.pop_front() {
                    self.syncs_done += 1;
                    self.release_ready(session);
                }
            }
            CoreInput::TouchesWanted => {
                effects.push(CoreEffect::Touches(self.sessions.take_touches()));
            }
            input => unreachable!("a learner was told {input:?}"),
        }
    }

    /// A snapshot is due, and the log to be rolled first. Before this server is synchronised that
    /// waits: an installation may be under way.
    pub(super) fn snapshot_due(&mut self, effects: &mut Vec<CoreEffect>) {
        if self.open {
            effects.push(CoreEffect::Roll);
            self.begin_snapshot(effects);
        } else {
            self.learning.snapshot_due = true;
        }
    }

    /// Takes up what the leader proposes: all of a segment, or nothing if one of its transactions
    /// cannot be read.
    fn proposed(&mut self, segment: &Arc<Segment>, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        if self.learning.broken {
            return;
        }
        let mut headers = Vec::with_capacity(segment.len());
        for (zxid, txn) in segment.records() {
            match record::decode(txn) {
                Ok(decoded) if decoded.header.zxid == zxid => headers.push(decoded.header),
                _ => {
                    self.learning.broken = true;
                    return effects.push(CoreEffect::ProposalUnreadable(zxid));
                }
            }
        }
        let mut due = false;
        for (at, header) in headers.iter().enumerate() {
            let zxid = header.zxid;
            assert!(zxid > self.prepared, "a learner passes each proposal on once, in order");
            self.prepared = zxid;
            let reply = self.matched(header, shared);
            let matched = !matches!(reply, Reply::None);
            self.pipeline.push_back(Item::Txn { zxid, reply });
            if matched {
                self.release_ready(header.client_id);
            }
            due |= self.snapshots.appended(segment.record(at).len(), &mut self.lot);
        }
        self.segments.push(segment.clone());
        effects.push(CoreEffect::Append(segment.clone()));
        if due {
            self.snapshot_due(effects);
        }
    }

    /// Who waits for a transaction; what its session asked for before it goes into the pipeline
    /// first. A request that a later one has passed was lost: its connection is closed.
    fn matched(&mut self, header: &TxnHeader, shared: &Shared) -> Reply {
        let session = header.client_id;
        let Some(queue) = self.learning.queues.get(&session) else { return Reply::None };
        let Some(at) = queue.iter().position(|waiting| waiting.became(header)) else {
            return Reply::None;
        };
        for _ in 0..at {
            match self.learning.pop(session).expect("it stands before the one that was found") {
                Waiting::Write { reply, .. } => self.passed(&reply, shared),
                Waiting::Sync { ticket, read } => {
                    self.pipeline.push_back(Item::Sync { ticket, read });
                }
                Waiting::Ready(item) => self.pipeline.push_back(item),
            }
        }
        match self.learning.pop(session) {
            Some(Waiting::Write { reply, .. }) => reply,
            _ => unreachable!("a transaction is matched to a write"),
        }
    }

    fn passed(&mut self, reply: &Reply, shared: &Shared) {
        reply.release(shared);
        let connection = match reply {
            Reply::None | Reply::Learner(..) => return,
            Reply::Request(reply) => reply.connection,
            Reply::Connect(connected) => connected.connection,
        };
        let position = shared.changes.position();
        self.outbox.close(connection, position, CloseReason::RequestLost);
    }

    /// Puts into the pipeline what stands first in a session's queue and waits for nothing more.
    fn release_ready(&mut self, session: SessionId) {
        loop {
            let front = self.learning.queues.get(&session).and_then(VecDeque::front);
            match front {
                Some(Waiting::Ready(_)) => {}
                Some(Waiting::Sync { ticket, .. }) if *ticket <= self.syncs_done => {}
                _ => return,
            }
            match self.learning.pop(session) {
                Some(Waiting::Ready(item)) => self.pipeline.push_back(item),
                Some(Waiting::Sync { read, .. }) => self.pipeline.push_back(Item::Read(read)),
                _ => unreachable!("looked at before"),
            }
        }
    }

    /// Puts what waits for no transaction behind all that its session asked for before.
    pub(super) fn behind(&mut self, session: SessionId, item: Item) {
        if self.learning.queues.contains_key(&session) {
            self.learning.push(session, Waiting::Ready(item));
        } else {
            self.pipeline.push_back(item);
        }
    }

    /// Forwards a client's write. One that cannot be decoded is answered here: a Java leader would
    /// log it under a zxid that is taken, and nobody would get beyond it.
    pub(super) fn forward_write(
        &mut self,
        write: &Write<'_>,
        reply: RequestReply,
        effects: &mut Vec<CoreEffect>,
    ) {
        if let Err(err) = check_body(write.op, write.body) {
            return self.behind(write.session, Item::Refused(Box::new(reply), err));
        }
        // What a multi is told comes from the leader, to which the session is an unknown one.
        if let Err(err) = write.ephemeral
            && write.op != OpCode::Multi
        {
            return self.behind(write.session, Item::Refused(Box::new(reply), err));
        }
        let reply = Reply::Request(reply);
        let waiting = Waiting::Write { cxid: write.cxid, op: write.op, reply };
        self.learning.push(write.session, waiting);
        let body = if write.op == OpCode::CloseSession { &[] } else { write.body };
        effects.push(CoreEffect::Forward(Forward {
            session: write.session,
            cxid: write.cxid,
            op: write.op.to_i32(),
            body: body.to_vec(),
            identities: write.identities.cloned(),
        }));
    }

    /// Forwards what this server itself asks for.
    pub(super) fn forward_own(
        &mut self,
        write: &Write<'_>,
        reply: Reply,
        effects: &mut Vec<CoreEffect>,
    ) {
        let waiting = Waiting::Write { cxid: write.cxid, op: write.op, reply };
        self.learning.push(write.session, waiting);
        effects.push(CoreEffect::Forward(Forward {
            session: write.session,
            cxid: write.cxid,
            op: write.op.to_i32(),
            body: write.body.to_vec(),
            identities: None,
        }));
    }

    /// Forwards a sync.
    pub(super) fn forward_sync(&mut self, read: Box<ReadItem>, effects: &mut Vec<CoreEffect>) {
        let ReadItem { reply, session, body, identities } = &*read;
        effects.push(CoreEffect::Forward(Forward {
            session: *session,
            cxid: reply.xid,
            op: reply.op.to_i32(),
            body: body.to_vec(),
            identities: Some(Arc::clone(identities)),
        }));
        let session = *session;
        self.syncs_asked += 1;
        self.learning.syncs.push_back(session);
        self.learning.push(session, Waiting::Sync { ticket: self.syncs_asked, read });
    }

    /// Asks the leader whether a session lives.
    pub(super) fn ask_to_resume(&mut self, resumed: Connected, effects: &mut Vec<CoreEffect>) {
        let (session, timeout_ms) = (resumed.session_id, resumed.timeout_ms);
        self.learning.revalidations.entry(session).or_default().push_back(resumed);
        effects.push(CoreEffect::Revalidate { session, timeout_ms });
    }

    /// The leader's word on the session of the connection that asked first.
    fn revalidated(&mut self, now: Now, session: SessionId, valid: bool, shared: &Shared) {
        let Some(waiting) = self.learning.revalidations.get_mut(&session) else { return };
        let Some(mut resumed) = waiting.pop_front() else { return };
        if waiting.is_empty() {
            self.learning.revalidations.remove(&session);
        }
        let Connected { connection, timeout_ms, read_only, .. } = resumed;
        let position = shared.changes.position();
        if !valid {
            return self.refuse_session(connection, position, read_only, shared);
        }
        if let Some(before) = self.sessions.connection(session) {
            self.outbox.close(before, position, CloseReason::ClientReconnect);
        }
        let now_ms = now.monotonic_ms();
        if self.sessions.find(session).is_none() {
            self.sessions.track(session, timeout_ms, now_ms);
        }
        match self.sessions.resume(session, Owner::Here(connection), timeout_ms, now_ms) {
            Ok(key) => {
                resumed.session = key;
                self.pipeline.push_back(Item::Resumed(Box::new(resumed)));
            }
            // Its end was asked for here, and the leader has not come to that yet.
            Err(()) => self.refuse_session(connection, position, read_only, shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::ErrorCode;

    use super::*;

    #[test]
    fn a_transaction_that_does_nothing_is_known_by_its_number_alone() {
        let waiting = Waiting::Write { cxid: Xid(7), op: OpCode::Create, reply: Reply::None };
        let header = |cxid, op: OpCode| TxnHeader {
            client_id: SessionId(1),
            cxid: Xid(cxid),
            zxid: Zxid(9),
            time_ms: 0,
            txn_type: op.to_i32(),
        };
        assert!(waiting.became(&header(7, OpCode::Create)));
        assert!(waiting.became(&header(7, OpCode::Error)));
        assert!(!waiting.became(&header(7, OpCode::SetData)));
        assert!(!waiting.became(&header(8, OpCode::Create)));
    }

    #[test]
    fn bodies_are_checked_before_they_leave() {
        assert_eq!(check_body(OpCode::Create, &[0, 0]), Err(ErrorCode::MarshallingError));
        assert_eq!(check_body(OpCode::CloseSession, &[]), Ok(()));
    }
}
