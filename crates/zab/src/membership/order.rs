//! The order in which Java's hash maps iterate, in which its texts list members.
//!
//! Java puts a configuration's lines into `Properties` (a `ConcurrentHashMap` of strings), and
//! what it reads from there into a `HashMap` of longs, whose order the text shows. Consumers read
//! the text in any order; equal bytes make texts comparable across servers. Equal with Java while
//! no bucket holds nine entries, which ids up to 254 cannot fill.

/// Buckets of a Java hash map at first.
const TABLE_LEN_MIN: usize = 16;

/// When a map doubles its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// `HashMap`: once it holds more than three quarters of its buckets.
    Above,
    /// `ConcurrentHashMap`: once it holds three quarters of its buckets.
    At,
}

fn table_len(count: usize, growth: Growth) -> usize {
    let mut len = TABLE_LEN_MIN;
    let full = |len: usize| match growth {
        Growth::Above => count > len / 4 * 3,
        Growth::At => count >= len / 4 * 3,
    };
    while full(len) {
        len *= 2;
    }
    len
}

/// Folds a hash code as both maps do.
fn spread(hash: u32) -> usize {
    (hash ^ (hash >> 16)) as usize
}

/// `Long.hashCode`.
fn long_hash(value: i64) -> u32 {
    (value as u64 ^ (value as u64 >> 32)) as u32
}

/// `String.hashCode`.
fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// Sorts `entries`, in the order of their insertion, as a `HashMap` of longs iterates.
pub(super) fn sort_by_long<T>(entries: &mut [T], key: impl Fn(&T) -> i64) {
    let mask = table_len(entries.len(), Growth::Above) - 1;
    entries.sort_by_key(|entry| spread(long_hash(key(entry))) & mask);
}

/// Sorts `entries`, in the order of their insertion, as `Properties` iterates.
pub(super) fn sort_by_string<T>(entries: &mut [T], key: impl Fn(&T) -> &str) {
    let mask = table_len(entries.len(), Growth::At) - 1;
    entries.sort_by_key(|entry| spread(string_hash(key(entry))) & mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_iterate_as_in_java() {
        let table = include_str!("../../tests/golden/hash_order.txt");
        let numbers = |text: &str| -> Vec<i64> {
            text.split_whitespace().map(|number| number.parse().unwrap()).collect()
        };
        for line in table.lines() {
            let (sorted, expected) = line.split_once(" : ").unwrap();
            let mut entries = numbers(sorted);
            sort_by_long(&mut entries, |entry| *entry);
            assert_eq!(entries, numbers(expected));
        }
    }

    #[test]
    fn strings_hash_as_in_java() {
        assert_eq!(string_hash("server.1"), 1_379_102_790);
        assert_eq!(string_hash(""), 0);
    }
}
