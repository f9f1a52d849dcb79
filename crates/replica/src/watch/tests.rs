//! The table against a dumb oracle that follows Java's `WatchManager` map by map, and the rules
//! one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Java's `WatchManager`: who watches what, with mode bits.
#[derive(Default)]
struct DumbManager {
    watches: BTreeMap<u32, BTreeMap<String, u8>>,
}

impl DumbManager {
    fn add(&mut self, key: u32, path: &str, mode: u8) {
        *self.watches.entry(key).or_default().entry(path.to_owned()).or_default() |= mode;
    }

    fn modes(&self, key: u32, path: &str) -> u8 {
        self.watches.get(&key).and_then(|paths| paths.get(path)).copied().unwrap_or(0)
    }

    fn remove(&mut self, key: u32, path: &str, modes: u8) -> bool {
        let before = self.modes(key, path);
        if before & modes == 0 {
            return false;
        }
        let paths = self.watches.get_mut(&key).expect("it has modes");
        if before & !modes == 0 {
            paths.remove(path);
            if paths.is_empty() {
                self.watches.remove(&key);
            }
        } else {
            paths.insert(path.to_owned(), before & !modes);
        }
        true
    }

    fn trigger(&mut self, path: &str) -> BTreeSet<u32> {
        let mut told = BTreeSet::new();
        for (key, paths) in &mut self.watches {
            if let Some(modes) = paths.get_mut(path) {
                told.insert(*key);
                *modes &= !STANDARD;
                if *modes == 0 {
                    paths.remove(path);
                }
            }
            for (watched, modes) in paths.iter() {
                let below = watched == "/" || path.starts_with(&format!("{watched}/"));
                if modes & RECURSIVE != 0 && watched != path && below {
                    told.insert(*key);
                }
            }
        }
        told
    }

    fn len(&self) -> usize {
        self.watches.values().map(BTreeMap::len).sum()
    }
}

type Told = Vec<(EventKind, String, BTreeSet<u32>)>;

#[derive(Default)]
struct Collect {
    told: Told,
}

impl WatchSink<u32> for Collect {
    fn begin(&mut self, kind: EventKind, path: &str) {
        self.told.push((kind, path.to_owned(), BTreeSet::new()));
    }
    fn deliver(&mut self, connection: u32) {
        let (_, _, connections) = self.told.last_mut().expect("begin comes first");
        assert!(connections.insert(connection), "told twice of one event");
    }
}

/// Java's `DataTree` with its two managers.
#[derive(Default)]
struct Dumb {
    data: DumbManager,
    child: DumbManager,
}

impl Dumb {
    fn trigger(&mut self, change: Trigger, path: &str) -> Told {
        let mut told = Vec::new();
        let mut push = |kind, path: &str, connections: BTreeSet<u32>| {
            if !connections.is_empty() {
                told.push((kind, path.to_owned(), connections));
            }
        };
        match change {
            Trigger::DataChanged => {
                push(EventKind::NodeDataChanged, path, self.data.trigger(path));
                return told;
            }
            Trigger::Created => push(EventKind::NodeCreated, path, self.data.trigger(path)),
            Trigger::Deleted => {
                let first = self.data.trigger(path);
                let second = self.child.trigger(path).difference(&first).copied().collect();
                push(EventKind::NodeDeleted, path, first);
                push(EventKind::NodeDeleted, path, second);
            }
        }
        if let Some(parent) = parent(path) {
            push(EventKind::NodeChildrenChanged, parent, self.child.trigger(parent));
        }
        told
    }
}

