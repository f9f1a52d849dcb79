//! The first answer of a server that starts.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rookeeper_jute::proto::{
    ConnectRequest, ConnectResponse, ExistsRequest, ExistsResponse, ReplyHeader, RequestHeader,
};
use rookeeper_jute::{Decode, Encode, OpCode, SessionId, Xid, Zxid};

use crate::error::BenchError;

/// Waits until the server opens a session and answers exists("/") in it. Returns when that was.
///
/// # Errors
/// No answer until `deadline`.
pub fn first_answer(address: SocketAddr, deadline: Instant) -> Result<Instant, BenchError> {
    let mut last = String::from("never tried");
    while Instant::now() < deadline {
        match ask(address) {
            Ok(()) => return Ok(Instant::now()),
            Err(error) => last = error.to_string(),
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(BenchError::Timeout(format!("the first answer of {address} (last: {last})")))
}

fn ask(address: SocketAddr) -> io::Result<()> {
    let mut session = OneByOne::open(address, Duration::from_secs(2))?;
    let exists = ExistsRequest { path: Some("/".into()), watch: false };
    let frame = session.ask(Xid(1), OpCode::Exists, &exists)?;
    ExistsResponse::from_bytes(&frame[ReplyHeader::MIN_LEN..]).map_err(io::Error::other)?;
    session.close(Xid(2))
}

/// A session that asks one thing at a time.
pub struct OneByOne {
    stream: TcpStream,
}

impl OneByOne {
    /// A new session.
    ///
    /// # Errors
    /// Where nobody answers in time, or the session is refused.
    pub fn open(address: SocketAddr, read_timeout: Duration) -> io::Result<OneByOne> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(read_timeout))?;
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 10_000,
            session_id: SessionId(0),
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        let frame = exchange(&mut stream, &connect.to_bytes())?;
        let opened = ConnectResponse::from_bytes(&frame).map_err(io::Error::other)?;
        if opened.timeout_ms <= 0 {
            return Err(io::Error::other("session refused"));
        }
        Ok(OneByOne { stream })
    }

    /// Asks, and returns the reply with its header.
    ///
    /// # Errors
    /// Where the connection ends, or the reply is an error or another request's.
    pub fn ask(&mut self, xid: Xid, op: OpCode, body: &impl Encode) -> io::Result<Vec<u8>> {
        let mut request = RequestHeader { xid, op: op.to_i32() }.to_bytes();
        body.encode(&mut request);
        let frame = exchange(&mut self.stream, &request)?;
        let header = ReplyHeader::from_bytes(&frame).map_err(io::Error::other)?;
        if header.xid != xid || header.err != 0 {
            return Err(io::Error::other(format!("{header:?}")));
        }
        Ok(frame)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Where the connection ends before the answer.
    pub fn close(mut self, xid: Xid) -> io::Result<()> {
        let close = RequestHeader { xid, op: OpCode::CloseSession.to_i32() };
        exchange(&mut self.stream, &close.to_bytes()).map(|_| ())
    }
}

/// Writes one frame and reads one.
///
/// # Errors
/// Where the connection ends or the frame is absurd.
fn exchange(stream: &mut TcpStream, payload: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), payload].concat())?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    let len = u32::from_be_bytes(prefix) as usize;
    if len > 1 << 20 {
        return Err(io::Error::other(format!("frame length {len}")));
    }
    let mut frame = vec![0; len];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}
