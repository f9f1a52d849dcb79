//! The dialogue with each observer (Java: `LearnerHandler.run`, as `ObserverMaster` has it).

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{OpCode, Reader, ServerId, SessionId, Zxid};

use super::ObserverMaster;
use super::types::ObserverMasterEffect;
use crate::leader::{
    INTRODUCTION_LEN_MAX, LEARNERS_MAX, LinkEnd, REVALIDATION_LEN, STRANGERS_MAX, each_packet,
    introduction,
};
use crate::links::ConnectionId;
use crate::outgoing::{Outgoing, RecordsKind};
use crate::sync::{SyncRules, SyncStep, choose};
use crate::wire::{self, PacketError, PacketReader, epoch_zxid};

/// How far an observer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has to say who it is.
    Info,
    /// It has to acknowledge the epoch.
    AckEpoch,
    /// It waits for the history; its last zxid.
    History(Zxid),
    /// It was sent the history and NEWLEADER, and has to acknowledge that.
    NewLeader(SyncStep),
    /// It serves.
    UpToDate,
}

/// The connection to one observer.
#[derive(Debug)]
pub(super) struct Link {
    /// Away while its packets are handled.
    reader: Option<PacketReader>,
    phase: Phase,
    pub(super) server: ServerId,
    /// It has to say something by then.
    silent_at_ms: u64,
}

impl Link {
    /// What is committed is sent to it.
    pub(super) fn forwards(&self) -> bool {
        matches!(self.phase, Phase::NewLeader(_) | Phase::UpToDate)
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::UpToDate
    }
}

impl ObserverMaster {
    fn ticks_from(&self, now_ms: u64, ticks: u32) -> u64 {
        now_ms.saturating_add(self.config.tick_time_ms.saturating_mul(u64::from(ticks)))
    }

    pub(super) fn accepted(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        if self.epoch.is_none() {
            let reason = LinkEnd::LeaderEnded;
            effects.push(ObserverMasterEffect::Close { connection, reason });
            return;
        }
        if self.links.len() >= LEARNERS_MAX {
            let reason = LinkEnd::TooMany;
            return effects.push(ObserverMasterEffect::Close { connection, reason });
        }
        let strangers = self.links.iter().filter(|(_, link)| link.phase == Phase::Info);
        let strangers: Vec<ConnectionId> = strangers.map(|(stranger, _)| *stranger).collect();
        if strangers.len() >= STRANGERS_MAX {
            self.close(strangers[0], LinkEnd::TooMany, effects);
        }
        let reader = Some(PacketReader::new(INTRODUCTION_LEN_MAX));
        let silent_at_ms = self.ticks_from(now_ms, self.config.init_limit);
        let link = Link { reader, phase: Phase::Info, server: ServerId(0), silent_at_ms };
        self.links.insert(connection, link);
    }

    pub(super) fn written(&mut self, now_ms: u64, connection: ConnectionId) {
        let silent_at_ms = self.ticks_from(now_ms, self.config.init_limit);
        if let Some(link) = self.links.get_mut(&connection) {
            link.silent_at_ms = link.silent_at_ms.max(silent_at_ms);
        }
    }

    pub(super) fn forget(
        &mut self,
        connection: ConnectionId,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        self.loads.ended(connection);
        if self.links.remove(&connection).is_some_and(|link| link.is_up()) {
            effects.push(ObserverMasterEffect::ObserverGone(connection));
        }
    }

    pub(super) fn close(
        &mut self,
        connection: ConnectionId,
        reason: LinkEnd,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        self.forget(connection, effects);
        effects.push(ObserverMasterEffect::Close { connection, reason });
    }

    pub(super) fn tick(&mut self, now_ms: u64, effects: &mut Vec<ObserverMasterEffect>) {
        if self.epoch.is_none() || now_ms < self.ping_at_ms {
            return;
        }
        self.ping_at_ms = now_ms.saturating_add((self.config.tick_time_ms / 2).max(1));
        let silent = self.links.iter().filter(|(connection, link)| {
            now_ms >= link.silent_at_ms && !self.loads.is_paused(**connection)
        });
        let silent: Vec<ConnectionId> = silent.map(|(connection, _)| *connection).collect();
        for connection in silent {
            self.close(connection, LinkEnd::Silent, effects);
        }
        let pinged = self.links.iter().filter(|(_, link)| link.forwards());
        let pinged: Vec<ConnectionId> = pinged.map(|(connection, _)| *connection).collect();
        for connection in pinged {
            self.send(connection, PacketType::Ping, self.committed, None, effects);
        }
    }

