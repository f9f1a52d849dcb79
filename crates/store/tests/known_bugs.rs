//! Bugs of Java's that concern storage, each by its number: what `known-bugs` and the reliability
//! plan call Z-05 to Z-10 among them. Further ones stand where their scenario is: 2354 and Z-07 in
//! `switch.rs`, 2846 in `histories.rs`, 2325 and 3231 in `corruption.rs` and `directories.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;

use common::{
    Model, Recording, append, config, each_survivor, epoch_files, epochs, filled, in_version_2,
    payload, stage, start,
};
use rookeeper_jute::Zxid;
use rookeeper_store::disk::{Chooser, Fault, FaultKind};
use rookeeper_store::{Disk, EpochFile, Repair, SimulatedDisk, StoreError};

fn at(counter: u32) -> Zxid {
    Zxid::new(1, counter)
}

fn nothing(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.after_power_loss(&mut Chooser::Nothing)
}

/// The transactions that a directory holds.
fn zxids(disk: &SimulatedDisk) -> Vec<i64> {
    let (_store, _, recording) = start(disk, config()).unwrap();
    Model::of(&recording).txns.into_keys().collect()
}

/// The connection was lost after a TRUNC, and what the leader had sent behind it was in memory
/// only: the log got a gap.
#[test]
fn bug_5094_after_a_truncation_the_log_goes_on_behind_it_or_not_at_all() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    store.truncate(at(5)).unwrap();
    store.recover(&mut Recording::default()).unwrap();
    let mut log = store.log_writer();
    for zxid in [at(5), at(7), Zxid::new(2, 2)] {
        let error = log.append(zxid, &payload(zxid, 9)).unwrap_err();
        assert!(matches!(error, StoreError::OutOfOrder { .. }), "{error}");
    }
    log.append(Zxid::new(2, 1), &payload(Zxid::new(2, 1), 9)).unwrap();
    log.flush().unwrap();
    let mut expected: Vec<i64> = (1..=5).map(|counter| at(counter).0).collect();
    expected.push(Zxid::new(2, 1).0);
    assert_eq!(zxids(&nothing(&disk)), expected);
}

/// A truncation was undone by the newest snapshot, which held what had been cut off.
#[test]
fn bug_4837_no_snapshot_brings_back_what_was_truncated() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    let (store, _, recording) = {
        drop(store);
        start(&disk, config()).unwrap()
    };
    Model::of(&recording).save(&store).unwrap();
    store.truncate(at(6)).unwrap();
    assert!(disk.contents(&in_version_2("snapshot.100000008")).is_none());
    drop(store);
    let expected: Vec<i64> = (1..=6).map(|counter| at(counter).0).collect();
    assert_eq!(zxids(&disk), expected);
    // Where every snapshot is later than the point, nothing is cut: a snapshot is needed.
    let (store, _, _) = start(&disk, config()).unwrap();
    disk.remove(&in_version_2("snapshot.0")).unwrap();
    let before = disk.dump();
    let error = store.truncate(at(3)).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert_eq!(disk.dump(), before);
    let mut log = store.log_writer();
    log.append(at(7), &payload(at(7), 10)).unwrap();
    log.close().unwrap();
}

/// What followed a TRUNC was acknowledged while its only copy was a snapshot that nobody had
/// synced.
#[test]
fn bug_z05_what_follows_a_truncation_is_on_disk_when_it_is_flushed() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    store.truncate(at(3)).unwrap();
    let mut recording = Recording::default();
    store.recover(&mut recording).unwrap();
    let mut model = Model::of(&recording);
    let mut log = store.log_writer();
    for counter in 1..=3 {
        append(&mut log, &mut model, Zxid::new(2, counter), 40);
    }
    assert_eq!(log.flush().unwrap(), Zxid::new(2, 3));
    each_survivor(&disk, 50, 10, |after, survivor| {
        let (_store, _, recording) = start(&after, config()).unwrap();
        assert_eq!(Model::of(&recording), model, "{survivor}");
    });
}

