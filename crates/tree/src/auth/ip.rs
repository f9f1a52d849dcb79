//! The scheme `ip`: a client's address, and in ACLs an address with an optional mask of leading
//! bits (Java: `IPAuthenticationProvider`). IPv4 and IPv6 never match each other.

use std::net::IpAddr;

use super::{AuthFailure, AuthProvider, ConnectionInfo, Identity, parse_int};

/// Identities by address.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpProvider;

impl AuthProvider for IpProvider {
    fn scheme(&self) -> &str {
        "ip"
    }

    fn is_authenticated(&self) -> bool {
        false
    }

    fn is_valid(&self, id: &str) -> bool {
        Pattern::parse(id).is_some()
    }

    fn matches(&self, id: &str, pattern: &str) -> bool {
        let Some(pattern) = Pattern::parse(pattern) else { return false };
        match Address::parse(id) {
            Some(address) => address.masked(pattern.bits) == pattern.address.masked(pattern.bits),
            None => false,
        }
    }

    fn authenticate(
        &self,
        connection: &ConnectionInfo,
        _credentials: Option<&[u8]>,
    ) -> Result<Vec<Identity>, AuthFailure> {
        Ok(vec![Identity::new("ip", &host_address(connection.remote))])
    }
}

/// An address as Java writes it (`InetAddress.getHostAddress`): IPv6 in full, eight groups
/// without leading zeros, and an IPv4 address mapped into IPv6 as IPv4.
pub fn host_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

/// Bytes of an address, left-aligned, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    bytes: [u8; 16],
    len: usize,
}

struct Pattern {
    address: Address,
    bits: usize,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = Address::parse(address)?;
        let bits_max = address.len * 8;
        let bits = match bits {
            Some(bits) => usize::try_from(parse_int(bits, 10)?).ok()?,
            None => bits_max,
        };
        if bits > bits_max { None } else { Some(Pattern { address, bits }) }
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        if text.contains(':') { Self::parse_v6(text) } else { Self::parse_v4(text) }
    }

    fn parse_v4(text: &str) -> Option<Self> {
        let mut address = Address { bytes: [0; 16], len: 4 };
        let mut parts = text.split('.');
        for byte in &mut address.bytes[..4] {
            *byte = u8::try_from(parse_int(parts.next()?, 10)?).ok()?;
        }
        if parts.next().is_some() { None } else { Some(address) }
    }

    fn parse_v6(text: &str) -> Option<Self> {
        let mut address = Address { bytes: [0; 16], len: 16 };
        let mut halves = text.split("::");
        let (head, tail) = (halves.next()?, halves.next());
        if halves.next().is_some() {
            return None;
        }
        let head_len = write_groups(head, &mut address.bytes, tail.is_some())?;
        match tail {
            None if head_len != 8 => return None,
            None => {}
            Some(tail) => {
                let mut bytes = [0; 16];
                let tail_len = write_groups(tail, &mut bytes, true)?;
                if head_len + tail_len >= 8 {
                    return None;
                }
                address.bytes[16 - 2 * tail_len..].copy_from_slice(&bytes[..2 * tail_len]);
            }
        }
        Some(address)
    }

    fn masked(mut self, bits: usize) -> Self {
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index * 8).min(8);
            *byte &= !(0xff_u16 >> kept) as u8;
        }
        self
    }
}

/// Writes groups of up to four hexadecimal digits; how many there were.
fn write_groups(text: &str, bytes: &mut [u8; 16], may_be_empty: bool) -> Option<usize> {
    if text.is_empty() && may_be_empty {
        return Some(0);
    }
    let mut count = 0;
    for group in text.split(':') {
        if group.is_empty() || group.len() > 4 || count == 8 {
            return None;
        }
        let value = parse_int(group, 16)?;
        bytes[2 * count] = (value >> 8) as u8;
        bytes[2 * count + 1] = value as u8;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_addresses_with_masks() {
        for id in [
            "1.2.3.4",
            "1.2.3.4/0",
            "1.2.3.4/32",
            "::",
            "::/0",
            "::1",
            "1::",
            "fe80::1/64",
            "1:2:3:4:5:6:7:8",
            "0:0:0:0:0:0:0:1/128",
            "1:2:3:4:5:6::8",
            "127.0.0.1/+8",
        ] {
            assert!(IpProvider.is_valid(id), "{id}");
        }
        for id in [
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.-1",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/-1",
            "1.2.3.4/8/8",
            "a.b.c.d",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "1:2:3:4:5:6:7::8",
            "12345::",
            ":::",
            "g::",
            "::/129",
            ":1:2:3:4:5:6:7",
            "fe80::1%eth0",
            "::ffff:1.2.3.4",
        ] {
            assert!(!IpProvider.is_valid(id), "{id}");
        }
    }

    #[test]
    fn an_address_matches_up_to_the_mask_and_within_its_family() {
        let matches = |id, pattern| IpProvider.matches(id, pattern);
        assert!(matches("10.1.2.3", "10.1.2.3"));
        assert!(matches("10.1.2.3", "10.1.9.9/16"));
        assert!(matches("10.1.130.3", "10.1.129.9/17"));
        assert!(!matches("10.1.2.3", "10.1.129.9/17"));
        assert!(matches("10.1.2.3", "0.0.0.0/0"));
        assert!(!matches("10.1.2.3", "10.1.2.4"));
        assert!(matches("0:0:0:0:0:0:0:1", "::1"));
        assert!(matches("fe80:0:0:0:1:2:3:4", "fe80::/64"));
        assert!(!matches("fe81:0:0:0:1:2:3:4", "fe80::/64"));
        assert!(!matches("0:0:0:0:0:0:0:1", "0.0.0.0/0"));
        assert!(!matches("127.0.0.1", "::/0"));
        assert!(!matches("nonsense", "0.0.0.0/0"));
    }

    #[test]
    fn addresses_are_written_as_java_writes_them() {
        let text = |address: &str| host_address(address.parse().expect("an address"));
        assert_eq!(text("127.0.0.1"), "127.0.0.1");
        assert_eq!(text("::1"), "0:0:0:0:0:0:0:1");
        assert_eq!(text("2001:db8::ff00:42"), "2001:db8:0:0:0:0:ff00:42");
        assert_eq!(text("::ffff:10.0.0.9"), "10.0.0.9");
    }
}
