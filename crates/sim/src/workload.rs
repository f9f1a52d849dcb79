//! What clients ask for: all operations on few paths, so that they meet.

use rookeeper_jute::data::perms;
use rookeeper_jute::{Acl, CreateMode, Id};
use rookeeper_session::{Create, Operation, Read, WatchToken, Write};

use crate::dice::Dice;

/// Directories that clients create first.
pub const DIRECTORIES: [&str; 6] = ["/r", "/q", "/e", "/c", "/t", LOCK];
/// Where the lock's znodes are.
pub const LOCK: &str = "/lock";
/// How many registers there are.
const REGISTERS: u64 = 8;

/// Draws operations.
#[derive(Debug)]
pub struct Workload {
    dice: Dice,
    /// Paths seen below the directories, to be read and deleted.
    seen: Vec<String>,
}

fn open_acl() -> Vec<Acl<'static>> {
    vec![Acl::open_unsafe()]
}

/// A create with open access.
pub fn create(path: impl Into<String>, data: Option<Vec<u8>>, mode: CreateMode) -> Create {
    Create { path: path.into(), data, acl: open_acl(), mode, ttl_ms: 0, wants_stat: false }
}

/// What is written is distinct: the operation's number, and a part of it.
pub fn data(token: u64, part: u64) -> Option<Vec<u8>> {
    Some(format!("{token}.{part}").into_bytes())
}

impl Workload {
    /// A client's.
    pub fn new(dice: Dice) -> Self {
        Workload { dice, seen: Vec::new() }
    }

    /// Paths that a reply showed.
    pub fn saw(&mut self, path: String) {
        if self.seen.len() >= 64 {
            let at = self.dice.index(self.seen.len());
            self.seen.swap_remove(at);
        }
        self.seen.push(path);
    }

    fn register(&mut self) -> String {
        format!("/r/{}", self.dice.below(REGISTERS))
    }

    fn any_path(&mut self) -> String {
        match self.dice.below(10) {
            0..=5 => self.register(),
            6..=7 if !self.seen.is_empty() => self.dice.pick(&self.seen).clone(),
            8 => (*self.dice.pick(&DIRECTORIES)).to_owned(),
            _ => format!("/e/{}", self.dice.below(4)),
        }
    }

    fn version(&mut self) -> i32 {
        if self.dice.percent(70) { -1 } else { self.dice.below(6) as i32 }
    }

    fn watch(&mut self, token: u64) -> Option<WatchToken> {
        self.dice.percent(35).then_some(WatchToken(token))
    }

    /// The next operation; `token` is its number.
    pub fn draw(&mut self, token: u64) -> Operation {
        match self.dice.below(100) {
            0..=21 => Operation::SetData {
                path: self.any_path(),
                data: if self.dice.one_in(40) { None } else { data(token, 0) },
                version: self.version(),
            },
            22..=35 => Operation::GetData { path: self.any_path(), watch: self.watch(token) },
            36..=41 => Operation::Exists { path: self.any_path(), watch: self.watch(token) },
            42..=47 => self.list(token),
            48..=66 => Operation::Create(self.create(token)),
            67..=74 => Operation::Delete { path: self.any_path(), version: self.version() },
            75..=78 => Operation::Multi(self.multi(token)),
            79..=80 => self.multi_read(),
            81..=90 => Operation::Sync { path: self.any_path() },
            91..=93 => self.set_acl(),
            94 => Operation::GetAcl { path: self.any_path() },
            95 => Operation::GetAllChildrenNumber { path: self.any_path() },
            96 => Operation::GetEphemerals { prefix: "/".into() },
            97 => Operation::WhoAmI,
            98 => Operation::AddWatch {
                path: self.any_path(),
                is_recursive: self.dice.one_in(2),
                watch: WatchToken(token),
            },
            _ => Operation::DeleteContainer { path: format!("/c/{}", self.dice.below(3)) },
        }
    }

    /// The next operation of a client that never writes.
    pub fn draw_read(&mut self, token: u64) -> Operation {
        match self.dice.below(8) {
            0..=1 => Operation::Sync { path: self.any_path() },
            2..=4 => Operation::GetData { path: self.any_path(), watch: self.watch(token) },
            5 => Operation::Exists { path: self.any_path(), watch: self.watch(token) },
            6 => self.list(token),
            _ => self.multi_read(),
        }
    }

    fn list(&mut self, token: u64) -> Operation {
        let path = (*self.dice.pick(&DIRECTORIES)).to_owned();
        let watch = self.watch(token);
        match self.dice.one_in(2) {
            true => Operation::GetChildren { path, watch },
            false => Operation::GetChildren2 { path, watch },
        }
    }

    fn create(&mut self, token: u64) -> Create {
        let data = data(token, 0);
        let mut create = match self.dice.below(12) {
            0..=3 => create(self.register(), data, CreateMode::Persistent),
            4..=5 => create("/q/n-", data, CreateMode::PersistentSequential),
            6 => create(format!("/e/{}", self.dice.below(4)), data, CreateMode::Ephemeral),
            7 => create("/e/s-", data, CreateMode::EphemeralSequential),
            8 => create(self.register(), data, CreateMode::Ephemeral),
            9 => create(format!("/c/{}", self.dice.below(3)), data, CreateMode::Container),
            10 => Create {
                ttl_ms: 1 + self.dice.below(3000) as i64,
                ..create(format!("/t/{}", self.dice.below(3)), data, CreateMode::PersistentWithTtl)
            },
            _ => {
                let parent = self.any_path();
                create(format!("{parent}/k"), data, CreateMode::Persistent)
            }
        };
        create.wants_stat = self.dice.one_in(2);
        create
    }

    fn multi(&mut self, token: u64) -> Vec<Write> {
        let count = self.dice.between(1, 4);
        let part = |part| match self.dice.below(5) {
            0 => Write::Create(create(self.register(), data(token, part), CreateMode::Persistent)),
            1 => {
                let mode = CreateMode::PersistentSequential;
                Write::Create(create("/q/m-", data(token, part), mode))
            }
            2 => Write::Delete(self.register(), -1),
            3 => Write::Check(self.register(), self.version()),
            _ => Write::SetData(self.register(), data(token, part), self.version()),
        };
        (0..count).map(part).collect()
    }

    fn multi_read(&mut self) -> Operation {
        let read = |_| match self.dice.one_in(3) {
            true => Read::Children((*self.dice.pick(&DIRECTORIES)).to_owned()),
            false => Read::Data(self.register()),
        };
        Operation::MultiRead((0..3).map(read).collect())
    }

    fn set_acl(&mut self) -> Operation {
        let mut acl = open_acl();
        if self.dice.one_in(2) {
            acl.push(Acl { perms: perms::READ, id: Id::new("ip", "10.0.0.0/8") });
        }
        Operation::SetAcl { path: self.any_path(), acl, version: self.version() }
    }
}
