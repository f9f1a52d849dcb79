//! A leader's history takes the place of our own, wholly or not at all.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    Model, Recording, append, config, data_dir, epochs, filled, in_version_2, payload, stage, start,
};
use rookeeper_jute::Zxid;
use rookeeper_store::disk::{Fault, FaultKind};
use rookeeper_store::{Disk, SimulatedDisk, StoreError};

#[test]
fn a_leader_s_history_takes_our_own_s_place() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    let mut leader = epochs(&[(1, 5), (3, 4)], 25);
    let install = stage(&store, &leader, Zxid::new(3, 4));
    let mut log = install.log_writer();
    for counter in 5..=7 {
        append(&mut log, &mut leader, Zxid::new(3, counter), 40);
    }
    install.commit(&mut log).unwrap();
    assert_eq!(store.last_snapshot().unwrap().name, "snapshot.300000004");
    // It goes on where it was, and over a roll.
    append(&mut log, &mut leader, Zxid::new(3, 8), 40);
    log.roll().unwrap();
    append(&mut log, &mut leader, Zxid::new(3, 9), 40);
    log.close().unwrap();
    drop(store);
    let names = disk.list(&data_dir().join("version-2")).unwrap();
    assert_eq!(names, ["log.300000005", "log.300000009", "snapshot.300000004"]);
    let kept = disk.list(&data_dir().join("quarantine")).unwrap();
    let old = ["log.100000001", "log.100000005", "snapshot.0", "snapshot.100000004"];
    assert_eq!(kept, old);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(Model::of(&recording), leader);
    assert_eq!(recovered.repairs, []);
}

#[test]
fn a_stage_that_is_given_up_leaves_everything_as_it_was() {
    let disk = SimulatedDisk::new();
    let (store, model) = filled(&disk, 8);
    let before = disk.dump();
    let leader = epochs(&[(2, 4)], 25);
    let install = stage(&store, &leader, Zxid::new(2, 4));
    let mut log = install.log_writer();
    log.append(Zxid::new(2, 5), b"twenty-eight bytes and some more").unwrap();
    log.flush().unwrap();
    drop(log);
    drop(install);
    assert_eq!(disk.dump(), before);
    // And once more, then a log on the old history.
    drop(stage(&store, &leader, Zxid::new(2, 4)));
    let mut recording = Recording::default();
    store.recover(&mut recording).unwrap();
    assert_eq!(Model::of(&recording), model);
    let mut log = store.log_writer();
    log.append(Zxid::new(1, 9), &payload(Zxid::new(1, 9), 10)).unwrap();
    log.close().unwrap();
}

#[test]
fn what_is_no_snapshot_is_not_installed() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 4);
    let body = epochs(&[(2, 4)], 25).body();
    let mut install = store.begin_install(Zxid::new(2, 4)).unwrap();
    install.write(&body[..body.len() - 9]).unwrap();
    install.finish_snapshot(None).unwrap();
    let error = install.load(&mut Recording::default()).err().unwrap();
    assert!(matches!(error, StoreError::SnapshotDamaged { .. }), "{error}");
    drop(install);
    assert!(disk.contents(&in_version_2("log.100000001")).is_some());
}

/// The process ends with the sync that fails, and what it gave up on the way is the next start's.
#[test]
fn a_sync_that_fails_in_the_middle_leaves_one_history_whole() {
    let leader = epochs(&[(1, 5), (3, 4)], 25);
    let (mut old_ones, mut new_ones) = (0, 0);
    for (kind, after) in [FaultKind::Sync, FaultKind::SyncDir]
        .into_iter()
        .flat_map(|kind| (0..8).map(move |it| (kind, it)))
    {
        let disk = SimulatedDisk::new();
        let (store, old) = filled(&disk, 8);
        let install = stage(&store, &leader, Zxid::new(3, 4));
        let mut log = install.log_writer();
        let (path_contains, error) = (String::new(), std::io::ErrorKind::Other);
        disk.plan_fault(Fault { kind, path_contains, after, error });
        let failed = install.commit(&mut log).is_err();
        drop((log, store));
        disk.forget_faults();
        let (_store, _, recording) = start(&disk, config()).unwrap();
        let model = Model::of(&recording);
        assert!(failed || model == leader, "{kind:?} {after}");
        assert!(model == old || model == leader, "{kind:?} {after}: {model:?}");
        (old_ones, new_ones) = match model == old {
            true => (old_ones + 1, new_ones),
            false => (old_ones, new_ones + 1),
        };
    }
    assert!(old_ones > 0 && new_ones > 0, "{old_ones} {new_ones}");
}
