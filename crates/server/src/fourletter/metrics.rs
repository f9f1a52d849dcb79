//! Every metric of Java's `mntr` by its name (`ServerMetrics`, `ZooKeeperServer.registerMetrics`,
//! the shapes of `DefaultMetricsProvider`).
//!
//! A metric of machinery that this server does not have keeps the zero that an idle Java shows, so
//! that dashboards find every name.

use std::collections::BTreeMap;
use std::fmt::Write;

use rookeeper_jute::ServerId;

use super::text;

/// Counters.
pub const COUNTERS: [&str; 51] = [
    "add_dead_watcher_stall_time",
    "bytes_received_count",
    "cnxn_closed_without_zk_server_running",
    "commit_count",
    "connection_drop_count",
    "connection_rejected",
    "connection_request_count",
    "connection_revalidate_count",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    "diff_count",
    "digest_mismatches_count",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "ensemble_auth_success",
    "insecure_admin_count",
    "large_requests_rejected",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "looking_count",
    "outstanding_changes_queued",
    "outstanding_changes_removed",
    "prep_processor_request_queued",
    "proposal_count",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "request_throttle_wait_count",
    "requests_not_forwarded_to_commit_processor",
    "response_bytes",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "restore_error_count",
    "restore_rate_limited_count",
    "revalidate_count",
    "sessionless_connections_expired",
    "skip_learner_request_to_next_processor_count",
    "snap_count",
    "snapshot_error_count",
    "snapshot_rate_limited_count",
    "stale_replies",
    "stale_requests",
    "stale_requests_dropped",
    "stale_sessions_expired",
    "sync_processor_request_queued",
    "throttled_ops",
    "tls_handshake_exceeded",
    "unrecoverable_error_count",
    "unsuccessful_handshake",
    "watch_bytes",
];

/// Summaries without percentiles.
pub const BASIC_SUMMARIES: [&str; 42] = [
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "concurrent_request_processing_in_commit_processor",
    "connection_token_deficit",
    "dbinittime",
    "election_time",
    "follower_sync_time",
    "fsynctime",
    "inflight_diff_count",
    "inflight_snap_count",
    "leader_unavailable_time",
    "learner_request_processor_queue_size",
    "netty_queued_buffer_capacity",
    "node_changed_watch_count",
    "node_children_watch_count",
    "node_created_watch_count",
    "node_deleted_watch_count",
    "observer_sync_time",
    "pending_session_queue_size",
    "prep_process_time",
    "prep_processor_queue_size",
    "proposal_process_time",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "restore_time",
    "session_queues_drained",
    "snapshottime",
    "socket_closing_time",
    "startup_snap_load_time",
    "startup_txns_load_time",
    "startup_txns_loaded",
    "sync_process_time",
    "sync_processor_batch_size",
    "sync_processor_queue_size",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "unavailable_time",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
];

/// Summaries with percentiles.
pub const ADVANCED_SUMMARIES: [&str; 23] = [
    "close_session_prep_time",
    "commit_propagation_latency",
    "dead_watchers_cleaner_latency",
    "jvm_pause_time_ms",
    "local_write_committed_time_ms",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "prep_processor_queue_time_ms",
    "propagation_latency",
    "proposal_ack_creation_latency",
    "proposal_latency",
    "quorum_ack_latency",
    "read_commitproc_time_ms",
    "read_final_proc_time_ms",
    "readlatency",
    "request_throttle_queue_time_ms",
    "server_write_committed_time_ms",
    "sync_processor_queue_and_flush_time_ms",
    "sync_processor_queue_flush_time_ms",
    "sync_processor_queue_time_ms",
    "updatelatency",
    "write_commitproc_time_ms",
    "write_final_proc_time_ms",
];

/// Count, sum, least and greatest of a series of numbers (Java: `AvgMinMaxCounter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Summary {
    /// A summary of what was summed up elsewhere; `min` and `max` of nothing are not looked at.
    pub fn from_parts(count: u64, sum: u64, min: u64, max: u64) -> Summary {
        if count == 0 { Summary::default() } else { Summary { count, sum, min, max } }
    }

    /// Takes one number.
    pub fn record(&mut self, value: u64) {
        self.merge(Summary { count: 1, sum: value, min: value, max: value });
    }

    /// Takes all numbers of another series.
    pub fn merge(&mut self, other: Summary) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least; 0 of none.
    pub fn min(&self) -> u64 {
        self.min
    }

    /// The greatest; 0 of none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, rounded to four places half up as Java does; 0 of none.
    pub fn average(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }
}

/// A summary with its percentiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Percentiles {
    /// The series in short.
    pub summary: Summary,
    /// The values below which 50, 95, 99 and 99.9 % of the series lie.
    pub at: [u64; 4],
}

