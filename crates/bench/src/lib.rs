//! Load generator and measure for any ZooKeeper server: what it does a second and a CPU-second, how
//! long it takes, how much memory it holds.
//!
//! This is not a client library: it speaks just enough of the protocol to load a server, at a low
//! cost of its own, for client and server often share the machine. It checks every reply: order
//! of xids, error code, zxids that only grow, Stat, and the data themselves. CPU time and memory
//! of the server come from `/proc`, for the process ids that the caller names.
//!
//! # Layout
//! - [`cli`]: the command line, and [`run`]
//! - [`error`][]: [`BenchError`]
//! - [`client`]: many connections on one thread's epoll, and the [`client::Scenario`] that they run
//! - [`connection`]: one connection: handshake, frames, requests in flight
//! - [`value`]: znodes' data that tell whose they are
//! - [`check`]: what must hold of every reply
//! - [`pipeline`]: a list of requests over several connections (set-up, clean-up, fill)
//! - [`load`]: a mixed load for a time or a number of operations
//! - [`watch`], [`storm`], [`idle`], [`fill`], [`start`]: the other scenarios
//! - [`limit`]: what the machine allows: a bare echo, and a replicated and synced one
//! - [`process`]: CPU time and memory of processes
//! - [`servers`]: servers that the benchmark starts itself
//! - [`ensemble`]: ensembles that the benchmark starts itself
//! - [`compare`]: two kinds of server side by side
//! - [`report`]: figures as a table and as JSON
#![forbid(unsafe_code)]

pub mod check;
pub mod cli;
pub mod client;
pub mod compare;
pub mod connection;
pub mod ensemble;
pub mod error;
pub mod fill;
pub mod idle;
pub mod limit;
pub mod load;
pub mod pipeline;
pub mod process;
pub mod report;
pub mod servers;
pub mod start;
pub mod storm;
pub mod value;
pub mod watch;

pub use cli::run;
pub use error::BenchError;
