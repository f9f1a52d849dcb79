//! Machines, a network between them, and time: everything by one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_replica::{
    ApplyProgress, ConnectionKey, CoreConfig, CoreEffect, CoreInput, DeliveryBatch, EndReason,
    MemberConfig, MemberEvent, Now, Replica, ReplicaConfig, ReplicaEffect, ReplicaInput,
    ReplicaStartError, ServerState, Shard, ShardConfig, ShardEffect, ShardEffects, ShardId, Shared,
    StorageCommand, StorageReport, TICK_INTERVAL_MS,
};
use rookeeper_tree::AccessControl;
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_zab::links::{ConnectionId, LinksInput};
use rookeeper_zab::membership::{Address, Membership, MembershipRules};

use super::client::Client;
use super::disk::Disk;
use super::network::{End, Port};

/// Numbers from a seed (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

#[derive(Debug)]
pub enum Event {
    /// Something may be at this end.
    Arrives(ConnectionId),
    Dialled {
        server: usize,
        life: u64,
        port: Port,
        peer: ServerId,
        dial: u64,
    },
    Written {
        server: usize,
        life: u64,
        connection: ConnectionId,
    },
    DiskDone {
        server: usize,
        life: u64,
    },
    /// A leader lets go of its proposals.
    Release {
        server: usize,
        life: u64,
    },
}

/// A process.
pub struct Process {
    pub life: u64,
    pub replica: Replica,
    pub shared: Shared,
    pub shard: Shard,
    shard_ticked_ms: u64,
    commands: VecDeque<StorageCommand>,
    disk_busy: bool,
    apply: bool,
    deliveries: Vec<DeliveryBatch>,
    woken: bool,
    pub clients: BTreeMap<ConnectionKey, usize>,
    pub state: ServerState,
    pub ended: Option<EndReason>,
    pub events: Vec<(u64, MemberEvent)>,
    pub mismatches: Vec<Zxid>,
}

pub struct Machine {
    pub id: ServerId,
    pub disk: Disk,
    pub disk_full: bool,
    pub process: Option<Process>,
}

pub struct World {
    pub now_us: u64,
    pub dice: Dice,
    pub machines: Vec<Machine>,
    pub clients: Vec<Client>,
    pub configure: fn(&mut ReplicaConfig),
    pub ends: BTreeMap<ConnectionId, End>,
    pub blocked: BTreeSet<(usize, usize)>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    lives: u64,
    pub connections: u64,
    /// The digest of every tree at every zxid at which one stood.
    digests: BTreeMap<Zxid, i64>,
    /// Whether equal zxids must have equal digests.
    pub judges: bool,
    /// What no leader's disk gives to learners, though it has it.
    pub hole: Option<Zxid>,
    /// Established leaders by epoch.
    leaders: BTreeMap<i64, ServerId>,
    /// Whether leaders hold their proposals for a while.
    holds: bool,
}

pub fn membership_of(participants: u64, observers: u64) -> Membership {
    let mut text = String::new();
    for id in 1..=participants + observers {
        let role = if id <= participants { "participant" } else { "observer" };
        text.push_str(&line_of(id as i64, role));
    }
    text.push_str("version=0");
    Membership::parse(&text, &MembershipRules::default()).expect("a configuration")
}

pub fn line_of(id: i64, role: &str) -> String {
    format!("server.{id}=zoo{id}:2888:3888:{role};zoo{id}:2181\n")
}

impl World {
    pub fn new(participants: u64, observers: u64, seed: u64) -> World {
        let membership = membership_of(participants, observers);
        let machines = (1..=participants + observers).map(|id| Machine {
            id: ServerId(id as i64),
            disk: Disk::new(&membership),
            disk_full: false,
            process: None,
        });
        World {
            now_us: 5_000_000,
            dice: Dice::new(seed),
            machines: machines.collect(),
            clients: Vec::new(),
            configure: |_| {},
            ends: BTreeMap::new(),
            blocked: BTreeSet::new(),
            events: BTreeMap::new(),
            sequence: 0,
            lives: 0,
            connections: 0,
            digests: BTreeMap::new(),
            judges: true,
            hole: None,
            leaders: BTreeMap::new(),
            holds: seed % 2 == 1,
        }
    }

