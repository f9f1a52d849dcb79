//! Java's files, both ways: transaction log, snapshots and epoch files as streams of records over
//! a [`Disk`], with recovery, purging and repair.
//!
//! This crate is not a database: it does not know what a transaction does or what a tree looks
//! like. It has no threads and no clock; a driver decides when to write, sync, roll and purge.
//! What it promises: a transaction is on disk when [`LogWriter::flush`] returns, a snapshot when
//! [`SnapshotWriter::finish`] returns, and [`Store::recover`] either delivers every such
//! transaction or refuses, by file and offset.
//!
//! # Layout
//! - [`store`]: [`Store`], an opened and locked data directory
//! - [`config`]: what the store can be told, with Java's property names
//! - [`error`]: why storage cannot go on, [`StoreError`]
//! - [`disk`]: the [`Disk`] trait, [`RealDisk`], [`SimulatedDisk`]
//! - [`log`]: the transaction log: reader, writer, torn tail or damage, truncation
//! - [`snapshot`]: snapshot reader and writer, plain, gzip and snappy
//! - [`recovery`]: newest valid snapshot and all later transactions, into a [`RecoverySink`]
//! - [`install`]: a leader's snapshot and log in the place of our own history
//! - `switch`: changes of the history that are made wholly or not at all
//! - [`purge`]: removal of old files
//! - [`epoch`]: epoch files
//! - [`names`]: names of files
//! - [`notes`]: our own files, for whoever tries what they are read from
//! - `window`: a stream seen through a growing window
#![forbid(unsafe_code)]

pub mod config;
pub mod disk;
pub mod epoch;
pub mod error;
pub mod install;
pub mod log;
pub mod names;
pub mod notes;
pub mod purge;
pub mod recovery;
pub mod snapshot;
pub mod store;
mod switch;
mod window;

pub use config::{Compression, StoreConfig};
pub use disk::{Disk, DiskFile, RealDisk, SimulatedDisk};
pub use epoch::EpochFile;
pub use error::StoreError;
pub use install::Install;
pub use log::{History, LogCursor, LogWriter, Preparer};
pub use purge::{Purge, Purged};
pub use recovery::{LoadedSnapshot, Recovered, RecoveryProgress, RecoverySink, Repair};
pub use snapshot::{SnapshotBody, SnapshotDigest, SnapshotInfo, SnapshotWriter};
pub use store::{FreeSpace, Sizes, Store};
