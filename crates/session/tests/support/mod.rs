//! A session with a scripted server at the other end of its bytes.
#![allow(dead_code, reason = "each test file uses its own part")]

use rookeeper_jute::proto::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use rookeeper_jute::{Decode, Encode, ErrorCode, OpCode, SessionId, Stat, Xid, Zxid};
use rookeeper_session::*;

/// The session timeout that the scripted server grants, in milliseconds.
pub const TIMEOUT_MS: i32 = 30_000;

pub struct Harness {
    pub session: Session,
    pub now_ms: u64,
    /// The last timer asked for.
    pub timer_ms: Option<u64>,
    /// The last connection asked for, and its server.
    pub connection: ConnectionId,
    pub host: usize,
    /// Whether it is left: nothing may be sent on it any more.
    is_left: bool,
    /// What was sent on it and not taken by the script yet.
    sent: Vec<u8>,
    effects: Vec<Effect>,
}

/// A request as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub xid: i32,
    pub op: OpCode,
    pub body: Vec<u8>,
}

pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    i32::try_from(body.len()).expect("small").encode(&mut out);
    out.extend_from_slice(body);
    out
}

pub fn reply(xid: i32, zxid: i64, err: ErrorCode, body: &[u8]) -> Vec<u8> {
    let mut out = ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), err: err.to_i32() }.to_bytes();
    out.extend_from_slice(body);
    frame(&out)
}

pub fn event(kind: EventKind, path: &str, zxid: i64) -> Vec<u8> {
    let mut body = Vec::new();
    (kind as i32).encode(&mut body);
    3i32.encode(&mut body);
    path.encode(&mut body);
    reply(-1, zxid, ErrorCode::Ok, &body)
}

pub fn accepted(id: i64, timeout_ms: i32, read_only: Option<bool>) -> Vec<u8> {
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms,
        session_id: SessionId(id),
        password: Some(&[id as u8; 16]),
        read_only,
    };
    frame(&response.to_bytes())
}

pub fn stat(version: i32) -> Stat {
    Stat { version, ..Stat::default() }
}

pub fn exists(path: &str, watch: Option<u64>) -> Operation {
    Operation::Exists { path: path.into(), watch: watch.map(WatchToken) }
}

pub fn get(path: &str, watch: Option<u64>) -> Operation {
    Operation::GetData { path: path.into(), watch: watch.map(WatchToken) }
}

pub fn delete(path: &str) -> Operation {
    Operation::Delete { path: path.into(), version: -1 }
}

pub fn completed(token: u64, zxid: i64, result: Result<Reply, ErrorCode>) -> Effect {
    Effect::Completed { token: Token(token), zxid: Zxid(zxid), result }
}

pub fn lost(token: u64) -> Effect {
    completed(token, -1, Err(ErrorCode::ConnectionLoss))
}

pub fn told(kind: EventKind, path: &str, zxid: i64, watchers: &[u64]) -> Effect {
    let event = WatchEvent { kind, path: path.into(), zxid: Zxid(zxid) };
    Effect::Watch { event, watchers: watchers.iter().copied().map(WatchToken).collect() }
}

impl Harness {
    pub fn new(config: Config) -> Harness {
        Harness {
            session: Session::new(config),
            now_ms: 1_000_000,
            timer_ms: None,
            connection: ConnectionId(0),
            host: usize::MAX,
            is_left: true,
            sent: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// A session that is established, with nothing taken note of.
    pub fn established(config: Config) -> Harness {
        let mut harness = Harness::new(config);
        harness.connect();
        harness.handshake(7, Some(false));
        harness.take();
        harness
    }

    pub fn step(&mut self, input: Input<'_>) {
        let mut effects = Vec::new();
        if let Input::Disconnected { connection } = input {
            self.is_left |= connection == self.connection;
        }
        self.session.step(self.now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::SetTimer { at_ms } => self.timer_ms = Some(at_ms),
                Effect::Send { connection, bytes } => {
                    assert_eq!(connection, self.connection, "sent on another connection");
                    assert!(!self.is_left, "sent on a connection that was left");
                    self.sent.extend_from_slice(&bytes);
                }
                Effect::Connect { connection, host } => {
                    assert!(connection > self.connection);
                    (self.connection, self.host) = (connection, host);
                    self.is_left = false;
                    self.sent.clear();
                }
                Effect::Disconnect { connection, .. } => {
                    assert_eq!(connection, self.connection, "another connection is left");
                    self.is_left = true;
                    self.effects.push(effect);
                }
                other => self.effects.push(other),
            }
        }
    }

    /// Effects since the last call, but for timers, connects and bytes.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Requests since the last call.
    pub fn seen(&mut self) -> Vec<Seen> {
        let frames = self.frames();
        let requests = frames.iter().map(|frame| {
            let header = RequestHeader::from_bytes(frame).expect("a request");
            let op = OpCode::from_i32(header.op).expect("a known operation");
            Seen { xid: header.xid.0, op, body: frame[8..].to_vec() }
        });
        requests.collect()
    }

    pub fn ops(&mut self) -> Vec<(i32, OpCode)> {
        self.seen().into_iter().map(|seen| (seen.xid, seen.op)).collect()
    }

    /// Whole frames since the last call.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let sent = std::mem::take(&mut self.sent);
        let mut rest = sent.as_slice();
        let mut frames = Vec::new();
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let (frame, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
            frames.push(frame.to_vec());
            rest = tail;
        }
        assert!(rest.is_empty(), "half a frame");
        frames
    }

    /// Lets timers run until a connection is asked for, and makes it.
    pub fn connect(&mut self) -> usize {
        let before = self.connection;
        self.step(Input::Tick);
        for _ in 0..10 {
            if self.connection != before {
                break;
            }
            self.run_timer();
        }
        assert_ne!(self.connection, before, "no connection is asked for");
        self.step(Input::Connected { connection: self.connection });
        self.host
    }

    /// The server's answer to the connect request, which is returned.
    pub fn handshake(&mut self, id: i64, read_only: Option<bool>) -> Vec<u8> {
        let frames = self.frames();
        assert_eq!(frames.len(), 1, "a connect request and nothing else");
        ConnectRequest::from_bytes(&frames[0]).expect("a connect request");
        self.receive(&accepted(id, TIMEOUT_MS, read_only));
        frames[0].clone()
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.step(Input::Received { connection: self.connection, bytes });
    }

    pub fn disconnect(&mut self) {
        self.step(Input::Disconnected { connection: self.connection });
    }

    pub fn submit(&mut self, token: u64, operation: Operation) {
        self.step(Input::Submit { token: Token(token), operation });
    }

    /// Lets the time of the timer come.
    pub fn run_timer(&mut self) {
        let at_ms = self.timer_ms.expect("a timer is set");
        assert!(at_ms > self.now_ms, "the timer is in the past");
        self.now_ms = at_ms;
        self.step(Input::Tick);
    }

    pub fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.step(Input::Tick);
    }
}
