//! What learners send, to a leader of three voters and an observer whose disk never waits. Each
//! part of the input is bytes on one connection, time that passes, a proposal, or a connection's
//! end.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::leader::{Leader, LeaderConfig, LeaderEffect, LeaderInput, LoadLimits};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::{Ensemble, Oracle};
use rookeeper_zab::segment::SegmentBuilder;
use rookeeper_zab::sync::{LogIndex, SyncRules};

use crate::parts::parts;

const LEARNERS: u64 = 3;

struct World {
    leader: Leader,
    effects: Vec<LeaderEffect>,
    now_ms: u64,
    /// The connection of each learner now; numbers are not used again.
    connections: Vec<ConnectionId>,
    next_connection: u64,
    proposed: Zxid,
    committed: Zxid,
    leads: bool,
    over: bool,
}

fn config() -> LeaderConfig {
    let text = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nserver.4=d:1:2:observer;3";
    let membership = Membership::parse(text, &MembershipRules::default()).expect("a configuration");
    LeaderConfig {
        me: ServerId(3),
        ensemble: Ensemble::new(Arc::new(membership)),
        tick_time_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        accepted_epoch: 0,
        current_epoch: 0,
        last_zxid: Zxid(0),
        sync: SyncRules::default(),
        oracle: Oracle::Absent,
        epoch_wait_ms_max: None,
        supporters: vec![ServerId(1), ServerId(3)],
        snap_syncs_max: 10,
        diff_syncs_max: 100,
        packet_len_max: 1 << 16,
        load: LoadLimits::default(),
        reconfig_enabled: false,
        ack_logging_frequency: 3,
        holds_proposals: true,
    }
}

/// Feeds the parts. What is committed was proposed, and nothing follows the end.
pub fn run(input: &[u8]) {
    let mut world = World {
        leader: Leader::new(config(), LogIndex::new(Zxid(0)), 0),
        effects: Vec::new(),
        now_ms: 0,
        connections: Vec::new(),
        next_connection: 1,
        proposed: Zxid(0),
        committed: Zxid(0),
        leads: false,
        over: false,
    };
    world.step(LeaderInput::Start);
    for _ in 0..LEARNERS {
        let connection = world.accept();
        world.connections.push(connection);
    }
    for (tag, bytes) in parts(input).take(256) {
        let learner = usize::from(tag) % LEARNERS as usize;
        match tag / 16 {
            0..12 => {
                let connection = world.connections[learner];
                world.step(LeaderInput::Received { connection, bytes });
            }
            12 => world.propose(1 + bytes.len() % 3),
            13 => {
                world.now_ms += 100 * (1 + bytes.len() as u64 % 64);
                world.step(LeaderInput::Tick);
            }
            14 if learner == 0 => world.step(LeaderInput::Release),
            14 => world.step(LeaderInput::SyncWanted { ticket: 1, connection: None }),
            _ => {
                world.step(LeaderInput::Closed(world.connections[learner]));
                world.connections[learner] = world.accept();
            }
        }
    }
    world.step(LeaderInput::Stop);
    world.now_ms += 60_000;
    world.step(LeaderInput::Tick);
}

impl World {
    fn accept(&mut self) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.step(LeaderInput::Accepted(connection));
        connection
    }

    fn propose(&mut self, count: usize) {
        if !self.leads || self.over {
            return;
        }
        let mut segment = SegmentBuilder::default();
        for _ in 0..count {
            self.proposed = self.proposed.next();
            segment.push(self.proposed, &[7; 40]);
        }
        self.step(LeaderInput::Proposed(segment.freeze()));
        self.step(LeaderInput::Durable(self.proposed));
    }

    fn step(&mut self, input: LeaderInput<'_>) {
        self.leader.step(self.now_ms, input, &mut self.effects);
        let mut closed: BTreeMap<ConnectionId, ()> = BTreeMap::new();
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    LeaderEffect::WriteEpoch { kind, .. } => {
                        let answer = LeaderInput::EpochWritten(kind);
                        self.leader.step(self.now_ms, answer, &mut self.effects);
                    }
                    LeaderEffect::Established { epoch } => {
                        assert!(!self.leads, "a leader is established once");
                        self.leads = true;
                        let epoch = u32::try_from(epoch).expect("an epoch fits in a zxid");
                        self.proposed = Zxid::new(epoch, 0);
                    }
                    LeaderEffect::Commit(zxid) => {
                        assert!(self.leads && self.committed < zxid && zxid <= self.proposed);
                        self.committed = zxid;
                    }
                    LeaderEffect::Send { connection, .. } => {
                        assert!(!closed.contains_key(&connection), "sent to one that was closed");
                    }
                    LeaderEffect::Close { connection, .. } => {
                        closed.insert(connection, ());
                    }
                    LeaderEffect::Abandon(_) | LeaderEffect::Stopped => self.over = true,
                    _ => {}
                }
            }
        }
    }
}
