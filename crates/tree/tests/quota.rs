//! Quotas: limits, statistics, and what survives a replay.

mod common;

use common::{Server, create, delete, dump, tree_config};
use rookeeper_jute::proto::SetDataRequest;
use rookeeper_jute::{CreateMode, Encode, ErrorCode, OpCode, StatPersisted, Zxid};
use rookeeper_tree::{PrepareConfig, TreeLoader};

use ErrorCode::*;

fn server(enforce_quota: bool) -> Server {
    let config = PrepareConfig { enforce_quota, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), config);
    for path in ["/a", "/a/b", "/zookeeper/quota/a"] {
        assert_eq!(server.create(path), Ok);
    }
    server
}

fn set_quota(server: &mut Server, limits: &str) {
    let mode = CreateMode::Persistent;
    let path = "/zookeeper/quota/a/zookeeper_limits";
    assert_eq!(server.create_with(path, limits.as_bytes(), mode), Ok);
    let path = "/zookeeper/quota/a/zookeeper_stats";
    assert_eq!(server.create_with(path, b"count=0,bytes=0", mode), Ok);
}

fn stats(server: &Server) -> String {
    server.text("/zookeeper/quota/a/zookeeper_stats").expect("there")
}

#[test]
fn statistics_follow_every_change_without_a_transaction() {
    let mut server = server(false);
    server.set("/a", b"12345", -1);
    set_quota(&mut server, "count=1,bytes=1");
    assert_eq!(stats(&server), "count=2,bytes=5");
    let stat = server.tree.node("/zookeeper/quota/a/zookeeper_stats").expect("there").stat();
    server.create_with("/a/c", b"123", CreateMode::Persistent);
    assert_eq!(stats(&server), "count=3,bytes=8");
    server.set("/a/c", b"1", -1);
    assert_eq!(stats(&server), "count=3,bytes=6");
    server.create_with("/a/e", b"1234", CreateMode::Ephemeral);
    assert_eq!(stats(&server), "count=4,bytes=10");
    server.create("/ab");
    assert_eq!(stats(&server), "count=4,bytes=10");
    server.close_session();
    server.delete("/a/c", -1);
    assert_eq!(stats(&server), "count=2,bytes=5");
    let now = server.tree.node("/zookeeper/quota/a/zookeeper_stats").expect("there").stat();
    assert_eq!((now.version, now.mzxid, now.mtime), (0, stat.mzxid, stat.mtime));
    // Without limits there is no quota, and the statistics stay as they are.
    assert_eq!(server.delete("/zookeeper/quota/a/zookeeper_limits", -1), Ok);
    server.create("/a/d");
    assert_eq!(stats(&server), "count=2,bytes=5");
}

#[test]
fn a_hard_limit_refuses_and_a_soft_one_tells() {
    let mut server = server(true);
    set_quota(&mut server, "count=2,bytes=3=;byteHardLimit=10;countHardLimit=4");
    assert_eq!(server.create_with("/a/c", b"1234", CreateMode::Persistent), Ok);
    assert_eq!(server.prepared.quota_exceeded, None, "hard limits go before soft ones");
    assert_eq!(server.create_with("/a/d", b"1234567", CreateMode::Persistent), QuotaExceeded);
    let exceeded = server.prepared.quota_exceeded.take().expect("told");
    assert!(exceeded.is_bytes && exceeded.is_hard && exceeded.root == "/a");
    assert_eq!((exceeded.current, exceeded.limit), (11, 10));
    assert_eq!(server.create("/a/d"), Ok);
    assert_eq!(server.create("/a/e"), QuotaExceeded);
    assert_eq!(server.set("/a/d", b"1234567", -1), QuotaExceeded);
    assert_eq!(server.set("/a/d", b"123456", -1), Ok);
    assert_eq!(server.set("/a/c", b"", -1), Ok);
    assert_eq!(server.create("/b"), Ok);
    // Soft limits alone.
    let limits = "/zookeeper/quota/a/zookeeper_limits";
    assert_eq!(server.set(limits, b"count=2,bytes=-1", -1), Ok);
    assert_eq!(server.create("/a/e"), Ok);
    let exceeded = server.prepared.quota_exceeded.take().expect("told");
    assert!(!exceeded.is_bytes && !exceeded.is_hard);
    assert_eq!((exceeded.current, exceeded.limit), (5, 2));
}

