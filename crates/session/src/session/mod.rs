//! The session: steps, the life of a connection, timers.

mod incoming;
mod requests;

use std::collections::VecDeque;

use rookeeper_jute::proto::{AuthPacket, ConnectRequest, RequestHeader};
use rookeeper_jute::{Encode, ErrorCode, OpCode, SessionId, Xid, Zxid, limits};

use crate::config::{Config, ReadOnly};
use crate::effect::{ConnectionId, Effect, Input, Leaving, State};
use crate::frame::Frames;
use crate::hosts::{Hosts, SPIN_DELAY_MS};
use crate::timing::{PROBE_MS_MAX, PROBE_MS_MIN, Pauses, Timing};
use crate::watches::{WatchToken, Watches};
use requests::{Request, Sent};

/// Where the session stands with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No connection; the next attempt is at `host`, from `until_ms` on.
    Waiting { until_ms: u64, host: usize },
    /// The caller connects.
    Connecting,
    /// The connect request is sent.
    Handshaking,
    /// The server has the session.
    Established { is_read_only: bool },
    /// No more connections.
    Over,
}

/// A client's session. See the crate's documentation for what it promises.
#[derive(Debug)]
pub struct Session {
    config: Config,
    hosts: Hosts,
    pauses: Pauses,
    timing: Timing,
    phase: Phase,
    /// What was announced last; `None` before the first step.
    state: Option<State>,
    /// The connection of now, or the last one.
    connection: ConnectionId,
    /// Whether any connection was ever made: the first one is not paused for.
    was_connected: bool,
    is_closing: bool,

    id: SessionId,
    password: Vec<u8>,
    timeout_ms: u32,
    /// Whether the session is known to servers that write: read-only servers' sessions are their
    /// own, and no other server knows them.
    is_global: bool,
    last_zxid: Zxid,
    next_xid: i32,
    auth: Vec<(String, Vec<u8>)>,
    watches: Watches,

    /// Not sent yet.
    queued: VecDeque<Request>,
    /// Sent, and not answered yet.
    pending: VecDeque<Sent>,
    frames: Frames,
    /// Frames of this step on their way out.
    output: Vec<u8>,

    last_send_ms: u64,
    last_heard_ms: u64,
    last_probe_ms: u64,
    probe_pause_ms: u64,
    /// A server that is known to write, for the next attempt.
    read_write_host: Option<usize>,
    timer_ms: Option<u64>,
}

impl Session {
    /// A session that has done nothing yet; its first step connects.
    ///
    /// # Panics
    /// Where the list of servers is empty.
    pub fn new(config: Config) -> Session {
        let mut hosts = Hosts::new(config.host_count);
        let (host, _) = hosts.next();
        let timing = Timing::new(config.timeout_ms, config.host_count);
        let none = || (SessionId(0), vec![0; limits::SESSION_PASSWORD_LEN]);
        let is_global = config.resume.is_some();
        let (id, password) = config.resume.clone().unwrap_or_else(none);
        Session {
            pauses: Pauses::new(config.seed),
            timeout_ms: config.timeout_ms,
            config,
            hosts,
            timing,
            phase: Phase::Waiting { until_ms: 0, host },
            state: None,
            connection: ConnectionId(0),
            was_connected: false,
            is_closing: false,
            id,
            password,
            is_global,
            last_zxid: Zxid::ZERO,
            next_xid: 1,
            auth: Vec::new(),
            watches: Watches::default(),
            queued: VecDeque::new(),
            pending: VecDeque::new(),
            frames: Frames::default(),
            output: Vec::new(),
            last_send_ms: 0,
            last_heard_ms: 0,
            last_probe_ms: 0,
            probe_pause_ms: PROBE_MS_MIN,
            read_write_host: None,
            timer_ms: None,
        }
    }

    /// The session's id; 0 before a server gave one.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The session's password.
    pub fn password(&self) -> &[u8] {
        &self.password
    }

    /// The session timeout, in milliseconds: negotiated, or asked for as long as it is not.
    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    /// The zxid of the last reply.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// What was announced last; `None` before the first step.
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// How many requests were submitted and did not come back yet.
    pub fn outstanding(&self) -> usize {
        self.queued.len() + self.pending.iter().filter(|sent| sent.is_requested()).count()
    }

    /// Everybody who has a watch, in order: Java tells all of them of each change of state.
    pub fn watchers(&self) -> impl Iterator<Item = WatchToken> {
        self.watches.tokens().into_iter()
    }

