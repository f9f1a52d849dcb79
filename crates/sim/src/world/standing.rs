//! Where servers stand when one of them is elected, what they say of each other, and what states
//! they have shown at which transaction.
//!
//! Some mistakes lose nothing here, since somebody else looks too: a leader that lacks what a
//! quorum has hears of it in the discovery, a learner that forgot a proposal leaves its leader when
//! that is committed. So they are judged where they are made.

use std::collections::BTreeMap;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_store::EpochFile;
use rookeeper_zab::quorum::Ensemble;

use super::process::{Engine, server_id};
use super::{Who, World};
use crate::checks::Fault;

/// How far a server's history goes: its current epoch, and its last transaction.
pub type Standing = (i64, Zxid);

/// What a server is known to have had at two times; `None` where it was down.
type Known = (ServerId, [Option<Standing>; 2]);

/// Whether who was elected may lead: a quorum of each configuration that decides had no more than
/// it, when it began to look or now. Who is down may have voted before.
///
/// # Errors
/// If there is none.
fn may_lead(own: Standing, others: &[Known], ensemble: &Ensemble) -> Result<(), Fault> {
    let is_behind = |known: &&Known| known.1.iter().any(|had| had.is_none_or(|had| had <= own));
    let behind: Vec<ServerId> = others.iter().filter(is_behind).map(|(id, _)| *id).collect();
    let mut deciding = ensemble.deciding();
    match deciding.find(|membership| !membership.contains_quorum(behind.iter().copied())) {
        None => Ok(()),
        Some(membership) => {
            let voters: Vec<ServerId> = membership.voters().collect();
            let what = format!("elected with {own:?}, of {voters:?} only {behind:?} had no more");
            Err(Fault::new("election", what))
        }
    }
}

/// What a learner that leaves its leader says of one that breaks the protocol. Leaders of ours do
/// not, and what one forgets itself looks the same to it.
const ACCUSATIONS: [&str; 8] = [
    "commit of ",
    "proposal ",
    " while ",
    "unknown packet type",
    " lacks its data",
    "NEWLEADER is of epoch",
    "where the last transaction is",
    "which is no reconfiguration",
];

fn accuses(reason: &str) -> bool {
    !reason.contains("timeout") && ACCUSATIONS.iter().any(|text| reason.contains(text))
}

/// The digest of every state that any server has shown.
#[derive(Debug, Default)]
pub struct Shown(BTreeMap<Zxid, i64>);

impl Shown {
    /// Somebody shows a state.
    ///
    /// # Errors
    /// If another one was shown at the same transaction.
    fn add(&mut self, zxid: Zxid, digest: i64, whose: &str) -> Result<(), Fault> {
        match *self.0.entry(zxid).or_insert(digest) {
            known if known == digest => Ok(()),
            known => {
                let what = format!("{whose} has {digest:x} at {zxid}, shown was {known:x}");
                Err(Fault::new("digest", what))
            }
        }
    }
}

impl World {
    /// The standings of all servers that run, in their order.
    fn standings(&self) -> Vec<Option<Standing>> {
        let standing = |server: usize| {
            let process = self.machines[server].process.as_ref()?;
            let epoch = process.storage.store().epoch(EpochFile::Current).ok()??;
            Some((epoch.max(0), process.before_install.unwrap_or(process.last_appended)))
        };
        (0..self.machines.len()).map(standing).collect()
    }

    /// A server begins to look for a leader.
    pub(super) fn looks(&mut self, who: Who) {
        let standings = self.standings();
        if let Some(process) = self.process(who) {
            process.standings = standings;
        }
    }

    /// A server's election has ended with itself.
    pub(super) fn is_elected(&mut self, who: Who) {
        let now = self.standings();
        let Some(process) = self.process(who) else { return };
        let Engine::Member(replica) = &process.engine else { return };
        let report = replica.report();
        let ensemble = Ensemble::with_last_seen(report.committed, report.last_seen);
        let Some(own) = now[who.server] else { return };
        let before = process.standings.iter().zip(&now).enumerate();
        let others: Vec<Known> =
            before.map(|(server, (before, now))| (server_id(server), [*before, *now])).collect();
        let may_lead = may_lead(own, &others, &ensemble);
        self.note(may_lead);
    }

    /// A role has ended, for a reason.
    pub(super) fn role_ended(&mut self, who: Who, reason: &str) {
        *self.report.endings.entry(reason.into()).or_default() += 1;
        if accuses(reason) {
            self.fail("protocol of peers", format!("server {} ends: {reason}", who.server));
        }
        self.looks(who);
    }

    /// A member shows a state. One that stands alone gives a zxid again that a crash took back.
    pub(super) fn shows(&mut self, whose: &str, zxid: Zxid, digest: i64) {
        if self.first.is_none() {
            return;
        }
        let shown = self.shown.add(self.lineage.resolve(zxid), digest, whose);
        self.note(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use rookeeper_zab::learner::LearnerEnd;

    use crate::world::process::membership;

    fn z(counter: u32) -> Zxid {
        Zxid::new(1, counter)
    }

    #[test]
    fn who_is_elected_has_no_less_than_a_quorum() {
        let ensemble = Ensemble::new(Arc::new(membership(3, 1, None)));
        let others = |had: [u32; 4]| -> Vec<Known> {
            let one = |(at, had): (usize, u32)| (server_id(at), [Some((1, z(had))); 2]);
            had.into_iter().enumerate().map(one).collect()
        };
        may_lead((1, z(5)), &others([5, 9, 3, 9]), &ensemble).unwrap();
        may_lead((2, z(5)), &others([9, 9, 9, 9]), &ensemble).unwrap();
        let behind = may_lead((1, z(5)), &others([5, 9, 9, 1]), &ensemble);
        assert!(behind.is_err(), "an observer is no quorum's");
        let mut one_down = others([5, 9, 9, 9]);
        one_down[1].1 = [Some((1, z(9))), None];
        may_lead((1, z(5)), &one_down, &ensemble).unwrap();
    }

    #[test]
    fn who_says_that_the_leader_breaks_the_protocol_is_heard() {
        for end in [
            LearnerEnd::UnmatchedCommit { next: None, got: z(7) },
            LearnerEnd::Gap { last: z(5), got: z(7) },
            LearnerEnd::UnknownPacket(77),
            LearnerEnd::OtherEpoch { got: 3, announced: 4 },
            LearnerEnd::NoReconfiguration(z(3)),
            LearnerEnd::BadTransaction { zxid: z(3) },
        ] {
            assert!(accuses(&end.to_string()), "{end}");
        }
        for end in [
            LearnerEnd::Closed,
            LearnerEnd::CannotConnect,
            LearnerEnd::Silent { timeout_ms: 5 },
            LearnerEnd::EpochTooOld { epoch: 3, accepted: 4 },
        ] {
            assert!(!accuses(&end.to_string()), "{end}");
        }
        assert!(!accuses("timeout while waiting for epoch from quorum"));
    }

    #[test]
    fn two_states_at_one_transaction_are_found() {
        let mut shown = Shown::default();
        shown.add(z(1), 7, "one").unwrap();
        shown.add(z(2), 8, "one").unwrap();
        shown.add(z(1), 7, "another").unwrap();
        assert!(shown.add(z(2), 9, "another").is_err());
    }
}