#[test]
fn limits_are_not_enforced_unless_told_and_count_what_is_applied() {
    let mut lax = server(false);
    set_quota(&mut lax, "count=1,bytes=1=;countHardLimit=1");
    assert_eq!(lax.create("/a/c"), Ok);
    let mut strict = server(true);
    set_quota(&mut strict, "count=1,bytes=1=;countHardLimit=3");
    for name in ["/a/1", "/a/2", "/a/3"] {
        strict.submit(OpCode::Create, &create(name, b"", CreateMode::Persistent).to_bytes());
    }
    strict.apply_all();
    assert_eq!(strict.tree.node("/a").expect("there").child_count(), 4, "a burst overshoots");
    assert_eq!(strict.create("/a/4"), QuotaExceeded);
}

#[test]
fn nonsense_in_limits_stops_nobody_but_writers_below() {
    let mut server = server(true);
    set_quota(&mut server, "nonsense");
    assert_eq!(server.create("/a/c"), MarshallingError);
    assert_eq!(server.create("/b"), Ok);
    assert_eq!(server.set("/zookeeper/quota/a/zookeeper_limits", b"count=9", -1), Ok);
    assert_eq!(server.create("/a/c"), Ok);
    // A quota on nothing has no effect.
    assert_eq!(server.create("/zookeeper/quota/zookeeper_stats"), Ok);
    assert_eq!(server.create("/zookeeper/quota/no"), Ok);
    let mode = CreateMode::Persistent;
    assert_eq!(server.create_with("/zookeeper/quota/no/zookeeper_limits", b"count=1", mode), Ok);
    assert_eq!(server.create("/zookeeper/quota/no/zookeeper_stats"), Ok);
    let got = server.text("/zookeeper/quota/no/zookeeper_stats");
    assert_eq!(got.as_deref(), Some("count=0,bytes=0"));
    assert_eq!(server.create("/no"), Ok);
    let got = server.text("/zookeeper/quota/no/zookeeper_stats");
    assert_eq!(got.as_deref(), Some("count=1,bytes=0"));
}

/// Java accepts each of these, logs it, and ends when it applies it or the next change below the
/// quota; so does every Java server that reads that log.
#[test]
fn what_would_end_a_java_server_is_refused() {
    let mut server = server(false);
    set_quota(&mut server, "count=9");
    let statistics = "/zookeeper/quota/a/zookeeper_stats";
    assert_eq!(server.set(statistics, b"nonsense", -1), BadArguments);
    let null = SetDataRequest { path: Some(statistics.into()), data: None, version: -1 };
    assert_eq!(server.err(OpCode::SetData, &null), BadArguments);
    assert_eq!(stats(&server), "count=2,bytes=0");
    assert_eq!(server.set(statistics, b"", -1), Ok);
    assert_eq!(server.set(statistics, b"count=5,bytes=7", -1), Ok);
    // Limits of everything, of a name that Java takes for none, and beside the quotas.
    let limits = "/zookeeper/quota/zookeeper_limits";
    assert_eq!(server.create(limits), BadArguments);
    assert_eq!(server.create_with(limits, b"", CreateMode::PersistentSequential), Ok);
    let below = format!("{limits}0000000001/zookeeper_limits");
    assert_eq!(server.create(&below), BadArguments);
    assert_eq!(server.create("/zookeeper/quota/ "), Ok);
    assert_eq!(server.create("/zookeeper/quota/ /zookeeper_limits"), BadArguments);
    assert_eq!(server.create("/zookeeper/zookeeper_limits"), BadArguments);
    assert_eq!(server.create("/zookeeper/quota/ /zookeeper_stats"), Ok);
}

