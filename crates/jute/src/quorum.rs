//! Records of the learner and election ports (Java: `org.apache.zookeeper.server.quorum`).

use crate::data::Id;
use crate::ids::{ServerId, SessionId, Xid, Zxid};
use crate::limits;
use crate::wire::{Buffer, Decode, DecodeError, Encode, Reader};

record! {
    /// Everything on the learner port.
    pub struct QuorumPacket<'a> {
        /// A [`PacketType`].
        packet_type: i32,
        /// By type.
        zxid: Zxid,
        /// By type.
        data: Buffer<'a>,
        /// The client's identities, in requests.
        auth_info: Option<Vec<Id<'a>>>,
    }
}

record! {
    /// What a learner says of itself in FOLLOWERINFO and OBSERVERINFO.
    pub struct LearnerInfo {
        /// The learner.
        server_id: ServerId,
        /// 0x10000.
        protocol_version: i32,
        /// Version of its configuration.
        config_version: i64,
    }
}

record! {
    /// A step of the SASL exchange between servers.
    pub struct QuorumAuthPacket<'a> {
        /// [`QUORUM_AUTH_MAGIC`].
        magic: i64,
        /// 0 in progress, 1 success, -1 error.
        status: i32,
        /// The token.
        token: Buffer<'a>,
    }
}

/// Marks a [`QuorumAuthPacket`]; on the wire 5f 24 35 01 35 01 ed cc.
pub const QUORUM_AUTH_MAGIC: i64 = 0x5f24_3501_3501_edcc;

/// Types of [`QuorumPacket`] (Java: constants of `Leader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "the protocol's own words, told in the quorum protocol's pages")]
pub enum PacketType {
    Request = 1,
    Proposal = 2,
    Ack = 3,
    Commit = 4,
    Ping = 5,
    Revalidate = 6,
    Sync = 7,
    Inform = 8,
    CommitAndActivate = 9,
    NewLeader = 10,
    FollowerInfo = 11,
    UpToDate = 12,
    Diff = 13,
    Trunc = 14,
    Snap = 15,
    ObserverInfo = 16,
    LeaderInfo = 17,
    AckEpoch = 18,
    InformAndActivate = 19,
}

impl PacketType {
    /// The type of a number, `None` for an unknown one.
    pub fn from_i32(value: i32) -> Option<Self> {
        use PacketType::*;
        const TYPES: [PacketType; 19] = [
            Request,
            Proposal,
            Ack,
            Commit,
            Ping,
            Revalidate,
            Sync,
            Inform,
            CommitAndActivate,
            NewLeader,
            FollowerInfo,
            UpToDate,
            Diff,
            Trunc,
            Snap,
            ObserverInfo,
            LeaderInfo,
            AckEpoch,
            InformAndActivate,
        ];
        usize::try_from(value).ok()?.checked_sub(1).and_then(|index| TYPES.get(index).copied())
    }
}

/// What a learner forwards to the leader in a REQUEST packet's data: this header and the bytes of
/// the request's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedRequest<'a> {
    /// The client's session.
    pub session_id: SessionId,
    /// The request's number.
    pub cxid: Xid,
    /// The request's operation.
    pub op: i32,
    /// The request's record.
    pub body: &'a [u8],
}

impl Encode for ForwardedRequest<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.session_id.encode(out);
        self.cxid.encode(out);
        self.op.encode(out);
        out.extend_from_slice(self.body);
    }
}

impl<'a> Decode<'a> for ForwardedRequest<'a> {
    const MIN_LEN: usize = 16;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (session_id, cxid, op) = (reader.read()?, reader.read()?, reader.read()?);
        let body = reader.rest();
        reader.take(body.len())?;
        Ok(ForwardedRequest { session_id, cxid, op, body })
    }
}

/// The state that a server shows in its election notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PeerState {
    /// Looking for a leader.
    Looking = 0,
    /// Following one.
    Following = 1,
    /// Leading.
    Leading = 2,
    /// Observing.
    Observing = 3,
}

