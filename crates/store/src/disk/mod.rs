//! What the store needs of a disk, so that the same code runs on a real one and on a simulated
//! one that loses power at every step.
//!
//! Nothing here is durable before a sync: file contents need [`DiskFile::sync_data`] or
//! [`DiskFile::sync_all`], and a name that was created, renamed or removed needs
//! [`Disk::sync_dir`] of its directory.

mod blocks;
mod chooser;
mod real;
mod simulated;

use std::io;
use std::path::Path;

pub(crate) use blocks::BLOCK_LEN;
pub use chooser::Chooser;
pub use real::RealDisk;
pub use simulated::{Fault, FaultKind, SimulatedDisk};

/// What is known of a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its length in bytes.
    pub len: u64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// Names, directories and locks of a disk.
pub trait Disk: Send + Sync {
    /// Creates a directory and its missing parents; they are durable when this returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Whether files can be created in `dir`.
    fn is_writable(&self, dir: &Path) -> bool;
    /// What `path` is; `None` if there is nothing.
    fn info(&self, path: &Path) -> io::Result<Option<FileInfo>>;
    /// The names in a directory, sorted by bytes. Names that are not UTF-8 are left out: none of
    /// ours are, and Java's are ASCII.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a file, empty, for reading and writing; an existing one is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// As `create`, for a file that is written from its beginning to its end and synced after each
    /// write: that may go past the system's cache. Until its length is set such a file may end
    /// later than what was written, with zeros.
    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open_for_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file, atomically replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on the file at `path`, creating it; `None` if another process (or
    /// another lock of this one) holds it. The lock ends when the value is dropped.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Bytes that this process may still write below `dir`.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. Positions are arguments, so that several threads may use one handle.
pub trait DiskFile: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// The file's length in bytes.
    fn file_len(&self) -> io::Result<u64>;
    /// Cuts or extends the file; an extension reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes contents and all attributes durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
}

macro_rules! forward_disk_file {
    ($($ty:ty),*) => {$(
        impl<T: DiskFile + ?Sized> DiskFile for $ty {
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
                (**self).read_at(offset, buffer)
            }
            fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
                (**self).write_at(offset, bytes)
            }
            fn file_len(&self) -> io::Result<u64> {
                (**self).file_len()
            }
            fn set_len(&self, len: u64) -> io::Result<()> {
                (**self).set_len(len)
            }
            fn sync_data(&self) -> io::Result<()> {
                (**self).sync_data()
            }
            fn sync_all(&self) -> io::Result<()> {
                (**self).sync_all()
            }
        }
    )*};
}
forward_disk_file!(&T, Box<T>, std::sync::Arc<T>);

/// A held lock; dropping it releases the lock.
pub trait DiskLock: Send + Sync {}

/// Bytes in memory as a file that cannot be written: what the parsers are tested and fuzzed with.
pub struct Bytes<'a>(pub &'a [u8]);

impl DiskFile for Bytes<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).map_or(self.0.len(), |offset| offset.min(self.0.len()));
        let len = buffer.len().min(self.0.len() - start);
        buffer[..len].copy_from_slice(&self.0[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn file_len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}
