//! What a ZooKeeper holds after each transaction, told a second time: maps and sets, no indexes, no
//! sharing with the tree crate. Replaying is strict: a transaction that does not fit the state that
//! it meets is a fault of whoever ordered it.

use std::collections::{BTreeMap, BTreeSet};

use rookeeper_jute::txn::*;
use rookeeper_jute::{Acl, Id, OpCode, Reader, SessionId, Stat, StatPersisted, Xid, Zxid};

/// The stored owner of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The mark of a time to live in a stored owner.
pub const TTL_MARK: i64 = 0xff << 56;

/// Where the ensemble's configuration is.
pub const CONFIG: &str = "/zookeeper/config";

/// One znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelNode {
    /// Its data; `None` is null.
    pub data: Option<Vec<u8>>,
    /// Its access control list.
    pub acl: Vec<Acl<'static>>,
    /// Its stat as stored.
    pub stat: StatPersisted,
    /// Names of its children.
    pub children: BTreeSet<String>,
}

impl ModelNode {
    /// The stat as clients see it.
    pub fn visible(&self) -> Stat {
        let stat = &self.stat;
        let count = self.children.len() as i32;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: 2 * stat.cversion - count,
            aversion: stat.aversion,
            ephemeral_owner: self.session().unwrap_or(SessionId(0)),
            data_length: self.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: count,
            pzxid: stat.pzxid,
        }
    }

    /// The session that owns it, if it is ephemeral.
    pub fn session(&self) -> Option<SessionId> {
        let owner = self.stat.ephemeral_owner;
        let is_session = owner != 0 && owner != CONTAINER_OWNER && owner & TTL_MARK != TTL_MARK;
        is_session.then_some(SessionId(owner))
    }
}

/// What a transaction did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// The znode was created.
    Created,
    /// The znode was deleted.
    Deleted,
    /// Its data was set.
    Changed,
    /// A child was created or deleted.
    Children,
}

/// A transaction as it was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The session that asked.
    pub session: SessionId,
    /// The number of its request.
    pub cxid: Xid,
    /// The transaction.
    pub zxid: Zxid,
    /// What it was.
    pub op: i32,
    /// The error of an error transaction, 0 otherwise.
    pub err: i32,
    /// What it touched, in order.
    pub touched: Vec<(String, Touch)>,
    /// Data that it wrote, by path.
    pub written: Vec<(String, Option<Vec<u8>>)>,
}

/// The state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    nodes: BTreeMap<String, ModelNode>,
    sessions: BTreeMap<SessionId, i32>,
    last_zxid: Zxid,
}

/// The path of a znode's parent.
pub fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn name_of(path: &str) -> &str {
    &path[path.rfind('/').map_or(0, |at| at + 1)..]
}

fn owned_acl(acl: Option<Vec<Acl<'_>>>) -> Vec<Acl<'static>> {
    let text = |text: rookeeper_jute::Text<'_>| text.map(|text| text.into_owned().into());
    let entries = acl.unwrap_or_default().into_iter();
    entries
        .map(|entry| Acl {
            perms: entry.perms,
            id: Id { scheme: text(entry.id.scheme), id: text(entry.id.id) },
        })
        .collect()
}

struct NewNode<'a> {
    path: String,
    data: Option<&'a [u8]>,
    acl: Vec<Acl<'static>>,
    owner: i64,
    parent_cversion: i32,
}

impl Default for Model {
    fn default() -> Self {
        let mut model =
            Model { nodes: BTreeMap::new(), sessions: BTreeMap::new(), last_zxid: Zxid::ZERO };
        for (path, children) in [
            ("/", &["zookeeper"][..]),
            ("/zookeeper", &["quota", "config"]),
            ("/zookeeper/quota", &[]),
            ("/zookeeper/config", &[]),
        ] {
            let node = ModelNode {
                data: Some(Vec::new()),
                acl: vec![Acl::open_unsafe()],
                stat: StatPersisted::default(),
                children: children.iter().map(|name| (*name).to_owned()).collect(),
            };
            model.nodes.insert(path.to_owned(), node);
        }
        model
    }
}

impl Model {
    /// The last transaction replayed.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The znode of a path.
    pub fn node(&self, path: &str) -> Option<&ModelNode> {
        self.nodes.get(path)
    }

    /// All znodes by path.
    pub fn nodes(&self) -> &BTreeMap<String, ModelNode> {
        &self.nodes
    }

