//! From [`ServerConfig`] to what the floors below are told.

use rookeeper_replica::{
    ConnectionThrottleConfig as CoreConnectionThrottle, CoreConfig, ShardConfig,
};
use rookeeper_tree::TreeConfig;

use super::{ConnectionThrottleConfig, ServerConfig};

impl ServerConfig {
    /// What a tree is told; `index_key` is drawn at random by whoever makes the tree.
    pub fn tree_config(&self, index_key: [u64; 2]) -> TreeConfig {
        TreeConfig {
            index_key,
            digest_enabled: self.tree.digest_enabled,
            extended_types_enabled: self.tree.extended_types_enabled,
            emulate_353_ttl_nodes: self.tree.emulate_353_ttl_nodes,
        }
    }

    /// What the core is told; `seed` is for what it draws by lot.
    pub fn core_config(&self, seed: u64) -> CoreConfig {
        CoreConfig {
            server_id: self.session_server_id.0,
            tick_time_ms: self.sessions.tick_time_ms.unsigned_abs(),
            session_timeout_ms_min: self.sessions.timeout_ms_min,
            session_timeout_ms_max: self.sessions.timeout_ms_max,
            seed,
            container_check_interval_ms: u64::from(self.tree.container_check_interval_ms),
            container_max_per_minute: u64::from(self.tree.container_max_per_minute),
            container_max_never_used_interval_ms: self.tree.container_max_never_used_ms,
            snap_count: u64::from(self.storage.snap_count),
            snap_size_limit_bytes: self.storage.snap_size_limit_bytes.unwrap_or(0),
            request_throttle_max_requests: self.request_throttle.max_requests,
            request_throttle_drop_stale: self.request_throttle.drop_stale,
            request_stale_connection_check: self.request_throttle.stale_connection_check,
            request_stale_latency_check: self.request_throttle.stale_latency_check,
            throttled_op_wait_time_ms: u64::from(self.request_throttle.throttled_op_wait_time_ms),
            connection_throttle: self.connection_throttle.to_core(),
            ..CoreConfig::default()
        }
    }

    /// What a shard is told; `hash_seed` keys its hashes.
    pub fn shard_config(&self, hash_seed: u64) -> ShardConfig {
        ShardConfig {
            jute_maxbuffer: self.limits.jute_maxbuffer,
            sessionless_timeout_ms: u64::from(self.listen.sessionless_timeout_ms),
            global_outstanding_limit: self.limits.global_outstanding_limit,
            large_request_threshold: self.limits.large_request_threshold,
            large_request_max_bytes: self.limits.large_request_max_bytes,
            hash_seed,
            ..ShardConfig::default()
        }
    }
}

impl ConnectionThrottleConfig {
    fn to_core(&self) -> CoreConnectionThrottle {
        let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        CoreConnectionThrottle {
            tokens: int(self.tokens),
            fill_time_ms: int(self.fill_time_ms),
            fill_count: int(self.fill_count),
            freeze_time_ms: self.freeze_time_ms.map_or(-1, int),
            drop_increase: self.drop_increase,
            drop_decrease: self.drop_decrease,
            decrease_ratio: self.decrease_ratio,
            weight_enabled: self.weight_enabled,
            global_session_weight: int(self.global_session_weight),
            renew_session_weight: int(self.renew_session_weight),
            local_session_weight: int(self.local_session_weight),
        }
    }
}
