//! What a leader takes from its disk: stretches of the history, exact snapshots, and what older
//! logs prove after a restart. And what a truncation believes, which judges logs as that does.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{
    Model, Recording, append, config, epochs, filled, in_version_2, payload, stage, start,
};
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, SessionId, StatPersisted, Zxid};
use rookeeper_store::{
    Compression, Disk, RecoveryProgress, RecoverySink, SimulatedDisk, SnapshotDigest, Store,
    StoreConfig, StoreError,
};

/// Keeps what recovery proves of the history.
#[derive(Default)]
struct Index {
    base: Option<Zxid>,
    earlier: Vec<(Zxid, u64)>,
    replayed: Vec<Zxid>,
    recording: Recording,
    progress: Vec<RecoveryProgress>,
}

impl RecoverySink for Index {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        self.recording.begin(snapshot);
    }
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        RecoverySink::session(&mut self.recording, id, timeout_ms);
    }
    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        RecoverySink::acl(&mut self.recording, index, acl)
    }
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        RecoverySink::node(&mut self.recording, path, data, acl, stat)
    }
    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        self.recording.snapshot_end(zxid, digest)
    }
    fn wants_earlier(&self) -> bool {
        true
    }
    fn earlier(&mut self, base: Zxid, txns: &[(Zxid, u64)]) {
        assert!(self.replayed.is_empty() && self.base.is_none());
        self.base = Some(base);
        self.earlier = txns.to_vec();
    }
    fn txn(&mut self, header: &TxnHeader, _txn: &[u8]) -> Result<(), String> {
        self.replayed.push(header.zxid);
        Ok(())
    }
    fn progress(&mut self, progress: RecoveryProgress) {
        self.progress.push(progress);
    }
}

fn index(disk: &SimulatedDisk) -> (Store, Index) {
    let store = Store::open(Arc::new(disk.clone()), config()).unwrap();
    let mut index = Index::default();
    store.recover(&mut index).unwrap();
    (store, index)
}

/// A log as Java writes it: no marks, nothing in the header, padding behind.
fn java_log(disk: &SimulatedDisk, zxids: &[Zxid]) {
    let mut bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    for zxid in zxids {
        rookeeper_store::log::encode_record(&payload(*zxid, 20), &mut bytes);
    }
    bytes.resize(bytes.len() + 500, 0);
    disk.put(&in_version_2(&format!("log.{:x}", zxids[0].0)), &bytes);
}

/// A snapshot as Java writes it: the same bytes, but in nobody's index.
fn java_snapshot(disk: &SimulatedDisk, model: &Model, digest: Option<Zxid>) {
    let other = SimulatedDisk::new();
    let (store, _, _) = start(&other, config()).unwrap();
    let mut writer = store.snapshot_writer(model.last()).unwrap();
    writer.write(&model.body()).unwrap();
    let digest = digest.map(|zxid| SnapshotDigest { zxid, version: 2, digest: 1 });
    let name = writer.finish(digest, None).unwrap().name;
    disk.put(&in_version_2(&name), &other.contents(&in_version_2(&name)).unwrap());
}

fn zxids(epoch: u32, counters: std::ops::RangeInclusive<u32>) -> Vec<Zxid> {
    counters.map(|counter| Zxid::new(epoch, counter)).collect()
}

fn read(store: &Store, after: Zxid, through: Zxid) -> Result<Vec<Zxid>, StoreError> {
    let mut history = store.history(after, through)?;
    let mut zxids = Vec::new();
    while let Some((zxid, txn)) = history.advance()? {
        assert_eq!(txn, payload(zxid, 30));
        zxids.push(zxid);
    }
    Ok(zxids)
}

