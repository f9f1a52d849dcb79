//! The primitives of jute as bytes, written apart from `rookeeper-jute`: a mistake in the codec
//! under test cannot hide itself here.

/// Opcodes of the client protocol (`ZooDefs.OpCode`).
pub mod opcode {
    /// `create`
    pub const CREATE: i32 = 1;
    /// `delete`
    pub const DELETE: i32 = 2;
    /// `exists`
    pub const EXISTS: i32 = 3;
    /// `getData`
    pub const GET_DATA: i32 = 4;
    /// `setData`
    pub const SET_DATA: i32 = 5;
    /// `getACL`
    pub const GET_ACL: i32 = 6;
    /// `setACL`
    pub const SET_ACL: i32 = 7;
    /// `getChildren`
    pub const GET_CHILDREN: i32 = 8;
    /// `sync`
    pub const SYNC: i32 = 9;
    /// `ping`
    pub const PING: i32 = 11;
    /// `getChildren2`
    pub const GET_CHILDREN2: i32 = 12;
    /// `check`
    pub const CHECK: i32 = 13;
    /// `multi`
    pub const MULTI: i32 = 14;
    /// `create2`
    pub const CREATE2: i32 = 15;
    /// `reconfig`
    pub const RECONFIG: i32 = 16;
    /// `checkWatches`
    pub const CHECK_WATCHES: i32 = 17;
    /// `removeWatches`
    pub const REMOVE_WATCHES: i32 = 18;
    /// `createContainer`
    pub const CREATE_CONTAINER: i32 = 19;
    /// `deleteContainer`
    pub const DELETE_CONTAINER: i32 = 20;
    /// `createTTL`
    pub const CREATE_TTL: i32 = 21;
    /// `multiRead`
    pub const MULTI_READ: i32 = 22;
    /// `auth`
    pub const AUTH: i32 = 100;
    /// `setWatches`
    pub const SET_WATCHES: i32 = 101;
    /// `getEphemerals`
    pub const GET_EPHEMERALS: i32 = 103;
    /// `getAllChildrenNumber`
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    /// `setWatches2`
    pub const SET_WATCHES2: i32 = 105;
    /// `addWatch`
    pub const ADD_WATCH: i32 = 106;
    /// `whoAmI`
    pub const WHO_AM_I: i32 = 107;
    /// `closeSession`
    pub const CLOSE_SESSION: i32 = -11;
}

/// Xid of a watch event.
pub const XID_NOTIFICATION: i32 = -1;
/// Xid of a ping.
pub const XID_PING: i32 = -2;
/// Xid of an authentication packet.
pub const XID_AUTH: i32 = -4;
/// Xid of `setWatches` and `setWatches2`.
pub const XID_SET_WATCHES: i32 = -8;

/// Appends jute primitives.
#[derive(Default, Clone, Debug)]
pub struct Writer {
    /// What was written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A four-byte integer.
    pub fn int(mut self, value: i32) -> Writer {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// An eight-byte integer.
    pub fn long(mut self, value: i64) -> Writer {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// One byte, 0 or 1.
    pub fn bool(mut self, value: bool) -> Writer {
        self.bytes.push(u8::from(value));
        self
    }

    /// A buffer or string; `None` is the null of length -1.
    pub fn buffer(self, value: Option<&[u8]>) -> Writer {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                let length = i32::try_from(bytes.len()).expect("test data is far below 2 GiB");
                self.int(length).raw(bytes)
            }
        }
    }

    /// A vector of strings; `None` is the null vector.
    pub fn strings(self, values: Option<&[Option<Vec<u8>>]>) -> Writer {
        match values {
            None => self.int(-1),
            Some(values) => {
                let mut writer = self.int(i32::try_from(values.len()).expect("short list"));
                for value in values {
                    writer = writer.buffer(value.as_deref());
                }
                writer
            }
        }
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Writer {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// Puts the four-byte length before a payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    Writer::new().buffer(Some(payload)).bytes
}

/// The reply ended in the middle of a field, or a length was absurd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Result of reading one field.
pub type Field<T> = Result<T, Malformed>;

/// Reads jute primitives from a reply.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Field<&'a [u8]> {
        if count > self.rest.len() {
            return Err(Malformed);
        }
        let (head, tail) = self.rest.split_at(count);
        self.rest = tail;
        Ok(head)
    }

    /// A four-byte integer.
    pub fn int(&mut self) -> Field<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    /// An eight-byte integer.
    pub fn long(&mut self) -> Field<i64> {
        let bytes = self.take(8)?;
        Ok(i64::from_be_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    /// A boolean, kept as its byte: a server must send 0 or 1.
    pub fn byte(&mut self) -> Field<u8> {
        Ok(self.take(1)?[0])
    }

    /// A buffer or string; -1 is null.
    pub fn buffer(&mut self) -> Field<Option<&'a [u8]>> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        Ok(Some(self.take(length)?))
    }

    /// The count of a vector; `None` for the null vector.
    pub fn count(&mut self) -> Field<Option<usize>> {
        let count = self.int()?;
        if count == -1 {
            return Ok(None);
        }
        let count = usize::try_from(count).map_err(|_| Malformed)?;
        if count > self.rest.len() {
            return Err(Malformed);
        }
        Ok(Some(count))
    }
}

/// Bytes as readable text: printable ASCII as it is, the rest escaped; long ones shortened to their
/// head, length and a checksum, which keeps the comparison exact.
pub fn show(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let bytes = &four_byte_characters(bytes);
    let shown = if bytes.len() > 96 { &bytes[..48] } else { bytes };
    let mut text = String::from("\"");
    for byte in shown {
        text.push_str(&std::ascii::escape_default(*byte).to_string());
    }
    text.push('"');
    if bytes.len() > 96 {
        let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in bytes {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        text.push_str(&format!("...({} bytes, {sum:016x})", bytes.len()));
    }
    text
}

/// Java writes a character beyond U+FFFF as its two surrogates, three bytes each, which its own
/// clients do not read back as UTF-8; ours are the four bytes of UTF-8. Shown alike.
fn four_byte_characters(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if let [0xed, a, b, 0xed, c, d, behind @ ..] = rest
            && (0xa0..=0xaf).contains(a)
            && (0xb0..=0xbf).contains(c)
        {
            let bits = |byte: &u8| u32::from(byte & 0x3f);
            let high = ((bits(a) & 0xf) << 6) | bits(b);
            let low = ((bits(c) & 0xf) << 6) | bits(d);
            let character = char::from_u32(0x1_0000 + (high << 10) + low);
            let mut buffer = [0; 4];
            let character = character.expect("two surrogates make a character");
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            rest = behind;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes =
            Writer::new().int(-7).long(1 << 40).bool(true).buffer(None).buffer(Some(b"xy")).bytes;
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.int(), Ok(-7));
        assert_eq!(reader.long(), Ok(1 << 40));
        assert_eq!(reader.byte(), Ok(1));
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b"xy"[..])));
        assert_eq!(reader.int(), Err(Malformed));
    }

    #[test]
    fn two_surrogates_are_shown_as_their_character() {
        let java = b"/\xed\xa0\xbd\xed\xb8\x80";
        assert_eq!(show(Some(java)), show(Some("/\u{1f600}".as_bytes())));
        assert_ne!(show(Some(b"/\xed\xa0\xbd")), show(Some(b"/")));
    }

    #[test]
    fn long_values_are_told_apart_by_their_tail() {
        let one = vec![b'a'; 200];
        let mut other = one.clone();
        other[199] = b'b';
        assert_ne!(show(Some(&one)), show(Some(&other)));
    }
}
