//! Records of the client protocol (Java: `org.apache.zookeeper.proto`).
//!
//! A request is a [`RequestHeader`] and the record of its operation, a reply a [`ReplyHeader`]
//! and, on success, its record. Connect records have no header.

use crate::data::{Acl, ClientInfo, Stat};
use crate::ids::{SessionId, Xid, Zxid};
use crate::wire::{Buffer, Decode, DecodeError, Encode, Reader, Text};

/// The first record of a connection.
///
/// Clients up to 3.3 leave out the last byte; `read_only` is then `None`, and the reply must leave
/// it out too (Java: `ProtocolManager`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Always 0.
    pub protocol_version: i32,
    /// The last zxid that the client saw.
    pub last_zxid_seen: Zxid,
    /// The session timeout asked for, in milliseconds.
    pub timeout_ms: i32,
    /// The session to resume, 0 for a new one.
    pub session_id: SessionId,
    /// The session's password, zeros for a new one.
    pub password: Buffer<'a>,
    /// Whether a read-only server will do; `None` from old clients.
    pub read_only: Option<bool>,
}

impl Encode for ConnectRequest<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.protocol_version.encode(out);
        self.last_zxid_seen.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        self.password.encode(out);
        if let Some(read_only) = self.read_only {
            read_only.encode(out);
        }
    }
}

impl<'a> Decode<'a> for ConnectRequest<'a> {
    const MIN_LEN: usize = 28;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectRequest {
            protocol_version: reader.read()?,
            last_zxid_seen: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: if reader.is_empty() { None } else { Some(reader.read()?) },
        })
    }
}

/// The answer to [`ConnectRequest`]; a timeout of 0 says that the session has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse<'a> {
    /// Always 0.
    pub protocol_version: i32,
    /// The negotiated session timeout, in milliseconds.
    pub timeout_ms: i32,
    /// The session.
    pub session_id: SessionId,
    /// The session's password.
    pub password: Buffer<'a>,
    /// Whether the server is read-only; left out for clients that left it out.
    pub read_only: Option<bool>,
}

impl Encode for ConnectResponse<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.protocol_version.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        self.password.encode(out);
        if let Some(read_only) = self.read_only {
            read_only.encode(out);
        }
    }
}

impl<'a> Decode<'a> for ConnectResponse<'a> {
    const MIN_LEN: usize = 20;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectResponse {
            protocol_version: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: if reader.is_empty() { None } else { Some(reader.read()?) },
        })
    }
}

record! {
    /// Stands before every request.
    pub struct RequestHeader {
        /// The request's number; replies carry it back.
        xid: Xid,
        /// The operation's number, known or not.
        op: i32,
    }
}

record! {
    /// Stands before every reply and watch event.
    pub struct ReplyHeader {
        /// The request's number, or a special one.
        xid: Xid,
        /// The last zxid applied when the reply was made.
        zxid: Zxid,
        /// The result's number.
        err: i32,
    }
}

record! {
    /// An identity for the connection.
    pub struct AuthPacket<'a> {
        /// Always 0.
        auth_type: i32,
        /// The authentication scheme.
        scheme: Text<'a>,
        /// The scheme's credentials.
        auth: Buffer<'a>,
    }
}

record! {
    /// One-shot watches of a client that reconnects.
    pub struct SetWatches<'a> {
        /// The last zxid that the client saw.
        relative_zxid: Zxid,
        /// Watches by getData and exists on znodes that existed.
        data_watches: Option<Vec<Text<'a>>>,
        /// Watches by exists on znodes that did not exist.
        exist_watches: Option<Vec<Text<'a>>>,
        /// Watches by getChildren.
        child_watches: Option<Vec<Text<'a>>>,
    }
}

record! {
    /// All watches of a client that reconnects.
    pub struct SetWatches2<'a> {
        /// The last zxid that the client saw.
        relative_zxid: Zxid,
        /// Watches by getData and exists on znodes that existed.
        data_watches: Option<Vec<Text<'a>>>,
        /// Watches by exists on znodes that did not exist.
        exist_watches: Option<Vec<Text<'a>>>,
        /// Watches by getChildren.
        child_watches: Option<Vec<Text<'a>>>,
        /// Persistent watches.
        persistent_watches: Option<Vec<Text<'a>>>,
        /// Persistent recursive watches.
        persistent_recursive_watches: Option<Vec<Text<'a>>>,
    }
}

record! {
    /// Create a znode: create, create2 and createContainer.
    pub struct CreateRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// A [`crate::CreateMode`].
        flags: i32,
    }
}

record! {
    /// Create a znode that may have a time to live.
    pub struct CreateTtlRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// A [`crate::CreateMode`].
        flags: i32,
        /// Time to live in milliseconds.
        ttl_ms: i64,
    }
}

record! {
    /// Delete a znode.
    pub struct DeleteRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The version expected, -1 for any.
        version: i32,
    }
}

record! {
    /// Delete an empty container (Java: `DeleteContainerRequest`, one buffer).
    pub struct DeleteContainerRequest<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Stat of a znode.
    pub struct ExistsRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }
}

record! {
    /// Data and Stat.
    pub struct GetDataRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }
}

