//! Observers that learn from followers.

use std::sync::Arc;

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{OpCode, ServerId, SessionId};
use rookeeper_replica::{ObserverMasterRules, ReplicaInput, StorageReport};
use rookeeper_tree::AccessControl;
use rookeeper_zab::learner::SyncStart;

use crate::faults::{purge, starts};
use crate::world::World;

/// Three voters, two observers that go to followers.
fn serving(seed: u64) -> World {
    let mut world = World::new(3, 2, seed);
    world.configure = |config| {
        config.access = Arc::new(AccessControl::new(vec![], true));
        let rules = ObserverMasterRules { port: 2191, recent_len_max: 2000 };
        config.member.observer_master = Some(rules);
    };
    world.start_all();
    world.until("all serve", 20_000, |world| world.all_serve());
    world
}

/// Observers at followers, and at the leader.
fn observers(world: &mut World) -> (usize, usize) {
    let reports: Vec<_> = (0..3)
        .filter(|server| world.is_up(*server))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|server| world.process(server).replica.report())
        .collect();
    let at_followers = reports.iter().filter_map(|report| report.observers).sum();
    let leading = reports.iter().filter_map(|report| report.leading.as_ref());
    let at_leader = leading.flat_map(|leading| &leading.learners).filter(|it| it.observer).count();
    (at_followers, at_leader)
}

#[test]
fn followers_take_observers_off_the_leader() {
    for seed in 0..10 {
        let mut world = serving(seed);
        assert_eq!(observers(&mut world), (2, 0), "seed {seed}");
        let leader = world.leader().expect("serving");
        for server in 0..5 {
            let report = world.process(server).replica.report();
            let at_follower = |id: ServerId| (1..=3).contains(&id.0) && id.0 != leader as i64 + 1;
            assert_eq!(report.observes.is_some_and(at_follower), server >= 3, "seed {seed}");
        }
        let clients: Vec<usize> = (0..5).map(|server| world.connect(server)).collect();
        for round in 0..5 {
            for writer in &clients {
                let path = format!("/n{round}-{writer}");
                assert!(world.create(*writer, &path), "seed {seed}");
                for reader in &clients {
                    assert!(world.sync(*reader), "seed {seed}");
                    assert!(world.get(*reader, &path).is_some(), "seed {seed}");
                }
            }
        }
        world.pass(1000);
        world.assert_equal();
    }
}

/// A change that is pending may have made voters of them, without whom nobody is a master.
#[test]
fn observers_go_to_the_leader_where_nobody_is_a_master() {
    for seed in 0..5 {
        let mut world = World::new(3, 2, seed);
        world.configure = |config| {
            let rules = ObserverMasterRules { port: 2191, recent_len_max: 2000 };
            let observes = config.member.me.0 > 3;
            config.member.observer_master = observes.then_some(rules);
        };
        world.start_all();
        world.until("all serve", 20_000, |world| world.all_serve());
        assert_eq!(observers(&mut world), (0, 2), "seed {seed}");
    }
}

#[test]
fn a_follower_promises_observers_no_history_that_it_has_no_more() {
    for (seed, told) in (0..10).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = serving(seed);
        let client = world.connect(0);
        world.kill(3);
        world.kill(4);
        for at in 0..30 {
            assert!(world.create(client, &format!("/n{at}")), "seed {seed}");
        }
        for (server, first) in purge(&mut world, &[3, 4]) {
            if told {
                world.step(server, ReplicaInput::Storage(StorageReport::LogsFrom(first)));
            }
        }
        assert!(world.create(client, "/last"), "seed {seed}");
        for observer in [3, 4] {
            world.start(observer);
            world.until("it serves", 20_000, |world| world.serves(observer));
            let starts = starts(&mut world, observer);
            let snapshot = matches!(starts.last(), Some(SyncStart::Snap(_)));
            assert!(snapshot && (!told || starts.len() == 1), "seed {seed}: {starts:?}");
        }
        world.pass(1000);
        world.assert_equal();
    }
}

#[test]
fn a_session_moves_to_an_observer_and_on() {
    for seed in 0..5 {
        let mut world = serving(seed);
        let client = world.connect(3);
        let (session, password) =
            (world.clients[client].session, world.clients[client].password.clone());
        for server in [4, 0, 1, 2, 3] {
            let moved = world.resume(server, session, &password);
            assert_eq!(world.clients[moved].session, session, "seed {seed}, server {server}");
            assert!(world.create(moved, &format!("/on-{server}")));
        }
        let wrong = world.resume(4, session, &[7; 16]);
        assert_eq!(world.clients[wrong].session, SessionId(0));
    }
}

