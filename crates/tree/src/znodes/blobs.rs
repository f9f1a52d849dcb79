//! The memory of the blobs: segments of 256 KiB that are filled from the front, one blob after the
//! other, without rounding.
//!
//! A blob that is freed leaves a hole. When holes are more than an eighth of what is in use, the
//! segment with the most of them is emptied, its blobs moved to the end. So memory stays in
//! proportion to what is stored, however sizes change over time, and each step of this costs less
//! than a millisecond. A large blob has a segment of its own, which is given back with it.
//!
//! In a segment each blob follows the number of its slot, 4 bytes, and its size, 2 bytes (0 in a
//! segment of its own).

use super::Slot;
use super::blob;
use super::paged::Paged;

/// Bytes of a shared segment.
const SEGMENT_LEN: usize = 256 * 1024;
/// Larger blobs have a segment of their own.
const SHARED_LEN_MAX: usize = 16 * 1024;
/// Bytes before each blob.
const PREFIX_LEN: usize = 6;
/// Bytes of holes that are left alone in any case.
const HOLES_KEPT: u64 = 512 * 1024;
/// Holes may be this part of what is live.
const HOLES_SHARE: u64 = 8;
/// Room that a blob gets for growing when it has grown before.
const ROOM_LEN: usize = 8;
/// Segments of their own are rounded up to this.
const OWN_STEP_LEN: usize = 4096;

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    segment: u32,
    /// Of the prefix, from the start of the segment.
    offset: u32,
}

impl Handle {
    /// No blob.
    pub(super) const NONE: Handle = Handle { segment: u32::MAX, offset: 0 };
}

#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    /// Bytes of blobs that are not freed, prefixes included.
    live: usize,
}

/// All blobs.
#[derive(Debug)]
pub(super) struct Blobs {
    segments: Vec<Segment>,
    /// Numbers of segments that hold no memory.
    unused: Vec<u32>,
    /// The shared segment that is being filled.
    open: u32,
    /// Bytes in shared segments that blobs have, and that holes have.
    live: u64,
    holes: u64,
    /// Memory of a segment that was emptied, for the next one to be filled.
    spare: Vec<u8>,
    /// Used again for data that moves.
    moving: Vec<u8>,
}

impl Blobs {
    /// None yet.
    pub(super) fn new() -> Self {
        let first = Segment { bytes: Vec::with_capacity(SEGMENT_LEN), live: 0 };
        Blobs {
            segments: vec![first],
            unused: Vec::new(),
            open: 0,
            live: 0,
            holes: 0,
            spare: Vec::new(),
            moving: Vec::new(),
        }
    }

    /// A blob, with what is left of its room.
    #[inline]
    pub(super) fn get(&self, at: Handle) -> &[u8] {
        let bytes = &self.segments[at.segment as usize].bytes[at.offset as usize..];
        &bytes[PREFIX_LEN..PREFIX_LEN + size_after(bytes)]
    }

    /// Keeps a new blob of header and data for a slot.
    pub(super) fn insert(&mut self, slot: u32, header: &[u8], data: &[u8]) -> Handle {
        self.append(slot, header, data, 0)
    }

    /// Frees a blob.
    pub(super) fn remove(&mut self, at: Handle) {
        let segment = &mut self.segments[at.segment as usize];
        let size = size_after(&segment.bytes[at.offset as usize..]) + PREFIX_LEN;
        if is_own(&segment.bytes) {
            self.release(at.segment);
            return;
        }
        segment.live -= size;
        self.live -= size as u64;
        self.holes += size as u64;
        if segment.live == 0 {
            self.holes -= segment.bytes.len() as u64;
            segment.bytes.clear();
            if at.segment != self.open {
                self.release(at.segment);
            }
        }
    }

    /// Replaces header and data; where the blob is afterwards.
    pub(super) fn replace(&mut self, at: Handle, header: &[u8], data: &[u8]) -> Handle {
        let len = header.len() + data.len();
        let (slot, blob) = self.get_mut(at);
        if !fits(blob.len(), len) {
            self.remove(at);
            return self.append(slot, header, data, ROOM_LEN);
        }
        blob[..header.len()].copy_from_slice(header);
        blob[header.len()..len].copy_from_slice(data);
        at
    }

