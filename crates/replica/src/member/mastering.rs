//! This server as observer master: a follower that observers learn from in the leader's place,
//! between the learner machine and theirs (Java: `ObserverMaster`).

use rookeeper_jute::{OpCode, ServerId};
use rookeeper_zab::learner::LearnerInput;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::Address;
use rookeeper_zab::observer_master::{
    ObserverMaster, ObserverMasterConfig, ObserverMasterEffect, ObserverMasterInput,
};

use super::effect::{MemberEvent, ReplicaEffect};
use super::replica::{Context, Part, Replica, Work};
use crate::core::{CoreEffect, CoreInput};

impl Replica {
    /// What observers are served from, where this server is told to: it begins where the
    /// leader's history goes on.
    pub(super) fn observer_master(&self, context: &Context<'_>) -> Option<Box<ObserverMaster>> {
        let member = &self.config.member;
        let rules = member.observer_master?;
        let config = ObserverMasterConfig {
            me: member.me,
            ensemble: self.ensemble.clone(),
            tick_time_ms: member.tick_time_ms,
            init_limit: member.init_limit,
            sync_limit: member.sync_limit,
            sync: self.sync_rules(context),
            recent_len_max: rules.recent_len_max,
            snap_syncs_max: member.snap_syncs_max,
            diff_syncs_max: member.diff_syncs_max,
            load: member.load,
            packet_len_max: member.packet_len_max,
        };
        let history = self.history.clone();
        let last = history.last();
        Some(Box::new(ObserverMaster::new(config, history, last, context.now_ms())))
    }

    /// Where an observer learns: another master with each dial, and also the leader itself (`None`)
    /// where none was found for half of the time. (Java goes through all voters in turn, the leader
    /// included, which does not listen there.) A change that is pending may have made this server a
    /// voter, whether it has heard of that or not: it may be that nobody is a master before the
    /// leader has heard of it.
    pub(super) fn master_in_turn(&self, is_late: bool) -> Option<(ServerId, Vec<Address>)> {
        let (me, port) = (self.config.member.me, self.config.member.observer_master?.port);
        let Part::Learning(learning) = &self.part else { return None };
        let committed = self.ensemble.committed();
        let masters: Vec<_> = committed.voters().filter(|id| *id != learning.leader).collect();
        let is_leaders_turn = is_late && self.dials.is_multiple_of(2);
        let is_masters = learning.observer && !self.ensemble.is_voter(me) && !masters.is_empty();
        if !is_masters || is_leaders_turn {
            return None;
        }
        let dials = if is_late { self.dials / 2 } else { self.dials };
        let turn = (me.0 as u64).wrapping_add(dials);
        let id = masters[(turn % masters.len() as u64) as usize];
        let master = committed.member(id)?;
        let host = |address: &rookeeper_zab::membership::PeerAddress| {
            Address::new(address.quorum.host(), port)
        };
        Some((id, master.addresses.iter().map(host).collect()))
    }

    pub(super) fn step_master(
        &mut self,
        input: ObserverMasterInput<'_>,
        context: &mut Context<'_>,
    ) {
        if let Part::Learning(learning) = &mut self.part
            && let Some(master) = &mut learning.master
        {
            let mut out = Vec::new();
            master.step(context.now_ms(), input, &mut out);
            self.work.extend(out.into_iter().map(Work::Master));
        }
    }

    /// Whether observers are served.
    pub(super) fn is_master(&self) -> bool {
        matches!(&self.part, Part::Learning(learning) if learning.master.is_some())
    }

    pub(super) fn master_asks(&mut self, effect: ObserverMasterEffect, context: &mut Context<'_>) {
        if !self.is_master() {
            return;
        }
        match effect {
            ObserverMasterEffect::Send { connection, item } => {
                context.push(ReplicaEffect::QuorumSend { connection, item });
            }
            ObserverMasterEffect::Close { connection, reason } => {
                self.end_link(connection, reason, context);
            }
            ObserverMasterEffect::Forward(request) => {
                self.step_learner(LearnerInput::Forward(request), context);
            }
            ObserverMasterEffect::Revalidate { session, timeout_ms } => {
                self.step_learner(LearnerInput::Revalidate { session, timeout_ms }, context);
            }
            ObserverMasterEffect::PauseReading(connection) => context.learner_floods(connection),
            ObserverMasterEffect::ResumeReading(connection) => {
                context.push(ReplicaEffect::QuorumResume(connection));
            }
            ObserverMasterEffect::Syncs { step, under_way, begins } => {
                context.tell(MemberEvent::LearnerSyncs { step, under_way, begins });
            }
            ObserverMasterEffect::Told { proposals, commits } => {
                context.tell(MemberEvent::ObserversTold { proposals, commits });
            }
            ObserverMasterEffect::OwnSyncDone => self.step_core(CoreInput::SyncDone, context),
            ObserverMasterEffect::OwnRevalidated { session, valid } => {
                self.step_core(CoreInput::Revalidated { session, valid }, context);
            }
            ObserverMasterEffect::ObserverUp { connection, server } => {
                context.tell(MemberEvent::LearnerUp { connection, server, observer: true });
            }
            ObserverMasterEffect::ObserverGone(_) => {}
        }
    }

    /// What this server's own core asks the leader stands among what observers ask.
    pub(super) fn ask_among_observers(
        &mut self,
        effect: &mut CoreEffect,
        context: &mut Context<'_>,
    ) {
        match effect {
            CoreEffect::Forward(request) if request.op == OpCode::Sync.to_i32() => {
                self.step_master(ObserverMasterInput::OwnSync, context);
            }
            CoreEffect::Forward(request) => {
                if let Part::Learning(learning) = &mut self.part
                    && let Some(master) = &mut learning.master
                {
                    master.own_request(request);
                }
            }
            CoreEffect::Revalidate { session, .. } => {
                self.step_master(ObserverMasterInput::OwnRevalidation(*session), context);
            }
            CoreEffect::Touches(sessions) => {
                if let Part::Learning(learning) = &mut self.part
                    && let Some(master) = &mut learning.master
                {
                    sessions.extend(master.take_touches());
                }
            }
            _ => {}
        }
    }

    /// Bytes that are not the leader's.
    pub(super) fn is_from_observer(&self, connection: ConnectionId) -> bool {
        match &self.part {
            Part::Learning(learning) => learning.connection != Some(connection),
            _ => false,
        }
    }
}
