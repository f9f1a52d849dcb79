//! Connections as pairs of byte streams, each in order, with delays, cuts and partitions.
//!
//! A stream is first in, first out; only different connections overtake one another, as with TCP.
//! While a direction between two machines is cut, what is on its way waits and arrives when the
//! cut is healed. A machine that lost power says nothing; one whose process ended resets.

use std::collections::{BTreeMap, VecDeque};

use crate::dice::Dice;

/// A connection, unique in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetId(pub u64);

/// A machine: servers first, then one for each client.
pub type MachineId = usize;

/// What travels in one direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Asks for the connection.
    Open,
    /// The connection is there.
    Opened,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The sender sends nothing more.
    End,
    /// The connection is gone.
    Reset,
}

impl Packet {
    fn ends_stream(&self) -> bool {
        matches!(self, Packet::End | Packet::Reset)
    }
}

#[derive(Debug, Default)]
struct Stream {
    packets: VecDeque<(u64, Packet)>,
    last_at_us: u64,
    in_flight: usize,
    /// Whether what is sent vanishes without a sign.
    blackhole: bool,
    /// Whether the sender has ended it.
    ended: bool,
    /// Whether packets waited for a cut to be healed.
    held: bool,
}

impl Stream {
    /// What is on its way is lost, the end of the stream too.
    fn lose(&mut self) {
        if self.packets.iter().any(|(_, packet)| packet.ends_stream()) {
            self.ended = false;
        }
        self.packets.clear();
        self.in_flight = 0;
    }
}

/// One connection: who is at each side, on which machine.
#[derive(Debug)]
pub struct Connection<E> {
    ends: [E; 2],
    machines: [MachineId; 2],
    /// The stream at place `i` carries what side `i` sends.
    streams: [Stream; 2],
    /// Whether the process at a side has forgotten the connection.
    gone: [bool; 2],
}

/// How long one direction between two machines takes.
#[derive(Debug, Clone, Copy)]
struct Link {
    delay_us: u64,
    jitter_us: u64,
    is_cut: bool,
}

/// All connections.
pub struct Network<E> {
    connections: BTreeMap<NetId, Connection<E>>,
    links: Vec<Vec<Link>>,
    next: u64,
    dice: Dice,
}

/// What comes of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// A packet.
    Packet(Packet),
    /// A packet for a side that is gone.
    ForNobody,
    /// Nothing: it was lost, or is on its way still.
    Nothing,
}

/// A packet that will arrive: to be given to [`Network::arrive`] at that time.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When, in microseconds.
    pub at_us: u64,
    /// On which connection.
    pub net: NetId,
    /// Sent by which side.
    pub from: usize,
}

impl<E: Clone> Network<E> {
    /// A network of so many machines.
    pub fn new(machines: usize, mut dice: Dice) -> Self {
        let mut link = || Link {
            delay_us: dice.between(20, 300),
            jitter_us: dice.between(10, 300),
            is_cut: false,
        };
        let links = (0..machines).map(|_| (0..machines).map(|_| link()).collect()).collect();
        Network { connections: BTreeMap::new(), links, next: 0, dice }
    }

    /// Asks for a connection.
    pub fn open(
        &mut self,
        now_us: u64,
        ends: [E; 2],
        machines: [MachineId; 2],
    ) -> (NetId, Option<Arrival>) {
        self.next += 1;
        let net = NetId(self.next);
        let streams = Default::default();
        let connection = Connection { ends, machines, streams, gone: [false; 2] };
        self.connections.insert(net, connection);
        (net, self.send(now_us, net, 0, Packet::Open))
    }

    /// Who is at a side.
    pub fn end(&self, net: NetId, side: usize) -> Option<&E> {
        Some(&self.connections.get(&net)?.ends[side])
    }

    /// Names who is at a side.
    pub fn set_end(&mut self, net: NetId, side: usize, end: E) {
        if let Some(connection) = self.connections.get_mut(&net) {
            connection.ends[side] = end;
        }
    }

    /// The machine of a side.
    pub fn machine(&self, net: NetId, side: usize) -> Option<MachineId> {
        Some(self.connections.get(&net)?.machines[side])
    }

    /// How many bytes a side has sent that did not arrive.
    pub fn in_flight(&self, net: NetId, side: usize) -> usize {
        self.connections.get(&net).map_or(0, |connection| connection.streams[side].in_flight)
    }

    /// Whether the process of a side still has the connection.
    pub fn is_open(&self, net: NetId, side: usize) -> bool {
        self.connections.get(&net).is_some_and(|connection| !connection.gone[side])
    }

    /// Sends a packet from a side.
    pub fn send(
        &mut self,
        now_us: u64,
        net: NetId,
        side: usize,
        packet: Packet,
    ) -> Option<Arrival> {
        let connection = self.connections.get_mut(&net)?;
        let [from, to] = [connection.machines[side], connection.machines[1 - side]];
        let link = self.links[from][to];
        let stream = &mut connection.streams[side];
        if stream.ended || stream.blackhole {
            return None;
        }
        stream.ended = packet.ends_stream();
        if let Packet::Bytes(bytes) = &packet {
            stream.in_flight += bytes.len();
        }
        let delay_us = link.delay_us + self.dice.below(link.jitter_us + 1);
        let at_us = (now_us + delay_us).max(stream.last_at_us);
        stream.last_at_us = at_us;
        stream.packets.push_back((at_us, packet));
        Some(Arrival { at_us, net, from: side })
    }

