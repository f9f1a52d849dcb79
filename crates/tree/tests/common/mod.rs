//! A server's tree without a server: requests are prepared, applied and answered in one thread.
#![allow(dead_code, reason = "each test uses its part")]

use rookeeper_jute::data::perms;
use rookeeper_jute::proto::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, SetAclRequest,
    SetDataRequest,
};
use rookeeper_jute::txn::{CreateSessionTxn, TxnHeader};
use rookeeper_jute::{
    Acl, CreateMode, Decode, Encode, ErrorCode, Id, OpCode, SessionId, Xid, Zxid,
};
use rookeeper_tree::{
    AccessControl, Answer, Applied, ChangeLog, Identity, Outstanding, PrepareConfig, Prepared,
    ReadRequest, Tree, TreeConfig, WriteRequest,
};

pub const SESSION: SessionId = SessionId(0x1_0000_0000_0001);

pub struct Server {
    pub tree: Tree,
    pub outstanding: Outstanding,
    pub access: AccessControl,
    pub changes: ChangeLog,
    pub identities: Vec<Identity>,
    pub session: SessionId,
    pub session_check: Result<(), ErrorCode>,
    pub ephemeral_check: Result<(), ErrorCode>,
    pub zxid: Zxid,
    pub log: Vec<Vec<u8>>,
    pub prepared: Prepared,
    applied_len: usize,
}

pub fn tree_config() -> TreeConfig {
    TreeConfig {
        index_key: [1, 2],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

impl Server {
    pub fn new() -> Self {
        Server::with(tree_config(), PrepareConfig::default())
    }

    pub fn with(tree: TreeConfig, prepare: PrepareConfig) -> Self {
        Server {
            tree: Tree::new(tree),
            outstanding: Outstanding::new(prepare),
            access: AccessControl::default(),
            changes: ChangeLog::new(),
            identities: vec![Identity::new("ip", "127.0.0.1")],
            session: SESSION,
            session_check: Ok(()),
            ephemeral_check: Ok(()),
            zxid: Zxid(0),
            log: Vec::new(),
            prepared: Prepared::default(),
            applied_len: 0,
        }
    }

    /// Prepares without applying; the transaction goes to the log. Whether there is one: a write
    /// that cannot be decoded takes no zxid.
    pub fn submit(&mut self, op: OpCode, body: &[u8]) -> bool {
        let zxid = self.zxid.next();
        let request = WriteRequest {
            session: self.session,
            cxid: Xid(self.log.len() as i32),
            op,
            body,
            identities: &self.identities,
            zxid,
            time_ms: 1_000_000 + zxid.0,
            session_check: self.session_check,
            ephemeral_check: self.ephemeral_check,
        };
        let mut txn = Vec::new();
        self.prepared = self.outstanding.prepare(&self.tree, &self.access, &request, &mut txn);
        if txn.is_empty() {
            assert_eq!(self.prepared.error, Some(ErrorCode::MarshallingError));
            return false;
        }
        self.zxid = zxid;
        let header = TxnHeader::from_bytes(&txn).expect("a transaction has a header");
        assert_eq!((header.client_id, header.zxid), (self.session, self.zxid));
        assert_eq!((header.cxid, header.time_ms), (request.cxid, request.time_ms));
        self.log.push(txn);
        true
    }

    pub fn unapplied(&self) -> usize {
        self.log.len() - self.applied_len
    }

    /// Applies the oldest transaction that is not applied yet.
    pub fn apply_next(&mut self) -> Applied<'static> {
        let txn: &'static [u8] = self.log[self.applied_len].clone().leak();
        self.applied_len += 1;
        let applied = self.tree.apply(txn, &mut self.changes).expect("our own transaction");
        self.outstanding.applied(applied.header.zxid);
        assert!(!applied.digest_mismatch, "digest after {applied:?}");
        if applied.header.txn_type != OpCode::Error.to_i32() && applied.parts.is_empty() {
            assert_eq!(applied.err, ErrorCode::Ok, "what was prepared can be applied: {applied:?}");
        }
        applied
    }

    pub fn apply_all(&mut self) -> Option<Applied<'static>> {
        let mut last = None;
        while self.unapplied() > 0 {
            last = Some(self.apply_next());
        }
        last
    }

    /// Prepares and applies; the result and the reply's body.
    pub fn write(&mut self, op: OpCode, body: &impl Encode) -> (ErrorCode, Vec<u8>) {
        self.write_bytes(op, &body.to_bytes())
    }

    pub fn write_bytes(&mut self, op: OpCode, body: &[u8]) -> (ErrorCode, Vec<u8>) {
        if !self.submit(op, body) {
            return (ErrorCode::MarshallingError, Vec::new());
        }
        let applied = self.apply_all().expect("one transaction at least");
        let mut reply = Vec::new();
        applied.encode_reply(op, &mut reply);
        (applied.reply_error(), reply)
    }

    pub fn err(&mut self, op: OpCode, body: &impl Encode) -> ErrorCode {
        self.write(op, body).0
    }

    pub fn create(&mut self, path: &str) -> ErrorCode {
        self.err(OpCode::Create, &create(path, b"", CreateMode::Persistent))
    }

    pub fn create_with(&mut self, path: &str, data: &[u8], mode: CreateMode) -> ErrorCode {
        self.err(OpCode::Create2, &create(path, data, mode))
    }

    pub fn create_session(&mut self, session: SessionId) {
        self.session = session;
        let txn = CreateSessionTxn { timeout_ms: 4000 };
        assert_eq!(self.err(OpCode::CreateSession, &txn), ErrorCode::Ok);
    }

    pub fn close_session(&mut self) {
        let (err, reply) = self.write_bytes(OpCode::CloseSession, b"");
        assert_eq!((err, reply.len()), (ErrorCode::Ok, 0));
    }

    pub fn set(&mut self, path: &str, data: &[u8], version: i32) -> ErrorCode {
        let request = SetDataRequest { path: Some(path.into()), data: Some(data), version };
        self.err(OpCode::SetData, &request)
    }

    pub fn delete(&mut self, path: &str, version: i32) -> ErrorCode {
        self.err(OpCode::Delete, &DeleteRequest { path: Some(path.into()), version })
    }

    pub fn read<'a>(&'a self, op: OpCode, body: &'a [u8], out: &mut Vec<u8>) -> Answer<'a> {
        let read = ReadRequest { op, body, session: self.session, identities: &self.identities };
        self.tree.query(&read, &self.access, out)
    }

    pub fn text(&self, path: &str) -> Option<String> {
        let data = self.tree.node(path)?.data()?;
        Some(String::from_utf8_lossy(data).into_owned())
    }
}

