//! Where the znodes are kept.

use std::collections::BTreeMap;

use rookeeper_jute::{Stat, StatPersisted, Zxid};

use crate::acls::AclIndex;
use crate::digest;
use crate::owners::{OwnerRules, Owners};

/// A znode's place in memory: good until the znode is removed, then used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The root, which every tree has.
    pub const ROOT: NodeId = NodeId(0);
}

#[derive(Debug)]
struct Znode {
    parent: Option<NodeId>,
    name: String,
    data: Option<Vec<u8>>,
    acl: AclIndex,
    stat: StatPersisted,
    children: Vec<NodeId>,
    descendants: u64,
    subtree_bytes: u64,
}

/// The znodes of a tree. Access control lists are numbers here: who inserts or removes a znode or
/// changes its list counts the uses in the [`crate::AclTable`].
#[derive(Debug)]
pub struct Znodes {
    nodes: Vec<Option<Znode>>,
    by_path: BTreeMap<String, NodeId>,
    owners: Owners,
    digest_enabled: bool,
    digest: i64,
    data_size: i64,
}

impl Znodes {
    /// A root without data, with a stat of zeros, open to all.
    pub fn new(_index_key: [u64; 2], rules: OwnerRules, digest_enabled: bool) -> Self {
        let mut znodes = Znodes {
            nodes: Vec::new(),
            by_path: BTreeMap::new(),
            owners: Owners::new(rules),
            digest_enabled,
            digest: 0,
            data_size: 0,
        };
        znodes.put(None, "", "", Some(b""), AclIndex::OPEN, &StatPersisted::default());
        znodes.data_size = 1;
        znodes
    }

