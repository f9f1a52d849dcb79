//! Every key of a ZooKeeper 3.9 server by its exact name, and what becomes of it here
//! (`QuorumPeerConfig.parseProperties` and the system properties that Java's classes read).

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Read from the file only; not a system property in Java.
    File,
    /// A system property `zookeeper.<key>`; in the file without the prefix.
    Property,
    /// A system property without prefix. Java does not take it from the file, this server does.
    Bare,
    /// Read from the file only, by a member of an ensemble; accepted elsewhere.
    Ensemble,
    /// A system property `zookeeper.<key>` of a member of an ensemble; accepted elsewhere.
    EnsembleProperty,
    /// Accepted; it tunes machinery that a server outside a JVM does not have.
    Jvm,
    /// Accepted; it configures something that is not there yet, and that nobody is at risk without.
    Absent(&'static str),
    /// Refused where its value asks for it; see `refuse`.
    Guarded,
}

impl KeyKind {
    /// Whether Java makes a system property `zookeeper.<key>` of such a key of the file.
    pub fn is_property(self) -> bool {
        matches!(self, KeyKind::Property | KeyKind::EnsembleProperty | KeyKind::Jvm)
    }
}

use KeyKind::{Absent, Bare, Ensemble, EnsembleProperty, File, Guarded, Jvm, Property};

const ADMIN: KeyKind = Absent("the admin server");
const METRICS: KeyKind = Absent("the metrics provider");
const AUDIT: KeyKind = Absent("the audit log");
const PATH_STATS: KeyKind = Absent("the statistics by path");
const SASL: KeyKind = Absent("SASL");

