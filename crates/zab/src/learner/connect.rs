//! From the first dial to a leader that is heard of, and how long to wait (Java:
//! `Learner.connectToLeader`).

use rookeeper_jute::quorum::LearnerInfo;

use super::types::{LearnerEffect, LearnerEnd};
use super::{Phase, State};
use crate::membership::Role;
use crate::wire;

/// Between the first dials: a leader that was just elected listens in a moment.
const FIRST_RETRIES_MS: u64 = 20;
/// How many of them there are.
const FIRST_RETRIES: u32 = 10;
/// Between later dials (Java: the default of `zookeeper.leaderConnectDelayDuringRetryMs`).
const RETRY_MS: u64 = 100;

impl State {
    fn ticks_ms(&self, ticks: u32) -> u64 {
        self.config.tick_time_ms.saturating_mul(u64::from(ticks))
    }

    pub(super) fn start(&mut self, effects: &mut Vec<LearnerEffect>) {
        let limit = match self.config.connect_limit {
            0 => self.config.init_limit,
            limit => limit,
        };
        self.give_up_at_ms = self.now_ms.saturating_add(self.ticks_ms(limit));
        self.dial(effects);
    }

    fn dial(&mut self, effects: &mut Vec<LearnerEffect>) {
        self.dials = self.dials.saturating_add(1);
        self.phase = Phase::Dialling;
        effects.push(LearnerEffect::Connect);
    }

    pub(super) fn connected(&mut self, effects: &mut Vec<LearnerEffect>) {
        if !matches!(self.phase, Phase::Dialling) {
            return;
        }
        let info = LearnerInfo {
            server_id: self.config.me,
            protocol_version: wire::PROTOCOL_VERSION,
            config_version: self.config.config_version,
        };
        let mut bytes = Vec::new();
        let observer = self.config.role == Role::Observer;
        wire::learner_info(observer, self.config.accepted_epoch, &info, &mut bytes);
        effects.push(LearnerEffect::Send(bytes));
        self.heard_at_ms = self.now_ms;
        self.phase = Phase::Registered;
    }

    pub(super) fn connect_failed(&mut self) -> Result<(), LearnerEnd> {
        match self.phase {
            Phase::Dialling => self.retry(),
            _ => Ok(()),
        }
    }

    pub(super) fn closed(&mut self) -> Result<(), LearnerEnd> {
        match self.phase {
            Phase::Registered | Phase::Dialling => self.retry(),
            Phase::Idle | Phase::BetweenDials { .. } | Phase::Ended => Ok(()),
            _ => Err(LearnerEnd::Closed),
        }
    }

    fn retry(&mut self) -> Result<(), LearnerEnd> {
        let usual_ms = if self.dials <= FIRST_RETRIES { FIRST_RETRIES_MS } else { RETRY_MS };
        // Who asks for no delay at all still lets others have their turn.
        let delay_ms = self.config.connect_delay_ms.map_or(usual_ms, |delay_ms| delay_ms.max(1));
        let retry_at_ms = self.now_ms.saturating_add(delay_ms);
        self.phase = Phase::BetweenDials { retry_at_ms };
        if retry_at_ms >= self.give_up_at_ms { Err(LearnerEnd::CannotConnect) } else { Ok(()) }
    }

    /// How long the leader may be silent now; `None` while this server itself is at work.
    fn silence_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Registered
            | Phase::EpochAcknowledged
            | Phase::Snapshot { .. }
            | Phase::History
            | Phase::Acknowledged => Some(self.ticks_ms(self.config.init_limit)),
            Phase::Serving => Some(self.ticks_ms(self.config.sync_limit)),
            _ => None,
        }
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::BetweenDials { retry_at_ms } => Some(retry_at_ms),
            Phase::Dialling => Some(self.give_up_at_ms),
            _ => Some(self.heard_at_ms.saturating_add(self.silence_ms()?)),
        }
    }

    pub(super) fn tick(&mut self, effects: &mut Vec<LearnerEffect>) -> Result<(), LearnerEnd> {
        if self.deadline_ms().is_none_or(|deadline_ms| self.now_ms < deadline_ms) {
            return Ok(());
        }
        match self.phase {
            Phase::BetweenDials { .. } => {
                self.dial(effects);
                Ok(())
            }
            Phase::Dialling => Err(LearnerEnd::CannotConnect),
            _ => Err(LearnerEnd::Silent { timeout_ms: self.silence_ms().unwrap_or_default() }),
        }
    }

    pub(super) fn end(&mut self, end: LearnerEnd, effects: &mut Vec<LearnerEffect>) {
        let open = !matches!(self.phase, Phase::Idle | Phase::BetweenDials { .. });
        if open && end != LearnerEnd::Closed {
            effects.push(LearnerEffect::Disconnect);
        }
        self.phase = Phase::Ended;
        effects.push(LearnerEffect::Abandon(end));
    }
}
