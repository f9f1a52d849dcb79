//! The one history: every transaction that any server appended, with the one before it, and how
//! far the history is committed.
//!
//! Transactions form a tree; what is committed is one path of it. So agreement, total order, no
//! gaps and "nothing committed is lost" are all one question: does what a server has lie on the
//! path, and does the path only grow?

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::Zxid;

use crate::checks::{Committed, Fault};

#[derive(Debug)]
struct Node {
    bytes: Arc<[u8]>,
    parent: Zxid,
}

/// Every transaction that was appended anywhere.
#[derive(Debug, Default)]
pub struct Lineage {
    nodes: BTreeMap<Zxid, Node>,
    /// The committed path, oldest first.
    path: Vec<Zxid>,
    /// Where an epoch began: the last transaction of its leader's history then.
    starts: BTreeMap<u32, Zxid>,
    /// Whether a lone server makes the history: it gives a zxid again that a crash took back.
    is_alone: bool,
}

const AGREEMENT: &str = "agreement";

impl Lineage {
    /// No transactions yet.
    pub fn new(is_alone: bool) -> Self {
        Lineage { is_alone, ..Lineage::default() }
    }

    /// The last committed transaction.
    pub fn tip(&self) -> Zxid {
        self.path.last().copied().unwrap_or(Zxid::ZERO)
    }

    /// The last transaction at or before a place that need not be one: a new epoch's start is the
    /// last transaction before it.
    pub fn resolve(&self, zxid: Zxid) -> Zxid {
        match self.starts.get(&zxid.epoch()) {
            Some(start) if zxid.counter() == 0 => *start,
            _ => zxid,
        }
    }

    /// A leader begins an epoch with a history that ends at `last`.
    ///
    /// # Errors
    /// If the epoch has begun elsewhere, or the history lacks what is committed.
    pub fn begin_epoch(&mut self, epoch: u32, last: Zxid) -> Result<(), Fault> {
        let last = self.resolve(last);
        if let Some(other) = self.starts.insert(epoch, last) {
            let what = format!("epoch {epoch} has two leaders: after {other} and after {last}");
            return Err(Fault::new("one leader per epoch", what));
        }
        self.holds_committed(last, "the new leader's history")
    }

    /// Whether a history that ends at `last` has all that is committed.
    ///
    /// # Errors
    /// If it has not.
    pub fn holds_committed(&self, last: Zxid, whose: &str) -> Result<(), Fault> {
        let tip = self.tip();
        let mut at = self.resolve(last);
        while at > tip {
            match self.nodes.get(&at) {
                Some(node) => at = node.parent,
                None => break,
            }
        }
        if at == tip {
            return Ok(());
        }
        let what = format!("{whose} ends at {last} and lacks {tip}, which is committed");
        Err(Fault::new("durability", what))
    }

    /// A server appends a transaction after `previous`.
    ///
    /// # Errors
    /// If it differs from what another server has, or another one comes before it there.
    pub fn append(&mut self, previous: Zxid, zxid: Zxid, bytes: &[u8]) -> Result<(), Fault> {
        let parent = self.resolve(previous);
        if parent >= zxid {
            let what = format!("{zxid} is appended after {parent}");
            return Err(Fault::new(AGREEMENT, what));
        }
        match self.nodes.get(&zxid) {
            Some(node) if *node.bytes != *bytes => {
                let what = format!("{zxid} is not the same transaction on two servers");
                Err(Fault::new(AGREEMENT, what))
            }
            Some(node) if node.parent != parent => {
                let what = format!("{zxid} follows {} and elsewhere {parent}", node.parent);
                Err(Fault::new(AGREEMENT, what))
            }
            Some(_) => Ok(()),
            None => {
                self.nodes.insert(zxid, Node { bytes: Arc::from(bytes), parent });
                Ok(())
            }
        }
    }

    /// Everything up to `zxid` is committed.
    ///
    /// # Errors
    /// If that is not a longer path of the same history.
    pub fn commit(&mut self, zxid: Zxid) -> Result<(), Fault> {
        let zxid = self.resolve(zxid);
        if zxid <= self.tip() {
            return self.lies_on_path(zxid);
        }
        let mut more = Vec::new();
        let mut at = zxid;
        while at > self.tip() {
            more.push(at);
            let Some(node) = self.nodes.get(&at) else {
                let what = format!("{zxid} is committed and nobody appended {at}");
                return Err(Fault::new(AGREEMENT, what));
            };
            at = node.parent;
        }
        if at != self.tip() {
            let what = format!("{zxid} is committed without {}, which was before", self.tip());
            return Err(Fault::new(AGREEMENT, what));
        }
        self.path.extend(more.into_iter().rev());
        Ok(())
    }

