//! Bugs of ZooKeeper that a design can have again, each by its number.

use rookeeper_jute::{OpCode, SessionId, Zxid};
use rookeeper_replica::{MemberEvent, ReplicaInput, ServerState};
use rookeeper_zab::learner::SyncStart;
use rookeeper_zab::links::ConnectionId;

use crate::faults::{assert_all_there, got, write};
use crate::network::Port;
use crate::roles::serving;
use crate::sessions::Empty;
use crate::world::World;

/// A client with an ephemeral of its own.
fn owner(world: &mut World, server: usize, path: &str) -> usize {
    let client = world.connect(server);
    world.ask_create(client, path, 1);
    assert_eq!(world.answer(client, 5000).map(|reply| reply.header.err), Some(0));
    client
}

#[track_caller]
fn assert_nowhere(world: &mut World, path: &str, session: SessionId) {
    for server in 0..world.machines.len() {
        let tree = &world.process(server).shared.tree;
        assert!(tree.node(path).is_none(), "{path} at {server}");
        assert!(!tree.sessions().contains(session), "its session at {server}");
    }
}

fn some_microseconds(world: &mut World, below: u64) {
    let by_us = world.now_us + world.dice.below(below);
    world.until("a moment", 1000, |world| world.now_us >= by_us);
}

/// ZOOKEEPER-2355: the link of a follower breaks while it is told of a session's end. What it had
/// not taken comes with the next synchronisation.
#[test]
fn bug_2355_a_session_that_ends_while_a_link_breaks_leaves_no_ephemeral() {
    for seed in 0..40 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let (cut, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let client = owner(&mut world, other, "/mine");
        let session = world.clients[client].session;
        world.pass(100);
        world.request(client, OpCode::CloseSession, &Empty);
        some_microseconds(&mut world, 6000);
        let is_link =
            |end: &&crate::network::End| end.server == cut && end.port == Port::Quorum && end.open;
        let mut links = world.ends.iter().filter(|(_, end)| is_link(end));
        let link: ConnectionId = *links.next().expect("it follows").0;
        world.close(link);
        world.step(cut, ReplicaInput::QuorumClosed(link));
        world.until("closed", 5000, |world| world.is_closed(client));
        world.until("it follows again", 20_000, |world| world.all_serve());
        world.assert_equal();
        assert_nowhere(&mut world, "/mine", session);
    }
}

/// ZOOKEEPER-2846: a leader's log has a hole. Nobody fills it with what comes after, and nobody
/// tries in vain for ever.
#[test]
fn bug_2846_who_gets_a_history_with_a_hole_takes_a_snapshot_in_the_end() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let mut written = write(&mut world, leader, "a", 5);
        let late = (leader + 1) % 3;
        world.pass(200);
        world.kill(late);
        written.extend(write(&mut world, leader, "b", 10));
        let last = world.process(leader).shared.tree.last_processed_zxid();
        world.hole = Some(Zxid(last.0 - 4));
        world.start(late);
        world.until("back", 20_000, |world| world.all_serve());
        let events = world.process(late).events.iter().map(|(_, event)| event);
        let gaps: Vec<bool> = events
            .filter_map(|event| match event {
                MemberEvent::Gap { got, snapshot_wanted, .. } => {
                    assert_eq!(got.0, last.0 - 3);
                    Some(*snapshot_wanted)
                }
                _ => None,
            })
            .collect();
        assert_eq!(gaps, [false, false, true], "seed {seed}");
        assert!(got(&mut world, late, |start| matches!(start, SyncStart::Snap(_))));
        assert_eq!(world.leader(), Some(leader), "seed {seed}: nobody else is disturbed");
        // Its word counts: the two of them are a quorum.
        world.kill((leader + 2) % 3);
        written.extend(write(&mut world, late, "c", 5));
        assert_eq!(written.len(), 20);
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

/// ZOOKEEPER-5010: what no quorum has is in no tree, so no change of leaders can leave it there.
#[test]
fn bug_5010_what_was_never_committed_is_never_in_a_tree() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        let session = world.clients[client].session;
        world.pass(200);
        world.partition(&[leader]);
        world.ask_create(client, "/mine", 1);
        for _ in 0..40 {
            world.pass(50);
            let tree = &world.process(leader).shared.tree;
            // Where the role has ended all of the log is history, until a leader says otherwise;
            // nobody is served meanwhile.
            assert!(tree.node("/mine").is_none() || !world.serves(leader), "seed {seed}");
        }
        world.until("another leads", 20_000, |world| {
            (0..3).any(|at| at != leader && world.process(at).state == ServerState::Leading)
                && (0..3).all(|at| at == leader || world.serves(at))
        });
        world.heal();
        world.until("one ensemble", 20_000, |world| world.all_serve());
        world.assert_equal();
        for server in 0..3 {
            let tree = &world.process(server).shared.tree;
            assert!(tree.node("/mine").is_none(), "seed {seed}: at {server}");
            assert_eq!(tree.ephemerals(session).count(), 0, "seed {seed}: at {server}");
        }
        for server in 0..3 {
            world.kill(server);
        }
        world.start_all();
        world.until("from disk", 20_000, |world| world.all_serve());
        assert!((0..3).all(|at| world.process(at).shared.tree.node("/mine").is_none()));
    }
}

/// ZOOKEEPER-4712, 4541, 3598: what a role left to the disk is there before the next role begins,
/// and nothing of it comes after that. The disk of this world refuses what comes out of order.
#[test]
fn bug_4712_what_a_role_left_to_the_disk_is_there_before_the_next_one_begins() {
    for seed in 0..20 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let (slow, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let client = owner(&mut world, other, "/mine");
        let session = world.clients[client].session;
        world.pass(200);
        world.machines[slow].disk_full = true;
        let logged = world.machines[slow].disk.last();
        let written = write(&mut world, other, "a", 5);
        assert_eq!(written.len(), 5);
        world.request(client, OpCode::CloseSession, &Empty);
        world.until("closed", 5000, |world| world.is_closed(client));
        some_microseconds(&mut world, 3000);
        world.kill(leader);
        world.pass(5000);
        assert_eq!(world.machines[slow].disk.last(), logged, "it does nothing yet");
        assert!(!world.serves(slow) && !world.serves(other), "its last role has not ended");
        world.fill_disk(slow, false);
        world.until("two serve", 20_000, |world| world.serves(slow) && world.serves(other));
        assert!(world.machines[slow].disk.last() > logged);
        world.start(leader);
        world.until("all serve", 20_000, |world| world.all_serve());
        world.assert_equal();
        assert_all_there(&mut world, &written);
        assert_nowhere(&mut world, "/mine", session);
    }
}