    /// Replaces the header and keeps the data; where the blob is afterwards.
    pub(super) fn replace_header(&mut self, at: Handle, header: &[u8]) -> Handle {
        let (slot, blob) = self.get_mut(at);
        let data = blob::data_range(blob);
        let len = header.len() + data.len();
        if fits(blob.len(), len) {
            blob.copy_within(data, header.len());
            blob[..header.len()].copy_from_slice(header);
            return at;
        }
        let mut moving = std::mem::take(&mut self.moving);
        moving.clear();
        moving.extend_from_slice(&self.get(at)[data]);
        self.remove(at);
        let at = self.append(slot, header, &moving, ROOM_LEN);
        moving.shrink_to(SHARED_LEN_MAX);
        self.moving = moving;
        at
    }

    /// Empties one segment if there are too many holes, and tells the slots where their blobs are
    /// then. To be called after each change, when every slot knows where its blob is.
    #[inline]
    pub(super) fn tidy(&mut self, slots: &mut Paged<Slot>) {
        if self.holes > HOLES_KEPT + self.live / HOLES_SHARE {
            self.empty_one(slots);
        }
    }

    #[cold]
    fn empty_one(&mut self, slots: &mut Paged<Slot>) {
        let holes = |segment: &Segment| segment.bytes.len() - segment.live;
        let shared =
            self.segments.iter().enumerate().filter(|(number, segment)| {
                *number != self.open as usize && !is_own(&segment.bytes)
            });
        let Some((number, _)) = shared.max_by_key(|(_, segment)| holes(segment)) else { return };
        let segment = std::mem::take(&mut self.segments[number]);
        self.holes -= holes(&segment) as u64;
        self.live -= segment.live as u64;
        let mut at = Handle { segment: number as u32, offset: 0 };
        while (at.offset as usize) < segment.bytes.len() {
            let bytes = &segment.bytes[at.offset as usize..];
            let size = size_after(bytes);
            let slot = slot_after(bytes);
            let row = slots.get_mut(slot);
            if row.blob == at {
                row.blob = self.append(slot, &bytes[PREFIX_LEN..PREFIX_LEN + size], &[], 0);
            }
            at.offset += (PREFIX_LEN + size) as u32;
        }
        self.unused.push(number as u32);
        self.spare = segment.bytes;
        self.spare.clear();
    }

    fn get_mut(&mut self, at: Handle) -> (u32, &mut [u8]) {
        let bytes = &mut self.segments[at.segment as usize].bytes[at.offset as usize..];
        let (size, slot) = (size_after(bytes), slot_after(bytes));
        (slot, &mut bytes[PREFIX_LEN..PREFIX_LEN + size])
    }

    fn append(&mut self, slot: u32, header: &[u8], data: &[u8], room: usize) -> Handle {
        let len = header.len() + data.len() + room;
        if len > SHARED_LEN_MAX {
            return self.append_own(slot, header, data);
        }
        let size = PREFIX_LEN + len;
        if self.segments[self.open as usize].bytes.len() + size > SEGMENT_LEN {
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.reserve_exact(SEGMENT_LEN);
            self.open = self.add_segment(Segment { bytes, live: 0 });
        }
        let segment = &mut self.segments[self.open as usize];
        let offset = segment.bytes.len() as u32;
        segment.bytes.extend_from_slice(&slot.to_le_bytes());
        segment.bytes.extend_from_slice(&(len as u16).to_le_bytes());
        segment.bytes.extend_from_slice(header);
        segment.bytes.extend_from_slice(data);
        segment.bytes.resize(offset as usize + size, 0);
        segment.live += size;
        self.live += size as u64;
        Handle { segment: self.open, offset }
    }

    fn append_own(&mut self, slot: u32, header: &[u8], data: &[u8]) -> Handle {
        let size = (PREFIX_LEN + header.len() + data.len()).next_multiple_of(OWN_STEP_LEN);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&slot.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(data);
        bytes.resize(size, 0);
        Handle { segment: self.add_segment(Segment { bytes, live: size }), offset: 0 }
    }

    fn add_segment(&mut self, segment: Segment) -> u32 {
        if let Some(number) = self.unused.pop() {
            self.segments[number as usize] = segment;
            return number;
        }
        self.segments.push(segment);
        u32::try_from(self.segments.len() - 1).expect("segments are numbered in 32 bits")
    }

    fn release(&mut self, number: u32) {
        self.segments[number as usize] = Segment::default();
        self.unused.push(number);
    }
}

/// Whether a segment holds one large blob.
#[inline]
fn is_own(segment: &[u8]) -> bool {
    segment.len() >= PREFIX_LEN && segment[4..PREFIX_LEN] == [0; 2]
}

#[inline]
fn slot_after(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline]
fn size_after(bytes: &[u8]) -> usize {
    match u16::from_le_bytes([bytes[4], bytes[5]]) {
        0 => bytes.len() - PREFIX_LEN,
        size => usize::from(size),
    }
}

