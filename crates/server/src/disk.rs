//! The disk thread: carries out storage commands strictly in order. It takes all transactions that
//! are queued, writes them at once, syncs once and says up to which zxid they are durable. While
//! one sync runs the next batch gathers, and waits a moment for those who wrote lately as long as
//! that pays (`flushDelay` and `maxBatchSize` are honoured where set).
//!
//! A full disk is refused before it is full: while less than a reserve is free, what is queued
//! waits unwritten and unacknowledged, and is written once there is room. Reads and four-letter
//! words go on meanwhile.
//!
//! A failed write or sync is final: what the kernel holds of the file cannot be trusted any more,
//! so nothing further is written and the process has to end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rookeeper_archive::{CommandError, Host, Storage};
use rookeeper_jute::SessionId;
use rookeeper_replica::{Shared, StorageCommand, StorageReport};
use rookeeper_store::{LogWriter, Repair, Store, StoreError};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::membership::Membership;

use crate::commands::{self, CommandQueue, FlushPolicy, Pace, bytes_len};
use crate::core_driver::CoreMessage;
use crate::ensemble::MembershipFiles;
use crate::fate::Fate;
use crate::measures::Measures;
use crate::process::Process;
use crate::processors::Processors;
use crate::recovery::Narrator;
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
        match self {
            Command::Storage(StorageCommand::Append(_) | StorageCommand::InstallBytes(_))
            | Command::Close => self.len() as u64,
            Command::Storage(_) => room::NEW_FILE_LEN,
        }
    }

    fn sessions(&self) -> impl Iterator<Item = SessionId> {
        let segment = match self {
            Command::Storage(StorageCommand::Append(segment)) => Some(segment),
            Command::Storage(_) | Command::Close => None,
        };
        segment.into_iter().flat_map(|segment| segment.records()).map(|(_, txn)| session_of(txn))
    }

    /// Only transactions, and what ends a file of them, wait for others to gather.
    fn is_urgent(&self) -> bool {
        !matches!(self, Command::Storage(StorageCommand::Append(_) | StorageCommand::Roll))
    }

    fn is_end(&self) -> bool {
        matches!(self, Command::Close)
    }
}

/// Whose transaction it is: its first field.
fn session_of(txn: &[u8]) -> SessionId {
    SessionId(txn.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)))
}

/// Bytes that may wait for the disk before no more is read from a leader: its snapshot comes faster
/// over a network than it goes to a disk.
const WAITING_LEN_MAX: usize = 32 << 20;

/// The sending side of the thread's queue. The core bounds what clients put into it: it admits
/// requests only within its limits on outstanding requests and bytes.
#[derive(Debug, Clone)]
pub(crate) struct DiskSender {
    queue: Arc<CommandQueue<Command>>,
    /// Bytes in the queue, and in the thread's hands.
    waiting: Arc<AtomicUsize>,
}

impl DiskSender {
    /// Queues a command.
    pub(crate) fn send(&self, command: StorageCommand) {
        self.queue.send(self.counted(command));
    }

    /// Queues transactions that others are to have with all that gather beside them. Says whether
    /// they wait for more; the thread says then when it has taken them ([`Said::Taken`]), unless a
    /// later call here says that all are there.
    pub(crate) fn send_together(&self, command: StorageCommand) -> bool {
        self.queue.send_together(self.counted(command))
    }

    fn counted(&self, command: StorageCommand) -> Command {
        let command = Command::Storage(command);
        self.waiting.fetch_add(command.len(), Ordering::Relaxed);
        command
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
pub(crate) struct DiskParts {
    pub(crate) store: Arc<Store>,
    /// `None` where a leader's snapshot has to come first.
    pub(crate) writer: Option<LogWriter>,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) tree: TreeConfig,
    /// `None` where a server stands alone.
    pub(crate) files: Option<MembershipFiles>,
    pub(crate) snapshots: SnapshotSender,
    pub(crate) policy: FlushPolicy,
    pub(crate) measures: Arc<Measures>,
    pub(crate) process: Arc<dyn Process>,
}

/// What the thread says.
pub(crate) enum Said {
    Report(StorageReport),
    /// What gathered is being written ([`DiskSender::send_together`]).
    Taken,
    /// The cause, which ends the process.
    Failed(CommandError),
}

impl Said {
    /// What the core is to know; a failure ends the server.
    pub(crate) fn message(self, fate: &Fate) -> CoreMessage {
        CoreMessage::Storage(match self {
            Said::Report(report) => report,
            Said::Taken => return CoreMessage::Taken,
            Said::Failed(error) => {
                fate.log_failed(&error);
                StorageReport::Failed
            }
        })
    }
}

/// Starts the thread.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    parts: DiskParts,
    say: impl FnMut(Said) + Send + 'static,
) -> io::Result<(DiskSender, JoinHandle<()>)> {
    let queue = Arc::new(CommandQueue::default());
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = DiskSender { queue: Arc::clone(&queue), waiting: Arc::clone(&waiting) };
    let store = Arc::downgrade(&parts.store);
    let is_member = parts.files.is_some();
    let free = move || {
        let space = store.upgrade()?.free_space();
        let space =
            space.inspect_err(|error| tracing::warn!(%error, "the free space is not known"));
        // Where nobody sends a snapshot, only the log has to have room.
        let least = |dir: u64| if is_member { dir } else { u64::MAX };
        space.ok().map(|space| space.log_dir.min(least(space.snapshot_dir)))
    };
    let room = Room::new(free);
    let thread = thread::Builder::new().name("rookeeper-disk".into()).spawn(move || {
        let DiskParts { store, writer, shared, tree, files, snapshots, policy, measures, process } =
            parts;
        let pace = Pace::new(Processors::new(process));
        let storage = Storage::new(store, writer, tree);
        let flush_begun = Instant::now();
        let warning_threshold = policy.warning_threshold;
        let host =
            ThreadHost { shared, files, snapshots, measures, warning_threshold, flush_begun, say };
        DiskThread { storage, host, policy, pace, queue, waiting, room }.run();
    })?;
    Ok((sender, thread))
}

