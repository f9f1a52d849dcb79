//! The snapshot thread: takes the tree's bytes in slices under the write lock, writes them on its
//! own time, and purges what later snapshots have made superfluous.
//!
//! A slice is short, and pauses keep a snapshot at a rate that leaves processor and disk to the
//! service.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rookeeper_archive::Sections;
use rookeeper_archive::snapshot::znodes_of;
use rookeeper_jute::Zxid;
use rookeeper_replica::Shared;
use rookeeper_store::{Preparer, Store, StoreError};
use rookeeper_tree::{SnapshotProgress, SnapshotStart};

use crate::measures::Measures;

/// Bytes taken under one hold of the write lock: about 100 microseconds' worth.
const SLICE_BYTES: usize = 64 << 10;

/// Bytes written a second at most: a million small znodes take about three seconds.
const BYTES_A_SECOND: u64 = 64 << 20;

/// What is written, and when old files are removed (Java: `DatadirCleanupManager`).
#[derive(Debug, Clone)]
pub(crate) struct SnapshotPolicy {
    /// What follows the body of a snapshot.
    pub(crate) sections: Sections,
    /// Snapshots kept (`autopurge.snapRetainCount`).
    pub(crate) retain: usize,
    /// How often (`autopurge.purgeInterval`); `None` for never.
    pub(crate) interval: Option<Duration>,
}

enum Command {
    Begin,
    /// Take one as well, and say when that is done.
    BeginAndTell(SyncSender<()>),
    /// Give up the one that is being written, and say when none is.
    GiveUp(SyncSender<()>),
    Prepare,
    Stop,
}

/// Asks the thread for snapshots.
#[derive(Clone)]
pub(crate) struct SnapshotSender {
    commands: Sender<Command>,
}

impl SnapshotSender {
    /// Takes a snapshot of the tree as it is when the thread gets to it.
    pub(crate) fn begin(&self) {
        // A thread that has ended was told to: the server is stopping.
        let _ = self.commands.send(Command::Begin);
    }

    /// Takes a snapshot and waits until it is written, or was given up.
    pub(crate) fn take_and_wait(&self) {
        self.ask(Command::BeginAndTell);
    }

    /// Waits until no snapshot is being written; one that is, is given up.
    pub(crate) fn give_up(&self) {
        self.ask(Command::GiveUp);
    }

    fn ask(&self, command: impl FnOnce(SyncSender<()>) -> Command) {
        let (tell, told) = mpsc::sync_channel(1);
        if self.commands.send(command(tell)).is_ok() {
            // A thread that ends without an answer writes no snapshot either.
            let _ = told.recv();
        }
    }

    /// Makes the next log's file, ahead of its need.
    pub(crate) fn prepare(&self) {
        let _ = self.commands.send(Command::Prepare);
    }

    /// Ends the thread; a snapshot that is being written is given up.
    pub(crate) fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

/// The commands' other end, kept until the thread starts.
pub(crate) struct SnapshotCommands(Receiver<Command>);

/// A sender for a thread that does not run yet.
pub(crate) fn channel() -> (SnapshotSender, SnapshotCommands) {
    let (commands, receiver) = mpsc::channel();
    (SnapshotSender { commands }, SnapshotCommands(receiver))
}

/// What the thread has done.
pub(crate) enum Told {
    /// A snapshot is finished or given up, or failed for this reason.
    Ended(Option<StoreError>),
    /// Logs before the one that begins with this transaction are removed.
    LogsFrom(Zxid),
}

/// Starts the thread. `tell` is called on it.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    commands: SnapshotCommands,
    store: Arc<Store>,
    preparer: Preparer,
    shared: Arc<RwLock<Shared>>,
    policy: SnapshotPolicy,
    measures: Arc<Measures>,
    tell: impl FnMut(Told) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (commands, waiting) = (commands.0, Vec::new());
    let thread =
        SnapshotThread { commands, store, preparer, shared, policy, measures, tell, waiting };
    thread::Builder::new().name("rookeeper-snap".into()).spawn(move || thread.run())
}

struct SnapshotThread<F> {
    commands: Receiver<Command>,
    store: Arc<Store>,
    preparer: Preparer,
    shared: Arc<RwLock<Shared>>,
    policy: SnapshotPolicy,
    measures: Arc<Measures>,
    tell: F,
    /// Who waits for the snapshot that is being written.
    waiting: Vec<SyncSender<()>>,
}

