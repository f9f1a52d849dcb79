//! Proposals between this leader's mouth and their commit: who has acknowledged what, and what
//! the quorums that decide on it have agreed to (Java: `Leader.outstandingProposals`,
//! `Leader.tryToCommit`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{ServerId, Zxid};

use crate::membership::Membership;
use crate::quorum::Oracle;
use crate::segment::{self, Segment};

/// The highest mark that a quorum of every configuration has reached; `None` where there is no
/// quorum at all. `me` alone is one where the oracle grants it and two vote at most.
pub(super) fn agreed<T: Ord + Copy>(
    configurations: &[Arc<Membership>],
    oracle: Oracle,
    me: ServerId,
    marks: &[(ServerId, T)],
) -> Option<T> {
    let mut lowest: Option<T> = None;
    for membership in configurations {
        let mut voters: Vec<(T, ServerId)> = marks
            .iter()
            .filter(|(id, _)| membership.is_voter(*id))
            .map(|(id, mark)| (*mark, *id))
            .collect();
        voters.sort_unstable_by(|a, b| b.cmp(a));
        let reached = (0..voters.len()).find_map(|at| {
            let agree = voters[..=at].iter().map(|(_, id)| *id);
            membership.contains_quorum(agree).then_some(voters[at].0)
        });
        let alone = (oracle == Oracle::Grants && membership.voters().count() <= 2)
            .then(|| marks.iter().find(|(id, _)| *id == me).map(|(_, mark)| *mark))
            .flatten();
        let reached = reached.max(alone)?;
        lowest = Some(lowest.map_or(reached, |lowest| lowest.min(reached)));
    }
    lowest
}

/// From which proposal on which configurations decide.
#[derive(Debug)]
struct Rule {
    from: Zxid,
    configurations: Vec<Arc<Membership>>,
}

/// What one voter has acknowledged.
#[derive(Debug, Clone)]
struct Acks {
    /// Everything up to here.
    through: Zxid,
    /// And these, with something missing before each.
    beyond: BTreeSet<Zxid>,
}

/// The transactions of this leader's epoch.
#[derive(Debug)]
pub(super) struct Proposals {
    me: ServerId,
    /// Transactions that are not committed, or not on this server's own disk.
    segments: VecDeque<Arc<Segment>>,
    proposed: Zxid,
    committed: Zxid,
    durable: Zxid,
    acks: BTreeMap<ServerId, Acks>,
    rules: VecDeque<Rule>,
}

impl Proposals {
    /// Nothing is proposed; `durable` is this server's history.
    pub(super) fn new(me: ServerId, durable: Zxid) -> Proposals {
        Proposals {
            me,
            segments: VecDeque::new(),
            proposed: durable,
            committed: durable,
            durable,
            acks: BTreeMap::new(),
            rules: VecDeque::new(),
        }
    }

    /// The epoch begins: `zxid` is its counter 0.
    pub(super) fn begin(&mut self, zxid: Zxid, configurations: Vec<Arc<Membership>>) {
        assert!(zxid > self.committed, "an epoch is later than all before it");
        self.proposed = zxid;
        self.committed = zxid;
        for acks in self.acks.values_mut() {
            *acks = Acks { through: zxid, beyond: BTreeSet::new() };
        }
        self.decide_from(zxid.next(), configurations);
    }

    /// The last proposal, or the epoch's counter 0.
    pub(super) fn proposed(&self) -> Zxid {
        self.proposed
    }

    /// The last commit, or the epoch's counter 0; before the epoch, the end of the history.
    pub(super) fn committed(&self) -> Zxid {
        self.committed
    }

    /// The end of what is on this server's own disk.
    pub(super) fn durable(&self) -> Zxid {
        self.durable
    }

    /// From a proposal that is not committed yet on, quorums of these configurations are needed.
    pub(super) fn decide_from(&mut self, from: Zxid, configurations: Vec<Arc<Membership>>) {
        assert!(from > self.committed, "who decides on a proposal is known before its commit");
        self.rules.retain(|rule| rule.from < from);
        self.rules.push_back(Rule { from, configurations });
    }

