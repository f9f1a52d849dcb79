//! Clients that change the ensemble, and what servers make of it.

use std::io;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_session::{Operation, WatchToken};
use rookeeper_zab::membership::{Membership, Role};

use super::process::{Engine, PORTS, group_lines, member_line, read_ensemble, server_id};
use super::{Who, World};
use crate::checks::Fault;
use crate::storage::write_membership;

/// What a configuration says of groups and weights.
fn lines_of_groups(membership: &Membership) -> impl Iterator<Item = String> {
    let text = membership.to_string();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.into_iter().filter(|line| line.starts_with("group.") || line.starts_with("weight."))
}

impl World {
    /// The configuration that a machine begins with: that of all, and its own line where it is
    /// not in it.
    pub(super) fn first_of(&self, server: usize) -> Option<Arc<Membership>> {
        let first = self.first.as_ref()?;
        if first.member(server_id(server)).is_some() {
            return Some(first.clone());
        }
        let own = member_line(server, Role::Observer, PORTS);
        let text = format!("{first}\n{own}");
        Some(Arc::new(super::process::parse(&text).expect("a configuration")))
    }

    /// A server that is not in its own configuration does not start, as in Java: whoever runs it
    /// gives it the one of the others as it is, and where that does not have it either its own
    /// line as an observer, with a version that any later one takes the place of, and none from
    /// before its removal. Without a version it would take part in an old configuration with
    /// those who know of none later: what it knew of its removal is all that keeps them from
    /// being a quorum with it. What it knows of a later change, which may be committed by its
    /// word, is left to it.
    pub(super) fn mend_configuration(&mut self, server: usize) -> io::Result<()> {
        let Some(first) = self.first_of(server) else { return Ok(()) };
        let me = server_id(server);
        let machine = &self.machines[server];
        let ensemble = read_ensemble(&machine.disk, &first);
        if ensemble.committed().member(me).is_some() {
            return Ok(());
        }
        let in_force = self.lineage.in_force().unwrap_or(&first);
        let is_named =
            in_force.member(me).is_some() && in_force.version() >= ensemble.committed().version();
        let members = in_force.members().filter(|(id, _)| is_named || *id != me);
        let members = members.map(|(id, member)| {
            let ports = member.addresses.first().map(|it| [it.quorum.port(), it.election.port()]);
            member_line(id.0 as usize - 1, member.role, ports.unwrap_or(PORTS))
        });
        let ports = self.ports_in(in_force, server);
        let groups: Vec<String> = lines_of_groups(in_force).collect();
        let own = member_line(server, Role::Observer, ports);
        let own = (!is_named).then_some(own);
        let lines: Vec<String> = members.chain(own).chain(groups).collect();
        let membership = super::process::parse(&lines.join("\n")).expect("a configuration");
        // With a line of its own it is not that configuration, and gives way to it. Before the
        // first there was none.
        let version = in_force.version().max(ensemble.committed().version());
        let version = match Zxid(version).counter() {
            0 => 0,
            _ if is_named => version,
            _ => version - 1,
        };
        let membership = membership.with_version(version);
        let knows_later = ensemble.last_seen().version() > version;
        self.machines[server].version = version;
        self.machines[server].ports = ports;
        for last_seen in [false, true] {
            if !(last_seen && knows_later) {
                write_membership(&self.machines[server].disk, &membership, last_seen)?;
            }
        }
        Ok(())
    }

    /// The machines of the configuration in force; all, where there is none.
    pub(super) fn members(&self) -> Vec<usize> {
        let all = 0..self.machines.len();
        match self.lineage.in_force() {
            None => all.collect(),
            Some(membership) => {
                all.filter(|at| membership.member(server_id(*at)).is_some()).collect()
            }
        }
    }

    /// A client looks at the configuration, or changes it.
    pub(super) fn reconfigure(&mut self, client: usize) {
        if self.dice.percent(60) {
            let watch = self.dice.one_in(4).then_some(WatchToken(self.next_token().0));
            self.submit_operation(client, Operation::GetConfig { watch });
            return;
        }
        if self.is_some_rotten() {
            return;
        }
        let Some(membership) = self.lineage.in_force().cloned() else { return };
        let known = self.plan.roles.moves_ports.then(|| self.known_to_all(&membership)).flatten();
        let moves = known.is_some();
        let from_config = match self.dice.below(4) {
            0 => membership.version(),
            1 => membership.version() - 1,
            _ => -1,
        };
        let from_config = known.unwrap_or(from_config);
        let operation = if self.dice.one_in(4) {
            let members = Some(self.draw_whole(&membership, moves));
            Operation::Reconfig { joining: None, leaving: None, members, from_config }
        } else {
            let (joining, leaving) = self.draw_change(&membership, moves);
            Operation::Reconfig { joining, leaving, members: None, from_config }
        };
        self.submit_operation(client, operation);
    }

