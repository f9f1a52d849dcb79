//! Transactions as a log or a leader brings them, each part one: they may not fit the tree at all.
//! What comes of them must come back from a snapshot.

use rookeeper_jute::Decode;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_store::Compression;
use rookeeper_store::snapshot::parse;
use rookeeper_tree::{ChangeLog, Tree};

use crate::parts::{Loading, parts, snapshot_file, tree_config};

/// Applies what applies, then writes and loads a snapshot.
pub fn run(input: &[u8]) {
    let mut tree = Tree::new(tree_config());
    let mut changes = ChangeLog::default();
    for (_, txn) in parts(input).take(256) {
        // No server makes sessions of this range: it marks the owners of container and TTL znodes.
        let header = TxnHeader::from_bytes(txn);
        if header.is_ok_and(|header| header.client_id.0 >> 56 == -1) {
            continue;
        }
        let before = tree.digest();
        tree.look_ahead(std::iter::once(txn));
        match tree.apply(txn, &mut changes) {
            Ok(applied) => {
                let op = rookeeper_jute::OpCode::from_i32(applied.header.txn_type);
                if let Some(op) = op {
                    applied.encode_reply(op, &mut Vec::new());
                }
            }
            Err(_) => assert_eq!(tree.digest(), before, "what fails changes nothing"),
        }
    }
    let file = snapshot_file(&mut tree);
    let mut loading = Loading::new();
    let loaded = parse(&file, Compression::None, 2 << 20, &mut loading)
        .expect("a snapshot of any tree can be read");
    assert_eq!(loaded.znodes as usize, tree.znode_count() - 1, "both aliases of the root are one");
    let again = loading.loader.finish(tree.last_processed_zxid()).expect("it has a root");
    assert_eq!(again.digest(), tree.digest());
    assert_eq!(again.znode_count(), tree.znode_count());
    assert_eq!(again.ephemerals_count(), tree.ephemerals_count());
}
