//! Counting acknowledgements towards the quorums that matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use rookeeper_jute::ServerId;

use crate::membership::{Membership, Role};

/// What the outside judge says in an ensemble of two voters (`oraclePath`; Java:
/// `QuorumOracleMaj`). Drivers read its file and hand the answer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Oracle {
    /// There is none, or this server hears its peer and needs none.
    #[default]
    Absent,
    /// This server must not go on without its peer.
    Refuses,
    /// This server may go on without its peer.
    Grants,
}

/// The configurations that count: the committed one and the last one proposed.
#[derive(Debug, Clone)]
pub struct Ensemble {
    committed: Arc<Membership>,
    last_seen: Arc<Membership>,
}

impl Ensemble {
    /// A committed configuration with nothing pending.
    pub fn new(committed: Arc<Membership>) -> Ensemble {
        Ensemble { last_seen: committed.clone(), committed }
    }

    /// A committed configuration and the last one that was proposed.
    pub fn with_last_seen(committed: Arc<Membership>, last_seen: Arc<Membership>) -> Ensemble {
        Ensemble { committed, last_seen }
    }

    /// The committed configuration.
    pub fn committed(&self) -> &Arc<Membership> {
        &self.committed
    }

    /// The last configuration proposed, which may be the committed one.
    pub fn last_seen(&self) -> &Arc<Membership> {
        &self.last_seen
    }

    /// Whether a configuration was proposed after the committed one.
    pub fn is_pending(&self) -> bool {
        self.last_seen.version() > self.committed.version()
    }

    /// The configurations of which a quorum is needed: the committed one and a newer one, if
    /// that is pending.
    pub fn deciding(&self) -> impl Iterator<Item = &Arc<Membership>> {
        let pending = self.is_pending();
        std::iter::once(&self.committed).chain(pending.then_some(&self.last_seen))
    }

    /// Who votes in the committed or in the last proposed configuration, by id.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        self.committed.voters().chain(self.last_seen.voters()).collect()
    }

    /// Whether a server votes in either configuration.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.committed.is_voter(id) || self.last_seen.is_voter(id)
    }

    /// The role of a server in the committed configuration. One that is not in it takes part
    /// without a vote (Java: `QuorumPeer.updateLearnerType`).
    pub fn role(&self, id: ServerId) -> Role {
        self.committed.member(id).map_or(Role::Participant, |member| member.role)
    }

    /// Whether a server observes, and no change that is pending makes it a voter.
    pub fn only_observes(&self, id: ServerId) -> bool {
        self.role(id) == Role::Observer && !self.is_voter(id)
    }

    /// Takes over a configuration that others have committed.
    pub fn adopt(&mut self, membership: Arc<Membership>) {
        if membership.version() > self.last_seen.version() {
            self.last_seen = membership.clone();
        }
        self.committed = membership;
    }
}

/// Servers that agreed to something, counted in each configuration that has to (Java:
/// `SyncedLearnerTracker`).
#[derive(Debug, Clone)]
pub struct Tally {
    configurations: Vec<Arc<Membership>>,
    servers: BTreeSet<ServerId>,
}

impl Tally {
    /// Nobody yet, of the configurations that decide.
    pub fn new(ensemble: &Ensemble) -> Tally {
        Tally { configurations: ensemble.deciding().cloned().collect(), servers: BTreeSet::new() }
    }

    /// Counts a server where it votes; true if that is anywhere.
    pub fn add(&mut self, id: ServerId) -> bool {
        let votes = self.configurations.iter().any(|membership| membership.is_voter(id));
        if votes {
            self.servers.insert(id);
        }
        votes
    }

    /// Who was counted.
    pub fn servers(&self) -> &BTreeSet<ServerId> {
        &self.servers
    }

    /// Whether there is a quorum of every configuration. `oracle` stands in for the missing peer
    /// where there are two voters at most.
    pub fn is_quorum(&self, oracle: Oracle) -> bool {
        self.configurations.iter().all(|membership| {
            let granted = oracle == Oracle::Grants && membership.voters().count() <= 2;
            granted || membership.contains_quorum(self.servers.iter().copied())
        })
    }
}
