//! multi: all or none, and Java's results.

mod common;

use common::{Server, check, create, create_ttl, delete, open, set};
use rookeeper_jute::multi::{MultiHeader, encode_end, next_part};
use rookeeper_jute::proto::{
    Create2Response, CreateRequest, CreateResponse, ErrorResponse, GetDataRequest, SetDataResponse,
};
use rookeeper_jute::txn::{MultiTxn, TxnDigest, TxnHeader};
use rookeeper_jute::{CreateMode, Encode, ErrorCode, OpCode, Reader};

use ErrorCode::*;

/// A part of a multi: its opcode, and what appends its record.
type Part<'a> = (OpCode, &'a dyn Fn(&mut Vec<u8>));

fn multi(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, encode) in parts {
        MultiHeader::request(op.to_i32()).encode(&mut body);
        encode(&mut body);
    }
    encode_end(&mut body);
    body
}

macro_rules! parts {
    ($($op:ident => $record:expr),* $(,)?) => {
        multi(&[$((OpCode::$op, &|out: &mut Vec<u8>| $record.encode(out))),*])
    };
}

/// Results of a failed multi.
fn errors(reply: &[u8]) -> Vec<ErrorCode> {
    let mut reader = Reader::new(reply);
    let mut errors = Vec::new();
    while let Some(header) = next_part(&mut reader).expect("a header") {
        assert_eq!(header.op, OpCode::Error.to_i32());
        let response: ErrorResponse = reader.read().expect("an error");
        assert_eq!(response.err, header.err);
        errors.push(ErrorCode::from_i32(header.err).expect("a code"));
    }
    assert!(reader.is_empty());
    errors
}

#[test]
fn parts_see_what_earlier_parts_do_and_each_has_its_result() {
    let mut server = Server::new();
    let body = parts! {
        Create => create("/a", b"", CreateMode::Persistent),
        Create2 => create("/a/b-", b"", CreateMode::PersistentSequential),
        CreateContainer => create("/c", b"", CreateMode::Container),
        CreateTtl => create_ttl("/t", CreateMode::PersistentWithTtl, 9),
        SetData => set("/a", b"x", 0),
        Check => check("/a", 1),
        Delete => delete("/a/b-0000000000", 0),
    };
    let (err, reply) = server.write_bytes(OpCode::Multi, &body);
    assert_eq!(err, Ok);
    let mut reader = Reader::new(&reply);
    let next = |op: OpCode, reader: &mut Reader<'_>| {
        let got = next_part(reader).expect("a header").expect("one more");
        assert_eq!((got.op, got.err), (op.to_i32(), 0));
    };
    next(OpCode::Create, &mut reader);
    assert_eq!(reader.read::<CreateResponse<'_>>().expect("path").path.as_deref(), Some("/a"));
    for path in ["/a/b-0000000000", "/c", "/t"] {
        next(OpCode::Create2, &mut reader);
        let got: Create2Response<'_> = reader.read().expect("path and stat");
        assert_eq!((got.path.as_deref(), got.stat.czxid), (Some(path), server.zxid));
    }
    next(OpCode::SetData, &mut reader);
    assert_eq!(reader.read::<SetDataResponse>().expect("stat").stat.version, 1);
    next(OpCode::Check, &mut reader);
    next(OpCode::Delete, &mut reader);
    assert_eq!(next_part(&mut reader), Result::Ok(None));
    assert!(reader.is_empty());
    assert_eq!(server.tree.node("/a").expect("there").child_count(), 0);
}

#[test]
fn a_failed_multi_succeeds_as_a_request_and_changes_nothing() {
    let mut server = Server::new();
    server.create("/q");
    let before = common::dump(&server.tree);
    let body = parts! {
        Create => create("/q/n-", b"", CreateMode::PersistentSequential),
        Delete => delete("/q/n-0000000000", 0),
        Check => check("/q", 9),
        Create => create("/x", b"", CreateMode::Persistent),
    };
    let (err, reply) = server.write_bytes(OpCode::Multi, &body);
    assert_eq!(err, Ok);
    assert_eq!(errors(&reply), [Ok, Ok, BadVersion, RuntimeInconsistency]);
    assert_eq!(common::dump(&server.tree), before);
    assert!(server.outstanding.is_empty());
    // It is logged: its first parts as they were, then errors, then the digest.
    let mut reader = Reader::new(server.log.last().expect("logged"));
    let header: TxnHeader = reader.read().expect("header");
    assert_eq!(header.txn_type, OpCode::Multi.to_i32());
    let txns = reader.read::<MultiTxn<'_>>().expect("parts").txns.expect("not null");
    let types: Vec<_> = txns.iter().map(|txn| txn.txn_type).collect();
    assert_eq!(types, [1, 2, -1, -1]);
    assert_eq!(reader.read::<TxnDigest>().expect("digest").tree_digest, server.tree.digest());
}

