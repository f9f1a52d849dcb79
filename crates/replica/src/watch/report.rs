//! Counts and listings of watches (Java: `DataTree.getWatchCount`, `dumpWatches`,
//! `dumpWatchesSummary`). All but [`WatchTable::len`] speak of the data table alone, as Java's do.

use std::hash::Hash;

use super::WatchTable;
use super::store::Table;

/// The counts of wchs, of one shard. Connections and watches of several shards add up; paths do
/// not, since two shards may watch the same path: count those of [`WatchTable::paths`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchSummary {
    /// Connections that have, or had, data watches.
    pub connections: usize,
    /// Paths with data watches.
    pub paths: usize,
    /// Pairs of connection and path.
    pub watches: usize,
}

impl<K: Copy + Eq + Hash> WatchTable<K> {
    /// Watches in both tables, one for each connection at each path (Java: `watch_count`).
    pub fn len(&self) -> usize {
        self.store.len(Table::Data) + self.store.len(Table::Child)
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The counts of wchs.
    pub fn summary(&self) -> WatchSummary {
        WatchSummary {
            connections: self.store.listed_len(),
            paths: self.store.paths_len(Table::Data),
            watches: self.store.len(Table::Data),
        }
    }

    /// Paths with data watches, each once.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.store.data_paths()
    }

    /// Data watches from a place on, each with its connection, out of at most `len` places; and
    /// where to go on. What changes between two slices may be missed or stand twice.
    pub fn slice(&self, from: u32, len: usize) -> (impl Iterator<Item = (K, &str)>, Option<u32>) {
        self.store.data_slice(from, len)
    }

    /// Connections that have, or had, data watches, in slices as those of [`WatchTable::slice`].
    pub fn connections_slice(
        &self,
        from: u32,
        len: usize,
    ) -> (impl Iterator<Item = K>, Option<u32>) {
        self.store.listed_slice(from, len)
    }
}
