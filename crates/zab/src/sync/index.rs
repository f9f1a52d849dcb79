//! Which transactions a server can prove to have without a gap.

use std::collections::BTreeMap;

use rookeeper_jute::Zxid;

/// Transactions between two marks of how many bytes there are.
const MARK_EVERY: u32 = 1024;

/// Marks that are kept. Beyond them the older half of the history is forgotten: who lacks that much
/// takes a snapshot sooner.
const MARKS_MAX: usize = 1 << 16;

/// A server's gap-free history: everything after a base, as runs of consecutive counters, one an
/// epoch. Drivers feed it with every record of the log in order, and may forget what was purged.
/// The log on disk may have holes where snapshots skipped transactions, and leftovers that were
/// never committed (ZOOKEEPER-2846); the index has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogIndex {
    base: Zxid,
    /// The last counter of each epoch that has transactions after the base; all from 1, or from
    /// the base, on.
    runs: BTreeMap<u32, u32>,
    len: u64,
    /// Bytes before some of the transactions.
    marks: BTreeMap<Zxid, u64>,
}

/// What a transaction was to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The next one.
    Next,
    /// Not later than the last one; nothing changed.
    Known,
    /// Something before it is missing: the history starts anew with it.
    AfterGap,
}

impl LogIndex {
    /// Nothing after `base`: the zxid of a snapshot, or 0 for an empty server.
    pub fn new(base: Zxid) -> LogIndex {
        LogIndex { base, runs: BTreeMap::new(), len: 0, marks: BTreeMap::new() }
    }

    /// Everything after this zxid is here.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// The last transaction, or the base where there is none after it.
    pub fn last(&self) -> Zxid {
        match self.runs.last_key_value() {
            Some((epoch, counter)) => Zxid::new(*epoch, *counter),
            None => self.base,
        }
    }

    /// Adds the transaction that follows in the log, and its bytes. Within an epoch counters are
    /// consecutive, and an epoch's first one is 1 (Java: `Leader.propose`).
    pub fn append(&mut self, zxid: Zxid, len: u64) -> Appended {
        let last = self.last();
        if zxid <= last || zxid.counter() == 0 {
            return Appended::Known;
        }
        let follows =
            if zxid.epoch() == last.epoch() { zxid == last.next() } else { zxid.counter() == 1 };
        if !follows {
            // Its own predecessor is known all the same, by its number.
            *self = LogIndex::new(Zxid(zxid.0 - 1));
        }
        if !self.runs.contains_key(&zxid.epoch()) || zxid.counter().is_multiple_of(MARK_EVERY) {
            self.marks.insert(zxid, self.len);
        }
        self.runs.insert(zxid.epoch(), zxid.counter());
        self.len = self.len.saturating_add(len);
        if self.marks.len() > MARKS_MAX
            && let Some((middle, _)) = self.marks.iter().nth(MARKS_MAX / 2)
        {
            self.forget_through(Zxid(middle.0 - 1));
        }
        if follows { Appended::Next } else { Appended::AfterGap }
    }

    /// Whether a transaction is in the history after the base.
    pub fn contains(&self, zxid: Zxid) -> bool {
        let run = self.runs.get(&zxid.epoch());
        zxid > self.base && zxid.counter() > 0 && run.is_some_and(|last| zxid.counter() <= *last)
    }

    /// The last transaction of an epoch.
    pub fn last_of(&self, epoch: u32) -> Option<Zxid> {
        self.runs.get(&epoch).map(|counter| Zxid::new(epoch, *counter))
    }

    /// How many bytes follow a zxid; up to [`MARK_EVERY`] transactions too many.
    pub fn len_after(&self, zxid: Zxid) -> u64 {
        let before = self.marks.range(..=zxid.next()).next_back();
        self.len - before.map_or(0, |(_, before)| *before)
    }

    /// How many transactions follow a zxid that is not before the base.
    pub fn count_after(&self, zxid: Zxid) -> u64 {
        let runs = self.runs.range(zxid.epoch()..);
        let counts = runs.map(|(epoch, last)| {
            let known = [self.base, zxid].into_iter().filter(|known| known.epoch() == *epoch);
            let before = known.map(|known| known.counter()).max().unwrap_or(0);
            u64::from(last.saturating_sub(before))
        });
        counts.sum()
    }

