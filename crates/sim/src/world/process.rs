//! A server's process: core or replica, shards, disk thread, snapshot thread and sockets, with the
//! queues between them. Whoever runs next is an event of the world.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rookeeper_jute::{ServerId, SessionId, Zxid};
use rookeeper_replica::{
    ApplyProgress, CloseReason, ConnectionKey, Core, CoreConfig, CoreEffect, CoreInput, CoreStart,
    DeliveryBatch, MemberConfig, Now, ObserverMasterRules, Recovered, Replica, ReplicaConfig,
    ReplicaEffect, ReplicaInput, ReplicaStartError, ServerState, Shard, ShardConfig, ShardId,
    Shared, StorageReport,
};
use rookeeper_store::{EpochFile, SimulatedDisk, SnapshotWriter};
use rookeeper_tree::auth::{AuthProvider, DigestProvider, IpProvider};
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, SnapshotStart};
use rookeeper_zab::links::{ConnectionId, LinksInput};
use rookeeper_zab::membership::{Address, Membership, MembershipRules, Role};
use rookeeper_zab::quorum::Ensemble;

use super::peers::PeerSocket;
use super::standing::Standing;
use crate::dice::Dice;
use crate::network::NetId;
use crate::plan::Plan;
use crate::recovery::{Opened, membership_path};
use crate::roles::Upgrading;
use crate::storage::Storage;

/// What waits for core or replica.
#[derive(Debug)]
pub enum Message {
    /// From shards and the snapshot thread.
    Core(CoreInput),
    /// From the disk thread.
    Storage(StorageReport),
    /// From election connections, but for bytes.
    Link(LinksInput<'static>),
    /// Bytes of an election connection.
    LinkReceived(ConnectionId, Vec<u8>),
    /// Somebody connected to the quorum port.
    QuorumAccepted(ConnectionId),
    /// A dial reached the leader.
    QuorumDialled(u64, ConnectionId),
    /// A dial reached nobody.
    QuorumDialFailed(u64),
    /// Bytes of a quorum connection.
    QuorumReceived(ConnectionId, Vec<u8>),
    /// A quorum connection ended.
    QuorumClosed(ConnectionId),
    /// A part of what the disk gives was written to one.
    QuorumWritten(ConnectionId),
    /// The disk could not give it.
    HistoryFailed(ConnectionId, Option<Zxid>),
    /// The replica's time has come.
    Tick,
    /// What a leader holds may go.
    Release,
}

impl Message {
    fn input(&self) -> Option<ReplicaInput<'_>> {
        Some(match self {
            Message::LinkReceived(connection, bytes) => {
                let connection = *connection;
                ReplicaInput::Link(LinksInput::Received { connection, bytes })
            }
            Message::QuorumAccepted(connection) => ReplicaInput::QuorumAccepted(*connection),
            Message::QuorumDialled(dial, connection) => {
                ReplicaInput::QuorumDialled { dial: *dial, connection: *connection }
            }
            Message::QuorumDialFailed(dial) => ReplicaInput::QuorumDialFailed { dial: *dial },
            Message::QuorumReceived(connection, bytes) => {
                ReplicaInput::QuorumReceived { connection: *connection, bytes }
            }
            Message::QuorumClosed(connection) => ReplicaInput::QuorumClosed(*connection),
            Message::QuorumWritten(connection) => ReplicaInput::QuorumWritten(*connection),
            Message::HistoryFailed(connection, unproven) => {
                ReplicaInput::HistoryFailed { connection: *connection, unproven: *unproven }
            }
            Message::Tick => ReplicaInput::Tick,
            Message::Release => ReplicaInput::Release,
            Message::Core(_) | Message::Storage(_) | Message::Link(_) => return None,
        })
    }
}

/// The heart of a server.
pub enum Engine {
    /// Of one that stands alone.
    Alone(Box<Core>),
    /// Of a member of an ensemble.
    Member(Box<Replica>),
}

impl Engine {
    /// Takes a message.
    pub fn step(
        &mut self,
        now: Now,
        message: Message,
        shared: &Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        match self {
            Engine::Alone(core) => {
                let input = match message {
                    Message::Core(input) => input,
                    Message::Storage(StorageReport::Durable(zxid)) => CoreInput::Durable(zxid),
                    Message::Storage(StorageReport::Failed) => CoreInput::DiskFailed,
                    _ => return,
                };
                let mut of_core: Vec<CoreEffect> = Vec::new();
                core.step(now, input, shared, &mut of_core);
                effects.extend(of_core.into_iter().map(ReplicaEffect::Core));
            }
            Engine::Member(replica) => match message {
                Message::Core(CoreInput::Tick) => {}
                Message::Core(input) => {
                    replica.step(now, ReplicaInput::Core(input), shared, effects);
                }
                Message::Storage(report) => {
                    replica.step(now, ReplicaInput::Storage(report), shared, effects);
                }
                Message::Link(input) => {
                    replica.step(now, ReplicaInput::Link(input), shared, effects);
                }
                message => {
                    let input = message.input().expect("the others are taken above");
                    replica.step(now, input, shared, effects);
                }
            },
        }
    }

