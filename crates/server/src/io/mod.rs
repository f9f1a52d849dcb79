//! The I/O threads: each owns a [`Shard`] and the sockets of its connections.
//!
//! One task a thread serves all that became ready since its last turn: it reads each ready socket
//! once into the thread's scratch buffer, answers reads straight into output buffers, hands all
//! writes to the core in one batch, and writes each connection's output once. An idle connection
//! owns no buffer and no task.
//!
//! # Layout
//! - [`IoThread`]: the turn
//! - `acceptor`: the listening socket
//! - `ports`: the queues in front of a thread
//! - `ready`: which connections have something to do
//! - `socket`: one connection's socket

mod acceptor;
mod ports;
mod ready;
mod socket;
mod thread;

pub(crate) use acceptor::ListenerSide;
pub(crate) use ports::{IoMessage, ShardPort};
pub(crate) use thread::{CoreSide, IoThread};

use std::io;
use std::thread::JoinHandle;

/// Turns of the task between two looks at the sockets, where the task does not sleep in between.
const TURNS_BETWEEN_POLLS: u32 = 2;

/// Starts an I/O thread with a runtime of its own.
///
/// # Errors
/// Where the system has no thread or event queue left.
pub(crate) fn spawn(
    index: usize,
    io_thread: IoThread,
    listener: Option<ListenerSide>,
) -> io::Result<JoinHandle<()>> {
    // A task that always has more to do must not keep the event loop from the other sockets.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().event_interval(TURNS_BETWEEN_POLLS).build()?;
    std::thread::Builder::new().name(format!("rookeeper-io-{index}")).spawn(move || {
        let task = runtime.spawn(io_thread.run(listener));
        match runtime.block_on(task) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "an I/O thread could not listen"),
            Err(error) => tracing::error!(%error, "an I/O thread has failed"),
        }
    })
}
