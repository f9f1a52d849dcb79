//! The power goes out at every operation of recorded scenarios, and any subset of what was not
//! synced is lost. What was acknowledged is there, what was not is wholly there or wholly not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;

use common::{Model, config, data_dir, each_survivor, in_version_2, payload, start};
use rookeeper_jute::Zxid;
use rookeeper_store::disk::{Chooser, Fault, FaultKind};
use rookeeper_store::{Disk, LogWriter, SimulatedDisk, Store, StoreConfig, StoreError};

/// What a server does in a scenario.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Appends transactions of this length.
    Append(usize, usize),
    Flush,
    Roll,
    Snapshot,
    Purge,
    Prepare,
    Close,
}
use Step::{Append, Close, Flush, Prepare, Purge, Roll, Snapshot};

/// What became of a scenario.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// The last transaction that was acknowledged.
    acknowledged: i64,
    /// The last transaction that was appended.
    appended: i64,
    finished: bool,
}

/// A server from its start on, until something fails.
fn run(disk: &SimulatedDisk, config: &StoreConfig, steps: &[Step]) -> (Run, Option<StoreError>) {
    let mut run = Run::default();
    let result = try_run(disk, config, steps, &mut run);
    run.finished = result.is_ok();
    (run, result.err())
}

fn try_run(
    disk: &SimulatedDisk,
    config: &StoreConfig,
    steps: &[Step],
    run: &mut Run,
) -> Result<(), StoreError> {
    let (store, recovered, recording) = start(disk, config.clone())?;
    let mut model = Model::of(&recording);
    assert_eq!(recovered.last_zxid, model.last());
    let last = model.last().0;
    *run = Run { acknowledged: last, appended: last, finished: false };
    if recovered.write_initial_snapshot {
        model.save(&store)?;
    }
    let mut log = Some(store.log_writer());
    for step in steps {
        let writer = log.as_mut().expect("nothing comes after closing");
        match step {
            Close => log.take().expect("it is closed once").close()?,
            step => take_step(*step, &store, writer, &mut model, run)?,
        }
    }
    Ok(())
}

fn take_step(
    step: Step,
    store: &Store,
    log: &mut LogWriter,
    model: &mut Model,
    run: &mut Run,
) -> Result<(), StoreError> {
    match step {
        Append(count, len) => {
            for _ in 0..count {
                let zxid = Zxid(run.appended + 1);
                let txn = payload(zxid, len);
                run.appended = zxid.0;
                log.append(zxid, &txn)?;
                model.txns.insert(zxid.0, txn);
            }
        }
        Flush => run.acknowledged = log.flush()?.0,
        Roll => {
            log.roll()?;
            run.acknowledged = log.durable_zxid().0;
        }
        // As a server does: the log is rolled, the snapshot is of what is applied.
        Snapshot => {
            run.acknowledged = log.flush()?.0;
            model.save(store)?;
        }
        Purge => {
            store.purge(3)?;
        }
        Prepare => {
            log.preparer().prepare()?;
        }
        Close => unreachable!("closing is the caller's"),
    }
    Ok(())
}

/// Recovers and compares with what was promised; the last transaction that is there.
fn check(disk: &SimulatedDisk, config: &StoreConfig, run: Run, context: &str) -> i64 {
    let (_store, recovered, recording) = match start(disk, config.clone()) {
        Ok(started) => started,
        Err(error) => panic!("{context}: {error}\n{:?}", disk.dump().keys()),
    };
    let model = Model::of(&recording);
    let last = model.last().0;
    assert!(last >= run.acknowledged, "{context}: {last} of {run:?}");
    assert!(last <= run.appended, "{context}: {last} of {run:?}");
    assert_eq!(recovered.last_zxid.0, last);
    assert!(model.txns.keys().copied().eq(1..=last), "{context}: not contiguous");
    last
}

/// A copy that another process works on.
fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.after_kill()
}

/// Cuts the power at every operation of `steps` on `before`, and then at every operation of the
/// recovery that follows.
fn every_crash_point(before: &SimulatedDisk, config: &StoreConfig, steps: &[Step]) -> u64 {
    let mut points = 0;
    loop {
        points += 1;
        let disk = copy(before);
        disk.lose_power_at(disk.operations() + points);
        let (outcome, _) = run(&disk, config, steps);
        let outcome = at_least(outcome, before, config);
        each_survivor(&disk, 150, 12, |after, survivor| {
            let context = format!("point {points}, {survivor}");
            check(&copy(&after), config, outcome, &context);
            if points % 3 == 0 && !survivor.starts_with("Exhaustive") {
                crash_in_recovery(&after, config, outcome, &context);
            }
        });
        if outcome.finished {
            return points;
        }
    }
}

