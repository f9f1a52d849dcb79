//! Checks of access, and what a client's access control list becomes before it is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use rookeeper_jute::{Acl, ErrorCode, Id};

use super::{AuthProvider, DigestProvider, Identity, IpProvider};
use crate::acls::AclList;

/// Lists longer than this are searched for duplicates through a set.
const LINEAR_SEARCH_MAX: usize = 16;

/// Why an access control list cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclRefusal {
    /// InvalidACL.
    Invalid,
    /// A field is null where Java fails on it: MarshallingError.
    Malformed,
}

/// The providers of this server and the switches that bear on access.
#[derive(Debug, Clone)]
pub struct AccessControl {
    providers: Vec<Arc<dyn AuthProvider>>,
    skip_acl: bool,
}

impl Default for AccessControl {
    fn default() -> Self {
        let digest = Arc::new(DigestProvider::default());
        AccessControl::new(vec![Arc::new(IpProvider), digest], false)
    }
}

impl AccessControl {
    /// Access under these providers; with `skip_acl` (`zookeeper.skipACL=yes`) every check passes.
    pub fn new(providers: Vec<Arc<dyn AuthProvider>>, skip_acl: bool) -> Self {
        AccessControl { providers, skip_acl }
    }

    /// The provider of a scheme.
    pub fn provider(&self, scheme: &str) -> Option<&dyn AuthProvider> {
        self.providers.iter().map(|provider| &**provider).find(|p| p.scheme() == scheme)
    }

    /// Whether any bit of `perm` is granted (Java: `checkACL`); `acl` is `None` for a znode that
    /// is open to all.
    ///
    /// # Errors
    /// NoAuth where it is not.
    pub fn check(
        &self,
        acl: Option<&AclList>,
        perm: i32,
        identities: &[Identity],
    ) -> Result<(), ErrorCode> {
        let Some(acl) = acl else { return Ok(()) };
        if self.permits(acl.entries(), perm, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// Whether these identities may read under `acl`: what decides whether a watch event is sent.
    pub fn may_read(&self, acl: Option<&AclList>, identities: &[Identity]) -> bool {
        self.check(acl, rookeeper_jute::data::perms::READ, identities).is_ok()
    }

    fn permits(&self, acl: &[Acl<'_>], perm: i32, identities: &[Identity]) -> bool {
        if self.skip_acl || acl.is_empty() || acl.iter().any(|entry| grants_to_all(entry, perm)) {
            return true;
        }
        if identities.iter().any(|identity| &*identity.scheme == "super") {
            return true;
        }
        acl.iter().filter(|entry| entry.perms & perm != 0).any(|entry| {
            let (Some(scheme), Some(pattern)) = (&entry.id.scheme, &entry.id.id) else {
                return false;
            };
            let Some(provider) = self.provider(scheme) else { return false };
            identities.iter().any(|identity| {
                *identity.scheme == **scheme && provider.matches(&identity.id, pattern)
            })
        })
    }

    /// The list that is stored for a list that a client sends (Java: `fixupACL`): duplicates are
    /// dropped, `auth` becomes the client's own proven identities, all else must be known and
    /// valid.
    ///
    /// # Errors
    /// [`AclRefusal`]: an empty list, an unknown scheme, an id that its scheme does not accept.
    pub fn fix_up<'a>(
        &self,
        acl: Option<Vec<Acl<'a>>>,
        identities: &'a [Identity],
    ) -> Result<Vec<Acl<'a>>, AclRefusal> {
        let acl = without_duplicates(acl.unwrap_or_default())?;
        if acl.is_empty() {
            return Err(AclRefusal::Invalid);
        }
        if acl.iter().all(|entry| is_anyone(&entry.id)) {
            return Ok(acl);
        }
        let mut fixed = Vec::with_capacity(acl.len());
        for entry in acl {
            let scheme = entry.id.scheme.as_deref().ok_or(AclRefusal::Invalid)?;
            if scheme == "auth" {
                self.push_own_identities(entry.perms, identities, &mut fixed)?;
                continue;
            }
            if scheme == "world" && entry.id.id.is_none() {
                return Err(AclRefusal::Malformed);
            }
            if !is_anyone(&entry.id) {
                let provider = self.provider(scheme).ok_or(AclRefusal::Invalid)?;
                let id = entry.id.id.as_deref().ok_or(AclRefusal::Malformed)?;
                if !provider.is_valid(id) {
                    return Err(AclRefusal::Invalid);
                }
            }
            fixed.push(entry);
        }
        Ok(fixed)
    }

    fn push_own_identities<'a>(
        &self,
        perms: i32,
        identities: &'a [Identity],
        fixed: &mut Vec<Acl<'a>>,
    ) -> Result<(), AclRefusal> {
        let len = fixed.len();
        for identity in identities {
            if self.provider(&identity.scheme).is_some_and(|p| p.is_authenticated()) {
                fixed.push(Acl { perms, id: Id::new(&identity.scheme, &identity.id) });
            }
        }
        if fixed.len() == len { Err(AclRefusal::Invalid) } else { Ok(()) }
    }
}

