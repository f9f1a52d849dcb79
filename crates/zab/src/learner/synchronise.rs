//! From LEADERINFO to UPTODATE: the leader's epoch, then its history (Java:
//! `Learner.registerWithLeader`, `Learner.syncWithLeader`).

use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::quorum::PacketType;

use super::types::{LearnerEffect, LearnerEnd, SyncStart};
use super::{Phase, State};
use crate::EpochKind;
use crate::membership::Membership;
use crate::sync::SnapshotStream;
use crate::wire::{LEADER_MARK, epoch_zxid};

impl State {
    pub(super) fn leader_info(
        &mut self,
        zxid: Zxid,
        data: Option<&[u8]>,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let Some((_, mark)) = data.and_then(<[u8]>::split_first_chunk::<4>) else {
            return Err(LearnerEnd::MissingData(PacketType::LeaderInfo));
        };
        self.leader_is_exact = mark == LEADER_MARK;
        let (epoch, accepted) = (zxid.0 >> 32, self.config.accepted_epoch);
        if epoch < accepted || epoch < 0 {
            return Err(LearnerEnd::EpochTooOld { epoch, accepted });
        }
        self.epoch = epoch;
        if epoch > accepted {
            self.phase = Phase::Accepting;
            effects.push(LearnerEffect::WriteEpoch { kind: EpochKind::Accepted, epoch });
        } else {
            // This epoch was acknowledged before: the leader must not count it again.
            self.acknowledge_epoch(-1, effects);
        }
        Ok(())
    }

    /// The accepted epoch is durable.
    pub(super) fn accepted(&mut self, effects: &mut Vec<LearnerEffect>) {
        if matches!(self.phase, Phase::Accepting) {
            self.config.accepted_epoch = self.epoch;
            self.acknowledge_epoch(self.config.current_epoch as i32, effects);
        }
    }

    fn acknowledge_epoch(&mut self, current_epoch: i32, effects: &mut Vec<LearnerEffect>) {
        assert!(self.config.accepted_epoch == self.epoch, "the epoch is durable before ACKEPOCH");
        let data = current_epoch.to_be_bytes();
        self.send(PacketType::AckEpoch, self.history.last(), Some(&data), effects);
        self.heard_at_ms = self.now_ms;
        self.phase = Phase::EpochAcknowledged;
    }

    /// DIFF, TRUNC or SNAP.
    pub(super) fn begin(
        &mut self,
        packet: PacketType,
        zxid: Zxid,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let last = self.history.last();
        let sound = zxid >= Zxid::ZERO && zxid.0 >> 32 <= self.epoch;
        let start = match packet {
            PacketType::Diff => SyncStart::Diff,
            PacketType::Trunc if sound && zxid <= last => SyncStart::Trunc(zxid),
            PacketType::Snap if sound => SyncStart::Snap(zxid),
            _ => return Err(LearnerEnd::BadSyncStart { packet, zxid, last }),
        };
        if let SyncStart::Snap(zxid) = start {
            let stream = SnapshotStream::new(self.config.buffer_len_max);
            self.phase = Phase::Snapshot { zxid, stream };
        } else {
            self.phase = Phase::Beginning(start);
            effects.push(LearnerEffect::PauseReading);
        }
        effects.push(LearnerEffect::Begin(start));
        Ok(())
    }

