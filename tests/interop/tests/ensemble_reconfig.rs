//! Reconfigurations of real processes whose configuration files are their own: files written by
//! hand, servers that come, go, and come again with the file they had.

use rookeeper_interop::ensemble::client::Client;
use rookeeper_interop::ensemble::digests;
use rookeeper_interop::ensemble::harness::Ensemble;
use rookeeper_interop::ensemble::load::{create, equal_trees};
use rookeeper_interop::ensemble::member::Mode;
use rookeeper_interop::ensemble::scenario::plan;
use rookeeper_interop::ensemble::tree::read_data;
use rookeeper_interop::request::{self, text};
use rookeeper_interop::server::java_wanted;
use rookeeper_interop::wire::opcode;
use std::fs;
use std::path::PathBuf;

/// A member's line in a dynamic file.
fn line(ensemble: &Ensemble, index: usize) -> String {
    let ports = ensemble.network.ports(index);
    let (id, host) = (index + 1, ensemble.network.host(index));
    let (quorum, election, client) = (ports.quorum, ports.election, ports.client);
    format!("server.{id}={host}:{quorum}:{election}:participant;{host}:{client}")
}

fn dynamic_file(ensemble: &Ensemble, index: usize) -> PathBuf {
    ensemble.members[index].directory.join("zoo.cfg.dynamic")
}

/// What a member shows as the configuration.
fn shown(ensemble: &Ensemble, index: usize) -> String {
    let mut client = Client::of_one(ensemble.members[index].address);
    let path = text("/zookeeper/config");
    let reply = client.ask(request::read(opcode::GET_DATA, &path, false)).expect("an answer");
    assert_eq!(reply.error, 0);
    let (data, _) = read_data(&reply.body).expect("data and Stat");
    client.ask(request::close_session());
    String::from_utf8(data.unwrap_or_default()).expect("text")
}

/// Asks a member for a change, and returns the version of the new configuration.
fn reconfigure(ensemble: &Ensemble, through: usize, joining: &str, leaving: &str) -> String {
    let mut client = Client::of_one(ensemble.members[through].address);
    let some = |words: &str| (!words.is_empty()).then(|| words.as_bytes().to_vec());
    let request = request::reconfig(&some(joining), &some(leaving), &None, -1);
    let reply = client.ask(request).expect("an answer");
    assert_eq!(reply.error, 0, "reconfig +{joining} -{leaving}");
    client.ask(request::close_session());
    format!("{:x}", reply.zxid)
}

/// Waits until these members show the version, and their files name it.
fn wait_version(ensemble: &mut Ensemble, members: &[usize], version: &str) {
    let last = format!("version={version}");
    ensemble.wait("the new version at all", |e| {
        members.iter().all(|index| shown(e, *index).ends_with(&last))
    });
    ensemble.wait("the new version in all files", |e| {
        members.iter().all(|index| {
            let directory = &e.members[*index].directory;
            let config = fs::read_to_string(directory.join("zoo.cfg")).unwrap_or_default();
            let dynamic = format!("zoo.cfg.dynamic.{version}");
            config.lines().any(|line| line.ends_with(&dynamic)) && directory.join(dynamic).exists()
        })
    });
}

fn write(ensemble: &Ensemble, index: usize, path: &str) {
    let mut client = Client::of_one(ensemble.members[index].address);
    create(&mut client, path, b"");
    client.ask(request::close_session());
}

/// Three servers on dynamic files written by hand, without a version; a fourth joins, all start
/// again from the files that the servers wrote; the fourth is removed while it is down, starts with
/// its old file, in which it votes, disturbs nobody, and joins again.
fn comes_goes_and_comes_again(letters: &str) {
    let plan = plan(letters).config("reconfigEnabled=true").property("zookeeper.skipACL=yes");
    let mut ensemble = Ensemble::prepare("reconfig", plan);
    ensemble.servers = Some(Vec::new());
    let lines: Vec<String> = (0..4).map(|index| line(&ensemble, index)).collect();
    for index in 0..4 {
        let known = if index == 3 { 4 } else { 3 };
        let dynamic = dynamic_file(&ensemble, index);
        fs::write(&dynamic, lines[..known].join("\n") + "\n").expect("a writable directory");
        let member = &mut ensemble.members[index];
        member.keeps_config = true;
        member.config.push(format!("dynamicConfigFile={}", dynamic.display()));
    }
    for index in 0..3 {
        ensemble.launch(index);
    }
    ensemble.wait_serving();
    write(&ensemble, 0, "/first");
    ensemble.launch(3);
    ensemble.wait_serving();
    assert_eq!(ensemble.members[3].mode(), Some(Mode::Follower), "it follows, and has no vote");
    let version = reconfigure(&ensemble, 0, &lines[3], "");
    wait_version(&mut ensemble, &[0, 1, 2, 3], &version);
    assert!(shown(&ensemble, 1).contains(&format!("{}\n", lines[3])));
    for index in 0..4 {
        ensemble.members[index].stop();
        ensemble.launch(index);
        ensemble.wait_serving();
        write(&ensemble, index, &format!("/restarted{index}"));
    }
    wait_version(&mut ensemble, &[0, 1, 2, 3], &version);
    ensemble.members[3].kill();
    ensemble.wait_serving();
    let version = reconfigure(&ensemble, 1, "", "4");
    wait_version(&mut ensemble, &[0, 1, 2], &version);
    assert!(!shown(&ensemble, 0).contains("server.4="));
    let leader = ensemble.wait_leader();
    ensemble.launch(3);
    ensemble.wait_serving();
    assert_eq!(ensemble.leader(), Some(leader), "it disturbs nobody");
    assert_eq!(ensemble.members[3].mode(), Some(Mode::Follower), "it follows, and has no vote");
    write(&ensemble, 0, "/without-it");
    let version = reconfigure(&ensemble, 2, &lines[3], "");
    wait_version(&mut ensemble, &[0, 1, 2, 3], &version);
    write(&ensemble, 3, "/with-it");
    let tree = equal_trees(&mut ensemble);
    for path in ["/first", "/restarted0", "/restarted3", "/without-it", "/with-it"] {
        assert!(tree.contains_key(path), "{path} is lost");
    }
    digests::compare(&ensemble).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_server_comes_goes_and_comes_again_with_its_old_file() {
    comes_goes_and_comes_again("RRRR");
}

#[test]
#[ignore = "minutes in all: scripts/test.sh matrix"]
fn a_server_comes_goes_and_comes_again_beside_java() {
    if java_wanted() {
        comes_goes_and_comes_again("JRJR");
        comes_goes_and_comes_again("RJRJ");
    }
}