/// Two deliveries of one delete are one event to whoever reads them.
fn merged(told: Told) -> Told {
    let mut merged: Told = Vec::new();
    for (kind, path, connections) in told {
        match merged.last_mut() {
            Some(last) if last.0 == kind && last.1 == path => last.2.extend(connections),
            _ => merged.push((kind, path, connections)),
        }
    }
    merged
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

const PATHS: [&str; 9] =
    ["/", "/a", "/a/b", "/a/b/c", "/a/bb", "/b", "/b/c", "/a/b/c/d", "/zookeeper/quota"];

fn check_reports(table: &WatchTable<u32>, dumb: &Dumb) {
    assert_eq!(table.len(), dumb.data.len() + dumb.child.len());
    // In two slices, so that both ends of one are seen.
    let half = table.len() as u32 / 2;
    let (listed, rest) = table.connections_slice(0, 3);
    let later = rest.map(|from| table.connections_slice(from, usize::MAX).0);
    let mut by_connection: BTreeMap<u32, BTreeSet<String>> =
        listed.chain(later.into_iter().flatten()).map(|key| (key, BTreeSet::new())).collect();
    let (watches, rest) = table.slice(0, half as usize);
    let later = rest.map(|from| table.slice(from, usize::MAX).0);
    let watches: Vec<(u32, &str)> = watches.chain(later.into_iter().flatten()).collect();
    for (key, path) in &watches {
        by_connection.get_mut(key).expect("it is listed").insert((*path).to_owned());
    }
    let expected: BTreeMap<u32, BTreeSet<String>> = dumb
        .data
        .watches
        .iter()
        .map(|(key, paths)| (*key, paths.keys().cloned().collect()))
        .collect();
    assert_eq!(by_connection, expected);
    assert_eq!(watches.len(), dumb.data.len(), "each stands once");
    let summary = table.summary();
    assert_eq!(summary.connections, expected.len());
    let paths: BTreeSet<&str> = watches.iter().map(|(_, path)| *path).collect();
    assert_eq!(table.paths().collect::<BTreeSet<&str>>(), paths);
    assert_eq!((summary.paths, table.paths().count()), (paths.len(), paths.len()));
    assert_eq!(summary.watches, dumb.data.len());
}

fn step(table: &mut WatchTable<u32>, dumb: &mut Dumb, random: &mut Random) {
    let key = random.below(6) as u32;
    let path = PATHS[random.below(PATHS.len() as u64) as usize];
    match random.below(12) {
        0 | 1 => {
            table.add(key, path, OneShot::Data);
            dumb.data.add(key, path, STANDARD);
        }
        2 | 3 => {
            table.add(key, path, OneShot::Child);
            dumb.child.add(key, path, STANDARD);
        }
        4 => {
            table.add_mode(key, path, AddWatchMode::Persistent);
            dumb.data.add(key, path, PERSISTENT);
            dumb.child.add(key, path, PERSISTENT);
        }
        5 => {
            table.add_mode(key, path, AddWatchMode::PersistentRecursive);
            dumb.data.add(key, path, RECURSIVE);
        }
        6 | 7 => {
            let kind = WatcherType::from_i32(1 + random.below(5) as i32).expect("1 to 5");
            let (child, data) = match kind {
                WatcherType::Children => (STANDARD, 0),
                WatcherType::Data => (0, STANDARD),
                WatcherType::Any => (7, 7),
                WatcherType::Persistent => (PERSISTENT, PERSISTENT),
                WatcherType::PersistentRecursive => (0, RECURSIVE),
            };
            let has = match kind {
                WatcherType::Persistent => dumb.data.modes(key, path) & PERSISTENT != 0,
                _ => dumb.child.modes(key, path) & child | dumb.data.modes(key, path) & data != 0,
            };
            assert_eq!(table.contains(key, path, kind), has);
            let removed = dumb.child.remove(key, path, child) | dumb.data.remove(key, path, data);
            assert_eq!(table.remove(key, path, kind), removed);
        }
        8 if random.below(4) == 0 => {
            table.remove_connection(key);
            dumb.data.watches.remove(&key);
            dumb.child.watches.remove(&key);
        }
        _ => {
            let change = [Trigger::Created, Trigger::Deleted, Trigger::DataChanged]
                [random.below(3) as usize];
            let mut collect = Collect::default();
            table.trigger(change, path, &mut collect);
            assert_eq!(merged(collect.told), merged(dumb.trigger(change, path)));
        }
    }
}

#[test]
fn behaves_as_a_dumb_copy_of_javas_maps_does() {
    for seed in 1..=20u64 {
        let mut table = WatchTable::new(seed);
        let mut dumb = Dumb::default();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..1000 {
            step(&mut table, &mut dumb, &mut random);
            check_reports(&table, &dumb);
        }
        for key in 0..6 {
            table.remove_connection(key);
        }
        assert!(table.is_empty() && table.paths().next().is_none());
        assert_eq!(table.summary(), WatchSummary::default());
    }
}

#[test]
fn a_delete_is_told_once_and_uses_up_both_watches() {
    let mut table = WatchTable::new(1);
    table.add(1, "/a", OneShot::Data);
    table.add(1, "/a", OneShot::Child);
    table.add(2, "/a", OneShot::Child);
    table.add(1, "/", OneShot::Child);
    let mut collect = Collect::default();
    table.trigger(Trigger::Deleted, "/a", &mut collect);
    let told: Vec<_> = collect.told.iter().map(|(kind, path, to)| (*kind, &**path, to)).collect();
    assert_eq!(
        told,
        [
            (EventKind::NodeDeleted, "/a", &BTreeSet::from([1])),
            (EventKind::NodeDeleted, "/a", &BTreeSet::from([2])),
            (EventKind::NodeChildrenChanged, "/", &BTreeSet::from([1])),
        ]
    );
    assert!(table.is_empty());
}

#[test]
fn recursive_watches_never_see_children_changed() {
    let mut table = WatchTable::new(1);
    table.add_mode(1, "/", AddWatchMode::PersistentRecursive);
    table.add_mode(1, "/a", AddWatchMode::PersistentRecursive);
    let mut collect = Collect::default();
    table.trigger(Trigger::Created, "/a/b", &mut collect);
    table.trigger(Trigger::DataChanged, "/ab", &mut collect);
    let kinds: Vec<_> = collect.told.iter().map(|(kind, path, _)| (*kind, &**path)).collect();
    assert_eq!(kinds, [(EventKind::NodeCreated, "/a/b"), (EventKind::NodeDataChanged, "/ab")]);
}

#[test]
fn a_connection_stays_listed_after_its_last_watch_fired_but_not_after_it_was_removed() {
    let mut table = WatchTable::new(1);
    table.add(1, "/a", OneShot::Data);
    table.trigger(Trigger::DataChanged, "/a", &mut Collect::default());
    assert_eq!(table.summary(), WatchSummary { connections: 1, paths: 0, watches: 0 });
    table.add(1, "/b", OneShot::Data);
    assert!(table.remove(1, "/b", WatcherType::Data));
    assert_eq!(table.summary(), WatchSummary::default());
}

#[test]
fn restoring_tells_what_was_missed_and_registers_the_rest() {
    let mut table = WatchTable::new(1);
    let node = |mzxid, pzxid| Some(NodeZxids { mzxid: Zxid(mzxid), pzxid: Zxid(pzxid) });
    let cases = [
        (Restore::Data, None, Some(EventKind::NodeDeleted)),
        (Restore::Data, node(11, 0), Some(EventKind::NodeDataChanged)),
        (Restore::Data, node(10, 99), None),
        (Restore::Exist, node(1, 1), Some(EventKind::NodeCreated)),
        (Restore::Exist, None, None),
        (Restore::Child, None, Some(EventKind::NodeDeleted)),
        (Restore::Child, node(99, 11), Some(EventKind::NodeChildrenChanged)),
        (Restore::Child, node(99, 10), None),
    ];
    for (index, (list, node, expected)) in cases.into_iter().enumerate() {
        let path = format!("/{index}");
        assert_eq!(table.restore(1, &path, list, Zxid(10), node), expected, "{list:?} {node:?}");
        let kind = if list == Restore::Child { WatcherType::Children } else { WatcherType::Data };
        assert_eq!(table.contains(1, &path, kind), expected.is_none());
    }
}

#[test]
fn five_thousand_watchers_are_told_in_one_pass_and_a_million_watches_stay_small() {
    struct Count(u32, u32);
    impl WatchSink<u32> for Count {
        fn begin(&mut self, _: EventKind, _: &str) {
            self.0 += 1;
        }
        fn deliver(&mut self, _: u32) {
            self.1 += 1;
        }
    }
    let mut table = WatchTable::new(7);
    let paths: Vec<String> = (0..200).map(|path| format!("/watched/by/many/{path}")).collect();
    for connection in 0..5000 {
        for path in &paths {
            table.add(connection, path, OneShot::Data);
        }
    }
    assert_eq!(table.len(), 1_000_000);
    let mut count = Count(0, 0);
    table.trigger(Trigger::DataChanged, &paths[0], &mut count);
    assert_eq!((count.0, count.1, table.len()), (1, 5000, 995_000));
    for connection in 0..5000 {
        table.remove_connection(connection);
    }
    assert!(table.is_empty());
}
