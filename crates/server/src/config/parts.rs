//! The parts of [`super::ServerConfig`] that are read one key at a time: storage, rules of the
//! tree, identities, limits and throttles.

use std::path::PathBuf;

use rookeeper_jute::limits;

use super::error::{ConfigError, missing};
use super::settings::{INT_MAX, Setting, Settings, to_usize};
use super::{
    AuthConfig, ConnectionThrottleConfig, DigestAlgorithm, LimitsConfig, RequestThrottleConfig,
    SnapshotCompression, StorageConfig, TreeRules,
};

/// Fewest snapshots that a purge leaves (Java: `PurgeTxnLog`).
const PURGE_RETAIN_MIN: i64 = 3;

fn directory(settings: &mut Settings, key: &str) -> Option<PathBuf> {
    let setting = settings.file(key).filter(|setting| !setting.value.is_empty())?.clone();
    let path = PathBuf::from(&setting.value);
    if path.is_relative() && !path.starts_with(".") {
        settings.warn(format!(
            "{}: {key} {} is relative. Prepend ./ to indicate that you're sure!",
            setting.origin, setting.value
        ));
    }
    Some(path)
}

pub(super) fn storage(settings: &mut Settings, place: &str) -> Result<StorageConfig, ConfigError> {
    let Some(data_dir) = directory(settings, "dataDir") else {
        return Err(missing(place, "dataDir is not set"));
    };
    let data_log_dir = directory(settings, "dataLogDir").unwrap_or_else(|| data_dir.clone());
    let any = -INT_MAX..=INT_MAX;
    let kilobytes = i64::MIN / 1024..=i64::MAX / 1024;
    let flush_delay_ms = settings.number("flushDelay", 0, 0..=INT_MAX)?;
    let poll_ms = settings.number("maxWriteQueuePollTime", flush_delay_ms / 3, 0..=INT_MAX)?;
    let fsync_warning = settings.property("fsync.warningthresholdms");
    let fsync_warning = fsync_warning.or_else(|| settings.bare("fsync.warningthresholdms"));
    let fsync_warning_ms = fsync_warning.map_or(Ok(1000), |s| s.decoded(0..=i64::MAX))?;
    let purge_interval =
        settings.file("autopurge.purgeInterval").map_or(Ok(0), |s| s.integer(any.clone()))?;
    Ok(StorageConfig {
        data_dir,
        data_log_dir,
        snap_count: snap_count(settings)?,
        snap_size_limit_bytes: positive_kilobytes(settings.number(
            "snapSizeLimitInKb",
            4_194_304,
            kilobytes.clone(),
        )?),
        txn_log_size_limit_bytes: positive_kilobytes(settings.number(
            "txnLogSizeLimitInKb",
            -1,
            kilobytes,
        )?),
        pre_alloc_bytes: unsigned(settings.number("preAllocSize", 65_536, 0..=1 << 40)?) * 1024,
        force_sync: settings.property("forceSync").map_or(Ok(true), Setting::yes_or_no)?,
        fsync_warning_threshold_ms: unsigned(fsync_warning_ms),
        flush_delay_ms: unsigned(flush_delay_ms),
        max_write_queue_poll_time_ms: unsigned(poll_ms),
        max_batch_size: usize::try_from(settings.number("maxBatchSize", 1000, any)?)
            .ok()
            .filter(|&size| size > 0),
        purge_retain_count: purge_retain_count(settings)?,
        purge_interval_hours: u32::try_from(purge_interval.max(0)).expect("at most an int"),
        snapshot_compression: snapshot_compression(settings)?,
        snapshot_trust_empty: settings.flag("snapshot.trust.empty", false)?,
        data_dir_autocreate: settings.flag("datadir.autocreate", true)?,
        db_autocreate: settings.flag("db.autocreate", true)?,
        serialize_last_processed_zxid: settings.flag("serializeLastProcessedZxid.enabled", true)?,
    })
}

fn snap_count(settings: &mut Settings) -> Result<u32, ConfigError> {
    let Some(setting) = settings.property("snapCount").cloned() else { return Ok(100_000) };
    let count = setting.decoded(-INT_MAX..=INT_MAX)?;
    if count < 2 {
        settings.warn(format!(
            "{}: snapCount: {count} is below 2, the least that is possible, and becomes 2",
            setting.origin
        ));
    }
    Ok(u32::try_from(count.max(2)).expect("at most an int"))
}

