//! A client's request on its way from the server it is connected to, to the leader (Java: the
//! payload of a REQUEST packet, `Learner.request`).

use std::sync::Arc;

use rookeeper_jute::{Identity, SessionId, Xid};

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
    /// Who asks, shared with its connection; `None` where the server itself asks (createSession,
    /// closeSession), which Java sends as a null vector.
    pub identities: Option<Arc<[Identity]>>,
}

impl Forward {
    /// What a server that keeps the request has to hold of it, in bytes, the bookkeeping around it
    /// included.
    pub fn held_len(&self) -> usize {
        /// A transaction's header, its place in queues, an acknowledgement a learner.
        const BESIDES: usize = 256;
        let identities = self.identities.iter().flat_map(|identities| &**identities);
        let lens = identities.map(|Identity { scheme, id }| scheme.len() + id.len() + 32);
        BESIDES + self.body.len() + lens.sum::<usize>()
    }
}
