//! Tree and proven history from a store's records: a snapshot, and the transactions after it.

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};
use rookeeper_store::log::RECORD_OVERHEAD;
use rookeeper_store::{RecoveryProgress, RecoverySink, SnapshotDigest};
use rookeeper_tree::{ChangeLog, Tree, TreeConfig, TreeLoader};
use rookeeper_zab::sync::LogIndex;

use crate::snapshot::DIGEST_VERSION;

/// A digest on disk that is not the tree's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The snapshot's.
    Snapshot {
        /// At which transaction.
        zxid: Zxid,
        /// What the snapshot says.
        expected: i64,
        /// What the tree has.
        computed: i64,
    },
    /// A transaction's.
    Txn(Zxid),
}

/// Looks on while a tree is rebuilt.
pub trait Witness {
    /// A new start: everything seen before is void.
    fn begin(&mut self) {}
    /// A transaction was applied.
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) {
        let _ = (zxid, txn);
    }
    /// A digest differs.
    fn mismatch(&mut self, mismatch: Mismatch);
    /// Called now and then.
    fn progress(&mut self, progress: RecoveryProgress) {
        let _ = progress;
    }
}

/// Takes a store's records, builds the tree and notes the history.
pub struct TreeRecovery<W> {
    config: TreeConfig,
    state: State,
    /// Nobody watches during recovery; what is noted here is forgotten at once.
    changes: ChangeLog,
    /// The snapshot's digest until the tree has reached its transaction.
    digest: Option<SnapshotDigest>,
    history: LogIndex,
    wants_earlier: bool,
    witness: W,
}

enum State {
    Snapshot(TreeLoader),
    Log(Tree),
    Failed,
}

impl<W: Witness> TreeRecovery<W> {
    /// Starts with nothing.
    pub fn new(config: TreeConfig, witness: W) -> Self {
        TreeRecovery {
            state: State::Log(Tree::new(config)),
            config,
            changes: ChangeLog::default(),
            digest: None,
            history: LogIndex::new(Zxid::ZERO),
            wants_earlier: false,
            witness,
        }
    }

    /// Wants to know what is proven of the history before the snapshot as well, which costs
    /// reading some of the older logs: what a member of an ensemble serves learners from.
    pub fn with_earlier(mut self) -> Self {
        self.wants_earlier = true;
        self
    }

    /// The tree just as snapshot and log make it, which a member of an ensemble shares with the
    /// others; what is proven of how it came to be; and who looked on.
    pub fn finish(self) -> (Tree, LogIndex, W) {
        let tree = match self.state {
            State::Log(tree) => tree,
            State::Snapshot(_) | State::Failed => Tree::new(self.config),
        };
        (tree, self.history, self.witness)
    }

    /// The snapshot's digest is that of its own zxid, or of a later one where the snapshot is
    /// fuzzy: only then the tree is whole again.
    fn compare_digest(&mut self, zxid: Zxid) {
        let State::Log(tree) = &self.state else { return };
        let Some(digest) = self.digest.filter(|digest| digest.zxid <= zxid) else { return };
        self.digest = None;
        let (expected, computed) = (digest.digest, tree.digest());
        if digest.zxid == zxid && computed != expected {
            self.witness.mismatch(Mismatch::Snapshot { zxid, expected, computed });
        }
    }
}

impl<W: Witness> RecoverySink for TreeRecovery<W> {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        self.digest = None;
        self.history = LogIndex::new(snapshot.unwrap_or(Zxid::ZERO));
        self.state = match snapshot {
            Some(_) => State::Snapshot(TreeLoader::new(self.config)),
            None => State::Log(Tree::new(self.config)),
        };
        self.witness.begin();
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
        let mut tree = loader.finish(zxid).map_err(|error| error.to_string())?;
        let enabled = tree.config().digest_enabled;
        self.digest = digest.filter(|digest| digest.version == DIGEST_VERSION && enabled);
        let exact = self.digest.is_some_and(|digest| digest.zxid == zxid);
        if !exact {
            tree.begin_overlap();
        }
        self.state = State::Log(tree);
        self.compare_digest(zxid);
        Ok(())
    }

    fn wants_earlier(&self) -> bool {
        self.wants_earlier
    }

    fn earlier(&mut self, base: Zxid, txns: &[(Zxid, u64)]) {
        let mut history = LogIndex::new(base);
        for (zxid, len) in txns {
            history.append(*zxid, *len);
        }
        self.history = history;
    }

    fn txn(&mut self, header: &TxnHeader, txn: &[u8]) -> Result<(), String> {
        let State::Log(tree) = &mut self.state else {
            return Err("a transaction before the end of the snapshot".to_owned());
        };
        let applied = tree.apply(txn, &mut self.changes).map_err(|error| error.to_string())?;
        if applied.digest_mismatch {
            self.witness.mismatch(Mismatch::Txn(applied.header.zxid));
        }
        self.changes.trim(self.changes.position());
        self.compare_digest(header.zxid);
        self.history.append(header.zxid, (txn.len() + RECORD_OVERHEAD) as u64);
        self.witness.txn(header.zxid, txn);
        Ok(())
    }

    fn progress(&mut self, progress: RecoveryProgress) {
        self.witness.progress(progress);
    }
}
