//! The rule of election links, case by case.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::ServerId;
use rookeeper_zab::links::{
    Addresses, CloseReason, ConnectionId, Links, LinksConfig, LinksEffect, LinksInput,
};
use rookeeper_zab::membership::{Address, Membership, MembershipRules};
use rookeeper_zab::quorum::Ensemble;

fn address(id: i64) -> Address {
    Address::new(&format!("n{id}"), 3888)
}

/// The first message of a server.
fn hello(id: i64) -> Vec<u8> {
    let text = address(id).to_string();
    let mut bytes = (-65536i64).to_be_bytes().to_vec();
    bytes.extend(id.to_be_bytes());
    bytes.extend((text.len() as i32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn frame(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// Server 2 of three.
struct Server {
    links: Links,
    now_ms: u64,
}

impl Server {
    fn new() -> Server {
        let mut links = Links::new(LinksConfig {
            me: ServerId(2),
            addresses: Vec::new(),
            multi_address_enabled: false,
            handshake_timeout_ms: 1000,
        });
        let peers: BTreeMap<_, _> =
            [1, 3].map(|id| (ServerId(id), vec![address(id)])).into_iter().collect();
        let addresses = Addresses { own: vec![address(2)], peers };
        links.step(0, LinksInput::Addresses(addresses), &mut Vec::new());
        Server { links, now_ms: 0 }
    }

    fn step(&mut self, input: LinksInput<'_>) -> Vec<LinksEffect> {
        let mut effects = Vec::new();
        self.links.step(self.now_ms, input, &mut effects);
        effects
    }

    fn send(&mut self, to: i64, text: &str) -> Vec<LinksEffect> {
        let message: Arc<[u8]> = text.as_bytes().into();
        self.step(LinksInput::Send { to: ServerId(to), message })
    }

    fn receive(&mut self, connection: u64, bytes: &[u8]) -> Vec<LinksEffect> {
        self.step(LinksInput::Received { connection: ConnectionId(connection), bytes })
    }

    fn accept(&mut self, connection: u64, bytes: &[u8]) -> Vec<LinksEffect> {
        assert_eq!(self.step(LinksInput::Accepted(ConnectionId(connection))), []);
        self.receive(connection, bytes)
    }

    fn dialled(&mut self, peer: i64, connection: u64) -> Vec<LinksEffect> {
        let (peer, connection) = (ServerId(peer), ConnectionId(connection));
        self.step(LinksInput::Dialled { peer, connection })
    }
}

fn dial(peer: i64) -> LinksEffect {
    LinksEffect::Dial { peer: ServerId(peer), addresses: vec![address(peer)] }
}

fn write(connection: u64, bytes: Vec<u8>) -> LinksEffect {
    LinksEffect::Write { connection: ConnectionId(connection), bytes }
}

fn close(connection: u64, reason: CloseReason) -> LinksEffect {
    LinksEffect::Close(ConnectionId(connection), reason)
}

fn deliver(from: i64, text: &str) -> LinksEffect {
    LinksEffect::Deliver { from: ServerId(from), message: text.as_bytes().to_vec() }
}

const UP_1: LinksEffect = LinksEffect::PeerUp(ServerId(1));
const UP_3: LinksEffect = LinksEffect::PeerUp(ServerId(3));

#[test]
fn the_larger_id_keeps_its_dial_and_sends_what_waits() {
    let mut server = Server::new();
    assert_eq!(server.send(1, "a"), [dial(1)]);
    assert_eq!(server.send(1, "b"), []);
    assert_eq!(server.dialled(1, 7), [write(7, hello(2)), UP_1, write(7, frame("b"))]);
    assert_eq!(server.receive(7, &frame("x")), [deliver(1, "x")]);
}

#[test]
fn the_smaller_id_dials_to_be_called_back() {
    let mut server = Server::new();
    assert_eq!(server.send(3, "a"), [dial(3)]);
    let finish = LinksEffect::Finish(ConnectionId(7));
    assert_eq!(server.dialled(3, 7), [write(7, hello(2)), finish]);
    let bytes = [hello(3), frame("x"), frame("y")].concat();
    let expected = [UP_3, write(8, frame("a")), deliver(3, "x"), deliver(3, "y")];
    assert_eq!(server.accept(8, &bytes), expected);
}

#[test]
fn who_has_moved_says_where_it_is_now() {
    let mut server = Server::new();
    assert_eq!(server.send(3, "a"), [dial(3)]);
    let peers: BTreeMap<_, _> = [1, 3].map(|id| (ServerId(id), vec![address(id)])).into();
    let moved = Addresses { own: vec![Address::new("n2", 3999)], peers: peers.clone() };
    assert_eq!(server.step(LinksInput::Addresses(moved)), []);
    let mut here = hello(2);
    here.splice(20.., *b"n2:3999");
    assert_eq!(server.dialled(3, 7)[0], write(7, here.clone()));
    // Removed from all configurations it has nowhere else to be.
    assert_eq!(server.step(LinksInput::Addresses(Addresses { own: Vec::new(), peers })), []);
    assert_eq!(server.send(1, "b"), [dial(1)]);
    assert_eq!(server.dialled(1, 8)[0], write(8, here));
}

#[test]
fn a_server_moves_when_the_change_is_committed_and_is_looked_for_at_both_places_before() {
    let membership = |version, hosts: [&str; 2]| {
        let [one, two] = hosts;
        let text = format!("server.1={one}:1:3888;5\nserver.2={two}:1:3888;5");
        let membership = Membership::parse(&text, &MembershipRules::default());
        Arc::new(membership.expect("a configuration").with_version(version))
    };
    let at = |host: &str| Address::new(host, 3888);
    let (before, after) = (membership(1, ["a", "b"]), membership(2, ["c", "d"]));
    let pending = Ensemble::with_last_seen(before.clone(), after.clone());
    let found = Addresses::of(&pending, ServerId(2));
    assert_eq!((found.own, &found.peers[&ServerId(1)]), (vec![at("b")], &vec![at("a"), at("c")]));
    let found = Addresses::of(&Ensemble::new(after), ServerId(2));
    assert_eq!((found.own, &found.peers[&ServerId(1)]), (vec![at("d")], &vec![at("c")]));
    assert!(!found.peers.contains_key(&ServerId(2)), "itself");
    let found = Addresses::of(&Ensemble::new(before), ServerId(3));
    assert_eq!((found.own, found.peers.len()), (Vec::new(), 2), "not in the configuration");
}

#[test]
fn a_smaller_id_is_closed_and_called_back_where_it_says_it_is() {
    let mut server = Server::new();
    let mut moved = hello(1);
    moved.splice(20.., *b"m1:3888");
    moved[19] = 7;
    let called = LinksEffect::Dial {
        peer: ServerId(1),
        addresses: vec![Address::new("m1", 3888), address(1)],
    };
    assert_eq!(server.accept(7, &moved), [close(7, CloseReason::CalledBack), called]);
    // It asks again meanwhile: one dial is enough.
    assert_eq!(server.accept(8, &hello(1)), [close(8, CloseReason::CalledBack)]);
    assert_eq!(server.dialled(1, 9), [write(9, hello(2)), UP_1]);
    // Once more, with the link still there: it has lost it.
    let again = server.accept(10, &hello(1));
    let closed = [close(9, CloseReason::Replaced), close(10, CloseReason::CalledBack), dial(1)];
    assert_eq!(again, closed);
}

#[test]
fn a_new_connection_replaces_the_old_one_and_repeats_the_last_message() {
    let mut server = Server::new();
    server.accept(7, &hello(3));
    assert_eq!(server.send(3, "a"), [write(7, frame("a"))]);
    server.step(LinksInput::Written(ConnectionId(7)));
    let replaced = server.accept(8, &hello(3));
    assert_eq!(replaced, [close(7, CloseReason::Replaced), UP_3, write(8, frame("a"))]);
    // The old one's end changes nothing.
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(7))), []);
    assert!(server.links.is_up(ServerId(3)));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(8))), [dial(3)]);
    let down = LinksEffect::PeerDown(ServerId(3));
    assert_eq!(server.step(LinksInput::DialFailed(ServerId(3))), [down]);
    // What waits by then is newer than the last message.
    assert_eq!(server.send(3, "b"), [dial(3)]);
    assert_eq!(server.accept(9, &hello(3)), [UP_3, write(9, frame("b"))]);
}

