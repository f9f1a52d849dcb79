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
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
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
    let mut exists = RequestHeader { xid: Xid(1), op: OpCode::Exists.to_i32() }.to_bytes();
    ExistsRequest { path: Some("/".into()), watch: false }.encode(&mut exists);
    let frame = exchange(&mut stream, &exists)?;
    let header = ReplyHeader::from_bytes(&frame).map_err(io::Error::other)?;
    if header.xid != Xid(1) || header.err != 0 {
        return Err(io::Error::other(format!("{header:?}")));
    }
    ExistsResponse::from_bytes(&frame[ReplyHeader::MIN_LEN..]).map_err(io::Error::other)?;
    let close = RequestHeader { xid: Xid(2), op: OpCode::CloseSession.to_i32() };
    exchange(&mut stream, &close.to_bytes()).map(|_| ())
}

/// Writes one frame and reads one.
///
/// # Errors
/// Where the connection ends or the frame is absurd.
pub fn exchange(stream: &mut TcpStream, payload: &[u8]) -> io::Result<Vec<u8>> {
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
