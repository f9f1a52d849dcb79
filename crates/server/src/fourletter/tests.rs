//! Shapes recorded from a Java 3.9.5 server, rebuilt from facts.

use std::collections::BTreeSet;

use rookeeper_jute::{SessionId, Zxid};

use super::metrics::Percentiles;
use super::*;

const VERSION: &str =
    "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";
const FIRST: SessionId = SessionId(0x100_0016_2ed0_0000);
const SECOND: SessionId = SessionId(0x100_0016_2ed0_0001);

fn summary(values: &[u64]) -> Summary {
    let mut summary = Summary::default();
    values.iter().for_each(|&value| summary.record(value));
    summary
}

fn connection(port: u16, received: u64, session: Option<ConnectionSession>) -> ConnectionFacts {
    ConnectionFacts {
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        interest: u8::from(session.is_some()),
        outstanding_requests: 0,
        packets_received: received,
        packets_sent: if session.is_some() { received } else { 0 },
        session,
    }
}

fn session(id: SessionId, last_cxid: i64) -> ConnectionSession {
    ConnectionSession {
        id,
        last_operation: "GETC",
        established_ms: 1_795_371_407_720,
        timeout_ms: 30_000,
        last_cxid,
        last_zxid: Zxid(3),
        last_response_ms: 1_459_400,
        last_latency_ms: 1,
        latency_ms: summary(&[0, 1, 1, 4, 29]),
    }
}

fn facts() -> Facts {
    Facts {
        serving: true,
        version: VERSION.to_string(),
        trace_mask: TRACE_MASK_DEFAULT,
        statistics: StatisticsFacts {
            latency_ms: summary(&[0, 0, 1, 2, 2, 2, 3, 3, 29]),
            packets_received: 15,
            packets_sent: 14,
            connections_alive: 3,
            last_processed_zxid: Zxid(0x1f),
            znode_count: 7,
            ..StatisticsFacts::default()
        },
        connections: vec![
            connection(39338, 7, Some(session(FIRST, 6))),
            connection(39340, 2, Some(session(SECOND, -1))),
            connection(39366, 1, None),
        ],
        ..Facts::default()
    }
}

