//! Limits and backpressure: what a client that asks too much, or reads too little, gets.

mod support;

use rookeeper_jute::{OpCode, SessionId};
use rookeeper_replica::{
    CloseReason, ConnectionThrottleConfig, CoreConfig, ShardConfig, ShardEffect, ShardEffects,
};
use support::{Nothing, Setup, World, connect_frame};

#[test]
fn a_connection_with_requests_in_flight_is_not_read_above_the_limit() {
    let shard = ShardConfig { global_outstanding_limit: 10, ..ShardConfig::default() };
    for seed in 0..20 {
        let shard = shard.clone();
        let mut world = World::new(Setup { shard, seed, shards: 2, ..Setup::default() });
        let (greedy, _) = world.connect(0, 6000);
        let (modest, _) = world.connect(1, 6000);
        world.disk_works = false;
        for xid in 1..=200 {
            world.create(greedy, xid, &format!("/g{xid}"), 0);
        }
        world.run();
        let in_flight = world.shared.load.requests();
        assert!((11..100).contains(&in_flight), "seed {seed}: {in_flight}");
        world.create(modest, 1, "/m", 0);
        world.run();
        assert_eq!(world.shared.load.requests(), in_flight + 1, "one that waits for nothing may");
        world.disk_works = true;
        world.run();
        let xids: Vec<_> = world.replies(greedy).iter().map(|reply| reply.xid()).collect();
        assert_eq!(xids, (1..=200).collect::<Vec<_>>());
        assert_eq!(world.replies(modest).len(), 1);
        assert_eq!((world.shared.load.requests(), world.shared.load.bytes()), (0, 0));
    }
}

