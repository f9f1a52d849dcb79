//! Snapshots that Java wrote become trees with the digest that Java gives, and what such a tree
//! writes is the same snapshot again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::collections::BTreeMap;

use common::{Server, delete, dump, set};
use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::wire::{Buffer, Text};
use rookeeper_jute::{
    Acl, CreateMode, Decode, Encode, ErrorCode, OpCode, Reader, SessionId, StatPersisted, Zxid,
};
use rookeeper_tree::{ChangeLog, LoadError, SnapshotProgress, Tree, TreeConfig, TreeLoader};

/// Bytes before the sessions.
const FILE_HEADER_LEN: usize = rookeeper_jute::persistence::FILE_HEADER_LEN;

/// Plain snapshots of Java 3.8, and the digest of the tree in each.
const SNAPSHOTS: [(&[u8], i64); 6] = [
    (include_bytes!("../../store/tests/vectors/n1/version-2/snapshot.0"), 1_371_985_504),
    (include_bytes!("../../store/tests/vectors/n2/version-2/snapshot.200000001"), 64_424_361_714),
    (include_bytes!("../../store/tests/vectors/n2/version-2/snapshot.300000007"), 71_000_342_186),
    (include_bytes!("../../store/tests/vectors/n3/version-2/snapshot.100000030"), 44_899_480_963),
    (include_bytes!("../../store/tests/vectors/n3/version-2/snapshot.100000051"), 64_424_361_714),
    (include_bytes!("../../store/tests/vectors/n4/version-2/snapshot.300000000"), 64_424_361_714),
];

/// What a snapshot holds, in an order that does not depend on who wrote it.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    sessions: BTreeMap<SessionId, i32>,
    acls: BTreeMap<i64, Vec<u8>>,
    znodes: BTreeMap<String, (Option<Vec<u8>>, i64, StatPersisted)>,
}

