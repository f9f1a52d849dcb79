//! Sessions: handshake, resume, move, expiry, close, restarts.

mod support;

use rookeeper_jute::{ErrorCode, OpCode, SessionId, Zxid};
use rookeeper_replica::{CloseReason, CoreConfig};
use support::{Nothing, Reply, Setup, World, connect_frame, tree};

fn world(shards: u16, seed: u64) -> World {
    World::new(Setup { shards, seed, ..Setup::default() })
}

fn errors(replies: &[Reply]) -> Vec<(i32, i32)> {
    replies.iter().map(|reply| (reply.xid(), reply.header.err)).collect()
}

#[test]
fn timeouts_are_negotiated_and_old_clients_answered_in_kind() {
    let mut world = world(1, 1);
    let (_, session) = world.connect(0, 1);
    assert_eq!((session.timeout_ms, session.read_only), (6000, Some(false)));
    let (_, session) = world.connect(0, 10_000_000);
    assert_eq!(session.timeout_ms, 60_000);
    let old = world.accept(0);
    world.send(old, &connect_frame(0, 10_000, SessionId(0), &[0; 16], None));
    world.run();
    let session = world.session(old);
    assert_eq!((session.timeout_ms, session.read_only), (10_000, None));
    assert_eq!(session.password.len(), 16);
    world.request(old, 1, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(errors(&world.replies(old)), [(1, 0)]);
}

#[test]
fn requests_sent_with_the_handshake_wait_for_the_session() {
    for seed in 0..20 {
        let mut world = world(2, seed);
        world.disk_works = false;
        let client = world.accept(1);
        world.send(client, &connect_frame(0, 10_000, SessionId(0), &[0; 16], Some(false)));
        world.create(client, 1, "/a", 1);
        world.get(client, 2, "/a", false);
        world.run();
        assert_eq!(world.frame(client), None, "the session is not durable");
        world.disk_works = true;
        world.run();
        let session = world.session(client);
        assert_eq!(errors(&world.replies(client)), [(1, 0), (2, 0)]);
        let stat = world.shared.tree.node("/a").expect("created").stat();
        assert_eq!(stat.ephemeral_owner, session.id);
    }
}

#[test]
fn a_session_resumes_on_another_connection_and_leaves_the_one_before() {
    for seed in 0..20 {
        let mut world = world(4, seed);
        let (first, session) = world.connect(0, 10_000);
        world.create(first, 1, "/e", 1);
        world.run();
        let second = world.accept(3);
        let hello = connect_frame(0, 20_000, session.id, &session.password, Some(true));
        world.send(second, &hello);
        world.run();
        let resumed = world.session(second);
        assert_eq!((resumed.id, resumed.timeout_ms), (session.id, 20_000));
        assert_eq!(resumed.password, session.password);
        assert_eq!(world.clients[first].closed, Some(CloseReason::ClientReconnect));
        let (report, _) = world.shards[3].connections(0, 1);
        assert_eq!(report[0].last_operation, "NA", "a resumed session has done nothing here");
        world.get(second, 1, "/e", false);
        world.set(second, 2, "/e", b"2");
        world.run();
        assert_eq!(errors(&world.replies(second)), [(1, 0), (2, 0)]);
    }
}

#[test]
fn a_connection_tells_when_it_was_last_touched_whatever_is_reset() {
    let mut world = world(1, 1);
    world.pass(70_000);
    let client = world.accept(0);
    let accepted_ms = world.now.monotonic_ms();
    let touched_ms = |world: &World| world.shards[0].connections(0, 1).0[0].touched_ms;
    world.pass(500);
    assert_eq!(touched_ms(&world), accepted_ms);
    world.send(client, &connect_frame(0, 10_000, SessionId(0), &[0; 16], Some(false)));
    world.run();
    let answered_ms = world.now.monotonic_ms();
    assert_ne!(answered_ms, accepted_ms);
    world.pass(500);
    world.shards[0].reset_connections();
    let report = world.shards[0].connections(0, 1).0.remove(0);
    assert_eq!((report.touched_ms, report.last_response_ms), (answered_ms, 0));
}

/// Java: `FinalRequestProcessor` looks for the operation's name behind a write's error.
#[test]
fn a_refused_write_leaves_no_operation_and_a_refused_read_does() {
    let mut world = world(1, 1);
    let (client, _) = world.connect(0, 10_000);
    let after = |world: &mut World, err: i32| {
        world.run();
        assert_eq!(world.reply(client).map(|reply| reply.header.err), Some(err));
        world.shards[0].connections(0, 1).0[0].last_operation
    };
    world.create(client, 1, "/a", 0);
    assert_eq!(after(&mut world, 0), "CREA");
    world.create(client, 2, "/a", 0);
    assert_eq!(after(&mut world, ErrorCode::NodeExists.to_i32()), "NA");
    world.get(client, 3, "/none", false);
    assert_eq!(after(&mut world, ErrorCode::NoNode.to_i32()), "GETD");
    world.set(client, 4, "/none", b"");
    assert_eq!(after(&mut world, ErrorCode::NoNode.to_i32()), "NA");
}

#[test]
fn a_resumed_session_sees_what_it_wrote_before() {
    for seed in 0..50 {
        let mut world = world(4, seed);
        let (first, session) = world.connect(0, 10_000);
        world.create(first, 1, "/x", 0);
        world.run();
        world.disk_works = false;
        world.set(first, 2, "/x", b"new");
        world.run();
        world.drop_connection(first);
        let second = world.accept(2);
        world.send(second, &connect_frame(0, 10_000, session.id, &session.password, Some(false)));
        world.get(second, 1, "/x", false);
        world.run();
        assert_eq!(world.frame(second), None);
        world.disk_works = true;
        world.run();
        world.session(second);
        assert_eq!(world.reply(second).and_then(|get| get.data()), Some(b"new".to_vec()));
    }
}

#[test]
fn a_wrong_password_or_unknown_session_is_told_and_closed() {
    let mut world = world(1, 1);
    let (first, session) = world.connect(0, 10_000);
    let unknown = SessionId(session.id.0 + 99);
    for (id, password) in
        [(session.id, [7u8; 16].as_slice()), (session.id, b"short"), (unknown, &[0; 16])]
    {
        let client = world.accept(0);
        world.send(client, &connect_frame(0, 10_000, id, password, Some(false)));
        world.run();
        let refused = world.session(client);
        assert_eq!((refused.id, refused.timeout_ms), (SessionId(0), 0));
        assert_eq!(refused.password, [0; 16]);
        assert_eq!(world.clients[client].closed, Some(CloseReason::SessionExpired));
    }
    assert_eq!(
        world.clients[first].closed,
        Some(CloseReason::ClientReconnect),
        "Java closes the connection of the session before it looks at the password"
    );
}

#[test]
fn a_client_that_has_seen_more_is_closed_without_a_word() {
    let mut world = world(1, 1);
    let client = world.accept(0);
    world.send(client, &connect_frame(77, 10_000, SessionId(0), &[0; 16], Some(false)));
    world.run();
    assert_eq!(world.clients[client].closed, Some(CloseReason::ClientZxidAhead));
    assert!(world.raw(client).is_empty());
}

#[test]
fn an_expired_session_takes_its_ephemerals_along_and_tells_watchers() {
    for seed in 0..20 {
        let mut world = world(1 + (seed % 4) as u16, seed);
        let shards = world.shards.len();
        let (dying, session) = world.connect(0, 6000);
        let (watcher, _) = world.connect(shards - 1, 60_000);
        world.create(dying, 1, "/e", 1);
        world.run();
        world.exists(watcher, 1, "/e", true);
        world.run();
        world.replies(watcher);
        for xid in 0..8 {
            world.pass(4000);
            world.request(watcher, -2, OpCode::Ping, &Nothing);
            if xid < 4 {
                world.request(dying, -2, OpCode::Ping, &Nothing);
            }
            world.run();
            assert_eq!(world.clients[dying].closed.is_some(), xid > 5, "{xid}");
        }
        assert_eq!(world.clients[dying].closed, Some(CloseReason::SessionClosed));
        assert_eq!(world.expired, [session.id]);
        assert!(world.shared.tree.node("/e").is_none());
        assert_eq!(world.core.report().sessions, 1);
        let replies = world.replies(watcher);
        let events: Vec<_> = replies.iter().filter(|reply| reply.xid() == -1).collect();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event(), (2, "/e".to_owned()));
        assert!(events[0].header.zxid > Zxid(0));
    }
}

