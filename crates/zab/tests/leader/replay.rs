//! What Java's learners sent to a Java leader, and what that leader sent to them: this leader,
//! given the same history and the same transactions at the same places, sends the same bytes.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use rookeeper_jute::quorum::{LearnerInfo, PacketType, QuorumPacket};
use rookeeper_jute::txn::{SetDataTxn, TxnHeader};
use rookeeper_jute::{Encode, Reader, ServerId, Zxid};
use rookeeper_zab::leader::{Leader, LeaderEffect, LeaderInput};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::Ensemble;
use rookeeper_zab::sync::{LogIndex, SnapshotStream};
use rookeeper_zab::wire::{self, PacketReader};
use rookeeper_zab::{Outgoing, RecordsKind, Segment, SegmentBuilder};

use crate::scenario::config;

const LEN_MAX: usize = 1 << 20;
const RECORDED: ConnectionId = ConnectionId(1);
/// A voter that acknowledges when it is told to.
const OTHER: ConnectionId = ConnectionId(2);

/// A packet of its own.
#[derive(Debug, Clone)]
struct Recorded {
    packet_type: PacketType,
    zxid: Zxid,
    data: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

fn keep(packet: &QuorumPacket<'_>) -> Recorded {
    Recorded {
        packet_type: PacketType::from_i32(packet.packet_type).expect("a known type"),
        zxid: packet.zxid,
        data: packet.data.map(<[u8]>::to_vec),
        bytes: packet.to_bytes(),
    }
}

/// All whole packets of a stream; a snapshot's body is left out.
fn packets(bytes: &[u8]) -> VecDeque<Recorded> {
    let (mut packets, mut rest) = (VecDeque::new(), bytes.to_vec());
    'streams: loop {
        let mut reader = PacketReader::new(LEN_MAX);
        reader.push(&rest);
        while let Some(packet) = reader.next_packet().expect("Java sends packets") {
            packets.push_back(keep(&packet));
            if packets.back().map(|packet| packet.packet_type) == Some(PacketType::Snap) {
                rest = after_snapshot(&reader.take_rest());
                continue 'streams;
            }
        }
        return packets;
    }
}

fn after_snapshot(bytes: &[u8]) -> Vec<u8> {
    let mut stream = SnapshotStream::new(LEN_MAX);
    let piece = stream.push(bytes).expect("Java sends a snapshot");
    assert!(piece.done, "a whole snapshot");
    bytes[piece.taken..].to_vec()
}

fn stream(name: &str, direction: &str) -> VecDeque<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/learner");
    let path = folder.join(format!("{name}-{direction}.bin"));
    packets(&std::fs::read(path).expect("a recorded stream can be read"))
}

fn segment(zxid: Zxid, txn: &[u8]) -> Arc<Segment> {
    let mut builder = SegmentBuilder::default();
    builder.push(zxid, txn);
    builder.freeze()
}

/// The configuration in a transaction of type reconfig.
fn reconfiguration(txn: &[u8]) -> Option<Membership> {
    let mut reader = Reader::new(txn);
    let header: TxnHeader = reader.read().expect("a header");
    if header.txn_type != 16 {
        return None;
    }
    let body: SetDataTxn<'_> = reader.read().expect("a setData");
    Some(parse(body.data.expect("a configuration")))
}

fn parse(text: &[u8]) -> Membership {
    let rules = MembershipRules { standalone_enabled: false, multi_address_enabled: false };
    let text = std::str::from_utf8(text).expect("UTF-8");
    Membership::parse(text, &rules).expect("Java's configuration")
}

/// A leader in place of Java's, and what it has sent to the recorded learner.
struct Replay {
    leader: Leader,
    /// Transactions by zxid that Java's leader sent.
    txns: Vec<(Zxid, Vec<u8>)>,
    sent: VecDeque<Recorded>,
    /// Effects other than what is sent.
    other: Vec<LeaderEffect>,
    snapshots: usize,
}

