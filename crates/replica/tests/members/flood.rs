//! A learner that asks for more than its leader can hold: it is not read for a while, and nothing
//! is lost, overtaken or taken for a failure by that.

use std::sync::Arc;

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{ErrorCode, OpCode, Zxid};
use rookeeper_replica::MemberEvent;
use rookeeper_tree::AccessControl;

use crate::roles::serving_as;
use crate::world::World;

const REQUESTS: u32 = 300;
const REQUESTS_MAX: u32 = 20;

fn proposed(world: &mut World, leader: usize) -> Zxid {
    world.process(leader).replica.report().leading.expect("it leads").proposed
}

fn floods(world: &mut World, leader: usize) -> usize {
    let events = world.process(leader).events.iter();
    events.filter(|(_, event)| matches!(event, MemberEvent::LearnerFloods(_))).count()
}

/// The leader's disk does nothing: what it takes up meanwhile stays in its memory.
#[test]
fn a_leader_reads_no_more_of_a_learner_than_it_can_hold() {
    for seed in 0..5 {
        let mut world = serving_as(3, 1, seed, |config| {
            config.member.load.requests_max = REQUESTS_MAX as usize;
        });
        let leader = world.leader().expect("serving");
        let follower = (leader + 1) % 3;
        let client = world.connect(follower);
        let calm = world.connect(3);
        world.pass(200);
        let before = proposed(&mut world, leader);
        world.machines[leader].disk_full = true;
        for number in 0..REQUESTS {
            world.ask_create(client, &format!("/flood-{number:03}"), 0);
        }
        // Longer than the syncLimit: who is not read is not silent.
        world.pass(3500);
        let taken = proposed(&mut world, leader).counter() - before.counter();
        // One read brings 3,000 bytes at most.
        assert!((REQUESTS_MAX..REQUESTS_MAX + 45).contains(&taken), "seed {seed}: {taken}");
        assert!(floods(&mut world, leader) == 1, "seed {seed}");
        let asked = world.ask_create(calm, "/calm", 0);
        world.pass(500);
        let others = proposed(&mut world, leader).counter() - before.counter();
        assert_eq!(others, taken + 1, "seed {seed}: the others go on");
        world.fill_disk(leader, false);
        assert_eq!(world.answer(calm, 5000).expect("an answer").header.xid.0, asked);
        let mut last = Zxid::ZERO;
        for number in 0..REQUESTS {
            let reply = world.answer(client, 5000).expect("an answer");
            assert_eq!((reply.header.err, reply.header.xid.0), (0, number as i32 + 1));
            assert!(reply.header.zxid > last, "in order");
            last = reply.header.zxid;
        }
        assert!(floods(&mut world, leader) > 1, "it was read again, bit by bit");
        for server in 0..4 {
            let events = &world.process(server).events;
            let ended = |event: &MemberEvent| matches!(event, MemberEvent::RoleEnded(_));
            assert!(!events.iter().any(|(at_us, event)| *at_us > 6_000_000 && ended(event)));
        }
        world.assert_equal();
    }
}

/// Java: `Leader.isQuorumSynced`, which asks each learner's handler when it heard of it.
#[test]
fn who_was_not_heard_of_makes_no_quorum_of_a_new_configuration() {
    let mut world = serving_as(3, 0, 1, |config| {
        config.member.load.requests_max = REQUESTS_MAX as usize;
        config.access = Arc::new(AccessControl::new(vec![], true));
    });
    let leader = world.leader().expect("serving");
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let (client, operator) = (world.connect(follower), world.connect(leader));
    world.machines[leader].disk_full = true;
    for number in 0..REQUESTS {
        world.ask_create(client, &format!("/flood-{number:03}"), 0);
    }
    world.pass(3500);
    let leaving = world.machines[other].id.to_string();
    let body = ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some(leaving.as_str().into()),
        new_members: None,
        cur_config_id: -1,
    };
    world.request(operator, OpCode::Reconfig, &body);
    world.fill_disk(leader, false);
    let reply = world.answer(operator, 5000).expect("an answer");
    assert_eq!(reply.header.err, ErrorCode::NewConfigNoQuorum.to_i32());
    world.pass(2000);
    world.request(operator, OpCode::Reconfig, &body);
    assert_eq!(world.answer(operator, 5000).expect("an answer").header.err, 0, "it is back");
}