/// What carrying out commands needs of the server.
struct ThreadHost<F> {
    shared: Arc<RwLock<Shared>>,
    files: Option<MembershipFiles>,
    snapshots: SnapshotSender,
    measures: Arc<Measures>,
    warning_threshold: Duration,
    flush_begun: Instant,
    say: F,
}

impl<F: FnMut(Said)> Host for ThreadHost<F> {
    type Witness = Narrator;

    fn witness(&self) -> Narrator {
        Narrator::new()
    }

    fn reloaded(&mut self, repairs: &[Repair], witness: Narrator) {
        witness.end(repairs);
    }

    fn report(&mut self, report: StorageReport) {
        (self.say)(Said::Report(report));
    }

    fn give_up_snapshot(&mut self) {
        self.snapshots.give_up();
    }

    fn replace_tree(&mut self, tree: Tree) {
        self.shared.write().replace_tree(tree);
    }

    fn write_membership(&mut self, membership: &Membership, last_seen: bool) -> io::Result<()> {
        let files = self.files.as_mut().expect("only a member has a configuration");
        files.write(membership, last_seen)
    }

    fn rolled(&mut self) {
        self.snapshots.prepare();
    }

    fn refused(&mut self, error: &StoreError) {
        tracing::error!(%error, "the leader's history cannot be taken over in this way");
    }

    fn flushing(&mut self) {
        self.flush_begun = Instant::now();
    }

    fn flushed(&mut self, txns: usize) {
        let took = self.flush_begun.elapsed();
        self.measures.flushed(took, txns);
        if took > self.warning_threshold {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(took_ms, "syncing the log took long, which delays every write");
        }
    }
}

struct DiskThread<S, F> {
    storage: Storage,
    host: ThreadHost<F>,
    policy: FlushPolicy,
    pace: Pace,
    queue: Arc<CommandQueue<Command>>,
    waiting: Arc<AtomicUsize>,
    room: Room<S>,
}

impl<S: Fn() -> Option<u64>, F: FnMut(Said)> DiskThread<S, F> {
    fn run(mut self) {
        let mut batch = VecDeque::new();
        loop {
            let is_awaited = self.queue.take(&mut batch, &self.policy, &mut self.pace);
            self.tell_taken(is_awaited);
            if !self.wait_for_room(&mut batch) {
                break;
            }
            match self.carry_out(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    (self.host.say)(Said::Failed(error));
                    return;
                }
            }
        }
        if let Err(error) = self.storage.close() {
            tracing::error!(%error, "the log's tail could not be truncated at the stop");
        }
    }

    /// Waits while the disk is full; `false` when the thread is to end before there is room. What
    /// was not written then was not acknowledged either.
    fn wait_for_room(&mut self, batch: &mut VecDeque<Command>) -> bool {
        let mut waited = false;
        while !self.room.is_enough_for(bytes_len(batch)) {
            if !waited {
                tracing::error!(
                    reserve = self.room.reserve(),
                    "the disk is full: nothing is written or acknowledged until there is room"
                );
                self.host.report(StorageReport::Full);
            }
            waited = true;
            let is_awaited = self.queue.take_more(batch, room::POLL_INTERVAL);
            self.tell_taken(is_awaited);
            if batch.iter().any(commands::Command::is_end) {
                return false;
            }
        }
        if waited {
            tracing::info!("there is room on the disk again");
            self.host.report(StorageReport::Room);
        }
        true
    }

    fn tell_taken(&mut self, is_awaited: bool) {
        if is_awaited {
            (self.host.say)(Said::Taken);
        }
    }

    /// Carries out a batch; `false` once the thread is to end.
    fn carry_out(&mut self, batch: &mut VecDeque<Command>) -> Result<bool, CommandError> {
        let mut goes_on = true;
        for command in batch.drain(..) {
            self.waiting.fetch_sub(command.len(), Ordering::Relaxed);
            match command {
                Command::Storage(command) => {
                    tell(&command);
                    self.storage.carry_out(command, &mut self.host)?;
                }
                Command::Close => {
                    goes_on = false;
                    break;
                }
            }
        }
        self.storage.flush(&mut self.host)?;
        Ok(goes_on)
    }
}

