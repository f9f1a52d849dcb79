//! A driver for one learner: it carries out what the learner asks for, in order and when it is
//! told to, and holds the learner to what it promises (rules 1 and 2 of durability).

use std::collections::VecDeque;

use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, SessionId, Zxid};
use rookeeper_zab::EpochKind;
use rookeeper_zab::learner::{
    Learner, LearnerConfig, LearnerEffect, LearnerEnd, LearnerInput, SyncStart,
};
use rookeeper_zab::membership::{MembershipRules, Role};
use rookeeper_zab::wire::PacketReader;

pub fn config(me: i64, role: Role) -> LearnerConfig {
    LearnerConfig {
        me: ServerId(me),
        leader: ServerId(9),
        role,
        tick_time_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        connect_limit: 0,
        connect_delay_ms: None,
        config_version: 0,
        accepted_epoch: 0,
        current_epoch: 0,
        last_zxid: Zxid::ZERO,
        buffer_len_max: 1 << 20,
        rules: MembershipRules { standalone_enabled: false, multi_address_enabled: true },
    }
}

/// What the disk still has to do, strictly in this order.
#[derive(Debug, Clone, Copy)]
enum Work {
    Epoch(EpochKind, i64),
    Begin,
    Append(Zxid),
    Settle,
}

/// A packet that the learner sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub packet_type: PacketType,
    pub zxid: Zxid,
    pub data: Option<Vec<u8>>,
    /// As it was on the wire.
    pub bytes: Vec<u8>,
}

/// All packets of a stream that has nothing else.
pub fn packets(bytes: &[u8]) -> Vec<Sent> {
    let mut reader = PacketReader::new(1 << 20);
    reader.push(bytes);
    let mut packets = Vec::new();
    loop {
        let left = reader.rest().len();
        let (packet_type, zxid, data) = match reader.next_packet().expect("packets") {
            Some(packet) => (packet.packet_type, packet.zxid, packet.data.map(<[u8]>::to_vec)),
            None => break,
        };
        let packet_type = PacketType::from_i32(packet_type).expect("a known type");
        let start = bytes.len() - left;
        let bytes = bytes[start..bytes.len() - reader.rest().len()].to_vec();
        packets.push(Sent { packet_type, zxid, data, bytes });
    }
    assert!(reader.rest().is_empty(), "whole packets");
    packets
}

pub struct Driver {
    pub learner: Learner,
    pub now_ms: u64,
    observer: bool,
    accepted_epoch: i64,
    work: VecDeque<Work>,
    /// Whether work is done as soon as it is asked for.
    pub prompt: bool,
    /// How pings are answered; nothing where it is empty.
    pub touches: VecDeque<Vec<(SessionId, i32)>>,
    pub sent: Vec<Sent>,
    pub effects: Vec<LearnerEffect>,
    pub snapshot: Vec<u8>,
    pub committed: Zxid,
    /// What was committed when NEWLEADER came.
    pub history_end: Zxid,
    pub ended: Option<LearnerEnd>,
    // What the rules are held against.
    accepted_written: i64,
    current_written: i64,
    settled: bool,
    durable: Zxid,
    appended: Vec<Zxid>,
    acknowledged: Option<Zxid>,
    pub serving: bool,
    paused: bool,
}

impl Driver {
    pub fn new(config: LearnerConfig) -> Driver {
        Driver {
            observer: config.role == Role::Observer,
            accepted_epoch: config.accepted_epoch,
            accepted_written: config.accepted_epoch,
            current_written: -1,
            committed: config.last_zxid,
            history_end: config.last_zxid,
            learner: Learner::new(config, 0),
            now_ms: 0,
            work: VecDeque::new(),
            prompt: true,
            touches: VecDeque::new(),
            sent: Vec::new(),
            effects: Vec::new(),
            snapshot: Vec::new(),
            ended: None,
            settled: false,
            durable: Zxid(i64::MIN),
            appended: Vec::new(),
            acknowledged: None,
            serving: false,
            paused: false,
        }
    }

    /// A learner that is connected.
    pub fn connected(config: LearnerConfig) -> Driver {
        let mut driver = Driver::new(config);
        driver.step(LearnerInput::Start);
        driver.step(LearnerInput::Connected);
        driver
    }

