//! A leader and two learners in memory, wired by hand: what Zab would do between them is done here
//! in the simplest way that keeps its promises, at moments that the dice decide.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::{ServerId, SessionId, Zxid};
use rookeeper_replica::{CoreConfig, CoreEffect, CoreInput, CoreRole, Segment};
use rookeeper_zab::Forward;
use rookeeper_zab::leader::REVALIDATION_LEN;
use rookeeper_zab::links::ConnectionId;

use super::{Dice, Setup, World, connect_frame};

/// The server that leads.
pub const LEADER: usize = 0;

/// The epoch that it leads in.
pub const EPOCH: i64 = 3;

/// A packet to the leader.
#[derive(Debug)]
enum ToLeader {
    Forward(Forward),
    Revalidate { session: SessionId, timeout_ms: i32 },
    Touches(Vec<(SessionId, i32)>),
}

/// A packet to a learner.
#[derive(Debug)]
enum ToLearner {
    Proposals(Arc<Segment>),
    Commit(Zxid),
    Revalidated { session: SessionId, valid: bool },
    Sync,
    Ping,
}

/// A sync that waits for what was proposed before it.
struct Sync {
    ticket: u64,
    learner: Option<ConnectionId>,
    after: Zxid,
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    Server(usize),
    ToLeader(usize),
    ToLearner(usize),
    Confirm,
}

pub struct Ensemble {
    pub servers: Vec<World>,
    pub dice: Dice,
    /// Whether packets of this learner, in both directions, arrive.
    pub linked: Vec<bool>,
    /// Whether packets from this learner arrive.
    pub heard: Vec<bool>,
    /// Whether syncs are confirmed.
    pub confirms: bool,
    /// Requests that learners forwarded: learner, operation.
    pub forwarded: Vec<(usize, i32)>,
    /// Whether the next forwarded request is lost.
    pub lose_next: bool,
    to_leader: Vec<VecDeque<ToLeader>>,
    to_learner: Vec<VecDeque<ToLearner>>,
    proposed: Zxid,
    committed: Zxid,
    syncs: VecDeque<Sync>,
    /// Requests of each learner that the leader has not done, and their bytes.
    undone: Vec<(usize, usize)>,
}

