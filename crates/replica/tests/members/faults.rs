//! What goes wrong, and that nothing acknowledged is lost by it.

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Encode, OpCode, SessionId, Xid, Zxid};
use rookeeper_replica::{EndReason, MemberEvent, ReplicaInput, ServerState, StorageReport};
use rookeeper_tree::ChangeLog;
use rookeeper_zab::leader::LinkEnd;
use rookeeper_zab::learner::SyncStart;
use rookeeper_zab::links::ConnectionId;

use crate::network::{End, Port};
use crate::roles::serving;
use crate::world::World;

/// Writes some znodes through a server; those that were acknowledged.
pub fn write(world: &mut World, server: usize, prefix: &str, count: usize) -> Vec<String> {
    let client = world.connect(server);
    let paths = (0..count).map(|at| format!("/{prefix}{at}"));
    paths.filter(|path| !world.is_closed(client) && world.create(client, path)).collect()
}

/// Whether a server has got its history in this way since it started.
pub fn got(world: &mut World, server: usize, kind: fn(&SyncStart) -> bool) -> bool {
    let events = &world.process(server).events;
    let mut starts = events.iter().filter_map(|(_, event)| match event {
        MemberEvent::Synchronises(start) => Some(start),
        _ => None,
    });
    starts.any(kind)
}

#[track_caller]
pub fn assert_all_there(world: &mut World, paths: &[String]) {
    for server in 0..world.machines.len() {
        if let Some(process) = &world.machines[server].process {
            for path in paths {
                assert!(process.shared.tree.node(path).is_some(), "{path} at {server}");
            }
        }
    }
}

/// One state everywhere, and all that was acknowledged in it.
#[track_caller]
fn assert_whole(world: &mut World, written: &[String]) {
    world.pass(1000);
    world.assert_equal();
    assert_all_there(world, written);
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_by_diff() {
    for seed in 0..30 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 0, "a", 20);
        assert_eq!(written.len(), 20);
        let leader = world.leader().expect("serving");
        world.kill(leader);
        let killed_us = world.now_us;
        world.until("replaced", 10_000, |world| world.leader().is_some() && world.all_serve());
        let took_ms = (world.now_us - killed_us) / 1000;
        assert!(took_ms < 200, "seed {seed}: {took_ms} ms without a leader");
        let other = world.leader().expect("replaced");
        written.extend(write(&mut world, other, "b", 20));
        assert_eq!(written.len(), 40);
        world.start(leader);
        world.until("back", 10_000, |world| world.all_serve());
        assert!(got(&mut world, leader, |start| *start == SyncStart::Diff));
        written.extend(write(&mut world, leader, "c", 5));
        assert_whole(&mut world, &written);
    }
}

#[test]
fn a_leader_that_is_parted_loses_what_it_could_not_commit() {
    for seed in 0..30 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 1, "a", 5);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        world.partition(&[leader]);
        for at in 0..5 {
            world.ask_create(client, &format!("/lost{at}"), 0);
        }
        let others = |world: &World| {
            (0..3).find(|at| *at != leader && world.serves(*at) && world.leader() == Some(*at))
        };
        world.until("another leads", 20_000, |world| {
            world.leader().is_some_and(|at| at != leader) || others(world).is_some()
        });
        let other = (0..3)
            .find(|at| {
                let report = world.machines[*at].process.as_ref().expect("runs").replica.report();
                *at != leader && report.state == ServerState::Leading
            })
            .expect("leads");
        world.until("serves", 20_000, |world| world.serves(other));
        written.extend(write(&mut world, other, "b", 5));
        world.until("the old leader gave up", 20_000, |world| !world.serves(leader));
        world.heal();
        world.until("one ensemble", 20_000, |world| world.all_serve());
        assert_whole(&mut world, &written);
        assert!(got(&mut world, leader, |start| matches!(start, SyncStart::Trunc(_))));
        let tree = &world.process(leader).shared.tree;
        assert!(tree.node("/lost0").is_none(), "seed {seed}: what was cut off is gone");
    }
}

