//! Replies, understood by the operation that was asked for.

use rookeeper_jute::multi;
use rookeeper_jute::proto::*;
use rookeeper_jute::{
    Acl, Decode, DecodeError, ErrorCode, Id, OpCode, Reader, Stat, Text, Zxid, data,
};

use crate::path::Chroot;

/// What a request was answered with. Paths are the client's, below the chroot.
#[allow(missing_docs, reason = "fields are named as in the protocol's records")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done, and nothing to say: delete, addWatch, removeWatches, close.
    Done,
    /// The znode created; its Stat where that was asked for.
    Created { path: String, stat: Option<Stat> },
    /// The znode's Stat: exists, setData, setACL.
    Stat(Stat),
    /// The znode's data, or the ensemble's configuration.
    Data { data: Option<Vec<u8>>, stat: Stat },
    /// The znode's access control list.
    Acl { acl: Vec<Acl<'static>>, stat: Stat },
    /// Names of the children; the znode's Stat where that was asked for.
    Children { names: Vec<String>, stat: Option<Stat> },
    /// A page of children, and where the next one starts; both are -1 on the last page.
    Page { names: Vec<String>, stat: Stat, next_czxid: Zxid, next_offset: i32 },
    /// How many descendants.
    Count(i32),
    /// The path that was synchronised.
    Synced { path: String },
    /// Paths of the session's ephemeral znodes.
    Ephemerals(Vec<String>),
    /// The results of a multi, in its order. Where a multi that writes failed, all are errors.
    Multi(Vec<PartResult>),
    /// Scheme and user of each identity.
    Identities(Vec<(String, String)>),
}

/// The result of one part of a multi. In a multi that failed, the parts before the one that is to
/// blame have the error `Ok`, and those after it RuntimeInconsistency.
pub type PartResult = Result<PartReply, ErrorCode>;

/// What one part of a multi was answered with.
#[allow(missing_docs, reason = "fields are named as in the protocol's records")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartReply {
    /// Done, and nothing to say: delete, check.
    Done,
    /// The znode created; its Stat where that was asked for.
    Created { path: String, stat: Option<Stat> },
    /// The Stat after setData.
    Stat(Stat),
    /// The znode's data.
    Data { data: Option<Vec<u8>>, stat: Stat },
    /// Names of the children.
    Children(Vec<String>),
}

/// The code of a number that a server sent: one that Java has not fails its request and no more.
pub(crate) fn code(value: i32) -> ErrorCode {
    ErrorCode::from_i32(value).unwrap_or(ErrorCode::SystemError)
}

/// A string that must be there.
pub(crate) fn string(text: Text<'_>, offset: usize) -> Result<String, DecodeError> {
    match text {
        Some(text) => Ok(text.into_owned()),
        None => Err(DecodeError::UnexpectedValue { offset, value: -1 }),
    }
}

struct Decoder<'r, 'a> {
    reader: &'r mut Reader<'a>,
    chroot: &'r Chroot,
}

