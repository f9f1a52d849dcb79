//! What a connection may send, and what becomes of it when it sends something else.

mod support;

use rookeeper_jute::proto::{
    AddWatchRequest, AuthPacket, CheckWatchesRequest, GetSaslRequest, SetWatches,
};
use rookeeper_jute::{OpCode, SessionId, Zxid, limits};
use rookeeper_replica::{CloseReason, ShardConfig};
use support::{Nothing, Reply, Setup, World, connect_frame, framed, request_frame};

fn world() -> World {
    World::new(Setup::default())
}

fn answers(replies: &[Reply]) -> Vec<(i32, i32, i64)> {
    replies.iter().map(|reply| (reply.xid(), reply.header.err, reply.header.zxid.0)).collect()
}

#[test]
fn four_letter_words_are_the_first_four_bytes_or_lengths() {
    let mut world = world();
    let asking = world.accept(0);
    world.send(asking, b"ruok and more");
    world.run();
    let key = world.clients[asking].key;
    assert_eq!(world.words, [(key, *b"ruok", None)]);
    let mut effects = rookeeper_replica::ShardEffects::default();
    world.shards[0].answer_word(key, b"imok", &mut effects);
    assert!(matches!(
        effects.effects[..],
        [
            rookeeper_replica::ShardEffect::Output(_),
            rookeeper_replica::ShardEffect::Close(_, CloseReason::FourLetterWord),
        ]
    ));
    assert_eq!(world.shards[0].output(key), b"imok");

    let masking = world.accept(0);
    world.send(masking, b"stmk\x00\x00\x00");
    world.run();
    assert_eq!(world.words.len(), 1, "the mask is not there yet");
    world.send(masking, b"\x00\x00\x00\x01\x32");
    world.run();
    assert_eq!(world.words[1], (world.clients[masking].key, *b"stmk", Some(306)));

    let unknown = world.accept(0);
    world.send(unknown, b"abcd");
    world.run();
    let len = i32::from_be_bytes(*b"abcd");
    assert_eq!(world.clients[unknown].closed, Some(CloseReason::FrameLength(len)));

    let (late, _) = world.connect(0, 6000);
    world.send(late, b"ruok");
    world.run();
    let len = i32::from_be_bytes(*b"ruok");
    assert_eq!(world.clients[late].closed, Some(CloseReason::FrameLength(len)));
    assert_eq!(world.words.len(), 2);
}

#[test]
fn bad_frames_end_their_connection_and_no_other() {
    let mut world = world();
    let (healthy, _) = world.connect(0, 6000);
    let cases: [(&[u8], CloseReason); 6] = [
        (&[0xff; 4], CloseReason::FrameLength(-1)),
        (&[0x80, 0, 0, 0], CloseReason::FrameLength(i32::MIN)),
        (&[0, 0x10, 0, 0], CloseReason::FrameLength(0x10_0000)),
        (&[0, 0, 0, 0], CloseReason::Malformed),
        (&[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0], CloseReason::Malformed),
        (&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 100], CloseReason::Malformed),
    ];
    for (bytes, reason) in cases {
        let (client, _) = world.connect(0, 6000);
        world.send(client, bytes);
        world.run();
        assert_eq!(world.clients[client].closed, Some(reason), "{bytes:?}");
        assert!(world.raw(client).is_empty());
    }
    let stranger = world.accept(0);
    world.send(stranger, &framed(&0i64));
    world.run();
    assert_eq!(world.clients[stranger].closed, Some(CloseReason::Malformed));
    world.request(healthy, 1, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(world.replies(healthy).len(), 1);
}

#[test]
fn operations_that_are_none_are_answered_in_order_and_end_the_connection() {
    for op in [0, 13, -1, 10, 23, 999, i32::MIN] {
        let mut world = world();
        let (client, _) = world.connect(0, 6000);
        world.create(client, 1, "/x", 0);
        world.send(client, &request_frame(2, op, &Nothing));
        world.create(client, 3, "/y", 0);
        world.run();
        let replies = world.replies(client);
        assert_eq!(answers(&replies)[1..], [(2, -6, -1)], "op {op}");
        assert_eq!(world.clients[client].closed, Some(CloseReason::Unimplemented));
        assert!(world.shared.tree.node("/y").is_none());
    }
}

