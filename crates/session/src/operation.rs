//! What a session can be asked for, and how it goes to the server (Java: `ZooKeeper`).

use rookeeper_jute::multi::{self, MultiHeader};
use rookeeper_jute::proto::*;
use rookeeper_jute::{Acl, CreateMode, Encode, ErrorCode, OpCode, Text, Zxid};

use crate::path::{self, Chroot};
use crate::watches::{Table, WatchToken, WatcherType};

/// The znode that holds the ensemble's configuration; no chroot moves it.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// A znode to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its path, or what its path starts with where the mode is sequential.
    pub path: String,
    /// Its data; null is legal and distinct from empty.
    pub data: Option<Vec<u8>>,
    /// Its access control list, not empty.
    pub acl: Vec<Acl<'static>>,
    /// What becomes of it.
    pub mode: CreateMode,
    /// Its time to live in milliseconds, where the mode has one.
    pub ttl_ms: i64,
    /// Whether the answer has its Stat; it always has for containers and where there is a time to
    /// live.
    pub wants_stat: bool,
}

/// A part of a multi that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates a znode.
    Create(Create),
    /// Deletes a znode: path, version expected or -1.
    Delete(String, i32),
    /// Sets data: path, data, version expected or -1.
    SetData(String, Option<Vec<u8>>, i32),
    /// Checks a version: path, version expected or -1.
    Check(String, i32),
}

/// A part of a multi that reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Data and Stat of a znode.
    Data(String),
    /// Names of the children of a znode.
    Children(String),
}

/// What a session is asked for. Paths are the client's, below the chroot; a version of -1 is any;
/// a watch is left for whom `watch` names. The other fields are those of the protocol's records.
#[allow(missing_docs, reason = "fields are named as in the protocol's records")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates a znode.
    Create(Create),
    /// Deletes a znode.
    Delete { path: String, version: i32 },
    /// Deletes a container or TTL znode that has no children.
    DeleteContainer { path: String },
    /// Stat of a znode; the watch is kept where there is no znode, too.
    Exists { path: String, watch: Option<WatchToken> },
    /// Data and Stat.
    GetData { path: String, watch: Option<WatchToken> },
    /// Sets data.
    SetData { path: String, data: Option<Vec<u8>>, version: i32 },
    /// ACL and Stat.
    GetAcl { path: String },
    /// Sets the ACL; the version is the aversion.
    SetAcl { path: String, acl: Vec<Acl<'static>>, version: i32 },
    /// Names of the children.
    GetChildren { path: String, watch: Option<WatchToken> },
    /// Names of the children, and Stat.
    GetChildren2 { path: String, watch: Option<WatchToken> },
    /// Children by page (Helix, LinkedIn's fork).
    GetChildrenPaginated {
        path: String,
        max_returned: i32,
        min_czxid: Zxid,
        czxid_offset: i32,
        watch: Option<WatchToken>,
    },
    /// How many descendants.
    GetAllChildrenNumber { path: String },
    /// The session's ephemeral znodes whose paths start with `prefix`.
    GetEphemerals { prefix: String },
    /// Has the server catch up with the leader.
    Sync { path: String },
    /// Several writes, all or none.
    Multi(Vec<Write>),
    /// Several reads.
    MultiRead(Vec<Read>),
    /// The ensemble's configuration, whatever the chroot.
    GetConfig { watch: Option<WatchToken> },
    /// Changes the ensemble.
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        members: Option<String>,
        from_config: i64,
    },
    /// Adds a watch that stays.
    AddWatch { path: String, is_recursive: bool, watch: WatchToken },
    /// Removes watches: of one watcher, or of everybody where `watcher` is `None`. With `local`
    /// they go from the session whatever the server says. Only a watch whose reply is there can be
    /// removed: without one it is NoWatcher at once, as Java has it.
    RemoveWatches { path: String, of: WatcherType, watcher: Option<WatchToken>, local: bool },
    /// Identities of the connection.
    WhoAmI,
}

/// What becomes of a watch when the reply is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WatchChange {
    Register { path: String, table: Table, token: WatchToken },
    Remove { path: String, of: WatcherType, token: Option<WatchToken>, local: bool },
}

impl WatchChange {
    /// Where the watch is kept after a reply with this result, if it is.
    pub(crate) fn table_after(table: Table, result: Result<(), ErrorCode>) -> Option<Table> {
        match (table, result) {
            (_, Ok(())) => Some(if table == Table::Exist { Table::Data } else { table }),
            (Table::Exist | Table::Persistent | Table::Recursive, Err(ErrorCode::NoNode)) => {
                Some(table)
            }
            _ => None,
        }
    }
}

/// A request as the server sees it, and what is needed to understand the reply.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) op: OpCode,
    pub(crate) body: Vec<u8>,
    /// The reply's operation in each part of a multi.
    pub(crate) parts: Vec<OpCode>,
    pub(crate) watch: Option<WatchChange>,
}