#[test]
fn who_says_more_than_a_turn_answers_is_not_read_until_that_is_answered() {
    let mut world = World::new(Setup::default());
    let (client, _) = world.connect(0, 6000);
    let key = world.clients[client].key;
    let (shard, shared, now) = (&mut world.shards[0], &world.shared, world.now);
    // Pings, of which a turn answers 64.
    let pings = [0, 0, 0, 8, 255, 255, 255, 254, 0, 0, 0, 11].repeat(150);
    let mut effects = ShardEffects::default();
    shard.receive(now, key, &pings, shared, &mut effects);
    let mut turns = 1;
    while !shard.connections(0, 1).0[0].reading {
        assert!(effects.effects.iter().any(|effect| matches!(effect, ShardEffect::More)));
        effects.effects.clear();
        shard.catch_up(now, shared, &mut effects);
        turns += 1;
    }
    assert_eq!(turns, 3);
    assert!(effects.effects.iter().any(|effect| matches!(effect, ShardEffect::Resume(_))));
    assert_eq!(shard.output(key).len(), 150 * 20, "all of them");
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_its_session_ends() {
    let shard = ShardConfig { output_bytes_max: 10_000, ..ShardConfig::default() };
    let mut world = World::new(Setup { shard, ..Setup::default() });
    let (client, _) = world.connect(0, 6000);
    world.create(client, 1, "/x", 0);
    world.set(client, 2, "/x", &[7; 1000]);
    world.run();
    world.replies(client);
    world.clients[client].reads = false;
    for xid in 3..200 {
        world.get(client, xid, "/x", false);
    }
    world.run();
    let key = world.clients[client].key;
    let unsent = world.shards[0].output(key).len();
    assert!((10_000..12_000).contains(&unsent), "{unsent}");
    let (report, _) = world.shards[0].connections(0, 10);
    assert!(!report[0].reading);
    world.clients[client].reads = true;
    world.run();
    assert_eq!(world.replies(client).len(), 197);
    world.clients[client].reads = false;
    for xid in 200..400 {
        world.get(client, xid, "/x", false);
    }
    world.run();
    for _ in 0..5 {
        world.request(client, -2, OpCode::Ping, &Nothing);
        world.pass(3000);
    }
    assert_eq!(world.clients[client].closed, Some(CloseReason::SessionClosed));
}

#[test]
fn events_for_a_client_that_does_not_read_end_its_connection() {
    let shard = ShardConfig { output_bytes_close: 10_000, ..ShardConfig::default() };
    let mut world = World::new(Setup { shard, shards: 2, ..Setup::default() });
    let (lazy, _) = world.connect(0, 60_000);
    let (writer, _) = world.connect(1, 60_000);
    let watch = rookeeper_jute::proto::AddWatchRequest { path: Some("/".into()), mode: 1 };
    world.request(lazy, 1, OpCode::AddWatch, &watch);
    world.run();
    world.clients[lazy].reads = false;
    for xid in 1..300 {
        world.create(writer, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    assert_eq!(world.clients[lazy].closed, Some(CloseReason::OutputFull));
    assert_eq!(world.replies(writer).len(), 299);
}

#[test]
fn requests_that_wait_behind_a_write_are_bounded() {
    let shard = ShardConfig { waiting_bytes_max: 5000, ..ShardConfig::default() };
    let mut world = World::new(Setup { shard, ..Setup::default() });
    let (client, _) = world.connect(0, 6000);
    world.disk_works = false;
    world.create(client, 1, "/x", 0);
    for xid in 2..500 {
        world.get(client, xid, "/x", false);
    }
    world.run();
    let (report, _) = world.shards[0].connections(0, 10);
    assert!(!report[0].reading && report[0].outstanding < 200, "{report:?}");
    world.disk_works = true;
    world.run();
    let xids: Vec<_> = world.replies(client).iter().map(|reply| reply.xid()).collect();
    assert_eq!(xids, (1..500).collect::<Vec<_>>());
}

#[test]
fn too_many_bytes_of_large_requests_end_the_connection() {
    let shard = ShardConfig {
        large_request_threshold: Some(1000),
        large_request_max_bytes: 5000,
        ..ShardConfig::default()
    };
    let mut world = World::new(Setup { shard, ..Setup::default() });
    let (client, _) = world.connect(0, 6000);
    let (other, _) = world.connect(0, 6000);
    world.create(client, 1, "/x", 0);
    world.run();
    world.disk_works = false;
    world.set(client, 2, "/x", &[1; 3000]);
    world.run();
    world.set(other, 1, "/x", &[2; 900]);
    world.run();
    assert_eq!(world.clients[other].closed, None, "not large");
    world.set(other, 2, "/x", &[2; 3000]);
    world.run();
    assert_eq!(world.clients[other].closed, Some(CloseReason::LargeRequestRejected));
    world.disk_works = true;
    world.run();
    assert_eq!(world.replies(client).len(), 2);
    assert_eq!(world.shared.load.large_bytes(), 0);
}

/// A server that takes up so many requests and answers others after half a second; a client, and a
/// disk that stands still.
fn throttled(max_requests: usize) -> (World, usize) {
    let core = CoreConfig {
        request_throttle_max_requests: max_requests,
        throttled_op_wait_time_ms: 500,
        ..CoreConfig::default()
    };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    world.disk_works = false;
    (world, client)
}

#[test]
fn the_request_throttle_holds_requests_back_and_answers_old_ones_unexecuted() {
    let (mut world, client) = throttled(5);
    for xid in 1..=20 {
        world.create(client, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    assert_eq!(world.core.report().pipeline, 5);
    world.pass(1000);
    world.disk_works = true;
    world.run();
    let replies = world.replies(client);
    let errors: Vec<_> = replies.iter().map(|reply| reply.header.err).collect();
    assert_eq!(errors[..5], [0; 5]);
    assert_eq!(errors[5..], [-127; 15]);
    assert!(world.shared.tree.node("/n6").is_none());
    assert_eq!(world.core.report().figures.throttled_ops, 15);
}

#[test]
fn a_read_that_travels_with_a_write_is_throttled_like_it() {
    let (mut world, client) = throttled(1);
    world.create(client, 1, "/x", 0);
    world.get(client, 2, "/x", false);
    world.set(client, 3, "/x", b"new");
    world.get(client, 4, "/x", false);
    world.run();
    world.pass(1000);
    world.disk_works = true;
    world.run();
    let replies = world.replies(client);
    let errors: Vec<_> = replies.iter().map(|reply| (reply.xid(), reply.header.err)).collect();
    assert_eq!(errors, [(1, 0), (2, -127), (3, -127), (4, 0)]);
    assert_eq!(world.shared.load.requests(), 0);
    world.request(client, 5, OpCode::Sync, &Some("/"));
    world.run();
    assert_eq!(world.replies(client).len(), 1);
}

#[test]
fn a_request_of_a_connection_that_is_gone_is_dropped_by_the_throttle() {
    let core = CoreConfig { request_throttle_max_requests: 1, ..CoreConfig::default() };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    world.disk_works = false;
    for xid in 1..=20 {
        world.create(client, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    world.drop_connection(client);
    world.run();
    world.disk_works = true;
    world.run();
    assert!(world.shared.tree.node("/n1").is_some());
    assert!(world.shared.tree.node("/n2").is_none());
    assert_eq!(world.core.report().figures.stale_requests_dropped, 19);
    assert_eq!(world.shared.load.requests(), 0);
}

#[test]
fn connects_beyond_the_tokens_are_closed_without_a_word() {
    let throttle = ConnectionThrottleConfig { tokens: 2, fill_time_ms: 1000, ..Default::default() };
    let core = CoreConfig { connection_throttle: throttle, ..CoreConfig::default() };
    let mut world = World::new(Setup { core, ..Setup::default() });
    world.connect(0, 6000);
    world.connect(0, 6000);
    let third = world.accept(0);
    world.send(third, &connect_frame(0, 6000, SessionId(0), &[0; 16], Some(false)));
    world.run();
    assert_eq!(world.clients[third].closed, Some(CloseReason::ConnectionThrottled));
    assert_eq!(world.shards[0].counters().connections_rejected, 1);
    world.pass(1100);
    world.connect(0, 6000);
}
