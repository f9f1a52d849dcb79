//! Configurations against what Java 3.9.5 makes of the same texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Address, Member, Membership, MembershipRules, PeerAddress, Role};
use rookeeper_zab::quorum::{Ensemble, Oracle, Tally};

const RULES: MembershipRules =
    MembershipRules { standalone_enabled: true, multi_address_enabled: true };

/// A section of the golden file: its name and its lines.
fn sections(case: &str) -> (String, BTreeMap<&str, String>) {
    let mut parts = case.split("---- ");
    let input = parts.next().expect("split yields a part").to_owned();
    let sections = parts.map(|part| {
        let (name, body) = part.split_once('\n').expect("a section has a name");
        (name, body.strip_suffix('\n').unwrap_or(body).to_owned())
    });
    (input, sections.collect())
}

#[test]
fn texts_and_quorums_are_java_s() {
    let golden = include_str!("golden/membership.txt");
    let mut cases = 0;
    for case in golden.split("==== input\n").skip(1) {
        cases += 1;
        let (input, expected) = sections(case);
        let parsed = Membership::parse(&input, &RULES);
        let Some(text) = expected.get("text") else {
            assert!(expected.contains_key("error"));
            assert!(parsed.is_err(), "{input}\nread as\n{parsed:?}");
            continue;
        };
        let membership = parsed.unwrap_or_else(|error| panic!("{input}{error}"));
        assert_eq!(&membership.to_string(), text);
        let again = Membership::parse(text, &RULES).unwrap();
        assert!(!again.differs_from(&membership), "{text}");
        assert_eq!(again.version(), membership.version());
        let Some(quorums) = expected.get("quorums") else { continue };
        let voters: Vec<ServerId> = membership.voters().collect();
        let ours: String = (0..1usize << voters.len())
            .map(|mask| {
                let set = voters.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
                let quorum = membership.contains_quorum(set.map(|(_, id)| *id));
                if quorum { '1' } else { '0' }
            })
            .collect();
        assert_eq!(&ours, quorums, "{input}");
    }
    assert!(cases > 35, "{cases} cases");
}

#[test]
fn negative_weights_are_refused() {
    let text = "server.1=a:1:2\nserver.2=a:3:4\ngroup.1=1:2\nweight.1=-1";
    assert!(Membership::parse(text, &RULES).is_err());
    let text = "server.1=a:1:2\nserver.2=a:3:4\ngroup.1=1:2\nweight.1=9223372036854775807";
    assert!(Membership::parse(text, &RULES).is_err());
}

#[test]
fn standalone_disabled_needs_a_voter_and_allows_observers_beside_one() {
    let rules = MembershipRules { standalone_enabled: false, multi_address_enabled: false };
    assert!(Membership::parse("version=0", &rules).is_err());
    let text = "server.1=a:1:2\nserver.2=a:3:4:observer";
    assert!(Membership::parse(text, &rules).is_ok());
    assert!(Membership::parse("server.1=a:1:2|b:1:2", &rules).is_err());
}

fn member(role: Role) -> Member {
    let address = PeerAddress { quorum: Address::new("a", 1), election: Address::new("a", 2) };
    Member { addresses: vec![address], role, client: None }
}

fn majority(version: i64, voters: &[i64]) -> Arc<Membership> {
    let member = |id: &i64| (ServerId(*id), member(Role::Participant));
    Arc::new(Membership::majority(version, voters.iter().map(member).collect()))
}

#[test]
fn a_pending_configuration_needs_its_own_quorum() {
    let old = majority(1, &[1, 2, 3]);
    let new = majority(2, &[3, 4, 5]);
    let pending = Ensemble::with_last_seen(old.clone(), new.clone());
    let mut tally = Tally::new(&pending);
    for (id, quorum) in [(1, false), (2, false), (4, false), (5, true)] {
        assert!(tally.add(ServerId(id)));
        assert_eq!(tally.is_quorum(Oracle::Absent), quorum, "with {id}");
    }
    assert!(!tally.add(ServerId(9)));
    // The same proposal, seen and committed by now: only the new one counts.
    let mut tally = Tally::new(&Ensemble::with_last_seen(new.clone(), old));
    tally.add(ServerId(1));
    tally.add(ServerId(4));
    assert!(!tally.is_quorum(Oracle::Absent));
    tally.add(ServerId(3));
    assert!(tally.is_quorum(Oracle::Absent));
}