/// Its snapshot holds what was never committed: it can only be replaced, and its word counts as
/// before, or there would be no leader while a third one is away.
#[test]
fn a_log_that_cannot_be_cut_is_replaced() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 1, "a", 5);
        let leader = world.leader().expect("serving");
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        let client = world.connect(leader);
        others.iter().for_each(|other| world.kill(*other));
        for at in 0..5 {
            world.ask_create(client, &format!("/lost{at}"), 0);
        }
        world.pass(200);
        world.kill(leader);
        world.machines[leader].disk.compact();
        others.iter().for_each(|other| world.start(*other));
        world.until("the others serve", 20_000, |world| world.serves(others[0]));
        let by = world.leader().expect("serving");
        written.extend(write(&mut world, by, "b", 5));
        let follower = others.iter().copied().find(|at| *at != by).expect("two of them");
        world.kill(follower);
        world.start(leader);
        world.until("two serve", 20_000, |world| world.serves(leader) && world.serves(by));
        assert!(got(&mut world, leader, |start| matches!(start, SyncStart::Snap(_))));
        let tree = &world.process(leader).shared.tree;
        assert!(tree.node("/lost0").is_none(), "seed {seed}: what was never committed is gone");
        world.start(follower);
        world.until("all serve", 20_000, |world| world.all_serve());
        assert_whole(&mut world, &written);
    }
}

/// One of three was dead while the others wrote, took snapshots and forgot the log before them, and
/// starts again; returns it, and what was acknowledged.
fn behind_a_purged_log(world: &mut World, count: usize) -> (usize, Vec<String>) {
    let mut written = write(world, 0, "a", 5);
    let leader = world.leader().expect("serving");
    let lagging = (leader + 1) % 3;
    world.kill(lagging);
    written.extend(write(world, leader, "b", count));
    for server in (0..3).filter(|server| *server != lagging) {
        world.kill(server);
        world.machines[server].disk.compact();
        world.start(server);
    }
    world.until("serving", 20_000, |world| world.all_serve());
    world.start(lagging);
    (lagging, written)
}

#[test]
fn who_lacks_what_the_log_has_no_more_gets_a_snapshot() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let (lagging, mut written) = behind_a_purged_log(&mut world, 50);
        world.until("all serve", 20_000, |world| world.all_serve());
        assert!(got(&mut world, lagging, |start| matches!(start, SyncStart::Snap(_))));
        written.extend(write(&mut world, lagging, "c", 5));
        assert_whole(&mut world, &written);
        // What it installed is what it starts from.
        world.kill(lagging);
        world.start(lagging);
        world.until("back", 20_000, |world| world.all_serve());
        world.pass(1000);
        world.assert_equal();
    }
}

/// How a server got its history since it started.
pub fn starts(world: &mut World, server: usize) -> Vec<SyncStart> {
    let events = &world.process(server).events;
    let starts = events.iter().filter_map(|(_, event)| match event {
        MemberEvent::Synchronises(start) => Some(*start),
        _ => None,
    });
    starts.collect()
}

/// The logs of all servers but `lagging` are purged, while they run.
pub fn purge(world: &mut World, lagging: &[usize]) -> Vec<(usize, Zxid)> {
    world.pass(1000);
    let servers = (0..world.machines.len()).filter(|server| !lagging.contains(server));
    let purge = |server: usize| {
        let disk = &mut world.machines[server].disk;
        disk.compact();
        (server, disk.last().next())
    };
    servers.map(purge).collect()
}

#[test]
fn a_leader_that_is_told_of_a_purge_sends_no_history_that_it_has_no_more() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let lagging = (leader + 1) % 3;
        world.kill(lagging);
        written.extend(write(&mut world, leader, "b", 50));
        for (server, first) in purge(&mut world, &[lagging]) {
            world.step(server, ReplicaInput::Storage(StorageReport::LogsFrom(first)));
        }
        written.extend(write(&mut world, leader, "c", 5));
        world.start(lagging);
        world.until("all serve", 20_000, |world| world.all_serve());
        let starts = starts(&mut world, lagging);
        assert!(matches!(starts[..], [SyncStart::Snap(_)]), "seed {seed}: {starts:?}");
        // What is left of the log still makes a DIFF.
        world.kill(lagging);
        written.extend(write(&mut world, leader, "d", 5));
        world.start(lagging);
        world.until("back", 20_000, |world| world.all_serve());
        assert!(got(&mut world, lagging, |start| *start == SyncStart::Diff));
        assert_whole(&mut world, &written);
    }
}

