//! One connection to another server: its socket, the queue of what is to be written, and whether
//! it is read.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use rookeeper_archive::ReadingError;
use rookeeper_jute::ServerId;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::{Outgoing, wire};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;

use super::history::Piece;
use super::queue::Queue;
use crate::measures::QueueFigures;

/// Bytes that are encoded for one write: enough to make the system call cheap.
const WRITE_LEN_MAX: usize = 256 << 10;

/// Up to this length bytes are copied into the write buffer, even where it is empty.
const COPIED_LEN_MAX: usize = 16 << 10;

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
    /// Whether the writer is in the middle of what comes from disk.
    reads_disk: Cell<bool>,
    queued: Notify,
    state: Cell<State>,
    paused: Cell<bool>,
    resumed: Notify,
}

/// Why not all of what comes from disk was written.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It could not be read.
    Reading(ReadingError),
    /// The connection is lost.
    Connection(io::Error),
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
            reads_disk: Cell::new(false),
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
                // A long piece is not copied; a short one does not take the place of the room
                // that was made before.
                Some(Outgoing::Bytes(bytes))
                    if buffer.is_empty() && bytes.len() > COPIED_LEN_MAX =>
                {
                    *buffer = bytes;
                }
                Some(Outgoing::Bytes(bytes)) => buffer.extend_from_slice(&bytes),
                Some(Outgoing::Records { segment, range, kind }) => {
                    wire::encode_records(&segment, range, kind, buffer);
                }
                Some(from_disk) => {
                    self.reads_disk.set(true);
                    return Some(NextWrite::FromDisk(from_disk));
                }
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
        self.is_drained() && self.unsent.get() == 0 && !self.reads_disk.get()
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

    /// Writes what comes from disk, and calls `written` after each piece. A connection that is to
    /// be closed writes on: what is queued behind a history that breaks off would be a history
    /// with a gap, which a learner cannot always tell from one without.
    ///
    /// # Errors
    /// Nothing more may be written then.
    pub(crate) async fn write_pieces(
        &self,
        mut pieces: Receiver<Piece>,
        mut written: impl FnMut(),
    ) -> Result<(), Broken> {
        while let Some(piece) = pieces.recv().await {
            let bytes = piece.map_err(Broken::Reading)?;
            if self.state.get() == State::Closed {
                return Ok(());
            }
            self.write_all(&bytes).await.map_err(Broken::Connection)?;
            written();
        }
        self.reads_disk.set(false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{Read, Write};
    use std::time::Duration;

    use rookeeper_jute::Zxid;
    use tokio::sync::mpsc::{Sender, channel};
    use tokio::task::spawn_local;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async { tokio::time::timeout(Duration::from_secs(30), test).await };
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, test).expect("nothing is waited for in vain");
    }

    /// A connection, and the learner's side of it.
    async fn pair() -> (Rc<Connection>, std::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let learner = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Connection::new(ConnectionId(1), Port::Quorum, stream), learner)
    }

    /// Writes until the connection ends; what comes from disk comes from there.
    async fn write(connection: Rc<Connection>, pieces: Receiver<Piece>) {
        let (mut buffer, mut pieces) = (Vec::new(), Some(pieces));
        loop {
            match connection.next_write(&mut buffer).await {
                NextWrite::Bytes => {
                    connection.write_all(&buffer).await.unwrap();
                    connection.sent(buffer.len());
                    buffer.clear();
                }
                NextWrite::FromDisk(_) => {
                    let pieces = pieces.take().expect("one history");
                    connection.write_pieces(pieces, || {}).await.unwrap();
                }
                NextWrite::Finished => return connection.close(),
                NextWrite::Closed => return,
            }
        }
    }

    fn history() -> Outgoing {
        Outgoing::History { after: Zxid(1), through: Zxid(9) }
    }

    async fn give(pieces: &Sender<Piece>, piece: &str) {
        pieces.send(Ok(piece.into())).await.unwrap();
    }

    fn read_to_end(mut learner: std::net::TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        learner.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn what_stands_behind_a_history_is_written_after_all_of_it_though_the_connection_ends() {
        run(async {
            let (connection, learner) = pair().await;
            for item in [Outgoing::Bytes(b"DIFF ".to_vec()), history()] {
                connection.push(item);
            }
            connection.push(Outgoing::Bytes(b"NEWLEADER".to_vec()));
            let (sender, pieces) = channel(1);
            let writer = spawn_local(write(Rc::clone(&connection), pieces));
            // With the third one the first one is written.
            for piece in ["1 ", "2 ", "3 "] {
                give(&sender, piece).await;
            }
            connection.finish();
            give(&sender, "4 ").await;
            drop(sender);
            writer.await.unwrap();
            let all = read_to_end(learner);
            assert_eq!(String::from_utf8(all).unwrap(), "DIFF 1 2 3 4 NEWLEADER");
        });
    }

    #[test]
    fn nothing_is_written_behind_a_history_that_breaks_off_where_the_connection_is_closed() {
        run(async {
            let (connection, learner) = pair().await;
            connection.push(history());
            connection.push(Outgoing::Bytes(b"NEWLEADER".to_vec()));
            let (sender, pieces) = channel(1);
            let writer = spawn_local(write(Rc::clone(&connection), pieces));
            for piece in ["1 ", "2 ", "3 "] {
                give(&sender, piece).await;
            }
            connection.close();
            drop(sender);
            writer.await.unwrap();
            let all = String::from_utf8(read_to_end(learner)).unwrap();
            assert!(!all.is_empty() && "1 2 3 ".starts_with(&all), "{all}");
        });
    }

    #[test]
    fn a_connection_in_the_middle_of_a_history_has_not_sent_all() {
        run(async {
            let (connection, _learner) = pair().await;
            assert!(connection.has_sent_all());
            connection.push(history());
            assert!(!connection.has_sent_all());
            let taken = connection.next_write(&mut Vec::new()).await;
            assert!(matches!(taken, NextWrite::FromDisk(_)));
            assert!(connection.is_drained() && !connection.has_sent_all());
            let (sender, pieces) = channel(1);
            drop(sender);
            connection.write_pieces(pieces, || {}).await.unwrap();
            assert!(connection.has_sent_all());
        });
    }

    #[test]
    fn bytes_count_until_the_system_has_them_and_nothing_is_queued_once_it_ends() {
        run(async {
            let (connection, learner) = pair().await;
            // More than the system's buffers hold, in many writes.
            let item = || Outgoing::Bytes(vec![7; 3 << 20]);
            assert_eq!(connection.push(item()), 3 << 20);
            assert_eq!(connection.push(item()), 6 << 20);
            connection.finish();
            assert_eq!(connection.push(item()), 6 << 20, "it takes no more");
            let reader = tokio::task::spawn_blocking(move || read_to_end(learner).len());
            write(Rc::clone(&connection), channel(1).1).await;
            assert_eq!(reader.await.unwrap(), 6 << 20);
            assert!(connection.has_sent_all());
            assert_eq!(connection.push(item()), 0, "it is closed");
            assert!(connection.is_drained());
        });
    }

    #[test]
    fn whoever_waits_hears_of_a_push_a_pause_that_ends_and_the_end() {
        run(async {
            let (connection, mut learner) = pair().await;
            let next = |connection: Rc<Connection>| async move {
                let mut buffer = Vec::new();
                let next = connection.next_write(&mut buffer).await;
                (next, buffer)
            };
            let waits = spawn_local(next(Rc::clone(&connection)));
            tokio::task::yield_now().await;
            connection.push(Outgoing::Bytes(vec![1]));
            let (woken, bytes) = waits.await.unwrap();
            assert!(matches!(woken, NextWrite::Bytes) && bytes == [1]);
            let waits = spawn_local(next(Rc::clone(&connection)));
            connection.pause();
            let paused = Rc::clone(&connection);
            let reads = spawn_local(async move { paused.readable().await });
            tokio::task::yield_now().await;
            connection.resume();
            learner.write_all(&[2]).unwrap();
            assert!(reads.await.unwrap());
            connection.pause();
            let paused = Rc::clone(&connection);
            let reads = spawn_local(async move { paused.readable().await });
            tokio::task::yield_now().await;
            connection.finish();
            assert!(!reads.await.unwrap(), "what comes is not read any more");
            assert!(matches!(waits.await.unwrap().0, NextWrite::Finished));
            connection.close();
            assert!(matches!(next(Rc::clone(&connection)).await.0, NextWrite::Closed));
        });
    }
}
