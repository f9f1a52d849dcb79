//! The replicated state of a ZooKeeper server: znodes, access control lists, quotas, sessions,
//! and the rules that turn requests into transactions and transactions into changes.
//!
//! This crate is not a server: it opens no file and no socket, reads no clock, draws no random
//! number, starts no thread and takes no lock. Whatever of these a rule needs is an argument.
//! Given the same transactions, two trees hold the same state and the same digest.
//!
//! # Layout
//! - [`tree`]: [`Tree`], its plain accessors, [`Node`]
//! - [`znodes`]: where the znodes are kept: slots, blobs, index, children
//! - [`owners`]: what a stored ephemeral owner means; ephemerals of a session, containers, TTLs
//! - [`acls`]: the table of access control lists
//! - [`sessions`]: the table of sessions
//! - [`digest`]: the digest of the tree, version 2
//! - [`changes`]: what changed, for those who tell watchers
//! - [`snapshot`]: a snapshot's bytes at exactly one zxid, while changes go on
//! - [`loader`]: a tree from a snapshot's records
//! - [`namespaces`]: bytes read and written by the first name of their path
//! - [`paths`]: which paths are legal, special, whose parent is what
//! - [`auth`]: identities, schemes, access control
//! - [`quota`]: quotas and their statistics
//! - [`prepare`]: from requests to transactions
//! - [`apply`]: from transactions to changes
//! - [`query`]: reads and their answers
#![forbid(unsafe_code)]

pub mod acls;
pub mod apply;
pub mod auth;
pub mod changes;
pub mod digest;
pub mod loader;
pub mod namespaces;
pub mod owners;
pub mod paths;
pub mod prepare;
pub mod query;
pub mod quota;
pub mod sessions;
pub mod snapshot;
pub mod tree;
pub mod znodes;

pub use acls::{AclIndex, AclList, AclTable};
pub use apply::session::Orphans;
pub use apply::{Applied, AppliedPart, ApplyError};
pub use auth::{AccessControl, AuthFailure, AuthProvider, ConnectionInfo, Identity};
pub use changes::{Change, ChangeKind, ChangeLog};
pub use loader::{LoadError, TreeLoader};
pub use namespaces::{NamespaceTally, Namespaces};
pub use owners::OwnerKind;
pub use prepare::reconfig::DecideReconfig;
pub use prepare::{Outstanding, PrepareConfig, Prepared, WriteRequest};
pub use query::{Answer, ReadRequest, WatchKind, WatchWanted};
pub use quota::{QuotaExceeded, QuotaRoots};
pub use sessions::SessionTable;
pub use snapshot::{SnapshotProgress, SnapshotStart};
pub use tree::{Node, Tree, TreeConfig};
pub use znodes::{NodeId, Znodes};
