//! Requests: submitted, sent, over.

use rookeeper_jute::{ErrorCode, OpCode, Xid, Zxid};

use super::{Phase, Session};
use crate::effect::{Effect, State, Token, WatchEvent};
use crate::operation::{Encoded, Operation, WatchChange};
use crate::reply::Reply;

/// A request as it was submitted.
#[derive(Debug)]
pub(super) struct Request {
    token: Token,
    pub(super) encoded: Encoded,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) xid: Xid,
    /// `None` for setWatches, which nobody submitted.
    request: Option<Request>,
    op: OpCode,
}

impl Sent {
    pub(super) fn set_watches(op: OpCode) -> Sent {
        Sent { xid: Xid::SET_WATCHES, request: None, op }
    }

    /// Whether somebody waits for it.
    pub(super) fn is_requested(&self) -> bool {
        self.request.is_some()
    }

    /// The operation, and the operations of the results of a multi.
    pub(super) fn op(&self) -> (OpCode, &[OpCode]) {
        (self.op, self.request.as_ref().map_or(&[], |request| &request.encoded.parts))
    }
}

impl Session {
    pub(super) fn submit(
        &mut self,
        token: Token,
        operation: &Operation,
        effects: &mut Vec<Effect>,
    ) {
        let refused = self.refusal();
        let encoded = match refused {
            Some(code) => Err(code),
            None => operation.encode(&self.config.chroot),
        };
        let encoded = encoded.and_then(|encoded| match &encoded.watch {
            Some(WatchChange::Remove { path, of, token, .. })
                if !self.watches.contains(path, *of, *token) =>
            {
                Err(ErrorCode::NoWatcher)
            }
            _ => Ok(encoded),
        });
        match encoded {
            Ok(encoded) => self.accept(Request { token, encoded }),
            Err(code) => {
                effects.push(Effect::Completed { token, zxid: Zxid::NONE, result: Err(code) });
            }
        }
    }

    /// What a request comes back with that is submitted too late.
    fn refusal(&self) -> Option<ErrorCode> {
        match self.state {
            Some(State::AuthFailed) => Some(ErrorCode::AuthFailed),
            Some(State::Expired | State::Closed) => Some(ErrorCode::SessionExpired),
            _ if self.is_closing => Some(ErrorCode::ConnectionLoss),
            _ => None,
        }
    }

    fn accept(&mut self, request: Request) {
        if self.is_established() {
            self.send(request);
        } else {
            self.queued.push_back(request);
        }
    }

    pub(super) fn send(&mut self, request: Request) {
        let xid = Xid(self.next_xid);
        // Negative numbers have meanings of their own, and 0 is none.
        self.next_xid = if self.next_xid >= i32::MAX - 1 { 1 } else { self.next_xid + 1 };
        let op = request.encoded.op;
        self.write_request(xid, op, &request.encoded.body);
        self.pending.push_back(Sent { xid, request: Some(request), op });
    }

    pub(super) fn close(&mut self, token: Token, effects: &mut Vec<Effect>) {
        if let Some(code) = self.refusal() {
            effects.push(Effect::Completed { token, zxid: Zxid::NONE, result: Err(code) });
            return;
        }
        self.accept(Request { token, encoded: Encoded::bare(OpCode::CloseSession) });
        self.is_closing = true;
        if matches!(self.phase, Phase::Waiting { .. }) {
            // There is nobody to tell: the servers will find out.
            self.end(State::Closed, effects);
        }
    }

    /// The reply is there, or never will be.
    pub(super) fn finish(
        &mut self,
        sent: Sent,
        zxid: Zxid,
        result: Result<Reply, ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(request) = sent.request {
            self.finish_request(request, zxid, result, effects);
        }
    }

    fn finish_request(
        &mut self,
        request: Request,
        zxid: Zxid,
        mut result: Result<Reply, ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = result.as_ref().map(|_| ()).map_err(|code| *code);
        match request.encoded.watch {
            Some(WatchChange::Register { path, table, token }) => {
                if let Some(table) = WatchChange::table_after(table, outcome) {
                    self.watches.register(table, &path, token);
                }
            }
            Some(WatchChange::Remove { path, of, token, local }) if outcome.is_ok() || local => {
                let removed = self.watches.remove(&path, of, token);
                let is_gone = removed.is_empty();
                for (kind, watchers) in removed {
                    let path = self.config.chroot.client_path(&path);
                    let event = WatchEvent { kind, path, zxid: Zxid::NONE };
                    effects.push(Effect::Watch { event, watchers });
                }
                // An event may have spent the watch meanwhile.
                result = if is_gone { Err(ErrorCode::NoWatcher) } else { Ok(Reply::Done) };
            }
            _ => {}
        }
        effects.push(Effect::Completed { token: request.token, zxid, result });
    }

    /// Everything that is in flight or waits comes back with `code`, in the order of submission.
    pub(super) fn fail_all(&mut self, code: ErrorCode, effects: &mut Vec<Effect>) {
        while let Some(sent) = self.pending.pop_front() {
            self.finish(sent, Zxid::NONE, Err(code), effects);
        }
        while let Some(request) = self.queued.pop_front() {
            self.finish_request(request, Zxid::NONE, Err(code), effects);
        }
    }
}
