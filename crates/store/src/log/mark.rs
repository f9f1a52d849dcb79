//! The mark behind a flush: where the last write began.
//!
//! Java takes a length of 0 for the end of a log, whatever stands in the eight bytes of checksum
//! before it and in all bytes behind it. Our writer uses that place: every flush ends with a mark
//! that the next flush overwrites. After a power loss it tells how far back the last write can
//! have been torn, so that damage before it is never taken for a torn tail.

use std::io;

use rookeeper_jute::persistence::{FILE_HEADER_LEN, FileHeader, LOG_MAGIC};
use rookeeper_jute::{Decode, Zxid};

use crate::disk::DiskFile;
use crate::window::READ_LEN;

/// Length of a mark in bytes.
pub(crate) const MARK_LEN: usize = 32;

/// Stands where a record has its checksum, whose upper half would be zero.
const MAGIC: [u8; 8] = *b"RookMark";

/// The lower half of the database id in the header of our logs; Java writes 0 and looks at it
/// nowhere. The upper half is a [`link`] to the transaction before the log's first one.
const SYNCED_DBID: i64 = 0x526f_6f6b;

/// The same where nothing is synced (`forceSync=no`): a power loss may have torn any write.
const UNSYNCED_DBID: i64 = SYNCED_DBID + 1;

/// The same as the first where the log was closed: it ends with its last record, and was synced
/// with that length before the header said so. Nothing in it can be a write that was torn. No bit
/// that flips makes one of the three another.
const CLOSED_DBID: i64 = SYNCED_DBID + 5;

const DBID_MASK: i64 = 0xffff_ffff;

/// What the header of a log says of the transaction before its first one: 31 bits that hardly any
/// other transaction has, never 0, which stands for a log that does not say.
pub(crate) fn link(previous: Zxid) -> u32 {
    let mixed = (previous.0 as u64 ^ 0x526f_6f6b).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 34) as u32 | 1
}

/// How many epochs without a transaction are looked through between two logs.
const EMPTY_EPOCHS_MAX: usize = 1 << 16;

/// What a log says of the transaction before its first one, where that begins an epoch: numbers
/// do not tell how far the epoch before it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is the one that is known to be the last.
    Known,
    /// It is another one: transactions are missing.
    Other,
    /// Nothing: the log is Java's, or its writer knew no more than that an epoch had begun.
    Unsaid,
}

impl Before {
    /// What a log with the link `said`, whose first transaction is `first`, says of `last`.
    pub(crate) fn of(said: u32, last: Zxid, first: Zxid) -> Before {
        if said == 0 {
            return Before::Unsaid;
        }
        if said == link(last) {
            return Before::Known;
        }
        let begun = (last.epoch()..first.epoch()).rev().take(EMPTY_EPOCHS_MAX);
        match begun.map(|epoch| link(Zxid::new(epoch + 1, 0))).any(|begun| begun == said) {
            true => Before::Unsaid,
            false => Before::Other,
        }
    }
}

/// The database id of a log of ours; a link of 0 says nothing.
pub(crate) fn dbid(synced: bool, link: u32) -> i64 {
    let lower = if synced { SYNCED_DBID } else { UNSYNCED_DBID };
    (i64::from(link) << 32) | lower
}

/// The database id of a log that was closed, whose own is `dbid`; none where it was not synced.
pub(crate) fn closed_dbid(dbid: i64) -> Option<i64> {
    (dbid & DBID_MASK == SYNCED_DBID).then_some((dbid & !DBID_MASK) | CLOSED_DBID)
}

/// Whether a log with this database id was closed.
pub(crate) fn says_closed(dbid: i64) -> bool {
    dbid & DBID_MASK == CLOSED_DBID
}

/// What is known of the writes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// They are Java's: nothing.
    Unmarked,
    /// Each ends with a mark and was synced before the next began.
    Synced,
    /// Each ends with a mark and none was synced.
    Unsynced,
}

impl Writes {
    /// What the header of a log says.
    pub(crate) fn of(file: &dyn DiskFile) -> io::Result<Writes> {
        Ok(Writes::and_link(file)?.0)
    }

    /// What the header of a log says, with its link; 0 for none.
    pub(crate) fn and_link(file: &dyn DiskFile) -> io::Result<(Writes, u32)> {
        let dbid = dbid_of(file)?;
        let link = (dbid >> 32) as u32;
        Ok(match dbid & DBID_MASK {
            SYNCED_DBID | CLOSED_DBID => (Writes::Synced, link),
            UNSYNCED_DBID => (Writes::Unsynced, link),
            _ => (Writes::Unmarked, 0),
        })
    }
}

