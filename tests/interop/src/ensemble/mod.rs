//! Ensembles of real processes: Java's members and ours in any mix, under load, with faults.
//!
//! Members are addressed by their index (0, 1, ...); the server id is the index plus one, so of
//! members with equal histories the last one wins an election: that is how a test says who leads.
//!
//! # Environment
//!
//! - `INTEROP_KEEP=1`: files of an ensemble whose test failed are kept, and named
//! - `INTEROP_MEMBERS=java`: Java 3.9 runs in the place of every member of ours, which proves the
//!   tests
//!
//! # Layout
//!
//! - [`program`]: what a member runs: Java of some version, or our binary
//! - [`network`]: addresses of members: the loopback address, or a network namespace each
//! - [`delay`]: a proxy that delays what passes between members
//! - [`disk`]: small file systems that can be made full
//! - [`member`]: one member: files, process, what it says of itself
//! - [`harness`]: [`harness::Ensemble`]: all members, roles, faults
//! - [`client`]: a session that moves between members
//! - [`crowd`]: thousands of sessions that only stay alive
//! - [`tree`]: all znodes as a member shows them
//! - [`digests`]: digests of all members, and alarms
//! - [`history`]: what sessions asked and were told, and the judgement of it
//! - [`lane`]: one session that writes, reads and checks
//! - [`load`]: many lanes, and the final comparison
//! - [`faults`]: random faults for as long as wanted
//! - [`scenario`]: what every mix of members passes
//! - [`learners`]: scenarios of observers behind followers, and of larger snapshots

pub mod client;
pub mod crowd;
pub mod delay;
pub mod digests;
pub mod disk;
pub mod faults;
pub mod harness;
pub mod history;
pub mod lane;
pub mod learners;
pub mod load;
pub mod member;
pub mod network;
pub mod program;
pub mod scenario;
pub mod tree;
