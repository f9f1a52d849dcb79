//! Where watches stand: paths are interned, a watch is one record in the list of its path (one
//! list a table) and in the list of its connection. Recursive watches stand at the front of a
//! path's list, so that a change below it does not walk the others.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::slab::{NIL, Slab};

pub(super) const STANDARD: u8 = 1;
pub(super) const PERSISTENT: u8 = 2;
pub(super) const RECURSIVE: u8 = 4;

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Data = 0,
    Child = 1,
}

#[derive(Debug)]
pub(super) struct PathEntry {
    pub(super) path: Box<str>,
    heads: [u32; 2],
    tails: [u32; 2],
}

#[derive(Debug)]
pub(super) struct ConnectionEntry<K> {
    key: Option<K>,
    head: u32,
    /// How many data watches it has.
    pub(super) data_len: u32,
    /// Whether Java's data table has an entry for it, perhaps an empty one.
    pub(super) listed: bool,
    stamp: u64,
}

impl<K> ConnectionEntry<K> {
    fn vacant() -> Self {
        ConnectionEntry { key: None, head: NIL, data_len: 0, listed: false, stamp: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Watch {
    connection: u32,
    path: u32,
    path_prev: u32,
    path_next: u32,
    connection_prev: u32,
    connection_next: u32,
    table: Table,
    modes: u8,
}

const VACANT: Watch = Watch {
    connection: NIL,
    path: NIL,
    path_prev: NIL,
    path_next: NIL,
    connection_prev: NIL,
    connection_next: NIL,
    table: Table::Data,
    modes: 0,
};

#[derive(Debug)]
pub(super) struct Store<K> {
    hasher: FixedState,
    paths: Slab<PathEntry>,
    connections: Slab<ConnectionEntry<K>>,
    watches: Slab<Watch>,
    path_index: HashTable<u32>,
    connection_index: HashTable<u32>,
    watch_index: HashTable<u32>,
    /// Watches in the data and in the child table.
    lens: [usize; 2],
    /// Paths with watches in the data and in the child table.
    path_lens: [usize; 2],
    listed_len: usize,
    recursive_len: usize,
}

impl<K: Copy + Eq + Hash> Store<K> {
    pub(super) fn new(seed: u64) -> Self {
        Store {
            hasher: FixedState::with_seed(seed),
            paths: Slab::new(),
            connections: Slab::new(),
            watches: Slab::new(),
            path_index: HashTable::new(),
            connection_index: HashTable::new(),
            watch_index: HashTable::new(),
            lens: [0; 2],
            path_lens: [0; 2],
            listed_len: 0,
            recursive_len: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watch_index.is_empty()
    }

    pub(super) fn len(&self, table: Table) -> usize {
        self.lens[table as usize]
    }

    pub(super) fn paths_len(&self, table: Table) -> usize {
        self.path_lens[table as usize]
    }

    pub(super) fn listed_len(&self) -> usize {
        self.listed_len
    }

    pub(super) fn recursive_len(&self) -> usize {
        self.recursive_len
    }

    pub(super) fn path_id(&self, path: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(path);
        self.path_index.find(hash, |id| &*self.paths[*id].path == path).copied()
    }

    fn connection_id(&self, key: K) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.connection_index.find(hash, |id| self.connections[*id].key == Some(key)).copied()
    }

    fn watch_id(&self, connection: u32, path: u32, table: Table) -> Option<u32> {
        let hash = watch_hash(&self.hasher, connection, path, table);
        let same = |id: &u32| {
            let watch = &self.watches[*id];
            (watch.connection, watch.path, watch.table) == (connection, path, table)
        };
        self.watch_index.find(hash, same).copied()
    }

    fn find(&self, key: K, path: &str, table: Table) -> Option<u32> {
        self.watch_id(self.connection_id(key)?, self.path_id(path)?, table)
    }

    /// The modes of a connection at a path, 0 for none.
    pub(super) fn modes(&self, key: K, path: &str, table: Table) -> u8 {
        self.find(key, path, table).map_or(0, |watch| self.watches[watch].modes)
    }

    pub(super) fn first(&self, path: u32, table: Table) -> u32 {
        self.paths[path].heads[table as usize]
    }

    pub(super) fn next(&self, watch: u32) -> u32 {
        self.watches[watch].path_next
    }

    pub(super) fn is_recursive(&self, watch: u32) -> bool {
        self.watches[watch].modes & RECURSIVE != 0
    }

    /// Marks the watch's connection; returns it unless it was marked with this stamp before.
    pub(super) fn stamp(&mut self, watch: u32, stamp: u64) -> Option<K> {
        let connection = &mut self.connections[self.watches[watch].connection];
        if connection.stamp == stamp {
            return None;
        }
        connection.stamp = stamp;
        connection.key
    }

    /// Takes the standard mode from a watch that fired; its connection stays listed.
    pub(super) fn use_up(&mut self, watch: u32) {
        self.watches[watch].modes &= !STANDARD;
        if self.watches[watch].modes == 0 {
            self.unlink(watch);
        }
    }

    pub(super) fn add(&mut self, key: K, path: &str, table: Table, mode: u8) {
        let connection = self.connection_id(key).unwrap_or_else(|| self.insert_connection(key));
        let path = self.path_id(path).unwrap_or_else(|| self.insert_path(path));
        if table == Table::Data && !self.connections[connection].listed {
            self.connections[connection].listed = true;
            self.listed_len += 1;
        }
        let Some(watch) = self.watch_id(connection, path, table) else {
            self.insert_watch(connection, path, table, mode);
            return;
        };
        let modes = self.watches[watch].modes;
        self.watches[watch].modes = modes | mode;
        if mode == RECURSIVE && modes & RECURSIVE == 0 {
            self.recursive_len += 1;
            self.unlink_from_path(watch);
            self.link_to_path(watch);
        }
    }

    /// Removes modes at the client's wish and says whether any was there.
    pub(super) fn remove(&mut self, key: K, path: &str, table: Table, modes: u8) -> bool {
        let Some(watch) = self.find(key, path, table) else { return false };
        let connection = self.watches[watch].connection;
        let before = self.watches[watch].modes;
        if before & modes == 0 {
            return false;
        }
        if before & !modes == 0 {
            self.unlink(watch);
            if table == Table::Data && self.connections[connection].data_len == 0 {
                self.connections[connection].listed = false;
                self.listed_len -= 1;
            }
            self.drop_connection_if_empty(connection);
            return true;
        }
        self.watches[watch].modes = before & !modes;
        if before & modes & RECURSIVE != 0 {
            self.recursive_len -= 1;
            self.unlink_from_path(watch);
            self.link_to_path(watch);
        }
        true
    }

    pub(super) fn remove_connection(&mut self, key: K) {
        let Some(connection) = self.connection_id(key) else { return };
        let mut watch = self.connections[connection].head;
        while watch != NIL {
            let next = self.watches[watch].connection_next;
            self.unlink(watch);
            watch = next;
        }
        if self.connections[connection].listed {
            self.connections[connection].listed = false;
            self.listed_len -= 1;
        }
        self.drop_connection_if_empty(connection);
    }

    /// Paths with data watches, in no particular order that lasts.
    pub(super) fn data_paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.path_index.iter().map(|id| &self.paths[*id]);
        paths.filter(|entry| entry.heads[Table::Data as usize] != NIL).map(|entry| &*entry.path)
    }

    /// Data watches from a place on, of at most `len` places, and the next place.
    pub(super) fn data_slice(
        &self,
        from: u32,
        len: usize,
    ) -> (impl Iterator<Item = (K, &str)>, Option<u32>) {
        let (watches, next) = self.watches.slice(from, len);
        let pair = |watch: &Watch| {
            let stands = watch.connection != NIL && watch.table == Table::Data;
            let key = stands.then(|| self.connections[watch.connection].key)??;
            Some((key, &*self.paths[watch.path].path))
        };
        (watches.iter().filter_map(pair), next)
    }

    /// Listed connections from a place on, of at most `len` places, and the next place.
    pub(super) fn listed_slice(
        &self,
        from: u32,
        len: usize,
    ) -> (impl Iterator<Item = K>, Option<u32>) {
        let (connections, next) = self.connections.slice(from, len);
        (connections.iter().filter_map(|entry| entry.key.filter(|_| entry.listed)), next)
    }

    fn insert_connection(&mut self, key: K) -> u32 {
        let entry = ConnectionEntry { key: Some(key), ..ConnectionEntry::vacant() };
        let id = self.connections.insert(entry);
        let Store { connection_index, connections, hasher, .. } = self;
        let rehash = |id: &u32| hasher.hash_one(connections[*id].key.expect("indexed ones live"));
        connection_index.insert_unique(hasher.hash_one(key), id, rehash);
        id
    }

    fn insert_path(&mut self, path: &str) -> u32 {
        let entry = PathEntry { path: path.into(), heads: [NIL; 2], tails: [NIL; 2] };
        let id = self.paths.insert(entry);
        let Store { path_index, paths, hasher, .. } = self;
        let rehash = |id: &u32| hasher.hash_one(&*paths[*id].path);
        path_index.insert_unique(hasher.hash_one(path), id, rehash);
        id
    }

    fn insert_watch(&mut self, connection: u32, path: u32, table: Table, mode: u8) {
        let connection_next = self.connections[connection].head;
        let watch = Watch { connection, path, connection_next, table, modes: mode, ..VACANT };
        let id = self.watches.insert(watch);
        if connection_next != NIL {
            self.watches[connection_next].connection_prev = id;
        }
        self.connections[connection].head = id;
        self.connections[connection].data_len += u32::from(table == Table::Data);
        self.recursive_len += usize::from(mode == RECURSIVE);
        self.lens[table as usize] += 1;
        self.path_lens[table as usize] += usize::from(self.first(path, table) == NIL);
        self.link_to_path(id);
        let Store { watch_index, watches, hasher, .. } = self;
        let rehash = |id: &u32| {
            let watch = &watches[*id];
            watch_hash(hasher, watch.connection, watch.path, watch.table)
        };
        watch_index.insert_unique(watch_hash(hasher, connection, path, table), id, rehash);
    }

    /// Takes a watch out of index and lists; its path goes with the last watch, its connection
    /// stays.
    fn unlink(&mut self, id: u32) {
        let watch = self.watches[id];
        let hash = watch_hash(&self.hasher, watch.connection, watch.path, watch.table);
        let entry = self.watch_index.find_entry(hash, |other| *other == id);
        entry.expect("every linked watch is indexed").remove();
        self.unlink_from_path(id);
        if watch.connection_prev == NIL {
            self.connections[watch.connection].head = watch.connection_next;
        } else {
            self.watches[watch.connection_prev].connection_next = watch.connection_next;
        }
        if watch.connection_next != NIL {
            self.watches[watch.connection_next].connection_prev = watch.connection_prev;
        }
        self.connections[watch.connection].data_len -= u32::from(watch.table == Table::Data);
        self.recursive_len -= usize::from(watch.modes & RECURSIVE != 0);
        self.lens[watch.table as usize] -= 1;
        self.path_lens[watch.table as usize] -=
            usize::from(self.first(watch.path, watch.table) == NIL);
        self.watches.remove(id, VACANT);
        if self.paths[watch.path].heads == [NIL; 2] {
            self.drop_path(watch.path);
        }
        if self.watch_index.is_empty() {
            self.watch_index = HashTable::new();
            self.path_index = HashTable::new();
        }
    }

    fn drop_path(&mut self, id: u32) {
        let hash = self.hasher.hash_one(&*self.paths[id].path);
        let entry = self.path_index.find_entry(hash, |other| *other == id);
        entry.expect("every path is indexed").remove();
        let vacant = PathEntry { path: "".into(), heads: [NIL; 2], tails: [NIL; 2] };
        self.paths.remove(id, vacant);
    }

    fn drop_connection_if_empty(&mut self, id: u32) {
        let entry = &self.connections[id];
        if entry.listed || entry.head != NIL {
            return;
        }
        let hash = self.hasher.hash_one(entry.key.expect("indexed ones live"));
        let entry = self.connection_index.find_entry(hash, |other| *other == id);
        entry.expect("every connection is indexed").remove();
        self.connections.remove(id, ConnectionEntry::vacant());
    }

    /// Puts a watch into its path's list: recursive ones to the front, others to the back.
    fn link_to_path(&mut self, id: u32) {
        let Watch { path, table, modes, .. } = self.watches[id];
        let side = table as usize;
        let (prev, next) = if modes & RECURSIVE != 0 {
            (NIL, self.paths[path].heads[side])
        } else {
            (self.paths[path].tails[side], NIL)
        };
        self.watches[id].path_prev = prev;
        self.watches[id].path_next = next;
        match prev {
            NIL => self.paths[path].heads[side] = id,
            prev => self.watches[prev].path_next = id,
        }
        match next {
            NIL => self.paths[path].tails[side] = id,
            next => self.watches[next].path_prev = id,
        }
    }

    fn unlink_from_path(&mut self, id: u32) {
        let Watch { path, table, path_prev, path_next, .. } = self.watches[id];
        let side = table as usize;
        match path_prev {
            NIL => self.paths[path].heads[side] = path_next,
            prev => self.watches[prev].path_next = path_next,
        }
        match path_next {
            NIL => self.paths[path].tails[side] = path_prev,
            next => self.watches[next].path_prev = path_prev,
        }
    }
}

fn watch_hash(hasher: &FixedState, connection: u32, path: u32, table: Table) -> u64 {
    hasher.hash_one((u64::from(connection) << 32 | u64::from(path), table))
}
