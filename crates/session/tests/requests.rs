//! Requests and their replies, one by one.

mod support;

use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::proto::*;
use rookeeper_jute::{Acl, CreateMode, Decode, DecodeError, Encode, ErrorCode, OpCode, Xid, Zxid};
use rookeeper_session::*;
use support::*;

fn config() -> Config {
    Config::new(1, 30_000, 1)
}

fn below(chroot: &str) -> Config {
    Config { chroot: Chroot::new(chroot).expect("a path"), ..config() }
}

fn create(path: &str, mode: CreateMode, wants_stat: bool) -> Create {
    let acl = vec![Acl::open_unsafe()];
    Create { path: path.into(), data: Some(b"d".to_vec()), acl, mode, ttl_ms: 5000, wants_stat }
}

/// Parts of a multi's reply; -1 is an error's operation.
fn parts(parts: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (op, body) in parts {
        MultiHeader::reply(*op, if *op == -1 { -101 } else { 0 }).encode(&mut out);
        out.extend_from_slice(body);
    }
    encode_end(&mut out);
    out
}

fn created(path: &str) -> Vec<u8> {
    path.to_bytes()
}

fn created2(path: &str) -> Vec<u8> {
    [path.to_bytes(), stat(1).to_bytes()].concat()
}

fn data() -> Vec<u8> {
    [(&b"d"[..]).to_bytes(), stat(1).to_bytes()].concat()
}

fn names() -> Vec<u8> {
    vec![Some("a"), Some("b")].to_bytes()
}

/// Each operation under the chroot `/c`, the operation on the wire, a reply's record, the reply.
fn table() -> Vec<(Operation, OpCode, Vec<u8>, Reply)> {
    use CreateMode::*;
    let path = || "/a".to_owned();
    let list = || vec!["a".to_owned(), "b".to_owned()];
    let made = |stat| Reply::Created { path: "/a".into(), stat };
    let open = vec![Acl::open_unsafe()];
    let read = Reply::Data { data: Some(b"d".to_vec()), stat: stat(1) };
    let info = [1i32.to_bytes(), "ip".to_bytes(), "::1".to_bytes()].concat();
    vec![
        (
            Operation::Create(create("/a", Persistent, false)),
            OpCode::Create,
            created("/c/a"),
            made(None),
        ),
        (
            Operation::Create(create("/a", Ephemeral, true)),
            OpCode::Create2,
            created2("/c/a"),
            made(Some(stat(1))),
        ),
        (
            Operation::Create(create("/a", Container, false)),
            OpCode::CreateContainer,
            created2("/c/a"),
            made(Some(stat(1))),
        ),
        (
            Operation::Create(create("/a", PersistentWithTtl, false)),
            OpCode::CreateTtl,
            created2("/c/a"),
            made(Some(stat(1))),
        ),
        (delete("/a"), OpCode::Delete, vec![], Reply::Done),
        (Operation::DeleteContainer { path: path() }, OpCode::DeleteContainer, vec![], Reply::Done),
        (exists("/a", None), OpCode::Exists, stat(1).to_bytes(), Reply::Stat(stat(1))),
        (get("/a", None), OpCode::GetData, data(), read.clone()),
        (
            Operation::SetData { path: path(), data: None, version: 3 },
            OpCode::SetData,
            stat(1).to_bytes(),
            Reply::Stat(stat(1)),
        ),
        (
            Operation::GetAcl { path: path() },
            OpCode::GetAcl,
            [open.to_bytes(), stat(1).to_bytes()].concat(),
            Reply::Acl { acl: open.clone(), stat: stat(1) },
        ),
        (
            Operation::SetAcl { path: path(), acl: open, version: -1 },
            OpCode::SetAcl,
            stat(1).to_bytes(),
            Reply::Stat(stat(1)),
        ),
        (
            Operation::GetChildren { path: path(), watch: None },
            OpCode::GetChildren,
            names(),
            Reply::Children { names: list(), stat: None },
        ),
        (
            Operation::GetChildren2 { path: path(), watch: None },
            OpCode::GetChildren2,
            [names(), stat(1).to_bytes()].concat(),
            Reply::Children { names: list(), stat: Some(stat(1)) },
        ),
        (
            Operation::GetChildrenPaginated {
                path: path(),
                max_returned: 2,
                min_czxid: Zxid(1),
                czxid_offset: 0,
                watch: None,
            },
            OpCode::GetChildrenPaginated,
            [names(), stat(1).to_bytes(), 9i64.to_bytes(), 4i32.to_bytes()].concat(),
            Reply::Page { names: list(), stat: stat(1), next_czxid: Zxid(9), next_offset: 4 },
        ),
        (
            Operation::GetAllChildrenNumber { path: path() },
            OpCode::GetAllChildrenNumber,
            12i32.to_bytes(),
            Reply::Count(12),
        ),
        (
            Operation::GetEphemerals { prefix: "/".into() },
            OpCode::GetEphemerals,
            vec![Some("/c/a"), Some("/cd/x"), Some("/c")].to_bytes(),
            Reply::Ephemerals(vec!["/a".into(), "/".into()]),
        ),
        (
            Operation::Sync { path: path() },
            OpCode::Sync,
            "/c/a".to_bytes(),
            Reply::Synced { path: path() },
        ),
        (
            Operation::Multi(vec![
                Write::Create(create("/a", Persistent, false)),
                Write::Create(create("/a", Container, false)),
                Write::Delete(path(), -1),
                Write::SetData(path(), None, 2),
                Write::Check(path(), 2),
            ]),
            OpCode::Multi,
            parts(&[
                (1, created("/c/a")),
                (15, created2("/c/a")),
                (2, vec![]),
                (5, stat(1).to_bytes()),
                (13, vec![]),
            ]),
            Reply::Multi(vec![
                Ok(PartReply::Created { path: path(), stat: None }),
                Ok(PartReply::Created { path: path(), stat: Some(stat(1)) }),
                Ok(PartReply::Done),
                Ok(PartReply::Stat(stat(1))),
                Ok(PartReply::Done),
            ]),
        ),
        (
            Operation::MultiRead(vec![
                Read::Data(path()),
                Read::Children(path()),
                Read::Data(path()),
            ]),
            OpCode::MultiRead,
            parts(&[(4, data()), (8, names()), (-1, (-101i32).to_bytes())]),
            Reply::Multi(vec![
                Ok(PartReply::Data { data: Some(b"d".to_vec()), stat: stat(1) }),
                Ok(PartReply::Children(list())),
                Err(ErrorCode::NoNode),
            ]),
        ),
        (Operation::GetConfig { watch: None }, OpCode::GetData, data(), read.clone()),
        (
            Operation::Reconfig {
                joining: Some("server.4=x".into()),
                leaving: None,
                members: None,
                from_config: -1,
            },
            OpCode::Reconfig,
            data(),
            read,
        ),
        (
            Operation::AddWatch { path: path(), is_recursive: true, watch: WatchToken(1) },
            OpCode::AddWatch,
            0i32.to_bytes(),
            Reply::Done,
        ),
        (
            Operation::WhoAmI,
            OpCode::WhoAmI,
            info,
            Reply::Identities(vec![("ip".into(), "::1".into())]),
        ),
    ]
}

