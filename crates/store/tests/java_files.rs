//! Files that Java wrote are read, and what was read is written to the same bytes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Recording, config, in_version_2, start, vector, vector_files};
use rookeeper_jute::persistence::{FileHeader, LOG_MAGIC, VERSION};
use rookeeper_jute::{Encode, Zxid};
use rookeeper_store::log::encode_record;
use rookeeper_store::names::{snapshot_compression, snapshot_zxid};
use rookeeper_store::{Compression, Repair, SimulatedDisk, Store, StoreConfig};

const LEN_MAX: usize = 1 << 20;

fn snapshots_of_java() -> Vec<(String, Vec<u8>)> {
    let dirs = ["n1", "n2", "n3", "n4", "n1-395", "snap-gz", "snap-snappy"];
    let files = dirs.into_iter().flat_map(vector_files);
    files.filter(|(name, _)| name.starts_with("snapshot.")).collect()
}

#[test]
fn a_snapshot_is_written_to_the_bytes_that_it_was_read_from() {
    let mut plain = 0;
    for (name, bytes) in snapshots_of_java() {
        let compression = snapshot_compression(&name);
        let mut read = Recording::default();
        let loaded = rookeeper_store::snapshot::parse(&bytes, compression, LEN_MAX, &mut read)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(loaded.znodes as usize, read.nodes.len());
        let disk = SimulatedDisk::new();
        let store = Store::open(Arc::new(disk.clone()), config()).unwrap();
        let mut writer = store.snapshot_writer(snapshot_zxid(&name).unwrap()).unwrap();
        writer.write(&read.body()).unwrap();
        let info = writer.finish(loaded.digest, loaded.last_zxid).unwrap();
        if compression == Compression::None {
            plain += 1;
            assert_eq!(info.name, name);
            assert!(disk.contents(&in_version_2(&name)).unwrap() == bytes, "{name} differs");
        }
    }
    assert_eq!(plain, 13);
}

#[test]
fn java_3_9_s_last_zxid_section_is_read() {
    let bytes = &vector_files("n1-395")["snapshot.300000011"];
    let mut read = Recording::default();
    let loaded =
        rookeeper_store::snapshot::parse(bytes, Compression::None, LEN_MAX, &mut read).unwrap();
    assert_eq!(loaded.last_zxid, Some(Zxid(0x3_0000_0011)));
    assert_eq!(loaded.digest.unwrap().version, 2);
}

#[test]
fn compressed_snapshots_hold_what_the_plain_one_holds() {
    let files = vector_files("n2");
    let plain = &files["snapshot.300000007"];
    let parse = |bytes: &[u8], compression| {
        let mut read = Recording::default();
        let loaded =
            rookeeper_store::snapshot::parse(bytes, compression, LEN_MAX, &mut read).unwrap();
        read.reports = 0;
        (loaded, read)
    };
    let gz = &vector_files("snap-gz")["snapshot.300000007.gz"];
    let (gz_loaded, gz_read) = parse(gz, Compression::Gzip);
    let snappy = &vector_files("snap-snappy")["snapshot.300000007.snappy"];
    let (snappy_loaded, snappy_read) = parse(snappy, Compression::Snappy);
    assert_eq!((gz_loaded, &gz_read), (snappy_loaded, &snappy_read));
    let (plain_loaded, plain_read) = parse(plain, Compression::None);
    assert_eq!(plain_loaded.digest, gz_loaded.digest);
    assert_eq!(plain_read.nodes.len(), gz_read.nodes.len());
}

