//! A leader: it makes its history the ensemble's, and orders everything that follows (Java:
//! `Leader`, `LearnerHandler`).

mod types;

pub use types::{LeaderConfig, LeaderEffect, LeaderEnd, LeaderInput, LinkEnd};
