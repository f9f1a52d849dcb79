//! What the answers of four-letter words are made of: plain data, gathered by the drivers.

use std::fmt::Write;
use std::net::SocketAddr;

use rookeeper_jute::{SessionId, Zxid};

use super::metrics::{Metrics, Summary};
use super::text;

/// What a server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// The leader of an ensemble.
    Leader,
    /// A follower.
    Follower,
    /// An observer.
    Observer,
    /// Cut off from the ensemble and serving reads.
    ReadOnly,
}

impl Mode {
    /// Java's name (`ZooKeeperServer.getState`).
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// All facts; a word's answer uses some of them, see `Word::needs_*`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether requests are served.
    pub serving: bool,
    /// What the server is.
    pub mode: Mode,
    /// The full version.
    pub version: String,
    /// The trace mask.
    pub trace_mask: i64,
    /// The server's statistics.
    pub statistics: StatisticsFacts,
    /// The configuration.
    pub configuration: ConfigurationFacts,
    /// Sizes of the directories.
    pub sizes: SizeFacts,
    /// The process and its machine, keys and values without the version.
    pub environment: Vec<(&'static str, String)>,
    /// All connections.
    pub connections: Vec<ConnectionFacts>,
    /// Data watches.
    pub watches: WatchFacts,
    /// Times of expiry, wall clock in milliseconds, with the sessions that expire then.
    pub session_expiry: Vec<(i64, Vec<SessionId>)>,
    /// The same of sessions that only this server knows of; `None` where there are none such.
    pub local_session_expiry: Option<Vec<(i64, Vec<SessionId>)>>,
    /// On a member that does not lead, and expires none of them: the sessions that all know of,
    /// with their timeouts in milliseconds.
    pub global_sessions: Option<Vec<(SessionId, i32)>>,
    /// Sessions that have ephemerals, with the paths.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// Times when idle connections are closed, wall clock in milliseconds, with the connections.
    pub connection_expiry: Vec<(i64, Vec<(SocketAddr, SessionId)>)>,
    /// Digests of the tree, oldest first.
    pub digest_log: Vec<(Zxid, i64)>,
    /// Counters and summaries of `mntr`.
    pub metrics: Metrics,
    /// Of a member of an ensemble.
    pub ensemble: Option<EnsembleFacts>,
}

/// What a member of an ensemble tells besides (Java: `QuorumZooKeeperServer`).
#[derive(Debug, Clone, Default)]
pub struct EnsembleFacts {
    /// `initLimit`.
    pub init_limit: u32,
    /// `syncLimit`.
    pub sync_limit: u32,
    /// Its election ports.
    pub election_ports: Vec<u16>,
    /// Its quorum ports.
    pub quorum_ports: Vec<u16>,
    /// Whether it has no vote.
    pub observer: bool,
    /// The committed configuration.
    pub membership: String,
    /// What it does, in the words of Java's `QuorumPeer.getDetailedPeerState`.
    pub peer_state: &'static str,
    /// How many servers vote.
    pub voters: usize,
    /// Observers that it serves; `None` where its role serves none.
    pub synced_observers: Option<usize>,
    /// Whom it learns from, where it observes.
    pub observes: Option<i64>,
    /// Where it leads.
    pub leader: Option<LeaderFacts>,
}

/// What a leader tells besides (Java: `LeaderZooKeeperServer.registerMetrics`).
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaderFacts {
    /// Connected learners.
    pub learners: usize,
    /// Followers that get what is proposed.
    pub synced_followers: usize,
    /// Those of them without a vote.
    pub synced_non_voting_followers: usize,
    /// Syncs that wait.
    pub pending_syncs: usize,
    /// Milliseconds since it leads.
    pub uptime_ms: u64,
    /// Length of the last, the shortest and the longest proposal, in bytes; -1 before the first.
    pub proposal_size_last: i64,
    /// See `proposal_size_last`.
    pub proposal_size_min: i64,
    /// See `proposal_size_last`.
    pub proposal_size_max: i64,
}

/// The server's statistics (Java: `ServerStats`).
#[derive(Debug, Clone, Default)]
pub struct StatisticsFacts {
    /// Latency of requests, in milliseconds.
    pub latency_ms: Summary,
    /// Requests received.
    pub packets_received: u64,
    /// Replies and events sent.
    pub packets_sent: u64,
    /// Open connections.
    pub connections_alive: u64,
    /// Requests without an answer.
    pub outstanding_requests: u64,
    /// The last transaction in the tree.
    pub last_processed_zxid: Zxid,
    /// Znodes, both aliases of the root counted.
    pub znode_count: u64,
    /// Watches in both tables.
    pub watch_count: u64,
    /// Ephemeral znodes.
    pub ephemerals_count: u64,
    /// Bytes of paths and data.
    pub approximate_data_size: i64,
    /// Sessions that the whole service knows of.
    pub session_count: u64,
    /// Sessions that only this server knows of.
    pub local_session_count: u64,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Length of the last, the shortest and the longest reply, in bytes; -1 before the first.
    pub response_size_last: i64,
    /// See `response_size_last`.
    pub response_size_min: i64,
    /// See `response_size_last`.
    pub response_size_max: i64,
    /// Authentications that failed.
    pub auth_failed_count: u64,
    /// Open file descriptors of the process.
    pub open_file_descriptors: u64,
    /// Most file descriptors that the process may open.
    pub max_file_descriptors: u64,
    /// Probability that the throttle drops a new connection, 0 to 1.
    pub connection_drop_probability: f64,
    /// `name_of_gauge_set` by namespace: quota limits and use, as Java's key and value.
    pub quota_gauges: Vec<(String, i64)>,
}

/// Answer of `conf`.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationFacts {
    /// The port that is listened on.
    pub client_port: i32,
    /// -1 without TLS.
    pub secure_client_port: i32,
    /// Absolute, `version-2` included.
    pub data_dir: String,
    /// Absolute, `version-2` included.
    pub data_log_dir: String,
    /// `tickTime`.
    pub tick_time_ms: i32,
    /// `maxClientCnxns`.
    pub max_connections_per_address: i64,
    /// `minSessionTimeout`.
    pub session_timeout_ms_min: i32,
    /// `maxSessionTimeout`.
    pub session_timeout_ms_max: i32,
    /// `clientPortListenBacklog`; -1 where it is not set.
    pub listen_backlog: i32,
    /// 0 on a standalone server.
    pub server_id: i64,
}

