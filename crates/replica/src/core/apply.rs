//! Committed transactions into the tree, in slices, and the answers to whoever waits.

use rookeeper_jute::proto::ConnectResponse;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{ErrorCode, OpCode, SessionId, Zxid};
use rookeeper_tree::apply::LOOK_AHEAD;
use rookeeper_tree::{Applied, ReadRequest};

use super::figures::since_ms;
use super::pipeline::{Connected, Item, ReadItem, Reply, RequestReply};
use super::{ApplyProgress, Core, CoreEffect, HaltReason, State, password};
use crate::close::CloseReason;
use crate::ids::Now;
use crate::message::DeliveryKind;
use crate::reply;
use crate::shard::read_into;
use crate::shared::Shared;

/// A slice holds the write lock for about 250 microseconds: so many steps of the pipeline, changes
/// of single znodes or bytes of replies at most, but at least one step.
const SLICE_STEPS_MAX: usize = 256;
const SLICE_CHANGES_MAX: u64 = 1024;
const SLICE_REPLY_BYTES_MAX: usize = 256 << 10;

impl Core {
    /// Applies one slice of what is committed, under the write lock, and answers in order.
    pub fn apply(
        &mut self,
        now: Now,
        shared: &mut Shared,
        effects: &mut Vec<CoreEffect>,
    ) -> ApplyProgress {
        self.begin_epoch_when_due(shared);
        shared.trim_changes();
        let start = shared.changes.position();
        if shared.changes_are_full() {
            // A tick asks again; meanwhile the shard behind is woken.
            self.applying = false;
            effects.extend(shared.watching_shards().map(CoreEffect::Wake));
            return ApplyProgress::Done;
        }
        let mut steps = 0;
        while self.state != State::Halted && self.can_go_on() {
            let full = steps == SLICE_STEPS_MAX
                || shared.changes.position() - start >= SLICE_CHANGES_MAX
                || self.outbox.bytes_len() >= SLICE_REPLY_BYTES_MAX;
            if steps > 0 && full {
                break;
            }
            steps += 1;
            match self.pipeline.pop_front().expect("looked at before") {
                Item::Txn { zxid, reply } => self.apply_one(now, zxid, reply, shared, effects),
                item => self.answer(item, shared),
            }
        }
        self.begin_epoch_when_due(shared);
        if self.state != State::Halted {
            // There may be room in the pipeline for what a limit kept back.
            self.admit(now, shared, effects);
        }
        self.wake_watchers(start, shared, effects);
        self.outbox.flush(Some(shared), effects);
        self.tell_what_is_done(effects);
        if self.state != State::Halted && self.can_go_on() {
            return ApplyProgress::More;
        }
        self.applying = false;
        self.end_when_drained(effects);
        ApplyProgress::Done
    }

    /// Whether the next step of the pipeline waits for nothing any longer.
    pub(super) fn can_go_on(&self) -> bool {
        match self.pipeline.front() {
            Some(Item::Txn { zxid, .. }) => *zxid <= self.commit.ready(),
            Some(Item::Sync { ticket, .. }) => *ticket <= self.syncs_done,
            Some(_) => true,
            None => false,
        }
    }

    /// Whether all that was logged before the epoch is applied, and the tree has not been told of
    /// its start.
    pub(super) fn epoch_begins(&self) -> bool {
        let first = || {
            self.pipeline.iter().find_map(|item| match item {
                Item::Txn { zxid, .. } => Some(*zxid),
                _ => None,
            })
        };
        self.begin_epoch.is_some_and(|start| first().is_none_or(|zxid| zxid > start))
    }

    /// Clients that saw the epoch's start at one server must find no other one behind it.
    fn begin_epoch_when_due(&mut self, shared: &mut Shared) {
        if self.begin_epoch.is_some()
            && self.epoch_begins()
            && let Some(start) = self.begin_epoch.take()
        {
            shared.tree.begin_epoch(start);
        }
    }

    /// Answers what waits for no transaction; what makes too many bytes is left to
    /// [`Core::apply`].
    pub(super) fn answer_ready(&mut self, shared: &Shared) {
        while self.outbox.bytes_len() < SLICE_REPLY_BYTES_MAX {
            match self.pipeline.front() {
                None | Some(Item::Txn { .. }) => return,
                Some(Item::Sync { ticket, .. }) if *ticket > self.syncs_done => return,
                Some(_) => {}
            }
            let item = self.pipeline.pop_front().expect("looked at before");
            self.answer(item, shared);
        }
    }

    fn answer(&mut self, item: Item, shared: &Shared) {
        match item {
            Item::Read(read) | Item::Sync { read, .. } => self.answer_read(&read, shared),
            Item::Refused(reply, err) => {
                let zxid = shared.tree.last_processed_zxid();
                let position = shared.changes.position();
                reply.release(shared);
                self.reply(&reply, zxid, err, position, None);
            }
            Item::Resumed(connected) => self.connected(&connected, shared),
            Item::CloseLocal(reply, session) => self.close_local(&reply, session, shared),
            Item::Txn { .. } => unreachable!("a transaction is applied"),
        }
    }

