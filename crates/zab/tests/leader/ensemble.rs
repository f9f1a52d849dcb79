//! Leaders and learners of this crate with each other, term after term: links that break and
//! deliver in any pieces, disks that write later, servers that crash and lose what was not
//! synced. Whatever is committed once stays, on every leader that follows and on every learner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Encode, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::leader::{Leader, LeaderEffect, LeaderEnd, LeaderInput};
use rookeeper_zab::learner::{Learner, LearnerConfig, LearnerEffect, LearnerInput, SyncStart};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{MembershipRules, Role};
use rookeeper_zab::quorum::Ensemble;
use rookeeper_zab::sync::{LogIndex, SyncRules};
use rookeeper_zab::wire;
use rookeeper_zab::{EpochKind, Outgoing, Segment, SegmentBuilder};

use crate::scenario::{config, membership};

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

type Txn = (Zxid, Vec<u8>);

/// What survives a crash.
#[derive(Debug, Clone, Default)]
struct Disk {
    accepted: i64,
    current: i64,
    /// All transactions, those in the snapshot included.
    txns: Vec<Txn>,
    /// The snapshot's zxid: before it the log is not proven.
    base: Zxid,
}

impl Disk {
    fn last(&self) -> Zxid {
        self.txns.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid).max(self.base)
    }

    fn index(&self) -> LogIndex {
        let mut index = LogIndex::new(self.base);
        for (zxid, txn) in self.txns.iter().filter(|(zxid, _)| *zxid > self.base) {
            index.append(*zxid, txn.len() as u64);
        }
        assert_eq!(index.base(), self.base, "no hole came into the log");
        index
    }

    fn append(&mut self, segment: &Segment) {
        for (zxid, txn) in segment.records() {
            assert!(zxid > self.last(), "{zxid} after {}", self.last());
            self.txns.push((zxid, txn.to_vec()));
        }
    }
}

/// What a disk has to do, in this order.
#[derive(Debug)]
enum Write {
    Append(Arc<Segment>),
    Epoch(EpochKind, i64),
    Truncate(Zxid),
    /// A snapshot's body is there, and is loaded.
    Load(Zxid, Vec<u8>),
    Settle,
}

enum Part {
    Down,
    Leads(Box<Leader>),
    Learns(Box<Learner>),
}

struct Server {
    part: Part,
    disk: Disk,
    /// A snapshot that has not taken the disk's place yet, with what follows it.
    staged: Option<Disk>,
    writes: VecDeque<Write>,
    snapshot: Vec<u8>,
    connection: Option<ConnectionId>,
    paused: bool,
    /// Applied so far: its place in all that was ever committed.
    committed: Zxid,
}

/// A transaction that decodes: an error, stamped so that each is another.
fn txn(zxid: Zxid, stamp: u64) -> Vec<u8> {
    let header = TxnHeader {
        client_id: SessionId(stamp as i64),
        cxid: Xid(0),
        zxid,
        time_ms: 0,
        txn_type: -1,
    };
    let mut bytes = header.to_bytes();
    (-101i32).encode(&mut bytes);
    bytes
}

/// A snapshot of one znode, whose data is the history.
fn snapshot_body(txns: &[Txn]) -> Vec<u8> {
    let mut data = Vec::new();
    for (zxid, txn) in txns {
        zxid.encode(&mut data);
        data.extend_from_slice(txn);
    }
    let mut body = Vec::new();
    encode_vector_len(0, &mut body);
    encode_vector_len(0, &mut body);
    "".encode(&mut body);
    (&data[..]).encode(&mut body);
    body.extend_from_slice(&[0; 68]);
    "/".encode(&mut body);
    body
}

fn snapshot_txns(body: &[u8]) -> Vec<Txn> {
    const TXN_LEN: usize = 36;
    let data = &body[16..body.len() - 73];
    let entries = data.chunks_exact(8 + TXN_LEN);
    assert!(entries.remainder().is_empty());
    let zxid = |entry: &[u8]| i64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
    entries.map(|entry| (Zxid(zxid(entry)), entry[8..].to_vec())).collect()
}

