//! Bytes recorded between running Java servers (3.8.0): each stream must decode to its last byte
//! and encode to the same bytes again.

use std::collections::BTreeMap;

use rookeeper_jute::quorum::{
    ForwardedRequest, InitialMessage, LearnerInfo, NOTIFICATION_VERSION, Notification, PacketType,
    QuorumPacket,
};
use rookeeper_jute::txn::{
    CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, DeleteTxn,
    ErrorTxn, MultiTxn, SetAclTxn, SetDataTxn, TxnDigest, TxnHeader,
};
use rookeeper_jute::{Decode, Encode, OpCode, Reader};

fn round_trip<'a, T: Encode + Decode<'a>>(reader: &mut Reader<'a>) -> T {
    let (start, before) = (reader.offset(), reader.rest());
    let value: T = reader.read().expect("recorded bytes decode");
    assert_eq!(value.to_bytes(), &before[..reader.offset() - start]);
    value
}

/// Decodes a proposal's data to its end and returns its type.
fn proposal(data: &[u8]) -> OpCode {
    let reader = &mut Reader::new(data);
    let header: TxnHeader = round_trip(reader);
    let op = OpCode::from_i32(header.txn_type).expect("a known type");
    match op {
        OpCode::Create | OpCode::Create2 => drop(round_trip::<CreateTxn<'_>>(reader)),
        OpCode::CreateTtl => drop(round_trip::<CreateTtlTxn<'_>>(reader)),
        OpCode::CreateContainer => drop(round_trip::<CreateContainerTxn<'_>>(reader)),
        OpCode::Delete | OpCode::DeleteContainer => drop(round_trip::<DeleteTxn<'_>>(reader)),
        OpCode::SetData | OpCode::Reconfig => drop(round_trip::<SetDataTxn<'_>>(reader)),
        OpCode::SetAcl => drop(round_trip::<SetAclTxn<'_>>(reader)),
        OpCode::CreateSession => drop(round_trip::<CreateSessionTxn>(reader)),
        OpCode::CloseSession => drop(round_trip::<CloseSessionTxn<'_>>(reader)),
        OpCode::Error => drop(round_trip::<ErrorTxn>(reader)),
        OpCode::Multi => drop(round_trip::<MultiTxn<'_>>(reader)),
        other => panic!("a transaction of type {other:?}"),
    }
    if !reader.is_empty() {
        assert_eq!(round_trip::<TxnDigest>(reader).version, 2);
    }
    assert!(reader.is_empty(), "{} bytes left of {op:?}", reader.rest().len());
    op
}

#[test]
fn what_a_leader_sends_to_a_follower() {
    let bytes = include_bytes!("vectors/learner-from-leader.bin");
    let (mut packets, mut txns) = (BTreeMap::new(), BTreeMap::new());
    let reader = &mut Reader::new(bytes);
    while !reader.is_empty() {
        let packet: QuorumPacket<'_> = round_trip(reader);
        let kind = PacketType::from_i32(packet.packet_type).expect("a known packet");
        *packets.entry(format!("{kind:?}")).or_insert(0) += 1;
        if kind == PacketType::Proposal {
            let op = proposal(packet.data.expect("a proposal has data"));
            *txns.entry(format!("{op:?}")).or_insert(0) += 1;
        }
    }
    for kind in ["LeaderInfo", "Diff", "NewLeader", "UpToDate", "Proposal", "Commit", "Ping"] {
        assert!(packets.contains_key(kind), "no {kind} in {packets:?}");
    }
    for op in ["Create", "Create2", "CreateTtl", "CreateContainer", "Multi", "Error", "SetAcl"] {
        assert!(txns.contains_key(op), "no {op} in {txns:?}");
    }
}

#[test]
fn what_a_follower_sends_to_its_leader() {
    let bytes = include_bytes!("vectors/learner-from-follower.bin");
    let (mut requests, mut pings) = (0, 0);
    let reader = &mut Reader::new(bytes);
    while !reader.is_empty() {
        let packet: QuorumPacket<'_> = round_trip(reader);
        let data = packet.data.unwrap_or_default();
        match PacketType::from_i32(packet.packet_type).expect("a known packet") {
            PacketType::FollowerInfo => {
                let info: LearnerInfo = round_trip(&mut Reader::new(data));
                assert_eq!(info.protocol_version, 0x10000);
            }
            PacketType::Request => {
                let request: ForwardedRequest<'_> = round_trip(&mut Reader::new(data));
                assert!(OpCode::from_i32(request.op).is_some());
                requests += 1;
            }
            PacketType::Ping => pings += 1,
            _ => {}
        }
    }
    assert!(requests > 10 && pings > 10, "{requests} requests, {pings} pings");
}

#[test]
fn what_passes_on_election_links() {
    let dialler = include_bytes!("vectors/election-dialler.bin");
    let reader = &mut Reader::new(dialler);
    let hello: InitialMessage<'_> = round_trip(reader);
    assert_eq!(hello.addresses, b"127.0.0.1:31382");
    assert!(notifications(reader.rest()) > 0);
    assert!(notifications(include_bytes!("vectors/election-acceptor.bin")) > 0);
}

fn notifications(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let frame = Reader::new(bytes).buffer().expect("a frame").expect("not null");
        let notification: Notification<'_> = round_trip(&mut Reader::new(frame));
        assert_eq!(notification.version, NOTIFICATION_VERSION);
        assert!(notification.config.is_some_and(|text| text.starts_with(b"server.1=")));
        bytes = &bytes[4 + frame.len()..];
        count += 1;
    }
    count
}
