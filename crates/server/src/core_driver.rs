//! Drives the [`Core`]: brings it its inputs, carries out its effects, and gives it the write lock
//! in slices. It runs on a thread of its own, or inline on the one I/O thread of a small machine.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use parking_lot::RwLock;
use rookeeper_replica::{
    ApplyProgress, Core, CoreEffect, CoreInput, Replica, Shared, StorageCommand, StorageReport,
};

use crate::clock::Clock;
use crate::disk::DiskSender;
use crate::fate::Fate;
use crate::io::{IoMessage, ShardPort};
use crate::mailbox::Mailbox;
use crate::outlets::Outlets;

/// What the core's thread is told by other threads.
pub(crate) enum CoreMessage {
    /// An input for the core.
    Input(CoreInput),
    /// The disk thread's report.
    Storage(StorageReport),
    /// The disk thread writes what had gathered, and what waited for that may go.
    Taken,
    /// A question to the core.
    Inspect(Box<dyn FnOnce(&Core) + Send>),
    /// A question to a member of an ensemble.
    InspectMember(Box<dyn FnOnce(&Replica) + Send>),
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
    pub(crate) outlets: Outlets,
    pub(crate) fate: Arc<Fate>,
    pub(crate) effects: Vec<CoreEffect>,
    /// Whether something durable waits to be applied.
    pub(crate) apply_wanted: bool,
}

impl CoreDriver {
    /// Handles one message.
    pub(crate) fn message(&mut self, message: CoreMessage) -> Flow {
        match message {
            CoreMessage::Input(input) => self.input(input),
            CoreMessage::Storage(report) => self.stored(report),
            CoreMessage::Taken => unreachable!("a server that stands alone has nobody to send to"),
            CoreMessage::Inspect(question) => question(&self.core),
            // Dropped unanswered: there is no member.
            CoreMessage::InspectMember(_) => {}
            CoreMessage::Stop => return Flow::Stop,
        }
        Flow::Continue
    }

    fn stored(&mut self, report: StorageReport) {
        match report {
            StorageReport::Durable(zxid) => self.input(CoreInput::Durable(zxid)),
            StorageReport::Failed => self.input(CoreInput::DiskFailed),
            // What is queued waits for room at the disk thread.
            StorageReport::Full | StorageReport::Room => {}
            // Nobody is given its history.
            StorageReport::LogsFrom(_) => {}
            StorageReport::EpochWritten(_)
            | StorageReport::MembershipWritten
            | StorageReport::Reloaded { .. }
            | StorageReport::Refused
            | StorageReport::Settled => {
                unreachable!("a server that stands alone has its log written and nothing else")
            }
        }
    }

    /// Steps the core with one input.
    pub(crate) fn input(&mut self, input: CoreInput) {
        let shared = Arc::clone(&self.shared);
        let shared = shared.read();
        self.core.step(self.clock.now(), input, &shared, &mut self.effects);
        // Under the lock still: deliveries are queued before anybody can read what they tell.
        self.carry();
        drop(shared);
        self.outlets.wake();
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
        self.outlets.wake();
        self.apply_wanted
    }

    fn carry(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                CoreEffect::Append(segment) => self.disk.send(StorageCommand::Append(segment)),
                CoreEffect::Roll => self.disk.send(StorageCommand::Roll),
                CoreEffect::Apply => self.apply_wanted = true,
                CoreEffect::Halted(reason) => self.fate.halted(reason),
                other => self.outlets.carry(other),
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
