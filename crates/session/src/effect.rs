//! What goes into a session and what comes out.

use rookeeper_jute::{DecodeError, ErrorCode, Xid, Zxid};

use crate::operation::Operation;
use crate::reply::Reply;
use crate::watches::{EventKind, WatchToken};

/// The caller's own name for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One connection, or an attempt at one; each has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a session is told. What is said of a connection that the session has left is ignored, so
/// the caller need not sort it out.
#[allow(missing_docs, reason = "the variants say what their fields are")]
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A request. Its token comes back in one [`Effect::Completed`], always and once.
    Submit { token: Token, operation: Operation },
    /// Credentials for this connection and all that follow.
    AddAuth { scheme: String, auth: Vec<u8> },
    /// The connection that was asked for is there.
    Connected { connection: ConnectionId },
    /// Bytes from the server, cut anywhere.
    Received { connection: ConnectionId, bytes: &'a [u8] },
    /// The connection is gone, or was never made.
    Disconnected { connection: ConnectionId },
    /// What the server that was asked by [`Effect::Probe`] said; no answer need not be told.
    ProbeAnswered { host: usize, read_write: bool },
    /// Time has passed; also the first input of a session that has nothing to do yet.
    Tick,
    /// Ends the session. Its token comes back as that of a request does.
    Close { token: Token },
}

/// What the caller is to do, in order.
#[allow(missing_docs, reason = "the variants say what their fields are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Connect to the server at this place of the caller's list.
    Connect { connection: ConnectionId, host: usize },
    /// Write these bytes.
    Send { connection: ConnectionId, bytes: Vec<u8> },
    /// Close the connection, or stop trying.
    Disconnect { connection: ConnectionId, reason: Leaving },
    /// A request is over: answered, or failed by the server, the connection or the session. What
    /// failed by a lost connection may have been done or not, and is never sent again.
    Completed { token: Token, zxid: Zxid, result: Result<Reply, ErrorCode> },
    /// An event, for each of these watchers.
    Watch { event: WatchEvent, watchers: Vec<WatchToken> },
    /// The session's state is another.
    State(State),
    /// Ask the server at this place of the list by the four-letter word `isro` whether it takes
    /// writes ("rw").
    Probe { host: usize },
    /// Step again at this time, by [`Input::Tick`] where nothing else comes. The last one counts.
    SetTimer { at_ms: u64 },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// What.
    pub kind: EventKind,
    /// To which znode, below the chroot.
    pub path: String,
    /// By which transaction; -1 where a reconnect found it out or no server said it.
    pub zxid: Zxid,
}

/// How it stands with a session (Java: `Watcher.Event.KeeperState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// On the way to a server.
    Connecting,
    /// With a server.
    Connected,
    /// With a server that takes no writes.
    ConnectedReadOnly,
    /// The connection is lost; the session may live.
    Disconnected,
    /// The session is gone: a server said so, or none was heard of for too long.
    Expired,
    /// A server refused the credentials: the session is not used any more.
    AuthFailed,
    /// Closed as was asked.
    Closed,
}

impl State {
    /// Whether the session can do anything yet.
    pub fn is_alive(self) -> bool {
        !matches!(self, State::Expired | State::AuthFailed | State::Closed)
    }
}

/// Why a session leaves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Leaving {
    /// The attempt or the handshake took too long.
    #[error("no connection in time")]
    ConnectTimeout,
    /// Nothing was heard for two thirds of the session timeout.
    #[error("nothing heard from the server in time")]
    ReadTimeout,
    /// Nothing was heard for so long that the session must be gone.
    #[error("nothing heard for longer than the session lives")]
    SessionTimeout,
    /// The server says that the session has expired.
    #[error("the session has expired")]
    Expired,
    /// The server refused the credentials.
    #[error("the credentials were refused")]
    AuthFailed,
    /// A frame longer than the limit, or shorter than nothing.
    #[error("a frame of {0} bytes")]
    FrameLength(i32),
    /// A frame that is not what it should be.
    #[error("malformed frame: {0}")]
    Malformed(#[from] DecodeError),
    /// A reply that nobody asked for.
    #[error("reply {got}, and no request waits")]
    UnexpectedReply {
        /// The reply's number.
        got: Xid,
    },
    /// A reply to another request than the one whose turn it is.
    #[error("reply {got} in the place of {expected}")]
    OutOfOrder {
        /// The number that should have come.
        expected: Xid,
        /// The number that came.
        got: Xid,
    },
    /// A server that takes writes was found.
    #[error("there is a server that takes writes")]
    ReadWriteFound,
    /// The session was closed.
    #[error("closed")]
    Closed,
}
