//! Who said that it has what, and whether that is enough: what is committed was acknowledged by a
//! quorum of every configuration that decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::membership::Membership;
use rookeeper_zab::quorum::Ensemble;

use crate::checks::Fault;

/// What servers acknowledged, by epoch; the leader's own disk counts as the others' words do.
#[derive(Debug, Default)]
pub struct Quorums {
    said: BTreeMap<(u32, ServerId), Zxid>,
}

impl Quorums {
    /// A server has everything up to `zxid` of the zxid's epoch.
    pub fn acknowledged(&mut self, server: ServerId, zxid: Zxid) {
        let said = self.said.entry((zxid.epoch(), server)).or_insert(zxid);
        *said = (*said).max(zxid);
    }

    /// Whether a quorum of each of these configurations has acknowledged `zxid`. Who has no vote
    /// there does not count, whatever it says.
    ///
    /// # Errors
    /// If there is none.
    pub fn check(&self, zxid: Zxid, deciding: &[Arc<Membership>]) -> Result<(), Fault> {
        let epoch = zxid.epoch();
        let of_epoch = self.said.iter().filter(|((said_in, _), _)| *said_in == epoch);
        let have: Vec<ServerId> =
            of_epoch.filter(|(_, said)| **said >= zxid).map(|((_, server), _)| *server).collect();
        match deciding.iter().find(|membership| !membership.contains_quorum(have.iter().copied())) {
            None => Ok(()),
            Some(membership) => {
                let voters: Vec<ServerId> = membership.voters().collect();
                let what = format!("{zxid} is committed with {have:?}, the voters are {voters:?}");
                Err(Fault::new("committed by a quorum", what))
            }
        }
    }
}

/// What a server would be after a loss of power.
#[derive(Debug, Clone)]
pub struct Ghost {
    /// Who.
    pub server: ServerId,
    /// Its current epoch.
    pub epoch: i64,
    /// The end of its log.
    pub last: Zxid,
    /// The configurations on its disk.
    pub ensemble: Ensemble,
}

