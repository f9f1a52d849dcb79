//! What the server does by itself: clean-up, snapshots, shutting down, a disk that fails.

mod support;

use rookeeper_jute::OpCode;
use rookeeper_jute::proto::{CreateRequest, CreateTtlRequest};
use rookeeper_jute::{Acl, Zxid};
use rookeeper_replica::{CloseReason, CoreConfig, CoreInput, HaltReason};
use support::{Nothing, Setup, World};

fn create_container(world: &mut World, client: usize, xid: i32, path: &str) {
    let acl = Some(vec![Acl::open_unsafe()]);
    let body = CreateRequest { path: Some(path.into()), data: None, acl, flags: 4 };
    world.request(client, xid, OpCode::CreateContainer, &body);
}

#[test]
fn empty_containers_and_old_ttl_znodes_are_deleted() {
    let core = CoreConfig { container_check_interval_ms: 5000, ..CoreConfig::default() };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    create_container(&mut world, client, 1, "/used");
    create_container(&mut world, client, 2, "/unused");
    create_container(&mut world, client, 3, "/busy");
    world.create(client, 4, "/used/child", 0);
    world.create(client, 5, "/busy/child", 0);
    world.delete(client, 6, "/used/child");
    for (xid, path, ttl_ms) in [(7, "/short", 7000), (8, "/long", 100_000)] {
        let acl = Some(vec![Acl::open_unsafe()]);
        let path = Some(path.into());
        let body = CreateTtlRequest { path, data: None, acl, flags: 5, ttl_ms };
        world.request(client, xid, OpCode::CreateTtl, &body);
    }
    world.run();
    assert!(world.replies(client).iter().all(|reply| reply.header.err == 0));
    world.pass(6000);
    let exists = |world: &World, path: &str| world.shared.tree.node(path).is_some();
    assert!(!exists(&world, "/used"));
    assert!(exists(&world, "/unused") && exists(&world, "/busy") && exists(&world, "/short"));
    world.pass(5000);
    assert!(!exists(&world, "/short") && exists(&world, "/long") && exists(&world, "/unused"));
}

#[test]
fn containers_go_one_by_one_at_the_pace_that_is_set() {
    let core = CoreConfig {
        container_check_interval_ms: 1000,
        container_max_per_minute: 60,
        container_max_never_used_interval_ms: 1,
        ..CoreConfig::default()
    };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    for xid in 0..10 {
        create_container(&mut world, client, xid, &format!("/c{xid}"));
    }
    world.run();
    let left = |world: &World| world.shared.tree.containers().count();
    world.pass(1500);
    assert_eq!(left(&world), 9);
    world.pass(3000);
    assert_eq!(left(&world), 6);
    world.pass(10_000);
    assert_eq!(left(&world), 0);
}

#[test]
fn snapshots_are_asked_for_one_at_a_time_and_the_log_is_rolled_for_each() {
    let core = CoreConfig { snap_count: 20, ..CoreConfig::default() };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    for xid in 1..=100 {
        world.create(client, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    assert!((5..=9).contains(&world.rolls), "{}", world.rolls);
    assert_eq!(world.snapshots, 1, "the first one still runs");
    world.input(CoreInput::SnapshotEnded);
    for xid in 101..=140 {
        world.create(client, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    assert_eq!(world.snapshots, 2);
    world.input(CoreInput::SnapshotEnded);
    world.input(CoreInput::TakeSnapshot);
    assert_eq!(world.snapshots, 3);
}

/// Two clients, on a shard each, the first of which waits for the disk.
fn with_a_write_under_way() -> (World, [usize; 2]) {
    let mut world = World::new(Setup { shards: 2, ..Setup::default() });
    let (client, _) = world.connect(0, 60_000);
    let (other, _) = world.connect(1, 60_000);
    world.disk_works = false;
    world.create(client, 1, "/x", 0);
    world.run();
    (world, [client, other])
}

#[test]
fn shutting_down_answers_what_was_taken_up_and_nothing_more() {
    let (mut world, [client, other]) = with_a_write_under_way();
    world.input(CoreInput::Shutdown);
    assert_eq!(world.halted, None);
    world.create(other, 1, "/y", 0);
    world.run();
    assert_eq!(world.clients[other].closed, Some(CloseReason::NotServing));
    world.disk_works = true;
    world.run();
    assert_eq!(world.replies(client).len(), 1);
    assert_eq!(world.halted, Some(HaltReason::Shutdown));
    assert!(world.shared.tree.node("/y").is_none());
}

#[test]
fn a_full_disk_ends_all_connections_and_acknowledges_nothing_more() {
    let (mut world, [client, other]) = with_a_write_under_way();
    world.input(CoreInput::DiskFull);
    assert_eq!(world.halted, Some(HaltReason::DiskFull));
    for connection in [client, other] {
        assert_eq!(world.clients[connection].closed, Some(CloseReason::NotServing));
        assert!(world.replies(connection).is_empty());
    }
    let asking = world.accept(1);
    world.send(asking, b"ruok");
    world.run();
    assert_eq!(world.words.len(), 1);
    let late = world.accept(1);
    world.send(late, &[0, 0, 0, 44]);
    world.run();
    assert_eq!(world.clients[late].closed, Some(CloseReason::NotServing));
}

#[test]
fn a_failed_disk_halts_the_core() {
    let mut world = World::new(Setup::default());
    let (client, _) = world.connect(0, 60_000);
    world.disk_works = false;
    world.create(client, 1, "/x", 0);
    world.run();
    world.input(CoreInput::DiskFailed);
    assert_eq!(world.halted, Some(HaltReason::DiskFailed));
    world.request(client, 2, OpCode::Sync, &Nothing);
    world.run();
    assert!(world.replies(client).is_empty());
}

#[test]
fn the_digest_of_every_128th_transaction_is_kept() {
    let mut world = World::new(Setup::default());
    let (client, _) = world.connect(0, 60_000);
    for xid in 1..=300 {
        world.create(client, xid, &format!("/n{xid}"), 0);
    }
    world.run();
    let zxids: Vec<_> = world.shared.digests.iter().map(|(zxid, _)| zxid).collect();
    assert_eq!(zxids, [Zxid(128), Zxid(256)]);
}
