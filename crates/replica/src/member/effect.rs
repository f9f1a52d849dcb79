//! What a [`crate::Replica`] asks of its driver.

use std::sync::Arc;

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_tree::ApplyError;
use rookeeper_zab::leader::LinkEnd;
use rookeeper_zab::learner::SyncStart;
use rookeeper_zab::links::{ConnectionId, LinksEffect};
use rookeeper_zab::membership::{Address, Membership};
use rookeeper_zab::sync::SyncStep;
use rookeeper_zab::{EpochKind, Outgoing, Segment};

use crate::core::CoreEffect;

/// What to do for a member, in this order.
#[derive(Debug)]
pub enum ReplicaEffect {
    /// As a server that stands alone does: `Apply`, `Deliver`, `Wake`, `BeginSnapshot`,
    /// `SessionsExpired`, `QuotaExceeded`, `DigestMismatch`. Nothing else comes this way.
    Core(CoreEffect),
    /// For the election port: `Dial`, `Write`, `Finish` or `Close`. Nothing else comes this way.
    Link(LinksEffect),
    /// Connect to any of these addresses of the quorum port, their names resolved now; answer
    /// with `QuorumDialled` or `QuorumDialFailed`.
    QuorumDial {
        /// Counts the dials; a later one makes an earlier one obsolete.
        dial: u64,
        /// Best first.
        addresses: Vec<Address>,
    },
    /// Put something into a connection's queue.
    QuorumSend {
        /// Of which connection.
        connection: ConnectionId,
        /// What.
        item: Outgoing,
    },
    /// A proposal is held, whose `Append` came before: [`crate::ReplicaInput::Release`] is due, as
    /// soon as what gathers with it is being written, and soon in any case.
    Held,
    /// Close a connection once what is queued in memory is written, or at once where that takes
    /// long; what it still brings is dropped.
    QuorumClose(ConnectionId),
    /// Read nothing from a connection for now.
    QuorumPause(ConnectionId),
    /// Read from it again.
    QuorumResume(ConnectionId),
    /// For the disk thread.
    Storage(StorageCommand),
    /// What this server is from now on.
    State(ServerState),
    /// The committed configuration, at the start and whenever it changes: the client port, and
    /// whatever else follows it, may be other ones. It was given to the disk before.
    Membership(Arc<Membership>),
    /// For operators' logs.
    Event(MemberEvent),
    /// The replica does nothing any more.
    Ended(EndReason),
}

/// What the disk thread does, strictly in order. Each command but `Append`, `Roll`,
/// `BeginInstall` and `InstallBytes` has a report of its own; `Append` is answered by `Durable` of
/// its last zxid or of a later one.
#[derive(Debug, Clone)]
pub enum StorageCommand {
    /// Append to the log (after `EndInstall` and before `Settle`: to the staged log) and make
    /// durable, together with what else is queued.
    Append(Arc<Segment>),
    /// End the log file here.
    Roll,
    /// Write one of the epoch files, durable with its directory entry.
    WriteEpoch {
        /// Which.
        kind: EpochKind,
        /// What.
        epoch: i64,
    },
    /// Write a configuration to the dynamic configuration file: the committed one, or the last
    /// one seen (`zoo.cfg.dynamic.next`).
    WriteMembership {
        /// What.
        membership: Arc<Membership>,
        /// Whether it is only proposed yet.
        last_seen: bool,
    },
    /// Cut off everything after a zxid, from logs and snapshots, durably; load the tree again and
    /// put it into [`crate::Shared`]; report `Reloaded`.
    Truncate(Zxid),
    /// Stage a snapshot of this zxid beside the old files.
    BeginInstall(Zxid),
    /// Some of its body.
    InstallBytes(Vec<u8>),
    /// That was all of the body: load the tree from it and put it into [`crate::Shared`]; report
    /// `Reloaded`. The next `Append`s go to a staged log.
    EndInstall,
    /// Make all durable that was given; where an install is staged, switch to it atomically and
    /// put the old files aside; report `Settled`.
    Settle,
    /// Forget what is staged, if anything is; load the tree from the old files again and put it
    /// into [`crate::Shared`]; report `Reloaded`.
    Reload,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Has no leader.
    Looking,
    /// Leads, or is about to.
    Leading,
    /// Follows a leader, or is about to.
    Following,
    /// Observes a leader, or is about to.
    Observing,
    /// Has no leader, and answers reads of clients that allow it.
    ReadOnly,
    /// Takes no part for now: its disk is full, its state is in doubt, or it stops.
    Apart,
}

