//! Configurations that change while everybody serves.

use std::sync::Arc;

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{ErrorCode, OpCode};
use rookeeper_replica::ServerState;
use rookeeper_tree::AccessControl;

use crate::roles::serving;
use crate::world::World;

/// Asks for a change, as somebody who may.
fn reconfigure(world: &mut World, client: usize, joining: &str, leaving: &str) -> Option<i32> {
    let body = ReconfigRequest {
        joining_servers: Some(joining.into()),
        leaving_servers: Some(leaving.into()),
        new_members: None,
        cur_config_id: -1,
    };
    world.request(client, OpCode::Reconfig, &body);
    world.answer(client, 20_000).map(|reply| reply.header.err)
}

fn line(id: usize, role: &str) -> String {
    format!("server.{id}=zoo{id}:2888:3888:{role};zoo{id}:2181")
}

/// An ensemble whose clients may change it.
fn open(participants: u64, observers: u64, seed: u64) -> World {
    let mut world = World::new(participants, observers, seed);
    world.configure = |config| config.access = Arc::new(AccessControl::new(vec![], true));
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    world
}

fn shown(world: &mut World, server: usize) -> String {
    let tree = &world.process(server).shared.tree;
    let node = tree.node("/zookeeper/config").expect("part of every tree");
    String::from_utf8(node.data().expect("data").to_vec()).expect("text")
}

#[test]
fn everybody_shows_the_first_configuration() {
    let mut world = serving(3, 1, 1);
    let text = shown(&mut world, 0);
    assert!(text.ends_with("version=100000000"), "{text}");
    for server in 1..4 {
        assert_eq!(shown(&mut world, server), text);
    }
}

#[test]
fn nobody_changes_what_he_may_not() {
    let mut world = serving(3, 0, 1);
    let client = world.connect(0);
    assert_eq!(reconfigure(&mut world, client, "", "3"), Some(ErrorCode::NoAuth.to_i32()));
    world.pass(1000);
    assert!(world.all_serve());
}

/// Everybody who runs shows the same configuration, and the same state.
#[track_caller]
fn assert_settled(world: &mut World) {
    world.until("all serve", 20_000, |world| world.all_serve());
    world.assert_equal();
    let leader = world.leader().expect("somebody leads");
    let text = shown(world, leader);
    for server in 0..world.machines.len() {
        if world.is_up(server) {
            assert_eq!(shown(world, server), text, "at {server}");
        }
    }
}

#[test]
fn a_server_joins_as_an_observer_and_gets_a_vote() {
    for seed in 0..10 {
        let mut world = open(3, 0, seed);
        let joiner = world.add_machine();
        world.start(joiner);
        world.until("the joiner follows", 10_000, |world| world.all_serve());
        let client = world.connect(0);
        let reply = reconfigure(&mut world, client, &line(4, "observer"), "");
        assert_eq!(reply, Some(0), "seed {seed}");
        world.until("the joiner observes", 10_000, |world| {
            world.serves(joiner) && world.process(joiner).state == ServerState::Observing
        });
        assert_settled(&mut world);
        assert!(!world.is_closed(client), "nobody else is disturbed");
        let client = world.connect(1);
        let reply = reconfigure(&mut world, client, &line(4, "participant"), "");
        // An observer is not yet synchronised as a follower: Java refuses nothing here, for the
        // three others are a quorum of four.
        assert_eq!(reply, Some(0), "seed {seed}");
        world.until("the joiner follows", 10_000, |world| {
            world.serves(joiner) && world.process(joiner).state == ServerState::Following
        });
        assert_settled(&mut world);
        // Four now: two are no quorum, and the new one counts.
        let leader = world.leader().expect("serving");
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        world.kill(others[0]);
        let client = world.connect(leader);
        assert!(world.create(client, "/three-of-four"));
        world.kill(others[1]);
        world.until("no quorum", 10_000, |world| world.leader().is_none());
    }
}

#[test]
fn a_leader_that_leaves_names_the_next_one() {
    for seed in 0..20 {
        let mut world = open(5, 0, seed);
        let leader = world.leader().expect("serving");
        let client = world.connect((leader + 1) % 5);
        assert!(world.create(client, "/before"));
        let asked_us = world.now_us;
        let own = world.connect(leader);
        let reply = reconfigure(&mut world, own, "", &format!("{}", leader + 1));
        assert_eq!(reply, Some(0), "seed {seed}: who asked is answered");
        world.until("another leads", 10_000, |world| {
            world.leader().is_some_and(|at| at != leader) && world.serves((leader + 2) % 5)
        });
        let took_ms = (world.now_us - asked_us) / 1000;
        assert!(took_ms < 200, "seed {seed}: {took_ms} ms");
        world.kill(leader);
        assert_settled(&mut world);
        let next = world.leader().expect("serving");
        let client = world.connect(next);
        assert!(world.create(client, "/after"));
        assert_settled(&mut world);
    }
}

#[test]
fn a_follower_that_leaves_or_loses_its_vote_is_no_part_of_quorums() {
    for seed in 0..10 {
        let mut world = open(5, 0, seed);
        let leader = world.leader().expect("serving");
        let (gone, observer) = ((leader + 1) % 5, (leader + 2) % 5);
        let client = world.connect(leader);
        let joining = line(observer + 1, "observer");
        let leaving = format!("{}", gone + 1);
        assert_eq!(reconfigure(&mut world, client, &joining, &leaving), Some(0));
        world.until("it observes", 10_000, |world| {
            world.serves(observer) && world.process(observer).state == ServerState::Observing
        });
        world.kill(gone);
        assert_settled(&mut world);
        // Three voters are left, of which two are a quorum.
        world.kill((leader + 3) % 5);
        world.pass(500);
        let client = world.connect(leader);
        assert!(world.create(client, "/two-of-three"));
        assert_settled(&mut world);
    }
}

#[test]
fn a_change_that_fails_half_way_is_everywhere_or_nowhere() {
    for seed in 0..40 {
        let mut world = open(5, 0, seed);
        let leader = world.leader().expect("serving");
        let leaving = world.dice.below(5) as usize;
        let client = world.connect((leader + 1) % 5);
        let body = ReconfigRequest {
            joining_servers: None,
            leaving_servers: Some(format!("{}", leaving + 1).into()),
            new_members: None,
            cur_config_id: -1,
        };
        world.request(client, OpCode::Reconfig, &body);
        let by_us = world.now_us + world.dice.below(15_000);
        world.until("a moment", 100, |world| world.now_us >= by_us);
        let victim = world.dice.below(5) as usize;
        world.kill(victim);
        world.until("serving", 20_000, |world| world.leader().is_some());
        world.start(victim);
        assert_settled(&mut world);
        let leader = world.leader().expect("serving");
        let text = shown(&mut world, leader);
        let members = text.matches("server.").count();
        assert!(members == 4 || members == 5, "{text}");
        // Restarts find what was decided.
        for server in 0..5 {
            world.kill(server);
        }
        world.start_all();
        assert_settled(&mut world);
        let leader = world.leader().expect("serving");
        assert_eq!(shown(&mut world, leader), text);
    }
}
