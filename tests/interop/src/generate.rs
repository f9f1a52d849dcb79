//! Random scenarios: which session does what next. The choices depend on the seed and on what the
//! servers answered, which is the same on both as long as they agree.

use crate::operations::{self, Allowed};
use crate::random::Random;
use crate::request::{self, Request, text};
use crate::server::Settings;
use crate::side::Outcome;
use crate::step::{Chunks, Handshake, Password, Step};
use crate::values::Values;
use crate::wire::{self, Writer, opcode};
use std::collections::BTreeSet;

/// Number of connections that any scenario holds at most.
const SLOTS_MAX: usize = 6;

/// What a run is configured for.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    extended_types: bool,
    enforce_quota: bool,
    skip_acl: bool,
    digest: bool,
    close_session_txn: bool,
    snap_count: usize,
    compression: &'static str,
    /// Restarts of the servers during the run.
    pub restarts: usize,
    /// I/O threads of Rookeeper.
    pub io_threads: usize,
    /// Number of connections at most.
    slots: usize,
}

impl Profile {
    /// The profile of a seed.
    pub fn of(seed: u64, io_threads: usize) -> Profile {
        let mut random = Random::new(seed.wrapping_mul(31));
        Profile {
            extended_types: random.chance(60),
            enforce_quota: random.chance(25),
            skip_acl: random.chance(8),
            digest: random.chance(90),
            snap_count: random.pick(&[20, 100, 1000, 100_000]),
            compression: random.pick(&["", "", "gz", "snappy"]),
            restarts: random.pick(&[0, 1, 1, 2]),
            io_threads,
            close_session_txn: random.chance(85),
            slots: random.pick(&[2, 4, 4, SLOTS_MAX]),
        }
    }

    /// The configuration of both servers.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::usual()
            .property("zookeeper.extendedTypesEnabled", &self.extended_types.to_string())
            .property("zookeeper.enforceQuota", &self.enforce_quota.to_string())
            .property("zookeeper.digest.enabled", &self.digest.to_string())
            .property("zookeeper.closeSessionTxn.enabled", &self.close_session_txn.to_string())
            .property("zookeeper.snapCount", &self.snap_count.to_string())
            .io_threads(self.io_threads);
        if self.skip_acl {
            settings = settings.property("zookeeper.skipACL", "yes");
        }
        if !self.compression.is_empty() {
            settings = settings.property("zookeeper.snapshot.compression.method", self.compression);
        }
        settings
    }
}

#[derive(Debug, Clone, Default)]
struct Slot {
    connected: bool,
    session: usize,
    xid: i32,
}

/// The state of a scenario's generation.
#[derive(Debug, Clone)]
pub struct Generator {
    values: Values,
    profile: Profile,
    slots: Vec<Slot>,
    sessions: usize,
    /// Sessions that were closed, and sessions that a slot has given up.
    closed: BTreeSet<usize>,
    zxid: i64,
    restarts_left: usize,
    /// Whether quotas were used.
    pub quotas: bool,
    planted: bool,
}

impl Generator {
    /// Starts the scenario of a seed.
    pub fn new(seed: u64, profile: Profile) -> Generator {
        Generator {
            values: Values { random: Random::new(seed), known: Vec::new() },
            profile,
            slots: vec![Slot::default(); profile.slots],
            sessions: 0,
            closed: BTreeSet::new(),
            zxid: 0,
            restarts_left: profile.restarts,
            quotas: false,
            planted: false,
        }
    }

