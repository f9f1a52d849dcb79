//! Frames out of a stream of bytes: a length of four bytes, then as many bytes.

/// A length that no frame has: below zero or above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength(pub(crate) i32);

/// Bytes that came and are not a whole frame yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// How much of `bytes` was taken.
    taken: usize,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, without its length; a frame longer than `len_max` is refused as soon
    /// as its length is known.
    pub(crate) fn next(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, BadLength> {
        let rest = &self.bytes[self.taken..];
        let Some((len, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = i32::from_be_bytes(*len);
        let Some(bounded) = usize::try_from(len).ok().filter(|len| *len <= len_max) else {
            return Err(BadLength(len));
        };
        let Some(frame) = rest.get(..bounded) else { return Ok(None) };
        let frame = frame.to_vec();
        self.taken += 4 + bounded;
        Ok(Some(frame))
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_wherever_the_bytes_are_cut() {
        let stream = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        for cut in 0..=stream.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.push(part);
                while let Some(frame) = frames.next(2).expect("lengths are in bounds") {
                    got.push(frame);
                }
            }
            assert_eq!(got, [vec![7, 8], vec![], vec![9]], "cut at {cut}");
        }
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_the_frame_is_there() {
        for len in [-1, i32::MIN, 3] {
            let mut frames = Frames::default();
            frames.push(&len.to_be_bytes());
            assert_eq!(frames.next(2), Err(BadLength(len)));
        }
    }
}
