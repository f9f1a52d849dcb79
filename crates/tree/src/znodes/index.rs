//! From path to znode: the 128-bit keyed hash of a path, looked up in one of 256 tables, so that
//! a table that grows moves a small part of the whole.
//!
//! Two paths with one hash would be taken for one znode. With a key that clients do not know this
//! is as likely as guessing a session's password (2^-128 for each pair).

use hashbrown::HashTable;
use siphasher::sip128::SipHasher13;

/// How many tables there are; the lowest byte of the hash's second half picks one.
const TABLES: usize = 256;
/// Tables below this capacity are not made smaller again.
const CAPACITY_KEPT: usize = 64;

/// The hash of a path.
pub(super) type PathHash = [u64; 2];

/// Numbers of slots by the hash of the path.
#[derive(Debug)]
pub(super) struct Index {
    key: [u64; 2],
    tables: Vec<HashTable<u32>>,
    len: usize,
}

impl Index {
    /// An empty index under a key.
    pub(super) fn new(key: [u64; 2]) -> Self {
        let tables = std::iter::repeat_with(HashTable::new).take(TABLES).collect();
        Index { key, tables, len: 0 }
    }

    /// How many slots are in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The hash of a path; the root's path is the empty one.
    #[inline]
    pub(super) fn hash(&self, path: &[u8]) -> PathHash {
        let hash = SipHasher13::new_with_keys(self.key[0], self.key[1]).hash(path);
        [hash.h1, hash.h2]
    }

    /// The slot of a hash.
    #[inline]
    pub(super) fn find(&self, hash: PathHash, hash_of: impl Fn(u32) -> PathHash) -> Option<u32> {
        self.tables[table(hash)].find(hash[0], |slot| hash_of(*slot) == hash).copied()
    }

    /// Adds a slot whose hash is not there yet.
    pub(super) fn insert(&mut self, hash: PathHash, slot: u32, hash_of: impl Fn(u32) -> PathHash) {
        self.tables[table(hash)].insert_unique(hash[0], slot, |slot| hash_of(*slot)[0]);
        self.len += 1;
    }

    /// Takes a slot out, and gives memory back where most of a table is unused.
    pub(super) fn remove(&mut self, hash: PathHash, slot: u32, hash_of: impl Fn(u32) -> PathHash) {
        let table = &mut self.tables[table(hash)];
        let entry = table.find_entry(hash[0], |at| *at == slot);
        entry.expect("a live slot is in the index").remove();
        self.len -= 1;
        if table.capacity() > CAPACITY_KEPT && table.len() < table.capacity() / 8 {
            let capacity = table.len() * 2;
            table.shrink_to(capacity, |slot| hash_of(*slot)[0]);
        }
    }
}

#[inline]
fn table(hash: PathHash) -> usize {
    hash[1] as usize % TABLES
}
