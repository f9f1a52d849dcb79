//! Opening, locking, purging, truncating, reading back: what a directory goes through.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Model, Recording, config, data_dir, in_version_2, payload, start, vector};
use rookeeper_jute::Zxid;
use rookeeper_store::disk::{DiskLock, FileInfo};
use rookeeper_store::{
    Disk, DiskFile, EpochFile, RealDisk, Repair, SimulatedDisk, Store, StoreConfig, StoreError,
};

fn open(disk: &SimulatedDisk, config: StoreConfig) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), config)
}

/// A store with transactions 1 to `count`, a roll after each, and snapshots where asked.
fn filled(disk: &SimulatedDisk, count: i64, snapshots: &[i64]) -> Store {
    let (store, _, recording) = start(disk, config()).unwrap();
    let mut model = Model::of(&recording);
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in 1..=count {
        let txn = payload(Zxid(zxid), 20);
        log.append(Zxid(zxid), &txn).unwrap();
        log.roll().unwrap();
        model.txns.insert(zxid, txn);
        if snapshots.contains(&zxid) {
            model.save(&store).unwrap();
        }
    }
    log.close().unwrap();
    store
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    disk.list(&data_dir().join("version-2")).unwrap()
}

#[test]
fn a_new_directory_is_created_and_asks_for_its_first_snapshot() {
    let disk = SimulatedDisk::new();
    let (store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(recording.begun, [None]);
    assert_eq!(recovered.last_zxid, Zxid::ZERO);
    assert!(recovered.write_initial_snapshot);
    Model::default().save(&store).unwrap();
    assert_eq!(names(&disk), ["snapshot.0"]);
}

#[test]
#[should_panic(expected = "the initial snapshot comes before the log")]
fn a_log_is_not_begun_before_the_first_snapshot() {
    let (store, _, _) = start(&SimulatedDisk::new(), config()).unwrap();
    store.log_writer();
}

#[test]
fn a_missing_directory_is_not_created_where_that_is_off() {
    let config = StoreConfig { auto_create_dir: false, ..config() };
    let error = open(&SimulatedDisk::new(), config).err().unwrap();
    assert!(matches!(error, StoreError::DirectoryMissing { .. }), "{error}");
}

#[test]
fn a_directory_without_write_permission_is_refused() {
    let disk = vector("n1");
    disk.set_read_only(&data_dir().join("version-2"));
    let error = open(&disk, config()).err().unwrap();
    assert!(error.to_string().contains("make it writable"), "{error}");
    assert!(matches!(error, StoreError::DirectoryNotWritable { .. }));
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_free() {
    let disk = vector("n1");
    let first = open(&disk, config()).unwrap();
    let error = open(&disk, config()).err().unwrap();
    assert!(matches!(&error, StoreError::Locked { path } if path.starts_with("/data")));
    // Also where only one of the two directories is shared.
    let other = StoreConfig { data_log_dir: data_dir(), ..StoreConfig::new("/other") };
    assert!(matches!(open(&disk, other).err().unwrap(), StoreError::Locked { .. }));
    drop(first);
    open(&disk, config()).unwrap();
}

#[test]
fn a_real_directory_in_use_is_refused_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(Arc::new(RealDisk), StoreConfig::new(dir.path().join("a/b")));
    let first = open().unwrap();
    assert!(matches!(open().err().unwrap(), StoreError::Locked { .. }));
    drop(first);
    open().unwrap();
}

#[test]
fn exchanged_directories_are_refused_as_java_refuses_them() {
    let disk = vector("n1");
    let logs_elsewhere = StoreConfig { data_log_dir: "/logs".into(), ..config() };
    let error = open(&disk, logs_elsewhere).err().unwrap();
    assert!(matches!(error, StoreError::LogInSnapshotDirectory { .. }), "{error}");
    let snapshots_elsewhere =
        StoreConfig { data_log_dir: data_dir(), ..StoreConfig::new("/snapshots") };
    let error = open(&disk, snapshots_elsewhere).err().unwrap();
    assert!(matches!(error, StoreError::SnapshotInLogDirectory { .. }), "{error}");
}

#[test]
fn unfinished_files_are_removed_and_foreign_ones_are_not() {
    let disk = vector("n1");
    for name in ["next-log.tmp", "next-snapshot.5", "currentEpoch.tmp", "core", "notes.txt"] {
        disk.put(&in_version_2(name), b"x");
    }
    start(&disk, config()).unwrap();
    let names = names(&disk);
    assert!(!names.iter().any(|name| name.starts_with("next-")), "{names:?}");
    for name in ["currentEpoch.tmp", "core", "notes.txt"] {
        assert!(names.contains(&name.to_string()), "{names:?}");
    }
}

#[test]
fn an_empty_database_is_trusted_by_default_or_with_an_initialize_file() {
    let untrusting = || StoreConfig { auto_create_db: false, ..config() };
    let disk = SimulatedDisk::new();
    let (_, recovered, _) = start(&disk, untrusting()).unwrap();
    assert_eq!(recovered.last_zxid, Zxid::NONE);
    assert!(!recovered.write_initial_snapshot);
    let initialize = data_dir().join("initialize");
    disk.put(&initialize, b"");
    let (_, recovered, _) = start(&disk, untrusting()).unwrap();
    assert_eq!(recovered.last_zxid, Zxid::ZERO);
    assert!(recovered.write_initial_snapshot);
    assert_eq!(disk.contents(&initialize), None);
}

#[test]
fn an_unfinished_snapshot_is_no_snapshot() {
    let disk = SimulatedDisk::new();
    let store = filled(&disk, 3, &[]);
    let mut writer = store.snapshot_writer(Zxid(3)).unwrap();
    writer.write(&[0; 100]).unwrap();
    assert!(names(&disk).contains(&"next-snapshot.3".to_string()));
    drop(writer);
    assert_eq!(names(&disk), ["log.1", "log.2", "log.3", "snapshot.0"]);
}

#[test]
fn purging_keeps_the_newest_valid_snapshots_and_their_logs() {
    let disk = SimulatedDisk::new();
    let store = filled(&disk, 9, &[2, 4, 5, 7, 9]);
    let purged = store.purge(3).unwrap();
    assert_eq!(purged.logs_from, Some(Zxid(5)));
    assert!(purged.files.iter().all(|purged| purged.failure.is_none()));
    let lines: Vec<String> = purged.files.iter().map(|purged| purged.line()).collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert!(lines[0].starts_with("Removing file: Jan 1, 1970, 12:00:00 AM\t/data/version-2/"));
    // The oldest kept is 5, for which log.5 may hold 6.
    let kept = ["log.5", "log.6", "log.7", "log.8", "log.9"];
    let snapshots = ["snapshot.5", "snapshot.7", "snapshot.9"];
    assert_eq!(names(&disk), [&kept[..], &snapshots].concat());
    drop(store);
    let (_store, recovered, _) = start(&disk, config()).unwrap();
    assert_eq!(recovered.last_zxid, Zxid(9));
}

#[test]
fn damaged_snapshots_do_not_push_out_the_ones_that_recovery_needs() {
    let disk = SimulatedDisk::new();
    drop(filled(&disk, 9, &[2, 4, 5, 7, 9]));
    for name in ["snapshot.5", "snapshot.7", "snapshot.9"] {
        disk.flip(&in_version_2(name), 40, 1);
    }
    let store = open(&disk, config()).unwrap();
    store.purge(3).unwrap();
    drop(store);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(recording.begun.last(), Some(&Some(Zxid(4))));
    assert_eq!(recovered.last_zxid, Zxid(9));
    assert_eq!(recovered.repairs.len(), 3);
}

#[test]
fn purging_does_nothing_where_no_snapshot_is_valid() {
    let disk = SimulatedDisk::new();
    drop(filled(&disk, 3, &[]));
    disk.flip(&in_version_2("snapshot.0"), 20, 1);
    let before = names(&disk);
    let store = open(&disk, config()).unwrap();
    assert_eq!(store.purge(3).unwrap().files.len(), 0);
    assert_eq!(names(&disk), before);
}

#[test]
fn the_log_is_read_back_from_any_transaction_across_files() {
    let disk = SimulatedDisk::new();
    let store = filled(&disk, 7, &[]);
    for from in 1..=8 {
        let mut cursor = store.read_log(Zxid(from)).unwrap();
        for zxid in from..=7 {
            assert_eq!(cursor.advance().unwrap().unwrap().zxid, Zxid(zxid));
            assert_eq!(cursor.payload(), payload(Zxid(zxid), 20));
        }
        assert_eq!(cursor.advance().unwrap(), None);
    }
    disk.remove(&in_version_2("log.4")).unwrap();
    let mut cursor = store.read_log(Zxid(2)).unwrap();
    cursor.advance().unwrap();
    cursor.advance().unwrap();
    assert!(matches!(cursor.advance(), Err(StoreError::LogGap { .. })));
}

#[test]
fn a_truncated_history_ends_there_and_the_rest_is_kept_aside() {
    let disk = SimulatedDisk::new();
    let (store, _, recording) = start(&disk, config()).unwrap();
    let mut model = Model::of(&recording);
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in 1..=8 {
        let txn = payload(Zxid(zxid), 20);
        log.append(Zxid(zxid), &txn).unwrap();
        model.txns.insert(zxid, txn);
        match zxid {
            4 | 6 => log.roll().unwrap(),
            7 => {
                log.flush().unwrap();
                model.save(&store).unwrap();
            }
            _ => {}
        }
    }
    log.close().unwrap();
    store.truncate(Zxid(3)).unwrap();
    let mut recording = Recording::default();
    let recovered = store.recover(&mut recording).unwrap();
    assert_eq!(recovered.last_zxid, Zxid(3));
    assert_eq!(recovered.repairs, []);
    let kept = disk.list(&data_dir().join("quarantine")).unwrap();
    assert_eq!(kept.len(), 4, "{kept:?}");
    // ZOOKEEPER-1489: what is appended after a truncation is there after the next start.
    let mut log = store.log_writer();
    log.append(Zxid(4), &payload(Zxid(4), 77)).unwrap();
    log.close().unwrap();
    drop(store);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(recovered.last_zxid, Zxid(4));
    assert_eq!(Model::of(&recording).txns[&4], payload(Zxid(4), 77));
}

#[test]
fn an_interrupted_truncation_leaves_a_readable_directory_and_can_be_repeated() {
    for point in 1.. {
        let disk = SimulatedDisk::new();
        let store = filled(&disk, 6, &[2, 5]);
        disk.lose_power_at(disk.operations() + point);
        let done = store.truncate(Zxid(3)).is_ok();
        for seed in 0..30 {
            let after = disk.after_power_loss(&mut rookeeper_store::disk::Chooser::Random(seed));
            let (store, recovered, _) =
                start(&after, config()).unwrap_or_else(|error| panic!("{point} {seed}: {error}"));
            assert!((3..=6).contains(&recovered.last_zxid.0));
            assert!(!done || recovered.last_zxid == Zxid(3), "{point} {seed}");
            store.truncate(Zxid(3)).unwrap();
            let recovered = store.recover(&mut Recording::default()).unwrap();
            assert_eq!(recovered.last_zxid, Zxid(3));
        }
        if done {
            return;
        }
    }
}

#[test]
fn a_truncation_to_what_is_not_there_is_refused() {
    let disk = SimulatedDisk::new();
    let store = filled(&disk, 3, &[]);
    let before = disk.dump();
    for zxid in [Zxid(4), Zxid::new(1, 0), Zxid::new(1, 3)] {
        let error = store.truncate(zxid).err().unwrap();
        assert!(matches!(error, StoreError::TruncationPointMissing { .. }), "{error}");
    }
    assert_eq!(disk.dump(), before);
}

#[test]
fn transactions_logged_twice_are_delivered_once() {
    let disk = SimulatedDisk::new();
    drop(filled(&disk, 4, &[]));
    let log = disk.contents(&in_version_2("log.3")).unwrap();
    disk.put(&in_version_2("log.4"), &[&log[..], &log[16..]].concat());
    disk.put(&in_version_2("log.3.copy"), &log);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(Model::of(&recording).last(), Zxid(3));
    assert_eq!(recovered.repairs, [Repair::Duplicates { count: 3 }]);
}

#[test]
fn epochs_are_replaced_atomically_at_every_crash_point() {
    for point in 1.. {
        let disk = SimulatedDisk::new();
        let store = open(&disk, config()).unwrap();
        assert_eq!(store.epoch(EpochFile::Current).unwrap(), None);
        store.set_epoch(EpochFile::Current, 7).unwrap();
        disk.lose_power_at(disk.operations() + point);
        let done = store.set_epoch(EpochFile::Current, 8).is_ok();
        for seed in 0..20 {
            let after = disk.after_power_loss(&mut rookeeper_store::disk::Chooser::Random(seed));
            let epoch = open(&after, config()).unwrap().epoch(EpochFile::Current).unwrap();
            assert!(epoch == Some(8) || (!done && epoch == Some(7)), "{point}: {epoch:?}");
        }
        if done {
            assert_eq!(disk.contents(&in_version_2("currentEpoch")).unwrap(), b"8");
            return;
        }
    }
}

#[test]
fn a_damaged_epoch_file_is_named() {
    let disk = vector("n1");
    disk.put(&in_version_2("acceptedEpoch"), b"three");
    let store = open(&disk, config()).unwrap();
    assert_eq!(store.epoch(EpochFile::Current).unwrap(), Some(4));
    let error = store.epoch(EpochFile::Accepted).err().unwrap();
    assert!(error.to_string().contains("acceptedEpoch holds \"three\""), "{error}");
}

#[test]
fn sizes_and_room_are_told() {
    let disk = SimulatedDisk::new();
    let store = filled(&disk, 2, &[]);
    let sizes = store.sizes().unwrap();
    let sum: usize =
        names(&disk).iter().map(|name| disk.contents(&in_version_2(name)).unwrap().len()).sum();
    assert_eq!((sizes.log_dir, sizes.snapshot_dir), (sum as u64, sum as u64));
    let used: usize = disk.dump().values().map(Vec::len).sum();
    disk.set_capacity(Some(used as u64 + 1000));
    assert_eq!(store.free_space().unwrap().log_dir, 1000);
    let dir = tempfile::tempdir().unwrap();
    let real = Store::open(Arc::new(RealDisk), StoreConfig::new(dir.path())).unwrap();
    assert!(real.free_space().unwrap().log_dir > 0);
}

#[test]
fn a_real_disk_keeps_what_a_simulated_one_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let config = || StoreConfig::new(dir.path());
    let mut model = Model::default();
    for round in 0..3 {
        let store = Store::open(Arc::new(RealDisk), config()).unwrap();
        let mut recording = Recording::default();
        let recovered = store.recover(&mut recording).unwrap();
        assert!(Model::of(&recording) == model, "round {round}");
        assert_eq!(recovered.repairs, []);
        if round != 1 {
            model.save(&store).unwrap();
        }
        let mut log = store.log_writer();
        log.preparer().prepare().unwrap();
        for _ in 0..50 {
            let zxid = log.last_zxid().next();
            let txn = payload(zxid, 300 * zxid.0 as usize % 9000);
            log.append(zxid, &txn).unwrap();
            model.txns.insert(zxid.0, txn);
            if zxid.0 % 20 == 0 {
                log.roll().unwrap();
            }
        }
        match round {
            0 => log.close().unwrap(),
            _ => drop(log.flush().unwrap()),
        }
    }
}

