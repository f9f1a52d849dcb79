//! Where a snapshot ends that comes over the quorum port: its body has no length, so it is looked
//! through as it passes (Java: `SerializeUtils.deserializeSnapshot`, `DataTree.deserialize`,
//! `ReferenceCountedACLCache.deserialize`).
//!
//! The body: an int count of sessions, each a long id and an int timeout; an int count of access
//! control lists, each a long and a vector of (int permissions, ustring scheme, ustring id);
//! znodes, each a ustring path, a buffer, a long list and 60 bytes of Stat; the ustring `/` in the
//! place of a path. The ustring `BenWasHere` follows, which is not part of the body.

use crate::wire::SNAPSHOT_SIGNATURE;

/// What a znode has after its data: the number of its list, and a `StatPersisted`.
const AFTER_DATA_LEN: usize = 8 + 60;

/// What a session has: id and timeout.
const SESSION_LEN: usize = 12;

/// Why bytes are no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// A string or buffer length below -1, or above the limit.
    #[error("unreasonable length {0} in a snapshot")]
    UnreasonableLength(i32),
    /// A list of permissions that is null, as Java never writes it.
    #[error("an access control list of a snapshot is null")]
    NullAcl,
    /// A znode without a path.
    #[error("a path of a snapshot is null")]
    NullPath,
    /// Something else follows the body than the signature.
    #[error("a snapshot without its signature")]
    NoSignature,
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    SessionCount,
    AclCount,
    /// The number of a list.
    AclIndex,
    /// How many entries it has.
    AclLen,
    /// The permissions of an entry.
    Permissions,
    SchemeLen,
    IdLen,
    PathLen,
    /// The one byte of a path that may be the end.
    ShortPath,
    DataLen,
    SignatureLen,
    Signature,
    Done,
}

/// Finds the end of a snapshot's body, in whatever pieces it comes. Lengths and counts in it are
/// never more than numbers to this: nothing is allocated for them.
#[derive(Debug)]
pub struct SnapshotStream {
    len_max: usize,
    part: Part,
    /// Bytes to pass over before `part` begins.
    skip: u64,
    /// Lists that are left, the present one included.
    acls: u32,
    /// Entries of the present list that are left, the present one included.
    entries: u32,
    /// The beginning of `part`, where its end has not arrived.
    held: [u8; SIGNATURE_LEN],
    held_len: usize,
}

const SIGNATURE_LEN: usize = SNAPSHOT_SIGNATURE.len();

/// Where a piece of the stream belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// How many bytes at its beginning are the body's.
    pub body: usize,
    /// How many bytes are body and signature; what follows are packets.
    pub taken: usize,
    /// Whether the signature is complete.
    pub done: bool,
}

impl SnapshotStream {
    /// At the beginning of a body. Strings and buffers in it may have `len_max` bytes
    /// (`jute.maxbuffer` and its extra size).
    pub fn new(len_max: usize) -> SnapshotStream {
        SnapshotStream {
            len_max,
            part: Part::SessionCount,
            skip: 0,
            acls: 0,
            entries: 0,
            held: [0; SIGNATURE_LEN],
            held_len: 0,
        }
    }

