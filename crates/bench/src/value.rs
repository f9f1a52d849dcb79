//! Data of the benchmark's znodes: which znode, which write, and a filling of that write alone.

/// Bytes before the filling.
const HEAD_LEN: usize = 16;

/// Writes into `out` the value of `key` at its write `stamp`, `len` bytes long.
pub fn make(key: u64, stamp: u64, len: usize, out: &mut Vec<u8>) {
    out.clear();
    if len >= HEAD_LEN {
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&stamp.to_be_bytes());
        out.resize(len, filling(key, stamp));
    } else {
        out.resize(len, filling(key, 0));
    }
}

/// Whether `data` is a value that [`make`] makes for `key` at `len` bytes.
pub fn is_of(data: &[u8], key: u64, len: usize) -> bool {
    if data.len() != len {
        return false;
    }
    let Some((head, filled)) = data.split_first_chunk::<HEAD_LEN>() else {
        return data.iter().all(|byte| *byte == filling(key, 0));
    };
    let word = u128::from_be_bytes(*head);
    let (got, stamp) = ((word >> 64) as u64, word as u64);
    let expected = filling(key, stamp);
    // Folded without an early end, so that the compiler compares many bytes at once.
    let difference = filled.iter().fold(0, |all, byte| all | (byte ^ expected));
    got == key && difference == 0
}

fn filling(key: u64, stamp: u64) -> u8 {
    let mixed = (key ^ stamp.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_of_its_key_and_no_other() {
        let mut data = Vec::new();
        for len in [0, 1, 15, 17, 100] {
            make(7, 99, len, &mut data);
            assert_eq!(data.len(), len);
            assert!(is_of(&data, 7, len), "{len}");
            assert!(!is_of(&data, 7, len + 1));
            assert!(len == 0 || !is_of(&data, 8, len), "{len}");
            if len > 0 {
                *data.last_mut().unwrap() ^= 1;
                assert!(!is_of(&data, 7, len), "{len}");
            }
        }
    }
}
