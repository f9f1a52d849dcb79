//! The storage held against a plain map of paths, under random changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rookeeper_jute::{SessionId, StatPersisted, Zxid};

use super::{NodeId, Znodes};
use crate::acls::AclIndex;
use crate::digest;
use crate::loader::TreeLoader;
use crate::owners::OwnerKind;
use crate::snapshot::SnapshotProgress;
use crate::tree::{Tree, TreeConfig};

const NAMES: [&str; 8] = ["a", "b", "ab", "é", "zookeeper", "n0000000001", "x😀y", "a-long-name"];
const OWNERS: [i64; 6] = [0, 0, 7, 8, i64::MIN, 0xff00_0000_0000_1388_u64 as i64];

fn config() -> TreeConfig {
    TreeConfig {
        index_key: [1, 2],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    data: Option<Vec<u8>>,
    acl: AclIndex,
    stat: StatPersisted,
}

/// What a znode may be asked to do; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Create { parent: usize, name: usize, data: Option<usize>, owner: usize },
    Set { znode: usize, data: Option<usize>, version: i32 },
    SetAcl { znode: usize, aversion: i32 },
    ChildrenStat { znode: usize, cversion: i32 },
    Remove { znode: usize },
}

fn data_len() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        1 => Just(None),
        6 => (0usize..40).prop_map(Some),
        2 => (100usize..300).prop_map(Some),
        1 => (30_000usize..70_000).prop_map(Some),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let number = any::<usize>;
    prop_oneof![
        6 => (number(), number(), data_len(), number())
            .prop_map(|(parent, name, data, owner)| Step::Create { parent, name, data, owner }),
        3 => (number(), data_len(), any::<i32>())
            .prop_map(|(znode, data, version)| Step::Set { znode, data, version }),
        1 => (number(), any::<i32>())
            .prop_map(|(znode, aversion)| Step::SetAcl { znode, aversion }),
        1 => (number(), any::<i32>())
            .prop_map(|(znode, cversion)| Step::ChildrenStat { znode, cversion }),
        3 => number().prop_map(|znode| Step::Remove { znode }),
    ]
}

fn bytes(len: Option<usize>, seed: i64) -> Option<Vec<u8>> {
    len.map(|len| (0..len).map(|at| (at as i64 + seed) as u8).collect())
}

struct Fixture {
    tree: Tree,
    model: BTreeMap<String, Model>,
    /// Paths in the order of their creation.
    order: Vec<String>,
    zxid: i64,
}

