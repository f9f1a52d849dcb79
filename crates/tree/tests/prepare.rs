//! Single writes: which mistake is answered first, and what a success looks like.

mod common;

use common::{
    SESSION, Server, check, closed_to_us, create, create_ttl, delete, open, set, set_acl,
    tree_config,
};
use rookeeper_jute::data::perms;
use rookeeper_jute::proto::{
    Create2Response, CreateRequest, CreateResponse, DeleteContainerRequest, DeleteRequest,
    SetAclRequest, SetDataRequest, SetDataResponse,
};
use rookeeper_jute::txn::{CreateTxn, ErrorTxn, TxnDigest, TxnHeader};
use rookeeper_jute::{
    Acl, CreateMode, Decode, Encode, ErrorCode, Id, OpCode, Reader, SessionId, Zxid,
};
use rookeeper_tree::{Identity, PrepareConfig, TreeConfig};

use ErrorCode::*;

#[test]
fn a_create_becomes_header_record_and_digest() {
    let mut server = Server::new();
    let (err, reply) = server.write(OpCode::Create, &create("/a", b"x", CreateMode::Ephemeral));
    assert_eq!(err, Ok);
    assert_eq!(CreateResponse::from_bytes(&reply).expect("a path").path.as_deref(), Some("/a"));
    let mut reader = Reader::new(&server.log[0]);
    let header: TxnHeader = reader.read().expect("header");
    assert_eq!(header.txn_type, OpCode::Create.to_i32());
    let txn: CreateTxn<'_> = reader.read().expect("record");
    let want = CreateTxn {
        path: Some("/a".into()),
        data: Some(b"x"),
        acl: open(),
        ephemeral: true,
        parent_cversion: 1,
    };
    assert_eq!(txn, want);
    let digest: TxnDigest = reader.read().expect("digest");
    assert_eq!((digest.version, digest.tree_digest), (2, server.tree.digest()));
    assert!(reader.is_empty());
    let (err, reply) = server.write(OpCode::Create2, &create("/b", b"xy", CreateMode::Persistent));
    assert_eq!(err, Ok);
    let reply = Create2Response::from_bytes(&reply).expect("a path and a stat");
    assert_eq!(reply.stat, server.tree.node("/b").expect("created").stat());
    assert_eq!((reply.stat.data_length, reply.stat.czxid), (2, Zxid(2)));
}

#[test]
fn a_failure_is_a_transaction_without_a_digest() {
    let mut server = Server::new();
    assert_eq!(server.create("/a/b"), NoNode);
    let mut reader = Reader::new(&server.log[0]);
    let header: TxnHeader = reader.read().expect("header");
    assert_eq!(header.txn_type, OpCode::Error.to_i32());
    assert_eq!(reader.read(), Result::Ok(ErrorTxn { err: NoNode.to_i32() }));
    assert!(reader.is_empty());
    assert_eq!(server.tree.last_processed_zxid(), Zxid(1));
}

