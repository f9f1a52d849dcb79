//! One client's socket: reads and writes that never block, and the wake-up when they would have.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ready::{self, ReadyQueue};
use crate::listener::Place;

/// A connection's socket, registered with its thread's event loop. It owns no buffer.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    waker: Waker,
    /// Whether a write did not take all bytes and waits for the socket to drain.
    pub(crate) write_blocked: bool,
    place: Place,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes, and perhaps more to come: read again in this connection's next turn.
    Full(usize),
    /// So many bytes; the socket is empty now, and the connection will be woken.
    Drained(usize),
    /// Nothing; the connection will be woken.
    Empty,
    /// The client closed or reset the connection.
    Closed,
}

impl Socket {
    /// Takes a connection of this thread's event loop; it is noted in `queue` as `token` when it
    /// can be read, or written after a write fell short.
    pub(crate) fn new(
        stream: TcpStream,
        place: Place,
        queue: &Arc<ReadyQueue>,
        token: u32,
    ) -> Self {
        let waker = ready::waker(queue, token);
        Socket { stream, waker, write_blocked: false, place }
    }

    /// The client's address.
    pub(crate) fn client(&self) -> IpAddr {
        self.place.client()
    }

    /// Reads once into `scratch`.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> ReadOutcome {
        let len = match self.poll_read(scratch) {
            Poll::Pending => return ReadOutcome::Empty,
            Poll::Ready(Ok(0) | Err(_)) => return ReadOutcome::Closed,
            Poll::Ready(Ok(len)) => len,
        };
        if len == scratch.len() {
            return ReadOutcome::Full(len);
        }
        // A short read has emptied the socket, which the event loop knows: this only asks for the
        // wake-up, unless the client has closed its side meanwhile.
        let mut context = Context::from_waker(&self.waker);
        match self.stream.poll_read_ready(&mut context) {
            Poll::Pending => ReadOutcome::Drained(len),
            Poll::Ready(_) => ReadOutcome::Full(len),
        }
    }

    fn poll_read(&mut self, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(&self.waker);
        let mut buffer = ReadBuf::new(scratch);
        let poll = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer);
        poll.map_ok(|()| buffer.filled().len())
    }

    /// Writes and returns how many bytes the kernel took; `None` when the connection is lost. When
    /// it took fewer than all, the connection will be woken once there is room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut written = 0;
        self.write_blocked = false;
        let mut context = Context::from_waker(&self.waker);
        while written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(&mut context, &bytes[written..]) {
                Poll::Ready(Ok(0) | Err(_)) => return None,
                Poll::Ready(Ok(len)) => written += len,
                Poll::Pending => {
                    self.write_blocked = true;
                    break;
                }
            }
        }
        Some(written)
    }
}
