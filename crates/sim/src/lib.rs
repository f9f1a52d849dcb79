//! Whole services in one process, one thread and one seed: the cores, shards and stores that ship,
//! with simulated disks, networks, clocks and clients, and judges of everything that they do.
//!
//! This crate is not a model of ZooKeeper: what runs is the production code below its sockets,
//! files and threads. It is not a benchmark either: its time is virtual.
//!
//! A run is a function of its seed. What it finds comes with the seed, and the same seed finds it
//! again.
//!
//! # Layout
//! - [`plan`]: what a seed does, and the kinds of trouble
//! - [`roles`]: observers and other things that not every ensemble has
//! - [`world`]: the loop, and everything that happens in it
//! - [`machine`], [`network`], [`storage`]: what the world is made of
//! - [`recovery`]: a server's state from its disk
//! - [`workload`]: what clients ask for
//! - [`history`]: what clients did and were told
//! - [`lineage`]: the one history of transactions
//! - [`quorums`]: what a quorum of servers said that it has
//! - [`model`]: what the service must hold after each of them
//! - [`digest`]: the model's digest
//! - [`checks`]: the judges
//! - [`dice`], [`queue`], [`trace`]: chance, time, and a hash of all that happened
//! - [`scenario`]: what goes wrong, as a text
//! - [`runs`]: many seeds
//! - [`output`]: lines for whoever reads them
#![forbid(unsafe_code)]

pub mod checks;
pub mod dice;
pub mod digest;
pub mod history;
pub mod lineage;
pub mod machine;
pub mod model;
pub mod network;
pub mod output;
pub mod plan;
pub mod queue;
pub mod quorums;
pub mod recovery;
pub mod roles;
pub mod runs;
pub mod scenario;
pub mod storage;
pub mod trace;
pub mod workload;
pub mod world;

/// Prints a line about a run that was asked to be loud.
fn say(line: &str) {
    output::print_line(&mut std::io::stderr(), format_args!("{line}"));
}