/// No directory was synced: a log's name, or the promise of an epoch, could go.
#[test]
fn bug_z08_names_are_on_disk_as_soon_as_their_contents_are_promised() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 2);
    let mut log = store.log_writer();
    append(&mut log, &mut model, at(3), 40);
    log.flush().unwrap();
    assert!(nothing(&disk).contents(&in_version_2("log.100000003")).is_some());
    for (which, name) in
        [(EpochFile::Accepted, "acceptedEpoch"), (EpochFile::Current, "currentEpoch")]
    {
        for epoch in [4, 5] {
            store.set_epoch(which, epoch).unwrap();
            let content = nothing(&disk).contents(&in_version_2(name)).unwrap();
            assert_eq!(content, epoch.to_string().as_bytes());
        }
    }
    let info = model.save(&store).unwrap();
    assert!(nothing(&disk).contents(&in_version_2(&info.name)).is_some());
}

/// Damage in the middle of a log was taken for its end, and all that followed was gone.
#[test]
fn bug_z09_damage_in_the_middle_of_a_log_is_not_its_end() {
    for zeros in [false, true] {
        let disk = SimulatedDisk::new();
        let (store, mut model) = filled(&disk, 4);
        let mut log = store.log_writer();
        for counter in 5..=9 {
            append(&mut log, &mut model, at(counter), 400);
            log.flush().unwrap();
        }
        log.close().unwrap();
        drop(store);
        let path = in_version_2("log.100000005");
        let mut bytes = disk.contents(&path).unwrap();
        let middle = 700..if zeros { 900 } else { 701 };
        bytes[middle].iter_mut().for_each(|byte| *byte = if zeros { 0 } else { *byte ^ 8 });
        disk.put(&path, &bytes);
        let before = disk.dump();
        let error = start(&disk, config()).err().unwrap();
        assert!(matches!(error, StoreError::LogDamaged { .. }), "{error}");
        assert_eq!(disk.dump(), before);
    }
}

/// A torn last record, or a header of which a few bytes are there, kept a server from starting.
#[test]
fn bug_z10_a_torn_end_of_the_log_is_no_reason_not_to_start() {
    let expected: Vec<i64> = (1..=4).map(|counter| at(counter).0).collect();
    let (mut whole, mut cut) = (0, 0);
    for len in 1..200 {
        let disk = SimulatedDisk::new();
        let (store, mut model) = filled(&disk, 4);
        let mut log = store.log_writer();
        append(&mut log, &mut model, at(5), 30);
        log.close().unwrap();
        drop(store);
        let path = in_version_2("log.100000005");
        let mut bytes = disk.contents(&path).unwrap();
        // A log that says that it was closed has no torn end.
        bytes[12..16].copy_from_slice(b"Rook");
        disk.put(&path, &bytes[..bytes.len().min(len)]);
        let found = zxids(&disk);
        if len >= bytes.len() {
            assert_eq!(found.len(), 5);
            whole += 1;
        } else {
            assert_eq!(found, expected, "{len} of {} bytes", bytes.len());
            cut += 1;
        }
    }
    assert!(whole > 50 && cut > 50, "{whole} {cut}");
}

/// The leader ended between its snapshot and NEWLEADER: the learner had it in memory only, and its
/// next synchronisation was a DIFF to what it had not saved (ZOOKEEPER-2872: nor safely).
#[test]
fn bug_3642_a_leader_s_snapshot_counts_when_it_is_on_disk_and_not_before() {
    let disk = SimulatedDisk::new();
    let (store, model) = filled(&disk, 8);
    let mut leader = epochs(&[(1, 5), (3, 4)], 25);
    let install = stage(&store, &leader, Zxid::new(3, 4));
    let mut log = install.log_writer();
    append(&mut log, &mut leader, Zxid::new(3, 5), 25);
    log.flush().unwrap();
    for mut chooser in [Chooser::Nothing, Chooser::Everything, Chooser::Random(5)] {
        let (_store, recovered, recording) =
            start(&disk.after_power_loss(&mut chooser), config()).unwrap();
        assert_eq!((recovered.last_zxid, Model::of(&recording)), (at(8), model.clone()));
    }
    install.commit(&mut log).unwrap();
    let (_store, recovered, recording) = start(&nothing(&disk), config()).unwrap();
    assert_eq!((recovered.last_zxid, Model::of(&recording)), (Zxid::new(3, 5), leader));
}

