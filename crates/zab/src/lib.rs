//! Zab, ZooKeeper's atomic broadcast: who belongs to the ensemble, what a quorum is, who leads,
//! and how a learner gets the leader's history.
//!
//! This crate is not a server and not a network: it opens no socket, writes no file and keeps no
//! time. Each part is a state machine that gets the time and one input and says what to do as
//! effects; drivers move bytes, keep timers and disks. To it a transaction is a zxid and bytes.
//!
//! # Layout
//! - [`membership`]: one configuration of the ensemble: members, addresses, roles, its text
//! - [`quorum`]: majorities, weighted groups, two configurations at once, the oracle
//! - [`election`]: fast leader election: votes, rounds, notifications
//! - [`links`]: the connections that notifications travel on
//! - [`sync`]: a leader's proven history, and what brings a learner to it: DIFF, TRUNC or SNAP
#![forbid(unsafe_code)]

pub mod election;
pub mod links;
pub mod membership;
pub mod quorum;
pub mod sync;
