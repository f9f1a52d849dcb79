//! Writes the transaction log.
//!
//! Records gather in memory; a flush is one write and one fdatasync. A new file is made under a
//! name that nobody takes for a log, synced, renamed, and its directory is synced before the
//! first flush returns. Where records are small the file is zeroed ahead of them, so that an
//! fdatasync need not change the file's metadata; at a roll and at a clean stop what follows the
//! last record is cut off, so a file that ends with a record was closed in order.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::persistence::{FILE_HEADER_LEN, FileHeader, LOG_MAGIC, VERSION};
use rookeeper_jute::{Encode, Zxid};

use super::mark::{MARK_LEN, Mark, closed_dbid, dbid, dbid_of, link};
use super::{FLUSH_LEN_MAX, RECORD_OVERHEAD, encode_record, follows};
use crate::disk::{BLOCK_LEN, DiskFile};
use crate::error::{StoreError, is_disk_full};
use crate::names::{NEXT_LOG_FILE, STAGED_PREFIX, log_name};
use crate::store::Shared;

/// Longer flushes are appended without zeroing ahead: measured, zeros cost more than they save
/// from about here on.
const ZERO_AHEAD_FLUSH_MAX: usize = 256 << 10;

/// A file that is ready to become a log.
pub(crate) struct Prepared {
    file: Box<dyn DiskFile>,
    /// How far it is zeroed.
    zeroed: u64,
}

/// Prepares the next log while the current one is written: for a thread of the driver's.
#[derive(Clone)]
pub struct Preparer {
    shared: Arc<Shared>,
}

impl Preparer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Preparer { shared }
    }

    /// There is one such file a store, whichever writer takes it.
    fn slot(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.shared.next_log.lock().expect("no code panics while it holds the slot")
    }

    /// Makes the next log's file if there is none; `false` if it was there already.
    ///
    /// # Errors
    /// The operating system's. A full disk is no reason to stop: the next roll will see it.
    pub fn prepare(&self) -> Result<bool, StoreError> {
        let mut slot = self.slot();
        if slot.is_some() {
            return Ok(false);
        }
        *slot = Some(self.make()?);
        Ok(true)
    }

    fn make(&self) -> Result<Prepared, StoreError> {
        let path = self.path();
        let synced = self.shared.config.force_sync;
        let disk = &self.shared.disk;
        let file = if synced { disk.create_log(&path) } else { disk.create(&path) };
        let file = file.map_err(StoreError::io("create", &path))?;
        let head = header(synced, 0);
        file.write_at(0, &head).map_err(StoreError::io("write", &path))?;
        let zeroed = zero_ahead(&*file, head.len() as u64, self.shared.zero_ahead_len())
            .map_err(StoreError::io("write", &path))?;
        if synced {
            file.sync_all().map_err(StoreError::io("sync", &path))?;
        }
        Ok(Prepared { file, zeroed })
    }

    fn path(&self) -> PathBuf {
        self.shared.log_dir.join(NEXT_LOG_FILE)
    }

    /// Gives the prepared file, or one made now, the name of a log and the link to what comes
    /// before it, which becomes durable with the first flush or stays unsaid. The slot is held
    /// meanwhile: the name of the next log must not be created anew before this one has left it.
    fn take_as(&self, path: &Path, previous: Zxid) -> Result<Prepared, StoreError> {
        let mut slot = self.slot();
        let prepared = match slot.take() {
            Some(prepared) => prepared,
            None => self.make()?,
        };
        let renamed = self.shared.disk.rename(&self.path(), path);
        renamed.map_err(StoreError::io("rename to", path))?;
        let head = header(self.shared.config.force_sync, link(previous));
        prepared.file.write_at(0, &head).map_err(StoreError::io("write", path))?;
        Ok(prepared)
    }

    fn discard(&self) -> Result<(), StoreError> {
        if self.slot().take().is_some() {
            let path = self.path();
            self.shared.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
        }
        Ok(())
    }
}

fn header(synced: bool, link: u32) -> Vec<u8> {
    FileHeader { magic: LOG_MAGIC, version: VERSION, dbid: dbid(synced, link) }.to_bytes()
}

/// Zeros, in memory that begins as a file's blocks do.
#[repr(align(4096))]
struct Zeros([u8; 256 << 10]);

static ZEROS: Zeros = Zeros([0; _]);
const _: () = assert!(align_of::<Zeros>() == BLOCK_LEN);

