//! What four-letter words, admin and metrics ask the core.

use std::collections::BTreeMap;

use rookeeper_jute::{SessionId, Zxid};

use super::{Core, Figures};

/// The core's figures at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct CoreReport {
    /// Whether requests are taken up.
    pub serving: bool,
    /// Live sessions (metric `global_sessions`).
    pub sessions: usize,
    /// Those of them that only this server knows of (metric `local_sessions`).
    pub local_sessions: usize,
    /// Requests that wait before the pipeline (Java: the request throttler's queue).
    pub backlog: usize,
    /// Steps in the pipeline.
    pub pipeline: usize,
    /// Requests that wait for the leader.
    pub forwarded: usize,
    /// Changes prepared and not applied.
    pub outstanding_changes: usize,
    /// The last transaction prepared.
    pub last_prepared: Zxid,
    /// The last transaction that may be applied.
    pub committed: Zxid,
    /// What was counted.
    pub figures: Box<Figures>,
    /// Tokens missing in the bucket of the connection throttle.
    pub connection_token_deficit: i64,
    /// Chance that a connect is dropped (metric `connection_drop_probability`).
    pub connection_drop_chance: f64,
}

impl Core {
    /// The figures now.
    pub fn report(&self) -> CoreReport {
        CoreReport {
            serving: self.is_open(),
            sessions: self.sessions.len(),
            local_sessions: self.sessions.locals(),
            backlog: self.backlog.len(),
            pipeline: self.pipeline.len(),
            forwarded: self.learning.queued(),
            outstanding_changes: self.outstanding.len(),
            last_prepared: self.prepared,
            committed: self.commit.ready(),
            figures: self.figures.clone(),
            connection_token_deficit: self.throttle.deficit(),
            connection_drop_chance: self.throttle.drop_chance(),
        }
    }

    /// When sessions expire, by the monotonic clock in milliseconds, and which (four-letter word
    /// `dump`).
    pub fn session_expiry(&self) -> BTreeMap<u64, Vec<SessionId>> {
        self.sessions.expiry(false)
    }

    /// The same of sessions that only this server knows of.
    pub fn local_session_expiry(&self) -> BTreeMap<u64, Vec<SessionId>> {
        self.sessions.expiry(true)
    }
}
