//! One server and the sessions on it: carries out steps and writes down, as canonical text, all
//! that came.

use crate::connection::{Connection, Received, four_letter_word};
use crate::decode::{Names, event};
use crate::request::{self, Request};
use crate::server::{Kind, Server, Settings};
use crate::step::{Chunks, Handshake, Password, Step};
use crate::wire::{self, Reader, Writer, frame, opcode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a reply may take before it counts as missing.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// What one step brought.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Replies, events and closed connections as canonical text, by slot, in the order of their
    /// arrival.
    pub lines: Vec<String>,
    /// Paths that were created, as the replies name them.
    pub created: Vec<Vec<u8>>,
    /// Slots that are connected now.
    pub connected: BTreeSet<usize>,
    /// Number of sessions ever made.
    pub sessions: usize,
    /// The greatest zxid of any reply so far.
    pub zxid: i64,
}

#[derive(Debug)]
struct Session {
    id: i64,
    password: Vec<u8>,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    /// Opcodes and xids of requests without a reply yet.
    pending: VecDeque<(i32, i32)>,
}

#[derive(Debug)]
struct Line {
    slot: usize,
    /// Set for events: the zxid of the header.
    event_zxid: Option<i64>,
    text: String,
}

/// A server under comparison.
#[derive(Debug)]
pub struct Side {
    /// The process.
    pub server: Server,
    names: Names,
    slots: BTreeMap<usize, Link>,
    sessions: Vec<Session>,
    lines: Vec<Line>,
    created: Vec<Vec<u8>>,
    /// Zxids of transactions that delete a session's ephemerals, in no defined order.
    unordered: BTreeSet<i64>,
    zxid: i64,
}

impl Side {
    /// Starts a server with an empty data directory.
    pub fn start(kind: Kind, directory: &Path, settings: &Settings) -> Side {
        let earliest_ms = wall_ms() - 1000;
        let names = Names { earliest_ms, ..Names::default() };
        Side {
            server: Server::start(kind, directory, settings),
            names,
            slots: BTreeMap::new(),
            sessions: Vec::new(),
            lines: Vec::new(),
            created: Vec::new(),
            unordered: BTreeSet::new(),
            zxid: 0,
        }
    }

