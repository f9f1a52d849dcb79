//! One member of an ensemble: its files, its process, what it says of itself.

use super::network::Network;
use super::program::Program;
use crate::connection::{Connection, Received};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a member says that it does (`srvr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Leads.
    Leader,
    /// Follows and votes.
    Follower,
    /// Follows without a vote.
    Observer,
    /// Serves reads alone.
    ReadOnly,
    /// Alone by configuration.
    Standalone,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    /// What it runs, from its next start on.
    pub program: Program,
    /// Configuration, log and data are here.
    pub directory: PathBuf,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Lines of zoo.cfg of this member alone.
    pub config: Vec<String>,
    /// Properties of this member alone, `name=value`.
    pub properties: Vec<String>,
    /// Whether zoo.cfg is the server's own after its first start, as reconfigurations need it.
    pub keeps_config: bool,
    prefix: Vec<String>,
    index: usize,
    child: Option<Child>,
    paused: bool,
    log_from: usize,
}

impl Member {
    /// A member that does not run yet; its directory and `myid` are made.
    pub fn new(index: usize, program: Program, directory: PathBuf, network: &Network) -> Member {
        let data = directory.join("data");
        fs::create_dir_all(&data).expect("a test directory can be made");
        fs::write(data.join("myid"), format!("{}\n", index + 1)).expect("a test file");
        Member {
            program,
            directory,
            address: network.client_address(index),
            config: Vec::new(),
            properties: Vec::new(),
            keeps_config: false,
            prefix: network.prefix(index),
            index,
            child: None,
            paused: false,
            log_from: 0,
        }
    }

    /// Its server id.
    pub fn server_id(&self) -> usize {
        self.index + 1
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Removes all that it knows, but for `myid`: a machine that was replaced.
    pub fn wipe(&mut self) {
        assert!(self.child.is_none(), "a member that runs is not wiped");
        let _ = fs::remove_dir_all(self.data());
        fs::create_dir_all(self.data()).expect("a test directory can be made");
        fs::write(self.data().join("myid"), format!("{}\n", self.server_id())).expect("a file");
    }

    /// Starts the process with this configuration file's text, and does not wait.
    pub fn launch(&mut self, config: &str) {
        assert!(self.child.is_none(), "member {} runs already", self.index);
        let path = self.directory.join("zoo.cfg");
        if !self.keeps_config || !path.exists() {
            fs::write(&path, config).expect("a test directory is writable");
        }
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("a test directory is writable");
        self.log_from = log.metadata().map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
        let inner = self.program.command();
        let mut command = match self.prefix.split_first() {
            None => inner,
            Some((first, rest)) => {
                let mut outer = Command::new(first);
                outer.args(rest).arg(inner.get_program());
                for (name, value) in inner.get_envs() {
                    outer.env(name, value.unwrap_or_default());
                }
                outer
            }
        };
        command.arg("server").arg(&path);
        for property in &self.properties {
            command.arg(format!("-D{property}"));
        }
        let twin = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(twin).stderr(log).current_dir(&self.directory);
        self.child = Some(command.spawn().expect("the server's program can be started"));
        self.paused = false;
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// True while the process lives, paused or not.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How the process ended, where it ended by itself and by no signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.as_mut()?.try_wait().ok()??.code()
    }

    /// True between [`Member::pause`] and [`Member::go_on`].
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            let told = Command::new("kill").arg(name).arg(pid.to_string()).status();
            assert!(told.is_ok_and(|status| status.success()), "no signal to {pid}");
        }
    }

    /// Stops its time (SIGSTOP), and waits until all its threads stand still: on a busy machine
    /// that may take a moment.
    pub fn pause(&mut self) {
        self.signal("-STOP");
        self.paused = true;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.stands_still() {
            assert!(Instant::now() < deadline, "member {} does not stand still", self.index);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether each of its threads is stopped, or has ended; true where nobody can tell.
    fn stands_still(&self) -> bool {
        let Some(pid) = self.pid() else { return true };
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
        let states = threads.flatten().map(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state stands behind the name, which is in brackets and may hold anything.
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        });
        states.into_iter().all(|state| state.is_none_or(|state| "TtZXx".contains(state)))
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&mut self) {
        self.signal("-CONT");
        self.paused = false;
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.paused = false;
    }

    /// Asks it to stop (SIGTERM), as `zkServer.sh stop` does, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end within half a minute.
    pub fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal("-TERM");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.is_running() {
            assert!(Instant::now() < deadline, "member {} does not stop", self.index);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = None;
    }

    /// A four-letter word's answer; `None` where it does not answer in two seconds.
    pub fn word(&self, word: &str) -> Option<String> {
        if self.child.is_none() || self.paused {
            return None;
        }
        let mut connection = Connection::open_at(self.address, Duration::from_secs(2)).ok()?;
        connection.send(word.as_bytes());
        let deadline = Instant::now() + Duration::from_secs(2);
        let (bytes, closed) = connection.receive_to_end(deadline);
        (closed && !bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What it does, if it serves.
    pub fn mode(&self) -> Option<Mode> {
        let answer = self.word("srvr")?;
        match answer.lines().find_map(|line| line.strip_prefix("Mode: "))?.trim() {
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            "observer" => Some(Mode::Observer),
            "read-only" => Some(Mode::ReadOnly),
            "standalone" => Some(Mode::Standalone),
            other => panic!("no mode is called {other}"),
        }
    }

    /// The last transaction that it has applied (`srvr`).
    pub fn zxid(&self) -> Option<i64> {
        let answer = self.word("srvr")?;
        let hex = answer.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
        i64::from_str_radix(hex.trim(), 16).ok()
    }

    /// A number of `mntr`.
    pub fn measure(&self, name: &str) -> Option<i64> {
        let answer = self.word("mntr")?;
        let mut fields = answer.lines().filter_map(|line| line.split_once('\t'));
        let (_, value) = fields.find(|(key, _)| *key == name)?;
        value.trim().parse::<f64>().ok().map(|number| number as i64)
    }

    /// The digests that it has noted, by zxid (`hash`).
    pub fn digests(&self) -> BTreeMap<i64, String> {
        let answer = self.word("hash").unwrap_or_default();
        let pairs = answer.lines().filter_map(|line| line.split_once(": "));
        let pairs = pairs.filter_map(|(zxid, digest)| {
            Some((i64::from_str_radix(zxid, 16).ok()?, digest.trim().to_owned()))
        });
        pairs.collect()
    }

    /// Asks it to sync with nothing else: true once a session of a moment can write through it.
    pub fn serves_a_session(&self) -> bool {
        let Ok(mut connection) = Connection::open_at(self.address, Duration::from_secs(2)) else {
            return false;
        };
        connection.send(&super::client::handshake(0, 10_000, None));
        let deadline = Instant::now() + Duration::from_secs(5);
        matches!(connection.receive(deadline), Received::Frame(_))
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// All that its processes have printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What its last process has printed.
    pub fn log_of_this_run(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let new = bytes.get(self.log_from..).unwrap_or_default();
        String::from_utf8_lossy(new).into_owned()
    }

    /// True where a file of its log directory holds these bytes.
    pub fn has_logged(&self, needle: &[u8]) -> bool {
        let folder = self.data().join("version-2");
        let Ok(entries) = fs::read_dir(folder) else { return false };
        let logs = entries.flatten().map(|entry| entry.path()).filter(|path| is_log(path));
        let mut contents = logs.filter_map(|path| fs::read(path).ok());
        contents.any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    }
}

fn is_log(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("log."))
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
