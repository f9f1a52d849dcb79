//! What an operator can set of a member of an ensemble, and what its disk held at the start.

use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid, limits};
use rookeeper_tree::AccessControl;
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_zab::election::ElectionConfig;
use rookeeper_zab::leader::LoadLimits;
use rookeeper_zab::links::LinksConfig;
use rookeeper_zab::membership::{Address, Membership, MembershipRules};
use rookeeper_zab::sync::{LogIndex, SyncRules};

use crate::config::CoreConfig;

/// What one member of an ensemble goes by.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// What its core goes by.
    pub core: CoreConfig,
    /// How transactions are prepared.
    pub prepare: PrepareConfig,
    /// Who may do what.
    pub access: Arc<AccessControl>,
    /// What it goes by among its peers.
    pub member: MemberConfig,
}

/// What a member goes by among its peers.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// This server (`myid`).
    pub me: ServerId,
    /// How configurations are read (`standaloneEnabled`, `zookeeper.multiAddress.enabled`).
    pub rules: MembershipRules,
    /// Its own election addresses, until a configuration in force has some.
    pub election_addresses: Vec<Address>,
    /// Length of a tick in milliseconds (`tickTime`).
    pub tick_time_ms: u64,
    /// Ticks to connect and synchronise (`initLimit`).
    pub init_limit: u32,
    /// Ticks of silence between leader and learner (`syncLimit`).
    pub sync_limit: u32,
    /// Ticks to connect to the leader; 0 for `init_limit` (`connectToLearnerMasterLimit`).
    pub connect_limit: u32,
    /// How long to wait between two dials of a leader, in milliseconds; `None` for 20 ms at first
    /// and 100 ms later (`zookeeper.leaderConnectDelayDuringRetryMs`).
    pub connect_delay_ms: Option<u64>,
    /// Of which zxids it is counted how long each server took to have them: those that this
    /// divides; 0 for none (`zookeeper.leader.ackLoggingFrequency`, 1000).
    pub ack_logging_frequency: u32,
    /// How long an election link may take to say who it is, in milliseconds; `None` for
    /// `tickTime * syncLimit` (`zookeeper.quorumCnxnTimeoutMs`).
    pub handshake_timeout_ms: Option<u64>,
    /// How long to wait for a better vote, in milliseconds (Java: `finalizeWait`, 200).
    pub finalize_wait_ms: u64,
    /// The first interval between notifications, in milliseconds
    /// (`zookeeper.fastleader.minNotificationInterval`).
    pub notification_interval_ms_min: u64,
    /// The last one (`zookeeper.fastleader.maxNotificationInterval`).
    pub notification_interval_ms_max: u64,
    /// After so many milliseconds without an epoch, a voter of this leader's that looks for
    /// another one ends its leadership; `None` for never
    /// (`zookeeper.leader.maxTimeToWaitForEpoch`, -1).
    pub epoch_wait_ms_max: Option<u64>,
    /// What bounds a leader's choice between log and snapshot: where there is a bound, it is the
    /// least.
    pub sync: SyncRules,
    /// By how much of the tree's data that bound is higher in a large tree
    /// (`zookeeper.snapshotSizeFactor`).
    pub diff_len_per_tree: f64,
    /// Observers' snapshots at one time (`zookeeper.leader.maxConcurrentSnapSyncs`).
    pub snap_syncs_max: usize,
    /// Observers' DIFFs and TRUNCs at one time (`zookeeper.leader.maxConcurrentDiffSyncs`).
    pub diff_syncs_max: usize,
    /// The longest buffer that is taken from a peer, in bytes (`jute.maxbuffer` and its extra
    /// size).
    pub packet_len_max: usize,
    /// When a leader does not read a learner for a while.
    pub load: LoadLimits,
    /// Where followers serve observers; `None` where the leader alone does.
    pub observer_master: Option<ObserverMasterRules>,
    /// An observer that has lost its leader looks again after up to this long, in milliseconds
    /// (`zookeeper.observer.election.DelayMs`, 200).
    pub observer_election_delay_ms: u64,
    /// It waits up to this much longer, in milliseconds, so that not all observers come to the
    /// leader at once (`zookeeper.observer.reconnectDelayMs`, 0).
    pub observer_reconnect_delay_ms: u64,
    /// After so many milliseconds without a leader, clients that can be read-only may read; `None`
    /// for never (`readonlymode.enabled`; Java waits a tick, but 2 s at least).
    pub read_only_after_ms: Option<u64>,
    /// Whether an observer keeps a log and takes snapshots of its own (`syncEnabled`,
    /// `zookeeper.observer.syncEnabled`). Without, it is on disk what a leader's snapshot made it,
    /// and asks after a start for what came since.
    pub sync_enabled: bool,
    /// Whether a server whose tree is not its leader's leaves and takes a snapshot. Where false,
    /// and under a Java leader in any case, it raises an alarm alone, as Java does.
    pub leaves_on_divergence: bool,
    /// Whether a leader's proposals are held ([`crate::ReplicaEffect::Held`]), so that its
    /// followers get at once what its own disk gathers for one sync.
    pub holds_proposals: bool,
    /// Seeds what is drawn by lot.
    pub seed: u64,
}

