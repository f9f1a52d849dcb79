//! The operating system's disk: the only file of the project, beside the binary, that touches
//! `std::fs`.
//!
//! Logs are written past the system's cache where the file system can do that: nobody reads them
//! soon, and a write into pages that were never touched costs more than all else that a
//! transaction needs of the disk (docs/performance.md).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::UNIX_EPOCH;

use rustix::fs::{Access, OFlags, access, statvfs};

use super::blocks::{BlockFile, Blocks};
use super::{Disk, DiskFile, DiskLock, FileInfo};

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile(File);

struct RealLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DiskLock for RealLock {}

/// The parent of `path`, or the current directory where the path has none.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => path.to_path_buf(),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        for dir in missing.into_iter().rev() {
            match fs::create_dir(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                Err(error) => return Err(error),
            }
            self.sync_dir(&parent(dir))?;
        }
        if dir.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn is_writable(&self, dir: &Path) -> bool {
        access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    }

    fn info(&self, path: &Path) -> io::Result<Option<FileInfo>> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some(FileInfo {
            is_dir: metadata.is_dir(),
            len: metadata.len(),
            modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(create(path)?)))
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = create(path)?;
        let flags = OFlags::DIRECT.bits() as i32;
        // Who cannot do that says so here, or at the first write.
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path).ok();
        let direct = direct.map(|file| Direct { file, blocks: Blocks::default() });
        Ok(Box::new(LogFile { file: RealFile(file), direct: Mutex::new(direct) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }

    fn open_for_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn file_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// A log that is written past the system's cache, until its length is set.
struct LogFile {
    file: RealFile,
    direct: Mutex<Option<Direct>>,
}

struct Direct {
    /// The same file, opened for that.
    file: File,
    blocks: Blocks,
}

impl LogFile {
    fn direct(&self) -> MutexGuard<'_, Option<Direct>> {
        self.direct.lock().expect("no code panics while it writes a log")
    }
}

/// The two ways to a log: its blocks are read through the cache, which knows of what goes past it.
struct Ways<'a> {
    cached: &'a RealFile,
    direct: &'a File,
}

impl BlockFile for Ways<'_> {
    fn read_block(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()> {
        let len = self.cached.read_at(offset, block)?;
        block[len..].fill(0);
        Ok(())
    }

    fn write_blocks(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        self.direct.write_all_at(blocks, offset)
    }
}

impl DiskFile for LogFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut slot = self.direct();
        let Some(Direct { file, blocks }) = slot.as_mut() else {
            return self.file.write_at(offset, bytes);
        };
        let mut ways = Ways { cached: &self.file, direct: file };
        let written = blocks.write(offset, bytes, &mut ways);
        // No such writes, or blocks of another length.
        let is_refused = written.as_ref().is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        });
        if !is_refused {
            return written;
        }
        *slot = None;
        self.file.write_at(offset, bytes)
    }

    fn file_len(&self) -> io::Result<u64> {
        self.file.file_len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        *self.direct() = None;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_holds_what_was_written_and_ends_where_its_length_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        fs::write(&path, [7; 50_000]).unwrap();
        let log = RealDisk.create_log(&path).unwrap();
        let mut model = Vec::new();
        log.write_at(0, b"header").unwrap();
        log.write_at(6, &[0; 30_000]).unwrap();
        model.extend_from_slice(b"header");
        for (len, byte) in [(10, 1), (4096, 2), (9000, 3), (1, 4), (20_000, 5)] {
            log.write_at(model.len() as u64, &vec![byte; len]).unwrap();
            log.sync_data().unwrap();
            model.resize(model.len() + len, byte);
            let mut read = vec![9; model.len() + 4096];
            let found = log.read_at(0, &mut read).unwrap();
            assert!(read[..model.len()] == model && found >= model.len(), "after {len} bytes");
            assert!(read[model.len()..found].iter().all(|byte| *byte == 0), "after {len} bytes");
            assert_eq!(fs::read(&path).unwrap()[..model.len()], model);
        }
        log.set_len(model.len() as u64).unwrap();
        log.write_at(0, b"closed").unwrap();
        log.sync_data().unwrap();
        model[..6].copy_from_slice(b"closed");
        assert!(fs::read(&path).unwrap() == model);
    }
}
