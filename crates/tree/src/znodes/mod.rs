//! Where the znodes are kept, compactly: a million of 100 bytes take about 200 MB in all.
//!
//! Each znode has a slot of 32 bytes and a blob with its name, stat and data; those with children
//! have an interior record as well. Paths are not kept: an index from the hash of the path finds
//! the slot, and a path is put together from the names on the way up. Counts of all that is below a
//! znode are kept up with every change, so that nothing ever walks the tree.
//!
//! # Layout
//! - `blob`: one znode's fields in bytes
//! - `blobs`: the memory of the blobs
//! - `interior`: what only znodes with children have
//! - `children`: the list of children
//! - `index`: from path to slot
//! - `paged`: rows that never move
//! - `change`: everything that changes
//! - `cursor`: the walk of a snapshot, beside which changes go on

mod blob;
mod blobs;
mod change;
mod children;
mod cursor;
mod index;
mod interior;
mod paged;
#[cfg(test)]
mod tests;

use rookeeper_jute::{Stat, StatPersisted};

use crate::acls::AclIndex;
use crate::apply::LOOK_AHEAD;
use crate::digest;
use crate::owners::{OwnerRules, Owners};

use blob::Place;
use blobs::{Blobs, Handle};
use cursor::Cursor;
use index::{Index, PathHash};
use interior::{Interior, Interiors};
use paged::Paged;

/// A znode's place in memory: good until the znode is removed, then used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The root, which every tree has.
    pub const ROOT: NodeId = NodeId(0);

    /// The znode of a number, for tests of what keeps ids.
    #[cfg(test)]
    pub(crate) fn from_number(number: u32) -> Self {
        NodeId(number)
    }
}

/// No slot: the root's parent, and the end of the list of free slots.
const NO_SLOT: u32 = u32::MAX;

/// What finds a znode. A free slot has no blob, and the next free slot as its parent.
#[derive(Debug)]
struct Slot {
    hash: PathHash,
    blob: Handle,
    parent: u32,
    /// Where it is in its parent's list of children.
    position: u32,
}

/// All that is known of a znode, read at once.
#[derive(Debug, Clone, Copy)]
pub struct ZnodeView<'a> {
    /// The stat as stored.
    pub persisted: StatPersisted,
    /// The stat as clients see it.
    pub stat: Stat,
    /// The number of the access control list.
    pub acl: AclIndex,
    /// The data; `None` is null.
    pub data: Option<&'a [u8]>,
    /// The CRC-32 of path and data, from which the digest goes on.
    pub data_crc: u32,
}

/// What [`Znodes::set_data`] left.
#[derive(Debug, Clone, Copy)]
pub struct DataSet {
    /// The stat as clients see it.
    pub stat: Stat,
    /// The number of the access control list.
    pub acl: AclIndex,
    /// How many bytes longer the data is than it was.
    pub growth: i64,
}

/// The znodes of a tree. Access control lists are numbers here: who inserts or removes a znode or
/// changes its list counts the uses in the [`crate::AclTable`].
#[derive(Debug)]
pub struct Znodes {
    slots: Paged<Slot>,
    free: u32,
    blobs: Blobs,
    index: Index,
    interiors: Interiors,
    owners: Owners,
    digest_enabled: bool,
    digest: i64,
    data_size: i64,
    is_loading: bool,
    cursor: Option<Box<Cursor>>,
    /// Used again for every header that is written.
    header: Vec<u8>,
    /// Used again for every path that is put together to be hashed.
    path: String,
}

impl Znodes {
    /// A root with empty data and a stat of zeros, open to all. `index_key` is the key of the
    /// hashes of paths.
    pub fn new(index_key: [u64; 2], rules: OwnerRules, digest_enabled: bool) -> Self {
        let mut znodes = Znodes {
            slots: Paged::new(),
            free: NO_SLOT,
            blobs: Blobs::new(),
            index: Index::new(index_key),
            interiors: Interiors::new(),
            owners: Owners::new(rules),
            digest_enabled,
            digest: 0,
            // The root counts under both of its names, "" and "/".
            data_size: 1,
            is_loading: false,
            cursor: None,
            header: Vec::new(),
            path: String::new(),
        };
        znodes.make_root();
        znodes
    }