fn is_anyone(id: &Id<'_>) -> bool {
    id.scheme.as_deref() == Some("world") && id.id.as_deref() == Some("anyone")
}

fn grants_to_all(entry: &Acl<'_>, perm: i32) -> bool {
    entry.perms & perm != 0 && is_anyone(&entry.id)
}

/// Drops what stands earlier already. Java compares permissions, then scheme, then id, and fails
/// on a null that it has to compare.
fn without_duplicates(acl: Vec<Acl<'_>>) -> Result<Vec<Acl<'_>>, AclRefusal> {
    if acl.len() <= 1 {
        return Ok(acl);
    }
    if acl.len() > LINEAR_SEARCH_MAX {
        return without_duplicates_of_many(acl);
    }
    let mut kept: Vec<Acl<'_>> = Vec::with_capacity(acl.len());
    for entry in acl {
        let mut duplicate = false;
        for earlier in kept.iter().filter(|earlier| earlier.perms == entry.perms) {
            let scheme = entry.id.scheme.as_deref().ok_or(AclRefusal::Malformed)?;
            if earlier.id.scheme.as_deref() != Some(scheme) {
                continue;
            }
            let id = entry.id.id.as_deref().ok_or(AclRefusal::Malformed)?;
            duplicate |= earlier.id.id.as_deref() == Some(id);
        }
        if !duplicate {
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// The same in n log n steps, so that a list of a megabyte holds nobody up. Nulls are refused
/// outright: Java fails on nearly all of them here, and a list like this is no mistake.
fn without_duplicates_of_many(acl: Vec<Acl<'_>>) -> Result<Vec<Acl<'_>>, AclRefusal> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::with_capacity(acl.len());
    for (index, entry) in acl.iter().enumerate() {
        let scheme = entry.id.scheme.as_deref().ok_or(AclRefusal::Malformed)?;
        let id = entry.id.id.as_deref().ok_or(AclRefusal::Malformed)?;
        if seen.insert((entry.perms, scheme, id)) {
            kept.push(index);
        }
    }
    let mut kept = kept.into_iter().peekable();
    let unique = acl.iter().enumerate().filter(|(index, _)| kept.next_if_eq(index).is_some());
    Ok(unique.map(|(_, entry)| entry.clone()).collect())
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::data::perms::{ADMIN, ALL, READ, WRITE};

    use super::*;

    fn acl<'a>(perms: i32, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl { perms, id: Id::new(scheme, id) }
    }

    fn identities() -> Vec<Identity> {
        vec![
            Identity::new("ip", "10.0.0.1"),
            Identity::new("digest", "bob:xyz"),
            Identity::new("digest", "eve:abc"),
        ]
    }

    #[test]
    fn access_is_granted_by_any_entry_that_fits() {
        let access = AccessControl::default();
        let check = |entries: Vec<Acl<'static>>, perm, ids: &[Identity]| {
            access.check(Some(&AclList::new(entries)), perm, ids)
        };
        let ids = identities();
        let no = Err(ErrorCode::NoAuth);
        assert_eq!(access.check(None, ALL, &[]), Ok(()));
        assert_eq!(check(vec![], ALL, &[]), Ok(()));
        assert_eq!(check(vec![acl(READ, "world", "anyone")], READ, &[]), Ok(()));
        assert_eq!(check(vec![acl(READ, "world", "anyone")], WRITE, &ids), no);
        assert_eq!(check(vec![acl(ALL, "world", "someone")], READ, &ids), no);
        assert_eq!(check(vec![acl(WRITE, "digest", "bob:xyz")], WRITE, &ids), Ok(()));
        assert_eq!(check(vec![acl(WRITE, "digest", "bob:xy")], WRITE, &ids), no);
        assert_eq!(check(vec![acl(WRITE, "ip", "10.0.0.0/8")], WRITE, &ids), Ok(()));
        assert_eq!(check(vec![acl(WRITE, "nobody", "knows")], WRITE, &ids), no);
        assert_eq!(check(vec![acl(ADMIN, "ip", "10.0.0.1")], READ | ADMIN, &ids), Ok(()));
        let root = [Identity::new("super", "")];
        assert_eq!(check(vec![acl(0, "digest", "a:b")], WRITE, &root), Ok(()));
        let skipping = AccessControl::new(vec![], true);
        let closed = AclList::new([acl(0, "digest", "a:b")]);
        assert_eq!(skipping.check(Some(&closed), WRITE, &[]), Ok(()));
        assert!(!access.may_read(Some(&closed), &ids) && access.may_read(None, &[]));
    }

    #[test]
    fn auth_stands_for_every_proven_identity() {
        let access = AccessControl::default();
        let ids = identities();
        let fixed = access.fix_up(Some(vec![acl(READ, "auth", "ignored")]), &ids);
        let want = vec![acl(READ, "digest", "bob:xyz"), acl(READ, "digest", "eve:abc")];
        assert_eq!(fixed, Ok(want));
        let only_ip = [Identity::new("ip", "10.0.0.1"), Identity::new("super", "")];
        let fixed = access.fix_up(Some(vec![acl(READ, "auth", "")]), &only_ip);
        assert_eq!(fixed, Err(AclRefusal::Invalid));
    }

    #[test]
    fn lists_that_say_nothing_or_name_nobody_are_invalid() {
        let access = AccessControl::default();
        assert_eq!(access.fix_up(None, &[]), Err(AclRefusal::Invalid));
        for list in [
            vec![],
            vec![acl(ALL, "world", "someone")],
            vec![acl(ALL, "digest", "nocolon")],
            vec![acl(ALL, "ip", "1.2.3")],
            vec![acl(ALL, "sasl", "bob")],
            vec![acl(ALL, "super", "")],
            vec![acl(ALL, "world", "anyone"), acl(ALL, "", "")],
        ] {
            assert_eq!(
                access.fix_up(Some(list.clone()), &[]),
                Err(AclRefusal::Invalid),
                "{list:?}"
            );
        }
    }

    #[test]
    fn nulls_are_malformed_where_java_fails_on_them() {
        let access = AccessControl::default();
        let null_id = |perms, scheme| Acl { perms, id: Id { scheme, id: None } };
        let fix_up = |list| access.fix_up(Some(list), &[]);
        assert_eq!(fix_up(vec![null_id(1, None)]), Err(AclRefusal::Invalid));
        assert_eq!(fix_up(vec![null_id(1, Some("world".into()))]), Err(AclRefusal::Malformed));
        assert_eq!(fix_up(vec![null_id(1, Some("digest".into()))]), Err(AclRefusal::Malformed));
        assert_eq!(fix_up(vec![null_id(1, Some("sasl".into()))]), Err(AclRefusal::Invalid));
        let list = vec![acl(1, "world", "anyone"), null_id(1, None)];
        assert_eq!(fix_up(list), Err(AclRefusal::Malformed));
        let list = vec![acl(1, "world", "anyone"), null_id(2, None)];
        assert_eq!(fix_up(list), Err(AclRefusal::Invalid));
    }

    #[test]
    fn duplicates_go_and_order_stays() {
        let access = AccessControl::default();
        let few = vec![
            acl(1, "ip", "::1"),
            acl(1, "world", "anyone"),
            acl(1, "ip", "::1"),
            acl(2, "ip", "::1"),
            acl(1, "world", "anyone"),
        ];
        let want = vec![acl(1, "ip", "::1"), acl(1, "world", "anyone"), acl(2, "ip", "::1")];
        assert_eq!(access.fix_up(Some(few.clone()), &[]), Ok(want.clone()));
        let many: Vec<_> = few.iter().cycle().take(1000).cloned().collect();
        assert_eq!(access.fix_up(Some(many), &[]), Ok(want));
    }
}
