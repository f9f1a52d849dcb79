//! Ensembles of real processes set up in every way that ZooKeeper's users know: groups and weights,
//! IPv6, two addresses a server, an oracle for two, and a server that stood alone before.

use rookeeper_interop::ensemble::client::Client;
use rookeeper_interop::ensemble::harness::{Ensemble, Plan};
use rookeeper_interop::ensemble::load::{Amount, Load, create, equal_trees};
use rookeeper_interop::ensemble::member::Mode;
use rookeeper_interop::ensemble::network::Network;
use rookeeper_interop::ensemble::program::{JAVA, Program};
use rookeeper_interop::ensemble::scenario::{self, plan};
use rookeeper_interop::request;
use rookeeper_interop::server::{java_wanted, scratch};
use std::fs;

/// Writes through a member, on a session of a moment.
fn write(ensemble: &Ensemble, index: usize, path: &str) {
    let mut client = Client::of_one(ensemble.members[index].address);
    create(&mut client, path, path.as_bytes());
    client.ask(request::close_session());
}

/// Ends a load, and finds everything as it must be.
fn finish(load: Load, ensemble: &mut Ensemble) {
    let summary = load.finish(ensemble);
    println!("{summary:?}");
    assert_eq!(summary.expired, 0, "sessions expired: {summary:?}");
}

/// Three groups of three, in the first of which one server outweighs the two others. With a whole
/// group and three more servers gone, two groups are still there by weight; four servers that carry
/// one group alone are no quorum.
fn groups_and_weights(programs: Vec<Program>) {
    let mut plan = Plan::new(programs);
    for line in ["group.1=1:2:3", "group.2=4:5:6", "group.3=7:8:9", "weight.1=3"] {
        plan = plan.config(line);
    }
    for server in 2..=9 {
        plan = plan.config(&format!("weight.{server}=1"));
    }
    let mut ensemble = Ensemble::start("groups", plan);
    let load = Load::start(&ensemble.addresses(), &Amount::light());
    load.wait_writes(100);
    for gone in [6, 7, 8, 1, 2, 5] {
        ensemble.members[gone].kill();
    }
    ensemble.wait_serving();
    load.wait_writes(200);
    ensemble.members[0].kill();
    for back in [1, 2] {
        ensemble.launch(back);
    }
    // They find each other, and no quorum: an election among the four never ends.
    ensemble.wait("servers without a quorum to serve nobody", |e| {
        let words = [1, 2, 3, 4].map(|index| e.members[index].word("srvr"));
        words.iter().all(|word| word.as_ref().is_some_and(|text| text.contains("not currently")))
    });
    ensemble.launch_all();
    ensemble.wait_serving();
    load.wait_writes(200);
    finish(load, &mut ensemble);
}

#[test]
fn groups_and_weights_make_quorums() {
    groups_and_weights(vec![Program::ours(); 9]);
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn groups_and_weights_make_quorums_beside_java() {
    if java_wanted() {
        let mut programs = vec![Program::ours(); 9];
        programs[3] = JAVA;
        programs[8] = JAVA;
        groups_and_weights(programs);
    }
}

#[test]
fn members_find_each_other_over_ipv6() {
    let letters = if java_wanted() { "JRR" } else { "RRR" };
    let network = match Network::loopback6(3) {
        Ok(network) => network,
        Err(why) => return eprintln!("SKIPPED: IPv6 is needed ({why})"),
    };
    let plan = plan(letters);
    let mut ensemble = Ensemble::prepare_on("ipv6", plan.clone(), network, scratch("ipv6"));
    ensemble.start_led_by(scenario::first_leader(&plan));
    let load = Load::start(&ensemble.addresses(), &Amount::light());
    load.wait_writes(100);
    let leader = ensemble.wait_leader();
    ensemble.members[leader].kill();
    ensemble.wait_leader();
    load.wait_writes(100);
    ensemble.launch(leader);
    ensemble.wait_serving();
    finish(load, &mut ensemble);
}

/// Two networks, of which the first dies under load, is still dead when all start again, and comes
/// back.
fn two_addresses(letters: &str) {
    let network = match Network::doubled_namespaces(3) {
        Ok(network) => network,
        Err(why) => return eprintln!("SKIPPED: network namespaces are needed ({why})"),
    };
    let lines = (0..3).map(|index| {
        let (first, ports) = (network.host(index), network.ports(index));
        let second = network.second_host(index).expect("each has two");
        let (id, ports) = (index + 1, format!("{}:{}", ports.quorum, ports.election));
        format!("server.{id}={first}:{ports}|{second}:{ports}")
    });
    let lines = lines.collect();
    let plan = plan(letters).config("syncLimit=6").property("zookeeper.multiAddress.enabled=true");
    let mut ensemble = Ensemble::prepare_on("two-addresses", plan, network, scratch("addresses"));
    ensemble.servers = Some(lines);
    ensemble.start_led_by(2);
    let load = Load::start(&ensemble.addresses(), &Amount::light());
    load.wait_writes(100);
    let all_paths = |ensemble: &Ensemble, cut: bool| {
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            ensemble.network.cut(from, to, cut);
        }
    };
    all_paths(&ensemble, true);
    // More than what was on its way: all sessions find members that serve.
    load.wait_writes(200);
    ensemble.wait_serving();
    for index in 0..3 {
        ensemble.members[index].kill();
    }
    ensemble.launch_all();
    ensemble.wait_serving();
    load.wait_writes(100);
    all_paths(&ensemble, false);
    load.wait_writes(100);
    finish(load, &mut ensemble);
}