    /// Applies a slice.
    pub fn apply(
        &mut self,
        now: Now,
        shared: &mut Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) -> ApplyProgress {
        match self {
            Engine::Alone(core) => {
                let mut of_core: Vec<CoreEffect> = Vec::new();
                let progress = core.apply(now, shared, &mut of_core);
                effects.extend(of_core.into_iter().map(ReplicaEffect::Core));
                progress
            }
            Engine::Member(replica) => replica.apply(now, shared, effects),
        }
    }
}

/// A client's connection at the server.
#[derive(Debug)]
pub struct Socket {
    /// The connection.
    pub net: NetId,
    /// What arrived and was not read.
    pub inbox: VecDeque<u8>,
    /// Whether the shard does not read it for now.
    pub is_paused: bool,
    /// Whether the client has ended it.
    pub is_ended: bool,
    /// Why and when it was told to close.
    pub closing: Option<(CloseReason, u64)>,
    /// Whether there is output.
    pub is_dirty: bool,
}

/// One I/O thread.
pub struct ShardSide {
    /// Its connections.
    pub shard: Shard,
    /// What the core said and it did not take.
    pub deliveries: VecDeque<DeliveryBatch>,
    /// Whether a turn of it is on its way.
    pub is_scheduled: bool,
    /// Whether a write of its outputs is on its way.
    pub is_flushing: bool,
}

/// A snapshot that is being written.
pub struct SnapshotJob {
    /// Where to.
    pub writer: SnapshotWriter,
    /// Of what.
    pub start: SnapshotStart,
    /// Its number among the process's.
    pub number: u64,
}

/// A running server.
pub struct Process {
    /// Its place among the machine's processes.
    pub generation: u64,
    /// Core or replica.
    pub engine: Engine,
    /// What core and shards share.
    pub shared: Shared,
    /// The I/O threads.
    pub shards: Vec<ShardSide>,
    /// What waits for the engine.
    pub inbox: VecDeque<Message>,
    /// Whether a step of the engine is on its way.
    pub core_scheduled: bool,
    /// Whether the end of what a leader holds is on its way.
    pub release_scheduled: bool,
    /// Whether applying is on its way.
    pub apply_scheduled: bool,
    /// The disk thread.
    pub storage: Storage,
    /// The snapshot thread.
    pub snapshot: Option<SnapshotJob>,
    /// How many snapshots were begun.
    pub snapshots: u64,
    /// Clients' connections.
    pub sockets: BTreeMap<ConnectionKey, Socket>,
    /// Connections to other servers.
    pub peers: BTreeMap<ConnectionId, PeerSocket>,
    /// How many there were.
    pub peers_opened: u64,
    /// When the replica wants a tick, in the world's time.
    pub deadline_us: Option<u64>,
    /// How many further effects are carried out before the process dies, and whether the power
    /// goes with it.
    pub dies_after: Option<(u32, bool)>,
    /// The version of its committed configuration.
    pub version: i64,
    /// What all servers had when it began to look for a leader.
    pub standings: Vec<Option<Standing>>,
    /// Whether its last election ended with itself, and it leads by it, or is about to.
    pub heads: bool,
    /// The epoch that it leads.
    pub leads: Option<u32>,
    /// When it began to serve or lead, by its own clock in milliseconds.
    pub serves_since_ms: u64,
    /// The last transaction in its log.
    pub last_appended: Zxid,
    /// The same, before an install that is not settled.
    pub before_install: Option<Zxid>,
    /// The last zxid of the log while a truncation is being carried out.
    pub before_truncate: Option<Zxid>,
    /// The last transaction that is on disk.
    pub durable: Zxid,
    /// The end of the log at each settling that is on its way.
    pub settles: VecDeque<Zxid>,
}

/// How followers serve observers, where they do: little is kept in memory.
pub const MASTERS: ObserverMasterRules = ObserverMasterRules { port: 2191, recent_len_max: 2000 };

/// Everybody may change the ensemble where anybody does.
fn access(plan: &Plan) -> Arc<AccessControl> {
    let digest = Arc::new(DigestProvider::default());
    let providers: Vec<Arc<dyn AuthProvider>> = vec![Arc::new(IpProvider), digest];
    Arc::new(AccessControl::new(providers, plan.roles.reconfigures))
}