#[test]
fn a_history_that_cannot_be_read_is_promised_once() {
    for seed in 0..20 {
        let mut world = serving(5, 0, seed);
        let mut written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let (one, other) = ((leader + 1) % 5, (leader + 2) % 5);
        world.kill(one);
        world.kill(other);
        written.extend(write(&mut world, leader, "b", 50));
        // Nobody is told.
        purge(&mut world, &[one, other]);
        written.extend(write(&mut world, leader, "c", 5));
        world.start(one);
        world.until("one is back", 20_000, |world| world.serves(one));
        // The first piece of the DIFF was not there.
        let of_one = starts(&mut world, one);
        assert!(
            matches!(of_one[..], [SyncStart::Diff, SyncStart::Snap(_)] | [SyncStart::Snap(_)]),
            "seed {seed}: {of_one:?}"
        );
        world.start(other);
        world.until("all serve", 20_000, |world| world.all_serve());
        let of_other = starts(&mut world, other);
        assert!(matches!(of_other[..], [SyncStart::Snap(_)]), "seed {seed}: {of_other:?}");
        assert_whole(&mut world, &written);
    }
}

#[test]
fn what_a_purge_took_is_in_no_later_leadership_either() {
    for seed in 0..10 {
        let mut world = serving(5, 0, seed);
        let mut written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let lagging = (leader + 1) % 5;
        world.kill(lagging);
        written.extend(write(&mut world, leader, "b", 50));
        for (server, first) in purge(&mut world, &[lagging]) {
            world.step(server, ReplicaInput::Storage(StorageReport::LogsFrom(first)));
        }
        world.kill(leader);
        world.until("the next leader", 20_000, |world| {
            (0..5).filter(|server| world.is_up(*server)).all(|server| world.serves(server))
        });
        world.start(lagging);
        world.until("it serves", 20_000, |world| world.serves(lagging));
        let starts = starts(&mut world, lagging);
        assert!(matches!(starts[..], [SyncStart::Snap(_)]), "seed {seed}: {starts:?}");
        assert_whole(&mut world, &written);
    }
}

#[test]
fn what_could_not_be_read_is_in_no_later_leadership_of_the_same_server_either() {
    let mut led_again = 0;
    for seed in 0..20 {
        let mut world = serving(5, 0, seed);
        let mut written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let others: Vec<usize> = (0..5).filter(|server| *server != leader).collect();
        let [one, other, first, second] = others[..] else { unreachable!("four") };
        world.kill(one);
        world.kill(other);
        written.extend(write(&mut world, leader, "b", 50));
        // Nobody is told.
        purge(&mut world, &[one, other]);
        world.start(one);
        world.until("one is back", 20_000, |world| world.serves(one));
        world.kill(first);
        world.kill(second);
        world.until("there is no quorum", 20_000, |world| !world.serves(leader));
        world.start(first);
        world.start(second);
        world.until("a leader again", 20_000, |world| world.serves(first) && world.serves(second));
        if world.leader() != Some(leader) {
            continue;
        }
        led_again += 1;
        world.start(other);
        world.until("all serve", 20_000, |world| world.all_serve());
        let starts = starts(&mut world, other);
        assert!(matches!(starts[..], [SyncStart::Snap(_)]), "seed {seed}: {starts:?}");
        assert_whole(&mut world, &written);
    }
    assert!(led_again > 0);
}

#[test]
fn a_crash_while_a_snapshot_is_taken_over_loses_nothing() {
    for seed in 0..40 {
        let mut world = serving(3, 0, seed);
        let (lagging, written) = behind_a_purged_log(&mut world, 30);
        let wait_us = world.dice.below(60_000);
        let by_us = world.now_us + wait_us;
        world.until("a moment", 100, |world| world.now_us >= by_us || wait_us < 1000);
        if seed % 2 == 0 {
            world.kill(lagging);
            world.start(lagging);
        } else {
            let leader = world.leader().expect("serving");
            world.kill(leader);
            world.start(leader);
        }
        world.until("all serve", 20_000, |world| world.all_serve());
        assert_whole(&mut world, &written);
    }
}

#[test]
fn everybody_is_killed_and_nothing_acknowledged_is_lost() {
    for seed in 0..20 {
        let mut world = serving(5, 0, seed);
        let mut written = Vec::new();
        for round in 0..4 {
            let server = world.dice.below(5) as usize;
            written.extend(write(&mut world, server, &format!("r{round}-"), 10));
            let client = world.connect(server);
            for at in 0..10 {
                world.ask_create(client, &format!("/open{round}-{at}"), 0);
            }
            let pause_us = world.dice.below(4000);
            let by_us = world.now_us + pause_us;
            world.until("a moment", 100, |world| world.now_us >= by_us);
            for server in 0..5 {
                world.kill(server);
            }
            for server in 0..5 {
                if world.dice.below(2) == 0 {
                    world.machines[server].disk.compact();
                }
            }
            world.start_all();
            world.until("all serve", 20_000, |world| world.all_serve());
        }
        world.pass(1000);
        world.assert_equal();
        assert_eq!(written.len(), 40);
        assert_all_there(&mut world, &written);
    }
}

