//! What an observer master is told, and what it says is to be done.

use std::sync::Arc;

use rookeeper_jute::{ServerId, SessionId, Zxid};

use crate::forward::Forward;
use crate::leader::{LinkEnd, LoadLimits};
use crate::links::ConnectionId;
use crate::outgoing::Outgoing;
use crate::quorum::Ensemble;
use crate::segment::Segment;
use crate::sync::{SyncRules, SyncStep};

/// How a follower serves observers.
#[derive(Debug, Clone)]
pub struct ObserverMasterConfig {
    /// This server.
    pub me: ServerId,
    /// The committed configuration and the last one seen.
    pub ensemble: Ensemble,
    /// A tick (`tickTime`), in ms, at least 2.
    pub tick_time_ms: u64,
    /// Ticks that an observer has for a step until it serves (`initLimit`).
    pub init_limit: u32,
    /// Ticks that an observer may be silent after that (`syncLimit`).
    pub sync_limit: u32,
    /// What bounds a DIFF.
    pub sync: SyncRules,
    /// Committed transactions that are kept in memory for observers that come, in bytes
    /// (`zookeeper.observerMaster.sizeLimit`, 32 MiB).
    pub recent_len_max: usize,
    /// Snapshots at one time (`zookeeper.leader.maxConcurrentSnapSyncs`, 10).
    pub snap_syncs_max: usize,
    /// DIFFs and TRUNCs at one time (`zookeeper.leader.maxConcurrentDiffSyncs`, 100).
    pub diff_syncs_max: usize,
    /// The longest data of a packet, in bytes (`jute.maxbuffer` and its extra size).
    pub packet_len_max: usize,
    /// When observers are not read for a while.
    pub load: LoadLimits,
}

/// What happens to an observer master.
#[derive(Debug, Clone)]
pub enum ObserverMasterInput<'a> {
    /// Proposals of the leader, on their way to this server's log.
    Proposed(Arc<Segment>),
    /// Everything up to here is committed.
    Committed(Zxid),
    /// Right after the commit of a reconfiguration: the leader has told to activate it.
    Activated {
        /// Its transaction.
        zxid: Zxid,
        /// Who leads from now on.
        designated: ServerId,
    },
    /// The configurations that are in force from now on: one was proposed or activated.
    Ensemble(Ensemble),
    /// This server's log is durable up to here.
    Durable(Zxid),
    /// This server serves clients: observers may come.
    Serve {
        /// The leader's epoch.
        epoch: i64,
    },
    /// A connection arrived at the observer master's port.
    Accepted(ConnectionId),
    /// Bytes arrived.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A part of the history or of a snapshot was written: the observer has a reason to be silent.
    Written(ConnectionId),
    /// A connection ended that this machine did not close.
    Closed(ConnectionId),
    /// What was to be sent to an observer from disk cannot be had: it gets a snapshot the next
    /// time.
    HistoryFailed {
        /// The observer's.
        connection: ConnectionId,
        /// The log is not proved to have everything up to here, for whoever else may ask; `None`
        /// where it was a snapshot that could not be had.
        unproven: Option<Zxid>,
    },
    /// Logs before the one that begins with this transaction were purged.
    LogsFrom(Zxid),
    /// This server forwarded a sync of a client of its own.
    OwnSync,
    /// The leader answered the oldest sync that was forwarded.
    SyncDone,
    /// This server asked the leader for a session of a client of its own.
    OwnRevalidation(SessionId),
    /// The leader answered for a session.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives.
        valid: bool,
    },
    /// The time of [`super::ObserverMaster::deadline_ms`] has come.
    Tick,
    /// This server follows no longer.
    Stop,
}

/// What to do for an observer master, in this order.
#[derive(Debug, Clone)]
pub enum ObserverMasterEffect {
    /// Read nothing from an observer for now: too much of what it asked for is not done.
    PauseReading(ConnectionId),
    /// Read from it again.
    ResumeReading(ConnectionId),
    /// An observer is sent the history from now on, or has acknowledged it.
    Syncs {
        /// In which way.
        step: SyncStep,
        /// How many observers are at it in this way (a TRUNC is a DIFF here), this one included at
        /// the beginning.
        under_way: usize,
        /// Whether it begins.
        begins: bool,
    },
    /// Write to an observer.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        item: Outgoing,
    },
    /// Close a connection. Nothing more is said of it.
    Close {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        reason: LinkEnd,
    },
    /// What the leader proposed or committed was taken care of for all observers: comes after what
    /// is sent of it, for figures alone.
    Told {
        /// So many proposals.
        proposals: u64,
        /// So many commits, of reconfigurations apart.
        commits: u64,
    },
    /// A request for the leader.
    Forward(Forward),
    /// Ask the leader for a session.
    Revalidate {
        /// The session.
        session: SessionId,
        /// Its timeout in ms.
        timeout_ms: i32,
    },
    /// The answer was for a sync of this server's own client.
    OwnSyncDone,
    /// The answer was for this server's own client.
    OwnRevalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives.
        valid: bool,
    },
    /// An observer has everything and serves clients.
    ObserverUp {
        /// Its connection.
        connection: ConnectionId,
        /// Who it is.
        server: ServerId,
    },
    /// An observer that was up is gone.
    ObserverGone(ConnectionId),
}
