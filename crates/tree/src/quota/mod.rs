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

/// What Java compares the parents of limits with, without a slash behind it.
const PARENT_OF_QUOTA: &str = "/zookeeper";
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

/// Whether a Java server ends for good, and with it every one that reads the log or the snapshot,
/// when it applies the create of this znode, or later its deletion, or finds it when it starts:
///
/// - whoever deletes limits anywhere below a path that begins with `/zookeeper` has as many
///   characters cut off their parent's path as `/zookeeper/quota` has (Java:
///   `DataTree.deleteNode`), and what is left has to have a name that is not blank (`PathTrie`);
/// - whoever starts looks for the first `/zookeeper_limits` in the path, and what stands before it
///   may not be nothing (`DataTree.traverseNode`).
pub fn are_limits_that_end_java(path: &str) -> bool {
    let Some((parent, LIMITS)) = paths::split(path) else { return false };
    if !parent.starts_with(PARENT_OF_QUOTA) {
        return false;
    }
    let root = parent.char_indices().nth(paths::QUOTA.len()).map_or("", |(at, _)| &parent[at..]);
    let is_blank = root.split('/').all(|name| name.trim_matches(' ').is_empty());
    let below_quota = parent.strip_prefix(paths::QUOTA).and_then(|root| root.strip_prefix('/'));
    is_blank || below_quota.is_some_and(|root| root.starts_with(LIMITS))
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
    fn limits_that_end_java_are_told_from_others() {
        for path in [
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quota/ /zookeeper_limits",
            "/zookeeper/quota/ /  /zookeeper_limits",
            "/zookeeper/quota /zookeeper_limits",
            "/zookeeper/zookeeper_limits",
            "/zookeeper2/zookeeper_limits",
            "/zookeeper/\u{e4}bcd/zookeeper_limits",
            "/zookeeper/abcde/zookeeper_limits",
            "/zookeeper/abcde /zookeeper_limits",
            "/zookeeper/quota/zookeeper_limits/zookeeper_limits",
            "/zookeeper/quota/zookeeper_limits0000000001/a/zookeeper_limits",
        ] {
            assert!(are_limits_that_end_java(path), "{path}");
        }
        for path in [
            "/zookeeper/quota/a/zookeeper_limits",
            "/zookeeper/quota/ /a/zookeeper_limits",
            "/zookeeper/quota/a/zookeeper_limits/zookeeper_limits",
            "/zookeeper/quota/zookeeper_stats",
            "/zookeeper/quota/zookeeper_limits0000000001",
            "/zookeeper/quotas/zookeeper_limits",
            "/zookeeper/config/zookeeper_limits",
            "/zookeeper-a/b/cdef/zookeeper_limits",
            "/zookeeper_limits",
            "/a/zookeeper_limits",
        ] {
            assert!(!are_limits_that_end_java(path), "{path}");
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
