//! Random histories: predicted digests hold, what was prepared applies, replays agree.

mod common;

use common::{Server, create, create_ttl, delete, dump, set, set_acl, tree_config};
use proptest::prelude::*;
use rookeeper_jute::data::perms;
use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::txn::CreateSessionTxn;
use rookeeper_jute::{Acl, CreateMode, Encode, Id, OpCode, SessionId};
use rookeeper_tree::apply::record;
use rookeeper_tree::{ChangeLog, PrepareConfig, Tree};

#[derive(Debug, Clone)]
enum Action {
    Write(usize, OpCode, Vec<u8>),
    Apply(usize),
}

const PATHS: [&str; 10] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/x",
    "/d",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/a//b",
];

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PATHS[..])
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(-1), 1 => 0..3i32]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"count=3,bytes=40=;byteHardLimit=60".to_vec()),
    ]
}

fn acl() -> impl Strategy<Value = Vec<Acl<'static>>> {
    prop_oneof![
        6 => Just(vec![Acl::open_unsafe()]),
        1 => Just(vec![Acl { perms: perms::READ, id: Id::new("world", "anyone") }]),
        1 => Just(vec![Acl { perms: perms::ALL, id: Id::new("ip", "127.0.0.1") }]),
        1 => Just(vec![]),
    ]
}

fn part() -> impl Strategy<Value = (OpCode, Vec<u8>)> {
    let ops = prop::sample::select(&[OpCode::Create, OpCode::Create2, OpCode::CreateContainer][..]);
    prop_oneof![
        6 => (ops, path(), data(), 0..5i32, acl()).prop_map(|(op, path, data, flags, acl)| {
            let mode = CreateMode::from_flags(flags).expect("valid flags");
            let mut request = create(path, &data, mode);
            request.acl = Some(acl);
            (op, request.to_bytes())
        }),
        1 => (path(), 1..1000i64).prop_map(|(path, ttl_ms)| {
            let mode = CreateMode::PersistentWithTtl;
            (OpCode::CreateTtl, create_ttl(path, mode, ttl_ms).to_bytes())
        }),
        4 => (path(), version()).prop_map(|(path, version)| {
            (OpCode::Delete, delete(path, version).to_bytes())
        }),
        4 => (path(), data(), version()).prop_map(|(path, data, version)| {
            (OpCode::SetData, set(path, &data, version).to_bytes())
        }),
    ]
}

fn multi() -> impl Strategy<Value = (OpCode, Vec<u8>)> {
    prop::collection::vec(part(), 0..6).prop_map(|parts| {
        let mut body = Vec::new();
        for (op, record) in parts {
            MultiHeader::request(op.to_i32()).encode(&mut body);
            body.extend_from_slice(&record);
        }
        encode_end(&mut body);
        (OpCode::Multi, body)
    })
}

fn write() -> impl Strategy<Value = (OpCode, Vec<u8>)> {
    let timeout = CreateSessionTxn { timeout_ms: 4000 }.to_bytes();
    prop_oneof![
        12 => part(),
        3 => multi(),
        1 => (path(), acl(), version()).prop_map(|(path, acl, version)| {
            (OpCode::SetAcl, set_acl(path, acl, version).to_bytes())
        }),
        1 => path().prop_map(|path| (OpCode::DeleteContainer, path.to_bytes())),
        1 => Just((OpCode::CloseSession, Vec::new())),
        1 => Just((OpCode::CreateSession, timeout)),
        1 => (write_op(), prop::collection::vec(any::<u8>(), 0..60)),
    ]
}

fn write_op() -> impl Strategy<Value = OpCode> {
    prop::sample::select(OpCode::ALL)
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => (0..3usize, write()).prop_map(|(session, (op, body))| {
            Action::Write(session, op, body)
        }),
        1 => (1..6usize).prop_map(Action::Apply),
    ];
    prop::collection::vec(action, 1..80)
}

fn run(actions: &[Action], enforce_quota: bool) -> Server {
    let config = PrepareConfig { enforce_quota, ..PrepareConfig::default() };
    let mut server = Server::with(tree_config(), config);
    for action in actions {
        match action {
            Action::Write(session, op, body) => {
                server.session = SessionId(10 + *session as i64);
                server.submit(*op, body);
            }
            Action::Apply(count) => {
                for _ in 0..(*count).min(server.unapplied()) {
                    server.apply_next();
                }
            }
        }
    }
    server.apply_all();
    assert!(server.outstanding.is_empty());
    server
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// `Server::apply_next` holds every predicted digest against the tree's, and every prepared
    /// write against what applying it makes of it.
    #[test]
    fn digests_are_predicted_and_prepared_writes_apply(actions in actions(), quota: bool) {
        let server = run(&actions, quota);
        let mut replayed = Tree::new(tree_config());
        for (at, txn) in server.log.iter().enumerate() {
            replayed.look_ahead(server.log[at..].iter().map(Vec::as_slice));
            let applied = replayed.apply(txn, &mut ChangeLog::new()).expect("our own");
            let path = applied.path.as_deref().map(str::as_bytes);
            prop_assert_eq!(record::path_of(txn), path, "the path of {:?}", applied);
        }
        prop_assert_eq!(dump(&replayed), dump(&server.tree));
    }

    /// A replay from any point over any later state ends the same, but for quota statistics,
    /// which are counted anew when a snapshot is loaded.
    #[test]
    fn replays_over_later_states_agree(
        actions in actions(),
        seen in 0..80usize,
        from in 0..80usize,
    ) {
        let server = run(&actions, false);
        let seen = seen.min(server.log.len());
        let from = from.min(seen);
        let mut tree = Tree::new(tree_config());
        let overlap = [&server.log[..seen], &server.log[from..]].concat();
        for txn in &overlap {
            tree.apply(txn, &mut ChangeLog::new()).expect("our own");
        }
        let without_statistics = |tree: &Tree| -> Vec<String> {
            let mut lines = dump(tree);
            lines.retain(|line| !line.contains("/zookeeper"));
            lines
        };
        if server.tree.node("/zookeeper/quota/a").is_none() {
            prop_assert_eq!(without_statistics(&tree), without_statistics(&server.tree));
        }
    }

    #[test]
    fn without_digests_the_same_transactions_come_without_them(actions in actions()) {
        let mut config = tree_config();
        config.digest_enabled = false;
        let with = run(&actions, false);
        let mut without = Tree::new(config);
        for txn in &with.log {
            without.apply(txn, &mut ChangeLog::new()).expect("our own");
        }
        prop_assert_eq!(without.digest(), 0);
        let plain = |tree: &Tree| {
            let mut lines = dump(tree);
            lines.pop();
            lines
        };
        prop_assert_eq!(plain(&without), plain(&with.tree));
    }
}
