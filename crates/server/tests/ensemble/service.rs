//! What an ensemble does for its clients, and what becomes of it when servers come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rookeeper_jute::{ErrorCode, OpCode, SessionId};
use rookeeper_replica::ServerState;

use crate::bed::{Busy, Ensemble};
use crate::common::{Client, create, four_letter_word, wait_until};

#[test]
fn three_servers_elect_a_leader_and_each_takes_writes() {
    let ensemble = Ensemble::started(3, "");
    for id in 1..=3 {
        let mut client = Client::connect(ensemble.address(id));
        let path = format!("/from{id}");
        assert_eq!(client.create(&path, b"x", 0).header.err, 0);
        assert_eq!(client.get(&path, false).data().unwrap(), b"x");
    }
    ensemble.wait_for_equal_trees();
    for id in 1..=3 {
        let mut client = Client::connect(ensemble.address(id));
        for other in 1..=3 {
            assert!(client.exists(&format!("/from{other}")), "{other} at {id}");
        }
    }
}

#[test]
fn words_tell_the_roles_and_that_a_server_without_a_leader_does_not_serve() {
    let mut ensemble = Ensemble::new(3, "");
    ensemble.start(1);
    let word = |ensemble: &Ensemble, id, word| four_letter_word(ensemble.address(id), word);
    assert_eq!(word(&ensemble, 1, "ruok"), "imok");
    assert_eq!(word(&ensemble, 1, "isro"), "null");
    for name in ["srvr", "mntr", "conf", "dump", "cons"] {
        assert_eq!(
            word(&ensemble, 1, name),
            "This ZooKeeper instance is not currently serving requests\n",
            "{name}"
        );
    }
    let mut client = Client::connect_later(ensemble.address(1));
    assert_eq!(client.read_frame(), None, "there is no leader to make a session");

    ensemble.start(2);
    ensemble.start(3);
    let leader = ensemble.wait_for_leader();
    Client::connect(ensemble.address(1)).create("/a", b"", 0);
    ensemble.wait_for_equal_trees();
    for id in 1..=3 {
        let (srvr, mntr) = (word(&ensemble, id, "srvr"), word(&ensemble, id, "mntr"));
        let mode = if id == leader { "leader" } else { "follower" };
        assert!(srvr.contains(&format!("\nMode: {mode}\n")), "{srvr}");
        assert_eq!(srvr.contains("\nProposal sizes last/min/max: "), id == leader, "{srvr}");
        assert!(mntr.contains(&format!("\nzk_server_state\t{mode}\n")), "{mntr}");
        assert!(mntr.contains("\nzk_quorum_size\t3\n"), "{mntr}");
        assert_eq!(mntr.contains("\nzk_synced_followers\t2\n"), id == leader, "{mntr}");
        assert_eq!(word(&ensemble, id, "isro"), "rw");
        let conf = word(&ensemble, id, "conf");
        assert!(conf.contains(&format!("\nserverId={id}\n")), "{conf}");
        assert!(conf.contains("\nmembership: \nserver.1=127.0.0.1:"), "{conf}");
        assert!(conf.ends_with("\nversion=0"), "{conf}");
    }
}

