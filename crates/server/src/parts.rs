//! The threads of a server and what connects them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use rookeeper_replica::{
    Core, CoreInput, CoreStart, Shard, ShardId, Shared, StorageReport, TICK_INTERVAL_MS,
};
use rookeeper_store::{Disk, Preparer, Store};
use rookeeper_tree::{AccessControl, Tree};

use crate::assemble;
use crate::clock::{Clock, Ticker};
use crate::config::ServerConfig;
use crate::core_driver::{self, CoreDriver, CoreMessage, CorePort};
use crate::disk::{self, DiskParts, DiskSender};
use crate::ensemble::{MemberError, MemberParts, MemberStart};
use crate::fate::Fate;
use crate::four_letter::{self, FourLetterSender};
use crate::gather::Answers;
use crate::inspect::Inspector;
use crate::io::{self as io_threads, CoreSide, IoMessage, IoThread, ListenerSide, ShardPort};
use crate::listener::ConnectionLimits;
use crate::mailbox::Mailbox;
use crate::measures::Measures;
use crate::outlets::Outlets;
use crate::snapshots::{self, SnapshotSender, Told};

/// Everything that has to end.
pub(crate) struct Threads {
    pub(crate) ticker: Ticker,
    pub(crate) four_letter: JoinHandle<()>,
    pub(crate) snapshots: SnapshotSender,
    pub(crate) snapshot_thread: JoinHandle<()>,
    pub(crate) disk: DiskSender,
    pub(crate) disk_thread: JoinHandle<()>,
    pub(crate) io_threads: Vec<JoinHandle<()>>,
    pub(crate) core_thread: Option<JoinHandle<()>>,
    /// The data directory is locked until this is gone.
    pub(crate) store: Arc<Store>,
}

/// What recovery leaves behind for the core.
pub(crate) enum Start {
    /// Of a server that stands alone.
    Alone(CoreStart),
    /// Of a member of an ensemble, with the disk that its other files are on.
    Member(Box<MemberStart>, Arc<dyn Disk>),
}

impl Start {
    /// Transactions that were read after the last snapshot.
    pub(crate) fn txns_since_snapshot(&self) -> u64 {
        match self {
            Start::Alone(start) => start.txns_since_snapshot,
            Start::Member(start, _) => start.txns_since_snapshot(),
        }
    }
}

/// The threads of core and log.
struct CoreThreads {
    disk: DiskSender,
    disk_thread: JoinHandle<()>,
    core_thread: Option<JoinHandle<()>>,
}

/// What the threads are made from.
pub(crate) struct Parts {
    config: Arc<ServerConfig>,
    start: Start,
    clock: Clock,
    shared: Arc<RwLock<Shared>>,
    store: Arc<Store>,
    access: Arc<AccessControl>,
    ports: Vec<Arc<ShardPort>>,
    core_port: CorePort,
    core_mailbox: Option<Arc<Mailbox<CoreMessage>>>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) inspector: Inspector,
}

impl Parts {
    /// Puts a recovered tree behind as many I/O threads as the configuration asks for.
    pub(crate) fn new(
        config: ServerConfig,
        local_address: SocketAddr,
        tree: Tree,
        start: Start,
        store: Store,
        measures: Arc<Measures>,
    ) -> Self {
        let config = Arc::new(config);
        let store = Arc::new(store);
        let threads = assemble::io_threads(&config);
        let ports: Vec<_> = (0..threads).map(|_| ShardPort::new()).collect();
        // A member's core has its peers to attend to: rather does its thread the I/O thread's work.
        let own_thread = threads > 1 || config.ensemble.is_some();
        let core_mailbox = own_thread.then(|| Arc::new(Mailbox::new()));
        let core_port = match &core_mailbox {
            Some(mailbox) => CorePort::Own(Arc::clone(mailbox)),
            None => CorePort::Inline(Arc::clone(&ports[0])),
        };
        let shared = Arc::new(RwLock::new(Shared::new(tree, threads)));
        let clock = Clock::start();
        let inspector = Inspector {
            config: Arc::clone(&config),
            local_address: Arc::new(RwLock::new(local_address)),
            clock,
            shared: Arc::clone(&shared),
            store: Arc::downgrade(&store),
            core: core_port.clone(),
            shards: ports.clone(),
            measures,
        };
        Parts {
            clock,
            shared,
            store,
            access: Arc::new(assemble::access_control(&config)),
            ports,
            core_port,
            core_mailbox,
            fate: Arc::default(),
            inspector,
            start,
            config,
        }
    }

