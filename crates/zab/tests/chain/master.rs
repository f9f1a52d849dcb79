//! What an observer master says to observers, step by step.

use std::sync::Arc;

use rookeeper_jute::quorum::{LearnerInfo, PacketType};
use rookeeper_jute::txn::{SetDataTxn, TxnHeader};
use rookeeper_jute::{Encode, OpCode, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::leader::LinkEnd;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::observer_master::{
    ObserverMaster, ObserverMasterEffect, ObserverMasterInput as Input,
};
use rookeeper_zab::wire::{self, PacketReader};
use rookeeper_zab::{Forward, Outgoing, Segment, SegmentBuilder};

use super::disk::Disk;
use super::world::{observer_master, txn};

const HISTORY: u32 = 20;

fn zxid(counter: u32) -> Zxid {
    Zxid::new(1, counter)
}

fn reconfiguration(zxid: Zxid) -> Vec<u8> {
    let txn_type = OpCode::Reconfig.to_i32();
    let (client_id, cxid) = (SessionId(1), Xid(1));
    let mut bytes = TxnHeader { client_id, cxid, zxid, time_ms: 0, txn_type }.to_bytes();
    let path = Some("/zookeeper/config".into());
    SetDataTxn { path, data: Some(b"text"), version: -1 }.encode(&mut bytes);
    bytes
}

/// Transactions of these counters, the last one a reconfiguration or not.
fn segment(counters: std::ops::RangeInclusive<u32>, reconfig: bool) -> Arc<Segment> {
    let mut builder = SegmentBuilder::default();
    let last = *counters.end();
    for counter in counters {
        let zxid = zxid(counter);
        let reconfig = reconfig && counter == last;
        let bytes = if reconfig { reconfiguration(zxid) } else { txn(zxid, SessionId(0)) };
        builder.push(zxid, &bytes);
    }
    builder.freeze()
}

struct Master {
    machine: ObserverMaster,
    now_ms: u64,
}

impl Master {
    /// Of epoch 1, with a history in that epoch.
    fn new() -> Master {
        let mut disk = Disk::default();
        for counter in 1..=HISTORY {
            disk.files.push(zxid(counter), &txn(zxid(counter), SessionId(0)));
        }
        let mut master = Master { machine: observer_master(&disk, None), now_ms: 0 };
        assert!(master.step(Input::Serve { epoch: 1 }).is_empty());
        master
    }

    fn step(&mut self, input: Input<'_>) -> Vec<String> {
        let mut effects = Vec::new();
        self.machine.step(self.now_ms, input, &mut effects);
        effects.iter().flat_map(show).collect()
    }

    fn receive(&mut self, connection: u64, bytes: &[u8]) -> Vec<String> {
        self.step(Input::Received { connection: ConnectionId(connection), bytes })
    }

    /// An observer connects, and says what it has.
    fn greet(&mut self, connection: u64, last: Zxid) -> Vec<String> {
        self.step(Input::Accepted(ConnectionId(connection)));
        let greeted = self.receive(connection, &info(true, connection as i64 + 100));
        assert_eq!(greeted, [format!("{connection}: LeaderInfo 0x100000000")]);
        self.receive(connection, &packet(PacketType::AckEpoch, last, Some(&[0, 0, 0, 1])))
    }

    /// An observer that serves, with all of the history.
    fn up(&mut self, connection: u64) {
        self.greet(connection, zxid(HISTORY));
        let up = self.receive(connection, &packet(PacketType::Ack, zxid(0), None));
        let up_to_date = format!("{connection}: UpToDate 0xffffffffffffffff");
        assert_eq!(up, [up_to_date, format!("up {connection}")]);
    }
}

fn packet(packet_type: PacketType, zxid: Zxid, data: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::packet(packet_type, zxid, data, &mut bytes);
    bytes
}

fn info(observer: bool, id: i64) -> Vec<u8> {
    let (protocol_version, config_version) = (wire::PROTOCOL_VERSION, 7);
    let info = LearnerInfo { server_id: ServerId(id), protocol_version, config_version };
    let mut bytes = Vec::new();
    wire::learner_info(observer, 1, &info, &mut bytes);
    bytes
}

fn show(effect: &ObserverMasterEffect) -> Vec<String> {
    let one = match effect {
        ObserverMasterEffect::Send { connection, item } => {
            let mut bytes = Vec::new();
            match item {
                Outgoing::Bytes(packets) => bytes.extend(packets),
                Outgoing::Records { segment, range, kind } => {
                    wire::encode_records(segment, range.clone(), *kind, &mut bytes);
                }
                Outgoing::History { after, through } => {
                    return vec![format!("{}: history {after} {through}", connection.0)];
                }
                Outgoing::Snapshot { base, through } => {
                    return vec![format!("{}: snapshot {base} {through}", connection.0)];
                }
            }
            let mut reader = PacketReader::new(1 << 20);
            reader.push(&bytes);
            let mut packets = Vec::new();
            while let Some(packet) = reader.next_packet().expect("packets") {
                let packet_type = PacketType::from_i32(packet.packet_type).expect("known");
                packets.push(format!("{}: {packet_type:?} {}", connection.0, packet.zxid));
            }
            return packets;
        }
        ObserverMasterEffect::Close { connection, reason } => {
            format!("close {}: {reason}", connection.0)
        }
        ObserverMasterEffect::Forward(forward) if forward.is_refused() => {
            format!("refuse {} {}", forward.session, forward.cxid)
        }
        ObserverMasterEffect::Forward(forward) => format!("forward {}", forward.op),
        ObserverMasterEffect::Revalidate { session, timeout_ms } => {
            format!("revalidate {session} {timeout_ms}")
        }
        ObserverMasterEffect::PauseReading(connection) => format!("pause {}", connection.0),
        ObserverMasterEffect::ResumeReading(connection) => format!("resume {}", connection.0),
        ObserverMasterEffect::Syncs { .. } | ObserverMasterEffect::Told { .. } => {
            return Vec::new();
        }
        ObserverMasterEffect::OwnSyncDone => "own sync".to_owned(),
        ObserverMasterEffect::OwnRevalidated { session, valid } => format!("own {session} {valid}"),
        ObserverMasterEffect::ObserverUp { connection, .. } => format!("up {}", connection.0),
        ObserverMasterEffect::ObserverGone(connection) => format!("gone {}", connection.0),
    };
    vec![one]
}

#[test]
fn history_comes_from_disk_and_from_memory_and_then_what_is_committed() {
    let mut master = Master::new();
    assert!(master.step(Input::Proposed(segment(21..=23, false))).is_empty());
    master.step(Input::Committed(zxid(22)));
    let synchronised = master.greet(1, zxid(18));
    let expected = [
        "1: Diff 0x100000016",
        "1: history 0x100000012 0x100000014",
        "1: Proposal 0x100000015",
        "1: Commit 0x100000015",
        "1: Proposal 0x100000016",
        "1: Commit 0x100000016",
        "1: NewLeader 0x100000000",
    ];
    assert_eq!(synchronised, expected);
    assert_eq!(master.step(Input::Committed(zxid(23))), ["1: Inform 0x100000017"]);
    assert_eq!(master.machine.observers_len(), 0);
    master.receive(1, &packet(PacketType::Ack, zxid(0), None));
    assert_eq!(master.machine.observers_len(), 1);
    // The acknowledgement of UPTODATE means nothing.
    assert!(master.receive(1, &packet(PacketType::Ack, zxid(0), None)).is_empty());
    assert_eq!(master.step(Input::Closed(ConnectionId(1))), ["gone 1"]);
}

#[test]
fn memory_is_bounded_and_what_is_durable_comes_from_disk() {
    let mut master = Master::new();
    for counter in 21..=200 {
        master.step(Input::Proposed(segment(counter..=counter, false)));
        master.step(Input::Committed(zxid(counter)));
    }
    // Nothing was durable, so nothing was forgotten.
    let expected = 2 + 2 * 180;
    assert_eq!(master.greet(1, zxid(20)).len(), expected);
    master.step(Input::Durable(zxid(200)));
    let synchronised = master.greet(2, zxid(190));
    assert_eq!(synchronised[1], "2: Proposal 0x1000000bf");
    let old = master.greet(3, zxid(150));
    assert!(old[1].starts_with("3: history 0x100000096 0x1000000"), "{old:?}");
    assert!((10..60).contains(&old.len()), "{old:?}");
}

#[test]
fn a_reconfiguration_is_activated_or_told_like_any_other() {
    let mut master = Master::new();
    master.up(1);
    master.step(Input::Proposed(segment(21..=22, true)));
    assert_eq!(master.step(Input::Committed(zxid(22))), ["1: Inform 0x100000015"]);
    let activated = Input::Activated { zxid: zxid(22), designated: ServerId(3) };
    assert_eq!(master.step(activated), ["1: InformAndActivate 0x100000016"]);
    master.step(Input::Proposed(segment(23..=23, true)));
    assert!(master.step(Input::Committed(zxid(23))).is_empty());
    let later = master.step(Input::Proposed(segment(24..=24, false)));
    assert_eq!(later, ["1: Inform 0x100000017"]);
    // Who comes between commit and activation has it from the history.
    master.step(Input::Proposed(segment(25..=25, true)));
    master.step(Input::Committed(zxid(25)));
    let informed = ["1: Inform 0x100000018", "1: Inform 0x100000019"];
    assert_eq!(master.step(Input::Accepted(ConnectionId(2))), informed[1..]);
}

#[test]
fn a_reconfiguration_that_waits_to_be_activated_is_not_forgotten() {
    let mut master = Master::new();
    master.up(1);
    // More than is remembered, all of it on disk.
    master.step(Input::Proposed(segment(21..=60, true)));
    master.step(Input::Durable(zxid(60)));
    assert_eq!(master.step(Input::Committed(zxid(60))).len(), 39);
    let activated = Input::Activated { zxid: zxid(60), designated: ServerId(3) };
    assert_eq!(master.step(activated), ["1: InformAndActivate 0x10000003c"]);
    master.step(Input::Proposed(segment(61..=61, false)));
    assert_eq!(master.step(Input::Committed(zxid(61))), ["1: Inform 0x10000003d"]);
}

#[test]
fn an_observer_that_is_ahead_waits() {
    let mut master = Master::new();
    assert!(master.greet(1, zxid(22)).is_empty());
    master.step(Input::Proposed(segment(21..=23, false)));
    assert!(master.step(Input::Committed(zxid(21))).is_empty());
    let caught_up = master.step(Input::Committed(zxid(22)));
    assert_eq!(caught_up, ["1: Diff 0x100000016", "1: NewLeader 0x100000000"]);
    // One that waits in vain is closed.
    assert!(master.greet(2, zxid(30)).is_empty());
    master.now_ms = 100 * 200;
    let closed = master.step(Input::Tick);
    assert!(closed.contains(&"close 2: the learner was silent for too long".to_owned()));
}

#[test]
fn answers_come_back_in_the_order_of_the_questions() {
    let mut master = Master::new();
    [1, 2].into_iter().for_each(|connection| master.up(connection));
    let sync = |session| {
        let (body, op) = (Vec::new(), OpCode::Sync.to_i32());
        let session = SessionId(session);
        let mut bytes = Vec::new();
        let identities = Some(std::sync::Arc::default());
        wire::request(&Forward { session, cxid: Xid(1), op, body, identities }, &mut bytes);
        bytes
    };
    assert_eq!(master.receive(2, &sync(5)), ["forward 9"]);
    master.step(Input::OwnSync);
    assert_eq!(master.receive(1, &sync(6)), ["forward 9"]);
    assert_eq!(master.step(Input::SyncDone), ["2: Sync 0x0"]);
    assert_eq!(master.step(Input::SyncDone), ["own sync"]);
    assert_eq!(master.step(Input::SyncDone), ["1: Sync 0x0"]);
    let ask = [&8i64.to_be_bytes()[..], &30_000i32.to_be_bytes()].concat();
    let ask = packet(PacketType::Revalidate, Zxid::NONE, Some(&ask));
    master.step(Input::OwnRevalidation(SessionId(7)));
    assert_eq!(master.receive(1, &ask), ["revalidate 0x8 30000"]);
    let answer = |session, valid| Input::Revalidated { session: SessionId(session), valid };
    assert_eq!(master.step(answer(7, false)), ["own 0x7 false"]);
    let told = master.step(answer(8, true));
    assert_eq!(told, ["1: Revalidate 0xffffffffffffffff"]);
    // Behind what was proposed before: it may be what the session asked for elsewhere.
    assert_eq!(master.receive(1, &ask), ["revalidate 0x8 30000"]);
    master.step(Input::Proposed(segment(21..=22, false)));
    assert!(master.step(answer(8, true)).is_empty());
    assert_eq!(master.step(Input::Committed(zxid(21))).len(), 2);
    let informed = ["1: Inform 0x100000016", "2: Inform 0x100000016"];
    let behind = [&informed[..], &["1: Revalidate 0xffffffffffffffff"]].concat();
    assert_eq!(master.step(Input::Committed(zxid(22))), behind);
    let ping =
        packet(PacketType::Ping, zxid(20), Some(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0x27, 0x10]));
    assert!(master.receive(2, &ping).is_empty());
    let touched = [(SessionId(8), 30_000), (SessionId(9), 10_000)];
    assert_eq!(master.machine.take_touches(), touched);
    assert!(master.machine.take_touches().is_empty());
}