    /// The version by which all servers go, where all run and go by the configuration in force.
    /// Nobody moves before, and one alone then, of four at least: who missed the moves of all
    /// others would find nobody where it looks.
    fn known_to_all(&self, in_force: &Membership) -> Option<i64> {
        let mut version = None;
        if in_force.members().count() < 4 {
            return None;
        }
        for machine in &self.machines {
            let process = machine.process.as_ref()?;
            let Engine::Member(replica) = &process.engine else { return None };
            let committed = replica.report().committed;
            let known = *version.get_or_insert(committed.version());
            let is_in_force = in_force.version() == 0 && Zxid(known).counter() == 0
                || in_force.version() == known;
            if committed.version() != known || !is_in_force {
                return None;
            }
        }
        version
    }

    /// The ports of a server as a configuration has them; of one that is not in it, those at which
    /// it listens.
    fn ports_in(&self, membership: &Membership, server: usize) -> [u16; 2] {
        let member = membership.member(server_id(server));
        let address = member.and_then(|member| member.addresses.first());
        let listens = self.machines[server].ports;
        address.map_or(listens, |address| [address.quorum.port(), address.election.port()])
    }

    fn line_of(
        &mut self,
        membership: &Membership,
        server: usize,
        role: Role,
        moves: &mut bool,
    ) -> String {
        let [quorum, election] = self.ports_in(membership, server);
        let is_moved = *moves && self.dice.one_in(4);
        *moves &= !is_moved;
        let ports = if is_moved { [quorum + 1, election + 1] } else { [quorum, election] };
        member_line(server, role, ports)
    }

    /// Any servers, some of them with votes.
    fn draw_whole(&mut self, membership: &Membership, mut moves: bool) -> String {
        let (mut lines, mut voters) = (Vec::new(), Vec::new());
        for server in 0..self.machines.len() {
            let is_last = self.machines.len() - server <= 3usize.saturating_sub(voters.len());
            if !is_last && self.dice.one_in(4) {
                continue;
            }
            let is_voter = is_last || self.dice.percent(75);
            voters.extend(is_voter.then_some(server));
            let role = if is_voter { Role::Participant } else { Role::Observer };
            lines.push(self.line_of(membership, server, role, &mut moves));
        }
        let has_groups = lines_of_groups(membership).next().is_some();
        if self.dice.percent(if has_groups { 70 } else { 10 }) {
            lines.extend(group_lines(&voters, &mut self.dice));
        }
        lines.join(if self.dice.one_in(2) { "," } else { "\n" })
    }

    /// Who joins or changes, and who leaves.
    fn draw_change(
        &mut self,
        membership: &Membership,
        mut moves: bool,
    ) -> (Option<String>, Option<String>) {
        let (mut joining, mut leaving) = (None, None);
        let what = self.dice.below(4);
        if what != 0 {
            let server = self.dice.index(self.machines.len());
            let is_voter = membership.is_voter(server_id(server));
            let keeps = moves && self.dice.one_in(2);
            let role = match is_voter == keeps {
                true => Role::Participant,
                false => Role::Observer,
            };
            joining = Some(self.line_of(membership, server, role, &mut moves));
        }
        if what <= 1 {
            let leads = self.machines.iter().position(|machine| {
                machine.process.as_ref().is_some_and(|process| process.leads.is_some())
            });
            let any = self.dice.index(self.machines.len());
            let server = leads.filter(|_| self.dice.one_in(2)).unwrap_or(any);
            leaving = Some((server + 1).to_string());
        }
        (joining, leaving)
    }

    /// A server takes a configuration for committed: a later one than before.
    pub(super) fn goes_by(&mut self, who: Who, membership: &Membership) {
        let version = membership.version();
        self.versions.insert(version);
        let own = membership.member(server_id(who.server)).is_some();
        let ports = self.ports_in(membership, who.server);
        let Some(process) = self.process(who) else { return };
        let before = std::mem::replace(&mut process.version, version);
        if own {
            self.machines[who.server].ports = ports;
        }
        if version < before {
            let what = format!("server {} goes from {before:x} to {version:x}", who.server);
            self.fail("configuration", what);
        }
    }

    /// What is committed on a disk is never of an earlier configuration than before; what is only
    /// proposed may be forgotten.
    pub(super) fn check_versions(&mut self, server: usize) {
        let Some(first) = self.first_of(server) else { return };
        let machine = &mut self.machines[server];
        let ensemble = read_ensemble(&machine.disk, &first);
        let found = ensemble.committed().version();
        let known = std::mem::replace(&mut machine.version, found);
        if found < known {
            let what = format!("server {server} has {found:x} on disk, and had {known:x}");
            self.fail("configuration", what);
        }
    }

    /// What any server took for committed was. Of a leader that died in the middle of the step in
    /// which it committed, or established its epoch, nobody has heard that it did, though its
    /// disk may tell: what a quorum has is committed once something is that comes after it.
    pub(super) fn check_configurations(&mut self) {
        for version in std::mem::take(&mut self.versions) {
            let zxid = Zxid(version);
            // The first leader's version is no transaction.
            if zxid.counter() == 0 {
                continue;
            }
            let committed = self.lineage.lies_on_path(zxid);
            if committed.is_err() && self.lineage.tip() < zxid && self.a_quorum_has(zxid) {
                self.versions.insert(version);
            } else {
                self.note(committed);
            }
        }
    }

