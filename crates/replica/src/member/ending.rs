//! The end of a part: every stage is joined before this server looks for a leader again.
//!
//! What a former role asked of the disk is waited for, so that no answer reaches a later one: the
//! pipeline retires (all that was logged becomes durable and is applied: it is this server's
//! history), a staged snapshot is forgotten, epochs and configurations are written.

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::ElectionInput;
use rookeeper_zab::leader::LeaderInput;

use super::effect::{
    DivergenceResponse, EndReason, MemberEvent, ReplicaEffect, ServerState, StorageCommand,
};
use super::replica::{Context, Part, Replica};
use crate::core::{CoreInput, CoreRole};

/// A learner that ends within so many milliseconds has learned nothing.
const IN_VAIN_MS: u64 = 100;

/// How often in a row that may be before there is a pause.
const IN_VAIN_MAX: u32 = 3;

/// The pause, in milliseconds; up to twice as long by lot.
const IN_VAIN_PAUSE_MS: u64 = 100;

/// A part that has ended.
#[derive(Debug)]
pub(super) struct Ending {
    next: Next,
    /// The pipeline is empty.
    retired: bool,
}

impl Ending {
    /// Nothing but the disk is waited for.
    pub(super) fn joined(next: Next) -> Ending {
        Ending { next, retired: true }
    }
}

/// What follows a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// An election.
    Look,
    /// An election, after a while drawn by lot (Java: `Observer.waitForObserverElectionDelay` and
    /// `waitForReconnectDelay`).
    Pause,
    /// An election, after a moment: the last ones were in vain.
    PauseBriefly,
    /// A reconfiguration has named the leader.
    Designated { leader: ServerId, zxid: Zxid },
}

/// Why a server does not vote until it has a leader's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// It does not know what it should hold.
    Unproven,
    /// Its tree was not its leader's: only a snapshot makes it whole.
    Diverged,
}

impl Replica {
    /// Gives up the present part.
    pub(super) fn end_part(&mut self, next: Next, context: &mut Context<'_>) {
        let retired = self.is_without_role();
        self.unavailable_since_ms.get_or_insert(context.now_ms());
        let ending = Part::Ending(Ending { next, retired });
        match std::mem::replace(&mut self.part, ending) {
            Part::Leading(_) | Part::Learning(_) => self.close_quorum_connections(context),
            Part::Looking { .. } | Part::Pausing { .. } | Part::Ending(_) | Part::Apart => {}
        }
        if !matches!(next, Next::Designated { .. }) {
            self.step_election(ElectionInput::Withdraw, context);
        }
        let stays_out = self.stop_by_ms.is_some() || self.withdrawn || self.disk_full;
        self.announce(if stays_out { ServerState::Apart } else { ServerState::Looking }, context);
        if retired {
            self.forget_staged(context);
        } else {
            self.step_core(CoreInput::Retire, context);
        }
        self.join(context);
    }

    fn close_quorum_connections(&mut self, context: &mut Context<'_>) {
        for connection in std::mem::take(&mut self.connections) {
            context.push(ReplicaEffect::QuorumClose(connection));
        }
    }

    /// The pipeline is empty.
    pub(super) fn retired(&mut self, last_zxid: Zxid, context: &mut Context<'_>) {
        if self.is_read_only() && !matches!(self.part, Part::Ending(_)) {
            return self.make_core(CoreRole::Waiting, context);
        }
        let Part::Ending(ending) = &mut self.part else {
            unreachable!("a core retires at the end of a part");
        };
        ending.retired = true;
        if self.core_role != CoreRole::ReadOnly {
            self.last_zxid = last_zxid;
        }
        self.make_core(CoreRole::Waiting, context);
        self.forget_staged(context);
        self.join(context);
    }

    fn forget_staged(&mut self, context: &mut Context<'_>) {
        if std::mem::take(&mut self.staged) {
            self.store(StorageCommand::Reload, context);
        }
    }

    /// Goes on to what follows where every stage of the ended part is done.
    pub(super) fn join(&mut self, context: &mut Context<'_>) {
        let Part::Ending(Ending { next, retired: true }) = self.part else { return };
        if !self.awaited.is_empty() {
            return;
        }
        if self.stop_by_ms.is_some() {
            return self.end(EndReason::Stopped, context);
        }
        if self.unlogged && self.has_to_log() {
            return self.go_back_to_disk(context);
        }
        if self.withdrawn || self.disk_full {
            self.step_election(ElectionInput::Withdraw, context);
            self.part = Part::Apart;
            return self.announce(ServerState::Apart, context);
        }
        match next {
            Next::Look => self.look(context),
            Next::Pause => {
                let member = &self.config.member;
                let delay_ms = self.lot.below(member.observer_election_delay_ms)
                    + self.lot.below(member.observer_reconnect_delay_ms);
                self.part = Part::Pausing { until_ms: context.now_ms() + delay_ms };
            }
            Next::PauseBriefly => {
                let delay_ms = IN_VAIN_PAUSE_MS + self.lot.below(IN_VAIN_PAUSE_MS);
                self.part = Part::Pausing { until_ms: context.now_ms() + delay_ms };
            }
            Next::Designated { .. } if self.barred.is_some() => self.look(context),
            Next::Designated { leader, zxid } => {
                self.part = Part::Looking { since_ms: context.now_ms() };
                self.step_election(ElectionInput::Designated { leader, zxid }, context);
            }
        }
    }