struct World {
    dice: Dice,
    seed: u64,
    now_ms: u64,
    servers: BTreeMap<i64, Server>,
    ensemble: Ensemble,
    leader: i64,
    /// Servers whose disks are slow in this term.
    slow: Vec<i64>,
    /// By connection: its learner, bytes to the leader, bytes to the learner.
    links: BTreeMap<ConnectionId, (i64, VecDeque<u8>, VecDeque<u8>)>,
    next_connection: u64,
    next_stamp: u64,
    next_ticket: u64,
    established: bool,
    proposed: Zxid,
    /// Everything that was ever committed.
    history: Vec<Txn>,
    confirmed_syncs: usize,
    stopped: usize,
    ends: Vec<LeaderEnd>,
}

impl World {
    fn new(seed: u64, voters: i64) -> World {
        let ids: Vec<String> = (1..=voters).map(|id| id.to_string()).collect();
        let mut words = vec!["version", "1", "voters"];
        words.extend(ids.iter().map(String::as_str));
        words.extend(["observers", "9"]);
        let server = || Server {
            part: Part::Down,
            disk: Disk::default(),
            staged: None,
            writes: VecDeque::new(),
            snapshot: Vec::new(),
            connection: None,
            paused: false,
            committed: Zxid::ZERO,
        };
        World {
            dice: Dice(seed),
            seed,
            now_ms: 0,
            servers: (1..=voters).chain([9]).map(|id| (id, server())).collect(),
            ensemble: Ensemble::new(Arc::new(membership(&words))),
            leader: 0,
            slow: Vec::new(),
            links: BTreeMap::new(),
            next_connection: 1,
            next_stamp: 1,
            next_ticket: 1,
            established: false,
            proposed: Zxid::ZERO,
            history: Vec::new(),
            confirmed_syncs: 0,
            stopped: 0,
            ends: Vec::new(),
        }
    }

    fn server(&mut self, id: i64) -> &mut Server {
        self.servers.get_mut(&id).expect("a server")
    }

    /// A crash: what was not written is lost, some of it perhaps written.
    fn down(&mut self, id: i64) {
        let keeps = self.dice.roll(4);
        for _ in 0..keeps {
            self.write(id, true);
        }
        let server = self.server(id);
        (server.part, server.staged, server.paused) = (Part::Down, None, false);
        server.writes.clear();
        server.snapshot.clear();
        server.committed = Zxid::ZERO;
        self.cut(id);
    }

    /// The link of a learner, or all links of a leader, are gone for the other side.
    fn cut(&mut self, id: i64) {
        let leader = self.leader;
        let gone: Vec<ConnectionId> = self
            .links
            .iter()
            .filter(|(_, (learner, ..))| *learner == id || leader == id)
            .map(|(connection, _)| *connection)
            .collect();
        for connection in gone {
            let (learner, ..) = self.links.remove(&connection).expect("just found");
            if matches!(self.servers[&leader].part, Part::Leads(_)) {
                self.leader_step(LeaderInput::Closed(connection));
            }
            if self.servers[&learner].connection == Some(connection) {
                self.server(learner).connection = None;
                self.learner_step(learner, LearnerInput::Closed);
            }
        }
    }

    /// An election: a quorum's best leads, as the votes would have it; everybody's, where all take
    /// part.
    fn elect(&mut self, all: bool) {
        let voters = self.servers.len() as u64 - 1;
        let mut up: Vec<i64> = (1..=voters as i64).collect();
        while !all && up.len() as u64 > voters / 2 + 1 && self.dice.one_in(2) {
            let gone = self.dice.roll(up.len() as u64) as usize;
            up.remove(gone);
        }
        let vote = |id: &&i64| {
            let disk = &self.servers[*id].disk;
            (disk.current, disk.last(), **id)
        };
        self.leader = *up.iter().max_by_key(vote).expect("a quorum");
        self.established = false;
        let (id, now_ms, ensemble) = (self.leader, self.now_ms, self.ensemble.clone());
        let snapshots = self.dice.one_in(4);
        let server = self.server(id);
        let mut config = config(id, ensemble, server.disk.last());
        config.accepted_epoch = server.disk.accepted;
        config.current_epoch = server.disk.current;
        config.sync = SyncRules { force_snapshot: snapshots, ..SyncRules::default() };
        let leader = Leader::new(config, server.disk.index(), now_ms);
        server.part = Part::Leads(Box::new(leader));
        self.leader_step(LeaderInput::Start);
        for learner in up.into_iter().filter(|other| *other != id).chain([9]) {
            self.follow(learner);
        }
    }

