//! What goes wrong, and how it is mended.

use std::io::ErrorKind;

use rookeeper_replica::ServerState;
use rookeeper_store::disk::{Chooser, Fault as DiskFault, FaultKind};

use super::process::{Engine, Process};
use super::{End, Event, Mending, Port, World};
use crate::dice::Dice;
use crate::machine::Ambush;
use crate::network::{MachineId, Packet};
use crate::plan::Trouble;
use crate::recovery::SECTIONS;
use crate::scenario::{self, Mishap, Value};

/// How long what an election link sends may stay unacknowledged before its system ends the
/// connection, in microseconds (`cnxTimeout`).
const UNACKNOWLEDGED_US: u64 = 5_000_000;

impl World {
    /// The next thing goes wrong: what the scenario says, or the seed.
    pub(super) fn trouble(&mut self) {
        if self.is_peace {
            return;
        }
        let mishap = match &mut self.mishaps {
            Some(mishaps) => {
                let Some((_, mishap)) = mishaps.pop_front() else { return };
                if let Some((at_us, _)) = mishaps.front() {
                    self.queue.push_at(*at_us, Event::Trouble);
                }
                mishap
            }
            None => {
                let pause_us = self.plan.trouble_pause_us;
                let after_us = self.fate.between(pause_us / 4, pause_us);
                self.queue.push(after_us, Event::Trouble);
                self.draw_mishap()
            }
        };
        if self.setup.is_loud {
            crate::say(&format!("trouble: {mishap}"));
        }
        scenario::note(self.queue.now_us(), &mishap);
        self.count(mishap.trouble);
        self.befall(&mishap);
    }

    /// What the seed does next.
    fn draw_mishap(&mut self) -> Mishap {
        let (servers, all) = (self.machines.len(), self.machines_len());
        let fate = &mut self.fate;
        let trouble = *fate.pick(&self.plan.troubles);
        let server = fate.index(servers) as u64;
        let numbers = match trouble {
            Trouble::Kill | Trouble::PowerLoss => vec![server],
            Trouble::PowerLossOfAll => vec![],
            Trouble::CrashInStep => vec![server, fate.below(60), fate.below(2)],
            Trouble::CrashInRecovery => vec![server, fate.between(1, 12)],
            Trouble::CrashInChange => {
                vec![server, fate.below(32), fate.between(5, 100), fate.draw() >> 1]
            }
            Trouble::Pause => vec![server, fate.between(20_000, 6_000_000)],
            Trouble::Reset => vec![fate.between(5, 100), fate.draw() >> 1],
            Trouble::HalfOpen => vec![fate.draw() >> 1, fate.between(20_000, 15_000_000)],
            Trouble::Partition => vec![fate.below(1 << all), fate.between(20_000, 8_000_000)],
            Trouble::OneWay | Trouble::Partial => {
                let to = match fate.index(all) as u64 {
                    to if to == server => (server + 1) % all as u64,
                    to => to,
                };
                let flips = trouble == Trouble::OneWay && fate.one_in(2);
                let (from, to) = if flips { (to, server) } else { (server, to) };
                vec![from, to, fate.between(20_000, 8_000_000)]
            }
            Trouble::SlowLink => {
                let machine = fate.index(all) as u64;
                let delay_us = fate.between(2_000, 1_500_000);
                vec![machine, delay_us, fate.between(20_000, 6_000_000)]
            }
            Trouble::SlowDisk => {
                vec![server, fate.between(20_000, 3_000_000), fate.between(20_000, 6_000_000)]
            }
            Trouble::FailedSync => {
                vec![server, u64::from(!fate.percent(70)), fate.below(30)]
            }
            Trouble::FullDisk => {
                vec![server, fate.below(120_000), fate.between(20_000, 5_000_000)]
            }
            Trouble::ClockJump => {
                let jump_ms = fate.between(0, 7_200_000) as i64 - 3_600_000;
                let values = vec![Value::Number(server as i64), Value::Number(jump_ms)];
                return Mishap { trouble, values };
            }
            Trouble::Deposed => vec![fate.between(500_000, 8_000_000), fate.below(2)],
            Trouble::Rot => vec![server, fate.draw() >> 1],
        };
        Mishap::new(trouble, &numbers)
    }

