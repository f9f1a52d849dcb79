//! The core's thread in an ensemble: its event loop and the task that keeps order and time.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::task::LocalSet;
use tokio::time::Sleep;

use super::aside::Aside;
use super::client_port::{ClientPort, ClientPortParts};
use super::driver::{Driver, DriverParts};
use super::history::HistorySource;
use super::ports::Ports;
use super::sockets::{SocketRules, Sockets};
use crate::clock::Clock;
use crate::config::PeerLinksConfig;
use crate::core_driver::{CoreMessage, Flow};
use crate::io::{Guest, IoThread, ListenerSide, Progress};
use crate::mailbox::Mailbox;

/// What the thread is made from, the machine aside.
pub(crate) struct PeerParts {
    pub(crate) me: rookeeper_jute::ServerId,
    pub(crate) links: PeerLinksConfig,
    /// `observerMasterPort`.
    pub(crate) observers: Option<u16>,
    pub(crate) rules: SocketRules,
    pub(crate) source: HistorySource,
    pub(crate) client_port: ClientPortParts,
    /// The I/O thread's work, where the core's thread does it, and where clients are accepted.
    pub(crate) clients: Option<(IoThread, Option<ListenerSide>)>,
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
    // A thread that serves peers alone is needed the sooner the better.
    if peers.clients.is_some() {
        let aside = Aside::new();
        builder.on_thread_park(move || aside.before_sleep());
    }
    let runtime = builder.enable_all().build()?;
    std::thread::Builder::new().name("rookeeper-core".into()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let sockets = Rc::new(Sockets::new(peers.rules, peers.source));
            let ports = Ports::new(peers.me, peers.links, peers.observers);
            let driver = Driver::new(make(), sockets, ports, ClientPort::new(peers.client_port));
            driver.begin();
            let main = Main::new(Rc::clone(&driver), mailbox, clock, peers.clients);
            match main {
                Ok(main) => main.run().await,
                Err(error) => driver.cannot_serve(&error),
            }
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
    /// Whether the core was told to end.
    stopped: bool,
    /// The clients, where they have no thread of their own.
    clients: Option<Guest>,
}

impl Main {
    fn new(
        driver: Rc<Driver>,
        mailbox: Arc<Mailbox<CoreMessage>>,
        clock: Clock,
        clients: Option<(IoThread, Option<ListenerSide>)>,
    ) -> io::Result<Self> {
        let clients = clients.map(|(io, listener)| Guest::new(io, listener)).transpose()?;
        let (messages, timer, called_ms) = (Vec::new(), None, 0);
        let (deferred, stopped) = (false, false);
        Ok(Main { driver, mailbox, clock, messages, timer, called_ms, deferred, stopped, clients })
    }

    async fn run(mut self) {
        std::future::poll_fn(|context| self.turn(context)).await;
    }

    /// Takes all messages, applies a slice, serves clients for a moment, keeps the time.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.driver.set_main(context.waker());
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox.take(&mut messages, context.waker());
        let idle = messages.is_empty();
        for message in messages.drain(..) {
            self.stopped |= self.driver.message(message) == Flow::Stop;
        }
        self.messages = messages;
        self.driver.report_overflows();
        if self.stopped && self.clients.is_none() {
            return Poll::Ready(());
        }
        // What the messages lead to on sockets leaves before the next slice is applied.
        self.deferred = self.driver.wants_to_apply() && !idle && !self.deferred;
        if self.deferred || self.driver.apply_slice() {
            context.waker().wake_by_ref();
        }
        self.serve_clients(context);
        self.keep_time(context);
        Poll::Pending
    }

    /// Between two turns of the clients everybody else has one: other tasks, sockets and timers.
    fn serve_clients(&mut self, context: &mut Context<'_>) {
        let Some(clients) = &mut self.clients else { return };
        match clients.turn(context) {
            Ok(Progress::Waits) => {}
            Ok(Progress::More) => context.waker().wake_by_ref(),
            Ok(Progress::Stopped) => {
                self.clients = None;
                context.waker().wake_by_ref();
            }
            Err(error) => {
                self.driver.cannot_serve(&error);
                self.clients = None;
                context.waker().wake_by_ref();
            }
        }
    }

    fn keep_time(&mut self, context: &mut Context<'_>) {
        loop {
            let Some(deadline_ms) = self.driver.deadline_ms() else {
                self.timer = None;
                return;
            };
            // A machine that waits for something else is not called twice in a millisecond.
            let at_ms = deadline_ms.max(self.called_ms + 1);
            let at = || tokio::time::Instant::from_std(self.clock.instant_of_ms(at_ms));
            let (armed_ms, timer) =
                self.timer.get_or_insert_with(|| (at_ms, Box::pin(tokio::time::sleep_until(at()))));
            if *armed_ms != at_ms {
                *armed_ms = at_ms;
                timer.as_mut().reset(at());
            }
            if timer.as_mut().poll(context).is_pending() {
                return;
            }
            self.timer = None;
            self.called_ms = self.clock.now().monotonic_ms();
            self.driver.time_has_come();
        }
    }
}
