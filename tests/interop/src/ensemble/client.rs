//! A session that moves between members, as a client's does: it takes itself up again on the next
//! member wherever the connection ends or falls silent.

use crate::connection::{Connection, Received};
use crate::request::Request;
use crate::wire::{Reader, Writer, XID_NOTIFICATION, XID_PING, frame};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The first frame of a connection: a new session for session id 0.
pub fn handshake(last_zxid: i64, timeout_ms: i32, session: Option<&Session>) -> Vec<u8> {
    let id = session.map_or(0, |session| session.id);
    let password = session.map_or(vec![0; 16], |session| session.password.clone());
    let record = Writer::new().int(0).long(last_zxid).int(timeout_ms).long(id);
    frame(&record.buffer(Some(&password)).bool(false).bytes)
}

/// What a client keeps of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: i64,
    /// Its password.
    pub password: Vec<u8>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// The last transaction that the server had applied.
    pub zxid: i64,
    /// 0, or the error.
    pub error: i32,
    /// The record.
    pub body: Vec<u8>,
}

/// What a wait brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An answer to a request.
    Reply(Reply),
    /// A watch fired: its record.
    Watch(Vec<u8>),
    /// The connection is gone, or silent for longer than a client waits.
    Lost,
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connected {
    /// With a new session.
    New,
    /// With the session that was.
    Resumed,
    /// The session is gone; the next connection makes a new one.
    Expired,
}

/// A session and its connection.
#[derive(Debug)]
pub struct Client {
    addresses: Vec<SocketAddr>,
    next: usize,
    timeout_ms: i32,
    /// How long a connection may be silent while an answer is due.
    pub patience: Duration,
    /// The session, once there is one.
    pub session: Option<Session>,
    /// The last zxid that a reply showed.
    pub last_zxid: i64,
    connection: Option<Connection>,
    xid: i32,
}

impl Client {
    /// A client of these members that starts with the one of this index.
    pub fn new(addresses: &[SocketAddr], first: usize, timeout_ms: i32) -> Client {
        Client {
            addresses: addresses.to_vec(),
            next: first,
            timeout_ms,
            patience: Duration::from_secs(4),
            session: None,
            last_zxid: 0,
            connection: None,
            xid: 0,
        }
    }

    /// A client of one member with a session of its own.
    ///
    /// # Panics
    /// Where the member gives none in time.
    pub fn of_one(address: SocketAddr) -> Client {
        let mut client = Client::new(&[address], 0, 30_000);
        client.patience = Duration::from_secs(30);
        let made = client.connect(Instant::now() + Duration::from_secs(60));
        assert_eq!(made, Ok(Connected::New), "no session at {address}");
        client
    }

    /// True while there is a connection.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Tries one member after the other until the deadline.
    ///
    /// # Errors
    /// Where none took the session, in words.
    pub fn connect(&mut self, deadline: Instant) -> Result<Connected, String> {
        let mut last = String::new();
        while Instant::now() < deadline {
            let address = self.addresses[self.next % self.addresses.len()];
            self.next += 1;
            match self.try_connect(address) {
                Ok(connected) => return Ok(connected),
                Err(why) => last = format!("{address}: {why}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("no member takes the session; the last: {last}"))
    }

    fn try_connect(&mut self, address: SocketAddr) -> Result<Connected, String> {
        let mut connection = Connection::open_at(address, Duration::from_secs(1))
            .map_err(|error| error.to_string())?;
        connection.send(&handshake(self.last_zxid, self.timeout_ms, self.session.as_ref()));
        let frame = match connection.receive(Instant::now() + self.patience) {
            Received::Frame(frame) => frame,
            other => return Err(format!("{other:?} instead of a connect response")),
        };
        let mut reader = Reader::new(&frame);
        let malformed = |_| "a connect response that ends early".to_owned();
        reader.int().map_err(malformed)?;
        let timeout_ms = reader.int().map_err(malformed)?;
        let id = reader.long().map_err(malformed)?;
        let password = reader.buffer().map_err(malformed)?.unwrap_or_default().to_vec();
        if timeout_ms <= 0 {
            self.session = None;
            return Ok(Connected::Expired);
        }
        let before = self.session.replace(Session { id, password });
        self.connection = Some(connection);
        match before {
            None => Ok(Connected::New),
            Some(before) if before.id == id => Ok(Connected::Resumed),
            Some(before) => Err(format!("session {:x} came back as {id:x}", before.id)),
        }
    }

    /// Drops the connection; the session lives on.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a request and returns its number.
    pub fn send(&mut self, request: Request) -> i32 {
        let xid = if request.xid == 0 {
            self.xid += 1;
            self.xid
        } else {
            request.xid
        };
        if let Some(connection) = &mut self.connection {
            connection.send(&request.xid(xid).frame());
        }
        xid
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Some(connection) = &mut self.connection {
            connection.send(bytes);
        }
    }

    /// Waits for the next reply or event; pings' answers are passed over.
    pub fn receive(&mut self) -> Event {
        let Some(connection) = &mut self.connection else { return Event::Lost };
        let deadline = Instant::now() + self.patience;
        loop {
            let Received::Frame(frame) = connection.receive(deadline) else {
                self.connection = None;
                return Event::Lost;
            };
            let mut reader = Reader::new(&frame);
            let (Ok(xid), Ok(zxid), Ok(error)) = (reader.int(), reader.long(), reader.int()) else {
                self.connection = None;
                return Event::Lost;
            };
            let body = reader.rest().to_vec();
            match xid {
                XID_PING => {}
                XID_NOTIFICATION => return Event::Watch(body),
                _ => {
                    self.last_zxid = self.last_zxid.max(zxid);
                    return Event::Reply(Reply { xid, zxid, error, body });
                }
            }
        }
    }

    /// Sends one request and waits for its answer; `None` where the connection ended.
    pub fn ask(&mut self, request: Request) -> Option<Reply> {
        let xid = self.send(request);
        loop {
            match self.receive() {
                Event::Reply(reply) if reply.xid == xid => return Some(reply),
                Event::Reply(_) | Event::Watch(_) => {}
                Event::Lost => return None,
            }
        }
    }

    /// Sends a ping; its answer shows that the connection lives.
    pub fn ping(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        connection.send(&crate::request::ping().frame());
        match connection.receive(Instant::now() + self.patience) {
            Received::Frame(_) => true,
            _ => {
                self.connection = None;
                false
            }
        }
    }
}
