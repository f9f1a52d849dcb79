//! Packets of the quorum port: what Java put on its connections reads and writes the same, in
//! pieces of any size, and no byte of a peer makes the reader fail or grow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{Encode, Identity, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::outgoing::{Outgoing, RecordsKind};
use rookeeper_zab::wire::{self, PacketError, PacketReader};
use rookeeper_zab::{Forward, SegmentBuilder};

const LEN_MAX: usize = 2 * 0xf_ffff;

fn recorded(suffix: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/learner");
    let entries = std::fs::read_dir(&folder).expect("recorded streams can be listed");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("recorded streams can be listed").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(suffix));
    paths.sort();
    assert_eq!(paths.len(), 16, "streams of {suffix}");
    paths
}

/// Reads all packets, or those before a snapshot; returns their bytes written anew, and types.
fn read_all(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<PacketType>, Vec<u8>) {
    let mut reader = PacketReader::new(LEN_MAX);
    let (mut written, mut types) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(piece) {
        reader.push(chunk);
        while !types.ends_with(&[PacketType::Snap])
            && let Some(packet) = reader.next_packet().expect("Java sends packets")
        {
            types.push(PacketType::from_i32(packet.packet_type).expect("a known type"));
            packet.encode(&mut written);
        }
    }
    (written, types, reader.take_rest())
}

#[test]
fn recorded_streams_read_and_write_the_same_in_any_pieces() {
    let (mut packets, mut snapshots) = (0, 0);
    for path in [recorded("c2s.bin"), recorded("s2c.bin")].concat() {
        let bytes = std::fs::read(&path).expect("a recorded stream can be read");
        let whole = read_all(&bytes, bytes.len());
        for piece in [1, 7, 64, 1000] {
            assert_eq!(read_all(&bytes, piece), whole, "{} by {piece}", path.display());
        }
        let (written, types, rest) = whole;
        assert!(bytes.starts_with(&written), "{}", path.display());
        assert_eq!(written.len() + rest.len(), bytes.len(), "{}", path.display());
        packets += types.len();
        match types.last() {
            Some(PacketType::Snap) => snapshots += 1,
            _ => assert!(rest.len() < wire::PACKET_LEN_MIN, "{}", path.display()),
        }
    }
    assert!(packets > 3000 && snapshots >= 4, "{packets} packets, {snapshots} snapshots");
}

#[test]
fn recorded_requests_and_touches_are_written_as_java_wrote_them() {
    let (mut requests, mut pings) = (0, 0);
    for path in recorded("c2s.bin") {
        let mut reader = PacketReader::new(LEN_MAX);
        reader.push(&std::fs::read(&path).expect("a recorded stream can be read"));
        while let Some(packet) = reader.next_packet().expect("Java sends packets") {
            let mut written = Vec::new();
            match PacketType::from_i32(packet.packet_type) {
                Some(PacketType::Request) => {
                    let forward = wire::read_request(&packet, &mut None).expect("a request");
                    wire::request(&forward, &mut written);
                    requests += 1;
                }
                Some(PacketType::Ping) => {
                    let data = packet.data.expect("a ping's answer has data");
                    let sessions = wire::read_touches(data).expect("sessions");
                    wire::touches(packet.zxid, &sessions, &mut written);
                    pings += 1;
                }
                _ => continue,
            }
            assert_eq!(written, packet.to_bytes(), "{}", path.display());
        }
    }
    assert!(requests > 50 && pings > 1000, "{requests} requests, {pings} pings");
}

#[test]
fn lengths_beyond_the_limit_end_the_stream_before_anything_is_kept() {
    let mut reader = PacketReader::new(100);
    let mut bytes = Vec::new();
    wire::packet(PacketType::Proposal, Zxid(5), Some(&[1; 100]), &mut bytes);
    reader.push(&bytes);
    assert!(reader.next_packet().expect("the longest one allowed").is_some());
    bytes.clear();
    wire::packet(PacketType::Proposal, Zxid(6), Some(&[1; 101]), &mut bytes);
    reader.push(&bytes[..16]);
    assert_eq!(reader.next_packet(), Err(PacketError::UnreasonableLength(101)));
    let mut reader = PacketReader::new(100);
    reader.push(&[&[0; 12][..], &(-2i32).to_be_bytes()].concat());
    assert_eq!(reader.next_packet(), Err(PacketError::UnreasonableLength(-2)));
    // Two thousand million identities, which never end.
    let mut reader = PacketReader::new(100);
    reader.push(&[&[0; 16][..], &i32::MAX.to_be_bytes()].concat());
    for _ in 0..25 {
        assert_eq!(reader.next_packet(), Ok(None));
        reader.push(&[0xff; 4]);
    }
    assert_eq!(reader.next_packet(), Err(PacketError::TooManyIdentities(100)));
}

