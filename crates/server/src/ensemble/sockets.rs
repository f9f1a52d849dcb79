//! The connections of both ports: numbers, tasks that read and write, and what happens when one
//! ends. Everything here lives on the core's thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rookeeper_jute::ServerId;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::{Outgoing, links};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::connection::{Broken, Connection, NextWrite, Port};
use super::driver::Driver;
use super::history::HistorySource;

/// The most that is read at once.
const READ_LEN_MAX: usize = 256 << 10;

/// How long a connection that is to be closed may take to write what is queued.
const LINGER: Duration = Duration::from_millis(1000);

/// How long nothing is read from a leader whose transactions and snapshot wait for the disk.
const CONGESTION_PAUSE: Duration = Duration::from_millis(2);

/// How sockets are set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketRules {
    /// `tcpKeepAlive`: whether the kernel probes idle election connections. It always does so on
    /// the quorum port.
    pub(crate) election_keepalive: bool,
    /// How long the other side of an election connection may leave unacknowledged what was sent:
    /// nothing is ever answered there, so that a path that has died would not be noticed, nor
    /// another address of the peer tried, for as long as the kernel repeats itself. As long as a
    /// dial may take.
    pub(crate) election_unacknowledged: Duration,
    /// TCP_NODELAY on the quorum port.
    pub(crate) quorum_nodelay: bool,
    /// Bytes that may wait for one connection.
    pub(crate) queue_bytes_max: usize,
}

/// How a read went.
enum ReadOutcome {
    /// There is nothing more for now.
    Emptied,
    /// There may be more.
    Full,
    /// The connection has ended.
    Ended,
}

/// All connections to other servers.
pub(crate) struct Sockets {
    rules: SocketRules,
    next: Cell<u64>,
    connections: RefCell<HashMap<ConnectionId, Rc<Connection>>>,
    scratch: RefCell<Box<[u8]>>,
    source: HistorySource,
}

