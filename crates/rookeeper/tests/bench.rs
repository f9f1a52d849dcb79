//! Every scenario of the benchmark against this server.

use std::path::PathBuf;
use std::time::Duration;

use rookeeper_bench::fill::{self, FillOptions};
use rookeeper_bench::idle::{self, IdleOptions};
use rookeeper_bench::load::{self, LoadOptions};
use rookeeper_bench::pipeline::Width;
use rookeeper_bench::servers::{Kind, Server};
use rookeeper_bench::storm::{self, StormOptions};
use rookeeper_bench::watch::{self, WatchOptions};

fn server(name: &str) -> Server {
    let kind = Kind {
        name: name.to_owned(),
        command: vec![env!("CARGO_BIN_EXE_rookeeper").to_owned(), "server".to_owned()],
        environment: Vec::new(),
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut server = Server::prepare(&kind, &folder, &[]).expect("a free port and a folder");
    server.start().expect("it starts");
    server
}

#[test]
fn a_mixed_load_has_every_reply_right() {
    let mut server = server("bench-load");
    let options = LoadOptions {
        address: server.address,
        others: Vec::new(),
        pids: server.pids(),
        connections: 8,
        depth: 8,
        threads: 2,
        mix: "get=4,set=3,create=3,delete=2,exists=1,children=1".parse().expect("a mix"),
        value_len: 100,
        znodes: 50,
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
        operations: Some(2000),
        root: "/bench".to_owned(),
    };
    let result = load::run(&options).expect("every reply is right");
    assert!(result.operations >= 2000, "{}", result.operations);
    assert!(result.by_operation.iter().all(|count| *count > 0), "{:?}", result.by_operation);
    assert_eq!(result.latency.len(), result.operations);
    // It has deleted what it made, so that it can run again.
    load::run(&LoadOptions { operations: Some(100), ..options }).expect("a second run");
    server.stop().expect("it stops");
}

#[test]
fn watchers_sessions_and_znodes_are_counted() {
    let mut server = server("bench-others");
    let (address, pids) = (server.address, server.pids());
    let path = "/watched".to_owned();
    let options = WatchOptions { address, pids: pids.clone(), watchers: 40, rounds: 3, path };
    assert_eq!(watch::run(&options).expect("all are told").told_all.len(), 3);
    let options =
        StormOptions { address, others: Vec::new(), pids: pids.clone(), sessions: 60, at_once: 10 };
    let result = storm::run(&options).expect("all sessions open and close");
    assert_eq!((result.sessions, result.latency.len()), (60, 60));
    let hold = Duration::from_millis(10);
    let options = IdleOptions { address, pids: pids.clone(), sessions: 30, hold };
    assert!(idle::run(&options).expect("all sessions stay").resident_after > 0);
    let options = FillOptions {
        address,
        pids,
        znodes: 1050,
        value_len: 100,
        per_parent: 100,
        batch: 40,
        width: Width { connections: 2, depth: 2 },
        root: "/fill".to_owned(),
    };
    let result = fill::run(&options).expect("all znodes are made");
    assert!(result.znodes == 1050 && result.after.resident > 0);
    assert!(fill::run(&options).is_err(), "znodes that exist cannot be made again");
    server.stop().expect("it stops");
}
