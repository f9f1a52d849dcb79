//! How inputs are cut into parts, and what targets share.

use rookeeper_jute::persistence::{FileHeader, SNAPSHOT_MAGIC, VERSION};
use rookeeper_jute::{Acl, Encode, SessionId, StatPersisted};
use rookeeper_store::snapshot::SnapshotSink;
use rookeeper_tree::{SnapshotProgress, Tree, TreeConfig, TreeLoader};

/// Parts that follow one another, each with a tag and its length in two bytes before it; the last
/// may end early.
pub fn parts(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = input.split_first_chunk::<3>()?;
        let len = usize::from(u16::from_be_bytes([head[1], head[2]])).min(rest.len());
        let (part, rest) = rest.split_at(len);
        input = rest;
        Some((head[0], part))
    })
}

/// One part of an input, as [`parts`] cuts it.
pub fn part(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("seeds are small");
    [&[tag], &len.to_be_bytes()[..], bytes].concat()
}

/// A tree with all kinds of znodes allowed.
pub fn tree_config() -> TreeConfig {
    TreeConfig {
        index_key: [7, 9],
        digest_enabled: true,
        extended_types_enabled: true,
        emulate_353_ttl_nodes: false,
    }
}

/// Loads a snapshot's records into a tree, and keeps what they were.
pub struct Loading {
    /// The tree that is made.
    pub loader: TreeLoader,
}

impl Loading {
    /// Starts with nothing.
    pub fn new() -> Self {
        Loading { loader: TreeLoader::new(tree_config()) }
    }
}

impl Default for Loading {
    fn default() -> Self {
        Loading::new()
    }
}

impl SnapshotSink for Loading {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.loader.session(id, timeout_ms);
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl<'_>>) -> Result<(), String> {
        self.loader.acl(index, acl);
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_index: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        self.loader.node(path, data, acl_index, stat).map_err(|error| error.to_string())
    }

    fn progress(&mut self, _znodes: u64, _bytes: u64) {}
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}

/// The file that a snapshot of `tree` is.
pub fn snapshot_file(tree: &mut Tree) -> Vec<u8> {
    let mut file = FileHeader { magic: SNAPSHOT_MAGIC, version: VERSION, dbid: -1 }.to_bytes();
    tree.begin_snapshot();
    while tree.continue_snapshot(1 << 16, &mut file) == SnapshotProgress::Running {}
    let seal = i64::from(adler32(&file));
    seal.encode(&mut file);
    "/".encode(&mut file);
    file
}
