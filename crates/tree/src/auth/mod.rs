//! Who a client is and what its identities permit (Java: `org.apache.zookeeper.server.auth`,
//! `ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`).
//!
//! Schemes are behind [`AuthProvider`], so that x509 and SASL come in without a change here. The
//! schemes `world`, `auth` and `super` have no provider: they are rules of [`AccessControl`].
//!
//! # Layout
//! - [`control`]: [`AccessControl`]: checks, and the ACL that a client may set
//! - [`digest`]: user names and passwords
//! - [`ip`]: addresses and masks

pub mod control;
pub mod digest;
pub mod ip;

use std::net::IpAddr;

pub use control::AccessControl;
pub use digest::{DigestProvider, HashFunction};
pub use ip::{IpProvider, host_address};
pub use rookeeper_jute::Identity;

/// What a provider may know of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client's address.
    pub remote: IpAddr,
}

/// The credentials prove nothing: the client is told so and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct AuthFailure;

/// One authentication scheme (Java: `ServerAuthenticationProvider`).
pub trait AuthProvider: Send + Sync + std::fmt::Debug {
    /// The scheme's name as it stands in ACLs and auth packets.
    fn scheme(&self) -> &str;

    /// Whether an identity of this scheme proves who the client is, so that `auth` stands for it.
    fn is_authenticated(&self) -> bool;

    /// Whether `id` may stand in an ACL.
    fn is_valid(&self, id: &str) -> bool;

    /// Whether the identity `id` is what the ACL's `pattern` says.
    fn matches(&self, id: &str, pattern: &str) -> bool;

    /// The name that whoAmI shows for an identity; `None` where there is none (Java throws, and
    /// the client gets MarshallingError).
    fn user_name<'a>(&self, id: &'a str) -> Option<&'a str> {
        Some(id)
    }

    /// The identities that an auth packet's credentials prove; they may be null.
    ///
    /// # Errors
    /// [`AuthFailure`] where they prove none.
    fn authenticate(
        &self,
        connection: &ConnectionInfo,
        credentials: Option<&[u8]>,
    ) -> Result<Vec<Identity>, AuthFailure>;
}

/// Java's `Integer.parseInt`: an optional sign, then digits of `radix`, nothing else.
fn parse_int(text: &str, radix: u32) -> Option<i32> {
    i32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_java_reads_them() {
        assert_eq!(parse_int("+7", 10), Some(7));
        assert_eq!(parse_int("-0", 10), Some(0));
        assert_eq!(parse_int("-ff", 16), Some(-255));
        for text in ["", "+", "-", " 7", "7 ", "2147483648", "0x1"] {
            assert_eq!(parse_int(text, 10), None, "{text:?}");
        }
    }
}
