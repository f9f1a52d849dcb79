//! Writes whose body cannot be decoded: they take no zxid, for Java's error transaction under the
//! zxid of the one before wedges an ensemble.

mod common;

use common::Server;
use rookeeper_jute::{ErrorCode, OpCode, Xid};
use rookeeper_tree::WriteRequest;

fn prepared(server: &mut Server, op: OpCode, body: &[u8]) -> (Option<ErrorCode>, usize) {
    let request = WriteRequest {
        session: server.session,
        cxid: Xid(1),
        op,
        body,
        identities: &server.identities,
        zxid: server.zxid.next(),
        time_ms: 1,
        session_check: Ok(()),
        ephemeral_check: Ok(()),
    };
    let mut txn = Vec::new();
    let outstanding = &mut server.outstanding;
    let prepared = outstanding.prepare(&server.tree, &server.access, &request, &mut txn);
    (prepared.error, txn.len())
}

#[test]
fn an_undecodable_write_is_answered_without_a_transaction() {
    let mut server = Server::new();
    for op in [
        OpCode::Create,
        OpCode::Create2,
        OpCode::CreateContainer,
        OpCode::CreateTtl,
        OpCode::Delete,
        OpCode::DeleteContainer,
        OpCode::SetData,
        OpCode::SetAcl,
        OpCode::Reconfig,
    ] {
        for body in [&b""[..], b"\0\0", b"\0\0\0\x02/", b"\x7f\xff\xff\xff/a", b"\xff\xff\xff\xfe"]
        {
            let answer = prepared(&mut server, op, body);
            assert_eq!(answer, (Some(ErrorCode::MarshallingError), 0), "{op:?} {body:?}");
        }
    }
    assert!(server.outstanding.is_empty());
}

#[test]
fn an_undecodable_multi_and_a_null_path_take_their_zxid() {
    let mut server = Server::new();
    let (error, len) = prepared(&mut server, OpCode::Multi, b"\0\0");
    assert_eq!(error, None);
    assert!(len > 0, "an error transaction");
    let (error, len) = prepared(&mut server, OpCode::Delete, b"\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(error, None);
    assert!(len > 0, "an error transaction");
}

#[test]
fn a_null_list_in_a_multi_takes_no_zxid() {
    let mut server = Server::new();
    let header = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff];
    let create =
        [0, 0, 0, 2, b'/', b'a', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let end = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];
    let body = [&header[..], &create, &end].concat();
    let answer = prepared(&mut server, OpCode::Multi, &body);
    assert_eq!(answer, (Some(ErrorCode::MarshallingError), 0));
}
