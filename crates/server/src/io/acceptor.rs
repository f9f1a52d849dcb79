//! The listening socket of one I/O thread, and the threads that its connections go to in turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::net::{TcpListener, TcpStream};

use super::ports::ShardPort;
use crate::listener::{self, ConnectionLimits, Place};
use crate::log_budget::LogBudget;

/// Connections turned away in one turn.
const TURNED_AWAY_MAX: usize = 64;

/// What an acceptor is made from.
pub(crate) struct ListenerSide {
    /// Listens already.
    pub(crate) listener: std::net::TcpListener,
    /// On the number of connections.
    pub(crate) limits: Arc<ConnectionLimits>,
    /// The threads that serve.
    pub(crate) targets: Vec<Arc<ShardPort>>,
}

/// Accepts connections; noted in the ready queue by its waker when some wait.
pub(crate) struct Acceptor {
    /// `None` while the port moves.
    listener: Option<TcpListener>,
    waker: Waker,
    limits: Arc<ConnectionLimits>,
    targets: Vec<Arc<ShardPort>>,
    next: usize,
    /// Whether to wait for the next tick, since the process ran out of descriptors.
    paused: bool,
    log: LogBudget,
}

impl Acceptor {
    /// Registers the listening socket with the event loop of the thread that calls.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn new(side: ListenerSide, waker: Waker) -> io::Result<Self> {
        Ok(Acceptor {
            listener: Some(TcpListener::from_std(side.listener)?),
            waker,
            limits: side.limits,
            targets: side.targets,
            next: 0,
            paused: false,
            log: LogBudget::default(),
        })
    }

    /// Accepts from another socket from now on.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn listen(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        self.listener = Some(TcpListener::from_std(listener)?);
        Ok(())
    }

    /// Closes the listening socket.
    pub(crate) fn listen_no_more(&mut self) {
        self.listener = None;
    }

    /// The next connection that is within the limits; those that are not are closed. `None` when
    /// nobody waits, or when it is better to wait.
    pub(crate) fn accept(&mut self, now_ms: u64) -> Option<(TcpStream, SocketAddr, Place)> {
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..TURNED_AWAY_MAX {
            if self.paused {
                return None;
            }
            let (stream, peer) = match self.listener.as_ref()?.poll_accept(&mut context) {
                Poll::Pending => return None,
                Poll::Ready(Ok(accepted)) => accepted,
                Poll::Ready(Err(error)) => {
                    self.paused = listener::is_exhausted(&error);
                    if let Some(more) = self.log.take(now_ms) {
                        tracing::warn!(%error, more, "a connection was not accepted");
                    }
                    continue;
                }
            };
            match listener::admit(&self.limits, peer) {
                Ok((peer, place)) => return Some((stream, peer, place)),
                Err(rejected) => {
                    if let Some(more) = self.log.take(now_ms) {
                        tracing::warn!(%peer, more, "connection refused: {rejected}");
                    }
                }
            }
        }
        // The service gets its turn between those that are turned away.
        self.waker.wake_by_ref();
        None
    }

    /// The thread that serves the next connection.
    pub(crate) fn next_target(&mut self) -> Arc<ShardPort> {
        let target = Arc::clone(&self.targets[self.next]);
        self.next = (self.next + 1) % self.targets.len();
        target
    }

    /// Tries again after a pause; whether there was one.
    pub(crate) fn resume(&mut self) -> bool {
        std::mem::take(&mut self.paused)
    }
}
