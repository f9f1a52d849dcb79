//! Histories on a simulated disk: rebuilt, cut, replaced, and read for learners.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_archive::{
    Host, Mismatch, Reading, ReadingError, Sections, Storage, TreeRecovery, Witness, write_at_once,
};
use rookeeper_jute::txn::{CreateSessionTxn, TxnHeader};
use rookeeper_jute::{Encode, OpCode, SessionId, Xid, Zxid};
use rookeeper_replica::{Segment, StorageCommand, StorageReport};
use rookeeper_store::{Repair, SimulatedDisk, SnapshotDigest, Store, StoreConfig, StoreError};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::membership::Membership;
use rookeeper_zab::segment::SegmentBuilder;
use rookeeper_zab::sync::LogIndex;
use rookeeper_zab::{EpochKind, Outgoing, wire};

const SECTIONS: Sections = Sections { digest: true, last_zxid: true };
const TREE: TreeConfig = TreeConfig {
    index_key: [1, 2],
    digest_enabled: true,
    extended_types_enabled: false,
    emulate_353_ttl_nodes: false,
};

#[derive(Default)]
struct Onlooker(Vec<Mismatch>);

impl Witness for Onlooker {
    fn mismatch(&mut self, mismatch: Mismatch) {
        self.0.push(mismatch);
    }
}

#[derive(Default)]
struct Script {
    said: Vec<String>,
    tree: Option<Tree>,
}

impl Host for Script {
    type Witness = Onlooker;

    fn witness(&self) -> Onlooker {
        Onlooker::default()
    }

    fn reloaded(&mut self, _repairs: &[Repair], witness: Onlooker) {
        assert_eq!(witness.0, []);
    }

    fn report(&mut self, report: StorageReport) {
        self.said.push(match report {
            StorageReport::Reloaded { last_zxid, .. } => format!("reloaded {last_zxid}"),
            StorageReport::Durable(zxid) => format!("durable {zxid}"),
            other => format!("{other:?}"),
        });
    }

    fn give_up_snapshot(&mut self) {}

    fn replace_tree(&mut self, tree: Tree) {
        self.tree = Some(tree);
    }

    fn write_membership(&mut self, _membership: &Membership, _last_seen: bool) -> io::Result<()> {
        Err(io::Error::other("nobody asked for it"))
    }
}

/// A session is opened: each transaction makes another one.
fn txn(zxid: Zxid) -> Vec<u8> {
    let header = TxnHeader {
        client_id: SessionId(zxid.0),
        cxid: Xid(0),
        zxid,
        time_ms: 7,
        txn_type: OpCode::CreateSession.to_i32(),
    };
    let mut bytes = header.to_bytes();
    CreateSessionTxn { timeout_ms: 4000 }.encode(&mut bytes);
    bytes
}

fn segment(zxids: impl IntoIterator<Item = Zxid>) -> StorageCommand {
    let mut builder = SegmentBuilder::default();
    for zxid in zxids {
        builder.push(zxid, &txn(zxid));
    }
    let segment: Arc<Segment> = builder.freeze();
    StorageCommand::Append(segment)
}

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn config() -> StoreConfig {
    StoreConfig { pre_alloc_size: 4096, ..StoreConfig::new(PathBuf::from("/data")) }
}

fn open(disk: &SimulatedDisk) -> (Arc<Store>, Tree, LogIndex) {
    open_with(disk, config())
}

fn open_with(disk: &SimulatedDisk, config: StoreConfig) -> (Arc<Store>, Tree, LogIndex) {
    let store = Store::open(Arc::new(disk.clone()), config).unwrap();
    let mut recovery = TreeRecovery::new(TREE, Onlooker::default()).with_earlier();
    let recovered = store.recover(&mut recovery).unwrap();
    let (mut tree, history, onlooker) = recovery.finish();
    assert_eq!(onlooker.0, []);
    if recovered.write_initial_snapshot {
        write_at_once(&store, &mut tree, SECTIONS).unwrap();
    }
    (Arc::new(store), tree, history)
}

/// A server with five transactions.
fn five(disk: &SimulatedDisk) -> (Storage, Script) {
    let (store, ..) = open(disk);
    let writer = store.log_writer();
    let (mut storage, mut script) = (Storage::new(store, Some(writer), TREE), Script::default());
    storage.carry_out(segment((1..=5).map(|at| z(1, at))), &mut script).unwrap();
    (storage, script)
}

