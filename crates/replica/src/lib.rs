//! The replica as state machines: the pipeline of one server and the protocol of its clients'
//! connections.
//!
//! This crate is not a server: it knows no sockets, files, threads or clocks.
//!
//! # Layout
//! - [`watch`]: the watch table of a shard
#![forbid(unsafe_code)]

pub mod watch;
