//! Leaders that break off anywhere, garble their bytes, or say anything in any order: the link
//! ends with a reason, and what the learner promises holds until then.

use proptest::prelude::*;
use rookeeper_jute::quorum::PacketType;
use rookeeper_jute::txn::{DeleteTxn, SetDataTxn, TxnHeader};
use rookeeper_jute::{Encode, OpCode, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::learner::{LearnerEnd, LearnerInput};
use rookeeper_zab::membership::Role::{self, Observer, Participant};
use rookeeper_zab::sync::SnapshotFault;
use rookeeper_zab::wire;

use super::replay::RECORDED;
use super::snapshot::body;
use super::support::{Driver, config};

pub const MEMBERSHIP: &str =
    "server.1=n1:2888:3888:participant\nserver.9=n9:2888:3888:participant\nversion=5";

pub fn packet(packet_type: PacketType, zxid: i64, data: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::packet(packet_type, Zxid(zxid), data, &mut bytes);
    bytes
}

pub fn leader_info(epoch: i64) -> Vec<u8> {
    packet(PacketType::LeaderInfo, epoch << 32, Some(&[0, 1, 0, 0]))
}

pub fn new_leader(epoch: i64) -> Vec<u8> {
    packet(PacketType::NewLeader, epoch << 32, Some(MEMBERSHIP.as_bytes()))
}

pub fn up_to_date() -> Vec<u8> {
    packet(PacketType::UpToDate, -1, None)
}

fn header(zxid: i64, op: OpCode) -> Vec<u8> {
    let (client_id, cxid, zxid) = (SessionId(7), Xid(8), Zxid(zxid));
    TxnHeader { client_id, cxid, zxid, time_ms: 9, txn_type: op.to_i32() }.to_bytes()
}

pub fn txn(zxid: i64) -> Vec<u8> {
    let mut txn = header(zxid, OpCode::Delete);
    DeleteTxn { path: Some("/a".into()) }.encode(&mut txn);
    txn
}

pub fn reconfiguration(zxid: i64, text: &str) -> Vec<u8> {
    let mut txn = header(zxid, OpCode::Reconfig);
    let path = Some("/zookeeper/config".into());
    SetDataTxn { path, data: Some(text.as_bytes()), version: -1 }.encode(&mut txn);
    txn
}

pub fn proposal(zxid: i64) -> Vec<u8> {
    packet(PacketType::Proposal, zxid, Some(&txn(zxid)))
}

#[test]
fn a_leader_may_break_off_after_any_byte() {
    for recorded in RECORDED.iter().filter(|recorded| recorded.from_leader.len() < 2600) {
        for end in 0..recorded.from_leader.len() {
            let mut driver = Driver::connected(recorded.config());
            let mut left = end;
            for part in recorded.parts() {
                driver.receive(&part[..left.min(part.len())]);
                left = left.saturating_sub(part.len());
            }
            driver.step(LearnerInput::Closed);
            // Before LEADERINFO is whole it was perhaps no leader yet.
            let expected = (end >= 24).then_some(LearnerEnd::Closed);
            assert_eq!(driver.ended, expected, "{} at {end}", recorded.name);
            assert_eq!(driver.learner.deadline_ms().is_some(), end < 24);
        }
    }
}

#[test]
fn a_snapshot_may_break_off_after_any_byte() {
    let mut snapshot = packet(PacketType::Snap, 0x1_0000_0007, None);
    snapshot.extend(body(2, &[1, 2], &["", "/a", "/bb"]));
    wire::snapshot_end(&mut snapshot);
    for end in 0..snapshot.len() {
        let mut driver = Driver::connected(config(1, Participant));
        driver.receive(&leader_info(2));
        driver.receive(&snapshot[..end]);
        driver.step(LearnerInput::Closed);
        assert_eq!(driver.ended, Some(LearnerEnd::Closed), "{end}");
    }
}

#[test]
fn no_garbled_byte_upsets_a_learner() {
    for recorded in RECORDED.iter().filter(|recorded| recorded.from_leader.len() < 1500) {
        for at in 0..recorded.from_leader.len().min(1500) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = recorded.from_leader.to_vec();
                bytes[at] ^= flip;
                let mut driver = Driver::connected(recorded.config());
                let mut from = 0;
                for part in recorded.parts() {
                    driver.receive(&bytes[from..from + part.len()]);
                    from += part.len();
                }
            }
        }
    }
}

