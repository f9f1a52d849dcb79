//! The storage thread of a member: carries out [`StorageCommand`]s strictly in order. Transactions
//! that gather while one sync runs are made durable together; everything else waits for them.
//!
//! What changes the history replaces the tree as well: a cut log is read anew, a leader's snapshot
//! is staged, loaded, and only put in the place of the old history when the member has all of it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::RwLock;
use rookeeper_jute::Zxid;
use rookeeper_replica::{Segment, Shared, StorageCommand, StorageReport};
use rookeeper_store::{EpochFile, Install, LogWriter, Store, StoreError};
use rookeeper_tree::TreeConfig;
use rookeeper_zab::EpochKind;

use super::membership_files::MembershipFiles;
use super::recovery::MemberRecovery;
use crate::commands::{self, CommandQueue, FlushPolicy, bytes_len};
use crate::measures::Measures;
use crate::room::{self, Room};
use crate::snapshots::SnapshotSender;

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Storage(StorageCommand),
    /// Carry out what is queued and end.
    Close,
}

impl Command {
    fn len(&self) -> usize {
        match self {
            Command::Storage(StorageCommand::Append(segment)) => segment.bytes_len(),
            Command::Storage(StorageCommand::InstallBytes(bytes)) => bytes.len(),
            Command::Storage(_) | Command::Close => 0,
        }
    }
}

impl commands::Command for Command {
    fn records_len(&self) -> usize {
        match self {
            Command::Storage(StorageCommand::Append(segment)) => segment.len(),
            Command::Storage(_) | Command::Close => 0,
        }
    }

    fn bytes_len(&self) -> u64 {
        self.len() as u64
    }

    /// Only transactions gather.
    fn is_urgent(&self) -> bool {
        !matches!(self, Command::Storage(StorageCommand::Append(_)))
    }

    fn is_end(&self) -> bool {
        matches!(self, Command::Close)
    }
}

/// Bytes that may wait for the disk before no more is read from a leader: its snapshot comes faster
/// over a network than it goes to a disk.
const WAITING_LEN_MAX: usize = 32 << 20;

/// The sending side of the thread's queue.
#[derive(Debug, Clone)]
pub(crate) struct StorageSender {
    queue: Arc<CommandQueue<Command>>,
    /// Bytes in the queue, and in the thread's hands.
    waiting: Arc<AtomicUsize>,
}

impl StorageSender {
    /// Queues a command.
    pub(crate) fn send(&self, command: StorageCommand) {
        let command = Command::Storage(command);
        self.waiting.fetch_add(command.len(), Ordering::Relaxed);
        self.queue.send(command);
    }

    /// Whether so much waits that no more should be taken from a leader.
    pub(crate) fn is_congested(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > WAITING_LEN_MAX
    }

    /// Ends the thread after what is queued.
    pub(crate) fn close(&self) {
        self.queue.send(Command::Close);
    }
}

/// What the thread is made from.
pub(crate) struct StorageParts {
    pub(crate) store: Arc<Store>,
    /// `None` where a leader's snapshot has to come first.
    pub(crate) writer: Option<LogWriter>,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) tree: TreeConfig,
    pub(crate) files: MembershipFiles,
    pub(crate) snapshots: SnapshotSender,
    pub(crate) policy: FlushPolicy,
    pub(crate) measures: Arc<Measures>,
}

/// What the thread says; a failure with its cause, which ends the process.
pub(crate) enum Said {
    Report(StorageReport),
    Failed(StorageError),
}

/// Why storage cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A configuration cannot be written down.
    #[error("the dynamic configuration cannot be written: {0}")]
    Membership(#[source] io::Error),
}

/// Starts the thread.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    parts: StorageParts,
    say: impl FnMut(Said) + Send + 'static,
) -> io::Result<(StorageSender, JoinHandle<()>)> {
    let queue = Arc::new(CommandQueue::default());
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = StorageSender { queue: Arc::clone(&queue), waiting: Arc::clone(&waiting) };
    let store = Arc::downgrade(&parts.store);
    let free = move || {
        let space = store.upgrade()?.free_space();
        let space =
            space.inspect_err(|error| tracing::warn!(%error, "the free space is not known"));
        space.ok().map(|space| space.log_dir.min(space.snapshot_dir))
    };
    let room = Room::new(free);
    let thread = thread::Builder::new().name("rookeeper-disk".into()).spawn(move || {
        let log = Log { writer: parts.writer, install: None, unsynced: None };
        StorageThread {
            log,
            store: parts.store,
            shared: parts.shared,
            tree: parts.tree,
            files: parts.files,
            snapshots: parts.snapshots,
            policy: parts.policy,
            measures: parts.measures,
            queue,
            waiting,
            room,
            say,
        }
        .run();
    })?;
    Ok((sender, thread))
}

