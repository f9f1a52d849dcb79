//! A leader: it makes its history the ensemble's, and orders everything that follows (Java:
//! `Leader`, `LearnerHandler`).
//!
//! The order of things, each a quorum's agreement: an epoch that nobody of a quorum has accepted
//! before (discovery); no voter of a quorum has more than this server (ACKEPOCH); a quorum has
//! this server's history on disk (NEWLEADER); and then each proposal. A server that comes later
//! goes the same way alone.
//!
//! What differs from Java, within the protocol: discovery and ACKEPOCH need quorums of a pending
//! configuration too; a voter that is ahead ends this leadership at once, and one that has accepted
//! a later epoch as well, which could not follow before the next election; so does a quorum's
//! leaving before the epoch has begun; pings begin with
//! NEWLEADER, so that learners do not give up while the others synchronise; a sync, this server's
//! own clients' included, waits until a quorum has answered a ping that was sent after it, so that
//! a deposed leader answers none (ZOOKEEPER-1675); a voter's acknowledgements count without gaps
//! only, and no longer once it synchronises anew.
//!
//! # Layout
//! - `types`: what it is told and what it asks for
//! - `link`: one learner's connection
//! - `discovery`: epoch, NEWLEADER, the beginning of the epoch
//! - `synchronise`: the history for a learner
//! - `proposals`: acknowledgements and quorums
//! - `broadcast`: proposals, commits, reconfigurations
//! - `gate`: commits behind the answer to a sync
//! - `load`: what learners' requests take of this server's memory
//! - `tenure`: pings, silence, syncs, the end

mod broadcast;
mod discovery;
mod gate;
mod link;
mod load;
mod proposals;
mod synchronise;
mod tenure;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::wire::Encode;
use rookeeper_jute::{Reader, ServerId, SessionId, Zxid};

use crate::links::ConnectionId;
use crate::membership::Membership;
use crate::outgoing::Outgoing;
use crate::quorum::{Ensemble, Oracle, Tally};
use crate::sync::{LogIndex, SyncRules};
use crate::wire;

pub(crate) use link::{
    INTRODUCTION_LEN_MAX, LEARNERS_MAX, STRANGERS_MAX, each_packet, introduction,
};
use link::{Link, LinkPhase};
pub(crate) use load::Loads;
pub use load::REVALIDATION_LEN;
use proposals::Proposals;
use tenure::{Stopping, Sync};
pub use types::{LeaderConfig, LeaderEffect, LeaderEnd, LeaderInput, LinkEnd, LoadLimits};

/// How far this server has come as a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before [`LeaderInput::Start`].
    Idle,
    /// A quorum has to arrive.
    Discovery,
    /// The epoch is being written.
    Accepting,
    /// A quorum has to acknowledge the epoch.
    EpochAcks,
    /// A quorum has to take over the history.
    Synchronising,
    /// Proposals.
    Broadcasting,
    /// The end.
    Over,
}

/// What operators see of one learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerReport {
    /// Its connection.
    pub connection: ConnectionId,
    /// Who it is; 0 where it has not said so.
    pub server: ServerId,
    /// It came as an observer.
    pub observer: bool,
    /// It gets what is proposed and committed (Java: a forwarding follower).
    pub forwarding: bool,
    /// It serves clients.
    pub up: bool,
    /// Until then, in monotonic milliseconds, it is taken for one that is there (Java:
    /// `LearnerHandler.synced`).
    pub heard_until_ms: u64,
}

/// What operators see of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderReport {
    /// The epoch, once it is certain.
    pub epoch: Option<i64>,
    /// It may propose.
    pub established: bool,
    /// The last proposal.
    pub proposed: Zxid,
    /// The last commit.
    pub committed: Zxid,
    /// Syncs that wait (Java: `pending_syncs`).
    pub pending_syncs: usize,
    /// The learners.
    pub learners: Vec<LearnerReport>,
}

