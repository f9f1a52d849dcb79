//! What a server keeps of an election that is over, and what others' words mean to it then.

use rookeeper_jute::ServerId;
use rookeeper_jute::quorum::PeerState;

use super::vote::{Ballot, UNKNOWN};
use super::{Election, ElectionEffect, Phase};

/// A server that has a leader, or is it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) ballot: Ballot,
    /// Its own votes and others' decided, not that others had settled before.
    counted: bool,
    /// It has told its leader that it follows.
    leader_knows: bool,
    question: Option<Question>,
}

/// A leader without an epoch asks whether those who voted for it still do.
#[derive(Debug)]
struct Question {
    at_ms: u64,
    interval_ms: u64,
}

impl Settled {
    pub(super) fn new(ballot: Ballot, counted: bool) -> Settled {
        Settled { ballot, counted, leader_knows: false, question: None }
    }

    /// The epoch has begun.
    pub(super) fn synchronised(&mut self, epoch: i64) {
        self.ballot.vote.peer_epoch = epoch;
        self.leader_knows = true;
        self.question = None;
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.question.as_ref().map(|question| question.at_ms)
    }

    /// What a server says that has a leader.
    pub(super) fn heard(&self, from: ServerId, said: &Ballot) -> Option<ElectionEffect> {
        if self.ballot.state != PeerState::Leading {
            return told_by_leader(&self.ballot, from, said);
        }
        let me = self.ballot.vote.leader;
        let elsewhere = from != me && said.vote.leader != me;
        let left = elsewhere && said.round >= self.ballot.round;
        (self.question.is_some() && left).then_some(ElectionEffect::VoterAway(from))
    }

    /// Whether this server's leader, which looks still, has found a better one in this round, and
    /// has nothing of this server that could make it lead all the same.
    fn is_passed_over(&self, from: ServerId, said: &Ballot) -> bool {
        let wavers = told_by_leader(&self.ballot, from, said);
        let wavers = matches!(wavers, Some(ElectionEffect::LeaderWavers(_)));
        wavers && self.counted && !self.leader_knows
    }
}

impl Election {
    /// A voter that looks asks who leads.
    pub(super) fn asked(
        &mut self,
        from: ServerId,
        said: &Ballot,
        effects: &mut Vec<ElectionEffect>,
    ) {
        let message = self.notification();
        let Phase::Settled(settled) = &mut self.phase else { return };
        if settled.is_passed_over(from, said) {
            return effects.push(ElectionEffect::LeaderLeft(from));
        }
        settled.leader_knows |= from == settled.ballot.vote.leader;
        let own = settled.ballot;
        if own.state == PeerState::Leading {
            effects.push(ElectionEffect::VoterLooks(from));
            let better = said.vote.is_better_than(&own.vote, &self.ensemble);
            if said.round > own.round || said.round == own.round && better {
                effects.push(ElectionEffect::VoterLeft(from));
            } else if said.vote.zxid == UNKNOWN {
                effects.push(ElectionEffect::VoterAway(from));
            }
        }
        effects.push(ElectionEffect::Send { to: from, message });
        effects.extend(told_by_leader(&own, from, said));
    }

    /// Who leads and has no epoch goes on to say what it said before: nothing else is answered.
    pub(super) fn begin_to_ask(&mut self, now_ms: u64) {
        let interval_ms = self.config.notification_interval_ms_min;
        if let Phase::Settled(settled) = &mut self.phase
            && settled.ballot.state == PeerState::Leading
        {
            let at_ms = now_ms.saturating_add(interval_ms);
            settled.question = Some(Question { at_ms, interval_ms });
        }
    }

    /// Asks, where it is time for it.
    pub(super) fn ask(&mut self, now_ms: u64, effects: &mut Vec<ElectionEffect>) {
        let interval_ms_max = self.config.notification_interval_ms_max;
        let Phase::Settled(settled) = &mut self.phase else { return };
        let ballot = Ballot { state: PeerState::Looking, ..settled.ballot };
        let Some(question) = &mut settled.question else { return };
        if now_ms < question.at_ms {
            return;
        }
        question.interval_ms = question.interval_ms.saturating_mul(2).min(interval_ms_max);
        question.at_ms = now_ms.saturating_add(question.interval_ms);
        self.tell_voters(&self.notification_of(&ballot), effects);
    }
}

/// What a message says about the leader that `own` is for, where that one sent it.
///
/// Rounds only grow while a server looks, and it leads in the round in which it looked: who looks
/// in a later one does not lead in this one. Within a round proposals only get better, but a
/// server leads in spite of its own where a quorum follows it. A message of an earlier round may
/// be one that was late, or of a former life. A leader that merely starts says nothing of either
/// kind.
fn told_by_leader(own: &Ballot, from: ServerId, said: &Ballot) -> Option<ElectionEffect> {
    let other = said.vote.leader != from;
    if own.state == PeerState::Leading || own.vote.leader != from || said.round < own.round {
        return None;
    }
    match said.state {
        PeerState::Looking if said.round > own.round => Some(ElectionEffect::LeaderLeft(from)),
        PeerState::Looking => other.then_some(ElectionEffect::LeaderWavers(from)),
        PeerState::Following | PeerState::Observing => {
            other.then_some(ElectionEffect::LeaderLeft(from))
        }
        PeerState::Leading => None,
    }
}
