//! What the scenario tests share: a sink that keeps what it is given, and a model database whose
//! znodes are its transactions.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::wire::{encode_buffer, encode_str};
use rookeeper_jute::{Acl, Encode, SessionId, StatPersisted, Xid, Zxid};
use rookeeper_store::disk::Chooser;
use rookeeper_store::snapshot::SnapshotSink;
use rookeeper_store::{
    Disk, EpochFile, Install, LogWriter, Recovered, RecoveryProgress, RecoverySink, SimulatedDisk,
    SnapshotDigest, SnapshotInfo, Store, StoreConfig, StoreError,
};

/// A znode as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub acl: i64,
    pub stat: StatPersisted,
}

/// Keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    pub begun: Vec<Option<Zxid>>,
    pub sessions: Vec<(SessionId, i32)>,
    /// Index and encoded list.
    pub acls: Vec<(i64, Vec<u8>)>,
    pub nodes: Vec<Znode>,
    pub ended: Option<(Zxid, Option<SnapshotDigest>)>,
    pub txns: Vec<(Zxid, Vec<u8>)>,
    pub reports: usize,
}

impl Recording {
    /// The body of a snapshot that holds what was delivered, in the same order.
    pub fn body(&self) -> Vec<u8> {
        let mut body = (self.sessions.len() as i32).to_bytes();
        for (id, timeout_ms) in &self.sessions {
            id.encode(&mut body);
            timeout_ms.encode(&mut body);
        }
        (self.acls.len() as i32).encode(&mut body);
        for (index, acl) in &self.acls {
            index.encode(&mut body);
            body.extend_from_slice(acl);
        }
        for node in &self.nodes {
            encode_str(&node.path, &mut body);
            match &node.data {
                Some(data) => encode_buffer(data, &mut body),
                None => (-1i32).encode(&mut body),
            }
            node.acl.encode(&mut body);
            node.stat.encode(&mut body);
        }
        encode_str("/", &mut body);
        body
    }
}

impl SnapshotSink for Recording {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        self.acls.push((index, acl.to_bytes()));
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        let (path, data) = (path.to_string(), data.map(<[u8]>::to_vec));
        self.nodes.push(Znode { path, data, acl, stat: *stat });
        Ok(())
    }

    fn progress(&mut self, _znodes: u64, _bytes: u64) {
        self.reports += 1;
    }
}

impl RecoverySink for Recording {
    fn begin(&mut self, snapshot: Option<Zxid>) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.push(snapshot);
        *self = Recording { begun, ..Recording::default() };
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        SnapshotSink::session(self, id, timeout_ms);
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        SnapshotSink::acl(self, index, acl)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        SnapshotSink::node(self, path, data, acl, stat)
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        self.ended = Some((zxid, digest));
        Ok(())
    }

    fn txn(&mut self, header: &TxnHeader, txn: &[u8]) -> Result<(), String> {
        self.txns.push((header.zxid, txn.to_vec()));
        Ok(())
    }

    fn progress(&mut self, _progress: RecoveryProgress) {
        self.reports += 1;
    }
}

/// Where the simulated data directory is.
pub fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

/// A path in the simulated `version-2`.
pub fn in_version_2(name: &str) -> PathBuf {
    data_dir().join("version-2").join(name)
}

/// A configuration on the simulated data directory that zeroes two KiB ahead.
pub fn config() -> StoreConfig {
    StoreConfig { pre_alloc_size: 2048, ..StoreConfig::new(data_dir()) }
}

/// A transaction that is told apart from every other: `len` bytes that depend on its zxid.
pub fn payload(zxid: Zxid, len: usize) -> Vec<u8> {
    let client_id = SessionId(0x1234_5678_9abc);
    let cxid = Xid(zxid.0 as i32);
    let mut payload =
        TxnHeader { client_id, cxid, zxid, time_ms: 1_700_000_000_000, txn_type: -1 }.to_bytes();
    let seed = (zxid.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    payload.extend(
        (0..len as u64).map(|i| (seed.rotate_left(i as u32 % 64).wrapping_add(i) as u8) | 1),
    );
    payload
}

/// The database of the crash tests: a znode for every transaction, holding it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub txns: BTreeMap<i64, Vec<u8>>,
}

