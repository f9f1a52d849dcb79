//! The connections of one I/O thread: frames, handshake, the gate that keeps each session's
//! requests in order, reads, watches and events, output, limits, statistics.
//!
//! # Layout
//! - [`Shard`]: what a driver calls
//! - `connection`: one connection, and the slab of all
//! - `frames`: bytes to requests: length prefixes, four-letter words, the handshake
//! - `gate`: what is answered at once, what waits, what goes to the core
//! - `requests`: answers from the tree, the watch table and the connection itself
//! - `events`: changes of the tree to watch events
//! - `deliver`: what the core says
//! - `output`: bytes to send, and the buffers that they stand in
//! - `latency`: [`Latency`], a series with its distribution
//! - `stats`: [`ConnectionReport`], [`ShardCounters`]
//! - `report`: what four-letter words, admin and metrics ask

mod connection;
mod deliver;
mod events;
mod frames;
mod gate;
mod latency;
mod output;
mod report;
mod requests;
mod stats;

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_tree::AccessControl;
use rookeeper_tree::auth::{Identity, host_address};

use crate::close::CloseReason;
use crate::config::ShardConfig;
use crate::ids::{ConnectionKey, Now, ShardId};
use crate::message::{Submission, SubmissionBatch, SubmissionKind, Touch};
use crate::shared::Shared;
use crate::watch::WatchTable;

use connection::{Connection, Connections, Phase};
pub use latency::Latency;
use output::Buffers;
pub(crate) use requests::read_into;
use stats::ConnectionStats;
pub use stats::{ConnectionReport, ShardCounters, Summary};

/// The client's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// Bytes of the answer to a four-letter word that count as one packet (Java: the buffer of the
/// `BufferedWriter` before `NIOServerCnxn.SendBufferWriter`).
const WORD_PACKET_LEN: usize = 8192;

/// What a call asks the driver to do.
#[derive(Debug, Default)]
pub struct ShardEffects {
    /// For the core: to be sent, in order with earlier ones, when it is not empty.
    pub submissions: SubmissionBatch,
    /// To be carried out in order.
    pub effects: Vec<ShardEffect>,
}

/// One thing that the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardEffect {
    /// There are bytes to send: write [`Shard::output`] until it is empty. Comes once until then.
    Output(ConnectionKey),
    /// Do not read from the connection until [`ShardEffect::Resume`]; what was read already may
    /// still be passed to [`Shard::receive`].
    Pause(ConnectionKey),
    /// Read again.
    Resume(ConnectionKey),
    /// Try to write what [`Shard::output`] still holds, for a bounded time, then close the socket
    /// and call [`Shard::closed`]. Comes once.
    Close(ConnectionKey, CloseReason),
    /// Answer a four-letter word by [`Shard::answer_word`]; the word is known, whether it is
    /// enabled is not checked.
    FourLetterWord {
        /// Who asks.
        connection: ConnectionKey,
        /// The word's bytes.
        word: [u8; 4],
        /// The mask of `stmk`.
        argument: Option<i64>,
    },
    /// Call [`Shard::catch_up`] again soon: a limit cut this call short, so that the lock can be
    /// released in between.
    More,
}

/// Frames that one call processes at most.
const TURN_FRAMES_MAX: usize = 64;
/// Bytes of output after which a call stops processing frames.
const TURN_OUTPUT_MAX: usize = 256 << 10;

/// One call: its time, the shared state, what it asks for and how much it may still do.
struct Turn<'a> {
    now: Now,
    shared: &'a Shared,
    effects: &'a mut ShardEffects,
    frames_left: usize,
    output_left: usize,
}

impl<'a> Turn<'a> {
    fn new(now: Now, shared: &'a Shared, effects: &'a mut ShardEffects) -> Self {
        Turn { now, shared, effects, frames_left: TURN_FRAMES_MAX, output_left: TURN_OUTPUT_MAX }
    }

    fn is_over(&self) -> bool {
        self.frames_left == 0 || self.output_left == 0
    }
}

