//! Bytes read and written by the first name of their path (Java: `READ_PER_NAMESPACE` and
//! `WRITE_PER_NAMESPACE`). Statistics of one server: no part of the replicated state.

/// Names that are told apart; what comes later is not counted. (Java's table grows without end.)
const NAMESPACES_MAX: usize = 1024;

/// What Java adds to each read: a Stat, in bytes.
pub const READ_OVERHEAD: u64 = 68;

/// Count, sum, least and greatest of the bytes of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceTally {
    /// How many.
    pub count: u64,
    /// All bytes.
    pub sum: u64,
    /// The least; 0 of none.
    pub min: u64,
    /// The greatest; 0 of none.
    pub max: u64,
}

impl NamespaceTally {
    fn merge(&mut self, other: &NamespaceTally) {
        self.min = match (self.count, other.count) {
            (0, _) => other.min,
            (_, 0) => self.min,
            _ => self.min.min(other.min),
        };
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
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

    /// Starts all tallies anew and keeps their names: who watches a series goes on seeing it (Java:
    /// `AvgMinMaxCounterSet.reset`).
    pub fn reset(&mut self) {
        for (_, tally) in &mut self.tallies {
            *tally = NamespaceTally::default();
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
    fn a_reset_keeps_the_names_and_nothing_else() {
        let mut namespaces = Namespaces::default();
        namespaces.add("/a", 4);
        namespaces.add("/b", 1);
        namespaces.reset();
        let all = |namespaces: &Namespaces| {
            let figures = |(name, it): (&str, &NamespaceTally)| {
                (name.to_owned(), it.count, it.sum, it.min, it.max)
            };
            namespaces.iter().map(figures).collect::<Vec<_>>()
        };
        assert_eq!(all(&namespaces), [("a".into(), 0, 0, 0, 0), ("b".into(), 0, 0, 0, 0)]);
        let mut sum = Namespaces::default();
        sum.add("/b", 6);
        sum.merge(&namespaces);
        namespaces.add("/a/x", 7);
        sum.merge(&namespaces);
        assert_eq!(all(&sum), [("a".into(), 1, 7, 7, 7), ("b".into(), 1, 6, 6, 6)]);
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
