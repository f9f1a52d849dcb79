//! Which sessions have ended, where that is to be told from those that nobody here ever knew.
//!
//! A leader lets a session that it does not know write if it may be one that only a learner knows.
//! A session that all knew, and that was closed or has expired, is none: what a learner still had
//! on its way in its name comes too late. Java's leader carries it out (`LeaderSessionTracker`
//! looks only whether the session is known now).

use std::collections::{BTreeSet, VecDeque};

use rookeeper_jute::SessionId;

/// How many ends are remembered: what comes later than so many is not told from a stranger's. At
/// 20,000 ends a second that is close to a minute, after which a learner that has not been heard of
/// has lost its link. About 24 bytes each.
const ENDS_MAX: usize = 1 << 20;

/// The last sessions that have ended.
#[derive(Debug, Default)]
pub(super) struct Closed {
    ids: BTreeSet<SessionId>,
    oldest_first: VecDeque<SessionId>,
}

impl Closed {
    /// A session that all knew has ended.
    pub(super) fn ended(&mut self, id: SessionId) {
        self.push(id, ENDS_MAX);
    }

    fn push(&mut self, id: SessionId, ends_max: usize) {
        if !self.ids.insert(id) {
            return;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > ends_max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Whether this session is known to have ended.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ends_are_forgotten() {
        let mut closed = Closed::default();
        for id in [1, 2, 2, 3, 1, 4] {
            closed.push(SessionId(id), 3);
        }
        let known = (0..6).filter(|id| closed.has(SessionId(*id)));
        assert_eq!(known.collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((closed.ids.len(), closed.oldest_first.len()), (3, 3));
    }
}
