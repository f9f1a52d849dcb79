//! Packets of the quorum port as bytes: [`QuorumPacket`]s one after the other, without frames
//! (Java: `LearnerHandler`, `Learner`).

use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::quorum::{ForwardedRequest, LearnerInfo, PacketType, QuorumPacket};
use rookeeper_jute::wire::encode_str;
use rookeeper_jute::{
    Decode, DecodeError, Encode, Id, Identity, Reader, ServerId, SessionId, Text, Zxid,
};

use crate::forward::Forward;
use crate::outgoing::RecordsKind;
use crate::segment::Segment;

/// Length of a forwarded request without its body, in bytes.
const FORWARDED_LEN_MIN: usize = 16;

/// Length of a packet without data and identities, in bytes.
pub const PACKET_LEN_MIN: usize = 20;

/// The version of the protocol that LEADERINFO and LearnerInfo name (Java: 0x10000 since 3.4).
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// What a leader of this kind adds to LEADERINFO: its snapshots are of one moment, and it acts
/// upon a digest that differs. Java reads the version before it and nothing else.
pub const LEADER_MARK: [u8; 4] = *b"Rook";

/// The data of a LEADERINFO.
pub fn leader_info() -> [u8; 8] {
    let mut data = [0; 8];
    data[..4].copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
    data[4..].copy_from_slice(&LEADER_MARK);
    data
}

/// What follows a snapshot on the quorum port (Java: the signature that `Learner` checks).
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// Why bytes from a peer are no packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A length below -1, or above the limit.
    #[error("unreasonable length {0} in a packet")]
    UnreasonableLength(i32),
    /// The identities of one packet are longer than the limit.
    #[error("identities of more than {0} bytes in a packet")]
    TooManyIdentities(usize),
    /// Not the fields that the packet's type has.
    #[error("a packet cannot be decoded: {0}")]
    Malformed(#[from] DecodeError),
}

/// Where in a packet the reader is, while its end is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the data's length.
    Header,
    /// Before the count of identities.
    Count,
    /// So many strings are left, each with its length.
    Strings(u64),
    /// At the end.
    Done,
}

/// Takes bytes as they arrive and gives whole packets. It holds what arrived and no packet took
/// yet, never more than that, whatever lengths the bytes claim.
#[derive(Debug)]
pub struct PacketReader {
    len_max: usize,
    buffer: Vec<u8>,
    /// Where the next packet begins.
    start: usize,
    /// How far the next packet was looked through, from its beginning.
    scanned: usize,
    stage: Stage,
    /// Where its identities begin.
    identities: usize,
}

impl PacketReader {
    /// A packet's data may have `len_max` bytes (`jute.maxbuffer` and its extra size), and so may
    /// its identities.
    pub fn new(len_max: usize) -> PacketReader {
        PacketReader {
            len_max,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            stage: Stage::Header,
            identities: 0,
        }
    }

