//! The only clock of the world: events in the order of their times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Entry<E> {
    at_us: u64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest is the greatest; of one time the one that was pushed first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

/// Events to come.
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    now_us: u64,
    pushed: u64,
    popped: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { heap: BinaryHeap::new(), now_us: 0, pushed: 0, popped: 0 }
    }
}

impl<E> Queue<E> {
    /// The time of the event that was popped last, in microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many events were popped.
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// An event `after_us` from now.
    pub fn push(&mut self, after_us: u64, event: E) {
        self.push_at(self.now_us + after_us, event);
    }

    /// An event at a time, or now if that is over.
    pub fn push_at(&mut self, at_us: u64, event: E) {
        self.pushed += 1;
        self.heap.push(Entry { at_us: at_us.max(self.now_us), number: self.pushed, event });
    }

    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now_us = entry.at_us;
        self.popped += 1;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_then_of_pushing() {
        let mut queue = Queue::default();
        for (after_us, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(after_us, event);
        }
        let order: Vec<char> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ['a', 'b', 'c', 'd']);
        queue.push_at(2, 'e');
        assert_eq!((queue.pop(), queue.now_us(), queue.popped()), (Some('e'), 5, 5));
    }
}
