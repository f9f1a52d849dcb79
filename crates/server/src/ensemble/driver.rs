//! Drives the [`Replica`]: brings it what happens on sockets, disk and shards, and carries out its
//! effects. One thread, one event loop; whoever reads a socket steps the machine right there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_replica::{
    ApplyProgress, CoreEffect, CoreInput, EndReason, HaltReason, MemberEvent, Replica,
    ReplicaEffect, ReplicaInput, ServerState, Shared, StorageCommand,
};
use rookeeper_zab::links::{ConnectionId, LinksEffect, LinksInput};
use rookeeper_zab::membership::Address;
use rookeeper_zab::quorum::Oracle;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::client_port::ClientPort;
use super::connection::Port;
use super::events;
use super::holding::Holding;
use super::ports::Ports;
use super::sockets::{Sockets, is_unusual};
use crate::clock::Clock;
use crate::core_driver::{CoreMessage, Flow};
use crate::disk::DiskSender;
use crate::fate::Fate;
use crate::measures::{Measures, QueueFigures};
use crate::outlets::Outlets;

/// Reads what the oracle says; `None` where there is none.
pub(crate) type OracleReader = Box<dyn Fn() -> Oracle>;

/// What the driver is made from.
pub(crate) struct DriverParts {
    pub(crate) me: ServerId,
    pub(crate) replica: Replica,
    /// What it asked for when it was made.
    pub(crate) effects: Vec<ReplicaEffect>,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) clock: Clock,
    pub(crate) storage: DiskSender,
    pub(crate) outlets: Outlets,
    pub(crate) fate: Arc<Fate>,
    pub(crate) measures: Arc<Measures>,
    pub(crate) timeouts: DialTimeouts,
    pub(crate) oracle: Option<OracleReader>,
}

/// How long dials may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialTimeouts {
    /// Of the election port (`cnxTimeout`).
    pub(crate) election: Duration,
    /// Of the quorum port.
    pub(crate) quorum: Duration,
}

/// The member's machine and everything around it, on the core's thread.
pub(crate) struct Driver {
    me: ServerId,
    machine: RefCell<Machine>,
    shared: Arc<RwLock<Shared>>,
    clock: Clock,
    storage: DiskSender,
    pub(crate) sockets: Rc<Sockets>,
    ports: Rc<Ports>,
    client_port: Rc<ClientPort>,
    timeouts: DialTimeouts,
    oracle: Option<OracleReader>,
    /// Connections whose queue was too long, to be told of once the step is over.
    overflowed: RefCell<Vec<ConnectionId>>,
    /// The task that applies and keeps time.
    main: RefCell<Option<Waker>>,
    /// Whether something committed waits to be applied.
    apply_wanted: Cell<bool>,
    ended: Cell<bool>,
}

/// What a step changes.
struct Machine {
    replica: Replica,
    effects: Vec<ReplicaEffect>,
    outlets: Outlets,
    fate: Arc<Fate>,
    measures: Arc<Measures>,
    state: ServerState,
    holding: Holding,
}

impl Driver {
    pub(crate) fn new(
        parts: DriverParts,
        sockets: Rc<Sockets>,
        ports: Rc<Ports>,
        client_port: Rc<ClientPort>,
    ) -> Rc<Self> {
        Rc::new(Driver {
            me: parts.me,
            machine: RefCell::new(Machine {
                replica: parts.replica,
                effects: parts.effects,
                outlets: parts.outlets,
                fate: parts.fate,
                measures: parts.measures,
                state: ServerState::Looking,
                holding: Holding::default(),
            }),
            shared: parts.shared,
            clock: parts.clock,
            storage: parts.storage,
            sockets,
            ports,
            client_port,
            timeouts: parts.timeouts,
            oracle: parts.oracle,
            overflowed: RefCell::default(),
            main: RefCell::default(),
            apply_wanted: Cell::new(false),
            ended: Cell::new(false),
        })
    }

    /// Carries out what the machine asked for when it was made, and opens the ports with it.
    pub(crate) fn begin(self: &Rc<Self>) {
        let mut machine = self.machine.borrow_mut();
        self.carry(&mut machine, Instant::now());
        machine.outlets.wake();
    }

