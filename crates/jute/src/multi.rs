//! The framing of multi and multiRead, in requests and replies: each part has a [`MultiHeader`]
//! before it, and a header with `done` set ends them (Java: `MultiOperationRecord`,
//! `MultiResponse`).

use crate::wire::{DecodeError, Encode, Reader};

record! {
    /// Stands before each part, and ends the parts.
    #[derive(Copy)]
    pub struct MultiHeader {
        /// The part's operation; -1 at the end and for failed parts of a reply.
        op: i32,
        /// Whether this is the end.
        done: bool,
        /// The part's result in a reply; -1 in requests and at the end.
        err: i32,
    }
}

impl MultiHeader {
    /// Ends the parts.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

    /// Stands before a part of a request.
    pub fn request(op: i32) -> Self {
        MultiHeader { op, done: false, err: -1 }
    }

    /// Stands before a part of a reply.
    pub fn reply(op: i32, err: i32) -> Self {
        MultiHeader { op, done: false, err }
    }
}

/// Reads the header before the next part, `None` at the end.
///
/// # Errors
/// What [`crate::Decode`] of a [`MultiHeader`] says.
pub fn next_part(reader: &mut Reader<'_>) -> Result<Option<MultiHeader>, DecodeError> {
    let header: MultiHeader = reader.read()?;
    Ok(if header.done { None } else { Some(header) })
}

/// Ends the parts.
pub fn encode_end(out: &mut Vec<u8>) {
    MultiHeader::END.encode(out);
}
