//! Configurations that change while everybody serves.

use std::sync::Arc;

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{ErrorCode, OpCode, ServerId, Zxid};
use rookeeper_replica::{MemberEvent, ReplicaConfig, ServerState};
use rookeeper_tree::AccessControl;
use rookeeper_zab::learner::SyncStart;
use rookeeper_zab::membership::{Membership, MembershipRules};

use crate::faults::{all_is_well, assert_all_there, seeds, something_happens, try_write};
use crate::roles::{serving, serving_as};
use crate::world::World;

/// Asks for a change, as somebody who may.
pub fn reconfigure(world: &mut World, client: usize, joining: &str, leaving: &str) -> Option<i32> {
    let body = ReconfigRequest {
        joining_servers: Some(joining.into()),
        leaving_servers: Some(leaving.into()),
        new_members: None,
        cur_config_id: -1,
    };
    world.request(client, OpCode::Reconfig, &body);
    world.answer(client, 20_000).map(|reply| reply.header.err)
}

pub fn line(id: usize, role: &str) -> String {
    format!("server.{id}=zoo{id}:2888:3888:{role};zoo{id}:2181")
}

/// An ensemble whose clients may change it.
fn open(participants: u64, observers: u64, seed: u64) -> World {
    serving_as(participants, observers, seed, lets_everybody)
}

