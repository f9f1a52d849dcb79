//! Learners that do anything at any time: the leader never fails, and whatever they do, nothing
//! is committed without a quorum, out of order, or told to somebody who was not told of it before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rookeeper_jute::quorum::{LearnerInfo, PacketType};
use rookeeper_jute::{Encode, ServerId, SessionId, Zxid};
use rookeeper_zab::leader::{Leader, LeaderEffect, LeaderInput, LinkEnd};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::quorum::Ensemble;
use rookeeper_zab::sync::LogIndex;
use rookeeper_zab::wire::{self, PacketReader};
use rookeeper_zab::{EpochKind, Outgoing, RecordsKind};

use crate::scenario::{config, membership, segment};

#[derive(Debug, Clone)]
enum Act {
    Accept,
    Info {
        link: usize,
        server: i64,
        observer: bool,
        accepted: i64,
    },
    AckEpoch {
        link: usize,
        zxid: Zxid,
        current: i32,
    },
    /// An acknowledgement of the epoch's counter that is given.
    Ack {
        link: usize,
        counter: u32,
    },
    /// Of what it owes next.
    AckNext {
        link: usize,
    },
    /// The next step of a learner that does as it should.
    Proper {
        link: usize,
        server: i64,
        observer: bool,
    },
    Ping {
        link: usize,
        zxid: Zxid,
    },
    Raw {
        link: usize,
        bytes: Vec<u8>,
    },
    Close {
        link: usize,
    },
    Failed {
        link: usize,
        unproven: Option<Zxid>,
    },
    Purged {
        first: Zxid,
    },
    Wait {
        ms: u64,
    },
    Propose {
        count: u32,
    },
    Durable {
        back: u32,
    },
    Sync {
        link: Option<usize>,
    },
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    let link = 0usize..6;
    let zxid = prop_oneof![
        (0u32..4, 0u32..6).prop_map(|(epoch, counter)| Zxid::new(epoch, counter)),
        any::<i64>().prop_map(Zxid),
    ];
    prop_oneof![
        6 => Just(Act::Accept),
        2 => (link.clone(), 0i64..6, any::<bool>(), -1i64..4).prop_map(
            |(link, server, observer, accepted)| Act::Info { link, server, observer, accepted }
        ),
        1 => (link.clone(), zxid.clone(), -2i32..4)
            .prop_map(|(link, zxid, current)| Act::AckEpoch { link, zxid, current }),
        3 => (link.clone(), 0u32..12).prop_map(|(link, counter)| Act::Ack { link, counter }),
        12 => link.clone().prop_map(|link| Act::AckNext { link }),
        20 => (link.clone(), 2i64..6, any::<bool>())
            .prop_map(|(link, server, observer)| Act::Proper { link, server, observer }),
        1 => (link.clone(), zxid.clone()).prop_map(|(link, zxid)| Act::Ping { link, zxid }),
        1 => (link.clone(), proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 1..60))
            .prop_map(|(link, bytes)| Act::Raw { link, bytes }),
        2 => link.clone().prop_map(|link| Act::Close { link }),
        1 => (link.clone(), proptest::option::of(zxid.clone()))
            .prop_map(|(link, unproven)| Act::Failed { link, unproven }),
        1 => zxid.prop_map(|first| Act::Purged { first }),
        3 => (0u64..700).prop_map(|ms| Act::Wait { ms }),
        8 => (1u32..4).prop_map(|count| Act::Propose { count }),
        6 => (0u32..3).prop_map(|back| Act::Durable { back }),
        4 => proptest::option::of(link).prop_map(|link| Act::Sync { link }),
        1 => (0u8..12).prop_map(|dice| match dice {
            0 => Act::Stop,
            _ => Act::Accept,
        }),
    ]
}

/// What a learner was sent, as it would see it.
#[derive(Debug, Default)]
struct Seen {
    server: Option<i64>,
    observer: bool,
    last: Option<PacketType>,
    new_leader: bool,
    new_leader_acked: bool,
    proposed: BTreeSet<Zxid>,
    committed: Option<Zxid>,
    acked: Zxid,
    pings: Vec<Zxid>,
}

struct World {
    leader: Leader,
    now_ms: u64,
    epoch: Option<i64>,
    links: BTreeMap<u64, Seen>,
    next_link: u64,
    established: bool,
    over: bool,
    proposed: Zxid,
    durable: Zxid,
    committed: Zxid,
    /// By voter: what it has, since it synchronised the last time.
    has: BTreeMap<i64, Zxid>,
}

