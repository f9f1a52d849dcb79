//! Writes a snapshot: under a name that nobody takes for one, synced now and then so that no long
//! sync delays the log, then synced, renamed, and its directory synced.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::write::GzEncoder;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::persistence::{FILE_HEADER_LEN, FileHeader, SNAPSHOT_MAGIC, VERSION};
use rookeeper_jute::{Encode, Zxid};
use simd_adler32::Adler32;

use super::codec::XerialWriter;
use super::index::Entry;
use super::{SnapshotDigest, SnapshotInfo};
use crate::config::Compression;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::{NEXT_SNAPSHOT_PREFIX, STAGED_PREFIX, snapshot_name};
use crate::store::Shared;

/// Snapshots are synced every so many bytes.
const SYNC_LEN: u64 = 8 << 20;

/// Bytes gathered before a write.
const WRITE_LEN: usize = 256 << 10;

/// What the path `/` of a seal looks like, length first.
const SEAL_PATH: [u8; 5] = [0, 0, 0, 1, b'/'];

/// Gathers bytes and writes them to a file.
struct FileSink {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    position: u64,
    synced: u64,
}

impl FileSink {
    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_at(self.position, &self.buffer)?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        if self.position - self.synced >= SYNC_LEN {
            self.file.sync_data()?;
            self.synced = self.position;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.write_out()?;
        if !mutation::is_on(Mutation::SnapshotUnsynced) {
            self.file.sync_all()?;
        }
        Ok(self.position)
    }
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_LEN {
            self.write_out()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Encoder {
    Plain(FileSink),
    Gzip(Box<GzEncoder<FileSink>>),
    Snappy(Box<XerialWriter<FileSink>>),
}

impl Encoder {
    fn new(sink: FileSink, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Encoder::Plain(sink),
            Compression::Gzip => {
                Encoder::Gzip(Box::new(GzEncoder::new(sink, flate2::Compression::default())))
            }
            Compression::Snappy => Encoder::Snappy(Box::new(XerialWriter::new(sink)?)),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Plain(sink) => sink.write_all(bytes),
            Encoder::Gzip(sink) => sink.write_all(bytes),
            Encoder::Snappy(sink) => sink.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<u64> {
        match self {
            Encoder::Plain(sink) => sink.finish(),
            Encoder::Gzip(sink) => sink.finish()?.finish(),
            Encoder::Snappy(sink) => sink.finish()?.finish(),
        }
    }
}

/// Writes one snapshot. Dropped before [`SnapshotWriter::finish`], it leaves nothing behind.
pub struct SnapshotWriter {
    shared: Arc<Shared>,
    zxid: Zxid,
    unfinished: PathBuf,
    /// `None` once finished.
    encoder: Option<Encoder>,
    checksum: Adler32,
    len: u64,
    znodes: Option<u64>,
    /// The history's generation when this was begun.
    generation: u64,
    /// Whether it is the beginning of a history that is not in place.
    staged: bool,
}

impl SnapshotWriter {
    pub(crate) fn create(shared: Arc<Shared>, zxid: Zxid) -> Result<Self, StoreError> {
        let state = shared.state();
        let generation = state.generation;
        if state.installing {
            return Err(StoreError::Superseded { zxid });
        }
        drop(state);
        SnapshotWriter::begin(shared, zxid, generation, false)
    }

    /// A writer of the snapshot that a staged history begins with.
    pub(crate) fn staged(shared: Arc<Shared>, zxid: Zxid) -> Result<Self, StoreError> {
        let generation = shared.state().generation;
        SnapshotWriter::begin(shared, zxid, generation, true)
    }

    fn begin(
        shared: Arc<Shared>,
        zxid: Zxid,
        generation: u64,
        staged: bool,
    ) -> Result<Self, StoreError> {
        let name = match staged {
            false => format!("{NEXT_SNAPSHOT_PREFIX}{:x}", zxid.0),
            true => format!("{STAGED_PREFIX}{}", snapshot_name(zxid, shared.config.compression)),
        };
        let unfinished = shared.snapshot_dir.join(name);
        let file =
            shared.disk.create(&unfinished).map_err(StoreError::io("create", &unfinished))?;
        let sink = FileSink { file, buffer: Vec::new(), position: 0, synced: 0 };
        let encoder = Encoder::new(sink, shared.config.compression)
            .map_err(StoreError::io("write", &unfinished))?;
        let checksum = Adler32::new();
        let mut writer = SnapshotWriter {
            shared,
            zxid,
            unfinished,
            encoder: Some(encoder),
            checksum,
            len: 0,
            znodes: None,
            generation,
            staged,
        };
        let header = FileHeader { magic: SNAPSHOT_MAGIC, version: VERSION, dbid: -1 };
        writer.write(&header.to_bytes())?;
        Ok(writer)
    }

    /// The snapshot's zxid.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Says how many znodes it holds, so that the next start can tell how far its loading is.
    pub fn set_znodes(&mut self, znodes: u64) {
        self.znodes = Some(znodes);
    }

    /// Bytes written so far, before compression.
    pub fn written_len(&self) -> u64 {
        self.len
    }

    /// Appends to the body: session table, ACL table, znodes, and the path `/` that ends them.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.checksum.write(bytes);
        self.len += bytes.len() as u64;
        let encoder = self.encoder.as_mut().expect("only finish takes the encoder");
        encoder.write_all(bytes).map_err(StoreError::io("write", &self.unfinished))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let mut seal = i64::from(self.checksum.finish()).to_bytes();
        seal.extend_from_slice(&SEAL_PATH);
        self.write(&seal)
    }

    /// Seals the body, adds the sections that are given, and gives the snapshot its name; it is
    /// durable when this returns. An existing snapshot of that name is replaced.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] if the history was changed meanwhile; the operating system's.
    /// Then there is no such snapshot.
    pub fn finish(
        mut self,
        digest: Option<SnapshotDigest>,
        last_zxid: Option<Zxid>,
    ) -> Result<SnapshotInfo, StoreError> {
        assert!(!self.staged, "a staged snapshot gets its name with its history");
        let body_len = self.complete(digest, last_zxid)?;
        let shared = self.shared.clone();
        let name = snapshot_name(self.zxid, shared.config.compression);
        let path = shared.snapshot_dir.join(&name);
        let _files = shared.files();
        if shared.state().generation != self.generation {
            self.remove_unfinished();
            return Err(StoreError::Superseded { zxid: self.zxid });
        }
        let renamed = shared.disk.rename(&self.unfinished, &path);
        renamed
            .map_err(StoreError::io("rename to", &path))
            .inspect_err(|_| self.remove_unfinished())?;
        shared.sync_dir(&shared.snapshot_dir)?;
        let info = info_of(&shared, &path, self.zxid, name)?;
        let mut state = shared.state();
        let whole_at = state.whole_at.max(self.zxid);
        if whole_at == self.zxid {
            state.exact.insert(self.zxid, info.name.clone());
        }
        state.verified.insert(info.name.clone(), (info.len, info.modified_ms));
        state.last_snapshot = Some(info.clone());
        state.index.insert(&info, Entry { whole_at, body_len, znodes: self.znodes });
        let index = state.index.clone();
        drop(state);
        index.write(&shared);
        Ok(info)
    }

    /// Seals a staged snapshot, which is durable then but for its name; its body's length in
    /// bytes.
    pub(crate) fn finish_staged(
        mut self,
        digest: Option<SnapshotDigest>,
    ) -> Result<u64, StoreError> {
        assert!(self.staged, "any other snapshot gets its name at once");
        self.complete(digest, None)
    }

    /// Writes and syncs everything; the length of the body.
    fn complete(
        &mut self,
        digest: Option<SnapshotDigest>,
        last_zxid: Option<Zxid>,
    ) -> Result<u64, StoreError> {
        let body_len = self.len - FILE_HEADER_LEN as u64;
        self.seal()?;
        if let Some(SnapshotDigest { zxid, version, digest }) = digest {
            let mut section = zxid.to_bytes();
            version.encode(&mut section);
            digest.encode(&mut section);
            self.write(&section)?;
            self.seal()?;
        }
        if let Some(last_zxid) = last_zxid {
            self.write(&last_zxid.to_bytes())?;
            self.seal()?;
        }
        let encoder = self.encoder.take().expect("only this takes the encoder");
        encoder
            .finish()
            .map_err(StoreError::io("write", &self.unfinished))
            .inspect_err(|_| self.remove_unfinished())?;
        Ok(body_len)
    }

    /// Leaves nothing behind; what cannot be removed now is removed at the next start.
    fn remove_unfinished(&self) {
        let _ = self.shared.disk.remove(&self.unfinished);
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.encoder.take().is_some() {
            self.remove_unfinished();
        }
    }
}

/// What is known of a finished file.
pub(crate) fn info_of(
    shared: &Shared,
    path: &Path,
    zxid: Zxid,
    name: String,
) -> Result<SnapshotInfo, StoreError> {
    let info = shared.disk.info(path).map_err(StoreError::io("look at", path))?;
    let (len, modified_ms) = info.map_or((0, 0), |info| (info.len, info.modified_ms));
    Ok(SnapshotInfo { zxid, name, len, modified_ms })
}
