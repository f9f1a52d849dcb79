//! Scenarios that every mix of members passes: each under load, each judged at the end.

use super::client::Client;
use super::harness::{Ensemble, Plan};
use super::load::{Amount, Load, Summary, create};
use super::member::Mode;
use super::network::Network;
use super::program::{JAVA, Program};
use crate::request::{self, text};
use crate::server::scratch;
use crate::wire::{Writer, frame, opcode};
use std::time::Duration;

/// Members by letter: `J` is Java, `R` is ours; small letters are observers, which come last. The
/// last voter leads where all start equal.
pub fn plan(letters: &str) -> Plan {
    plan_with(letters, &JAVA, &Program::ours())
}

/// The same with these programs.
pub fn plan_with(letters: &str, java: &Program, ours: &Program) -> Plan {
    let programs = letters.chars().map(|letter| match letter {
        'J' | 'j' => java.clone(),
        'R' | 'r' => ours.clone(),
        other => panic!("no member is written {other}"),
    });
    let observers = letters.chars().filter(char::is_ascii_lowercase).count();
    Plan::new(programs.collect::<Vec<_>>()).observers(observers)
}

/// The voter that leads an ensemble of this plan at first.
pub fn first_leader(plan: &Plan) -> usize {
    plan.programs.len() - plan.observers - 1
}

/// The member that scenarios of one learner are about: the last observer, else the first voter.
pub(super) fn learner(plan: &Plan) -> usize {
    if plan.observers > 0 { plan.programs.len() - 1 } else { 0 }
}

/// Lays out an ensemble and starts it so that its last voter leads.
pub fn start(name: &str, plan: &Plan) -> Ensemble {
    let mut ensemble = Ensemble::prepare(name, plan.clone());
    ensemble.start_led_by(first_leader(plan));
    ensemble
}

pub(super) fn finish(load: Load, ensemble: &mut Ensemble, what: &str) -> Summary {
    let summary = load.finish(ensemble);
    println!("{what}: {summary:?}");
    assert_eq!(summary.expired, 0, "sessions expired: {summary:?}");
    assert!(summary.writes > 300, "hardly any load: {summary:?}");
    summary
}

/// A load that expects sync to be linearizable where ours leads from beginning to end.
pub(super) fn amount(plan: &Plan, leader_stays: bool) -> Amount {
    let ours = !plan.programs[first_leader(plan)].is_java();
    Amount { linearizable: ours && leader_stays, ..Amount::light() }
}

/// The leader is killed under load, twice, and comes back as what it is not any more.
pub fn leader_killed(plan: &Plan) {
    let mut ensemble = start("leader-killed", plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, false));
    load.wait_writes(300);
    for _ in 0..2 {
        let leader = ensemble.wait_leader();
        ensemble.members[leader].kill();
        let next = ensemble.wait_leader();
        assert_ne!(next, leader);
        load.wait_writes(200);
        ensemble.launch(leader);
        ensemble.wait_serving();
        assert_eq!(ensemble.members[leader].mode(), Some(Mode::Follower));
        load.wait_writes(100);
    }
    finish(load, &mut ensemble, "leader killed");
}

/// Each member that does not lead is killed under load and comes back.
pub fn followers_killed(plan: &Plan) {
    let mut ensemble = start("followers-killed", plan);
    let leader = first_leader(plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, true));
    load.wait_writes(300);
    for index in (0..plan.programs.len()).filter(|index| *index != leader) {
        ensemble.members[index].kill();
        load.wait_writes(150);
        ensemble.launch(index);
        ensemble.wait_serving();
        load.wait_writes(100);
    }
    assert_eq!(ensemble.leader(), Some(leader), "the leader has changed");
    finish(load, &mut ensemble, "followers killed");
}

/// A follower, then the leader, stand still for longer than the others wait for them.
pub fn members_paused(plan: &Plan) {
    let plan = &plan.clone().config("syncLimit=6");
    let mut ensemble = start("members-paused", plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, false));
    load.wait_writes(300);
    let leader = ensemble.wait_leader();
    ensemble.members[0].pause();
    ensemble.wait_followers(leader, plan.programs.len() - 2);
    load.wait_writes(100);
    ensemble.members[0].go_on();
    ensemble.wait_serving();
    let leader = ensemble.wait_leader();
    ensemble.members[leader].pause();
    let next = ensemble.wait_leader();
    assert_ne!(next, leader);
    load.wait_writes(150);
    ensemble.members[leader].go_on();
    ensemble.wait("the old leader to follow", |e| e.members[leader].mode() == Some(Mode::Follower));
    load.wait_writes(100);
    finish(load, &mut ensemble, "members paused");
}

