//! From bytes to requests: length prefixes, four-letter words, the handshake (Java:
//! `NIOServerCnxn.readLength`, `checkFourLetterWord`, `readConnectRequest`).

use rookeeper_jute::limits::SESSION_PASSWORD_LEN;
use rookeeper_jute::proto::{ConnectRequest, RequestHeader};
use rookeeper_jute::{Decode, Reader};

use super::connection::Phase;
use super::{Shard, ShardEffect, ShardEffects, Turn};
use crate::close::CloseReason;
use crate::message::{ConnectSubmission, Submission, SubmissionKind};
use crate::shared::Shared;

/// The words that Java answers when they are the first four bytes of a connection; the last one is
/// what telnet sends on interrupt.
const WORDS: [&[u8; 4]; 19] = [
    b"conf",
    b"cons",
    b"crst",
    b"dirs",
    b"dump",
    b"envi",
    b"gtmk",
    b"ruok",
    b"stmk",
    b"srvr",
    b"srst",
    b"stat",
    b"wchc",
    b"wchp",
    b"wchs",
    b"mntr",
    b"isro",
    b"hash",
    b"\xff\xf4\xff\xfd",
];

/// What the first bytes of a frame say.
enum Prefix {
    /// More bytes are needed.
    Incomplete,
    /// A length that no frame has.
    Unreasonable(i32),
    /// A whole frame of so many bytes after the length.
    Whole(usize),
}