/// A start that failed before it announced anything owes what was there before.
fn at_least(run: Run, before: &SimulatedDisk, config: &StoreConfig) -> Run {
    if run.appended > 0 || before.list(&data_dir()).is_err() {
        return run;
    }
    let there = start(&copy(before), config.clone()).unwrap().1.last_zxid.0.max(0);
    Run { acknowledged: run.acknowledged.max(there), appended: run.appended.max(there), ..run }
}

fn crash_in_recovery(disk: &SimulatedDisk, config: &StoreConfig, outcome: Run, context: &str) {
    for point in 1.. {
        let again = copy(disk);
        again.lose_power_at(again.operations() + point);
        let announced = start(&again, config.clone()).ok().map(|(_, recovered, _)| recovered);
        let mut owed = outcome;
        if let Some(recovered) = &announced {
            owed.acknowledged = owed.acknowledged.max(recovered.last_zxid.0);
        }
        each_survivor(&again, 4, 2, |after, survivor| {
            check(&after, config, owed, &format!("{context}, recovery {point}, {survivor}"));
        });
        if announced.is_some() {
            return;
        }
    }
}

/// Kills the process at every operation, lets another one recover, and then cuts the power: what
/// the second one announced stays.
fn every_kill_point(before: &SimulatedDisk, config: &StoreConfig, steps: &[Step]) {
    for point in 1.. {
        let disk = copy(before);
        disk.lose_power_at(disk.operations() + point);
        let (outcome, _) = run(&disk, config, steps);
        let outcome = at_least(outcome, before, config);
        let killed = disk.after_kill();
        let announced = check(&killed, config, outcome, &format!("killed at {point}"));
        let owed = Run { acknowledged: announced, ..outcome };
        each_survivor(&killed, 8, 4, |after, survivor| {
            check(&after, config, owed, &format!("killed at {point}, then {survivor}"));
        });
        crash_in_recovery(&disk, config, outcome, &format!("killed at {point}"));
        if outcome.finished {
            return;
        }
    }
}

const WRITES: &[Step] = &[
    Append(1, 10),
    Flush,
    Append(2, 200),
    Flush,
    Append(3, 700),
    Flush,
    Append(1, 3000),
    Flush,
    Append(2, 5),
];

const ROLLS: &[Step] = &[
    Append(2, 300),
    Flush,
    Prepare,
    Append(1, 40),
    Roll,
    Append(3, 150),
    Flush,
    Append(1, 600),
    Roll,
    Append(1, 10),
    Flush,
    Close,
];

const SNAPSHOTS: &[Step] = &[
    Append(2, 100),
    Roll,
    Snapshot,
    Append(2, 100),
    Roll,
    Snapshot,
    Append(2, 100),
    Roll,
    Snapshot,
    Purge,
    Append(2, 400),
    Flush,
    Snapshot,
    Purge,
    Append(1, 20),
    Flush,
];

/// Empty disks of both kinds: whose logs are written past the system's cache, and through it.
fn new_disks() -> [SimulatedDisk; 2] {
    [SimulatedDisk::new(), SimulatedDisk::that_caches_logs()]
}

/// A disk that a first server wrote to and left without closing.
fn used() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let (outcome, error) = run(&disk, &config(), &[Append(3, 90), Flush, Append(2, 500), Flush]);
    assert!(outcome.finished, "{error:?}");
    disk.after_power_loss(&mut Chooser::Nothing)
}

#[test]
fn writes_on_a_new_directory() {
    for disk in new_disks() {
        let points = every_crash_point(&disk, &config(), WRITES);
        assert!(points > 20, "{points}");
    }
}

#[test]
fn writes_on_a_used_directory() {
    let points = every_crash_point(&used(), &config(), WRITES);
    assert!(points > 20, "{points}");
}

#[test]
fn rolls() {
    for disk in new_disks() {
        every_crash_point(&disk, &config(), ROLLS);
    }
}

#[test]
fn snapshots_and_purges() {
    every_crash_point(&SimulatedDisk::new(), &config(), SNAPSHOTS);
}

#[test]
fn writes_without_zeroing_ahead_and_with_a_log_limit() {
    let plain = StoreConfig { pre_alloc_size: 0, ..config() };
    every_crash_point(&used(), &plain, WRITES);
    let limited = StoreConfig { log_size_limit: Some(600), ..config() };
    for disk in new_disks() {
        every_crash_point(&disk, &limited, WRITES);
    }
}

