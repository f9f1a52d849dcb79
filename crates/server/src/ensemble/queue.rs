//! What waits to be written to one connection, and how much that is and how long it waits (Java:
//! `LearnerHandler.sendPackets`).

use std::collections::VecDeque;
use std::time::Instant;

use rookeeper_zab::Outgoing;

use crate::fourletter::Summary;
use crate::measures::QueueFigures;

/// Of so many packets one is timed (Java: `markerPacketInterval`).
const TIMED_EVERY: u64 = 1000;

#[derive(Debug)]
struct Waiting {
    item: Outgoing,
    packets: u64,
    /// Since when, and how many of its packets are timed.
    timed: Option<(Instant, u64)>,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    packets: u64,
    /// Packets that ever came.
    came: u64,
    figures: QueueFigures,
}

impl Queue {
    pub(crate) fn push(&mut self, item: Outgoing, now: impl FnOnce() -> Instant) {
        let packets = item.packets_len();
        let end = self.came + packets;
        let timed = end.div_ceil(TIMED_EVERY) - self.came.div_ceil(TIMED_EVERY);
        let timed = (timed > 0).then(|| (now(), timed));
        (self.came, self.packets) = (end, self.packets + packets);
        self.waiting.push_back(Waiting { item, packets, timed });
    }

    /// What is next, where `wanted` says so of it.
    pub(crate) fn pop_if(
        &mut self,
        wanted: impl FnOnce(&Outgoing) -> bool,
        now: impl FnOnce() -> Instant,
    ) -> Option<Outgoing> {
        if !wanted(&self.waiting.front()?.item) {
            return None;
        }
        let Waiting { item, packets, timed } = self.waiting.pop_front()?;
        self.packets -= packets;
        // Each of them leaves one less behind, the last one what is queued still.
        let (least, most) = (self.packets, self.packets + packets.saturating_sub(1));
        let sum = packets * (least + most) / 2;
        self.figures.size.merge(Summary::from_parts(packets, sum, least, most));
        if let Some((since, count)) = timed {
            let waited = now().saturating_duration_since(since);
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.figures.time_ms.extend((0..count).map(|_| waited_ms));
        }
        Some(item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What it was like since the last call; `None` where nothing was taken from it.
    pub(crate) fn take_figures(&mut self) -> Option<QueueFigures> {
        (self.figures.size.count() > 0).then(|| std::mem::take(&mut self.figures))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rookeeper_jute::Zxid;
    use rookeeper_zab::{RecordsKind, SegmentBuilder};

    use super::*;

    /// So many transactions that were committed before a learner came: two packets each.
    fn records(count: i64) -> Outgoing {
        let mut builder = SegmentBuilder::default();
        (1..=count).for_each(|zxid| builder.push(Zxid(zxid), &[0; 10]));
        let range = 0..usize::try_from(count).expect("a count");
        Outgoing::Records { segment: builder.freeze(), range, kind: RecordsKind::ProposalAndCommit }
    }

    #[test]
    fn each_packet_counts_those_behind_it_and_each_thousandth_how_long_it_waited() {
        let began = Instant::now();
        let at = |ms| move || began + Duration::from_millis(ms);
        let mut queue = Queue::default();
        assert!(queue.take_figures().is_none());
        queue.push(Outgoing::Bytes(vec![1]), at(0));
        queue.push(records(2), at(10));
        queue.push(Outgoing::Bytes(vec![2]), at(20));
        assert!(queue.pop_if(|_| false, at(30)).is_none());
        while queue.pop_if(|_| true, at(30)).is_some() {}
        let figures = queue.take_figures().expect("six packets");
        // Five behind the first one, then 4, 3, 2 and 1 behind the transactions', none in the end.
        assert_eq!(figures.size, Summary::from_parts(6, 15, 0, 5));
        assert_eq!((figures.time_ms.summary.count, figures.time_ms.summary.sum), (1, 30));
        assert!(queue.take_figures().is_none(), "each is told once");
        queue.push(records(497), at(40));
        queue.push(records(501), at(50));
        while queue.pop_if(|_| true, at(53)).is_some() {}
        let figures = queue.take_figures().expect("1,996 packets");
        let time_ms = &figures.time_ms.summary;
        assert_eq!((time_ms.count, time_ms.sum), (2, 3 + 3), "the 1,001st and the 2,001st");
        assert_eq!((figures.size.count(), figures.size.max()), (1996, 1995));
    }
}
