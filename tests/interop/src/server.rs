//! Server processes, Java's and ours, on one configuration.

use crate::connection::four_letter_word;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache ZooKeeper, started by `scripts/java-zookeeper.sh`.
    Java,
    /// Our binary.
    Rookeeper,
}

/// What both servers are told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Lines of zoo.cfg besides dataDir and clientPort.
    pub config: Vec<(String, String)>,
    /// System properties, given as `-Dname=value`.
    pub properties: Vec<(String, String)>,
    /// Properties that only Rookeeper gets (its number of I/O threads, for one).
    pub rookeeper_properties: Vec<(String, String)>,
}

impl Settings {
    /// Every four-letter word, the super digest `super:test`, long sessions, no clean-up of
    /// containers while a test runs.
    pub fn usual() -> Settings {
        Settings::default()
            .config("tickTime", "2000")
            .config("maxSessionTimeout", "600000")
            .config("maxClientCnxns", "0")
            .config("4lw.commands.whitelist", "*")
            .config("admin.enableServer", "false")
            .config("preAllocSize", "1024")
            .property("zookeeper.DigestAuthenticationProvider.superDigest", SUPER_DIGEST)
            .property("znode.container.checkIntervalMs", "3600000")
    }

    /// Adds a line of zoo.cfg.
    pub fn config(mut self, key: &str, value: &str) -> Settings {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a system property.
    pub fn property(mut self, key: &str, value: &str) -> Settings {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Gives Rookeeper this many I/O threads.
    pub fn io_threads(mut self, count: usize) -> Settings {
        self.rookeeper_properties
            .push(("zookeeper.nio.numWorkerThreads".to_owned(), count.to_string()));
        self
    }
}

/// `super:` and the digest of the password `test`.
pub const SUPER_DIGEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// A server process and its files. Dropping it kills the process; the files stay until
/// [`Server::remove`].
#[derive(Debug)]
pub struct Server {
    /// Which server.
    pub kind: Kind,
    /// The client port.
    pub port: u16,
    /// Configuration, log and data are here.
    pub directory: PathBuf,
    settings: Settings,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on `directory/data` and waits until it serves.
    pub fn start(kind: Kind, directory: &Path, settings: &Settings) -> Server {
        fs::create_dir_all(directory).expect("a test directory can be made");
        let mut server = Server {
            kind,
            port: 0,
            directory: directory.to_owned(),
            settings: settings.clone(),
            child: None,
        };
        for attempt in 0.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                Err(log) if attempt < 2 && log.contains("in use") => {}
                Err(log) => panic!("{kind:?} did not start in {}:\n{log}", directory.display()),
            }
        }
        server
    }