    /// Cuts off everything after a zxid, as the log was cut.
    pub fn truncate(&mut self, zxid: Zxid) {
        if zxid <= self.base {
            *self = LogIndex::new(zxid);
            return;
        }
        let len = self.len_after(zxid);
        let keeps = self.contains(zxid);
        self.runs.retain(|epoch, _| *epoch <= zxid.epoch());
        if keeps {
            self.runs.insert(zxid.epoch(), zxid.counter());
        } else if zxid.counter() == 0 {
            self.runs.remove(&zxid.epoch());
        }
        let cut = self.marks.split_off(&zxid.next());
        self.len = cut.first_key_value().map_or(self.len - len, |(_, before)| *before);
    }

    /// Forgets what is not after `zxid`, which was purged or cannot be read.
    pub fn forget_through(&mut self, zxid: Zxid) {
        if zxid >= self.last() {
            *self = LogIndex::new(zxid.max(self.base));
        } else if zxid > self.base {
            self.base = zxid;
            self.runs.retain(|epoch, last| Zxid::new(*epoch, *last) > zxid);
            if let Some((before, _)) = self.marks.range(..=zxid.next()).next_back() {
                self.marks = self.marks.split_off(&{ *before });
            }
        }
    }

    /// Forgets what stood in logs before the one that begins with `first`: they were purged.
    pub fn forget_before(&mut self, first: Zxid) {
        let before = match first.counter() {
            0 | 1 => self.runs.range(..first.epoch()).next_back().map(|(e, c)| Zxid::new(*e, *c)),
            counter => Some(Zxid::new(first.epoch(), counter - 1)),
        };
        if let Some(before) = before {
            self.forget_through(before.min(self.last()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_after_a_zxid_are_counted_over_epochs() {
        let mut index = LogIndex::new(Zxid::new(1, 5));
        for (epoch, counters) in [(1, 6..9), (3, 1..4), (4, 1..2)] {
            counters.for_each(|counter| {
                index.append(Zxid::new(epoch, counter), 10);
            });
        }
        for (zxid, count) in [
            (Zxid::new(1, 5), 7),
            (Zxid::new(1, 7), 5),
            (Zxid::new(1, 8), 4),
            (Zxid::new(3, 0), 4),
            (Zxid::new(3, 3), 1),
            (Zxid::new(4, 1), 0),
            (Zxid::new(5, 0), 0),
        ] {
            assert_eq!(index.count_after(zxid), count, "{zxid}");
        }
    }

    #[test]
    fn runs_grow_and_gaps_start_anew() {
        let mut index = LogIndex::new(Zxid::ZERO);
        assert_eq!(index.append(Zxid::new(1, 1), 10), Appended::Next);
        assert_eq!(index.append(Zxid::new(1, 2), 10), Appended::Next);
        assert_eq!(index.append(Zxid::new(1, 2), 10), Appended::Known);
        assert_eq!(index.append(Zxid::new(3, 1), 10), Appended::Next);
        assert_eq!((index.base(), index.last()), (Zxid::ZERO, Zxid::new(3, 1)));
        assert!(index.contains(Zxid::new(1, 2)) && !index.contains(Zxid::new(1, 3)));
        assert!(!index.contains(Zxid::new(2, 1)) && !index.contains(Zxid::new(3, 0)));
        // The gap of ZOOKEEPER-2846: 0x300000007 was followed by 0x500000004.
        assert_eq!(index.append(Zxid::new(5, 4), 10), Appended::AfterGap);
        assert_eq!((index.base(), index.last()), (Zxid::new(5, 3), Zxid::new(5, 4)));
        assert!(!index.contains(Zxid::new(1, 1)));
        assert_eq!(index.append(Zxid::new(5, 6), 10), Appended::AfterGap);
        assert_eq!(index.base(), Zxid::new(5, 5));
    }

    #[test]
    fn lengths_are_known_to_a_mark() {
        let mut index = LogIndex::new(Zxid::ZERO);
        for counter in 1..=5000 {
            index.append(Zxid::new(1, counter), 10);
        }
        assert_eq!(index.len_after(Zxid::ZERO), 50_000);
        assert_eq!(index.len_after(Zxid::new(1, 4095)), 9050);
        let exact = 10 * (5000 - 3000);
        let rough = index.len_after(Zxid::new(1, 3000));
        assert!((exact..=exact + 10 * u64::from(MARK_EVERY)).contains(&rough), "{rough}");
    }

    #[test]
    fn cut_and_forgotten_transactions_are_gone() {
        let mut index = LogIndex::new(Zxid::ZERO);
        for (epoch, last) in [(1, 3), (2, 2), (4, 5)] {
            for counter in 1..=last {
                index.append(Zxid::new(epoch, counter), 1);
            }
        }
        let whole = index.clone();
        index.truncate(Zxid::new(2, 1));
        assert_eq!(index.last(), Zxid::new(2, 1));
        assert_eq!(index.append(Zxid::new(2, 2), 1), Appended::Next);
        index = whole.clone();
        index.truncate(Zxid::new(3, 0));
        assert_eq!(index.last(), Zxid::new(2, 2));
        index = whole.clone();
        index.forget_through(Zxid::new(2, 1));
        assert_eq!((index.base(), index.last()), (Zxid::new(2, 1), Zxid::new(4, 5)));
        assert!(!index.contains(Zxid::new(2, 1)) && index.contains(Zxid::new(2, 2)));
        assert!(!index.contains(Zxid::new(1, 3)));
        index.forget_through(Zxid::new(4, 5));
        assert_eq!(index, LogIndex::new(Zxid::new(4, 5)));
    }

    #[test]
    fn a_long_history_forgets_its_older_half_and_keeps_its_lengths() {
        let mut index = LogIndex::new(Zxid::ZERO);
        let epochs = MARKS_MAX as u32 + 1;
        for epoch in 1..=epochs {
            index.append(Zxid::new(epoch, 1), 10);
        }
        let base = Zxid::new(epochs / 2 + 1, 0);
        assert_eq!((index.base(), index.last()), (base, Zxid::new(epochs, 1)));
        assert!(!index.contains(Zxid::new(epochs / 2, 1)) && index.contains(base.next()));
        assert_eq!((index.marks.len(), index.runs.len()), (MARKS_MAX / 2 + 1, MARKS_MAX / 2 + 1));
        assert_eq!(index.len_after(base), 10 * u64::from(epochs - epochs / 2));
        assert_eq!(index.append(Zxid::new(epochs, 2), 10), Appended::Next);
    }

    #[test]
    fn what_stood_in_logs_that_were_purged_is_forgotten() {
        let mut whole = LogIndex::new(Zxid::ZERO);
        for (epoch, last) in [(1, 3000), (2, 2), (4, 5)] {
            for counter in 1..=last {
                whole.append(Zxid::new(epoch, counter), 10);
            }
        }
        // (the log that is the oldest now, the base then)
        for (first, base) in [
            (Zxid::new(1, 1), Zxid::ZERO),
            (Zxid::new(1, 2500), Zxid::new(1, 2499)),
            (Zxid::new(2, 1), Zxid::new(1, 3000)),
            (Zxid::new(4, 1), Zxid::new(2, 2)),
            (Zxid::new(4, 3), Zxid::new(4, 2)),
            // Nothing that was told is later than this.
            (Zxid::new(4, 9), Zxid::new(4, 5)),
            (Zxid::new(6, 1), Zxid::new(4, 5)),
        ] {
            let mut index = whole.clone();
            index.forget_before(first);
            assert_eq!((index.base(), index.last()), (base, Zxid::new(4, 5)), "{first}");
            if base < Zxid::new(2, 2) && base != Zxid::ZERO {
                let mut exact = 20 + 50;
                exact += 10 * u64::from(3000 - base.counter());
                let len = index.len_after(base);
                assert!((exact..=exact + 10 * u64::from(MARK_EVERY)).contains(&len), "{len}");
            }
            let again = index.clone();
            index.forget_before(Zxid::new(1, 1));
            assert_eq!(index, again, "what is forgotten stays forgotten");
        }
    }
}
