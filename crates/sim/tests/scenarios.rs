//! Scenarios: runs that found something, shortened, and the main steps of election and
//! synchronisation, written by hand; and that what a seed did can be done again.

use std::fs;
use std::path::PathBuf;

use rookeeper_sim::plan::Setup;
use rookeeper_sim::runs::{Outcome, run};
use rookeeper_sim::scenario::{self, Scenario};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// What a scenario does that it should not.
fn fault_of(text: &str) -> Option<String> {
    let scenario: Scenario = match text.parse() {
        Ok(scenario) => scenario,
        Err(error) => return Some(error),
    };
    let Outcome { report, fault } = run(scenario.setup());
    fault.map(|fault| fault.to_string()).or_else(|| scenario.check(&report).err())
}

#[test]
fn every_scenario_comes_to_what_it_is_about() {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .expect("scenarios are checked in")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "{files:?}");
    let faults: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("it can be read");
            fault_of(&text).map(|fault| format!("{}: {fault}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_scenario_that_does_not_come_to_what_it_expects_fails() {
    let text = "seed 2\ntrouble-us 3000000\nexpect epochs 9\nat 2000000 kill server=leader\n";
    let fault = fault_of(text).expect("there are fewer epochs");
    assert!(fault.ends_with("9 are expected"), "{fault}");
    assert_eq!(fault_of(&text.replace("epochs 9", "epochs 2")), None);
}

#[test]
fn what_a_seed_did_is_done_again_by_its_scenario() {
    let setup = Setup { trouble_us: 6_000_000, ..Setup::new(5, 3) };
    let first = run(setup).report;
    let scenario = scenario::of_this_thread().expect("a run leaves one");
    assert!(!scenario.mishaps.is_empty());
    let again: Scenario = scenario.to_string().parse().expect("what is written is read");
    assert_eq!(again, scenario);
    assert_eq!(run(again.setup()).report.trace, first.trace);
    let mut shortened = again;
    shortened.mishaps.remove(0);
    let Outcome { report, fault } = run(shortened.setup());
    assert_eq!(fault, None);
    assert_ne!(report.trace, first.trace);
}
