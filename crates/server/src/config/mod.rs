//! The server's configuration: zoo.cfg, Java's system properties and the words of the command
//! line, read into one typed [`ServerConfig`].
//!
//! A wrong value is refused with file, line and key; a key that asks for something that is not
//! there yet refuses to start, so that nobody believes to have TLS or SASL; a key without a meaning
//! outside a JVM is accepted and said.
//!
//! # Layout
//! * [`invocation`]: words and `-D` settings of the command line and the environment
//! * `load`: from settings to [`ServerConfig`]
//! * `outside`: [`Outside`], files and names of hosts
//! * `parts`: storage, rules of the tree, identities, limits, throttles
//! * `settings`: origins, precedence, typed reading of single values
//! * `keys`: every known key, and the nearest one to an unknown
//! * `members`: `server.N` lines, `myid`, the client address among them
//! * `ensemble`: what a member of an ensemble is told
//! * `refuse`: keys that ask for what is not there yet
//! * `properties`: the file format of `java.util.Properties`
//! * `error`: origins, errors and notices

mod ensemble;
mod error;
pub mod invocation;
mod keys;
mod load;
mod members;
mod outside;
mod parts;
mod properties;
mod refuse;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rookeeper_jute::ServerId;

use crate::process::Process;

pub(crate) use ensemble::NEXT_SUFFIX;
pub use ensemble::{EnsembleConfig, PeerLinksConfig};
pub use error::{ConfigError, Notice, NoticeLevel, Origin};
pub use invocation::Invocation;
pub use load::load;
pub use outside::Outside;
pub(crate) use properties::read as read_properties;

/// Everything that a server is told at its start.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the configuration came from, in words for the log.
    pub source: String,
    /// What the reader of the configuration has to say, in order.
    pub notices: Vec<Notice>,
    /// The id of `myid`, where there is one. A standalone server does not need it.
    pub my_id: Option<ServerId>,
    /// The id in the high byte of new sessions; 1 on a standalone server
    /// (Java: `ZooKeeperServer.createSessionTrackerServerId`), `myid` in an ensemble.
    pub session_server_id: ServerId,
    /// The ensemble that this server is a member of; `None` stands alone.
    pub ensemble: Option<EnsembleConfig>,
    /// `reconfigEnabled`. A server that stands alone says that it cannot, or that it may not.
    pub reconfig_enabled: bool,
    /// Ports and sockets of clients.
    pub listen: ListenConfig,
    /// Ticks and session timeouts.
    pub sessions: SessionConfig,
    /// Log and snapshots.
    pub storage: StorageConfig,
    /// Rules of the tree.
    pub tree: TreeRules,
    /// Identities of clients.
    pub auth: AuthConfig,
    /// Bounds on requests.
    pub limits: LimitsConfig,
    /// Throttle of requests (Java: `RequestThrottler`).
    pub request_throttle: RequestThrottleConfig,
    /// Throttle of new sessions (Java: `BlueThrottle`).
    pub connection_throttle: ConnectionThrottleConfig,
    /// Four-letter words that are answered.
    pub whitelist: Whitelist,
    /// `readonlymode.enabled`. A standalone server is never read-only; it allows `isro`.
    pub read_only_mode_enabled: bool,
    /// Level of the log (`zookeeper.console.threshold`, `zookeeper.root.logger`), in tracing's
    /// words; `None` where nothing was said.
    pub log_level: Option<&'static str>,
    /// The full version, as four-letter words tell it.
    pub version: String,
    /// What is known of the process around the server.
    pub process: Arc<dyn Process>,
    /// Every property that was given, by its full name, for whoever lists them.
    pub properties: BTreeMap<String, String>,
}

/// Ports and sockets of clients.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// `clientPort`; 0 lets the system choose. A member of an ensemble may have none, and takes no
    /// clients until a reconfiguration gives it one.
    pub port: Option<u16>,
    /// `clientPortAddress` resolved; `None` is every address, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// `clientPortListenBacklog` as `conf` shows it; -1 where it is not set.
    pub backlog: i32,
    /// `maxClientCnxns`: connections from one address, 0 for no limit.
    pub max_connections_per_address: usize,
    /// `maxCnxns`: all connections, 0 for no limit.
    pub max_connections: usize,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `nio.numWorkerThreads`: I/O threads; `None` leaves it to the server.
    pub io_threads: Option<usize>,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may be without a session, in ms.
    pub sessionless_timeout_ms: u32,
}