    /// The data directory of the server.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Starts it again on the same port, with the same files.
    pub fn launch_again(&mut self) {
        // The port may be held for a moment by a socket of the stopped process.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.launch() {
                Ok(()) => return,
                Err(log) if log.contains("in use") && Instant::now() < deadline => {}
                Err(log) => panic!("{:?} did not start again:\n{log}", self.kind),
            }
        }
    }

    fn launch(&mut self) -> Result<(), String> {
        let config = self.directory.join("zoo.cfg");
        let mut text = format!("dataDir={}\nclientPort={}\n", self.data().display(), self.port);
        for (key, value) in &self.settings.config {
            text.push_str(&format!("{key}={value}\n"));
        }
        fs::write(&config, text).expect("a test directory is writable");
        let log = File::options().create(true).append(true).open(self.directory.join("log"));
        let log = log.expect("a test directory is writable");
        let before = log.metadata().map_or(0, |m| m.len());
        let program = program(self.kind);
        let mut command = match program {
            Kind::Java => Command::new(java_script()),
            Kind::Rookeeper => Command::new(rookeeper_binary()),
        };
        command.arg("server").arg(&config);
        for (key, value) in &self.settings.properties {
            command.arg(format!("-D{key}={value}"));
        }
        if program == Kind::Rookeeper {
            for (key, value) in &self.settings.rookeeper_properties {
                command.arg(format!("-D{key}={value}"));
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        command.env("JAVA_HEAP", "192m").env("JAVA_LOG_LEVEL", "ERROR");
        // Tests start many short-lived servers: the first compiler alone starts fastest.
        command.env("JAVA_FLAGS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto");
        let mut child = command.spawn().expect("the server's program can be started");
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                let log = self.log();
                let new = log.get(usize::try_from(before).unwrap_or(0)..).unwrap_or(&log);
                return Err(format!("{status}\n{new}"));
            }
            if four_letter_word(self.port, "srvr").is_some_and(|answer| answer.contains("Mode: ")) {
                self.child = Some(child);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("it did not serve within a minute\n{}", self.log()))
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends the process at once (SIGKILL), as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to stop (SIGTERM) and waits for its end; killed after 20 s.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let told = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while told.is_ok() && Instant::now() < deadline {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills it and removes its files.
    pub fn remove(mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What runs for a kind of server. `INTEROP_OTHER=java` puts a second Java server in the place of
/// ours, which proves the tests themselves.
fn program(kind: Kind) -> Kind {
    match std::env::var("INTEROP_OTHER").as_deref() {
        Ok("java") => Kind::Java,
        _ => kind,
    }
}

/// A port of the loopback address that nobody used a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A new directory for one test, under the system's temporary directory.
pub fn scratch(name: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir()
        .join(format!("rookeeper-interop-{}-{number}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the temporary directory is writable");
    path
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The script that runs Java's server and tools.
pub fn java_script() -> PathBuf {
    checkout().join("scripts/java-zookeeper.sh")
}

/// True where Java is to be compared with; false where the caller waived it by `JAVA=no`, which is
/// said on standard error. A Java that cannot be installed fails the test.
pub fn java_wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        if std::env::var("JAVA").is_ok_and(|value| value == "no") {
            eprintln!("WAIVED by JAVA=no: nothing here was compared with a Java server");
            return false;
        }
        let installed = Command::new(java_script()).arg("install").status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "Java ZooKeeper could not be installed; JAVA=no waives the comparison"
        );
        true
    })
}

/// The program of this crate, which cargo builds beside its tests: the one that runs, where it is
/// that.
pub fn own_program() -> PathBuf {
    let own = std::env::current_exe().expect("the running program has a path");
    let profile = own.ancestors().find(|p| p.ends_with("debug") || p.ends_with("release"));
    match profile.map(|profile| profile.join("rookeeper-interop")) {
        Some(program) if own.parent().is_some_and(|folder| folder.ends_with("deps")) => program,
        _ => own,
    }
}

/// Our server with short epochs, an example of its crate, built by cargo in the profile of this
/// test. `SHORT_EPOCHS` in its environment says after how many transactions an epoch ends.
pub fn short_epochs_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let package = ["--package", "rookeeper-server", "--example", "short_epochs"];
        build(&package).join("examples/short_epochs")
    })
}

/// Our binary: `ROOKEEPER_BIN`, else built by cargo in the profile of this test.
pub fn rookeeper_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("ROOKEEPER_BIN") {
            return PathBuf::from(path);
        }
        build(&["--package", "rookeeper"]).join("rookeeper")
    })
}

/// Builds something in the profile of what runs; where the profile's output lies.
fn build(what: &[&str]) -> PathBuf {
    let own = std::env::current_exe().expect("the running program has a path");
    let profile = own.ancestors().find(|p| p.ends_with("debug") || p.ends_with("release"));
    let profile = profile.expect("cargo runs this from its target directory").to_owned();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet"]).args(what).current_dir(checkout());
    build.arg("--target-dir").arg(profile.parent().expect("a profile lies in a target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().is_ok_and(|status| status.success()), "{what:?} could not be built");
    profile
}