    /// Carries out one step. Steps that do not fit the state (a batch of an empty slot) do nothing,
    /// so that parts of a recorded run can be left out.
    pub fn execute(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Connect { slot, timeout_ms, handshake } => {
                self.connect(*slot, *timeout_ms, *handshake)
            }
            Step::Resume { slot, session, zxid, password } => {
                self.resume(*slot, *session, *zxid, *password);
            }
            Step::Batch { slot, requests, chunks } => self.batch(*slot, requests, *chunks),
            Step::ReadsAtOnce(reads) => self.reads_at_once(reads),
            Step::Drop { slot } => drop(self.slots.remove(slot)),
            Step::Hostile { slot, bytes } => {
                if let Some(link) = self.slots.get_mut(slot) {
                    link.connection.send(bytes);
                    self.await_close(*slot);
                }
            }
            Step::Stranger { bytes } => self.stranger(bytes),
            Step::AwaitDeleted { slot, path } => self.await_deleted(*slot, path),
            Step::Restart { clean } => self.restart(*clean, self.server.kind),
            Step::Summary { data_size } => self.summary(*data_size),
            Step::Tree { slot } => self.tree(*slot),
        }
        self.barrier();
        self.outcome()
    }

    fn outcome(&mut self) -> Outcome {
        let mut by_slot: BTreeMap<usize, Vec<Line>> = BTreeMap::new();
        for line in self.lines.drain(..) {
            by_slot.entry(line.slot).or_default().push(line);
        }
        let mut lines = Vec::new();
        for (slot, mut of_slot) in by_slot {
            sort_unordered(&mut of_slot, &self.unordered);
            lines.extend(of_slot.into_iter().map(|line| format!("slot {slot}: {}", line.text)));
        }
        Outcome {
            lines,
            created: std::mem::take(&mut self.created),
            connected: self.slots.keys().copied().collect(),
            sessions: self.sessions.len(),
            zxid: self.zxid,
        }
    }

    fn note(&mut self, slot: usize, text: String) {
        self.lines.push(Line { slot, event_zxid: None, text });
    }

    fn connect(&mut self, slot: usize, timeout_ms: i32, handshake: Handshake) {
        if self.slots.contains_key(&slot) {
            return;
        }
        let mut request =
            Writer::new().int(0).long(0).int(timeout_ms).long(0).buffer(Some(&[0; 16]));
        match handshake {
            Handshake::Usual => request = request.bool(false),
            Handshake::ReadOnly => request = request.bool(true),
            Handshake::Old => {}
        }
        self.handshake(slot, &request.bytes);
    }

    fn resume(&mut self, slot: usize, session: usize, zxid: i64, password: Password) {
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        if self.slots.contains_key(&slot) {
            return;
        }
        let shown = match password {
            Password::Right => Some(known.password.clone()),
            Password::Wrong => Some(vec![7; 16]),
            Password::Null => None,
        };
        let request = Writer::new().int(0).long(zxid).int(600_000).long(known.id);
        let request = request.buffer(shown.as_deref()).bool(false);
        self.handshake(slot, &request.bytes);
    }

    fn handshake(&mut self, slot: usize, request: &[u8]) {
        let mut connection = match Connection::open(self.server.port) {
            Ok(connection) => connection,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return self.note(slot, "refused".to_owned());
            }
            // A connection that the server accepts and ends at once may fail before it is ours.
            Err(_) => return self.note(slot, "closed without a connect response".to_owned()),
        };
        connection.send(&frame(request));
        match connection.receive(Instant::now() + REPLY_TIMEOUT) {
            Received::Frame(reply) => {
                let (text, alive) = self.connect_response(&reply);
                self.note(slot, text);
                self.slots.insert(slot, Link { connection, pending: VecDeque::new() });
                if !alive {
                    self.await_close(slot);
                }
            }
            Received::Closed => self.note(slot, "closed without a connect response".to_owned()),
            Received::Nothing => self.note(slot, "NO connect response".to_owned()),
        }
    }

    fn connect_response(&mut self, reply: &[u8]) -> (String, bool) {
        let mut reader = Reader::new(reply);
        let mut read = || Ok((reader.int()?, reader.int()?, reader.long()?, reader.buffer()?));
        let read: wire::Field<_> = read();
        let Ok((version, timeout_ms, id, password)) = read else {
            return (format!("MALFORMED connect response {}", wire::show(Some(reply))), false);
        };
        let password = password.unwrap_or_default().to_vec();
        let rest = reader.rest().to_vec();
        let (session, shown) = if id == 0 {
            ("none".to_owned(), wire::show(Some(&password)))
        } else {
            let right = password == password_of(id);
            let index = *self.names.sessions.entry(id).or_insert_with(|| {
                self.sessions.push(Session { id, password });
                self.sessions.len() - 1
            });
            (
                format!("session{index}"),
                if right { "as Java makes it" } else { "NOT JAVA'S" }.to_owned(),
            )
        };
        let text = format!(
            "connected version={version} timeout={timeout_ms} {session} password={shown} \
             rest={rest:?}"
        );
        (text, id != 0)
    }

    fn batch(&mut self, slot: usize, requests: &[Request], chunks: Chunks) {
        if !self.slots.contains_key(&slot) {
            return;
        }
        if chunks == Chunks::Waiting {
            for request in requests {
                self.send(slot, std::slice::from_ref(request), Chunks::Whole);
                self.collect(slot);
            }
        } else {
            self.send(slot, requests, chunks);
            self.collect(slot);
        }
        if requests.last().is_some_and(|request| request.closes) {
            self.await_close(slot);
        }
    }

    fn reads_at_once(&mut self, reads: &[(usize, Vec<Request>)]) {
        for (slot, requests) in reads {
            self.send(*slot, requests, Chunks::Whole);
        }
        for (slot, _) in reads {
            self.collect(*slot);
        }
    }

    fn send(&mut self, slot: usize, requests: &[Request], chunks: Chunks) {
        let Some(link) = self.slots.get_mut(&slot) else {
            return;
        };
        let frames: Vec<Vec<u8>> = requests.iter().map(Request::frame).collect();
        link.pending.extend(requests.iter().map(|r| (r.opcode, r.xid)));
        match chunks {
            Chunks::Frames => frames.iter().for_each(|frame| link.connection.send(frame)),
            Chunks::Pieces(size) => {
                frames.concat().chunks(size).for_each(|c| link.connection.send(c))
            }
            Chunks::Whole | Chunks::Waiting => link.connection.send(&frames.concat()),
        }
    }

    /// Reads until every request of the slot has its reply.
    fn collect(&mut self, slot: usize) {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        while let Some(link) = self.slots.get_mut(&slot) {
            if link.pending.is_empty() {
                return;
            }
            match link.connection.receive(deadline) {
                Received::Frame(payload) => self.take(slot, &payload),
                Received::Closed => {
                    self.slots.remove(&slot);
                    self.note(slot, "closed".to_owned());
                }
                Received::Nothing => {
                    let missing = link.pending.len();
                    self.slots.remove(&slot);
                    self.note(slot, format!("NO REPLY to {missing} requests"));
                }
            }
        }
    }

    /// Waits for the server to close the connection, noting what comes before.
    fn await_close(&mut self, slot: usize) {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        while let Some(link) = self.slots.get_mut(&slot) {
            match link.connection.receive(deadline) {
                Received::Frame(payload) => self.take(slot, &payload),
                Received::Closed => {
                    self.slots.remove(&slot);
                    self.note(slot, "closed".to_owned());
                }
                Received::Nothing => {
                    self.slots.remove(&slot);
                    self.note(slot, "NOT CLOSED".to_owned());
                }
            }
        }
    }

    fn take(&mut self, slot: usize, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        let mut header = || Ok((reader.int()?, reader.long()?, reader.int()?));
        let header: wire::Field<_> = header();
        let Ok((xid, zxid, err)) = header else {
            self.note(slot, format!("MALFORMED frame {}", wire::show(Some(payload))));
            return;
        };
        let body = reader.rest();
        if xid == wire::XID_NOTIFICATION {
            let text = format!("event zxid={zxid:#x} err={err} {}", event(body));
            self.lines.push(Line { slot, event_zxid: Some(zxid), text });
            return;
        }
        self.zxid = self.zxid.max(zxid);
        let link = self.slots.get_mut(&slot).expect("frames are taken from connected slots");
        let Some((opcode, expected)) = link.pending.pop_front() else {
            self.note(slot, format!("UNASKED reply xid={xid} zxid={zxid:#x} err={err}"));
            return;
        };
        let order =
            if xid == expected { String::new() } else { format!(" EXPECTED xid={expected}") };
        // A failed multiRead brings the results before the mistake in Java; no client reads them.
        let ignored = err != 0 && opcode == opcode::MULTI_READ;
        let shown = if body.is_empty() || ignored {
            "no body".to_owned()
        } else {
            self.names.body(opcode, body)
        };
        if err == 0 && opcode == opcode::CLOSE_SESSION {
            self.unordered.insert(zxid);
        }
        let creates = matches!(opcode, opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER);
        if err == 0
            && creates
            && let Ok(Some(path)) = Reader::new(body).buffer()
        {
            self.created.push(path.to_vec());
        }
        self.note(slot, format!("reply xid={xid}{order} zxid={zxid:#x} err={err} {shown}"));
    }

    fn stranger(&mut self, bytes: &[u8]) {
        let Ok(mut connection) = Connection::open(self.server.port) else {
            self.note(99, "refused".to_owned());
            return;
        };
        connection.send(bytes);
        let (answer, closed) = connection.receive_to_end(Instant::now() + REPLY_TIMEOUT);
        self.note(99, format!("stranger got {} closed={closed}", wire::show(Some(&answer))));
    }

    fn await_deleted(&mut self, slot: usize, path: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = self.lines.len();
        loop {
            let asked = request::read(opcode::EXISTS, &request::text(path), false).xid(i32::MAX);
            let mark = self.lines.len();
            self.batch(slot, &[asked], Chunks::Whole);
            let gone = self.lines[mark..].iter().any(|line| line.text.contains("err=-101"));
            // The zxid of each poll depends on how long the deletion took to come.
            self.lines
                .retain(|line| line.event_zxid.is_some() || !line.text.contains("xid=2147483647"));
            if gone || Instant::now() > deadline || !self.slots.contains_key(&slot) {
                self.note(slot, format!("{path} is {}", if gone { "gone" } else { "STILL THERE" }));
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let zxids: Vec<i64> =
            self.lines[before..].iter().filter_map(|line| line.event_zxid).collect();
        self.unordered.extend(zxids);
    }

    /// Forgets when changes can have happened: the files are older than this run.
    pub fn on_old_files(&mut self) {
        self.names.earliest_ms = 0;
    }

    /// Goes on as the other kind of server, on the same files.
    pub fn hand_over(&mut self, clean: bool) -> Outcome {
        let next = match self.server.kind {
            Kind::Java => Kind::Rookeeper,
            Kind::Rookeeper => Kind::Java,
        };
        self.restart(clean, next);
        self.outcome()
    }

    /// Restarts the server, the next one perhaps of the other kind, on the same files. A client may
    /// carry its session from one kind to the other.
    fn restart(&mut self, clean: bool, kind: Kind) {
        self.slots.clear();
        if clean {
            self.server.stop();
        } else {
            self.server.kill();
        }
        self.server.kind = kind;
        self.server.launch_again();
    }

    fn summary(&mut self, data_size: bool) {
        let answer = four_letter_word(self.server.port, "mntr").unwrap_or_default();
        let mut keys = vec!["znode_count", "watch_count", "ephemerals_count", "global_sessions"];
        if data_size {
            keys.push("approximate_data_size");
        }
        for key in keys {
            let line = answer
                .lines()
                .find(|line| line.split_whitespace().next() == Some(&format!("zk_{key}")));
            self.note(98, line.unwrap_or(&format!("no zk_{key}")).to_owned());
        }
    }

    /// Reads every znode that the slot can reach, breadth first.
    fn tree(&mut self, slot: usize) {
        let mut queue = VecDeque::from(["/".to_owned()]);
        while let Some(path) = queue.pop_front() {
            let name = request::text(&path);
            let mark = self.lines.len();
            let reads = [
                request::read(opcode::GET_CHILDREN, &name, false).xid(1),
                request::read(opcode::GET_DATA, &name, false).xid(2),
                request::path_only(opcode::GET_ACL, &name).xid(3),
            ];
            self.batch(slot, &reads, Chunks::Whole);
            let children =
                self.lines.get(mark).map(|line| children_of(&line.text)).unwrap_or_default();
            for line in &mut self.lines[mark..] {
                line.text = format!("{path}: {}", line.text);
            }
            let base = if path == "/" { "" } else { &path };
            queue.extend(children.iter().map(|child| format!("{base}/{child}")));
        }
    }

    /// A ping on every connection: events of finished transactions come before its reply.
    fn barrier(&mut self) {
        let slots: Vec<usize> = self.slots.keys().copied().collect();
        for slot in &slots {
            self.send(*slot, &[request::ping()], Chunks::Whole);
        }
        for slot in slots {
            self.collect(slot);
        }
    }
}

/// Milliseconds of the wall clock.
fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.map_or(0, |d| d.as_millis())).unwrap_or(i64::MAX)
}