/// One of the things that happen to servers.
pub fn something_happens(world: &mut World) {
    let count = world.machines.len();
    let victim = world.dice.below(count as u64) as usize;
    match world.dice.below(10) {
        0 | 1 if world.is_up(victim) => world.kill(victim),
        2 => world.partition(&[victim]),
        3 => world.partition(&[victim, (victim + 1) % count]),
        4 if world.is_up(victim) => world.step(victim, ReplicaInput::Stop),
        5 if world.is_up(victim) => world.fill_disk(victim, true),
        6 => {
            for server in 0..count {
                world.kill(server);
            }
        }
        7 if !world.is_up(victim) => world.machines[victim].disk.compact(),
        _ => world.heal(),
    }
}

/// Everybody is helped up again.
pub fn all_is_well(world: &mut World, chance: u64) {
    for server in 0..world.machines.len() {
        if world.dice.below(chance) != 0 {
            continue;
        }
        if world.machines[server].disk_full {
            world.fill_disk(server, false);
        }
        let process = world.machines[server].process.as_ref();
        if process.is_some_and(|process| process.ended.is_some()) {
            world.kill(server);
        }
        if !world.is_up(server) {
            world.start(server);
        }
    }
}

#[test]
fn anything_happens_to_anybody_under_writes() {
    for seed in 0..seeds(40) {
        let members = if seed % 2 == 0 { 3 } else { 5 };
        let mut world = serving(members, seed % 3, seed);
        let mut written = Vec::new();
        for round in 0..20 {
            something_happens(&mut world);
            let pause_ms = world.dice.below(1500);
            world.pass(pause_ms);
            let server = world.dice.below(world.machines.len() as u64) as usize;
            if world.is_up(server) && world.serves(server) {
                written.extend(try_write(&mut world, server, round));
            }
            all_is_well(&mut world, 3);
        }
        world.heal();
        all_is_well(&mut world, 1);
        world.until(&format!("all serve, seed {seed}"), 30_000, |world| world.all_serve());
        written.extend(write(&mut world, 0, "last", 3));
        world.pass(2000);
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

/// How many seeds a test runs: as many as it says, or `ROOKEEPER_SEEDS`.
pub fn seeds(usual: u64) -> u64 {
    std::env::var("ROOKEEPER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

/// Writes while anything may fail: what is acknowledged within a second.
pub fn try_write(world: &mut World, server: usize, round: u64) -> Vec<String> {
    let Some(client) = world.try_connect(server, 1000) else { return Vec::new() };
    let mut written = Vec::new();
    for at in 0..5 {
        let path = format!("/w{round}-{at}");
        world.ask_create(client, &path, 0);
        match world.try_answer(client, 1000) {
            Some(reply) if reply.header.err == 0 => written.push(path),
            _ => break,
        }
    }
    written
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let written = write(&mut world, 0, "a", 10);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        for at in 0..5 {
            world.ask_create(client, &format!("/open{at}"), 0);
        }
        world.step(leader, ReplicaInput::Stop);
        let stopped_us = world.now_us;
        world.until("stopped", 5000, |world| world.process(leader).ended.is_some());
        assert_eq!(world.process(leader).ended, Some(EndReason::Stopped));
        let answered = (0..5).filter(|_| world.reply(client).is_some()).count();
        assert_eq!(answered, 5, "seed {seed}: what was taken up is answered");
        world.kill(leader);
        world.until("replaced", 5000, |world| world.leader().is_some() && world.all_serve());
        let took_ms = (world.now_us - stopped_us) / 1000;
        assert!(took_ms < 200, "seed {seed}: {took_ms} ms");
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

#[test]
fn a_follower_that_is_told_to_stop_leaves() {
    let mut world = serving(3, 0, 3);
    let leader = world.leader().expect("serving");
    let follower = (leader + 1) % 3;
    world.step(follower, ReplicaInput::Stop);
    world.until("stopped", 5000, |world| world.process(follower).ended.is_some());
    assert_eq!(world.process(follower).ended, Some(EndReason::Stopped));
    world.kill(follower);
    assert_eq!(write(&mut world, leader, "a", 5).len(), 5);
}

#[test]
fn a_learner_that_sends_no_packet_loses_its_link_and_nobody_anything_else() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let written = write(&mut world, leader, "a", 5);
        let is_link = |end: &End| end.server == leader && end.port == Port::Quorum && end.open;
        let mut links = world.ends.iter().filter(|(_, end)| is_link(end));
        let link: ConnectionId = *links.next().expect("it is followed").0;
        let bytes = &[0x7f; 64];
        world.step(leader, ReplicaInput::QuorumReceived { connection: link, bytes });
        let events = &world.process(leader).events;
        let ended = events.iter().any(|(_, event)| {
            let is_bad = |reason: &LinkEnd| matches!(reason, LinkEnd::BadPacket(_));
            matches!(event, MemberEvent::LinkEnded { connection, reason }
                if *connection == link && is_bad(reason))
        });
        assert!(ended, "seed {seed}: {events:?}");
        world.pass(100);
        assert_eq!(world.leader(), Some(leader), "seed {seed}");
        world.until("it follows again", 20_000, |world| world.all_serve());
        assert_whole(&mut world, &written);
    }
}

#[test]
fn a_full_disk_ends_the_role_until_there_is_room() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        world.fill_disk(leader, true);
        world.until("apart", 5000, |world| world.process(leader).state == ServerState::Apart);
        assert!(world.is_closed(client) || !world.serves(leader));
        world.until("replaced", 5000, |world| world.leader().is_some_and(|at| at != leader));
        let other = world.leader().expect("replaced");
        world.until("serving", 5000, |world| world.serves(other));
        written.extend(write(&mut world, other, "b", 5));
        assert!(!world.serves(leader));
        world.fill_disk(leader, false);
        world.until("back", 10_000, |world| world.all_serve());
        assert_whole(&mut world, &written);
    }
}

#[test]
fn what_a_snapshot_holds_and_nobody_committed_goes_by_another_snapshot() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let mut written = write(&mut world, 1, "a", 5);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        world.partition(&[leader]);
        for at in 0..5 {
            world.ask_create(client, &format!("/lost{at}"), 0);
        }
        world.pass(100);
        world.kill(leader);
        // The log that could be cut is gone.
        world.machines[leader].disk.compact();
        world.until("another leads", 20_000, |world| world.leader().is_some());
        let other = world.leader().expect("another leads");
        written.extend(write(&mut world, other, "b", 5));
        world.heal();
        world.start(leader);
        world.until("one ensemble", 20_000, |world| world.all_serve());
        assert!(got(&mut world, leader, |start| matches!(start, SyncStart::Snap(_))));
        world.assert_equal();
        assert_all_there(&mut world, &written);
        assert!(world.process(leader).shared.tree.node("/lost0").is_none(), "seed {seed}");
        assert!(!world.process(leader).replica.report().barred);
    }
}