const HISTORY: Zxid = Zxid(0x1_0000_0004);

impl World {
    fn new() -> World {
        let mut index = LogIndex::new(Zxid::ZERO);
        for counter in 1..=4 {
            index.append(Zxid::new(1, counter), 21);
        }
        let membership = Arc::new(membership(&["voters", "1", "2", "3", "observers", "4"]));
        let mut config = config(1, Ensemble::new(membership), HISTORY);
        config.packet_len_max = 1000;
        World {
            leader: Leader::new(config, index, 0),
            now_ms: 0,
            epoch: None,
            links: BTreeMap::new(),
            next_link: 0,
            established: false,
            over: false,
            proposed: HISTORY,
            durable: HISTORY,
            committed: HISTORY,
            has: BTreeMap::new(),
        }
    }

    fn link(&self, at: usize) -> Option<u64> {
        self.links.keys().rev().nth(at).copied()
    }

    fn step(&mut self, input: LeaderInput<'_>) {
        let mut effects = Vec::new();
        self.leader.step(self.now_ms, input, &mut effects);
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: LeaderEffect) {
        assert!(!self.over, "nothing follows the end: {effect:?}");
        match effect {
            LeaderEffect::Send { connection, item } => self.sent(connection.0, &item),
            LeaderEffect::Close { connection, .. } => {
                assert!(self.links.remove(&connection.0).is_some(), "it was open");
            }
            LeaderEffect::WriteEpoch { kind, epoch } => {
                assert!(epoch > 1 && self.epoch.is_none_or(|known| known == epoch));
                assert_eq!(self.epoch.is_some(), kind == EpochKind::Current);
                self.epoch = Some(epoch);
                self.step(LeaderInput::EpochWritten(kind));
            }
            LeaderEffect::Established { epoch } => {
                assert!(!self.established && self.epoch == Some(epoch));
                let acked = self.links.values().filter(|link| link.new_leader_acked);
                // A voter that comes as an observer has promised no less.
                let voters = acked.filter(|link| link.server <= Some(3));
                assert!(voters.count() >= 1 || !self.has.is_empty(), "a quorum has the history");
                self.established = true;
                self.proposed = Zxid(epoch << 32);
                self.committed = self.proposed;
                for has in self.has.values_mut() {
                    *has = self.proposed;
                }
            }
            LeaderEffect::Acknowledged { zxid, .. } => {
                assert!(zxid > self.committed && zxid <= self.proposed, "not committed yet");
            }
            LeaderEffect::Commit(zxid) => {
                assert!(zxid > self.committed && zxid <= self.proposed, "in order");
                let others = self.has.values().filter(|has| **has >= zxid).count();
                let own = usize::from(self.durable >= zxid);
                assert!(others + own >= 2, "{zxid} without a quorum");
                self.committed = zxid;
            }
            LeaderEffect::LearnerGone(connection) | LeaderEffect::LearnerUp { connection, .. } => {
                assert!(self.established && connection.0 < self.next_link);
            }
            LeaderEffect::Stopped | LeaderEffect::Abandon(_) => {
                assert!(self.links.is_empty(), "all connections are closed");
                self.over = true;
            }
            LeaderEffect::SyncConfirmed(_)
            | LeaderEffect::Held
            | LeaderEffect::Forwarded { .. }
            | LeaderEffect::PauseReading(_)
            | LeaderEffect::Syncs { .. }
            | LeaderEffect::ResumeReading(_)
            | LeaderEffect::Touched { .. }
            | LeaderEffect::Revalidate { .. }
            | LeaderEffect::LastSeen(_)
            | LeaderEffect::Activate { .. } => {}
        }
    }

