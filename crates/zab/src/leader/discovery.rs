//! From a won election to the epoch's beginning: which epoch, who has more, who has the history.

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, Zxid};
use std::sync::Arc;

use super::link::{self, Introduction, LinkPhase};
use super::types::{LeaderEffect, LeaderEnd, LinkEnd};
use super::{Leader, Phase};
use crate::EpochKind;
use crate::links::ConnectionId;
use crate::quorum::{Ensemble, Tally};
use crate::wire;

impl Leader {
    pub(super) fn start(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        assert!(self.phase == Phase::Idle, "a leader starts once");
        self.phase = Phase::Discovery;
        self.started_ms = now_ms;
        self.phase_ends_ms = now_ms.saturating_add(self.init_limit_ms());
        self.half_tick_at_ms = now_ms.saturating_add(self.config.tick_time_ms / 2);
        if self.epoch > i64::from(i32::MAX) {
            self.abandon(LeaderEnd::EpochsExhausted, effects);
            return;
        }
        self.arrived.add(self.config.me);
        self.try_epoch(effects);
    }

    /// A learner has said who it is and what it has accepted.
    pub(super) fn introduced(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        introduction: Introduction,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let Introduction { server, observer, accepted_epoch, config_version } = introduction;
        if server == self.config.me {
            return Err(LinkEnd::OwnId);
        }
        let own_version = self.ensemble.committed().version();
        if config_version.is_some_and(|version| version > own_version) {
            return Err(LinkEnd::ConfigurationAhead);
        }
        self.replace(connection, server, effects);
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        (link.server, link.observer) = (server, observer);
        (link.phase, link.silent_at_ms) = (LinkPhase::Epoch, None);
        self.left.remove(&server);
        if self.ensemble.is_voter(server) {
            self.came.insert(server);
        }
        if matches!(self.phase, Phase::Idle | Phase::Discovery) {
            self.epoch = self.epoch.max(accepted_epoch + 1);
            // A change that is pending may make voters of servers that have not heard of it: they
            // come as observers, promise what voters do, and count where they vote (Java:
            // `Leader.isParticipant`, by the id).
            self.arrived.add(server);
            self.try_epoch(effects);
        } else if accepted_epoch > self.epoch && !observer && self.ensemble.is_voter(server) {
            // Java's ends for nobody. Whoever else comes gives up when it hears of the epoch, also
            // one that votes in the pending change and does not know it: where that is needed
            // there is no quorum for long, and the next leader's epoch is later.
            self.abandon(LeaderEnd::EpochPassed { server, accepted_epoch }, effects);
        } else if self.phase != Phase::Accepting {
            self.tell_epoch(now_ms, connection, effects);
        }
        Ok(())
    }

    /// Ends an older connection of the same server, which has lost it without our knowing.
    fn replace(
        &mut self,
        connection: ConnectionId,
        server: rookeeper_jute::ServerId,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let old = self.links.iter().find(|(id, link)| {
            **id != connection && link.phase != LinkPhase::Info && link.server == server
        });
        if let Some((old, _)) = old {
            self.close(*old, LinkEnd::Replaced, effects);
        }
    }

    /// Fixes the epoch once a quorum, this server included, has said what it accepted.
    pub(super) fn try_epoch(&mut self, effects: &mut Vec<LeaderEffect>) {
        let with_me = self.arrived.servers().contains(&self.config.me);
        if self.phase == Phase::Discovery && with_me && self.arrived.is_quorum(self.oracle) {
            assert!(
                self.epoch > self.config.accepted_epoch && self.epoch > self.config.current_epoch,
                "epochs never go back"
            );
            self.phase = Phase::Accepting;
            let (kind, epoch) = (EpochKind::Accepted, self.epoch);
            effects.push(LeaderEffect::WriteEpoch { kind, epoch });
        }
    }

    pub(super) fn epoch_written(
        &mut self,
        now_ms: u64,
        kind: EpochKind,
        effects: &mut Vec<LeaderEffect>,
    ) {
        match (kind, self.phase) {
            (EpochKind::Accepted, Phase::Accepting) => {
                self.phase = Phase::EpochAcks;
                self.phase_ends_ms = now_ms.saturating_add(self.init_limit_ms());
                self.version_first_configuration(effects);
                self.new_leader_acks = Tally::new(&self.ensemble);
                self.epoch_acks.add(self.config.me);
                let waiting = self.links.iter().filter(|(_, link)| link.phase == LinkPhase::Epoch);
                let waiting: Vec<ConnectionId> = waiting.map(|(id, _)| *id).collect();
                for connection in waiting {
                    self.tell_epoch(now_ms, connection, effects);
                }
                self.try_synchronise(now_ms, effects);
            }
            (EpochKind::Current, Phase::Synchronising) => {
                self.current_written = true;
                self.new_leader_acks.add(self.config.me);
                self.try_establish(now_ms, effects);
            }
            _ => {}
        }
    }