impl Shard {
    /// Processes whole frames at the start of `bytes`; says how many bytes were used.
    pub(super) fn frames(&mut self, index: usize, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match self.connections[index].phase {
                Phase::Start if rest.len() < 4 => return used,
                Phase::Start => {
                    if self.four_letter_word(index, rest, turn.effects) {
                        let answered = self.connections[index].phase == Phase::Word;
                        return if answered { bytes.len() } else { used };
                    }
                }
                Phase::Open => {
                    if self.must_wait(index, turn.shared) {
                        self.pause(index, turn.effects);
                        return used;
                    }
                    if turn.is_over() {
                        if rest.len() >= 4 {
                            // What is there comes before what the client says next, or it would
                            // gather here without a bound.
                            self.pause(index, turn.effects);
                            self.make_ready(index);
                            turn.effects.effects.push(ShardEffect::More);
                        }
                        return used;
                    }
                }
                Phase::Connecting => return used,
                Phase::Vacant | Phase::Word | Phase::Draining | Phase::Closing => {
                    return bytes.len();
                }
            }
            match self.prefix(index, rest, turn.shared) {
                Ok(Prefix::Incomplete) => return used,
                Ok(Prefix::Unreasonable(len)) => {
                    self.close(index, CloseReason::FrameLength(len), turn.effects);
                }
                Ok(Prefix::Whole(len)) => {
                    self.frame(index, &rest[4..4 + len], turn);
                    used += 4 + len;
                }
                Err(reason) => self.close(index, reason, turn.effects),
            }
        }
    }

    /// Processes the frames that stand in the connection's input.
    pub(super) fn buffered_frames(&mut self, index: usize, turn: &mut Turn<'_>) {
        let mut input = std::mem::take(&mut self.connections[index].input);
        let used = self.frames(index, &input, turn);
        if used == input.len() || self.connections[index].phase == Phase::Closing {
            self.buffers.put(input);
            return;
        }
        input.drain(..used);
        self.connections[index].input = input;
    }

    /// Keeps bytes that cannot be processed yet.
    pub(super) fn keep_input(&mut self, index: usize, bytes: &[u8]) {
        let mut input = self.buffers.take();
        input.extend_from_slice(bytes);
        self.connections[index].input = input;
    }

    fn prefix(
        &mut self,
        index: usize,
        rest: &[u8],
        shared: &Shared,
    ) -> Result<Prefix, CloseReason> {
        let Some(prefix) = rest.first_chunk::<4>() else { return Ok(Prefix::Incomplete) };
        let signed = i32::from_be_bytes(*prefix);
        let len = match usize::try_from(signed) {
            Ok(len) if len <= self.config.jute_maxbuffer => len,
            _ => return Ok(Prefix::Unreasonable(signed)),
        };
        if !self.serving {
            return Err(CloseReason::NotServing);
        }
        if self.is_large(len) && self.too_large(len, shared) {
            return Err(CloseReason::LargeRequestRejected);
        }
        if rest.len() < 4 + len {
            return Ok(Prefix::Incomplete);
        }
        self.counters.packets_received += 1;
        self.counters.bytes_received += 4 + len as u64;
        self.connections[index].stats.received += 1;
        Ok(Prefix::Whole(len))
    }

    /// Whether a request counts among the large ones (Java: `isLargeRequest`).
    pub(super) fn is_large(&self, len: usize) -> bool {
        self.config.large_request_threshold.is_some_and(|threshold| len > threshold)
    }

    fn too_large(&mut self, len: usize, shared: &Shared) -> bool {
        let refused = shared.load.large_bytes() + len > self.config.large_request_max_bytes;
        if refused {
            self.counters.large_requests_rejected += 1;
        }
        refused
    }

    fn frame(&mut self, index: usize, frame: &[u8], turn: &mut Turn<'_>) {
        if self.connections[index].phase == Phase::Start {
            self.connect(index, frame, turn);
            return;
        }
        turn.frames_left -= 1;
        let Ok(header) = RequestHeader::from_bytes(frame) else {
            self.close(index, CloseReason::Malformed, turn.effects);
            return;
        };
        self.touch(index, turn.now.monotonic_ms());
        self.request(index, header, &frame[8..], turn);
    }

    /// Takes note that the client is alive.
    #[inline]
    fn touch(&mut self, index: usize, now_ms: u64) {
        let connection = &mut self.connections[index];
        connection.heard_ms = now_ms;
        if !connection.touched {
            connection.touched = true;
            let key = self.connections.key(index);
            self.touched.push(key);
        }
    }

    /// Whether the connection's first bytes are a word, or the start of one with its argument.
    fn four_letter_word(&mut self, index: usize, bytes: &[u8], effects: &mut ShardEffects) -> bool {
        let Some(word) = WORDS.iter().find(|word| bytes.starts_with(**word)) else { return false };
        let argument = if *word == b"stmk" {
            let Some(mask) = bytes[4..].first_chunk::<8>() else { return true };
            Some(i64::from_be_bytes(*mask))
        } else {
            None
        };
        self.counters.packets_received += 1;
        self.counters.bytes_received += 4;
        self.connections[index].stats.received += 1;
        self.connections[index].phase = Phase::Word;
        let connection = self.connections.key(index);
        effects.effects.push(ShardEffect::FourLetterWord { connection, word: **word, argument });
        true
    }

    /// The first frame: asks the core for a session.
    fn connect(&mut self, index: usize, frame: &[u8], turn: &mut Turn<'_>) {
        let mut reader = Reader::with_len_max(frame, 2 * self.config.jute_maxbuffer);
        let Ok(request) = reader.read::<ConnectRequest<'_>>() else {
            self.close(index, CloseReason::Malformed, turn.effects);
            return;
        };
        self.counters.connection_requests += 1;
        let password = request
            .password
            .and_then(|password| <[u8; SESSION_PASSWORD_LEN]>::try_from(password).ok());
        turn.effects.submissions.entries.push(Submission {
            connection: self.connections.key(index),
            received_us: turn.now.monotonic_us,
            kind: SubmissionKind::Connect(Box::new(ConnectSubmission {
                last_zxid_seen: request.last_zxid_seen,
                timeout_ms: request.timeout_ms,
                session_id: request.session_id,
                password,
                read_only: request.read_only,
            })),
        });
        turn.shared.load.add(0, false);
        self.connections[index].phase = Phase::Connecting;
        self.pause(index, turn.effects);
    }

    /// Whether a limit keeps the connection's next request back.
    #[inline]
    pub(super) fn must_wait(&self, index: usize, shared: &Shared) -> bool {
        let connection = &self.connections[index];
        connection.output_len() > self.config.output_bytes_max
            || connection.waiting_bytes() > self.config.waiting_bytes_max
            || (connection.outstanding > 0
                && (shared.load.requests() > self.config.global_outstanding_limit
                    || shared.load.bytes() > self.config.global_outstanding_bytes))
    }

    /// Stops reading from a connection.
    pub(super) fn pause(&mut self, index: usize, effects: &mut ShardEffects) {
        let key = self.connections.key(index);
        let connection = &mut self.connections[index];
        if !connection.paused {
            connection.paused = true;
            effects.effects.push(ShardEffect::Pause(key));
        }
    }
}
