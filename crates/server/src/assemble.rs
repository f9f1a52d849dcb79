//! From the configuration to the settings of each part.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rookeeper_archive::Sections;
use rookeeper_replica::{
    ConnectionThrottleConfig as CoreConnectionThrottle, CoreConfig, ShardConfig,
};
use rookeeper_store::{Compression, StoreConfig};
use rookeeper_tree::auth::{AccessControl, AuthProvider, DigestProvider, HashFunction, IpProvider};
use rookeeper_tree::{PrepareConfig, TreeConfig};
use sha2::Digest;

use crate::commands::FlushPolicy;
use crate::config::{ConnectionThrottleConfig, DigestAlgorithm, ServerConfig, SnapshotCompression};
use crate::listener::ListenOptions;
use crate::snapshots::SnapshotPolicy;

/// Most I/O threads where the configuration names no number: reads of more than that many cores
/// wait for the network before they wait for the server.
const IO_THREADS_MAX_DEFAULT: usize = 8;

/// A number that nobody outside of this process can know.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// How many I/O threads to run. On two cores or fewer there is one: it steps the core as
/// well, or a member's core's thread does its work.
pub(crate) fn io_threads(config: &ServerConfig) -> u16 {
    let threads = config.listen.io_threads.unwrap_or_else(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores <= 2 { 1 } else { (cores - 1).min(IO_THREADS_MAX_DEFAULT) }
    });
    u16::try_from(threads.max(1)).unwrap_or(u16::MAX)
}

/// How clients are listened for; without a client port at a port of the system's.
pub(crate) fn listen_options(config: &ServerConfig) -> ListenOptions {
    ListenOptions {
        address: config.listen.address,
        port: config.listen.port.unwrap_or(0),
        backlog: i32::try_from(config.listen.backlog_or_default()).unwrap_or(i32::MAX),
        keepalive: config.listen.tcp_keep_alive,
    }
}

pub(crate) fn store_config(config: &ServerConfig) -> StoreConfig {
    let storage = &config.storage;
    StoreConfig {
        data_dir: storage.data_dir.clone(),
        data_log_dir: storage.data_log_dir.clone(),
        pre_alloc_size: storage.pre_alloc_bytes,
        force_sync: storage.force_sync,
        log_size_limit: storage.txn_log_size_limit_bytes,
        compression: match storage.snapshot_compression {
            SnapshotCompression::None => Compression::None,
            SnapshotCompression::Gzip => Compression::Gzip,
            SnapshotCompression::Snappy => Compression::Snappy,
        },
        trust_empty_snapshot: storage.snapshot_trust_empty,
        auto_create_dir: storage.data_dir_autocreate,
        auto_create_db: storage.db_autocreate,
        record_len_max: config.limits.jute_maxbuffer + config.limits.jute_maxbuffer_extra,
    }
}

pub(crate) fn access_control(config: &ServerConfig) -> AccessControl {
    let mut providers: Vec<Arc<dyn AuthProvider>> = vec![Arc::new(IpProvider)];
    if config.auth.digest_enabled {
        let hash: HashFunction = match config.auth.digest_algorithm {
            DigestAlgorithm::Sha1 => rookeeper_tree::auth::digest::sha1,
            DigestAlgorithm::Sha256 => sha256,
            DigestAlgorithm::Sha512 => sha512,
        };
        let super_digest = config.auth.super_digest.as_deref();
        providers.push(Arc::new(DigestProvider::new(super_digest, hash)));
    }
    AccessControl::new(providers, config.tree.skip_acl)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    sha2::Sha256::digest(bytes).to_vec()
}

fn sha512(bytes: &[u8]) -> Vec<u8> {
    sha2::Sha512::digest(bytes).to_vec()
}

pub(crate) fn flush_policy(config: &ServerConfig) -> FlushPolicy {
    FlushPolicy {
        flush_delay: Duration::from_millis(config.storage.flush_delay_ms),
        batch_len_max: config.storage.max_batch_size.unwrap_or(usize::MAX),
        warning_threshold: Duration::from_millis(config.storage.fsync_warning_threshold_ms),
    }
}

pub(crate) fn snapshot_policy(config: &ServerConfig) -> SnapshotPolicy {
    let hours = u64::from(config.storage.purge_interval_hours);
    SnapshotPolicy {
        sections: snapshot_sections(config),
        retain: config.storage.purge_retain_count,
        interval: Some(Duration::from_secs(hours * 3600)).filter(|interval| !interval.is_zero()),
    }
}

pub(crate) fn snapshot_sections(config: &ServerConfig) -> Sections {
    Sections {
        digest: config.tree.digest_enabled,
        last_zxid: config.storage.serialize_last_processed_zxid,
    }
}

