//! Keys of connections and sessions within one server, and time as the drivers tell it.

use std::fmt;

/// The time of a call: the cores have no clock of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall clock, in milliseconds since the Unix epoch: what transactions and reports carry.
    pub wall_ms: i64,
    /// A clock that never goes back, in microseconds since any fixed moment: what timeouts and
    /// latencies are measured with. All threads of one server read the same clock.
    pub monotonic_us: u64,
}

impl Now {
    /// The monotonic clock in milliseconds.
    pub fn monotonic_ms(self) -> u64 {
        self.monotonic_us / 1000
    }
}

/// One of a server's I/O threads: an index from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The id as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A client's connection, unique among all that the server has or had: a place in its shard's
/// slab and how often that place was used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// The place in the shard's slab; drivers may index their sockets by it.
    pub index: u32,
    /// How often the place was used before.
    pub generation: u32,
    /// The I/O thread that owns the connection.
    pub shard: ShardId,
}

impl fmt::Debug for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}.{}.{}", self.shard.0, self.index, self.generation)
    }
}

/// A session in the core's slab; a connection carries it so that requests need no lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SessionKey {
    /// The key of no session.
    pub(crate) const NONE: SessionKey = SessionKey { index: u32::MAX, generation: u32::MAX };
}