impl Encoded {
    /// A request without a body.
    pub(crate) fn bare(op: OpCode) -> Encoded {
        Encoded { op, body: Vec::new(), parts: Vec::new(), watch: None }
    }

    fn of(op: OpCode, record: &impl Encode) -> Encoded {
        Encoded { body: record.to_bytes(), ..Encoded::bare(op) }
    }

    fn watched(mut self, path: String, table: Table, watch: Option<WatchToken>) -> Encoded {
        self.watch = watch.map(|token| WatchChange::Register { path, table, token });
        self
    }
}

fn text(text: &str) -> Text<'_> {
    Some(text.into())
}

/// The server's path.
///
/// # Errors
/// BadArguments where it is no path (Java throws `IllegalArgumentException` before sending).
fn place(chroot: &Chroot, path: &str) -> Result<String, ErrorCode> {
    path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    Ok(chroot.server_path(path))
}

fn checked_acl<'a>(acl: &[Acl<'a>]) -> Result<Option<Vec<Acl<'a>>>, ErrorCode> {
    if acl.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    Ok(Some(acl.to_vec()))
}

impl Create {
    fn op(&self) -> OpCode {
        match self.mode {
            CreateMode::Container => OpCode::CreateContainer,
            CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl => {
                OpCode::CreateTtl
            }
            _ if self.wants_stat => OpCode::Create2,
            _ => OpCode::Create,
        }
    }

    fn encode(&self, chroot: &Chroot, out: &mut Vec<u8>) -> Result<OpCode, ErrorCode> {
        // The server puts a number behind a sequential znode's path, so it may end with a slash.
        let whole =
            if self.mode.is_sequential() { format!("{}1", self.path) } else { self.path.clone() };
        let mut placed = place(chroot, &whole)?;
        if self.mode.is_sequential() {
            placed.pop();
        }
        let (path, data, acl) = (text(&placed), self.data.as_deref(), checked_acl(&self.acl)?);
        let (op, flags) = (self.op(), self.mode.to_flags());
        if op == OpCode::CreateTtl {
            CreateTtlRequest { path, data, acl, flags, ttl_ms: self.ttl_ms }.encode(out);
        } else {
            CreateRequest { path, data, acl, flags }.encode(out);
        }
        Ok(op)
    }
}

fn encode_writes(writes: &[Write], chroot: &Chroot) -> Result<Encoded, ErrorCode> {
    let mut encoded = Encoded::bare(OpCode::Multi);
    for write in writes {
        let mut body = Vec::new();
        let op = match write {
            Write::Create(create) => create.encode(chroot, &mut body)?,
            Write::Delete(path, version) => {
                let path = place(chroot, path)?;
                DeleteRequest { path: text(&path), version: *version }.encode(&mut body);
                OpCode::Delete
            }
            Write::SetData(path, data, version) => {
                let path = place(chroot, path)?;
                let (path, data, version) = (text(&path), data.as_deref(), *version);
                SetDataRequest { path, data, version }.encode(&mut body);
                OpCode::SetData
            }
            Write::Check(path, version) => {
                let path = place(chroot, path)?;
                CheckVersionRequest { path: text(&path), version: *version }.encode(&mut body);
                OpCode::Check
            }
        };
        MultiHeader::request(op.to_i32()).encode(&mut encoded.body);
        encoded.body.extend_from_slice(&body);
        // Whatever has a Stat in its answer is answered as create2.
        encoded.parts.push(match op {
            OpCode::CreateContainer | OpCode::CreateTtl => OpCode::Create2,
            op => op,
        });
    }
    multi::encode_end(&mut encoded.body);
    Ok(encoded)
}

fn encode_reads(reads: &[Read], chroot: &Chroot) -> Result<Encoded, ErrorCode> {
    let mut encoded = Encoded::bare(OpCode::MultiRead);
    for read in reads {
        let (op, path) = match read {
            Read::Data(path) => (OpCode::GetData, path),
            Read::Children(path) => (OpCode::GetChildren, path),
        };
        MultiHeader::request(op.to_i32()).encode(&mut encoded.body);
        // Both requests are a path and a flag.
        let path = place(chroot, path)?;
        GetDataRequest { path: text(&path), watch: false }.encode(&mut encoded.body);
        encoded.parts.push(op);
    }
    multi::encode_end(&mut encoded.body);
    Ok(encoded)
}