/// Who could lead if only such servers were left: whoever is the best of a quorum of all
/// configurations that it goes by, on its own disk or told by somebody who knows a later one.
pub fn electable(ghosts: &[Ghost]) -> Vec<&Ghost> {
    let could_lead = |leader: &&Ghost| {
        let own = leader.ensemble.committed().version();
        let told = ghosts.iter().map(|ghost| ghost.ensemble.committed());
        let later = told.filter(|membership| membership.version() > own);
        let mut ensembles = vec![leader.ensemble.clone()];
        for membership in later {
            let mut ensemble = leader.ensemble.clone();
            ensemble.adopt(membership.clone());
            ensembles.push(ensemble);
        }
        ensembles.iter().any(|ensemble| {
            let no_better = ghosts
                .iter()
                .filter(|ghost| (ghost.epoch, ghost.last) <= (leader.epoch, leader.last));
            let voters: Vec<ServerId> = no_better.map(|ghost| ghost.server).collect();
            ensemble.is_voter(leader.server)
                && ensemble
                    .deciding()
                    .all(|membership| membership.contains_quorum(voters.iter().copied()))
        })
    };
    ghosts.iter().filter(could_lead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookeeper_zab::membership::MembershipRules;

    fn membership(voters: &[i64], observers: &[i64], version: i64) -> Arc<Membership> {
        let line =
            |id: &i64, role: &str| format!("server.{id}=s{id}:2888:3888:{role};s{id}:2181\n");
        let voters = voters.iter().map(|id| line(id, "participant"));
        let text: String = voters.chain(observers.iter().map(|id| line(id, "observer"))).collect();
        let membership = Membership::parse(&text, &MembershipRules::default()).unwrap();
        Arc::new(membership.with_version(version))
    }

    fn ghost(server: i64, counter: u32, ensemble: Ensemble) -> Ghost {
        Ghost { server: ServerId(server), epoch: 1, last: Zxid::new(1, counter), ensemble }
    }

    #[test]
    fn an_observers_word_is_no_vote() {
        let three = membership(&[1, 2, 3], &[4], 0);
        let mut quorums = Quorums::default();
        quorums.acknowledged(ServerId(1), Zxid::new(1, 7));
        quorums.acknowledged(ServerId(4), Zxid::new(1, 7));
        quorums.acknowledged(ServerId(2), Zxid::new(2, 0));
        assert!(quorums.check(Zxid::new(1, 7), std::slice::from_ref(&three)).is_err());
        quorums.acknowledged(ServerId(2), Zxid::new(1, 7));
        quorums.check(Zxid::new(1, 7), std::slice::from_ref(&three)).unwrap();
        quorums.check(Zxid::new(1, 5), std::slice::from_ref(&three)).unwrap();
        assert!(quorums.check(Zxid::new(1, 8), std::slice::from_ref(&three)).is_err());
    }

    #[test]
    fn a_pending_change_needs_both_quorums() {
        let (old, new) = (membership(&[1, 2, 3], &[], 0), membership(&[3, 4, 5], &[], 9));
        let mut quorums = Quorums::default();
        for server in [1, 2, 3] {
            quorums.acknowledged(ServerId(server), Zxid::new(1, 9));
        }
        assert!(quorums.check(Zxid::new(1, 9), &[old.clone(), new.clone()]).is_err());
        quorums.acknowledged(ServerId(4), Zxid::new(1, 9));
        quorums.check(Zxid::new(1, 9), &[old, new]).unwrap();
    }

    #[test]
    fn the_best_of_a_quorum_can_lead_and_nobody_else() {
        let three = membership(&[1, 2, 3], &[4], 0);
        let plain = || Ensemble::new(three.clone());
        let ghosts = [
            ghost(1, 5, plain()),
            ghost(2, 7, plain()),
            ghost(3, 7, plain()),
            ghost(4, 9, plain()),
        ];
        let ids: Vec<i64> = electable(&ghosts).iter().map(|ghost| ghost.server.0).collect();
        assert_eq!(ids, [2, 3], "the first is behind, the last has no vote");
    }

    #[test]
    fn who_forgot_its_removal_leads_with_those_who_never_heard_of_it() {
        let (old, new) = (membership(&[1, 2, 3, 4, 5], &[], 4), membership(&[1, 2, 3], &[], 9));
        let back = |version| Ensemble::new(membership(&[1, 2, 3], &[5], version));
        let mut ghosts = vec![
            ghost(1, 20, Ensemble::new(new.clone())),
            ghost(2, 20, Ensemble::new(new)),
            ghost(3, 7, Ensemble::new(old.clone())),
            ghost(4, 7, Ensemble::new(old)),
            ghost(5, 15, back(0)),
        ];
        let ids = |ghosts: &[Ghost]| -> Vec<i64> {
            electable(ghosts).iter().map(|ghost| ghost.server.0).collect()
        };
        assert_eq!(ids(&ghosts), [1, 2, 5], "the third and the fourth are enough for it");
        ghosts[4].ensemble = back(8);
        assert_eq!(ids(&ghosts), [1, 2]);
    }

    #[test]
    fn who_knows_of_a_change_needs_both_quorums_and_who_does_not_only_the_old_one() {
        let (old, new) = (membership(&[1, 2, 3], &[], 0), membership(&[3, 4, 5], &[], 9));
        let pending = || Ensemble::with_last_seen(old.clone(), new.clone());
        let ghosts = [
            ghost(1, 8, Ensemble::new(old.clone())),
            ghost(2, 8, Ensemble::new(old.clone())),
            ghost(3, 9, pending()),
            ghost(4, 3, Ensemble::new(old.clone())),
        ];
        let ids: Vec<i64> = electable(&ghosts).iter().map(|ghost| ghost.server.0).collect();
        assert_eq!(ids, [1, 2, 3], "both together without the third; the third with everybody");
        let alone = &ghosts[..3];
        let ids: Vec<i64> = electable(alone).iter().map(|ghost| ghost.server.0).collect();
        assert_eq!(ids, [1, 2], "the third lacks a quorum of the new one");
        // Who is told of a committed change goes by it.
        let told = [
            ghost(3, 9, Ensemble::new(new.clone())),
            ghost(4, 9, Ensemble::new(old.clone())),
            ghost(1, 8, Ensemble::new(old)),
        ];
        let ids: Vec<i64> = electable(&told).iter().map(|ghost| ghost.server.0).collect();
        assert_eq!(ids, [3, 4]);
    }
}
