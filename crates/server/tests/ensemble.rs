//! Three servers of one ensemble in this process, over real sockets and files.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use common::{Client, TIMEOUT, read_file, wait_until};
use rookeeper_replica::ServerState;
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::{Server, ServerHandle};

/// Where one member is found.
#[derive(Clone, Copy)]
struct Place {
    quorum: u16,
    election: u16,
    client: u16,
}

/// An ensemble in a directory of its own.
struct Ensemble {
    directory: tempfile::TempDir,
    settings: String,
    places: Vec<Place>,
    servers: Vec<Option<ServerHandle>>,
}

/// Ports that nobody has now, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Ensemble {
    /// So many members, none of them started.
    fn new(members: usize, settings: &str) -> Ensemble {
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
        }
    }

    fn started(members: usize, settings: &str) -> Ensemble {
        let mut ensemble = Self::new(members, settings);
        for id in 1..=members {
            ensemble.start(id);
        }
        ensemble.wait_for_leader();
        ensemble
    }

    fn home(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("server{id}"))
    }

    fn start(&mut self, id: usize) {
        let home = self.home(id);
        std::fs::create_dir_all(home.join("data")).unwrap();
        std::fs::write(home.join("data/myid"), id.to_string()).unwrap();
        let mut text = format!(
            "dataDir={}\nclientPort={}\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             maxClientCnxns=0\n4lw.commands.whitelist=*\n{}\n",
            home.join("data").display(),
            self.places[id - 1].client,
            self.settings
        );
        for (at, place) in self.places.iter().enumerate() {
            let Place { quorum, election, .. } = place;
            text.push_str(&format!("server.{}=127.0.0.1:{quorum}:{election}\n", at + 1));
        }
        let file = home.join("zoo.cfg");
        std::fs::write(&file, text).unwrap();
        let call = Invocation::new([file.display().to_string()], |_| None).unwrap();
        let server = Server::start(load(&call, &read_file).unwrap()).unwrap();
        self.servers[id - 1] = Some(server);
    }

    fn stop(&mut self, id: usize) {
        self.servers[id - 1].take().unwrap().stop();
    }

    fn address(&self, id: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.places[id - 1].client)
    }

    fn running(&self) -> Vec<usize> {
        (1..=self.servers.len()).filter(|id| self.servers[id - 1].is_some()).collect()
    }

    fn state(&self, id: usize) -> (ServerState, bool) {
        let server = self.servers[id - 1].as_ref().unwrap();
        server
            .inspector()
            .member(|replica| (replica.report().state, replica.report().serving))
            .unwrap()
    }

    /// Who leads, once all that run serve.
    fn wait_for_leader(&self) -> usize {
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
    fn tree(&self, id: usize) -> (i64, i64) {
        let shared = self.servers[id - 1].as_ref().unwrap().inspector().shared();
        (shared.tree.last_processed_zxid().0, shared.tree.digest())
    }

    /// Waits until all that run have the same tree.
    fn wait_for_equal_trees(&self) {
        wait_until("equal trees", || {
            let trees: Vec<_> = self.running().iter().map(|id| self.tree(*id)).collect();
            trees.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}

/// What a server answers to a four-letter word.
fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn three_servers_elect_a_leader_and_each_takes_writes() {
    let ensemble = Ensemble::started(3, "");
    for id in 1..=3 {
        let mut client = Client::connect(ensemble.address(id));
        let path = format!("/from{id}");
        assert_eq!(client.create(&path, b"x", 0).header.err, 0);
        assert_eq!(client.get(&path, false).data().unwrap(), b"x");
    }
    ensemble.wait_for_equal_trees();
    for id in 1..=3 {
        let mut client = Client::connect(ensemble.address(id));
        for other in 1..=3 {
            assert!(client.exists(&format!("/from{other}")), "{other} at {id}");
        }
    }
}