/// How followers serve observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserverMasterRules {
    /// The port, the same on every voter (`observerMasterPort`).
    pub port: u16,
    /// Committed transactions that are kept in memory for observers that come, in bytes
    /// (`zookeeper.observerMaster.sizeLimit`).
    pub recent_len_max: usize,
}

impl MemberConfig {
    /// Java's defaults.
    pub fn new(me: ServerId) -> MemberConfig {
        MemberConfig {
            me,
            rules: MembershipRules::default(),
            election_addresses: Vec::new(),
            tick_time_ms: 3000,
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            connect_delay_ms: None,
            ack_logging_frequency: 1000,
            handshake_timeout_ms: None,
            finalize_wait_ms: 200,
            notification_interval_ms_min: 200,
            notification_interval_ms_max: 60_000,
            epoch_wait_ms_max: None,
            sync: SyncRules::default(),
            diff_len_per_tree: 0.0,
            snap_syncs_max: 10,
            diff_syncs_max: 100,
            packet_len_max: 2 * limits::JUTE_MAXBUFFER_DEFAULT,
            load: LoadLimits::default(),
            observer_master: None,
            observer_election_delay_ms: 200,
            observer_reconnect_delay_ms: 0,
            read_only_after_ms: None,
            sync_enabled: true,
            leaves_on_divergence: true,
            holds_proposals: false,
            seed: 0,
        }
    }
}

impl MemberConfig {
    /// What bounds the choice while the tree has so many bytes of paths and data.
    pub(super) fn sync_rules(&self, tree_len: i64) -> SyncRules {
        let by_tree = (tree_len as f64 * self.diff_len_per_tree) as u64;
        let diff_len_max = self.sync.diff_len_max.map(|least| least.max(by_tree));
        SyncRules { diff_len_max, ..self.sync }
    }

    pub(super) fn election(&self) -> ElectionConfig {
        ElectionConfig {
            me: self.me,
            finalize_wait_ms: self.finalize_wait_ms,
            notification_interval_ms_min: self.notification_interval_ms_min,
            notification_interval_ms_max: self.notification_interval_ms_max,
            rules: self.rules,
        }
    }

    pub(super) fn links(&self) -> LinksConfig {
        let sync_limit_ms = self.tick_time_ms * u64::from(self.sync_limit);
        LinksConfig {
            me: self.me,
            addresses: self.election_addresses.clone(),
            multi_address_enabled: self.rules.multi_address_enabled,
            handshake_timeout_ms: self.handshake_timeout_ms.unwrap_or(sync_limit_ms),
        }
    }
}

/// What recovery found on disk. The tree is in [`crate::Shared`].
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The last zxid of tree and log; -1 for a server that was not told that it may start empty
    /// (`zookeeper.db.autocreate=false`) or that found damage: it does not vote until it has a
    /// leader's snapshot.
    pub last_zxid: Zxid,
    /// The file `acceptedEpoch`; `None` where there is none.
    pub accepted_epoch: Option<i64>,
    /// The file `currentEpoch`; `None` where there is none.
    pub current_epoch: Option<i64>,
    /// The history that is proven.
    pub history: LogIndex,
    /// The committed configuration.
    pub committed: Arc<Membership>,
    /// The last one proposed; the committed one where there is no later one.
    pub last_seen: Arc<Membership>,
    /// Transactions in the log after the last snapshot.
    pub txns_since_snapshot: u64,
    /// Their bytes in the log.
    pub bytes_since_snapshot: u64,
}

/// Why a member does not start (Java: `QuorumPeer.loadDataBase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaStartError {
    /// The log is of an epoch that this server never accepted.
    #[error("the log ends with {last_zxid}, which is after the accepted epoch {accepted_epoch}")]
    LogAfterEpoch {
        /// The log's end.
        last_zxid: Zxid,
        /// The file's content.
        accepted_epoch: i64,
    },
    /// The files contradict each other.
    #[error("the accepted epoch {accepted_epoch} is less than the current epoch {current_epoch}")]
    EpochsContradict {
        /// The file `acceptedEpoch`.
        accepted_epoch: i64,
        /// The file `currentEpoch`.
        current_epoch: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_tree_lets_more_of_the_log_be_sent() {
        let mut config = MemberConfig::new(ServerId(1));
        assert_eq!(config.sync_rules(1 << 30).diff_len_max, None, "no bound at all");
        config.sync.diff_len_max = Some(1 << 20);
        config.diff_len_per_tree = 0.5;
        for (tree_len, len_max) in [(0, 1 << 20), (2 << 20, 1 << 20), (1 << 30, 1 << 29)] {
            assert_eq!(config.sync_rules(tree_len).diff_len_max, Some(len_max), "{tree_len}");
        }
        config.diff_len_per_tree = 0.0;
        assert_eq!(config.sync_rules(1 << 30).diff_len_max, Some(1 << 20));
    }
}