    /// A machine that no configuration knows of but its own, in which it observes.
    pub fn add_machine(&mut self) -> usize {
        let id = self.machines.len() + 1;
        let mut text: String = (1..id).map(|id| line_of(id as i64, "participant")).collect();
        text.push_str(&line_of(id as i64, "observer"));
        text.push_str("version=0");
        let joining = Membership::parse(&text, &MembershipRules::default()).expect("a membership");
        let disk = Disk::new(&joining);
        let id = ServerId(id as i64);
        self.machines.push(Machine { id, disk, disk_full: false, process: None });
        self.machines.len() - 1
    }

    pub fn now(&self) -> Now {
        Now { wall_ms: 1_700_000_000_000 + (self.now_us / 1000) as i64, monotonic_us: self.now_us }
    }

    pub fn start_all(&mut self) {
        for server in 0..self.machines.len() {
            self.start(server);
        }
    }

    pub fn start(&mut self, server: usize) {
        let now = self.now();
        let machine = &mut self.machines[server];
        assert!(machine.process.is_none(), "started once");
        let (tree, recovered) = machine.disk.recover();
        let mut shared = Shared::new(tree, 1);
        let config = self.config_of(server);
        let access = config.access.clone();
        let mut effects = Vec::new();
        let replica = Replica::new(now, config, recovered, &mut shared, &mut effects)
            .expect("epochs and log agree");
        let machine = &mut self.machines[server];
        self.lives += 1;
        machine.process = Some(Process {
            life: self.lives,
            replica,
            shared,
            shard: Shard::new(ShardId(0), Arc::new(ShardConfig::default()), access),
            shard_ticked_ms: 0,
            commands: VecDeque::new(),
            disk_busy: false,
            apply: false,
            deliveries: Vec::new(),
            woken: false,
            clients: BTreeMap::new(),
            state: ServerState::Looking,
            ended: None,
            events: Vec::new(),
            mismatches: Vec::new(),
        });
        self.carry_out(server, effects);
        self.settle(server);
    }

    fn config_of(&self, server: usize) -> ReplicaConfig {
        let id = self.machines[server].id;
        let mut member = MemberConfig::new(id);
        member.election_addresses = vec![Address::new(&format!("zoo{id}"), 3888)];
        member.tick_time_ms = 500;
        member.seed = self.lives;
        member.holds_proposals = self.holds;
        let core = CoreConfig { server_id: id.0, tick_time_ms: 500, ..CoreConfig::default() };
        let access = Arc::new(AccessControl::default());
        let mut config = ReplicaConfig { core, prepare: PrepareConfig::default(), access, member };
        config.prepare.reconfig_enabled = true;
        (self.configure)(&mut config);
        config
    }

    /// Why a server would not start.
    pub fn refusal(&mut self, server: usize) -> Option<ReplicaStartError> {
        let (tree, recovered) = self.machines[server].disk.recover();
        let mut shared = Shared::new(tree, 1);
        let (now, config) = (self.now(), self.config_of(server));
        Replica::new(now, config, recovered, &mut shared, &mut Vec::new()).err()
    }

    /// The power fails: what the disk had not done is lost.
    pub fn kill(&mut self, server: usize) {
        self.machines[server].disk_full = false;
        if let Some(process) = self.machines[server].process.take() {
            for client in process.clients.into_values() {
                self.clients[client].closed = true;
            }
        }
        let mine = self.ends.iter().filter(|(_, end)| end.server == server && end.open);
        let mine: Vec<ConnectionId> = mine.map(|(id, _)| *id).collect();
        for connection in mine {
            self.close(connection);
        }
    }

    pub fn process(&mut self, server: usize) -> &mut Process {
        self.machines[server].process.as_mut().expect("it runs")
    }

    pub fn is_up(&self, server: usize) -> bool {
        self.machines[server].process.is_some()
    }

