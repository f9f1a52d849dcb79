//! The first message on a connection: who dials, and where to call back (Java:
//! `QuorumCnxManager.InitialMessage`).

use rookeeper_jute::quorum::{INITIAL_MESSAGE_V1, INITIAL_MESSAGE_V2, InitialMessage};
use rookeeper_jute::{Decode, Encode, Reader, ServerId};

use super::LinksConfig;
use crate::membership::Address;

/// Bytes before a first message's addresses: version, id, length.
const HEAD_LEN: usize = 20;

/// Who dials.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) peer: ServerId,
    /// Where it says that it listens; nothing where that is every interface.
    pub(super) addresses: Vec<Address>,
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    Incomplete,
    Bad,
    /// Who it is, and how many bytes that took.
    Complete(Hello, usize),
}

impl Hello {
    /// Reads a first message. A number that is no version is the id of a server before 3.5.
    pub(super) fn read(bytes: &[u8]) -> Greeting {
        let Some(head) = bytes.first_chunk::<8>() else { return Greeting::Incomplete };
        let word = i64::from_be_bytes(*head);
        if word >= 0 {
            return Greeting::Complete(Hello { peer: ServerId(word), addresses: Vec::new() }, 8);
        }
        if word != INITIAL_MESSAGE_V1 && word != INITIAL_MESSAGE_V2 {
            return Greeting::Bad;
        }
        let Some(head) = bytes.first_chunk::<HEAD_LEN>() else { return Greeting::Incomplete };
        let len = i32::from_be_bytes([head[16], head[17], head[18], head[19]]);
        let len_max = rookeeper_jute::limits::ELECTION_ADDRESS_MAX;
        let len = usize::try_from(len).ok().filter(|len| (1..=len_max).contains(len));
        let Some(len) = len else { return Greeting::Bad };
        let Some(whole) = bytes.get(..HEAD_LEN + len) else { return Greeting::Incomplete };
        let Ok(message) = InitialMessage::decode(&mut Reader::new(whole)) else {
            return Greeting::Bad;
        };
        let mut addresses = Vec::new();
        for text in String::from_utf8_lossy(message.addresses).split('|') {
            match Address::parse(text) {
                Ok(address) if address.is_wildcard() => {}
                Ok(address) => addresses.push(address),
                Err(_) => return Greeting::Bad,
            }
        }
        Greeting::Complete(Hello { peer: message.server_id, addresses }, whole.len())
    }
}

/// This server's first message: the first of its addresses, or all of them.
pub(super) fn greet(config: &LinksConfig, own: &[Address]) -> Vec<u8> {
    let shown = if config.multi_address_enabled { own.len() } else { 1 };
    let version =
        if config.multi_address_enabled { INITIAL_MESSAGE_V2 } else { INITIAL_MESSAGE_V1 };
    let texts: Vec<String> = own.iter().take(shown).map(|address| address.to_string()).collect();
    let addresses = texts.join("|");
    let message = InitialMessage {
        protocol_version: version,
        server_id: config.me,
        addresses: addresses.as_bytes(),
    };
    let mut bytes = Vec::with_capacity(HEAD_LEN + addresses.len());
    message.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(multi_address_enabled: bool) -> Vec<u8> {
        let config = LinksConfig {
            me: ServerId(2),
            addresses: Vec::new(),
            multi_address_enabled,
            handshake_timeout_ms: 1,
        };
        greet(&config, &[Address::new("127.0.0.1", 31382), Address::new("::1", 9)])
    }

    #[test]
    fn the_first_message_is_java_s() {
        let mut expected = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 15]);
        expected.extend(b"127.0.0.1:31382");
        assert_eq!(greeting(false), expected);
        for multi in [false, true] {
            let bytes = greeting(multi);
            for len in 0..bytes.len() {
                assert_eq!(Hello::read(&bytes[..len]), Greeting::Incomplete);
            }
            let Greeting::Complete(hello, len) = Hello::read(&bytes) else { panic!("{bytes:?}") };
            assert_eq!((hello.peer, len), (ServerId(2), bytes.len()));
            assert_eq!(hello.addresses.len(), if multi { 2 } else { 1 });
        }
    }

    #[test]
    fn old_and_odd_first_messages() {
        let bare = Hello { peer: ServerId(7), addresses: Vec::new() };
        assert_eq!(Hello::read(&7i64.to_be_bytes()), Greeting::Complete(bare, 8));
        assert_eq!(Hello::read(&(-3i64).to_be_bytes()), Greeting::Bad);
        let with = |text: &str, len: i32| {
            let mut bytes = INITIAL_MESSAGE_V1.to_be_bytes().to_vec();
            bytes.extend(5i64.to_be_bytes());
            bytes.extend(len.to_be_bytes());
            bytes.extend(text.as_bytes());
            Hello::read(&bytes)
        };
        assert_eq!(with("", 0), Greeting::Bad);
        assert_eq!(with("", -1), Greeting::Bad);
        assert_eq!(with("", 2049), Greeting::Bad);
        assert_eq!(with("nowhere", 7), Greeting::Bad);
        let nobody = Hello { peer: ServerId(5), addresses: Vec::new() };
        assert_eq!(with("0.0.0.0:1", 9), Greeting::Complete(nobody, 29));
    }
}