pub fn open() -> Option<Vec<Acl<'static>>> {
    Some(vec![Acl::open_unsafe()])
}

pub fn create<'a>(path: &'a str, data: &'a [u8], mode: CreateMode) -> CreateRequest<'a> {
    let flags = mode.to_flags();
    CreateRequest { path: Some(path.into()), data: Some(data), acl: open(), flags }
}

pub fn create_ttl<'a>(path: &'a str, mode: CreateMode, ttl_ms: i64) -> CreateTtlRequest<'a> {
    let flags = mode.to_flags();
    CreateTtlRequest { path: Some(path.into()), data: None, acl: open(), flags, ttl_ms }
}

pub fn delete(path: &str, version: i32) -> DeleteRequest<'_> {
    DeleteRequest { path: Some(path.into()), version }
}

pub fn set<'a>(path: &'a str, data: &'a [u8], version: i32) -> SetDataRequest<'a> {
    SetDataRequest { path: Some(path.into()), data: Some(data), version }
}

pub fn set_acl<'a>(path: &'a str, acl: Vec<Acl<'a>>, version: i32) -> SetAclRequest<'a> {
    SetAclRequest { path: Some(path.into()), acl: Some(acl), version }
}

pub fn check(path: &str, version: i32) -> CheckVersionRequest<'_> {
    CheckVersionRequest { path: Some(path.into()), version }
}

/// An ACL that the test's client has no part in.
pub fn closed_to_us() -> Vec<Acl<'static>> {
    vec![Acl { perms: perms::ALL, id: Id::new("ip", "10.9.8.7") }]
}

/// All that the tree holds, znode by znode: to compare two trees by.
pub fn dump(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = vec![tree.node("/").expect("the root")];
    while let Some(node) = rest.pop() {
        let acl = node.acl().map(|acl| acl.entries().to_vec());
        let line = (node.path(), node.data(), node.persisted(), node.stat(), acl);
        lines.push(format!("{line:?}"));
        rest.extend(node.children());
    }
    lines.sort();
    lines.push(format!("{:?}", tree.sessions().iter().collect::<Vec<_>>()));
    for session in tree.ephemeral_owners() {
        let mut paths: Vec<_> = tree.ephemerals(session).collect();
        paths.sort();
        lines.push(format!("{session} {paths:?} {}", tree.ephemerals_list_len(session)));
    }
    let mut containers: Vec<_> = tree.containers().collect();
    containers.sort();
    let mut ttls: Vec<_> = tree.ttls().collect();
    ttls.sort();
    lines.push(format!("{containers:?} {ttls:?}"));
    lines.push(format!("{} {}", tree.znode_count(), tree.approximate_data_size()));
    lines.push(format!("{:x} {:?}", tree.digest(), tree.quota_roots()));
    lines
}
