//! Scenarios of learners that take more than a short test: observers behind followers, and
//! snapshots of a leader that goes on writing.

use super::client::{Client, Event};
use super::harness::{Ensemble, Plan};
use super::load::{Amount, Load, create};
use super::network::Network;
use super::scenario::{Sync, amount, assert_synchronised, finish, first_leader, learner, start};
use crate::request::{self, open_acl, text};
use crate::server::scratch;
use crate::wire::opcode;
use std::time::Duration;

/// The member that the observer learns from, as that member says.
fn wait_master(ensemble: &mut Ensemble) -> usize {
    let mut master = None;
    ensemble.wait("a member with an observer", |e| {
        let mut running = (0..e.members.len()).filter(|index| e.members[*index].pid().is_some());
        master = running.find(|index| e.members[*index].measure("zk_synced_observers") == Some(1));
        master.is_some()
    });
    master.expect("the wait ended with one")
}

/// The follower that the observer learns from: Java's draws one of all voters, and is started again
/// where that is the leader.
fn follower_with_observer(ensemble: &mut Ensemble, observer: usize) -> usize {
    for _ in 0..20 {
        ensemble.wait_serving();
        let master = wait_master(ensemble);
        if ensemble.leader() != Some(master) {
            return master;
        }
        ensemble.members[observer].stop();
        ensemble.launch(observer);
    }
    panic!("an observer draws the leader twenty times of twenty");
}

/// The last member observes, behind followers that take observers; the one that it learns from is
/// killed under load, and then the next.
///
/// # Errors
/// Where this machine has no network namespaces: the port must be the same on all members.
pub fn observer_behind_followers(plan: &Plan) -> Result<(), String> {
    let plan = &plan.clone().config("observerMasterPort=2191");
    let count = plan.programs.len();
    let (network, directory) = (Network::namespaces(count)?, scratch("masters"));
    let mut ensemble = Ensemble::prepare_on("masters", plan.clone(), network, directory);
    ensemble.start_led_by(first_leader(plan));
    let load = Load::start(&ensemble.addresses(), &amount(plan, true));
    load.wait_writes(200);
    for round in 0..2 {
        let master = follower_with_observer(&mut ensemble, count - 1);
        println!("round {round}: the observer is behind member {master}");
        ensemble.members[master].kill();
        assert_ne!(wait_master(&mut ensemble), master);
        let mut client = Client::of_one(ensemble.members[count - 1].address);
        create(&mut client, &format!("/through-the-observer{round}"), b"");
        client.ask(request::close_session());
        load.wait_writes(100);
        ensemble.launch(master);
        ensemble.wait_serving();
    }
    finish(load, &mut ensemble, "observer behind followers");
    Ok(())
}

/// Makes a tree that takes a leader a while to send.
fn grow(ensemble: &Ensemble, count: usize) {
    const WINDOW: usize = 500;
    let mut client = Client::new(&ensemble.addresses(), 0, 60_000);
    create(&mut client, "/grown", b"");
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        while sent < count && sent - answered < WINDOW {
            let path = text(&format!("/grown/n{sent}"));
            let acl = open_acl();
            let data = [b'x'; 200];
            client.send(request::create(opcode::CREATE, &path, Some(&data), acl.as_deref(), 0));
            sent += 1;
        }
        match client.receive() {
            Event::Reply(reply) if reply.error == 0 => answered += 1,
            other => panic!("{other:?} while the tree grows"),
        }
    }
    client.ask(request::close_session());
}

/// A learner with an empty disk gets a larger tree, again and again, while sessions write as fast
/// as they can: what a Java leader sends then has parts of what it does again behind it.
pub fn snap_while_all_write(plan: &Plan) {
    let plan = &plan.clone().property("zookeeper.snapshotSizeFactor=-1").config("snapCount=20000");
    let mut ensemble = start("fuzzy-snap", plan);
    let learner = learner(plan);
    grow(&ensemble, 20_000);
    let mut amount = Amount { lanes: 8, ..amount(plan, true) };
    (amount.style.depth, amount.style.pause) = (8, Duration::ZERO);
    let load = Load::start(&ensemble.addresses(), &amount);
    load.wait_writes(1000);
    for _ in 0..4 {
        ensemble.members[learner].stop();
        ensemble.members[learner].wipe();
        load.wait_writes(1000);
        ensemble.launch(learner);
        ensemble.wait_serving();
        assert_synchronised(&mut ensemble, learner, Sync::Snap);
        load.wait_writes(500);
    }
    finish(load, &mut ensemble, "snap while all write");
}
