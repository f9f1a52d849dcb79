//! The watches that a session keeps, by the server's paths (Java: `ZKWatchManager`).

use std::collections::{BTreeMap, BTreeSet};

use rookeeper_jute::proto::{SetWatches, SetWatches2};
use rookeeper_jute::{Encode, OpCode, Text, Zxid};

/// Who is told of an event: the caller's own name for a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchToken(pub u64);

/// What happened to a znode or a watch (Java: `Watcher.Event.EventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// The znode was created.
    Created = 1,
    /// The znode was deleted.
    Deleted = 2,
    /// The znode's data changed.
    DataChanged = 3,
    /// The znode's list of children changed.
    ChildrenChanged = 4,
    /// The data watch was removed; never sent by servers.
    DataWatchRemoved = 5,
    /// The child watch was removed; never sent by servers.
    ChildWatchRemoved = 6,
    /// The persistent watch was removed; never sent by servers.
    PersistentWatchRemoved = 7,
}

impl EventKind {
    /// The kind of an event that a server sent, `None` for what servers do not send.
    pub fn from_server(value: i32) -> Option<EventKind> {
        Some(match value {
            1 => EventKind::Created,
            2 => EventKind::Deleted,
            3 => EventKind::DataChanged,
            4 => EventKind::ChildrenChanged,
            _ => return None,
        })
    }
}

/// Which watches are to be removed (Java: `Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum WatcherType {
    /// Those of getChildren.
    Children = 1,
    /// Those of getData and exists.
    Data = 2,
    /// All.
    Any = 3,
    /// Persistent ones.
    Persistent = 4,
    /// Persistent recursive ones.
    PersistentRecursive = 5,
}

/// Where a watch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

const TABLES: [Table; 5] =
    [Table::Data, Table::Exist, Table::Child, Table::Persistent, Table::Recursive];

impl WatcherType {
    fn tables(self) -> &'static [Table] {
        match self {
            WatcherType::Children => &[Table::Child],
            WatcherType::Data => &[Table::Data, Table::Exist],
            WatcherType::Any => &TABLES,
            WatcherType::Persistent => &[Table::Persistent],
            WatcherType::PersistentRecursive => &[Table::Recursive],
        }
    }
}

/// How many characters of paths one setWatches takes; the last path may go beyond (Java:
/// `SET_WATCHES_MAX_LENGTH`, counted in UTF-16 units).
const SET_WATCHES_LEN_MAX: usize = 128 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Watches {
    tables: [BTreeMap<String, BTreeSet<WatchToken>>; TABLES.len()],
}

impl Watches {
    pub(crate) fn register(&mut self, table: Table, path: &str, token: WatchToken) {
        self.tables[table as usize].entry(path.to_owned()).or_default().insert(token);
    }

    /// Who is told of the event, each once; one-shot watches that it concerns are gone after it.
    pub(crate) fn fire(&mut self, kind: EventKind, path: &str) -> Vec<WatchToken> {
        let mut told = BTreeSet::new();
        let spent: &[Table] = match kind {
            EventKind::Created | EventKind::DataChanged => &[Table::Data, Table::Exist],
            EventKind::ChildrenChanged => &[Table::Child],
            EventKind::Deleted => &[Table::Data, Table::Exist, Table::Child],
            EventKind::DataWatchRemoved
            | EventKind::ChildWatchRemoved
            | EventKind::PersistentWatchRemoved => return Vec::new(),
        };
        for table in spent {
            told.extend(self.tables[*table as usize].remove(path).unwrap_or_default());
        }
        told.extend(self.tables[Table::Persistent as usize].get(path).into_iter().flatten());
        // Recursive watches have no child events; one that another watch asked for is not theirs.
        if kind != EventKind::ChildrenChanged {
            let recursive = &self.tables[Table::Recursive as usize];
            for ancestor in with_ancestors(path) {
                told.extend(recursive.get(ancestor).into_iter().flatten());
            }
        }
        told.into_iter().collect()
    }

    /// Whether there is such a watch, by anybody or by `token`.
    pub(crate) fn contains(&self, path: &str, of: WatcherType, token: Option<WatchToken>) -> bool {
        of.tables().iter().any(|table| {
            self.tables[*table as usize]
                .get(path)
                .is_some_and(|tokens| token.is_none_or(|token| tokens.contains(&token)))
        })
    }

