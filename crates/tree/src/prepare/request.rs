//! Write requests as decoded. Decoding comes before every check: what cannot be decoded is
//! MarshallingError (Java: `PrepRequestProcessor.pRequestHelper`, `MultiOperationRecord`).

use rookeeper_jute::multi::next_part;
use rookeeper_jute::proto::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteContainerRequest, DeleteRequest,
    SetAclRequest, SetDataRequest,
};
use rookeeper_jute::wire::{Buffer, Text};
use rookeeper_jute::{Acl, CreateMode, OpCode, Reader};

use super::step::Failure;

/// One write, alone or as a part of a multi.
#[derive(Debug)]
pub enum Write<'a> {
    /// Any of the four creates.
    Create(Create<'a>),
    /// delete.
    Delete(DeleteRequest<'a>),
    /// deleteContainer.
    DeleteContainer(DeleteContainerRequest<'a>),
    /// setData.
    SetData(SetDataRequest<'a>),
    /// setACL.
    SetAcl(SetAclRequest<'a>),
    /// check.
    Check(CheckVersionRequest<'a>),
}

/// A create of any kind.
#[derive(Debug)]
pub struct Create<'a> {
    /// The transaction's type: create, create2, createContainer or createTTL.
    pub op: OpCode,
    /// The znode, or what its number is appended to.
    pub path: Text<'a>,
    /// The data.
    pub data: Buffer<'a>,
    /// The access control list as sent.
    pub acl: Option<Vec<Acl<'a>>>,
    /// The flags as sent, valid or not.
    pub flags: i32,
    /// Time to live in milliseconds; -1 where the request has none.
    pub ttl_ms: i64,
}

/// A reader whose bound on lengths is the input: what is longer is truncated.
pub fn reader(body: &[u8]) -> Reader<'_> {
    Reader::with_len_max(body, body.len())
}

impl<'a> Write<'a> {
    /// Decodes a request that stands alone. Trailing bytes are ignored, as in Java.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub fn decode(op: OpCode, body: &'a [u8]) -> Result<Self, Failure> {
        Self::read(op, &mut reader(body))
    }

    /// The type of the transaction that this write becomes.
    pub fn txn_type(&self) -> OpCode {
        match self {
            Write::Create(create) => create.op,
            Write::Delete(_) => OpCode::Delete,
            Write::DeleteContainer(_) => OpCode::DeleteContainer,
            Write::SetData(_) => OpCode::SetData,
            Write::SetAcl(_) => OpCode::SetAcl,
            Write::Check(_) => OpCode::Check,
        }
    }

    fn path_is_null(&self) -> bool {
        match self {
            Write::Create(create) => create.path.is_none(),
            Write::Delete(delete) => delete.path.is_none(),
            Write::DeleteContainer(delete) => delete.path.is_none(),
            Write::SetData(set) => set.path.is_none(),
            Write::SetAcl(set) => set.path.is_none(),
            Write::Check(check) => check.path.is_none(),
        }
    }

    fn read(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, Failure> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                let CreateRequest { path, data, acl, flags } = reader.read()?;
                Write::Create(Create { op, path, data, acl, flags, ttl_ms: -1 })
            }
            OpCode::CreateTtl => {
                let CreateTtlRequest { path, data, acl, flags, ttl_ms } = reader.read()?;
                Write::Create(Create { op, path, data, acl, flags, ttl_ms })
            }
            OpCode::Delete => Write::Delete(reader.read()?),
            OpCode::DeleteContainer => {
                let request: DeleteContainerRequest<'_> = reader.read()?;
                if request.path.is_none() {
                    return Err(Failure::Malformed);
                }
                Write::DeleteContainer(request)
            }
            OpCode::SetData => Write::SetData(reader.read()?),
            OpCode::SetAcl => Write::SetAcl(reader.read()?),
            OpCode::Check => Write::Check(reader.read()?),
            _ => return Err(Failure::Malformed),
        })
    }
}

/// Decodes a multi: every part before any is tried.
///
/// Java goes through its client's classes here, which decides more than decoding: container flags
/// make a createContainer and the absence of TTL flags makes a plain create, whatever the part's
/// opcode says; flags that are wrong for the part's record, a null list and a null path fail the
/// multi as a whole; and parts that read fail it too.
///
/// # Errors
/// [`Failure::Malformed`]; for a null list [`Failure::Unreadable`], as Java has no transaction
/// then.
pub fn decode_multi(body: &[u8]) -> Result<Vec<Write<'_>>, Failure> {
    let mut reader = reader(body);
    let mut writes = Vec::new();
    while let Some(header) = next_part(&mut reader)? {
        let op = OpCode::from_i32(header.op).ok_or(Failure::Malformed)?;
        if matches!(op, OpCode::SetAcl | OpCode::DeleteContainer) {
            return Err(Failure::Malformed);
        }
        let mut write = Write::read(op, &mut reader)?;
        if let Write::Create(create) = &mut write {
            as_part(create)?;
        }
        writes.push(write);
    }
    if writes.iter().any(Write::path_is_null) {
        return Err(Failure::Malformed);
    }
    Ok(writes)
}

fn as_part(create: &mut Create<'_>) -> Result<(), Failure> {
    let mode = CreateMode::from_flags(create.flags);
    if create.op == OpCode::CreateTtl {
        create.op = match mode {
            Some(mode) if mode.is_ttl() => return Ok(()),
            Some(CreateMode::Container) => OpCode::CreateContainer,
            _ => OpCode::Create,
        };
        create.ttl_ms = -1;
        return Ok(());
    }
    match mode {
        None => return Err(Failure::Malformed),
        Some(_) if create.acl.is_none() => return Err(Failure::Unreadable),
        Some(mode) if mode.is_ttl() => return Err(Failure::Malformed),
        Some(CreateMode::Container) => create.op = OpCode::CreateContainer,
        Some(_) => {}
    }
    Ok(())
}
