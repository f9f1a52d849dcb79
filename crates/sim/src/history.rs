//! What the clients did and what they were told.

use std::collections::{BTreeMap, BTreeSet};

use rookeeper_jute::{ErrorCode, SessionId, Zxid};
use rookeeper_session::{Operation, Reply, WatchEvent, WatchToken};

use crate::checks::Committed;

/// How an operation came back.
#[derive(Debug, Clone)]
pub struct Returned {
    /// When, in microseconds.
    pub at_us: u64,
    /// Its place among all that clients were told.
    pub order: u64,
    /// The zxid of the reply; -1 without one.
    pub zxid: Zxid,
    /// What it says.
    pub result: Result<Reply, ErrorCode>,
}

/// One operation of a client.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who asked, counted over all sessions that a client had.
    pub handle: usize,
    /// The session; 0 where it never had one.
    pub session: SessionId,
    /// What for.
    pub operation: Operation,
    /// When, in microseconds.
    pub invoked_us: u64,
    /// How it came back, if it did.
    pub returned: Option<Returned>,
}

impl Record {
    /// Whether the server answered, with success or an error of its own.
    pub fn answer(&self) -> Option<&Returned> {
        self.returned.as_ref().filter(|returned| returned.zxid > Zxid::ZERO)
    }

    /// Whether it is ordered by the leader.
    pub fn is_write(&self) -> bool {
        matches!(
            self.operation,
            Operation::Create(_)
                | Operation::Delete { .. }
                | Operation::DeleteContainer { .. }
                | Operation::SetData { .. }
                | Operation::SetAcl { .. }
                | Operation::Multi(_)
                | Operation::Reconfig { .. }
        )
    }
}

/// One event that a watcher was told.
#[derive(Debug, Clone)]
pub struct Fired {
    /// The watch.
    pub watch: WatchToken,
    /// Its place among all that clients were told.
    pub order: u64,
    /// When, in microseconds.
    pub at_us: u64,
    /// What happened.
    pub event: WatchEvent,
}

/// A client saw that its znode is the first of the lock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The znode.
    pub path: String,
    /// The zxid of the reply that said so.
    pub zxid: Zxid,
}

/// Everything that clients did.
#[derive(Debug, Default)]
pub struct History {
    /// Operations; their tokens are their places.
    pub records: Vec<Record>,
    /// Events.
    pub fired: Vec<Fired>,
    /// Claims of the lock.
    pub claims: Vec<Claim>,
    /// When a handle lost a connection: the places among all that clients were told.
    pub lost: BTreeMap<usize, Vec<u64>>,
    /// The text of the configuration that the ensemble begins with.
    pub first: Option<String>,
    /// Places of operations that a server without a leader answered.
    pub read_only: BTreeSet<u64>,
    /// What such a server had that was never committed: all transactions up to the one by which
    /// they are found.
    pub branches: BTreeMap<Zxid, Vec<Committed>>,
    /// Sessions that went on in another program, which numbers its requests anew.
    pub moved: BTreeSet<SessionId>,
    order: u64,
}

impl History {
    /// Nothing has happened in an ensemble of this configuration.
    pub fn beginning_with(first: Option<String>) -> History {
        History { first, ..History::default() }
    }

    /// The next place among all that clients are told.
    pub fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Operations that were answered.
    pub fn answered(&self) -> impl Iterator<Item = (&Record, &Returned)> {
        self.records.iter().filter_map(|record| Some((record, record.answer()?)))
    }
}