    /// The server that leads and serves, if there is one.
    pub fn leader(&self) -> Option<usize> {
        (0..self.machines.len()).find(|server| {
            self.machines[*server].process.as_ref().is_some_and(|process| {
                let report = process.replica.report();
                report.state == ServerState::Leading && report.serving
            })
        })
    }

    pub fn serves(&self, server: usize) -> bool {
        let process = self.machines[server].process.as_ref();
        process.is_some_and(|process| process.replica.report().serving)
    }

    /// Whether all that run serve, and agree on the leader.
    pub fn all_serve(&self) -> bool {
        let mut leaders = BTreeSet::new();
        let running = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        running.into_iter().all(|process| {
            let report = process.replica.report();
            leaders.insert(report.leader);
            report.serving
        }) && leaders.len() == 1
    }

    pub fn after(&mut self, us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now_us + us, self.sequence), event);
    }

    /// Runs until something is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, ms_max: u64, mut done: impl FnMut(&mut World) -> bool) {
        let by_us = self.now_us + ms_max * 1000;
        while !done(self) {
            if self.now_us >= by_us {
                self.tell();
                panic!("not {what} within {ms_max} ms");
            }
            self.advance(by_us);
        }
    }

    /// What everybody is, and how that came about.
    pub fn tell(&self) {
        for Machine { id, process, .. } in &self.machines {
            if let Some(process) = process {
                eprintln!("{id}: {:?}", process.replica.report());
                process.events.iter().for_each(|(at_us, event)| eprintln!("{at_us} {event:?}"));
            }
        }
    }

    /// Runs until something is so, or for so long.
    pub fn pass_until(&mut self, ms_max: u64, mut done: impl FnMut(&mut World) -> bool) {
        let by_us = self.now_us + ms_max * 1000;
        while self.now_us < by_us && !done(self) {
            self.advance(by_us);
        }
    }

    pub fn pass(&mut self, ms: u64) {
        let by_us = self.now_us + ms * 1000;
        while self.now_us < by_us {
            self.advance(by_us);
        }
    }

    /// Does what is due next, at `by_us` at the latest.
    fn advance(&mut self, by_us: u64) {
        let next_event = self.events.first_key_value().map(|((at, _), _)| *at);
        let mut tick: Option<(u64, usize)> = None;
        for (server, machine) in self.machines.iter().enumerate() {
            let Some(process) = &machine.process else { continue };
            let Some(due_ms) = process.replica.deadline_ms() else { continue };
            let at = (due_ms * 1000).max(self.now_us);
            if tick.is_none_or(|(first, _)| at < first) {
                tick = Some((at, server));
            }
        }
        let event_first = next_event.is_some_and(|at| tick.is_none_or(|(due, _)| at <= due));
        if event_first && next_event.is_some_and(|at| at <= by_us) {
            let ((at, _), event) = self.events.pop_first().expect("looked at before");
            self.now_us = self.now_us.max(at);
            return self.happens(event);
        }
        match tick {
            Some((at, server)) if at <= by_us && !event_first => {
                self.now_us = at;
                self.tick(server);
            }
            _ => self.now_us = by_us,
        }
    }

    fn tick(&mut self, server: usize) {
        let now = self.now();
        let process = self.process(server);
        if now.monotonic_ms() >= process.shard_ticked_ms + TICK_INTERVAL_MS {
            process.shard_ticked_ms = now.monotonic_ms();
            let mut effects = ShardEffects::default();
            process.shard.tick(now, &mut effects);
            self.carry_out_shard(server, effects);
        }
        self.step(server, ReplicaInput::Tick);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives(connection) => self.arrives(connection),
            Event::Dialled { server, life, port, peer, dial } => {
                if self.lives(server, life) {
                    self.dialled(server, port, peer, dial);
                }
            }
            Event::Written { server, life, connection } => {
                if self.lives(server, life) {
                    self.step(server, ReplicaInput::Link(LinksInput::Written(connection)));
                }
            }
            Event::DiskDone { server, life } => {
                if self.lives(server, life) {
                    self.disk_done(server);
                }
            }
            Event::Release { server, life } => {
                if self.lives(server, life) {
                    self.step(server, ReplicaInput::Release);
                }
            }
        }
    }

    fn lives(&self, server: usize, life: u64) -> bool {
        self.machines[server].process.as_ref().is_some_and(|process| process.life == life)
    }

    /// Gives an input to a process, and does all that follows at once.
    pub fn step(&mut self, server: usize, input: ReplicaInput<'_>) {
        let now = self.now();
        let Some(process) = &mut self.machines[server].process else { return };
        let mut effects = Vec::new();
        process.replica.step(now, input, &process.shared, &mut effects);
        self.carry_out(server, effects);
        self.settle(server);
    }

    fn settle(&mut self, server: usize) {
        for _ in 0..100_000 {
            let now = self.now();
            let Some(process) = &mut self.machines[server].process else { return };
            if process.apply {
                let mut effects = Vec::new();
                let progress = process.replica.apply(now, &mut process.shared, &mut effects);
                process.apply = progress == ApplyProgress::More;
                self.carry_out(server, effects);
                self.judge(server);
            } else if process.woken || !process.deliveries.is_empty() {
                self.run_shard(server);
            } else {
                return;
            }
        }
        panic!("server {server} does not come to rest");
    }

    fn judge(&mut self, server: usize) {
        let machine = &self.machines[server];
        let Some(process) = &machine.process else { return };
        let tree = &process.shared.tree;
        let (zxid, digest) = (tree.last_processed_zxid(), tree.digest());
        let before = *self.digests.entry(zxid).or_insert(digest);
        if self.judges {
            assert_eq!(before, digest, "server {} differs at {zxid}", machine.id);
        }
    }

    fn run_shard(&mut self, server: usize) {
        let now = self.now();
        let process = self.process(server);
        process.woken = false;
        let mut effects = ShardEffects::default();
        for batch in std::mem::take(&mut process.deliveries) {
            process.shard.deliver(now, batch, &process.shared, &mut effects);
        }
        process.shard.catch_up(now, &process.shared, &mut effects);
        self.carry_out_shard(server, effects);
    }

    /// Bytes of a client, for its server.
    pub fn client_says(&mut self, client: usize, bytes: &[u8]) {
        let (server, key) = (self.clients[client].server, self.clients[client].key);
        let now = self.now();
        if self.clients[client].closed || !self.is_up(server) {
            return;
        }
        let process = self.process(server);
        let mut effects = ShardEffects::default();
        process.shard.catch_up(now, &process.shared, &mut effects);
        process.shard.receive(now, key, bytes, &process.shared, &mut effects);
        self.carry_out_shard(server, effects);
        self.settle(server);
    }

    /// What shards tell from time to time: who was heard of.
    pub fn tick_shards(&mut self) {
        for server in
            (0..self.machines.len()).filter(|server| self.is_up(*server)).collect::<Vec<_>>()
        {
            let (now, mut effects) = (self.now(), ShardEffects::default());
            self.process(server).shard.tick(now, &mut effects);
            self.carry_out_shard(server, effects);
            self.settle(server);
        }
    }

    pub fn carry_out_shard(&mut self, server: usize, mut effects: ShardEffects) {
        let now = self.now();
        let process = self.machines[server].process.as_mut().expect("it runs");
        let mut more = ShardEffects::default();
        let mut gone = Vec::new();
        while !effects.effects.is_empty() {
            for effect in std::mem::take(&mut effects.effects) {
                match effect {
                    ShardEffect::Output(key) => {
                        let Some(client) = process.clients.get(&key) else { continue };
                        let output = process.shard.output(key);
                        let len = output.len();
                        self.clients[*client].received.extend_from_slice(output);
                        process.shard.written(key, len, &mut more);
                    }
                    ShardEffect::Close(key, _) => gone.push(key),
                    ShardEffect::More => process.woken = true,
                    ShardEffect::Pause(_) | ShardEffect::Resume(_) => {}
                    ShardEffect::FourLetterWord { .. } => {}
                }
            }
            effects.effects.append(&mut more.effects);
        }
        for key in gone {
            if let Some(client) = process.clients.remove(&key) {
                let output = process.shard.output(key);
                self.clients[client].received.extend_from_slice(output);
                self.clients[client].closed = true;
                process.shard.closed(key, &mut more);
                process.woken = true;
            }
        }
        let mut replica_effects = Vec::new();
        for batch in [effects.submissions, more.submissions] {
            if !batch.is_empty() {
                let input = ReplicaInput::Core(CoreInput::Submissions(batch));
                process.replica.step(now, input, &process.shared, &mut replica_effects);
            }
        }
        if more.effects.iter().any(|effect| matches!(effect, ShardEffect::More)) {
            process.woken = true;
        }
        self.carry_out(server, replica_effects);
    }

    fn carry_out(&mut self, server: usize, effects: Vec<ReplicaEffect>) {
        for effect in effects {
            match effect {
                ReplicaEffect::Core(effect) => self.carry_out_core(server, effect),
                ReplicaEffect::Link(effect) => self.carry_out_link(server, effect),
                ReplicaEffect::QuorumDial { dial, addresses } => {
                    self.dial(server, Port::Quorum, &addresses, dial);
                }
                ReplicaEffect::QuorumSend { connection, item } => {
                    self.quorum_send(server, connection, item);
                }
                ReplicaEffect::QuorumClose(connection) => self.close(connection),
                ReplicaEffect::QuorumPause(connection) => {
                    self.ends.get_mut(&connection).expect("known").paused = true;
                }
                ReplicaEffect::QuorumResume(connection) => {
                    self.ends.get_mut(&connection).expect("known").paused = false;
                    self.after(0, Event::Arrives(connection));
                }
                ReplicaEffect::Storage(command) => {
                    self.process(server).commands.push_back(command);
                    self.wake_disk(server);
                }
                ReplicaEffect::Held => {
                    let (us, life) = (self.dice.below(4000), self.process(server).life);
                    self.after(us, Event::Release { server, life });
                }
                ReplicaEffect::State(state) => self.process(server).state = state,
                ReplicaEffect::Membership(_) => {}
                ReplicaEffect::Event(event) => {
                    if let MemberEvent::Established { epoch, .. } = event {
                        let id = self.machines[server].id;
                        let other = self.leaders.insert(epoch, id);
                        assert!(other.is_none_or(|other| other == id), "two leaders of {epoch}");
                    }
                    let now_us = self.now_us;
                    self.process(server).events.push((now_us, event));
                }
                ReplicaEffect::Ended(reason) => self.process(server).ended = Some(reason),
            }
        }
    }

    fn carry_out_core(&mut self, server: usize, effect: CoreEffect) {
        let process = self.process(server);
        match effect {
            CoreEffect::Apply => process.apply = true,
            CoreEffect::Deliver(batch) => process.deliveries.push(batch),
            CoreEffect::Wake(_) => process.woken = true,
            CoreEffect::BeginSnapshot => {
                self.step(server, ReplicaInput::Core(CoreInput::SnapshotEnded));
            }
            CoreEffect::DigestMismatch(zxid) => process.mismatches.push(zxid),
            CoreEffect::SessionsExpired(_) | CoreEffect::QuotaExceeded(_) => {}
            other => panic!("not for a driver: {other:?}"),
        }
    }

    fn wake_disk(&mut self, server: usize) {
        let full = self.machines[server].disk_full;
        let process = self.process(server);
        if full || process.disk_busy || process.commands.is_empty() {
            return;
        }
        process.disk_busy = true;
        let life = process.life;
        let delay_us = 200 + self.dice.below(3000);
        self.after(delay_us, Event::DiskDone { server, life });
    }

    /// The disk has room or has none.
    pub fn fill_disk(&mut self, server: usize, full: bool) {
        self.machines[server].disk_full = full;
        let report = if full { StorageReport::Full } else { StorageReport::Room };
        self.step(server, ReplicaInput::Storage(report));
        self.wake_disk(server);
    }

    /// The disk takes commands and does none of them, until it goes on.
    pub fn stall_disk(&mut self, server: usize, stalls: bool) {
        self.machines[server].disk_full = stalls;
        self.wake_disk(server);
    }

    fn disk_done(&mut self, server: usize) {
        let process = self.process(server);
        process.disk_busy = false;
        let mut commands = std::mem::take(&mut process.commands).into_iter();
        let mut durable = None;
        for command in commands.by_ref() {
            if let Some(zxid) = durable
                && !matches!(command, StorageCommand::Append(_) | StorageCommand::Roll)
            {
                self.step(server, ReplicaInput::Storage(StorageReport::Durable(zxid)));
                durable = None;
            }
            match self.carry_out_command(server, command) {
                Some(StorageReport::Durable(zxid)) => durable = Some(zxid),
                Some(report) => {
                    self.step(server, ReplicaInput::Storage(report));
                    // Or what is behind it takes its time.
                    if self.dice.below(4) == 0 {
                        break;
                    }
                }
                None => {}
            }
        }
        if self.is_up(server) {
            let since = std::mem::replace(&mut self.process(server).commands, commands.collect());
            self.process(server).commands.extend(since);
        }
        if let Some(zxid) = durable {
            self.step(server, ReplicaInput::Storage(StorageReport::Durable(zxid)));
        }
        if self.is_up(server) {
            self.wake_disk(server);
        }
    }

    fn carry_out_command(
        &mut self,
        server: usize,
        command: StorageCommand,
    ) -> Option<StorageReport> {
        let machine = &mut self.machines[server];
        let disk = &mut machine.disk;
        let reloaded = match command {
            StorageCommand::Append(segment) => {
                disk.append(&segment);
                return Some(StorageReport::Durable(segment.last_zxid()));
            }
            StorageCommand::Roll => return None,
            StorageCommand::WriteEpoch { kind, epoch } => {
                disk.write_epoch(kind, epoch);
                return Some(StorageReport::EpochWritten(kind));
            }
            StorageCommand::WriteMembership { membership, last_seen } => {
                disk.write_membership(&membership, last_seen);
                return Some(StorageReport::MembershipWritten);
            }
            StorageCommand::BeginInstall(zxid) => {
                disk.begin_install(zxid);
                return None;
            }
            StorageCommand::InstallBytes(bytes) => {
                disk.install_bytes(&bytes);
                return None;
            }
            StorageCommand::Settle => {
                disk.settle();
                return Some(StorageReport::Settled);
            }
            StorageCommand::Truncate(zxid) => match disk.truncate(zxid) {
                Some(reloaded) => reloaded,
                None => return Some(StorageReport::Refused),
            },
            StorageCommand::EndInstall => disk.end_install(),
            StorageCommand::Reload => disk.abort_install(),
        };
        let (tree, history) = reloaded;
        let last_zxid = tree.last_processed_zxid();
        let process = machine.process.as_mut().expect("it runs");
        process.shared.replace_tree(tree);
        Some(StorageReport::Reloaded { last_zxid, history })
    }

    /// All trees that run are the same, when one more write has reached them: until then who leads
    /// shows the start of its epoch, which names no transaction.
    #[track_caller]
    pub fn assert_equal(&mut self) {
        let leader = self.leader().expect("somebody leads");
        let client = self.connect(leader);
        assert!(self.create(client, &format!("/settled-{}", self.now_us)));
        self.pass(100);
        let mut first: Option<(Zxid, i64)> = None;
        for machine in &self.machines {
            let Some(process) = &machine.process else { continue };
            let tree = &process.shared.tree;
            let here = (tree.last_processed_zxid(), tree.digest());
            let before = *first.get_or_insert(here);
            assert_eq!(before, here, "server {}", machine.id);
            assert_eq!(process.mismatches, [], "server {}", machine.id);
        }
    }
}
