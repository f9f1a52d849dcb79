//! Reads transactions from the logs in order, across files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::txn::TxnHeader;

use super::follows;
use super::mark::{Writes, link};
use super::segment::{SegmentReader, Step};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::logs;
use crate::store::Shared;

/// Paths of the logs that may hold transactions after `zxid`, oldest first: the newest log whose
/// first transaction is not after it, and all later ones (Java: `FileTxnLog.getLogFiles`).
pub(crate) fn logs_after(shared: &Shared, zxid: Zxid) -> Result<Vec<(Zxid, PathBuf)>, StoreError> {
    let found = logs(&shared.list(&shared.log_dir)?);
    let newest = found.iter().rfind(|(first, _)| *first <= zxid).map(|(first, _)| *first);
    let start = newest.unwrap_or(Zxid::ZERO);
    let needed = found.into_iter().filter(|(first, _)| *first >= start);
    Ok(needed.map(|(first, name)| (first, shared.log_dir.join(name))).collect())
}

/// Reads transactions in order. What it reads may be neither synced nor committed yet: the caller
/// knows how far it may go.
pub struct LogCursor {
    shared: Arc<Shared>,
    left: VecDeque<PathBuf>,
    reader: Option<SegmentReader<Box<dyn DiskFile>>>,
    from: Zxid,
    last: Option<Zxid>,
    /// Whether the logs have something before `from`.
    has_before: bool,
    /// Where the transaction that it stands on begins.
    offset: u64,
}

impl LogCursor {
    pub(crate) fn open(shared: Arc<Shared>, from: Zxid) -> Result<Self, StoreError> {
        let left = logs_after(&shared, from)?.into_iter().map(|(_, path)| path).collect();
        Ok(LogCursor { shared, left, reader: None, from, last: None, has_before: false, offset: 0 })
    }

    /// Moves to the next transaction; [`LogCursor::payload`] lends its bytes. `None` at the end
    /// of the logs, which is also where a record is not readable (yet).
    ///
    /// # Errors
    /// [`StoreError::LogGap`] where transactions are missing; the operating system's.
    pub fn advance(&mut self) -> Result<Option<TxnHeader>, StoreError> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => match self.left.pop_front() {
                    Some(path) => self.reader.insert(open(&self.shared, path)?),
                    None => return Ok(None),
                },
            };
            let Step::Txn { offset, header } = reader.step()? else {
                if self.left.is_empty() {
                    return Ok(None);
                }
                self.reader = None;
                continue;
            };
            self.has_before |= header.zxid < self.from;
            if header.zxid < self.from || self.last.is_some_and(|last| header.zxid <= last) {
                continue;
            }
            if let Some(last) = self.last.filter(|last| !follows(*last, header.zxid)) {
                let (path, found) = (reader.path().to_path_buf(), header.zxid);
                return Err(StoreError::LogGap { path, offset, last, found });
            }
            (self.last, self.offset) = (Some(header.zxid), offset);
            return Ok(Some(header));
        }
    }

    /// Header, transaction and optional digest of the transaction that the cursor stands on.
    pub fn payload(&self) -> &[u8] {
        self.reader.as_ref().map_or(&[], |reader| reader.payload())
    }

    /// Whether the logs prove that the transaction that it stands on, the first one at or after
    /// where it began, is the next one after `previous`: the logs have what was before, or the
    /// log that begins with it says so. Where that was purged, an epoch's end may be missing.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn first_follows(&self, previous: Zxid) -> Result<bool, StoreError> {
        let Some(reader) = &self.reader else { return Ok(false) };
        let said = Writes::and_link(reader.file());
        let (_, said) = said.map_err(StoreError::io("read", reader.path()))?;
        Ok(self.has_before || said == link(previous))
    }

    /// The file and offset of that transaction.
    pub(crate) fn place(&self) -> (PathBuf, u64) {
        let path = self.reader.as_ref().map(|reader| reader.path().to_path_buf());
        (path.unwrap_or_else(|| self.shared.log_dir.clone()), self.offset)
    }
}

fn open(shared: &Shared, path: PathBuf) -> Result<SegmentReader<Box<dyn DiskFile>>, StoreError> {
    let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
    SegmentReader::open(file, &path)
}
