//! What a leader does for its learners (Java: `LearnerHandler`, `PrepRequestProcessor`,
//! `LeaderZooKeeperServer`): it prepares their clients' requests as its own, keeps their sessions
//! alive, and has syncs confirmed.

use rookeeper_jute::txn::CreateSessionTxn;
use rookeeper_jute::{Decode, ErrorCode, OpCode, SessionId};
use rookeeper_tree::prepare::encode_error;
use rookeeper_zab::Forward;
use rookeeper_zab::leader::REVALIDATION_LEN;
use rookeeper_zab::links::ConnectionId;

use super::admit::Write;
use super::pipeline::{Item, ReadItem, Reply};
use super::sessions::Owner;
use super::{Core, CoreEffect, CoreInput, State};
use crate::close::CloseReason;
use crate::ids::Now;
use crate::shared::Shared;

/// What a learner asks for, in the order in which the leader heard of it.
#[derive(Debug)]
pub(super) enum LearnerAsks {
    /// A client's request.
    Request(Forward),
    /// Whether a session lives that a client resumes there. It waits behind requests: those that
    /// the session asked for elsewhere come first.
    Revalidate { session: SessionId, timeout_ms: i32 },
}

impl LearnerAsks {
    /// What it counts for among what its learner asks, in bytes.
    fn held_len(&self) -> usize {
        match self {
            LearnerAsks::Request(request) => request.held_len(),
            LearnerAsks::Revalidate { .. } => REVALIDATION_LEN,
        }
    }
}

impl Core {
    /// Takes an input that only a leader gets.
    pub(super) fn told_as_leader(&mut self, now: Now, input: CoreInput) {
        match input {
            CoreInput::Committed(zxid) => self.committed(now, zxid),
            CoreInput::Acknowledged { server, zxid } => self.acknowledged(now, server, zxid),
            CoreInput::Ensemble(view) => self.ensemble_is(view),
            CoreInput::Forwarded { learner, request, .. } => self.queue_forwarded(learner, request),
            CoreInput::Touched { sessions, .. } => {
                for (session, timeout_ms) in sessions {
                    self.sessions.touch_from_learner(session, timeout_ms, now.monotonic_ms());
                }
            }
            CoreInput::Revalidate { learner, session, timeout_ms } => {
                self.figures.revalidated += 1;
                // It is heard of now, whenever its turn comes.
                if !self.sessions.is_local(session) {
                    self.sessions.touch_from_learner(session, timeout_ms, now.monotonic_ms());
                }
                self.queue(learner, LearnerAsks::Revalidate { session, timeout_ms });
            }
            // Its clients were told to close, and ask for their sessions wherever they go: the
            // sessions' owner means nobody meanwhile.
            CoreInput::LearnerGone(_) => {}
            CoreInput::Leaving => self.propose_no_more(),
            CoreInput::SyncConfirmed(ticket) => self.syncs_done = self.syncs_done.max(ticket),
            input => unreachable!("a leader was told {input:?}"),
        }
    }

    /// Takes note of a learner's request as [`CoreInput::Forwarded`] does, without taking it up: so
    /// that requests that came together make one segment. The next [`Core::step`] takes them up.
    pub fn queue_forwarded(&mut self, learner: ConnectionId, request: Forward) {
        if self.state == State::Serving {
            self.queue(learner, LearnerAsks::Request(request));
        } else {
            self.done_for(learner, request.held_len());
        }
    }

    fn queue(&mut self, learner: ConnectionId, asked: LearnerAsks) {
        if self.proposed_last {
            self.done_for(learner, asked.held_len());
        } else {
            self.forwarded.push_back((learner, asked));
        }
    }

    /// Nothing follows what is proposed by now. What learners still wait for is dropped, as this
    /// server stops: a learner that is not read because of it is heard again, whose
    /// acknowledgements may be needed.
    pub(super) fn propose_no_more(&mut self) {
        self.proposed_last = true;
        for (learner, asked) in std::mem::take(&mut self.forwarded) {
            self.done_for(learner, asked.held_len());
        }
    }

    /// A learner's request leaves nothing behind any more.
    pub(super) fn done_for(&mut self, learner: ConnectionId, bytes: usize) {
        let (requests, all_bytes) = self.done.entry(learner).or_default();
        *requests += 1;
        *all_bytes += bytes;
    }

