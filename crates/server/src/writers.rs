//! Who writes: the sessions whose transactions came with the last batches, and who of them has
//! written again. A batch that holds a write of each has nobody left to wait for.
//!
//! Clients that wait for each answer before they write again come back at about the same time,
//! since one sync answers many of them. Taken at once they share the next sync; taken as they
//! come they fall into several groups, each with a sync of its own, for ever.

use std::collections::HashMap;

use rookeeper_jute::SessionId;

/// Batches after which a session that has not written again is not waited for.
const BATCHES_REMEMBERED: u64 = 8;

/// Sessions that are followed. More fill a batch without anybody waiting.
const WRITERS_MAX: usize = 512;

/// The sessions that write, between two batches.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    /// The batch of each session's last transaction.
    last: HashMap<SessionId, u64>,
    /// The batch that gathers.
    batch: u64,
    /// How many sessions of `last` are in it.
    present: usize,
    /// The session that was seen last: pipelines come in one piece.
    previous: Option<SessionId>,
}

impl Writers {
    /// A session's transaction is in the batch that gathers.
    pub(crate) fn wrote(&mut self, session: SessionId) {
        if self.previous.replace(session) == Some(session) {
            return;
        }
        if self.last.len() == WRITERS_MAX && !self.last.contains_key(&session) {
            return;
        }
        if self.last.insert(session, self.batch) != Some(self.batch) {
            self.present += 1;
        }
    }

    /// Whether nine of ten who wrote lately have a transaction in the batch: the others may have
    /// gone, or be about something else.
    pub(crate) fn are_here(&self) -> bool {
        self.present * 10 >= self.last.len() * 9
    }

    /// The batch is taken, and another one gathers.
    pub(crate) fn next_batch(&mut self) {
        self.batch += 1;
        let batch = self.batch;
        self.last.retain(|_, last| *last + BATCHES_REMEMBERED >= batch);
        self.present = 0;
        self.previous = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writers: &mut Writers, sessions: std::ops::Range<i64>) {
        sessions.for_each(|session| writers.wrote(SessionId(session)));
    }

    #[test]
    fn one_writer_is_never_waited_for() {
        let mut writers = Writers::default();
        for _ in 0..3 {
            write(&mut writers, 7..8);
            assert!(writers.are_here());
            writers.next_batch();
        }
    }

    #[test]
    fn who_wrote_lately_is_expected_until_it_has_been_silent_for_some_batches() {
        let mut writers = Writers::default();
        write(&mut writers, 0..40);
        writers.next_batch();
        write(&mut writers, 0..35);
        assert!(!writers.are_here());
        write(&mut writers, 30..36);
        assert!(writers.are_here(), "nine of ten");
        writers.next_batch();
        for _ in 0..BATCHES_REMEMBERED {
            write(&mut writers, 0..1);
            assert!(!writers.are_here());
            writers.next_batch();
        }
        write(&mut writers, 0..1);
        assert!(writers.are_here());
    }

    #[test]
    fn a_pipeline_counts_once() {
        let mut writers = Writers::default();
        write(&mut writers, 0..10);
        writers.next_batch();
        for _ in 0..20 {
            write(&mut writers, 0..2);
        }
        assert!(!writers.are_here());
    }

    #[test]
    fn a_crowd_is_not_followed_without_bound() {
        let mut writers = Writers::default();
        write(&mut writers, 0..100_000);
        assert_eq!(writers.last.len(), WRITERS_MAX);
        writers.next_batch();
        assert!(!writers.are_here());
    }
}