impl Sockets {
    pub(crate) fn new(rules: SocketRules, source: HistorySource) -> Self {
        Sockets {
            rules,
            next: Cell::new(1),
            connections: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_LEN_MAX].into_boxed_slice()),
            source,
        }
    }

    /// Takes a new socket in; it is read once its tasks were started and run.
    ///
    /// # Errors
    /// Where its options cannot be set: it is gone already.
    pub(crate) fn add(&self, port: Port, stream: TcpStream) -> io::Result<ConnectionId> {
        let nodelay = port == Port::Election || self.rules.quorum_nodelay;
        stream.set_nodelay(nodelay)?;
        let keepalive = port == Port::Quorum || self.rules.election_keepalive;
        let socket = SockRef::from(&stream);
        socket.set_keepalive(keepalive)?;
        #[cfg(target_os = "linux")]
        if port == Port::Election {
            socket.set_tcp_user_timeout(Some(self.rules.election_unacknowledged))?;
        }
        let id = ConnectionId(self.next.replace(self.next.get() + 1));
        self.connections.borrow_mut().insert(id, Connection::new(id, port, stream));
        Ok(id)
    }

    /// Starts reading and writing; called before the machine hears of the connection, for it may
    /// finish it at once.
    pub(crate) fn start(sockets: &Rc<Self>, driver: &Rc<Driver>, id: ConnectionId) {
        let Some(connection) = sockets.get(id) else { return };
        let (reader, writer) = (Rc::clone(&connection), connection);
        let (first, second) = (Rc::clone(sockets), Rc::clone(sockets));
        let (told, also_told) = (Rc::clone(driver), Rc::clone(driver));
        spawn_local(async move { first.read(&reader, &told).await });
        spawn_local(async move { second.write(&writer, &also_told).await });
    }

    fn get(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id).cloned()
    }

    /// Puts something into a connection's queue; `false` where the queue is too long, and the
    /// connection is closed now.
    #[must_use]
    pub(crate) fn send(&self, id: ConnectionId, item: Outgoing) -> bool {
        let Some(connection) = self.get(id) else { return true };
        if connection.push(item) <= self.rules.queue_bytes_max {
            return true;
        }
        self.close(id);
        false
    }

    /// Closes a connection once what is queued is written, or soon; now where that is nothing, so
    /// that a crowd that is turned away leaves nothing behind.
    pub(crate) fn finish(sockets: &Rc<Self>, id: ConnectionId) {
        let Some(connection) = sockets.connections.borrow_mut().remove(&id) else { return };
        if connection.has_sent_all() {
            return connection.close();
        }
        connection.finish();
        spawn_local(async move {
            tokio::time::sleep(LINGER).await;
            connection.close();
        });
    }

    /// Closes a connection now; nothing is told of it any more.
    pub(crate) fn close(&self, id: ConnectionId) {
        if let Some(connection) = self.connections.borrow_mut().remove(&id) {
            connection.close();
        }
    }

    /// Says which learner a connection leads to.
    pub(crate) fn name(&self, id: ConnectionId, learner: ServerId) {
        if let Some(connection) = self.get(id) {
            connection.name(learner);
        }
    }

    pub(crate) fn pause(&self, id: ConnectionId) {
        if let Some(connection) = self.get(id) {
            connection.pause();
        }
    }

    pub(crate) fn resume(&self, id: ConnectionId) {
        if let Some(connection) = self.get(id) {
            connection.resume();
        }
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        for (_, connection) in self.connections.borrow_mut().drain() {
            connection.close();
        }
    }

    /// A connection is lost: closes it, and tells so once.
    fn lost(&self, connection: &Connection, driver: &Rc<Driver>) {
        let known = self.connections.borrow_mut().remove(&connection.id).is_some();
        connection.close();
        if known {
            driver.closed(connection.port, connection.id);
        }
    }

    async fn read(&self, connection: &Connection, driver: &Rc<Driver>) {
        while connection.readable().await {
            if connection.is_paused() {
                continue;
            }
            if connection.port == Port::Quorum && driver.wants_no_more() {
                tokio::time::sleep(CONGESTION_PAUSE).await;
                continue;
            }
            match self.read_once(connection, driver) {
                ReadOutcome::Emptied => {}
                // What a read leads to goes out before the next one.
                ReadOutcome::Full => tokio::task::yield_now().await,
                ReadOutcome::Ended => return self.lost(connection, driver),
            }
        }
    }

    /// Hands in what is there.
    fn read_once(&self, connection: &Connection, driver: &Rc<Driver>) -> ReadOutcome {
        let mut scratch = self.scratch.borrow_mut();
        match connection.try_read(&mut scratch) {
            Ok((0, _)) => ReadOutcome::Ended,
            Ok((len, full)) => {
                driver.received(connection.port, connection.id, &scratch[..len]);
                if full { ReadOutcome::Full } else { ReadOutcome::Emptied }
            }
            Err(error) if is_transient(&error) => ReadOutcome::Emptied,
            Err(error) => {
                tracing::debug!(%error, connection = connection.id.0, "connection lost");
                ReadOutcome::Ended
            }
        }
    }

    async fn write(&self, connection: &Rc<Connection>, driver: &Rc<Driver>) {
        let mut buffer = Vec::new();
        loop {
            match connection.next_write(&mut buffer).await {
                NextWrite::Bytes => {
                    if let Err(error) = connection.write_all(&buffer).await {
                        tracing::debug!(%error, connection = connection.id.0, "connection lost");
                        return self.lost(connection, driver);
                    }
                    connection.sent(buffer.len());
                    buffer.clear();
                    if let Some((server, figures)) = connection.take_figures() {
                        driver.learner_queue(server, &figures);
                    }
                    if connection.port == Port::Election
                        && connection.is_open()
                        && connection.is_drained()
                    {
                        driver.message_written(connection.id);
                    }
                }
                NextWrite::FromDisk(item) => {
                    if !self.write_from_disk(connection, item, driver).await {
                        return;
                    }
                }
                NextWrite::Finished => return connection.close(),
                NextWrite::Closed => return,
            }
        }
    }

    /// Writes history or a snapshot in bounded pieces as they are read; `false` where nothing may
    /// follow.
    async fn write_from_disk(
        &self,
        connection: &Rc<Connection>,
        item: Outgoing,
        driver: &Rc<Driver>,
    ) -> bool {
        let pieces = self.source.read(item);
        let written = || {
            // A learner that takes its time is not taken for one that is gone.
            if connection.is_open() {
                driver.part_written(connection.id);
            }
        };
        match connection.write_pieces(pieces, written).await {
            Ok(()) => return true,
            Err(Broken::Reading(reason)) => {
                // The machine ends the connection, and chooses otherwise the next time.
                tracing::warn!(%reason, "a learner's history could not be read");
                driver.history_failed(connection.id, reason.unproven());
                // Nobody writes what is queued: there is nothing to wait for.
                connection.close();
            }
            Err(Broken::Connection(error)) => {
                tracing::debug!(%error, connection = connection.id.0, "connection lost");
                self.lost(connection, driver);
            }
        }
        false
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Why a connection of the election port is closed, where that is worth a line in the log.
pub(crate) fn is_unusual(reason: links::CloseReason) -> bool {
    use links::CloseReason;
    !matches!(reason, CloseReason::Replaced | CloseReason::CalledBack)
}
