//! Whatever a peer sends: the first byte says on which port, the rest is the message.

use rookeeper_jute::quorum::{
    ForwardedRequest, InitialMessage, LearnerInfo, Notification, PacketType, QuorumAuthPacket,
    QuorumPacket,
};
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, Reader};

use crate::round_trip;

/// Decodes the message, what its data hold, and checks that it comes back.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        0 => learner_stream(bytes),
        1 => notification(bytes),
        2 => round_trip!(bytes, InitialMessage<'_>),
        _ => round_trip!(bytes, QuorumAuthPacket<'_>, LearnerInfo, ForwardedRequest<'_>),
    }
}

/// The length of a notification tells versions apart that carry nothing: only 0 and those with a
/// configuration come back.
fn notification(bytes: &[u8]) {
    if Notification::from_bytes(bytes).is_ok_and(|got| got.version == 0 || got.version >= 2) {
        round_trip!(bytes, Notification<'_>);
    }
}

/// Packet after packet, as a learner's socket delivers them.
fn learner_stream(bytes: &[u8]) {
    round_trip!(bytes, QuorumPacket<'_>);
    let mut reader = Reader::new(bytes);
    while let Ok(packet) = reader.read::<QuorumPacket<'_>>() {
        let data = packet.data.unwrap_or_default();
        match PacketType::from_i32(packet.packet_type) {
            Some(PacketType::Proposal | PacketType::Inform) => {
                let _ = TxnHeader::from_bytes(data);
            }
            Some(PacketType::Request) => round_trip!(data, ForwardedRequest<'_>),
            Some(PacketType::FollowerInfo | PacketType::ObserverInfo) => {
                round_trip!(data, LearnerInfo);
            }
            _ => {}
        }
    }
}
