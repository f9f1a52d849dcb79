//! Thousands of sessions over real sockets whose leader is killed.

use rookeeper_interop::ensemble::client::Client;
use rookeeper_interop::ensemble::crowd::{Crowd, Status};
use rookeeper_interop::ensemble::harness::Ensemble;
use rookeeper_interop::ensemble::load::{create, equal_trees};
use rookeeper_interop::ensemble::scenario::plan;
use std::collections::BTreeSet;
use std::time::Instant;

fn sum(crowds: &mut [Crowd]) -> Status {
    crowds.iter_mut().map(Crowd::status).fold(Status::default(), Status::plus)
}

/// Starts so many sessions in each of so many processes, with a timeout in milliseconds and a znode
/// for each under a root of the process.
fn crowds(ensemble: &Ensemble, processes: usize, each: usize, timeout_ms: i32) -> Vec<Crowd> {
    let addresses = ensemble.addresses();
    let mut client = Client::of_one(addresses[0]);
    let roots: Vec<String> = (0..processes).map(|number| format!("/crowd{number}")).collect();
    roots.iter().for_each(|root| create(&mut client, root, b""));
    client.ask(rookeeper_interop::request::close_session());
    roots.iter().map(|root| Crowd::start(root, each, timeout_ms, &addresses)).collect()
}

/// So many sessions in so many processes: the leader is killed, all are taken up again by the
/// others, none expires, and each still has its znode.
fn outlive_their_leader(processes: usize, each: usize) {
    let mut ensemble = Ensemble::start("sessions", plan("RRR"));
    let count = processes * each;
    let began = Instant::now();
    let mut crowds = crowds(&ensemble, processes, each, 20_000);
    ensemble.wait("all sessions", |_| sum(&mut crowds).made == count);
    println!("{count} sessions with a znode each after {:?}", began.elapsed());
    let leader = ensemble.wait_leader();
    let measure = |ensemble: &Ensemble, leader: usize, name: &str| {
        let value = ensemble.members[leader].measure(name);
        value.and_then(|value| usize::try_from(value).ok())
    };
    let global = |ensemble: &Ensemble, leader| measure(ensemble, leader, "zk_global_sessions");
    // A session whose first answer came too late on a busy machine is nobody's, and expires.
    ensemble.wait("only those sessions", |e| global(e, leader) == Some(count));
    let killed = Instant::now();
    ensemble.members[leader].kill();
    ensemble.wait("all sessions on the others", |_| {
        let now = sum(&mut crowds);
        assert_eq!(now.expired, 0, "{now:?}");
        now.up == count && now.resumed >= count
    });
    println!("all of them taken up again {:?} after the kill", killed.elapsed());
    ensemble.launch(leader);
    ensemble.wait_serving();
    let next = ensemble.wait_leader();
    ensemble.wait("all sessions at the next leader", |e| global(e, next) == Some(count));
    let tree = equal_trees(&mut ensemble);
    let owners: BTreeSet<i64> = tree.values().map(|znode| znode.ephemeral_owner).collect();
    assert_eq!(owners.len(), count + 1, "each session owns its znode, and nobody the others");
    let expired = |ensemble: &Ensemble| measure(ensemble, next, "zk_stale_sessions_expired");
    let mut expired_before = None;
    ensemble.wait("the leader's count of expired sessions", |e| {
        expired_before = expired(e);
        expired_before.is_some()
    });
    crowds.iter_mut().for_each(Crowd::close);
    ensemble.wait("the end of all sessions", |_| sum(&mut crowds).closed == count);
    // Who asks again is told that its session is gone as soon as its end is under way.
    ensemble.wait("the last session's end", |e| global(e, next) == Some(0));
    assert_eq!(sum(&mut crowds).expired, 0);
    let mut expired_after = None;
    ensemble.wait("its count in the end", |e| {
        expired_after = expired(e);
        expired_after.is_some()
    });
    assert_eq!(expired_after, expired_before, "sessions end as they were asked to");
    let tree = equal_trees(&mut ensemble);
    assert!(tree.values().all(|znode| znode.ephemeral_owner == 0), "a znode outlived its session");
}

#[test]
fn two_thousand_sessions_outlive_their_leader() {
    outlive_their_leader(2, 1000);
}

#[test]
#[ignore = "20,000 sockets: scripts/test.sh matrix"]
fn twenty_thousand_sessions_outlive_their_leader() {
    outlive_their_leader(2, 10_000);
}

/// So many sessions whose clients all die at once: they expire together, while the leader goes on
/// leading.
fn expire_together(processes: usize, each: usize) {
    let mut ensemble = Ensemble::start("expiry", plan("RRR"));
    let count = processes * each;
    let mut crowds = crowds(&ensemble, processes, each, 10_000);
    ensemble.wait("all sessions", |_| sum(&mut crowds).made == count);
    let leader = ensemble.wait_leader();
    drop(crowds);
    let began = Instant::now();
    ensemble.wait("the last session's end", |ensemble| {
        ensemble.members[leader].measure("zk_global_sessions") == Some(0)
    });
    println!("{count} sessions were gone after {:?}", began.elapsed());
    // Their timeout is 10 s; with as much work for each as there are others it took 87.
    assert!(began.elapsed().as_secs() < 60, "took {:?}", began.elapsed());
    let tree = equal_trees(&mut ensemble);
    assert!(tree.values().all(|znode| znode.ephemeral_owner == 0), "a znode outlived its session");
    for member in &ensemble.members {
        assert!(!member.has_logged(b"the role has ended"), "{}", member.log());
    }
}

#[test]
fn two_thousand_sessions_expire_together() {
    expire_together(2, 1000);
}

#[test]
#[ignore = "20,000 sockets: scripts/test.sh matrix"]
fn twenty_thousand_sessions_expire_together() {
    expire_together(2, 10_000);
}
