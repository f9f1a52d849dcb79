//! The drivers around the pure cores: I/O threads, the disk thread, configuration and four-letter
//! words. No rule of the protocol or of the tree lives here.
//!
//! # Layout
//! * [`config`]: zoo.cfg, properties and arguments, read into one [`config::ServerConfig`]
//! * [`fourletter`]: the answers of four-letter words, from plain facts
//! * [`process`]: what is told about the process around the server
//! * `server`: [`Server`], [`ServerHandle`]: from the configuration to the end
//! * `parts`: the threads and what connects them
//! * `assemble`: from the configuration to the settings of each part
//! * `io`: the I/O threads: sockets around a shard
//! * `core_driver`: drives the core, on a thread of its own or inline on the only I/O thread
//! * `outlets`: where the core's effects go, alone and in an ensemble
//! * `ensemble`: a member of an ensemble: its thread, its peers' sockets
//! * `disk`: the thread of log and history: group commit
//! * `commands`, `writers`, `processors`, `room`: the queue before a thread that writes, whom its
//!   batches wait for and when, and the free space
//! * `restraint`: how often something is tried that pays at some times only
//! * `snapshots`: the thread of snapshots and purging
//! * `recovery`: what is said while the tree is rebuilt from disk
//! * `listener`: listening sockets and limits on connections
//! * `four_letter`: the thread that answers four-letter words
//! * `gather`: the facts that their answers are made of
//! * `measures`: what the threads measure of themselves
//! * [`inspect`]: questions to the running server
//! * `log_budget`: what clients cause is told so many times a second
//! * `clock`, `mailbox`, `fate`, `signals`: time, queues, the end, and who asks for it
#![forbid(unsafe_code)]

mod assemble;
mod clock;
mod commands;
pub mod config;
mod core_driver;
mod disk;
mod ensemble;
mod fate;
mod four_letter;
pub mod fourletter;
mod gather;
pub mod inspect;
mod io;
mod listener;
mod log_budget;
mod mailbox;
mod measures;
mod outlets;
mod parts;
pub mod process;
mod processors;
mod recovery;
mod restraint;
mod room;
mod server;
mod signals;
mod snapshots;
mod writers;

pub use fate::ExitCode;
pub use inspect::Inspector;
pub use server::{Server, ServerHandle, StartError};
