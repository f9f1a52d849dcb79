//! Snapshots (Java: `FileSnap`, `SnapStream`).
//!
//! Uncompressed, a snapshot is a file header, the body (sessions, ACL table, znodes with parents
//! before children, a path of `/` as the end), and a seal: the Adler-32 of all before it and the
//! string `/`. Then come, each with a seal of its own over all before it, the digest section and
//! the last zxid, which older versions do not write.

mod body;
mod codec;
pub(crate) mod index;
mod reader;
mod writer;

use std::path::Path;

use rookeeper_jute::Zxid;

pub use body::SnapshotBody;
pub(crate) use index::{Entry, SnapshotIndex};
pub(crate) use reader::Nowhere;
pub use reader::{Loaded, SnapshotSink, load};
pub use writer::SnapshotWriter;
pub(crate) use writer::info_of;

use crate::config::Compression;
use crate::disk::Bytes;
use crate::error::StoreError;

/// The digest section: the tree's digest at a zxid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// The transaction after which the tree had this digest; 0 where there is none. In a fuzzy
    /// snapshot it is later than the snapshot's own zxid.
    pub zxid: Zxid,
    /// Version of the digest's rule; Java 3.9 and this project write 2.
    pub version: i32,
    /// The digest.
    pub digest: i64,
}

/// A finished snapshot (Java: `SnapshotInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The zxid in its name.
    pub zxid: Zxid,
    /// Its file name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// When it was written, in milliseconds since the Unix epoch (Java reports seconds).
    pub modified_ms: i64,
}

/// Parses a snapshot that is in memory, exactly as recovery does from the disk.
///
/// # Errors
/// [`StoreError::SnapshotDamaged`], [`StoreError::RecordTooLong`].
pub fn parse(
    bytes: &[u8],
    compression: Compression,
    record_len_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<Loaded, StoreError> {
    load(&Bytes(bytes), Path::new("snapshot"), compression, record_len_max, sink)
}