    pub(super) fn received(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        bytes: &[u8],
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let Some(mut reader) = link.reader.take() else { return };
        each_packet(&mut reader, bytes, |packet| {
            let handled =
                packet.and_then(|packet| self.packet(now_ms, connection, &packet, effects));
            if let Err(reason) = handled {
                self.close(connection, reason, effects);
            }
            let stranger = self.links.get(&connection)?.phase == Phase::Info;
            Some(if stranger { INTRODUCTION_LEN_MAX } else { self.config.packet_len_max })
        });
        if let Some(link) = self.links.get_mut(&connection) {
            link.reader = Some(reader);
            if self.loads.pause(connection) {
                effects.push(ObserverMasterEffect::PauseReading(connection));
            }
        }
    }

    /// Goes on with observers that were not read; what they said meanwhile is still to come.
    pub(super) fn resume_reading(&mut self, now_ms: u64, effects: &mut Vec<ObserverMasterEffect>) {
        let served_ms = self.ticks_from(now_ms, self.config.sync_limit);
        for connection in self.loads.resume() {
            if let Some(link) = self.links.get_mut(&connection) {
                link.silent_at_ms = link.silent_at_ms.max(served_ms);
                effects.push(ObserverMasterEffect::ResumeReading(connection));
            }
        }
    }

    fn packet(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        packet: &QuorumPacket<'_>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) -> Result<(), LinkEnd> {
        let until_served_ms = self.ticks_from(now_ms, self.config.init_limit);
        let served_ms = self.ticks_from(now_ms, self.config.sync_limit);
        let start = epoch_zxid(self.epoch.unwrap_or_default());
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        link.silent_at_ms = if link.is_up() { served_ms } else { until_served_ms };
        let out_of_turn = Err(LinkEnd::OutOfTurn(packet.packet_type));
        let Some(packet_type) = PacketType::from_i32(packet.packet_type) else {
            return out_of_turn;
        };
        match (link.phase, packet_type) {
            (Phase::Info, PacketType::ObserverInfo) => self.introduced(connection, packet, effects),
            (Phase::AckEpoch, PacketType::AckEpoch) => {
                link.phase = Phase::History(packet.zxid);
                self.synchronise(connection, effects)
            }
            (Phase::NewLeader(step), PacketType::Ack) if packet.zxid == start => {
                link.phase = Phase::UpToDate;
                link.silent_at_ms = served_ms;
                let server = link.server;
                let under_way = self.under_way(step);
                effects.push(ObserverMasterEffect::Syncs { step, under_way, begins: false });
                self.snapshot_next.remove(&server);
                self.send(connection, PacketType::UpToDate, Zxid::NONE, None, effects);
                effects.push(ObserverMasterEffect::ObserverUp { connection, server });
                Ok(())
            }
            // UPTODATE is acknowledged like NEWLEADER, and means nothing.
            (Phase::UpToDate, PacketType::Ack) if packet.zxid.counter() == 0 => Ok(()),
            (Phase::UpToDate, PacketType::Ping) => {
                self.touched.extend(wire::read_touches(packet.data.unwrap_or_default())?);
                Ok(())
            }
            (Phase::UpToDate, PacketType::Request) => {
                let mut request = wire::read_request(packet, &mut self.identities)?;
                let bytes = request.held_len();
                self.loads.add(connection, 1, bytes);
                if OpCode::from_i32(request.op) == Some(OpCode::Sync) {
                    self.syncs.push_back(Some((connection, bytes)));
                } else {
                    let key = (request.session, request.cxid);
                    self.requests.entry(key).or_default().push((connection, bytes));
                    self.request_from(Some(connection), &mut request);
                }
                effects.push(ObserverMasterEffect::Forward(request));
                Ok(())
            }
            (Phase::UpToDate, PacketType::Revalidate) => {
                let mut reader = Reader::new(packet.data.unwrap_or_default());
                let session: SessionId = reader.read().map_err(PacketError::from)?;
                let timeout_ms: i32 = reader.read().map_err(PacketError::from)?;
                self.loads.add(connection, 1, REVALIDATION_LEN);
                let asker = Some((connection, REVALIDATION_LEN));
                self.revalidation(session, timeout_ms, asker);
                effects.push(ObserverMasterEffect::Revalidate { session, timeout_ms });
                Ok(())
            }
            _ => out_of_turn,
        }
    }

    fn introduced(
        &mut self,
        connection: ConnectionId,
        packet: &QuorumPacket<'_>,
        effects: &mut Vec<ObserverMasterEffect>,
    ) -> Result<(), LinkEnd> {
        let who = introduction(packet)?;
        if who.server == self.config.me {
            return Err(LinkEnd::OwnId);
        }
        let version = self.ensemble.committed().version();
        if who.config_version.is_some_and(|theirs| theirs > version) {
            return Err(LinkEnd::ConfigurationAhead);
        }
        let old = self.links.iter().find(|(other, link)| {
            **other != connection && link.phase != Phase::Info && link.server == who.server
        });
        if let Some((old, _)) = old {
            self.close(*old, LinkEnd::Replaced, effects);
        }
        let epoch = self.epoch.unwrap_or_default();
        if let Some(link) = self.links.get_mut(&connection) {
            (link.server, link.phase) = (who.server, Phase::AckEpoch);
        }
        let version = wire::leader_info();
        let zxid = epoch_zxid(epoch);
        self.send(connection, PacketType::LeaderInfo, zxid, Some(&version), effects);
        Ok(())
    }

