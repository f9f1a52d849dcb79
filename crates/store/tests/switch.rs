//! The power goes out at every operation of a change of history, and any subset of what was not
//! synced is lost: what the next start finds is wholly the old history or wholly the new one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;

use common::{
    Model, append, config, data_dir, each_survivor, epoch_files, epochs, filled, payload, stage,
    start,
};
use rookeeper_jute::Zxid;
use rookeeper_store::disk::Chooser;
use rookeeper_store::{
    Compression, Disk, EpochFile, Repair, SimulatedDisk, StoreConfig, StoreError,
};

/// A directory before a change, the change, and what the history is before and after it.
struct Scenario<'a> {
    before: &'a SimulatedDisk,
    config: StoreConfig,
    old: &'a Model,
    new: &'a Model,
    change: &'a dyn Fn(&SimulatedDisk, &StoreConfig) -> Result<(), StoreError>,
}

/// Which history a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    New,
}

impl Scenario<'_> {
    fn find(&self, disk: &SimulatedDisk, context: &str) -> Found {
        let (store, recovered, recording) = match start(disk, self.config.clone()) {
            Ok(started) => started,
            Err(error) => panic!("{context}: {error}\n{:?}", disk.dump().keys()),
        };
        let model = Model::of(&recording);
        assert_eq!(recovered.last_zxid, model.last(), "{context}");
        for name in disk.list(store.snapshot_dir()).unwrap() {
            let known = ["log.", "snapshot.", "currentEpoch", "acceptedEpoch"];
            assert!(known.iter().any(|start| name.starts_with(start)), "{context}: {name}");
        }
        if model == *self.new {
            return Found::New;
        }
        assert!(model == *self.old, "{context}: neither history: {:?}", model.txns.keys());
        Found::Old
    }

    /// Whatever history it is, it can be gone on with.
    fn go_on(&self, disk: &SimulatedDisk, context: &str) {
        let (store, recovered, _) = start(disk, self.config.clone()).unwrap();
        let next = recovered.last_zxid.next();
        let mut log = store.log_writer();
        log.append(next, &payload(next, 10)).unwrap();
        log.close().unwrap();
        drop(store);
        let (_store, again, _) = start(disk, self.config.clone()).unwrap();
        assert_eq!(again.last_zxid, next, "{context}");
    }

    /// Cuts the power at every operation of the change, and at every one of the recoveries that
    /// follow; how often each history was found.
    fn every_crash_point(&self) -> (u64, u64) {
        let (mut old, mut new) = (0, 0);
        for point in 1.. {
            let disk = self.before.after_kill();
            disk.lose_power_at(disk.operations() + point);
            let result = (self.change)(&disk, &self.config);
            let done = result.is_ok();
            if let Err(error) = result {
                assert!(error.to_string().contains("power loss"), "{error}");
            }
            each_survivor(&disk, 12, 5, |after, survivor| {
                let context = format!("point {point}, {survivor}");
                if point % 5 == 0 && !survivor.starts_with("Exhaustive") {
                    self.crash_in_recovery(&after, &context);
                }
                let found = self.find(&after, &context);
                match found {
                    Found::Old => old += 1,
                    Found::New => new += 1,
                }
                assert!(!done || found == Found::New, "{context}: the change was done");
                self.go_on(&after, &context);
            });
            if done {
                return (old, new);
            }
        }
        unreachable!("the change ends at some point")
    }

    fn crash_in_recovery(&self, disk: &SimulatedDisk, context: &str) {
        for point in 1.. {
            let again = disk.after_kill();
            again.lose_power_at(again.operations() + point);
            let announced = start(&again, self.config.clone()).is_ok();
            let found = announced.then(|| self.find(&again.after_kill(), context));
            each_survivor(&again, 2, 1, |after, survivor| {
                let context = format!("{context}, recovery {point}, {survivor}");
                let now = self.find(&after, &context);
                assert!(found.is_none_or(|found| found == now), "{context}: {found:?} before");
            });
            if announced {
                return;
            }
        }
    }
}

fn separate() -> StoreConfig {
    StoreConfig { data_log_dir: "/logs".into(), ..config() }
}

/// A member's directory with transactions of epochs 1 and 3, as a power loss leaves it.
fn member(config: &StoreConfig, len: usize) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new();
    let (store, _, recording) = start(&disk, config.clone()).unwrap();
    let mut model = Model::of(&recording);
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for (epoch, last) in [(1, 5), (3, 9)] {
        for counter in 1..=last {
            append(&mut log, &mut model, Zxid::new(epoch, counter), len);
            match (epoch, counter) {
                (1, 3) => model.save(&store).unwrap(),
                (3, 4) => {
                    log.roll().unwrap();
                    model.save(&store).unwrap()
                }
                (3, 7) => {
                    log.roll().unwrap();
                    model.save(&store).unwrap()
                }
                _ => continue,
            };
        }
    }
    // Not closed: the server was killed.
    log.flush().unwrap();
    (disk.after_power_loss(&mut Chooser::Nothing), model)
}