#[test]
fn what_we_compress_we_read_and_snappy_s_bytes_are_java_s() {
    let snappy = &vector_files("snap-snappy")["snapshot.300000007.snappy"];
    let mut read = Recording::default();
    let loaded =
        rookeeper_store::snapshot::parse(snappy, Compression::Snappy, LEN_MAX, &mut read).unwrap();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::None] {
        let disk = SimulatedDisk::new();
        let config = StoreConfig { compression, ..config() };
        let store = Store::open(Arc::new(disk.clone()), config.clone()).unwrap();
        let mut writer = store.snapshot_writer(Zxid(0x3_0000_0007)).unwrap();
        for part in read.body().chunks(37) {
            writer.write(part).unwrap();
        }
        let info = writer.finish(loaded.digest, Some(Zxid(0x3_0000_0007))).unwrap();
        let bytes = disk.contents(&in_version_2(&info.name)).unwrap();
        assert_eq!(info.len, bytes.len() as u64);
        drop(store);
        let (_store, recovered, again) = start(&disk, config).unwrap();
        assert_eq!(again.nodes, read.nodes);
        assert_eq!(again.sessions, read.sessions);
        assert_eq!(again.acls, read.acls);
        let snapshot = recovered.snapshot.unwrap();
        assert_eq!(snapshot.loaded.last_zxid, Some(Zxid(0x3_0000_0007)));
        assert_eq!(snapshot.loaded.digest, loaded.digest);
    }
    // The framing, up to the first compressed chunk (whose bytes are the compressor's choice).
    assert_eq!(snappy[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
}

#[test]
fn a_log_is_written_to_the_bytes_that_it_was_read_from() {
    let mut logs = 0;
    for (name, bytes) in ["n1", "n2", "n3", "n4"].into_iter().flat_map(vector_files) {
        if !name.starts_with("log.") {
            continue;
        }
        let parsed = rookeeper_store::log::parse(&bytes);
        assert_eq!(parsed.bad, None, "{name}");
        let mut again = FileHeader { magic: LOG_MAGIC, version: VERSION, dbid: 0 }.to_bytes();
        for (offset, _) in &parsed.txns {
            assert_eq!(*offset, again.len() as u64);
            let len_at = *offset as usize + 8;
            let len = i32::from_be_bytes(bytes[len_at..len_at + 4].try_into().unwrap()) as usize;
            encode_record(&bytes[len_at + 4..len_at + 4 + len], &mut again);
        }
        assert_eq!(parsed.end, again.len() as u64);
        again.resize(bytes.len(), 0);
        assert!(again == bytes, "{name} differs");
        logs += 1;
    }
    assert_eq!(logs, 8);
}

#[test]
fn java_s_directories_are_recovered_to_their_last_transaction() {
    let expected = [
        ("n1", 0, 89, Zxid(0x3_0000_0007)),
        ("n2", 0x3_0000_0007, 0, Zxid(0x3_0000_0007)),
        ("n3", 0x3_0000_0007, 0, Zxid(0x3_0000_0007)),
        ("n4", 0x3_0000_0000, 7, Zxid(0x3_0000_0007)),
    ];
    for (name, snapshot, txns, last) in expected {
        let disk = vector(name);
        let (store, recovered, recording) = start(&disk, config()).unwrap();
        assert_eq!(recording.begun, [Some(Zxid(snapshot))], "{name}");
        assert_eq!((recovered.txns, recovered.last_zxid), (txns, last), "{name}");
        assert_eq!(recovered.repairs, [], "{name}");
        assert!(!recovered.write_initial_snapshot);
        assert_eq!(store.last_snapshot().unwrap().zxid, Zxid(snapshot));
    }
}

#[test]
fn java_s_files_are_left_as_they_are() {
    for name in ["n1", "n2", "n3", "n4"] {
        let disk = vector(name);
        let before = disk.dump();
        start(&disk, config()).unwrap();
        assert!(disk.dump() == before, "{name}");
    }
}

#[test]
fn the_torn_end_of_an_older_log_is_passed_over_where_the_history_goes_on() {
    // Java starts after a torn write without cutting it and goes on in a new file.
    let files = vector_files("n1");
    let log = &files["log.100000001"];
    let parsed = rookeeper_store::log::parse(log);
    let (middle, header) = parsed.txns[40];
    let mut first = log[..middle as usize + 20].to_vec();
    first.resize(log.len(), 0);
    let mut second = FileHeader { magic: LOG_MAGIC, version: VERSION, dbid: 0 }.to_bytes();
    second.extend_from_slice(&log[middle as usize..]);
    let disk = vector("n1");
    disk.put(&in_version_2("log.100000001"), &first);
    disk.put(&in_version_2(&format!("log.{:x}", header.zxid.0)), &second);
    let (_store, recovered, recording) = start(&disk, config()).unwrap();
    assert_eq!(recording.txns.len(), 89);
    let [Repair::LeftOver { offset, .. }] = &recovered.repairs[..] else {
        panic!("{:?}", recovered.repairs)
    };
    assert_eq!(*offset, middle);
}
