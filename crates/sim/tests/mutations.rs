//! Some of the known bugs, put back one at a time: a simulator that does not find them would find
//! nothing. `make mutations` runs this; docs/simulation.md has all of them.
#![cfg(feature = "mutations")]

use rookeeper_jute::mutation::{Mutation, turn_on};
use rookeeper_sim::plan::Setup;
use rookeeper_sim::runs::run;

/// Bugs that a few seeds find, and the judges of which one has to say so.
const QUICK: [(Mutation, &[&str]); 12] = [
    (Mutation::AckBeforeDurable, &["acknowledged"]),
    (Mutation::AckNewLeaderEarly, &["acknowledged"]),
    (Mutation::EpochBeforeHistory, &["epochs"]),
    (
        Mutation::UncommittedApplied,
        &["committed by a quorum", "durability", "agreement", "linearizable"],
    ),
    (Mutation::DiffOverGap, &["agreement"]),
    (Mutation::DivergentKept, &["agreement"]),
    (Mutation::TruncIgnored, &["agreement", "digest", "equal state"]),
    (Mutation::LogUnsynced, &["durability", "ghost", "start"]),
    (Mutation::SnapshotFuzzy, &["digest", "equal state"]),
    (Mutation::DigestIgnored, &["linearizable", "equal state", "digest"]),
    (Mutation::ReadsOvertake, &["protocol", "linearizable", "time goes back"]),
    (Mutation::RollOverIgnored, &["assertion"]),
];

/// How many seeds may pass by before one finds the bug.
const SEEDS: u64 = 30;

#[test]
fn bugs_that_are_put_back_are_found() {
    for (mutation, judges) in QUICK {
        let name = mutation.name();
        let found = (1..=SEEDS).find_map(|seed| {
            turn_on(Some(mutation));
            let fault = run(Setup::new(seed, 3)).fault?;
            turn_on(None);
            println!("{name}: seed {seed}, {fault}");
            judges.contains(&fault.check).then_some(())
        });
        assert!(found.is_some(), "{name} is in none of {SEEDS} seeds found by {judges:?}");
    }
    turn_on(None);
    assert_eq!(run(Setup::new(1, 3)).fault, None, "without a bug nothing is found");
}
