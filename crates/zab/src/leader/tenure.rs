//! Staying the leader: pings and their answers, who is silent, syncs, which wait for proof that
//! this server still led after they came, and the end (Java: `Leader.lead`).

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, Zxid};
use std::sync::Arc;

use super::link::{self, LinkPhase};
use super::proposals::agreed;
use super::types::{LeaderEffect, LeaderEnd, LinkEnd};
use super::{Leader, Phase};
use crate::links::ConnectionId;
use crate::membership::Membership;
use crate::quorum::Tally;

/// What a sync that waits is counted for, in bytes.
const SYNC_LEN: usize = 256;

/// A sync that waits.
#[derive(Debug)]
pub(super) struct Sync {
    ticket: u64,
    connection: Option<ConnectionId>,
    /// Committed first.
    after: Zxid,
    /// Answered first, by a quorum: the first round of pings that began after it came.
    round: u64,
}

/// This leader was told to stop.
#[derive(Debug)]
pub(super) struct Stopping {
    since_ms: u64,
    /// The round of pings after the last commit: who answers has seen all commits.
    round: Option<u64>,
}

impl Leader {
    pub(super) fn tick(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        if now_ms < self.half_tick_at_ms || self.phase == Phase::Idle {
            return;
        }
        self.half_tick_at_ms = now_ms.saturating_add((self.config.tick_time_ms / 2).max(1));
        self.whole_tick = !self.whole_tick;
        let late = now_ms >= self.phase_ends_ms;
        let end = match self.phase {
            Phase::Discovery if late => Some(LeaderEnd::EpochTimeout),
            Phase::EpochAcks if late => Some(LeaderEnd::EpochAckTimeout),
            Phase::Synchronising if late => Some(LeaderEnd::SyncTimeout),
            _ => None,
        };
        if let Some(end) = end {
            self.abandon(end, effects);
            return;
        }
        self.close_the_silent(now_ms, effects);
        if self.phase == Phase::Broadcasting
            && self.successor.is_none()
            && !self.whole_tick
            && !self.has_quorum(now_ms)
        {
            self.abandon(LeaderEnd::QuorumLost, effects);
            return;
        }
        self.begin_round(effects);
        self.confirm_syncs(effects);
        self.resume_reading(now_ms, effects);
        self.conclude(now_ms, effects);
    }

