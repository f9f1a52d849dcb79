//! Tells a torn tail from damage.
//!
//! A power loss may drop any of the sectors that were written since the last sync; nothing in
//! them was acknowledged. They all lie within [`TORN_LEN_MAX`] of the end, and a dropped sector
//! reads as zeros, for logs are zeroed ahead or grow. So what follows a bad record at the end of
//! the last log is a torn tail if no valid record comes after it, or if it shows a dropped sector
//! and lies within that reach. Everything else is damage: acknowledged transactions would be lost
//! by cutting there.

use std::io;
use std::path::Path;

use rookeeper_jute::persistence::{END_OF_RECORD, FILE_HEADER_LEN};
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, Zxid};

use super::segment::first_nonzero;
use super::{FLUSH_LEN_MAX, PAYLOAD_LEN_CAP, PAYLOAD_LEN_MIN, RECORD_OVERHEAD};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::window::READ_LEN;

/// How far before the end of a log a power loss can reach, in bytes: one flush and one record.
pub const TORN_LEN_MAX: u64 = 2 * FLUSH_LEN_MAX as u64;

/// How many bytes are put through checksums in search of a valid record, before that is given up
/// and the log taken for damaged.
const SEARCH_LEN_MAX: u64 = 1 << 30;

const SECTOR_LEN: u64 = 512;

/// What stands after the last valid record of the last log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// An unfinished write that was never acknowledged.
    Torn {
        /// Where the bytes other than zero end.
        end: u64,
    },
    /// Damage: valid records follow.
    Damaged {
        /// Where the next valid record starts.
        next_offset: u64,
        /// Its zxid.
        next_zxid: Zxid,
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
    let Some((next_offset, next_zxid)) = next_valid_record(file, offset, file_len, last)? else {
        return Ok(Tail::Torn { end });
    };
    if end - offset <= TORN_LEN_MAX && has_dropped_sector(file, offset, next_offset)? {
        return Ok(Tail::Torn { end });
    }
    Ok(Tail::Damaged { next_offset, next_zxid })
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

/// Whether the part of some sector that lies in `start..end` holds only zeros. Parts of fewer
/// than five bytes do not count: a record begins with four zeros.
fn has_dropped_sector(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<bool> {
    let mut position = start;
    while position < end {
        let sector_end = ((position / SECTOR_LEN + 1) * SECTOR_LEN).min(end);
        if sector_end - position > 4 && first_nonzero(file, position, sector_end)?.is_none() {
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
            let len = u32::from_be_bytes(window[8..12].try_into().expect("four bytes")) as usize;
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
