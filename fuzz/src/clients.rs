//! What clients send, through two shards and the core, in an order that the input's first byte
//! draws: each part is bytes of one client, or time that passes.

use rookeeper_replica::{CoreConfig, CoreRole, ShardConfig};
use rookeeper_tree::{ChangeLog, Tree};

use crate::parts::parts;
use crate::world::{Setup, World, tree};

const CLIENTS: usize = 3;

/// Feeds the clients' bytes; the log that comes of them must make the same tree again.
pub fn run(input: &[u8]) {
    let Some((seed, rest)) = input.split_first() else { return };
    let core = CoreConfig { snap_count: 8, ..CoreConfig::default() };
    let shard = ShardConfig { jute_maxbuffer: 4096, ..ShardConfig::default() };
    let mut world = World::new(Setup {
        shards: 2,
        seed: u64::from(*seed),
        core,
        shard,
        tree: Some(tree()),
        role: CoreRole::Alone,
    });
    let clients: Vec<usize> = (0..CLIENTS).map(|number| world.accept(number % 2)).collect();
    for (tag, bytes) in parts(rest).take(64) {
        match usize::from(tag) % (CLIENTS + 3) {
            client if client < CLIENTS => world.send(clients[client], bytes),
            3 => world.pass(u64::from(bytes.first().copied().unwrap_or(1)) * 16),
            4 => world.run(),
            _ => world.drop_connection(clients[bytes.len() % CLIENTS]),
        }
    }
    world.run();
    assert!(world.halted.is_none(), "no input of a client halts the server");
    let mut replayed: Tree = tree();
    let mut changes = ChangeLog::default();
    for (zxid, txn) in &world.log {
        let applied = replayed.apply(txn, &mut changes).expect("what is logged can be applied");
        assert_eq!(applied.header.zxid, *zxid);
        assert!(!applied.digest_mismatch, "digest at {zxid}");
    }
    assert_eq!(replayed.digest(), world.shared.tree.digest());
    assert_eq!(replayed.znode_count(), world.shared.tree.znode_count());
}