    fn close_the_silent(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        let sync_limit_ms = self.sync_limit_ms();
        let verdict = |link: &link::Link| {
            if link.silent_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                Some(LinkEnd::Silent)
            } else {
                link.owes_since(now_ms, sync_limit_ms).then_some(LinkEnd::ProposalTimeout)
            }
        };
        let late: Vec<(ConnectionId, LinkEnd)> = self
            .links
            .iter()
            .filter(|(id, _)| !self.loads.is_paused(**id))
            .filter_map(|(id, link)| Some((*id, verdict(link)?)))
            .collect();
        for (connection, reason) in late {
            self.close(connection, reason, effects);
        }
    }

    /// Whether enough voters were heard of in time.
    fn has_quorum(&self, now_ms: u64) -> bool {
        let mut heard = Tally::new(&self.ensemble);
        heard.add(self.config.me);
        for link in self.links.values() {
            if link.counts() && now_ms <= link.heard_until_ms {
                heard.add(link.server);
            }
        }
        heard.is_quorum(self.oracle)
    }

    /// Pings all learners.
    fn begin_round(&mut self, effects: &mut Vec<LeaderEffect>) {
        self.round += 1;
        let connections: Vec<ConnectionId> = self.links.keys().copied().collect();
        for connection in connections {
            self.ping(connection, effects);
        }
    }

    /// The last round that a quorum has answered.
    fn confirmed_round(&self) -> u64 {
        let mut marks: Vec<(ServerId, u64)> = vec![(self.config.me, self.round)];
        let learners = self.links.values().filter(|link| link.counts());
        marks.extend(learners.map(|link| (link.server, link.answered)));
        let deciding: Vec<Arc<Membership>> = self.ensemble.deciding().cloned().collect();
        agreed(&deciding, self.oracle, self.config.me, &marks).unwrap_or(0)
    }

    pub(super) fn sync_wanted(
        &mut self,
        ticket: u64,
        connection: Option<ConnectionId>,
        effects: &mut Vec<LeaderEffect>,
    ) {
        if self.phase != Phase::Broadcasting {
            return;
        }
        let (after, round) = (self.proposals.proposed(), self.round + 1);
        self.syncs.push_back(Sync { ticket, connection, after, round });
        if let Some(link) = connection.and_then(|connection| self.links.get_mut(&connection)) {
            link.gate.close_after(after);
        }
        if let Some(connection) = connection {
            self.loads.add(connection, 1, SYNC_LEN);
        }
        self.confirm_syncs(effects);
    }

    /// Answers syncs in the order in which they came. Those that come while a round of pings is
    /// under way share the next one.
    pub(super) fn confirm_syncs(&mut self, effects: &mut Vec<LeaderEffect>) {
        if self.phase != Phase::Broadcasting || self.successor.is_some() {
            return;
        }
        loop {
            if self.syncs.is_empty() {
                return;
            }
            let confirmed = self.confirmed_round();
            let committed = self.proposals.committed();
            while let Some(sync) = self.syncs.front() {
                let asks = !mutation::is_on(Mutation::SyncWithoutTenure);
                if sync.after > committed || asks && sync.round > confirmed {
                    break;
                }
                let (ticket, connection) = (sync.ticket, sync.connection);
                self.syncs.pop_front();
                match connection {
                    None => effects.push(LeaderEffect::SyncConfirmed(ticket)),
                    Some(connection) => {
                        self.answer_sync(connection, effects);
                        self.loads.remove(connection, 1, SYNC_LEN);
                    }
                }
            }
            let waits = self.syncs.back().is_some_and(|sync| sync.round > self.round);
            if !waits || confirmed < self.round {
                return;
            }
            self.begin_round(effects);
        }
    }

    /// SYNC, and the commits that waited behind it.
    fn answer_sync(&mut self, connection: ConnectionId, effects: &mut Vec<LeaderEffect>) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        if link.phase == LinkPhase::UpToDate {
            effects.push(link::packet(connection, PacketType::Sync, Zxid(0), None));
        }
        let held = link.gate.answered().into_iter();
        effects.extend(held.map(|item| LeaderEffect::Send { connection, item }));
        self.send_answers(effects);
    }

    pub(super) fn stop(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        self.stopping = Some(Stopping { since_ms: now_ms, round: None });
        self.send_proposed(now_ms, effects);
        self.conclude(now_ms, effects);
    }

    /// Ends what is about to end.
    pub(super) fn conclude(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some((successor, until_ms)) = self.successor
            && (now_ms >= until_ms || !self.is_followed())
        {
            self.abandon(LeaderEnd::NotDesignated(successor), effects);
            return;
        }
        let Some(stopping) = &self.stopping else { return };
        let waited_ms = now_ms.saturating_sub(stopping.since_ms);
        let mut round = stopping.round;
        let all_committed = self.proposals.committed() == self.proposals.proposed();
        let broadcasts = self.phase == Phase::Broadcasting && self.successor.is_none();
        // Commits wait behind syncs on their way to a learner: the last round comes after them.
        if broadcasts && all_committed && self.syncs.is_empty() && round.is_none() {
            self.begin_round(effects);
            round = Some(self.round);
            self.stopping = Some(Stopping { since_ms: now_ms - waited_ms, round });
        }
        let tick_ms = self.config.tick_time_ms;
        let mut up = self.links.values().filter(|link| link.phase == LinkPhase::UpToDate);
        let done = round.is_some_and(|round| {
            let by_quorum = waited_ms >= tick_ms && self.confirmed_round() >= round;
            up.all(|link| link.answered >= round) || by_quorum
        });
        if !broadcasts || done || waited_ms >= 2 * tick_ms {
            self.close_all(LinkEnd::Stopped, effects);
            effects.push(LeaderEffect::Stopped);
        }
    }
}