/// The database id in the header of a log; 0 where that is none.
pub(crate) fn dbid_of(file: &dyn DiskFile) -> io::Result<i64> {
    let mut header = [0; FILE_HEADER_LEN];
    let len = file.read_at(0, &mut header)?;
    let header = FileHeader::from_bytes(&header[..len]);
    Ok(header.ok().filter(|header| header.magic == LOG_MAGIC).map_or(0, |header| header.dbid))
}

/// Whether `bytes`, from where a record or a mark should begin to the end of the sector, are the
/// beginning of a mark.
pub(crate) fn begins_mark(bytes: &[u8]) -> bool {
    let len = bytes.len().min(MAGIC.len());
    len > 0 && bytes[..len] == MAGIC[..len]
}

/// A mark: a flush wrote everything from `start` to `end`, where the mark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Mark {
    /// Appends the mark to `out`.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.end.to_be_bytes());
        out.extend_from_slice(&self.start.to_be_bytes());
        let checksum = simd_adler32::adler32(&&out[from..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        assert!(out.len() - from == MARK_LEN, "a mark has one length");
    }

    /// The mark that `bytes` are, if they stand at `offset`.
    fn decode(bytes: &[u8], offset: u64) -> Option<Mark> {
        let bytes: &[u8; MARK_LEN] = bytes.try_into().ok()?;
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let mark = Mark { start: long(20), end: long(12) };
        let mut whole = Vec::with_capacity(MARK_LEN);
        mark.encode(&mut whole);
        (whole == bytes && mark.end == offset && mark.start < offset).then_some(mark)
    }

    /// The mark at `offset`, if one stands there.
    pub(crate) fn read(file: &dyn DiskFile, offset: u64) -> io::Result<Option<Mark>> {
        let mut bytes = [0; MARK_LEN];
        let len = file.read_at(offset, &mut bytes)?;
        Ok(Mark::decode(&bytes[..len], offset))
    }

    /// The last mark that stands in `start..end`.
    pub(crate) fn last_in(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<Option<Mark>> {
        let mut chunk_end = end;
        let mut buffer = vec![0; READ_LEN + MARK_LEN];
        while chunk_end > start {
            let chunk_start = chunk_end.saturating_sub(READ_LEN as u64).max(start);
            // A mark that begins in this chunk may reach into the one behind it.
            let wanted = (chunk_end - chunk_start) as usize + MARK_LEN - 1;
            let len = file.read_at(chunk_start, &mut buffer[..wanted])?;
            let found =
                buffer[..len].windows(MARK_LEN).enumerate().rev().find_map(|(at, bytes)| {
                    bytes
                        .starts_with(&MAGIC)
                        .then(|| Mark::decode(bytes, chunk_start + at as u64))?
                });
            if found.is_some() {
                return Ok(found);
            }
            chunk_end = chunk_start;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Bytes;

    #[test]
    fn a_log_contradicts_every_last_transaction_but_the_one_it_follows() {
        let (last, first) = (Zxid::new(3, 9), Zxid::new(6, 1));
        assert_eq!(Before::of(link(last), last, first), Before::Known);
        for other in [Zxid::new(3, 8), Zxid::new(3, 10), Zxid::new(4, 1), Zxid::new(7, 0)] {
            assert_eq!(Before::of(link(other), last, first), Before::Other, "{other}");
        }
        for begun in 4..=6 {
            assert_eq!(Before::of(link(Zxid::new(begun, 0)), last, first), Before::Unsaid);
        }
        assert_eq!(Before::of(0, last, first), Before::Unsaid);
    }

    #[test]
    fn a_mark_is_found_where_it_was_written_and_nowhere_else() {
        for at in [100, READ_LEN - 5, READ_LEN, 2 * READ_LEN + 3] {
            let mut bytes = vec![0x52; at];
            let mark = Mark { start: 16, end: at as u64 };
            mark.encode(&mut bytes);
            bytes.resize(at + 5000, 0);
            let (len, file) = (bytes.len() as u64, Bytes(&bytes));
            assert_eq!(Mark::read(&file, at as u64).unwrap(), Some(mark));
            assert_eq!(Mark::read(&file, at as u64 + 1).unwrap(), None);
            assert_eq!(Mark::last_in(&file, 16, len).unwrap(), Some(mark));
            assert_eq!(Mark::last_in(&file, at as u64 + 1, len).unwrap(), None);
            let moved = [&[0x52], &bytes[..]].concat();
            assert_eq!(Mark::last_in(&Bytes(&moved), 0, len + 1).unwrap(), None);
        }
    }
}
