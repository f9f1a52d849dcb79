//! Writes of any place and length as writes of whole blocks: what a file that goes past the
//! system's cache (`O_DIRECT`) takes.
//!
//! A log is written from its beginning to its end, each write a little further than the one
//! before it, with nothing but zeros behind. So the block in which its bytes end is kept, and what
//! is not written yet is known; only a write further back, to the header, has to read.

use std::io;

/// What is written at once, and where that begins and ends, in bytes: no file system asks for more.
pub(crate) const BLOCK_LEN: usize = 4096;

/// The longest write, in bytes: what is copied to where memory is aligned.
const WRITE_LEN_MAX: usize = 1 << 20;

static ZERO_BLOCK: [u8; BLOCK_LEN] = [0; BLOCK_LEN];

/// Where the blocks are.
pub(super) trait BlockFile {
    /// Reads the block at `offset`; what is behind the file's end reads as zeros.
    fn read_block(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()>;
    /// Writes whole blocks at `offset`, from memory that begins like a block.
    fn write_blocks(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()>;
}

/// Memory that begins where a block may.
#[derive(Debug, Default)]
struct Aligned(Vec<u8>);

impl Aligned {
    /// The first `len` bytes, of whatever was there before.
    fn get(&mut self, len: usize) -> &mut [u8] {
        self.0.resize((len + BLOCK_LEN).max(self.0.len()), 0);
        let start = self.0.as_ptr().align_offset(BLOCK_LEN);
        &mut self.0[start..start + len]
    }
}

/// A file that was empty, and is written here alone.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Behind it are zeros, or the end of the file.
    data_end: u64,
    /// The block in which that is.
    tail: Vec<u8>,
    image: Aligned,
}

fn block_of(offset: u64) -> u64 {
    offset - offset % BLOCK_LEN as u64
}

impl Blocks {
    /// Writes `bytes` at `offset`. The file ends with a block afterwards.
    ///
    /// # Errors
    /// The file's; some of the bytes may be written then.
    pub(super) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
        file: &mut dyn BlockFile,
    ) -> io::Result<()> {
        let aligned = bytes.as_ptr().align_offset(BLOCK_LEN) == 0
            && bytes.len().is_multiple_of(BLOCK_LEN)
            && block_of(offset) == offset;
        if aligned && self.are_zeros(offset, bytes) {
            return file.write_blocks(offset, bytes);
        }
        let mut rest = bytes;
        let mut position = offset;
        while !rest.is_empty() {
            let room = WRITE_LEN_MAX - (position - block_of(position)) as usize;
            let (piece, later) = rest.split_at(rest.len().min(room));
            self.write_piece(position, piece, file)?;
            position += piece.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Whether these bytes change nothing, but where the file ends.
    fn are_zeros(&self, offset: u64, bytes: &[u8]) -> bool {
        let are_zero = |bytes: &[u8]| bytes == &ZERO_BLOCK[..bytes.len()];
        offset >= self.data_end && bytes.chunks(BLOCK_LEN).all(are_zero)
    }

    fn write_piece(
        &mut self,
        offset: u64,
        bytes: &[u8],
        file: &mut dyn BlockFile,
    ) -> io::Result<()> {
        let (start, end) = (block_of(offset), offset + bytes.len() as u64);
        let stop = end.next_multiple_of(BLOCK_LEN as u64);
        let last = stop - BLOCK_LEN as u64;
        let mut image = std::mem::take(&mut self.image);
        let blocks = image.get((stop - start) as usize);
        let written = self.surround(start, last, blocks, file).and_then(|()| {
            let head = (offset - start) as usize;
            blocks[head..head + bytes.len()].copy_from_slice(bytes);
            file.write_blocks(start, blocks)
        });
        if written.is_ok() {
            if !self.are_zeros(offset, bytes) {
                self.data_end = self.data_end.max(end);
            }
            let tail = block_of(self.data_end);
            if (start..stop).contains(&tail) {
                let tail = (tail - start) as usize;
                self.tail.clear();
                self.tail.extend_from_slice(&blocks[tail..tail + BLOCK_LEN]);
            }
        }
        self.image = image;
        written
    }

    /// Fills the first and the last block of an image with what the file has there.
    fn surround(
        &self,
        start: u64,
        last: u64,
        image: &mut [u8],
        file: &mut dyn BlockFile,
    ) -> io::Result<()> {
        for offset in [start, last] {
            let at = (offset - start) as usize;
            let block = &mut image[at..at + BLOCK_LEN];
            if offset >= self.data_end {
                block.fill(0);
            } else if offset == block_of(self.data_end) {
                block.copy_from_slice(&self.tail);
            } else {
                file.read_block(offset, block)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        reads: usize,
    }

    impl BlockFile for Memory {
        fn read_block(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()> {
            self.reads += 1;
            block.copy_from_slice(&self.bytes[offset as usize..][..BLOCK_LEN]);
            Ok(())
        }

        fn write_blocks(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
            assert!(offset.is_multiple_of(BLOCK_LEN as u64), "{offset}");
            assert!(blocks.len().is_multiple_of(BLOCK_LEN), "{}", blocks.len());
            assert_eq!(blocks.as_ptr().align_offset(BLOCK_LEN), 0);
            let end = offset as usize + blocks.len();
            self.bytes.resize(end.max(self.bytes.len()), 0);
            self.bytes[offset as usize..end].copy_from_slice(blocks);
            Ok(())
        }
    }

    /// Bytes that are told apart.
    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| ((at * 31 + seed * 7) % 251) as u8 + 1).collect()
    }

    #[test]
    fn a_log_is_written_without_a_read() {
        let (mut blocks, mut file) = (Blocks::default(), Memory::default());
        let mut model = vec![0; 3 << 20];
        let zeros = vec![0; 100_000];
        blocks.write(0, &bytes(16, 1), &mut file).unwrap();
        model[..16].copy_from_slice(&bytes(16, 1));
        blocks.write(16, &zeros, &mut file).unwrap();
        let mut position = 16;
        for (seed, len) in
            [1, 4080, 4096, 5, 8192, 4091, 1 << 20, 300_000, 12].into_iter().enumerate()
        {
            blocks.write(position as u64, &bytes(len, seed), &mut file).unwrap();
            model[position..position + len].copy_from_slice(&bytes(len, seed));
            position += len;
            let end = (position as u64 + 7000).next_multiple_of(512);
            blocks.write(position as u64, &zeros[..end as usize - position], &mut file).unwrap();
            assert!(file.bytes.len() >= position && file.bytes.len() % BLOCK_LEN == 0);
            assert!(file.bytes == model[..file.bytes.len()], "after {len} bytes");
        }
        assert_eq!(file.reads, 0);
    }

    #[test]
    fn a_write_further_back_keeps_what_is_around_it() {
        let (mut blocks, mut file) = (Blocks::default(), Memory::default());
        blocks.write(0, &bytes(20_000, 1), &mut file).unwrap();
        let mut model = bytes(20_000, 1);
        model.resize(20_480, 0);
        for (seed, (offset, len)) in
            [(0, 16), (5000, 3), (4090, 12), (19_990, 10), (100, 19_900), (16_384, 5)]
                .into_iter()
                .enumerate()
        {
            blocks.write(offset, &bytes(len, seed + 2), &mut file).unwrap();
            model[offset as usize..][..len].copy_from_slice(&bytes(len, seed + 2));
            assert!(file.bytes == model, "{len} at {offset}");
        }
        blocks.write(20_000, &bytes(1000, 9), &mut file).unwrap();
        model.resize(24_576, 0);
        model[20_000..21_000].copy_from_slice(&bytes(1000, 9));
        assert!(file.bytes == model);
    }

    #[test]
    fn zeros_over_data_are_data() {
        let (mut blocks, mut file) = (Blocks::default(), Memory::default());
        blocks.write(0, &bytes(5000, 1), &mut file).unwrap();
        blocks.write(4000, &[0; 2000], &mut file).unwrap();
        blocks.write(6000, &bytes(1, 3), &mut file).unwrap();
        let mut model = bytes(4000, 1);
        model.resize(8192, 0);
        model[6000] = bytes(1, 3)[0];
        assert!(file.bytes == model);
    }
}