    /// The next step; `progress` of 1000 of the run is done.
    pub fn next(&mut self, progress: usize) -> Step {
        let done = self.profile.restarts - self.restarts_left;
        if self.restarts_left > 0 && progress >= 1000 * (done + 1) / (self.profile.restarts + 1) {
            self.restarts_left -= 1;
            return Step::Restart { clean: self.values.random.chance(50) };
        }
        let connected: Vec<usize> =
            (0..self.slots.len()).filter(|slot| self.slots[*slot].connected).collect();
        if let Some(slot) = (0..self.slots.len()).find(|slot| !self.slots[*slot].connected)
            && (connected.is_empty() || self.values.random.chance(40))
        {
            return self.connect(slot);
        }
        let slot = self.values.random.pick(&connected);
        if !self.planted {
            self.planted = true;
            return self.plant(slot);
        }
        match self.values.random.weighted(&[70, 6, 5, 4, 4, 4, 2, 1, 3, 1]) {
            0 => self.batch(slot),
            1 => self.reads_at_once(&connected),
            2 => Step::Drop { slot },
            3 => self.close(slot),
            4 => self.authenticate(slot),
            5 => self.fatal(slot),
            6 => self.hostile(slot),
            7 => self.stranger(),
            8 => self.quota(slot),
            _ => self.take_over(slot),
        }
    }

