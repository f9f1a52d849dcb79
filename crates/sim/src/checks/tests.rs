//! Each judge can find what it is there for: small histories, each with one lie.

use std::sync::Arc;

use rookeeper_jute::txn::*;
use rookeeper_jute::{Acl, CreateMode, Encode, ErrorCode, OpCode, SessionId, Stat, Xid, Zxid};
use rookeeper_session::{EventKind, Operation, Reply, WatchEvent, WatchToken};

use super::{Committed, Fault, judge};
use crate::history::{Claim, Fired, History, Record, Returned};
use crate::model::Model;
use crate::workload::create;

const SESSION: SessionId = SessionId(7);

/// A history that is made step by step, truthfully where nothing else is said.
#[derive(Default)]
struct Tale {
    history: History,
    txns: Vec<Committed>,
    cxid: i32,
    now_us: u64,
}

impl Tale {
    /// One session, and the znode `/a` with its first data.
    fn new() -> Tale {
        let mut tale = Tale::default();
        tale.commit(OpCode::CreateSession, &CreateSessionTxn { timeout_ms: 4000 });
        tale.create("/a");
        tale
    }

    fn zxid(&self) -> Zxid {
        Zxid::new(1, self.txns.len() as u32)
    }

    fn commit(&mut self, op: OpCode, record: &impl Encode) -> Zxid {
        let zxid = Zxid::new(1, self.txns.len() as u32 + 1);
        self.cxid += 1;
        let cxid = Xid(self.cxid);
        let txn_type = op.to_i32();
        let header = TxnHeader { client_id: SESSION, cxid, zxid, time_ms: 5, txn_type };
        let mut bytes = header.to_bytes();
        record.encode(&mut bytes);
        self.txns.push((zxid, Arc::from(bytes)));
        zxid
    }

    fn model(&self) -> Model {
        let mut model = Model::default();
        for (_, bytes) in &self.txns {
            model.replay(bytes).expect("the tale is true so far");
        }
        model
    }

    fn stat(&self, path: &str) -> Stat {
        self.model().node(path).expect("it is there").visible()
    }

    /// An operation that takes a while; the answer is told right after.
    fn answer(&mut self, operation: Operation, zxid: Zxid, result: Result<Reply, ErrorCode>) {
        let invoked_us = self.now_us + 10;
        self.now_us += 20;
        let order = self.history.next_order();
        let returned = Some(Returned { at_us: self.now_us, order, zxid, result });
        let (handle, session) = (1, SESSION);
        self.history.records.push(Record { handle, session, operation, invoked_us, returned });
    }

    fn token(&self) -> u64 {
        self.history.records.len() as u64
    }

    fn create(&mut self, path: &str) -> Zxid {
        let data = format!("{}.0", self.token()).into_bytes();
        let count = self.model().node("/").expect("the root").stat.cversion;
        let acl = Some(vec![Acl::open_unsafe()]);
        let record = CreateTxn {
            path: Some(path.into()),
            data: Some(&data),
            acl,
            ephemeral: false,
            parent_cversion: count + 1,
        };
        let zxid = self.commit(OpCode::Create, &record);
        let operation = Operation::Create(create(path, Some(data), CreateMode::Persistent));
        self.answer(operation, zxid, Ok(Reply::Created { path: path.into(), stat: None }));
        zxid
    }

    fn set(&mut self, path: &str) -> Zxid {
        let data = format!("{}.0", self.token()).into_bytes();
        let version = self.stat(path).version + 1;
        let record = SetDataTxn { path: Some(path.into()), data: Some(&data), version };
        let zxid = self.commit(OpCode::SetData, &record);
        let operation = Operation::SetData { path: path.into(), data: Some(data), version: -1 };
        let stat = self.stat(path);
        self.answer(operation, zxid, Ok(Reply::Stat(stat)));
        zxid
    }

    fn delete(&mut self, path: &str) -> Zxid {
        let zxid = self.commit(OpCode::Delete, &DeleteTxn { path: Some(path.into()) });
        let operation = Operation::Delete { path: path.into(), version: -1 };
        self.answer(operation, zxid, Ok(Reply::Done));
        zxid
    }