/// The log that is written, which may be a staged one.
struct Log {
    /// `None` only while the history changes.
    writer: Option<LogWriter>,
    install: Option<Install>,
    /// The last transaction that was written and not flushed, and how many there are.
    unsynced: Option<(Zxid, usize)>,
}

impl Log {
    fn writer(&mut self) -> &mut LogWriter {
        self.writer.as_mut().expect("nothing is appended while the history changes")
    }
}

struct StorageThread<S, F> {
    log: Log,
    store: Arc<Store>,
    shared: Arc<RwLock<Shared>>,
    tree: TreeConfig,
    files: MembershipFiles,
    snapshots: SnapshotSender,
    policy: FlushPolicy,
    measures: Arc<Measures>,
    queue: Arc<CommandQueue<Command>>,
    waiting: Arc<AtomicUsize>,
    room: Room<S>,
    say: F,
}

impl<S: Fn() -> Option<u64>, F: FnMut(Said)> StorageThread<S, F> {
    fn run(mut self) {
        let mut batch = VecDeque::new();
        loop {
            self.queue.take(&mut batch, &self.policy);
            if !self.wait_for_room(&mut batch) {
                break;
            }
            match self.carry_out(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    (self.say)(Said::Failed(error));
                    return;
                }
            }
        }
        // A history that is not whole is not put in place; the next start has the old one.
        drop(self.log.install.take());
        if let Some(writer) = self.log.writer.take()
            && let Err(error) = writer.close()
        {
            tracing::error!(%error, "the log's tail could not be truncated at the stop");
        }
    }

    fn report(&mut self, report: StorageReport) {
        (self.say)(Said::Report(report));
    }

    /// Waits while the disk is full; `false` when the thread is to end before there is room.
    fn wait_for_room(&mut self, batch: &mut VecDeque<Command>) -> bool {
        let mut waited = false;
        while !self.room.is_enough_for(bytes_len(batch)) {
            if !waited {
                let reserve = self.room.reserve();
                tracing::error!(
                    reserve,
                    "the disk is full: nothing is written until there is room"
                );
                self.report(StorageReport::Full);
            }
            waited = true;
            self.queue.take_more(batch, room::POLL_INTERVAL);
            if batch.iter().any(commands::Command::is_end) {
                return false;
            }
        }
        if waited {
            self.report(StorageReport::Room);
        }
        true
    }

    /// Carries out a batch; `false` once the thread is to end.
    fn carry_out(&mut self, batch: &mut VecDeque<Command>) -> Result<bool, StorageError> {
        for command in batch.drain(..) {
            self.waiting.fetch_sub(command.len(), Ordering::Relaxed);
            match command {
                Command::Storage(StorageCommand::Append(segment)) => self.append(&segment)?,
                Command::Storage(command) => {
                    self.flush()?;
                    self.single(command)?;
                }
                Command::Close => {
                    self.flush()?;
                    return Ok(false);
                }
            }
        }
        self.flush()?;
        Ok(true)
    }

    fn append(&mut self, segment: &Arc<Segment>) -> Result<(), StoreError> {
        let writer = self.log.writer();
        for (zxid, txn) in segment.records() {
            writer.append(zxid, txn)?;
        }
        let len = self.log.unsynced.map_or(0, |(_, len)| len) + segment.len();
        self.log.unsynced = Some((segment.last_zxid(), len));
        Ok(())
    }

    /// Makes what is written durable.
    fn flush(&mut self) -> Result<(), StoreError> {
        let Some((zxid, len)) = self.log.unsynced.take() else { return Ok(()) };
        let start = Instant::now();
        self.log.writer().flush()?;
        let took = start.elapsed();
        self.measures.flushed(took, len);
        if took > self.policy.warning_threshold {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(took_ms, "syncing the log took long, which delays every write");
        }
        self.report(StorageReport::Durable(zxid));
        Ok(())
    }

    fn single(&mut self, command: StorageCommand) -> Result<(), StorageError> {
        match command {
            StorageCommand::Append(_) => unreachable!("transactions are appended together"),
            StorageCommand::Roll => {
                self.log.writer().roll()?;
                self.snapshots.prepare();
            }
            StorageCommand::WriteEpoch { kind, epoch } => {
                let file = match kind {
                    EpochKind::Accepted => EpochFile::Accepted,
                    EpochKind::Current => EpochFile::Current,
                };
                self.store.set_epoch(file, epoch)?;
                self.report(StorageReport::EpochWritten(kind));
            }
            StorageCommand::WriteMembership { membership, last_seen } => {
                let written = self.files.write(&membership, last_seen);
                written.map_err(StorageError::Membership)?;
                self.report(StorageReport::MembershipWritten);
            }
            StorageCommand::Truncate(zxid) => {
                tracing::warn!(%zxid, "what the leader never committed is cut off");
                self.close_log()?;
                match self.store.truncate(zxid) {
                    Ok(()) => self.reload()?,
                    Err(error) if error.is_refusal() => {
                        self.refuse(&error);
                        self.log.writer = Some(self.store.log_writer());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            StorageCommand::BeginInstall(zxid) => {
                tracing::info!(%zxid, "receiving a snapshot from the leader");
                self.close_log()?;
                self.log.install = Some(self.store.begin_install(zxid)?);
            }
            StorageCommand::InstallBytes(bytes) => self.install().write(&bytes)?,
            StorageCommand::EndInstall => self.end_install()?,
            StorageCommand::Settle => {
                if let Some(install) = self.log.install.take() {
                    install.commit(self.log.writer())?;
                    tracing::info!("the leader's snapshot is in place");
                }
                self.report(StorageReport::Settled);
            }
            StorageCommand::AbortInstall => {
                drop(self.log.writer.take());
                drop(self.log.install.take());
                self.reload()?;
            }
        }
        Ok(())
    }

    fn install(&mut self) -> &mut Install {
        self.log.install.as_mut().expect("a snapshot's bytes follow its beginning")
    }

    /// Ends the present log, so that the history can change, and the snapshot that is being
    /// written, for its tree goes.
    fn close_log(&mut self) -> Result<(), StoreError> {
        self.snapshots.give_up();
        match self.log.writer.take() {
            Some(writer) => writer.close(),
            None => Ok(()),
        }
    }

    /// Reads the history from disk anew and puts its tree in place.
    fn reload(&mut self) -> Result<(), StoreError> {
        let mut recovery = MemberRecovery::new(self.tree);
        let recovered = self.store.recover(&mut recovery)?;
        for repair in &recovered.repairs {
            tracing::warn!("{repair}");
        }
        let (tree, history) = recovery.finish();
        let last_zxid = recovered.last_zxid;
        self.snapshots.give_up();
        self.shared.write().replace_tree(tree);
        self.log.writer = Some(self.store.log_writer());
        self.report(StorageReport::Reloaded { last_zxid, history });
        Ok(())
    }

    /// What the leader wants cannot be done; what is here stays.
    fn refuse(&mut self, error: &StoreError) {
        tracing::error!(%error, "the leader's history cannot be taken over in this way");
        self.report(StorageReport::Refused);
    }

    /// Loads the staged snapshot; its log follows. What is no snapshot is refused, and given up by
    /// the `AbortInstall` that follows.
    fn end_install(&mut self) -> Result<(), StoreError> {
        let mut recovery = MemberRecovery::new(self.tree);
        let install = self.install();
        install.finish_snapshot(None)?;
        match install.load(&mut recovery) {
            Ok(_) => {}
            Err(error) if error.is_refusal() => {
                self.refuse(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let install = self.install();
        let (writer, last_zxid) = (install.log_writer(), install.zxid());
        let (tree, history) = recovery.finish();
        self.snapshots.give_up();
        self.shared.write().replace_tree(tree);
        self.log.writer = Some(writer);
        self.report(StorageReport::Reloaded { last_zxid, history });
        Ok(())
    }
}
