//! Server 1 leads; 2 and 3 follow, 4 and 5 observe through 2, which is an observer master, and 6
//! observes the leader itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rookeeper_jute::txn::{DeleteTxn, TxnHeader};
use rookeeper_jute::{Encode, OpCode, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::leader::{
    Leader, LeaderConfig, LeaderEffect, LeaderInput, LoadLimits, REVALIDATION_LEN,
};
use rookeeper_zab::learner::{Learner, LearnerConfig, LearnerEffect, LearnerInput, SyncStart};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{Membership, MembershipRules, Role};
use rookeeper_zab::observer_master::{
    ObserverMaster, ObserverMasterConfig, ObserverMasterEffect, ObserverMasterInput,
};
use rookeeper_zab::quorum::{Ensemble, Oracle};
use rookeeper_zab::sync::SyncRules;
use rookeeper_zab::{EpochKind, Forward, Outgoing, SegmentBuilder, wire};

use super::disk::{Disk, Done, Work};

const LEADER: i64 = 1;
const MASTER: i64 = 2;
const TICK_MS: u64 = 200;
const EPOCH: i64 = 2;

/// How much happened.
#[derive(Debug, Default)]
pub struct Totals {
    pub proposals: usize,
    pub breaks: usize,
    pub snapshots: usize,
    pub truncations: usize,
    pub syncs: usize,
    pub revalidations: usize,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.proposals += other.proposals;
        self.breaks += other.breaks;
        self.snapshots += other.snapshots;
        self.truncations += other.truncations;
        self.syncs += other.syncs;
        self.revalidations += other.revalidations;
    }
}

/// A connection: who learns, from whom, what is on its way.
#[derive(Debug)]
struct Wire {
    learner: i64,
    master: i64,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
}

struct Node {
    role: Role,
    disk: Disk,
    machine: Learner,
    connection: Option<ConnectionId>,
    snapshot: (Zxid, Vec<u8>),
    master: Option<ObserverMaster>,
    committed: Zxid,
    serving: bool,
    /// Syncs that were not answered, and sessions that were asked for.
    syncs: usize,
    sessions: Vec<SessionId>,
}

pub struct World {
    pub faults: bool,
    /// The leader holds proposals until it is told.
    holds: bool,
    pub totals: Totals,
    seed: u64,
    now_ms: u64,
    leader: Leader,
    leader_disk: Disk,
    established: bool,
    proposed: Zxid,
    committed: Zxid,
    nodes: BTreeMap<i64, Node>,
    wires: BTreeMap<ConnectionId, Wire>,
    next_connection: u64,
    next_ticket: u64,
}

fn ensemble() -> Ensemble {
    let mut text = String::new();
    for id in 1..=6 {
        let role = if id > 3 { "observer" } else { "participant" };
        text += &format!("server.{id}=n{id}:2888:3888:{role}\n");
    }
    let rules = MembershipRules { standalone_enabled: false, multi_address_enabled: false };
    Ensemble::new(Arc::new(Membership::parse(&(text + "version=7"), &rules).expect("good")))
}

pub fn txn(zxid: Zxid, session: SessionId) -> Vec<u8> {
    let txn_type = OpCode::Delete.to_i32();
    let header = TxnHeader { client_id: session, cxid: Xid(1), zxid, time_ms: 0, txn_type };
    let mut bytes = header.to_bytes();
    DeleteTxn { path: Some("/a".into()) }.encode(&mut bytes);
    bytes
}

pub fn observer_master(node: &Disk, diff_len_max: Option<u64>) -> ObserverMaster {
    let config = ObserverMasterConfig {
        me: ServerId(MASTER),
        ensemble: ensemble(),
        tick_time_ms: TICK_MS,
        init_limit: 100,
        sync_limit: 50,
        sync: SyncRules { diff_len_max, ..SyncRules::default() },
        recent_len_max: 1000,
        snap_syncs_max: 10,
        diff_syncs_max: 10,
        packet_len_max: 1 << 20,
        load: LoadLimits { requests_max: 40, ..LoadLimits::default() },
    };
    let files = node.live();
    ObserverMaster::new(config, files.index(), files.last(), 0)
}

