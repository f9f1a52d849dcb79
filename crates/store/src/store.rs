//! A data directory: opening it, its epoch files, sizes and free space.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rookeeper_jute::Zxid;

use crate::config::StoreConfig;
use crate::disk::{Disk, DiskLock};
use crate::error::StoreError;
use crate::install::Install;
use crate::log::cursor::LogFile;
use crate::log::writer::Prepared;
use crate::log::{History, LogCursor, LogWriter, Preparer, ZERO_AHEAD_LEN};
use crate::names::{LOCK_FILE, NEXT_LOG_FILE, NEXT_SNAPSHOT_PREFIX, QUARANTINE_DIR, VERSION_DIR};
use crate::purge::Purge;
use crate::recovery::{Recovered, RecoverySink, Repair};
use crate::snapshot::{SnapshotBody, SnapshotIndex, SnapshotInfo, SnapshotWriter};

/// What the store, its log writer and its snapshot writers share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: StoreConfig,
    pub(crate) snapshot_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) state: Mutex<SharedState>,
    /// The next log's file, if it was made ahead of its need.
    pub(crate) next_log: Mutex<Option<Prepared>>,
    /// Held by whoever gives logs and snapshots their names or takes them away.
    files: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct SharedState {
    /// The last transaction, once recovery has found it.
    pub(crate) last: Option<Zxid>,
    /// The last snapshot written or loaded.
    pub(crate) last_snapshot: Option<SnapshotInfo>,
    /// Snapshots known to be valid, by name, with length and time of change.
    pub(crate) verified: BTreeMap<String, (u64, i64)>,
    /// What is known of our own snapshots.
    pub(crate) index: SnapshotIndex,
    /// Snapshots of this history that hold the tree at exactly their zxid.
    pub(crate) exact: BTreeMap<Zxid, String>,
    /// How far the records of each log that has any went when recovery read it, in bytes: where
    /// the end of one of Java's turns to zeros meanwhile, or one is gone, the logs do not tell.
    pub(crate) log_ends: BTreeMap<LogFile, u64>,
    /// Snapshots of later trees hold nothing of transactions after their own.
    pub(crate) whole_at: Zxid,
    /// Counts changes of the history: what was begun before one is void after it.
    pub(crate) generation: u64,
    /// Whether another history is being staged.
    pub(crate) installing: bool,
    /// What the next recovery has to report beside its own.
    pub(crate) repairs: Vec<Repair>,
}

impl Shared {
    fn new(disk: Arc<dyn Disk>, config: StoreConfig) -> Shared {
        let snapshot_dir = config.data_dir.join(VERSION_DIR);
        let log_dir = config.data_log_dir.join(VERSION_DIR);
        let (state, next_log, files) = (Mutex::default(), Mutex::default(), Mutex::default());
        Shared { disk, config, snapshot_dir, log_dir, state, next_log, files }
    }

    /// Keeps others from naming and removing logs and snapshots.
    pub(crate) fn files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().expect("no code panics while it holds the files' names")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().expect("no code panics while it holds the store's state")
    }

    pub(crate) fn zero_ahead_len(&self) -> u64 {
        self.config.pre_alloc_size.min(ZERO_AHEAD_LEN)
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        self.disk.sync_dir(dir).map_err(StoreError::io("sync", dir))
    }

    pub(crate) fn list(&self, dir: &Path) -> Result<Vec<String>, StoreError> {
        self.disk.list(dir).map_err(StoreError::io("list", dir))
    }

    /// The directory beside `version_dir` where files are set aside, created.
    pub(crate) fn quarantine(&self, version_dir: &Path) -> Result<PathBuf, StoreError> {
        let parent = version_dir.parent().expect("version-2 was joined to its parent");
        let dir = parent.join(QUARANTINE_DIR);
        self.disk.create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        Ok(dir)
    }
}

/// Free space where files are written, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// For snapshots.
    pub snapshot_dir: u64,
    /// For logs.
    pub log_dir: u64,
}

/// Lengths of all files, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the snapshots' `version-2` (Java: `datadir_size`).
    pub snapshot_dir: u64,
    /// Of the logs' `version-2` (Java: `logdir_size`).
    pub log_dir: u64,
}

/// An opened and locked data directory.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    _locks: Vec<Box<dyn DiskLock>>,
}

