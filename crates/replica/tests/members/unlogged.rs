//! Observers that keep no log (`syncEnabled=false`): what they have on disk is what a leader's
//! snapshot made it, and who gets a vote has a log first.

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{OpCode, Zxid};
use rookeeper_replica::{MemberEvent, ServerState};
use rookeeper_zab::learner::SyncStart;

use crate::faults::{assert_all_there, got, write};
use crate::reconfiguration::{assert_settled, lets_everybody, line, reconfigure};
use crate::roles::serving_as;
use crate::world::World;

const OBSERVER: usize = 3;

/// Whether the observer was told of a pending vote while it had its history in memory only.
fn doubted(world: &mut World) -> bool {
    world.process(OBSERVER).events.iter().any(
        |(_, event)| matches!(event, MemberEvent::RoleEnded(why) if why.contains("pending vote")),
    )
}

/// Three voters and the observer, whose clients may change them, and what they have written.
fn open_to_changes(seed: u64) -> (World, Vec<String>) {
    let mut world = serving_as(3, 1, seed, |config| {
        lets_everybody(config);
        config.member.sync_enabled = false;
    });
    let written = write(&mut world, OBSERVER, "a", 10);
    world.pass(500);
    (world, written)
}

fn on_disk(world: &World) -> Zxid {
    world.machines[OBSERVER].disk.last()
}

