//! A server's process: core, shards, disk thread, snapshot thread and sockets, with the queues
//! between them. Whoever runs next is an event of the world.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rookeeper_replica::{
    CloseReason, ConnectionKey, Core, CoreConfig, CoreInput, CoreStart, DeliveryBatch, Now, Shard,
    ShardConfig, ShardId, Shared,
};
use rookeeper_store::SnapshotWriter;
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, SnapshotStart};

use crate::network::NetId;
use crate::plan::Plan;
use crate::recovery::Opened;
use crate::storage::Storage;

/// What waits for the core.
#[derive(Debug)]
pub enum Message {
    /// For the core.
    Core(CoreInput),
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
}

/// A running server.
pub struct Process {
    /// Its place among the machine's processes.
    pub generation: u64,
    /// The core of a lone server.
    pub core: Core,
    /// What core and shards share.
    pub shared: Shared,
    /// The I/O threads.
    pub shards: Vec<ShardSide>,
    /// What waits for the core.
    pub inbox: VecDeque<Message>,
    /// Whether a step of the core is on its way.
    pub core_scheduled: bool,
    /// Whether applying is on its way.
    pub apply_scheduled: bool,
    /// The disk thread.
    pub storage: Storage,
    /// The snapshot thread.
    pub snapshot: Option<SnapshotJob>,
    /// Clients' connections.
    pub sockets: BTreeMap<ConnectionKey, Socket>,
    /// How many further effects are carried out before the process dies, and whether the power
    /// goes with it.
    pub dies_after: Option<(u32, bool)>,
    /// When it began to serve, by its own clock in milliseconds.
    pub serves_since_ms: u64,
    /// The last transaction in its log.
    pub last_appended: rookeeper_jute::Zxid,
}

impl Process {
    /// A server over what was recovered.
    pub fn new(plan: &Plan, generation: u64, now: Now, seed: u64, opened: Opened) -> Process {
        let access = Arc::new(AccessControl::default());
        let Opened { store, tree, recovered, .. } = opened;
        let shared = Shared::new(tree, plan.shards);
        let config = CoreConfig {
            tick_time_ms: plan.tick_ms,
            session_timeout_ms_min: 1000,
            session_timeout_ms_max: 20_000,
            seed,
            container_check_interval_ms: 1500,
            snap_count: plan.snap_count,
            segment_bytes: 4096,
            ..CoreConfig::default()
        };
        let start = CoreStart {
            txns_since_snapshot: recovered.txns,
            bytes_since_snapshot: recovered.txns_len,
            ..CoreStart::default()
        };
        let prepare = PrepareConfig::default();
        let core = Core::new(now, config, prepare, access.clone(), &shared, start);
        let config = Arc::new(ShardConfig { hash_seed: seed, ..ShardConfig::default() });
        let side = |id| ShardSide {
            shard: Shard::new(ShardId(id), config.clone(), access.clone()),
            deliveries: VecDeque::new(),
            is_scheduled: false,
            is_flushing: false,
        };
        Process {
            generation,
            core,
            shared,
            shards: (0..plan.shards).map(side).collect(),
            inbox: VecDeque::new(),
            core_scheduled: false,
            apply_scheduled: false,
            storage: Storage::new(store),
            snapshot: None,
            sockets: BTreeMap::new(),
            dies_after: None,
            serves_since_ms: now.monotonic_ms(),
            last_appended: recovered.last_zxid,
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
