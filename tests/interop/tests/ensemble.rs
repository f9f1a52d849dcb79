//! The ensemble in short: ours under faults, Java's leaving and coming back, a mix of either
//! leader. All mixes under all faults: `scripts/test.sh matrix`; long runs: `rookeeper-interop
//! faults`.

use rookeeper_interop::ensemble::disk::SmallDisk;
use rookeeper_interop::ensemble::faults::{self, Run};
use rookeeper_interop::ensemble::harness::{Ensemble, Plan};
use rookeeper_interop::ensemble::load::{Amount, Load};
use rookeeper_interop::ensemble::member::Mode;
use rookeeper_interop::ensemble::network::Network;
use rookeeper_interop::ensemble::program::{JAVA, Program};
use rookeeper_interop::ensemble::scenario::{self, plan};
use rookeeper_interop::server::{java_wanted, scratch};
use std::time::Duration;

/// A harness and a judge that a known server does not pass would be worth nothing.
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

#[test]
fn a_rookeeper_leads_javas_and_is_killed() {
    if java_wanted() {
        scenario::leader_killed(&plan("JJR"));
    }
}

#[test]
fn a_java_leads_rookeepers_and_is_killed() {
    if java_wanted() {
        scenario::leader_killed(&plan("RRJ"));
    }
}

#[test]
fn what_ends_early_gets_an_error_through_a_java_follower() {
    if java_wanted() {
        scenario::truncated_create(&plan("JJR"));
    }
}

#[test]
fn all_members_of_a_java_ensemble_are_replaced_under_load_and_back() {
    if java_wanted() {
        scenario::rolling_replacement(&JAVA, &Program::ours());
    }
}

fn can_mount() -> bool {
    let folder = scratch("mount");
    let disk = SmallDisk::make(&folder, 1);
    if let Err(why) = &disk {
        eprintln!("SKIPPED full disks: a small file system is needed ({why})");
    }
    let can = disk.is_ok();
    drop(disk);
    let _ = std::fs::remove_dir_all(folder);
    can
}

fn faults(letters: &str, seconds: u64, small_disks: bool) {
    let namespaces = Network::namespaces(1);
    if let Err(why) = &namespaces {
        eprintln!("SKIPPED partitions: network namespaces are needed ({why})");
    }
    let small_disks = small_disks && can_mount();
    let run = Run {
        letters: letters.to_owned(),
        duration: Duration::from_secs(seconds),
        round: Duration::from_secs(seconds),
        seed: 2,
        namespaces: namespaces.is_ok(),
        delays: namespaces.is_ok(),
        small_disks,
        lanes: 5,
    };
    let report = faults::run(&run);
    println!("{report:?}");
    let made: u64 = report.faults.values().sum();
    assert!(report.writes > 300 && made > 5, "hardly any load or faults: {report:?}");
}

#[test]
fn three_members_survive_random_faults() {
    faults("RRR", 20, false);
}

#[test]
fn five_members_survive_random_faults() {
    faults("RRRRR", 20, true);
}
