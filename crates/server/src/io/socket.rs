//! One client's socket: reads and writes that never block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::listener::Place;

/// A connection's socket, registered with its thread's event loop. It owns no buffer.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether something was reported to read that was not read to its end.
    readable: bool,
    /// Whether the client's end of the connection was reported: what is read last is that.
    ended: bool,
    /// Whether a write did not take all bytes and waits for the socket to drain.
    pub(crate) write_blocked: bool,
    /// Whether it is reported that there is room again; asked for when it is first needed.
    watches_writes: bool,
    place: Place,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes, and perhaps more to come: read again in this connection's next turn.
    Full(usize),
    /// So many bytes; the socket is empty now, and the next ones will be reported.
    Drained(usize),
    /// Nothing; what comes will be reported.
    Empty,
    /// The client closed or reset the connection.
    Closed,
}

impl Socket {
    /// Registers a connection; it is reported as `token` when it can be read, or written after a
    /// write fell short.
    ///
    /// # Errors
    /// Where the system has no memory for it.
    pub(crate) fn new(
        mut stream: TcpStream,
        place: Place,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Socket {
            stream,
            readable: false,
            ended: false,
            write_blocked: false,
            watches_writes: false,
            place,
        })
    }

    /// The client's address.
    pub(crate) fn client(&self) -> IpAddr {
        self.place.client()
    }

    /// Takes note of what the event loop reports.
    pub(crate) fn reported(&mut self, event: &Event) {
        let ended = event.is_read_closed() || event.is_error();
        self.ended |= ended;
        self.readable |= ended || event.is_readable();
    }

    /// Reads once into `scratch`, if something was reported.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> ReadOutcome {
        while self.readable {
            match self.stream.read(scratch) {
                Ok(0) => return ReadOutcome::Closed,
                Ok(len) if len == scratch.len() || self.ended => return ReadOutcome::Full(len),
                // A short read has emptied the socket: what comes from now on is a new event, and
                // so is the client's end.
                Ok(len) => {
                    self.readable = false;
                    return ReadOutcome::Drained(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ReadOutcome::Closed,
            }
        }
        ReadOutcome::Empty
    }

    /// Writes and returns how many bytes the kernel took; `None` when the connection is lost. When
    /// it took fewer than all, it is reported once there is room.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        registry: &Registry,
        token: Token,
    ) -> Option<usize> {
        let mut written = 0;
        self.write_blocked = false;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(0) => return None,
                Ok(len) => written += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.write_blocked = true;
                    if !self.watches_writes {
                        // Reports at once what has changed since that write.
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        registry.reregister(&mut self.stream, token, interest).ok()?;
                        self.watches_writes = true;
                    }
                    break;
                }
                Err(_) => return None,
            }
        }
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Client};
    use std::time::Duration;

    use super::super::events::EventLoop;
    use super::*;
    use crate::listener::ConnectionLimits;

    const TOKEN: Token = Token(7);

    fn pair(events: &EventLoop) -> (Socket, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Client::connect(listener.local_addr().expect("bound")).expect("connects");
        let (stream, peer) = listener.accept().expect("the client waits");
        stream.set_nonblocking(true).expect("open");
        let place = ConnectionLimits::new(0, 0, 0).admit(peer.ip()).expect("no limit");
        let stream = TcpStream::from_std(stream);
        (Socket::new(stream, place, events.registry(), TOKEN).expect("registered"), client)
    }

    fn wait(events: &mut EventLoop, socket: &mut Socket) {
        for event in events.poll(true).expect("polled") {
            assert_eq!(event.token(), TOKEN);
            socket.reported(event);
        }
    }

    #[test]
    fn a_read_says_whether_there_may_be_more() {
        let mut events = EventLoop::new().expect("an event queue");
        let (mut socket, mut client) = pair(&events);
        let mut scratch = [0; 8];
        assert_eq!(socket.read(&mut scratch), ReadOutcome::Empty, "nothing was reported");
        client.write_all(b"0123456789ab").expect("open");
        wait(&mut events, &mut socket);
        assert_eq!(socket.read(&mut scratch), ReadOutcome::Full(8));
        assert_eq!(socket.read(&mut scratch), ReadOutcome::Drained(4));
        assert_eq!(socket.read(&mut scratch), ReadOutcome::Empty);
    }

    #[test]
    fn the_end_that_came_with_the_last_bytes_is_seen() {
        let mut events = EventLoop::new().expect("an event queue");
        let (mut socket, mut client) = pair(&events);
        client.write_all(b"last").expect("open");
        drop(client);
        let mut scratch = [0; 8];
        let mut seen = Vec::new();
        while seen.last() != Some(&ReadOutcome::Closed) {
            match socket.read(&mut scratch) {
                ReadOutcome::Empty => wait(&mut events, &mut socket),
                outcome => seen.push(outcome),
            }
        }
        let len = |outcome: &ReadOutcome| match outcome {
            ReadOutcome::Full(len) | ReadOutcome::Drained(len) => *len,
            _ => 0,
        };
        assert_eq!(seen.iter().map(len).sum::<usize>(), 4);
    }

    #[test]
    fn a_write_that_fell_short_goes_on_when_there_is_room() {
        let mut events = EventLoop::new().expect("an event queue");
        let (mut socket, mut client) = pair(&events);
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("open");
        let bytes = vec![5; 32 << 20];
        let mut written = 0;
        let (begin, may_begin) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            may_begin.recv().expect("no socket takes that much at once");
            let mut received = vec![0; 32 << 20];
            client.read_exact(&mut received).expect("all of it comes");
            received.iter().all(|byte| *byte == 5)
        });
        while written < bytes.len() {
            let len = socket.write(&bytes[written..], events.registry(), TOKEN).expect("open");
            written += len;
            if socket.write_blocked {
                begin.send(()).expect("the reader waits, or reads");
                wait(&mut events, &mut socket);
            }
        }
        drop(begin);
        assert!(reader.join().expect("it does not panic"));
    }
}
