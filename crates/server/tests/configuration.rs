//! Configurations as a user writes them: from files, arguments and the environment to typed
//! values, or to an error that names file, line and key.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::Path;

use common::read_file;
use rookeeper_jute::ServerId;
use rookeeper_server::config::{
    DigestAlgorithm, Invocation, NoticeLevel, ServerConfig, SnapshotCompression, load,
};

/// A directory of its own with a `zoo.cfg`, removed at the end.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new(text: &str) -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap() };
        home.write("zoo.cfg", text);
        home
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("HOME", self.directory.path().to_str().unwrap()))
            .unwrap();
    }

    /// Loads the file with further arguments; an error without the directory's name.
    fn load(&self, arguments: &[&str]) -> Result<ServerConfig, String> {
        let mut all = vec![self.path("zoo.cfg")];
        all.extend(arguments.iter().map(|argument| argument.to_string()));
        start(all, &[]).map_err(|error| error.replace(&self.path(""), ""))
    }

    fn notices(&self, level: NoticeLevel) -> Vec<String> {
        let config = self.load(&[]).unwrap();
        let notices = config.notices.into_iter().filter(|notice| notice.level == level);
        notices.map(|notice| notice.text.replace(&self.path(""), "")).collect()
    }
}

fn start(arguments: Vec<String>, environment: &[(&str, &str)]) -> Result<ServerConfig, String> {
    let variable = |name: &str| {
        environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
    };
    let call = Invocation::new(arguments, variable).map_err(|error| error.to_string())?;
    load(&call, &read_file).map_err(|error| error.to_string())
}

const BASE: &str = "dataDir=HOME/data\nclientPort=2181\n";

fn with_base(lines: &str) -> Home {
    Home::new(&format!("{BASE}{lines}"))
}

#[test]
fn a_short_file_gets_javas_defaults() {
    let home = with_base("");
    let config = home.load(&[]).unwrap();
    assert_eq!(config.my_id, None);
    assert_eq!(config.session_server_id, ServerId(1));
    assert_eq!((config.listen.port, config.listen.address), (Some(2181), None));
    assert_eq!(config.listen.max_connections_per_address, 60);
    assert_eq!((config.listen.max_connections, config.listen.backlog), (0, -1));
    assert_eq!(config.listen.sessionless_timeout_ms, 10_000);
    assert_eq!(config.sessions.tick_time_ms, 3000);
    assert_eq!((config.sessions.timeout_ms_min, config.sessions.timeout_ms_max), (6000, 60_000));
    assert_eq!(config.storage.data_dir, Path::new(&home.path("data")));
    assert_eq!(config.storage.data_log_dir, config.storage.data_dir);
    assert_eq!(config.storage.snap_count, 100_000);
    assert_eq!(config.storage.snap_size_limit_bytes, Some(4 << 30));
    assert_eq!(config.storage.txn_log_size_limit_bytes, None);
    assert_eq!(config.storage.pre_alloc_bytes, 64 << 20);
    assert!(config.storage.force_sync);
    assert_eq!(config.storage.fsync_warning_threshold_ms, 1000);
    assert_eq!((config.storage.flush_delay_ms, config.storage.max_batch_size), (0, Some(1000)));
    assert_eq!((config.storage.purge_retain_count, config.storage.purge_interval_hours), (3, 0));
    assert_eq!(config.storage.snapshot_compression, SnapshotCompression::None);
    assert!(config.storage.serialize_last_processed_zxid && config.storage.db_autocreate);
    assert!(config.tree.digest_enabled && config.tree.close_session_txn_enabled);
    assert!(!config.tree.extended_types_enabled && !config.tree.enforce_quota);
    assert!(!config.tree.skip_acl);
    assert_eq!(config.limits.jute_maxbuffer, 0xf_ffff);
    assert_eq!(config.limits.jute_maxbuffer_extra, 0xf_ffff);
    assert_eq!(config.limits.global_outstanding_limit, 1000);
    assert_eq!(config.limits.large_request_threshold, None);
    assert_eq!(config.auth.digest_algorithm, DigestAlgorithm::Sha1);
    assert!(config.whitelist.allows("srvr") && !config.whitelist.allows("stat"));
    assert_eq!(config.notices, []);
}

