//! What an operator can set, as plain numbers, each with Java's property name and default. Files,
//! properties and units are parsed elsewhere.

use rookeeper_jute::limits;

/// Limits of one I/O thread's connections.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Largest request, in bytes without its length prefix (`jute.maxbuffer`).
    pub jute_maxbuffer: usize,
    /// A connection without a session is closed after this long, in milliseconds
    /// (`zookeeper.nio.sessionlessCnxnTimeout`).
    pub sessionless_timeout_ms: u64,
    /// Above this many writes in flight in the whole server, a connection with unanswered requests
    /// is not read (`zookeeper.globalOutstandingLimit`).
    pub global_outstanding_limit: usize,
    /// The same in bytes of request bodies; Java has no such limit.
    pub global_outstanding_bytes: usize,
    /// A request longer than this is large, in bytes; `None` for no such distinction
    /// (`zookeeper.largeRequestThreshold`, -1).
    pub large_request_threshold: Option<usize>,
    /// Bytes of large requests in flight in the whole server; a connection that would exceed it is
    /// closed (`zookeeper.largeRequestMaxBytes`).
    pub large_request_max_bytes: usize,
    /// Schemes of which a connection must have an identity before any request but auth and sasl;
    /// `None` where it need not (`zookeeper.enforce.auth.enabled`,
    /// `zookeeper.enforce.auth.schemes`).
    pub enforce_auth_schemes: Option<Vec<String>>,
    /// Unsent bytes of a connection above which its requests wait unread, in bytes. Java has no
    /// such limit.
    pub output_bytes_max: usize,
    /// Unsent bytes of a connection above which an event closes it, in bytes: events are not asked
    /// for one by one, so a client that does not read could gather any number of them.
    pub output_bytes_close: usize,
    /// Bytes of requests of one connection that wait behind its unanswered writes, above which it
    /// is not read.
    pub waiting_bytes_max: usize,
    /// Keys the hashes of the watch table.
    pub hash_seed: u64,
}

impl Default for ShardConfig {
    fn default() -> Self {
        ShardConfig {
            jute_maxbuffer: limits::JUTE_MAXBUFFER_DEFAULT,
            sessionless_timeout_ms: 10_000,
            global_outstanding_limit: limits::GLOBAL_OUTSTANDING_LIMIT_DEFAULT,
            global_outstanding_bytes: 64 << 20,
            large_request_threshold: None,
            large_request_max_bytes: 100 << 20,
            enforce_auth_schemes: None,
            output_bytes_max: 1 << 20,
            output_bytes_close: 64 << 20,
            waiting_bytes_max: 1 << 20,
            hash_seed: 0,
        }
    }
}

/// What the core of one server goes by.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The id in the high byte of new sessions (`myid`; Java's standalone server uses 1).
    pub server_id: i64,
    /// Length of a tick in milliseconds: the grain of session expiry (`tickTime`).
    pub tick_time_ms: u32,
    /// Shortest session timeout granted, in milliseconds (`minSessionTimeout`, 2 ticks).
    pub session_timeout_ms_min: i32,
    /// Longest session timeout granted, in milliseconds (`maxSessionTimeout`, 20 ticks).
    pub session_timeout_ms_max: i32,
    /// Whether clients may connect to a server that leads (`zookeeper.leaderServes`).
    pub leader_serves: bool,
    /// Whether a member's new sessions are known to it alone (`localSessionsEnabled`).
    pub local_sessions_enabled: bool,
    /// Whether such a session becomes known to all when it makes an ephemeral; refused otherwise
    /// (`localSessionsUpgradingEnabled`).
    pub local_sessions_upgrading_enabled: bool,
    /// The last counter that an epoch's zxids may have: with it the epoch is used up (Java:
    /// `Leader.propose` gives up at the one after it). For tests alone it is a smaller one.
    pub epoch_counter_last: u32,
    /// Seeds whatever is drawn by lot: snapshot thresholds, connections dropped by the throttle.
    pub seed: u64,
    /// How often containers and TTL znodes are looked through, in milliseconds; 0 for never
    /// (`znode.container.checkIntervalMs`).
    pub container_check_interval_ms: u64,
    /// How many of them are deleted in a minute at most (`znode.container.maxPerMinute`).
    pub container_max_per_minute: u64,
    /// A container that never had a child is deleted after this long, in milliseconds; 0 for never
    /// (`znode.container.maxNeverUsedIntervalMs`).
    pub container_max_never_used_interval_ms: u64,
    /// Transactions between snapshots; the exact number is drawn between half of it and all of it
    /// (`zookeeper.snapCount`, at least 2).
    pub snap_count: u64,
    /// Bytes of log between snapshots, drawn likewise; 0 for no such limit
    /// (`zookeeper.snapSizeLimitInKb`, 4,194,304 KB).
    pub snap_size_limit_bytes: u64,
    /// Bytes that a running snapshot may be behind the writes before they are admitted more
    /// slowly. Java has no such limit: its snapshots are fuzzy.
    pub snapshot_backlog_bytes_max: usize,
    /// Requests in the pipeline above which further ones wait before it; 0 for no limit
    /// (`zookeeper.request_throttle_max_requests`).
    pub request_throttle_max_requests: usize,
    /// Whether a request that waited before the pipeline is dropped, with its connection, when it
    /// has become stale (`zookeeper.request_throttle_drop_stale`).
    pub request_throttle_drop_stale: bool,
    /// Whether a request of a closed connection is stale
    /// (`zookeeper.request_stale_connection_check`).
    pub request_stale_connection_check: bool,
    /// Whether a request older than its session's timeout is stale
    /// (`zookeeper.request_stale_latency_check`).
    pub request_stale_latency_check: bool,
    /// A request that waited longer than this before the pipeline is answered ThrottledOp, in
    /// milliseconds; 0 for never (`zookeeper.throttled_op_wait_time`).
    pub throttled_op_wait_time_ms: u64,
    /// New connections as a bucket of tokens.
    pub connection_throttle: ConnectionThrottleConfig,
    /// Most bytes of one segment of prepared transactions, in bytes.
    pub segment_bytes: usize,
}