#[test]
fn history_is_read_while_the_log_grows() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 8);
    let mut log = store.log_writer();
    for counter in 9..=12 {
        append(&mut log, &mut model, Zxid::new(1, counter), 30);
    }
    log.flush().unwrap();
    let first = |last| zxids(1, 1..=last);
    assert_eq!(read(&store, Zxid::ZERO, Zxid::new(1, 12)).unwrap(), first(12));
    // Begun before more is written, it goes as far as was asked, into files made meanwhile too.
    let mut history = store.history(Zxid::new(1, 8), Zxid::new(1, 10)).unwrap();
    append(&mut log, &mut model, Zxid::new(1, 13), 30);
    log.roll().unwrap();
    for epoch in [3, 4] {
        append(&mut log, &mut model, Zxid::new(epoch, 1), 30);
    }
    log.flush().unwrap();
    assert_eq!(history.advance().unwrap().unwrap().0, Zxid::new(1, 9));
    assert_eq!(history.advance().unwrap().unwrap().0, Zxid::new(1, 10));
    assert_eq!(history.advance().unwrap(), None);
    let last = Zxid::new(4, 1);
    assert_eq!(read(&store, Zxid::new(1, 13), last).unwrap(), [Zxid::new(3, 1), last]);
    assert_eq!(read(&store, Zxid::new(3, 0), last).unwrap(), [Zxid::new(3, 1), last]);
    assert_eq!(read(&store, last, last).unwrap(), []);
}

#[test]
fn history_that_is_not_there_is_named() {
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    let beyond = read(&store, Zxid::new(1, 2), Zxid::new(1, 9)).unwrap_err();
    assert!(
        matches!(beyond, StoreError::HistoryEnds { reached, .. } if reached == Zxid::new(1, 8)),
        "{beyond}"
    );
    // The log that holds the beginning was purged.
    disk.remove(&in_version_2("log.100000001")).unwrap();
    let gap = read(&store, Zxid::new(1, 2), Zxid::new(1, 8)).unwrap_err();
    assert!(matches!(gap, StoreError::LogGap { .. }), "{gap}");
    assert_eq!(read(&store, Zxid::new(1, 4), Zxid::new(1, 8)).unwrap(), zxids(1, 5..=8));
}

#[test]
fn exact_snapshots_stream_their_bodies_also_while_they_are_purged() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let disk = SimulatedDisk::new();
        let config = StoreConfig { compression, ..config() };
        let (store, _, _) = start(&disk, config.clone()).unwrap();
        assert!(store.exact_snapshot(Zxid::ZERO).unwrap().is_none());
        let model = epochs(&[(1, 40)], 5000);
        model.save(&store).unwrap();
        assert!(store.exact_snapshot(Zxid::new(1, 41)).unwrap().is_none());
        let check = |store: &Store| {
            let mut body = store.exact_snapshot(Zxid::new(1, 40)).unwrap().unwrap();
            assert_eq!(body.zxid(), Zxid::new(1, 40));
            let (mut bytes, mut buffer) = (Vec::new(), [0; 1000]);
            loop {
                let len = body.read(&mut buffer).unwrap();
                if len == 0 {
                    break;
                }
                bytes.extend_from_slice(&buffer[..len]);
                let name = rookeeper_store::names::snapshot_name(body.zxid(), compression);
                let _ = disk.remove(&in_version_2(&name));
            }
            assert_eq!(bytes.len() as u64, body.body_len());
            assert!(bytes == model.body());
        };
        // The next start knows it too.
        let copy = disk.after_kill();
        check(&store);
        assert!(store.exact_snapshot(Zxid::ZERO).unwrap().is_none());
        let (store, _, _) = start(&copy, config).unwrap();
        check(&store);
    }
}

#[test]
fn a_snapshot_that_rots_is_not_sent_to_its_end() {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    let model = epochs(&[(1, 9)], 500);
    let info = model.save(&store).unwrap();
    disk.flip(&in_version_2(&info.name), 300, 4);
    let mut body = store.exact_snapshot(Zxid::ZERO).unwrap().unwrap();
    let (mut sum, mut buffer) = (0, [0; 100]);
    let error = loop {
        match body.read(&mut buffer) {
            Ok(len) => sum += len,
            Err(error) => break error,
        }
        assert!((sum as u64) < body.body_len(), "all of it was delivered");
    };
    assert!(matches!(error, StoreError::SnapshotDamaged { .. }), "{error}");
}

