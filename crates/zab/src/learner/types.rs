//! What a learner is told and what it asks for.

use std::sync::Arc;

use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::{ServerId, SessionId, Zxid};

use crate::EpochKind;
use crate::forward::Forward;
use crate::membership::{Membership, MembershipError, MembershipRules, Role};
use crate::segment::Segment;
use crate::sync::SnapshotFault;
use crate::wire::PacketError;

/// Who learns, from whom, and what it has.
#[derive(Debug, Clone)]
pub struct LearnerConfig {
    /// This server.
    pub me: ServerId,
    /// The leader, or the observer master.
    pub leader: ServerId,
    /// As what it registers. A server that no configuration knows follows as a participant whom
    /// nobody counts, as in Java.
    pub role: Role,
    /// `tickTime`.
    pub tick_time_ms: u64,
    /// `initLimit`, in ticks: how long a step may take until the leader says UPTODATE.
    pub init_limit: u32,
    /// `syncLimit`, in ticks: how long the leader may be silent after that.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`, in ticks: how long to try to connect. 0: `init_limit`.
    pub connect_limit: u32,
    /// How long to wait between two dials, in ms (`zookeeper.leaderConnectDelayDuringRetryMs`);
    /// `None` for 20 ms at first and 100 ms, Java's default, later.
    pub connect_delay_ms: Option<u64>,
    /// Version of the committed configuration; a leader with an older one refuses the learner.
    pub config_version: i64,
    /// The durable accepted epoch.
    pub accepted_epoch: i64,
    /// The durable current epoch.
    pub current_epoch: i64,
    /// The last transaction of the durable log: all of it is this server's history.
    pub last_zxid: Zxid,
    /// Longest string or buffer that is taken from a peer (`jute.maxbuffer` and its extra size).
    pub buffer_len_max: usize,
    /// How to read configurations.
    pub rules: MembershipRules,
}

/// What happens to a learner.
#[derive(Debug, Clone)]
pub enum LearnerInput<'a> {
    /// Go on: connect.
    Start,
    /// The connection that was asked for stands.
    Connected,
    /// It does not.
    ConnectFailed,
    /// Bytes came, in any pieces.
    Received(&'a [u8]),
    /// The connection ended.
    Closed,
    /// The time of `deadline_ms` has come.
    Tick,
    /// An epoch is durable.
    EpochWritten(EpochKind),
    /// [`LearnerEffect::Begin`] was carried out: at once for a DIFF; log cut and tree reloaded for
    /// a TRUNC; tree loaded, after [`LearnerEffect::SnapshotEnd`], for a SNAP.
    Ready,
    /// [`LearnerEffect::Settle`] was carried out.
    Settled,
    /// The log is durable up to here.
    Durable(Zxid),
    /// A client's request for the leader; only while serving.
    Forward(Forward),
    /// A client came with a session that this server does not know; only while serving.
    Revalidate {
        /// The session.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// Answers the oldest [`LearnerEffect::TouchesWanted`]: sessions that were heard of since the
    /// last time, with their timeouts in ms.
    Touches(Vec<(SessionId, i32)>),
}

/// How a learner begins to take over the leader's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncStart {
    /// Its history is the beginning of the leader's.
    Diff,
    /// What follows this is not in the leader's: cut it off.
    Trunc(Zxid),
    /// A snapshot takes the place of everything. It holds all transactions up to this one, and
    /// perhaps parts of later ones, which follow.
    Snap(Zxid),
}

