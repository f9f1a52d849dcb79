//! The preparation of one request: what the operations share.

use rookeeper_jute::txn::TxnDigest;
use rookeeper_jute::{DecodeError, Encode, ErrorCode, OpCode};

use super::pending::{NodeState, PendingAcl, PendingChanges};
use super::reconfig::DecideReconfig;
use super::request::Write;
use super::{PrepareConfig, Prepared, WriteRequest, encode_header};
use crate::acls::AclList;
use crate::auth::AccessControl;
use crate::auth::control::AclRefusal;
use crate::digest::{DIGEST_VERSION, EXCLUDED_PREFIX, digest_of_stat, extend_crc, path_crc};
use crate::quota::check::{Verdict, check};
use crate::tree::Tree;
use crate::znodes::NodeId;

/// Length of a transaction's digest in bytes.
const DIGEST_LEN: usize = 12;

/// Why a request does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An error that Java throws as a `KeeperException`; inside a multi it fails that part.
    Code(ErrorCode),
    /// Any other exception in Java: MarshallingError, inside a multi for the whole of it.
    Malformed,
    /// The body of a single write cannot be decoded, or a create in a multi has a null list:
    /// MarshallingError, and no transaction. Java logs an error transaction under the zxid of the
    /// one before, which wedges an ensemble.
    Unreadable,
}

impl Failure {
    /// What the client is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Failure::Code(code) => code,
            Failure::Malformed | Failure::Unreadable => ErrorCode::MarshallingError,
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(_: DecodeError) -> Self {
        Failure::Malformed
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure::Code(code)
    }
}

impl From<AclRefusal> for Failure {
    fn from(refusal: AclRefusal) -> Self {
        match refusal {
            AclRefusal::Invalid => Failure::Code(ErrorCode::InvalidAcl),
            AclRefusal::Malformed => Failure::Malformed,
        }
    }
}

/// A path and its hash; the root has one name here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'p> {
    pub(super) path: &'p str,
    pub(super) hash: [u64; 2],
}

/// The preparation of one request.
pub struct Step<'s> {
    pub(super) config: &'s PrepareConfig,
    pub(super) pending: &'s mut PendingChanges,
    pub(super) tree: &'s Tree,
    pub(super) access: &'s AccessControl,
    pub(super) request: &'s WriteRequest<'s>,
    /// Where the transaction starts in the output.
    start: usize,
    /// What to tell beside the transaction.
    pub prepared: Prepared,
    digest_enabled: bool,
}

impl<'s> Step<'s> {
    /// Nothing is done yet.
    pub fn new(
        config: &'s PrepareConfig,
        pending: &'s mut PendingChanges,
        tree: &'s Tree,
        access: &'s AccessControl,
        request: &'s WriteRequest<'s>,
        start: usize,
    ) -> Self {
        let prepared = Prepared::default();
        let digest_enabled = tree.config().digest_enabled;
        Step { config, pending, tree, access, request, start, prepared, digest_enabled }
    }

    /// Appends the transaction, or says why there is none; then nothing is pending that was not
    /// before.
    ///
    /// # Errors
    /// What becomes of the request instead.
    pub fn run(
        &mut self,
        decide: Option<DecideReconfig<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let op = self.request.op;
        match op {
            OpCode::Multi => self.multi(out)?,
            OpCode::CreateSession => self.create_session(out)?,
            OpCode::CloseSession => self.close_session(out),
            OpCode::Reconfig => self.reconfig(decide, out)?,
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateTtl
            | OpCode::CreateContainer
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::SetData
            | OpCode::SetAcl => {
                let write =
                    Write::decode(op, self.request.body).map_err(|_| Failure::Unreadable)?;
                encode_header(self.request, op, out);
                self.write(write, out)?;
            }
            _ => return Err(Failure::Code(ErrorCode::Unimplemented)),
        }
        if self.digest_enabled {
            let tree_digest = self.tree_digest();
            TxnDigest { version: DIGEST_VERSION, tree_digest }.encode(out);
        }
        Ok(())
    }

    /// Appends the record of one write and makes its changes pending.
    pub(super) fn write(&mut self, write: Write<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        match write {
            Write::Create(create) => self.create(create, out),
            Write::Delete(delete) => self.delete(&delete, out),
            Write::DeleteContainer(delete) => self.delete_container(&delete, out),
            Write::SetData(set) => self.set_data(&set, out),
            Write::SetAcl(set) => self.set_acl(set, out),
            Write::Check(check) => self.check(&check, out),
        }
    }

    /// How many bytes of the longest transaction are left beside what stands in the output.
    pub(super) fn room(&self, out: &[u8]) -> Option<usize> {
        self.config.txn_len_max.checked_sub(out.len() - self.start + DIGEST_LEN)
    }

    /// Whether what stands in the output makes a transaction that can be read back.
    pub(super) fn fits(&self, out: &[u8]) -> Result<(), Failure> {
        if self.room(out).is_some() { Ok(()) } else { Err(Failure::Malformed) }
    }

