//! What a leader does for its learners (Java: `LearnerHandler`, `PrepRequestProcessor`,
//! `LeaderZooKeeperServer`): it prepares their clients' requests as its own, keeps their sessions
//! alive, and has syncs confirmed.

use rookeeper_jute::txn::CreateSessionTxn;
use rookeeper_jute::{Decode, ErrorCode, OpCode};
use rookeeper_tree::Identity;
use rookeeper_tree::prepare::encode_error;
use rookeeper_zab::Forward;
use rookeeper_zab::links::ConnectionId;

use super::admit::Write;
use super::pipeline::{Item, ReadItem, Reply};
use super::sessions::Owner;
use super::{Core, CoreEffect, CoreInput, State};
use crate::close::CloseReason;
use crate::ids::Now;
use crate::shared::Shared;

impl Core {
    /// Takes an input that only a leader gets.
    pub(super) fn told_as_leader(
        &mut self,
        now: Now,
        input: CoreInput,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        match input {
            CoreInput::Committed(zxid) => self.commit.committed(zxid),
            CoreInput::Forwarded { learner, request, .. } => self.queue_forwarded(learner, request),
            CoreInput::Touched { sessions, .. } => {
                for (session, timeout_ms) in sessions {
                    self.sessions.touch_from_learner(session, timeout_ms, now.monotonic_ms());
                }
            }
            CoreInput::Revalidate { learner, session, timeout_ms } => {
                let before = self.sessions.connection(session);
                let owner = Owner::Learner(learner);
                let resumed = self.sessions.resume(session, owner, timeout_ms, now.monotonic_ms());
                let valid = resumed.is_ok();
                if valid && let Some(before) = before {
                    let position = shared.changes.position();
                    self.outbox.close(before, position, CloseReason::ClientReconnect);
                }
                effects.push(CoreEffect::Revalidated { learner, session, valid });
            }
            // Its clients were told to close, and ask for their sessions wherever they go: the
            // sessions' owner means nobody meanwhile.
            CoreInput::LearnerGone(_) => {}
            CoreInput::SyncConfirmed(ticket) => self.syncs_done = self.syncs_done.max(ticket),
            input => unreachable!("a leader was told {input:?}"),
        }
    }

    /// Takes note of a learner's request as [`CoreInput::Forwarded`] does, without taking it up: so
    /// that requests that came together make one segment. The next [`Core::step`] takes them up.
    pub fn queue_forwarded(&mut self, learner: ConnectionId, request: Forward) {
        if self.state == State::Serving {
            self.forwarded.push_back((learner, request));
        }
    }

    /// Prepares a learner's request. Every write becomes a transaction, if only one that says why
    /// it does nothing: the learner waits for it. What is no write is answered where it was asked,
    /// and not forwarded by anybody.
    pub(super) fn forwarded_request(
        &mut self,
        now: Now,
        learner: ConnectionId,
        request: &Forward,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let Some(op) = OpCode::from_i32(request.op) else { return };
        if op == OpCode::Sync {
            self.append(effects);
            self.syncs_asked += 1;
            let ticket = self.syncs_asked;
            return effects.push(CoreEffect::SyncWanted { ticket, learner: Some(learner) });
        }
        if !is_forwarded(op) {
            return;
        }
        let check = self.check_forwarded(now, learner, op, request);
        let identities: Vec<Identity> = match &request.identities {
            Some(pairs) => pairs.iter().map(|(scheme, id)| Identity::new(scheme, id)).collect(),
            None => Vec::new(),
        };
        let write = Write {
            session: request.session,
            cxid: request.cxid,
            op,
            body: &request.body,
            identities: &identities,
        };
        let (zxid, len) = match self.prepare(now, &write, check, shared, effects) {
            Ok(appended) => appended,
            Err(err) => {
                let zxid = self.prepared.next();
                encode_error(&write.request(now, zxid, Ok(())), err, self.building.bytes_mut());
                self.prepared = zxid;
                (zxid, self.building.end_record(zxid))
            }
        };
        self.into_pipeline(zxid, len, Reply::None, effects);
    }

    /// Whether the session may ask for this, after noting what the request does to the session
    /// itself. The end of a session is not checked, as in Java: it is the last of it.
    fn check_forwarded(
        &mut self,
        now: Now,
        learner: ConnectionId,
        op: OpCode,
        request: &Forward,
    ) -> Result<(), ErrorCode> {
        let session = request.session;
        match op {
            OpCode::CreateSession => {
                if let Ok(CreateSessionTxn { timeout_ms }) = Decode::from_bytes(&request.body) {
                    let now_ms = now.monotonic_ms();
                    self.sessions.created_at(learner, session, timeout_ms, now_ms);
                }
                Ok(())
            }
            OpCode::CloseSession => {
                if let Some(key) = self.sessions.find(session) {
                    self.sessions.set_closing(key);
                }
                Ok(())
            }
            _ => self.sessions.check_learner(session, learner),
        }
    }

    /// A sync of this server's own client: answered when the tenure was confirmed after it, and all
    /// that was proposed before it is applied.
    pub(super) fn sync(&mut self, read: Box<ReadItem>, effects: &mut Vec<CoreEffect>) {
        self.append(effects);
        self.syncs_asked += 1;
        let ticket = self.syncs_asked;
        effects.push(CoreEffect::SyncWanted { ticket, learner: None });
        self.pipeline.push_back(Item::Sync { ticket, read });
    }
}

/// Whether learners forward such requests, and wait for their transactions.
fn is_forwarded(op: OpCode) -> bool {
    use OpCode::*;
    matches!(
        op,
        Create
            | Create2
            | CreateTtl
            | CreateContainer
            | Delete
            | DeleteContainer
            | SetData
            | SetAcl
            | Multi
            | Reconfig
            | Check
            | CreateSession
            | CloseSession
    )
}