/// The leader alone, cut off from all others in the network while clients still reach it; then a
/// follower that hears the leader but is not heard.
///
/// # Errors
/// Where this machine has no network namespaces.
pub fn partitions(plan: &Plan) -> Result<(), String> {
    let plan = &plan.clone().config("syncLimit=6");
    let count = plan.programs.len();
    let network = Network::namespaces(count)?;
    let directory = scratch("partitions");
    let mut ensemble = Ensemble::prepare_on("partitions", plan.clone(), network, directory);
    let leader = first_leader(plan);
    ensemble.start_led_by(leader);
    let load = Load::start(&ensemble.addresses(), &amount(plan, false));
    load.wait_writes(300);
    let others: Vec<usize> = (0..count).filter(|index| *index != leader).collect();
    for other in &others {
        ensemble.network.cut(leader, *other, true);
        ensemble.network.cut(*other, leader, true);
    }
    ensemble.wait("another leader", |e| {
        others.iter().any(|index| e.members[*index].mode() == Some(Mode::Leader))
    });
    load.wait_writes(200);
    for other in &others {
        ensemble.network.cut(leader, *other, false);
        ensemble.network.cut(*other, leader, false);
    }
    ensemble.wait_serving();
    load.wait_writes(100);
    let leader = ensemble.wait_leader();
    let mute = (0..first_leader(plan) + 1).find(|index| *index != leader).expect("two voters");
    ensemble.network.cut(mute, leader, true);
    ensemble.wait_followers(leader, count - 2);
    load.wait_writes(100);
    ensemble.network.cut(mute, leader, false);
    ensemble.wait_serving();
    load.wait_writes(100);
    finish(load, &mut ensemble, "partitions");
    Ok(())
}

/// How a member that comes back is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// By what it lacks.
    Diff,
    /// By cutting off what nobody else has, first.
    Trunc,
    /// By all znodes.
    Snap,
}

/// What Java's log says of it: of the learner, and of the leader.
fn traces(sync: Sync, learner: usize) -> (&'static str, String) {
    let id = learner + 1;
    match sync {
        Sync::Diff => ("Getting a diff from the leader", format!("for peer sid: {id}")),
        Sync::Trunc => ("Truncating log to get in sync with the leader", String::new()),
        Sync::Snap => ("Getting a snapshot from leader", "Sending snapshot last zxid".into()),
    }
}

/// Whether the member was synchronised in that way at its last start, as far as the learner's log
/// or a Java leader's tells; `None` where neither does.
pub fn was_synchronised(ensemble: &Ensemble, learner: usize, sync: Sync) -> Option<bool> {
    let leader = ensemble.leader().expect("an ensemble that serves has a leader");
    let (of_learner, of_leader) = traces(sync, learner);
    let member = &ensemble.members[learner];
    let log = member.log_of_this_run();
    if member.program.is_java() {
        return Some(log.contains(of_learner));
    }
    if sync == Sync::Trunc {
        return Some(log.contains("never committed is cut off"));
    }
    let member = &ensemble.members[leader];
    member.program.is_java().then(|| member.log_of_this_run().contains(&of_leader))
}

pub(super) fn assert_synchronised(ensemble: &mut Ensemble, learner: usize, sync: Sync) {
    if was_synchronised(ensemble, learner, sync) == Some(false) {
        panic!("member {learner} was not synchronised by {sync:?}\n{}", ensemble.describe());
    }
}

/// A learner is away while others write a little, and gets what it lacks.
pub fn diff(plan: &Plan) {
    let (mut ensemble, learner) = (start("diff", plan), learner(plan));
    let load = Load::start(&ensemble.addresses(), &amount(plan, true));
    load.wait_writes(300);
    ensemble.members[learner].stop();
    load.wait_writes(60);
    ensemble.launch(learner);
    ensemble.wait_serving();
    assert_synchronised(&mut ensemble, learner, Sync::Diff);
    load.wait_writes(100);
    finish(load, &mut ensemble, "diff");
}