    /// Takes note of what a step brought.
    pub fn learn(&mut self, step: &Step, outcome: &Outcome) {
        if let Step::Connect { slot, .. } | Step::Resume { slot, .. } = step
            && outcome.connected.contains(slot)
        {
            self.slots[*slot].xid = 0;
            self.slots[*slot].session = match step {
                Step::Resume { session, .. } => *session,
                _ => outcome.sessions - 1,
            };
        }
        self.sessions = outcome.sessions;
        self.zxid = outcome.zxid;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.connected = outcome.connected.contains(&index);
        }
        // Garbage in a quota's statistics stops a Java server for good: they are left to `quota`.
        let usable = outcome.created.iter().filter(|path| !path.starts_with(b"/zookeeper/quota"));
        self.values.known.extend(usable.cloned());
        let extra = self.values.known.len().saturating_sub(60);
        self.values.known.drain(..extra);
    }

    fn batch_of(&mut self, slot: usize, mut requests: Vec<Request>, chunks: Chunks) -> Step {
        let ends =
            |request: &Request| request.closes || (request.ends_batch && chunks != Chunks::Waiting);
        if let Some(end) = requests.iter().position(ends) {
            requests.truncate(end + 1);
        }
        for request in &mut requests {
            if request.xid == 0 {
                self.slots[slot].xid += 1;
                request.xid = self.slots[slot].xid;
            }
        }
        Step::Batch { slot, requests, chunks }
    }

    fn connect(&mut self, slot: usize) -> Step {
        let held: BTreeSet<usize> =
            self.slots.iter().filter(|s| s.connected).map(|s| s.session).collect();
        let idle: Vec<usize> = (0..self.sessions).filter(|s| !held.contains(s)).collect();
        let open: Vec<usize> = idle.iter().copied().filter(|s| !self.closed.contains(s)).collect();
        let pool = if self.values.random.chance(90) { &open } else { &idle };
        if !pool.is_empty() && self.values.random.chance(60) {
            let session = self.values.random.pick(pool);
            let password = match self.values.random.weighted(&[92, 5, 3]) {
                0 => Password::Right,
                1 => Password::Wrong,
                _ => Password::Null,
            };
            return Step::Resume {
                slot,
                session,
                zxid: self.values.zxid_near(self.zxid),
                password,
            };
        }
        let handshake = match self.values.random.weighted(&[80, 10, 10]) {
            0 => Handshake::Usual,
            1 => Handshake::ReadOnly,
            _ => Handshake::Old,
        };
        let timeout_ms = self.values.random.pick(&[600_000, 600_000, 600_000, i32::MAX, 599_999]);
        Step::Connect { slot, timeout_ms, handshake }
    }

    /// A connection of a session that another slot holds: the server closes the old one.
    fn take_over(&mut self, slot: usize) -> Step {
        let session = self.slots[slot].session;
        match (0..self.slots.len()).find(|other| !self.slots[*other].connected) {
            Some(other) => {
                Step::Resume { slot: other, session, zxid: self.zxid, password: Password::Right }
            }
            None => Step::Drop { slot },
        }
    }

    /// A first tree, so that operations find something.
    fn plant(&mut self, slot: usize) -> Step {
        let acl = request::open_acl();
        let requests = ["/a", "/b", "/c", "/a/a", "/a/b", "/b/c", "/c/d", "/a/a/a", "/a/a/b"]
            .iter()
            .map(|path| {
                request::create(opcode::CREATE, &text(path), Some(b"planted"), acl.as_deref(), 0)
            })
            .collect();
        self.batch_of(slot, requests, Chunks::Whole)
    }

    fn batch(&mut self, slot: usize) -> Step {
        let allowed = Allowed { extended_types: self.profile.extended_types };
        let deep = !(self.profile.enforce_quota && self.quotas);
        let (count, chunks) = match self.values.random.weighted(&[25, 45, 20, 10]) {
            0 => (1 + self.values.random.below(3), Chunks::Waiting),
            1 => (2 + self.values.random.below(12), Chunks::Whole),
            2 => (10 + self.values.random.below(40), Chunks::Whole),
            _ if self.values.random.chance(50) => (2 + self.values.random.below(8), Chunks::Frames),
            _ => {
                (2 + self.values.random.below(4), Chunks::Pieces(1 + self.values.random.below(40)))
            }
        };
        // Java checks a quota against what is applied, not against what is pending.
        let (count, chunks) = if deep { (count, chunks) } else { (count.min(4), Chunks::Waiting) };
        let zxid = self.zxid;
        let requests =
            (0..count).map(|_| operations::any(&mut self.values, allowed, zxid)).collect();
        self.batch_of(slot, requests, chunks)
    }

    fn reads_at_once(&mut self, slots: &[usize]) -> Step {
        let mut reads = Vec::new();
        for slot in slots {
            let count = 1 + self.values.random.below(15);
            let requests: Vec<Request> = (0..count)
                .map(|_| match self.values.random.chance(80) {
                    true => operations::read(&mut self.values),
                    false => operations::question(&mut self.values),
                })
                .collect();
            if let Step::Batch { requests, .. } = self.batch_of(*slot, requests, Chunks::Whole) {
                reads.push((*slot, requests));
            }
        }
        Step::ReadsAtOnce(reads)
    }

    fn close(&mut self, slot: usize) -> Step {
        self.closed.insert(self.slots[slot].session);
        let mut requests: Vec<Request> = Vec::new();
        if self.values.random.chance(50) {
            // Ephemerals that are still pending when the session closes.
            let path = text(&self.values.plain_path());
            let acl = request::open_acl();
            requests.push(request::create(opcode::CREATE, &path, Some(b"e"), acl.as_deref(), 1));
            requests.push(request::create(opcode::CREATE2, &path, Some(b"e"), acl.as_deref(), 3));
        }
        requests.push(request::close_session());
        self.batch_of(slot, requests, Chunks::Whole)
    }

    fn authenticate(&mut self, slot: usize) -> Step {
        let auth = match self.values.random.weighted(&[30, 25, 15, 10, 10, 10]) {
            0 => request::auth(&text("digest"), Some(b"u:p")),
            1 => request::auth(&text("digest"), Some(b"super:test")),
            2 => request::auth(&text("digest"), Some(b"v:q")),
            3 => request::auth(&text("ip"), Some(b"")),
            4 => request::auth(&text("digest"), Some(b"without a colon")),
            _ if self.values.random.chance(50) => {
                request::auth(&text("unheardof"), Some(b"x")).closing()
            }
            _ => request::auth(&text("world"), Some(b"anyone")).closing(),
        };
        self.batch_of(slot, vec![auth], Chunks::Whole)
    }

    /// A request that the server answers and then closes the connection.
    fn fatal(&mut self, slot: usize) -> Step {
        let unknown = match self.values.random.below(5) {
            0 => Request::new(0, Writer::new(), "opcode 0".to_owned()),
            1 => Request::new(999, Writer::new().raw(b"body"), "opcode 999".to_owned()),
            2 => Request::new(-1, Writer::new(), "opcode -1".to_owned()),
            3 => request::path_and_version(opcode::CHECK, &self.values.path(), 0),
            _ => Request::new(i32::MIN, Writer::new(), "the least opcode".to_owned()),
        };
        self.batch_of(slot, vec![unknown.closing()], Chunks::Whole)
    }

    fn hostile(&mut self, slot: usize) -> Step {
        let bytes = match self.values.random.below(4) {
            0 => Writer::new().int(-1).bytes,
            1 => Writer::new().int(0x0010_0000).bytes,
            2 => Writer::new().int(i32::MAX).raw(b"xx").bytes,
            _ => Writer::new().int(i32::MIN).bytes,
        };
        Step::Hostile { slot, bytes }
    }

    fn stranger(&mut self) -> Step {
        let connect = |zxid: i64, timeout: i32, session: i64, password: Option<&[u8]>| {
            let body = Writer::new()
                .int(0)
                .long(zxid)
                .int(timeout)
                .long(session)
                .buffer(password)
                .bool(false);
            wire::frame(&body.bytes)
        };
        let bytes = match self.values.random.below(7) {
            0 => Writer::new().int(-1).bytes,
            1 => Writer::new().int(0x0020_0000).bytes,
            2 => wire::frame(b"short"),
            3 => connect(i64::MAX, 10_000, 0, Some(&[0; 16])),
            4 => connect(0, 10_000, 0x1234, Some(&[0; 16])),
            5 => connect(0, 10_000, -1, None),
            _ => b"xxxx yyyy zzzz".to_vec(),
        };
        Step::Stranger { bytes }
    }

    /// Sets, changes and removes quotas as the command line tools do.
    fn quota(&mut self, slot: usize) -> Step {
        self.quotas = true;
        let path =
            if self.values.random.chance(70) { "/a".to_owned() } else { self.values.plain_path() };
        // Of nested quotas the outer one counts differently once a snapshot is loaded; which
        // snapshot Java has finished when it is killed is a matter of timing.
        let nested = self.profile.restarts == 0;
        let first = path[1..].find('/').map_or(path.len(), |at| at + 1);
        let path = if nested { &path } else { &path[..first] };
        let acl = request::open_acl();
        let acl = acl.as_deref();
        let mut requests = Vec::new();
        let mut node = String::from("/zookeeper/quota");
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = format!("{node}/{name}");
            requests.push(request::create(opcode::CREATE, &text(&node), None, acl, 0));
        }
        let limit = self.values.random.pick(&[
            "count=3,bytes=-1",
            "count=-1,bytes=40",
            "count=-1,bytes=-1=;byteHardLimit=200;countHardLimit=4",
            "count=5,bytes=1000=;byteHardLimit=-1;countHardLimit=2",
        ]);
        let (limits, stats) =
            (format!("{node}/zookeeper_limits"), format!("{node}/zookeeper_stats"));
        if self.values.random.chance(75) {
            requests.push(request::create(
                opcode::CREATE,
                &text(&limits),
                Some(limit.as_bytes()),
                acl,
                0,
            ));
            requests.push(request::create(
                opcode::CREATE,
                &text(&stats),
                Some(b"count=0,bytes=0"),
                acl,
                0,
            ));
            requests.push(request::set_data(&text(&limits), Some(limit.as_bytes()), -1));
        } else {
            requests.push(request::path_and_version(opcode::DELETE, &text(&limits), -1));
            requests.push(request::path_and_version(opcode::DELETE, &text(&stats), -1));
        }
        requests.push(request::read(opcode::GET_DATA, &text(&stats), false));
        self.batch_of(slot, requests, Chunks::Waiting)
    }
}
