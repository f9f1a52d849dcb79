//! Connections between servers: elections, and between leader and learners.

use std::collections::VecDeque;

use rookeeper_archive::{Reading, ReadingError, write_at_once};
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::links::{ConnectionId, LinksEffect, LinksInput};
use rookeeper_zab::membership::Address;
use rookeeper_zab::wire::PacketReader;
use rookeeper_zab::{Outgoing, wire};

use super::process::{MASTERS, Message, Process, machine_of, server_id};
use super::{End, Event, Who, World};
use crate::network::{NetId, Packet};
use crate::recovery::SECTIONS;

/// Which of a server's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Notifications of elections.
    Election,
    /// Between leader and learner.
    Quorum,
}

/// What one side of a connection between servers knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It dials this peer.
    DialsPeer(ServerId),
    /// It dials the leader, with this number.
    DialsLeader(u64),
    /// Nobody has taken it yet, at the port of this number.
    Knocks(u16),
    /// It is open.
    Open(ConnectionId),
}

/// A connection to another server.
pub struct PeerSocket {
    net: NetId,
    side: usize,
    port: Port,
    is_paused: bool,
    /// Messages that wait until it is read again.
    held: VecDeque<Message>,
    /// What is to be written.
    queue: VecDeque<Outgoing>,
    reading: Option<Reading>,
    is_writing: bool,
    is_finishing: bool,
}

/// A dial that nobody answers fails after so long, in microseconds.
const DIAL_US: u64 = 3_000_000;
/// Bytes of one piece that is read from disk.
const PIECE_LEN: usize = 3000;
/// Bytes on their way above which a connection to a learner is closed.
const UNSENT_MAX: usize = 4 << 20;

impl World {
    /// Connects to a server.
    fn dial(&mut self, who: Who, port: Port, link: Link, addresses: &[Address]) {
        let now_us = self.queue.now_us();
        let servers = self.machines.len();
        let known =
            addresses.iter().filter_map(|address| Some((machine_of(address)?, address.port())));
        let known: Vec<(usize, u16)> = known.filter(|(to, _)| *to < servers).collect();
        // All are dialled; where nobody listens, the first one says so.
        let answers = known.iter().find(|(to, number)| self.listens(*to, port, *number));
        let Some((to, number)) = answers.or(known.first()).copied() else {
            self.dial_failed(who, link);
            return;
        };
        let ends = [
            End::Peer { who, port, link },
            End::Peer { who: Who { server: to, generation: 0 }, port, link: Link::Knocks(number) },
        ];
        let (net, arrival) = self.network.open(now_us, ends, [who.server, to]);
        self.schedule_arrival(arrival);
        self.queue.push(DIAL_US, Event::DialTimeout(who, net));
    }

    /// Whether a server takes connections at a port; observers go to a port of their own, which
    /// every server has.
    fn listens(&self, server: usize, port: Port, number: u16) -> bool {
        let machine = &self.machines[server];
        let [quorum, election] = machine.ports;
        match port {
            _ if machine.process.is_none() => false,
            Port::Election => number == election,
            Port::Quorum => number == quorum || number == MASTERS.port,
        }
    }

    fn dial_failed(&mut self, who: Who, link: Link) {
        let message = match link {
            Link::DialsPeer(peer) => Message::Link(LinksInput::DialFailed(peer)),
            Link::DialsLeader(dial) => Message::QuorumDialFailed(dial),
            Link::Knocks(_) | Link::Open(_) => return,
        };
        self.tell_core(who, message);
    }

    pub(super) fn dial_timeout(&mut self, who: Who, net: NetId) {
        let Some(End::Peer { link, .. }) = self.network.end(net, 0).copied() else { return };
        if self.process(who).is_none() || !self.network.is_open(net, 0) {
            return;
        }
        if matches!(link, Link::DialsPeer(_) | Link::DialsLeader(_)) {
            self.network.vanish(net, 0);
            self.dial_failed(who, link);
        }
    }

