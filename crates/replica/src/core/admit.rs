//! From submissions to the pipeline: handshakes, checks of sessions, throttles, preparation (Java:
//! `ZooKeeperServer.processConnectRequest`, `RequestThrottler`, `PrepRequestProcessor`).

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::proto::ConnectResponse;
use rookeeper_jute::{Encode, ErrorCode, OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::{Identity, WriteRequest};

use super::leading::LearnerAsks;
use super::pipeline::{Connected, Item, ReadItem, Reply, RequestReply};
use super::sessions::Owner;
use super::throttle::Asked;
use super::{Core, CoreEffect, CoreRole, State, password};
use crate::close::CloseReason;
use crate::ids::{ConnectionKey, Now, SessionKey};
use crate::message::{
    ConnectSubmission, DeliveryKind, RequestSubmission, Submission, SubmissionBatch, SubmissionKind,
};
use crate::reply;
use crate::shared::Shared;

/// What shards asked for and is not taken up yet, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    batches: VecDeque<SubmissionBatch>,
    /// How many entries of the first batch were taken.
    taken: usize,
}

impl Backlog {
    /// The next submission and the bytes that its body stands in; the bytes are moved out and must
    /// be given back.
    fn next(&mut self) -> Option<(Submission, Vec<u8>)> {
        loop {
            let batch = self.batches.front_mut()?;
            if self.taken < batch.entries.len() {
                let nothing = SubmissionKind::Closed { session: SessionKey::NONE };
                let entry = &mut batch.entries[self.taken];
                let kind = std::mem::replace(&mut entry.kind, nothing);
                let submission = Submission {
                    connection: entry.connection,
                    received_us: entry.received_us,
                    kind,
                };
                self.taken += 1;
                return Some((submission, std::mem::take(&mut batch.bytes)));
            }
            self.batches.pop_front();
            self.taken = 0;
        }
    }

    fn give_back(&mut self, bytes: Vec<u8>) {
        if let Some(batch) = self.batches.front_mut() {
            batch.bytes = bytes;
        }
    }

    /// Entries that wait.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.entries.len()).sum::<usize>() - self.taken
    }
}

impl Core {
    /// Takes note of what a shard says; requests wait in the backlog for [`Core::admit`].
    pub(super) fn submitted(&mut self, now: Now, batch: SubmissionBatch) {
        for touch in &batch.touches {
            self.sessions.touch(touch.session, touch.at_ms);
        }
        if let Some(up_to_ms) = batch.touched_up_to_ms {
            self.heard_up_to_ms[batch.shard.index()] = up_to_ms.min(now.monotonic_ms());
        }
        if self.is_throttling() && self.config.request_stale_connection_check {
            for entry in &batch.entries {
                if matches!(entry.kind, SubmissionKind::Closed { .. }) {
                    self.dropped.insert(entry.connection);
                }
            }
        }
        if !batch.entries.is_empty() {
            self.backlog.batches.push_back(batch);
        }
    }

    /// Takes up what waits, as far as the limits allow; hands transactions to the disk and answers
    /// what needs none.
    pub(super) fn admit(&mut self, now: Now, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        loop {
            self.admit_some(now, shared, effects);
            self.append(effects);
            self.answer_ready(shared);
            if (self.backlog.len() == 0 && self.forwarded.is_empty()) || self.must_stall(shared) {
                return;
            }
        }
    }

    fn admit_some(&mut self, now: Now, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        while !self.must_stall(shared) {
            if let Some((learner, asked)) = self.forwarded.pop_front() {
                match asked {
                    LearnerAsks::Request(request) => {
                        self.forwarded_request(now, learner, request, shared, effects);
                    }
                    LearnerAsks::Revalidate { session, timeout_ms } => {
                        self.revalidate(now, learner, session, timeout_ms, shared, effects);
                    }
                }
                continue;
            }
            let Some((submission, bytes)) = self.backlog.next() else { return };
            let Submission { connection, received_us, kind } = submission;
            match kind {
                SubmissionKind::Request(request) => {
                    self.request(now, connection, received_us, request, &bytes, shared, effects);
                }
                SubmissionKind::Connect(connect) => {
                    self.connect(now, connection, received_us, &connect, shared, effects);
                }
                SubmissionKind::Closed { session } => {
                    self.dropped.remove(&connection);
                    self.sessions.disconnected(session, connection);
                }
            }
            self.backlog.give_back(bytes);
        }
    }

    fn is_throttling(&self) -> bool {
        self.config.request_throttle_max_requests > 0
    }

