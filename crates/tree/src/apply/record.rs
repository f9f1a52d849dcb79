//! Transactions as decoded (Java: `SerializeUtils.deserializeTxn`). Everything is decoded before
//! anything is applied.

use std::borrow::Cow;

use rookeeper_jute::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn,
    CreateTxn, CreateTxnV0, DeleteTxn, ErrorTxn, MultiTxn, SetAclTxn, SetDataTxn, TxnDigest,
    TxnHeader,
};
use rookeeper_jute::wire::{Buffer, Text};
use rookeeper_jute::{Acl, Decode, ErrorCode, OpCode, Reader};

use super::ApplyError;
use crate::digest::DIGEST_VERSION;
use crate::owners::{CONTAINER_OWNER, EXTENDED_MASK, TTL_MS_MAX};

/// A transaction in its three parts.
#[derive(Debug)]
pub struct Decoded<'t> {
    /// The header.
    pub header: TxnHeader,
    /// The record of the header's type.
    pub record: Record<'t>,
    /// The tree's digest afterwards, where the transaction has one.
    pub digest: Option<TxnDigest>,
}

/// What a transaction or a part of a multi does.
#[derive(Debug)]
pub enum Record<'t> {
    /// Any of the four creates.
    Create(CreateRecord<'t>),
    /// delete and deleteContainer.
    Delete {
        /// Which of the two.
        op: OpCode,
        /// The znode.
        path: Cow<'t, str>,
    },
    /// setData and reconfig.
    SetData {
        /// Which of the two.
        op: OpCode,
        /// The znode.
        path: Cow<'t, str>,
        /// The data.
        data: Buffer<'t>,
        /// The version afterwards.
        version: i32,
    },
    /// setACL.
    SetAcl {
        /// The znode.
        path: Cow<'t, str>,
        /// The access control list.
        acl: Option<Vec<Acl<'t>>>,
        /// The aversion afterwards.
        version: i32,
    },
    /// check.
    Check {
        /// The znode.
        path: Cow<'t, str>,
    },
    /// createSession.
    CreateSession {
        /// The session's timeout in milliseconds.
        timeout_ms: i32,
    },
    /// closeSession.
    CloseSession {
        /// The session's ephemerals; empty in old logs.
        paths: Vec<Cow<'t, str>>,
    },
    /// error.
    Error(ErrorCode),
    /// multi.
    Multi(Vec<Record<'t>>),
}

/// A create of any kind.
#[derive(Debug)]
pub struct CreateRecord<'t> {
    /// Which of the four.
    pub op: OpCode,
    /// The znode.
    pub path: Cow<'t, str>,
    /// The data.
    pub data: Buffer<'t>,
    /// The access control list.
    pub acl: Option<Vec<Acl<'t>>>,
    /// The owner as stored.
    pub owner: i64,
    /// The parent's stored cversion afterwards; -1 adds one to what is there.
    pub parent_cversion: i32,
}

/// Decodes a whole transaction.
///
/// # Errors
/// [`ApplyError`].
pub fn decode(txn: &[u8]) -> Result<Decoded<'_>, ApplyError> {
    let mut reader = Reader::with_len_max(txn, txn.len());
    let header: TxnHeader = reader.read()?;
    let unsupported = ApplyError::UnsupportedType { zxid: header.zxid, txn_type: header.txn_type };
    let op = OpCode::from_i32(header.txn_type).ok_or(unsupported)?;
    let record = match op {
        OpCode::CreateSession => {
            Record::CreateSession { timeout_ms: reader.read::<CreateSessionTxn>()?.timeout_ms }
        }
        OpCode::CloseSession => Record::CloseSession { paths: close_session(&mut reader) },
        OpCode::SetAcl => {
            let SetAclTxn { path, acl, version } = reader.read()?;
            Record::SetAcl { path: not_null(&header, path)?, acl, version }
        }
        OpCode::Reconfig => set_data(&header, op, &mut reader)?,
        OpCode::Multi => Record::Multi(parts(&header, &mut reader)?),
        _ => part(&header, op, &mut reader)?.ok_or(unsupported)?,
    };
    let digest = if reader.is_empty() { None } else { reader.read().ok() };
    Ok(Decoded { header, record, digest })
}

/// The path of a transaction that is about one znode, as it stands there; `None` for any other, and
/// where it is cut off.
pub fn path_of(txn: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::with_len_max(txn, txn.len());
    let header: TxnHeader = reader.read().ok()?;
    match OpCode::from_i32(header.txn_type)? {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::DeleteContainer
        | OpCode::SetData
        | OpCode::SetAcl => reader.buffer().ok()?,
        _ => None,
    }
}

