//! Recovery: the newest valid snapshot, then every later transaction of the logs.
//!
//! Nothing is dropped in silence. A snapshot that cannot be read gives way to an older one only if
//! the logs reach as far; transactions must follow one another without a gap; a bad record is cut
//! off only where it is a torn tail ([`crate::log::judge_tail`]), and what is cut is kept in the
//! quarantine directory. Where recovery refuses, it has changed nothing.
//!
//! What a killed process left in the system's cache reads well and may not be on the disk, even if
//! another sync succeeds (a failed one marks pages clean). So the end of the last logs is written
//! again, byte for byte in its place, and synced before its zxid is announced: a power loss in
//! between finds the old bytes or the same new ones.

use std::fmt;
use std::path::{Path, PathBuf};

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};

use crate::config::Compression;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::log::cursor::logs_after;
use crate::log::mark::Writes;
use crate::log::repair::next_valid_record;
use crate::log::truncate::{keep_copy, set_aside};
use crate::log::writer::cut;
use crate::log::{Bad, SegmentReader, Step, Tail, follows, judge_tail};
use crate::names::{INITIALIZE_FILE, logs, snapshot_compression, snapshots};
use crate::snapshot::{Loaded, SnapshotDigest, SnapshotInfo, SnapshotSink, load};
use crate::store::Shared;
use crate::window::READ_LEN;

/// How much of the end of the logs is written again if they were not closed in order, in bytes:
/// far more than any flush of ours, or of Java's unless its requests are huge.
const PROVE_LEN_MAX: u64 = 64 << 20;

/// How many transactions pass between two reports of progress.
const PROGRESS_TXNS: u64 = 1 << 14;

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