    /// Whether requests wait before the pipeline: it is full, a running snapshot is too far behind,
    /// or nothing is proposed any more. What is refused anyway does not wait.
    fn must_stall(&self, shared: &Shared) -> bool {
        let leads = matches!(self.role, CoreRole::Leading { .. });
        if self.state != State::Serving || !(self.open || leads) {
            return false;
        }
        let limit = self.config.request_throttle_max_requests;
        (limit > 0 && self.pipeline.len() + self.learning.queued() >= limit)
            || self.proposed_last
            || (self.snapshots.running
                && shared.tree.snapshot_backlog_len() > self.config.snapshot_backlog_bytes_max)
    }

    #[expect(clippy::too_many_arguments, reason = "one request as it was submitted")]
    fn request(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        received_us: u64,
        request: RequestSubmission,
        bytes: &[u8],
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let body = &bytes[request.body.clone()];
        let reply = RequestReply {
            connection,
            xid: request.xid,
            op: request.op,
            received_us,
            travels: request.read,
            bytes: body.len(),
            large: request.large,
        };
        // An unknown, expired or moved session: dropped without a reply, as Java's touch does.
        let alive = self.sessions.check(request.session, connection);
        let Some(session) =
            alive.filter(|_| self.is_admitted(now, request.session, &reply, shared))
        else {
            return reply.release(shared);
        };
        self.sessions.touch(request.session, now.monotonic_ms());
        if self.is_too_old(now, &reply) {
            self.figures.throttled_ops += 1;
            let item = Item::Refused(Box::new(reply), ErrorCode::ThrottledOp);
            return self.in_turn(session, item);
        }
        let refuses = self.is_read_only() && !mutation::is_on(Mutation::ReadOnlyWrites);
        if refuses && !reply.travels && request.op != OpCode::CloseSession {
            let item = Item::Refused(Box::new(reply), ErrorCode::NotReadOnly);
            return self.in_turn(session, item);
        }
        if reply.travels || request.op == OpCode::Sync {
            let is_sync = !reply.travels;
            let identities = request.identities;
            let read = Box::new(ReadItem { reply, session, body: body.into(), identities });
            return match self.role {
                CoreRole::Leading { .. } if is_sync => self.sync(read, effects),
                CoreRole::Learning { .. } if is_sync => self.forward_sync(read, effects),
                _ => self.in_turn(session, Item::Read(read)),
            };
        }
        if request.op == OpCode::CloseSession {
            self.sessions.set_closing(request.session);
            if self.sessions.is_local(session) {
                return self.in_turn(session, Item::CloseLocal(Box::new(reply), session));
            }
        }
        let ephemeral = self.upgrade_for(now, session, request.op, body, shared, effects);
        let identities = Some(&request.identities);
        let write =
            Write { session, cxid: request.xid, op: request.op, body, identities, ephemeral };
        if self.is_learning() {
            return self.forward_write(&write, reply, effects);
        }
        self.write(now, write, Reply::Request(reply), shared, effects);
    }

    /// Puts what waits for no transaction behind all that its session asked for before.
    pub(super) fn in_turn(&mut self, session: SessionId, item: Item) {
        if self.is_learning() { self.behind(session, item) } else { self.pipeline.push_back(item) }
    }

    /// Whether the server still takes up requests of this connection.
    fn is_admitted(
        &mut self,
        now: Now,
        session: SessionKey,
        reply: &RequestReply,
        shared: &Shared,
    ) -> bool {
        let connection = reply.connection;
        let position = shared.changes.position();
        if !self.is_open() {
            self.outbox.close(connection, position, CloseReason::NotServing);
            return false;
        }
        if !self.is_throttling() || !self.config.request_throttle_drop_stale {
            return true;
        }
        if reply.op == OpCode::CloseSession {
            return true;
        }
        if self.dropped.contains(&connection) {
            self.figures.stale_requests_dropped += 1;
            return false;
        }
        let age_ms = now.monotonic_us.saturating_sub(reply.received_us) / 1000;
        let stale = self.config.request_stale_latency_check
            && self.sessions.timeout_ms(session).is_some_and(|timeout_ms| age_ms > timeout_ms);
        if stale {
            self.figures.stale_requests_dropped += 1;
            self.dropped.insert(connection);
            self.outbox.close(connection, position, CloseReason::RequestDropped);
        }
        !stale
    }

    /// Whether a request waited so long that it is not carried out (Java: `shouldThrottleOp`).
    fn is_too_old(&self, now: Now, reply: &RequestReply) -> bool {
        let limit_ms = self.config.throttled_op_wait_time_ms;
        let age_ms = now.monotonic_us.saturating_sub(reply.received_us) / 1000;
        limit_ms > 0
            && age_ms > limit_ms
            && !matches!(reply.op, OpCode::Ping | OpCode::CloseSession)
    }

