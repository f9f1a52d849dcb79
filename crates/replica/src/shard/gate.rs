//! The gate of a session: requests are answered in the order in which they came, reads without a
//! hop where that order allows it.
//!
//! - A read that finds no write of its session before it is answered at once.
//! - A read behind an unanswered write waits. When a later write is submitted, the waiting reads
//!   travel with it and are answered where the write is applied, just before it; otherwise they are
//!   answered here, after the write's reply.
//! - Requests about watches, and invalid ones, are answered here only. A write behind a waiting one
//!   of them waits too, and so does one behind more reads than may travel: they are answered here,
//!   where a client that does not read its replies holds nobody up.

use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::proto::RequestHeader;
use rookeeper_jute::{OpCode, Xid};
use rookeeper_tree::Identity;

use super::connection::{Connection, Gate, Phase, Waiting};
use super::{Shard, ShardEffect, ShardEffects, Turn};
use crate::close::CloseReason;
use crate::message::{RequestSubmission, Submission, SubmissionKind};
use crate::shared::Shared;

/// Where a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// From the tree: here, or where a write is applied.
    Read(OpCode),
    /// Here only: it needs this shard's watches, or is refused.
    Local(Option<OpCode>),
    /// By the core, in order with all other writes.
    Write(OpCode),
}

impl Class {
    /// The class of an operation (Java: `Request.isValid`, `isQuorum`). createSession is between
    /// servers and in the log; Java takes it from clients too, who could so give their session
    /// any timeout.
    pub(super) fn of(op: i32) -> Class {
        use OpCode::*;
        let Some(op) = OpCode::from_i32(op) else { return Class::Local(None) };
        match op {
            Exists | GetData | GetAcl | GetChildren | GetChildren2 | GetChildrenPaginated
            | MultiRead | GetEphemerals | GetAllChildrenNumber | WhoAmI | Ping => Class::Read(op),
            SetWatches | SetWatches2 | AddWatch | CheckWatches | RemoveWatches => {
                Class::Local(Some(op))
            }
            Create | Create2 | CreateTtl | CreateContainer | Delete | DeleteContainer | SetData
            | SetAcl | Multi | Reconfig | Sync | CloseSession => Class::Write(op),
            Notification | Check | Error | Auth | Sasl | CreateSession => Class::Local(None),
        }
    }
}

/// A request as it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) xid: Xid,
    pub(super) op: i32,
    pub(super) body: &'a [u8],
    pub(super) received_us: u64,
    /// The identities to answer with, where they are not the connection's of now.
    pub(super) identities: Option<&'a Arc<[Identity]>>,
}

impl Shard {
    /// A request of an established session (Java: `ZooKeeperServer.processPacket`).
    pub(super) fn request(
        &mut self,
        index: usize,
        header: RequestHeader,
        body: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let RequestHeader { xid, op } = header;
        let received_us = turn.now.monotonic_us;
        let request = Request { xid, op, body, received_us, identities: None };
        if op == OpCode::Auth.to_i32() {
            return self.auth(index, request, turn);
        }
        if op == OpCode::Sasl.to_i32() {
            return self.sasl(index, request, turn);
        }
        if self.config.enforce_auth_schemes.is_some() && !self.is_authenticated(index) {
            return self.refuse_unauthenticated(index, request, turn);
        }
        let connection = &mut self.connections[index];
        if xid.0 > 0 {
            connection.outstanding += 1;
        }
        match Class::of(op) {
            Class::Write(op) => {
                if connection.write_must_wait() {
                    self.wait(index, request);
                } else {
                    self.submit_waiting_reads(index, turn);
                    self.submit(index, request, op, turn.shared, turn.effects);
                }
            }
            Class::Read(op)
                if connection.gate_is_open() || mutation::is_on(Mutation::ReadsOvertake) =>
            {
                self.read(index, request, op, turn)
            }
            Class::Local(op) if connection.gate_is_open() => self.local(index, request, op, turn),
            Class::Read(_) | Class::Local(_) => self.wait(index, request),
        }
    }

    /// Goes on with a connection after a reply came, its output drained or a turn was over.
    pub(super) fn go_on(&mut self, index: usize, turn: &mut Turn<'_>) {
        self.answer_waiting(index, turn);
        if !self.connections[index].ready {
            self.buffered_frames(index, turn);
        }
        self.resume(index, turn.shared, turn.effects);
    }

    /// Reads again from a connection that no limit keeps back any longer.
    fn resume(&mut self, index: usize, shared: &Shared, effects: &mut ShardEffects) {
        let connection = &self.connections[index];
        let open = connection.phase == Phase::Open && connection.paused && !connection.ready;
        if open && !self.must_wait(index, shared) {
            self.connections[index].paused = false;
            effects.effects.push(ShardEffect::Resume(self.connections.key(index)));
        }
    }

    /// Keeps a request behind the writes before it.
    fn wait(&mut self, index: usize, request: Request<'_>) {
        self.counters.requests_waited += 1;
        let connection = &mut self.connections[index];
        let gate = connection.gate.get_or_insert_default();
        gate.bytes += waiting_len(request.body.len());
        gate.barriers += usize::from(is_barrier(request.op));
        gate.waiting.push_back(Waiting {
            xid: request.xid,
            op: request.op,
            received_us: request.received_us,
            identities: connection.identities.clone(),
            body: request.body.into(),
        });
    }