    fn get(&mut self, path: &str, is_watched: bool) -> WatchToken {
        let watch = WatchToken(self.token());
        let node = self.model().node(path).expect("it is there").clone();
        let operation =
            Operation::GetData { path: path.into(), watch: is_watched.then_some(watch) };
        let reply = Reply::Data { data: node.data.clone(), stat: node.visible() };
        self.answer(operation, self.zxid(), Ok(reply));
        watch
    }

    fn fire(&mut self, watch: WatchToken, kind: EventKind, path: &str, zxid: Zxid) {
        let order = self.history.next_order();
        let event = WatchEvent { kind, path: path.into(), zxid };
        self.history.fired.push(Fired { watch, order, at_us: self.now_us, event });
    }

    fn last(&mut self) -> &mut Record {
        self.history.records.last_mut().expect("something was done")
    }

    fn returned(&mut self) -> &mut Returned {
        self.last().returned.as_mut().expect("it was answered")
    }

    fn fault(self) -> Option<Fault> {
        judge(&self.history, &self.txns).err()
    }

    #[track_caller]
    fn caught_by(self, check: &str) {
        let fault = self.fault().expect("it is caught");
        assert_eq!(fault.check, check, "{fault}");
    }
}

#[test]
fn what_is_true_passes() {
    let mut tale = Tale::new();
    let watch = tale.get("/a", true);
    let zxid = tale.set("/a");
    // The event comes before the reply that shows the change.
    let order = tale.returned().order;
    tale.fire(watch, EventKind::DataChanged, "/a", zxid);
    tale.history.fired[0].order = order;
    tale.returned().order = order + 1;
    tale.get("/a", false);
    assert_eq!(tale.fault(), None);
}

#[test]
fn a_write_that_is_not_in_the_history_is_caught() {
    let mut tale = Tale::new();
    tale.set("/a");
    tale.txns.pop();
    tale.caught_by("linearizable");
}

#[test]
fn a_write_that_was_done_otherwise_is_caught() {
    let mut tale = Tale::new();
    tale.set("/a");
    if let Operation::SetData { data, .. } = &mut tale.last().operation {
        *data = Some(b"something else".to_vec());
    }
    tale.caught_by("linearizable");
    let mut tale = Tale::new();
    tale.set("/a");
    tale.returned().result = Err(ErrorCode::NoNode);
    tale.caught_by("linearizable");
    let mut tale = Tale::new();
    tale.set("/a");
    if let Ok(Reply::Stat(stat)) = &mut tale.returned().result {
        stat.version += 1;
    }
    tale.caught_by("linearizable");
}

#[test]
fn a_transaction_that_does_not_fit_is_caught() {
    let mut tale = Tale::new();
    tale.commit(OpCode::Delete, &DeleteTxn { path: Some("/nowhere".into()) });
    tale.caught_by("linearizable");
}

#[test]
fn a_read_of_what_is_not_there_is_caught() {
    let mut tale = Tale::new();
    tale.get("/a", false);
    tale.set("/a");
    let (at, zxid) = (tale.history.records.len() - 2, tale.zxid());
    // The old data at the new zxid, and data at a zxid that is in no history.
    let read = tale.history.records[at].returned.as_mut().expect("answered");
    read.zxid = zxid;
    tale.caught_by("linearizable");
    let mut tale = Tale::new();
    tale.get("/a", false);
    tale.returned().zxid = Zxid::new(1, 77);
    tale.caught_by("linearizable");
}

#[test]
fn a_write_before_one_that_had_returned_is_caught() {
    let mut tale = Tale::new();
    tale.set("/a");
    tale.set("/a");
    // The second one is told to have returned before the first one began.
    let begun_us = tale.history.records[1].invoked_us;
    tale.last().invoked_us = 0;
    tale.returned().at_us = begun_us - 1;
    tale.caught_by("real time");
}

