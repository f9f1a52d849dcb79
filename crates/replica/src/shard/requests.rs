//! Answers that need no order with other sessions: reads of the tree, requests about this shard's
//! watches, identities (Java: `FinalRequestProcessor`, `ZooKeeperServer.processPacket`).

use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::proto::{
    AddWatchRequest, AuthPacket, CheckWatchesRequest, GetSaslRequest, RemoveWatchesRequest,
    SetWatches, SetWatches2,
};
use rookeeper_jute::wire::{Buffer, Decode};
use rookeeper_jute::{Encode, ErrorCode, OpCode, Reader, Xid, Zxid, limits};
use rookeeper_tree::auth::{ConnectionInfo, Identity};
use rookeeper_tree::{AccessControl, ReadRequest, WatchWanted, namespaces};

use super::gate::Request;
use super::{Shard, ShardEffects, Turn};
use crate::close::CloseReason;
use crate::ids::Now;
use crate::message::LeftWatch;
use crate::reply;
use crate::shared::Shared;
use crate::watch::{AddWatchMode, Restore, WatcherType};

/// The zxid in the reply to an invalid operation: it never got one (Java: `Request.zxid`).
const NO_REQUEST_ZXID: Zxid = Zxid(-1);

/// A longer reply has no length that its frame could say, in bytes.
const REPLY_LEN_MAX: usize = i32::MAX as usize;

/// Answers a read from the tree into `out`, the whole frame; returns the watch that it leaves.
pub(crate) fn read_into<'a>(
    shared: &Shared,
    access: &AccessControl,
    xid: Xid,
    read: &ReadRequest<'a>,
    out: &mut Vec<u8>,
) -> Option<WatchWanted<'a>> {
    let start = reply::begin(out);
    let zxid = shared.tree.last_processed_zxid();
    if read.op == OpCode::Ping {
        reply::end(out, start, Xid::PING, zxid, 0);
        return None;
    }
    let answer = shared.tree.query(read, access, out);
    if out.len() - start > REPLY_LEN_MAX {
        out.truncate(start);
        reply::header_only(out, xid, zxid, ErrorCode::MarshallingError);
        return None;
    }
    reply::end(out, start, xid, zxid, answer.err.to_i32());
    answer.watch
}

impl Shard {
    /// Answers a read.
    #[inline]
    pub(super) fn read(
        &mut self,
        index: usize,
        request: Request<'_>,
        op: OpCode,
        turn: &mut Turn<'_>,
    ) {
        self.output_mut(index);
        let connection = &mut self.connections[index];
        let start = connection.output.len();
        let read = ReadRequest {
            op,
            body: request.body,
            session: connection.session_id,
            identities: request.identities.unwrap_or(&connection.identities),
        };
        let out = &mut connection.output;
        let watch = read_into(turn.shared, &self.access, request.xid, &read, out);
        let watch = watch.map(LeftWatch::from);
        self.count_read(index, start, op, request.body);
        if let Some(watch) = watch {
            self.leave_watch(index, &watch, turn.shared);
        }
        self.answered(index, start, request, turn);
    }

    /// Counts what a read of a znode has read, as Java does: its path, its data or its children's
    /// names, and a Stat (`DataTree.updateReadStat`).
    #[inline]
    fn count_read(&mut self, index: usize, start: usize, op: OpCode, body: &[u8]) {
        let overhead = match op {
            OpCode::Exists => 0,
            OpCode::GetData | OpCode::GetChildren2 => namespaces::READ_OVERHEAD,
            OpCode::GetChildren => 0,
            _ => return,
        };
        let reply = self.connections[index].output[start..].get(reply::PREFIX_LEN..);
        let Some(reply) = reply.filter(|reply| !reply.is_empty()) else { return };
        // The path comes first; it was decoded before, or there would be no answer.
        let Some(path) = body.get(4..).and_then(|rest| {
            let len = i32::from_be_bytes(body[..4].try_into().ok()?);
            std::str::from_utf8(rest.get(..usize::try_from(len).ok()?)?).ok()
        }) else {
            return;
        };
        let content = match op {
            OpCode::Exists => 0,
            OpCode::GetData => (reply.len() as u64).saturating_sub(4 + overhead),
            _ => {
                // Each name has its length before it.
                let count = reply.get(..4).and_then(|count| count.try_into().ok());
                let count = count.map_or(0, i32::from_be_bytes).max(0) as u64;
                (reply.len() as u64).saturating_sub(4 + overhead + 4 * count)
            }
        };
        let read = path.len() as u64 + content + namespaces::READ_OVERHEAD;
        self.counters.read_namespaces.add(path, read);
    }

    /// Registers the watch that a read leaves.
    pub(super) fn leave_watch(&mut self, index: usize, left: &LeftWatch, shared: &Shared) {
        self.watches.add(self.connections.key(index), &left.path, left.watch);
        self.publish(shared);
    }