impl Operation {
    /// The request for the server.
    ///
    /// # Errors
    /// BadArguments for what is no path, InvalidAcl for an empty ACL.
    pub(crate) fn encode(&self, chroot: &Chroot) -> Result<Encoded, ErrorCode> {
        use Operation::*;
        let at = |path: &String| place(chroot, path);
        Ok(match self {
            Create(create) => {
                let mut encoded = Encoded::bare(OpCode::Create);
                encoded.op = create.encode(chroot, &mut encoded.body)?;
                encoded
            }
            Delete { path, version } => {
                let path = at(path)?;
                let request = DeleteRequest { path: text(&path), version: *version };
                Encoded::of(OpCode::Delete, &request)
            }
            DeleteContainer { path } => Encoded::of(
                OpCode::DeleteContainer,
                &DeleteContainerRequest { path: text(&at(path)?) },
            ),
            SetData { path, data, version } => {
                let (path, data, version) = (at(path)?, data.as_deref(), *version);
                let request = SetDataRequest { path: text(&path), data, version };
                Encoded::of(OpCode::SetData, &request)
            }
            GetAcl { path } => {
                Encoded::of(OpCode::GetAcl, &GetAclRequest { path: text(&at(path)?) })
            }
            SetAcl { path, acl, version } => {
                let (path, acl, version) = (at(path)?, checked_acl(acl)?, *version);
                Encoded::of(OpCode::SetAcl, &SetAclRequest { path: text(&path), acl, version })
            }
            GetEphemerals { prefix } => {
                let prefix_path = at(prefix)?;
                let request = GetEphemeralsRequest { prefix_path: text(&prefix_path) };
                Encoded::of(OpCode::GetEphemerals, &request)
            }
            GetAllChildrenNumber { path } => Encoded::of(
                OpCode::GetAllChildrenNumber,
                &GetAllChildrenNumberRequest { path: text(&at(path)?) },
            ),
            Sync { path } => Encoded::of(OpCode::Sync, &SyncRequest { path: text(&at(path)?) }),
            Multi(writes) => encode_writes(writes, chroot)?,
            MultiRead(reads) => encode_reads(reads, chroot)?,
            Reconfig { joining, leaving, members, from_config } => {
                let request = ReconfigRequest {
                    joining_servers: joining.as_deref().and_then(text),
                    leaving_servers: leaving.as_deref().and_then(text),
                    new_members: members.as_deref().and_then(text),
                    cur_config_id: *from_config,
                };
                Encoded::of(OpCode::Reconfig, &request)
            }
            WhoAmI => Encoded::bare(OpCode::WhoAmI),
            _ => self.encode_watched(chroot)?,
        })
    }

    /// The requests that change watches.
    fn encode_watched(&self, chroot: &Chroot) -> Result<Encoded, ErrorCode> {
        use Operation::*;
        let placed = match self {
            Exists { path, .. }
            | GetData { path, .. }
            | GetChildren { path, .. }
            | GetChildren2 { path, .. }
            | GetChildrenPaginated { path, .. }
            | AddWatch { path, .. }
            | RemoveWatches { path, .. } => place(chroot, path)?,
            _ => CONFIG_PATH.to_owned(),
        };
        let server_path = placed.clone();
        let path = text(&server_path);
        Ok(match self {
            Exists { watch, .. } => {
                Encoded::of(OpCode::Exists, &ExistsRequest { path, watch: watch.is_some() })
                    .watched(placed, Table::Exist, *watch)
            }
            GetChildren { watch, .. } => {
                let request = GetChildrenRequest { path, watch: watch.is_some() };
                Encoded::of(OpCode::GetChildren, &request).watched(placed, Table::Child, *watch)
            }
            GetChildren2 { watch, .. } => {
                let request = GetChildren2Request { path, watch: watch.is_some() };
                Encoded::of(OpCode::GetChildren2, &request).watched(placed, Table::Child, *watch)
            }
            GetChildrenPaginated { max_returned, min_czxid, czxid_offset, watch, .. } => {
                let request = GetChildrenPaginatedRequest {
                    path,
                    max_returned: *max_returned,
                    min_czxid: *min_czxid,
                    czxid_offset: *czxid_offset,
                    watch: watch.is_some(),
                };
                Encoded::of(OpCode::GetChildrenPaginated, &request).watched(
                    placed,
                    Table::Child,
                    *watch,
                )
            }
            AddWatch { is_recursive, watch, .. } => {
                let table = if *is_recursive { Table::Recursive } else { Table::Persistent };
                let request = AddWatchRequest { path, mode: i32::from(*is_recursive) };
                Encoded::of(OpCode::AddWatch, &request).watched(placed, table, Some(*watch))
            }
            RemoveWatches { of, watcher, local, .. } => {
                // One watcher's goes from this session alone: the server's may serve others here.
                let request = RemoveWatchesRequest { path, watcher_type: *of as i32 };
                let whose = watcher.map_or(OpCode::RemoveWatches, |_| OpCode::CheckWatches);
                let mut encoded = Encoded::of(whose, &request);
                let (of, token, local) = (*of, *watcher, *local);
                encoded.watch = Some(WatchChange::Remove { path: placed, of, token, local });
                encoded
            }
            GetData { watch, .. } | GetConfig { watch } => {
                Encoded::of(OpCode::GetData, &GetDataRequest { path, watch: watch.is_some() })
                    .watched(placed, Table::Data, *watch)
            }
            _ => unreachable!("`encode` keeps what has no watch"),
        })
    }
}
