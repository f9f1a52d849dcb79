//! Connections between machines: in order, in pieces, slow, and cut where the network is parted.

use std::collections::VecDeque;

use rookeeper_jute::quorum::{Notification, PeerState};
use rookeeper_jute::{Decode, Reader, ServerId};
use rookeeper_replica::ReplicaInput;
use rookeeper_zab::links::{ConnectionId, LinksEffect, LinksInput};
use rookeeper_zab::membership::Address;
use rookeeper_zab::{Outgoing, wire};

use super::world::{Event, Machine, World};

/// Who has read so many bytes reads no further piece at once.
const READ_LEN: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Election,
    Quorum,
}

/// One end of a connection.
pub struct End {
    pub server: usize,
    pub port: Port,
    pub other: ConnectionId,
    pub incoming: VecDeque<Option<Vec<u8>>>,
    pub paused: bool,
    pub open: bool,
}

impl World {
    /// Nothing gets from these to the others, nor back.
    pub fn partition(&mut self, apart: &[usize]) {
        for one in 0..self.machines.len() {
            for other in 0..self.machines.len() {
                if apart.contains(&one) != apart.contains(&other) {
                    self.blocked.insert((one, other));
                }
            }
        }
    }

    pub fn heal(&mut self) {
        self.blocked.clear();
        let waiting = self.ends.iter().filter(|(_, end)| !end.incoming.is_empty());
        let waiting: Vec<ConnectionId> = waiting.map(|(id, _)| *id).collect();
        for connection in waiting {
            self.after(10, Event::Arrives(connection));
        }
    }

    pub fn dialled(&mut self, server: usize, port: Port, peer: ServerId, dial: u64) {
        let other = self.machines.iter().position(|machine| machine.id == peer);
        let reached =
            other.filter(|other| self.is_up(*other) && !self.blocked.contains(&(server, *other)));
        let Some(other) = reached else {
            let input = match port {
                Port::Election => ReplicaInput::Link(LinksInput::DialFailed(peer)),
                Port::Quorum => ReplicaInput::QuorumDialFailed { dial },
            };
            return self.step(server, input);
        };
        let (mine, theirs) =
            (ConnectionId(self.connections + 1), ConnectionId(self.connections + 2));
        self.connections += 2;
        for (id, at, end) in [(mine, server, theirs), (theirs, other, mine)] {
            let incoming = VecDeque::new();
            let end = End { server: at, port, other: end, incoming, paused: false, open: true };
            self.ends.insert(id, end);
        }
        match port {
            Port::Election => {
                self.step(other, ReplicaInput::Link(LinksInput::Accepted(theirs)));
                let dialled = LinksInput::Dialled { peer, connection: mine };
                self.step(server, ReplicaInput::Link(dialled));
            }
            Port::Quorum => {
                self.step(other, ReplicaInput::QuorumAccepted(theirs));
                self.step(server, ReplicaInput::QuorumDialled { dial, connection: mine });
            }
        }
    }

    pub fn arrives(&mut self, connection: ConnectionId) {
        if !self.ends.contains_key(&connection) {
            return;
        }
        let from = self.ends.get(&self.ends[&connection].other).map(|end| end.server);
        let end_server = self.ends[&connection].server;
        if from.is_some_and(|from| self.blocked.contains(&(from, end_server))) {
            return;
        }
        let end = self.ends.get_mut(&connection).expect("looked at before");
        if end.paused || !end.open {
            return;
        }
        let Some(mut message) = end.incoming.pop_front() else { return };
        // Half of the time pieces that are there are read at once.
        let reads_on =
            |bytes: &&mut Vec<u8>| bytes.len() < READ_LEN && self.now_us.is_multiple_of(2);
        while let Some(bytes) = message.as_mut().filter(reads_on)
            && let Some(Some(more)) = end.incoming.front()
        {
            bytes.extend_from_slice(more);
            end.incoming.pop_front();
        }
        let (server, port) = (end.server, end.port);
        match message {
            Some(bytes) => {
                let input = match port {
                    Port::Election => {
                        ReplicaInput::Link(LinksInput::Received { connection, bytes: &bytes })
                    }
                    Port::Quorum => ReplicaInput::QuorumReceived { connection, bytes: &bytes },
                };
                self.step(server, input);
            }
            None => {
                end.open = false;
                let input = match port {
                    Port::Election => ReplicaInput::Link(LinksInput::Closed(connection)),
                    Port::Quorum => ReplicaInput::QuorumClosed(connection),
                };
                self.step(server, input);
            }
        }
        self.after(0, Event::Arrives(connection));
    }

