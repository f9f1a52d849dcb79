//! Many sessions at once, with snapshots all the time: each sees its own writes in order, and
//! nothing that goes back.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread;

use common::{Client, address, create, get, homes, set};
use rookeeper_jute::proto::{DeleteRequest, GetChildrenRequest};
use rookeeper_jute::{OpCode, Xid, Zxid};

/// What a reply has to say.
enum Expected {
    /// Success.
    Done,
    /// Success or a code that a race with other sessions explains.
    DoneOr(i32),
    /// This session's own last value.
    Own(u32),
}

struct Hammer {
    client: Client,
    own: String,
    value: u32,
    random: u64,
    in_flight: VecDeque<(Xid, Expected)>,
    zxid: Zxid,
    events: usize,
}

impl Hammer {
    fn new(address: SocketAddr, number: usize) -> Hammer {
        let mut client = Client::connect(address);
        let own = format!("/own{number}");
        assert_eq!(client.create(&own, b"0", 0).header.err, 0);
        Hammer {
            client,
            own,
            value: 0,
            random: number as u64 * 7919 + 1,
            in_flight: VecDeque::new(),
            zxid: Zxid::ZERO,
            events: 0,
        }
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 9) % bound
    }

    fn ask(&mut self) {
        let own = self.own.clone();
        let sibling = format!("{own}/child");
        let (xid, expected) = match self.draw(8) {
            0 | 1 => {
                self.value += 1;
                let value = self.value.to_string();
                (self.client.send(OpCode::SetData, &set(&own, value.as_bytes())), Expected::Done)
            }
            2 | 3 => {
                (self.client.send(OpCode::GetData, &get(&own, false)), Expected::Own(self.value))
            }
            4 => (self.client.send(OpCode::SetData, &set("/shared", b"x")), Expected::Done),
            5 => (self.client.send(OpCode::GetData, &get("/shared", true)), Expected::Done),
            6 => {
                let request = create(&sibling, b"", 1);
                (self.client.send(OpCode::Create, &request), Expected::DoneOr(-110))
            }
            _ => {
                let request = DeleteRequest { path: Some(sibling.into()), version: -1 };
                (self.client.send(OpCode::Delete, &request), Expected::DoneOr(-101))
            }
        };
        self.in_flight.push_back((xid, expected));
    }

    fn hear(&mut self) {
        let reply = self.client.reply();
        assert!(reply.header.zxid >= self.zxid, "{:?} after {}", reply.header, self.zxid);
        self.zxid = reply.header.zxid;
        if reply.header.xid == Xid::NOTIFICATION {
            assert_eq!(reply.event(), (3, "/shared".to_owned()));
            self.events += 1;
            return;
        }
        let (xid, expected) = self.in_flight.pop_front().expect("one reply a request");
        assert_eq!(reply.header.xid, xid);
        match expected {
            Expected::Done => assert_eq!(reply.header.err, 0),
            Expected::DoneOr(code) => assert!([0, code].contains(&reply.header.err)),
            Expected::Own(value) => assert_eq!(reply.data().unwrap(), value.to_string().as_bytes()),
        }
    }
}

#[test]
fn sessions_at_once_see_their_own_writes_in_order_while_snapshots_run() {
    for home in homes("snapCount=300\nforceSync=no") {
        let server = home.start();
        let address = address(&server);
        Client::connect(address).create("/shared", b"", 0);
        let hammers: Vec<_> = (0..6)
            .map(|number| {
                thread::spawn(move || {
                    let mut hammer = Hammer::new(address, number);
                    for _ in 0..1500 {
                        hammer.ask();
                        let depth = hammer.draw(48) as usize;
                        while hammer.in_flight.len() > depth {
                            hammer.hear();
                        }
                    }
                    while !hammer.in_flight.is_empty() {
                        hammer.hear();
                    }
                    hammer.events
                })
            })
            .collect();
        let events: usize = hammers.into_iter().map(|hammer| hammer.join().unwrap()).sum();
        assert!(events > 100, "watchers were told {events} times");
        let digest = server.inspector().shared().tree.digest();
        let zxid = server.inspector().shared().tree.last_processed_zxid();
        server.stop();
        let server = home.start();
        let shared = server.inspector().shared();
        assert_eq!((shared.tree.digest(), shared.tree.last_processed_zxid()), (digest, zxid));
    }
}

#[test]
fn a_session_that_is_gone_is_expired_and_its_ephemerals_with_it() {
    for home in homes("minSessionTimeout=400\ntickTime=200") {
        let server = home.start();
        let mut watcher = Client::connect(address(&server));
        watcher.create("/group", b"", 0);
        let mut dying = Client::connect_for(address(&server), 400);
        assert_eq!(dying.timeout_ms, 400);
        assert_eq!(dying.create("/group/member", b"", 1).header.err, 0);
        let request = GetChildrenRequest { path: Some("/group".into()), watch: true };
        assert_eq!(watcher.call(OpCode::GetChildren, &request).header.err, 0);
        drop(dying);
        assert_eq!(watcher.reply().event(), (4, "/group".to_owned()));
        assert!(!watcher.exists("/group/member"));
    }
}
