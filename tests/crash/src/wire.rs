//! A blocking connection: one session, requests written in batches, replies read in order.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rookeeper_jute::proto::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use rookeeper_jute::{Decode, Encode, OpCode, SessionId, Xid, Zxid};

/// A session that a client may carry from connection to connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its password.
    pub password: Vec<u8>,
}

/// A connection with a session.
pub struct Wire {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    next_xid: i32,
    /// The session.
    pub session: Session,
}

/// A reply.
pub struct Reply {
    /// The request's number.
    pub xid: Xid,
    /// The zxid that the server had reached.
    pub zxid: Zxid,
    /// The result.
    pub err: i32,
    /// The record.
    pub body: Vec<u8>,
}

/// The timeout that sessions ask for: longer than any restart takes.
pub const SESSION_TIMEOUT_MS: i32 = 30_000;

impl Wire {
    /// Opens a session, or resumes `session`; `None` where the server says that it has expired.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn connect(address: SocketAddr, session: Option<&Session>) -> io::Result<Option<Wire>> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let password = session.map_or(vec![0; 16], |session| session.password.clone());
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: SESSION_TIMEOUT_MS,
            session_id: session.map_or(SessionId(0), |session| session.id),
            password: Some(&password),
            read_only: Some(false),
        };
        let empty = Session { id: SessionId(0), password: Vec::new() };
        let (output, input) = (Vec::new(), Vec::new());
        let mut wire = Wire { stream, output, input, next_xid: 1, session: empty };
        wire.frame(&request.to_bytes());
        wire.flush()?;
        let frame = wire.read_frame()?;
        let response = ConnectResponse::from_bytes(&frame).map_err(io::Error::other)?;
        if response.timeout_ms <= 0 {
            return Ok(None);
        }
        wire.session = Session {
            id: response.session_id,
            password: response.password.unwrap_or_default().to_vec(),
        };
        Ok(Some(wire))
    }

    fn frame(&mut self, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("requests are small");
        self.output.extend_from_slice(&len.to_be_bytes());
        self.output.extend_from_slice(payload);
    }

    /// Queues a request and returns its number.
    pub fn queue(&mut self, op: OpCode, body: &[u8]) -> Xid {
        let xid = Xid(self.next_xid);
        self.next_xid += 1;
        let mut payload = RequestHeader { xid, op: op.to_i32() }.to_bytes();
        payload.extend_from_slice(body);
        self.frame(&payload);
        xid
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        result
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// Where the connection is gone, or silent for half a minute.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let frame = self.read_frame()?;
        let header = ReplyHeader::from_bytes(&frame).map_err(io::Error::other)?;
        let body = frame[ReplyHeader::MIN_LEN..].to_vec();
        Ok(Reply { xid: header.xid, zxid: header.zxid, err: header.err, body })
    }

    /// Asks and awaits the answer.
    ///
    /// # Errors
    /// Where the connection is gone, or another request's reply comes.
    pub fn ask(&mut self, op: OpCode, body: &[u8]) -> io::Result<Reply> {
        let xid = self.queue(op, body);
        self.flush()?;
        let reply = self.read_reply()?;
        if reply.xid != xid {
            return Err(io::Error::other(format!("reply {} for {xid}", reply.xid)));
        }
        Ok(reply)
    }

    fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some((prefix, rest)) = self.input.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*prefix) as usize;
                if len > 1 << 28 {
                    return Err(io::Error::other(format!("frame length {len}")));
                }
                if let Some(frame) = rest.get(..len) {
                    let frame = frame.to_vec();
                    self.input.drain(..len + 4);
                    return Ok(frame);
                }
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&chunk[..len]),
            }
        }
    }
}

/// The text that a four-letter word is answered with.
///
/// # Errors
/// Where the server does not answer.
pub fn four_letter_word(address: SocketAddr, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(word.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
