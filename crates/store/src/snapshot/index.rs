//! What is known of our own snapshots, in a file beside `version-2`: from which zxid on a snapshot
//! holds nothing later, how long its body is and how many znodes it has.
//!
//! An entry counts only for a file of its name, length and time. Everything works without the
//! index: what is not in it is taken for a fuzzy snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rookeeper_jute::Zxid;

use super::SnapshotInfo;
use crate::error::StoreError;
use crate::names::SNAPSHOT_INDEX_FILE;
use crate::store::Shared;
use crate::switch::marker::{content_of, seal, unseal};

/// The first line; a later format has another one.
const TITLE: &str = "rookeeper snapshots 1";

/// No index is longer, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// How many snapshots are remembered, those with the newest zxids.
const ENTRIES_MAX: usize = 1000;

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// It holds nothing of transactions after this; its own zxid, if it is exact.
    pub(crate) whole_at: Zxid,
    /// Length of its body in bytes, uncompressed.
    pub(crate) body_len: u64,
    /// How many znodes it has.
    pub(crate) znodes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    zxid: Zxid,
    len: u64,
    modified_ms: i64,
    entry: Entry,
}

/// All entries, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnapshotIndex {
    known: BTreeMap<String, Known>,
}

impl SnapshotIndex {
    /// Reads the index; empty where there is none or it is damaged.
    pub(crate) fn read(shared: &Shared) -> Result<SnapshotIndex, StoreError> {
        let path = path(shared);
        if shared.disk.info(&path).map_err(StoreError::io("look at", &path))?.is_none() {
            return Ok(SnapshotIndex::default());
        }
        let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
        let content = content_of(&*file, LEN_MAX).map_err(StoreError::io("read", &path))?;
        Ok(SnapshotIndex::parse(&content).unwrap_or_default())
    }

    /// Writes the index. Where that fails the entries are missed after the next start, no more.
    pub(crate) fn write(&self, shared: &Shared) {
        let (path, next) = (path(shared), path(shared).with_extension("tmp"));
        let _ = shared.disk.create(&next).and_then(|file| {
            file.write_at(0, self.encode().as_bytes())?;
            file.sync_data()?;
            shared.disk.rename(&next, &path)?;
            shared.disk.sync_dir(&shared.config.data_dir)
        });
    }

    /// What is known of a snapshot, if it is the same file still.
    pub(crate) fn entry(&self, info: &SnapshotInfo) -> Option<Entry> {
        let known = self.known.get(&info.name)?;
        let same = (known.len, known.modified_ms) == (info.len, info.modified_ms);
        same.then_some(known.entry)
    }

    /// Adds a snapshot.
    pub(crate) fn insert(&mut self, info: &SnapshotInfo, entry: Entry) {
        let SnapshotInfo { zxid, len, modified_ms, .. } = *info;
        self.known.insert(info.name.clone(), Known { zxid, len, modified_ms, entry });
        while self.known.len() > ENTRIES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.zxid);
            let oldest = oldest.map(|(name, _)| name.clone()).unwrap_or_default();
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (name, Known { zxid, len, modified_ms, entry }) in &self.known {
            let znodes = entry.znodes.map_or("-".to_string(), |znodes| znodes.to_string());
            text.push_str(&format!(
                "{} {len} {modified_ms} {} {} {znodes} {name}\n",
                zxid.0, entry.whole_at.0, entry.body_len
            ));
        }
        seal(text)
    }

    pub(crate) fn parse(content: &[u8]) -> Option<SnapshotIndex> {
        let mut lines = unseal(content)?.split_terminator('\n');
        lines.next().filter(|title| *title == TITLE)?;
        let mut known = BTreeMap::new();
        for line in lines {
            let mut parts = line.splitn(7, ' ');
            let mut next = || parts.next();
            let zxid = Zxid(next()?.parse().ok()?);
            let (len, modified_ms) = (next()?.parse().ok()?, next()?.parse().ok()?);
            let whole_at = Zxid(next()?.parse().ok()?);
            let body_len = next()?.parse().ok()?;
            let znodes = match next()? {
                "-" => None,
                znodes => Some(znodes.parse().ok()?),
            };
            let entry = Entry { whole_at, body_len, znodes };
            known.insert(next()?.to_string(), Known { zxid, len, modified_ms, entry });
        }
        Some(SnapshotIndex { known })
    }
}

fn path(shared: &Shared) -> PathBuf {
    shared.config.data_dir.join(SNAPSHOT_INDEX_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(zxid: i64) -> SnapshotInfo {
        let name = format!("snapshot.{zxid:x}");
        SnapshotInfo { zxid: Zxid(zxid), name, len: 100 + zxid as u64, modified_ms: 7 }
    }

    #[test]
    fn an_entry_counts_for_the_same_file_only() {
        let mut index = SnapshotIndex::default();
        let entry = Entry { whole_at: Zxid(5), body_len: 60, znodes: Some(3) };
        index.insert(&info(5), entry);
        index.insert(&info(9), Entry { whole_at: Zxid(12), znodes: None, ..entry });
        let read = SnapshotIndex::parse(index.encode().as_bytes()).unwrap();
        assert_eq!(read, index);
        assert_eq!(read.entry(&info(5)), Some(entry));
        assert_eq!(read.entry(&SnapshotInfo { len: 1, ..info(5) }), None);
        assert_eq!(read.entry(&SnapshotInfo { modified_ms: 8, ..info(5) }), None);
        assert_eq!(read.entry(&info(6)), None);
        assert_eq!(SnapshotIndex::parse(&index.encode().as_bytes()[1..]), None);
    }

    #[test]
    fn the_oldest_entries_are_forgotten() {
        let mut index = SnapshotIndex::default();
        for zxid in 0..ENTRIES_MAX as i64 + 5 {
            let entry = Entry { whole_at: Zxid(zxid), body_len: 1, znodes: None };
            index.insert(&info(zxid), entry);
        }
        assert_eq!(index.known.len(), ENTRIES_MAX);
        assert_eq!((index.entry(&info(4)), index.entry(&info(5)).is_some()), (None, true));
    }

    proptest::proptest! {
        /// With the right checksum, any lines are an index or none.
        #[test]
        fn any_sealed_lines_are_read(
            lines in proptest::collection::vec("([-0-9]{0,20} ){0,7}[a-z.]{0,3}", 0..5),
        ) {
            let content = seal(format!("{TITLE}\n{}\n", lines.join("\n")));
            if let Some(index) = SnapshotIndex::parse(content.as_bytes()) {
                assert_eq!(SnapshotIndex::parse(index.encode().as_bytes()), Some(index));
            }
        }
    }
}