    /// Looks at the bytes that follow.
    ///
    /// # Errors
    /// [`SnapshotFault`]: where no snapshot can go on with these bytes. What follows has no
    /// meaning then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<SnapshotPiece, SnapshotFault> {
        let (mut at, mut body) = (0, 0);
        loop {
            let left = bytes.len() - at;
            let skipped = usize::try_from(self.skip).map_or(left, |skip| skip.min(left));
            self.skip -= skipped as u64;
            at += skipped;
            if self.in_body() {
                body = at;
            }
            if self.part == Part::Done || at == bytes.len() {
                return Ok(SnapshotPiece { body, taken: at, done: self.part == Part::Done });
            }
            let was_in_body = self.in_body();
            let missing = self.part_len() - self.held_len;
            let taken = missing.min(bytes.len() - at);
            let (from, to) = (self.held_len, self.held_len + taken);
            self.held[from..to].copy_from_slice(&bytes[at..at + taken]);
            self.held_len = to;
            at += taken;
            if was_in_body {
                body = at;
            }
            if taken == missing {
                self.held_len = 0;
                self.end_part()?;
            }
        }
    }

    fn in_body(&self) -> bool {
        !matches!(self.part, Part::SignatureLen | Part::Signature | Part::Done)
    }

    fn part_len(&self) -> usize {
        match self.part {
            Part::AclIndex => 8,
            Part::ShortPath => 1,
            Part::Signature => SIGNATURE_LEN,
            Part::Done => 0,
            _ => 4,
        }
    }

    fn int(&self) -> i32 {
        let [a, b, c, d, ..] = self.held;
        i32::from_be_bytes([a, b, c, d])
    }

    /// Java takes a negative count for none.
    fn count(&self) -> u32 {
        u32::try_from(self.int()).unwrap_or(0)
    }

    /// The bytes that follow a length; `None` for null.
    fn len(&self) -> Result<Option<usize>, SnapshotFault> {
        let len = self.int();
        match usize::try_from(len) {
            Ok(bounded) if bounded <= self.len_max => Ok(Some(bounded)),
            _ if len == -1 => Ok(None),
            _ => Err(SnapshotFault::UnreasonableLength(len)),
        }
    }

    /// Goes from a part that is complete to the next.
    fn end_part(&mut self) -> Result<(), SnapshotFault> {
        match self.part {
            Part::SessionCount => {
                self.skip = u64::from(self.count()) * SESSION_LEN as u64;
                self.part = Part::AclCount;
            }
            Part::AclCount => {
                self.acls = self.count();
                self.next_acl(self.acls);
            }
            Part::AclIndex => self.part = Part::AclLen,
            Part::AclLen => {
                if self.int() == -1 {
                    return Err(SnapshotFault::NullAcl);
                }
                self.next_entry(self.count());
            }
            Part::Permissions => self.part = Part::SchemeLen,
            Part::SchemeLen => {
                self.skip = self.len()?.unwrap_or(0) as u64;
                self.part = Part::IdLen;
            }
            Part::IdLen => {
                self.skip = self.len()?.unwrap_or(0) as u64;
                self.next_entry(self.entries - 1);
            }
            Part::PathLen => match self.len()?.ok_or(SnapshotFault::NullPath)? {
                1 => self.part = Part::ShortPath,
                len => self.end_path(len),
            },
            Part::ShortPath if self.held[0] == b'/' => self.part = Part::SignatureLen,
            Part::ShortPath => self.end_path(0),
            Part::DataLen => {
                self.skip = (self.len()?.unwrap_or(0) + AFTER_DATA_LEN) as u64;
                self.part = Part::PathLen;
            }
            Part::SignatureLen => {
                if usize::try_from(self.int()) != Ok(SIGNATURE_LEN) {
                    return Err(SnapshotFault::NoSignature);
                }
                self.part = Part::Signature;
            }
            Part::Signature => {
                if self.held != SNAPSHOT_SIGNATURE.as_bytes() {
                    return Err(SnapshotFault::NoSignature);
                }
                self.part = Part::Done;
            }
            Part::Done => {}
        }
        Ok(())
    }

    fn end_path(&mut self, skip: usize) {
        self.skip = skip as u64;
        self.part = Part::DataLen;
    }

    /// Goes to the next list, of so many.
    fn next_acl(&mut self, left: u32) {
        self.acls = left;
        self.part = if left == 0 { Part::PathLen } else { Part::AclIndex };
    }

    /// Goes to the next entry of a list, of so many.
    fn next_entry(&mut self, left: u32) {
        self.entries = left;
        if left == 0 {
            self.next_acl(self.acls - 1);
        } else {
            self.part = Part::Permissions;
        }
    }
}