    /// Removes the watches of `token`, or of everybody: what each kind of watcher is told.
    pub(crate) fn remove(
        &mut self,
        path: &str,
        of: WatcherType,
        token: Option<WatchToken>,
    ) -> Vec<(EventKind, Vec<WatchToken>)> {
        let mut removed: BTreeMap<EventKind, BTreeSet<WatchToken>> = BTreeMap::new();
        for table in of.tables() {
            let kind = match table {
                Table::Data | Table::Exist => EventKind::DataWatchRemoved,
                Table::Child => EventKind::ChildWatchRemoved,
                Table::Persistent | Table::Recursive => EventKind::PersistentWatchRemoved,
            };
            let paths = &mut self.tables[*table as usize];
            let Some(tokens) = paths.get_mut(path) else { continue };
            let gone = match token {
                None => std::mem::take(tokens),
                Some(token) => tokens.take(&token).into_iter().collect(),
            };
            if tokens.is_empty() {
                paths.remove(path);
            }
            if !gone.is_empty() {
                removed.entry(kind).or_default().extend(gone);
            }
        }
        removed.into_iter().map(|(kind, tokens)| (kind, tokens.into_iter().collect())).collect()
    }

    /// Forgets the watches that fire once.
    pub(crate) fn clear_one_shot(&mut self) {
        for table in [Table::Data, Table::Exist, Table::Child] {
            self.tables[table as usize].clear();
        }
    }

    /// Everybody who has a watch.
    pub(crate) fn tokens(&self) -> BTreeSet<WatchToken> {
        self.tables.iter().flat_map(|table| table.values()).flatten().copied().collect()
    }

