//! A stream seen through a growing window, so that records are lent out as slices of one buffer.

use std::io::{self, Read};

use simd_adler32::Adler32;

use crate::disk::DiskFile;

/// How much is read at first, in bytes.
const READ_LEN_MIN: usize = 64 << 10;

/// How much is read at once, in bytes, once a file has turned out to be long.
pub(crate) const READ_LEN: usize = 1 << 20;

/// Reads a file from an offset on.
pub(crate) struct FileStream<F> {
    pub(crate) file: F,
    offset: u64,
}

impl<F: DiskFile> FileStream<F> {
    pub(crate) fn new(file: F, offset: u64) -> Self {
        FileStream { file, offset }
    }
}

impl<F: DiskFile> Read for FileStream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(self.offset, buffer)?;
        self.offset += len as u64;
        Ok(len)
    }
}

/// The window: bytes read and not yet consumed, with the Adler-32 of all consumed ones.
pub(crate) struct Window<R> {
    pub(crate) source: R,
    buffer: Vec<u8>,
    /// `buffer[position..end]` is the window.
    position: usize,
    end: usize,
    /// `buffer[..hashed]` is in the checksum already.
    hashed: usize,
    checksum: Option<Adler32>,
    /// Offset of `buffer[0]` in the stream.
    base: u64,
    at_end: bool,
    /// Whether the last read filled the buffer.
    filled: bool,
}

impl<F: DiskFile> Window<FileStream<F>> {
    /// Moves the window to another offset of the file.
    pub(crate) fn seek(&mut self, offset: u64) {
        assert!(self.checksum.is_none(), "a checksum is of all that was read in order");
        self.source.offset = offset;
        (self.position, self.end, self.hashed) = (0, 0, 0);
        (self.base, self.at_end) = (offset, false);
    }
}

impl<R: Read> Window<R> {
    /// A window at `offset` of a stream, with a running checksum if asked for.
    pub(crate) fn new(source: R, offset: u64, with_checksum: bool) -> Self {
        Window {
            source,
            buffer: Vec::new(),
            position: 0,
            end: 0,
            hashed: 0,
            checksum: with_checksum.then(Adler32::new),
            base: offset,
            at_end: false,
            filled: false,
        }
    }

    /// Where the window starts in the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// The window as it stands.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.position..self.end]
    }

    /// Moves the start of the window.
    pub(crate) fn consume(&mut self, len: usize) {
        assert!(len <= self.end - self.position, "only what is in the window can be consumed");
        self.position += len;
    }

    /// The last `len` bytes consumed, which [`Window::ensure`] did not move yet.
    pub(crate) fn behind(&self, len: usize) -> &[u8] {
        &self.buffer[self.position - len..self.position]
    }

    /// Makes the window at least `len` bytes long; `false` if the stream ends before. Memory
    /// grows with what the stream delivers, never with `len` alone.
    pub(crate) fn ensure(&mut self, len: usize) -> io::Result<bool> {
        while self.end - self.position < len {
            if self.at_end {
                return Ok(false);
            }
            self.fill()?;
        }
        Ok(true)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.hash();
        self.buffer.copy_within(self.position..self.end, 0);
        self.base += self.position as u64;
        self.end -= self.position;
        self.position = 0;
        self.hashed = 0;
        if self.end == self.buffer.len() || (self.filled && self.buffer.len() < READ_LEN) {
            let len = (2 * self.buffer.len()).max(READ_LEN_MIN);
            self.buffer.resize(len, 0);
        }
        let room = self.buffer.len() - self.end;
        match self.source.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.at_end = true,
            Ok(len) => {
                self.end += len;
                self.filled = len == room;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn hash(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.write(&self.buffer[self.hashed..self.position]);
        }
        self.hashed = self.position;
    }

    /// The Adler-32 of everything consumed.
    pub(crate) fn checksum(&mut self) -> u32 {
        self.hash();
        self.checksum.as_ref().map_or(1, Adler32::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Bytes;

    #[test]
    fn the_checksum_is_of_what_was_consumed() {
        let data: Vec<u8> = (0..3 * READ_LEN).map(|i| (i / 7) as u8).collect();
        let bytes = Bytes(&data);
        let mut window = Window::new(FileStream::new(bytes, 0), 0, true);
        for len in [5, READ_LEN, READ_LEN + 17] {
            assert!(window.ensure(len).unwrap());
            window.consume(len);
        }
        let consumed = 2 * READ_LEN + 22;
        assert_eq!(window.offset(), consumed as u64);
        assert_eq!(window.checksum(), simd_adler32::adler32(&&data[..consumed]));
        assert!(!window.ensure(READ_LEN).unwrap());
        assert_eq!(window.bytes(), &data[consumed..]);
    }
}
