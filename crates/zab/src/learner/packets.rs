//! What each packet of the leader is to a learner, by what is under way (Java:
//! `Follower.processPacket`, `Observer.processPacket`, the loop of `Learner.syncWithLeader`).

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{Reader, ServerId, SessionId, Zxid};

use super::transaction::{Kind, inspect};
use super::types::{LearnerEffect, LearnerEnd};
use super::{Phase, State};
use crate::membership::Role;

impl State {
    pub(super) fn packet(
        &mut self,
        packet: &QuorumPacket<'_>,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let (zxid, data) = (packet.zxid, packet.data);
        let Some(packet_type) = PacketType::from_i32(packet.packet_type) else {
            return Err(LearnerEnd::UnknownPacket(packet.packet_type));
        };
        let unexpected =
            LearnerEnd::UnexpectedPacket { packet: packet_type, phase: self.phase.name() };
        match (&self.phase, packet_type) {
            (Phase::Registered, PacketType::LeaderInfo) => self.leader_info(zxid, data, effects),
            (Phase::EpochAcknowledged, PacketType::Diff | PacketType::Trunc | PacketType::Snap) => {
                self.begin(packet_type, zxid, effects)
            }
            (
                Phase::History
                | Phase::Settling { .. }
                | Phase::Settled
                | Phase::Acknowledged
                | Phase::Serving,
                _,
            ) => match self.stream(packet_type, zxid, data, effects)? {
                true => Ok(()),
                false => Err(unexpected),
            },
            _ => Err(unexpected),
        }
    }

    /// Takes a packet after DIFF, TRUNC or SNAP; `false` where it has no place there.
    fn stream(
        &mut self,
        packet_type: PacketType,
        zxid: Zxid,
        data: Option<&[u8]>,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<bool, LearnerEnd> {
        let serving = matches!(self.phase, Phase::Serving);
        let observer = self.config.role == Role::Observer;
        let missing = LearnerEnd::MissingData(packet_type);
        match packet_type {
            // An observer gets those of the history, and learns the others when they are
            // committed. What else comes Java passes over as well.
            PacketType::Proposal | PacketType::Commit | PacketType::CommitAndActivate
                if observer && serving => {}
            PacketType::Proposal => self.proposal(zxid, data.ok_or(missing)?, effects)?,
            PacketType::Commit => drop(self.history.commit(zxid)?),
            PacketType::CommitAndActivate => {
                let designated = Reader::new(data.ok_or(missing)?).read::<ServerId>();
                let designated = designated.map_err(|_| LearnerEnd::MissingData(packet_type))?;
                self.commit_and_activate(zxid, designated, effects)?;
            }
            PacketType::Inform if observer => self.inform(zxid, data.ok_or(missing)?, effects)?,
            PacketType::InformAndActivate if observer => {
                let mut reader = Reader::new(data.ok_or(missing)?);
                let designated = reader.read::<ServerId>();
                let designated = designated.map_err(|_| LearnerEnd::MissingData(packet_type))?;
                self.inform_and_activate(zxid, designated, reader.rest(), effects)?;
            }
            PacketType::NewLeader if matches!(self.phase, Phase::History) => {
                self.history.hand_over(effects);
                self.new_leader(zxid, data, effects)?;
            }
            PacketType::UpToDate if matches!(self.phase, Phase::Acknowledged) => {
                self.history.hand_over(effects);
                self.up_to_date(effects);
            }
            PacketType::Ping if serving => {
                self.history.hand_over(effects);
                self.pings.push_back(zxid);
                effects.push(LearnerEffect::TouchesWanted);
            }
            // Nobody is connected yet; Java's learners answer none either.
            PacketType::Ping => {}
            PacketType::Revalidate if serving => {
                self.history.hand_over(effects);
                let mut reader = Reader::new(data.ok_or(missing)?);
                let answer = (reader.read::<SessionId>(), reader.read::<bool>());
                let (Ok(session), Ok(valid)) = answer else {
                    return Err(LearnerEnd::MissingData(packet_type));
                };
                effects.push(LearnerEffect::Revalidated { session, valid });
            }
            PacketType::Sync if serving => {
                self.history.hand_over(effects);
                effects.push(LearnerEffect::SyncDone);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn proposal(
        &mut self,
        zxid: Zxid,
        txn: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let kind = inspect(zxid, txn).ok_or(LearnerEnd::BadTransaction { zxid })?;
        if let Kind::Reconfiguration(text) = kind {
            let membership = self.read_membership(text)?;
            self.history.hand_over(effects);
            self.history.propose(zxid, self.epoch, txn, effects)?;
            self.history.propose_membership(zxid, membership.clone());
            self.last_seen = None;
            effects.push(LearnerEffect::LastSeen(membership));
            return Ok(());
        }
        self.history.propose(zxid, self.epoch, txn, effects)
    }

    fn commit_and_activate(
        &mut self,
        zxid: Zxid,
        designated: ServerId,
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        let membership = self.history.commit(zxid)?;
        let membership = membership.ok_or(LearnerEnd::NoReconfiguration(zxid))?;
        self.history.hand_over(effects);
        let designated = Some(designated);
        effects.push(LearnerEffect::Activate { zxid, membership, designated });
        Ok(())
    }

    /// A transaction that is committed, at an observer. Leaders before 3.6 also send it the
    /// proposals that are on their way when it comes; then this is their commit.
    fn inform(
        &mut self,
        zxid: Zxid,
        txn: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        if !self.history.is_next(zxid) {
            self.proposal(zxid, txn, effects)?;
        }
        self.history.commit(zxid).map(drop)
    }

    fn inform_and_activate(
        &mut self,
        zxid: Zxid,
        designated: ServerId,
        txn: &[u8],
        effects: &mut Vec<LearnerEffect>,
    ) -> Result<(), LearnerEnd> {
        if !self.history.is_next(zxid) {
            self.proposal(zxid, txn, effects)?;
        }
        self.commit_and_activate(zxid, designated, effects)
    }
}