/// Where a mark lies across two sectors, either half of it may be what a power loss leaves.
#[test]
fn flushes_that_end_anywhere_in_a_sector() {
    let config = StoreConfig { pre_alloc_size: 8192, ..config() };
    for len in (400..=460).step_by(4) {
        for disk in new_disks() {
            let steps = [Append(1, len), Flush, Append(1, 1200), Flush];
            every_crash_point(&disk, &config, &steps);
        }
    }
}

#[test]
fn separate_directories() {
    let config = StoreConfig { data_log_dir: "/logs".into(), ..config() };
    every_crash_point(&SimulatedDisk::new(), &config, &SNAPSHOTS[..10]);
}

#[test]
fn a_killed_server_s_successor_announces_only_what_is_on_disk() {
    every_kill_point(&SimulatedDisk::new(), &config(), WRITES);
    every_kill_point(&used(), &config(), ROLLS);
    every_kill_point(&SimulatedDisk::new(), &config(), SNAPSHOTS);
    let separate = StoreConfig { data_log_dir: "/logs".into(), ..config() };
    every_kill_point(&SimulatedDisk::new(), &separate, ROLLS);
}

/// After a failed sync the system takes the pages for clean: a second sync proves nothing.
#[test]
fn what_is_read_back_after_a_failed_sync_is_written_again_before_it_is_announced() {
    for after in 0.. {
        let disk = used();
        let error = io::ErrorKind::Other;
        let path_contains = "version-2/log".into();
        disk.plan_fault(Fault { kind: FaultKind::Sync, path_contains, after, error });
        let (outcome, failure) = run(&disk, &config(), WRITES);
        if outcome.finished {
            assert!(after > 3);
            return;
        }
        let outcome = at_least(outcome, &used(), &config());
        assert!(matches!(failure, Some(StoreError::Io { action: "sync", .. })), "{failure:?}");
        let exited = disk.after_kill();
        let announced = check(&exited, &config(), outcome, "after a failed sync");
        let owed = Run { acknowledged: announced, ..outcome };
        let after_all = exited.after_power_loss(&mut Chooser::Nothing);
        check(&after_all, &config(), owed, "after a failed sync and a power loss");
    }
}

/// What is behind the records after a failed write or sync is cut off, and the log then ends with a
/// record, as one does that was closed in order: so its records have to be on disk by then.
#[test]
fn the_power_goes_out_while_a_failed_server_s_successor_recovers() {
    let mut points = 0;
    for len in [18, 19, 20] {
        // Many records in each sector, and many sectors in each flush.
        let steps = [Append(2, 10), Flush, Append(40, 30), Flush, Append(50, len), Flush];
        for kind in [FaultKind::Write, FaultKind::Sync] {
            for after in 0.. {
                let disk = used();
                let (error, path_contains) = (io::ErrorKind::Other, "version-2/log".into());
                disk.plan_fault(Fault { kind, path_contains, after, error });
                let (outcome, _) = run(&disk, &config(), &steps);
                if outcome.finished {
                    break;
                }
                let outcome = at_least(outcome, &used(), &config());
                crash_in_recovery(&disk, &config(), outcome, &format!("{len} {kind:?} {after}"));
                points += 1;
            }
        }
    }
    assert!(points > 20, "{points}");
}

/// Steps of a server's life, and how they end.
fn any_life(dice: &mut impl FnMut(u64) -> u64, disk: &SimulatedDisk) -> Vec<Step> {
    let steps = (0..2 + dice(8)).map(|_| match dice(10) {
        0..=3 => Append(1 + dice(30) as usize, dice(60) as usize),
        4 => Append(1 + dice(3) as usize, dice(900) as usize),
        5..=7 => Flush,
        8 => [Roll, Prepare][dice(2) as usize],
        _ => [Snapshot, Purge][dice(2) as usize],
    });
    let steps = steps.collect();
    let kind = [FaultKind::Write, FaultKind::Sync][dice(2) as usize];
    let (error, path_contains) = (io::ErrorKind::Other, "version-2/log".into());
    match dice(4) {
        0 => disk.plan_fault(Fault { kind, path_contains, after: dice(12), error }),
        1 | 2 => disk.lose_power_at(disk.operations() + 1 + dice(60)),
        _ => {}
    }
    steps
}

