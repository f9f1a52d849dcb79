//! Writes, beside a Java server: creates of every kind, versions, multi, ACLs, quotas, clean-up of
//! containers and of znodes whose time has passed.

use rookeeper_interop::request::{self, Acl, Request, open_acl, text};
use rookeeper_interop::script::{
    Script, add_watch, children, create, create_with, delete, digest, exists, get, set,
};
use rookeeper_interop::server::Settings;
use rookeeper_interop::step::{Chunks, Step};
use rookeeper_interop::wire::{Writer, opcode};

fn script(name: &str, settings: &Settings) -> Option<Script> {
    let mut script = Script::start(name, settings)?;
    script.open(0);
    script.open(1);
    Some(script)
}

fn check(path: &str, version: i32) -> Request {
    request::path_and_version(opcode::CHECK, &text(path), version)
}

fn multi(parts: &[Request]) -> Request {
    request::multi(opcode::MULTI, parts)
}

#[test]
fn reads_and_writes_of_a_session_keep_their_order() {
    let Some(mut script) = script("fifo", &Settings::usual()) else { return };
    let mut batch = vec![create("/x", b"0", 0)];
    for round in 0_u8..60 {
        batch.extend([get("/x", true), set("/x", &[round]), get("/x", false), exists("/y", false)]);
        batch.extend([create("/y", &[round], 0), children("/", false), delete("/y")]);
        batch.push(request::ping());
        batch.push(request::path_only(opcode::SYNC, &text("/x")));
    }
    script.send(0, batch.clone());
    script.send_as(1, batch.clone(), Chunks::Pieces(7));
    script.send_as(0, batch, Chunks::Frames);
    script.finish();
}

#[test]
fn every_flag_of_every_create() {
    for extended in ["true", "false"] {
        let settings = Settings::usual().property("zookeeper.extendedTypesEnabled", extended);
        let Some(mut script) = script("flags", &settings) else { return };
        let acl = open_acl();
        let acl = acl.as_deref();
        for flags in [0, 1, 2, 3, 4, 5, 6, 7, -1] {
            for kind in [opcode::CREATE, opcode::CREATE2, opcode::CREATE_CONTAINER] {
                let path = text(&format!("/n{kind}-{}", flags + 1));
                script.ask(0, vec![request::create(kind, &path, Some(b"d"), acl, flags)]);
            }
            // Another flag without a TTL passes Java's check and then stops its server.
            for ttl in [0, 1, 3_600_000, 1_099_511_627_775, 1_099_511_627_776, i64::MAX] {
                let path = text(&format!("/t{ttl}-{}", flags + 1));
                script.ask(0, vec![request::create_ttl(&path, None, acl, flags, ttl)]);
            }
        }
        for name in ["/n1-1", "/n15-2", "/n19-5", "/t3600000-6", "/n1-10000000000"] {
            script.ask(1, vec![exists(name, false), create(&format!("{name}/c"), b"", 0)]);
        }
        script.finish();
    }
}

#[test]
fn sequence_numbers_count_creates_and_survive_failures() {
    let Some(mut script) = script("sequence", &Settings::usual()) else { return };
    script.send(0, vec![create("/s", b"", 0), create("/s/", b"", 2), create("/s/a", b"", 3)]);
    script.saw("/s/0000000000");
    script.send(
        0,
        vec![
            delete("/s/0000000000"),
            create("/s/-", b"", 2),
            multi(&[create("/s/m", b"", 2), create("/s/m", b"", 2), check("/none", 0)]),
            create("/s/-", b"", 2),
            multi(&[create("/s/m", b"", 2), create("/s/m", b"", 3), delete("/s/m0000000004")]),
            create("/s/0000000009", b"", 0),
            create("/s/", b"", 2),
            create("/s/", b"", 2),
            create("/s/\u{1}", b"", 2),
            create("/none/x", b"", 2),
        ],
    );
    script.send(0, vec![children("/s", false)]);
    script.finish();
}