#[test]
fn the_oracle_stands_in_for_one_of_two_only() {
    for (voters, granted) in [(&[1, 2][..], true), (&[1, 2, 3][..], false)] {
        let mut tally = Tally::new(&Ensemble::new(majority(0, voters)));
        tally.add(ServerId(1));
        assert!(!tally.is_quorum(Oracle::Absent));
        assert!(!tally.is_quorum(Oracle::Refuses));
        assert_eq!(tally.is_quorum(Oracle::Grants), granted);
    }
}

/// Nine servers at most: role, group and weight of each.
fn servers() -> impl Strategy<Value = Vec<(bool, usize, i64)>> {
    prop::collection::vec((prop::bool::weighted(0.8), 0..3usize, 0..4i64), 1..8)
}

fn text(servers: &[(bool, usize, i64)], hierarchical: bool) -> String {
    let mut text = String::new();
    for (at, (votes, _, weight)) in servers.iter().enumerate() {
        let (id, role) = (at + 1, if *votes { "participant" } else { "observer" });
        text += &format!("server.{id}=10.0.0.{id}:2888:3888:{role}\n");
        if hierarchical {
            text += &format!("weight.{id}={weight}\n");
        }
    }
    for group in (0..3).filter(|_| hierarchical) {
        let of: Vec<String> = servers
            .iter()
            .enumerate()
            .filter(|(_, server)| server.1 == group)
            .map(|(at, _)| (at + 1).to_string())
            .collect();
        if !of.is_empty() {
            text += &format!("group.{group}={}\n", of.join(":"));
        }
    }
    text
}

/// The definition, written out without any of the crate's shortcuts.
fn oracle(servers: &[(bool, usize, i64)], hierarchical: bool, mask: usize) -> bool {
    let acked = |at: usize| mask >> at & 1 == 1 && servers[at].0;
    let all = 0..servers.len();
    if !hierarchical {
        let voters = all.clone().filter(|at| servers[*at].0).count();
        return 2 * all.filter(|at| acked(*at)).count() > voters;
    }
    let weight = |group: usize, of: &dyn Fn(usize) -> bool| -> i64 {
        all.clone().filter(|at| servers[*at].1 == group && of(*at)).map(|at| servers[at].2).sum()
    };
    let heavy: Vec<usize> = (0..3).filter(|group| weight(*group, &|_| true) > 0).collect();
    let won = heavy.iter().filter(|g| 2 * weight(**g, &acked) > weight(**g, &|_| true)).count();
    2 * won > heavy.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn quorums_are_as_defined_and_intersect(servers in servers(), hierarchical: bool) {
        let rules = MembershipRules { standalone_enabled: false, multi_address_enabled: false };
        let Ok(membership) = Membership::parse(&text(&servers, hierarchical), &rules) else {
            prop_assert!(servers.iter().all(|(votes, ..)| !votes));
            return Ok(());
        };
        let ids = |mask: usize| {
            (1..=servers.len() as i64).filter(move |id| mask >> (id - 1) & 1 == 1).map(ServerId)
        };
        let mut quorums = Vec::new();
        for mask in 0..1usize << servers.len() {
            let ours = membership.contains_quorum(ids(mask));
            prop_assert_eq!(ours, oracle(&servers, hierarchical, mask), "mask {:b}", mask);
            if ours {
                quorums.push(mask);
            }
        }
        for a in &quorums {
            for b in &quorums {
                prop_assert!(a & b != 0, "{:b} and {:b} do not meet", a, b);
            }
        }
        let again = Membership::parse(&membership.to_string(), &rules).unwrap();
        prop_assert!(!again.differs_from(&membership));
    }

    #[test]
    fn no_text_panics(
        text in "(server|group|weight|version|[.=:;|\\[\\]\\\\\n #]|[0-9a-f]){0,60}",
    ) {
        let _ = Membership::parse(&text, &RULES);
        let _ = Member::parse(&text, true);
        let _ = Address::parse(&text);
    }
}
