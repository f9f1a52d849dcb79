//! A follower or observer: finds the leader's epoch, takes over its history, then its proposals
//! (Java: `Learner`, `Follower`, `Observer`).
//!
//! One machine is one attempt at one leader: it ends with [`LearnerEffect::Abandon`], and the
//! server looks for a leader again. Effects keep the order of what came from the leader.
//!
//! What it promises, whatever the leader and the disk do:
//! - The accepted epoch is durable before ACKEPOCH.
//! - NEWLEADER is acknowledged only after its history was settled, and then the current epoch was
//!   written, in this order (ZOOKEEPER-3911, 4643, 4646, 4785).
//! - A proposal is acknowledged only when it and everything before it is durable, one by one in
//!   their order, and only by who votes.
//! - No transaction is missing between two that are taken (ZOOKEEPER-2846, 4925), none is taken
//!   that cannot be decoded, and only the oldest proposal that waits is committed. Where a leader
//!   breaks this its link ends, never the process: Java exits with code 12.
//!
//! Three things differ from Java, all within the protocol:
//! - It tries to connect until `initLimit` is over, quickly at first; Java gives up after 5 tries.
//!   A connection that ends before LEADERINFO counts as a failed try: the leader may not lead yet.
//! - It waits for UPTODATE for `initLimit`, not for `syncLimit`: others may still take over long
//!   histories.
//! - What comes after NEWLEADER is logged at once; acknowledgements wait for UPTODATE, as Java's.

mod connect;
mod history;
mod packets;
mod synchronise;
mod transaction;
mod types;

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{SessionId, Zxid};

use crate::EpochKind;
use crate::membership::{Membership, Role};
use crate::sync::SnapshotStream;
use crate::wire::{self, PacketReader};

use history::History;
pub use types::{LearnerConfig, LearnerEffect, LearnerEnd, LearnerInput, SyncStart};

/// What is under way.
#[derive(Debug)]
enum Phase {
    /// Nothing yet.
    Idle,
    /// A dial.
    Dialling,
    /// The wait for the next dial.
    BetweenDials { retry_at_ms: u64 },
    /// FOLLOWERINFO or OBSERVERINFO is sent; LEADERINFO comes next.
    Registered,
    /// The accepted epoch is being written.
    Accepting,
    /// ACKEPOCH is sent; DIFF, TRUNC or SNAP comes next.
    EpochAcknowledged,
    /// The body of a snapshot comes.
    Snapshot { zxid: Zxid, stream: SnapshotStream },
    /// [`LearnerEffect::Begin`] is carried out; nothing is read.
    Beginning(SyncStart),
    /// History comes, then NEWLEADER.
    History,
    /// NEWLEADER's history is made durable.
    Settling {
        /// Its last transaction.
        through: Zxid,
    },
    /// The current epoch is being written.
    Settled,
    /// NEWLEADER is acknowledged; UPTODATE comes.
    Acknowledged,
    /// Clients are served.
    Serving,
    /// It is over.
    Ended,
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Dialling | Phase::BetweenDials { .. } => "connecting",
            Phase::Registered => "waiting for LEADERINFO",
            Phase::Accepting => "writing the accepted epoch",
            Phase::EpochAcknowledged => "waiting for DIFF, TRUNC or SNAP",
            Phase::Snapshot { .. } => "receiving a snapshot",
            Phase::Beginning(_) => "preparing for the leader's history",
            Phase::History => "receiving history",
            Phase::Settling { .. } => "settling history",
            Phase::Settled => "writing the current epoch",
            Phase::Acknowledged => "waiting for UPTODATE",
            Phase::Serving => "serving",
            Phase::Ended => "ended",
        }
    }
}

/// A follower or observer of one leader.
#[derive(Debug)]
pub struct Learner {
    reader: PacketReader,
    state: State,
}

/// Everything but what was read and not yet understood.
#[derive(Debug)]
struct State {
    config: LearnerConfig,
    now_ms: u64,
    phase: Phase,
    dials: u32,
    give_up_at_ms: u64,
    /// When something last came from the leader, or this server was last busy on its own.
    heard_at_ms: u64,
    /// The leader's epoch, from LEADERINFO on.
    epoch: i64,
    leader_is_exact: bool,
    history: History,
    /// NEWLEADER's configuration.
    membership: Option<Arc<Membership>>,
    /// The same until its history is on disk, or a later one was proposed.
    last_seen: Option<Arc<Membership>>,
    /// The zxids of pings that are not answered.
    pings: VecDeque<Zxid>,
}

impl Learner {
    /// Nothing done yet. [`LearnerInput::Start`] begins.
    pub fn new(config: LearnerConfig, now_ms: u64) -> Learner {
        let history = History::new(config.last_zxid, config.role == Role::Participant);
        let reader = PacketReader::new(config.buffer_len_max);
        let state = State {
            config,
            now_ms,
            phase: Phase::Idle,
            dials: 0,
            give_up_at_ms: now_ms,
            heard_at_ms: now_ms,
            epoch: -1,
            leader_is_exact: false,
            history,
            membership: None,
            last_seen: None,
            pings: VecDeque::new(),
        };
        Learner { reader, state }
    }

    /// Takes one input at the monotonic time `now_ms`.
    ///
    /// # Panics
    /// If a client's request comes while clients are not served.
    pub fn step(&mut self, now_ms: u64, input: LearnerInput<'_>, effects: &mut Vec<LearnerEffect>) {
        self.state.now_ms = now_ms;
        if matches!(self.state.phase, Phase::Ended) {
            return;
        }
        let from = effects.len();
        if let Err(end) = self.take(input, effects) {
            self.state.history.hand_over(effects);
            self.state.end(end, effects);
        }
        self.state.history.hand_over(effects);
        let abandoned = |effect: &LearnerEffect| matches!(effect, LearnerEffect::Abandon(_));
        let last = effects.len().saturating_sub(1);
        assert!(!effects[from..last.max(from)].iter().any(abandoned), "nothing follows the end");
    }

