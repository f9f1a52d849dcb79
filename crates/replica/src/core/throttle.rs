//! The bucket of tokens that connects are paid from (Java: `BlueThrottle`): refilled by time, and,
//! where that is asked for, emptied sooner by drops at random whose chance follows the load.

use super::lot::Lot;
use crate::config::ConnectionThrottleConfig;

/// What a connect asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A session that all servers know of.
    Global,
    /// One that only this server knows of.
    Local,
    /// One that there is already.
    Renewed,
}

#[derive(Debug)]
pub(super) struct ConnectionThrottle {
    config: ConnectionThrottleConfig,
    tokens_max: i64,
    fill_count: i64,
    tokens: i64,
    filled_ms: u64,
    frozen_ms: u64,
    drop_chance: f64,
}

impl ConnectionThrottle {
    pub(super) fn new(config: ConnectionThrottleConfig, now_ms: u64) -> Self {
        // Tokens and refills are meant for plain sessions; weights scale them.
        let scale = if config.weight_enabled { i64::from(config.global_session_weight) } else { 1 };
        let tokens_max = i64::from(config.tokens) * scale;
        let fill_count = i64::from(config.fill_count) * scale;
        ConnectionThrottle {
            config,
            tokens_max,
            fill_count,
            tokens: tokens_max,
            filled_ms: now_ms,
            frozen_ms: now_ms,
            drop_chance: 0.0,
        }
    }

    /// Pays for a connect that makes (or resumes) a session; `false` where it is to be dropped.
    pub(super) fn admit(&mut self, asked: Asked, now_ms: u64, lot: &mut Lot) -> bool {
        if self.tokens_max == 0 {
            return true;
        }
        self.refill(now_ms);
        if self.config.freeze_time_ms != -1 && self.drops(now_ms, lot) {
            return false;
        }
        let price = match asked {
            _ if !self.config.weight_enabled => 1,
            Asked::Renewed => i64::from(self.config.renew_session_weight),
            Asked::Local => i64::from(self.config.local_session_weight),
            Asked::Global => i64::from(self.config.global_session_weight),
        };
        if self.tokens < price {
            return false;
        }
        self.tokens -= price;
        true
    }

    /// How many tokens are missing (metric `connection_token_deficit`).
    pub(super) fn deficit(&self) -> i64 {
        self.tokens_max - self.tokens
    }

    /// The chance of a drop (metric `connection_drop_probability`).
    pub(super) fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.filled_ms)).unwrap_or(i64::MAX);
        let fill_time_ms = i64::from(self.config.fill_time_ms);
        if elapsed_ms <= fill_time_ms {
            return;
        }
        let refill = elapsed_ms
            .saturating_mul(self.fill_count)
            .checked_div(fill_time_ms)
            .unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(refill).min(self.tokens_max);
        self.filled_ms = now_ms;
    }

    fn drops(&mut self, now_ms: u64, lot: &mut Lot) -> bool {
        let used = self.tokens_max - self.tokens;
        let threshold = (self.tokens_max as f64 * self.config.decrease_ratio).round() as i64;
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.frozen_ms)).unwrap_or(i64::MAX);
        if elapsed_ms > i64::from(self.config.freeze_time_ms) {
            if used == self.tokens_max && self.drop_chance < 1.0 {
                self.drop_chance = (self.drop_chance + self.config.drop_increase).min(1.0);
            } else if used <= threshold && self.drop_chance > 0.0 {
                self.drop_chance = (self.drop_chance - self.config.drop_decrease).max(0.0);
            }
            self.frozen_ms = now_ms;
        }
        lot.fraction() < self.drop_chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_by_time() {
        let config = ConnectionThrottleConfig { tokens: 2, fill_time_ms: 10, ..Default::default() };
        let mut throttle = ConnectionThrottle::new(config, 0);
        let lot = &mut Lot::new(1);
        let mut admitted = |now_ms| throttle.admit(Asked::Global, now_ms, lot);
        assert!(admitted(0) && admitted(0) && !admitted(0));
        assert!(!admitted(10), "the fill time must have passed");
        assert!(admitted(11) && !admitted(11));
        assert!(admitted(1000) && admitted(1000) && !admitted(1000));
    }

    #[test]
    fn weights_make_new_sessions_dearer_than_resumed_ones() {
        let config =
            ConnectionThrottleConfig { tokens: 2, weight_enabled: true, ..Default::default() };
        let mut throttle = ConnectionThrottle::new(config, 0);
        let lot = &mut Lot::new(1);
        assert!(throttle.admit(Asked::Global, 0, lot) && throttle.admit(Asked::Renewed, 0, lot));
        assert_eq!(throttle.deficit(), 5);
        assert!(!throttle.admit(Asked::Renewed, 0, lot));
    }

    #[test]
    fn the_chance_of_a_drop_rises_while_the_bucket_is_empty() {
        let config = ConnectionThrottleConfig {
            tokens: 1,
            fill_time_ms: 1_000_000,
            freeze_time_ms: 0,
            drop_increase: 0.5,
            ..Default::default()
        };
        let mut throttle = ConnectionThrottle::new(config, 0);
        let lot = &mut Lot::new(1);
        assert!(throttle.admit(Asked::Global, 0, lot));
        for now_ms in 1..=2 {
            assert!(!throttle.admit(Asked::Global, now_ms, lot));
        }
        assert_eq!(throttle.drop_chance(), 1.0);
    }
}
