//! Sessions, beside a Java server: handshakes, negotiation, expiry, resumption, authentication,
//! limits.

use rookeeper_interop::request::{self, Request, text};
use rookeeper_interop::script::{Script, add_watch, children, create, digest, exists, get, set};
use rookeeper_interop::server::Settings;
use rookeeper_interop::step::{Handshake, Password, Step};
use rookeeper_interop::wire::{Writer, frame, opcode};

#[test]
fn timeouts_are_negotiated() {
    let settings = Settings::usual().config("minSessionTimeout", "5000");
    let Some(mut script) = Script::start("negotiation", &settings) else { return };
    for timeout_ms in [i32::MIN, -1, 0, 1, 4_999, 5_000, 5_001, 599_999, 600_001, i32::MAX] {
        for handshake in [Handshake::Usual, Handshake::ReadOnly, Handshake::Old] {
            script.open_with(0, timeout_ms, handshake);
            script.send(0, vec![request::close_session()]);
        }
    }
    script.finish();
}

#[test]
fn the_default_bounds_of_a_timeout_are_two_and_twenty_ticks() {
    let mut settings = Settings::usual();
    settings.config.retain(|(key, _)| key != "maxSessionTimeout");
    let Some(mut script) = Script::start("default-bounds", &settings) else { return };
    for timeout_ms in [1, 3_999, 4_001, 39_999, 40_001] {
        script.open_with(0, timeout_ms, Handshake::Usual);
        script.send(0, vec![request::close_session()]);
    }
    script.finish();
}

#[test]
fn sessions_are_taken_up_and_refused() {
    let Some(mut script) = Script::start("resume", &Settings::usual()) else { return };
    script.open(0);
    script.open_with(1, 600_000, Handshake::Old);
    script.send(0, vec![create("/e", b"", 1), get("/e", true)]);
    let zxid = script.last.zxid;
    script.drop_slot(0);
    script.resume(0, 0, zxid, Password::Wrong);
    script.resume(0, 0, zxid, Password::Null);
    script.resume(0, 0, zxid + 1, Password::Right);
    script.saw("closed without a connect response");
    script.resume(0, 0, zxid, Password::Right);
    // A second connection of the same session closes the first.
    script.resume(2, 0, zxid, Password::Right);
    script.saw("slot 0: closed");
    script.send(1, vec![set("/e", b"1")]);
    script.send(2, vec![get("/e", false), request::close_session()]);
    script.resume(2, 0, zxid, Password::Right);
    script.send(1, vec![exists("/e", false)]);
    script.finish();
}

#[test]
fn sessions_survive_a_restart() {
    for clean in [true, false] {
        let Some(mut script) = Script::start("restart", &Settings::usual()) else { return };
        script.open(0);
        script.open(1);
        script.send(0, vec![create("/e", b"", 1), create("/p", b"", 0), create("/p/s", b"", 3)]);
        script.send(1, vec![create("/f", b"", 1), add_watch("/", 1)]);
        let zxid = script.last.zxid;
        script.step(Step::Restart { clean });
        script.resume(0, 0, zxid, Password::Right);
        let lists = [Some(vec![]), Some(vec![text("/f")]), Some(vec![text("/p")])];
        script.send(0, vec![request::set_watches(zxid, &lists)]);
        script.send(0, vec![request::path_only(opcode::GET_EPHEMERALS, &text("/"))]);
        script.resume(1, 1, zxid, Password::Right);
        script.send(1, vec![set("/p", b"1"), create("/p/s", b"", 3), request::close_session()]);
        script.send(0, vec![children("/p", false), children("/", false)]);
        script.finish();
    }
}

#[test]
fn an_expired_session_loses_its_ephemerals() {
    let settings = Settings::usual().config("tickTime", "200").config("minSessionTimeout", "400");
    let Some(mut script) = Script::start("expiry", &settings) else { return };
    script.open(0);
    script.open_with(1, 400, Handshake::Usual);
    script.send(0, vec![children("/", true), exists("/e1", true), exists("/e2", true)]);
    script.send(1, vec![create("/e1", b"", 1), create("/e2", b"", 1), create("/kept", b"", 0)]);
    script.send(0, vec![children("/", true), get("/e1", true), get("/e2", true)]);
    let zxid = script.last.zxid;
    script.drop_slot(1);
    script.step(Step::AwaitDeleted { slot: 0, path: "/e1".to_owned() });
    script.saw("slot 0: event");
    script.resume(1, 1, zxid, Password::Right);
    script.saw("timeout=0");
    script.send(0, vec![children("/", false), create("/next", b"", 0)]);
    script.finish();
}