#[test]
fn words_are_known_by_their_four_bytes() {
    for (word, name) in WORDS {
        assert_eq!(word.name(), name);
        if word != Word::TelnetClose {
            let bytes = name.as_bytes().try_into().unwrap();
            assert_eq!(Word::from_bytes(bytes), Some(word));
        }
    }
    assert_eq!(Word::from_bytes([0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetClose));
    assert_eq!(Word::from_bytes([0, 0, 0, 45]), None);
    assert_eq!(Word::from_bytes(*b"SRVR"), None);
}

#[test]
fn a_word_off_the_whitelist_is_not_executed() {
    let whitelist = Whitelist::new(Some("ruok"), false);
    assert_eq!(Word::Ruok.refusal(&whitelist), None);
    assert_eq!(Word::Srvr.refusal(&whitelist), None);
    assert_eq!(
        Word::Stat.refusal(&whitelist).unwrap(),
        "stat is not executed because it is not in the whitelist.\n"
    );
}

#[test]
fn srvr_and_stat() {
    let facts = facts();
    let server = "Latency min/avg/max: 0/4.6667/29\nReceived: 15\nSent: 14\nConnections: 3\n\
                  Outstanding: 0\nZxid: 0x1f\nMode: standalone\nNode count: 7\n";
    assert_eq!(render(Word::Srvr, &facts), format!("Zookeeper version: {VERSION}\n{server}"));
    assert_eq!(
        render(Word::Stat, &facts),
        format!(
            "Zookeeper version: {VERSION}\nClients:\n \
             /127.0.0.1:39338[1](queued=0,recved=7,sent=7)\n \
             /127.0.0.1:39340[1](queued=0,recved=2,sent=2)\n \
             /127.0.0.1:39366[0](queued=0,recved=1,sent=0)\n\n{server}"
        )
    );
    let read_only = Facts { mode: Mode::ReadOnly, ..facts };
    let text = render(Word::Srvr, &read_only);
    assert!(
        text.contains("UTC\nREAD-ONLY mode; serving only read-only clients\nLatency"),
        "{text}"
    );
    assert!(text.contains("\nMode: read-only\n"), "{text}");
}

#[test]
fn cons() {
    let tail = "lzxid=0x3,lresp=1459400,llat=1,minlat=0,avglat=7,maxlat=29)";
    assert_eq!(
        render(Word::Cons, &facts()),
        format!(
            " /127.0.0.1:39338[1](queued=0,recved=7,sent=7,sid=0x10000162ed00000,lop=GETC,\
             est=1795371407720,to=30000,lcxid=0x6,{tail}\n \
             /127.0.0.1:39340[1](queued=0,recved=2,sent=2,sid=0x10000162ed00001,lop=GETC,\
             est=1795371407720,to=30000,{tail}\n \
             /127.0.0.1:39366[0](queued=0,recved=1,sent=0)\n\n"
        )
    );
    assert_eq!(render(Word::Cons, &Facts { serving: true, ..Facts::default() }), "\n");
}

#[test]
fn dump() {
    let mut facts = facts();
    facts.session_expiry = vec![(1_795_371_438_000, vec![FIRST, SECOND])];
    facts.ephemerals = vec![(FIRST, vec!["/a/e".to_string()])];
    let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
    facts.connection_expiry = vec![
        (1_795_371_418_000, vec![(address(39382), SessionId(0))]),
        (1_795_371_438_000, vec![(address(39338), FIRST), (address(39340), SECOND)]),
    ];
    assert_eq!(
        render(Word::Dump, &facts),
        "SessionTracker dump:\nSession Sets (1)/(2):\n\
         2 expire at Sun Nov 22 18:17:18 UTC 2026:\n\t0x10000162ed00000\n\t0x10000162ed00001\n\
         ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x10000162ed00000:\n\t/a/e\n\
         Connections dump:\nConnections Sets (2)/(3):\n\
         1 expire at Sun Nov 22 18:16:58 UTC 2026:\n\tip: /127.0.0.1:39382 sessionId: 0x0\n\
         2 expire at Sun Nov 22 18:17:18 UTC 2026:\n\
         \tip: /127.0.0.1:39338 sessionId: 0x10000162ed00000\n\
         \tip: /127.0.0.1:39340 sessionId: 0x10000162ed00001\n"
    );
}

#[test]
fn dump_of_sessions_that_one_server_knows_of() {
    let mut facts = facts();
    facts.session_expiry = vec![(1_795_371_438_000, vec![FIRST])];
    facts.local_session_expiry = Some(vec![(1_795_371_438_000, vec![SECOND])]);
    let line = "1 expire at Sun Nov 22 18:17:18 UTC 2026:\n\t";
    let sessions = |facts: &Facts| {
        let text = render(Word::Dump, facts);
        let text = text.strip_prefix("SessionTracker dump:\n").unwrap();
        text.split_once("ephemeral nodes dump:").unwrap().0.to_owned()
    };
    let local = format!("Local Session Sets (1)/(1):\n{line}0x10000162ed00001\n");
    let global = format!("Global Session Sets (1)/(1):\n{line}0x10000162ed00000\n");
    assert_eq!(sessions(&facts), format!("{local}{global}"));
    facts.global_sessions = Some(vec![(FIRST, 30_000)]);
    let learner = "Global Sessions(1):\n0x10000162ed00000\t30000ms\n";
    assert_eq!(sessions(&facts), format!("{local}{learner}"));
    facts.local_session_expiry = None;
    assert_eq!(sessions(&facts), learner);
}

#[test]
fn watches() {
    let mut facts = facts();
    let paths = |paths: &[&str]| paths.iter().map(|path| path.to_string()).collect::<Vec<_>>();
    facts.watches = WatchFacts {
        connections_len: 2,
        paths_len: 3,
        watches_len: 4,
        by_session: vec![(FIRST, paths(&["/a", "/nope"])), (SECOND, paths(&["/a"]))],
        by_path: vec![("/a".to_string(), vec![SECOND, FIRST]), ("/nope".to_string(), vec![FIRST])],
    };
    assert_eq!(render(Word::Wchs, &facts), "2 connections watching 3 paths\nTotal watches:4\n");
    assert_eq!(
        render(Word::Wchc, &facts),
        "0x10000162ed00000\n\t/a\n\t/nope\n0x10000162ed00001\n\t/a\n\n"
    );
    assert_eq!(
        render(Word::Wchp, &facts),
        "/a\n\t0x10000162ed00001\n\t0x10000162ed00000\n/nope\n\t0x10000162ed00000\n\n"
    );
}

#[test]
fn conf_dirs_and_envi() {
    let mut facts = facts();
    facts.configuration = ConfigurationFacts {
        client_port: 29_181,
        secure_client_port: -1,
        data_dir: "/data/version-2".to_string(),
        data_log_dir: "/log/version-2".to_string(),
        tick_time_ms: 2000,
        max_connections_per_address: 60,
        session_timeout_ms_min: 4000,
        session_timeout_ms_max: 40_000,
        listen_backlog: -1,
        server_id: 0,
    };
    facts.sizes = SizeFacts { data_dir: 67_109_358, data_log_dir: 5 };
    assert_eq!(
        render(Word::Conf, &facts),
        "clientPort=29181\nsecureClientPort=-1\ndataDir=/data/version-2\ndataDirSize=67109358\n\
         dataLogDir=/log/version-2\ndataLogSize=5\ntickTime=2000\nmaxClientCnxns=60\n\
         minSessionTimeout=4000\nmaxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId=0\n"
    );
    assert_eq!(render(Word::Dirs, &facts), "datadir_size: 67109358\nlogdir_size: 5\n");
    facts.environment = vec![("host.name", "here".to_string()), ("java.version", "<NA>".into())];
    assert_eq!(
        render(Word::Envi, &facts),
        format!("Environment:\nzookeeper.version={VERSION}\nhost.name=here\njava.version=<NA>\n")
    );
}

#[test]
fn single_lines_and_where_they_end() {
    let mut facts = facts();
    facts.digest_log = vec![(Zxid(0x80), 1_371_985_504), (Zxid(0x100), -5)];
    for (word, text) in [
        (Word::Ruok, "imok"),
        (Word::Isro, "rw"),
        (Word::Gtmk, "306"),
        (Word::Stmk, "306"),
        (Word::Crst, "Connection stats reset.\n"),
        (Word::Srst, "Server stats reset.\n"),
        (Word::Hash, "80: 1371985504\n100: -5\n"),
        (Word::TelnetClose, ""),
    ] {
        assert_eq!(render(word, &facts), text, "{word:?}");
    }
    assert_eq!(render(Word::Isro, &Facts { mode: Mode::ReadOnly, ..facts }), "ro");
}

#[test]
fn without_service_most_words_say_so() {
    let facts = Facts { trace_mask: 306, ..Facts::default() };
    for (word, _) in WORDS {
        let text = render(word, &facts);
        match word {
            Word::Ruok => assert_eq!(text, "imok"),
            Word::Isro => assert_eq!(text, "null"),
            Word::Gtmk | Word::Stmk => assert_eq!(text, "306"),
            Word::Envi => assert_eq!(text, "Environment:\nzookeeper.version=\n"),
            Word::TelnetClose => assert_eq!(text, ""),
            Word::Hash => assert_eq!(text, NOT_SERVING),
            _ => assert_eq!(text, format!("{NOT_SERVING}\n"), "{word:?}"),
        }
    }
}

#[test]
fn mntr_has_every_name_of_java_once() {
    let text = render(Word::Mntr, &facts());
    let names: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len());
    let recorded: BTreeSet<&str> = include_str!("testdata/mntr-names.txt").lines().collect();
    assert_eq!(unique, recorded);
    assert!(text.starts_with(&format!("zk_version\t{VERSION}\nzk_server_state\tstandalone\n")));
    for line in
        ["zk_avg_latency\t4.6667", "zk_znode_count\t7", "zk_connection_drop_probability\t0.0"]
    {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn mntr_shows_what_was_measured() {
    let mut facts = facts();
    facts.metrics.counter("bytes_received_count", 360);
    facts.metrics.basic("fsynctime", summary(&[0, 0, 0, 1]));
    let at = [4, 29, 29, 30];
    facts.metrics.advanced("updatelatency", Percentiles { summary: summary(&[2, 17]), at });
    facts.metrics.namespace_read("a", summary(&[71, 75]));
    facts.statistics.quota_gauges = vec![("a_quota_count_limit_per_namespace".to_string(), 9)];
    let text = render(Word::Mntr, &facts);
    for line in [
        "zk_bytes_received_count\t360",
        "zk_avg_fsynctime\t0.25",
        "zk_cnt_fsynctime\t4",
        "zk_sum_updatelatency\t19",
        "zk_p999_updatelatency\t30",
        "zk_p50_updatelatency\t4",
        "zk_avg_a_read_per_namespace\t73.0",
        "zk_a_quota_count_limit_per_namespace\t9",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn summaries_of_parts_are_the_summary_of_the_whole() {
    let mut merged = summary(&[5, 9]);
    merged.merge(summary(&[]));
    merged.merge(summary(&[1]));
    assert_eq!(merged, summary(&[5, 9, 1]));
    assert_eq!((merged.min(), merged.max(), merged.average()), (1, 9, 5.0));
    assert_eq!(Summary::from_parts(0, 0, u64::MAX, 0), Summary::default());
    assert_eq!(summary(&[1, 1, 2]).average(), 1.3333);
}

fn ensemble() -> EnsembleFacts {
    EnsembleFacts {
        init_limit: 10,
        sync_limit: 5,
        election_ports: vec![3888, 3889],
        quorum_ports: vec![2888],
        observer: false,
        membership: "server.1=a:2888:3888:participant\nversion=0".into(),
        peer_state: "following - broadcast",
        voters: 3,
        synced_observers: Some(2),
        observes: None,
        leader: None,
    }
}

#[test]
fn a_member_tells_of_its_ensemble_and_one_that_is_cut_off_of_itself() {
    let mut member = Facts { mode: Mode::Follower, ensemble: Some(ensemble()), ..facts() };
    member.statistics.session_count = 7;
    member.statistics.local_session_count = 4;
    let limits = "serverId=0\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888|3889\n\
                  quorumPort=2888\npeerType=0\n";
    let members = "membership: \nserver.1=a:2888:3888:participant\nversion=0";
    let conf = render(Word::Conf, &member);
    assert!(conf.ends_with(&format!("{limits}{members}")), "{conf}");
    let monitor = render(Word::Mntr, &member);
    let lines: Vec<&str> = monitor.lines().collect();
    for line in ["zk_global_sessions\t7", "zk_local_sessions\t4"] {
        assert!(lines.contains(&line), "{line}");
    }
    let of_ensemble =
        ["zk_peer_state\tfollowing - broadcast", "zk_quorum_size\t3", "zk_synced_observers\t2"];
    assert!(of_ensemble.iter().all(|line| lines.contains(line)), "{monitor}");

    assert!(!monitor.contains("zk_observer_master_id"), "{monitor}");

    let observes = EnsembleFacts { observes: Some(4), ..ensemble() };
    let observer = Facts { mode: Mode::Observer, ensemble: Some(observes), ..member.clone() };
    let monitor = render(Word::Mntr, &observer);
    assert!(monitor.lines().any(|line| line == "zk_observer_master_id\t4"), "{monitor}");

    let alone = Facts { mode: Mode::ReadOnly, ..member };
    let conf = render(Word::Conf, &alone);
    assert!(conf.ends_with(limits), "{conf}");
    let monitor = render(Word::Mntr, &alone);
    assert!(monitor.lines().any(|line| line == "zk_server_state\tread-only"), "{monitor}");
    let names = ["zk_peer_state", "zk_quorum_size", "zk_synced_observers"];
    assert!(!names.iter().any(|name| monitor.contains(name)), "{monitor}");
}