#[test]
fn java_s_snapshots_and_a_leader_s_are_not_taken_for_exact() {
    // One that a leader sent: what it applied meanwhile may be in it.
    let disk = SimulatedDisk::new();
    let (store, _) = filled(&disk, 8);
    assert!(store.exact_snapshot(Zxid::ZERO).unwrap().is_some());
    let mut leader = epochs(&[(1, 5), (3, 4)], 25);
    let install = stage(&store, &leader, Zxid::new(3, 4));
    let mut log = install.log_writer();
    for counter in 5..=7 {
        append(&mut log, &mut leader, Zxid::new(3, counter), 25);
    }
    install.commit(&mut log).unwrap();
    assert!(store.exact_snapshot(Zxid::ZERO).unwrap().is_none());
    let at = |last| {
        let mut model = leader.clone();
        model.txns.retain(|zxid, _| *zxid <= Zxid::new(3, last).0);
        model.save(&store).unwrap();
        store.exact_snapshot(Zxid::ZERO).unwrap().map(|body| body.zxid())
    };
    assert_eq!(at(6), None);
    assert_eq!(at(7), Some(Zxid::new(3, 7)));
    // Java's: the digest says up to where.
    let disk = SimulatedDisk::new();
    java_snapshot(&disk, &epochs(&[(1, 4)], 20), Some(Zxid::new(1, 6)));
    java_log(&disk, &zxids(1, 5..=9));
    let (store, _, recording) = start(&disk, config()).unwrap();
    assert!(store.exact_snapshot(Zxid::ZERO).unwrap().is_none());
    Model::of(&recording).save(&store).unwrap();
    let exact = store.exact_snapshot(Zxid::ZERO).unwrap().map(|body| body.zxid());
    assert_eq!(exact, Some(Zxid::new(1, 9)));
}

#[test]
fn a_java_server_s_snapshot_of_the_same_name_is_not_ours() {
    let disk = SimulatedDisk::new();
    let (store, model) = filled(&disk, 8);
    model.save(&store).unwrap();
    drop(store);
    let (store, _, _) = start(&disk, config()).unwrap();
    assert!(store.exact_snapshot(Zxid::new(1, 8)).unwrap().is_some());
    drop(store);
    disk.remove(&in_version_2("snapshot.100000008")).unwrap();
    java_snapshot(&disk, &model, None);
    let (store, _, _) = start(&disk, config()).unwrap();
    assert!(store.exact_snapshot(Zxid::new(1, 8)).unwrap().is_none());
}

#[test]
fn older_logs_prove_history_before_the_snapshot() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 8);
    // A new epoch in a new file, and one in the middle of a file.
    let mut log = store.log_writer();
    for (epoch, last) in [(2, 3), (5, 2)] {
        for counter in 1..=last {
            append(&mut log, &mut model, Zxid::new(epoch, counter), 30);
        }
    }
    log.roll().unwrap();
    model.save(&store).unwrap();
    append(&mut log, &mut model, Zxid::new(5, 3), 30);
    log.close().unwrap();
    drop(store);
    let (store, index) = index(&disk);
    assert_eq!(index.base, Some(Zxid::new(1, 0)));
    let all: Vec<Zxid> = model.txns.keys().map(|zxid| Zxid(*zxid)).collect();
    let earlier: Vec<Zxid> = index.earlier.iter().map(|(zxid, _)| *zxid).collect();
    assert_eq!(earlier, all[..all.len() - 1]);
    assert!(index.earlier.iter().all(|(zxid, len)| *len == payload(*zxid, 30).len() as u64 + 13));
    assert_eq!(index.replayed, [Zxid::new(5, 3)]);
    assert_eq!(read(&store, Zxid::new(1, 0), Zxid::new(5, 3)).unwrap(), all);
}

