//! The event loop of one I/O thread: which sockets became ready, and the way to wake the thread.
//!
//! Sockets are registered once, when they are taken in, and leave with their descriptor. What is
//! reported is a change, not a state: whoever reads or writes a socket keeps in mind whether there
//! is more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use mio::{Events, Poll, Registry, Token};

/// Sockets that one call reports at most; the rest come with the next one.
pub(super) const EVENTS_MAX: usize = 1024;

/// The number under which the loop itself is woken.
pub(super) const WAKER_TOKEN: Token = Token(usize::MAX);

/// Waits for sockets, and for other threads.
pub(super) struct EventLoop {
    poll: Poll,
    events: Events,
    sleep: Arc<Sleep>,
    waker: Waker,
}

impl EventLoop {
    /// A loop without sockets.
    ///
    /// # Errors
    /// Where the system has no event queue left.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = mio::Waker::new(poll.registry(), WAKER_TOKEN)?;
        let sleep = Arc::new(Sleep { state: AtomicU8::new(AWAKE), bell });
        let waker = Arc::clone(&sleep).into();
        Ok(EventLoop { poll, events: Events::with_capacity(EVENTS_MAX), sleep, waker })
    }

    /// Where sockets are registered.
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Another descriptor of the event queue: readable when sockets are ready, for a thread that
    /// waits elsewhere.
    ///
    /// # Errors
    /// Where the process may have no further descriptor.
    pub(super) fn queue(&self) -> io::Result<OwnedFd> {
        self.poll.registry().as_fd().try_clone_to_owned()
    }

    /// What wakes this thread.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Looks which sockets are ready; sleeps until one is, or until the thread is woken, if it
    /// `may_sleep` and was not woken since the last call. It looks at its queues next.
    ///
    /// # Errors
    /// The operating system's; there are none that a sound program sees.
    pub(super) fn poll(&mut self, may_sleep: bool) -> io::Result<&Events> {
        let timeout = if may_sleep && self.sleep.begin() { None } else { Some(Duration::ZERO) };
        let result = self.poll.poll(&mut self.events, timeout);
        self.sleep.end();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        Ok(&self.events)
    }
}

/// The thread works, and was not woken since it last looked at its queues.
const AWAKE: u8 = 0;
/// The thread works, and has to look at its queues once more before it sleeps.
const CALLED: u8 = 1;
/// The thread sleeps, or is about to: it needs the bell.
const ASLEEP: u8 = 2;

/// Whether the thread sleeps: a thread that works is woken without a system call.
///
/// No wake-up is lost: whoever wakes has queued something before. Where [`Sleep::end`] comes after
/// that, the thread looks at its queues after it; where it comes before, [`Sleep::begin`] refuses.
#[derive(Debug)]
struct Sleep {
    state: AtomicU8,
    bell: mio::Waker,
}

impl Sleep {
    /// Whether the thread may sleep now.
    fn begin(&self) -> bool {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.compare_exchange(AWAKE, ASLEEP, success, failure).is_ok()
    }

    /// The thread works again, and looks at all of its queues next.
    fn end(&self) {
        self.state.swap(AWAKE, Ordering::SeqCst);
    }
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(CALLED, Ordering::SeqCst) == ASLEEP
            && let Err(error) = self.bell.wake()
        {
            tracing::error!(%error, "an I/O thread cannot be woken");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_while_the_thread_works_keeps_it_from_sleeping_once() {
        let mut events = EventLoop::new().expect("an event queue");
        events.waker().wake_by_ref();
        assert!(events.poll(true).expect("polled").is_empty(), "nothing was rung");
        let sleep = Arc::clone(&events.sleep);
        let other = thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(10);
            let is_asleep = || sleep.state.load(Ordering::SeqCst) == ASLEEP;
            while !is_asleep() && Instant::now() < deadline {
                thread::yield_now();
            }
            let asleep = is_asleep();
            sleep.wake_by_ref();
            asleep
        });
        events.poll(true).expect("woken");
        assert!(other.join().expect("it does not panic"), "the thread did not sleep");
    }

    #[test]
    fn no_wake_up_is_lost() {
        const CALLS: u64 = 100_000;
        let mut events = EventLoop::new().expect("an event queue");
        let (waker, queued) = (events.waker().clone(), Arc::new(AtomicU64::new(0)));
        let queue = Arc::clone(&queued);
        let other = thread::spawn(move || {
            for _ in 0..CALLS {
                queue.fetch_add(1, Ordering::Relaxed);
                waker.wake_by_ref();
            }
        });
        let mut seen = 0;
        while seen < CALLS {
            events.poll(true).expect("woken");
            seen += queued.swap(0, Ordering::Relaxed);
        }
        other.join().expect("it does not panic");
    }
}
