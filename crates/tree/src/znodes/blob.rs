//! One znode in one piece of memory: its name, stat and data, without what most znodes lack.
//!
//! A blob is, in this order:
//! - flags, 2 bytes: which of the optional fields follow
//! - 4 bytes: for a znode with children, the number of its interior record; for any other, the
//!   CRC-32 of path and data, from which its digest goes on
//! - the name's length and the name
//! - czxid, ctime
//! - where they differ from what a new znode has: mzxid (less czxid), mtime (less ctime), version,
//!   aversion, owner (8 bytes), number of the access control list, and, unless an interior record
//!   keeps them, cversion and pzxid (less czxid)
//! - unless it is null, the data's length and the data
//! - what is left of the room that the blob has, so that a longer value often fits later
//!
//! Numbers are zigzag varints: 7 bits a byte, the lowest first.

use rookeeper_jute::{StatPersisted, Zxid};

use crate::acls::AclIndex;

const NULL_DATA: u16 = 1;
const MZXID: u16 = 1 << 1;
const MTIME: u16 = 1 << 2;
const VERSION: u16 = 1 << 3;
const AVERSION: u16 = 1 << 4;
const OWNER: u16 = 1 << 5;
const ACL: u16 = 1 << 6;
const CVERSION: u16 = 1 << 7;
const PZXID: u16 = 1 << 8;
const INTERIOR: u16 = 1 << 9;

/// Bytes before the name's length.
const FIXED_LEN: usize = 6;

/// In each byte of a number but its last.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// All that a blob says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// What is kept by whether there are children.
    pub(super) place: Place,
    /// The name, UTF-8.
    pub(super) name: &'a [u8],
    /// The stat; without cversion and pzxid where an interior record keeps them.
    pub(super) stat: StatPersisted,
    /// The access control list.
    pub(super) acl: AclIndex,
    /// The data; `None` is null.
    pub(super) data: Option<&'a [u8]>,
}

/// Where a znode keeps what both kinds have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A znode with children: the number of its interior record, which has the CRC-32 too.
    Interior(u32),
    /// Any other: the CRC-32 of path and data, so that a change costs no look at what it replaces.
    Leaf {
        /// Of the path, then the data; null data adds nothing.
        data_crc: u32,
    },
}

impl Place {
    /// The number of the interior record.
    #[inline]
    pub(super) fn interior(self) -> Option<u32> {
        match self {
            Place::Interior(number) => Some(number),
            Place::Leaf { .. } => None,
        }
    }
}

/// Reads numbers from where the last one ended.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head
    }

    #[inline]
    fn unsigned(&mut self) -> u64 {
        let first = self.rest[0];
        if first < 0x80 {
            self.rest = &self.rest[1..];
            return first.into();
        }
        if let Some((word, _)) = self.rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let last = !word & HIGH_BITS;
            if last != 0 {
                self.rest = &self.rest[last.trailing_zeros() as usize / 8 + 1..];
                return squeeze(word & (last ^ (last - 1)) & !HIGH_BITS);
            }
        }
        self.unsigned_bytewise()
    }

    #[cold]
    fn unsigned_bytewise(&mut self) -> u64 {
        let mut value = 0;
        let mut shift = 0;
        for (at, byte) in self.rest.iter().enumerate() {
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return value;
            }
            shift += 7;
        }
        unreachable!("a blob is written whole");
    }

    #[inline]
    fn signed(&mut self) -> i64 {
        let value = self.unsigned();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    #[inline]
    fn signed_if(&mut self, present: bool) -> i64 {
        if present { self.signed() } else { 0 }
    }

    #[inline]
    fn len(&mut self) -> usize {
        usize::try_from(self.unsigned()).expect("lengths are those of memory")
    }
}

/// Puts the low 7 bits of each byte side by side.
#[inline]
fn squeeze(word: u64) -> u64 {
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

fn put_unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_unsigned(((value << 1) ^ (value >> 63)) as u64, out);
}

#[inline]
fn flags(blob: &[u8]) -> u16 {
    u16::from_le_bytes([blob[0], blob[1]])
}

