//! The turn of an I/O thread.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use mio::Token;
use parking_lot::{RwLock, RwLockReadGuard};
use rookeeper_replica::{
    CloseReason, ConnectionKey, CoreInput, DeliveryBatch, Peer, Shard, ShardEffect, ShardEffects,
    Shared,
};

use super::acceptor::{Accept, Acceptor, ListenerSide};
use super::events::{EventLoop, WAKER_TOKEN};
use super::ports::{IoMessage, ShardPort};
use super::socket::{ReadOutcome, Socket};
use crate::clock::Clock;
use crate::core_driver::{CoreDriver, CoreMessage, CorePort, Flow};
use crate::four_letter::FourLetterSender;
use crate::listener::Accepted;
use crate::log_budget::LogBudget;

/// Length of a thread's scratch buffer, in bytes: the most that one connection says in one turn.
const SCRATCH_LEN: usize = 128 << 10;

/// Bytes received under one hold of the read lock, so that it is held for less than 1 ms.
pub(super) const RECEIVED_UNDER_LOCK_MAX: usize = 16 << 10;

/// How much a turn does at most before it looks at the sockets again.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnLimits {
    /// Connections that are read.
    connections: usize,
    /// Bytes that are read of one.
    bytes_of_one: usize,
    /// Bytes after which no further connection is read.
    bytes: usize,
    /// How often it goes on with connections that have more to do before sockets get their turn.
    rounds: usize,
    /// Connections that are written.
    writes: usize,
}

/// Of a thread that does nothing else.
const OWN_THREAD: TurnLimits = TurnLimits {
    connections: usize::MAX,
    bytes_of_one: SCRATCH_LEN,
    bytes: usize::MAX,
    rounds: 16,
    writes: usize::MAX,
};

/// Of one that others wait for: about 1 ms, where replies are not large.
pub(super) const SHARED_THREAD: TurnLimits = TurnLimits {
    connections: 64,
    bytes_of_one: RECEIVED_UNDER_LOCK_MAX,
    bytes: RECEIVED_UNDER_LOCK_MAX,
    rounds: 1,
    writes: 128,
};

/// Connections accepted in one turn.
const ACCEPTS_A_TURN: usize = 64;

/// The number of the listening socket.
const LISTENER_TOKEN: u32 = u32::MAX - 1;

/// How long a connection that is to be closed may take to read its last bytes.
const LINGER_MS: u64 = 5000;

/// Where this thread's writes go.
pub(crate) enum CoreSide {
    /// The core is stepped by this thread.
    Inline(Box<CoreDriver>),
    /// The core has a thread of its own.
    Remote(CorePort),
}

struct Connection {
    key: ConnectionKey,
    socket: Socket,
    /// Whether the shard does not want more input for now.
    paused: bool,
    /// Whether it stands in the list of connections with output.
    dirty: bool,
    /// When it was told to close, by the monotonic clock in milliseconds.
    closing_since_ms: Option<u64>,
}

/// One I/O thread's state: [`IoThread::run`] is all that such a thread does, and a
/// [`Guest`](super::Guest) does the same on another's.
pub(crate) struct IoThread {
    shard: Shard,
    port: Arc<ShardPort>,
    shared: Arc<RwLock<Shared>>,
    clock: Clock,
    core: CoreSide,
    four_letter: FourLetterSender,
    acceptor: Option<Acceptor>,
    pub(super) events: EventLoop,
    /// The numbers of connections that have something to do in the next turn, each once.
    ready: Vec<u32>,
    /// By number, whether it stands there. Where its connection is gone meanwhile, the next one
    /// with this number has its turn.
    queued: Vec<bool>,
    /// Whether the listening socket stands there.
    listener_queued: bool,
    /// By place; each in a box of its own, so that the vector stays short when it grows.
    connections: Vec<Option<Box<Connection>>>,
    scratch: Box<[u8]>,
    effects: ShardEffects,
    /// Connections with output to write at the end of the turn.
    dirty: VecDeque<u32>,
    messages: Vec<IoMessage>,
    deliveries: Vec<DeliveryBatch>,
    tokens: Vec<u32>,
    /// Whether the shard has more to do than its last call could.
    more: bool,
    pub(super) limits: TurnLimits,
    draining: bool,
    pub(super) stopped: bool,
    log: LogBudget,
}

