//! How long a session waits for what (Java: `ClientCnxn.SendThread`).

/// The spans that follow from a session timeout, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// From the start of a connection attempt, or the last byte sent, to the end of the handshake.
    pub(crate) connect_ms: u64,
    /// From the last frame to giving the connection up.
    pub(crate) read_ms: u64,
    /// From the last frame or connection to giving the session up.
    pub(crate) expiry_ms: u64,
    /// From the last byte sent to a ping.
    pub(crate) ping_ms: u64,
}

/// Longest silence before a ping, in milliseconds.
const PING_MS_MAX: u64 = 10_000;

/// A ping leaves this much earlier, so that a second one fits before the read timeout.
const PING_LEAD_MS: u64 = 1000;

/// First and longest pause between looks for a server that writes, in milliseconds.
pub(crate) const PROBE_MS_MIN: u64 = 100;
pub(crate) const PROBE_MS_MAX: u64 = 60_000;

/// Longest pause before a reconnect, in milliseconds, not reached.
pub(crate) const RECONNECT_MS_MAX: u64 = 1000;

impl Timing {
    pub(crate) fn new(timeout_ms: u32, host_count: usize) -> Timing {
        let timeout_ms = u64::from(timeout_ms);
        let read_ms = (timeout_ms * 2 / 3).max(1);
        let half = read_ms / 2;
        let ping_ms = if half <= PING_LEAD_MS {
            half
        } else {
            // The lead counts only once the silence is longer than the lead itself.
            (half - PING_LEAD_MS).clamp(PING_LEAD_MS + 1, PING_MS_MAX).min(half)
        };
        Timing {
            connect_ms: (timeout_ms / host_count as u64).max(1),
            read_ms,
            expiry_ms: (timeout_ms * 4 / 3).max(1),
            ping_ms: ping_ms.max(1),
        }
    }
}

/// Pauses that look random: splitmix64 from the caller's seed.
#[derive(Debug)]
pub(crate) struct Pauses(u64);

impl Pauses {
    pub(crate) fn new(seed: u64) -> Pauses {
        Pauses(seed)
    }

    /// A pause before a reconnect, in milliseconds.
    pub(crate) fn next_ms(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % RECONNECT_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_from_the_session_timeout() {
        let timing = Timing::new(30_000, 3);
        let expected =
            Timing { connect_ms: 10_000, read_ms: 20_000, expiry_ms: 40_000, ping_ms: 9_000 };
        assert_eq!(timing, expected);
        for (timeout_ms, ping_ms) in
            [(3000, 1000), (3600, 1001), (6000, 1001), (9000, 2000), (60_000, 10_000), (0, 1)]
        {
            assert_eq!(Timing::new(timeout_ms, 1).ping_ms, ping_ms, "{timeout_ms}");
        }
        assert_eq!(Timing::new(2, 5).connect_ms, 1);
    }

    #[test]
    fn pauses_differ_and_repeat_by_seed() {
        let take = |seed| {
            let mut pauses = Pauses::new(seed);
            (0..100).map(|_| pauses.next_ms()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert!(take(3).iter().all(|pause| *pause < RECONNECT_MS_MAX));
    }
}
