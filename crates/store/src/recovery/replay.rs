//! Reads the logs behind a snapshot, judges how they end, mends that and makes it durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::txn::TxnHeader;

use super::{RecoveryProgress, RecoverySink, Repair};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::log::cursor::logs_after;
use crate::log::mark::{Before, Mark, Writes};
use crate::log::repair::{TORN_LEN_MAX, is_len_of_closed, next_valid_record, record_at};
use crate::log::truncate::{keep_copy, set_aside};
use crate::log::writer::close_at;
use crate::log::{Bad, SegmentReader, Step, Tail, follows, judge_tail};
use crate::purge::make_room_in_quarantine;
use crate::store::Shared;
use crate::window::READ_LEN;

/// How much of the end of Java's logs is written again if they were not closed in order, in bytes:
/// far more than it writes between two syncs, unless its requests are huge.
const PROVE_LEN_MAX: u64 = 64 << 20;

/// How many transactions pass between two reports of progress.
const PROGRESS_TXNS: u64 = 1 << 14;

/// A log that was read to its end.
struct Segment {
    path: PathBuf,
    /// Where its records end.
    end: u64,
    /// Whether the file ends there and shows that it was closed in order.
    closed: bool,
    /// Whether its header says so too.
    says_closed: bool,
    /// Whether it is one of ours, each of whose writes was synced.
    is_synced: bool,
    /// Whether it holds any record.
    has_records: bool,
    /// Whether it is one of ours.
    is_marked: bool,
    /// What stands at the end, if not padding.
    bad: Option<Bad>,
    /// Whether bad bytes stand at its end that are no part of the history, and stay.
    left_over: bool,
    /// How bad bytes at the end of the history are to be mended.
    tail_end: Option<u64>,
}

impl Segment {
    /// Whether it is a log of ours that nobody has closed, and that no mending will close.
    fn is_to_be_closed(&self) -> bool {
        let is_left = self.left_over || self.bad.is_some();
        let is_closed = self.closed && (self.says_closed || !self.is_synced);
        self.has_records && self.is_marked && !is_closed && !is_left
    }
}

/// Reads the logs after a zxid.
pub(super) struct Replay<'s> {
    shared: &'s Shared,
    start: Zxid,
    pub(super) last: Zxid,
    /// Whether the first transaction may have any zxid: there was no snapshot.
    any_start: bool,
    pub(super) txns: u64,
    pub(super) txns_len: u64,
    duplicates: u64,
    segments: Vec<Segment>,
    repairs: Vec<Repair>,
}

