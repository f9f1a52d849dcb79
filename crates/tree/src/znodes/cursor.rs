//! The walk of a snapshot over the znodes, while changes go on.
//!
//! The walk goes through the slots in order and writes each znode once, parents first. Before a
//! znode changes that is not written yet, it is written as it is, after those of its ancestors that
//! are not written yet; these bytes are the backlog, which the next step of the walk takes over
//! first. So all that is written is the tree as it was when the walk began.

use rookeeper_jute::Encode;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::wire::encode_str;

use super::blobs::Handle;
use super::{NodeId, Znodes};

/// Slots that one step looks at, so that a step over free or written slots ends too.
const STEP_SLOTS_MAX: u32 = 1 << 16;

/// A walk that has begun.
#[derive(Debug)]
pub(super) struct Cursor {
    /// One bit a slot: written, or not a part of the snapshot.
    written: Vec<u64>,
    /// Slots from here on were made after the walk began.
    end: u32,
    /// The slot to look at next.
    next: u32,
    /// Bytes that the next steps hand out first, from `backlog_start` on.
    backlog: Vec<u8>,
    backlog_start: usize,
}

impl Cursor {
    fn is_written(&self, slot: u32) -> bool {
        slot >= self.end || self.written[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    /// Leaves a slot out: a new znode has moved into it.
    pub(super) fn skip(&mut self, id: NodeId) {
        if id.0 < self.end {
            self.written[id.0 as usize / 64] |= 1 << (id.0 % 64);
        }
    }

    fn backlog_len(&self) -> usize {
        self.backlog.len() - self.backlog_start
    }

    /// Hands out up to `len_max` bytes of the backlog; whether it is empty now.
    fn drain(&mut self, len_max: usize, out: &mut Vec<u8>) -> bool {
        let len = self.backlog_len().min(len_max);
        out.extend_from_slice(&self.backlog[self.backlog_start..self.backlog_start + len]);
        self.backlog_start += len;
        if self.backlog_len() > 0 {
            return false;
        }
        self.backlog = Vec::new();
        self.backlog_start = 0;
        true
    }
}

/// A path of which the part up to the name stays for the next sibling.
#[derive(Default)]
struct PathCache {
    parent: Option<NodeId>,
    parent_len: usize,
    path: String,
}

impl Znodes {
    /// Begins a walk whose bytes start with `header`; one that was running is given up.
    pub(crate) fn begin_cursor(&mut self, header: Vec<u8>) {
        let end = self.slots.len();
        self.cursor = Some(Box::new(Cursor {
            written: vec![0; (end as usize).div_ceil(64)],
            end,
            next: 0,
            backlog: header,
            backlog_start: 0,
        }));
    }

    /// Whether a walk is running.
    pub(crate) fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// Hands out about `bytes_max` bytes more (one znode more at the most); `true` when all is out.
    pub(crate) fn continue_cursor(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let Some(mut cursor) = self.cursor.take() else { return true };
        let (bytes_max, start) = (bytes_max.max(1), out.len());
        let mut is_finished = false;
        if cursor.drain(bytes_max, out) {
            let mut cache = PathCache::default();
            let stop = cursor.end.min(cursor.next.saturating_add(STEP_SLOTS_MAX));
            while cursor.next < stop && out.len() - start < bytes_max {
                let id = NodeId(cursor.next);
                cursor.next += 1;
                if !cursor.is_written(id.0) && self.slots.get(id.0).blob != Handle::NONE {
                    self.write_with_ancestors(&mut cursor, id, &mut cache, out);
                }
            }
            is_finished = cursor.next == cursor.end;
        }
        if !is_finished {
            self.cursor = Some(cursor);
        }
        is_finished
    }

    /// Gives up a walk.
    pub(crate) fn abort_cursor(&mut self) {
        self.cursor = None;
    }

    /// Bytes that wait for the next step; 0 where no walk is running.
    pub(crate) fn backlog_len(&self) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.backlog_len())
    }

    /// Writes a znode that is about to change, if a walk is running that has not written it yet.
    #[inline]
    pub(super) fn preserve(&mut self, id: NodeId) {
        if self.cursor.as_ref().is_some_and(|cursor| !cursor.is_written(id.0)) {
            self.preserve_unwritten(id);
        }
    }

    #[cold]
    fn preserve_unwritten(&mut self, id: NodeId) {
        if mutation::is_on(Mutation::SnapshotFuzzy) {
            return;
        }
        let Some(mut cursor) = self.cursor.take() else { return };
        let mut backlog = std::mem::take(&mut cursor.backlog);
        self.write_with_ancestors(&mut cursor, id, &mut PathCache::default(), &mut backlog);
        cursor.backlog = backlog;
        self.cursor = Some(cursor);
    }

    /// Writes a znode, after its ancestors where they are not written yet.
    fn write_with_ancestors(
        &self,
        cursor: &mut Cursor,
        id: NodeId,
        cache: &mut PathCache,
        out: &mut Vec<u8>,
    ) {
        let parent = self.parent(id);
        if parent.is_some() && cache.parent == parent {
            cache.path.truncate(cache.parent_len);
            self.write_child(cursor, id, cache, out);
            return;
        }
        let mut below = Vec::new();
        let mut top = id;
        while let Some(above) = self.parent(top).filter(|above| !cursor.is_written(above.0)) {
            below.push(top);
            top = above;
        }
        cache.path.clear();
        if let Some(above) = self.parent(top) {
            self.path_below_root(above, &mut cache.path);
            self.write_child(cursor, top, cache, out);
        } else {
            self.write(cursor, top, &cache.path, out);
        }
        for id in below.into_iter().rev() {
            self.write_child(cursor, id, cache, out);
        }
    }

    /// Writes a znode whose parent's path is in the cache, and leaves its own there.
    fn write_child(
        &self,
        cursor: &mut Cursor,
        id: NodeId,
        cache: &mut PathCache,
        out: &mut Vec<u8>,
    ) {
        cache.parent = self.parent(id);
        cache.parent_len = cache.path.len();
        cache.path.push('/');
        cache.path.push_str(self.name(id));
        self.write(cursor, id, &cache.path, out);
    }

    fn write(&self, cursor: &mut Cursor, id: NodeId, path: &str, out: &mut Vec<u8>) {
        let fields = self.fields(id);
        encode_str(path, out);
        fields.data.encode(out);
        fields.acl.0.encode(out);
        fields.stat.encode(out);
        cursor.skip(id);
    }
}
