//! The binary and its script as processes.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod command_line;
mod home;
mod zk_server_script;
