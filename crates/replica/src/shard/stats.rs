//! What is counted, a connection and in all, for four-letter words, admin and metrics (Java:
//! `ServerCnxn`, `ServerStats`).

use rookeeper_jute::{SessionId, Xid, Zxid};
use rookeeper_tree::Namespaces;

use super::Peer;
use super::latency::Latency;
use crate::ids::{ConnectionKey, Now};

/// The operation of a connection without one yet, and of one whose last write was refused.
pub(super) const NO_OP: i32 = i32::MIN;

/// One connection's figures.
#[derive(Debug, Clone)]
pub(super) struct ConnectionStats {
    pub(super) established_ms: i64,
    pub(super) received: u64,
    pub(super) sent: u64,
    last_op: i32,
    last_cxid: i64,
    last_zxid: Zxid,
    last_response_ms: u64,
    touched_ms: u64,
    last_latency_ms: u32,
    latency_min_ms: u32,
    latency_max_ms: u32,
    answered: u64,
    latency_sum_ms: u64,
}

impl ConnectionStats {
    pub(super) fn new(now: Now) -> Self {
        ConnectionStats {
            established_ms: now.wall_ms,
            received: 0,
            sent: 0,
            last_op: NO_OP,
            last_cxid: -1,
            last_zxid: Zxid(-1),
            last_response_ms: 0,
            touched_ms: now.monotonic_ms(),
            last_latency_ms: 0,
            latency_min_ms: u32::MAX,
            latency_max_ms: 0,
            answered: 0,
            latency_sum_ms: 0,
        }
    }

    /// Starts the figures anew; what is no figure stays (Java: `ServerCnxn.resetStats`).
    pub(super) fn reset(&mut self) {
        let (established_ms, touched_ms) = (self.established_ms, self.touched_ms);
        let none = ConnectionStats::new(Now { wall_ms: established_ms, monotonic_us: 0 });
        *self = ConnectionStats { touched_ms, ..none };
    }

    /// Takes note of an answer (Java: `updateStatsForResponse`).
    #[inline]
    pub(super) fn answered(&mut self, op: i32, xid: Xid, zxid: Zxid, now: Now, latency_ms: u32) {
        if xid.0 >= 0 {
            self.last_cxid = i64::from(xid.0);
        }
        self.last_zxid = zxid;
        self.last_op = op;
        self.last_response_ms = now.monotonic_ms();
        self.touched_ms = self.last_response_ms;
        self.last_latency_ms = latency_ms;
        self.latency_min_ms = self.latency_min_ms.min(latency_ms);
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
        self.answered += 1;
        self.latency_sum_ms += u64::from(latency_ms);
    }
}

/// A connection as `cons`, `stat` and admin report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Which connection.
    pub key: ConnectionKey,
    /// The client's end.
    pub peer: Peer,
    /// 0 before there is a session.
    pub session_id: SessionId,
    /// Negotiated session timeout in milliseconds.
    pub timeout_ms: i32,
    /// Whether it is read from.
    pub reading: bool,
    /// Whether it has bytes to send.
    pub writing: bool,
    /// Requests not answered yet.
    pub outstanding: u32,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub established_ms: i64,
    /// The last operation, as Java abbreviates it.
    pub last_operation: &'static str,
    /// The last request's number, -1 for none.
    pub last_cxid: i64,
    /// The last reply's zxid.
    pub last_zxid: Zxid,
    /// When the last reply was made, by the monotonic clock, in milliseconds.
    pub last_response_ms: u64,
    /// When the last reply was made or, before there is one, the connection accepted, by the
    /// monotonic clock, in milliseconds.
    pub touched_ms: u64,
    /// Latency of the last reply in milliseconds.
    pub last_latency_ms: u32,
    /// Smallest latency in milliseconds, 0 before the first reply.
    pub latency_min_ms: u32,
    /// Mean latency in milliseconds.
    pub latency_avg_ms: u64,
    /// Largest latency in milliseconds.
    pub latency_max_ms: u32,
}

impl ConnectionStats {
    /// The report's figures.
    pub(super) fn fill(&self, report: &mut ConnectionReport) {
        report.received = self.received;
        report.sent = self.sent;
        report.established_ms = self.established_ms;
        report.last_operation = operation_name(self.last_op);
        report.last_cxid = self.last_cxid;
        report.last_zxid = self.last_zxid;
        report.last_response_ms = self.last_response_ms;
        report.touched_ms = self.touched_ms;
        report.last_latency_ms = self.last_latency_ms;
        report.latency_min_ms = if self.answered == 0 { 0 } else { self.latency_min_ms };
        report.latency_avg_ms = self.latency_sum_ms.checked_div(self.answered).unwrap_or(0);
        report.latency_max_ms = self.latency_max_ms;
    }
}

