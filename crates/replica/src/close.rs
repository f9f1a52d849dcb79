//! Why a connection is closed (Java: `ServerCnxn.DisconnectReason` and the exceptions that end a
//! connection).

/// The reason in the log and the metrics; a client never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseReason {
    /// The client closed its session and has its answer.
    ClientClosedSession,
    /// The session expired or was closed by other means.
    SessionClosed,
    /// The session to resume is unknown, expired or the password is wrong; the client was told.
    SessionExpired,
    /// The session goes on on another connection.
    ClientReconnect,
    /// The client has seen a zxid that this server has not.
    ClientZxidAhead,
    /// The server can only be read, and the client cannot be read-only.
    NotReadOnlyClient,
    /// The session to resume belongs to all servers, and this one is cut off from them.
    GlobalSessionReadOnly,
    /// The bucket of connection tokens is empty.
    ConnectionThrottled,
    /// The bytes are no frame or no record of the protocol.
    Malformed,
    /// A frame's length is negative or above `jute.maxbuffer`.
    FrameLength(i32),
    /// Too many bytes of large requests are in flight.
    LargeRequestRejected,
    /// An unknown operation; the client was told.
    Unimplemented,
    /// Authentication failed; the client was told.
    AuthFailed,
    /// The connection has no identity of the schemes required; the client was told.
    AuthRequired,
    /// No session was asked for in time.
    Sessionless,
    /// Events and replies gathered beyond the limit unread.
    OutputFull,
    /// A request waited too long before the pipeline and was dropped.
    RequestDropped,
    /// A request was lost on its way to the leader.
    RequestLost,
    /// A four-letter word was answered.
    FourLetterWord,
    /// The server does not serve: it is shutting down or its disk is full.
    NotServing,
}

impl CloseReason {
    /// The name in logs, Java's word where Java has one.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::ClientClosedSession | CloseReason::SessionClosed => {
                "client_closed_session"
            }
            CloseReason::SessionExpired => "session_expired",
            CloseReason::ClientReconnect => "client_reconnect",
            CloseReason::ClientZxidAhead => "client_zxid_ahead",
            CloseReason::NotReadOnlyClient => "not_read_only_client",
            CloseReason::GlobalSessionReadOnly => "renew_global_session_in_ro_mode",
            CloseReason::ConnectionThrottled => "Client hits connection limiting threshold",
            CloseReason::Malformed | CloseReason::FrameLength(_) => "io_exception",
            CloseReason::LargeRequestRejected => "large_request_rejected",
            CloseReason::Unimplemented => "unimplemented",
            CloseReason::AuthFailed => "auth_failed",
            CloseReason::AuthRequired => "auth_required",
            CloseReason::Sessionless => "connection_expired",
            CloseReason::OutputFull => "output_full",
            CloseReason::RequestDropped => "request_dropped",
            CloseReason::RequestLost => "request_lost",
            CloseReason::FourLetterWord => "info_probe",
            CloseReason::NotServing => "server_shutdown",
        }
    }
}