#[test]
fn each_operation_is_asked_for_and_its_reply_understood() {
    for (operation, op, body, expected) in table() {
        // What follows the record is ignored, as Java ignores it.
        let longer = [body.as_slice(), b"more"].concat();
        for body in [&body, &longer] {
            let mut harness = Harness::established(below("/c"));
            harness.submit(1, operation.clone());
            assert_eq!(harness.ops(), [(1, op)]);
            harness.receive(&reply(1, 9, ErrorCode::Ok, body));
            assert_eq!(harness.take(), [completed(1, 9, Ok(expected.clone()))], "{op:?}");
        }
    }
}

#[test]
fn a_reply_cut_anywhere_is_a_lost_connection() {
    for (operation, op, body, _) in table() {
        for len in 0..body.len() {
            let mut harness = Harness::established(below("/c"));
            harness.submit(1, operation.clone());
            harness.receive(&reply(1, 9, ErrorCode::Ok, &body[..len]));
            let effects = harness.take();
            assert!(
                matches!(effects[0], Effect::Disconnect { reason: Leaving::Malformed(_), .. }),
                "{op:?} of {len} bytes: {effects:?}"
            );
            assert_eq!(effects[1..], [lost(1), Effect::State(State::Disconnected)]);
            assert_eq!(harness.session.last_zxid(), Zxid(0), "nothing of it is believed");
        }
    }
}

#[test]
fn requests_carry_the_path_below_the_chroot_and_the_configuration_its_own() {
    let mut harness = Harness::established(below("/c"));
    harness.submit(1, get("/", Some(1)));
    harness.submit(2, get("/zookeeper/config", None));
    harness.submit(3, Operation::GetConfig { watch: Some(WatchToken(2)) });
    let sequential = create("/q/", CreateMode::PersistentSequential, false);
    harness.submit(4, Operation::Create(sequential));
    let seen = harness.seen();
    let asked = |at: usize| GetDataRequest::from_bytes(&seen[at].body).expect("a request");
    assert_eq!((asked(0).path.as_deref(), asked(0).watch), (Some("/c"), true));
    assert_eq!((asked(1).path.as_deref(), asked(1).watch), (Some("/c/zookeeper/config"), false));
    assert_eq!((asked(2).path.as_deref(), asked(2).watch), (Some(CONFIG_PATH), true));
    let made = CreateRequest::from_bytes(&seen[3].body).expect("a request");
    assert_eq!((made.path.as_deref(), made.flags), (Some("/c/q/"), 2));
    assert_eq!(made.data, Some(&b"d"[..]));
}

