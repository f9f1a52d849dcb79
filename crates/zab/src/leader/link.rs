//! The connection to one learner, from its first packet on.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{Identity, ServerId, Zxid};

use super::gate::Gate;
use super::types::{LeaderEffect, LinkEnd};
use crate::links::ConnectionId;
use crate::outgoing::Outgoing;
use crate::sync::SyncStep;
use crate::wire::{self, PacketReader};

/// Connections that have not said who they are; beyond them the oldest is closed.
pub(crate) const STRANGERS_MAX: usize = 64;

/// Connections of all learners; beyond them a new one is closed.
pub(crate) const LEARNERS_MAX: usize = 4096;

/// The longest buffer of a packet that says who somebody is, in bytes.
pub(crate) const INTRODUCTION_LEN_MAX: usize = 4096;

/// Pings that a learner may leave unanswered while it says other things. One that is stuck for so
/// long comes back and is synchronised anew.
const PINGS_MAX: usize = 1 << 20;

/// How far a learner has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkPhase {
    /// It has to say who it is.
    Info,
    /// It waits for the epoch.
    Epoch,
    /// It has to acknowledge the epoch.
    AckEpoch,
    /// It waits for the history; its last zxid.
    History(Zxid),
    /// It was sent the history and NEWLEADER, and has to acknowledge that.
    NewLeader,
    /// It waits for the quorum.
    Acked,
    /// It serves.
    UpToDate,
}

impl LinkPhase {
    /// What is proposed and committed is sent to it (Java: `startForwarding`).
    pub(super) fn forwards(self) -> bool {
        matches!(self, LinkPhase::NewLeader | LinkPhase::Acked | LinkPhase::UpToDate)
    }
}

/// One proposal that a learner has not acknowledged, and the last one after it (Java:
/// `LearnerHandler.SyncLimitCheck`, which looks at every proposal's age by these samples).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    zxid: Zxid,
    since_ms: u64,
}

/// A learner.
#[derive(Debug)]
pub(super) struct Link {
    /// Away while its packets are handled.
    pub(super) reader: Option<PacketReader>,
    pub(super) phase: LinkPhase,
    /// Who it is, once it has said so.
    pub(super) server: ServerId,
    /// It came with OBSERVERINFO.
    pub(super) observer: bool,
    /// It counts as one of the quorum until then.
    pub(super) heard_until_ms: u64,
    /// It has to say something by then.
    pub(super) silent_at_ms: Option<u64>,
    /// The last proposal that was sent to it, or the committed one it began with.
    pub(super) sent: Zxid,
    /// How it is brought up to date, while it is.
    pub(super) syncing: Option<SyncStep>,
    /// Rounds and zxids of pings that it has to answer, in this order.
    pub(super) pings: VecDeque<(u64, Zxid)>,
    /// The last round that it answered.
    pub(super) answered: u64,
    /// The identities of its last request, which most others have too.
    pub(super) identities: Option<Arc<[Identity]>>,
    /// Commits that go behind the answer to a sync.
    pub(super) gate: Gate,
    /// Words on sessions, each behind the transactions up to one; observers only.
    answers: VecDeque<(Zxid, Vec<u8>)>,
    owed: Option<Owed>,
    owed_next: Option<Owed>,
}

impl Link {
    pub(super) fn new(heard_until_ms: u64, silent_at_ms: u64) -> Link {
        Link {
            reader: Some(PacketReader::new(INTRODUCTION_LEN_MAX)),
            phase: LinkPhase::Info,
            server: ServerId(0),
            observer: false,
            heard_until_ms,
            silent_at_ms: Some(silent_at_ms),
            sent: Zxid::ZERO,
            syncing: None,
            pings: VecDeque::new(),
            answered: 0,
            identities: None,
            gate: Gate::default(),
            answers: VecDeque::new(),
            owed: None,
            owed_next: None,
        }
    }

    /// Takes part in quorums as far as its server votes.
    pub(super) fn counts(&self) -> bool {
        !self.observer && !matches!(self.phase, LinkPhase::Info)
    }

    /// Whether it follows what is proposed, and was not sent all up to here.
    pub(super) fn lacks(&self, through: Zxid) -> bool {
        self.phase.forwards() && !self.observer && self.sent < through
    }

    /// It has to answer one more ping; false where it owes too many answers.
    pub(super) fn pinged(&mut self, round: u64, zxid: Zxid) -> bool {
        self.pings.push_back((round, zxid));
        self.pings.len() <= PINGS_MAX
    }

    /// Takes an answer that goes behind all transactions up to `after`.
    pub(super) fn answer_after(&mut self, after: Zxid, answer: Vec<u8>) {
        self.answers.push_back((after, answer));
    }

