//! Damaged files: every error names file and offset, nothing acknowledged is dropped, nothing
//! panics.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    Model, Recording, append, config, epochs, in_version_2, payload, start, vector, vector_files,
};
use proptest::prelude::*;
use rookeeper_jute::Zxid;
use rookeeper_jute::persistence::FILE_HEADER_LEN;
use rookeeper_store::log::{Tail, encode_record};
use rookeeper_store::names::{log_name, snapshot_compression};
use rookeeper_store::{Compression, Disk, Repair, SimulatedDisk, StoreConfig, StoreError};

const LEN_MAX: usize = 1 << 20;

fn refusal(disk: &SimulatedDisk) -> StoreError {
    let before = disk.dump();
    let error = start(disk, config()).err().expect("recovery refuses");
    assert!(disk.dump() == before, "a refusal changes nothing: {error}");
    error
}

#[test]
fn a_bit_flipped_in_the_middle_of_a_log_is_refused_by_file_and_offset() {
    let error = refusal(&vector("t-flipmid"));
    let text = error.to_string();
    let StoreError::LogDamaged { path, offset, last, .. } = error else { panic!("{text}") };
    assert_eq!(path, in_version_2("log.100000001"));
    let good = rookeeper_store::log::parse(&vector_files("n1")["log.100000001"]);
    let at = good.txns.iter().position(|(start, _)| *start == offset).expect("a record's start");
    assert_eq!(last, good.txns[at - 1].1.zxid);
    assert!(text.contains("log.100000001, offset") && text.contains("Restore"), "{text}");
}