/// Whether `len` bytes may stay in memory of `size` bytes: they fit and leave no large part of it
/// unused.
fn fits(size: usize, len: usize) -> bool {
    let is_own = size > SHARED_LEN_MAX;
    let unused_max = len / 8 + if is_own { OWN_STEP_LEN } else { ROOM_LEN };
    len <= size && size - len <= unused_max
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        blobs: Blobs,
        slots: Paged<Slot>,
    }

    impl Fixture {
        fn new() -> Self {
            Fixture { blobs: Blobs::new(), slots: Paged::new() }
        }

        fn insert(&mut self, data: &[u8]) -> u32 {
            let slot = self.slots.len();
            let blob = self.blobs.insert(slot, b"", data);
            self.slots.push(Slot { hash: [0; 2], blob, parent: 0, position: 0 })
        }

        fn replace(&mut self, slot: u32, data: &[u8]) {
            let row = self.slots.get_mut(slot);
            row.blob = self.blobs.replace(row.blob, b"", data);
            self.blobs.tidy(&mut self.slots);
        }

        fn memory(&self) -> usize {
            self.blobs.segments.iter().map(|segment| segment.bytes.capacity()).sum()
        }
    }

    #[test]
    fn memory_follows_what_is_stored_through_all_sizes() {
        let mut fixture = Fixture::new();
        let count = 20_000u32;
        for slot in 0..count {
            fixture.insert(&slot.to_le_bytes());
        }
        let mut random = 1u64;
        let mut last = vec![0; count as usize];
        for len in [100, 136, 40, 900, 10, 17_000, 64] {
            let count = if len > 1000 { 2000 } else { count };
            for turn in 0..count * 3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let slot = if turn < count { turn } else { (random >> 40) as u32 % count };
                // No size stays, so that a segment holds a slot's blob and earlier ones of it.
                let longer = (random >> 20) as usize % 3 * (len / 4 + 1);
                let mut data = vec![turn as u8; len + longer];
                data[..4].copy_from_slice(&slot.to_le_bytes());
                last[slot as usize] = turn as u8;
                fixture.replace(slot, &data);
            }
            for slot in 0..count {
                let data = fixture.blobs.get(fixture.slots.get(slot).blob);
                assert_eq!(data[..4], slot.to_le_bytes());
                let expected = last[slot as usize];
                assert!(data[4..len].iter().all(|byte| *byte == expected), "{slot}");
            }
            let live =
                fixture.blobs.live as usize + count as usize * if len > 1000 { 28_672 } else { 0 };
            let memory = fixture.memory();
            let allowed = live + live / 5 + 2 * SEGMENT_LEN + HOLES_KEPT as usize;
            assert!(memory <= allowed, "{memory} bytes for {live} at {len}");
        }
        for slot in 0..count {
            fixture.blobs.remove(fixture.slots.get(slot).blob);
        }
        assert_eq!((fixture.blobs.live, fixture.blobs.holes), (0, 0));
        assert!(fixture.memory() <= SEGMENT_LEN);
    }

    #[test]
    fn a_header_changes_and_the_data_stays() {
        use crate::acls::AclIndex;
        use rookeeper_jute::StatPersisted;
        for len in [0usize, 9, 300, 16_300, 16_380, 70_000] {
            let mut fixture = Fixture::new();
            let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let stat = StatPersisted::default();
            let mut header = Vec::new();
            let acl = AclIndex::OPEN;
            let place = blob::Place::Leaf { data_crc: 7 };
            let fields = blob::Fields { place, name: b"n", stat, acl, data: Some(&data) };
            blob::encode_header(&fields, Some(len), &mut header);
            let mut at = fixture.blobs.insert(0, &header, &data);
            for acl in [AclIndex(5), AclIndex(i64::MAX), AclIndex::OPEN, AclIndex(1 << 40)] {
                blob::encode_header(&blob::Fields { acl, ..fields }, Some(len), &mut header);
                at = fixture.blobs.replace_header(at, &header);
                let read = blob::parse(fixture.blobs.get(at));
                assert_eq!((read.acl, read.data), (acl, Some(data.as_slice())));
            }
        }
    }

    #[test]
    fn values_of_like_size_stay_and_large_room_is_given_back() {
        assert!(fits(128, 128) && fits(128, 110) && fits(20_474, 16_500));
        assert!(!fits(128, 129) && !fits(4096, 128) && !fits(16_000, 10_000));
    }
}