    /// The next packet that side `from` sent, if it is due and gets through.
    pub fn arrive(&mut self, now_us: u64, net: NetId, from: usize) -> Arrived {
        let Some(connection) = self.connections.get_mut(&net) else { return Arrived::Nothing };
        let [at, to] = [connection.machines[from], connection.machines[1 - from]];
        let stream = &mut connection.streams[from];
        if self.links[at][to].is_cut {
            stream.held = true;
            return Arrived::Nothing;
        }
        if stream.packets.front().is_none_or(|(at_us, _)| *at_us > now_us) {
            return Arrived::Nothing;
        }
        let (_, packet) = stream.packets.pop_front().expect("looked at before");
        if let Packet::Bytes(bytes) = &packet {
            stream.in_flight -= bytes.len();
        }
        if !connection.gone[1 - from] {
            return Arrived::Packet(packet);
        }
        self.forget_if_over(net);
        // Nobody answers a reset.
        if packet == Packet::Reset { Arrived::Nothing } else { Arrived::ForNobody }
    }

    /// Answers side `from`, whose packet came to a side that is gone, as a system does that knows
    /// no such connection.
    pub fn refuse(&mut self, now_us: u64, net: NetId, from: usize) -> Option<Arrival> {
        self.is_open(net, from).then(|| self.send(now_us, net, 1 - from, Packet::Reset)).flatten()
    }

    /// The process of a side is done with the connection and tells the other side.
    pub fn close(
        &mut self,
        now_us: u64,
        net: NetId,
        side: usize,
        packet: Packet,
    ) -> Option<Arrival> {
        let arrival = self.send(now_us, net, side, packet);
        self.vanish(net, side);
        arrival
    }

    /// A side is gone without a word.
    pub fn vanish(&mut self, net: NetId, side: usize) {
        if let Some(connection) = self.connections.get_mut(&net) {
            connection.gone[side] = true;
            self.forget_if_over(net);
        }
    }

    fn forget_if_over(&mut self, net: NetId) {
        let Some(connection) = self.connections.get(&net) else { return };
        let quiet = |side: usize| {
            connection.gone[side]
                && (connection.gone[1 - side] || connection.streams[side].packets.is_empty())
        };
        if quiet(0) && quiet(1) {
            self.connections.remove(&net);
        }
    }

    /// What a side sends, and what is on its way, vanishes from now on.
    pub fn blackhole(&mut self, net: NetId, side: usize) {
        if let Some(connection) = self.connections.get_mut(&net) {
            let stream = &mut connection.streams[side];
            stream.blackhole = true;
            stream.lose();
        }
    }

    /// A side's packets get through again.
    pub fn mend(&mut self, net: NetId, side: usize) {
        if let Some(connection) = self.connections.get_mut(&net) {
            connection.streams[side].blackhole = false;
        }
    }