    /// Starts all threads.
    ///
    /// # Errors
    /// Where the system has no thread or event queue left, or a member's files contradict
    /// themselves.
    pub(crate) fn start(mut self, listener: Option<TcpListener>) -> Result<Threads, MemberError> {
        let (snapshots, snapshot_commands) = snapshots::channel();
        let snapshot_thread = self.start_snapshots(snapshot_commands, self.store.preparer())?;
        snapshots.prepare();
        let measures = Arc::clone(&self.inspector.measures);
        let outlets = Outlets::new(self.clock, self.ports.clone(), snapshots.clone(), measures);
        let answers = Answers::new(self.inspector.clone());
        let (four_letter, four_letter_thread) =
            four_letter::start(self.ports.clone(), move |word, argument| {
                answers.answer(word, argument)
            })?;
        let limits = ConnectionLimits::new(
            self.config.listen.max_connections,
            self.config.listen.max_connections_per_address,
            self.config.process.max_file_descriptors(),
        );
        let listener = ListenerSide { listener, limits, targets: self.ports.clone() };
        let start = std::mem::replace(&mut self.start, Start::Alone(CoreStart::default()));
        let (core, io_threads) = match start {
            Start::Alone(start) => {
                let (core, sides) = self.start_alone(start, &snapshots, outlets)?;
                let threads = self.io_threads(sides, &four_letter)?;
                (core, io_threads::spawn_all(threads, Some(listener))?)
            }
            Start::Member(start, disk) => {
                self.start_member(*start, disk, &snapshots, outlets, listener, &four_letter)?
            }
        };
        Ok(Threads {
            ticker: self.start_ticker()?,
            four_letter: four_letter_thread,
            snapshots,
            snapshot_thread,
            disk: core.disk,
            disk_thread: core.disk_thread,
            io_threads,
            core_thread: core.core_thread,
            store: self.store,
        })
    }

    /// What each I/O thread does.
    fn io_threads(
        &self,
        sides: Vec<CoreSide>,
        four_letter: &FourLetterSender,
    ) -> io::Result<Vec<IoThread>> {
        let shard_config = Arc::new(assemble::shard_config(&self.config));
        let thread = |(index, side): (usize, CoreSide)| {
            let id = ShardId(u16::try_from(index).expect("there are at most 65535 I/O threads"));
            IoThread::new(
                Shard::new(id, Arc::clone(&shard_config), Arc::clone(&self.access)),
                Arc::clone(&self.ports[index]),
                Arc::clone(&self.shared),
                self.clock,
                side,
                four_letter.clone(),
            )
        };
        sides.into_iter().enumerate().map(thread).collect()
    }

    fn start_alone(
        &self,
        start: CoreStart,
        snapshots: &SnapshotSender,
        outlets: Outlets,
    ) -> io::Result<(CoreThreads, Vec<CoreSide>)> {
        let (disk, disk_thread) = self.start_disk(snapshots)?;
        let driver = self.core_driver(start, disk.clone(), outlets);
        let (core_thread, sides) = self.place_core(driver)?;
        Ok((CoreThreads { disk, disk_thread, core_thread }, sides))
    }

