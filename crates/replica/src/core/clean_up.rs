//! Deletes containers that lost their last child and TTL znodes that were not touched in time
//! (Java: `ContainerManager`): looked for at intervals, deleted one by one at a bounded rate.

use std::collections::VecDeque;

use rookeeper_tree::{Tree, tree::Node};

use crate::config::CoreConfig;
use crate::ids::Now;

#[derive(Debug)]
pub(super) struct CleanUp {
    interval_ms: u64,
    /// Least time between two deletions.
    pace_ms: u64,
    never_used_ms: u64,
    /// When to look next.
    look_ms: u64,
    /// When to delete next.
    delete_ms: u64,
    candidates: VecDeque<String>,
}

impl CleanUp {
    pub(super) fn new(config: &CoreConfig, now: Now) -> Self {
        let interval_ms = config.container_check_interval_ms;
        CleanUp {
            interval_ms,
            pace_ms: 60_000u64.checked_div(config.container_max_per_minute).unwrap_or(u64::MAX),
            never_used_ms: config.container_max_never_used_interval_ms,
            look_ms: now.monotonic_ms() + interval_ms,
            delete_ms: 0,
            candidates: VecDeque::new(),
        }
    }

    /// The znodes to delete now.
    pub(super) fn due(&mut self, now: Now, tree: &Tree) -> Vec<String> {
        let now_ms = now.monotonic_ms();
        if self.interval_ms > 0 && now_ms >= self.look_ms && self.candidates.is_empty() {
            self.look_ms = now_ms + self.interval_ms;
            self.look(now.wall_ms, tree);
            self.delete_ms = now_ms;
        }
        let mut due = Vec::new();
        while self.delete_ms <= now_ms {
            let Some(path) = self.candidates.pop_front() else { break };
            due.push(path);
            self.delete_ms = self.delete_ms.saturating_add(self.pace_ms);
        }
        due
    }

    fn look(&mut self, wall_ms: i64, tree: &Tree) {
        let never_used_ms = i64::try_from(self.never_used_ms).unwrap_or(i64::MAX);
        let containers = tree.containers().filter(|path| {
            childless(tree, path).is_some_and(|node| {
                let stat = node.persisted();
                // One that never had a child may be about to get its first.
                let unused_ms = wall_ms.saturating_sub(stat.mtime);
                stat.cversion > 0 || (never_used_ms != 0 && unused_ms > never_used_ms)
            })
        });
        self.candidates.extend(containers);
        let ttls = tree.ttls().filter(|(path, ttl_ms)| {
            *ttl_ms != 0
                && childless(tree, path)
                    .is_some_and(|node| wall_ms.saturating_sub(node.persisted().mtime) > *ttl_ms)
        });
        self.candidates.extend(ttls.map(|(path, _)| path));
    }
}

fn childless<'t>(tree: &'t Tree, path: &str) -> Option<Node<'t>> {
    tree.node(path).filter(|node| node.stat().num_children == 0)
}
