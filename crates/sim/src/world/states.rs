//! Servers that are at the same transaction hold the same, down to each stat; and so does what a
//! start would find on their disks.

use rookeeper_jute::{SessionId, Zxid};
use rookeeper_tree::{Node, Tree};

use super::World;

/// What each server has of its own: its configuration is put there, and in no digest.
const CONFIG_PATH: &str = "/zookeeper/config";

/// What differs between two trees; `None` if they are equal.
pub(crate) fn difference(one: &Tree, other: &Tree) -> Option<String> {
    let sessions = |tree: &Tree| tree.sessions().iter().collect::<Vec<(SessionId, i32)>>();
    if sessions(one) != sessions(other) {
        return Some(format!("sessions {:?} and {:?}", sessions(one), sessions(other)));
    }
    if one.znode_count() != other.znode_count() {
        return Some(format!("{} and {} znodes", one.znode_count(), other.znode_count()));
    }
    let mut left: Vec<Node<'_>> = one.node("/").into_iter().collect();
    while let Some(node) = left.pop() {
        left.extend(node.children());
        let path = node.path();
        let Some(found) = other.node(&path) else {
            return Some(format!("{path} stands in one of them"));
        };
        if path == CONFIG_PATH {
            continue;
        }
        if node.data() != found.data() {
            return Some(format!("{path} holds {:?} and {:?}", node.data(), found.data()));
        }
        if node.acl() != found.acl() {
            return Some(format!("{path} has {:?} and {:?}", node.acl(), found.acl()));
        }
        let stats = [(node.persisted(), node.stat()), (found.persisted(), found.stat())];
        if stats[0] != stats[1] {
            return Some(format!("{path} has {:?} and {:?}", stats[0], stats[1]));
        }
    }
    (one.digest() != other.digest())
        .then(|| format!("digests {:x} and {:x}", one.digest(), other.digest()))
}

impl World {
    /// Compares the trees of all servers, and `found`, which a start would find on their disks,
    /// with the first one at the same transaction.
    pub(super) fn compare_states(&mut self, found: &[(String, Tree)]) {
        let running = self.machines.iter().enumerate().filter_map(|(server, machine)| {
            let process = machine.process.as_ref()?;
            Some((format!("server {server}"), &process.shared.tree))
        });
        let found = found.iter().map(|(whose, tree)| (whose.clone(), tree));
        let mut seen: Vec<(Zxid, String, &Tree)> = Vec::new();
        let mut differ = None;
        for (whose, tree) in running.chain(found) {
            let zxid = self.lineage.resolve(tree.last_processed_zxid());
            match seen.iter().find(|(other, ..)| *other == zxid) {
                None => seen.push((zxid, whose, tree)),
                Some((_, first, other)) => {
                    if let Some(what) = difference(other, tree) {
                        differ = Some(format!("{first} and {whose} at {zxid}: {what}"));
                    }
                }
            }
        }
        if let Some(what) = differ {
            self.fail("equal state", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::tree_config;
    use rookeeper_jute::txn::{CreateSessionTxn, CreateTxn, TxnHeader};
    use rookeeper_jute::{Acl, Encode, OpCode, Xid};
    use rookeeper_tree::ChangeLog;

    fn tree(session: i64, time_ms: i64, data: &[u8], acl: Acl<'_>) -> Tree {
        let mut tree = Tree::new(tree_config());
        let header = |zxid: i64, op: OpCode| TxnHeader {
            client_id: SessionId(session),
            cxid: Xid(1),
            zxid: Zxid(zxid),
            time_ms,
            txn_type: op.to_i32(),
        };
        let mut first = header(1, OpCode::CreateSession).to_bytes();
        CreateSessionTxn { timeout_ms: 4000 }.encode(&mut first);
        let mut second = header(2, OpCode::Create).to_bytes();
        CreateTxn {
            path: Some("/a".into()),
            data: Some(data),
            acl: Some(vec![acl]),
            ephemeral: false,
            parent_cversion: 1,
        }
        .encode(&mut second);
        for txn in [first, second] {
            tree.apply(&txn, &mut ChangeLog::default()).unwrap();
        }
        tree
    }

    #[test]
    fn each_difference_between_two_trees_is_found() {
        let open = Acl::open_unsafe;
        let one = tree(7, 5, b"x", open());
        assert_eq!(difference(&one, &tree(7, 5, b"x", open())), None);
        let read = Acl { perms: 1, ..open() };
        for (what, other) in [
            ("a session", tree(8, 5, b"x", open())),
            ("a stat", tree(7, 6, b"x", open())),
            ("data", tree(7, 5, b"y", open())),
            ("an ACL", tree(7, 5, b"x", read)),
            ("znodes", Tree::new(tree_config())),
        ] {
            assert!(difference(&one, &other).is_some(), "{what}");
            assert!(difference(&other, &one).is_some(), "{what}");
        }
    }
}
