//! The table of access control lists: each list is kept once, under a number that znodes and
//! snapshots carry (Java: `ReferenceCountedACLCache`).

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::data::perms;
use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Acl, Encode, Id};

/// The number of an access control list within one server's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclIndex(pub i64);

impl AclIndex {
    /// The list that is not in the table: all permissions to everyone, which is also what a null
    /// list means (Java: `OPEN_UNSAFE_ACL_ID`).
    pub const OPEN: AclIndex = AclIndex(-1);
}

/// An access control list that owns its strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclList {
    entries: Vec<Acl<'static>>,
}

impl AclList {
    /// A list of these entries, in this order.
    pub fn new<'a>(entries: impl IntoIterator<Item = Acl<'a>>) -> Self {
        AclList { entries: entries.into_iter().map(into_static).collect() }
    }

    /// All permissions to everyone (Java: `OPEN_ACL_UNSAFE`).
    pub fn open_unsafe() -> Self {
        AclList { entries: vec![Acl::open_unsafe()] }
    }

    /// Read permission to everyone (Java: `READ_ACL_UNSAFE`).
    pub fn read_unsafe() -> Self {
        AclList { entries: vec![Acl { perms: perms::READ, id: Id::new("world", "anyone") }] }
    }

    /// The entries in the order in which they were set.
    pub fn entries(&self) -> &[Acl<'static>] {
        &self.entries
    }
}

impl Encode for AclList {
    fn encode(&self, out: &mut Vec<u8>) {
        self.entries.encode(out);
    }
}

