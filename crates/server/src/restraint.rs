//! Attempts at something that pays at some times only.

/// Occasions that are passed over after attempts that were in vain.
const PASSED_MAX: u32 = 256;

/// Which occasions for an attempt are taken: each attempt in vain makes the next one twice as late,
/// each that paid half as late.
#[derive(Debug)]
pub(crate) struct Restraint {
    /// Occasions that are still passed over.
    left: u32,
    /// As many as follow the next attempt in vain.
    penalty: u32,
}

impl Restraint {
    /// Takes the first occasion.
    pub(crate) fn new() -> Self {
        Restraint { left: 0, penalty: 1 }
    }

    /// Whether this occasion is one for an attempt.
    pub(crate) fn takes(&mut self) -> bool {
        let takes = self.left == 0;
        self.left = self.left.saturating_sub(1);
        takes
    }

    /// Whether the next occasion is likely to be taken.
    pub(crate) fn is_lifted(&self) -> bool {
        self.left == 0
    }

    /// What an attempt came to.
    pub(crate) fn tried(&mut self, has_paid: bool) {
        if has_paid {
            self.penalty = (self.penalty / 2).max(1);
        } else {
            self.left = self.penalty;
            self.penalty = (self.penalty * 2).min(PASSED_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_in_vain_puts_the_next_off_and_one_that_paid_brings_it_nearer() {
        let mut restraint = Restraint::new();
        for passed in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
            assert!(restraint.is_lifted() && restraint.takes());
            restraint.tried(false);
            for _ in 0..passed {
                assert!(!restraint.is_lifted() && !restraint.takes());
            }
        }
        for passed in [128, 64, 32, 16, 8, 4, 2, 1, 1] {
            assert!(restraint.takes());
            restraint.tried(true);
            assert_eq!(restraint.penalty, passed);
        }
    }
}
