//! Nothing is acknowledged before it is durable, however slow the disk is. The rules themselves
//! are asserted by the driver at everything that the learner sends.

use proptest::prelude::*;
use rookeeper_jute::Zxid;
use rookeeper_jute::quorum::PacketType;
use rookeeper_zab::membership::Role;

use super::replay::RECORDED;
use super::support::{Driver, Sent, config};
use super::untrusted::{leader_info, new_leader, packet, proposal, up_to_date};

fn acknowledged(driver: &Driver) -> Vec<i64> {
    let acks = driver.sent.iter().filter(|sent| sent.packet_type == PacketType::Ack);
    acks.map(|sent| sent.zxid.0).collect()
}

#[test]
fn each_step_waits_for_the_disk() {
    let mut driver = Driver::connected(config(1, Role::Participant));
    driver.prompt = false;
    driver.receive(&leader_info(1));
    assert_eq!(driver.sent.len(), 1, "ACKEPOCH waits for the accepted epoch");
    assert!(driver.work_one());
    assert_eq!(driver.sent.len(), 2);
    let zxid = |counter: i64| 0x1_0000_0000 + counter;
    driver.receive(&packet(PacketType::Diff, 0, None));
    assert!(driver.work_one(), "ready");
    let history = [proposal(zxid(1)), packet(PacketType::Commit, zxid(1), None)].concat();
    driver.receive(&[history, proposal(zxid(2)), new_leader(1)].concat());
    driver.receive(&proposal(zxid(3)));
    assert!(driver.work_one() && acknowledged(&driver).is_empty(), "the log");
    assert!(driver.work_one() && acknowledged(&driver).is_empty(), "history is settled");
    assert!(driver.work_one() && acknowledged(&driver).is_empty(), "the log after it");
    assert!(driver.work_one(), "the current epoch");
    assert_eq!(acknowledged(&driver), [zxid(0)]);
    assert!(!driver.work_one());
    driver.receive(&[up_to_date(), proposal(zxid(4)), proposal(zxid(5))].concat());
    // 1 was committed before NEWLEADER; 2 and 3 are durable; the rest waits.
    assert_eq!(acknowledged(&driver), [zxid(0), zxid(0), zxid(2), zxid(3)]);
    driver.receive(&proposal(zxid(6)));
    assert!(driver.work_one());
    assert_eq!(acknowledged(&driver)[4..], [zxid(4), zxid(5)]);
    assert!(driver.work_one());
    assert_eq!(acknowledged(&driver)[6..], [zxid(6)]);
    assert_eq!(driver.ended, None);
    assert_eq!(driver.committed, Zxid(zxid(1)));
}

/// Plays a recording in these pieces; after each so much of the disk's work is done.
fn play_slowly(at: usize, turns: &[(usize, usize)]) -> Driver {
    let recorded = &RECORDED[at];
    let mut driver = Driver::connected(recorded.config());
    driver.prompt = false;
    let mut turn = turns.iter().cycle();
    for part in recorded.parts() {
        let mut left = part;
        while !left.is_empty() {
            let (piece, work) = turn.next().expect("turns go round");
            let (now, later) = left.split_at((*piece).min(left.len()));
            driver.receive(now);
            left = later;
            for _ in 0..*work {
                driver.work_one();
            }
        }
        // The leader's next part answers what this one asked for.
        while driver.work_one() {}
    }
    driver
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_slow_disk_changes_when_and_never_what(
        at in 1..RECORDED.len(),
        turns in prop::collection::vec((1usize..400, 0usize..3), 1..30),
    ) {
        let prompt = play_slowly(at, &[(1, 9)]);
        let slow = play_slowly(at, &turns);
        prop_assert_eq!(&slow.ended, &None);
        prop_assert_eq!(slow.committed, prompt.committed);
        prop_assert_eq!(&slow.snapshot, &prompt.snapshot);
        for packet_type in [PacketType::AckEpoch, PacketType::Ack, PacketType::Ping] {
            let of = |driver: &Driver| -> Vec<Sent> {
                let sent = driver.sent.iter().filter(|sent| sent.packet_type == packet_type);
                sent.cloned().collect()
            };
            prop_assert_eq!(of(&slow), of(&prompt));
        }
    }
}