/// Key and kind, `zookeeper.` left out of the names of properties.
pub const KEYS: &[(&str, KeyKind)] = &[
    ("dataDir", File),
    ("dataLogDir", File),
    ("clientPort", File),
    ("clientPortAddress", File),
    ("clientPortListenBacklog", File),
    ("tickTime", File),
    ("minSessionTimeout", File),
    ("maxSessionTimeout", File),
    ("maxClientCnxns", File),
    ("autopurge.snapRetainCount", File),
    ("autopurge.purgeInterval", File),
    ("peerType", Ensemble),
    ("electionAlg", File),
    ("dynamicConfigFile", File),
    ("version", File),
    ("maxCnxns", Property),
    ("clientTcpKeepAlive", Property),
    ("nio.numWorkerThreads", Property),
    ("nio.sessionlessCnxnTimeout", Property),
    ("jute.maxbuffer.extrasize", Property),
    ("snapCount", Property),
    ("snapSizeLimitInKb", Property),
    ("txnLogSizeLimitInKb", Property),
    ("preAllocSize", Property),
    ("forceSync", Property),
    ("fsync.warningthresholdms", Property),
    ("flushDelay", Property),
    ("maxWriteQueuePollTime", Property),
    ("maxBatchSize", Property),
    ("snapshot.compression.method", Property),
    ("snapshot.trust.empty", Property),
    ("datadir.autocreate", Property),
    ("db.autocreate", Property),
    ("digest.enabled", Property),
    ("serializeLastProcessedZxid.enabled", Property),
    ("closeSessionTxn.enabled", Property),
    ("extendedTypesEnabled", Property),
    ("emulate353TTLNodes", Property),
    ("globalOutstandingLimit", Property),
    ("request_throttle_max_requests", Property),
    ("request_throttle_stall_time", Property),
    ("request_throttle_drop_stale", Property),
    ("request_throttler.shutdownTimeout", Property),
    ("request_stale_connection_check", Property),
    ("request_stale_latency_check", Property),
    ("throttled_op_wait_time", Property),
    ("connection_throttle_tokens", Property),
    ("connection_throttle_fill_time", Property),
    ("connection_throttle_fill_count", Property),
    ("connection_throttle_freeze_time", Property),
    ("connection_throttle_drop_increase", Property),
    ("connection_throttle_drop_decrease", Property),
    ("connection_throttle_decrease_ratio", Property),
    ("connection_throttle_weight_enabled", Property),
    ("connection_throttle_global_session_weight", Property),
    ("connection_throttle_renew_session_weight", Property),
    ("connection_throttle_local_session_weight", Property),
    ("largeRequestMaxBytes", Property),
    ("largeRequestThreshold", Property),
    ("enforceQuota", Property),
    ("skipACL", Property),
    ("DigestAuthenticationProvider.enabled", Property),
    ("DigestAuthenticationProvider.superDigest", Property),
    ("DigestAuthenticationProvider.digestAlg", Property),
    ("4lw.commands.whitelist", Property),
    ("console.threshold", Property),
    ("root.logger", Property),
    ("jute.maxbuffer", Bare),
    ("readonlymode.enabled", Bare),
    ("znode.container.checkIntervalMs", Bare),
    ("znode.container.maxPerMinute", Bare),
    ("znode.container.maxNeverUsedIntervalMs", Bare),
    ("initLimit", Ensemble),
    ("syncLimit", Ensemble),
    ("connectToLearnerMasterLimit", Ensemble),
    ("electionPort", Jvm),
    ("leaderServes", EnsembleProperty),
    ("cnxTimeout", EnsembleProperty),
    ("quorumCnxnTimeoutMs", EnsembleProperty),
    ("quorumListenOnAllIPs", Ensemble),
    ("syncEnabled", Ensemble),
    ("observer.syncEnabled", EnsembleProperty),
    ("digest.leaveOnMismatch", EnsembleProperty),
    ("observerMasterPort", Ensemble),
    ("observer.reconnectDelayMs", EnsembleProperty),
    ("observer.election.DelayMs", EnsembleProperty),
    ("observerMaster.sizeLimit", EnsembleProperty),
    ("localSessionsEnabled", Ensemble),
    ("localSessionsUpgradingEnabled", Ensemble),
    ("multiAddress.enabled", Ensemble),
    ("multiAddress.reachabilityCheckEnabled", Jvm),
    ("multiAddress.reachabilityCheckTimeoutMs", Jvm),
    ("electionPortBindRetry", EnsembleProperty),
    ("tcpKeepAlive", EnsembleProperty),
    ("fastleader.minNotificationInterval", EnsembleProperty),
    ("fastleader.maxNotificationInterval", EnsembleProperty),
    ("leader.maxTimeToWaitForEpoch", EnsembleProperty),
    ("leader.maxConcurrentSnapSyncs", EnsembleProperty),
    ("leader.maxConcurrentDiffSyncs", EnsembleProperty),
    ("leaderConnectDelayDuringRetryMs", EnsembleProperty),
    ("leader.closeSocketAsync", Jvm),
    ("learner.closeSocketAsync", Jvm),
    ("learner.asyncSending", Jvm),
    ("follower.nodelay", Bare),
    ("leader.nodelay", Bare),
    ("leader.ackLoggingFrequency", EnsembleProperty),
    ("forceSnapshotSync", EnsembleProperty),
    ("forward_learner_requests_to_commit_processor_disabled", Jvm),
    ("follower.skipLearnerRequestToNextProcessor", Jvm),
    ("commitLogCount", EnsembleProperty),
    ("snapshotSizeFactor", EnsembleProperty),
    ("quorum.cnxn.threads.size", Jvm),
    ("messageTracker.Enabled", Jvm),
    ("messageTracker.BufferSize", Jvm),
    ("enableEagerACLCheck", Absent("the early check of ACLs by learners")),
    ("testingonly.initialZxid", Jvm),
    ("test.allowDiscontinuousProposals", Jvm),
    ("sslQuorumReloadCertFiles", Absent("TLS")),
    ("serverCnxnFactory", Jvm),
    ("nio.numSelectorThreads", Jvm),
    ("nio.directBufferBytes", Jvm),
    ("nio.shutdownTimeout", Jvm),
    ("netty.advancedFlowControl.enabled", Jvm),
    ("netty.server.outstandingHandshake.limit", Jvm),
    ("netty.server.earlyDropSecureConnectionHandshakes", Jvm),
    ("commitProcessor.numWorkerThreads", Jvm),
    ("commitProcessor.maxReadBatchSize", Jvm),
    ("commitProcessor.maxCommitBatchSize", Jvm),
    ("commitProcessor.shutdownTimeout", Jvm),
    ("maxResponseCacheSize", Jvm),
    ("maxGetChildrenResponseCacheSize", Jvm),
    ("intBufferStartingSizeBytes", Jvm),
    ("watchManagerName", Jvm),
    ("watcherCleanThreadsNum", Jvm),
    ("watcherCleanThreshold", Jvm),
    ("watcherCleanIntervalInSeconds", Jvm),
    ("maxInProcessingDeadWatchers", Jvm),
    ("bitHashCacheSize", Jvm),
    ("jvm.pause.monitor", Jvm),
    ("jvm.pause.warn-threshold.ms", Jvm),
    ("jvm.pause.info-threshold.ms", Jvm),
    ("jvm.pause.sleep.time.ms", Jvm),
    ("jmx.log4j.disable", Jvm),
    ("jmx.log4j.mbean", Jvm),
    ("log.dir", Jvm),
    ("log.file", Jvm),
    ("log.threshold", Jvm),
    ("fips-mode", Jvm),
    ("admin.enableServer", ADMIN),
    ("admin.serverAddress", ADMIN),
    ("admin.serverPort", ADMIN),
    ("admin.idleTimeout", ADMIN),
    ("admin.commandURL", ADMIN),
    ("admin.httpVersion", ADMIN),
    ("admin.portUnification", ADMIN),
    ("admin.forceHttps", ADMIN),
    ("admin.needClientAuth", ADMIN),
    ("admin.rateLimiterIntervalInMS", ADMIN),
    ("admin.snapshot.enabled", ADMIN),
    ("admin.restore.enabled", ADMIN),
    ("IPAuthenticationProvider.usexforwardedfor", ADMIN),
    ("metricsProvider.className", METRICS),
    ("metricsProvider.httpHost", METRICS),
    ("metricsProvider.httpPort", METRICS),
    ("metricsProvider.exportJvmInfo", METRICS),
    ("metricsProvider.numWorkerThreads", METRICS),
    ("metricsProvider.maxQueueSize", METRICS),
    ("metricsProvider.workerShutdownTimeoutMs", METRICS),
    ("audit.enable", AUDIT),
    ("audit.impl.class", AUDIT),
    ("pathStats.enabled", PATH_STATS),
    ("pathStats.slotCapacity", PATH_STATS),
    ("pathStats.slotDuration", PATH_STATS),
    ("pathStats.maxDepth", PATH_STATS),
    ("pathStats.sampleRate", PATH_STATS),
    ("pathStats.initialDelay", PATH_STATS),
    ("pathStats.delay", PATH_STATS),
    ("pathStats.topPathMax", PATH_STATS),
    ("superUser", SASL),
    ("SASLAuthenticationProvider.superPassword", SASL),
    ("letAnySaslUserDoX", SASL),
    ("allowSaslFailedClients", SASL),
    ("sasl.serverconfig", SASL),
    ("kerberos.removeHostFromPrincipal", SASL),
    ("kerberos.removeRealmFromPrincipal", SASL),
    ("kerberos.canonicalizeHostNames", SASL),
    ("kerberos.minReLoginTimeMs", SASL),
    ("security.auth_to_local", SASL),
    ("requireKerberosConfig", SASL),
    ("kinit", SASL),
    ("quorum.auth.learner.saslLoginContext", SASL),
    ("quorum.auth.server.saslLoginContext", SASL),
    ("quorum.auth.kerberos.servicePrincipal", SASL),
    ("java.security.auth.login.config", Guarded),
    ("ensembleAuthName", Absent("authentication by the name of the ensemble")),
    ("X509AuthenticationProvider.superUser", Absent("TLS")),
    ("client.certReload", Absent("TLS")),
    ("secureClientPort", Guarded),
    ("secureClientPortAddress", Guarded),
    ("client.portUnification", Guarded),
    ("sslQuorum", Guarded),
    ("portUnification", Guarded),
    ("standaloneEnabled", File),
    ("reconfigEnabled", Ensemble),
    ("oraclePath", Ensemble),
    ("quorum.auth.enableSasl", Guarded),
    ("quorum.auth.serverRequireSasl", Guarded),
    ("quorum.auth.learnerRequireSasl", Guarded),
    ("sessionRequireClientSASLAuth", Guarded),
    ("enforce.auth.enabled", Guarded),
    ("enforce.auth.schemes", Guarded),
];

