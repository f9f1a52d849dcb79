//! Reads (Java: `FinalRequestProcessor`). A read changes nothing; what watch it leaves is told to
//! the caller, who keeps the watches.
//!
//! # Layout
//! - [`children`]: names of children, all or by page
//! - [`multi`]: the parts of a multiRead

pub mod children;
pub mod multi;

use std::borrow::Cow;

use rookeeper_jute::data::{ClientInfo, perms};
use rookeeper_jute::proto::{
    ExistsRequest, GetAclRequest, GetAllChildrenNumberRequest, GetChildren2Request,
    GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, SyncRequest,
};
use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Acl, Encode, ErrorCode, Id, OpCode, SessionId};

use crate::acls::{AclIndex, AclList};
use crate::auth::{AccessControl, Identity};
use crate::prepare::request::reader;
use crate::tree::Tree;
use crate::znodes::NodeId;

/// One read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// What it asks for.
    pub op: OpCode,
    /// The request's record.
    pub body: &'a [u8],
    /// The session that asks.
    pub session: SessionId,
    /// The identities of the connection.
    pub identities: &'a [Identity],
}

/// What becomes of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The result in the reply's header; there is a body only where it is Ok.
    pub err: ErrorCode,
    /// The one-shot watch that the read leaves. exists leaves one on a znode that is missing, with
    /// NoNode as its result.
    pub watch: Option<WatchWanted<'a>>,
}

/// A one-shot watch that a read asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchWanted<'a> {
    /// The path as the client sent it.
    pub path: Cow<'a, str>,
    /// What is watched.
    pub kind: WatchKind,
}

/// What a one-shot watch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// The znode and its data: getData and exists.
    Data,
    /// Its children: getChildren, getChildren2 and the last page of getChildrenPaginated.
    Child,
}

/// The watch of a read that succeeds.
type Watch<'a> = Option<WatchWanted<'a>>;

impl Tree {
    /// Answers a read into `out`, body only; where the result is an error, `out` is as before.
    pub fn query<'a>(
        &self,
        read: &ReadRequest<'a>,
        access: &AccessControl,
        out: &mut Vec<u8>,
    ) -> Answer<'a> {
        let start = out.len();
        let query = Query { tree: self, access, identities: read.identities };
        let result = match read.op {
            OpCode::Exists => match query.exists(read.body, out) {
                Ok(answer) => return answer,
                Err(err) => Err(err),
            },
            OpCode::GetData => query.get_data(read.body, out),
            OpCode::GetAcl => query.get_acl(read.body, out),
            OpCode::GetChildren => query.get_children(read.body, out),
            OpCode::GetChildren2 => query.get_children2(read.body, out),
            OpCode::GetChildrenPaginated => query.get_children_paginated(read.body, out),
            OpCode::GetAllChildrenNumber => query.get_all_children_number(read.body, out),
            OpCode::GetEphemerals => query.get_ephemerals(read.session, read.body, out),
            OpCode::MultiRead => query.multi_read(read.body, out),
            OpCode::WhoAmI => query.who_am_i(out),
            OpCode::Sync => query.sync(read.body, out),
            _ => Err(ErrorCode::Unimplemented),
        };
        match result {
            Ok(watch) => Answer { err: ErrorCode::Ok, watch },
            Err(err) => {
                out.truncate(start);
                Answer { err, watch: None }
            }
        }
    }
}

/// What all reads need.
struct Query<'q> {
    tree: &'q Tree,
    access: &'q AccessControl,
    identities: &'q [Identity],
}