#[test]
fn authentication_is_answered_at_once_with_zxid_0() {
    let mut world = world();
    let (client, _) = world.connect(0, 6000);
    let auth = |scheme: &'static str, auth: &'static [u8]| {
        let packet = AuthPacket { auth_type: 0, scheme: Some(scheme.into()), auth: Some(auth) };
        request_frame(-4, 100, &packet)
    };
    world.disk_works = false;
    world.create(client, 1, "/x", 0);
    world.send(client, &auth("digest", b"bob:secret"));
    world.request(client, 2, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(answers(&world.replies(client)), [(-4, 0, 0)]);
    world.disk_works = true;
    world.run();
    let replies = world.replies(client);
    assert_eq!(replies.iter().map(Reply::xid).collect::<Vec<_>>(), [1, 2]);
    let identities = String::from_utf8_lossy(&replies[1].body);
    assert!(identities.contains("bob") && identities.contains("127.0.0.1"), "{identities}");
    world.send(client, &auth("kerberos", b""));
    world.run();
    assert_eq!(answers(&world.replies(client)), [(-4, -115, 0)]);
    assert_eq!(world.clients[client].closed, Some(CloseReason::AuthFailed));
    assert_eq!(world.shards[0].counters().auth_failed, 1);
}

/// All of them go to the leader with each write, which ends the link of a learner that sends more
/// than a packet holds.
#[test]
fn a_connection_has_no_more_identities_than_a_request_can_carry() {
    let mut world = world();
    let prove = |world: &mut World, client: usize, user: &str| {
        let auth = format!("{user}:secret");
        let auth =
            AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth: Some(auth.as_bytes()) };
        world.send(client, &request_frame(-4, 100, &auth));
        world.run();
        answers(&world.replies(client))
    };
    let (client, _) = world.connect(0, 6000);
    let long = |letter: char| letter.to_string().repeat(40_000);
    assert_eq!(prove(&mut world, client, &long('a')), [(-4, 0, 0)]);
    assert_eq!(prove(&mut world, client, &long('a')), [(-4, 0, 0)], "the same once more");
    assert_eq!(prove(&mut world, client, &long('b')), [(-4, -115, 0)]);
    assert_eq!(world.clients[client].closed, Some(CloseReason::AuthFailed));
    let (client, _) = world.connect(0, 6000);
    // One is its address.
    for number in 1..limits::IDENTITIES_MAX {
        assert_eq!(prove(&mut world, client, &format!("u{number}")), [(-4, 0, 0)], "{number}");
    }
    assert_eq!(prove(&mut world, client, "another"), [(-4, -115, 0)]);
}

#[test]
fn a_sasl_token_without_a_sasl_server_gets_a_null_token() {
    let mut world = world();
    let (client, _) = world.connect(0, 6000);
    world.request(client, 5, OpCode::Sasl, &GetSaslRequest { token: Some(b"") });
    world.run();
    let replies = world.replies(client);
    assert_eq!(answers(&replies), [(5, 0, 0)]);
    assert_eq!(replies[0].body, [0xff; 4]);
}

#[test]
fn a_server_that_enforces_authentication_refuses_everything_before_it() {
    let shard = ShardConfig {
        enforce_auth_schemes: Some(vec!["digest".to_owned()]),
        ..ShardConfig::default()
    };
    let mut world = World::new(Setup { shard, ..Setup::default() });
    let (client, _) = world.connect(0, 6000);
    world.request(client, 1, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(answers(&world.replies(client)), [(1, -124, 0)]);
    assert_eq!(world.clients[client].closed, Some(CloseReason::AuthRequired));
    let (client, _) = world.connect(0, 6000);
    let packet = AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth: Some(b"a:b") };
    world.request(client, -4, OpCode::Auth, &packet);
    world.request(client, 1, OpCode::WhoAmI, &Nothing);
    world.run();
    assert_eq!(world.replies(client).len(), 2);
}

