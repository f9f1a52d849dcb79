//! Changes of the ensemble, and what they open, close and write down.

use std::net::TcpStream;

use rookeeper_jute::OpCode;
use rookeeper_jute::proto::ReconfigRequest;

use crate::bed::{Ensemble, free_ports};
use crate::common::{Client, four_letter_word, wait_until};

#[test]
fn a_reconfiguration_moves_a_client_port_and_is_written_down() {
    let mut ensemble = Ensemble::new(3, "reconfigEnabled=true\nskipACL=yes");
    ensemble.keeps_config = true;
    for id in 1..=3 {
        ensemble.start(id);
    }
    ensemble.wait_for_leader();
    let mut client = Client::connect(ensemble.address(1));
    let before = ensemble.address(2);
    ensemble.places[1].client = free_ports(1)[0];
    let joining = ensemble.line(2);
    let request = ReconfigRequest {
        joining_servers: Some(joining.as_str().into()),
        leaving_servers: None,
        new_members: None,
        cur_config_id: -1,
    };
    let reply = client.call(OpCode::Reconfig, &request);
    assert_eq!(reply.header.err, 0);
    let version = reply.header.zxid.0;
    let shown = client.get("/zookeeper/config", false).data().unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains(&format!("{joining}\n")), "{shown}");
    assert!(shown.ends_with(&format!("\nversion={version:x}")), "{shown}");
    wait_until("the new client port", || TcpStream::connect(ensemble.address(2)).is_ok());
    wait_until("the end of the old one", || TcpStream::connect(before).is_err());
    let mut moved = Client::connect(ensemble.address(2));
    assert_eq!(moved.create("/there", b"", 0).header.err, 0);
    for id in 1..=3 {
        let dynamic = ensemble.home(id).join(format!("zoo.cfg.dynamic.{version:x}"));
        wait_until("the dynamic file", || dynamic.exists());
        let named = format!("dynamicConfigFile={}\n", dynamic.display());
        let config = || std::fs::read_to_string(ensemble.home(id).join("zoo.cfg")).unwrap();
        wait_until("its name in zoo.cfg", || config().ends_with(&named));
        let text = config();
        assert!(!text.contains("server.") && text.contains("skipACL=yes\n"), "{text}");
        assert!(ensemble.home(id).join("zoo.cfg.bak").exists());
    }
    ensemble.stop(2);
    ensemble.start(2);
    ensemble.wait_for_leader();
    Client::connect(ensemble.address(2));
    ensemble.wait_for_equal_trees();
}

#[test]
fn a_member_without_a_client_port_votes_and_gets_one_by_a_reconfiguration() {
    let mut ensemble = Ensemble::new(3, "reconfigEnabled=true\nskipACL=yes");
    ensemble.keeps_config = true;
    ensemble.without_client.insert(2);
    ensemble.start(1);
    ensemble.start(2);
    ensemble.wait_for_leader();
    assert_eq!(ensemble.servers[1].as_ref().unwrap().local_addr().port(), 0);
    assert!(TcpStream::connect(ensemble.address(2)).is_err());
    let mut client = Client::connect(ensemble.address(1));
    assert_eq!(client.create("/by-two", b"", 0).header.err, 0);
    let shown = four_letter_word(ensemble.address(1), "conf");
    ensemble.without_client.clear();
    let joining = ensemble.line(2);
    assert!(!shown.contains(&joining), "{shown}");
    let request = ReconfigRequest {
        joining_servers: Some(joining.as_str().into()),
        leaving_servers: None,
        new_members: None,
        cur_config_id: -1,
    };
    assert_eq!(client.call(OpCode::Reconfig, &request).header.err, 0);
    wait_until("the client port", || TcpStream::connect(ensemble.address(2)).is_ok());
    assert!(Client::connect(ensemble.address(2)).exists("/by-two"));
    ensemble.stop(2);
    ensemble.start(2);
    ensemble.wait_for_leader();
    Client::connect(ensemble.address(2));
}

#[test]
fn a_server_leaves_the_ensemble_and_the_others_go_on() {
    let mut ensemble = Ensemble::new(3, "reconfigEnabled=true\nskipACL=yes");
    ensemble.keeps_config = true;
    for id in 1..=3 {
        ensemble.start(id);
    }
    let leader = ensemble.wait_for_leader();
    let stays = (1..=3).find(|id| *id != leader).unwrap();
    let mut client = Client::connect(ensemble.address(stays));
    let leaving = leader.to_string();
    let request = ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some(leaving.as_str().into()),
        new_members: None,
        cur_config_id: -1,
    };
    let sent = client.send(OpCode::Reconfig, &request);
    // The leader leaves: the answer may go with the connection.
    if let Some(frame) = client.read_frame() {
        assert_eq!(frame[..4], sent.0.to_be_bytes());
    }
    ensemble.stop(leader);
    let next = ensemble.wait_for_leader();
    assert_ne!(next, leader);
    let mut client = Client::connect(ensemble.address(next));
    assert_eq!(client.create("/after", b"", 0).header.err, 0);
    let shown = client.get("/zookeeper/config", false).data().unwrap();
    let gone = format!("server.{leader}=");
    assert!(!String::from_utf8(shown).unwrap().contains(&gone));
}

#[test]
fn an_observer_that_leaves_follows_without_a_vote() {
    let mut ensemble = Ensemble::new(4, "reconfigEnabled=true\nskipACL=yes");
    ensemble.keeps_config = true;
    ensemble.observers.insert(4);
    for id in 1..=4 {
        ensemble.start(id);
    }
    let leader = ensemble.wait_for_leader();
    let word = |id, word| four_letter_word(ensemble.address(id), word);
    assert!(word(4, "conf").contains("\npeerType=1\n"));
    let mut client = Client::connect(ensemble.address(1));
    let request = ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some("4".into()),
        new_members: None,
        cur_config_id: -1,
    };
    assert_eq!(client.call(OpCode::Reconfig, &request).header.err, 0);
    wait_until("the other role", || word(4, "srvr").contains("\nMode: follower\n"));
    let conf = word(4, "conf");
    assert!(conf.contains("\npeerType=0\n") && !conf.contains("\nserver.4="), "{conf}");
    let at_leader = || word(leader, "mntr").contains("zk_synced_non_voting_followers\t1\n");
    wait_until("the leader to count it", at_leader);
    assert_eq!(Client::connect(ensemble.address(4)).create("/by-four", b"", 0).header.err, 0);
}
