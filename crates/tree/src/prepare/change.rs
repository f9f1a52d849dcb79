//! delete, deleteContainer, setData, setACL and check (Java: `pRequest2Txn`).

use rookeeper_jute::data::perms;
use rookeeper_jute::proto::{
    CheckVersionRequest, DeleteContainerRequest, DeleteRequest, SetAclRequest, SetDataRequest,
};
use rookeeper_jute::{Encode, ErrorCode};

use super::create::pending_acl;
use super::pending::NodeState;
use super::step::{Failure, Key, Step, next_version};
use crate::owners::OwnerKind;
use crate::paths;
use crate::quota;

impl Step<'_> {
    /// Checks in Java's order: session, slash, NUL and special paths, the parent, access to it,
    /// the znode, its version, its children.
    pub(super) fn delete(
        &mut self,
        delete: &DeleteRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.request.session_check?;
        let path = delete.path.as_deref().ok_or(Failure::Malformed)?;
        let parent_path = paths::parent_for_delete(path).ok_or(ErrorCode::BadArguments)?;
        let parent_key = self.key(parent_path);
        let parent = self.state(&parent_key)?;
        self.check_access(&parent.acl, perms::DELETE)?;
        let key = self.key(path);
        let node = self.state(&key)?;
        next_version(node.stat.version, delete.version)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty.into());
        }
        path.encode(out);
        self.fits(out)?;
        self.set_deleted(&parent_key, parent, &key, &node);
        Ok(())
    }

    /// As Java, without a look at session, access and version: a server asks for it itself, and
    /// what it may delete is empty and nobody's.
    pub(super) fn delete_container(
        &mut self,
        delete: &DeleteContainerRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let path = delete.path.as_deref().ok_or(Failure::Malformed)?;
        let parent_path = paths::parent_for_delete(path).ok_or(ErrorCode::BadArguments)?;
        let key = self.key(path);
        let node = self.state(&key)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty.into());
        }
        match self.tree.config().owner_rules().kind(node.stat.ephemeral_owner) {
            OwnerKind::Ephemeral(_) => return Err(ErrorCode::BadVersion.into()),
            OwnerKind::Unknown => return Err(Failure::Malformed),
            OwnerKind::Persistent | OwnerKind::Container | OwnerKind::Ttl(_) => {}
        }
        let parent_key = self.key(parent_path);
        let parent = self.state(&parent_key)?;
        path.encode(out);
        self.fits(out)?;
        self.set_deleted(&parent_key, parent, &key, &node);
        Ok(())
    }

    /// Makes a deletion pending.
    pub(super) fn set_deleted(
        &mut self,
        parent_key: &Key<'_>,
        mut parent: NodeState,
        key: &Key<'_>,
        node: &NodeState,
    ) {
        let before = self.digest_of(parent_key, &parent);
        parent.child_count -= 1;
        parent.stat.pzxid = self.request.zxid;
        self.set(parent_key, before, Some(parent));
        self.set(key, self.digest_of(key, node), None);
    }

    /// Checks in Java's order: session, the path's syntax, the znode, access to it, quota,
    /// version. Beyond Java, statistics that would end a Java server are refused.
    pub(super) fn set_data(
        &mut self,
        set: &SetDataRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.request.session_check?;
        let path = valid_path(set.path.as_deref())?;
        let key = self.key(path);
        let mut node = self.state(&key)?;
        self.check_access(&node.acl, perms::WRITE)?;
        if quota::are_unreadable_statistics(path, set.data) {
            return Err(ErrorCode::BadArguments.into());
        }
        let data = set.data.unwrap_or_default();
        self.check_quota(path, data.len() as i64 - node.data_len as i64, 0)?;
        let version = next_version(node.stat.version, set.version)?;
        path.encode(out);
        set.data.encode(out);
        version.encode(out);
        self.fits(out)?;

        let before = self.digest_of(&key, &node);
        node.stat.version = version;
        node.stat.mtime = self.request.time_ms;
        node.stat.mzxid = self.request.zxid;
        node.data_len = data.len();
        node.path_and_data_crc = self.crc(path, data);
        self.set(&key, before, Some(node));
        Ok(())
    }

    /// Checks in Java's order: session, the path's syntax, the list, the znode, access to it, the
    /// version of its list.
    pub(super) fn set_acl(
        &mut self,
        set: SetAclRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.request.session_check?;
        let path = valid_path(set.path.as_deref())?;
        let acl = self.access.fix_up(set.acl, self.request.identities)?;
        let key = self.key(path);
        let mut node = self.state(&key)?;
        self.check_access(&node.acl, perms::ADMIN)?;
        let version = next_version(node.stat.aversion, set.version)?;
        path.encode(out);
        acl.encode(out);
        version.encode(out);
        self.fits(out)?;

        let before = self.digest_of(&key, &node);
        node.stat.aversion = version;
        node.acl = pending_acl(acl);
        self.set(&key, before, Some(node));
        Ok(())
    }

    /// Checks in Java's order: session, the path's syntax, the znode, access to it, its version.
    pub(super) fn check(
        &mut self,
        check: &CheckVersionRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.request.session_check?;
        let path = valid_path(check.path.as_deref())?;
        let node = self.state(&self.key(path))?;
        self.check_access(&node.acl, perms::READ)?;
        let version = next_version(node.stat.version, check.version)?;
        path.encode(out);
        version.encode(out);
        self.fits(out)
    }
}

/// A path that may name a znode; null is a bad argument here.
fn valid_path(path: Option<&str>) -> Result<&str, ErrorCode> {
    path.filter(|path| paths::is_valid(path)).ok_or(ErrorCode::BadArguments)
}