/// Families of keys, by prefix.
const FAMILIES: &[(&str, KeyKind)] = &[
    ("server.", File),
    ("group", File),
    ("weight", File),
    ("authProvider.", Guarded),
    ("requireClientAuth", Guarded),
    ("ssl.", Guarded),
    ("metricsProvider.", METRICS),
    ("admin.", ADMIN),
    ("superUser.", SASL),
    ("netty.", Jvm),
    ("jmx.", Jvm),
];

/// What becomes of `key` (without `zookeeper.`); `None` where nothing is known of it.
pub fn kind_of(key: &str) -> Option<KeyKind> {
    let exact = KEYS.iter().find(|(name, _)| *name == key);
    let known = exact.or_else(|| FAMILIES.iter().find(|(prefix, _)| key.starts_with(prefix)));
    known.map(|&(_, kind)| kind)
}

/// The known key that is nearest to `key`, where one is near enough to be meant: at most a third
/// of its letters differ.
pub fn nearest(key: &str) -> Option<&'static str> {
    // A longer text is no misspelt key, and the distance costs the product of the lengths.
    const LENGTH_MAX: usize = 80;
    if key.chars().count() > LENGTH_MAX {
        return None;
    }
    let wanted = key.to_lowercase();
    let tail = wanted.rsplit('.').next().unwrap_or(&wanted);
    KEYS.iter()
        .map(|&(name, _)| {
            let lower = name.to_lowercase();
            let whole = distance(&wanted, &lower);
            // `commands.whitelist` or `maxbuffer`: the end of a dotted name.
            let ends = lower.ends_with(&format!(".{wanted}")) || lower == tail;
            (if ends { 1 } else { whole }, name)
        })
        .min()
        .filter(|&(distance, name)| distance * 3 <= name.len())
        .map(|(_, name)| name)
}