#[test]
fn what_is_no_path_or_no_acl_never_leaves() {
    let mut harness = Harness::established(below("/c"));
    let mut bare = create("/a", CreateMode::Persistent, false);
    bare.acl.clear();
    let operations = [
        (delete("a"), ErrorCode::BadArguments),
        (get("/a/", None), ErrorCode::BadArguments),
        (exists("/a//b", Some(1)), ErrorCode::BadArguments),
        (Operation::Multi(vec![Write::Check("/..".into(), 0)]), ErrorCode::BadArguments),
        (Operation::MultiRead(vec![Read::Data(String::new())]), ErrorCode::BadArguments),
        (Operation::Create(bare), ErrorCode::InvalidAcl),
        (Operation::SetAcl { path: "/a".into(), acl: vec![], version: -1 }, ErrorCode::InvalidAcl),
    ];
    for (operation, code) in operations {
        harness.submit(1, operation);
        assert_eq!(harness.take(), [completed(1, -1, Err(code))]);
    }
    assert_eq!(harness.ops(), []);
}

#[test]
fn a_multi_that_failed_has_the_error_of_each_part() {
    let mut harness = Harness::established(config());
    let writes = (0..3).map(|_| Write::Check("/a".into(), 1)).collect();
    harness.submit(1, Operation::Multi(writes));
    let errors = [0i32, -103, -2].map(|err| (-1, err.to_bytes()));
    harness.receive(&reply(1, 9, ErrorCode::Ok, &parts(&errors)));
    let errors = [ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency];
    let result = Ok(Reply::Multi(errors.into_iter().map(Err).collect()));
    assert_eq!(harness.take(), [completed(1, 9, result)]);
}

#[test]
fn results_of_a_multi_that_do_not_answer_its_parts_are_malformed() {
    for results in [
        parts(&[]),
        parts(&[(2, vec![]), (2, vec![])]),
        parts(&[(5, stat(1).to_bytes())]),
        parts(&[(99, vec![])]),
    ] {
        let mut harness = Harness::established(config());
        harness.submit(1, Operation::Multi(vec![Write::Delete("/a".into(), -1)]));
        harness.receive(&reply(1, 9, ErrorCode::Ok, &results));
        let effects = harness.take();
        let malformed = DecodeError::UnexpectedValue { offset: 0, value: 0 };
        let kind = |reason: &Leaving| match reason {
            Leaving::Malformed(error) => {
                std::mem::discriminant(error) == std::mem::discriminant(&malformed)
            }
            _ => false,
        };
        assert!(
            matches!(&effects[0], Effect::Disconnect { reason, .. } if kind(reason)),
            "{effects:?}"
        );
        assert_eq!(effects[1], lost(1));
    }
}

#[test]
fn an_error_has_no_record_and_an_unknown_one_fails_its_request_alone() {
    let mut harness = Harness::established(config());
    harness.submit(1, get("/a", None));
    harness.submit(2, get("/a", None));
    harness.receive(&reply(1, 9, ErrorCode::NoNode, b"noise"));
    let header = ReplyHeader { xid: Xid(2), zxid: Zxid(9), err: -126 };
    harness.receive(&frame(&header.to_bytes()));
    let expected =
        [completed(1, 9, Err(ErrorCode::NoNode)), completed(2, 9, Err(ErrorCode::SystemError))];
    assert_eq!(harness.take(), expected);
}

#[test]
fn replies_out_of_turn_end_the_connection() {
    for (xid, asked) in [(2, 2), (0, 1), (-8, 1), (1, 0), (i32::MIN, 1)] {
        let mut harness = Harness::established(config());
        let connection = harness.connection;
        for token in 1..=asked {
            harness.submit(token, delete("/a"));
        }
        harness.receive(&reply(xid, 9, ErrorCode::Ok, &[]));
        let reason = match asked {
            0 => Leaving::UnexpectedReply { got: Xid(xid) },
            _ => Leaving::OutOfOrder { expected: Xid(1), got: Xid(xid) },
        };
        let mut expected = vec![Effect::Disconnect { connection, reason }];
        expected.extend((1..=asked).map(lost));
        expected.push(Effect::State(State::Disconnected));
        assert_eq!(harness.take(), expected);
    }
}

#[test]
fn frames_of_impossible_length_end_the_connection() {
    for len in [-1, 0x10_0000] {
        let mut harness = Harness::established(config());
        harness.receive(&len.to_bytes());
        let reason = Leaving::FrameLength(len);
        assert_eq!(
            harness.take()[0],
            Effect::Disconnect { connection: harness.connection, reason }
        );
    }
}

#[test]
fn a_refusal_of_sixteen_bytes_is_a_lost_connection_and_not_an_expiry() {
    let mut harness = Harness::new(config());
    harness.connect();
    harness.take();
    harness.receive(&reply(0, 0, ErrorCode::NotReadOnly, &[]));
    assert!(matches!(
        harness.take()[..],
        [Effect::Disconnect { reason: Leaving::Malformed(_), .. }]
    ));
    harness.connect();
    harness.handshake(7, Some(false));
    assert_eq!(harness.session.state(), Some(State::Connected));
}