impl Store {
    /// Opens the directories of `config`: creates and checks them as Java does
    /// (`FileTxnSnapLog`), locks them against other servers, completes a change of history that was
    /// interrupted, and removes unfinished files.
    ///
    /// # Errors
    /// A directory is missing, not writable, locked, or holds the other's files;
    /// [`StoreError::SwitchDamaged`].
    pub fn open(disk: Arc<dyn Disk>, config: StoreConfig) -> Result<Store, StoreError> {
        let shared = Shared::new(disk, config);
        for dir in [&shared.log_dir, &shared.snapshot_dir] {
            prepare_dir(&shared, dir)?;
        }
        let locks = lock(&shared)?;
        crate::switch::resume(&shared)?;
        let snapshot_names = shared.list(&shared.snapshot_dir)?;
        let log_names = shared.list(&shared.log_dir)?;
        if shared.log_dir != shared.snapshot_dir {
            if let Some(name) = log_names.iter().find(|name| name.starts_with("snapshot.")) {
                let (path, name) = (shared.log_dir.clone(), name.clone());
                return Err(StoreError::SnapshotInLogDirectory { path, name });
            }
            if let Some(name) = snapshot_names.iter().find(|name| name.starts_with("log.")) {
                let (path, name) = (shared.snapshot_dir.clone(), name.clone());
                return Err(StoreError::LogInSnapshotDirectory { path, name });
            }
        }
        remove_unfinished(&shared, &snapshot_names, &log_names)?;
        shared.state().index = SnapshotIndex::read(&shared)?;
        Ok(Store { shared: Arc::new(shared), _locks: locks })
    }

    /// Reads the newest valid snapshot and all later transactions into `sink`, repairs a torn
    /// tail, and makes durable what was read. No writer of the log may be open.
    ///
    /// # Errors
    /// Anything that would lose an acknowledged transaction; nothing is changed then.
    pub fn recover(&self, sink: &mut dyn RecoverySink) -> Result<Recovered, StoreError> {
        let recovered = crate::recovery::recover(&self.shared, sink)?;
        self.shared.state().last = Some(recovered.last_zxid);
        Ok(recovered)
    }

    /// The writer of the log after what was recovered; its first append starts a new file.
    ///
    /// # Panics
    /// Before [`Store::recover`], and where recovery asked for an initial snapshot that was not
    /// written yet: a log without any snapshot is refused at the next start.
    pub fn log_writer(&self) -> LogWriter {
        let last = self.shared.state().last.expect("recovery comes before writing");
        self.log_writer_at(last)
    }

    /// The writer of the log after `last`: what was recovered, or the beginning of an epoch that
    /// has no transaction yet. Its first append, which starts a new file, is the transaction after
    /// that one or the first of a later epoch.
    ///
    /// # Panics
    /// As [`Store::log_writer`] does, and where `last` lies before what was recovered.
    pub fn log_writer_at(&self, last: Zxid) -> LogWriter {
        let state = self.shared.state();
        let recovered = state.last.expect("recovery comes before writing");
        assert!(last >= recovered, "the log goes on after {last}, and {recovered} is in it");
        assert!(
            state.last_snapshot.is_some() || self.shared.config.trust_empty_snapshot,
            "the initial snapshot comes before the log"
        );
        drop(state);
        LogWriter::new(self.shared.clone(), last.max(Zxid::ZERO), false)
    }

    /// What prepares the next log's file in the background, whichever writer takes it.
    pub fn preparer(&self) -> Preparer {
        Preparer::new(self.shared.clone())
    }

    /// A writer of the snapshot at `zxid`.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] while another history is being installed; the operating
    /// system's.
    pub fn snapshot_writer(&self, zxid: Zxid) -> Result<SnapshotWriter, StoreError> {
        SnapshotWriter::create(self.shared.clone(), zxid)
    }

