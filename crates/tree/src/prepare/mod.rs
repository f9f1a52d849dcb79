//! From requests to transactions (Java: `PrepRequestProcessor`).
//!
//! A request is judged against the tree as it will be when everything prepared before it has been
//! applied. The result is exactly one transaction: what the request does, or an error transaction
//! that says why it does nothing; either takes the request's zxid.
//!
//! A transaction that Java could not read back from its log or from a peer is not built. Java
//! bounds each string and buffer, and a whole transaction is one buffer in log and proposal, so
//! the bound is `jute.maxbuffer` plus its extra size ([`PrepareConfig::txn_len_max`]). What would
//! exceed it is answered with MarshallingError. The transaction that closes a session lists the
//! session's ephemerals; so that it stays readable, the create of an ephemeral is refused once
//! the list would be too long. Where a session has more all the same (a tree from a server with
//! larger limits), the list holds what fits: appliers delete the rest too, in Java as here,
//! because they find it in their own table.
//!
//! # Layout
//! - [`request`]: requests as decoded
//! - [`pending`]: what was prepared and not yet applied
//! - [`step`]: the preparation of one request
//! - [`create`], [`change`], [`session`], [`reconfig`], [`multi`]: the operations

pub mod change;
pub mod create;
pub mod multi;
pub mod pending;
pub mod reconfig;
pub mod request;
pub mod session;
pub mod step;

use rookeeper_jute::limits::JUTE_MAXBUFFER_DEFAULT;
use rookeeper_jute::txn::{ErrorTxn, TxnHeader};
use rookeeper_jute::{CreateMode, Encode, ErrorCode, OpCode, SessionId, Xid, Zxid};

use crate::auth::{AccessControl, Identity};
use crate::quota::QuotaExceeded;
use crate::tree::Tree;
use pending::PendingChanges;
use reconfig::DecideReconfig;
use step::Step;

/// What the leader is told once about building transactions.
#[derive(Debug, Clone, Copy)]
pub struct PrepareConfig {
    /// `zookeeper.enforceQuota`.
    pub enforce_quota: bool,
    /// `zookeeper.closeSessionTxn.enabled`: whether closing a session lists its ephemerals.
    pub close_session_txn_enabled: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// Largest transaction in bytes, header and digest included: `jute.maxbuffer` and
    /// `zookeeper.jute.maxbuffer.extrasize` together.
    pub txn_len_max: usize,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        PrepareConfig {
            enforce_quota: false,
            close_session_txn_enabled: true,
            reconfig_enabled: false,
            txn_len_max: 2 * JUTE_MAXBUFFER_DEFAULT,
        }
    }
}

/// One write as the leader takes it up.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// The session that asks.
    pub session: SessionId,
    /// The request's number.
    pub cxid: Xid,
    /// What it asks for.
    pub op: OpCode,
    /// The request's record; a [`rookeeper_jute::txn::CreateSessionTxn`] for createSession.
    pub body: &'a [u8],
    /// The identities of the connection.
    pub identities: &'a [Identity],
    /// The zxid that the transaction takes.
    pub zxid: Zxid,
    /// Wall clock, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Whether the session is alive and here (Java: `SessionTracker.checkSession`). It is looked
    /// at where Java looks, so that earlier mistakes are answered first.
    pub session_check: Result<(), ErrorCode>,
    /// Whether it may own ephemerals, beside that (Java: `SessionTracker.checkGlobalSession`):
    /// not a session that is known to one server only.
    pub ephemeral_check: Result<(), ErrorCode>,
}

/// What came of a request beside its transaction.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// What the reply says where it is not the transaction's own result: SessionMoved inside a
    /// multi, which closes the connection.
    pub error: Option<ErrorCode>,
    /// A quota that the request exceeds, for a warning; refused only where the limit is hard.
    pub quota_exceeded: Option<Box<QuotaExceeded>>,
}

/// Changes prepared and not yet applied (Java: `outstandingChanges`).
#[derive(Debug)]
pub struct Outstanding {
    config: PrepareConfig,
    pending: PendingChanges,
}

impl Outstanding {
    /// No changes yet.
    pub fn new(config: PrepareConfig) -> Self {
        Outstanding { config, pending: PendingChanges::new() }
    }