#[test]
fn a_failed_multi_gives_back_sequence_numbers_and_pending_changes() {
    let mut server = Server::new();
    server.create("/q");
    server.submit(OpCode::SetData, &set("/q", b"pending", 0).to_bytes());
    let sequential = create("/q/n-", b"", CreateMode::EphemeralSequential);
    server.submit(OpCode::Create, &sequential.to_bytes());
    let body = parts! {
        Create => sequential,
        Create => sequential,
        SetData => set("/q", b"undone", 1),
        SetData => set("/q", b"undone", 1),
    };
    server.submit(OpCode::Multi, &body);
    server.submit(OpCode::Create, &sequential.to_bytes());
    server.submit(OpCode::SetData, &set("/q", b"after", 1).to_bytes());
    let results: Vec<_> = (0..5).map(|_| server.apply_next().err).collect();
    assert_eq!(results, [Ok, Ok, BadVersion, Ok, Ok]);
    assert!(server.tree.node("/q/n-0000000001").is_some());
    assert_eq!(server.tree.node("/q").expect("there").child_count(), 2);
    assert_eq!(server.text("/q").as_deref(), Some("after"));
}

#[test]
fn an_empty_multi_succeeds() {
    let mut server = Server::new();
    let (err, reply) = server.write_bytes(OpCode::Multi, &parts! {});
    assert_eq!((err, reply), (Ok, MultiHeader::END.to_bytes()));
}

#[test]
fn what_java_cannot_decode_fails_the_multi_as_a_whole() {
    let mut server = Server::new();
    let before = common::dump(&server.tree);
    let with = |flags, acl| CreateRequest { path: Some("/b".into()), data: None, acl, flags };
    let first = create("/a", b"", CreateMode::Persistent);
    let read = GetDataRequest { path: Some("/".into()), watch: false };
    let null_path = rookeeper_jute::proto::DeleteRequest { path: None, version: 0 };
    let set_acl = common::set_acl("/a", common::closed_to_us(), -1);
    let null_id = vec![rookeeper_jute::Acl {
        perms: 1,
        id: rookeeper_jute::Id { scheme: Some("world".into()), id: None },
    }];
    for body in [
        parts! { Create => first, Create => with(7, open()) },
        parts! { Create => first, Create => with(5, open()) },
        parts! { Create => first, Create => with(0, None) },
        parts! { Create => first, Create => with(0, Some(null_id.clone())) },
        parts! { Create => first, GetData => read },
        parts! { GetData => read },
        parts! { Create => first, Delete => null_path },
        parts! { Create => first, SetAcl => set_acl },
        parts! { Create => first, Multi => MultiHeader::END },
        parts! { Create => first, DeleteContainer => "/a" },
        parts! { Create => first, CloseSession => MultiHeader::END },
        [MultiHeader::request(99).to_bytes(), MultiHeader::END.to_bytes()].concat(),
        parts! { Create => first }[..20].to_vec(),
        vec![],
    ] {
        let (err, reply) = server.write_bytes(OpCode::Multi, &body);
        assert_eq!((err, reply.len()), (MarshallingError, 0), "{body:?}");
        assert_eq!(common::dump(&server.tree), before);
        assert!(server.outstanding.is_empty());
    }
}

#[test]
fn the_kind_of_a_create_follows_its_flags() {
    let mut server = Server::new();
    let body = parts! {
        Create => create("/c", b"", CreateMode::Container),
        CreateTtl => create_ttl("/p", CreateMode::Persistent, 7),
        CreateTtl => create_ttl("/d", CreateMode::Container, 7),
    };
    let (err, reply) = server.write_bytes(OpCode::Multi, &body);
    assert_eq!(err, Ok);
    let mut reader = Reader::new(&reply);
    assert_eq!(next_part(&mut reader).expect("header").expect("one").op, OpCode::Create2.to_i32());
    let mut containers: Vec<_> = server.tree.containers().collect();
    containers.sort();
    assert_eq!(containers, ["/c", "/d"]);
    assert_eq!(server.tree.ttls().count(), 0);
    // With createTTL's record, flags that are none fail the part and not the whole.
    let odd = rookeeper_jute::proto::CreateTtlRequest {
        flags: 99,
        ..create_ttl("/e", CreateMode::Persistent, 7)
    };
    let (err, reply) = server.write_bytes(OpCode::Multi, &parts! { CreateTtl => odd });
    assert_eq!((err, errors(&reply)), (Ok, vec![BadArguments]));
}

#[test]
fn a_moved_session_is_told_beside_the_transaction() {
    let mut server = Server::new();
    server.session_check = Err(SessionMoved);
    let (err, reply) = server.write_bytes(OpCode::Multi, &parts! { Check => check("/", 0) });
    assert_eq!((err, errors(&reply)), (Ok, vec![SessionMoved]));
    assert_eq!(server.prepared.error, Some(SessionMoved));
    server.session_check = Err(SessionExpired);
    let (_, reply) = server.write_bytes(OpCode::Multi, &parts! { Check => check("/", 0) });
    assert_eq!(errors(&reply), [SessionExpired]);
    assert_eq!(server.prepared.error, None);
}