impl ListenConfig {
    /// The backlog to listen with: what was asked for, else a large one. Java's 50 drops SYNs when
    /// clients come in crowds.
    pub fn backlog_or_default(&self) -> u32 {
        const BACKLOG_DEFAULT: u32 = 4096;
        u32::try_from(self.backlog).ok().filter(|&backlog| backlog > 0).unwrap_or(BACKLOG_DEFAULT)
    }
}

/// Ticks and session timeouts, in milliseconds.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// `tickTime`.
    pub tick_time_ms: i32,
    /// `minSessionTimeout`.
    pub timeout_ms_min: i32,
    /// `maxSessionTimeout`.
    pub timeout_ms_max: i32,
}

/// Log and snapshots.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// `dataDir`, without `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`, without `version-2`; as `data_dir` where it is not set.
    pub data_log_dir: PathBuf,
    /// `snapCount`: transactions between snapshots, at least 2.
    pub snap_count: u32,
    /// `snapSizeLimitInKb` in bytes; `None` is off.
    pub snap_size_limit_bytes: Option<u64>,
    /// `txnLogSizeLimitInKb` in bytes; `None` is off.
    pub txn_log_size_limit_bytes: Option<u64>,
    /// `preAllocSize` in bytes; 0 is off.
    pub pre_alloc_bytes: u64,
    /// `forceSync`: whether a transaction is on disk before it is acknowledged.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`.
    pub fsync_warning_threshold_ms: u64,
    /// `flushDelay`: how long a flush may wait for more transactions, in ms; 0 is off.
    pub flush_delay_ms: u64,
    /// `maxWriteQueuePollTime`, in ms.
    pub max_write_queue_poll_time_ms: u64,
    /// `maxBatchSize`: transactions that end the wait; `None` is off.
    pub max_batch_size: Option<usize>,
    /// `autopurge.snapRetainCount`, at least 3.
    pub purge_retain_count: usize,
    /// `autopurge.purgeInterval` in hours; 0 is off.
    pub purge_interval_hours: u32,
    /// `snapshot.compression.method`.
    pub snapshot_compression: SnapshotCompression,
    /// `snapshot.trust.empty`.
    pub snapshot_trust_empty: bool,
    /// `datadir.autocreate`.
    pub data_dir_autocreate: bool,
    /// `db.autocreate`.
    pub db_autocreate: bool,
    /// `serializeLastProcessedZxid.enabled`.
    pub serialize_last_processed_zxid: bool,
}

/// `snapshot.compression.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotCompression {
    /// Plain.
    None,
    /// `gz`.
    Gzip,
    /// `snappy`.
    Snappy,
}

/// Rules of the tree.
#[derive(Debug, Clone)]
pub struct TreeRules {
    /// `digest.enabled`.
    pub digest_enabled: bool,
    /// `extendedTypesEnabled`.
    pub extended_types_enabled: bool,
    /// `emulate353TTLNodes`.
    pub emulate_353_ttl_nodes: bool,
    /// `closeSessionTxn.enabled`.
    pub close_session_txn_enabled: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `skipACL`.
    pub skip_acl: bool,
    /// `znode.container.checkIntervalMs`.
    pub container_check_interval_ms: u32,
    /// `znode.container.maxPerMinute`.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 never deletes an unused container.
    pub container_max_never_used_ms: u64,
}

/// Identities of clients.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.superDigest`: `super:<digest>`.
    pub super_digest: Option<String>,
    /// `DigestAuthenticationProvider.digestAlg`, by Java's name.
    pub digest_algorithm: DigestAlgorithm,
}