impl Query<'_> {
    /// A missing znode is no obstacle to its watch; one that may not be read is.
    fn exists<'a>(&self, body: &'a [u8], out: &mut Vec<u8>) -> Result<Answer<'a>, ErrorCode> {
        let ExistsRequest { path, watch } = decode(body)?;
        let path = not_null(path)?;
        if path.as_bytes().contains(&0) {
            return Err(ErrorCode::BadArguments);
        }
        let err = match self.tree.znodes().lookup(&path) {
            Some(id) => {
                let znode = self.tree.znodes().view(id);
                self.check_acl(znode.acl, perms::READ)?;
                znode.stat.encode(out);
                ErrorCode::Ok
            }
            None => ErrorCode::NoNode,
        };
        Ok(Answer { err, watch: wanted(watch, path, WatchKind::Data) })
    }

    fn get_data<'a>(&self, body: &'a [u8], out: &mut Vec<u8>) -> Result<Watch<'a>, ErrorCode> {
        let GetDataRequest { path, watch } = decode(body)?;
        let path = not_null(path)?;
        self.encode_data(&path, out)?;
        Ok(wanted(watch, path, WatchKind::Data))
    }

    fn encode_data(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let znode = self.tree.znodes().view(self.lookup(path)?);
        self.check_acl(znode.acl, perms::READ)?;
        znode.data.encode(out);
        znode.stat.encode(out);
        Ok(())
    }

    /// Without ADMIN, the hashes of passwords are masked.
    fn get_acl<'a>(&self, body: &'a [u8], out: &mut Vec<u8>) -> Result<Watch<'a>, ErrorCode> {
        let GetAclRequest { path } = decode(body)?;
        let id = self.lookup(&not_null(path)?)?;
        self.check(id, perms::READ | perms::ADMIN)?;
        let open = AclList::open_unsafe();
        let acl = self.tree.acls().get(self.tree.znodes().acl(id));
        let entries = acl.map_or(open.entries(), |acl| acl.entries());
        let masks = self.check(id, perms::ADMIN).is_err();
        encode_vector_len(entries.len(), out);
        for entry in entries {
            if masks { masked(entry).encode(out) } else { entry.encode(out) }
        }
        self.tree.znodes().stat(id).encode(out);
        Ok(None)
    }

    /// All descendants, and for the root's other name the root as well, as Java counts them.
    fn get_all_children_number<'a>(
        &self,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let GetAllChildrenNumberRequest { path } = decode(body)?;
        let path = not_null(path)?;
        let id = self.readable(&path)?;
        let count = self.tree.znodes().descendants(id) + u64::from(path.is_empty());
        i32::try_from(count).unwrap_or(i32::MAX).encode(out);
        Ok(None)
    }

    /// The prefix is a plain string, and no access is checked: they are the caller's own.
    fn get_ephemerals<'a>(
        &self,
        session: SessionId,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let GetEphemeralsRequest { prefix_path } = decode(body)?;
        let prefix = prefix_path.as_deref().unwrap_or_default();
        let blank = prefix.trim_matches(|c| c <= ' ');
        let prefix = if matches!(blank, "" | "/") { "" } else { prefix };
        let count_at = out.len();
        encode_vector_len(0, out);
        let mut count = 0i32;
        for path in self.tree.ephemerals(session).filter(|path| path.starts_with(prefix)) {
            path.as_str().encode(out);
            count += 1;
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        Ok(None)
    }

    fn who_am_i<'a>(&self, out: &mut Vec<u8>) -> Result<Watch<'a>, ErrorCode> {
        encode_vector_len(self.identities.len(), out);
        for Identity { scheme, id } in self.identities {
            let user = match self.access.provider(scheme) {
                Some(provider) => provider.user_name(id).ok_or(ErrorCode::MarshallingError)?,
                None => "",
            };
            let info =
                ClientInfo { auth_scheme: Some((&**scheme).into()), user: Some(user.into()) };
            info.encode(out);
        }
        Ok(None)
    }

    /// The path comes back unseen; waiting for the leader is the core's part.
    fn sync<'a>(&self, body: &'a [u8], out: &mut Vec<u8>) -> Result<Watch<'a>, ErrorCode> {
        let request: SyncRequest<'_> = decode(body)?;
        request.path.encode(out);
        Ok(None)
    }

    fn lookup(&self, path: &str) -> Result<NodeId, ErrorCode> {
        self.tree.znodes().lookup(path).ok_or(ErrorCode::NoNode)
    }

    fn readable(&self, path: &str) -> Result<NodeId, ErrorCode> {
        let id = self.lookup(path)?;
        self.check(id, perms::READ)?;
        Ok(id)
    }

    fn check(&self, id: NodeId, perm: i32) -> Result<(), ErrorCode> {
        self.check_acl(self.tree.znodes().acl(id), perm)
    }

    fn check_acl(&self, acl: AclIndex, perm: i32) -> Result<(), ErrorCode> {
        let acl = self.tree.acls().get(acl);
        self.access.check(acl.map(|acl| &**acl), perm, self.identities)
    }
}

fn decode<'a, T: rookeeper_jute::Decode<'a>>(body: &'a [u8]) -> Result<T, ErrorCode> {
    reader(body).read().map_err(|_| ErrorCode::MarshallingError)
}

fn not_null(path: Option<Cow<'_, str>>) -> Result<Cow<'_, str>, ErrorCode> {
    path.ok_or(ErrorCode::MarshallingError)
}

fn wanted(watch: bool, path: Cow<'_, str>, kind: WatchKind) -> Watch<'_> {
    if watch { Some(WatchWanted { path, kind }) } else { None }
}

/// A digest entry without its hash: `user:x`.
fn masked<'e>(entry: &'e Acl<'_>) -> Acl<'e> {
    let scheme = entry.id.scheme.as_deref();
    let id = entry.id.id.as_deref();
    let masked = match (scheme, id) {
        (Some("digest"), Some(id)) => {
            id.split_once(':').map(|(user, _)| Cow::Owned(format!("{user}:x")))
        }
        _ => None,
    };
    let id = masked.or(id.map(Cow::Borrowed));
    Acl { perms: entry.perms, id: Id { scheme: scheme.map(Cow::Borrowed), id } }
}