    fn follow(&mut self, id: i64) {
        let (leader, now_ms) = (self.leader, self.now_ms);
        let server = self.server(id);
        let config = LearnerConfig {
            me: ServerId(id),
            leader: ServerId(leader),
            role: if id == 9 { Role::Observer } else { Role::Participant },
            tick_time_ms: 1000,
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            connect_delay_ms: None,
            config_version: 1,
            accepted_epoch: server.disk.accepted,
            current_epoch: server.disk.current,
            last_zxid: server.disk.last(),
            buffer_len_max: 1 << 20,
            rules: MembershipRules { standalone_enabled: false, multi_address_enabled: true },
        };
        server.committed = Zxid::ZERO;
        server.part = Part::Learns(Box::new(Learner::new(config, now_ms)));
        self.learner_step(id, LearnerInput::Start);
    }

    fn leader_step(&mut self, input: LeaderInput<'_>) {
        let (id, now_ms) = (self.leader, self.now_ms);
        let mut effects = Vec::new();
        let Part::Leads(leader) = &mut self.server(id).part else { return };
        leader.step(now_ms, input, &mut effects);
        for effect in effects {
            self.leader_asks(effect);
        }
    }

    fn leader_asks(&mut self, effect: LeaderEffect) {
        let id = self.leader;
        match effect {
            LeaderEffect::Send { connection, item } => self.send(connection, &item),
            LeaderEffect::Close { connection, .. } => {
                if let Some((learner, _, bytes)) = self.links.remove(&connection)
                    && self.servers[&learner].connection == Some(connection)
                {
                    let rest: Vec<u8> = bytes.into();
                    self.learner_step(learner, LearnerInput::Received(&rest));
                    self.server(learner).connection = None;
                    self.learner_step(learner, LearnerInput::Closed);
                }
            }
            LeaderEffect::WriteEpoch { kind, epoch } => {
                self.server(id).writes.push_back(Write::Epoch(kind, epoch));
            }
            LeaderEffect::Established { epoch } => {
                let txns = self.servers[&id].disk.txns.clone();
                let committed = self.history.len();
                assert!(txns.len() >= committed, "seed {}: committed, and lost", self.seed);
                assert_eq!(txns[..committed], self.history, "seed {}", self.seed);
                self.history = txns;
                self.established = true;
                self.proposed = Zxid(epoch << 32);
            }
            LeaderEffect::Commit(zxid) => self.commit(zxid),
            LeaderEffect::SyncConfirmed(_) => self.confirmed_syncs += 1,
            LeaderEffect::Stopped => {
                self.stopped += 1;
                self.down(id);
            }
            LeaderEffect::Abandon(end) => {
                self.ends.push(end);
                self.down(id);
            }
            _ => {}
        }
    }

    /// A commit by the leader: what was proposed becomes history, and a majority has it on disk.
    fn commit(&mut self, zxid: Zxid) {
        let id = self.leader;
        let waiting = self.servers[&id].writes.iter().filter_map(|write| match write {
            Write::Append(segment) => Some(segment.clone()),
            _ => None,
        });
        let waiting: Vec<Arc<Segment>> = waiting.collect();
        let last = self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let mut all = self.servers[&id].disk.txns.clone();
        for segment in waiting {
            all.extend(segment.records().map(|(zxid, txn)| (zxid, txn.to_vec())));
        }
        let committed = all.into_iter().filter(|(at, _)| *at > last && *at <= zxid);
        self.history.extend(committed);
        let newest = self.history.last().expect("something is committed").clone();
        assert_eq!(newest.0, zxid, "seed {}", self.seed);
        let has = |server: &&Server| {
            let disk = server.staged.as_ref().unwrap_or(&server.disk);
            disk.txns.contains(&newest) && server.disk.txns.contains(&newest)
        };
        let voters = self.servers.iter().filter(|(id, _)| **id != 9).map(|(_, server)| server);
        let count = voters.clone().filter(has).count();
        assert!(count > voters.count() / 2, "seed {}: {zxid} on {count} disks", self.seed);
    }

