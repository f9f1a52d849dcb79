//! Whatever bytes a server sends, the session neither panics nor loses a request.

mod support;

use proptest::prelude::*;
use rookeeper_jute::proto::ReplyHeader;
use rookeeper_jute::{Acl, CreateMode, Encode, Xid, Zxid};
use rookeeper_session::*;
use support::*;

/// One of each kind of reply.
fn operations() -> Vec<Operation> {
    let path = || "/a".to_owned();
    let create = Create {
        path: path(),
        data: None,
        acl: vec![Acl::open_unsafe()],
        mode: CreateMode::Persistent,
        ttl_ms: 0,
        wants_stat: true,
    };
    let max_returned = 10;
    vec![
        Operation::Create(create.clone()),
        exists("/a", Some(1)),
        get("/a", Some(2)),
        Operation::GetAcl { path: path() },
        Operation::GetChildren { path: path(), watch: Some(WatchToken(3)) },
        Operation::GetChildren2 { path: path(), watch: None },
        Operation::GetChildrenPaginated {
            path: path(),
            max_returned,
            min_czxid: Zxid(0),
            czxid_offset: 0,
            watch: None,
        },
        Operation::GetAllChildrenNumber { path: path() },
        Operation::GetEphemerals { prefix: path() },
        Operation::Sync { path: path() },
        Operation::Multi(vec![Write::Create(create), Write::SetData(path(), None, -1)]),
        Operation::MultiRead(vec![Read::Data(path()), Read::Children(path())]),
        Operation::AddWatch { path: path(), is_recursive: true, watch: WatchToken(4) },
        Operation::WhoAmI,
    ]
}

/// Bytes that are often small numbers, so that lengths and counts are often possible.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => (-2i32..20).prop_map(|int| int.to_be_bytes().to_vec()),
        1 => any::<i32>().prop_map(|int| int.to_be_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
        1 => Just(b"/a".to_vec()),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// How often each token came back.
fn times(effects: &[Effect], count: usize) -> Vec<usize> {
    let mut times = vec![0; count];
    for effect in effects {
        if let Effect::Completed { token, .. } = effect {
            times[token.0 as usize] += 1;
        }
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn bytes_of_any_kind(before in bytes(), after in bytes(), is_established: bool) {
        let mut harness = Harness::new(Config::new(2, 30_000, 1));
        harness.connect();
        if is_established {
            harness.handshake(7, Some(false));
        }
        for (token, operation) in operations().into_iter().enumerate() {
            harness.submit(token as u64, operation);
        }
        harness.receive(&before);
        harness.receive(&after);
        harness.disconnect();
        prop_assert_eq!(times(&harness.take(), operations().len()), vec![1; operations().len()]);
    }

    #[test]
    fn frames_of_any_kind(
        frames in proptest::collection::vec((bytes(), prop_oneof![Just(0), -130..2i32]), 1..6),
        first in 0..14usize,
    ) {
        let mut harness = Harness::established(Config::new(2, 30_000, 1));
        let operations = operations();
        let count = operations.len();
        prop_assert!(first < count);
        for (at, operation) in operations.iter().cycle().skip(first).take(count).enumerate() {
            harness.submit(at as u64, operation.clone());
        }
        for (at, (body, err)) in frames.iter().enumerate() {
            let header = ReplyHeader { xid: Xid(at as i32 + 1), zxid: Zxid(5), err: *err };
            harness.receive(&frame(&[header.to_bytes(), body.clone()].concat()));
        }
        harness.receive(&event(EventKind::Deleted, "/a", 6));
        harness.disconnect();
        prop_assert_eq!(times(&harness.take(), count), vec![1; count]);
    }

    #[test]
    fn a_handshake_of_any_kind(body in bytes()) {
        let mut harness = Harness::new(Config::new(2, 30_000, 1));
        harness.connect();
        harness.submit(0, delete("/a"));
        harness.receive(&frame(&body));
        // Timeouts of any length must not make a time of the past.
        for _ in 0..3 {
            if harness.session.state().is_some_and(State::is_alive) {
                harness.run_timer();
            }
        }
        harness.disconnect();
        let state = harness.session.state();
        harness.step(Input::Close { token: Token(1) });
        prop_assert_eq!(times(&harness.take(), 2), vec![1; 2], "{:?}", state);
    }
}