#[test]
fn authentication_packets() {
    let Some(mut script) = Script::start("auth", &Settings::usual()) else { return };
    let packets: Vec<(&str, Option<&[u8]>)> = vec![
        ("digest", Some(b"u:p")),
        ("digest", Some(b"u:p")),
        ("digest", Some(b"u:other")),
        ("digest", Some(b"")),
        ("digest", Some(b"nocolon")),
        ("digest", Some(b"a:b:c")),
        ("digest", Some(b":")),
        ("digest", Some(b"\xff\xfe:\xfd")),
        ("digest", None),
        ("ip", Some(b"whatever")),
        ("ip", None),
        ("super", Some(b"test")),
        ("world", Some(b"anyone")),
        ("auth", Some(b"")),
        ("sasl", Some(b"x")),
        ("x509", Some(b"x")),
        ("", Some(b"")),
    ];
    for (scheme, credentials) in packets {
        script.open(0);
        script.send(0, vec![digest("first:one")]);
        script.send(0, vec![request::auth(&text(scheme), credentials)]);
        if script.last.connected.contains(&0) {
            script.send(0, vec![request::who_am_i()]);
            script.drop_slot(0);
        }
    }
    script.open(0);
    let null = request::auth(&None, Some(b"x"));
    script.send(0, vec![null]);
    script.finish();
}

#[test]
fn authentication_belongs_to_the_connection() {
    let Some(mut script) = Script::start("auth-connection", &Settings::usual()) else { return };
    script.open(0);
    script.send(0, vec![digest("super:test")]);
    script.send(0, vec![request::who_am_i(), set("/zookeeper/config", b"no")]);
    let zxid = script.last.zxid;
    script.drop_slot(0);
    script.resume(0, 0, zxid, Password::Right);
    script.send(0, vec![request::who_am_i(), set("/zookeeper/config", b"no")]);
    script.saw("err=-102");
    script.finish();
}

#[test]
fn unknown_operations_end_the_connection() {
    let Some(mut script) = Script::start("unknown", &Settings::usual()) else { return };
    // Left out: -10, which Java answers with a second connect response, and 102, SASL.
    for code in [-12, -2, -1, 0, 10, 13, 23, 70, 99, 108, 200, i32::MAX, i32::MIN] {
        script.open(0);
        let body = Writer::new().int(0).int(0);
        script.send(0, vec![Request::new(code, body, format!("opcode {code}")).closing()]);
    }
    script.finish();
}

#[test]
fn frames_that_no_client_sends() {
    let Some(mut script) = Script::start("frames", &Settings::usual()) else { return };
    for length in [-1, i32::MIN, 0x0010_0000, i32::MAX] {
        script.open(0);
        script.step(Step::Hostile { slot: 0, bytes: Writer::new().int(length).bytes });
    }
    for payload in [&b""[..], b"abc", b"\0\0\0\x01"] {
        script.open(0);
        script.step(Step::Hostile { slot: 0, bytes: frame(payload) });
    }
    let connect = |version: i32, zxid: i64, session: i64, password: Option<&[u8]>, tail: &[u8]| {
        let body = Writer::new().int(version).long(zxid).int(30_000).long(session);
        frame(&body.buffer(password).raw(tail).bytes)
    };
    for bytes in [
        frame(b""),
        frame(b"short"),
        Writer::new().int(-1).bytes,
        Writer::new().int(i32::MAX).bytes,
        connect(0, 1 << 40, 0, Some(&[0; 16]), &[0]),
        connect(0, 0, 77, Some(&[0; 16]), &[0]),
        connect(0, 0, 77, None, &[0]),
        connect(0, 0, -1, Some(b""), &[1]),
        b"nope".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        script.step(Step::Stranger { bytes });
    }
    script.finish();
}

#[test]
fn connections_of_one_address_are_limited() {
    let mut settings = Settings::usual();
    settings.config.retain(|(key, _)| key != "maxClientCnxns");
    let Some(mut script) = Script::start("cnxns", &settings.config("maxClientCnxns", "3")) else {
        return;
    };
    for slot in 0..4 {
        script.open(slot);
    }
    script.saw("closed");
    script.drop_slot(0);
    script.finish();
}

#[test]
fn questions_about_the_session_itself() {
    let Some(mut script) = Script::start("questions", &Settings::usual()) else { return };
    script.open(0);
    script.open(1);
    script.send(0, vec![create("/a", b"", 0), create("/a/e", b"", 1), create("/ae", b"", 1)]);
    script.send(1, vec![create("/a/f", b"", 1)]);
    for prefix in ["", " ", "/", " / ", "/a", "/a/", "a", "/none"] {
        for slot in [0, 1] {
            let asked = request::path_only(opcode::GET_EPHEMERALS, &text(prefix));
            script.send(slot, vec![asked]);
        }
    }
    script.send(0, vec![request::path_only(opcode::GET_EPHEMERALS, &None)]);
    for path in ["", "/", "/a", "/a/e", "/none", "/zookeeper", "a"] {
        let asked = request::path_only(opcode::GET_ALL_CHILDREN_NUMBER, &text(path));
        script.send(0, vec![asked]);
    }
    script.finish();
}

#[test]
fn reconfiguration_is_refused() {
    // With reconfigEnabled=true Java starts and answers Unimplemented; we refuse to start until
    // there are ensembles.
    let Some(mut script) = Script::start("reconfig", &Settings::usual()) else { return };
    script.open(0);
    let joining = text("server.5=127.0.0.1:2888:3888;2181");
    script.send(0, vec![request::reconfig(&joining, &None, &None, -1)]);
    script.saw("err=-123");
    let other = request::reconfig(&None, &None, &None, 5);
    script.send(0, vec![other, get("/zookeeper/config", true)]);
    script.send(0, vec![digest("super:test")]);
    script.send(0, vec![request::reconfig(&joining, &text("1"), &joining, 0)]);
    script.finish();
}
