//! The tree and what it tells without a question: znodes, counts, sessions, digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::{SessionId, Stat, StatPersisted, Zxid};

use crate::acls::{AclList, AclTable};
use crate::namespaces::Namespaces;
use crate::owners::{OwnerKind, OwnerRules};
use crate::quota::QuotaRoots;
use crate::sessions::SessionTable;
use crate::znodes::{NodeId, Znodes};

/// What a tree is told once.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreeConfig {
    /// Key of the index of paths, drawn at random by whoever makes a tree, so that no client can
    /// choose paths that collide.
    pub index_key: [u64; 2],
    /// `zookeeper.digest.enabled`.
    pub digest_enabled: bool,
    /// `zookeeper.extendedTypesEnabled`.
    pub extended_types_enabled: bool,
    /// `zookeeper.emulate353TTLNodes`.
    pub emulate_353_ttl_nodes: bool,
}

impl TreeConfig {
    /// How owners are read.
    pub fn owner_rules(&self) -> OwnerRules {
        OwnerRules {
            extended_types_enabled: self.extended_types_enabled,
            emulate_353_ttl_nodes: self.emulate_353_ttl_nodes,
        }
    }
}

/// The replicated state: everything that a snapshot holds is in it.
#[derive(Debug)]
pub struct Tree {
    pub(crate) config: TreeConfig,
    pub(crate) znodes: Znodes,
    pub(crate) acls: AclTable,
    pub(crate) sessions: SessionTable,
    pub(crate) last_processed_zxid: Zxid,
    pub(crate) quota_roots: QuotaRoots,
    /// Bytes that the paths of each session's ephemerals take in its closeSession transaction.
    pub(crate) ephemeral_lists: BTreeMap<SessionId, usize>,
    /// See [`Tree::begin_overlap`].
    pub(crate) overlap: bool,
    /// Bytes written by namespace since the tree was made.
    pub(crate) written: Namespaces,
}

impl Tree {
    /// The tree that a new server starts with: the root and `/zookeeper` with `quota` and
    /// `config`, all with a stat of zeros (Java: the constructor of `DataTree`).
    pub fn new(config: TreeConfig) -> Tree {
        let mut tree = Tree::bare(config);
        let stat = StatPersisted::default();
        let open = crate::AclIndex::OPEN;
        let zookeeper = tree.znodes.insert(NodeId::ROOT, "zookeeper", Some(b""), open, &stat);
        tree.znodes.insert(zookeeper, "quota", Some(b""), open, &stat);
        let read = tree.acls.acquire(Some(AclList::read_unsafe().entries()));
        let stat = StatPersisted { aversion: -1, ..stat };
        tree.znodes.insert(zookeeper, "config", Some(b""), read, &stat);
        tree
    }

    /// Nothing but a root.
    pub(crate) fn bare(config: TreeConfig) -> Tree {
        Tree {
            config,
            znodes: Znodes::new(config.index_key, config.owner_rules(), config.digest_enabled),
            acls: AclTable::new(),
            sessions: SessionTable::new(),
            last_processed_zxid: Zxid::ZERO,
            quota_roots: QuotaRoots::new(),
            ephemeral_lists: BTreeMap::new(),
            written: Namespaces::default(),
            overlap: false,
        }
    }

    /// Bytes written since the tree was made or the figures began anew, by the first name of their
    /// path.
    pub fn written_by_namespace(&self) -> &Namespaces {
        &self.written
    }

    /// Starts the figures of what was written anew (four-letter word `srst`).
    pub fn reset_written(&mut self) {
        self.written.reset();
    }

    /// What the tree was told when it was made.
    pub fn config(&self) -> &TreeConfig {
        &self.config
    }

    /// The last transaction that is in the tree.
    pub fn last_processed_zxid(&self) -> Zxid {
        self.last_processed_zxid
    }

    /// Takes the start of an epoch for the last transaction, as a new leader does (Java:
    /// `Leader.startZkServer`); nothing else changes. A start that is past is ignored.
    pub fn begin_epoch(&mut self, start: Zxid) {
        self.last_processed_zxid = self.last_processed_zxid.max(start);
    }

    /// The digest, version 2, as Java computes it; 0 where digests are disabled.
    pub fn digest(&self) -> i64 {
        self.znodes.digest()
    }