impl PeerState {
    /// The state of a number, `None` for an unknown one (such notifications are dropped).
    pub fn from_i32(value: i32) -> Option<Self> {
        use PeerState::*;
        [Looking, Following, Leading, Observing].get(usize::try_from(value).ok()?).copied()
    }
}

/// An election notification (Java: `FastLeaderElection.buildMsg`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The sender's state.
    pub state: PeerState,
    /// The leader voted for.
    pub leader: ServerId,
    /// That leader's last logged zxid.
    pub zxid: Zxid,
    /// The round of the election.
    pub election_epoch: i64,
    /// That leader's current epoch; of a 28-byte message, the epoch of `zxid`.
    pub peer_epoch: i64,
    /// Version of the message's format: 0 for messages of at most 40 bytes, today's is 2.
    pub version: i32,
    /// The sender's configuration as text, from version 2 on.
    pub config: Option<&'a [u8]>,
}

/// Version of the notifications that carry a configuration.
pub const NOTIFICATION_VERSION: i32 = 2;

impl Encode for Notification<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.state as i32).encode(out);
        self.leader.encode(out);
        self.zxid.encode(out);
        self.election_epoch.encode(out);
        self.peer_epoch.encode(out);
        self.version.encode(out);
        if self.version >= NOTIFICATION_VERSION {
            self.config.unwrap_or_default().encode(out);
        }
    }
}

impl<'a> Decode<'a> for Notification<'a> {
    const MIN_LEN: usize = 28;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (start, len) = (reader.offset(), reader.rest().len());
        let state: i32 = reader.read()?;
        let state = PeerState::from_i32(state)
            .ok_or(DecodeError::UnexpectedValue { offset: start, value: i64::from(state) })?;
        let (leader, zxid, election_epoch) =
            (reader.read()?, reader.read::<Zxid>()?, reader.read()?);
        let peer_epoch = if len == 28 { i64::from(zxid.epoch()) } else { reader.read()? };
        let version = if len > 40 { reader.read()? } else { 0 };
        let config = if version >= NOTIFICATION_VERSION { reader.buffer()? } else { None };
        Ok(Notification { state, leader, zxid, election_epoch, peer_epoch, version, config })
    }
}

/// First word of an election connection's first message: one address.
pub const INITIAL_MESSAGE_V1: i64 = -65536;
/// First word of an election connection's first message: several addresses.
pub const INITIAL_MESSAGE_V2: i64 = -65535;

/// The first message on an election connection (Java: `QuorumCnxManager.InitialMessage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMessage<'a> {
    /// [`INITIAL_MESSAGE_V1`] or [`INITIAL_MESSAGE_V2`].
    pub protocol_version: i64,
    /// The sender.
    pub server_id: ServerId,
    /// `host:port`, in version 2 several with `|` between them.
    pub addresses: &'a [u8],
}

impl Encode for InitialMessage<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.protocol_version.encode(out);
        self.server_id.encode(out);
        self.addresses.encode(out);
    }
}

impl<'a> Decode<'a> for InitialMessage<'a> {
    const MIN_LEN: usize = 20;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let protocol_version: i64 = reader.read()?;
        if protocol_version != INITIAL_MESSAGE_V1 && protocol_version != INITIAL_MESSAGE_V2 {
            return Err(DecodeError::UnexpectedValue { offset: start, value: protocol_version });
        }
        let server_id = reader.read()?;
        let offset = reader.offset();
        let len: i32 = reader.read()?;
        match usize::try_from(len) {
            Ok(bounded) if (1..=limits::ELECTION_ADDRESS_MAX).contains(&bounded) => {
                Ok(InitialMessage { protocol_version, server_id, addresses: reader.take(bounded)? })
            }
            _ => Err(DecodeError::UnreasonableLength { offset, len }),
        }
    }
}
