//! Handshake, reconnect, timers, the ends of a session.

mod support;

use rookeeper_jute::proto::{AuthPacket, ConnectRequest};
use rookeeper_jute::{Decode, ErrorCode, OpCode, SessionId, Zxid};
use rookeeper_session::*;
use support::*;

fn config() -> Config {
    Config::new(3, 30_000, 1)
}

#[test]
fn a_session_connects_and_resumes_with_what_it_learnt() {
    let mut harness = Harness::new(config());
    assert_eq!(harness.connect(), 0);
    assert_eq!(harness.take(), [Effect::State(State::Connecting)]);
    let frame = harness.handshake(7, Some(false));
    let request = ConnectRequest::from_bytes(&frame).expect("a connect request");
    assert_eq!((request.session_id, request.timeout_ms), (SessionId(0), 30_000));
    assert_eq!((request.password, request.read_only), (Some(&[0; 16][..]), Some(false)));
    assert_eq!(harness.take(), [Effect::State(State::Connected)]);
    harness.submit(1, delete("/a"));
    harness.receive(&reply(1, 42, ErrorCode::Ok, &[]));
    harness.disconnect();
    assert_eq!(
        harness.take(),
        [completed(1, 42, Ok(Reply::Done)), Effect::State(State::Disconnected)]
    );
    assert_eq!(harness.connect(), 1);
    let frame = harness.handshake(7, Some(false));
    let request = ConnectRequest::from_bytes(&frame).expect("a connect request");
    assert_eq!((request.session_id, request.last_zxid_seen), (SessionId(7), Zxid(42)));
    assert_eq!(request.password, Some(&[7; 16][..]));
    assert_eq!(harness.take(), [Effect::State(State::Connecting), Effect::State(State::Connected)]);
    assert_eq!(harness.session.state(), Some(State::Connected));
}

#[test]
fn a_server_of_old_leaves_the_last_byte_out_and_so_does_an_old_client() {
    let mut harness = Harness::new(Config { read_only: ReadOnly::Unsaid, ..config() });
    harness.connect();
    let frame = harness.handshake(7, None);
    assert_eq!(frame.len(), 44);
    assert_eq!(harness.session.state(), Some(State::Connected));
    assert_eq!((harness.session.id(), harness.session.timeout_ms()), (SessionId(7), 30_000));
}

#[test]
fn a_session_of_before_goes_on() {
    let resume = Some((SessionId(9), vec![5; 16]));
    let mut harness = Harness::new(Config { resume, ..config() });
    harness.connect();
    let frame = harness.handshake(9, Some(false));
    let request = ConnectRequest::from_bytes(&frame).expect("a connect request");
    assert_eq!((request.session_id, request.password), (SessionId(9), Some(&[5; 16][..])));
}

#[test]
fn credentials_watches_and_requests_wait_for_the_handshake_and_leave_in_this_order() {
    let mut harness = Harness::established(config());
    harness.step(Input::AddAuth { scheme: "digest".into(), auth: b"a:b".to_vec() });
    harness.submit(1, exists("/a", Some(1)));
    assert_eq!(harness.ops(), [(-4, OpCode::Auth), (1, OpCode::Exists)]);
    harness.receive(&reply(-4, 0, ErrorCode::Ok, &[]));
    harness.receive(&reply(1, 5, ErrorCode::NoNode, &[]));
    harness.disconnect();
    harness.submit(2, delete("/a"));
    harness.connect();
    harness.submit(3, delete("/b"));
    harness.handshake(7, Some(false));
    let seen = harness.seen();
    let ops: Vec<_> = seen.iter().map(|seen| (seen.xid, seen.op)).collect();
    let expected =
        [(-4, OpCode::Auth), (-8, OpCode::SetWatches), (2, OpCode::Delete), (3, OpCode::Delete)];
    assert_eq!(ops, expected);
    let auth = AuthPacket::from_bytes(&seen[0].body).expect("an auth packet");
    assert_eq!((auth.scheme.as_deref(), auth.auth), (Some("digest"), Some(&b"a:b"[..])));
    harness.take();
    for bytes in [
        reply(-8, 6, ErrorCode::Ok, &[]),
        reply(2, 7, ErrorCode::Ok, &[]),
        reply(3, 8, ErrorCode::NoNode, &[]),
    ] {
        harness.receive(&bytes);
    }
    let expected = [completed(2, 7, Ok(Reply::Done)), completed(3, 8, Err(ErrorCode::NoNode))];
    assert_eq!(harness.take(), expected);
}

