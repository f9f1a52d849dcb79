//! What ends a snapshot's file, and a snapshot that is written at once.

use rookeeper_jute::Zxid;
use rookeeper_store::{SnapshotDigest, SnapshotWriter, Store, StoreError};
use rookeeper_tree::{SnapshotProgress, SnapshotStart, Tree};

/// The version of the digest's rule that the tree knows (Java: `DigestCalculator`).
pub(crate) const DIGEST_VERSION: i32 = 2;

/// Bytes taken of a tree that nobody else uses before they are written.
const SLICE_BYTES: usize = 64 << 10;

/// What follows the body of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Sections {
    /// The tree's digest (`zookeeper.digest.enabled`).
    pub digest: bool,
    /// The zxid once more (`zookeeper.serializeLastProcessedZxid.enabled`).
    pub last_zxid: bool,
}

impl Sections {
    /// Ends the file of a snapshot whose body is written; it is durable when this returns.
    ///
    /// # Errors
    /// The store's.
    pub fn finish(self, writer: SnapshotWriter, start: SnapshotStart) -> Result<(), StoreError> {
        let SnapshotStart { zxid, digest, .. } = start;
        let digest = SnapshotDigest { zxid, version: DIGEST_VERSION, digest };
        writer.finish(self.digest.then_some(digest), self.last_zxid.then_some(zxid))?;
        Ok(())
    }
}

/// How many znodes the snapshot of a tree has: the root, which has two names, once.
pub fn znodes_of(tree: &Tree) -> u64 {
    tree.znode_count() as u64 - 1
}

/// Writes the snapshot of a tree that nobody changes meanwhile; returns its zxid.
///
/// # Errors
/// The store's.
pub fn write_at_once(
    store: &Store,
    tree: &mut Tree,
    sections: Sections,
) -> Result<Zxid, StoreError> {
    let start = tree.begin_snapshot();
    let written = write_body(store, tree, start);
    if written.is_err() {
        tree.abort_snapshot();
    }
    sections.finish(written?, start)?;
    Ok(start.zxid)
}

fn write_body(
    store: &Store,
    tree: &mut Tree,
    start: SnapshotStart,
) -> Result<SnapshotWriter, StoreError> {
    let mut writer = store.snapshot_writer(start.zxid)?;
    writer.set_znodes(znodes_of(tree));
    let mut slice = Vec::new();
    loop {
        let progress = tree.continue_snapshot(SLICE_BYTES, &mut slice);
        writer.write(&slice)?;
        slice.clear();
        if progress == SnapshotProgress::Finished {
            return Ok(writer);
        }
    }
}