    /// Reads the logs from the first transaction at or after `from`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read_log(&self, from: Zxid) -> Result<LogCursor, StoreError> {
        LogCursor::open(self.shared.clone(), from)
    }

    /// Reads the history after `after` up to and including `through`, proved to have no gap. The
    /// caller knows that it is durable so far, and that `after` is of this history.
    ///
    /// # Errors
    /// The operating system's.
    pub fn history(&self, after: Zxid, through: Zxid) -> Result<History, StoreError> {
        History::open(self.shared.clone(), after, through)
    }

    /// The newest snapshot at or after `base` that is known to hold the tree at exactly its zxid,
    /// which Java's and those that a leader sent do not; `None` where there is none (any more).
    ///
    /// # Errors
    /// The operating system's.
    pub fn exact_snapshot(&self, base: Zxid) -> Result<Option<SnapshotBody>, StoreError> {
        SnapshotBody::open(&self.shared, base)
    }

    /// Nothing after `zxid` was committed when this history was recovered: the snapshot that it was
    /// recovered from, which may be a fuzzy one, holds nothing of later transactions. To be said
    /// by whoever knows that, because a quorum has acknowledged that nobody has more.
    pub fn holds_nothing_after(&self, zxid: Zxid) {
        let mut state = self.shared.state();
        state.whole_at = state.whole_at.min(zxid);
    }

    /// Begins to put a leader's snapshot at `zxid`, and what follows it, in the place of this
    /// history. Nothing of it is touched before [`Install::commit`]. The log writer has to be
    /// closed; snapshots that are being written are given up.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// While there is another one.
    pub fn begin_install(&self, zxid: Zxid) -> Result<Install, StoreError> {
        Install::begin(self.shared.clone(), zxid)
    }

    /// Removes everything after `zxid` from logs and snapshots, wholly or (at the next start)
    /// wholly not; what is removed is kept in the quarantine directory. No writer may be open, and
    /// recovery has to follow.
    ///
    /// # Errors
    /// [`StoreError::TruncationPointMissing`] if `zxid` is not proved to stand in this history;
    /// nothing is changed then, and [`Store::log_writer`] goes on behind what is there. The
    /// operating system's.
    pub fn truncate(&self, zxid: Zxid) -> Result<(), StoreError> {
        crate::log::truncate::truncate(&self.shared, zxid)
    }

    /// Removes all but the `retain` newest valid snapshots and the logs that they need
    /// (Java: `PurgeTxnLog`).
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// If `retain` is below 3, which Java refuses.
    pub fn purge(&self, retain: usize) -> Result<Purge, StoreError> {
        crate::purge::purge(&self.shared, retain)
    }

    /// The last snapshot that was written or loaded.
    pub fn last_snapshot(&self) -> Option<SnapshotInfo> {
        self.shared.state().last_snapshot.clone()
    }

    /// The directory of snapshots and epoch files.
    pub fn snapshot_dir(&self) -> &Path {
        &self.shared.snapshot_dir
    }

    /// The directory of logs.
    pub fn log_dir(&self) -> &Path {
        &self.shared.log_dir
    }

    /// Free space where files are written.
    ///
    /// # Errors
    /// The operating system's.
    pub fn free_space(&self) -> Result<FreeSpace, StoreError> {
        let free =
            |dir: &Path| self.shared.disk.free_space(dir).map_err(StoreError::io("look at", dir));
        Ok(FreeSpace {
            snapshot_dir: free(&self.shared.snapshot_dir)?,
            log_dir: free(&self.shared.log_dir)?,
        })
    }

    /// Lengths of all files of each directory.
    ///
    /// # Errors
    /// The operating system's.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        Ok(Sizes {
            snapshot_dir: dir_size(&self.shared, &self.shared.snapshot_dir)?,
            log_dir: dir_size(&self.shared, &self.shared.log_dir)?,
        })
    }
}

fn prepare_dir(shared: &Shared, dir: &Path) -> Result<(), StoreError> {
    if shared.disk.info(dir).map_err(StoreError::io("look at", dir))?.is_none() {
        if !shared.config.auto_create_dir {
            return Err(StoreError::DirectoryMissing { path: dir.to_path_buf() });
        }
        shared.disk.create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    }
    if !shared.disk.is_writable(dir) {
        return Err(StoreError::DirectoryNotWritable { path: dir.to_path_buf() });
    }
    Ok(())
}

fn lock(shared: &Shared) -> Result<Vec<Box<dyn DiskLock>>, StoreError> {
    let mut parents = vec![&shared.config.data_dir];
    if shared.config.data_log_dir != shared.config.data_dir {
        parents.push(&shared.config.data_log_dir);
    }
    let mut locks = Vec::new();
    for parent in parents {
        let path = parent.join(LOCK_FILE);
        match shared.disk.lock(&path).map_err(StoreError::io("lock", &path))? {
            Some(lock) => locks.push(lock),
            None => return Err(StoreError::Locked { path }),
        }
    }
    Ok(locks)
}

fn remove_unfinished(
    shared: &Shared,
    snapshot_names: &[String],
    log_names: &[String],
) -> Result<(), StoreError> {
    let snapshots = snapshot_names
        .iter()
        .filter(|name| name.starts_with(NEXT_SNAPSHOT_PREFIX))
        .map(|name| shared.snapshot_dir.join(name));
    let logs = log_names
        .iter()
        .filter(|name| *name == NEXT_LOG_FILE)
        .map(|name| shared.log_dir.join(name));
    for path in snapshots.chain(logs) {
        shared.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

fn dir_size(shared: &Shared, dir: &Path) -> Result<u64, StoreError> {
    let mut dirs = vec![dir.to_path_buf()];
    let mut sum = 0;
    while let Some(dir) = dirs.pop() {
        for name in shared.list(&dir)? {
            let path = dir.join(name);
            // A file that was purged in the meantime counts nothing.
            let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
            match info {
                Some(info) if info.is_dir => dirs.push(path),
                Some(info) => sum += info.len,
                None => {}
            }
        }
    }
    Ok(sum)
}
