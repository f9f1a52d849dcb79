//! One election: rounds, votes, the quorum and the wait for a better vote.

use std::collections::{BTreeMap, BTreeSet};

use rookeeper_jute::ServerId;
use rookeeper_jute::quorum::{NOTIFICATION_VERSION, PeerState};

use super::vote::{Ballot, UNKNOWN, Vote};
use super::{Election, ElectionEffect, Phase, ROUND_MAX, Reach};
use crate::quorum::{Ensemble, Oracle, Tally};

/// What a server keeps while it looks.
#[derive(Debug)]
pub(super) struct Looking {
    proposal: Vote,
    /// Ballots of this round.
    votes: BTreeMap<ServerId, Ballot>,
    /// Ballots of those who have a leader, of any round.
    settled: BTreeMap<ServerId, Ballot>,
    /// When notifications go out again.
    next_notification_ms: u64,
    interval_ms: u64,
    /// When the proposal, agreed on by a quorum, stands.
    final_at_ms: Option<u64>,
    /// Somebody else looks, in this round or an earlier one.
    is_heard: bool,
}

impl Looking {
    pub(super) fn proposal(&self) -> Vote {
        self.proposal
    }

    /// Whether anybody else looks.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Who said that it follows this server.
    pub(super) fn followers_of(&self, leader: ServerId) -> BTreeSet<ServerId> {
        let ballots = self.votes.iter().chain(&self.settled);
        let follow = ballots.filter(|(_, ballot)| {
            ballot.vote.leader == leader && ballot.state == PeerState::Following
        });
        follow.map(|(id, _)| *id).collect()
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.final_at_ms.map_or(self.next_notification_ms, |at| at.min(self.next_notification_ms))
    }
}

impl Election {
    fn looking(&mut self) -> Option<&mut Looking> {
        match &mut self.phase {
            Phase::Looking(looking) => Some(looking),
            Phase::Idle | Phase::Settled(_) => None,
        }
    }

    /// Begins a round with this server's own vote.
    pub(super) fn look(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        self.round = (self.round + 1).min(ROUND_MAX);
        let interval_ms = self.config.notification_interval_ms_min;
        self.answers.clear();
        self.phase = Phase::Looking(Looking {
            proposal: self.initial_vote(),
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            next_notification_ms: now_ms.saturating_add(interval_ms),
            interval_ms,
            final_at_ms: None,
            is_heard: false,
        });
        self.announce(effects);
        self.count(now_ms, effects);
    }

    /// Tells the proposal to every voter; this server's own vote counts at once.
    fn announce(&mut self, effects: &mut Vec<ElectionEffect>) {
        self.tell_voters(&self.notification(), effects);
        let me = self.config.me;
        let may_vote = self.ensemble.is_voter(me) && self.initial_vote().zxid != UNKNOWN;
        let own = self.own_ballot().filter(|own| self.ensemble.is_voter(own.vote.leader));
        if let (true, Some(own), Some(looking)) = (may_vote, own, self.looking()) {
            looking.votes.insert(me, own);
        }
    }

    /// The proposal as this server's own ballot.
    fn own_ballot(&self) -> Option<Ballot> {
        let Phase::Looking(looking) = &self.phase else { return None };
        let (vote, round) = (looking.proposal, self.round);
        Some(Ballot { vote, round, state: PeerState::Looking, version: NOTIFICATION_VERSION })
    }

    /// Weighs a ballot of a voter for a voter.
    pub(super) fn consider(
        &mut self,
        now_ms: u64,
        from: ServerId,
        ballot: Ballot,
        effects: &mut Vec<ElectionEffect>,
    ) {
        match ballot.state {
            PeerState::Looking => self.consider_looking(now_ms, from, ballot, effects),
            PeerState::Observing => {}
            PeerState::Following | PeerState::Leading => {
                self.consider_settled(now_ms, from, ballot, effects);
            }
        }
    }

    /// Who looks has no leader any more, whatever it said before. (Java counts what it said.)
    pub(super) fn follows_nobody(&mut self, server: ServerId) {
        if let Some(looking) = self.looking() {
            looking.settled.remove(&server);
        }
    }

    fn consider_looking(
        &mut self,
        now_ms: u64,
        from: ServerId,
        ballot: Ballot,
        effects: &mut Vec<ElectionEffect>,
    ) {
        let unknown = self.initial_vote().zxid == UNKNOWN || ballot.vote.zxid == UNKNOWN;
        if unknown {
            return;
        }
        if let Some(looking) = self.looking() {
            looking.is_heard = true;
        }
        if ballot.round < self.round {
            return;
        }
        if self.gives_up(now_ms, &ballot) {
            return self.look(now_ms, effects);
        }
        self.give_way(now_ms, from, &ballot);
        let initial = self.initial_vote();
        let newer = ballot.round > self.round;
        let Phase::Looking(looking) = &mut self.phase else { return };
        if newer {
            self.round = ballot.round;
            looking.votes.clear();
            looking.final_at_ms = None;
            let better = ballot.vote.is_better_than(&initial, &self.ensemble);
            looking.proposal = if better { ballot.vote } else { initial };
            self.announce(effects);
        } else if ballot.vote.is_better_than(&looking.proposal, &self.ensemble) {
            looking.proposal = ballot.vote;
            looking.final_at_ms = None;
            self.announce(effects);
        }
        if let Some(looking) = self.looking() {
            looking.votes.insert(from, ballot);
        }
        self.count(now_ms, effects);
    }

