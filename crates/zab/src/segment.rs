//! Transactions on their way to the log and to peers: serialised once, shared by whoever needs the
//! bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::Zxid;

/// Some consecutive transactions, each exactly as it stands in log and proposal.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    bytes: Vec<u8>,
    /// Each transaction's zxid and where its bytes end.
    records: Vec<(Zxid, usize)>,
}

impl Segment {
    /// How many transactions it holds; at least one, where it left its builder.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Length of all transactions in bytes.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The transactions in order of their zxids.
    pub fn records(&self) -> impl Iterator<Item = (Zxid, &[u8])> {
        (0..self.records.len()).map(|at| (self.records[at].0, self.record(at)))
    }

    /// Length of the transactions at these places in bytes.
    ///
    /// # Panics
    /// If the segment does not have these places.
    pub fn bytes_of(&self, range: Range<usize>) -> usize {
        let end_before = |at: usize| if at == 0 { 0 } else { self.records[at - 1].1 };
        end_before(range.end) - end_before(range.start)
    }

    /// The zxid of the last transaction: to be reported durable once all are.
    ///
    /// # Panics
    /// If there is none: nobody hands over an empty segment.
    pub fn last_zxid(&self) -> Zxid {
        self.records.last().expect("no empty segment is handed over").0
    }

    /// The zxid of the first transaction.
    ///
    /// # Panics
    /// If there is none: nobody hands over an empty segment.
    pub fn first_zxid(&self) -> Zxid {
        self.records.first().expect("no empty segment is handed over").0
    }

    /// The zxid of the transaction at a place.
    ///
    /// # Panics
    /// If `at` is not below [`Segment::len`].
    pub fn zxid(&self, at: usize) -> Zxid {
        self.records[at].0
    }

    /// The bytes of the transaction at a place.
    ///
    /// # Panics
    /// If `at` is not below [`Segment::len`].
    pub fn record(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.records[at - 1].1 };
        &self.bytes[start..self.records[at].1]
    }
}

/// Where the transactions after one zxid and through another stand, in segments that follow each
/// other.
pub(crate) fn between(
    segments: &VecDeque<Arc<Segment>>,
    after: Zxid,
    through: Zxid,
) -> impl Iterator<Item = (&Arc<Segment>, Range<usize>)> {
    let first = segments.partition_point(|segment| segment.last_zxid() <= after);
    segments.range(first..).map_while(move |segment| {
        let place = |zxid| segment.records.partition_point(|(known, _)| *known <= zxid);
        let range = place(after)..place(through);
        (!range.is_empty()).then_some((segment, range))
    })
}

/// Room for so many bytes and transactions is made ahead at most, where the last ones took as much.
const ROOM_LEN_MAX: usize = 64 << 10;
const ROOM_RECORDS_MAX: usize = 512;

/// Gathers transactions until they are handed over.
#[derive(Debug, Default)]
pub struct SegmentBuilder {
    bytes: Vec<u8>,
    records: Vec<(Zxid, usize)>,
}

impl SegmentBuilder {
    /// Adds a whole transaction.
    ///
    /// # Panics
    /// If it has no bytes.
    pub fn push(&mut self, zxid: Zxid, txn: &[u8]) {
        self.bytes.extend_from_slice(txn);
        self.end_record(zxid);
    }

    /// Where the next transaction is written.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the transaction that was written; returns its length.
    ///
    /// # Panics
    /// If nothing was written: a prepared request always yields a transaction.
    pub fn end_record(&mut self, zxid: Zxid) -> usize {
        let start = self.records.last().map_or(0, |(_, end)| *end);
        assert!(self.bytes.len() > start, "a transaction has bytes");
        self.records.push((zxid, self.bytes.len()));
        self.bytes.len() - start
    }

    /// Bytes gathered so far.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no transaction was ended yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands over what was gathered.
    pub fn freeze(&mut self) -> Arc<Segment> {
        let bytes = Vec::with_capacity(self.bytes.len().min(ROOM_LEN_MAX));
        let records = Vec::with_capacity(self.records.len().min(ROOM_RECORDS_MAX));
        let mut segment = Segment {
            bytes: std::mem::replace(&mut self.bytes, bytes),
            records: std::mem::replace(&mut self.records, records),
        };
        // It may be kept for long, and must not keep the room of a longer one before it.
        if segment.bytes.capacity() / 2 > segment.bytes.len() {
            segment.bytes.shrink_to_fit();
            segment.records.shrink_to_fit();
        }
        Arc::new(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_gives_back_each_transaction_and_the_builder_starts_anew() {
        let mut builder = SegmentBuilder::default();
        builder.push(Zxid(5), b"first");
        builder.bytes_mut().extend_from_slice(b"2nd");
        assert_eq!(builder.end_record(Zxid(6)), 3);
        assert_eq!(builder.bytes_len(), 8);
        let segment = builder.freeze();
        assert!(builder.is_empty() && builder.bytes_len() == 0);
        let records: Vec<_> = segment.records().collect();
        assert_eq!(records, [(Zxid(5), &b"first"[..]), (Zxid(6), &b"2nd"[..])]);
        assert_eq!((segment.first_zxid(), segment.last_zxid()), (Zxid(5), Zxid(6)));
        assert_eq!((segment.record(1), segment.zxid(1)), (&b"2nd"[..], Zxid(6)));
        assert_eq!((segment.len(), segment.bytes_len()), (2, 8));
    }
}