    /// Takes bytes that begin within a snapshot; returns how many of them were of it.
    pub(super) fn snapshot_bytes(
        &mut self,
        bytes: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<usize, LearnerEnd> {
        let Phase::Snapshot { zxid, stream } = &mut self.phase else { return Ok(0) };
        let piece = stream.push(bytes)?;
        if piece.body > 0 {
            effects.push(LearnerEffect::SnapshotBytes(bytes[..piece.body].to_vec()));
        }
        if piece.done {
            self.phase = Phase::Beginning(SyncStart::Snap(*zxid));
            effects.push(LearnerEffect::PauseReading);
            effects.push(LearnerEffect::SnapshotEnd);
        }
        Ok(piece.taken)
    }

    /// What [`LearnerEffect::Begin`] asked for is done.
    pub(super) fn ready(&mut self, effects: &mut Vec<LearnerEffect>) {
        let Phase::Beginning(start) = self.phase else { return };
        match start {
            SyncStart::Diff => {}
            SyncStart::Trunc(zxid) => self.history.truncated(zxid),
            SyncStart::Snap(zxid) => self.history.replaced(zxid),
        }
        self.heard_at_ms = self.now_ms;
        self.phase = Phase::History;
        effects.push(LearnerEffect::ResumeReading);
    }

    pub(super) fn new_leader(
        &mut self,
        zxid: Zxid,
        data: Option<&[u8]>,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        if zxid != epoch_zxid(self.epoch) {
            return Err(LearnerEnd::OtherEpoch { got: zxid.0 >> 32, announced: self.epoch });
        }
        // Java takes one byte for none as well.
        if let Some(text) = data.filter(|data| data.len() > 1) {
            let membership = self.read_membership(text)?;
            self.last_seen = Some(membership.clone());
            self.membership = Some(membership);
        }
        self.history.new_leader();
        self.phase = Phase::Settling { through: self.history.last() };
        let epoch = self.epoch;
        if mutation::is_on(Mutation::EpochBeforeHistory) {
            effects.push(LearnerEffect::WriteEpoch { kind: EpochKind::Current, epoch });
        }
        effects.push(LearnerEffect::Settle);
        if mutation::is_on(Mutation::AckNewLeaderEarly) {
            self.config.current_epoch = epoch;
            self.send(PacketType::Ack, epoch_zxid(epoch), None, effects);
        }
        Ok(())
    }

    pub(super) fn read_membership(&self, text: &[u8]) -> Result<Arc<Membership>, LearnerEnd> {
        let text = String::from_utf8_lossy(text);
        Ok(Arc::new(Membership::parse(&text, &self.config.rules)?))
    }

    /// The history of NEWLEADER is durable, and the only one.
    pub(super) fn settled(&mut self, effects: &mut Vec<LearnerEffect>) {
        let Phase::Settling { through } = self.phase else { return };
        self.history.durable(through);
        self.phase = Phase::Settled;
        // Not before: a history that is not there yet must not take away what goes with the one
        // that is, or a change that it holds would come into force in the tree alone.
        effects.extend(self.last_seen.take().map(LearnerEffect::LastSeen));
        let epoch = self.epoch;
        if mutation::is_on(Mutation::EpochBeforeHistory) {
            self.epoch_recorded(effects);
            return;
        }
        effects.push(LearnerEffect::WriteEpoch { kind: EpochKind::Current, epoch });
    }

    /// The current epoch is durable: what NEWLEADER asked for is done.
    pub(super) fn epoch_recorded(&mut self, effects: &mut Vec<LearnerEffect>) {
        if matches!(self.phase, Phase::Settled) {
            self.config.current_epoch = self.epoch;
            self.heard_at_ms = self.now_ms;
            self.phase = Phase::Acknowledged;
            self.send(PacketType::Ack, epoch_zxid(self.epoch), None, effects);
        }
    }

    pub(super) fn up_to_date(&mut self, effects: &mut Vec<LearnerEffect>) {
        let (zxid, epoch) = (epoch_zxid(self.epoch), self.epoch);
        assert!(self.config.current_epoch == epoch, "clients come after the current epoch");
        // Java's leaders send the one that is proposed last, committed or not: where it is not,
        // its commit is still to come.
        let pending = |it: &Arc<Membership>| self.history.is_pending(Zxid(it.version()), epoch);
        if let Some(membership) = self.membership.take().filter(|it| !pending(it)) {
            effects.push(LearnerEffect::Activate { zxid, membership, designated: None });
        }
        effects.push(LearnerEffect::Serve { epoch });
        self.send(PacketType::Ack, zxid, None, effects);
        self.phase = Phase::Serving;
        self.acknowledge(effects);
    }
}
