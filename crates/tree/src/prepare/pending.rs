//! What was prepared and not yet applied, by path (Java: `outstandingChanges`,
//! `outstandingChangesForPath`).
//!
//! A path has one entry, its latest state; a queue of (zxid, hash) says when an entry may go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashTable;
use rookeeper_jute::{SessionId, StatPersisted, Zxid};

use crate::acls::{AclIndex, AclList};

/// A list of access rights of a znode that may not be in the tree yet.
#[derive(Debug, Clone)]
pub enum PendingAcl {
    /// Everything to everyone.
    Open,
    /// A list in the tree's table.
    Stored(AclIndex),
    /// A list that comes with a transaction not yet applied.
    New(Arc<AclList>),
}

/// A znode as it will be.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// The stat as stored.
    pub stat: StatPersisted,
    /// How many children it has.
    pub child_count: i64,
    /// Its access control list.
    pub acl: PendingAcl,
    /// Length of its data in bytes; 0 for null data.
    pub data_len: usize,
    /// CRC-32 of path and data, from which the digest goes on; of no meaning where digests are off.
    pub path_and_data_crc: u32,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    /// The last transaction that changed it.
    zxid: Zxid,
    path: Box<str>,
    /// `None`: deleted.
    state: Option<NodeState>,
}

/// What an entry was before a multi touched it.
#[derive(Debug)]
struct Undo {
    hash: u64,
    path: Box<str>,
    before: Option<(Zxid, Option<NodeState>)>,
}

/// A session's ephemerals whose creates are outstanding, so that its end looks at nobody else's:
/// a crowd that closes at once would look at all of the crowd each time.
#[derive(Debug, Default)]
struct Owned {
    /// Hashes of the paths, in the order of the creates.
    hashes: VecDeque<u64>,
    /// What they add to the list of all its ephemerals, in bytes.
    list_len: usize,
}

/// Which of a session's outstanding creates is forgotten.
#[derive(Debug, Clone, Copy)]
enum End {
    First,
    Last,
}

/// The changes, and the digest of the tree after the last of them.
#[derive(Debug, Default)]
pub struct PendingChanges {
    entries: HashTable<Entry>,
    queue: VecDeque<(Zxid, u64)>,
    digest: i64,
    undo: Option<Vec<Undo>>,
    digest_before: i64,
    owned: BTreeMap<SessionId, Owned>,
    /// Outstanding creates of ephemerals: zxid, owner, and what each adds in bytes.
    owned_queue: VecDeque<(Zxid, SessionId, usize)>,
}

impl PendingChanges {
    /// No changes.
    pub fn new() -> Self {
        PendingChanges::default()
    }

    /// How many changes are outstanding.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is outstanding.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The digest after the last change; `None` where the tree's own holds.
    pub fn digest(&self) -> Option<i64> {
        if self.is_empty() { None } else { Some(self.digest) }
    }

    /// The state of a path: `None` if the tree's own holds, `Some(None)` if it will be deleted.
    pub fn get(&self, hash: u64, path: &str) -> Option<Option<&NodeState>> {
        let entry = self.entries.find(hash, |entry| *entry.path == *path)?;
        Some(entry.state.as_ref())
    }

    /// Sets the state of a path and the digest of the tree that goes with it.
    pub fn set(
        &mut self,
        hash: u64,
        path: &str,
        zxid: Zxid,
        state: Option<NodeState>,
        digest: i64,
    ) {
        self.digest = digest;
        let Some(entry) = self.entries.find_mut(hash, |entry| *entry.path == *path) else {
            let path: Box<str> = path.into();
            if let Some(undo) = &mut self.undo {
                undo.push(Undo { hash, path: path.clone(), before: None });
            }
            let entry = Entry { hash, zxid, path, state };
            self.entries.insert_unique(hash, entry, |entry| entry.hash);
            self.queue.push_back((zxid, hash));
            return;
        };
        if entry.zxid == zxid {
            entry.state = state;
            return;
        }
        let before = std::mem::replace(&mut entry.state, state);
        if let Some(undo) = &mut self.undo {
            let before = Some((entry.zxid, before));
            undo.push(Undo { hash, path: entry.path.clone(), before });
        }
        entry.zxid = zxid;
        self.queue.push_back((zxid, hash));
    }

