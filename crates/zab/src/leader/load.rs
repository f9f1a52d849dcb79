//! What learners' requests take of this leader's memory until they are done: committed, applied, or
//! answered. An honest learner holds its clients back before it comes near these bounds (Java:
//! `zookeeper.globalOutstandingLimit` of the learner). One that does not is not read until what it
//! asked for is done by half; nothing of it is lost or overtaken by that.
//!
//! What is not counted: acknowledgements and pings leave nothing behind.

use std::collections::{BTreeMap, BTreeSet};

use super::types::LoadLimits;
use crate::links::ConnectionId;

/// What a REVALIDATE counts for until it is answered, in bytes: it waits behind the requests that
/// came before it.
pub const REVALIDATION_LEN: usize = 256;

/// What is held for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    requests: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, requests: usize, bytes: usize) {
        self.requests += requests;
        self.bytes += bytes;
    }

    fn remove(&mut self, requests: usize, bytes: usize) {
        let Held { requests: all, bytes: all_bytes } = self;
        assert!(*all >= requests && *all_bytes >= bytes, "what is done was asked for");
        *all -= requests;
        *all_bytes -= bytes;
    }

    fn exceeds(&self, requests_max: usize, bytes_max: usize) -> bool {
        self.requests > requests_max || self.bytes > bytes_max
    }
}

/// Who holds how much, and who is not read because of it.
#[derive(Debug)]
pub(crate) struct Loads {
    limits: LoadLimits,
    held: BTreeMap<ConnectionId, Held>,
    total: Held,
    paused: BTreeSet<ConnectionId>,
}

impl Loads {
    pub(crate) fn new(limits: LoadLimits) -> Loads {
        let (held, paused) = (BTreeMap::new(), BTreeSet::new());
        Loads { limits, held, total: Held::default(), paused }
    }

    /// A learner asks for something. What it held when its connection ended stays counted.
    pub(crate) fn add(&mut self, connection: ConnectionId, requests: usize, bytes: usize) {
        self.held.entry(connection).or_default().add(requests, bytes);
        self.total.add(requests, bytes);
    }

    /// Something is done.
    pub(crate) fn remove(&mut self, connection: ConnectionId, requests: usize, bytes: usize) {
        let Some(held) = self.held.get_mut(&connection) else { return };
        held.remove(requests, bytes);
        self.total.remove(requests, bytes);
        if *held == Held::default() {
            self.held.remove(&connection);
        }
    }

    /// Whether this learner is to be read no more; said once.
    pub(crate) fn pause(&mut self, connection: ConnectionId) -> bool {
        self.exceeds(connection, 1) && self.paused.insert(connection)
    }

    /// Who is to be read again.
    pub(crate) fn resume(&mut self) -> Vec<ConnectionId> {
        if self.paused.is_empty() {
            return Vec::new();
        }
        let again = self.paused.iter().filter(|paused| !self.exceeds(**paused, 2));
        let again: Vec<ConnectionId> = again.copied().collect();
        for connection in &again {
            self.paused.remove(connection);
        }
        again
    }

    pub(crate) fn is_paused(&self, connection: ConnectionId) -> bool {
        self.paused.contains(&connection)
    }

    /// A connection has ended; what it asked for goes on.
    pub(crate) fn ended(&mut self, connection: ConnectionId) {
        self.paused.remove(&connection);
    }

    /// Whether a learner holds more than a part of what it may. Where all together hold too much,
    /// that is a sixteenth for each, so that one that asks for little goes on.
    fn exceeds(&self, connection: ConnectionId, part: usize) -> bool {
        let Some(held) = self.held.get(&connection) else { return false };
        let LoadLimits { requests_max, bytes_max, requests_total_max, bytes_total_max } =
            self.limits;
        let crowded = self.total.exceeds(requests_total_max / part, bytes_total_max / part);
        let part = if crowded { 16 * part } else { part };
        held.exceeds(requests_max / part, bytes_max / part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn loads() -> Loads {
        Loads::new(LoadLimits {
            requests_max: 32,
            bytes_max: 3200,
            requests_total_max: 48,
            bytes_total_max: 4800,
        })
    }

    #[test]
    fn who_holds_too_much_waits_until_half_of_it_is_done() {
        let mut loads = loads();
        loads.add(A, 32, 3200);
        assert!(!loads.pause(A), "what is allowed");
        loads.add(A, 1, 0);
        assert!(loads.pause(A) && !loads.pause(A), "said once");
        loads.remove(A, 16, 1599);
        assert!(loads.resume().is_empty(), "a byte too many");
        loads.remove(A, 1, 1);
        assert_eq!(loads.resume(), [A]);
        loads.add(A, 0, 1601);
        assert!(loads.pause(A), "bytes count as well");
    }

    #[test]
    fn a_crowd_lets_small_ones_through() {
        let mut loads = loads();
        loads.add(A, 32, 0);
        loads.add(B, 17, 0);
        assert!(loads.pause(B) && !loads.pause(ConnectionId(3)));
        loads.add(ConnectionId(3), 2, 0);
        assert!(!loads.pause(ConnectionId(3)));
        assert!(loads.resume().is_empty());
        loads.ended(A);
        loads.remove(A, 32, 0);
        assert_eq!(loads.resume().len(), 0, "24 are half");
        loads.remove(B, 1, 0);
        assert_eq!(loads.resume(), [B]);
    }
}
