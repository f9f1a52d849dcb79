//! Reads history and snapshots for learners, on threads of their own and in bounded pieces.

use std::sync::Arc;

use rookeeper_archive::{Reading, ReadingError};
use rookeeper_store::Store;
use rookeeper_zab::Outgoing;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::snapshots::SnapshotSender;

/// Bytes of one piece, about.
const PIECE_LEN: usize = 256 << 10;

/// Pieces that wait for a socket.
const PIECES_MAX: usize = 4;

/// A piece of the stream, or why it ends.
pub(crate) type Piece = Result<Vec<u8>, ReadingError>;

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
        if let Outgoing::Snapshot { base, through } = &item {
            tracing::info!(%base, %through, "sending a snapshot to a learner");
        }
        let reading = Reading::new(Arc::clone(&self.store), item);
        let snapshots = self.snapshots.clone();
        tokio::task::spawn_blocking(move || read_all(reading, &snapshots, &pieces));
        receiver
    }
}

/// Reads to the end, or until nobody wants it any more.
fn read_all(mut reading: Reading, snapshots: &SnapshotSender, pieces: &Sender<Piece>) {
    loop {
        let mut piece = Vec::with_capacity(2 * PIECE_LEN);
        let take = || {
            snapshots.take_and_wait();
            Ok(())
        };
        let read = reading.read(PIECE_LEN, &mut piece, take);
        let goes_on = *read.as_ref().unwrap_or(&false);
        let piece = read.map(|_| piece);
        if piece.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        // A connection that is gone wants no error either.
        if pieces.blocking_send(piece).is_err() || !goes_on {
            return;
        }
    }
}