/// A figure of `mntr`.
fn figure(ensemble: &Ensemble, id: usize, name: &str) -> u64 {
    let text = four_letter_word(ensemble.address(id), "mntr");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Each figure where Java counts it, and nowhere else.
#[test]
fn mntr_counts_what_an_ensemble_does() {
    let mut ensemble = Ensemble::new(4, "");
    ensemble.observers.insert(4);
    ensemble.flags = "-Dzookeeper.leader.ackLoggingFrequency=1";
    (1..=4).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_for_leader();
    let follower = if leader == 1 { 2 } else { 1 };
    let mut client = Client::connect(ensemble.address(follower));
    for number in 0..10 {
        assert_eq!(client.create(&format!("/n{number}"), b"x", 0).header.err, 0);
    }
    let moved = Client::resume(ensemble.address(4), client.session, &client.password);
    assert_eq!(moved.session, client.session);
    ensemble.wait_for_equal_trees();
    let at_leader = [
        "commit_count",
        "cnt_quorum_ack_latency",
        "revalidate_count",
        "cnt_leader_unavailable_time",
    ];
    let at_followers =
        ["learner_proposal_received_count", "cnt_proposal_latency", "cnt_follower_sync_time"];
    let at_learners = ["learner_commit_received_count", "cnt_commit_propagation_latency"];
    let at_all = ["cnt_propagation_latency", "cnt_unavailable_time"];
    for id in 1..=4 {
        let counts = |names: &[&str], expected: bool| {
            for name in names {
                assert_eq!(figure(&ensemble, id, name) > 0, expected, "{name} at {id}");
            }
        };
        counts(&at_all, true);
        counts(&at_leader, id == leader);
        counts(&at_followers, id != leader && id != 4);
        counts(&at_learners, id != leader);
        counts(&["cnt_proposal_ack_creation_latency"], id != 4);
        counts(&["cnt_observer_sync_time", "connection_revalidate_count"], id == 4);
    }
    let commits = figure(&ensemble, leader, "commit_count");
    assert!(commits >= 11, "a session and ten znodes: {commits}");
    assert_eq!(figure(&ensemble, leader, "cnt_quorum_ack_latency"), commits);
    let acks = |id: usize| {
        let text = four_letter_word(ensemble.address(leader), "mntr");
        let name = format!("zk_cnt_{id}_ack_latency\t");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    // Each commit took two of the three voters at least, this server's own disk included.
    assert!((1..=3).filter_map(acks).sum::<u64>() >= 2 * commits);
    assert_eq!(acks(4), None, "an observer acknowledges nothing");
    // Each was told of each commit at least; the first packet of all is timed.
    let at_leader = four_letter_word(ensemble.address(leader), "mntr");
    let of_queue = |id: usize, name: &str| {
        let name = format!("zk_cnt_{id}_learner_handler_qp_{name}\t");
        at_leader.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    for id in (1..=4).filter(|id| *id != leader) {
        assert!(of_queue(id, "size").is_some_and(|count| count > commits), "{id}");
        assert!(of_queue(id, "time_ms").is_some_and(|count| count >= 1), "{id}");
    }
    assert_eq!(of_queue(leader, "size"), None);
    let at_follower = four_letter_word(ensemble.address(follower), "mntr");
    assert!(!at_follower.contains("_learner_handler_qp_"));
    assert!(!at_follower.contains(&format!("zk_cnt_{leader}_ack_latency")));
    let taken = figure(&ensemble, leader, "diff_count") + figure(&ensemble, leader, "snap_count");
    assert_eq!(taken, 3);
    let inflight = figure(&ensemble, leader, "cnt_inflight_diff_count")
        + figure(&ensemble, leader, "cnt_inflight_snap_count");
    assert_eq!(inflight, 2 * taken, "at the beginning and the end of each");
    four_letter_word(ensemble.address(leader), "srst");
    assert_eq!(figure(&ensemble, leader, "commit_count"), 0);
    assert_eq!(acks(leader), Some(0), "who watches a series goes on seeing it");
}

#[test]
fn a_client_moves_when_its_leader_stops_and_its_ephemeral_stays() {
    let mut ensemble = Ensemble::started(3, "");
    let leader = ensemble.wait_for_leader();
    let mut client = Client::connect(ensemble.address(leader));
    assert_eq!(client.create("/mine", b"", 1).header.err, 0);
    ensemble.stop(leader);
    let next = ensemble.wait_for_leader();
    let other = ensemble.running().into_iter().find(|id| *id != next).unwrap();
    let (session, password) = (client.session, client.password.clone());
    let mut moved = Client::resume(ensemble.address(other), session, &password);
    assert_eq!(moved.session, session);
    assert!(moved.exists("/mine"));
    for index in 0..20 {
        assert_eq!(moved.create(&format!("/n{index}"), b"data", 0).header.err, 0);
    }
    ensemble.start(leader);
    ensemble.wait_for_leader();
    ensemble.wait_for_equal_trees();
    let mut back = Client::resume(ensemble.address(leader), session, &password);
    assert!(back.exists("/mine") && back.exists("/n19"));
    back.close();
    let mut witness = Client::connect(ensemble.address(next));
    wait_until("the ephemeral's end", || !witness.exists("/mine"));
    ensemble.wait_for_equal_trees();
}

/// Stops a follower, writes without it, starts it again and waits until it has everything.
fn catches_up(settings: &str, forget: bool) {
    let mut ensemble = Ensemble::started(3, settings);
    let leader = ensemble.wait_for_leader();
    let follower = ensemble.running().into_iter().find(|id| *id != leader).unwrap();
    let mut client = Client::connect(ensemble.address(leader));
    client.create("/before", b"x", 0);
    ensemble.wait_for_equal_trees();
    ensemble.stop(follower);
    if forget {
        std::fs::remove_dir_all(ensemble.home(follower).join("data/version-2")).unwrap();
    }
    for index in 0..300 {
        assert_eq!(client.create(&format!("/n{index:03}"), &[7; 500], 0).header.err, 0);
    }
    ensemble.start(follower);
    ensemble.wait_for_leader();
    ensemble.wait_for_equal_trees();
    let mut reader = Client::connect(ensemble.address(follower));
    assert!(reader.exists("/before") && reader.exists("/n299"));
    assert_eq!(reader.create("/after", b"", 0).header.err, 0);
    ensemble.wait_for_equal_trees();
    // What was installed is there at the next start as well.
    ensemble.stop(follower);
    client.create("/meanwhile", b"", 0);
    ensemble.start(follower);
    ensemble.wait_for_leader();
    ensemble.wait_for_equal_trees();
}

#[test]
fn a_follower_that_was_away_gets_what_it_missed() {
    catches_up("", false);
}

#[test]
fn a_follower_that_lost_its_disk_gets_everything() {
    catches_up("", true);
}

#[test]
fn a_follower_gets_a_snapshot_where_that_is_asked_for() {
    catches_up("forceSnapshotSync=true", false);
}

/// The settings of a member whose core's thread serves its clients too, and of one that has threads
/// for them.
const THREADS: [&str; 2] = ["nio.numWorkerThreads=1", "nio.numWorkerThreads=3"];

#[test]
fn clients_are_served_by_the_cores_thread_or_by_threads_of_their_own() {
    for settings in THREADS {
        let mut ensemble = Ensemble::started(3, settings);
        let leader = ensemble.wait_for_leader();
        let mut clients: Vec<Client> =
            (1..=3).map(|id| Client::connect(ensemble.address(id))).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.create(&format!("/n{at}"), b"", 0).header.err, 0);
        }
        for client in &mut clients {
            wait_until("what the others wrote", || {
                (0..3).all(|n| client.exists(&format!("/n{n}")))
            });
        }
        let words = (1..=3).map(|id| four_letter_word(ensemble.address(id), "srvr"));
        assert_eq!(words.filter(|text| text.contains("Mode: leader")).count(), 1);
        // Whoever stops sends what is left and closes: its client sees the end at once.
        ensemble.stop(leader);
        assert_eq!(clients[leader - 1].stream.read(&mut [0; 100]).unwrap(), 0);
        ensemble.wait_for_leader();
        ensemble.start(leader);
        ensemble.wait_for_leader();
        assert!(Client::connect(ensemble.address(leader)).exists("/n2"));
    }
}

/// Writes one znode after the other until it is told to stop; says how many.
fn writes(address: SocketAddr, writer: usize, stop: &AtomicBool) -> usize {
    let mut client = Client::connect(address);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(client.create(&format!("/w{writer}-{count}"), b"data", 0).header.err, 0);
        count += 1;
    }
    count
}

