//! A directory with a configuration of its own, and ways to run the binary and the script on it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything in these tests may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A home of one server; its processes are stopped and its files removed at the end.
pub struct Home {
    directory: tempfile::TempDir,
    pub port: u16,
}

impl Home {
    /// A home with `conf/zoo.cfg`: a free port, a data directory, and further lines.
    pub fn new(lines: &str) -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap(), port: free_port() };
        std::fs::create_dir(home.path("conf")).unwrap();
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\n{lines}\n",
            home.path("data").display(),
            home.port
        );
        std::fs::write(home.config(), text).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("conf/zoo.cfg")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path("data/zookeeper_server.pid")
    }

    /// Runs `bin/zkServer.sh --config <home>/conf` to its end.
    pub fn script(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let mut command = self.script_command(arguments, environment);
        // The server that a start leaves behind must not keep this test's pipes open.
        Outcome::of(command.stdin(Stdio::null()).output().unwrap())
    }

    pub fn script_command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin/zkServer.sh");
        let mut command = clean(Command::new("bash"));
        command.arg(script).arg("--config").arg(self.path("conf")).args(arguments);
        command.env("ROOKEEPER", env!("CARGO_BIN_EXE_rookeeper"));
        command.env("ZOO_LOG_DIR", self.path("logs"));
        for (name, value) in environment {
            command.env(name, value);
        }
        command
    }

    /// Runs the binary to its end.
    pub fn binary(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.binary_command(arguments);
        Outcome::of(command.stdin(Stdio::null()).output().unwrap())
    }

    pub fn binary_command(&self, arguments: &[&str]) -> Command {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_rookeeper")));
        command.args(arguments).current_dir(self.directory.path());
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.pid_file()) {
            signal(&pid, "KILL");
        }
    }
}

/// Without the variables of whoever runs the tests.
fn clean(mut command: Command) -> Command {
    for name in [
        "ZOOCFGDIR",
        "ZOOCFG",
        "ZOO_LOG_DIR",
        "ZOO_LOG_FILE",
        "ZOOPIDFILE",
        "ZOO_DATADIR_AUTOCREATE_DISABLE",
        "ZOO_NOEXEC",
        "SERVER_JVMFLAGS",
        "JVMFLAGS",
        "ROOKEEPER_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a process said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Outcome {
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Sends a signal with the shell's own kill.
pub fn signal(pid: &str, name: &str) {
    let script = format!("kill -{name} {pid} 2>/dev/null");
    let _ = Command::new("bash").args(["-c", &script]).status();
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Says a four-letter word; `None` where nobody answers.
pub fn word(port: u16, word: &str) -> Option<String> {
    word_at((Ipv4Addr::LOCALHOST, port).into(), word)
}

/// Says a four-letter word at an address; `None` where nobody answers.
pub fn word_at(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