#[test]
fn a_link_that_ends_means_that_the_peer_is_gone_only_where_a_dial_fails_too() {
    let mut server = Server::new();
    let finish = |connection| LinksEffect::Finish(ConnectionId(connection));
    // Both have dialled at one time: the larger id ends the link and calls back.
    server.accept(7, &hello(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(7))), [dial(3)]);
    assert_eq!(server.accept(8, &hello(3)), [UP_3]);
    assert_eq!(server.dialled(3, 9), [finish(9)], "without a word, or it would do so again");
    // Again at once: this link is of no use.
    let down = LinksEffect::PeerDown(ServerId(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(8))), [down]);
    // Later the peer is there, and has nothing to say, nor has this server.
    server.now_ms = 1000;
    server.accept(10, &hello(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(10))), [dial(3)]);
    assert_eq!(server.dialled(3, 11), [finish(11)]);
    // A message waits by the time that the dial succeeds: call me back.
    server.now_ms = 2000;
    server.accept(12, &hello(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(12))), [dial(3)]);
    assert_eq!(server.send(3, "a"), []);
    assert_eq!(server.dialled(3, 13), [write(13, hello(2)), finish(13)]);
    // The smaller id is dialled anew, to be linked again.
    server.send(1, "x");
    server.dialled(1, 14);
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(14))), [dial(1)]);
    assert_eq!(server.dialled(1, 15), [write(15, hello(2)), UP_1, write(15, frame("x"))]);
}

