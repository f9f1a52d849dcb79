//! Members and the connections between them, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::quorum::PeerState;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::{
    Election, ElectionConfig, ElectionEffect, ElectionInput, Outcome, Vote,
};
use rookeeper_zab::links::{Addresses, ConnectionId, Links, LinksConfig, LinksEffect, LinksInput};
use rookeeper_zab::membership::Membership;
use rookeeper_zab::quorum::Ensemble;

/// A generator that needs nobody's seed but its own.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// A member: its machines, and what its disk holds.
pub struct Member {
    pub election: Election,
    links: Links,
    pub up: bool,
    pub zxid: Zxid,
    pub epoch: i64,
    /// What it offered when it began to look.
    pub offered: Vote,
    /// Since when its leader, or its quorum, is lost.
    pub good_ms: u64,
    /// Which life of a leader, and which epoch, it has synchronised with since it settled.
    pub synchronised: Option<(u64, i64)>,
    pub incarnation: u64,
}

/// One end of a connection: a member, and which of its lives.
type End = (ServerId, u64);

struct Wire {
    ends: [End; 2],
    /// Bytes under way, by the end that sent them.
    sent: [VecDeque<Vec<u8>>; 2],
    /// When the last bytes of each direction arrive.
    busy_ms: [u64; 2],
    open: bool,
}

enum Event {
    DialEnds {
        dialler: End,
        peer: ServerId,
    },
    /// The first bytes under way from one end arrive.
    Bytes {
        connection: ConnectionId,
        side: usize,
    },
    Written {
        to: End,
        connection: ConnectionId,
    },
    Closed {
        to: End,
        connection: ConnectionId,
    },
}

pub struct Network {
    pub now_ms: u64,
    pub random: Random,
    pub members: BTreeMap<ServerId, Member>,
    /// What each member knows of the ensemble when it starts.
    ensembles: BTreeMap<ServerId, Ensemble>,
    events: BTreeMap<(u64, u64), Event>,
    wires: BTreeMap<ConnectionId, Wire>,
    /// Pairs whose bytes do not arrive, from and to.
    pub cut: BTreeSet<(ServerId, ServerId)>,
    pub delay_ms_max: u64,
    sequence: u64,
    /// Results of elections, with the moment.
    pub outcomes: Vec<(u64, ServerId, Outcome)>,
}

impl Network {
    pub fn new(seed: u64, membership: Membership) -> Network {
        let membership = Arc::new(membership);
        let ensemble = Ensemble::new(membership.clone());
        let ensembles = membership.members().map(|(id, _)| (id, ensemble.clone()));
        Network::of(seed, ensembles.collect())
    }

    /// Members that do not know the same.
    pub fn of(seed: u64, ensembles: BTreeMap<ServerId, Ensemble>) -> Network {
        let ids: Vec<ServerId> = ensembles.keys().copied().collect();
        let mut network = Network {
            now_ms: 0,
            random: Random::new(seed),
            members: BTreeMap::new(),
            ensembles,
            events: BTreeMap::new(),
            wires: BTreeMap::new(),
            cut: BTreeSet::new(),
            delay_ms_max: 5,
            sequence: 0,
            outcomes: Vec::new(),
        };
        for id in ids {
            let (election, links) = network.machines(id);
            let offered = Vote { leader: id, zxid: Zxid::ZERO, peer_epoch: 0 };
            let (up, zxid, epoch, good_ms) = (false, Zxid::ZERO, 0, 0);
            let (synchronised, incarnation) = (None, 0);
            let member = Member {
                election,
                links,
                up,
                zxid,
                epoch,
                offered,
                good_ms,
                synchronised,
                incarnation,
            };
            network.members.insert(id, member);
        }
        network
    }

    fn machines(&self, me: ServerId) -> (Election, Links) {
        let ensemble = self.ensembles[&me].clone();
        let own = ensemble.last_seen().member(me).or(ensemble.committed().member(me));
        let own = own.map(|member| &member.addresses[..]).unwrap_or_default();
        let config = LinksConfig {
            me,
            addresses: own.iter().map(|address| address.election.clone()).collect(),
            multi_address_enabled: false,
            handshake_timeout_ms: 10_000,
        };
        let mut links = Links::new(config);
        let addresses = Addresses::of(&ensemble, me);
        links.step(0, LinksInput::Addresses(addresses), &mut Vec::new());
        (Election::new(ElectionConfig::new(me), ensemble), links)
    }

