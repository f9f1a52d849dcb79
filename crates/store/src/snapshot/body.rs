//! The body of a finished snapshot as a stream: what a leader sends to a learner.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::read::GzDecoder;
use rookeeper_jute::Zxid;
use rookeeper_jute::persistence::FILE_HEADER_LEN;
use simd_adler32::Adler32;

use super::codec::{Capped, XerialReader, uncompressed_len_max};
use crate::config::Compression;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::snapshot_compression;
use crate::recovery::open_snapshot;
use crate::store::Shared;
use crate::window::FileStream;

/// Sessions, ACL table and znodes of a snapshot, uncompressed, without header, seal and sections.
/// The file is kept open: it may be purged meanwhile.
pub struct SnapshotBody {
    shared: Arc<Shared>,
    zxid: Zxid,
    path: PathBuf,
    source: Box<dyn Read + Send>,
    checksum: Adler32,
    len: u64,
    left: u64,
}

impl SnapshotBody {
    /// Opens the newest exact snapshot at or after `base`.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        base: Zxid,
    ) -> Result<Option<SnapshotBody>, StoreError> {
        let exact: Vec<(Zxid, String)> = {
            let state = shared.state();
            state.exact.range(base..).rev().map(|(zxid, name)| (*zxid, name.clone())).collect()
        };
        for (zxid, name) in exact {
            let (info, path, file) = match open_snapshot(shared, zxid, &name) {
                Ok(opened) => opened,
                // It was purged, or is damaged.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    continue;
                }
                Err(StoreError::SnapshotDamaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            let Some(entry) = shared.state().index.entry(&info) else { continue };
            let (source, len) = (decoder(file, &name, info.len), entry.body_len);
            let checksum = Adler32::new();
            let shared = shared.clone();
            let mut body = SnapshotBody { shared, zxid, path, source, checksum, len, left: len };
            let mut header = [0; FILE_HEADER_LEN];
            match body.read_exact(&mut header) {
                Ok(()) => {}
                Err(StoreError::SnapshotDamaged { .. }) => continue,
                Err(error) => return Err(error),
            }
            body.checksum.write(&header);
            return Ok(Some(body));
        }
        Ok(None)
    }

    /// The snapshot's zxid.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The length of the whole body in bytes.
    pub fn body_len(&self) -> u64 {
        self.len
    }

    /// Reads on, filling `buffer` but at the end; 0 at the end. The last bytes come only if the
    /// snapshot's checksum is right.
    ///
    /// # Errors
    /// [`StoreError::SnapshotDamaged`], and nobody is given this snapshot from then on; the
    /// operating system's.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let chunk = &mut buffer[..len];
        self.read_exact(chunk)?;
        self.checksum.write(chunk);
        self.left -= len as u64;
        if self.left == 0 {
            self.check_seal()?;
        }
        Ok(len)
    }

    fn check_seal(&mut self) -> Result<(), StoreError> {
        let mut stored = [0; 8];
        self.read_exact(&mut stored)?;
        let (stored, computed) = (i64::from_be_bytes(stored), self.checksum.finish());
        if stored == i64::from(computed) {
            return Ok(());
        }
        Err(self.damaged(format!(
            "checksum {stored:#x} is stored, {computed:#x} is that of the contents"
        )))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.source.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => self.damaged(error.to_string()),
            _ => StoreError::io("read", &self.path)(error),
        })
    }

    /// It does not count any more, here or when old ones are removed.
    fn damaged(&self, reason: String) -> StoreError {
        if let Some(name) = self.path.file_name().map(|name| name.to_string_lossy().into_owned()) {
            let mut state = self.shared.state();
            if state.exact.get(&self.zxid) == Some(&name) {
                state.exact.remove(&self.zxid);
            }
            state.verified.remove(&name);
        }
        let offset = FILE_HEADER_LEN as u64 + self.len - self.left;
        StoreError::SnapshotDamaged { path: self.path.clone(), offset, reason }
    }
}

fn decoder(file: Box<dyn DiskFile>, name: &str, file_len: u64) -> Box<dyn Read + Send> {
    let stream = io::BufReader::with_capacity(64 << 10, FileStream::new(file, 0));
    let left = uncompressed_len_max(file_len);
    match snapshot_compression(name) {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(Capped { inner: GzDecoder::new(stream), left }),
        Compression::Snappy => Box::new(Capped { inner: XerialReader::new(stream), left }),
    }
}
