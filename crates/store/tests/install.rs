//! A leader's history takes the place of our own, wholly or not at all.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Model, Recording, config, data_dir, in_version_2, payload, start};
use rookeeper_jute::Zxid;
use rookeeper_store::{Disk, LogWriter, SimulatedDisk, Store, StoreError};

/// A history of some epochs: all transactions up to each epoch's last counter.
fn history(epochs: &[(u32, u32)], len: usize) -> Model {
    let mut model = Model::default();
    for (epoch, last) in epochs {
        for counter in 1..=*last {
            let zxid = Zxid::new(*epoch, counter);
            model.txns.insert(zxid.0, payload(zxid, len));
        }
    }
    model
}

fn append(log: &mut LogWriter, model: &mut Model, zxid: Zxid, len: usize) {
    let txn = payload(zxid, len);
    log.append(zxid, &txn).unwrap();
    model.txns.insert(zxid.0, txn);
}

/// A store that holds the transactions of epoch 1 up to `last`, with a snapshot in the middle.
fn filled(disk: &SimulatedDisk, last: u32) -> (Store, Model) {
    let (store, _, recording) = start(disk, config()).unwrap();
    let mut model = Model::of(&recording);
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for counter in 1..=last {
        append(&mut log, &mut model, Zxid::new(1, counter), 30);
        if counter == last / 2 {
            log.roll().unwrap();
            model.save(&store).unwrap();
        }
    }
    log.close().unwrap();
    (store, model)
}

/// Stages a leader's history up to `at` as a snapshot.
fn stage(store: &Store, leader: &Model, at: Zxid) -> rookeeper_store::Install {
    let mut install = store.begin_install(at).unwrap();
    for chunk in leader.body().chunks(100) {
        install.write(chunk).unwrap();
    }
    install.finish_snapshot(None).unwrap();
    let mut recording = Recording::default();
    let loaded = install.load(&mut recording).unwrap();
    assert_eq!(loaded.info.zxid, at);
    assert_eq!(Model::of(&recording), *leader);
    install
}

#[test]
fn a_leader_s_history_takes_our_own_s_place() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    let mut leader = history(&[(1, 5), (3, 4)], 25);
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
    let leader = history(&[(2, 4)], 25);
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
    let body = history(&[(2, 4)], 25).body();
    let mut install = store.begin_install(Zxid::new(2, 4)).unwrap();
    install.write(&body[..body.len() - 9]).unwrap();
    install.finish_snapshot(None).unwrap();
    let error = install.load(&mut Recording::default()).err().unwrap();
    assert!(matches!(error, StoreError::SnapshotDamaged { .. }), "{error}");
    drop(install);
    assert!(disk.contents(&in_version_2("log.100000001")).is_some());
}
