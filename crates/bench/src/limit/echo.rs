//! The leader's side: one thread that answers frames, at once or when a quorum has synced them.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Servers;
use super::follower::Log;
use super::sockets::{Server, Sockets, Synced, sync_batches};
use crate::error::BenchError;

/// Followers have the tokens from here on, below those of [`Sockets`].
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
    disk: Sender<Vec<u8>>,
    disk_synced: Synced,
    /// What has come since the last batch, and from whom how many.
    gathering: Vec<u8>,
    asked: Vec<(usize, usize)>,
    /// The batch on its way.
    under_way: Option<Vec<(usize, usize)>>,
    batches: u64,
    synced: u64,
}

struct Leader {
    connections: Vec<Connection>,
    reply: Vec<u8>,
    replication: Option<Replication>,
}

/// Serves until it is told to stop.
pub(super) fn run(
    listener: std::net::TcpListener,
    quorum: Option<Quorum>,
    reply_len: usize,
    servers: &Servers,
) -> Result<(), BenchError> {
    let (sockets, waker) = Sockets::new(listener)?;
    let len = u32::try_from(reply_len).unwrap_or(u32::MAX);
    let mut reply = len.to_be_bytes().to_vec();
    reply.resize(4 + reply_len, 2);
    thread::scope(|scope| {
        let replication = match quorum {
            None => None,
            Some(quorum) => {
                let log = Log::create(&quorum.log)?;
                let disk = sync_batches(scope, log, servers, waker);
                Some(Replication::start(&quorum.followers, disk, sockets.registry())?)
            }
        };
        let mut leader = Leader { connections: Vec::new(), reply, replication };
        sockets.serve(&mut leader, servers)
    })
}

impl Server for Leader {
    fn next_token(&self) -> usize {
        self.connections.len()
    }

    fn accepted(&mut self, stream: TcpStream) -> Result<(), BenchError> {
        stream.set_nodelay(true).map_err(BenchError::io("accept"))?;
        let (input, output) = (Vec::new(), Vec::new());
        self.connections.push(Connection { stream, input, output });
        Ok(())
    }

    fn readable(&mut self, token: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        if token < FOLLOWERS {
            return self.read(token, scratch);
        }
        match &mut self.replication {
            Some(replication) => replication.answered(token - FOLLOWERS, scratch),
            None => Ok(()),
        }
    }

    /// Answers the batch that a quorum has synced, and sends the next one.
    fn turn_over(&mut self) -> Result<(), BenchError> {
        let Some(replication) = &mut self.replication else { return Ok(()) };
        while let Ok(result) = replication.disk_synced.try_recv() {
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

impl Leader {
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
}

impl Replication {
    fn start(
        addresses: &[SocketAddr],
        (disk, disk_synced): (Sender<Vec<u8>>, Synced),
        registry: &Registry,
    ) -> Result<Self, BenchError> {
        let failed = || BenchError::io("a follower's socket");
        let mut followers = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let stream = std::net::TcpStream::connect(address).map_err(failed())?;
            stream.set_nodelay(true).map_err(failed())?;
            stream.set_nonblocking(true).map_err(failed())?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(FOLLOWERS + number);
            registry.register(&mut stream, token, Interest::READABLE).map_err(failed())?;
            followers.push(stream);
        }
        Ok(Replication {
            acknowledged: vec![0; followers.len()],
            followers,
            disk,
            disk_synced,
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
        let _ = self.disk.send(batch);
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