    /// A packet arrives at a server from another one.
    pub(super) fn peer_packet(
        &mut self,
        net: NetId,
        side: usize,
        (who, port, link): (Who, Port, Link),
        packet: Packet,
    ) {
        match (packet, link) {
            (Packet::Open, Link::Knocks(number)) => {
                self.peer_knocks(who.server, port, number, net);
            }
            (Packet::Opened, Link::DialsPeer(_) | Link::DialsLeader(_)) => {
                let Some(connection) = self.open_peer(who, net, side, port) else { return };
                let message = match link {
                    Link::DialsPeer(peer) => {
                        Message::Link(LinksInput::Dialled { peer, connection })
                    }
                    Link::DialsLeader(dial) => Message::QuorumDialled(dial, connection),
                    Link::Knocks(_) | Link::Open(_) => return,
                };
                self.tell_core(who, message);
            }
            (Packet::Bytes(bytes), Link::Open(connection)) => {
                let message = match port {
                    Port::Election => Message::LinkReceived(connection, bytes),
                    Port::Quorum => Message::QuorumReceived(connection, bytes),
                };
                self.peer_message(who, connection, message);
            }
            (end @ (Packet::End | Packet::Reset), Link::Open(connection)) => {
                let message = match port {
                    Port::Election => Message::Link(LinksInput::Closed(connection)),
                    Port::Quorum => Message::QuorumClosed(connection),
                };
                self.network.vanish(net, side);
                // What a process had not read when its connection was reset is gone.
                if let Some(process) = self.process(who)
                    && let Some(peer) = process.peers.get_mut(&connection)
                    && end == Packet::Reset
                {
                    peer.held.clear();
                }
                self.peer_message(who, connection, message);
            }
            (Packet::End | Packet::Reset, link) => {
                self.network.vanish(net, side);
                self.dial_failed(who, link);
            }
            _ => {}
        }
    }

    fn peer_message(&mut self, who: Who, connection: ConnectionId, message: Message) {
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.get_mut(&connection) else { return };
        if peer.is_finishing {
            return;
        }
        if peer.is_paused {
            peer.held.push_back(message);
            return;
        }
        self.tell_core(who, message);
    }

    fn peer_knocks(&mut self, server: usize, port: Port, number: u16, net: NetId) {
        let now_us = self.queue.now_us();
        let machine = &self.machines[server];
        if !machine.has_power {
            self.network.vanish(net, 1);
            return;
        }
        let listens = self.listens(server, port, number);
        let Some(process) = machine.process.as_ref().filter(|_| listens) else {
            let arrival = self.network.close(now_us, net, 1, Packet::Reset);
            self.schedule_arrival(arrival);
            return;
        };
        let who = Who { server, generation: process.generation };
        let Some(connection) = self.open_peer(who, net, 1, port) else { return };
        let arrival = self.network.send(now_us, net, 1, Packet::Opened);
        self.schedule_arrival(arrival);
        let message = match port {
            Port::Election => Message::Link(LinksInput::Accepted(connection)),
            Port::Quorum => Message::QuorumAccepted(connection),
        };
        self.tell_core(who, message);
    }

    fn open_peer(&mut self, who: Who, net: NetId, side: usize, port: Port) -> Option<ConnectionId> {
        let process = self.process(who)?;
        let connection = process.next_peer();
        let socket = PeerSocket {
            net,
            side,
            port,
            is_paused: false,
            held: VecDeque::new(),
            queue: VecDeque::new(),
            reading: None,
            is_writing: false,
            is_finishing: false,
        };
        process.peers.insert(connection, socket);
        let link = Link::Open(connection);
        self.network.set_end(net, side, End::Peer { who, port, link });
        Some(connection)
    }

