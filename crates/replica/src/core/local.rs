//! Sessions that only this server knows of (Java: `UpgradeableSessionTracker`,
//! `QuorumZooKeeperServer.checkUpgradeSession`), and a server cut off from its ensemble, which lets
//! clients read (Java: `ReadOnlyZooKeeperServer`, `ReadOnlyRequestProcessor`).
//!
//! Such a session is in no log and in no tree: it makes no ephemerals, and ends with the role.
//! Where upgrading is enabled, its first ephemeral makes it known to all before.

use rookeeper_jute::proto::ReplyHeader;
use rookeeper_jute::{Encode, ErrorCode, OpCode, SessionId, Xid};
use rookeeper_tree::prepare::wants_ephemeral;

use super::admit::Write;
use super::pipeline::{Reply, RequestReply};
use super::{Core, CoreEffect, CoreRole};
use crate::close::CloseReason;
use crate::ids::{ConnectionKey, Now};
use crate::message::DeliveryKind;
use crate::reply;
use crate::shared::Shared;

impl Core {
    pub(super) fn is_read_only(&self) -> bool {
        self.role == CoreRole::ReadOnly
    }

    /// Whether new sessions are known to this server alone.
    pub(super) fn makes_local_sessions(&self) -> bool {
        self.config.local_sessions_enabled && self.role != CoreRole::Alone
    }

    /// Whether a session that the leader does not know may be one that only a learner knows. Its
    /// own would be known here (Java: `LeaderSessionTracker.checkSession`); and one that has ended
    /// is none, or what a slow learner still sends in its name would be carried out.
    pub(super) fn is_local_elsewhere(&self, session: SessionId) -> bool {
        let made_by = (session.0 >> 56) as u8;
        self.config.local_sessions_enabled
            && self.sessions.find(session).is_none()
            && !self.sessions.has_ended(session)
            && made_by != self.config.server_id as u8
    }

    /// Makes a session known to all before it makes its first ephemeral.
    ///
    /// # Errors
    /// EphemeralOnLocalSession where that is not to be done.
    pub(super) fn upgrade_for(
        &mut self,
        now: Now,
        session: SessionId,
        op: OpCode,
        body: &[u8],
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) -> Result<(), ErrorCode> {
        if !self.sessions.is_local(session) || !wants_ephemeral(op, body) {
            return Ok(());
        }
        if !self.config.local_sessions_upgrading_enabled {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        let Some(timeout_ms) = self.sessions.upgrade(session) else { return Ok(()) };
        let body = timeout_ms.to_bytes();
        let write = Write::own(session, OpCode::CreateSession, &body);
        if self.is_learning() {
            self.forward_own(&write, Reply::None, effects);
        } else {
            self.write(now, write, Reply::None, shared, effects);
        }
        Ok(())
    }

    /// A session that only this server knew has expired.
    pub(super) fn end_local(&mut self, session: SessionId, shared: &Shared) {
        if let Some(owner) = self.sessions.remove(session) {
            self.outbox.close(owner, shared.changes.position(), CloseReason::SessionClosed);
        }
    }

    /// A client has closed a session that only this server knew.
    pub(super) fn close_local(
        &mut self,
        reply: &RequestReply,
        session: SessionId,
        shared: &Shared,
    ) {
        reply.release(shared);
        let zxid = shared.tree.last_processed_zxid();
        self.reply(reply, zxid, ErrorCode::Ok, shared.changes.position(), None);
        self.end_local(session, shared);
    }

    /// A new session is asked of a server that cannot make one known to all, and may not make one
    /// of its own: answered as any other write, which no client takes for a session.
    pub(super) fn refuse_read_only(
        &mut self,
        connection: ConnectionKey,
        position: u64,
        shared: &Shared,
    ) {
        shared.load.remove(0, false);
        let zxid = shared.tree.last_processed_zxid();
        let header = ReplyHeader { xid: Xid(0), zxid, err: ErrorCode::NotReadOnly.to_i32() };
        let kind = DeliveryKind::Close(CloseReason::NotServing);
        self.outbox.push(connection, position, kind, |out| reply::framed(out, &header));
    }
}
