//! Reads a snapshot as a stream of records that borrow from one buffer.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rookeeper_jute::persistence::{FILE_HEADER_LEN, FileHeader, SNAPSHOT_MAGIC, VERSION};
use rookeeper_jute::{Acl, Decode, DecodeError, Reader, SessionId, StatPersisted, Text, Zxid};

use super::SnapshotDigest;
use super::codec::{Capped, XerialReader, uncompressed_len_max};
use crate::config::Compression;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::log::PAYLOAD_LEN_CAP;
use crate::window::{FileStream, READ_LEN, Window};

/// The longest access control list that is read, in bytes.
const ACL_LEN_MAX: usize = 64 << 20;

/// A stat as it stands in a snapshot, in bytes.
const STAT_LEN: usize = 4 * 8 + 3 * 4 + 2 * 8;

/// Digest section and last zxid with their seals, at the longest that their parts can be told by.
const SEAL_LEN: usize = 8 + 4 + 1;

/// What a snapshot's records are delivered to. An error refuses the snapshot.
pub trait SnapshotSink {
    /// A session.
    fn session(&mut self, id: SessionId, timeout_ms: i32);
    /// An entry of the ACL table.
    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String>;
    /// A znode; parents come before children. The root's path is empty.
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String>;
    /// Called now and then with the znodes delivered so far and the bytes read of the file.
    fn progress(&mut self, znodes: u64, bytes: u64);
}

/// Takes everything and keeps nothing: what checks a snapshot.
pub(crate) struct Nowhere;

impl SnapshotSink for Nowhere {
    fn session(&mut self, _id: SessionId, _timeout_ms: i32) {}

    fn acl(&mut self, _index: i64, _acl: Vec<Acl<'_>>) -> Result<(), String> {
        Ok(())
    }

    fn node(
        &mut self,
        _path: &str,
        _data: Option<&[u8]>,
        _acl_index: i64,
        _stat: &StatPersisted,
    ) -> Result<(), String> {
        Ok(())
    }

    fn progress(&mut self, _znodes: u64, _bytes: u64) {}
}

/// What a snapshot holds beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// The digest section; `None` where there is none.
    pub digest: Option<SnapshotDigest>,
    /// The last zxid's section; `None` where there is none.
    pub last_zxid: Option<Zxid>,
    /// How many znodes there were.
    pub znodes: u64,
    /// Its uncompressed length in bytes.
    pub len: u64,
}