impl Replay {
    fn step(&mut self, input: LeaderInput<'_>) {
        let mut effects = Vec::new();
        self.leader.step(0, input, &mut effects);
        for effect in effects {
            match effect {
                LeaderEffect::Send { connection: RECORDED, item } => {
                    let mut bytes = Vec::new();
                    self.write(&item, &mut bytes);
                    self.sent.extend(packets(&bytes));
                }
                LeaderEffect::Send { .. } => {}
                LeaderEffect::WriteEpoch { kind, .. } => {
                    self.step(LeaderInput::EpochWritten(kind));
                    self.other.push(effect);
                }
                _ => self.other.push(effect),
            }
        }
    }

    fn write(&mut self, item: &Outgoing, out: &mut Vec<u8>) {
        match item {
            Outgoing::Bytes(bytes) => out.extend_from_slice(bytes),
            Outgoing::Records { segment, range, kind } => {
                wire::encode_records(segment, range.clone(), *kind, out);
            }
            Outgoing::History { after, through } => {
                let part = self.txns.iter().filter(|(zxid, _)| zxid > after && zxid <= through);
                for (zxid, txn) in part {
                    wire::history_record(*zxid, txn, out);
                }
            }
            Outgoing::Snapshot { .. } => self.snapshots += 1,
        }
    }

    fn receive(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.step(LeaderInput::Received { connection, bytes });
    }

    fn other(&mut self, packet_type: PacketType, zxid: Zxid, data: Option<&[u8]>) {
        let mut bytes = Vec::new();
        wire::packet(packet_type, zxid, data, &mut bytes);
        self.receive(OTHER, &bytes);
    }

    fn propose(&mut self, zxid: Zxid, txn: &[u8]) {
        if let Some(membership) = (txn.len() > 32).then(|| reconfiguration(txn)).flatten() {
            assert_eq!(membership.version(), zxid.0, "Java names it by its transaction");
            self.step(LeaderInput::Reconfigured { zxid, membership: Arc::new(membership) });
        }
        self.step(LeaderInput::Proposed(segment(zxid, txn)));
        self.step(LeaderInput::Durable(zxid));
    }

    fn commit(&mut self, zxid: Zxid) {
        self.other(PacketType::Ack, zxid, None);
    }
}

/// The leader before the recorded learner comes: what Java's leader had proposed and committed by
/// then, with the other voter as its follower.
fn prepare(
    me: i64,
    learner: ServerId,
    introduced: &[Recorded],
    sent: &VecDeque<Recorded>,
) -> Replay {
    let (epoch_zxid, op) = (sent[0].zxid, &sent[1]);
    let new_leader = sent.iter().find(|packet| packet.packet_type == PacketType::NewLeader);
    let text = new_leader.and_then(|packet| packet.data.clone()).expect("a configuration");
    let mut committed = parse(&text);
    if committed.version() == epoch_zxid.0 {
        committed = committed.with_version(0);
    }
    let other = committed.voters().find(|id| id.0 != me && *id != learner);
    let other = other.unwrap_or(ServerId(3));
    let peer = introduced[1].zxid;
    let of_epoch = op.zxid.epoch() == epoch_zxid.epoch();
    let history = match (of_epoch, op.packet_type) {
        (false, PacketType::Diff | PacketType::Snap) => op.zxid,
        (false, _) => Zxid(op.zxid.0),
        (true, _) => Zxid::new(epoch_zxid.epoch() - 1, 5),
    };
    let base = match (of_epoch, op.packet_type) {
        (false, PacketType::Diff) => peer.min(history),
        (false, PacketType::Trunc) => Zxid(history.0 - 1),
        _ => history,
    };
    let mut index = LogIndex::new(base);
    for zxid in (base.0..=history.0).map(Zxid) {
        index.append(zxid, 100);
    }
    let mut config = config(me, Ensemble::new(Arc::new(committed)), history);
    config.accepted_epoch = i64::from(epoch_zxid.epoch()) - 1;
    config.current_epoch = config.accepted_epoch;
    let leader = Leader::new(config, index, 0);
    let txns = sent.iter().filter(|packet| packet.packet_type == PacketType::Proposal);
    let txns = txns.map(|packet| (packet.zxid, packet.data.clone().unwrap_or_default())).collect();
    let (nothing, no_effects) = (VecDeque::new(), Vec::new());
    let mut replay = Replay { leader, txns, sent: nothing, other: no_effects, snapshots: 0 };
    replay.step(LeaderInput::Start);
    replay.step(LeaderInput::Accepted(OTHER));
    let info = LearnerInfo { server_id: other, protocol_version: 0x10000, config_version: 0 };
    let mut bytes = Vec::new();
    wire::learner_info(false, 0, &info, &mut bytes);
    replay.receive(OTHER, &bytes);
    replay.other(PacketType::AckEpoch, history, Some(&0i32.to_bytes()));
    replay.other(PacketType::Ack, epoch_zxid, None);
    // What was committed in this epoch before the learner came.
    let through = if of_epoch { history_end(sent) } else { epoch_zxid };
    for zxid in (epoch_zxid.0 + 1..=through.0).map(Zxid) {
        let known = replay.txns.iter().find(|(known, _)| *known == zxid);
        let txn = known.map_or(vec![1; 8], |(_, txn)| txn.clone());
        if reconfiguration_of_past(&txn) {
            // Only its bytes count here: it was committed long ago.
            replay.step(LeaderInput::Proposed(segment(zxid, &txn)));
            replay.step(LeaderInput::Durable(zxid));
        } else {
            replay.propose(zxid, &txn);
        }
        replay.commit(zxid);
    }
    replay
}