/// There a leader's proposals wait for each other; who comes back comes into the middle of that.
#[test]
fn on_a_busy_machine_a_follower_comes_back_while_proposals_gather() {
    const WRITERS: usize = 12;
    let mut ensemble = Ensemble::new(3, "");
    ensemble.process = Arc::new(Busy::default());
    (1..=3).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_for_leader();
    let follower = ensemble.running().into_iter().find(|id| *id != leader).unwrap();
    let others: Vec<_> = ensemble.running().into_iter().filter(|id| *id != follower).collect();
    let stop = AtomicBool::new(false);
    let addresses: Vec<_> = others.iter().map(|id| ensemble.address(*id)).collect();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let (stop, addresses) = (&stop, &addresses);
        let writer = |at: usize| move || writes(addresses[at % addresses.len()], at, stop);
        let writers: Vec<_> = (0..WRITERS).map(|at| scope.spawn(writer(at))).collect();
        // What a machine is like shows after a second.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            ensemble.stop(follower);
            let before = ensemble.tree(leader).0;
            wait_until("writes without it", || ensemble.tree(leader).0 > before + 200);
            ensemble.start(follower);
            wait_until("the follower", || ensemble.state(follower).1);
            let before = ensemble.tree(follower).0;
            wait_until("writes with it", || ensemble.tree(follower).0 > before + 200);
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    ensemble.wait_for_equal_trees();
    let mut reader = Client::connect(ensemble.address(follower));
    for (writer, count) in counts.iter().enumerate() {
        assert!(*count > 0 && reader.exists(&format!("/w{writer}-{}", count - 1)));
    }
}

