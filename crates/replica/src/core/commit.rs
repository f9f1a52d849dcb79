//! Up to where transactions are durable, and up to where they are committed: what a quorum has
//! made durable may be applied and answered, once this server has made it durable too.

use rookeeper_jute::Zxid;

#[derive(Debug)]
pub(super) struct Commit {
    durable: Zxid,
}

impl Commit {
    pub(super) fn new(recovered: Zxid) -> Self {
        Commit { durable: recovered }
    }

    /// This server's log is durable up to `zxid`.
    pub(super) fn durable(&mut self, zxid: Zxid) {
        assert!(zxid >= self.durable, "what is durable stays durable");
        self.durable = zxid;
    }

    /// The last transaction that may be applied. A server that stands alone is a quorum of one:
    /// what it has made durable is committed.
    pub(super) fn committed(&self) -> Zxid {
        self.durable
    }
}