/// A learner's way through a SNAP at `at` of a leader whose whole history is `leader`.
fn install(
    disk: &SimulatedDisk,
    config: &StoreConfig,
    leader: &Model,
    at: Zxid,
) -> Result<(), StoreError> {
    let (store, _, _) = start(disk, config.clone())?;
    let mut snapshot = Model::default();
    snapshot.txns.extend(leader.txns.range(..=at.0).map(|(zxid, txn)| (*zxid, txn.clone())));
    let mut install = store.begin_install(at)?;
    for chunk in snapshot.body().chunks(700) {
        install.write(chunk)?;
    }
    install.finish_snapshot(None)?;
    install.load(&mut common::Recording::default())?;
    let mut log = install.log_writer();
    let later: Vec<_> = leader.txns.range(at.0 + 1..).collect();
    for (index, (zxid, txn)) in later.iter().enumerate() {
        log.append(Zxid(**zxid), txn)?;
        match index {
            1 => drop(log.flush()?),
            2 => log.roll()?,
            _ => {}
        }
    }
    install.commit(&mut log)
}

fn installs(config: &StoreConfig, leader: &Model, at: Zxid, len: usize) {
    let (before, old) = member(config, len);
    let scenario = Scenario {
        before: &before,
        config: config.clone(),
        old: &old,
        new: leader,
        change: &|disk, config| install(disk, config, leader, at),
    };
    let (old, new) = scenario.every_crash_point();
    assert!(old > 100 && new > 100, "{old} {new}");
}

#[test]
fn a_learner_that_was_far_behind() {
    installs(&config(), &epochs(&[(1, 5), (3, 20), (4, 3)], 60), Zxid::new(3, 18), 60);
}

/// The names of old and new files are the same ones, and their contents are not.
#[test]
fn a_learner_with_files_of_the_same_names() {
    let leader = epochs(&[(1, 5), (3, 6)], 80);
    installs(&config(), &leader, Zxid::new(3, 4), 60);
}

#[test]
fn a_learner_that_has_what_was_never_committed() {
    installs(&config(), &epochs(&[(1, 5), (3, 2), (4, 3)], 60), Zxid::new(4, 0), 300);
}

#[test]
fn a_learner_with_two_directories_and_compressed_snapshots() {
    let leader = epochs(&[(1, 5), (3, 12)], 60);
    installs(&separate(), &leader, Zxid::new(3, 11), 60);
    let gzip = StoreConfig { compression: Compression::Gzip, ..config() };
    installs(&gzip, &leader, Zxid::new(3, 12), 60);
}

fn truncates(config: &StoreConfig, zxid: Zxid) {
    let (before, old) = member(config, 60);
    let mut new = old.clone();
    new.txns.retain(|at, _| *at <= zxid.0);
    let scenario = Scenario {
        before: &before,
        config: config.clone(),
        old: &old,
        new: &new,
        change: &|disk, config| {
            let (store, _, _) = start(disk, config.clone())?;
            store.truncate(zxid)?;
            let recovered = store.recover(&mut common::Recording::default())?;
            assert_eq!(recovered.last_zxid, new.last());
            Ok(())
        },
    };
    let (old, new) = scenario.every_crash_point();
    assert!(old > 20 && new > 20, "{old} {new}");
}

/// Z-07: a truncation that was interrupted brought back some of what it had removed.
#[test]
fn bug_z07_a_truncation_is_whole_at_every_crash_point() {
    truncates(&config(), Zxid::new(3, 5));
    truncates(&config(), Zxid::new(3, 8));
    truncates(&separate(), Zxid::new(3, 2));
}

#[test]
fn a_truncation_to_the_beginning_of_an_epoch_or_to_a_snapshot() {
    truncates(&config(), Zxid::new(3, 0));
    truncates(&config(), Zxid::new(1, 3));
    truncates(&separate(), Zxid::ZERO);
}