#[test]
fn what_was_appended_is_durable_before_anything_else_is_carried_out() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    assert_eq!(script.said, Vec::<String>::new());
    let epoch = StorageCommand::WriteEpoch { kind: EpochKind::Current, epoch: 1 };
    storage.carry_out(epoch, &mut script).unwrap();
    storage.flush(&mut script).unwrap();
    assert_eq!(script.said, [format!("durable {}", z(1, 5)), "EpochWritten(Current)".to_owned()]);
    storage.close().unwrap();
    let (_, tree, history) = open(&disk.after_kill());
    assert_eq!((tree.last_processed_zxid(), tree.sessions().len()), (z(1, 5), 5));
    assert_eq!(history.last(), z(1, 5));
}

#[test]
fn a_cut_history_is_read_anew_and_one_that_cannot_be_cut_goes_on() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    storage.carry_out(StorageCommand::Truncate(z(1, 3)), &mut script).unwrap();
    assert_eq!(script.said.pop(), Some(format!("reloaded {}", z(1, 3))));
    assert_eq!(script.tree.as_ref().map(|tree| tree.sessions().len()), Some(3));
    storage.carry_out(StorageCommand::Truncate(z(0, 9)), &mut script).unwrap();
    assert_eq!(script.said.pop(), Some("Refused".to_owned()));
    storage.carry_out(segment([z(1, 4)]), &mut script).unwrap();
    storage.flush(&mut script).unwrap();
    storage.close().unwrap();
    assert_eq!(open(&disk.after_kill()).1.last_processed_zxid(), z(1, 4));
}

/// As where an observer that kept its latest history in memory goes back to it.
#[test]
fn a_history_that_is_read_anew_goes_on_where_its_log_ended() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    storage.carry_out(StorageCommand::Reload, &mut script).unwrap();
    assert_eq!(script.said.pop(), Some(format!("reloaded {}", z(1, 5))));
    storage.carry_out(segment([z(1, 6)]), &mut script).unwrap();
    storage.flush(&mut script).unwrap();
    assert_eq!(script.said.pop(), Some(format!("durable {}", z(1, 6))));
    storage.close().unwrap();
    assert_eq!(open(&disk.after_kill()).1.last_processed_zxid(), z(1, 6));
}

#[test]
fn a_leader_s_history_takes_the_place_of_the_old_one_only_when_it_is_settled() {
    let leader = SimulatedDisk::new();
    let (mut storage, mut script) = five(&leader);
    storage.flush(&mut script).unwrap();
    let (store, mut tree, _) = open(&leader.after_kill());
    write_at_once(&store, &mut tree, SECTIONS).unwrap();
    let mut body = store.exact_snapshot(z(1, 5)).unwrap().expect("it was just written");
    let mut bytes = vec![0; body.body_len() as usize];
    assert_eq!(body.read(&mut bytes).unwrap(), bytes.len());
    for is_settled in [false, true] {
        let disk = SimulatedDisk::new();
        let (store, ..) = open(&disk);
        let writer = store.log_writer();
        let (mut storage, mut script) =
            (Storage::new(store, Some(writer), TREE), Script::default());
        let install = [
            StorageCommand::BeginInstall(z(1, 5)),
            StorageCommand::InstallBytes(bytes.clone()),
            StorageCommand::EndInstall,
            segment([z(1, 6)]),
        ];
        for command in install {
            storage.carry_out(command, &mut script).unwrap();
        }
        let end = if is_settled { StorageCommand::Settle } else { StorageCommand::Reload };
        storage.carry_out(end, &mut script).unwrap();
        let expected = if is_settled { z(1, 6) } else { Zxid::ZERO };
        let said = script.said.pop();
        let reloaded = format!("reloaded {expected}");
        assert_eq!(said.as_deref(), Some(if is_settled { "Settled" } else { &reloaded }));
        storage.close().unwrap();
        assert_eq!(open(&disk.after_kill()).1.last_processed_zxid(), expected);
    }
}

#[test]
fn a_directory_that_has_lost_its_database_stays_without_one_where_a_snapshot_is_given_up() {
    let disk = SimulatedDisk::new();
    let config = StoreConfig { auto_create_db: false, ..config() };
    let (store, ..) = open_with(&disk, config.clone());
    let (mut storage, mut script) = (Storage::new(store, None, TREE), Script::default());
    for _ in 0..2 {
        for command in [
            StorageCommand::BeginInstall(z(1, 5)),
            StorageCommand::InstallBytes(b"ZKSN".to_vec()),
            StorageCommand::Reload,
        ] {
            storage.carry_out(command, &mut script).unwrap();
        }
        assert_eq!(script.said.pop(), Some(format!("reloaded {}", Zxid::NONE)));
    }
    storage.close().unwrap();
    let store = Store::open(Arc::new(disk.after_kill()), config).unwrap();
    let mut recovery = TreeRecovery::new(TREE, Onlooker::default());
    assert_eq!(store.recover(&mut recovery).unwrap().last_zxid, Zxid::NONE);
}

