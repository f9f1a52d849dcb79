//! The disk thread of a server: takes all that is queued, writes it, syncs it, says what is
//! durable. What it does takes virtual time, and a crash may come in the middle of it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_replica::{StorageCommand, StorageReport};
use rookeeper_store::{Disk, EpochFile, Install, LogWriter, SimulatedDisk, Store, StoreError};
use rookeeper_tree::Tree;
use rookeeper_zab::EpochKind;

use crate::recovery::{DATA_DIR, TreeRecovery, membership_path};

/// What carrying out a batch comes to, in order.
pub enum Done {
    /// To be reported.
    Report(StorageReport),
    /// Another tree takes the place of the present one, before the report that follows.
    Tree(Box<Tree>),
}

/// Free bytes below which nothing is written.
const RESERVE: u64 = 32 << 10;

/// A server's disk thread.
pub struct Storage {
    /// The data directory.
    pub store: Arc<Store>,
    disk: SimulatedDisk,
    /// `None` while the history changes.
    writer: Option<LogWriter>,
    install: Option<Install>,
    queue: VecDeque<StorageCommand>,
    /// What is being carried out.
    batch: VecDeque<StorageCommand>,
    unsynced: Option<Zxid>,
    /// Whether it was said that there is no room.
    pub said_full: bool,
}

impl Storage {
    /// A thread that has nothing to do.
    pub fn new(store: Store, disk: SimulatedDisk) -> Self {
        let writer = Some(store.log_writer());
        Storage {
            store: Arc::new(store),
            disk,
            writer,
            install: None,
            queue: VecDeque::new(),
            batch: VecDeque::new(),
            unsynced: None,
            said_full: false,
        }
    }

    /// Queues a command; whether the thread was idle and has to start.
    pub fn push(&mut self, command: StorageCommand) -> bool {
        self.queue.push_back(command);
        self.batch.is_empty()
    }

    /// Takes all that is queued; `false` if there is nothing.
    pub fn start(&mut self) -> bool {
        assert!(self.batch.is_empty(), "one batch at a time");
        self.batch.extend(self.queue.drain(..));
        !self.batch.is_empty()
    }

    /// Whether a batch is being carried out.
    pub fn is_busy(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether the batch does more than append.
    pub fn changes(&self) -> bool {
        let plain = |command: &StorageCommand| {
            matches!(command, StorageCommand::Append(_) | StorageCommand::Roll)
        };
        !self.batch.iter().all(plain)
    }

    /// Whether there is room for the batch; while there is not, it waits.
    pub fn has_room(&self) -> bool {
        let len = |command: &StorageCommand| match command {
            StorageCommand::Append(segment) => segment.bytes_len() as u64,
            StorageCommand::InstallBytes(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let needed = RESERVE + 2 * self.batch.iter().map(len).sum::<u64>();
        self.store.free_space().is_ok_and(|free| free.log_dir >= needed)
    }

    /// Carries the batch out.
    ///
    /// # Errors
    /// The store's; the process has to end.
    pub fn finish(&mut self) -> Result<Vec<Done>, StoreError> {
        let mut done = Vec::new();
        while let Some(command) = self.batch.pop_front() {
            if let StorageCommand::Append(segment) = command {
                let writer = self.writer.as_mut().expect("a log is open when it is appended to");
                for (zxid, txn) in segment.records() {
                    writer.append(zxid, txn)?;
                }
                self.unsynced = Some(segment.last_zxid());
            } else {
                self.flush(&mut done)?;
                self.single(command, &mut done)?;
            }
        }
        self.flush(&mut done)?;
        Ok(done)
    }

    fn flush(&mut self, done: &mut Vec<Done>) -> Result<(), StoreError> {
        if let Some(zxid) = self.unsynced.take() {
            self.writer.as_mut().expect("what is unsynced was written").flush()?;
            done.push(Done::Report(StorageReport::Durable(zxid)));
        }
        Ok(())
    }

    fn single(&mut self, command: StorageCommand, done: &mut Vec<Done>) -> Result<(), StoreError> {
        match command {
            StorageCommand::Append(_) => unreachable!("transactions are appended together"),
            StorageCommand::Roll => {
                self.writer.as_mut().expect("a log is open when it is rolled").roll()?;
            }
            StorageCommand::WriteEpoch { kind, epoch } => {
                let file = match kind {
                    EpochKind::Accepted => EpochFile::Accepted,
                    EpochKind::Current => EpochFile::Current,
                };
                self.store.set_epoch(file, epoch)?;
                done.push(Done::Report(StorageReport::EpochWritten(kind)));
            }
            StorageCommand::WriteMembership { membership, last_seen } => {
                let text = membership.to_string();
                self.write_membership(last_seen, &text).map_err(|source| StoreError::Io {
                    action: "write",
                    path: membership_path(last_seen),
                    source,
                })?;
                done.push(Done::Report(StorageReport::MembershipWritten));
            }
            StorageCommand::Truncate(zxid) => {
                self.close_log()?;
                match self.store.truncate(zxid) {
                    Ok(()) => self.reload(done)?,
                    Err(error) if error.is_refusal() => {
                        self.writer = Some(self.store.log_writer());
                        done.push(Done::Report(StorageReport::Refused));
                    }
                    Err(error) => return Err(error),
                }
            }
            StorageCommand::BeginInstall(zxid) => {
                self.close_log()?;
                self.install = Some(self.store.begin_install(zxid)?);
            }
            StorageCommand::InstallBytes(bytes) => {
                self.install.as_mut().expect("its bytes follow its beginning").write(&bytes)?;
            }
            StorageCommand::EndInstall => self.end_install(done)?,
            StorageCommand::Settle => {
                if let Some(install) = self.install.take() {
                    install.commit(self.writer.as_mut().expect("the staged log is open"))?;
                }
                done.push(Done::Report(StorageReport::Settled));
            }
            StorageCommand::AbortInstall => {
                self.writer = None;
                self.install = None;
                self.reload(done)?;
            }
        }
        Ok(())
    }

    fn write_membership(&self, last_seen: bool, text: &str) -> std::io::Result<()> {
        let path = membership_path(last_seen);
        let next = path.with_extension("tmp");
        let file = self.disk.create(&next)?;
        file.write_at(0, text.as_bytes())?;
        file.sync_all()?;
        self.disk.rename(&next, &path)?;
        self.disk.sync_dir(Path::new(DATA_DIR))
    }

    fn close_log(&mut self) -> Result<(), StoreError> {
        match self.writer.take() {
            Some(writer) => writer.close(),
            None => Ok(()),
        }
    }

    fn reload(&mut self, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let mut sink = TreeRecovery::default();
        let last_zxid = self.store.recover(&mut sink)?.last_zxid;
        let history = sink.history.clone();
        done.push(Done::Tree(Box::new(sink.finish(false))));
        self.writer = Some(self.store.log_writer());
        done.push(Done::Report(StorageReport::Reloaded { last_zxid, history }));
        Ok(())
    }

    fn end_install(&mut self, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let install = self.install.as_mut().expect("its end follows its beginning");
        let mut sink = TreeRecovery::default();
        install.finish_snapshot(None)?;
        match install.load(&mut sink) {
            Ok(_) => {}
            Err(error) if error.is_refusal() => {
                done.push(Done::Report(StorageReport::Refused));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let (writer, last_zxid) = (install.log_writer(), install.zxid());
        let history = sink.history.clone();
        done.push(Done::Tree(Box::new(sink.finish(false))));
        self.writer = Some(writer);
        done.push(Done::Report(StorageReport::Reloaded { last_zxid, history }));
        Ok(())
    }
}