#[test]
fn a_peer_that_takes_a_dial_and_does_not_call_is_dialled_again() {
    let mut server = Server::new();
    server.accept(7, &hello(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(7))), [dial(3)]);
    // Its process is being killed, and its port is open still.
    assert_eq!(server.dialled(3, 8), [LinksEffect::Finish(ConnectionId(8))]);
    assert_eq!(server.links.deadline_ms(), Some(10));
    server.now_ms = 10;
    assert_eq!(server.step(LinksInput::Tick), [dial(3)]);
    let down = LinksEffect::PeerDown(ServerId(3));
    assert_eq!(server.step(LinksInput::DialFailed(ServerId(3))), [down]);
    assert_eq!(server.links.deadline_ms(), None);
    // One that is there is asked four times more, and then left to itself.
    server.now_ms = 1000;
    server.accept(9, &hello(3));
    assert_eq!(server.step(LinksInput::Closed(ConnectionId(9))), [dial(3)]);
    for pause_ms in [10, 20, 40, 80] {
        server.dialled(3, 10);
        server.now_ms += pause_ms;
        assert_eq!(server.step(LinksInput::Tick), [dial(3)], "after {pause_ms} ms");
    }
    server.dialled(3, 11);
    assert_eq!(server.links.deadline_ms(), None);
    assert_eq!(server.accept(12, &hello(3)), [UP_3]);
}

#[test]
fn only_the_newest_message_waits_for_a_slow_peer_and_others_do_not_wait() {
    let mut server = Server::new();
    server.accept(7, &hello(3));
    server.send(1, "x");
    server.dialled(1, 8);
    assert_eq!(server.send(3, "a"), [write(7, frame("a"))]);
    assert_eq!(server.send(3, "b"), []);
    assert_eq!(server.send(3, "c"), []);
    assert_eq!(server.step(LinksInput::Written(ConnectionId(8))), []);
    assert_eq!(server.send(1, "y"), [write(8, frame("y"))]);
    assert_eq!(server.step(LinksInput::Written(ConnectionId(7))), [write(7, frame("c"))]);
}

