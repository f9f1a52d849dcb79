//! Data directories both ways: Java opens what we wrote, we open what Java wrote, live and
//! recorded, and Java's own inspection tools read our files.

use rookeeper_interop::connection::four_letter_word;
use rookeeper_interop::oracle::Pair;
use rookeeper_interop::request::{self, Acl, Request, open_acl, text};
use rookeeper_interop::script::{
    Script, children, create, create_with, delete, digest, exists, set,
};
use rookeeper_interop::server::{
    Kind, Server, Settings, checkout, java_script, java_wanted, scratch,
};
use rookeeper_interop::side::Side;
use rookeeper_interop::step::{Chunks, Handshake, Password, Step};
use rookeeper_interop::wire::opcode;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FORMS: [&str; 3] = ["", "gz", "snappy"];

fn settings(compression: &str) -> Settings {
    let settings = Settings::usual()
        .property("zookeeper.snapCount", "40")
        .property("zookeeper.extendedTypesEnabled", "true");
    match compression {
        "" => settings,
        form => settings.property("zookeeper.snapshot.compression.method", form),
    }
}

fn batch(side: &mut Side, slot: usize, mut requests: Vec<Request>) -> Vec<String> {
    for (xid, request) in (1..).zip(&mut requests) {
        if request.xid == 0 {
            request.xid = xid;
        }
    }
    side.execute(&Step::Batch { slot, requests, chunks: Chunks::Whole }).lines
}

fn open(side: &mut Side, slot: usize) {
    side.execute(&Step::Connect { slot, timeout_ms: 600_000, handshake: Handshake::Usual });
}

/// Every kind of znode and of transaction, some hundred of them, so that logs roll and snapshots
/// are taken.
fn work(side: &mut Side) {
    open(side, 0);
    open(side, 1);
    let acl = open_acl();
    let acl = acl.as_deref();
    batch(side, 1, vec![digest("u:p")]);
    let mine = [Acl::new(31, "auth", ""), Acl::new(1, "ip", "10.0.0.0/8")];
    let path = |name: &str| text(name);
    batch(side, 1, vec![create_with("/secret", &mine, 0), create("/e1", b"x", 1)]);
    let mut requests = vec![
        create("/p", b"parent", 0),
        create("/e2", b"y", 1),
        request::create(opcode::CREATE, &path("/null"), None, acl, 0),
        create("/empty", b"", 0),
        create("/\u{fc}n\u{ef}/x", b"", 0),
        create("/\u{fc}n\u{ef}", b"", 0),
        create("/\u{4e2d}\u{6587}", b"\xff\x00", 0),
        request::create(opcode::CREATE_CONTAINER, &path("/box"), None, acl, 4),
        request::create_ttl(&path("/ttl"), Some(b"t"), acl, 5, 3_600_000),
        create("/zookeeper/quota/p", b"", 0),
        create("/zookeeper/quota/p/zookeeper_limits", b"count=500,bytes=-1", 0),
        create("/zookeeper/quota/p/zookeeper_stats", b"count=0,bytes=0", 0),
        request::multi(opcode::MULTI, &[create("/m", b"", 0), set("/m", b"1"), delete("/m")]),
        request::multi(opcode::MULTI, &[create("/m", b"", 0), delete("/none")]),
        request::set_acl(&path("/empty"), Some(&[Acl::new(31, "ip", "127.0.0.1")]), -1),
    ];
    for number in 0_u8..90 {
        requests.push(create("/p/s", &vec![number; usize::from(number) * 7], 2));
        requests.push(set("/p", &[number]));
        if number % 3 == 0 {
            requests.push(delete(&format!("/p/s{number:010}")));
        }
    }
    batch(side, 0, requests);
    open(side, 2);
    batch(side, 2, vec![create("/e3", b"", 1), request::close_session()]);
}

