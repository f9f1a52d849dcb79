//! Observers that learn from followers (`observerMasterPort`), over real sockets and files. The
//! port is the same on every server, so each has a loopback address of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};

use common::{Client, four_letter_word, read_file, wait_until};
use rookeeper_jute::OpCode;
use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_replica::ServerState;
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::{Server, ServerHandle};

const VOTERS: usize = 3;
const MEMBERS: usize = 4;

/// Ports that nobody has on any of the members' addresses, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("0.0.0.0:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn host(id: usize) -> String {
    format!("127.0.9.{id}")
}

struct Ensemble {
    directory: tempfile::TempDir,
    /// Quorum, election, clients, observers: the same everywhere.
    ports: Vec<u16>,
    servers: Vec<Option<ServerHandle>>,
}

impl Ensemble {
    fn new() -> Ensemble {
        let mut ensemble = Ensemble {
            directory: tempfile::tempdir().unwrap(),
            ports: free_ports(4),
            servers: (0..MEMBERS).map(|_| None).collect(),
        };
        (1..=MEMBERS).for_each(|id| ensemble.start(id));
        ensemble
    }

    fn start(&mut self, id: usize) {
        let home = self.directory.path().join(format!("server{id}"));
        let data = home.join("data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("myid"), id.to_string()).unwrap();
        let [quorum, election, clients, observers] = self.ports[..] else { unreachable!("four") };
        let mut text = format!(
            "dataDir={}\nclientPort={clients}\nclientPortAddress={}\ntickTime=500\ninitLimit=20\n\
             syncLimit=10\nmaxClientCnxns=0\nobserverMasterPort={observers}\n\
             4lw.commands.whitelist=*\nreconfigEnabled=true\nskipACL=yes\n",
            data.display(),
            host(id),
        );
        if id > VOTERS {
            text += "peerType=observer\n";
        }
        for member in 1..=MEMBERS {
            let role = if member > VOTERS { "observer" } else { "participant" };
            text += &format!("server.{member}={}:{quorum}:{election}:{role}\n", host(member));
        }
        let file = home.join("zoo.cfg");
        std::fs::write(&file, text).unwrap();
        let call = Invocation::new([file.display().to_string()], |_| None).unwrap();
        self.servers[id - 1] = Some(Server::start(load(&call, &read_file).unwrap()).unwrap());
    }

    fn address(&self, id: usize) -> SocketAddr {
        format!("{}:{}", host(id), self.ports[2]).parse().unwrap()
    }

    /// State, whether clients are served, observers that learn here.
    fn member(&self, id: usize) -> (ServerState, bool, Option<usize>) {
        let server = self.servers[id - 1].as_ref().unwrap();
        let report = server.inspector().member(|replica| replica.report()).unwrap();
        (report.state, report.serving, report.observers)
    }

    fn running(&self) -> Vec<usize> {
        (1..=MEMBERS).filter(|id| self.servers[id - 1].is_some()).collect()
    }

    /// Which follower the observer learns from, once all that run serve.
    fn master(&self) -> usize {
        let mut master = None;
        wait_until("an observer behind a follower", || {
            let all: Vec<_> = self.running().into_iter().map(|id| (id, self.member(id))).collect();
            let with_observer = all.iter().find(|(_, (_, _, observers))| *observers == Some(1));
            master = with_observer.map(|(id, _)| *id);
            all.iter().all(|(_, (_, serving, _))| *serving) && master.is_some()
        });
        master.unwrap()
    }
}

#[test]
fn an_observer_learns_from_a_follower_and_finds_the_next_one() {
    let mut ensemble = Ensemble::new();
    let master = ensemble.master();
    assert_eq!(ensemble.member(master).0, ServerState::Following);
    assert_eq!(ensemble.member(MEMBERS).0, ServerState::Observing);
    let mut client = Client::connect(ensemble.address(MEMBERS));
    assert_eq!(client.create("/through", b"one", 0).header.err, 0);
    let mut other = Client::connect(ensemble.address(1));
    wait_until("the write at a voter", || other.exists("/through"));
    for id in 1..=VOTERS {
        let text = four_letter_word(ensemble.address(id), "mntr");
        for name in ["om_proposal_process_time_ms", "om_commit_process_time_ms"] {
            let name = format!("zk_cnt_{name}\t");
            let count = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
            let follows = ensemble.member(id).0 == ServerState::Following;
            assert_eq!(count.parse::<u64>().unwrap() > 0, follows, "{name} at {id}: {count}");
        }
    }
    drop((client, other));
    ensemble.servers[master - 1].take().unwrap().stop();
    let next = ensemble.master();
    assert_ne!(next, master);
    let mut client = Client::connect(ensemble.address(MEMBERS));
    assert_eq!(client.get("/through", false).data().unwrap(), b"one");
    assert_eq!(client.create("/again", b"two", 0).header.err, 0);
    let mut other = Client::connect(ensemble.address(next));
    wait_until("the write everywhere", || other.exists("/again"));
}

#[test]
fn an_observer_that_becomes_a_voter_serves_observers_as_well() {
    let ensemble = Ensemble::new();
    ensemble.master();
    let [quorum, election, clients, observers] = ensemble.ports[..] else { unreachable!("four") };
    let place: SocketAddr = format!("{}:{observers}", host(MEMBERS)).parse().unwrap();
    assert!(TcpStream::connect(place).is_err(), "nobody learns from an observer");
    let mut client = Client::connect(ensemble.address(1));
    let joining = format!(
        "server.{MEMBERS}={}:{quorum}:{election}:participant;{}:{clients}",
        host(MEMBERS),
        host(MEMBERS)
    );
    let change = ReconfigRequest {
        joining_servers: Some(joining.into()),
        leaving_servers: None,
        new_members: None,
        cur_config_id: -1,
    };
    assert_eq!(client.call(OpCode::Reconfig, &change).header.err, 0);
    wait_until("the new voter follows", || ensemble.member(MEMBERS).0 == ServerState::Following);
    wait_until("its port for observers", || TcpStream::connect(place).is_ok());
}
