//! A raw client connection on a blocking socket: frames out, frames in, nothing of the protocol.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What came when a frame was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The payload of one frame.
    Frame(Vec<u8>),
    /// The server closed the connection.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// One connection to a server on this machine.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    closed: bool,
}

impl Connection {
    /// Connects to the loopback address.
    pub fn open(port: u16) -> std::io::Result<Connection> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Connection::open_at(address, Duration::from_secs(10))
    }

    /// Connects to any address, within this time.
    pub fn open_at(address: SocketAddr, patience: Duration) -> std::io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        // Fails where the server has closed the connection already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Connection { stream, buffer: Vec::new(), closed: false })
    }

    /// Sends bytes as they are. A connection that the server has closed is noticed by the next
    /// read.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            // Replies sent before the close may still be waiting to be read.
            self.closed = false;
        }
    }

    /// Waits for one frame until the deadline.
    pub fn receive(&mut self, deadline: Instant) -> Received {
        loop {
            if let Some(payload) = self.buffered_frame() {
                return Received::Frame(payload);
            }
            if self.closed {
                return Received::Closed;
            }
            let Some(left) =
                deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            else {
                return Received::Nothing;
            };
            if !self.fill(left) {
                return if self.closed { Received::Closed } else { Received::Nothing };
            }
        }
    }

    /// Reads everything until the server closes; what came, and whether it closed in time.
    pub fn receive_to_end(&mut self, deadline: Instant) -> (Vec<u8>, bool) {
        while !self.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (!self.fill(left) && !self.closed) {
                break;
            }
        }
        (std::mem::take(&mut self.buffer), self.closed)
    }

    /// False where nothing came in time or the connection ended.
    fn fill(&mut self, left: Duration) -> bool {
        if self.stream.set_read_timeout(Some(left)).is_err() {
            self.closed = true;
            return false;
        }
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
        !self.closed
    }

    fn buffered_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.buffer.first_chunk::<4>().map(|head| u32::from_be_bytes(*head))?;
        let end = usize::try_from(length).ok()?.checked_add(4)?;
        if self.buffer.len() < end {
            return None;
        }
        let rest = self.buffer.split_off(end);
        let frame = std::mem::replace(&mut self.buffer, rest);
        Some(frame[4..].to_vec())
    }
}

/// Asks a server one four-letter word; `None` where it does not answer.
pub fn four_letter_word(port: u16, word: &str) -> Option<String> {
    let mut connection = Connection::open(port).ok()?;
    connection.send(word.as_bytes());
    let (bytes, _) = connection.receive_to_end(Instant::now() + Duration::from_secs(5));
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