    /// What a value of a mishap means now.
    fn number(&self, value: Value) -> i64 {
        let leading: Vec<bool> = (0..self.machines.len()).map(|at| self.leads(at)).collect();
        let nth = |wanted: bool, at: usize| {
            let found = leading.iter().enumerate().filter(|(_, leads)| **leads == wanted);
            found.map(|(server, _)| server as i64).nth(at).unwrap_or_default()
        };
        match value {
            Value::Number(number) => number,
            Value::Leader => nth(true, 0),
            Value::Follower => nth(false, 0),
            Value::Other => nth(false, 1),
        }
    }

    fn befall(&mut self, mishap: &Mishap) {
        let values: Vec<i64> = mishap.values.iter().map(|value| self.number(*value)).collect();
        // A text may name what is not there.
        let number = |at: usize| values.get(at).copied().unwrap_or_default().unsigned_abs();
        let server = number(0) as usize % self.machines.len();
        let machine = |at: usize| number(at) as usize % (self.machines.len() + self.plan.clients);
        let (first, second) = (machine(0), machine(1));
        match mishap.trouble {
            Trouble::Kill => self.crash(server, false),
            Trouble::PowerLoss => self.crash(server, true),
            Trouble::PowerLossOfAll => {
                (0..self.machines.len()).for_each(|server| self.crash(server, true));
            }
            Trouble::CrashInStep => self.arm_crash(server, number(1) as u32, number(2) != 0),
            Trouble::CrashInRecovery => {
                self.machines[server].power_loss_in_recovery = Some(number(1));
                self.crash(server, true);
            }
            Trouble::CrashInChange => {
                // After so many changes; four and more: at the next one of the history.
                let (kind, after) = (number(1) / 8, number(1) % 8);
                let only_history = after >= 4;
                let after = if only_history { 0 } else { after };
                self.machines[server].ambush = Some(Ambush { after, only_history, kind });
                // Something makes it look for a leader.
                self.reset_some(number(2), number(3));
            }
            Trouble::Pause => self.pause(server, number(1)),
            Trouble::Reset => self.reset_some(number(0), number(1)),
            Trouble::HalfOpen => self.half_open(number(0), number(1)),
            Trouble::Partition => {
                let sides = match mishap.values[0] {
                    Value::Number(sides) => sides as u64,
                    _ => 1 << server,
                };
                self.part(sides, number(1));
            }
            Trouble::OneWay => self.cut(vec![(first, second)], number(2)),
            Trouble::Partial => self.cut(vec![(first, second), (second, first)], number(2)),
            Trouble::SlowLink => self.slow_link(first, number(1), number(2)),
            Trouble::SlowDisk => {
                self.machines[server].sync_us = number(1);
                self.queue.push(number(2), Event::Mend(Mending::Disk(server)));
            }
            Trouble::FailedSync => self.plan_failed_sync(server, number(1) != 0, number(2)),
            Trouble::FullDisk => self.fill_disk(server, number(1), number(2)),
            Trouble::ClockJump => self.machines[server].clock.ahead_ms += values[1],
            Trouble::Rot => self.rot(server, number(1)),
            Trouble::Deposed => self.depose(number(0), number(1) != 0),
        }
    }

    pub(super) fn crash(&mut self, server: usize, with_power: bool) {
        if self.machines[server].process.is_none() {
            return;
        }
        if with_power {
            self.lose_power(server);
        } else {
            self.kill(server);
        }
        self.start_later(server);
    }

