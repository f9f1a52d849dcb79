//! A client's request on its way from the server it is connected to, to the leader (Java: the
//! payload of a REQUEST packet, `Learner.request`).

use rookeeper_jute::{SessionId, Xid};

/// A request that a learner passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The session that asks.
    pub session: SessionId,
    /// The request's number in its session; 0 where the server itself asks.
    pub cxid: Xid,
    /// The operation, as on the wire: it need not be one that this server knows.
    pub op: i32,
    /// The request record, without a header.
    pub body: Vec<u8>,
    /// Who asks, as pairs of scheme and id; `None` where the server itself asks (createSession,
    /// closeSession), which Java sends as a null vector.
    pub identities: Option<Vec<(Box<str>, Box<str>)>>,
}
