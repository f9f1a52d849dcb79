//! The state that shards read and the core writes, behind the lock that drivers hold.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use rookeeper_jute::Zxid;
use rookeeper_tree::{ChangeLog, Tree};

use crate::ids::ShardId;

/// The tree, what changed in it, and what shards and core tell each other by numbers alone.
#[derive(Debug)]
pub struct Shared {
    /// The replicated state.
    pub tree: Tree,
    /// What changed, for the shards' watchers.
    pub changes: ChangeLog,
    /// Digests of the past (four-letter word `hash`).
    pub digests: DigestLog,
    /// What is in flight.
    pub load: Load,
    views: Vec<ShardView>,
}

/// What is known of one shard.
#[derive(Debug)]
struct ShardView {
    /// Batches that applying made for it.
    sequence: u64,
    /// How far it has read the change log.
    cursor: AtomicU64,
    /// How many watches its connections have.
    watches: AtomicUsize,
    /// Where in the change log the first and the last of the watches begin that the core left for
    /// it and that it may not have heard of.
    pin_first: AtomicU64,
    pin_last: AtomicU64,
}

/// Of a shard without pins.
const NO_PIN: u64 = u64::MAX;

impl ShardView {
    fn new() -> Self {
        ShardView {
            sequence: 0,
            cursor: AtomicU64::new(0),
            watches: AtomicUsize::new(0),
            pin_first: AtomicU64::new(NO_PIN),
            pin_last: AtomicU64::new(0),
        }
    }

    /// Whether the shard wants to be told of changes.
    fn is_watching(&self) -> bool {
        self.watches.load(Relaxed) > 0 || self.pin_first.load(Relaxed) != NO_PIN
    }

    /// The oldest change that the shard needs; `None` if it needs none. A shard that has read
    /// beyond a pin has heard of its watch: it hears all that the core says first.
    fn needs(&mut self) -> Option<u64> {
        let cursor = *self.cursor.get_mut();
        if cursor > *self.pin_last.get_mut() {
            *self.pin_first.get_mut() = NO_PIN;
        }
        let watching = (*self.watches.get_mut() > 0).then_some(cursor);
        let pinned = Some(*self.pin_first.get_mut()).filter(|pin| *pin != NO_PIN);
        watching.into_iter().chain(pinned).min()
    }
}

/// Changes that wait for a shard to tell its watchers, above which nothing more is applied.
const CHANGES_KEPT_MAX: usize = 1 << 20;

impl Shared {
    /// Puts a recovered (or new) tree behind `shards` I/O threads.
    pub fn new(tree: Tree, shards: u16) -> Self {
        Shared {
            tree,
            changes: ChangeLog::default(),
            digests: DigestLog::default(),
            load: Load::default(),
            views: (0..shards).map(|_| ShardView::new()).collect(),
        }
    }

    /// Puts another tree in place of this one: the log was cut, or a snapshot of the leader's was
    /// installed. All clients were told to close before. What shards and core count by goes on.
    pub fn replace_tree(&mut self, tree: Tree) {
        self.tree = tree;
        self.digests = DigestLog::default();
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.views.len()).expect("made with that many")
    }

    /// Watches of all shards in both tables (metric `watch_count`).
    pub fn watch_count(&self) -> usize {
        self.views.iter().map(|view| view.watches.load(Relaxed)).sum()
    }

    /// The number of the next batch that applying makes for a shard.
    pub(crate) fn next_sequence(&mut self, shard: ShardId) -> u64 {
        let view = &mut self.views[shard.index()];
        view.sequence += 1;
        view.sequence
    }

    /// How many batches applying made for a shard.
    pub(crate) fn sequence(&self, shard: ShardId) -> u64 {
        self.views[shard.index()].sequence
    }

    /// A shard has read the change log up to `cursor` and has so many watches.
    pub(crate) fn publish(&self, shard: ShardId, cursor: u64, watches: usize) {
        let view = &self.views[shard.index()];
        view.cursor.store(cursor, Relaxed);
        view.watches.store(watches, Relaxed);
    }

    /// The shards that want to be told of changes.
    pub(crate) fn watching_shards(&self) -> impl Iterator<Item = ShardId> {
        let views = (0..).map(ShardId).zip(&self.views);
        views.filter(|(_, view)| view.is_watching()).map(|(id, _)| id)
    }

    /// The core leaves a watch for a shard at a place in the change log.
    pub(crate) fn pin(&self, shard: ShardId, position: u64) {
        let view = &self.views[shard.index()];
        view.pin_first.fetch_min(position, Relaxed);
        view.pin_last.fetch_max(position, Relaxed);
    }

    /// Whether a shard is so far behind with its events that no more is applied for now.
    pub(crate) fn changes_are_full(&self) -> bool {
        self.changes.len() >= CHANGES_KEPT_MAX
    }

    /// Forgets the changes that every watching shard has read.
    pub(crate) fn trim_changes(&mut self) {
        let mut before = self.changes.position();
        for view in &mut self.views {
            before = view.needs().map_or(before, |needed| before.min(needed));
        }
        self.changes.trim(before);
    }
}

/// What is in flight in the whole server. Shards add, the core takes away.
#[derive(Debug, Default)]
pub struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    large_bytes: AtomicUsize,
}

impl Load {
    /// Requests submitted and not answered yet.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Bytes of the large ones among them (Java: `currentLargeRequestBytes`).
    pub fn large_bytes(&self) -> usize {
        self.large_bytes.load(Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize, large: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        if large {
            self.large_bytes.fetch_add(bytes, Relaxed);
        }
    }

    pub(crate) fn remove(&self, bytes: usize, large: bool) {
        let requests = self.requests.fetch_sub(1, Relaxed);
        let before = self.bytes.fetch_sub(bytes, Relaxed);
        assert!(requests > 0 && before >= bytes, "a request leaves as often as it enters");
        if large {
            self.large_bytes.fetch_sub(bytes, Relaxed);
        }
    }
}

/// The digest of the tree at every 128th zxid, the last 1024 of them (Java: `DataTree.digestLog`).
#[derive(Debug, Default)]
pub struct DigestLog {
    entries: VecDeque<(Zxid, i64)>,
}

impl DigestLog {
    const INTERVAL: i64 = 128;
    const LIMIT: usize = 1024;

    /// The entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Zxid, i64)> {
        self.entries.iter().copied()
    }

    /// Takes note of the digest after a transaction, where that is due.
    pub(crate) fn applied(&mut self, zxid: Zxid, digest: impl FnOnce() -> i64) {
        if zxid.0 % Self::INTERVAL != 0 {
            return;
        }
        if self.entries.len() == Self::LIMIT {
            self.entries.pop_front();
        }
        self.entries.push_back((zxid, digest()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_log_keeps_the_last_1024_multiples_of_128() {
        let mut log = DigestLog::default();
        for zxid in 1..=128 * 1030 {
            log.applied(Zxid(zxid), || zxid * 3);
        }
        let entries: Vec<_> = log.iter().collect();
        assert_eq!(entries.len(), 1024);
        assert_eq!(entries[0], (Zxid(128 * 7), 128 * 21));
        assert_eq!(entries[1023].0, Zxid(128 * 1030));
    }
}
