//! Ensembles that the benchmark starts itself: three members of one kind or of two on this machine.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rookeeper_jute::proto::CreateRequest;
use rookeeper_jute::{Acl, OpCode, Xid};

use crate::error::BenchError;
use crate::servers::{Kind, Server, free_port};
use crate::start::OneByOne;

/// Members of an ensemble that is measured.
pub const MEMBERS: usize = 3;

/// Three members; they are killed and their folders deleted when this is dropped.
pub struct Group {
    /// The members; the server id is the index and one.
    pub members: Vec<Server>,
}

/// What a member says of itself in answer to `srvr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `leader`, `follower`, ...
    pub mode: String,
    /// The last transaction that it has applied.
    pub zxid: i64,
}

impl Group {
    /// Lays out an ensemble under `parent`, of one kind for each member; `extra` are lines of the
    /// members' configuration.
    ///
    /// # Errors
    /// Where the folders cannot be written.
    pub fn prepare(
        kinds: [&Kind; MEMBERS],
        parent: &Path,
        extra: &[&str],
    ) -> Result<Group, BenchError> {
        let mut lines = vec!["initLimit=10".to_owned(), "syncLimit=5".to_owned()];
        lines.extend(extra.iter().map(|line| (*line).to_owned()));
        for id in 1..=MEMBERS {
            let quorum = free_port().map_err(BenchError::io("a free port"))?;
            let election = free_port().map_err(BenchError::io("a free port"))?;
            lines.push(format!("server.{id}=127.0.0.1:{quorum}:{election}"));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut group = Group { members: Vec::new() };
        for (index, kind) in kinds.into_iter().enumerate() {
            group.members.push(Server::prepare(kind, parent, &lines)?);
            group.write_id(index)?;
        }
        Ok(group)
    }

    fn write_id(&self, index: usize) -> Result<(), BenchError> {
        let path = self.members[index].folder.join("data/myid");
        fs::write(&path, format!("{}\n", index + 1)).map_err(BenchError::io("myid"))
    }

    /// Removes all that a member knows, but for its id.
    ///
    /// # Errors
    /// Where its folder cannot be written.
    pub fn wipe(&self, index: usize) -> Result<(), BenchError> {
        let data = self.members[index].folder.join("data");
        fs::remove_dir_all(&data).map_err(BenchError::io("the data directory"))?;
        fs::create_dir_all(&data).map_err(BenchError::io("the data directory"))?;
        self.write_id(index)
    }

    /// Starts all members and returns how long it took until a write was acknowledged.
    ///
    /// # Errors
    /// Where one does not start, or none acknowledges a write.
    pub fn start(&mut self) -> Result<Duration, BenchError> {
        let start = Instant::now();
        for member in &mut self.members {
            member.launch()?;
        }
        first_write(&self.addresses(), start)
    }

    /// Where the members listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// The processes of all members.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().flat_map(Server::pids).collect()
    }

    /// What a member says of itself; `None` while it does not serve.
    pub fn status(&self, index: usize) -> Option<Status> {
        let text = four_letter_word(self.members[index].address, "srvr").ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let zxid = i64::from_str_radix(field("Zxid: 0x")?.trim(), 16).ok()?;
        Some(Status { mode: field("Mode: ")?.trim().to_owned(), zxid })
    }

    /// Waits until all members serve, and says who leads.
    ///
    /// # Errors
    /// Where they do not within two minutes.
    pub fn wait_serving(&self) -> Result<usize, BenchError> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            let all: Option<Vec<Status>> = (0..MEMBERS).map(|index| self.status(index)).collect();
            let leader = |all: Vec<Status>| all.iter().position(|status| status.mode == "leader");
            if let Some(leader) = all.and_then(leader) {
                return Ok(leader);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(BenchError::Timeout("three members that serve".to_owned()))
    }

    /// Starts a member that is down and returns how long it took until it served the history up
    /// to `zxid`.
    ///
    /// # Errors
    /// Where it does not within ten minutes.
    pub fn rejoin(&mut self, index: usize, zxid: i64) -> Result<Duration, BenchError> {
        let start = Instant::now();
        self.members[index].launch()?;
        while start.elapsed() < Duration::from_secs(600) {
            if self.status(index).is_some_and(|status| status.zxid >= zxid) {
                return Ok(start.elapsed());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(BenchError::Timeout(format!("member {} to rejoin", index + 1)))
    }

    /// Kills the leader and returns which member that was, and how long it took until another
    /// acknowledged a write. The killed member is started again.
    ///
    /// # Errors
    /// Where nobody takes over.
    pub fn fail_over(&mut self) -> Result<(usize, Duration), BenchError> {
        let leader = self.wait_serving()?;
        let mut others = self.addresses();
        others.remove(leader);
        self.members[leader].kill();
        let took = first_write(&others, Instant::now())?;
        self.members[leader].launch()?;
        self.wait_serving()?;
        Ok((leader, took))
    }
}

fn four_letter_word(address: SocketAddr, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(word.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Asks all members at once, again and again, until one acknowledges a write; returns when that
/// was, counted from `start`.
///
/// # Errors
/// Where none does within two minutes.
pub fn first_write(addresses: &[SocketAddr], start: Instant) -> Result<Duration, BenchError> {
    let done = AtomicBool::new(false);
    let deadline = start + Duration::from_secs(120);
    thread::scope(|scope| {
        let mut askers = Vec::new();
        for address in addresses {
            let done = &done;
            askers.push(scope.spawn(move || {
                while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
                    if let Ok(at) = write(*address) {
                        let took = at.saturating_duration_since(start);
                        done.store(true, Ordering::Relaxed);
                        return Some(took);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                None
            }));
        }
        let answers = askers.into_iter().map(|asker| asker.join().expect("it does not panic"));
        answers.flatten().min()
    })
    .ok_or_else(|| BenchError::Timeout("the first write of an ensemble".to_owned()))
}

/// One session that makes one sequential ephemeral znode and closes; when the znode was
/// acknowledged.
fn write(address: SocketAddr) -> io::Result<Instant> {
    let mut session = OneByOne::open(address, Duration::from_secs(1))?;
    let acl = Some(vec![Acl::open_unsafe()]);
    let create =
        CreateRequest { path: Some("/first-write-".into()), data: Some(b""), acl, flags: 3 };
    session.ask(Xid(1), OpCode::Create, &create)?;
    let acknowledged = Instant::now();
    let _ = session.close(Xid(2));
    Ok(acknowledged)
}