    /// Answers a request about watches, or refuses an invalid operation.
    pub(super) fn local(
        &mut self,
        index: usize,
        request: Request<'_>,
        op: Option<OpCode>,
        turn: &mut Turn<'_>,
    ) {
        let mut body = Reader::with_len_max(request.body, 2 * self.config.jute_maxbuffer);
        let result = match op {
            Some(OpCode::SetWatches) => self.set_watches(index, &mut body, turn),
            Some(OpCode::SetWatches2) => self.set_watches2(index, &mut body, turn),
            Some(OpCode::AddWatch) => self.add_watch(index, &mut body),
            Some(OpCode::CheckWatches) => self.check_watches(index, &mut body),
            Some(OpCode::RemoveWatches) => self.remove_watches(index, &mut body),
            _ => return self.refuse_operation(index, request, turn),
        };
        self.publish(turn.shared);
        let zxid = turn.shared.tree.last_processed_zxid();
        let out = self.output_mut(index);
        let start = reply::begin(out);
        if op == Some(OpCode::AddWatch) && result.is_ok() {
            0i32.encode(out);
        }
        let err = result.err().unwrap_or(ErrorCode::Ok);
        reply::end(out, start, request.xid, zxid, err.to_i32());
        self.answered(index, start, request, turn);
    }

    /// Takes note of an answer that was appended to the output from `start` on.
    #[inline]
    fn answered(&mut self, index: usize, start: usize, request: Request<'_>, turn: &mut Turn<'_>) {
        let connection = &mut self.connections[index];
        let len = connection.output.len() - start;
        if request.xid.0 > 0 {
            connection.outstanding = connection.outstanding.saturating_sub(1);
        }
        let latency_ms = elapsed_ms(request.received_us, turn.now);
        let zxid = turn.shared.tree.last_processed_zxid();
        connection.stats.answered(request.op, request.xid, zxid, turn.now, latency_ms);
        connection.stats.sent += 1;
        self.counters.read_latency_ms.add(u64::from(latency_ms));
        self.counters.latency_ms.add(u64::from(latency_ms));
        self.count_sent(len);
        turn.output_left = turn.output_left.saturating_sub(len);
        self.announce(index, turn.effects);
    }

    /// Takes note of a frame that is sent, its length prefix included.
    #[inline]
    pub(super) fn count_sent(&mut self, len: usize) {
        let len = len as u64;
        self.counters.packets_sent += 1;
        self.counters.response_bytes += len - 4;
        self.counters.response_size.add(len - 4);
        self.counters.last_response_size = len - 4;
    }

    /// A reply outside the pipeline, without a body.
    fn reply_header(
        &mut self,
        index: usize,
        xid: Xid,
        zxid: Zxid,
        err: ErrorCode,
        effects: &mut ShardEffects,
    ) {
        let out = self.output_mut(index);
        reply::header_only(out, xid, zxid, err);
        self.connections[index].stats.sent += 1;
        self.count_sent(20);
        self.announce(index, effects);
    }

    /// Java: `UnimplementedRequestProcessor`.
    fn refuse_operation(&mut self, index: usize, request: Request<'_>, turn: &mut Turn<'_>) {
        let err = ErrorCode::Unimplemented;
        self.reply_header(index, request.xid, NO_REQUEST_ZXID, err, turn.effects);
        self.close(index, CloseReason::Unimplemented, turn.effects);
    }

    fn set_watches(
        &mut self,
        index: usize,
        body: &mut Reader<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let SetWatches { relative_zxid, data_watches, exist_watches, child_watches } =
            decode(body)?;
        if mutation::is_on(Mutation::WatchesLost) {
            return Ok(());
        }
        self.restore(index, Restore::Data, relative_zxid, data_watches, turn)?;
        self.restore(index, Restore::Exist, relative_zxid, exist_watches, turn)?;
        self.restore(index, Restore::Child, relative_zxid, child_watches, turn)
    }

    fn set_watches2(
        &mut self,
        index: usize,
        body: &mut Reader<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let request: SetWatches2<'_> = decode(body)?;
        let zxid = request.relative_zxid;
        if mutation::is_on(Mutation::WatchesLost) {
            return Ok(());
        }
        self.restore(index, Restore::Data, zxid, request.data_watches, turn)?;
        self.restore(index, Restore::Exist, zxid, request.exist_watches, turn)?;
        self.restore(index, Restore::Child, zxid, request.child_watches, turn)?;
        let key = self.connections.key(index);
        for (paths, mode) in [
            (request.persistent_watches, AddWatchMode::Persistent),
            (request.persistent_recursive_watches, AddWatchMode::PersistentRecursive),
        ] {
            for path in paths.ok_or(ErrorCode::MarshallingError)? {
                let path = path.ok_or(ErrorCode::MarshallingError)?;
                self.watches.add_mode(key, &path, mode);
            }
        }
        Ok(())
    }

    fn add_watch(&mut self, index: usize, body: &mut Reader<'_>) -> Result<(), ErrorCode> {
        let AddWatchRequest { path, mode } = decode(body)?;
        let mode = AddWatchMode::from_i32(mode).ok_or(ErrorCode::MarshallingError)?;
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        self.watches.add_mode(self.connections.key(index), &path, mode);
        Ok(())
    }

