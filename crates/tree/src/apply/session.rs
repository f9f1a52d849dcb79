//! Sessions and their ephemerals (Java: `DataTree.killSession`, `ZooKeeperServer.loadData`).

use std::borrow::Cow;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{SessionId, Zxid};

use crate::changes::ChangeLog;
use crate::prepare::create::list_len;
use crate::tree::Tree;

/// How many znodes [`Tree::remove_orphan_ephemerals`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orphans {
    /// Ephemerals of sessions that ended.
    pub ephemerals: usize,
    /// Znodes whose owner is what extended types write for a time to live.
    pub ttls: usize,
}

/// Whether an owner has the mark of an extended type (Java: `EphemeralType.EXTENDED_MASK`).
fn is_ttl_owner(owner: SessionId) -> bool {
    const EXTENDED_MASK: i64 = 0xff << 56;
    owner.0 & EXTENDED_MASK == EXTENDED_MASK
}

impl Tree {
    /// Deletes what the transaction lists, whoever owns it, then what the session owns beside it.
    pub(super) fn close_session(
        &mut self,
        session: SessionId,
        paths: &[Cow<'_, str>],
        zxid: Zxid,
        changes: &mut ChangeLog,
    ) {
        self.sessions.remove(session);
        let stay =
            mutation::is_on(Mutation::EphemeralsStay) || mutation::is_on(Mutation::DigestIgnored);
        if stay && zxid.0 % 16 == 0 {
            return;
        }
        for path in paths {
            // Missing in a replay over a snapshot that has seen it go.
            let _ = self.delete_node(path, zxid, changes);
        }
        if self.znodes.owners().ephemerals_of(session) > 0 {
            let rest: Vec<String> = self.ephemerals(session).collect();
            for path in &rest {
                let _ = self.delete_node(path, zxid, changes);
            }
        }
    }

    /// To be called after the log has been replayed: deletes the ephemerals of sessions that are
    /// not in the table, and puts children that replay left out of order into czxid order. As in
    /// Java, znodes with a time to live are among them where extended types are off.
    pub fn remove_orphan_ephemerals(&mut self) -> Orphans {
        let orphans: Vec<SessionId> =
            self.ephemeral_owners().filter(|session| !self.sessions.contains(*session)).collect();
        let mut nobody = ChangeLog::new();
        let mut removed = Orphans::default();
        for session in orphans {
            let len = self.ephemerals(session).count();
            if is_ttl_owner(session) {
                removed.ttls += len;
            } else {
                removed.ephemerals += len;
            }
            self.close_session(session, &[], self.last_processed_zxid, &mut nobody);
            nobody.trim(nobody.position());
        }
        self.znodes.sort_disordered_children();
        removed
    }

    /// How many bytes the paths of a session's ephemerals take in the transaction that closes it.
    pub fn ephemerals_list_len(&self, session: SessionId) -> usize {
        self.ephemeral_lists.get(&session).copied().unwrap_or(0)
    }

    /// Counts what a tree from a snapshot holds.
    pub(crate) fn set_up_ephemeral_lists(&mut self) {
        let sessions: Vec<SessionId> = self.ephemeral_owners().collect();
        for session in sessions {
            let len = self.ephemerals(session).map(|path| list_len(&path)).sum();
            self.ephemeral_lists.insert(session, len);
        }
    }

    pub(super) fn ephemeral_listed(&mut self, owner: i64, path: &str) {
        if self.is_session(owner) {
            *self.ephemeral_lists.entry(SessionId(owner)).or_default() += list_len(path);
        }
    }

    pub(super) fn ephemeral_unlisted(&mut self, owner: i64, path: &str) {
        if !self.is_session(owner) {
            return;
        }
        let Some(len) = self.ephemeral_lists.get_mut(&SessionId(owner)) else { return };
        *len -= list_len(path);
        if *len == 0 {
            self.ephemeral_lists.remove(&SessionId(owner));
        }
    }
}