    /// A server that a pending change makes a voter, and that has not heard of it, proposes nobody
    /// in a later round. It takes up nothing of an earlier one, so its vote is had in its own
    /// round only. (Java waits for it for ever.)
    pub(super) fn join_round(
        &mut self,
        now_ms: u64,
        round: i64,
        effects: &mut Vec<ElectionEffect>,
    ) {
        let initial = self.initial_vote();
        if round <= self.round || initial.zxid == UNKNOWN {
            return;
        }
        let Some(looking) = self.looking() else { return };
        looking.votes.clear();
        looking.final_at_ms = None;
        looking.proposal = initial;
        self.round = round;
        self.announce(effects);
        self.count(now_ms, effects);
    }

    /// A voter has a leader: join it where a quorum says so and the leader itself too.
    fn consider_settled(
        &mut self,
        now_ms: u64,
        from: ServerId,
        ballot: Ballot,
        effects: &mut Vec<ElectionEffect>,
    ) {
        if self.waits_for(&ballot.vote) {
            return;
        }
        let (me, round) = (self.config.me, self.round);
        let tally = Tally::new(&self.ensemble);
        // Who follows another elects nobody: that one leads by its own quorums. A change that only
        // this server has seen has voters who may never say that they follow.
        let committed = Ensemble::new(self.ensemble.committed().clone());
        let (oracle, leader) = (self.oracle, ballot.vote.leader);
        let initial = self.initial_vote();
        let Some(looking) = self.looking() else { return };
        let led = |ballots: &BTreeMap<ServerId, Ballot>| {
            if leader == me {
                return round == ballot.round && ballot.vote == initial;
            }
            ballots.get(&leader).is_some_and(|ballot| ballot.state == PeerState::Leading)
        };
        let count = |ballots: &BTreeMap<ServerId, Ballot>, mut tally: Tally| {
            for (id, other) in ballots {
                if other.agrees_with(&ballot) {
                    tally.add(*id);
                }
            }
            tally
        };
        let mut joins = None;
        if ballot.round == round {
            // Within a round the leader alone decides: some may have its new epoch by now.
            looking.votes.insert(from, Ballot { version: 0, ..ballot });
            let votes = count(&looking.votes, tally.clone());
            joins = (votes.is_quorum(oracle) && led(&looking.votes)).then_some(votes);
        }
        looking.settled.insert(from, ballot);
        if joins.is_none() {
            let tally = if leader == me { tally } else { Tally::new(&committed) };
            let tally = count(&looking.settled, tally);
            // A leader that goes on alone, by the oracle's grace, is followed by who has none.
            let alone = ballot.state == PeerState::Leading
                && oracle == Oracle::Refuses
                && self.ensemble.voters().len() <= 2;
            let Some(looking) = self.looking() else { return };
            if alone || tally.is_quorum(oracle) && led(&looking.settled) {
                joins = Some(tally);
            }
        }
        if let Some(tally) = joins {
            self.round = ballot.round;
            let supporters = tally.servers().iter().copied().collect();
            self.settle(ballot.vote, supporters, true, effects);
            self.begin_to_ask(now_ms);
        }
    }

    /// Looks whether a quorum agrees with the proposal, and whether anybody still might not.
    pub(super) fn count(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        let Some(own) = self.own_ballot() else { return };
        let mut tally = Tally::new(&self.ensemble);
        let (oracle, wait_ms) = (self.oracle, self.config.finalize_wait_ms);
        let Some(looking) = self.looking() else { return };
        for (id, ballot) in &looking.votes {
            if ballot.agrees_with(&own) {
                tally.add(*id);
            }
        }
        if tally.servers().is_empty() || !tally.is_quorum(oracle) {
            looking.final_at_ms = None;
            return;
        }
        let at_ms = *looking.final_at_ms.get_or_insert(now_ms.saturating_add(wait_ms));
        if now_ms >= at_ms || self.all_reachable_are_in(&tally) {
            let supporters = tally.servers().iter().copied().collect();
            self.settle(own.vote, supporters, false, effects);
            self.begin_to_ask(now_ms);
        }
    }

    /// Whether every voter agrees that is not known to be out of reach.
    fn all_reachable_are_in(&self, tally: &Tally) -> bool {
        self.ensemble.voters().iter().all(|voter| {
            tally.servers().contains(voter) || self.reach.get(voter) == Some(&Reach::Down)
        })
    }

    /// A peer has come within reach: it may have missed something.
    pub(super) fn hasten(&mut self, now_ms: u64) {
        let interval_ms = self.config.notification_interval_ms_min;
        if let Some(looking) = self.looking() {
            looking.interval_ms = interval_ms;
            let soon = now_ms.saturating_add(interval_ms);
            looking.next_notification_ms = looking.next_notification_ms.min(soon);
        }
    }

    pub(super) fn tick(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        self.stand(now_ms, effects);
        self.count(now_ms, effects);
        let interval_ms_max = self.config.notification_interval_ms_max;
        let Some(looking) = self.looking() else { return };
        if now_ms >= looking.next_notification_ms {
            looking.interval_ms = looking.interval_ms.saturating_mul(2).min(interval_ms_max);
            looking.next_notification_ms = now_ms.saturating_add(looking.interval_ms);
            self.announce(effects);
        }
    }
}