#[test]
fn a_session_that_sees_time_go_back_is_caught() {
    let mut tale = Tale::new();
    tale.get("/a", false);
    tale.set("/a");
    // The read is told after the write.
    let order = tale.returned().order;
    tale.history.records[1].returned.as_mut().expect("answered").order = order + 1;
    tale.caught_by("time goes back");
}

#[test]
fn a_stale_read_after_a_sync_is_caught() {
    let mut tale = Tale::new();
    let stale = tale.zxid();
    let stat = tale.stat("/a");
    let data = tale.model().node("/a").expect("there").data.clone();
    tale.set("/a");
    let synced = tale.zxid();
    let path = "/a".to_owned();
    for (operation, zxid, reply) in [
        (Operation::Sync { path: path.clone() }, stale, Reply::Synced { path: path.clone() }),
        (Operation::GetData { path, watch: None }, stale, Reply::Data { data, stat }),
    ] {
        tale.answer(operation, zxid, Ok(reply));
        tale.last().handle = 2;
        tale.last().session = SessionId(8);
    }
    assert!(synced > stale);
    tale.caught_by("sync and read");
}

#[test]
fn requests_out_of_their_order_are_caught() {
    let mut tale = Tale::new();
    tale.cxid = 0;
    tale.set("/a");
    tale.caught_by("session order");
}

#[test]
fn what_is_done_twice_is_caught() {
    let mut tale = Tale::new();
    let record = SetDataTxn { path: Some("/a".into()), data: Some(b"0.0"), version: 1 };
    tale.commit(OpCode::SetData, &record);
    tale.caught_by("exactly once");
}

#[test]
fn what_is_done_before_it_was_asked_for_is_caught() {
    let mut tale = Tale::new();
    tale.set("/a");
    tale.set("/a");
    // The first one's outcome was never told, and it began after the second one had returned.
    let end_us = tale.now_us;
    tale.history.records[1].returned = None;
    tale.history.records[1].invoked_us = end_us + 1;
    tale.caught_by("real time");
}

#[test]
fn a_watch_that_fires_twice_or_for_nothing_is_caught() {
    let mut tale = Tale::new();
    let watch = tale.get("/a", true);
    let zxid = Zxid::new(1, 3);
    for _ in 0..2 {
        tale.fire(watch, EventKind::DataChanged, "/a", zxid);
    }
    tale.set("/a");
    tale.caught_by("watches");
    let mut tale = Tale::new();
    let watch = tale.get("/a", true);
    tale.fire(watch, EventKind::DataChanged, "/a", Zxid::new(1, 2));
    tale.caught_by("watches");
}

#[test]
fn an_event_behind_the_data_that_it_announces_and_one_that_is_lost_are_caught() {
    let mut tale = Tale::new();
    let watch = tale.get("/a", true);
    let zxid = tale.set("/a");
    tale.get("/a", false);
    tale.fire(watch, EventKind::DataChanged, "/a", zxid);
    tale.caught_by("watches");
    let mut tale = Tale::new();
    tale.get("/a", true);
    tale.set("/a");
    tale.caught_by("watches");
}

#[test]
fn two_holders_of_a_lock_are_caught() {
    let mut tale = Tale::new();
    let one = tale.create("/1");
    let two = tale.create("/2");
    for (path, zxid) in [("/1", one), ("/2", two)] {
        tale.history.claims.push(Claim { path: path.into(), zxid });
    }
    tale.caught_by("one holder");
}

#[test]
fn a_holder_whose_znode_is_gone_is_caught_and_one_of_the_same_name_is_another() {
    let mut tale = Tale::new();
    let claim = |path: &str, zxid| Claim { path: path.into(), zxid };
    let one = tale.create("/1");
    tale.history.claims.push(claim("/1", one));
    let deleted = tale.delete("/1");
    let two = tale.create("/2");
    tale.history.claims.push(claim("/2", two));
    tale.delete("/2");
    let again = tale.create("/1");
    tale.history.claims.push(claim("/1", again));
    judge(&tale.history, &tale.txns).expect("each is the only holder");
    tale.history.claims.push(claim("/1", deleted));
    tale.caught_by("one holder");
}
