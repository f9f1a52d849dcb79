//! One client's connection, and the slab of all of them. An idle connection is this struct alone:
//! it owns no buffer.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::{SessionId, Xid};
use rookeeper_tree::Identity;

use super::Peer;
use super::stats::ConnectionStats;
use crate::ids::{ConnectionKey, SessionKey, ShardId};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The place is free.
    Vacant,
    /// Nothing was received but perhaps a part of the first frame.
    Start,
    /// A four-letter word was received; nothing more is read.
    Word,
    /// The core was asked for a session; what comes meanwhile waits.
    Connecting,
    /// The session stands.
    Open,
    /// The session is being closed by the client: nothing more is read, replies still come.
    Draining,
    /// The driver was told to close; nothing more is read or written.
    Closing,
}

/// A request that waits for the writes before it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) xid: Xid,
    pub(super) op: i32,
    pub(super) received_us: u64,
    /// The connection's identities when the request was received.
    pub(super) identities: Arc<[Identity]>,
    pub(super) body: Box<[u8]>,
}

/// What waits behind a session's unanswered writes.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) waiting: VecDeque<Waiting>,
    /// Bytes of their bodies.
    pub(super) bytes: usize,
    /// How many of them are no reads: a later write waits behind them.
    pub(super) barriers: usize,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// The driver was told not to read.
    pub(super) paused: bool,
    /// In the list of sessions to report as heard of.
    pub(super) touched: bool,
    /// In the list of connections to go on with.
    pub(super) ready: bool,
    /// The driver knows that there are bytes to send.
    pub(super) announced: bool,
    /// Negotiated session timeout.
    pub(super) timeout_ms: i32,
    /// Writes that were submitted and not answered.
    pub(super) submitted: u32,
    /// Reads that were submitted to travel with a write and not answered.
    pub(super) travelling: u32,
    /// Requests with a positive xid that were not answered (Java: `outstandingCount`).
    pub(super) outstanding: u32,
    pub(super) session: SessionKey,
    pub(super) session_id: SessionId,
    pub(super) heard_ms: u64,
    pub(super) identities: Arc<[Identity]>,
    pub(super) peer: Peer,
    /// Bytes received that are not processed yet.
    pub(super) input: Vec<u8>,
    /// Bytes to send, from `output_start` on.
    pub(super) output: Vec<u8>,
    pub(super) output_start: usize,
    pub(super) gate: Option<Box<Gate>>,
    pub(super) stats: ConnectionStats,
}

impl Connection {
    pub(super) fn output_len(&self) -> usize {
        self.output.len() - self.output_start
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.gate.as_ref().map_or(0, |gate| gate.bytes)
    }

    /// Whether a read can be answered at once: no write of the session is before it.
    pub(super) fn gate_is_open(&self) -> bool {
        self.submitted == 0 && self.gate.is_none()
    }

    /// Whether events and replies may be appended.
    pub(super) fn is_writable(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining)
    }
}

/// All connections of a shard, each at a place that is used again when it is gone.
#[derive(Debug)]
pub(super) struct Connections {
    shard: ShardId,
    places: Vec<Connection>,
    free: Vec<u32>,
}

impl Connections {
    pub(super) fn new(shard: ShardId) -> Self {
        Connections { shard, places: Vec::new(), free: Vec::new() }
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(
        &mut self,
        peer: Peer,
        identities: Arc<[Identity]>,
        stats: ConnectionStats,
    ) -> ConnectionKey {
        let connection = Connection {
            generation: 0,
            phase: Phase::Start,
            paused: false,
            touched: false,
            ready: false,
            announced: false,
            timeout_ms: 0,
            submitted: 0,
            travelling: 0,
            outstanding: 0,
            session: SessionKey::NONE,
            session_id: SessionId(0),
            heard_ms: 0,
            identities,
            peer,
            input: Vec::new(),
            output: Vec::new(),
            output_start: 0,
            gate: None,
            stats,
        };
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.places[index as usize];
                let generation = place.generation.wrapping_add(1);
                *place = Connection { generation, ..connection };
                index
            }
            None => {
                self.places.push(connection);
                u32::try_from(self.places.len() - 1).expect("fewer than 2^32 sockets")
            }
        };
        self.key(index as usize)
    }

    /// Frees a place. Its generation stays until it is used again, the rest is given back.
    pub(super) fn remove(&mut self, index: usize) {
        let place = &mut self.places[index];
        assert!(place.phase != Phase::Vacant, "a place is freed once");
        place.phase = Phase::Vacant;
        place.identities = Arc::default();
        place.input = Vec::new();
        place.output = Vec::new();
        place.gate = None;
        self.free.push(u32::try_from(index).expect("an index of the slab"));
    }

    /// The index behind a key, if the key still means that connection.
    #[inline]
    pub(super) fn find(&self, key: ConnectionKey) -> Option<usize> {
        let index = key.index as usize;
        let place = self.places.get(index)?;
        let same = key.shard == self.shard
            && place.generation == key.generation
            && place.phase != Phase::Vacant;
        same.then_some(index)
    }

    pub(super) fn key(&self, index: usize) -> ConnectionKey {
        ConnectionKey {
            index: u32::try_from(index).expect("an index of the slab"),
            generation: self.places[index].generation,
            shard: self.shard,
        }
    }

    /// How many places there are, free ones included.
    pub(super) fn places_len(&self) -> usize {
        self.places.len()
    }
}

impl std::ops::Index<usize> for Connections {
    type Output = Connection;
    fn index(&self, index: usize) -> &Connection {
        &self.places[index]
    }
}

impl std::ops::IndexMut<usize> for Connections {
    fn index_mut(&mut self, index: usize) -> &mut Connection {
        &mut self.places[index]
    }
}
