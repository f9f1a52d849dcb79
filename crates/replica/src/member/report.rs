//! What four-letter words, admin and metrics ask of a member.

use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::leader::LeaderReport;
use rookeeper_zab::membership::Membership;

use super::effect::ServerState;
use super::replica::{Part, Replica};
use crate::core::Core;

/// A member's figures at a moment.
#[derive(Debug, Clone)]
pub struct MemberReport {
    /// What it is.
    pub state: ServerState,
    /// Whether clients are served.
    pub serving: bool,
    /// The leader, where it has one.
    pub leader: Option<ServerId>,
    /// The round of the present or last election.
    pub round: i64,
    /// The accepted epoch on disk.
    pub accepted_epoch: i64,
    /// The current epoch on disk.
    pub current_epoch: i64,
    /// The end of the history that is proven.
    pub history_last: Zxid,
    /// From where on it is proven.
    pub history_base: Zxid,
    /// The committed configuration.
    pub committed: Arc<Membership>,
    /// The last one proposed.
    pub last_seen: Arc<Membership>,
    /// How often its tree was found to differ from the leader's.
    pub divergences: u32,
    /// Whether it has no vote until it has a leader's history.
    pub barred: bool,
    /// How many observers learn from this follower, where it serves any (Java:
    /// `synced_observers`).
    pub observers: Option<usize>,
    /// Whom this server learns from, where it observes: the leader, or a follower that serves
    /// observers (Java: `observer_master_id`).
    pub observes: Option<ServerId>,
    /// What the leader machine tells, where this server leads.
    pub leading: Option<LeaderReport>,
}

impl Replica {
    /// The figures now.
    pub fn report(&self) -> MemberReport {
        let leading = match &self.part {
            Part::Leading(leading) => Some(leading.machine.report()),
            _ => None,
        };
        let observers = match &self.part {
            Part::Learning(learning) => learning.master.as_ref().map(|it| it.observers_len()),
            _ => None,
        };
        let observes = match &self.part {
            Part::Learning(learning) if learning.observer => Some(learning.dialled),
            _ => None,
        };
        MemberReport {
            state: self.state,
            serving: self.is_serving() || self.is_read_only(),
            leader: self.election.leader(),
            round: self.election.round(),
            accepted_epoch: self.accepted_epoch,
            current_epoch: self.current_epoch,
            history_last: self.history.last(),
            history_base: self.history.base(),
            committed: self.ensemble.committed().clone(),
            last_seen: self.ensemble.last_seen().clone(),
            divergences: self.divergences,
            barred: self.barred.is_some(),
            observers,
            observes,
            leading,
        }
    }

    /// Whether clients are served.
    pub(super) fn is_serving(&self) -> bool {
        match &self.part {
            Part::Leading(leading) => leading.established,
            Part::Learning(learning) => learning.serving,
            _ => false,
        }
    }

    /// The clients' pipeline, for its figures.
    pub fn core(&self) -> &Core {
        &self.core
    }
}