/// What its learners had asked for and had no room in its pipeline is proposed while a leader
/// stops: nothing else lets it go then.
#[test]
fn a_leader_that_stops_proposes_what_had_waited_for_room() {
    // The leader gives up by itself long after its server does.
    let mut ensemble = Ensemble::new(5, "syncLimit=60");
    ensemble.flags = "-Dzookeeper.request_throttle_max_requests=1";
    (1..=5).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_for_leader();
    let before = ensemble.tree(leader).0;
    let followers = ensemble.running().into_iter().filter(|id| *id != leader);
    // Each forwards one at a time, of which the leader takes up one at a time.
    let _clients: Vec<Client> = followers
        .map(|id| {
            let mut client = Client::connect(ensemble.address(id));
            for number in 0..20_000 {
                client.send(OpCode::Create, &create(&format!("/from{id}-{number}"), b"x", 0));
            }
            client
        })
        .collect();
    wait_until("writes", || ensemble.tree(leader).0 > before + 50);
    let said = ensemble.said_while(|ensemble| ensemble.stop(leader));
    assert!(!said.contains("requests in flight are not answered"), "{said}");
}

#[test]
fn an_observer_serves_and_has_no_vote() {
    let mut ensemble = Ensemble::new(4, "");
    ensemble.observers.insert(4);
    for id in 1..=4 {
        ensemble.start(id);
    }
    ensemble.wait_for_leader();
    assert_eq!(ensemble.state(4), (ServerState::Observing, true));
    let mut client = Client::connect(ensemble.address(4));
    for index in 0..50 {
        assert_eq!(client.create(&format!("/n{index}"), b"", 0).header.err, 0);
    }
    ensemble.wait_for_equal_trees();
    assert!(four_letter_word(ensemble.address(4), "srvr").contains("\nMode: observer\n"));
}

/// Whether a log of a member has these bytes.
fn is_logged(ensemble: &Ensemble, id: usize, text: &str) -> bool {
    let files = std::fs::read_dir(ensemble.home(id).join("data/version-2")).unwrap();
    let mut logs = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log."));
    logs.any(|log| std::fs::read(log).unwrap().windows(text.len()).any(|at| at == text.as_bytes()))
}

#[test]
fn an_observer_without_a_log_goes_on_from_what_its_leaders_snapshot_held() {
    let mut ensemble = Ensemble::new(4, "syncEnabled=false\nforceSnapshotSync=true");
    ensemble.observers.insert(4);
    for id in 1..=4 {
        ensemble.start(id);
    }
    for round in 0..3 {
        let leader = ensemble.wait_for_leader();
        let path = format!("/unlogged{round}");
        let mut client = Client::connect(ensemble.address(4));
        assert_eq!(client.create(&path, b"x", 0).header.err, 0);
        ensemble.wait_for_equal_trees();
        assert!(is_logged(&ensemble, leader, &path) && !is_logged(&ensemble, 4, &path));
        // A start, a leader that is gone, and both.
        if round != 1 {
            ensemble.stop(4);
        }
        if round != 0 {
            ensemble.stop(leader);
            ensemble.start(leader);
        }
        if round != 1 {
            ensemble.start(4);
        }
        ensemble.wait_for_leader();
        ensemble.wait_for_equal_trees();
        assert!(Client::connect(ensemble.address(4)).exists(&path));
    }
}

#[test]
fn strangers_on_the_peers_ports_disturb_nobody() {
    let ensemble = Ensemble::started(3, "");
    let leader = ensemble.wait_for_leader();
    let mut client = Client::connect(ensemble.address(1));
    let mut silent = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..150 {
        let place = ensemble.places[round % 3];
        let port = if round % 2 == 0 { place.quorum } else { place.election };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Known beginnings get further: FOLLOWERINFO, the first long of a greeting.
        let mut bytes: Vec<u8> = match round % 5 {
            0 => [&11i32.to_be_bytes()[..], &(1i64 << 40).to_be_bytes()].concat(),
            1 => (-65536i64).to_be_bytes().to_vec(),
            2 => 2i64.to_be_bytes().to_vec(),
            _ => Vec::new(),
        };
        bytes.extend((0..random() % 300).map(|_| random() as u8));
        // Whoever is closed at once need not hear it all.
        let _ = stream.write_all(&bytes);
        if round % 7 == 0 {
            silent.push(stream);
        }
        assert_eq!(client.create(&format!("/n{round}"), b"x", 0).header.err, 0);
    }
    assert_eq!(ensemble.wait_for_leader(), leader, "nobody had to look for a leader anew");
    ensemble.wait_for_equal_trees();
}