    /// The time of [`Driver::deadline_ms`] has come.
    pub(crate) fn time_has_come(self: &Rc<Self>) {
        self.input(ReplicaInput::Tick);
    }

    /// Whether a learner's disk is so far behind that no more is to be read from its leader.
    pub(crate) fn wants_no_more(&self) -> bool {
        self.storage.is_congested() && self.machine.borrow().state != ServerState::Leading
    }

    /// Whether something committed waits to be applied.
    pub(crate) fn wants_to_apply(&self) -> bool {
        self.apply_wanted.get() && !self.ended.get()
    }

    /// The task to wake when there is something to apply or an earlier time to keep.
    pub(crate) fn set_main(&self, waker: &Waker) {
        let mut main = self.main.borrow_mut();
        if !main.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *main = Some(waker.clone());
        }
    }

    /// When the machine wants the time, by the monotonic clock in milliseconds.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        if self.ended.get() {
            return None;
        }
        let machine = self.machine.borrow();
        let holds_until = machine.holding.deadline().map(|at| self.clock.ms_of_instant(at));
        machine.replica.deadline_ms().into_iter().chain(holds_until).min()
    }

    /// Handles a message of another thread.
    pub(crate) fn message(self: &Rc<Self>, message: CoreMessage) -> Flow {
        match message {
            CoreMessage::Input(CoreInput::Tick) => self.tick(),
            CoreMessage::Input(CoreInput::Shutdown) => self.input(ReplicaInput::Stop),
            CoreMessage::Input(input) => self.input(ReplicaInput::Core(input)),
            CoreMessage::Storage(report) => self.input(ReplicaInput::Storage(report)),
            CoreMessage::Taken => {
                self.machine.borrow_mut().holding.taken();
                self.input(ReplicaInput::Release);
            }
            CoreMessage::Inspect(question) => question(self.machine.borrow().replica.core()),
            CoreMessage::InspectMember(question) => question(&self.machine.borrow().replica),
            CoreMessage::Stop => return Flow::Stop,
        }
        Flow::Continue
    }

    fn tick(self: &Rc<Self>) {
        if let Some(oracle) = &self.oracle {
            self.input(ReplicaInput::Oracle(oracle()));
        }
        self.input(ReplicaInput::Tick);
    }

    /// Steps the machine with one input and carries out what it asks for.
    pub(crate) fn input(self: &Rc<Self>, input: ReplicaInput<'_>) {
        if self.ended.get() {
            return;
        }
        let mut machine = self.machine.borrow_mut();
        let shared = self.shared.read();
        let machine = &mut *machine;
        tracing::trace!(?input, "step");
        let began = Instant::now();
        machine.replica.step(self.clock.now(), input, &shared, &mut machine.effects);
        // Under the lock still: deliveries are queued before anybody can read what they tell.
        self.carry(machine, began);
        self.let_go(machine, &shared, began);
        drop(shared);
        machine.outlets.wake();
        self.call_main();
    }

    /// Applies one slice of what is committed, if there is any; says whether there is more.
    pub(crate) fn apply_slice(self: &Rc<Self>) -> bool {
        if !self.apply_wanted.get() || self.ended.get() {
            return false;
        }
        let mut machine = self.machine.borrow_mut();
        let machine = &mut *machine;
        let mut shared = self.shared.write();
        let (now, began) = (self.clock.now(), Instant::now());
        let progress = machine.replica.apply(now, &mut shared, &mut machine.effects);
        self.apply_wanted.set(progress == ApplyProgress::More);
        self.carry(machine, began);
        self.let_go(machine, &shared, began);
        drop(shared);
        machine.outlets.wake();
        self.apply_wanted.get()
    }

    /// Lets a leader's proposals go that nothing is waited for any more.
    fn let_go(self: &Rc<Self>, machine: &mut Machine, shared: &Shared, began: Instant) {
        machine.holding.look(began);
        if machine.holding.take_due() {
            let input = ReplicaInput::Release;
            machine.replica.step(self.clock.now(), input, shared, &mut machine.effects);
            self.carry(machine, began);
        }
    }

    /// Tells the machine of connections that were closed because nobody read them.
    pub(crate) fn report_overflows(self: &Rc<Self>) {
        loop {
            let overflowed = std::mem::take(&mut *self.overflowed.borrow_mut());
            if overflowed.is_empty() {
                return;
            }
            for connection in overflowed {
                tracing::warn!(
                    connection = connection.0,
                    "a learner does not read what it is sent: its connection is closed"
                );
                self.input(ReplicaInput::QuorumClosed(connection));
            }
        }
    }

    fn call_main(&self) {
        if let Some(main) = &*self.main.borrow() {
            main.wake_by_ref();
        }
    }

    /// Carries out what the machine asks for, whose last input came at `began`.
    fn carry(self: &Rc<Self>, machine: &mut Machine, began: Instant) {
        for effect in std::mem::take(&mut machine.effects) {
            tracing::trace!(?effect, "effect");
            match effect {
                ReplicaEffect::Core(CoreEffect::Apply) => self.apply_wanted.set(true),
                ReplicaEffect::Core(effect) => machine.outlets.carry(effect),
                ReplicaEffect::Link(effect) => self.link(effect),
                ReplicaEffect::QuorumDial { dial, addresses } => self.quorum_dial(dial, addresses),
                ReplicaEffect::QuorumSend { connection, item } => {
                    if !self.sockets.send(connection, item) {
                        self.overflowed.borrow_mut().push(connection);
                    }
                }
                ReplicaEffect::QuorumClose(connection) => {
                    Sockets::finish(&self.sockets, connection);
                }
                ReplicaEffect::QuorumPause(connection) => self.sockets.pause(connection),
                ReplicaEffect::QuorumResume(connection) => self.sockets.resume(connection),
                ReplicaEffect::Storage(command) => self.store(command, machine),
                ReplicaEffect::Held => machine.holding.held(began),
                ReplicaEffect::State(state) => {
                    machine.state = state;
                    events::tell_state(state, &machine.measures);
                }
                ReplicaEffect::Membership(membership) => {
                    Ports::listen(&self.ports, self, &membership);
                    let own = membership.member(self.me);
                    let client = own.and_then(|member| member.client.as_ref());
                    ClientPort::follow(&self.client_port, client);
                }
                ReplicaEffect::Event(MemberEvent::ObserversTold { proposals, commits }) => {
                    machine.measures.observers_told(began.elapsed(), proposals, commits);
                }
                ReplicaEffect::Event(event) => {
                    if let MemberEvent::LearnerUp { connection, server, .. } = &event {
                        self.sockets.name(*connection, *server);
                    }
                    events::tell(&event, &machine.measures);
                }
                ReplicaEffect::Ended(reason) => self.end(reason, &machine.fate),
            }
        }
    }

    /// Gives a command to the disk. What a leader appends it proposes too.
    fn store(&self, command: StorageCommand, machine: &mut Machine) {
        let StorageCommand::Append(segment) = &command else { return self.storage.send(command) };
        if machine.state != ServerState::Leading {
            return self.storage.send(command);
        }
        machine.measures.proposed(segment);
        if machine.holding.may_wait() {
            machine.holding.appended(self.storage.send_together(command));
        } else {
            self.storage.send(command);
        }
    }

    fn end(&self, reason: EndReason, fate: &Fate) {
        self.ended.set(true);
        self.ports.close_all();
        self.sockets.close_all();
        fate.halted(match reason {
            EndReason::Stopped => HaltReason::Shutdown,
            EndReason::DiskFailed => HaltReason::DiskFailed,
            EndReason::Apply(error) => HaltReason::Apply(error),
        });
    }

    fn link(self: &Rc<Self>, effect: LinksEffect) {
        match effect {
            LinksEffect::Dial { peer, addresses } => {
                let driver = Rc::clone(self);
                spawn_local(async move {
                    let dialled = super::dial::dial(addresses, driver.timeouts.election).await;
                    let added = dialled.and_then(|stream| driver.add(Port::Election, stream));
                    match added {
                        Ok(connection) => {
                            driver.start(connection);
                            driver.input(ReplicaInput::Link(LinksInput::Dialled {
                                peer,
                                connection,
                            }));
                        }
                        Err(error) => {
                            tracing::debug!(%peer, %error, "no election link");
                            driver.input(ReplicaInput::Link(LinksInput::DialFailed(peer)));
                        }
                    }
                });
            }
            LinksEffect::Write { connection, bytes } => {
                let item = rookeeper_zab::Outgoing::Bytes(bytes);
                // Of each peer one message is on its way at most, so no queue grows.
                let _ = self.sockets.send(connection, item);
            }
            LinksEffect::Finish(connection) => Sockets::finish(&self.sockets, connection),
            LinksEffect::Close(connection, reason) => {
                if is_unusual(reason) {
                    tracing::warn!(connection = connection.0, %reason, "election link closed");
                }
                self.sockets.close(connection);
            }
            LinksEffect::Deliver { .. } | LinksEffect::PeerUp(_) | LinksEffect::PeerDown(_) => {
                unreachable!("the replica keeps these to itself")
            }
        }
    }

    fn quorum_dial(self: &Rc<Self>, dial: u64, addresses: Vec<Address>) {
        let driver = Rc::clone(self);
        spawn_local(async move {
            let dialled = super::dial::dial(addresses, driver.timeouts.quorum).await;
            match dialled.and_then(|stream| driver.add(Port::Quorum, stream)) {
                Ok(connection) => {
                    driver.start(connection);
                    driver.input(ReplicaInput::QuorumDialled { dial, connection });
                }
                Err(error) => {
                    tracing::debug!(%error, "the leader cannot be reached");
                    driver.input(ReplicaInput::QuorumDialFailed { dial });
                }
            }
        });
    }

    fn add(&self, port: Port, stream: TcpStream) -> std::io::Result<ConnectionId> {
        self.sockets.add(port, stream)
    }

    /// The tasks run once this one waits: after the machine was told of the connection, and even
    /// where it finished it at once with something left to write (a greeting to a larger server).
    fn start(self: &Rc<Self>, connection: ConnectionId) {
        Sockets::start(&self.sockets, self, connection);
    }

    /// Takes a connection that was accepted.
    pub(crate) fn accepted(self: &Rc<Self>, port: Port, stream: TcpStream) {
        let connection = match self.add(port, stream) {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "a peer was gone at once"),
        };
        self.start(connection);
        self.input(match port {
            Port::Election => ReplicaInput::Link(LinksInput::Accepted(connection)),
            Port::Quorum => ReplicaInput::QuorumAccepted(connection),
        });
    }

    /// What a learner's queue was like.
    pub(crate) fn learner_queue(&self, server: ServerId, figures: &QueueFigures) {
        self.machine.borrow().measures.learner_queue(server, figures);
    }

    /// Clients cannot be served, which is no end that anybody else would notice.
    pub(crate) fn cannot_serve(&self, error: &std::io::Error) {
        tracing::error!(%error, "clients cannot be served: the server ends");
        self.machine.borrow().fate.decide(crate::fate::ExitCode::UnexpectedError);
    }

    /// The ports could not be listened on.
    pub(crate) fn cannot_listen(&self) {
        self.machine.borrow().fate.decide(crate::fate::ExitCode::CannotBindQuorumPort);
    }
}

