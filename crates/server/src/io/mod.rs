//! The I/O threads: each owns a [`Shard`] and the sockets of its connections.
//!
//! One loop a thread serves all that became ready since its last turn: it reads each ready socket
//! once into the thread's scratch buffer, answers reads straight into output buffers, hands all
//! writes to the core in one batch, and writes each connection's output once. An idle connection
//! owns no buffer.
//!
//! # Layout
//! - [`IoThread`]: the turn
//! - [`Guest`]: the same as a part of another thread
//! - `acceptor`: the listening socket
//! - `ports`: the queues in front of a thread
//! - `events`: which sockets became ready, and how the thread is woken
//! - `socket`: one connection's socket

mod acceptor;
mod events;
mod guest;
mod ports;
mod socket;
mod thread;

pub(crate) use acceptor::ListenerSide;
pub(crate) use guest::{Guest, Progress};
pub(crate) use ports::{IoMessage, ShardPort};
pub(crate) use thread::{CoreSide, IoThread};

use std::io;
use std::thread::JoinHandle;

/// Starts the I/O threads; the first one accepts clients.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn spawn_all(
    io_threads: Vec<IoThread>,
    mut listener: Option<ListenerSide>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |(index, io_thread): (usize, IoThread)| {
        let listener = listener.take();
        std::thread::Builder::new().name(format!("rookeeper-io-{index}")).spawn(move || {
            if let Err(error) = io_thread.run(listener) {
                tracing::error!(%error, "an I/O thread has failed");
            }
        })
    };
    io_threads.into_iter().enumerate().map(spawn).collect()
}