/// The record that was to be the last one is cut off with the rest where it rots before a
/// truncation is completed: acknowledged, and gone without a word.
#[test]
fn a_truncation_that_was_interrupted_is_not_completed_over_damage() {
    let (zxid, log) = (Zxid::new(3, 6), Path::new("/data/version-2/log.300000005"));
    let (before, _) = member(&config(), 60);
    let mut refused = 0;
    for point in 1.. {
        let disk = before.after_kill();
        let (store, ..) = start(&disk, config()).unwrap();
        disk.lose_power_at(disk.operations() + point);
        let done = store.truncate(zxid).is_ok();
        drop(store);
        let after = disk.after_power_loss(&mut Chooser::Everything);
        let is_noted = after.dump().keys().any(|path| path.ends_with("switch.rookeeper"));
        if is_noted {
            let bytes = zxid.0.to_be_bytes();
            let contents = after.contents(log).unwrap();
            let at = contents.windows(8).position(|window| window == bytes).unwrap();
            let flipped = after.after_kill();
            flipped.flip(log, at + 7, 1);
            // The record and all behind it, in a log that nobody had closed: as zeros ahead are.
            let start_of_record = at - 24;
            let mut zeroed = contents;
            assert_eq!(zeroed[start_of_record..][..4], [0; 4], "a checksum's upper half");
            zeroed[start_of_record..].fill(0);
            zeroed[12..16].copy_from_slice(b"Rook");
            let forgotten = after.after_kill();
            forgotten.put(log, &zeroed);
            for rotten in [flipped, forgotten] {
                let error = start(&rotten, config()).map(drop).unwrap_err();
                let last = Zxid::new(3, 5);
                let is_named = matches!(&error, StoreError::LogDamaged { path, last: at, .. }
                    if path == log && *at == last);
                assert!(is_named, "point {point}: {error}");
                refused += 1;
            }
        }
        if done {
            break;
        }
    }
    assert!(refused > 6, "{refused}");
}

/// ZOOKEEPER-2354, Z-06: a stop between a leader's transactions and the current epoch left a
/// server that refused to start. The accepted epoch tells that they are legal.
#[test]
fn bug_2354_a_stop_at_any_moment_of_joining_a_leader_leaves_epochs_that_fit() {
    let (before, _) = member(&config(), 60);
    let (store, _, _) = start(&before, config()).unwrap();
    store.set_epoch(EpochFile::Accepted, 3).unwrap();
    store.set_epoch(EpochFile::Current, 3).unwrap();
    drop(store);
    let leader = epochs(&[(1, 5), (3, 12), (5, 2)], 60);
    let (mut behind, mut done) = (0, false);
    for point in 1.. {
        let disk = before.after_kill();
        disk.lose_power_at(disk.operations() + point);
        let joined = || {
            start(&disk, config())?.0.set_epoch(EpochFile::Accepted, 5)?;
            install(&disk, &config(), &leader, Zxid::new(5, 1))?;
            start(&disk, config())?.0.set_epoch(EpochFile::Current, 5)
        };
        let finished = joined().is_ok();
        each_survivor(&disk, 10, 4, |after, survivor| {
            let (store, recovered, _) = start(&after, config()).unwrap();
            let (current, accepted) = epoch_files(&store);
            let of_log = i64::from(recovered.last_zxid.epoch());
            assert!(accepted >= of_log && accepted >= current, "{point}, {survivor}");
            assert!(current == 3 || recovered.last_zxid >= Zxid::new(5, 1), "{point}, {survivor}");
            behind += u32::from(current < of_log);
            done |= current == 5;
        });
        if finished {
            break;
        }
    }
    assert!(behind > 10 && done, "{behind}");
}

/// A Java server knows nothing of our note: what it wrote since is the history.
#[test]
fn a_change_is_void_once_another_server_has_used_the_directory() {
    let mut voided = 0;
    for point in 1.. {
        let disk = SimulatedDisk::new();
        let (store, _) = filled(&disk, 8);
        let leader = epochs(&[(1, 5), (3, 4)], 25);
        let install = stage(&store, &leader, Zxid::new(3, 4));
        let mut log = install.log_writer();
        disk.lose_power_at(disk.operations() + point);
        let done = install.commit(&mut log).is_ok();
        drop((log, store));
        let after = disk.after_power_loss(&mut Chooser::Everything);
        let dir = data_dir().join("version-2");
        let names = after.list(&dir).unwrap();
        let newest = names.iter().filter_map(|name| rookeeper_store::names::snapshot_zxid(name));
        let next = newest.max().unwrap().next();
        let log_name = rookeeper_store::names::log_name(next);
        let mut bytes = after.contents(&dir.join(&log_name)).unwrap_or_default();
        if bytes.is_empty() {
            bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
            rookeeper_store::log::encode_record(&payload(next, 99), &mut bytes);
            after.put(&dir.join(&log_name), &bytes);
        }
        let noted = names.contains(&"switch.rookeeper".to_string());
        let (_store, recovered, _) = start(&after, config()).unwrap();
        let void = recovered.repairs.iter().any(|it| matches!(it, Repair::SwitchVoid { .. }));
        if noted && next.epoch() == 3 {
            assert!(void, "{point}: {:?}", recovered.repairs);
            assert_eq!(recovered.last_zxid, next, "{point}");
            assert_eq!(after.contents(&dir.join(&log_name)).unwrap(), bytes, "{point}");
            voided += 1;
        }
        if done {
            assert!(voided > 5, "{voided}");
            return;
        }
    }
}
