//! A server from its configuration to its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rookeeper_archive::{TreeRecovery, write_at_once};
use rookeeper_jute::Zxid;
use rookeeper_replica::{CoreInput, CoreStart, ReplicaStartError};
use rookeeper_store::{Disk, RealDisk, Store, StoreError};
use rookeeper_tree::Tree;

use crate::assemble;
use crate::config::ServerConfig;
use crate::core_driver::CoreMessage;
use crate::ensemble::{self, MemberError, MemberStart};
use crate::fate::{ExitCode, Fate};
use crate::inspect::Inspector;
use crate::io::IoMessage;
use crate::listener;
use crate::measures::Measures;
use crate::parts::{Parts, Start, Threads};
use crate::recovery::{Narrator, remove_orphans};
use crate::signals;

/// How long requests in flight may take to be answered when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no database, and none may be made.
    #[error(
        "there is no database in {}, and zookeeper.db.autocreate is false: create the file \
         initialize beside version-2 to start with an empty one", data_dir.display()
    )]
    DatabaseMissing {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// What a member of an ensemble has on disk contradicts itself.
    #[error(transparent)]
    Member(ReplicaStartError),
    /// Reconfigurations could not be kept.
    #[error("cannot write beside {}, where reconfigurations are kept: {source}", path.display())]
    MembershipFiles {
        /// The configuration file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The client port cannot be listened on.
    #[error("cannot listen for clients on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The system gave no thread or event queue.
    #[error("cannot start the server's threads: {0}")]
    Threads(#[source] io::Error),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A running server; it stops when this is dropped.
pub struct ServerHandle {
    data_dir: PathBuf,
    inspector: Inspector,
    fate: Arc<Fate>,
    threads: Option<Threads>,
}

impl Server {
    /// Starts a server: listens, recovers what is on disk, and serves. Clients that connect
    /// meanwhile wait in the backlog.
    ///
    /// # Errors
    /// A port that is taken, a data directory that is in use, damaged or not permitted, a system
    /// without threads.
    pub fn start(config: ServerConfig) -> Result<ServerHandle, StartError> {
        Self::start_on(config, Arc::new(RealDisk))
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_on(config: ServerConfig, disk: Arc<dyn Disk>) -> Result<ServerHandle, StartError> {
        let (listener, local_address) = listen(&config)?;
        let store = Store::open(Arc::clone(&disk), assemble::store_config(&config))?;
        let measures = Arc::new(Measures::default());
        let (tree, start) = if config.ensemble.is_some() {
            let (tree, start) = recover_member(&config, &store, &measures)?;
            (tree, Start::Member(Box::new(start), disk))
        } else {
            let (tree, start) = recover(&config, &store, &measures)?;
            (tree, Start::Alone(start))
        };
        let last_zxid = tree.last_processed_zxid();
        let replayed = start.txns_since_snapshot();
        let data_dir = config.storage.data_dir.clone();
        let parts = Parts::new(config, local_address, tree, start, store, measures);
        let (fate, inspector) = (Arc::clone(&parts.fate), parts.inspector.clone());
        let threads = parts.start(listener)?;
        if replayed > 0 {
            // As Java does at each start, so that the next one has nothing to replay; but in the
            // background.
            inspector.core.send(CoreMessage::Input(CoreInput::TakeSnapshot));
        }
        match local_address.port() {
            0 => tracing::info!(zxid = %last_zxid, "there is no client port"),
            _ => tracing::info!(
                address = %local_address,
                zxid = %last_zxid,
                "the client port is open"
            ),
        }
        Ok(ServerHandle { data_dir, inspector, fate, threads: Some(threads) })
    }
}

/// Listens for clients, unless the server has no client port; its port is 0 then.
fn listen(config: &ServerConfig) -> Result<(Option<TcpListener>, SocketAddr), StartError> {
    if config.listen.port.is_none() {
        return Ok((None, SocketAddr::from(([0, 0, 0, 0], 0))));
    }
    let options = assemble::listen_options(config);
    let listener = listener::listen(&options).map_err(|source| {
        let host = options.address.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
        StartError::Listen { address: format!("{host}:{}", options.port), source }
    })?;
    let local_address = listener.local_addr().map_err(StartError::Threads)?;
    Ok((Some(listener), local_address))
}

/// The tree as it was when the server last stopped. Where there was no snapshot at all, the first
/// one is written before anything else: a log alone would be refused at the next start.
fn recover(
    config: &ServerConfig,
    store: &Store,
    measures: &Measures,
) -> Result<(Tree, CoreStart), StartError> {
    let begun = Instant::now();
    let mut recovery = TreeRecovery::new(assemble::tree_config(config), Narrator::new());
    let recovered = store.recover(&mut recovery)?;
    let (mut tree, _, narrator) = recovery.finish();
    narrator.end(&recovered.repairs);
    remove_orphans(&mut tree);
    if recovered.last_zxid == Zxid::NONE {
        return Err(StartError::DatabaseMissing { data_dir: config.storage.data_dir.clone() });
    }
    if recovered.write_initial_snapshot {
        write_at_once(store, &mut tree, assemble::snapshot_sections(config))?;
    }
    loaded(&tree, recovered.txns, begun, measures);
    let start = CoreStart {
        txns_since_snapshot: recovered.txns,
        bytes_since_snapshot: recovered.txns_len,
        ..CoreStart::default()
    };
    Ok((tree, start))
}

/// The same for a member of an ensemble, with the history that it can prove.
fn recover_member(
    config: &ServerConfig,
    store: &Store,
    measures: &Measures,
) -> Result<(Tree, MemberStart), StartError> {
    let begun = Instant::now();
    let (tree, start) = ensemble::recover(config, store)?;
    loaded(&tree, start.txns_since_snapshot(), begun, measures);
    Ok((tree, start))
}

fn loaded(tree: &Tree, replayed: u64, begun: Instant, measures: &Measures) {
    measures.loaded(begun.elapsed(), replayed);
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        znodes = tree.znode_count(),
        sessions = tree.sessions().len(),
        zxid = %tree.last_processed_zxid(),
        replayed,
        took_ms,
        "data loaded"
    );
}

impl From<MemberError> for StartError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Replica(error) => StartError::Member(error),
            MemberError::MembershipFiles { path, source } => {
                StartError::MembershipFiles { path, source }
            }
            MemberError::Io(error) => StartError::Threads(error),
        }
    }
}