#[test]
fn a_multi_fails_in_each_position_and_leaves_nothing() {
    let Some(mut script) = script("multi", &Settings::usual()) else { return };
    script.send(0, vec![create("/m", b"", 0), create("/m/e", b"", 1)]);
    script.send(1, vec![add_watch("/m", 1), children("/m", true), get("/m", true)]);
    let good = || {
        vec![
            create("/m/a", b"1", 0),
            request::create(opcode::CREATE, &text("/m/a/b"), None, open_acl().as_deref(), 0),
            set("/m/a", b"2"),
            check("/m/a", 1),
            delete("/m/a/b"),
            create("/m/c", b"", 4),
        ]
    };
    let bad = [
        check("/m", 7),
        delete("/missing"),
        delete("/m"),
        set("/m/a/none", b""),
        create("/m/e/x", b"", 0),
        create("/m", b"", 0),
        create("bad", b"", 0),
        create_with("/m/z", &[], 0),
        delete("/zookeeper"),
    ];
    for wrong in &bad {
        for position in 0..=good().len() {
            let mut parts = good();
            parts.insert(position, wrong.clone());
            script.send(0, vec![multi(&parts), children("/m", false)]);
            script.saw(if position < good().len() { "error=-2" } else { "type=-1" });
        }
    }
    script.send(0, vec![multi(&good()), multi(&good()), multi(&[]), multi(&[check("/m", 0)])]);
    script.saw("slot 1: event");
    script.finish();
}

#[test]
fn multi_refuses_what_does_not_belong_there() {
    let Some(mut script) = script("multi-kinds", &Settings::usual()) else { return };
    let read = |kind| request::read(kind, &text("/"), true);
    for part in [
        read(opcode::GET_DATA),
        read(opcode::GET_CHILDREN),
        read(opcode::EXISTS),
        read(opcode::GET_CHILDREN2),
        request::path_only(opcode::SYNC, &text("/")),
        request::set_acl(&text("/"), open_acl().as_deref(), -1),
        request::path_only(opcode::DELETE_CONTAINER, &text("/k")),
        Request::new(-1, Writer::new().int(0), "an error".to_owned()),
        Request::new(-11, Writer::new(), "closeSession".to_owned()),
        Request::new(14, Writer::new(), "a multi".to_owned()),
    ] {
        for kind in [opcode::MULTI, opcode::MULTI_READ] {
            script.ask(0, vec![request::multi(kind, std::slice::from_ref(&part))]);
            script.ask(0, vec![request::multi(kind, &[create("/k", b"", 0), part.clone()])]);
            script.ask(0, vec![request::multi(kind, &[part.clone(), create("/k", b"", 0)])]);
            script.ask(0, vec![request::multi(kind, &[read(opcode::GET_DATA), part.clone()])]);
        }
    }
    script.saw("err=-5");
    let reads = [read(opcode::GET_DATA), request::read(opcode::GET_CHILDREN, &text("/no"), true)];
    script.send(0, vec![request::multi(opcode::MULTI_READ, &reads)]);
    script.saw("error=-101");
    let end = |kind: i32, done: u8| {
        let body = Writer::new().int(kind).raw(&[done]).int(-1);
        Request::new(opcode::MULTI, body, format!("a multi of the header {kind} {done}"))
    };
    for flags in [0, 3, 4, 5, 9] {
        let null_list = request::create(opcode::CREATE, &text("/k"), None, None, flags);
        script.ask(0, vec![multi(std::slice::from_ref(&null_list)), multi(&[])]);
        script.ask(0, vec![multi(&[create("bad", b"", 0), null_list, create("/k", b"", 9)])]);
    }
    for (kind, done) in [(1, 1), (-1, 0), (99, 0), (-1, 2)] {
        script.ask(0, vec![end(kind, done)]);
    }
    script.finish();
}

#[test]
fn versions_are_checked() {
    let Some(mut script) = script("versions", &Settings::usual()) else { return };
    script.send(0, vec![create("/v", b"", 0)]);
    for version in [-1, 0, 1, 2, -2, i32::MAX, i32::MIN] {
        let acl = open_acl();
        script.ask(0, vec![request::set_data(&text("/v"), Some(b"x"), version)]);
        script.ask(0, vec![request::set_acl(&text("/v"), acl.as_deref(), version)]);
        script.ask(0, vec![multi(&[check("/v", version)])]);
        script.ask(0, vec![create("/v/c", b"", 0)]);
        script.ask(0, vec![request::path_and_version(opcode::DELETE, &text("/v/c"), version)]);
    }
    script.finish();
}

