//! What a member of an ensemble puts into its tree by itself, without a transaction.

use rookeeper_jute::{StatPersisted, Zxid};

use crate::acls::AclList;
use crate::tree::Tree;
use crate::znodes::NodeId;

/// Where clients read the configuration (Java: `ZooDefs.CONFIG_NODE`).
const CONFIG_PATH: &str = "/zookeeper/config";

impl Tree {
    /// Shows a configuration in `/zookeeper/config`, changed by the transaction `version`
    /// (Java: `ZKDatabase.initConfigInZKDatabase`). The initial configuration stands in no
    /// transaction, and a committed one may be heard of before its transaction. The znode counts
    /// in no digest. Nothing is written where it is shown already.
    pub fn set_config(&mut self, text: &[u8], version: Zxid, time_ms: i64) {
        let id = match self.znodes.lookup(CONFIG_PATH) {
            Some(id) => id,
            None => self.insert_config(),
        };
        let shown = self.znodes.data(id) == Some(text);
        if !shown || self.znodes.persisted(id).mzxid != version {
            self.znodes.set_data(id, Some(text), version, time_ms, -1);
        }
    }

    /// A snapshot of a server from before there were configurations lacks the znode.
    fn insert_config(&mut self) -> NodeId {
        let stat = StatPersisted::default();
        let zookeeper = match self.znodes.lookup("/zookeeper") {
            Some(id) => id,
            None => {
                let open = crate::AclIndex::OPEN;
                self.znodes.insert(NodeId::ROOT, "zookeeper", Some(b""), open, &stat)
            }
        };
        let read = self.acls.acquire(Some(AclList::read_unsafe().entries()));
        let stat = StatPersisted { aversion: -1, ..stat };
        self.znodes.insert(zookeeper, "config", Some(b""), read, &stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeConfig;

    #[test]
    fn the_configuration_shows_and_counts_in_no_digest() {
        let mut tree = Tree::new(TreeConfig::default());
        let digest = tree.digest();
        tree.set_config(b"version=100000000", Zxid(1 << 32), 7);
        let node = tree.node(CONFIG_PATH).expect("part of every tree");
        assert_eq!(node.data(), Some(&b"version=100000000"[..]));
        assert_eq!(
            (node.stat().mzxid, node.stat().mtime, node.stat().version),
            (Zxid(1 << 32), 7, -1)
        );
        assert_eq!(tree.digest(), digest);
        tree.set_config(b"version=100000000", Zxid(1 << 32), 8);
        assert_eq!(tree.node(CONFIG_PATH).expect("still").stat().mtime, 7, "shown already");
    }
}
