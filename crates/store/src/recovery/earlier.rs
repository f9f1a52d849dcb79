//! What older logs prove of the history before a snapshot, so that a server that was restarted
//! just after one can still tell others what they miss.
//!
//! Within an epoch transactions with consecutive counters belong together, whoever logged them:
//! the epoch had one leader. Over the end of an epoch only our own logs are believed, whose
//! headers say what came before their first transaction and which never go on behind a gap: Java's
//! may hold transactions that were never committed, left over where a snapshot took their place
//! (ZOOKEEPER-2846).

use std::collections::VecDeque;

use rookeeper_jute::Zxid;

use crate::error::StoreError;
use crate::log::mark::{Writes, link};
use crate::log::{RECORD_OVERHEAD, SegmentReader, Step, follows};
use crate::names::logs;
use crate::store::Shared;

/// How much of the logs is read for this, in bytes, padding included.
const READ_LEN_MAX: u64 = 64 << 20;

/// How much is read of one log, without which nothing is proved, in bytes.
const LOG_LEN_MAX: u64 = 256 << 20;

/// How many transactions are told of at most, the newest.
const TXNS_MAX: usize = 100_000;

/// A gap-free part of the history.
pub(super) struct Earlier {
    base: Zxid,
    txns: VecDeque<(Zxid, u64)>,
}

impl Earlier {
    fn none(base: Zxid) -> Earlier {
        Earlier { base, txns: VecDeque::new() }
    }

    /// All transactions after this are there.
    pub(super) fn base(&self) -> Zxid {
        self.base
    }

    /// The transactions with their lengths.
    pub(super) fn txns(&mut self) -> &[(Zxid, u64)] {
        self.txns.make_contiguous()
    }

    fn last(&self) -> Zxid {
        self.txns.back().map_or(self.base, |(zxid, _)| *zxid)
    }

    fn push(&mut self, zxid: Zxid, len: u64) {
        self.txns.push_back((zxid, len));
        if self.txns.len() > TXNS_MAX {
            self.base = self.txns.pop_front().map_or(self.base, |(zxid, _)| zxid);
        }
    }

    /// Adds what stands next in the logs; `is_linked` if it is known to come after the last one.
    fn add(&mut self, zxid: Zxid, len: u64, is_linked: bool) {
        let last = self.last();
        if zxid <= last {
            return;
        }
        let is_next = zxid.epoch() == last.epoch() && zxid == last.next();
        if !(is_next || is_linked && follows(last, zxid)) {
            // Its own predecessor is known by its number.
            *self = Earlier::none(Zxid(zxid.0 - 1));
        }
        self.push(zxid, len);
    }
}

/// What is proved of the history up to `end`, a snapshot's zxid. One with the counter 0, which an
/// established leader's tree has before its first transaction, is no transaction: the history goes
/// through it where the first of its epoch is known to come after the last before it.
pub(super) fn before(shared: &Shared, end: Zxid) -> Result<Earlier, StoreError> {
    let epoch_first = (end.counter() == 0).then(|| end.next());
    let mut names = logs(&shared.list(&shared.log_dir)?);
    names.retain(|(first, _)| *first <= epoch_first.unwrap_or(end));
    let mut paths = VecDeque::new();
    let mut len = 0;
    for (_, name) in names.iter().rev() {
        let path = shared.log_dir.join(name);
        let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
        len += info.map_or(0, |info| info.len);
        if len > if paths.is_empty() { LOG_LEN_MAX } else { READ_LEN_MAX } {
            break;
        }
        paths.push_front(path);
    }
    let mut earlier = Earlier::none(Zxid::NONE);
    let mut goes_through = false;
    for path in paths {
        let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
        let (writes, said) = Writes::and_link(&*file).map_err(StoreError::io("read", &path))?;
        let is_ours = writes != Writes::Unmarked;
        let mut is_linked = is_ours && said == link(earlier.last());
        let mut reader = SegmentReader::open(file, &path)?;
        while let Step::Txn { header, .. } = reader.step()? {
            let len = (reader.payload().len() + RECORD_OVERHEAD) as u64;
            if header.zxid > end {
                goes_through |= is_linked && epoch_first == Some(header.zxid);
                break;
            }
            earlier.add(header.zxid, len, is_linked);
            is_linked = is_ours;
        }
    }
    Ok(if goes_through || earlier.last() == end { earlier } else { Earlier::none(end) })
}
