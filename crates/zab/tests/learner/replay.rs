//! Java's recorded streams (3.8.0) between leaders and learners: with the leader's side played,
//! ours says what Java's learner said.
//!
//! A file is one direction of one connection, named by second, leader, learner's port; `c2s` is
//! what the learner sent.

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{Decode, Reader, SessionId, Zxid};
use rookeeper_zab::learner::{LearnerConfig, LearnerEffect, LearnerInput};
use rookeeper_zab::membership::Role::{self, Observer, Participant};
use rookeeper_zab::wire::{self, read_request, read_touches};

use super::support::{Driver, Sent, config, packets};

/// A learner's own state when it came.
pub struct Recorded {
    pub name: &'static str,
    pub from_leader: &'static [u8],
    pub to_leader: &'static [u8],
    config: (i64, Role, i64, i64, i64, i64),
    /// The last zxid that is committed in it.
    committed: i64,
}

impl Recorded {
    pub fn config(&self) -> LearnerConfig {
        let (me, role, accepted_epoch, current_epoch, version, last_zxid) = self.config;
        LearnerConfig {
            accepted_epoch,
            current_epoch,
            config_version: version,
            last_zxid: Zxid(last_zxid),
            ..config(me, role)
        }
    }

    /// The leader's bytes: LEADERINFO, what it said after ACKEPOCH, and what after NEWLEADER's
    /// acknowledgement.
    pub fn parts(&self) -> [&'static [u8]; 3] {
        let mut up_to_date = Vec::new();
        wire::packet(PacketType::UpToDate, Zxid::NONE, None, &mut up_to_date);
        let at = self.from_leader.windows(up_to_date.len()).position(|bytes| bytes == up_to_date);
        let (start, live) = self.from_leader.split_at(at.expect("it was brought up to date"));
        let (leader_info, history) = start.split_at(24);
        [leader_info, history, live]
    }
}

macro_rules! recorded {
    ($($name:literal: $config:expr, $committed:literal;)*) => {
        pub const RECORDED: &[Recorded] = &[$(Recorded {
            name: $name,
            from_leader: include_bytes!(concat!("../recorded/learner/", $name, "-s2c.bin")),
            to_leader: include_bytes!(concat!("../recorded/learner/", $name, "-c2s.bin")),
            config: $config,
            committed: $committed,
        }),*];
    };
}

recorded! {
    "000.37-ln-srv2-59626": (1, Participant, 0, 0, 0, 0), 0x1_0000_0051;
    "147.28-ln-srv2-39382": (3, Participant, 0, 0, 0x1_0000_0000, 0), 0x1_0000_0035;
    "150.51-ln-srv2-57926": (4, Observer, 0, 0, 0x1_0000_0000, 0), 0x1_0000_0041;
    "156.78-ln-srv2-57942": (3, Participant, 1, 1, 0x1_0000_0000, 0x1_0000_0035), 0x1_0000_004a;
    "223.91-ln-srv2-51764": (4, Participant, 1, 1, 0x1_0000_0041, 0x1_0000_0041), 0x1_0000_0047;
    "226.13-ln-srv2-51776": (4, Observer, 1, 1, 0x1_0000_0046, 0x1_0000_0046), 0x1_0000_0051;
    "237.66-ln-srv2-57312": (3, Participant, 1, 1, 0x1_0000_0046, 0x1_0000_004a), 0x1_0000_0051;
    "283.29-ln-srv3-34326": (1, Participant, 1, 1, 0x1_0000_0046, 0x1_0000_0051), 0x2_0000_0001;
    "293.61-ln-srv3-43640": (4, Observer, 1, 1, 0x1_0000_0046, 0x1_0000_0051), 0x2_0000_0001;
    "295.30-ln-srv3-43642": (2, Participant, 1, 1, 0x1_0000_0046, 0x1_0000_0052), 0x2_0000_0001;
    "349.59-ln-srv2-49752": (1, Participant, 2, 2, 0x1_0000_0046, 0x2_0000_0001), 0x3_0000_0007;
    "357.33-ln-srv2-49766": (4, Observer, 2, 2, 0x1_0000_0046, 0x2_0000_0001), 0x3_0000_0007;
    "359.51-ln-srv2-35586": (3, Participant, 2, 2, 0x1_0000_0046, 0x2_0000_0002), 0x3_0000_0007;
    "418.23-ln-srv3-48668": (1, Participant, 3, 3, 0x1_0000_0046, 0x3_0000_0007), 0x3_0000_0007;
    "418.51-ln-srv3-48676": (4, Observer, 3, 3, 0x1_0000_0046, 0x3_0000_0007), 0x3_0000_0007;
    "427.91-ln-srv3-56372": (2, Participant, 3, 3, 0x1_0000_0046, 0x3_0000_0008), 0x3_0000_0007;
}