    fn end(&self, id: ServerId) -> End {
        (id, self.members[&id].incarnation)
    }

    fn is_alive(&self, end: End) -> bool {
        let member = &self.members[&end.0];
        member.up && member.incarnation == end.1
    }

    pub fn hears(&self, from: ServerId, to: ServerId) -> bool {
        !self.cut.contains(&(from, to))
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at_ms, self.sequence), event);
    }

    fn delay_ms(&mut self) -> u64 {
        self.random.below(self.delay_ms_max + 1)
    }

    pub fn start(&mut self, id: ServerId) {
        let (election, links) = self.machines(id);
        let member = self.members.get_mut(&id).expect("all members are known");
        (member.election, member.links) = (election, links);
        member.up = true;
        member.incarnation += 1;
        self.look(id);
    }

    /// Ends a member's process: its connections end at once.
    pub fn kill(&mut self, id: ServerId) {
        let end = self.end(id);
        self.members.get_mut(&id).expect("all members are known").up = false;
        let wires: Vec<ConnectionId> = self.wires_where(|ends| ends.contains(&end));
        for connection in wires {
            self.cut_wire(connection, end);
        }
    }

    pub fn wires_where(&self, wanted: impl Fn(&[End; 2]) -> bool) -> Vec<ConnectionId> {
        self.wires
            .iter()
            .filter(|(_, wire)| wire.open && wanted(&wire.ends))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Loses every connection between two members.
    pub fn reset(&mut self, a: ServerId, b: ServerId) {
        for connection in self.wires_where(|ends| {
            ends.iter().any(|end| end.0 == a) && ends.iter().any(|end| end.0 == b)
        }) {
            let ends = self.wires[&connection].ends;
            self.cut_wire(connection, ends[0]);
            self.at(self.now_ms, Event::Closed { to: ends[0], connection });
        }
    }

    /// One end is gone; the other one learns of it after the bytes before.
    fn cut_wire(&mut self, connection: ConnectionId, gone: End) {
        let Some(wire) = self.wires.get_mut(&connection).filter(|wire| wire.open) else { return };
        wire.open = false;
        let from = usize::from(wire.ends[1] == gone);
        let at_ms = wire.busy_ms[from].max(self.now_ms);
        let to = wire.ends[1 - from];
        self.at(at_ms, Event::Closed { to, connection });
    }

    pub fn look(&mut self, id: ServerId) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&id).expect("all members are known");
        let (last_zxid, current_epoch) = (member.zxid, member.epoch);
        member.good_ms = now_ms;
        member.synchronised = None;
        member.offered = Vote { leader: id, zxid: last_zxid, peer_epoch: current_epoch };
        self.elect(id, ElectionInput::Look { last_zxid, current_epoch });
    }

    pub fn elect(&mut self, id: ServerId, input: ElectionInput<'_>) {
        let mut effects = Vec::new();
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&id).expect("all members are known");
        member.election.step(now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                ElectionEffect::Send { to, message } => {
                    self.connect(id, LinksInput::Send { to, message });
                }
                ElectionEffect::Settled(outcome) => {
                    self.members.get_mut(&id).expect("all members are known").good_ms = now_ms;
                    self.outcomes.push((now_ms, id, outcome));
                }
                ElectionEffect::Adopt(_)
                | ElectionEffect::VoterLooks(_)
                | ElectionEffect::VoterLeft(_)
                | ElectionEffect::VoterAway(_)
                | ElectionEffect::LeaderLeft(_)
                | ElectionEffect::LeaderWavers(_) => {}
            }
        }
    }

    fn connect(&mut self, id: ServerId, input: LinksInput<'_>) {
        let mut effects = Vec::new();
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&id).expect("all members are known");
        member.links.step(now_ms, input, &mut effects);
        let end = self.end(id);
        for effect in effects {
            match effect {
                LinksEffect::Dial { peer, addresses } => {
                    assert_eq!(addresses[0].host(), format!("n{peer}"));
                    let at_ms = now_ms + self.delay_ms();
                    self.at(at_ms, Event::DialEnds { dialler: end, peer });
                }
                LinksEffect::Write { connection, bytes } => self.write(end, connection, bytes),
                LinksEffect::Finish(connection) | LinksEffect::Close(connection, _) => {
                    self.cut_wire(connection, end);
                }
                LinksEffect::Deliver { from, message } => {
                    self.elect(id, ElectionInput::Message { from, body: &message });
                }
                LinksEffect::PeerUp(peer) => self.elect(id, ElectionInput::PeerUp(peer)),
                LinksEffect::PeerDown(peer) => self.elect(id, ElectionInput::PeerDown(peer)),
            }
        }
    }

    fn write(&mut self, from: End, connection: ConnectionId, bytes: Vec<u8>) {
        let delay_ms = self.delay_ms();
        let now_ms = self.now_ms;
        let Some(wire) = self.wires.get_mut(&connection).filter(|wire| wire.open) else { return };
        let side = usize::from(wire.ends[1] == from);
        let at_ms = wire.busy_ms[side].max(now_ms + delay_ms);
        wire.busy_ms[side] = at_ms;
        wire.sent[side].push_back(bytes);
        self.at(at_ms, Event::Bytes { connection, side });
        self.at(now_ms, Event::Written { to: from, connection });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::DialEnds { dialler, peer } => self.dial_ends(dialler, peer),
            Event::Bytes { connection, side } => self.arrive(connection, side),
            Event::Written { to, connection } if self.is_alive(to) => {
                self.connect(to.0, LinksInput::Written(connection));
            }
            Event::Closed { to, connection } if self.is_alive(to) => {
                self.connect(to.0, LinksInput::Closed(connection));
            }
            Event::Written { .. } | Event::Closed { .. } => {}
        }
    }

    fn arrive(&mut self, connection: ConnectionId, side: usize) {
        let ends = self.wires[&connection].ends;
        let (from, to) = (ends[side], ends[1 - side]);
        if !self.hears(from.0, to.0) {
            // TCP tries again until the cut is over.
            let at_ms = self.now_ms + 100;
            return self.at(at_ms, Event::Bytes { connection, side });
        }
        let wire = self.wires.get_mut(&connection).expect("wires stay");
        let bytes = wire.sent[side].pop_front().expect("an event for each piece");
        if self.is_alive(to) {
            self.connect(to.0, LinksInput::Received { connection, bytes: &bytes });
        }
    }

    fn dial_ends(&mut self, dialler: End, peer: ServerId) {
        if !self.is_alive(dialler) {
            return;
        }
        let reachable = self.hears(dialler.0, peer) && self.hears(peer, dialler.0);
        if !self.members[&peer].up || !reachable {
            return self.connect(dialler.0, LinksInput::DialFailed(peer));
        }
        self.sequence += 1;
        let connection = ConnectionId(self.sequence);
        let ends = [dialler, self.end(peer)];
        let (sent, busy_ms) = (Default::default(), [self.now_ms; 2]);
        let wire = Wire { ends, sent, busy_ms, open: true };
        self.wires.insert(connection, wire);
        self.connect(peer, LinksInput::Accepted(connection));
        self.connect(dialler.0, LinksInput::Dialled { peer, connection });
    }

    /// Runs until `until_ms`, calling `each` after every moment.
    pub fn run(&mut self, until_ms: u64) {
        loop {
            let event = self.events.keys().next().map(|(at_ms, _)| *at_ms);
            let up = self.members.iter().filter(|(_, member)| member.up);
            let timer = up
                .filter_map(|(id, member)| {
                    let deadline = member.election.deadline_ms()?;
                    Some((deadline.max(self.now_ms), *id))
                })
                .min();
            let next = event.into_iter().chain(timer.map(|(at_ms, _)| at_ms)).min();
            let Some(next) = next.filter(|next| *next <= until_ms) else { break };
            self.now_ms = self.now_ms.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().expect("an event is next");
                self.handle(event);
            } else if let Some((_, id)) = timer {
                self.elect(id, ElectionInput::Tick);
            }
        }
        self.now_ms = until_ms;
    }

    pub fn states(&self) -> String {
        let show = |(id, member): (&ServerId, &Member)| {
            let (state, leader) = (member.election.state(), member.election.leader());
            let (up, round) = (member.up, member.election.round());
            format!("{id}: up {up} {state:?} {leader:?} round {round}\n")
        };
        self.members.iter().map(show).collect()
    }

    /// Members that lead.
    pub fn leaders(&self) -> Vec<ServerId> {
        let leads = |member: &Member| member.up && member.election.state() == PeerState::Leading;
        self.members.iter().filter(|(_, member)| leads(member)).map(|(id, _)| *id).collect()
    }
}
