//! Sessions, their ephemerals, and transactions that must stay readable.

mod common;

use common::{SESSION, Server, closed_to_us, create, delete, dump, set, set_acl, tree_config};
use rookeeper_jute::data::perms;
use rookeeper_jute::txn::{CloseSessionTxn, TxnHeader};
use rookeeper_jute::{Acl, CreateMode, Encode, ErrorCode, Id, OpCode, Reader, SessionId, Zxid};
use rookeeper_tree::{ChangeKind, ChangeLog, Identity, Orphans, PrepareConfig, Tree, TreeConfig};

use ErrorCode::*;
use std::time::{Duration, Instant};

fn listed(txn: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(txn);
    let header: TxnHeader = reader.read().expect("header");
    assert_eq!(header.txn_type, OpCode::CloseSession.to_i32());
    let record: CloseSessionTxn<'_> = reader.read().expect("record");
    let paths = record.paths_to_delete.expect("not null").into_iter().flatten();
    let mut paths: Vec<String> = paths.map(|path| path.into_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn closing_a_session_deletes_its_ephemerals_and_the_session() {
    let mut server = Server::new();
    server.create("/p");
    server.create_session(SessionId(7));
    for path in ["/e1", "/p/e2"] {
        assert_eq!(server.create_with(path, b"x", CreateMode::Ephemeral), Ok);
    }
    assert_eq!(server.tree.sessions().timeout_ms(SessionId(7)), Some(4000));
    let start = server.changes.position();
    server.close_session();
    assert_eq!(listed(server.log.last().expect("logged")), ["/e1", "/p/e2"]);
    assert_eq!(server.tree.ephemerals_count(), 0);
    assert!(!server.tree.sessions().contains(SessionId(7)));
    let mut deleted: Vec<_> = server.changes.iter_from(start).map(|c| (c.kind, c.path)).collect();
    deleted.sort_by_key(|(_, path)| *path);
    assert_eq!(deleted, [(ChangeKind::Deleted, "/e1"), (ChangeKind::Deleted, "/p/e2")]);
    let parent = server.tree.node("/p").expect("there").stat();
    assert_eq!((parent.pzxid, parent.num_children, parent.cversion), (server.zxid, 0, 2));
}

/// Looking at all that is pending for each of them took minutes, in which a leader did nothing
/// else and lost its quorum.
#[test]
fn a_crowd_that_closes_at_once_is_closed_session_by_session() {
    const CROWD: i64 = 20_000;
    let began = Instant::now();
    let mut server = Server::new();
    for session in 1..=CROWD {
        server.session = SessionId(session);
        let path = format!("/{session}");
        let ephemeral = create(&path, b"", CreateMode::Ephemeral);
        server.submit(OpCode::Create, &ephemeral.to_bytes());
    }
    for session in 1..=CROWD {
        server.session = SessionId(session);
        server.submit(OpCode::CloseSession, b"");
        let txn = server.log.last().expect("logged");
        assert_eq!(listed(txn), [format!("/{session}")]);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
    assert_eq!(server.unapplied() as i64, 2 * CROWD);
}

#[test]
fn closing_a_session_sees_what_is_pending() {
    let mut server = Server::new();
    server.create_session(SessionId(7));
    for path in ["/kept", "/deleted", "/retaken", "/again"] {
        server.create_with(path, b"", CreateMode::Ephemeral);
    }
    let ephemeral = |path| create(path, b"", CreateMode::Ephemeral).to_bytes();
    server.submit(OpCode::SetData, &set("/kept", b"1", -1).to_bytes());
    server.submit(OpCode::Delete, &delete("/deleted", -1).to_bytes());
    server.submit(OpCode::Delete, &delete("/retaken", -1).to_bytes());
    server.submit(OpCode::Delete, &delete("/again", -1).to_bytes());
    server.submit(OpCode::Create, &ephemeral("/again"));
    server.submit(OpCode::Create, &ephemeral("/new"));
    server.submit(OpCode::Create, &ephemeral("/passing"));
    server.submit(OpCode::Delete, &delete("/passing", -1).to_bytes());
    server.session = SESSION;
    server.submit(OpCode::Create, &ephemeral("/retaken"));
    server.session = SessionId(7);
    server.submit(OpCode::CloseSession, b"");
    assert_eq!(listed(server.log.last().expect("logged")), ["/again", "/kept", "/new"]);
    // What comes after sees them gone.
    server.session = SESSION;
    server.submit(OpCode::Create, &ephemeral("/kept"));
    server.submit(OpCode::SetData, &set("/new", b"", -1).to_bytes());
    while server.unapplied() > 1 {
        server.apply_next();
    }
    assert_eq!(server.apply_next().err, NoNode);
    let mut left: Vec<_> = server.tree.ephemerals(SESSION).collect();
    left.sort();
    assert_eq!(left, ["/kept", "/retaken"]);
    assert_eq!(server.tree.ephemerals_list_len(SessionId(7)), 0);
    assert_eq!(server.tree.ephemerals_list_len(SESSION), 4 + 5 + 4 + 8);
}

#[test]
fn what_is_no_session_owns_nothing() {
    let mut server = Server::new();
    for session in [0, i64::MIN, 0xff00_0000_0000_0005_u64 as i64] {
        server.session = SessionId(session);
        let request = create("/c", b"", CreateMode::Container);
        server.submit(OpCode::CreateContainer, &request.to_bytes());
        server.submit(OpCode::Create, &create("/p", b"", CreateMode::Persistent).to_bytes());
        server.submit(OpCode::CloseSession, b"");
        assert!(listed(server.log.last().expect("logged")).is_empty());
        server.apply_all();
    }
    assert!(server.tree.node("/c").is_some() && server.tree.node("/p").is_some());
}

#[test]
fn a_parent_of_ephemerals_can_be_deleted_right_after_the_close() {
    let mut server = Server::new();
    server.create("/p");
    server.create_with("/p/e", b"", CreateMode::Ephemeral);
    server.submit(OpCode::CloseSession, b"");
    server.submit(OpCode::Delete, &delete("/p", -1).to_bytes());
    server.apply_next();
    assert_eq!(server.apply_next().err, Ok);
}

#[test]
fn old_closes_without_a_record_delete_what_the_table_knows() {
    let old = PrepareConfig { close_session_txn_enabled: false, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), old);
    server.create_session(SessionId(7));
    server.create_with("/e", b"", CreateMode::Ephemeral);
    server.close_session();
    assert_eq!(server.log.last().expect("logged").len(), 32 + 12);
    assert_eq!(server.tree.ephemerals_count(), 0);
    // Without a digest nothing but the header is left.
    server.create_session(SessionId(8));
    server.create_with("/e", b"", CreateMode::Ephemeral);
    server.submit(OpCode::CloseSession, b"");
    let txn = server.log.last().expect("logged")[..32].to_vec();
    server.tree.apply(&txn, &mut ChangeLog::new()).expect("an old transaction");
    assert!(server.tree.node("/e").is_none());
}

#[test]
fn orphans_go_after_replay() {
    let plain = TreeConfig { extended_types_enabled: false, ..tree_config() };
    let mut server = Server::with(plain, PrepareConfig::default());
    server.create_session(SessionId(7));
    server.create_with("/mine", b"", CreateMode::Ephemeral);
    server.session = SessionId(99);
    server.create_with("/orphan", b"", CreateMode::Ephemeral);
    // What a server with extended types wrote, read by one without them.
    server.session = SessionId((0xff << 56) | 60_000);
    server.create_with("/ttl", b"", CreateMode::Ephemeral);
    assert_eq!(server.tree.remove_orphan_ephemerals(), Orphans { ephemerals: 1, ttls: 1 });
    assert!(server.tree.node("/ttl").is_none());
    assert!(server.tree.node("/mine").is_some() && server.tree.node("/orphan").is_none());
    assert_eq!(server.tree.node("/").expect("there").stat().pzxid, server.zxid);
}

#[test]
fn a_hundred_thousand_ephemerals_close_in_a_transaction_that_can_be_read() {
    let mut server = Server::new();
    server.create_session(SessionId(7));
    let limit = PrepareConfig::default().txn_len_max;
    let mut created = 0;
    let mut refused = 0;
    for i in 0..100_000 {
        let path = format!("/ephemerals-of-one-session-{i:06}");
        match server.create_with(&path, b"", CreateMode::Ephemeral) {
            Ok => created += 1,
            MarshallingError => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // 37 bytes each in 2,097,150.
    assert_eq!((created, refused), (56_678, 43_322));
    assert_eq!(server.create_with("/persistent", b"", CreateMode::Persistent), Ok);
    server.session = SESSION;
    assert_eq!(server.create_with("/other", b"", CreateMode::Ephemeral), Ok);
    server.session = SessionId(7);
    server.submit(OpCode::CloseSession, b"");
    let txn = server.log.last().expect("logged");
    assert!(txn.len() <= limit && txn.len() > limit - 37, "{}", txn.len());
    assert_eq!(listed(txn).len(), created);
    server.apply_all();
    assert_eq!(server.tree.ephemerals_count(), 1);
}

#[test]
fn pending_ephemerals_count_against_the_bound() {
    let config = PrepareConfig { txn_len_max: 48 + 60, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), config);
    server.create("/p");
    // 60 bytes of paths, of which "/aaaaaaaaaaaaaaaa" takes 21.
    let path = |c: &str| format!("/{}", c.repeat(16));
    let ephemeral = |path: String| create(&path, b"", CreateMode::Ephemeral).to_bytes();
    server.submit(OpCode::Create, &ephemeral(path("a")));
    server.submit(OpCode::Create, &ephemeral(path("b")));
    server.submit(OpCode::Create, &ephemeral(path("c")));
    let results: Vec<_> = (0..3).map(|_| server.apply_next().err).collect();
    assert_eq!(results, [Ok, Ok, MarshallingError]);
    assert_eq!(server.delete(&path("a"), -1), Ok);
    assert_eq!(server.create_with(&path("c"), b"", CreateMode::Ephemeral), Ok);
}

#[test]
fn a_tree_from_a_larger_server_closes_its_sessions_all_the_same() {
    let mut server = Server::new();
    server.create_session(SessionId(7));
    for i in 0..10 {
        server.create_with(&format!("/e{i}"), b"", CreateMode::Ephemeral);
    }
    let small = PrepareConfig { txn_len_max: 48 + 30, ..PrepareConfig::default() };
    server.outstanding = rookeeper_tree::Outstanding::new(small);
    server.submit(OpCode::CloseSession, b"");
    let txn = server.log.last().expect("logged");
    assert!(txn.len() <= 78);
    assert_eq!(listed(txn).len(), 4);
    server.apply_all();
    assert_eq!(server.tree.ephemerals_count(), 0);
}

#[test]
fn a_list_that_auth_blows_up_is_refused() {
    let mut server = Server::new();
    server.create("/a");
    for i in 0..2000 {
        server.identities.push(Identity::new("digest", &format!("user{i}:hash")));
    }
    let auth = |perms| Acl { perms, id: Id::new("auth", "") };
    let acl: Vec<_> = (1..200).map(auth).collect();
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", acl, -1)), MarshallingError);
    let acl = vec![auth(perms::ALL)];
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", acl, -1)), Ok);
    assert_eq!(server.tree.node("/a").expect("there").acl().expect("set").entries().len(), 2000);
}

#[test]
fn a_multi_that_grows_too_long_is_undone() {
    let config = PrepareConfig { txn_len_max: 300, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), config);
    let before = dump(&server.tree);
    let mut body = Vec::new();
    for i in 0..9 {
        rookeeper_jute::multi::MultiHeader::request(1).encode(&mut body);
        create(&format!("/n{i}"), b"", CreateMode::Persistent).encode(&mut body);
    }
    rookeeper_jute::multi::encode_end(&mut body);
    assert_eq!(server.write_bytes(OpCode::Multi, &body).0, MarshallingError);
    assert_eq!(dump(&server.tree), before);
    assert_eq!(server.set("/", &[b'x'; 260], -1), MarshallingError);
    assert!(server.outstanding.is_empty());
    assert_eq!(server.create("/ok"), Ok);
}

#[test]
fn changes_carry_the_lists_that_watchers_are_judged_by() {
    let mut server = Server::new();
    server.create("/p");
    server.err(OpCode::SetAcl, &set_acl("/", closed_to_us(), -1));
    server.identities.push(Identity::new("super", ""));
    let start = server.changes.position();
    server.create("/p/c");
    server.set("/p/c", b"1", -1);
    server.delete("/p/c", -1);
    server.delete("/p", -1);
    let changes: Vec<_> = server.changes.iter_from(start).collect();
    let kinds: Vec<_> = changes.iter().map(|c| (c.kind, c.path, c.zxid)).collect();
    use ChangeKind::*;
    let want = [
        (Created, "/p/c", Zxid(3)),
        (DataChanged, "/p/c", Zxid(4)),
        (Deleted, "/p/c", Zxid(5)),
        (Deleted, "/p", Zxid(6)),
    ];
    assert_eq!(kinds, want);
    let nobody = &server.access;
    assert!(nobody.may_read(changes[0].acl.map(|acl| &**acl), &[]));
    assert!(nobody.may_read(changes[0].parent_acl.map(|acl| &**acl), &[]));
    assert!(nobody.may_read(changes[3].acl.map(|acl| &**acl), &[]));
    assert!(!nobody.may_read(changes[3].parent_acl.map(|acl| &**acl), &[]));
}

#[test]
fn deleting_a_znode_that_a_later_snapshot_gave_children_deletes_those_too() {
    let mut first = Server::new();
    first.create("/a");
    first.delete("/a", -1);
    first.create("/a");
    first.create("/a/b");
    first.create_with("/a/b/e", b"data", CreateMode::Ephemeral);
    let want = dump(&first.tree);
    let mut replayed: Tree = first.tree;
    for txn in &first.log[1..] {
        replayed.apply(txn, &mut ChangeLog::new()).expect("a transaction");
    }
    assert_eq!(dump(&replayed), want);
}
