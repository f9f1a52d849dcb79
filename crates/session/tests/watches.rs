//! Watches: kept, told, set again, removed.

mod support;

use rookeeper_jute::proto::{SetWatches, SetWatches2};
use rookeeper_jute::{Decode, Encode, ErrorCode, OpCode, Text, Zxid};
use rookeeper_session::*;
use support::*;

fn below(chroot: &str) -> Config {
    Config { chroot: Chroot::new(chroot).expect("a path"), ..Config::new(1, 30_000, 1) }
}

fn add_watch(path: &str, is_recursive: bool, token: u64) -> Operation {
    Operation::AddWatch { path: path.into(), is_recursive, watch: WatchToken(token) }
}

fn children(path: &str, token: u64) -> Operation {
    Operation::GetChildren { path: path.into(), watch: Some(WatchToken(token)) }
}

fn remove(path: &str, of: WatcherType, watcher: Option<u64>, local: bool) -> Operation {
    let watcher = watcher.map(WatchToken);
    Operation::RemoveWatches { path: path.into(), of, watcher, local }
}

fn texts(texts: Option<Vec<Text<'_>>>) -> Vec<String> {
    texts.expect("a list").into_iter().map(|text| text.expect("a path").into_owned()).collect()
}

/// Submits, answers, and forgets the completion.
fn ask(harness: &mut Harness, operation: Operation, err: ErrorCode, body: &[u8]) {
    harness.submit(100, operation);
    let xid = harness.seen().last().expect("a request").xid;
    harness.receive(&reply(xid, 50, err, body));
    harness.take();
}

#[test]
fn a_watch_is_kept_after_the_reply_that_set_it_and_fires_once() {
    let mut harness = Harness::established(below("/"));
    harness.submit(1, get("/a", Some(1)));
    harness.receive(&event(EventKind::DataChanged, "/a", 3));
    assert_eq!(harness.take(), [], "not kept before the reply");
    let data = [(&b""[..]).to_bytes(), stat(1).to_bytes()].concat();
    harness.receive(&reply(1, 4, ErrorCode::Ok, &data));
    harness.take();
    harness.receive(&event(EventKind::DataChanged, "/a", 5));
    harness.receive(&event(EventKind::DataChanged, "/a", 6));
    assert_eq!(harness.take(), [told(EventKind::DataChanged, "/a", 5, &[1])]);
    assert_eq!(harness.session.last_zxid(), Zxid(4), "events do not count");
}

#[test]
fn only_exists_and_add_watch_leave_a_watch_where_there_is_no_znode() {
    let mut harness = Harness::established(below("/"));
    ask(&mut harness, get("/a", Some(1)), ErrorCode::NoNode, &[]);
    ask(&mut harness, children("/a", 2), ErrorCode::NoNode, &[]);
    ask(&mut harness, exists("/a", Some(3)), ErrorCode::NoNode, &[]);
    ask(&mut harness, exists("/a", Some(4)), ErrorCode::NoAuth, &[]);
    ask(&mut harness, add_watch("/a", false, 5), ErrorCode::NoNode, &[]);
    harness.receive(&event(EventKind::Created, "/a", 5));
    assert_eq!(harness.take(), [told(EventKind::Created, "/a", 5, &[3, 5])]);
}

#[test]
fn a_request_that_was_lost_left_no_watch() {
    let mut harness = Harness::established(below("/"));
    harness.submit(1, exists("/a", Some(1)));
    harness.disconnect();
    harness.connect();
    harness.handshake(7, Some(false));
    assert_eq!(harness.ops(), []);
    assert_eq!(harness.session.watchers().count(), 0);
}

