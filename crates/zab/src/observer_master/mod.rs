//! A follower that serves observers, so that the leader does not have to (Java: `ObserverMaster`
//! and its `LearnerHandler`s, on `observerMasterPort`).
//!
//! To an observer it is a leader: it gives it the epoch, the history and then what is committed,
//! and pings it. What the observer's clients ask for goes on to the leader, and answers come back
//! in the order of the questions, among which are this server's own.
//!
//! Two things differ from Java. An observer that is ahead of this server, having learned from a
//! faster one, is not cut back: it waits until this server has what it has. And what it lacks may
//! come from this server's disk, however much that is: Java closes the connection where the
//! recent transactions in memory do not reach back far enough.
//!
//! The leader knows this server and its observers as one owner of their sessions, as in Java: where
//! a session moves among them, it cannot tell what the place before still sends in its name. In
//! Java that is carried out behind what the client asks for since. Here it is refused: what comes
//! from elsewhere than where its session is goes to the leader as a request that does nothing
//! ([`Forward::refuse`]), so that its error transaction reaches who waits for it on the ordinary
//! way, as if that observer were the leader's own learner.
//!
//! # Layout
//! - `types`: what it is told and what it asks for
//! - `recent`: the last transactions, in memory
//! - `observers`: the dialogue with each observer
//! - `owners`: which of them has which session

mod observers;
mod owners;
mod recent;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::persistence::RECORD_OVERHEAD;
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, Identity, OpCode, ServerId, SessionId, Xid, Zxid};

use crate::forward::Forward;
use crate::leader::{LinkEnd, Loads};
use crate::links::ConnectionId;
use crate::outgoing::{Outgoing, RecordsKind};
use crate::quorum::Ensemble;
use crate::segment::Segment;
use crate::sync::{LogIndex, SyncRules};
use crate::wire;

use observers::Link;
use owners::{Owners, Place, Turn};
use recent::Recent;
pub use types::{ObserverMasterConfig, ObserverMasterEffect, ObserverMasterInput};

/// Who waits for an answer of the leader: an observer, or a client of this server.
/// What it counts for, in bytes, stands beside it.
type Asker = Option<(ConnectionId, usize)>;

/// A question to the leader about a session that goes on here or at an observer.
#[derive(Debug)]
struct Revalidation {
    session: SessionId,
    timeout_ms: i32,
    asker: Asker,
    turn: Turn,
}

/// A request by which its transaction is known.
type RequestKey = (SessionId, Xid);

/// A follower's other face.
#[derive(Debug)]
pub struct ObserverMaster {
    config: ObserverMasterConfig,
    ensemble: Ensemble,
    /// What is committed.
    history: LogIndex,
    /// What may not be on disk yet, and more.
    recent: Recent,
    committed: Zxid,
    durable: Zxid,
    /// A reconfiguration that was committed a moment ago: whether it is activated with it shows
    /// at once.
    held: Option<Zxid>,
    /// The leader's epoch, while observers are served.
    epoch: Option<i64>,
    links: BTreeMap<ConnectionId, Link>,
    syncs: VecDeque<Asker>,
    revalidations: VecDeque<Revalidation>,
    owners: Owners,
    /// The leader's words on observers' sessions, each behind the transactions up to one: what a
    /// session asked for elsewhere goes before the word that lets it in.
    words: VecDeque<(Zxid, ConnectionId, Vec<u8>)>,
    /// Observers' requests whose transactions the leader has not proposed: who asked, and what
    /// each counts for.
    requests: BTreeMap<RequestKey, Vec<(ConnectionId, usize)>>,
    /// The identities of the last request, which most others have too.
    identities: Option<Arc<[Identity]>>,
    loads: Loads,
    touched: BTreeMap<SessionId, i32>,
    /// Observers whose history could not be read from disk.
    snapshot_next: BTreeSet<ServerId>,
    ping_at_ms: u64,
}

