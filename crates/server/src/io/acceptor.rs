//! The listening socket of one I/O thread, and the threads that its connections go to in turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::ports::ShardPort;
use crate::listener::{self, ConnectionLimits, Place};
use crate::log_budget::LogBudget;

/// Connections turned away in one turn.
const TURNED_AWAY_MAX: usize = 64;

/// What an acceptor is made from.
pub(crate) struct ListenerSide {
    /// Listens already; `None` where there is no client port.
    pub(crate) listener: Option<std::net::TcpListener>,
    /// On the number of connections.
    pub(crate) limits: Arc<ConnectionLimits>,
    /// The threads that serve.
    pub(crate) targets: Vec<Arc<ShardPort>>,
}

/// What came of looking for a connection.
pub(crate) enum Accept {
    /// A client within the limits.
    Client(TcpStream, SocketAddr, Place),
    /// Nobody waits; who comes will be reported.
    Nobody,
    /// Many were turned away: the service gets its turn before the next ones.
    Later,
}

/// Accepts connections; reported by the event loop when some wait.
pub(crate) struct Acceptor {
    /// `None` while the port moves, or where there is none.
    listener: Option<TcpListener>,
    token: Token,
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
    pub(crate) fn new(side: ListenerSide, registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Acceptor {
            listener: side.listener.map(|it| registered(it, registry, token)).transpose()?,
            token,
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
    pub(crate) fn listen(
        &mut self,
        listener: std::net::TcpListener,
        registry: &Registry,
    ) -> io::Result<()> {
        self.listener = Some(registered(listener, registry, self.token)?);
        Ok(())
    }

    /// Closes the listening socket.
    pub(crate) fn listen_no_more(&mut self) {
        self.listener = None;
    }

    /// The next connection that is within the limits; those that are not are closed.
    pub(crate) fn accept(&mut self, now_ms: u64) -> Accept {
        for _ in 0..TURNED_AWAY_MAX {
            let Some(listener) = self.listener.as_ref().filter(|_| !self.paused) else {
                return Accept::Nobody;
            };
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accept::Nobody,
                Err(error) => {
                    self.paused = listener::is_exhausted(&error);
                    if let Some(more) = self.log.take(now_ms) {
                        tracing::warn!(%error, more, "a connection was not accepted");
                    }
                    continue;
                }
            };
            match listener::admit(&self.limits, peer) {
                Ok((peer, place)) => return Accept::Client(stream, peer, place),
                Err(rejected) => {
                    if let Some(more) = self.log.take(now_ms) {
                        tracing::warn!(%peer, more, "connection refused: {rejected}");
                    }
                }
            }
        }
        Accept::Later
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

fn registered(
    listener: std::net::TcpListener,
    registry: &Registry,
    token: Token,
) -> io::Result<TcpListener> {
    let mut listener = TcpListener::from_std(listener);
    registry.register(&mut listener, token, Interest::READABLE)?;
    Ok(listener)
}
