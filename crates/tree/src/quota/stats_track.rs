//! The text of limits and statistics: `count=N,bytes=M`, then, where there are more keys,
//! `=;key=value` in order of keys (Java: `StatsTrack`). The stray `=` makes parsers of 3.4 stop.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers by key; an absent one counts as -1, which means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsTrack {
    values: BTreeMap<Box<str>, i64>,
}

const SEPARATORS: [char; 2] = [',', ';'];
const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD_LIMIT: &str = "countHardLimit";
const BYTES_HARD_LIMIT: &str = "byteHardLimit";

impl StatsTrack {
    /// Statistics of a subtree.
    pub fn of(count: i64, bytes: i64) -> Self {
        let mut stats = StatsTrack::default();
        stats.set(COUNT, count);
        stats.set(BYTES, bytes);
        stats
    }

    /// Reads a znode's data; `None` where Java throws: null, a key without a value, a value that
    /// is not a number.
    pub fn parse(data: Option<&[u8]>) -> Option<Self> {
        let text = String::from_utf8_lossy(data?);
        let mut stats = StatsTrack::default();
        if text.is_empty() {
            return Some(stats);
        }
        let text = text.trim_end_matches(SEPARATORS);
        let mut first = true;
        for pair in text.split(SEPARATORS) {
            // A run of separators is one, but at the start it leaves an empty pair before it.
            if pair.is_empty() && !first {
                continue;
            }
            first = false;
            let mut parts = pair.trim_end_matches('=').split('=');
            let key = parts.next()?;
            let value = match parts.next()? {
                "" => -1,
                digits => digits.parse().ok()?,
            };
            stats.set(key, value);
        }
        Some(stats)
    }

    /// The znode's data.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// How many znodes, or the soft limit of them.
    pub fn count(&self) -> i64 {
        self.get(COUNT)
    }

    /// How many bytes of data, or the soft limit of them.
    pub fn bytes(&self) -> i64 {
        self.get(BYTES)
    }

    /// The hard limit of znodes.
    pub fn count_hard_limit(&self) -> i64 {
        self.get(COUNT_HARD_LIMIT)
    }

    /// The hard limit of bytes.
    pub fn bytes_hard_limit(&self) -> i64 {
        self.get(BYTES_HARD_LIMIT)
    }

    /// Adds to both numbers, as Java does: an absent one starts from -1.
    pub fn add(&mut self, count: i64, bytes: i64) {
        self.set(COUNT, self.count().wrapping_add(count));
        self.set(BYTES, self.bytes().wrapping_add(bytes));
    }

    fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    fn set(&mut self, key: &str, value: i64) {
        self.values.insert(key.into(), value);
    }
}

impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.count(), self.bytes())?;
        let others = self.values.iter().filter(|(key, _)| !matches!(&***key, COUNT | BYTES));
        for (index, (key, value)) in others.enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "=;" } else { ";" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<StatsTrack> {
        StatsTrack::parse(Some(text.as_bytes()))
    }

    #[test]
    fn the_text_is_javas() {
        let text = "count=4,bytes=5=;byteHardLimit=10;countHardLimit=11";
        let stats = parse(text).expect("valid");
        assert_eq!((stats.count(), stats.bytes()), (4, 5));
        assert_eq!((stats.bytes_hard_limit(), stats.count_hard_limit()), (10, 11));
        assert_eq!(stats.to_string(), text);
        assert_eq!(StatsTrack::of(3, -7).to_bytes(), b"count=3,bytes=-7");
        assert_eq!(parse("").expect("empty is valid").to_string(), "count=-1,bytes=-1");
        assert_eq!(parse("bytes=1;;,x==9").expect("valid").to_string(), "count=-1,bytes=1=;x=-1");
    }

    #[test]
    fn what_java_cannot_read_is_nothing() {
        assert_eq!(StatsTrack::parse(None), None);
        for text in ["count", "count=", "count=a", "x", "=", ";x=1", "count=1,bytes", "a=1 "] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_absent_number_counts_from_minus_one() {
        let mut stats = StatsTrack::default();
        stats.add(1, 10);
        assert_eq!(stats.to_string(), "count=0,bytes=9");
    }
}