impl Fixture {
    fn new() -> Self {
        let tree = Tree::new(config());
        let mut fixture =
            Fixture { tree, model: BTreeMap::new(), order: Vec::new(), zxid: 0x1_0000_0000 };
        for path in ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            let node = fixture.tree.node(path).expect("in a new tree");
            let (data, stat) = (node.data().map(<[u8]>::to_vec), node.persisted());
            let acl = fixture.tree.znodes.acl(node.id());
            fixture.model.insert(path.to_owned(), Model { data, acl, stat });
            fixture.order.push(path.to_owned());
        }
        fixture
    }

    fn pick(&self, number: usize) -> (String, NodeId) {
        let path = self.model.keys().nth(number % self.model.len()).expect("the root is there");
        (path.clone(), self.tree.znodes.lookup(path).expect("what the map has is in the tree"))
    }

    fn apply(&mut self, step: &Step) {
        self.zxid += 1;
        let (zxid, time) = (Zxid(self.zxid), 1_795_000_000_000 + self.zxid);
        let znodes = &self.tree.znodes;
        match *step {
            Step::Create { parent, name, data, owner } => {
                let ((parent_path, parent), name) = (self.pick(parent), NAMES[name % NAMES.len()]);
                let path = format!("{parent_path}/{name}");
                if znodes.lookup(&path).is_some() {
                    return;
                }
                let stat = StatPersisted {
                    // Some transactions create several.
                    czxid: Zxid(self.zxid & !3),
                    mzxid: zxid,
                    ctime: time,
                    mtime: time,
                    ephemeral_owner: OWNERS[owner % OWNERS.len()],
                    pzxid: zxid,
                    ..StatPersisted::default()
                };
                let (data, acl) = (bytes(data, self.zxid), AclIndex::OPEN);
                self.tree.znodes.insert(parent, name, data.as_deref(), acl, &stat);
                self.order.push(path.clone());
                self.model.insert(path, Model { data, acl, stat });
            }
            Step::Set { znode, data, version } => {
                let ((path, id), data) = (self.pick(znode), bytes(data, self.zxid));
                self.tree.znodes.set_data(id, data.as_deref(), zxid, time, version);
                let model = self.model.get_mut(&path).expect("picked");
                model.data = data;
                (model.stat.mzxid, model.stat.mtime, model.stat.version) = (zxid, time, version);
            }
            Step::SetAcl { znode, aversion } => {
                let ((path, id), acl) = (self.pick(znode), AclIndex(1));
                self.tree.znodes.set_acl(id, acl, aversion);
                let model = self.model.get_mut(&path).expect("picked");
                (model.acl, model.stat.aversion) = (acl, aversion);
            }
            Step::ChildrenStat { znode, cversion } => {
                let (path, id) = self.pick(znode);
                self.tree.znodes.set_children_stat(id, cversion, zxid);
                let stat = &mut self.model.get_mut(&path).expect("picked").stat;
                (stat.cversion, stat.pzxid) = (cversion, zxid);
            }
            Step::Remove { znode } => {
                let (path, id) = self.pick(znode);
                if path.is_empty() || self.children_of(&path).next().is_some() {
                    return;
                }
                self.tree.znodes.remove(id);
                self.model.remove(&path);
                self.order.retain(|at| *at != path);
            }
        }
    }

    fn children_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a String> {
        let is_child = move |at: &&String| {
            at.strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.is_empty() && !name.contains('/'))
        };
        self.order.iter().filter(is_child)
    }

    fn check(&self) {
        let znodes = &self.tree.znodes;
        assert_eq!(znodes.len(), self.model.len());
        let (mut tree_digest, mut size) = (0i64, 1i64);
        for (path, model) in &self.model {
            let id = znodes.lookup(path).expect("what the map has is in the tree");
            check_node(znodes, id, path, model);
            let children: Vec<&str> = znodes.children(id).map(|id| znodes.name(id)).collect();
            let expected: Vec<&str> =
                self.children_of(path).map(|child| &child[path.len() + 1..]).collect();
            assert_eq!(children, expected, "children of {path}");
            assert_eq!(znodes.child_count(id), expected.len());
            let num_children = expected.len() as i32;
            let stat = znodes.stat(id);
            assert_eq!(stat.cversion, model.stat.cversion.wrapping_mul(2) - num_children);
            let below = format!("{path}/");
            let below: Vec<_> =
                self.model.iter().filter(|(at, _)| at.starts_with(&below)).collect();
            assert_eq!(znodes.descendants(id), below.len() as u64, "below {path}");
            let own = model.data.as_ref().map_or(0, Vec::len);
            let bytes: usize = below.iter().map(|(_, m)| m.data.as_ref().map_or(0, Vec::len)).sum();
            assert_eq!(znodes.subtree_bytes(id), (own + bytes) as u64, "bytes at {path}");
            let part = digest::node_digest(path, model.data.as_deref(), &model.stat);
            assert_eq!(znodes.digest_of(id), part, "digest of {path}");
            tree_digest = tree_digest.wrapping_add(part);
            size += path.encode_utf16().count() as i64 + own as i64;
        }
        assert_eq!((znodes.digest(), znodes.data_size()), (tree_digest, size));
        self.check_owners();
    }

    fn check_owners(&self) {
        let rules = config().owner_rules();
        let of = |wanted: fn(OwnerKind) -> bool| -> Vec<&String> {
            let kind = |model: &Model| rules.kind(model.stat.ephemeral_owner);
            self.model.iter().filter(|(_, m)| wanted(kind(m))).map(|(path, _)| path).collect()
        };
        let sorted = |paths: Vec<String>| -> Vec<String> {
            paths.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        };
        let ephemerals: Vec<String> = [7, 8]
            .into_iter()
            .flat_map(|session| self.tree.ephemerals(SessionId(session)))
            .collect();
        assert_eq!(self.tree.ephemerals_count(), ephemerals.len());
        let expected = of(|kind| matches!(kind, OwnerKind::Ephemeral(_)));
        assert!(sorted(ephemerals).iter().eq(expected));
        let containers = sorted(self.tree.containers().collect());
        assert!(containers.iter().eq(of(|kind| kind == OwnerKind::Container)));
        let ttls = sorted(self.tree.ttls().map(|(path, _)| path).collect());
        assert!(ttls.iter().eq(of(|kind| kind == OwnerKind::Ttl(5000))));
    }
}

