//! The watches of one shard's connections: who wants to know about which path, and who is told
//! when a znode changes.
//!
//! Two tables, as in Java (`DataTree.dataWatches`, `DataTree.childWatches`): getData, exists,
//! persistent and persistent recursive watches stand in the data table; getChildren and persistent
//! watches in the child table. A connection stands at most once at a path of a table, with one
//! bit for each mode (`WatchStats`), so that modes coexist and are removed one by one.
//!
//! Java's rules that this module keeps (`WatchManager`, `DataTree`):
//! - a connection gets at most one event from one trigger of a table, however many of its
//!   recursive watches on ancestors match;
//! - every watcher at the changed path itself is told, and loses its standard bit; at ancestors
//!   only recursive ones are;
//! - a delete triggers data and child table of the path, but a connection that the data table
//!   told is not told again; its child watch is used up all the same;
//! - a connection stays listed as a watching one after its last one-shot data watch fired, until
//!   it closes or removes its last data watch itself.
//!
//! # Layout
//! - [`WatchTable`]: add, remove, ask, trigger, restore after a reconnect
//! - `store`: interned paths, connections and watches as intrusive lists in slabs: about 40 bytes
//!   a watch, removal of a connection in time proportional to its watches
//! - [`report`]: counts and listings for four-letter words and metrics
//! - `slab`: entries by 32-bit index

pub mod report;
mod slab;
mod store;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use rookeeper_jute::Zxid;

pub use report::WatchSummary;
use slab::NIL;
use store::{PERSISTENT, RECURSIVE, STANDARD, Store, Table};

/// What a watch event says (Java: `Watcher.Event.EventType`), with the number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// The znode was created.
    NodeCreated = 1,
    /// The znode was deleted.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

/// A one-shot watch left by a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneShot {
    /// By getData and exists.
    Data,
    /// By getChildren.
    Child,
}

/// The mode of addWatch (Java: `ZooDefs.AddWatchModes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddWatchMode {
    /// All events of one path, until removed.
    Persistent,
    /// Created, deleted and data-changed events of a path and all below it.
    PersistentRecursive,
}

impl AddWatchMode {
    /// The mode of a number on the wire; Java refuses others.
    pub fn from_i32(mode: i32) -> Option<Self> {
        match mode {
            0 => Some(AddWatchMode::Persistent),
            1 => Some(AddWatchMode::PersistentRecursive),
            _ => None,
        }
    }
}

/// Which watches checkWatches and removeWatches mean (Java: `Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherType {
    /// One-shot child watches.
    Children,
    /// One-shot data watches.
    Data,
    /// Every mode in both tables.
    Any,
    /// Persistent watches.
    Persistent,
    /// Persistent recursive watches.
    PersistentRecursive,
}

impl WatcherType {
    /// The type of a number on the wire; Java answers others with MarshallingError.
    pub fn from_i32(value: i32) -> Option<Self> {
        Some(match value {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return None,
        })
    }
}

/// What happened to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// The list of setWatches that a path stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// Watches by getData, and by exists on a znode that existed.
    Data,
    /// Watches by exists on a znode that did not exist.
    Exist,
    /// Watches by getChildren.
    Child,
}

/// The zxids that setWatches compares with the client's last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeZxids {
    /// When the data was last set.
    pub mzxid: Zxid,
    /// When a child was last created or deleted.
    pub pzxid: Zxid,
}

/// Takes the events of a trigger. `begin` comes once before all deliveries of an event that
/// anybody watches, so that an event is encoded once.
pub trait WatchSink<K> {
    /// The event that the following deliveries are of. The ACL to check is the parent's for
    /// [`EventKind::NodeChildrenChanged`] and the znode's own otherwise.
    fn begin(&mut self, kind: EventKind, path: &str);
    /// One connection to tell, once an event.
    fn deliver(&mut self, connection: K);
}

/// All watches of one shard.
#[derive(Debug)]
pub struct WatchTable<K> {
    store: Store<K>,
    /// Number of the last event triggered; connections told of it carry it.
    stamp: u64,
}

impl<K: Copy + Eq + Hash> WatchTable<K> {
    /// An empty table. `seed` keys the hashes, so that clients cannot choose paths that collide.
    pub fn new(seed: u64) -> Self {
        WatchTable { store: Store::new(seed), stamp: 0 }
    }

    /// Leaves a one-shot watch; a second one at the same path changes nothing.
    pub fn add(&mut self, connection: K, path: &str, watch: OneShot) {
        let table = match watch {
            OneShot::Data => Table::Data,
            OneShot::Child => Table::Child,
        };
        self.store.add(connection, path, table, STANDARD);
    }

