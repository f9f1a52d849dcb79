//! The tree, and the transactions, from what is on a simulated disk.

use std::path::PathBuf;
use std::sync::Arc;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};
use rookeeper_store::{
    Recovered, RecoveryProgress, RecoverySink, SimulatedDisk, SnapshotDigest, SnapshotWriter,
    Store, StoreConfig, StoreError,
};
use rookeeper_tree::{ChangeLog, SnapshotProgress, SnapshotStart, Tree, TreeConfig, TreeLoader};
use rookeeper_zab::sync::LogIndex;

use crate::checks::Committed;

/// Where every server keeps its data, on its own disk.
pub const DATA_DIR: &str = "/data";

/// Where a member keeps its configurations: the committed one, and the last one proposed.
pub fn membership_path(last_seen: bool) -> PathBuf {
    PathBuf::from(DATA_DIR).join(if last_seen { "zoo.next" } else { "zoo.dynamic" })
}

/// What a log record costs beside its transaction, in bytes.
const RECORD_OVERHEAD: u64 = 13;

/// How the stores of the world are set up: small files, so that many of them are made.
pub fn store_config() -> StoreConfig {
    StoreConfig { pre_alloc_size: 4096, ..StoreConfig::new(PathBuf::from(DATA_DIR)) }
}

/// How the trees of the world are set up.
pub fn tree_config() -> TreeConfig {
    TreeConfig {
        index_key: [3, 4],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

enum State {
    Snapshot(TreeLoader),
    Log(Tree),
    Failed,
}

/// Builds the tree and keeps the transactions of the logs.
pub struct TreeRecovery {
    state: State,
    changes: ChangeLog,
    digest: Option<SnapshotDigest>,
    /// Transactions of the logs, in order.
    pub txns: Vec<Committed>,
    /// The zxid of the snapshot.
    pub snapshot: Option<Zxid>,
    /// A digest that was not the tree's.
    pub mismatch: Option<Zxid>,
    /// The history that is proven.
    pub history: LogIndex,
}

impl Default for TreeRecovery {
    fn default() -> Self {
        TreeRecovery {
            state: State::Log(Tree::new(tree_config())),
            changes: ChangeLog::default(),
            digest: None,
            txns: Vec::new(),
            snapshot: None,
            mismatch: None,
            history: LogIndex::new(Zxid::ZERO),
        }
    }
}

impl TreeRecovery {
    /// The tree; that of a lone server without the ephemerals of sessions that are gone.
    pub fn finish(&mut self, is_alone: bool) -> Tree {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Log(mut tree) => {
                if is_alone {
                    tree.remove_orphan_ephemerals();
                }
                tree
            }
            State::Snapshot(_) | State::Failed => Tree::new(tree_config()),
        }
    }

    fn compare_digest(&mut self, zxid: Zxid) {
        let State::Log(tree) = &self.state else { return };
        let Some(digest) = self.digest.filter(|digest| digest.zxid <= zxid) else { return };
        self.digest = None;
        if digest.zxid == zxid && tree.digest() != digest.digest {
            self.mismatch = Some(zxid);
        }
    }
}

impl RecoverySink for TreeRecovery {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        *self = TreeRecovery::default();
        self.snapshot = snapshot;
        self.history = LogIndex::new(snapshot.unwrap_or(Zxid::ZERO));
        if snapshot.is_some() {
            self.state = State::Snapshot(TreeLoader::new(tree_config()));
        }
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        if let State::Snapshot(loader) = &mut self.state {
            loader.session(id, timeout_ms);
        }
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        if let State::Snapshot(loader) = &mut self.state {
            loader.acl(index, acl);
        }
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        match &mut self.state {
            State::Snapshot(loader) => {
                loader.node(path, data, acl_index, stat).map_err(|error| error.to_string())
            }
            State::Log(_) | State::Failed => Err("a znode outside of a snapshot".to_owned()),
        }
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        let State::Snapshot(loader) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err("an end outside of a snapshot".to_owned());
        };
        let tree = loader.finish(zxid).map_err(|error| error.to_string())?;
        self.digest = digest;
        self.state = State::Log(tree);
        self.compare_digest(zxid);
        Ok(())
    }

    fn txn(&mut self, header: &TxnHeader, txn: &[u8]) -> Result<(), String> {
        let State::Log(tree) = &mut self.state else {
            return Err("a transaction before the end of the snapshot".to_owned());
        };
        let applied = tree.apply(txn, &mut self.changes).map_err(|error| error.to_string())?;
        if applied.digest_mismatch {
            self.mismatch = Some(header.zxid);
        }
        self.changes.trim(self.changes.position());
        self.compare_digest(header.zxid);
        self.txns.push((header.zxid, Arc::from(txn)));
        self.history.append(header.zxid, txn.len() as u64 + RECORD_OVERHEAD);
        Ok(())
    }

    fn wants_earlier(&self) -> bool {
        true
    }

    fn earlier(&mut self, base: Zxid, txns: &[(Zxid, u64)]) {
        self.history = LogIndex::new(base);
        for (zxid, len) in txns {
            self.history.append(*zxid, *len);
        }
    }

    fn progress(&mut self, _progress: RecoveryProgress) {}
}

/// What a start finds on a disk.
pub struct Opened {
    /// The directory.
    pub store: Store,
    /// The tree, until a process takes it.
    pub tree: Option<Tree>,
    /// What recovery says.
    pub recovered: Recovered,
    /// What the sink took.
    pub sink: TreeRecovery,
}

/// Opens a disk as a starting server does, with the first snapshot where there is none.
///
/// # Errors
/// The store's.
pub fn open(disk: &SimulatedDisk, is_alone: bool) -> Result<Opened, StoreError> {
    let store = Store::open(Arc::new(disk.clone()), store_config())?;
    let mut sink = TreeRecovery::default();
    let recovered = store.recover(&mut sink)?;
    let mut tree = sink.finish(is_alone);
    if recovered.write_initial_snapshot {
        write_snapshot(&store, &mut tree)?;
    }
    Ok(Opened { store, tree: Some(tree), recovered, sink })
}

/// Writes the snapshot of a tree at once.
///
/// # Errors
/// The store's.
pub fn write_snapshot(store: &Store, tree: &mut Tree) -> Result<(), StoreError> {
    let start = tree.begin_snapshot();
    let mut writer = store.snapshot_writer(start.zxid)?;
    let mut slice = Vec::new();
    while tree.continue_snapshot(64 << 10, &mut slice) == SnapshotProgress::Running {}
    writer.write(&slice)?;
    finish_snapshot(writer, start)
}

/// Seals a snapshot.
///
/// # Errors
/// The store's.
pub fn finish_snapshot(writer: SnapshotWriter, start: SnapshotStart) -> Result<(), StoreError> {
    let digest = SnapshotDigest { zxid: start.zxid, version: 2, digest: start.digest };
    writer.finish(Some(digest), Some(start.zxid)).map(|_| ())
}