    /// The znode of a path; `""` and `"/"` are the root.
    pub fn node(&self, path: &str) -> Option<Node<'_>> {
        self.znodes.lookup(path).map(|id| Node { tree: self, id })
    }

    /// The storage of the znodes.
    pub fn znodes(&self) -> &Znodes {
        &self.znodes
    }

    /// The table of access control lists.
    pub fn acls(&self) -> &AclTable {
        &self.acls
    }

    /// The open sessions.
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// The subtrees that have a quota.
    pub fn quota_roots(&self) -> &QuotaRoots {
        &self.quota_roots
    }

    /// How many znodes there are as Java counts them: the root has two names and counts twice.
    pub fn znode_count(&self) -> usize {
        self.znodes.len() + 1
    }

    /// Paths in UTF-16 units and data in bytes, of all znodes.
    pub fn approximate_data_size(&self) -> i64 {
        self.znodes.data_size()
    }

    /// How many ephemeral znodes there are.
    pub fn ephemerals_count(&self) -> usize {
        self.znodes.owners().ephemerals_len()
    }

    /// The paths of a session's ephemeral znodes.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = String> + '_ {
        self.znodes.owners().ephemerals(session).map(|id| self.path_of(id))
    }

    /// The sessions that have ephemeral znodes, in id order.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.znodes.owners().sessions()
    }

    /// The paths of the containers.
    pub fn containers(&self) -> impl Iterator<Item = String> + '_ {
        self.znodes.owners().containers().map(|id| self.path_of(id))
    }

    /// The paths of the znodes with a time to live, and that time in milliseconds.
    pub fn ttls(&self) -> impl Iterator<Item = (String, i64)> + '_ {
        let rules = self.config.owner_rules();
        self.znodes.owners().ttls().filter_map(move |id| {
            match rules.kind(self.znodes.persisted(id).ephemeral_owner) {
                OwnerKind::Ttl(ttl_ms) => Some((self.path_of(id), ttl_ms)),
                _ => None,
            }
        })
    }

    fn path_of(&self, id: NodeId) -> String {
        let mut path = String::new();
        self.znodes.path(id, &mut path);
        path
    }
}

/// A znode as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Node<'t> {
    tree: &'t Tree,
    id: NodeId,
}

impl<'t> Node<'t> {
    /// The znode's place in [`Tree::znodes`].
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The full path.
    pub fn path(&self) -> String {
        self.tree.path_of(self.id)
    }

    /// The last component of the path.
    pub fn name(&self) -> &'t str {
        self.tree.znodes.name(self.id)
    }

    /// The data; `None` is null.
    pub fn data(&self) -> Option<&'t [u8]> {
        self.tree.znodes.data(self.id)
    }

    /// The stat as clients see it.
    pub fn stat(&self) -> Stat {
        self.tree.znodes.stat(self.id)
    }

    /// The stat as stored.
    pub fn persisted(&self) -> StatPersisted {
        self.tree.znodes.persisted(self.id)
    }

    /// The access control list; `None` where the znode is open to all.
    pub fn acl(&self) -> Option<&'t Arc<AclList>> {
        self.tree.acls.get(self.tree.znodes.acl(self.id))
    }

    /// What the stored owner means.
    pub fn owner(&self) -> OwnerKind {
        self.tree.config.owner_rules().kind(self.persisted().ephemeral_owner)
    }

    /// How many children there are.
    pub fn child_count(&self) -> usize {
        self.tree.znodes.child_count(self.id)
    }

    /// The children in czxid order.
    pub fn children(&self) -> impl Iterator<Item = Node<'t>> + 't {
        let tree = self.tree;
        tree.znodes.children(self.id).map(move |id| Node { tree, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_tree_has_what_java_creates() {
        let tree = Tree::new(TreeConfig { digest_enabled: true, ..TreeConfig::default() });
        assert_eq!(tree.znode_count(), 5);
        let names: Vec<_> =
            tree.node("/zookeeper").expect("there").children().map(|n| n.path()).collect();
        assert_eq!(names, ["/zookeeper/quota", "/zookeeper/config"]);
        let config = tree.node("/zookeeper/config").expect("there");
        assert_eq!(config.persisted(), StatPersisted { aversion: -1, ..Default::default() });
        assert_eq!(config.acl().map(|acl| acl.as_ref()), Some(&AclList::read_unsafe()));
        let root = tree.node("/").expect("there");
        assert_eq!((root.id(), root.stat().cversion), (tree.node("").expect("there").id(), -1));
        // "" and "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"
        assert_eq!(tree.approximate_data_size(), 1 + 10 + 16 + 17);
    }
}
