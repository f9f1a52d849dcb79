//! What the thread of a member's core does before it sleeps, where it serves clients as well: it
//! lets others have the processor for a moment.
//!
//! A thread that sleeps as soon as nothing is to be done is woken for each request, or two, and
//! each time takes the processor from the client that was about to send the next one. One that
//! steps aside first finds, when its turn comes again, what all have sent by then, and was not
//! woken for it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::restraint::Restraint;

/// Who is away for longer left the processor to somebody who is none of its clients, and they
/// waited.
const AWAY_MAX: Duration = Duration::from_millis(1);

/// Steps aside before a thread sleeps, unless that took long lately. It costs a system call where
/// nobody else wants the processor.
#[derive(Debug)]
pub(super) struct Aside(Mutex<Restraint>);

impl Aside {
    pub(super) fn new() -> Self {
        Aside(Mutex::new(Restraint::new()))
    }

    /// The thread has nothing to do, and looks at its sockets next.
    pub(super) fn before_sleep(&self) {
        self.step(|| {
            let begun = Instant::now();
            std::thread::yield_now();
            begun.elapsed()
        });
    }

    /// `away` says how long it was.
    fn step(&self, away: impl FnOnce() -> Duration) {
        let mut restraint = self.0.lock();
        if restraint.takes() {
            restraint.tried(away() <= AWAY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_for_long_stays_for_a_while() {
        let aside = Aside::new();
        let steps = |away| {
            let mut stepped = false;
            aside.step(|| {
                stepped = true;
                away
            });
            stepped
        };
        assert!(steps(AWAY_MAX) && steps(AWAY_MAX), "nobody else was there for long");
        assert!(steps(2 * AWAY_MAX) && !steps(AWAY_MAX), "once");
        assert!(steps(2 * AWAY_MAX) && !steps(AWAY_MAX) && !steps(AWAY_MAX), "twice in a row");
        assert!(steps(AWAY_MAX), "and tries again");
    }
}
