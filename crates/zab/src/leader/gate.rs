//! What a learner hears of commits while a sync of its clients waits for its answer.
//!
//! A Java learner matches what comes back from the leader with its clients' writes and syncs in the
//! one order in which it forwarded them, over all sessions (`CommitProcessor.queuedWriteRequests`).
//! So the answer to a sync has its place among the commits, and what was committed after the sync
//! waits for it here. It waits for one round of pings, and only on the way to this learner.

use std::collections::VecDeque;

use rookeeper_jute::Zxid;

use crate::outgoing::Outgoing;

/// The order of answers to syncs and of commits on the way to one learner.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// For each sync that waits, the last transaction before it.
    syncs: VecDeque<Zxid>,
    /// Commits behind the first of them: the last transaction of each, and its packets.
    held: VecDeque<(Zxid, Outgoing)>,
}

impl Gate {
    /// A sync waits from now on; everything up to `after` goes before its answer.
    pub(super) fn close_after(&mut self, after: Zxid) {
        self.syncs.push_back(after);
    }

    /// Whether commits up to here may go at once, all together.
    pub(super) fn lets_pass(&self, through: Zxid) -> bool {
        self.syncs.front().is_none_or(|after| through <= *after)
    }

    /// Whether no commit up to here is held.
    pub(super) fn has_passed(&self, through: Zxid) -> bool {
        self.held.front().is_none_or(|(zxid, _)| *zxid > through)
    }

    /// Takes the commit of one transaction; gives it back where it may go now.
    pub(super) fn pass(&mut self, zxid: Zxid, item: Outgoing) -> Option<Outgoing> {
        if self.lets_pass(zxid) {
            return Some(item);
        }
        self.held.push_back((zxid, item));
        None
    }

    /// The first sync is answered: what waited for it, up to the next one.
    pub(super) fn answered(&mut self) -> Vec<Outgoing> {
        self.syncs.pop_front();
        let open = self.held.iter().take_while(|(zxid, _)| self.lets_pass(*zxid)).count();
        self.held.drain(..open).map(|(_, item)| item).collect()
    }

    /// No sync is answered any more: all that waited.
    pub(super) fn open(&mut self) -> Vec<Outgoing> {
        self.syncs.clear();
        self.held.drain(..).map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u8) -> Outgoing {
        Outgoing::Bytes(vec![number])
    }

    fn numbers(items: Vec<Outgoing>) -> Vec<u8> {
        items
            .into_iter()
            .map(|item| match item {
                Outgoing::Bytes(bytes) => bytes[0],
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn commits_keep_their_places_among_syncs() {
        let mut gate = Gate::default();
        assert!(gate.lets_pass(Zxid(9)));
        gate.close_after(Zxid(3));
        gate.close_after(Zxid(3));
        gate.close_after(Zxid(5));
        assert!(gate.lets_pass(Zxid(3)) && !gate.lets_pass(Zxid(4)));
        assert!(gate.pass(Zxid(3), item(3)).is_some());
        for number in 4..8 {
            assert!(gate.pass(Zxid(number.into()), item(number)).is_none());
        }
        assert!(gate.answered().is_empty(), "the second sync has the same place");
        assert!(gate.has_passed(Zxid(3)) && !gate.has_passed(Zxid(4)));
        assert_eq!(numbers(gate.answered()), [4, 5]);
        assert!(gate.has_passed(Zxid(5)) && !gate.has_passed(Zxid(6)));
        assert_eq!(numbers(gate.answered()), [6, 7]);
        assert!(gate.lets_pass(Zxid(99)));
    }

    #[test]
    fn an_opened_gate_holds_nothing() {
        let mut gate = Gate::default();
        gate.close_after(Zxid(1));
        assert!(gate.pass(Zxid(2), item(2)).is_none());
        assert_eq!(numbers(gate.open()), [2]);
        assert!(gate.pass(Zxid(3), item(3)).is_some());
    }
}
