//! How other threads reach an I/O thread.

use std::sync::Arc;

use rookeeper_replica::{DeliveryBatch, Shard};

use crate::listener::Accepted;
use crate::mailbox::Mailbox;

/// What an I/O thread is told by other threads.
pub(crate) enum IoMessage {
    /// A connection to serve.
    Accepted(Accepted),
    /// Time has passed.
    Tick,
    /// The core has something new for this shard's watches.
    Wake,
    /// Something for the core that this thread steps.
    Core(crate::core_driver::CoreMessage),
    /// A question to the shard, or a change of its counters.
    Inspect(Box<dyn FnOnce(&mut Shard) + Send>),
    /// The answer to a four-letter word.
    FourLetterAnswer(crate::four_letter::Answer),
    /// Accept from this socket from now on.
    Listen(std::net::TcpListener),
    /// Close the listening socket; another one follows.
    ListenNoMore,
    /// Accept and read no more.
    Drain,
    /// Send what is left, close everything and end.
    Stop,
}

/// The queues in front of one I/O thread.
pub(crate) struct ShardPort {
    /// Everything but deliveries.
    pub(crate) messages: Mailbox<IoMessage>,
    /// What the core delivered; taken under the lock around the tree, so that no read is ahead
    /// of what its connection was told.
    pub(crate) deliveries: Mailbox<DeliveryBatch>,
}

impl ShardPort {
    /// Empty queues.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(ShardPort { messages: Mailbox::new(), deliveries: Mailbox::new() })
    }
}