/// The whole tree without what depends on the asking session.
fn tree(side: &mut Side) -> Vec<String> {
    let slot = 9;
    open(side, slot);
    batch(side, slot, vec![digest("super:test")]);
    let lines = side.execute(&Step::Tree { slot }).lines;
    batch(side, slot, vec![request::close_session()]);
    let read = |line: &String| {
        let line = line.strip_prefix("slot 9: /")?;
        let (head, rest) = line.split_once(": reply xid=")?;
        Some(format!("{head} {}", rest.split_once(" err=")?.1))
    };
    let lines: Vec<String> = lines.iter().filter_map(read).collect();
    assert!(lines.len() > 50, "the tree has more znodes than this: {lines:#?}");
    lines
}

/// No digest of a transaction or snapshot differed when this Java server loaded its files.
fn assert_digests(side: &Side) {
    let answer = four_letter_word(side.server.port, "mntr").unwrap_or_default();
    let line = answer.lines().find(|line| line.starts_with("zk_digest_mismatches_count"));
    let count = line.and_then(|line| line.split_whitespace().last());
    assert_eq!(count, Some("0"), "{answer}");
    let log = side.server.log();
    assert!(!log.contains("mismatch"), "{log}");
}

fn assert_same(before: &[String], after: &[String]) {
    for (one, other) in before.iter().zip(after) {
        assert_eq!(one, other);
    }
    assert_eq!(before.len(), after.len());
}

/// Writes as `first`, opens as the other kind, writes there, and comes back.
fn both_ways(first: Kind, compression: &str, clean: bool) {
    if !java_wanted() {
        return;
    }
    let directory = scratch("files");
    let mut side = Side::start(first, &directory, &settings(compression));
    work(&mut side);
    for _ in 0..2 {
        let before = tree(&mut side);
        side.hand_over(clean);
        if side.server.kind == Kind::Java {
            assert_digests(&side);
        }
        assert_same(&before, &tree(&mut side));
        // A client carries its session over, with its ephemerals.
        let resumed =
            side.execute(&Step::Resume { slot: 0, session: 0, zxid: 0, password: Password::Right });
        assert!(resumed.connected.contains(&0), "{:?}", resumed.lines);
        let mine = request::path_only(opcode::GET_EPHEMERALS, &text("/"));
        let answer = batch(&mut side, 0, vec![mine]);
        assert!(answer[0].contains("[\"/e2\"]"), "{answer:?}");
        let more = (0..60).map(|number| create("/p/more", &[number], 2)).collect();
        batch(&mut side, 0, more);
    }
    side.server.remove();
}

#[test]
fn java_opens_our_files_after_a_clean_stop() {
    both_ways(Kind::Rookeeper, "", true);
    both_ways(Kind::Rookeeper, "snappy", true);
}

#[test]
fn java_opens_our_files_after_a_kill() {
    both_ways(Kind::Rookeeper, "", false);
    both_ways(Kind::Rookeeper, "gz", false);
}

#[test]
fn we_open_javas_files_after_a_clean_stop() {
    both_ways(Kind::Java, "gz", true);
}

#[test]
fn we_open_javas_files_after_a_kill() {
    both_ways(Kind::Java, "", false);
    both_ways(Kind::Java, "snappy", false);
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a test directory can be made");
    for entry in fs::read_dir(from).expect("the fixture is a directory") {
        let entry = entry.expect("the fixture can be listed");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("the fixture can be copied");
    }
}

#[test]
fn recorded_directories_are_served_as_java_serves_them() {
    for name in ["n1", "n2", "n4", "snap-gz", "snap-snappy"] {
        if !java_wanted() {
            return;
        }
        let fixture = checkout().join("tests/interop/fixtures").join(name).join("version-2");
        let prepare = |data: &Path| copy_directory(&fixture, &data.join("version-2"));
        let settings = settings("").config("snapshot.trust.empty", "true");
        let kinds = [Kind::Java, Kind::Rookeeper];
        let mut pair = Pair::start_on(kinds, &settings, name, prepare);
        pair.sides().into_iter().for_each(Side::on_old_files);
        let steps = [
            Step::Connect { slot: 0, timeout_ms: 600_000, handshake: Handshake::Usual },
            Step::Batch {
                slot: 0,
                requests: vec![
                    create("/new", b"", 0).xid(1),
                    exists("/new", false).xid(2),
                    children("/", false).xid(3),
                ],
                chunks: Chunks::Whole,
            },
        ];
        for step in steps {
            pair.step(step).unwrap_or_else(|difference| panic!("{name}: {difference}"));
        }
        pair.compare_everything(false).unwrap_or_else(|difference| panic!("{name}: {difference}"));
        pair.remove();
    }
}

