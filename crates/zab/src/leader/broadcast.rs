//! Proposals, their commits, and configurations among them (Java: `Leader.propose`,
//! `Leader.tryToCommit`).

use std::sync::Arc;

use rookeeper_jute::persistence::RECORD_OVERHEAD;
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, Zxid};

use super::link::{self, Link, LinkPhase};
use super::proposals::Proposals;
use super::types::{LeaderEffect, LinkEnd};
use super::{Leader, Phase};
use crate::links::ConnectionId;
use crate::membership::Membership;
use crate::outgoing::{Outgoing, RecordsKind};
use crate::quorum::Ensemble;
use crate::segment::Segment;
use crate::wire;

impl Leader {
    pub(super) fn propose(
        &mut self,
        now_ms: u64,
        segment: &Arc<Segment>,
        effects: &mut Vec<LeaderEffect>,
    ) {
        assert!(self.phase == Phase::Broadcasting, "an established leader proposes");
        if segment.is_empty() {
            return;
        }
        self.proposals.propose(segment);
        for (zxid, txn) in segment.records() {
            self.history.append(zxid, (txn.len() + RECORD_OVERHEAD) as u64);
        }
        if !self.config.holds_proposals {
            self.send_proposed(now_ms, effects);
        } else if self.links.values().any(|link| link.lacks(segment.last_zxid())) {
            effects.push(LeaderEffect::Held);
        }
        self.advance(now_ms, effects);
    }

    /// Sends followers what was proposed and is held.
    pub(super) fn send_proposed(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        for (connection, link) in &mut self.links {
            send_proposed(*connection, link, &self.proposals, now_ms, effects);
        }
    }

    /// The same for one learner, before something that has its place behind them.
    pub(super) fn send_proposed_to(
        &mut self,
        connection: ConnectionId,
        now_ms: u64,
        effects: &mut Vec<LeaderEffect>,
    ) {
        if let Some(link) = self.links.get_mut(&connection) {
            send_proposed(connection, link, &self.proposals, now_ms, effects);
        }
    }

    /// A configuration is about to be proposed: from its transaction on, quorums of it are needed
    /// too.
    pub(super) fn reconfigured(
        &mut self,
        zxid: Zxid,
        membership: Arc<Membership>,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let committed = self.ensemble.committed().clone();
        assert!(membership.version() > committed.version(), "configurations go forward");
        assert!(self.pending.is_none(), "there is one reconfiguration at a time");
        self.ensemble = Ensemble::with_last_seen(committed, membership.clone());
        let deciding = self.ensemble.deciding().cloned().collect();
        self.proposals.decide_from(zxid, deciding);
        self.pending = Some((zxid, membership.clone()));
        effects.push(LeaderEffect::LastSeen(membership));
    }

    /// Commits what can be, and does what had to wait for it.
    pub(super) fn advance(&mut self, now_ms: u64, effects: &mut Vec<LeaderEffect>) {
        if self.phase != Phase::Broadcasting {
            return;
        }
        while self.successor.is_none() {
            let agreed = self.proposals.agreed(self.oracle);
            if agreed == self.proposals.committed() {
                break;
            }
            let reconfiguration = self.pending.as_ref().map(|(zxid, _)| *zxid);
            match reconfiguration.filter(|zxid| *zxid <= agreed) {
                Some(zxid) if zxid == self.proposals.committed().next() => {
                    self.commit_reconfiguration(now_ms, zxid, effects);
                }
                Some(zxid) => self.commit(now_ms, Zxid(zxid.0 - 1), effects),
                None => self.commit(now_ms, agreed, effects),
            }
        }
        self.proposals.release();
        self.confirm_syncs(effects);
        self.send_answers(effects);
        self.resume_reading(now_ms, effects);
        self.conclude(now_ms, effects);
    }

    /// COMMIT to followers, INFORM to observers, then this server's own.
    fn commit(&mut self, now_ms: u64, through: Zxid, effects: &mut Vec<LeaderEffect>) {
        let before = self.proposals.committed();
        if self.links.values().any(|link| link.lacks(through)) {
            // Others have acknowledged what was held: who came since has had it with its history.
            self.send_proposed(now_ms, effects);
        }
        let zxids: Vec<Zxid> = self.proposals.commit(through, self.oracle).map(Zxid).collect();
        let mut commits = Vec::new();
        for zxid in &zxids {
            wire::packet(PacketType::Commit, *zxid, None, &mut commits);
        }
        let proposals = &self.proposals;
        for (connection, link) in self.links.iter_mut().filter(|(_, link)| link.phase.forwards()) {
            let connection = *connection;
            let mut send = |item| effects.push(LeaderEffect::Send { connection, item });
            assert!(!link.lacks(through), "no commit goes before its proposal");
            if !link.gate.lets_pass(through) {
                for item in commits_one_by_one(link, proposals, &zxids, before, through) {
                    send(item);
                }
            } else if link.observer {
                for (segment, range) in proposals.records(before, through) {
                    let (segment, kind) = (segment.clone(), RecordsKind::Inform);
                    send(Outgoing::Records { segment, range, kind });
                }
            } else {
                send(Outgoing::Bytes(commits.clone()));
            }
        }
        self.committed(before, through, effects);
    }

    fn committed(&mut self, before: Zxid, through: Zxid, effects: &mut Vec<LeaderEffect>) {
        for (segment, range) in self.proposals.records(before, through) {
            for at in range {
                let len = segment.record(at).len() + RECORD_OVERHEAD;
                self.committed_history.append(segment.zxid(at), len as u64);
            }
        }
        assert!(self.committed_history.last() == through, "what is committed was proposed");
        effects.push(LeaderEffect::Commit(through));
    }