/// A message digest, by the name of Java's `MessageDigest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// `SHA1` or `SHA-1`, the default.
    Sha1,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512`.
    Sha512,
}

/// Bounds on requests.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// `jute.maxbuffer`, in bytes.
    pub jute_maxbuffer: usize,
    /// `jute.maxbuffer.extrasize`, in bytes: slack for what is read from disk.
    pub jute_maxbuffer_extra: usize,
    /// `globalOutstandingLimit`.
    pub global_outstanding_limit: usize,
    /// `largeRequestMaxBytes`.
    pub large_request_max_bytes: usize,
    /// `largeRequestThreshold`, in bytes; `None` is off.
    pub large_request_threshold: Option<usize>,
}

/// Throttle of requests.
#[derive(Debug, Clone)]
pub struct RequestThrottleConfig {
    /// `request_throttle_max_requests`; 0 is off.
    pub max_requests: usize,
    /// `request_throttle_stall_time`, in ms.
    pub stall_time_ms: u32,
    /// `request_throttle_drop_stale`.
    pub drop_stale: bool,
    /// `request_stale_connection_check`.
    pub stale_connection_check: bool,
    /// `request_stale_latency_check`.
    pub stale_latency_check: bool,
    /// `request_throttler.shutdownTimeout`, in ms.
    pub shutdown_timeout_ms: u32,
    /// `throttled_op_wait_time`, in ms; 0 is off.
    pub throttled_op_wait_time_ms: u32,
}

/// Throttle of new sessions: a token bucket and a drop probability. Where weights are enabled,
/// tokens are counted in global sessions; the throttle scales them by that weight, as Java does.
#[derive(Debug, Clone)]
pub struct ConnectionThrottleConfig {
    /// `connection_throttle_tokens`; 0 is off.
    pub tokens: u32,
    /// `connection_throttle_fill_time`, in ms.
    pub fill_time_ms: u32,
    /// `connection_throttle_fill_count`.
    pub fill_count: u32,
    /// `connection_throttle_freeze_time`, in ms; `None` is off.
    pub freeze_time_ms: Option<u32>,
    /// `connection_throttle_drop_increase`.
    pub drop_increase: f64,
    /// `connection_throttle_drop_decrease`.
    pub drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`.
    pub decrease_ratio: f64,
    /// `connection_throttle_weight_enabled`.
    pub weight_enabled: bool,
    /// `connection_throttle_global_session_weight`.
    pub global_session_weight: u32,
    /// `connection_throttle_renew_session_weight`.
    pub renew_session_weight: u32,
    /// `connection_throttle_local_session_weight`.
    pub local_session_weight: u32,
}

/// `4lw.commands.whitelist` (Java: `FourLetterCommands.isEnabled`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whitelist {
    all: bool,
    words: BTreeSet<String>,
}

impl Whitelist {
    /// Reads the list; `srvr` is always on it, `isro` where read-only mode is enabled.
    pub fn new(list: Option<&str>, read_only_mode_enabled: bool) -> Self {
        let mut words = BTreeSet::from(["srvr".to_string()]);
        if read_only_mode_enabled {
            words.insert("isro".to_string());
        }
        let given = list.unwrap_or("").split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut all = false;
        for word in given {
            if word == "*" {
                all = true;
                break;
            }
            words.insert(word.to_string());
        }
        Whitelist { all, words }
    }

    /// Whether a word is answered.
    pub fn allows(&self, word: &str) -> bool {
        self.all || self.words.contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whitelist_holds_srvr_and_what_is_listed() {
        let default = Whitelist::new(None, false);
        assert!(default.allows("srvr") && !default.allows("ruok") && !default.allows("isro"));
        assert!(Whitelist::new(None, true).allows("isro"));
        let listed = Whitelist::new(Some(" stat, mntr ,,ruok"), false);
        assert!(["stat", "mntr", "ruok", "srvr"].iter().all(|word| listed.allows(word)));
        assert!(!listed.allows("dump"));
        let all = Whitelist::new(Some("stat,*,mntr"), false);
        assert!(all.allows("dump") && all.allows("stat"));
    }

    #[test]
    fn the_backlog_is_large_where_it_is_not_set() {
        let mut listen = ListenConfig {
            port: Some(2181),
            address: None,
            backlog: -1,
            max_connections_per_address: 60,
            max_connections: 0,
            tcp_keep_alive: false,
            io_threads: None,
            sessionless_timeout_ms: 10_000,
        };
        assert_eq!(listen.backlog_or_default(), 4096);
        listen.backlog = 7;
        assert_eq!(listen.backlog_or_default(), 7);
    }
}