#[test]
fn a_snapshot_at_the_beginning_of_an_epoch_has_a_proved_past_once_the_epoch_goes_on() {
    for go_on in [false, true] {
        let disk = SimulatedDisk::new();
        let (store, model) = filled(&disk, 8);
        let start_of_epoch = Zxid::new(2, 0);
        let mut writer = store.snapshot_writer(start_of_epoch).unwrap();
        writer.write(&model.body()).unwrap();
        writer.finish(None, None).unwrap();
        if go_on {
            let mut log = store.log_writer();
            log.append(Zxid::new(2, 1), &payload(Zxid::new(2, 1), 30)).unwrap();
            log.close().unwrap();
        }
        drop(store);
        let (_store, index) = index(&disk);
        let base = if go_on { Zxid::new(1, 0) } else { start_of_epoch };
        assert_eq!(index.base, Some(base), "{go_on}");
        assert_eq!(index.earlier.len(), if go_on { 8 } else { 0 });
    }
}

#[test]
fn an_epoch_whose_end_was_purged_is_not_taken_for_whole() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 4);
    let mut log = store.log_writer();
    append(&mut log, &mut model, Zxid::new(1, 5), 30);
    log.roll().unwrap();
    append(&mut log, &mut model, Zxid::new(2, 1), 30);
    log.roll().unwrap();
    append(&mut log, &mut model, Zxid::new(3, 1), 30);
    log.flush().unwrap();
    let end = Zxid::new(3, 1);
    assert_eq!(read(&store, Zxid::new(1, 5), end).unwrap(), [Zxid::new(2, 1), end]);
    for gone in logs_before(&disk, Zxid::new(2, 1)) {
        disk.remove(&gone).unwrap();
    }
    // The log that is left says after which transaction it begins.
    assert_eq!(read(&store, Zxid::new(1, 5), end).unwrap(), [Zxid::new(2, 1), end]);
    assert_eq!(read(&store, Zxid::new(2, 0), end).unwrap(), [Zxid::new(2, 1), end]);
    for after in [Zxid::ZERO, Zxid::new(1, 3)] {
        let refused = read(&store, after, end);
        assert!(matches!(refused, Err(StoreError::LogGap { .. })), "{refused:?}");
    }
}

/// A leader's snapshot may be the tree at the beginning of an epoch. What the epoch has is missing
/// where the log that holds it has rotted before.
#[test]
fn rot_before_the_beginning_of_an_epoch_hides_nothing_of_the_epoch() {
    let disk = SimulatedDisk::new();
    let (store, mut model) = filled(&disk, 4);
    let mut log = store.log_writer();
    for zxid in [Zxid::new(1, 5), Zxid::new(1, 6), Zxid::new(2, 1)] {
        append(&mut log, &mut model, zxid, 30);
    }
    log.roll().unwrap();
    let mut writer = store.snapshot_writer(Zxid::new(2, 0)).unwrap();
    writer.write(&epochs(&[(1, 6)], 30).body()).unwrap();
    writer.finish(None, None).unwrap();
    append(&mut log, &mut model, Zxid::new(4, 1), 30);
    log.close().unwrap();
    let whole = [Zxid::new(2, 1), Zxid::new(4, 1)];
    assert_eq!(read(&store, Zxid::new(2, 0), whole[1]).unwrap(), whole);
    assert_eq!(read(&store, Zxid::new(3, 0), whole[1]).unwrap(), whole[1..]);
    let name = in_version_2("log.100000005");
    let bytes = disk.contents(&name).unwrap();
    let parsed = rookeeper_store::log::parse(&bytes);
    for (offset, _) in &parsed.txns {
        // In the record's length, checksum and bytes.
        for place in [*offset as usize, *offset as usize + 11, *offset as usize + 20] {
            disk.flip(&name, place, 1);
            let refused = read(&store, Zxid::new(2, 0), whole[1]);
            assert!(matches!(refused, Err(StoreError::LogGap { .. })), "{place}: {refused:?}");
            assert_not_cut(&disk, &store, whole[1], &format!("bit at {place}"));
            disk.put(&name, &bytes);
        }
    }
    store.truncate(whole[1]).unwrap();
    assert_eq!(store.recover(&mut Recording::default()).unwrap().last_zxid, whole[1]);
}