/// The last transaction that was sent before NEWLEADER, or what DIFF, TRUNC or SNAP names.
fn history_end(sent: &VecDeque<Recorded>) -> Zxid {
    let history = sent.iter().take_while(|packet| packet.packet_type != PacketType::NewLeader);
    history.skip(1).map(|packet| packet.zxid).max().expect("DIFF, TRUNC or SNAP")
}

fn reconfiguration_of_past(txn: &[u8]) -> bool {
    txn.len() > 32 && reconfiguration(txn).is_some()
}

/// Runs one stream; returns how many packets were the same, and how many snapshots were sent.
fn run(name: &str, me: i64) -> (usize, usize) {
    let (mut to_leader, recorded) = (stream(name, "c2s"), stream(name, "s2c"));
    let handshake: Vec<Recorded> = to_leader.drain(..2).collect();
    let mut info = Reader::new(handshake[0].data.as_deref().expect("who it is"));
    let learner: LearnerInfo = info.read().expect("who it is");
    let mut replay = prepare(me, learner.server_id, &handshake, &recorded);
    assert!(replay.sent.is_empty(), "{name}");
    replay.step(LeaderInput::Accepted(RECORDED));
    replay.receive(RECORDED, &handshake[0].bytes);
    replay.receive(RECORDED, &handshake[1].bytes);
    let mut same = 0;
    let end = history_end(&recorded);
    let mut compare = |replay: &mut Replay, expected: &Recorded| {
        let sent = replay.sent.pop_front().unwrap_or_else(|| {
            panic!("{name}: nothing for {:?} {}", expected.packet_type, expected.zxid)
        });
        if sent.packet_type == PacketType::Diff && expected.zxid < end {
            // Java had committed one transaction more than it had applied, and sent it too.
            assert_eq!((expected.packet_type, sent.zxid), (PacketType::Diff, end), "{name}");
            return;
        }
        assert_eq!((sent.packet_type, sent.zxid), (expected.packet_type, expected.zxid), "{name}");
        if sent.packet_type == PacketType::LeaderInfo {
            // Beside the version that Java reads there is a mark.
            let mut data = expected.data.clone().expect("a version");
            data.extend(wire::LEADER_MARK);
            assert_eq!(sent.data, Some(data), "{name}");
            same += 1;
            return;
        }
        assert_eq!(sent.bytes, expected.bytes, "{name}: {:?}", expected.packet_type);
        same += 1;
    };
    for expected in &recorded {
        match expected.packet_type {
            PacketType::Ping | PacketType::Sync => continue,
            // The driver sends it, with a snapshot's own zxid.
            PacketType::Snap => {
                assert_eq!(replay.snapshots, 1, "{name}: a snapshot, as Java");
                continue;
            }
            PacketType::UpToDate => {
                let at = to_leader.iter().position(|packet| packet.packet_type == PacketType::Ack);
                for packet in to_leader.drain(..=at.expect("an acknowledgement")) {
                    replay.receive(RECORDED, &packet.bytes);
                }
            }
            PacketType::Proposal if replay.leader.report().proposed < expected.zxid => {
                let txn = expected.data.as_deref().expect("a transaction");
                replay.propose(expected.zxid, txn);
            }
            PacketType::Inform => {
                let txn = expected.data.as_deref().expect("a transaction");
                replay.propose(expected.zxid, txn);
                replay.commit(expected.zxid);
            }
            PacketType::InformAndActivate => {
                let data = expected.data.as_deref().expect("a leader and a transaction");
                replay.propose(expected.zxid, &data[8..]);
                replay.commit(expected.zxid);
            }
            PacketType::Commit | PacketType::CommitAndActivate
                if replay.leader.report().committed < expected.zxid =>
            {
                replay.commit(expected.zxid);
            }
            PacketType::Revalidate => {
                let mut data = Reader::new(expected.data.as_deref().expect("an answer"));
                let session = data.read().expect("a session");
                let valid = data.read().expect("an answer");
                let connection = RECORDED;
                replay.step(LeaderInput::Revalidated { connection, session, valid });
            }
            _ => {}
        }
        compare(&mut replay, expected);
    }
    assert!(replay.sent.is_empty(), "{name}: {:?}", replay.sent);
    rest(name, &mut replay, to_leader);
    (same, replay.snapshots)
}

