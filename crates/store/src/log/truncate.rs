//! Removes the end of the history, for a member of an ensemble whose last transactions were never
//! committed. What is removed is kept in the quarantine directory.
//!
//! The point must be proved to stand in this history: a snapshot that is not after it, and from it
//! on logs without a gap, judged as where a leader reads them ([`super::cursor`]). Later snapshots
//! go first: one of them would bring back what is cut off (ZOOKEEPER-4837). What a fuzzy one of
//! Java's holds beyond its name was committed, so no leader asks to cut it off. A note makes the
//! removal certain before it begins ([`crate::switch`]); interrupted, it is repeated.

use std::path::{Path, PathBuf};

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use super::cursor::{epoch_is_whole, is_torn, logs_after};
use super::follows;
use super::mark::Writes;
use super::segment::{Bad, SegmentReader, Step, first_nonzero};
use super::writer::cut;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::{logs, snapshots};
use crate::purge::{is_valid, make_room_in_quarantine};
use crate::store::Shared;
use crate::switch::marker::{Change, Marker};
use crate::window::READ_LEN;

pub(crate) fn truncate(shared: &Shared, zxid: Zxid) -> Result<(), StoreError> {
    match try_truncate(shared, zxid) {
        Err(error) if !error.is_refusal() && mutation::is_on(Mutation::FailedTruncIgnored) => {
            Ok(())
        }
        result => result,
    }
}

fn try_truncate(shared: &Shared, zxid: Zxid) -> Result<(), StoreError> {
    let _files = shared.files();
    assert!(!shared.state().installing, "one change of history at a time");
    if !has_point(shared, zxid)? {
        let directory = shared.log_dir.clone();
        return Err(StoreError::TruncationPointMissing { directory, zxid });
    }
    {
        let mut state = shared.state();
        state.last = None;
        state.generation += 1;
    }
    make_room_in_quarantine(shared);
    if mutation::is_on(Mutation::TruncUnsynced) {
        cut_after(shared, zxid)?;
    } else {
        let marker = Marker::of(shared, Change::Truncate { zxid })?;
        marker.write(shared)?;
        crate::switch::complete(shared, &marker)?;
    }
    let mut state = shared.state();
    state.exact.retain(|at, _| *at <= zxid);
    state.last_snapshot = None;
    Ok(())
}

/// Whether the history goes through `zxid`, from a snapshot on that can be read.
fn has_point(shared: &Shared, zxid: Zxid) -> Result<bool, StoreError> {
    let all = snapshots(&shared.list(&shared.snapshot_dir)?);
    for (snapshot, name) in all.iter().filter(|(snapshot, _)| *snapshot <= zxid) {
        if is_valid(shared, *snapshot, name)? {
            return goes_through(shared, *snapshot, zxid);
        }
    }
    Ok(false)
}

/// Finds out whether a truncation that was interrupted can still end where it was to. Its point was
/// there and on disk when it began, so what cannot be read before it is damage, and so are zeros in
/// its place; cutting would make a history of either that ends too early.
///
/// # Errors
/// [`StoreError::LogDamaged`] with the place; the operating system's.
pub(crate) fn check_interrupted(shared: &Shared, zxid: Zxid) -> Result<(), StoreError> {
    if !shared.config.force_sync || has_point(shared, zxid)? {
        return Ok(());
    }
    let log = logs_after(shared, zxid)?.into_iter().find(|(first, _)| *first <= zxid);
    let Some((_, path)) = log else { return Ok(()) };
    let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
    let mut reader = SegmentReader::open(file, &path)?;
    let mut last = Zxid::ZERO;
    let offset = loop {
        match reader.step()? {
            Step::Txn { header, .. } if header.zxid == zxid => return Ok(()),
            Step::Txn { header, offset } if header.zxid > zxid => break offset,
            Step::Txn { header, .. } => last = header.zxid,
            Step::End { offset } => break offset,
            Step::Bad(Bad { offset, reason }) => {
                return Err(StoreError::LogDamaged { path, offset, reason, last });
            }
        }
    };
    if zxid.counter() == 0 {
        // The beginning of an epoch was shown by what followed, which may be gone by now.
        return Ok(());
    }
    let reason = format!("transaction {zxid} stood here, and was on disk");
    Err(StoreError::LogDamaged { path, offset, reason, last })
}

/// Whether the logs lead from a snapshot to `zxid` without a gap. One with the counter 0 is no
/// transaction: the history goes through it where the first of its epoch follows.
fn goes_through(shared: &Shared, snapshot: Zxid, zxid: Zxid) -> Result<bool, StoreError> {
    let (mut last, mut before, mut torn) = (snapshot, snapshot, false);
    let mut logs = logs_after(shared, snapshot)?.into_iter().peekable();
    while let Some(log) = logs.next() {
        let path = &log.1;
        let file = shared.disk.open(path).map_err(StoreError::io("open", path))?;
        let (_, mut said) = Writes::and_link(&*file).map_err(StoreError::io("read", path))?;
        let mut reader = SegmentReader::open(file, path)?;
        let end = loop {
            let header = match reader.step()? {
                Step::Txn { header, .. } => header,
                end => break end,
            };
            // What a log says of its first transaction, and what logs before it have lost, holds
            // for no other one.
            let (said, torn) = (std::mem::take(&mut said), std::mem::take(&mut torn));
            if header.zxid <= last {
                before = header.zxid;
                continue;
            }
            if last == zxid {
                return Ok(true);
            }
            // A snapshot at the beginning of an epoch is no transaction that a log could name.
            let is_begun = last == snapshot && snapshot.counter() == 0;
            let named = if is_begun { before } else { last };
            let is_whole = header.zxid == last.next()
                || is_begun && !torn
                || epoch_is_whole(said, named, header.zxid, torn);
            if !(follows(last, header.zxid) && is_whole) {
                return Ok(false);
            }
            if header.zxid > zxid {
                return Ok(zxid.counter() == 0 && header.zxid == zxid.next());
            }
            last = header.zxid;
        };
        torn |= logs.peek().is_some_and(|next| is_torn(shared, &log, &end, next));
    }
    Ok(last == zxid)
}