impl IoThread {
    /// A thread's state, ready to run.
    ///
    /// # Errors
    /// Where the system has no event queue left.
    pub(crate) fn new(
        shard: Shard,
        port: Arc<ShardPort>,
        shared: Arc<RwLock<Shared>>,
        clock: Clock,
        core: CoreSide,
        four_letter: FourLetterSender,
    ) -> io::Result<Self> {
        Ok(IoThread {
            shard,
            port,
            shared,
            clock,
            core,
            four_letter,
            acceptor: None,
            events: EventLoop::new()?,
            ready: Vec::new(),
            queued: Vec::new(),
            listener_queued: false,
            connections: Vec::new(),
            scratch: vec![0; SCRATCH_LEN].into_boxed_slice(),
            effects: ShardEffects::default(),
            dirty: VecDeque::new(),
            messages: Vec::new(),
            deliveries: Vec::new(),
            tokens: Vec::new(),
            more: false,
            limits: OWN_THREAD,
            draining: false,
            stopped: false,
            log: LogBudget::default(),
        })
    }

    /// Serves until the thread is told to stop.
    ///
    /// # Errors
    /// Where the listening socket cannot be registered.
    pub(crate) fn run(mut self, listener: Option<ListenerSide>) -> io::Result<()> {
        self.begin(listener)?;
        let waker = self.events.waker().clone();
        while !self.stopped {
            self.turn(&waker);
            self.look(!self.has_more())?;
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, listener: Option<ListenerSide>) -> io::Result<()> {
        if let Some(side) = listener {
            let token = socket_token(LISTENER_TOKEN);
            self.acceptor = Some(Acceptor::new(side, self.events.registry(), token)?);
        }
        Ok(())
    }

    /// Whether something is to be done, as far as it was looked for.
    pub(super) fn has_work(&self) -> bool {
        let port = &self.port;
        self.has_more() || !port.messages.is_empty() || !port.deliveries.is_empty()
    }

    /// Whether there is something to do without anything that is new.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.dirty.is_empty() || self.more
    }

    /// Notes which connections have something to do; waits until there is something, if it
    /// `may_sleep`. Says how many were reported.
    pub(super) fn look(&mut self, may_sleep: bool) -> io::Result<usize> {
        let mut reported = 0;
        for event in self.events.poll(may_sleep && !self.stopped)? {
            reported += 1;
            if event.token() == WAKER_TOKEN {
                continue;
            }
            let token = event.token().0;
            let queued = if token == LISTENER_TOKEN as usize {
                &mut self.listener_queued
            } else {
                let Some(Some(connection)) = self.connections.get_mut(token) else { continue };
                connection.socket.reported(event);
                &mut self.queued[token]
            };
            if !std::mem::replace(queued, true) {
                self.ready.push(token as u32);
            }
        }
        Ok(reported)
    }

    /// Gives a connection a turn, once.
    fn queue(&mut self, token: u32) {
        if !std::mem::replace(&mut self.queued[token as usize], true) {
            self.ready.push(token);
        }
    }

    /// Gives the listening socket one.
    fn queue_listener(&mut self) {
        if !std::mem::replace(&mut self.listener_queued, true) {
            self.ready.push(LISTENER_TOKEN);
        }
    }

