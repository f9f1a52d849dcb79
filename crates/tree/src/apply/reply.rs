//! The reply that a client gets for its write (Java: `FinalRequestProcessor`, `MultiResponse`).

use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::{Encode, ErrorCode, OpCode, Stat};

use super::{Applied, AppliedPart};

impl Applied<'_> {
    /// The result in the reply's header. A multi that failed has succeeded as a request: its
    /// parts say what went wrong.
    pub fn reply_error(&self) -> ErrorCode {
        if self.header.txn_type == OpCode::Multi.to_i32() { ErrorCode::Ok } else { self.err }
    }

    /// Appends the reply's body to a request for `op`, as Java sends it; nothing where the request
    /// failed.
    pub fn encode_reply(&self, op: OpCode, out: &mut Vec<u8>) {
        if self.reply_error() != ErrorCode::Ok || self.header.txn_type == OpCode::Error.to_i32() {
            return;
        }
        match op {
            OpCode::Multi => self.encode_parts(out),
            OpCode::Create => self.path.encode(out),
            OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => {
                self.path.encode(out);
                stat(self.stat).encode(out);
            }
            OpCode::SetData | OpCode::SetAcl => stat(self.stat).encode(out),
            OpCode::Reconfig => {
                self.config.encode(out);
                stat(self.stat).encode(out);
            }
            _ => {}
        }
    }

    fn encode_parts(&self, out: &mut Vec<u8>) {
        for part in &self.parts {
            part.encode_reply(out);
        }
        encode_end(out);
    }
}

impl AppliedPart<'_> {
    fn encode_reply(&self, out: &mut Vec<u8>) {
        let err = if self.op == OpCode::Error { self.err } else { ErrorCode::Ok };
        let op = match self.op {
            OpCode::CreateTtl | OpCode::CreateContainer => OpCode::Create2,
            OpCode::DeleteContainer => OpCode::Delete,
            op => op,
        };
        MultiHeader::reply(op.to_i32(), err.to_i32()).encode(out);
        match op {
            OpCode::Create => self.path.encode(out),
            OpCode::Create2 => {
                self.path.encode(out);
                stat(self.stat).encode(out);
            }
            OpCode::SetData => stat(self.stat).encode(out),
            OpCode::Error => err.encode(out),
            _ => {}
        }
    }
}

/// A znode that vanished between its preparation and its application has no Stat; Java would fail
/// to write the reply.
fn stat(stat: Option<Stat>) -> Stat {
    stat.unwrap_or_default()
}
