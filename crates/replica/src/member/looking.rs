//! Elections and their links.

use rookeeper_jute::ServerId;
use rookeeper_jute::quorum::PeerState;
use rookeeper_zab::election::{ElectionEffect, ElectionInput, Outcome};
use rookeeper_zab::leader::LeaderInput;
use rookeeper_zab::links::{LinksEffect, LinksInput};
use rookeeper_zab::membership::Role;

use super::effect::{MemberEvent, ReplicaEffect, ServerState, StorageCommand};
use super::ending::Next;
use super::replica::{Context, Part, Replica, UNKNOWN};
use super::storage::Awaited;

/// Peers whose last message is kept while this server does not look for a leader.
const HELD_MAX: usize = 512;

/// For how long such a message means anything.
const HELD_MS_MAX: u64 = 500;

/// A message of a peer that looks for a leader.
#[derive(Debug)]
pub(super) struct Held {
    body: Vec<u8>,
    at_ms: u64,
}

impl Replica {
    /// Looks for a leader.
    pub(super) fn look(&mut self, context: &mut Context<'_>) {
        self.part = Part::Looking { since_ms: context.now_ms() };
        self.announce(ServerState::Looking, context);
        self.forget_unlogged(context);
        let last_zxid = if self.barred.is_some() { UNKNOWN } else { self.last_zxid };
        let look = ElectionInput::Look { last_zxid, current_epoch: self.current_epoch };
        self.step_election(look, context);
        let now_ms = context.now_ms();
        for (from, held) in std::mem::take(&mut self.held) {
            if now_ms <= held.at_ms.saturating_add(HELD_MS_MAX) {
                self.step_election(ElectionInput::Message { from, body: &held.body }, context);
            }
        }
    }

    pub(super) fn election_asks(&mut self, effect: ElectionEffect, context: &mut Context<'_>) {
        if self.awaited.contains(&Awaited::Adopted) {
            return self.deferred.push_back(effect);
        }
        match effect {
            ElectionEffect::Send { to, message } => {
                self.step_links(LinksInput::Send { to, message }, context);
            }
            ElectionEffect::Adopt(membership) => {
                self.ensemble.adopt(membership.clone());
                self.update_addresses(context);
                self.show(membership.clone(), context);
                context.push(ReplicaEffect::Storage(StorageCommand::WriteMembership {
                    membership,
                    last_seen: false,
                }));
                self.awaited.push_back(Awaited::Adopted);
            }
            ElectionEffect::Settled(outcome) => self.elected(&outcome, context),
            ElectionEffect::VoterLooks(voter) => {
                self.step_leader(LeaderInput::VoterLooks(voter), context);
            }
            ElectionEffect::VoterLeft(voter) => {
                self.step_leader(LeaderInput::VoterLeft(voter), context);
            }
            ElectionEffect::VoterAway(voter) => {
                self.step_leader(LeaderInput::VoterAway(voter), context);
            }
            ElectionEffect::LeaderLeft(leader) => self.leader_has_left(leader, context),
            ElectionEffect::LeaderWavers(leader) => self.leader_wavers(leader, context),
        }
    }

    /// An adopted configuration is durable. Where it makes a voter of who has its history in memory
    /// only, nothing is said that rests on that: it looks anew with what is on its disk.
    pub(super) fn go_on_electing(&mut self, context: &mut Context<'_>) {
        let is_doubted = self.unlogged && self.has_to_log();
        if is_doubted && matches!(self.part, Part::Looking { .. }) {
            self.end_part(Next::Look, context);
        }
        for effect in std::mem::take(&mut self.deferred) {
            if !is_doubted || matches!(effect, ElectionEffect::Adopt(_)) {
                self.election_asks(effect, context);
            }
        }
    }

    fn elected(&mut self, outcome: &Outcome, context: &mut Context<'_>) {
        let Part::Looking { since_ms } = self.part else { return };
        self.end_read_only(context);
        let leader = outcome.vote.leader;
        let took_ms = context.now_ms().saturating_sub(since_ms);
        context.tell(MemberEvent::Elected { leader, round: outcome.round, took_ms });
        match outcome.state {
            PeerState::Leading => self.lead(outcome, context),
            PeerState::Following => self.learn(leader, Role::Participant, context),
            PeerState::Observing => self.learn(leader, Role::Observer, context),
            PeerState::Looking => unreachable!("an election ends with a leader"),
        }
    }

    /// Keeps the last word of a peer that looks for a leader while this server does not: it may
    /// have noticed the leader's end first, and says it again only after a while.
    fn hold(&mut self, from: ServerId, body: Vec<u8>, context: &mut Context<'_>) {
        if matches!(self.part, Part::Looking { .. }) {
            return;
        }
        let looks = body.starts_with(&(PeerState::Looking as i32).to_be_bytes());
        if !looks {
            self.held.remove(&from);
        } else if self.held.len() < HELD_MAX || self.held.contains_key(&from) {
            self.held.insert(from, Held { body, at_ms: context.now_ms() });
        }
    }

    pub(super) fn links_ask(&mut self, effect: LinksEffect, context: &mut Context<'_>) {
        match effect {
            LinksEffect::Dial { .. }
            | LinksEffect::Write { .. }
            | LinksEffect::Finish(_)
            | LinksEffect::Close(..) => context.push(ReplicaEffect::Link(effect)),
            LinksEffect::Deliver { from, message } => {
                self.step_election(ElectionInput::Message { from, body: &message }, context);
                self.hold(from, message, context);
            }
            LinksEffect::PeerUp(peer) => {
                self.step_election(ElectionInput::PeerUp(peer), context);
            }
            LinksEffect::PeerDown(peer) => {
                self.step_election(ElectionInput::PeerDown(peer), context);
                self.leader_is_unreachable(peer, context);
            }
        }
    }
}