    /// Takes one input at `now_ms`, and appends to `effects` what is to be done.
    pub fn step(&mut self, now_ms: u64, input: Input<'_>, effects: &mut Vec<Effect>) {
        if self.state.is_none() {
            self.last_heard_ms = now_ms;
            self.last_send_ms = now_ms;
            self.last_probe_ms = now_ms;
        }
        match input {
            Input::Submit { token, operation } => self.submit(token, &operation, effects),
            Input::AddAuth { scheme, auth } => self.add_auth(scheme, auth),
            Input::Connected { connection } => self.connected(now_ms, connection),
            Input::Received { connection, bytes } => {
                self.received(now_ms, connection, bytes, effects);
            }
            Input::Disconnected { connection } => {
                if self.is_current(connection) {
                    self.lose(now_ms, None, effects);
                }
            }
            Input::ProbeAnswered { host, read_write } => {
                self.probe_answered(now_ms, host, read_write, effects);
            }
            Input::Tick => {}
            Input::Close { token } => self.close(token, effects),
        }
        self.flush(now_ms, effects);
        self.run_timers(now_ms, effects);
        self.flush(now_ms, effects);
        self.set_timer(effects);
    }

    fn is_current(&self, connection: ConnectionId) -> bool {
        let is_there = !matches!(self.phase, Phase::Waiting { .. } | Phase::Over);
        is_there && connection == self.connection
    }

    fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established { .. })
    }

    fn announce(&mut self, state: State, effects: &mut Vec<Effect>) {
        if self.state != Some(state) {
            self.state = Some(state);
            effects.push(Effect::State(state));
        }
    }

    fn connected(&mut self, now_ms: u64, connection: ConnectionId) {
        if !self.is_current(connection) || self.phase != Phase::Connecting {
            return;
        }
        self.phase = Phase::Handshaking;
        self.was_connected = true;
        // Java counts a connection as a sign of life.
        self.last_heard_ms = now_ms;
        self.frames.clear();
        if self.config.xid_restart {
            self.next_xid = 1;
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.config.timeout_ms).unwrap_or(i32::MAX),
            session_id: if self.is_global { self.id } else { SessionId(0) },
            password: Some(&self.password),
            read_only: match self.config.read_only {
                ReadOnly::Refused => Some(false),
                ReadOnly::Accepted => Some(true),
                ReadOnly::Unsaid => None,
            },
        };
        let body = request.to_bytes();
        self.write_frame(&[&body]);
    }

    /// After the handshake: credentials, watches, then what was queued meanwhile.
    fn resume(&mut self) {
        for (scheme, auth) in std::mem::take(&mut self.auth) {
            self.write_auth(&scheme, &auth);
            self.auth.push((scheme, auth));
        }
        if self.config.watch_reset {
            for (op, body) in self.watches.set_again(self.last_zxid) {
                self.write_request(Xid::SET_WATCHES, op, &body);
                self.pending.push_back(Sent::set_watches(op));
            }
        }
        while let Some(request) = self.queued.pop_front() {
            self.send(request);
        }
    }

    fn add_auth(&mut self, scheme: String, auth: Vec<u8>) {
        if self.phase == Phase::Over || self.is_closing {
            return;
        }
        if self.is_established() {
            self.write_auth(&scheme, &auth);
        }
        self.auth.push((scheme, auth));
    }

    fn write_auth(&mut self, scheme: &str, auth: &[u8]) {
        let packet = AuthPacket { auth_type: 0, scheme: Some(scheme.into()), auth: Some(auth) };
        self.write_request(Xid::AUTH, OpCode::Auth, &packet.to_bytes());
    }

    fn write_request(&mut self, xid: Xid, op: OpCode, body: &[u8]) {
        let header = RequestHeader { xid, op: op.to_i32() }.to_bytes();
        self.write_frame(&[&header, body]);
    }

    fn write_frame(&mut self, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        i32::try_from(len).expect("requests are far below 2 GiB").encode(&mut self.output);
        for part in parts {
            self.output.extend_from_slice(part);
        }
    }

    fn flush(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.output.is_empty() {
            let bytes = std::mem::take(&mut self.output);
            self.last_send_ms = now_ms;
            effects.push(Effect::Send { connection: self.connection, bytes });
        }
    }

    /// The connection, or the attempt, is over; `reason` where the session ends it.
    fn lose(&mut self, now_ms: u64, reason: Option<Leaving>, effects: &mut Vec<Effect>) {
        self.leave(reason, effects);
        if self.is_closing {
            self.end(State::Closed, effects);
            return;
        }
        self.fail_all(ErrorCode::ConnectionLoss, effects);
        if !self.config.watch_reset {
            self.watches.clear_one_shot();
        }
        if matches!(self.state, Some(State::Connected | State::ConnectedReadOnly)) {
            self.announce(State::Disconnected, effects);
        }
        let (host, is_full_cycle) = match self.read_write_host.take() {
            Some(host) => {
                self.hosts.jump(host);
                (host, false)
            }
            None => self.hosts.next(),
        };
        let spin_ms = if is_full_cycle { SPIN_DELAY_MS } else { 0 };
        let pause_ms = if self.was_connected { self.pauses.next_ms() } else { 0 };
        self.phase = Phase::Waiting { until_ms: now_ms + spin_ms + pause_ms, host };
    }

    /// Nothing is sent on this connection or read from it any more.
    fn leave(&mut self, reason: Option<Leaving>, effects: &mut Vec<Effect>) {
        let is_there = !matches!(self.phase, Phase::Waiting { .. } | Phase::Over);
        if let (true, Some(reason)) = (is_there, reason) {
            effects.push(Effect::Disconnect { connection: self.connection, reason });
        }
        self.output.clear();
        self.frames.clear();
    }

    /// The session is over, and with it all requests.
    fn end(&mut self, state: State, effects: &mut Vec<Effect>) {
        self.phase = Phase::Over;
        let code = match state {
            State::AuthFailed => ErrorCode::AuthFailed,
            State::Closed => ErrorCode::ConnectionLoss,
            _ => ErrorCode::SessionExpired,
        };
        self.fail_all(code, effects);
        self.announce(state, effects);
    }

    /// Ends connection and session at once.
    fn end_by(&mut self, state: State, reason: Leaving, effects: &mut Vec<Effect>) {
        self.leave(Some(reason), effects);
        self.end(state, effects);
    }

    fn probe_answered(
        &mut self,
        now_ms: u64,
        host: usize,
        read_write: bool,
        effects: &mut Vec<Effect>,
    ) {
        let is_read_only = self.phase == Phase::Established { is_read_only: true };
        if read_write && is_read_only && host < self.hosts.count() && !self.is_closing {
            self.probe_pause_ms = PROBE_MS_MIN;
            self.read_write_host = Some(host);
            self.lose(now_ms, Some(Leaving::ReadWriteFound), effects);
        }
    }

    /// When the session is given up: never before it has an id.
    fn expiry_ms(&self) -> Option<u64> {
        (self.id != SessionId(0)).then_some(self.last_heard_ms + self.timing.expiry_ms)
    }

    /// When the connection is given up.
    fn connection_end_ms(&self) -> Option<(u64, Leaving)> {
        match self.phase {
            Phase::Connecting | Phase::Handshaking => {
                Some((self.last_send_ms + self.timing.connect_ms, Leaving::ConnectTimeout))
            }
            Phase::Established { .. } => {
                Some((self.last_heard_ms + self.timing.read_ms, Leaving::ReadTimeout))
            }
            Phase::Waiting { .. } | Phase::Over => None,
        }
    }

    /// Does whatever is due, each at most once.
    fn run_timers(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Over {
            return;
        }
        if self.expiry_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            let state = if self.is_closing { State::Closed } else { State::Expired };
            self.end_by(state, Leaving::SessionTimeout, effects);
            return;
        }
        if let Some((at_ms, reason)) = self.connection_end_ms()
            && now_ms >= at_ms
        {
            self.lose(now_ms, Some(reason), effects);
        }
        match self.phase {
            Phase::Waiting { until_ms, host } if now_ms >= until_ms => {
                self.connection = ConnectionId(self.connection.0 + 1);
                self.phase = Phase::Connecting;
                self.last_send_ms = now_ms;
                self.announce(State::Connecting, effects);
                effects.push(Effect::Connect { connection: self.connection, host });
            }
            Phase::Established { is_read_only } => {
                let silent_since = self.last_send_ms + self.timing.ping_ms;
                if now_ms >= silent_since {
                    self.write_request(Xid::PING, OpCode::Ping, &[]);
                }
                if is_read_only && now_ms >= self.last_probe_ms + self.probe_pause_ms {
                    self.last_probe_ms = now_ms;
                    self.probe_pause_ms = (2 * self.probe_pause_ms).min(PROBE_MS_MAX);
                    let (host, _) = self.hosts.next();
                    effects.push(Effect::Probe { host });
                }
            }
            _ => {}
        }
    }

    fn set_timer(&mut self, effects: &mut Vec<Effect>) {
        let due = match self.phase {
            Phase::Over => None,
            Phase::Waiting { until_ms, .. } => Some(until_ms),
            Phase::Connecting | Phase::Handshaking => None,
            Phase::Established { is_read_only } => {
                let ping_ms = self.last_send_ms + self.timing.ping_ms;
                let probe_ms = self.last_probe_ms + self.probe_pause_ms;
                Some(if is_read_only { ping_ms.min(probe_ms) } else { ping_ms })
            }
        };
        let ends = self.connection_end_ms().map(|(at_ms, _)| at_ms);
        let expiry = self.expiry_ms().filter(|_| self.phase != Phase::Over);
        let at_ms = [due, ends, expiry].into_iter().flatten().min();
        if at_ms != self.timer_ms {
            self.timer_ms = at_ms;
            effects.extend(at_ms.map(|at_ms| Effect::SetTimer { at_ms }));
        }
    }
}
