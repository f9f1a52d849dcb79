//! The core's thread in an ensemble: its event loop and the task that keeps order and time.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::task::LocalSet;
use tokio::time::Sleep;

use super::client_port::{ClientPort, ClientPortParts};
use super::driver::{Driver, DriverParts};
use super::history::HistorySource;
use super::ports::Ports;
use super::sockets::{SocketRules, Sockets};
use crate::clock::Clock;
use crate::config::PeerLinksConfig;
use crate::core_driver::{CoreMessage, Flow};
use crate::mailbox::Mailbox;

/// Turns between two looks at the sockets, where there is always something to do.
const TURNS_BETWEEN_POLLS: u32 = 2;

/// What the thread is made from, the machine aside.
pub(crate) struct PeerParts {
    pub(crate) me: rookeeper_jute::ServerId,
    pub(crate) links: PeerLinksConfig,
    /// `observerMasterPort`.
    pub(crate) observers: Option<u16>,
    pub(crate) rules: SocketRules,
    pub(crate) source: HistorySource,
    pub(crate) client_port: ClientPortParts,
}

/// Starts the thread.
///
/// # Errors
/// Where the system has no thread or event queue left.
pub(crate) fn start(
    make: impl FnOnce() -> DriverParts + Send + 'static,
    peers: PeerParts,
    mailbox: Arc<Mailbox<CoreMessage>>,
    clock: Clock,
) -> io::Result<JoinHandle<()>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().event_interval(TURNS_BETWEEN_POLLS).build()?;
    std::thread::Builder::new().name("rookeeper-core".into()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let sockets = Rc::new(Sockets::new(peers.rules, peers.source));
            let ports = Ports::new(peers.me, peers.links, peers.observers);
            let driver = Driver::new(make(), sockets, ports, ClientPort::new(peers.client_port));
            driver.begin();
            Main::new(Rc::clone(&driver), mailbox, clock).run().await;
            driver.sockets.close_all();
        });
        drop(local);
        // A name that is being looked up must not hold up the end.
        runtime.shutdown_background();
    })
}

struct Main {
    driver: Rc<Driver>,
    mailbox: Arc<Mailbox<CoreMessage>>,
    clock: Clock,
    messages: Vec<CoreMessage>,
    /// When to call the machine, in milliseconds of the monotonic clock.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
    /// When it was called last.
    called_ms: u64,
    /// Whether the last turn left what was to be applied to this one.
    deferred: bool,
}

impl Main {
    fn new(driver: Rc<Driver>, mailbox: Arc<Mailbox<CoreMessage>>, clock: Clock) -> Self {
        let (messages, timer) = (Vec::new(), None);
        Main { driver, mailbox, clock, messages, timer, called_ms: 0, deferred: false }
    }

    async fn run(mut self) {
        std::future::poll_fn(|context| self.turn(context)).await;
    }

    /// Takes all messages, applies a slice, keeps the time.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.driver.set_main(context.waker());
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox.take(&mut messages, context.waker());
        let idle = messages.is_empty();
        let mut stopped = false;
        for message in messages.drain(..) {
            stopped |= self.driver.message(message) == Flow::Stop;
        }
        self.messages = messages;
        self.driver.report_overflows();
        if stopped {
            return Poll::Ready(());
        }
        // What the messages lead to on sockets leaves before the next slice is applied.
        self.deferred = self.driver.wants_to_apply() && !idle && !self.deferred;
        if self.deferred || self.driver.apply_slice() {
            context.waker().wake_by_ref();
        }
        self.keep_time(context);
        Poll::Pending
    }

    fn keep_time(&mut self, context: &mut Context<'_>) {
        loop {
            let Some(deadline_ms) = self.driver.deadline_ms() else {
                self.timer = None;
                return;
            };
            // A machine that waits for something else is not called twice in a millisecond.
            let at_ms = deadline_ms.max(self.called_ms + 1);
            if self.timer.as_ref().is_none_or(|(armed_ms, _)| *armed_ms != at_ms) {
                let at = tokio::time::Instant::from_std(self.clock.instant_of_ms(at_ms));
                self.timer = Some((at_ms, Box::pin(tokio::time::sleep_until(at))));
            }
            let Some((_, timer)) = &mut self.timer else { return };
            if timer.as_mut().poll(context).is_pending() {
                return;
            }
            self.timer = None;
            self.called_ms = self.clock.now().monotonic_ms();
            self.driver.time_has_come();
        }
    }
}