fn request(session: i64, cxid: i32, op: OpCode) -> Forward {
    let identities = (op != OpCode::CreateSession).then(Arc::default);
    let (session, cxid, op) = (SessionId(session), Xid(cxid), op.to_i32());
    Forward { session, cxid, op, body: vec![1], identities }
}

fn asks(master: &mut Master, connection: u64, session: i64, cxid: i32, op: OpCode) -> Vec<String> {
    let mut bytes = Vec::new();
    wire::request(&request(session, cxid, op), &mut bytes);
    master.receive(connection, &bytes)
}

/// An observer asks for a session, and the leader answers.
fn goes_on(master: &mut Master, connection: u64, session: i64, valid: bool) {
    let ask = [&session.to_be_bytes()[..], &30_000i32.to_be_bytes()].concat();
    master.receive(connection, &packet(PacketType::Revalidate, Zxid::NONE, Some(&ask)));
    master.step(Input::Revalidated { session: SessionId(session), valid });
}

/// To the leader it is all one, so that it would carry out what comes late.
#[test]
fn what_comes_late_from_where_a_session_was_is_refused() {
    let mut master = Master::new();
    [1, 2].into_iter().for_each(|connection| master.up(connection));
    assert_eq!(asks(&mut master, 1, 7, 0, OpCode::CreateSession), ["forward -10"]);
    assert_eq!(asks(&mut master, 1, 7, 1, OpCode::Create), ["forward 1"]);
    let ask = [&7i64.to_be_bytes()[..], &30_000i32.to_be_bytes()].concat();
    let ask = packet(PacketType::Revalidate, Zxid::NONE, Some(&ask));
    assert_eq!(master.receive(2, &ask), ["revalidate 0x7 30000"]);
    assert_eq!(asks(&mut master, 1, 7, 2, OpCode::Create), ["refuse 0x7 2"], "from then on");
    master.step(Input::Revalidated { session: SessionId(7), valid: true });
    assert_eq!(asks(&mut master, 1, 7, 3, OpCode::Multi), ["refuse 0x7 3"]);
    assert_eq!(asks(&mut master, 2, 7, 3, OpCode::Multi), ["forward 14"]);
    assert_eq!(asks(&mut master, 1, 8, 3, OpCode::SetData), ["forward 5"], "of another session");
    // As at a leader: neither is looked at.
    assert_eq!(asks(&mut master, 1, 7, 4, OpCode::Sync), ["forward 9"]);
    assert_eq!(asks(&mut master, 1, 7, 5, OpCode::CloseSession), ["forward -11"]);
    // What the server before still sends is as late when the server after it has gone.
    master.step(Input::Closed(ConnectionId(2)));
    assert_eq!(asks(&mut master, 1, 7, 6, OpCode::Create), ["refuse 0x7 6"]);
    goes_on(&mut master, 1, 7, true);
    assert_eq!(asks(&mut master, 1, 7, 7, OpCode::Create), ["forward 1"]);
}

