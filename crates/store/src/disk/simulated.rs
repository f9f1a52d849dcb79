//! A deterministic disk in memory that forgets what was not synced.
//!
//! Writes go to a cache in sectors of 512 bytes; a power loss keeps any subset of the unsynced
//! sectors, of the unsynced lengths and of the unsynced names, as a [`Chooser`] decides. Logs are
//! written in whole blocks, as the real disk writes them past the system's cache. Every
//! operation that changes something is counted, so that a test can cut the power at each of them.
//! A failed sync behaves as on Linux: the pages stay readable, are taken for clean, and never
//! reach the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::blocks::{BlockFile, Blocks};
use super::chooser::Chooser;
use super::{Bytes, Disk, DiskFile, DiskLock, FileInfo};

const SECTOR_LEN: usize = 512;

/// Which operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Reading.
    Read,
    /// Writing; half of the bytes are written before the error.
    Write,
    /// Syncing a file; what was unsynced never reaches the disk.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Creating a file.
    Create,
    /// Renaming.
    Rename,
}

/// One failure to come.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which operation fails.
    pub kind: FaultKind,
    /// The path, at that moment, must contain this.
    pub path_contains: String,
    /// How many matching operations succeed before it.
    pub after: u64,
    /// The error.
    pub error: io::ErrorKind,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    /// What readers see.
    data: Vec<u8>,
    /// What a power loss leaves for sure.
    durable: Vec<u8>,
    /// Unsynced sectors with their versions, oldest first.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Sectors that a failed sync dropped: readable, taken for clean, not on the disk.
    lost: BTreeSet<usize>,
    /// Unsynced lengths, oldest first.
    lens: Vec<usize>,
    modified_ms: i64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set { path: PathBuf, file: usize },
    Move { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: BTreeMap<PathBuf, Vec<NameChange>>,
    dirs: BTreeSet<PathBuf>,
    read_only_dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    power_loss_at: Option<u64>,
    power_lost: bool,
    faults: Vec<Fault>,
    capacity: Option<u64>,
    caches_logs: bool,
    now_ms: i64,
}

/// A disk in memory; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    /// Of a log, until its length is set.
    blocks: Mutex<Option<Blocks>>,
}

struct SimulatedLock {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl DiskLock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

fn power_lost() -> io::Error {
    io::Error::other("simulated power loss")
}

fn dir_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

impl State {
    /// Counts an operation; `true` if the power goes out in it.
    fn step(&mut self) -> io::Result<bool> {
        if self.power_lost {
            return Err(power_lost());
        }
        self.operations += 1;
        self.now_ms += 1;
        self.power_lost = self.power_loss_at == Some(self.operations);
        Ok(self.power_lost)
    }

    fn after_step(&self) -> io::Result<()> {
        if self.power_lost { Err(power_lost()) } else { Ok(()) }
    }

    fn fault(&mut self, kind: FaultKind, path: &Path) -> Option<io::Error> {
        let text = path.to_string_lossy();
        let index = self
            .faults
            .iter()
            .position(|fault| fault.kind == kind && text.contains(&fault.path_contains))?;
        if self.faults[index].after > 0 {
            self.faults[index].after -= 1;
            return None;
        }
        Some(self.faults.remove(index).error.into())
    }

    /// As `fault`, for an open file: by the name that it has now.
    fn file_fault(&mut self, kind: FaultKind, file: usize) -> Option<io::Error> {
        if self.faults.is_empty() {
            return None;
        }
        let name = self.names.iter().find(|(_, named)| **named == file);
        let path = name.map(|(path, _)| path.clone()).unwrap_or_default();
        self.fault(kind, &path)
    }

    fn lookup(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn need_dir(&self, dir: &Path) -> io::Result<()> {
        if !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.read_only_dirs.contains(dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].data.len() as u64).sum()
    }

    fn change_name(&mut self, dir: PathBuf, change: NameChange) {
        self.name_changes.entry(dir).or_default().push(change);
    }

