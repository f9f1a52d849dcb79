//! Reads history and snapshots for learners, on threads of their own and in bounded pieces.

use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_store::{Store, StoreError};
use rookeeper_zab::{Outgoing, wire};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::snapshots::SnapshotSender;

/// Bytes of one piece, about.
const PIECE_LEN: usize = 256 << 10;

/// Pieces that wait for a socket.
const PIECES_MAX: usize = 4;

/// Why nothing (more) could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no snapshot that the history continues from.
    #[error("there is no snapshot between {base} and {through}, and none could be taken in time")]
    NoSnapshot {
        /// The earliest that would do.
        base: Zxid,
        /// The last that would do.
        through: Zxid,
    },
}

/// A piece of the stream, or why it ends.
pub(crate) type Piece = Result<Vec<u8>, HistoryError>;

/// What learners are served from.
#[derive(Clone)]
pub(crate) struct HistorySource {
    store: Arc<Store>,
    snapshots: SnapshotSender,
}

impl HistorySource {
    pub(crate) fn new(store: Arc<Store>, snapshots: SnapshotSender) -> Self {
        HistorySource { store, snapshots }
    }

    /// Begins to read what an item stands for; the pieces end with an error or when all is read.
    pub(crate) fn read(&self, item: Outgoing) -> Receiver<Piece> {
        let (pieces, receiver) = channel(PIECES_MAX);
        let source = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut sink = Sink { pieces, piece: Vec::with_capacity(2 * PIECE_LEN) };
            if let Err(Stop::Failed(error)) = source.read_into(item, &mut sink) {
                // A connection that is gone wants no error either.
                let _ = sink.pieces.blocking_send(Err(error));
            }
        });
        receiver
    }

    fn read_into(&self, item: Outgoing, sink: &mut Sink) -> Result<(), Stop> {
        match item {
            Outgoing::History { after, through } => self.history(after, through, sink)?,
            Outgoing::Snapshot { base, through } => {
                let after = self.snapshot(base, through, sink)?;
                self.history(after, through, sink)?;
            }
            Outgoing::Bytes(bytes) => sink.piece.extend_from_slice(&bytes),
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(&segment, range, kind, &mut sink.piece);
            }
        }
        sink.flush()
    }

    fn history(&self, after: Zxid, through: Zxid, sink: &mut Sink) -> Result<(), Stop> {
        if after >= through {
            return Ok(());
        }
        let mut history = self.store.history(after, through)?;
        while let Some((zxid, txn)) = history.advance()? {
            wire::history_record(zxid, txn, &mut sink.piece);
            sink.flush_if_full()?;
        }
        Ok(())
    }

    /// Sends the newest snapshot that will do; where there is none, one is taken now. Its zxid.
    fn snapshot(&self, base: Zxid, through: Zxid, sink: &mut Sink) -> Result<Zxid, Stop> {
        let mut body = self.store.exact_snapshot(base)?.filter(|body| body.zxid() <= through);
        if body.is_none() {
            self.snapshots.take_and_wait();
            body = self.store.exact_snapshot(base)?.filter(|body| body.zxid() <= through);
        }
        let Some(mut body) = body else {
            return Err(HistoryError::NoSnapshot { base, through }.into());
        };
        let zxid = body.zxid();
        tracing::info!(%zxid, "sending a snapshot to a learner");
        wire::snapshot_begin(zxid, &mut sink.piece);
        let mut buffer = vec![0; PIECE_LEN];
        loop {
            let len = body.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            sink.piece.extend_from_slice(&buffer[..len]);
            sink.flush_if_full()?;
        }
        wire::snapshot_end(&mut sink.piece);
        Ok(zxid)
    }
}

/// Why reading ends before its time.
enum Stop {
    /// Nobody wants it any more.
    Unwanted,
    Failed(HistoryError),
}

impl From<HistoryError> for Stop {
    fn from(error: HistoryError) -> Self {
        Stop::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Failed(error.into())
    }
}

struct Sink {
    pieces: Sender<Piece>,
    piece: Vec<u8>,
}

impl Sink {
    fn flush_if_full(&mut self) -> Result<(), Stop> {
        if self.piece.len() >= PIECE_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(2 * PIECE_LEN));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| Stop::Unwanted)
    }
}
