//! One session that writes, reads and checks what it is told, through whichever member takes it.

use super::client::{Client, Connected, Event, Reply, Session};
use super::history::{History, Outcome, Seen, Swap};
use super::load::Amount;
use super::tree::read_data;
use crate::random::Random;
use crate::request::{self, Request, open_acl, text};
use crate::wire::{Reader, opcode};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared registers.
pub const REGISTERS: usize = 4;
/// Registers of each lane.
pub const OWN: usize = 5;

/// What all lanes share while they run.
#[derive(Debug, Default)]
pub struct Shared {
    /// Set to end the load.
    pub stop: AtomicBool,
    /// The greatest zxid that any reply showed: a write asked for later must get a greater one.
    pub newest: AtomicI64,
    /// The greatest acknowledged version of each shared register.
    pub versions: [AtomicI32; REGISTERS],
    /// Whether sync and read must see every acknowledged write: our leaders promise it.
    pub sync_is_linearizable: AtomicBool,
    /// Acknowledged writes of all lanes.
    pub writes: AtomicU64,
    /// Milliseconds since the start of the load at which the last write was acknowledged.
    pub last_write_ms: AtomicU64,
    /// What must not be.
    pub errors: Mutex<Vec<String>>,
}

impl Shared {
    /// Notes what must not be.
    pub fn error(&self, what: String) {
        self.errors.lock().expect("no lane panics with the lock").push(what);
    }
}

/// How a lane behaves.
#[derive(Debug, Clone)]
pub struct Style {
    /// Requests in flight.
    pub depth: usize,
    /// Time between two batches.
    pub pause: Duration,
    /// The session's timeout.
    pub timeout_ms: i32,
}

#[derive(Debug)]
enum Op {
    Create(String),
    Delete(String),
    Set(String, String),
    Sequential(String),
    Ephemeral(String),
    Swap { register: usize, version: i32, value: String },
    Get { register: usize, floor: i32 },
    Sync,
}

#[derive(Debug)]
struct InFlight {
    xid: i32,
    op: Op,
    newest: i64,
}

/// A session under load.
#[derive(Debug)]
pub struct Lane {
    number: usize,
    /// The znode above all that the load makes.
    root: String,
    /// The session and its connection.
    pub client: Client,
    /// What it did.
    pub history: History,
    style: Style,
    random: Random,
    stamp: u64,
    in_flight: VecDeque<InFlight>,
    last_reply: i64,
    known: [i32; REGISTERS],
    created: Vec<String>,
    was: Option<Session>,
    began: Instant,
}

/// Path of a shared register of the load under `root`.
pub fn register(root: &str, number: usize) -> String {
    format!("{root}/shared{number}")
}

/// Paths of a lane's own znode and of its registers.
pub fn own_paths(root: &str, number: usize) -> Vec<String> {
    let own = format!("{root}/l{number}");
    let registers = (0..OWN).map(|key| format!("{own}/r{key}"));
    std::iter::once(own.clone()).chain(registers).collect()
}

impl Lane {
    /// A lane of a load that began at `began`, with a client that starts with any member.
    pub fn new(number: usize, client: Client, amount: &Amount, began: Instant) -> Lane {
        let seed = amount.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        Lane {
            number,
            root: amount.root.clone(),
            client,
            history: History::default(),
            style: amount.style.clone(),
            random: Random::new(seed),
            stamp: 0,
            in_flight: VecDeque::new(),
            last_reply: 0,
            known: [0; REGISTERS],
            created: Vec::new(),
            was: None,
            began,
        }
    }

    fn own(&self, name: &str) -> String {
        format!("{}/l{}/{name}", self.root, self.number)
    }

    /// Writes and reads until told to stop; then waits for the last answers.
    pub fn run(&mut self, shared: &Shared) {
        loop {
            let stopping = shared.stop.load(Ordering::Relaxed);
            if !self.client.is_connected() {
                self.lose();
                if stopping || !self.connect(shared) {
                    return;
                }
            }
            if stopping && self.in_flight.is_empty() {
                return;
            }
            while !stopping && self.in_flight.len() < self.style.depth {
                self.issue(shared);
            }
            self.await_reply(shared);
            // A light load: the pause is part of the style, it waits for nothing.
            if !self.style.pause.is_zero() && !stopping {
                std::thread::sleep(self.style.pause);
            }
        }
    }