    /// What the election asks of its connections.
    pub(super) fn carry_link(&mut self, who: Who, effect: LinksEffect) {
        let now_us = self.queue.now_us();
        match effect {
            LinksEffect::Dial { peer, addresses } => {
                self.dial(who, Port::Election, Link::DialsPeer(peer), &addresses);
            }
            LinksEffect::Write { connection, bytes } => {
                let Some(process) = self.process(who) else { return };
                let Some(peer) = process.peers.get(&connection) else { return };
                let (net, side) = (peer.net, peer.side);
                let arrival = self.network.send(now_us, net, side, Packet::Bytes(bytes));
                self.schedule_arrival(arrival);
                self.tell_core(who, Message::Link(LinksInput::Written(connection)));
            }
            LinksEffect::Finish(connection) | LinksEffect::Close(connection, _) => {
                self.close_peer(who, connection);
            }
            LinksEffect::Deliver { .. } | LinksEffect::PeerUp(_) | LinksEffect::PeerDown(_) => {
                self.fail("driver", "an effect of the links that is not for drivers");
            }
        }
    }

    fn close_peer(&mut self, who: Who, connection: ConnectionId) {
        let now_us = self.queue.now_us();
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.remove(&connection) else { return };
        let arrival = self.network.close(now_us, peer.net, peer.side, Packet::End);
        self.schedule_arrival(arrival);
    }

    pub(super) fn dial_leader(&mut self, who: Who, dial: u64, addresses: &[Address]) {
        self.dial(who, Port::Quorum, Link::DialsLeader(dial), addresses);
    }

    pub(super) fn quorum_send(&mut self, who: Who, connection: ConnectionId, item: Outgoing) {
        if let Outgoing::Bytes(bytes) = &item {
            self.tap(who, bytes);
        }
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.get_mut(&connection) else { return };
        peer.queue.push_back(item);
        self.write_soon(who, connection, 0);
    }

    /// Listens to what a server says: a commit is one wherever it is heard of, and what is
    /// acknowledged is on disk.
    fn tap(&mut self, who: Who, bytes: &[u8]) {
        let mut reader = PacketReader::new(bytes.len().max(1));
        reader.push(bytes);
        while let Ok(Some(packet)) = reader.next_packet() {
            let zxid = packet.zxid;
            let Some(process) = self.process(who) else { return };
            let commits = [PacketType::Commit as i32, PacketType::CommitAndActivate as i32];
            if commits.contains(&packet.packet_type) && process.leads.is_some() {
                self.committed(zxid);
            } else if packet.packet_type == PacketType::Ack as i32 {
                self.acknowledged(who, zxid);
            }
        }
    }

    fn acknowledged(&mut self, who: Who, zxid: Zxid) {
        self.says_it_has(who, zxid);
        let current = self.machines[who.server].epochs[1];
        let Some(process) = self.process(who) else { return };
        let (durable, is_staged) = (process.durable, process.before_install.is_some());
        let votes = process.votes(server_id(who.server));
        // Who has no vote is not counted, and may have its history in memory only.
        let counts = votes || !self.plan.roles.observers_log_nothing;
        if is_staged {
            let what = format!("server {} says {zxid} and its history is staged", who.server);
            self.fail("acknowledged", what);
        } else if counts && zxid.counter() == 0 && current < i64::from(zxid.epoch()) {
            let what = format!("server {} is in epoch {current} and says {zxid}", who.server);
            self.fail("acknowledged", what);
        } else if zxid.counter() != 0 && zxid > durable {
            let what = format!("server {} says {zxid} and has {durable} on disk", who.server);
            self.fail("acknowledged", what);
        }
    }

    pub(super) fn quorum_close(&mut self, who: Who, connection: ConnectionId) {
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.get_mut(&connection) else { return };
        peer.is_finishing = true;
        self.write_soon(who, connection, 0);
    }

    pub(super) fn quorum_pause(&mut self, who: Who, connection: ConnectionId, is_paused: bool) {
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.get_mut(&connection) else { return };
        peer.is_paused = is_paused;
        if !is_paused {
            for message in std::mem::take(&mut peer.held) {
                self.tell_core(who, message);
            }
        }
    }