    pub(super) fn turn(&mut self, waker: &Waker) {
        let mut messages = std::mem::take(&mut self.messages);
        self.port.messages.take(&mut messages, waker);
        for message in messages.drain(..) {
            self.message(message);
        }
        self.messages = messages;
        let mut tokens = std::mem::take(&mut self.tokens);
        std::mem::swap(&mut tokens, &mut self.ready);
        let served = self.serve(&tokens, waker);
        self.submit();
        while self.step_core() {
            self.serve(&[], waker);
            self.submit();
        }
        self.write_all();
        // Who had no turn is the first of the next one.
        tokens.drain(..served);
        tokens.append(&mut self.ready);
        std::mem::swap(&mut tokens, &mut self.ready);
        self.tokens = tokens;
    }

    fn message(&mut self, message: IoMessage) {
        match message {
            IoMessage::Accepted(accepted) => self.accepted(accepted),
            IoMessage::Tick => self.tick(),
            IoMessage::Wake => {}
            IoMessage::Core(message) => {
                if let CoreSide::Inline(driver) = &mut self.core {
                    let flow = driver.message(message);
                    self.stopped |= flow == Flow::Stop;
                }
            }
            IoMessage::Inspect(question) => question(&mut self.shard),
            IoMessage::FourLetterAnswer(answer) => {
                self.shard.answer_word(answer.connection, &answer.text, &mut self.effects);
                self.carry();
            }
            IoMessage::Listen(listener) => self.listen(listener),
            IoMessage::ListenNoMore => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.listen_no_more();
                }
            }
            IoMessage::Drain => {
                self.acceptor = None;
                self.draining = true;
            }
            IoMessage::Stop => self.stopped = true,
        }
    }

    fn listen(&mut self, listener: std::net::TcpListener) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if let Err(error) = acceptor.listen(listener, self.events.registry()) {
            tracing::error!(%error, "clients cannot be accepted any more");
        }
    }

    /// Takes what the core delivered, then what the ready sockets hold; answers reads. Says how
    /// many of the sockets had their turn.
    fn serve(&mut self, tokens: &[u32], waker: &Waker) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut guard = shared.read();
        self.catch_up(&guard, waker);
        let (mut received, mut before, mut served) = (0, 0, 0);
        for token in tokens.iter().take(self.limits.connections) {
            if received >= self.limits.bytes {
                break;
            }
            if received - before >= RECEIVED_UNDER_LOCK_MAX {
                RwLockReadGuard::bump(&mut guard);
                self.catch_up(&guard, waker);
                before = received;
            }
            if *token == LISTENER_TOKEN {
                self.listener_queued = false;
                self.accept();
            } else {
                received += self.serve_connection(*token, &mut guard, waker);
            }
            served += 1;
        }
        for _ in 0..self.limits.rounds {
            if !self.more {
                break;
            }
            RwLockReadGuard::bump(&mut guard);
            self.catch_up(&guard, waker);
        }
        served
    }

    /// Nothing that a connection reads may be ahead of what it was told.
    fn catch_up(&mut self, shared: &Shared, waker: &Waker) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        match &self.core {
            CoreSide::Inline(_) => self.port.deliveries.take_quietly(&mut deliveries),
            CoreSide::Remote(_) => self.port.deliveries.take(&mut deliveries, waker),
        }
        let now = self.clock.now();
        for batch in deliveries.drain(..) {
            self.shard.deliver(now, batch, shared, &mut self.effects);
        }
        self.deliveries = deliveries;
        self.more = false;
        self.shard.catch_up(now, shared, &mut self.effects);
        self.carry();
    }

    /// Reads a ready connection once; returns how many bytes it said.
    fn serve_connection(
        &mut self,
        token: u32,
        guard: &mut RwLockReadGuard<'_, Shared>,
        waker: &Waker,
    ) -> usize {
        self.queued[token as usize] = false;
        let Some(connection) = self.connection(token) else { return 0 };
        if connection.socket.write_blocked && !connection.dirty {
            connection.dirty = true;
            self.dirty.push_back(token);
        }
        let Some(connection) = self.connection(token) else { return 0 };
        if connection.paused || connection.closing_since_ms.is_some() {
            return 0;
        }
        let key = connection.key;
        if self.draining {
            return 0;
        }
        let (mut scratch, most) = (std::mem::take(&mut self.scratch), self.limits.bytes_of_one);
        let outcome = match self.connection(token) {
            Some(connection) => connection.socket.read(&mut scratch[..most]),
            None => ReadOutcome::Empty,
        };
        let len = match outcome {
            ReadOutcome::Full(len) => {
                self.queue(token);
                len
            }
            ReadOutcome::Drained(len) => len,
            ReadOutcome::Empty => 0,
            ReadOutcome::Closed => {
                self.lost(token);
                0
            }
        };
        for (index, chunk) in scratch[..len].chunks(RECEIVED_UNDER_LOCK_MAX).enumerate() {
            if index > 0 {
                RwLockReadGuard::bump(guard);
                self.catch_up(guard, waker);
            }
            self.shard.receive(self.clock.now(), key, chunk, guard, &mut self.effects);
            self.carry();
        }
        self.scratch = scratch;
        len
    }

    fn connection(&mut self, token: u32) -> Option<&mut Connection> {
        self.connections.get_mut(token as usize)?.as_deref_mut()
    }

    /// The number of a connection that is still the one that the shard means.
    fn token(&mut self, key: ConnectionKey) -> Option<u32> {
        let connection = self.connection(key.index)?;
        (connection.key == key).then_some(key.index)
    }

    /// Carries out what the shard's last call asked for, submissions aside.
    fn carry(&mut self) {
        while !self.effects.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects.effects);
            for effect in effects.drain(..) {
                self.act(effect);
            }
            if self.effects.effects.is_empty() {
                self.effects.effects = effects;
            }
        }
    }

    fn act(&mut self, effect: ShardEffect) {
        match effect {
            ShardEffect::Output(key) => {
                let Some(token) = self.token(key) else { return };
                let Some(connection) = self.connection(token) else { return };
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push_back(token);
                }
            }
            ShardEffect::Pause(key) => {
                let Some(token) = self.token(key) else { return };
                if let Some(connection) = self.connection(token) {
                    connection.paused = true;
                }
            }
            ShardEffect::Resume(key) => {
                let Some(token) = self.token(key) else { return };
                if let Some(connection) = self.connection(token) {
                    connection.paused = false;
                }
                self.queue(token);
            }
            ShardEffect::Close(key, reason) => {
                let now_ms = self.clock.now().monotonic_ms();
                let Some(token) = self.token(key) else { return };
                let Some(connection) = self.connection(token) else { return };
                connection.closing_since_ms.get_or_insert(now_ms);
                let client = connection.socket.client();
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push_back(token);
                }
                self.tell_close(client, reason, now_ms);
            }
            ShardEffect::FourLetterWord { connection: key, word, argument } => {
                let Some(token) = self.token(key) else { return };
                if !self.four_letter.ask(key, word, argument) {
                    self.lost(token);
                } else if let Some(connection) = self.connection(token) {
                    // Whoever asks may close its side at once and still wants the answer.
                    connection.paused = true;
                }
            }
            ShardEffect::More => self.more = true,
        }
    }

    /// Says why a connection is closed, where it is not the ordinary end of a session.
    fn tell_close(&mut self, client: IpAddr, reason: CloseReason, now_ms: u64) {
        let ordinary = matches!(
            reason,
            CloseReason::ClientClosedSession
                | CloseReason::SessionClosed
                | CloseReason::SessionExpired
                | CloseReason::ClientReconnect
                | CloseReason::FourLetterWord
                | CloseReason::NotServing
        );
        if ordinary {
            tracing::debug!(%client, ?reason, "connection closed");
        } else if let Some(more) = self.log.take(now_ms) {
            tracing::info!(%client, ?reason, more, "connection closed");
        }
    }

    /// Sends the writes of this turn to the core.
    fn submit(&mut self) {
        if self.effects.submissions.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.effects.submissions);
        match &mut self.core {
            CoreSide::Inline(driver) => driver.input(CoreInput::Submissions(batch)),
            CoreSide::Remote(port) => {
                port.send(CoreMessage::Input(CoreInput::Submissions(batch)));
            }
        }
    }

    /// Applies a slice where this thread steps the core; says whether something is to deliver.
    fn step_core(&mut self) -> bool {
        let CoreSide::Inline(driver) = &mut self.core else { return false };
        if driver.apply_slice() {
            // Sockets get a turn between slices.
            self.port.messages.send(IoMessage::Wake);
        }
        !self.port.deliveries.is_empty()
    }

    /// Writes the output of every connection that has some, each with one call; the last time of
    /// all without a limit.
    fn write_all(&mut self) {
        let most = if self.stopped { usize::MAX } else { self.limits.writes };
        for _ in 0..most {
            let Some(token) = self.dirty.pop_front() else { return };
            let Some(connection) = self.connections[token as usize].as_mut() else { continue };
            connection.dirty = false;
            let key = connection.key;
            let output = self.shard.output(key);
            let registry = self.events.registry();
            let written = connection.socket.write(output, registry, socket_token(token));
            let all = output.len();
            match written {
                None => self.lost(token),
                Some(len) => {
                    let closing = connection.closing_since_ms.is_some();
                    self.shard.written(key, len, &mut self.effects);
                    if len == all && closing {
                        if connection.paused {
                            // Bytes left unread would turn the close into a reset, which could
                            // overtake the last answer.
                            connection.socket.read(&mut self.scratch);
                        }
                        self.lost(token);
                    }
                    self.carry();
                }
            }
        }
    }

    /// Takes a connection out of the thread; its socket closes.
    fn lost(&mut self, token: u32) {
        let slot = self.connections.get_mut(token as usize).and_then(Option::take);
        if let Some(connection) = slot {
            self.shard.closed(connection.key, &mut self.effects);
            self.carry();
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.shard.tick(now, &mut self.effects);
        self.carry();
        let late_ms = now.monotonic_ms().saturating_sub(LINGER_MS);
        let late = |connection: &Option<Box<Connection>>| {
            let since = connection.as_ref().and_then(|connection| connection.closing_since_ms);
            since.is_some_and(|since_ms| since_ms < late_ms)
        };
        let tokens = 0..self.connections.len();
        for token in tokens.filter(|token| late(&self.connections[*token])).collect::<Vec<_>>() {
            self.lost(token as u32);
        }
        if self.acceptor.as_mut().is_some_and(Acceptor::resume) {
            self.queue_listener();
        }
    }

    /// Takes waiting connections and hands each to the thread whose turn it is.
    fn accept(&mut self) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        let now_ms = self.clock.now().monotonic_ms();
        for left in (0..ACCEPTS_A_TURN).rev() {
            let (stream, peer, place) = match acceptor.accept(now_ms) {
                Accept::Client(stream, peer, place) => (stream, peer, place),
                Accept::Nobody => break,
                Accept::Later => {
                    self.queue_listener();
                    break;
                }
            };
            let target = acceptor.next_target();
            let accepted = Accepted { stream, peer, place };
            if Arc::ptr_eq(&target, &self.port) {
                self.accepted(accepted);
            } else {
                target.messages.send(IoMessage::Accepted(accepted));
            }
            if left == 0 {
                self.queue_listener();
            }
        }
        self.acceptor = Some(acceptor);
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        let key = self.shard.accept(self.clock.now(), Peer { address: peer, secure: false });
        let token = socket_token(key.index);
        let socket = match Socket::new(stream, place, self.events.registry(), token) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be served");
                self.shard.closed(key, &mut self.effects);
                return self.carry();
            }
        };
        let at = key.index as usize;
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, || None);
            self.queued.resize(at + 1, false);
        }
        let connection =
            Connection { key, socket, paused: false, dirty: false, closing_since_ms: None };
        self.connections[at] = Some(Box::new(connection));
    }
}

/// The number that a connection, or the listening socket, has in the event loop.
fn socket_token(token: u32) -> Token {
    Token(token as usize)
}