/// Nothing in Java's logs tells a torn end from one that rots under a leader: its learners take a
/// snapshot.
#[test]
fn what_rots_at_the_end_of_a_java_log_is_not_passed_over() {
    let disk = SimulatedDisk::new();
    java_log(&disk, &zxids(5, 1..=8));
    java_snapshot(&disk, &epochs(&[(5, 4)], 20), None);
    java_log(&disk, &zxids(6, 1..=2));
    let (store, _) = index(&disk);
    let after_7 = || -> Result<Vec<Zxid>, StoreError> {
        let mut history = store.history(Zxid::new(5, 7), Zxid::new(6, 2))?;
        let mut sent = Vec::new();
        while let Some((zxid, _)) = history.advance()? {
            sent.push(zxid);
        }
        Ok(sent)
    };
    assert_eq!(after_7().unwrap(), [zxids(5, 8..=8), zxids(6, 1..=2)].concat());
    let name = in_version_2("log.500000001");
    let bytes = disk.contents(&name).unwrap();
    let parsed = rookeeper_store::log::parse(&bytes);
    for rotten in 1..=3 {
        let gone = &parsed.txns[parsed.txns.len() - rotten..];
        for (offset, _) in gone {
            disk.flip(&name, *offset as usize + 20, 1);
        }
        for empty in [false, true] {
            if empty {
                disk.put(&in_version_2("log.500000009"), b"");
            }
            let refused = after_7();
            assert!(matches!(refused, Err(StoreError::LogGap { .. })), "{rotten}: {refused:?}");
        }
        disk.remove(&in_version_2("log.500000009")).unwrap();
        disk.put(&name, &bytes);
    }
}

/// Zeros read as padding in Java's logs, and so does the end of a file that is shorter: recovery
/// has seen more there. What is zero at a start looks as if it had never been written.
#[test]
fn what_turns_to_zeros_at_the_end_of_a_java_log_is_not_passed_over() {
    // Where the end of an epoch is lost alone, and where a whole epoch is with it.
    for after_it in [&[][..], &zxids(6, 1..=2)] {
        let disk = SimulatedDisk::new();
        let (name, last) = (in_version_2("log.500000001"), Zxid::new(7, 1));
        java_log(&disk, &[&zxids(5, 1..=8), after_it].concat());
        java_snapshot(&disk, &epochs(&[(5, 4)], 20), None);
        java_log(&disk, &[last]);
        let (store, _) = index(&disk);
        let whole = [&zxids(5, 7..=8), after_it, &[last]].concat();
        let read_all = |after| -> Result<Vec<Zxid>, StoreError> {
            let mut history = store.history(after, last)?;
            let mut sent = Vec::new();
            while let Some((zxid, _)) = history.advance()? {
                sent.push(zxid);
            }
            Ok(sent)
        };
        assert_eq!(read_all(Zxid::new(5, 6)).unwrap(), whole);
        let bytes = disk.contents(&name).unwrap();
        for (offset, header) in rookeeper_store::log::parse(&bytes).txns.into_iter().skip(6) {
            let kept = &bytes[..offset as usize];
            for rest in [&vec![0; bytes.len() - kept.len()][..], &[]] {
                disk.put(&name, &[kept, rest].concat());
                for after in [Zxid::new(5, 6), Zxid::new(5, 5)] {
                    let refused = read_all(after);
                    let lost = header.zxid;
                    assert!(
                        matches!(refused, Err(StoreError::LogGap { .. })),
                        "{lost}: {refused:?}"
                    );
                }
            }
        }
        disk.put(&name, &bytes);
        assert_eq!(read_all(Zxid::new(5, 6)).unwrap(), whole);
    }
}

/// Nothing is touched, and the leader is asked for a snapshot.
fn assert_not_cut(disk: &SimulatedDisk, store: &Store, zxid: Zxid, why: &str) {
    let before = disk.dump();
    let refused = store.truncate(zxid);
    assert!(
        matches!(refused, Err(StoreError::TruncationPointMissing { .. })),
        "{why}, to {zxid}: {refused:?}"
    );
    assert_eq!(disk.dump(), before);
}