/// What a client asked for in the recording.
fn clients(theirs: &[Sent], driver: &mut Driver) {
    for sent in theirs {
        match sent.packet_type {
            PacketType::Request => {
                let packet = QuorumPacket::from_bytes(&sent.bytes).expect("a packet");
                let forward = read_request(&packet, &mut None).expect("a request");
                driver.step(LearnerInput::Forward(forward));
            }
            PacketType::Revalidate => {
                let mut reader = Reader::new(sent.data.as_deref().expect("data"));
                let session: SessionId = reader.read().expect("a session");
                let timeout_ms: i32 = reader.read().expect("a timeout");
                driver.step(LearnerInput::Revalidate { session, timeout_ms });
            }
            _ => {}
        }
    }
}

fn of_type(sent: &[Sent], types: &[PacketType]) -> Vec<Sent> {
    sent.iter().filter(|sent| types.contains(&sent.packet_type)).cloned().collect()
}

fn play(recorded: &Recorded, chunk: usize) -> Driver {
    let theirs = packets(recorded.to_leader);
    let mut driver = Driver::connected(recorded.config());
    for ping in of_type(&theirs, &[PacketType::Ping]) {
        let data = ping.data.expect("touches, or none");
        driver.touches.push_back(read_touches(&data).expect("touches"));
    }
    let mut asked = false;
    for part in recorded.parts() {
        for piece in part.chunks(chunk) {
            driver.receive(piece);
            if driver.serving && !asked {
                asked = true;
                clients(&theirs, &mut driver);
            }
        }
    }
    driver
}

#[test]
fn every_recorded_leader_gets_the_answers_that_java_gave() {
    const HANDSHAKE: &[PacketType] =
        &[PacketType::FollowerInfo, PacketType::ObserverInfo, PacketType::AckEpoch];
    const CLIENTS: &[PacketType] = &[PacketType::Request, PacketType::Revalidate];
    for recorded in RECORDED {
        let theirs = packets(recorded.to_leader);
        for chunk in [1, 7, 1000, usize::MAX >> 1] {
            let driver = play(recorded, chunk);
            let name = recorded.name;
            assert_eq!(driver.ended, None, "{name}");
            for types in [HANDSHAKE, CLIENTS] {
                assert_eq!(of_type(&driver.sent, types), of_type(&theirs, types), "{name}");
            }
            // What a kernel did not capture, or a cut network did not let through, is missing at
            // the end of theirs.
            for (packet_type, lost_max) in [(PacketType::Ack, 2), (PacketType::Ping, 12)] {
                let ours = of_type(&driver.sent, &[packet_type]);
                let mut theirs = of_type(&theirs, &[packet_type]);
                // 3.8.0 acknowledged committed history once more; 3.9.5 does not.
                theirs.retain(|sent| {
                    let again = sent.zxid.counter() != 0 && sent.zxid <= driver.history_end;
                    sent.packet_type != PacketType::Ack || !again
                });
                assert!(ours.len() >= theirs.len(), "{name}: {} of {packet_type:?}", ours.len());
                assert_eq!(ours[..theirs.len()], theirs, "{name}");
                let cut = ours.len() - theirs.len();
                assert!(cut <= lost_max, "{name}: {cut} more of {packet_type:?}");
            }
            assert!(driver.serving, "{name}");
            assert_eq!(driver.committed, Zxid(recorded.committed), "{name}");
        }
    }
}

#[test]
fn the_recorded_order_of_the_first_answers_is_kept() {
    for recorded in RECORDED {
        let theirs = packets(recorded.to_leader);
        let ours = play(recorded, 50).sent;
        assert_eq!(ours[..3], theirs[..3], "{}", recorded.name);
    }
}

#[test]
fn a_recorded_snapshot_is_handed_over_to_the_byte() {
    let mut snapshots = 0;
    for recorded in RECORDED {
        let driver = play(recorded, 333);
        if driver.count(|effect| matches!(effect, LearnerEffect::SnapshotEnd)) == 0 {
            assert!(driver.snapshot.is_empty());
            continue;
        }
        snapshots += 1;
        let mut signed = driver.snapshot.clone();
        assert!(signed.ends_with(b"\0\0\0\x01/"), "ends with the path that ends it");
        wire::snapshot_end(&mut signed);
        // LEADERINFO has 24 bytes, SNAP 20.
        assert_eq!(&recorded.from_leader[44..44 + signed.len()], signed, "{}", recorded.name);
    }
    assert_eq!(snapshots, 5);
}

#[test]
fn the_long_recording_has_a_sync_a_revalidation_and_two_reconfigurations() {
    let driver = play(&RECORDED[0], 1500);
    assert_eq!(driver.count(|effect| matches!(effect, LearnerEffect::SyncDone)), 1);
    let revalidated = |effect: &LearnerEffect| matches!(effect, LearnerEffect::Revalidated { .. });
    assert_eq!(driver.count(revalidated), 1);
    let activated = driver.effects.iter().filter_map(|effect| match effect {
        LearnerEffect::Activate { zxid, membership, designated } => {
            Some((zxid.0, membership.version(), designated.map(|id| id.0)))
        }
        _ => None,
    });
    let activated: Vec<_> = activated.collect();
    let expected = [
        (0x1_0000_0000, 0x1_0000_0000, None),
        (0x1_0000_0041, 0x1_0000_0041, Some(2)),
        (0x1_0000_0046, 0x1_0000_0046, Some(2)),
    ];
    assert_eq!(activated, expected);
}