/// The number of the interior record, or the CRC-32.
#[inline]
pub(super) fn place(blob: &[u8]) -> Place {
    let number = u32::from_le_bytes([blob[2], blob[3], blob[4], blob[5]]);
    match flags(blob) & INTERIOR {
        0 => Place::Leaf { data_crc: number },
        _ => Place::Interior(number),
    }
}

/// The number of the interior record, if the znode has children.
#[inline]
pub(super) fn interior(blob: &[u8]) -> Option<u32> {
    place(blob).interior()
}

/// The name alone.
#[inline]
pub(super) fn name(blob: &[u8]) -> &str {
    let mut cursor = Cursor { rest: &blob[FIXED_LEN..] };
    let len = cursor.len();
    str::from_utf8(cursor.take(len)).expect("a name was a string when it was written")
}

/// All fields.
#[inline]
pub(super) fn parse(blob: &[u8]) -> Fields<'_> {
    parse_from(&mut Cursor { rest: blob })
}

fn parse_from<'a>(cursor: &mut Cursor<'a>) -> Fields<'a> {
    let fixed = cursor.take(FIXED_LEN);
    let (flags, place) = (flags(fixed), place(fixed));
    let has = |flag: u16| flags & flag != 0;
    let name_len = cursor.len();
    let name = cursor.take(name_len);
    let (czxid, ctime) = (cursor.signed(), cursor.signed());
    let mut stat = StatPersisted { czxid: Zxid(czxid), ctime, ..StatPersisted::default() };
    stat.mzxid = Zxid(czxid.wrapping_add(cursor.signed_if(has(MZXID))));
    stat.mtime = ctime.wrapping_add(cursor.signed_if(has(MTIME)));
    stat.version = cursor.signed_if(has(VERSION)) as i32;
    stat.aversion = cursor.signed_if(has(AVERSION)) as i32;
    if has(OWNER) {
        let bytes = cursor.take(8).try_into().expect("8 bytes were taken");
        stat.ephemeral_owner = i64::from_le_bytes(bytes);
    }
    let acl = if has(ACL) { AclIndex(cursor.signed()) } else { AclIndex::OPEN };
    stat.cversion = cursor.signed_if(has(CVERSION)) as i32;
    stat.pzxid = Zxid(czxid.wrapping_add(cursor.signed_if(has(PZXID))));
    let data = (!has(NULL_DATA)).then(|| {
        let len = cursor.len();
        cursor.take(len)
    });
    Fields { place, name, stat, acl, data }
}

/// Writes everything before the data to `out`, for data of `data_len` bytes (`None` is null).
pub(super) fn encode_header(fields: &Fields<'_>, data_len: Option<usize>, out: &mut Vec<u8>) {
    let Fields { place, name, stat, acl, .. } = fields;
    out.clear();
    let (mut flags, number) = match *place {
        Place::Interior(number) => (INTERIOR, number),
        Place::Leaf { data_crc } => (0, data_crc),
    };
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&number.to_le_bytes());
    put_unsigned(name.len() as u64, out);
    out.extend_from_slice(name);
    put_signed(stat.czxid.0, out);
    put_signed(stat.ctime, out);
    let mut put_if = |flag: u16, value: i64, out: &mut Vec<u8>| {
        if value != 0 {
            flags |= flag;
            put_signed(value, out);
        }
    };
    put_if(MZXID, stat.mzxid.0.wrapping_sub(stat.czxid.0), out);
    put_if(MTIME, stat.mtime.wrapping_sub(stat.ctime), out);
    put_if(VERSION, stat.version.into(), out);
    put_if(AVERSION, stat.aversion.into(), out);
    if stat.ephemeral_owner != 0 {
        flags |= OWNER;
        out.extend_from_slice(&stat.ephemeral_owner.to_le_bytes());
    }
    if *acl != AclIndex::OPEN {
        flags |= ACL;
        put_signed(acl.0, out);
    }
    if place.interior().is_none() {
        let mut put_if = |flag: u16, value: i64, out: &mut Vec<u8>| {
            if value != 0 {
                flags |= flag;
                put_signed(value, out);
            }
        };
        put_if(CVERSION, stat.cversion.into(), out);
        put_if(PZXID, stat.pzxid.0.wrapping_sub(stat.czxid.0), out);
    }
    match data_len {
        Some(len) => put_unsigned(len as u64, out),
        None => flags |= NULL_DATA,
    }
    out[..2].copy_from_slice(&flags.to_le_bytes());
}

