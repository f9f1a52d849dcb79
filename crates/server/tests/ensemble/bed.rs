//! An ensemble in a directory of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use parking_lot::Mutex;
use rookeeper_replica::ServerState;
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::process::{Process, ProcessorTime, UnknownProcess};
use rookeeper_server::{Server, ServerHandle};

use crate::common::{read_file, wait_until};

/// Where one member is found.
#[derive(Clone, Copy)]
pub struct Place {
    pub quorum: u16,
    pub election: u16,
    pub client: u16,
}

/// An ensemble in a directory of its own.
pub struct Ensemble {
    pub directory: tempfile::TempDir,
    pub settings: String,
    pub places: Vec<Place>,
    pub servers: Vec<Option<ServerHandle>>,
    /// Members without a vote.
    pub observers: BTreeSet<usize>,
    /// The file of the first start is the server's from then on, and client addresses stand in
    /// the servers' lines.
    pub keeps_config: bool,
    /// Members whose lines have no client address.
    pub without_client: BTreeSet<usize>,
    /// System properties, as the environment gives them.
    pub flags: &'static str,
    /// What the servers know of the machine.
    pub process: Arc<dyn Process>,
}

/// Lines of a log.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A machine whose processors never rest.
#[derive(Debug, Default)]
pub struct Busy(AtomicU64);

impl Process for Busy {
    fn processor_time(&self) -> Option<ProcessorTime> {
        Some(ProcessorTime { busy: self.0.fetch_add(1, Ordering::Relaxed), idle: 0 })
    }
}

/// Ports that nobody has now, all different, and below those that outgoing connections take: a
/// server that is down must find its own again.
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 15_000;
    const RANGE: u16 = 16_000;
    let of_process = u16::try_from(std::process::id() % u32::from(RANGE)).unwrap();
    let candidate = || {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + of_process.wrapping_mul(61).wrapping_add(step) % RANGE
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(candidate).filter(is_free).take(count).collect()
}

impl Ensemble {
    /// So many members, none of them started.
    pub fn new(members: usize, settings: &str) -> Ensemble {
        // ROOKEEPER_LOG=debug shows what the servers say; another test may have set it up before.
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ROOKEEPER_LOG") {
            let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
        }
        let ports = free_ports(3 * members);
        let places = ports
            .chunks(3)
            .map(|ports| Place { quorum: ports[0], election: ports[1], client: ports[2] })
            .collect();
        Ensemble {
            directory: tempfile::tempdir().unwrap(),
            settings: settings.to_owned(),
            places,
            servers: (0..members).map(|_| None).collect(),
            observers: BTreeSet::new(),
            keeps_config: false,
            without_client: BTreeSet::new(),
            flags: "",
            process: Arc::new(UnknownProcess),
        }
    }

    pub fn started(members: usize, settings: &str) -> Ensemble {
        let mut ensemble = Self::new(members, settings);
        for id in 1..=members {
            ensemble.start(id);
        }
        ensemble.wait_for_leader();
        ensemble
    }

    pub fn home(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("server{id}"))
    }

    pub fn start(&mut self, id: usize) {
        let home = self.home(id);
        std::fs::create_dir_all(home.join("data")).unwrap();
        std::fs::write(home.join("data/myid"), id.to_string()).unwrap();
        let file = home.join("zoo.cfg");
        if self.keeps_config && file.exists() {
            return self.launch(id);
        }
        let mut text = format!(
            "dataDir={}\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             maxClientCnxns=0\n4lw.commands.whitelist=*\n{}\n",
            home.join("data").display(),
            self.settings
        );
        if !self.keeps_config {
            text.push_str(&format!("clientPort={}\n", self.places[id - 1].client));
        }
        for other in 1..=self.places.len() {
            text.push_str(&format!("{}\n", self.line(other)));
        }
        std::fs::write(&file, text).unwrap();
        self.launch(id);
    }

    /// A member's line `server.N`.
    pub fn line(&self, id: usize) -> String {
        let Place { quorum, election, client } = self.places[id - 1];
        let role = if self.observers.contains(&id) { "observer" } else { "participant" };
        let line = format!("server.{id}=127.0.0.1:{quorum}:{election}:{role}");
        let names_client = self.keeps_config && !self.without_client.contains(&id);
        if names_client { format!("{line};127.0.0.1:{client}") } else { line }
    }

    pub fn launch(&mut self, id: usize) {
        let file = self.home(id).join("zoo.cfg");
        let flags = |name: &str| (name == "SERVER_JVMFLAGS").then(|| self.flags.into());
        let call = Invocation::new([file.display().to_string()], flags).unwrap();
        let mut config = load(&call, &read_file).unwrap();
        config.process = Arc::clone(&self.process);
        self.servers[id - 1] = Some(Server::start(config).unwrap());
    }

    pub fn stop(&mut self, id: usize) {
        self.servers[id - 1].take().unwrap().stop();
    }

    /// What this thread's part of the servers says from warnings on.
    pub fn said_while(&mut self, what: impl FnOnce(&mut Ensemble)) -> String {
        let said = Said::default();
        let to = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || to.clone());
        tracing::subscriber::with_default(subscriber.finish(), || what(self));
        let bytes = said.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    pub fn address(&self, id: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.places[id - 1].client)
    }

    pub fn running(&self) -> Vec<usize> {
        (1..=self.servers.len()).filter(|id| self.servers[id - 1].is_some()).collect()
    }

    pub fn state(&self, id: usize) -> (ServerState, bool) {
        let server = self.servers[id - 1].as_ref().unwrap();
        server
            .inspector()
            .member(|replica| (replica.report().state, replica.report().serving))
            .unwrap()
    }

    /// Who leads, once all that run serve.
    pub fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        wait_until("a leader that all follow", || {
            let running = self.running();
            let states: Vec<_> = running.iter().map(|id| self.state(*id)).collect();
            let leading: Vec<usize> = running
                .iter()
                .zip(&states)
                .filter(|(_, (state, _))| *state == ServerState::Leading)
                .map(|(id, _)| *id)
                .collect();
            leader = leading.first().copied();
            leading.len() == 1 && states.iter().all(|(_, serving)| *serving)
        });
        leader.unwrap()
    }

    /// Zxid and digest of a member's tree.
    pub fn tree(&self, id: usize) -> (i64, i64) {
        let shared = self.servers[id - 1].as_ref().unwrap().inspector().shared();
        (shared.tree.last_processed_zxid().0, shared.tree.digest())
    }

    /// Waits until all that run have the same tree.
    pub fn wait_for_equal_trees(&self) {
        wait_until("equal trees", || {
            let trees: Vec<_> = self.running().iter().map(|id| self.tree(*id)).collect();
            trees.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}
