//! Where the core's effects go that are the same alone and in an ensemble: shards, the snapshot
//! thread, the operators' log.

use std::sync::Arc;
use std::task::Waker;

use rookeeper_replica::CoreEffect;

use crate::clock::Clock;
use crate::io::{IoMessage, ShardPort};
use crate::log_budget::LogBudget;
use crate::measures::Measures;
use crate::snapshots::SnapshotSender;

/// Expired sessions that are named in the log, of one tick.
const SESSIONS_NAMED_MAX: usize = 20;

/// Everybody but disk and peers.
pub(crate) struct Outlets {
    clock: Clock,
    shards: Vec<Arc<ShardPort>>,
    snapshots: SnapshotSender,
    /// Threads to wake once the lock is released.
    wakers: Vec<Waker>,
    quota_log: LogBudget,
    measures: Arc<Measures>,
}

impl Outlets {
    pub(crate) fn new(
        clock: Clock,
        shards: Vec<Arc<ShardPort>>,
        snapshots: SnapshotSender,
        measures: Arc<Measures>,
    ) -> Self {
        let quota_log = LogBudget::default();
        Outlets { clock, shards, snapshots, wakers: Vec::new(), quota_log, measures }
    }

    /// Carries out an effect under the lock that it was made under.
    ///
    /// # Panics
    /// For effects that ask something of disk, peers or the driver itself.
    pub(crate) fn carry(&mut self, effect: CoreEffect) {
        match effect {
            CoreEffect::Deliver(batch) => {
                let port = &self.shards[batch.shard().index()];
                self.wakers.extend(port.deliveries.push(batch));
            }
            CoreEffect::Wake(shard) => {
                let port = &self.shards[shard.index()];
                self.wakers.extend(port.messages.push(IoMessage::Wake));
            }
            CoreEffect::BeginSnapshot => self.snapshots.begin(),
            CoreEffect::SessionsExpired(sessions) => {
                for session in sessions.iter().take(SESSIONS_NAMED_MAX) {
                    tracing::info!(%session, "session expired");
                }
                if sessions.len() > SESSIONS_NAMED_MAX {
                    let more = sessions.len() - SESSIONS_NAMED_MAX;
                    tracing::info!(more, "more sessions expired in this tick");
                }
            }
            CoreEffect::QuotaExceeded(exceeded) => {
                if exceeded.is_hard {
                    self.measures.quota_refused(&exceeded.root);
                }
                if let Some(untold) = self.quota_log.take(self.clock.now().monotonic_ms()) {
                    tracing::warn!(untold, "{exceeded}");
                }
            }
            CoreEffect::DigestMismatch(zxid) => {
                tracing::error!(%zxid, "the tree's digest is not that of the transaction");
            }
            other => unreachable!("the driver carries this out itself: {other:?}"),
        }
    }

    /// Wakes whom the effects concern, once the lock is released.
    pub(crate) fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}
