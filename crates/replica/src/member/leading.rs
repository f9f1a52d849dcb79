//! This server as leader: between its pipeline and the leader machine.

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::Forward;
use rookeeper_zab::election::{ElectionInput, Outcome};
use rookeeper_zab::leader::{Leader, LeaderConfig, LeaderEffect, LeaderEnd, LeaderInput, LinkEnd};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::observer_master::ObserverMasterInput;
use rookeeper_zab::sync::SyncRules;

use super::effect::{MemberEvent, ReplicaEffect, ServerState, StorageCommand};
use super::ending::Next;
use super::replica::{Context, Leading, Part, Replica, Work};
use crate::core::{CoreEffect, CoreInput, CoreRole, EnsembleView};

impl Replica {
    /// Leads: nobody is served before a quorum has this server's history.
    pub(super) fn lead(&mut self, outcome: &Outcome, context: &mut Context<'_>) {
        let member = &self.config.member;
        // What an epoch starts with is all of a history whose epoch that is: who has nothing but
        // the start is not ahead of who has logged what came before it.
        let epoch_start = Zxid(self.current_epoch << 32);
        let config = LeaderConfig {
            me: member.me,
            ensemble: self.ensemble.clone(),
            tick_time_ms: member.tick_time_ms,
            init_limit: member.init_limit,
            sync_limit: member.sync_limit,
            accepted_epoch: self.accepted_epoch.max(self.epoch_elsewhere),
            current_epoch: self.current_epoch,
            last_zxid: self.last_zxid.max(epoch_start),
            sync: self.sync_rules(context),
            oracle: self.oracle,
            epoch_wait_ms_max: member.epoch_wait_ms_max,
            supporters: outcome.supporters.clone(),
            snap_syncs_max: member.snap_syncs_max,
            diff_syncs_max: member.diff_syncs_max,
            packet_len_max: member.packet_len_max,
            load: member.load,
            reconfig_enabled: self.config.prepare.reconfig_enabled,
            ack_logging_frequency: member.ack_logging_frequency,
            holds_proposals: member.holds_proposals,
        };
        let machine = Leader::new(config, self.history.clone(), context.now_ms());
        let (established, leave, leave_by_ms) = (false, None, None);
        let leading = Leading { machine, established, leave, leave_by_ms };
        self.part = Part::Leading(Box::new(leading));
        self.announce(ServerState::Leading, context);
        self.step_leader(LeaderInput::Start, context);
    }

    pub(super) fn sync_rules(&self, context: &Context<'_>) -> SyncRules {
        self.config.member.sync_rules(context.shared.tree.approximate_data_size())
    }

    /// The tree has grown or shrunk since the part began, and a snapshot costs accordingly.
    pub(super) fn tell_sync_rules(&mut self, context: &Context<'_>) {
        let rules = self.sync_rules(context);
        match &mut self.part {
            Part::Leading(leading) => leading.machine.set_sync_rules(rules),
            Part::Learning(learning) => {
                if let Some(master) = &mut learning.master {
                    master.set_sync_rules(rules);
                }
            }
            _ => {}
        }
    }

    /// Somebody connected to the quorum port: who leads has something to say, and to observers
    /// a follower that is told to serve them.
    pub(super) fn accepted(&mut self, connection: ConnectionId, context: &mut Context<'_>) {
        if matches!(self.part, Part::Leading(_)) {
            self.connections.insert(connection);
            self.step_leader(LeaderInput::Accepted(connection), context);
        } else if self.is_master() {
            self.connections.insert(connection);
            self.step_master(ObserverMasterInput::Accepted(connection), context);
        } else {
            context.push(ReplicaEffect::QuorumClose(connection));
        }
    }