impl Ensemble {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, CoreConfig { tick_time_ms: 1000, ..CoreConfig::default() })
    }

    pub fn with(seed: u64, config: CoreConfig) -> Self {
        let server = |id: usize| {
            let learning = CoreRole::Learning { observer: false };
            let role = if id == LEADER { CoreRole::Leading { epoch: EPOCH } } else { learning };
            World::new(Setup {
                shards: 2,
                seed: seed * 3 + id as u64,
                core: CoreConfig { server_id: id as i64 + 1, ..config.clone() },
                role,
                ..Setup::default()
            })
        };
        let mut ensemble = Ensemble {
            servers: (0..3).map(server).collect(),
            dice: Dice::new(seed),
            linked: vec![true; 3],
            heard: vec![true; 3],
            confirms: true,
            forwarded: Vec::new(),
            lose_next: false,
            to_leader: (0..3).map(|_| VecDeque::new()).collect(),
            to_learner: (0..3).map(|_| VecDeque::new()).collect(),
            proposed: Zxid(EPOCH << 32),
            committed: Zxid(EPOCH << 32),
            syncs: VecDeque::new(),
            undone: vec![(0, 0); 3],
        };
        ensemble.servers[LEADER].step(CoreInput::Tick);
        for learner in 1..3 {
            ensemble.servers[learner].step(CoreInput::Serve { epoch: EPOCH });
        }
        ensemble.run();
        ensemble
    }

    /// A connection to a server with a new session.
    pub fn connect(&mut self, server: usize, timeout_ms: i32) -> (usize, super::Session) {
        let shard = self.dice.below(2);
        let client = self.servers[server].accept(shard);
        let frame = connect_frame(0, timeout_ms, SessionId(0), &[0; 16], Some(false));
        self.servers[server].send(client, &frame);
        self.run();
        let session = self.servers[server].session(client);
        assert_ne!(session.id, SessionId(0));
        (client, session)
    }

    /// Asks for a session on another connection; the answer is still to come.
    pub fn resume(&mut self, server: usize, session: &super::Session) -> usize {
        let client = self.servers[server].accept(0);
        let frame =
            connect_frame(0, session.timeout_ms, session.id, &session.password, Some(false));
        self.servers[server].send(client, &frame);
        client
    }

    /// Does what can be done until there is nothing left.
    pub fn run(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step_once() {
                return;
            }
        }
        panic!("the ensemble does not come to rest");
    }

    /// Does some of it.
    pub fn run_for(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step_once();
        }
    }

    /// Lets time pass; learners are pinged every half tick.
    pub fn pass(&mut self, ms: u64) {
        for step in 0..ms / 50 {
            let now = self.servers.iter().map(|server| server.now.monotonic_us).max();
            let now_us = now.expect("three servers") + 50_000;
            for server in &mut self.servers {
                server.now.wall_ms += 50;
                server.now.monotonic_us = now_us;
                server.tick();
            }
            if step % 10 == 0 {
                for learner in 1..3 {
                    self.to_learner[learner].push_back(ToLearner::Ping);
                }
            }
            self.run();
        }
    }

    fn step_once(&mut self) -> bool {
        let mut events = Vec::new();
        for server in 0..3 {
            if !self.servers[server].is_at_rest() {
                events.push(Event::Server(server));
            }
            if self.linked[server] && self.heard[server] && !self.to_leader[server].is_empty() {
                events.push(Event::ToLeader(server));
            }
            if self.linked[server] && !self.to_learner[server].is_empty() {
                events.push(Event::ToLearner(server));
            }
        }
        let may_confirm = |sync: &Sync| sync.after <= self.committed;
        if self.confirms && self.syncs.front().is_some_and(may_confirm) {
            events.push(Event::Confirm);
        }
        if events.is_empty() {
            return false;
        }
        match events[self.dice.below(events.len())] {
            Event::Server(server) => self.servers[server].run_for(1),
            Event::ToLeader(learner) => self.arrive_at_leader(learner),
            Event::ToLearner(learner) => self.arrive_at_learner(learner),
            Event::Confirm => self.confirm(),
        }
        for server in 0..3 {
            while let Some(effect) = self.servers[server].peers.pop_front() {
                if server == LEADER { self.leads(effect) } else { self.learns(server, effect) }
            }
        }
        self.count();
        true
    }

    fn arrive_at_leader(&mut self, from: usize) {
        let learner = ConnectionId(from as u64);
        let input = match self.to_leader[from].pop_front().expect("looked at before") {
            ToLeader::Forward(request) => {
                let server = ServerId(from as i64 + 1);
                let (requests, bytes) = &mut self.undone[from];
                *requests += 1;
                *bytes += request.held_len();
                CoreInput::Forwarded { learner, server, request }
            }
            ToLeader::Revalidate { session, timeout_ms } => {
                let (requests, bytes) = &mut self.undone[from];
                *requests += 1;
                *bytes += REVALIDATION_LEN;
                CoreInput::Revalidate { learner, session, timeout_ms }
            }
            ToLeader::Touches(sessions) => CoreInput::Touched { learner, sessions },
        };
        self.servers[LEADER].step(input);
    }

    fn arrive_at_learner(&mut self, to: usize) {
        let input = match self.to_learner[to].pop_front().expect("looked at before") {
            ToLearner::Proposals(segment) => CoreInput::Proposals(segment),
            ToLearner::Commit(zxid) => CoreInput::Committed(zxid),
            ToLearner::Revalidated { session, valid } => CoreInput::Revalidated { session, valid },
            ToLearner::Sync => CoreInput::SyncDone,
            ToLearner::Ping => CoreInput::TouchesWanted,
        };
        self.servers[to].step(input);
    }

    fn confirm(&mut self) {
        let sync = self.syncs.pop_front().expect("looked at before");
        match sync.learner {
            Some(learner) => self.to_learner[learner.0 as usize].push_back(ToLearner::Sync),
            None => self.servers[LEADER].step(CoreInput::SyncConfirmed(sync.ticket)),
        }
    }

    fn leads(&mut self, effect: CoreEffect) {
        match effect {
            CoreEffect::Append(segment) => {
                assert_eq!(segment.first_zxid(), self.proposed.next());
                self.proposed = segment.last_zxid();
                for learner in 1..3 {
                    self.to_learner[learner].push_back(ToLearner::Proposals(segment.clone()));
                }
            }
            CoreEffect::SyncWanted { ticket, learner } => {
                self.syncs.push_back(Sync { ticket, learner, after: self.proposed });
            }
            CoreEffect::Revalidated { learner, session, valid } => {
                let packet = ToLearner::Revalidated { session, valid };
                self.to_learner[learner.0 as usize].push_back(packet);
            }
            CoreEffect::Done { learner, requests, bytes } => {
                let undone = &mut self.undone[learner.0 as usize];
                assert!(requests <= undone.0 && bytes <= undone.1, "it was asked for");
                *undone = (undone.0 - requests, undone.1 - bytes);
            }
            other => panic!("a leader asks for {other:?}"),
        }
    }

    fn learns(&mut self, learner: usize, effect: CoreEffect) {
        match effect {
            CoreEffect::Append(_) => {}
            CoreEffect::Forward(request) => {
                let identities = request.identities.iter();
                let shared = identities.map(Arc::strong_count).all(|count| count > 1);
                assert!(shared, "a client's identities are its connection's, and no copy");
                self.forwarded.push((learner, request.op));
                if !std::mem::take(&mut self.lose_next) {
                    self.to_leader[learner].push_back(ToLeader::Forward(request));
                }
            }
            CoreEffect::Revalidate { session, timeout_ms } => {
                let packet = ToLeader::Revalidate { session, timeout_ms };
                self.to_leader[learner].push_back(packet);
            }
            CoreEffect::Touches(sessions) => {
                self.to_leader[learner].push_back(ToLeader::Touches(sessions));
            }
            other => panic!("a learner asks for {other:?}"),
        }
    }

    /// Two of three make a quorum.
    fn count(&mut self) {
        let mut durable: Vec<Zxid> = self.servers.iter().map(|server| server.durable).collect();
        durable.sort_unstable();
        if durable[1] > self.committed {
            self.committed = durable[1];
            self.servers[LEADER].step(CoreInput::Committed(self.committed));
            for learner in 1..3 {
                self.to_learner[learner].push_back(ToLearner::Commit(self.committed));
            }
        }
    }

    /// All three trees are one, and nothing is in flight.
    pub fn check_equal(&self) {
        let tree = &self.servers[LEADER].shared.tree;
        assert_eq!(self.undone, [(0, 0); 3], "all that learners asked for is done");
        for server in &self.servers {
            let other = &server.shared.tree;
            assert_eq!(other.digest(), tree.digest());
            assert_eq!(other.znode_count(), tree.znode_count());
            assert_eq!(other.sessions(), tree.sessions());
            assert_eq!(other.last_processed_zxid(), tree.last_processed_zxid());
            assert_eq!(server.shared.load.requests(), 0);
            assert_eq!(server.shared.load.bytes(), 0);
            assert_eq!(server.core.report().forwarded, 0);
            assert_eq!(server.log, self.servers[LEADER].log);
        }
    }
}
