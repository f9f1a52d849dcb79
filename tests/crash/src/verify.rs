//! The server's state against the models.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rookeeper_jute::proto::{
    GetChildrenRequest, GetChildrenResponse, GetDataRequest, GetDataResponse, GetEphemeralsRequest,
    GetEphemeralsResponse,
};
use rookeeper_jute::{Decode, Encode, ErrorCode, OpCode, SessionId, Stat};

use crate::lane::Lane;
use crate::model::{State, Znode};
use crate::wire::{Wire, four_letter_word};

/// A znode as the server shows it.
type Shown = (Vec<u8>, Stat);

fn read_children(wire: &mut Wire, path: &str) -> Result<Vec<String>, String> {
    let request = GetChildrenRequest { path: Some(path.into()), watch: false }.to_bytes();
    let reply = wire.ask(OpCode::GetChildren, &request).map_err(|e| e.to_string())?;
    if reply.err == ErrorCode::NoNode.to_i32() {
        return Ok(Vec::new());
    }
    let response = GetChildrenResponse::from_bytes(&reply.body).map_err(|e| e.to_string())?;
    let names = response.children.unwrap_or_default();
    Ok(names.into_iter().flatten().map(|name| name.into_owned()).collect())
}

/// All znodes of a lane, as the server shows them.
fn read_lane(wire: &mut Wire, root: &str) -> Result<BTreeMap<String, Shown>, String> {
    let mut shown = BTreeMap::new();
    for name in read_children(wire, root)? {
        let path = format!("{root}/{name}");
        let request = GetDataRequest { path: Some(path.as_str().into()), watch: false };
        let reply = wire.ask(OpCode::GetData, &request.to_bytes()).map_err(|e| e.to_string())?;
        if reply.err != 0 {
            return Err(format!("{path} is listed and answers {}", reply.err));
        }
        let response = GetDataResponse::from_bytes(&reply.body).map_err(|e| e.to_string())?;
        shown.insert(path, (response.data.unwrap_or_default().to_vec(), response.stat));
    }
    Ok(shown)
}

/// Where `state` and what is shown differ, `None` where they do not.
fn difference(
    state: &State,
    shown: &BTreeMap<String, Shown>,
    session: Option<SessionId>,
) -> Option<String> {
    for (path, znode) in &state.znodes {
        let Some((data, stat)) = shown.get(path) else { return Some(format!("{path} is lost")) };
        let owner = if znode.ephemeral { session.unwrap_or_default() } else { SessionId(0) };
        let Znode { version, mzxid, .. } = znode;
        if *data != znode.data {
            let (want, got) = (znode.data.len(), data.len());
            return Some(format!("{path} has other data ({got} bytes, not {want})"));
        }
        if stat.version != *version || mzxid.is_some_and(|mzxid| mzxid != stat.mzxid) {
            return Some(format!("{path} has {stat:?}, not version {version} of {mzxid:?}"));
        }
        if stat.ephemeral_owner != owner {
            return Some(format!("{path} belongs to {}, not {owner}", stat.ephemeral_owner));
        }
    }
    let extra = shown.keys().find(|path| !state.znodes.contains_key(*path));
    extra.map(|path| format!("{path} should not be there"))
}

/// Holds a lane against the server: its znodes must be what it knows to be sure and some whole
/// prefix of what was in flight. The lane goes on from there.
///
/// # Errors
/// What is lost, torn or too much.
pub fn verify_lane(address: SocketAddr, lane: &mut Lane) -> Result<(), String> {
    let at = |why: String| format!("lane {}: {why}", lane.number);
    let mut control = Wire::connect(address, None)
        .map_err(|error| at(error.to_string()))?
        .ok_or_else(|| at("no new session".to_owned()))?;
    let shown = read_lane(&mut control, &lane.root()).map_err(at)?;
    let _ = control.ask(OpCode::CloseSession, &[]);
    let session = lane.session.as_ref().map(|session| session.id);
    let mut state = lane.sure.clone();
    let mut matching = Vec::new();
    let mut nearest = difference(&state, &shown, session);
    for taken in 0..=lane.in_flight.len() {
        if taken > 0 {
            state.apply(&lane.in_flight[taken - 1], None);
        }
        match difference(&state, &shown, session) {
            None => matching.push(state.clone()),
            Some(why) => nearest = nearest.or(Some(why)),
        }
    }
    let alive = is_alive(address, lane).map_err(at)?;
    let Some(mut state) = matching.into_iter().find(|state| state.closed != alive) else {
        let (count, why) = (lane.in_flight.len(), nearest.unwrap_or_default());
        return Err(at(format!(
            "no prefix of the {count} writes in flight explains what is there (session alive: \
             {alive}): {why}"
        )));
    };
    for (path, znode) in &mut state.znodes {
        znode.mzxid = shown.get(path).map(|(_, stat)| stat.mzxid);
    }
    if state.closed {
        state.closed = false;
        lane.session = None;
    }
    lane.sure = state;
    lane.in_flight.clear();
    Ok(())
}

/// Resumes the lane's session and asks for its ephemerals. A lane without a session counts as
/// alive: nothing of it was closed.
fn is_alive(address: SocketAddr, lane: &Lane) -> Result<bool, String> {
    let Some(session) = &lane.session else { return Ok(true) };
    let wire = Wire::connect(address, Some(session)).map_err(|error| error.to_string())?;
    let Some(mut wire) = wire else { return Ok(false) };
    if wire.session != *session {
        return Err(format!("resumed {:?} as {:?}", session.id, wire.session.id));
    }
    let request = GetEphemeralsRequest { prefix_path: Some("/".into()) }.to_bytes();
    let reply = wire.ask(OpCode::GetEphemerals, &request).map_err(|e| e.to_string())?;
    let response = GetEphemeralsResponse::from_bytes(&reply.body).map_err(|e| e.to_string())?;
    for path in response.ephemerals.unwrap_or_default().into_iter().flatten() {
        if !path.starts_with(&format!("{}/e", lane.root())) {
            return Err(format!("session {:?} owns {path}", session.id));
        }
    }
    Ok(true)
}

/// The server compares the digest of each transaction in the log with its tree, at recovery and
/// after: it must have told no mismatch, neither in its output nor by `mntr`.
///
/// # Errors
/// Any mismatch, or no answer.
pub fn verify_digest(address: SocketAddr, output: &str) -> Result<(), String> {
    let told = output.lines().find(|line| {
        let line = line.to_lowercase();
        line.contains("error") && line.contains("digest")
    });
    if let Some(line) = told {
        return Err(format!("recovery says: {line}"));
    }
    let text = four_letter_word(address, "mntr").map_err(|error| format!("mntr: {error}"))?;
    if !text.contains("zk_znode_count") {
        return Err(format!("mntr answers {text:?}"));
    }
    let line = text.lines().find(|line| line.starts_with("zk_digest_mismatches_count"));
    match line.and_then(|line| line.split_whitespace().nth(1)) {
        None | Some("0") => Ok(()),
        Some(count) => Err(format!("{count} digests of the log do not fit the tree")),
    }
}