record! {
    /// Set data.
    pub struct SetDataRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The version expected, -1 for any.
        version: i32,
    }
}

record! {
    /// ACL and Stat.
    pub struct GetAclRequest<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Set the ACL.
    pub struct SetAclRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// The aversion expected, -1 for any.
        version: i32,
    }
}

record! {
    /// Names of the children.
    pub struct GetChildrenRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }
}

record! {
    /// Names of the children and Stat.
    pub struct GetChildren2Request<'a> {
        /// The znode.
        path: Text<'a>,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }
}

record! {
    /// Children by page, in order of creation.
    pub struct GetChildrenPaginatedRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Most children in the reply.
        max_returned: i32,
        /// Smallest czxid to return.
        min_czxid: Zxid,
        /// How many children of `min_czxid` to skip.
        czxid_offset: i32,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }
}

record! {
    /// How many descendants.
    pub struct GetAllChildrenNumberRequest<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Flush the channel from the leader.
    pub struct SyncRequest<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Check a version; inside multi.
    pub struct CheckVersionRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// The version expected, -1 for any.
        version: i32,
    }
}

record! {
    /// Change the ensemble.
    pub struct ReconfigRequest<'a> {
        /// Servers to add.
        joining_servers: Text<'a>,
        /// Servers to remove.
        leaving_servers: Text<'a>,
        /// A whole new membership.
        new_members: Text<'a>,
        /// The configuration's version expected, -1 for any.
        cur_config_id: i64,
    }
}

record! {
    /// Ask whether a watch is set.
    pub struct CheckWatchesRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Children 1, data 2, any 3, persistent 4, persistent recursive 5.
        watcher_type: i32,
    }
}

record! {
    /// Remove watches.
    pub struct RemoveWatchesRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Children 1, data 2, any 3, persistent 4, persistent recursive 5.
        watcher_type: i32,
    }
}

record! {
    /// Add a persistent (0) or persistent recursive (1) watch.
    pub struct AddWatchRequest<'a> {
        /// The znode.
        path: Text<'a>,
        /// Persistent 0, persistent recursive 1.
        mode: i32,
    }
}

record! {
    /// Ephemerals of the caller's session.
    pub struct GetEphemeralsRequest<'a> {
        /// Prefix of the paths, as a plain string.
        prefix_path: Text<'a>,
    }
}

record! {
    /// A client's SASL token.
    pub struct GetSaslRequest<'a> {
        /// The token.
        token: Buffer<'a>,
    }
}

record! {
    /// A server's SASL token.
    pub struct SetSaslResponse<'a> {
        /// The token.
        token: Buffer<'a>,
    }
}

record! {
    /// What a watch saw.
    pub struct WatcherEvent<'a> {
        /// Created 1, deleted 2, data changed 3, children changed 4.
        event_type: i32,
        /// Always 3, SyncConnected.
        state: i32,
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// A code alone: failed parts of a multi, and addWatch's answer.
    pub struct ErrorResponse {
        /// The result's number.
        err: i32,
    }
}

record! {
    /// Path of the znode created.
    pub struct CreateResponse<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Path and Stat of the znode created.
    pub struct Create2Response<'a> {
        /// The znode.
        path: Text<'a>,
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// Stat of the znode.
    pub struct SetDataResponse {
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// Stat of the znode.
    pub struct SetAclResponse {
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// Stat of the znode.
    pub struct ExistsResponse {
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// Data and Stat.
    pub struct GetDataResponse<'a> {
        /// The data; null is legal and distinct from empty.
        data: Buffer<'a>,
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// Names of the children.
    pub struct GetChildrenResponse<'a> {
        /// Names of the children, in no particular order.
        children: Option<Vec<Text<'a>>>,
    }
}

record! {
    /// Names of the children and Stat.
    pub struct GetChildren2Response<'a> {
        /// Names of the children, in no particular order.
        children: Option<Vec<Text<'a>>>,
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// A page of children.
    pub struct GetChildrenPaginatedResponse<'a> {
        /// Names of the children, in order of czxid.
        children: Option<Vec<Text<'a>>>,
        /// The znode's Stat.
        stat: Stat,
        /// Where the next page starts; -1 on the last page.
        next_page_czxid: Zxid,
        /// How many of that czxid to skip; -1 on the last page.
        next_page_czxid_offset: i32,
    }
}

record! {
    /// ACL and Stat.
    pub struct GetAclResponse<'a> {
        /// The access control list.
        acl: Option<Vec<Acl<'a>>>,
        /// The znode's Stat.
        stat: Stat,
    }
}

record! {
    /// How many descendants.
    pub struct GetAllChildrenNumberResponse {
        /// All descendants, the znode itself not counted.
        total_number: i32,
    }
}

record! {
    /// The path asked for.
    pub struct SyncResponse<'a> {
        /// The znode.
        path: Text<'a>,
    }
}

record! {
    /// Paths of the session's ephemerals.
    pub struct GetEphemeralsResponse<'a> {
        /// Their paths.
        ephemerals: Option<Vec<Text<'a>>>,
    }
}

record! {
    /// Identities of the connection.
    pub struct WhoAmIResponse<'a> {
        /// One entry an identity.
        client_info: Option<Vec<ClientInfo<'a>>>,
    }
}