/// Removes everything after `zxid`; the order does not matter, since an interrupted removal is
/// repeated, but at each step what is there can be read.
pub(crate) fn cut_after(shared: &Shared, zxid: Zxid) -> Result<(), StoreError> {
    for (snapshot, name) in snapshots(&shared.list(&shared.snapshot_dir)?) {
        if snapshot > zxid && !mutation::is_on(Mutation::TruncKeepsSnapshots) {
            set_aside(shared, &shared.snapshot_dir, &name)?;
        }
    }
    let all = logs(&shared.list(&shared.log_dir)?);
    for (_, name) in all.iter().rev().filter(|(first, _)| *first > zxid) {
        set_aside(shared, &shared.log_dir, name)?;
    }
    // Only logs that recovery reads from the oldest snapshot on may hold what is later.
    for (first, path) in logs_after(shared, zxid)? {
        if first <= zxid && !mutation::is_on(Mutation::LogUncut) {
            cut_log(shared, &path, zxid)?;
        }
    }
    Ok(())
}

/// Cuts off a log what stands behind the last transaction that is not after `zxid`.
fn cut_log(shared: &Shared, path: &Path, zxid: Zxid) -> Result<(), StoreError> {
    let file = shared.disk.open_for_write(path).map_err(StoreError::io("open", path))?;
    let mut reader = SegmentReader::open(&*file, path)?;
    let end = loop {
        match reader.step()? {
            Step::Txn { offset, header } if header.zxid > zxid => break offset,
            Step::Txn { .. } => {}
            Step::End { offset } => break offset,
            Step::Bad(bad) => break bad.offset,
        }
    };
    let len = file.file_len().map_err(StoreError::io("read", path))?;
    keep_copy(shared, &*file, path, end, len)?;
    cut(&*file, path, end, !mutation::is_on(Mutation::TruncUnsynced))
}

/// Moves a file of `dir` into the quarantine directory, durably.
pub(crate) fn set_aside(shared: &Shared, dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let quarantine = shared.quarantine(dir)?;
    let (from, to) = (dir.join(name), free_name(shared, &quarantine, name)?);
    match shared.disk.rename(&from, &to) {
        Ok(()) => shared.sync_dir(&quarantine)?,
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let file = shared.disk.open(&from).map_err(StoreError::io("open", &from))?;
            let len = file.file_len().map_err(StoreError::io("read", &from))?;
            keep_copy(shared, &*file, &from, 0, len)?;
            shared.disk.remove(&from).map_err(StoreError::io("remove", &from))?;
        }
        Err(error) => return Err(StoreError::io("set aside", &from)(error)),
    }
    if !mutation::is_on(Mutation::TruncUnsynced) {
        shared.sync_dir(dir)?;
    }
    Ok(to)
}

/// A name in the quarantine directory that is not taken.
fn free_name(shared: &Shared, quarantine: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let names = shared.list(quarantine)?;
    let mut candidate = name.to_string();
    let mut number = 1;
    while names.contains(&candidate) {
        candidate = format!("{name}.{number}");
        number += 1;
    }
    Ok(quarantine.join(candidate))
}

/// Copies a log's bytes from `start` to `end` into the quarantine directory, durably; `None` where
/// there is nothing but zeros.
pub(crate) fn keep_copy(
    shared: &Shared,
    file: &dyn DiskFile,
    path: &Path,
    start: u64,
    end: u64,
) -> Result<Option<PathBuf>, StoreError> {
    if first_nonzero(file, start, end).map_err(StoreError::io("read", path))?.is_none() {
        return Ok(None);
    }
    let dir = path.parent().expect("the path was joined to a directory");
    let name = path.file_name().expect("the path was joined to a name").to_string_lossy();
    let quarantine = shared.quarantine(dir)?;
    let to = free_name(shared, &quarantine, &format!("{name}.from-{start}"))?;
    let copy = shared.disk.create(&to).map_err(StoreError::io("create", &to))?;
    let mut buffer = vec![0; READ_LEN];
    let mut position = start;
    while position < end {
        let wanted = (end - position).min(READ_LEN as u64) as usize;
        let chunk = &mut buffer[..wanted];
        let len = file.read_at(position, chunk).map_err(StoreError::io("read", path))?;
        if len == 0 {
            break;
        }
        copy.write_at(position - start, &chunk[..len]).map_err(StoreError::io("write", &to))?;
        position += len as u64;
    }
    copy.sync_all().map_err(StoreError::io("sync", &to))?;
    shared.sync_dir(&quarantine)?;
    Ok(Some(to))
}
