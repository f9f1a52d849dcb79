//! The tree from what is on disk: a snapshot's records and the transactions after it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};
use rookeeper_store::{RecoveryProgress, RecoverySink, SnapshotDigest};
use rookeeper_tree::{ChangeLog, Tree, TreeConfig, TreeLoader};

/// Takes a store's records and builds the tree.
pub(crate) struct TreeRecovery {
    config: TreeConfig,
    state: State,
    /// Nobody watches during recovery; what is noted here is forgotten at once.
    changes: ChangeLog,
    progress: ProgressLine,
    /// The snapshot's digest until the tree has reached its transaction.
    digest: Option<SnapshotDigest>,
}

enum State {
    Snapshot(TreeLoader),
    Log(Tree),
    Failed,
}

impl TreeRecovery {
    /// Starts with nothing.
    pub(crate) fn new(config: TreeConfig) -> Self {
        TreeRecovery {
            state: State::Log(Tree::new(config)),
            config,
            changes: ChangeLog::default(),
            progress: ProgressLine::new(),
            digest: None,
        }
    }

    /// The tree just as snapshot and log make it: what a member of an ensemble shares with the
    /// others.
    pub(crate) fn finish_unchanged(mut self) -> Tree {
        self.progress.end();
        match self.state {
            State::Log(tree) => tree,
            State::Snapshot(_) | State::Failed => Tree::new(self.config),
        }
    }

    /// The tree, with the ephemerals of sessions that are gone removed.
    pub(crate) fn finish(self) -> Tree {
        let mut tree = self.finish_unchanged();
        let orphans = tree.remove_orphan_ephemerals();
        if orphans.ttls > 0 {
            tracing::warn!(
                znodes = orphans.ttls,
                "znodes with a time to live were deleted: where extendedTypesEnabled is off, they \
                 count as ephemerals of sessions that ended, as in Java"
            );
        }
        if orphans.ephemerals > 0 {
            tracing::info!(znodes = orphans.ephemerals, "ephemerals of ended sessions deleted");
        }
        tree
    }

    /// The snapshot's digest is that of its own zxid, or of a later one where the snapshot is
    /// fuzzy: only then the tree is whole again.
    fn compare_digest(&mut self, zxid: Zxid) {
        let State::Log(tree) = &self.state else { return };
        let Some(digest) = self.digest.filter(|digest| digest.zxid <= zxid) else { return };
        self.digest = None;
        let (expected, computed) = (digest.digest, tree.digest());
        if digest.zxid == zxid && computed != expected {
            tracing::error!(%zxid, expected, computed, "the snapshot's digest is not the tree's");
        }
    }
}

impl RecoverySink for TreeRecovery {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        self.digest = None;
        self.state = match snapshot {
            Some(_) => State::Snapshot(TreeLoader::new(self.config)),
            None => State::Log(Tree::new(self.config)),
        };
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
        self.digest = digest.filter(|digest| digest.version == 2 && tree.config().digest_enabled);
        let exact = self.digest.is_some_and(|digest| digest.zxid == zxid);
        if !exact {
            tree.begin_overlap();
        }
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
            let zxid = applied.header.zxid;
            tracing::error!(%zxid, "the transaction's digest is not that of the tree");
        }
        self.changes.trim(self.changes.position());
        self.compare_digest(header.zxid);
        Ok(())
    }

    fn progress(&mut self, progress: RecoveryProgress) {
        self.progress.show(progress);
    }
}

/// How far recovery is: a line that is written over on a terminal, plain lines otherwise.
struct ProgressLine {
    terminal: bool,
    last: Instant,
    shown: bool,
}

impl ProgressLine {
    const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);
    const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        ProgressLine { terminal, last: Instant::now(), shown: false }
    }

    fn show(&mut self, progress: RecoveryProgress) {
        let interval = if self.terminal { Self::TERMINAL_INTERVAL } else { Self::PLAIN_INTERVAL };
        if self.last.elapsed() < interval {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let line = match progress {
            RecoveryProgress::Snapshot { znodes, of: Some(of), .. } => {
                let percent = (100 * znodes).checked_div(of).unwrap_or(100).min(100);
                format!("loading the snapshot: {znodes} of {of} znodes, {percent} %")
            }
            RecoveryProgress::Snapshot { znodes, of: None, bytes, file_len } => {
                let percent = (100 * bytes).checked_div(file_len).unwrap_or(100).min(100);
                format!("loading the snapshot: {znodes} znodes, {percent} %")
            }
            RecoveryProgress::Log { txns, zxid } => {
                format!("replaying the log: {txns} transactions, up to {zxid}")
            }
        };
        if self.terminal {
            // A terminal that is gone does not stop the server.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        } else {
            tracing::info!("{line}");
        }
    }

    fn end(&mut self) {
        if self.terminal && self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