fn check_node(znodes: &Znodes, id: NodeId, path: &str, model: &Model) {
    assert_eq!(znodes.data(id), model.data.as_deref(), "data of {path}");
    assert_eq!(znodes.persisted(id), model.stat, "stat of {path}");
    assert_eq!(znodes.acl(id), model.acl, "list of {path}");
    let mut found = String::new();
    znodes.path(id, &mut found);
    assert_eq!(found, if path.is_empty() { "/" } else { path });
    assert!(znodes.is_at(id, path) && znodes.is_at(id, &found));
    assert!(!znodes.is_at(id, &format!("{path}/a")) && !znodes.is_at(id, &format!("/a{path}")));
    let parent = path.rsplit_once('/').map(|(parent, _)| znodes.lookup(parent).expect("above"));
    assert_eq!(znodes.parent(id), parent);
    assert_eq!(znodes.lookup(&format!("{path}/none")), None);
}

/// What a snapshot's bytes say: paths in order, and what is at each.
fn decode_snapshot(bytes: &[u8]) -> (Vec<String>, BTreeMap<String, Model>, TreeLoader) {
    use rookeeper_jute::wire::{Buffer, Text};
    use rookeeper_jute::{Acl, Reader};
    let mut reader = Reader::new(bytes);
    let mut loader = TreeLoader::new(config());
    for _ in 0..reader.read::<i32>().expect("sessions") {
        let id = reader.read().expect("session");
        loader.session(id, reader.read().expect("timeout"));
    }
    for _ in 0..reader.read::<i32>().expect("lists") {
        let index = reader.read().expect("number");
        let acl: Option<Vec<Acl<'_>>> = reader.read().expect("list");
        loader.acl(index, acl.expect("not null"));
    }
    let (mut order, mut model) = (Vec::new(), BTreeMap::new());
    loop {
        let path: Text<'_> = reader.read().expect("path");
        let path = path.expect("not null").into_owned();
        if path == "/" {
            break;
        }
        let data: Buffer<'_> = reader.read().expect("data");
        let acl = AclIndex(reader.read().expect("list"));
        let stat = reader.read::<StatPersisted>().expect("stat");
        loader.node(&path, data, acl.0, &stat).expect("parents first, each once");
        order.push(path.clone());
        model.insert(path, Model { data: data.map(<[u8]>::to_vec), acl, stat });
    }
    assert!(reader.is_empty(), "nothing follows the terminator");
    (order, model, loader)
}

