//! What a leader is told, and what it says is to be done.

use std::sync::Arc;

use rookeeper_jute::{ServerId, SessionId, Zxid};

use crate::EpochKind;
use crate::forward::Forward;
use crate::links::ConnectionId;
use crate::membership::Membership;
use crate::outgoing::Outgoing;
use crate::quorum::{Ensemble, Oracle};
use crate::segment::Segment;
use crate::sync::{SyncRules, SyncStep};
use crate::wire::PacketError;

/// What learners' requests that are not done may take of a leader's memory. Beyond it a learner is
/// not read, by at most what one read brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Requests of one learner.
    pub requests_max: usize,
    /// Their bytes ([`Forward::held_len`]).
    pub bytes_max: usize,
    /// Requests of all learners. Beyond it each may have a sixteenth of its own limit.
    pub requests_total_max: usize,
    /// Their bytes.
    pub bytes_total_max: usize,
}

impl Default for LoadLimits {
    /// What no learner reaches that holds its clients back: 100,000 requests and 256 MiB of one,
    /// four times that of all.
    fn default() -> LoadLimits {
        let (requests_max, bytes_max) = (100_000, 256 << 20);
        LoadLimits {
            requests_max,
            bytes_max,
            requests_total_max: 4 * requests_max,
            bytes_total_max: 4 * bytes_max,
        }
    }
}

/// How a server leads, and what it has when it begins to.
#[derive(Debug, Clone)]
pub struct LeaderConfig {
    /// This server.
    pub me: ServerId,
    /// The committed configuration and the last one seen.
    pub ensemble: Ensemble,
    /// A tick (`tickTime`), in ms, at least 2.
    pub tick_time_ms: u64,
    /// Ticks for each of: a quorum arrives, it acknowledges the epoch, it takes over the history
    /// (`initLimit`).
    pub init_limit: u32,
    /// Ticks that a learner may be silent, or owe one acknowledgement (`syncLimit`).
    pub sync_limit: u32,
    /// The accepted epoch on this server's disk, or a later one that another server is known to
    /// have accepted.
    pub accepted_epoch: i64,
    /// The current epoch on this server's disk.
    pub current_epoch: i64,
    /// The last zxid of this server's log and tree, all of it durable. No transaction of the
    /// history is later.
    pub last_zxid: Zxid,
    /// What bounds a DIFF.
    pub sync: SyncRules,
    /// What the oracle says.
    pub oracle: Oracle,
    /// After so many ms without an epoch, the first of `supporters` that looks for a leader again
    /// ends this leadership (`zookeeper.leader.maxTimeToWaitForEpoch`; Java's -1 is `None`).
    pub epoch_wait_ms_max: Option<u64>,
    /// Whose votes made this server the leader.
    pub supporters: Vec<ServerId>,
    /// Observers' snapshots at one time, all learners' counted
    /// (`zookeeper.leader.maxConcurrentSnapSyncs`, 10).
    pub snap_syncs_max: usize,
    /// Observers' DIFFs and TRUNCs at one time, all learners' counted
    /// (`zookeeper.leader.maxConcurrentDiffSyncs`, 100).
    pub diff_syncs_max: usize,
    /// The longest data of a packet, in bytes (`jute.maxbuffer` and its extra size).
    pub packet_len_max: usize,
    /// When learners are not read for a while.
    pub load: LoadLimits,
    /// `reconfigEnabled`: the last seen configuration becomes the committed one when this leader
    /// is established, as Java does it then only.
    pub reconfig_enabled: bool,
    /// [`LeaderEffect::Acknowledged`] tells of each zxid that this divides; 0 of none
    /// (`zookeeper.leader.ackLoggingFrequency`).
    pub ack_logging_frequency: u32,
    /// Proposals are held until [`LeaderInput::Release`]: a driver whose own disk gathers them for
    /// one sync spares its followers a packet, a sync and an acknowledgement of each. COMMIT, PING
    /// and the answers to syncs go on meanwhile, and a learner that synchronises is sent all;
    /// what has its place behind a proposal takes it along. For how long is the driver's to bound.
    pub holds_proposals: bool,
}

