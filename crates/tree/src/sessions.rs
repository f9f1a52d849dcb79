//! The table of sessions that a snapshot holds: id and timeout (Java: `sessionsWithTimeouts`).
//! When a session was last heard of is the core's matter, not the tree's.

use std::collections::BTreeMap;

use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Encode, SessionId};

/// Sessions by id, in id order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SessionTable {
    timeouts_ms: BTreeMap<SessionId, i32>,
}

impl SessionTable {
    /// An empty table.
    pub fn new() -> Self {
        SessionTable::default()
    }

    /// Adds a session, or changes its timeout in milliseconds.
    pub fn insert(&mut self, id: SessionId, timeout_ms: i32) {
        self.timeouts_ms.insert(id, timeout_ms);
    }

    /// Takes a session out; whether it was there.
    pub fn remove(&mut self, id: SessionId) -> bool {
        self.timeouts_ms.remove(&id).is_some()
    }

    /// Whether the session is open.
    pub fn contains(&self, id: SessionId) -> bool {
        self.timeouts_ms.contains_key(&id)
    }

    /// A session's timeout in milliseconds.
    pub fn timeout_ms(&self, id: SessionId) -> Option<i32> {
        self.timeouts_ms.get(&id).copied()
    }

    /// How many sessions are open.
    pub fn len(&self) -> usize {
        self.timeouts_ms.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.timeouts_ms.is_empty()
    }

    /// Ids and timeouts in milliseconds, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, i32)> + '_ {
        self.timeouts_ms.iter().map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    /// The table as a snapshot has it: a count, then id and timeout of each.
    pub(crate) fn encode_snapshot(&self, out: &mut Vec<u8>) {
        encode_vector_len(self.len(), out);
        for (id, timeout_ms) in self.iter() {
            id.encode(out);
            timeout_ms.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_listed_in_id_order() {
        let mut table = SessionTable::new();
        table.insert(SessionId(5), 4000);
        table.insert(SessionId(-1), 6000);
        table.insert(SessionId(5), 8000);
        let listed: Vec<_> = table.iter().collect();
        assert_eq!(listed, [(SessionId(-1), 6000), (SessionId(5), 8000)]);
        assert!(table.remove(SessionId(5)) && !table.remove(SessionId(5)));
        let mut out = Vec::new();
        table.encode_snapshot(&mut out);
        assert_eq!(out, [0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 23, 112]);
    }
}