    /// The open sessions and their timeouts in milliseconds.
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals(&self, session: SessionId) -> BTreeSet<String> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.session() == Some(session));
        nodes.map(|(path, _)| path.clone()).collect()
    }

    /// Puts a znode there without data, as a part of a multi that is only tried.
    pub(crate) fn put(&mut self, path: String, acl: Vec<Acl<'static>>, owner: i64) {
        if let Some(above) = self.nodes.get_mut(parent_of(&path)) {
            above.children.insert(name_of(&path).to_owned());
            above.stat.cversion += 1;
        }
        let stat = StatPersisted { ephemeral_owner: owner, ..StatPersisted::default() };
        let node = ModelNode { data: None, acl, stat, children: BTreeSet::new() };
        self.nodes.insert(path, node);
    }

    /// Takes a znode away, as a part of a multi that is only tried.
    pub(crate) fn take(&mut self, path: &str) {
        self.nodes.remove(path);
        if let Some(above) = self.nodes.get_mut(parent_of(path)) {
            above.children.remove(name_of(path));
        }
    }

    /// Raises a znode's version, as a part of a multi that is only tried.
    pub(crate) fn raise_version(&mut self, path: &str) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.stat.version += 1;
        }
    }

    /// Replays a transaction.
    ///
    /// # Errors
    /// Says how it does not fit.
    pub fn replay(&mut self, txn: &[u8]) -> Result<Replayed, String> {
        let mut reader = Reader::new(txn);
        let header: TxnHeader = reader.read().map_err(|error| error.to_string())?;
        let mut replayed = Replayed {
            session: header.client_id,
            cxid: header.cxid,
            zxid: header.zxid,
            op: header.txn_type,
            err: 0,
            touched: Vec::new(),
            written: Vec::new(),
        };
        if header.zxid <= self.last_zxid {
            return Err(format!("{} after {}", header.zxid, self.last_zxid));
        }
        self.last_zxid = header.zxid;
        self.record(&header, header.txn_type, &mut reader, &mut replayed)
            .map_err(|fault| format!("transaction {}: {fault}", header.zxid))?;
        Ok(replayed)
    }

    fn record(
        &mut self,
        header: &TxnHeader,
        op: i32,
        reader: &mut Reader<'_>,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let decode = |error: rookeeper_jute::DecodeError| error.to_string();
        let text = |text: rookeeper_jute::Text<'_>| text.unwrap_or_default().into_owned();
        match OpCode::from_i32(op) {
            Some(OpCode::Create | OpCode::Create2) => {
                let CreateTxn { path, data, acl, ephemeral, parent_cversion } =
                    reader.read().map_err(decode)?;
                let owner = if ephemeral { header.client_id.0 } else { 0 };
                let (path, acl) = (text(path), owned_acl(acl));
                self.create(header, NewNode { path, data, acl, owner, parent_cversion }, replayed)
            }
            Some(OpCode::CreateTtl) => {
                let CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms } =
                    reader.read().map_err(decode)?;
                let (path, acl, owner) = (text(path), owned_acl(acl), TTL_MARK | ttl_ms);
                self.create(header, NewNode { path, data, acl, owner, parent_cversion }, replayed)
            }
            Some(OpCode::CreateContainer) => {
                let CreateContainerTxn { path, data, acl, parent_cversion } =
                    reader.read().map_err(decode)?;
                let (path, acl, owner) = (text(path), owned_acl(acl), CONTAINER_OWNER);
                self.create(header, NewNode { path, data, acl, owner, parent_cversion }, replayed)
            }
            Some(OpCode::Delete | OpCode::DeleteContainer) => {
                let DeleteTxn { path } = reader.read().map_err(decode)?;
                self.delete(header.zxid, &text(path), replayed)
            }
            Some(OpCode::SetData) => {
                let SetDataTxn { path, data, version } = reader.read().map_err(decode)?;
                self.set_data(header, text(path), data, version, replayed)
            }
            Some(OpCode::Reconfig) => self.reconfigure(header, reader, replayed),
            Some(OpCode::SetAcl) => {
                let SetAclTxn { path, acl, version } = reader.read().map_err(decode)?;
                self.set_acl(&text(path), owned_acl(acl), version)
            }
            Some(OpCode::Check) => Ok(()),
            Some(OpCode::CreateSession) => {
                let CreateSessionTxn { timeout_ms } = reader.read().map_err(decode)?;
                match self.sessions.insert(header.client_id, timeout_ms) {
                    None => Ok(()),
                    Some(_) => Err(format!("session {} is created twice", header.client_id)),
                }
            }
            Some(OpCode::CloseSession) => {
                let CloseSessionTxn { paths_to_delete } = reader.read().map_err(decode)?;
                let listed = paths_to_delete.unwrap_or_default().into_iter().map(text).collect();
                self.close_session(header, &listed, replayed)
            }
            Some(OpCode::Error) => {
                let ErrorTxn { err } = reader.read().map_err(decode)?;
                replayed.err = err;
                Ok(())
            }
            Some(OpCode::Multi) => {
                let MultiTxn { txns } = reader.read().map_err(decode)?;
                self.multi(header, &txns.unwrap_or_default(), replayed)
            }
            _ => Err(format!("no replica logs operation {op}")),
        }
    }

    fn multi(
        &mut self,
        header: &TxnHeader,
        parts: &[Txn<'_>],
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let is_error = |part: &&Txn<'_>| part.txn_type == OpCode::Error.to_i32();
        if parts.iter().any(|part| is_error(&part)) {
            let mut codes = Vec::new();
            for part in parts.iter().filter(is_error) {
                let mut reader = Reader::new(part.data.unwrap_or_default());
                let error: ErrorTxn = reader.read().map_err(|error| error.to_string())?;
                codes.push(error.err);
            }
            let blamed = codes.into_iter().find(|err| *err != 0 && *err != -2);
            replayed.err = blamed.unwrap_or(-2);
            return Ok(());
        }
        for part in parts {
            let mut reader = Reader::new(part.data.unwrap_or_default());
            self.record(header, part.txn_type, &mut reader, replayed)?;
        }
        Ok(())
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        new: NewNode<'_>,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let zxid = header.zxid;
        let NewNode { path, data, acl, owner, parent_cversion } = new;
        if self.nodes.contains_key(&path) {
            return Err(format!("{path} is created and there already"));
        }
        let is_session = owner == header.client_id.0;
        if is_session && !self.sessions.contains_key(&header.client_id) {
            return Err(format!("{path} is an ephemeral of a session that is not open"));
        }
        let parent = parent_of(&path).to_owned();
        let Some(above) = self.nodes.get_mut(&parent) else {
            return Err(format!("{path} is created and its parent is not there"));
        };
        if above.session().is_some() {
            return Err(format!("{path} is created below an ephemeral"));
        }
        if parent_cversion != -1 && parent_cversion != above.stat.cversion + 1 {
            let expected = above.stat.cversion + 1;
            return Err(format!("{path} makes its parent's {parent_cversion}, not {expected}"));
        }
        above.stat.cversion += 1;
        above.stat.pzxid = zxid;
        above.children.insert(name_of(&path).to_owned());
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let data = data.map(<[u8]>::to_vec);
        replayed.written.push((path.clone(), data.clone()));
        replayed.touched.push((path.clone(), Touch::Created));
        replayed.touched.push((parent, Touch::Children));
        self.nodes.insert(path, ModelNode { data, acl, stat, children: BTreeSet::new() });
        Ok(())
    }

    fn delete(&mut self, zxid: Zxid, path: &str, replayed: &mut Replayed) -> Result<(), String> {
        match self.nodes.get(path) {
            None => return Err(format!("{path} is deleted and not there")),
            Some(node) if !node.children.is_empty() => {
                return Err(format!("{path} is deleted and has children"));
            }
            Some(_) => drop(self.nodes.remove(path)),
        }
        let parent = parent_of(path).to_owned();
        let above = self.nodes.get_mut(&parent).expect("a znode has a parent");
        above.children.remove(name_of(path));
        above.stat.pzxid = zxid;
        replayed.touched.push((path.to_owned(), Touch::Deleted));
        replayed.touched.push((parent, Touch::Children));
        Ok(())
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: String,
        data: Option<&[u8]>,
        version: i32,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(&path) else {
            return Err(format!("{path} is set and not there"));
        };
        if version != node.stat.version + 1 {
            let before = node.stat.version;
            return Err(format!("{path} goes from version {before} to {version}"));
        }
        node.data = data.map(<[u8]>::to_vec);
        node.stat.version = version;
        node.stat.mzxid = header.zxid;
        node.stat.mtime = header.time_ms;
        replayed.written.push((path.clone(), node.data.clone()));
        replayed.touched.push((path, Touch::Changed));
        Ok(())
    }

    fn reconfigure(
        &mut self,
        header: &TxnHeader,
        reader: &mut Reader<'_>,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let SetDataTxn { data, version, .. } = reader.read().map_err(|error| error.to_string())?;
        if version != -1 {
            return Err(format!("the configuration's version is {version}"));
        }
        let node = self.nodes.get_mut(CONFIG).expect("it is always there");
        node.data = data.map(<[u8]>::to_vec);
        node.stat.version = -1;
        node.stat.mzxid = header.zxid;
        node.stat.mtime = header.time_ms;
        replayed.touched.push((CONFIG.to_owned(), Touch::Changed));
        Ok(())
    }

    /// The configuration's text, and the transaction that made it; the first one was made by none.
    pub fn configuration(&self) -> (&str, Zxid) {
        let node = &self.nodes[CONFIG];
        let text = std::str::from_utf8(node.data.as_deref().unwrap_or_default());
        (text.unwrap_or_default(), node.stat.mzxid)
    }

    /// Begins with a configuration.
    pub fn begin_with(&mut self, configuration: &str) {
        let node = self.nodes.get_mut(CONFIG).expect("it is always there");
        node.data = Some(configuration.as_bytes().to_vec());
        // Java sets its ACL at every start, with the version -1.
        node.stat.aversion = -1;
    }

    fn set_acl(&mut self, path: &str, acl: Vec<Acl<'static>>, version: i32) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(path) else {
            return Err(format!("the ACL of {path} is set and it is not there"));
        };
        if version != node.stat.aversion + 1 {
            let before = node.stat.aversion;
            return Err(format!("{path} goes from aversion {before} to {version}"));
        }
        node.acl = acl;
        node.stat.aversion = version;
        Ok(())
    }

    fn close_session(
        &mut self,
        header: &TxnHeader,
        listed: &BTreeSet<String>,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let session = header.client_id;
        // Who closes a session may not know yet that the leader has closed it, in Java either;
        // nothing happens then.
        self.sessions.remove(&session);
        let owned = self.ephemerals(session);
        if owned != *listed {
            return Err(format!("session {session} owns {owned:?} and lists {listed:?}"));
        }
        for path in &owned {
            self.delete(header.zxid, path, replayed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookeeper_jute::Encode;

    fn txn(zxid: i64, op: OpCode, record: &impl Encode) -> Vec<u8> {
        let header = TxnHeader {
            client_id: SessionId(7),
            cxid: Xid(zxid as i32),
            zxid: Zxid(zxid),
            time_ms: 5,
            txn_type: op.to_i32(),
        };
        let mut bytes = header.to_bytes();
        record.encode(&mut bytes);
        bytes
    }

    fn create(path: &str, ephemeral: bool, parent_cversion: i32) -> CreateTxn<'_> {
        let acl = Some(vec![Acl::open_unsafe()]);
        CreateTxn { path: Some(path.into()), data: Some(b"x"), acl, ephemeral, parent_cversion }
    }

    fn close(paths: &[&'static str]) -> CloseSessionTxn<'static> {
        let paths = paths.iter().map(|path| Some((*path).into())).collect();
        CloseSessionTxn { paths_to_delete: Some(paths) }
    }

    #[test]
    fn ephemerals_go_with_their_session_and_only_with_it() {
        let mut model = Model::default();
        let session = CreateSessionTxn { timeout_ms: 4000 };
        model.replay(&txn(1, OpCode::CreateSession, &session)).unwrap();
        model.replay(&txn(2, OpCode::Create, &create("/a", true, 1))).unwrap();
        let root = model.node("/").unwrap();
        assert_eq!((root.stat.cversion, root.visible().num_children), (1, 2));
        let mut other = model.clone();
        let fault = other.replay(&txn(3, OpCode::CloseSession, &close(&[]))).unwrap_err();
        assert!(fault.contains("owns"), "{fault}");
        let replayed = model.replay(&txn(3, OpCode::CloseSession, &close(&["/a"]))).unwrap();
        assert_eq!(replayed.touched[0], ("/a".to_owned(), Touch::Deleted));
        assert!(model.node("/a").is_none() && model.sessions().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut model = Model::default();
        let refused = |model: &mut Model, bytes: &[u8]| model.clone().replay(bytes).is_err();
        assert!(refused(&mut model, &txn(1, OpCode::Create, &create("/a/b", false, 1))));
        assert!(refused(&mut model, &txn(1, OpCode::Create, &create("/a", true, 1))));
        assert!(refused(&mut model, &txn(1, OpCode::Create, &create("/a", false, 5))));
        model.replay(&txn(1, OpCode::Create, &create("/a", false, 1))).unwrap();
        assert!(refused(&mut model, &txn(1, OpCode::Create, &create("/b", false, 2))));
        assert!(refused(&mut model, &txn(2, OpCode::Create, &create("/a", false, 2))));
        let set = |version| SetDataTxn { path: Some("/a".into()), data: None, version };
        assert!(refused(&mut model, &txn(2, OpCode::SetData, &set(2))));
        model.replay(&txn(2, OpCode::SetData, &set(1))).unwrap();
        assert_eq!(model.node("/a").unwrap().visible().data_length, 0);
        let delete = DeleteTxn { path: Some("/zookeeper".into()) };
        assert!(refused(&mut model, &txn(3, OpCode::Delete, &delete)));
    }
}
