//! Watches, beside a Java server: every kind and every trigger, catch-up after a reconnect,
//! delivery by ACL.

use rookeeper_interop::request::{self, Acl, text};
use rookeeper_interop::script::{
    Script, add_watch, children, create, create_with, delete, digest, exists, get, set,
};
use rookeeper_interop::server::Settings;
use rookeeper_interop::step::Password;
use rookeeper_interop::wire::opcode;

fn script(name: &str) -> Option<Script> {
    let mut script = Script::start(name, &Settings::usual())?;
    script.open(0);
    script.open(1);
    Some(script)
}

#[test]
fn one_shot_watches_fire_once_for_each_kind_of_change() {
    let Some(mut script) = script("one-shot") else { return };
    script.send(0, vec![exists("/n", true), get("/n", true), exists("/n", true)]);
    script.send(1, vec![create("/n", b"1", 0), set("/n", b"2"), set("/n", b"3")]);
    script.saw("slot 0: event zxid=0x3 err=0 type=1");
    script.send(0, vec![get("/n", true), exists("/n", true), children("/n", true)]);
    script.send(1, vec![set("/n", b"4"), create("/n/c", b"", 0), set("/n/c", b"x")]);
    script.send(0, vec![children("/n", true), children("/", true), get("/n/c", true)]);
    script.send(1, vec![delete("/n/c"), delete("/n"), create("/n", b"", 0)]);
    script.saw("type=2");
    // The same event reaches a connection once, whatever tables it stands in.
    script.send(0, vec![get("/n", true), children("/n", true), exists("/n", true)]);
    script.send(1, vec![delete("/n"), create("/n", b"", 1), delete("/n")]);
    script.finish();
}

#[test]
fn a_session_sees_its_own_events_before_the_replies_that_reflect_them() {
    let Some(mut script) = script("own-events") else { return };
    script.send(
        0,
        vec![
            exists("/p", true),
            create("/p", b"", 0),
            get("/p", true),
            set("/p", b"1"),
            children("/p", true),
            create("/p/c", b"", 0),
            get("/p/c", true),
            delete("/p/c"),
            get("/p", true),
            delete("/p"),
        ],
    );
    script.finish();
}

#[test]
fn persistent_and_recursive_watches_stay() {
    let Some(mut script) = script("persistent") else { return };
    script.send(0, vec![add_watch("/p", 0), add_watch("/r", 1), add_watch("/", 1)]);
    for _ in 0..2 {
        script.send(
            1,
            vec![
                create("/p", b"", 0),
                create("/p/c", b"", 0),
                set("/p/c", b"1"),
                set("/p", b"2"),
                delete("/p/c"),
                delete("/p"),
                create("/r", b"", 0),
                create("/r/a", b"", 0),
                create("/r/a/b", b"", 2),
                set("/r/a", b"3"),
            ],
        );
        script.saw("type=4");
        script.send(1, vec![delete("/r/a/b0000000000"), delete("/r/a"), delete("/r")]);
    }
    // All modes on one path, with one-shot watches beside them.
    script.send(0, vec![add_watch("/m", 0), add_watch("/m", 1), exists("/m", true)]);
    script.send(1, vec![create("/m", b"", 0), create("/m/c", b"", 0), set("/m", b"1")]);
    script.send(0, vec![children("/m", true), get("/m", true), add_watch("/m/c", 0)]);
    script.send(1, vec![delete("/m/c"), delete("/m")]);
    script.finish();
}

#[test]
fn watches_are_checked_and_removed_by_kind() {
    let Some(mut script) = script("remove") else { return };
    script.send(0, vec![create("/w", b"", 0)]);
    let place =
        || vec![get("/w", true), children("/w", true), add_watch("/w", 0), add_watch("/w", 1)];
    for kind in 1..=5 {
        script.send(0, place());
        for check in 0..=6 {
            script.ask(0, vec![request::watch(opcode::CHECK_WATCHES, &text("/w"), check)]);
        }
        script.ask(0, vec![request::watch(opcode::REMOVE_WATCHES, &text("/w"), kind)]);
        for check in 1..=5 {
            script.ask(0, vec![request::watch(opcode::CHECK_WATCHES, &text("/w"), check)]);
        }
        script.ask(0, vec![request::watch(opcode::REMOVE_WATCHES, &text("/w"), kind)]);
        script.send(1, vec![set("/w", b"1"), create("/w/c", b"", 0), delete("/w/c")]);
    }
    script.send(0, vec![request::watch(opcode::REMOVE_WATCHES, &text("/w"), 9)]);
    script.saw("err=-5");
    script.finish();
}

