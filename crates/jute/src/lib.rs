//! The codec of ZooKeeper's records: client protocol, quorum protocol, transaction log and
//! snapshot, with the identifiers and limits that every floor above shares.
//!
//! This crate is not a protocol: it knows how a record looks in bytes, never when one is sent or
//! what it does. It does no I/O, keeps no state and allocates nothing that the input did not
//! already pay for in bytes.
//!
//! # Layout
//! - [`wire`]: [`Reader`], the [`Encode`] and [`Decode`] traits, primitives (Java's
//!   `BinaryInputArchive` and `BinaryOutputArchive`)
//! - [`ids`]: [`Zxid`], [`SessionId`], [`Xid`], [`ServerId`]
//! - [`error`]: [`ErrorCode`], the codes that clients see
//! - [`op`]: [`OpCode`] and [`CreateMode`]
//! - [`limits`]: every bound on untrusted lengths, with Java's property name beside it
//! - [`data`]: records shared by all protocols (ids, ACLs, Stat)
//! - [`proto`]: the client protocol
//! - [`multi`]: the framing of multi and multiRead
//! - [`txn`]: transactions as they stand in log, proposal and inform
//! - [`mutation`]: known bugs that the simulator's tests put back
//! - [`quorum`]: election and learner ports
//! - [`persistence`]: file headers of log and snapshot
#![forbid(unsafe_code)]

#[macro_use]
mod record;

pub mod data;
pub mod error;
pub mod ids;
pub mod limits;
pub mod multi;
pub mod mutation;
pub mod op;
pub mod persistence;
pub mod proto;
pub mod quorum;
pub mod txn;
pub mod wire;

pub use data::{Acl, Id, Identity, Stat, StatPersisted};
pub use error::ErrorCode;
pub use ids::{ServerId, SessionId, Xid, Zxid};
pub use op::{CreateMode, OpCode};
pub use wire::{Decode, DecodeError, Encode, Reader, Text};
