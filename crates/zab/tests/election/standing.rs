//! A change is pending whose new voters have more than everybody who votes in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::quorum::PeerState;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::ElectionInput;
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::{Ensemble, Tally};

use super::network::Network;

/// After this long a server finds that its leader does not lead, and a leader that none of its
/// quorum is there.
const NOTICE_MS: u64 = 1000;

fn membership(voters: &[i64], observers: &[i64], version: i64) -> Arc<Membership> {
    weighted(voters, observers, "", version)
}

/// With lines of groups and weights.
fn weighted(voters: &[i64], observers: &[i64], lines: &str, version: i64) -> Arc<Membership> {
    let line = |id: &i64, role| format!("server.{id}=n{id}:2888:3888:{role}\n");
    let voters = voters.iter().map(|id| line(id, "participant"));
    let observers = observers.iter().map(|id| line(id, "observer"));
    let servers: String = voters.chain(observers).collect();
    let text = format!("{servers}{lines}version={version:x}");
    Arc::new(Membership::parse(&text, &MembershipRules::default()).expect("a good text"))
}

/// Servers 2, 3 and 4 vote in force, and 1, 2, 4 and 5 in the change. Of each: the counter of the
/// last zxid of epoch 8, and whether it has seen the change.
fn ensemble(seed: u64, servers: &[(i64, i64, bool)]) -> Network {
    let mut network = changing(seed, (&[2, 3, 4], &[]), &[1, 2, 4, 5], servers);
    for (id, ..) in servers {
        network.start(ServerId(*id));
    }
    network
}

/// In force are voters and observers.
fn changing(
    seed: u64,
    in_force: (&[i64], &[i64]),
    proposed: &[i64],
    servers: &[(i64, i64, bool)],
) -> Network {
    let committed = membership(in_force.0, in_force.1, 0x13d);
    between(seed, &committed, &membership(proposed, &[], 0x140), servers)
}

fn between(
    seed: u64,
    committed: &Arc<Membership>,
    proposed: &Arc<Membership>,
    servers: &[(i64, i64, bool)],
) -> Network {
    let known = |&(id, _, knows): &(i64, i64, bool)| {
        let last_seen = if knows { proposed } else { committed };
        (ServerId(id), Ensemble::with_last_seen(committed.clone(), last_seen.clone()))
    };
    let ensembles: BTreeMap<ServerId, Ensemble> = servers.iter().map(known).collect();
    let mut network = Network::of(seed, ensembles);
    for (id, counter, _) in servers {
        let member = network.members.get_mut(&ServerId(*id)).expect("it was given");
        (member.zxid, member.epoch) = (Zxid(8 << 32 | counter), 8);
    }
    network
}

/// Does what leaders and learners do, until somebody leads with its quorums and all who may
/// follow it do. Nobody has more than a leader whose epoch begins.
fn settle(network: &mut Network, servers: &[ServerId]) -> ServerId {
    let mut led = None;
    while network.now_ms < 30_000 {
        network.run(network.now_ms + 1);
        let leads = |id: &ServerId| network.members[id].election.state() == PeerState::Leading;
        let leaders: Vec<ServerId> = servers.iter().copied().filter(leads).collect();
        for leader in leaders {
            led = lead(network, leader, servers).or(led);
        }
        for id in servers {
            let member = &network.members[id];
            let late = network.now_ms > member.good_ms + NOTICE_MS;
            let alone = member.synchronised.is_none() && member.election.leader().is_some();
            if late && alone {
                network.look(*id);
            }
        }
        if let Some(leader) = led {
            let follows = |id: &&ServerId| network.members[id].synchronised.is_some();
            if servers.iter().filter(follows).count() == servers.len() {
                return leader;
            }
        }
    }
    panic!("nobody leads everybody: {led:?}\n{}", network.states());
}

/// Discovery of one leader. Returns it where its epoch begins, or has begun.
fn lead(network: &mut Network, leader: ServerId, servers: &[ServerId]) -> Option<ServerId> {
    let own = &network.members[&leader];
    let (history, begun) = ((own.epoch, own.zxid), own.synchronised);
    let ensemble = own.election.ensemble().clone();
    let follows = |id: &&ServerId| network.members[id].election.leader() == Some(leader);
    let followers: Vec<ServerId> = servers.iter().filter(follows).copied().collect();
    let has_more = |id: &ServerId| {
        let member = &network.members[id];
        (member.epoch, member.zxid) > history
    };
    if begun.is_none() {
        if followers.iter().any(|id| has_more(id) && ensemble.is_voter(*id)) {
            for id in followers {
                network.look(id);
            }
            return None;
        }
        let mut tally = Tally::new(&ensemble);
        for id in followers.iter().filter(|id| !has_more(id)) {
            tally.add(*id);
        }
        if !tally.is_quorum(Default::default()) {
            return None;
        }
    }
    let term = begun.unwrap_or((1, history.0 + 1));
    for id in followers {
        let member = network.members.get_mut(&id).expect("it follows");
        if member.synchronised.is_none() {
            (member.synchronised, member.epoch, member.zxid) = (Some(term), term.1, history.1);
            network.elect(id, ElectionInput::Synchronised { epoch: term.1 });
        }
    }
    Some(leader)
}