/// Where the data is; empty where it is null.
pub(super) fn data_range(blob: &[u8]) -> std::ops::Range<usize> {
    let mut cursor = Cursor { rest: blob };
    let fields = parse_from(&mut cursor);
    let end = blob.len() - cursor.rest.len();
    end - fields.data.map_or(0, <[u8]>::len)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> StatPersisted {
        StatPersisted {
            czxid: Zxid(0x1_0000_0007),
            mzxid: Zxid(0x1_0000_0007),
            ctime: 1_795_000_000_000,
            mtime: 1_795_000_000_000,
            pzxid: Zxid(0x1_0000_0007),
            ..StatPersisted::default()
        }
    }

    fn blob(fields: &Fields<'_>) -> Vec<u8> {
        let mut blob = Vec::new();
        encode_header(fields, fields.data.map(<[u8]>::len), &mut blob);
        blob.extend_from_slice(fields.data.unwrap_or_default());
        blob.extend_from_slice(b"what is left");
        blob
    }

    #[test]
    fn every_field_comes_back_at_its_extremes() {
        let extremes = [i64::MIN, -1, 0, 1, 0x7f, 0x80, i64::MAX];
        for (at, value) in extremes.into_iter().enumerate() {
            let other = extremes[(at + 3) % extremes.len()];
            let stat = StatPersisted {
                czxid: Zxid(value),
                mzxid: Zxid(other),
                ctime: other,
                mtime: value,
                version: value as i32,
                cversion: i32::MIN,
                aversion: other as i32,
                ephemeral_owner: value,
                pzxid: Zxid(other),
            };
            let data = (value != 0).then_some(&b"data"[..]);
            let name = "né".as_bytes();
            let place = Place::Leaf { data_crc: value as u32 };
            let written = Fields { place, name, stat, acl: AclIndex(other), data };
            let blob = blob(&written);
            let read = parse(&blob);
            assert_eq!((read.stat, read.acl, read.data), (stat, AclIndex(other), data));
            assert_eq!((super::name(&blob), read.place), ("né", place));
            assert_eq!(&blob[data_range(&blob)], data.unwrap_or_default());
        }
    }

    #[test]
    fn numbers_of_every_length_come_back_with_and_without_bytes_behind() {
        for bits in 0..64 {
            for value in [1i64 << bits, (1i64 << bits).wrapping_sub(1), (-1i64) << bits] {
                let mut bytes = Vec::new();
                put_signed(value, &mut bytes);
                let len = bytes.len();
                for behind in [0, 1, 7, 20] {
                    bytes.resize(len + behind, 0xff);
                    let mut cursor = Cursor { rest: &bytes };
                    assert_eq!((cursor.signed(), cursor.rest.len()), (value, behind));
                }
            }
        }
    }

    #[test]
    fn an_interior_record_keeps_what_children_change() {
        let stat = StatPersisted { cversion: 9, ..stat() };
        let data = Some(&b"x"[..]);
        let place = Place::Interior(77);
        let fields = Fields { place, name: b"a", stat, acl: AclIndex::OPEN, data };
        let blob = blob(&fields);
        assert_eq!((interior(&blob), super::name(&blob)), (Some(77), "a"));
        assert_eq!((parse(&blob).stat.cversion, parse(&blob).data), (0, data));
    }

    #[test]
    fn a_plain_znode_takes_nineteen_bytes_beside_name_and_data() {
        let data = [b'x'; 100];
        let fields = Fields {
            place: Place::Leaf { data_crc: 7 },
            name: b"n0000123",
            stat: stat(),
            acl: AclIndex::OPEN,
            data: Some(&data),
        };
        let mut header = Vec::new();
        encode_header(&fields, Some(100), &mut header);
        assert_eq!(header.len() - fields.name.len(), 19);
    }
}