fn read(store: &Arc<Store>, item: Outgoing, len: usize) -> Result<Vec<u8>, ReadingError> {
    let mut reading = Reading::new(store.clone(), item);
    let mut all = Vec::new();
    loop {
        let mut piece = Vec::new();
        let goes_on = reading.read(len, &mut piece, || Ok::<(), StoreError>(()))?;
        assert!(piece.len() >= len || !goes_on, "a piece is as long as was asked");
        all.append(&mut piece);
        if !goes_on {
            return Ok(all);
        }
    }
}

#[test]
fn a_learner_is_given_a_snapshot_and_what_follows_it_in_pieces_of_any_length() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    storage.flush(&mut script).unwrap();
    let store = storage.store().clone();
    let (base, through) = (Zxid::ZERO, z(1, 5));
    let whole = read(&store, Outgoing::Snapshot { base, through }, 1 << 20).unwrap();
    let mut begin = Vec::new();
    wire::snapshot_begin(Zxid::ZERO, &mut begin);
    assert!(whole.starts_with(&begin));
    let history = Outgoing::History { after: Zxid::ZERO, through };
    let records = read(&store, history, 1 << 20).unwrap();
    assert!(whole.ends_with(&records) && records.len() > 5 * txn(z(1, 1)).len());
    for len in [1, 40, 333] {
        let again = read(&store, Outgoing::Snapshot { base, through }, len).unwrap();
        assert_eq!(again, whole, "in pieces of {len}");
    }
    // A snapshot of later transactions is none that this history goes on from.
    let early = Outgoing::Snapshot { base: z(1, 1), through: z(1, 3) };
    assert!(matches!(read(&store, early, 100), Err(ReadingError::NoSnapshot { .. })));
}

/// What is not proven is told, so that it is not promised again.
#[test]
fn what_a_log_does_not_have_is_said() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    for (epoch, counters) in [(1, 6..=9), (2, 1..=3), (2, 4..=7)] {
        storage.carry_out(StorageCommand::Roll, &mut script).unwrap();
        storage.carry_out(segment(counters.map(|at| z(epoch, at))), &mut script).unwrap();
    }
    storage.flush(&mut script).unwrap();
    let store = storage.store().clone();
    let unproven = |after, through| {
        let read = read(&store, Outgoing::History { after, through }, 100);
        read.err().map(|error| error.unproven())
    };
    assert_eq!(unproven(z(1, 2), z(2, 7)), None);
    let log = |name: &str| PathBuf::from("/data/version-2").join(name);
    // In a log that others follow; no snapshot of before can be sent with what follows either.
    let record = txn(z(1, 1)).len() + 13;
    disk.flip(&log("log.100000006"), 16 + record + 20, 1);
    assert_eq!(unproven(z(1, 2), z(2, 7)), Some(Some(z(2, 0))));
    assert_eq!(unproven(z(1, 9), z(2, 7)), None);
    let (base, through) = (Zxid::ZERO, z(2, 7));
    let snapshot = read(&store, Outgoing::Snapshot { base, through }, 100).unwrap_err();
    assert_eq!(snapshot.unproven(), Some(z(2, 0)));
    // Purged.
    store_remove(&disk, &log("log.200000001"));
    assert_eq!(unproven(z(1, 9), z(2, 7)), Some(Some(z(2, 3))));
    assert_eq!(unproven(z(2, 3), z(2, 7)), None);
    // The last log.
    disk.flip(&log("log.200000004"), 16 + 2 * record + 20, 1);
    assert_eq!(unproven(z(2, 3), z(2, 7)), Some(Some(z(2, 7))));
    assert_eq!(unproven(z(2, 3), z(2, 5)), None);
}

fn store_remove(disk: &SimulatedDisk, path: &std::path::Path) {
    rookeeper_store::Disk::remove(disk, path).unwrap();
}