#[test]
fn mistakes_of_a_create_are_found_in_javas_order() {
    let mut server = Server::new();
    server.session_check = Err(SessionExpired);
    let invalid = Some(vec![]);
    let with = |path: Option<&'static str>, acl: &Option<Vec<Acl<'static>>>, flags| CreateRequest {
        path: path.map(Into::into),
        data: None,
        acl: acl.clone(),
        flags,
    };
    // Flags come first, then the session, the path's slash, the list, the parent.
    assert_eq!(server.err(OpCode::Create, &with(None, &None, 7)), BadArguments);
    assert_eq!(server.err(OpCode::Create, &with(None, &None, 5)), BadArguments);
    assert_eq!(server.err(OpCode::Create, &with(None, &None, 0)), SessionExpired);
    server.session_check = Result::Ok(());
    assert_eq!(server.err(OpCode::Create, &with(None, &None, 0)), MarshallingError);
    for path in ["", "a", "/a\0b"] {
        assert_eq!(
            server.err(OpCode::Create, &with(Some(path), &None, 0)),
            BadArguments,
            "{path:?}"
        );
    }
    assert_eq!(server.err(OpCode::Create, &with(Some("/no/b/"), &None, 0)), InvalidAcl);
    assert_eq!(server.err(OpCode::Create, &with(Some("/no/b/"), &invalid, 0)), InvalidAcl);
    assert_eq!(server.err(OpCode::Create, &with(Some("/no/b/"), &open(), 0)), NoNode);
    // A closed parent, then the syntax, the znode itself, an ephemeral parent.
    server.create("/closed");
    server.err(OpCode::SetAcl, &set_acl("/closed", closed_to_us(), -1));
    assert_eq!(server.create("/closed/"), NoAuth);
    assert_eq!(server.create("//b"), BadArguments);
    assert_eq!(server.create("/a//b"), NoNode);
    assert_eq!(server.create("/closed/b"), NoAuth);
    assert_eq!(server.create("/"), NodeExists);
    assert_eq!(server.create("/closed"), NodeExists);
    assert_eq!(server.create("/a/"), NoNode);
    for path in ["/.", "/..", "/\u{1}", "/\u{fffd}", "/\u{1f600}", "/\u{f8ff}"] {
        assert_eq!(server.create(path), BadArguments, "{path:?}");
    }
    server.create_with("/e", b"", CreateMode::Ephemeral);
    assert_eq!(server.create("/e/"), BadArguments);
    assert_eq!(server.create("/e/b"), NoChildrenForEphemerals);
}

#[test]
fn an_unknown_session_is_expired_for_ephemerals_alone() {
    let mut server = Server::new();
    server.session_check = Err(UnknownSession);
    assert_eq!(server.create("/a"), UnknownSession);
    assert_eq!(server.create_with("/a", b"", CreateMode::Ephemeral), SessionExpired);
    server.session_check = Err(SessionMoved);
    assert_eq!(server.create_with("/a", b"", CreateMode::Ephemeral), SessionMoved);
}

#[test]
fn a_time_to_live_needs_its_feature_its_mode_and_its_range() {
    let mut plain = Server::with(
        TreeConfig { extended_types_enabled: false, ..tree_config() },
        PrepareConfig::default(),
    );
    let ttl = |ttl_ms| create_ttl("/t", CreateMode::PersistentWithTtl, ttl_ms);
    assert_eq!(plain.err(OpCode::CreateTtl, &ttl(5)), Unimplemented);
    let mut server = Server::new();
    for ttl_ms in [0, -1, i64::MIN, 0x100_0000_0000] {
        assert_eq!(server.err(OpCode::CreateTtl, &ttl(ttl_ms)), BadArguments);
    }
    for ttl_ms in [0, 5, -1] {
        let request = create_ttl("/t", CreateMode::Persistent, ttl_ms);
        assert_eq!(server.err(OpCode::CreateTtl, &request), BadArguments);
        assert_eq!(plain.err(OpCode::CreateTtl, &request), BadArguments);
    }
    assert_eq!(server.err(OpCode::CreateTtl, &ttl(0xff_ffff_ffff)), Ok);
    let sequential = create_ttl("/t-", CreateMode::PersistentSequentialWithTtl, 1);
    assert_eq!(server.err(OpCode::CreateTtl, &sequential), Ok);
    let mut ttls: Vec<_> = server.tree.ttls().collect();
    ttls.sort();
    assert_eq!(ttls, [("/t".into(), 0xff_ffff_ffff), ("/t-0000000001".into(), 1)]);
    let stat = server.tree.node("/t").expect("created").stat();
    assert_eq!(stat.ephemeral_owner, SessionId(0));
    assert_eq!(server.create("/t/child"), Ok);
}

