//! A disk: a log after a snapshot, staged installs, work that is done in order and later.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_zab::sync::LogIndex;
use rookeeper_zab::wire;
use rookeeper_zab::{EpochKind, Segment};

/// What has to be done, in this order.
#[derive(Debug, Clone)]
pub enum Work {
    Epoch(EpochKind, i64),
    Begin,
    Truncate(Zxid),
    Load(Zxid, Vec<u8>),
    Append(Arc<Segment>),
    Settle,
}

/// A history: what a snapshot holds, and a log.
#[derive(Debug, Clone, Default)]
pub struct Files {
    base: Zxid,
    snapshot: Vec<Zxid>,
    log: Vec<(Zxid, Vec<u8>)>,
}

impl Files {
    pub fn last(&self) -> Zxid {
        self.log.last().map_or(self.base, |(zxid, _)| *zxid)
    }

    pub fn base(&self) -> Zxid {
        self.base
    }

    pub fn index(&self) -> LogIndex {
        let mut index = LogIndex::new(self.base);
        for (zxid, txn) in &self.log {
            index.append(*zxid, txn.len() as u64);
        }
        index
    }

    /// Every transaction.
    pub fn all(&self) -> Vec<Zxid> {
        let mut all = self.snapshot.clone();
        all.extend(self.log.iter().map(|(zxid, _)| *zxid));
        all
    }

    pub fn push(&mut self, zxid: Zxid, txn: &[u8]) {
        assert!(zxid > self.last(), "{zxid} after {}", self.last());
        self.log.push((zxid, txn.to_vec()));
    }

    /// Makes a snapshot of the log's beginning, of what is committed.
    pub fn compact(&mut self, committed: Zxid) {
        let half = self.log.len() / 2;
        let len = self.log[..half].partition_point(|(zxid, _)| *zxid <= committed);
        for (zxid, _) in self.log.drain(..len) {
            self.snapshot.push(zxid);
            self.base = zxid;
        }
    }

    /// As PROPOSAL and COMMIT each; false where it is not all here.
    pub fn history(&self, after: Zxid, through: Zxid, out: &mut Vec<u8>) -> bool {
        if after < self.base {
            return false;
        }
        for (zxid, txn) in self.log.iter().filter(|(zxid, _)| *zxid > after && *zxid <= through) {
            wire::history_record(*zxid, txn, out);
        }
        true
    }

    /// The SNAP of everything up to the base, and what follows.
    pub fn send_snapshot(&self, through: Zxid, out: &mut Vec<u8>) {
        wire::snapshot_begin(self.base, out);
        out.extend_from_slice(&[0; 8]);
        let mut string = |text: &[u8]| {
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
            out.extend_from_slice(text);
        };
        for zxid in &self.snapshot {
            string(format!("/{:016x}", zxid.0).as_bytes());
            string(b"data");
            string(&[0; 64]);
        }
        string(b"/");
        wire::snapshot_end(out);
        self.history(self.base, through, out);
    }

    fn load(zxid: Zxid, body: &[u8]) -> Files {
        let mut snapshot = Vec::new();
        let mut rest = &body[8..];
        // A path of 17 bytes, four bytes of data, the number of the list and the Stat.
        while rest.len() > 5 {
            let hex = std::str::from_utf8(&rest[5..21]).expect("hexadecimal");
            snapshot.push(Zxid(i64::from_str_radix(hex, 16).expect("hexadecimal")));
            rest = &rest[4 + 17 + 4 + 4 + 68..];
        }
        assert_eq!(rest, b"\0\0\0\x01/");
        Files { base: zxid, snapshot, log: Vec::new() }
    }

    fn truncate(&mut self, zxid: Zxid) {
        assert!(
            zxid >= self.base,
            "cut at {zxid} within the snapshot {}, {}",
            self.base,
            self.last()
        );
        self.log.retain(|(logged, _)| *logged <= zxid);
    }
}

/// A server's disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub files: Files,
    /// What a SNAP brought, until it is settled.
    pub staged: Option<Files>,
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    pub work: VecDeque<Work>,
}

/// What was done.
pub enum Done {
    Epoch(EpochKind),
    Ready,
    Durable(Zxid),
    Settled,
}

impl Disk {
    /// What the present role sees.
    pub fn live(&self) -> &Files {
        self.staged.as_ref().unwrap_or(&self.files)
    }

    /// Does the oldest work.
    pub fn work_one(&mut self) -> Option<Done> {
        let live = self.staged.as_mut().unwrap_or(&mut self.files);
        Some(match self.work.pop_front()? {
            Work::Epoch(kind, epoch) => {
                let file = match kind {
                    EpochKind::Accepted => &mut self.accepted_epoch,
                    EpochKind::Current => &mut self.current_epoch,
                };
                assert!(epoch >= *file, "epochs do not go back");
                *file = epoch;
                Done::Epoch(kind)
            }
            Work::Begin => Done::Ready,
            Work::Truncate(zxid) => {
                live.truncate(zxid);
                Done::Ready
            }
            Work::Load(zxid, body) => {
                self.staged = Some(Files::load(zxid, &body));
                Done::Ready
            }
            Work::Append(segment) => {
                segment.records().for_each(|(zxid, txn)| live.push(zxid, txn));
                Done::Durable(segment.last_zxid())
            }
            Work::Settle => {
                if let Some(staged) = self.staged.take() {
                    self.files = staged;
                }
                Done::Settled
            }
        })
    }

    /// The role ended: what was appended becomes durable, what was not settled is gone.
    pub fn retire(&mut self) {
        while self.work_one().is_some() {}
        self.staged = None;
    }
}
