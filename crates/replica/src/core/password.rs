//! Session passwords: a function of the session's id, so that a session may be carried between
//! this server and Java's (Java: `ZooKeeperServer.generatePasswd`).

use rookeeper_jute::SessionId;
use rookeeper_jute::limits::SESSION_PASSWORD_LEN;

/// Mixed into the seed (Java: `superSecret`).
const SECRET: u64 = 0xB341_5C00;

/// Constants of the generator that `java.util.Random` documents.
const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const STATE_MASK: u64 = (1 << 48) - 1;

/// The password of a session: the first bytes of `java.util.Random`, seeded with the id.
pub(crate) fn password(session: SessionId) -> [u8; SESSION_PASSWORD_LEN] {
    let mut state = (session.0 as u64 ^ SECRET ^ MULTIPLIER) & STATE_MASK;
    let mut bytes = [0; SESSION_PASSWORD_LEN];
    for chunk in bytes.chunks_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & STATE_MASK;
        // The upper 32 bits of the state, lowest byte first.
        chunk.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_javas() {
        // The generator's first outputs for seed 42, as java.util.Random gives them:
        // nextInt() is -1170105035, 234785527, -1360544799, 205897768.
        let session = SessionId((42 ^ SECRET) as i64);
        let mut expected = Vec::new();
        for int in [-1_170_105_035i32, 234_785_527, -1_360_544_799, 205_897_768] {
            expected.extend_from_slice(&int.to_le_bytes());
        }
        assert_eq!(password(session).as_slice(), expected);
    }
}
