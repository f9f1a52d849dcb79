//! Latencies with their distribution, in few counters: exact up to 15 ms, then four steps to each
//! doubling, up to a minute.

use super::Summary;

const EXACT: u64 = 16;
const STEPS: u64 = 4;
const BUCKETS: usize = 64;

/// A series of latencies in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// Smallest, largest, sum and number.
    pub summary: Summary,
    buckets: [u64; BUCKETS],
}

impl Default for Latency {
    fn default() -> Self {
        Latency { summary: Summary::default(), buckets: [0; BUCKETS] }
    }
}

impl Latency {
    /// Adds one.
    #[inline]
    pub fn add(&mut self, latency_ms: u64) {
        self.summary.add(latency_ms);
        self.buckets[bucket(latency_ms)] += 1;
    }

    /// Adds some.
    pub fn extend(&mut self, latencies_ms: impl IntoIterator<Item = u64>) {
        latencies_ms.into_iter().for_each(|latency_ms| self.add(latency_ms));
    }

    /// Adds another series, of another shard.
    pub fn merge(&mut self, other: &Latency) {
        self.summary.merge(&other.summary);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }

    /// The latency that so many of a thousand do not exceed: exact up to 15 ms, then at most a
    /// quarter too large; 0 of none.
    pub fn at_per_mille(&self, per_mille: u64) -> u64 {
        let rank = (self.summary.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return last_of(index).clamp(self.summary.min, self.summary.max);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let doublings = u64::from(value.ilog2() - EXACT.ilog2());
    let step = (value >> (value.ilog2() - STEPS.ilog2())) - STEPS;
    usize::try_from(EXACT + doublings * STEPS + step).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn last_of(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    if index == BUCKETS as u64 - 1 {
        return u64::MAX;
    }
    let (doublings, step) = ((index - EXACT) / STEPS, (index - EXACT) % STEPS);
    ((STEPS + step + 1) << (doublings + u64::from(EXACT.ilog2() - STEPS.ilog2()))) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_bucket() {
        for value in (0..70_000).chain([u64::MAX / 2, u64::MAX]) {
            let index = bucket(value);
            assert!(value <= last_of(index), "{value}");
            assert!(index == 0 || value > last_of(index - 1), "{value}");
            // The last bucket takes all that is longer than a minute.
            if index < BUCKETS - 1 {
                assert!(last_of(index) - value <= value / 4, "{value}");
            }
        }
    }

    #[test]
    fn percentiles_of_small_and_of_long_series() {
        let mut latency = Latency::default();
        assert_eq!(latency.at_per_mille(500), 0);
        for value in 1..=10 {
            latency.add(value);
        }
        assert_eq!([500, 950, 990].map(|p| latency.at_per_mille(p)), [5, 10, 10]);
        let mut other = Latency::default();
        (0..990).for_each(|_| other.add(3));
        other.merge(&latency);
        other.add(60_000);
        assert_eq!([500, 990].map(|p| other.at_per_mille(p)), [3, 3]);
        assert_eq!(other.at_per_mille(1000), 60_000);
        assert_eq!(other.summary.count, 1001);
    }
}
