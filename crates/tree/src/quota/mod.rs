//! Quotas: how many znodes and bytes a subtree may hold (Java: `Quotas`, `StatsTrack`, `PathTrie`,
//! `ZooKeeperServer.checkQuota`, `DataTree.updateQuotaStat`).
//!
//! A quota on `/a` is a znode `/zookeeper/quota/a/zookeeper_limits`; beside it stands
//! `zookeeper_stats`, which every server rewrites by itself, without a transaction, whenever
//! something below `/a` changes. Only the longest root above a path is charged.
//!
//! # Layout
//! - [`stats_track`]: the text of limits and statistics
//! - [`roots`]: the subtrees that have a quota
//! - [`check`]: whether a write stays within
//! - [`charge`]: keeping statistics as the tree changes

pub mod charge;
pub mod check;
pub mod roots;
pub mod stats_track;

pub use check::QuotaExceeded;
pub use roots::QuotaRoots;
pub use stats_track::StatsTrack;

use crate::paths;

/// Name of the znode that holds a quota's limits.
pub const LIMITS: &str = "zookeeper_limits";
/// Name of the znode that holds what the subtree has now.
pub const STATS: &str = "zookeeper_stats";

/// Where the limits of the quota on `root` stand.
pub fn limits_path(root: &str) -> String {
    [paths::QUOTA, root, "/", LIMITS].concat()
}

/// Where the statistics of the quota on `root` stand.
pub fn stats_path(root: &str) -> String {
    [paths::QUOTA, root, "/", STATS].concat()
}

/// The subtree that a znode below `/zookeeper/quota` is about, from its parent's path. `None`
/// elsewhere, and for the root: a quota on everything has no effect.
pub fn root_of(parent: &str) -> Option<&str> {
    let root = parent.strip_prefix(paths::QUOTA)?;
    if root.starts_with('/') { Some(root) } else { None }
}

/// Whether a Java server that applies the create of this znode, or later its deletion, ends for
/// good, and with it every one that reads the log: its trie takes no limits of a root whose names
/// are all blank, and `/` is such a root (Java: `PathTrie.addPath`, `deletePath`).
pub fn are_limits_of_nothing(path: &str) -> bool {
    let Some((parent, LIMITS)) = paths::split(path) else { return false };
    let root = parent.strip_prefix(paths::QUOTA);
    root.is_some_and(|root| root.split('/').all(|name| name.trim_matches(' ').is_empty()))
}

/// Whether a Java server that applies the next change below a quota ends for good, because these
/// are the quota's statistics and cannot be read (Java: `DataTree.updateQuotaStat`).
pub fn are_unreadable_statistics(path: &str, data: Option<&[u8]>) -> bool {
    let Some((parent, STATS)) = paths::split(path) else { return false };
    root_of(parent).is_some() && StatsTrack::parse(data).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_blank_root_are_told_from_others() {
        for path in [
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quota/ /zookeeper_limits",
            "/zookeeper/quota/ /  /zookeeper_limits",
            "/zookeeper/quota /zookeeper_limits",
        ] {
            assert!(are_limits_of_nothing(path), "{path}");
        }
        for path in [
            "/zookeeper/quota/a/zookeeper_limits",
            "/zookeeper/quota/ /a/zookeeper_limits",
            "/zookeeper/quota/zookeeper_stats",
            "/zookeeper/quota/zookeeper_limits0000000001",
            "/zookeeper/quotas/zookeeper_limits",
            "/zookeeper_limits",
            "/a/zookeeper_limits",
        ] {
            assert!(!are_limits_of_nothing(path), "{path}");
        }
    }

    #[test]
    fn a_quota_has_its_znodes_below_its_own_root() {
        assert_eq!(limits_path("/a/b"), "/zookeeper/quota/a/b/zookeeper_limits");
        assert_eq!(stats_path("/a"), "/zookeeper/quota/a/zookeeper_stats");
        assert_eq!(root_of("/zookeeper/quota/a/b"), Some("/a/b"));
        assert_eq!(root_of("/zookeeper/quota"), None);
        assert_eq!(root_of("/zookeeper/quotas/a"), None);
        assert_eq!(root_of("/a"), None);
    }
}