/// Writes at least `len` zeros at `offset`, up to the end of a block, so that a record which ends
/// where they do is not taken for the last one of a closed log ([`super::repair`]); how far the
/// file is zeroed then. A full disk ends the zeros early and is no error: whoever needs the room
/// will see it.
fn zero_ahead(file: &dyn DiskFile, offset: u64, len: u64) -> std::io::Result<u64> {
    let Zeros(zeros) = &ZEROS;
    let block_len = BLOCK_LEN as u64;
    let end = if len == 0 { offset } else { (offset + len).next_multiple_of(block_len) };
    let mut position = offset;
    while position < end {
        let chunk = (end - position).min(zeros.len() as u64 - position % block_len);
        match file.write_at(position, &zeros[..chunk as usize]) {
            Ok(()) => position += chunk,
            Err(error) if is_disk_full(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(position)
}

struct OpenLog {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next record goes.
    position: u64,
    /// How far the file is written, with records and zeros.
    zeroed: u64,
    /// Whether its name is durable.
    named: bool,
}

/// Appends transactions to the log. One thread owns it.
///
/// Any error but [`StoreError::OutOfOrder`] is final: neither a retry nor another role may trust
/// what the system still has of the file, so the process has to end and recover from the disk.
pub struct LogWriter {
    shared: Arc<Shared>,
    preparer: Preparer,
    open: Option<OpenLog>,
    /// Records not yet written.
    buffer: Vec<u8>,
    first_buffered: Option<Zxid>,
    /// The transaction before the first one in the buffer.
    before_buffered: Zxid,
    last: Zxid,
    durable: Zxid,
    written_len: u64,
    poisoned: Option<PathBuf>,
    /// The names that its files get when the history they belong to takes the old one's place;
    /// `None` in a history that is in place.
    staged: Option<Vec<String>>,
}

impl LogWriter {
    pub(crate) fn new(shared: Arc<Shared>, last: Zxid, staged: bool) -> Self {
        let preparer = Preparer { shared: shared.clone() };
        LogWriter {
            shared,
            preparer,
            open: None,
            buffer: Vec::new(),
            first_buffered: None,
            before_buffered: last,
            last,
            durable: last,
            written_len: 0,
            poisoned: None,
            staged: staged.then(Vec::new),
        }
    }

    /// The names that the files written so far will have, where they are staged.
    pub(crate) fn staged_names(&self) -> Option<&[String]> {
        self.staged.as_deref()
    }

    /// The files have their names: goes on in place.
    pub(crate) fn unstage(&mut self) {
        let staged = self.staged.take();
        assert!(staged.is_some(), "only a staged history is put in place");
        if let (Some(open), Some(name)) = (&mut self.open, staged.and_then(|mut it| it.pop())) {
            open.path = self.shared.log_dir.join(name);
        }
    }

    /// Whether files of this store are meant.
    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// What prepares the next file in the background; without it rolls do so themselves.
    pub fn preparer(&self) -> Preparer {
        self.preparer.clone()
    }

    /// The last transaction appended (before the first: the one recovered last).
    pub fn last_zxid(&self) -> Zxid {
        self.last
    }

    /// The last transaction that is on disk.
    pub fn durable_zxid(&self) -> Zxid {
        self.durable
    }

    /// Length of the records in the current file, in bytes; 0 without one.
    pub fn current_len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.position)
    }

    /// Bytes of records appended since this writer was made (Java compares the growth of this
    /// with `snapSizeLimitInKb`).
    pub fn written_len(&self) -> u64 {
        self.written_len
    }

    /// Appends a transaction: header, record, optional digest, as it is proposed. It is neither
    /// written nor durable before [`LogWriter::flush`] returns, unless so much gathers that this
    /// flushes ([`FLUSH_LEN_MAX`]).
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] where `zxid` is neither the one after the last nor the first of
    /// a later epoch; those of `flush`.
    pub fn append(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        if !follows(self.last, zxid) && !mutation::is_on(Mutation::DiffOverGap) {
            return Err(StoreError::OutOfOrder { zxid, last: self.last });
        }
        if !self.buffer.is_empty()
            && self.buffer.len() + txn.len() + RECORD_OVERHEAD > FLUSH_LEN_MAX
        {
            self.flush()?;
        }
        if self.first_buffered.is_none() {
            (self.first_buffered, self.before_buffered) = (Some(zxid), self.last);
        }
        encode_record(txn, &mut self.buffer);
        self.last = zxid;
        Ok(())
    }

    /// Makes all that was appended durable (with `forceSync=no`: writes it); returns the last
    /// durable transaction.
    ///
    /// # Errors
    /// The operating system's; the writer refuses everything afterwards.
    pub fn flush(&mut self) -> Result<Zxid, StoreError> {
        self.check()?;
        let result = self.try_flush();
        self.guard(result)?;
        Ok(self.durable)
    }

    /// Flushes, closes the current file and cuts its padding; the next append starts a new one.
    ///
    /// # Errors
    /// As for `flush`.
    pub fn roll(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let result = self.try_flush().and_then(|()| self.finish_file());
        self.guard(result)
    }

    /// Ends in order: flushes, cuts the padding, removes what was prepared.
    ///
    /// # Errors
    /// As for `flush`.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.roll()?;
        if self.staged.is_none() {
            self.shared.state().last = Some(self.last);
        }
        self.preparer.discard()
    }

    fn check(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            Some(path) => Err(StoreError::Poisoned { path: path.clone() }),
            None => Ok(()),
        }
    }

    fn guard<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            let path = self.open.as_ref().map(|open| open.path.clone());
            self.poisoned = Some(path.unwrap_or_else(|| self.shared.log_dir.clone()));
        }
        result
    }

    fn try_flush(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.first_buffered else { return Ok(()) };
        if self.open.is_none() {
            self.open = Some(self.start_file(first)?);
        }
        let zero_ahead_len = self.shared.zero_ahead_len();
        let force_sync = self.shared.config.force_sync;
        let open = self.open.as_mut().expect("a file was just opened if there was none");
        let len = self.buffer.len();
        let end = open.position + len as u64;
        Mark { start: open.position, end }.encode(&mut self.buffer);
        open.file
            .write_at(open.position, &self.buffer)
            .map_err(StoreError::io("write", &open.path))?;
        open.zeroed = open.zeroed.max(open.position + self.buffer.len() as u64);
        if end + MARK_LEN as u64 >= open.zeroed && len <= ZERO_AHEAD_FLUSH_MAX {
            open.zeroed = zero_ahead(&*open.file, open.zeroed, zero_ahead_len)
                .map_err(StoreError::io("write", &open.path))?;
        }
        if force_sync {
            if !mutation::is_on(Mutation::LogUnsynced) {
                let synced = open.file.sync_data().map_err(StoreError::io("sync", &open.path));
                if synced.is_err() && !mutation::is_on(Mutation::FailedSyncIgnored) {
                    return synced;
                }
            }
            if !open.named && !mutation::is_on(Mutation::LogNameUnsynced) {
                self.shared.sync_dir(&self.shared.log_dir)?;
            }
        }
        open.named = true;
        open.position = end;
        self.written_len += len as u64;
        self.buffer.clear();
        self.first_buffered = None;
        self.durable = self.last;
        if self.shared.config.log_size_limit.is_some_and(|limit| end > limit) {
            self.finish_file()?;
        }
        Ok(())
    }

    fn start_file(&mut self, first: Zxid) -> Result<OpenLog, StoreError> {
        let name = log_name(first);
        let path = match &mut self.staged {
            None => self.shared.log_dir.join(&name),
            Some(names) => {
                let path = self.shared.log_dir.join(format!("{STAGED_PREFIX}{name}"));
                names.push(name);
                path
            }
        };
        let Prepared { file, zeroed } = self.preparer.take_as(&path, self.before_buffered)?;
        Ok(OpenLog { file, path, position: FILE_HEADER_LEN as u64, zeroed, named: false })
    }

    fn finish_file(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        close_at(&*open.file, &open.path, open.position, self.shared.config.force_sync)
    }
}

/// Closes a log whose records end at `len`, all of them durable: the header says so once the length
/// is durable as well.
pub(crate) fn close_at(
    file: &dyn DiskFile,
    path: &Path,
    len: u64,
    sync: bool,
) -> Result<(), StoreError> {
    cut(file, path, len, sync)?;
    let dbid = dbid_of(file).map_err(StoreError::io("read", path))?;
    let Some(dbid) = closed_dbid(dbid).filter(|_| sync) else { return Ok(()) };
    let header = FileHeader { magic: LOG_MAGIC, version: VERSION, dbid };
    file.write_at(0, &header.to_bytes()).map_err(StoreError::io("write", path))?;
    file.sync_data().map_err(StoreError::io("sync", path))
}

/// Cuts a file at `len` and makes that durable.
pub(crate) fn cut(
    file: &dyn DiskFile,
    path: &Path,
    len: u64,
    sync: bool,
) -> Result<(), StoreError> {
    file.set_len(len).map_err(StoreError::io("truncate", path))?;
    if sync {
        file.sync_data().map_err(StoreError::io("sync", path))?;
    }
    Ok(())
}