/// A learner of epoch 2 that has this much history, up to DIFF.
fn in_history(role: Role, last_zxid: i64) -> Driver {
    let config = config(1, role);
    let mut driver = Driver::connected(rookeeper_zab::learner::LearnerConfig {
        accepted_epoch: 1,
        current_epoch: 1,
        last_zxid: Zxid(last_zxid),
        ..config
    });
    driver.receive(&leader_info(2));
    driver.receive(&packet(PacketType::Diff, 0, None));
    driver
}

fn serving(role: Role, last_zxid: i64) -> Driver {
    let mut driver = in_history(role, last_zxid);
    driver.receive(&new_leader(2));
    driver.receive(&up_to_date());
    assert!(driver.serving);
    driver
}

#[test]
fn each_broken_rule_has_its_name() {
    let (one, two) = (0x1_0000_0000, 0x2_0000_0000);
    let unexpected = |packet, phase| LearnerEnd::UnexpectedPacket { packet, phase };
    let history = || in_history(Participant, one + 5);
    let gap = |last: i64, got: i64| LearnerEnd::Gap { last: Zxid(last), got: Zxid(got) };
    let commit = |next: Option<i64>, got: i64| LearnerEnd::UnmatchedCommit {
        next: next.map(Zxid),
        got: Zxid(got),
    };
    let bad = |zxid| LearnerEnd::BadTransaction { zxid: Zxid(zxid) };
    let garbage = |zxid| packet(PacketType::Proposal, zxid, Some(b"garbage"));
    let with_id = |id: i64, txn: &[u8]| [&ServerId(id).to_bytes(), txn].concat();
    let commits = |zxid| packet(PacketType::Commit, zxid, None);
    let activate = |zxid| packet(PacketType::CommitAndActivate, zxid, Some(&[0; 8]));
    let cases: Vec<(Driver, Vec<Vec<u8>>, LearnerEnd)> = vec![
        (history(), vec![proposal(one + 7)], gap(one + 5, one + 7)),
        (history(), vec![proposal(one + 5)], gap(one + 5, one + 5)),
        (history(), vec![proposal(one + 6), proposal(one + 6)], gap(one + 6, one + 6)),
        (history(), vec![proposal(two + 2)], gap(one + 5, two + 2)),
        (history(), vec![proposal(two)], gap(one + 5, two)),
        (history(), vec![proposal(0x3_0000_0001)], gap(one + 5, 0x3_0000_0001)),
        (history(), vec![proposal(-0xffff_ffff)], gap(one + 5, -0xffff_ffff)),
        (history(), vec![commits(one + 5)], commit(None, one + 5)),
        (
            history(),
            vec![proposal(one + 6), proposal(two + 1), commits(two + 1)],
            commit(Some(one + 6), two + 1),
        ),
        (history(), vec![garbage(one + 6)], bad(one + 6)),
        (history(), vec![packet(PacketType::Proposal, one + 6, Some(&txn(one + 7)))], bad(one + 6)),
        (
            history(),
            vec![packet(PacketType::Proposal, one + 6, None)],
            LearnerEnd::MissingData(PacketType::Proposal),
        ),
        (
            history(),
            vec![proposal(one + 6), activate(one + 6)],
            LearnerEnd::NoReconfiguration(Zxid(one + 6)),
        ),
        (
            history(),
            vec![proposal(one + 6), packet(PacketType::CommitAndActivate, one + 6, Some(&[0; 7]))],
            LearnerEnd::MissingData(PacketType::CommitAndActivate),
        ),
        (history(), vec![new_leader(1)], LearnerEnd::OtherEpoch { got: 1, announced: 2 }),
        (history(), vec![up_to_date()], unexpected(PacketType::UpToDate, "receiving history")),
        (
            history(),
            vec![packet(PacketType::Sync, 0, None)],
            unexpected(PacketType::Sync, "receiving history"),
        ),
        (
            history(),
            vec![packet(PacketType::Inform, one + 6, Some(&txn(one + 6)))],
            unexpected(PacketType::Inform, "receiving history"),
        ),
        (
            in_history(Observer, one + 5),
            vec![packet(PacketType::InformAndActivate, one + 6, Some(&with_id(1, &txn(one + 6))))],
            LearnerEnd::NoReconfiguration(Zxid(one + 6)),
        ),
        (
            serving(Observer, one + 5),
            vec![packet(PacketType::Inform, one + 7, Some(&txn(one + 7)))],
            gap(one + 5, one + 7),
        ),
        (
            serving(Participant, one + 5),
            vec![new_leader(2)],
            unexpected(PacketType::NewLeader, "serving"),
        ),
        (
            serving(Participant, one + 5),
            vec![packet(PacketType::Revalidate, -1, Some(&[0; 8]))],
            LearnerEnd::MissingData(PacketType::Revalidate),
        ),
        (
            serving(Participant, one + 5),
            vec![packet(PacketType::Request, -1, None)],
            unexpected(PacketType::Request, "serving"),
        ),
        (
            serving(Participant, 0),
            vec![vec![
                0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ]],
            LearnerEnd::UnknownPacket(99),
        ),
    ];
    for (mut driver, leader, end) in cases {
        for bytes in &leader {
            driver.receive(bytes);
        }
        assert_eq!(driver.ended, Some(end));
        // What came after the end has no effect.
        let effects = driver.effects.len();
        driver.receive(&proposal(one + 6));
        driver.step(LearnerInput::Closed);
        assert_eq!(driver.effects.len(), effects);
    }
}