#[test]
fn what_this_server_asks_for_late_itself_is_refused_too() {
    let mut master = Master::new();
    master.up(1);
    let own = |master: &mut Master, cxid: i32, op: OpCode| {
        let mut request = request(7, cxid, op);
        master.machine.own_request(&mut request);
        request.is_refused()
    };
    assert!(!own(&mut master, 0, OpCode::CreateSession));
    assert!(!own(&mut master, 1, OpCode::Create));
    goes_on(&mut master, 1, 7, true);
    assert!(own(&mut master, 2, OpCode::Create));
    assert_eq!(asks(&mut master, 1, 7, 2, OpCode::Create), ["forward 1"]);
    master.step(Input::OwnRevalidation(SessionId(7)));
    assert!(!own(&mut master, 3, OpCode::Create));
    assert_eq!(asks(&mut master, 1, 7, 3, OpCode::Create), ["refuse 0x7 3"]);
    let closed = TxnHeader {
        client_id: SessionId(7),
        cxid: Xid(4),
        zxid: zxid(21),
        time_ms: 0,
        txn_type: OpCode::CloseSession.to_i32(),
    };
    let mut builder = SegmentBuilder::default();
    builder.push(zxid(21), &closed.to_bytes());
    master.step(Input::Proposed(builder.freeze()));
    let left = asks(&mut master, 1, 7, 5, OpCode::Create);
    assert_eq!(left, ["forward 1"], "forgotten: the leader refuses it");
}

