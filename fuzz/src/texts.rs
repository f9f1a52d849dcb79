//! Small texts: the first byte says which parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rookeeper_jute::{Acl, Decode, Encode, Reader};
use rookeeper_server::fourletter::Word;
use rookeeper_tree::{AccessControl, ConnectionInfo, Identity};

/// Parses the text.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => epoch(bytes),
        1 => word(bytes),
        2 => credentials(bytes),
        3 => ids(bytes),
        _ => acl(bytes),
    }
}

fn epoch(bytes: &[u8]) {
    if let Some(epoch) = rookeeper_store::epoch::parse(bytes) {
        let text = epoch.to_string();
        assert_eq!(rookeeper_store::epoch::parse(text.as_bytes()), Some(epoch));
    }
}

fn word(bytes: &[u8]) {
    let Some(first) = bytes.first_chunk::<4>() else { return };
    if let Some(word) = Word::from_bytes(*first)
        && word != Word::TelnetClose
    {
        assert_eq!(word.name().as_bytes(), first);
    }
}

fn credentials(bytes: &[u8]) {
    let access = AccessControl::default();
    for scheme in ["digest", "ip"] {
        let provider = access.provider(scheme).expect("both are there by default");
        for remote in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let Ok(identities) = provider.authenticate(&ConnectionInfo { remote }, Some(bytes))
            else {
                continue;
            };
            for identity in identities {
                let _ = provider.user_name(&identity.id);
                if provider.is_valid(&identity.id) {
                    assert!(provider.matches(&identity.id, &identity.id), "{identity:?}");
                }
            }
        }
    }
}

/// An id and a pattern, with a zero byte between them.
fn ids(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (id, pattern) = text.split_once('\0').unwrap_or((&text, &text));
    let access = AccessControl::default();
    for scheme in ["digest", "ip"] {
        let provider = access.provider(scheme).expect("both are there by default");
        let _ = (provider.is_valid(id), provider.matches(id, pattern), provider.user_name(id));
    }
}

/// A list as a client sends it; what is stored of it is accepted again.
fn acl(bytes: &[u8]) {
    let Ok(list) = Reader::new(bytes).read::<Option<Vec<Acl<'_>>>>() else { return };
    let access = AccessControl::default();
    let identities = [Identity::new("ip", "127.0.0.1"), Identity::new("digest", "u:h")];
    let Ok(fixed) = access.fix_up(list, &identities) else { return };
    let stored = fixed.to_bytes();
    let again = Option::<Vec<Acl<'_>>>::from_bytes(&stored).expect("what was encoded decodes");
    let refixed = access.fix_up(again, &identities).expect("what was stored is valid");
    assert_eq!(refixed, fixed);
}