    /// Takes the session up again, or makes one; false where nobody takes it.
    pub fn connect(&mut self, shared: &Shared) -> bool {
        loop {
            let connected = self.client.connect(Instant::now() + Duration::from_secs(60));
            match connected {
                Ok(Connected::Expired) => {
                    let session = self.was.take().expect("only a session that was expires");
                    self.history.expired.insert(session.id);
                    continue;
                }
                Ok(Connected::Resumed) => self.history.resumed += 1,
                Ok(Connected::New) => {
                    // What another session saw binds this one to nothing.
                    self.last_reply = 0;
                    self.known = [0; REGISTERS];
                }
                Err(why) => {
                    shared.error(format!("lane {}: {why}", self.number));
                    return false;
                }
            }
            self.was.clone_from(&self.client.session);
            return true;
        }
    }

    /// Shows that the session lives.
    pub fn ping(&mut self, shared: &Shared) {
        if !self.client.ping() {
            self.connect(shared);
        }
    }

    /// Closes the session for good.
    pub fn close(&mut self, shared: &Shared) {
        for _ in 0..10 {
            if !self.client.is_connected() {
                let before = self.history.expired.len();
                if !self.connect(shared) || self.history.expired.len() > before {
                    // The session is gone; the one that was made instead goes as well.
                    self.client.ask(request::close_session());
                    return;
                }
            }
            if self.client.ask(request::close_session()).is_some() {
                return;
            }
        }
        shared.error(format!("lane {}: the session cannot be closed", self.number));
    }

    /// The connection is gone: nobody knows how what was in flight has ended.
    fn lose(&mut self) {
        let session = self.session_id();
        while let Some(InFlight { op, .. }) = self.in_flight.pop_front() {
            let outcome = Outcome::Unknown;
            match op {
                Op::Swap { value, .. } => {
                    self.history.swaps_unknown.insert(value);
                }
                Op::Get { .. } | Op::Sync => {}
                other => self.note(other, outcome, None, session),
            }
        }
    }

    fn session_id(&self) -> i64 {
        self.was.as_ref().map_or(0, |session| session.id)
    }

    fn note(&mut self, op: Op, outcome: Outcome, made: Option<String>, session: i64) {
        let history = &mut self.history;
        match op {
            Op::Create(path) => drop(history.creates.insert(path, outcome)),
            Op::Delete(path) => drop(history.deletes.insert(path, outcome)),
            Op::Set(path, value) => history.sets.entry(path).or_default().push((value, outcome)),
            Op::Sequential(value) => history.sequential.push((value, outcome, made)),
            Op::Ephemeral(path) => history.ephemerals.push((path, session, outcome)),
            Op::Swap { .. } | Op::Get { .. } | Op::Sync => {}
        }
    }

    fn issue(&mut self, shared: &Shared) {
        self.stamp += 1;
        let (number, stamp) = (self.number, self.stamp);
        let value = format!("{number}-{stamp}");
        let picked = self.random.below(REGISTERS);
        match self.random.weighted(&[20, 8, 25, 12, 5, 12, 10, 8]) {
            0 => self.push(shared, Op::Create(self.own(&format!("n{stamp}")))),
            1 if !self.created.is_empty() => {
                let at = self.random.below(self.created.len());
                let path = self.created.swap_remove(at);
                self.push(shared, Op::Delete(path));
            }
            1 | 2 => {
                let key = self.random.below(OWN);
                self.push(shared, Op::Set(self.own(&format!("r{key}")), value));
            }
            3 => self.push(shared, Op::Sequential(value)),
            4 => self.push(shared, Op::Ephemeral(self.own(&format!("e{stamp}")))),
            5 => {
                let version = self.known[picked];
                self.push(shared, Op::Swap { register: picked, version, value });
            }
            6 => {
                self.push(shared, Op::Get { register: picked, floor: 0 });
            }
            _ => {
                let linearizable = shared.sync_is_linearizable.load(Ordering::Relaxed);
                let floor = shared.versions[picked].load(Ordering::SeqCst);
                self.push(shared, Op::Sync);
                let floor = if linearizable { floor } else { 0 };
                self.push(shared, Op::Get { register: picked, floor });
            }
        }
    }

    fn push(&mut self, shared: &Shared, op: Op) {
        let newest = shared.newest.load(Ordering::SeqCst);
        let xid = self.client.send(to_request(&self.root, &op));
        self.in_flight.push_back(InFlight { xid, op, newest });
    }

    fn await_reply(&mut self, shared: &Shared) {
        match self.client.receive() {
            Event::Lost | Event::Watch(_) => {}
            Event::Reply(reply) => {
                let Some(asked) = self.in_flight.pop_front() else {
                    return shared.error(format!("lane {}: unasked {reply:?}", self.number));
                };
                if let Err(why) = self.take(shared, asked, &reply) {
                    shared.error(format!("lane {}: {why}", self.number));
                }
            }
        }
    }

