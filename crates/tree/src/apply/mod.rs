//! From transactions to changes (Java: `DataTree.processTxn`).
//!
//! Applying is the same on every server and in every replay. A transaction that finds its work
//! done, or what it builds on gone, does what is left of it: that is how a log is replayed over a
//! snapshot that Java wrote while the tree was changing.
//!
//! # Layout
//! - [`record`]: transactions as decoded
//! - [`nodes`]: what each operation does to the znodes
//! - [`session`]: sessions and their ephemerals
//! - `config`: the configuration of the ensemble, shown without a transaction
//! - [`reply`]: the reply that a client gets

mod config;
pub mod nodes;
pub mod record;
pub mod reply;
pub mod session;

use std::borrow::Cow;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::txn::{TxnDigest, TxnHeader};
use rookeeper_jute::{DecodeError, ErrorCode, OpCode, Stat, Zxid};

use crate::changes::ChangeLog;
use crate::digest::DIGEST_VERSION;
use crate::tree::Tree;
use record::{Decoded, Record};

/// How many transactions are worth a look ahead at one time: more than that many waits for memory a
/// processor does not have under way.
pub const LOOK_AHEAD: usize = 16;

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<'t> {
    /// The transaction's header.
    pub header: TxnHeader,
    /// The result; for a multi that of its first part that failed.
    pub err: ErrorCode,
    /// The znode that it is about.
    pub path: Option<Cow<'t, str>>,
    /// The znode's Stat afterwards, where the reply has one.
    pub stat: Option<Stat>,
    /// The configuration that a reconfig left, for its reply.
    pub config: Option<&'t [u8]>,
    /// The parts of a multi, in order.
    pub parts: Vec<AppliedPart<'t>>,
    /// Whether the tree's digest is not the one that the transaction or a loaded snapshot says.
    pub digest_mismatch: bool,
}

/// What a part of a multi did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPart<'t> {
    /// What it was; [`OpCode::Error`] for every part of a multi that failed.
    pub op: OpCode,
    /// Its result: 0 before the part that failed, -2 after it.
    pub err: ErrorCode,
    /// The znode that it is about.
    pub path: Option<Cow<'t, str>>,
    /// The znode's Stat afterwards, where the reply has one.
    pub stat: Option<Stat>,
}

/// Why bytes are not a transaction. Nothing has been changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Header or record end early or hold impossible lengths.
    #[error("transaction cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The header's type, or that of a part of a multi, is none that Java logs.
    #[error("transaction {zxid} has unsupported type {txn_type}")]
    UnsupportedType {
        /// The transaction.
        zxid: Zxid,
        /// The type as read.
        txn_type: i32,
    },
    /// A path is null.
    #[error("transaction {zxid} has a null path")]
    NullPath {
        /// The transaction.
        zxid: Zxid,
    },
}

impl Tree {
    /// Applies one transaction: header, record, optional digest, exactly as in log and proposal.
    /// Changes that watchers may want to hear of are appended to `changes`.
    ///
    /// # Errors
    /// [`ApplyError`] where the bytes are no transaction; the tree is as before.
    pub fn apply<'t>(
        &mut self,
        txn: &'t [u8],
        changes: &mut ChangeLog,
    ) -> Result<Applied<'t>, ApplyError> {
        let Decoded { header, record, digest } = record::decode(txn)?;
        let config = match &record {
            Record::SetData { op: OpCode::Reconfig, data, .. } => *data,
            _ => None,
        };
        let mut applied = match record {
            Record::Multi(parts) => self.apply_multi(header, parts, changes),
            record => {
                let part = self.apply_one(&header, record, changes);
                let AppliedPart { err, path, stat, .. } = part;
                let parts = Vec::new();
                Applied { header, err, path, stat, config, parts, digest_mismatch: false }
            }
        };
        self.last_processed_zxid = self.last_processed_zxid.max(header.zxid);
        applied.digest_mismatch = self.digest_differs(digest);
        Ok(applied)
    }

    /// Looks up what the next transactions are about, [`LOOK_AHEAD`] of them at most. It changes
    /// nothing: looked up side by side, they wait for memory at one time, and then they are near.
    pub fn look_ahead<'t>(&self, txns: impl Iterator<Item = &'t [u8]>) {
        let mut hashes = [None; LOOK_AHEAD];
        for (hash, txn) in hashes.iter_mut().zip(txns) {
            *hash = record::path_of(txn).map(|path| self.znodes.path_hash(path));
        }
        self.znodes.touch(&hashes);
    }

    /// The tree was written down while it changed, and nothing says up to when: parts of later
    /// transactions are in it, which come again. Their digests are not compared, up to the first
    /// one that is the tree's, or to [`Tree::end_overlap`].
    pub fn begin_overlap(&mut self) {
        self.overlap = true;
    }

    /// Everything that the tree was ahead by has been applied: digests are compared.
    pub fn end_overlap(&mut self) {
        self.overlap = false;
    }

    /// Whether the tree is that of its last transaction, and its digest says so: false while a
    /// snapshot of several moments is being made up for.
    pub fn is_whole(&self) -> bool {
        !self.overlap
    }

    fn digest_differs(&mut self, digest: Option<TxnDigest>) -> bool {
        if !self.config.digest_enabled || mutation::is_on(Mutation::DigestIgnored) {
            return false;
        }
        let Some(digest) = digest.filter(|digest| digest.version == DIGEST_VERSION) else {
            return false;
        };
        let differs = digest.tree_digest != self.digest();
        self.overlap &= differs;
        differs && !self.overlap
    }

    fn apply_multi<'t>(
        &mut self,
        header: TxnHeader,
        records: Vec<Record<'t>>,
        changes: &mut ChangeLog,
    ) -> Applied<'t> {
        let failed = records.iter().any(|record| matches!(record, Record::Error(_)));
        let mut parts = Vec::with_capacity(records.len());
        let mut rest = ErrorCode::Ok;
        for record in records {
            let part = match record {
                record @ Record::Error(_) => {
                    rest = ErrorCode::RuntimeInconsistency;
                    self.apply_one(&header, record, changes)
                }
                _ if failed => AppliedPart { op: OpCode::Error, err: rest, path: None, stat: None },
                record => self.apply_one(&header, record, changes),
            };
            parts.push(part);
        }
        let err = parts.iter().map(|part| part.err).find(|err| *err != ErrorCode::Ok);
        Applied {
            header,
            err: err.unwrap_or(ErrorCode::Ok),
            path: None,
            stat: None,
            config: None,
            parts,
            digest_mismatch: false,
        }
    }
}
