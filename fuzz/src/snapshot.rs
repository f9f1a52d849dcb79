//! Snapshot files: the first byte says how they are compressed. What loads is written again, and
//! loads to the same tree.

use rookeeper_jute::Zxid;
use rookeeper_store::Compression;
use rookeeper_store::snapshot::parse;

use crate::parts::{Loading, snapshot_file};

/// Loads a file.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let compression = match kind % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let mut loading = Loading::new();
    if parse(bytes, compression, 1 << 20, &mut loading).is_err() {
        return;
    }
    let Ok(mut tree) = loading.loader.finish(Zxid(5)) else { return };
    let file = snapshot_file(&mut tree);
    let mut loading = Loading::new();
    parse(&file, Compression::None, 1 << 21, &mut loading)
        .expect("what was loaded is written well");
    let again = loading.loader.finish(Zxid(5)).expect("it has a root");
    assert_eq!(again.digest(), tree.digest());
    assert_eq!(again.znode_count(), tree.znode_count());
}