/// A learner is away for longer than the leader's memory of transactions reaches, with a history on
/// disk that may not be used, then with an empty disk: all znodes are sent, under load.
pub fn snap(plan: &Plan) {
    let plan = &plan.clone().property("zookeeper.snapshotSizeFactor=-1");
    let mut ensemble = Ensemble::prepare("snap", plan.clone());
    for member in ensemble.members.iter_mut().filter(|member| !member.program.is_java()) {
        // Ours proves which history its disk holds, and would use it however long it is.
        member.properties.push("zookeeper.forceSnapshotSync=true".to_owned());
    }
    ensemble.start_led_by(first_leader(plan));
    let learner = learner(plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, true));
    load.wait_writes(100);
    for wiped in [false, true] {
        ensemble.members[learner].stop();
        load.wait_writes(700);
        if wiped {
            ensemble.members[learner].wipe();
        }
        ensemble.launch(learner);
        ensemble.wait_serving();
        assert_synchronised(&mut ensemble, learner, Sync::Snap);
        load.wait_writes(100);
    }
    finish(load, &mut ensemble, "snap");
}

/// The leader logs a write that no other member gets, and dies. Behind the next leader it must
/// drop that write: without clients, so that the new epoch has no transaction (TRUNC).
pub fn truncated(plan: &Plan) {
    let mut ensemble = start("truncated", plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, false));
    load.wait_writes(300);
    finish(load, &mut ensemble, "before the lost write");
    let leader = ensemble.wait_leader();
    let mut client = Client::of_one(ensemble.members[leader].address);
    create(&mut client, "/before", b"");
    ensemble.wait_equal_zxids();
    for index in (0..plan.programs.len()).filter(|index| *index != leader) {
        ensemble.members[index].pause();
    }
    client.send(request::create(
        opcode::CREATE,
        &text("/never-acknowledged"),
        Some(b"x"),
        request::open_acl().as_deref(),
        0,
    ));
    ensemble.wait("the write in the leader's log", |e| {
        e.members[leader].has_logged(b"/never-acknowledged")
    });
    ensemble.members[leader].kill();
    // Killed while they stand still: what their sockets hold of the write goes with them.
    let others: Vec<usize> = (0..plan.programs.len()).filter(|index| *index != leader).collect();
    for index in &others {
        ensemble.members[*index].kill();
    }
    for index in others {
        ensemble.launch(index);
    }
    let next = ensemble.wait_leader();
    assert_ne!(next, leader);
    ensemble.launch(leader);
    ensemble.wait_serving();
    assert_synchronised(&mut ensemble, leader, Sync::Trunc);
    let tree = super::load::equal_trees(&mut ensemble);
    assert!(tree.contains_key("/before") && !tree.contains_key("/never-acknowledged"));
    for index in 0..plan.programs.len() {
        let mut client = Client::of_one(ensemble.members[index].address);
        for number in 0..150 {
            create(&mut client, &format!("/after-{index}-{number}"), b"y");
        }
        client.ask(request::close_session());
    }
    super::load::equal_trees(&mut ensemble);
    super::digests::compare(&ensemble).unwrap_or_else(|why| panic!("{why}"));
}

/// A create that ends early, sent to each member: an error, or the end of that connection; all
/// others go on, and nothing is made.
pub fn truncated_create(plan: &Plan) {
    let mut ensemble = start("truncated-create", plan);
    let load = Load::start(&ensemble.addresses(), &amount(plan, true));
    load.wait_writes(300);
    let leader = ensemble.wait_leader();
    let java = |index: usize| plan.programs[index].is_java();
    for index in 0..plan.programs.len() {
        // A Java leader answers its own client and commits nothing more; Java's followers forward
        // such a request unread, with the same end.
        if java(index) && java(leader) {
            continue;
        }
        let mut client = Client::of_one(ensemble.members[index].address);
        client.patience = Duration::from_secs(10);
        let body = Writer::new().int(1).int(opcode::CREATE).int(200).raw(b"/cut").bytes;
        client.send_raw(&frame(&body));
        let event = client.receive();
        println!("member {index} answers {event:?}");
        if let super::client::Event::Reply(reply) = event {
            assert_eq!((reply.xid, reply.error), (1, -5), "MarshallingError");
        }
        let mut client = Client::of_one(ensemble.members[index].address);
        create(&mut client, &format!("/whole{index}"), b"");
        client.ask(request::close_session());
        load.wait_writes(50);
    }
    finish(load, &mut ensemble, "truncated create");
}

/// Every member becomes the other kind on its own directory, one by one, and then again what it
/// was, under load; no session ends and no write is lost.
pub fn rolling_replacement(java: &Program, ours: &Program) {
    let plan = plan_with("JJJ", java, ours);
    let mut ensemble = start("rolling", &plan);
    let load = Load::start(&ensemble.addresses(), &amount(&plan, false));
    load.wait_writes(300);
    for program in [ours, java] {
        for index in 0..3 {
            ensemble.replace(index, program.clone());
            ensemble.wait_serving();
            load.wait_writes(150);
        }
    }
    finish(load, &mut ensemble, "rolling replacement");
}
