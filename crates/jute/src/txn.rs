//! Transactions as they stand in the log, in a proposal and in an inform: a [`TxnHeader`], the
//! record of its type and, where digests are on, a [`TxnDigest`]
//! (Java: `org.apache.zookeeper.txn`).

use crate::data::Acl;
use crate::ids::{SessionId, Xid, Zxid};
use crate::wire::{Buffer, Text};

record! {
    /// Stands before every transaction.
    #[derive(Copy)]
    pub struct TxnHeader {
        /// The session that asked for it.
        client_id: SessionId,
        /// The request's number.
        cxid: Xid,
        /// The transaction's zxid.
        zxid: Zxid,
        /// The leader's wall clock, in milliseconds since the Unix epoch.
        time_ms: i64,
        /// The [`crate::OpCode`] of the record that follows.
        txn_type: i32,
    }
}

record! {
    /// The tree's digest after the transaction.
    #[derive(Copy)]
    pub struct TxnDigest {
        /// Version of the digest's rule; this project and Java 3.9 write 2.
        version: i32,
        /// The digest.
        tree_digest: i64,
    }
}

record! {
    /// create (1) and create2 (15).
    pub struct CreateTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// Whether the header's session owns it.
        ephemeral: bool,
        /// The parent's stored cversion after the change; -1 keeps what is there and adds one.
        parent_cversion: i32,
    }
}

record! {
    /// create as logs of 3.3 have it.
    pub struct CreateTxnV0<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// Whether the header's session owns it.
        ephemeral: bool,
    }
}

record! {
    /// createTTL (21).
    pub struct CreateTtlTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// The parent's stored cversion after the change; -1 keeps what is there and adds one.
        parent_cversion: i32,
        /// Time to live in milliseconds.
        ttl_ms: i64,
    }
}

record! {
    /// createContainer (19).
    pub struct CreateContainerTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// The parent's stored cversion after the change; -1 keeps what is there and adds one.
        parent_cversion: i32,
    }
}

record! {
    /// delete (2) and deleteContainer (20).
    pub struct DeleteTxn<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// setData (5) and reconfig (16).
    pub struct SetDataTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The version after the change.
        version: i32,
    }
}

record! {
    /// check (13), inside multi.
    pub struct CheckVersionTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The version after the check.
        version: i32,
    }
}

record! {
    /// setACL (7).
    pub struct SetAclTxn<'a> {
        /// The znode.
        path: Text<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// The aversion after the change.
        version: i32,
    }
}

record! {
    /// createSession (-10).
    pub struct CreateSessionTxn {
        /// The session's timeout in milliseconds.
        timeout_ms: i32,
    }
}

record! {
    /// closeSession (-11); older logs have no record.
    pub struct CloseSessionTxn<'a> {
        /// The session's ephemerals.
        paths_to_delete: Option<Vec<Text<'a>>>,
    }
}

record! {
    /// error (-1): a write that failed.
    pub struct ErrorTxn {
        /// The result's number.
        err: i32,
    }
}

record! {
    /// One part of a multi.
    pub struct Txn<'a> {
        /// The [`crate::OpCode`] of the part.
        txn_type: i32,
        /// The part's record.
        data: Buffer<'a>,
    }
}

record! {
    /// multi (14).
    pub struct MultiTxn<'a> {
        /// The parts in order.
        txns: Option<Vec<Txn<'a>>>,
    }
}
