//! A tree from a snapshot's records.

use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};

use crate::acls::AclIndex;
use crate::owners::OwnerKind;
use crate::tree::{Tree, TreeConfig};
use crate::znodes::NodeId;

/// Why records are not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A znode before its parent, or without one. Java refuses it too.
    #[error("unable to find the parent of {path}")]
    NoParent {
        /// The znode's path.
        path: String,
    },
    /// A path twice.
    #[error("{path} stands twice in the snapshot")]
    Duplicate {
        /// The znode's path.
        path: String,
    },
    /// An owner of an extended type that nobody knows, where extended types are enabled.
    #[error("{path} has the invalid ephemeralOwner 0x{owner:x}")]
    UnknownOwner {
        /// The znode's path.
        path: String,
        /// The owner as stored.
        owner: i64,
    },
    /// No root.
    #[error("the snapshot has no root znode")]
    NoRoot,
}

/// Builds a tree from a snapshot's records, parents first (Java: `DataTree.deserialize`).
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    root_seen: bool,
    /// The parent of the last znode: siblings often follow one another.
    parent: NodeId,
    parent_path: String,
}

impl TreeLoader {
    /// Starts with nothing.
    pub fn new(config: TreeConfig) -> Self {
        let mut tree = Tree::bare(config);
        tree.znodes.set_loading(true);
        TreeLoader { tree, root_seen: false, parent: NodeId::ROOT, parent_path: String::new() }
    }

    /// One session of the snapshot.
    pub fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(id, timeout_ms);
    }

    /// One access control list of the snapshot.
    pub fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) {
        self.tree.acls.load(AclIndex(index), &acl);
    }

    /// One znode of the snapshot; the root is `""`.
    ///
    /// # Errors
    /// What no snapshot of a ZooKeeper server has.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), LoadError> {
        let kind = self.tree.config.owner_rules().kind(stat.ephemeral_owner);
        if kind == OwnerKind::Unknown {
            let owner = stat.ephemeral_owner;
            return Err(LoadError::UnknownOwner { path: path.to_owned(), owner });
        }
        let acl = AclIndex(acl_index);
        if !self.tree.acls.contains(acl) {
            self.tree.acls.load_missing(acl);
        }
        if path.is_empty() {
            return self.root(data, acl, stat);
        }
        let parent = self.parent_of(path)?;
        let znodes = &mut self.tree.znodes;
        if znodes.insert_path(parent, path, data, acl, stat).is_none() {
            return Err(LoadError::Duplicate { path: path.to_owned() });
        }
        self.tree.acls.add_usage(acl);
        Ok(())
    }

    /// The tree, whose last transaction is `zxid`.
    ///
    /// # Errors
    /// If there was no root.
    pub fn finish(mut self, zxid: Zxid) -> Result<Tree, LoadError> {
        if !self.root_seen {
            return Err(LoadError::NoRoot);
        }
        self.tree.acls.purge_unused();
        self.tree.znodes.set_loading(false);
        self.tree.znodes.sort_disordered_children();
        self.tree.last_processed_zxid = zxid;
        self.tree.set_up_quotas();
        self.tree.set_up_ephemeral_lists();
        Ok(self.tree)
    }

    fn root(
        &mut self,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) -> Result<(), LoadError> {
        if self.root_seen {
            return Err(LoadError::Duplicate { path: String::new() });
        }
        self.tree.znodes.replace_root(data, acl, stat);
        self.tree.acls.add_usage(acl);
        self.root_seen = true;
        Ok(())
    }

    /// The parent of the znode at `path`.
    fn parent_of(&mut self, path: &str) -> Result<NodeId, LoadError> {
        let no_parent = || LoadError::NoParent { path: path.to_owned() };
        let (parent_path, name) = path.rsplit_once('/').ok_or_else(no_parent)?;
        if !self.root_seen || name.is_empty() {
            return Err(no_parent());
        }
        if parent_path != self.parent_path {
            self.parent = self.tree.znodes.lookup(parent_path).ok_or_else(no_parent)?;
            self.parent_path.clear();
            self.parent_path.push_str(parent_path);
        }
        Ok(self.parent)
    }
}
