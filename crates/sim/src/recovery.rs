//! The tree, and the transactions, from what is on a simulated disk.

use std::path::PathBuf;
use std::sync::Arc;

use rookeeper_archive::{Mismatch, Sections, TreeRecovery, Witness, write_at_once};
use rookeeper_jute::Zxid;
use rookeeper_store::{EpochFile, Recovered, SimulatedDisk, Store, StoreConfig, StoreError};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::sync::LogIndex;

use crate::checks::Committed;

/// Where every server keeps its data, on its own disk.
pub const DATA_DIR: &str = "/data";

/// Where a member keeps its configurations: the committed one, and the last one proposed.
pub fn membership_path(last_seen: bool) -> PathBuf {
    PathBuf::from(DATA_DIR).join(if last_seen { "zoo.next" } else { "zoo.dynamic" })
}

/// How the stores of the world are set up: small files, so that many of them are made; whether an
/// empty directory `may_be_new`, or has lost what it held.
pub fn store_config(may_be_new: bool) -> StoreConfig {
    StoreConfig {
        pre_alloc_size: 4096,
        auto_create_db: may_be_new,
        ..StoreConfig::new(PathBuf::from(DATA_DIR))
    }
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

/// What the snapshots of the world end with.
pub const SECTIONS: Sections = Sections { digest: true, last_zxid: true };

/// Keeps what the judges want to know of a recovery.
#[derive(Debug, Default)]
pub struct Onlooker {
    /// Transactions of the logs, in order.
    pub txns: Vec<Committed>,
    /// A digest that was not the tree's.
    pub mismatch: Option<Zxid>,
}

impl Witness for Onlooker {
    fn begin(&mut self) {
        *self = Onlooker::default();
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) {
        self.txns.push((zxid, Arc::from(txn)));
    }

    fn mismatch(&mut self, mismatch: Mismatch) {
        let (Mismatch::Snapshot { zxid, .. } | Mismatch::Txn(zxid)) = mismatch;
        self.mismatch.get_or_insert(zxid);
    }
}

/// What a start finds on a disk.
pub struct Opened {
    /// The directory.
    pub store: Store,
    /// The tree, until a process takes it.
    pub tree: Option<Tree>,
    /// What recovery says.
    pub recovered: Recovered,
    /// What is proven of the history.
    pub history: LogIndex,
    /// What was seen meanwhile.
    pub seen: Onlooker,
}

/// Opens a disk as a starting server does, with the first snapshot where there is none.
///
/// # Errors
/// The store's.
pub fn open(disk: &SimulatedDisk, is_alone: bool, may_be_new: bool) -> Result<Opened, StoreError> {
    let store = Store::open(Arc::new(disk.clone()), store_config(may_be_new))?;
    let mut recovery = TreeRecovery::new(tree_config(), Onlooker::default()).with_earlier();
    let recovered = store.recover(&mut recovery)?;
    let (mut tree, history, seen) = recovery.finish();
    if is_alone {
        tree.remove_orphan_ephemerals();
    }
    if recovered.write_initial_snapshot {
        write_at_once(&store, &mut tree, SECTIONS)?;
    }
    for which in [EpochFile::Accepted, EpochFile::Current] {
        store.epoch(which)?;
    }
    Ok(Opened { store, tree: Some(tree), recovered, history, seen })
}
