//! What the core says to each shard, gathered into one batch a shard and call.

use crate::close::CloseReason;
use crate::core::CoreEffect;
use crate::ids::{ConnectionKey, ShardId};
use crate::message::{Delivery, DeliveryBatch, DeliveryKind};
use crate::shared::Shared;

#[derive(Debug)]
pub(super) struct Outbox {
    batches: Vec<DeliveryBatch>,
}

impl Outbox {
    pub(super) fn new(shards: u16) -> Self {
        Outbox { batches: (0..shards).map(|id| DeliveryBatch::new(ShardId(id))).collect() }
    }

    /// Says something to a connection; `frame` appends the reply's frame, if there is one.
    #[inline]
    pub(super) fn push(
        &mut self,
        connection: ConnectionKey,
        position: u64,
        kind: DeliveryKind,
        frame: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push_with(connection, position, |out| {
            frame(out);
            kind
        });
    }

    /// The same, where what is said follows from the frame.
    #[inline]
    pub(super) fn push_with(
        &mut self,
        connection: ConnectionKey,
        position: u64,
        frame: impl FnOnce(&mut Vec<u8>) -> DeliveryKind,
    ) {
        let batch = &mut self.batches[connection.shard.index()];
        let start = batch.bytes.len();
        let kind = frame(&mut batch.bytes);
        let frame = start..batch.bytes.len();
        batch.entries.push(Delivery { connection, position, frame, kind });
    }

    /// Closes a connection without another word.
    pub(super) fn close(&mut self, connection: ConnectionKey, position: u64, reason: CloseReason) {
        self.push(connection, position, DeliveryKind::Close(reason), |_| {});
    }

    /// Closes every connection of every shard that asked for a session; `for_good` where none may
    /// ask for one later either.
    pub(super) fn close_all(&mut self, position: u64, reason: CloseReason, for_good: bool) {
        for batch in &mut self.batches {
            let connection =
                ConnectionKey { index: u32::MAX, generation: u32::MAX, shard: batch.shard };
            let kind = DeliveryKind::CloseAll { reason, for_good };
            batch.entries.push(Delivery { connection, position, frame: 0..0, kind });
        }
    }

    /// Whether something is said to a shard.
    pub(super) fn speaks_to(&self, shard: ShardId) -> bool {
        !self.batches[shard.index()].entries.is_empty()
    }

    /// Bytes of frames that wait to be handed over.
    pub(super) fn bytes_len(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// Hands the batches over; those of applying (where `shared` is given) are numbered.
    pub(super) fn flush(
        &mut self,
        mut applied: Option<&mut Shared>,
        effects: &mut Vec<CoreEffect>,
    ) {
        for batch in &mut self.batches {
            if batch.entries.is_empty() {
                continue;
            }
            let shard = batch.shard;
            let mut batch = std::mem::replace(batch, DeliveryBatch::new(shard));
            if let Some(shared) = applied.as_deref_mut() {
                batch.sequence = shared.next_sequence(shard);
            }
            effects.push(CoreEffect::Deliver(batch));
        }
    }
}