/// A member that is told to cut its end off would have a history without the end of an epoch, or be
/// one that does not start.
#[test]
fn nothing_is_cut_behind_a_java_log_that_has_lost_its_end() {
    // Where the end of an epoch is lost alone, and where a whole epoch is with it.
    for after_it in [&[][..], &zxids(6, 1..=2)] {
        let disk = SimulatedDisk::new();
        let (name, last) = (in_version_2("log.500000001"), Zxid::new(8, 1));
        java_log(&disk, &[&zxids(5, 1..=8), after_it].concat());
        java_snapshot(&disk, &epochs(&[(5, 4)], 20), None);
        java_log(&disk, &zxids(7, 1..=2));
        java_log(&disk, &[last]);
        let (store, whole) = index(&disk);
        let bytes = disk.contents(&name).unwrap();
        let txns = rookeeper_store::log::parse(&bytes).txns;
        for (offset, header) in txns.into_iter().skip(4) {
            let lost = header.zxid;
            let kept = &bytes[..offset as usize];
            let mut flipped = bytes.clone();
            flipped[offset as usize + 20] ^= 1;
            let zeros = [kept, &vec![0; bytes.len() - kept.len()]].concat();
            for (why, rotten) in [("bit", flipped), ("zeros", zeros), ("short", kept.to_vec())] {
                disk.put(&name, &rotten);
                for zxid in [lost, Zxid::new(7, 0), Zxid::new(7, 1), Zxid::new(8, 0), last] {
                    assert_not_cut(&disk, &store, zxid, &format!("{why} at {lost}"));
                }
            }
            disk.put(&name, &bytes);
        }
        // What is whole is cut, and all that is before the point is there.
        for zxid in [Zxid::new(7, 1), Zxid::new(7, 0)] {
            store.truncate(zxid).unwrap();
            let mut left = Index::default();
            store.recover(&mut left).unwrap();
            let before = whole.replayed.iter().filter(|replayed| **replayed <= zxid);
            assert_eq!(left.replayed, before.copied().collect::<Vec<_>>());
        }
    }
}

/// Whole epochs that are gone leave numbers that follow one another, and Java's logs name nothing.
#[test]
fn a_java_log_that_is_removed_between_two_others_is_missed() {
    let disk = SimulatedDisk::new();
    java_log(&disk, &zxids(5, 1..=8));
    java_snapshot(&disk, &epochs(&[(5, 4)], 20), None);
    java_log(&disk, &zxids(6, 1..=2));
    let (gone, last) = (in_version_2("log.600000001"), Zxid::new(17, 1));
    java_log(&disk, &[last]);
    let (store, _) = index(&disk);
    let read_all = |after| -> Result<Vec<Zxid>, StoreError> {
        let mut history = store.history(after, last)?;
        let mut sent = Vec::new();
        while let Some((zxid, _)) = history.advance()? {
            sent.push(zxid);
        }
        Ok(sent)
    };
    let bytes = disk.contents(&gone).unwrap();
    disk.remove(&gone).unwrap();
    for after in [Zxid::new(5, 6), Zxid::new(5, 8), Zxid::new(6, 0), Zxid::new(6, 1)] {
        let refused = read_all(after);
        assert!(matches!(refused, Err(StoreError::LogGap { .. })), "{after}: {refused:?}");
    }
    for zxid in [last, Zxid::new(17, 0)] {
        assert_not_cut(&disk, &store, zxid, "removed");
    }
    disk.put(&gone, &bytes);
    let whole = [&zxids(5, 7..=8)[..], &zxids(6, 1..=2), &[last]].concat();
    assert_eq!(read_all(Zxid::new(5, 6)).unwrap(), whole);
    // What is purged is not between two others.
    disk.remove(&in_version_2("log.500000001")).unwrap();
    assert_eq!(read_all(Zxid::new(6, 1)).unwrap(), [Zxid::new(6, 2), last]);
}