#[test]
fn where_everybody_differs_from_the_leader_nothing_is_discarded() {
    let mut world = serving(3, 0, 7);
    world.judges = false;
    let leader = world.leader().expect("serving");
    let written = write(&mut world, 0, "a", 5);
    spoil(&mut world, leader);
    let client = world.connect(leader);
    world.ask_create(client, "/b", 0);
    world.until("the followers left", 5000, |world| {
        (0..3).all(|at| at == leader || world.process(at).replica.report().divergences > 0)
    });
    world.pass(20_000);
    assert!((0..3).all(|at| !world.serves(at)), "nobody can tell who is right");
    for follower in (0..3).filter(|at| *at != leader) {
        let process = world.process(follower);
        assert!(written.iter().all(|path| process.shared.tree.node(path).is_some()));
        let (tree, _) = world.machines[follower].disk.recover();
        assert!(written.iter().all(|path| tree.node(path).is_some()), "and it is on disk");
    }
}

/// A transaction that no leader proposed.
fn spoil(world: &mut World, server: usize) {
    let tree = &mut world.process(server).shared.tree;
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: Xid(1),
        zxid: tree.last_processed_zxid(),
        time_ms: 1,
        txn_type: OpCode::SetData.to_i32(),
    };
    let mut txn = header.to_bytes();
    Some("/a0").encode(&mut txn);
    Some(&b"spoilt"[..]).encode(&mut txn);
    1i32.encode(&mut txn);
    tree.apply(&txn, &mut ChangeLog::default()).expect("applies");
}