#[test]
fn requests_are_numbered_from_one_on_each_connection_where_that_is_wanted() {
    for (xid_restart, second) in [(false, 2), (true, 1)] {
        let mut harness = Harness::established(Config { xid_restart, ..config() });
        harness.submit(1, delete("/a"));
        assert_eq!(harness.ops(), [(1, OpCode::Delete)]);
        harness.disconnect();
        harness.connect();
        harness.handshake(7, Some(false));
        harness.submit(2, delete("/a"));
        assert_eq!(harness.ops(), [(second, OpCode::Delete)]);
    }
}

#[test]
fn the_list_of_servers_goes_round_with_a_pause_after_each_cycle() {
    let mut harness = Harness::new(config());
    harness.step(Input::Tick);
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push((harness.host, harness.now_ms - 1_000_000));
        let before = harness.connection;
        harness.disconnect();
        if harness.connection == before {
            harness.run_timer();
        }
    }
    // No connection was made yet: only the pause of the cycle counts.
    assert_eq!(starts, [(0, 0), (1, 0), (2, 0), (0, 1000), (1, 1000)]);
    assert_eq!(harness.take(), [Effect::State(State::Connecting)]);
}

#[test]
fn a_server_that_accepted_begins_the_next_cycle() {
    let mut harness = Harness::established(config());
    harness.disconnect();
    let (mut hosts, mut pauses) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let lost_ms = harness.now_ms;
        harness.run_timer();
        hosts.push(harness.host);
        pauses.push((harness.now_ms - lost_ms) / 1000);
        harness.disconnect();
    }
    // The first server is tried last, and is the one that a second more is waited for.
    assert_eq!((hosts, pauses), (vec![1, 2, 0, 1], vec![0, 0, 1, 0]));
}

#[test]
fn nothing_is_sent_on_a_connection_that_the_same_bytes_end() {
    let mut harness = Harness::new(config());
    harness.connect();
    harness.submit(1, delete("/a"));
    harness.frames();
    harness.receive(&[accepted(7, TIMEOUT_MS, Some(false)), frame(&[])].concat());
    assert_eq!(harness.frames().len(), 0);
    assert_eq!(harness.session.state(), Some(State::Disconnected));
    assert!(harness.take().contains(&lost(1)));
}

#[test]
fn an_attempt_or_a_handshake_that_takes_too_long_is_given_up() {
    let mut harness = Harness::new(config());
    harness.step(Input::Tick);
    harness.submit(1, delete("/a"));
    assert_eq!(harness.timer_ms, Some(1_010_000));
    let connection = harness.connection;
    harness.take();
    harness.run_timer();
    let left = Effect::Disconnect { connection, reason: Leaving::ConnectTimeout };
    assert_eq!(harness.take(), [left, lost(1)]);
    assert_eq!(harness.host, 1);
    harness.pass(9_000);
    harness.step(Input::Connected { connection: harness.connection });
    harness.pass(9_999);
    assert_eq!(harness.take(), []);
    let connection = harness.connection;
    harness.pass(1);
    let left = Effect::Disconnect { connection, reason: Leaving::ConnectTimeout };
    assert_eq!(harness.take(), [left]);
}