/// What a client asked for where its session was, and what comes late, is not carried out behind
/// what it has asked for since: the leader knows these servers by one connection.
#[test]
fn what_comes_late_from_where_a_session_was_is_refused_behind_one_master() {
    for seed in 0..5 {
        let mut world = serving(seed);
        let leader = world.leader().expect("serving");
        let followers: Vec<usize> = (0..3).filter(|server| *server != leader).collect();
        world.kill(followers[0]);
        let master = followers[1];
        world.until("both observers at one follower", 30_000, |world| {
            world.all_serve() && observers(world) == (2, 0)
        });
        for (at, (from, to)) in [(3, 4), (4, master), (master, 3)].into_iter().enumerate() {
            let client = world.connect(from);
            assert!(world.create(client, &format!("/first-{at}")));
            let (session, password) =
                (world.clients[client].session, world.clients[client].password.clone());
            let late = format!("/late-{at}");
            world.blocked.insert((from, master));
            if from != master {
                world.ask_create(client, &late, 0);
            }
            let moved = world.resume(to, session, &password);
            assert!(world.create(moved, &format!("/next-{at}")), "seed {seed}");
            if from == master {
                world.ask_create(client, &late, 0);
            }
            world.heal();
            world.until("the one before hears of it", 5000, |world| world.is_closed(client));
            assert!(world.sync(moved));
            assert_eq!(world.get(moved, &late), None, "seed {seed}: from {from} to {to}");
            assert!(world.create(moved, &format!("/last-{at}")), "seed {seed}");
            let back = world.resume(from, session, &password);
            assert!(world.create(back, &format!("/back-{at}")), "seed {seed}");
        }
        world.pass(1000);
        world.assert_equal();
    }
}

#[test]
fn observers_find_another_master() {
    for seed in 0..10 {
        let mut world = serving(seed);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        for killed in (0..3).filter(|server| *server != leader) {
            assert!(world.create(client, &format!("/before-{killed}")));
            world.kill(killed);
            world.until("observers at the other follower", 30_000, |world| {
                world.all_serve() && observers(world) == (2, 0)
            });
            assert!(world.create(client, &format!("/while-{killed}")));
            world.start(killed);
            world.until("all serve", 20_000, |world| world.all_serve());
        }
        world.kill(leader);
        world.until("observers of the next leader's follower", 30_000, |world| {
            world.leader().is_some() && world.all_serve() && observers(world) == (2, 0)
        });
        let client = world.connect(4);
        assert!(world.create(client, "/after"), "seed {seed}");
        world.start(leader);
        world.until("all serve", 20_000, |world| world.all_serve());
        world.pass(1000);
        world.assert_equal();
    }
}

#[test]
fn sessions_of_an_observers_clients_live_by_their_pings() {
    let mut world = serving(3);
    let client = world.connect(4);
    assert!(world.create(client, "/here"));
    let idle = world.connect(3);
    // Longer than a session lives without a word.
    for _ in 0..40 {
        world.pass(1000);
        world.get(client, "/here");
        world.tick_shards();
    }
    assert!(!world.is_closed(client), "heard of all the time");
    assert!(world.create(client, "/still-here"));
    assert!(world.is_closed(idle), "never heard of again");
}

#[test]
fn a_reconfiguration_reaches_observers_behind_followers() {
    for seed in 0..5 {
        let mut world = serving(seed);
        let client = world.connect(4);
        // Observer 4 moves, and observer 5 with it sees that.
        let joining = "server.4=zoo4:2888:3888:observer;zoo4:2182";
        let body = ReconfigRequest {
            joining_servers: Some(joining.into()),
            leaving_servers: Some("".into()),
            new_members: None,
            cur_config_id: -1,
        };
        world.request(client, OpCode::Reconfig, &body);
        let reply = world.answer(client, 20_000).expect("an answer");
        assert_eq!(reply.header.err, 0, "seed {seed}");
        world.until("all know", 10_000, |world| {
            (0..5).all(|server| {
                let report = world.process(server).replica.report();
                report.committed.version() == reply.header.zxid.0
            })
        });
        assert_eq!(observers(&mut world), (2, 0));
    }
}
