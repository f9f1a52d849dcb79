//! The one history: every transaction that any server appended, with the one before it, and how
//! far the history is committed.
//!
//! Transactions form a tree; what is committed is one path of it. So agreement, total order, no
//! gaps and "nothing committed is lost" are all one question: does what a server has lie on the
//! path, and does the path only grow?

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::txn::{SetDataTxn, TxnHeader};
use rookeeper_jute::{OpCode, Reader, Zxid};
use rookeeper_zab::membership::{Membership, MembershipRules};

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
    /// The configuration of the beginning. Where there is none, a lone server makes the history:
    /// it gives a zxid again that a crash took back.
    first: Option<Arc<Membership>>,
    /// Configurations by the transactions that make them, committed or not.
    changes: BTreeMap<Zxid, Arc<Membership>>,
    /// The last one that is committed.
    in_force: Option<Arc<Membership>>,
}

const AGREEMENT: &str = "agreement";

/// The configuration that a transaction makes.
fn configuration(txn: &[u8]) -> Option<Membership> {
    let mut reader = Reader::new(txn);
    let header: TxnHeader = reader.read().ok()?;
    if header.txn_type != OpCode::Reconfig.to_i32() {
        return None;
    }
    let record: SetDataTxn<'_> = reader.read().ok()?;
    let text = std::str::from_utf8(record.data?).ok()?;
    Membership::parse(text, &MembershipRules::default()).ok()
}

impl Lineage {
    /// No transactions yet.
    pub fn new(first: Option<Arc<Membership>>) -> Self {
        Lineage { first, ..Lineage::default() }
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
        let is_late = self.starts.range(epoch + 1..).next().is_some();
        if is_late {
            // Its quorum has left it for a later leader meanwhile, with all that it had.
            return self.lies_on_path(last);
        }
        self.holds_committed(last, "the new leader's history")
    }

    /// Whether an epoch has begun anywhere.
    pub fn has_begun(&self, epoch: u32) -> bool {
        self.starts.contains_key(&epoch)
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
                if let Some(membership) = configuration(bytes) {
                    self.changes.insert(zxid, Arc::new(membership));
                }
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
        for zxid in more.into_iter().rev() {
            self.path.push(zxid);
            if let Some(membership) = self.changes.get(&zxid) {
                self.in_force = Some(membership.clone());
            }
        }
        Ok(())
    }

    /// The configuration that is committed last; `None` where a server stands alone.
    pub fn in_force(&self) -> Option<&Arc<Membership>> {
        self.in_force.as_ref().or(self.first.as_ref())
    }

    /// Those of which quorums must have a transaction before it is committed: the one in force,
    /// and each that is committed with it.
    pub fn deciding(&self, zxid: Zxid) -> Vec<Arc<Membership>> {
        let mut deciding: Vec<Arc<Membership>> = self.in_force().cloned().into_iter().collect();
        let mut at = self.resolve(zxid);
        while at > self.tip() {
            deciding.extend(self.changes.get(&at).cloned());
            let Some(node) = self.nodes.get(&at) else { break };
            at = node.parent;
        }
        deciding
    }

    /// Configurations by which something may be decided: the one in force, and those that come
    /// after it wherever they are, on whatever branch.
    pub fn may_decide(&self) -> impl Iterator<Item = &Membership> {
        let proposed = self.changes.range(self.tip()..).map(|(_, membership)| &**membership);
        self.in_force().map(|membership| &**membership).into_iter().chain(proposed)
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
        if self.first.is_none() {
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

    /// What comes before a transaction, and it, wherever it was appended; `None` where it is
    /// committed, or nobody appended it.
    pub fn branch(&self, zxid: Zxid) -> Option<Vec<Committed>> {
        if self.lies_on_path(zxid).is_ok() {
            return None;
        }
        let mut branch = Vec::new();
        let mut at = self.resolve(zxid);
        while at > Zxid::ZERO {
            let node = self.nodes.get(&at)?;
            branch.push((at, node.bytes.clone()));
            at = node.parent;
        }
        branch.reverse();
        Some(branch)
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
    use rookeeper_jute::{Encode, SessionId, Xid};

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    fn membership(voters: &[i64]) -> Arc<Membership> {
        let line = |id| format!("server.{id}=s{id}:2888:3888:participant;s{id}:2181\n");
        let text: String = voters.iter().map(line).collect();
        Arc::new(Membership::parse(&text, &MembershipRules::default()).unwrap())
    }

    fn first() -> Arc<Membership> {
        membership(&[1, 2, 3])
    }

    #[test]
    fn a_pending_configuration_decides_beside_the_one_in_force() {
        let mut lineage = lineage();
        let text = membership(&[3, 4, 5]).to_string();
        let header = TxnHeader {
            client_id: SessionId(7),
            cxid: Xid(1),
            zxid: z(1, 4),
            time_ms: 5,
            txn_type: OpCode::Reconfig.to_i32(),
        };
        let mut bytes = header.to_bytes();
        let path = Some("/zookeeper/config".into());
        SetDataTxn { path, data: Some(text.as_bytes()), version: -1 }.encode(&mut bytes);
        lineage.append(z(1, 3), z(1, 4), &bytes).unwrap();
        lineage.append(z(1, 4), z(1, 5), b"x").unwrap();
        assert_eq!(lineage.deciding(z(1, 3)).len(), 1);
        assert_eq!(lineage.deciding(z(1, 5)).len(), 2);
        lineage.commit(z(1, 4)).unwrap();
        let deciding = lineage.deciding(z(1, 5));
        assert_eq!(deciding.len(), 1);
        assert!(!deciding[0].differs_from(&membership(&[3, 4, 5])));
        assert!(!lineage.in_force().unwrap().differs_from(&deciding[0]));
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(Some(first()));
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
    fn a_leader_that_is_established_late_has_a_part_of_what_is_committed() {
        let mut lineage = lineage();
        lineage.begin_epoch(3, z(1, 2)).unwrap();
        lineage.append(z(3, 0), z(3, 1), b"y").unwrap();
        lineage.commit(z(3, 1)).unwrap();
        assert!(lineage.begin_epoch(2, z(1, 3)).is_err(), "what was left out");
        let mut other = self::lineage();
        other.begin_epoch(3, z(1, 2)).unwrap();
        other.append(z(3, 0), z(3, 1), b"y").unwrap();
        other.commit(z(3, 1)).unwrap();
        other.begin_epoch(2, z(1, 2)).unwrap();
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
        let branch: Vec<Zxid> =
            fork.branch(z(1, 3)).unwrap().into_iter().map(|(zxid, _)| zxid).collect();
        assert_eq!(branch, [z(1, 1), z(1, 2), z(1, 3)]);
        assert_eq!(fork.branch(z(2, 1)), None, "committed");
        assert!(fork.recovered(z(1, 3), &[(z(1, 3), Arc::from(&b"z"[..]))]).is_err());
    }

    #[test]
    fn a_lone_server_may_lose_what_was_not_committed_and_nothing_else() {
        let mut lineage = Lineage::new(None);
        for counter in 1..=3 {
            lineage.append(z(0, counter - 1), z(0, counter), b"x").unwrap();
        }
        lineage.commit(z(0, 1)).unwrap();
        assert!(lineage.recovered(Zxid::ZERO, &[]).is_err());
        lineage.recovered(z(0, 2), &[]).unwrap();
        lineage.append(z(0, 2), z(0, 3), b"another").unwrap();
    }
}