/// Reads a snapshot; `path` is for messages.
///
/// # Errors
/// [`StoreError::SnapshotDamaged`], also where the sink refuses a record;
/// [`StoreError::RecordTooLong`]; the operating system's.
pub fn load(
    file: &dyn DiskFile,
    path: &Path,
    compression: Compression,
    record_len_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<Loaded, StoreError> {
    match load_bounded(file, path, compression, record_len_max, sink) {
        // A length that is out of bounds may be damaged itself: only the seals can tell.
        Err(error @ StoreError::RecordTooLong { .. }) => {
            load_bounded(file, path, compression, PAYLOAD_LEN_CAP, &mut Nowhere)?;
            Err(error)
        }
        result => result,
    }
}

fn load_bounded(
    file: &dyn DiskFile,
    path: &Path,
    compression: Compression,
    record_len_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<Loaded, StoreError> {
    let stream = FileStream::new(file, 0);
    let len = file.file_len().map_err(StoreError::io("read", path))?;
    let left = uncompressed_len_max(len);
    match compression {
        Compression::None => Loader::new(stream, path, record_len_max, sink).load(),
        Compression::Gzip => {
            let inner = GzDecoder::new(stream);
            Loader::new(Capped { inner, left }, path, record_len_max, sink).load()
        }
        Compression::Snappy => {
            let inner = XerialReader::new(stream);
            Loader::new(Capped { inner, left }, path, record_len_max, sink).load()
        }
    }
}

struct Loader<'s, R> {
    window: Window<R>,
    path: PathBuf,
    record_len_max: usize,
    sink: &'s mut dyn SnapshotSink,
    znodes: u64,
}

impl<'s, R: Read> Loader<'s, R> {
    fn new(source: R, path: &Path, record_len_max: usize, sink: &'s mut dyn SnapshotSink) -> Self {
        let window = Window::new(source, 0, true);
        Loader { window, path: path.to_path_buf(), record_len_max, sink, znodes: 0 }
    }

    fn load(mut self) -> Result<Loaded, StoreError> {
        self.header()?;
        self.sessions()?;
        self.acls()?;
        self.nodes()?;
        self.seal()?;
        let digest_follows = self.follows(8 + SEAL_LEN + 1)?;
        let digest = if digest_follows { Some(self.digest()?) } else { None };
        let last_zxid = if self.follows(1)? { Some(self.last_zxid()?) } else { None };
        if self.follows(1)? {
            return Err(self.damaged(0, "bytes follow the last seal"));
        }
        let len = self.window.offset();
        self.sink.progress(self.znodes, len);
        Ok(Loaded { digest, last_zxid, znodes: self.znodes, len })
    }

    fn damaged(&self, offset: usize, reason: impl Into<String>) -> StoreError {
        StoreError::SnapshotDamaged {
            path: self.path.clone(),
            offset: self.window.offset() + offset as u64,
            reason: reason.into(),
        }
    }

    fn decode_error(&self, error: DecodeError) -> StoreError {
        let (DecodeError::Truncated { offset, .. }
        | DecodeError::UnreasonableLength { offset, .. }
        | DecodeError::UnexpectedValue { offset, .. }) = error;
        self.damaged(offset, error.to_string())
    }

    /// Whether at least `len` more bytes follow.
    fn follows(&mut self, len: usize) -> Result<bool, StoreError> {
        self.window.ensure(len).map_err(|error| self.read_error(error))
    }

    fn read_error(&self, error: io::Error) -> StoreError {
        let broken =
            [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput, io::ErrorKind::UnexpectedEof];
        if broken.contains(&error.kind()) {
            return self.damaged(self.window.bytes().len(), error.to_string());
        }
        StoreError::io("read", &self.path)(error)
    }

    fn need(&mut self, len: usize, what: &str) -> Result<(), StoreError> {
        if self.follows(len)? {
            return Ok(());
        }
        let have = self.window.bytes().len();
        Err(self.damaged(have, format!("the file ends inside {what}")))
    }

    /// Reads a value of fixed length.
    fn read<T: for<'a> Decode<'a>>(&mut self, what: &str) -> Result<T, StoreError> {
        let len = <T as Decode<'_>>::MIN_LEN;
        self.need(len, what)?;
        let value = T::from_bytes(self.window.bytes()).map_err(|error| self.decode_error(error))?;
        self.window.consume(len);
        Ok(value)
    }

    fn header(&mut self) -> Result<(), StoreError> {
        self.need(FILE_HEADER_LEN, "the header")?;
        let header = FileHeader::from_bytes(self.window.bytes()).expect("16 bytes are a header");
        if header.magic != SNAPSHOT_MAGIC {
            let reason = format!("{:#010x} is not a snapshot's magic number", header.magic);
            return Err(self.damaged(0, reason));
        }
        if header.version != VERSION {
            return Err(self.damaged(4, format!("version {} is unknown", header.version)));
        }
        self.window.consume(FILE_HEADER_LEN);
        Ok(())
    }

    fn sessions(&mut self) -> Result<(), StoreError> {
        let count: i32 = self.read("the count of sessions")?;
        for _ in 0..count.max(0) {
            let id = self.read("a session")?;
            let timeout_ms = self.read("a session")?;
            self.sink.session(id, timeout_ms);
        }
        Ok(())
    }

    fn acls(&mut self) -> Result<(), StoreError> {
        let count: i32 = self.read("the count of access control lists")?;
        for _ in 0..count.max(0) {
            self.acl()?;
        }
        Ok(())
    }

    fn acl(&mut self) -> Result<(), StoreError> {
        let mut wanted = 8 + 4;
        loop {
            let at_end = !self.follows(wanted)?;
            let mut reader = Reader::with_len_max(self.window.bytes(), self.record_len_max);
            let entry = reader
                .read::<i64>()
                .and_then(|index| Ok((index, reader.read::<Option<Vec<Acl<'_>>>>()?)));
            match entry {
                Ok((index, Some(acl))) => {
                    let len = reader.offset();
                    self.sink.acl(index, acl).map_err(|reason| StoreError::SnapshotDamaged {
                        path: self.path.clone(),
                        offset: self.window.offset(),
                        reason,
                    })?;
                    self.window.consume(len);
                    return Ok(());
                }
                Ok((index, None)) => {
                    return Err(self.damaged(8, format!("access control list {index} is null")));
                }
                Err(DecodeError::Truncated { .. }) if !at_end && wanted <= ACL_LEN_MAX => {
                    wanted = 2 * self.window.bytes().len().max(wanted);
                }
                Err(error) => return Err(self.decode_error(error)),
            }
        }
    }

    fn nodes(&mut self) -> Result<(), StoreError> {
        let mut reported = 0;
        while self.node()? {
            self.znodes += 1;
            let offset = self.window.offset();
            if offset - reported >= 4 * READ_LEN as u64 {
                reported = offset;
                self.sink.progress(self.znodes, offset);
            }
        }
        Ok(())
    }

    /// Reads a length and checks it.
    fn len_at(&self, offset: usize, what: &str) -> Result<Option<usize>, StoreError> {
        let bytes = self.window.bytes()[offset..offset + 4].try_into().expect("four bytes");
        let len = i32::from_be_bytes(bytes);
        match usize::try_from(len) {
            Ok(len) if len <= self.record_len_max => Ok(Some(len)),
            Ok(len) if len > PAYLOAD_LEN_CAP => {
                Err(self.damaged(offset, format!("{what} of {len} bytes is impossible")))
            }
            Ok(len) => Err(StoreError::RecordTooLong {
                path: self.path.clone(),
                offset: self.window.offset() + offset as u64,
                len: len as u64,
                limit: self.record_len_max as u64,
            }),
            Err(_) if len == -1 => Ok(None),
            Err(_) => Err(self.damaged(offset, format!("{what} of {len} bytes is impossible"))),
        }
    }

    /// Delivers the next znode; `false` at the end.
    fn node(&mut self) -> Result<bool, StoreError> {
        self.need(4 + 1, "a znode's path")?;
        let Some(path_len) = self.len_at(0, "a path")? else {
            return Err(self.damaged(0, "a znode's path is null"));
        };
        if path_len == 1 && self.window.bytes()[4] == b'/' {
            self.window.consume(5);
            return Ok(false);
        }
        let data_at = 4 + path_len;
        self.need(data_at + 4, "a znode")?;
        let data_len = self.len_at(data_at, "data")?;
        let acl_at = data_at + 4 + data_len.unwrap_or(0);
        let len = acl_at + 8 + STAT_LEN;
        self.need(len, "a znode")?;
        let bytes = &self.window.bytes()[..len];
        let mut reader = Reader::with_len_max(&bytes[..data_at], len);
        let path: Text<'_> = reader.read().expect("the window holds the whole path");
        let path = path.unwrap_or_default();
        let data = data_len.map(|data_len| &bytes[data_at + 4..data_at + 4 + data_len]);
        let mut reader = Reader::new(&bytes[acl_at..]);
        let acl_index: i64 = reader.read().expect("the window holds the whole znode");
        let stat: StatPersisted = reader.read().expect("the window holds the whole znode");
        if let Err(reason) = self.sink.node(&path, data, acl_index, &stat) {
            return Err(self.damaged(0, format!("znode {path:?}: {reason}")));
        }
        self.window.consume(len);
        Ok(true)
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let computed = self.window.checksum();
        self.need(SEAL_LEN, "a seal")?;
        let mut reader = Reader::new(self.window.bytes());
        let stored: i64 = reader.read().expect("the window holds the seal");
        if stored != i64::from(computed) {
            let reason =
                format!("checksum {stored:#x} is stored, {computed:#x} is that of the contents");
            return Err(self.damaged(0, reason));
        }
        if self.window.bytes()[8..SEAL_LEN] != [0, 0, 0, 1, b'/'] {
            return Err(self.damaged(8, "a seal does not end with \"/\""));
        }
        self.window.consume(SEAL_LEN);
        Ok(())
    }

    fn digest(&mut self) -> Result<SnapshotDigest, StoreError> {
        let zxid = self.read("the digest")?;
        let version: i32 = self.read("the digest")?;
        let digest = if version < 2 { self.digest_text()? } else { self.read("the digest")? };
        self.seal()?;
        Ok(SnapshotDigest { zxid, version, digest })
    }

    /// Version 1 wrote the digest as hexadecimal text.
    fn digest_text(&mut self) -> Result<i64, StoreError> {
        self.need(4, "the digest")?;
        let Some(len) = self.len_at(0, "a digest")?.filter(|len| *len <= 20) else {
            return Err(self.damaged(0, "the digest is no number"));
        };
        self.need(4 + len, "the digest")?;
        let text = String::from_utf8_lossy(&self.window.bytes()[4..4 + len]);
        let Ok(digest) = i64::from_str_radix(&text, 16) else {
            return Err(self.damaged(4, format!("the digest {text:?} is no number")));
        };
        self.window.consume(4 + len);
        Ok(digest)
    }

    fn last_zxid(&mut self) -> Result<Zxid, StoreError> {
        let zxid = self.read("the last zxid")?;
        self.seal()?;
        Ok(zxid)
    }
}
