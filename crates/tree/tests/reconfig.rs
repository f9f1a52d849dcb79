//! reconfig as the tree sees it: a text that somebody else decides on becomes the data of
//! `/zookeeper/config`.

mod common;

use common::Server;
use rookeeper_jute::proto::{GetDataResponse, ReconfigRequest};
use rookeeper_jute::{Decode, Encode, ErrorCode, OpCode, Reader, Xid, Zxid};
use rookeeper_tree::{Identity, PrepareConfig, WriteRequest};

const TEXT: &[u8] = b"server.1=a:1:2:participant;3\nversion=100000003";

fn enabled() -> Server {
    let prepare = PrepareConfig { reconfig_enabled: true, ..PrepareConfig::default() };
    Server::with(common::tree_config(), prepare)
}

/// Prepares and applies a reconfig on a leader; the error, and the reply's body.
fn reconfig(
    server: &mut Server,
    decision: Result<&[u8], ErrorCode>,
) -> (ErrorCode, Vec<u8>, Option<i64>) {
    let asked = ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some("2".into()),
        new_members: None,
        cur_config_id: 7,
    };
    let body = asked.to_bytes();
    let zxid = server.zxid.next();
    let request = WriteRequest {
        session: server.session,
        cxid: Xid(1),
        op: OpCode::Reconfig,
        body: &body,
        identities: &server.identities,
        zxid,
        time_ms: 5,
        session_check: server.session_check,
        ephemeral_check: Ok(()),
    };
    let mut seen = None;
    let mut decide = |request: &ReconfigRequest<'_>| {
        assert_eq!(request.leaving_servers.as_deref(), Some("2"));
        seen = Some(request.cur_config_id);
        decision.map(<[u8]>::to_vec)
    };
    let mut txn = Vec::new();
    let (tree, access) = (&server.tree, &server.access);
    let outstanding = &mut server.outstanding;
    let prepared = outstanding.prepare_reconfig(tree, access, &request, &mut decide, &mut txn);
    assert_eq!(prepared.error, None);
    server.zxid = zxid;
    server.log.push(txn);
    let applied = server.apply_all().expect("one transaction");
    let mut reply = Vec::new();
    applied.encode_reply(OpCode::Reconfig, &mut reply);
    (applied.reply_error(), reply, seen)
}

#[test]
fn the_configuration_is_the_data_of_its_znode_and_in_the_reply() {
    let mut server = enabled();
    server.identities.push(Identity::new("super", ""));
    let digest = server.tree.digest();
    let (err, reply, seen) = reconfig(&mut server, Ok(TEXT));
    assert_eq!((err, seen), (ErrorCode::Ok, Some(7)));
    let response = GetDataResponse::decode(&mut Reader::new(&reply)).expect("a response");
    assert_eq!(response.data, Some(TEXT));
    assert_eq!((response.stat.version, response.stat.mzxid), (-1, Zxid(1)));
    assert_eq!(server.text("/zookeeper/config").as_deref().map(str::as_bytes), Some(TEXT));
    assert_eq!(server.tree.digest(), digest, "the configuration is no part of the digest");
    let (err, _, _) = reconfig(&mut server, Ok(TEXT));
    assert_eq!(err, ErrorCode::Ok, "a second one finds the version of the first");
}

#[test]
fn refusals_come_in_java_s_order() {
    let mut off = Server::new();
    let (err, reply, seen) = reconfig(&mut off, Ok(TEXT));
    assert_eq!((err, reply.len(), seen), (ErrorCode::ReconfigDisabled, 0, None));
    let mut server = enabled();
    server.session_check = Err(ErrorCode::SessionMoved);
    let (err, _, seen) = reconfig(&mut server, Ok(TEXT));
    assert_eq!((err, seen), (ErrorCode::SessionMoved, None), "before anybody is asked");
    server.session_check = Ok(());
    let (err, ..) = reconfig(&mut server, Err(ErrorCode::NewConfigNoQuorum));
    assert_eq!(err, ErrorCode::NewConfigNoQuorum);
    let (err, ..) = reconfig(&mut server, Ok(TEXT));
    assert_eq!(err, ErrorCode::NoAuth, "everybody may read it, and nobody write it");
    assert_eq!(server.text("/zookeeper/config").as_deref(), Some(""));
}