/// No access is checked.
pub fn lets_everybody(config: &mut ReplicaConfig) {
    config.access = Arc::new(AccessControl::new(vec![], true));
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
pub fn assert_settled(world: &mut World) {
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

/// Whoever is named next may not hear of it, and the other voters are needed both.
#[test]
fn nothing_is_proposed_behind_the_change_that_ends_a_leader() {
    for seed in 0..40 {
        let mut world = open(3, 0, seed);
        let leader = world.leader().expect("serving");
        let writers: Vec<usize> = (0..3).map(|server| world.connect(server)).collect();
        let body = ReconfigRequest {
            joining_servers: None,
            leaving_servers: Some(format!("{}", leader + 1).into()),
            new_members: None,
            cur_config_id: -1,
        };
        let own = world.connect((leader + 1) % 3);
        world.request(own, OpCode::Reconfig, &body);
        let (mut number, mut asks_at_us) = (0, 0);
        world.until("another leads", 10_000, |world| {
            if world.now_us >= asks_at_us {
                for writer in &writers {
                    world.ask_create(*writer, &format!("/{number}"), 0);
                }
                (number, asks_at_us) = (number + 1, world.now_us + 100);
            }
            world.leader().is_some_and(|at| at != leader)
        });
        let synchronised = |world: &mut World| {
            let events = &world.process(leader).events;
            events.iter().rev().find_map(|(_, event)| match event {
                MemberEvent::Synchronises(start) => Some(*start),
                _ => None,
            })
        };
        world.until("it learns", 10_000, |world| synchronised(world).is_some());
        assert_eq!(synchronised(&mut world), Some(SyncStart::Diff), "seed {seed}");
    }
}

/// Its followers have the last transaction of the epoch, which may be its own removal, and its own
/// disk does not take it: its clients are not kept for that.
#[test]
fn a_leader_whose_disk_stalls_at_the_end_of_an_epoch_leaves_all_the_same() {
    for (seed, is_removed) in (0..10).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = serving_as(4, 0, seed, |config| {
            lets_everybody(config);
            config.core.epoch_counter_last = 30;
        });
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        let mut written = Vec::new();
        while world.process(leader).replica.report().history_last.counter() < 29 {
            written.extend(write_as(&mut world, client, written.len()));
        }
        world.pass(500);
        world.stall_disk(leader, true);
        let asked_us = world.now_us;
        if is_removed {
            let body = ReconfigRequest {
                joining_servers: None,
                leaving_servers: Some(format!("{}", leader + 1).into()),
                new_members: None,
                cur_config_id: -1,
            };
            world.request(client, OpCode::Reconfig, &body);
        } else {
            world.ask_create(client, "/last", 0);
        }
        world.until("its client may go elsewhere", 10_000, |world| world.is_closed(client));
        assert!(!world.has_frame(client), "seed {seed}: it cannot know");
        let took_ms = (world.now_us - asked_us) / 1000;
        assert!(took_ms < 2000, "seed {seed}: {took_ms} ms");
        assert!(world.process(leader).events.iter().any(
            |(_, event)| matches!(event, MemberEvent::RoleEnded(why) if why.contains("the disk"))
        ));
        world.until("another leads", 10_000, |world| {
            world.leader().is_some_and(|next| next != leader)
        });
        let next = world.leader().expect("it leads");
        let committed = world.process(next).replica.report().committed;
        let is_voter = committed.is_voter(ServerId(leader as i64 + 1));
        assert_eq!(is_voter, !is_removed, "seed {seed}");
        world.stall_disk(leader, false);
        assert_settled(&mut world);
        let client = world.connect(next);
        written.extend(write_as(&mut world, client, written.len()));
        assert_settled(&mut world);
        assert_all_there(&mut world, &written);
    }
}

fn write_as(world: &mut World, client: usize, number: usize) -> Option<String> {
    let path = format!("/n{number}");
    world.create(client, &path).then_some(path)
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

/// Clients that write all the while.
struct Writers {
    clients: Vec<usize>,
    asked: usize,
    /// What each waits for.
    open: Vec<Option<String>>,
    acknowledged: Vec<String>,
}

impl Writers {
    fn new(world: &mut World, servers: &[usize]) -> Writers {
        let clients: Vec<usize> = servers.iter().map(|server| world.connect(*server)).collect();
        let open = vec![None; clients.len()];
        Writers { clients, asked: 0, open, acknowledged: Vec::new() }
    }

    /// Takes the answers that came, and asks for more; who lost its server goes to another one.
    fn go_on(&mut self, world: &mut World) {
        for at in 0..self.clients.len() {
            let client = self.clients[at];
            if let Some(reply) = world.reply(client) {
                assert_eq!(reply.header.err, 0);
                self.acknowledged.extend(self.open[at].take());
            }
            if world.is_closed(client) {
                self.open[at] = None;
                let Some(server) = (0..world.machines.len()).find(|at| world.serves(*at)) else {
                    continue;
                };
                if let Some(next) = world.try_connect(server, 1000) {
                    self.clients[at] = next;
                }
            } else if self.open[at].is_none() {
                let path = format!("/w{}", self.asked);
                self.asked += 1;
                world.ask_create(client, &path, 0);
                self.open[at] = Some(path);
            }
        }
    }

    fn until(&mut self, world: &mut World, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        let by_us = world.now_us + 20_000_000;
        while !done(world) {
            assert!(world.now_us < by_us, "not {what}");
            world.pass(2);
            self.go_on(world);
        }
    }
}

fn whole(ids: &[usize]) -> ReconfigRequest<'static> {
    let lines: Vec<String> = ids.iter().map(|id| line(*id, "participant")).collect();
    ReconfigRequest {
        joining_servers: None,
        leaving_servers: None,
        new_members: Some(lines.join("\n").into()),
        cur_config_id: -1,
    }
}

fn ask(world: &mut World, client: usize, body: &ReconfigRequest<'_>) -> Option<i32> {
    world.request(client, OpCode::Reconfig, body);
    world.answer(client, 20_000).map(|reply| reply.header.err)
}

#[test]
fn three_become_five_and_three_others_while_everybody_writes() {
    for seed in 0..10 {
        let mut world = open(3, 0, seed);
        let mut writers = Writers::new(&mut world, &[0, 1, 2]);
        writers.until(&mut world, "written", |world| world.now_us > 5_500_000);
        for _ in 0..2 {
            let joiner = world.add_machine();
            world.start(joiner);
        }
        writers.until(&mut world, "joined", |world| world.all_serve());
        let client = world.connect(seed as usize % 3);
        let reply = if seed % 2 == 0 {
            ask(&mut world, client, &whole(&[1, 2, 3, 4, 5]))
        } else {
            let joining = format!("{},{}", line(4, "participant"), line(5, "participant"));
            reconfigure(&mut world, client, &joining, "")
        };
        assert_eq!(reply, Some(0), "seed {seed}");
        writers.until(&mut world, "five", |world| {
            let states: Vec<_> = (3..5).map(|at| world.process(at).state).collect();
            states == [ServerState::Following; 2] && world.all_serve()
        });
        // The two that leave may be any, the leader too.
        let first = seed as usize % 5;
        let leaving = [first, (first + 1) % 5];
        let staying: Vec<usize> = (0..5).filter(|at| !leaving.contains(at)).collect();
        let ids: Vec<usize> = staying.iter().map(|at| at + 1).collect();
        let client = world.connect(staying[0]);
        let reply = if seed % 2 == 0 {
            let leaving: Vec<String> = leaving.iter().map(|at| (at + 1).to_string()).collect();
            reconfigure(&mut world, client, "", &leaving.join(","))
        } else {
            ask(&mut world, client, &whole(&ids))
        };
        // Where the leader goes, who asked elsewhere may not hear of it.
        assert!(matches!(reply, Some(0) | None), "seed {seed}: {reply:?}");
        writers.until(&mut world, "three lead themselves", |world| {
            world.leader().is_some_and(|at| staying.contains(&at))
                && staying.iter().all(|at| world.serves(*at))
        });
        for gone in leaving {
            world.kill(gone);
        }
        let before = writers.acknowledged.len();
        let by_us = world.now_us + 500_000;
        writers.until(&mut world, "written", |world| world.now_us > by_us);
        assert!(writers.acknowledged.len() > before, "seed {seed}: three serve");
        assert_settled(&mut world);
        for &server in &staying {
            let tree = &world.process(server).shared.tree;
            for path in &writers.acknowledged {
                assert!(tree.node(path).is_some(), "seed {seed}: {path} at {server}");
            }
            assert!(!shown(&mut world, server).contains(&format!("server.{}=", first + 1)));
        }
        // Two of three are a quorum.
        let leader = world.leader().expect("serving");
        let other = *staying.iter().find(|at| **at != leader).expect("three stay");
        world.kill(other);
        let client = world.connect(leader);
        assert!(world.create(client, "/two-of-three"), "seed {seed}");
    }
}

#[test]
fn a_change_is_refused_with_javas_codes() {
    let mut world = open(3, 0, 2);
    let leader = world.leader().expect("serving");
    let before = shown(&mut world, leader);
    for server in [leader, (leader + 1) % 3] {
        let client = world.connect(server);
        let body =
            |joining: &str, leaving: &str, members: Option<&str>, version: i64| ReconfigRequest {
                joining_servers: (!joining.is_empty()).then(|| joining.to_owned().into()),
                leaving_servers: (!leaving.is_empty()).then(|| leaving.to_owned().into()),
                new_members: members.map(|members| members.to_owned().into()),
                cur_config_id: version,
            };
        let far = format!("{},{}", line(7, "participant"), line(8, "participant"));
        let many = format!("{far},{}", line(9, "participant"));
        let strange = format!("{far},group.1=7:8:5");
        for (body, code) in [
            (body("", "3", None, 5), ErrorCode::BadVersion),
            (body("", "x", None, -1), ErrorCode::MarshallingError),
            (body("server.9=nonsense", "", None, -1), ErrorCode::BadArguments),
            (body("", "2,3", None, -1), ErrorCode::BadArguments),
            (body("", "", Some(""), -1), ErrorCode::BadArguments),
            (body("server.9=h:70000:3;4", "", None, -1), ErrorCode::MarshallingError),
            (body("server.9=h:-2:3;4", "", None, -1), ErrorCode::MarshallingError),
            (body("server.9=h:2:3;70000", "", None, -1), ErrorCode::MarshallingError),
            (body("server.9=h:2:x;4", "", None, -1), ErrorCode::BadArguments),
            (body("", "", Some("server.9=h:2:3:observer;4"), -1), ErrorCode::MarshallingError),
            (body("", "", Some("server.9=h:2:3;4"), -1), ErrorCode::BadArguments),
            (body("", "", Some(&strange), -1), ErrorCode::MarshallingError),
            (body(&many, "", None, -1), ErrorCode::NewConfigNoQuorum),
            (body("", "1,2", Some(&far), -1), ErrorCode::NewConfigNoQuorum),
        ] {
            assert_eq!(ask(&mut world, client, &body), Some(code.to_i32()), "{body:?}");
        }
        assert!(world.create(client, &format!("/still-{server}")));
    }
    world.pass(1000);
    for server in 0..3 {
        assert_eq!(shown(&mut world, server), before);
    }
}

#[test]
fn one_change_at_a_time() {
    let mut world = open(5, 0, 3);
    let leader = world.leader().expect("serving");
    let client = world.connect(leader);
    for leaving in ["4", "5"] {
        let leaving = if leaving == format!("{}", leader + 1) { "3" } else { leaving };
        let body = ReconfigRequest {
            joining_servers: None,
            leaving_servers: Some(leaving.into()),
            new_members: None,
            cur_config_id: -1,
        };
        world.request(client, OpCode::Reconfig, &body);
    }
    let first = world.answer(client, 5000).expect("answered");
    let second = world.answer(client, 5000).expect("answered");
    assert_eq!(first.header.err, 0);
    assert_eq!(second.header.err, ErrorCode::ReconfigInProgress.to_i32());
    assert!(first.body.windows(8).any(|part| part == b"version="), "the configuration's text");
}

#[test]
fn a_server_that_moves_to_other_ports_is_followed_there() {
    for seed in 0..6 {
        let mut world = open(3, 0, seed);
        let leader = world.leader().expect("serving");
        let moving = (leader + seed as usize % 3) % 3;
        let id = moving + 1;
        let joining = format!("server.{id}=zoo{id}:2889:3889:participant;zoo{id}:2181");
        let client = world.connect((moving + 1) % 3);
        let reply = reconfigure(&mut world, client, &joining, "");
        assert!(matches!(reply, Some(0) | None), "seed {seed}: {reply:?}");
        world.pass(1000);
        assert_settled(&mut world);
        let text = shown(&mut world, moving);
        assert!(text.contains(&format!("server.{id}=zoo{id}:2889:3889")), "{text}");
    }
}

#[test]
fn the_ensemble_changes_while_anything_happens() {
    let mut changed = 0;
    for seed in 0..seeds(30) {
        let mut world = open(5, 0, seed);
        let mut written = Vec::new();
        for round in 0..20 {
            something_happens(&mut world);
            let pause_ms = world.dice.below(1500);
            world.pass(pause_ms);
            let server = world.dice.below(5) as usize;
            if world.is_up(server) && world.serves(server) {
                written.extend(try_write(&mut world, server, round));
                changed += u64::from(try_to_change(&mut world, server));
            }
            all_is_well(&mut world, 3);
        }
        world.heal();
        all_is_well(&mut world, 1);
        world.until(&format!("all serve, seed {seed}"), 30_000, |world| world.all_serve());
        assert_settled(&mut world);
        assert_all_there(&mut world, &written);
    }
    assert!(changed >= seeds(30), "{changed} changes");
}

/// Asks that somebody leaves, or comes back in a role; waits no longer than a second. Whether it
/// was done.
fn try_to_change(world: &mut World, server: usize) -> bool {
    let Some(client) = world.try_connect(server, 1000) else { return false };
    let whom = 1 + world.dice.below(5) as usize;
    let (joining, leaving) = match world.dice.below(4) {
        0 => (None, Some(format!("{whom}"))),
        1 => (Some(line(whom, "observer")), None),
        _ => (Some(line(whom, "participant")), None),
    };
    let body = ReconfigRequest {
        joining_servers: joining.map(Into::into),
        leaving_servers: leaving.map(Into::into),
        new_members: None,
        cur_config_id: -1,
    };
    world.request(client, OpCode::Reconfig, &body);
    world.try_answer(client, 1000).is_some_and(|reply| reply.header.err == 0)
}

/// Whether nobody takes a configuration for pending.
#[track_caller]
fn assert_nothing_pends(world: &mut World) {
    for server in 0..world.machines.len() {
        let report = world.process(server).replica.report();
        let known = (report.committed.version(), report.last_seen.version());
        assert_eq!(known.0, known.1, "at {server}");
    }
}

#[test]
fn a_change_that_only_its_leader_saw_decides_nothing_later() {
    for seed in 0..10 {
        let mut world = open(5, 0, seed);
        let leader = world.leader().expect("serving");
        let client = world.connect(leader);
        assert!(world.create(client, "/before"));
        world.partition(&[leader]);
        let body = ReconfigRequest {
            joining_servers: None,
            leaving_servers: Some(format!("{}", (leader + 1) % 5 + 1).into()),
            new_members: None,
            cur_config_id: -1,
        };
        world.request(client, OpCode::Reconfig, &body);
        world.until("another leads", 60_000, |world| {
            (0..5).any(|at| at != leader && world.process(at).state == ServerState::Leading)
                && world.process(leader).state == ServerState::Looking
        });
        let report = world.process(leader).replica.report();
        assert!(report.last_seen.version() > report.committed.version(), "it saw it");
        let other = (0..5).find(|at| *at != leader && world.serves(*at)).expect("a majority");
        let client = world.connect(other);
        assert!(world.create(client, "/while"));
        world.heal();
        assert_settled(&mut world);
        assert_nothing_pends(&mut world);
    }
}

#[test]
fn a_change_that_is_not_in_the_log_is_forgotten_at_the_start() {
    let mut world = open(3, 0, 1);
    let leader = world.leader().expect("serving");
    let client = world.connect(leader);
    assert!(world.create(client, "/before"));
    // The machine's power went out between its file and its log.
    let report = world.process(leader).replica.report();
    let far = report.history_last.0 + 1;
    let text = format!("{}\n{}\n", line(1, "participant"), line(2, "participant"));
    let pending = Membership::parse(&text, &MembershipRules::default()).expect("a membership");
    world.kill(leader);
    world.machines[leader].disk.write_membership(&pending.with_version(far), true);
    world.start(leader);
    let report = world.process(leader).replica.report();
    assert_eq!(report.last_seen.version(), report.committed.version());
    assert_settled(&mut world);
    assert_nothing_pends(&mut world);
}

/// Whoever leads before the change is in force that makes it a voter goes on when it is.
#[test]
fn a_leader_without_a_vote_in_force_keeps_its_epoch() {
    for (seed, observes) in (0..12).map(|seed| (seed, seed % 2 == 0)) {
        let mut world = open(3, u64::from(observes), seed);
        if !observes {
            world.add_machine();
            world.start(3);
        }
        world.until("the fourth observes", 20_000, |world| world.serves(3));
        let before = world.process(0).replica.report().committed.clone();
        let client = world.connect(0);
        assert_eq!(reconfigure(&mut world, client, &line(4, "participant"), ""), Some(0));
        assert_settled(&mut world);
        let change = Zxid(world.process(3).replica.report().committed.version());
        let client = world.connect(3);
        assert!(world.create(client, "/after"));
        world.until("all have it", 20_000, |world| {
            let last = |at: usize| world.machines[at].disk.last();
            (1..4).all(|at| last(at) == last(0))
        });
        for at in 0..4 {
            world.kill(at);
            world.machines[at].disk.write_membership(&before, false);
            if at < 3 {
                world.machines[at].disk.cut(change);
            }
        }
        let epoch = world.machines[3].disk.current.expect("there was a leader");
        for at in 1..4 {
            world.start(at);
        }
        world.until(&format!("all serve, seed {seed}"), 30_000, |world| {
            (1..4).all(|at| world.serves(at))
        });
        assert_eq!(world.leader(), Some(3), "seed {seed}");
        world.pass(3000);
        assert_eq!((world.leader(), world.machines[1].disk.current), (Some(3), Some(epoch + 1)));
        let client = world.connect(1);
        assert!(world.create(client, "/later"), "seed {seed}");
    }
}
