//! The world: every machine, connection and client, and the one loop that lets one of them go on.
//!
//! # Layout
//! - [`World`]: the loop, and what a run comes to
//! - `process`: a server's process
//! - `server`: what a server's threads do when it is their turn
//! - `disk`: what its disk thread and its snapshot thread do
//! - `timers`: what comes at a time, and is late sometimes
//! - `sockets`: packets that arrive
//! - `peers`: connections between servers
//! - `quorum`: what servers say that they have, and who could lead
//! - `clients`: what clients do
//! - `reconfigure`: clients that change the ensemble, and what servers make of it
//! - `read_only`: clients of servers that have no leader, and sessions that one server knows
//! - `trouble`: what goes wrong
//! - `rot`: what becomes of a disk that rots
//! - `standing`: who is elected, what servers say of each other and show at which transaction
//! - `states`: equal transactions, equal states
//! - `inspect`: what is looked at while the world runs, and at its end

mod clients;
mod disk;
mod inspect;
pub mod peers;
pub mod process;
mod quorum;
mod read_only;
mod reconfigure;
pub mod rot;
mod server;
mod sockets;
pub mod standing;
mod states;
mod timers;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_replica::ConnectionKey;
use rookeeper_session::ConnectionId;
use rookeeper_store::SimulatedDisk;
use rookeeper_zab::links as zab_links;
use rookeeper_zab::membership::Membership;

use crate::checks::Fault;
use crate::dice::Dice;
use crate::history::History;
use crate::lineage::Lineage;
use crate::machine::{Clock, Machine};
use crate::network::{Arrival, MachineId, NetId, Network};
use crate::plan::{Plan, Setup, Trouble};
use crate::queue::Queue;
use crate::quorums::Quorums;
use crate::roles::Roles;
use crate::scenario::Mishap;
use crate::trace::Trace;
use clients::Client;
use peers::{Link, Port};
use standing::Shown;

/// A process: events for an earlier one on the same machine mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The machine.
    pub server: usize,
    /// Which of its processes.
    pub generation: u64,
}

/// Who is at one side of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// A client.
    Client {
        /// Which.
        client: usize,
        /// Which of its sessions.
        handle: usize,
        /// The session's name for the connection.
        connection: ConnectionId,
    },
    /// A server's client port.
    Service {
        /// The process that took it; generation 0 before one did.
        who: Who,
        /// The connection's key there.
        key: Option<ConnectionKey>,
    },
    /// A server that speaks to another one.
    Peer {
        /// The process; generation 0 before one took it.
        who: Who,
        /// On which port.
        port: Port,
        /// What the process knows of it.
        link: Link,
    },
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A packet arrives that side `from` sent.
    Arrive {
        /// On this connection.
        net: NetId,
        /// The side that sent it.
        from: usize,
    },
    /// The core takes one message.
    Core(Who),
    /// A leader has held its proposals for long enough.
    Release(Who),
    /// The core applies one slice.
    Apply(Who),
    /// An I/O thread has its turn.
    Shard(Who, usize),
    /// An I/O thread writes to its sockets.
    Flush(Who, usize),
    /// The disk thread has carried out its batch.
    Disk(Who),
    /// The snapshot thread begins (0), or goes on with the snapshot of this number.
    Snapshot(Who, u64),
    /// Time passes for cores and shards.
    Tick(Who),
    /// The time that a replica asked for, in microseconds.
    Deadline(Who, u64),
    /// A tick that is late.
    LateTick(Who),
    /// The same of a time that a replica asked for.
    LateDeadline(Who, u64),
    /// Nobody has answered a dial.
    DialTimeout(Who, NetId),
    /// A connection between servers is written.
    PeerWrite(Who, zab_links::ConnectionId),
    /// A client's timer.
    Timer {
        /// Which client.
        client: usize,
        /// Which of its sessions.
        handle: usize,
        /// The time that it asked for, in milliseconds.
        at_ms: u64,
    },
    /// A server has said whether it takes writes, or nobody answered.
    Probed {
        /// Which client asked.
        client: usize,
        /// Which of its sessions.
        handle: usize,
        /// Whom, by the place in its list.
        host: usize,
    },
    /// A client thinks of something to do.
    Act(usize),
    /// Something goes wrong.
    Trouble,
    /// Something is mended.
    Mend(Mending),
    /// A server starts.
    Start(usize),
    /// A server's clients do not reach it any more, and go to others.
    Leave {
        /// Which.
        server: usize,
        /// How long, in microseconds.
        for_us: u64,
    },
    /// All trouble ends.
    Peace,
    /// Clients ask for nothing more.
    Rest,
    /// The world is looked at as if the power went out now.
    Ghosts,
}

