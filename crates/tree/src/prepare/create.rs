//! create, create2, createContainer and createTTL (Java: `pRequest2TxnCreate`).

use std::borrow::Cow;
use std::sync::Arc;

use rookeeper_jute::data::perms;
use rookeeper_jute::{Acl, CreateMode, Encode, ErrorCode, OpCode, StatPersisted};

use super::pending::{NodeState, PendingAcl};
use super::request::Create;
use super::step::{Failure, Step};
use crate::acls::AclList;
use crate::owners::{CONTAINER_OWNER, EXTENDED_MASK, OwnerKind, TTL_MS_MAX};
use crate::paths;
use crate::quota;

/// What closing a session takes beside its list of paths, in bytes: header, count and digest.
const CLOSE_SESSION_LEN: usize = 32 + 4 + 12;

/// The end of the transaction's record, which tells its kinds apart.
fn encode_kind((op, ttl_ms): (OpCode, i64), is_ephemeral: bool, cversion: i32, out: &mut Vec<u8>) {
    match op {
        OpCode::CreateContainer => cversion.encode(out),
        OpCode::CreateTtl => {
            cversion.encode(out);
            ttl_ms.encode(out);
        }
        _ => {
            is_ephemeral.encode(out);
            cversion.encode(out);
        }
    }
}

impl Step<'_> {
    /// Checks in Java's order: flags, time to live, session, slash and NUL, the list, the parent,
    /// access to it, the path's syntax, the znode itself, an ephemeral parent, quota.
    pub(super) fn create(&mut self, create: Create<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
        self.check_ttl(create.op, mode, create.ttl_ms)?;
        self.check_session_for(mode)?;
        let path = create.path.as_deref().ok_or(Failure::Malformed)?;
        let parent_path = paths::parent_for_create(path).ok_or(ErrorCode::BadArguments)?;
        let acl = self.access.fix_up(create.acl, self.request.identities)?;
        let parent_key = self.key(parent_path);
        let mut parent = self.state(&parent_key)?;
        self.check_access(&parent.acl, perms::CREATE)?;
        let path = numbered(path, mode, parent.stat.cversion)?;
        let key = self.key(&path);
        if self.exists(&key) {
            return Err(ErrorCode::NodeExists.into());
        }
        match self.tree.config().owner_rules().kind(parent.stat.ephemeral_owner) {
            OwnerKind::Ephemeral(_) => return Err(ErrorCode::NoChildrenForEphemerals.into()),
            OwnerKind::Unknown => return Err(Failure::Malformed),
            OwnerKind::Persistent | OwnerKind::Container | OwnerKind::Ttl(_) => {}
        }
        let data = create.data.unwrap_or_default();
        self.check_quota(&path, data.len() as i64, 1)?;

        let owner = self.owner(create.op, mode, create.ttl_ms);
        let is_ephemeral = mode.is_ephemeral() && create.op != OpCode::CreateContainer;
        if is_ephemeral {
            self.check_close_session(&path)?;
        }
        let cversion = parent.stat.cversion.wrapping_add(1);
        path.encode(out);
        create.data.encode(out);
        acl.encode(out);
        encode_kind((create.op, create.ttl_ms), is_ephemeral, cversion, out);
        self.fits(out)?;

        let zxid = self.request.zxid;
        let before = self.digest_of(&parent_key, &parent);
        parent.child_count += 1;
        parent.stat.cversion = cversion;
        parent.stat.pzxid = zxid;
        self.set(&parent_key, before, Some(parent));
        if is_ephemeral {
            self.pending.own(self.request.session, zxid, key.hash[0], list_len(&path));
        }
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: self.request.time_ms,
            mtime: self.request.time_ms,
            ephemeral_owner: owner,
            pzxid: zxid,
            ..StatPersisted::default()
        };
        let node = NodeState {
            stat,
            child_count: 0,
            acl: pending_acl(acl),
            data_len: data.len(),
            path_and_data_crc: self.crc(&path, data),
        };
        self.set(&key, 0, Some(node));
        Ok(())
    }

    /// Java: `validateCreateRequest`. Beyond it, createTTL without a TTL mode is refused: Java
    /// makes a transaction of it that its own tree cannot apply.
    fn check_ttl(&self, op: OpCode, mode: CreateMode, ttl_ms: i64) -> Result<(), ErrorCode> {
        if !mode.is_ttl() {
            let is_plain = ttl_ms < 0 && op != OpCode::CreateTtl;
            return if is_plain { Ok(()) } else { Err(ErrorCode::BadArguments) };
        }
        if !self.tree.config().extended_types_enabled {
            return Err(ErrorCode::Unimplemented);
        }
        if (1..=TTL_MS_MAX).contains(&ttl_ms) { Ok(()) } else { Err(ErrorCode::BadArguments) }
    }

    /// Java: `checkGlobalSession` for ephemerals, to which an unknown session is an expired one.
    fn check_session_for(&self, mode: CreateMode) -> Result<(), ErrorCode> {
        match self.request.session_check {
            Err(ErrorCode::UnknownSession) if mode.is_ephemeral() => Err(ErrorCode::SessionExpired),
            Ok(()) if mode.is_ephemeral() => self.request.ephemeral_check,
            result => result,
        }
    }

    /// The owner that applying the transaction gives the znode. Where flags and opcode disagree
    /// about containers, the transaction's type decides.
    fn owner(&self, op: OpCode, mode: CreateMode, ttl_ms: i64) -> i64 {
        match op {
            OpCode::CreateContainer => CONTAINER_OWNER,
            OpCode::CreateTtl => EXTENDED_MASK | ttl_ms,
            _ if mode.is_ephemeral() => self.request.session.0,
            _ => 0,
        }
    }

    /// Whether closing the session stays a transaction that can be read back, with one ephemeral
    /// more.
    fn check_close_session(&self, path: &str) -> Result<(), Failure> {
        if !self.config.close_session_txn_enabled {
            return Ok(());
        }
        let session = self.request.session;
        let applied = self.tree.ephemerals_list_len(session);
        let list_len = applied + self.pending.owned_list_len(session) + list_len(path);
        if CLOSE_SESSION_LEN + list_len > self.config.txn_len_max {
            return Err(Failure::Malformed);
        }
        Ok(())
    }
}

/// The path of the new znode: with its number where it is sequential. Beyond Java's rules, limits
/// that would end a Java server are refused.
fn numbered(path: &str, mode: CreateMode, number: i32) -> Result<Cow<'_, str>, ErrorCode> {
    let path = match mode.is_sequential() {
        true => Cow::Owned(format!("{path}{number:010}")),
        false => Cow::Borrowed(path),
    };
    let allowed = paths::is_valid(&path) && !quota::are_limits_that_end_java(&path);
    if allowed { Ok(path) } else { Err(ErrorCode::BadArguments) }
}

/// What a path adds to the list of a session's ephemerals, in bytes.
pub(crate) fn list_len(path: &str) -> usize {
    4 + path.len()
}

/// The list as it bears on what comes next.
pub(super) fn pending_acl(acl: Vec<Acl<'_>>) -> PendingAcl {
    match acl.as_slice() {
        [only] if *only == Acl::open_unsafe() => PendingAcl::Open,
        _ => PendingAcl::New(Arc::new(AclList::new(acl))),
    }
}