#[test]
fn watches_are_set_again_after_a_reconnect() {
    let Some(mut script) = script("set-watches") else { return };
    let paths = ["/kept", "/changed", "/deleted", "/grown"];
    script.send(0, paths.iter().map(|path| create(path, b"", 0)).collect());
    let seen = script.last.zxid;
    script.drop_slot(0);
    script.send(
        1,
        vec![
            set("/changed", b"1"),
            delete("/deleted"),
            create("/grown/c", b"", 0),
            create("/made", b"", 0),
        ],
    );
    script.resume(0, 0, seen, Password::Right);
    let all = || {
        let names = ["/kept", "/changed", "/deleted", "/grown", "/made", "/missing"];
        Some(names.iter().map(|name| text(name)).collect::<Vec<_>>())
    };
    let none = || Some(Vec::new());
    script.send(0, vec![request::set_watches(seen, &[all(), none(), none()])]);
    script.saw("type=3");
    script.send(0, vec![request::set_watches(seen, &[none(), all(), none()])]);
    script.saw("type=1");
    script.send(0, vec![request::set_watches(seen, &[none(), none(), all()])]);
    script.saw("type=4");
    script.send(0, vec![request::set_watches(seen, &[all(), all(), all(), all(), all()])]);
    script.send(1, vec![set("/kept", b"1"), create("/kept/c", b"", 0), create("/missing", b"", 0)]);
    script.send(1, vec![set("/kept/c", b"1"), delete("/kept/c"), delete("/kept")]);
    script.send(0, vec![request::set_watches(seen, &[None, none(), none()])]);
    script.saw("err=-5");
    script
        .send(0, vec![request::set_watches(0, &[Some(vec![None, text("/made")]), none(), none()])]);
    script.finish();
}

#[test]
fn events_are_told_only_to_those_who_may_read() {
    let Some(mut script) = script("acl-delivery") else { return };
    let open = Acl::new(31, "world", "anyone");
    let mine = Acl::new(31, "digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
    let unreadable = Acl::new(30, "world", "anyone");
    script.send(1, vec![digest("u:p")]);
    script.send(
        1,
        vec![
            create_with("/a", std::slice::from_ref(&open), 0),
            create_with("/b", std::slice::from_ref(&mine), 0),
        ],
    );
    script.send(0, vec![get("/a", true), children("/a", true), exists("/a/c", true)]);
    script.send(
        0,
        vec![add_watch("/a", 0), add_watch("/a", 1), add_watch("/b", 1), add_watch("/b", 0)],
    );
    script.send(1, vec![request::set_acl(&text("/a"), Some(&[mine]), -1)]);
    script.send(1, vec![set("/a", b"1"), create_with("/a/c", &[unreadable], 0), delete("/a/c")]);
    script
        .send(1, vec![set("/b", b"1"), create("/b/c", b"", 0), set("/b/c", b"2"), delete("/b/c")]);
    script.send(1, vec![request::set_acl(&text("/a"), Some(&[open]), -1)]);
    script.send(1, vec![set("/a", b"2"), create("/a/c", b"", 0), delete("/a/c"), delete("/a")]);
    script.saw("slot 0: event");
    script.finish();
}

#[test]
fn a_closed_session_takes_its_ephemerals_and_tells_watchers() {
    let Some(mut script) = script("close") else { return };
    script.open(2);
    script.send(0, vec![create("/d", b"", 0), create("/d/e1", b"", 1), create("/d/e2", b"", 3)]);
    script.send(1, vec![children("/d", true), get("/d/e1", true), add_watch("/", 1)]);
    script.send(2, vec![add_watch("/d", 0), exists("/d/late", true)]);
    script.send(0, vec![create("/d/late", b"", 1), request::close_session()]);
    script.saw("slot 1: event");
    script.saw("slot 0: closed");
    script.send(1, vec![children("/d", false)]);
    script.finish();
}
