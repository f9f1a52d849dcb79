//! Tells a torn tail from damage.
//!
//! A power loss may drop any of the sectors that were written since the last sync; nothing in
//! them was acknowledged. A dropped sector reads as zeros, for logs are zeroed ahead or grow. What
//! stands at the end of the last log's records is judged so:
//!
//! * The header says that the log was closed: damage, for all of it was on disk then.
//! * A mark behind it, of a flush that began behind it: damage, for that flush began only when
//!   everything before it was on disk.
//! * A mark behind it, of a flush that began before it: that flush was torn if a sector of it was
//!   dropped, else this is damage.
//! * No mark behind it, and the log ends where this record does, all of whose sectors were written:
//!   damage, for a mark leaves a log only when it is closed, and all of it is on disk then.
//! * No mark behind it and no valid record either: torn.
//! * No mark and a valid record: the next flush was torn if the log is ours and was not closed, a
//!   sector was dropped, and all of it lies within [`TORN_LEN_MAX`]; else this is damage. In a log
//!   of Java's nothing tells where its last write began, so it is taken for damage; in one of ours
//!   that was written without syncs a dropped sector is enough.
//!
//! Cutting at damage would lose acknowledged transactions, so recovery refuses instead.

use std::io;
use std::path::Path;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::persistence::{END_OF_RECORD, FILE_HEADER_LEN};
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, Zxid};

use super::mark::{MARK_LEN, Mark, Writes, begins_mark, dbid_of, says_closed};
use super::{FLUSH_LEN_MAX, PAYLOAD_LEN_CAP, PAYLOAD_LEN_MIN, RECORD_OVERHEAD};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::window::READ_LEN;

/// How far before the end of a log a power loss can reach, in bytes: one flush and one record.
pub const TORN_LEN_MAX: u64 = 2 * FLUSH_LEN_MAX as u64;

/// How many bytes are put through checksums in search of a valid record, before that is given up
/// and the log taken for damaged.
const SEARCH_LEN_MAX: u64 = 1 << 30;

/// What a disk writes at once, in bytes.
const SECTOR_LEN: u64 = 512;

/// What stands after the last valid record of the last log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// An unfinished write that was never acknowledged.
    Torn {
        /// Where the bytes other than zero end.
        end: u64,
    },
    /// Damage: acknowledged transactions stood there or follow.
    Damaged {
        /// What shows it.
        evidence: String,
    },
}

/// Judges what stands at `offset`, where the records of the last log end with `last`.
///
/// # Errors
/// The operating system's.
pub fn judge_tail(
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    last: Zxid,
) -> Result<Tail, StoreError> {
    try_judge(file, offset, last).map_err(StoreError::io("read", path))
}

fn try_judge(file: &dyn DiskFile, offset: u64, last: Zxid) -> io::Result<Tail> {
    let file_len = file.file_len()?;
    let end = end_of_data(file, offset, file_len)?;
    let torn = Ok(Tail::Torn { end });
    let damaged = |evidence| match mutation::is_on(Mutation::DamageIsEnd) {
        false => Ok(Tail::Damaged { evidence }),
        true => Ok(Tail::Torn { end }),
    };
    if mutation::is_on(Mutation::TornRefused) {
        return damaged("a write was not finished".into());
    }
    if says_closed(dbid_of(file)?) {
        return damaged("the log was closed in order, and all of it was on disk".to_owned());
    }
    let writes = Writes::of(file)?;
    let mark = match writes {
        Writes::Synced => Mark::last_in(file, offset + 1, end)?,
        Writes::Unmarked | Writes::Unsynced => None,
    };
    if let Some(mark) = mark {
        if mark.start > offset {
            return damaged(format!("a later write begins at offset {}", mark.start));
        }
        if has_dropped_sector(file, offset, mark.end)? {
            return torn;
        }
        return damaged(format!("the write that holds it is complete up to offset {}", mark.end));
    }
    let Some((next_offset, next_zxid)) = next_valid_record(file, offset, file_len, last)? else {
        let was_closed = writes == Writes::Synced && is_last_of_closed(file, offset, file_len)?;
        if was_closed && !has_dropped_sector(file, offset, file_len)? {
            return damaged("the log was closed behind it".to_owned());
        }
        return torn;
    };
    let may_be_torn = match writes {
        Writes::Unmarked => false,
        Writes::Unsynced => true,
        Writes::Synced => end - offset <= TORN_LEN_MAX && !is_closed(file, next_offset, file_len)?,
    };
    if may_be_torn && has_dropped_sector(file, offset, next_offset)? {
        return torn;
    }
    damaged(format!("transaction {next_zxid} follows at offset {next_offset}"))
}

/// Whether a log of this length that ends with a record was closed in order. Where a sector ends
/// there, nothing tells that from zeros ahead that ended there, or from what became of a longer
/// file whose last write failed or lost the power.
pub(crate) fn is_len_of_closed(file_len: u64) -> bool {
    !file_len.is_multiple_of(SECTOR_LEN)
}

