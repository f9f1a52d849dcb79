//! The scheme `digest`: a user name, and the hash of user name and password
//! (Java: `DigestAuthenticationProvider`).

use sha1::{Digest, Sha1};

use super::{AuthFailure, AuthProvider, ConnectionInfo, Identity};

/// A hash over bytes (`zookeeper.DigestAuthenticationProvider.digestAlg`); SHA-1 by default. This
/// crate brings no other, so whoever configures one hands it in.
pub type HashFunction = fn(&[u8]) -> Vec<u8>;

/// SHA-1, Java's default.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    Sha1::digest(bytes).to_vec()
}

/// Identities by user name and password.
#[derive(Debug, Clone)]
pub struct DigestProvider {
    super_digest: Option<Box<str>>,
    hash: HashFunction,
}

impl DigestProvider {
    /// `super_digest` is the id whose owner may do everything
    /// (`zookeeper.DigestAuthenticationProvider.superDigest`).
    pub fn new(super_digest: Option<&str>, hash: HashFunction) -> Self {
        DigestProvider { super_digest: super_digest.map(Box::from), hash }
    }

    /// The id of a user: name, colon, base64 of the hash of `user:password`.
    pub fn id_of(&self, user_and_password: &str) -> String {
        let user = user_and_password.split_once(':').map_or(user_and_password, |(user, _)| user);
        let mut id = String::from(user);
        id.push(':');
        push_base64(&(self.hash)(user_and_password.as_bytes()), &mut id);
        id
    }
}

impl Default for DigestProvider {
    fn default() -> Self {
        DigestProvider::new(None, sha1)
    }
}

impl AuthProvider for DigestProvider {
    fn scheme(&self) -> &str {
        "digest"
    }

    fn is_authenticated(&self) -> bool {
        true
    }

    fn is_valid(&self, id: &str) -> bool {
        parts_count(id) == 2
    }

    fn matches(&self, id: &str, pattern: &str) -> bool {
        id == pattern
    }

    fn user_name<'a>(&self, id: &'a str) -> Option<&'a str> {
        if parts_count(id) == 0 { None } else { id.split(':').next() }
    }

    fn authenticate(
        &self,
        _connection: &ConnectionInfo,
        credentials: Option<&[u8]>,
    ) -> Result<Vec<Identity>, AuthFailure> {
        let credentials = credentials.ok_or(AuthFailure)?;
        let id = self.id_of(&String::from_utf8_lossy(credentials));
        let mut identities = Vec::with_capacity(2);
        if self.super_digest.as_deref() == Some(id.as_str()) {
            identities.push(Identity::new("super", ""));
        }
        identities.push(Identity { scheme: "digest".into(), id: id.into() });
        Ok(identities)
    }
}

/// How many parts Java's `split(":")` makes: empty ones at the end do not count.
fn parts_count(id: &str) -> usize {
    if !id.contains(':') {
        return 1;
    }
    match id.trim_end_matches(':') {
        "" => 0,
        rest => rest.split(':').count(),
    }
}

fn push_base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let six_bits = word >> (18 - 6 * digit) & 0x3f;
            let padded = digit > chunk.len();
            out.push(if padded { '=' } else { char::from(ALPHABET[six_bits as usize]) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CONNECTION: ConnectionInfo =
        ConnectionInfo { remote: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST) };

    #[test]
    fn the_documented_super_user_has_the_documented_id() {
        // From ZooKeeper's administrator's guide: super:admin.
        let provider = DigestProvider::default();
        assert_eq!(provider.id_of("super:admin"), "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
    }

    #[test]
    fn base64_pads_as_java_does() {
        let encoded = |bytes: &[u8]| {
            let mut out = String::new();
            push_base64(bytes, &mut out);
            out
        };
        assert_eq!(encoded(b""), "");
        assert_eq!(encoded(b"f"), "Zg==");
        assert_eq!(encoded(b"fo"), "Zm8=");
        assert_eq!(encoded(b"foobar"), "Zm9vYmFy");
        assert_eq!(encoded(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn an_id_has_two_parts() {
        for id in ["a:b", ":b", "a:b:", "a:b::"] {
            assert!(DigestProvider::default().is_valid(id), "{id}");
        }
        for id in ["", "a", "a:", ":", "a:b:c"] {
            assert!(!DigestProvider::default().is_valid(id), "{id}");
        }
    }

    #[test]
    fn the_super_digest_proves_super_as_well() {
        let digest = DigestProvider::default().id_of("super:test");
        let provider = DigestProvider::new(Some(&digest), sha1);
        assert!(provider.authenticate(&CONNECTION, None).is_err());
        let got = provider.authenticate(&CONNECTION, Some(b"super:test")).expect("credentials");
        assert_eq!(got, [Identity::new("super", ""), Identity::new("digest", &digest)]);
        let got = provider.authenticate(&CONNECTION, Some(b"super:wrong")).expect("credentials");
        assert_eq!(got.len(), 1);
        assert_eq!(provider.user_name(&digest), Some("super"));
        assert_eq!(provider.user_name("::"), None);
    }

    #[test]
    fn another_hash_can_be_handed_in() {
        let provider = DigestProvider::new(None, |bytes| bytes.iter().rev().copied().collect());
        assert_eq!(provider.id_of("a:b"), "a:Yjph");
    }
}