fn core_config(plan: &Plan, server: usize, seed: u64) -> CoreConfig {
    CoreConfig {
        server_id: server as i64 + 1,
        tick_time_ms: plan.tick_ms,
        session_timeout_ms_min: 1000,
        session_timeout_ms_max: 20_000,
        seed,
        container_check_interval_ms: 1500,
        snap_count: plan.snap_count,
        segment_bytes: 4096,
        local_sessions_enabled: plan.roles.local_sessions.is_some(),
        local_sessions_upgrading_enabled: plan.roles.local_sessions == Some(Upgrading::Upgraded),
        epoch_counter_last: plan.roles.epoch_counter_last.unwrap_or(u32::MAX - 1),
        ..CoreConfig::default()
    }
}

/// What stands in a configuration of the server on a machine; its host is `s0`, `s1` and so on.
pub fn member_line(server: usize, role: Role, ports: [u16; 2]) -> String {
    let ([quorum, election], id) = (ports, server + 1);
    format!("server.{id}=s{server}:{quorum}:{election}:{role};s{server}:2181")
}

/// The ports of a server that nobody has moved: quorum and election.
pub const PORTS: [u16; 2] = [2888, 3888];

/// Three groups of so many voters or more, and weights; who has the weight 0 never leads.
pub fn group_lines(voters: &[usize], dice: &mut Dice) -> Vec<String> {
    let mut groups: [Vec<String>; 3] = Default::default();
    let mut weights = Vec::new();
    for (at, voter) in voters.iter().enumerate() {
        // Nobody is alone in a group without a weight.
        let (group, least) = if at < 3 { (at, 1) } else { (dice.index(3), 0) };
        groups[group].push((voter + 1).to_string());
        weights.push(format!("weight.{}={}", voter + 1, dice.between(least, 3)));
    }
    let groups = groups.iter().enumerate();
    let groups = groups.filter(|(_, ids)| !ids.is_empty());
    groups.map(|(at, ids)| format!("group.{}={}", at + 1, ids.join(":"))).chain(weights).collect()
}

/// The configuration of so many voters and observers; a number decides the voters' groups.
pub fn membership(voters: usize, observers: usize, groups: Option<u64>) -> Membership {
    let line = |at: usize| {
        let role = if at < voters { Role::Participant } else { Role::Observer };
        member_line(at, role, PORTS) + "\n"
    };
    let mut text: String = (0..voters + observers).map(line).collect();
    if let Some(seed) = groups {
        let voters: Vec<usize> = (0..voters).collect();
        text.push_str(&group_lines(&voters, &mut Dice::new(seed)).join("\n"));
    }
    parse(&text).expect("a configuration")
}

/// The id of the server on a machine.
pub fn server_id(server: usize) -> ServerId {
    ServerId(server as i64 + 1)
}

/// The machine behind an address.
pub fn machine_of(address: &Address) -> Option<usize> {
    address.host().strip_prefix('s')?.parse().ok()
}

/// The configurations on a disk; `first` where there are none.
pub fn read_ensemble(disk: &SimulatedDisk, first: &Arc<Membership>) -> Ensemble {
    let committed = read_membership(disk, false).map_or_else(|| first.clone(), Arc::new);
    let last_seen = read_membership(disk, true)
        .filter(|last| last.version() > committed.version())
        .map_or_else(|| committed.clone(), Arc::new);
    Ensemble::with_last_seen(committed, last_seen)
}

fn read_membership(disk: &SimulatedDisk, last_seen: bool) -> Option<Membership> {
    let bytes = disk.contents(&membership_path(last_seen))?;
    parse(&String::from_utf8(bytes).ok()?)
}

/// Reads a configuration.
pub fn parse(text: &str) -> Option<Membership> {
    Membership::parse(text, &MembershipRules::default()).ok()
}

impl Process {
    /// Whether it has a vote, in force or by a change that it takes for pending.
    pub fn votes(&self, me: ServerId) -> bool {
        let Engine::Member(replica) = &self.engine else { return true };
        let report = replica.report();
        report.committed.is_voter(me) || report.last_seen.is_voter(me)
    }

    /// The engine of a lone server over what was recovered.
    fn alone(plan: &Plan, now: Now, seed: u64, opened: &Opened, shared: &Shared) -> Engine {
        let start = CoreStart {
            txns_since_snapshot: opened.recovered.txns,
            bytes_since_snapshot: opened.recovered.txns_len,
            ..CoreStart::default()
        };
        let config = core_config(plan, 0, seed);
        let access = Arc::new(AccessControl::default());
        let core = Core::new(now, config, PrepareConfig::default(), access, shared, start);
        Engine::Alone(Box::new(core))
    }