/// A change of history is worth a line.
fn tell(command: &StorageCommand) {
    match command {
        StorageCommand::Truncate(zxid) => {
            tracing::warn!(%zxid, "what the leader never committed is cut off");
        }
        StorageCommand::BeginInstall(zxid) => {
            tracing::info!(%zxid, "receiving a snapshot from the leader");
        }
        StorageCommand::EndInstall => tracing::info!("the leader's snapshot is complete"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc;

    use rookeeper_archive::{Sections, TreeRecovery, write_at_once};
    use rookeeper_jute::Zxid;
    use rookeeper_store::{SimulatedDisk, StoreConfig};
    use rookeeper_zab::{EpochKind, SegmentBuilder};

    use super::*;
    use crate::commands::{Command as _, tests::pace};

    #[test]
    fn an_epoch_is_not_written_on_a_disk_that_has_just_filled_up() {
        let free = Cell::new(1 << 30);
        let mut room = Room::new(|| Some(free.get()));
        assert!(room.is_enough_for(100));
        free.set(0);
        let epoch = StorageCommand::WriteEpoch { kind: EpochKind::Accepted, epoch: 1 };
        assert!(!room.is_enough_for(Command::Storage(epoch).bytes_len()));
    }

    const TREE: TreeConfig = TreeConfig {
        index_key: [1, 2],
        digest_enabled: true,
        extended_types_enabled: false,
        emulate_353_ttl_nodes: false,
    };

    /// A new database whose disk thread says what it says to `say`.
    fn thread<F: FnMut(Said)>(pace: Pace, say: F) -> DiskThread<fn() -> Option<u64>, F> {
        let disk = Arc::new(SimulatedDisk::new());
        let store = Store::open(disk, StoreConfig::new("/data")).unwrap();
        let mut recovery = TreeRecovery::new(TREE, Narrator::new());
        store.recover(&mut recovery).unwrap();
        let (mut tree, ..) = recovery.finish();
        let sections = Sections { digest: true, last_zxid: true };
        write_at_once(&store, &mut tree, sections).unwrap();
        let writer = store.log_writer();
        DiskThread {
            storage: Storage::new(Arc::new(store), Some(writer), TREE),
            host: ThreadHost {
                shared: Arc::new(RwLock::new(Shared::new(tree, 1))),
                files: None,
                snapshots: crate::snapshots::channel().0,
                measures: Arc::default(),
                warning_threshold: Duration::MAX,
                flush_begun: Instant::now(),
                say,
            },
            policy: FlushPolicy {
                flush_delay: Duration::ZERO,
                batch_len_max: usize::MAX,
                warning_threshold: Duration::MAX,
            },
            pace,
            queue: Arc::default(),
            waiting: Arc::default(),
            room: Room::new(|| Some(u64::MAX)),
        }
    }

    /// Transactions of so many sessions, from this number on.
    fn append(first: i64, sessions: i64) -> StorageCommand {
        let mut builder = SegmentBuilder::default();
        for session in 0..sessions {
            builder.push(Zxid(first + session), &session.to_be_bytes());
        }
        StorageCommand::Append(builder.freeze())
    }

    #[test]
    fn who_waits_for_a_batch_is_told_when_it_is_taken_and_before_it_is_durable() {
        let (say, said) = mpsc::channel();
        let thread = thread(pace(Duration::from_millis(1)), move |what| say.send(what).unwrap());
        let (queue, waiting) = (Arc::clone(&thread.queue), Arc::clone(&thread.waiting));
        let sender = DiskSender { queue, waiting };
        let runs = thread::spawn(move || thread.run());
        let next = || said.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(!sender.send_together(append(1, 20)), "nothing is known of writers yet");
        assert!(matches!(next(), Said::Report(StorageReport::Durable(Zxid(20)))));
        assert!(sender.send_together(append(21, 5)), "20 wrote lately");
        assert!(matches!(next(), Said::Taken));
        assert!(matches!(next(), Said::Report(StorageReport::Durable(Zxid(25)))));
        sender.close();
        runs.join().unwrap();
        assert!(said.recv().is_err(), "nothing else is said");
    }
}
