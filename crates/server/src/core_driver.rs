//! Drives the [`Core`]: brings it its inputs, carries out its effects, and gives it the write lock
//! in slices. It runs on a thread of its own, or inline on the one I/O thread of a small machine.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use parking_lot::RwLock;
use rookeeper_replica::{ApplyProgress, Core, CoreEffect, CoreInput, Shared};

use crate::clock::Clock;
use crate::disk::{DiskReport, DiskSender};
use crate::fate::Fate;
use crate::io::{IoMessage, ShardPort};
use crate::log_budget::LogBudget;
use crate::mailbox::Mailbox;
use crate::snapshots::SnapshotSender;

/// Expired sessions that are named in the log, of one tick.
const SESSIONS_NAMED_MAX: usize = 20;

/// What the core's thread is told by other threads.
pub(crate) enum CoreMessage {
    /// An input for the core.
    Input(CoreInput),
    /// The log thread's report.
    Disk(DiskReport),
    /// A question to the core, or a change of its counters.
    Inspect(Box<dyn FnOnce(&mut Core) + Send>),
    /// End the thread.
    Stop,
}

/// Whether the core's driver goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It waits for messages.
    Continue,
    /// It was told to end.
    Stop,
}

/// How messages reach the core, wherever it runs.
#[derive(Clone)]
pub(crate) enum CorePort {
    /// A thread of its own.
    Own(Arc<Mailbox<CoreMessage>>),
    /// The I/O thread behind this port.
    Inline(Arc<ShardPort>),
}

impl CorePort {
    /// Sends a message.
    pub(crate) fn send(&self, message: CoreMessage) {
        match self {
            CorePort::Own(mailbox) => mailbox.send(message),
            CorePort::Inline(port) => port.messages.send(IoMessage::Core(message)),
        }
    }
}

/// The core with everything that its effects go to.
pub(crate) struct CoreDriver {
    pub(crate) core: Core,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) clock: Clock,
    pub(crate) disk: DiskSender,
    pub(crate) shards: Vec<Arc<ShardPort>>,
    pub(crate) snapshots: SnapshotSender,
    pub(crate) fate: Arc<Fate>,
    pub(crate) effects: Vec<CoreEffect>,
    /// Threads to wake once the lock is released.
    pub(crate) wakers: Vec<Waker>,
    /// Whether something durable waits to be applied.
    pub(crate) apply_wanted: bool,
    pub(crate) quota_log: LogBudget,
}

impl CoreDriver {
    /// Handles one message.
    pub(crate) fn message(&mut self, message: CoreMessage) -> Flow {
        match message {
            CoreMessage::Input(input) => self.input(input),
            CoreMessage::Disk(DiskReport::Durable(zxid)) => self.input(CoreInput::Durable(zxid)),
            CoreMessage::Disk(DiskReport::Failed(error)) => {
                self.fate.log_failed(&error);
                self.input(CoreInput::DiskFailed);
            }
            CoreMessage::Inspect(question) => question(&mut self.core),
            CoreMessage::Stop => return Flow::Stop,
        }
        Flow::Continue
    }

    /// Steps the core with one input.
    pub(crate) fn input(&mut self, input: CoreInput) {
        let shared = Arc::clone(&self.shared);
        let shared = shared.read();
        self.core.step(self.clock.now(), input, &shared, &mut self.effects);
        // Under the lock still: deliveries are queued before anybody can read what they tell.
        self.carry();
        drop(shared);
        self.wake();
    }

    /// Applies one slice of what is durable, if there is any; says whether there is more.
    pub(crate) fn apply_slice(&mut self) -> bool {
        if !self.apply_wanted {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let mut shared = shared.write();
        let progress = self.core.apply(self.clock.now(), &mut shared, &mut self.effects);
        self.apply_wanted = progress == ApplyProgress::More;
        self.carry();
        drop(shared);
        self.wake();
        self.apply_wanted
    }

    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    fn carry(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                CoreEffect::Append(segment) => self.disk.append(segment),
                CoreEffect::Roll => self.disk.roll(),
                CoreEffect::Apply => self.apply_wanted = true,
                CoreEffect::Deliver(batch) => {
                    let port = &self.shards[batch.shard().index()];
                    self.wakers.extend(port.deliveries.push(batch));
                }
                CoreEffect::Wake(shard) => {
                    let port = &self.shards[shard.index()];
                    self.wakers.extend(port.messages.push(IoMessage::Wake));
                }
                CoreEffect::BeginSnapshot => self.snapshots.begin(),
                CoreEffect::SessionsExpired(sessions) => {
                    for session in sessions.iter().take(SESSIONS_NAMED_MAX) {
                        tracing::info!(%session, "session expired");
                    }
                    if sessions.len() > SESSIONS_NAMED_MAX {
                        let more = sessions.len() - SESSIONS_NAMED_MAX;
                        tracing::info!(more, "more sessions expired in this tick");
                    }
                }
                CoreEffect::QuotaExceeded(exceeded) => {
                    if let Some(untold) = self.quota_log.take(self.clock.now().monotonic_ms()) {
                        tracing::warn!(untold, "{exceeded}");
                    }
                }
                CoreEffect::DigestMismatch(zxid) => {
                    tracing::error!(%zxid, "the tree's digest is not that of the transaction");
                }
                CoreEffect::Halted(reason) => self.fate.halted(reason),
                CoreEffect::Forward(_)
                | CoreEffect::Revalidate { .. }
                | CoreEffect::Touches(_)
                | CoreEffect::SyncWanted { .. }
                | CoreEffect::Revalidated { .. }
                | CoreEffect::Reconfigured { .. }
                | CoreEffect::EpochExhausted
                | CoreEffect::ProposalUnreadable(_)
                | CoreEffect::Retired { .. } => {
                    unreachable!("a core that stands alone asks nothing of peers")
                }
            }
        }
    }
}

struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Starts the thread of the core.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    mut driver: CoreDriver,
    mailbox: Arc<Mailbox<CoreMessage>>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("rookeeper-core".into()).spawn(move || {
        let waker: Waker = Arc::new(ThreadWaker(thread::current())).into();
        let mut messages = Vec::new();
        loop {
            mailbox.take(&mut messages, &waker);
            let idle = messages.is_empty();
            for message in messages.drain(..) {
                if driver.message(message) == Flow::Stop {
                    return;
                }
            }
            if !driver.apply_slice() && idle {
                thread::park();
            }
        }
    })
}