    fn write_soon(&mut self, who: Who, connection: ConnectionId, after_us: u64) {
        let hop_us = after_us + self.dice.between(1, 10);
        let Some(process) = self.process(who) else { return };
        let Some(peer) = process.peers.get_mut(&connection) else { return };
        if !peer.is_writing {
            peer.is_writing = true;
            self.queue.push(hop_us, Event::PeerWrite(who, connection));
        }
    }

    /// The writer of a connection to another server has its turn.
    pub(super) fn peer_write_turn(&mut self, who: Who, connection: ConnectionId) {
        let now_us = self.queue.now_us();
        let Some(process) = self.process(who) else { return };
        let Some(mut peer) = process.peers.remove(&connection) else { return };
        peer.is_writing = false;
        let mut bytes = Vec::new();
        let piece = next_piece(process, &mut peer, &mut bytes);
        let (net, side, port) = (peer.net, peer.side, peer.port);
        let is_empty = peer.queue.is_empty() && peer.reading.is_none();
        let is_finished = peer.is_finishing && (is_empty || piece.is_err());
        process.peers.insert(connection, peer);
        if !bytes.is_empty() {
            let arrival = self.network.send(now_us, net, side, Packet::Bytes(bytes));
            self.schedule_arrival(arrival);
        }
        match piece {
            Ok(true) => self.tell_core(who, Message::QuorumWritten(connection)),
            Ok(false) => {}
            Err(reason) => {
                if self.setup.is_loud {
                    crate::say(&format!("server {}: no history: {reason}", who.server));
                }
                self.tell_core(who, Message::HistoryFailed(connection, reason.unproven()));
                self.close_peer(who, connection);
                self.tell_core(who, Message::QuorumClosed(connection));
                return;
            }
        }
        if is_finished {
            self.close_peer(who, connection);
        } else if !is_empty {
            let pause_us = self.dice.between(20, 2000);
            self.write_soon(who, connection, pause_us);
        }
        if port == Port::Quorum && self.network.in_flight(net, side) > UNSENT_MAX {
            self.close_peer(who, connection);
            self.tell_core(who, Message::QuorumClosed(connection));
        }
    }
}

/// Puts what comes next into `bytes`; whether it came from the disk.
fn next_piece(
    process: &mut Process,
    peer: &mut PeerSocket,
    bytes: &mut Vec<u8>,
) -> Result<bool, ReadingError> {
    if let Some(reading) = peer.reading.take() {
        return read_on(process, peer, reading, bytes).map(|()| true);
    }
    while bytes.len() < 64 << 10 {
        match peer.queue.pop_front() {
            Some(Outgoing::Bytes(more)) => bytes.extend_from_slice(&more),
            Some(Outgoing::Records { segment, range, kind }) => {
                wire::encode_records(&segment, range, kind, bytes);
            }
            Some(item) if !bytes.is_empty() => {
                peer.queue.push_front(item);
                break;
            }
            Some(item @ (Outgoing::History { .. } | Outgoing::Snapshot { .. })) => {
                let reading = Reading::new(process.storage.store().clone(), item);
                return read_on(process, peer, reading, bytes).map(|()| true);
            }
            None => break,
        }
    }
    Ok(false)
}

fn read_on(
    process: &mut Process,
    peer: &mut PeerSocket,
    mut reading: Reading,
    bytes: &mut Vec<u8>,
) -> Result<(), ReadingError> {
    let store = process.storage.store().clone();
    let (tree, is_busy) = (&mut process.shared.tree, process.snapshot.is_some());
    let take = || match is_busy {
        true => Ok(()),
        false => write_at_once(&store, tree, SECTIONS).map(drop),
    };
    if reading.read(PIECE_LEN, bytes, take)? {
        peer.reading = Some(reading);
    }
    Ok(())
}