/// The current epoch was written, or NEWLEADER acknowledged, before the transactions of the
/// synchronisation were on disk (ZOOKEEPER-3911, 4643, 4646, 4785).
#[test]
fn bug_4785_where_the_current_epoch_is_on_disk_so_are_the_leader_s_transactions() {
    let (mut old, mut new) = (0, 0);
    for point in 1.. {
        let disk = SimulatedDisk::new();
        let (store, _) = filled(&disk, 4);
        store.set_epoch(EpochFile::Accepted, 1).unwrap();
        store.set_epoch(EpochFile::Current, 1).unwrap();
        disk.lose_power_at(disk.operations() + point);
        let join = || -> Result<(), StoreError> {
            store.set_epoch(EpochFile::Accepted, 2)?;
            let mut log = store.log_writer();
            for zxid in [at(5), at(6), Zxid::new(2, 1)] {
                log.append(zxid, &payload(zxid, 600))?;
            }
            log.flush()?;
            store.set_epoch(EpochFile::Current, 2)
        };
        let done = join().is_ok();
        each_survivor(&disk, 40, 10, |after, survivor| {
            let (store, recovered, _) = start(&after, config()).unwrap();
            let (current, accepted) = epoch_files(&store);
            assert!(accepted >= current, "{point}, {survivor}");
            if current == 2 {
                assert_eq!(recovered.last_zxid, Zxid::new(2, 1), "{point}, {survivor}");
                new += 1;
            } else {
                old += 1;
            }
        });
        if done {
            assert!(old > 50 && new > 0, "{old} {new}");
            return;
        }
    }
}

/// An error in a truncation was passed over, and the server went on with what was never committed.
#[test]
fn bug_3701_a_truncation_that_fails_is_an_error() {
    for kind in [FaultKind::Sync, FaultKind::SyncDir, FaultKind::Rename, FaultKind::Create] {
        let mut failed = 0;
        for after in 0.. {
            let disk = SimulatedDisk::new();
            let (store, _) = filled(&disk, 8);
            let (path_contains, error) = ("data".into(), io::ErrorKind::Other);
            disk.plan_fault(Fault { kind, path_contains, after, error });
            let result = store.truncate(at(6));
            if result.is_ok() {
                break;
            }
            failed += 1;
            drop(store);
            let found = zxids(&disk.after_kill()).len();
            assert!(found == 8 || found == 6, "{kind:?} {after}: {found}");
        }
        assert!(failed > 0, "{kind:?}");
    }
}

/// A transaction was committed in memory though the disk had refused it, and was missing in the
/// log from then on.
#[test]
fn bug_4882_after_an_error_of_the_disk_nothing_is_logged_behind_the_hole() {
    for kind in [FaultKind::Write, FaultKind::Sync] {
        let disk = SimulatedDisk::new();
        let (store, mut model) = filled(&disk, 4);
        let mut log = store.log_writer();
        append(&mut log, &mut model, at(5), 40);
        log.flush().unwrap();
        let (path_contains, error) = ("log.100000005".into(), io::ErrorKind::Other);
        disk.plan_fault(Fault { kind, path_contains, after: 0, error });
        append(&mut log, &mut model, at(6), 40);
        assert!(log.flush().is_err());
        let refused = log.append(at(7), &payload(at(7), 40)).unwrap_err();
        assert!(matches!(refused, StoreError::Poisoned { .. }), "{refused}");
        assert_eq!(log.durable_zxid(), at(5));
        drop((log, store));
        let found = zxids(&nothing(&disk));
        assert!(found.len() == 5 || found.len() == 6, "{found:?}");
    }
}

