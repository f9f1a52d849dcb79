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

#[cfg(test)]
mod tests {
    use super::*;

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