#[test]
fn the_second_address_serves_where_the_first_is_dead() {
    two_addresses("RRR");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn the_second_address_serves_beside_java() {
    if java_wanted() {
        two_addresses("RJR");
        two_addresses("JRJ");
    }
}

/// Of two servers the one whose oracle says so goes on alone.
#[test]
fn an_oracle_lets_one_of_two_go_on() {
    let mut ensemble = Ensemble::prepare("oracle", plan("RR"));
    let oracles: Vec<_> =
        ensemble.members.iter().map(|member| member.directory.join("oracle")).collect();
    for (member, oracle) in ensemble.members.iter_mut().zip(&oracles) {
        fs::write(oracle, "0").expect("a test directory is writable");
        member.config.push(format!("oraclePath={}", oracle.display()));
    }
    ensemble.launch_all();
    ensemble.wait_serving();
    write(&ensemble, 0, "/both");
    for (gone, stays) in [(0, 1), (1, 0)] {
        ensemble.members[gone].kill();
        ensemble.wait("a server alone to serve nobody", |e| e.members[stays].mode().is_none());
        fs::write(&oracles[stays], "1").expect("a test directory is writable");
        ensemble
            .wait("the oracle's server to lead", |e| e.members[stays].mode() == Some(Mode::Leader));
        write(&ensemble, stays, &format!("/alone{stays}"));
        ensemble.launch(gone);
        ensemble.wait_serving();
        assert_eq!(ensemble.leader(), Some(stays), "the oracle's server leads on");
        fs::write(&oracles[stays], "0").expect("a test directory is writable");
        write(&ensemble, gone, &format!("/again{stays}"));
    }
    let tree = equal_trees(&mut ensemble);
    for path in ["/both", "/alone1", "/again1", "/alone0", "/again0"] {
        assert!(tree.contains_key(path), "{path} is lost");
    }
}

/// A server that stands alone becomes one of three with what it knows, and one of the three stands
/// alone again. `alone` and `together` are what runs then.
fn alone_together_alone(alone: &Program, together: &Program) {
    let mut ensemble = Ensemble::prepare("alone", Plan::new(vec![together.clone(); 3]));
    ensemble.servers = Some(Vec::new());
    ensemble.members[0].program = alone.clone();
    ensemble.launch(0);
    ensemble.wait("it to stand alone", |e| e.members[0].mode() == Some(Mode::Standalone));
    let mut kept = Client::new(&ensemble.addresses(), 0, 60_000);
    create(&mut kept, "/alone", b"first");
    ensemble.members[0].stop();
    ensemble.members[0].program = together.clone();
    ensemble.servers = None;
    // Its history is the longest: who has the tree is elected, and the others get it.
    ensemble.start_led_by(0);
    let load = Load::start(&ensemble.addresses(), &Amount::light());
    load.wait_writes(200);
    finish(load, &mut ensemble);
    kept.disconnect();
    create(&mut kept, "/together", b"second");
    assert!(kept.ask(request::close_session()).is_some_and(|reply| reply.error == 0));
    let before = equal_trees(&mut ensemble);
    for index in 0..3 {
        ensemble.members[index].stop();
    }
    ensemble.servers = Some(Vec::new());
    ensemble.members[1].program = alone.clone();
    ensemble.launch(1);
    ensemble.wait("it to stand alone", |e| e.members[1].mode() == Some(Mode::Standalone));
    let after = equal_trees(&mut ensemble);
    assert!(before == after && after.contains_key("/alone") && after.contains_key("/together"));
    write(&ensemble, 1, "/alone-again");
}

#[test]
fn a_server_alone_becomes_one_of_three_and_back() {
    alone_together_alone(&Program::ours(), &Program::ours());
}

#[test]
fn a_java_alone_becomes_three_rookeepers_and_back() {
    if java_wanted() {
        alone_together_alone(&JAVA, &Program::ours());
    }
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_rookeeper_alone_becomes_three_javas_and_back() {
    if java_wanted() {
        alone_together_alone(&Program::ours(), &JAVA);
    }
}
