//! Tree and proven history from what is on disk.

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};
use rookeeper_store::{RecoveryProgress, RecoverySink, SnapshotDigest};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::sync::LogIndex;

use crate::recovery::TreeRecovery;

/// What a record of the log has besides its transaction, in bytes: checksum, length, end.
const RECORD_OVERHEAD: u64 = 13;

/// Takes a store's records, builds the tree and notes the history.
pub(crate) struct MemberRecovery {
    tree: TreeRecovery,
    history: LogIndex,
}

impl MemberRecovery {
    /// Starts with nothing.
    pub(crate) fn new(config: TreeConfig) -> Self {
        MemberRecovery { tree: TreeRecovery::new(config), history: LogIndex::new(Zxid::ZERO) }
    }

    /// The tree just as it was replicated, and what is proven of how it came to be.
    pub(crate) fn finish(self) -> (Tree, LogIndex) {
        (self.tree.finish_unchanged(), self.history)
    }
}

impl RecoverySink for MemberRecovery {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        self.history = LogIndex::new(snapshot.unwrap_or(Zxid::ZERO));
        self.tree.begin(snapshot);
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.tree.session(id, timeout_ms);
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        self.tree.acl(index, acl)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        self.tree.node(path, data, acl_index, stat)
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        self.tree.snapshot_end(zxid, digest)
    }

    fn wants_earlier(&self) -> bool {
        true
    }

    fn earlier(&mut self, base: Zxid, txns: &[(Zxid, u64)]) {
        let mut history = LogIndex::new(base);
        for (zxid, len) in txns {
            history.append(*zxid, *len);
        }
        self.history = history;
    }

    fn txn(&mut self, header: &TxnHeader, txn: &[u8]) -> Result<(), String> {
        self.tree.txn(header, txn)?;
        self.history.append(header.zxid, txn.len() as u64 + RECORD_OVERHEAD);
        Ok(())
    }

    fn progress(&mut self, progress: RecoveryProgress) {
        self.tree.progress(progress);
    }
}