#[test]
fn records_go_out_as_the_packets_of_their_kind() {
    let mut builder = SegmentBuilder::default();
    builder.push(Zxid(5), b"five");
    builder.push(Zxid(6), b"six");
    builder.push(Zxid(7), b"seven");
    let segment = builder.freeze();
    for (kind, types) in [
        (RecordsKind::Proposal, vec![PacketType::Proposal; 2]),
        (RecordsKind::ProposalAndCommit, [PacketType::Proposal, PacketType::Commit].repeat(2)),
        (RecordsKind::Inform, vec![PacketType::Inform; 2]),
    ] {
        let mut bytes = Vec::new();
        wire::encode_records(&segment, 1..3, kind, &mut bytes);
        let item = Outgoing::Records { segment: segment.clone(), range: 1..3, kind };
        assert_eq!(item.bytes_len(), bytes.len(), "{kind:?}");
        let (written, found, _) = read_all(&bytes, 9);
        assert_eq!((written, found), (bytes.clone(), types), "{kind:?}");
        let mut reader = PacketReader::new(LEN_MAX);
        reader.push(&bytes);
        let first = reader.next_packet().expect("packets").expect("a packet");
        assert_eq!((first.zxid, first.data), (Zxid(6), Some(&b"six"[..])));
    }
}

#[test]
fn an_activation_names_the_leader_before_the_transaction() {
    let (mut commit, mut inform) = (Vec::new(), Vec::new());
    wire::commit_and_activate(Zxid(9), ServerId(3), &mut commit);
    wire::inform_and_activate(Zxid(9), ServerId(3), b"txn", &mut inform);
    let designated = [0, 0, 0, 0, 0, 0, 0, 3];
    let data = [&designated[..], b"txn"].concat();
    let packet = |packet_type: PacketType, data| {
        let packet_type = packet_type as i32;
        QuorumPacket { packet_type, zxid: Zxid(9), data: Some(data), auth_info: None }.to_bytes()
    };
    assert_eq!(commit, packet(PacketType::CommitAndActivate, &designated));
    assert_eq!(inform, packet(PacketType::InformAndActivate, &data));
}

proptest! {
    #[test]
    fn any_bytes_are_packets_or_an_error(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..400),
        piece in 1usize..50,
    ) {
        let mut reader = PacketReader::new(64);
        'all: for chunk in bytes.chunks(piece) {
            reader.push(chunk);
            loop {
                match reader.next_packet() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
            prop_assert!(reader.rest().len() <= 20 + 2 * 68 + piece);
        }
    }

    #[test]
    fn what_is_forwarded_arrives(
        session: i64, cxid: i32, op: i32,
        body in proptest::collection::vec(any::<u8>(), 0..40),
        identities in proptest::option::of(proptest::collection::vec((".{0,4}", ".{0,6}"), 0..4)),
    ) {
        let identity = |(scheme, id): (String, String)| Identity::new(&scheme, &id);
        let identities = identities.map(|pairs| pairs.into_iter().map(identity).collect());
        let (session, cxid) = (SessionId(session), Xid(cxid));
        let forward = Forward { session, cxid, op, body, identities };
        let mut bytes = Vec::new();
        wire::request(&forward, &mut bytes);
        let mut reader = PacketReader::new(LEN_MAX);
        for byte in &bytes[..bytes.len() - 1] {
            reader.push(&[*byte]);
            prop_assert_eq!(reader.next_packet(), Ok(None));
        }
        reader.push(&bytes[bytes.len() - 1..]);
        let packet = reader.next_packet().expect("a packet").expect("a whole one");
        let mut known = None;
        prop_assert_eq!(wire::read_request(&packet, &mut known), Ok(forward.clone()));
        // A second request of the same identities shares them, one of others does not take them.
        prop_assert_eq!(&known, &forward.identities);
        let again = wire::read_request(&packet, &mut known).expect("it was read before");
        let share = again.identities.as_ref().zip(known.as_ref());
        prop_assert!(share.is_none_or(|(again, known)| Arc::ptr_eq(again, known)));
        let other = Identity { scheme: "digest".into(), id: "another".into() };
        known = Some([other].into());
        prop_assert_eq!(wire::read_request(&packet, &mut known), Ok(forward));
    }
}
