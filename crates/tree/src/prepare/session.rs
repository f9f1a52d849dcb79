//! createSession and closeSession.

use rookeeper_jute::txn::CreateSessionTxn;
use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Encode, OpCode, SessionId};

use super::create::list_len;
use super::encode_header;
use super::request::reader;
use super::step::{Failure, Step};
use crate::owners::OwnerKind;
use crate::paths;

impl Step<'_> {
    /// The transaction is the request.
    pub(super) fn create_session(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let txn: CreateSessionTxn = reader(self.request.body).read()?;
        encode_header(self.request, OpCode::CreateSession, out);
        txn.encode(out);
        Ok(())
    }

    /// Lists and deletes the session's ephemerals, those of pending creates included. There is no
    /// check of the session: expiry asks for it without owning the session.
    pub(super) fn close_session(&mut self, out: &mut Vec<u8>) {
        encode_header(self.request, OpCode::CloseSession, out);
        let session = self.request.session;
        let ephemerals = self.ephemerals(session);
        if self.config.close_session_txn_enabled {
            self.encode_list(&ephemerals, out);
        }
        for path in &ephemerals {
            let (parent_path, _) = paths::split(path).expect("znodes have absolute paths");
            let (parent_key, key) = (self.key(parent_path), self.key(path));
            let node = self.state(&key).expect("an ephemeral was just found");
            let parent = self.state(&parent_key).expect("a znode has a parent");
            self.set_deleted(&parent_key, parent, &key, &node);
        }
    }

    /// The znodes that the session will own. Id 0 and the marks of containers and times to live
    /// are owners too, but no sessions.
    fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let kind = self.tree.config().owner_rules().kind(session.0);
        if kind != OwnerKind::Ephemeral(session) {
            return Vec::new();
        }
        let mut ephemerals: Vec<String> = self.tree.ephemerals(session).collect();
        if !self.pending.is_empty() {
            ephemerals.retain(|path| self.owner_of(&self.key(path)) == Some(session.0));
            let listed = |path: &str| self.stored_owner_of(&self.key(path)) == Some(session.0);
            let pending = self.pending.owned_by(session).filter(|path| !listed(path));
            let pending: Vec<String> = pending.map(String::from).collect();
            ephemerals.extend(pending);
        }
        ephemerals
    }

    /// As many of the paths as make a transaction that can be read back: all of them, unless the
    /// tree came from a server with larger limits.
    fn encode_list(&self, ephemerals: &[String], out: &mut Vec<u8>) {
        let count_at = out.len();
        encode_vector_len(0, out);
        let mut room = self.room(out).unwrap_or(0);
        let mut count = 0i32;
        for path in ephemerals {
            let Some(left) = room.checked_sub(list_len(path)) else { continue };
            room = left;
            path.as_str().encode(out);
            count += 1;
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    }
}