/// Damerau-Levenshtein distance (a swap of neighbours counts one).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice() {
        for (index, (name, _)) in KEYS.iter().enumerate() {
            assert!(!KEYS[index + 1..].iter().any(|(other, _)| other == name), "{name}");
        }
    }

    #[test]
    fn keys_and_families_have_a_kind() {
        assert_eq!(kind_of("dataDir"), Some(File));
        assert_eq!(kind_of("snapCount"), Some(Property));
        assert_eq!(kind_of("server.17"), Some(File));
        assert_eq!(kind_of("ssl.quorum.keyStore.location"), Some(Guarded));
        assert_eq!(kind_of("metricsProvider.anything"), Some(METRICS));
        assert_eq!(kind_of("dataDri"), None);
    }

    #[test]
    fn the_nearest_key_is_named_where_one_is_near() {
        for (given, meant) in [
            ("dataDri", "dataDir"),
            ("datadir", "dataDir"),
            ("clientport", "clientPort"),
            ("maxClientCnxn", "maxClientCnxns"),
            ("snapcount", "snapCount"),
            ("purgeInterval", "autopurge.purgeInterval"),
            ("autopurge.snapRetainCont", "autopurge.snapRetainCount"),
            ("commands.whitelist", "4lw.commands.whitelist"),
            ("request_throttle_max_request", "request_throttle_max_requests"),
        ] {
            assert_eq!(nearest(given), Some(meant), "{given}");
        }
        for given in ["my.own.setting", "x", "", "zzzzzzzzzzzzzzzzzzzzz"] {
            assert_eq!(nearest(given), None, "{given}");
        }
        assert_eq!(nearest(&"a".repeat(100_000)), None);
    }

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("ab", "b", 1),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }
}
