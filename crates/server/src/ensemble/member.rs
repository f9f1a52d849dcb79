//! From the configuration and what is on disk to the threads of a member.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use rookeeper_archive::{TreeRecovery, write_at_once};
use rookeeper_jute::Zxid;
use rookeeper_replica::{
    MemberConfig, ObserverMasterRules, Recovered, Replica, ReplicaConfig, ReplicaStartError, Shared,
};
use rookeeper_store::{Disk, EpochFile, Store, StoreError};
use rookeeper_tree::{AccessControl, Tree};
use rookeeper_zab::leader::LoadLimits;
use rookeeper_zab::quorum::Oracle;
use rookeeper_zab::sync::{LogIndex, SyncRules};

use super::client_port::ClientPortParts;
use super::driver::{DialTimeouts, DriverParts, OracleReader};
use super::history::HistorySource;
use super::membership_files::MembershipFiles;
use super::run::{self, PeerParts};
use super::sockets::SocketRules;
use crate::assemble;
use crate::clock::Clock;
use crate::config::{EnsembleConfig, ServerConfig};
use crate::core_driver::CoreMessage;
use crate::disk::{self, DiskParts, DiskSender, Said};
use crate::fate::Fate;
use crate::io::{IoThread, ListenerSide, ShardPort};
use crate::mailbox::Mailbox;
use crate::measures::Measures;
use crate::outlets::Outlets;
use crate::recovery::Narrator;
use crate::snapshots::SnapshotSender;

/// Bytes that may wait for one learner before its connection is closed: it comes back and is
/// synchronised from disk, which costs no memory.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// What recovery leaves behind for a member, its tree aside.
pub(crate) struct MemberStart {
    /// The last transaction; -1 where the directory is empty and may not be taken for a database.
    last_zxid: Zxid,
    history: LogIndex,
    accepted_epoch: Option<i64>,
    current_epoch: Option<i64>,
    txns_since_snapshot: u64,
    bytes_since_snapshot: u64,
}

/// Reads what is on disk. Where there was no snapshot at all, the first one is written before
/// anything else.
///
/// # Errors
/// The store's.
pub(crate) fn recover(
    config: &ServerConfig,
    store: &Store,
) -> Result<(Tree, MemberStart), StoreError> {
    let narrator = Narrator::new();
    let mut recovery = TreeRecovery::new(assemble::tree_config(config), narrator).with_earlier();
    let recovered = store.recover(&mut recovery)?;
    let (mut tree, history, narrator) = recovery.finish();
    narrator.end(&recovered.repairs);
    if recovered.write_initial_snapshot {
        write_at_once(store, &mut tree, assemble::snapshot_sections(config))?;
    }
    let start = MemberStart {
        last_zxid: recovered.last_zxid,
        history,
        accepted_epoch: store.epoch(EpochFile::Accepted)?,
        current_epoch: store.epoch(EpochFile::Current)?,
        txns_since_snapshot: recovered.txns,
        bytes_since_snapshot: recovered.txns_len,
    };
    Ok((tree, start))
}

impl MemberStart {
    /// Transactions that were read after the last snapshot.
    pub(crate) fn txns_since_snapshot(&self) -> u64 {
        self.txns_since_snapshot
    }

    fn recovered(self, ensemble: &EnsembleConfig) -> Recovered {
        Recovered {
            last_zxid: self.last_zxid,
            accepted_epoch: self.accepted_epoch,
            current_epoch: self.current_epoch,
            history: self.history,
            committed: Arc::clone(&ensemble.committed),
            last_seen: Arc::clone(&ensemble.last_seen),
            txns_since_snapshot: self.txns_since_snapshot,
            bytes_since_snapshot: self.bytes_since_snapshot,
        }
    }
}