#[test]
fn a_log_that_ends_inside_a_record_is_cut_there_and_the_bytes_are_kept() {
    // Java starts without a word and goes on behind the torn record.
    for name in ["t-trunc", "t-zeros"] {
        let disk = vector(name);
        let before = disk.contents(&in_version_2("log.100000001")).unwrap();
        let (_store, recovered, _) = start(&disk, config()).unwrap();
        assert_eq!(recovered.last_zxid, Zxid(0x1_0000_0016), "{name}");
        let [Repair::TailCut { offset, kept, .. }] = &recovered.repairs[..] else {
            panic!("{name}: {:?}", recovered.repairs)
        };
        let after = disk.contents(&in_version_2("log.100000001")).unwrap();
        assert_eq!(after[..], before[..*offset as usize], "{name}");
        let kept = disk.contents(kept.as_ref().unwrap()).unwrap();
        let end = *offset as usize + kept.len();
        assert_eq!(before[*offset as usize..end], kept);
        assert!(before[end..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn an_empty_newest_log_is_set_aside() {
    for len in 0..16 {
        let disk = vector("t-empty");
        disk.put(&in_version_2("log.900000001"), &b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0"[..len]);
        let (_store, recovered, recording) = start(&disk, config()).unwrap();
        assert_eq!(recording.txns.len(), 89);
        let [Repair::LogSetAside { kept, .. }] = &recovered.repairs[..] else {
            panic!("{len}: {:?}", recovered.repairs)
        };
        assert_eq!(kept, &common::data_dir().join("quarantine/log.900000001"));
        assert_eq!(disk.contents(&in_version_2("log.900000001")), None);
    }
}

#[test]
fn a_single_damaged_snapshot_is_refused() {
    let error = refusal(&vector("t-snapcrc"));
    let text = error.to_string();
    assert!(matches!(error, StoreError::NoUsableSnapshot { .. }), "{text}");
    assert!(text.contains("snapshot.0, offset") && text.contains("restore"), "{text}");
}

/// Java writes its first snapshot in place: killed at its first start, it leaves a part of it.
#[test]
fn a_part_of_the_first_snapshot_without_a_log_is_an_empty_database() {
    let first = vector_files("t-snapcrc")["snapshot.0"].clone();
    for len in [0, 3, 40, first.len() - 1, first.len()] {
        let disk = SimulatedDisk::new();
        disk.put(&in_version_2("snapshot.0"), &first[..len]);
        let (store, recovered, recording) = start(&disk, config()).unwrap();
        assert_eq!((recovered.last_zxid, recovered.snapshot), (Zxid::ZERO, None), "{len} bytes");
        assert!(recovered.write_initial_snapshot);
        assert_eq!((recording.begun.last(), recording.txns.len()), (Some(&None), 0));
        let [Repair::SnapshotSkipped { damage }] = &recovered.repairs[..] else {
            panic!("{:?}", recovered.repairs)
        };
        assert!(damage.contains("snapshot.0, offset"), "{damage}");
        drop(store);
    }
    // Of a later one nobody knows what it held.
    let disk = SimulatedDisk::new();
    disk.put(&in_version_2("snapshot.1"), &first[..40]);
    assert!(matches!(refusal(&disk), StoreError::NoUsableSnapshot { .. }));
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_that_is_trusted() {
    let disk = vector("t-nosnap");
    assert!(matches!(refusal(&disk), StoreError::LogWithoutSnapshot { .. }));
    let config = StoreConfig { trust_empty_snapshot: true, ..config() };
    let (_store, recovered, recording) = start(&disk, config).unwrap();
    assert_eq!(recording.begun, [None]);
    assert_eq!(recovered.txns, 89);
    assert!(recovered.write_initial_snapshot);
}

#[test]
fn a_damaged_newest_snapshot_gives_way_to_an_older_one_and_the_logs() {
    let disk = vector("n2");
    let whole = start(&disk, config()).unwrap().1.last_zxid;
    let len = disk.contents(&in_version_2("snapshot.300000007")).unwrap().len();
    for offset in (0..len).step_by(7) {
        let disk = vector("n2");
        disk.flip(&in_version_2("snapshot.300000007"), offset, 0x10);
        let (_store, recovered, recording) = start(&disk, config()).unwrap();
        assert_eq!(recovered.last_zxid, whole, "offset {offset}");
        assert_eq!(recording.begun.last(), Some(&Some(Zxid(0x2_0000_0001))), "offset {offset}");
        let [Repair::SnapshotSkipped { damage }] = &recovered.repairs[..] else {
            panic!("{:?}", recovered.repairs)
        };
        assert!(damage.contains("snapshot.300000007, offset"), "{damage}");
    }
}

#[test]
fn a_damaged_snapshot_that_the_logs_do_not_cover_is_refused() {
    let disk = vector("n2");
    disk.flip(&in_version_2("snapshot.300000007"), 100, 1);
    let log = disk.contents(&in_version_2("log.300000001")).unwrap();
    let parsed = rookeeper_store::log::parse(&log);
    let (sixth, _) = parsed.txns[5];
    disk.put(&in_version_2("log.300000001"), &log[..sixth as usize]);
    let error = refusal(&disk);
    let text = error.to_string();
    let StoreError::SnapshotNotCovered { reached, promised, .. } = error else { panic!("{text}") };
    assert_eq!((reached, promised), (Zxid(0x3_0000_0005), Zxid(0x3_0000_0007)));
    assert!(text.contains("snapshot.300000007"), "{text}");
}

#[test]
fn a_missing_log_is_a_gap_and_refused() {
    let disk = vector("n3");
    for name in ["snapshot.300000007", "snapshot.300000000", "snapshot.100000051"] {
        disk.flip(&in_version_2(name), 50, 1);
    }
    disk.remove(&in_version_2("log.100000036")).unwrap();
    let error = refusal(&disk);
    let text = error.to_string();
    let StoreError::LogGap { path, offset, last, found } = error else { panic!("{text}") };
    assert_eq!(path, in_version_2("log.10000004b"));
    assert_eq!((offset, last, found), (16, Zxid(0x1_0000_0035), Zxid(0x1_0000_004b)));
    assert!(text.contains("restore the missing log"), "{text}");
}

/// Ten transactions in one log, the first five of them in a snapshot.
fn ten() -> (SimulatedDisk, Vec<u8>, Vec<usize>) {
    let disk = SimulatedDisk::new();
    let (store, recovered, _) = start(&disk, config()).unwrap();
    assert!(recovered.write_initial_snapshot);
    let mut model = Model::default();
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in 1..=10 {
        let txn = payload(Zxid(zxid), 30);
        log.append(Zxid(zxid), &txn).unwrap();
        log.flush().unwrap();
        model.txns.insert(zxid, txn);
        if zxid == 5 {
            model.save(&store).unwrap();
        }
    }
    log.close().unwrap();
    drop(store);
    let bytes = disk.contents(&in_version_2("log.1")).unwrap();
    let parsed = rookeeper_store::log::parse(&bytes);
    let starts = parsed.txns.iter().map(|(offset, _)| *offset as usize).collect();
    (disk, bytes, starts)
}

#[test]
fn each_flipped_bit_of_a_closed_log_is_refused_or_covered() {
    let (disk, bytes, starts) = ten();
    for offset in 0..bytes.len() {
        for mask in [1, 0x80] {
            disk.flip(&in_version_2("log.1"), offset, mask);
            let record = starts.iter().rposition(|start| *start <= offset);
            // The quarantine directory keeps what is cut; the log is put back below.
            match (record, start(&disk, config())) {
                // The file's header: its database id is all that nothing depends on.
                (None, Ok((_, recovered, recording))) => {
                    assert_eq!(recording.txns.len(), 5);
                    let covered =
                        matches!(recovered.repairs[..], [Repair::DamageCovered { offset: 0, .. }]);
                    assert_eq!(covered, offset < 8);
                }
                // Records that the snapshot holds.
                (Some(record), Ok((_, recovered, recording))) if record < 5 => {
                    assert_eq!(recording.txns.len(), 5);
                    let [Repair::DamageCovered { offset, .. }] = recovered.repairs[..] else {
                        panic!("{offset}: {:?}", recovered.repairs)
                    };
                    assert_eq!(offset as usize, starts[record]);
                }
                (Some(record @ 5..), Err(StoreError::LogDamaged { path, offset, last, .. })) => {
                    assert_eq!(path, in_version_2("log.1"));
                    assert_eq!((offset as usize, last.0), (starts[record], record as i64));
                }
                (record, result) => {
                    panic!("offset {offset}, record {record:?}: {:?}", result.map(|r| r.1))
                }
            }
            disk.put(&in_version_2("log.1"), &bytes);
        }
    }
}

/// A log of each of two epochs; what the log of the second one goes on from is `named` in it.
fn two_epochs(named: Zxid) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    Model::default().save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in (1..=3).map(|counter| Zxid::new(1, counter)) {
        log.append(zxid, &payload(zxid, 30)).unwrap();
    }
    log.close().unwrap();
    drop(store);
    let (store, _, _) = start(&disk, config()).unwrap();
    let mut log = store.log_writer_at(named);
    for zxid in (1..=2).map(|counter| Zxid::new(4, counter)) {
        log.append(zxid, &payload(zxid, 30)).unwrap();
    }
    log.close().unwrap();
    disk
}

#[test]
fn the_end_of_an_epoch_that_is_missing_is_noticed_at_the_beginning_of_the_next_one() {
    // No number tells: the first transaction of an epoch follows any of the epoch before.
    let (first, second) = (in_version_2("log.100000001"), in_version_2("log.400000001"));
    let whole = two_epochs(Zxid::new(1, 3));
    assert_eq!(start(&whole, config()).unwrap().2.txns.len(), 5);
    let len = whole.contents(&first).unwrap().len();
    let last = (len - FILE_HEADER_LEN) / 3;
    for offset in len - last..len {
        whole.flip(&first, offset, 1);
        let error = refusal(&whole);
        let StoreError::LogDamaged { path, last, .. } = &error else { panic!("{error}") };
        assert_eq!((path, *last), (&first, Zxid::new(1, 2)));
        whole.flip(&first, offset, 1);
    }
    let bytes = whole.contents(&first).unwrap();
    whole.put(&first, &bytes[..len - last]);
    let error = refusal(&whole);
    let StoreError::LogGap { path, last, found, .. } = &error else { panic!("{error}") };
    assert_eq!((path, *last, *found), (&second, Zxid::new(1, 2), Zxid::new(4, 1)));
}

/// What a log is before its header says that it was closed.
fn unclosed(log: &[u8]) -> Vec<u8> {
    assert_eq!(log[12..16], *b"Roop");
    [&log[..12], b"Rook", &log[16..]].concat()
}

#[test]
fn a_record_that_was_half_written_where_the_zeros_ahead_end_is_cut() {
    let (disk, bytes, starts) = ten();
    let half = (starts[9] + bytes.len()) / 2;
    let torn: Vec<u8> = [&bytes[..half], &vec![0; bytes.len() - half]].concat();
    disk.put(&in_version_2("log.1"), &unclosed(&torn));
    let (_, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!((recording.txns.len(), recovered.last_zxid), (4, Zxid(9)));
    assert!(matches!(recovered.repairs[..], [Repair::TailCut { .. }]), "{:?}", recovered.repairs);
    // It is closed from then on: what rots at its end is no torn write.
    let mut mended = disk.contents(&in_version_2("log.1")).unwrap();
    assert_eq!((mended.len(), &mended[12..16]), (starts[9], &b"Roop"[..]));
    mended[starts[7]..].fill(0);
    disk.put(&in_version_2("log.1"), &mended);
    let error = refusal(&disk);
    assert!(matches!(error, StoreError::LogDamaged { .. }), "{error}");
}

#[test]
fn an_epoch_without_transactions_is_no_gap() {
    // A leader's tree was at the start of epoch 3, and perhaps in a snapshot that is gone now.
    let disk = two_epochs(Zxid::new(3, 0));
    assert_eq!(start(&disk, config()).unwrap().2.txns.len(), 5);
}

#[test]
fn damage_in_an_older_log_is_refused_with_the_name_of_that_log() {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    Model::default().save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in 1..=6 {
        log.append(Zxid(zxid), &payload(Zxid(zxid), 30)).unwrap();
        if zxid % 2 == 0 {
            log.roll().unwrap();
        }
    }
    log.close().unwrap();
    drop(store);
    let len = disk.contents(&in_version_2("log.3")).unwrap().len();
    for offset in (0..8).chain(16..len) {
        disk.flip(&in_version_2("log.3"), offset, 4);
        let error = refusal(&disk);
        let text = error.to_string();
        let StoreError::LogDamaged { path, .. } = error else { panic!("{text}") };
        assert_eq!(path, in_version_2("log.3"));
        disk.flip(&in_version_2("log.3"), offset, 4);
    }
    // The file itself.
    let whole = disk.contents(&in_version_2("log.3")).unwrap();
    for cut in [0, 5, 16, 30, len - 1] {
        disk.put(&in_version_2("log.3"), &whole[..cut]);
        let error = refusal(&disk);
        let blamed = match &error {
            StoreError::LogDamaged { path, .. } => path == &in_version_2("log.3"),
            StoreError::LogGap { path, last, .. } => {
                path == &in_version_2("log.5") && *last < Zxid(4)
            }
            _ => false,
        };
        assert!(blamed, "{cut}: {error}");
    }
}

/// A log of ours, left open after `flushes` flushes of two transactions; and where each began.
fn left_open(flushes: i64, len: usize) -> (SimulatedDisk, Vec<u8>, Vec<usize>) {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    Model::default().save(&store).unwrap();
    let mut log = store.log_writer();
    let mut starts = Vec::new();
    for flush in 0..flushes {
        starts.push(log.current_len().max(16) as usize);
        for zxid in [2 * flush + 1, 2 * flush + 2] {
            log.append(Zxid(zxid), &payload(Zxid(zxid), len)).unwrap();
        }
        log.flush().unwrap();
    }
    let bytes = disk.contents(&in_version_2("log.1")).unwrap();
    (disk, bytes, starts)
}

#[test]
fn a_dropped_sector_is_a_torn_write_in_the_last_flush_and_damage_before_it() {
    let (mut torn, mut damaged) = (0, 0);
    for len in [40, 300, 700] {
        let (disk, whole, starts) = left_open(12, len);
        let last_flush = *starts.last().unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for sector in 0..end / 512 {
            let mut bytes = whole.clone();
            // What a power loss keeps of the first sector is what an earlier sync wrote.
            let from = (sector * 512).max(16);
            bytes[from..(sector + 1) * 512].fill(0);
            let disk = disk.after_kill();
            disk.put(&in_version_2("log.1"), &bytes);
            match start(&disk, config()) {
                Ok((_, recovered, _)) => {
                    assert!((sector + 1) * 512 > last_flush, "{len}, sector {sector}");
                    assert!(recovered.last_zxid >= Zxid(22), "{len}, sector {sector}");
                    torn += 1;
                }
                Err(StoreError::LogDamaged { path, offset, .. }) => {
                    assert_eq!(path, in_version_2("log.1"));
                    assert!((offset as usize) < last_flush, "{len}, sector {sector}: {offset}");
                    damaged += 1;
                }
                Err(error) => panic!("{len}, sector {sector}: {error}"),
            }
        }
    }
    assert!(torn >= 3 && damaged > 30, "{torn} {damaged}");
}

#[test]
fn a_log_that_was_closed_has_no_torn_write() {
    let (disk, _, _) = left_open(12, 300);
    // The next server closes what it finds open.
    drop(start(&disk, config()).unwrap());
    let whole = disk.contents(&in_version_2("log.1")).unwrap();
    let parsed = rookeeper_store::log::parse(&whole);
    assert_eq!(parsed.end, whole.len() as u64);
    let last_record = parsed.txns[23].0 as usize;
    for sector in 1..last_record / 512 {
        let disk = disk.after_kill();
        let mut bytes = whole.clone();
        bytes[sector * 512..(sector + 1) * 512].fill(0);
        disk.put(&in_version_2("log.1"), &bytes);
        let error = refusal(&disk);
        let StoreError::LogDamaged { path, offset, .. } = error else { panic!("{error}") };
        assert_eq!(path, in_version_2("log.1"));
        assert!(offset as usize <= sector * 512);
    }
}

/// Each run of records, zeroed or with a bit flipped in each: the last ones as well.
#[test]
fn neighbours_that_rot_in_a_closed_log_are_refused_or_covered() {
    let (disk, bytes, starts) = ten();
    let ends = [&starts[1..], &[bytes.len()][..]].concat();
    for (first, last) in (0..10).flat_map(|first| (first..10).map(move |last| (first, last))) {
        for kind in 0..4 {
            let mut rotten = bytes.clone();
            match kind {
                0 => rotten[starts[first]..ends[last]].fill(0),
                // The rest of a sector.
                1 => rotten[starts[first] + 5..ends[last] - 1].fill(0),
                kind => (first..=last).for_each(|at| {
                    // In the length of the record, or in what it holds.
                    rotten[starts[at] + if kind == 2 { 11 } else { 30 }] ^= 0x10;
                }),
            }
            let disk = disk.after_kill();
            disk.put(&in_version_2("log.1"), &rotten);
            match start(&disk, config()) {
                Ok((_, recovered, recording)) => {
                    assert!(last < 5, "{first}..={last}: {recovered:?}");
                    assert_eq!((recovered.last_zxid, recording.txns.len()), (Zxid(10), 5));
                    assert!(matches!(recovered.repairs[0], Repair::DamageCovered { .. }));
                }
                Err(StoreError::LogDamaged { path, .. }) => {
                    assert!(last >= 5, "{first}..={last}");
                    assert_eq!(path, in_version_2("log.1"));
                }
                Err(error) => panic!("{first}..={last}: {error}"),
            }
        }
    }
}

/// One log goes on into the next epoch; a snapshot holds what is before the last of the first.
#[test]
fn neighbours_that_rot_before_an_epoch_begins_are_not_both_taken_for_the_snapshot_s() {
    let disk = SimulatedDisk::new();
    let (store, _, _) = start(&disk, config()).unwrap();
    let mut model = Model::default();
    model.save(&store).unwrap();
    let mut log = store.log_writer();
    for zxid in (1..=6).map(|at| Zxid::new(1, at)).chain((1..=3).map(|at| Zxid::new(2, at))) {
        append(&mut log, &mut model, zxid, 30);
        log.flush().unwrap();
        if zxid == Zxid::new(1, 5) {
            model.save(&store).unwrap();
        }
    }
    log.close().unwrap();
    drop(store);
    let name = in_version_2("log.100000001");
    let bytes = disk.contents(&name).unwrap();
    let parsed = rookeeper_store::log::parse(&bytes);
    let starts: Vec<usize> = parsed.txns.iter().map(|(offset, _)| *offset as usize).collect();
    for (first, last) in (0..6).flat_map(|first| (first..6).map(move |last| (first, last))) {
        for (at, len) in [(30, 1), (11, 1), (0, starts[1] - starts[0])] {
            let mut rotten = bytes.clone();
            for record in first..=last {
                rotten[starts[record] + at..][..len].iter_mut().for_each(|byte| *byte ^= 0x55);
            }
            let disk = disk.after_kill();
            disk.put(&name, &rotten);
            match start(&disk, config()) {
                Ok((_, recovered, recording)) => {
                    assert!(last < 5, "{first}..={last}: {recovered:?}");
                    let found = (recovered.last_zxid, recording.txns.len());
                    assert_eq!(found, (Zxid::new(2, 3), 4));
                }
                Err(error) => {
                    assert!(last == 5 || last == 4, "{first}..={last}: {error}");
                    assert!(matches!(error, StoreError::LogDamaged { .. }), "{error}");
                }
            }
        }
    }
}

/// A sector that a disk has forgotten, or has written elsewhere.
#[test]
fn each_zeroed_or_misdirected_sector_of_a_closed_log_is_refused() {
    for len in [40, 300] {
        let (disk, _, _) = left_open(6, len);
        drop(start(&disk, config()).unwrap());
        let whole = disk.contents(&in_version_2("log.1")).unwrap();
        let sectors = whole.len().div_ceil(512);
        for (sector, source) in (0..sectors).flat_map(|to| (0..=sectors).map(move |at| (to, at))) {
            // The header is as it was, or the whole file is no log.
            let from = (sector * 512).max(16);
            let to = (sector * 512 + 512).min(whole.len());
            let mut bytes = whole.clone();
            match whole.get(source * 512..) {
                Some(other) if source != sector => {
                    let other = other.iter().copied().chain(std::iter::repeat(0));
                    let other: Vec<u8> = other.skip(from % 512).take(to - from).collect();
                    bytes[from..to].copy_from_slice(&other);
                }
                Some(_) => continue,
                None => bytes[from..to].fill(0),
            }
            let disk = disk.after_kill();
            disk.put(&in_version_2("log.1"), &bytes);
            let error = refusal(&disk);
            let StoreError::LogDamaged { path, .. } = &error else { panic!("{error}") };
            assert_eq!(*path, in_version_2("log.1"), "{len}: {sector} of {source}");
        }
    }
}

#[test]
fn each_flipped_bit_of_an_open_log_is_refused_even_in_its_last_record() {
    let (disk, bytes, _) = left_open(4, 30);
    let parsed = rookeeper_store::log::parse(&bytes);
    for offset in (0..8).chain(16..parsed.end as usize + 32) {
        let disk = disk.after_kill();
        disk.flip(&in_version_2("log.1"), offset, 0x10);
        match start(&disk, config()) {
            Err(StoreError::LogDamaged { path, .. }) => {
                assert_eq!(path, in_version_2("log.1"));
            }
            // The file's header and the mark itself: nothing is lost.
            Ok((_, recovered, recording)) => {
                assert!(offset < 8 || offset >= parsed.end as usize, "{offset}");
                assert_eq!((recovered.last_zxid, recording.txns.len()), (Zxid(8), 8));
            }
            Err(error) => panic!("{offset}: {error}"),
        }
    }
}

#[test]
fn a_dropped_sector_in_a_log_of_java_s_is_damage_where_records_follow() {
    let mut log = vector_files("n1")["log.100000001"][..16].to_vec();
    for zxid in 1..=40 {
        encode_record(&payload(Zxid(zxid), 100), &mut log);
    }
    let sectors = log.len() / 512;
    for sector in 1..sectors {
        let mut damaged = log.clone();
        damaged[sector * 512..(sector + 1) * 512].fill(0);
        let parsed = rookeeper_store::log::parse(&damaged);
        assert!(matches!(parsed.tail, Some(Tail::Damaged { .. })), "{sector}: {:?}", parsed.tail);
        assert!(parsed.end <= (sector * 512) as u64);
    }
}

#[test]
fn a_record_above_the_limit_is_named_and_not_taken_for_damage() {
    let (disk, _, _) = ten();
    let config = StoreConfig { record_len_max: 61, ..config() };
    let error = start(&disk, config).err().expect("recovery refuses");
    assert!(matches!(error, StoreError::RecordTooLong { len: 62, limit: 61, .. }), "{error}");
}

#[test]
fn a_directory_of_empty_logs_is_not_an_empty_database() {
    let disk = SimulatedDisk::new();
    disk.put(&in_version_2(&log_name(Zxid(1))), b"");
    assert!(matches!(refusal(&disk), StoreError::LogWithoutSnapshot { .. }));
}

/// Every byte of every kind of snapshot: refused as damage, or of no consequence (the unused
/// parts of gzip's header).
#[test]
fn each_flipped_bit_of_a_snapshot_is_found() {
    let snapshots = [
        ("n1", "snapshot.0"),
        ("snap-gz", "snapshot.300000007.gz"),
        ("snap-snappy", "snapshot.300000007.snappy"),
    ];
    for (dir, name) in snapshots {
        let bytes = vector_files(dir)[name].clone();
        let compression = snapshot_compression(name);
        let parse = |bytes: &[u8]| {
            let mut read = Recording::default();
            rookeeper_store::snapshot::parse(bytes, compression, LEN_MAX, &mut read)
                .map(|loaded| (loaded, read))
        };
        let whole = parse(&bytes).unwrap();
        let mut harmless = Vec::new();
        for offset in 0..bytes.len() {
            for mask in [1, 0x80] {
                let mut flipped = bytes.clone();
                flipped[offset] ^= mask;
                match parse(&flipped) {
                    Err(StoreError::SnapshotDamaged { .. } | StoreError::RecordTooLong { .. }) => {}
                    Err(error) => panic!("{name}, {offset}: {error}"),
                    Ok(same) => {
                        assert!(same == whole, "{name}, {offset}");
                        harmless.push(offset);
                    }
                }
            }
        }
        let expected = |offset: &usize| match compression {
            // The database id.
            Compression::None => (8..16).contains(offset),
            // Unused parts of the header, and other codes for the same contents.
            Compression::Gzip | Compression::Snappy => *offset >= 3,
        };
        assert!(harmless.iter().all(expected), "{name}: {harmless:?}");
        for len in 0..bytes.len() {
            match parse(&bytes[..len]) {
                Err(StoreError::SnapshotDamaged { .. }) => {}
                // Behind the first seal: a snapshot as versions without digests write them.
                Ok((loaded, _)) => {
                    assert_eq!((name, len, loaded.digest), ("snapshot.0", 666, None))
                }
                Err(error) => panic!("{name}, {len}: {error}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        rookeeper_store::log::parse(&bytes);
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let mut read = Recording::default();
            let _ = rookeeper_store::snapshot::parse(&bytes, compression, LEN_MAX, &mut read);
        }
        rookeeper_store::epoch::parse(&bytes);
    }

    #[test]
    fn splices_of_real_files_never_panic(
        cuts in proptest::collection::vec((0usize..33_000, 0usize..33_000), 1..6),
        value in any::<u8>(),
    ) {
        let log = &vector_files("n1")["log.100000001"];
        let snapshot = &vector_files("n2")["snapshot.300000007"];
        for source in [log, snapshot] {
            let mut bytes = source[..16].to_vec();
            for (from, to) in &cuts {
                let (from, to) = (*from.min(to) % source.len(), *from.max(to) % source.len());
                bytes.extend_from_slice(&source[from.min(to)..to.max(from)]);
                bytes.push(value);
            }
            let parsed = rookeeper_store::log::parse(&bytes);
            prop_assert!(parsed.end <= bytes.len() as u64);
            let mut read = Recording::default();
            let _ = rookeeper_store::snapshot::parse(&bytes, Compression::None, LEN_MAX, &mut read);
        }
    }
}

/// Where the later log is Java's, which says nothing, what stands at the end of the earlier one is
/// judged as at the end of the history, and a torn tail is passed over as it is.
#[test]
fn damage_at_the_end_of_an_epoch_is_refused_where_the_next_log_says_nothing() {
    let (first, second) = (in_version_2("log.100000001"), in_version_2("log.400000001"));
    let (disk, whole) = (two_epochs(Zxid::new(1, 3)), epochs(&[(1, 3), (4, 2)], 30));
    for offset in 8..16 {
        let bytes = disk.contents(&second).unwrap();
        disk.flip(&second, offset, bytes[offset]);
    }
    assert_eq!(Model::of(&start(&disk, config()).unwrap().2), whole);
    let bytes = disk.contents(&first).unwrap();
    let txns = rookeeper_store::log::parse(&bytes).txns;
    for (offset, _) in &txns {
        disk.flip(&first, *offset as usize + 30, 1);
        let error = refusal(&disk);
        let StoreError::LogDamaged { path, offset: at, .. } = error else { panic!("{error}") };
        assert_eq!((path, at), (first.clone(), *offset));
        disk.flip(&first, *offset as usize + 30, 1);
    }
    // A write after the last one that was torn, and that no server of ours has seen since.
    let torn = unclosed(&[&bytes[..], &[0, 0, 0, 0, 9, 9, 9]].concat());
    disk.put(&first, &torn);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(Model::of(&recording), whole);
    assert!(matches!(&recovered.repairs[..], [Repair::LeftOver { .. }]), "{recovered:?}");
    assert_eq!(disk.contents(&first).unwrap(), torn);
}

/// A leader's tree stands at the beginning of its epoch before the first transaction of it; that is
/// no transaction, and logs may say it or the one before, which may have come in a snapshot of a
/// leader's and be in no log.
#[test]
fn epochs_that_stay_empty_are_no_gap() {
    for behind in [Zxid::new(4, 2), Zxid::new(4, 7), Zxid::new(6, 0)] {
        let (disk, begun) = (two_epochs(Zxid::new(1, 3)), Zxid::new(6, 0));
        let mut model = epochs(&[(1, 3), (4, 2)], 30);
        let (store, _, _) = start(&disk, config()).unwrap();
        let mut log = store.log_writer_at(behind);
        let mut writer = store.snapshot_writer(begun).unwrap();
        writer.write(&model.body()).unwrap();
        writer.finish(None, Some(begun)).unwrap();
        append(&mut log, &mut model, Zxid::new(8, 1), 30);
        log.close().unwrap();
        let mut history = store.history(begun, Zxid::new(8, 1)).unwrap();
        assert_eq!(history.advance().unwrap().unwrap().0, Zxid::new(8, 1));
        drop((history, store));
        let (store, recovered, recording) = start(&disk, config()).unwrap();
        assert_eq!(recovered.snapshot.unwrap().info.zxid, begun);
        assert_eq!(Model::of(&recording), model);
        drop(store);
        disk.remove(&in_version_2(&format!("snapshot.{:x}", begun.0))).unwrap();
        match start(&disk, config()) {
            Ok((.., recording)) => assert_eq!(Model::of(&recording), model),
            Err(error) => {
                assert!(matches!(error, StoreError::LogGap { .. }), "{error}");
                assert_eq!(behind, Zxid::new(4, 7), "in no log, nor in any snapshot now");
            }
        }
    }
}

/// A leader that sends its log to a learner, and a member that is told to cut its end off.
#[test]
fn a_log_with_a_hole_at_the_end_of_an_epoch_is_neither_sent_nor_cut() {
    let (disk, first) = (two_epochs(Zxid::new(1, 3)), in_version_2("log.100000001"));
    let (store, _, _) = start(&disk, config()).unwrap();
    let len = disk.contents(&first).unwrap().len();
    disk.flip(&first, len - 20, 1);
    let end = Zxid::new(4, 2);
    for after in [Zxid::ZERO, Zxid::new(1, 1), Zxid::new(1, 2)] {
        let mut history = store.history(after, end).unwrap();
        let error = loop {
            match history.advance() {
                Ok(sent) => assert!(sent.unwrap().0.epoch() == 1, "after {after}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::LogGap { .. }), "after {after}: {error}");
    }
    let mut history = store.history(Zxid::new(1, 3), end).unwrap();
    assert_eq!(history.advance().unwrap().unwrap().0, Zxid::new(4, 1), "the learner has it");
    drop(history);
    let error = store.truncate(end).unwrap_err();
    assert!(matches!(error, StoreError::TruncationPointMissing { .. }), "{error}");
}