    /// A configuration that never had a version gets the epoch's, and takes precedence from now
    /// on over those that have none (ZOOKEEPER-1783).
    fn version_first_configuration(&mut self, effects: &mut Vec<LeaderEffect>) {
        let committed = self.ensemble.committed().clone();
        if committed.version() == 0 && self.ensemble.last_seen().version() == 0 {
            let versioned = Arc::unwrap_or_clone(committed.clone());
            let last_seen = Arc::new(versioned.with_version(self.epoch_zxid().0));
            self.ensemble = Ensemble::with_last_seen(committed, last_seen.clone());
            effects.push(LeaderEffect::LastSeen(last_seen));
        }
    }

    /// LEADERINFO.
    fn tell_epoch(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let silent_at_ms = now_ms.saturating_add(self.init_limit_ms());
        let zxid = self.epoch_zxid();
        let Some(link) = self.links.get_mut(&connection) else { return };
        (link.phase, link.silent_at_ms) = (LinkPhase::AckEpoch, Some(silent_at_ms));
        let data = wire::leader_info();
        effects.push(link::packet(connection, PacketType::LeaderInfo, zxid, Some(&data)));
    }

    /// ACKEPOCH: `current_epoch` is -1 where the learner had accepted this epoch before; that
    /// does not count.
    pub(super) fn epoch_acked(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        current_epoch: i32,
        last_zxid: Zxid,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        (link.phase, link.silent_at_ms) = (LinkPhase::History(last_zxid), None);
        let (server, observer) = (link.server, link.observer);
        if self.phase != Phase::EpochAcks {
            return self.synchronise(now_ms, connection, effects);
        }
        if current_epoch != -1 {
            let own = (self.config.current_epoch, self.config.last_zxid);
            let has_more = (i64::from(current_epoch), last_zxid) > own;
            if has_more && !mutation::is_on(Mutation::AheadIgnored) {
                return self.has_more(server, observer, effects);
            }
            if last_zxid != Zxid::NONE {
                self.epoch_acks.add(server);
            }
        } else if self.ensemble.is_voter(server) {
            self.epoch_spent.insert(server);
        }
        self.try_synchronise(now_ms, effects);
        if self.phase == Phase::EpochAcks && !self.can_be_acked() {
            self.abandon(LeaderEnd::EpochSpent, effects);
        }
        Ok(())
    }

    /// A voter in force that has more is who should lead (Java), if its vote weighs anything, and
    /// if it knows that it votes. One that votes only in the change that is pending may have nobody
    /// to elect it, and would come again and end each leader that has a quorum without it. None of
    /// what it has more is committed then: some of those that committed it would be in the quorum,
    /// and have as much. It is cut back when it comes again.
    fn has_more(
        &mut self,
        server: ServerId,
        observer: bool,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        if !self.ensemble.is_voter(server) {
            return Err(LinkEnd::Ahead);
        }
        self.epoch_spent.insert(server);
        let committed = self.ensemble.committed();
        let may_lead = committed.is_voter(server) && committed.weight(server) > 0 && !observer;
        if !may_lead && self.can_be_acked_by_those_here() {
            self.passed_over = true;
            return Err(LinkEnd::Ahead);
        }
        self.abandon(LeaderEnd::FollowerAhead(server), effects);
        Ok(())
    }

    /// Whether a quorum can still acknowledge the epoch. Each voter does so once.
    fn can_be_acked(&self) -> bool {
        self.would_be_acked_by(|_| true)
    }

    /// The same of those alone that have come and have not gone.
    fn can_be_acked_by_those_here(&self) -> bool {
        self.would_be_acked_by(|server| server == self.config.me || self.is_here(server))
    }

    fn would_be_acked_by(&self, comes: impl Fn(ServerId) -> bool) -> bool {
        let mut left = self.epoch_acks.clone();
        for server in self.ensemble.voters().difference(&self.epoch_spent) {
            if comes(*server) {
                left.add(*server);
            }
        }
        left.is_quorum(self.oracle)
    }

    /// A connection has ended. Where somebody was passed over that has more, nobody else is waited
    /// for: it may be needed after all.
    pub(super) fn goes_on_without(&mut self, effects: &mut Vec<LeaderEffect>) {
        let waits = self.phase == Phase::EpochAcks && self.passed_over;
        if waits && !self.can_be_acked_by_those_here() {
            self.abandon(LeaderEnd::EpochSpent, effects);
        }
    }

