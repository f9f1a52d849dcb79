//! What changed in the tree, in order, for those who tell watchers: written once by apply, read by
//! every shard at its own pace.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::Zxid;

use crate::acls::AclList;

/// Size of one chunk of path text, in bytes; a longer path has a chunk of its own.
const CHUNK_LEN: usize = 64 * 1024;

/// What happened to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created: its parent's children changed as well.
    Created,
    /// It was deleted: its parent's children changed as well.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// One change of one znode.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// The znode.
    pub path: &'a str,
    /// The transaction that did it.
    pub zxid: Zxid,
    /// The znode's access control list at that time; `None` where it is open to all.
    pub acl: Option<&'a Arc<AclList>>,
    /// Likewise its parent's.
    pub parent_acl: Option<&'a Arc<AclList>>,
}

#[derive(Debug)]
struct Entry {
    kind: ChangeKind,
    zxid: Zxid,
    /// Number of the chunk that holds the path, counted since the log was made.
    chunk: u64,
    start: usize,
    len: usize,
    acl: Option<Arc<AclList>>,
    parent_acl: Option<Arc<AclList>>,
}

/// An arena of changes. Positions only grow: the first change ever has position 0. Whoever applies
/// keeps it bounded, by trimming what every reader has seen and waiting for slow ones.
#[derive(Debug, Default)]
pub struct ChangeLog {
    entries: VecDeque<Entry>,
    /// Position of the first entry that is still here.
    first: u64,
    chunks: VecDeque<String>,
    first_chunk: u64,
    text_len: usize,
}

impl ChangeLog {
    /// An empty log at position 0.
    pub fn new() -> Self {
        ChangeLog::default()
    }

    /// The position of the next change: whoever has read up to here has read all.
    pub fn position(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The position of the oldest change that is still here.
    pub fn first_position(&self) -> u64 {
        self.first
    }

    /// How many changes are here.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes of paths are here.
    pub fn text_len(&self) -> usize {
        self.text_len
    }

    /// Appends a change.
    pub fn push(
        &mut self,
        kind: ChangeKind,
        path: &str,
        zxid: Zxid,
        acl: Option<Arc<AclList>>,
        parent_acl: Option<Arc<AclList>>,
    ) {
        let fits = |chunk: &String| chunk.capacity() - chunk.len() >= path.len();
        if !self.chunks.back().is_some_and(fits) {
            self.chunks.push_back(String::with_capacity(path.len().max(CHUNK_LEN)));
        }
        let chunk = self.chunks.back_mut().expect("a chunk was just made where none fitted");
        let start = chunk.len();
        chunk.push_str(path);
        self.text_len += path.len();
        let chunk = self.first_chunk + self.chunks.len() as u64 - 1;
        self.entries.push_back(Entry {
            kind,
            zxid,
            chunk,
            start,
            len: path.len(),
            acl,
            parent_acl,
        });
    }

    /// The changes from `position` on, in order.
    ///
    /// # Panics
    /// If some of them were trimmed already: a reader holds its position until it has read on.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = Change<'_>> {
        assert!(position >= self.first, "changes from {position} on were trimmed");
        let skip = usize::try_from(position - self.first).unwrap_or(usize::MAX);
        let start = skip.min(self.entries.len());
        self.entries.range(start..).map(|entry| self.change(entry))
    }

    /// Forgets the changes before `position`.
    pub fn trim(&mut self, before: u64) {
        while self.first < before {
            let Some(entry) = self.entries.pop_front() else { break };
            self.first += 1;
            self.text_len -= entry.len;
        }
        let needed = self.entries.front().map(|entry| entry.chunk);
        let last = self.first_chunk + self.chunks.len() as u64;
        let needed = needed.unwrap_or_else(|| last.saturating_sub(1));
        while self.first_chunk < needed && self.chunks.pop_front().is_some() {
            self.first_chunk += 1;
        }
        if self.entries.is_empty() {
            self.reuse_last_chunk();
        }
    }

    fn reuse_last_chunk(&mut self) {
        let Some(chunk) = self.chunks.back_mut() else { return };
        chunk.clear();
        if chunk.capacity() > 2 * CHUNK_LEN {
            chunk.shrink_to(CHUNK_LEN);
        }
    }

    fn change<'a>(&'a self, entry: &'a Entry) -> Change<'a> {
        let chunk = usize::try_from(entry.chunk - self.first_chunk).expect("chunks are in memory");
        let path = &self.chunks[chunk][entry.start..entry.start + entry.len];
        Change {
            kind: entry.kind,
            path,
            zxid: entry.zxid,
            acl: entry.acl.as_ref(),
            parent_acl: entry.parent_acl.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut ChangeLog, path: &str, zxid: i64) {
        log.push(ChangeKind::Created, path, Zxid(zxid), None, None);
    }

    #[test]
    fn positions_grow_over_trims_and_chunks() {
        let mut log = ChangeLog::new();
        let long = format!("/{}", "x".repeat(40_000));
        for zxid in 0..10u64 {
            assert_eq!(log.position(), 2 * zxid);
            push(&mut log, &long, zxid as i64);
            push(&mut log, "/short", zxid as i64);
            let read: Vec<_> = log.iter_from(2 * zxid).map(|change| change.path).collect();
            assert_eq!(read, [long.as_str(), "/short"]);
            log.trim(2 * zxid + 1);
            assert_eq!((log.first_position(), log.len()), (2 * zxid + 1, 1));
        }
    }

    #[test]
    fn what_was_read_is_forgotten_and_memory_stays_flat() {
        let mut log = ChangeLog::new();
        for zxid in 0..200_000 {
            push(&mut log, "/some/path/of/a/znode", zxid);
            if zxid % 1000 == 999 {
                let read = log.iter_from(log.position() - 1000).count();
                assert_eq!(read, 1000);
                log.trim(log.position() - 10);
            }
        }
        assert_eq!((log.len(), log.position(), log.text_len()), (10, 200_000, 210));
        assert!(log.chunks.len() <= 2);
        let last = log.iter_from(199_999).next().expect("the last change");
        assert_eq!((last.path, last.zxid), ("/some/path/of/a/znode", Zxid(199_999)));
        log.trim(u64::MAX);
        assert_eq!((log.len(), log.text_len(), log.position()), (0, 0, 200_000));
        push(&mut log, "/after", 1);
        assert_eq!(log.iter_from(200_000).next().expect("pushed").path, "/after");
    }
}