#[test]
fn bug_z11_a_tree_that_differs_is_replaced_once_and_then_no_longer_served() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        world.judges = false;
        let written = write(&mut world, 0, "a", 5);
        let leader = world.leader().expect("serving");
        let follower = (leader + 1) % 3;
        spoil(&mut world, follower);
        assert_eq!(write(&mut world, leader, "b", 1).len(), 1);
        world.until("left", 5000, |world| {
            let events = &world.process(follower).events;
            events.iter().any(|(_, event)| matches!(event, MemberEvent::Diverged { .. }))
        });
        world.until("back", 10_000, |world| world.all_serve());
        world.process(follower).mismatches.clear();
        world.pass(500);
        world.assert_equal();
        assert_all_there(&mut world, &written);
        spoil(&mut world, follower);
        assert_eq!(write(&mut world, leader, "c", 1).len(), 1);
        world.until("apart", 5000, |world| world.process(follower).state == ServerState::Apart);
        world.pass(5000);
        assert_eq!(world.process(follower).state, ServerState::Apart);
        assert!(world.serves(leader));
    }
}

#[test]
fn bug_1277_an_epoch_without_zxids_is_followed_by_the_next_one_at_once() {
    for seed in 0..10 {
        let mut world = World::new(3, 0, seed);
        world.configure = |config| config.core.epoch_counter_last = 30;
        world.start_all();
        world.until("all serve", 10_000, |world| world.all_serve());
        let mut client = world.connect(0);
        let session = world.clients[client].session;
        let password = world.clients[client].password.clone();
        let mut gap_us_max = 0;
        for at in 0..100 {
            let path = format!("/n{at}");
            let asked_us = world.now_us;
            while world.is_closed(client) || !world.create_or_find(client, &path) {
                world.pass(5);
                if world.serves(0) {
                    client = world.resume(0, session, &password);
                    assert_eq!(world.clients[client].session, session, "no session is lost");
                }
            }
            gap_us_max = gap_us_max.max(world.now_us - asked_us);
        }
        assert!(gap_us_max < 300_000, "seed {seed}: {gap_us_max} us");
        world.until("all serve", 5000, |world| world.all_serve());
        world.assert_equal();
        assert!(world.process(0).replica.report().current_epoch > 3);
        let written: Vec<String> = (0..100).map(|at| format!("/n{at}")).collect();
        assert_all_there(&mut world, &written);
    }
}

#[test]
fn an_epoch_that_ends_without_followers_is_left_as_well() {
    for seed in 0..10 {
        let mut world = World::new(3, 0, seed);
        world.configure = |config| config.core.epoch_counter_last = 30;
        world.start_all();
        world.until("all serve", 10_000, |world| world.all_serve());
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        assert!(world.create(client, "/before"));
        // The last zxids of the epoch reach nobody else.
        world.partition(&[leader]);
        for at in 0..40 {
            world.ask_create(client, &format!("/n{at}"), 0);
        }
        world.pass(20_000);
        world.heal();
        world.until("all serve", 20_000, |world| world.all_serve());
        let other = world.leader().expect("serving");
        let client = world.connect(other);
        assert!(world.create(client, "/after"), "seed {seed}");
        world.until("all serve", 20_000, |world| world.all_serve());
        world.assert_equal();
    }
}

#[test]
fn ephemerals_live_as_long_as_their_sessions_whoever_leads() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let (kept, left) = (world.connect(leader), world.connect(leader));
        for (client, path) in [(kept, "/kept"), (left, "/left")] {
            world.ask_create(client, path, 1);
            assert_eq!(world.answer(client, 5000).map(|reply| reply.header.err), Some(0));
        }
        let session = world.clients[kept].session;
        let password = world.clients[kept].password.clone();
        world.kill(leader);
        world.until("replaced", 10_000, |world| world.leader().is_some() && world.all_serve());
        let other = (leader + 1) % 3;
        let kept = world.resume(other, session, &password);
        assert_eq!(world.clients[kept].session, session, "seed {seed}");
        // A new leader gives every session its full timeout, 20 s.
        for _ in 0..9 {
            world.pass(2000);
            assert!(world.get(kept, "/left").is_some() && world.get(kept, "/kept").is_some());
        }
        for _ in 0..3 {
            world.pass(2000);
            assert!(world.get(kept, "/kept").is_some());
        }
        assert!(world.get(kept, "/left").is_none(), "seed {seed}: it has expired");
        world.assert_equal();
    }
}

#[test]
fn a_leader_that_takes_no_clients_still_leads() {
    let mut world = World::new(3, 0, 1);
    world.configure = |config| config.core.leader_serves = false;
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    let leader = world.leader().expect("serving");
    assert_eq!(world.try_connect(leader, 1000), None);
    assert_eq!(write(&mut world, (leader + 1) % 3, "a", 5).len(), 5);
}