#[test]
fn access_control_lists_of_every_scheme() {
    let Some(mut script) = script("acl", &Settings::usual()) else { return };
    let user = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=";
    let lists: Vec<Vec<Acl>> = vec![
        vec![Acl::new(31, "digest", user), Acl::new(1, "world", "anyone")],
        vec![Acl::new(31, "auth", "")],
        vec![Acl::new(31, "ip", "127.0.0.1")],
        vec![Acl::new(31, "ip", "127.0.0.2")],
        vec![Acl::new(31, "ip", "127.255.0.0/8")],
        vec![Acl::new(31, "ip", "127.0.0.1/32")],
        vec![Acl::new(31, "ip", "0.0.0.0/0")],
        vec![Acl::new(31, "ip", "127.0.0.1/-1")],
        vec![Acl::new(31, "ip", "127.0.0")],
        vec![Acl::new(31, "ip", "127.0.0.1.2")],
        vec![Acl::new(31, "ip", "::1/128")],
        vec![Acl::new(31, "ip", "::ffff:127.0.0.1")],
        vec![Acl::new(31, "ip", "fe80::1/129")],
        vec![Acl::new(16, "digest", user), Acl::new(1, "digest", "other:x")],
        vec![Acl::new(0, "world", "anyone")],
        vec![Acl::new(31, "world", "anyone "), Acl::new(31, "world", "anyone")],
        vec![Acl::new(31, "x509", "CN=a")],
        vec![Acl::new(31, "digest", ":")],
        vec![Acl::new(31, "digest", "a:")],
        vec![Acl::new(31, "digest", ":a")],
    ];
    for round in 0..3 {
        for (index, acl) in lists.iter().enumerate() {
            let path = format!("/r{round}-{index}");
            script.ask(0, vec![create_with(&path, acl, 0)]);
            for slot in [0, 1] {
                script.ask(
                    slot,
                    vec![
                        get(&path, false),
                        exists(&path, false),
                        children(&path, false),
                        request::path_only(opcode::GET_ACL, &text(&path)),
                        request::path_only(opcode::GET_ALL_CHILDREN_NUMBER, &text(&path)),
                        set(&path, b"s"),
                        create(&format!("{path}/c{slot}"), b"", 0),
                        delete(&format!("{path}/c{slot}")),
                        multi(&[check(&path, -1)]),
                        request::set_acl(&text(&path), Some(acl), -1),
                    ],
                );
            }
        }
        let credentials = ["u:p", "super:test", "v:q"][round];
        script.send(round % 2, vec![digest(credentials)]);
        script.send(round % 2, vec![request::who_am_i()]);
    }
    script.finish();
}

#[test]
fn acl_checks_can_be_switched_off() {
    let settings = Settings::usual().property("zookeeper.skipACL", "yes");
    let Some(mut script) = script("skip-acl", &settings) else { return };
    let none = [Acl::new(0, "world", "anyone")];
    script.ask(0, vec![create_with("/a", &none, 0), get("/a", true), set("/a", b"1")]);
    script.ask(1, vec![create("/a/b", b"", 0), delete("/a/b"), children("/a", false)]);
    script
        .ask(1, vec![request::path_only(opcode::GET_ACL, &text("/a")), create_with("/c", &[], 0)]);
    script.finish();
}

#[test]
fn eager_acl_checks_answer_with_zxid_zero() {
    let settings = Settings::usual().property("zookeeper.enableEagerACLCheck", "true");
    let Some(mut script) = script("eager-acl", &settings) else { return };
    let none = [Acl::new(1, "world", "anyone")];
    script.ask(0, vec![create_with("/a", &none, 0)]);
    script.ask(
        1,
        vec![set("/a", b"1"), create("/a/b", b"", 0), create("/no/b", b"", 0), set("/no", b"")],
    );
    script.ask(1, vec![delete("/a/b"), delete("/no/x"), delete("/a"), set("bad", b"")]);
    script.ask(1, vec![request::set_acl(&text("/a"), Some(&none), -1), create("x", b"", 0)]);
    script.ask(1, vec![multi(&[set("/a", b"1")]), get("/a", false)]);
    script.finish();
}

fn quota(path: &str, limit: &str) -> Vec<Request> {
    let node = format!("/zookeeper/quota{path}");
    vec![
        create(&node, b"", 0),
        create(&format!("{node}/zookeeper_limits"), limit.as_bytes(), 0),
        create(&format!("{node}/zookeeper_stats"), b"count=0,bytes=0", 0),
    ]
}

fn statistics(path: &str) -> Request {
    get(&format!("/zookeeper/quota{path}/zookeeper_stats"), false)
}

