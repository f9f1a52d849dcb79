//! What each role does while nothing fails.

use rookeeper_jute::SessionId;
use rookeeper_replica::{EndReason, MemberEvent, ReplicaConfig, ReplicaInput, ReplicaStartError};

use crate::network::Port;
use crate::world::World;

/// An ensemble that serves.
pub fn serving(participants: u64, observers: u64, seed: u64) -> World {
    serving_as(participants, observers, seed, |_| {})
}

/// An ensemble that serves, and goes by other rules.
pub fn serving_as(
    participants: u64,
    observers: u64,
    seed: u64,
    configure: fn(&mut ReplicaConfig),
) -> World {
    let mut world = World::new(participants, observers, seed);
    world.configure = configure;
    world.start_all();
    world.until("all serve", 10_000, |world| world.leader().is_some() && world.all_serve());
    world
}

#[test]
fn a_cold_start_elects_serves_and_writes_through_everybody() {
    for seed in 0..20 {
        for members in [3, 5] {
            let mut world = World::new(members, 0, seed);
            world.start_all();
            world.until("all serve", 10_000, |world| world.all_serve());
            if world.now_us >= 5_600_000 {
                world.tell();
            }
            assert!(world.now_us < 5_000_000 + 600_000, "a cold start: {} us", world.now_us);
            for server in 0..members as usize {
                let client = world.connect(server);
                assert_ne!(world.clients[client].session, SessionId(0));
                let path = format!("/from-{server}");
                assert!(world.create(client, &path), "seed {seed}");
                assert_eq!(world.get(client, &path), Some(path.clone().into_bytes()));
            }
            world.pass(1000);
            world.assert_equal();
        }
    }
}

/// Who elects a leader before the last servers are there may see it turn to one of them.
#[test]
fn who_has_elected_a_leader_that_turns_to_another_one_does_not_wait_for_it() {
    let mut turned = 0;
    for seed in 0..150 {
        for members in [3, 5] {
            let mut world = World::new(members, 0, seed);
            for server in 0..members as usize {
                let start_us = world.now_us + world.dice.below(60_000);
                world.pass_until(60, |world| world.now_us >= start_us);
                world.start(server);
            }
            let last_start_us = world.now_us;
            world.until("all serve", 10_000, |world| world.all_serve());
            let took_us = world.now_us - last_start_us;
            if took_us >= 150_000 {
                world.tell();
            }
            assert!(took_us < 150_000, "seed {seed}, {members} members: {took_us} us");
            for server in 0..members as usize {
                turned += world.process(server).events.iter().filter(|(_, event)| {
                    matches!(event, MemberEvent::RoleEnded(why) if why.contains("its mind"))
                }).count();
            }
        }
    }
    assert!(turned >= 5, "a leader turned to another one {turned} times");
}

#[test]
fn observers_serve_and_have_no_vote() {
    for seed in 0..10 {
        let mut world = serving(3, 2, seed);
        let client = world.connect(4);
        assert!(world.create(client, "/through-an-observer"));
        let leader = world.leader().expect("serving");
        assert!(leader < 3);
        // Both other voters gone: observers are no quorum.
        for server in (0..3).filter(|server| *server != leader) {
            world.kill(server);
        }
        world.until("no leader", 10_000, |world| world.leader().is_none());
        world.start((leader + 1) % 3);
        world.until("serving again", 20_000, |world| world.all_serve());
        let client = world.connect(3);
        assert!(world.create(client, "/again"));
        world.pass(1000);
        world.assert_equal();
    }
}