    /// Commits a configuration: who leads from now on is told with it.
    fn commit_reconfiguration(&mut self, now_ms: u64, zxid: Zxid, effects: &mut Vec<LeaderEffect>) {
        let Some((_, membership)) = self.pending.take() else { return };
        // Whoever leads next goes on with what is proposed.
        self.send_proposed(now_ms, effects);
        let before = self.proposals.committed();
        let designated = self.designated(&membership);
        self.proposals.commit(zxid, self.oracle);
        let (mut commit, mut inform) = (Vec::new(), Vec::new());
        wire::commit_and_activate(zxid, designated, &mut commit);
        for (segment, range) in self.proposals.records(before, zxid) {
            wire::inform_and_activate(zxid, designated, segment.record(range.start), &mut inform);
        }
        let hands_over = designated != self.config.me;
        for (connection, link) in self.links.iter_mut().filter(|(_, link)| link.phase.forwards()) {
            let connection = *connection;
            let mut send = |item| effects.push(LeaderEffect::Send { connection, item });
            assert!(!link.lacks(zxid), "no commit goes before its proposal");
            if hands_over {
                // This leader answers no sync any more; its learners leave it.
                link.gate.open().into_iter().for_each(&mut send);
            }
            let bytes = if link.observer { inform.clone() } else { commit.clone() };
            link.gate.pass(zxid, Outgoing::Bytes(bytes)).into_iter().for_each(&mut send);
        }
        self.committed(before, zxid, effects);
        self.ensemble.adopt(membership.clone());
        let deciding = self.ensemble.deciding().cloned().collect();
        // Also on what was proposed while it was pending: whoever leads next knows of it, for a
        // quorum of the old one has it. Those who lose their vote by it may acknowledge nothing
        // any more.
        self.proposals.decide_from(zxid.next(), deciding);
        effects.push(LeaderEffect::Activate { zxid, membership, designated });
        if hands_over {
            self.hand_over(now_ms, designated);
        }
    }

    /// Who leads under a configuration: this server, where it votes there and stays where it is;
    /// else the voter there that has acknowledged most, which loses the fewest proposals (Java:
    /// `Leader.getDesignatedLeader`).
    pub(super) fn designated(&self, membership: &Membership) -> ServerId {
        let me = self.config.me;
        let quorum_addresses = |membership: &Membership| -> Option<Vec<_>> {
            let member = membership.member(me)?;
            Some(member.addresses.iter().map(|address| address.quorum.clone()).collect())
        };
        // Who does not vote in force yet is where the change says.
        let current = quorum_addresses(self.ensemble.committed());
        let stays = current.is_none() || quorum_addresses(membership) == current;
        if membership.is_voter(me) && stays {
            return me;
        }
        let up = |id: &ServerId| {
            *id != me && self.links.values().any(|link| link.counts() && link.server == *id)
        };
        let candidates = membership.voters().filter(up);
        let most =
            candidates.max_by_key(|id| (self.proposals.acknowledged(*id), std::cmp::Reverse(*id)));
        most.unwrap_or(me)
    }

    /// Another server leads from now on.
    pub(super) fn hand_over(&mut self, now_ms: u64, successor: ServerId) {
        let until_ms = now_ms.saturating_add(self.config.tick_time_ms);
        self.successor = Some((successor, until_ms));
    }

    /// Whether followers are left that have not gone to the next leader.
    pub(super) fn is_followed(&self) -> bool {
        self.links.values().any(|link| link.phase == LinkPhase::UpToDate && link.counts())
    }

    /// PING, which learners that serve answer in order.
    pub(super) fn ping(&mut self, connection: ConnectionId, effects: &mut Vec<LeaderEffect>) {
        let (round, zxid) = (self.round, self.proposals.proposed().max(self.epoch_zxid()));
        let Some(link) = self.links.get_mut(&connection) else { return };
        if link.phase == LinkPhase::UpToDate && !link.pinged(round, zxid) {
            return self.close(connection, LinkEnd::Silent, effects);
        }
        if link.phase.forwards() {
            effects.push(link::packet(connection, PacketType::Ping, zxid, None));
        }
    }
}

/// Sends a follower the proposals that it was not sent.
fn send_proposed(
    connection: ConnectionId,
    link: &mut Link,
    proposals: &Proposals,
    now_ms: u64,
    effects: &mut Vec<LeaderEffect>,
) {
    let proposed = proposals.proposed();
    if !link.lacks(proposed) {
        return;
    }
    for (segment, range) in proposals.records(link.sent, proposed) {
        link.owes(segment.zxid(range.end - 1), now_ms);
        let kind = RecordsKind::Proposal;
        let item = Outgoing::Records { segment: segment.clone(), range, kind };
        effects.push(LeaderEffect::Send { connection, item });
    }
    link.sent = proposed;
}

/// What a learner hears of these commits now, where a sync of its clients stands among them; the
/// rest is held.
fn commits_one_by_one(
    link: &mut Link,
    proposals: &Proposals,
    zxids: &[Zxid],
    before: Zxid,
    through: Zxid,
) -> Vec<Outgoing> {
    let mut now = Vec::new();
    if !link.observer {
        for zxid in zxids {
            let mut commit = Vec::new();
            wire::packet(PacketType::Commit, *zxid, None, &mut commit);
            now.extend(link.gate.pass(*zxid, Outgoing::Bytes(commit)));
        }
        return now;
    }
    for (segment, range) in proposals.records(before, through) {
        for at in range {
            let (zxid, segment) = (segment.zxid(at), segment.clone());
            let kind = RecordsKind::Inform;
            let inform = Outgoing::Records { segment, range: at..at + 1, kind };
            now.extend(link.gate.pass(zxid, inform));
        }
    }
    now
}
