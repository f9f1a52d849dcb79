//! Reads history and snapshots for learners, piece by piece.

use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_store::{History, SnapshotBody, Store, StoreError};
use rookeeper_zab::{Outgoing, wire};

/// Why nothing (more) could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// A snapshot is not readable; another one is taken or made the next time.
    #[error(transparent)]
    Snapshot(StoreError),
    /// The log does not have all of the history.
    #[error("{source}; what is sent from the log is later than {unproven} from now on")]
    History {
        /// Why not.
        source: StoreError,
        /// It is not proved to have everything up to here.
        unproven: Zxid,
    },
    /// There is no snapshot that the history continues from.
    #[error("there is no snapshot between {base} and {through}, and none could be taken in time")]
    NoSnapshot {
        /// The earliest that would do.
        base: Zxid,
        /// The last that would do.
        through: Zxid,
    },
}

impl ReadingError {
    /// Up to where the log is not proved to have everything; `None` where that is no reason.
    pub fn unproven(&self) -> Option<Zxid> {
        match self {
            ReadingError::History { unproven, .. } => Some(*unproven),
            ReadingError::Snapshot(_) | ReadingError::NoSnapshot { .. } => None,
        }
    }

    /// Of a history that was to be read up to `through`.
    fn history(source: StoreError, through: Zxid) -> ReadingError {
        let unproven = match &source {
            StoreError::LogGap { found, .. } => Zxid(found.0 - 1),
            _ => through,
        };
        ReadingError::History { source, unproven: unproven.min(through) }
    }
}

enum At {
    /// Nothing is read yet.
    Start(Outgoing),
    /// In a snapshot, which history up to a transaction follows.
    Body {
        body: Box<SnapshotBody>,
        through: Zxid,
    },
    History {
        history: Box<History>,
        through: Zxid,
    },
    End,
}

/// What a learner is sent from disk, on its way.
pub struct Reading {
    store: Arc<Store>,
    at: At,
}

impl Reading {
    /// Of an item that is to be read from disk, or is at hand.
    pub fn new(store: Arc<Store>, item: Outgoing) -> Self {
        Reading { store, at: At::Start(item) }
    }

    /// Appends at least `len` bytes to `piece` (and one transaction more at most), or all that is
    /// left; `false` once nothing is left. Where there is no snapshot that will do, `take` takes
    /// one.
    ///
    /// # Errors
    /// Nothing more can be read then.
    pub fn read(
        &mut self,
        len: usize,
        piece: &mut Vec<u8>,
        mut take: impl FnMut() -> Result<(), StoreError>,
    ) -> Result<bool, ReadingError> {
        let wanted = piece.len() + len;
        while piece.len() < wanted {
            self.at = match std::mem::replace(&mut self.at, At::End) {
                At::Start(item) => self.begin(item, piece, &mut take)?,
                At::Body { mut body, through } => {
                    let from = piece.len();
                    piece.resize(wanted, 0);
                    let read = body.read(&mut piece[from..]).map_err(ReadingError::Snapshot)?;
                    piece.truncate(from + read);
                    if read > 0 {
                        At::Body { body, through }
                    } else {
                        wire::snapshot_end(piece);
                        self.history(body.zxid(), through)?
                    }
                }
                At::History { mut history, through } => {
                    let next = history.advance();
                    match next.map_err(|error| ReadingError::history(error, through))? {
                        Some((zxid, txn)) => {
                            wire::history_record(zxid, txn, piece);
                            At::History { history, through }
                        }
                        None => At::End,
                    }
                }
                At::End => break,
            };
        }
        Ok(!matches!(self.at, At::End))
    }

    fn begin(
        &self,
        item: Outgoing,
        piece: &mut Vec<u8>,
        take: &mut impl FnMut() -> Result<(), StoreError>,
    ) -> Result<At, ReadingError> {
        match item {
            Outgoing::History { after, through } => self.history(after, through),
            Outgoing::Snapshot { base, through } => {
                // Who leads, or follows a leader, has all that is committed.
                self.store.holds_nothing_after(through);
                let mut body = self.snapshot(base, through)?;
                if body.is_none() {
                    take().map_err(ReadingError::Snapshot)?;
                    body = self.snapshot(base, through)?;
                }
                let body = Box::new(body.ok_or(ReadingError::NoSnapshot { base, through })?);
                wire::snapshot_begin(body.zxid(), piece);
                Ok(At::Body { body, through })
            }
            Outgoing::Bytes(bytes) => {
                piece.extend_from_slice(&bytes);
                Ok(At::End)
            }
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(&segment, range, kind, piece);
                Ok(At::End)
            }
        }
    }

    fn history(&self, after: Zxid, through: Zxid) -> Result<At, ReadingError> {
        if after >= through {
            return Ok(At::End);
        }
        let history = self.store.history(after, through);
        let history = history.map_err(|error| ReadingError::history(error, through))?;
        Ok(At::History { history: Box::new(history), through })
    }

    /// The newest snapshot, if the history goes on from it. One with the counter 0 is the tree of
    /// a leader that has no transaction yet: it holds what the last transaction before it made.
    fn snapshot(&self, base: Zxid, through: Zxid) -> Result<Option<SnapshotBody>, ReadingError> {
        let body = self.store.exact_snapshot(base).map_err(ReadingError::Snapshot)?;
        Ok(body.filter(|body| body.zxid() <= through || body.zxid().counter() == 0))
    }
}
