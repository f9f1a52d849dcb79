//! Recovery: the newest valid snapshot, then every later transaction of the logs.
//!
//! Nothing is dropped in silence. A snapshot that cannot be read gives way to an older one only if
//! the logs reach as far; transactions must follow one another without a gap; a bad record is cut
//! off only where it is a torn tail ([`crate::log::judge_tail`]), and what is cut is kept in the
//! quarantine directory. Where recovery refuses, it has changed nothing.
//!
//! Numbers do not tell whether an epoch has its end. A log of ours says which transaction comes
//! before its first one ([`crate::log::mark`]); if that is not the one read last, transactions are
//! missing. A log that says nothing is believed only if those before it end in order or torn.
//!
//! What a killed process left in the system's cache reads well and may not be on the disk, even if
//! another sync succeeds (a failed one marks pages clean). So the end of the last logs is written
//! again, byte for byte in its place, and synced before its zxid is announced: a power loss in
//! between finds the old bytes or the same new ones.

mod earlier;
mod replay;
mod report;

use std::path::PathBuf;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};

use crate::config::Compression;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::{INITIALIZE_FILE, logs, snapshot_compression, snapshots};
use crate::snapshot::{Loaded, SnapshotDigest, SnapshotInfo, SnapshotSink, load};
use crate::store::Shared;

use replay::Replay;
pub use report::Repair;

/// What recovery delivers to. The calls come in this order; `begin` comes again, and everything
/// before it is void, when a snapshot turns out damaged and an older one is tried.
pub trait RecoverySink {
    /// A new start from the snapshot of this zxid, or from nothing.
    fn begin(&mut self, snapshot: Option<Zxid>);
    /// A session.
    fn session(&mut self, id: SessionId, timeout_ms: i32);
    /// An entry of the ACL table.
    ///
    /// # Errors
    /// Refuses the snapshot.
    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String>;
    /// A znode, parents before children. The root's path is empty.
    ///
    /// # Errors
    /// Refuses the snapshot.
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String>;
    /// The end of a snapshot whose seals are right. The digest is that of a transaction at or
    /// after the snapshot's (later in Java's fuzzy ones); `None` where there is none to compare.
    ///
    /// # Errors
    /// Refuses the snapshot.
    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String>;
    /// Whether [`RecoverySink::earlier`] is wanted, which costs reading some of the older logs.
    fn wants_earlier(&self) -> bool {
        false
    }
    /// What is proved to be on disk of the history before the snapshot: every transaction after
    /// `base` up to the snapshot's zxid, in order, with its length in the log in bytes. It comes
    /// at most once, between the end of the snapshot and the first transaction.
    fn earlier(&mut self, base: Zxid, txns: &[(Zxid, u64)]) {
        let _ = (base, txns);
    }
    /// A transaction, in order and without gaps: header, record, optional digest.
    ///
    /// # Errors
    /// Ends recovery.
    fn txn(&mut self, header: &TxnHeader, txn: &[u8]) -> Result<(), String>;
    /// Called now and then.
    fn progress(&mut self, progress: RecoveryProgress);
}

/// How far recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryProgress {
    /// Reading a snapshot.
    Snapshot {
        /// Znodes delivered.
        znodes: u64,
        /// How many there are; `None` where that is not known, as for Java's snapshots.
        of: Option<u64>,
        /// Bytes read, uncompressed.
        bytes: u64,
        /// The file's length in bytes (compressed, if it is).
        file_len: u64,
    },
    /// Reading the logs.
    Log {
        /// Transactions delivered.
        txns: u64,
        /// The last one.
        zxid: Zxid,
    },
}

/// The snapshot that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// The file.
    pub info: SnapshotInfo,
    /// Its sections and counts.
    pub loaded: Loaded,
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The last transaction of the state delivered; -1 for an empty database that may not be
    /// trusted (Java: `db.autocreate` is false and there is no `initialize` file).
    pub last_zxid: Zxid,
    /// The snapshot loaded; `None` for none.
    pub snapshot: Option<LoadedSnapshot>,
    /// Transactions delivered from the logs.
    pub txns: u64,
    /// Their length in the logs, in bytes.
    pub txns_len: u64,
    /// Whether a snapshot has to be written before the log: the database is new, or has logs and
    /// no snapshot.
    pub write_initial_snapshot: bool,
    /// What was mended or passed over; to be logged.
    pub repairs: Vec<Repair>,
}