impl ObserverMaster {
    /// From the moment when this server's tree is where the leader's history goes on: `history`
    /// is what it can prove to have, all of it committed and durable, through `last`.
    ///
    /// # Panics
    /// If the history goes beyond `last`.
    pub fn new(
        config: ObserverMasterConfig,
        history: LogIndex,
        last: Zxid,
        now_ms: u64,
    ) -> ObserverMaster {
        assert!(history.last() <= last, "the log holds the history");
        let proven = history.last() == last;
        ObserverMaster {
            ensemble: config.ensemble.clone(),
            history: if proven { history } else { LogIndex::new(last) },
            recent: Recent::new(last, config.recent_len_max),
            committed: last,
            durable: last,
            held: None,
            epoch: None,
            links: BTreeMap::new(),
            syncs: VecDeque::new(),
            revalidations: VecDeque::new(),
            owners: Owners::default(),
            words: VecDeque::new(),
            requests: BTreeMap::new(),
            identities: None,
            loads: Loads::new(config.load),
            touched: BTreeMap::new(),
            snapshot_next: BTreeSet::new(),
            ping_at_ms: now_ms,
            config,
        }
    }

    /// Takes one input at the monotonic time `now_ms`.
    pub fn step(
        &mut self,
        now_ms: u64,
        input: ObserverMasterInput<'_>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        self.take(now_ms, input, effects);
        self.send_words(effects);
    }