#[test]
fn pings_leave_when_idle_and_silence_ends_the_connection() {
    let mut harness = Harness::established(config());
    let connection = harness.connection;
    assert_eq!(harness.timer_ms, Some(harness.now_ms + 9_000));
    harness.run_timer();
    assert_eq!(harness.ops(), [(-2, OpCode::Ping)]);
    harness.receive(&reply(-2, 5, ErrorCode::Ok, &[]));
    assert_eq!(harness.session.last_zxid(), Zxid(0), "a ping's zxid does not count");
    harness.pass(8_999);
    assert_eq!(harness.ops(), []);
    harness.submit(1, delete("/a"));
    harness.pass(8_999);
    assert_eq!(harness.ops(), [(1, OpCode::Delete)], "a request is as good as a ping");
    harness.pass(2_001);
    assert_eq!(harness.ops(), [(-2, OpCode::Ping)]);
    assert_eq!(harness.take(), []);
    harness.pass(1);
    let left = Effect::Disconnect { connection, reason: Leaving::ReadTimeout };
    assert_eq!(harness.take(), [left, lost(1), Effect::State(State::Disconnected)]);
}

#[test]
fn a_session_that_hears_nothing_is_given_up_and_a_new_one_is_not() {
    let mut harness = Harness::established(config());
    let heard_ms = harness.now_ms;
    harness.disconnect();
    harness.take();
    for _ in 0..100 {
        if harness.session.state() == Some(State::Expired) {
            break;
        }
        harness.submit(1, delete("/a"));
        harness.run_timer();
    }
    assert_eq!(harness.now_ms - heard_ms, 40_000);
    let effects = harness.take();
    assert_eq!(effects.last(), Some(&Effect::State(State::Expired)));
    harness.submit(2, delete("/a"));
    assert_eq!(harness.take(), [completed(2, -1, Err(ErrorCode::SessionExpired))]);

    let mut harness = Harness::new(config());
    harness.step(Input::Tick);
    for _ in 0..100 {
        harness.run_timer();
    }
    assert!(harness.now_ms > 1_400_000);
    assert_eq!(harness.session.state(), Some(State::Connecting));
}

#[test]
fn a_connection_is_a_sign_of_life_as_for_java() {
    let mut harness = Harness::established(config());
    harness.disconnect();
    let start_ms = harness.now_ms;
    while harness.now_ms < start_ms + 60_000 {
        harness.connect();
        harness.disconnect();
    }
    assert_ne!(harness.session.state(), Some(State::Expired));
}

#[test]
fn an_expired_session_fails_everything_and_stays_silent() {
    let mut harness = Harness::established(config());
    harness.submit(1, delete("/a"));
    harness.disconnect();
    harness.connect();
    harness.submit(2, delete("/b"));
    harness.take();
    let connection = harness.connection;
    harness.receive(&accepted(0, 0, Some(false)));
    assert_eq!(
        harness.take(),
        [
            Effect::Disconnect { connection, reason: Leaving::Expired },
            completed(2, -1, Err(ErrorCode::SessionExpired)),
            Effect::State(State::Expired),
        ]
    );
    harness.frames();
    harness.step(Input::AddAuth { scheme: "digest".into(), auth: Vec::new() });
    harness.step(Input::Connected { connection });
    harness.receive(&reply(1, 1, ErrorCode::Ok, &[]));
    harness.pass(1_000_000);
    harness.step(Input::Close { token: Token(3) });
    assert_eq!(harness.take(), [completed(3, -1, Err(ErrorCode::SessionExpired))]);
    assert_eq!(harness.frames().len(), 0);
}

#[test]
fn refused_credentials_end_the_session() {
    let mut harness = Harness::established(config());
    harness.step(Input::AddAuth { scheme: "digest".into(), auth: b"x".to_vec() });
    harness.submit(1, delete("/a"));
    let connection = harness.connection;
    harness.receive(&reply(-4, 0, ErrorCode::AuthFailed, &[]));
    assert_eq!(
        harness.take(),
        [
            Effect::Disconnect { connection, reason: Leaving::AuthFailed },
            completed(1, -1, Err(ErrorCode::AuthFailed)),
            Effect::State(State::AuthFailed),
        ]
    );
    harness.submit(2, delete("/a"));
    assert_eq!(harness.take(), [completed(2, -1, Err(ErrorCode::AuthFailed))]);
}

