//! Bytes to send. Buffers are lent to connections that have something to keep and taken back when
//! they have not.

use super::connection::Phase;
use super::{Shard, ShardEffect, ShardEffects};
use crate::ids::ConnectionKey;

/// A buffer larger than this is given back to the allocator rather than kept, in bytes.
const BUFFER_KEPT_MAX: usize = 64 << 10;
/// How many buffers are kept for the next use.
const BUFFERS_KEPT_MAX: usize = 64;

/// Buffers that nobody uses at the moment.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    kept: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.kept.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        let useful = (1..=BUFFER_KEPT_MAX).contains(&buffer.capacity());
        if useful && self.kept.len() < BUFFERS_KEPT_MAX {
            buffer.clear();
            self.kept.push(buffer);
        }
    }
}

impl Shard {
    /// What is to be sent to a connection now; empty for a key that means nothing.
    pub fn output(&self, key: ConnectionKey) -> &[u8] {
        match self.connections.find(key) {
            Some(index) => {
                let connection = &self.connections[index];
                &connection.output[connection.output_start..]
            }
            None => &[],
        }
    }

    /// The first `len` bytes of [`Shard::output`] were sent.
    ///
    /// # Panics
    /// If the output is shorter than that.
    pub fn written(&mut self, key: ConnectionKey, len: usize, effects: &mut ShardEffects) {
        let Some(index) = self.connections.find(key) else { return };
        let connection = &mut self.connections[index];
        assert!(len <= connection.output_len(), "no more is sent than there is");
        connection.output_start += len;
        if connection.output_len() == 0 {
            connection.announced = false;
            connection.output_start = 0;
            let output = std::mem::take(&mut connection.output);
            self.buffers.put(output);
        } else if connection.output_start > BUFFER_KEPT_MAX.max(connection.output_len()) {
            // A client that is never quite up to date must not keep what it was sent before.
            connection.output.drain(..connection.output_start);
            connection.output_start = 0;
        }
        let connection = &self.connections[index];
        let room = connection.output_len() <= self.config.output_bytes_max / 2;
        if connection.paused && room && !connection.ready && connection.phase != Phase::Closing {
            self.make_ready(index);
            effects.effects.push(ShardEffect::More);
        }
    }

    /// The connection's output, with a buffer behind it.
    #[inline]
    pub(super) fn output_mut(&mut self, index: usize) -> &mut Vec<u8> {
        let connection = &mut self.connections[index];
        if connection.output.capacity() == 0 {
            connection.output = self.buffers.take();
        }
        &mut connection.output
    }

    /// Tells the driver, once, that there is something to send. Replies need no limit here: no
    /// request is taken up while there is much to send, and few are on their way.
    #[inline]
    pub(super) fn announce(&mut self, index: usize, effects: &mut ShardEffects) {
        let connection = &mut self.connections[index];
        if !connection.announced {
            connection.announced = true;
            let key = self.connections.key(index);
            effects.effects.push(ShardEffect::Output(key));
        }
    }

    /// Takes all buffers of a connection back.
    pub(super) fn release_buffers(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.output_start = 0;
        let (input, output) =
            (std::mem::take(&mut connection.input), std::mem::take(&mut connection.output));
        self.buffers.put(input);
        self.buffers.put(output);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rookeeper_tree::AccessControl;

    use super::*;
    use crate::{Now, Peer, ShardConfig, ShardId};

    #[test]
    fn what_was_sent_is_given_back_though_the_output_is_never_empty() {
        let access = Arc::new(AccessControl::default());
        let mut shard = Shard::new(ShardId(0), Arc::new(ShardConfig::default()), access);
        let address = "127.0.0.1:1".parse().expect("an address");
        let key = shard.accept(Now::default(), Peer { address, secure: false });
        let mut effects = ShardEffects::default();
        let mut expected = 0u8;
        let mut next = 0u8;
        for _ in 0..10_000 {
            let out = shard.output_mut(0);
            out.extend((0..1000).map(|_| {
                next = next.wrapping_add(1);
                next
            }));
            let len = shard.output(key).len() - 100;
            for byte in &shard.output(key)[..len] {
                expected = expected.wrapping_add(1);
                assert_eq!(*byte, expected);
            }
            shard.written(key, len, &mut effects);
        }
        assert_eq!(shard.output(key).len(), 100);
        assert!(shard.connections[0].output.capacity() < 4 * BUFFER_KEPT_MAX);
        shard.written(key, 100, &mut effects);
        assert_eq!(shard.connections[0].output.capacity(), 0, "an idle connection owns no buffer");
    }
}