impl ServerHandle {
    /// Where clients reach the server; its port is 0 where there is no client port.
    pub fn local_addr(&self) -> SocketAddr {
        self.inspector.local_addr()
    }

    /// The data directory, without `version-2`.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Questions to the running server.
    pub fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// Lets SIGTERM and SIGINT end the server; for the process that is nothing but a server.
    ///
    /// # Errors
    /// Where the signals cannot be caught.
    pub fn stop_on_signals(&self) -> io::Result<()> {
        signals::stop_on_signals(Arc::clone(&self.fate))
    }

    /// Why the server has to end, if it has to.
    pub fn ending(&self) -> Option<ExitCode> {
        self.fate.decided()
    }

    /// Waits until the server has to end: a signal, or a failure that it cannot outlive. Then
    /// [`ServerHandle::stop`] is due.
    pub fn wait(&self) -> ExitCode {
        self.fate.wait()
    }

    /// Stops in good order: accepts and reads no more, answers what is in flight, closes
    /// connections and log. Sessions live on.
    pub fn stop(mut self) -> ExitCode {
        self.shut_down();
        self.fate.wait()
    }

    fn shut_down(&mut self) {
        let Some(threads) = self.threads.take() else { return };
        for port in &self.inspector.shards {
            port.messages.send(IoMessage::Drain);
        }
        self.inspector.core.send(CoreMessage::Input(CoreInput::Shutdown));
        if !self.fate.wait_halted(DRAIN_TIMEOUT) {
            tracing::warn!("requests in flight are not answered: the log takes too long");
        }
        drop(threads.ticker);
        threads.snapshots.stop();
        join(threads.snapshot_thread);
        threads.disk.close();
        join(threads.disk_thread);
        self.inspector.core.send(CoreMessage::Stop);
        for port in &self.inspector.shards {
            port.messages.send(IoMessage::Stop);
        }
        for thread in threads.io_threads {
            join(thread);
        }
        if let Some(thread) = threads.core_thread {
            join(thread);
        }
        join(threads.four_letter);
        drop(threads.store);
        self.fate.decide(ExitCode::Finished);
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn join(thread: thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the server had panicked");
    }
}
