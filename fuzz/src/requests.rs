//! Requests straight to the tree: each part is one request, its tag the operation. Writes are
//! prepared, some before earlier ones are applied; every transaction must apply, with its digest.

use rookeeper_jute::{ErrorCode, OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::{
    AccessControl, ChangeLog, Identity, Outstanding, PrepareConfig, ReadRequest, Tree, WriteRequest,
};

use crate::parts::{parts, tree_config};

/// Runs the requests.
pub fn run(input: &[u8]) {
    let mut tree = Tree::new(tree_config());
    let access = AccessControl::default();
    let config = PrepareConfig { enforce_quota: true, txn_len_max: 8192, ..Default::default() };
    let mut outstanding = Outstanding::new(config);
    let mut changes = ChangeLog::default();
    let identities = [
        Identity::new("ip", "127.0.0.1"),
        Identity::new("digest", "user:ss9Zmb6LmAGmOMxTnLHjvA0="),
    ];
    let mut waiting: Vec<(OpCode, Option<ErrorCode>, Vec<u8>)> = Vec::new();
    for (number, (tag, body)) in parts(input).take(128).enumerate() {
        let op = OpCode::ALL[usize::from(tag & 0x3f) % OpCode::ALL.len()];
        let session = SessionId(1 + i64::from(tag >> 7));
        if !op.is_quorum() || op == OpCode::Error {
            let read = ReadRequest { op, body, session, identities: &identities };
            let mut out = vec![7];
            let answer = tree.query(&read, &access, &mut out);
            assert!(answer.err == ErrorCode::Ok || out == [7], "an error leaves no body");
            continue;
        }
        let request = WriteRequest {
            session,
            cxid: Xid(number as i32),
            op,
            body,
            identities: &identities,
            zxid: Zxid(number as i64 + 1),
            time_ms: 1_700_000_000_000 + number as i64,
            session_check: Ok(()),
            ephemeral_check: Ok(()),
        };
        let mut txn = Vec::new();
        let prepared = outstanding.prepare(&tree, &access, &request, &mut txn);
        assert!(txn.len() <= 8192 + 64, "a transaction of {} bytes", txn.len());
        if txn.is_empty() {
            assert_eq!(prepared.error, Some(ErrorCode::MarshallingError), "no transaction");
            continue;
        }
        waiting.push((op, prepared.error, txn));
        if tag & 0x40 == 0 {
            apply_all(&mut tree, &mut outstanding, &mut changes, &mut waiting);
        }
    }
    apply_all(&mut tree, &mut outstanding, &mut changes, &mut waiting);
}

fn apply_all(
    tree: &mut Tree,
    outstanding: &mut Outstanding,
    changes: &mut ChangeLog,
    waiting: &mut Vec<(OpCode, Option<ErrorCode>, Vec<u8>)>,
) {
    for (op, _, txn) in waiting.drain(..) {
        let applied = tree.apply(&txn, changes).expect("what was prepared applies");
        assert!(!applied.digest_mismatch, "digest after {op:?}");
        let zxid = applied.header.zxid;
        applied.encode_reply(op, &mut Vec::new());
        outstanding.applied(zxid);
    }
}
