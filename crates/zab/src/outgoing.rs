//! What a leader has for one of its learners: packets, parts of what is in memory, and parts of
//! what a driver reads from its disk.

use std::ops::Range;
use std::sync::Arc;

use rookeeper_jute::Zxid;

use crate::segment::Segment;

/// What a driver writes to one connection of the quorum port, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Whole packets.
    Bytes(Vec<u8>),
    /// Transactions in memory, one packet or two each ([`crate::wire::encode_records`]).
    Records {
        /// Where they stand.
        segment: Arc<Segment>,
        /// Which of them, by place.
        range: Range<usize>,
        /// As what packets.
        kind: RecordsKind,
    },
    /// Everything on the log after one zxid and through another, PROPOSAL and COMMIT each
    /// ([`crate::wire::history_record`]). Where the log does not hold all of it, without a gap,
    /// the driver says so (`HistoryFailed`) and closes the connection.
    History {
        /// The last zxid that the learner has.
        after: Zxid,
        /// The last zxid to send.
        through: Zxid,
    },
    /// A snapshot that holds the tree at exactly one zxid: the SNAP packet with that zxid
    /// ([`crate::wire::snapshot_begin`]), the snapshot's body, the signature
    /// ([`crate::wire::snapshot_end`]), and then what [`Outgoing::History`] would send after it.
    Snapshot {
        /// The earliest zxid that the log continues from: an older snapshot is of no use.
        base: Zxid,
        /// The last zxid to send. A later snapshot is of no use, but for one whose counter is 0:
        /// that is what this server had when it began to lead.
        through: Zxid,
    },
}

/// As what packets transactions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordsKind {
    /// PROPOSAL: to be logged and acknowledged.
    Proposal,
    /// PROPOSAL and COMMIT each: committed before the learner came.
    ProposalAndCommit,
    /// INFORM: committed, for an observer.
    Inform,
}

impl RecordsKind {
    /// As how many packets each transaction is sent.
    pub(crate) fn packets(self) -> usize {
        match self {
            RecordsKind::Proposal | RecordsKind::Inform => 1,
            RecordsKind::ProposalAndCommit => 2,
        }
    }
}

impl Outgoing {
    /// How many packets it is; what is read from disk counts as one, and so do bytes, which hardly
    /// ever are more.
    pub fn packets_len(&self) -> u64 {
        match self {
            Outgoing::Records { range, kind, .. } => (kind.packets() * range.len()) as u64,
            Outgoing::Bytes(_) | Outgoing::History { .. } | Outgoing::Snapshot { .. } => 1,
        }
    }

    /// Whether nothing of it has to be read from disk.
    pub fn is_in_memory(&self) -> bool {
        matches!(self, Outgoing::Bytes(_) | Outgoing::Records { .. })
    }

    /// About how many bytes it will be on the connection, as far as it is in memory.
    pub fn bytes_len(&self) -> usize {
        match self {
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::Records { segment, range, .. } => {
                let packets = self.packets_len() as usize * crate::wire::PACKET_LEN_MIN;
                packets + segment.bytes_of(range.clone())
            }
            Outgoing::History { .. } | Outgoing::Snapshot { .. } => 0,
        }
    }
}
