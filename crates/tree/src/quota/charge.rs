//! Keeping the statistics of quotas as the tree changes (Java: `DataTree.updateQuotaStat`,
//! `updateQuotaForPath`, `setupQuota`). Statistics are local to a server: their data is replaced
//! without a transaction, and versions and times stay.

use super::{LIMITS, STATS, StatsTrack, root_of, stats_path};
use crate::paths;
use crate::tree::Tree;
use crate::znodes::NodeId;

impl Tree {
    /// Charges the quota above `path` with a change of bytes and znodes.
    pub(crate) fn charge_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(root) = self.quota_roots.longest_above(path) else { return };
        let Some(id) = self.znodes.lookup(&stats_path(root)) else { return };
        // Java's server ends where somebody has written nonsense into the statistics.
        let Some(mut stats) = StatsTrack::parse(self.znodes.data(id)) else { return };
        stats.add(count, bytes);
        self.replace_stats(id, &stats);
    }

    /// Takes note of a new znode of a quota.
    pub(crate) fn quota_node_created(&mut self, parent_path: &str, name: &str) {
        let Some(root) = root_of(parent_path) else { return };
        match name {
            LIMITS => self.quota_roots.insert(root),
            STATS => self.recount_quota(root),
            _ => {}
        }
    }

    /// Takes note that a znode of a quota is gone.
    pub(crate) fn quota_node_deleted(&mut self, parent_path: &str, name: &str) {
        if name == LIMITS
            && let Some(root) = root_of(parent_path)
        {
            self.quota_roots.remove(root);
        }
    }

    /// Finds the quotas of a tree that comes from a snapshot, and counts anew what they hold.
    pub(crate) fn set_up_quotas(&mut self) {
        let mut roots = Vec::new();
        let mut rest: Vec<NodeId> = self.znodes.lookup(paths::QUOTA).into_iter().collect();
        while let Some(id) = rest.pop() {
            if self.znodes.name(id) == LIMITS && self.znodes.child_count(id) == 0 {
                let mut path = String::new();
                self.znodes.path(id, &mut path);
                let parent = paths::split(&path).and_then(|(parent, _)| root_of(parent));
                roots.extend(parent.map(String::from));
            }
            rest.extend(self.znodes.children(id));
        }
        for root in roots {
            self.recount_quota(&root);
            self.quota_roots.insert(&root);
        }
    }

    fn recount_quota(&mut self, root: &str) {
        let Some(stats_id) = self.znodes.lookup(&stats_path(root)) else { return };
        let stats = match self.znodes.lookup(root) {
            Some(id) => {
                let count = self.znodes.descendants(id) as i64 + 1;
                StatsTrack::of(count, self.znodes.subtree_bytes(id) as i64)
            }
            None => StatsTrack::of(0, 0),
        };
        self.replace_stats(stats_id, &stats);
    }

    fn replace_stats(&mut self, id: NodeId, stats: &StatsTrack) {
        let stat = self.znodes.persisted(id);
        let data = stats.to_bytes();
        self.znodes.set_data(id, Some(&data), stat.mzxid, stat.mtime, stat.version);
    }
}