fn purge_retain_count(settings: &mut Settings) -> Result<usize, ConfigError> {
    let Some(setting) = settings.file("autopurge.snapRetainCount").cloned() else {
        return Ok(to_usize(PURGE_RETAIN_MIN));
    };
    let count = setting.integer(-INT_MAX..=INT_MAX)?;
    if count < PURGE_RETAIN_MIN {
        settings.warn(format!(
            "{}: Invalid autopurge.snapRetainCount: {count}. Defaulting to {PURGE_RETAIN_MIN}",
            setting.origin
        ));
    }
    Ok(to_usize(count.max(PURGE_RETAIN_MIN)))
}

fn snapshot_compression(settings: &Settings) -> Result<SnapshotCompression, ConfigError> {
    let Some(setting) = settings.property("snapshot.compression.method") else {
        return Ok(SnapshotCompression::None);
    };
    match setting.value.to_ascii_lowercase().as_str() {
        "" => Ok(SnapshotCompression::None),
        "gz" => Ok(SnapshotCompression::Gzip),
        "snappy" => Ok(SnapshotCompression::Snappy),
        other => Err(setting.refuse(format!("\"{other}\" is none of gz, snappy or nothing"))),
    }
}

pub(super) fn tree_rules(settings: &mut Settings) -> Result<TreeRules, ConfigError> {
    let bare = |key: &str, default: i64, min: i64, max: i64| {
        settings.bare(key).map_or(Ok(default), |setting| setting.decoded(min..=max))
    };
    let check_ms = bare("znode.container.checkIntervalMs", 60_000, 1, INT_MAX)?;
    let per_minute = bare("znode.container.maxPerMinute", 10_000, 1, INT_MAX)?;
    let never_used = bare("znode.container.maxNeverUsedIntervalMs", 0, 0, i64::MAX)?;
    let skip_acl = settings.property("skipACL").map_or(Ok(false), Setting::yes_or_no)?;
    if skip_acl {
        settings.warn("skipACL=yes: ACLs are not checked".into());
    }
    Ok(TreeRules {
        digest_enabled: settings.flag("digest.enabled", true)?,
        extended_types_enabled: settings.flag("extendedTypesEnabled", false)?,
        emulate_353_ttl_nodes: settings.flag("emulate353TTLNodes", false)?,
        close_session_txn_enabled: settings.flag("closeSessionTxn.enabled", true)?,
        enforce_quota: settings.flag("enforceQuota", false)?,
        skip_acl,
        container_check_interval_ms: u32::try_from(check_ms).expect("checked to be an int"),
        container_max_per_minute: u32::try_from(per_minute).expect("checked to be an int"),
        container_max_never_used_ms: unsigned(never_used),
    })
}

pub(super) fn auth(settings: &mut Settings) -> Result<AuthConfig, ConfigError> {
    let digest_algorithm = match settings.property("DigestAuthenticationProvider.digestAlg") {
        None => DigestAlgorithm::Sha1,
        Some(setting) => match setting.value.to_ascii_uppercase().as_str() {
            "SHA1" | "SHA-1" | "SHA" => DigestAlgorithm::Sha1,
            "SHA-256" => DigestAlgorithm::Sha256,
            "SHA-512" => DigestAlgorithm::Sha512,
            other => {
                return Err(setting.refuse(format!(
                    "don't support this ACL digest algorithm: {other}; SHA1, SHA-256 and SHA-512 \
                     are possible"
                )));
            }
        },
    };
    let super_digest = settings.property("DigestAuthenticationProvider.superDigest");
    Ok(AuthConfig {
        super_digest: super_digest.map(|s| s.value.clone()).filter(|digest| !digest.is_empty()),
        digest_enabled: settings.flag("DigestAuthenticationProvider.enabled", true)?,
        digest_algorithm,
    })
}

