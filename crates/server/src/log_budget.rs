//! Keeps clients from filling the log: what they cause is told so many times a second, the rest is
//! counted.

/// Lines a second.
const LINES_A_SECOND: u32 = 10;

/// One place's lines of the current second.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    second: u64,
    used: u32,
    suppressed: u64,
}

impl LogBudget {
    /// Whether a line may be written now; if so, how many were not since the last that was.
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<u64> {
        if self.second != now_ms / 1000 {
            self.second = now_ms / 1000;
            self.used = 0;
        }
        if self.used == LINES_A_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_ten_times_a_second_and_counted() {
        let mut budget = LogBudget::default();
        let told = (0..100).filter(|_| budget.take(5_000).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(budget.take(6_000), Some(90));
        assert_eq!(budget.take(6_999), Some(0));
    }
}
