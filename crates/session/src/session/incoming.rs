//! What a server sends: the answer to the handshake, replies, events.

use rookeeper_jute::proto::{ConnectResponse, ReplyHeader, WatcherEvent};
use rookeeper_jute::{DecodeError, ErrorCode, OpCode, Reader, Xid, Zxid};

use super::{Phase, Session};
use crate::effect::{ConnectionId, Effect, Leaving, State, WatchEvent};
use crate::reply::{self, string};
use crate::timing::Timing;
use crate::watches::EventKind;

/// What a frame leads to, where it is not the next frame.
enum Stop {
    /// The connection is of no use any more.
    Lose(Leaving),
    /// The session is over.
    End(State, Leaving),
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Stop {
        Stop::Lose(Leaving::Malformed(error))
    }
}

impl Session {
    pub(super) fn received(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        bytes: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_current(connection) || self.phase == Phase::Connecting {
            return;
        }
        self.frames.push(bytes);
        while self.is_current(connection) {
            let frame = match self.frames.next(self.config.frame_len_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(len) => {
                    self.lose(now_ms, Some(Leaving::FrameLength(len.0)), effects);
                    return;
                }
            };
            let taken = match self.phase {
                Phase::Handshaking => self.handshake_answered(now_ms, &frame, effects),
                _ => self.frame(&frame, effects),
            };
            match taken {
                Ok(()) => self.last_heard_ms = now_ms,
                Err(Stop::Lose(reason)) => self.lose(now_ms, Some(reason), effects),
                Err(Stop::End(state, reason)) => self.end_by(state, reason, effects),
            }
        }
    }

    /// A server of 3.3 leaves the last byte out.
    fn handshake_answered(
        &mut self,
        now_ms: u64,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<(), Stop> {
        let mut reader = Reader::with_len_max(frame, self.config.frame_len_max);
        let response: ConnectResponse<'_> = reader.read()?;
        let timeout_ms = u32::try_from(response.timeout_ms).unwrap_or(0);
        if timeout_ms == 0 {
            let state = if self.is_closing { State::Closed } else { State::Expired };
            return Err(Stop::End(state, Leaving::Expired));
        }
        let is_read_only = response.read_only.unwrap_or(false);
        self.timeout_ms = timeout_ms;
        self.timing = Timing::new(timeout_ms, self.hosts.count());
        self.id = response.session_id;
        self.password = response.password.unwrap_or_default().to_vec();
        self.is_global |= !is_read_only;
        self.hosts.accepted();
        self.phase = Phase::Established { is_read_only };
        self.last_send_ms = now_ms;
        let state = if is_read_only { State::ConnectedReadOnly } else { State::Connected };
        self.announce(state, effects);
        self.resume();
        Ok(())
    }

    fn frame(&mut self, frame: &[u8], effects: &mut Vec<Effect>) -> Result<(), Stop> {
        let mut reader = Reader::with_len_max(frame, self.config.frame_len_max);
        let header: ReplyHeader = reader.read()?;
        match header.xid {
            Xid::PING => Ok(()),
            Xid::AUTH if header.err == ErrorCode::AuthFailed.to_i32() => {
                Err(Stop::End(State::AuthFailed, Leaving::AuthFailed))
            }
            Xid::AUTH => Ok(()),
            Xid::NOTIFICATION => self.event(header.zxid, &mut reader, effects),
            _ => self.replied(&header, &mut reader, effects),
        }
    }

    fn event(
        &mut self,
        zxid: Zxid,
        reader: &mut Reader<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Stop> {
        let offset = reader.offset();
        let record: WatcherEvent<'_> = reader.read()?;
        let value = i64::from(record.event_type);
        let kind = EventKind::from_server(record.event_type)
            .ok_or(DecodeError::UnexpectedValue { offset, value })?;
        let server_path = string(record.path, offset)?;
        let watchers = self.watches.fire(kind, &server_path);
        if !watchers.is_empty() {
            let path = self.config.chroot.client_path(&server_path);
            effects.push(Effect::Watch { event: WatchEvent { kind, path, zxid }, watchers });
        }
        Ok(())
    }

    fn replied(
        &mut self,
        header: &ReplyHeader,
        reader: &mut Reader<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Stop> {
        let got = header.xid;
        let Some(sent) = self.pending.front() else {
            return Err(Stop::Lose(Leaving::UnexpectedReply { got }));
        };
        if sent.xid != got {
            return Err(Stop::Lose(Leaving::OutOfOrder { expected: sent.xid, got }));
        }
        let (op, parts) = sent.op();
        let result = if header.err == ErrorCode::Ok.to_i32() {
            Ok(reply::decode(op, parts, &self.config.chroot, reader)?)
        } else {
            Err(reply::code(header.err))
        };
        // Events do not count: one transaction may have several, and a reconnect between them must
        // still find out the rest.
        if header.zxid > Zxid::ZERO {
            self.last_zxid = header.zxid;
        }
        let is_closed = op == OpCode::CloseSession;
        let sent = self.pending.pop_front().expect("it was just looked at");
        self.finish(sent, header.zxid, result, effects);
        match is_closed {
            true => Err(Stop::End(State::Closed, Leaving::Closed)),
            false => Ok(()),
        }
    }
}
