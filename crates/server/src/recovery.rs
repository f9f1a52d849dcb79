//! What is said while the tree is rebuilt from disk.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use rookeeper_archive::{Mismatch, Witness};
use rookeeper_store::{RecoveryProgress, Repair};
use rookeeper_tree::Tree;

/// Says how far recovery is, and what is wrong.
pub(crate) struct Narrator {
    progress: ProgressLine,
}

impl Narrator {
    /// One that has said nothing yet.
    pub(crate) fn new() -> Self {
        Narrator { progress: ProgressLine::new() }
    }

    /// Recovery is over.
    pub(crate) fn end(mut self, repairs: &[Repair]) {
        self.progress.end();
        for repair in repairs {
            tracing::warn!("{repair}");
        }
    }
}

impl Witness for Narrator {
    fn mismatch(&mut self, mismatch: Mismatch) {
        match mismatch {
            Mismatch::Snapshot { zxid, expected, computed } => tracing::error!(
                %zxid,
                expected,
                computed,
                "the snapshot's digest is not the tree's"
            ),
            Mismatch::Txn(zxid) => {
                tracing::error!(%zxid, "the transaction's digest is not that of the tree");
            }
        }
    }

    fn progress(&mut self, progress: RecoveryProgress) {
        self.progress.show(progress);
    }
}

/// Removes the ephemerals of sessions that are gone from the tree of a server that stands alone.
pub(crate) fn remove_orphans(tree: &mut Tree) {
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