#[test]
fn every_part_takes_its_keys() {
    let home = with_base(
        "dataLogDir=HOME/log\ntickTime: 2000\nminSessionTimeout 3000\nmaxSessionTimeout=90000\n\
         maxClientCnxns=0\nclientPortAddress=127.0.0.1\nclientPortListenBacklog=77\nmaxCnxns=9\n\
         snapCount=10\nsnapSizeLimitInKb=-1\ntxnLogSizeLimitInKb=8\npreAllocSize=64\nforceSync=no\n\
         fsync.warningthresholdms=5\nflushDelay=30\nmaxBatchSize=0\nautopurge.snapRetainCount=7\n\
         autopurge.purgeInterval=24\nsnapshot.compression.method=SNAPPY\n\
         snapshot.trust.empty=true\n\
         digest.enabled=false\nextendedTypesEnabled=true\nskipACL=yes\nenforceQuota=true\n\
         globalOutstandingLimit=5\nrequest_throttle_max_requests=3\nthrottled_op_wait_time=4\n\
         connection_throttle_tokens=2\nconnection_throttle_weight_enabled=true\n\
         connection_throttle_freeze_time=8\nconnection_throttle_drop_increase=0.5\n\
         largeRequestThreshold=1000\nlargeRequestMaxBytes=2000\njute.maxbuffer=0x3fffff\n\
         znode.container.checkIntervalMs=100\nnio.numWorkerThreads=4\n\
         DigestAuthenticationProvider.superDigest=super:abc=\n\
         DigestAuthenticationProvider.digestAlg=SHA-256\n4lw.commands.whitelist=stat, ruok\n\
         root.logger=DEBUG,CONSOLE\n",
    );
    let config = home.load(&[]).unwrap();
    assert_eq!(config.storage.data_log_dir, Path::new(&home.path("log")));
    assert_eq!(config.sessions.tick_time_ms, 2000);
    assert_eq!((config.sessions.timeout_ms_min, config.sessions.timeout_ms_max), (3000, 90_000));
    assert_eq!(config.listen.max_connections_per_address, 0);
    assert_eq!(config.listen.address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!((config.listen.backlog, config.listen.max_connections), (77, 9));
    assert_eq!(config.storage.snap_count, 10);
    assert_eq!(config.storage.snap_size_limit_bytes, None);
    assert_eq!(config.storage.txn_log_size_limit_bytes, Some(8192));
    assert_eq!(config.storage.pre_alloc_bytes, 65_536);
    assert!(!config.storage.force_sync);
    assert_eq!(config.storage.fsync_warning_threshold_ms, 5);
    assert_eq!(config.storage.flush_delay_ms, 30);
    assert_eq!(config.storage.max_write_queue_poll_time_ms, 10);
    assert_eq!(config.storage.max_batch_size, None);
    assert_eq!((config.storage.purge_retain_count, config.storage.purge_interval_hours), (7, 24));
    assert_eq!(config.storage.snapshot_compression, SnapshotCompression::Snappy);
    assert!(config.storage.snapshot_trust_empty);
    assert!(!config.tree.digest_enabled && config.tree.extended_types_enabled);
    assert!(config.tree.skip_acl && config.tree.enforce_quota);
    assert_eq!(config.limits.global_outstanding_limit, 5);
    assert_eq!(config.request_throttle.max_requests, 3);
    assert_eq!(config.request_throttle.throttled_op_wait_time_ms, 4);
    assert_eq!(config.connection_throttle.tokens, 2);
    assert!(config.connection_throttle.weight_enabled);
    assert_eq!(config.connection_throttle.global_session_weight, 3);
    assert_eq!(config.connection_throttle.freeze_time_ms, Some(8));
    assert_eq!(config.connection_throttle.drop_increase, 0.5);
    assert_eq!(config.limits.large_request_threshold, Some(1000));
    assert_eq!(config.limits.large_request_max_bytes, 2000);
    assert_eq!(config.limits.jute_maxbuffer, 0x3f_ffff);
    assert_eq!(config.tree.container_check_interval_ms, 100);
    assert_eq!(config.listen.io_threads, Some(4));
    assert_eq!(config.auth.super_digest.as_deref(), Some("super:abc="));
    assert_eq!(config.auth.digest_algorithm, DigestAlgorithm::Sha256);
    assert!(config.whitelist.allows("ruok") && !config.whitelist.allows("mntr"));
    assert_eq!(config.log_level, Some("debug"));
}

#[test]
fn wrong_values_are_refused_with_file_line_and_key() {
    for (line, message) in [
        ("tickTime=0", "tickTime: tickTime is not set"),
        ("tickTime=abc", "tickTime: not a number: \"abc\""),
        ("tickTime=-5", "tickTime: -5 is out of range, 1 to 2147483647 is possible"),
        ("maxClientCnxns=many", "maxClientCnxns: not a number: \"many\""),
        (
            "minSessionTimeout=70000",
            "minSessionTimeout: minSessionTimeout must not be larger than maxSessionTimeout",
        ),
        ("initLimit=x", "initLimit: not a number: \"x\""),
        ("quorum.cnxn.threads.size=x", "quorum.cnxn.threads.size: not a number: \"x\""),
        ("jvm.pause.sleep.time.ms=1s", "jvm.pause.sleep.time.ms: not a number: \"1s\""),
        (
            "jvm.pause.monitor=on",
            "jvm.pause.monitor: Invalid option on for jvm.pause.monitor. Choose 'true' or 'false.'",
        ),
        ("electionAlg=1", "electionAlg: Invalid electionAlg value. Only 3 is supported."),
        ("peerType=king", "peerType: Unrecognised peertype: king"),
        (
            "syncEnabled=yes",
            "syncEnabled: Invalid option yes for syncEnabled. Choose 'true' or 'false.'",
        ),
        ("snapCount=1e5", "snapCount: not a number: \"1e5\""),
        ("forceSync=false", "forceSync: \"false\" is neither yes nor no"),
        ("skipACL=true", "skipACL: \"true\" is neither yes nor no"),
        ("enforceQuota=on", "enforceQuota: \"on\" is neither true nor false"),
        (
            "snapshot.compression.method=zstd",
            "snapshot.compression.method: \"zstd\" is none of gz, snappy or nothing",
        ),
        ("jute.maxbuffer=0", "jute.maxbuffer: 0 is out of range, 1 to 2147483647 is possible"),
        ("largeRequestThreshold=0", "largeRequestThreshold: It should be -1 or positive."),
        (
            "connection_throttle_drop_increase=-1",
            "connection_throttle_drop_increase: not a number of 0 or more: \"-1\"",
        ),
        ("root.logger=LOUD", "root.logger: \"LOUD\" is no level of a log"),
        ("clientPortAddress=", "clientPortAddress: no address"),
        (
            "clientPortAddress=nowhere",
            "clientPortAddress: the address nowhere cannot be resolved: \
             no names are looked up",
        ),
        ("key=\\u12", "Malformed \\uxxxx encoding."),
        ("server.1=localhost", "server.1: localhost does not have the form"),
    ] {
        let error = with_base(&format!("{line}\n")).load(&[]).unwrap_err();
        assert!(error.starts_with(&format!("zoo.cfg:3: {message}")), "{line}: {error}");
    }
    let error = with_base("DigestAuthenticationProvider.digestAlg=ROT13").load(&[]).unwrap_err();
    assert!(error.contains("don't support this ACL digest algorithm: ROT13"), "{error}");
    let error = Home::new("dataDir=/d\nclientPort=70000").load(&[]).unwrap_err();
    assert_eq!(error, "zoo.cfg:2: clientPort: 70000 is out of range, 0 to 65535 is possible");
    let error = with_base("").load(&["-Djute.maxbuffer=big"]).unwrap_err();
    assert_eq!(error, "command line (-D): jute.maxbuffer: not a number: \"big\"");
}

#[test]
fn what_is_missing_is_said_in_javas_words() {
    assert_eq!(Home::new("clientPort=1").load(&[]).unwrap_err(), "zoo.cfg: dataDir is not set");
    assert_eq!(Home::new("dataDir=").load(&[]).unwrap_err(), "zoo.cfg: dataDir is not set");
    assert_eq!(Home::new("dataDir=/d").load(&[]).unwrap_err(), "zoo.cfg: clientPort is not set");
    assert_eq!(
        Home::new("dataDir=/d\nclientPortAddress=::1").load(&[]).unwrap_err(),
        "zoo.cfg:2: clientPortAddress: clientPortAddress is set but clientPort is not set"
    );
    let home = Home::new("");
    let missing = start(vec![home.path("none.cfg")], &[]).unwrap_err();
    assert!(missing.starts_with("Error processing ") && missing.contains("none.cfg"), "{missing}");
    let directory = start(vec![home.path("")], &[]).unwrap_err();
    assert!(directory.starts_with("Error processing "), "{directory}");
}

const THREE: &str = "initLimit=5\nsyncLimit=2\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n\
                     server.3=c:2888:3888\n";

/// Three servers of which this one is the second.
fn second_of_three(lines: &str) -> Home {
    let home = with_base(&format!("{THREE}{lines}"));
    home.write("data/myid", "2\n");
    home
}

#[test]
fn three_server_lines_are_an_ensemble_with_javas_defaults() {
    let home = second_of_three("");
    let config = home.load(&[]).unwrap();
    assert_eq!(config.notices, []);
    assert_eq!(config.session_server_id, ServerId(2));
    let ensemble = config.ensemble.unwrap();
    assert_eq!((ensemble.me, ensemble.init_limit, ensemble.sync_limit), (ServerId(2), 5, 2));
    assert_eq!(ensemble.connect_limit, 5);
    assert_eq!(
        ensemble.committed.to_string(),
        "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\n\
         server.3=c:2888:3888:participant\nversion=0"
    );
    assert!(ensemble.leader_serves && !ensemble.reconfig_enabled);
    assert_eq!(
        (ensemble.links.connect_timeout_ms, ensemble.links.handshake_timeout_ms),
        (5000, 6000)
    );
    assert_eq!((ensemble.links.bind_retries, ensemble.observer_master_port), (Some(3), None));
    assert_eq!(ensemble.snapshot_size_factor, 0.33);
    assert!(ensemble.servers_in_config_file);
}

#[test]
fn a_member_takes_its_keys() {
    let home = second_of_three(
        "connectToLearnerMasterLimit=3\nleaderServes=no\nsyncEnabled=false\ncnxTimeout=77\n\
         quorumCnxnTimeoutMs=88\nelectionPortBindRetry=0\nobserverMasterPort=2191\n\
         localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\ntcpKeepAlive=true\n\
         quorumListenOnAllIPs=true\nsnapshotSizeFactor=-1\ncommitLogCount=700\n\
         fastleader.maxNotificationInterval=500\noraclePath=/o\nleader.maxTimeToWaitForEpoch=9\n",
    );
    let ensemble = home.load(&["-Dfollower.nodelay=false"]).unwrap().ensemble.unwrap();
    assert_eq!(ensemble.connect_limit, 3);
    assert!(!ensemble.leader_serves);
    assert_eq!((ensemble.links.connect_timeout_ms, ensemble.links.handshake_timeout_ms), (77, 88));
    assert_eq!((ensemble.links.bind_retries, ensemble.observer_master_port), (None, Some(2191)));
    assert!(ensemble.local_sessions_enabled && ensemble.local_sessions_upgrading_enabled);
    assert!(ensemble.links.tcp_keep_alive && ensemble.links.listen_on_all_ips);
    assert!(!ensemble.links.tcp_nodelay);
    assert_eq!(ensemble.snapshot_size_factor, -1.0);
    assert_eq!(ensemble.links.notification_interval_ms_max, 500);
    assert_eq!(ensemble.oracle_path.as_deref(), Some(Path::new("/o")));
    assert_eq!(ensemble.max_time_to_wait_for_epoch_ms, Some(9));
    assert_eq!(home.notices(NoticeLevel::Warn), [] as [&str; 0]);
    assert_eq!((ensemble.commit_log_count, ensemble.connect_delay_ms), (700, None));
    assert_eq!(ensemble.ack_logging_frequency, 1000);
    let of_java = second_of_three("").load(&[
        "-Dzookeeper.commitLogCount=499",
        "-Dzookeeper.leaderConnectDelayDuringRetryMs=7",
        "-Dzookeeper.leader.ackLoggingFrequency=-1",
    ]);
    let of_java = of_java.unwrap().ensemble.unwrap();
    assert_eq!(
        (of_java.commit_log_count, of_java.connect_delay_ms),
        (500, Some(7)),
        "500 at least"
    );
    assert_eq!(of_java.ack_logging_frequency, 0);
    assert!(!ensemble.sync_enabled && ensemble.leaves_on_divergence);
    let alarm_alone = home.load(&["-Dzookeeper.digest.leaveOnMismatch=false"]).unwrap();
    assert!(!alarm_alone.ensemble.unwrap().leaves_on_divergence);
    let by_property = home.load(&["-Dzookeeper.observer.syncEnabled=true"]).unwrap();
    assert!(by_property.ensemble.unwrap().sync_enabled, "the property has the last word");
}

#[test]
fn an_ensemble_that_is_none_is_refused_in_javas_words() {
    let without = |line: &str| {
        let home = Home::new(&format!("{BASE}{}", THREE.replace(line, "")));
        home.write("data/myid", "2");
        home.load(&[]).unwrap_err()
    };
    assert_eq!(without("initLimit=5\n"), "zoo.cfg: initLimit is not set");
    assert_eq!(without("syncLimit=2\n"), "zoo.cfg: syncLimit is not set");
    assert_eq!(without("server.2=b:2888:3888\n"), "zoo.cfg: My id 2 not in the peer list");
    assert_eq!(with_base(THREE).load(&[]).unwrap_err(), "zoo.cfg: myid file is missing");
    for (lines, message) in [
        ("group.1=1:2\n", "server 3 is not in a group"),
        ("group.1=1:2:3\nweight.1=x\n", "x is not a number"),
        ("server.1=a:1:2|b:1:2\n", "multiple addresses were specified for sid 1"),
    ] {
        let error = second_of_three(lines).load(&[]).unwrap_err();
        assert!(error.contains(message), "{lines}: {error}");
    }
    // A member without an id, or with a wrong one, has no line that could tell its client port.
    let told = THREE.replace("3888\n", "3888;2181\n");
    let home = Home::new(&format!("dataDir=HOME/data\n{told}"));
    assert_eq!(home.load(&[]).unwrap_err(), "zoo.cfg: myid file is missing");
    home.write("data/myid", "9");
    assert_eq!(home.load(&[]).unwrap_err(), "zoo.cfg: My id 9 not in the peer list");
    let alone = "initLimit=5\nsyncLimit=2\nstandaloneEnabled=false\n";
    let error = with_base(alone).load(&[]).unwrap_err();
    assert!(error.contains("standaloneEnabled = false then number of participants"), "{error}");
    let home = with_base(&format!("{alone}server.1=a:1:2\n"));
    home.write("data/myid", "1");
    assert!(home.load(&[]).unwrap().ensemble.is_some(), "an ensemble of one");
}

#[test]
fn a_member_takes_clients_where_its_line_says_or_nowhere() {
    let member = |client: &str, lines: &str| {
        let three = THREE.replace("b:2888:3888", &format!("b:2888:3888{client}"));
        let home = Home::new(&format!("dataDir=HOME/data\n{three}{lines}"));
        home.write("data/myid", "2");
        home.load(&[]).map(|config| (config.listen.port, config.listen.address))
    };
    let local: Option<std::net::IpAddr> = Some("127.0.0.1".parse().unwrap());
    assert_eq!(member("", ""), Ok((None, None)), "other members serve");
    assert_eq!(member("", "clientPort=5\n"), Ok((Some(5), None)));
    assert_eq!(member(";5", ""), Ok((Some(5), None)));
    assert_eq!(member(";127.0.0.1:5", "clientPort=5\n"), Ok((Some(5), local)));
    let everywhere = "clientPort=5\nclientPortAddress=0.0.0.0\n";
    assert_eq!(member(";127.0.0.1:5", everywhere), Ok((Some(5), local)));
    let here = "clientPort=5\nclientPortAddress=127.0.0.1\n";
    assert_eq!(member(";127.0.0.1:5", here), Ok((Some(5), local)));
    for client in [";5", ";127.0.0.2:5"] {
        let error = member(client, here).unwrap_err();
        assert!(error.contains("127.0.0.1 is different from client address"), "{error}");
    }
}

#[test]
fn a_version_beside_the_servers_is_the_configurations() {
    let config = second_of_three("version=100000005\n").load(&[]).unwrap();
    assert_eq!(config.ensemble.unwrap().committed.version(), 0x1_0000_0005);
    let error = second_of_three("version=zz\n").load(&[]).unwrap_err();
    assert!(error.contains("zz is not a number"), "{error}");
}

#[test]
fn roles_and_numbers_are_told_as_java_does() {
    let home = second_of_three("server.4=d:2888:3888:observer\npeerType=observer\n");
    assert_eq!(
        home.notices(NoticeLevel::Warn),
        ["zoo.cfg:9: Peer type from servers list (participant) doesn't match peerType \
             (observer). \
          Defaulting to servers list."]
    );
    let home = second_of_three("server.4=d:2888:3888\n");
    assert_eq!(
        home.notices(NoticeLevel::Warn),
        ["Non-optimal configuration, consider an odd number of servers."]
    );
    let home = with_base("initLimit=1\nsyncLimit=1\nserver.2=a:1:2\nserver.3=b:1:2\n");
    home.write("data/myid", "2");
    assert_eq!(
        home.notices(NoticeLevel::Warn),
        ["No server failure will be tolerated. You need at least 3 servers."]
    );
}

#[test]
fn a_dynamic_file_has_its_version_in_its_name_and_a_next_one_beside_it() {
    let lines = "initLimit=5\nsyncLimit=2\nreconfigEnabled=true\n\
                 dynamicConfigFile=HOME/zoo.cfg.dynamic.100000005\n";
    let home = Home::new(&format!("dataDir=HOME/data\n{lines}"));
    home.write("data/myid", "2\n");
    let three = "server.1=a:1:2;2181\nserver.2=b:1:2;2182\nserver.3=c:1:2;2183";
    home.write("zoo.cfg.dynamic.100000005", three);
    let config = home.load(&[]).unwrap();
    assert_eq!((config.listen.port, config.listen.address), (Some(2182), None));
    let ensemble = config.ensemble.unwrap();
    assert_eq!(ensemble.committed.version(), 0x1_0000_0005);
    assert_eq!(ensemble.last_seen.version(), 0x1_0000_0005);
    assert!(!ensemble.servers_in_config_file);
    home.write("zoo.cfg.dynamic.next", &format!("{three}\nversion=200000001\n"));
    let ensemble = home.load(&[]).unwrap().ensemble.unwrap();
    assert_eq!(ensemble.last_seen.version(), 0x2_0000_0001);
    home.write("zoo.cfg.dynamic.next", &format!("{three}\nversion=100000001\n"));
    let ensemble = home.load(&[]).unwrap().ensemble.unwrap();
    assert_eq!(ensemble.last_seen.version(), 0x1_0000_0005, "an older one does not count");
}

#[test]
fn one_server_line_runs_standalone_with_its_client_port() {
    let line = "dataDir=HOME/data\nserver.1=localhost:2888:3888;21810\n";
    let home = Home::new(line);
    let config = home.load(&[]).unwrap();
    assert_eq!((config.listen.port, config.listen.address), (Some(21_810), None));
    let warnings = home.notices(NoticeLevel::Warn);
    assert_eq!(
        warnings,
        ["zoo.cfg:2: Invalid configuration, only one server specified (ignoring)"]
    );
    home.write("data/myid", "1\n");
    let config = home.load(&[]).unwrap();
    assert_eq!((config.listen.port, config.my_id), (Some(21_810), Some(ServerId(1))));
    home.write("data/myid", "2\n");
    assert_eq!(home.load(&[]).unwrap_err(), "zoo.cfg: clientPort is not set");

    let home = Home::new("dataDir=HOME/data\nserver.1=localhost:2888:3888;127.0.0.1:2182\n");
    assert_eq!(home.load(&[]).unwrap().listen.address, Some("127.0.0.1".parse().unwrap()));
    let home = with_base("server.1=localhost:2888:3888;2182\n");
    let error = home.load(&[]).unwrap_err();
    assert!(error.contains("client port 2181 is different from client port 2182"), "{error}");
}

#[test]
fn a_dynamic_file_holds_servers_only() {
    let home = with_base("dynamicConfigFile=HOME/dynamic\n");
    for (text, message) in [
        ("server.1=a:1:2\nversion=5", "dynamic file shouldn't have version inside"),
        ("tickTime=5", "Unrecognised parameter: tickTime"),
        ("server.1=a:1:2\ngroup.1=2", "server 1 is not in a group"),
    ] {
        home.write("dynamic", text);
        let error = home.load(&[]).unwrap_err();
        assert!(error.starts_with("dynamic:") && error.contains(message), "{error}");
    }
    home.write("dynamic", "server.1=a:1:2\n");
    assert!(home.load(&[]).is_ok());
    home.write("zoo.cfg", &format!("{BASE}dynamicConfigFile=HOME/dynamic\nserver.1=a:1:2"));
    let error = home.load(&[]).unwrap_err();
    assert!(error.contains("server.1 must be in a separate dynamic config file"), "{error}");
}

#[test]
fn myid_is_read_and_has_a_range() {
    let home = with_base("");
    for (text, message) in [
        ("one", "serverid one is not a number"),
        ("", "serverid  is not a number"),
        ("9223372036854775808", "serverid 9223372036854775808 is not a number"),
        ("-1", "serverid -1 is negative"),
    ] {
        home.write("data/myid", text);
        assert_eq!(home.load(&[]).unwrap_err(), format!("data/myid: {message}"));
    }
    home.write("data/myid", "255\r\n");
    assert_eq!(home.load(&[]).unwrap().my_id, Some(ServerId(255)));
    let error = home.load(&["-Dzookeeper.extendedTypesEnabled=true"]).unwrap_err();
    assert!(error.contains("Server ID is too large. Cannot be larger than 254"), "{error}");
}

/// As in Java, where ids are longs and sessions' ids hold their last byte.
#[test]
fn ids_above_a_byte_are_ids_and_those_that_end_alike_are_told() {
    let with_ids = |ids: [u32; 3]| {
        let [a, b, c] = ids;
        let lines = format!("server.{a}=a:1:2\nserver.{b}=b:1:2\nserver.{c}=c:1:2\n");
        let home = with_base(&format!("initLimit=5\nsyncLimit=2\n{lines}"));
        home.write("data/myid", &b.to_string());
        home
    };
    let home = with_ids([1001, 1002, 70_000]);
    assert_eq!(home.load(&[]).unwrap().session_server_id, ServerId(1002));
    assert_eq!(home.notices(NoticeLevel::Warn), [] as [&str; 0]);
    let warnings = with_ids([1, 2, 258]).notices(NoticeLevel::Warn);
    assert!(warnings[0].starts_with("server.2 and server.258 have ids that end"), "{warnings:?}");
}

#[test]
fn what_does_nothing_here_is_accepted_and_said() {
    let home = with_base(
        "initLimit=10\nsyncLimit=5\nserverCnxnFactory=org.example.Netty\nadmin.serverPort=0\n\
         metricsProvider.httpPort=7000\njvm.pause.monitor=true\naudit.enable=true\n",
    );
    assert_eq!(
        home.notices(NoticeLevel::Info),
        [
            "accepted without effect, for a Java server only: jvm.pause.monitor, serverCnxnFactory",
            "accepted without effect, for an ensemble only: initLimit, syncLimit",
            "accepted without effect, the admin server is not there yet: admin.serverPort",
            "accepted without effect, the audit log is not there yet: audit.enable",
            "accepted without effect, the metrics provider is not there yet: \
             metricsProvider.httpPort",
        ]
    );
    assert_eq!(home.notices(NoticeLevel::Warn), Vec::<String>::new());
}

#[test]
fn unknown_keys_become_properties_and_the_nearest_known_is_named() {
    let home = with_base("snapcount=5\nmy.own=1\n");
    assert_eq!(
        home.notices(NoticeLevel::Warn),
        [
            "zoo.cfg:4: unknown key my.own is kept as the property zookeeper.my.own",
            "zoo.cfg:3: unknown key snapcount is kept as the property zookeeper.snapcount, \
             did you mean snapCount?",
        ]
    );
    let config = home.load(&["-Danything=2"]).unwrap();
    assert_eq!(config.properties["zookeeper.my.own"], "1");
    assert_eq!(config.properties["anything"], "2");
    assert_eq!(config.storage.snap_count, 100_000);
}

#[test]
fn arguments_and_environment_are_properties() {
    let home = with_base("preAllocSize=16\n");
    let environment = [
        ("SERVER_JVMFLAGS", "-Xmx1000m -Dzookeeper.snapCount=50 -Dreadonlymode.enabled=true"),
        ("JVMFLAGS", "-Dzookeeper.snapCount=60"),
    ];
    let arguments = vec![home.path("zoo.cfg"), "-Dzookeeper.preAllocSize=32".to_string()];
    let config = start(arguments, &environment).unwrap();
    assert_eq!(config.storage.snap_count, 60);
    // The file is read last in Java.
    assert_eq!(config.storage.pre_alloc_bytes, 16 << 10);
    assert!(config.read_only_mode_enabled && config.whitelist.allows("isro"));
    let arguments = vec![home.path("zoo.cfg"), "-Dzookeeper.snapCount=70".to_string()];
    assert_eq!(start(arguments, &environment).unwrap().storage.snap_count, 70);
}

#[test]
fn without_a_file_there_are_defaults_and_with_words_java_s_order() {
    let config = start(vec![], &[]).unwrap();
    assert_eq!(config.listen.port, Some(2181));
    assert_eq!(config.storage.data_dir, Path::new("./data"));
    assert!(config.source.starts_with("no configuration file, so defaults"), "{}", config.source);
    assert_eq!(config.notices, []);

    let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let config = start(words("2182 /tmp/data"), &[]).unwrap();
    assert_eq!((config.listen.port, config.sessions.tick_time_ms), (Some(2182), 3000));
    assert_eq!(config.listen.max_connections_per_address, 0);
    let config = start(words("2182 /tmp/data 500 7"), &[]).unwrap();
    assert_eq!((config.sessions.tick_time_ms, config.sessions.timeout_ms_max), (500, 10_000));
    assert_eq!(config.listen.max_connections_per_address, 7);
    assert_eq!(
        start(words("a /tmp/data"), &[]).unwrap_err(),
        "command line: clientPort: not a number: \"a\""
    );
    assert_eq!(
        start(words("1 2 3 4 5"), &[]).unwrap_err(),
        "Invalid number of arguments:[1, 2, 3, 4, 5]"
    );
}

#[test]
fn a_huge_file_is_refused() {
    let home = Home::new(&"#".repeat((1 << 20) + 1));
    assert!(home.load(&[]).unwrap_err().ends_with("larger than 1048576 bytes"));
}

#[test]
fn values_that_java_raises_are_raised_and_said_with_their_line() {
    let home = with_base("snapCount=1\nautopurge.snapRetainCount=2\n");
    let config = home.load(&[]).unwrap();
    assert_eq!((config.storage.snap_count, config.storage.purge_retain_count), (2, 3));
    assert_eq!(
        home.notices(NoticeLevel::Warn),
        [
            "zoo.cfg:3: snapCount: 1 is below 2, the least that is possible, and becomes 2",
            "zoo.cfg:4: Invalid autopurge.snapRetainCount: 2. Defaulting to 3",
        ]
    );
}
