//! One connection to another server: its socket, the queue of what is to be written, and whether
//! it is read.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use rookeeper_jute::ServerId;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::{Outgoing, wire};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::queue::Queue;
use crate::measures::QueueFigures;

/// Bytes that are encoded for one write: enough to make the system call cheap.
const WRITE_LEN_MAX: usize = 256 << 10;

/// A write buffer is kept up to this length while nothing is written.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// Which of a server's ports a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Notifications of elections.
    Election,
    /// Between leader and learner.
    Quorum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// To be closed once all is written; what still comes is not read.
    Finishing,
    Closed,
}

/// A connection to another server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) port: Port,
    stream: TcpStream,
    queue: RefCell<Queue>,
    /// The learner on the other side, once that is up to date.
    learner: Cell<Option<ServerId>>,
    /// Bytes in the queue and in the writer's hands.
    unsent: Cell<usize>,
    queued: Notify,
    state: Cell<State>,
    paused: Cell<bool>,
    resumed: Notify,
}

/// What a connection's writer has to do next.
pub(crate) enum NextWrite {
    /// These bytes were put into the buffer.
    Bytes,
    /// History or a snapshot, to be read from disk.
    FromDisk(Outgoing),
    /// All is written, and the connection is to be closed.
    Finished,
    /// It is closed.
    Closed,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, port: Port, stream: TcpStream) -> Rc<Self> {
        Rc::new(Connection {
            id,
            port,
            stream,
            queue: RefCell::default(),
            learner: Cell::new(None),
            unsent: Cell::new(0),
            queued: Notify::new(),
            state: Cell::new(State::Open),
            paused: Cell::new(false),
            resumed: Notify::new(),
        })
    }

    /// Adds to the queue; bytes that are not written yet.
    pub(crate) fn push(&self, item: Outgoing) -> usize {
        if self.state.get() == State::Open {
            self.unsent.set(self.unsent.get() + item.bytes_len());
            self.queue.borrow_mut().push(item, Instant::now);
            self.queued.notify_one();
        }
        self.unsent.get()
    }

    /// Closes it once all is written.
    pub(crate) fn finish(&self) {
        if self.state.get() == State::Open {
            self.state.set(State::Finishing);
            self.queued.notify_one();
            self.resumed.notify_one();
        }
    }

    /// Closes it now; both of its tasks end.
    pub(crate) fn close(&self) {
        if self.state.replace(State::Closed) != State::Closed {
            // A socket that the other side has closed cannot be shut down, and need not be.
            let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both);
            self.queued.notify_one();
            self.resumed.notify_one();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    pub(crate) fn pause(&self) {
        self.paused.set(true);
    }

    pub(crate) fn resume(&self) {
        self.paused.set(false);
        self.resumed.notify_one();
    }

    /// Waits until there may be something to read; `false` once nothing is read any more.
    pub(crate) async fn readable(&self) -> bool {
        while self.paused.get() && self.is_open() {
            self.resumed.notified().await;
        }
        self.is_open() && self.stream.readable().await.is_ok() && self.is_open()
    }

    /// Whether bytes are to be handed in now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Reads what is there; says whether that may not have been all.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is; the operating system's.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let len = self.stream.try_read(buffer)?;
        if len == buffer.len() {
            return Ok((len, true));
        }
        // A short read has emptied the socket. The event loop is told so, and need not find out by
        // another read; what comes from now on is a new event, and so is the other side's end.
        let emptied = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.stream.try_io(Interest::READABLE, emptied);
        Ok((len, false))
    }

    /// Waits for something to write and puts as much of it as one write takes into the empty
    /// buffer.
    pub(crate) async fn next_write(&self, buffer: &mut Vec<u8>) -> NextWrite {
        debug_assert!(buffer.is_empty());
        loop {
            if self.state.get() == State::Closed {
                return NextWrite::Closed;
            }
            if let Some(next) = self.take(buffer) {
                return next;
            }
            if self.state.get() == State::Finishing {
                return NextWrite::Finished;
            }
            if buffer.capacity() > BUFFER_KEPT_MAX {
                *buffer = Vec::new();
            }
            self.queued.notified().await;
        }
    }

    fn take(&self, buffer: &mut Vec<u8>) -> Option<NextWrite> {
        let mut queue = self.queue.borrow_mut();
        while buffer.len() < WRITE_LEN_MAX {
            let fits = |item: &Outgoing| buffer.is_empty() || item.is_in_memory();
            match queue.pop_if(fits, Instant::now) {
                Some(Outgoing::Bytes(bytes)) if buffer.is_empty() => *buffer = bytes,
                Some(Outgoing::Bytes(bytes)) => buffer.extend_from_slice(&bytes),
                Some(Outgoing::Records { segment, range, kind }) => {
                    wire::encode_records(&segment, range, kind, buffer);
                }
                Some(from_disk) => return Some(NextWrite::FromDisk(from_disk)),
                None => break,
            }
        }
        (!buffer.is_empty()).then_some(NextWrite::Bytes)
    }

    /// Says which learner is on the other side.
    pub(crate) fn name(&self, learner: ServerId) {
        self.learner.set(Some(learner));
    }

    /// What the queue of a learner was like since the last call.
    pub(crate) fn take_figures(&self) -> Option<(ServerId, QueueFigures)> {
        let learner = self.learner.get()?;
        Some((learner, self.queue.borrow_mut().take_figures()?))
    }

    /// Whether nothing is queued.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Whether all that was ever queued is with the system.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.is_drained() && self.unsent.get() == 0
    }

    /// Bytes of the queue were written.
    pub(crate) fn sent(&self, len: usize) {
        self.unsent.set(self.unsent.get().saturating_sub(len));
    }

    /// Writes all of these bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
