//! The digest of the tree, version 2 (Java: `DigestCalculator`, `AdHash`): the 64-bit wrapping
//! sum over all znodes of the CRC-32 of path, data and stat. Everything below `/zookeeper/`
//! counts 0, since quota statistics are local to each server.

use crc32fast::Hasher;
use rookeeper_jute::StatPersisted;

/// The version of the rule, as it stands in transactions and snapshots.
pub const DIGEST_VERSION: i32 = 2;

/// Znodes whose path starts so have no part in the digest.
pub const EXCLUDED_PREFIX: &str = "/zookeeper/";

/// The CRC-32 of a path as the digest takes it: the root is the empty path.
pub fn path_crc(path: &str) -> u32 {
    let path = if path == "/" { "" } else { path };
    crc32fast::hash(path.as_bytes())
}

/// Goes on from the CRC-32 of `crc`'s bytes with `bytes`.
pub fn extend_crc(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// The CRC-32 of a child's path and data, from that of its parent's path.
pub fn child_crc(parent_path_crc: u32, name: &[u8], data: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(parent_path_crc);
    hasher.update(b"/");
    hasher.update(name);
    hasher.update(data);
    hasher.finalize()
}

/// A znode's digest from the CRC-32 of its path and data (null data adds nothing).
pub fn digest_of_stat(path_and_data_crc: u32, stat: &StatPersisted) -> u32 {
    let mut bytes = [0u8; 60];
    let longs = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime];
    for (chunk, value) in bytes.chunks_exact_mut(8).zip(longs) {
        chunk.copy_from_slice(&value.to_be_bytes());
    }
    bytes[40..44].copy_from_slice(&stat.version.to_be_bytes());
    bytes[44..48].copy_from_slice(&stat.cversion.to_be_bytes());
    bytes[48..52].copy_from_slice(&stat.aversion.to_be_bytes());
    bytes[52..60].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    extend_crc(path_and_data_crc, &bytes)
}

/// A znode's part in the digest of the tree.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> i64 {
    if path.starts_with(EXCLUDED_PREFIX) {
        return 0;
    }
    let crc = extend_crc(path_crc(path), data.unwrap_or_default());
    i64::from(digest_of_stat(crc, stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_its_alias_are_one_and_the_reserved_subtree_is_none() {
        let stat = StatPersisted { cversion: 3, ..StatPersisted::default() };
        assert_eq!(node_digest("/", Some(b""), &stat), node_digest("", None, &stat));
        assert_ne!(node_digest("/zookeeper", None, &stat), 0);
        assert_eq!(node_digest("/zookeeper/quota", None, &stat), 0);
    }

    #[test]
    fn a_crc_goes_on_where_it_stopped() {
        let whole = crc32fast::hash(b"/a/bdata");
        assert_eq!(extend_crc(extend_crc(path_crc("/a"), b"/b"), b"data"), whole);
        assert_eq!(child_crc(path_crc("/a"), b"b", b"data"), whole);
        assert_eq!(child_crc(path_crc("/"), b"a", b"/bdata"), whole);
    }
}
