//! The server's clock: the only place that reads the machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rookeeper_replica::Now;

/// Reads wall and monotonic time; the latter counts from the clock's making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Clock { origin: Instant::now() }
    }

    /// When the monotonic clock shows so many milliseconds.
    pub(crate) fn instant_of_ms(&self, monotonic_ms: u64) -> Instant {
        // A machine's deadlines lie within its timeouts; what no clock reaches is far away.
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        self.origin + Duration::from_millis(monotonic_ms).min(self.origin.elapsed() + FAR)
    }

    /// What the monotonic clock shows at an instant, in whole milliseconds.
    pub(crate) fn ms_of_instant(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The time, as the cores take it.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            monotonic_us: u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// A thread that calls a function at a fixed pace until it is stopped.
#[derive(Debug)]
pub(crate) struct Ticker {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub(crate) fn start(
        interval: Duration,
        mut tick: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let thread = thread::Builder::new().name("rookeeper-clock".into()).spawn(move || {
            loop {
                thread::park_timeout(interval);
                if flag.load(Ordering::Acquire) {
                    return;
                }
                tick();
            }
        })?;
        Ok(Ticker { stopped, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The ticking function does not panic; if it did, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn time_goes_on_and_a_ticker_ticks_until_it_is_dropped() {
        let clock = Clock::start();
        let before = clock.now();
        let (tick, ticks) = mpsc::channel();
        let ticker = Ticker::start(Duration::from_millis(1), move || {
            // Nobody listens any more once the test has what it wants.
            let _ = tick.send(());
        });
        let ticker = ticker.expect("there is a thread left");
        for _ in 0..3 {
            ticks.recv_timeout(Duration::from_secs(10)).expect("a tick");
        }
        drop(ticker);
        while ticks.recv().is_ok() {}
        assert!(clock.now().monotonic_us > before.monotonic_us);
    }
}