    fn take(&mut self, shared: &Shared, asked: InFlight, reply: &Reply) -> Result<(), String> {
        if reply.xid != asked.xid {
            return Err(format!("{reply:?} for {asked:?}"));
        }
        // The session has moved (-118) or is over (-112): the connection ends, nothing is known.
        if [-118, -112].contains(&reply.error) {
            self.in_flight.push_front(asked);
            self.client.disconnect();
            return Ok(());
        }
        if reply.zxid < self.last_reply {
            return Err(format!("zxid goes back from 0x{:x}: {reply:?}", self.last_reply));
        }
        self.last_reply = reply.zxid;
        match asked.op {
            Op::Get { register, floor } => self.take_read(register, floor, reply)?,
            Op::Sync if reply.error == 0 => {}
            Op::Swap { .. } if reply.error == -103 => {}
            op if reply.error == 0 => {
                if reply.zxid <= asked.newest {
                    return Err(format!(
                        "{op:?} at 0x{:x}, asked for after 0x{:x} was seen",
                        reply.zxid, asked.newest
                    ));
                }
                self.take_write(shared, op, reply);
            }
            op => return Err(format!("{op:?} answers {}", reply.error)),
        }
        shared.newest.fetch_max(reply.zxid, Ordering::SeqCst);
        Ok(())
    }

    fn take_write(&mut self, shared: &Shared, op: Op, reply: &Reply) {
        self.history.writes += 1;
        shared.writes.fetch_add(1, Ordering::Relaxed);
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.last_write_ms.fetch_max(ms, Ordering::Relaxed);
        let session = self.session_id();
        let mut made = None;
        match &op {
            Op::Create(path) => self.created.push(path.clone()),
            Op::Sequential(_) => {
                let path = Reader::new(&reply.body).buffer().ok().flatten();
                made = path.map(|path| String::from_utf8_lossy(path).into_owned());
            }
            Op::Swap { register: number, version, value } => {
                let version = version + 1;
                shared.versions[*number].fetch_max(version, Ordering::SeqCst);
                self.known[*number] = self.known[*number].max(version);
                let swap = Swap { version, value: value.clone(), zxid: reply.zxid };
                self.history.swaps.entry(register(&self.root, *number)).or_default().push(swap);
            }
            _ => {}
        }
        self.note(op, Outcome::Done(reply.zxid), made, session);
    }

    fn take_read(&mut self, number: usize, floor: i32, reply: &Reply) -> Result<(), String> {
        let (data, znode) = match reply.error {
            0 => read_data(&reply.body).ok_or("a getData reply ends early")?,
            error => return Err(format!("get of a register answers {error}")),
        };
        let value = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
        let seen = Seen { version: znode.version, value, mzxid: znode.mzxid };
        if seen.mzxid > reply.zxid {
            return Err(format!("{seen:?} in a reply of 0x{:x}", reply.zxid));
        }
        if seen.version < self.known[number] {
            return Err(format!("{seen:?} after version {} was seen", self.known[number]));
        }
        if seen.version < floor {
            return Err(format!("stale after sync: {seen:?}, acknowledged {floor}"));
        }
        self.history.reads += 1;
        self.known[number] = seen.version;
        let versions = self.history.seen.entry(register(&self.root, number)).or_default();
        match versions.insert(seen.version, seen.clone()) {
            Some(before) if before != seen => Err(format!("{seen:?} was {before:?} before")),
            _ => Ok(()),
        }
    }
}

fn to_request(root: &str, op: &Op) -> Request {
    let acl = open_acl();
    let create = |path: &str, data: &[u8], flags| {
        request::create(opcode::CREATE, &text(path), Some(data), acl.as_deref(), flags)
    };
    match op {
        Op::Create(path) => create(path, path.as_bytes(), 0),
        Op::Delete(path) => request::path_and_version(opcode::DELETE, &text(path), -1),
        Op::Set(path, value) => request::set_data(&text(path), Some(value.as_bytes()), -1),
        Op::Sequential(value) => create(&format!("{root}/seq/s-"), value.as_bytes(), 2),
        Op::Ephemeral(path) => create(path, b"", 1),
        Op::Swap { register: number, version, value } => {
            request::set_data(&text(&register(root, *number)), Some(value.as_bytes()), *version)
        }
        Op::Get { register: number, .. } => {
            request::read(opcode::GET_DATA, &text(&register(root, *number)), false)
        }
        Op::Sync => request::path_only(opcode::SYNC, &text("/")),
    }
}
