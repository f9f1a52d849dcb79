//! How long a leader's proposals wait for each other: as long as its own disk thread gathers what
//! it will sync at once, so that each follower gets as much in one packet, and syncs and
//! acknowledges it once. What all wait for leaves when those who wrote lately have written again,
//! or when the disk takes it; and soon in any case, for the followers may be a quorum without this
//! disk.

use std::time::{Duration, Instant};

/// A disk that takes longer is not waited for.
const HELD_MAX: Duration = Duration::from_millis(4);

/// What became of proposals on their way to this server's own disk.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// Whether the disk thread waits for more, and says when it takes what it has.
    gathers: bool,
    /// Since when the first proposal waits for that.
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

    /// The disk thread has been given a leader's transactions, and waits for more or does not.
    pub(crate) fn appended(&mut self, gathers: bool) {
        self.gathers = gathers;
    }

    /// The machine holds a proposal.
    pub(crate) fn held(&mut self, now: Instant) {
        self.is_due |= !self.gathers;
        self.since = self.gathers.then(|| self.since.unwrap_or(now));
    }

    /// The disk thread has taken all that had gathered, and the machine lets go of it.
    pub(crate) fn taken(&mut self) {
        *self = Holding::default();
    }

    /// When who waits has waited for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + HELD_MAX)
    }

    /// Time has passed: whoever waits for too long waits no longer.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            *self = Holding { gave_up: true, is_due: true, ..Holding::default() };
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

    /// A leader proposes, and its disk thread waits for more or does not.
    fn propose(holding: &mut Holding, gathers: bool, now: Instant) {
        holding.appended(gathers);
        holding.held(now);
    }

    #[test]
    fn what_gathers_waits_for_the_disk_or_for_the_last_one_of_it() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        propose(&mut holding, true, now);
        assert!(!holding.take_due() && holding.may_wait());
        holding.taken();
        assert_eq!(holding.deadline(), None);
        propose(&mut holding, true, now);
        propose(&mut holding, false, now);
        assert!(holding.take_due() && !holding.take_due());
        holding.look(now + HELD_MAX);
        assert!(!holding.take_due() && holding.may_wait(), "nobody waits any more");
    }

    #[test]
    fn a_disk_that_stalls_is_given_up_until_it_takes_something() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        propose(&mut holding, true, now);
        propose(&mut holding, true, now + HELD_MAX / 2);
        holding.look(now + HELD_MAX - Duration::from_nanos(1));
        assert!(!holding.take_due());
        assert_eq!(holding.deadline(), Some(now + HELD_MAX));
        holding.look(now + HELD_MAX);
        assert!(holding.take_due() && !holding.may_wait());
        holding.held(now + HELD_MAX);
        assert!(holding.take_due(), "who does not ask the disk does not wait for it");
        holding.look(now + 2 * HELD_MAX);
        assert!(!holding.take_due());
        holding.taken();
        assert!(holding.may_wait());
    }
}