    /// Hands a write to the core.
    fn submit(
        &mut self,
        index: usize,
        request: Request<'_>,
        op: OpCode,
        shared: &Shared,
        effects: &mut ShardEffects,
    ) {
        let len = request.body.len();
        let large = self.is_large(len);
        let connection = &mut self.connections[index];
        if large && shared.load.large_bytes() + len > self.config.large_request_max_bytes {
            self.counters.large_requests_rejected += 1;
            return self.close(index, CloseReason::LargeRequestRejected, effects);
        }
        connection.submitted += 1;
        if op == OpCode::CloseSession {
            connection.phase = Phase::Draining;
        }
        shared.load.add(len, large);
        self.push_submission(index, request, op, false, large, effects);
    }

    /// Lets the waiting reads travel with the write that is submitted next.
    fn submit_waiting_reads(&mut self, index: usize, turn: &mut Turn<'_>) {
        let Some(gate) = self.connections[index].gate.take() else { return };
        for waiting in gate.waiting {
            self.submit_read(index, &waiting, turn.effects);
        }
    }

    fn submit_read(&mut self, index: usize, waiting: &Waiting, effects: &mut ShardEffects) {
        let Class::Read(op) = Class::of(waiting.op) else {
            unreachable!("only reads wait in a gate without barriers");
        };
        self.connections[index].travelling += 1;
        self.push_submission(index, waiting.request(), op, true, false, effects);
    }

    fn push_submission(
        &mut self,
        index: usize,
        request: Request<'_>,
        op: OpCode,
        read: bool,
        large: bool,
        effects: &mut ShardEffects,
    ) {
        let key = self.connections.key(index);
        let connection = &self.connections[index];
        let body = effects.submissions.push_body(request.body);
        let identities = request.identities.unwrap_or(&connection.identities).clone();
        effects.submissions.entries.push(Submission {
            connection: key,
            received_us: request.received_us,
            kind: SubmissionKind::Request(RequestSubmission {
                session: connection.session,
                xid: request.xid,
                op,
                body,
                identities,
                read,
                large,
            }),
        });
    }

    /// Answers and submits what waits, as far as order and limits allow. While a write is
    /// unanswered that is nothing: reads may still travel with a later write, and whatever else
    /// waits was looked at when that write was submitted.
    fn answer_waiting(&mut self, index: usize, turn: &mut Turn<'_>) {
        if self.connections[index].submitted > 0 {
            return;
        }
        let Some(mut gate) = self.connections[index].gate.take() else { return };
        // Reads before the one looked at, behind a write that was just submitted.
        let mut held = 0;
        while let Some(waiting) = gate.waiting.get(held) {
            let submitted = self.connections[index].submitted > 0;
            if !submitted && (turn.is_over() || self.output_is_full(index)) {
                break;
            }
            match Class::of(waiting.op) {
                Class::Read(_) if submitted => held += 1,
                Class::Local(_) if submitted => break,
                Class::Write(_) if !self.connections[index].may_travel(held) => break,
                Class::Read(op) => {
                    let waiting = gate.pop();
                    turn.frames_left -= 1;
                    self.read(index, waiting.request(), op, turn);
                }
                Class::Local(op) => {
                    let waiting = gate.pop();
                    turn.frames_left -= 1;
                    self.local(index, waiting.request(), op, turn);
                }
                Class::Write(op) => {
                    for _ in 0..std::mem::take(&mut held) {
                        let read = gate.pop();
                        self.submit_read(index, &read, turn.effects);
                    }
                    let write = gate.pop();
                    self.submit(index, write.request(), op, turn.shared, turn.effects);
                }
            }
            if self.connections[index].phase != Phase::Open {
                // Closed, or closing its session: what came after that is not answered.
                return;
            }
        }
        if gate.waiting.is_empty() {
            return;
        }
        self.connections[index].gate = Some(gate);
        if turn.is_over() && self.connections[index].submitted == 0 {
            self.make_ready(index);
        }
    }

    fn output_is_full(&self, index: usize) -> bool {
        self.connections[index].output_len() > self.config.output_bytes_max
    }
}

impl Gate {
    /// The oldest request that waits.
    fn pop(&mut self) -> Waiting {
        let waiting = self.waiting.pop_front().expect("it was looked at before");
        self.bytes -= waiting_len(waiting.body.len());
        self.barriers -= usize::from(is_barrier(waiting.op));
        waiting
    }
}

impl Waiting {
    fn request(&self) -> Request<'_> {
        Request {
            xid: self.xid,
            op: self.op,
            body: &self.body,
            received_us: self.received_us,
            identities: Some(&self.identities),
        }
    }
}

/// How many reads of a connection may be on their way with writes: their replies are made whether
/// or not the client reads, so this bounds the memory that they take.
const TRAVELLING_MAX: usize = 64;

impl Connection {
    /// Whether so many more reads may travel.
    fn may_travel(&self, reads: usize) -> bool {
        reads == 0 || self.travelling as usize + reads <= TRAVELLING_MAX
    }

    /// Whether a new write has to wait for what waits already.
    fn write_must_wait(&self) -> bool {
        let blocks = |gate: &Gate| gate.barriers > 0 || !self.may_travel(gate.waiting.len());
        self.gate.as_deref().is_some_and(blocks)
    }
}

/// Whether a later write waits behind such a request.
fn is_barrier(op: i32) -> bool {
    !matches!(Class::of(op), Class::Read(_))
}

/// What a waiting request counts for, its body and what is around it, in bytes.
fn waiting_len(body_len: usize) -> usize {
    body_len + size_of::<Waiting>()
}