#[test]
fn a_container_is_made_by_its_opcode_and_not_by_flags_alone() {
    let mut server = Server::new();
    let request = create("/c", b"", CreateMode::Container);
    assert_eq!(server.err(OpCode::CreateContainer, &request), Ok);
    assert_eq!(server.create_with("/p", b"", CreateMode::Container), Ok);
    let odd = create("/d", b"", CreateMode::Ephemeral);
    assert_eq!(server.err(OpCode::CreateContainer, &odd), Ok);
    let mut containers: Vec<_> = server.tree.containers().collect();
    containers.sort();
    assert_eq!(containers, ["/c", "/d"]);
    assert_eq!(server.tree.ephemerals_count(), 0);
    assert_eq!(server.create("/c/child"), Ok);
}

#[test]
fn sequential_names_count_the_creates_under_the_pending_parent() {
    let mut server = Server::new();
    server.create("/q");
    for name in ["/q/n-", "/q/n-", "/q/"] {
        let request = create(name, b"", CreateMode::PersistentSequential);
        server.submit(OpCode::Create, &request.to_bytes());
    }
    server.submit(OpCode::Delete, &delete("/q/n-0000000000", -1).to_bytes());
    let last = create("/q/n-", b"", CreateMode::EphemeralSequential);
    server.submit(OpCode::Create, &last.to_bytes());
    server.apply_all();
    let queue = server.tree.node("/q").expect("there");
    let mut names: Vec<_> = queue.children().map(|n| n.name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["0000000002", "n-0000000001", "n-0000000003"]);
    let stat = server.tree.node("/q").expect("there").stat();
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (5, 3, Zxid(6)));
    let taken = create("/q/n-000000000", b"", CreateMode::Persistent);
    assert_eq!(server.err(OpCode::Create, &taken), Ok);
}

#[test]
fn mistakes_of_a_delete_are_found_in_javas_order() {
    let mut server = Server::new();
    server.create("/a");
    server.create("/a/b");
    server.create("/closed");
    server.create("/closed/b");
    server.err(OpCode::SetAcl, &set_acl("/closed", closed_to_us(), -1));
    server.session_check = Err(SessionExpired);
    assert_eq!(
        server.err(OpCode::Delete, &DeleteRequest { path: None, version: 0 }),
        SessionExpired
    );
    server.session_check = Result::Ok(());
    assert_eq!(
        server.err(OpCode::Delete, &DeleteRequest { path: None, version: 0 }),
        MarshallingError
    );
    for path in ["", "a", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/a\0"] {
        assert_eq!(server.delete(path, -1), BadArguments, "{path:?}");
    }
    assert_eq!(server.delete("/no/b", -1), NoNode);
    assert_eq!(server.delete("/a/", -1), NoNode);
    assert_eq!(server.delete("/closed/no", -1), NoAuth);
    assert_eq!(server.delete("/closed/b", -1), NoAuth);
    assert_eq!(server.delete("/a/no", 7), NoNode);
    assert_eq!(server.delete("/a", 7), BadVersion);
    assert_eq!(server.delete("/a", 0), NotEmpty);
    // The znode's own list does not matter, nor that it is closed to us.
    server.err(OpCode::SetAcl, &set_acl("/a/b", closed_to_us(), -1));
    assert_eq!(server.delete("/a/b", 0), Ok);
    assert_eq!(server.delete("/a", -1), Ok);
    assert!(server.tree.node("/a").is_none());
}

