//! multiRead: several reads, each with a result of its own (Java: `FinalRequestProcessor`).

use rookeeper_jute::multi::{MultiHeader, encode_end, next_part};
use rookeeper_jute::proto::{GetChildrenRequest, GetDataRequest};
use rookeeper_jute::{Encode, ErrorCode, OpCode};

use super::{Query, Watch, not_null};
use crate::prepare::request::reader;

impl Query<'_> {
    /// All parts are decoded before any is answered; anything but getData and getChildren spoils
    /// the whole. Parts leave no watches, whatever they ask for.
    pub(super) fn multi_read<'a>(
        &self,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let malformed = |_| ErrorCode::MarshallingError;
        let mut reader = reader(body);
        let mut parts = Vec::new();
        while let Some(header) = next_part(&mut reader).map_err(malformed)? {
            let op = OpCode::from_i32(header.op);
            let (op, path) = match op {
                Some(op @ OpCode::GetData) => {
                    (op, reader.read::<GetDataRequest<'_>>().map_err(malformed)?.path)
                }
                Some(op @ OpCode::GetChildren) => {
                    (op, reader.read::<GetChildrenRequest<'_>>().map_err(malformed)?.path)
                }
                _ => return Err(ErrorCode::MarshallingError),
            };
            parts.push((op, not_null(path)?));
        }
        for (op, path) in parts {
            let start = out.len();
            MultiHeader::reply(op.to_i32(), 0).encode(out);
            let result = match op {
                OpCode::GetData => self.encode_data(&path, out),
                _ => self.encode_children(&path, out).map(drop),
            };
            if let Err(err) = result {
                out.truncate(start);
                MultiHeader::reply(OpCode::Error.to_i32(), err.to_i32()).encode(out);
                err.encode(out);
            }
        }
        encode_end(out);
        Ok(None)
    }
}