    /// Both sides are told that the connection is gone; what is on its way may be lost.
    pub fn reset(&mut self, now_us: u64, net: NetId) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for side in 0..2 {
            if self.dice.one_in(2)
                && let Some(connection) = self.connections.get_mut(&net)
            {
                connection.streams[side].lose();
            }
            arrivals.extend(self.send(now_us, net, side, Packet::Reset));
        }
        arrivals
    }

    /// Cuts or heals one direction between two machines; what waited arrives soon.
    pub fn cut(&mut self, now_us: u64, from: MachineId, to: MachineId, cut: bool) -> Vec<Arrival> {
        self.links[from][to].is_cut = cut;
        let mut arrivals = Vec::new();
        if cut {
            return arrivals;
        }
        let delay_us = self.links[from][to].delay_us;
        for (net, connection) in &mut self.connections {
            for side in 0..2 {
                let [at, other] = [connection.machines[side], connection.machines[1 - side]];
                let stream = &mut connection.streams[side];
                if (at, other) != (from, to) || !stream.held {
                    continue;
                }
                stream.held = false;
                for (at_us, _) in &mut stream.packets {
                    *at_us = (*at_us).max(now_us + delay_us);
                    stream.last_at_us = stream.last_at_us.max(*at_us);
                    arrivals.push(Arrival { at_us: *at_us, net: *net, from: side });
                }
            }
        }
        arrivals
    }

    /// Whether packets go through from one machine to another and back.
    pub fn is_reachable(&self, one: MachineId, other: MachineId) -> bool {
        !self.links[one][other].is_cut && !self.links[other][one].is_cut
    }

    /// Sets how long one direction takes from now on.
    pub fn set_delay(&mut self, from: MachineId, to: MachineId, delay_us: u64, jitter_us: u64) {
        let link = &mut self.links[from][to];
        (link.delay_us, link.jitter_us) = (delay_us, jitter_us);
    }

    /// Delay and jitter of one direction.
    pub fn delay(&self, from: MachineId, to: MachineId) -> (u64, u64) {
        let link = self.links[from][to];
        (link.delay_us, link.jitter_us)
    }

    /// The connections that have a machine at one of their sides, with that side.
    pub fn of_machine(&self, machine: MachineId) -> Vec<(NetId, usize)> {
        let connections = self.connections.iter();
        let sides = connections.flat_map(|(net, connection)| {
            (0..2).filter(|side| connection.machines[*side] == machine).map(|side| (*net, side))
        });
        sides.collect()
    }

    /// All connections.
    pub fn all(&self) -> Vec<NetId> {
        self.connections.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(network: &mut Network<char>, net: NetId, from: usize) -> Vec<Packet> {
        let next = || match network.arrive(u64::MAX, net, from) {
            Arrived::Packet(packet) => Some(packet),
            Arrived::ForNobody | Arrived::Nothing => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_stream_stays_in_order_and_a_cut_holds_it_back() {
        let mut network = Network::new(2, Dice::new(1));
        let (net, arrival) = network.open(0, ['a', 'b'], [0, 1]);
        let mut last_us = arrival.expect("it is sent").at_us;
        for at in 0..50 {
            let arrival = network.send(at, net, 0, Packet::Bytes(vec![at as u8]));
            let at_us = arrival.expect("it is sent").at_us;
            assert!(at_us >= last_us);
            last_us = at_us;
        }
        network.cut(100, 0, 1, true);
        assert_eq!(network.arrive(u64::MAX, net, 0), Arrived::Nothing);
        assert_eq!(network.in_flight(net, 0), 50);
        let arrivals = network.cut(1_000_000, 0, 1, false);
        assert_eq!(arrivals.len(), 51);
        let packets = drain(&mut network, net, 0);
        assert_eq!(packets[0], Packet::Open);
        let bytes: Vec<_> = (0..50).map(|at| Packet::Bytes(vec![at])).collect();
        assert_eq!(packets[1..], bytes);
    }

    #[test]
    fn what_is_sent_to_a_side_that_is_gone_is_lost() {
        let mut network = Network::new(2, Dice::new(1));
        let (net, _) = network.open(0, ['a', 'b'], [0, 1]);
        network.send(0, net, 0, Packet::Bytes(vec![1]));
        assert!(network.close(0, net, 1, Packet::End).is_some());
        assert_eq!(drain(&mut network, net, 0), []);
        assert_eq!(drain(&mut network, net, 1), [Packet::End]);
        network.vanish(net, 0);
        assert!(network.all().is_empty());
    }

    /// Side 1 has closed a connection, and side 0 has not heard of it.
    fn half_closed(network: &mut Network<char>) -> NetId {
        let (net, _) = network.open(0, ['a', 'b'], [0, 1]);
        assert_eq!(drain(network, net, 0), [Packet::Open]);
        assert!(network.close(0, net, 1, Packet::End).is_some());
        network.blackhole(net, 1);
        network.mend(net, 1);
        assert_eq!(drain(network, net, 1), []);
        net
    }

    #[test]
    fn who_missed_the_end_is_told_when_it_sends() {
        let mut network = Network::new(2, Dice::new(1));
        let net = half_closed(&mut network);
        assert_eq!(network.arrive(u64::MAX, net, 0), Arrived::Nothing, "nothing was sent");
        network.send(0, net, 0, Packet::Bytes(vec![1]));
        network.cut(1, 0, 1, true);
        assert_eq!(network.arrive(u64::MAX, net, 0), Arrived::Nothing, "nothing came through");
        network.cut(2, 0, 1, false);
        assert_eq!(network.arrive(u64::MAX, net, 0), Arrived::ForNobody);
        assert!(network.refuse(5, net, 0).is_some());
        assert_eq!(drain(&mut network, net, 1), [Packet::Reset]);
    }

    #[test]
    fn nobody_answers_a_reset() {
        let mut network = Network::new(2, Dice::new(1));
        let net = half_closed(&mut network);
        network.send(0, net, 0, Packet::Reset);
        assert_eq!(network.arrive(u64::MAX, net, 0), Arrived::Nothing);
    }

    #[test]
    fn a_reset_is_told_where_an_end_was_lost() {
        let mut network = Network::new(2, Dice::new(1));
        let net = half_closed(&mut network);
        network.reset(5, net);
        assert_eq!(drain(&mut network, net, 1), [Packet::Reset]);
    }

    #[test]
    fn a_half_open_connection_swallows_what_is_sent() {
        let mut network = Network::new(2, Dice::new(1));
        let (net, _) = network.open(0, ['a', 'b'], [0, 1]);
        network.blackhole(net, 0);
        assert!(network.send(0, net, 0, Packet::Bytes(vec![1])).is_none());
        assert!(network.send(0, net, 1, Packet::Bytes(vec![1])).is_some());
        assert_eq!(network.reset(5, net).len(), 1);
    }
}