    fn write(&mut self, file: usize, offset: usize, bytes: &[u8]) {
        let now_ms = self.now_ms;
        let state = &mut self.files[file];
        state.modified_ms = now_ms;
        let end = offset + bytes.len();
        if end > state.data.len() {
            state.data.resize(end, 0);
            state.lens.push(end);
        }
        state.data[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_LEN..end.div_ceil(SECTOR_LEN) {
            let version = state.sector(sector, &state.data);
            state.dirty.entry(sector).or_default().push(version);
            state.lost.remove(&sector);
        }
    }
}

impl FileState {
    fn sector(&self, sector: usize, of: &[u8]) -> Vec<u8> {
        let start = (sector * SECTOR_LEN).min(of.len());
        let end = (start + SECTOR_LEN).min(of.len());
        let mut bytes = of[start..end].to_vec();
        bytes.resize(SECTOR_LEN, 0);
        bytes
    }

    fn sync(&mut self) {
        let mut durable = self.data.clone();
        for sector in &self.lost {
            let start = (sector * SECTOR_LEN).min(durable.len());
            let end = (start + SECTOR_LEN).min(durable.len());
            let old = self.sector(*sector, &self.durable);
            durable[start..end].copy_from_slice(&old[..end - start]);
        }
        self.durable = durable;
        self.dirty.clear();
        self.lens.clear();
    }

    fn fail_sync(&mut self) {
        self.lost.extend(self.dirty.keys());
        self.dirty.clear();
        self.lens.clear();
    }

