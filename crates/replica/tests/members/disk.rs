//! A disk in memory: commands are carried out in their order, all or nothing each; what was not
//! carried out when the power fails is lost.

use std::borrow::Cow;
use std::sync::Arc;

use rookeeper_jute::persistence::RECORD_OVERHEAD;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Acl, Decode, OpCode, Reader, SessionId, StatPersisted, Zxid};
use rookeeper_replica::{Recovered, Segment};
use rookeeper_tree::{ChangeLog, SnapshotProgress, Tree, TreeConfig, TreeLoader};
use rookeeper_zab::EpochKind;
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::sync::LogIndex;

pub fn tree_config() -> TreeConfig {
    TreeConfig {
        index_key: [3, 4],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

/// A snapshot and the log after it.
#[derive(Debug, Clone, Default)]
struct History {
    snapshot: Option<(Zxid, Vec<u8>)>,
    log: Vec<(Zxid, Vec<u8>)>,
}

impl History {
    fn base(&self) -> Zxid {
        self.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    fn tree_at(&self, through: Zxid) -> Tree {
        let mut tree = match &self.snapshot {
            Some((zxid, body)) => load(*zxid, body),
            None => Tree::new(tree_config()),
        };
        let mut changes = ChangeLog::default();
        for (zxid, txn) in self.log.iter().filter(|(zxid, _)| *zxid <= through) {
            if *zxid > self.base() {
                tree.apply(txn, &mut changes).expect("a transaction");
            }
        }
        changes.trim(changes.position());
        tree
    }

    fn index(&self) -> LogIndex {
        let mut index = LogIndex::new(self.base());
        for (zxid, txn) in &self.log {
            index.append(*zxid, (txn.len() + RECORD_OVERHEAD) as u64);
        }
        index
    }

    fn append(&mut self, segment: &Segment) {
        for (zxid, txn) in segment.records() {
            let last = self.log.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
            assert!(zxid > last, "{zxid} is appended after {last}");
            self.log.push((zxid, txn.to_vec()));
        }
    }
}

/// What a machine has when its power fails.
#[derive(Debug, Clone)]
pub struct Disk {
    history: History,
    staged: Option<(Zxid, Vec<u8>, History)>,
    pub accepted: Option<i64>,
    pub current: Option<i64>,
    committed: String,
    last_seen: String,
}

/// A configuration in a file.
fn read(text: &str) -> Arc<Membership> {
    Arc::new(Membership::parse(text, &MembershipRules::default()).expect("a configuration"))
}

/// The bytes of a snapshot of a tree.
fn body_of(tree: &mut Tree) -> Vec<u8> {
    let mut body = Vec::new();
    tree.begin_snapshot();
    while tree.continue_snapshot(1 << 16, &mut body) == SnapshotProgress::Running {}
    body
}

fn load(zxid: Zxid, body: &[u8]) -> Tree {
    let mut loader = TreeLoader::new(tree_config());
    let mut reader = Reader::new(body);
    for _ in 0..reader.read::<i32>().expect("sessions") {
        let (id, timeout_ms): (SessionId, i32) =
            (reader.read().expect("an id"), reader.read().expect("a timeout"));
        loader.session(id, timeout_ms);
    }
    for _ in 0..reader.read::<i32>().expect("lists") {
        let index: i64 = reader.read().expect("a number");
        let acl: Option<Vec<Acl<'_>>> = reader.read().expect("a list");
        loader.acl(index, acl.expect("never null"));
    }
    loop {
        let path: Option<Cow<'_, str>> = reader.read().expect("a path");
        let path = path.expect("never null");
        if path == "/" {
            break;
        }
        let data: Option<&[u8]> = reader.read().expect("data");
        let acl: i64 = reader.read().expect("a list");
        let stat: StatPersisted = reader.read().expect("a stat");
        loader.node(&path, data, acl, &stat).expect("a znode");
    }
    loader.finish(zxid).expect("a tree")
}

impl Disk {
    /// The end of what is on it.
    pub fn last(&self) -> Zxid {
        self.history.log.last().map_or(self.history.base(), |(zxid, _)| *zxid)
    }

    pub fn new(membership: &Membership) -> Disk {
        let text = membership.to_string();
        Disk {
            history: History::default(),
            staged: None,
            accepted: None,
            current: None,
            committed: text.clone(),
            last_seen: text,
        }
    }

    /// What a start finds: what is staged and not settled is nothing.
    pub fn recover(&mut self) -> (Tree, Recovered) {
        self.staged = None;
        let tree = self.history.tree_at(Zxid(i64::MAX));
        let recovered = Recovered {
            last_zxid: tree.last_processed_zxid(),
            accepted_epoch: self.accepted,
            current_epoch: self.current,
            history: self.history.index(),
            committed: read(&self.committed),
            last_seen: read(&self.last_seen),
            txns_since_snapshot: 0,
            bytes_since_snapshot: 0,
        };
        (tree, recovered)
    }

    /// Forgets what is after a transaction.
    pub fn cut(&mut self, last: Zxid) {
        self.history.log.retain(|(zxid, _)| *zxid <= last);
    }

    /// A change of the ensemble is on disk before its transaction.
    pub fn append(&mut self, segment: &Segment) {
        let texts = [&self.committed, &self.last_seen].into_iter();
        let known = texts.map(|text| read(text).version()).max().expect("two of them");
        for (zxid, txn) in segment.records() {
            let header = TxnHeader::decode(&mut Reader::new(txn)).expect("a transaction");
            let changes = header.txn_type == OpCode::Reconfig.to_i32();
            assert!(!changes || known >= zxid.0, "{zxid} is a change that no file tells of");
        }
        match &mut self.staged {
            Some((_, _, history)) => history.append(segment),
            None => self.history.append(segment),
        }
    }

    pub fn write_epoch(&mut self, kind: EpochKind, epoch: i64) {
        let slot = match kind {
            EpochKind::Accepted => &mut self.accepted,
            EpochKind::Current => &mut self.current,
        };
        assert!(slot.is_none_or(|before| before <= epoch), "epochs never go back");
        *slot = Some(epoch);
        let (accepted, current) = (self.accepted.unwrap_or(0), self.current.unwrap_or(0));
        assert!(self.accepted.is_none() || current <= accepted, "{current} > {accepted}");
    }

    pub fn write_membership(&mut self, membership: &Membership, last_seen: bool) {
        let text = if last_seen { &mut self.last_seen } else { &mut self.committed };
        *text = membership.to_string();
    }

    /// Nothing that a snapshot holds is cut: `None`.
    pub fn truncate(&mut self, zxid: Zxid) -> Option<(Tree, LogIndex)> {
        if zxid < self.history.base() {
            return None;
        }
        self.history.log.retain(|(at, _)| *at <= zxid);
        Some(self.reload())
    }

    pub fn reload(&mut self) -> (Tree, LogIndex) {
        (self.history.tree_at(Zxid(i64::MAX)), self.history.index())
    }

    pub fn begin_install(&mut self, zxid: Zxid) {
        self.staged = Some((zxid, Vec::new(), History::default()));
    }

    pub fn install_bytes(&mut self, bytes: &[u8]) {
        let (_, body, _) = self.staged.as_mut().expect("an install");
        body.extend_from_slice(bytes);
    }

    pub fn end_install(&mut self) -> (Tree, LogIndex) {
        let (zxid, body, history) = self.staged.as_mut().expect("an install");
        history.snapshot = Some((*zxid, std::mem::take(body)));
        (history.tree_at(Zxid(i64::MAX)), history.index())
    }

    pub fn settle(&mut self) {
        if let Some((_, _, history)) = self.staged.take() {
            self.history = history;
        }
    }

    pub fn abort_install(&mut self) -> (Tree, LogIndex) {
        self.staged = None;
        self.reload()
    }

    /// The body of a snapshot at exactly a zxid.
    pub fn snapshot(&self, through: Zxid) -> (Zxid, Vec<u8>) {
        let mut tree = self.history.tree_at(through);
        (tree.last_processed_zxid(), body_of(&mut tree))
    }

    /// What the log goes on from.
    pub fn base(&self) -> Zxid {
        self.history.base()
    }

    /// The transactions after one zxid through another, `None` where they are not all there.
    pub fn history(&self, after: Zxid, through: Zxid) -> Option<Vec<(Zxid, Vec<u8>)>> {
        let index = self.history.index();
        let there = |zxid: Zxid| zxid == index.base() || index.contains(zxid);
        if !(there(after) || after.counter() == 0 && after >= index.base()) || !there(through) {
            return None;
        }
        let wanted = |zxid: Zxid| zxid > after && zxid <= through;
        Some(self.history.log.iter().filter(|(zxid, _)| wanted(*zxid)).cloned().collect())
    }

    /// A snapshot takes the place of the whole log.
    pub fn compact(&mut self) {
        let mut tree = self.history.tree_at(Zxid(i64::MAX));
        self.history.snapshot = Some((tree.last_processed_zxid(), body_of(&mut tree)));
        self.history.log.clear();
    }
}
