//! Records that all protocols share (Java: `org.apache.zookeeper.data`).

use crate::ids::{SessionId, Zxid};
use crate::wire::Text;

record! {
    /// Who: an authentication scheme and an id within it.
    pub struct Id<'a> {
        /// The scheme: `world`, `auth`, `digest`, `ip`, `x509`, `sasl`, `super`, ...
        scheme: Text<'a>,
        /// The id, in the scheme's own syntax.
        id: Text<'a>,
    }
}

/// One identity of a connection, as servers keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The scheme, for example `ip`, `digest` or `super`.
    pub scheme: Box<str>,
    /// The id, in the scheme's own syntax.
    pub id: Box<str>,
}

impl Identity {
    /// An identity from two strings.
    pub fn new(scheme: &str, id: &str) -> Self {
        Identity { scheme: scheme.into(), id: id.into() }
    }
}

record! {
    /// One entry of an access control list.
    pub struct Acl<'a> {
        /// A set of [`perms`] bits.
        perms: i32,
        /// Whom it grants them to.
        id: Id<'a>,
    }
}

/// Permission bits (Java: `ZooDefs.Perms`).
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create a child.
    pub const CREATE: i32 = 4;
    /// Delete a child.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of the above.
    pub const ALL: i32 = 31;
}

record! {
    /// What a client sees of a znode beside its data.
    #[derive(Copy, Default)]
    pub struct Stat {
        /// Zxid of the transaction that created the znode.
        czxid: Zxid,
        /// Zxid of the last change of its data.
        mzxid: Zxid,
        /// When it was created, in milliseconds since the Unix epoch.
        ctime: i64,
        /// When its data last changed, in milliseconds since the Unix epoch.
        mtime: i64,
        /// Changes of its data.
        version: i32,
        /// Changes of its children, as clients count them: `2 * stored - num_children`.
        cversion: i32,
        /// Changes of its ACL.
        aversion: i32,
        /// The session that owns it if it is ephemeral, else 0 (for container and TTL nodes too).
        ephemeral_owner: SessionId,
        /// Length of its data in bytes; 0 for null data.
        data_length: i32,
        /// How many children it has.
        num_children: i32,
        /// Zxid of the last change of its children.
        pzxid: Zxid,
    }
}

record! {
    /// What a znode keeps in snapshots beside data and ACL.
    #[derive(Copy, Default)]
    pub struct StatPersisted {
        /// Zxid of the transaction that created the znode.
        czxid: Zxid,
        /// Zxid of the last change of its data.
        mzxid: Zxid,
        /// When it was created, in milliseconds since the Unix epoch.
        ctime: i64,
        /// When its data last changed, in milliseconds since the Unix epoch.
        mtime: i64,
        /// Changes of its data.
        version: i32,
        /// How many children were ever created.
        cversion: i32,
        /// Changes of its ACL.
        aversion: i32,
        /// The owner as stored: a session, or the marks of container and TTL nodes.
        ephemeral_owner: i64,
        /// Zxid of the last change of its children.
        pzxid: Zxid,
    }
}

record! {
    /// One identity of a connection, as whoAmI reports it.
    pub struct ClientInfo<'a> {
        /// Authentication scheme.
        auth_scheme: Text<'a>,
        /// User name within the scheme.
        user: Text<'a>,
    }
}

impl<'a> Id<'a> {
    /// An id from two borrowed strings.
    pub fn new(scheme: &'a str, id: &'a str) -> Self {
        Id { scheme: Some(scheme.into()), id: Some(id.into()) }
    }
}

impl Acl<'static> {
    /// All permissions to everyone (Java: `ZooDefs.Ids.OPEN_ACL_UNSAFE`).
    pub fn open_unsafe() -> Self {
        Acl { perms: perms::ALL, id: Id::new("world", "anyone") }
    }
}