    /// The znode of a path; `""` and `"/"` are the root. Any other path finds a znode only if it is
    /// exactly the znode's own.
    #[inline]
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        if path.len() <= 1 {
            return matches!(path, "" | "/").then_some(NodeId::ROOT);
        }
        self.find(self.index.hash(path.as_bytes()))
    }

    /// The hash of a path that is not the root's, for who asks for one path more than once.
    #[inline]
    pub(crate) fn path_hash(&self, path: &[u8]) -> [u64; 2] {
        self.index.hash(path)
    }

    /// The znode of a hash that [`Znodes::path_hash`] gave.
    #[inline]
    pub(crate) fn lookup_hashed(&self, hash: [u64; 2]) -> Option<NodeId> {
        self.find(hash)
    }

    /// Reads a little of each znode that is there, and does nothing with it.
    pub(crate) fn touch(&self, hashes: &[Option<[u64; 2]>; LOOK_AHEAD]) {
        let ids = hashes.map(|hash| hash.and_then(|hash| self.find(hash)));
        let ends = |id| {
            let blob = self.blob(id);
            blob.first().map_or(0, |byte| *byte) ^ blob.last().map_or(0, |byte| *byte)
        };
        let read = ids.into_iter().flatten().fold(0, |sum, id| sum ^ ends(id));
        std::hint::black_box(read);
    }

    /// Whether the names on the way up from the znode are those of `path`: the proof, where a
    /// lookup's hash is not taken for one.
    pub fn is_at(&self, id: NodeId, path: &str) -> bool {
        let mut rest = if path == "/" { "" } else { path };
        let mut at = id;
        while at != NodeId::ROOT {
            let above = rest.strip_suffix(self.name(at)).and_then(|rest| rest.strip_suffix('/'));
            let (Some(above), Some(parent)) = (above, self.parent(at)) else { return false };
            (rest, at) = (above, parent);
        }
        rest.is_empty()
    }

    /// Appends the znode's path to `out`; the root's is `"/"`.
    pub fn path(&self, id: NodeId, out: &mut String) {
        if id == NodeId::ROOT {
            out.push('/');
        }
        self.path_below_root(id, out);
    }

    /// Appends the znode's path to `out`; the root's is `""`.
    fn path_below_root(&self, id: NodeId, out: &mut String) {
        // Most paths are short; deep ones pay for a list on the heap.
        let mut near = [0u32; 16];
        let mut near_len = 0;
        let mut far = Vec::new();
        let mut at = id.0;
        while at != NodeId::ROOT.0 {
            match near.get_mut(near_len) {
                Some(place) => {
                    *place = at;
                    near_len += 1;
                }
                None => far.push(at),
            }
            at = self.slots.get(at).parent;
        }
        for slot in far.iter().rev().chain(near[..near_len].iter().rev()) {
            out.push('/');
            out.push_str(self.name(NodeId(*slot)));
        }
    }

    /// The parent, `None` for the root.
    #[inline]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.slots.get(id.0).parent;
        (parent != NO_SLOT).then_some(NodeId(parent))
    }

    /// The last component of the path, `""` for the root.
    #[inline]
    pub fn name(&self, id: NodeId) -> &str {
        blob::name(self.blob(id))
    }

    /// The data; `None` is null, which is distinct from empty.
    pub fn data(&self, id: NodeId) -> Option<&[u8]> {
        blob::parse(self.blob(id)).data
    }

    /// The stat as stored.
    pub fn persisted(&self, id: NodeId) -> StatPersisted {
        self.fields(id).stat
    }

    /// The stat as clients see it (Java: `DataNode.copyStat`).
    pub fn stat(&self, id: NodeId) -> Stat {
        self.view(id).stat
    }

    /// Stats, data and access control list at once.
    pub fn view(&self, id: NodeId) -> ZnodeView<'_> {
        let fields = self.fields(id);
        ZnodeView {
            persisted: fields.stat,
            stat: self.visible(&fields),
            acl: fields.acl,
            data: fields.data,
            data_crc: self.data_crc(fields.place),
        }
    }

    /// The stat as clients see it, of all fields.
    fn visible(&self, fields: &blob::Fields<'_>) -> Stat {
        let stat = &fields.stat;
        let interior = fields.place.interior();
        let children = interior.map_or(0, |number| self.interiors.get(number).children.len());
        let num_children = i32::try_from(children).unwrap_or(i32::MAX);
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: stat.aversion,
            ephemeral_owner: self.owners.rules().visible(stat.ephemeral_owner),
            data_length: i32::try_from(data_len(fields.data)).unwrap_or(i32::MAX),
            num_children,
            pzxid: stat.pzxid,
        }
    }

    /// The number of the access control list.
    pub fn acl(&self, id: NodeId) -> AclIndex {
        blob::parse(self.blob(id)).acl
    }

    /// How many children there are.
    pub fn child_count(&self, id: NodeId) -> usize {
        self.interior(id).map_or(0, |interior| interior.children.len())
    }

    /// The children in czxid order; children of one transaction in the order of their creation,
    /// or of their names if they come from a snapshot.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.interior(id).into_iter().flat_map(|interior| interior.children.iter())
    }

    /// How many znodes are below this one, itself not included, without a walk.
    pub fn descendants(&self, id: NodeId) -> u64 {
        self.interior(id).map_or(0, |interior| interior.descendants)
    }

    /// The data of this znode and of all below it, in bytes, without a walk.
    pub fn subtree_bytes(&self, id: NodeId) -> u64 {
        let below = self.interior(id).map_or(0, |interior| interior.bytes_below);
        below + data_len(self.data(id)) as u64
    }

    /// The znode's part in the digest, whether or not digests are enabled.
    pub fn digest_of(&self, id: NodeId) -> i64 {
        if self.is_excluded(id) {
            return 0;
        }
        let fields = self.fields(id);
        i64::from(digest::digest_of_stat(self.data_crc(fields.place), &fields.stat))
    }

    /// The digest of all, version 2; 0 where digests are disabled.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// How many znodes there are, the root once.
    pub fn len(&self) -> usize {
        self.index.len() + 1
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Paths in UTF-16 units and data in bytes, of all znodes (Java: `approximateDataSize`).
    pub fn data_size(&self) -> i64 {
        self.data_size
    }

    /// Ephemerals, containers and times to live.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    fn blob(&self, id: NodeId) -> &[u8] {
        self.blobs.get(self.slots.get(id.0).blob)
    }

    /// All fields, with what an interior record keeps.
    fn fields(&self, id: NodeId) -> blob::Fields<'_> {
        let mut fields = blob::parse(self.blob(id));
        if let Place::Interior(number) = fields.place {
            let interior = self.interiors.get(number);
            fields.stat.cversion = interior.cversion;
            fields.stat.pzxid = interior.pzxid;
        }
        fields
    }

    #[inline]
    fn interior(&self, id: NodeId) -> Option<&Interior> {
        blob::interior(self.blob(id)).map(|number| self.interiors.get(number))
    }

    /// The number of the interior record of a parent.
    fn parent_interior(&self, id: NodeId) -> u32 {
        let parent = self.slots.get(id.0).parent;
        blob::interior(self.blob(NodeId(parent))).expect("a parent has an interior record")
    }

    fn find(&self, hash: PathHash) -> Option<NodeId> {
        self.index.find(hash, |slot| self.slots.get(slot).hash).map(NodeId)
    }

    /// Whether the znode is below `/zookeeper` and so has no part in the digest.
    fn is_excluded(&self, id: NodeId) -> bool {
        id != NodeId::ROOT && self.interiors.get(self.parent_interior(id)).is_excluding
    }

    /// The CRC-32 of path and data.
    fn data_crc(&self, place: Place) -> u32 {
        match place {
            Place::Interior(number) => self.interiors.get(number).data_crc,
            Place::Leaf { data_crc } => data_crc,
        }
    }
}

fn data_len(data: Option<&[u8]>) -> usize {
    data.map_or(0, <[u8]>::len)
}

/// The length of a path component as Java counts it, with the slash before it.
fn name_units(name: &str) -> u32 {
    let units = if name.is_ascii() { name.len() } else { name.encode_utf16().count() };
    u32::try_from(units).expect("names are bounded far below 2^32") + 1
}
