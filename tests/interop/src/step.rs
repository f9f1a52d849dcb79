//! The steps of a scenario: concrete bytes, so that a recorded run can be replayed in part.

use crate::request::Request;

/// The shape of a ConnectRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With the readOnly byte, false.
    Usual,
    /// With the readOnly byte, true.
    ReadOnly,
    /// Without the byte, as clients up to 3.3 send it.
    Old,
}

/// The password shown at the resumption of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// The one that the server gave.
    Right,
    /// Another one of the same length.
    Wrong,
    /// Null.
    Null,
}

/// How the frames of a batch are cut into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// All in one write.
    Whole,
    /// One write a frame.
    Frames,
    /// Writes of this many bytes, across frames.
    Pieces(usize),
    /// Each frame after the reply to the one before.
    Waiting,
}

/// One thing done to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new session in an empty slot.
    Connect {
        /// The slot.
        slot: usize,
        /// Wanted session timeout.
        timeout_ms: i32,
        /// Shape of the handshake.
        handshake: Handshake,
    },
    /// An old session in an empty slot.
    Resume {
        /// The slot.
        slot: usize,
        /// Index of the session, in order of creation.
        session: usize,
        /// The zxid that the client says it has seen.
        zxid: i64,
        /// The password shown.
        password: Password,
    },
    /// Requests of one session.
    Batch {
        /// The slot.
        slot: usize,
        /// The requests, xids set.
        requests: Vec<Request>,
        /// How they are sent.
        chunks: Chunks,
    },
    /// Reads of several sessions at the same time.
    ReadsAtOnce(Vec<(usize, Vec<Request>)>),
    /// The client goes away without closing its session.
    Drop {
        /// The slot.
        slot: usize,
    },
    /// Bytes on an established connection that must make the server close it.
    Hostile {
        /// The slot.
        slot: usize,
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// Bytes on a connection of its own; everything that the server answers until it closes is
    /// compared.
    Stranger {
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// Waits until a znode is gone (an expired session, a container cleaned up).
    AwaitDeleted {
        /// The slot that asks.
        slot: usize,
        /// The path of the znode.
        path: String,
    },
    /// The server stops and starts again on its files.
    Restart {
        /// By a signal that lets it finish, instead of kill -9.
        clean: bool,
    },
    /// Counts of the server's monitor word.
    Summary {
        /// Also the approximate data size: Java's drifts with quotas (whose statistics it changes
        /// without counting) and with what it replays over a fuzzy snapshot.
        data_size: bool,
    },
    /// The whole tree, as this slot sees it.
    Tree {
        /// The slot.
        slot: usize,
    },
}

impl Step {
    /// What it does, in words, one line a request.
    pub fn describe(&self) -> String {
        match self {
            Step::Batch { slot, requests, chunks } => {
                let mut text =
                    format!("slot {slot} sends {} requests ({chunks:?})", requests.len());
                list(&mut text, requests);
                text
            }
            Step::ReadsAtOnce(reads) => {
                let mut text = String::from("reads at once");
                for (slot, requests) in reads {
                    text.push_str(&format!("\n  slot {slot}"));
                    list(&mut text, requests);
                }
                text
            }
            Step::Hostile { slot, bytes } => {
                format!("slot {slot} sends hostile bytes {}", crate::wire::show(Some(bytes)))
            }
            Step::Stranger { bytes } => {
                format!("a stranger sends {}", crate::wire::show(Some(bytes)))
            }
            other => format!("{other:?}"),
        }
    }

    /// Number of operations, as the totals of a run count them.
    pub fn operations(&self) -> usize {
        match self {
            Step::Batch { requests, .. } => requests.len(),
            Step::ReadsAtOnce(reads) => reads.iter().map(|(_, requests)| requests.len()).sum(),
            _ => 1,
        }
    }
}

fn list(text: &mut String, requests: &[Request]) {
    for request in requests {
        text.push_str(&format!("\n    xid {} {}", request.xid, request.text));
    }
}