    /// When [`LearnerInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.state.deadline_ms()
    }

    /// Whether the leader said that this server is up to date.
    pub fn is_serving(&self) -> bool {
        matches!(self.state.phase, Phase::Serving)
    }

    /// The leader's epoch, once it is known.
    pub fn epoch(&self) -> Option<i64> {
        (self.state.epoch >= 0).then_some(self.state.epoch)
    }

    /// Whether the leader is of this kind: its snapshots are of one moment, so that its digests can
    /// be relied on throughout.
    pub fn leader_is_exact(&self) -> bool {
        self.state.leader_is_exact
    }

    /// The last transaction that was taken.
    pub fn last_zxid(&self) -> Zxid {
        self.state.history.last()
    }

    /// What is under way, for logs.
    pub fn phase(&self) -> &'static str {
        self.state.phase.name()
    }

    fn take(
        &mut self,
        input: LearnerInput<'_>,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let state = &mut self.state;
        match input {
            LearnerInput::Start => state.start(effects),
            LearnerInput::Connected => {
                self.reader = PacketReader::new(state.config.buffer_len_max);
                state.connected(effects);
            }
            LearnerInput::ConnectFailed => return state.connect_failed(),
            LearnerInput::Closed => return state.closed(),
            LearnerInput::Tick => return state.tick(effects),
            LearnerInput::Received(bytes) => return self.received(bytes, effects),
            LearnerInput::EpochWritten(EpochKind::Accepted) => state.accepted(effects),
            LearnerInput::EpochWritten(EpochKind::Current) => state.epoch_recorded(effects),
            LearnerInput::Ready => {
                state.ready(effects);
                return self.read(effects);
            }
            LearnerInput::Settled => state.settled(effects),
            LearnerInput::Durable(zxid) => {
                state.history.durable(zxid);
                state.acknowledge(effects);
            }
            LearnerInput::Forward(forward) => {
                state.assert_serving();
                let mut bytes = Vec::new();
                wire::request(&forward, &mut bytes);
                effects.push(LearnerEffect::Send(bytes));
            }
            LearnerInput::Revalidate { session, timeout_ms } => {
                state.revalidate(session, timeout_ms, effects);
            }
            LearnerInput::Touches(sessions) => state.touches(&sessions, effects),
        }
        Ok(())
    }

    fn received(
        &mut self,
        bytes: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        if matches!(self.state.phase, Phase::Idle | Phase::Dialling | Phase::BetweenDials { .. }) {
            return Ok(());
        }
        self.state.heard_at_ms = self.state.now_ms;
        if let Phase::Snapshot { .. } = self.state.phase {
            let taken = self.state.snapshot_bytes(bytes, effects)?;
            self.reader.push(&bytes[taken..]);
        } else {
            self.reader.push(bytes);
        }
        self.read(effects)
    }

    /// Takes what was received and is whole, unless something has to be done first.
    fn read(&mut self, effects: &mut Vec<LearnerEffect>) -> Result<(), LearnerEnd> {
        loop {
            match self.state.phase {
                Phase::Beginning(_) | Phase::Ended => return Ok(()),
                Phase::Snapshot { .. } => {
                    let rest = self.reader.take_rest();
                    let taken = self.state.snapshot_bytes(&rest, effects)?;
                    self.reader.push(&rest[taken..]);
                    if let Phase::Snapshot { .. } = self.state.phase {
                        return Ok(());
                    }
                }
                _ => {
                    let Some(packet) = self.reader.next_packet()? else { return Ok(()) };
                    self.state.packet(&packet, effects)?;
                }
            }
        }
    }
}

impl State {
    fn send(
        &self,
        packet_type: PacketType,
        zxid: Zxid,
        data: Option<&[u8]>,
        effects: &mut Vec<LearnerEffect>,
    ) {
        let mut bytes = Vec::new();
        wire::packet(packet_type, zxid, data, &mut bytes);
        effects.push(LearnerEffect::Send(bytes));
    }

    /// Acknowledges proposals that are durable, once the leader hears such.
    fn acknowledge(&mut self, effects: &mut Vec<LearnerEffect>) {
        if !matches!(self.phase, Phase::Serving) {
            return;
        }
        let mut bytes = Vec::new();
        while let Some(zxid) = self.history.acknowledgeable() {
            if bytes.is_empty() {
                bytes.reserve(wire::PACKET_LEN_MIN * (1 + self.history.acknowledgeable_len()));
            }
            wire::packet(PacketType::Ack, zxid, None, &mut bytes);
        }
        if !bytes.is_empty() {
            effects.push(LearnerEffect::Send(bytes));
        }
    }

    fn assert_serving(&self) {
        let serving = matches!(self.phase, Phase::Serving);
        assert!(serving, "clients are served from UPTODATE on, not while {}", self.phase.name());
    }

    fn revalidate(&self, session: SessionId, timeout_ms: i32, effects: &mut Vec<LearnerEffect>) {
        self.assert_serving();
        let mut data = session.0.to_be_bytes().to_vec();
        data.extend_from_slice(&timeout_ms.to_be_bytes());
        self.send(PacketType::Revalidate, Zxid::NONE, Some(&data), effects);
    }

    fn touches(&mut self, sessions: &[(SessionId, i32)], effects: &mut Vec<LearnerEffect>) {
        if let Some(zxid) = self.pings.pop_front() {
            let mut bytes = Vec::new();
            wire::touches(zxid, sessions, &mut bytes);
            effects.push(LearnerEffect::Send(bytes));
        }
    }
}
