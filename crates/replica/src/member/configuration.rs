//! Configurations: proposed, committed, shown in the tree (Java: `QuorumPeer.processReconfig`).

use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::ElectionInput;
use rookeeper_zab::membership::Membership;
use rookeeper_zab::observer_master::ObserverMasterInput;
use rookeeper_zab::quorum::Ensemble;

use super::effect::{MemberEvent, ReplicaEffect, StorageCommand};
use super::ending::Next;
use super::replica::{Context, Part, Replica};
use crate::core::CoreEffect;
use crate::ids::Now;
use crate::shared::Shared;

impl Replica {
    /// A configuration was proposed: from now on it decides beside the committed one. One that a
    /// leader begins with takes the place of a later one as well, as in Java: that was proposed by
    /// somebody else and is not in the leader's history. Where `reconfigEnabled` is off the files
    /// alone say who belongs here, as in Java: a leader without it keeps version 0, and would take
    /// whoever came with a later one for ahead of it.
    pub(super) fn last_seen(&mut self, membership: Arc<Membership>, context: &mut Context<'_>) {
        if !self.config.prepare.reconfig_enabled {
            return;
        }
        let known = self.ensemble.last_seen();
        if membership.version() == known.version() && !membership.differs_from(known) {
            return;
        }
        let committed = self.ensemble.committed().clone();
        self.use_ensemble(Ensemble::with_last_seen(committed, membership.clone()), context);
        self.store(StorageCommand::WriteMembership { membership, last_seen: true }, context);
    }

    /// A proposed configuration whose transaction is not in the log, because a crash or another
    /// leader took it from there, was never acknowledged by this server: it decides nothing.
    pub(super) fn forget_unlogged(&mut self, context: &mut Context<'_>) {
        let version = Zxid(self.ensemble.last_seen().version());
        if self.ensemble.is_pending() && version.counter() != 0 && version > self.last_zxid {
            let membership = self.ensemble.committed().clone();
            self.use_ensemble(Ensemble::new(membership.clone()), context);
            self.store(StorageCommand::WriteMembership { membership, last_seen: true }, context);
        }
    }

    /// A configuration is committed. Where it changes this server's role or the leader, the part
    /// ends once the transaction is applied.
    pub(super) fn activate(
        &mut self,
        zxid: Zxid,
        membership: Arc<Membership>,
        designated: Option<ServerId>,
        context: &mut Context<'_>,
    ) {
        let before = self.ensemble.committed();
        if !self.config.prepare.reconfig_enabled || membership.version() <= before.version() {
            return;
        }
        let next = self.next_after(zxid, &membership, designated);
        let version = membership.version();
        self.use_ensemble(self.ensemble_after(&membership), context);
        let command =
            StorageCommand::WriteMembership { membership: membership.clone(), last_seen: false };
        self.store(command, context);
        self.show(membership, context);
        context.tell(MemberEvent::Reconfigured { version });
        if let Some(next) = next {
            self.leave_after(zxid, next, context);
        }
    }

    /// What decides once a configuration is committed.
    fn ensemble_after(&self, membership: &Arc<Membership>) -> Ensemble {
        let mut last_seen = self.ensemble.last_seen();
        if last_seen.version() <= membership.version() {
            last_seen = membership;
        }
        Ensemble::with_last_seen(membership.clone(), last_seen.clone())
    }

    /// What this server does next, where a configuration that is committed with this zxid changes
    /// its role or the leader.
    pub(super) fn next_after(
        &self,
        zxid: Zxid,
        membership: &Arc<Membership>,
        designated: Option<ServerId>,
    ) -> Option<Next> {
        let before = self.ensemble.committed();
        if !membership.differs_from(before) {
            return None;
        }
        let leader = self.election.leader();
        let next = match designated {
            Some(designated) if leader != Some(designated) => {
                Some(Next::Designated { leader: designated, zxid })
            }
            Some(_) => None,
            None => leader_moved(leader, before, membership).then_some(Next::Look),
        };
        let me = self.config.member.me;
        let leads_on = designated == Some(me) && membership.is_voter(me);
        let role_changes = self.ensemble_after(membership).role(me) != self.ensemble.role(me);
        next.or((role_changes && !leads_on).then_some(Next::Look))
    }

    /// Ends the part when a transaction is applied: whoever asked for it is answered first.
    fn leave_after(&mut self, zxid: Zxid, next: Next, context: &mut Context<'_>) {
        let serving = match &mut self.part {
            Part::Leading(leading) => {
                leading.leave = Some((zxid, next));
                leading.established
            }
            Part::Learning(learning) => {
                learning.leave = Some((zxid, next));
                learning.serving
            }
            _ => return,
        };
        if serving {
            self.leave_if_applied(context);
        } else {
            self.end_part(next, context);
        }
    }

    fn use_ensemble(&mut self, ensemble: Ensemble, context: &mut Context<'_>) {
        self.ensemble = ensemble.clone();
        self.step_master(ObserverMasterInput::Ensemble(ensemble.clone()), context);
        self.step_election(ElectionInput::Ensemble(ensemble), context);
        self.update_addresses(context);
        self.tell_ensemble(context);
    }

    /// The tree shall show a configuration, and the driver know of it.
    pub(super) fn show(&mut self, membership: Arc<Membership>, context: &mut Context<'_>) {
        let at_once = !self.is_serving();
        self.unshown = Some(Unshown { membership: membership.clone(), at_once });
        context.push(ReplicaEffect::Membership(membership));
        context.push(ReplicaEffect::Core(CoreEffect::Apply));
    }

    /// A tree was loaded, which shows what the configuration was when its snapshot was taken.
    pub(super) fn show_again(&mut self, context: &mut Context<'_>) {
        let membership = self.ensemble.committed().clone();
        self.unshown = Some(Unshown { membership, at_once: true });
        context.push(ReplicaEffect::Core(CoreEffect::Apply));
    }

    /// Puts the committed configuration into the tree, where it is not there yet. It is no
    /// transaction: what is below `/zookeeper` is in no digest.
    pub(super) fn show_configuration(&mut self, now: Now, shared: &mut Shared) {
        let Some(Unshown { membership, at_once }) = &self.unshown else { return };
        let version = Zxid(membership.version());
        if *at_once || shared.tree.last_processed_zxid() >= version {
            shared.tree.set_config(membership.to_string().as_bytes(), version, now.wall_ms);
            self.unshown = None;
        }
    }
}

/// A configuration that the tree does not show yet.
#[derive(Debug)]
pub(super) struct Unshown {
    pub(super) membership: Arc<Membership>,
    /// Nobody is served. Otherwise its transaction shows it, and tells the watchers.
    pub(super) at_once: bool,
}

/// Whether a leader has no vote any more, or another place. It may have had none until now: who
/// is to vote may lead before the change is in force.
fn leader_moved(leader: Option<ServerId>, before: &Membership, after: &Membership) -> bool {
    let Some(leader) = leader else { return true };
    let place = |membership: &Membership| {
        let member = membership.member(leader)?;
        Some(member.addresses.iter().map(|address| address.quorum.clone()).collect::<Vec<_>>())
    };
    let stays = place(before).is_none_or(|before| Some(before) == place(after));
    !(after.is_voter(leader) && stays)
}