#[test]
fn a_close_is_answered_and_nothing_follows_it() {
    let mut harness = Harness::established(config());
    harness.submit(1, delete("/a"));
    harness.step(Input::Close { token: Token(2) });
    harness.submit(3, delete("/b"));
    assert_eq!(harness.ops(), [(1, OpCode::Delete), (2, OpCode::CloseSession)]);
    assert_eq!(harness.take(), [lost(3)]);
    harness.receive(&reply(1, 8, ErrorCode::Ok, &[]));
    let connection = harness.connection;
    harness.receive(&reply(2, 9, ErrorCode::Ok, &[]));
    assert_eq!(
        harness.take(),
        [
            completed(1, 8, Ok(Reply::Done)),
            completed(2, 9, Ok(Reply::Done)),
            Effect::Disconnect { connection, reason: Leaving::Closed },
            Effect::State(State::Closed),
        ]
    );
    harness.pass(100_000);
    assert_eq!(harness.take(), []);
}

#[test]
fn a_close_without_a_connection_is_at_once_and_with_a_lost_one_too() {
    let mut harness = Harness::established(config());
    harness.disconnect();
    harness.take();
    harness.step(Input::Close { token: Token(1) });
    assert_eq!(harness.take(), [lost(1), Effect::State(State::Closed)]);

    let mut harness = Harness::established(config());
    harness.step(Input::Close { token: Token(1) });
    harness.disconnect();
    assert_eq!(harness.take(), [lost(1), Effect::State(State::Closed)]);

    let mut harness = Harness::new(config());
    harness.connect();
    harness.step(Input::Close { token: Token(1) });
    harness.handshake(7, Some(false));
    assert_eq!(harness.ops(), [(1, OpCode::CloseSession)]);
}

#[test]
fn a_read_only_server_will_do_until_there_is_one_that_writes() {
    let mut harness = Harness::new(Config { read_only: ReadOnly::Accepted, ..config() });
    harness.connect();
    let frame = harness.handshake(3, Some(true));
    let request = ConnectRequest::from_bytes(&frame).expect("a connect request");
    assert_eq!(request.read_only, Some(true));
    assert_eq!(
        harness.take(),
        [Effect::State(State::Connecting), Effect::State(State::ConnectedReadOnly)]
    );
    let mut probes = Vec::new();
    for _ in 0..3 {
        harness.run_timer();
        for effect in harness.take() {
            let Effect::Probe { host } = effect else { panic!("{effect:?}") };
            probes.push((host, harness.now_ms - 1_000_000));
        }
    }
    assert_eq!(probes, [(1, 100), (2, 300), (0, 700)]);
    harness.step(Input::ProbeAnswered { host: 1, read_write: false });
    harness.step(Input::ProbeAnswered { host: 99, read_write: true });
    assert_eq!(harness.take(), []);
    let connection = harness.connection;
    harness.step(Input::ProbeAnswered { host: 2, read_write: true });
    let left = Effect::Disconnect { connection, reason: Leaving::ReadWriteFound };
    assert_eq!(harness.take(), [left, Effect::State(State::Disconnected)]);
    assert_eq!(harness.connect(), 2);
    // A read-only server's session is nobody else's.
    let frame = harness.handshake(8, Some(false));
    let request = ConnectRequest::from_bytes(&frame).expect("a connect request");
    assert_eq!(request.session_id, SessionId(0));
    assert_eq!(
        (harness.session.id(), harness.session.state()),
        (SessionId(8), Some(State::Connected))
    );
}

#[test]
fn what_is_said_of_a_connection_of_before_is_ignored() {
    let mut harness = Harness::established(config());
    let old = harness.connection;
    harness.disconnect();
    harness.connect();
    harness.handshake(7, Some(false));
    harness.submit(1, delete("/a"));
    harness.take();
    harness.step(Input::Disconnected { connection: old });
    harness.step(Input::Connected { connection: old });
    harness.step(Input::Connected { connection: harness.connection });
    harness.step(Input::Received { connection: old, bytes: &reply(1, 9, ErrorCode::Ok, &[]) });
    assert_eq!(harness.take(), []);
    assert_eq!(harness.session.outstanding(), 1);
}