impl<'s> Replay<'s> {
    pub(super) fn new(shared: &'s Shared, start: Zxid, any_start: bool) -> Self {
        Replay {
            shared,
            start,
            last: start,
            any_start,
            txns: 0,
            txns_len: 0,
            duplicates: 0,
            segments: Vec::new(),
            repairs: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, sink: &mut dyn RecoverySink) -> Result<(), StoreError> {
        let mut ends = BTreeMap::new();
        for (first, path) in logs_after(self.shared, self.start)? {
            let file = self.shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
            let segment = self.read_segment(SegmentReader::open(file, &path)?, sink)?;
            if segment.has_records {
                ends.insert((first, path), segment.end);
            }
            self.segments.push(segment);
        }
        self.shared.state().log_ends = ends;
        self.judge_tails()
    }

    fn read_segment(
        &mut self,
        mut reader: SegmentReader<Box<dyn DiskFile>>,
        sink: &mut dyn RecoverySink,
    ) -> Result<Segment, StoreError> {
        let said = Writes::and_link(reader.file());
        let (writes, said) = said.map_err(StoreError::io("read", reader.path()))?;
        let mut last_here = Zxid::NONE;
        let mut has_records = false;
        let (end, bad) = loop {
            match reader.step()? {
                Step::Txn { offset, header } => {
                    // What a log says of its first transaction holds for no other one.
                    let said = if has_records { 0 } else { said };
                    has_records = true;
                    last_here = last_here.max(header.zxid);
                    self.txn(offset, &header, said, &reader, sink)?;
                }
                Step::End { offset } => break (offset, None),
                Step::Bad(bad) => match self.resume_at(&reader, &bad, last_here)? {
                    Some(offset) => {
                        let Bad { offset: at, reason } = bad;
                        let path = reader.path().to_path_buf();
                        self.repairs.push(Repair::DamageCovered { path, offset: at, reason });
                        reader.seek(offset);
                    }
                    None => break (bad.offset, Some(bad)),
                },
            }
        };
        let (says_closed, is_synced) = (reader.says_closed(), writes == Writes::Synced);
        let shows_closed = says_closed || is_len_of_closed(end);
        let closed = bad.is_none() && reader.file_len() == end && shows_closed;
        let path = reader.path().to_path_buf();
        let is_marked = writes != Writes::Unmarked;
        let (left_over, tail_end) = (false, None);
        Ok(Segment {
            path,
            end,
            closed,
            says_closed,
            is_synced,
            has_records,
            is_marked,
            bad,
            left_over,
            tail_end,
        })
    }

    /// Where to go on behind damage that lies among transactions of the snapshot, if at all.
    fn resume_at(
        &self,
        reader: &SegmentReader<Box<dyn DiskFile>>,
        bad: &Bad,
        last_here: Zxid,
    ) -> Result<Option<u64>, StoreError> {
        if last_here >= self.start || self.last > self.start {
            return Ok(None);
        }
        let next = next_valid_record(reader.file(), bad.offset, reader.file_len(), last_here)
            .map_err(StoreError::io("read", reader.path()))?;
        let Some((offset, zxid)) = next else { return Ok(None) };
        // An epoch may begin behind the snapshot's last transaction, and behind others of its epoch
        // that the damage has taken: it has not, if that is one record, the one of the snapshot.
        let is_covered = zxid <= self.start
            || zxid == self.start.next()
            || follows(self.start, zxid)
                && last_here.next() == self.start
                && record_at(reader.file(), bad.offset)
                    .map_err(StoreError::io("read", reader.path()))?
                    .is_some_and(|end| end == offset);
        Ok((zxid > Zxid::NONE && is_covered).then_some(offset))
    }

    fn txn(
        &mut self,
        offset: u64,
        header: &TxnHeader,
        said: u32,
        reader: &SegmentReader<Box<dyn DiskFile>>,
        sink: &mut dyn RecoverySink,
    ) -> Result<(), StoreError> {
        let path = || reader.path().to_path_buf();
        let (zxid, payload) = (header.zxid, reader.payload());
        if zxid <= self.last {
            self.duplicates += u64::from(zxid > self.start);
            return Ok(());
        }
        let first = self.any_start && self.txns == 0;
        if !first && !follows(self.last, zxid) {
            return Err(self.gap(path(), offset, zxid));
        }
        if !first && zxid != self.last.next() {
            self.begin_epoch(said, path(), offset, zxid)?;
        }
        let (len, limit) = (payload.len() as u64, self.shared.config.record_len_max as u64);
        if len > limit {
            return Err(StoreError::RecordTooLong { path: path(), offset, len, limit });
        }
        sink.txn(header, payload).map_err(|reason| StoreError::TxnRefused {
            path: path(),
            offset,
            zxid,
            reason,
        })?;
        self.leave_over();
        self.last = zxid;
        self.txns += 1;
        self.txns_len += len + crate::log::RECORD_OVERHEAD as u64;
        if self.txns.is_multiple_of(PROGRESS_TXNS) {
            sink.progress(RecoveryProgress::Log { txns: self.txns, zxid });
        }
        Ok(())
    }

    /// An epoch begins: whether the one before it is whole is not told by numbers, but by the log,
    /// or else by what stands at the end of those before it.
    fn begin_epoch(
        &self,
        said: u32,
        path: PathBuf,
        offset: u64,
        zxid: Zxid,
    ) -> Result<(), StoreError> {
        if mutation::is_on(Mutation::LinkIgnored) {
            return Ok(());
        }
        // A snapshot at the beginning of an epoch that stayed empty is no transaction: the log goes
        // on behind the last one of an epoch before, which may be in no log but in a leader's
        // snapshot that was taken over.
        let is_behind_start = self.txns == 0 && self.start.counter() == 0;
        match Before::of(said, self.last, zxid) {
            Before::Known => return Ok(()),
            Before::Other if !is_behind_start => return Err(self.gap(path, offset, zxid)),
            Before::Other | Before::Unsaid => {}
        }
        for segment in &self.segments {
            if let Some(bad) = &segment.bad {
                self.judge(segment, bad)?;
            }
        }
        Ok(())
    }

    /// The history goes on: what stands at the end of earlier logs is no part of it.
    fn leave_over(&mut self) {
        for segment in &mut self.segments {
            if let Some(Bad { offset, reason }) = segment.bad.take() {
                segment.left_over = true;
                self.repairs.push(Repair::LeftOver { path: segment.path.clone(), offset, reason });
            }
        }
    }

    /// Transactions are missing: blamed on the damage before, if there is some.
    fn gap(&self, path: PathBuf, offset: u64, found: Zxid) -> StoreError {
        let last = self.last;
        for segment in &self.segments {
            if let Some(bad) = &segment.bad {
                let reason = format!(
                    "{}, and {} goes on with transaction {found}",
                    bad.reason,
                    path.display()
                );
                let (path, offset) = (segment.path.clone(), bad.offset);
                return StoreError::LogDamaged { path, offset, reason, last };
            }
        }
        StoreError::LogGap { path, offset, last, found }
    }

    fn judge_tails(&mut self) -> Result<(), StoreError> {
        for at in 0..self.segments.len() {
            let segment = &self.segments[at];
            if let Some(bad) = &segment.bad {
                self.segments[at].tail_end = Some(self.judge(segment, bad)?);
            }
        }
        Ok(())
    }

    /// Where the torn tail that stands at the end of a log ends; damage is refused.
    fn judge(&self, segment: &Segment, bad: &Bad) -> Result<u64, StoreError> {
        let (path, Bad { offset, reason }) = (&segment.path, bad);
        let file = self.shared.disk.open(path).map_err(StoreError::io("open", path))?;
        match judge_tail(&*file, path, *offset, self.last)? {
            Tail::Torn { end } => Ok(end),
            Tail::Damaged { evidence } => Err(StoreError::LogDamaged {
                path: path.clone(),
                offset: *offset,
                reason: format!("{reason}, and {evidence}"),
                last: self.last,
            }),
        }
    }

    /// Cuts torn tails and makes the end of the logs durable.
    pub(super) fn finish(mut self, mut repairs: Vec<Repair>) -> Result<Vec<Repair>, StoreError> {
        repairs.append(&mut self.repairs);
        if self.duplicates > 0 {
            repairs.push(Repair::Duplicates { count: self.duplicates });
        }
        // Before anything is cut: a log that ends with a record says that all of it is on disk. A
        // Java server syncs the logs that it has rolled with the next flush only: killed before, it
        // leaves several of which nothing may be on disk.
        let mut left = PROVE_LEN_MAX;
        let segments = self.segments.iter().rev().filter(|segment| segment.has_records);
        for (later, segment) in segments.enumerate() {
            // A write that failed half-way may have ended with a record, as closing does; nothing
            // came after it.
            let is_proven =
                segment.closed && (later > 0 || !segment.is_marked || segment.says_closed);
            left = prove(self.shared, segment, is_proven, left)?;
        }
        for segment in self.segments.iter().rev() {
            if let (Some(bad), Some(end)) = (&segment.bad, segment.tail_end) {
                repairs.push(mend(self.shared, segment, bad, end)?);
            }
        }
        for segment in self.segments.iter().rev().filter(|segment| segment.is_to_be_closed()) {
            let path = &segment.path;
            let file =
                self.shared.disk.open_for_write(path).map_err(StoreError::io("open", path))?;
            close_at(&*file, path, segment.end, true)?;
        }
        if !self.segments.is_empty() {
            self.shared.sync_dir(&self.shared.log_dir)?;
        }
        Ok(repairs)
    }
}

/// Mends the end of a log: sets the file aside if it holds nothing, cuts it otherwise.
fn mend(
    shared: &Shared,
    segment: &Segment,
    bad: &Bad,
    tail_end: u64,
) -> Result<Repair, StoreError> {
    let (path, reason) = (segment.path.clone(), bad.reason.clone());
    if shared.state().repairs.is_empty() {
        // No change of history was completed just now, which would have set its old files aside.
        make_room_in_quarantine(shared);
    }
    if !segment.has_records {
        let name = path.file_name().expect("the path was joined to a name").to_string_lossy();
        let kept = set_aside(shared, &shared.log_dir, &name)?;
        return Ok(Repair::LogSetAside { path, reason, kept });
    }
    let file = shared.disk.open_for_write(&path).map_err(StoreError::io("open", &path))?;
    let kept = keep_copy(shared, &*file, &path, bad.offset, tail_end)?;
    // All before it was written again and synced just now.
    close_at(&*file, &path, bad.offset, true)?;
    Ok(Repair::TailCut { path, offset: bad.offset, reason, kept })
}

/// Makes a log's records durable: writes again what its last write may have left unsynced, unless
/// that `is_proven` to be on disk. In a log of unknown writes that is up to `left` bytes; returns
/// what is left of them.
fn prove(
    shared: &Shared,
    segment: &Segment,
    is_proven: bool,
    left: u64,
) -> Result<u64, StoreError> {
    let path: &Path = &segment.path;
    let file = shared.disk.open_for_write(path).map_err(StoreError::io("open", path))?;
    let read = StoreError::io("read", path);
    let (writes, mark) = Writes::of(&*file)
        .and_then(|writes| Ok((writes, Mark::read(&*file, segment.end)?)))
        .map_err(read)?;
    let start = match (writes, mark) {
        _ if is_proven => segment.end,
        (Writes::Synced, Some(mark)) => mark.start,
        (Writes::Synced, None) => segment.end.saturating_sub(TORN_LEN_MAX),
        (Writes::Unmarked | Writes::Unsynced, _) => segment.end.saturating_sub(left),
    };
    let mut buffer = vec![0; READ_LEN.min((segment.end - start) as usize)];
    let mut offset = start;
    while offset < segment.end {
        let wanted = buffer.len().min((segment.end - offset) as usize);
        let chunk = &mut buffer[..wanted];
        let len = file.read_at(offset, chunk).map_err(StoreError::io("read", path))?;
        assert!(len == wanted, "the records were read from there a moment ago");
        file.write_at(offset, chunk).map_err(StoreError::io("write", path))?;
        offset += len as u64;
    }
    file.sync_all().map_err(StoreError::io("sync", path))?;
    Ok(left.saturating_sub(segment.end - start))
}