#[test]
fn many_sessions_outlive_their_leader() {
    const SESSIONS: usize = 600;
    let mut ensemble = Ensemble::started(3, "");
    let leader = ensemble.wait_for_leader();
    let sessions: Vec<Client> =
        (0..SESSIONS).map(|index| Client::connect(ensemble.address(1 + index % 3))).collect();
    ensemble.stop(leader);
    ensemble.wait_for_leader();
    let others = ensemble.running();
    let moved: Vec<Client> = sessions
        .iter()
        .enumerate()
        .map(|(index, old)| {
            let address = ensemble.address(others[index % others.len()]);
            Client::resume(address, old.session, &old.password)
        })
        .collect();
    for (old, new) in sessions.iter().zip(&moved) {
        assert_eq!(old.session, new.session);
    }
    ensemble.wait_for_equal_trees();
    let server = ensemble.servers[others[0] - 1].as_ref().unwrap();
    assert_eq!(server.inspector().shared().tree.sessions().len(), SESSIONS);
}

#[test]
fn two_of_three_stop_and_the_third_serves_nobody() {
    let mut ensemble = Ensemble::started(3, "");
    let leader = ensemble.wait_for_leader();
    for id in ensemble.running().into_iter().filter(|id| *id != leader) {
        ensemble.stop(id);
    }
    wait_until("the end of the leader's part", || ensemble.state(leader).0 == ServerState::Looking);
    let mut client = Client::connect_later(ensemble.address(leader));
    assert_eq!(client.read_frame(), None);
}

#[test]
fn who_has_no_leader_can_be_read_by_who_asks_for_that() {
    let mut ensemble = Ensemble::new(3, "localSessionsEnabled=true");
    ensemble.flags = "-Dreadonlymode.enabled=true";
    for id in 1..=3 {
        ensemble.start(id);
    }
    let leader = ensemble.wait_for_leader();
    let mut client = Client::connect(ensemble.address(leader));
    assert_eq!(client.create("/a", b"x", 0).header.err, 0);
    assert_eq!(client.create("/e", b"", 1).header.err, ErrorCode::EphemeralOnLocalSession.to_i32());
    ensemble.wait_for_equal_trees();
    for id in 1..=3 {
        let dump = four_letter_word(ensemble.address(id), "dump");
        let local =
            format!("Local Session Sets ({})/({})", u8::from(id == leader), u8::from(id == leader));
        assert!(dump.contains(&local), "{dump}");
        assert_eq!(dump.contains("\nGlobal Sessions(0):\n"), id != leader, "{dump}");
    }
    let stays = leader % 3 + 1;
    for id in ensemble.running().into_iter().filter(|id| *id != stays) {
        ensemble.stop(id);
    }
    let address = ensemble.address(stays);
    wait_until("read-only", || four_letter_word(address, "isro") == "ro");
    let srvr = four_letter_word(address, "srvr");
    assert!(srvr.contains("\nREAD-ONLY mode; serving only read-only clients\n"), "{srvr}");
    assert!(srvr.contains("\nMode: read-only\n"), "{srvr}");
    assert_eq!(Client::connect_later(address).read_frame(), None, "not this one");
    let mut reader = Client::connect_read_only_later(address);
    reader.connected();
    assert!(reader.read_only && reader.session != SessionId(0));
    assert_eq!(reader.get("/a", true).data().unwrap(), b"x");
    let refused = ErrorCode::NotReadOnly.to_i32();
    assert_eq!(reader.set("/a", b"y").header.err, refused);
    assert_eq!(reader.create("/b", b"", 0).header.err, refused);
    assert_eq!(reader.get("/a", false).data().unwrap(), b"x");
    ensemble.start(leader);
    ensemble.wait_for_leader();
    assert_eq!(reader.read_frame(), None, "its server has a leader now");
    let mut client = Client::connect_read_only_later(address);
    client.connected();
    assert!(!client.read_only);
    assert_eq!(client.set("/a", b"y").header.err, 0);
    assert_eq!(four_letter_word(address, "isro"), "rw");
}

#[test]
fn a_leader_that_takes_no_clients_leads_those_who_do() {
    let ensemble = Ensemble::started(3, "leaderServes=no");
    let leader = ensemble.wait_for_leader();
    let srvr = four_letter_word(ensemble.address(leader), "srvr");
    assert_eq!(srvr, "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!(Client::connect_later(ensemble.address(leader)).read_frame(), None);
    let mut client = Client::connect(ensemble.address(leader % 3 + 1));
    assert_eq!(client.create("/a", b"", 0).header.err, 0);
    ensemble.wait_for_equal_trees();
}
