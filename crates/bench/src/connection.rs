//! One connection: its handshake, its frames, its requests in flight.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use rookeeper_jute::proto::{ConnectRequest, ReplyHeader, RequestHeader};
use rookeeper_jute::{Encode, OpCode, SessionId, Xid, Zxid};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BenchError;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The TCP handshake runs.
    Connecting,
    /// The ConnectRequest is out.
    Handshaking,
    /// The session is there.
    Open,
    /// closeSession was answered; the server closes next.
    Closing,
    /// Gone.
    Closed,
}

/// A request that awaits its reply.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// Its number.
    pub xid: Xid,
    /// Its operation.
    pub op: OpCode,
    /// Whatever the scenario wants to know of it.
    pub tag: u64,
    /// When it was queued.
    pub at: Instant,
}

/// A reply whose header was checked.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The request that it answers.
    pub request: Pending,
    /// Its header.
    pub header: ReplyHeader,
    /// Its record, empty on errors.
    pub body: &'a [u8],
    /// From the queueing of the request to the reading of the reply.
    pub latency: Duration,
}

/// One connection and session.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// Where it stands.
    pub state: State,
    /// The session, once open.
    pub session: SessionId,
    /// The timeout that the server granted, in milliseconds.
    pub timeout_ms: i32,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// Bytes of a frame that is not complete.
    pub input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    pending: VecDeque<Pending>,
    next_xid: i32,
}

impl Connection {
    /// Starts to connect; the handshake follows when the socket is writable.
    ///
    /// # Errors
    /// Where the socket cannot be made or the connection is refused at once.
    pub fn start(address: SocketAddr) -> Result<Connection, BenchError> {
        let failed = |source| BenchError::Io { what: format!("connect to {address}"), source };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.set_tcp_nodelay(true).map_err(failed)?;
        // Thousands of closed connections must not use up the ports of the loopback interface.
        socket.set_linger(Some(Duration::ZERO)).map_err(failed)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Connection {
            stream: TcpStream::from_std(socket.into()),
            state: State::Connecting,
            session: SessionId(0),
            timeout_ms: 0,
            last_zxid: Zxid(0),
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            pending: VecDeque::new(),
            next_xid: 1,
        })
    }

    /// Queues the ConnectRequest for a new session.
    pub fn handshake(&mut self, timeout_ms: i32) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session_id: SessionId(0),
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        self.frame(|out| request.encode(out));
        self.state = State::Handshaking;
    }

    /// Queues a request; `tag` comes back with its reply.
    pub fn request(&mut self, op: OpCode, tag: u64, record: &dyn Encode, now: Instant) {
        let xid = if op == OpCode::Ping {
            Xid::PING
        } else {
            let xid = Xid(self.next_xid);
            self.next_xid += 1;
            xid
        };
        self.pending.push_back(Pending { xid, op, tag, at: now });
        self.frame(|out| {
            RequestHeader { xid, op: op.to_i32() }.encode(out);
            record.encode(out);
        });
    }

    /// Queues a request whose record is nothing or bytes made before.
    pub fn request_bytes(&mut self, op: OpCode, tag: u64, body: &[u8], now: Instant) {
        struct Bytes<'a>(&'a [u8]);
        impl Encode for Bytes<'_> {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.0);
            }
        }
        self.request(op, tag, &Bytes(body), now);
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; 4]);
        write(&mut self.output);
        let len = u32::try_from(self.output.len() - start - 4).expect("requests are small");
        self.output[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// How many requests await their reply.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// The request that the next reply must answer, taken out; pings are answered in order too.
    pub fn take_pending(&mut self, xid: Xid) -> Option<Pending> {
        self.pending.front().filter(|pending| pending.xid == xid)?;
        self.pending.pop_front()
    }

    /// Writes what is queued, as far as the socket takes it.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn flush(&mut self) -> Result<(), std::io::Error> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once into `scratch`: the bytes read, 0 at the end, `None` where nothing is there.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, std::io::Error> {
        loop {
            match self.stream.read(scratch) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first frame in `bytes` and its length with the prefix, `None` where it is not complete.
///
/// # Errors
/// A length that no reply has.
pub fn split_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, BenchError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = i32::from_be_bytes(*prefix);
    match usize::try_from(len) {
        Ok(len) if len <= 64 << 20 => Ok(rest.get(..len).map(|frame| (frame, len + 4))),
        _ => Err(BenchError::WrongReply(format!("frame length {len}"))),
    }
}
