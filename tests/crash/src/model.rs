//! What a lane's znodes must be: operations, and the state that a sequence of them makes.

use std::collections::BTreeMap;

use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::proto::{CreateRequest, DeleteRequest, SetDataRequest};
use rookeeper_jute::{Acl, CreateMode, Encode, OpCode, Zxid};

/// A write of a lane. Those in flight together are valid one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A new znode; an ephemeral one belongs to the lane's session.
    Create {
        /// The znode.
        path: String,
        /// Its data.
        data: Vec<u8>,
        /// Whether it goes with the session.
        ephemeral: bool,
    },
    /// New data.
    Set {
        /// The znode.
        path: String,
        /// Its data.
        data: Vec<u8>,
    },
    /// A znode less.
    Delete {
        /// The znode.
        path: String,
    },
    /// Several of the above, all or none.
    Multi(Vec<Write>),
    /// The end of the session, and of its ephemerals.
    Close,
}

/// A znode as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// Its data.
    pub data: Vec<u8>,
    /// How often they were set.
    pub version: i32,
    /// Whether it belongs to the lane's session.
    pub ephemeral: bool,
    /// Zxid of its last change, where a reply told.
    pub mzxid: Option<Zxid>,
}

/// All znodes of a lane, and whether its session lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Path to znode.
    pub znodes: BTreeMap<String, Znode>,
    /// Whether the session was closed.
    pub closed: bool,
}

impl State {
    /// Applies a write that succeeded; `mzxid` is the zxid that its reply told, if any.
    pub fn apply(&mut self, write: &Write, mzxid: Option<Zxid>) {
        match write {
            Write::Create { path, data, ephemeral } => {
                let znode = Znode { data: data.clone(), version: 0, ephemeral: *ephemeral, mzxid };
                let before = self.znodes.insert(path.clone(), znode);
                assert!(before.is_none(), "{path} was made twice");
            }
            Write::Set { path, data } => {
                let znode = self.znodes.get_mut(path).expect("a set follows its create");
                znode.data.clone_from(data);
                znode.version += 1;
                znode.mzxid = mzxid;
            }
            Write::Delete { path } => {
                assert!(self.znodes.remove(path).is_some(), "a delete follows its create");
            }
            Write::Multi(parts) => {
                for part in parts {
                    self.apply(part, mzxid);
                }
            }
            Write::Close => {
                self.znodes.retain(|_, znode| !znode.ephemeral);
                self.closed = true;
            }
        }
    }
}

impl Write {
    /// The operation on the wire.
    pub fn op(&self) -> OpCode {
        match self {
            Write::Create { .. } => OpCode::Create,
            Write::Set { .. } => OpCode::SetData,
            Write::Delete { .. } => OpCode::Delete,
            Write::Multi(_) => OpCode::Multi,
            Write::Close => OpCode::CloseSession,
        }
    }

    /// The record on the wire. A multi holds plain writes only, so this goes one level down.
    pub fn body(&self) -> Vec<u8> {
        let Write::Multi(parts) = self else { return self.plain_body() };
        let mut body = Vec::new();
        for part in parts {
            MultiHeader::request(part.op().to_i32()).encode(&mut body);
            body.extend_from_slice(&part.plain_body());
        }
        encode_end(&mut body);
        body
    }

    fn plain_body(&self) -> Vec<u8> {
        match self {
            Write::Create { path, data, ephemeral } => {
                let mode = if *ephemeral { CreateMode::Ephemeral } else { CreateMode::Persistent };
                CreateRequest {
                    path: Some(path.as_str().into()),
                    data: Some(data),
                    acl: Some(vec![Acl::open_unsafe()]),
                    flags: mode.to_flags(),
                }
                .to_bytes()
            }
            Write::Set { path, data } => {
                let path = Some(path.as_str().into());
                SetDataRequest { path, data: Some(data), version: -1 }.to_bytes()
            }
            Write::Delete { path } => {
                DeleteRequest { path: Some(path.as_str().into()), version: -1 }.to_bytes()
            }
            Write::Multi(_) | Write::Close => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_takes_the_ephemerals_and_nothing_else() {
        let mut state = State::default();
        for (path, ephemeral) in [("/a", false), ("/b", true)] {
            let (path, data) = (path.to_owned(), vec![1]);
            state.apply(&Write::Create { path, data, ephemeral }, None);
        }
        state.apply(&Write::Set { path: "/a".to_owned(), data: vec![2] }, Some(Zxid(9)));
        state.apply(&Write::Close, None);
        assert!(state.closed);
        assert_eq!(state.znodes.keys().collect::<Vec<_>>(), ["/a"]);
        let znode = &state.znodes["/a"];
        assert_eq!((znode.version, znode.mzxid, &znode.data[..]), (1, Some(Zxid(9)), &[2][..]));
    }
}