    /// The next answer that may go, where all up to `committed` was sent or is at the gate.
    pub(super) fn next_answer(&mut self, committed: Zxid) -> Option<Vec<u8>> {
        let gate = &self.gate;
        let front = self.answers.front();
        front.filter(|(after, _)| *after <= committed && gate.has_passed(*after))?;
        self.answers.pop_front().map(|(_, answer)| answer)
    }

    /// Proposals up to this one were sent.
    pub(super) fn owes(&mut self, zxid: Zxid, now_ms: u64) {
        if matches!(self.phase, LinkPhase::Acked | LinkPhase::UpToDate) && !self.observer {
            let owed = Some(Owed { zxid, since_ms: now_ms });
            if self.owed.is_none() {
                self.owed = owed;
            } else {
                self.owed_next = owed;
            }
        }
    }

    /// It has acknowledged everything up to here.
    pub(super) fn paid(&mut self, through: Zxid) {
        while self.owed.is_some_and(|owed| owed.zxid <= through) {
            self.owed = self.owed_next.take();
        }
    }

    /// It could not be heard until now.
    pub(super) fn excuse(&mut self, now_ms: u64, silent_at_ms: u64) {
        self.silent_at_ms = self.silent_at_ms.max(Some(silent_at_ms));
        for owed in [&mut self.owed, &mut self.owed_next].into_iter().flatten() {
            owed.since_ms = now_ms;
        }
    }

    /// Whether one proposal is not acknowledged for so long.
    pub(super) fn owes_since(&self, now_ms: u64, age_ms_max: u64) -> bool {
        self.owed.is_some_and(|owed| now_ms.saturating_sub(owed.since_ms) >= age_ms_max)
    }
}

/// Packets for a connection.
pub(super) fn bytes(connection: ConnectionId, bytes: Vec<u8>) -> LeaderEffect {
    LeaderEffect::Send { connection, item: Outgoing::Bytes(bytes) }
}

/// One packet for a connection.
pub(super) fn packet(
    connection: ConnectionId,
    packet_type: PacketType,
    zxid: Zxid,
    data: Option<&[u8]>,
) -> LeaderEffect {
    let mut out = Vec::new();
    wire::packet(packet_type, zxid, data, &mut out);
    bytes(connection, out)
}

/// Takes bytes of a learner: hands over what packets there are, or why there are none any more.
/// `take` says how long the next one may be, or that the connection is gone.
pub(crate) fn each_packet(
    reader: &mut PacketReader,
    bytes: &[u8],
    mut take: impl FnMut(Result<QuorumPacket<'_>, LinkEnd>) -> Option<usize>,
) {
    reader.push(bytes);
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => Ok(packet),
            Ok(None) => return,
            Err(error) => Err(LinkEnd::BadPacket(error)),
        };
        match take(packet) {
            Some(len_max) => reader.set_len_max(len_max),
            None => return,
        }
    }
}

/// What a learner says of itself, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) server: ServerId,
    pub(crate) observer: bool,
    pub(crate) accepted_epoch: i64,
    /// Absent from learners before ZooKeeper 3.5.
    pub(crate) config_version: Option<i64>,
}

/// Reads FOLLOWERINFO or OBSERVERINFO. Learners from before 3.4, which have no epochs, are
/// refused.
pub(crate) fn introduction(packet: &QuorumPacket<'_>) -> Result<Introduction, LinkEnd> {
    let observer = match PacketType::from_i32(packet.packet_type) {
        Some(PacketType::FollowerInfo) => false,
        Some(PacketType::ObserverInfo) => true,
        _ => return Err(LinkEnd::OutOfTurn(packet.packet_type)),
    };
    let data = packet.data.unwrap_or_default();
    let mut reader = rookeeper_jute::Reader::new(data);
    let old = |_| LinkEnd::OldProtocol;
    let server = reader.read().map_err(old)?;
    let version: i32 = reader.read().map_err(old)?;
    if version < wire::PROTOCOL_VERSION {
        return Err(LinkEnd::OldProtocol);
    }
    let config_version = reader.read().ok();
    let accepted_epoch = packet.zxid.0 >> 32;
    if !(0..i64::from(i32::MAX)).contains(&accepted_epoch) {
        return Err(LinkEnd::BadEpoch);
    }
    Ok(Introduction { server, observer, accepted_epoch, config_version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unanswered_pings_are_bounded() {
        let mut link = Link::new(0, 0);
        let taken = (1..).find(|round| !link.pinged(*round, Zxid::ZERO));
        assert_eq!(taken, Some(PINGS_MAX as u64 + 1));
        link.pings.pop_front();
        assert!(!link.pinged(0, Zxid::ZERO), "one too many still");
    }
}
