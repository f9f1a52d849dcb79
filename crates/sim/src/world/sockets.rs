//! Packets that arrive, and connections of machines that were away.

use std::collections::VecDeque;

use rookeeper_replica::Peer;
use rookeeper_session::Input;

use super::process::Socket;
use super::{End, Who, World};
use crate::network::{Arrived, NetId, Packet};

impl World {
    pub(super) fn arrive(&mut self, net: NetId, from: usize) {
        let now_us = self.queue.now_us();
        let Some(end) = self.network.end(net, 1 - from).copied() else { return };
        let packet = match self.network.arrive(now_us, net, from) {
            Arrived::Packet(packet) => packet,
            Arrived::ForNobody => return self.refuse(net, from),
            Arrived::Nothing => return,
        };
        if let Packet::Bytes(bytes) = &packet {
            self.trace.note_bytes(bytes);
        }
        match end {
            End::Client { client, handle, connection } => match packet {
                Packet::Open => {}
                Packet::Opened => {
                    self.client_input(client, handle, Input::Connected { connection })
                }
                Packet::Bytes(bytes) => {
                    let input = Input::Received { connection, bytes: &bytes };
                    self.client_input(client, handle, input);
                }
                Packet::End | Packet::Reset => {
                    self.client_disconnected(client, handle, connection, net);
                }
            },
            End::Service { who, key } => match (packet, key) {
                (Packet::Open, _) => self.accept(who.server, net),
                (Packet::Bytes(bytes), Some(key)) => {
                    let Some(process) = self.process(who) else { return };
                    let Some(socket) = process.sockets.get_mut(&key) else { return };
                    socket.inbox.extend(bytes);
                    self.wake_shard(who, key.shard.index());
                }
                (Packet::End, Some(key)) => {
                    let Some(process) = self.process(who) else { return };
                    let Some(socket) = process.sockets.get_mut(&key) else { return };
                    socket.is_ended = true;
                    self.wake_shard(who, key.shard.index());
                }
                (Packet::Reset, Some(key)) => self.drop_socket(who, key, Packet::Reset),
                _ => {}
            },
            End::Peer { who, port, link } => {
                self.peer_packet(net, 1 - from, (who, port, link), packet);
            }
        }
    }

    /// A packet came for a connection that its side has closed: the system there answers, whatever
    /// its processes do, unless the machine is off.
    fn refuse(&mut self, net: NetId, from: usize) {
        let Some(machine) = self.network.machine(net, 1 - from) else { return };
        if self.machines.get(machine).is_none_or(|machine| machine.has_power) {
            let arrival = self.network.refuse(self.queue.now_us(), net, from);
            self.schedule_arrival(arrival);
        }
    }

    /// A client knocks at a server's door.
    fn accept(&mut self, server: usize, net: NetId) {
        let now_us = self.queue.now_us();
        let now = self.server_now(server);
        let machine = &mut self.machines[server];
        if !machine.has_power {
            self.network.vanish(net, 1);
            return;
        }
        let Some(process) = &mut machine.process else {
            let arrival = self.network.close(now_us, net, 1, Packet::Reset);
            self.schedule_arrival(arrival);
            return;
        };
        let shard = self.dice.index(process.shards.len());
        let address = "127.0.0.1:40000".parse().expect("an address");
        let key = process.shards[shard].shard.accept(now, Peer { address, secure: false });
        let socket = Socket {
            net,
            inbox: VecDeque::new(),
            is_paused: false,
            is_ended: false,
            closing: None,
            is_dirty: false,
        };
        process.sockets.insert(key, socket);
        let who = Who { server, generation: process.generation };
        self.network.set_end(net, 1, End::Service { who, key: Some(key) });
        let arrival = self.network.send(now_us, net, 1, Packet::Opened);
        self.schedule_arrival(arrival);
    }

    /// A machine that is back answers what it knows nothing of with a reset.
    pub(super) fn reset_forgotten(&mut self, server: usize) {
        let now_us = self.queue.now_us();
        for (net, side) in self.network.of_machine(server) {
            if !self.network.is_open(net, side) {
                let arrival = self.network.send(now_us, net, side, Packet::Reset);
                self.schedule_arrival(arrival);
            }
        }
    }
}
