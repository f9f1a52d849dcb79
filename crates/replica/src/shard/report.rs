//! What four-letter words, admin and metrics ask a shard.

use std::hash::BuildHasher;

use rookeeper_jute::SessionId;

use super::connection::Phase;
use super::{ConnectionReport, Shard, ShardCounters};
use crate::ids::ConnectionKey;
use crate::watch::WatchSummary;

impl Shard {
    /// The figures since the start or the last reset.
    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Starts the figures anew (four-letter word `srst`).
    pub fn reset_counters(&mut self) {
        let mut read_namespaces = std::mem::take(&mut self.counters.read_namespaces);
        read_namespaces.reset();
        self.counters = ShardCounters { read_namespaces, ..ShardCounters::default() };
    }

    /// Starts every connection's figures anew (four-letter word `crst`).
    pub fn reset_connections(&mut self) {
        for index in 0..self.connections.places_len() {
            self.connections[index].stats.reset();
        }
    }

    /// How many connections there are, those without a session included.
    pub fn connections_len(&self) -> usize {
        self.connections.len()
    }

    /// Reports on the connections from place `from` on, `max` places at most, and says where the
    /// next call goes on; long reports run in slices.
    pub fn connections(&self, from: u32, max: usize) -> (Vec<ConnectionReport>, Option<u32>) {
        let from = from as usize;
        let end = (from + max).min(self.connections.places_len());
        let reports = (from..end)
            .filter(|index| self.connections[*index].phase != Phase::Vacant)
            .map(|index| self.connection(index))
            .collect();
        let next = (end < self.connections.places_len()).then_some(end);
        (reports, next.map(|next| u32::try_from(next).expect("an index of the slab")))
    }

    /// The session of a connection, 0 before there is one; `None` for a key that means nothing.
    pub fn session(&self, key: ConnectionKey) -> Option<SessionId> {
        self.connections.find(key).map(|index| self.connections[index].session_id)
    }

    fn connection(&self, index: usize) -> ConnectionReport {
        let connection = &self.connections[index];
        let mut report = ConnectionReport {
            key: self.connections.key(index),
            peer: connection.peer,
            session_id: connection.session_id,
            timeout_ms: connection.timeout_ms,
            // Nothing more is read behind a four-letter word.
            reading: !connection.paused && connection.phase != Phase::Word,
            writing: connection.output_len() > 0,
            outstanding: connection.outstanding,
            received: 0,
            sent: 0,
            established_ms: 0,
            last_operation: "",
            last_cxid: 0,
            last_zxid: rookeeper_jute::Zxid::ZERO,
            last_response_ms: 0,
            touched_ms: 0,
            last_latency_ms: 0,
            latency_min_ms: 0,
            latency_avg_ms: 0,
            latency_max_ms: 0,
        };
        connection.stats.fill(&mut report);
        report
    }

    /// The counts of `wchs`.
    pub fn watch_summary(&self) -> WatchSummary {
        self.watches.summary()
    }

    /// Watches in both tables.
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// A number for each path with data watches. A path has the same number in every shard that is
    /// given the same `hasher`, so that distinct ones can be counted without listing paths.
    pub fn watched_path_hashes(&self, hasher: &impl BuildHasher) -> Vec<u64> {
        self.watches.paths().map(|path| hasher.hash_one(path)).collect()
    }

    /// Data watches from a place on, session and path, out of at most `len` places; and where to
    /// go on (four-letter words `wchc` and `wchp`). Asked in slices, since clients wait meanwhile.
    pub fn watches(&self, from: u32, len: usize) -> (Vec<(SessionId, String)>, Option<u32>) {
        let (watches, next) = self.watches.slice(from, len);
        let pair = |(key, path): (_, &str)| Some((self.session(key)?, path.to_owned()));
        (watches.filter_map(pair).collect(), next)
    }

    /// Sessions of connections that have, or had, data watches, in slices as [`Shard::watches`].
    pub fn watchers(&self, from: u32, len: usize) -> (Vec<SessionId>, Option<u32>) {
        let (connections, next) = self.watches.connections_slice(from, len);
        (connections.filter_map(|key| self.session(key)).collect(), next)
    }
}
