//! What recovery mended or passed over, in words for the log.

use std::fmt;
use std::path::PathBuf;

use rookeeper_jute::Zxid;

/// Something that recovery mended or passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// A snapshot that cannot be read; an older one and the logs hold all that it held.
    SnapshotSkipped {
        /// What is wrong with it.
        damage: String,
    },
    /// A torn tail that was cut off.
    TailCut {
        /// The log.
        path: PathBuf,
        /// Where it was cut.
        offset: u64,
        /// What stood there.
        reason: String,
        /// Where the bytes are kept; `None` if they were all zeros.
        kept: Option<PathBuf>,
    },
    /// A log without a single valid record that was set aside.
    LogSetAside {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Where it is kept.
        kept: PathBuf,
    },
    /// Bytes in an older log that are no part of the history, which goes on in the next one (a
    /// torn tail that a Java server left).
    LeftOver {
        /// The log.
        path: PathBuf,
        /// Where they start.
        offset: u64,
        /// What stands there.
        reason: String,
    },
    /// Damage among transactions that the snapshot holds.
    DamageCovered {
        /// The log.
        path: PathBuf,
        /// Where it starts.
        offset: u64,
        /// What stands there.
        reason: String,
    },
    /// Transactions that were in the logs twice.
    Duplicates {
        /// How many were passed over.
        count: u64,
    },
    /// A leader's history had been taken over but for the last steps.
    InstallCompleted {
        /// Its snapshot.
        snapshot: String,
    },
    /// The end of the history had been given up but for the last steps.
    TruncationCompleted {
        /// The last transaction that stayed.
        zxid: Zxid,
    },
    /// A change of history had been begun, and another server has used the directory since.
    SwitchVoid {
        /// Where the note of it is kept.
        kept: PathBuf,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::SnapshotSkipped { damage } => write!(
                f,
                "skipped a damaged snapshot, an older one and the logs hold everything: {damage}"
            ),
            Repair::TailCut { path, offset, reason, kept } => {
                let path = path.display();
                write!(f, "cut an unfinished write off {path} at offset {offset} ({reason})")?;
                match kept {
                    Some(kept) => write!(f, "; its bytes are kept in {}", kept.display()),
                    None => Ok(()),
                }
            }
            Repair::LogSetAside { path, reason, kept } => {
                let (path, kept) = (path.display(), kept.display());
                write!(f, "moved {path}, which holds no transaction ({reason}), to {kept}")
            }
            Repair::LeftOver { path, offset, reason } => write!(
                f,
                "{}, offset {offset}: passed over what a server before left unfinished ({reason})",
                path.display()
            ),
            Repair::DamageCovered { path, offset, reason } => write!(
                f,
                "{}, offset {offset}: {reason}; the snapshot holds these transactions",
                path.display()
            ),
            Repair::Duplicates { count } => {
                write!(f, "passed over {count} transactions that were logged twice")
            }
            Repair::InstallCompleted { snapshot } => {
                write!(
                    f,
                    "completed the change to the leader's history, which begins at {snapshot}"
                )
            }
            Repair::TruncationCompleted { zxid } => {
                write!(f, "completed the removal of what came after transaction {zxid}")
            }
            Repair::SwitchVoid { kept } => write!(
                f,
                "gave up an unfinished change of history, since another server has used the \
                 directory; its files are kept beside {}",
                kept.display()
            ),
        }
    }
}