    /// Carries a part of what the disk thread, and perhaps the snapshot thread, had begun.
    fn cut_disk_work(&mut self, server: usize) {
        // A change of the history is many steps.
        let most = if self.changes_history(server) { *self.dice.pick(&[8, 30, 90]) } else { 8 };
        let after = self.dice.between(1, most);
        let finishes_snapshot = self.dice.one_in(3);
        let machine = &mut self.machines[server];
        let Some(mut process) = machine.process.take() else { return };
        machine.paused = None;
        machine.disk.lose_power_at(machine.disk.operations() + after);
        if finishes_snapshot && let Some(mut job) = process.snapshot.take() {
            let mut rest = Vec::new();
            let tree = &mut process.shared.tree;
            while tree.continue_snapshot(64 << 10, &mut rest)
                == rookeeper_tree::SnapshotProgress::Running
            {}
            // The power goes out in the middle of it.
            let _ = job.writer.write(&rest).and_then(|()| SECTIONS.finish(job.writer, job.start));
        }
        if process.storage.is_busy() {
            let _ = process.storage.finish();
        }
    }

    fn changes_history(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        process.is_some_and(|process| process.storage.changes_history())
    }

    /// The power goes out: nothing is said to anybody, and what is unsynced may be lost.
    pub(super) fn lose_power(&mut self, server: usize) {
        self.cut_disk_work(server);
        let mut chooser = Chooser::Random(self.dice.draw());
        let machine = &mut self.machines[server];
        machine.disk = machine.disk.after_power_loss(&mut chooser);
        machine.has_power = false;
        machine.generation += 1;
        for (net, side) in self.network.of_machine(server) {
            self.network.vanish(net, side);
        }
    }

    /// The process is gone: its system closes its connections.
    pub(super) fn kill(&mut self, server: usize) {
        let now_us = self.queue.now_us();
        self.cut_disk_work(server);
        let machine = &mut self.machines[server];
        machine.disk = machine.disk.after_kill();
        machine.generation += 1;
        for (net, side) in self.network.of_machine(server) {
            if self.network.is_open(net, side) {
                let last = if self.dice.one_in(2) { Packet::End } else { Packet::Reset };
                let arrival = self.network.close(now_us, net, side, last);
                self.schedule_arrival(arrival);
            }
        }
    }

    fn arm_crash(&mut self, server: usize, after: u32, with_power: bool) {
        if let Some(process) = &mut self.machines[server].process {
            process.dies_after.get_or_insert((after, with_power));
        }
    }

    /// Processes that died in the middle of a step.
    pub(super) fn bury_the_dead(&mut self) {
        for server in 0..self.machines.len() {
            let process = self.machines[server].process.as_ref();
            if let Some((0, with_power)) = process.and_then(|process| process.dies_after) {
                self.crash(server, with_power);
            }
        }
    }

    fn pause(&mut self, server: usize, for_us: u64) {
        let machine = &mut self.machines[server];
        if machine.process.is_some() && machine.paused.is_none() {
            machine.paused = Some(Vec::new());
            self.queue.push(for_us, Event::Mend(Mending::Resume(server)));
        }
    }

    fn reset_some(&mut self, share: u64, dice: u64) {
        let now_us = self.queue.now_us();
        let mut dice = Dice::new(dice);
        for net in self.network.all() {
            if dice.percent(share) {
                let arrivals = self.network.reset(now_us, net);
                self.schedule_arrivals(arrivals);
            }
        }
    }

    fn half_open(&mut self, dice: u64, for_us: u64) {
        let mut dice = Dice::new(dice);
        let all = self.network.all();
        if all.is_empty() {
            return;
        }
        let net = *dice.pick(&all);
        let side = dice.index(2);
        self.network.blackhole(net, side);
        if dice.one_in(2) {
            self.network.blackhole(net, 1 - side);
        }
        let is_election = |side| {
            let end = self.network.end(net, side);
            matches!(end, Some(End::Peer { port: Port::Election, .. }))
        };
        let election = (0..2).any(is_election);
        let for_us = if election { for_us.min(UNACKNOWLEDGED_US) } else { for_us };
        self.queue.push(for_us, Event::Mend(Mending::Connection(net)));
    }

    fn machines_len(&self) -> usize {
        self.machines.len() + self.plan.clients
    }

    /// Parts the machines whose bits are set from all others.
    fn part(&mut self, sides: u64, for_us: u64) {
        let count = self.machines_len();
        let side = |machine: usize| sides >> machine & 1;
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        self.cut(pairs.filter(|(from, to)| side(*from) != side(*to)).collect(), for_us);
    }