/// A directory of somebody who takes nonsense is served all the same.
#[test]
fn nonsense_that_is_in_the_statistics_already_stops_only_their_count() {
    let mut loader = TreeLoader::new(tree_config());
    let stat = StatPersisted::default();
    for (path, data) in [
        ("", ""),
        ("/a", ""),
        ("/zookeeper", ""),
        ("/zookeeper/quota", ""),
        ("/zookeeper/quota/a", ""),
        ("/zookeeper/quota/a/zookeeper_stats", "nonsense"),
    ] {
        loader.node(path, Some(data.as_bytes()), -1, &stat).expect("parents first");
    }
    let mut server = server(true);
    server.tree = loader.finish(Zxid(0)).expect("a whole tree");
    let (path, mode) = ("/zookeeper/quota/a/zookeeper_limits", CreateMode::Persistent);
    assert_eq!(server.create_with(path, b"count=9", mode), Ok);
    assert_eq!(server.create("/a/c"), MarshallingError);
    assert_eq!(server.delete("/a", -1), Ok);
    assert_eq!(stats(&server), "nonsense");
}

#[test]
fn the_longest_quota_is_charged_alone() {
    let mut server = server(false);
    set_quota(&mut server, "count=9");
    let mode = CreateMode::Persistent;
    for path in ["/zookeeper/quota/a/b", "/zookeeper/quota/a/b/zookeeper_stats"] {
        assert_eq!(server.create(path), Ok);
    }
    let limits = "/zookeeper/quota/a/b/zookeeper_limits";
    assert_eq!(server.create_with(limits, b"count=9", mode), Ok);
    server.create_with("/a/b/c", b"12", mode);
    let inner = server.text("/zookeeper/quota/a/b/zookeeper_stats");
    assert_eq!(
        (stats(&server).as_str(), inner.as_deref()),
        ("count=2,bytes=0", Some("count=2,bytes=2"))
    );
    assert_eq!(server.err(OpCode::Delete, &delete(limits, -1)), Ok);
    server.create_with("/a/b/d", b"12", mode);
    assert_eq!(stats(&server), "count=3,bytes=2");
}

#[test]
fn a_loaded_tree_counts_anew() {
    let mut server = server(false);
    set_quota(&mut server, "count=9");
    server.create_with("/a/e", b"1234", CreateMode::Ephemeral);
    let want = dump(&server.tree);
    server.set("/zookeeper/quota/a/zookeeper_stats", b"stale", 0);
    let mut loader = TreeLoader::new(tree_config());
    let tree = &server.tree;
    for (id, timeout_ms) in tree.sessions().iter() {
        loader.session(id, timeout_ms);
    }
    let lists: [i64; 2] = [1, 2];
    for index in lists.map(rookeeper_tree::AclIndex) {
        let list = tree.acls().get(index).expect("two lists");
        loader.acl(index.0, list.entries().to_vec());
    }
    let mut rest = std::collections::VecDeque::from([tree.node("/").expect("root")]);
    while let Some(node) = rest.pop_front() {
        let path = if node.path() == "/" { String::new() } else { node.path() };
        let acl = tree.znodes().acl(node.id());
        loader.node(&path, node.data(), acl.0, &node.persisted()).expect("parents first");
        rest.extend(node.children());
    }
    let loaded = loader.finish(tree.last_processed_zxid()).expect("a root");
    let mut got = dump(&loaded);
    // Only the forged statistics left a trace, in their own stat.
    let index = got.iter().position(|line| line.contains("zookeeper_stats")).expect("there");
    assert!(got[index].contains(&format!("{:?}", "count=3,bytes=4".as_bytes())));
    got[index] = want[index].clone();
    assert_eq!(got, want);
}