/// How transactions are prepared.
pub(crate) fn prepare_config(config: &ServerConfig) -> PrepareConfig {
    PrepareConfig {
        enforce_quota: config.tree.enforce_quota,
        close_session_txn_enabled: config.tree.close_session_txn_enabled,
        reconfig_enabled: config.reconfig_enabled,
        txn_len_max: config.limits.jute_maxbuffer + config.limits.jute_maxbuffer_extra,
    }
}

/// What a tree is told.
pub(crate) fn tree_config(config: &ServerConfig) -> TreeConfig {
    TreeConfig {
        index_key: [random_seed(), random_seed()],
        digest_enabled: config.tree.digest_enabled,
        extended_types_enabled: config.tree.extended_types_enabled,
        emulate_353_ttl_nodes: config.tree.emulate_353_ttl_nodes,
    }
}

/// What the core is told.
pub(crate) fn core_config(config: &ServerConfig) -> CoreConfig {
    let ensemble = config.ensemble.as_ref();
    let usual = CoreConfig::default();
    CoreConfig {
        epoch_counter_last: ensemble
            .and_then(|ensemble| ensemble.epoch_counter_last)
            .unwrap_or(usual.epoch_counter_last),
        server_id: config.session_server_id.0,
        tick_time_ms: config.sessions.tick_time_ms.unsigned_abs(),
        session_timeout_ms_min: config.sessions.timeout_ms_min,
        session_timeout_ms_max: config.sessions.timeout_ms_max,
        leader_serves: ensemble.is_none_or(|ensemble| ensemble.leader_serves),
        local_sessions_enabled: ensemble.is_some_and(|e| e.local_sessions_enabled),
        local_sessions_upgrading_enabled: ensemble
            .is_some_and(|e| e.local_sessions_upgrading_enabled),
        seed: random_seed(),
        container_check_interval_ms: u64::from(config.tree.container_check_interval_ms),
        container_max_per_minute: u64::from(config.tree.container_max_per_minute),
        container_max_never_used_interval_ms: config.tree.container_max_never_used_ms,
        snap_count: u64::from(config.storage.snap_count),
        snap_size_limit_bytes: config.storage.snap_size_limit_bytes.unwrap_or(0),
        request_throttle_max_requests: config.request_throttle.max_requests,
        request_throttle_drop_stale: config.request_throttle.drop_stale,
        request_stale_connection_check: config.request_throttle.stale_connection_check,
        request_stale_latency_check: config.request_throttle.stale_latency_check,
        throttled_op_wait_time_ms: u64::from(config.request_throttle.throttled_op_wait_time_ms),
        connection_throttle: connection_throttle(&config.connection_throttle),
        ..usual
    }
}

/// What a shard is told.
pub(crate) fn shard_config(config: &ServerConfig) -> ShardConfig {
    ShardConfig {
        jute_maxbuffer: config.limits.jute_maxbuffer,
        sessionless_timeout_ms: u64::from(config.listen.sessionless_timeout_ms),
        global_outstanding_limit: outstanding_limit(config),
        large_request_threshold: config.limits.large_request_threshold,
        large_request_max_bytes: config.limits.large_request_max_bytes,
        hash_seed: random_seed(),
        ..ShardConfig::default()
    }
}

/// Voters share the limit: a leader takes what its followers forward (Java:
/// `LeaderZooKeeperServer.getGlobalOutstandingLimit`, `FollowerZooKeeperServer`).
fn outstanding_limit(config: &ServerConfig) -> usize {
    let limit = config.limits.global_outstanding_limit;
    let Some(ensemble) = &config.ensemble else { return limit };
    let voters = ensemble.committed.voters().count();
    let shares = ensemble.committed.is_voter(ensemble.me) && voters > 2;
    if shares { (limit / (voters - 1)).max(1) } else { limit }
}

fn connection_throttle(config: &ConnectionThrottleConfig) -> CoreConnectionThrottle {
    let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    CoreConnectionThrottle {
        tokens: int(config.tokens),
        fill_time_ms: int(config.fill_time_ms),
        fill_count: int(config.fill_count),
        freeze_time_ms: config.freeze_time_ms.map_or(-1, int),
        drop_increase: config.drop_increase,
        drop_decrease: config.drop_decrease,
        decrease_ratio: config.decrease_ratio,
        weight_enabled: config.weight_enabled,
        global_session_weight: int(config.global_session_weight),
        renew_session_weight: int(config.renew_session_weight),
        local_session_weight: int(config.local_session_weight),
    }
}
