//! A snapshot's bytes at exactly one zxid.

use rookeeper_jute::Zxid;

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStart {
    /// The last transaction in it.
    pub zxid: Zxid,
    /// The tree's digest, version 2, at that transaction.
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