fn learner(id: i64, role: Role, disk: &Disk, now_ms: u64) -> Learner {
    let config = LearnerConfig {
        me: ServerId(id),
        leader: ServerId(LEADER),
        role,
        tick_time_ms: TICK_MS,
        init_limit: 100,
        sync_limit: 50,
        connect_limit: 0,
        connect_delay_ms: None,
        config_version: 7,
        accepted_epoch: disk.accepted_epoch,
        current_epoch: disk.current_epoch,
        last_zxid: disk.files.last(),
        buffer_len_max: 1 << 20,
        rules: MembershipRules { standalone_enabled: false, multi_address_enabled: false },
    };
    Learner::new(config, now_ms)
}

/// An old history of this many transactions in epoch 1.
fn disk(counter: u32) -> Disk {
    let mut disk = Disk { accepted_epoch: 1, current_epoch: 1, ..Disk::default() };
    for counter in 1..=counter {
        let zxid = Zxid::new(1, counter);
        disk.files.push(zxid, &txn(zxid, SessionId(0)));
    }
    disk
}

impl World {
    pub fn new(seed: u64) -> World {
        let (leader_disk, holds) = (disk(40), seed % 2 == 1);
        let config = LeaderConfig {
            me: ServerId(LEADER),
            ensemble: ensemble(),
            tick_time_ms: TICK_MS,
            init_limit: 100,
            sync_limit: 50,
            accepted_epoch: 1,
            current_epoch: 1,
            last_zxid: Zxid::new(1, 40),
            sync: SyncRules { diff_len_max: Some(4000), ..SyncRules::default() },
            oracle: Oracle::Absent,
            epoch_wait_ms_max: None,
            supporters: Vec::new(),
            snap_syncs_max: 10,
            diff_syncs_max: 10,
            packet_len_max: 1 << 20,
            load: LoadLimits::default(),
            reconfig_enabled: true,
            ack_logging_frequency: 3,
            holds_proposals: holds,
        };
        let leader = Leader::new(config, leader_disk.files.index(), 0);
        let mut world = World {
            faults: true,
            holds,
            totals: Totals::default(),
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now_ms: 0,
            leader,
            leader_disk,
            established: false,
            proposed: Zxid::new(2, 0),
            committed: Zxid::new(1, 40),
            nodes: BTreeMap::new(),
            wires: BTreeMap::new(),
            next_connection: 0,
            next_ticket: 0,
        };
        for id in 2..=6 {
            let role = if id > 3 { Role::Observer } else { Role::Participant };
            let counter = if role == Role::Observer { world.below(40) } else { world.below(41) };
            let disk = disk(counter as u32);
            let node = Node {
                role,
                machine: learner(id, role, &disk, 0),
                committed: disk.files.last(),
                disk,
                connection: None,
                snapshot: (Zxid::ZERO, Vec::new()),
                master: None,
                serving: false,
                syncs: 0,
                sessions: Vec::new(),
            };
            world.nodes.insert(id, node);
        }
        world.lead(LeaderInput::Start);
        for id in 2..=6 {
            world.learn(id, LearnerInput::Start);
        }
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) % bound
    }

    pub fn committed(&self, id: i64) -> Zxid {
        self.nodes[&id].committed
    }

    pub fn observers_of_the_master(&self) -> usize {
        self.nodes[&MASTER].master.as_ref().map_or(0, ObserverMaster::observers_len)
    }

    pub fn learners_of_the_leader(&self) -> usize {
        self.leader.report().learners.iter().filter(|learner| learner.up).count()
    }

    /// Does anything that can be done, so many times.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.holds && self.below(8) == 0 {
                self.lead(LeaderInput::Release);
            }
            match self.below(100) {
                0..=49 => self.deliver(),
                50..=74 => self.work(),
                75..=84 => self.propose(),
                85..=92 => self.ask(),
                93..=96 => self.pass_time(7),
                97 if self.faults && self.below(3) == 0 => self.break_one(),
                98 if self.below(10) == 0 => self.compact_one(),
                _ => self.pass_time(1),
            }
            self.check_durable();
        }
    }

    /// What is committed is on the disks of a quorum, at every moment.
    fn check_durable(&self) {
        if self.committed <= Zxid::new(2, 0) {
            return;
        }
        let voters = [2, 3].map(|id| &self.nodes[&id].disk).into_iter().chain([&self.leader_disk]);
        let holders = voters.filter(|disk| disk.files.last() >= self.committed).count();
        assert!(holders >= 2, "{} is on {holders} disks", self.committed);
    }

    /// Until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.lead(LeaderInput::Release);
            for _ in 0..300 {
                self.deliver();
                self.work();
            }
            self.pass_time(50);
        }
    }

    pub fn check_end(&self) {
        assert!(self.established);
        assert_eq!(self.committed, self.proposed, "everything is committed");
        let all = self.leader_disk.files.all();
        for (id, node) in &self.nodes {
            assert!(node.serving, "{id} serves: {:?}", node.machine.phase());
            assert_eq!(node.disk.files.all(), all, "{id} has the leader's history");
            assert_eq!(node.committed, self.committed, "{id}");
            assert_eq!((node.syncs, node.sessions.len()), (0, 0), "{id} has its answers");
        }
    }

    fn pass_time(&mut self, ms: u64) {
        self.now_ms += ms;
        if self.leader.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.lead(LeaderInput::Tick);
        }
        for id in 2..=6 {
            let node = &self.nodes[&id];
            if node.machine.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
                self.learn(id, LearnerInput::Tick);
            }
            let master = self.nodes[&id].master.as_ref();
            let deadline_ms = master.and_then(ObserverMaster::deadline_ms);
            if deadline_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
                self.master(id, ObserverMasterInput::Tick);
            }
        }
    }

    /// Some bytes of some connection arrive.
    fn deliver(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let at = self.below(self.wires.len() as u64) as usize;
        let len = 1 + self.below(400) as usize;
        let up = self.below(2) == 0;
        let (connection, wire) = self.wires.iter_mut().nth(at).expect("there are so many");
        let (connection, learner, master) = (*connection, wire.learner, wire.master);
        let queue = if up { &mut wire.up } else { &mut wire.down };
        let bytes: Vec<u8> = queue.drain(..len.min(queue.len())).collect();
        if bytes.is_empty() {
            return;
        }
        if !up {
            self.learn(learner, LearnerInput::Received(&bytes));
        } else if master == LEADER {
            self.lead(LeaderInput::Received { connection, bytes: &bytes });
        } else {
            self.master(master, ObserverMasterInput::Received { connection, bytes: &bytes });
        }
    }

    /// Some disk does some work.
    fn work(&mut self) {
        let id = 1 + self.below(6) as i64;
        if id == LEADER {
            match self.leader_disk.work_one() {
                Some(Done::Durable(zxid)) => self.lead(LeaderInput::Durable(zxid)),
                Some(Done::Epoch(kind)) => self.lead(LeaderInput::EpochWritten(kind)),
                _ => {}
            }
            return;
        }
        let node = self.nodes.get_mut(&id).expect("servers 2 to 6");
        match node.disk.work_one() {
            Some(Done::Durable(zxid)) => {
                self.learn(id, LearnerInput::Durable(zxid));
                self.master(id, ObserverMasterInput::Durable(zxid));
            }
            Some(Done::Epoch(kind)) => self.learn(id, LearnerInput::EpochWritten(kind)),
            Some(Done::Settled) => self.learn(id, LearnerInput::Settled),
            Some(Done::Ready) => {
                node.committed = node.disk.live().last();
                if id == MASTER {
                    node.master = Some(observer_master(&node.disk, Some(4000)));
                }
                self.learn(id, LearnerInput::Ready);
            }
            None => {}
        }
    }

    fn propose(&mut self) {
        if self.established {
            self.propose_for(SessionId(0));
        }
    }

    fn propose_for(&mut self, session: SessionId) {
        let mut builder = SegmentBuilder::default();
        for _ in 0..=self.below(3) {
            self.proposed = self.proposed.next();
            builder.push(self.proposed, &txn(self.proposed, session));
            self.totals.proposals += 1;
        }
        let segment = builder.freeze();
        self.leader_disk.work.push_back(Work::Append(segment.clone()));
        self.lead(LeaderInput::Proposed(segment));
    }

    /// A client of some server asks for something.
    fn ask(&mut self) {
        let id = 2 + self.below(5) as i64;
        let what = self.below(3);
        let session = SessionId(1 + self.below(1000) as i64);
        let node = self.nodes.get_mut(&id).expect("servers 2 to 6");
        if !node.serving {
            return;
        }
        if what == 0 {
            node.sessions.push(session);
            self.master(id, ObserverMasterInput::OwnRevalidation(session));
            self.learn(id, LearnerInput::Revalidate { session, timeout_ms: 1000 });
            return;
        }
        let op = if what == 1 { OpCode::Sync } else { OpCode::Create };
        if op == OpCode::Sync {
            node.syncs += 1;
            self.master(id, ObserverMasterInput::OwnSync);
        }
        let (body, identities) = (b"body".to_vec(), Some(Arc::default()));
        let forward = Forward { session, cxid: Xid(1), op: op.to_i32(), body, identities };
        self.learn(id, LearnerInput::Forward(forward));
    }

    fn break_one(&mut self) {
        // Before that a break may cost an epoch: who has accepted it does not count again.
        if self.wires.is_empty() || !self.established {
            return;
        }
        let at = self.below(self.wires.len() as u64) as usize;
        let connection = *self.wires.keys().nth(at).expect("there are so many");
        self.totals.breaks += 1;
        self.cut(connection, true, true);
    }

    fn compact_one(&mut self) {
        match self.below(2) {
            0 => self.leader_disk.files.compact(self.committed),
            _ => {
                let master = self.nodes.get_mut(&MASTER).expect("a follower");
                if master.serving {
                    master.disk.files.compact(self.committed);
                }
            }
        }
    }

    /// A connection ends; those that have not ended it themselves are told.
    fn cut(&mut self, connection: ConnectionId, tell_learner: bool, tell_master: bool) {
        let Some(wire) = self.wires.remove(&connection) else { return };
        if let Some(node) = self.nodes.get_mut(&wire.learner) {
            node.connection = None;
        }
        if tell_master && wire.master == LEADER {
            self.lead(LeaderInput::Closed(connection));
        } else if tell_master {
            self.master(wire.master, ObserverMasterInput::Closed(connection));
        }
        if tell_learner {
            self.learn(wire.learner, LearnerInput::Closed);
        }
    }

    fn connect(&mut self, id: i64) {
        let master = if matches!(id, 4 | 5) { MASTER } else { LEADER };
        if master == MASTER && !self.nodes[&MASTER].serving {
            return self.learn(id, LearnerInput::ConnectFailed);
        }
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.wires.insert(connection, Wire { learner: id, master, up, down });
        self.nodes.get_mut(&id).expect("a learner").connection = Some(connection);
        if master == LEADER {
            self.lead(LeaderInput::Accepted(connection));
        } else {
            self.master(master, ObserverMasterInput::Accepted(connection));
        }
        self.learn(id, LearnerInput::Connected);
    }

    /// Writes to a learner, as a driver does it.
    fn write(&mut self, connection: ConnectionId, item: &Outgoing) {
        let Some(wire) = self.wires.get(&connection) else { return };
        let master = wire.master;
        let files = match master {
            LEADER => &self.leader_disk.files,
            master => self.nodes[&master].disk.live(),
        };
        let mut bytes = Vec::new();
        let complete = match item {
            Outgoing::Bytes(packets) => {
                bytes.extend_from_slice(packets);
                true
            }
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(segment, range.clone(), *kind, &mut bytes);
                true
            }
            Outgoing::History { after, through } => files.history(*after, *through, &mut bytes),
            Outgoing::Snapshot { base, through } => {
                let usable = files.base() >= *base && files.base() <= *through;
                if usable {
                    self.totals.snapshots += 1;
                    files.send_snapshot(*through, &mut bytes);
                }
                usable
            }
        };
        if complete {
            let wire = self.wires.get_mut(&connection).expect("it was there");
            wire.down.extend(bytes);
        } else {
            let unproven = match item {
                Outgoing::History { through, .. } => Some(files.base().min(*through)),
                _ => None,
            };
            if master == LEADER {
                self.lead(LeaderInput::HistoryFailed { connection, unproven });
            } else {
                self.master(master, ObserverMasterInput::HistoryFailed { connection, unproven });
            }
        }
    }

    fn lead(&mut self, input: LeaderInput<'_>) {
        let mut effects = Vec::new();
        self.leader.step(self.now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                LeaderEffect::Send { connection, item } => self.write(connection, &item),
                LeaderEffect::Close { connection, .. } => self.cut(connection, true, false),
                LeaderEffect::WriteEpoch { kind, epoch } => {
                    self.leader_disk.work.push_back(Work::Epoch(kind, epoch));
                }
                LeaderEffect::Established { epoch } => {
                    assert_eq!(epoch, EPOCH);
                    self.established = true;
                    self.committed = Zxid::new(2, 0);
                }
                LeaderEffect::Commit(zxid) => {
                    assert!(zxid > self.committed && zxid <= self.proposed);
                    self.committed = zxid;
                }
                LeaderEffect::Forwarded { connection, request, .. } => {
                    if request.op == OpCode::Sync.to_i32() {
                        self.next_ticket += 1;
                        let (ticket, connection) = (self.next_ticket, Some(connection));
                        self.lead(LeaderInput::SyncWanted { ticket, connection });
                    } else {
                        self.propose_for(request.session);
                    }
                }
                LeaderEffect::Revalidate { connection, session, .. } => {
                    let valid = session.0 % 2 == 0;
                    self.lead(LeaderInput::Revalidated { connection, session, valid });
                    let (requests, bytes) = (1, REVALIDATION_LEN);
                    self.lead(LeaderInput::Done { connection, requests, bytes });
                }
                LeaderEffect::Abandon(end) => panic!("the leader gave up: {end}"),
                _ => {}
            }
        }
    }

    fn learn(&mut self, id: i64, input: LearnerInput<'_>) {
        let mut effects = Vec::new();
        let node = self.nodes.get_mut(&id).expect("a learner");
        node.machine.step(self.now_ms, input, &mut effects);
        for effect in effects {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: i64, effect: LearnerEffect) {
        let node = self.nodes.get_mut(&id).expect("a learner");
        let work = &mut node.disk.work;
        match effect {
            LearnerEffect::Connect => self.connect(id),
            LearnerEffect::Send(bytes) => {
                let wire = node.connection.and_then(|id| self.wires.get_mut(&id));
                wire.into_iter().for_each(|wire| wire.up.extend(&bytes));
            }
            LearnerEffect::Disconnect => {
                let connection = node.connection;
                connection.into_iter().for_each(|id| self.cut(id, false, true));
            }
            LearnerEffect::WriteEpoch { kind, epoch } => {
                let after = kind == EpochKind::Accepted || node.disk.staged.is_none();
                assert!(after, "the snapshot is in place before the epoch");
                work.push_back(Work::Epoch(kind, epoch));
            }
            LearnerEffect::Begin(SyncStart::Diff) => work.push_back(Work::Begin),
            LearnerEffect::Begin(SyncStart::Trunc(zxid)) => {
                self.totals.truncations += 1;
                work.push_back(Work::Truncate(zxid));
            }
            LearnerEffect::Begin(SyncStart::Snap(zxid)) => node.snapshot = (zxid, Vec::new()),
            LearnerEffect::SnapshotBytes(bytes) => node.snapshot.1.extend(bytes),
            LearnerEffect::SnapshotEnd => {
                let (zxid, body) = std::mem::take(&mut node.snapshot);
                work.push_back(Work::Load(zxid, body));
            }
            LearnerEffect::Proposals(segment) => {
                work.push_back(Work::Append(segment.clone()));
                self.master(id, ObserverMasterInput::Proposed(segment));
            }
            LearnerEffect::Commit(zxid) => {
                assert!(zxid > node.committed && zxid <= self.committed, "{id}: {zxid}");
                node.committed = zxid;
                self.master(id, ObserverMasterInput::Committed(zxid));
            }
            LearnerEffect::Settle => work.push_back(Work::Settle),
            LearnerEffect::Serve { epoch } => {
                node.serving = true;
                // An established leader's tree is at its epoch's counter 0.
                node.committed = node.committed.max(Zxid::new(2, 0));
                self.master(id, ObserverMasterInput::Serve { epoch });
            }
            LearnerEffect::SyncDone if node.master.is_some() => {
                self.master(id, ObserverMasterInput::SyncDone);
            }
            LearnerEffect::SyncDone => self.answered_sync(id),
            LearnerEffect::Revalidated { session, valid } if node.master.is_some() => {
                self.master(id, ObserverMasterInput::Revalidated { session, valid });
            }
            LearnerEffect::Revalidated { session, valid } => self.answered(id, session, valid),
            LearnerEffect::TouchesWanted => {
                let touches = node.master.as_mut().map(ObserverMaster::take_touches);
                self.learn(id, LearnerInput::Touches(touches.unwrap_or_default()));
            }
            LearnerEffect::Abandon(_) => self.restart(id),
            _ => {}
        }
    }

    /// The role is over, and begins anew with what was logged.
    fn restart(&mut self, id: i64) {
        self.master(id, ObserverMasterInput::Stop);
        let node = self.nodes.get_mut(&id).expect("a learner");
        node.disk.retire();
        node.committed = node.disk.files.last();
        (node.serving, node.syncs, node.master) = (false, 0, None);
        node.sessions.clear();
        node.machine = learner(id, node.role, &node.disk, self.now_ms);
        self.learn(id, LearnerInput::Start);
    }

    fn answered_sync(&mut self, id: i64) {
        let node = self.nodes.get_mut(&id).expect("a learner");
        node.syncs = node.syncs.checked_sub(1).expect("an answer to a sync");
        self.totals.syncs += 1;
    }

    fn answered(&mut self, id: i64, session: SessionId, valid: bool) {
        assert_eq!(valid, session.0 % 2 == 0);
        let node = self.nodes.get_mut(&id).expect("a learner");
        let place = node.sessions.iter().position(|asked| *asked == session);
        node.sessions.remove(place.expect("it was asked for"));
        self.totals.revalidations += 1;
    }

    fn master(&mut self, id: i64, input: ObserverMasterInput<'_>) {
        let mut effects = Vec::new();
        let node = self.nodes.get_mut(&id).expect("a learner");
        let Some(master) = &mut node.master else { return };
        master.step(self.now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                ObserverMasterEffect::Send { connection, item } => self.write(connection, &item),
                ObserverMasterEffect::Close { connection, .. } => self.cut(connection, true, false),
                ObserverMasterEffect::Forward(forward) => {
                    self.learn(id, LearnerInput::Forward(forward));
                }
                ObserverMasterEffect::Revalidate { session, timeout_ms } => {
                    self.learn(id, LearnerInput::Revalidate { session, timeout_ms });
                }
                ObserverMasterEffect::OwnSyncDone => self.answered_sync(id),
                ObserverMasterEffect::OwnRevalidated { session, valid } => {
                    self.answered(id, session, valid);
                }
                _ => {}
            }
        }
    }
}