#[test]
fn voters_in_force_that_know_nothing_of_the_change_go_on_without_it() {
    let servers = [
        (1, 0x141, true),
        (2, 0x140, true),
        (3, 0x13f, false),
        (4, 0x13f, false),
        (5, 0x141, true),
    ];
    let ids: Vec<ServerId> = (1..=5).map(ServerId).collect();
    for seed in 1..=50 {
        let mut network = ensemble(seed, &servers);
        assert_eq!(settle(&mut network, &ids), ServerId(4), "seed {seed}");
    }
}

#[test]
fn a_new_voter_leads_where_a_quorum_in_force_knows_of_the_change() {
    let servers =
        [(1, 0x141, true), (2, 0x140, true), (3, 0x140, true), (4, 0x13f, false), (5, 0x141, true)];
    // Server 4 does not know where its leader is until the change is in force.
    let ids: Vec<ServerId> = [1, 2, 3, 5].map(ServerId).into();
    for seed in 1..=50 {
        let mut network = ensemble(seed, &servers);
        let leader = settle(&mut network, &ids);
        assert!([ServerId(1), ServerId(5)].contains(&leader), "seed {seed}: {leader}");
    }
}

#[test]
fn nobody_stands_where_the_voters_in_force_have_as_much() {
    let servers =
        [(1, 0x140, true), (2, 0x141, true), (3, 0x140, true), (4, 0x140, true), (5, 0x140, true)];
    let ids: Vec<ServerId> = (1..=5).map(ServerId).collect();
    let mut network = ensemble(1, &servers);
    assert_eq!(settle(&mut network, &ids), ServerId(2));
    assert!(network.now_ms < 1000, "{} ms", network.now_ms);
}

/// Servers 5 and 6 vote in force, and it weighs nothing: nobody takes up their votes, and they have
/// as much as server 4 and higher ids. The change needs one of them.
#[test]
fn who_has_no_weight_in_force_votes_for_another_one_where_a_change_needs_it() {
    let groups = "group.1=2\ngroup.2=3:5:8\ngroup.3=4:6\n";
    let weights = "weight.2=2\nweight.3=1\nweight.4=2\nweight.5=0\nweight.6=0\nweight.8=2\n";
    let committed = weighted(&[2, 3, 4, 5, 6, 8], &[], &format!("{groups}{weights}"), 0x13d);
    let groups = "group.1=2\ngroup.2=5:8\ngroup.3=6\n";
    let weights = "weight.2=3\nweight.5=2\nweight.6=3\nweight.8=1\n";
    let proposed = weighted(&[2, 5, 6, 8], &[], &format!("{groups}{weights}"), 0x140);
    let servers = [
        (2, 0x139, false),
        (3, 0x132, false),
        (4, 0x140, true),
        (5, 0x140, true),
        (6, 0x140, true),
        (8, 0x13f, false),
    ];
    let ids = servers.map(|(id, ..)| ServerId(id));
    for seed in 1..=20 {
        let mut network = between(seed, &committed, &proposed, &servers);
        ids.iter().for_each(|id| network.start(*id));
        assert_eq!(settle(&mut network, &ids), ServerId(4), "seed {seed}");
    }
}

#[test]
fn who_stands_gives_up_when_somebody_in_force_comes_that_has_as_much() {
    let servers = [(1, 0x165, true), (2, 0x159, false), (4, 0x157, false), (5, 0x165, true)];
    for seed in 1..=50 {
        let mut network = changing(seed, (&[1, 2], &[]), &[1, 4, 5], &servers);
        for id in [2, 4, 5] {
            network.start(ServerId(id));
        }
        network.run(3000);
        network.start(ServerId(1));
        let ids = [1, 2, 5].map(ServerId);
        assert_eq!(settle(&mut network, &ids), ServerId(1), "seed {seed}");
        assert!(network.now_ms < 5500, "seed {seed}: {} ms", network.now_ms);
    }
}

#[test]
fn who_stands_in_vain_lets_others_try() {
    // The first votes for who stands, and the second cannot: both are needed.
    let servers = [(1, 0x165, true), (2, 0x159, false), (4, 0x157, true), (5, 0x166, true)];
    for seed in 1..=20 {
        let mut network = changing(seed, (&[1, 2], &[]), &[1, 4, 5], &servers);
        for id in [1, 4, 5] {
            network.start(ServerId(id));
        }
        network.run(2500);
        assert_eq!(network.leaders(), [], "seed {seed}");
        network.start(ServerId(2));
        let leads = |network: &Network| network.leaders() == [ServerId(1)];
        while !leads(&network) && network.now_ms < 20_000 {
            network.run(network.now_ms + 10);
        }
        assert!(leads(&network), "seed {seed}\n{}", network.states());
    }
}

#[test]
fn an_observer_that_is_to_vote_elects_nobody_that_has_less() {
    // Servers 1, 2 and 6 have a quorum in force, and with the observer's vote one of the change.
    let servers =
        [(1, 0x159, true), (2, 0x159, true), (3, 0x165, true), (4, 0, true), (6, 0x159, true)];
    let ids = [1, 2, 3, 6].map(ServerId);
    for seed in 1..=50 {
        let mut network = changing(seed, (&[1, 2, 6], &[3]), &[3, 4, 6], &servers);
        for id in ids {
            network.start(id);
        }
        assert_eq!(settle(&mut network, &ids), ServerId(3), "seed {seed}");
    }
}