    /// Takes longer packets from now on, or only shorter ones.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Takes the bytes that follow.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet, `None` where its end has not arrived.
    ///
    /// # Errors
    /// Where no packet can begin with these bytes. What follows on this connection has no
    /// meaning then.
    pub fn next_packet(&mut self) -> Result<Option<QuorumPacket<'_>>, PacketError> {
        if !self.scan()? {
            return Ok(None);
        }
        let range = self.start..self.start + self.scanned;
        self.start = range.end;
        self.scanned = 0;
        self.stage = Stage::Header;
        let mut reader = Reader::with_len_max(&self.buffer[range], self.len_max);
        Ok(Some(reader.read()?))
    }

    /// What arrived and is of no packet yet. After SNAP that is the snapshot's beginning.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes all of [`PacketReader::rest`] out, for somebody else to read.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.start);
        self.buffer = Vec::new();
        (self.start, self.scanned, self.stage) = (0, 0, Stage::Header);
        rest
    }

    fn int_at(&self, at: usize) -> Option<i32> {
        let bytes = self.rest().get(at..at + 4)?;
        Some(i32::from_be_bytes(bytes.try_into().expect("a slice of four bytes")))
    }

    /// A string's or buffer's end, if its length has arrived; -1 is null.
    fn end_of(&self, at: usize) -> Result<Option<usize>, PacketError> {
        let Some(len) = self.int_at(at) else { return Ok(None) };
        if len == -1 {
            return Ok(Some(at + 4));
        }
        match usize::try_from(len) {
            Ok(bounded) if bounded <= self.len_max => Ok(Some(at + 4 + bounded)),
            _ => Err(PacketError::UnreasonableLength(len)),
        }
    }

    /// Where the next packet ends, if it is whole and has no identities: all but requests, and most
    /// of what arrives.
    fn end_without_identities(&self, data: usize) -> Option<usize> {
        let count_at = self.end_of(data).ok()??;
        (self.int_at(count_at)? <= 0).then_some(count_at + 4)
    }

    /// Whether the next packet is whole; goes on where it was the last time.
    fn scan(&mut self) -> Result<bool, PacketError> {
        const DATA: usize = 12;
        if self.stage == Stage::Header
            && let Some(end) = self.end_without_identities(DATA)
        {
            (self.scanned, self.stage) = (end, Stage::Done);
            return Ok(true);
        }
        let have = self.rest().len();
        while self.stage != Stage::Done {
            let at = if self.stage == Stage::Header { DATA } else { self.scanned };
            let end = match self.stage {
                Stage::Count => Some(at + 4),
                _ => self.end_of(at)?,
            };
            let Some(end) = end else { return Ok(false) };
            if let Stage::Strings(_) = self.stage
                && end - self.identities > self.len_max
            {
                return Err(PacketError::TooManyIdentities(self.len_max));
            }
            if end > have {
                return Ok(false);
            }
            self.stage = match self.stage {
                Stage::Header => Stage::Count,
                Stage::Count => {
                    self.identities = at;
                    // Java takes any negative count for no elements.
                    let count = self.int_at(at).and_then(|count| u64::try_from(count).ok());
                    Stage::Strings(2 * count.unwrap_or(0))
                }
                Stage::Strings(left) => Stage::Strings(left - 1),
                Stage::Done => Stage::Done,
            };
            if self.stage == Stage::Strings(0) {
                self.stage = Stage::Done;
            }
            self.scanned = end;
        }
        Ok(true)
    }
}

/// Appends a packet without identities.
pub fn packet(packet_type: PacketType, zxid: Zxid, data: Option<&[u8]>, out: &mut Vec<u8>) {
    out.reserve(PACKET_LEN_MIN + data.map_or(0, <[u8]>::len));
    QuorumPacket { packet_type: packet_type as i32, zxid, data, auth_info: None }.encode(out);
}