impl Model {
    /// The state that recovery delivered.
    ///
    /// # Panics
    /// If a znode is none of this model's, or a transaction comes twice.
    pub fn of(recording: &Recording) -> Model {
        let mut model = Model::default();
        for node in recording.nodes.iter().filter(|node| !node.path.is_empty()) {
            let zxid = i64::from_str_radix(&node.path[1..], 16).unwrap();
            let data = node.data.clone().unwrap();
            assert!(model.txns.insert(zxid, data).is_none());
        }
        for (zxid, txn) in &recording.txns {
            assert!(model.txns.insert(zxid.0, txn.clone()).is_none(), "{zxid} twice");
        }
        model
    }

    /// The body of its snapshot.
    pub fn body(&self) -> Vec<u8> {
        let stat = StatPersisted::default();
        let root = Znode { path: String::new(), data: Some(vec![]), acl: -1, stat };
        let znodes = self.txns.iter().map(|(zxid, txn)| Znode {
            path: format!("/{zxid:x}"),
            data: Some(txn.clone()),
            acl: -1,
            stat,
        });
        Recording { nodes: [root].into_iter().chain(znodes).collect(), ..Recording::default() }
            .body()
    }

    /// Writes it as a snapshot.
    pub fn save(&self, store: &Store) -> Result<SnapshotInfo, StoreError> {
        let last = self.last();
        let mut writer = store.snapshot_writer(last)?;
        writer.write(&self.body())?;
        writer.finish(Some(SnapshotDigest { zxid: last, version: 2, digest: 7 }), Some(last))
    }

    /// The last transaction.
    pub fn last(&self) -> Zxid {
        Zxid(self.txns.keys().next_back().copied().unwrap_or(0))
    }
}

/// Opens and recovers.
pub fn start(
    disk: &SimulatedDisk,
    config: StoreConfig,
) -> Result<(Store, Recovered, Recording), StoreError> {
    let store = Store::open(Arc::new(disk.clone()), config)?;
    let mut recording = Recording::default();
    let recovered = store.recover(&mut recording)?;
    Ok((store, recovered, recording))
}

/// A directory of `tests/vectors` on a simulated disk.
pub fn vector(name: &str) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.create_dir_all(&data_dir()).unwrap();
    for (name, contents) in vector_files(name) {
        disk.put(&in_version_2(&name), &contents);
    }
    disk
}

/// The files of a directory of `tests/vectors`.
pub fn vector_files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let entries = std::fs::read_dir(dir.join("version-2")).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// A history: all transactions up to each epoch's last counter.
pub fn epochs(last: &[(u32, u32)], len: usize) -> Model {
    let mut model = Model::default();
    for (epoch, counter_max) in last {
        for counter in 1..=*counter_max {
            let zxid = Zxid::new(*epoch, counter);
            model.txns.insert(zxid.0, payload(zxid, len));
        }
    }
    model
}

pub fn append(log: &mut LogWriter, model: &mut Model, zxid: Zxid, len: usize) {
    let txn = payload(zxid, len);
    log.append(zxid, &txn).unwrap();
    model.txns.insert(zxid.0, txn);
}

/// A store that holds the transactions of epoch 1 up to `last`, with a snapshot in the middle.
pub fn filled(disk: &SimulatedDisk, last: u32) -> (Store, Model) {
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

/// The current and the accepted epoch.
pub fn epoch_files(store: &Store) -> (i64, i64) {
    let read = |which| store.epoch(which).unwrap().unwrap_or(0);
    (read(EpochFile::Current), read(EpochFile::Accepted))
}

/// Stages a leader's history up to `at` as a snapshot.
pub fn stage(store: &Store, leader: &Model, at: Zxid) -> Install {
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

/// What may survive: nothing, everything, all combinations if they are few, and seeds.
pub fn each_survivor(
    disk: &SimulatedDisk,
    rounds_max: usize,
    seeds: u64,
    mut with: impl FnMut(SimulatedDisk, String),
) {
    for mut chooser in [Chooser::Nothing, Chooser::Everything] {
        let name = format!("{chooser:?}");
        with(disk.after_power_loss(&mut chooser), name);
    }
    let mut chooser = Chooser::exhaustive();
    for _ in 0..rounds_max {
        let name = format!("{chooser:?}");
        with(disk.after_power_loss(&mut chooser), name);
        if !chooser.advance() {
            return;
        }
    }
    for seed in 0..seeds {
        with(disk.after_power_loss(&mut Chooser::Random(seed)), format!("seed {seed}"));
    }
}
