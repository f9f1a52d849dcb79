//! Primitives of jute's binary encoding (Java: `BinaryInputArchive`, `BinaryOutputArchive`).
//!
//! Integers are big-endian two's complement, a boolean is one byte, a string or buffer is an int
//! length and its bytes with -1 for null, a vector is an int count and its elements with -1 for
//! null (any other negative count is an empty vector, as Java reads it).

use std::borrow::Cow;

use crate::limits;

/// A string field: `None` is jute's null.
///
/// Bytes that are not UTF-8 are replaced by U+FFFD, as Java's decoder does; such a string is a
/// legal argument that no path can match.
pub type Text<'a> = Option<Cow<'a, str>>;

/// A buffer field: `None` is jute's null, which is distinct from the empty buffer.
pub type Buffer<'a> = Option<&'a [u8]>;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field. Java throws `EOFException`.
    #[error("record ends {missing} bytes early at offset {offset}")]
    Truncated {
        /// Where the field starts.
        offset: usize,
        /// How many bytes are missing at the least.
        missing: usize,
    },
    /// A string or buffer length below -1 or above the limit. Java throws `IOException`.
    #[error("unreasonable length = {len} at offset {offset}")]
    UnreasonableLength {
        /// Where the length stands.
        offset: usize,
        /// The length as read.
        len: i32,
    },
    /// A value that the record's schema does not have.
    #[error("unexpected value {value} at offset {offset}")]
    UnexpectedValue {
        /// Where the value stands.
        offset: usize,
        /// The value as read.
        value: i64,
    },
}

/// Reads records from a byte slice; what it returns borrows from that slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    len_max: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `input` with the default bound on strings and buffers
    /// ([`limits::JUTE_MAXBUFFER_DEFAULT`] twice, for `jute.maxbuffer` and its extra size).
    pub fn new(input: &'a [u8]) -> Self {
        Self::with_len_max(input, 2 * limits::JUTE_MAXBUFFER_DEFAULT)
    }

    /// Reads from `input`; a string or buffer longer than `len_max` bytes is refused.
    pub fn with_len_max(input: &'a [u8], len_max: usize) -> Self {
        Reader { input, offset: 0, len_max }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.offset..]
    }

    /// Whether all input was read.
    pub fn is_empty(&self) -> bool {
        self.offset == self.input.len()
    }

    /// The next `len` bytes as they stand.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.input.len() - self.offset;
        if len > left {
            return Err(DecodeError::Truncated { offset: self.offset, missing: len - left });
        }
        let bytes = &self.input[self.offset..self.offset + len];
        self.offset += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns exactly N bytes"))
    }

    /// A record, or any other decodable value.
    pub fn read<T: Decode<'a>>(&mut self) -> Result<T, DecodeError> {
        T::decode(self)
    }

    /// A length-prefixed buffer.
    pub fn buffer(&mut self) -> Result<Buffer<'a>, DecodeError> {
        let offset = self.offset;
        let len = self.read::<i32>()?;
        if len == -1 {
            return Ok(None);
        }
        let bounded = usize::try_from(len).ok().filter(|len| *len <= self.len_max);
        let Some(bounded) = bounded else {
            return Err(DecodeError::UnreasonableLength { offset, len });
        };
        self.take(bounded).map(Some)
    }

    /// The count of a vector: `None` for null, never more than the input can still hold.
    pub fn vector_len(&mut self, element_len_min: usize) -> Result<Option<usize>, DecodeError> {
        let count = self.read::<i32>()?;
        if count == -1 {
            return Ok(None);
        }
        let count = usize::try_from(count).unwrap_or(0);
        let left = self.input.len() - self.offset;
        let needed = count.saturating_mul(element_len_min.max(1));
        if needed > left {
            return Err(DecodeError::Truncated { offset: self.offset, missing: needed - left });
        }
        Ok(Some(count))
    }
}

/// A value that jute can write.
pub trait Encode {
    /// Appends the value to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The value alone, in a buffer of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that jute can read.
pub trait Decode<'a>: Sized {
    /// The fewest bytes that any value of this type takes.
    const MIN_LEN: usize;

    /// Reads the value.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Reads the value from the start of `input` with default limits; trailing bytes are ignored,
    /// as Java ignores them.
    fn from_bytes(input: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(input))
    }
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Encode for $ty {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl<'a> Decode<'a> for $ty {
            const MIN_LEN: usize = size_of::<$ty>();
            #[inline]
            fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok(<$ty>::from_be_bytes(reader.array()?))
            }
        }
    )*};
}
integers!(i32, i64);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl<'a> Decode<'a> for bool {
    const MIN_LEN: usize = 1;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(reader.array::<1>()?[0] != 0)
    }
}

