//! Java's recorded election streams (3.8.0; two voters elect, a third one and an observer join):
//! with one side of each played from the recording the other side's bytes come out.
//!
//! A file is one direction of one connection, named by second, server, client port; `c2s` is what
//! the dialling side sent.

use std::collections::BTreeMap;

use rookeeper_jute::quorum::PeerState;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::{Election, ElectionConfig, ElectionEffect, ElectionInput};
use rookeeper_zab::links::{Addresses, ConnectionId, Links, LinksConfig, LinksEffect, LinksInput};
use rookeeper_zab::membership::{Address, Membership, MembershipRules};
use rookeeper_zab::quorum::Ensemble;

macro_rules! recorded {
    ($name:literal) => {
        (
            include_bytes!(concat!("../recorded/", $name, "-c2s.bin")) as &[u8],
            include_bytes!(concat!("../recorded/", $name, "-s2c.bin")) as &[u8],
        )
    };
}

fn membership(version: &str) -> Membership {
    let mut text = String::new();
    for id in 1..=4 {
        let role = if id == 4 { "observer" } else { "participant" };
        text += &format!("server.{id}=127.0.0.1:3128{id}:3138{id}:{role};127.0.0.1:3118{id}\n");
    }
    text += &format!("version={version}");
    Membership::parse(&text, &MembershipRules::default()).expect("the recorded configuration")
}

/// One server of ours among recorded ones.
struct Server {
    election: Election,
    links: Links,
    now_ms: u64,
    /// Who answers a dial, and on which connection.
    answers: BTreeMap<ServerId, ConnectionId>,
    written: BTreeMap<ConnectionId, Vec<u8>>,
}

impl Server {
    fn new(me: i64) -> Server {
        let ensemble = Ensemble::new(membership("0").into());
        let me = ServerId(me);
        let mut links = Links::new(LinksConfig {
            me,
            addresses: Vec::new(),
            multi_address_enabled: false,
            handshake_timeout_ms: 5000,
        });
        let own = vec![Address::new("127.0.0.1", 31380 + me.0 as u16)];
        let addresses = Addresses { own, ..Addresses::of(&ensemble, me) };
        links.step(0, LinksInput::Addresses(addresses), &mut Vec::new());
        let election = Election::new(ElectionConfig::new(me), ensemble);
        let (answers, written) = (BTreeMap::new(), BTreeMap::new());
        Server { election, links, now_ms: 0, answers, written }
    }

    fn elect(&mut self, input: ElectionInput<'_>) {
        let mut effects = Vec::new();
        self.election.step(self.now_ms, input, &mut effects);
        for effect in effects {
            if let ElectionEffect::Send { to, message } = effect {
                self.connect(LinksInput::Send { to, message });
            }
        }
    }

    fn connect(&mut self, input: LinksInput<'_>) {
        let mut effects = Vec::new();
        self.links.step(self.now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                LinksEffect::Dial { peer, .. } => {
                    let input = match self.answers.get(&peer) {
                        Some(connection) => LinksInput::Dialled { peer, connection: *connection },
                        None => LinksInput::DialFailed(peer),
                    };
                    self.connect(input);
                }
                LinksEffect::Write { connection, bytes } => {
                    self.written.entry(connection).or_default().extend(bytes);
                    self.connect(LinksInput::Written(connection));
                }
                LinksEffect::Deliver { from, message } => {
                    self.elect(ElectionInput::Message { from, body: &message });
                }
                LinksEffect::PeerUp(peer) => self.elect(ElectionInput::PeerUp(peer)),
                LinksEffect::PeerDown(peer) => self.elect(ElectionInput::PeerDown(peer)),
                LinksEffect::Finish(_) | LinksEffect::Close(..) => {}
            }
        }
    }

    fn look(&mut self) {
        self.elect(ElectionInput::Look { last_zxid: Zxid::ZERO, current_epoch: 0 });
    }

    fn receive(&mut self, connection: u64, bytes: &[u8]) {
        let connection = ConnectionId(connection);
        for piece in bytes.chunks(100) {
            self.connect(LinksInput::Received { connection, bytes: piece });
        }
    }

    /// A recorded server dials: its bytes come, ours have to be those that Java answered.
    fn accept(&mut self, connection: u64, (theirs, ours): (&[u8], &[u8])) {
        self.connect(LinksInput::Accepted(ConnectionId(connection)));
        self.receive(connection, theirs);
        self.expect(connection, ours);
    }

    fn expect(&self, connection: u64, bytes: &[u8]) {
        let written = &self.written[&ConnectionId(connection)];
        assert!(written == bytes, "{written:?}\nis not\n{bytes:?}");
    }

    fn ticks(&mut self, until_ms: u64) {
        while let Some(deadline_ms) = self.election.deadline_ms().filter(|at| *at <= until_ms) {
            self.now_ms = deadline_ms;
            self.elect(ElectionInput::Tick);
        }
        self.now_ms = until_ms;
    }

    /// What the leader and its learners agree on after the election.
    fn synchronise(&mut self) {
        self.elect(ElectionInput::Synchronised { epoch: 1 });
        let ensemble = Ensemble::new(membership("100000000").into());
        self.elect(ElectionInput::Ensemble(ensemble));
    }
}