/// What happens to connections.
impl Driver {
    /// Bytes came.
    pub(crate) fn received(self: &Rc<Self>, port: Port, connection: ConnectionId, bytes: &[u8]) {
        self.input(match port {
            Port::Election => ReplicaInput::Link(LinksInput::Received { connection, bytes }),
            Port::Quorum => ReplicaInput::QuorumReceived { connection, bytes },
        });
    }

    /// A connection has ended, or could not be written.
    pub(crate) fn closed(self: &Rc<Self>, port: Port, connection: ConnectionId) {
        self.input(match port {
            Port::Election => ReplicaInput::Link(LinksInput::Closed(connection)),
            Port::Quorum => ReplicaInput::QuorumClosed(connection),
        });
    }

    /// All that was queued for an election connection is written.
    pub(crate) fn message_written(self: &Rc<Self>, connection: ConnectionId) {
        self.input(ReplicaInput::Link(LinksInput::Written(connection)));
    }

    /// A part of the history or of a snapshot is written.
    pub(crate) fn part_written(self: &Rc<Self>, connection: ConnectionId) {
        self.input(ReplicaInput::QuorumWritten(connection));
    }

    /// The history could not be read for a connection.
    pub(crate) fn history_failed(
        self: &Rc<Self>,
        connection: ConnectionId,
        unproven: Option<Zxid>,
    ) {
        self.input(ReplicaInput::HistoryFailed { connection, unproven });
    }
}
