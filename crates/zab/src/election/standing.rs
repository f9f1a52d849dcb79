//! What ends an election that nobody in force can win because of a change that is pending.
//!
//! A leader proposes to the change's new voters too, so they may have more in their logs than
//! everybody else has. Then they vote for nobody, who else knows of the change has no quorum of it
//! without them, and as they do not vote in force they propose nobody: Java's servers look for
//! ever. None of it can be passed over, since the change may be in force, and a quorum of its
//! voters may have committed what they have.
//! - After a while such a new voter proposes itself, and after the same while nobody again, for
//!   longer each time: it may not be what the others wait for. Who knows of the change elects it.
//! - Who votes in force and hears it proposes itself no more for a moment, or those who know
//!   nothing of the change would go on to elect that one. If they are a quorum they elect one of
//!   their own now: then the change was never committed. Who knew of it follows once that one's
//!   epoch has begun, for it would not begin with somebody there who has more.
//!
//! Nobody leads, as in Java, where a quorum in force is there, who knows nothing of the change is
//! needed for it, and has less than somebody else in it who knows of the change: that one needs
//! the new voter, whom the other does not hear.

use rookeeper_jute::{ServerId, Zxid};

use super::vote::{Ballot, Vote, counts, is_new_voter};
use super::{Election, ElectionEffect, Phase};

/// How long a new voter waits before it stands, and how long it stands, and for how long it keeps
/// others from it, in waits for a better vote (2 s by default).
const WAITS: u64 = 10;

/// How long it rests at most before it stands again, in the same unit.
const WAITS_MAX: u64 = 16 * WAITS;

/// What a server remembers of it from round to round.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Not before then does it propose itself without a vote in force.
    stands_from_ms: u64,
    /// Until then it does.
    stands_until_ms: Option<u64>,
    /// How long it rests next, in waits for a better vote.
    rests_for: u64,
    /// Until then it proposes nobody, as a new voter that has more does itself.
    yields_until_ms: Option<u64>,
}

impl Standing {
    /// The server has no leader any more.
    pub(super) fn begin(&mut self, now_ms: u64, wait_ms: u64) {
        (self.stands_until_ms, self.rests_for) = (None, 0);
        self.rest(now_ms, wait_ms);
    }

    fn rest(&mut self, now_ms: u64, wait_ms: u64) {
        self.stands_until_ms = None;
        self.rests_for = (2 * self.rests_for).clamp(WAITS, WAITS_MAX);
        self.stands_from_ms = now_ms.saturating_add(wait_ms.saturating_mul(self.rests_for));
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
        if self.stands() {
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

    fn history(&self) -> (i64, Zxid) {
        (self.current_epoch, self.last_zxid)
    }

    /// Whether this server proposes itself though it does not vote in force.
    fn stands(&self) -> bool {
        self.standing.stands_until_ms.is_some() && is_new_voter(self.config.me, &self.ensemble)
    }

    /// When this server has to do something about its standing.
    pub(super) fn standing_at_ms(&self) -> Option<u64> {
        let Phase::Looking(looking) = &self.phase else { return None };
        // Nobody is better than it is, and somebody else looks.
        let initial = self.initial_vote();
        let may_stand = is_new_voter(self.config.me, &self.ensemble)
            && initial.is_for_nobody()
            && initial.has_history()
            && looking.proposal().is_for_nobody()
            && looking.is_heard();
        let from_ms = may_stand.then_some(self.standing.stands_from_ms);
        self.standing.stands_until_ms.or(from_ms).or(self.standing.yields_until_ms)
    }

    /// Stands, rests from it, or proposes itself again, where the time has come.
    pub(super) fn stand(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        if self.standing_at_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        let wait_ms = self.config.finalize_wait_ms;
        if self.standing.stands_until_ms.is_some() {
            self.standing.rest(now_ms, wait_ms);
        } else if self.standing.yields_until_ms.take().is_none() {
            let until_ms = now_ms.saturating_add(wait_ms.saturating_mul(WAITS));
            self.standing.stands_until_ms = Some(until_ms);
        }
        if let Phase::Looking(looking) = &self.phase
            && (looking.proposal().is_for_nobody() || looking.proposal().leader == self.config.me)
        {
            self.look(now_ms, effects);
        }
    }

    /// A voter that looks has said whom it votes for. Whether this server stood, and does so no
    /// more since somebody in force has as much.
    pub(super) fn gives_up(&mut self, now_ms: u64, ballot: &Ballot) -> bool {
        let in_force = counts(ballot.vote.leader, self.ensemble.committed());
        let gives_up = self.stands() && in_force && history_of(&ballot.vote) >= self.history();
        if gives_up {
            self.standing.rest(now_ms, self.config.finalize_wait_ms);
        }
        gives_up
    }

    /// Gives way where a voter stands that has more.
    pub(super) fn give_way(&mut self, now_ms: u64, from: ServerId, ballot: &Ballot) {
        let stands = ballot.vote.leader == from && is_new_voter(from, &self.ensemble);
        let votes = self.ensemble.committed().is_voter(self.config.me);
        if stands && votes && history_of(&ballot.vote) > self.history() {
            let wait_ms = self.config.finalize_wait_ms.saturating_mul(WAITS);
            self.standing.yields_until_ms = Some(now_ms.saturating_add(wait_ms));
        }
    }

    /// Whether this server, which gives way, has more than a leader whose epoch has not begun.
    pub(super) fn waits_for(&self, leader: &Vote) -> bool {
        self.standing.yields_until_ms.is_some() && history_of(leader) < self.history()
    }
}

/// What decides who has more.
fn history_of(vote: &Vote) -> (i64, Zxid) {
    (vote.peer_epoch, vote.zxid)
}