    pub fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(end) = self.ends.get(&connection).filter(|end| end.open) else { return };
        let other = end.other;
        if let Some(peer) = self.ends.get_mut(&other).filter(|peer| peer.open) {
            peer.incoming.push_back(Some(bytes));
            let delay_us = 50 + self.dice.below(1000);
            self.after(delay_us, Event::Arrives(other));
        }
    }

    pub fn close(&mut self, connection: ConnectionId) {
        let Some(end) = self.ends.get_mut(&connection) else { return };
        end.open = false;
        let other = end.other;
        if let Some(peer) = self.ends.get_mut(&other).filter(|peer| peer.open) {
            peer.incoming.push_back(None);
            let delay_us = 50 + self.dice.below(1000);
            self.after(delay_us, Event::Arrives(other));
        }
    }

    pub fn carry_out_link(&mut self, server: usize, effect: LinksEffect) {
        match effect {
            LinksEffect::Dial { peer, addresses } => {
                assert_eq!(host_id(&addresses[0]), peer);
                self.dial(server, Port::Election, &addresses, 0);
            }
            LinksEffect::Write { connection, bytes } => {
                self.judge_vote(server, &bytes);
                self.send(connection, bytes);
                let life = self.process(server).life;
                self.after(20, Event::Written { server, life, connection });
            }
            LinksEffect::Finish(connection) | LinksEffect::Close(connection, _) => {
                self.close(connection);
            }
            other => panic!("not for a driver: {other:?}"),
        }
    }

    /// Who proposes itself has on its disk what its vote says.
    fn judge_vote(&self, server: usize, bytes: &[u8]) {
        let Some((len, body)) = bytes.split_first_chunk::<4>() else { return };
        if u32::from_be_bytes(*len) as usize != body.len() {
            return;
        }
        let Ok(said) = Notification::decode(&mut Reader::new(body)) else { return };
        let Machine { id, disk, .. } = &self.machines[server];
        if said.state == PeerState::Looking && said.leader == *id {
            assert!(
                said.zxid <= disk.last(),
                "{id} has {}, and votes with {}",
                disk.last(),
                said.zxid
            );
        }
    }

    pub fn dial(&mut self, server: usize, port: Port, addresses: &[Address], dial: u64) {
        let life = self.process(server).life;
        let peer = addresses.first().map_or(ServerId(-1), host_id);
        let other = self.machines.iter().position(|machine| machine.id == peer);
        let lost = other.is_some_and(|other| self.blocked.contains(&(server, other)));
        let delay_us = if lost { 500_000 } else { 100 + self.dice.below(1000) };
        self.after(delay_us, Event::Dialled { server, life, port, peer, dial });
    }

    pub fn quorum_send(&mut self, server: usize, connection: ConnectionId, item: Outgoing) {
        let mut out = Vec::new();
        match item {
            Outgoing::Bytes(bytes) => out = bytes,
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(&segment, range, kind, &mut out);
            }
            Outgoing::History { after, through } => {
                match self.machines[server].disk.history(after, through) {
                    Some(records) => {
                        for (zxid, txn) in records {
                            if self.hole == Some(zxid) {
                                continue;
                            }
                            wire::history_record(zxid, &txn, &mut out);
                        }
                    }
                    None => {
                        let unproven = Some(self.machines[server].disk.base().min(through));
                        let failed = ReplicaInput::HistoryFailed { connection, unproven };
                        return self.step(server, failed);
                    }
                }
            }
            Outgoing::Snapshot { base, through } => {
                let disk = &self.machines[server].disk;
                let (zxid, body) = disk.snapshot(through);
                assert!(zxid >= base, "the snapshot is of what the log continues from");
                wire::snapshot_begin(zxid, &mut out);
                out.extend(body);
                wire::snapshot_end(&mut out);
            }
        }
        // In pieces of any length, as a network does.
        let mut rest = &out[..];
        while !rest.is_empty() {
            let len = (1 + self.dice.below(2000) as usize).min(rest.len());
            let (piece, after) = rest.split_at(len);
            self.send(connection, piece.to_vec());
            rest = after;
        }
    }
}

fn host_id(address: &Address) -> ServerId {
    let id = address.host().trim_start_matches("zoo").parse().expect("zooN");
    ServerId(id)
}