impl<'a> Decoder<'_, 'a> {
    fn record<T: Decode<'a>>(&mut self) -> Result<T, DecodeError> {
        self.reader.read()
    }

    fn path(&mut self, path: Text<'_>) -> Result<String, DecodeError> {
        Ok(self.chroot.client_path(&string(path, self.reader.offset())?))
    }

    fn strings(&mut self, texts: Option<Vec<Text<'_>>>) -> Result<Vec<String>, DecodeError> {
        let offset = self.reader.offset();
        texts.unwrap_or_default().into_iter().map(|text| string(text, offset)).collect()
    }

    fn created(&mut self, has_stat: bool) -> Result<(String, Option<Stat>), DecodeError> {
        let record: CreateResponse<'a> = self.record()?;
        let path = self.path(record.path)?;
        let stat = if has_stat { Some(self.record()?) } else { None };
        Ok((path, stat))
    }

    fn data(&mut self) -> Result<(Option<Vec<u8>>, Stat), DecodeError> {
        let record: GetDataResponse<'a> = self.record()?;
        Ok((record.data.map(<[u8]>::to_vec), record.stat))
    }

    fn names(&mut self) -> Result<Vec<String>, DecodeError> {
        let record: GetChildrenResponse<'a> = self.record()?;
        self.strings(record.children)
    }

    fn acl(&mut self) -> Result<Reply, DecodeError> {
        let record: GetAclResponse<'a> = self.record()?;
        let owned = |text: Text<'_>| text.map(|text| text.into_owned().into());
        let acl = record.acl.unwrap_or_default().into_iter().map(|entry| Acl {
            perms: entry.perms,
            id: Id { scheme: owned(entry.id.scheme), id: owned(entry.id.id) },
        });
        Ok(Reply::Acl { acl: acl.collect(), stat: record.stat })
    }

    fn page(&mut self) -> Result<Reply, DecodeError> {
        let record: GetChildrenPaginatedResponse<'a> = self.record()?;
        Ok(Reply::Page {
            names: self.strings(record.children)?,
            stat: record.stat,
            next_czxid: record.next_page_czxid,
            next_offset: record.next_page_czxid_offset,
        })
    }

    /// The server matches the prefix as a string, so that it may name what is beside the chroot.
    fn ephemerals(&mut self) -> Result<Reply, DecodeError> {
        let record: GetEphemeralsResponse<'a> = self.record()?;
        let paths = self.strings(record.ephemerals)?;
        let inside = paths.iter().filter(|path| self.chroot.holds(path));
        Ok(Reply::Ephemerals(inside.map(|path| self.chroot.client_path(path)).collect()))
    }

    fn identities(&mut self) -> Result<Reply, DecodeError> {
        let record: WhoAmIResponse<'a> = self.record()?;
        let offset = self.reader.offset();
        let pairs = record.client_info.unwrap_or_default().into_iter();
        let pairs = pairs.map(|data::ClientInfo { auth_scheme, user }| {
            Ok((string(auth_scheme, offset)?, user.unwrap_or_default().into_owned()))
        });
        Ok(Reply::Identities(pairs.collect::<Result<_, _>>()?))
    }

    fn parts(&mut self, ops: &[OpCode]) -> Result<Reply, DecodeError> {
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let offset = self.reader.offset();
            let wrong = |value: i32| DecodeError::UnexpectedValue { offset, value: value.into() };
            let header = multi::next_part(self.reader)?.ok_or(wrong(-1))?;
            if header.op == OpCode::Error.to_i32() {
                let record: ErrorResponse = self.record()?;
                results.push(Err(code(record.err)));
            } else if header.op == op.to_i32() {
                results.push(Ok(self.part(*op)?));
            } else {
                return Err(wrong(header.op));
            }
        }
        let offset = self.reader.offset();
        match multi::next_part(self.reader)? {
            None => Ok(Reply::Multi(results)),
            Some(header) => Err(DecodeError::UnexpectedValue { offset, value: header.op.into() }),
        }
    }

    fn part(&mut self, op: OpCode) -> Result<PartReply, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 => {
                let (path, stat) = self.created(op == OpCode::Create2)?;
                PartReply::Created { path, stat }
            }
            OpCode::SetData => PartReply::Stat(self.record()?),
            OpCode::GetData => {
                let (data, stat) = self.data()?;
                PartReply::Data { data, stat }
            }
            OpCode::GetChildren => PartReply::Children(self.names()?),
            _ => PartReply::Done,
        })
    }
}

/// Reads the record that answers `op`; what follows it is ignored, as Java ignores it. `parts` are
/// the operations of a multi's results.
///
/// # Errors
/// Where the bytes are not that record.
pub(crate) fn decode(
    op: OpCode,
    parts: &[OpCode],
    chroot: &Chroot,
    reader: &mut Reader<'_>,
) -> Result<Reply, DecodeError> {
    let mut decoder = Decoder { reader, chroot };
    Ok(match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            let (path, stat) = decoder.created(op != OpCode::Create)?;
            Reply::Created { path, stat }
        }
        OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Reply::Stat(decoder.record()?),
        OpCode::GetData | OpCode::Reconfig => {
            let (data, stat) = decoder.data()?;
            Reply::Data { data, stat }
        }
        OpCode::GetAcl => decoder.acl()?,
        OpCode::GetChildren => Reply::Children { names: decoder.names()?, stat: None },
        OpCode::GetChildren2 => {
            let names = decoder.names()?;
            Reply::Children { names, stat: Some(decoder.record()?) }
        }
        OpCode::GetChildrenPaginated => decoder.page()?,
        OpCode::GetAllChildrenNumber => {
            let record: GetAllChildrenNumberResponse = decoder.record()?;
            Reply::Count(record.total_number)
        }
        OpCode::Sync => {
            let record: SyncResponse<'_> = decoder.record()?;
            Reply::Synced { path: decoder.path(record.path)? }
        }
        OpCode::GetEphemerals => decoder.ephemerals()?,
        OpCode::Multi | OpCode::MultiRead => decoder.parts(parts)?,
        OpCode::WhoAmI => decoder.identities()?,
        OpCode::AddWatch => {
            let _: ErrorResponse = decoder.record()?;
            Reply::Done
        }
        _ => Reply::Done,
    })
}