/// How Java abbreviates an operation (Java: `FinalRequestProcessor`, `lastOp`).
fn operation_name(op: i32) -> &'static str {
    match op {
        11 => "PING",
        -10 => "SESS",
        14 => "MULT",
        22 => "MLTR",
        1 | 15 | 19 | 21 => "CREA",
        2 | 20 => "DELE",
        5 => "SETD",
        16 => "RECO",
        7 => "SETA",
        -11 => "CLOS",
        9 => "SYNC",
        13 => "CHEC",
        3 => "EXIS",
        4 => "GETD",
        101 => "SETW",
        105 => "STW2",
        106 => "ADDW",
        6 => "GETA",
        8 | 12 | 71 => "GETC",
        104 => "GETACN",
        17 => "CHKW",
        18 => "REMW",
        107 => "HOMI",
        103 => "GETE",
        _ => "NA",
    }
}

/// Smallest, largest, sum and number of some values (Java: `AvgMinMaxCounter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Smallest value; `u64::MAX` before the first.
    pub min: u64,
    /// Largest value.
    pub max: u64,
    /// Sum of all values.
    pub sum: u64,
    /// How many values.
    pub count: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Summary { min: u64::MAX, max: 0, sum: 0, count: 0 }
    }
}

impl Summary {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.count += 1;
    }

    /// Adds another summary, of another shard.
    pub fn merge(&mut self, other: &Summary) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
    }
}

/// A shard's figures since the start or the last reset; those of all shards add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Frames and four-letter words received (`packets_received`).
    pub packets_received: u64,
    /// Frames sent, events included (`packets_sent`).
    pub packets_sent: u64,
    /// Bytes of the frames received (`bytes_received_count`).
    pub bytes_received: u64,
    /// Bytes of the replies (`response_bytes`).
    pub response_bytes: u64,
    /// Bytes of the events (`watch_bytes`).
    pub watch_bytes: u64,
    /// Latency of all requests in milliseconds (`srvr`, `min_latency`, ...).
    pub latency_ms: Summary,
    /// Latency of reads in milliseconds (`readlatency`).
    pub read_latency_ms: Latency,
    /// Latency of writes in milliseconds (`updatelatency`).
    pub update_latency_ms: Latency,
    /// Length of replies and events in bytes (`last_client_response_size`, ...).
    pub response_size: Summary,
    /// Length of the last reply or event in bytes.
    pub last_response_size: u64,
    /// Watchers told an event of creation (`node_created_watch_count`).
    pub node_created_watchers: Summary,
    /// Watchers told an event of deletion (`node_deleted_watch_count`).
    pub node_deleted_watchers: Summary,
    /// Watchers told an event of new data (`node_changed_watch_count`).
    pub node_changed_watchers: Summary,
    /// Watchers told an event of changed children (`node_children_watch_count`).
    pub node_children_watchers: Summary,
    /// Bytes read by namespace (`read_per_namespace`).
    pub read_namespaces: Namespaces,
    /// Handshakes that ask for a session (`connection_request_count`).
    pub connection_requests: u64,
    /// Connections that the client ended without closing its session (`connection_drop_count`).
    pub connection_drops: u64,
    /// Connections refused by the connection throttle (`connection_rejected`).
    pub connections_rejected: u64,
    /// Connections closed for want of a session (`sessionless_connections_expired`).
    pub sessionless_expired: u64,
    /// Large requests refused (`large_requests_rejected`).
    pub large_requests_rejected: u64,
    /// Auth packets that proved nothing (`auth_failed_count`).
    pub auth_failed: u64,
    /// Requests that found a write of their session before them
    /// (`requests_in_session_queue`, as a count).
    pub requests_waited: u64,
}

impl ShardCounters {
    /// Adds another shard's figures.
    pub fn merge(&mut self, other: &ShardCounters) {
        self.packets_received += other.packets_received;
        self.packets_sent += other.packets_sent;
        self.bytes_received += other.bytes_received;
        self.response_bytes += other.response_bytes;
        self.watch_bytes += other.watch_bytes;
        self.latency_ms.merge(&other.latency_ms);
        self.read_latency_ms.merge(&other.read_latency_ms);
        self.update_latency_ms.merge(&other.update_latency_ms);
        self.response_size.merge(&other.response_size);
        self.last_response_size = self.last_response_size.max(other.last_response_size);
        self.node_created_watchers.merge(&other.node_created_watchers);
        self.node_deleted_watchers.merge(&other.node_deleted_watchers);
        self.node_changed_watchers.merge(&other.node_changed_watchers);
        self.node_children_watchers.merge(&other.node_children_watchers);
        self.read_namespaces.merge(&other.read_namespaces);
        self.connection_requests += other.connection_requests;
        self.connection_drops += other.connection_drops;
        self.connections_rejected += other.connections_rejected;
        self.sessionless_expired += other.sessionless_expired;
        self.large_requests_rejected += other.large_requests_rejected;
        self.auth_failed += other.auth_failed;
        self.requests_waited += other.requests_waited;
    }
}
