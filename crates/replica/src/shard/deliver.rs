//! What the core says, in order: each reply after the events of all changes before it, and before
//! the events of any change after it.

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{OpCode, SessionId, Xid, Zxid};

use super::connection::Phase;
use super::requests::elapsed_ms;
use super::stats::NO_OP;
use super::{Shard, ShardEffects};
use crate::close::CloseReason;
use crate::ids::{Now, SessionKey};
use crate::message::{Delivery, DeliveryBatch, DeliveryKind};
use crate::reply;
use crate::shared::Shared;

impl Shard {
    /// Takes one batch of the core's; batches come in the order in which they were made.
    /// Connections that can go on because of it do so at [`Shard::catch_up`].
    ///
    /// # Panics
    /// If a batch was left out or comes twice.
    pub fn deliver(
        &mut self,
        now: Now,
        mut batch: DeliveryBatch,
        shared: &Shared,
        effects: &mut ShardEffects,
    ) {
        assert_eq!(batch.shard, self.id, "a batch goes to the shard that it is for");
        if batch.sequence != 0 {
            assert_eq!(batch.sequence, self.sequence + 1, "batches come in order, each once");
            self.sequence = batch.sequence;
        }
        effects.submissions.shard = self.id;
        let entries = std::mem::take(&mut batch.entries);
        for delivery in entries {
            if !mutation::is_on(Mutation::EventsLate) {
                self.catch_up_events_to(delivery.position, shared, effects);
            }
            if let DeliveryKind::CloseAll { reason, for_good } = delivery.kind {
                self.serving &= !for_good;
                self.close_all(reason, effects);
                continue;
            }
            let Some(index) = self.connections.find(delivery.connection) else { continue };
            if self.connections[index].phase != Phase::Closing {
                let frame = &batch.bytes[delivery.frame.clone()];
                self.deliver_one(now, index, &delivery, frame, shared, effects);
            }
        }
    }

    fn deliver_one(
        &mut self,
        now: Now,
        index: usize,
        delivery: &Delivery,
        frame: &[u8],
        shared: &Shared,
        effects: &mut ShardEffects,
    ) {
        if !frame.is_empty() {
            self.output_mut(index).extend_from_slice(frame);
            self.connections[index].stats.sent += 1;
            self.count_sent(frame.len());
            self.announce(index, effects);
        }
        match &delivery.kind {
            DeliveryKind::Reply { op, received_us, read, watch } => {
                if let Some(watch) = watch {
                    self.leave_watch(index, watch, shared);
                }
                self.replied(now, index, *op, *received_us, *read, frame);
                if *op == OpCode::CloseSession {
                    self.close(index, CloseReason::ClientClosedSession, effects);
                }
            }
            DeliveryKind::Connected { session, session_id, timeout_ms, created_us } => {
                self.connected(index, *session, *session_id, *timeout_ms);
                if let Some(created_us) = created_us {
                    let zxid = shared.tree.last_processed_zxid();
                    self.created(now, index, *created_us, zxid);
                }
            }
            DeliveryKind::Close(reason) => {
                if *reason == CloseReason::ConnectionThrottled {
                    self.counters.connections_rejected += 1;
                }
                self.close(index, *reason, effects);
            }
            DeliveryKind::CloseAll { .. } => unreachable!("handled for all connections at once"),
        }
    }

    /// Takes note of the answer to a submitted request. A refused write counts as no operation
    /// (Java: `FinalRequestProcessor` looks at what kind it is behind the error).
    fn replied(
        &mut self,
        now: Now,
        index: usize,
        op: OpCode,
        received_us: u64,
        read: bool,
        frame: &[u8],
    ) {
        let header = reply::peek(frame);
        let latency_ms = elapsed_ms(received_us, now);
        let connection = &mut self.connections[index];
        let op = if read || header.err == 0 { op.to_i32() } else { NO_OP };
        connection.stats.answered(op, header.xid, header.zxid, now, latency_ms);
        if header.xid.0 > 0 {
            connection.outstanding = connection.outstanding.saturating_sub(1);
        }
        if read {
            connection.travelling -= 1;
        } else {
            connection.submitted -= 1;
        }
        if connection.paused || (connection.submitted == 0 && connection.gate.is_some()) {
            self.make_ready(index);
        }
        let latency_ms = u64::from(latency_ms);
        self.counters.latency_ms.add(latency_ms);
        if read {
            self.counters.read_latency_ms.add(latency_ms);
        } else {
            self.counters.update_latency_ms.add(latency_ms);
        }
    }

    /// Takes note of the answer to a createSession.
    fn created(&mut self, now: Now, index: usize, created_us: u64, zxid: Zxid) {
        let latency_ms = elapsed_ms(created_us, now);
        let op = OpCode::CreateSession.to_i32();
        self.connections[index].stats.answered(op, Xid(0), zxid, now, latency_ms);
        self.counters.latency_ms.add(u64::from(latency_ms));
        self.counters.update_latency_ms.add(u64::from(latency_ms));
    }

    fn connected(
        &mut self,
        index: usize,
        session: SessionKey,
        session_id: SessionId,
        timeout_ms: i32,
    ) {
        let connection = &mut self.connections[index];
        assert!(connection.phase == Phase::Connecting, "a connection gets one session");
        connection.phase = Phase::Open;
        connection.session = session;
        connection.session_id = session_id;
        connection.timeout_ms = timeout_ms;
        self.sessions += 1;
        self.make_ready(index);
    }

    /// The server does not serve any longer: every connection but those that ask four-letter words
    /// is closed.
    fn close_all(&mut self, reason: CloseReason, effects: &mut ShardEffects) {
        for index in 0..self.connections.places_len() {
            if !matches!(
                self.connections[index].phase,
                Phase::Vacant | Phase::Start | Phase::Word | Phase::Closing
            ) {
                self.close(index, reason, effects);
            }
        }
    }
}