    /// Begins to hand out the history once a quorum, this server included, has acknowledged the
    /// epoch and has no more than this server.
    pub(super) fn try_synchronise(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        let with_me = self.epoch_acks.servers().contains(&self.config.me);
        if self.phase != Phase::EpochAcks || !with_me || !self.epoch_acks.is_quorum(self.oracle) {
            return;
        }
        self.phase = Phase::Synchronising;
        self.phase_ends_ms = now_ms.saturating_add(self.init_limit_ms());
        let (kind, epoch) = (EpochKind::Current, self.epoch);
        effects.push(LeaderEffect::WriteEpoch { kind, epoch });
        let waiting: Vec<ConnectionId> = self.links.keys().copied().collect();
        for connection in waiting {
            if let Err(reason) = self.synchronise(now_ms, connection, effects) {
                self.close(connection, reason, effects);
            }
        }
    }

    /// ACK of NEWLEADER, or of a proposal.
    pub(super) fn acked(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        zxid: Zxid,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let epoch_zxid = self.epoch_zxid();
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        if link.phase == LinkPhase::NewLeader && zxid == epoch_zxid {
            link.phase = LinkPhase::Acked;
            link.silent_at_ms = None;
            let step = link.syncing.take();
            let server = link.server;
            if let Some(step) = step {
                let under_way = self.under_way(step);
                effects.push(LeaderEffect::Syncs { step, under_way, begins: false });
            }
            self.snapshot_next.remove(&server);
            if self.phase == Phase::Broadcasting {
                self.up_to_date(now_ms, connection, effects);
            } else {
                self.new_leader_acks.add(server);
                self.try_establish(now_ms, effects);
            }
            return Ok(());
        }
        // UPTODATE is acknowledged like NEWLEADER, and means nothing. Some versions acknowledge
        // the history as well.
        if zxid.counter() == 0 || link.observer || zxid <= self.config.last_zxid {
            return Ok(());
        }
        let server = link.server;
        if link.lacks(zxid) || !self.proposals.acknowledge(server, zxid) {
            return Err(LinkEnd::FutureAck(zxid));
        }
        if let Some(through) = self.proposals.acknowledged(server) {
            link.paid(through);
        }
        self.tell_acks(server, Zxid(zxid.0 - 1), zxid, effects);
        Ok(())
    }

    /// Tells of some of a server's acknowledgements after one zxid and through another, if the
    /// quorum has not got together without it (Java: `Leader.processAck`).
    pub(super) fn tell_acks(
        &self,
        server: ServerId,
        after: Zxid,
        through: Zxid,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let every = i64::from(self.config.ack_logging_frequency);
        if every == 0 || self.phase != Phase::Broadcasting {
            return;
        }
        let after = after.max(self.proposals.committed());
        let first = (after.0 / every + 1) * every;
        let last = through.min(self.proposals.proposed());
        for zxid in (first..=last.0).step_by(every as usize).map(Zxid) {
            effects.push(LeaderEffect::Acknowledged { server, zxid });
        }
    }

    /// Begins the epoch once a quorum, this server included, has the history and the epoch on
    /// disk.
    pub(super) fn try_establish(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        let ready = self.current_written && self.new_leader_acks.is_quorum(self.oracle);
        if self.phase != Phase::Synchronising || !ready {
            return;
        }
        self.phase = Phase::Broadcasting;
        let zxid = self.epoch_zxid();
        let last_seen = self.ensemble.last_seen().clone();
        let mut designated = self.config.me;
        let pending = last_seen.version() > self.ensemble.committed().version();
        if self.config.reconfig_enabled && pending {
            designated = self.designated(&last_seen);
            self.ensemble.adopt(last_seen.clone());
            effects.push(LeaderEffect::Activate { zxid, membership: last_seen, designated });
        }
        let configurations = self.ensemble.deciding().cloned().collect();
        self.proposals.begin(zxid, configurations);
        if designated == self.config.me {
            effects.push(LeaderEffect::Established { epoch: self.epoch });
        } else {
            self.hand_over(now_ms, designated);
        }
        let acked = self.links.iter().filter(|(_, link)| link.phase == LinkPhase::Acked);
        let acked: Vec<ConnectionId> = acked.map(|(id, _)| *id).collect();
        for connection in acked {
            self.up_to_date(now_ms, connection, effects);
        }
        self.conclude(now_ms, effects);
    }

    /// UPTODATE.
    fn up_to_date(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let heard_until_ms = now_ms.saturating_add(self.sync_limit_ms());
        let proposed = self.proposals.proposed();
        let Some(link) = self.links.get_mut(&connection) else { return };
        link.phase = LinkPhase::UpToDate;
        (link.heard_until_ms, link.silent_at_ms) = (heard_until_ms, Some(heard_until_ms));
        let (server, observer) = (link.server, link.observer);
        let through = self.proposals.acknowledged(server);
        if through.is_some_and(|through| through < proposed) {
            link.owes(proposed, now_ms);
        }
        effects.push(link::packet(connection, PacketType::UpToDate, Zxid::NONE, None));
        effects.push(LeaderEffect::LearnerUp { connection, server, observer });
        if !self.syncs.is_empty() {
            self.ping(connection, effects);
        }
    }
}
