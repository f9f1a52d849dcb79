//! What a learner has taken over: which proposal is the next, which commit, what may be
//! acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use super::types::{LearnerEffect, LearnerEnd};
use crate::membership::Membership;
use crate::segment::SegmentBuilder;

/// Proposals are handed over at the latest when they are about so long.
const SEGMENT_LEN: usize = 1 << 20;

/// The history as it grows.
#[derive(Debug)]
pub(super) struct History {
    /// The last transaction here.
    last: Zxid,
    /// What a snapshot holds comes again: proposals and commits up to here are passed over.
    snapshot: Option<Zxid>,
    /// Proposals that wait for their commit.
    pending: VecDeque<Zxid>,
    /// Reconfigurations that wait for theirs.
    reconfigurations: VecDeque<(Zxid, Arc<Membership>)>,
    committed: Zxid,
    durable: Zxid,
    /// Proposals that the leader wants acknowledged.
    unacknowledged: VecDeque<Zxid>,
    /// Whether any are: observers acknowledge none.
    voter: bool,
    acknowledged: Zxid,
    /// Whether NEWLEADER came.
    led: bool,
    /// What was not handed over yet.
    builder: SegmentBuilder,
    commit: Option<Zxid>,
}

impl History {
    /// Everything up to `last`, all of it durable.
    pub(super) fn new(last: Zxid, voter: bool) -> History {
        History {
            last,
            snapshot: None,
            pending: VecDeque::new(),
            reconfigurations: VecDeque::new(),
            committed: last,
            durable: last,
            unacknowledged: VecDeque::new(),
            voter,
            acknowledged: Zxid(i64::MIN),
            led: false,
            builder: SegmentBuilder::default(),
            commit: None,
        }
    }

    /// The last transaction here.
    pub(super) fn last(&self) -> Zxid {
        self.last
    }

    /// The log was cut, and ends here.
    pub(super) fn truncated(&mut self, last: Zxid) {
        *self = History::new(last, self.voter);
    }

    /// A snapshot took the place of everything.
    pub(super) fn replaced(&mut self, zxid: Zxid) {
        *self = History { snapshot: Some(zxid), ..History::new(zxid, self.voter) };
    }

    /// Whether a snapshot holds this transaction.
    fn in_snapshot(&self, zxid: Zxid) -> bool {
        self.snapshot.is_some_and(|snapshot| zxid <= snapshot)
    }

    /// Takes a proposal, which has to be the next one: the counter goes on, or begins at 1 in a
    /// later epoch that is not later than the leader's (Java: `Learner.enforceContinuousProposal`,
    /// which lets a later epoch begin anywhere).
    pub(super) fn propose(
        &mut self,
        zxid: Zxid,
        leader_epoch: i64,
        txn: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        if self.in_snapshot(zxid) && self.snapshot == Some(self.last) {
            return Ok(());
        }
        let (last, epoch) = (self.last, zxid.0 >> 32);
        let follows = if mutation::is_on(Mutation::DiffOverGap) {
            true
        } else if zxid.epoch() == last.epoch() {
            last.0.checked_add(1) == Some(zxid.0)
        } else {
            zxid.counter() == 1
        };
        if !follows || zxid <= last || epoch > leader_epoch || zxid.counter() == 0 {
            return Err(LearnerEnd::Gap { last, got: zxid });
        }
        self.last = zxid;
        self.pending.push_back(zxid);
        if self.voter {
            self.unacknowledged.push_back(zxid);
        }
        self.builder.push(zxid, txn);
        if self.builder.bytes_len() >= SEGMENT_LEN {
            self.hand_over(effects);
        }
        Ok(())
    }

    /// Remembers the configuration of a proposed reconfiguration.
    pub(super) fn propose_membership(&mut self, zxid: Zxid, membership: Arc<Membership>) {
        self.reconfigurations.push_back((zxid, membership));
    }

    /// Whether a configuration of this version is only proposed in the leader's epoch, as far as
    /// this learner was told. The first leader's version is no transaction.
    pub(super) fn is_pending(&self, version: Zxid, leader_epoch: i64) -> bool {
        let waits = self.reconfigurations.iter().any(|(zxid, _)| *zxid == version);
        let is_to_come = i64::from(version.epoch()) == leader_epoch && version > self.last;
        waits || is_to_come && version.counter() != 0
    }

    /// Takes a commit, which has to be of the oldest proposal that waits for one. Returns the
    /// configuration where that is a reconfiguration.
    pub(super) fn commit(&mut self, zxid: Zxid) -> Result<Option<Arc<Membership>>, LearnerEnd> {
        if self.is_next(zxid) {
            self.pending.pop_front();
            assert!(zxid > self.committed, "commits come in the order of proposals");
            self.committed = zxid;
            self.commit = Some(zxid);
            // What is committed before NEWLEADER needs no acknowledgement: that of NEWLEADER
            // stands for it.
            if !self.led && self.unacknowledged.front() == Some(&zxid) {
                self.unacknowledged.pop_front();
            }
        } else if !self.in_snapshot(zxid) {
            let next = self.pending.front().copied();
            return Err(LearnerEnd::UnmatchedCommit { next, got: zxid });
        }
        while let Some((proposed, membership)) = self.reconfigurations.pop_front() {
            if proposed == zxid {
                return Ok(Some(membership));
            }
            if proposed > zxid {
                self.reconfigurations.push_front((proposed, membership));
                break;
            }
        }
        Ok(None)
    }

    /// Whether this is the proposal that has to be committed next.
    pub(super) fn is_next(&self, zxid: Zxid) -> bool {
        self.pending.front() == Some(&zxid)
    }

    /// Hands over what was gathered, in the order that it came in.
    pub(super) fn hand_over(&mut self, effects: &mut Vec<LearnerEffect>) {
        if !self.builder.is_empty() {
            effects.push(LearnerEffect::Proposals(self.builder.freeze()));
        }
        if let Some(zxid) = self.commit.take() {
            effects.push(LearnerEffect::Commit(zxid));
        }
    }

    /// NEWLEADER came: every proposal that was not committed before it is acknowledged.
    pub(super) fn new_leader(&mut self) {
        self.led = true;
        if mutation::is_on(Mutation::OutstandingForgotten) {
            self.pending.clear();
            self.unacknowledged.clear();
        }
    }

    /// Everything up to here is durable.
    pub(super) fn durable(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid);
    }

    /// How much may be acknowledged by now.
    pub(super) fn acknowledgeable_len(&self) -> usize {
        self.unacknowledged.partition_point(|zxid| *zxid <= self.durable)
    }

    /// Takes out what may be acknowledged by now.
    pub(super) fn acknowledgeable(&mut self) -> Option<Zxid> {
        if mutation::is_on(Mutation::AckBeforeDurable) {
            return self.unacknowledged.pop_front();
        }
        let zxid = *self.unacknowledged.front().filter(|zxid| **zxid <= self.durable)?;
        self.unacknowledged.pop_front();
        assert!(zxid <= self.durable, "nothing is acknowledged that is not durable");
        assert!(zxid > self.acknowledged, "acknowledgements are in the order of proposals");
        self.acknowledged = zxid;
        Some(zxid)
    }
}
