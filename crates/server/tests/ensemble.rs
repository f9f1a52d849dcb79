//! Three servers of one ensemble in this process, over real sockets and files.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Client, four_letter_word, read_file, wait_until};
use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{ErrorCode, OpCode, SessionId};
use rookeeper_replica::ServerState;
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::process::{Process, ProcessorTime, UnknownProcess};
use rookeeper_server::{Server, ServerHandle};

/// Where one member is found.
#[derive(Clone, Copy)]
struct Place {
    quorum: u16,
    election: u16,
    client: u16,
}

/// An ensemble in a directory of its own.
struct Ensemble {
    directory: tempfile::TempDir,
    settings: String,
    places: Vec<Place>,
    servers: Vec<Option<ServerHandle>>,
    /// Members without a vote.
    observers: BTreeSet<usize>,
    /// The file of the first start is the server's from then on, and client addresses stand in
    /// the servers' lines.
    keeps_config: bool,
    /// Members whose lines have no client address.
    without_client: BTreeSet<usize>,
    /// System properties, as the environment gives them.
    flags: &'static str,
    /// What the servers know of the machine.
    process: Arc<dyn Process>,
}

/// A machine whose processors never rest.
#[derive(Debug, Default)]
struct Busy(AtomicU64);

impl Process for Busy {
    fn processor_time(&self) -> Option<ProcessorTime> {
        Some(ProcessorTime { busy: self.0.fetch_add(1, Ordering::Relaxed), idle: 0 })
    }
}

/// Ports that nobody has now, all different, and below those that outgoing connections take: a
/// server that is down must find its own again.
fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 15_000;
    const RANGE: u16 = 16_000;
    let of_process = u16::try_from(std::process::id() % u32::from(RANGE)).unwrap();
    let candidate = || {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + of_process.wrapping_mul(61).wrapping_add(step) % RANGE
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(candidate).filter(is_free).take(count).collect()
}

impl Ensemble {
    /// So many members, none of them started.
    fn new(members: usize, settings: &str) -> Ensemble {
        // ROOKEEPER_LOG=debug shows what the servers say; another test may have set it up before.
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ROOKEEPER_LOG") {
            let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
        }
        let ports = free_ports(3 * members);
        let places = ports
            .chunks(3)
            .map(|ports| Place { quorum: ports[0], election: ports[1], client: ports[2] })
            .collect();
        Ensemble {
            directory: tempfile::tempdir().unwrap(),
            settings: settings.to_owned(),
            places,
            servers: (0..members).map(|_| None).collect(),
            observers: BTreeSet::new(),
            keeps_config: false,
            without_client: BTreeSet::new(),
            flags: "",
            process: Arc::new(UnknownProcess),
        }
    }

    fn started(members: usize, settings: &str) -> Ensemble {
        let mut ensemble = Self::new(members, settings);
        for id in 1..=members {
            ensemble.start(id);
        }
        ensemble.wait_for_leader();
        ensemble
    }

    fn home(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("server{id}"))
    }

    fn start(&mut self, id: usize) {
        let home = self.home(id);
        std::fs::create_dir_all(home.join("data")).unwrap();
        std::fs::write(home.join("data/myid"), id.to_string()).unwrap();
        let file = home.join("zoo.cfg");
        if self.keeps_config && file.exists() {
            return self.launch(id);
        }
        let mut text = format!(
            "dataDir={}\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             maxClientCnxns=0\n4lw.commands.whitelist=*\n{}\n",
            home.join("data").display(),
            self.settings
        );
        if !self.keeps_config {
            text.push_str(&format!("clientPort={}\n", self.places[id - 1].client));
        }
        for other in 1..=self.places.len() {
            text.push_str(&format!("{}\n", self.line(other)));
        }
        std::fs::write(&file, text).unwrap();
        self.launch(id);
    }

    /// A member's line `server.N`.
    fn line(&self, id: usize) -> String {
        let Place { quorum, election, client } = self.places[id - 1];
        let role = if self.observers.contains(&id) { "observer" } else { "participant" };
        let line = format!("server.{id}=127.0.0.1:{quorum}:{election}:{role}");
        let names_client = self.keeps_config && !self.without_client.contains(&id);
        if names_client { format!("{line};127.0.0.1:{client}") } else { line }
    }

    fn launch(&mut self, id: usize) {
        let file = self.home(id).join("zoo.cfg");
        let flags = |name: &str| (name == "SERVER_JVMFLAGS").then(|| self.flags.into());
        let call = Invocation::new([file.display().to_string()], flags).unwrap();
        let mut config = load(&call, &read_file).unwrap();
        config.process = Arc::clone(&self.process);
        self.servers[id - 1] = Some(Server::start(config).unwrap());
    }

    fn stop(&mut self, id: usize) {
        self.servers[id - 1].take().unwrap().stop();
    }

    fn address(&self, id: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.places[id - 1].client)
    }

    fn running(&self) -> Vec<usize> {
        (1..=self.servers.len()).filter(|id| self.servers[id - 1].is_some()).collect()
    }

    fn state(&self, id: usize) -> (ServerState, bool) {
        let server = self.servers[id - 1].as_ref().unwrap();
        server
            .inspector()
            .member(|replica| (replica.report().state, replica.report().serving))
            .unwrap()
    }

    /// Who leads, once all that run serve.
    fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        wait_until("a leader that all follow", || {
            let running = self.running();
            let states: Vec<_> = running.iter().map(|id| self.state(*id)).collect();
            let leading: Vec<usize> = running
                .iter()
                .zip(&states)
                .filter(|(_, (state, _))| *state == ServerState::Leading)
                .map(|(id, _)| *id)
                .collect();
            leader = leading.first().copied();
            leading.len() == 1 && states.iter().all(|(_, serving)| *serving)
        });
        leader.unwrap()
    }

    /// Zxid and digest of a member's tree.
    fn tree(&self, id: usize) -> (i64, i64) {
        let shared = self.servers[id - 1].as_ref().unwrap().inspector().shared();
        (shared.tree.last_processed_zxid().0, shared.tree.digest())
    }

    /// Waits until all that run have the same tree.
    fn wait_for_equal_trees(&self) {
        wait_until("equal trees", || {
            let trees: Vec<_> = self.running().iter().map(|id| self.tree(*id)).collect();
            trees.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}

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