#[test]
fn a_sync_shows_what_was_written_elsewhere() {
    for seed in 0..10 {
        let mut world = serving(3, 1, seed);
        let writer = world.connect(0);
        let readers: Vec<usize> = (0..4).map(|server| world.connect(server)).collect();
        for round in 0..10 {
            let path = format!("/n{round}");
            assert!(world.create(writer, &path));
            for reader in &readers {
                assert!(world.sync(*reader));
                assert!(world.get(*reader, &path).is_some(), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_session_moves_between_servers() {
    let mut world = serving(3, 0, 5);
    let client = world.connect(0);
    let (session, password) =
        (world.clients[client].session, world.clients[client].password.clone());
    let moved = world.resume(1, session, &password);
    assert_eq!(world.clients[moved].session, session);
    assert!(world.create(moved, "/moved"));
    let wrong = world.resume(2, session, &[7; 16]);
    assert_eq!(world.clients[wrong].session, SessionId(0));
}

/// A crash between a new leader's transactions and its epoch leaves a log that is ahead of the
/// current epoch: Java does not start then.
#[test]
fn a_start_goes_by_the_epochs_on_disk() {
    let mut world = serving(3, 0, 4);
    let client = world.connect(0);
    assert!(world.create(client, "/a"));
    world.pass(500);
    for server in 0..3 {
        world.kill(server);
    }
    assert_eq!(world.machines[0].disk.current, Some(1));
    world.machines[0].disk.current = Some(0);
    assert_eq!(world.refusal(0), None, "the epoch was accepted before");
    world.machines[1].disk.current = Some(3);
    let (accepted_epoch, current_epoch) = (1, 3);
    let refusal = ReplicaStartError::EpochsContradict { accepted_epoch, current_epoch };
    assert_eq!(world.refusal(1), Some(refusal));
    world.machines[1].disk.current = Some(0);
    world.machines[1].disk.accepted = Some(0);
    let last_zxid = world.machines[1].disk.recover().1.last_zxid;
    let refusal = ReplicaStartError::LogAfterEpoch { last_zxid, accepted_epoch: 0 };
    assert_eq!(world.refusal(1), Some(refusal));
    // Lost files are written anew, from what the log says.
    (world.machines[1].disk.accepted, world.machines[1].disk.current) = (None, None);
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    world.assert_equal();
    assert_eq!(world.machines[1].disk.current, world.machines[2].disk.current);
}

/// Who was about to lead, again and again, and each time lost its followers, has accepted epochs
/// that the others do not know of. In Java it stays out until the next election.
#[test]
fn who_has_accepted_a_later_epoch_is_not_shut_out() {
    for seed in 0..10 {
        let mut world = serving(3, 0, seed);
        let leader = world.leader().expect("serving");
        let away = (leader + 1) % 3;
        world.kill(away);
        world.pass(1000);
        world.machines[away].disk.accepted = Some(40);
        world.start(away);
        world.until("it is let in", 3000, |world| world.all_serve());
        let current = world.machines[away].disk.current;
        assert!(current > Some(40), "seed {seed}: epoch {current:?}");
        let client = world.connect(away);
        assert!(world.create(client, "/in"));
        world.pass(500);
        world.assert_equal();
    }
}

/// A leader that refuses a learner is found again at once, as long as it lives.
#[test]
fn who_learns_in_vain_over_and_over_asks_less_often() {
    let mut world = serving(3, 0, 6);
    let leader = world.leader().expect("serving");
    let away = (leader + 1) % 3;
    for _ in 0..2000 {
        world.pass(1);
        let open = world
            .ends
            .iter()
            .find(|(_, end)| (end.server, end.port, end.open) == (away, Port::Quorum, true));
        if let Some(connection) = open.map(|(connection, _)| *connection) {
            world.close(connection);
            world.step(away, ReplicaInput::QuorumClosed(connection));
        }
    }
    let ended = |(_, event): &&(u64, MemberEvent)| matches!(event, MemberEvent::RoleEnded(_));
    let count = world.process(away).events.iter().filter(ended).count();
    assert!((5..40).contains(&count), "{count} times in two seconds");
}

#[test]
fn who_looks_stops_at_once() {
    let mut world = World::new(3, 0, 1);
    world.start(0);
    world.pass(500);
    world.step(0, ReplicaInput::Stop);
    assert_eq!(world.process(0).ended, Some(EndReason::Stopped));
}