    /// What a power loss leaves of the file.
    fn survive(&self, chooser: &mut Chooser) -> Vec<u8> {
        let mut lens = vec![self.durable.len()];
        lens.extend(&self.lens);
        if let Some(last) = self.lens.last().filter(|last| **last > self.durable.len() + SECTOR_LEN)
        {
            let middle = (self.durable.len() + last) / 2 / SECTOR_LEN * SECTOR_LEN;
            lens.insert(1, middle.max(self.durable.len()));
        }
        lens.dedup();
        let len = lens[chooser.choose(lens.len())];
        let mut data = self.durable.clone();
        data.resize(len, 0);
        for (sector, written) in &self.dirty {
            let start = sector * SECTOR_LEN;
            if start >= len {
                continue;
            }
            let mut versions = vec![self.sector(*sector, &self.durable)];
            versions.extend(written.iter().cloned());
            versions.dedup();
            let version = &versions[chooser.choose(versions.len())];
            let end = (start + SECTOR_LEN).min(len);
            data[start..end].copy_from_slice(&version[..end - start]);
        }
        data
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk whose file system writes logs through the system's cache, as they come.
    pub fn that_caches_logs() -> Self {
        let state = State { caches_logs: true, ..State::default() };
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the simulated disk")
    }

    /// How many changing operations there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Cuts the power in the operation of this number (the first is 1).
    pub fn lose_power_at(&self, operation: u64) {
        self.state().power_loss_at = Some(operation);
    }

    /// Plans a failure.
    pub fn plan_fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Forgets the failures that are planned.
    pub fn forget_faults(&self) {
        self.state().faults.clear();
    }

    /// Bounds the bytes of all files together; `None` for no bound.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    /// Makes a directory refuse changes of its names.
    pub fn set_read_only(&self, dir: &Path) {
        self.state().read_only_dirs.insert(dir.to_path_buf());
    }

    /// The disk after a power loss (or, if the power is still on, as if it went out now), with
    /// no locks, faults or limits.
    pub fn after_power_loss(&self, chooser: &mut Chooser) -> SimulatedDisk {
        let old = self.state();
        let (dirs, now_ms, caches_logs) = (old.dirs.clone(), old.now_ms, old.caches_logs);
        let mut new = State { dirs, now_ms, caches_logs, ..State::default() };
        let mut names = old.durable_names.clone();
        for change in old.name_changes.values().flatten() {
            if chooser.choose(2) == 0 {
                continue;
            }
            match change {
                NameChange::Set { path, file } => {
                    names.insert(path.clone(), *file);
                }
                NameChange::Move { from, to, file } => {
                    names.remove(from);
                    names.insert(to.clone(), *file);
                }
                NameChange::Remove { path } => {
                    names.remove(path);
                }
            }
        }
        for (path, file) in names {
            let data = old.files[file].survive(chooser);
            let modified_ms = old.files[file].modified_ms;
            new.names.insert(path.clone(), new.files.len());
            new.durable_names.insert(path, new.files.len());
            new.files.push(FileState {
                durable: data.clone(),
                data,
                modified_ms,
                ..FileState::default()
            });
        }
        SimulatedDisk { state: Arc::new(Mutex::new(new)) }
    }

    /// The disk as another process finds it after this one was killed: all that was written is
    /// there, unsynced as before.
    pub fn after_kill(&self) -> SimulatedDisk {
        let mut state = self.state().clone();
        state.locks.clear();
        state.faults.clear();
        state.power_lost = false;
        state.power_loss_at = None;
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Puts a file there, durable, with its directories.
    pub fn put(&self, path: &Path, data: &[u8]) {
        let mut state = self.state();
        for dir in path.ancestors().skip(1) {
            state.dirs.insert(dir.to_path_buf());
        }
        let file = state.files.len();
        let modified_ms = state.now_ms;
        state.files.push(FileState {
            data: data.to_vec(),
            durable: data.to_vec(),
            modified_ms,
            ..FileState::default()
        });
        state.names.insert(path.to_path_buf(), file);
        state.durable_names.insert(path.to_path_buf(), file);
    }

    /// The contents of a file as readers see them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let file = *state.names.get(path)?;
        Some(state.files[file].data.clone())
    }

    /// Flips bits of one byte, on the disk and in the cache.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let mut state = self.state();
        let file = state.names[path];
        state.files[file].data[offset] ^= mask;
        if let Some(byte) = state.files[file].durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    /// Puts other bytes at a place of a file, on the disk and in the cache; nothing grows.
    ///
    /// # Panics
    /// If there is no such file or place.
    pub fn overwrite(&self, path: &Path, offset: usize, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.names[path];
        state.files[file].data[offset..offset + bytes.len()].copy_from_slice(bytes);
        let durable = state.files[file].durable.iter_mut().skip(offset);
        durable.zip(bytes).for_each(|(old, new)| *old = *new);
    }

    /// All paths with their visible contents.
    pub fn dump(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let names = state.names.iter();
        names.map(|(path, file)| (path.clone(), state.files[*file].data.clone())).collect()
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        if state.power_lost {
            return Err(power_lost());
        }
        let file = state.lookup(path)?;
        Ok(Box::new(self.file(file, None)))
    }

    fn file(&self, file: usize, blocks: Option<Blocks>) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), file, blocks: Mutex::new(blocks) }
    }

    fn create_file(&self, path: &Path) -> io::Result<usize> {
        let mut state = self.state();
        state.need_dir(&dir_of(path))?;
        if let Some(error) = state.fault(FaultKind::Create, path) {
            return Err(error);
        }
        state.step()?;
        let file = match state.names.get(path).copied() {
            Some(file) => {
                state.files[file].data.clear();
                state.files[file].lens.push(0);
                file
            }
            None => {
                let file = state.files.len();
                let modified_ms = state.now_ms;
                state.files.push(FileState { modified_ms, ..FileState::default() });
                state.names.insert(path.to_path_buf(), file);
                let change = NameChange::Set { path: path.to_path_buf(), file };
                state.change_name(dir_of(path), change);
                file
            }
        };
        state.after_step()?;
        Ok(file)
    }
}

