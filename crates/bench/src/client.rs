//! Many connections on one thread: epoll, reads of whole wake-ups, replies handed to a scenario.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rookeeper_jute::proto::{ConnectResponse, ReplyHeader, WatcherEvent};
use rookeeper_jute::{OpCode, Reader, Xid, Zxid};

use crate::connection::{Connection, Reply, State, split_frame};
use crate::error::BenchError;

/// What the connections do. Requests that a method queues are written when it returns.
pub trait Scenario {
    /// A session is open; by default it is left idle.
    ///
    /// # Errors
    /// To end the run.
    fn opened(
        &mut self,
        id: usize,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), BenchError> {
        let _ = (id, connection, now);
        Ok(())
    }

    /// A reply has come.
    ///
    /// # Errors
    /// To end the run; so does the default, which has asked for nothing.
    fn reply(
        &mut self,
        id: usize,
        connection: &mut Connection,
        reply: &Reply<'_>,
        now: Instant,
    ) -> Result<(), BenchError> {
        let _ = (connection, now);
        Err(BenchError::WrongReply(format!("connection {id}: nothing was asked: {reply:?}")))
    }

    /// A watch has fired.
    ///
    /// # Errors
    /// To end the run; so does the default, which watches nothing.
    fn event(
        &mut self,
        id: usize,
        event: &WatcherEvent<'_>,
        now: Instant,
    ) -> Result<(), BenchError> {
        let _ = now;
        Err(BenchError::WrongReply(format!("connection {id}: unexpected event {event:?}")))
    }

    /// The connection is gone, after closeSession (`orderly`) or otherwise.
    ///
    /// # Errors
    /// To end the run; so does the default where the end was not orderly.
    fn closed(&mut self, id: usize, orderly: bool) -> Result<(), BenchError> {
        if orderly { Ok(()) } else { Err(BenchError::Closed(id)) }
    }
}

/// The connections of one thread.
pub struct Client {
    addresses: Vec<SocketAddr>,
    opened: usize,
    timeout_ms: i32,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
}

const SCRATCH_LEN: usize = 256 << 10;

/// Longer than any pause of a benchmark, so that idle sessions need no pings for a while.
pub const SESSION_TIMEOUT_MS: i32 = 40_000;

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// Where the system has no epoll instance left.
    pub fn new(address: SocketAddr) -> Result<Client, BenchError> {
        Client::of_ensemble(address, &[])
    }

    /// The same for a server and others of its ensemble: connections go to each in turn.
    ///
    /// # Errors
    /// Where the system has no epoll instance left.
    pub fn of_ensemble(first: SocketAddr, others: &[SocketAddr]) -> Result<Client, BenchError> {
        Ok(Client {
            addresses: [&[first], others].concat(),
            opened: 0,
            timeout_ms: SESSION_TIMEOUT_MS,
            poll: Poll::new().map_err(BenchError::io("epoll"))?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            free: Vec::new(),
            scratch: vec![0; SCRATCH_LEN],
        })
    }

    /// Starts one connection; [`Scenario::opened`] tells when its session is there.
    ///
    /// # Errors
    /// Where no socket can be made.
    pub fn open(&mut self) -> Result<usize, BenchError> {
        let address = self.addresses[self.opened % self.addresses.len()];
        self.opened += 1;
        let mut connection = Connection::start(address)?;
        let id = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.poll
            .registry()
            .register(&mut connection.stream, Token(id), Interest::READABLE | Interest::WRITABLE)
            .map_err(BenchError::io("register"))?;
        self.connections[id] = Some(connection);
        Ok(id)
    }

    /// Opens `count` sessions, at most `at_once` handshakes at a time, and waits for all.
    ///
    /// # Errors
    /// What the scenario says, or a timeout.
    pub fn open_all(
        &mut self,
        count: usize,
        at_once: usize,
        scenario: &mut dyn Scenario,
    ) -> Result<(), BenchError> {
        let target = self.open_count() + count;
        let mut started = 0;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.open_count() < target {
            while started < count && self.len() - self.open_count() < at_once {
                self.open()?;
                started += 1;
            }
            self.turn(scenario, Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(BenchError::Timeout(format!("opening {count} sessions")));
            }
        }
        Ok(())
    }

    /// Connections that are not closed.
    pub fn len(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections with a session.
    pub fn open_count(&self) -> usize {
        let open = |connection: &&Connection| connection.state == State::Open;
        self.connections.iter().flatten().filter(open).count()
    }

    /// Requests that await their reply, over all connections.
    pub fn in_flight(&self) -> usize {
        self.connections.iter().flatten().map(Connection::in_flight).sum()
    }

    /// Lets `act` queue requests on every open connection, and writes them.
    ///
    /// # Errors
    /// Where `act` fails or a socket does.
    pub fn for_each(
        &mut self,
        mut act: impl FnMut(usize, &mut Connection) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        for (id, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection
                && connection.state == State::Open
            {
                act(id, connection)?;
                connection.flush().map_err(BenchError::io("write"))?;
            }
        }
        Ok(())
    }

    /// Keeps the sessions alive.
    ///
    /// # Errors
    /// Where a socket fails.
    pub fn ping_all(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        self.for_each(|_, connection| {
            connection.request_bytes(OpCode::Ping, 0, &[], now);
            Ok(())
        })
    }

    /// Closes all sessions and waits until the server has closed the connections.
    ///
    /// # Errors
    /// What the scenario says, or a timeout.
    pub fn close_all(&mut self, scenario: &mut dyn Scenario) -> Result<(), BenchError> {
        let now = Instant::now();
        self.for_each(|_, connection| {
            connection.request_bytes(OpCode::CloseSession, 0, &[], now);
            Ok(())
        })?;
        self.drain("closing all sessions", scenario, |client| client.is_empty())
    }

    /// Turns until `done`.
    ///
    /// # Errors
    /// What the scenario says, or a timeout of a minute.
    pub fn drain(
        &mut self,
        what: &str,
        scenario: &mut dyn Scenario,
        done: impl Fn(&Client) -> bool,
    ) -> Result<(), BenchError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            self.turn(scenario, Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(BenchError::Timeout(what.to_owned()));
            }
        }
        Ok(())
    }

    /// Waits for sockets, at most `timeout`, and serves all that are ready.
    ///
    /// # Errors
    /// What the scenario says, and replies that the protocol does not allow.
    pub fn turn(
        &mut self,
        scenario: &mut dyn Scenario,
        timeout: Duration,
    ) -> Result<(), BenchError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(BenchError::io("epoll_wait"))?,
        }
        for event in &self.events {
            let id = event.token().0;
            let Some(connection) = self.connections[id].as_mut() else { continue };
            let alive = serve(
                id,
                connection,
                Ready {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    ended: event.is_read_closed(),
                },
                self.timeout_ms,
                &mut self.scratch,
                scenario,
            )?;
            if !alive {
                let orderly = connection.state == State::Closing;
                let gone = self.connections[id].take();
                if let Some(mut gone) = gone {
                    let _ = self.poll.registry().deregister(&mut gone.stream);
                }
                self.free.push(id);
                scenario.closed(id, orderly)?;
            }
        }
        Ok(())
    }
}

