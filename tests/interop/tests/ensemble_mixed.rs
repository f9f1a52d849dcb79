//! Java and Rookeeper in one ensemble: each fault under load with each kind as leader. The last
//! voter of a mix leads at first.
//!
//! All of them: `scripts/test.sh matrix`. The tests themselves are
//! proved by `INTEROP_MEMBERS=java`, which puts Java in the place of every member of ours.

use rookeeper_interop::ensemble::learners;
use rookeeper_interop::ensemble::network::Network;
use rookeeper_interop::ensemble::program::{JAVA, OLD_JAVA, Program};
use rookeeper_interop::ensemble::scenario::{self, plan, plan_with};
use rookeeper_interop::server::java_wanted;

/// One module for each mix, one test for each scenario.
macro_rules! matrix {
    ($($name:ident: $letters:literal [$($scenario:ident)*];)*) => {
        $(mod $name {
            $(#[test]
            #[ignore = "minutes in all: scripts/test.sh matrix"]
            fn $scenario() {
                if rookeeper_interop::server::java_wanted() {
                    let plan = rookeeper_interop::ensemble::scenario::plan($letters);
                    rookeeper_interop::ensemble::scenario::$scenario(&plan);
                }
            })*
        })*
    };
}

matrix! {
    java_leads_a_java_and_a_rookeeper: "RJJ"
        [leader_killed followers_killed members_paused diff snap truncated truncated_create];
    java_leads_two_rookeepers: "RRJ"
        [leader_killed members_paused snap truncated truncated_create];
    rookeeper_leads_two_javas: "JJR"
        [leader_killed followers_killed members_paused diff snap truncated truncated_create];
    rookeeper_leads_a_java_and_a_rookeeper: "JRR"
        [leader_killed followers_killed members_paused truncated];
    a_rookeeper_observes_a_java: "JJJr" [leader_killed diff snap];
    a_java_observes_a_rookeeper: "RRRj" [leader_killed diff snap];
    rookeepers_alone: "RRR"
        [leader_killed followers_killed members_paused diff snap truncated truncated_create];
}

fn partitions(letters: &str) {
    if !java_wanted() {
        return;
    }
    if let Err(why) = Network::namespaces(1) {
        eprintln!("SKIPPED partitions of {letters}: network namespaces are needed ({why})");
        return;
    }
    scenario::partitions(&plan(letters)).expect("the machine has namespaces, as was just seen");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_java_leader_is_cut_off() {
    partitions("RJJ");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_rookeeper_leader_is_cut_off() {
    partitions("JJR");
}

/// An observer behind followers that take observers themselves.
fn behind_followers(letters: &str) {
    if !java_wanted() {
        return;
    }
    if let Err(why) = learners::observer_behind_followers(&plan(letters)) {
        eprintln!("SKIPPED an observer of {letters}: network namespaces are needed ({why})");
    }
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_java_observes_behind_rookeepers() {
    behind_followers("RRRj");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_rookeeper_observes_behind_javas() {
    behind_followers("JJJr");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_java_leader_sends_its_tree_while_all_write() {
    if java_wanted() {
        learners::snap_while_all_write(&plan("RJJ"));
    }
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_rookeeper_leader_sends_its_tree_while_all_write() {
    if java_wanted() {
        learners::snap_while_all_write(&plan("JRR"));
    }
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn all_members_are_replaced_under_load_and_back() {
    if java_wanted() {
        scenario::rolling_replacement(&JAVA, &Program::ours());
    }
}

/// The last release of an earlier version beside ours, each leading in turn.
fn beside(version: &'static str) {
    if !java_wanted() {
        return;
    }
    let old = Program::Java(version);
    if let Err(why) = old.install() {
        panic!("ZooKeeper {version} could not be installed; JAVA=no waives it: {why}");
    }
    for letters in ["JJR", "RJJ"] {
        scenario::leader_killed(&plan_with(letters, &old, &Program::ours()));
    }
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn beside_java_3_5() {
    beside(OLD_JAVA[0]);
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn beside_java_3_6() {
    beside(OLD_JAVA[1]);
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn beside_java_3_7() {
    beside(OLD_JAVA[2]);
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn beside_java_3_8_0() {
    beside(OLD_JAVA[3]);
}