pub(crate) fn recover(
    shared: &Shared,
    sink: &mut dyn RecoverySink,
) -> Result<Recovered, StoreError> {
    let (snapshot, damaged) = load_newest(shared, sink)?;
    let trusted = initialize_file(shared)? || shared.config.auto_create_db;
    let log_names = logs(&shared.list(&shared.log_dir)?);
    let start = match (&snapshot, log_names.first()) {
        (Some(snapshot), _) => snapshot.info.zxid,
        (None, Some((_, log))) if !shared.config.trust_empty_snapshot => {
            return Err(StoreError::LogWithoutSnapshot {
                directory: shared.snapshot_dir.clone(),
                log: shared.log_dir.join(log),
            });
        }
        (None, _) => Zxid::ZERO,
    };
    if snapshot.is_some() && sink.wants_earlier() {
        let mut earlier = earlier::before(shared, start)?;
        sink.earlier(earlier.base(), earlier.txns());
    }
    let mut replay = Replay::new(shared, start, snapshot.is_none());
    replay.run(sink)?;
    let mut repairs = covered(damaged, replay.last)?;
    repairs.append(&mut shared.state().repairs);
    let (last_zxid, empty) = (replay.last, snapshot.is_none() && log_names.is_empty());
    let (txns, txns_len) = (replay.txns, replay.txns_len);
    let repairs = replay.finish(repairs)?;
    if let Some(snapshot) = &snapshot {
        sync_snapshot(shared, snapshot)?;
        note_wholeness(shared, snapshot, last_zxid);
    }
    remove_initialize_file(shared)?;
    let missing = empty && !trusted;
    Ok(Recovered {
        last_zxid: if missing { Zxid::NONE } else { last_zxid },
        write_initial_snapshot: snapshot.is_none() && !missing,
        snapshot,
        txns,
        txns_len,
        repairs,
    })
}

/// Loads the newest snapshot that can be read; those before it with their zxids and damage.
type Damaged = Vec<(Zxid, StoreError)>;

fn load_newest(
    shared: &Shared,
    sink: &mut dyn RecoverySink,
) -> Result<(Option<LoadedSnapshot>, Damaged), StoreError> {
    let mut damaged = Vec::new();
    for (zxid, name) in snapshots(&shared.list(&shared.snapshot_dir)?) {
        match load_one(shared, zxid, &name, sink) {
            Ok(loaded) => return Ok((Some(loaded), damaged)),
            Err(error @ StoreError::SnapshotDamaged { .. }) => damaged.push((zxid, error)),
            Err(error) => return Err(error),
        }
    }
    // Java writes its first snapshot in place, so that one killed at its first start leaves a part
    // of `snapshot.0` and no log: nothing was ever written, and Java starts with nothing too.
    let first_alone = damaged.iter().all(|(zxid, _)| *zxid == Zxid::ZERO);
    if damaged.is_empty() || first_alone && logs(&shared.list(&shared.log_dir)?).is_empty() {
        sink.begin(None);
        return Ok((None, damaged));
    }
    let damage: Vec<String> = damaged.iter().map(|(_, error)| error.to_string()).collect();
    let directory = shared.snapshot_dir.clone();
    Err(StoreError::NoUsableSnapshot { directory, damage: damage.join("; ") })
}

struct SinkAdapter<'s> {
    sink: &'s mut dyn RecoverySink,
    file_len: u64,
    of: Option<u64>,
}

impl SnapshotSink for SinkAdapter<'_> {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sink.session(id, timeout_ms);
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        self.sink.acl(index, acl)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        self.sink.node(path, data, acl_index, stat)
    }

    fn progress(&mut self, znodes: u64, bytes: u64) {
        let (file_len, of) = (self.file_len, self.of);
        self.sink.progress(RecoveryProgress::Snapshot { znodes, of, bytes, file_len });
    }
}

/// Opens a snapshot and looks at its end, as Java does before reading it.
pub(crate) fn open_snapshot(
    shared: &Shared,
    zxid: Zxid,
    name: &str,
) -> Result<(SnapshotInfo, PathBuf, Box<dyn DiskFile>), StoreError> {
    let path = shared.snapshot_dir.join(name);
    let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
    let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
    let len = file.file_len().map_err(StoreError::io("read", &path))?;
    if snapshot_compression(name) == Compression::None {
        let mut end = [0; 5];
        let end_at = len.saturating_sub(5);
        file.read_at(end_at, &mut end).map_err(StoreError::io("read", &path))?;
        if len < 10 || end != [0, 0, 0, 1, b'/'] {
            let reason = "the file does not end with a seal: it was never finished".into();
            return Err(StoreError::SnapshotDamaged { path, offset: end_at, reason });
        }
    }
    let modified_ms = info.map_or(0, |info| info.modified_ms);
    Ok((SnapshotInfo { zxid, name: name.to_string(), len, modified_ms }, path, file))
}

