//! Some seeds of each kind, and that a seed is all that a run depends on. Many more run in release:
//! `make simulate`, and a step of `make test`.

use rookeeper_sim::plan::Setup;
use rookeeper_sim::runs::{Outcome, run};

fn setup(seed: u64, members: usize, trouble_us: u64) -> Setup {
    Setup { trouble_us, ..Setup::new(seed, members) }
}

#[test]
fn equal_seeds_make_equal_runs() {
    for members in [1, 3] {
        let trace = |seed| run(setup(seed, members, 6_000_000)).report.trace;
        assert_eq!(trace(11), trace(11), "{members} members");
        assert_ne!(trace(11), trace(12), "{members} members");
    }
}

#[test]
fn seeds_find_nothing_and_are_worth_something() {
    for (seed, members) in [(1, 1), (2, 3), (3, 5)] {
        let Outcome { report, fault } = run(Setup::new(seed, members));
        assert_eq!(fault, None, "seed {seed}, {members} members");
        assert!(report.virtual_us >= 30_000_000);
        assert!(report.operations >= 1000, "{} operations", report.operations);
        assert!(report.troubles.values().sum::<u64>() >= 5, "{:?}", report.troubles);
        assert!(report.fired > 10 && report.committed > 300, "{report:?}");
    }
}