    /// Whether a quorum has acknowledged a transaction, or is in a later epoch, whose leader's
    /// history may have it.
    fn a_quorum_has(&self, zxid: Zxid) -> bool {
        let deciding = self.lineage.deciding(zxid);
        let is_later = |server: &usize| self.machines[*server].epochs[1] > i64::from(zxid.epoch());
        let later: Vec<_> = (0..self.machines.len()).filter(is_later).map(server_id).collect();
        let has_quorum =
            |membership: &Arc<Membership>| membership.contains_quorum(later.iter().copied());
        self.quorums.check(zxid, &deciding).is_ok() || deciding.iter().all(has_quorum)
    }

    /// At the end all members go by the last configuration, and have it on disk.
    pub(super) fn agrees(&self, server: usize) -> Result<(), Fault> {
        let (Some(in_force), Some(first)) = (self.lineage.in_force(), self.first_of(server)) else {
            return Ok(());
        };
        let machine = &self.machines[server];
        let Some(Engine::Member(replica)) = machine.process.as_ref().map(|it| &it.engine) else {
            return Ok(());
        };
        let report = replica.report();
        let on_disk = read_ensemble(&machine.disk, &first);
        let known = [
            ("goes by", &report.committed),
            ("has seen", &report.last_seen),
            ("has on disk", on_disk.committed()),
        ];
        for (what, membership) in known {
            let is_first = in_force.version() == 0;
            let same = is_first || membership.version() == in_force.version();
            if !same || membership.differs_from(in_force) {
                let what = format!("server {server} {what} {membership}, in force is {in_force}");
                return Err(Fault::new("configuration", what.replace('\n', " ")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use rookeeper_store::Disk;

    use crate::plan::Setup;
    use crate::recovery::DATA_DIR;

    #[test]
    fn who_comes_back_after_its_removal_keeps_what_it_knew_of_it() {
        let mut world = World::new(Setup::new(5, 3));
        let first = world.first.clone().unwrap();
        for machine in &world.machines[..2] {
            machine.disk.create_dir_all(Path::new(DATA_DIR)).unwrap();
        }
        let text = [1, 2].map(|at| member_line(at, Role::Participant, PORTS)).join("\n");
        let without = super::super::process::parse(&text).unwrap().with_version(0x1_0000_0009);
        for last_seen in [false, true] {
            write_membership(&world.machines[0].disk, &without, last_seen).unwrap();
        }
        world.mend_configuration(0).unwrap();
        let mended = read_ensemble(&world.machines[0].disk, &first);
        assert_eq!(mended.committed().version(), 0x1_0000_0008);
        assert_eq!(mended.role(server_id(0)), Role::Observer);
        // What it said that it has of a later change is not taken from it.
        let later = (*first).clone().with_version(0x1_0000_0020);
        write_membership(&world.machines[0].disk, &without, false).unwrap();
        write_membership(&world.machines[0].disk, &later, true).unwrap();
        world.mend_configuration(0).unwrap();
        let mended = read_ensemble(&world.machines[0].disk, &first);
        assert_eq!(mended.committed().version(), 0x1_0000_0008);
        assert_eq!(mended.last_seen().version(), 0x1_0000_0020);
        // Whoever is in its own configuration keeps it.
        world.mend_configuration(1).unwrap();
        assert_eq!(read_ensemble(&world.machines[1].disk, &first).committed().version(), 0);
    }

    /// What a world says of a version that some server took for committed.
    fn finding(tip: Zxid, acknowledged: &[usize], current: &[usize]) -> Option<Fault> {
        let z = |epoch, counter| Zxid::new(epoch, counter);
        let mut world = World::new(Setup::new(5, 3));
        world.lineage.append(Zxid::ZERO, z(1, 1), b"first").unwrap();
        world.lineage.append(z(1, 1), z(1, 2), b"a change").unwrap();
        world.lineage.append(z(1, 1), z(2, 1), b"another history").unwrap();
        world.lineage.commit(tip).unwrap();
        for server in acknowledged {
            world.quorums.acknowledged(server_id(*server), z(1, 2));
        }
        for server in current {
            world.machines[*server].epochs[1] = 2;
        }
        world.versions.insert(z(1, 2).0);
        world.check_configurations();
        assert_eq!(world.versions.len(), usize::from(world.fault.is_none() && tip < z(1, 2)));
        world.fault
    }

    #[test]
    fn what_a_server_took_for_committed_was_committed_or_a_quorum_has_it() {
        let (before, at, beside) = (Zxid::new(1, 1), Zxid::new(1, 2), Zxid::new(2, 1));
        assert!(finding(at, &[], &[]).is_none());
        assert!(finding(before, &[1], &[]).is_some());
        assert!(finding(before, &[0, 1], &[]).is_none(), "its leader died before it said so");
        assert!(finding(before, &[1], &[1, 2]).is_none(), "so did the next epoch's");
        assert!(finding(beside, &[0, 1], &[1, 2]).is_some());
    }
}