    /// Takes transactions that follow the last one.
    pub(super) fn propose(&mut self, segment: &Arc<Segment>) {
        for (zxid, _) in segment.records() {
            assert_eq!(zxid, self.proposed.next(), "proposals follow each other");
            self.proposed = zxid;
        }
        self.segments.push_back(segment.clone());
    }

    /// This server's own log reaches up to here.
    pub(super) fn durable_through(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid);
    }

    /// A voter begins anew with what is committed by now: what it acknowledged before on another
    /// connection may be cut off from its log.
    pub(super) fn restart(&mut self, server: ServerId) {
        self.acks.insert(server, Acks { through: self.committed, beyond: BTreeSet::new() });
    }

    /// A server without a vote is gone: what it acknowledged never counts.
    pub(super) fn forget(&mut self, server: ServerId) {
        self.acks.remove(&server);
    }

    /// A voter has a transaction on its disk. False where it cannot have it.
    pub(super) fn acknowledge(&mut self, server: ServerId, zxid: Zxid) -> bool {
        if zxid > self.proposed {
            return false;
        }
        let Some(acks) = self.acks.get_mut(&server) else { return false };
        if zxid > acks.through {
            acks.beyond.insert(zxid);
            while acks.beyond.remove(&acks.through.next()) {
                acks.through = acks.through.next();
            }
        }
        true
    }

    /// What a voter has acknowledged without a gap.
    pub(super) fn acknowledged(&self, server: ServerId) -> Option<Zxid> {
        if server == self.me {
            return Some(self.durable);
        }
        self.acks.get(&server).map(|acks| acks.through)
    }

    /// Up to where the configurations that decide on the next proposal have agreed.
    pub(super) fn agreed(&self, oracle: Oracle) -> Zxid {
        let next = self.committed.next();
        let at = self.rules.iter().rposition(|rule| rule.from <= next);
        let Some(at) = at.filter(|_| self.committed < self.proposed) else {
            return self.committed;
        };
        let end = self.rules.get(at + 1).map_or(self.proposed, |rule| Zxid(rule.from.0 - 1));
        let others = self.acks.iter().filter(|(id, _)| **id != self.me);
        let mut marks: Vec<(ServerId, Zxid)> =
            others.map(|(id, acks)| (*id, acks.through)).collect();
        let alone = mutation::is_on(Mutation::CommitWithoutQuorum);
        if alone {
            return self.durable.min(end).max(self.committed);
        }
        let undurable = mutation::is_on(Mutation::LeaderCountsUndurable);
        marks.push((self.me, if undurable { self.proposed } else { self.durable }));
        let mark = agreed(&self.rules[at].configurations, oracle, self.me, &marks);
        mark.map_or(self.committed, |mark| mark.min(end).max(self.committed))
    }

    /// Commits everything up to here; returns the zxids.
    pub(super) fn commit(&mut self, through: Zxid, oracle: Oracle) -> Range<i64> {
        assert!(through > self.committed, "commits go forward");
        assert!(through <= self.agreed(oracle), "a quorum has what is committed");
        let first = self.committed.next();
        self.committed = through;
        while self.rules.get(1).is_some_and(|rule| rule.from <= through.next()) {
            self.rules.pop_front();
        }
        first.0..through.0 + 1
    }

    /// Lets go of what is committed and on disk.
    pub(super) fn release(&mut self) {
        let end = self.committed.min(self.durable);
        while self.segments.front().is_some_and(|segment| segment.last_zxid() <= end) {
            self.segments.pop_front();
        }
    }

    /// Where the transactions after one zxid and through another stand.
    pub(super) fn records(
        &self,
        after: Zxid,
        through: Zxid,
    ) -> impl Iterator<Item = (&Arc<Segment>, Range<usize>)> {
        segment::between(&self.segments, after, through)
    }
}
