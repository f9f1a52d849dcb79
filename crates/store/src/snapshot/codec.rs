//! Compressed streams: gzip, and snappy in the framing of Java's `SnappyOutputStream` (xerial):
//! a magic number of 8 bytes, version and compatible version as ints, then chunks of an int
//! length and a raw snappy block.

use std::io::{self, Read, Write};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSION: u32 = 1;

/// Uncompressed bytes of a chunk as `SnappyOutputStream` cuts them by default.
const CHUNK_LEN: usize = 32 << 10;

/// A larger chunk is taken for damage (Java's writers make at most 512 MiB, by request), in bytes.
const CHUNK_LEN_MAX: usize = 64 << 20;

/// Compressed snapshots may grow to this without question, in bytes.
const UNCOMPRESSED_LEN_FREE: u64 = 4 << 30;

/// Beyond that, to this many times their length on disk.
const COMPRESSION_RATIO_MAX: u64 = 200;

/// How much a compressed file of `len` bytes may hold: a bound on what a forged one can cost.
pub(crate) fn uncompressed_len_max(len: u64) -> u64 {
    UNCOMPRESSED_LEN_FREE.max(len.saturating_mul(COMPRESSION_RATIO_MAX))
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Ends a stream with an error after `left` bytes.
pub(crate) struct Capped<R> {
    pub(crate) inner: R,
    pub(crate) left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(len as u64).ok_or_else(|| {
            invalid("the file expands to more than any snapshot of its length can hold")
        })?;
        Ok(len)
    }
}

/// Reads xerial's framing.
pub(crate) struct XerialReader<R> {
    source: R,
    decoder: snap::raw::Decoder,
    compressed: Vec<u8>,
    chunk: Vec<u8>,
    position: usize,
    header_read: bool,
}

impl<R: Read> XerialReader<R> {
    pub(crate) fn new(source: R) -> Self {
        XerialReader {
            source,
            decoder: snap::raw::Decoder::new(),
            compressed: Vec::new(),
            chunk: Vec::new(),
            position: 0,
            header_read: false,
        }
    }

    fn read_header(&mut self) -> io::Result<()> {
        let mut header = [0; 16];
        self.source.read_exact(&mut header)?;
        if header[..8] != XERIAL_MAGIC {
            return Err(invalid("the file does not begin with snappy's magic number"));
        }
        let compatible = u32::from_be_bytes(header[12..].try_into().expect("four bytes"));
        if compatible < XERIAL_VERSION {
            return Err(invalid(format!("snappy framing version {compatible} is unknown")));
        }
        self.header_read = true;
        Ok(())
    }

    /// Reads the next chunk; `false` at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let mut len = [0; 4];
        if !read_exact_or_end(&mut self.source, &mut len)? {
            return Ok(false);
        }
        if len == XERIAL_MAGIC[..4] {
            // Concatenated streams, as Java's reader accepts them.
            self.source.read_exact(&mut [0; 12])?;
            return self.next_chunk_after_header();
        }
        self.read_chunk(u32::from_be_bytes(len))
    }

    fn next_chunk_after_header(&mut self) -> io::Result<bool> {
        let mut len = [0; 4];
        if !read_exact_or_end(&mut self.source, &mut len)? {
            return Ok(false);
        }
        self.read_chunk(u32::from_be_bytes(len))
    }

    fn read_chunk(&mut self, len: u32) -> io::Result<bool> {
        let len = len as usize;
        if len == 0 || len > CHUNK_LEN_MAX {
            return Err(invalid(format!("a snappy chunk of {len} bytes is impossible")));
        }
        self.compressed.clear();
        let read = (&mut self.source).take(len as u64).read_to_end(&mut self.compressed)?;
        if read != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let chunk_len = snap::raw::decompress_len(&self.compressed).map_err(io_error)?;
        if chunk_len > CHUNK_LEN_MAX {
            return Err(invalid(format!("a chunk of {chunk_len} bytes is impossible")));
        }
        self.chunk.resize(chunk_len, 0);
        self.decoder.decompress(&self.compressed, &mut self.chunk).map_err(io_error)?;
        self.position = 0;
        Ok(true)
    }
}

fn io_error(error: snap::Error) -> io::Error {
    invalid(error.to_string())
}

/// Fills `buffer`; `false` if the stream ends before its first byte.
fn read_exact_or_end(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    if source.read(&mut buffer[..1])? == 0 {
        return Ok(false);
    }
    source.read_exact(&mut buffer[1..])?;
    Ok(true)
}

impl<R: Read> Read for XerialReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.header_read {
            self.read_header()?;
        }
        while self.position == self.chunk.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let len = buffer.len().min(self.chunk.len() - self.position);
        buffer[..len].copy_from_slice(&self.chunk[self.position..self.position + len]);
        self.position += len;
        Ok(len)
    }
}

/// Writes xerial's framing.
pub(crate) struct XerialWriter<W> {
    inner: W,
    encoder: snap::raw::Encoder,
    chunk: Vec<u8>,
}

impl<W: Write> XerialWriter<W> {
    pub(crate) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&XERIAL_MAGIC)?;
        inner.write_all(&XERIAL_VERSION.to_be_bytes())?;
        inner.write_all(&XERIAL_VERSION.to_be_bytes())?;
        Ok(XerialWriter { inner, encoder: snap::raw::Encoder::new(), chunk: Vec::new() })
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let compressed = self.encoder.compress_vec(&self.chunk).map_err(io_error)?;
        let len = u32::try_from(compressed.len()).expect("a chunk is 32 KiB");
        self.inner.write_all(&len.to_be_bytes())?;
        self.inner.write_all(&compressed)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes what is left and returns the inner writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_chunk()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for XerialWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(CHUNK_LEN - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..len]);
        if self.chunk.len() == CHUNK_LEN {
            self.write_chunk()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unframe(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        XerialReader::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    fn frame(data: &[u8]) -> Vec<u8> {
        let mut writer = XerialWriter::new(Vec::new()).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_framed_comes_back() {
        for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 5] {
            let data: Vec<u8> = (0..len).map(|i| (i * i / 1000) as u8).collect();
            assert_eq!(unframe(&frame(&data)).unwrap(), data);
        }
        let twice = [frame(b"one"), frame(b"two")].concat();
        assert_eq!(unframe(&twice).unwrap(), b"onetwo");
    }

    #[test]
    fn absurd_chunks_are_refused_before_anything_is_allocated() {
        let mut bytes = frame(b"");
        bytes.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(unframe(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // A block that claims to hold 4 GiB.
        let mut bytes = frame(b"");
        bytes.extend_from_slice(&[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(unframe(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_capped_stream_ends_with_an_error() {
        let data = [0u8; 100];
        let mut out = Vec::new();
        let mut capped = Capped { inner: &data[..], left: 99 };
        assert!(capped.read_to_end(&mut out).is_err());
        let mut capped = Capped { inner: &data[..], left: 100 };
        assert_eq!(capped.read_to_end(&mut Vec::new()).unwrap(), 100);
    }
}
