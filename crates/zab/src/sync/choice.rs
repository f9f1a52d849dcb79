//! DIFF, TRUNC or SNAP (Java: `LearnerHandler.syncFollower`), safer than Java where Java's choice
//! was unsound: a DIFF goes over proven history only (ZOOKEEPER-2846), a TRUNC stays within an
//! epoch, and everything else is a snapshot.

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use super::index::LogIndex;

/// What bounds the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncRules {
    /// Always a snapshot (`zookeeper.forceSnapshotSync`).
    pub force_snapshot: bool,
    /// Beyond how many bytes a snapshot is cheaper: by `snapshotSizeFactor` and
    /// the size of the tree. `None`: no bound.
    pub diff_len_max: Option<u64>,
    /// Who lacks no more transactions than this gets them however long they are
    /// (`zookeeper.commitLogCount`: what Java's leader has in memory for a DIFF).
    pub diff_count_min: u64,
}

/// What the learner does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStep {
    /// Keeps what it has.
    Diff,
    /// Cuts off what is after this.
    Trunc,
    /// Takes a snapshot.
    Snap,
}

/// How to bring a learner up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncPlan {
    /// The packet.
    pub step: SyncStep,
    /// Its zxid: of a DIFF the last one that will be sent, of a TRUNC the last one to keep, of a
    /// SNAP the snapshot's, at the least.
    pub zxid: Zxid,
    /// The history after this follows, PROPOSAL and COMMIT each; after a snapshot what is later
    /// than it.
    pub after: Zxid,
}

impl SyncPlan {
    fn diff(index: &LogIndex, after: Zxid) -> SyncPlan {
        SyncPlan { step: SyncStep::Diff, zxid: index.last(), after }
    }

    fn trunc(zxid: Zxid) -> SyncPlan {
        SyncPlan { step: SyncStep::Trunc, zxid, after: zxid }
    }

    fn snap(last_processed: Zxid) -> SyncPlan {
        SyncPlan { step: SyncStep::Snap, zxid: last_processed, after: last_processed }
    }
}

/// Chooses for a learner whose last zxid is `peer`. The index holds the leader's committed
/// history, `last_processed` is its tree's zxid (at first its epoch's counter 0).
///
/// A zxid names one transaction, and who has it has, by Zab, the same before it. A zxid with the
/// counter 0 names no transaction: an established leader of that epoch had it, or who took a
/// snapshot from one, with all that was committed in the epochs before and nothing else.
pub fn choose(peer: Zxid, index: &LogIndex, last_processed: Zxid, rules: &SyncRules) -> SyncPlan {
    let snap = SyncPlan::snap(last_processed);
    if rules.force_snapshot || peer.0 < 0 {
        return snap;
    }
    if peer == last_processed {
        return SyncPlan { step: SyncStep::Diff, zxid: peer, after: peer };
    }
    let plan = if peer < index.base() && mutation::is_on(Mutation::DiffOverGap) {
        SyncPlan::diff(index, peer)
    } else if peer < index.base() {
        // What it may have beyond its last common transaction cannot be seen from here.
        snap
    } else if peer == index.base() || index.contains(peer) || peer.counter() == 0 {
        SyncPlan::diff(index, peer)
    } else {
        // It has what this leader has not: part of an epoch's end, or an epoch of its own.
        match index.last_of(peer.epoch()) {
            Some(last) if mutation::is_on(Mutation::DivergentKept) => SyncPlan::diff(index, last),
            Some(last) => SyncPlan::trunc(last),
            None => snap,
        }
    };
    let too_long = rules.diff_len_max.is_some_and(|len_max| index.len_after(plan.after) > len_max)
        && index.count_after(plan.after) > rules.diff_count_min;
    let behind = plan.after < index.last();
    if behind && too_long { snap } else { plan }
}