    /// Notes that a session will own one ephemeral more, at a path with this hash, which adds
    /// `list_len` bytes to the list of all its ephemerals.
    pub fn own(&mut self, session: SessionId, zxid: Zxid, hash: u64, list_len: usize) {
        let owned = self.owned.entry(session).or_default();
        owned.hashes.push_back(hash);
        owned.list_len += list_len;
        self.owned_queue.push_back((zxid, session, list_len));
    }

    /// What the pending ephemerals of a session add to the list of all its ephemerals, in bytes.
    pub fn owned_list_len(&self, session: SessionId) -> usize {
        self.owned.get(&session).map_or(0, |owned| owned.list_len)
    }

    fn disown(&mut self, session: SessionId, list_len: usize, end: End) {
        let Some(owned) = self.owned.get_mut(&session) else { return };
        match end {
            End::First => owned.hashes.pop_front(),
            End::Last => owned.hashes.pop_back(),
        };
        owned.list_len -= list_len;
        if owned.hashes.is_empty() {
            self.owned.remove(&session);
        }
    }

    /// From now on remembers what it takes to undo.
    pub fn begin(&mut self) {
        self.undo = Some(Vec::new());
        self.digest_before = self.digest;
    }

    /// Keeps what was done since [`PendingChanges::begin`].
    pub fn commit(&mut self) {
        self.undo = None;
    }

    /// Undoes what was done since [`PendingChanges::begin`], which was all done by `zxid`.
    pub fn roll_back(&mut self, zxid: Zxid) {
        let undo = self.undo.take().expect("a roll-back follows a begin");
        self.queue.truncate(self.queue.len() - undo.len());
        self.digest = self.digest_before;
        for Undo { hash, path, before } in undo.into_iter().rev() {
            let found = self.entries.find_entry(hash, |entry| entry.path == path);
            let Ok(mut found) = found else { panic!("what was done is there to be undone") };
            match before {
                Some((zxid, state)) => {
                    let entry = found.get_mut();
                    entry.zxid = zxid;
                    entry.state = state;
                }
                None => drop(found.remove()),
            }
        }
        while let Some((owned_by, session, list_len)) = self.owned_queue.back().copied() {
            if owned_by != zxid {
                break;
            }
            self.owned_queue.pop_back();
            self.disown(session, list_len, End::Last);
        }
    }

