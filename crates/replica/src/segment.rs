//! Prepared transactions on their way to the log, and later to peers: serialised once, shared by
//! whoever needs the bytes.

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
    /// How many transactions it holds; at least one.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none, which no segment that leaves the core does.
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

    /// The zxid of the last transaction: to be reported durable once all are.
    ///
    /// # Panics
    /// If there is none, which no segment that leaves the core lacks.
    pub fn last_zxid(&self) -> Zxid {
        self.records.last().expect("a segment is made with its first transaction").0
    }

    /// The bytes of the transaction at a place.
    pub(crate) fn record(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.records[at - 1].1 };
        &self.bytes[start..self.records[at].1]
    }
}

/// Gathers transactions until they are handed over.
#[derive(Debug, Default)]
pub(crate) struct SegmentBuilder {
    bytes: Vec<u8>,
    records: Vec<(Zxid, usize)>,
}

impl SegmentBuilder {
    /// Where the next transaction is written.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the transaction that was written; returns its length.
    ///
    /// # Panics
    /// If nothing was written: a prepared request always yields a transaction.
    pub(crate) fn end_record(&mut self, zxid: Zxid) -> usize {
        let start = self.records.last().map_or(0, |(_, end)| *end);
        assert!(self.bytes.len() > start, "a transaction has bytes");
        self.records.push((zxid, self.bytes.len()));
        self.bytes.len() - start
    }

    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands over what was gathered.
    pub(crate) fn freeze(&mut self) -> Arc<Segment> {
        Arc::new(Segment {
            bytes: std::mem::take(&mut self.bytes),
            records: std::mem::take(&mut self.records),
        })
    }
}
