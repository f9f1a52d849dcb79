//! Measures the choices behind the log: how many fdatasyncs a second small and large flushes
//! reach on zeros written ahead, on plain appends and on a hole; and how fast a snapshot of a
//! million znodes is written and read.
//!
//! `cargo run --release -p rookeeper-store --example log_bench [directory]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::wire::{encode_buffer, encode_str};
use rookeeper_jute::{Acl, Encode, SessionId, StatPersisted, Xid, Zxid};
use rookeeper_store::{
    Disk, DiskFile, RealDisk, RecoveryProgress, RecoverySink, SnapshotDigest, Store, StoreConfig,
    StoreError,
};

const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 3;
const FILE_LEN: u64 = 256 << 20;

type Failure = Box<dyn std::error::Error>;

/// How the file is made ready for writes.
#[derive(Debug, Clone, Copy)]
enum Ahead {
    Zeros,
    Append,
    Hole,
}

/// Flushes of `len` bytes a second.
fn flushes(dir: &Path, ahead: Ahead, len: usize) -> Result<f64, Failure> {
    let path = dir.join("bench.tmp");
    let file = RealDisk.create(&path)?;
    let (data, zeros) = (vec![0x5a; len], vec![0; 4 << 20]);
    if let Ahead::Hole = ahead {
        file.set_len(FILE_LEN)?;
        file.sync_all()?;
    }
    // A log's records are never aligned: they follow a header of 16 bytes.
    let (mut position, mut zeroed, mut count) = (16, 0, 0u32);
    let start = Instant::now();
    while start.elapsed() < ROUND && position + (len as u64) < FILE_LEN {
        if let Ahead::Zeros = ahead
            && position + len as u64 > zeroed
        {
            file.write_at(position, &zeros)?;
            zeroed = position + zeros.len() as u64;
        }
        file.write_at(position, &data)?;
        file.sync_data()?;
        position += len as u64;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    drop(file);
    RealDisk.remove(&path)?;
    Ok(rate)
}

fn median(mut of: impl FnMut() -> Result<f64, Failure>) -> Result<f64, Failure> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(of()?);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[ROUNDS / 2])
}

/// Counts what it is given.
#[derive(Default)]
struct Counter {
    znodes: u64,
    bytes: u64,
    txns: u64,
}

impl RecoverySink for Counter {
    fn begin(&mut self, _snapshot: Option<Zxid>) {}
    fn session(&mut self, _id: SessionId, _timeout_ms: i32) {}
    fn acl(&mut self, _index: i64, _acl: Vec<Acl<'_>>) -> Result<(), String> {
        Ok(())
    }
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        _acl_index: i64,
        _stat: &StatPersisted,
    ) -> Result<(), String> {
        self.znodes += 1;
        self.bytes += (path.len() + data.map_or(0, <[u8]>::len)) as u64;
        Ok(())
    }
    fn snapshot_end(&mut self, _zxid: Zxid, _of: Option<SnapshotDigest>) -> Result<(), String> {
        Ok(())
    }
    fn txn(&mut self, _header: &TxnHeader, txn: &[u8]) -> Result<(), String> {
        self.txns += 1;
        self.bytes += txn.len() as u64;
        Ok(())
    }
    fn progress(&mut self, _progress: RecoveryProgress) {}
}

/// Flushes a second through the log writer itself.
fn writer_flushes(dir: &Path, len: usize) -> Result<f64, Failure> {
    let (store, _) = open(dir)?;
    let mut log = store.log_writer();
    let mut txn = TxnHeader {
        client_id: SessionId(1),
        cxid: Xid(1),
        zxid: Zxid(1),
        time_ms: 0,
        txn_type: -1,
    }
    .to_bytes();
    txn.resize(len - rookeeper_store::log::RECORD_OVERHEAD, 0x5a);
    let mut zxid = log.last_zxid();
    let mut count = 0u32;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        zxid = zxid.next();
        log.append(zxid, &txn)?;
        log.flush()?;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    log.close()?;
    Ok(rate)
}

fn open(dir: &Path) -> Result<(Store, Counter), StoreError> {
    let store = Store::open(Arc::new(RealDisk), StoreConfig::new(dir))?;
    let mut counter = Counter::default();
    if store.recover(&mut counter)?.write_initial_snapshot {
        write_snapshot(&store, Zxid::ZERO, 0)?;
    }
    Ok((store, counter))
}

fn write_snapshot(store: &Store, zxid: Zxid, znodes: u32) -> Result<(), StoreError> {
    let mut writer = store.snapshot_writer(zxid)?;
    let mut body = Vec::new();
    0i64.encode(&mut body);
    let stat = StatPersisted::default();
    for znode in 0..=znodes {
        let path = if znode == 0 { String::new() } else { format!("/node{znode:09}") };
        encode_str(&path, &mut body);
        encode_buffer(&[0x61; 100], &mut body);
        (-1i64).encode(&mut body);
        stat.encode(&mut body);
        if body.len() > 64 << 10 {
            writer.write(&body)?;
            body.clear();
        }
    }
    encode_str("/", &mut body);
    writer.write(&body)?;
    writer.finish(Some(SnapshotDigest { zxid, version: 2, digest: 0 }), Some(zxid))?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("rookeeper-log-bench-{}", std::process::id()));
    RealDisk.create_dir_all(&dir)?;
    println!("flushes a second (median of {ROUNDS})    4 KiB   128 KiB");
    for ahead in [Ahead::Zeros, Ahead::Append, Ahead::Hole] {
        let small = median(|| flushes(&dir, ahead, 4 << 10))?;
        let large = median(|| flushes(&dir, ahead, 128 << 10))?;
        println!("{:<34} {small:>7.0}   {large:>7.0}", format!("{ahead:?}"));
    }
    let data = dir.join("log");
    let small = median(|| writer_flushes(&data, 4 << 10))?;
    let large = median(|| writer_flushes(&data, 128 << 10))?;
    println!("{:<34} {small:>7.0}   {large:>7.0}", "LogWriter");
    let data = dir.join("snapshot");
    let (store, _) = open(&data)?;
    let start = Instant::now();
    write_snapshot(&store, Zxid(1), 1_000_000)?;
    println!("1,000,000 znodes of 100 B written in {:?}", start.elapsed());
    drop(store);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (_store, counter) = open(&data)?;
        println!(
            "read {} znodes, {} bytes in {:?}",
            counter.znodes,
            counter.bytes,
            start.elapsed()
        );
    }
    remove_all(&dir)
}

fn remove_all(dir: &Path) -> Result<(), Failure> {
    let mut dirs = vec![dir.to_path_buf()];
    let mut seen = Vec::new();
    while let Some(dir) = dirs.pop() {
        for name in RealDisk.list(&dir)? {
            let path = dir.join(name);
            match RealDisk.info(&path)? {
                Some(info) if info.is_dir => dirs.push(path),
                _ => RealDisk.remove(&path)?,
            }
        }
        seen.push(dir);
    }
    println!("{} is empty now and can be removed", seen[0].display());
    Ok(())
}