    /// Does nothing any more.
    pub(super) fn end(&mut self, reason: EndReason, context: &mut Context<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.close_quorum_connections(context);
            context.push(ReplicaEffect::Ended(reason));
        }
    }

    /// Leaves in order: a leader answers what was taken up and lets its followers have all of it
    /// before it closes; who does not lead just leaves.
    pub(super) fn stop(&mut self, context: &mut Context<'_>) {
        if self.stop_by_ms.is_some() {
            return;
        }
        let member = &self.config.member;
        let limit_ms = member.tick_time_ms * u64::from(member.sync_limit);
        self.stop_by_ms = Some(context.now_ms() + limit_ms);
        match &self.part {
            Part::Leading(leading) if leading.established => {
                self.announce(ServerState::Apart, context);
                self.step_core(CoreInput::Shutdown, context);
            }
            Part::Ending(_) => self.join(context),
            _ => self.end_part(Next::Look, context),
        }
    }

    /// The core has answered all that it had taken up, and takes up nothing more.
    pub(super) fn drained(&mut self, context: &mut Context<'_>) {
        self.step_leader(LeaderInput::Stop, context);
    }

    /// Leaves a part where a reconfiguration that ends it is applied.
    pub(super) fn leave_if_applied(&mut self, context: &mut Context<'_>) {
        let leave = match &self.part {
            Part::Leading(leading) => leading.leave,
            Part::Learning(learning) => learning.leave,
            _ => None,
        };
        if let Some((zxid, next)) = leave
            && context.shared.tree.last_processed_zxid() >= zxid
        {
            self.end_part(next, context);
        }
    }

    /// A part has ended by itself.
    pub(super) fn abandon(&mut self, reason: &str, context: &mut Context<'_>) {
        let next = match &self.part {
            Part::Leading(leading) => leading.leave.map_or(Next::Look, |(_, next)| next),
            Part::Learning(learning) => match learning.leave {
                Some((_, next)) => next,
                None if learning.observer => Next::Pause,
                None => Next::Look,
            },
            _ => return,
        };
        let next = if next == Next::Look { self.next_look(context.now_ms()) } else { next };
        context.tell(MemberEvent::RoleEnded(reason.into()));
        self.end_part(next, context);
    }

    /// A leader that refuses this server is found again within a millisecond: who is refused over
    /// and over asks less often.
    fn next_look(&mut self, now_ms: u64) -> Next {
        let in_vain = match &self.part {
            Part::Learning(learning) => {
                !learning.serving && now_ms < learning.began_ms + IN_VAIN_MS
            }
            _ => false,
        };
        self.in_vain = if in_vain { self.in_vain + 1 } else { 0 };
        if self.in_vain > IN_VAIN_MAX { Next::PauseBriefly } else { Next::Look }
    }

    /// The tree is not what the leader's transaction says. Once a snapshot may heal it; a second
    /// time nothing is discarded and nobody is served. Where all followers find this it is the
    /// leader that differs: without voters no leader comes about, and everything is kept.
    pub(super) fn diverged(&mut self, zxid: Zxid, context: &mut Context<'_>) {
        if !matches!(self.part, Part::Leading(_) | Part::Learning(_)) {
            return;
        }
        // Snapshots of a Java leader are of many moments: until all is caught up digests differ.
        let leader_is_exact = match &self.part {
            Part::Learning(learning) => learning.machine.leader_is_exact(),
            _ => true,
        };
        let response = if !(self.config.member.leaves_on_divergence && leader_is_exact) {
            DivergenceResponse::Alarm
        } else if self.divergences == 0 {
            DivergenceResponse::Resynchronise
        } else {
            DivergenceResponse::Withdraw
        };
        self.divergences += 1;
        if response != DivergenceResponse::Alarm || self.divergences == 1 {
            context.tell(MemberEvent::Diverged { zxid, response });
        }
        match response {
            DivergenceResponse::Alarm => return,
            DivergenceResponse::Resynchronise => self.barred = Some(Barred::Diverged),
            DivergenceResponse::Withdraw => self.withdrawn = true,
        }
        self.end_part(Next::Look, context);
    }
}