/// Why no snapshot was written.
enum Failure {
    Stopped,
    /// Somebody is to be told.
    GivenUp(SyncSender<()>),
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

impl<F: FnMut(Told)> SnapshotThread<F> {
    fn run(mut self) {
        let mut purge_at = Instant::now();
        loop {
            let command = match self.policy.interval {
                None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => {
                    self.commands.recv_timeout(purge_at.saturating_duration_since(Instant::now()))
                }
            };
            match command {
                Ok(Command::Begin) => {
                    if !self.take_one() {
                        return;
                    }
                }
                Ok(Command::BeginAndTell(tell)) => {
                    if !self.take_one() {
                        return;
                    }
                    tell_now(&tell);
                }
                Ok(Command::GiveUp(tell)) => tell_now(&tell),
                Ok(Command::Prepare) => self.prepare(),
                Err(RecvTimeoutError::Timeout) => {
                    self.purge();
                    purge_at = Instant::now() + self.policy.interval.unwrap_or_default();
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes a snapshot; `false` when the thread is to end.
    fn take_one(&mut self) -> bool {
        let mut failure = None;
        match self.take() {
            Ok(()) => {}
            Err(Failure::Stopped) => return false,
            Err(Failure::GivenUp(tell)) => {
                tracing::info!("a snapshot is given up: the tree is being replaced");
                self.waiting.push(tell);
            }
            Err(Failure::Store(StoreError::Superseded { .. })) => {
                tracing::info!("a snapshot is given up: the tree was replaced");
            }
            Err(Failure::Store(error)) => failure = Some(error),
        }
        (self.tell)(Told::Ended(failure));
        for tell in self.waiting.drain(..) {
            tell_now(&tell);
        }
        true
    }

    fn take(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let (start, znodes) = {
            let mut shared = self.shared.write();
            (shared.tree.begin_snapshot(), znodes_of(&shared.tree))
        };
        let result = self.write(start, znodes);
        if !matches!(result, Err(Failure::Stopped)) {
            self.measures.snapshot(begun.elapsed(), result.is_ok());
        }
        match &result {
            Ok(len) => {
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(zxid = %start.zxid, bytes = len, took_ms, "snapshot written");
            }
            Err(_) => self.shared.write().tree.abort_snapshot(),
        }
        result.map(|_| ())
    }

    fn write(&mut self, start: SnapshotStart, znodes: u64) -> Result<u64, Failure> {
        let mut writer = self.store.snapshot_writer(start.zxid)?;
        writer.set_znodes(znodes);
        let mut slice = Vec::with_capacity(2 * SLICE_BYTES);
        let mut len = 0;
        loop {
            let begun = Instant::now();
            let progress = {
                let mut shared = self.shared.write();
                shared.tree.continue_snapshot(SLICE_BYTES, &mut slice)
            };
            let held = begun.elapsed();
            writer.write(&slice)?;
            let slice_len = slice.len() as u64;
            len += slice_len;
            slice.clear();
            if progress == SnapshotProgress::Finished {
                break;
            }
            let pace = Duration::from_micros(slice_len * 1_000_000 / BYTES_A_SECOND);
            let rest = pace.max(2 * held).saturating_sub(begun.elapsed());
            match self.commands.recv_timeout(rest) {
                // Another snapshot on top of this one would say the same.
                Ok(Command::Begin) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::BeginAndTell(tell)) => self.waiting.push(tell),
                Ok(Command::GiveUp(tell)) => return Err(Failure::GivenUp(tell)),
                Ok(Command::Prepare) => self.prepare(),
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Stopped);
                }
            }
        }
        self.policy.sections.finish(writer, start)?;
        Ok(len)
    }

    fn prepare(&self) {
        if let Err(error) = self.preparer.prepare() {
            tracing::warn!(%error, "the next log could not be prepared");
        }
    }

    fn purge(&mut self) {
        match self.store.purge(self.policy.retain) {
            Ok(purge) => {
                if !purge.files.is_empty() {
                    tracing::info!(files = purge.files.len(), "old snapshots and logs removed");
                }
                if let Some(first) = purge.logs_from {
                    (self.tell)(Told::LogsFrom(first));
                }
            }
            Err(error) => tracing::error!(%error, "old snapshots and logs could not be removed"),
        }
    }
}

/// Whoever waited may have given up.
fn tell_now(tell: &SyncSender<()>) {
    let _ = tell.try_send(());
}