/// What happens to a leader.
#[derive(Debug, Clone)]
pub enum LeaderInput<'a> {
    /// The election is won. Comes first, once.
    Start,
    /// A connection arrived at the quorum port.
    Accepted(ConnectionId),
    /// Bytes arrived.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A part of the history or of a snapshot was written: the learner has a reason to be silent.
    Written(ConnectionId),
    /// A connection ended that this leader did not close.
    Closed(ConnectionId),
    /// The time of [`super::Leader::deadline_ms`] has come.
    Tick,
    /// The epoch that was to be written is durable.
    EpochWritten(EpochKind),
    /// Transactions that the core has prepared and is appending to this server's log; each
    /// follows the one before it, the first one is the epoch's 1.
    Proposed(Arc<Segment>),
    /// What was proposed leaves now, where [`LeaderConfig::holds_proposals`] holds it.
    Release,
    /// This server's log is durable up to here.
    Durable(Zxid),
    /// A sync has reached its place: what it has to wait for was proposed.
    SyncWanted {
        /// Its number in [`LeaderEffect::SyncConfirmed`].
        ticket: u64,
        /// The learner that forwarded it, `None` for this server's own client.
        connection: Option<ConnectionId>,
    },
    /// The answer to [`LeaderEffect::Revalidate`].
    Revalidated {
        /// Who asked.
        connection: ConnectionId,
        /// The session.
        session: SessionId,
        /// Whether it lives.
        valid: bool,
    },
    /// Requests of a learner ([`LeaderEffect::Forwarded`]) are done: applied, refused, or handed
    /// back as [`LeaderInput::SyncWanted`]; or questions ([`LeaderEffect::Revalidate`]) that are
    /// answered.
    Done {
        /// The learner's connection; it may have ended.
        connection: ConnectionId,
        /// How many.
        requests: usize,
        /// Their bytes ([`Forward::held_len`]; [`super::REVALIDATION_LEN`] a question).
        bytes: usize,
    },
    /// What was to be sent to a learner from disk cannot be had: it gets a snapshot the next
    /// time. The driver has closed nothing yet.
    HistoryFailed {
        /// The learner's.
        connection: ConnectionId,
        /// The log is not proved to have everything up to here, for whoever else may ask; `None`
        /// where it was a snapshot that could not be had.
        unproven: Option<Zxid>,
    },
    /// Logs before the one that begins with this transaction were purged.
    LogsFrom(Zxid),
    /// A reconfiguration, right before the [`LeaderInput::Proposed`] that holds it.
    Reconfigured {
        /// Its transaction.
        zxid: Zxid,
        /// The configuration, its version the transaction's zxid.
        membership: Arc<Membership>,
    },
    /// What the oracle says by now.
    Oracle(Oracle),
    /// A voter looks for a leader (the election's `VoterLooks`).
    VoterLooks(ServerId),
    /// A voter looks for a leader in a later round than the one that made this server the leader
    /// (the election's `VoterLeft`).
    VoterLeft(ServerId),
    /// A voter does not come as things are: it follows or leads elsewhere, or does not know what it
    /// should hold (the election's `VoterAway`).
    VoterAway(ServerId),
    /// Nothing more will be proposed: end when the learners have everything.
    Stop,
}

/// What to do for a leader, in this order.
#[derive(Debug, Clone)]
pub enum LeaderEffect {
    /// Write to a learner.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        item: Outgoing,
    },
    /// Close a connection, after what was queued for it. Nothing more is said of it.
    Close {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        reason: LinkEnd,
    },
    /// Read nothing from a learner for now: too much of what it asked for is not done.
    PauseReading(ConnectionId),
    /// Read from it again.
    ResumeReading(ConnectionId),
    /// Make an epoch durable, and tell [`LeaderInput::EpochWritten`].
    WriteEpoch {
        /// Which one.
        kind: EpochKind,
        /// The epoch.
        epoch: i64,
    },
    /// A quorum has this leader's history: everything in its log is committed, and it may
    /// propose, from the epoch's first zxid on.
    Established {
        /// The epoch.
        epoch: i64,
    },
    /// A proposal is held ([`LeaderConfig::holds_proposals`]): [`LeaderInput::Release`] is due
    /// soon, whatever becomes of this leader meanwhile.
    Held,
    /// Everything up to here is committed.
    Commit(Zxid),
    /// A server, this one included, has a proposal on its disk that is not committed yet (Java:
    /// `Leader.processAck`): told of some proposals, for figures alone.
    Acknowledged {
        /// Who has it.
        server: ServerId,
        /// The proposal.
        zxid: Zxid,
    },
    /// A learner's client asks.
    Forwarded {
        /// The learner's connection.
        connection: ConnectionId,
        /// The learner.
        learner: ServerId,
        /// The request.
        request: Forward,
    },
    /// A learner has heard of these sessions, each with its timeout in ms.
    Touched {
        /// The learner's connection.
        connection: ConnectionId,
        /// The sessions.
        sessions: Vec<(SessionId, i32)>,
    },
    /// A client has moved to a learner: does its session live? If so the learner owns it.
    Revalidate {
        /// The learner's connection.
        connection: ConnectionId,
        /// The session.
        session: SessionId,
        /// Its timeout in ms.
        timeout_ms: i32,
    },
    /// This server led when the sync was wanted, and everything proposed before it is committed.
    /// For this server's own clients; learners are told by the machine.
    SyncConfirmed(u64),
    /// A learner is sent the history from now on, or has acknowledged it.
    Syncs {
        /// In which way.
        step: SyncStep,
        /// How many learners are at it in this way (a TRUNC is a DIFF here), this one included at
        /// the beginning.
        under_way: usize,
        /// Whether it begins.
        begins: bool,
    },
    /// A learner has everything and serves clients.
    LearnerUp {
        /// Its connection.
        connection: ConnectionId,
        /// Who it is.
        server: ServerId,
        /// It has no part in quorums.
        observer: bool,
    },
    /// A learner that was up is gone.
    LearnerGone(ConnectionId),
    /// A configuration to be remembered as the last one seen.
    LastSeen(Arc<Membership>),
    /// A configuration is committed; comes after the [`LeaderEffect::Commit`] of its transaction,
    /// or before [`LeaderEffect::Established`].
    Activate {
        /// The transaction, or the epoch's counter 0.
        zxid: Zxid,
        /// The configuration.
        membership: Arc<Membership>,
        /// Who leads from now on. If it is another, this leader commits nothing more and ends
        /// as soon as its followers have left.
        designated: ServerId,
    },
    /// [`LeaderInput::Stop`] is done, all connections are closed.
    Stopped,
    /// This server leads no longer, all connections are closed.
    Abandon(LeaderEnd),
}