#[test]
fn mistakes_of_a_set_data_are_found_in_javas_order() {
    let mut server = Server::new();
    server.create("/a");
    server.create("/closed");
    server.err(OpCode::SetAcl, &set_acl("/closed", closed_to_us(), -1));
    server.session_check = Err(SessionExpired);
    assert_eq!(server.set("a", b"", -1), SessionExpired);
    server.session_check = Result::Ok(());
    let null = SetDataRequest { path: None, data: None, version: 0 };
    assert_eq!(server.err(OpCode::SetData, &null), BadArguments);
    for path in ["", "a", "/a/", "/a/../b"] {
        assert_eq!(server.set(path, b"", -1), BadArguments, "{path:?}");
    }
    assert_eq!(server.set("/no", b"", 5), NoNode);
    assert_eq!(server.set("/closed", b"", 5), NoAuth);
    assert_eq!(server.set("/zookeeper/config", b"", -1), NoAuth);
    assert_eq!(server.set("/a", b"", 5), BadVersion);
    let (err, reply) = server.write(OpCode::SetData, &set("/a", b"new", 0));
    assert_eq!(err, Ok);
    let stat = SetDataResponse::from_bytes(&reply).expect("a stat").stat;
    assert_eq!(stat, server.tree.node("/a").expect("there").stat());
    assert_eq!((stat.version, stat.mzxid, stat.data_length), (1, server.zxid, 3));
    let null = SetDataRequest { path: Some("/".into()), data: None, version: -1 };
    assert_eq!(server.err(OpCode::SetData, &null), Ok);
    assert_eq!(server.tree.node("/").expect("there").data(), None);
    server.identities.push(Identity::new("super", ""));
    assert_eq!(server.set("/closed", b"by super", 0), Ok);
}

#[test]
fn mistakes_of_a_set_acl_are_found_in_javas_order() {
    let mut server = Server::new();
    server.create("/a");
    server.session_check = Err(SessionExpired);
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("a", vec![], -1)), SessionExpired);
    server.session_check = Result::Ok(());
    let null = SetAclRequest { path: None, acl: None, version: 0 };
    assert_eq!(server.err(OpCode::SetAcl, &null), BadArguments);
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/no", vec![], -1)), InvalidAcl);
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/no", closed_to_us(), -1)), NoNode);
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", closed_to_us(), 1)), BadVersion);
    assert_eq!(server.set("/a", b"", -1), Ok);
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", closed_to_us(), 0)), Ok);
    let stat = server.tree.node("/a").expect("there").stat();
    assert_eq!((stat.version, stat.aversion, stat.mzxid), (1, 1, Zxid(7)));
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", closed_to_us(), 0)), NoAuth);
}

#[test]
fn auth_in_a_list_becomes_the_clients_identities() {
    let mut server = Server::new();
    server.create("/a");
    let auth = vec![Acl { perms: perms::ALL, id: Id::new("auth", "") }];
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", auth.clone(), -1)), InvalidAcl);
    server.identities.push(Identity::new("digest", "bob:hash"));
    assert_eq!(server.err(OpCode::SetAcl, &set_acl("/a", auth, -1)), Ok);
    let node = server.tree.node("/a").expect("there");
    let want = [Acl { perms: perms::ALL, id: Id::new("digest", "bob:hash") }];
    assert_eq!(node.acl().expect("not open").entries(), want);
    server.submit(OpCode::SetAcl, &set_acl("/a", closed_to_us(), -1).to_bytes());
    server.submit(OpCode::SetData, &set("/a", b"", -1).to_bytes());
    server.apply_next();
    assert_eq!(server.apply_next().err, NoAuth, "pending lists count");
}

#[test]
fn a_container_is_deleted_for_nobody_but_when_empty() {
    let mut server = Server::new();
    server.err(OpCode::CreateContainer, &create("/c", b"", CreateMode::Container));
    server.create("/c/child");
    server.create_with("/e", b"", CreateMode::Ephemeral);
    server.session_check = Err(UnknownSession);
    server.session = SessionId(0);
    let del = |path: &'static str| DeleteContainerRequest { path: Some(path.into()) };
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/c")), NotEmpty);
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/e")), BadVersion);
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/no")), NoNode);
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/zookeeper/quota")), BadArguments);
    let null = DeleteContainerRequest { path: None };
    assert_eq!(server.err(OpCode::DeleteContainer, &null), MarshallingError);
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/c/child")), Ok);
    assert_eq!(server.err(OpCode::DeleteContainer, &del("/c")), Ok);
    assert_eq!(server.tree.containers().count(), 0);
}

