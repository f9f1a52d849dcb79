//! Decides what a simulated power loss leaves.

/// Decides what survives a power loss: a number below a bound, 0 meaning the durable state and
/// the highest the newest one.
#[derive(Debug, Clone)]
pub enum Chooser {
    /// Only what was synced survives.
    Nothing,
    /// All that was written survives.
    Everything,
    /// Seeded; each seed also draws how much survives on the whole.
    Random(u64),
    /// Every combination in turn, see [`Chooser::advance`]: what was chosen of how many, and how
    /// many choices this round has used.
    Exhaustive(Vec<(usize, usize)>, usize),
}

impl Chooser {
    /// Goes through every combination.
    pub fn exhaustive() -> Self {
        Chooser::Exhaustive(Vec::new(), 0)
    }

    /// Chooses a number below `of`.
    pub fn choose(&mut self, of: usize) -> usize {
        assert!(of > 0, "there is always the durable state to choose");
        match self {
            Chooser::Nothing => 0,
            Chooser::Everything => of - 1,
            Chooser::Random(seed) => {
                let bias = *seed % 4;
                *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c14);
                let mut z = *seed;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^= z >> 31;
                match (bias, z % 8) {
                    (1, 0..=5) => 0,
                    (2, 0..=5) => of - 1,
                    _ => ((z >> 8) % of as u64) as usize,
                }
            }
            Chooser::Exhaustive(choices, used) => {
                if *used == choices.len() {
                    choices.push((0, of));
                }
                let (chosen, bound) = choices[*used];
                assert!(bound == of, "the same rounds ask the same questions");
                *used += 1;
                chosen
            }
        }
    }

    /// Moves an exhaustive chooser to the next combination; `false` when there is none left (at
    /// once for the other kinds).
    pub fn advance(&mut self) -> bool {
        let Chooser::Exhaustive(choices, used) = self else { return false };
        *used = 0;
        while let Some((chosen, of)) = choices.pop() {
            if chosen + 1 < of {
                choices.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}