    fn sent(&mut self, connection: u64, item: &Outgoing) {
        let epoch_zxid = Zxid(self.epoch.expect("nobody is told of an epoch before it is") << 32);
        let committed = self.committed;
        let link = self.links.get_mut(&connection).expect("it is open");
        match item {
            Outgoing::Bytes(bytes) => {
                let mut reader = PacketReader::new(1 << 20);
                reader.push(bytes);
                while let Some(packet) = reader.next_packet().expect("packets") {
                    let packet_type =
                        PacketType::from_i32(packet.packet_type).expect("a known type");
                    match packet_type {
                        PacketType::Commit => {
                            assert!(link.proposed.contains(&packet.zxid), "its proposal was sent");
                            assert!(link.committed < Some(packet.zxid), "commits go forward");
                            link.committed = Some(packet.zxid);
                        }
                        PacketType::NewLeader => {
                            assert_eq!(packet.zxid, epoch_zxid);
                            link.new_leader = true;
                            if let Some(server) = link.server
                                && !link.observer
                                && server <= 3
                            {
                                let has = if self.established { committed } else { HISTORY };
                                self.has.insert(server, has);
                            }
                            link.acked = if self.established { committed } else { epoch_zxid };
                        }
                        PacketType::UpToDate => {
                            assert!(link.new_leader_acked && self.established);
                        }
                        PacketType::Ping => {
                            assert!(link.new_leader);
                            if link.last != Some(PacketType::NewLeader) {
                                link.pings.push(packet.zxid);
                            }
                        }
                        _ => {}
                    }
                    if packet_type != PacketType::Ping {
                        link.last = Some(packet_type);
                    }
                }
                assert!(reader.rest().is_empty());
            }
            Outgoing::Records { segment, range, kind } => {
                assert!(*kind != RecordsKind::Proposal || !link.observer, "voters and joiners");
                for at in range.clone() {
                    let zxid = segment.zxid(at);
                    match kind {
                        RecordsKind::Proposal => assert!(link.proposed.insert(zxid), "once"),
                        RecordsKind::Inform | RecordsKind::ProposalAndCommit => {
                            assert!(link.committed < Some(zxid), "commits go forward");
                            link.committed = Some(zxid);
                        }
                    }
                }
            }
            Outgoing::History { after, through } => {
                assert!(after < through && *through <= self.durable, "it is on disk");
                assert!(!link.new_leader);
            }
            Outgoing::Snapshot { base, through } => {
                assert!(base <= through && *through <= self.durable, "it is on disk");
            }
        }
    }

    fn packet(&mut self, link: u64, packet_type: PacketType, zxid: Zxid, data: Option<&[u8]>) {
        let mut bytes = Vec::new();
        wire::packet(packet_type, zxid, data, &mut bytes);
        self.step(LeaderInput::Received { connection: ConnectionId(link), bytes: &bytes });
    }

    fn introduce(&mut self, link: u64, server: i64, observer: bool, accepted: i64) {
        let mut bytes = Vec::new();
        let info = LearnerInfo {
            server_id: ServerId(server),
            protocol_version: 0x10000,
            config_version: 0,
        };
        wire::learner_info(observer, accepted, &info, &mut bytes);
        if let Some(seen) = self.links.get_mut(&link)
            && seen.server.is_none()
        {
            (seen.server, seen.observer) = (Some(server), observer);
        }
        self.step(LeaderInput::Received { connection: ConnectionId(link), bytes: &bytes });
    }

    fn ack(&mut self, link: u64, zxid: Zxid) {
        let epoch_zxid = self.epoch.map(|epoch| Zxid(epoch << 32));
        if let Some(seen) = self.links.get_mut(&link)
            && seen.new_leader
        {
            seen.new_leader_acked |= Some(zxid) == epoch_zxid;
            if zxid == seen.acked.next() && zxid <= self.proposed {
                seen.acked = zxid;
                if let Some(server) = seen.server
                    && !seen.observer
                    && server <= 3
                {
                    self.has.insert(server, zxid);
                }
            } else if zxid > seen.acked.next() {
                // It says that it has what comes later; from now on the model cannot tell.
                return;
            }
        }
        self.packet(link, PacketType::Ack, zxid, None);
    }

    /// Whatever a good learner would do next.
    fn proper(&mut self, link: u64, server: i64, observer: bool) {
        let Some(seen) = self.links.get(&link) else { return };
        if seen.server.is_none() {
            self.introduce(link, server, observer, 1);
        } else if seen.last == Some(PacketType::LeaderInfo) {
            let current = 1i32.to_bytes();
            self.packet(link, PacketType::AckEpoch, HISTORY, Some(&current));
        } else if seen.new_leader && !seen.new_leader_acked {
            self.ack(link, Zxid(self.epoch.expect("it was told") << 32));
        } else if seen.new_leader_acked && !seen.pings.is_empty() {
            let zxid = self.links.get_mut(&link).expect("just found").pings.remove(0);
            self.packet(link, PacketType::Ping, zxid, Some(&[]));
        }
    }

