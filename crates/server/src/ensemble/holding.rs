//! How long a leader's proposals wait for each other: as long as its own disk thread gathers what
//! it will sync at once, so that each follower gets as much in one packet, and syncs and
//! acknowledges it once. What all wait for leaves when those who wrote lately have written again,
//! or when the disk takes it; and soon in any case, for the followers may be a quorum without this
//! disk.

use std::time::{Duration, Instant};

/// A disk that takes longer is not waited for. Looked at with each input, and with each tick.
const HELD_MAX: Duration = Duration::from_millis(4);

/// What became of proposals on their way to this server's own disk.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// Since when the first one of them waits.
    since: Option<Instant>,
    /// Whether the disk has been given up until it takes something again.
    gave_up: bool,
    /// Whether the machine is to let go of all of them.
    is_due: bool,
}

impl Holding {
    /// Whether what is proposed now may wait for the disk.
    pub(crate) fn may_wait(&self) -> bool {
        !self.gave_up
    }

    /// The disk thread has been given proposals, and waits for more or does not.
    pub(crate) fn appended(&mut self, gathers: bool, now: Instant) {
        self.is_due |= !gathers;
        self.since = gathers.then(|| self.since.unwrap_or(now));
    }

    /// The disk thread has taken all that had gathered, and the machine lets go of it.
    pub(crate) fn taken(&mut self) {
        *self = Holding::default();
    }

    /// Time has passed: whoever waits for too long waits no longer.
    pub(crate) fn look(&mut self, now: Instant) {
        let late = |since: Instant| now.saturating_duration_since(since) >= HELD_MAX;
        if self.since.is_some_and(late) {
            *self = Holding { since: None, gave_up: true, is_due: true };
        }
    }

    /// Whether the machine is to let go of what it holds now; asked once.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gathers_waits_for_the_disk_or_for_the_last_one_of_it() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        holding.appended(true, now);
        assert!(!holding.take_due() && holding.may_wait());
        holding.taken();
        holding.appended(true, now);
        holding.appended(false, now);
        assert!(holding.take_due() && !holding.take_due());
        holding.look(now + HELD_MAX);
        assert!(!holding.take_due() && holding.may_wait(), "nobody waits any more");
    }

    #[test]
    fn a_disk_that_stalls_is_given_up_until_it_takes_something() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        holding.appended(true, now);
        holding.appended(true, now + HELD_MAX / 2);
        holding.look(now + HELD_MAX - Duration::from_nanos(1));
        assert!(!holding.take_due());
        holding.look(now + HELD_MAX);
        assert!(holding.take_due() && !holding.may_wait());
        holding.look(now + 2 * HELD_MAX);
        assert!(!holding.take_due());
        holding.taken();
        assert!(holding.may_wait());
    }
}