fn java_tool(class: &str, arguments: &[&Path]) -> String {
    let output = Command::new(java_script()).arg("java").arg(class).args(arguments).output();
    let output = output.expect("the script can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {arguments:?}: {errors}\n{text}");
    text
}

/// The zxid in the name of a snapshot or log.
fn zxid_of(path: &Path) -> i64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.split('.').nth(1).unwrap_or_default();
    i64::from_str_radix(digits, 16).unwrap_or(0)
}

fn files(data: &Path, start: &str) -> Vec<PathBuf> {
    let listed = fs::read_dir(data.join("version-2")).expect("the server made its directory");
    let mut found: Vec<PathBuf> = listed
        .map(|entry| entry.expect("the directory can be listed").path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start)))
        .collect();
    found.sort_by_key(|path| zxid_of(path));
    found
}

#[test]
fn javas_inspection_tools_read_our_files() {
    if !java_wanted() {
        return;
    }
    for form in FORMS {
        let directory = scratch("tools");
        let mut side = Side::start(Kind::Rookeeper, &directory, &settings(form));
        work(&mut side);
        let data = side.server.data();
        let newest = || files(&data, "snapshot.").pop().filter(|path| zxid_of(path) > 200);
        // A snapshot is taken of what was applied when it began: the first may hold little.
        for _ in 0..100 {
            if newest().is_some() {
                break;
            }
            batch(&mut side, 0, (0..20).map(|number| set("/p", &[number])).collect());
        }
        side.server.stop();
        let newest = newest().expect("a hundred times twenty transactions and snapCount 40");
        let listed = java_tool("org.apache.zookeeper.server.SnapshotFormatter", &[&newest]);
        for line in ["/p\n", "/empty\n", "/secret\n", "  cZxid = 0x"] {
            assert!(listed.contains(line), "no {line:?} in {listed}");
        }
        let logs = files(&data, "log.");
        for log in &logs[logs.len().saturating_sub(2)..] {
            let listed = java_tool("org.apache.zookeeper.server.persistence.TxnLogToolkit", &[log]);
            assert!(!listed.contains("CRC ERROR"), "{listed}");
            assert!(listed.contains("session 0x"), "{listed}");
        }
        side.server.remove();
    }
}

#[test]
fn a_script_compares_equal_after_restarts_into_small_logs() {
    let Some(mut script) = Script::start("restarts", &settings("")) else { return };
    for round in 0_u8..4 {
        script.open(0);
        let mut requests = vec![create(&format!("/r{round}"), b"", 0)];
        requests
            .extend((0..30).map(|n| create(&format!("/r{round}/s"), &[n], 2 + i32::from(n % 2))));
        script.send(0, requests);
        script.step(Step::Restart { clean: round % 2 == 0 });
    }
    script.finish();
}

/// Holds the binary's start to its word: a directory in use by another process is refused.
#[test]
fn a_directory_in_use_is_refused() {
    let directory = scratch("in-use");
    let mut first = Server::start(Kind::Rookeeper, &directory, &Settings::usual());
    let config = directory.join("second.cfg");
    let port = rookeeper_interop::server::free_port();
    let text = format!("dataDir={}\nclientPort={port}\n", first.data().display());
    fs::write(&config, text).expect("a test directory is writable");
    let binary = rookeeper_interop::server::rookeeper_binary();
    let second = Command::new(binary).arg("server").arg(&config).output();
    let second = second.expect("the binary can be started");
    assert!(!second.status.success(), "two servers on one directory");
    assert!(first.is_running());
    first.remove();
}