    fn start_member(
        &self,
        start: MemberStart,
        disk: Arc<dyn Disk>,
        snapshots: &SnapshotSender,
        outlets: Outlets,
        listener: ListenerSide,
        four_letter: &FourLetterSender,
    ) -> Result<(CoreThreads, Vec<JoinHandle<()>>), MemberError> {
        let mailbox = self.core_mailbox.clone().expect("a member's core has a thread of its own");
        let side = |_: &Arc<ShardPort>| CoreSide::Remote(self.core_port.clone());
        let sides = self.ports.iter().map(side).collect();
        let mut io_threads = self.io_threads(sides, four_letter)?;
        let mut listener = Some(listener);
        // Where there is one, the machine has no processor to spare: the core's does its work.
        let only = if io_threads.len() == 1 { io_threads.pop() } else { None };
        let clients = only.map(|only| (only, listener.take()));
        let member = MemberParts {
            config: Arc::clone(&self.config),
            start,
            clock: self.clock,
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
            disk,
            access: Arc::clone(&self.access),
            measures: Arc::clone(&self.inspector.measures),
            mailbox,
            fate: Arc::clone(&self.fate),
            snapshots: snapshots.clone(),
            acceptor: Arc::clone(&self.ports[0]),
            clients,
            local_address: Arc::clone(&self.inspector.local_address),
        };
        let threads = member.start(outlets)?;
        let core = CoreThreads {
            disk: threads.disk,
            disk_thread: threads.disk_thread,
            core_thread: Some(threads.core_thread),
        };
        Ok((core, io_threads::spawn_all(io_threads, listener)?))
    }

    fn start_disk(&self, snapshots: &SnapshotSender) -> io::Result<(DiskSender, JoinHandle<()>)> {
        let parts = DiskParts {
            store: Arc::clone(&self.store),
            writer: Some(self.store.log_writer()),
            shared: Arc::clone(&self.shared),
            tree: assemble::tree_config(&self.config),
            files: None,
            snapshots: snapshots.clone(),
            policy: assemble::flush_policy(&self.config),
            measures: Arc::clone(&self.inspector.measures),
            process: Arc::clone(&self.config.process),
        };
        let (core, fate) = (self.core_port.clone(), Arc::clone(&self.fate));
        disk::start(parts, move |said| core.send(said.message(&fate)))
    }

    fn start_snapshots(
        &self,
        commands: snapshots::SnapshotCommands,
        preparer: Preparer,
    ) -> io::Result<JoinHandle<()>> {
        let (core, fate) = (self.core_port.clone(), Arc::clone(&self.fate));
        snapshots::start(
            commands,
            Arc::clone(&self.store),
            preparer,
            Arc::clone(&self.shared),
            assemble::snapshot_policy(&self.config),
            Arc::clone(&self.inspector.measures),
            move |told| match told {
                Told::Ended(failure) => {
                    if let Some(error) = failure {
                        fate.snapshot_failed(&error);
                    }
                    core.send(CoreMessage::Input(CoreInput::SnapshotEnded));
                }
                Told::LogsFrom(first) => {
                    core.send(CoreMessage::Storage(StorageReport::LogsFrom(first)));
                }
            },
        )
    }

    fn core_driver(&self, start: CoreStart, disk: DiskSender, outlets: Outlets) -> CoreDriver {
        let core = {
            let config = assemble::core_config(&self.config);
            let prepare = assemble::prepare_config(&self.config);
            let access = Arc::clone(&self.access);
            let shared = self.shared.read();
            Core::new(self.clock.now(), config, prepare, access, &shared, start)
        };
        CoreDriver {
            core,
            shared: Arc::clone(&self.shared),
            clock: self.clock,
            disk,
            outlets,
            fate: Arc::clone(&self.fate),
            effects: Vec::new(),
            apply_wanted: false,
        }
    }

    /// Gives the core a thread of its own, or to the one I/O thread.
    fn place_core(
        &self,
        driver: CoreDriver,
    ) -> io::Result<(Option<JoinHandle<()>>, Vec<CoreSide>)> {
        match &self.core_mailbox {
            None => Ok((None, vec![CoreSide::Inline(Box::new(driver))])),
            Some(mailbox) => {
                let thread = core_driver::start(driver, Arc::clone(mailbox))?;
                let side = |_: &Arc<ShardPort>| CoreSide::Remote(self.core_port.clone());
                Ok((Some(thread), self.ports.iter().map(side).collect()))
            }
        }
    }

    fn start_ticker(&self) -> io::Result<Ticker> {
        let (core, ports) = (self.core_port.clone(), self.ports.clone());
        Ticker::start(Duration::from_millis(TICK_INTERVAL_MS), move || {
            for port in &ports {
                port.messages.send(IoMessage::Tick);
            }
            core.send(CoreMessage::Input(CoreInput::Tick));
        })
    }
}
