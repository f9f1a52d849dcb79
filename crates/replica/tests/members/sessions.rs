//! Sessions that only one server knows of, and servers without a leader.

use rookeeper_jute::proto::{
    ConnectResponse, CreateRequest, GetDataRequest, ReplyHeader, SetDataRequest, SyncRequest,
};
use rookeeper_jute::{Acl, Decode, Encode, ErrorCode, OpCode, SessionId, Xid};
use rookeeper_replica::{ReplicaConfig, ServerState};

use crate::client::Reply;
use crate::world::World;

/// A request without a record.
pub struct Empty;

impl Encode for Empty {
    fn encode(&self, _: &mut Vec<u8>) {}
}

fn local(config: &mut ReplicaConfig) {
    config.core.local_sessions_enabled = true;
}

fn upgrading(config: &mut ReplicaConfig) {
    config.core.local_sessions_enabled = true;
    config.core.local_sessions_upgrading_enabled = true;
}

fn ensemble(participants: u64, observers: u64, configure: fn(&mut ReplicaConfig)) -> World {
    let mut world = World::new(participants, observers, 7);
    world.configure = configure;
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    world
}

fn create(world: &mut World, client: usize, path: &str, flags: i32) -> i32 {
    world.ask_create(client, path, flags);
    world.answer(client, 5000).expect("an answer").header.err
}

fn known(world: &mut World, server: usize, session: SessionId) -> bool {
    world.process(server).shared.tree.sessions().contains(session)
}

fn locals(world: &mut World, server: usize) -> usize {
    world.process(server).replica.core().report().local_sessions
}

#[test]
fn a_local_session_writes_and_makes_no_ephemerals() {
    let mut world = ensemble(3, 1, local);
    for server in 0..4 {
        world.pass(500);
        let before = world.process(server).shared.tree.last_processed_zxid();
        let client = world.connect(server);
        let session = world.clients[client].session;
        assert_ne!(session, SessionId(0));
        world.pass(200);
        let after = world.process(server).shared.tree.last_processed_zxid();
        assert_eq!(before, after, "no transaction makes it");
        assert_eq!(locals(&mut world, server), 1);
        assert_eq!(create(&mut world, client, &format!("/plain{server}"), 0), 0);
        let refused = create(&mut world, client, &format!("/ephemeral{server}"), 1);
        assert_eq!(refused, ErrorCode::EphemeralOnLocalSession.to_i32(), "at {server}");
        assert_eq!(create(&mut world, client, &format!("/numbered{server}"), 2), 0);
        for other in 0..4 {
            assert!(!known(&mut world, other, session));
        }
        // Elsewhere nobody knows it.
        let password = world.clients[client].password.clone();
        let moved = world.resume((server + 1) % 4, session, &password);
        assert_eq!(world.clients[moved].session, SessionId(0), "at {server}");
        // Here it goes on.
        let again = world.resume(server, session, &password);
        assert_eq!(world.clients[again].session, session);
        assert!(world.is_closed(client));
        world.request(again, OpCode::CloseSession, &Empty);
        let reply = world.answer(again, 5000).expect("an answer");
        assert_eq!(reply.header.err, 0);
        world.until("closed", 1000, |world| world.is_closed(again));
        assert_eq!(locals(&mut world, server), 0);
        let gone = world.resume(server, session, &password);
        assert_eq!(world.clients[gone].session, SessionId(0));
    }
    world.pass(500);
    world.assert_equal();
}

#[test]
fn the_first_ephemeral_makes_a_session_known_to_all() {
    let mut world = ensemble(3, 1, upgrading);
    for server in 0..4 {
        let client = world.connect(server);
        let session = world.clients[client].session;
        let password = world.clients[client].password.clone();
        assert_eq!(create(&mut world, client, &format!("/plain{server}"), 0), 0);
        assert!(!known(&mut world, server, session));
        // All at once: the answers come in order.
        for (at, flags) in [0, 1, 1, 0].into_iter().enumerate() {
            world.ask_create(client, &format!("/at{server}-{at}"), flags);
        }
        for _ in 0..4 {
            let Reply { header, .. } = world.answer(client, 5000).expect("an answer");
            assert_eq!(header.err, 0);
        }
        world.pass(200);
        for other in 0..4 {
            assert!(known(&mut world, other, session), "{server} {other}");
        }
        assert_eq!(locals(&mut world, server), 0);
        let moved = world.resume((server + 1) % 4, session, &password);
        assert_eq!(world.clients[moved].session, session, "it moves now");
        assert_eq!(create(&mut world, moved, &format!("/moved{server}"), 1), 0);
        // Its server keeps it alive for the leader, longer than its timeout of 20 s.
        for _ in 0..30 {
            world.pass(1000);
            assert!(world.get(moved, &format!("/at{server}-1")).is_some());
        }
        world.request(moved, OpCode::CloseSession, &Empty);
        world.until("closed", 5000, |world| world.is_closed(moved));
        world.pass(200);
        let tree = &world.process(server).shared.tree;
        assert!(tree.node(&format!("/at{server}-1")).is_none());
    }
    world.assert_equal();
}