    pub fn step(&mut self, input: LearnerInput<'_>) {
        let mut effects = Vec::new();
        self.learner.step(self.now_ms, input, &mut effects);
        assert!(self.ended.is_none() || effects.is_empty(), "after the end: {effects:?}");
        let mut pings = 0;
        for effect in effects {
            pings += usize::from(matches!(effect, LearnerEffect::TouchesWanted));
            self.carry_out(&effect);
            self.effects.push(effect);
        }
        for _ in 0..pings {
            let touches = self.touches.pop_front().unwrap_or_default();
            self.step(LearnerInput::Touches(touches));
        }
        while self.prompt && self.work_one() {}
    }

    /// Does the oldest work; false where there is none.
    pub fn work_one(&mut self) -> bool {
        let Some(work) = self.work.pop_front() else { return false };
        match work {
            Work::Epoch(kind, epoch) => {
                match kind {
                    EpochKind::Accepted => self.accepted_written = epoch,
                    EpochKind::Current => self.current_written = epoch,
                }
                self.step(LearnerInput::EpochWritten(kind));
            }
            Work::Begin => self.step(LearnerInput::Ready),
            Work::Append(zxid) => {
                self.durable = zxid;
                self.step(LearnerInput::Durable(zxid));
            }
            Work::Settle => {
                self.settled = true;
                self.step(LearnerInput::Settled);
            }
        }
        true
    }

    fn carry_out(&mut self, effect: &LearnerEffect) {
        match effect {
            LearnerEffect::Send(bytes) => {
                for sent in packets(bytes) {
                    self.hold_to_rules(&sent);
                    self.sent.push(sent);
                }
            }
            LearnerEffect::WriteEpoch { kind, epoch } => {
                assert!(*kind == EpochKind::Accepted || self.settled, "history, then the epoch");
                self.work.push_back(Work::Epoch(*kind, *epoch));
            }
            LearnerEffect::PauseReading => self.paused = true,
            LearnerEffect::ResumeReading => self.paused = false,
            LearnerEffect::Begin(start) => match start {
                SyncStart::Snap(zxid) => self.committed = *zxid,
                SyncStart::Trunc(zxid) => {
                    self.committed = *zxid;
                    self.work.push_back(Work::Begin);
                }
                SyncStart::Diff => self.work.push_back(Work::Begin),
            },
            LearnerEffect::SnapshotBytes(bytes) => self.snapshot.extend_from_slice(bytes),
            LearnerEffect::SnapshotEnd => self.work.push_back(Work::Begin),
            LearnerEffect::Proposals(segment) => {
                assert!(!self.paused, "nothing is taken before the old history is out of the way");
                self.appended.extend(segment.records().map(|(zxid, _)| zxid));
                self.work.push_back(Work::Append(segment.last_zxid()));
            }
            LearnerEffect::Commit(zxid) => {
                assert!(self.appended.contains(zxid), "committed without a proposal: {zxid}");
                assert!(*zxid > self.committed, "commits go on");
                self.committed = *zxid;
            }
            LearnerEffect::Settle => {
                self.history_end = self.committed;
                self.work.push_back(Work::Settle);
            }
            LearnerEffect::Serve { epoch } => {
                assert!(self.settled && self.current_written == *epoch);
                self.serving = true;
            }
            LearnerEffect::Abandon(end) => self.ended = Some(end.clone()),
            _ => {}
        }
    }

    fn hold_to_rules(&mut self, sent: &Sent) {
        match sent.packet_type {
            PacketType::AckEpoch => {
                let epoch = self.learner.epoch().expect("the leader told its epoch");
                assert_eq!(self.accepted_written, epoch, "ACKEPOCH before the epoch is durable");
                let counts = sent.data.as_deref() != Some(&[0xff; 4]);
                assert_eq!(counts, epoch > self.accepted_epoch);
            }
            PacketType::Ack if sent.zxid.counter() == 0 => {
                let epoch = sent.zxid.0 >> 32;
                assert!(self.settled, "NEWLEADER is acknowledged before its history is durable");
                assert_eq!(self.current_written, epoch, "and before the current epoch is");
            }
            PacketType::Ack => {
                assert!(!self.observer, "observers acknowledge no proposals");
                assert!(self.serving && sent.zxid <= self.durable, "{} is not durable", sent.zxid);
                assert!(self.acknowledged < Some(sent.zxid), "acknowledgements go on");
                assert!(self.appended.contains(&sent.zxid));
                self.acknowledged = Some(sent.zxid);
            }
            _ => {}
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.step(LearnerInput::Received(bytes));
    }

    pub fn count(&self, of: impl Fn(&LearnerEffect) -> bool) -> usize {
        self.effects.iter().filter(|effect| of(effect)).count()
    }
}