    /// The znode of a path; `""` and `"/"` are the root.
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        let path = if path == "/" { "" } else { path };
        self.by_path.get(path).copied()
    }

    /// Appends the znode's path to `out`; the root's is `"/"`.
    pub fn path(&self, id: NodeId, out: &mut String) {
        let mut ids = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at.filter(|id| *id != NodeId::ROOT) {
            ids.push(id);
            at = self.parent(id);
        }
        if ids.is_empty() {
            out.push('/');
        }
        for id in ids.into_iter().rev() {
            out.push('/');
            out.push_str(self.name(id));
        }
    }

    /// The parent, `None` for the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.get(id).parent
    }

    /// The last component of the path, `""` for the root.
    pub fn name(&self, id: NodeId) -> &str {
        &self.get(id).name
    }

    /// The data; `None` is null, which is distinct from empty.
    pub fn data(&self, id: NodeId) -> Option<&[u8]> {
        self.get(id).data.as_deref()
    }

    /// The stat as stored.
    pub fn persisted(&self, id: NodeId) -> StatPersisted {
        self.get(id).stat
    }

    /// The stat as clients see it (Java: `DataNode.copyStat`).
    pub fn stat(&self, id: NodeId) -> Stat {
        let stat = self.persisted(id);
        let num_children = self.child_count(id) as i32;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: stat.aversion,
            ephemeral_owner: self.owners.rules().visible(stat.ephemeral_owner),
            data_length: self.data(id).map_or(0, <[u8]>::len) as i32,
            num_children,
            pzxid: stat.pzxid,
        }
    }

    /// The number of the access control list.
    pub fn acl(&self, id: NodeId) -> AclIndex {
        self.get(id).acl
    }

    /// How many children there are.
    pub fn child_count(&self, id: NodeId) -> usize {
        self.get(id).children.len()
    }

    /// The children in czxid order; children of one transaction in the order of their creation,
    /// or of their names if they come from a snapshot.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.get(id).children.iter().copied()
    }

    /// How many znodes are below this one, without a walk.
    pub fn descendants(&self, id: NodeId) -> u64 {
        self.get(id).descendants
    }

    /// The data of this znode and of all below it, in bytes, without a walk.
    pub fn subtree_bytes(&self, id: NodeId) -> u64 {
        let own = self.data(id).map_or(0, <[u8]>::len) as u64;
        own + self.get(id).subtree_bytes
    }

    /// Adds a child, which must not be there yet. The parent's own stat stays as it is: see
    /// [`Znodes::set_children_stat`].
    pub fn insert(
        &mut self,
        parent: NodeId,
        name: &str,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) -> NodeId {
        let mut path = String::new();
        if parent != NodeId::ROOT {
            self.path(parent, &mut path);
        }
        path.push('/');
        path.push_str(name);
        self.put(Some(parent), name, &path, data, acl, stat)
    }

    /// Removes a znode that has no children and is not the root. The parent's own stat stays as it
    /// is: see [`Znodes::set_children_stat`].
    pub fn remove(&mut self, id: NodeId) {
        let mut path = String::new();
        self.path(id, &mut path);
        self.take_digest(id);
        let node = self.nodes[id.0 as usize].take().expect("the znode is there");
        assert!(node.children.is_empty(), "a znode with children is not removed");
        self.by_path.remove(&path);
        self.owners.remove(node.stat.ephemeral_owner, id);
        let len = node.data.as_deref().map_or(0, <[u8]>::len) as i64;
        self.data_size -= path.encode_utf16().count() as i64 + len;
        let parent = node.parent.expect("the root is not removed");
        self.get_mut(parent).children.retain(|child| *child != id);
        self.count(parent, -1, -len);
    }

    /// Sets the data with what the transaction says of it.
    pub fn set_data(
        &mut self,
        id: NodeId,
        data: Option<&[u8]>,
        mzxid: Zxid,
        mtime: i64,
        version: i32,
    ) {
        self.take_digest(id);
        let node = self.get_mut(id);
        let before = node.data.as_deref().map_or(0, <[u8]>::len) as i64;
        let change = data.map_or(0, <[u8]>::len) as i64 - before;
        node.data = data.map(<[u8]>::to_vec);
        (node.stat.mzxid, node.stat.mtime, node.stat.version) = (mzxid, mtime, version);
        if let Some(parent) = node.parent {
            self.count(parent, 0, change);
        }
        self.data_size += change;
        self.add_digest(id);
    }

    /// Sets the access control list.
    pub fn set_acl(&mut self, id: NodeId, acl: AclIndex, aversion: i32) {
        self.take_digest(id);
        let node = self.get_mut(id);
        node.acl = acl;
        node.stat.aversion = aversion;
        self.add_digest(id);
    }

    /// Sets what the stat says of the children.
    pub fn set_children_stat(&mut self, id: NodeId, cversion: i32, pzxid: Zxid) {
        self.take_digest(id);
        let stat = &mut self.get_mut(id).stat;
        (stat.cversion, stat.pzxid) = (cversion, pzxid);
        self.add_digest(id);
    }

    /// The znode's part in the digest, whether or not digests are enabled.
    pub fn digest_of(&self, id: NodeId) -> i64 {
        self.digest_with(id, &self.persisted(id))
    }

    /// What the znode's part in the digest would be with another stat.
    pub fn digest_with(&self, id: NodeId, stat: &StatPersisted) -> i64 {
        let mut path = String::new();
        self.path(id, &mut path);
        digest::node_digest(&path, self.data(id), stat)
    }

    /// The digest of all, version 2; 0 where digests are disabled.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// How many znodes there are, the root once.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Paths in UTF-16 units and data in bytes, of all znodes (Java: `approximateDataSize`).
    pub fn data_size(&self) -> i64 {
        self.data_size
    }

    /// Ephemerals, containers and times to live.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    fn put(
        &mut self,
        parent: Option<NodeId>,
        name: &str,
        path: &str,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        assert!(self.by_path.insert(path.to_owned(), id).is_none(), "{path} is there already");
        self.owners.insert(stat.ephemeral_owner, id);
        let data = data.map(<[u8]>::to_vec);
        let len = data.as_deref().map_or(0, <[u8]>::len) as i64;
        self.nodes.push(Some(Znode {
            parent,
            name: name.to_owned(),
            data,
            acl,
            stat: *stat,
            children: Vec::new(),
            descendants: 0,
            subtree_bytes: 0,
        }));
        self.data_size += path.encode_utf16().count() as i64 + len;
        if let Some(parent) = parent {
            self.get_mut(parent).children.push(id);
            self.count(parent, 1, len);
        }
        self.add_digest(id);
        id
    }

    fn get(&self, id: NodeId) -> &Znode {
        self.nodes[id.0 as usize].as_ref().expect("the znode is there")
    }

    fn get_mut(&mut self, id: NodeId) -> &mut Znode {
        self.nodes[id.0 as usize].as_mut().expect("the znode is there")
    }

    fn count(&mut self, from: NodeId, znodes: i64, bytes: i64) {
        let mut at = Some(from);
        while let Some(id) = at {
            let node = self.get_mut(id);
            node.descendants = node.descendants.wrapping_add_signed(znodes);
            node.subtree_bytes = node.subtree_bytes.wrapping_add_signed(bytes);
            at = node.parent;
        }
    }

    fn take_digest(&mut self, id: NodeId) {
        if self.digest_enabled {
            self.digest = self.digest.wrapping_sub(self.digest_of(id));
        }
    }

    fn add_digest(&mut self, id: NodeId) {
        if self.digest_enabled {
            self.digest = self.digest.wrapping_add(self.digest_of(id));
        }
    }
}
