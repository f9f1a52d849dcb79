//! When a snapshot is due: after so many transactions or bytes of log, a number drawn anew each
//! time, so that the servers of an ensemble do not take theirs at once (Java:
//! `SyncRequestProcessor.shouldSnapshot`).

use rookeeper_jute::persistence::RECORD_OVERHEAD;

use super::lot::Lot;

#[derive(Debug)]
pub(super) struct Snapshots {
    snap_count: u64,
    size_limit: u64,
    /// Transactions and bytes since the log was last rolled for a snapshot.
    txns: u64,
    bytes: u64,
    txns_max: u64,
    bytes_max: u64,
    pub(super) running: bool,
}

impl Snapshots {
    pub(super) fn new(
        snap_count: u64,
        size_limit: u64,
        txns: u64,
        bytes: u64,
        lot: &mut Lot,
    ) -> Self {
        // Java: a count below 2 is taken as 2.
        let snap_count = snap_count.max(2);
        let mut snapshots = Snapshots {
            snap_count,
            size_limit,
            txns,
            bytes,
            txns_max: 0,
            bytes_max: 0,
            running: false,
        };
        snapshots.draw(lot);
        snapshots
    }

    /// Takes note of a transaction; says whether the log is to be rolled after it and a snapshot
    /// to be taken.
    pub(super) fn appended(&mut self, len: usize, lot: &mut Lot) -> bool {
        self.txns += 1;
        self.bytes += (len + RECORD_OVERHEAD) as u64;
        let due = self.txns > self.txns_max || (self.size_limit > 0 && self.bytes > self.bytes_max);
        if due {
            self.txns = 0;
            self.bytes = 0;
            self.draw(lot);
        }
        due
    }

    /// Transactions and bytes of log since the last roll for a snapshot.
    pub(super) fn since(&self) -> (u64, u64) {
        (self.txns, self.bytes)
    }

    fn draw(&mut self, lot: &mut Lot) {
        self.txns_max = self.snap_count / 2 + lot.below(self.snap_count / 2);
        self.bytes_max = self.size_limit / 2 + lot.below(self.size_limit / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_between_half_and_all_of_the_count() {
        let lot = &mut Lot::new(5);
        let mut snapshots = Snapshots::new(100, 0, 0, 0, lot);
        let mut since = 0;
        let mut gaps = Vec::new();
        for _ in 0..10_000 {
            since += 1;
            if snapshots.appended(1000, lot) {
                gaps.push(since);
                since = 0;
            }
        }
        assert!(gaps.len() > 90 && gaps.iter().all(|gap| (51..=100).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "drawn anew each time");
    }

    #[test]
    fn size_counts_as_well() {
        let lot = &mut Lot::new(5);
        let mut snapshots = Snapshots::new(1_000_000, 10_000, 0, 0, lot);
        let due = (1..).find(|_| snapshots.appended(987, lot)).expect("some time");
        assert!((5..=10).contains(&due), "{due}");
    }
}