#[test]
fn a_session_that_one_observer_knows_alone_stays_there() {
    let mut master = Master::new();
    [1, 2].into_iter().for_each(|connection| master.up(connection));
    goes_on(&mut master, 2, 7, false);
    assert_eq!(asks(&mut master, 1, 7, 1, OpCode::Create), ["forward 1"]);
}

#[test]
fn whoever_is_no_observer_is_sent_away() {
    let mut master = Master::new();
    let closed = |connection: u64, reason: LinkEnd| vec![format!("close {connection}: {reason}")];
    for (connection, bytes, reason) in [
        (1, info(false, 9), LinkEnd::OutOfTurn(PacketType::FollowerInfo as i32)),
        (2, info(true, 2), LinkEnd::OwnId),
        (3, packet(PacketType::Ping, zxid(1), None), LinkEnd::OutOfTurn(5)),
        (
            4,
            vec![0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            LinkEnd::OutOfTurn(99),
        ),
    ] {
        master.step(Input::Accepted(ConnectionId(connection)));
        assert_eq!(master.receive(connection, &bytes), closed(connection, reason));
    }
    master.up(5);
    let acknowledged = packet(PacketType::Ack, zxid(20), None);
    let told = master.receive(5, &acknowledged);
    assert_eq!(told, ["gone 5", "close 5: packet of type 3 out of turn"]);
    master.up(6);
    assert_eq!(master.step(Input::Stop).len(), 2);
    master.step(Input::Tick);
    assert_eq!(master.machine.deadline_ms(), None);
    let late = master.step(Input::Accepted(ConnectionId(7)));
    assert_eq!(late, closed(7, LinkEnd::LeaderEnded));
}

#[test]
fn the_silent_are_closed_and_the_others_pinged() {
    let mut master = Master::new();
    master.up(1);
    master.now_ms = 100;
    assert_eq!(master.step(Input::Tick), ["1: Ping 0x100000014"]);
    assert_eq!(master.machine.deadline_ms(), Some(200));
    master.now_ms = 50 * 200;
    let silent = master.step(Input::Tick);
    assert_eq!(silent, ["gone 1", "close 1: the learner was silent for too long"]);
}

#[test]
fn strangers_hold_little() {
    let mut master = Master::new();
    for connection in 1..=64 {
        assert!(master.step(Input::Accepted(ConnectionId(connection))).is_empty());
    }
    let closed = master.step(Input::Accepted(ConnectionId(65)));
    assert_eq!(closed, ["close 1: too many connections"], "the oldest makes room");
    let mut long = Vec::new();
    wire::packet(PacketType::ObserverInfo, Zxid::ZERO, Some(&[0; 4097]), &mut long);
    assert_eq!(master.receive(65, &long)[0], "close 65: unreasonable length 4097 in a packet");
}

/// What the leader does with an observer's requests takes its time, and they are held here.
#[test]
fn an_observer_that_floods_is_not_read_until_half_of_it_is_done() {
    let request = |op: OpCode| {
        let (session, cxid, op) = (SessionId(7), Xid(1), op.to_i32());
        let mut bytes = Vec::new();
        wire::request(&Forward { session, cxid, op, body: vec![1], identities: None }, &mut bytes);
        bytes
    };
    let mut master = Master::new();
    master.up(1);
    master.up(2);
    let mut asked: Vec<u8> = (0..30).flat_map(|_| request(OpCode::Create)).collect();
    asked.extend((0..5).flat_map(|_| request(OpCode::Sync)));
    for _ in 0..5 {
        let mut data = SessionId(7).to_bytes();
        4000i32.encode(&mut data);
        asked.extend(packet(PacketType::Revalidate, Zxid::NONE, Some(&data)));
    }
    assert_eq!(master.receive(1, &asked).len(), 40, "all of it goes on to the leader");
    let one_more = master.receive(1, &request(OpCode::Create));
    assert_eq!(one_more, ["forward 1", "pause 1"]);
    assert_eq!(master.receive(2, &request(OpCode::Create)), ["forward 1"], "the others go on");
    // Answers, and transactions of the same session and number: eleven are left to do.
    for _ in 0..5 {
        assert_eq!(master.step(Input::SyncDone), ["1: Sync 0x0"]);
        let answer = Input::Revalidated { session: SessionId(7), valid: true };
        assert_eq!(master.step(answer), ["1: Revalidate 0xffffffffffffffff"]);
    }
    let mut builder = SegmentBuilder::default();
    for counter in HISTORY + 1..=HISTORY + 11 {
        builder.push(zxid(counter), &txn(zxid(counter), SessionId(7)));
    }
    assert_eq!(master.step(Input::Proposed(builder.freeze())), ["resume 1"]);
    assert_eq!(master.receive(1, &request(OpCode::Create)), ["forward 1"]);
}
