//! What servers say that they have, held against what they commit; and who could lead.

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_replica::ServerState;

use super::process::{Engine, server_id};
use super::{Who, World};
use crate::quorums::{Ghost, electable};

impl World {
    /// Everything up to `zxid` is committed: a server says so, or shows it.
    pub(super) fn committed(&mut self, zxid: Zxid) {
        let is_news = zxid > self.lineage.tip() && self.lineage.resolve(zxid) == zxid;
        if is_news && self.first.is_some() {
            let enough = self.quorums.check(zxid, &self.lineage.deciding(zxid));
            self.note(enough);
        }
        let committed = self.lineage.commit(zxid);
        self.note(committed);
    }

    /// A leader has established its epoch: its history is committed.
    pub(super) fn established(&mut self, server: usize, epoch: u32, last: Zxid) {
        let begun = self.lineage.begin_epoch(epoch, last);
        self.note(begun);
        let zxid = Zxid::new(epoch, 0);
        if self.machines[server].epochs[1] >= i64::from(epoch) {
            self.quorums.acknowledged(server_id(server), zxid);
        }
        // A leader that was paused meanwhile may say so when others have gone on: the configuration
        // in force is not that of its epoch any more.
        if zxid > self.lineage.tip() {
            let enough = self.quorums.check(zxid, &self.lineage.deciding(zxid));
            self.note(enough);
        }
        let committed = self.lineage.commit(zxid);
        self.note(committed);
    }

    /// A server takes a configuration for committed. Where it leads, and its epoch has not begun,
    /// what was pending is committed with the epoch, which begins by it: even if the server comes
    /// no further, or leads no further.
    pub(super) fn begins_by_change(&mut self, who: Who) {
        let epoch = self.machines[who.server].epochs[1] as u32;
        let Some(process) = self.process(who) else { return };
        if !process.heads || process.leads.is_some() {
            return;
        }
        let last = process.last_appended;
        process.leads = Some(epoch);
        self.established(who.server, epoch, last);
    }

    /// A learner is up to date. A leader that is not to lead on begins no epoch of its own: its
    /// learners' history is the epoch's.
    pub(super) fn follows(&mut self, epoch: u32, last: Zxid) {
        if !self.lineage.has_begun(epoch) {
            let begun = self.lineage.begin_epoch(epoch, last);
            self.note(begun);
            let committed = self.lineage.commit(Zxid::new(epoch, 0));
            self.note(committed);
        }
    }

    /// A server says on the wire that it has everything up to `zxid`. An observer says so of the
    /// history that it begins with, and never of a proposal.
    pub(super) fn says_it_has(&mut self, who: Who, zxid: Zxid) {
        self.quorums.acknowledged(server_id(who.server), zxid);
        let Some(process) = self.process(who) else { return };
        let Engine::Member(replica) = &process.engine else { return };
        if zxid.counter() != 0 && replica.report().state == ServerState::Observing {
            self.fail("observer", format!("server {} observes and votes for {zxid}", who.server));
        }
    }

    /// Whoever a quorum would elect has everything that is committed.
    pub(super) fn check_ghosts(&mut self, ghosts: &[Ghost]) {
        let electable: Vec<(ServerId, Zxid)> =
            electable(ghosts).into_iter().map(|ghost| (ghost.server, ghost.last)).collect();
        for (server, last) in electable {
            let whose = format!("server {server}, elected after a power loss everywhere,");
            let held = self.lineage.holds_committed(last, &whose);
            self.note(held);
        }
    }

    /// A ghost of a lone server needs nobody else.
    pub(super) fn check_lone_ghost(&mut self, last: Zxid) {
        let held = self.lineage.holds_committed(last, "what a power loss leaves");
        self.note(held);
    }
}

#[cfg(test)]
mod tests {
    use rookeeper_replica::{MemberEvent, ReplicaEffect, StorageCommand};

    use super::*;
    use crate::plan::Setup;

    /// Whether epoch 5 begins with a change that a server takes for committed, which was elected
    /// itself with nothing more than that epoch on its disk, and said that it was `states` since.
    fn begins(states: &[ServerState]) -> bool {
        let mut world = World::new(Setup::new(5, 3));
        world.start_server(0);
        let who = Who { server: 0, generation: 1 };
        world.machines[0].epochs[1] = 5;
        let elected = MemberEvent::Elected { leader: server_id(0), round: 1, took_ms: 200 };
        let state = |state: &ServerState| ReplicaEffect::State(*state);
        let membership = world.first.clone().expect("three members have one");
        let change = StorageCommand::WriteMembership { membership, last_seen: false };
        let mut effects = vec![ReplicaEffect::Event(elected)];
        effects.extend(states.iter().map(state));
        effects.push(ReplicaEffect::Storage(change));
        world.carry(who, effects);
        world.lineage.has_begun(5)
    }

    /// A leader whose disk was full learned of a change that others had committed as soon as it
    /// looked again: the epoch on its disk was one that it had led before (seed 15469 of five).
    #[test]
    fn an_epoch_begins_by_the_change_of_who_leads_and_of_nobody_who_led() {
        use ServerState::{Apart, Leading, Looking};
        assert!(begins(&[Leading]));
        assert!(!begins(&[Leading, Apart, Looking]), "its disk was full");
        assert!(!begins(&[Leading, Looking]), "it handed over");
    }
}
