//! Keeps a number of frames in flight on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::LimitOptions;
use crate::error::BenchError;

pub(super) struct Client {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// One request, prefix and body.
    request: Vec<u8>,
    reply_len: usize,
    scratch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of a reply that is not complete.
    partial: usize,
    output: Vec<u8>,
}

impl Client {
    pub(super) fn open(options: &LimitOptions, address: SocketAddr) -> Result<Self, BenchError> {
        let failed = || BenchError::io("the client's sockets");
        let poll = Poll::new().map_err(failed())?;
        let len = u32::try_from(options.request_len).unwrap_or(u32::MAX);
        let mut request = len.to_be_bytes().to_vec();
        request.resize(4 + options.request_len, 1);
        let mut connections = Vec::new();
        for index in 0..options.connections {
            let stream = std::net::TcpStream::connect(address).map_err(failed())?;
            stream.set_nodelay(true).map_err(failed())?;
            stream.set_nonblocking(true).map_err(failed())?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest).map_err(failed())?;
            let output = request.repeat(options.depth);
            connections.push(Connection { stream, partial: 0, output });
        }
        Ok(Client {
            poll,
            events: Events::with_capacity(1024),
            connections,
            request,
            reply_len: 4 + options.reply_len,
            scratch: vec![0; 256 << 10],
        })
    }

    /// Runs until a moment; returns how many replies came.
    pub(super) fn run_until(&mut self, end: Instant) -> Result<u64, BenchError> {
        let mut replies = 0;
        while Instant::now() < end {
            self.poll
                .poll(&mut self.events, Some(Duration::from_millis(10)))
                .map_err(BenchError::io("the client's poll"))?;
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                let complete = connection.read(&mut self.scratch, self.reply_len)?;
                replies += complete as u64;
                for _ in 0..complete {
                    connection.output.extend_from_slice(&self.request);
                }
                connection.flush()?;
            }
        }
        Ok(replies)
    }
}

impl Connection {
    fn read(&mut self, scratch: &mut [u8], reply_len: usize) -> Result<usize, BenchError> {
        let mut complete = 0;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(BenchError::Closed(0)),
                Ok(len) => {
                    self.partial += len;
                    complete += self.partial / reply_len;
                    self.partial %= reply_len;
                    if len < scratch.len() {
                        return Ok(complete);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complete),
                Err(error) => return Err(BenchError::io("read")(error)),
            }
        }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(BenchError::io("write")(error)),
            }
        }
        Ok(())
    }
}
