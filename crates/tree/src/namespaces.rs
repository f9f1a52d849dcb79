//! Bytes read and written by the first name of their path (Java: `READ_PER_NAMESPACE` and
//! `WRITE_PER_NAMESPACE`). Statistics of one server: no part of the replicated state.

/// Names that are told apart; what comes later is not counted. (Java's table grows without end.)
const NAMESPACES_MAX: usize = 1024;

/// What Java adds to each read: a Stat, in bytes.
pub const READ_OVERHEAD: u64 = 68;

/// Count, sum, least and greatest of the bytes of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceTally {
    /// How many.
    pub count: u64,
    /// All bytes.
    pub sum: u64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}

impl NamespaceTally {
    fn merge(&mut self, other: &NamespaceTally) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Tallies by namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// By name.
    tallies: Vec<(Box<str>, NamespaceTally)>,
    /// Where the last one was found.
    last: usize,
}

/// The first name of a path; `None` for the root (Java: `PathUtils.getTopNamespace`).
pub fn top(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/').filter(|rest| !rest.is_empty())?;
    let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
    Some(&rest[..end])
}

impl Namespaces {
    /// Counts bytes of a path.
    #[inline]
    pub fn add(&mut self, path: &str, bytes: u64) {
        let Some(name) = top(path) else { return };
        let one = NamespaceTally { count: 1, sum: bytes, min: bytes, max: bytes };
        self.merge_one(name, &one);
    }

    #[inline]
    fn merge_one(&mut self, name: &str, tally: &NamespaceTally) {
        if let Some((known, sum)) = self.tallies.get_mut(self.last)
            && **known == *name
        {
            return sum.merge(tally);
        }
        match self.tallies.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => {
                self.last = at;
                self.tallies[at].1.merge(tally);
            }
            Err(at) if self.tallies.len() < NAMESPACES_MAX => {
                self.last = at;
                self.tallies.insert(at, (name.into(), *tally));
            }
            Err(_) => {}
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Namespaces) {
        for (name, tally) in &other.tallies {
            self.merge_one(name, tally);
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NamespaceTally)> {
        self.tallies.iter().map(|(name, tally)| (&**name, tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_the_first_name() {
        let mut namespaces = Namespaces::default();
        for (path, bytes) in
            [("/a/b", 10), ("/b", 1), ("/a", 4), ("/", 99), ("", 99), ("/b/c/d", 3)]
        {
            namespaces.add(path, bytes);
        }
        let mut other = Namespaces::default();
        other.add("/b/x", 8);
        other.add("/0", 5);
        namespaces.merge(&other);
        let all: Vec<_> = namespaces
            .iter()
            .map(|(name, tally)| (name, tally.count, tally.sum, tally.min, tally.max))
            .collect();
        assert_eq!(all, [("0", 1, 5, 5, 5), ("a", 2, 14, 4, 10), ("b", 3, 12, 1, 8)]);
    }

    #[test]
    fn there_is_an_end_to_names() {
        let mut namespaces = Namespaces::default();
        for index in 0..2 * NAMESPACES_MAX {
            namespaces.add(&format!("/n{index}"), 1);
        }
        assert_eq!(namespaces.iter().count(), NAMESPACES_MAX);
    }
}
