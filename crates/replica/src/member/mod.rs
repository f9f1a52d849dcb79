//! A member of an ensemble: election, leader or learner, and the clients' pipeline, as one state
//! machine.
//!
//! This is not a server: whoever drives it brings sockets, disk, time and the lock around
//! [`crate::Shared`]. A server that stands alone needs none of it and drives [`crate::Core`]
//! itself.
//!
//! # The driver's duties
//!
//! Those towards shards, the lock and snapshots are the same as with a [`crate::Core`] (the
//! crate's documentation); where that says `Core::step` and `Core::apply`, it is `Replica::step`
//! and `Replica::apply`. In place of its duty 4, and besides:
//!
//! 1. **Order.** [`ReplicaEffect`]s are carried out in their order, each addressee in its own:
//!    disk, each connection, each shard. A step's effects are carried out before the next step.
//! 2. **Disk.** One thread carries out [`StorageCommand`]s strictly in order and reports each
//!    ([`StorageReport`]) in the same order. Everything queued at a moment may be made durable
//!    together. Whatever happens, every command is answered, or `Failed` is reported.
//! 3. **Replacing the tree.** Between `Truncate`, `EndInstall` or `Reload` and their
//!    `Reloaded`, the driver puts a tree into `Shared` (`Shared::replace_tree`). No client is
//!    connected then. A snapshot that is being written is given up first, and reported as ended.
//! 4. **Election port.** [`ReplicaEffect::Link`] as [`rookeeper_zab::links`] says. A `Dial` is
//!    answered by `Dialled` or `DialFailed`, a `Write` by `Written` once all of it is written.
//! 5. **Quorum port.** It is open always. `QuorumAccepted` comes first of a connection, then its
//!    bytes in order, then `QuorumClosed` once, unless the replica closed it. After each part of a
//!    `History` or `Snapshot` item that was written, `QuorumWritten`. Each connection has
//!    a queue of [`rookeeper_zab::Outgoing`] items written in order; a queue longer than its limit
//!    is closed. Numbers of connections are never used again, of either port.
//! 6. **Dialling.** [`ReplicaEffect::QuorumDial`] is answered once, with its number. A later dial
//!    makes an earlier one obsolete: its connection, if it still comes, is reported like any
//!    other and closed by the replica.
//! 7. **Reading.** After `QuorumPause` no more bytes of the connection are handed in until
//!    `QuorumResume`; those that were read before wait.
//! 8. **Time.** [`ReplicaInput::Tick`] comes at `Replica::deadline_ms` (monotonic, asked again
//!    after each step), and every [`crate::TICK_INTERVAL_MS`] at the latest.
//! 9. **Applying.** After `CoreEffect::Apply`, call `Replica::apply` under the write lock while it
//!    answers [`crate::ApplyProgress::More`], and carry out its effects.
//! 10. **Holding.** Where `MemberConfig::holds_proposals` says so, each [`ReplicaEffect::Held`] is
//!     answered by [`ReplicaInput::Release`], one for all that came before it: when the disk takes
//!     what had gathered, or at once, and soon in any case.
//! 11. **End.** After [`ReplicaEffect::Ended`] nothing is called any more; the disk thread
//!     finishes what it has.
//!
//! # Layout
//! - [`MemberConfig`], [`Recovered`]: what a member goes by, and what its disk held
//! - [`ReplicaInput`], [`StorageReport`]: what it is told
//! - [`ReplicaEffect`], [`StorageCommand`]: what it asks for
//! - `replica`: [`Replica`], and how effects of one machine reach the next one
//! - `looking`: elections and their links
//! - `read_only`: a member without a leader, which may be read
//! - `leading`, `learning`: between the pipeline and the leader or learner machine
//! - `mastering`: between the learner machine and observers that learn from this follower
//! - `ending`: the end of a part: every stage is joined
//! - `storage`: what the disk was asked for and has not answered
//! - `configuration`: configurations proposed, committed, shown
//! - `report`: [`MemberReport`]

mod config;
mod configuration;
mod effect;
mod ending;
mod input;
mod leading;
mod learning;
mod looking;
mod mastering;
mod read_only;
mod replica;
mod report;
mod storage;

pub use config::{MemberConfig, ObserverMasterRules, Recovered, ReplicaConfig, ReplicaStartError};
pub use effect::{
    DivergenceResponse, EndReason, MemberEvent, ReplicaEffect, ServerState, StorageCommand,
};
pub use input::{ReplicaInput, StorageReport};
pub use replica::Replica;
pub use report::MemberReport;
