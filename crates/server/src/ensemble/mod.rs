//! A member of an ensemble: the thread that drives its [`rookeeper_replica::Replica`] together
//! with the sockets of its election and quorum ports.
//!
//! # Layout
//! - `member`: from the configuration and what is on disk to the threads
//! - `run`: the core's thread: event loop, order and time, and clients where no thread is theirs
//! - `aside`: what that thread does before it sleeps
//! - `driver`: steps the machine and carries out its effects
//! - `holding`: how long a leader's proposals wait for each other
//! - `events`: what operators read of it
//! - `ports`, `listen`: the listening sockets of both ports
//! - `client_port`: the clients' port, where a reconfiguration moves it
//! - `dial`: connections to other servers, names looked up each time
//! - `sockets`, `connection`, `queue`: all connections; one of them; what it has to write
//! - `history`: history and snapshots for learners, read in pieces
//! - `membership_files`: `zoo.cfg.dynamic` and what belongs to it

mod aside;
mod client_port;
mod connection;
mod dial;
mod driver;
mod events;
mod history;
mod holding;
mod listen;
mod member;
mod membership_files;
mod ports;
mod queue;
mod run;
mod sockets;

pub(crate) use member::{MemberError, MemberParts, MemberStart, recover};
pub(crate) use membership_files::MembershipFiles;