#[test]
fn watches_are_set_again_with_the_servers_paths_and_the_last_zxid() {
    let mut harness = Harness::established(below("/c"));
    let ok = ErrorCode::Ok;
    ask(&mut harness, exists("/a", Some(1)), ok, &stat(1).to_bytes());
    ask(&mut harness, exists("/b", Some(1)), ErrorCode::NoNode, &[]);
    ask(&mut harness, children("/", 1), ok, &0i32.to_bytes());
    let data = [(&b""[..]).to_bytes(), stat(1).to_bytes()].concat();
    ask(&mut harness, Operation::GetConfig { watch: Some(WatchToken(2)) }, ok, &data);
    harness.disconnect();
    harness.connect();
    harness.handshake(7, Some(false));
    let seen = harness.seen();
    assert_eq!((seen.len(), seen[0].op, seen[0].xid), (1, OpCode::SetWatches, -8));
    let again = SetWatches::from_bytes(&seen[0].body).expect("a record");
    assert_eq!(again.relative_zxid, Zxid(50));
    assert_eq!(texts(again.data_watches), ["/c/a", CONFIG_PATH]);
    assert_eq!(texts(again.exist_watches), ["/c/b"]);
    assert_eq!(texts(again.child_watches), ["/c"]);

    harness.receive(&reply(-8, 60, ok, &[]));
    ask(&mut harness, add_watch("/p", false, 3), ok, &0i32.to_bytes());
    ask(&mut harness, add_watch("/r", true, 4), ok, &0i32.to_bytes());
    harness.disconnect();
    harness.connect();
    harness.handshake(7, Some(false));
    let seen = harness.seen();
    assert_eq!((seen.len(), seen[0].op), (1, OpCode::SetWatches2));
    let again = SetWatches2::from_bytes(&seen[0].body).expect("a record");
    assert_eq!(texts(again.persistent_watches), ["/c/p"]);
    assert_eq!(texts(again.persistent_recursive_watches), ["/c/r"]);
    harness.take();
    for bytes in [
        event(EventKind::DataChanged, "/c/a", -1),
        event(EventKind::DataChanged, CONFIG_PATH, -1),
        event(EventKind::Created, "/c/r/x", 61),
        event(EventKind::ChildrenChanged, "/c", 61),
    ] {
        harness.receive(&bytes);
    }
    assert_eq!(
        harness.take(),
        [
            told(EventKind::DataChanged, "/a", -1, &[1]),
            told(EventKind::DataChanged, CONFIG_PATH, -1, &[2]),
            told(EventKind::Created, "/r/x", 61, &[4]),
            told(EventKind::ChildrenChanged, "/", 61, &[1]),
        ]
    );
}

#[test]
fn where_watches_are_not_to_be_set_again_those_that_fire_once_are_gone() {
    let mut harness = Harness::established(Config { watch_reset: false, ..below("/") });
    ask(&mut harness, exists("/a", Some(1)), ErrorCode::NoNode, &[]);
    ask(&mut harness, add_watch("/a", false, 2), ErrorCode::Ok, &0i32.to_bytes());
    harness.disconnect();
    harness.connect();
    harness.handshake(7, Some(false));
    assert_eq!(harness.ops(), []);
    assert_eq!(harness.session.watchers().collect::<Vec<_>>(), [WatchToken(2)]);
}

#[test]
fn watches_are_removed_once_the_server_agrees() {
    let mut harness = Harness::established(below("/c"));
    ask(&mut harness, exists("/a", Some(1)), ErrorCode::NoNode, &[]);
    ask(&mut harness, exists("/a", Some(2)), ErrorCode::NoNode, &[]);
    harness.submit(1, remove("/a", WatcherType::Children, None, false));
    harness.submit(2, remove("/b", WatcherType::Any, None, true));
    harness.submit(3, remove("/a", WatcherType::Data, Some(3), false));
    let no_watcher = |token| completed(token, -1, Err(ErrorCode::NoWatcher));
    assert_eq!(harness.take(), [no_watcher(1), no_watcher(2), no_watcher(3)]);

    harness.submit(4, remove("/a", WatcherType::Data, Some(1), false));
    harness.submit(5, remove("/a", WatcherType::Any, None, false));
    let ops: Vec<_> = harness.ops().into_iter().map(|(_, op)| op).collect();
    assert_eq!(ops, [OpCode::CheckWatches, OpCode::RemoveWatches]);
    harness.receive(&reply(3, 51, ErrorCode::Ok, &[]));
    harness.receive(&reply(4, 51, ErrorCode::NoWatcher, &[]));
    assert_eq!(
        harness.take(),
        [
            told(EventKind::DataWatchRemoved, "/a", -1, &[1]),
            completed(4, 51, Ok(Reply::Done)),
            completed(5, 51, Err(ErrorCode::NoWatcher)),
        ]
    );
    assert_eq!(harness.session.watchers().collect::<Vec<_>>(), [WatchToken(2)]);
}

#[test]
fn a_local_removal_does_not_need_the_server() {
    let mut harness = Harness::established(below("/"));
    ask(&mut harness, exists("/a", Some(1)), ErrorCode::NoNode, &[]);
    harness.submit(1, remove("/a", WatcherType::Any, None, true));
    harness.disconnect();
    assert_eq!(
        harness.take(),
        [
            told(EventKind::DataWatchRemoved, "/a", -1, &[1]),
            completed(1, -1, Ok(Reply::Done)),
            Effect::State(State::Disconnected),
        ]
    );
    assert_eq!(harness.session.watchers().count(), 0);
}

#[test]
fn events_that_no_server_sends_end_the_connection() {
    let kinds = [EventKind::DataWatchRemoved as i32, 0, -1, 8];
    for kind in kinds {
        let mut harness = Harness::established(below("/"));
        let body = [kind.to_bytes(), 3i32.to_bytes(), "/a".to_bytes()].concat();
        harness.receive(&reply(-1, 5, ErrorCode::Ok, &body));
        let effects = harness.take();
        assert!(
            matches!(effects[0], Effect::Disconnect { reason: Leaving::Malformed(_), .. }),
            "{effects:?}"
        );
    }
}