fn config() -> TreeConfig {
    TreeConfig {
        index_key: [7, 8],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

/// Reads from the sessions to the terminator; gives the rest of the file as well.
fn read(bytes: &[u8]) -> (Contents, TreeLoader, &[u8]) {
    let mut reader = Reader::new(bytes);
    let (mut contents, mut loader) = (Contents::default(), TreeLoader::new(config()));
    for _ in 0..reader.read::<i32>().unwrap() {
        let (id, timeout_ms) = (reader.read().unwrap(), reader.read().unwrap());
        contents.sessions.insert(id, timeout_ms);
        loader.session(id, timeout_ms);
    }
    for _ in 0..reader.read::<i32>().unwrap() {
        let index = reader.read().unwrap();
        let acl: Vec<Acl<'_>> = Option::decode(&mut reader).unwrap().unwrap();
        contents.acls.insert(index, acl.to_bytes());
        loader.acl(index, acl);
    }
    loop {
        let path: Text<'_> = reader.read().unwrap();
        let path = path.unwrap().into_owned();
        if path == "/" {
            return (contents, loader, reader.rest());
        }
        let (data, acl): (Buffer<'_>, i64) = (reader.read().unwrap(), reader.read().unwrap());
        let stat = reader.read().unwrap();
        loader.node(&path, data, acl, &stat).unwrap();
        contents.znodes.insert(path, (data.map(<[u8]>::to_vec), acl, stat));
    }
}

fn write(tree: &mut Tree) -> Vec<u8> {
    let mut out = Vec::new();
    tree.begin_snapshot();
    while tree.continue_snapshot(100, &mut out) == SnapshotProgress::Running {}
    out
}

#[test]
fn snapshots_of_java_have_the_digest_that_java_gives_and_come_out_the_same() {
    for (file, digest) in SNAPSHOTS {
        let (contents, loader, _) = read(&file[FILE_HEADER_LEN..]);
        let mut tree = loader.finish(Zxid(5)).unwrap();
        assert_eq!(tree.digest(), digest);
        assert_eq!(tree.znode_count(), contents.znodes.len() + 1);
        let written = write(&mut tree);
        let (mut again, _, rest) = read(&written);
        assert!(rest.is_empty());
        // Lists that no znode uses are gone; Java drops them after loading as well.
        let used: Vec<i64> = contents.znodes.values().map(|(_, acl, _)| *acl).collect();
        let kept = contents.acls.into_iter().filter(|(index, _)| used.contains(index)).collect();
        assert_eq!(again.acls, kept);
        again.acls = BTreeMap::new();
        assert_eq!(again, Contents { acls: BTreeMap::new(), ..contents });
    }
}

#[test]
fn children_of_a_loaded_tree_are_in_the_order_of_their_creation() {
    for (file, _) in SNAPSHOTS {
        let (contents, loader, _) = read(&file[FILE_HEADER_LEN..]);
        let tree = loader.finish(Zxid(5)).unwrap();
        for path in contents.znodes.keys() {
            let node = tree.node(path).unwrap();
            let keys: Vec<_> =
                node.children().map(|at| (at.persisted().czxid, at.name())).collect();
            assert!(keys.is_sorted(), "children of {path}: {keys:?}");
        }
    }
}

#[test]
fn what_is_no_snapshot_of_a_tree_is_refused() {
    let stat = StatPersisted::default();
    let root = || {
        let mut loader = TreeLoader::new(config());
        loader.node("", None, -1, &stat).unwrap();
        loader
    };
    for path in ["/a/b", "a", "/", "//", "/a/"] {
        let error = root().node(path, None, -1, &stat);
        assert_eq!(error, Err(LoadError::NoParent { path: path.to_owned() }));
    }
    let error = TreeLoader::new(config()).node("/a", None, -1, &stat);
    assert_eq!(error, Err(LoadError::NoParent { path: "/a".to_owned() }));
    assert_eq!(TreeLoader::new(config()).finish(Zxid(1)).unwrap_err(), LoadError::NoRoot);

    let mut loader = root();
    loader.node("/a", Some(b"x"), -1, &stat).unwrap();
    for path in ["/a", ""] {
        let error = loader.node(path, None, -1, &stat);
        assert_eq!(error, Err(LoadError::Duplicate { path: path.to_owned() }));
    }
    let owner = 0xff00_0100_0000_0001_u64 as i64;
    let unknown = StatPersisted { ephemeral_owner: owner, ..stat };
    let error = loader.node("/b", None, -1, &unknown);
    assert_eq!(error, Err(LoadError::UnknownOwner { path: "/b".to_owned(), owner }));
    assert_eq!(loader.finish(Zxid(1)).unwrap().znode_count(), 3);
}

#[test]
fn a_list_that_a_fuzzy_snapshot_lacks_permits_nothing_and_is_not_given_to_others() {
    let stat = StatPersisted::default();
    let mut loader = TreeLoader::new(config());
    loader.node("", None, -1, &stat).unwrap();
    loader.acl(3, vec![Acl::open_unsafe()]);
    loader.node("/a", None, 9, &stat).unwrap();
    let tree = loader.finish(Zxid(1)).unwrap();
    let acl = tree.node("/a").unwrap().acl().unwrap();
    assert!(acl.entries().iter().all(|entry| entry.perms == 0));
    assert_eq!(tree.acls().len(), 1, "list 3 has no use");
}

/// Takes a snapshot of a server that goes on meanwhile. What comes out of it is the tree at the
/// beginning, and with the log behind it the tree at the end.
fn assert_exact(server: &mut Server, mut go_on: impl FnMut(&mut Server, u32)) {
    let (zxid, logged) = (server.tree.last_processed_zxid(), server.log.len());
    let before = dump(&server.tree);
    let mut out = Vec::new();
    server.tree.begin_snapshot();
    let mut rounds = 0;
    loop {
        go_on(server, rounds);
        rounds += 1;
        if server.tree.continue_snapshot(200, &mut out) == SnapshotProgress::Finished {
            break;
        }
    }
    assert!(rounds > 20, "it went on for {rounds} rounds");
    let (_, loader, rest) = read(&out);
    assert!(rest.is_empty());
    let mut tree = loader.finish(zxid).unwrap();
    assert_eq!(dump(&tree), before);
    for txn in &server.log[logged..] {
        let applied = tree.apply(txn, &mut ChangeLog::new()).unwrap();
        assert!(!applied.digest_mismatch);
    }
    assert_eq!(dump(&tree), dump(&server.tree));
}

fn of_znodes(count: u32) -> Server {
    let mut server = Server::new();
    for number in 0..count {
        assert_eq!(server.create(&format!("/n{number:03}")), ErrorCode::Ok);
    }
    server
}

/// ZOOKEEPER-3104: a leader's snapshot held what came after the zxid that it was sent with.
#[test]
fn bug_3104_a_snapshot_holds_nothing_later_than_its_zxid() {
    let mut server = of_znodes(200);
    assert_exact(&mut server, |server, round| {
        let (early, late) = (round % 200, 199 - round % 200);
        server.create(&format!("/m{round}"));
        server.err(OpCode::SetData, &set(&format!("/n{early:03}"), b"later", -1));
        server.err(OpCode::Delete, &delete(&format!("/n{late:03}"), -1));
    });
}

/// ZOOKEEPER-3127: a snapshot held the first parts of a multi, and was named by its zxid.
#[test]
fn bug_3127_a_snapshot_holds_all_of_a_multi_or_nothing() {
    let mut server = of_znodes(200);
    assert_exact(&mut server, |server, round| {
        let mut body = Vec::new();
        for number in [round % 200, 199 - round % 200] {
            MultiHeader::request(OpCode::SetData.to_i32()).encode(&mut body);
            set(&format!("/n{number:03}"), b"of a multi", -1).encode(&mut body);
        }
        encode_end(&mut body);
        assert_eq!(server.write_bytes(OpCode::Multi, &body).0, ErrorCode::Ok);
    });
}

/// ZOOKEEPER-3144: a session's end was in the snapshot's zxid and not in its sessions.
#[test]
fn bug_3144_a_snapshot_has_the_sessions_and_ephemerals_of_one_zxid() {
    let mut server = of_znodes(200);
    let session = |number: u32| SessionId(0x5_0000 + i64::from(number));
    let open = |server: &mut Server, number: u32| {
        server.create_session(session(number));
        let (path, mode) = (format!("/e{number:03}"), CreateMode::Ephemeral);
        assert_eq!(server.create_with(&path, b"", mode), ErrorCode::Ok);
    };
    (0..50).for_each(|number| open(&mut server, number));
    assert_exact(&mut server, |server, round| {
        if round < 50 {
            server.session = session(round);
            server.close_session();
        }
        open(server, 50 + round);
    });
}