    fn take(
        &mut self,
        now_ms: u64,
        input: ObserverMasterInput<'_>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        match input {
            ObserverMasterInput::Activated { zxid, designated } => {
                self.activated(zxid, designated, effects);
                return self.synchronise_the_waiting(now_ms, effects);
            }
            ObserverMasterInput::Ensemble(ensemble) => {
                self.ensemble = ensemble;
                return;
            }
            _ => {}
        }
        if let Some(zxid) = self.held.take() {
            // It was committed alone.
            self.inform(Zxid(zxid.0 - 1), zxid, effects);
            self.synchronise_the_waiting(now_ms, effects);
        }
        match input {
            ObserverMasterInput::Proposed(segment) => self.proposed(segment, effects),
            ObserverMasterInput::Committed(zxid) => self.commit(now_ms, zxid, effects),
            ObserverMasterInput::Activated { .. } | ObserverMasterInput::Ensemble(_) => {}
            ObserverMasterInput::Durable(zxid) => {
                self.durable = self.durable.max(zxid);
                self.trim();
            }
            ObserverMasterInput::Serve { epoch } => {
                self.epoch = Some(epoch);
                self.ping_at_ms = now_ms.saturating_add(self.config.tick_time_ms / 2);
            }
            ObserverMasterInput::Accepted(connection) => {
                self.accepted(now_ms, connection, effects);
            }
            ObserverMasterInput::Received { connection, bytes } => {
                self.received(now_ms, connection, bytes, effects);
            }
            ObserverMasterInput::Written(connection) => self.written(now_ms, connection),
            ObserverMasterInput::Closed(connection) => self.forget(connection, effects),
            ObserverMasterInput::HistoryFailed { connection, unproven } => {
                self.history_failed(connection, unproven, effects);
            }
            ObserverMasterInput::LogsFrom(first) => self.history.forget_before(first),
            ObserverMasterInput::OwnSync => self.syncs.push_back(None),
            ObserverMasterInput::SyncDone => self.sync_done(effects),
            ObserverMasterInput::OwnRevalidation(session) => {
                self.revalidation(session, 0, None);
            }
            ObserverMasterInput::Revalidated { session, valid } => {
                self.revalidated(session, valid, effects);
            }
            ObserverMasterInput::Tick => self.tick(now_ms, effects),
            ObserverMasterInput::Stop => {
                self.epoch = None;
                let connections: Vec<ConnectionId> = self.links.keys().copied().collect();
                for connection in connections {
                    self.close(connection, LinkEnd::LeaderEnded, effects);
                }
            }
        }
        self.resume_reading(now_ms, effects);
    }

    /// The disk did not have what an observer was promised; nobody is promised it again.
    fn history_failed(
        &mut self,
        connection: ConnectionId,
        unproven: Option<Zxid>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        if let Some(zxid) = unproven {
            self.history.forget_through(zxid.min(self.history.last()));
        }
        if let Some(link) = self.links.get(&connection) {
            self.snapshot_next.insert(link.server);
            self.close(connection, LinkEnd::HistoryFailed, effects);
        }
    }

    /// Changes what bounds the choice between log and snapshot, for observers that come later.
    pub fn set_sync_rules(&mut self, rules: SyncRules) {
        self.config.sync = rules;
    }

    /// When [`ObserverMasterInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.epoch.map(|_| self.ping_at_ms)
    }

    /// How many observers have everything (Java: `synced_observers`).
    pub fn observers_len(&self) -> usize {
        self.links.values().filter(|link| link.is_up()).count()
    }

    /// Takes out the sessions that observers have heard of, with their timeouts in ms: they go to
    /// the leader with this server's own.
    pub fn take_touches(&mut self) -> Vec<(SessionId, i32)> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    fn proposed(&mut self, segment: Arc<Segment>, effects: &mut Vec<ObserverMasterEffect>) {
        assert!(segment.first_zxid() > self.recent.last(), "proposals come in order, once");
        segment.records().for_each(|(_, txn)| self.request_done(txn));
        let proposals = segment.len() as u64;
        self.recent.push(segment);
        self.told(proposals, 0, effects);
    }

    /// A transaction has come: who asked for it waits for the leader no longer.
    fn request_done(&mut self, txn: &[u8]) {
        let Ok(header) = TxnHeader::from_bytes(txn) else { return };
        if header.txn_type == OpCode::CloseSession.to_i32() {
            self.owners.ended(header.client_id);
        }
        let key = (header.client_id, header.cxid);
        let Some(askers) = self.requests.get_mut(&key) else { return };
        let (connection, bytes) = askers.remove(0);
        if askers.is_empty() {
            self.requests.remove(&key);
        }
        self.loads.remove(connection, 1, bytes);
    }

    /// INFORM for everything that was committed. A reconfiguration at the end waits: it may be
    /// activated, and told in another way.
    fn commit(&mut self, now_ms: u64, through: Zxid, effects: &mut Vec<ObserverMasterEffect>) {
        assert!(through <= self.recent.last(), "what is committed was proposed");
        let before = self.committed;
        let mut commits = 0;
        for (segment, range) in self.recent.records(before, through) {
            commits += range.len() as u64;
            for at in range {
                let len = segment.record(at).len() + RECORD_OVERHEAD;
                self.history.append(segment.zxid(at), len as u64);
            }
        }
        self.committed = through;
        if self.is_reconfiguration(through) {
            self.inform(before, Zxid(through.0 - 1), effects);
            self.held = Some(through);
            commits -= 1;
        } else {
            self.inform(before, through, effects);
            self.synchronise_the_waiting(now_ms, effects);
        }
        self.trim();
        self.told(0, commits, effects);
    }

    /// Nothing is counted while this server itself synchronises, as in Java
    /// (`Follower.processPacket`).
    fn told(&self, proposals: u64, commits: u64, effects: &mut Vec<ObserverMasterEffect>) {
        if self.epoch.is_some() && proposals + commits > 0 {
            effects.push(ObserverMasterEffect::Told { proposals, commits });
        }
    }

    fn is_reconfiguration(&self, zxid: Zxid) -> bool {
        let mut records = self.recent.records(Zxid(zxid.0 - 1), zxid);
        records.any(|(segment, range)| {
            let header = TxnHeader::from_bytes(segment.record(range.start));
            header.is_ok_and(|header| header.txn_type == OpCode::Reconfig.to_i32())
        })
    }

    fn inform(&self, after: Zxid, through: Zxid, effects: &mut Vec<ObserverMasterEffect>) {
        for (connection, _) in self.links.iter().filter(|(_, link)| link.forwards()) {
            for (segment, range) in self.recent.records(after, through) {
                let (segment, kind) = (segment.clone(), RecordsKind::Inform);
                let item = Outgoing::Records { segment, range, kind };
                effects.push(ObserverMasterEffect::Send { connection: *connection, item });
            }
        }
    }

    /// INFORMANDACTIVATE.
    fn activated(
        &mut self,
        zxid: Zxid,
        designated: ServerId,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        let Some(held) = self.held.take() else { return };
        if held != zxid {
            return self.inform(Zxid(held.0 - 1), held, effects);
        }
        let mut packet = Vec::new();
        for (segment, range) in self.recent.records(Zxid(zxid.0 - 1), zxid) {
            wire::inform_and_activate(zxid, designated, segment.record(range.start), &mut packet);
        }
        for (connection, _) in self.links.iter().filter(|(_, link)| link.forwards()) {
            let item = Outgoing::Bytes(packet.clone());
            effects.push(ObserverMasterEffect::Send { connection: *connection, item });
        }
    }

    fn trim(&mut self) {
        let through = self.committed.min(self.durable);
        // What is held has yet to be said.
        self.recent.trim(self.held.map_or(through, |held| through.min(Zxid(held.0 - 1))));
    }

    /// A request of a client of this server's own, on its way to the leader: refused where its
    /// session went on at an observer.
    pub fn own_request(&mut self, request: &mut Forward) {
        self.request_from(None, request);
    }

    /// What begins a session says where it is. What ends one does so whoever asks, as at a leader,
    /// and a sync is nobody's.
    fn request_from(&mut self, place: Place, request: &mut Forward) {
        match OpCode::from_i32(request.op) {
            Some(OpCode::CreateSession) => self.owners.created(request.session, place),
            Some(OpCode::CloseSession | OpCode::Sync) => {}
            _ if self.owners.is_elsewhere(request.session, place) => request.refuse(),
            _ => {}
        }
    }

    fn revalidation(&mut self, session: SessionId, timeout_ms: i32, asker: Asker) {
        let turn = self.owners.asked(session, place_of(asker));
        self.revalidations.push_back(Revalidation { session, timeout_ms, asker, turn });
    }

    fn sync_done(&mut self, effects: &mut Vec<ObserverMasterEffect>) {
        match self.syncs.pop_front().flatten() {
            None => effects.push(ObserverMasterEffect::OwnSyncDone),
            Some((connection, bytes)) => {
                self.loads.remove(connection, 1, bytes);
                self.send(connection, PacketType::Sync, Zxid::ZERO, None, effects);
            }
        }
    }

    fn revalidated(
        &mut self,
        session: SessionId,
        valid: bool,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        let place = self.revalidations.iter().position(|asked| asked.session == session);
        let asked = place.and_then(|place| self.revalidations.remove(place));
        if let Some(Revalidation { asker, turn, .. }) = &asked
            && valid
        {
            self.owners.let_in(session, place_of(*asker), *turn);
        }
        let Some(Revalidation { timeout_ms, asker: Some((connection, bytes)), .. }) = asked else {
            effects.push(ObserverMasterEffect::OwnRevalidated { session, valid });
            return;
        };
        self.loads.remove(connection, 1, bytes);
        if valid {
            self.touched.insert(session, timeout_ms);
        }
        let mut data = session.0.to_be_bytes().to_vec();
        data.push(u8::from(valid));
        self.words.push_back((self.recent.last(), connection, data));
    }

    /// Words whose observers have heard of all that goes before them.
    fn send_words(&mut self, effects: &mut Vec<ObserverMasterEffect>) {
        let told = self.held.map_or(self.committed, |held| Zxid(held.0 - 1));
        while self.words.front().is_some_and(|(after, ..)| *after <= told) {
            let Some((_, connection, data)) = self.words.pop_front() else { return };
            self.send(connection, PacketType::Revalidate, Zxid::NONE, Some(&data), effects);
        }
    }

    /// One packet, if the observer is still there.
    fn send(
        &self,
        connection: ConnectionId,
        packet_type: PacketType,
        zxid: Zxid,
        data: Option<&[u8]>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        if self.links.contains_key(&connection) {
            let mut bytes = Vec::new();
            wire::packet(packet_type, zxid, data, &mut bytes);
            let item = Outgoing::Bytes(bytes);
            effects.push(ObserverMasterEffect::Send { connection, item });
        }
    }
}

fn place_of(asker: Asker) -> Place {
    asker.map(|(connection, _)| connection)
}