pub(super) fn limits(settings: &Settings) -> Result<LimitsConfig, ConfigError> {
    let default = i64::try_from(limits::JUTE_MAXBUFFER_DEFAULT).expect("Java's default is an int");
    let buffer = settings.bare("jute.maxbuffer");
    let buffer = buffer.map_or(Ok(default), |setting| setting.decoded(1..=INT_MAX))?;
    let extra = settings.number("jute.maxbuffer.extrasize", buffer, -INT_MAX..=INT_MAX)?;
    let extra_min = i64::try_from(limits::JUTE_EXTRASIZE_MIN).expect("Java's minimum is an int");
    let threshold = settings.number("largeRequestThreshold", -1, -1..=INT_MAX)?;
    if let (0, Some(setting)) = (threshold, settings.property("largeRequestThreshold")) {
        return Err(setting.refuse("It should be -1 or positive."));
    }
    Ok(LimitsConfig {
        jute_maxbuffer: to_usize(buffer),
        // Both together stay an int, as in Java.
        jute_maxbuffer_extra: to_usize(extra.max(extra_min).min(INT_MAX - buffer)),
        global_outstanding_limit: to_usize(settings.number(
            "globalOutstandingLimit",
            i64::try_from(limits::GLOBAL_OUTSTANDING_LIMIT_DEFAULT).expect("a small number"),
            1..=INT_MAX,
        )?),
        large_request_max_bytes: to_usize(settings.number(
            "largeRequestMaxBytes",
            100 << 20,
            1..=INT_MAX,
        )?),
        large_request_threshold: usize::try_from(threshold).ok(),
    })
}

pub(super) fn request_throttle(
    settings: &mut Settings,
) -> Result<RequestThrottleConfig, ConfigError> {
    let int = |settings: &Settings, key: &str, default: i64| {
        let value = settings.number(key, default, -INT_MAX..=INT_MAX)?;
        Ok::<u32, ConfigError>(u32::try_from(value.max(0)).expect("at most an int"))
    };
    Ok(RequestThrottleConfig {
        max_requests: int(settings, "request_throttle_max_requests", 0)? as usize,
        stall_time_ms: int(settings, "request_throttle_stall_time", 100)?,
        shutdown_timeout_ms: int(settings, "request_throttler.shutdownTimeout", 10_000)?,
        throttled_op_wait_time_ms: int(settings, "throttled_op_wait_time", 0)?,
        drop_stale: settings.flag("request_throttle_drop_stale", true)?,
        stale_connection_check: settings.flag("request_stale_connection_check", true)?,
        stale_latency_check: settings.flag("request_stale_latency_check", false)?,
    })
}

pub(super) fn connection_throttle(
    settings: &mut Settings,
) -> Result<ConnectionThrottleConfig, ConfigError> {
    let name = |suffix: &str| format!("connection_throttle_{suffix}");
    let int = |settings: &Settings, suffix: &str, default: i64, min: i64| {
        let value = settings.number(&name(suffix), default, min..=INT_MAX)?;
        Ok::<u32, ConfigError>(u32::try_from(value.max(0)).expect("at most an int"))
    };
    let weight_enabled = settings.flag(&name("weight_enabled"), false)?;
    let local = int(settings, "local_session_weight", 1, 1)?;
    let global = int(settings, "global_session_weight", 3, 1)?.max(local);
    let renew = int(settings, "renew_session_weight", 2, 1)?.max(local);
    let freeze = settings.number(&name("freeze_time"), -1, -1..=INT_MAX)?;
    Ok(ConnectionThrottleConfig {
        tokens: int(settings, "tokens", 0, -INT_MAX)?,
        fill_time_ms: int(settings, "fill_time", 1, 1)?,
        fill_count: int(settings, "fill_count", 1, 0)?,
        freeze_time_ms: u32::try_from(freeze).ok(),
        drop_increase: settings.fraction(&name("drop_increase"), 0.02)?,
        drop_decrease: settings.fraction(&name("drop_decrease"), 0.002)?,
        decrease_ratio: settings.fraction(&name("decrease_ratio"), 0.0)?,
        weight_enabled,
        global_session_weight: global,
        renew_session_weight: renew,
        local_session_weight: local,
    })
}

fn positive_kilobytes(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|&value| value > 0).map(|value| value * 1024)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).expect("checked not to be negative")
}
