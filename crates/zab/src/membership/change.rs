//! What a client's reconfig makes of a configuration (Java: `PrepRequestProcessor`, the case of
//! reconfig).

use core::net::IpAddr;
use std::collections::BTreeMap;

use rookeeper_jute::{ServerId, Zxid};

use super::{Address, Member, Membership, MembershipError, MembershipRules};
use crate::quorum::QuorumRule;

/// A change that a client asks for; all `None` asks for the same configuration anew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// `server.N=...;...` lines, separated by commas: who joins, or comes back in another place.
    pub joining: Option<&'a str>,
    /// Ids, separated by commas: who leaves, before anybody joins.
    pub leaving: Option<&'a str>,
    /// A whole configuration, its lines separated by commas or newlines. The other two mean
    /// nothing beside it.
    pub new_members: Option<&'a str>,
}

impl Membership {
    /// This configuration changed, with the zxid of the change as its version.
    ///
    /// # Errors
    /// Where Java refuses it too; [`MembershipError::is_unreadable`] says with which of two codes.
    pub fn changed(
        &self,
        change: &Change<'_>,
        zxid: Zxid,
        rules: &MembershipRules,
    ) -> Result<Membership, MembershipError> {
        let changed = match change.new_members {
            Some(text) => Membership::parse(&text.replace(',', "\n"), rules)?,
            None => self.increment(change, rules)?,
        };
        let voters_min = if rules.standalone_enabled { 2 } else { 1 };
        if changed.voters().count() < voters_min {
            return Err(MembershipError::TooFewParticipants);
        }
        Ok(changed.with_version(zxid.0))
    }

    fn increment(
        &self,
        change: &Change<'_>,
        rules: &MembershipRules,
    ) -> Result<Membership, MembershipError> {
        if self.rule() != &QuorumRule::Majority {
            return Err(MembershipError::NotMajority);
        }
        let mut members: BTreeMap<ServerId, Member> =
            self.members().map(|(id, member)| (id, member.clone())).collect();
        for id in parts(change.leaving) {
            members.remove(&id_of(id)?);
        }
        for joiner in parts(change.joining) {
            let wrong = || MembershipError::WrongForm(joiner.into());
            let halves: Vec<&str> = joiner.split('=').map(str::trim).collect();
            let halves: Vec<&str> = halves.into_iter().filter(|half| !half.is_empty()).collect();
            let [key, value] = halves[..] else { return Err(wrong()) };
            let id = id_of(key.rsplit('.').next().unwrap_or(key))?;
            let member = Member::parse(value, rules.multi_address_enabled)?;
            if member.client.is_none() {
                return Err(wrong());
            }
            let others = members.iter().filter(|(other, _)| **other != id);
            if others.into_iter().any(|(_, other)| shares_address(&member, other)) {
                return Err(MembershipError::AddressTaken(value.into()));
            }
            members.insert(id, member);
        }
        Ok(Membership::majority(0, members))
    }
}