    /// A path with its hash, which every look at it needs.
    pub(super) fn key<'p>(&self, path: &'p str) -> Key<'p> {
        match path {
            "" | "/" => Key { path: "/", hash: [0; 2] },
            path => Key { path, hash: self.tree.znodes().path_hash(path.as_bytes()) },
        }
    }

    fn stored(&self, key: &Key<'_>) -> Option<NodeId> {
        if key.path == "/" {
            return Some(NodeId::ROOT);
        }
        self.tree.znodes().lookup_hashed(key.hash)
    }

    /// The znode as it will be (Java: `getRecordForPath`).
    pub(super) fn state(&self, key: &Key<'_>) -> Result<NodeState, ErrorCode> {
        match self.pending.get(key.hash[0], key.path) {
            Some(Some(state)) => return Ok(state.clone()),
            Some(None) => return Err(ErrorCode::NoNode),
            None => {}
        }
        let id = self.stored(key).ok_or(ErrorCode::NoNode)?;
        let znode = self.tree.znodes().view(id);
        let data = znode.data.unwrap_or_default();
        Ok(NodeState {
            stat: znode.persisted,
            child_count: i64::from(znode.stat.num_children),
            acl: PendingAcl::Stored(znode.acl),
            data_len: data.len(),
            path_and_data_crc: znode.data_crc,
        })
    }

    /// Whether the znode will exist.
    pub(super) fn exists(&self, key: &Key<'_>) -> bool {
        match self.pending.get(key.hash[0], key.path) {
            Some(state) => state.is_some(),
            None => self.stored(key).is_some(),
        }
    }

    /// The owner that the znode will have, if it will exist.
    pub(super) fn owner_of(&self, key: &Key<'_>) -> Option<i64> {
        match self.pending.get(key.hash[0], key.path) {
            Some(state) => state.map(|state| state.stat.ephemeral_owner),
            None => self.stored_owner_of(key),
        }
    }

    /// The owner that the znode has in the tree.
    pub(super) fn stored_owner_of(&self, key: &Key<'_>) -> Option<i64> {
        let id = self.stored(key)?;
        Some(self.tree.znodes().persisted(id).ephemeral_owner)
    }

    /// Whether the client may do this to a znode.
    pub(super) fn check_access(&self, acl: &PendingAcl, perm: i32) -> Result<(), ErrorCode> {
        let acl: Option<&AclList> = match acl {
            PendingAcl::Open => None,
            PendingAcl::Stored(index) => self.tree.acls().get(*index).map(|acl| &**acl),
            PendingAcl::New(acl) => Some(acl),
        };
        self.access.check(acl, perm, self.request.identities)
    }

    /// Whether a change of so many bytes and znodes stays within its quota.
    pub(super) fn check_quota(
        &mut self,
        path: &str,
        bytes: i64,
        count: i64,
    ) -> Result<(), Failure> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        let checked = check(self.tree, path, bytes, count).map_err(|_| Failure::Malformed)?;
        let Verdict::Exceeded(exceeded) = checked else { return Ok(()) };
        let is_hard = exceeded.is_hard;
        self.prepared.quota_exceeded = Some(Box::new(exceeded));
        if is_hard { Err(ErrorCode::QuotaExceeded.into()) } else { Ok(()) }
    }

    /// CRC-32 of path and data, where the digest needs it.
    pub(super) fn crc(&self, path: &str, data: &[u8]) -> u32 {
        if self.digest_enabled { extend_crc(path_crc(path), data) } else { 0 }
    }

    /// The part of a state in the digest.
    pub(super) fn digest_of(&self, key: &Key<'_>, state: &NodeState) -> i64 {
        if !self.digest_enabled || key.path.starts_with(EXCLUDED_PREFIX) {
            return 0;
        }
        i64::from(digest_of_stat(state.path_and_data_crc, &state.stat))
    }

    /// Makes a state pending, or a deletion; `before` is the part in the digest that goes.
    pub(super) fn set(&mut self, key: &Key<'_>, before: i64, after: Option<NodeState>) {
        let part = |state: &NodeState| self.digest_of(key, state);
        let part = after.as_ref().map_or(0, part);
        let digest = self.tree_digest().wrapping_sub(before).wrapping_add(part);
        self.pending.set(key.hash[0], key.path, self.request.zxid, after, digest);
    }

    /// The digest after all that is pending.
    fn tree_digest(&self) -> i64 {
        self.pending.digest().unwrap_or_else(|| self.tree.digest())
    }
}

/// The version after a change (Java: `checkAndIncVersion`); -1 expects any, and the largest
/// number is followed by the smallest.
pub(super) fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_wrap() {
        assert_eq!(next_version(3, -1), Ok(4));
        assert_eq!(next_version(3, 3), Ok(4));
        assert_eq!(next_version(3, 2), Err(ErrorCode::BadVersion));
        assert_eq!(next_version(i32::MAX, -1), Ok(i32::MIN));
        assert_eq!(next_version(-1, -1), Ok(0));
    }
}
