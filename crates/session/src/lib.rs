//! A client's session as a state machine: handshake, requests in flight, reconnect, watches kept.
//!
//! This crate is not a client: it knows no sockets, clocks, threads or futures, resolves no names
//! and draws no random numbers. Whoever drives a [`Session`] brings all of these: it carries out
//! the [`Effect`]s of each [`Session::step`] in order, and steps again with what comes of them.
//! Time is a count of milliseconds that never goes back; where it starts does not matter.
//!
//! What holds, whatever a server sends and whenever a connection ends:
//! - Each token of a request comes back exactly once. Requests that were submitted when a
//!   connection or an attempt at one failed come back with ConnectionLoss, and are not sent again.
//! - On a connection requests leave in the order in which they were submitted, after the
//!   handshake, the credentials and the watches.
//! - A reply that is malformed or out of turn ends the connection; nothing of it is believed.
//! - A watch is kept once the reply that set it is there, set again on each connection, and told
//!   of one event if it is of the kind that fires once.
//! - The end is the end: after Expired, AuthFailed or Closed nothing is sent, and all that is
//!   submitted comes back at once.
//!
//! How many requests wait is for the caller to bound: [`Session::outstanding`] counts them.
//!
//! The rules are those of Java's client 3.9.5 (`ClientCnxn`), but for these:
//! - A chroot is taken from every path of a reply, and the watch on the configuration stays on its
//!   znode; Java's client leaves some paths of replies as they are, and sets that watch again below
//!   the chroot.
//! - Watches are set again under the number -8, as the C client does; Java's numbers these requests
//!   like all others. Several credentials or batches leave first come first, not last.
//! - A multi's results have to answer its parts; Java's client takes any.
//!
//! SASL, changing the list of servers, and time limits of single requests are not here.
//!
//! # Layout
//! - [`Config`]: what a session is made of
//! - [`Input`], [`Effect`]: what goes in and what comes out
//! - [`Operation`]: requests, and how they go to the server
//! - [`Reply`]: answers, understood by the operation
//! - [`path`]: what is a path, and chroots
//! - `session`: [`Session`]: steps and timers, requests, frames
//! - `watches`: the watches kept, and the requests that set them again
//! - `hosts`: which server is next
//! - `timing`: timeouts, pings and pauses
//! - `frame`: frames out of bytes
#![forbid(unsafe_code)]

mod config;
mod effect;
mod frame;
mod hosts;
mod operation;
pub mod path;
mod reply;
mod session;
mod timing;
mod watches;

pub use config::{Config, ReadOnly};
pub use effect::{ConnectionId, Effect, Input, Leaving, State, Token, WatchEvent};
pub use operation::{CONFIG_PATH, Create, Operation, Read, Write};
pub use path::Chroot;
pub use reply::{PartReply, PartResult, Reply};
pub use session::Session;
pub use watches::{EventKind, WatchToken, WatcherType};
