//! The history for one learner: DIFF, TRUNC or SNAP, from disk and from memory, and NEWLEADER
//! (Java: `LearnerHandler.syncFollower`, `Leader.startForwarding`).

use rookeeper_jute::Zxid;
use rookeeper_jute::quorum::PacketType;

use super::Leader;
use super::link::{self, LinkPhase};
use super::types::{LeaderEffect, LinkEnd};
use crate::links::ConnectionId;
use crate::outgoing::{Outgoing, RecordsKind};
use crate::sync::{SyncPlan, SyncRules, SyncStep, choose};

impl Leader {
    /// Sends a learner that waits for it everything up to NEWLEADER; what is proposed and
    /// committed from now on follows.
    pub(super) fn synchronise(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        effects: &mut Vec<LeaderEffect>,
    ) -> Result<(), LinkEnd> {
        let silent_at_ms = now_ms.saturating_add(self.init_limit_ms());
        let Some(link) = self.links.get(&connection) else { return Ok(()) };
        let LinkPhase::History(peer) = link.phase else { return Ok(()) };
        let (server, observer) = (link.server, link.observer);
        if i64::from(peer.epoch()) > self.epoch && peer.0 >= 0 {
            return Err(LinkEnd::Ahead);
        }
        let proposed = self.proposals.proposed();
        let force_snapshot =
            self.config.sync.force_snapshot || self.snapshot_next.contains(&server);
        let rules = SyncRules { force_snapshot, ..self.config.sync };
        let plan = choose(peer, &self.committed_history, self.proposals.committed(), &rules);
        if observer && !self.admits(plan.step) {
            return Err(LinkEnd::TooManySyncs);
        }
        let after = self.send_history(connection, plan, effects);
        // A learner takes NEWLEADER's configuration for committed when it is up to date, Java's
        // too: one that is only proposed by then comes as any other proposal, after it.
        let is_pending = self.pending.is_some();
        if !is_pending && !observer {
            self.send_proposals(connection, after, effects);
        }
        let membership = match is_pending {
            true => self.ensemble.committed(),
            false => self.ensemble.last_seen(),
        };
        let (text, zxid) = (membership.to_string(), self.epoch_zxid());
        effects.push(link::packet(connection, PacketType::NewLeader, zxid, Some(text.as_bytes())));
        if is_pending && !observer {
            self.send_proposals(connection, after, effects);
        }
        if !observer {
            self.proposals.restart(server);
        }
        if let Some(link) = self.links.get_mut(&connection) {
            (link.phase, link.syncing) = (LinkPhase::NewLeader, Some(plan.step));
            (link.silent_at_ms, link.sent) = (Some(silent_at_ms), proposed);
        }
        let (step, under_way) = (plan.step, self.under_way(plan.step));
        effects.push(LeaderEffect::Syncs { step, under_way, begins: true });
        Ok(())
    }

    /// The disk did not have what a learner was promised. It gets a snapshot the next time, and one
    /// that the history goes on from without what could not be read; so does whoever else lacks
    /// some of that.
    pub(super) fn history_failed(
        &mut self,
        connection: ConnectionId,
        unproven: Option<Zxid>,
        effects: &mut Vec<LeaderEffect>,
    ) {
        if let Some(zxid) = unproven {
            let zxid = zxid.min(self.committed_history.last());
            self.history.forget_through(zxid);
            self.committed_history.forget_through(zxid);
        }
        if let Some(link) = self.links.get(&connection) {
            self.snapshot_next.insert(link.server);
            self.close(connection, LinkEnd::HistoryFailed, effects);
        }
    }

    /// Whether one more observer may synchronise. Voters always may, but count.
    fn admits(&self, step: SyncStep) -> bool {
        let snap = step == SyncStep::Snap;
        let max = if snap { self.config.snap_syncs_max } else { self.config.diff_syncs_max };
        self.under_way(step) < max
    }

    /// How many learners synchronise in this way; a TRUNC is a DIFF of another kind.
    pub(super) fn under_way(&self, step: SyncStep) -> usize {
        let snap = step == SyncStep::Snap;
        let same = self.links.values().filter_map(|link| link.syncing);
        same.filter(|step| (*step == SyncStep::Snap) == snap).count()
    }

    /// What is committed and on this server's disk comes from there, what is committed since from
    /// memory. Returns what the learner has then.
    fn send_history(
        &self,
        connection: ConnectionId,
        plan: SyncPlan,
        effects: &mut Vec<LeaderEffect>,
    ) -> Zxid {
        let committed = self.committed_history.last();
        let on_disk = committed.min(self.proposals.durable());
        let mut send = |item| effects.push(LeaderEffect::Send { connection, item });
        let op = |packet_type| {
            let mut out = Vec::new();
            crate::wire::packet(packet_type, plan.zxid, None, &mut out);
            Outgoing::Bytes(out)
        };
        let in_memory_after = match plan.step {
            SyncStep::Snap => {
                let base = self.committed_history.base();
                send(Outgoing::Snapshot { base, through: on_disk });
                on_disk
            }
            SyncStep::Diff => {
                send(op(PacketType::Diff));
                plan.after.max(on_disk)
            }
            SyncStep::Trunc => {
                send(op(PacketType::Trunc));
                plan.after.max(on_disk)
            }
        };
        if plan.step != SyncStep::Snap && plan.after < on_disk {
            send(Outgoing::History { after: plan.after, through: on_disk });
        }
        let kind = RecordsKind::ProposalAndCommit;
        for (segment, range) in self.proposals.records(in_memory_after, committed) {
            send(Outgoing::Records { segment: segment.clone(), range, kind });
        }
        committed.max(in_memory_after)
    }

    /// What is not committed yet, for a voter.
    fn send_proposals(
        &self,
        connection: ConnectionId,
        after: Zxid,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let kind = RecordsKind::Proposal;
        for (segment, range) in self.proposals.records(after, self.proposals.proposed()) {
            let item = Outgoing::Records { segment: segment.clone(), range, kind };
            effects.push(LeaderEffect::Send { connection, item });
        }
    }
}
