//! Ensembles of Java's members alone: the harness and the load judge a server that is known.

use rookeeper_interop::ensemble::harness::{Ensemble, Plan};
use rookeeper_interop::ensemble::load::{Amount, Load};
use rookeeper_interop::ensemble::member::Mode;
use rookeeper_interop::ensemble::program::JAVA;
use rookeeper_interop::server::java_wanted;

#[test]
fn javas_members_pass_the_load_with_a_leader_killed() {
    if !java_wanted() {
        return;
    }
    let mut ensemble = Ensemble::start("java", Plan::new(vec![JAVA; 3]));
    let load = Load::start(&ensemble.addresses(), &Amount::light());
    load.wait_writes(500);
    let leader = ensemble.wait_leader();
    ensemble.members[leader].kill();
    load.wait_writes(500);
    ensemble.launch(leader);
    ensemble.wait_serving();
    assert_eq!(ensemble.members[leader].mode(), Some(Mode::Follower));
    load.wait_writes(300);
    let summary = load.finish(&mut ensemble);
    println!("{summary:?}");
    assert_eq!(summary.expired, 0, "{summary:?}");
    assert!(summary.resumed > 0 && summary.digests > 0, "{summary:?}");
}