/// What the learner said while it served: none of it ends the connection, and requests and
/// questions arrive. (Answers to pings are left out: those pings were not sent here.)
fn rest(name: &str, replay: &mut Replay, to_leader: VecDeque<Recorded>) {
    replay.other.clear();
    let (mut requests, mut questions) = (0, 0);
    for packet in to_leader {
        match packet.packet_type {
            PacketType::Ping => continue,
            // The capture of Java's proposals may stop before that of their acknowledgements.
            PacketType::Ack if packet.zxid > replay.leader.report().proposed => continue,
            PacketType::Request => requests += 1,
            PacketType::Revalidate => questions += 1,
            _ => {}
        }
        replay.receive(RECORDED, &packet.bytes);
    }
    let count = |of: fn(&LeaderEffect) -> bool| replay.other.iter().filter(|e| of(e)).count();
    assert_eq!(count(|e| matches!(e, LeaderEffect::Forwarded { .. })), requests, "{name}");
    assert_eq!(count(|e| matches!(e, LeaderEffect::Revalidate { .. })), questions, "{name}");
    assert_eq!(count(|e| matches!(e, LeaderEffect::Close { .. })), 0, "{name}");
}

#[test]
fn the_same_bytes_as_java() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/learner");
    let entries = std::fs::read_dir(folder).expect("recorded streams can be listed");
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.expect("recorded streams can be listed").file_name();
            name.to_string_lossy().strip_suffix("-c2s.bin").map(str::to_owned)
        })
        .collect();
    names.sort();
    let (mut same, mut snapshots) = (0, 0);
    for name in &names {
        let me = if name.contains("srv2") { 2 } else { 3 };
        let (packets, snapshot) = run(name, me);
        same += packets;
        snapshots += snapshot;
    }
    assert_eq!((names.len(), snapshots), (16, 5));
    assert!(same >= 370, "{same} packets are the same");
}

#[test]
fn a_sync_is_answered_as_java_does() {
    let answers = stream("000.37-ln-srv2-59626", "s2c");
    let recorded = answers.iter().find(|packet| packet.packet_type == PacketType::Sync);
    let mut own = Vec::new();
    wire::packet(PacketType::Sync, Zxid(0), None, &mut own);
    assert_eq!(own, recorded.expect("Java answered one").bytes);
}

#[test]
fn history_goes_out_in_pairs_for_observers_too() {
    let recorded = stream("226.13-ln-srv2-51776", "s2c");
    let types: Vec<PacketType> = recorded.iter().map(|packet| packet.packet_type).collect();
    let pair = [PacketType::Proposal, PacketType::Commit];
    assert_eq!(types[2..4], pair);
    let txn = recorded[2].data.clone().expect("a transaction");
    let mut own = Vec::new();
    let segment = segment(recorded[2].zxid, &txn);
    wire::encode_records(&segment, 0..1, RecordsKind::ProposalAndCommit, &mut own);
    assert_eq!(own, [recorded[2].bytes.clone(), recorded[3].bytes.clone()].concat());
}