/// The connections of one I/O thread.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    config: Arc<ShardConfig>,
    access: Arc<AccessControl>,
    connections: Connections,
    /// The address of the last connection, and what it is as an identity.
    last_address: Option<(IpAddr, Arc<[Identity]>)>,
    watches: WatchTable<ConnectionKey>,
    /// How many watches the core was told of.
    watches_published: usize,
    /// How far the change log was turned into events.
    cursor: u64,
    /// How many batches of applying were delivered.
    sequence: u64,
    /// Connections that can go on: a reply came, output drained, or a turn was over.
    ready: VecDeque<ConnectionKey>,
    /// Connections whose session was heard of since the last report.
    touched: Vec<ConnectionKey>,
    /// Connections without a session, with the time by which they need one; in order of it.
    sessionless: VecDeque<(u64, ConnectionKey)>,
    /// How many connections have a session.
    sessions: usize,
    buffers: Buffers,
    /// Where an event is encoded before it is copied to its watchers.
    event: Vec<u8>,
    serving: bool,
    counters: ShardCounters,
}

impl Shard {
    /// What an idle connection takes in a shard, in bytes, beside its identities.
    pub const CONNECTION_LEN: usize = size_of::<Connection>();

    /// A shard without connections. `access` is the same for all shards and the core.
    pub fn new(id: ShardId, config: Arc<ShardConfig>, access: Arc<AccessControl>) -> Self {
        Shard {
            id,
            watches: WatchTable::new(config.hash_seed),
            config,
            access,
            connections: Connections::new(id),
            last_address: None,
            watches_published: 0,
            cursor: 0,
            sequence: 0,
            ready: VecDeque::new(),
            touched: Vec::new(),
            sessionless: VecDeque::new(),
            sessions: 0,
            buffers: Buffers::default(),
            event: Vec::new(),
            serving: true,
            counters: ShardCounters::default(),
        }
    }

    /// Forgets the core and the shared state that it was used with: both were made anew, after all
    /// connections were told to close.
    pub fn restart(&mut self) {
        assert!(self.watches.is_empty(), "connections are told to close before a restart");
        self.cursor = 0;
        self.sequence = 0;
        self.serving = true;
    }

    /// Takes a new connection; limits on their number are the acceptor's.
    pub fn accept(&mut self, now: Now, peer: Peer) -> ConnectionKey {
        let identities = self.address_identities(peer.address.ip());
        let stats = ConnectionStats::new(now);
        let key = self.connections.insert(peer, identities, stats);
        let deadline = now.monotonic_ms() + self.config.sessionless_timeout_ms;
        self.sessionless.push_back((deadline, key));
        key
    }

    /// The identity that a connection has by its address; one host's connections share it.
    fn address_identities(&mut self, address: IpAddr) -> Arc<[Identity]> {
        match &self.last_address {
            Some((last, identities)) if *last == address => identities.clone(),
            _ => {
                let identity = Identity::new("ip", &host_address(address));
                let identities: Arc<[Identity]> = Arc::new([identity]);
                self.last_address = Some((address, identities.clone()));
                identities
            }
        }
    }

    /// Takes the bytes of one read of a socket. Reads are answered at once into the connection's
    /// output, where no write of the session is before them.
    ///
    /// # Panics
    /// If the driver left a batch of the core's undelivered (duty 2).
    pub fn receive(
        &mut self,
        now: Now,
        key: ConnectionKey,
        bytes: &[u8],
        shared: &Shared,
        effects: &mut ShardEffects,
    ) {
        let Some(index) = self.connections.find(key) else { return };
        effects.submissions.shard = self.id;
        self.catch_up_events(shared, effects);
        let turn = &mut Turn::new(now, shared, effects);
        if self.connections[index].input.is_empty() {
            let used = self.frames(index, bytes, turn);
            if used < bytes.len() {
                self.keep_input(index, &bytes[used..]);
            }
        } else {
            self.connections[index].input.extend_from_slice(bytes);
            self.buffered_frames(index, turn);
        }
    }

