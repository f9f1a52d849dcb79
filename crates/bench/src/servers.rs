//! Servers that the benchmark starts itself, each with a data directory and a port of its own.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::BenchError;
use crate::start::first_answer;

/// How to start a kind of server: a command that takes a configuration file as its last argument,
/// stays in the foreground and is the server's process itself.
#[derive(Debug, Clone)]
pub struct Kind {
    /// What tables call it.
    pub name: String,
    /// The program and its first arguments.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

/// A running server. It is killed and its directory deleted when this is dropped.
pub struct Server {
    kind: Kind,
    child: Option<Child>,
    /// Where its configuration, data and output are.
    pub folder: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port of the loopback interface that is free now, below those that the system gives to
/// outgoing connections: it is still free when a server starts a second time.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> io::Result<u16> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + std::process::id().wrapping_mul(6_271).wrapping_add(at) % COUNT;
        let port = u16::try_from(port).map_err(io::Error::other)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}

impl Server {
    /// Lays out a server in a new folder under `parent`; `extra` are lines of its configuration.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn prepare(kind: &Kind, parent: &Path, extra: &[&str]) -> Result<Server, BenchError> {
        let port = free_port().map_err(BenchError::io("a free port"))?;
        let folder = parent.join(format!("{}-{}-{port}", kind.name, std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&data).map_err(BenchError::io(data.display().to_string()))?;
        let mut config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=2000\n\
             maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n",
            data.display()
        );
        for line in extra {
            config.push_str(line);
            config.push('\n');
        }
        let path = folder.join("zoo.cfg");
        fs::write(&path, config).map_err(BenchError::io(path.display().to_string()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Server { kind: kind.clone(), child: None, folder, address })
    }

    /// Starts the process, and does not wait.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn launch(&mut self) -> Result<(), BenchError> {
        let out = self.folder.join("output.txt");
        let file = fs::OpenOptions::new().create(true).append(true).open(&out);
        let file = file.map_err(BenchError::io(out.display().to_string()))?;
        let twin = file.try_clone().map_err(BenchError::io("output"))?;
        let (program, arguments) = self
            .kind
            .command
            .split_first()
            .ok_or_else(|| BenchError::Usage("an empty command".to_owned()))?;
        let child = Command::new(program)
            .args(arguments)
            .arg(self.folder.join("zoo.cfg"))
            .envs(self.kind.environment.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .spawn()
            .map_err(BenchError::io(program.clone()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the process and returns how long its first answer took.
    ///
    /// # Errors
    /// Where it does not start or does not answer.
    pub fn start(&mut self) -> Result<Duration, BenchError> {
        let start = Instant::now();
        self.launch()?;
        let answered = first_answer(self.address, start + PATIENCE).map_err(|error| {
            let output = fs::read_to_string(self.folder.join("output.txt")).unwrap_or_default();
            let tail: Vec<&str> = output.lines().rev().take(5).collect();
            BenchError::Usage(format!("{} did not start: {error}: {tail:?}", self.kind.name))
        })?;
        Ok(answered - start)
    }

    /// The process, as a list for options; empty while it does not run.
    pub fn pids(&self) -> Vec<u32> {
        self.child.iter().map(Child::id).collect()
    }

    /// Asks the process to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// Where it does not stop; it is killed then.
    pub fn stop(&mut self) -> Result<(), BenchError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|e| BenchError::io("SIGTERM")(e.into()))?;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if child.try_wait().map_err(BenchError::io("wait"))?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        self.kill();
        Err(BenchError::Timeout(format!("stopping {}", self.kind.name)))
    }

    /// Kills the process (SIGKILL) and waits.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The largest snapshot file and its length in bytes, leaving out unfinished names.
    pub fn largest_snapshot(&self) -> Option<(String, u64)> {
        let entries = fs::read_dir(self.folder.join("data/version-2")).ok()?;
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let hex = name.strip_prefix("snapshot.")?;
                i64::from_str_radix(hex, 16).ok()?;
                Some((name, entry.metadata().ok()?.len()))
            })
            .max_by_key(|(_, len)| *len)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