/// Appends FOLLOWERINFO or OBSERVERINFO: the epoch that the learner accepted, and who it is.
pub fn learner_info(observer: bool, accepted_epoch: i64, info: &LearnerInfo, out: &mut Vec<u8>) {
    let packet_type = if observer { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
    packet(packet_type, epoch_zxid(accepted_epoch), Some(&info.to_bytes()), out);
}

/// Appends REQUEST: a client's request, for the leader.
pub fn request(forward: &Forward, out: &mut Vec<u8>) {
    let header = ForwardedRequest {
        session_id: forward.session,
        cxid: forward.cxid,
        op: forward.op,
        body: &forward.body,
    };
    let identities = forward.identities.as_deref();
    let id_len = |id: &Identity| 8 + id.scheme.len() + id.id.len();
    let ids_len: usize = identities.unwrap_or_default().iter().map(id_len).sum();
    out.reserve(PACKET_LEN_MIN + FORWARDED_LEN_MIN + forward.body.len() + ids_len);
    // The fields of a packet, without the lists and buffers that encoding it as a whole takes.
    (PacketType::Request as i32).encode(out);
    Zxid::NONE.encode(out);
    let data = out.len();
    0i32.encode(out);
    header.encode(out);
    let data_len = i32::try_from(out.len() - data - 4).expect("a frame's length is an i32");
    out[data..data + 4].copy_from_slice(&data_len.to_be_bytes());
    let count = identities.map_or(-1, |identities| identities.len() as i32);
    count.encode(out);
    for Identity { scheme, id } in identities.unwrap_or_default() {
        encode_str(scheme, out);
        encode_str(id, out);
    }
}

/// Appends the PING that a learner answers the leader's with: sessions that were heard of, each
/// with its timeout in ms.
pub fn touches(zxid: Zxid, sessions: &[(SessionId, i32)], out: &mut Vec<u8>) {
    let mut data = Vec::with_capacity(12 * sessions.len());
    for (session, timeout_ms) in sessions {
        session.encode(&mut data);
        timeout_ms.encode(&mut data);
    }
    packet(PacketType::Ping, zxid, Some(&data), out);
}

/// Appends a PROPOSAL and a COMMIT: a transaction of the history.
pub fn history_record(zxid: Zxid, txn: &[u8], out: &mut Vec<u8>) {
    packet(PacketType::Proposal, zxid, Some(txn), out);
    packet(PacketType::Commit, zxid, None, out);
}

/// Appends the SNAP packet that comes before the body of a snapshot at this zxid.
pub fn snapshot_begin(zxid: Zxid, out: &mut Vec<u8>) {
    packet(PacketType::Snap, zxid, None, out);
}

/// Appends what comes after a snapshot's body.
pub fn snapshot_end(out: &mut Vec<u8>) {
    encode_str(SNAPSHOT_SIGNATURE, out);
}

/// Appends transactions of a segment, by place, as the packets of their kind.
///
/// # Panics
/// If the segment does not have these places.
pub fn encode_records(
    segment: &Segment,
    range: Range<usize>,
    kind: RecordsKind,
    out: &mut Vec<u8>,
) {
    out.reserve(kind.packets() * PACKET_LEN_MIN * range.len() + segment.bytes_of(range.clone()));
    for at in range {
        let (zxid, txn) = (segment.zxid(at), segment.record(at));
        match kind {
            RecordsKind::Proposal => packet(PacketType::Proposal, zxid, Some(txn), out),
            RecordsKind::ProposalAndCommit => history_record(zxid, txn, out),
            RecordsKind::Inform => packet(PacketType::Inform, zxid, Some(txn), out),
        }
    }
}

/// Appends COMMITANDACTIVATE: a reconfiguration is committed, and this server leads from now on.
pub fn commit_and_activate(zxid: Zxid, designated: ServerId, out: &mut Vec<u8>) {
    packet(PacketType::CommitAndActivate, zxid, Some(&designated.to_bytes()), out);
}

/// Appends INFORMANDACTIVATE: the same for an observer, with the transaction.
pub fn inform_and_activate(zxid: Zxid, designated: ServerId, txn: &[u8], out: &mut Vec<u8>) {
    let data = [&designated.to_bytes(), txn].concat();
    packet(PacketType::InformAndActivate, zxid, Some(&data), out);
}

/// The zxid that stands for an epoch: its counter is 0. Epochs are 31 bits at most where they are
/// part of a zxid; what lies beyond is cut off, as Java does it.
pub fn epoch_zxid(epoch: i64) -> Zxid {
    Zxid(epoch << 32)
}

/// Reads the data of a PING from a learner: sessions and their timeouts in ms.
///
/// # Errors
/// Where the last entry is cut off.
pub fn read_touches(data: &[u8]) -> Result<Vec<(SessionId, i32)>, PacketError> {
    let mut reader = Reader::new(data);
    let mut sessions = Vec::with_capacity(data.len() / 12);
    while !reader.is_empty() {
        sessions.push((reader.read()?, reader.read()?));
    }
    Ok(sessions)
}

/// Reads the data and identities of a REQUEST. `known` are the identities of the one before, which
/// are shared where these are the same.
///
/// # Errors
/// Where it is cut off before the request's record.
pub fn read_request(
    packet: &QuorumPacket<'_>,
    known: &mut Option<Arc<[Identity]>>,
) -> Result<Forward, PacketError> {
    let request = ForwardedRequest::from_bytes(packet.data.unwrap_or_default())?;
    let identities = packet.auth_info.as_deref().map(|ids| shared_identities(ids, known));
    Ok(Forward {
        session: request.session_id,
        cxid: request.cxid,
        op: request.op,
        body: request.body.to_vec(),
        identities,
    })
}

/// The identities of a request: those of the one before where they are the same, as most are.
fn shared_identities(ids: &[Id<'_>], known: &mut Option<Arc<[Identity]>>) -> Arc<[Identity]> {
    fn text<'a>(text: &'a Text<'_>) -> &'a str {
        text.as_deref().unwrap_or_default()
    }
    let is = |(id, known): (&Id<'_>, &Identity)| {
        *text(&id.scheme) == *known.scheme && *text(&id.id) == *known.id
    };
    let are =
        |known: &Arc<[Identity]>| known.len() == ids.len() && ids.iter().zip(&**known).all(is);
    let same = known.as_ref().filter(|known| are(known));
    let identities = same.cloned().unwrap_or_else(|| {
        let ids = ids.iter();
        ids.map(|id| Identity { scheme: text(&id.scheme).into(), id: text(&id.id).into() })
            .collect()
    });
    *known = Some(identities.clone());
    identities
}
