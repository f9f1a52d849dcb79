//! Hosts and ports as Java writes and reads them.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use super::MembershipError;

/// A host, by name or by number, and a port. Names stay names: drivers resolve them whenever they
/// connect, so that a host may get its address later, or another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Box<str>,
    port: u16,
}

impl Address {
    /// An address of a host's name or number (IPv6 without brackets). The empty host is this
    /// machine, a number is written in Java's way (`InetSocketAddress.getHostString`).
    pub fn new(host: &str, port: u16) -> Address {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(number)) => match number.to_ipv4_mapped() {
                Some(mapped) => mapped.to_string().into(),
                None => java_ipv6(&number).into(),
            },
            Ok(IpAddr::V4(number)) => number.to_string().into(),
            Err(_) if host.is_empty() => "localhost".into(),
            Err(_) => host.into(),
        };
        Address { host, port }
    }

    /// The host: a name or a number, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is `0.0.0.0` or `::`, which nobody can connect to.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|number| number.is_unspecified())
    }

    /// The host as it stands before a port: IPv6 in brackets.
    pub(super) fn delimited_host(&self) -> DelimitedHost<'_> {
        DelimitedHost(&self.host)
    }

    /// Reads `host:port` (Java: `ConfigUtils.getHostAndPort`).
    ///
    /// # Errors
    /// Where it has another form, or the port is no port.
    pub fn parse(text: &str) -> Result<Address, MembershipError> {
        match &host_and_parts(text)?[..] {
            [host, port] => Ok(Address::new(host, parse_port(port)?)),
            _ => Err(MembershipError::WrongForm(text.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.delimited_host(), self.port)
    }
}

/// A host that shows itself in brackets where it holds a colon.
pub(super) struct DelimitedHost<'a>(&'a str);

impl fmt::Display for DelimitedHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// All eight groups, without leading zeros (`Inet6Address.getHostAddress`).
fn java_ipv6(number: &Ipv6Addr) -> String {
    let groups: Vec<String> = number.segments().iter().map(|group| format!("{group:x}")).collect();
    groups.join(":")
}

/// `String.split` of one character: without the empty parts at the end.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

/// A host, its brackets removed, and what follows it between colons.
pub(super) fn host_and_parts(text: &str) -> Result<Vec<&str>, MembershipError> {
    let wrong = || MembershipError::WrongForm(text.into());
    let Some(bracketed) = text.strip_prefix('[') else { return Ok(split(text, ':')) };
    let (host, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
    if rest.is_empty() {
        return Ok(vec![host]);
    }
    let rest = rest.strip_prefix(':').filter(|rest| !rest.is_empty()).ok_or_else(wrong)?;
    let mut parts = vec![host];
    parts.extend(split(rest, ':'));
    Ok(parts)
}

/// A port's number; a sign before it is allowed, as `Integer.parseInt` does.
pub(super) fn parse_port(text: &str) -> Result<u16, MembershipError> {
    let number: i32 = text.parse().map_err(|_| MembershipError::BadPort(text.into()))?;
    u16::try_from(number).map_err(|_| MembershipError::PortOutOfRange(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_as_they_are_read() {
        for (text, shown) in [
            ("127.0.0.1:2888", "127.0.0.1:2888"),
            ("zoo1.example:2888", "zoo1.example:2888"),
            ("[::1]:2888", "[0:0:0:0:0:0:0:1]:2888"),
            (":2888", "localhost:2888"),
            ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["a", "a:b", "a:65536", "a:-1", "[::1", "[::1]", "[::1]x:1", "a:1:2", ""] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn wildcards_are_known() {
        assert!(Address::new("0.0.0.0", 1).is_wildcard());
        assert!(Address::new("::", 1).is_wildcard());
        assert!(!Address::new("zero", 1).is_wildcard());
    }
}