#[test]
fn server_1_is_called_by_2_then_by_3_and_the_observer_and_3_again() {
    let mut server = Server::new(1);
    server.look();
    server.now_ms = 22;
    server.accept(1, recorded!("000.00-el-srv1-33048"));
    server.ticks(400);
    assert_eq!(server.election.state(), PeerState::Following);
    assert_eq!(server.election.leader(), Some(ServerId(2)));
    server.synchronise();
    server.now_ms = 147_240;
    server.accept(2, recorded!("147.24-el-srv1-59288"));
    server.now_ms = 150_450;
    server.accept(3, recorded!("150.45-el-srv1-49274"));
    server.connect(LinksInput::Closed(ConnectionId(2)));
    server.now_ms = 156_740;
    server.accept(4, recorded!("156.74-el-srv1-49278"));
}

#[test]
fn server_2_dials_1_and_leads() {
    let mut server = Server::new(2);
    server.answers.insert(ServerId(1), ConnectionId(1));
    server.look();
    let (ours, theirs) = recorded!("000.00-el-srv1-33048");
    server.receive(1, theirs);
    server.expect(1, ours);
    server.ticks(400);
    assert_eq!(server.election.state(), PeerState::Leading);
    server.synchronise();
    server.now_ms = 147_240;
    server.accept(2, recorded!("147.24-el-srv2-57226"));
    server.now_ms = 150_460;
    server.accept(3, recorded!("150.46-el-srv2-40966"));
    server.connect(LinksInput::Closed(ConnectionId(2)));
    server.now_ms = 156_740;
    server.accept(4, recorded!("156.74-el-srv2-40972"));
}

#[test]
fn server_3_joins_the_leader() {
    let mut server = Server::new(3);
    let streams = [recorded!("147.24-el-srv1-59288"), recorded!("147.24-el-srv2-57226")];
    for peer in [1, 2] {
        server.answers.insert(ServerId(peer), ConnectionId(peer as u64));
    }
    server.look();
    for (connection, (ours, _)) in streams.iter().enumerate() {
        server.expect(connection as u64 + 1, ours);
    }
    for (connection, (_, theirs)) in streams.iter().enumerate() {
        server.receive(connection as u64 + 1, theirs);
    }
    assert_eq!(server.election.state(), PeerState::Following);
    assert_eq!(server.election.leader(), Some(ServerId(2)));
    assert_eq!(server.election.ensemble().committed().version(), 0x1_0000_0000);
}

#[test]
fn server_4_observes_the_leader() {
    let mut server = Server::new(4);
    let streams = [
        recorded!("150.45-el-srv1-49274"),
        recorded!("150.46-el-srv2-40966"),
        recorded!("150.46-el-srv3-49990"),
    ];
    for peer in [1, 2, 3] {
        server.answers.insert(ServerId(peer), ConnectionId(peer as u64));
    }
    server.look();
    for (connection, (ours, theirs)) in streams.iter().enumerate() {
        server.expect(connection as u64 + 1, ours);
        server.receive(connection as u64 + 1, theirs);
    }
    assert_eq!(server.election.state(), PeerState::Observing);
    assert_eq!(server.election.leader(), Some(ServerId(2)));
}
