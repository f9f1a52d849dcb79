//! Order: of one session's requests, of events and replies, whatever the threads do.

mod support;

use rookeeper_jute::{OpCode, Xid};
use support::{Nothing, Setup, World};

fn world(shards: u16, seed: u64) -> World {
    World::new(Setup { shards, seed, ..Setup::default() })
}

#[test]
fn a_pipelined_read_sees_the_writes_before_it_and_none_after() {
    for seed in 0..50 {
        let mut world = world(1 + (seed % 4) as u16, seed);
        let (client, _) = world.connect(0, 30_000);
        world.create(client, 1, "/x", 0);
        let mut xid = 2;
        for round in 0..20u8 {
            world.set(client, xid, "/x", &[round]);
            world.get(client, xid + 1, "/x", false);
            xid += 2;
        }
        world.run();
        let replies = world.replies(client);
        let xids: Vec<_> = replies.iter().map(|reply| reply.xid()).collect();
        assert_eq!(xids, (1..xid).collect::<Vec<_>>(), "seed {seed}");
        for round in 0..20u8 {
            let get = &replies[2 + 2 * usize::from(round)];
            assert_eq!(get.data(), Some(vec![round]), "seed {seed}");
            assert_eq!(get.header.zxid, replies[1 + 2 * usize::from(round)].header.zxid);
        }
    }
}

#[test]
fn nothing_is_answered_before_it_is_durable_and_reads_of_others_go_on() {
    let mut world = world(2, 7);
    let (writer, _) = world.connect(0, 30_000);
    let (reader, _) = world.connect(1, 30_000);
    world.create(writer, 1, "/x", 0);
    world.run();
    assert_eq!(world.reply(writer).map(|reply| reply.header.err), Some(0));
    world.disk_works = false;
    world.set(writer, 2, "/x", b"new");
    world.get(writer, 3, "/x", false);
    world.get(reader, 1, "/x", false);
    world.run();
    assert_eq!(world.reply(writer), None);
    assert_eq!(world.reply(reader).and_then(|reply| reply.data()), Some(b"x".to_vec()));
    world.flush();
    assert_eq!(world.reply(writer).map(|reply| reply.xid()), Some(2));
    assert_eq!(world.reply(writer).and_then(|reply| reply.data()), Some(b"new".to_vec()));
}

#[test]
fn an_event_comes_before_whatever_reflects_its_change() {
    for seed in 0..100 {
        let mut world = world(1 + (seed % 4) as u16, seed);
        let shards = world.shards.len();
        let (writer, _) = world.connect(0, 30_000);
        let (watcher, _) = world.connect(seed as usize % shards, 30_000);
        world.create(writer, 1, "/x", 0);
        world.run();
        world.get(watcher, 1, "/x", true);
        world.run();
        world.replies(watcher);
        world.set(writer, 2, "/x", b"1");
        for xid in 2..30 {
            world.get(watcher, xid, "/x", false);
            if xid % 7 == 0 {
                world.request(watcher, xid + 100, OpCode::Sync, &Some("/x"));
            }
        }
        world.run();
        let replies = world.replies(watcher);
        let event = replies.iter().position(|reply| reply.header.xid == Xid::NOTIFICATION);
        let event = event.expect("the event comes");
        assert_eq!(replies[event].event(), (3, "/x".to_owned()));
        let zxid = replies[event].header.zxid;
        for (at, reply) in replies.iter().enumerate() {
            assert_eq!(reply.header.zxid >= zxid, at >= event, "seed {seed}: {reply:?}");
        }
    }
}

#[test]
fn pings_and_syncs_are_answered_in_order() {
    let mut world = world(1, 3);
    let (client, _) = world.connect(0, 30_000);
    world.disk_works = false;
    world.create(client, 1, "/x", 0);
    world.request(client, -2, OpCode::Ping, &Nothing);
    world.request(client, 2, OpCode::Sync, &Some("/x"));
    world.request(client, 3, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(world.reply(client), None);
    world.flush();
    let xids: Vec<_> = world.replies(client).iter().map(|reply| reply.xid()).collect();
    assert_eq!(xids, [1, -2, 2, 3]);
}

#[test]
fn more_reads_than_may_travel_are_answered_in_order_before_the_next_write() {
    for seed in 0..20 {
        let mut world = world(1 + (seed % 4) as u16, seed);
        let (client, _) = world.connect(0, 30_000);
        world.create(client, 1, "/x", 0);
        world.disk_works = seed % 2 == 0;
        let mut xid = 1;
        for round in 0..4u8 {
            xid += 1;
            world.set(client, xid, "/x", &[round]);
            for _ in 0..[3, 60, 200, 10][usize::from(round)] {
                xid += 1;
                world.get(client, xid, "/x", false);
            }
        }
        world.run();
        world.disk_works = true;
        world.run();
        let replies = world.replies(client);
        let xids: Vec<_> = replies.iter().map(|reply| reply.xid()).collect();
        assert_eq!(xids, (1..=xid).collect::<Vec<_>>(), "seed {seed}");
        let mut at = 1;
        for (round, reads) in [3, 60, 200, 10].into_iter().enumerate() {
            for reply in &replies[at + 1..=at + reads] {
                assert_eq!(reply.data(), Some(vec![round as u8]), "seed {seed}");
            }
            at += 1 + reads;
        }
    }
}