    /// Forgets the changes of transactions up to `zxid`.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some((changed_by, hash)) = self.queue.front().copied() {
            if changed_by > zxid {
                break;
            }
            self.queue.pop_front();
            let stale = |entry: &Entry| entry.hash == hash && entry.zxid == changed_by;
            if let Ok(found) = self.entries.find_entry(hash, stale) {
                found.remove();
            }
        }
        while let Some((owned_by, session, list_len)) = self.owned_queue.front().copied() {
            if owned_by > zxid {
                break;
            }
            self.owned_queue.pop_front();
            self.disown(session, list_len, End::First);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = PendingChanges::default();
    }

    /// Paths whose creates are outstanding and that will belong to `session`, in the order of the
    /// creates.
    pub fn owned_by(&self, session: SessionId) -> impl Iterator<Item = &str> {
        let hashes = self.owned.get(&session).into_iter().flat_map(|owned| &owned.hashes);
        let mut seen = BTreeSet::new();
        let paths = hashes.flat_map(move |hash| {
            let owns = move |entry: &&Entry| {
                let owner = entry.state.as_ref().map(|state| state.stat.ephemeral_owner);
                entry.hash == *hash && owner == Some(session.0)
            };
            self.entries.iter_hash(*hash).filter(owns).map(|entry| &*entry.path)
        });
        // A path that was deleted and created anew was created more than once.
        paths.filter(move |path| seen.insert(*path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(version: i32) -> Option<NodeState> {
        Some(NodeState {
            stat: StatPersisted { version, ..StatPersisted::default() },
            child_count: 0,
            acl: PendingAcl::Open,
            data_len: 0,
            path_and_data_crc: 0,
        })
    }

    fn version(pending: &PendingChanges, hash: u64, path: &str) -> Option<Option<i32>> {
        pending.get(hash, path).map(|state| state.map(|state| state.stat.version))
    }

    #[test]
    fn an_entry_goes_with_the_last_transaction_that_changed_it() {
        let mut pending = PendingChanges::new();
        pending.set(1, "/a", Zxid(1), state(1), 10);
        pending.set(1, "/b", Zxid(1), state(1), 20);
        pending.set(1, "/a", Zxid(2), None, 30);
        assert_eq!(version(&pending, 1, "/a"), Some(None));
        pending.applied(Zxid(1));
        assert_eq!(version(&pending, 1, "/a"), Some(None));
        assert_eq!(version(&pending, 1, "/b"), None);
        assert_eq!((pending.len(), pending.digest()), (1, Some(30)));
        pending.applied(Zxid(5));
        assert_eq!((pending.is_empty(), pending.digest()), (true, None));
        assert_eq!(version(&pending, 1, "/a"), None);
    }

    #[test]
    fn a_roll_back_restores_entries_queue_and_digest() {
        let mut pending = PendingChanges::new();
        pending.set(1, "/a", Zxid(1), state(1), 10);
        pending.own(SessionId(7), Zxid(1), 1, 100);
        pending.begin();
        pending.set(1, "/a", Zxid(2), state(2), 20);
        pending.set(1, "/a", Zxid(2), state(3), 30);
        pending.set(2, "/b", Zxid(2), state(4), 40);
        pending.own(SessionId(7), Zxid(2), 2, 11);
        assert_eq!(pending.owned_list_len(SessionId(7)), 111);
        pending.roll_back(Zxid(2));
        assert_eq!(version(&pending, 1, "/a"), Some(Some(1)));
        assert_eq!(version(&pending, 2, "/b"), None);
        assert_eq!((pending.len(), pending.digest()), (1, Some(10)));
        assert_eq!(pending.owned_list_len(SessionId(7)), 100);
        pending.applied(Zxid(1));
        assert!(pending.is_empty() && pending.owned.is_empty());
    }

    #[test]
    fn a_session_has_what_it_created_and_nothing_of_a_crowd() {
        let mut pending = PendingChanges::new();
        let ephemeral = |owner| {
            let mut state = state(1).expect("there");
            state.stat.ephemeral_owner = owner;
            Some(state)
        };
        let mut create = |owner: i64, zxid: i64, hash: u64, path: &str| {
            pending.own(SessionId(owner), Zxid(zxid), hash, 4);
            pending.set(hash, path, Zxid(zxid), ephemeral(owner), 0);
        };
        (10..1000).for_each(|other| create(other, other, other as u64, "/crowd"));
        create(7, 1000, 1, "/a");
        create(7, 1001, 2, "/b");
        // Another path with the same hash, and one that is created anew.
        create(7, 1002, 2, "/c");
        create(7, 1003, 1, "/a");
        pending.set(2, "/c", Zxid(1004), None, 0);
        assert_eq!(pending.owned[&SessionId(7)].hashes, [1, 2, 2, 1], "its own creates alone");
        let owned = |pending: &PendingChanges| {
            pending.owned_by(SessionId(7)).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(owned(&pending), ["/a", "/b"]);
        pending.applied(Zxid(1000));
        assert_eq!(owned(&pending), ["/b", "/a"]);
        pending.applied(Zxid(1004));
        assert!(owned(&pending).is_empty() && pending.owned.is_empty());
    }
}