    fn send(&mut self, connection: ConnectionId, item: &Outgoing) {
        let mut bytes = Vec::new();
        let disk = &self.servers[&self.leader].disk;
        let history = |after: Zxid, through: Zxid, bytes: &mut Vec<u8>| {
            for (zxid, txn) in &disk.txns {
                if *zxid > after && *zxid <= through {
                    wire::history_record(*zxid, txn, bytes);
                }
            }
        };
        match item {
            Outgoing::Bytes(packets) => bytes.extend_from_slice(packets),
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(segment, range.clone(), *kind, &mut bytes);
            }
            Outgoing::History { after, through } => {
                assert!(*after >= disk.base && *through <= disk.last(), "seed {}", self.seed);
                history(*after, *through, &mut bytes);
            }
            Outgoing::Snapshot { base, through } => {
                assert!(base <= through && *through <= disk.last(), "seed {}", self.seed);
                let possible = disk.txns.iter().filter(|(zxid, _)| zxid >= base && zxid <= through);
                let count = possible.clone().count() as u64;
                let at = if count == 0 { 0 } else { self.dice.roll(count) as usize };
                let zxid = possible.clone().nth(at).map_or(*base, |(zxid, _)| *zxid);
                let part: Vec<Txn> =
                    disk.txns.iter().filter(|(at, _)| *at <= zxid).cloned().collect();
                wire::snapshot_begin(zxid, &mut bytes);
                bytes.extend_from_slice(&snapshot_body(&part));
                wire::snapshot_end(&mut bytes);
                history(zxid, *through, &mut bytes);
            }
        }
        if let Some((_, _, to_learner)) = self.links.get_mut(&connection) {
            to_learner.extend(bytes);
        }
    }

    fn learner_step(&mut self, id: i64, input: LearnerInput<'_>) {
        let now_ms = self.now_ms;
        let mut effects = Vec::new();
        let Part::Learns(learner) = &mut self.server(id).part else { return };
        learner.step(now_ms, input, &mut effects);
        for effect in effects {
            self.learner_asks(id, effect);
        }
    }

    fn learner_asks(&mut self, id: i64, effect: LearnerEffect) {
        match effect {
            LearnerEffect::Connect => {
                let leads = matches!(self.servers[&self.leader].part, Part::Leads(_));
                if !leads || self.dice.one_in(4) {
                    self.learner_step(id, LearnerInput::ConnectFailed);
                    return;
                }
                let connection = ConnectionId(self.next_connection);
                self.next_connection += 1;
                self.links.insert(connection, (id, VecDeque::new(), VecDeque::new()));
                self.server(id).connection = Some(connection);
                self.leader_step(LeaderInput::Accepted(connection));
                self.learner_step(id, LearnerInput::Connected);
            }
            LearnerEffect::Send(bytes) => {
                let connection = self.servers[&id].connection;
                if let Some((_, to_leader, _)) =
                    connection.and_then(|connection| self.links.get_mut(&connection))
                {
                    to_leader.extend(bytes);
                }
            }
            LearnerEffect::Disconnect => {
                if let Some(connection) = self.server(id).connection.take()
                    && self.links.remove(&connection).is_some()
                {
                    self.leader_step(LeaderInput::Closed(connection));
                }
            }
            LearnerEffect::PauseReading => self.server(id).paused = true,
            LearnerEffect::ResumeReading => self.server(id).paused = false,
            LearnerEffect::WriteEpoch { kind, epoch } => {
                self.server(id).writes.push_back(Write::Epoch(kind, epoch));
            }
            LearnerEffect::Begin(SyncStart::Diff) => self.learner_step(id, LearnerInput::Ready),
            LearnerEffect::Begin(SyncStart::Trunc(zxid)) => {
                self.server(id).writes.push_back(Write::Truncate(zxid));
            }
            LearnerEffect::Begin(SyncStart::Snap(zxid)) => {
                let server = self.server(id);
                server.staged = Some(Disk { base: zxid, ..server.disk.clone() });
                server.snapshot.clear();
            }
            LearnerEffect::SnapshotBytes(bytes) => self.server(id).snapshot.extend(bytes),
            LearnerEffect::SnapshotEnd => {
                let server = self.server(id);
                let body = std::mem::take(&mut server.snapshot);
                let base = server.staged.as_ref().expect("a snapshot came").base;
                server.writes.push_back(Write::Load(base, body));
            }
            LearnerEffect::Proposals(segment) => {
                self.server(id).writes.push_back(Write::Append(segment));
            }
            LearnerEffect::Settle => self.server(id).writes.push_back(Write::Settle),
            LearnerEffect::Commit(zxid) => {
                let last = self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
                let server = self.server(id);
                assert!(zxid > server.committed, "commits go forward");
                server.committed = zxid;
                // Its leader may not be established yet: what it hands out is its own history.
                let early = !self.established && zxid <= self.servers[&self.leader].disk.last();
                assert!(zxid <= last || early, "seed {}: {zxid} is not committed", self.seed);
            }
            LearnerEffect::TouchesWanted => {
                self.learner_step(id, LearnerInput::Touches(Vec::new()));
            }
            LearnerEffect::Abandon(end) => {
                let good = matches!(
                    end,
                    rookeeper_zab::learner::LearnerEnd::CannotConnect
                        | rookeeper_zab::learner::LearnerEnd::Closed
                        | rookeeper_zab::learner::LearnerEnd::Silent { .. }
                        | rookeeper_zab::learner::LearnerEnd::EpochTooOld { .. }
                );
                assert!(good, "seed {}: {end}", self.seed);
                self.down(id);
            }
            _ => {}
        }
    }

    /// A disk does its next work; `lost`: nobody hears of it.
    fn write(&mut self, id: i64, lost: bool) {
        let Some(write) = self.server(id).writes.pop_front() else { return };
        let leads = matches!(self.servers[&id].part, Part::Leads(_));
        let server = self.server(id);
        let done = match write {
            Write::Append(segment) => {
                let target = server.staged.as_mut().unwrap_or(&mut server.disk);
                target.append(&segment);
                LearnerInput::Durable(segment.last_zxid())
            }
            Write::Epoch(kind, epoch) => {
                let place = match kind {
                    EpochKind::Accepted => &mut server.disk.accepted,
                    EpochKind::Current => &mut server.disk.current,
                };
                assert!(epoch >= *place, "epochs never go back");
                *place = epoch;
                LearnerInput::EpochWritten(kind)
            }
            Write::Truncate(zxid) => {
                server.disk.txns.retain(|(at, _)| *at <= zxid);
                LearnerInput::Ready
            }
            Write::Load(base, body) => {
                let staged = server.staged.as_mut().expect("a snapshot came");
                (staged.txns, staged.base) = (snapshot_txns(&body), base);
                LearnerInput::Ready
            }
            Write::Settle => {
                if let Some(staged) = server.staged.take() {
                    let epochs = (server.disk.accepted, server.disk.current);
                    server.disk = staged;
                    (server.disk.accepted, server.disk.current) = epochs;
                }
                LearnerInput::Settled
            }
        };
        match (lost, leads, done) {
            (true, ..) => {}
            (_, true, LearnerInput::Durable(zxid)) => self.leader_step(LeaderInput::Durable(zxid)),
            (_, true, LearnerInput::EpochWritten(kind)) => {
                self.leader_step(LeaderInput::EpochWritten(kind));
            }
            (_, true, _) => unreachable!("leaders only append"),
            (_, false, input) => self.learner_step(id, input),
        }
    }

    /// Bytes arrive on one link, in one direction.
    fn deliver(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let at = self.dice.roll(self.links.len() as u64) as usize;
        let connection = *self.links.keys().nth(at).expect("just counted");
        let len = if self.dice.one_in(3) { self.dice.roll(60) + 1 } else { 100_000 } as usize;
        let to_leader = self.dice.one_in(2);
        let (learner, up, down) = self.links.get_mut(&connection).expect("just found");
        let learner = *learner;
        let queue = if to_leader { up } else { down };
        if !to_leader && self.servers[&learner].paused {
            return;
        }
        let len = len.min(queue.len());
        let bytes: Vec<u8> = queue.drain(..len).collect();
        if bytes.is_empty() {
            return;
        }
        if to_leader {
            self.leader_step(LeaderInput::Received { connection, bytes: &bytes });
        } else {
            self.learner_step(learner, LearnerInput::Received(&bytes));
        }
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        let ids: Vec<i64> = self.servers.keys().copied().collect();
        for id in ids {
            let now_ms = self.now_ms;
            let due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            match &self.servers[&id].part {
                Part::Leads(leader) if due(leader.deadline_ms()) => {
                    self.leader_step(LeaderInput::Tick);
                }
                Part::Learns(learner) if due(learner.deadline_ms()) => {
                    self.learner_step(id, LearnerInput::Tick);
                }
                _ => {}
            }
        }
    }

    fn propose(&mut self) {
        let leads = matches!(self.servers[&self.leader].part, Part::Leads(_));
        if !leads || !self.established {
            return;
        }
        if self.dice.one_in(3) {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.leader_step(LeaderInput::SyncWanted { ticket, connection: None });
            return;
        }
        let mut builder = SegmentBuilder::default();
        for _ in 0..=self.dice.roll(3) {
            self.proposed = self.proposed.next();
            builder.push(self.proposed, &txn(self.proposed, self.next_stamp));
            self.next_stamp += 1;
        }
        let segment = builder.freeze();
        let leader = self.leader;
        self.server(leader).writes.push_back(Write::Append(segment.clone()));
        self.leader_step(LeaderInput::Proposed(segment));
    }

    /// One thing happens; `faults`: perhaps a bad one.
    fn something(&mut self, faults: bool) {
        let ids: Vec<i64> = self.servers.keys().copied().collect();
        let any = ids[self.dice.roll(ids.len() as u64) as usize];
        let leads = matches!(self.servers[&self.leader].part, Part::Leads(_));
        match self.dice.roll(if faults { 66 } else { 60 }) {
            0..32 => self.deliver(),
            32..46 if self.slow.contains(&any) && !self.dice.one_in(12) => {}
            32..46 => self.write(any, false),
            46..52 => self.propose(),
            52..54 => {
                let ms = self.dice.roll(200);
                self.tick(ms);
            }
            54..60 => {
                let down = matches!(self.servers[&any].part, Part::Down);
                if down && leads && any != self.leader {
                    self.follow(any);
                }
            }
            60..63 => {
                let connection = self.links.iter().nth(self.dice.roll(6) as usize);
                if let Some((_, (learner, ..))) = connection {
                    let learner = *learner;
                    self.cut(learner);
                }
            }
            63 => self.down(any),
            64 if self.dice.one_in(4) => self.leader_step(LeaderInput::Stop),
            _ => {}
        }
    }

    fn term(&mut self, faults: bool, steps: usize) {
        for id in self.servers.keys().copied().collect::<Vec<i64>>() {
            self.down(id);
        }
        self.slow.clear();
        self.elect(!faults);
        if faults && self.dice.one_in(2) {
            let voters = self.servers.len() as u64 - 1;
            self.slow = vec![self.leader, self.dice.roll(voters) as i64 + 1];
        }
        for _ in 0..steps {
            self.something(faults);
            if matches!(self.servers[&self.leader].part, Part::Down) {
                return;
            }
        }
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed, if seed.is_multiple_of(3) { 5 } else { 3 });
    world.leader = 1;
    for _ in 0..12 {
        world.term(true, 400);
    }
    // Without faults everybody gets everything.
    for _ in 0..4 {
        world.term(false, 6000);
    }
    world
}

#[test]
fn what_is_committed_stays() {
    let (mut committed, mut syncs, mut stopped) = (0, 0, 0);
    let seeds = std::env::var("ROOKEEPER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds: u64 = seeds.unwrap_or(20);
    for seed in 0..seeds {
        let world = run(seed);
        let leader = &world.servers[&world.leader];
        let Part::Leads(machine) = &leader.part else {
            panic!("seed {seed}: nobody leads: {:?}", world.ends)
        };
        let report = machine.report();
        assert!(report.established && world.history.len() > 100, "seed {seed}: {report:?}");
        let up = report.learners.iter().filter(|learner| learner.up).count();
        assert_eq!(up, world.servers.len() - 1, "seed {seed}: {report:?}");
        committed += world.history.len() as u64;
        syncs += world.confirmed_syncs as u64;
        stopped += world.stopped as u64;
    }
    let enough = committed > seeds * 200 && syncs > seeds * 50 && stopped * 10 > seeds;
    assert!(enough, "{committed} committed, {syncs} syncs, {stopped} stopped, of {seeds} seeds");
}