    pub(super) fn leader_asks(&mut self, effect: LeaderEffect, context: &mut Context<'_>) {
        let Part::Leading(leading) = &mut self.part else { return };
        match effect {
            LeaderEffect::Send { connection, item } => {
                context.push(ReplicaEffect::QuorumSend { connection, item });
            }
            LeaderEffect::Close { connection, reason } => {
                self.end_link(connection, reason, context);
            }
            LeaderEffect::WriteEpoch { kind, epoch } => {
                self.store(StorageCommand::WriteEpoch { kind, epoch }, context);
            }
            LeaderEffect::Established { epoch } => {
                leading.established = true;
                self.make_core(CoreRole::Leading { epoch }, context);
                self.step_election(ElectionInput::Synchronised { epoch }, context);
                let unavailable_ms = self.is_available(context.now_ms());
                context.tell(MemberEvent::Established { epoch, unavailable_ms });
                self.tell_ensemble(context);
                // The tree shows the epoch's counter 0 from now on.
                context.push(ReplicaEffect::Core(CoreEffect::Apply));
            }
            LeaderEffect::Held => context.push(ReplicaEffect::Held),
            LeaderEffect::Commit(zxid) => {
                self.tell_leading_core(CoreInput::Committed(zxid), context);
            }
            LeaderEffect::Acknowledged { server, zxid } => {
                self.tell_leading_core(CoreInput::Acknowledged { server, zxid }, context);
            }
            LeaderEffect::Forwarded { connection, learner, request } => {
                self.forwarded(connection, learner, request, context);
            }
            LeaderEffect::Touched { connection, sessions } => {
                let input = CoreInput::Touched { learner: connection, sessions };
                self.tell_leading_core(input, context);
            }
            LeaderEffect::Revalidate { connection, session, timeout_ms } => {
                let input = CoreInput::Revalidate { learner: connection, session, timeout_ms };
                self.tell_leading_core(input, context);
            }
            LeaderEffect::SyncConfirmed(ticket) => {
                self.tell_leading_core(CoreInput::SyncConfirmed(ticket), context);
            }
            LeaderEffect::PauseReading(_)
            | LeaderEffect::ResumeReading(_)
            | LeaderEffect::Syncs { .. }
            | LeaderEffect::LearnerUp { .. }
            | LeaderEffect::LearnerGone(_) => self.learner_changes(effect, context),
            LeaderEffect::LastSeen(membership) => self.last_seen(membership, context),
            LeaderEffect::Activate { zxid, membership, designated } => {
                self.activate(zxid, membership, Some(designated), context);
            }
            LeaderEffect::Stopped => self.leader_stopped(context),
            LeaderEffect::Abandon(end) => self.leader_abandons(end, context),
        }
    }

    /// Ends a learner's link. That they all end with the role is no news.
    pub(super) fn end_link(
        &mut self,
        connection: ConnectionId,
        reason: LinkEnd,
        context: &mut Context<'_>,
    ) {
        if self.connections.remove(&connection) {
            context.push(ReplicaEffect::QuorumClose(connection));
            if !matches!(reason, LinkEnd::Stopped | LinkEnd::LeaderEnded) {
                context.tell(MemberEvent::LinkEnded { connection, reason });
            }
        }
    }

    fn leader_abandons(&mut self, end: LeaderEnd, context: &mut Context<'_>) {
        match end {
            LeaderEnd::VoterLeft(_) => context.tell(MemberEvent::VoterLeft),
            LeaderEnd::EpochPassed { accepted_epoch, .. } => {
                self.epoch_elsewhere = self.epoch_elsewhere.max(accepted_epoch);
            }
            _ => {}
        }
        self.abandon(&end.to_string(), context);
    }

    /// Something is new of one of its learners.
    fn learner_changes(&mut self, effect: LeaderEffect, context: &mut Context<'_>) {
        match effect {
            LeaderEffect::PauseReading(connection) => context.learner_floods(connection),
            LeaderEffect::ResumeReading(connection) => {
                context.push(ReplicaEffect::QuorumResume(connection));
            }
            LeaderEffect::Syncs { step, under_way, begins } => {
                context.tell(MemberEvent::LearnerSyncs { step, under_way, begins });
            }
            LeaderEffect::LearnerUp { connection, server, observer } => {
                context.tell(MemberEvent::LearnerUp { connection, server, observer });
                self.tell_ensemble(context);
            }
            LeaderEffect::LearnerGone(connection) => {
                self.tell_leading_core(CoreInput::LearnerGone(connection), context);
                self.tell_ensemble(context);
            }
            _ => unreachable!("nothing else is of a learner"),
        }
    }

