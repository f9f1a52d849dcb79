//! The subtrees that have a quota (Java: `PathTrie`).

use std::collections::BTreeSet;

/// A set of paths that is asked for the longest one above a path.
#[derive(Debug, Clone, Default)]
pub struct QuotaRoots {
    roots: BTreeSet<Box<str>>,
    /// No root is longer, in bytes; never shrinks but when the last root goes.
    len_max: usize,
}

impl QuotaRoots {
    /// No quotas.
    pub fn new() -> Self {
        QuotaRoots::default()
    }

    /// Whether no subtree has a quota.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Adds a subtree.
    pub fn insert(&mut self, root: &str) {
        self.len_max = self.len_max.max(root.len());
        self.roots.insert(root.into());
    }

    /// Takes a subtree out.
    pub fn remove(&mut self, root: &str) {
        self.roots.remove(root);
        if self.roots.is_empty() {
            self.len_max = 0;
        }
    }

    /// The longest root that is `path` or above it (Java: `getMaxPrefixWithQuota`).
    pub fn longest_above(&self, path: &str) -> Option<&str> {
        if self.roots.is_empty() {
            return None;
        }
        let mut prefix = path;
        loop {
            if prefix.len() <= self.len_max
                && let Some(root) = self.roots.get(prefix)
            {
                return Some(root);
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_root_above_a_path_is_charged() {
        let mut roots = QuotaRoots::new();
        assert_eq!(roots.longest_above("/a"), None);
        roots.insert("/a");
        roots.insert("/a/b/c");
        assert_eq!(roots.longest_above("/a"), Some("/a"));
        assert_eq!(roots.longest_above("/a/b"), Some("/a"));
        assert_eq!(roots.longest_above("/a/b/c/d/e"), Some("/a/b/c"));
        assert_eq!(roots.longest_above("/ab"), None);
        assert_eq!(roots.longest_above("/"), None);
        assert_eq!(roots.longest_above(""), None);
        roots.remove("/a/b/c");
        assert_eq!(roots.longest_above("/a/b/c/d/e"), Some("/a"));
        roots.remove("/a");
        assert!(roots.is_empty());
    }
}