#[test]
fn quotas_count_and_limit() {
    for enforce in ["true", "false"] {
        let settings = Settings::usual().property("zookeeper.enforceQuota", enforce);
        let Some(mut script) = script("quota", &settings) else { return };
        script
            .ask(0, vec![create("/q", b"12345", 0), create("/q/a", b"1", 0), create("/r", b"", 0)]);
        script.ask(0, quota("/q", "count=5,bytes=20=;byteHardLimit=30;countHardLimit=6"));
        script.ask(0, quota("/r", "count=2,bytes=3"));
        script.ask(0, vec![statistics("/q"), statistics("/r")]);
        for number in 0..6 {
            script.ask(0, vec![create(&format!("/q/n{number}"), b"12345", 0), statistics("/q")]);
            script.ask(0, vec![create(&format!("/r/n{number}"), b"12345", 0), statistics("/r")]);
        }
        let long = [b'x'; 40];
        script.ask(
            0,
            vec![set("/q/a", &long), set("/q/a", b""), set("/q/a", b"123"), statistics("/q")],
        );
        script.ask(0, vec![multi(&[create("/q/m", &long, 0)]), multi(&[set("/q/a", &long)])]);
        script.ask(0, vec![delete("/q/n0"), statistics("/q"), create("/q/z/y", b"", 0)]);
        script.ask(0, vec![request::set_data(&text("/q/a"), None, -1), statistics("/q")]);
        let limits = "/zookeeper/quota/q/zookeeper_limits";
        script
            .ask(0, vec![set(limits, b"count=-1,bytes=-1"), set("/q/a", &long), statistics("/q")]);
        script.ask(0, vec![delete(limits), create("/q/free", &long, 0), statistics("/q")]);
        script.step(Step::Restart { clean: false });
        script.open(0);
        script.ask(
            0,
            vec![statistics("/q"), statistics("/r"), create("/r/after", b"1", 0), statistics("/r")],
        );
        script.finish();
    }
}

#[test]
fn containers_go_when_their_last_child_went() {
    // Rarely enough that the check hardly comes into the middle of the step before it is awaited.
    let settings = Settings::usual().property("znode.container.checkIntervalMs", "1500");
    let Some(mut script) = script("container", &settings) else { return };
    script.send(1, vec![add_watch("/", 1), children("/", true)]);
    let acl = open_acl();
    let container = |path: &str| {
        request::create(opcode::CREATE_CONTAINER, &text(path), None, acl.as_deref(), 4)
    };
    // The flag of a container does not make one: only the operation does.
    script.send(0, vec![create("/flag-only", b"", 4), create("/flag-only/x", b"", 0)]);
    script.send(0, vec![container("/never-used"), container("/c"), create("/c/x", b"", 0)]);
    script.send(0, vec![delete("/flag-only/x"), delete("/c/x")]);
    script.step(Step::AwaitDeleted { slot: 0, path: "/c".to_owned() });
    script.saw("slot 1: event");
    script.send(0, vec![exists("/never-used", false), children("/", false)]);
    script.finish();
}

#[test]
fn znodes_with_a_time_to_live_go_when_it_has_passed() {
    let settings = Settings::usual()
        .property("znode.container.checkIntervalMs", "150")
        .property("zookeeper.extendedTypesEnabled", "true");
    let Some(mut script) = script("ttl", &settings) else { return };
    let acl = open_acl();
    let ttl = |path: &str, flags, ttl| {
        request::create_ttl(&text(path), Some(b""), acl.as_deref(), flags, ttl)
    };
    script.send(0, vec![ttl("/long", 5, 3_600_000), ttl("/t", 5, 300), create("/t/child", b"", 0)]);
    script.send(0, vec![exists("/t", true), delete("/t/child")]);
    script.step(Step::AwaitDeleted { slot: 0, path: "/t".to_owned() });
    script.saw("type=2");
    script.send(0, vec![ttl("/s", 6, 50)]);
    script.step(Step::AwaitDeleted { slot: 0, path: "/s0000000002".to_owned() });
    script.send(0, vec![children("/", false)]);
    script.finish();
}

#[test]
fn requests_up_to_the_largest_frame_are_served() {
    let settings = Settings::usual().property("jute.maxbuffer", "20000");
    let Some(mut script) = script("sizes", &settings) else { return };
    // Frame of a create2 of /big: header 8, path 8, data 4 + n, ACL 4 + 4 + 9 + 10, flags 4.
    let around = 20_000 - 51;
    for length in [around - 1, around] {
        let data = vec![b'd'; length];
        script.ask(0, vec![create("/big", &data, 0), get("/big", false), delete("/big")]);
    }
    let over = create("/big", &vec![b'd'; around + 1], 0).xid(9).closing();
    script.step(Step::Hostile { slot: 0, bytes: over.frame() });
    script.saw("closed");
    for number in 0..400 {
        let name =
            format!("/a-name-of-some-length-so-that-the-list-is-longer-than-a-frame-{number}");
        script.send(1, vec![create(&name, b"", 0)]);
    }
    script.send(1, vec![children("/", false)]);
    script.finish();
}