fn load_one(
    shared: &Shared,
    zxid: Zxid,
    name: &str,
    sink: &mut dyn RecoverySink,
) -> Result<LoadedSnapshot, StoreError> {
    let (info, ..) = open_snapshot(shared, zxid, name)?;
    let znodes = shared.state().index.entry(&info).and_then(|entry| entry.znodes);
    load_file(shared, zxid, name, znodes, sink)
}

/// Loads a snapshot's file, whatever its name; `znodes` is how many it holds, if that is known.
pub(crate) fn load_file(
    shared: &Shared,
    zxid: Zxid,
    name: &str,
    znodes: Option<u64>,
    sink: &mut dyn RecoverySink,
) -> Result<LoadedSnapshot, StoreError> {
    let (info, path, file) = open_snapshot(shared, zxid, name)?;
    sink.begin(Some(zxid));
    let mut adapter = SinkAdapter { sink, file_len: info.len, of: znodes };
    let compression = snapshot_compression(name);
    let len_max = shared.config.record_len_max;
    let loaded = load(&*file, &path, compression, len_max, &mut adapter)?;
    // A digest of an earlier zxid is that of an older epoch and says nothing here (Java:
    // `DataTree.deserializeZxidDigest`).
    let digest = loaded.digest.filter(|digest| digest.zxid > Zxid::ZERO && digest.zxid >= zxid);
    if let Err(reason) = sink.snapshot_end(zxid, digest) {
        return Err(StoreError::SnapshotDamaged { path, offset: loaded.len, reason });
    }
    Ok(LoadedSnapshot { info, loaded })
}

/// Whether the logs reach as far as every damaged snapshot did.
fn covered(damaged: Damaged, reached: Zxid) -> Result<Vec<Repair>, StoreError> {
    let mut repairs = Vec::new();
    for (promised, error) in damaged {
        let damage = error.to_string();
        if promised > reached {
            return Err(StoreError::SnapshotNotCovered { damage, reached, promised });
        }
        repairs.push(Repair::SnapshotSkipped { damage });
    }
    Ok(repairs)
}

/// The loaded snapshot may be one that was never synced (Java does not): it has to last before
/// anything that it replaces is purged.
fn sync_snapshot(shared: &Shared, snapshot: &LoadedSnapshot) -> Result<(), StoreError> {
    let path = shared.snapshot_dir.join(&snapshot.info.name);
    let file = shared.disk.open_for_write(&path).map_err(StoreError::io("open", &path))?;
    file.sync_all().map_err(StoreError::io("sync", &path))?;
    shared.sync_dir(&shared.snapshot_dir)?;
    let info = &snapshot.info;
    let mut state = shared.state();
    state.verified.insert(info.name.clone(), (info.len, info.modified_ms));
    state.last_snapshot = Some(info.clone());
    Ok(())
}

/// Notes from which zxid on snapshots hold nothing of later transactions. Java's hold what was
/// applied while they were written, up to the digest section's zxid and one more; where there is
/// none, the end of the epoch is waited for: a later leader has sent all that was committed in it.
fn note_wholeness(shared: &Shared, snapshot: &LoadedSnapshot, last: Zxid) {
    let LoadedSnapshot { info, loaded } = snapshot;
    let mut state = shared.state();
    let whole_at = match (state.index.entry(info), loaded.digest) {
        (Some(entry), _) => entry.whole_at,
        (None, Some(digest)) if digest.zxid > Zxid::ZERO => digest.zxid.max(info.zxid).next(),
        (None, _) => Zxid::new(last.epoch(), u32::MAX),
    };
    state.whole_at = whole_at;
    state.exact.clear();
    if whole_at == info.zxid {
        state.exact.insert(info.zxid, info.name.clone());
    }
}

/// The `initialize` file stands beside the logs' `version-2`.
fn initialize_path(shared: &Shared) -> PathBuf {
    shared.config.data_log_dir.join(INITIALIZE_FILE)
}

fn initialize_file(shared: &Shared) -> Result<bool, StoreError> {
    let path = initialize_path(shared);
    let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
    Ok(info.is_some())
}

fn remove_initialize_file(shared: &Shared) -> Result<(), StoreError> {
    if !initialize_file(shared)? {
        return Ok(());
    }
    let path = initialize_path(shared);
    shared.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
    shared.sync_dir(&shared.config.data_log_dir)
}