/// Why a connection to a learner is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// Bytes that are no packet.
    #[error("{0}")]
    BadPacket(#[from] PacketError),
    /// A packet that this learner cannot send now.
    #[error("packet of type {0} out of turn")]
    OutOfTurn(i32),
    /// A protocol from before ZooKeeper 3.4, or no learner at all.
    #[error("the learner's protocol is too old")]
    OldProtocol,
    /// It says that it is this server.
    #[error("the learner has this server's id")]
    OwnId,
    /// It has a later configuration (Java: "Follower is ahead of the leader").
    #[error("the learner has a later configuration")]
    ConfigurationAhead,
    /// It has a later history, and its vote does not count or is not needed; or one of a later
    /// epoch, although it accepted this one.
    #[error("the learner has a later history")]
    Ahead,
    /// Epochs end at 2^31.
    #[error("the learner accepted an impossible epoch")]
    BadEpoch,
    /// It acknowledged what was not sent to it.
    #[error("the learner acknowledged {0}, which it did not get")]
    FutureAck(Zxid),
    /// It answered another ping than the one it has to answer.
    #[error("the learner answered a ping that it did not get")]
    WrongPing,
    /// Too many observers synchronise at one time.
    #[error("too many concurrent syncs")]
    TooManySyncs,
    /// Too many connections did not say who they are, or there are too many learners.
    #[error("too many connections")]
    TooMany,
    /// The same server has connected anew.
    #[error("the learner has connected anew")]
    Replaced,
    /// Nothing came from it for too long.
    #[error("the learner was silent for too long")]
    Silent,
    /// One proposal was not acknowledged for too long.
    #[error("the learner did not acknowledge a proposal in time")]
    ProposalTimeout,
    /// This server's disk does not have what the learner lacks.
    #[error("the history could not be read")]
    HistoryFailed,
    /// This leader stops, and the learner has everything.
    #[error("this leader stops")]
    Stopped,
    /// This leader's time is over.
    #[error("this leader's time is over")]
    LeaderEnded,
}

/// Why a server leads no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaderEnd {
    /// Epochs end at 2^31.
    #[error("there is no epoch after the accepted one")]
    EpochsExhausted,
    /// No quorum arrived within `initLimit`.
    #[error("timeout while waiting for epoch from quorum")]
    EpochTimeout,
    /// No quorum acknowledged the epoch within `initLimit`.
    #[error("timeout while waiting for epoch to be acked by quorum")]
    EpochAckTimeout,
    /// Voters accepted the epoch and lost their links before they acknowledged it, or have more and
    /// vote in the pending change alone: without them there is no quorum.
    #[error("too few voters are left that can acknowledge the epoch")]
    EpochSpent,
    /// No quorum took over the history within `initLimit`.
    #[error("timeout while waiting for a quorum of followers to synchronise")]
    SyncTimeout,
    /// A voter has more than this server.
    #[error("server {0} is ahead of the leader")]
    FollowerAhead(ServerId),
    /// A voter whose vote this leadership rests on looks for another leader.
    #[error("server {0} has changed its mind")]
    VoterLeft(ServerId),
    /// Too few voters are left for a quorum: the others elect anew, and who looks for a leader
    /// joins one only that a quorum has.
    #[error("too few voters are left, the others elect anew")]
    Deserted,
    /// A voter has accepted a later epoch, so that it may never follow in this one.
    #[error("server {server} has accepted epoch {accepted_epoch}")]
    EpochPassed {
        /// The voter.
        server: ServerId,
        /// Its epoch; the next leader's has to be later.
        accepted_epoch: i64,
    },
    /// Too few voters were heard of within `syncLimit`.
    #[error("not sufficient followers synced")]
    QuorumLost,
    /// A reconfiguration made another server the leader.
    #[error("a reconfiguration made server {0} the leader")]
    NotDesignated(ServerId),
}
