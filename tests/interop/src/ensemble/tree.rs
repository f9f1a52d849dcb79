//! All znodes as one member shows them.

use super::client::{Client, Event};
use crate::request::{self, Request};
use crate::wire::{Reader, opcode};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// A znode with everything that a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Its Stat, as bytes on the wire.
    pub stat: Vec<u8>,
    /// Its ACL, as bytes on the wire.
    pub acl: Vec<u8>,
    /// Zxid of the transaction that made it.
    pub czxid: i64,
    /// Zxid of the last change of its data.
    pub mzxid: i64,
    /// How often its data were set.
    pub version: i32,
    /// The session that it goes with; 0 for none.
    pub ephemeral_owner: i64,
}

/// Znodes by path.
pub type Tree = BTreeMap<String, Znode>;

/// Reads the Stat that stands at the end of a reply: (czxid, mzxid, version, owner).
fn stat_fields(stat: &[u8]) -> Option<(i64, i64, i32, i64)> {
    let mut reader = Reader::new(stat);
    let (czxid, mzxid) = (reader.long().ok()?, reader.long().ok()?);
    reader.long().ok()?;
    reader.long().ok()?;
    let version = reader.int().ok()?;
    reader.int().ok()?;
    reader.int().ok()?;
    Some((czxid, mzxid, version, reader.long().ok()?))
}

/// Data and Stat of a `getData` reply.
pub fn read_data(body: &[u8]) -> Option<(Option<Vec<u8>>, Znode)> {
    let mut reader = Reader::new(body);
    let data = reader.buffer().ok()?.map(<[u8]>::to_vec);
    let stat = reader.rest().to_vec();
    let (czxid, mzxid, version, ephemeral_owner) = stat_fields(&stat)?;
    let acl = Vec::new();
    let znode = Znode { data: data.clone(), stat, acl, czxid, mzxid, version, ephemeral_owner };
    Some((data, znode))
}

/// The names of a `getChildren` reply.
fn read_names(body: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(body);
    let count = reader.count().ok()??;
    (0..count).map(|_| String::from_utf8(reader.buffer().ok()??.to_vec()).ok()).collect()
}

/// Requests in flight while a tree is read.
const WINDOW: usize = 200;

/// Asks for each path of a list, in order; the replies' bodies come back in that order.
fn ask_all(client: &mut Client, requests: Vec<Request>) -> Result<Vec<(i32, Vec<u8>)>, String> {
    let mut waiting: VecDeque<i32> = VecDeque::new();
    let mut replies = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter().peekable();
    while requests.peek().is_some() || !waiting.is_empty() {
        while waiting.len() < WINDOW
            && let Some(request) = requests.next()
        {
            waiting.push_back(client.send(request));
        }
        match client.receive() {
            Event::Reply(reply) if Some(reply.xid) == waiting.pop_front() => {
                replies.push((reply.error, reply.body));
            }
            Event::Reply(reply) => return Err(format!("reply {} out of turn", reply.xid)),
            Event::Watch(_) => {}
            Event::Lost => return Err("the connection ended while the tree was read".to_owned()),
        }
    }
    Ok(replies)
}

/// All znodes under and with `/`, after a sync; the node of the configuration, which is each
/// member's own, is left out.
///
/// # Errors
/// Where the member does not answer, or in ways that contradict each other.
pub fn read_tree(address: SocketAddr) -> Result<Tree, String> {
    let mut client = Client::of_one(address);
    let root = request::text("/");
    let synced = client.ask(request::path_only(opcode::SYNC, &root)).ok_or("no sync")?;
    if synced.error != 0 {
        return Err(format!("sync answers {}", synced.error));
    }
    let mut tree = Tree::new();
    let mut level = vec!["/".to_owned()];
    while !level.is_empty() {
        level = read_level(&mut client, &level, &mut tree)?;
    }
    client.ask(request::close_session());
    Ok(tree)
}

/// Reads the znodes of these paths and returns the paths of their children.
fn read_level(
    client: &mut Client,
    paths: &[String],
    tree: &mut Tree,
) -> Result<Vec<String>, String> {
    let requests = paths.iter().flat_map(|path| {
        let path = request::text(path);
        [
            request::read(opcode::GET_DATA, &path, false),
            request::path_only(opcode::GET_ACL, &path),
            request::read(opcode::GET_CHILDREN, &path, false),
        ]
    });
    let replies = ask_all(client, requests.collect())?;
    let mut next = Vec::new();
    for (path, replies) in paths.iter().zip(replies.chunks_exact(3)) {
        if let Some((error, _)) = replies.iter().find(|(error, _)| *error != 0) {
            return Err(format!("{path} answers {error} while nobody writes"));
        }
        let (_, mut znode) = read_data(&replies[0].1).ok_or("a getData reply ends early")?;
        znode.acl.clone_from(&replies[1].1);
        let names = read_names(&replies[2].1).ok_or("a getChildren reply ends early")?;
        tree.insert(path.clone(), znode);
        let children = names.into_iter().map(|name| match path.as_str() {
            "/" => format!("/{name}"),
            _ => format!("{path}/{name}"),
        });
        next.extend(children.filter(|child| child != "/zookeeper/config"));
    }
    Ok(next)
}

/// Where two trees differ first, in words.
pub fn difference(one: &Tree, other: &Tree) -> Option<String> {
    for path in one.keys().chain(other.keys()) {
        let (a, b) = (one.get(path), other.get(path));
        if a != b {
            return Some(format!("{path}:\n  {a:?}\n  {b:?}"));
        }
    }
    None
}