fn into_static(acl: Acl<'_>) -> Acl<'static> {
    let scheme = acl.id.scheme.map(|text| text.into_owned().into());
    let id = acl.id.id.map(|text| text.into_owned().into());
    Acl { perms: acl.perms, id: Id { scheme, id } }
}

#[derive(Debug)]
struct Entry {
    list: Arc<AclList>,
    usage: u64,
}

/// The lists in use. Numbers grow and are not used again, as in Java, so that a number in an old
/// log or snapshot never means another list.
#[derive(Debug, Default)]
pub struct AclTable {
    by_index: BTreeMap<AclIndex, Entry>,
    /// From a list's encoding to its number.
    by_list: BTreeMap<Box<[u8]>, AclIndex>,
    index_max: i64,
    /// The number acquired last.
    recent: Option<AclIndex>,
}

impl AclTable {
    /// An empty table.
    pub fn new() -> Self {
        AclTable::default()
    }

    /// The number of a list, which has one use more from now on; null is [`AclIndex::OPEN`]
    /// (Java: `convertAcls`).
    pub fn acquire(&mut self, acl: Option<&[Acl<'_>]>) -> AclIndex {
        let Some(acl) = acl else { return AclIndex::OPEN };
        // Most znodes have the list that the last one had.
        if let Some(recent) = self.recent
            && let Some(entry) = self.by_index.get_mut(&recent)
            && entry.list.entries() == acl
        {
            entry.usage += 1;
            return recent;
        }
        let index = self.acquire_by_encoding(acl);
        self.recent = Some(index);
        index
    }

    fn acquire_by_encoding(&mut self, acl: &[Acl<'_>]) -> AclIndex {
        let key = encoding(acl);
        if let Some(index) = self.by_list.get(key.as_slice()).copied() {
            self.add_usage(index);
            return index;
        }
        let index_max = self.index_max.checked_add(1).expect("lists are numbered up to 2^63");
        self.index_max = index_max;
        let index = AclIndex(index_max);
        let list = Arc::new(AclList::new(acl.iter().cloned()));
        self.by_index.insert(index, Entry { list, usage: 1 });
        self.by_list.insert(key.into(), index);
        index
    }

    /// One use more of a list that is in the table.
    pub fn add_usage(&mut self, index: AclIndex) {
        if let Some(entry) = self.by_index.get_mut(&index) {
            entry.usage += 1;
        }
    }

    /// One use less; a list without use leaves the table (Java: `removeUsage`).
    pub fn release(&mut self, index: AclIndex) {
        let Some(entry) = self.by_index.get_mut(&index) else { return };
        entry.usage = entry.usage.saturating_sub(1);
        if entry.usage == 0 {
            self.remove(index);
        }
    }

    /// The list of a number: `None` for [`AclIndex::OPEN`].
    ///
    /// # Panics
    /// If the number is not in the table: znodes hold numbers that they have acquired.
    pub fn get(&self, index: AclIndex) -> Option<&Arc<AclList>> {
        if index == AclIndex::OPEN {
            return None;
        }
        Some(&self.by_index.get(&index).expect("a znode's list is in the table").list)
    }

    /// Whether znodes may carry this number.
    pub fn contains(&self, index: AclIndex) -> bool {
        index == AclIndex::OPEN || self.by_index.contains_key(&index)
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.by_index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    /// Takes over a list from a snapshot, without uses. Where a snapshot has a list twice, new
    /// uses go to the later number, as in Java.
    pub(crate) fn load(&mut self, index: AclIndex, acl: &[Acl<'_>]) {
        if index == AclIndex::OPEN {
            return;
        }
        self.index_max = self.index_max.max(index.0);
        let list = Arc::new(AclList::new(acl.iter().cloned()));
        self.by_index.insert(index, Entry { list, usage: 0 });
        self.by_list.insert(encoding(acl).into(), index);
    }

    /// Takes note of a number that a snapshot's znode has and its table lacks, as happens in
    /// Java's fuzzy snapshots until the log has been replayed. Until then it permits nothing.
    pub(crate) fn load_missing(&mut self, index: AclIndex) {
        self.index_max = self.index_max.max(index.0);
        let nothing = Acl { perms: 0, id: Id::new("world", "anyone") };
        let list = Arc::new(AclList::new([nothing]));
        self.by_index.insert(index, Entry { list, usage: 0 });
    }

    /// Drops the lists that no znode uses (Java: `purgeUnused`).
    pub(crate) fn purge_unused(&mut self) {
        let unused = self.by_index.iter().filter(|(_, entry)| entry.usage == 0);
        let unused: Vec<AclIndex> = unused.map(|(index, _)| *index).collect();
        for index in unused {
            self.remove(index);
        }
    }

    /// The table as a snapshot has it: a count, then number and list of each.
    pub(crate) fn encode_snapshot(&self, out: &mut Vec<u8>) {
        encode_vector_len(self.by_index.len(), out);
        for (index, entry) in &self.by_index {
            index.0.encode(out);
            entry.list.encode(out);
        }
    }

    fn remove(&mut self, index: AclIndex) {
        let Some(entry) = self.by_index.remove(&index) else { return };
        let key = encoding(entry.list.entries());
        if self.by_list.get(key.as_slice()) == Some(&index) {
            self.by_list.remove(key.as_slice());
        }
    }
}

fn encoding(acl: &[Acl<'_>]) -> Vec<u8> {
    let mut key = Vec::new();
    encode_vector_len(acl.len(), &mut key);
    for entry in acl {
        entry.encode(&mut key);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_acl(id: &str) -> Acl<'_> {
        Acl { perms: perms::READ, id: Id::new("digest", id) }
    }

    #[test]
    fn equal_lists_share_a_number_and_numbers_are_not_used_again() {
        let mut table = AclTable::new();
        assert_eq!(table.acquire(None), AclIndex::OPEN);
        let first = table.acquire(Some(&[digest_acl("a:1")]));
        let second = table.acquire(Some(&[digest_acl("b:2")]));
        assert_eq!((first, second), (AclIndex(1), AclIndex(2)));
        assert_eq!(table.acquire(Some(&[digest_acl("a:1")])), first);
        table.release(first);
        assert!(table.contains(first));
        table.release(first);
        assert!(!table.contains(first));
        assert_eq!(table.acquire(Some(&[digest_acl("a:1")])), AclIndex(3));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn the_open_list_written_out_is_a_list_like_any_other() {
        let mut table = AclTable::new();
        let index = table.acquire(Some(&[Acl::open_unsafe()]));
        assert_eq!(index, AclIndex(1));
        assert_eq!(table.get(index).map(|list| list.entries()), Some(&[Acl::open_unsafe()][..]));
        assert_eq!(table.get(AclIndex::OPEN), None);
        assert_eq!(table.acquire(Some(&[])), AclIndex(2));
    }

    #[test]
    fn a_loaded_table_drops_what_no_znode_uses_and_numbers_on_from_the_largest() {
        let mut table = AclTable::new();
        table.load(AclIndex(7), &[digest_acl("a:1")]);
        table.load(AclIndex(4), &[digest_acl("b:2")]);
        table.load_missing(AclIndex(12));
        table.add_usage(AclIndex(4));
        table.add_usage(AclIndex(12));
        table.purge_unused();
        assert!(!table.contains(AclIndex(7)));
        assert_eq!(table.get(AclIndex(12)).expect("present").entries()[0].perms, 0);
        assert_eq!(table.acquire(Some(&[digest_acl("a:1")])), AclIndex(13));
        assert_eq!(table.acquire(Some(&[digest_acl("b:2")])), AclIndex(4));
    }
}
