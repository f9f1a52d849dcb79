//! A server in memory: one core, some shards, a disk that is as slow as the test says, clients
//! that send bytes and read frames. Every call that a real driver's threads could make next is an
//! action; a seed decides which one is made.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod ensemble;

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::proto::{
    ConnectRequest, ConnectResponse, CreateRequest, DeleteRequest, ExistsRequest, GetDataRequest,
    ReplyHeader, RequestHeader, SetDataRequest, WatcherEvent,
};
use rookeeper_jute::{Acl, Decode, Encode, OpCode, Reader, SessionId, Stat, Xid, Zxid};
use rookeeper_replica::{
    ApplyProgress, CloseReason, ConnectionKey, Core, CoreConfig, CoreEffect, CoreInput, CoreRole,
    CoreStart, DeliveryBatch, HaltReason, Now, Peer, Shard, ShardConfig, ShardEffect, ShardEffects,
    ShardId, Shared, SubmissionBatch,
};
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, Tree, TreeConfig};

/// Numbers from a seed (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

/// A client's end of a connection.
pub struct Client {
    pub key: ConnectionKey,
    /// Bytes that the server has not read.
    sent: VecDeque<u8>,
    received: Vec<u8>,
    paused: bool,
    pub closed: Option<CloseReason>,
    /// Whether the client reads what the server writes.
    pub reads: bool,
    gone: bool,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    /// A shard takes the lock, its queue, and some input.
    Run(usize),
    /// A client's socket takes what there is to send.
    Write(usize),
    Core,
    Disk,
    Apply,
    Closed(usize),
}

pub struct World {
    pub now: Now,
    pub shared: Shared,
    pub core: Core,
    pub shards: Vec<Shard>,
    pub clients: Vec<Client>,
    pub dice: Dice,
    /// Whether the disk makes progress by itself.
    pub disk_works: bool,
    /// The log: every transaction handed to the disk.
    pub log: Vec<(Zxid, Vec<u8>)>,
    pub halted: Option<HaltReason>,
    /// Sessions of which the core said that they expired.
    pub expired: Vec<SessionId>,
    pub words: Vec<(ConnectionKey, [u8; 4], Option<i64>)>,
    pub snapshots: usize,
    pub rolls: usize,
    /// What the core of an ensemble's member asks of its peers, and what it appends, in order.
    pub peers: VecDeque<CoreEffect>,
    /// The last zxid of the log when the role had ended.
    pub retired: Option<Zxid>,
    /// Up to where the disk has told that the log is durable.
    pub durable: Zxid,
    role: CoreRole,
    core_config: CoreConfig,
    access: Arc<AccessControl>,
    deliveries: Vec<VecDeque<DeliveryBatch>>,
    woken: Vec<bool>,
    submissions: VecDeque<CoreInput>,
    unflushed: VecDeque<Zxid>,
    apply: bool,
}

pub struct Setup {
    pub shards: u16,
    pub seed: u64,
    pub core: CoreConfig,
    pub shard: ShardConfig,
    pub tree: Option<Tree>,
    pub role: CoreRole,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            shards: 1,
            seed: 1,
            core: CoreConfig::default(),
            shard: ShardConfig::default(),
            tree: None,
            role: CoreRole::Alone,
        }
    }
}