#[test]
fn dials_that_fail_are_told_once() {
    let mut server = Server::new();
    assert_eq!(server.send(1, "a"), [dial(1)]);
    let down = LinksEffect::PeerDown(ServerId(1));
    assert_eq!(server.step(LinksInput::DialFailed(ServerId(1))), [down]);
    assert_eq!(server.send(1, "b"), [dial(1)]);
    assert_eq!(server.step(LinksInput::DialFailed(ServerId(1))), []);
    // Nobody knows where server 9 is.
    assert_eq!(server.send(9, "a"), [LinksEffect::PeerDown(ServerId(9))]);
    assert_eq!(server.send(2, "to itself"), []);
}

#[test]
fn strangers_are_closed_in_time_and_hold_up_nobody() {
    let mut server = Server::new();
    server.step(LinksInput::Accepted(ConnectionId(7)));
    assert_eq!(server.receive(7, &hello(3)[..30 - 20]), []);
    server.now_ms = 10;
    assert_eq!(server.accept(8, &hello(3)), [UP_3]);
    assert_eq!(server.links.deadline_ms(), Some(1000));
    server.now_ms = 1000;
    assert_eq!(server.step(LinksInput::Tick), [close(7, CloseReason::HandshakeTimeout)]);
    assert_eq!(server.links.deadline_ms(), None);
    for stranger in 0..64 {
        assert_eq!(server.step(LinksInput::Accepted(ConnectionId(100 + stranger))), []);
    }
    let closed = server.step(LinksInput::Accepted(ConnectionId(200)));
    assert_eq!(closed, [close(100, CloseReason::TooMany)]);
}

#[test]
fn bad_bytes_end_their_connection_only() {
    let mut server = Server::new();
    let unknown_version = (-7i64).to_be_bytes();
    assert_eq!(server.accept(7, &unknown_version), [close(7, CloseReason::BadHello)]);
    assert_eq!(server.accept(8, &hello(2)), [close(8, CloseReason::OwnId)]);
    server.accept(9, &hello(3));
    let down = LinksEffect::PeerDown(ServerId(3));
    let bad = server.receive(9, &0i32.to_be_bytes());
    assert_eq!(bad, [down.clone(), close(9, CloseReason::BadLength(0))]);
    server.accept(10, &hello(3));
    let bad = server.receive(10, &524_289i32.to_be_bytes());
    assert_eq!(bad, [down, close(10, CloseReason::BadLength(524_289))]);
}

#[test]
fn bytes_come_in_any_pieces() {
    let bytes = [hello(3), frame("one"), frame("two")].concat();
    for len in 1..bytes.len() {
        let mut server = Server::new();
        server.step(LinksInput::Accepted(ConnectionId(7)));
        let effects: Vec<LinksEffect> =
            bytes.chunks(len).flat_map(|piece| server.receive(7, piece)).collect();
        assert_eq!(effects, [UP_3, deliver(3, "one"), deliver(3, "two")], "pieces of {len}");
    }
}

#[test]
fn servers_without_ids_get_some_and_unknown_ones_do_not_pile_up() {
    let mut server = Server::new();
    let mut anonymous = hello(1);
    anonymous[8..16].copy_from_slice(&i64::MAX.to_be_bytes());
    for (connection, id) in [(1, -1), (2, -2)] {
        let called = LinksEffect::Dial { peer: ServerId(id), addresses: vec![address(1)] };
        let effects = server.accept(connection, &anonymous);
        assert_eq!(effects, [close(connection, CloseReason::CalledBack), called]);
    }
    for id in 1000..3000 {
        server.accept(id, &hello(id as i64));
        server.step(LinksInput::Closed(ConnectionId(id)));
    }
    assert_eq!(server.accept(9999, &hello(3)), [UP_3]);
    let mut refused = 0;
    for id in 3000..4000 {
        let effects = server.accept(id, &hello(id as i64));
        refused += usize::from(effects == [close(id, CloseReason::TooMany)]);
    }
    assert!(refused > 400, "{refused} of 1000 open links of unknown servers refused");
}