    /// Leaves a persistent or persistent recursive watch (Java: `DataTree.addWatch`).
    pub fn add_mode(&mut self, connection: K, path: &str, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => {
                self.store.add(connection, path, Table::Data, PERSISTENT);
                self.store.add(connection, path, Table::Child, PERSISTENT);
            }
            AddWatchMode::PersistentRecursive => {
                self.store.add(connection, path, Table::Data, RECURSIVE);
            }
        }
    }

    /// Whether the connection has such a watch at the path (Java: `DataTree.containsWatcher`).
    pub fn contains(&self, connection: K, path: &str, watches: WatcherType) -> bool {
        let modes = |table| self.store.modes(connection, path, table);
        match watches {
            WatcherType::Children => modes(Table::Child) & STANDARD != 0,
            WatcherType::Data => modes(Table::Data) & STANDARD != 0,
            WatcherType::Persistent => modes(Table::Data) & PERSISTENT != 0,
            WatcherType::PersistentRecursive => modes(Table::Data) & RECURSIVE != 0,
            WatcherType::Any => modes(Table::Child) != 0 || modes(Table::Data) != 0,
        }
    }

    /// Removes such watches of the connection at the path and says whether there were any
    /// (Java: `DataTree.removeWatch`).
    pub fn remove(&mut self, connection: K, path: &str, watches: WatcherType) -> bool {
        let all = STANDARD | PERSISTENT | RECURSIVE;
        let (child, data) = match watches {
            WatcherType::Children => (STANDARD, 0),
            WatcherType::Data => (0, STANDARD),
            WatcherType::Persistent => (PERSISTENT, PERSISTENT),
            WatcherType::PersistentRecursive => (0, RECURSIVE),
            WatcherType::Any => (all, all),
        };
        let child = child != 0 && self.store.remove(connection, path, Table::Child, child);
        let data = data != 0 && self.store.remove(connection, path, Table::Data, data);
        child || data
    }

    /// Forgets a connection and all its watches, in time proportional to their number.
    pub fn remove_connection(&mut self, connection: K) {
        self.store.remove_connection(connection);
    }

    /// Tells the watchers of a change, in Java's order: the znode's own watchers first, then those
    /// of its parent's children.
    pub fn trigger(&mut self, change: Trigger, path: &str, sink: &mut impl WatchSink<K>) {
        if self.store.is_empty() {
            return;
        }
        match change {
            Trigger::DataChanged => self.fire(Table::Data, EventKind::NodeDataChanged, path, sink),
            Trigger::Created => {
                self.fire(Table::Data, EventKind::NodeCreated, path, sink);
                self.fire_parent(path, sink);
            }
            Trigger::Deleted => {
                self.fire(Table::Data, EventKind::NodeDeleted, path, sink);
                // The same stamp: whom the data table told is not told again.
                self.fire_stamped(Table::Child, EventKind::NodeDeleted, path, sink);
                self.fire_parent(path, sink);
            }
        }
    }

    /// Sets a one-shot watch again after a reconnect, or returns the event that was missed
    /// meanwhile (Java: `DataTree.setWatches`). `node` is the znode as it is now. The event goes
    /// to this connection alone, with zxid -1 and without a check of the ACL.
    pub fn restore(
        &mut self,
        connection: K,
        path: &str,
        list: Restore,
        relative_zxid: Zxid,
        node: Option<NodeZxids>,
    ) -> Option<EventKind> {
        let watch = match (list, node) {
            (Restore::Data | Restore::Child, None) => return Some(EventKind::NodeDeleted),
            (Restore::Data, Some(node)) if node.mzxid > relative_zxid => {
                return Some(EventKind::NodeDataChanged);
            }
            (Restore::Child, Some(node)) if node.pzxid > relative_zxid => {
                return Some(EventKind::NodeChildrenChanged);
            }
            (Restore::Exist, Some(_)) => return Some(EventKind::NodeCreated),
            (Restore::Data, Some(_)) | (Restore::Exist, None) => OneShot::Data,
            (Restore::Child, Some(_)) => OneShot::Child,
        };
        self.add(connection, path, watch);
        None
    }

    fn fire_parent(&mut self, path: &str, sink: &mut impl WatchSink<K>) {
        if let Some(parent) = parent(path) {
            self.fire(Table::Child, EventKind::NodeChildrenChanged, parent, sink);
        }
    }

    fn fire(&mut self, table: Table, kind: EventKind, path: &str, sink: &mut impl WatchSink<K>) {
        self.stamp += 1;
        self.fire_stamped(table, kind, path, sink);
    }

    /// Tells each connection that does not carry the current stamp yet.
    fn fire_stamped(
        &mut self,
        table: Table,
        kind: EventKind,
        path: &str,
        sink: &mut impl WatchSink<K>,
    ) {
        let mut event = Some((kind, path));
        let mut tell = |connection: K| {
            if let Some((kind, path)) = event.take() {
                sink.begin(kind, path);
            }
            sink.deliver(connection);
        };
        if let Some(id) = self.store.path_id(path) {
            let mut watch = self.store.first(id, table);
            while watch != NIL {
                let next = self.store.next(watch);
                if let Some(connection) = self.store.stamp(watch, self.stamp) {
                    tell(connection);
                }
                self.store.use_up(watch);
                watch = next;
            }
        }
        if table == Table::Child || self.store.recursive_len() == 0 {
            return;
        }
        for ancestor in ancestors(path) {
            let Some(id) = self.store.path_id(ancestor) else { continue };
            // Recursive watches stand at the front of a path's list.
            let mut watch = self.store.first(id, table);
            while watch != NIL && self.store.is_recursive(watch) {
                if let Some(connection) = self.store.stamp(watch, self.stamp) {
                    tell(connection);
                }
                watch = self.store.next(watch);
            }
        }
    }
}

/// The parent's path, `None` for the root.
fn parent(path: &str) -> Option<&str> {
    if path == "/" {
        return None;
    }
    match path.rfind('/') {
        Some(0) => Some("/"),
        Some(slash) => Some(&path[..slash]),
        None => None,
    }
}

/// The paths above a path, nearest first (Java: `PathParentIterator`).
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |path| parent(path))
}