pub fn tree() -> Tree {
    Tree::new(TreeConfig {
        index_key: [3, 4],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    })
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let now = Now { wall_ms: 1_700_000_000_000, monotonic_us: 5_000_000_000 };
        let access = Arc::new(AccessControl::default());
        let shared = Shared::new(setup.tree.unwrap_or_else(tree), setup.shards);
        let core = Core::new(
            now,
            setup.core.clone(),
            PrepareConfig::default(),
            access.clone(),
            &shared,
            CoreStart { role: setup.role, ..CoreStart::default() },
        );
        let config = Arc::new(setup.shard);
        let shard = |id| Shard::new(ShardId(id), config.clone(), access.clone());
        World {
            now,
            shared,
            core,
            shards: (0..setup.shards).map(shard).collect(),
            clients: Vec::new(),
            dice: Dice::new(setup.seed),
            disk_works: true,
            log: Vec::new(),
            halted: None,
            expired: Vec::new(),
            words: Vec::new(),
            snapshots: 0,
            rolls: 0,
            peers: VecDeque::new(),
            retired: None,
            durable: Zxid::ZERO,
            role: setup.role,
            core_config: setup.core,
            access: access.clone(),
            deliveries: (0..setup.shards).map(|_| VecDeque::new()).collect(),
            woken: vec![false; usize::from(setup.shards)],
            submissions: VecDeque::new(),
            unflushed: VecDeque::new(),
            apply: false,
        }
    }

    /// A new connection to a shard, without a session.
    pub fn accept(&mut self, shard: usize) -> usize {
        let address = "127.0.0.1:40000".parse().expect("an address");
        let key = self.shards[shard].accept(self.now, Peer { address, secure: false });
        self.clients.push(Client {
            key,
            sent: VecDeque::new(),
            received: Vec::new(),
            paused: false,
            closed: None,
            reads: true,
            gone: false,
        });
        self.clients.len() - 1
    }

    /// A connection with a new session; returns the client and the response.
    pub fn connect(&mut self, shard: usize, timeout_ms: i32) -> (usize, Session) {
        let client = self.accept(shard);
        self.send(client, &connect_frame(0, timeout_ms, SessionId(0), &[0; 16], Some(false)));
        self.run();
        let session = self.session(client);
        assert_ne!(session.id, SessionId(0));
        (client, session)
    }

    /// The connect response that a client got.
    pub fn session(&mut self, client: usize) -> Session {
        let frame = self.frame(client).expect("a connect response");
        let response = ConnectResponse::from_bytes(&frame).expect("decodes");
        Session {
            id: response.session_id,
            password: response.password.expect("never null").to_vec(),
            timeout_ms: response.timeout_ms,
            read_only: response.read_only,
        }
    }

    pub fn send(&mut self, client: usize, bytes: &[u8]) {
        self.clients[client].sent.extend(bytes);
    }

    pub fn request(&mut self, client: usize, xid: i32, op: OpCode, body: &impl Encode) {
        self.send(client, &request_frame(xid, op.to_i32(), body));
    }

    pub fn create(&mut self, client: usize, xid: i32, path: &str, flags: i32) {
        let body = CreateRequest {
            path: Some(path.into()),
            data: Some(b"x"),
            acl: Some(vec![Acl::open_unsafe()]),
            flags,
        };
        self.request(client, xid, OpCode::Create, &body);
    }

    pub fn set(&mut self, client: usize, xid: i32, path: &str, data: &[u8]) {
        let body = SetDataRequest { path: Some(path.into()), data: Some(data), version: -1 };
        self.request(client, xid, OpCode::SetData, &body);
    }

    pub fn get(&mut self, client: usize, xid: i32, path: &str, watch: bool) {
        let body = GetDataRequest { path: Some(path.into()), watch };
        self.request(client, xid, OpCode::GetData, &body);
    }

    pub fn exists(&mut self, client: usize, xid: i32, path: &str, watch: bool) {
        let body = ExistsRequest { path: Some(path.into()), watch };
        self.request(client, xid, OpCode::Exists, &body);
    }

    pub fn delete(&mut self, client: usize, xid: i32, path: &str) {
        let body = DeleteRequest { path: Some(path.into()), version: -1 };
        self.request(client, xid, OpCode::Delete, &body);
    }

    /// The next frame that a client received.
    pub fn frame(&mut self, client: usize) -> Option<Vec<u8>> {
        let received = &mut self.clients[client].received;
        let len = u32::from_be_bytes(*received.first_chunk::<4>()?) as usize;
        if received.len() < 4 + len {
            return None;
        }
        let frame = received[4..4 + len].to_vec();
        received.drain(..4 + len);
        Some(frame)
    }

    /// All that a client received that is not frames.
    pub fn raw(&mut self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].received)
    }

    /// The next reply or event that a client received.
    pub fn reply(&mut self, client: usize) -> Option<Reply> {
        let frame = self.frame(client)?;
        let header = ReplyHeader::from_bytes(&frame).expect("a reply header");
        Some(Reply { header, body: frame[16..].to_vec() })
    }

    pub fn replies(&mut self, client: usize) -> Vec<Reply> {
        std::iter::from_fn(|| self.reply(client)).collect()
    }

    /// The socket of a client breaks.
    pub fn drop_connection(&mut self, client: usize) {
        self.clients[client].gone = true;
    }

    /// Lets time pass in steps of a tick of the drivers.
    pub fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(50);
            left -= step;
            self.now.monotonic_us += step * 1000;
            self.now.wall_ms += step as i64;
            self.tick();
            self.run();
        }
    }

    /// A tick of the drivers, without what follows from it.
    pub fn tick(&mut self) {
        for shard in 0..self.shards.len() {
            let mut effects = ShardEffects::default();
            self.shards[shard].tick(self.now, &mut effects);
            self.carry_out(shard, effects);
        }
        self.submissions.push_back(CoreInput::Tick);
    }

    /// Puts the next core in the place of one that is retired.
    pub fn begin_role(&mut self, role: CoreRole) {
        assert!(self.retired.take().is_some(), "the role before has ended");
        self.role = role;
        self.core = Core::new(
            self.now,
            self.core_config.clone(),
            PrepareConfig::default(),
            self.access.clone(),
            &self.shared,
            self.core.successor(role),
        );
    }

    /// Whether there is anything to do.
    pub fn is_at_rest(&self) -> bool {
        self.actions().is_empty()
    }

    /// Does what can be done, in an order that the dice decide.
    pub fn run(&mut self) {
        for _ in 0..1_000_000 {
            let actions = self.actions();
            if actions.is_empty() {
                return;
            }
            let action = actions[self.dice.below(actions.len())];
            self.perform(action);
        }
        panic!("the server does not come to rest");
    }

    /// Does some of it.
    pub fn run_for(&mut self, steps: usize) {
        for _ in 0..steps {
            let actions = self.actions();
            if actions.is_empty() {
                return;
            }
            let action = actions[self.dice.below(actions.len())];
            self.perform(action);
        }
    }

    /// Whether a whole frame was received.
    pub fn has_frame(&self, client: usize) -> bool {
        let received = &self.clients[client].received;
        let len = received.first_chunk::<4>().map(|len| u32::from_be_bytes(*len) as usize);
        len.is_some_and(|len| received.len() >= 4 + len)
    }

    pub fn input(&mut self, input: CoreInput) {
        self.submissions.push_back(input);
        self.run();
    }

    /// Makes everything durable that was handed to the disk so far.
    pub fn flush(&mut self) {
        let last = self.unflushed.drain(..).next_back();
        if let Some(zxid) = last {
            self.durable = zxid;
            self.step(CoreInput::Durable(zxid));
        }
        self.run();
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for shard in 0..self.shards.len() {
            let readable = |client: &Client| {
                client.key.shard.index() == shard
                    && !client.sent.is_empty()
                    && !client.paused
                    && client.closed.is_none()
                    && !client.gone
            };
            let input = self.clients.iter().any(readable);
            if input || self.woken[shard] || !self.deliveries[shard].is_empty() {
                actions.push(Action::Run(shard));
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let shard = &self.shards[client.key.shard.index()];
            let dead = client.gone || client.closed.is_some();
            if client.reads && !client.gone && !shard.output(client.key).is_empty() {
                actions.push(Action::Write(index));
            } else if dead && shard.session(client.key).is_some() {
                actions.push(Action::Closed(index));
            }
        }
        if !self.submissions.is_empty() {
            actions.push(Action::Core);
        }
        if self.disk_works && !self.unflushed.is_empty() {
            actions.push(Action::Disk);
        }
        if self.apply {
            actions.push(Action::Apply);
        }
        actions
    }

    fn perform(&mut self, action: Action) {
        self.now.monotonic_us += 7;
        match action {
            Action::Run(shard) => self.run_shard(shard),
            Action::Write(client) => {
                let key = self.clients[client].key;
                let shard = key.shard.index();
                let output = self.shards[shard].output(key);
                let len = 1 + self.dice.below(output.len());
                self.clients[client].received.extend_from_slice(&output[..len]);
                let mut effects = ShardEffects::default();
                self.shards[shard].written(key, len, &mut effects);
                self.carry_out(shard, effects);
            }
            Action::Core => {
                let input = self.submissions.pop_front().expect("looked at before");
                self.step(input);
            }
            Action::Disk => {
                let count = 1 + self.dice.below(self.unflushed.len());
                let zxid = self.unflushed.drain(..count).next_back().expect("at least one");
                self.durable = zxid;
                self.step(CoreInput::Durable(zxid));
            }
            Action::Apply => {
                let mut effects = Vec::new();
                let progress = self.core.apply(self.now, &mut self.shared, &mut effects);
                self.apply = progress == ApplyProgress::More;
                self.carry_out_core(effects);
            }
            Action::Closed(client) => {
                let key = self.clients[client].key;
                let shard = key.shard.index();
                let mut effects = ShardEffects::default();
                self.shards[shard].closed(key, &mut effects);
                self.carry_out(shard, effects);
            }
        }
    }

    pub fn step(&mut self, input: CoreInput) {
        let mut effects = Vec::new();
        self.core.step(self.now, input, &self.shared, &mut effects);
        self.carry_out_core(effects);
    }

    fn run_shard(&mut self, shard: usize) {
        self.woken[shard] = false;
        let mut effects = ShardEffects::default();
        let deliveries: Vec<_> = self.deliveries[shard].drain(..).collect();
        for batch in deliveries {
            self.shards[shard].deliver(self.now, batch, &self.shared, &mut effects);
        }
        self.shards[shard].catch_up(self.now, &self.shared, &mut effects);
        self.carry_out(shard, effects);
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let other = client.key.shard.index() != shard || client.closed.is_some();
            if other || client.paused || client.gone || client.sent.is_empty() {
                continue;
            }
            let len = 1 + self.dice.below(client.sent.len());
            let bytes: Vec<u8> = client.sent.drain(..len).collect();
            let mut effects = ShardEffects::default();
            let key = client.key;
            self.shards[shard].receive(self.now, key, &bytes, &self.shared, &mut effects);
            self.carry_out(shard, effects);
        }
    }

    fn carry_out(&mut self, shard: usize, effects: ShardEffects) {
        if !effects.submissions.is_empty() {
            self.submissions.push_back(CoreInput::Submissions(effects.submissions));
        }
        for effect in effects.effects {
            match effect {
                ShardEffect::Output(_) => {}
                ShardEffect::Pause(key) => self.client(key).paused = true,
                ShardEffect::Resume(key) => self.client(key).paused = false,
                ShardEffect::Close(key, reason) => {
                    let client = self.client(key);
                    assert_eq!(client.closed, None, "closed once");
                    client.closed = Some(reason);
                }
                ShardEffect::FourLetterWord { connection, word, argument } => {
                    self.words.push((connection, word, argument));
                }
                ShardEffect::More => self.woken[shard] = true,
            }
        }
    }

    fn client(&mut self, key: ConnectionKey) -> &mut Client {
        self.clients.iter_mut().find(|client| client.key == key).expect("a client's key")
    }

    fn carry_out_core(&mut self, effects: Vec<CoreEffect>) {
        for effect in effects {
            match effect {
                CoreEffect::Append(segment) => {
                    self.log.extend(segment.records().map(|(zxid, txn)| (zxid, txn.to_vec())));
                    self.unflushed.push_back(segment.last_zxid());
                    if self.role != CoreRole::Alone {
                        self.peers.push_back(CoreEffect::Append(segment));
                    }
                }
                CoreEffect::Roll => self.rolls += 1,
                CoreEffect::Apply => self.apply = true,
                CoreEffect::Deliver(batch) => {
                    self.deliveries[batch.shard().index()].push_back(batch);
                }
                CoreEffect::Wake(shard) => self.woken[shard.index()] = true,
                CoreEffect::BeginSnapshot => self.snapshots += 1,
                CoreEffect::Halted(reason) => self.halted = Some(reason),
                CoreEffect::QuotaExceeded(_) => {}
                CoreEffect::SessionsExpired(sessions) => self.expired.extend(sessions),
                CoreEffect::DigestMismatch(zxid) => panic!("digest differs at {zxid}"),
                CoreEffect::Retired { last_zxid } => self.retired = Some(last_zxid),
                for_peers => {
                    assert_ne!(self.role, CoreRole::Alone, "asks peers: {for_peers:?}");
                    self.peers.push_back(for_peers);
                }
            }
        }
    }
}