/// Or a leader would send it to the same place for ever.
#[test]
fn a_snapshot_that_turns_out_damaged_is_sent_no_more() {
    let disk = SimulatedDisk::new();
    let (store, mut tree, _) = open(&disk);
    let writer = store.log_writer();
    let (mut storage, mut script) =
        (Storage::new(store.clone(), Some(writer), TREE), Script::default());
    storage.carry_out(segment((1..=5).map(|at| z(1, at))), &mut script).unwrap();
    storage.flush(&mut script).unwrap();
    let mut changes = rookeeper_tree::ChangeLog::default();
    for at in 1..=5 {
        tree.apply(&txn(z(1, at)), &mut changes).unwrap();
    }
    write_at_once(&store, &mut tree, SECTIONS).unwrap();
    let name = PathBuf::from("/data/version-2/snapshot.100000005");
    disk.flip(&name, 40, 1);
    let (base, through) = (z(1, 5), z(1, 5));
    let item = || Outgoing::Snapshot { base, through };
    let damaged = read(&store, item(), 100).unwrap_err();
    assert!(matches!(damaged, ReadingError::Snapshot(StoreError::SnapshotDamaged { .. })));
    assert_eq!(damaged.unproven(), None);
    // Another one is asked for, and takes its place.
    let mut reading = Reading::new(store.clone(), item());
    let mut piece = Vec::new();
    let take = || write_at_once(&store, &mut tree, SECTIONS).map(drop);
    assert!(!reading.read(1 << 20, &mut piece, take).unwrap());
    let mut begin = Vec::new();
    wire::snapshot_begin(z(1, 5), &mut begin);
    assert!(piece.starts_with(&begin));
    // From an earlier one, and the log.
    disk.flip(&name, 40, 1);
    let item = || Outgoing::Snapshot { base: Zxid::ZERO, through };
    assert!(read(&store, item(), 100).is_err());
    let whole = read(&store, item(), 100).unwrap();
    let mut begin = Vec::new();
    wire::snapshot_begin(Zxid::ZERO, &mut begin);
    assert!(whole.starts_with(&begin));
}

#[test]
fn a_digest_on_disk_that_is_not_the_tree_s_is_told() {
    let disk = SimulatedDisk::new();
    let (store, mut tree, _) = open(&disk);
    let start = tree.begin_snapshot();
    let mut writer = store.snapshot_writer(start.zxid).unwrap();
    let mut body = Vec::new();
    while tree.continue_snapshot(1 << 20, &mut body) == rookeeper_tree::SnapshotProgress::Running {}
    writer.write(&body).unwrap();
    let zxid = z(1, 1);
    let digest = SnapshotDigest { zxid, version: 2, digest: start.digest + 1 };
    writer.finish(Some(digest), None).unwrap();
    let mut log = store.log_writer();
    log.append(zxid, &txn(zxid)).unwrap();
    log.close().unwrap();
    let mut recovery = TreeRecovery::new(TREE, Onlooker::default());
    store.recover(&mut recovery).unwrap();
    let (tree, _, onlooker) = recovery.finish();
    let (expected, computed) = (start.digest + 1, tree.digest());
    assert_eq!(onlooker.0, [Mismatch::Snapshot { zxid, expected, computed }]);
}

#[test]
fn a_leader_s_snapshot_of_which_nothing_is_known_is_taken_anew_where_the_log_behind_it_is_lost() {
    let disk = SimulatedDisk::new();
    let (mut storage, mut script) = five(&disk);
    storage.flush(&mut script).unwrap();
    storage.close().unwrap();
    let (store, mut tree, _) = open(&disk.after_kill());
    write_at_once(&store, &mut tree, SECTIONS).unwrap();
    drop(store);
    // The power went out before the index of snapshots was written: this one may be fuzzy.
    let index = Path::new("/data/snapshots.rookeeper");
    assert!(disk.contents(index).is_some());
    disk.put(index, b"");
    let (store, mut tree, _) = open(&disk);
    assert!(store.exact_snapshot(z(1, 5)).unwrap().is_none());
    let item = Outgoing::Snapshot { base: z(1, 5), through: z(1, 5) };
    let mut reading = Reading::new(store.clone(), item);
    let mut bytes = Vec::new();
    let take = || write_at_once(&store, &mut tree, SECTIONS).map(drop);
    assert!(!reading.read(1 << 20, &mut bytes, take).unwrap());
    let mut begin = Vec::new();
    wire::snapshot_begin(z(1, 5), &mut begin);
    assert!(bytes.starts_with(&begin));
}
