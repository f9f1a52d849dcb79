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
//! - [`forward`]: a client's request on its way from a learner to the leader
//! - [`segment`]: transactions on their way to log and peers
//! - [`outgoing`]: what a leader has for a learner, for drivers to write
//! - [`wire`]: packets of the quorum port: reading them from a stream, writing them
//! - [`leader`]: from a won election to commits: epoch, synchronisation, broadcast
//! - [`learner`]: a follower or observer: epoch, history, proposals of its leader
//! - [`observer_master`]: a follower that serves observers in the leader's place
//! - [`sync`]: a leader's proven history, and what brings a learner to it: DIFF, TRUNC or SNAP
#![forbid(unsafe_code)]

pub mod election;
pub mod forward;
pub mod leader;
pub mod learner;
pub mod links;
pub mod membership;
pub mod observer_master;
pub mod outgoing;
pub mod quorum;
pub mod segment;
pub mod sync;
pub mod wire;

pub use forward::Forward;
pub use outgoing::{Outgoing, RecordsKind};
pub use segment::{Segment, SegmentBuilder};

/// Which of the two epochs that a member keeps on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochKind {
    /// The last epoch that a leader announced and this member accepted (file `acceptedEpoch`).
    Accepted,
    /// The epoch of the leader whose history this member last took over (file `currentEpoch`).
    Current,
}