    /// Appends exactly one transaction to `out`: header, record, digest where digests are on. An
    /// error transaction has no digest, as in Java. Only where the body of a single write cannot
    /// be decoded, or a create in a multi has a null list, nothing is appended: the zxid stays
    /// free, and [`Prepared::error`] is the answer.
    pub fn prepare(
        &mut self,
        tree: &Tree,
        access: &AccessControl,
        request: &WriteRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.prepare_with(tree, access, request, None, out)
    }

    /// The same for a reconfig where this server leads an ensemble: `decide` is asked for the new
    /// configuration, and what it gives becomes the data of its znode.
    pub fn prepare_reconfig(
        &mut self,
        tree: &Tree,
        access: &AccessControl,
        request: &WriteRequest<'_>,
        decide: DecideReconfig<'_>,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.prepare_with(tree, access, request, Some(decide), out)
    }

    fn prepare_with(
        &mut self,
        tree: &Tree,
        access: &AccessControl,
        request: &WriteRequest<'_>,
        decide: Option<DecideReconfig<'_>>,
        out: &mut Vec<u8>,
    ) -> Prepared {
        let start = out.len();
        let mut step = Step::new(&self.config, &mut self.pending, tree, access, request, start);
        let result = step.run(decide, out);
        let mut prepared = step.prepared;
        if let Err(failure) = result {
            out.truncate(start);
            if failure == step::Failure::Unreadable {
                prepared.error = Some(failure.code());
                return prepared;
            }
            prepared.error = None;
            encode_error(request, failure.code(), out);
        }
        prepared
    }

    /// Forgets the changes of transactions up to `zxid`: they are in the tree now. To be called
    /// after [`Tree::apply`], before the next [`Outstanding::prepare`].
    pub fn applied(&mut self, zxid: Zxid) {
        self.pending.applied(zxid);
    }

    /// Forgets all changes: the transactions they stood for will not be applied.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// How many changes of single znodes are outstanding.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether the tree is up to date with all that was prepared.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Appends the transaction that says why a request does nothing; it takes the request's zxid.
pub fn encode_error(request: &WriteRequest<'_>, err: ErrorCode, out: &mut Vec<u8>) {
    encode_header(request, OpCode::Error, out);
    ErrorTxn { err: err.to_i32() }.encode(out);
}

/// Whether a request is one for which a session that is known to one server only must become known
/// to all: a create, or a multi with one, that makes an ephemeral (Java:
/// `QuorumZooKeeperServer.checkUpgradeSession`).
pub fn wants_ephemeral(op: OpCode, body: &[u8]) -> bool {
    let makes_one = |write: &request::Write<'_>| match write {
        request::Write::Create(create) => {
            let mode = CreateMode::from_flags(create.flags);
            let plain = matches!(create.op, OpCode::Create | OpCode::Create2);
            plain && mode.is_some_and(CreateMode::is_ephemeral)
        }
        _ => false,
    };
    match op {
        OpCode::Create | OpCode::Create2 => {
            request::Write::decode(op, body).is_ok_and(|write| makes_one(&write))
        }
        OpCode::Multi => {
            request::decode_multi(body).is_ok_and(|writes| writes.iter().any(makes_one))
        }
        _ => false,
    }
}

/// Whether the body of a write can be decoded, before it is passed on to whoever prepares it.
///
/// # Errors
/// What the client is told otherwise.
pub fn check_body(op: OpCode, body: &[u8]) -> Result<(), ErrorCode> {
    use rookeeper_jute::proto::ReconfigRequest;
    let checked = match op {
        OpCode::Multi => request::decode_multi(body).map(drop),
        OpCode::Reconfig => {
            let decoded = request::reader(body).read::<ReconfigRequest<'_>>();
            decoded.map(drop).map_err(step::Failure::from)
        }
        OpCode::CloseSession => Ok(()),
        _ => request::Write::decode(op, body).map(drop),
    };
    checked.map_err(step::Failure::code)
}

/// Appends the header that stands before the transaction of `request`.
fn encode_header(request: &WriteRequest<'_>, op: OpCode, out: &mut Vec<u8>) {
    let header = TxnHeader {
        client_id: request.session,
        cxid: request.cxid,
        zxid: request.zxid,
        time_ms: request.time_ms,
        txn_type: op.to_i32(),
    };
    header.encode(out);
}