/// The records that may stand in a multi and alone; `None` for any other type.
fn part<'t>(
    header: &TxnHeader,
    op: OpCode,
    reader: &mut Reader<'t>,
) -> Result<Option<Record<'t>>, ApplyError> {
    let record = match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Record::Create(create(header, op, reader)?)
        }
        OpCode::Delete | OpCode::DeleteContainer => {
            let DeleteTxn { path } = reader.read()?;
            Record::Delete { op, path: not_null(header, path)? }
        }
        OpCode::SetData => set_data(header, op, reader)?,
        OpCode::Check => {
            let CheckVersionTxn { path, .. } = reader.read()?;
            Record::Check { path: not_null(header, path)? }
        }
        OpCode::Error => {
            let ErrorTxn { err } = reader.read()?;
            Record::Error(ErrorCode::from_i32(err).unwrap_or(ErrorCode::SystemError))
        }
        _ => return Ok(None),
    };
    Ok(Some(record))
}

fn parts<'t>(header: &TxnHeader, reader: &mut Reader<'t>) -> Result<Vec<Record<'t>>, ApplyError> {
    let MultiTxn { txns } = reader.read()?;
    let mut records = Vec::new();
    for txn in txns.unwrap_or_default() {
        let unsupported = ApplyError::UnsupportedType { zxid: header.zxid, txn_type: txn.txn_type };
        let op = OpCode::from_i32(txn.txn_type).ok_or(unsupported)?;
        let data = txn.data.unwrap_or_default();
        let mut reader = Reader::with_len_max(data, data.len());
        records.push(part(header, op, &mut reader)?.ok_or(unsupported)?);
    }
    Ok(records)
}

fn create<'t>(
    header: &TxnHeader,
    op: OpCode,
    reader: &mut Reader<'t>,
) -> Result<CreateRecord<'t>, ApplyError> {
    let session = |ephemeral| if ephemeral { header.client_id.0 } else { 0 };
    let (path, data, acl, owner, parent_cversion) = match op {
        OpCode::CreateContainer => {
            let CreateContainerTxn { path, data, acl, parent_cversion } = reader.read()?;
            (path, data, acl, CONTAINER_OWNER, parent_cversion)
        }
        OpCode::CreateTtl => {
            let CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms } = reader.read()?;
            (path, data, acl, EXTENDED_MASK | (ttl_ms & TTL_MS_MAX), parent_cversion)
        }
        _ => {
            let start = reader.clone();
            match CreateTxn::decode(reader) {
                Ok(CreateTxn { path, data, acl, ephemeral, parent_cversion }) => {
                    (path, data, acl, session(ephemeral), parent_cversion)
                }
                Err(error) if op != OpCode::Create => return Err(error.into()),
                Err(_) => {
                    *reader = start;
                    let CreateTxnV0 { path, data, acl, ephemeral } = reader.read()?;
                    (path, data, acl, session(ephemeral), -1)
                }
            }
        }
    };
    let path = not_null(header, path)?;
    Ok(CreateRecord { op, path, data, acl, owner, parent_cversion })
}

fn set_data<'t>(
    header: &TxnHeader,
    op: OpCode,
    reader: &mut Reader<'t>,
) -> Result<Record<'t>, ApplyError> {
    let SetDataTxn { path, data, version } = reader.read()?;
    Ok(Record::SetData { op, path: not_null(header, path)?, data, version })
}

/// The paths of a closeSession. Servers before 3.6, and those told so, write no record: then what
/// follows the header is nothing or a digest. A digest's version 2 would be a list of two paths,
/// which twelve bytes cannot hold unless both are empty.
fn close_session<'t>(reader: &mut Reader<'t>) -> Vec<Cow<'t, str>> {
    let rest = reader.rest();
    let is_digest = rest.len() == 12 && rest[..4] == DIGEST_VERSION.to_be_bytes();
    if is_digest {
        return Vec::new();
    }
    let start = reader.clone();
    match CloseSessionTxn::decode(reader) {
        Ok(CloseSessionTxn { paths_to_delete }) => {
            paths_to_delete.unwrap_or_default().into_iter().flatten().collect()
        }
        Err(_) => {
            *reader = start;
            Vec::new()
        }
    }
}

fn not_null<'t>(header: &TxnHeader, path: Text<'t>) -> Result<Cow<'t, str>, ApplyError> {
    path.ok_or(ApplyError::NullPath { zxid: header.zxid })
}
