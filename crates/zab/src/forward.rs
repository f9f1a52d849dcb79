//! A client's request on its way from the server it is connected to, to the leader (Java: the
//! payload of a REQUEST packet, `Learner.request`).

use std::sync::Arc;

use rookeeper_jute::{Identity, OpCode, SessionId, Xid};

/// A DeleteRequest of an empty path, in any version.
const DELETION_OF_NOTHING: [u8; 8] = [0, 0, 0, 0, 255, 255, 255, 255];

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
    /// Makes of it a request that any leader answers with an error transaction of the same session
    /// and number, and that changes nothing: a deletion of no path, which nobody asks for (without
    /// identities, as what a server itself asks for). A leader of ours says SessionMoved, as to a
    /// learner that has lost the session; one of Java's says BadArguments.
    pub fn refuse(&mut self) {
        self.op = OpCode::Delete.to_i32();
        self.body = DELETION_OF_NOTHING.to_vec();
        self.identities = None;
    }

    /// Whether it is what [`Forward::refuse`] makes: no client's request is without identities.
    pub fn is_refused(&self) -> bool {
        let is_deletion = self.op == OpCode::Delete.to_i32() && self.identities.is_none();
        is_deletion && self.body == DELETION_OF_NOTHING
    }

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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rookeeper_jute::Decode;
    use rookeeper_jute::proto::DeleteRequest;

    use super::*;

    #[test]
    fn what_is_refused_can_be_read_and_is_no_clients_request() {
        let op = OpCode::Multi.to_i32();
        let (session, cxid, body) = (SessionId(7), Xid(3), vec![1; 100]);
        let identities = Some(Arc::default());
        let mut request = Forward { session, cxid, op, body, identities };
        assert!(!request.is_refused());
        request.refuse();
        assert!(request.is_refused());
        assert_eq!((request.session, request.cxid), (SessionId(7), Xid(3)));
        let deletion = DeleteRequest::from_bytes(&request.body).expect("a DeleteRequest");
        assert_eq!(deletion, DeleteRequest { path: Some(Cow::Borrowed("")), version: -1 });
        request.identities = Some(Arc::default());
        assert!(!request.is_refused(), "a client has asked for it");
    }
}
