//! Removes the end of the history, for a member of an ensemble whose last transactions were never
//! committed. What is removed is kept in the quarantine directory.
//!
//! The order keeps the directory readable at every step: newer snapshots go first, then logs from
//! the newest on, then the log that holds the point is cut. Interrupted, it is repeated.

use std::path::{Path, PathBuf};

use rookeeper_jute::Zxid;

use super::cursor::logs_after;
use super::segment::{SegmentReader, Step, first_nonzero};
use super::writer::cut;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::snapshots;
use crate::store::Shared;
use crate::window::READ_LEN;

pub(crate) fn truncate(shared: &Shared, zxid: Zxid) -> Result<(), StoreError> {
    let logs: Vec<PathBuf> = logs_after(shared, zxid)?.into_iter().map(|(_, path)| path).collect();
    let (point, later) = logs.split_first().ok_or_else(|| missing(shared, zxid))?;
    let end = end_of(shared, point, zxid)?.ok_or_else(|| missing(shared, zxid))?;
    for (snapshot, name) in snapshots(&shared.list(&shared.snapshot_dir)?) {
        if snapshot > zxid {
            set_aside(shared, &shared.snapshot_dir, &name)?;
        }
    }
    for path in later.iter().rev() {
        let name = path.file_name().expect("the path was joined to a name").to_string_lossy();
        set_aside(shared, &shared.log_dir, &name)?;
    }
    let file = shared.disk.open_for_write(point).map_err(StoreError::io("open", point))?;
    let len = file.file_len().map_err(StoreError::io("read", point))?;
    keep_copy(shared, &*file, point, end, len)?;
    cut(&*file, point, end, true)
}

fn missing(shared: &Shared, zxid: Zxid) -> StoreError {
    StoreError::TruncationPointMissing { directory: shared.log_dir.clone(), zxid }
}

/// Where the record of `zxid` ends.
fn end_of(shared: &Shared, path: &Path, zxid: Zxid) -> Result<Option<u64>, StoreError> {
    let file = shared.disk.open(path).map_err(StoreError::io("open", path))?;
    let mut reader = SegmentReader::open(file, path)?;
    while let Step::Txn { offset, header } = reader.step()? {
        if header.zxid == zxid {
            let record_len = reader.payload().len() + super::RECORD_OVERHEAD;
            return Ok(Some(offset + record_len as u64));
        }
    }
    Ok(None)
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
    shared.sync_dir(dir)?;
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
