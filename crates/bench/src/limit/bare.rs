//! A bare server that speaks just enough of ZooKeeper for the benchmark's own storm of sessions
//! and its watchers: it keeps no tree, and does no more than the system calls that any server has
//! to make for them.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::Sender;
use std::thread;

use mio::net::TcpStream;
use rookeeper_jute::proto::{ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent};
use rookeeper_jute::{Decode, Encode, OpCode, SessionId, Xid, Zxid};

use super::Servers;
use super::follower::Log;
use super::sockets::{Server, Sockets, Synced, sync_batches};
use crate::connection::split_frame;
use crate::error::BenchError;

/// Bytes that a transaction of a session takes in a log, about.
const TXN_LEN: usize = 80;

struct Connection {
    stream: TcpStream,
    connected: bool,
    watches: bool,
}

/// What waits for the disk.
struct Waiting {
    connection: usize,
    reply: Vec<u8>,
    closes: bool,
}

struct Bare<'a> {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Where the disk's thread is; `None` where nothing is synced.
    disk: Option<(Sender<Vec<u8>>, Synced)>,
    gathering: Vec<Waiting>,
    under_way: Vec<Waiting>,
    path: &'a str,
}

/// Serves until it is told to stop: sessions are made and ended by synced batches where there is a
/// `log`, and a set tells all who have read since.
pub(super) fn run(
    listener: std::net::TcpListener,
    log: Option<Log>,
    path: &str,
    servers: &Servers,
) -> Result<(), BenchError> {
    let (sockets, waker) = Sockets::new(listener)?;
    thread::scope(|scope| {
        let disk = log.map(|log| sync_batches(scope, log, servers, waker));
        let (connections, free) = (Vec::new(), Vec::new());
        let (gathering, under_way) = (Vec::new(), Vec::new());
        let mut bare = Bare { connections, free, disk, gathering, under_way, path };
        sockets.serve(&mut bare, servers)
    })
}

impl Server for Bare<'_> {
    fn next_token(&self) -> usize {
        self.free.last().copied().unwrap_or(self.connections.len())
    }

    fn accepted(&mut self, stream: TcpStream) -> Result<(), BenchError> {
        let connection = Some(Connection { stream, connected: false, watches: false });
        match self.free.pop() {
            Some(index) => self.connections[index] = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    /// Reads once; the benchmark's requests come whole.
    fn readable(&mut self, index: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
        let len = match connection.stream.read(scratch) {
            Ok(len) if len > 0 => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(_) | Err(_) => {
                self.close(index);
                return Ok(());
            }
        };
        let mut rest = &scratch[..len];
        while let Some((frame, used)) = split_frame(rest)? {
            rest = &rest[used..];
            self.frame(index, frame)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(BenchError::WrongReply("a torn frame".into())) }
    }

    /// Answers the batch that is synced, and hands over the next one.
    fn turn_over(&mut self) -> Result<(), BenchError> {
        while let Some(result) = self.disk.as_ref().and_then(|(_, synced)| synced.try_recv().ok()) {
            result?;
            for waiting in std::mem::take(&mut self.under_way) {
                self.answer(waiting);
            }
        }
        if let Some((disk, _)) = &self.disk
            && self.under_way.is_empty()
            && !self.gathering.is_empty()
        {
            self.under_way = std::mem::take(&mut self.gathering);
            // Where the disk's thread has ended, its error is on its way.
            let _ = disk.send(vec![3; TXN_LEN * self.under_way.len()]);
        }
        Ok(())
    }
}

impl Bare<'_> {
    fn frame(&mut self, index: usize, frame: &[u8]) -> Result<(), BenchError> {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
        let mut waiting = Waiting { connection: index, reply: Vec::new(), closes: false };
        if !std::mem::replace(&mut connection.connected, true) {
            framed(&mut waiting.reply, |out| {
                ConnectResponse {
                    protocol_version: 0,
                    timeout_ms: 30_000,
                    session_id: SessionId(index as i64 + 1),
                    password: Some(&[0; 16]),
                    read_only: Some(false),
                }
                .encode(out);
            });
            self.in_turn(waiting);
            return Ok(());
        }
        let wrong = |_| BenchError::WrongReply("a request without a header".to_owned());
        let header = RequestHeader::from_bytes(frame).map_err(wrong)?;
        framed(&mut waiting.reply, |out| {
            ReplyHeader { xid: header.xid, zxid: Zxid(1), err: 0 }.encode(out);
        });
        match OpCode::from_i32(header.op) {
            Some(OpCode::CloseSession) => {
                waiting.closes = true;
                self.in_turn(waiting);
            }
            Some(OpCode::SetData) => {
                self.answer(waiting);
                self.tell_watchers();
            }
            op => {
                connection.watches |= op == Some(OpCode::GetData);
                self.answer(waiting);
            }
        }
        Ok(())
    }

    /// Answers once the disk has it, where there is one.
    fn in_turn(&mut self, waiting: Waiting) {
        if self.disk.is_some() { self.gathering.push(waiting) } else { self.answer(waiting) }
    }

    fn answer(&mut self, waiting: Waiting) {
        if let Some(Some(connection)) = self.connections.get_mut(waiting.connection) {
            send(&mut connection.stream, &waiting.reply);
            if waiting.closes {
                self.close(waiting.connection);
            }
        }
    }

    fn tell_watchers(&mut self) {
        let mut frame = Vec::new();
        framed(&mut frame, |out| {
            ReplyHeader { xid: Xid::NOTIFICATION, zxid: Zxid(1), err: 0 }.encode(out);
            WatcherEvent { event_type: 3, state: 3, path: Some(self.path.into()) }.encode(out);
        });
        for connection in self.connections.iter_mut().flatten() {
            if std::mem::take(&mut connection.watches) {
                send(&mut connection.stream, &frame);
            }
        }
    }

    fn close(&mut self, index: usize) {
        self.connections[index] = None;
        self.free.push(index);
    }
}

/// Appends a frame.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - start - 4).expect("replies are small");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Writes what fits into any socket's buffer; a client that is gone has what it wanted.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write(bytes);
}