#[test]
fn bodies_that_end_early_or_lie_about_lengths() {
    let Some(mut script) = script("malformed", &Settings::usual()) else { return };
    let acl = open_acl();
    let whole = [
        create("/n", b"data", 0),
        request::create_ttl(&text("/n"), Some(b"x"), acl.as_deref(), 5, 9),
        set("/n", b"data"),
        delete("/n"),
        get("/n", true),
        exists("/n", true),
        children("/n", true),
        request::read(opcode::GET_CHILDREN, &text("/n"), false),
        request::path_only(opcode::GET_ACL, &text("/n")),
        request::set_acl(&text("/n"), acl.as_deref(), -1),
        request::path_only(opcode::SYNC, &text("/n")),
        request::path_only(opcode::GET_EPHEMERALS, &text("/n")),
        request::path_only(opcode::GET_ALL_CHILDREN_NUMBER, &text("/n")),
        request::path_only(opcode::DELETE_CONTAINER, &text("/n")),
        add_watch("/n", 1),
        request::watch(opcode::CHECK_WATCHES, &text("/n"), 1),
        request::watch(opcode::REMOVE_WATCHES, &text("/n"), 1),
        request::set_watches(0, &[Some(vec![text("/n")]), None, Some(vec![])]),
        request::reconfig(&text("x"), &None, &None, -1),
        multi(&[create("/n", b"", 0), check("/n", 0)]),
        request::multi(opcode::MULTI_READ, &[get("/n", false)]),
        request::who_am_i(),
    ];
    for request in &whole {
        let mut cuts = Vec::new();
        for length in 0..=request.body.len() {
            let mut cut = request.clone();
            cut.body.truncate(length);
            cut.text = format!("first {length} bytes of {}", request.text);
            cuts.push(cut);
        }
        script.ask(0, cuts);
        for length in [-2, i32::MIN, i32::MAX, 0x0010_0001, 3000] {
            let body = Writer::new().int(length).raw(&request.body);
            let text = format!("length {length} before {}", request.text);
            script.ask(0, vec![Request::new(request.opcode, body, text)]);
        }
        let mut long = request.clone();
        long.body.extend_from_slice(&[0xff; 9]);
        script.ask(0, vec![long]);
    }
    script.finish();
}

#[test]
fn paths_of_every_shape() {
    let Some(mut script) = script("paths", &Settings::usual()) else { return };
    let mut names: Vec<Option<Vec<u8>>> = vec![None, text(""), text("a"), text("/"), text("//")];
    for character in (0_u32..=0x1_0400).step_by(97).chain(0x7e..0xa2).chain(0xd7f0..0xe002) {
        if let Some(character) = char::from_u32(character) {
            names.push(text(&format!("/{character}")));
        }
    }
    for character in [0xf8ff, 0xf900, 0xffef, 0xfff0, 0xfffd, 0xffff, 0x1_f600] {
        names.extend(char::from_u32(character).map(|c| text(&format!("/x{c}y"))));
    }
    let odd =
        ["/.", "/..", "/a/.", "/a/..", "/a/../b", "/a/./b", "/.a", "/a.", "/a//b", "/a/", "//a"];
    names.extend(odd.iter().map(|name| text(name)));
    let broken: [&[u8]; 8] = [
        b"/\xff",
        b"/\xc3",
        b"/a\xc3(",
        b"/\xe2\x82",
        b"/\xe2(\xa1",
        b"/\xed\xa0\x80",
        b"/\xf0\x28\x8c\xbc",
        b"/\xf8\xa1\xa1\xa1\xa1",
    ];
    names.extend(broken.iter().map(|bytes| Some(bytes.to_vec())));
    let acl = open_acl();
    for name in &names {
        script.send(
            0,
            vec![
                request::create(opcode::CREATE, name, None, acl.as_deref(), 0),
                request::read(opcode::EXISTS, name, false),
                request::read(opcode::GET_DATA, name, true),
                request::set_data(name, Some(b"x"), -1),
                request::path_only(opcode::SYNC, name),
                request::path_only(opcode::GET_ALL_CHILDREN_NUMBER, name),
                // Java registers a watch of the null path; we refuse it.
                request::watch(opcode::ADD_WATCH, &name.clone().or(text("/null")), 0),
                request::watch(opcode::CHECK_WATCHES, name, 4),
                request::path_only(opcode::DELETE_CONTAINER, &text("/none")),
                request::path_and_version(opcode::DELETE, name, 5),
                request::create(opcode::CREATE, name, None, acl.as_deref(), 2),
                request::path_and_version(opcode::DELETE, name, -1),
            ],
        );
    }
    script.finish();
}