impl Disk for SimulatedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.after_step()?;
        for dir in dir.ancestors() {
            state.dirs.insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn is_writable(&self, dir: &Path) -> bool {
        self.state().need_dir(dir).is_ok()
    }

    fn info(&self, path: &Path) -> io::Result<Option<FileInfo>> {
        let state = self.state();
        if state.power_lost {
            return Err(power_lost());
        }
        if state.dirs.contains(path) {
            return Ok(Some(FileInfo { is_dir: true, len: 0, modified_ms: 0 }));
        }
        let Some(file) = state.names.get(path) else { return Ok(None) };
        let file = &state.files[*file];
        let (len, modified_ms) = (file.data.len() as u64, file.modified_ms);
        Ok(Some(FileInfo { is_dir: false, len, modified_ms }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.power_lost {
            return Err(power_lost());
        }
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = state.names.keys().chain(&state.dirs).filter(|path| dir_of(path) == dir);
        let mut names: Vec<String> = below
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.file(self.create_file(path)?, None)))
    }

    fn create_log(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.create_file(path)?;
        let blocks = (!self.state().caches_logs).then(Blocks::default);
        Ok(Box::new(self.file(file, blocks)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_file(path)
    }

    fn open_for_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.need_dir(&dir_of(to))?;
        if let Some(error) = state.fault(FaultKind::Rename, from) {
            return Err(error);
        }
        let file = state.lookup(from)?;
        state.step()?;
        state.names.remove(from);
        state.names.insert(to.to_path_buf(), file);
        let (old_dir, new_dir) = (dir_of(from), dir_of(to));
        if old_dir == new_dir {
            let (from, to) = (from.to_path_buf(), to.to_path_buf());
            state.change_name(new_dir, NameChange::Move { from, to, file });
        } else {
            state.change_name(new_dir, NameChange::Set { path: to.to_path_buf(), file });
            state.change_name(old_dir, NameChange::Remove { path: from.to_path_buf() });
        }
        state.after_step()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.need_dir(&dir_of(path))?;
        state.lookup(path)?;
        state.step()?;
        state.names.remove(path);
        state.change_name(dir_of(path), NameChange::Remove { path: path.to_path_buf() });
        state.after_step()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(error) = state.fault(FaultKind::SyncDir, dir) {
            return Err(error);
        }
        state.step()?;
        state.after_step()?;
        for change in state.name_changes.remove(dir).unwrap_or_default() {
            match change {
                NameChange::Set { path, file } => {
                    state.durable_names.insert(path, file);
                }
                NameChange::Move { from, to, file } => {
                    state.durable_names.remove(&from);
                    state.durable_names.insert(to, file);
                }
                NameChange::Remove { path } => {
                    state.durable_names.remove(&path);
                }
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state();
        state.need_dir(&dir_of(path))?;
        if !state.locks.insert(path.to_path_buf()) {
            return Ok(None);
        }
        drop(state);
        Ok(Some(Box::new(SimulatedLock { disk: self.clone(), path: path.to_path_buf() })))
    }

    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl SimulatedFile {
    fn blocks(&self) -> MutexGuard<'_, Option<Blocks>> {
        self.blocks.lock().expect("no code panics while it writes a log")
    }
}

/// A file's bytes, written as they are.
struct Plain<'a> {
    disk: &'a SimulatedDisk,
    file: usize,
}

impl BlockFile for Plain<'_> {
    fn read_block(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let len = Bytes(&state.files[self.file].data).read_at(offset, block)?;
        block[len..].fill(0);
        Ok(())
    }

    fn write_blocks(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let fault = state.file_fault(FaultKind::Write, self.file);
        state.step()?;
        if let Some(error) = fault {
            state.write(self.file, offset, &bytes[..bytes.len() / 2]);
            return Err(error);
        }
        let growth = (offset + bytes.len()).saturating_sub(state.files[self.file].data.len());
        let room = state.capacity.map_or(u64::MAX, |max| max.saturating_sub(state.used()));
        if growth as u64 > room {
            let fits = bytes.len() - (growth - room as usize);
            state.write(self.file, offset, &bytes[..fits]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.write(self.file, offset, bytes);
        state.after_step()
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.power_lost {
            return Err(power_lost());
        }
        if let Some(error) = state.file_fault(FaultKind::Read, self.file) {
            return Err(error);
        }
        Bytes(&state.files[self.file].data).read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut plain = Plain { disk: &self.disk, file: self.file };
        match &mut *self.blocks() {
            Some(blocks) => blocks.write(offset, bytes, &mut plain),
            None => plain.write_blocks(offset, bytes),
        }
    }

    fn file_len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].data.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        *self.blocks() = None;
        let mut state = self.disk.state();
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.step()?;
        let file = &mut state.files[self.file];
        file.data.resize(len, 0);
        file.lens.push(len);
        state.after_step()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.file_fault(FaultKind::Sync, self.file);
        state.step()?;
        state.after_step()?;
        let file = &mut state.files[self.file];
        if let Some(error) = fault {
            file.fail_sync();
            return Err(error);
        }
        file.sync();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_file() -> (SimulatedDisk, Box<dyn DiskFile>) {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.create(Path::new("/d/f")).unwrap();
        (disk, file)
    }

    #[test]
    fn a_name_without_a_synced_directory_may_be_lost_and_a_synced_one_is_not() {
        let (disk, file) = disk_with_file();
        file.write_at(0, b"abc").unwrap();
        file.sync_data().unwrap();
        let path = Path::new("/d/f");
        assert_eq!(disk.after_power_loss(&mut Chooser::Nothing).contents(path), None);
        let kept = disk.after_power_loss(&mut Chooser::Everything);
        assert_eq!(kept.contents(path).unwrap(), b"abc");
        disk.sync_dir(Path::new("/d")).unwrap();
        let kept = disk.after_power_loss(&mut Chooser::Nothing);
        assert_eq!(kept.contents(path).unwrap(), b"abc");
    }

    #[test]
    fn every_subset_of_unsynced_sectors_is_tried() {
        let (disk, file) = disk_with_file();
        file.write_at(0, &[0; 3 * SECTOR_LEN]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(0, &[1; 3 * SECTOR_LEN]).unwrap();
        let mut chooser = Chooser::exhaustive();
        let mut seen = BTreeSet::new();
        loop {
            let data = disk.after_power_loss(&mut chooser).contents(Path::new("/d/f")).unwrap();
            seen.insert(data);
            if !chooser.advance() {
                break;
            }
        }
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn what_is_synced_stays_while_a_file_grows() {
        let (disk, file) = disk_with_file();
        file.write_at(0, &[1; 700]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(700, &[2; 600]).unwrap();
        let mut chooser = Chooser::exhaustive();
        let mut lens = BTreeSet::new();
        loop {
            let data = disk.after_power_loss(&mut chooser).contents(Path::new("/d/f")).unwrap();
            assert!(data.len() >= 700 && data[..700] == [1; 700], "{}", data.len());
            lens.insert(data.len());
            if !chooser.advance() {
                break;
            }
        }
        assert_eq!(lens, [700, 1300].into());
    }

    #[test]
    fn after_a_failed_sync_the_bytes_are_readable_and_never_durable() {
        let (disk, file) = disk_with_file();
        disk.sync_dir(Path::new("/d")).unwrap();
        let error = io::ErrorKind::Other;
        disk.plan_fault(Fault {
            kind: FaultKind::Sync,
            path_contains: "f".into(),
            after: 0,
            error,
        });
        file.write_at(0, b"abc").unwrap();
        assert!(file.sync_data().is_err());
        assert_eq!(disk.contents(Path::new("/d/f")).unwrap(), b"abc");
        file.sync_data().unwrap();
        let after = disk.after_power_loss(&mut Chooser::Everything);
        assert_eq!(after.contents(Path::new("/d/f")).unwrap(), [0; 3]);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let (disk, file) = disk_with_file();
        disk.set_capacity(Some(4));
        let error = file.write_at(0, b"abcdef").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.contents(Path::new("/d/f")).unwrap(), b"abcd");
    }

    #[test]
    fn a_lock_is_held_once() {
        let (disk, _file) = disk_with_file();
        let lock = disk.lock(Path::new("/d/lock")).unwrap();
        assert!(lock.is_some());
        assert!(disk.lock(Path::new("/d/lock")).unwrap().is_none());
        drop(lock);
        assert!(disk.lock(Path::new("/d/lock")).unwrap().is_some());
    }
}