    /// Cuts directions between machines.
    fn cut(&mut self, pairs: Vec<(MachineId, MachineId)>, for_us: u64) {
        let now_us = self.queue.now_us();
        for (from, to) in &pairs {
            self.network.cut(now_us, *from, *to, true);
        }
        self.queue.push(for_us, Event::Mend(Mending::Links(pairs)));
    }

    /// The leader is cut off from the other servers, and from clients that write where `writers` do
    /// not stay. They are told that their connections to it are gone, and elect another one at
    /// once; it is told nothing, and waits for them for `syncLimit` still, while clients that read
    /// ask it, or all do, which fill its logs with what will be cut off.
    fn depose(&mut self, for_us: u64, writers: bool) {
        let now_us = self.queue.now_us();
        let servers = self.machines.len();
        let Some(leader) = (0..servers).find(|server| self.serves_as_leader(*server)) else {
            return;
        };
        if self.plan.troubles.contains(&Trouble::CrashInChange) && self.dice.one_in(2) {
            // What it could not commit will be cut off.
            let kind = *self.dice.pick(&[0, 1, 1, 2, 3]);
            self.machines[leader].ambush = Some(Ambush { after: 0, only_history: true, kind });
        }
        let lost = (0..self.plan.clients).filter(|client| !writers && !self.only_reads(*client));
        let lost = lost.map(|client| self.machine_of(client));
        let others = (0..servers).filter(|other| *other != leader).chain(lost);
        let others: Vec<MachineId> = others.collect();
        let pairs: Vec<_> =
            others.iter().flat_map(|other| [(leader, *other), (*other, leader)]).collect();
        for (from, to) in &pairs {
            self.network.cut(now_us, *from, *to, true);
        }
        for (net, side) in self.network.of_machine(leader) {
            let is_cut = self.network.machine(net, 1 - side).is_some_and(|at| others.contains(&at));
            if !is_cut {
                continue;
            }
            self.network.blackhole(net, side);
            self.queue.push(for_us, Event::Mend(Mending::Connection(net)));
            match self.network.end(net, 1 - side).copied() {
                Some(End::Peer { who, port, link }) => {
                    self.peer_packet(net, 1 - side, (who, port, link), Packet::Reset);
                }
                Some(End::Client { client, handle, connection }) => {
                    self.client_disconnected(client, handle, connection, net);
                }
                _ => {}
            }
        }
        self.queue.push(for_us, Event::Mend(Mending::Links(pairs)));
    }

    /// The disk begins to do more than append: trouble may have waited for that. The power goes out
    /// in the middle of it, the disk fails, or the leader dies that asked for it.
    pub(super) fn change_begins(&mut self, server: usize, changes_history: bool) {
        let machine = &mut self.machines[server];
        let Some(ambush) = &mut machine.ambush else { return };
        if ambush.only_history && !changes_history {
            return;
        }
        if ambush.after > 0 {
            ambush.after -= 1;
            return;
        }
        let kind = ambush.kind;
        machine.ambush = None;
        match kind {
            0..=1 => machine.power_loss_in_batch = true,
            2 => {
                let kind = if self.dice.one_in(2) { FaultKind::Sync } else { FaultKind::Write };
                let (path_contains, after) = (String::new(), self.dice.below(6));
                let fault = DiskFault { kind, path_contains, after, error: ErrorKind::Other };
                machine.disk.plan_fault(fault);
            }
            _ => {
                let leader = (0..self.machines.len()).find(|other| self.leads(*other));
                if let Some(leader) = leader {
                    self.crash(leader, false);
                }
            }
        }
    }

    /// Whether a server leads as far as it knows, or is about to.
    pub(super) fn leads(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        process.is_some_and(|process| match &process.engine {
            Engine::Alone(_) => false,
            Engine::Member(replica) => replica.report().state == ServerState::Leading,
        })
    }

    fn serves_as_leader(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        self.leads(server) && process.is_some_and(Process::applies_committed)
    }

