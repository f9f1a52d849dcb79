//! Limits and use of quotas by namespace, the first name of a path (Java: `QuotaMetricsUtils`).

use std::collections::BTreeMap;

use rookeeper_tree::quota::{LIMITS, STATS, StatsTrack};
use rookeeper_tree::{Node, Tree};

const QUOTA: &str = "/zookeeper/quota";

/// Names of the gauges with their values, in order of namespaces. Quotas of one namespace add up;
/// a hard limit counts where there is one. -1 is no limit, as in Java.
pub fn gauges(tree: &Tree) -> Vec<(String, i64)> {
    let mut sums = BTreeMap::<(String, &'static str), i64>::new();
    let mut add = |namespace: &str, gauge: &'static str, value: i64| {
        let sum = sums.entry((namespace.to_string(), gauge)).or_default();
        *sum = sum.wrapping_add(value);
    };
    let mut pending: Vec<Node<'_>> = tree.node(QUOTA).into_iter().collect();
    while let Some(node) = pending.pop() {
        if node.child_count() > 0 {
            pending.extend(node.children());
            continue;
        }
        let name = node.name();
        if name != LIMITS && name != STATS {
            continue;
        }
        let path = node.path();
        let namespace = path[QUOTA.len()..].split('/').nth(1).unwrap_or_default();
        let Some(track) = StatsTrack::parse(node.data()) else { continue };
        let hard_or_soft = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        if name == LIMITS {
            let count = hard_or_soft(track.count_hard_limit(), track.count());
            add(namespace, "quota_count_limit_per_namespace", count);
            let bytes = hard_or_soft(track.bytes_hard_limit(), track.bytes());
            add(namespace, "quota_bytes_limit_per_namespace", bytes);
        } else {
            add(namespace, "quota_count_usage_per_namespace", track.count());
            add(namespace, "quota_bytes_usage_per_namespace", track.bytes());
        }
    }
    let name = |((namespace, gauge), value)| (format!("{namespace}_{gauge}"), value);
    sums.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::{StatPersisted, Zxid};
    use rookeeper_tree::{TreeConfig, TreeLoader};

    use super::*;

    #[test]
    fn quotas_of_a_namespace_add_up() {
        let mut loader = TreeLoader::new(TreeConfig::default());
        let stat = StatPersisted::default();
        let mut node = |path: &str, data: &str| {
            loader.node(path, Some(data.as_bytes()), -1, &stat).unwrap();
        };
        node("", "");
        for path in ["/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/a", "/d"] {
            node(path, "");
        }
        node("/a/b", "1234567");
        node("/a/c", "1");
        // Use is counted anew when a tree is loaded.
        for (root, limits) in [
            ("/a/b", "count=5,bytes=-1"),
            ("/a/c", "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=9"),
            ("/d", "not a quota"),
        ] {
            let mut path = QUOTA.to_string();
            for name in root.split('/').skip(1) {
                path = format!("{path}/{name}");
                if path != "/zookeeper/quota/a" || root == "/a/b" {
                    node(&path, "");
                }
            }
            node(&format!("{path}/{LIMITS}"), limits);
            node(&format!("{path}/{STATS}"), "count=0,bytes=0");
        }
        let tree = loader.finish(Zxid(1)).unwrap();
        let expected = [
            ("a_quota_bytes_limit_per_namespace", -2),
            ("a_quota_bytes_usage_per_namespace", 8),
            ("a_quota_count_limit_per_namespace", 14),
            ("a_quota_count_usage_per_namespace", 2),
            ("d_quota_bytes_usage_per_namespace", 0),
            ("d_quota_count_usage_per_namespace", 1),
        ];
        let expected: Vec<_> = expected.iter().map(|&(n, v)| (n.to_string(), v)).collect();
        assert_eq!(gauges(&tree), expected);
        assert_eq!(gauges(&Tree::new(TreeConfig::default())), []);
    }
}
