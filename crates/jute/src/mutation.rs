//! Known bugs that the simulator's own tests put back, to prove that it finds them.
//!
//! Without the feature `mutations`, which nothing that ships turns on, [`is_on`] is false when it
//! is compiled, and what it guards is not there. This is the lowest crate that all others share.

macro_rules! mutations {
    ($($(#[$meta:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A known bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mutation { $($(#[$meta])* $name),* }
        impl Mutation {
            /// Every bug.
            pub const ALL: &'static [Mutation] = &[$(Mutation::$name),*];
            /// The name on command lines.
            pub fn name(self) -> &'static str {
                match self { $(Mutation::$name => $text),* }
            }
        }
    };
}

mutations! {
    /// A learner acknowledges what is not on its disk (ZOOKEEPER-3911, 4646).
    AckBeforeDurable = "ack-before-durable",
    /// A learner acknowledges NEWLEADER before log and epoch are on its disk (4646, 4785).
    AckNewLeaderEarly = "ack-newleader-early",
    /// The current epoch is written before the history that belongs to it (4643).
    EpochBeforeHistory = "epoch-before-history",
    /// A leader counts itself before its own disk has a proposal.
    LeaderCountsUndurable = "leader-counts-undurable",
    /// A leader commits what it alone has.
    CommitWithoutQuorum = "commit-without-quorum",
    /// A leader answers a sync without asking whether it still leads (1675, 2136).
    SyncWithoutTenure = "sync-without-tenure",
    /// A DIFF goes over history that is not proven, and who takes it does not look (2846, 4352).
    DiffOverGap = "diff-over-gap",
    /// A truncation leaves newer snapshots where they are (4837).
    TruncKeepsSnapshots = "trunc-keeps-snapshots",
    /// A truncation is not carried out: the tree keeps what nobody committed (2845, 5010).
    TruncIgnored = "trunc-ignored",
    /// A new leader does not give sessions their full timeout.
    SessionsCutShort = "sessions-cut-short",
    /// Watches are not set again after a reconnect.
    WatchesLost = "watches-lost",
    /// A reply overtakes the event that it belongs behind.
    EventsLate = "events-late",
    /// A leader does not look where a session is connected.
    OwnerUnchecked = "owner-unchecked",
    /// Elections do not look at the history.
    VoteIgnoresZxid = "vote-ignores-zxid",
    /// An epoch file is neither synced nor its name (Z-08).
    EpochUnsynced = "epoch-unsynced",
    /// The log is not synced.
    LogUnsynced = "log-unsynced",
    /// The name of a new log is not synced (Z-08).
    LogNameUnsynced = "log-name-unsynced",
    /// A failed sync is passed over (4882, 2247).
    FailedSyncIgnored = "failed-sync-ignored",
    /// A closed session leaves its ephemerals (2355, 3144).
    EphemeralsStay = "ephemerals-stay",
    /// Reads do not wait for the writes of their own session.
    ReadsOvertake = "reads-overtake",
    /// Neither elections nor the leader that won look at who has more.
    AheadIgnored = "ahead-ignored",
    /// Who has what the leader has not keeps it, and is told what comes after (1154).
    DivergentKept = "divergent-kept",
    /// What is on this disk counts as committed (5010).
    UncommittedApplied = "uncommitted-applied",
    /// A log that is ahead of the current epoch is refused at the start (2307, 2354, 4269, Z-06).
    EpochAheadRefused = "epoch-ahead-refused",
    /// NEWLEADER makes a learner forget what is proposed and not committed (4394).
    OutstandingForgotten = "outstanding-forgotten",
    /// What was taken from a leader that died too early is believed to be here (3642).
    StagedBelieved = "staged-believed",
    /// A new role does not wait for what the former one asked of the disk (4712, 4541, 4502).
    StagesUnjoined = "stages-unjoined",
    /// A truncation that fails is passed over (3701).
    FailedTruncIgnored = "failed-trunc-ignored",
    /// A truncation leaves the end of the log that holds its point (1489).
    LogUncut = "log-uncut",
    /// A truncation is neither noted before it begins nor synced (Z-07).
    TruncUnsynced = "trunc-unsynced",
    /// What follows a truncation is held in memory until the synchronisation ends (5094, Z-02).
    TruncUnlogged = "trunc-unlogged",
    /// Snapshots, leaders' too, are put in place without a sync (2872, Z-05).
    SnapshotUnsynced = "snapshot-unsynced",
    /// A torn end of the log is taken for damage (Z-10).
    TornRefused = "torn-refused",
    /// Damage is taken for the end of the log (Z-09).
    DamageIsEnd = "damage-is-end",
    /// Recovery does not ask a log what its first transaction comes after.
    LinkIgnored = "link-ignored",
    /// Digests are not compared, and closed sessions leave ephemerals (Z-11).
    DigestIgnored = "digest-ignored",
    /// A snapshot is of many moments (3144, 3145, 3306, 4846).
    SnapshotFuzzy = "snapshot-fuzzy",
    /// A snapshot holds one transaction more than its name says (3104, 3127).
    SnapshotMisnamed = "snapshot-misnamed",
    /// The zxids of an epoch run over into the next one's (1277, 4883, Z-14).
    RollOverIgnored = "roll-over-ignored",
    /// A server that is cut off takes writes (Z-12).
    ReadOnlyWrites = "read-only-writes",
}

#[cfg(feature = "mutations")]
mod active {
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Mutation;

    static ACTIVE: AtomicU8 = AtomicU8::new(u8::MAX);

    pub(super) fn get() -> u8 {
        ACTIVE.load(Relaxed)
    }

    /// Puts one bug back in the whole process, or none.
    pub fn turn_on(mutation: Option<Mutation>) {
        ACTIVE.store(mutation.map_or(u8::MAX, |mutation| mutation as u8), Relaxed);
    }
}

#[cfg(feature = "mutations")]
pub use active::turn_on;

/// Whether a known bug is put back.
#[inline]
pub fn is_on(mutation: Mutation) -> bool {
    #[cfg(feature = "mutations")]
    return active::get() == mutation as u8;
    #[cfg(not(feature = "mutations"))]
    {
        let _ = mutation;
        false
    }
}