#[test]
fn an_observer_without_a_log_has_on_disk_what_its_last_snapshot_held() {
    for seed in 0..10 {
        let mut world = serving_as(3, 1, seed, |config| {
            config.member.sync_enabled = false;
            config.core.snap_count = 10;
        });
        let mut written = write(&mut world, OBSERVER, "a", 30);
        assert_eq!(written.len(), 30);
        world.pass(500);
        assert_eq!(on_disk(&world), Zxid::ZERO, "nothing was logged");
        // What it knows in memory is enough for the next leader.
        let leader = world.leader().expect("serving");
        world.kill(leader);
        world.until("serving again", 20_000, |world| world.leader().is_some() && world.all_serve());
        written.extend(write(&mut world, OBSERVER, "b", 10));
        assert!(!got(&mut world, OBSERVER, |start| matches!(start, SyncStart::Snap(_))));
        assert_eq!(on_disk(&world), Zxid::ZERO);
        world.start(leader);
        world.kill(OBSERVER);
        world.start(OBSERVER);
        world.until("back", 20_000, |world| world.all_serve());
        world.pass(500);
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

#[test]
fn an_observer_without_a_log_keeps_the_snapshot_that_it_got() {
    let mut world = serving_as(3, 1, 1, |config| {
        config.member.sync_enabled = false;
        config.member.sync.force_snapshot = true;
    });
    let mut written = write(&mut world, OBSERVER, "a", 10);
    for round in 0..2 {
        world.kill(OBSERVER);
        written.extend(write(&mut world, 0, &format!("b{round}"), 10));
        world.start(OBSERVER);
        world.until("back", 20_000, |world| world.all_serve());
        let snapshot = on_disk(&world);
        assert!(snapshot > Zxid::ZERO);
        written.extend(write(&mut world, OBSERVER, &format!("c{round}"), 10));
        world.pass(500);
        assert_eq!(on_disk(&world), snapshot);
    }
    world.assert_equal();
    assert_all_there(&mut world, &written);
}

#[test]
fn an_observer_without_a_log_takes_a_snapshot_while_others_write() {
    for seed in 0..10 {
        let mut world = serving_as(3, 1, seed, |config| {
            config.member.sync_enabled = false;
            config.member.sync.force_snapshot = true;
        });
        let mut written = write(&mut world, OBSERVER, "a", 10);
        world.kill(OBSERVER);
        let client = world.connect(0);
        world.start(OBSERVER);
        let mut asked = 0;
        while !world.serves(OBSERVER) && asked < 5000 {
            world.ask_create(client, &format!("/b{asked}"), 0);
            asked += 1;
            world.pass(1);
        }
        for at in 0..asked {
            assert_eq!(world.answer(client, 5000).map(|reply| reply.header.err), Some(0));
            written.push(format!("/b{at}"));
        }
        world.pass(500);
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

/// A vote rests on what is on disk.
#[test]
fn an_observer_without_a_log_keeps_one_before_it_votes() {
    for seed in 0..10 {
        let (mut world, mut written) = open_to_changes(seed);
        assert_eq!(on_disk(&world), Zxid::ZERO);
        let client = world.connect(0);
        let reply = reconfigure(&mut world, client, &line(4, "participant"), "");
        assert_eq!(reply, Some(0), "seed {seed}");
        world.until("it follows", 20_000, |world| {
            world.serves(OBSERVER) && world.process(OBSERVER).state == ServerState::Following
        });
        written.extend(write(&mut world, OBSERVER, "b", 10));
        world.pass(500);
        let (disk, tree) = (on_disk(&world), world.process(OBSERVER).replica.report().history_last);
        assert_eq!(disk, tree, "seed {seed}: it logs");
        assert!(!world.process(OBSERVER).replica.report().barred);
        world.assert_equal();
        assert_all_there(&mut world, &written);
    }
}

/// It hears of its vote from peers while it looks for a leader. The first that it says as a voter
/// is judged with the network.
#[test]
fn an_observer_without_a_log_goes_back_to_its_disk_before_it_says_how_it_votes() {
    for seed in 0..10 {
        let (mut world, mut written) = open_to_changes(seed);
        world.partition(&[OBSERVER]);
        world.until("it looks", 20_000, |world| {
            world.process(OBSERVER).state == ServerState::Looking
        });
        let client = world.connect(0);
        let reply = reconfigure(&mut world, client, &line(OBSERVER + 1, "participant"), "");
        assert_eq!((reply, on_disk(&world)), (Some(0), Zxid::ZERO), "seed {seed}");
        world.heal();
        world.until("it follows", 20_000, |world| {
            world.serves(OBSERVER) && world.process(OBSERVER).state == ServerState::Following
        });
        assert_settled(&mut world);
        written.extend(write(&mut world, OBSERVER, "b", 10));
        world.pass(500);
        assert_all_there(&mut world, &written);
    }
}

/// A change that its leader alone saw has made a voter of the observer, which has not heard of it:
/// the next leader counts it by its id for having the history.
#[test]
fn an_observer_without_a_log_is_counted_for_no_history_that_it_has_in_memory() {
    for seed in 0..10 {
        let (mut world, mut written) = open_to_changes(seed);
        let leader = world.leader().expect("serving");
        let [one, two] = [(leader + 1) % 3, (leader + 2) % 3];
        let client = world.connect(leader);
        world.kill(one);
        world.kill(two);
        world.partition(&[OBSERVER]);
        let body = ReconfigRequest {
            joining_servers: Some(line(OBSERVER + 1, "participant").into()),
            leaving_servers: Some(format!("{}", two + 1).into()),
            new_members: None,
            cur_config_id: -1,
        };
        world.request(client, OpCode::Reconfig, &body);
        world.until("it is alone with the change", 20_000, |world| {
            let report = world.process(leader).replica.report();
            report.last_seen.version() > report.committed.version()
                && report.state == ServerState::Looking
        });
        let pending = world.process(leader).replica.report().history_last;
        world.heal();
        world.start(one);
        world.start(two);
        world.until("it is elected", 20_000, |world| {
            world.process(leader).state == ServerState::Leading
        });
        world.kill(one);
        assert_eq!((world.leader(), on_disk(&world)), (None, Zxid::ZERO), "seed {seed}");
        if seed % 2 == 1 {
            // A later epoch needs its promise as well.
            world.until("it goes back to its disk", 20_000, doubted);
            world.kill(leader);
            world.start(leader);
        }
        world.until("it leads", 20_000, |world| world.leader() == Some(leader));
        assert!(on_disk(&world) >= pending, "seed {seed}: {} of {pending}", on_disk(&world));
        world.start(one);
        assert_settled(&mut world);
        written.extend(write(&mut world, OBSERVER, "b", 10));
        world.pass(500);
        assert_all_there(&mut world, &written);
    }
}

/// What its epoch says is what is on its disk, should it be started again as a voter.
#[test]
fn an_observer_without_a_log_has_no_later_epoch_than_its_history() {
    for seed in 0..10 {
        let mut world = serving_as(3, 1, seed, |config| config.member.sync_enabled = false);
        let mut written = write(&mut world, OBSERVER, "a", 10);
        let leader = world.leader().expect("serving");
        world.kill(leader);
        world.until("serving again", 20_000, |world| world.leader().is_some() && world.all_serve());
        written.extend(write(&mut world, OBSERVER, "b", 10));
        world.start(leader);
        world.until("all serve", 20_000, |world| world.all_serve());
        let of_others = world.process(0).replica.report().current_epoch;
        world.kill(OBSERVER);
        let (_, recovered) = world.machines[OBSERVER].disk.recover();
        let epochs = (recovered.last_zxid, recovered.current_epoch, recovered.accepted_epoch);
        assert_eq!(epochs, (Zxid::ZERO, Some(of_others - 1), Some(of_others)), "seed {seed}");
        world.start(OBSERVER);
        world.until("back", 20_000, |world| world.all_serve());
        assert_all_there(&mut world, &written);
    }
}
