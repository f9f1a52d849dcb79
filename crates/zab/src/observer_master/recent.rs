//! The last transactions, in memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::Zxid;

use crate::segment::{self, Segment};

/// Segments without a gap between them, the oldest forgotten first.
#[derive(Debug)]
pub(super) struct Recent {
    len_max: usize,
    len: usize,
    segments: VecDeque<Arc<Segment>>,
    /// The transaction before the first one that is here.
    base: Zxid,
}

impl Recent {
    /// Nothing after `base`.
    pub(super) fn new(base: Zxid, len_max: usize) -> Recent {
        Recent { len_max, len: 0, segments: VecDeque::new(), base }
    }

    /// Everything after this zxid is here.
    pub(super) fn base(&self) -> Zxid {
        self.base
    }

    /// The last transaction, or the base where there is none.
    pub(super) fn last(&self) -> Zxid {
        self.segments.back().map_or(self.base, |segment| segment.last_zxid())
    }

    /// Adds what follows.
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.len += segment.bytes_len();
        self.segments.push_back(segment);
    }

    /// Forgets what is too much, of what is not later than `through`.
    pub(super) fn trim(&mut self, through: Zxid) {
        while self.len > self.len_max
            && let Some(oldest) = self.segments.front()
            && oldest.last_zxid() <= through
        {
            self.base = oldest.last_zxid();
            self.len -= oldest.bytes_len();
            self.segments.pop_front();
        }
    }

    /// Where everything after one zxid and through another stands.
    pub(super) fn records(
        &self,
        after: Zxid,
        through: Zxid,
    ) -> impl Iterator<Item = (&Arc<Segment>, Range<usize>)> {
        segment::between(&self.segments, after, through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBuilder;

    fn segment(zxids: Range<i64>) -> Arc<Segment> {
        let mut builder = SegmentBuilder::default();
        zxids.for_each(|zxid| builder.push(Zxid(zxid), &[0; 10]));
        builder.freeze()
    }

    #[test]
    fn ranges_are_found_over_segments() {
        let mut recent = Recent::new(Zxid(4), 1000);
        [5..8, 8..9, 9..12].into_iter().for_each(|zxids| recent.push(segment(zxids)));
        let found = |after, through| -> Vec<i64> {
            let records = recent.records(Zxid(after), Zxid(through));
            records.flat_map(|(segment, range)| range.map(|at| segment.zxid(at).0)).collect()
        };
        assert_eq!(found(4, 11), [5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(found(6, 9), [7, 8, 9]);
        assert_eq!(found(8, 8), []);
        assert_eq!(found(11, 20), []);
        assert_eq!(found(10, 20), [11]);
    }

    #[test]
    fn the_oldest_is_forgotten_once_it_is_safe_elsewhere() {
        let mut recent = Recent::new(Zxid(4), 45);
        [5..8, 8..10, 10..11].into_iter().for_each(|zxids| recent.push(segment(zxids)));
        recent.trim(Zxid(6));
        assert_eq!(recent.base(), Zxid(4));
        recent.trim(Zxid(7));
        assert_eq!((recent.base(), recent.last()), (Zxid(7), Zxid(10)));
        recent.trim(Zxid(10));
        assert_eq!(recent.base(), Zxid(7), "what is left is not too much");
    }
}