    /// Whether a transaction is committed.
    ///
    /// # Errors
    /// If it is not.
    pub fn lies_on_path(&self, zxid: Zxid) -> Result<(), Fault> {
        let zxid = self.resolve(zxid);
        if zxid == Zxid::ZERO || self.path.binary_search(&zxid).is_ok() {
            return Ok(());
        }
        let what = format!("{zxid} is not in the committed history, which is at {}", self.tip());
        Err(Fault::new(AGREEMENT, what))
    }

    /// A server has recovered from its disk: what its logs hold is what was appended. A lone
    /// server's history is what it recovered; what lies behind it never was.
    ///
    /// # Errors
    /// If something differs, or a lone server lost what was committed.
    pub fn recovered(&mut self, last: Zxid, txns: &[Committed]) -> Result<(), Fault> {
        for (zxid, bytes) in txns {
            if self.nodes.get(zxid).is_none_or(|node| node.bytes != *bytes) {
                let what = format!("recovery finds a transaction {zxid} that nobody appended");
                return Err(Fault::new("durability", what));
            }
        }
        if self.is_alone {
            self.holds_committed(last, "the recovered server's history")?;
            self.nodes.retain(|zxid, _| *zxid <= last);
            self.commit(last)?;
        }
        Ok(())
    }

    /// The committed transactions in order.
    pub fn committed(&self) -> Vec<Committed> {
        self.path.iter().map(|zxid| (*zxid, self.nodes[zxid].bytes.clone())).collect()
    }

    /// How many transactions were appended.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(false);
        lineage.begin_epoch(1, Zxid::ZERO).unwrap();
        for counter in 1..=3 {
            lineage.append(z(1, counter - 1), z(1, counter), b"x").unwrap();
        }
        lineage.commit(z(1, 2)).unwrap();
        lineage
    }

    #[test]
    fn a_history_grows_over_epochs() {
        let mut lineage = lineage();
        lineage.begin_epoch(2, z(1, 2)).unwrap();
        lineage.append(z(2, 0), z(2, 1), b"y").unwrap();
        lineage.append(z(1, 2), z(2, 1), b"y").unwrap();
        lineage.commit(z(2, 1)).unwrap();
        lineage.lies_on_path(z(2, 0)).unwrap();
        let zxids: Vec<Zxid> = lineage.committed().into_iter().map(|(zxid, _)| zxid).collect();
        assert_eq!(zxids, [z(1, 1), z(1, 2), z(2, 1)]);
    }

    #[test]
    fn each_way_to_disagree_is_found() {
        assert!(lineage().append(z(1, 2), z(1, 3), b"other").is_err(), "other bytes");
        assert!(lineage().append(z(1, 1), z(1, 3), b"x").is_err(), "a gap");
        assert!(lineage().append(z(1, 4), z(1, 3), b"x").is_err(), "backwards");
        assert!(lineage().commit(z(1, 9)).is_err(), "nobody has it");
        assert!(lineage().begin_epoch(2, z(1, 1)).is_err(), "a committed one is missing");
        assert!(lineage().begin_epoch(1, z(1, 3)).is_err(), "a second leader");
        let mut fork = lineage();
        fork.begin_epoch(2, z(1, 2)).unwrap();
        fork.append(z(1, 2), z(2, 1), b"y").unwrap();
        fork.commit(z(2, 1)).unwrap();
        assert!(fork.commit(z(1, 3)).is_err(), "another branch");
        assert!(fork.recovered(z(1, 3), &[(z(1, 3), Arc::from(&b"z"[..]))]).is_err());
    }

    #[test]
    fn a_lone_server_may_lose_what_was_not_committed_and_nothing_else() {
        let mut lineage = Lineage::new(true);
        for counter in 1..=3 {
            lineage.append(z(0, counter - 1), z(0, counter), b"x").unwrap();
        }
        lineage.commit(z(0, 1)).unwrap();
        assert!(lineage.recovered(Zxid::ZERO, &[]).is_err());
        lineage.recovered(z(0, 2), &[]).unwrap();
        lineage.append(z(0, 2), z(0, 3), b"another").unwrap();
    }
}
