//! What the store can be told, with Java's property names.

use std::path::PathBuf;

use rookeeper_jute::limits;

/// How snapshots are compressed (`zookeeper.snapshot.compression.method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all (the empty value).
    #[default]
    None,
    /// `gz`
    Gzip,
    /// `snappy`, in the framing of Java's `SnappyOutputStream`.
    Snappy,
}

impl Compression {
    /// What follows the zxid in the file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// The store's configuration.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `dataDir`: snapshots and epoch files live in its `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: logs live in its `version-2`; the same as `data_dir` by default.
    pub data_log_dir: PathBuf,
    /// `zookeeper.preAllocSize` in bytes: the most that a log is zeroed ahead of its records; 0
    /// for not at all. No more than [`crate::log::ZERO_AHEAD_LEN`] is zeroed at once.
    pub pre_alloc_size: u64,
    /// `zookeeper.forceSync`: with `false` nothing of the log is synced.
    pub force_sync: bool,
    /// `zookeeper.txnLogSizeLimitInKb` in bytes: a longer log is rolled after a flush.
    pub log_size_limit: Option<u64>,
    /// `zookeeper.snapshot.compression.method`
    pub compression: Compression,
    /// `zookeeper.snapshot.trust.empty`: logs without any snapshot are replayed on an empty tree.
    pub trust_empty_snapshot: bool,
    /// `zookeeper.datadir.autocreate`: missing directories are created.
    pub auto_create_dir: bool,
    /// `zookeeper.db.autocreate`: an empty database is trusted without the `initialize` file.
    pub auto_create_db: bool,
    /// The longest transaction or znode that is accepted from the disk, in bytes: `jute.maxbuffer`
    /// and `zookeeper.jute.maxbuffer.extrasize` together.
    pub record_len_max: usize,
}

impl StoreConfig {
    /// Java's defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        StoreConfig {
            data_log_dir: data_dir.clone(),
            data_dir,
            pre_alloc_size: 64 << 20,
            force_sync: true,
            log_size_limit: None,
            compression: Compression::None,
            trust_empty_snapshot: false,
            auto_create_dir: true,
            auto_create_db: true,
            record_len_max: 2 * limits::JUTE_MAXBUFFER_DEFAULT,
        }
    }
}