/// A leader.
#[derive(Debug)]
pub struct Leader {
    config: LeaderConfig,
    ensemble: Ensemble,
    oracle: Oracle,
    /// Everything in this server's log, or on its way there.
    history: LogIndex,
    /// What of it is committed: what was there at the beginning, and what was since.
    committed_history: LogIndex,
    phase: Phase,
    started_ms: u64,
    phase_ends_ms: u64,
    epoch: i64,
    arrived: Tally,
    epoch_acks: Tally,
    /// Voters that cannot acknowledge the epoch: they had accepted it before they were asked, or
    /// have more than this server.
    epoch_spent: BTreeSet<ServerId>,
    /// A voter that has more was sent away.
    passed_over: bool,
    /// Voters that elect anew, and did not come since.
    left: BTreeSet<ServerId>,
    /// Voters that came to this leader, those that have gone since too.
    came: BTreeSet<ServerId>,
    new_leader_acks: Tally,
    current_written: bool,
    links: BTreeMap<ConnectionId, Link>,
    loads: Loads,
    proposals: Proposals,
    pending: Option<(Zxid, Arc<Membership>)>,
    /// Another server leads after the last commit; this one waits for its followers to leave.
    successor: Option<(ServerId, u64)>,
    /// Learners whose history could not be read from disk.
    snapshot_next: BTreeSet<ServerId>,
    half_tick_at_ms: u64,
    whole_tick: bool,
    round: u64,
    syncs: VecDeque<Sync>,
    stopping: Option<Stopping>,
}

impl Leader {
    /// A server that has won an election. `history` is what it can prove to have, up to the end
    /// of its log.
    ///
    /// # Panics
    /// If the history goes beyond `config.last_zxid`.
    pub fn new(config: LeaderConfig, history: LogIndex, now_ms: u64) -> Leader {
        assert!(history.last() <= config.last_zxid, "the log holds the history");
        let ensemble = config.ensemble.clone();
        let tally = Tally::new(&ensemble);
        Leader {
            ensemble,
            oracle: config.oracle,
            committed_history: history.clone(),
            history,
            phase: Phase::Idle,
            started_ms: now_ms,
            phase_ends_ms: now_ms,
            epoch: config.accepted_epoch.max(config.current_epoch).saturating_add(1),
            arrived: tally.clone(),
            epoch_acks: tally.clone(),
            epoch_spent: BTreeSet::new(),
            passed_over: false,
            left: BTreeSet::new(),
            came: BTreeSet::new(),
            new_leader_acks: tally,
            current_written: false,
            links: BTreeMap::new(),
            loads: Loads::new(config.load),
            proposals: Proposals::new(config.me, config.last_zxid),
            pending: None,
            successor: None,
            snapshot_next: BTreeSet::new(),
            half_tick_at_ms: now_ms,
            whole_tick: false,
            round: 0,
            syncs: VecDeque::new(),
            stopping: None,
            config,
        }
    }

    /// Takes one input at the monotonic time `now_ms`.
    pub fn step(&mut self, now_ms: u64, input: LeaderInput<'_>, effects: &mut Vec<LeaderEffect>) {
        if self.phase == Phase::Over {
            if let LeaderInput::Accepted(connection) = input {
                effects.push(LeaderEffect::Close { connection, reason: LinkEnd::LeaderEnded });
            }
            return;
        }
        match input {
            LeaderInput::Start => self.start(now_ms, effects),
            LeaderInput::Accepted(connection) => self.accepted(now_ms, connection, effects),
            LeaderInput::Received { connection, bytes } => {
                self.received(now_ms, connection, bytes, effects);
            }
            LeaderInput::Written(connection) => self.written(now_ms, connection),
            LeaderInput::Closed(connection) => {
                self.forget(connection, effects);
                self.goes_on_without(effects);
                self.conclude(now_ms, effects);
            }
            LeaderInput::Tick => self.tick(now_ms, effects),
            LeaderInput::EpochWritten(kind) => self.epoch_written(now_ms, kind, effects),
            LeaderInput::Proposed(segment) => self.propose(now_ms, &segment, effects),
            LeaderInput::Release => self.send_proposed(now_ms, effects),
            LeaderInput::Durable(zxid) => {
                let before = self.proposals.durable();
                self.proposals.durable_through(zxid);
                self.tell_acks(self.config.me, before, zxid, effects);
                self.advance(now_ms, effects);
            }
            LeaderInput::SyncWanted { ticket, connection } => {
                self.sync_wanted(ticket, connection, effects);
            }
            LeaderInput::Revalidated { connection, session, valid } => {
                self.revalidated(now_ms, connection, session, valid, effects);
            }
            LeaderInput::Done { connection, requests, bytes } => {
                self.loads.remove(connection, requests, bytes);
                self.resume_reading(now_ms, effects);
            }
            LeaderInput::HistoryFailed { connection, unproven } => {
                self.history_failed(connection, unproven, effects);
            }
            LeaderInput::LogsFrom(first) => {
                self.history.forget_before(first);
                self.committed_history.forget_before(first);
            }
            LeaderInput::Reconfigured { zxid, membership } => {
                self.reconfigured(zxid, membership, effects);
            }
            LeaderInput::Oracle(oracle) => {
                self.oracle = oracle;
                self.try_epoch(effects);
                self.try_synchronise(now_ms, effects);
                self.try_establish(now_ms, effects);
                self.advance(now_ms, effects);
            }
            LeaderInput::VoterLooks(server) => self.voter_looks(now_ms, server, effects),
            LeaderInput::VoterLeft(server) => self.voter_left(server, effects),
            LeaderInput::VoterAway(server) => self.voter_away(server, effects),
            LeaderInput::Stop => self.stop(now_ms, effects),
        }
    }