/// A disk on which a rename takes long enough for anything else to happen meanwhile.
struct SlowRename(SimulatedDisk);

impl Disk for SlowRename {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }
    fn is_writable(&self, dir: &Path) -> bool {
        self.0.is_writable(dir)
    }
    fn info(&self, path: &Path) -> io::Result<Option<FileInfo>> {
        self.0.info(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(path)
    }
    fn open_for_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open_for_write(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Not to wait for anything: it is what holds the moment open.
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.0.lock(path)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }
}

/// Ends a thread's loop, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_next_log_may_be_prepared_at_any_moment_of_a_roll() {
    let disk = SimulatedDisk::new();
    let store = Store::open(Arc::new(SlowRename(disk.clone())), config()).unwrap();
    store.recover(&mut Recording::default()).unwrap();
    let mut model = Model::default();
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    let preparer = log.preparer();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                preparer.prepare().unwrap();
            }
        });
        let end = End(&ended);
        for zxid in (1..=40).map(Zxid) {
            let txn = payload(zxid, 20);
            log.append(zxid, &txn).unwrap();
            log.roll().unwrap();
            model.txns.insert(zxid.0, txn);
        }
        drop(end);
    });
    log.close().unwrap();
    drop(store);
    let (_store, _, recording) = start(&disk, config()).unwrap();
    assert_eq!(Model::of(&recording), model);
}