/// One server after another fails in any way, in recovery too; each finds what the ones before have
/// acknowledged or announced.
fn every_life(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let pre_alloc_size = [0, 512, 2048, 2000, 65_536][dice(5) as usize];
    let config = StoreConfig { pre_alloc_size, ..config() };
    let [direct, cached] = new_disks();
    let mut disk = if seed.is_multiple_of(2) { direct } else { cached };
    let mut owed = Run::default();
    for life in 0..8 {
        let steps = any_life(&mut dice, &disk);
        let (outcome, _) = run(&disk, &config, &steps);
        owed.acknowledged = owed.acknowledged.max(outcome.acknowledged);
        owed.appended = owed.appended.max(outcome.appended);
        disk = match dice(2) {
            0 => disk.after_kill(),
            _ => disk.after_power_loss(&mut Chooser::Random(dice(1 << 40))),
        };
        check(&copy(&disk), &config, owed, &format!("seed {seed}, life {life}"));
    }
}

#[test]
fn lives_that_end_in_any_way_lose_nothing_and_refuse_nothing() {
    let seeds = std::env::var("LIVES").map_or(300, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        every_life(seed);
    }
}

#[test]
fn a_writer_that_failed_refuses_everything() {
    let disk = SimulatedDisk::new();
    let (store, _, recording) = start(&disk, config()).unwrap();
    Model::of(&recording).save(&store).unwrap();
    let mut log = store.log_writer();
    let error = io::ErrorKind::Other;
    let path_contains = "log.1".into();
    disk.plan_fault(Fault { kind: FaultKind::Sync, path_contains, after: 0, error });
    log.append(Zxid(1), &payload(Zxid(1), 5)).unwrap();
    assert!(matches!(log.flush(), Err(StoreError::Io { .. })));
    assert!(matches!(log.flush(), Err(StoreError::Poisoned { .. })));
    let again = log.append(Zxid(2), &payload(Zxid(2), 5));
    assert!(matches!(again, Err(StoreError::Poisoned { .. })));
    assert!(matches!(log.roll(), Err(StoreError::Poisoned { .. })));
}

#[test]
fn a_disk_that_fills_up_loses_nothing_acknowledged() {
    let mut refused = 0;
    for capacity in (0..24_000).step_by(97) {
        let disk = SimulatedDisk::new();
        disk.set_capacity(Some(capacity));
        let (outcome, error) = run(&disk, &config(), &[WRITES, SNAPSHOTS].concat());
        if let Some(error) = &error {
            assert!(error.is_disk_full(), "{capacity}: {error}");
            assert!(error.to_string().contains("free space"), "{error}");
            refused += 1;
        }
        // The same disk with room again, and one whose power went out.
        disk.set_capacity(None);
        for mut chooser in [Chooser::Nothing, Chooser::Everything, Chooser::Random(capacity)] {
            let after = disk.after_power_loss(&mut chooser);
            check(&after, &config(), outcome, &format!("{capacity}, {chooser:?}"));
        }
        check(&disk.after_kill(), &config(), outcome, &format!("{capacity}"));
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_failing_disk_is_reported_by_path_and_never_acknowledged() {
    let kinds = [
        (FaultKind::Write, "write"),
        (FaultKind::Sync, "sync"),
        (FaultKind::SyncDir, "sync"),
        (FaultKind::Create, "create"),
        (FaultKind::Rename, "rename to"),
        (FaultKind::Read, "read"),
    ];
    for (kind, action) in kinds {
        let mut seen = 0;
        for after in 0..200 {
            let disk = used();
            let (error, path_contains) = (io::ErrorKind::Other, "version-2".into());
            disk.plan_fault(Fault { kind, path_contains, after, error });
            let (outcome, failure) = run(&disk, &config(), &[WRITES, SNAPSHOTS].concat());
            let Some(failure) = failure else { break };
            let text = failure.to_string();
            assert!(text.contains("/data/version-2"), "{kind:?}: {text}");
            assert!(text.contains(action) || text.contains("write"), "{kind:?}: {text}");
            seen += 1;
            let outcome = at_least(outcome, &used(), &config());
            check(&disk.after_kill(), &config(), outcome, &format!("{kind:?} {after}"));
        }
        assert!(seen > 0, "{kind:?}");
    }
}

#[test]
fn what_a_server_leaves_after_closing_ends_with_its_last_record() {
    let disk = SimulatedDisk::new();
    let (outcome, error) = run(&disk, &config(), ROLLS);
    assert!(outcome.finished, "{error:?}");
    for name in disk.list(&data_dir().join("version-2")).unwrap() {
        assert!(name.starts_with("log.") || name == "snapshot.0", "{name}");
        if name.starts_with("log.") {
            let bytes = disk.contents(&in_version_2(&name)).unwrap();
            let parsed = rookeeper_store::log::parse(&bytes);
            assert_eq!((parsed.end, parsed.bad), (bytes.len() as u64, None), "{name}");
        }
    }
}