    fn slow_link(&mut self, slow: MachineId, delay_us: u64, for_us: u64) {
        let count = self.machines_len();
        let mut before = Vec::new();
        for other in (0..count).filter(|other| *other != slow) {
            for (from, to) in [(slow, other), (other, slow)] {
                let (old_us, jitter_us) = self.network.delay(from, to);
                before.push((from, to, old_us, jitter_us));
                self.network.set_delay(from, to, delay_us, delay_us / 2);
            }
        }
        self.queue.push(for_us, Event::Mend(Mending::Delays(before)));
    }

    fn plan_failed_sync(&mut self, server: usize, is_write: bool, after: u64) {
        self.machines[server].disk.plan_fault(DiskFault {
            kind: if is_write { FaultKind::Write } else { FaultKind::Sync },
            path_contains: "log".into(),
            after,
            error: ErrorKind::Other,
        });
    }

    fn fill_disk(&mut self, server: usize, room: u64, for_us: u64) {
        let disk = &self.machines[server].disk;
        let used: u64 = disk.dump().values().map(|data| data.len() as u64).sum();
        disk.set_capacity(Some(used + room));
        self.queue.push(for_us, Event::Mend(Mending::Room(server)));
    }

    pub(super) fn mend(&mut self, mending: Mending) {
        let now_us = self.queue.now_us();
        match mending {
            Mending::Resume(server) => {
                let spread_us = *self.dice.pick(&[50, 2000, 30_000]);
                for event in self.machines[server].paused.take().unwrap_or_default() {
                    let after_us = self.dice.below(spread_us);
                    self.queue.push(after_us, event);
                }
            }
            Mending::Links(pairs) => {
                for (from, to) in pairs {
                    let arrivals = self.network.cut(now_us, from, to, false);
                    self.schedule_arrivals(arrivals);
                }
            }
            Mending::Delays(before) => {
                for (from, to, delay_us, jitter_us) in before {
                    self.network.set_delay(from, to, delay_us.min(300), jitter_us.min(300));
                }
            }
            Mending::Disk(server) => self.machines[server].sync_us = self.plan.sync_us,
            Mending::Room(server) => self.machines[server].disk.set_capacity(None),
            Mending::Connection(net) => {
                (0..2).for_each(|side| self.network.mend(net, side));
                let arrivals = self.network.reset(now_us, net);
                self.schedule_arrivals(arrivals);
            }
        }
    }

    /// All observers die: nobody's writes need them. They are back when clients rest.
    fn bury_observers(&mut self) {
        for server in self.setup.members..self.machines.len() {
            if self.machines[server].process.is_some() {
                self.kill(server);
            }
            self.machines[server].has_power = self.dice.one_in(2);
            self.machines[server].stays_down = true;
        }
    }

    /// Clients ask for nothing more; who was kept away comes back.
    pub(super) fn rest(&mut self) {
        self.is_rest = true;
        for server in 0..self.machines.len() {
            if std::mem::take(&mut self.machines[server].stays_down) {
                self.queue.push(1000, Event::Start(server));
            }
        }
    }

    /// Everything is mended at once, and nothing breaks from now on.
    pub(super) fn make_peace(&mut self) {
        let now_us = self.queue.now_us();
        self.is_peace = true;
        self.peace_us = now_us;
        let count = self.machines_len();
        for from in 0..count {
            for to in 0..count {
                let arrivals = self.network.cut(now_us, from, to, false);
                self.schedule_arrivals(arrivals);
                self.network.set_delay(from, to, 200, 100);
            }
        }
        for server in 0..self.machines.len() {
            self.mend(Mending::Resume(server));
            self.mend(Mending::Disk(server));
            self.mend(Mending::Room(server));
            self.machines[server].disk.forget_faults();
            self.machines[server].power_loss_in_recovery = None;
            self.machines[server].ambush = None;
            self.machines[server].power_loss_in_batch = false;
            if let Some(process) = &mut self.machines[server].process {
                process.dies_after = None;
            } else {
                self.queue.push(1000, Event::Start(server));
            }
        }
        self.queue.push(super::PEACE_US, Event::Rest);
        if self.plan.roles.observers_die {
            self.bury_observers();
        }
    }
}
