//! Scenarios written by hand: the same steps to a Java server and to ours, or a panic that shows
//! the difference.

use crate::oracle::Pair;
use crate::request::{self, Acl, Request, open_acl, text};
use crate::server::{Kind, Settings, java_wanted};
use crate::side::Outcome;
use crate::step::{Chunks, Handshake, Password, Step};
use crate::wire::opcode;
use std::collections::BTreeMap;

/// A Java server, ours, and the sessions on both.
#[derive(Debug)]
pub struct Script {
    pair: Pair,
    xids: BTreeMap<usize, i32>,
    /// What the last step brought.
    pub last: Outcome,
}

impl Script {
    /// Starts both; `None` where Java was waived.
    pub fn start(name: &str, settings: &Settings) -> Option<Script> {
        let kinds = [Kind::Java, Kind::Rookeeper];
        java_wanted().then(|| Script {
            pair: Pair::start(kinds, settings, name),
            xids: BTreeMap::new(),
            last: Outcome::default(),
        })
    }

    /// One step on both.
    pub fn step(&mut self, step: Step) -> &Outcome {
        match self.pair.step(step) {
            Ok(outcome) => self.last = outcome,
            Err(difference) => panic!("{difference}"),
        }
        &self.last
    }

    /// A new session with a long timeout.
    pub fn open(&mut self, slot: usize) {
        self.open_with(slot, 600_000, Handshake::Usual);
    }

    /// A new session.
    pub fn open_with(&mut self, slot: usize, timeout_ms: i32, handshake: Handshake) {
        self.step(Step::Connect { slot, timeout_ms, handshake });
    }

    /// Takes up a session by its index.
    pub fn resume(&mut self, slot: usize, session: usize, zxid: i64, password: Password) {
        self.step(Step::Resume { slot, session, zxid, password });
    }

    /// The client goes away.
    pub fn drop_slot(&mut self, slot: usize) {
        self.step(Step::Drop { slot });
    }

    /// Sends requests in one write.
    pub fn send(&mut self, slot: usize, requests: Vec<Request>) -> &Outcome {
        self.send_as(slot, requests, Chunks::Whole)
    }

    /// Sends each request after the reply to the one before.
    pub fn ask(&mut self, slot: usize, requests: Vec<Request>) -> &Outcome {
        self.send_as(slot, requests, Chunks::Waiting)
    }

    /// Sends requests, cut as wanted; xids are filled in.
    pub fn send_as(&mut self, slot: usize, mut requests: Vec<Request>, chunks: Chunks) -> &Outcome {
        let xid = self.xids.entry(slot).or_default();
        for request in &mut requests {
            if request.xid == 0 {
                *xid += 1;
                request.xid = *xid;
            }
        }
        self.step(Step::Batch { slot, requests, chunks })
    }

    /// Panics unless a line of the last outcome contains `wanted`: the scenario is about it, so
    /// both servers agreeing on something else would prove nothing.
    pub fn saw(&self, wanted: &str) {
        let lines = &self.last.lines;
        assert!(lines.iter().any(|l| l.contains(wanted)), "no {wanted:?} in {lines:#?}");
    }

    /// Compares the whole tree and counts, then removes both servers.
    pub fn finish(mut self) {
        if let Err(difference) = self.pair.compare_everything(false) {
            panic!("{difference}");
        }
        self.pair.remove();
    }

    /// The pair, for what needs the servers themselves.
    pub fn pair(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

/// `create2` of an open znode.
pub fn create(path: &str, data: &[u8], flags: i32) -> Request {
    request::create(opcode::CREATE2, &text(path), Some(data), open_acl().as_deref(), flags)
}

/// `create2` with an ACL.
pub fn create_with(path: &str, acl: &[Acl], flags: i32) -> Request {
    request::create(opcode::CREATE2, &text(path), Some(b"x"), Some(acl), flags)
}

/// `setData`, any version.
pub fn set(path: &str, data: &[u8]) -> Request {
    request::set_data(&text(path), Some(data), -1)
}

/// `delete`, any version.
pub fn delete(path: &str) -> Request {
    request::path_and_version(opcode::DELETE, &text(path), -1)
}

/// `getData`.
pub fn get(path: &str, watch: bool) -> Request {
    request::read(opcode::GET_DATA, &text(path), watch)
}

/// `exists`.
pub fn exists(path: &str, watch: bool) -> Request {
    request::read(opcode::EXISTS, &text(path), watch)
}

/// `getChildren2`.
pub fn children(path: &str, watch: bool) -> Request {
    request::read(opcode::GET_CHILDREN2, &text(path), watch)
}

/// `addWatch`: mode 0 is persistent, 1 persistent recursive.
pub fn add_watch(path: &str, mode: i32) -> Request {
    request::watch(opcode::ADD_WATCH, &text(path), mode)
}

/// Authentication by name and password.
pub fn digest(credentials: &str) -> Request {
    request::auth(&text("digest"), Some(credentials.as_bytes()))
}