/// Sizes of the directories, in bytes.
#[derive(Debug, Clone, Default)]
pub struct SizeFacts {
    /// `dataDir/version-2`.
    pub data_dir: u64,
    /// `dataLogDir/version-2`.
    pub data_log_dir: u64,
}

/// Data watches (Java: `DataTree.dumpWatches`, the table of data watches alone).
#[derive(Debug, Clone, Default)]
pub struct WatchFacts {
    /// Connections that have watches.
    pub connections_len: usize,
    /// Watched paths.
    pub paths_len: usize,
    /// Pairs of connection and path.
    pub watches_len: usize,
    /// Sessions with their paths, for `wchc`.
    pub by_session: Vec<(SessionId, Vec<String>)>,
    /// Paths with their sessions, for `wchp`.
    pub by_path: Vec<(String, Vec<SessionId>)>,
}

/// A connection (Java: `ServerCnxn.dumpConnectionInfo`).
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The client's address.
    pub address: SocketAddr,
    /// What is waited for: 1 to read, 4 to write, both bits, or 0.
    pub interest: u8,
    /// Requests without an answer.
    pub outstanding_requests: u64,
    /// Requests received.
    pub packets_received: u64,
    /// Replies and events sent.
    pub packets_sent: u64,
    /// Its session, once there is one.
    pub session: Option<ConnectionSession>,
}

/// The session of a connection and what it last did.
#[derive(Debug, Clone)]
pub struct ConnectionSession {
    /// The session.
    pub id: SessionId,
    /// Java's code of the last operation, such as `GETD`; `NA` before the first.
    pub last_operation: &'static str,
    /// When the connection was made, wall clock in milliseconds.
    pub established_ms: i64,
    /// The session's timeout, in milliseconds.
    pub timeout_ms: i32,
    /// The last request's number, negative ones not shown.
    pub last_cxid: i64,
    /// The last reply's zxid.
    pub last_zxid: Zxid,
    /// When the last reply left, on the server's monotonic clock in milliseconds.
    pub last_response_ms: u64,
    /// Latency of the last request, in milliseconds.
    pub last_latency_ms: u64,
    /// Latency of all its requests, in milliseconds.
    pub latency_ms: Summary,
}

impl ConnectionFacts {
    /// Writes the connection as `cons` or, in short, as `stat` does.
    pub(super) fn write(&self, brief: bool, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            " {}[{:x}](queued={},recved={},sent={}",
            text::socket_address(self.address),
            self.interest,
            self.outstanding_requests,
            self.packets_received,
            self.packets_sent
        )?;
        if let Some(session) = self.session.as_ref().filter(|_| !brief) {
            write!(
                out,
                ",sid={},lop={},est={},to={}",
                session.id, session.last_operation, session.established_ms, session.timeout_ms
            )?;
            if session.last_cxid >= 0 {
                write!(out, ",lcxid=0x{:x}", session.last_cxid)?;
            }
            let latency = &session.latency_ms;
            write!(
                out,
                ",lzxid={},lresp={},llat={},minlat={},avglat={},maxlat={}",
                session.last_zxid,
                session.last_response_ms,
                session.last_latency_ms,
                latency.min(),
                latency.sum().checked_div(latency.count()).unwrap_or(0),
                latency.max()
            )?;
        }
        out.push(')');
        Ok(())
    }
}