#[test]
fn a_leader_of_our_kind_says_so_beside_its_version() {
    for (data, is_exact) in [
        (wire::leader_info().to_vec(), true),
        (vec![0, 1, 0, 0], false),
        (vec![0, 1, 0, 0, 1, 2, 3, 4], false),
    ] {
        let mut driver = Driver::connected(config(1, Participant));
        driver.receive(&packet(PacketType::LeaderInfo, 0x2_0000_0000, Some(&data)));
        assert_eq!((driver.learner.leader_is_exact(), &driver.ended), (is_exact, &None));
    }
}

#[test]
fn a_bad_beginning_has_its_name_too() {
    let connected = || Driver::connected(config(1, Participant));
    let end = |leader: &[Vec<u8>]| {
        let mut driver = connected();
        leader.iter().for_each(|bytes| driver.receive(bytes));
        driver.ended
    };
    let two = 0x2_0000_0000;
    let old = packet(PacketType::LeaderInfo, -1 << 32, Some(&[0, 1, 0, 0]));
    assert_eq!(end(&[old]), Some(LearnerEnd::EpochTooOld { epoch: -1, accepted: 0 }));
    let short = packet(PacketType::LeaderInfo, two, Some(&[0, 1]));
    assert_eq!(end(&[short]), Some(LearnerEnd::MissingData(PacketType::LeaderInfo)));
    let phase = "waiting for LEADERINFO";
    let early = LearnerEnd::UnexpectedPacket { packet: PacketType::NewLeader, phase };
    assert_eq!(end(&[new_leader(2)]), Some(early));
    for (packet_type, zxid) in [
        (PacketType::Trunc, 1),
        (PacketType::Trunc, -5),
        (PacketType::Snap, -1),
        (PacketType::Snap, 0x3_0000_0000),
    ] {
        let (packet_zxid, last) = (Zxid(zxid), Zxid::ZERO);
        let bad = LearnerEnd::BadSyncStart { packet: packet_type, zxid: packet_zxid, last };
        assert_eq!(end(&[leader_info(2), packet(packet_type, zxid, None)]), Some(bad));
    }
    let snap = packet(PacketType::Snap, two, None);
    let negative = [snap, vec![0; 8], vec![0xff, 0xff, 0xff, 0xfe]].concat();
    let bad = LearnerEnd::BadSnapshot(SnapshotFault::UnreasonableLength(-2));
    assert_eq!(end(&[leader_info(2), negative]), Some(bad));
    let mut no_config = in_history(Participant, 0);
    no_config.receive(&packet(PacketType::NewLeader, two, Some(b"server.1=nonsense")));
    assert!(matches!(no_config.ended, Some(LearnerEnd::BadMembership(_))), "{:?}", no_config.ended);
    let mut long = connected();
    long.receive(&[leader_info(2)[..12].to_vec(), vec![0x7f, 0, 0, 0]].concat());
    assert!(matches!(long.ended, Some(LearnerEnd::BadPacket(_))), "{:?}", long.ended);
}

