//! The threads of a server and what connects them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use rookeeper_replica::{Core, CoreInput, CoreStart, Shard, ShardId, Shared, TICK_INTERVAL_MS};
use rookeeper_store::{Preparer, Store};
use rookeeper_tree::{AccessControl, Tree};

use crate::assemble;
use crate::clock::{Clock, Ticker};
use crate::config::ServerConfig;
use crate::core_driver::{self, CoreDriver, CoreMessage, CorePort};
use crate::disk::{self, DiskSender};
use crate::fate::Fate;
use crate::four_letter;
use crate::gather::Answers;
use crate::inspect::Inspector;
use crate::io::{self as io_threads, CoreSide, IoMessage, IoThread, ListenerSide, ShardPort};
use crate::listener::ConnectionLimits;
use crate::mailbox::Mailbox;
use crate::measures::Measures;
use crate::snapshots::{self, SnapshotSender};

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

/// What the threads are made from.
pub(crate) struct Parts {
    config: Arc<ServerConfig>,
    start: CoreStart,
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
        start: CoreStart,
        store: Store,
        measures: Arc<Measures>,
    ) -> Self {
        let config = Arc::new(config);
        let store = Arc::new(store);
        let threads = assemble::io_threads(&config);
        let ports: Vec<_> = (0..threads).map(|_| ShardPort::new()).collect();
        let core_mailbox = (threads > 1).then(|| Arc::new(Mailbox::new()));
        let core_port = match &core_mailbox {
            Some(mailbox) => CorePort::Own(Arc::clone(mailbox)),
            None => CorePort::Inline(Arc::clone(&ports[0])),
        };
        let shared = Arc::new(RwLock::new(Shared::new(tree, threads)));
        let clock = Clock::start();
        let inspector = Inspector {
            config: Arc::clone(&config),
            local_address,
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
    /// Where the system has no thread or event queue left.
    pub(crate) fn start(self, listener: TcpListener) -> io::Result<Threads> {
        let (snapshots, snapshot_commands) = snapshots::channel();
        let writer = self.store.log_writer();
        let preparer = writer.preparer();
        let (disk, disk_thread) = self.start_disk(writer, &snapshots)?;
        let snapshot_thread = self.start_snapshots(snapshot_commands, preparer)?;
        snapshots.prepare();
        let driver = self.core_driver(disk.clone(), snapshots.clone());
        let (core_thread, core_sides) = self.place_core(driver)?;
        let answers = Answers::new(self.inspector.clone());
        let (four_letter, four_letter_thread) =
            four_letter::start(self.ports.clone(), move |word, argument| {
                answers.answer(word, argument)
            })?;
        let shard_config = Arc::new(assemble::shard_config(&self.config));
        let listen = &self.config.listen;
        let limits =
            ConnectionLimits::new(listen.max_connections, listen.max_connections_per_address);
        let mut listener = Some(ListenerSide { listener, limits, targets: self.ports.clone() });
        let mut threads = Vec::new();
        for (index, core_side) in core_sides.into_iter().enumerate() {
            let id = ShardId(u16::try_from(index).expect("there are at most 65535 I/O threads"));
            let thread = IoThread::new(
                Shard::new(id, Arc::clone(&shard_config), Arc::clone(&self.access)),
                Arc::clone(&self.ports[index]),
                Arc::clone(&self.shared),
                self.clock,
                core_side,
                four_letter.clone(),
            );
            threads.push(io_threads::spawn(index, thread, listener.take())?);
        }
        Ok(Threads {
            ticker: self.start_ticker()?,
            four_letter: four_letter_thread,
            snapshots,
            snapshot_thread,
            disk,
            disk_thread,
            io_threads: threads,
            core_thread,
            store: self.store,
        })
    }

    fn start_disk(
        &self,
        writer: rookeeper_store::LogWriter,
        snapshots: &SnapshotSender,
    ) -> io::Result<(DiskSender, JoinHandle<()>)> {
        let (core, snapshots) = (self.core_port.clone(), snapshots.clone());
        let store = Arc::downgrade(&self.store);
        let free = move || {
            let space = store.upgrade()?.free_space();
            space.inspect_err(|error| tracing::warn!(%error, "the free space is not known")).ok()
        };
        disk::start(
            writer,
            assemble::flush_policy(&self.config),
            Arc::clone(&self.inspector.measures),
            move || free().map(|space| space.log_dir),
            move || snapshots.prepare(),
            move |report| core.send(CoreMessage::Disk(report)),
        )
    }

    fn start_snapshots(
        &self,
        commands: snapshots::SnapshotCommands,
        preparer: Preparer,
    ) -> io::Result<JoinHandle<()>> {
        let core = self.core_port.clone();
        snapshots::start(
            commands,
            Arc::clone(&self.store),
            preparer,
            Arc::clone(&self.shared),
            assemble::snapshot_policy(&self.config),
            Arc::clone(&self.inspector.measures),
            move || core.send(CoreMessage::Input(CoreInput::SnapshotEnded)),
        )
    }

    fn core_driver(&self, disk: DiskSender, snapshots: SnapshotSender) -> CoreDriver {
        let core = {
            let config = assemble::core_config(&self.config);
            let prepare = assemble::prepare_config(&self.config);
            let access = Arc::clone(&self.access);
            let shared = self.shared.read();
            Core::new(self.clock.now(), config, prepare, access, &shared, self.start)
        };
        CoreDriver {
            core,
            shared: Arc::clone(&self.shared),
            clock: self.clock,
            disk,
            shards: self.ports.clone(),
            snapshots,
            fate: Arc::clone(&self.fate),
            effects: Vec::new(),
            wakers: Vec::new(),
            apply_wanted: false,
            quota_log: crate::log_budget::LogBudget::default(),
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