/// What to do for a learner, in this order.
#[derive(Debug, Clone)]
pub enum LearnerEffect {
    /// Dial the leader; answer with [`LearnerInput::Connected`] or
    /// [`LearnerInput::ConnectFailed`]. It may be asked for again.
    Connect,
    /// Write whole packets.
    Send(Vec<u8>),
    /// Close the connection, or give up the dial; report nothing of it any more.
    Disconnect,
    /// Stop reading from the connection. What was read already may be delivered.
    PauseReading,
    /// Go on reading.
    ResumeReading,
    /// Write an epoch durably; answer with [`LearnerInput::EpochWritten`].
    WriteEpoch {
        /// Which of the two.
        kind: EpochKind,
        /// The epoch.
        epoch: i64,
    },
    /// Prepare for the leader's history; answer with [`LearnerInput::Ready`].
    Begin(SyncStart),
    /// A part of the snapshot's body.
    SnapshotBytes(Vec<u8>),
    /// The snapshot is complete: load it.
    SnapshotEnd,
    /// Append to the log, and hold for the commit.
    Proposals(Arc<Segment>),
    /// Everything up to here is committed.
    Commit(Zxid),
    /// NEWLEADER's configuration, or a proposed one: persist it as last seen.
    LastSeen(Arc<Membership>),
    /// Make everything appended so far durable, and a snapshot take the place of the old history;
    /// answer with [`LearnerInput::Settled`].
    Settle,
    /// A configuration is committed (UPTODATE for NEWLEADER's; COMMITANDACTIVATE,
    /// INFORMANDACTIVATE, after the commit): use it. Where it changes this server's role or the
    /// leader, the driver ends the learner.
    Activate {
        /// The reconfiguration's transaction; NEWLEADER's zxid for the one of UPTODATE.
        zxid: Zxid,
        /// The configuration.
        membership: Arc<Membership>,
        /// Who shall lead; `None` at UPTODATE.
        designated: Option<ServerId>,
    },
    /// UPTODATE: let clients in.
    Serve {
        /// The leader's epoch.
        epoch: i64,
    },
    /// The leader's answer to [`LearnerInput::Revalidate`].
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives, and belongs to this server now.
        valid: bool,
    },
    /// Answers the oldest sync that was forwarded: everything committed so far came before it.
    SyncDone,
    /// PING: answer with [`LearnerInput::Touches`].
    TouchesWanted,
    /// The role is over; the connection is closed already. No effect follows, and no input has
    /// one.
    Abandon(LearnerEnd),
}

/// Why a learner gave up its leader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnerEnd {
    /// No connection on which the leader said LEADERINFO came about in time.
    #[error("cannot connect to the leader")]
    CannotConnect,
    /// The leader closed the connection, or it was lost.
    #[error("the connection to the leader ended")]
    Closed,
    /// The leader was silent for too long.
    #[error("nothing came from the leader for {timeout_ms} ms")]
    Silent {
        /// How long that was.
        timeout_ms: u64,
    },
    /// What came is no packet.
    #[error("{0}")]
    BadPacket(#[from] PacketError),
    /// A packet of a type that nobody knows.
    #[error("unknown packet type {0}")]
    UnknownPacket(i32),
    /// A packet that has no place here.
    #[error("{packet:?} while {phase}")]
    UnexpectedPacket {
        /// What came.
        packet: PacketType,
        /// What was under way.
        phase: &'static str,
    },
    /// A packet without the data that its type has.
    #[error("{0:?} lacks its data")]
    MissingData(PacketType),
    /// The leader's epoch is older than the one that this server has accepted.
    #[error("the leader's epoch {epoch} is less than the accepted epoch {accepted}")]
    EpochTooOld {
        /// The leader's.
        epoch: i64,
        /// This server's.
        accepted: i64,
    },
    /// NEWLEADER is of another epoch than LEADERINFO.
    #[error("NEWLEADER is of epoch {got}, LEADERINFO was of {announced}")]
    OtherEpoch {
        /// NEWLEADER's.
        got: i64,
        /// LEADERINFO's.
        announced: i64,
    },
    /// A zxid in DIFF, TRUNC or SNAP that cannot be.
    #[error("{packet:?} to {zxid}, where the last transaction is {last}")]
    BadSyncStart {
        /// Which of them.
        packet: PacketType,
        /// Its zxid.
        zxid: Zxid,
        /// The last transaction here.
        last: Zxid,
    },
    /// A snapshot's body is none.
    #[error("{0}")]
    BadSnapshot(#[from] SnapshotFault),
    /// A transaction is missing, or came twice.
    #[error("proposal {got} after {last}")]
    Gap {
        /// The last one known.
        last: Zxid,
        /// The one that came.
        got: Zxid,
    },
    /// A COMMIT of something else than the oldest proposal that waits for one.
    #[error("commit of {got}, where {} is next", shown(*.next))]
    UnmatchedCommit {
        /// The oldest proposal that waits.
        next: Option<Zxid>,
        /// What the leader commits.
        got: Zxid,
    },
    /// A proposal that is no transaction, or one of another zxid.
    #[error("proposal {zxid} cannot be decoded")]
    BadTransaction {
        /// The packet's zxid.
        zxid: Zxid,
    },
    /// A configuration that cannot be read.
    #[error("bad configuration: {0}")]
    BadMembership(#[from] MembershipError),
    /// Something is activated that is no reconfiguration.
    #[error("{0} is activated, which is no reconfiguration")]
    NoReconfiguration(Zxid),
}

fn shown(zxid: Option<Zxid>) -> String {
    zxid.map_or("none".to_owned(), |zxid| zxid.to_string())
}
