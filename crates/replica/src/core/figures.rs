//! What the core counts since the start of the server, or since it was told to start anew. The
//! figures go over to the next core at a change of role.

use std::collections::BTreeMap;

use rookeeper_jute::{OpCode, ServerId, Zxid};
use rookeeper_zab::Segment;

use super::{Core, CoreRole};
use crate::ids::Now;
use crate::shard::Latency;

/// The core's figures. Each is counted where Java counts the metric of that name; latencies are in
/// milliseconds, since the leader's clock said so in the transaction's header.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Transactions whose digest did not match (`digest_mismatches_count`).
    pub digest_mismatches: u64,
    /// Sessions that expired (`stale_sessions_expired`).
    pub sessions_expired: u64,
    /// Snapshots begun.
    pub snapshots_begun: u64,
    /// Requests answered ThrottledOp (`throttled_ops`).
    pub throttled_ops: u64,
    /// Requests dropped as stale (`stale_requests_dropped`).
    pub stale_requests_dropped: u64,
    /// Clients that asked for a session that they had (`connection_revalidate_count`).
    pub connections_revalidated: u64,
    /// Sessions that learners asked this leader for (`revalidate_count`).
    pub revalidated: u64,
    /// Transactions committed by this leader (`commit_count`).
    pub commits: u64,
    /// Transactions that the leader proposed to this follower (`learner_proposal_received_count`).
    pub proposals_received: u64,
    /// Commits that it told this learner of (`learner_commit_received_count`).
    pub commits_received: u64,
    /// Until a quorum had a proposal (`quorum_ack_latency`).
    pub quorum_ack_latency_ms: Latency,
    /// Until a server had one on its disk, by server (`ack_latency`); only for some of them.
    pub ack_latency_by_server_ms: BTreeMap<ServerId, Latency>,
    /// Until a follower got it (`proposal_latency`).
    pub proposal_latency_ms: Latency,
    /// Until this server's log had it (`proposal_ack_creation_latency`).
    pub ack_latency_ms: Latency,
    /// Until a learner heard of its commit (`commit_propagation_latency`).
    pub commit_latency_ms: Latency,
    /// Until it was applied (`propagation_latency`).
    pub propagation_latency_ms: Latency,
}

impl Figures {
    /// Starts anew (four-letter word `srst`); the servers that there are figures of stay (Java:
    /// `AvgMinMaxPercentileCounterSet.reset`).
    pub(super) fn reset(&mut self) {
        let mut ack_latency_by_server_ms = std::mem::take(&mut self.ack_latency_by_server_ms);
        for series in ack_latency_by_server_ms.values_mut() {
            *series = Latency::default();
        }
        *self = Figures { ack_latency_by_server_ms, ..Figures::default() };
    }
}

impl Core {
    /// What was counted, for the core that follows.
    pub fn take_figures(&mut self) -> Box<Figures> {
        std::mem::take(&mut self.figures)
    }

    /// Goes on from what the core before has counted.
    pub fn continue_figures(&mut self, figures: Box<Figures>) {
        self.figures = figures;
    }

    /// All up to here is committed by a quorum.
    pub(super) fn committed(&mut self, now: Now, zxid: Zxid) {
        let before = self.commit.committed_through();
        self.commit.committed(zxid);
        let leads = matches!(self.role, CoreRole::Leading { .. });
        if !leads && !self.open {
            // What a learner hears of while it synchronises is counted nowhere in Java.
            return;
        }
        let figures = &mut self.figures;
        self.segments.each(before, zxid, |txn| {
            let (latency_ms, reconfigures) = (age_ms(now, txn), is_reconfig(txn));
            let series = match leads {
                true => &mut figures.quorum_ack_latency_ms,
                false => &mut figures.commit_latency_ms,
            };
            if let Some(latency_ms) = latency_ms.filter(|_| !leads || !reconfigures) {
                series.add(latency_ms);
            }
            let count = if leads { &mut figures.commits } else { &mut figures.commits_received };
            *count += u64::from(!reconfigures);
        });
    }

    /// A server has a proposal of this leader on its disk.
    pub(super) fn acknowledged(&mut self, now: Now, server: ServerId, zxid: Zxid) {
        let mut age = None;
        self.segments.each(Zxid(zxid.0 - 1), zxid, |txn| age = age_ms(now, txn));
        if let Some(latency_ms) = age {
            self.figures.ack_latency_by_server_ms.entry(server).or_default().add(latency_ms);
        }
    }

    /// All up to here is in this server's log; who votes says so to the leader.
    pub(super) fn durable(&mut self, now: Now, zxid: Zxid) {
        let before = self.commit.durable_through();
        self.commit.durable(zxid);
        let acknowledges =
            matches!(self.role, CoreRole::Leading { .. } | CoreRole::Learning { observer: false });
        if acknowledges {
            let series = &mut self.figures.ack_latency_ms;
            self.segments.each(before, zxid, |txn| series.extend(age_ms(now, txn)));
        }
    }

    /// A leader's proposals have come.
    pub(super) fn count_proposals(&mut self, now: Now, segment: &Segment) {
        if self.open && self.role == (CoreRole::Learning { observer: false }) {
            self.figures.proposals_received += segment.len() as u64;
            let ages = segment.records().filter_map(|(_, txn)| age_ms(now, txn));
            self.figures.proposal_latency_ms.extend(ages);
        }
    }
}

/// Milliseconds since a transaction was prepared; `None` where the clocks say that it has not been
/// yet (Java: `Request.logLatency`).
fn age_ms(now: Now, txn: &[u8]) -> Option<u64> {
    /// Session, number and zxid stand before it.
    const PLACE: usize = 20;
    let prepared_ms = i64::from_be_bytes(*txn.get(PLACE..)?.first_chunk()?);
    since_ms(now, prepared_ms)
}

/// Milliseconds since a moment of the wall clock, unless it is to come.
pub(super) fn since_ms(now: Now, wall_ms: i64) -> Option<u64> {
    u64::try_from(now.wall_ms.saturating_sub(wall_ms)).ok()
}

fn is_reconfig(txn: &[u8]) -> bool {
    /// The time stands before it as well.
    const PLACE: usize = 28;
    let op = txn.get(PLACE..).and_then(|rest| rest.first_chunk());
    op.is_some_and(|op| i32::from_be_bytes(*op) == OpCode::Reconfig.to_i32())
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::txn::TxnHeader;
    use rookeeper_jute::{Encode, SessionId, Xid};

    use super::*;

    #[test]
    fn a_header_tells_its_age_and_kind() {
        let header = |time_ms, op: OpCode| {
            let (client_id, cxid, zxid) = (SessionId(1), Xid(2), Zxid(3));
            TxnHeader { client_id, cxid, zxid, time_ms, txn_type: op.to_i32() }.to_bytes()
        };
        let now = Now { wall_ms: 1000, monotonic_us: 0 };
        assert_eq!(age_ms(now, &header(990, OpCode::Create)), Some(10));
        assert_eq!(age_ms(now, &header(1001, OpCode::Create)), None, "another clock");
        assert_eq!(age_ms(now, &[0; 27]), None);
        assert!(is_reconfig(&header(0, OpCode::Reconfig)));
        assert!(!is_reconfig(&header(0, OpCode::Create)) && !is_reconfig(&[0; 31]));
    }
}
