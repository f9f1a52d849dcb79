//! The transaction log (Java: `FileTxnLog`).
//!
//! A file is a header of 16 bytes and records: Adler-32 of the payload as a long, the payload's
//! length as an int, the payload (header, transaction, optional digest), and `B`. Zeros after the
//! last record are padding: Java takes a length of 0 for the end of the file, and so do we. A file
//! of ours has a mark between its last record and the zeros while it is open (`mark`).

pub(crate) mod cursor;
mod history;
pub(crate) mod mark;
pub(crate) mod repair;
pub(crate) mod segment;
pub(crate) mod truncate;
pub(crate) mod writer;

use rookeeper_jute::persistence::END_OF_RECORD;
pub use rookeeper_jute::persistence::RECORD_OVERHEAD;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Encode, Zxid};

pub use cursor::LogCursor;
pub use history::History;
pub use repair::{Tail, judge_tail};
pub use segment::{Bad, SegmentReader, Step};
pub use writer::{LogWriter, Preparer};

/// How far a log is zeroed ahead of its records, in bytes.
pub const ZERO_AHEAD_LEN: u64 = 4 << 20;

/// The most that is written between two syncs, in bytes; one longer record goes alone. What a
/// power loss can tear is therefore never longer than this (or one record).
pub const FLUSH_LEN_MAX: usize = 4 << 20;

/// The shortest payload: a transaction's header.
pub const PAYLOAD_LEN_MIN: usize = 8 + 4 + 8 + 8 + 4;

/// A longer payload is taken for damage before anything is allocated, in bytes.
pub const PAYLOAD_LEN_CAP: usize = 1 << 30;

/// Appends a record to `out`.
pub fn encode_record(payload: &[u8], out: &mut Vec<u8>) {
    i64::from(simd_adler32::adler32(&payload)).encode(out);
    payload.encode(out);
    out.push(END_OF_RECORD);
}

/// Whether `next` is the transaction that comes after `last`: the next number, or the first of a
/// later epoch.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    next.0 == last.0.wrapping_add(1) || (next.epoch() > last.epoch() && next.counter() <= 1)
}

/// What parsing a log's bytes says: its transactions' headers with their offsets, and how it
/// ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Offset and header of each transaction.
    pub txns: Vec<(u64, TxnHeader)>,
    /// Where the records end.
    pub end: u64,
    /// What stands there, if not padding or the end of the file.
    pub bad: Option<Bad>,
    /// Whether that is a torn tail or damage.
    pub tail: Option<Tail>,
}

/// Parses a log that is in memory, exactly as recovery does from the disk.
pub fn parse(bytes: &[u8]) -> Parsed {
    let file = crate::disk::Bytes(bytes);
    let path = std::path::Path::new("log");
    let mut reader = SegmentReader::open(&file, path).expect("reading memory does not fail");
    let mut txns = Vec::new();
    let (end, bad) = loop {
        match reader.step().expect("reading memory does not fail") {
            Step::Txn { offset, header } => txns.push((offset, header)),
            Step::End { offset } => break (offset, None),
            Step::Bad(bad) => break (bad.offset, Some(bad)),
        }
    };
    let last = txns.last().map_or(Zxid::ZERO, |(_, header)| header.zxid);
    let tail = bad.as_ref().map(|bad| {
        judge_tail(&file, path, bad.offset, last).expect("reading memory does not fail")
    });
    Parsed { txns, end, bad, tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_follows_its_predecessor_or_starts_an_epoch() {
        assert!(follows(Zxid(5), Zxid(6)));
        assert!(!follows(Zxid(5), Zxid(7)));
        assert!(!follows(Zxid(5), Zxid(5)));
        assert!(follows(Zxid::new(1, 5), Zxid::new(2, 1)));
        assert!(follows(Zxid::new(3, 0), Zxid::new(3, 1)));
        assert!(!follows(Zxid::new(3, 7), Zxid::new(5, 4)));
        assert!(!follows(Zxid::new(3, 7), Zxid::new(2, 1)));
    }
}