/// Any packet of a leader, with zxids that are near one another.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let zxid = (0i64..4, 0i64..5).prop_map(|(epoch, counter)| (epoch << 32) + counter);
    (0usize..24, zxid).prop_map(|(kind, zxid)| {
        let plain = |packet_type| packet(packet_type, zxid, None);
        let reconfig = reconfiguration(zxid, MEMBERSHIP);
        let with_id = |txn: &[u8]| [&[0; 8], txn].concat();
        match kind {
            0 => leader_info(zxid >> 32),
            1 => plain(PacketType::Diff),
            2 => plain(PacketType::Trunc),
            3 => {
                let mut bytes = plain(PacketType::Snap);
                bytes.extend(body(1, &[1], &["", "/a"]));
                wire::snapshot_end(&mut bytes);
                bytes
            }
            4 => packet(PacketType::Proposal, zxid, Some(&reconfig)),
            5 => packet(PacketType::CommitAndActivate, zxid, Some(&[0; 8])),
            6 => new_leader(zxid >> 32),
            7 => up_to_date(),
            8 => packet(PacketType::InformAndActivate, zxid, Some(&with_id(&reconfig))),
            9 => plain(PacketType::Sync),
            10 => plain(PacketType::Ping),
            11 => packet(PacketType::Revalidate, -1, Some(&[1; 9])),
            12 | 13 => packet(PacketType::Inform, zxid, Some(&txn(zxid))),
            14..=18 => proposal(zxid),
            _ => plain(PacketType::Commit),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn packets_in_any_order(
        observer in any::<bool>(),
        start in 0usize..4,
        last in 0i64..4,
        leader in prop::collection::vec((any_packet(), 0usize..3), 0..40),
    ) {
        let role = if observer { Observer } else { Participant };
        let mut driver = match start {
            0 => Driver::connected(config(1, role)),
            1 => in_history(role, 0x1_0000_0000 + last),
            _ => serving(role, 0x1_0000_0000 + last),
        };
        driver.prompt = false;
        for (bytes, work) in leader {
            driver.receive(&bytes);
            for _ in 0..work {
                driver.work_one();
            }
        }
        while driver.work_one() {}
    }

    #[test]
    fn bytes_of_any_kind(
        at in 1..RECORDED.len(),
        part in 0usize..3,
        cut in 0usize..3000,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let recorded = &RECORDED[at];
        let mut driver = Driver::connected(recorded.config());
        for (number, good) in recorded.parts().into_iter().enumerate() {
            if number == part {
                driver.receive(&good[..cut.min(good.len())]);
                driver.receive(&bytes);
            }
            if number >= part {
                break;
            }
            driver.receive(good);
        }
        driver.step(LearnerInput::Closed);
        prop_assert!(driver.ended.is_some() || part == 0);
    }
}
