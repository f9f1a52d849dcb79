//! What ends an election that nobody in force can win because of a change that is pending.
//!
//! A leader proposes to the change's new voters too, so they may have more in their logs than
//! everybody else has. Then they vote for nobody, who else knows of the change has no quorum of it
//! without them, and as they do not vote in force they propose nobody: Java's servers look for
//! ever. None of it can be passed over, since the change may be in force, and a quorum of its
//! voters may have committed what they have.
//! - After a while such a new voter proposes itself. Who knows of the change elects it.
//! - Who votes in force and hears it proposes itself no more for a moment, or those who know
//!   nothing of the change would go on to elect that one. If they are a quorum they elect one of
//!   their own now: then the change was never committed. Who knew of it follows once that one's
//!   epoch has begun, for it would not begin with somebody there who has more.

use rookeeper_jute::ServerId;

use super::vote::{Ballot, Vote};
use super::{Election, ElectionEffect, Phase};

/// How long a new voter waits before it stands, and for how long it keeps others from it, in waits
/// for a better vote (2 s by default).
const WAITS: u64 = 10;

/// What a server remembers of it from round to round.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// When it began to look.
    since_ms: u64,
    /// It proposes itself though it does not vote in force.
    stands: bool,
    /// Until then it proposes nobody, as a new voter that has more does itself.
    yields_until_ms: Option<u64>,
}

impl Standing {
    /// The server has no leader any more.
    pub(super) fn begin(&mut self, now_ms: u64) {
        (self.since_ms, self.stands) = (now_ms, false);
    }

    /// The server has a leader.
    pub(super) fn end(&mut self) {
        *self = Standing::default();
    }
}

impl Election {
    /// What this server votes for at the start of a round.
    pub(super) fn initial_vote(&self) -> Vote {
        let vote =
            Vote::initial(&self.ensemble, self.config.me, self.last_zxid, self.current_epoch);
        if self.standing.stands && self.is_new_voter(self.config.me) {
            self.own_vote()
        } else if self.standing.yields_until_ms.is_some() {
            vote.for_nobody()
        } else {
            vote
        }
    }

    /// This server's history as a vote, whatever its part.
    fn own_vote(&self) -> Vote {
        let (leader, zxid) = (self.config.me, self.last_zxid);
        Vote { leader, zxid, peer_epoch: self.current_epoch }
    }

    /// Whether a server votes in the change that is pending, and not in force.
    fn is_new_voter(&self, server: ServerId) -> bool {
        let (committed, last_seen) = (self.ensemble.committed(), self.ensemble.last_seen());
        self.ensemble.is_pending() && last_seen.is_voter(server) && !committed.is_voter(server)
    }

    /// When this server has to do something about its standing.
    pub(super) fn standing_at_ms(&self) -> Option<u64> {
        let Phase::Looking(looking) = &self.phase else { return None };
        let wait_ms = self.config.finalize_wait_ms.saturating_mul(WAITS);
        let stands_at_ms = self.standing.since_ms.saturating_add(wait_ms);
        // Nobody is better than it is, and somebody else looks.
        let initial = self.initial_vote();
        let may_stand = self.is_new_voter(self.config.me)
            && initial.is_for_nobody()
            && initial.has_history()
            && looking.proposal().is_for_nobody()
            && looking.is_heard();
        may_stand.then_some(stands_at_ms).or(self.standing.yields_until_ms)
    }

    /// Stands, or proposes itself again, where the time has come.
    pub(super) fn stand(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        if self.standing_at_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        if self.standing.yields_until_ms.take().is_none() {
            self.standing.stands = true;
        }
        if let Phase::Looking(looking) = &self.phase
            && looking.proposal().is_for_nobody()
        {
            self.look(now_ms, effects);
        }
    }

    /// A voter that looks has said whom it votes for: gives way where that one stands.
    pub(super) fn give_way(&mut self, now_ms: u64, from: ServerId, ballot: &Ballot) {
        let stands = ballot.vote.leader == from && self.is_new_voter(from);
        let better = ballot.vote.is_better_than(&self.own_vote(), &self.ensemble);
        if stands && better && self.ensemble.committed().is_voter(self.config.me) {
            let wait_ms = self.config.finalize_wait_ms.saturating_mul(WAITS);
            self.standing.yields_until_ms = Some(now_ms.saturating_add(wait_ms));
        }
    }

    /// Whether this server, which gives way, has more than a leader whose epoch has not begun.
    pub(super) fn waits_for(&self, leader: &Vote) -> bool {
        let own = (self.current_epoch, self.last_zxid);
        self.standing.yields_until_ms.is_some() && (leader.peer_epoch, leader.zxid) < own
    }
}