/// Something that recovery mended or passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// A snapshot that cannot be read; an older one and the logs hold all that it held.
    SnapshotSkipped {
        /// What is wrong with it.
        damage: String,
    },
    /// A torn tail that was cut off.
    TailCut {
        /// The log.
        path: PathBuf,
        /// Where it was cut.
        offset: u64,
        /// What stood there.
        reason: String,
        /// Where the bytes are kept; `None` if they were all zeros.
        kept: Option<PathBuf>,
    },
    /// A log without a single valid record that was set aside.
    LogSetAside {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Where it is kept.
        kept: PathBuf,
    },
    /// Bytes in an older log that are no part of the history, which goes on in the next one (a
    /// torn tail that a Java server left).
    LeftOver {
        /// The log.
        path: PathBuf,
        /// Where they start.
        offset: u64,
        /// What stands there.
        reason: String,
    },
    /// Damage among transactions that the snapshot holds.
    DamageCovered {
        /// The log.
        path: PathBuf,
        /// Where it starts.
        offset: u64,
        /// What stands there.
        reason: String,
    },
    /// Transactions that were in the logs twice.
    Duplicates {
        /// How many were passed over.
        count: u64,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::SnapshotSkipped { damage } => write!(
                f,
                "skipped a damaged snapshot, an older one and the logs hold everything: {damage}"
            ),
            Repair::TailCut { path, offset, reason, kept } => {
                let path = path.display();
                write!(f, "cut an unfinished write off {path} at offset {offset} ({reason})")?;
                match kept {
                    Some(kept) => write!(f, "; its bytes are kept in {}", kept.display()),
                    None => Ok(()),
                }
            }
            Repair::LogSetAside { path, reason, kept } => {
                let (path, kept) = (path.display(), kept.display());
                write!(f, "moved {path}, which holds no transaction ({reason}), to {kept}")
            }
            Repair::LeftOver { path, offset, reason } => write!(
                f,
                "{}, offset {offset}: passed over what a server before left unfinished ({reason})",
                path.display()
            ),
            Repair::DamageCovered { path, offset, reason } => write!(
                f,
                "{}, offset {offset}: {reason}; the snapshot holds these transactions",
                path.display()
            ),
            Repair::Duplicates { count } => {
                write!(f, "passed over {count} transactions that were logged twice")
            }
        }
    }
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
    let mut replay = Replay::new(shared, start, snapshot.is_none());
    replay.run(sink)?;
    let repairs = covered(damaged, replay.last)?;
    let (last_zxid, empty) = (replay.last, snapshot.is_none() && log_names.is_empty());
    let (txns, txns_len) = (replay.txns, replay.txns_len);
    let repairs = replay.finish(repairs)?;
    if let Some(snapshot) = &snapshot {
        sync_snapshot(shared, snapshot)?;
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
    if damaged.is_empty() {
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
        let file_len = self.file_len;
        self.sink.progress(RecoveryProgress::Snapshot { znodes, bytes, file_len });
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
    let (info, path, file) = open_snapshot(shared, zxid, name)?;
    sink.begin(Some(zxid));
    let mut adapter = SinkAdapter { sink, file_len: info.len };
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

/// A log that was read to its end.
struct Segment {
    path: PathBuf,
    /// Where its records end.
    end: u64,
    /// Whether the file ends there: it was closed in order.
    closed: bool,
    /// Whether it holds any record.
    has_records: bool,
    /// What stands at the end, if not padding.
    bad: Option<Bad>,
    /// How bad bytes at the end of the history are to be mended.
    tail_end: Option<u64>,
}

/// Reads the logs after a zxid.
struct Replay<'s> {
    shared: &'s Shared,
    start: Zxid,
    last: Zxid,
    /// Whether the first transaction may have any zxid: there was no snapshot.
    any_start: bool,
    txns: u64,
    txns_len: u64,
    duplicates: u64,
    segments: Vec<Segment>,
    repairs: Vec<Repair>,
}

impl<'s> Replay<'s> {
    fn new(shared: &'s Shared, start: Zxid, any_start: bool) -> Self {
        Replay {
            shared,
            start,
            last: start,
            any_start,
            txns: 0,
            txns_len: 0,
            duplicates: 0,
            segments: Vec::new(),
            repairs: Vec::new(),
        }
    }

    fn run(&mut self, sink: &mut dyn RecoverySink) -> Result<(), StoreError> {
        for (_, path) in logs_after(self.shared, self.start)? {
            let file = self.shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
            let segment = self.read_segment(SegmentReader::open(file, &path)?, sink)?;
            self.segments.push(segment);
        }
        self.judge_tails()
    }

    fn read_segment(
        &mut self,
        mut reader: SegmentReader<Box<dyn DiskFile>>,
        sink: &mut dyn RecoverySink,
    ) -> Result<Segment, StoreError> {
        let mut last_here = Zxid::NONE;
        let mut has_records = false;
        let (end, bad) = loop {
            match reader.step()? {
                Step::Txn { offset, header } => {
                    has_records = true;
                    last_here = last_here.max(header.zxid);
                    self.txn(offset, &header, &reader, sink)?;
                }
                Step::End { offset } => break (offset, None),
                Step::Bad(bad) => match self.resume_at(&reader, &bad, last_here)? {
                    Some(offset) => {
                        let Bad { offset: at, reason } = bad;
                        let path = reader.path().to_path_buf();
                        self.repairs.push(Repair::DamageCovered { path, offset: at, reason });
                        reader.seek(offset);
                    }
                    None => break (bad.offset, Some(bad)),
                },
            }
        };
        let closed = bad.is_none() && reader.file_len() == end;
        let path = reader.path().to_path_buf();
        Ok(Segment { path, end, closed, has_records, bad, tail_end: None })
    }

    /// Where to go on behind damage that lies among transactions of the snapshot, if at all.
    fn resume_at(
        &self,
        reader: &SegmentReader<Box<dyn DiskFile>>,
        bad: &Bad,
        last_here: Zxid,
    ) -> Result<Option<u64>, StoreError> {
        if last_here >= self.start || self.last > self.start {
            return Ok(None);
        }
        let next = next_valid_record(reader.file(), bad.offset, reader.file_len(), last_here)
            .map_err(StoreError::io("read", reader.path()))?;
        let covered = |zxid| zxid <= self.start || follows(self.start, zxid);
        Ok(next.filter(|(_, zxid)| *zxid > Zxid::NONE && covered(*zxid)).map(|(offset, _)| offset))
    }

    fn txn(
        &mut self,
        offset: u64,
        header: &TxnHeader,
        reader: &SegmentReader<Box<dyn DiskFile>>,
        sink: &mut dyn RecoverySink,
    ) -> Result<(), StoreError> {
        let path = || reader.path().to_path_buf();
        let (zxid, payload) = (header.zxid, reader.payload());
        if zxid <= self.last {
            self.duplicates += u64::from(zxid > self.start);
            return Ok(());
        }
        let first = self.any_start && self.txns == 0;
        if !first && !follows(self.last, zxid) {
            return Err(self.gap(path(), offset, zxid));
        }
        let (len, limit) = (payload.len() as u64, self.shared.config.record_len_max as u64);
        if len > limit {
            return Err(StoreError::RecordTooLong { path: path(), offset, len, limit });
        }
        sink.txn(header, payload).map_err(|reason| StoreError::TxnRefused {
            path: path(),
            offset,
            zxid,
            reason,
        })?;
        self.leave_over();
        self.last = zxid;
        self.txns += 1;
        self.txns_len += len + crate::log::RECORD_OVERHEAD as u64;
        if self.txns.is_multiple_of(PROGRESS_TXNS) {
            sink.progress(RecoveryProgress::Log { txns: self.txns, zxid });
        }
        Ok(())
    }

    /// The history goes on: what stands at the end of earlier logs is no part of it.
    fn leave_over(&mut self) {
        for segment in &mut self.segments {
            if let Some(Bad { offset, reason }) = segment.bad.take() {
                self.repairs.push(Repair::LeftOver { path: segment.path.clone(), offset, reason });
            }
        }
    }

    /// Transactions are missing: blamed on the damage before, if there is some.
    fn gap(&self, path: PathBuf, offset: u64, found: Zxid) -> StoreError {
        let last = self.last;
        for segment in &self.segments {
            if let Some(bad) = &segment.bad {
                let reason = format!(
                    "{}, and {} goes on with transaction {found}",
                    bad.reason,
                    path.display()
                );
                let (path, offset) = (segment.path.clone(), bad.offset);
                return StoreError::LogDamaged { path, offset, reason, last };
            }
        }
        StoreError::LogGap { path, offset, last, found }
    }

    fn judge_tails(&mut self) -> Result<(), StoreError> {
        for segment in &mut self.segments {
            let Some(Bad { offset, reason }) = &segment.bad else { continue };
            let path = &segment.path;
            let file = self.shared.disk.open(path).map_err(StoreError::io("open", path))?;
            match judge_tail(&*file, path, *offset, self.last)? {
                Tail::Torn { end } => segment.tail_end = Some(end),
                Tail::Damaged { evidence } => {
                    return Err(StoreError::LogDamaged {
                        path: path.clone(),
                        offset: *offset,
                        reason: format!("{reason}, and {evidence}"),
                        last: self.last,
                    });
                }
            }
        }
        Ok(())
    }

    /// Cuts torn tails and makes the end of the logs durable.
    fn finish(mut self, mut repairs: Vec<Repair>) -> Result<Vec<Repair>, StoreError> {
        repairs.append(&mut self.repairs);
        if self.duplicates > 0 {
            repairs.push(Repair::Duplicates { count: self.duplicates });
        }
        for segment in self.segments.iter().rev() {
            if let (Some(bad), Some(end)) = (&segment.bad, segment.tail_end) {
                repairs.push(mend(self.shared, segment, bad, end)?);
            }
        }
        let mut left = PROVE_LEN_MAX;
        let with_records = self.segments.iter().rev().filter(|segment| segment.has_records);
        for segment in with_records.take(2) {
            left = prove(self.shared, segment, left)?;
        }
        if !self.segments.is_empty() {
            self.shared.sync_dir(&self.shared.log_dir)?;
        }
        Ok(repairs)
    }
}

/// Mends the end of a log: sets the file aside if it holds nothing, cuts it otherwise.
fn mend(
    shared: &Shared,
    segment: &Segment,
    bad: &Bad,
    tail_end: u64,
) -> Result<Repair, StoreError> {
    let (path, reason) = (segment.path.clone(), bad.reason.clone());
    if !segment.has_records {
        let name = path.file_name().expect("the path was joined to a name").to_string_lossy();
        let kept = set_aside(shared, &shared.log_dir, &name)?;
        return Ok(Repair::LogSetAside { path, reason, kept });
    }
    let file = shared.disk.open_for_write(&path).map_err(StoreError::io("open", &path))?;
    let kept = keep_copy(shared, &*file, &path, bad.offset, tail_end)?;
    cut(&*file, &path, bad.offset, true)?;
    Ok(Repair::TailCut { path, offset: bad.offset, reason, kept })
}

/// Makes a log's records durable; writes the end of them again, `left` bytes at the most, unless
/// the file was closed in order; closes it if it is one of ours. Returns what is left of `left`.
fn prove(shared: &Shared, segment: &Segment, left: u64) -> Result<u64, StoreError> {
    let path: &Path = &segment.path;
    let file = shared.disk.open_for_write(path).map_err(StoreError::io("open", path))?;
    let start = if segment.closed { segment.end } else { segment.end.saturating_sub(left) };
    let mut buffer = vec![0; READ_LEN.min((segment.end - start) as usize)];
    let mut offset = start;
    while offset < segment.end {
        let wanted = buffer.len().min((segment.end - offset) as usize);
        let chunk = &mut buffer[..wanted];
        let len = file.read_at(offset, chunk).map_err(StoreError::io("read", path))?;
        assert!(len == wanted, "the records were read from there a moment ago");
        file.write_at(offset, chunk).map_err(StoreError::io("write", path))?;
        offset += len as u64;
    }
    file.sync_all().map_err(StoreError::io("sync", path))?;
    let ours = Writes::of(&*file).map_err(StoreError::io("read", path))? != Writes::Unmarked;
    if ours && !segment.closed {
        cut(&*file, path, segment.end, true)?;
    }
    Ok(left - (segment.end - start))
}