    fn act(&mut self, act: Act) {
        let open = |world: &World, link: usize| world.link(link);
        match act {
            Act::Accept => {
                self.links.insert(self.next_link, Seen::default());
                self.step(LeaderInput::Accepted(ConnectionId(self.next_link)));
                self.next_link += 1;
            }
            Act::Info { link, server, observer, accepted } => {
                let Some(link) = open(self, link) else { return };
                self.introduce(link, server, observer, accepted);
            }
            Act::AckEpoch { link, zxid, current } => {
                let Some(link) = open(self, link) else { return };
                self.packet(link, PacketType::AckEpoch, zxid, Some(&current.to_bytes()));
            }
            Act::Ack { link, counter } => {
                let (Some(link), Some(epoch)) = (open(self, link), self.epoch) else { return };
                self.ack(link, Zxid((epoch << 32) + i64::from(counter)));
            }
            Act::AckNext { link } => {
                let Some(link) = open(self, link) else { return };
                let seen = &self.links[&link];
                if seen.new_leader_acked && seen.acked < self.proposed && !seen.observer {
                    self.ack(link, seen.acked.next());
                }
            }
            Act::Proper { link, server, observer } => {
                let Some(link) = open(self, link) else { return };
                self.proper(link, server, observer);
            }
            Act::Ping { link, zxid } => {
                let Some(link) = open(self, link) else { return };
                self.packet(link, PacketType::Ping, zxid, Some(&[0; 12]));
            }
            Act::Raw { link, bytes } => {
                let Some(link) = open(self, link) else { return };
                // A part of a packet makes all that follows another packet: nothing may count.
                self.step(LeaderInput::Received { connection: ConnectionId(link), bytes: &bytes });
                if self.links.remove(&link).is_some() {
                    self.step(LeaderInput::Closed(ConnectionId(link)));
                }
            }
            Act::Close { link } => {
                let Some(link) = open(self, link) else { return };
                self.links.remove(&link);
                self.step(LeaderInput::Closed(ConnectionId(link)));
            }
            Act::Failed { link, unproven } => {
                let Some(link) = open(self, link) else { return };
                let connection = ConnectionId(link);
                self.step(LeaderInput::HistoryFailed { connection, unproven });
            }
            Act::Purged { first } => self.step(LeaderInput::LogsFrom(first)),
            Act::Wait { ms } => {
                self.now_ms += ms;
                if self.leader.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
                    self.step(LeaderInput::Tick);
                    let next = self.leader.deadline_ms();
                    assert!(next.is_none_or(|at_ms| at_ms > self.now_ms), "ticks go forward");
                }
            }
            Act::Propose { count } if self.established => {
                let segment = segment(self.proposed.next(), count);
                self.proposed = segment.last_zxid();
                self.step(LeaderInput::Proposed(segment));
            }
            Act::Durable { back } if self.established => {
                let zxid = Zxid(self.proposed.0 - i64::from(back));
                if zxid.epoch() == self.proposed.epoch() && zxid > self.durable {
                    self.durable = zxid;
                    self.step(LeaderInput::Durable(zxid));
                }
            }
            Act::Propose { .. } | Act::Durable { .. } => {}
            Act::Sync { link } => {
                let connection = link.and_then(|link| self.link(link)).map(ConnectionId);
                self.step(LeaderInput::SyncWanted { ticket: 1, connection });
                let session = SessionId(1);
                if let Some(connection) = connection {
                    let valid = true;
                    self.step(LeaderInput::Revalidated { connection, session, valid });
                }
            }
            Act::Stop => self.step(LeaderInput::Stop),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn learners_may_do_anything(acts in proptest::collection::vec(act(), 1..250)) {
        let mut world = World::new();
        world.step(LeaderInput::Start);
        for act in acts {
            if world.over {
                break;
            }
            world.act(act);
        }
        let report = world.leader.report();
        if !world.over && world.established {
            prop_assert_eq!((report.proposed, report.committed), (world.proposed, world.committed));
        }
    }

    /// Most of what is above ends early: here everybody does as it should, in any order.
    #[test]
    fn learners_that_do_as_they_should_get_everything(
        order in proptest::collection::vec((0usize..3, 0u8..8), 50..300),
    ) {
        let mut world = World::new();
        world.step(LeaderInput::Start);
        for _ in 0..3 {
            world.act(Act::Accept);
        }
        for (link, dice) in order {
            let (server, observer) = (4 - link as i64, link == 0);
            match dice {
                0..4 => world.act(Act::Proper { link, server, observer }),
                4 => world.act(Act::AckNext { link }),
                5 => world.act(Act::Propose { count: 2 }),
                6 => world.act(Act::Durable { back: link as u32 }),
                _ => world.act(Act::Sync { link: Some(link) }),
            }
        }
        for _ in 0..300 {
            for link in 0..3 {
                world.act(Act::Proper { link, server: 4 - link as i64, observer: link == 0 });
                world.act(Act::AckNext { link });
            }
            world.act(Act::Durable { back: 0 });
            let up = world.leader.report().learners.iter().filter(|learner| learner.up).count();
            let pinged = world.links.values().all(|link| link.pings.is_empty());
            if up == 3 && pinged && world.committed == world.proposed {
                break;
            }
        }
        let report = world.leader.report();
        prop_assert!(report.established && !world.over);
        prop_assert_eq!(report.committed, report.proposed);
        // A connection that another one took the place of may have taken a ping with it: syncs wait
        // for the next tick's then, and no time passes here.
        let none_replaced = world.links.len() == 3;
        prop_assert!(report.pending_syncs == 0 || !none_replaced);
        prop_assert!(report.learners.iter().all(|learner| learner.up));
    }
}

/// The first property is worth something: many of its runs come as far as commits.
#[test]
fn anything_includes_commits() {
    let mut runner = TestRunner::deterministic();
    let acts = proptest::collection::vec(act(), 250..251);
    let (mut established, mut commits) = (0, 0);
    for _ in 0..100 {
        let mut world = World::new();
        world.step(LeaderInput::Start);
        for act in acts.new_tree(&mut runner).expect("acts").current() {
            if !world.over {
                world.act(act);
            }
        }
        established += usize::from(world.established);
        commits += usize::from(world.established && world.committed.counter() > 0);
    }
    assert!(established >= 40 && commits >= 20, "{established} established, {commits} committed");
}

#[test]
fn strangers_hold_little() {
    let membership = Arc::new(membership(&["voters", "1", "2", "3"]));
    let mut leader =
        Leader::new(config(1, Ensemble::new(membership), Zxid::ZERO), LogIndex::new(Zxid::ZERO), 0);
    let mut step = |input: LeaderInput<'_>| {
        let mut effects = Vec::new();
        leader.step(0, input, &mut effects);
        let closed = effects.iter().filter_map(|effect| match effect {
            LeaderEffect::Close { connection, reason } => Some((connection.0, *reason)),
            _ => None,
        });
        closed.collect::<Vec<_>>()
    };
    let info = |server: i64, len: usize| {
        let info = LearnerInfo {
            server_id: ServerId(server),
            protocol_version: wire::PROTOCOL_VERSION,
            config_version: 0,
        };
        let mut data = info.to_bytes();
        data.resize(len, 0);
        let mut bytes = Vec::new();
        wire::packet(PacketType::FollowerInfo, Zxid::ZERO, Some(&data), &mut bytes);
        bytes
    };
    step(LeaderInput::Start);
    for connection in 1..=64 {
        assert_eq!(step(LeaderInput::Accepted(ConnectionId(connection))), []);
    }
    let accepted = step(LeaderInput::Accepted(ConnectionId(65)));
    assert_eq!(accepted, [(1, LinkEnd::TooMany)], "the oldest makes room");
    let long = info(2, 4097);
    let received = step(LeaderInput::Received { connection: ConnectionId(65), bytes: &long });
    assert_eq!(received, [(65, LinkEnd::BadPacket(wire::PacketError::UnreasonableLength(4097)))]);
    // Whoever has said who it is, is no stranger.
    let known = info(2, 20);
    let received = step(LeaderInput::Received { connection: ConnectionId(2), bytes: &known });
    assert_eq!(received, []);
    for connection in 66..=67 {
        assert_eq!(step(LeaderInput::Accepted(ConnectionId(connection))), []);
    }
    assert_eq!(step(LeaderInput::Accepted(ConnectionId(68))), [(3, LinkEnd::TooMany)]);
}
