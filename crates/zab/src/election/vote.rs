//! Votes, and how they compare (Java: `Vote`, `FastLeaderElection.totalOrderPredicate`).

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::quorum::PeerState;
use rookeeper_jute::{ServerId, Zxid};

use crate::membership::Membership;
use crate::quorum::Ensemble;

/// What who has no vote puts in place of a server, a zxid and an epoch (Java: `Long.MIN_VALUE`).
const NOTHING: i64 = i64::MIN;

/// The zxid of a server that does not know what it should hold: its directory is no database. It
/// votes for nobody, and nobody for it.
pub(super) const UNKNOWN: Zxid = Zxid(-1);

/// A server proposed as leader, and what makes it fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The server.
    pub leader: ServerId,
    /// The last zxid in its log.
    pub zxid: Zxid,
    /// Its current epoch.
    pub peer_epoch: i64,
}

impl Vote {
    /// What a server votes for at the start of a round: itself. Who does not vote in the
    /// committed configuration proposes nobody, and an observer has no history to offer either.
    /// (Java's has none where a change that is pending makes it a voter, so that its vote helps to
    /// elect who has less than it has.) Nor does who votes there with a weight of nothing, and is
    /// needed for the change: Java's votes for itself for ever, as who loses against it does.
    pub fn initial(ensemble: &Ensemble, me: ServerId, zxid: Zxid, epoch: i64) -> Vote {
        let proposes = ensemble.committed().is_voter(me) && !is_new_voter(me, ensemble);
        let leader = if proposes { me } else { ServerId(NOTHING) };
        if ensemble.only_observes(me) {
            return Vote { leader, zxid: Zxid(NOTHING), peer_epoch: NOTHING };
        }
        Vote { leader, zxid, peer_epoch: epoch }
    }

    /// The same history, and nobody proposed.
    pub(super) fn for_nobody(self) -> Vote {
        Vote { leader: ServerId(NOTHING), ..self }
    }

    /// Whether it tells of a history: not that of an observer, nor of who does not know its own.
    pub(super) fn has_history(&self) -> bool {
        self.zxid != Zxid(NOTHING) && self.zxid != UNKNOWN
    }

    /// Whether it proposes nobody: that of a server without a vote that has heard of no other.
    pub fn is_for_nobody(&self) -> bool {
        self.leader == ServerId(NOTHING)
    }

    /// Whether this vote wins over `other`: by epoch, then zxid, then id. A server whose vote
    /// weighs nothing never wins.
    pub fn is_better_than(&self, other: &Vote, ensemble: &Ensemble) -> bool {
        let looks =
            !mutation::is_on(Mutation::VoteIgnoresZxid) && !mutation::is_on(Mutation::AheadIgnored);
        let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid.0 * i64::from(looks), vote.leader);
        has_weight(self.leader, ensemble) && rank(self) > rank(other)
    }
}

/// Whether a voter's vote weighs anything: in the committed configuration, or in the proposed one.
fn has_weight(id: ServerId, ensemble: &Ensemble) -> bool {
    counts(id, ensemble.committed()) || ensemble.last_seen().weight(id) > 0
}

/// Whether a server votes in a configuration, and that weighs anything there.
pub(super) fn counts(id: ServerId, membership: &Membership) -> bool {
    membership.is_voter(id) && membership.weight(id) > 0
}

/// Whether a server's vote counts in the change that is pending, and does not in force.
pub(super) fn is_new_voter(id: ServerId, ensemble: &Ensemble) -> bool {
    let (committed, last_seen) = (ensemble.committed(), ensemble.last_seen());
    ensemble.is_pending() && counts(id, last_seen) && !counts(id, committed)
}

/// A vote as a server announced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// For whom.
    pub vote: Vote,
    /// In which round of election.
    pub round: i64,
    /// What the server was doing.
    pub state: PeerState,
    /// The version of its notification.
    pub version: i32,
}

impl Ballot {
    /// Whether two ballots count for one leader. While anybody still looks all has to be equal;
    /// servers that have settled may differ in zxid and round, and where one of the two does not
    /// say how old it is, in the epoch as well (Java: `Vote.equals`).
    pub fn agrees_with(&self, other: &Ballot) -> bool {
        let looking = |ballot: &Ballot| ballot.state == PeerState::Looking;
        if looking(self) || looking(other) {
            return self.vote == other.vote && self.round == other.round;
        }
        let comparable = (self.version > 0) == (other.version > 0);
        self.vote.leader == other.vote.leader
            && (!comparable || self.vote.peer_epoch == other.vote.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_ballots_may_differ_in_zxid_and_round() {
        let vote = Vote { leader: ServerId(1), zxid: Zxid(5), peer_epoch: 2 };
        let looking = Ballot { vote, round: 3, state: PeerState::Looking, version: 2 };
        let following = Ballot { state: PeerState::Following, ..looking };
        let other_zxid = Ballot { vote: Vote { zxid: Zxid(9), ..vote }, round: 4, ..following };
        let other_epoch = Ballot { vote: Vote { peer_epoch: 3, ..vote }, ..following };
        let other_leader = Ballot { vote: Vote { leader: ServerId(2), ..vote }, ..following };
        assert!(following.agrees_with(&looking));
        assert!(following.agrees_with(&other_zxid));
        assert!(!looking.agrees_with(&other_zxid));
        assert!(!following.agrees_with(&other_epoch));
        assert!(following.agrees_with(&Ballot { version: 0, ..other_epoch }));
        assert!(!following.agrees_with(&other_leader));
    }
}