/// How a trouble ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mending {
    /// A process goes on.
    Resume(usize),
    /// Directions work again.
    Links(Vec<(MachineId, MachineId)>),
    /// Delays are as they were: from, to, delay, jitter.
    Delays(Vec<(MachineId, MachineId, u64, u64)>),
    /// A disk is as fast as before.
    Disk(usize),
    /// Timers are on time again.
    Timers(usize),
    /// A disk has room again.
    Room(usize),
    /// A connection that was gone at one side is gone at the other too.
    Connection(NetId),
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Events.
    pub events: u64,
    /// Operations that clients asked for.
    pub operations: u64,
    /// Operations that were answered.
    pub answered: u64,
    /// Watch events that clients were told.
    pub fired: u64,
    /// Times that the lock was held.
    pub claims: u64,
    /// Committed transactions.
    pub committed: u64,
    /// Changes of the ensemble that clients were told of.
    pub reconfigured: u64,
    /// Sessions that expired.
    pub expired: u64,
    /// Troubles by kind.
    pub troubles: BTreeMap<&'static str, u64>,
    /// Roles that ended, by the reason given.
    pub endings: BTreeMap<String, u64>,
    /// Epochs that a leader established.
    pub epochs: u64,
    /// Truncations and snapshots that learners took.
    pub truncations: u64,
    /// Snapshots that lay behind where histories were cut.
    pub snapshots_cut: u64,
    /// Logs that began behind where histories were cut.
    pub logs_cut: u64,
    /// Snapshots that learners took from their leaders.
    pub installs: u64,
    /// Histories that learners had taken over, in whatever way, and made durable.
    pub synchronisations: u64,
    /// Answers of servers without a leader.
    pub read_only: u64,
    /// Sessions that one server alone knew, counted at each look.
    pub local_sessions: u64,
    /// Directories that were emptied since a file in them was rotten.
    pub wiped: u64,
    /// Looks at all disks as if the power went out.
    pub ghosts: u64,
    /// The hash of everything that happened.
    pub trace: u64,
}

/// Everything.
pub struct World {
    setup: Setup,
    plan: Plan,
    queue: Queue<Event>,
    network: Network<End>,
    machines: Vec<Machine>,
    clients: Vec<Client>,
    history: History,
    lineage: Lineage,
    quorums: Quorums,
    shown: Shown,
    /// The configuration that all members begin with; `None` where a server stands alone.
    first: Option<Arc<Membership>>,
    /// Versions of configurations that some server took for committed.
    versions: BTreeSet<i64>,
    dice: Dice,
    /// Decides what goes wrong, where no scenario does, and nothing else.
    fate: Dice,
    /// What is still to go wrong, where a scenario says so.
    mishaps: Option<VecDeque<(u64, Mishap)>>,
    trace: Trace,
    report: Report,
    /// The first thing that was found.
    fault: Option<Fault>,
    is_peace: bool,
    is_rest: bool,
    handles: usize,
    peace_us: u64,
}