    /// Prepares a write and puts its transaction into the pipeline; a write that cannot be decoded
    /// takes no zxid and is answered in its turn.
    pub(super) fn write(
        &mut self,
        now: Now,
        write: Write<'_>,
        reply: Reply,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        match self.prepare(now, &write, Ok(()), shared, effects) {
            Ok((zxid, len)) => self.enter_pipeline(zxid, len, reply, effects),
            Err(err) => {
                let Reply::Request(reply) = reply else {
                    unreachable!("what the server itself asks for can be decoded");
                };
                self.pipeline.push_back(Item::Refused(Box::new(reply), err));
            }
        }
    }

    /// Appends the transaction that a write becomes to the segment that is being built; returns its
    /// zxid and length, or why there is none.
    pub(super) fn prepare(
        &mut self,
        now: Now,
        write: &Write<'_>,
        session_check: Result<(), ErrorCode>,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) -> Result<(Zxid, usize), ErrorCode> {
        let mut zxid = self.prepared.next();
        if zxid.counter() > self.config.epoch_counter_last
            && mutation::is_on(Mutation::RollOverIgnored)
        {
            zxid = Zxid::new(zxid.epoch() + 1, 1);
        }
        let request = write.request(now, zxid, session_check);
        let before = self.building.bytes_len();
        let prepared = match write.op {
            OpCode::Reconfig => self.prepare_reconfig(&request, shared),
            _ => {
                let out = self.building.bytes_mut();
                self.outstanding.prepare(&shared.tree, &self.access, &request, out)
            }
        };
        if self.building.bytes_len() == before {
            return Err(prepared.error.expect("a write without a transaction has an error"));
        }
        if let Some(quota) = prepared.quota_exceeded {
            effects.push(CoreEffect::QuotaExceeded(quota));
        }
        self.prepared = zxid;
        Ok((zxid, self.building.end_record(zxid)))
    }

    /// Puts a transaction that was just appended to the segment into the pipeline.
    pub(super) fn enter_pipeline(
        &mut self,
        zxid: Zxid,
        len: usize,
        reply: Reply,
        effects: &mut Vec<CoreEffect>,
    ) {
        self.pipeline.push_back(Item::Txn { zxid, reply });
        self.append_reconfigured(zxid, effects);
        if self.snapshots.appended(len, &mut self.lot) {
            self.append(effects);
            effects.push(CoreEffect::Roll);
            self.begin_snapshot(effects);
        } else if self.building.bytes_len() >= self.config.segment_bytes {
            self.append(effects);
        }
        if zxid.counter() >= self.config.epoch_counter_last
            && !mutation::is_on(Mutation::RollOverIgnored)
            && matches!(self.role, CoreRole::Leading { .. })
        {
            self.propose_no_more();
            self.append(effects);
            effects.push(CoreEffect::EpochExhausted);
        }
    }

    /// Closes a session that has expired.
    pub(super) fn close_session(
        &mut self,
        now: Now,
        session: SessionId,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let write = Write::own(session, OpCode::CloseSession, &[]);
        self.write(now, write, Reply::None, shared, effects);
    }

    /// Deletes a container or TTL znode.
    pub(super) fn delete_container(
        &mut self,
        now: Now,
        path: &str,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let body = path.to_bytes();
        let write = Write::own(SessionId(0), OpCode::DeleteContainer, &body);
        self.write(now, write, Reply::None, shared, effects);
    }

