//! A follower or observer: finds the leader's epoch, takes over its history, then its proposals
//! (Java: `Learner`, `Follower`, `Observer`).

mod types;

pub use types::{LearnerConfig, LearnerEffect, LearnerEnd, LearnerInput, SyncStart};