/// The parts of a list, without blanks around them and without empty ones.
fn parts(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn id_of(text: &str) -> Result<ServerId, MembershipError> {
    text.parse().map(ServerId).map_err(|_| MembershipError::BadNumber(text.into()))
}

/// Whether two members would listen in one place. Of addresses that every machine has (wildcards,
/// loopback) nothing can be said.
fn shares_address(member: &Member, other: &Member) -> bool {
    let taken: Vec<&Address> = addresses(other).filter(|address| !is_everywhere(address)).collect();
    addresses(member).any(|address| taken.contains(&address))
}

fn addresses(member: &Member) -> impl Iterator<Item = &Address> {
    let peers = member.addresses.iter().flat_map(|address| [&address.quorum, &address.election]);
    peers.chain(&member.client)
}

fn is_everywhere(address: &Address) -> bool {
    match address.host().parse::<IpAddr>() {
        Ok(number) => number.is_unspecified() || number.is_loopback(),
        Err(_) => address.host().eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> MembershipRules {
        MembershipRules::default()
    }

    fn three() -> Membership {
        let text = "server.1=10.0.0.1:2888:3888;2181\nserver.2=10.0.0.2:2888:3888;2181\n\
                    server.3=10.0.0.3:2888:3888;2181\nversion=100000000";
        Membership::parse(text, &rules()).unwrap()
    }

    fn change(joining: &'static str, leaving: &'static str) -> Change<'static> {
        Change { joining: Some(joining), leaving: Some(leaving), new_members: None }
    }

    fn changed(change: Change<'_>) -> Result<String, MembershipError> {
        three().changed(&change, Zxid(0x1_0000_0009), &rules()).map(|next| next.to_string())
    }

    #[test]
    fn servers_leave_before_others_join() {
        let next = changed(change(
            "server.4=10.0.0.3:2888:3888:observer;0.0.0.0:2181, server.2=10.0.0.2:2889:3889;2182",
            " 3 ,",
        ));
        let expected = "server.1=10.0.0.1:2888:3888:participant;0.0.0.0:2181\n\
                        server.2=10.0.0.2:2889:3889:participant;0.0.0.0:2182\n\
                        server.4=10.0.0.3:2888:3888:observer;0.0.0.0:2181\nversion=100000009";
        assert_eq!(next.unwrap(), expected);
        assert_eq!(changed(change("", "9")).unwrap(), changed(change("", "")).unwrap());
    }

    #[test]
    fn a_place_is_given_once() {
        let taken = changed(change("server.4=10.0.0.1:2888:4888;2182", ""));
        assert!(matches!(taken, Err(MembershipError::AddressTaken(_))), "{taken:?}");
        let local = "server.4=127.0.0.1:2888:3888;2183,server.5=127.0.0.1:2888:3888;2183";
        assert!(changed(change(local, "")).is_ok(), "every machine has a loopback address");
    }

    #[test]
    fn what_java_refuses_is_refused_with_its_error() {
        for joining in ["server.4", "server.4=10.0.0.4:2888:3888", "server.4=a:b:c;1", "x=y=z"] {
            let error = changed(change(joining, "")).unwrap_err();
            assert!(matches!(error, MembershipError::WrongForm(_) | MembershipError::BadPort(_)));
        }
        let number = changed(change("server.x=10.0.0.4:2888:3888;2181", "")).unwrap_err();
        assert!(matches!(number, MembershipError::BadNumber(_)));
        let number = changed(change("", "one")).unwrap_err();
        assert!(matches!(number, MembershipError::BadNumber(_)));
        let few = changed(change("", "1,2")).unwrap_err();
        assert!(matches!(few, MembershipError::TooFewParticipants));
    }

    #[test]
    fn a_whole_configuration_takes_the_place_of_the_old_one() {
        let whole = "server.1=10.0.0.1:2888:3888;2181,server.7=10.0.0.7:2888:3888;2181\nversion=5";
        let whole = Change { new_members: Some(whole), ..change("", "1") };
        let next = three().changed(&whole, Zxid(0x1_0000_0009), &rules()).unwrap();
        assert_eq!(next.voters().collect::<Vec<_>>(), [ServerId(1), ServerId(7)]);
        assert_eq!(next.version(), 0x1_0000_0009);
        let bad = Change { new_members: Some("server.x=1"), ..Change::default() };
        let error = three().changed(&bad, Zxid(1), &rules()).unwrap_err();
        assert!(matches!(error, MembershipError::BadNumber(_)), "not a bad argument in Java");
    }

    #[test]
    fn groups_do_not_change_by_increments() {
        let text = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\ngroup.1=1:2:3";
        let groups = Membership::parse(text, &rules()).unwrap();
        let error = groups.changed(&change("", "3"), Zxid(1), &rules()).unwrap_err();
        assert!(matches!(error, MembershipError::NotMajority));
    }
}