/// What epoll said of a socket.
struct Ready {
    readable: bool,
    writable: bool,
    /// The server has closed: what is left to read ends.
    ended: bool,
}

/// Serves one socket's readiness. Returns whether the connection lives on.
fn serve(
    id: usize,
    connection: &mut Connection,
    ready: Ready,
    timeout_ms: i32,
    scratch: &mut [u8],
    scenario: &mut dyn Scenario,
) -> Result<bool, BenchError> {
    if connection.state == State::Connecting && ready.writable {
        if let Ok(Some(error)) | Err(error) = connection.stream.take_error() {
            return Err(BenchError::Io { what: format!("connection {id}"), source: error });
        }
        connection.handshake(timeout_ms);
    }
    while ready.readable && connection.state != State::Connecting {
        let len = match connection.read(scratch) {
            Ok(Some(len)) => len,
            Ok(None) => break,
            Err(_) => 0,
        };
        if len == 0 {
            return Ok(false);
        }
        receive(id, connection, &scratch[..len], scenario)?;
        // A short read leaves nothing behind but the end, which no later edge would tell.
        if len < scratch.len() && !ready.ended {
            break;
        }
    }
    match connection.flush() {
        Ok(()) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// Takes the bytes of one read: complete frames to the scenario, the rest to the side.
fn receive(
    id: usize,
    connection: &mut Connection,
    fresh: &[u8],
    scenario: &mut dyn Scenario,
) -> Result<(), BenchError> {
    let now = Instant::now();
    let mut held = std::mem::take(&mut connection.input);
    let mut bytes = if held.is_empty() {
        fresh
    } else {
        held.extend_from_slice(fresh);
        held.as_slice()
    };
    while let Some((frame, len)) = split_frame(bytes)? {
        take_frame(id, connection, frame, now, scenario)?;
        bytes = &bytes[len..];
    }
    if !bytes.is_empty() {
        connection.input = bytes.to_vec();
    }
    Ok(())
}

fn take_frame(
    id: usize,
    connection: &mut Connection,
    frame: &[u8],
    now: Instant,
    scenario: &mut dyn Scenario,
) -> Result<(), BenchError> {
    let wrong = |why: String| BenchError::WrongReply(format!("connection {id}: {why}"));
    let mut reader = Reader::with_len_max(frame, frame.len());
    if connection.state == State::Handshaking {
        let response: ConnectResponse<'_> = reader.read().map_err(|e| wrong(e.to_string()))?;
        let password_len = response.password.map_or(0, <[u8]>::len);
        if response.timeout_ms <= 0 || response.session_id.0 == 0 || password_len != 16 {
            return Err(wrong(format!("session refused: {response:?}")));
        }
        connection.state = State::Open;
        connection.session = response.session_id;
        connection.timeout_ms = response.timeout_ms;
        return scenario.opened(id, connection, now);
    }
    let header: ReplyHeader = reader.read().map_err(|e| wrong(e.to_string()))?;
    if header.xid == Xid::NOTIFICATION {
        let event: WatcherEvent<'_> = reader.read().map_err(|e| wrong(e.to_string()))?;
        return scenario.event(id, &event, now);
    }
    let Some(request) = connection.take_pending(header.xid) else {
        return Err(wrong(format!("reply {} out of order", header.xid)));
    };
    if header.zxid < connection.last_zxid && header.zxid != Zxid(0) {
        let last = connection.last_zxid;
        return Err(wrong(format!("zxid {} after {last}", header.zxid)));
    }
    connection.last_zxid = connection.last_zxid.max(header.zxid);
    match request.op {
        OpCode::Ping => Ok(()),
        OpCode::CloseSession => {
            connection.state = State::Closing;
            Ok(())
        }
        _ => {
            let latency = now.saturating_duration_since(request.at);
            let reply = Reply { request, header, body: reader.rest(), latency };
            scenario.reply(id, connection, &reply, now)
        }
    }
}