fn finish(tree: &mut Tree, bytes_max: usize, out: &mut Vec<u8>) {
    for _ in 0..1_000_000 {
        if tree.continue_snapshot(bytes_max, out) == SnapshotProgress::Finished {
            return;
        }
    }
    panic!("the snapshot does not end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn storage_is_a_map_of_paths(steps in prop::collection::vec(step(), 1..200)) {
        let mut fixture = Fixture::new();
        for step in &steps {
            fixture.apply(step);
        }
        fixture.check();
        // And back to what a new tree has.
        let mut paths: Vec<String> = fixture.model.keys().cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in paths.iter().filter(|path| !path.is_empty()) {
            let id = fixture.tree.znodes.lookup(path).expect("there");
            fixture.tree.znodes.remove(id);
        }
        let znodes = &fixture.tree.znodes;
        let root = fixture.model[""].clone();
        prop_assert_eq!(znodes.len(), 1);
        prop_assert_eq!(znodes.descendants(NodeId::ROOT), 0);
        let root_digest = digest::node_digest("", root.data.as_deref(), &root.stat);
        prop_assert_eq!(znodes.digest(), root_digest);
    }

    #[test]
    fn a_snapshot_is_the_tree_as_it_was(
        before in prop::collection::vec(step(), 0..100),
        during in prop::collection::vec((step(), prop::option::of(0usize..2000)), 0..100),
        bytes_max in 1usize..3000,
    ) {
        let mut fixture = Fixture::new();
        before.iter().for_each(|step| fixture.apply(step));
        fixture.tree.sessions.insert(SessionId(7), 4000);
        let was = fixture.model.clone();
        let start = fixture.tree.begin_snapshot();
        prop_assert_eq!(start.digest, fixture.tree.digest());
        let mut out = Vec::new();
        let mut progress = SnapshotProgress::Running;
        for (step, bytes_max) in &during {
            fixture.apply(step);
            if let (Some(bytes_max), SnapshotProgress::Running) = (bytes_max, progress) {
                progress = fixture.tree.continue_snapshot(*bytes_max, &mut out);
            }
        }
        if progress == SnapshotProgress::Running {
            finish(&mut fixture.tree, bytes_max, &mut out);
        }
        fixture.check();
        prop_assert_eq!(fixture.tree.snapshot_backlog_len(), 0);
        let (order, model, loader) = decode_snapshot(&out);
        prop_assert_eq!(order.len(), model.len(), "no znode twice");
        prop_assert_eq!(&model, &was);

        // What was written is a tree again, with children in czxid order.
        let loaded = loader.finish(start.zxid).expect("a root");
        prop_assert_eq!(loaded.digest(), start.digest);
        prop_assert_eq!(loaded.sessions().timeout_ms(SessionId(7)), Some(4000));
        for path in model.keys() {
            let node = loaded.node(path).expect("loaded");
            let keys: Vec<_> =
                node.children().map(|child| (child.persisted().czxid, child.name())).collect();
            prop_assert!(keys.is_sorted(), "children of {}: {:?}", path, keys);
        }
    }
}

#[test]
fn a_snapshot_that_is_begun_again_starts_anew_and_one_given_up_costs_nothing() {
    let mut fixture = Fixture::new();
    let mut out = Vec::new();
    assert_eq!(fixture.tree.continue_snapshot(10, &mut out), SnapshotProgress::Finished);
    assert!(out.is_empty());
    fixture.tree.begin_snapshot();
    fixture.tree.continue_snapshot(1, &mut out);
    fixture.tree.begin_snapshot();
    out.clear();
    finish(&mut fixture.tree, 64, &mut out);
    assert_eq!(decode_snapshot(&out).1, fixture.model);
    fixture.tree.begin_snapshot();
    assert!(fixture.tree.snapshot_backlog_len() > 0, "sessions and lists wait");
    fixture.tree.abort_snapshot();
    assert_eq!(fixture.tree.snapshot_backlog_len(), 0);
}

#[test]
fn a_deep_chain_is_kept_without_recursion() {
    let mut tree = Tree::new(config());
    let depth = 3_000;
    let mut ids = vec![NodeId::ROOT];
    let stat = StatPersisted::default();
    for _ in 0..depth {
        let parent = *ids.last().expect("the root at least");
        ids.push(tree.znodes.insert(parent, "a", Some(b"x"), AclIndex::OPEN, &stat));
    }
    assert_eq!(tree.znodes.descendants(NodeId::ROOT), depth + 3);
    assert_eq!(tree.znodes.subtree_bytes(ids[1]), depth);
    let path = "/a".repeat(depth as usize);
    let deepest = tree.znodes.lookup(&path).expect("the deepest");
    assert!(tree.znodes.is_at(deepest, &path));
    for id in ids.into_iter().skip(1).rev() {
        tree.znodes.remove(id);
    }
    assert_eq!((tree.znode_count(), tree.znodes.descendants(NodeId::ROOT)), (5, 3));
}