/// What a member is made from, besides what every server has.
pub(crate) struct MemberParts {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) start: MemberStart,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) measures: Arc<Measures>,
    pub(crate) mailbox: Arc<Mailbox<CoreMessage>>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) snapshots: SnapshotSender,
    /// The I/O thread that accepts clients, and where it does.
    pub(crate) acceptor: Arc<ShardPort>,
    /// The I/O thread's work, where the core's thread does it, and where clients are accepted.
    pub(crate) clients: Option<(IoThread, Option<ListenerSide>)>,
    pub(crate) local_address: Arc<RwLock<SocketAddr>>,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberError {
    /// What is on disk contradicts itself.
    #[error(transparent)]
    Replica(#[from] ReplicaStartError),
    /// The files that reconfigurations are kept in cannot be written.
    #[error("cannot write beside {}: {source}", path.display())]
    MembershipFiles {
        /// The configuration file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system's.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The threads of a member, those of every server aside.
pub(crate) struct MemberThreads {
    pub(crate) disk: DiskSender,
    pub(crate) disk_thread: JoinHandle<()>,
    pub(crate) core_thread: JoinHandle<()>,
}

impl MemberParts {
    /// Starts the disk thread and the core's.
    ///
    /// # Errors
    /// Where the system has no thread left, or what is on disk contradicts itself.
    pub(crate) fn start(self, outlets: Outlets) -> Result<MemberThreads, MemberError> {
        let config = Arc::clone(&self.config);
        let ensemble = config.ensemble.as_ref().expect("a member has an ensemble");
        let (storage, disk_thread) = self.start_disk(ensemble)?;
        let mut effects = Vec::new();
        let replica = Replica::new(
            self.clock.now(),
            replica_config(&config, ensemble, self.access),
            self.start.recovered(ensemble),
            &mut self.shared.write(),
            &mut effects,
        )?;
        let own = ensemble.committed.member(ensemble.me);
        let timeouts = dial_timeouts(&config, ensemble);
        let client_port = ClientPortParts {
            configured: own.and_then(|member| member.client.clone()),
            options: assemble::listen_options(&config),
            acceptor: self.acceptor,
            local_address: self.local_address,
        };
        let peers = PeerParts {
            client_port,
            me: ensemble.me,
            links: ensemble.links.clone(),
            observers: ensemble.observer_master_port,
            rules: SocketRules {
                election_keepalive: ensemble.links.tcp_keep_alive,
                election_unacknowledged: timeouts.election,
                quorum_nodelay: ensemble.links.tcp_nodelay,
                queue_bytes_max: QUEUE_BYTES_MAX,
            },
            source: HistorySource::new(self.store, self.snapshots),
            clients: self.clients,
        };
        let (oracle_path, disk) = (ensemble.oracle_path.clone(), self.disk);
        let (shared, clock, fate, measures) = (self.shared, self.clock, self.fate, self.measures);
        let of_driver = storage.clone();
        let me = ensemble.me;
        let make = move || DriverParts {
            me,
            replica,
            effects,
            shared,
            clock,
            storage: of_driver,
            outlets,
            fate,
            measures,
            timeouts,
            oracle: oracle_path.map(|path| oracle(disk, path)),
        };
        let core_thread = run::start(make, peers, self.mailbox, clock)?;
        Ok(MemberThreads { disk: storage, disk_thread, core_thread })
    }

    fn start_disk(
        &self,
        ensemble: &EnsembleConfig,
    ) -> Result<(DiskSender, JoinHandle<()>), MemberError> {
        let files = MembershipFiles::new(Arc::clone(&self.disk), ensemble).map_err(|source| {
            let path = ensemble.config_file.clone().unwrap_or_default();
            MemberError::MembershipFiles { path, source }
        })?;
        // A directory that is no database has no log before it has a leader's snapshot.
        let writer = (self.start.last_zxid >= Zxid::ZERO).then(|| self.store.log_writer());
        let parts = DiskParts {
            store: Arc::clone(&self.store),
            writer,
            shared: Arc::clone(&self.shared),
            tree: assemble::tree_config(&self.config),
            files: Some(files),
            snapshots: self.snapshots.clone(),
            policy: assemble::flush_policy(&self.config),
            measures: Arc::clone(&self.measures),
            process: Arc::clone(&self.config.process),
        };
        let (mailbox, fate) = (Arc::clone(&self.mailbox), Arc::clone(&self.fate));
        let say = move |said: Said| mailbox.send(said.message(&fate));
        Ok(disk::start(parts, say)?)
    }
}

fn dial_timeouts(config: &ServerConfig, ensemble: &EnsembleConfig) -> DialTimeouts {
    let tick_ms = u64::from(config.sessions.tick_time_ms.unsigned_abs());
    DialTimeouts {
        election: Duration::from_millis(ensemble.links.connect_timeout_ms),
        quorum: Duration::from_millis(tick_ms * u64::from(ensemble.sync_limit)),
    }
}

fn replica_config(
    config: &ServerConfig,
    ensemble: &EnsembleConfig,
    access: Arc<AccessControl>,
) -> ReplicaConfig {
    let tick_time_ms = u64::from(config.sessions.tick_time_ms.unsigned_abs());
    let own = ensemble.committed.member(ensemble.me);
    let addresses = own.map(|member| &member.addresses[..]).unwrap_or_default();
    let member = MemberConfig {
        rules: ensemble.rules,
        election_addresses: addresses.iter().map(|address| address.election.clone()).collect(),
        tick_time_ms,
        init_limit: ensemble.init_limit,
        sync_limit: ensemble.sync_limit,
        connect_limit: ensemble.connect_limit,
        connect_delay_ms: ensemble.connect_delay_ms,
        ack_logging_frequency: ensemble.ack_logging_frequency,
        handshake_timeout_ms: Some(ensemble.links.handshake_timeout_ms),
        notification_interval_ms_min: ensemble.links.notification_interval_ms_min,
        notification_interval_ms_max: ensemble.links.notification_interval_ms_max,
        epoch_wait_ms_max: ensemble.max_time_to_wait_for_epoch_ms,
        sync: sync_rules(ensemble),
        diff_len_per_tree: ensemble.snapshot_size_factor.max(0.0),
        snap_syncs_max: ensemble.snap_syncs_max as usize,
        diff_syncs_max: ensemble.diff_syncs_max as usize,
        packet_len_max: config.limits.jute_maxbuffer + config.limits.jute_maxbuffer_extra,
        load: load_limits(config.limits.global_outstanding_limit),
        observer_master: ensemble.observer_master_port.map(|port| ObserverMasterRules {
            port,
            recent_len_max: ensemble.observer_master_bytes_max as usize,
        }),
        observer_election_delay_ms: ensemble.observer_election_delay_ms,
        observer_reconnect_delay_ms: ensemble.observer_reconnect_delay_ms,
        read_only_after_ms: config.read_only_mode_enabled.then_some(tick_time_ms.max(2000)),
        sync_enabled: ensemble.sync_enabled,
        leaves_on_divergence: ensemble.leaves_on_divergence,
        holds_proposals: true,
        seed: assemble::random_seed(),
        ..MemberConfig::new(ensemble.me)
    };
    ReplicaConfig {
        core: assemble::core_config(config),
        prepare: assemble::prepare_config(config),
        access,
        member,
    }
}

/// A learner with the same limit as this server, and one client more or less that waits for each of
/// its connections, is far from these.
fn load_limits(global_outstanding_limit: usize) -> LoadLimits {
    let limits = LoadLimits::default();
    let requests_max = limits.requests_max.max(global_outstanding_limit.saturating_mul(16));
    let requests_total_max = requests_max.saturating_mul(4);
    LoadLimits { requests_max, requests_total_max, ..limits }
}

/// How much log is sent at least, where a snapshot would do as well.
fn sync_rules(ensemble: &EnsembleConfig) -> SyncRules {
    SyncRules {
        force_snapshot: ensemble.force_snapshot_sync,
        diff_len_max: Some(diff_len_max(ensemble.snapshot_size_factor)),
        diff_count_min: ensemble.commit_log_count,
    }
}

/// How many bytes of log are sent at least; none where the log is not to be read, but for the last
/// transactions.
fn diff_len_max(snapshot_size_factor: f64) -> u64 {
    /// Small trees are not worth the difference.
    const LEN_MIN: u64 = 16 << 20;
    if snapshot_size_factor >= 0.0 { LEN_MIN } else { 0 }
}

/// What the oracle's file says: it grants where it begins with `1` (Java: `QuorumOracleMaj`).
fn oracle(disk: Arc<dyn Disk>, path: std::path::PathBuf) -> OracleReader {
    Box::new(move || {
        let mut first = [0];
        let read = disk.open(&path).and_then(|file| file.read_at(0, &mut first));
        if matches!(read, Ok(1)) && first == *b"1" { Oracle::Grants } else { Oracle::Refuses }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_factor_leaves_the_log_unread_but_for_its_end() {
        for (factor, len_max) in [(0.33, 16 << 20), (0.0, 16 << 20), (-1.0, 0)] {
            assert_eq!(diff_len_max(factor), len_max, "{factor}");
        }
    }
}
