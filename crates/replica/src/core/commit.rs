//! Up to where transactions are durable, and up to where they are committed: what a quorum has
//! made durable may be applied and answered, once this server has made it durable too.

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

#[derive(Debug)]
pub(super) struct Commit {
    durable: Zxid,
    committed: Zxid,
    /// Whether what this server has made durable is committed by that alone.
    alone: bool,
}

impl Commit {
    /// All that was recovered is durable, and part of the history that the role starts with.
    pub(super) fn new(recovered: Zxid, alone: bool) -> Self {
        Commit { durable: recovered, committed: recovered, alone }
    }

    /// This server's log is durable up to `zxid`.
    pub(super) fn durable(&mut self, zxid: Zxid) {
        assert!(zxid >= self.durable, "what is durable stays durable");
        self.durable = zxid;
    }

    /// A quorum has made all transactions up to `zxid` durable.
    pub(super) fn committed(&mut self, zxid: Zxid) {
        self.committed = self.committed.max(zxid);
    }

    /// The end of what this server has made durable.
    pub(super) fn durable_through(&self) -> Zxid {
        self.durable
    }

    /// The end of what a quorum has.
    pub(super) fn committed_through(&self) -> Zxid {
        self.committed
    }

    /// The role ends: what is logged is history, whoever has it beside this server.
    pub(super) fn retire(&mut self) {
        self.alone = true;
    }

    /// The last transaction that may be applied. A server that stands alone is a quorum of one:
    /// what it has made durable is committed.
    #[inline]
    pub(super) fn ready(&self) -> Zxid {
        let alone = self.alone || mutation::is_on(Mutation::UncommittedApplied);
        if alone { self.durable } else { self.durable.min(self.committed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_applied_once_it_is_durable_here_and_committed() {
        let mut commit = Commit::new(Zxid(5), false);
        commit.durable(Zxid(9));
        assert_eq!(commit.ready(), Zxid(5));
        commit.committed(Zxid(7));
        assert_eq!(commit.ready(), Zxid(7));
        commit.committed(Zxid(12));
        assert_eq!(commit.ready(), Zxid(9));
        commit.durable(Zxid(14));
        assert_eq!(commit.ready(), Zxid(12));
        commit.retire();
        assert_eq!(commit.ready(), Zxid(14));
    }

    #[test]
    fn a_server_that_stands_alone_is_a_quorum() {
        let mut commit = Commit::new(Zxid(5), true);
        commit.durable(Zxid(6));
        assert_eq!(commit.ready(), Zxid(6));
    }
}