/// Something that operators want to read of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// An election has ended with this leader.
    Elected {
        /// The leader.
        leader: ServerId,
        /// The round.
        round: i64,
        /// Milliseconds since this server began to look.
        took_ms: u64,
    },
    /// This server leads an epoch.
    Established {
        /// The epoch.
        epoch: i64,
        /// Milliseconds since its last role ended, or since it started.
        unavailable_ms: u64,
    },
    /// This server is up to date with its leader and serves.
    UpToDate {
        /// The epoch.
        epoch: i64,
        /// Milliseconds since its last role ended, or since it started.
        unavailable_ms: u64,
        /// Milliseconds since it knew the leader's epoch.
        took_ms: u64,
        /// Whether it observes.
        observer: bool,
    },
    /// A learner of this server begins to synchronise, or has done so.
    LearnerSyncs {
        /// In which way.
        step: SyncStep,
        /// How many are at it in this way; a TRUNC is a DIFF here.
        under_way: usize,
        /// Whether it begins.
        begins: bool,
    },
    /// As observer master this server has passed on what the leader sent; what it sends of it
    /// stands before this.
    ObserversTold {
        /// So many proposals.
        proposals: u64,
        /// So many commits.
        commits: u64,
    },
    /// A voter whose vote this leader rested on has looked for another one: the leader gives up.
    VoterLeft,
    /// The leader has said how this server gets its history.
    Synchronises(SyncStart),
    /// A learner has come to this leader, or observer master.
    LearnerUp {
        /// Its connection.
        connection: ConnectionId,
        /// Who.
        server: ServerId,
        /// Whether it observes.
        observer: bool,
    },
    /// The leader's history leaves something out.
    Gap {
        /// The last transaction before.
        last: Zxid,
        /// The one that came after it.
        got: Zxid,
        /// It was so several times: a snapshot is asked for the next time.
        snapshot_wanted: bool,
    },
    /// A learner asks for much more than one that holds its clients back; it is not read for a
    /// while.
    LearnerFloods(ConnectionId),
    /// This server ended the link of a learner.
    LinkEnded {
        /// Its connection.
        connection: ConnectionId,
        /// Why.
        reason: LinkEnd,
    },
    /// A role has ended, in words.
    RoleEnded(Box<str>),
    /// A configuration is in force.
    Reconfigured {
        /// Its version.
        version: i64,
    },
    /// The tree's digest is not what the leader's transaction says: what this server does next.
    Diverged {
        /// The transaction.
        zxid: Zxid,
        /// What follows.
        response: DivergenceResponse,
    },
    /// The disk is nearly full: the role is given up.
    DiskFull,
    /// There is room again.
    DiskRoom,
}

/// What a member does about a tree that is not its leader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DivergenceResponse {
    /// Nothing but the alarm, as configured.
    Alarm,
    /// It leaves, and takes a snapshot from the leader before it votes or serves again.
    Resynchronise,
    /// It has done so before: it stops serving, and discards nothing.
    Withdraw,
}

/// Why a replica does nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// It was asked to.
    Stopped,
    /// The process must exit: the disk cannot be trusted.
    DiskFailed,
    /// The process must exit: a transaction cannot be applied.
    Apply(ApplyError),
}
