//! Reads transactions from the logs in order, across files.

use std::collections::VecDeque;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::txn::TxnHeader;

use super::follows;
use super::mark::{Before, Writes, link};
use super::segment::{SegmentReader, Step};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::logs;
use crate::store::Shared;

/// The first transaction of a log by its name, and its path: so logs follow one another.
pub(crate) type LogFile = (Zxid, PathBuf);

/// The logs that may hold transactions after `zxid`, oldest first: the newest log whose first
/// transaction is not after it, and all later ones (Java: `FileTxnLog.getLogFiles`).
pub(crate) fn logs_after(shared: &Shared, zxid: Zxid) -> Result<Vec<LogFile>, StoreError> {
    let found = logs(&shared.list(&shared.log_dir)?);
    let newest = found.iter().rfind(|(first, _)| *first <= zxid).map(|(first, _)| *first);
    let start = newest.unwrap_or(Zxid::ZERO);
    let needed = found.into_iter().filter(|(first, _)| *first >= start);
    Ok(needed.map(|(first, name)| (first, shared.log_dir.join(name))).collect())
}

/// Whether transactions between a log, whose records stop at `end`, and the `next` one were lost,
/// as far as one knows: it does not end in order, or ends before what recovery has read of it, or
/// recovery has read one in between that is gone.
pub(super) fn is_torn(shared: &Shared, log: &LogFile, end: &Step, next: &LogFile) -> bool {
    let known = &shared.state().log_ends;
    let is_short = match end {
        Step::End { offset } => known.get(log).is_some_and(|known| offset < known),
        _ => true,
    };
    is_short || known.range((Bound::Excluded(log), Bound::Excluded(next))).next().is_some()
}

/// Whether nothing shows that transactions are missing between `last` and `next`, with which an
/// epoch and a log begin; `said` is the link of that log. Where a log in between `is_torn`, its
/// last ones may have been committed, and rotted since: then the next log has to name `last`.
pub(super) fn epoch_is_whole(said: u32, last: Zxid, next: Zxid, is_torn: bool) -> bool {
    match Before::of(said, last, next) {
        Before::Known => true,
        Before::Other => false,
        Before::Unsaid => !is_torn,
    }
}

/// Reads transactions in order. What it reads may be neither synced nor committed yet: the caller
/// knows how far it may go.
pub struct LogCursor {
    shared: Arc<Shared>,
    /// The log that it reads, and all after it.
    left: VecDeque<LogFile>,
    reader: Option<SegmentReader<Box<dyn DiskFile>>>,
    /// Whether nothing of the log that it reads was read yet.
    at_start: bool,
    /// Whether the transaction that it stands on is the first one of its log.
    is_first: bool,
    /// Whether a log between the last two transactions is torn or gone.
    is_torn: bool,
    from: Zxid,
    last: Option<Zxid>,
    /// The last that the logs have before `from`.
    before: Option<Zxid>,
    /// Where the transaction that it stands on begins.
    offset: u64,
}

impl LogCursor {
    pub(crate) fn open(shared: Arc<Shared>, from: Zxid) -> Result<Self, StoreError> {
        let left = logs_after(&shared, from)?.into();
        Ok(LogCursor {
            shared,
            left,
            reader: None,
            at_start: true,
            is_first: false,
            is_torn: false,
            from,
            last: None,
            before: None,
            offset: 0,
        })
    }

    /// Moves to the next transaction; [`LogCursor::payload`] lends its bytes. `None` at the end
    /// of the logs, which is also where a record is not readable (yet).
    ///
    /// # Errors
    /// [`StoreError::LogGap`] where transactions are missing; the operating system's.
    pub fn advance(&mut self) -> Result<Option<TxnHeader>, StoreError> {
        self.is_torn = false;
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => match self.left.front() {
                    Some((_, path)) => self.reader.insert(open(&self.shared, path)?),
                    None => return Ok(None),
                },
            };
            let (offset, header) = match reader.step()? {
                Step::Txn { offset, header } => (offset, header),
                end => {
                    let (Some(log), Some(next)) = (self.left.front(), self.left.get(1)) else {
                        return Ok(None);
                    };
                    self.is_torn |= is_torn(&self.shared, log, &end, next);
                    (self.reader, self.at_start) = (None, true);
                    self.left.pop_front();
                    continue;
                }
            };
            self.is_first = std::mem::replace(&mut self.at_start, false);
            if header.zxid < self.from {
                self.before = Some(header.zxid);
                continue;
            }
            if self.last.is_some_and(|last| header.zxid <= last) {
                continue;
            }
            if let Some(last) = self.last
                && !(follows(last, header.zxid) && self.epoch_is_whole(last, header.zxid)?)
            {
                let path = self.place().0;
                return Err(StoreError::LogGap { path, offset, last, found: header.zxid });
            }
            (self.last, self.offset) = (Some(header.zxid), offset);
            return Ok(Some(header));
        }
    }

    /// Whether nothing shows that transactions are missing between `last` and `next`, which it
    /// has come to, where that begins an epoch.
    fn epoch_is_whole(&self, last: Zxid, next: Zxid) -> Result<bool, StoreError> {
        if next == last.next() || !self.is_first {
            return Ok(true);
        }
        Ok(epoch_is_whole(self.said()?, last, next, self.is_torn))
    }

    /// What the log that it reads says of what comes before it.
    fn said(&self) -> Result<u32, StoreError> {
        let Some(reader) = &self.reader else { return Ok(0) };
        let said = Writes::and_link(reader.file());
        Ok(said.map_err(StoreError::io("read", reader.path()))?.1)
    }

    /// Header, transaction and optional digest of the transaction that the cursor stands on.
    pub fn payload(&self) -> &[u8] {
        self.reader.as_ref().map_or(&[], |reader| reader.payload())
    }

    /// Whether the logs prove that the transaction that it stands on, the first one at or after
    /// where it began, is the next one after `previous`: the logs have what was before and nothing
    /// shows that something is missing in between, or the log that begins with it says so. Where
    /// that was purged, an epoch's end may be missing.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn first_follows(&self, previous: Zxid) -> Result<bool, StoreError> {
        let Some(next) = self.last else { return Ok(false) };
        match self.before {
            // The beginning of an epoch is no transaction that a log could name. Where a log before
            // it does not end in order, it has to name the last one that can be read.
            Some(before) if previous.counter() == 0 => {
                Ok(!self.is_torn || self.epoch_is_whole(before, next)?)
            }
            Some(_) => self.epoch_is_whole(previous, next),
            None => Ok(self.said()? == link(previous)),
        }
    }

    /// The file and offset of that transaction.
    pub(crate) fn place(&self) -> (PathBuf, u64) {
        let path = self.reader.as_ref().map(|reader| reader.path().to_path_buf());
        (path.unwrap_or_else(|| self.shared.log_dir.clone()), self.offset)
    }
}

fn open(shared: &Shared, path: &Path) -> Result<SegmentReader<Box<dyn DiskFile>>, StoreError> {
    let file = shared.disk.open(path).map_err(StoreError::io("open", path))?;
    SegmentReader::open(file, path)
}