    /// The engine of a member over what was recovered.
    #[allow(clippy::too_many_arguments, reason = "all that a start knows")]
    fn member(
        plan: &Plan,
        server: usize,
        first: &Arc<Membership>,
        now: Now,
        seed: u64,
        disk: &SimulatedDisk,
        opened: &Opened,
        shared: &mut Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Result<Engine, ReplicaStartError> {
        let me = server_id(server);
        let ensemble = read_ensemble(disk, first);
        let epoch = |which| opened.store.epoch(which).ok().flatten();
        let recovered = Recovered {
            last_zxid: opened.recovered.last_zxid,
            accepted_epoch: epoch(EpochFile::Accepted),
            current_epoch: epoch(EpochFile::Current),
            history: opened.history.clone(),
            committed: ensemble.committed().clone(),
            last_seen: ensemble.last_seen().clone(),
            txns_since_snapshot: opened.recovered.txns,
            bytes_since_snapshot: opened.recovered.txns_len,
        };
        let member = MemberConfig {
            tick_time_ms: u64::from(plan.tick_ms),
            notification_interval_ms_max: 2000,
            read_only_after_ms: plan.roles.read_only_after_ms,
            sync_enabled: !plan.roles.observers_log_nothing,
            observer_master: plan.roles.has_masters.then_some(MASTERS),
            holds_proposals: plan.holds_us.is_some(),
            seed,
            ..MemberConfig::new(me)
        };
        let config = ReplicaConfig {
            core: core_config(plan, server, seed),
            prepare: PrepareConfig {
                reconfig_enabled: plan.roles.reconfigures,
                ..PrepareConfig::default()
            },
            access: access(plan),
            member,
        };
        let replica = Replica::new(now, config, recovered, shared, effects)?;
        Ok(Engine::Member(Box::new(replica)))
    }

    /// A server over what was recovered: a member where the first configuration is given.
    ///
    /// # Errors
    /// Where a member's files contradict each other.
    #[allow(clippy::too_many_arguments, reason = "all that a start knows")]
    pub fn new(
        plan: &Plan,
        server: usize,
        first: Option<&Arc<Membership>>,
        generation: u64,
        now: Now,
        seed: u64,
        disk: &SimulatedDisk,
        mut opened: Opened,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Result<Process, ReplicaStartError> {
        let tree = opened.tree.take().expect("a start has a tree");
        let mut shared = Shared::new(tree, plan.shards);
        let engine = match first {
            None => Process::alone(plan, now, seed, &opened, &shared),
            Some(first) => {
                let shared = &mut shared;
                Process::member(plan, server, first, now, seed, disk, &opened, shared, effects)?
            }
        };
        let last = opened.recovered.last_zxid;
        let access = access(plan);
        let config = Arc::new(ShardConfig { hash_seed: seed, ..ShardConfig::default() });
        let side = |id| ShardSide {
            shard: Shard::new(ShardId(id), config.clone(), access.clone()),
            deliveries: VecDeque::new(),
            is_scheduled: false,
            is_flushing: false,
        };
        Ok(Process {
            generation,
            engine,
            shared,
            shards: (0..plan.shards).map(side).collect(),
            inbox: VecDeque::new(),
            core_scheduled: false,
            release_scheduled: false,
            apply_scheduled: false,
            last_appended: last,
            storage: Storage::new(opened.store, disk.clone(), last >= Zxid::ZERO),
            snapshot: None,
            snapshots: 0,
            sockets: BTreeMap::new(),
            peers: BTreeMap::new(),
            peers_opened: 0,
            deadline_us: None,
            dies_after: None,
            version: 0,
            standings: Vec::new(),
            heads: false,
            leads: None,
            serves_since_ms: now.monotonic_ms(),
            before_install: None,
            before_truncate: None,
            durable: last,
            settles: VecDeque::new(),
        })
    }

    /// A number for a new connection to another server.
    pub fn next_peer(&mut self) -> ConnectionId {
        self.peers_opened += 1;
        ConnectionId(self.peers_opened)
    }

    /// Whether what is applied is committed: always where a server stands alone, and while a
    /// member serves that has a leader.
    pub fn applies_committed(&self) -> bool {
        match &self.engine {
            Engine::Alone(_) => true,
            Engine::Member(replica) => {
                let report = replica.report();
                report.serving && report.state != ServerState::ReadOnly
            }
        }
    }

    /// The sessions that nobody else is to know of.
    pub fn local_sessions(&self) -> Vec<SessionId> {
        match &self.engine {
            Engine::Alone(_) => Vec::new(),
            Engine::Member(replica) => {
                replica.core().local_session_expiry().into_values().flatten().collect()
            }
        }
    }

    /// Counts an effect; `false` once the process is dead and carries nothing out any more.
    pub fn lives_on(&mut self) -> bool {
        match &mut self.dies_after {
            Some((0, _)) => false,
            Some((left, _)) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}