    /// When [`LeaderInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!matches!(self.phase, Phase::Idle | Phase::Over)).then_some(self.half_tick_at_ms)
    }

    /// Changes what bounds the choice between log and snapshot, for learners that come from now on.
    pub fn set_sync_rules(&mut self, rules: SyncRules) {
        self.config.sync = rules;
    }

    /// Everything in this server's log or on its way there: its history once it leads no longer.
    pub fn history(&self) -> &LogIndex {
        &self.history
    }

    /// The configurations that decide.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// What operators see.
    pub fn report(&self) -> LeaderReport {
        let certain = !matches!(self.phase, Phase::Idle | Phase::Discovery | Phase::Accepting);
        let learner = |(connection, link): (&ConnectionId, &Link)| LearnerReport {
            connection: *connection,
            server: link.server,
            observer: link.observer,
            forwarding: link.phase.forwards(),
            up: link.phase == LinkPhase::UpToDate,
            heard_until_ms: link.heard_until_ms,
        };
        LeaderReport {
            epoch: certain.then_some(self.epoch),
            established: self.phase == Phase::Broadcasting && self.successor.is_none(),
            proposed: self.proposals.proposed(),
            committed: self.proposals.committed(),
            pending_syncs: self.syncs.len(),
            learners: self.links.iter().map(learner).collect(),
        }
    }

    fn init_limit_ms(&self) -> u64 {
        u64::from(self.config.init_limit).saturating_mul(self.config.tick_time_ms)
    }

    fn sync_limit_ms(&self) -> u64 {
        u64::from(self.config.sync_limit).saturating_mul(self.config.tick_time_ms)
    }

    /// The epoch's counter 0, which stands for the epoch in packets.
    fn epoch_zxid(&self) -> Zxid {
        wire::epoch_zxid(self.epoch)
    }

    /// Nobody has shown who it is yet: what strangers can hold is little.
    fn accepted(&mut self, now_ms: u64, connection: ConnectionId, effects: &mut Vec<LeaderEffect>) {
        if self.links.len() >= link::LEARNERS_MAX {
            let reason = LinkEnd::TooMany;
            return effects.push(LeaderEffect::Close { connection, reason });
        }
        let strangers = self.links.iter().filter(|(_, link)| link.phase == LinkPhase::Info);
        let strangers: Vec<ConnectionId> = strangers.map(|(stranger, _)| *stranger).collect();
        if strangers.len() >= link::STRANGERS_MAX {
            self.close(strangers[0], LinkEnd::TooMany, effects);
        }
        let silent_at_ms = now_ms.saturating_add(self.init_limit_ms());
        let heard_until_ms = silent_at_ms.saturating_add(self.sync_limit_ms());
        let link = Link::new(heard_until_ms, silent_at_ms);
        self.links.insert(connection, link);
    }

    /// The driver is still busy with what this learner waits for.
    fn written(&mut self, now_ms: u64, connection: ConnectionId) {
        let silent_at_ms = now_ms.saturating_add(self.init_limit_ms());
        if let Some(link) = self.links.get_mut(&connection)
            && link.phase == LinkPhase::NewLeader
        {
            link.silent_at_ms = Some(silent_at_ms);
            link.heard_until_ms = link.heard_until_ms.max(silent_at_ms);
        }
    }

    fn received(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        bytes: &[u8],
        effects: &mut Vec<LeaderEffect>,
    ) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let Some(mut reader) = link.reader.take() else { return };
        link::each_packet(&mut reader, bytes, |packet| {
            let handled =
                packet.and_then(|packet| self.packet(now_ms, connection, &packet, effects));
            if let Err(reason) = handled {
                self.close(connection, reason, effects);
            }
            let stranger = self.links.get(&connection)?.phase == LinkPhase::Info;
            Some(if stranger { INTRODUCTION_LEN_MAX } else { self.config.packet_len_max })
        });
        if let Some(link) = self.links.get_mut(&connection) {
            link.reader = Some(reader);
            if self.loads.pause(connection) {
                effects.push(LeaderEffect::PauseReading(connection));
            }
        }
        self.advance(now_ms, effects);
    }

    fn packet(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        packet: &QuorumPacket<'_>,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let sync_limit_ms = self.sync_limit_ms();
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        let packet_type = PacketType::from_i32(packet.packet_type);
        if link.phase == LinkPhase::UpToDate {
            link.heard_until_ms = now_ms.saturating_add(sync_limit_ms);
            link.silent_at_ms = Some(link.heard_until_ms);
        }
        match (link.phase, packet_type) {
            (LinkPhase::Info, _) => {
                let introduction = link::introduction(packet)?;
                self.introduced(now_ms, connection, introduction, effects)
            }
            (LinkPhase::AckEpoch, Some(PacketType::AckEpoch)) => {
                let mut data = Reader::new(packet.data.unwrap_or_default());
                let epoch: i32 = data.read().map_err(wire::PacketError::from)?;
                self.epoch_acked(now_ms, connection, epoch, packet.zxid, effects)
            }
            (phase, Some(PacketType::Ack)) if phase.forwards() => {
                self.acked(now_ms, connection, packet.zxid, effects)
            }
            (LinkPhase::Acked, Some(PacketType::Ping)) => Ok(()),
            (LinkPhase::UpToDate, Some(packet_type)) => {
                self.served(connection, packet_type, packet, effects)
            }
            // Java shrugs at types that it does not know.
            (LinkPhase::UpToDate, None) => Ok(()),
            _ => Err(LinkEnd::OutOfTurn(packet.packet_type)),
        }
    }

    /// A packet of a learner that serves clients.
    fn served(
        &mut self,
        connection: ConnectionId,
        packet_type: PacketType,
        packet: &QuorumPacket<'_>,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        let data = packet.data.unwrap_or_default();
        match packet_type {
            PacketType::Ping => {
                if let Some((round, zxid)) = link.pings.pop_front() {
                    if zxid != packet.zxid {
                        return Err(LinkEnd::WrongPing);
                    }
                    link.answered = round;
                }
                let sessions = wire::read_touches(data)?;
                if !sessions.is_empty() {
                    effects.push(LeaderEffect::Touched { connection, sessions });
                }
            }
            PacketType::Revalidate => {
                let mut reader = Reader::new(data);
                let session: SessionId = reader.read().map_err(wire::PacketError::from)?;
                let timeout_ms: i32 = reader.read().map_err(wire::PacketError::from)?;
                self.loads.add(connection, 1, REVALIDATION_LEN);
                effects.push(LeaderEffect::Revalidate { connection, session, timeout_ms });
            }
            PacketType::Request => {
                let request = wire::read_request(packet, &mut link.identities)?;
                let learner = link.server;
                self.loads.add(connection, 1, request.held_len());
                effects.push(LeaderEffect::Forwarded { connection, learner, request });
            }
            _ => {}
        }
        Ok(())
    }

    fn revalidated(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        session: SessionId,
        valid: bool,
        effects: &mut Vec<LeaderEffect>,
    ) {
        // What the session asked for elsewhere goes before the word that lets it in, or a client
        // that begins its numbers anew is answered for what it was before. Observers hear of it
        // when it is committed.
        self.send_proposed_to(connection, now_ms, effects);
        let Some(link) = self.links.get_mut(&connection) else { return };
        if link.phase != LinkPhase::UpToDate {
            return;
        }
        let mut data = session.to_bytes();
        valid.encode(&mut data);
        let mut answer = Vec::new();
        wire::packet(PacketType::Revalidate, Zxid::NONE, Some(&data), &mut answer);
        let after = if link.observer { self.proposals.proposed() } else { Zxid::ZERO };
        link.answer_after(after, answer);
        self.send_answers(effects);
    }

    /// Words on sessions that nothing goes before any more.
    fn send_answers(&mut self, effects: &mut Vec<LeaderEffect>) {
        let committed = self.proposals.committed();
        for (connection, link) in &mut self.links {
            while let Some(answer) = link.next_answer(committed) {
                let (connection, item) = (*connection, Outgoing::Bytes(answer));
                effects.push(LeaderEffect::Send { connection, item });
            }
        }
    }

    /// Closes a connection from this side.
    fn close(
        &mut self,
        connection: ConnectionId,
        reason: LinkEnd,
        effects: &mut Vec<LeaderEffect>,
    ) {
        self.forget(connection, effects);
        effects.push(LeaderEffect::Close { connection, reason });
    }

    /// Goes on with learners that were not read; what they said meanwhile is still to come.
    fn resume_reading(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        let silent_at_ms = now_ms.saturating_add(self.sync_limit_ms());
        for connection in self.loads.resume() {
            if let Some(link) = self.links.get_mut(&connection) {
                link.excuse(now_ms, silent_at_ms);
                effects.push(LeaderEffect::ResumeReading(connection));
            }
        }
    }

    fn forget(&mut self, connection: ConnectionId, effects: &mut Vec<LeaderEffect>) {
        self.loads.ended(connection);
        let Some(link) = self.links.remove(&connection) else { return };
        if !self.ensemble.is_voter(link.server) {
            self.proposals.forget(link.server);
        }
        if link.phase == LinkPhase::UpToDate {
            effects.push(LeaderEffect::LearnerGone(connection));
        }
    }

    fn close_all(&mut self, reason: LinkEnd, effects: &mut Vec<LeaderEffect>) {
        let connections: Vec<ConnectionId> = self.links.keys().copied().collect();
        for connection in connections {
            self.close(connection, reason, effects);
        }
        self.phase = Phase::Over;
    }

    fn abandon(&mut self, end: LeaderEnd, effects: &mut Vec<LeaderEffect>) {
        self.close_all(LinkEnd::LeaderEnded, effects);
        effects.push(LeaderEffect::Abandon(end));
    }

    /// Before the epoch has begun it cannot begin any more once too few voters are left: who looks
    /// joins a leader only that a quorum has. Java waits for all of `initLimit`.
    fn voter_left(&mut self, server: ServerId, effects: &mut Vec<LeaderEffect>) {
        if matches!(self.phase, Phase::Idle | Phase::Broadcasting) {
            return;
        }
        self.left.insert(server);
        let mut stay = Tally::new(&self.ensemble);
        for voter in self.ensemble.voters().difference(&self.left) {
            stay.add(*voter);
        }
        if !stay.is_quorum(self.oracle) {
            self.abandon(LeaderEnd::Deserted, effects);
        }
    }

    /// Who has no history comes only once a quorum of the others follows, and who has another
    /// leader once that one has ended: it is nobody to wait for, unless it is here by now, and has
    /// said so before. (Java waits for all of `initLimit` for those who elected it and then led or
    /// followed elsewhere.)
    fn voter_away(&mut self, server: ServerId, effects: &mut Vec<LeaderEffect>) {
        if !self.is_here(server) {
            self.voter_left(server, effects);
        }
    }

    fn is_here(&self, server: ServerId) -> bool {
        self.links.values().any(|link| link.server == server)
    }

    /// Who has been here, has gone, and looks, elects anew, though perhaps in an earlier round: it
    /// was started again.
    fn voter_looks(&mut self, now_ms: u64, server: ServerId, effects: &mut Vec<LeaderEffect>) {
        if self.came.contains(&server) && !self.is_here(server) {
            self.voter_left(server, effects);
        }
        let waits = matches!(self.phase, Phase::Discovery);
        let waited_ms = now_ms.saturating_sub(self.started_ms);
        let too_long = self.config.epoch_wait_ms_max.is_some_and(|max_ms| waited_ms > max_ms);
        if waits && too_long && self.config.supporters.contains(&server) {
            self.abandon(LeaderEnd::VoterLeft(server), effects);
        }
    }
}