    fn check_watches(&mut self, index: usize, body: &mut Reader<'_>) -> Result<(), ErrorCode> {
        let CheckWatchesRequest { path, watcher_type } = decode(body)?;
        let watches = WatcherType::from_i32(watcher_type).ok_or(ErrorCode::MarshallingError)?;
        let path = path.ok_or(ErrorCode::NoWatcher)?;
        let found = self.watches.contains(self.connections.key(index), &path, watches);
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    fn remove_watches(&mut self, index: usize, body: &mut Reader<'_>) -> Result<(), ErrorCode> {
        let RemoveWatchesRequest { path, watcher_type } = decode(body)?;
        let watches = WatcherType::from_i32(watcher_type).ok_or(ErrorCode::MarshallingError)?;
        let path = path.ok_or(ErrorCode::NoWatcher)?;
        let removed = self.watches.remove(self.connections.key(index), &path, watches);
        if removed { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    /// An auth packet: answered at once, before whatever waits (Java: `processPacket`).
    pub(super) fn auth(&mut self, index: usize, request: Request<'_>, turn: &mut Turn<'_>) {
        let mut body = Reader::with_len_max(request.body, 2 * self.config.jute_maxbuffer);
        let Ok(AuthPacket { scheme, auth, .. }) = body.read() else {
            return self.close(index, CloseReason::Malformed, turn.effects);
        };
        let info = ConnectionInfo { remote: self.connections[index].peer.address.ip() };
        let provider = scheme.as_deref().and_then(|scheme| self.access.provider(scheme));
        let proven = provider.and_then(|provider| provider.authenticate(&info, auth).ok());
        match proven.and_then(|proven| self.with_identities(index, proven)) {
            Some(identities) => {
                self.connections[index].identities = identities;
                self.reply_header(index, request.xid, Zxid::ZERO, ErrorCode::Ok, turn.effects);
            }
            None => {
                self.counters.auth_failed += 1;
                let err = ErrorCode::AuthFailed;
                self.reply_header(index, request.xid, Zxid::ZERO, err, turn.effects);
                self.close(index, CloseReason::AuthFailed, turn.effects);
            }
        }
    }

    /// The connection's identities with more of them; `None` where that would be too many to go to
    /// a leader with each request.
    fn with_identities(&self, index: usize, proven: Vec<Identity>) -> Option<Arc<[Identity]>> {
        let mut identities = self.connections[index].identities.to_vec();
        for identity in proven {
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        // Two lengths of four bytes each.
        let lens = identities.iter().map(|Identity { scheme, id }| 8 + scheme.len() + id.len());
        let len_max = limits::IDENTITIES_LEN_MAX.min(self.config.jute_maxbuffer);
        let fits = identities.len() <= limits::IDENTITIES_MAX && lens.sum::<usize>() <= len_max;
        fits.then(|| Arc::from(identities))
    }

    /// A SASL token where no SASL server is configured: Java answers a null token.
    pub(super) fn sasl(&mut self, index: usize, request: Request<'_>, turn: &mut Turn<'_>) {
        let mut body = Reader::with_len_max(request.body, 2 * self.config.jute_maxbuffer);
        let Ok(GetSaslRequest { token: Some(_) }) = body.read() else {
            return self.close(index, CloseReason::Malformed, turn.effects);
        };
        let out = self.output_mut(index);
        let start = reply::begin(out);
        Buffer::None.encode(out);
        reply::end(out, start, request.xid, Zxid::ZERO, 0);
        self.connections[index].stats.sent += 1;
        self.count_sent(24);
        self.announce(index, turn.effects);
    }

    /// Whether the connection has an identity of a scheme that is required
    /// (Java: `AuthenticationHelper`).
    pub(super) fn is_authenticated(&self, index: usize) -> bool {
        let Some(schemes) = &self.config.enforce_auth_schemes else { return true };
        let identities = &self.connections[index].identities;
        identities.iter().any(|identity| schemes.iter().any(|scheme| **scheme == *identity.scheme))
    }

    pub(super) fn refuse_unauthenticated(
        &mut self,
        index: usize,
        request: Request<'_>,
        turn: &mut Turn<'_>,
    ) {
        let err = ErrorCode::SessionClosedRequireSaslAuth;
        self.reply_header(index, request.xid, Zxid::ZERO, err, turn.effects);
        self.close(index, CloseReason::AuthRequired, turn.effects);
    }
}

/// A request's record; Java answers MarshallingError where there is none.
fn decode<'a, T: Decode<'a>>(body: &mut Reader<'a>) -> Result<T, ErrorCode> {
    body.read().map_err(|_| ErrorCode::MarshallingError)
}

/// Milliseconds since a request was received.
pub(super) fn elapsed_ms(received_us: u64, now: Now) -> u32 {
    let elapsed_ms = now.monotonic_us.saturating_sub(received_us) / 1000;
    u32::try_from(elapsed_ms).unwrap_or(u32::MAX)
}
