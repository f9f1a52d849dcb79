//! What a driver tells a [`crate::Replica`].

use rookeeper_jute::Zxid;
use rookeeper_zab::EpochKind;
use rookeeper_zab::links::{ConnectionId, LinksInput};
use rookeeper_zab::quorum::Oracle;
use rookeeper_zab::sync::LogIndex;

use crate::core::CoreInput;

/// What happened outside a member.
#[derive(Debug)]
pub enum ReplicaInput<'a> {
    /// From shards, the snapshot thread or operators: `Submissions`, `SnapshotEnded`,
    /// `TakeSnapshot`. The disk speaks by [`ReplicaInput::Storage`], time by
    /// [`ReplicaInput::Tick`], an end is [`ReplicaInput::Stop`].
    Core(CoreInput),
    /// Something happened to an election connection: `Dialled`, `DialFailed`, `Accepted`,
    /// `Received`, `Written` or `Closed`.
    Link(LinksInput<'a>),
    /// Somebody connected to the quorum port.
    QuorumAccepted(ConnectionId),
    /// The dial with this number reached the leader.
    QuorumDialled {
        /// From [`crate::ReplicaEffect::QuorumDial`].
        dial: u64,
        /// The new connection.
        connection: ConnectionId,
    },
    /// The dial with this number reached nobody.
    QuorumDialFailed {
        /// From [`crate::ReplicaEffect::QuorumDial`].
        dial: u64,
    },
    /// Bytes came over a connection of the quorum port.
    QuorumReceived {
        /// On which one.
        connection: ConnectionId,
        /// In any pieces.
        bytes: &'a [u8],
    },
    /// A connection of the quorum port ended, could not be written, or was closed by the driver
    /// because its queue is too long.
    QuorumClosed(ConnectionId),
    /// A part of an [`rookeeper_zab::Outgoing::History`] or `Snapshot` was written to a
    /// connection: the learner has a reason to be silent.
    QuorumWritten(ConnectionId),
    /// The disk could not give what was to be sent over a connection. The driver has closed
    /// nothing yet.
    HistoryFailed {
        /// Which one.
        connection: ConnectionId,
        /// The log is not proved to have everything up to here; `None` where it was a snapshot
        /// that could not be had.
        unproven: Option<Zxid>,
    },
    /// The disk has something to say.
    Storage(StorageReport),
    /// What a leader holds goes to its followers: the answer to [`crate::ReplicaEffect::Held`].
    Release,
    /// What the oracle's file says by now.
    Oracle(Oracle),
    /// The time of `Replica::deadline_ms` has come, or [`crate::TICK_INTERVAL_MS`] have passed.
    Tick,
    /// Give up the role in order, so that the others need not wait for it, then end.
    Stop,
}

/// What the disk thread says. It carries out [`crate::StorageCommand`]s strictly in order and
/// reports in the same order; what it does not answer by a report of its own is done silently.
#[derive(Debug)]
pub enum StorageReport {
    /// All transactions up to this one are durable: on the log, or, before a `Settle`, on the
    /// staged log.
    Durable(Zxid),
    /// A `WriteEpoch` is durable, its directory entry as well.
    EpochWritten(EpochKind),
    /// A `WriteMembership` is durable.
    MembershipWritten,
    /// The tree of [`crate::Shared`] was replaced: after `Truncate`, `EndInstall`, `Reload`.
    Reloaded {
        /// The tree's last zxid.
        last_zxid: Zxid,
        /// The history that is proven now.
        history: LogIndex,
    },
    /// A `Truncate` or an `EndInstall` cannot be carried out, in place of `Reloaded`: the point is
    /// not proved to stand in this history, or what the leader sent is no snapshot. Tree and
    /// history are what they were.
    Refused,
    /// A `Settle` is done.
    Settled,
    /// A write, flush or reading again failed: nothing of what is on disk can be trusted by this
    /// process.
    Failed,
    /// The disk is nearly full: commands wait, unwritten, until there is room.
    Full,
    /// There is room again, and what waited is being written.
    Room,
    /// Old logs were purged, by whichever thread: the log that begins with this transaction is the
    /// first of those that are left. It answers no command.
    LogsFrom(Zxid),
}