#[test]
fn bodies_that_cannot_be_decoded_are_marshalling_errors() {
    let mut server = Server::new();
    for op in OpCode::ALL.iter().copied().filter(|op| op.is_quorum()) {
        if matches!(op, OpCode::CloseSession | OpCode::Check | OpCode::Error) {
            continue;
        }
        let (err, reply) = server.write_bytes(op, &[0, 0, 0]);
        assert_eq!((err, reply.len()), (MarshallingError, 0), "{op:?}");
    }
    let (err, _) = server.write_bytes(OpCode::Create, &[0xff; 64]);
    assert_eq!(err, BadArguments, "all null, flags -1");
    let absurd = [&[0, 0, 0, 1, b'/'][..], &i32::MAX.to_be_bytes()].concat();
    assert_eq!(server.write_bytes(OpCode::Create, &absurd).0, MarshallingError);
}

#[test]
fn operations_that_are_no_writes_are_refused() {
    let mut server = Server::new();
    assert_eq!(server.err(OpCode::Check, &check("/", 0)), Unimplemented);
    assert_eq!(server.write_bytes(OpCode::GetData, b"").0, Unimplemented);
    let reconfig = rookeeper_jute::proto::ReconfigRequest {
        joining_servers: None,
        leaving_servers: None,
        new_members: None,
        cur_config_id: -1,
    };
    assert_eq!(server.err(OpCode::Reconfig, &reconfig), ReconfigDisabled);
    let enabled = PrepareConfig { reconfig_enabled: true, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), enabled);
    assert_eq!(server.err(OpCode::Reconfig, &reconfig), Unimplemented);
    server.session_check = Err(SessionExpired);
    assert_eq!(server.err(OpCode::Reconfig, &reconfig), SessionExpired);
}

#[test]
fn versions_wrap_around() {
    let mut server = Server::new();
    server.create("/a");
    let mut changes = rookeeper_tree::ChangeLog::new();
    let header = TxnHeader {
        client_id: SESSION,
        cxid: rookeeper_jute::Xid(0),
        zxid: server.zxid,
        time_ms: 0,
        txn_type: OpCode::SetData.to_i32(),
    };
    let mut txn = header.to_bytes();
    set("/a", b"", i32::MAX).encode(&mut txn);
    server.tree.apply(&txn, &mut changes).expect("a transaction");
    assert_eq!(server.set("/a", b"", i32::MAX), Ok);
    assert_eq!(server.tree.node("/a").expect("there").stat().version, i32::MIN);
}

#[test]
fn what_is_pending_counts() {
    let mut server = Server::new();
    let submits: [(OpCode, Vec<u8>, ErrorCode); 8] = [
        (OpCode::Create, create("/a", b"", CreateMode::Persistent).to_bytes(), Ok),
        (OpCode::Create, create("/a", b"", CreateMode::Persistent).to_bytes(), NodeExists),
        (OpCode::Create, create("/a/b", b"", CreateMode::Persistent).to_bytes(), Ok),
        (OpCode::Delete, delete("/a", -1).to_bytes(), NotEmpty),
        (OpCode::SetData, set("/a/b", b"1", 0).to_bytes(), Ok),
        (OpCode::Delete, delete("/a/b", 0).to_bytes(), BadVersion),
        (OpCode::Delete, delete("/a/b", 1).to_bytes(), Ok),
        (OpCode::Delete, delete("/a", 0).to_bytes(), Ok),
    ];
    for (op, body, _) in &submits {
        server.submit(*op, body);
    }
    assert!(server.outstanding.len() >= 8);
    for (op, _, want) in &submits {
        assert_eq!(server.apply_next().err, *want, "{op:?}");
    }
    assert!(server.outstanding.is_empty());
    server.submit(OpCode::Create, &create("/x", b"", CreateMode::Persistent).to_bytes());
    server.outstanding.clear();
    assert!(server.outstanding.is_empty());
}