    /// Says which requests of learners are done.
    pub(super) fn tell_what_is_done(&mut self, effects: &mut Vec<CoreEffect>) {
        while let Some((learner, (requests, bytes))) = self.done.pop_first() {
            effects.push(CoreEffect::Done { learner, requests, bytes });
        }
    }

    /// A client resumes its session at a learner: the learner owns it from now on. What the session
    /// asked for before, and waited here, goes to the disk before the answer goes to the learner.
    pub(super) fn revalidate(
        &mut self,
        now: Now,
        learner: ConnectionId,
        session: SessionId,
        timeout_ms: i32,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        self.done_for(learner, REVALIDATION_LEN);
        self.append(effects);
        // Known to this server alone: nobody resumes it elsewhere.
        if self.sessions.is_local(session) {
            return effects.push(CoreEffect::Revalidated { learner, session, valid: false });
        }
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

    /// Prepares a learner's request. Every write becomes a transaction, if only one that says why
    /// it does nothing: the learner waits for it. What is no write is answered where it was asked,
    /// and not forwarded by anybody.
    pub(super) fn forwarded_request(
        &mut self,
        now: Now,
        learner: ConnectionId,
        request: Forward,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        let held_len = request.held_len();
        let op = OpCode::from_i32(request.op);
        let Some(op) = op.filter(|op| *op == OpCode::Sync || is_forwarded(*op)) else {
            return self.done_for(learner, held_len);
        };
        if op == OpCode::Sync {
            self.done_for(learner, held_len);
            self.append(effects);
            self.syncs_asked += 1;
            let ticket = self.syncs_asked;
            return effects.push(CoreEffect::SyncWanted { ticket, learner: Some(learner) });
        }
        let mut check = self.check_forwarded(now, learner, op, &request);
        let mut ephemeral = Ok(());
        if check == Err(ErrorCode::SessionExpired) && self.is_local_elsewhere(request.session) {
            (check, ephemeral) = (Ok(()), check);
        }
        let write = Write {
            session: request.session,
            cxid: request.cxid,
            op,
            body: &request.body,
            identities: request.identities.as_ref(),
            ephemeral,
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
        self.enter_pipeline(zxid, len, Reply::Learner(learner, held_len), effects);
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
            // To its observer master, which has the session, it has left the observer.
            _ if request.is_refused() => Err(ErrorCode::SessionMoved),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rookeeper_jute::txn::{ErrorTxn, TxnHeader};
    use rookeeper_jute::{Encode, Reader, ServerId, SessionId, Xid, Zxid};
    use rookeeper_tree::prepare::PrepareConfig;
    use rookeeper_tree::{AccessControl, Tree, TreeConfig};
    use rookeeper_zab::Segment;

    use super::super::{CoreRole, CoreStart};
    use super::*;
    use crate::config::CoreConfig;
    use crate::ids::{ConnectionKey, ShardId};

    const LEARNER: ConnectionId = ConnectionId(4);
    const SESSION: SessionId = SessionId(0x0200_0000_0000_0001);

    fn leader() -> (Core, Shared) {
        leader_with(CoreConfig::default())
    }

    fn leader_with(config: CoreConfig) -> (Core, Shared) {
        let shared = Shared::new(Tree::new(TreeConfig::default()), 1);
        let core = Core::new(
            Now::default(),
            config,
            PrepareConfig::default(),
            Arc::new(AccessControl::default()),
            &shared,
            CoreStart { role: CoreRole::Leading { epoch: 2 }, ..CoreStart::default() },
        );
        (core, shared)
    }

    fn request(cxid: i32, op: i32, body: Vec<u8>) -> Forward {
        Forward { session: SESSION, cxid: Xid(cxid), op, body, identities: None }
    }

    fn step(core: &mut Core, shared: &Shared, input: CoreInput) -> Vec<CoreEffect> {
        let mut effects = Vec::new();
        core.step(Now::default(), input, shared, &mut effects);
        effects
    }

    fn forwarded(core: &mut Core, shared: &Shared, request: Forward) -> Vec<CoreEffect> {
        let server = ServerId(2);
        step(core, shared, CoreInput::Forwarded { learner: LEARNER, server, request })
    }

    /// Everything prepared is durable, committed and applied.
    fn apply(core: &mut Core, shared: &mut Shared) -> Vec<CoreEffect> {
        let prepared = core.prepared;
        let mut effects = step(core, shared, CoreInput::Durable(prepared));
        effects.extend(step(core, shared, CoreInput::Committed(prepared)));
        core.apply(Now::default(), shared, &mut effects);
        assert_eq!(shared.tree.last_processed_zxid(), prepared);
        effects
    }

    /// A deletion of what is not there.
    fn delete(cxid: i32) -> Forward {
        let body = vec![0, 0, 0, 2, b'/', b'a', 255, 255, 255, 255];
        request(cxid, OpCode::Delete.to_i32(), body)
    }

    fn appended(effects: &[CoreEffect]) -> Vec<Arc<Segment>> {
        let segments = effects.iter().filter_map(|effect| match effect {
            CoreEffect::Append(segment) => Some(segment.clone()),
            _ => None,
        });
        segments.collect()
    }

    /// What an error transaction says; `None` for any other.
    fn error(txn: &[u8]) -> Option<i32> {
        let mut reader = Reader::with_len_max(txn, txn.len());
        let header: TxnHeader = reader.read().expect("a header");
        let is_error = header.txn_type == OpCode::Error.to_i32();
        is_error.then(|| reader.read::<ErrorTxn>().expect("an error").err)
    }

    #[test]
    fn every_write_of_a_learner_becomes_a_transaction_of_its_own() {
        let (mut core, shared) = leader();
        let create = OpCode::CreateSession.to_i32();
        for request in [
            request(0, create, 4000i32.to_bytes()),
            request(1, OpCode::Create.to_i32(), vec![0, 0, 0]),
            request(2, OpCode::Multi.to_i32(), vec![1]),
            request(3, OpCode::Check.to_i32(), Vec::new()),
            request(4, OpCode::GetData.to_i32(), Vec::new()),
            request(5, 9999, Vec::new()),
        ] {
            core.queue_forwarded(LEARNER, request);
        }
        let effects = step(&mut core, &shared, CoreInput::Tick);
        let segments = appended(&effects);
        assert_eq!(segments.len(), 1, "what came together stays together");
        let errors: Vec<_> = segments[0].records().map(|(_, txn)| error(txn)).collect();
        let marshalling = Some(ErrorCode::MarshallingError.to_i32());
        let unimplemented = Some(ErrorCode::Unimplemented.to_i32());
        assert_eq!(errors, [None, marshalling, marshalling, unimplemented]);
        assert_eq!(segments[0].first_zxid(), Zxid::new(2, 1));
        assert_eq!(segments[0].last_zxid(), Zxid::new(2, 4));
    }

    #[test]
    fn a_request_of_a_session_that_is_elsewhere_or_nowhere_says_so() {
        let (mut core, shared) = leader();
        let body = vec![0, 0, 0, 2, b'/', b'a', 255, 255, 255, 255];
        let delete = || request(1, OpCode::Delete.to_i32(), body.clone());
        let said = |core: &mut Core, request: Forward| {
            error(appended(&forwarded(core, &shared, request))[0].record(0))
        };
        let expired = Some(ErrorCode::SessionExpired.to_i32());
        assert_eq!(said(&mut core, delete()), expired);
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        assert_eq!(said(&mut core, create), None);
        assert_eq!(said(&mut core, delete()), Some(ErrorCode::NoNode.to_i32()));
        let learner = ConnectionId(5);
        let moved = CoreInput::Revalidate { learner, session: SESSION, timeout_ms: 4000 };
        let effects = step(&mut core, &shared, moved);
        assert!(matches!(effects[..], [CoreEffect::Revalidated { valid: true, .. }, ..]));
        assert_eq!(said(&mut core, delete()), Some(ErrorCode::SessionMoved.to_i32()));
        let close = request(2, OpCode::CloseSession.to_i32(), Vec::new());
        assert_eq!(said(&mut core, close), None, "whoever asks");
        assert_eq!(said(&mut core, delete()), expired);
        let again = CoreInput::Revalidate { learner, session: SESSION, timeout_ms: 4000 };
        let effects = step(&mut core, &shared, again);
        assert!(matches!(effects[..], [CoreEffect::Revalidated { valid: false, .. }, ..]));
    }

    #[test]
    fn what_an_observer_master_refuses_is_of_a_session_that_has_moved() {
        let (mut core, shared) = leader();
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        forwarded(&mut core, &shared, create);
        let mut late = Forward { identities: Some(Arc::default()), ..delete(1) };
        let said = |core: &mut Core, request: Forward| {
            error(appended(&forwarded(core, &shared, request))[0].record(0))
        };
        assert_eq!(said(&mut core, late.clone()), Some(ErrorCode::NoNode.to_i32()));
        late.refuse();
        let moved = Some(ErrorCode::SessionMoved.to_i32());
        assert_eq!(said(&mut core, late.clone()), moved);
        // As a leader takes it that knows nothing of observer masters that refuse.
        late.identities = Some(Arc::default());
        let arguments = Some(ErrorCode::BadArguments.to_i32());
        assert_eq!(said(&mut core, late), arguments);
        assert_eq!(said(&mut core, delete(2)), Some(ErrorCode::NoNode.to_i32()));
    }

    #[test]
    fn what_was_asked_before_a_session_came_here_is_refused_when_it_has_left() {
        let (mut core, shared) = leader();
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        forwarded(&mut core, &shared, create);
        let connection = ConnectionKey { shard: ShardId(0), index: 0, generation: 0 };
        let resumed = core.sessions.resume(SESSION, Owner::Here(connection), 4000, 0);
        core.sessions.disconnected(resumed.expect("it is alive"), connection);
        let body = vec![0, 0, 0, 2, b'/', b'a', 255, 255, 255, 255];
        let said = |core: &mut Core| {
            let delete = request(1, OpCode::Delete.to_i32(), body.clone());
            error(appended(&forwarded(core, &shared, delete))[0].record(0))
        };
        assert_eq!(said(&mut core), Some(ErrorCode::SessionMoved.to_i32()));
        let back = CoreInput::Revalidate { learner: LEARNER, session: SESSION, timeout_ms: 4000 };
        step(&mut core, &shared, back);
        assert_eq!(said(&mut core), Some(ErrorCode::NoNode.to_i32()));
    }

    #[test]
    fn what_was_asked_before_a_session_ended_is_not_taken_for_a_local_sessions() {
        let config = CoreConfig { local_sessions_enabled: true, ..CoreConfig::default() };
        let (mut core, mut shared) = leader_with(config);
        let said = |core: &mut Core, shared: &Shared, request: Forward| {
            error(appended(&forwarded(core, shared, request))[0].record(0))
        };
        let no_node = Some(ErrorCode::NoNode.to_i32());
        assert_eq!(said(&mut core, &shared, delete(1)), no_node, "of a session known there alone");
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        assert_eq!(said(&mut core, &shared, create), None);
        let learner = ConnectionId(5);
        let moved = CoreInput::Revalidate { learner, session: SESSION, timeout_ms: 4000 };
        step(&mut core, &shared, moved);
        let close = request(3, OpCode::CloseSession.to_i32(), Vec::new());
        assert_eq!(said(&mut core, &shared, close), None);
        apply(&mut core, &mut shared);
        assert!(core.sessions.find(SESSION).is_none());
        let expired = Some(ErrorCode::SessionExpired.to_i32());
        assert_eq!(said(&mut core, &shared, delete(2)), expired, "it comes late");
    }

    #[test]
    fn a_session_is_let_in_elsewhere_behind_requests_that_wait() {
        let config = CoreConfig { request_throttle_max_requests: 1, ..CoreConfig::default() };
        let (mut core, mut shared) = leader_with(config);
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        forwarded(&mut core, &shared, create);
        let effects = forwarded(&mut core, &shared, delete(1));
        assert!(appended(&effects).is_empty(), "the pipeline is full");
        let learner = ConnectionId(5);
        let moved = CoreInput::Revalidate { learner, session: SESSION, timeout_ms: 4000 };
        let effects = step(&mut core, &shared, moved);
        assert!(!effects.iter().any(|effect| matches!(effect, CoreEffect::Revalidated { .. })));
        let is_done = |effect: &CoreEffect| {
            matches!(effect, CoreEffect::Done { learner: of, .. }
            if *of == learner)
        };
        assert!(!effects.iter().any(is_done), "it takes memory while it waits");
        let mut effects = apply(&mut core, &mut shared);
        let no_node = Some(ErrorCode::NoNode.to_i32());
        assert_eq!(error(appended(&effects)[0].record(0)), no_node, "it was asked for in time");
        effects.extend(apply(&mut core, &mut shared));
        let place = |of: fn(&CoreEffect) -> bool| effects.iter().position(of).expect("it is there");
        let append = place(|effect| matches!(effect, CoreEffect::Append(_)));
        let answer = place(|effect| matches!(effect, CoreEffect::Revalidated { valid: true, .. }));
        assert!(append < answer);
        let done = effects.iter().find(|effect| is_done(effect)).expect("it is answered");
        let CoreEffect::Done { requests, bytes, .. } = done else { unreachable!("it is one") };
        assert_eq!((*requests, *bytes), (1, REVALIDATION_LEN));
    }

    #[test]
    fn bug_1277_an_epoch_ends_before_its_zxids_do() {
        let (mut core, shared) = leader();
        core.prepared = Zxid::new(2, u32::MAX - 3);
        let close = || request(0, OpCode::CloseSession.to_i32(), Vec::new());
        let effects = forwarded(&mut core, &shared, close());
        assert_eq!(appended(&effects)[0].last_zxid(), Zxid::new(2, u32::MAX - 2));
        // The one behind the epoch's last is dropped, so that a learner that is not read for it is
        // heard again.
        let is_done = |effect: &CoreEffect| matches!(effect, CoreEffect::Done { requests: 1, .. });
        core.queue_forwarded(LEARNER, close());
        let effects = forwarded(&mut core, &shared, close());
        assert_eq!(appended(&effects)[0].last_zxid(), Zxid::new(2, u32::MAX - 1));
        assert!(effects.iter().any(is_done));
        assert!(effects.iter().any(|effect| matches!(effect, CoreEffect::EpochExhausted)));
        let effects = forwarded(&mut core, &shared, close());
        assert!(appended(&effects).is_empty(), "the last number stays free, as in Java");
        assert!(effects.iter().any(is_done));
        let effects = step(&mut core, &shared, CoreInput::Shutdown);
        assert!(appended(&effects).is_empty(), "nor when it stops");
    }

    #[test]
    fn a_leader_that_leaves_proposes_nothing_that_the_next_one_may_not_hear_of() {
        let (mut core, mut shared) = leader();
        let create = request(0, OpCode::CreateSession.to_i32(), 4000i32.to_bytes());
        forwarded(&mut core, &shared, create);
        core.queue_forwarded(LEARNER, delete(1));
        let effects = step(&mut core, &shared, CoreInput::Leaving);
        let is_done = |effect: &CoreEffect| matches!(effect, CoreEffect::Done { requests: 1, .. });
        assert!(appended(&effects).is_empty() && effects.iter().any(is_done));
        let effects = forwarded(&mut core, &shared, delete(2));
        assert!(appended(&effects).is_empty() && effects.iter().any(is_done));
        let late = Now { monotonic_us: 60_000_000, ..Now::default() };
        let mut effects = Vec::new();
        core.step(late, CoreInput::Tick, &shared, &mut effects);
        assert!(appended(&effects).is_empty(), "the next leader expires the session");
        apply(&mut core, &mut shared);
    }

    #[test]
    fn a_learners_sync_is_asked_for_behind_what_was_prepared_before_it() {
        let (mut core, shared) = leader();
        core.queue_forwarded(LEARNER, request(1, OpCode::CloseSession.to_i32(), Vec::new()));
        let sync = request(2, OpCode::Sync.to_i32(), Vec::new());
        let effects = forwarded(&mut core, &shared, sync);
        let sync_wanted = effects.iter().position(|effect| {
            matches!(effect, CoreEffect::SyncWanted { learner: Some(LEARNER), .. })
        });
        let append = effects.iter().position(|effect| matches!(effect, CoreEffect::Append(_)));
        assert!(append.expect("appended") < sync_wanted.expect("asked"));
    }
}
