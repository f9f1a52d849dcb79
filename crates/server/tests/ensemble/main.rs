//! Three servers of one ensemble in this process, over real sockets and files.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod bed;
#[path = "../common/mod.rs"]
mod common;
mod reconfiguration;
mod service;
