//! A few cycles of each crash. Long runs: `rookeeper-crash --help`, or `CRASH_CYCLES=200`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rookeeper_crash::ext4::Ext4;
use rookeeper_crash::harness::{Crash, Outcome, Plan, run};

/// Our binary: `ROOKEEPER_BIN`, else built by cargo in the profile of this test.
fn binary() -> String {
    if let Ok(path) = std::env::var("ROOKEEPER_BIN") {
        return path;
    }
    let own = std::env::current_exe().expect("the running program has a path");
    let profile = own.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release"));
    let profile = profile.expect("cargo runs this from its target directory");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "rookeeper", "--target-dir"]);
    build.arg(profile.parent().expect("a profile lies in a target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the binary could not be built");
    profile.join("rookeeper").to_string_lossy().into_owned()
}

/// A folder beside the build's output: on the same disk, not in memory.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the build's folder can be written");
    folder
}

fn cycles(short: usize) -> usize {
    std::env::var("CRASH_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

fn plan(crash: Crash, cycles: usize, folder: &Path) -> Plan {
    Plan {
        command: vec![binary(), "server".to_owned()],
        crash,
        cycles,
        seed: 7,
        lanes: 4,
        depth: 16,
        load_max: Duration::from_millis(300),
        folder: folder.to_owned(),
    }
}

fn go(name: &str, crash: Crash, cycles: usize) -> Outcome {
    let folder = folder(name);
    let outcome = run(&plan(crash, cycles, &folder)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(outcome.cycles, cycles);
    assert!(outcome.acknowledged > cycles as u64, "hardly any load: {outcome:?}");
    println!("{crash:?}: {outcome:?}");
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let outcome = go("kill", Crash::Kill, cycles(10));
    assert!(outcome.resumed > 0, "no session was resumed");
}

/// Whether this machine lets a test cut the power of a file system; says so where it does not.
fn can_cut_power(name: &str) -> bool {
    let probe = folder(&format!("{name}-probe"));
    let made = Ext4::make(&probe, 64).and_then(|ext4| ext4.cut_power());
    if let Err(why) = &made {
        eprintln!("SKIPPED {name}: power cuts need a loop-mounted ext4 ({why})");
    }
    made.is_ok()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    if can_cut_power("power-cut") {
        go("power-cut", Crash::PowerCut, cycles(3));
    }
}

#[test]
fn a_server_that_does_not_sync_is_caught() {
    if !can_cut_power("no-sync") {
        return;
    }
    let folder = folder("no-sync");
    let mut plan = plan(Crash::PowerCut, 20, &folder);
    plan.command.push("-Dzookeeper.forceSync=no".to_owned());
    let why = run(&plan).expect_err("what was never synced is lost in a power cut");
    assert!(why.contains("is lost") || why.contains("has other data"), "{why}");
    let _ = std::fs::remove_dir_all(&folder);
}