/// Appends a buffer with its length.
///
/// # Panics
/// If `bytes` is longer than `i32::MAX`: callers bound what they build.
pub fn encode_buffer(bytes: &[u8], out: &mut Vec<u8>) {
    let len = i32::try_from(bytes.len()).expect("records are bounded far below 2 GiB");
    len.encode(out);
    out.extend_from_slice(bytes);
}

/// Appends a string with its length in bytes.
pub fn encode_str(text: &str, out: &mut Vec<u8>) {
    encode_buffer(text.as_bytes(), out);
}

/// Appends the length of a vector of `count` elements.
pub fn encode_vector_len(count: usize, out: &mut Vec<u8>) {
    i32::try_from(count).expect("vectors are bounded far below 2^31").encode(out);
}

impl Encode for &[u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_buffer(self, out);
    }
}

impl Encode for &str {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_str(self, out);
    }
}

impl Encode for Cow<'_, str> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_str(self, out);
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.encode(out),
            None => (-1i32).encode(out),
        }
    }
}

impl<'a> Decode<'a> for Buffer<'a> {
    const MIN_LEN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.buffer()
    }
}

impl<'a> Decode<'a> for Text<'a> {
    const MIN_LEN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // Checking first is faster than `from_utf8_lossy` alone: most text is ASCII.
        Ok(reader.buffer()?.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(replaced(bytes)),
        }))
    }
}

/// Text that is not UTF-8, with U+FFFD in the place of what is not. As Java decodes it: a surrogate
/// in three bytes is one mistake, where the standard library counts each of its bytes.
fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let bad = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                break;
            }
            Err(error) => {
                let (valid, from_bad) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).expect("checked up to here"));
                rest = from_bad;
                error.error_len().unwrap_or(rest.len())
            }
        };
        text.push(char::REPLACEMENT_CHARACTER);
        let skipped = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => bad,
        };
        rest = &rest[skipped..];
    }
    text
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_vector_len(self.len(), out);
        for element in self {
            element.encode(out);
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<Vec<T>> {
    const MIN_LEN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Some(count) = reader.vector_len(T::MIN_LEN)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(reader)?);
        }
        Ok(Some(elements))
    }
}

/// A borrowed string from an owned or borrowed [`Text`]; `None` for null.
pub fn as_str<'t>(text: &'t Text<'_>) -> Option<&'t str> {
    text.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_utf8_is_replaced_as_java_does() {
        for (bytes, text) in [
            (&b"/\xff"[..], "/\u{fffd}"),
            (b"/a\xc3(", "/a\u{fffd}("),
            (b"/\xe2\x82", "/\u{fffd}"),
            (b"/\xe2(\xa1", "/\u{fffd}(\u{fffd}"),
            (b"/\xed\xa0\x80x", "/\u{fffd}x"),
            (b"/\xed\xa0", "/\u{fffd}"),
            (b"/\xed\xbfA", "/\u{fffd}A"),
            (b"/\xe0\x80\x80", "/\u{fffd}\u{fffd}\u{fffd}"),
            (b"/\xf8\xa1", "/\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(replaced(bytes), text, "{bytes:x?}");
        }
    }

    #[test]
    fn null_and_empty_are_distinct() {
        let mut out = Vec::new();
        Buffer::None.encode(&mut out);
        Buffer::Some(&[]).encode(&mut out);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.read::<Buffer<'_>>(), Ok(None));
        assert_eq!(reader.read::<Buffer<'_>>(), Ok(Some(&[][..])));
        assert!(reader.is_empty());
    }

    #[test]
    fn an_absurd_count_is_refused_before_anything_is_allocated() {
        let bytes = 0x7fff_ffffi32.to_be_bytes();
        let got = Reader::new(&bytes).read::<Option<Vec<i64>>>();
        assert!(matches!(got, Err(DecodeError::Truncated { offset: 4, .. })));
    }

    #[test]
    fn a_negative_count_other_than_null_is_an_empty_vector() {
        let bytes = (-7i32).to_be_bytes();
        assert_eq!(Reader::new(&bytes).read::<Option<Vec<i64>>>(), Ok(Some(vec![])));
    }

    #[test]
    fn lengths_below_null_and_above_the_limit_are_unreasonable() {
        for len in [-2i32, i32::MIN, 11] {
            let mut bytes = len.to_be_bytes().to_vec();
            bytes.extend_from_slice(&[b'x'; 20]);
            let got = Reader::with_len_max(&bytes, 10).buffer();
            assert_eq!(got, Err(DecodeError::UnreasonableLength { offset: 0, len }));
        }
    }

    #[test]
    fn invalid_utf8_becomes_replacement_characters() {
        let bytes = [0, 0, 0, 3, b'/', 0xff, b'a'];
        let got: Text<'_> = Reader::new(&bytes).read().expect("decodes");
        assert_eq!(got.as_deref(), Some("/\u{fffd}a"));
    }
}
