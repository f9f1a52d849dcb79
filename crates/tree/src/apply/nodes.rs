//! What each operation does to the znodes (Java: `DataTree.createNode`, `deleteNode`, `setData`,
//! `setACL`, `setCversionPzxid`).

use std::borrow::Cow;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{ErrorCode, OpCode, Stat, StatPersisted, Zxid};

use super::AppliedPart;
use super::record::{CreateRecord, Record};
use crate::acls::AclIndex;
use crate::changes::{ChangeKind, ChangeLog};
use crate::owners::OwnerKind;
use crate::paths;
use crate::tree::Tree;
use crate::znodes::NodeId;

impl Tree {
    /// Applies a record that is no multi.
    pub(super) fn apply_one<'t>(
        &mut self,
        header: &TxnHeader,
        record: Record<'t>,
        changes: &mut ChangeLog,
    ) -> AppliedPart<'t> {
        match record {
            Record::Create(create) => self.apply_create(header, create, changes),
            Record::Delete { op, path } => {
                let result = self.delete_node(&path, header.zxid, changes);
                part(op, path, result.map(|()| None))
            }
            Record::SetData { op, path, data, version } => {
                let result = self.set_node_data(&path, data, version, header, changes);
                part(op, path, result.map(Some))
            }
            Record::SetAcl { path, acl, version } => {
                let result = self.znodes.lookup(&path).ok_or(ErrorCode::NoNode).map(|id| {
                    let acl = self.acls.acquire(acl.as_deref());
                    let before = self.znodes.acl(id);
                    self.znodes.set_acl(id, acl, version);
                    self.acls.release(before);
                    Some(self.znodes.stat(id))
                });
                part(OpCode::SetAcl, path, result)
            }
            Record::Check { path } => part(OpCode::Check, path, Ok(None)),
            Record::CreateSession { timeout_ms } => {
                self.sessions.insert(header.client_id, timeout_ms);
                pathless(OpCode::CreateSession, ErrorCode::Ok)
            }
            Record::CloseSession { paths } => {
                self.close_session(header.client_id, &paths, header.zxid, changes);
                pathless(OpCode::CloseSession, ErrorCode::Ok)
            }
            Record::Error(err) => pathless(OpCode::Error, err),
            Record::Multi(_) => unreachable!("a multi has no multi among its parts"),
        }
    }

    fn apply_create<'t>(
        &mut self,
        header: &TxnHeader,
        create: CreateRecord<'t>,
        changes: &mut ChangeLog,
    ) -> AppliedPart<'t> {
        let mut result = self.create_node(&create, header, changes);
        // Replayed over a snapshot that already has the znode, a create still tells of its
        // parent; Java does so for this type alone.
        if create.op == OpCode::Create && result == Err(ErrorCode::NodeExists) {
            let parent = paths::split(&create.path).and_then(|(path, _)| self.znodes.lookup(path));
            match parent {
                Some(parent) => {
                    self.raise_cversion(parent, create.parent_cversion, header.zxid);
                }
                None => result = Err(ErrorCode::NoNode),
            }
        }
        let stat = match create.op {
            OpCode::Create => result.map(|_| None),
            _ => result.map(|id| Some(self.znodes.stat(id))),
        };
        part(create.op, create.path, stat)
    }

    fn create_node(
        &mut self,
        create: &CreateRecord<'_>,
        header: &TxnHeader,
        changes: &mut ChangeLog,
    ) -> Result<NodeId, ErrorCode> {
        let path = &*create.path;
        let (parent_path, name) = paths::split(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.znodes.lookup(parent_path).ok_or(ErrorCode::NoNode)?;
        let acl = self.acls.acquire(create.acl.as_deref());
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner: create.owner,
            pzxid: header.zxid,
            ..StatPersisted::default()
        };
        let inserted = match path {
            "/" => None,
            path => self.znodes.insert_path(parent, path, create.data, acl, &stat),
        };
        let Some(id) = inserted else {
            self.replace_acl(self.znodes.lookup(path).ok_or(ErrorCode::NoNode)?, acl);
            return Err(ErrorCode::NodeExists);
        };
        self.raise_cversion(parent, create.parent_cversion, header.zxid);
        self.ephemeral_listed(create.owner, path);
        self.quota_node_created(parent_path, name);
        self.charge_quota(path, create.data.map_or(0, |data| data.len() as i64), 1);
        let acl = self.acls.get(acl).cloned();
        let parent_acl = self.acls.get(self.znodes.acl(parent)).cloned();
        self.written.add(path, (path.len() + create.data.map_or(0, <[u8]>::len)) as u64);
        changes.push(ChangeKind::Created, path, header.zxid, acl, parent_acl);
        Ok(id)
    }

    /// Takes over a list that was acquired, as a replayed create does for a znode that is there.
    fn replace_acl(&mut self, id: NodeId, acl: AclIndex) {
        let before = self.znodes.view(id);
        let (before, aversion) = (before.acl, before.persisted.aversion);
        self.znodes.set_acl(id, acl, aversion);
        self.acls.release(before);
    }

    /// Sets cversion and pzxid of a parent if the cversion grows: a transaction that is replayed
    /// late must not turn them back.
    fn raise_cversion(&mut self, parent: NodeId, cversion: i32, zxid: Zxid) {
        let stat = self.znodes.persisted(parent);
        let cversion = if cversion == -1 { stat.cversion.wrapping_add(1) } else { cversion };
        if cversion > stat.cversion {
            self.znodes.set_children_stat(parent, cversion, zxid);
        }
    }

    /// Deletes a znode. Its parent hears of it even where the znode is gone already: a snapshot
    /// may have seen the deletion and not the parent's change.
    pub(super) fn delete_node(
        &mut self,
        path: &str,
        zxid: Zxid,
        changes: &mut ChangeLog,
    ) -> Result<(), ErrorCode> {
        let (parent_path, _) = paths::split(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.znodes.lookup(parent_path).ok_or(ErrorCode::NoNode)?;
        let stat = self.znodes.persisted(parent);
        if zxid > stat.pzxid {
            self.znodes.set_children_stat(parent, stat.cversion, zxid);
        }
        let id = self.znodes.lookup(path).ok_or(ErrorCode::NoNode)?;
        if id == NodeId::ROOT {
            return Err(ErrorCode::NoNode);
        }
        self.remove_descendants(id);
        let acl = self.acls.get(self.znodes.acl(id)).cloned();
        let parent_acl = self.acls.get(self.znodes.acl(parent)).cloned();
        self.remove_leaf(id, path);
        self.written.add(path, path.len() as u64);
        changes.push(ChangeKind::Deleted, path, zxid, acl, parent_acl);
        Ok(())
    }

    /// Children of a znode that is deleted come from a snapshot that has seen the future: they
    /// will be created again. Without such a snapshot there are none.
    fn remove_descendants(&mut self, id: NodeId) {
        if self.znodes.child_count(id) == 0 {
            return;
        }
        let mut found = vec![id];
        let mut next = 0;
        while next < found.len() {
            found.extend(self.znodes.children(found[next]));
            next += 1;
        }
        let mut path = String::new();
        for id in found.into_iter().skip(1).rev() {
            path.clear();
            self.znodes.path(id, &mut path);
            self.remove_leaf(id, &path);
        }
    }

    fn remove_leaf(&mut self, id: NodeId, path: &str) {
        let owner = self.znodes.persisted(id).ephemeral_owner;
        let data_len = self.znodes.data(id).map_or(0, |data| data.len() as i64);
        let acl = self.znodes.acl(id);
        self.znodes.remove(id);
        self.acls.release(acl);
        self.ephemeral_unlisted(owner, path);
        if let Some((parent_path, name)) = paths::split(path) {
            self.quota_node_deleted(parent_path, name);
        }
        self.charge_quota(path, -data_len, -1);
    }

    fn set_node_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        header: &TxnHeader,
        changes: &mut ChangeLog,
    ) -> Result<Stat, ErrorCode> {
        let id = self.znodes.lookup(path).ok_or(ErrorCode::NoNode)?;
        let set = self.znodes.set_data(id, data, header.zxid, header.time_ms, version);
        let acl = self.acls.get(set.acl).cloned();
        self.charge_quota(path, set.growth, 0);
        self.written.add(path, (path.len() + data.map_or(0, <[u8]>::len)) as u64);
        changes.push(ChangeKind::DataChanged, path, header.zxid, acl, None);
        Ok(set.stat)
    }

    /// Whether an owner as stored is a session.
    pub(super) fn is_session(&self, owner: i64) -> bool {
        owner != 0 && matches!(self.config.owner_rules().kind(owner), OwnerKind::Ephemeral(_))
    }
}

fn part<'t>(
    op: OpCode,
    path: Cow<'t, str>,
    result: Result<Option<Stat>, ErrorCode>,
) -> AppliedPart<'t> {
    let (err, stat) = match result {
        Ok(stat) => (ErrorCode::Ok, stat),
        Err(err) => (err, None),
    };
    AppliedPart { op, err, path: Some(path), stat }
}

fn pathless(op: OpCode, err: ErrorCode) -> AppliedPart<'static> {
    AppliedPart { op, err, path: None, stat: None }
}
