//! A server and its history on disk: the tree is rebuilt from it, the core's commands change it,
//! and learners are given what they miss of it.
//!
//! This crate is not a store (it knows no file format) and not a driver: it has no threads and no
//! clock. Here the store's records meet the tree, which do not know each other; the threads of a
//! server and the simulator both run it, so that what is proved there is what ships.
//!
//! # Layout
//! - [`recovery`]: tree and proven history from a store's records
//! - [`commands`]: carries out [`rookeeper_replica::StorageCommand`]s, strictly in order
//! - [`reading`]: history and snapshots for learners, piece by piece
//! - [`snapshot`]: what ends a snapshot's file, and one that is written at once
#![forbid(unsafe_code)]

pub mod commands;
pub mod reading;
pub mod recovery;
pub mod snapshot;

pub use commands::{CommandError, Host, Storage};
pub use reading::{Reading, ReadingError};
pub use recovery::{Mismatch, TreeRecovery, Witness};
pub use snapshot::{Sections, write_at_once};