#[test]
fn requests_about_watches_keep_their_place_among_writes() {
    for seed in 0..30 {
        let mut world = World::new(Setup { seed, ..Setup::default() });
        let (client, _) = world.connect(0, 6000);
        let check = CheckWatchesRequest { path: Some("/x".into()), watcher_type: 2 };
        world.create(client, 1, "/x", 0);
        world.get(client, 2, "/x", true);
        world.request(client, 3, OpCode::CheckWatches, &check);
        world.set(client, 4, "/x", b"2");
        world.request(client, 5, OpCode::CheckWatches, &check);
        world.get(client, 6, "/x", false);
        world.set(client, 7, "/x", b"3");
        world.run();
        let replies = world.replies(client);
        let errors: Vec<_> = replies.iter().map(|r| (r.xid(), r.header.err)).collect();
        let expected = [(1, 0), (2, 0), (3, 0), (-1, 0), (4, 0), (5, -121), (6, 0), (7, 0)];
        assert_eq!(errors, expected, "seed {seed}");
        assert_eq!(replies[6].data(), Some(b"2".to_vec()));
    }
}

#[test]
fn watches_set_again_fire_for_what_was_missed() {
    let mut world = world();
    let (client, _) = world.connect(0, 6000);
    world.create(client, 1, "/old", 0);
    world.create(client, 2, "/new", 0);
    world.run();
    let seen = world.replies(client)[1].header.zxid;
    world.set(client, 3, "/new", b"changed");
    let paths = |paths: &[&'static str]| Some(paths.iter().map(|p| Some((*p).into())).collect());
    let body = SetWatches {
        relative_zxid: seen,
        data_watches: paths(&["/old", "/new", "/gone"]),
        exist_watches: paths(&["/later"]),
        child_watches: paths(&["/old"]),
    };
    world.request(client, -8, OpCode::SetWatches, &body);
    world.create(client, 4, "/later", 0);
    world.run();
    let replies = world.replies(client);
    let xids: Vec<_> = replies.iter().map(Reply::xid).collect();
    assert_eq!(xids, [3, -1, -1, -8, -1, 4]);
    assert_eq!(replies[1].event(), (3, "/new".to_owned()));
    assert_eq!(replies[2].event(), (2, "/gone".to_owned()));
    assert_eq!(replies[1].header.zxid, Zxid(-1));
    assert_eq!(replies[4].event(), (1, "/later".to_owned()));
    assert_eq!(replies[4].header.zxid, replies[5].header.zxid);
}

#[test]
fn a_watch_request_that_cannot_be_read_is_a_marshalling_error() {
    let mut world = world();
    let (client, _) = world.connect(0, 6000);
    let bad_mode = AddWatchRequest { path: Some("/x".into()), mode: 7 };
    world.request(client, 1, OpCode::AddWatch, &bad_mode);
    world.request(client, 2, OpCode::SetWatches, &1i32);
    world.request(client, 3, OpCode::RemoveWatches, &Nothing);
    let good = AddWatchRequest { path: Some("/x".into()), mode: 1 };
    world.request(client, 4, OpCode::AddWatch, &good);
    world.run();
    let replies = world.replies(client);
    let errors: Vec<_> = replies.iter().map(|reply| reply.header.err).collect();
    assert_eq!(errors, [-5, -5, -5, 0]);
    assert_eq!(replies[3].body, [0; 4], "addWatch answers an error code of its own");
}

#[test]
fn a_connection_without_a_session_is_closed_in_time() {
    let mut world = world();
    let silent = world.accept(0);
    let slow = world.accept(0);
    let hello = connect_frame(0, 6000, SessionId(0), &[0; 16], Some(true));
    world.send(slow, &hello[..20]);
    world.pass(9000);
    assert_eq!(world.clients[silent].closed, None);
    world.pass(2000);
    assert_eq!(world.clients[silent].closed, Some(CloseReason::Sessionless));
    assert_eq!(world.clients[slow].closed, Some(CloseReason::Sessionless));
    assert_eq!(world.shards[0].counters().sessionless_expired, 2);
}