/// Whether the records from `offset` on go to the very end of the file: it was closed in order, so
/// all of it was on disk.
fn is_closed(file: &dyn DiskFile, offset: u64, file_len: u64) -> io::Result<bool> {
    if !is_len_of_closed(file_len) {
        return Ok(false);
    }
    let mut position = offset;
    while position < file_len {
        let mut len = [0; 4];
        file.read_at(position + 8, &mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if valid_record(file, position, len, file_len, &mut 0)?.is_none() {
            return Ok(false);
        }
        position += (len + RECORD_OVERHEAD) as u64;
    }
    Ok(true)
}

/// Whether the bad record at `offset` ends where the file does: by its length, or, where that is
/// what is wrong with it, by its checksum.
fn is_last_of_closed(file: &dyn DiskFile, offset: u64, file_len: u64) -> io::Result<bool> {
    let Some(len) = (file_len - offset).checked_sub(RECORD_OVERHEAD as u64) else {
        return Ok(false);
    };
    if !(PAYLOAD_LEN_MIN as u64..=2 * FLUSH_LEN_MAX as u64).contains(&len) {
        return Ok(false);
    }
    // A zero is no end mark with a flipped bit: the zeros that a log has ahead may end where a
    // record that was half written would have.
    let mut last = [0];
    file.read_at(file_len - 1, &mut last)?;
    if last == [0] {
        return Ok(false);
    }
    let mut stored = [0; 4];
    file.read_at(offset + 8, &mut stored)?;
    if u64::from(u32::from_be_bytes(stored)) == len {
        return Ok(true);
    }
    Ok(valid_record(file, offset, len as usize, file_len, &mut 0)?.is_some())
}

/// Where the zeros at the end of the file begin, at `start` at the earliest.
fn end_of_data(file: &dyn DiskFile, start: u64, file_len: u64) -> io::Result<u64> {
    let mut end = file_len;
    let mut buffer = vec![0; READ_LEN];
    while end > start {
        let chunk_start = end.saturating_sub(READ_LEN as u64).max(start);
        let chunk = &mut buffer[..(end - chunk_start) as usize];
        let len = file.read_at(chunk_start, chunk)?;
        if let Some(index) = chunk[..len].iter().rposition(|byte| *byte != 0) {
            return Ok(chunk_start + index as u64 + 1);
        }
        end = chunk_start;
    }
    Ok(start)
}

/// Whether some sector of `start..end`, where a write began, still holds what it held before:
/// zeros, but for an earlier mark at `start`. Parts of fewer than five bytes do not count: a
/// record begins with four zeros.
fn has_dropped_sector(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<bool> {
    let mut position = start;
    while position < end {
        let sector_end = ((position / SECTOR_LEN + 1) * SECTOR_LEN).min(end);
        let mut sector = [0; SECTOR_LEN as usize];
        let len = file.read_at(position, &mut sector[..(sector_end - position) as usize])?;
        let sector = &sector[..len];
        if position == start && begins_mark(sector) {
            return Ok(true);
        }
        let mark_left = match position {
            position if position == start => 0,
            position => (start + MARK_LEN as u64).saturating_sub(position) as usize,
        };
        let rest = &sector[mark_left.min(len)..];
        if rest.len() > 4 && rest.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        position = sector_end;
    }
    Ok(false)
}

/// The next valid record after `offset` whose zxid is above `last`.
pub(crate) fn next_valid_record(
    file: &dyn DiskFile,
    offset: u64,
    file_len: u64,
    last: Zxid,
) -> io::Result<Option<(u64, Zxid)>> {
    let shortest = (PAYLOAD_LEN_MIN + RECORD_OVERHEAD) as u64;
    let mut searched = 0;
    let mut buffer = vec![0; READ_LEN + 12];
    // A record never starts inside the file's header.
    let mut base = (offset + 1).max(FILE_HEADER_LEN as u64);
    while base + shortest <= file_len {
        let read = file.read_at(base, &mut buffer)?;
        for index in 0..read.saturating_sub(11).min(READ_LEN) {
            let window = &buffer[index..index + 12];
            // The upper half of the checksum is zero, the length is small: most places fail here.
            if window[..4] != [0; 4] || window[8] > 0x40 || window[4..12] == [0; 8] {
                continue;
            }
            let len = u32::from_be_bytes(window[8..12].try_into().expect("4 bytes")) as usize;
            let at = base + index as u64;
            if let Some(zxid) = valid_record(file, at, len, file_len, &mut searched)?
                && zxid > last
            {
                return Ok(Some((at, zxid)));
            }
            if searched > SEARCH_LEN_MAX {
                return Ok(Some((at, Zxid::NONE)));
            }
        }
        base += READ_LEN as u64;
    }
    Ok(None)
}

/// Where the record at `offset` ends by the length that it has; `None` where that is none.
pub(crate) fn record_at(file: &dyn DiskFile, offset: u64) -> io::Result<Option<u64>> {
    let mut len = [0; 4];
    file.read_at(offset + 8, &mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    let is_possible = (PAYLOAD_LEN_MIN..=PAYLOAD_LEN_CAP).contains(&len);
    Ok(is_possible.then_some(offset + (len + RECORD_OVERHEAD) as u64))
}

/// The zxid of the record at `offset`, if it is one.
fn valid_record(
    file: &dyn DiskFile,
    offset: u64,
    len: usize,
    file_len: u64,
    searched: &mut u64,
) -> io::Result<Option<Zxid>> {
    let end = offset + (len + RECORD_OVERHEAD) as u64;
    if !(PAYLOAD_LEN_MIN..=PAYLOAD_LEN_CAP).contains(&len) || end > file_len {
        return Ok(None);
    }
    let mut mark = [0];
    file.read_at(end - 1, &mut mark)?;
    if mark[0] != END_OF_RECORD {
        return Ok(None);
    }
    *searched += len as u64;
    let mut record = vec![0; 12 + len];
    if file.read_at(offset, &mut record)? != record.len() {
        return Ok(None);
    }
    let payload = &record[12..];
    let stored = i64::from_be_bytes(record[..8].try_into().expect("eight bytes"));
    if stored != i64::from(simd_adler32::adler32(&payload)) {
        return Ok(None);
    }
    Ok(TxnHeader::from_bytes(payload).ok().map(|header| header.zxid))
}