    /// What is committed by now may be what an observer waits for.
    pub(super) fn synchronise_the_waiting(
        &mut self,
        now_ms: u64,
        effects: &mut Vec<ObserverMasterEffect>,
    ) {
        let until_served_ms = self.ticks_from(now_ms, self.config.init_limit);
        let waiting = self.links.iter().filter(|(_, link)| matches!(link.phase, Phase::History(_)));
        let waiting: Vec<ConnectionId> = waiting.map(|(connection, _)| *connection).collect();
        for connection in waiting {
            match self.synchronise(connection, effects) {
                Ok(()) => {
                    if let Some(link) = self.links.get_mut(&connection).filter(|l| l.forwards()) {
                        link.silent_at_ms = until_served_ms;
                    }
                }
                Err(reason) => self.close(connection, reason, effects),
            }
        }
    }

    /// Sends an observer everything up to NEWLEADER; what is committed from now on follows.
    fn synchronise(
        &mut self,
        connection: ConnectionId,
        effects: &mut Vec<ObserverMasterEffect>,
    ) -> Result<(), LinkEnd> {
        let (Some(epoch), Some(link)) = (self.epoch, self.links.get(&connection)) else {
            return Ok(());
        };
        let Phase::History(peer) = link.phase else { return Ok(()) };
        let start = epoch_zxid(epoch);
        let processed = self.committed.max(start);
        if peer > processed && peer.epoch() == start.epoch() {
            return Ok(());
        }
        let force_snapshot =
            self.config.sync.force_snapshot || self.snapshot_next.contains(&link.server);
        let rules = SyncRules { force_snapshot, ..self.config.sync };
        let plan = choose(peer, &self.history, processed, &rules);
        if !self.admits(plan.step) {
            return Err(LinkEnd::TooManySyncs);
        }
        let through = self.history.last();
        let on_disk = through.min(self.durable);
        let after = match plan.step {
            SyncStep::Snap => {
                let item = Outgoing::Snapshot { base: self.history.base(), through: on_disk };
                effects.push(ObserverMasterEffect::Send { connection, item });
                on_disk
            }
            SyncStep::Diff | SyncStep::Trunc => {
                let diff = plan.step == SyncStep::Diff;
                let packet_type = if diff { PacketType::Diff } else { PacketType::Trunc };
                self.send(connection, packet_type, plan.zxid, None, effects);
                plan.after
            }
        };
        // From memory, as far back as that goes; before it, from disk.
        let in_memory_after = after.max(self.recent.base().min(on_disk));
        if after < in_memory_after {
            let item = Outgoing::History { after, through: in_memory_after };
            effects.push(ObserverMasterEffect::Send { connection, item });
        }
        for (segment, range) in self.recent.records(in_memory_after, through) {
            let (segment, kind) = (segment.clone(), RecordsKind::ProposalAndCommit);
            let item = Outgoing::Records { segment, range, kind };
            effects.push(ObserverMasterEffect::Send { connection, item });
        }
        // It takes this one for committed when it is up to date. A first leader's version is no
        // transaction that might not be.
        let last_seen = self.ensemble.last_seen();
        let is_first = Zxid(last_seen.version()).counter() == 0;
        let text = if is_first { last_seen } else { self.ensemble.committed() }.to_string();
        self.send(connection, PacketType::NewLeader, start, Some(text.as_bytes()), effects);
        if let Some(link) = self.links.get_mut(&connection) {
            link.phase = Phase::NewLeader(plan.step);
        }
        let (step, under_way) = (plan.step, self.under_way(plan.step));
        effects.push(ObserverMasterEffect::Syncs { step, under_way, begins: true });
        Ok(())
    }

    fn admits(&self, step: SyncStep) -> bool {
        let snap = step == SyncStep::Snap;
        let max = if snap { self.config.snap_syncs_max } else { self.config.diff_syncs_max };
        self.under_way(step) < max
    }

    /// How many observers synchronise in this way; a TRUNC is a DIFF of another kind.
    fn under_way(&self, step: SyncStep) -> usize {
        let snap = step == SyncStep::Snap;
        let same = |link: &&Link| match link.phase {
            Phase::NewLeader(step) => (step == SyncStep::Snap) == snap,
            _ => false,
        };
        self.links.values().filter(same).count()
    }
}