/// What a client knows of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
    pub read_only: Option<bool>,
}

/// A reply or an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub header: ReplyHeader,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn xid(&self) -> i32 {
        self.header.xid.0
    }

    /// The data of a getData reply.
    pub fn data(&self) -> Option<Vec<u8>> {
        let mut reader = Reader::new(&self.body);
        let data: Option<&[u8]> = reader.read().expect("data");
        reader.read::<Stat>().expect("a stat");
        data.map(<[u8]>::to_vec)
    }

    /// Type and path of an event.
    pub fn event(&self) -> (i32, String) {
        assert_eq!(self.header.xid, Xid::NOTIFICATION);
        let event = WatcherEvent::from_bytes(&self.body).expect("an event");
        (event.event_type, event.path.expect("a path").into_owned())
    }
}

pub fn framed(record: &impl Encode) -> Vec<u8> {
    let body = record.to_bytes();
    let mut frame = (body.len() as i32).to_bytes();
    frame.extend(body);
    frame
}

pub fn request_frame(xid: i32, op: i32, body: &impl Encode) -> Vec<u8> {
    let mut bytes = RequestHeader { xid: Xid(xid), op }.to_bytes();
    body.encode(&mut bytes);
    let mut frame = (bytes.len() as i32).to_bytes();
    frame.extend(bytes);
    frame
}

/// A request without a body.
pub struct Nothing;

impl Encode for Nothing {
    fn encode(&self, _out: &mut Vec<u8>) {}
}

pub fn connect_frame(
    last_zxid_seen: i64,
    timeout_ms: i32,
    session_id: SessionId,
    password: &[u8],
    read_only: Option<bool>,
) -> Vec<u8> {
    framed(&ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(last_zxid_seen),
        timeout_ms,
        session_id,
        password: Some(password),
        read_only,
    })
}

/// A batch that says nothing, for tests of the core alone.
pub fn empty_batch() -> SubmissionBatch {
    SubmissionBatch::default()
}