#[test]
fn closing_a_session_is_answered_after_all_before_it_and_ends_the_connection() {
    for seed in 0..20 {
        let mut world = world(2, seed);
        let (client, _) = world.connect(0, 6000);
        let (other, _) = world.connect(1, 6000);
        world.create(client, 1, "/e", 1);
        world.get(client, 2, "/e", true);
        world.request(client, 3, OpCode::CloseSession, &Nothing);
        world.get(client, 4, "/e", false);
        world.create(client, 5, "/never", 0);
        world.run();
        let replies = world.replies(client);
        assert_eq!(errors(&replies), [(1, 0), (2, 0), (-1, 0), (3, 0)]);
        assert_eq!(replies[2].event(), (2, "/e".to_owned()));
        assert_eq!(world.clients[client].closed, Some(CloseReason::ClientClosedSession));
        world.exists(other, 1, "/never", false);
        world.run();
        assert_eq!(errors(&world.replies(other)), [(1, -101)]);
        assert_eq!(world.core.report().sessions, 1);
    }
}

#[test]
fn after_a_restart_every_session_has_its_full_timeout() {
    let mut before = world(1, 1);
    let (client, session) = before.connect(0, 6000);
    before.create(client, 1, "/e", 1);
    before.run();
    let mut tree = tree();
    let mut changes = rookeeper_tree::ChangeLog::new();
    for (_, txn) in &before.log {
        tree.apply(txn, &mut changes).expect("what was logged is applied");
    }
    assert_eq!(tree.digest(), before.shared.tree.digest());
    let mut world = World::new(Setup { tree: Some(tree), ..Setup::default() });
    world.pass(5900);
    let again = world.accept(0);
    world.send(again, &connect_frame(0, 6000, session.id, &session.password, Some(false)));
    world.run();
    assert_eq!(world.session(again).id, session.id);
    world.drop_connection(again);
    world.pass(20_000);
    assert!(world.shared.tree.node("/e").is_none(), "nobody came back");
    assert!(world.shared.tree.sessions().is_empty());
}

#[test]
fn new_ids_are_those_of_no_live_session() {
    let core = CoreConfig { server_id: 9, ..CoreConfig::default() };
    let mut world = World::new(Setup { core, ..Setup::default() });
    let ids: Vec<_> = (0..10).map(|_| world.connect(0, 6000).1.id.0).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!(ids.iter().all(|id| (*id as u64) >> 56 == 9 && id & 0xff00 == 0), "{ids:x?}");
}
