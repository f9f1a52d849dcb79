//! Reads one log file, record by record, and says what stands where the records end.

use std::io;
use std::path::{Path, PathBuf};

use rookeeper_jute::persistence::{END_OF_RECORD, FILE_HEADER_LEN, FileHeader, LOG_MAGIC, VERSION};
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, Reader};

use super::mark::{MARK_LEN, Mark, says_closed};
use super::{PAYLOAD_LEN_CAP, PAYLOAD_LEN_MIN, RECORD_OVERHEAD};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::window::{FileStream, READ_LEN, Window};

/// Something that is neither a record nor padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Where it starts.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What stands next in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A transaction; [`SegmentReader::payload`] lends its bytes.
    Txn {
        /// Where its record starts in the file.
        offset: u64,
        /// Its header.
        header: TxnHeader,
    },
    /// The end of the file, or padding up to it.
    End {
        /// Where the records end.
        offset: u64,
    },
    /// Neither.
    Bad(Bad),
}

/// Reads the records of one log file.
pub struct SegmentReader<F> {
    path: PathBuf,
    file_len: u64,
    window: Window<FileStream<F>>,
    header_read: bool,
    /// Whether its header says that it ends with its last record.
    says_closed: bool,
    payload_len: usize,
}

impl<F: DiskFile> SegmentReader<F> {
    /// Starts before the header of `file`; `path` is for messages.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(file: F, path: &Path) -> Result<Self, StoreError> {
        let file_len = file.file_len().map_err(StoreError::io("read", path))?;
        let window = Window::new(FileStream::new(file, 0), 0, false);
        let path = path.to_path_buf();
        let (header_read, says_closed) = (false, false);
        Ok(SegmentReader { path, file_len, window, header_read, says_closed, payload_len: 0 })
    }

    /// The file.
    pub fn file(&self) -> &F {
        &self.window.source.file
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length in bytes, padding included.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Header, transaction and optional digest of the transaction that [`SegmentReader::step`]
    /// came to; empty before the first.
    pub fn payload(&self) -> &[u8] {
        match self.payload_len {
            0 => &[],
            len => &self.window.behind(len + 1)[..len],
        }
    }

    /// Whether its header, once that is read, says that it was closed.
    pub(crate) fn says_closed(&self) -> bool {
        self.says_closed
    }

    /// Goes on at another offset, where a record is known to start.
    pub fn seek(&mut self, offset: u64) {
        self.window.seek(offset);
        self.header_read = true;
        self.payload_len = 0;
    }

    /// The next record. After `End` or `Bad` it is the same again.
    ///
    /// # Errors
    /// The operating system's.
    pub fn step(&mut self) -> Result<Step, StoreError> {
        self.try_step().map_err(|error| StoreError::io("read", &self.path)(error))
    }

    fn try_step(&mut self) -> io::Result<Step> {
        self.payload_len = 0;
        let offset = self.window.offset();
        let bad = |reason: String| Ok(Step::Bad(Bad { offset, reason }));
        if !self.header_read {
            if let Some(reason) = self.read_header()? {
                return bad(reason);
            }
            return self.try_step();
        }
        let left = self.file_len.saturating_sub(offset);
        if !self.window.ensure(8 + 4)? {
            let padding = self.window.bytes().iter().all(|byte| *byte == 0);
            return if padding && (self.window.bytes().is_empty() || !self.says_closed) {
                Ok(Step::End { offset })
            } else {
                bad("the file ends inside a record's checksum and length".into())
            };
        }
        let mut reader = Reader::new(self.window.bytes());
        let checksum: i64 = reader.read().expect("the window holds 12 bytes");
        let len: i32 = reader.read().expect("the window holds 12 bytes");
        if len == 0 && self.says_closed {
            return bad("zeros stand where the records of a closed log should go on".into());
        }
        if len == 0 {
            let padding = match Mark::read(self.file(), offset)? {
                Some(_) => offset + MARK_LEN as u64,
                None => offset,
            };
            return if is_zero(self.file(), padding, self.file_len)? {
                Ok(Step::End { offset })
            } else {
                bad("data follows the end of the records".into())
            };
        }
        let payload_len = usize::try_from(len).unwrap_or(0);
        if !(PAYLOAD_LEN_MIN..=PAYLOAD_LEN_CAP).contains(&payload_len) {
            return bad(format!("a record of {len} bytes is impossible"));
        }
        let record_len = payload_len + RECORD_OVERHEAD;
        if record_len as u64 > left {
            return bad(format!("a record of {len} bytes does not fit into the file"));
        }
        if self.end_mark(offset, record_len)? != Some(END_OF_RECORD) {
            return bad("the record's last byte is not its end mark".into());
        }
        if !self.window.ensure(record_len)? {
            return bad("the file ends inside the record".into());
        }
        let computed = simd_adler32::adler32(&&self.window.bytes()[12..12 + payload_len]);
        if checksum != i64::from(computed) {
            return bad(format!(
                "checksum {checksum:#x} is stored, {computed:#x} is that of the record"
            ));
        }
        self.window.consume(record_len);
        self.payload_len = payload_len;
        let header =
            TxnHeader::from_bytes(self.payload()).expect("the payload is as long as a header");
        Ok(Step::Txn { offset, header })
    }

    /// The last byte of the record at the start of the window, looked up in the file where the
    /// window is shorter: a damaged length must not make it grow.
    fn end_mark(&self, offset: u64, record_len: usize) -> io::Result<Option<u8>> {
        if let Some(byte) = self.window.bytes().get(record_len - 1) {
            return Ok(Some(*byte));
        }
        let mut byte = [0];
        let len = self.file().read_at(offset + record_len as u64 - 1, &mut byte)?;
        Ok((len == 1).then_some(byte[0]))
    }

    /// Reads the file's header; what is wrong with it, if anything.
    fn read_header(&mut self) -> io::Result<Option<String>> {
        if !self.window.ensure(FILE_HEADER_LEN)? {
            return Ok(Some(format!("the header is {} bytes short", {
                FILE_HEADER_LEN - self.window.bytes().len()
            })));
        }
        let header = FileHeader::from_bytes(self.window.bytes()).expect("16 bytes are a header");
        if header.magic != LOG_MAGIC {
            return Ok(Some(format!("{:#010x} is not a log's magic number", header.magic)));
        }
        if header.version != VERSION {
            return Ok(Some(format!("log version {} is unknown", header.version)));
        }
        self.window.consume(FILE_HEADER_LEN);
        (self.header_read, self.says_closed) = (true, says_closed(header.dbid));
        Ok(None)
    }
}

/// Whether a file holds nothing but zeros from `start` to `end`.
pub(crate) fn is_zero(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<bool> {
    Ok(first_nonzero(file, start, end)?.is_none())
}

/// The first byte other than zero from `start` to `end`.
pub(crate) fn first_nonzero(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut buffer =
        vec![0; READ_LEN.min(usize::try_from(end - start.min(end)).unwrap_or(READ_LEN))];
    let mut offset = start;
    while offset < end {
        let wanted = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        let len = file.read_at(offset, &mut buffer[..wanted])?;
        if len == 0 {
            break;
        }
        if let Some(index) = buffer[..len].iter().position(|byte| *byte != 0) {
            return Ok(Some(offset + index as u64));
        }
        offset += len as u64;
    }
    Ok(None)
}
