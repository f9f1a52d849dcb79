//! What goes wrong, and how it is mended.

use std::io::ErrorKind;

use rookeeper_replica::ServerState;
use rookeeper_store::disk::{Chooser, Fault as DiskFault, FaultKind};
use rookeeper_store::names::log_zxid;

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
/// What fails while the disk does more than append.
const CHANGE_FAULTS: [FaultKind; 6] = [
    FaultKind::Sync,
    FaultKind::Sync,
    FaultKind::Write,
    FaultKind::SyncDir,
    FaultKind::Create,
    FaultKind::Rename,
];

/// What happens when a leader that the others have lost is told to cut its history: nothing (0),
/// or one more than an ambush's kind, of those that the seed has in other ways too.
fn what_then(troubles: &[Trouble], fate: &mut Dice) -> u64 {
    let of = [
        (Trouble::PowerLoss, 1),
        (Trouble::PowerLoss, 2),
        (Trouble::FailedSync, 3),
        (Trouble::Kill, 4),
    ];
    let all = troubles.contains(&Trouble::CrashInChange);
    let has = |kind: &Trouble| all || troubles.contains(kind);
    let of = of.iter().filter(|(kind, _)| has(kind)).map(|(_, then)| *then);
    let kinds: Vec<u64> = std::iter::once(0).chain(of).collect();
    *fate.pick(&kinds)
}

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
            Trouble::LateTicks => {
                let tick_us = u64::from(self.plan.tick_ms) * 1000;
                vec![
                    server,
                    fate.between(tick_us / 5, 3 * tick_us),
                    fate.between(20_000, 8_000_000),
                ]
            }
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
                let for_us = fate.between(20_000, 6_000_000);
                let leaves = machine < servers as u64 && fate.percent(70);
                let leave_us = if leaves { fate.between(50_000, 600_000) } else { 0 };
                vec![machine, delay_us, for_us, leave_us]
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
            Trouble::Deposed => {
                let for_us = fate.between(500_000, 8_000_000);
                vec![for_us, *fate.pick(&[0, 0, 1, 2]), what_then(&self.plan.troubles, fate)]
            }
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
                // After so many changes; four and more: at the next one of the history, six and
                // more: of everybody's.
                let (kind, after) = (number(1) / 8, number(1) % 8);
                let (only_history, all) = (after >= 4, after >= 6);
                let after = if only_history { 0 } else { after };
                let waits = if all { 0..self.machines.len() } else { server..server + 1 };
                for machine in &mut self.machines[waits] {
                    machine.ambush = Some(Ambush { after, only_history, kind });
                }
                // Something makes it look for a leader.
                self.reset_some(number(2), number(3));
            }
            Trouble::Pause => self.pause(server, number(1)),
            Trouble::LateTicks => {
                self.machines[server].late_us = Some(number(1));
                self.queue.push(number(2), Event::Mend(Mending::Timers(server)));
            }
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
            Trouble::SlowLink => self.slow_link(first, number(1), number(2), number(3)),
            Trouble::SlowDisk => {
                self.machines[server].sync_us = number(1);
                self.queue.push(number(2), Event::Mend(Mending::Disk(server)));
            }
            Trouble::FailedSync => self.plan_failed_sync(server, number(1) != 0, number(2)),
            Trouble::FullDisk => self.fill_disk(server, number(1), number(2)),
            Trouble::ClockJump => self.machines[server].clock.ahead_ms += values[1],
            Trouble::Rot => self.rot(server, number(1)),
            Trouble::Deposed => self.depose(number(0), number(1), number(2)),
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
        let most = match self.logs_that_go(server) {
            None if self.changes_history(server) => *self.dice.pick(&[8, 30, 90]),
            None => 8,
            Some(logs) if logs < 2 => *self.dice.pick(&[8, 20, 90]),
            Some(logs) => *self.dice.pick(&[8, 12 + 4 * logs, 12 + 4 * logs]),
        };
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

    /// How many logs the disk is removing at the end of the history; `None` where it cuts none.
    fn logs_that_go(&self, server: usize) -> Option<u64> {
        let machine = &self.machines[server];
        let zxid = machine.process.as_ref()?.storage.truncates()?;
        let files = machine.disk.dump();
        let names = files.keys().filter_map(|path| path.file_name()?.to_str());
        Some(names.filter_map(log_zxid).filter(|first| *first > zxid).count() as u64)
    }

    fn changes_history(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        process.is_some_and(|process| process.storage.changes_history())
    }

    /// The power goes out: nothing is said to anybody, and what is unsynced may be lost.
    pub(super) fn lose_power(&mut self, server: usize) {
        // Each of several names is there or gone by itself: the lowest bits say so.
        let bias = if self.logs_that_go(server) >= Some(2) { 3 } else { 0 };
        self.cut_disk_work(server);
        let mut chooser = Chooser::Random(self.dice.draw() & !bias);
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
    /// ask it, or (1) all that are connected to it, or (2) all, which fill its logs with what will
    /// be cut off. Something may wait for that (`then`, one more than an ambush's kind).
    fn depose(&mut self, for_us: u64, writers: u64, then: u64) {
        let servers = self.machines.len();
        let Some(leader) = (0..servers).find(|server| self.serves_as_leader(*server)) else {
            return;
        };
        if let Some(kind) = then.checked_sub(1) {
            self.machines[leader].ambush = Some(Ambush { after: 0, only_history: true, kind });
        }
        let all = 0..self.plan.clients;
        let lost = all.filter(|client| writers == 0 && !self.only_reads(*client));
        let lost = lost.map(|client| self.machine_of(client));
        let others = (0..servers).filter(|other| *other != leader).chain(lost);
        let others: Vec<MachineId> = others.collect();
        self.estrange(leader, &others, for_us);
        if writers > 1 {
            (0..servers).filter(|other| *other != leader).for_each(|other| {
                self.lose_clients(other, for_us);
            });
        }
        if writers > 0 {
            (0..self.plan.clients).for_each(|client| self.hurry(client));
        }
    }

    /// Others lose a server: they are told at once that their connections to it are gone, and do
    /// not reach it. It is told nothing.
    fn estrange(&mut self, server: usize, others: &[MachineId], for_us: u64) {
        let pairs = others.iter().flat_map(|other| [(server, *other), (*other, server)]);
        self.cut(pairs.collect(), for_us);
        for (net, side) in self.network.of_machine(server) {
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
    }

    /// A server's clients go to others; what they asked for last is on its way to the leader still.
    pub(super) fn lose_clients(&mut self, server: usize, for_us: u64) {
        if self.is_peace {
            return;
        }
        let clients: Vec<_> = (self.machines.len()..self.machines_len()).collect();
        self.estrange(server, &clients, for_us);
    }

    /// The disk begins to do more than append: trouble may have waited for that. The power goes out
    /// in the middle of it, the disk fails, or the leader dies that asked for it, or is not heard
    /// any more. The removal of several logs is rare, and waited for wherever the power may go out.
    pub(super) fn change_begins(&mut self, server: usize, changes_history: bool) {
        let may = [Trouble::CrashInChange, Trouble::PowerLoss];
        let may = !self.is_peace && self.plan.troubles.iter().any(|kind| may.contains(kind));
        if may && self.logs_that_go(server) >= Some(2) && !self.dice.one_in(3) {
            self.machines[server].power_loss_in_batch = true;
            return;
        }
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
                let kind = *self.dice.pick(&CHANGE_FAULTS);
                let (path_contains, after) = (String::new(), self.dice.below(6));
                let fault = DiskFault { kind, path_contains, after, error: ErrorKind::Other };
                machine.disk.plan_fault(fault);
            }
            _ => {
                let leader = (0..self.machines.len()).find(|other| self.leads(*other));
                match leader {
                    Some(leader) if self.ends_install(server) => self.silence(leader, server),
                    Some(leader) => self.crash(leader, false),
                    None => {}
                }
            }
        }
    }

    fn ends_install(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        process.is_some_and(|process| process.storage.ends_install())
    }

    /// What a leader sends to a learner is lost from now on; soon both hear that their connection
    /// is gone. What the learner has of the leader's snapshot is whole and nowhere in place.
    fn silence(&mut self, leader: usize, learner: usize) {
        let for_us = self.dice.between(20_000, 900_000);
        for (net, side) in self.network.of_machine(leader) {
            let is_quorum =
                matches!(self.network.end(net, side), Some(End::Peer { port: Port::Quorum, .. }));
            if is_quorum && self.network.machine(net, 1 - side) == Some(learner) {
                self.network.blackhole(net, side);
                self.queue.push(for_us, Event::Mend(Mending::Connection(net)));
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

    fn slow_link(&mut self, slow: MachineId, delay_us: u64, for_us: u64, leave_us: u64) {
        let leaves = leave_us > 0 && slow < self.machines.len();
        if leaves {
            self.queue.push(leave_us, Event::Leave { server: slow, for_us });
        }
        let count = if leaves { self.machines.len() } else { self.machines_len() };
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
            Mending::Timers(server) => self.machines[server].late_us = None,
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
            self.mend(Mending::Timers(server));
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