    fn apply_one(
        &mut self,
        now: Now,
        zxid: Zxid,
        reply: Reply,
        shared: &mut Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let (segment, at) = self.segments.take();
        let ahead = at..segment.len().min(at + LOOK_AHEAD);
        if at.is_multiple_of(LOOK_AHEAD) && ahead.len() > 1 {
            shared.tree.look_ahead(ahead.map(|at| segment.record(at)));
        }
        if self.whole_after.is_some_and(|end| zxid > end) {
            shared.tree.end_overlap();
            self.whole_after = None;
        }
        let applied = match shared.tree.apply(segment.record(at), &mut shared.changes) {
            Ok(applied) => applied,
            Err(error) => return self.halt(HaltReason::Apply(error), effects),
        };
        assert_eq!(applied.header.zxid, zxid, "transactions are applied in their order");
        self.outstanding.applied(zxid);
        if shared.tree.is_whole() {
            shared.digests.applied(zxid, || shared.tree.digest());
        }
        if applied.digest_mismatch {
            self.figures.digest_mismatches += 1;
            effects.push(CoreEffect::DigestMismatch(zxid));
        }
        let age_ms = since_ms(now, applied.header.time_ms);
        self.figures.propagation_latency_ms.extend(age_ms);
        let position = shared.changes.position();
        match reply {
            Reply::Request(reply) => {
                reply.release(shared);
                self.answer_write(&reply, &applied, position);
            }
            Reply::Connect(connected) if applied.err == ErrorCode::Ok => {
                self.connected(&connected, shared);
            }
            Reply::Connect(connected) => {
                let Connected { connection, read_only, .. } = *connected;
                self.refuse_session(connection, position, read_only, shared);
            }
            Reply::Learner(learner, bytes) => self.done_for(learner, bytes),
            Reply::None => {}
        }
        if applied.header.txn_type == OpCode::CloseSession.to_i32() {
            self.session_closed(applied.header, position);
        }
    }

    fn answer_write(&mut self, reply: &RequestReply, applied: &Applied<'_>, position: u64) {
        // Inside a multi too: the client talks to another server meanwhile, and must not take this
        // for the fate of its request.
        if applied.err == ErrorCode::SessionMoved {
            return self.outbox.close(reply.connection, position, CloseReason::ClientReconnect);
        }
        self.reply(reply, applied.header.zxid, applied.reply_error(), position, Some(applied));
    }

    pub(super) fn reply(
        &mut self,
        reply: &RequestReply,
        zxid: Zxid,
        err: ErrorCode,
        position: u64,
        applied: Option<&Applied<'_>>,
    ) {
        let kind = DeliveryKind::Reply {
            op: reply.op,
            received_us: reply.received_us,
            read: reply.travels,
            watch: None,
        };
        self.outbox.push(reply.connection, position, kind, |out| {
            let start = reply::begin(out);
            if let Some(applied) = applied {
                applied.encode_reply(reply.op, out);
            }
            reply::end(out, start, reply.xid, zxid, err.to_i32());
        });
    }

    fn answer_read(&mut self, item: &ReadItem, shared: &Shared) {
        let ReadItem { reply, session, body, identities } = item;
        reply.release(shared);
        let read = ReadRequest { op: reply.op, body, session: *session, identities };
        let position = shared.changes.position();
        let access = &self.access;
        self.outbox.push_with(reply.connection, position, |out| {
            let watch = read_into(shared, access, reply.xid, &read, out);
            if watch.is_some() {
                shared.pin(reply.connection.shard, position);
            }
            DeliveryKind::Reply {
                op: reply.op,
                received_us: reply.received_us,
                read: reply.travels,
                watch: watch.map(|watch| Box::new(watch.into())),
            }
        });
    }

    fn connected(&mut self, connected: &Connected, shared: &Shared) {
        shared.load.remove(0, false);
        let Connected { connection, session, session_id, timeout_ms, read_only, created_us } =
            *connected;
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id,
            password: Some(&password(session_id)),
            read_only,
        };
        let kind = DeliveryKind::Connected { session, session_id, timeout_ms, created_us };
        let position = shared.changes.position();
        self.outbox.push(connection, position, kind, |out| reply::framed(out, &response));
    }

    /// The session is closed in the tree: where it is connected still, the connection is closed
    /// too, after the reply if the client asked for it.
    fn session_closed(&mut self, header: TxnHeader, position: u64) {
        let session: SessionId = header.client_id;
        if let Some(owner) = self.sessions.remove(session) {
            self.outbox.close(owner, position, CloseReason::SessionClosed);
        }
    }

    /// Asks to run the shards that have watches and nothing else to hear, where anything changed.
    fn wake_watchers(&self, start: u64, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        if shared.changes.position() == start {
            return;
        }
        let silent = shared.watching_shards().filter(|shard| !self.outbox.speaks_to(*shard));
        effects.extend(silent.map(CoreEffect::Wake));
    }
}