/// Events of one closed session's znodes come in the order of a hash set.
fn sort_unordered(lines: &mut [Line], unordered: &BTreeSet<i64>) {
    let mut start = 0;
    while start < lines.len() {
        let zxid = lines[start].event_zxid;
        let mut end = start + 1;
        if zxid.is_some_and(|zxid| unordered.contains(&zxid)) {
            while end < lines.len() && lines[end].event_zxid == zxid {
                end += 1;
            }
            lines[start..end].sort_by(|a, b| a.text.cmp(&b.text));
        }
        start = end;
    }
}

/// The names in the canonical text of a getChildren reply.
fn children_of(text: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("children=[") else {
        return Vec::new();
    };
    let list = list.trim_end_matches(']');
    let names = list.split(',').map(|name| name.trim_matches('"'));
    names.filter(|name| !name.is_empty()).filter_map(unescaped).collect()
}

/// Undoes the escapes of a name that are not of control characters.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The password that a Java server gives a session: sixteen bytes of `java.util.Random`, seeded by
/// the id.
fn password_of(id: i64) -> Vec<u8> {
    let mask = (1_u64 << 48) - 1;
    let mut state = ((id ^ 0xB341_5C00).cast_unsigned() ^ 0x5_DEEC_E66D) & mask;
    let mut password = Vec::new();
    for _ in 0..4 {
        state = state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & mask;
        let word = u32::try_from(state >> 16).expect("48 bits without the low 16 are 32");
        password.extend_from_slice(&word.to_le_bytes());
    }
    password
}
