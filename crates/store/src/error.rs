//! What can go wrong with storage. Every message names the file, the offset where there is one,
//! and what can be done.

use std::io;
use std::path::PathBuf;

use rookeeper_jute::Zxid;

/// Why storage cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried: "read", "write", "sync", ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory is missing and must not be created.
    #[error(
        "missing data directory {}, and zookeeper.datadir.autocreate is false: create it, or \
         check dataDir and dataLogDir", path.display()
    )]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// A directory cannot be written to.
    #[error(
        "cannot write to data directory {}: make it writable for the user that runs the server",
        path.display()
    )]
    DirectoryNotWritable {
        /// The directory.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error(
        "{} is locked: another server uses this directory; stop it, or give this server a \
         directory of its own", path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// `dataLogDir` differs from `dataDir` and holds snapshots
    /// (Java: `LogDirContentCheckException`).
    #[error(
        "log directory {} has snapshot file {name}: check whether dataLogDir and dataDir are \
         exchanged, or move the snapshots to dataDir", path.display()
    )]
    SnapshotInLogDirectory {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        name: String,
    },
    /// `dataDir` differs from `dataLogDir` and holds logs
    /// (Java: `SnapDirContentCheckException`).
    #[error(
        "snapshot directory {} has log file {name}: check whether dataLogDir and dataDir are \
         exchanged, or move the logs to dataLogDir", path.display()
    )]
    LogInSnapshotDirectory {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        name: String,
    },
    /// There are logs and no snapshot (ZOOKEEPER-2325).
    #[error(
        "no snapshot found in {}, but there are log entries ({}): restore the missing snapshots, \
         or, after an upgrade from 3.4 or earlier that never took one, start once with \
         zookeeper.snapshot.trust.empty=true", directory.display(), log.display()
    )]
    LogWithoutSnapshot {
        /// Where snapshots should be.
        directory: PathBuf,
        /// The first log with transactions.
        log: PathBuf,
    },
    /// A snapshot cannot be used. Recovery goes on with an older one and reports this.
    #[error("{}, offset {offset}: {reason}", path.display())]
    SnapshotDamaged {
        /// The snapshot.
        path: PathBuf,
        /// Offset in the file (in the uncompressed stream, if it is compressed).
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// No snapshot can be used.
    #[error(
        "no usable snapshot in {} ({damage}): restore one from a backup; the files are left as \
         they are", directory.display()
    )]
    NoUsableSnapshot {
        /// Where they are.
        directory: PathBuf,
        /// What is wrong with each.
        damage: String,
    },
    /// A newer snapshot is damaged and the logs do not reach as far.
    #[error(
        "{damage}; the older snapshots and logs end at {reached}, so transactions up to {promised} \
         would be lost: restore the file from a backup, or move it away to go back to {reached}"
    )]
    SnapshotNotCovered {
        /// What is wrong with the snapshot.
        damage: String,
        /// Up to where the rest goes.
        reached: Zxid,
        /// Up to where the damaged snapshot goes.
        promised: Zxid,
    },
    /// A log is damaged: acknowledged transactions would be lost.
    #[error(
        "{}, offset {offset}: {reason}; the log is valid up to {last}. Restore the file from a \
         backup; or, to give up all transactions after {last}, cut it at that offset (truncate -s \
         {offset}) and move all later logs and snapshots away", path.display()
    )]
    LogDamaged {
        /// The log.
        path: PathBuf,
        /// Where the first bad record starts.
        offset: u64,
        /// What is wrong there.
        reason: String,
        /// The last good transaction.
        last: Zxid,
    },
    /// Transactions are missing between two that are there.
    #[error(
        "{}, offset {offset}: transaction {found} follows {last}, so transactions between them are \
         missing: restore the missing log or snapshot; or, to give up all transactions after \
         {last}, move this log and all later logs and snapshots away", path.display()
    )]
    LogGap {
        /// The log with the later transaction.
        path: PathBuf,
        /// Where that stands.
        offset: u64,
        /// The transaction before the gap.
        last: Zxid,
        /// The transaction after the gap.
        found: Zxid,
    },
    /// A valid record is longer than the configured limit.
    #[error(
        "{}, offset {offset}: a record of {len} bytes is longer than the limit of {limit}: raise \
         jute.maxbuffer or zookeeper.jute.maxbuffer.extrasize to what it was when the record was \
         written", path.display()
    )]
    RecordTooLong {
        /// The file.
        path: PathBuf,
        /// Where the record stands.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A valid record that the tree refuses.
    #[error(
        "{}, offset {offset}: transaction {zxid} cannot be applied: {reason}; the file was written \
         by another version or is not of this data directory", path.display()
    )]
    TxnRefused {
        /// The log.
        path: PathBuf,
        /// Where the record stands.
        offset: u64,
        /// The transaction.
        zxid: Zxid,
        /// The tree's reason.
        reason: String,
    },
    /// A file that holds one number does not.
    #[error(
        "{} holds {content:?}, which is not an epoch: restore it from a backup, or write the epoch \
         that the other servers have", path.display()
    )]
    EpochDamaged {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        content: String,
    },
    /// The note of an unfinished change of history cannot be read.
    #[error(
        "{}: the note of an unfinished change of history is damaged ({reason}): if other servers \
         have everything, move version-2 away and let this one take a snapshot", path.display()
    )]
    SwitchDamaged {
        /// The note.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The history was changed meanwhile: what was begun is void.
    #[error("the snapshot at {zxid} is of a history that was changed meanwhile")]
    Superseded {
        /// The snapshot's.
        zxid: Zxid,
    },
    /// The logs do not reach as far as was asked.
    #[error(
        "the logs of {} end at {reached}, and {through} was to be read", directory.display()
    )]
    HistoryEnds {
        /// Where the logs are.
        directory: PathBuf,
        /// The last transaction that is there.
        reached: Zxid,
        /// The one that was to come.
        through: Zxid,
    },
    /// A truncation point that this history is not proved to have.
    #[error(
        "transaction {zxid} is not proved to be in the history of {}, so it cannot be truncated to \
         it; this server has to take a snapshot of the leader's", directory.display()
    )]
    TruncationPointMissing {
        /// Where the logs are.
        directory: PathBuf,
        /// The point.
        zxid: Zxid,
    },
    /// Transactions must be appended in order.
    #[error("transaction {zxid} was to be logged after {last}")]
    OutOfOrder {
        /// The transaction.
        zxid: Zxid,
        /// The last one before it.
        last: Zxid,
    },
    /// An earlier write or sync of this log failed; nothing of it can be trusted any more.
    #[error("an earlier failure of {} makes this log unusable: restart the server", path.display())]
    Poisoned {
        /// The log.
        path: PathBuf,
    },
}

impl StoreError {
    /// Makes an error of the operating system one of ours.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { action, path, source }
    }

    /// Whether what a leader asked for cannot be done with this history, or what it sent is no
    /// snapshot: nothing was changed, and another way of synchronisation is needed.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            StoreError::TruncationPointMissing { .. }
                | StoreError::SnapshotDamaged { .. }
                | StoreError::RecordTooLong { .. }
        )
    }

    /// Whether there was no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if is_disk_full(source))
    }
}

/// Whether there was no room on the disk.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What can be done about an error of the operating system.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; give the user that runs the server read and write permission"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space on this file system and start again"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing",
        _ => "",
    }
}
