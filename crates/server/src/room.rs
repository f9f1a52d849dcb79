//! A full disk is refused before it is full: below a reserve nothing is written.

use std::time::{Duration, Instant};

/// Free bytes below which nothing is written, on a large file system. On one with little free
/// space at the start it is a quarter of that.
const RESERVE_MAX: u64 = 16 << 20;
const RESERVE_MIN: u64 = 1 << 20;

/// Bytes written, and time, after which free space is looked at again.
const CHECK_LEN: u64 = 1 << 20;
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The length of what is written seldom, and in new files: free space is looked at before it. A
/// log's next bytes often have their room already, those of a new file never.
pub(crate) const NEW_FILE_LEN: u64 = CHECK_LEN + 1;

/// How often a full disk is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What is known of the free space.
pub(crate) struct Room<S> {
    free: S,
    reserve: u64,
    /// Bytes that may be written before the next look.
    unchecked: u64,
    checked: Instant,
}

impl<S: Fn() -> Option<u64>> Room<S> {
    /// `free` tells how many bytes are free, where that is known.
    pub(crate) fn new(free: S) -> Self {
        let reserve = free().map_or(RESERVE_MAX, |free| free / 4).clamp(RESERVE_MIN, RESERVE_MAX);
        Room { free, reserve, unchecked: 0, checked: Instant::now() }
    }

    /// Bytes that stay free.
    pub(crate) fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Whether so many bytes may be written. Where the free space is not known, they may.
    pub(crate) fn is_enough_for(&mut self, len: u64) -> bool {
        if len <= self.unchecked && self.checked.elapsed() < CHECK_INTERVAL {
            self.unchecked -= len;
            return true;
        }
        let enough = (self.free)().is_none_or(|free| free >= self.reserve + len);
        self.checked = Instant::now();
        self.unchecked = if enough { CHECK_LEN } else { 0 };
        enough
    }
}
