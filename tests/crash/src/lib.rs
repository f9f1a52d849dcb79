//! Crashes of a real server process under write load, and what must be left of its state.
//!
//! This is not the store's simulated disk, which tries every crash point: here the process, the
//! kernel and the file system are real, and the moments are drawn. Several sessions write, each to
//! znodes of its own, with many requests in flight. After a crash the server is started again, and
//! each session's znodes must be what its acknowledged requests made, followed by some whole
//! prefix of those in flight; its session and its ephemerals must live on.
//!
//! # Layout
//! - [`wire`]: a blocking connection to the server
//! - [`model`]: what a lane's znodes must be
//! - [`lane`]: one session that writes until the server is gone
//! - [`verify`]: the server's state against the models
//! - [`harness`]: cycle after cycle of load, crash, start, verification
//! - [`ext4`]: a file system of its own in a file, whose power can be cut
//! - [`ensemble`]: members on such file systems under load, and a member whose disk is full
pub mod ensemble;
pub mod ext4;
pub mod harness;
pub mod lane;
pub mod model;
pub mod verify;
pub mod wire;