#[test]
fn a_local_session_expires_where_it_is_known() {
    let mut world = ensemble(3, 0, local);
    for server in 0..3 {
        let client = world.connect(server);
        let quiet = world.connect(server);
        for _ in 0..25 {
            world.pass(1000);
            assert!(world.get(client, "/").is_some(), "who is heard of stays");
        }
        assert!(world.is_closed(quiet), "at {server}");
        assert_eq!(locals(&mut world, server), 1);
        let zxid = world.process(server).shared.tree.last_processed_zxid();
        world.pass(30_000);
        assert!(world.is_closed(client));
        assert_eq!(world.process(server).shared.tree.last_processed_zxid(), zxid);
    }
}

fn read_only(config: &mut ReplicaConfig) {
    config.member.read_only_after_ms = Some(2000);
    config.core.local_sessions_enabled = true;
}

fn error(world: &mut World, client: usize, op: OpCode, body: &impl Encode) -> i32 {
    world.request(client, op, body);
    world.answer(client, 5000).expect("an answer").header.err
}

#[test]
fn bug_z12_who_is_cut_off_can_be_read_and_logs_nothing() {
    let mut world = ensemble(3, 0, read_only);
    let leader = world.leader().expect("serving");
    let (cut_off, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let writer = world.connect(other);
    assert_eq!(create(&mut world, writer, "/a", 0), 0);
    // One that all know of, as it was made before.
    world.pass(200);
    world.partition(&[cut_off]);
    let at_us = world.now_us;
    world.until("read-only", 20_000, |world| world.process(cut_off).state == ServerState::ReadOnly);
    assert!(world.now_us - at_us > 2_000_000);
    assert!(world.serves(other) && world.leader() == Some(leader));
    assert_eq!(world.try_connect(cut_off, 1000), None, "who is not to be read-only goes elsewhere");
    let (client, answer) = world.ask_read_only(cut_off, SessionId(0), &[0; 16]);
    let answer = answer.expect("an answer");
    let response = ConnectResponse::from_bytes(&answer).expect("decodes");
    assert_eq!(response.read_only, Some(true));
    let (session, password) = (response.session_id, response.password.expect("one").to_vec());
    assert_ne!(session, SessionId(0));

    let zxid = world.process(cut_off).shared.tree.last_processed_zxid();
    let logged = world.machines[cut_off].disk.last();
    assert_eq!(world.get(client, "/a"), Some(b"/a".to_vec()));
    let not_read_only = ErrorCode::NotReadOnly.to_i32();
    let set = SetDataRequest { path: Some("/a".into()), data: None, version: -1 };
    assert_eq!(error(&mut world, client, OpCode::SetData, &set), not_read_only);
    let sync = SyncRequest { path: Some("/".into()) };
    assert_eq!(error(&mut world, client, OpCode::Sync, &sync), not_read_only);
    let made = CreateRequest {
        path: Some("/b".into()),
        data: None,
        acl: Some(vec![Acl::open_unsafe()]),
        flags: 1,
    };
    assert_eq!(error(&mut world, client, OpCode::Create, &made), not_read_only);
    // Answers keep their order.
    world.request(client, OpCode::SetData, &set);
    let read = GetDataRequest { path: Some("/a".into()), watch: true };
    world.request(client, OpCode::GetData, &read);
    let errors: Vec<i32> =
        (0..2).map(|_| world.answer(client, 1000).expect("an answer").header.err).collect();
    assert_eq!(errors, [not_read_only, 0]);

    let (again, answer) = world.ask_read_only(cut_off, session, &password);
    let answer = answer.expect("an answer");
    let response = ConnectResponse::from_bytes(&answer).expect("decodes");
    assert_eq!((response.session_id, response.read_only), (session, Some(true)));
    assert_eq!(world.process(cut_off).shared.tree.last_processed_zxid(), zxid);
    assert_eq!(world.machines[cut_off].disk.last(), logged, "nothing of theirs is in its log");
    let report = world.process(cut_off).replica.report();
    assert!(report.serving && report.leader.is_none());

    // The others go on, and so does it with them.
    assert_eq!(create(&mut world, writer, "/c", 0), 0);
    world.heal();
    world.until("back", 20_000, |world| world.all_serve());
    assert!(world.is_closed(again));
    assert_eq!(world.process(cut_off).state, ServerState::Following);
    let resumed = world.resume(cut_off, session, &password);
    assert_eq!(world.clients[resumed].session, SessionId(0), "it was nobody else's");
    let client = world.connect(cut_off);
    assert_eq!(create(&mut world, client, "/d", 0), 0);
    assert!(world.get(client, "/c").is_some());
    world.pass(500);
    world.assert_equal();
}

#[test]
fn a_session_of_all_is_not_resumed_where_nobody_else_hears_of_it() {
    let mut world = World::new(3, 0, 4);
    world.configure = |config| config.member.read_only_after_ms = Some(2000);
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    let client = world.connect(0);
    let (session, password) =
        (world.clients[client].session, world.clients[client].password.clone());
    world.pass(500);
    world.kill(1);
    world.kill(2);
    world.until("read-only", 30_000, |world| world.process(0).state == ServerState::ReadOnly);
    let (client, answer) = world.ask_read_only(0, session, &password);
    assert!(answer.is_none() && world.is_closed(client));
    // Without local sessions there is none to be had: the answer is no session.
    let (client, answer) = world.ask_read_only(0, SessionId(0), &[0; 16]);
    let header = ReplyHeader::from_bytes(&answer.expect("an answer")).expect("a header");
    assert_eq!((header.xid, header.err), (Xid(0), ErrorCode::NotReadOnly.to_i32()));
    assert!(world.is_closed(client));
    world.start(1);
    world.until("serving", 20_000, |world| world.all_serve());
    let resumed = world.resume(0, session, &password);
    assert_eq!(world.clients[resumed].session, session, "it lives on");
    world.assert_equal();
}

/// How many sessions outlive their leader.
const SESSIONS: usize = 20_000;

#[test]
fn twenty_thousand_sessions_outlive_their_leader() {
    let mut world = World::new(3, 0, 11);
    world.start_all();
    world.until("all serve", 10_000, |world| world.all_serve());
    let new = |at: usize| (at % 3, SessionId(0), vec![0; 16]);
    let asked: Vec<_> = (0..SESSIONS).map(new).collect();
    let clients = world.connect_many(&asked);
    let leader = world.leader().expect("serving");
    let ids: Vec<SessionId> = clients.iter().map(|client| world.clients[*client].session).collect();
    world.pass(1000);
    assert_eq!(world.process(leader).shared.tree.sessions().len(), SESSIONS);
    // Half of their time has passed, and nobody was heard of.
    world.pass(10_000);
    world.kill(leader);
    world.until("replaced", 10_000, |world| world.leader().is_some() && world.all_serve());
    let served_us = world.now_us;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let half = SESSIONS / 2;
    let again: Vec<_> = (0..half)
        .map(|at| (others[at % 2], ids[at], world.clients[clients[at]].password.clone()))
        .collect();
    let resumed = world.connect_many(&again);
    let took_ms = (world.now_us - served_us) / 1000;
    assert!(took_ms < 200, "{took_ms} ms until all had an answer");
    for (client, id) in resumed.iter().zip(&ids) {
        assert_eq!(world.clients[*client].session, *id);
    }
    // Each has its full timeout of 20 s from the new leader: those that were slow as well.
    let late_ms = 19_000 - (world.now_us - served_us) / 1000;
    world.pass(late_ms);
    let late: Vec<_> = (half..SESSIONS)
        .map(|at| (others[at % 2], ids[at], world.clients[clients[at]].password.clone()))
        .collect();
    let resumed = world.connect_many(&late);
    for (client, id) in resumed.iter().zip(&ids[half..]) {
        assert_eq!(world.clients[*client].session, *id);
    }
    let leader = world.leader().expect("serving");
    let expired = world.process(leader).replica.core().report().figures.sessions_expired;
    assert_eq!(expired, 0);
    assert_eq!(world.process(leader).shared.tree.sessions().len(), SESSIONS);
    // Who is not heard of any more is gone in the end.
    world.pass(22_000);
    let leader = world.leader().expect("serving");
    assert_eq!(world.process(leader).shared.tree.sessions().len(), 0);
    let report = world.process(leader).replica.core().report();
    assert_eq!(report.figures.sessions_expired as usize, SESSIONS);
}