/// An epoch file was lost or half written (ZOOKEEPER-2307, 4269): the other one was then the lesser
/// or greater one, and the server refused to start.
#[test]
fn bug_2307_epoch_files_are_whole_and_in_order_at_every_crash_point() {
    for point in 1.. {
        let disk = SimulatedDisk::new();
        let (store, _) = filled(&disk, 4);
        store.set_epoch(EpochFile::Accepted, 1).unwrap();
        store.set_epoch(EpochFile::Current, 1).unwrap();
        disk.lose_power_at(disk.operations() + point);
        let join = || -> Result<(), StoreError> {
            for epoch in 2..5 {
                store.set_epoch(EpochFile::Accepted, epoch)?;
                store.set_epoch(EpochFile::Current, epoch)?;
            }
            Ok(())
        };
        let done = join().is_ok();
        each_survivor(&disk, 40, 10, |after, survivor| {
            let (current, accepted) = epoch_files(&start(&after, config()).unwrap().0);
            assert!((1..=4).contains(&current), "{point}, {survivor}: {current}");
            assert!((current..=current + 1).contains(&accepted), "{point}, {survivor}");
        });
        if done {
            return;
        }
    }
}

/// A Java server that is killed just after it rolled its log has synced neither log's end; with a
/// small snapCount there may be more than two.
#[test]
fn what_a_java_server_left_unsynced_in_several_logs_is_on_disk_before_it_is_announced() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 4);
    drop(store);
    let mut next = at(5);
    for _ in 0..4 {
        let path = in_version_2(&format!("log.{:x}", next.0));
        let file = disk.create(&path).unwrap();
        let mut bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
        for _ in 0..3 {
            let txn = payload(next, 700);
            rookeeper_store::log::encode_record(&txn, &mut bytes);
            model.txns.insert(next.0, txn);
            next = next.next();
        }
        bytes.resize(bytes.len() + 4096, 0);
        file.write_at(0, &bytes).unwrap();
    }
    let killed = disk.after_kill();
    let (_store, recovered, _) = start(&killed, config()).unwrap();
    assert_eq!(recovered.last_zxid, model.last());
    each_survivor(&killed, 30, 10, |after, survivor| {
        let (_store, _, recording) = start(&after, config()).unwrap();
        assert!(Model::of(&recording) == model, "{survivor}");
    });
}

#[test]
fn the_quarantine_is_bounded_and_keeps_the_newest_of_each_kind() {
    let disk = SimulatedDisk::new();
    let (mut store, _) = filled(&disk, 8);
    let quarantine = common::data_dir().join("quarantine");
    for epoch in 3..9 {
        let at = Zxid::new(epoch, 4);
        let install = stage(&store, &epochs(&[(1, 5), (epoch, 4)], 25), at);
        let mut log = install.log_writer();
        log.append(at.next(), &payload(at.next(), 10)).unwrap();
        install.commit(&mut log).unwrap();
        log.close().unwrap();
        // Nobody purges: three of each kind stay when more is set aside, and all of the last one.
        assert!(disk.list(&quarantine).unwrap().len() <= 8);
    }
    assert_eq!(disk.list(&quarantine).unwrap().len(), 8);
    let purged = store.purge(3).unwrap();
    assert_eq!(purged.files.len(), 2);
    let kept = disk.list(&quarantine).unwrap();
    let newest: Vec<String> = ["log", "snapshot"]
        .iter()
        .flat_map(|kind| (5..8).map(move |epoch| (kind, epoch)))
        .map(|(kind, epoch)| format!("{kind}.{epoch}0000000{}", if *kind == "log" { 5 } else { 4 }))
        .collect();
    assert_eq!(kept, newest);
    drop(store);
    let repairs: Vec<Repair>;
    (store, repairs) = {
        let (store, recovered, _) = start(&disk, config()).unwrap();
        (store, recovered.repairs)
    };
    assert_eq!(repairs, []);
    assert_eq!(store.purge(3).unwrap().files.len(), 0);
}