/// A point before the loss is there, whatever is lost behind it.
#[test]
fn what_a_java_log_has_lost_behind_the_point_is_cut_off_with_the_rest() {
    let disk = SimulatedDisk::new();
    java_log(&disk, &zxids(5, 1..=8));
    java_snapshot(&disk, &epochs(&[(5, 4)], 20), None);
    java_log(&disk, &zxids(6, 1..=2));
    let (store, _) = index(&disk);
    let name = in_version_2("log.500000001");
    let bytes = disk.contents(&name).unwrap();
    let seventh = rookeeper_store::log::parse(&bytes).txns[6].0 as usize;
    disk.put(&name, &bytes[..seventh]);
    store.truncate(Zxid::new(5, 6)).unwrap();
    let mut left = Index::default();
    store.recover(&mut left).unwrap();
    assert_eq!(left.replayed, zxids(5, 5..=6));
}

/// The logs that begin before a zxid.
fn logs_before(disk: &SimulatedDisk, zxid: Zxid) -> Vec<PathBuf> {
    let first = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("log.")?;
        i64::from_str_radix(name, 16).ok()
    };
    let paths = disk.dump().into_keys();
    paths.filter(|path| first(path).is_some_and(|first| first < zxid.0)).collect()
}

/// ZOOKEEPER-2846, Z-01: a DIFF from a log with leftovers that were never committed, or with a
/// hole where a snapshot took the place of transactions.
#[test]
fn bug_2846_what_java_left_in_its_logs_is_no_history() {
    // A snapshot skipped 3:6 to 4:4; the log goes on at 4:5.
    let disk = SimulatedDisk::new();
    java_log(&disk, &zxids(3, 1..=5));
    java_snapshot(&disk, &epochs(&[(3, 6), (4, 4)], 20), None);
    java_log(&disk, &zxids(4, 5..=9));
    java_snapshot(&disk, &epochs(&[(3, 6), (4, 7)], 20), None);
    let (store, found) = index(&disk);
    assert_eq!(found.base, Some(Zxid::new(4, 4)));
    let history = store.history(Zxid::new(3, 4), Zxid::new(4, 9));
    let mut history = history.unwrap();
    assert_eq!(history.advance().unwrap().unwrap().0, Zxid::new(3, 5));
    assert!(matches!(history.advance(), Err(StoreError::LogGap { .. })));
    drop(store);
    // 3:5 was never committed, and the next epoch's first transaction seems to follow it.
    for ours in [false, true] {
        let disk = SimulatedDisk::new();
        java_log(&disk, &zxids(3, 1..=5));
        java_snapshot(&disk, &epochs(&[(3, 4)], 20), None);
        let mut committed = epochs(&[(3, 4)], 20);
        committed.txns.insert(Zxid::new(4, 0).0, payload(Zxid::new(4, 0), 20));
        java_snapshot(&disk, &committed, None);
        if ours {
            let (store, _, _) = start(&disk, config()).unwrap();
            let mut log = store.log_writer();
            for zxid in zxids(4, 1..=3) {
                log.append(zxid, &payload(zxid, 20)).unwrap();
            }
            log.close().unwrap();
        } else {
            java_log(&disk, &zxids(4, 1..=3));
        }
        java_snapshot(&disk, &epochs(&[(3, 4), (4, 2)], 20), None);
        let (_store, found) = index(&disk);
        assert_eq!(found.base, Some(Zxid::new(4, 0)), "ours: {ours}");
        assert_eq!(found.earlier.len(), 2);
        assert_eq!(found.replayed, [Zxid::new(4, 3)]);
    }
}

#[test]
fn the_number_of_znodes_is_known_of_our_own_snapshots() {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    let model = epochs(&[(1, 9)], 500);
    let mut writer = store.snapshot_writer(model.last()).unwrap();
    writer.set_znodes(10);
    writer.write(&model.body()).unwrap();
    writer.finish(None, None).unwrap();
    drop(store);
    let (_store, index) = index(&disk);
    let last = index.progress.last().unwrap();
    assert!(
        matches!(last, RecoveryProgress::Snapshot { znodes: 10, of: Some(10), .. }),
        "{last:?}"
    );
}
