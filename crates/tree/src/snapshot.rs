//! A snapshot's bytes at exactly one zxid, while changes go on: sessions, access control lists,
//! znodes with every parent before its children, and the terminator (Java:
//! `SerializeUtils.serializeSnapshot`). File header, checksums and what follows them are the
//! store's.

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::wire::encode_str;

use crate::tree::Tree;

/// Stands after the last znode, where a path would stand.
const TERMINATOR: &str = "/";

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStart {
    /// The last transaction in it.
    pub zxid: Zxid,
    /// The tree's digest, version 2, at that transaction; 0 where digests are disabled.
    pub digest: i64,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotProgress {
    /// Call again.
    Running,
    /// All is in the output, the terminator included.
    Finished,
}

impl Tree {
    /// Begins a snapshot of the tree as it is now; one that was running is given up.
    pub fn begin_snapshot(&mut self) -> SnapshotStart {
        let mut header = Vec::new();
        self.sessions.encode_snapshot(&mut header);
        self.acls.encode_snapshot(&mut header);
        self.znodes.begin_cursor(header);
        let mut zxid = self.last_processed_zxid;
        if mutation::is_on(Mutation::SnapshotMisnamed) && zxid.counter() > 1 {
            zxid = Zxid(zxid.0 - 1);
        }
        SnapshotStart { zxid, digest: self.digest() }
    }

    /// Appends about `bytes_max` bytes more to `out`, exceeding it by one znode and its unwritten
    /// ancestors at the most. Without a running snapshot there is nothing to append.
    pub fn continue_snapshot(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> SnapshotProgress {
        if !self.znodes.has_cursor() {
            return SnapshotProgress::Finished;
        }
        if !self.znodes.continue_cursor(bytes_max, out) {
            return SnapshotProgress::Running;
        }
        encode_str(TERMINATOR, out);
        SnapshotProgress::Finished
    }

    /// Gives up a running snapshot.
    pub fn abort_snapshot(&mut self) {
        self.znodes.abort_cursor();
    }

    /// Bytes that changes have put ahead of the walk: whoever applies slows down when they grow.
    pub fn snapshot_backlog_len(&self) -> usize {
        self.znodes.backlog_len()
    }
}