impl Default for CoreConfig {
    fn default() -> Self {
        CoreConfig {
            server_id: 1,
            tick_time_ms: 3000,
            session_timeout_ms_min: 6000,
            session_timeout_ms_max: 60_000,
            leader_serves: true,
            local_sessions_enabled: false,
            local_sessions_upgrading_enabled: false,
            epoch_counter_last: u32::MAX - 1,
            seed: 0,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_interval_ms: 0,
            snap_count: 100_000,
            snap_size_limit_bytes: 4_194_304 << 10,
            snapshot_backlog_bytes_max: 64 << 20,
            request_throttle_max_requests: 0,
            request_throttle_drop_stale: true,
            request_stale_connection_check: true,
            request_stale_latency_check: false,
            throttled_op_wait_time_ms: 0,
            connection_throttle: ConnectionThrottleConfig::default(),
            segment_bytes: 1 << 20,
        }
    }
}

/// The bucket of tokens that connects are paid from (Java: `BlueThrottle`).
#[derive(Debug, Clone)]
pub struct ConnectionThrottleConfig {
    /// Tokens in a full bucket; 0 for no throttle (`zookeeper.connection_throttle_tokens`).
    pub tokens: i32,
    /// Milliseconds between refills (`zookeeper.connection_throttle_fill_time`).
    pub fill_time_ms: i32,
    /// Tokens a refill (`zookeeper.connection_throttle_fill_count`).
    pub fill_count: i32,
    /// Milliseconds between changes of the drop chance; -1 for no random drops
    /// (`zookeeper.connection_throttle_freeze_time`).
    pub freeze_time_ms: i32,
    /// Step up of the drop chance (`zookeeper.connection_throttle_drop_increase`).
    pub drop_increase: f64,
    /// Step down of the drop chance (`zookeeper.connection_throttle_drop_decrease`).
    pub drop_decrease: f64,
    /// Share of tokens in use below which the chance goes down
    /// (`zookeeper.connection_throttle_decrease_ratio`).
    pub decrease_ratio: f64,
    /// Whether kinds of sessions cost different numbers of tokens
    /// (`zookeeper.connection_throttle_weight_enabled`).
    pub weight_enabled: bool,
    /// Tokens of a new session (`zookeeper.connection_throttle_global_session_weight`).
    pub global_session_weight: i32,
    /// Tokens of a resumed session (`zookeeper.connection_throttle_renew_session_weight`).
    pub renew_session_weight: i32,
    /// Tokens of a local session (`zookeeper.connection_throttle_local_session_weight`).
    pub local_session_weight: i32,
}

impl Default for ConnectionThrottleConfig {
    fn default() -> Self {
        ConnectionThrottleConfig {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: -1,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weight_enabled: false,
            global_session_weight: 3,
            renew_session_weight: 2,
            local_session_weight: 1,
        }
    }
}
