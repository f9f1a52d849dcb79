//! The leader's side: one thread that answers frames, at once or when a quorum has synced them.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::Servers;
use super::follower::Log;
use crate::error::BenchError;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Followers have the tokens from here on.
const FOLLOWERS: usize = usize::MAX - 16;

/// Who has to sync before a reply: this leader, and half of its followers.
pub(super) struct Quorum {
    pub(super) followers: Vec<SocketAddr>,
    pub(super) log: PathBuf,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Batches on their way to a quorum: one at a time is with this leader's disk.
struct Replication {
    followers: Vec<TcpStream>,
    /// Batches that each follower has answered.
    acknowledged: Vec<u64>,
    disk: Sender<Arc<Vec<u8>>>,
    /// What has come since the last batch, and from whom how many.
    gathering: Vec<u8>,
    asked: Vec<(usize, usize)>,
    /// The batch on its way.
    under_way: Option<Vec<(usize, usize)>>,
    batches: u64,
    synced: u64,
}

struct Leader<'a> {
    poll: Poll,
    connections: Vec<Connection>,
    reply: Vec<u8>,
    replication: Option<Replication>,
    synced: Receiver<Result<(), BenchError>>,
    servers: &'a Servers,
}

/// Serves until it is told to stop.
pub(super) fn run(
    listener: std::net::TcpListener,
    quorum: Option<Quorum>,
    reply_len: usize,
    servers: &Servers,
) -> Result<(), BenchError> {
    let failed = || BenchError::io("the server's sockets");
    let poll = Poll::new().map_err(failed())?;
    listener.set_nonblocking(true).map_err(failed())?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed())?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(failed())?;
    let len = u32::try_from(reply_len).unwrap_or(u32::MAX);
    let mut reply = len.to_be_bytes().to_vec();
    reply.resize(4 + reply_len, 2);
    let (report, synced) = channel();
    thread::scope(|scope| {
        let replication = match quorum {
            None => None,
            Some(quorum) => {
                let mut log = Log::create(&quorum.log)?;
                let (disk, batches) = channel::<Arc<Vec<u8>>>();
                scope.spawn(move || {
                    servers.threads.enter();
                    for batch in batches {
                        if report.send(log.append(&batch)).is_err() || waker.wake().is_err() {
                            return;
                        }
                    }
                });
                Some(Replication::start(&quorum.followers, disk, &poll)?)
            }
        };
        let connections = Vec::new();
        Leader { poll, connections, reply, replication, synced, servers }.run(&listener)
    })
}

impl Leader<'_> {
    fn run(mut self, listener: &TcpListener) -> Result<(), BenchError> {
        self.servers.threads.enter();
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 256 << 10];
        while !self.servers.is_stopping() {
            let timeout = Some(Duration::from_millis(50));
            self.poll.poll(&mut events, timeout).map_err(BenchError::io("the server's poll"))?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(listener)?,
                    WAKER => {}
                    Token(token) if token >= FOLLOWERS => {
                        if let Some(replication) = &mut self.replication {
                            replication.answered(token - FOLLOWERS, &mut scratch)?;
                        }
                    }
                    Token(index) => self.read(index, &mut scratch)?,
                }
            }
            self.replicate()?;
        }
        Ok(())
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<(), BenchError> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let failed = || BenchError::io("accept");
                    stream.set_nodelay(true).map_err(failed())?;
                    let token = Token(self.connections.len());
                    let registry = self.poll.registry();
                    registry.register(&mut stream, token, Interest::READABLE).map_err(failed())?;
                    let (input, output) = (Vec::new(), Vec::new());
                    self.connections.push(Connection { stream, input, output });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(BenchError::io("accept")(error)),
            }
        }
    }

    /// Reads once, as a server does that has other connections too.
    fn read(&mut self, index: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        let connection = &mut self.connections[index];
        loop {
            let len = match connection.stream.read(scratch) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Ok(()),
            };
            connection.input.extend_from_slice(&scratch[..len]);
            let mut end = 0;
            let mut frames = 0;
            while let Some((prefix, rest)) = connection.input[end..].split_first_chunk::<4>() {
                let frame_len = u32::from_be_bytes(*prefix) as usize;
                if rest.len() < frame_len {
                    break;
                }
                end += 4 + frame_len;
                frames += 1;
            }
            if let Some(replication) = &mut self.replication {
                replication.gathering.extend_from_slice(&connection.input[..end]);
                replication.asked.push((index, frames));
            } else {
                connection.answer(frames, &self.reply)?;
            }
            connection.input.drain(..end);
            if len < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Answers the batch that a quorum has synced, and sends the next one.
    fn replicate(&mut self) -> Result<(), BenchError> {
        let Some(replication) = &mut self.replication else { return Ok(()) };
        while let Ok(result) = self.synced.try_recv() {
            result?;
            replication.synced += 1;
        }
        if replication.is_committed() {
            for (index, frames) in replication.under_way.take().unwrap_or_default() {
                self.connections[index].answer(frames, &self.reply)?;
            }
        }
        replication.send()
    }
}

impl Replication {
    fn start(
        addresses: &[SocketAddr],
        disk: Sender<Arc<Vec<u8>>>,
        poll: &Poll,
    ) -> Result<Self, BenchError> {
        let failed = || BenchError::io("a follower's socket");
        let mut followers = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let stream = std::net::TcpStream::connect(address).map_err(failed())?;
            stream.set_nodelay(true).map_err(failed())?;
            stream.set_nonblocking(true).map_err(failed())?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(FOLLOWERS + number);
            poll.registry().register(&mut stream, token, Interest::READABLE).map_err(failed())?;
            followers.push(stream);
        }
        Ok(Replication {
            acknowledged: vec![0; followers.len()],
            followers,
            disk,
            gathering: Vec::new(),
            asked: Vec::new(),
            under_way: None,
            batches: 0,
            synced: 0,
        })
    }

    fn is_committed(&self) -> bool {
        let synced = self.acknowledged.iter().filter(|batches| **batches >= self.batches);
        let quorum = synced.count() >= self.followers.len().div_ceil(2);
        self.under_way.is_some() && self.synced >= self.batches && quorum
    }

    fn answered(&mut self, follower: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        match self.followers[follower].read(scratch) {
            Ok(len) => self.acknowledged[follower] += len as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(BenchError::io("a follower's socket")(error)),
        }
        Ok(())
    }

    /// Sends what has gathered, where nothing is on its way.
    fn send(&mut self) -> Result<(), BenchError> {
        if self.under_way.is_some() || self.asked.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(self.gathering.len()).unwrap_or(u32::MAX);
        let mut batch = len.to_be_bytes().to_vec();
        batch.append(&mut self.gathering);
        for follower in &mut self.followers {
            let mut rest = &batch[..];
            while !rest.is_empty() {
                match follower.write(rest) {
                    Ok(len) => rest = &rest[len..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) => return Err(BenchError::io("a follower's socket")(error)),
                }
            }
        }
        self.batches += 1;
        self.under_way = Some(std::mem::take(&mut self.asked));
        // Where the disk's thread has ended, its error is on its way.
        let _ = self.disk.send(Arc::new(batch));
        Ok(())
    }
}

impl Connection {
    fn answer(&mut self, frames: usize, reply: &[u8]) -> Result<(), BenchError> {
        for _ in 0..frames {
            self.output.extend_from_slice(reply);
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                // The client has what it wanted and is gone.
                Err(_) => self.output.clear(),
            }
        }
        Ok(())
    }
}