/// Metrics by name; what is not set is zero.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counters: BTreeMap<&'static str, u64>,
    basic: BTreeMap<&'static str, Summary>,
    advanced: BTreeMap<&'static str, Percentiles>,
    /// Those that Java has for each key: a namespace or a server.
    counters_by_key: Vec<(String, u64)>,
    /// The same of summaries without percentiles.
    basic_by_key: Vec<(String, Summary)>,
    /// The same with percentiles.
    advanced_by_key: Vec<(String, Percentiles)>,
}

impl Metrics {
    /// Sets a counter.
    ///
    /// # Panics
    /// Where Java has no counter of this name.
    pub fn counter(&mut self, name: &'static str, value: u64) {
        assert!(COUNTERS.contains(&name), "{name} is no counter of ZooKeeper");
        self.counters.insert(name, value);
    }

    /// Sets a summary without percentiles.
    ///
    /// # Panics
    /// Where Java has no such summary of this name.
    pub fn basic(&mut self, name: &'static str, summary: Summary) {
        assert!(BASIC_SUMMARIES.contains(&name), "{name} is no basic summary of ZooKeeper");
        self.basic.insert(name, summary);
    }

    /// Sets a summary with percentiles.
    ///
    /// # Panics
    /// Where Java has no such summary of this name.
    pub fn advanced(&mut self, name: &'static str, percentiles: Percentiles) {
        assert!(ADVANCED_SUMMARIES.contains(&name), "{name} is no advanced summary of ZooKeeper");
        self.advanced.insert(name, percentiles);
    }

    /// Adds how long a server took to have proposals on its disk, in milliseconds (`ack_latency`).
    pub fn acknowledged(&mut self, server: ServerId, percentiles: Percentiles) {
        self.advanced_by_key.push((format!("{server}_ack_latency"), percentiles));
    }

    /// Adds how many packets waited for a learner, and for how many milliseconds
    /// (`learner_handler_qp_size`, `learner_handler_qp_time_ms`).
    pub fn learner_queue(&mut self, learner: ServerId, size: Summary, time_ms: Percentiles) {
        self.basic_by_key.push((format!("{learner}_learner_handler_qp_size"), size));
        self.advanced_by_key.push((format!("{learner}_learner_handler_qp_time_ms"), time_ms));
    }

    /// Adds how many writes of one namespace a quota's hard limit refused.
    pub fn quota_refusals(&mut self, namespace: &str, count: u64) {
        self.counters_by_key
            .push((format!("{namespace}_quota_exceeded_error_per_namespace"), count));
    }

    /// Adds the bytes of reads of one namespace (the first name of a path).
    pub fn namespace_read(&mut self, namespace: &str, summary: Summary) {
        self.basic_by_key.push((format!("{namespace}_read_per_namespace"), summary));
    }

    /// Adds the bytes of writes of one namespace.
    pub fn namespace_write(&mut self, namespace: &str, summary: Summary) {
        self.basic_by_key.push((format!("{namespace}_write_per_namespace"), summary));
    }

    /// All of them, as `mntr` has them (Java: `MonitorCommand`).
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        for name in COUNTERS {
            let value = self.counters.get(name).copied().unwrap_or(0);
            writeln!(out, "zk_{name}\t{value}")?;
        }
        for (name, value) in &self.counters_by_key {
            writeln!(out, "zk_{name}\t{value}")?;
        }
        for name in BASIC_SUMMARIES {
            write_summary(name, self.basic.get(name).copied().unwrap_or_default(), out)?;
        }
        for name in ADVANCED_SUMMARIES {
            let percentiles = self.advanced.get(name).copied().unwrap_or_default();
            write_percentiles(name, &percentiles, out)?;
        }
        for (name, percentiles) in &self.advanced_by_key {
            write_percentiles(name, percentiles, out)?;
        }
        for (name, summary) in &self.basic_by_key {
            write_summary(name, *summary, out)?;
        }
        Ok(())
    }
}

fn write_percentiles(name: &str, percentiles: &Percentiles, out: &mut String) -> std::fmt::Result {
    write_summary(name, percentiles.summary, out)?;
    for (prefix, value) in ["p50", "p95", "p99", "p999"].iter().zip(percentiles.at) {
        writeln!(out, "zk_{prefix}_{name}\t{value}")?;
    }
    Ok(())
}

fn write_summary(name: &str, summary: Summary, out: &mut String) -> std::fmt::Result {
    writeln!(out, "zk_avg_{name}\t{}", text::double(summary.average()))?;
    writeln!(out, "zk_min_{name}\t{}", summary.min())?;
    writeln!(out, "zk_max_{name}\t{}", summary.max())?;
    writeln!(out, "zk_cnt_{name}\t{}", summary.count())?;
    writeln!(out, "zk_sum_{name}\t{}", summary.sum())
}