    /// The requests that set all watches again, in batches. Without persistent watches it is the
    /// older request, which older servers know.
    pub(crate) fn set_again(&self, relative_zxid: Zxid) -> Vec<(OpCode, Vec<u8>)> {
        let mut batches = Vec::new();
        let mut batch: [Vec<Text<'_>>; TABLES.len()] = Default::default();
        let mut len = 0;
        for (table, path) in TABLES
            .iter()
            .flat_map(|table| self.tables[*table as usize].keys().map(move |path| (*table, path)))
        {
            batch[table as usize].push(Some(path.as_str().into()));
            len += path.encode_utf16().count();
            if len >= SET_WATCHES_LEN_MAX {
                batches.push(encode_batch(relative_zxid, std::mem::take(&mut batch)));
                len = 0;
            }
        }
        if len > 0 {
            batches.push(encode_batch(relative_zxid, batch));
        }
        batches
    }
}

fn encode_batch(relative_zxid: Zxid, batch: [Vec<Text<'_>>; TABLES.len()]) -> (OpCode, Vec<u8>) {
    let [data, exist, child, persistent, recursive] = batch;
    if persistent.is_empty() && recursive.is_empty() {
        let request = SetWatches {
            relative_zxid,
            data_watches: Some(data),
            exist_watches: Some(exist),
            child_watches: Some(child),
        };
        return (OpCode::SetWatches, request.to_bytes());
    }
    let request = SetWatches2 {
        relative_zxid,
        data_watches: Some(data),
        exist_watches: Some(exist),
        child_watches: Some(child),
        persistent_watches: Some(persistent),
        persistent_recursive_watches: Some(recursive),
    };
    (OpCode::SetWatches2, request.to_bytes())
}

/// The path, its parent and so on up to the root.
fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let slash = path.rfind('/')?;
        match slash {
            0 if path.len() > 1 => Some("/"),
            0 => None,
            _ => Some(&path[..slash]),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookeeper_jute::Decode;

    const A: WatchToken = WatchToken(1);
    const B: WatchToken = WatchToken(2);

    #[test]
    fn a_one_shot_watch_fires_once_and_a_persistent_one_each_time() {
        let mut watches = Watches::default();
        watches.register(Table::Data, "/a", A);
        watches.register(Table::Data, "/a", A);
        watches.register(Table::Persistent, "/a", B);
        assert_eq!(watches.fire(EventKind::ChildrenChanged, "/a"), [B]);
        assert_eq!(watches.fire(EventKind::DataChanged, "/a"), [A, B]);
        assert_eq!(watches.fire(EventKind::DataChanged, "/a"), [B]);
        assert_eq!(watches.fire(EventKind::DataChanged, "/b"), []);
    }

    #[test]
    fn each_kind_of_event_spends_its_own_tables() {
        let all = [(Table::Data, 1), (Table::Exist, 2), (Table::Child, 3)];
        for (kind, told, left) in [
            (EventKind::Created, vec![1, 2], vec![3]),
            (EventKind::DataChanged, vec![1, 2], vec![3]),
            (EventKind::ChildrenChanged, vec![3], vec![1, 2]),
            (EventKind::Deleted, vec![1, 2, 3], vec![]),
        ] {
            let mut watches = Watches::default();
            for (table, token) in all {
                watches.register(table, "/a", WatchToken(token));
            }
            let told: Vec<_> = told.into_iter().map(WatchToken).collect();
            let left: BTreeSet<_> = left.into_iter().map(WatchToken).collect();
            assert_eq!(watches.fire(kind, "/a"), told, "{kind:?}");
            assert_eq!(watches.tokens(), left, "{kind:?}");
        }
    }

    #[test]
    fn a_recursive_watch_sees_what_is_below_but_no_child_events() {
        let mut watches = Watches::default();
        watches.register(Table::Recursive, "/a", A);
        watches.register(Table::Recursive, "/", B);
        assert_eq!(watches.fire(EventKind::Created, "/a/b/c"), [A, B]);
        assert_eq!(watches.fire(EventKind::Deleted, "/a"), [A, B]);
        assert_eq!(watches.fire(EventKind::Created, "/ab"), [B]);
        assert_eq!(watches.fire(EventKind::ChildrenChanged, "/a"), []);
    }

    #[test]
    fn watches_are_removed_by_type_and_by_watcher() {
        let mut watches = Watches::default();
        watches.register(Table::Data, "/a", A);
        watches.register(Table::Exist, "/a", B);
        watches.register(Table::Child, "/a", A);
        watches.register(Table::Recursive, "/a", A);
        assert!(watches.contains("/a", WatcherType::Data, Some(B)));
        assert!(!watches.contains("/a", WatcherType::Children, Some(B)));
        assert_eq!(
            watches.remove("/a", WatcherType::Data, Some(A)),
            [(EventKind::DataWatchRemoved, vec![A])]
        );
        assert_eq!(watches.remove("/a", WatcherType::Data, Some(A)), []);
        assert_eq!(
            watches.remove("/a", WatcherType::Any, None),
            [
                (EventKind::DataWatchRemoved, vec![B]),
                (EventKind::ChildWatchRemoved, vec![A]),
                (EventKind::PersistentWatchRemoved, vec![A]),
            ]
        );
        assert!(!watches.contains("/a", WatcherType::Any, None));
    }

    #[test]
    fn watches_are_set_again_in_batches_of_bounded_length() {
        let mut watches = Watches::default();
        let path = |number: usize| format!("/{number:01023}");
        for number in 0..200 {
            watches.register(Table::Data, &path(number), A);
        }
        for number in 0..100 {
            watches.register(Table::Recursive, &path(number), A);
        }
        let batches = watches.set_again(Zxid(7));
        let ops: Vec<_> = batches.iter().map(|(op, _)| *op).collect();
        assert_eq!(ops, [OpCode::SetWatches, OpCode::SetWatches2, OpCode::SetWatches2]);
        let first = SetWatches::from_bytes(&batches[0].1).expect("a record");
        assert_eq!(first.relative_zxid, Zxid(7));
        assert_eq!(first.data_watches.expect("a list").len(), 128);
        let second = SetWatches2::from_bytes(&batches[1].1).expect("a record");
        assert_eq!(second.data_watches.expect("a list").len(), 72);
        assert_eq!(second.persistent_recursive_watches.expect("a list").len(), 56);
        let third = SetWatches2::from_bytes(&batches[2].1).expect("a record");
        assert_eq!(third.persistent_recursive_watches.expect("a list").len(), 44);
        assert_eq!(Watches::default().set_again(Zxid(7)), []);
    }
}
