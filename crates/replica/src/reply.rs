//! Frames of replies and events, written in place: room for length and header first, then the
//! body, then the header, so that a body is never copied.

use rookeeper_jute::proto::ReplyHeader;
use rookeeper_jute::{ErrorCode, Xid, Zxid, wire};

/// Length prefix (4 bytes) and reply header (16 bytes).
pub(crate) const PREFIX_LEN: usize = 20;

/// Starts a reply; its body is appended next.
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN]);
    start
}

/// Ends the reply that was begun at `start`.
#[inline]
pub(crate) fn end(out: &mut [u8], start: usize, xid: Xid, zxid: Zxid, err: i32) {
    let len = i32::try_from(out.len() - start - 4).expect("replies are bounded far below 2 GiB");
    let prefix = &mut out[start..start + PREFIX_LEN];
    prefix[..4].copy_from_slice(&len.to_be_bytes());
    prefix[4..8].copy_from_slice(&xid.0.to_be_bytes());
    prefix[8..16].copy_from_slice(&zxid.0.to_be_bytes());
    prefix[16..].copy_from_slice(&err.to_be_bytes());
}

/// A whole reply without a body.
pub(crate) fn header_only(out: &mut Vec<u8>, xid: Xid, zxid: Zxid, err: ErrorCode) {
    let start = begin(out);
    end(out, start, xid, zxid, err.to_i32());
}

/// A frame around any record, the length first.
pub(crate) fn framed(out: &mut Vec<u8>, record: &impl wire::Encode) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    record.encode(out);
    let len = i32::try_from(out.len() - start - 4).expect("a connect response is short");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// The header of a complete reply frame, for statistics.
pub(crate) fn peek(frame: &[u8]) -> ReplyHeader {
    let int = |at: usize| i32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| i64::from_be_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
    ReplyHeader { xid: Xid(int(4)), zxid: Zxid(long(8)), err: int(16) }
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::Encode;

    use super::*;

    #[test]
    fn a_reply_written_in_place_is_the_records_one_after_another() {
        let mut out = vec![9];
        let start = begin(&mut out);
        out.extend_from_slice(b"body");
        end(&mut out, start, Xid(7), Zxid(0x1_0000_0002), -101);
        let header = ReplyHeader { xid: Xid(7), zxid: Zxid(0x1_0000_0002), err: -101 };
        let mut expected = vec![9, 0, 0, 0, 20];
        header.encode(&mut expected);
        expected.extend_from_slice(b"body");
        assert_eq!(out, expected);
        assert_eq!(peek(&out[1..]), header);
    }
}