    fn connect(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        received_us: u64,
        connect: &ConnectSubmission,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let now_ms = now.monotonic_ms();
        let position = shared.changes.position();
        let resume = connect.session_id != SessionId(0);
        let refusal = self.why_no_session(now_ms, connect, shared);
        if let Some(reason) = refusal {
            shared.load.remove(0, false);
            return self.outbox.close(connection, position, reason);
        }
        let (min, max) = (self.config.session_timeout_ms_min, self.config.session_timeout_ms_max);
        let timeout_ms = connect.timeout_ms.max(min).min(max);
        let is_read_only = self.is_read_only();
        let connected = |session, session_id| {
            let read_only = connect.read_only.map(|_| is_read_only);
            let created_us = (!resume).then_some(received_us);
            Connected { connection, session, session_id, timeout_ms, read_only, created_us }
        };
        if !resume {
            let sessions = shared.tree.sessions();
            let is_taken = |id| sessions.contains(id);
            let local = self.makes_local_sessions();
            if is_read_only && !local {
                return self.refuse_read_only(connection, position, shared);
            }
            let (key, id) = self.sessions.create(timeout_ms, connection, now_ms, is_taken);
            if local {
                self.sessions.make_local(key);
                return self.pipeline.push_back(Item::Resumed(Box::new(connected(key, id))));
            }
            let body = timeout_ms.to_bytes();
            let write = Write::own(id, OpCode::CreateSession, &body);
            let reply = Reply::Connect(Box::new(connected(key, id)));
            if self.is_learning() {
                return self.forward_own(&write, reply, effects);
            }
            return self.write(now, write, reply, shared, effects);
        }
        let id = connect.session_id;
        self.figures.connections_revalidated += 1;
        self.leave_before(id, position);
        if connect.password != Some(password(id)) {
            return self.refuse_session(connection, position, connect.read_only, shared);
        }
        if self.is_learning() && !self.sessions.is_local(id) {
            let resumed = connected(SessionKey::NONE, id);
            return self.ask_to_resume(resumed, effects);
        }
        match self.sessions.resume(id, Owner::Here(connection), timeout_ms, now_ms) {
            Ok(key) => self.pipeline.push_back(Item::Resumed(Box::new(connected(key, id)))),
            Err(()) => self.refuse_session(connection, position, connect.read_only, shared),
        }
    }

    /// Closes the connection that a session has here: somebody resumes it. What still comes over it
    /// is dropped from now on, not when the leader has answered: it may have been elsewhere
    /// meanwhile, and asked for more.
    fn leave_before(&mut self, session: SessionId, position: u64) {
        if let Some(before) = self.sessions.connection(session) {
            self.outbox.close(before, position, CloseReason::ClientReconnect);
            if let Some(key) = self.sessions.find(session) {
                self.sessions.disconnected(key, before);
            }
        }
    }

    /// Why a connect is closed without an answer, in Java's order.
    fn why_no_session(
        &mut self,
        now_ms: u64,
        connect: &ConnectSubmission,
        shared: &Shared,
    ) -> Option<CloseReason> {
        let asked = match connect.session_id {
            SessionId(0) if self.makes_local_sessions() => Asked::Local,
            SessionId(0) => Asked::Global,
            _ => Asked::Renewed,
        };
        if !self.is_open() {
            Some(CloseReason::NotServing)
        } else if !self.throttle.admit(asked, now_ms, &mut self.lot) {
            Some(CloseReason::ConnectionThrottled)
        } else if self.is_read_only() && connect.read_only != Some(true) {
            Some(CloseReason::NotReadOnlyClient)
        } else if connect.last_zxid_seen > shared.tree.last_processed_zxid() {
            Some(CloseReason::ClientZxidAhead)
        } else if self.is_read_only() && shared.tree.sessions().contains(connect.session_id) {
            Some(CloseReason::GlobalSessionReadOnly)
        } else {
            None
        }
    }

    /// Tells a client that its session is no more, and closes (Java: `finishSessionInit`).
    pub(super) fn refuse_session(
        &mut self,
        connection: ConnectionKey,
        position: u64,
        read_only: Option<bool>,
        shared: &Shared,
    ) {
        shared.load.remove(0, false);
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: SessionId(0),
            password: Some(&[0; 16]),
            read_only: read_only.map(|_| self.is_read_only()),
        };
        let kind = DeliveryKind::Close(CloseReason::SessionExpired);
        self.outbox.push(connection, position, kind, |out| reply::framed(out, &response));
    }
}

/// A write before it is prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write<'a> {
    pub(super) session: SessionId,
    pub(super) cxid: Xid,
    pub(super) op: OpCode,
    pub(super) body: &'a [u8],
    /// Its connection's; `None` where the server itself asks.
    pub(super) identities: Option<&'a Arc<[Identity]>>,
    /// Whether its session may own ephemerals.
    pub(super) ephemeral: Result<(), ErrorCode>,
}

impl<'a> Write<'a> {
    /// One that the server asks for by itself.
    pub(super) fn own(session: SessionId, op: OpCode, body: &'a [u8]) -> Self {
        Write { session, cxid: Xid(0), op, body, identities: None, ephemeral: Ok(()) }
    }

    /// As the tree takes it up.
    pub(super) fn request(
        &self,
        now: Now,
        zxid: Zxid,
        session_check: Result<(), ErrorCode>,
    ) -> WriteRequest<'a> {
        WriteRequest {
            session: self.session,
            cxid: self.cxid,
            op: self.op,
            body: self.body,
            identities: self.identities.map_or(&[], |identities| identities),
            zxid,
            time_ms: now.wall_ms,
            session_check,
            ephemeral_check: self.ephemeral,
        }
    }
}