    /// Its followers have all that it proposed. Whoever waits here for an answer gets it first:
    /// at the end of an epoch this server's own disk may be the last one. That has a tick of time,
    /// as the followers have that are to leave for the next leader. What they could not be brought
    /// to have is not waited for: it may never be committed. Nor is what stands behind a sync,
    /// which nobody confirms any more.
    fn leader_stopped(&mut self, context: &mut Context<'_>) {
        let last_zxid = self.core.last_logged();
        if let Part::Leading(leading) = &mut self.part
            && self.stop_by_ms.is_none()
            && let report = leading.machine.report()
            && report.committed >= last_zxid
            && report.pending_syncs == 0
            && context.shared.tree.last_processed_zxid() < last_zxid
        {
            let next = leading.leave.map_or(Next::Look, |(_, next)| next);
            leading.leave = Some((last_zxid, next));
            let tick_ms = self.config.member.tick_time_ms;
            leading.leave_by_ms = Some(context.now_ms().saturating_add(tick_ms));
        } else {
            self.abandon("the leader was told to stop", context);
        }
    }

    /// A learner's client asks for something. What came together becomes one segment.
    fn forwarded(
        &mut self,
        learner: ConnectionId,
        server: ServerId,
        request: Forward,
        context: &mut Context<'_>,
    ) {
        let next = self.work.front();
        let more = matches!(next, Some(Work::Leader(LeaderEffect::Forwarded { .. })));
        if more && matches!(self.core_role, CoreRole::Leading { .. }) {
            self.core.queue_forwarded(learner, request);
        } else {
            self.tell_leading_core(CoreInput::Forwarded { learner, server, request }, context);
        }
    }

    /// Tells the leading core what a change of the ensemble is judged by: who follows and was heard
    /// of in time (Java: `Leader.isQuorumSynced`).
    pub(super) fn tell_ensemble(&mut self, context: &mut Context<'_>) {
        let Part::Leading(leading) = &self.part else { return };
        if !self.config.prepare.reconfig_enabled {
            return;
        }
        let learners = leading.machine.report().learners.into_iter();
        let now_ms = context.now_ms();
        let followers = learners.filter(|learner| {
            learner.forwarding && !learner.observer && now_ms <= learner.heard_until_ms
        });
        let view = EnsembleView {
            committed: self.ensemble.committed().clone(),
            last_seen: self.ensemble.last_seen().clone(),
            synced: followers
                .map(|learner| learner.server)
                .chain([self.config.member.me])
                .collect(),
            rules: self.config.member.rules,
        };
        self.tell_leading_core(CoreInput::Ensemble(view), context);
    }

    /// Tells the core of an established leader; one that does not lead yet has no use for it.
    pub(super) fn tell_leading_core(&mut self, input: CoreInput, context: &mut Context<'_>) {
        if matches!(self.core_role, CoreRole::Leading { .. }) {
            self.step_core(input, context);
        }
    }

    pub(super) fn core_asks_leader(&mut self, effect: CoreEffect, context: &mut Context<'_>) {
        match effect {
            CoreEffect::SyncWanted { ticket, learner } => {
                let input = LeaderInput::SyncWanted { ticket, connection: learner };
                self.step_leader(input, context);
            }
            CoreEffect::Revalidated { learner, session, valid } => {
                let input = LeaderInput::Revalidated { connection: learner, session, valid };
                self.step_leader(input, context);
            }
            CoreEffect::Done { learner, requests, bytes } => {
                let input = LeaderInput::Done { connection: learner, requests, bytes };
                self.step_leader(input, context);
            }
            CoreEffect::Reconfigured { zxid, membership } => {
                // On disk before the transaction is: a log that goes through a change nobody knows
                // of would have it committed, and in force nowhere.
                self.last_seen(membership.clone(), context);
                self.step_leader(LeaderInput::Reconfigured { zxid, membership }, context);
            }
            // A new epoch by an election that is planned: nobody's session is lost by it.
            CoreEffect::EpochExhausted => self.step_leader(LeaderInput::Stop, context),
            _ => unreachable!("nothing else is for the leader machine"),
        }
    }
}
