//! Random clients on random threads: every answer is held against what its session may see; and
//! bytes that nobody would send.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rookeeper_jute::proto::AddWatchRequest;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, OpCode, SessionId, Xid, Zxid};
use rookeeper_replica::{CoreConfig, ShardConfig};
use support::{Dice, Nothing, Setup, World, connect_frame, request_frame};

/// How many seeds are tried; `ROOKEEPER_SEEDS` says otherwise for a long run by hand.
fn soak(seeds: u64) -> u64 {
    std::env::var("ROOKEEPER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(seeds)
}

/// What a client expects of one of its requests.
#[derive(Debug, Clone)]
enum Expected {
    /// Success, and the data of this client's own znode.
    Own(Vec<u8>),
    /// Data of somebody else's znode: any that it has or had.
    Other,
    /// A write, or anything without data.
    Done,
}

struct Actor {
    client: usize,
    path: String,
    own: Vec<u8>,
    xid: i32,
    expected: BTreeMap<i32, Expected>,
    order: Vec<i32>,
    seen: Zxid,
    answered: usize,
}

impl Actor {
    /// Sends some requests in one piece.
    fn act(&mut self, world: &mut World, dice: &mut Dice, paths: usize) {
        for _ in 0..1 + dice.below(6) {
            self.xid += 1;
            let xid = self.xid;
            let expected = match dice.below(6) {
                0 | 1 => {
                    self.own = xid.to_be_bytes().to_vec();
                    let own = self.own.clone();
                    world.set(self.client, xid, &self.path, &own);
                    Expected::Done
                }
                2 | 3 => {
                    world.get(self.client, xid, &self.path, dice.below(4) == 0);
                    Expected::Own(self.own.clone())
                }
                4 => {
                    let path = format!("/{}", dice.below(paths));
                    world.get(self.client, xid, &path, dice.below(2) == 0);
                    Expected::Other
                }
                _ => {
                    let op = [OpCode::Sync, OpCode::WhoAmI][dice.below(2)];
                    world.request(self.client, xid, op, &Some("/"));
                    Expected::Done
                }
            };
            self.expected.insert(xid, expected);
            self.order.push(xid);
        }
    }

    /// Looks at what came back: in order, zxids that never go back, own writes seen exactly.
    fn check(&mut self, world: &mut World, seed: u64) {
        for reply in world.replies(self.client) {
            let zxid = reply.header.zxid;
            assert!(zxid >= self.seen, "seed {seed}: {reply:?} after {}", self.seen);
            self.seen = zxid;
            if reply.header.xid == Xid::NOTIFICATION {
                continue;
            }
            assert_eq!(reply.xid(), self.order[self.answered], "seed {seed}");
            self.answered += 1;
            assert_eq!(reply.header.err, 0, "seed {seed}: {reply:?}");
            if let Expected::Own(data) = &self.expected[&reply.xid()] {
                assert_eq!(reply.data().as_ref(), Some(data), "seed {seed}: {reply:?}");
            }
        }
    }
}

#[test]
fn every_session_sees_its_own_writes_in_order_and_time_never_goes_back() {
    for seed in 0..soak(150) {
        let shard = ShardConfig {
            global_outstanding_limit: [1000, 3][seed as usize % 2],
            output_bytes_max: [1 << 20, 200][(seed / 2) as usize % 2],
            ..ShardConfig::default()
        };
        let shards = [1, 4][(seed / 4) as usize % 2];
        let core = CoreConfig {
            request_throttle_max_requests: [0, 2][(seed / 8) as usize % 2],
            snap_count: 50,
            segment_bytes: 100,
            ..CoreConfig::default()
        };
        let mut world = World::new(Setup { shards, seed, shard, core, ..Setup::default() });
        let mut dice = Dice::new(seed + 1000);
        let mut actors: Vec<Actor> = (0..5)
            .map(|at| {
                let (client, _) = world.connect(at % usize::from(shards), 60_000);
                let path = format!("/{at}");
                world.create(client, 1, &path, 0);
                world.run();
                world.replies(client);
                Actor {
                    client,
                    path,
                    own: b"x".to_vec(),
                    xid: 1,
                    expected: BTreeMap::new(),
                    order: Vec::new(),
                    seen: Zxid(0),
                    answered: 0,
                }
            })
            .collect();
        for _ in 0..20 {
            for actor in &mut actors {
                actor.act(&mut world, &mut dice, 5);
            }
            world.run_for(dice.below(60));
        }
        world.run();
        for actor in &mut actors {
            actor.check(&mut world, seed);
            assert_eq!(actor.answered, actor.order.len(), "seed {seed}: all is answered");
        }
        assert_eq!(world.shared.load.requests(), 0);
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    for seed in 0..soak(60) {
        let mut world = World::new(Setup { shards: 3, seed, ..Setup::default() });
        let mut dice = Dice::new(seed);
        let mut sessions = Vec::new();
        for round in 0..40 {
            let client = world.accept(dice.below(3));
            let hello = match sessions.len() {
                0 => connect_frame(0, 6000, SessionId(0), &[0; 16], Some(false)),
                len if dice.below(2) == 0 => {
                    let session: &support::Session = &sessions[dice.below(len)];
                    connect_frame(0, 6000, session.id, &session.password, Some(false))
                }
                _ => connect_frame(0, 6000, SessionId(0), &[0; 16], None),
            };
            world.send(client, &hello);
            world.create(client, 1, &format!("/e{round}"), 1);
            world.get(client, 2, "/", true);
            if dice.below(4) == 0 {
                world.request(client, 3, OpCode::CloseSession, &Nothing);
            }
            world.run_for(dice.below(30));
            if dice.below(2) == 0 {
                world.drop_connection(client);
            }
            if dice.below(3) == 0 {
                world.run();
                if world.clients[client].closed.is_none() && world.has_frame(client) {
                    sessions.push(world.session(client));
                }
            }
        }
        world.pass(30_000);
        for client in 0..world.clients.len() {
            world.drop_connection(client);
        }
        world.run();
        assert_eq!(world.core.report().sessions, 0, "seed {seed}");
        assert_eq!(world.shared.tree.ephemerals_count(), 0);
        assert!(world.shared.tree.sessions().is_empty());
        assert_eq!(world.shared.load.requests(), 0);
        for shard in &world.shards {
            assert_eq!((shard.connections_len(), shard.watch_count()), (0, 0));
        }
        world.connect(0, 6000);
        world.connect(1, 6000);
        world.connect(2, 6000);
        assert_eq!(world.shared.watch_count(), 0);
    }
}

#[test]
fn a_watcher_of_everything_is_told_every_change_once_and_in_order() {
    for seed in 0..soak(60) {
        let mut world = World::new(Setup { shards: 4, seed, ..Setup::default() });
        let mut dice = Dice::new(seed);
        let watchers: Vec<usize> = (0..4).map(|shard| world.connect(shard, 60_000).0).collect();
        let everything = AddWatchRequest { path: Some("/".into()), mode: 1 };
        for watcher in &watchers {
            world.request(*watcher, 1, OpCode::AddWatch, &everything);
        }
        let writers: Vec<usize> = (0..3).map(|at| world.connect(at, 60_000).0).collect();
        world.run();
        for watcher in &watchers {
            world.replies(*watcher);
        }
        let before = world.shared.tree.last_processed_zxid();
        for xid in 1..60 {
            let writer = writers[dice.below(3)];
            let path = format!("/{}", dice.below(5));
            match dice.below(4) {
                0 => world.create(writer, xid, &path, 0),
                1 => world.set(writer, xid, &path, b"2"),
                2 => world.delete(writer, xid, &path),
                // A read whose watch travels with a write, on any shard.
                _ => world.get(writer, xid, &path, true),
            }
            if dice.below(3) == 0 {
                world.run_for(dice.below(40));
            }
        }
        world.run();
        let changes: Vec<i64> = world
            .log
            .iter()
            .filter(|(zxid, _)| *zxid > before)
            .map(|(_, txn)| TxnHeader::from_bytes(txn).expect("a header"))
            .filter(|header| header.txn_type != OpCode::Error.to_i32())
            .map(|header| header.zxid.0)
            .collect();
        assert!(changes.len() > 5, "seed {seed}");
        for watcher in watchers {
            let events = world.replies(watcher);
            assert!(events.iter().all(|event| event.xid() == -1));
            let told: Vec<i64> = events.iter().map(|event| event.header.zxid.0).collect();
            assert_eq!(told, changes, "seed {seed}");
        }
        for writer in writers {
            let zxids: Vec<i64> = world.replies(writer).iter().map(|r| r.header.zxid.0).collect();
            assert!(zxids.is_sorted(), "seed {seed}: {zxids:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_end_at_most_their_own_connection(
        seed in any::<u64>(),
        connected in any::<bool>(),
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8),
    ) {
        let mut world = World::new(Setup { shards: 2, seed, ..Setup::default() });
        let (healthy, _) = world.connect(0, 6000);
        let client = if connected { world.connect(1, 6000).0 } else { world.accept(1) };
        for chunk in chunks {
            world.send(client, &chunk);
            world.run();
        }
        world.request(healthy, 1, OpCode::WhoAmI, &Nothing);
        world.run();
        prop_assert_eq!(world.replies(healthy).len(), 1);
    }

    #[test]
    fn any_body_of_any_operation_is_answered_or_ends_its_connection(
        seed in any::<u64>(),
        requests in proptest::collection::vec(
            (-12i32..=110, proptest::collection::vec(any::<u8>(), 0..40)),
            1..20,
        ),
    ) {
        let mut world = World::new(Setup { shards: 2, seed, ..Setup::default() });
        let (healthy, _) = world.connect(0, 6000);
        let (client, _) = world.connect(1, 6000);
        let count = requests.len();
        for (xid, (op, body)) in requests.into_iter().enumerate() {
            world.send(client, &request_frame(xid as i32 + 1, op, &Raw(body)));
        }
        world.run();
        let replies = world.replies(client);
        let answered = replies.iter().filter(|reply| reply.xid() != -1).count();
        prop_assert!(answered == count || world.clients[client].closed.is_some());
        world.request(healthy, 1, OpCode::WhoAmI, &Nothing);
        world.run();
        prop_assert_eq!(world.replies(healthy).len(), 1);
    }
}

/// A body as it stands.
struct Raw(Vec<u8>);

impl rookeeper_jute::Encode for Raw {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
