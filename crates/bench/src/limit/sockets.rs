//! What both bare servers stand on: one thread that waits for sockets, and one beside it that syncs
//! batches.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::Servers;
use super::follower::Log;
use crate::error::BenchError;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// How long a server that has nothing to do may take to see that it is to stop.
const STOP_PATIENCE: Duration = Duration::from_millis(50);

/// What a server does with its sockets.
pub(super) trait Server {
    /// The token of the next connection.
    fn next_token(&self) -> usize;
    /// Takes a connection, which is registered under that token.
    fn accepted(&mut self, stream: TcpStream) -> Result<(), BenchError>;
    /// There is something to read.
    fn readable(&mut self, token: usize, scratch: &mut [u8]) -> Result<(), BenchError>;
    /// All that were ready had their turn, or a batch was synced.
    fn turn_over(&mut self) -> Result<(), BenchError>;
}

/// A listener and its event queue.
pub(super) struct Sockets {
    poll: Poll,
    listener: TcpListener,
}

impl Sockets {
    /// The queue of a listener, and what wakes the thread that waits for it.
    pub(super) fn new(listener: std::net::TcpListener) -> Result<(Sockets, Waker), BenchError> {
        let failed = || BenchError::io("the server's sockets");
        let poll = Poll::new().map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed())?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(failed())?;
        Ok((Sockets { poll, listener }, waker))
    }

    /// Where further sockets are registered.
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Serves until it is told to stop.
    pub(super) fn serve(
        mut self,
        server: &mut impl Server,
        servers: &Servers,
    ) -> Result<(), BenchError> {
        servers.threads.enter();
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 256 << 10];
        while !servers.is_stopping() {
            let polled = self.poll.poll(&mut events, Some(STOP_PATIENCE));
            polled.map_err(BenchError::io("the server's poll"))?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(server)?,
                    WAKER => {}
                    Token(token) => server.readable(token, &mut scratch)?,
                }
            }
            server.turn_over()?;
        }
        Ok(())
    }

    fn accept(&self, server: &mut impl Server) -> Result<(), BenchError> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    let token = Token(server.next_token());
                    let registered =
                        self.registry().register(&mut stream, token, Interest::READABLE);
                    registered.map_err(BenchError::io("accept"))?;
                    server.accepted(stream)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(BenchError::io("accept")(error)),
            }
        }
    }
}

/// What the disk's thread has to say of each batch, in order.
pub(super) type Synced = Receiver<Result<(), BenchError>>;

/// Starts the thread that appends batches to a log and syncs each. It ends with the sender.
pub(super) fn sync_batches<'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut log: Log,
    servers: &'scope Servers,
    waker: Waker,
) -> (Sender<Vec<u8>>, Synced) {
    let (disk, batches) = channel::<Vec<u8>>();
    let (report, synced) = channel();
    scope.spawn(move || {
        servers.threads.enter();
        for batch in batches {
            if report.send(log.append(&batch)).is_err() || waker.wake().is_err() {
                return;
            }
        }
    });
    (disk, synced)
}
