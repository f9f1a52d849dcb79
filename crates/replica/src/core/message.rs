//! What a core is told, and what it asks for.

use std::sync::Arc;

use rookeeper_jute::{ServerId, SessionId, Zxid};
use rookeeper_tree::QuotaExceeded;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::Membership;
use rookeeper_zab::{Forward, Segment};

use super::{EnsembleView, HaltReason};
use crate::ids::ShardId;
use crate::message::{DeliveryBatch, SubmissionBatch};

/// The part that a server plays for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoreRole {
    /// It stands alone: a quorum of one.
    #[default]
    Alone,
    /// A member of an ensemble that has no leader yet: clients are refused.
    Waiting,
    /// A member of an ensemble that has found no leader for a while: clients that can be read-only
    /// may read.
    ReadOnly,
    /// It leads.
    Leading {
        /// The epoch that a quorum has taken up: the high half of every zxid from now on.
        epoch: i64,
    },
    /// It follows a leader.
    Learning {
        /// Whether it has no vote.
        observer: bool,
    },
}

/// What happened outside the core.
#[derive(Debug)]
pub enum CoreInput {
    /// What a shard asks for.
    Submissions(SubmissionBatch),
    /// All transactions up to this one are durable.
    Durable(Zxid),
    /// Writing or flushing the log failed: nothing of it can be trusted any longer.
    DiskFailed,
    /// The log was not written because the disk is nearly full.
    DiskFull,
    /// The snapshot asked for by [`CoreEffect::BeginSnapshot`] is finished, or given up.
    SnapshotEnded,
    /// An operator asks for a snapshot.
    TakeSnapshot,
    /// Begin to count anew (four-letter word `srst`).
    ResetFigures,
    /// Time has passed.
    Tick,
    /// Take up nothing more, answer what was taken up, then halt.
    Shutdown,

    /// Learning: transactions that the leader proposes, in order.
    Proposals(Arc<Segment>),
    /// Leading, learning: all transactions up to this one are committed.
    Committed(Zxid),
    /// Leading: a server has this proposal, which is not committed yet, on its disk.
    Acknowledged {
        /// Who has it.
        server: ServerId,
        /// The proposal.
        zxid: Zxid,
    },
    /// Learning: this server is synchronised; clients may come.
    Serve {
        /// The leader's epoch, whose start the tree is told of as the leader's own is.
        epoch: i64,
    },
    /// Leading: what is known of the ensemble by now. Without it there is no reconfig.
    Ensemble(EnsembleView),
    /// Leading: a request of a learner's client.
    Forwarded {
        /// The learner's link.
        learner: ConnectionId,
        /// Who the learner is.
        server: ServerId,
        /// The request.
        request: Forward,
    },
    /// Leading: sessions that a learner heard of, with their timeouts in milliseconds.
    Touched {
        /// The learner's link.
        learner: ConnectionId,
        /// The sessions and their timeouts.
        sessions: Vec<(SessionId, i32)>,
    },
    /// Leading: a client resumes its session at a learner. Answered by
    /// [`CoreEffect::Revalidated`].
    Revalidate {
        /// The learner's link.
        learner: ConnectionId,
        /// The session.
        session: SessionId,
        /// The timeout that the learner negotiated, in milliseconds.
        timeout_ms: i32,
    },
    /// Leading: a learner's link is gone.
    LearnerGone(ConnectionId),
    /// Leading: a change that ends the role is committed. Whoever leads next may not hear of what
    /// is proposed from now on, so nothing is.
    Leaving,
    /// Leading: the tenure was confirmed by a quorum after [`CoreEffect::SyncWanted`] with this
    /// ticket.
    SyncConfirmed(u64),
    /// Learning: the leader's answer to the oldest [`CoreEffect::Revalidate`] of this session.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives, and belongs to this server from now on.
        valid: bool,
    },
    /// Learning: the leader's answer to the oldest forwarded sync.
    SyncDone,
    /// Learning: the leader wants to know which sessions were heard of. Answered by
    /// [`CoreEffect::Touches`].
    TouchesWanted,
    /// The role has ended. Answered by [`CoreEffect::Retired`].
    Retire,
}

/// What the core asks the driver to do.
#[derive(Debug)]
pub enum CoreEffect {
    /// Append to the log, make durable, report [`CoreInput::Durable`].
    Append(Arc<Segment>),
    /// End the log file here; the next segment starts a new one.
    Roll,
    /// Call [`super::Core::apply`] under the write lock.
    Apply,
    /// Put into the shard's queue before the lock is released, and run the shard soon.
    Deliver(DeliveryBatch),
    /// Run the shard soon: there may be events for its watchers.
    Wake(ShardId),
    /// Write a snapshot of the tree as it is when the driver gets to it.
    BeginSnapshot,
    /// These sessions were not heard of in time and are closed: say so in the log.
    SessionsExpired(Vec<SessionId>),
    /// A request exceeds a quota: say so in the log.
    QuotaExceeded(Box<QuotaExceeded>),
    /// The tree's digest is not what the transaction says: raise an alarm.
    DigestMismatch(Zxid),
    /// The core does nothing any more.
    Halted(HaltReason),

    /// Learning: send a request to the leader.
    Forward(Forward),
    /// Learning: ask the leader whether a session lives.
    Revalidate {
        /// The session.
        session: SessionId,
        /// The timeout negotiated with the client, in milliseconds.
        timeout_ms: i32,
    },
    /// Learning: the sessions heard of since the last [`CoreInput::TouchesWanted`], with their
    /// timeouts in milliseconds.
    Touches(Vec<(SessionId, i32)>),
    /// Leading: a sync has reached its place in the pipeline. A learner's is answered over its
    /// link; one of this server's own clients by [`CoreInput::SyncConfirmed`].
    SyncWanted {
        /// Names the sync.
        ticket: u64,
        /// The learner's link; `None` for a client of this server.
        learner: Option<ConnectionId>,
    },
    /// Leading: the answer to [`CoreInput::Revalidate`].
    Revalidated {
        /// The learner's link.
        learner: ConnectionId,
        /// The session.
        session: SessionId,
        /// Whether it lives, and belongs to the learner from now on.
        valid: bool,
    },
    /// Leading: learners' requests are done, one after the other where they came together.
    Done {
        /// The learner's link.
        learner: ConnectionId,
        /// How many.
        requests: usize,
        /// Their bytes ([`Forward::held_len`]).
        bytes: usize,
    },
    /// Leading: the next [`CoreEffect::Append`] holds, as its last transaction, a change of the
    /// ensemble.
    Reconfigured {
        /// The zxid of that transaction.
        zxid: Zxid,
        /// The new configuration, whose text will stand in `/zookeeper/config`.
        membership: Arc<Membership>,
    },
    /// Learning: the leader proposed a transaction that cannot be read; nothing of its segment was
    /// appended, and nothing more is taken from this leader. The link is to be ended.
    ProposalUnreadable(Zxid),
    /// Leading: the zxids of this epoch are used up; no write is taken up any more. A new epoch is
    /// needed.
    EpochExhausted,
    /// After [`CoreInput::Retire`]: everything durable is applied, all clients are told to close
    /// and nothing of theirs counts in the load any longer.
    Retired {
        /// The last transaction applied, which is the last one of the log.
        last_zxid: Zxid,
    },
}
