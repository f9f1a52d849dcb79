//! The replica as state machines: [`Core`], one a server, orders writes and keeps sessions alive;
//! [`Shard`], one an I/O thread, speaks the client protocol for its connections.
//!
//! This crate is not a server: it knows no sockets, files, threads, clocks or locks, and draws no
//! random numbers. Whoever drives it brings all of these and has the following duties.
//!
//! # The driver's duties
//!
//! The shards, the core and a disk are driven by threads of their own, by one thread together, or
//! by a simulator that interleaves them; the cores cannot tell. [`Shared`] is what they share.
//!
//! 1. **Lock.** One reader-writer lock stands around [`Shared`]. What takes `&Shared` is called
//!    under the read lock, [`Core::apply`] under the write lock. Nothing else locks.
//! 2. **Deliver before reading.** A [`CoreEffect::Deliver`] is put into its shard's queue before
//!    the lock of the call that made it is released. Whoever takes the read lock for a shard first
//!    takes what its queue holds, passes all of it to [`Shard::deliver`] in order and calls
//!    [`Shard::catch_up`]; then, under the same lock, [`Shard::receive`] as often as there is
//!    input. So nothing that a connection reads is ahead of what it was told. (The shard checks:
//!    a batch left in the queue is a panic, not a wrong answer.)
//! 3. **Carry.** After each call, all [`ShardEffects`] are carried out: the submissions go to the
//!    core, in order, as [`CoreInput::Submissions`]; of each connection in
//!    [`ShardEffect::Output`], [`Shard::output`] is written to its socket and [`Shard::written`]
//!    told; connections are closed, paused and resumed as told. Effects of one call may be carried
//!    out after the lock is released, but before the next call for the same connection.
//! 4. **Persist.** The segments of [`CoreEffect::Append`] are appended to the log in order, made
//!    durable, and then reported by [`CoreInput::Durable`]. While one is made durable, the next
//!    ones gather and are made durable together. [`CoreEffect::Roll`] ends a log file between the
//!    segments that it stands between. A failed write or flush is [`CoreInput::DiskFailed`].
//! 5. **Apply.** After [`CoreEffect::Apply`], take the write lock and call [`Core::apply`]; while
//!    it answers [`ApplyProgress::More`], release the lock, so that reads get in, and repeat.
//! 6. **Wake.** A shard named by [`CoreEffect::Deliver`] or [`CoreEffect::Wake`] is run soon, as
//!    duty 2 says, even when it has no input: events wait for it.
//! 7. **Tick.** [`Shard::tick`] and [`CoreInput::Tick`] come about every [`TICK_INTERVAL_MS`].
//! 8. **Snapshot.** After [`CoreEffect::BeginSnapshot`], call `Tree::begin_snapshot` and
//!    `Tree::continue_snapshot` on the tree of [`Shared`] under the write lock, write what they
//!    give on a thread that is not the log's, and report [`CoreInput::SnapshotEnded`].
//! 9. **Release.** When a socket is gone, for whatever reason, call [`Shard::closed`] once; its
//!    key means nothing from then on. Every call with a key that means nothing is harmless.
//!
//! Where these hold, replies of a connection are in the order of its requests, events come before
//! the replies that reflect them, a session's reads see its writes, and nothing is acknowledged
//! before it is durable.
//!
//! # Layout
//! - `ids`: [`Now`], [`ShardId`], [`ConnectionKey`], [`SessionKey`]
//! - [`config`]: every setting, with Java's property name and default
//! - `shared`: [`Shared`], the state that shards read and the core writes
//! - `message`: [`SubmissionBatch`] and [`DeliveryBatch`], between shards and core
//! - `close`: [`CloseReason`]
//! - `shard`: [`Shard`]: frames, handshake, gate, reads, events, output, statistics
//! - `core`: [`Core`]: sessions, preparation, durability, applying, snapshots, clean-up
//! - `member`: a member of an ensemble: what its driver is told and asked
//! - [`watch`]: the watch table of a shard
#![forbid(unsafe_code)]

mod close;
pub mod config;
mod core;
mod ids;
mod member;
mod message;
mod reply;
mod shard;
mod shared;
pub mod watch;

pub use self::core::{
    ApplyProgress, Core, CoreEffect, CoreInput, CoreReport, CoreRole, CoreStart, EnsembleView,
    Figures, HaltReason, TICK_INTERVAL_MS,
};
pub use close::CloseReason;
pub use config::{ConnectionThrottleConfig, CoreConfig, ShardConfig};
pub use ids::{ConnectionKey, Now, SessionKey, ShardId};
pub use member::{
    DivergenceResponse, EndReason, MemberConfig, MemberEvent, MemberReport, ObserverMasterRules,
    Recovered, Replica, ReplicaConfig, ReplicaEffect, ReplicaInput, ReplicaStartError, ServerState,
    StorageCommand, StorageReport,
};
pub use message::{DeliveryBatch, SubmissionBatch};
pub use rookeeper_zab::Segment;
pub use shard::{
    ConnectionReport, Latency, Peer, Shard, ShardCounters, ShardEffect, ShardEffects, Summary,
};
pub use shared::{DigestLog, Load, Shared};
