//! What only a znode with children needs, so that the others do not pay for it. A record is made
//! with the first child and given back with the last; the root keeps its own.

use rookeeper_jute::Zxid;

use super::NodeId;
use super::children::Children;
use super::paged::Paged;

/// No record: the root's parent, and the end of the list of free records.
const NONE: u32 = u32::MAX;

/// The record of a znode with children.
#[derive(Debug)]
pub(super) struct Interior {
    /// The parent's record, so that counting goes up without a look at the znodes.
    pub(super) parent: u32,
    /// The children in order.
    pub(super) children: Children,
    /// As in the stat: here, since each new child changes it.
    pub(super) cversion: i32,
    /// As in the stat: here, since each change of the children changes it.
    pub(super) pzxid: Zxid,
    /// The largest czxid of any child that was ever appended to this record.
    pub(super) czxid_max: Zxid,
    /// Whether a child came with a czxid below an earlier one's, as happens in replay.
    pub(super) is_disordered: bool,
    /// Whether what is below has no part in the digest: `/zookeeper` and all below it.
    pub(super) is_excluding: bool,
    /// How many znodes are below.
    pub(super) descendants: u64,
    /// Bytes of data below, this znode's own not included.
    pub(super) bytes_below: u64,
    /// The CRC-32 of the path, from which a child's goes on.
    pub(super) path_crc: u32,
    /// The CRC-32 of path and data, so that a new child does not cost a look at large data.
    pub(super) data_crc: u32,
    /// Length of the path in UTF-16 units.
    pub(super) path_units: u32,
}

/// All records.
#[derive(Debug)]
pub(super) struct Interiors {
    rows: Paged<Interior>,
    free: u32,
}

impl Interiors {
    /// None yet.
    pub(super) fn new() -> Self {
        Interiors { rows: Paged::new(), free: NONE }
    }

    /// Keeps a record and returns its number.
    pub(super) fn insert(&mut self, interior: Interior) -> u32 {
        if self.free == NONE {
            return self.rows.push(interior);
        }
        let number = self.free;
        let row = self.rows.get_mut(number);
        self.free = row.parent;
        *row = interior;
        number
    }

    /// Gives a record back.
    pub(super) fn remove(&mut self, number: u32) {
        let row = self.rows.get_mut(number);
        row.children = Children::new();
        row.is_disordered = false;
        row.parent = self.free;
        self.free = number;
    }

    /// A record.
    #[inline]
    pub(super) fn get(&self, number: u32) -> &Interior {
        self.rows.get(number)
    }

    /// A record to change.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut Interior {
        self.rows.get_mut(number)
    }

    /// Adds znodes and bytes to the counts of a record and of those above it.
    pub(super) fn count(&mut self, number: u32, znodes: i64, bytes: i64) {
        let mut at = number;
        while at != NONE {
            let row = self.rows.get_mut(at);
            row.descendants = row.descendants.checked_add_signed(znodes).expect("counted before");
            row.bytes_below = row.bytes_below.checked_add_signed(bytes).expect("counted before");
            at = row.parent;
        }
    }

    /// The numbers of the records whose children are out of order.
    pub(super) fn disordered(&self) -> Vec<u32> {
        (0..self.rows.len()).filter(|number| self.rows.get(*number).is_disordered).collect()
    }
}

impl Interior {
    /// The record of a root without data.
    pub(super) fn root() -> Self {
        Interior {
            parent: NONE,
            children: Children::new(),
            cversion: 0,
            pzxid: Zxid::ZERO,
            czxid_max: Zxid(i64::MIN),
            is_disordered: false,
            is_excluding: false,
            descendants: 0,
            bytes_below: 0,
            path_crc: 0,
            data_crc: 0,
            path_units: 0,
        }
    }

    /// Appends a child; `moved` is told of children that get another position. Children of equal
    /// czxids are in order only if they come in the order of their creation.
    pub(super) fn push(
        &mut self,
        id: NodeId,
        czxid: Zxid,
        is_loading: bool,
        moved: &mut impl FnMut(NodeId, u32),
    ) -> u32 {
        self.is_disordered |= czxid < self.czxid_max || is_loading && czxid == self.czxid_max;
        self.czxid_max = self.czxid_max.max(czxid);
        self.children.push(id, moved)
    }
}