    /// Turns changes into events, and goes on with connections that can. To be called after all
    /// that the core said was delivered.
    ///
    /// # Panics
    /// If the driver left a batch of the core's undelivered (duty 2).
    pub fn catch_up(&mut self, now: Now, shared: &Shared, effects: &mut ShardEffects) {
        effects.submissions.shard = self.id;
        self.catch_up_events(shared, effects);
        let turn = &mut Turn::new(now, shared, effects);
        while !turn.is_over() {
            let Some(key) = self.ready.pop_front() else { return };
            if let Some(index) = self.connections.find(key) {
                self.connections[index].ready = false;
                self.go_on(index, turn);
            }
        }
        if !self.ready.is_empty() {
            turn.effects.effects.push(ShardEffect::More);
        }
    }

    /// The answer to a four-letter word; the connection is closed when it is sent.
    pub fn answer_word(&mut self, key: ConnectionKey, text: &[u8], effects: &mut ShardEffects) {
        let Some(index) = self.connections.find(key) else { return };
        if self.connections[index].phase == Phase::Word {
            self.output_mut(index).extend_from_slice(text);
            // Java counts what its writer hands over at once.
            self.counters.packets_sent += text.len().div_ceil(WORD_PACKET_LEN) as u64;
            self.announce(index, effects);
            self.close(index, CloseReason::FourLetterWord, effects);
        }
    }

    /// The socket is gone.
    pub fn closed(&mut self, key: ConnectionKey, effects: &mut ShardEffects) {
        let Some(index) = self.connections.find(key) else { return };
        let connection = &self.connections[index];
        if connection.phase != Phase::Closing {
            self.counters.connection_drops += 1;
            self.forget(index);
        }
        let Connection { session, touched, heard_ms, .. } = self.connections[index];
        effects.submissions.shard = self.id;
        if touched {
            effects.submissions.touches.push(Touch { session, at_ms: heard_ms });
        }
        effects.submissions.entries.push(Submission {
            connection: key,
            received_us: 0,
            kind: SubmissionKind::Closed { session },
        });
        self.release_buffers(index);
        self.connections.remove(index);
    }

    /// Tells the core which sessions were heard of, and closes connections that have not asked for
    /// one in time.
    pub fn tick(&mut self, now: Now, effects: &mut ShardEffects) {
        effects.submissions.shard = self.id;
        self.report_touches(now, effects);
        while let Some((deadline, key)) = self.sessionless.front().copied() {
            if deadline > now.monotonic_ms() {
                break;
            }
            self.sessionless.pop_front();
            let Some(index) = self.connections.find(key) else { continue };
            if matches!(self.connections[index].phase, Phase::Start | Phase::Word) {
                self.counters.sessionless_expired += 1;
                self.close(index, CloseReason::Sessionless, effects);
            }
        }
    }

    fn report_touches(&mut self, now: Now, effects: &mut ShardEffects) {
        for key in self.touched.drain(..) {
            let Some(index) = self.connections.find(key) else { continue };
            let connection = &mut self.connections[index];
            connection.touched = false;
            effects
                .submissions
                .touches
                .push(Touch { session: connection.session, at_ms: connection.heard_ms });
        }
        if self.sessions > 0 {
            effects.submissions.touched_up_to_ms = Some(now.monotonic_ms());
        }
    }

    /// Puts a connection on the list of those to go on with.
    fn make_ready(&mut self, index: usize) {
        let key = self.connections.key(index);
        let connection = &mut self.connections[index];
        if !connection.ready {
            connection.ready = true;
            self.ready.push_back(key);
        }
    }

    /// Ends a connection: what is in its output is still sent, nothing is added.
    fn close(&mut self, index: usize, reason: CloseReason, effects: &mut ShardEffects) {
        if self.connections[index].phase == Phase::Closing {
            return;
        }
        self.forget(index);
        let key = self.connections.key(index);
        let connection = &mut self.connections[index];
        connection.phase = Phase::Closing;
        connection.gate = None;
        self.buffers.put(std::mem::take(&mut connection.input));
        effects.effects.push(ShardEffect::Close(key, reason));
    }

    /// Drops what others keep for a connection that ends.
    fn forget(&mut self, index: usize) {
        self.watches.remove_connection(self.connections.key(index));
        if self.connections[index].is_writable() {
            self.sessions -= 1;
        }
    }
}