/// Virtual time after the end of trouble in which clients go on, in microseconds.
const PEACE_US: u64 = 10_000_000;
/// Virtual time in which everything has to come to rest, in microseconds.
const REST_US: u64 = 60_000_000;

impl World {
    /// A world that is about to begin.
    pub fn new(setup: Setup) -> World {
        let mut dice = Dice::new(setup.seed);
        let mut plan = Plan::draw(&mut dice.fork());
        if setup.members == 1 {
            plan.roles = Roles::default();
        }
        if setup.operations_per_s.is_some() {
            plan.keep_pace();
        }
        // Who observes at first may have a vote by then.
        plan.roles.observers_die &= !plan.roles.reconfigures;
        let servers = setup.members + plan.roles.observers + plan.roles.spares;
        let machines = (0..servers)
            .map(|_| Machine {
                disk: SimulatedDisk::new(),
                clock: Clock::draw(&mut dice),
                process: None,
                generation: 0,
                has_power: true,
                paused: None,
                stays_down: false,
                version: 0,
                ports: process::PORTS,
                sync_us: plan.sync_us,
                late_us: None,
                epochs: [-1, -1],
                rot: None,
                is_wiped: false,
                ambush: None,
                power_loss_in_batch: false,
                power_loss_in_recovery: None,
            })
            .collect();
        let network = Network::new(servers + plan.clients, dice.fork());
        let groups = plan.roles.groups.filter(|_| setup.members >= 5);
        let membership =
            || Arc::new(process::membership(setup.members, plan.roles.observers, groups));
        let first = (setup.members > 1).then(membership);
        let mut world = World {
            lineage: Lineage::new(first.clone()),
            quorums: Quorums::default(),
            shown: Shown::default(),
            versions: BTreeSet::new(),
            queue: Queue::default(),
            network,
            machines,
            clients: Vec::new(),
            history: History::beginning_with(first.as_deref().map(ToString::to_string)),
            fate: dice.fork(),
            dice,
            mishaps: setup.mishaps.clone().map(VecDeque::from),
            trace: Trace::default(),
            report: Report::default(),
            fault: None,
            is_peace: false,
            is_rest: false,
            handles: 0,
            first,
            peace_us: 0,
            setup,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for server in 0..self.machines.len() {
            let after_us = self.dice.below(100_000);
            self.queue.push(after_us, Event::Start(server));
        }
        for client in 0..self.plan.clients {
            let dice = self.dice.fork();
            self.clients.push(Client::new(client, dice));
            let after_us = self.dice.below(500_000);
            self.queue.push(after_us, Event::Act(client));
        }
        let first_us = match &self.mishaps {
            None => Some(1_500_000),
            Some(mishaps) => mishaps.front().map(|(at_us, _)| *at_us),
        };
        if let Some(first_us) = first_us {
            self.queue.push_at(first_us, Event::Trouble);
        }
        self.queue.push(2_000_000, Event::Ghosts);
        self.queue.push(self.setup.trouble_us, Event::Peace);
    }

    /// Runs to the end: what was done, and the first fault if there was one.
    pub fn run(mut self) -> (Report, Option<Fault>) {
        let end_us = self.setup.trouble_us + PEACE_US + REST_US;
        while self.fault.is_none() {
            let Some(event) = self.queue.pop() else { break };
            if self.queue.now_us() > end_us {
                self.fail("progress", self.unrest());
                break;
            }
            self.happen(event);
            if self.is_rest && self.is_quiet() {
                break;
            }
        }
        if self.fault.is_none() {
            self.judge();
        }
        let report = self.finish_report();
        (report, self.fault)
    }

    fn finish_report(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.virtual_us = self.queue.now_us();
        report.events = self.queue.popped();
        report.operations = self.history.records.len() as u64;
        report.answered = self.history.answered().count() as u64;
        report.fired = self.history.fired.len() as u64;
        report.claims = self.history.claims.len() as u64;
        report.committed = self.lineage.committed().len() as u64;
        report.trace = self.trace.value();
        report
    }

    fn happen(&mut self, event: Event) {
        if self.is_held(&event) {
            return;
        }
        if self.setup.is_loud {
            let now_us = self.queue.now_us();
            crate::say(&format!("{:>10}.{:06} {event:?}", now_us / 1_000_000, now_us % 1_000_000));
        }
        // The last one of a seed, after the end of trouble, does nothing and no scenario has it.
        if event != Event::Trouble {
            self.trace.note(self.queue.now_us());
        }
        match event {
            Event::Arrive { net, from } => self.arrive(net, from),
            Event::Core(who) => self.core_turn(who),
            Event::Release(who) => self.release_turn(who),
            Event::Apply(who) => self.apply_turn(who),
            Event::Shard(who, shard) => self.shard_turn(who, shard),
            Event::Flush(who, shard) => self.flush_turn(who, shard),
            Event::Disk(who) => self.disk_turn(who),
            Event::Snapshot(who, number) => self.snapshot_turn(who, number),
            Event::Tick(who) => self.tick_due(who),
            Event::Deadline(who, at_us) => self.deadline_due(who, at_us),
            Event::LateTick(who) => self.tick_turn(who),
            Event::LateDeadline(who, at_us) => self.deadline_turn(who, at_us),
            Event::DialTimeout(who, net) => self.dial_timeout(who, net),
            Event::PeerWrite(who, connection) => self.peer_write_turn(who, connection),
            Event::Timer { client, handle, at_ms } => self.client_timer(client, handle, at_ms),
            Event::Probed { client, handle, host } => self.probed(client, handle, host),
            Event::Act(client) => self.client_act(client),
            Event::Trouble => self.trouble(),
            Event::Mend(mending) => self.mend(mending),
            Event::Start(server) => self.start_server(server),
            Event::Leave { server, for_us } => self.lose_clients(server, for_us),
            Event::Peace => self.make_peace(),
            Event::Rest => self.rest(),
            Event::Ghosts => self.look_at_ghosts(),
        }
        self.bury_the_dead();
    }

    /// Whether the event is for a process that stands still; it is kept then.
    fn is_held(&mut self, event: &Event) -> bool {
        let server = match event {
            Event::Core(who)
            | Event::Release(who)
            | Event::Apply(who)
            | Event::Shard(who, _)
            | Event::Flush(who, _)
            | Event::Disk(who)
            | Event::Snapshot(who, _)
            | Event::Tick(who)
            | Event::Deadline(who, _)
            | Event::LateTick(who)
            | Event::LateDeadline(who, _)
            | Event::DialTimeout(who, _)
            | Event::PeerWrite(who, _) => who.server,
            // The system of a process that stands still goes on: it answers what comes for a
            // connection that is closed.
            Event::Arrive { net, from } => match self.network.machine(*net, 1 - *from) {
                Some(_) if !self.network.is_open(*net, 1 - *from) => return false,
                Some(machine) if machine < self.machines.len() => machine,
                _ => return false,
            },
            _ => return false,
        };
        match &mut self.machines[server].paused {
            Some(kept) => {
                kept.push(event.clone());
                true
            }
            None => false,
        }
    }

    fn fail(&mut self, check: &'static str, what: impl Into<String>) {
        self.note(Err(Fault::new(check, what)));
    }

    fn note(&mut self, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.fault.get_or_insert(fault);
        }
    }

    fn schedule_arrival(&mut self, arrival: Option<Arrival>) {
        if let Some(Arrival { at_us, net, from }) = arrival {
            self.queue.push_at(at_us, Event::Arrive { net, from });
        }
    }

    fn schedule_arrivals(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            self.schedule_arrival(Some(arrival));
        }
    }

    fn count(&mut self, trouble: Trouble) {
        *self.report.troubles.entry(trouble.name()).or_default() += 1;
    }
}
