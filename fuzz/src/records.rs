//! Records of the client protocol and of the log: the first byte says which, the rest is the
//! record.

use rookeeper_jute::multi::{MultiHeader, next_part};
use rookeeper_jute::persistence::FileHeader;
use rookeeper_jute::proto::*;
use rookeeper_jute::txn::*;
use rookeeper_jute::{Acl, OpCode, Reader, Stat, StatPersisted};

use crate::round_trip;

/// Decodes the record, and checks that it comes back.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 12 {
        0 => round_trip!(bytes, ConnectRequest<'_>, ConnectResponse<'_>),
        1 => round_trip!(bytes, RequestHeader, ReplyHeader, MultiHeader, FileHeader, TxnHeader),
        2 => round_trip!(bytes, CreateRequest<'_>, CreateTtlRequest<'_>, CreateTxn<'_>),
        3 => round_trip!(bytes, CreateTxnV0<'_>, CreateTtlTxn<'_>, CreateContainerTxn<'_>),
        4 => round_trip!(bytes, DeleteRequest<'_>, SetDataRequest<'_>, SetAclRequest<'_>),
        5 => round_trip!(bytes, SetWatches<'_>, SetWatches2<'_>, WatcherEvent<'_>),
        6 => round_trip!(bytes, GetDataRequest<'_>, GetEphemeralsRequest<'_>, AddWatchRequest<'_>),
        7 => round_trip!(bytes, ReconfigRequest<'_>, AuthPacket<'_>, GetSaslRequest<'_>),
        8 => round_trip!(
            bytes,
            GetDataResponse<'_>,
            GetChildren2Response<'_>,
            GetAclResponse<'_>,
            Create2Response<'_>,
            WhoAmIResponse<'_>,
        ),
        9 => round_trip!(bytes, MultiTxn<'_>, CloseSessionTxn<'_>, SetAclTxn<'_>, SetDataTxn<'_>),
        10 => round_trip!(bytes, Stat, StatPersisted, Acl<'_>, TxnDigest, ErrorTxn),
        _ => multi(bytes),
    }
}

/// Walks the parts of a multi as a server does; it ends, whatever stands there.
fn multi(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let mut parts = 0;
    while let Ok(Some(header)) = next_part(&mut reader) {
        let read = match OpCode::from_i32(header.op) {
            Some(OpCode::Create | OpCode::Create2 | OpCode::CreateContainer) => {
                reader.read::<CreateRequest<'_>>().is_ok()
            }
            Some(OpCode::CreateTtl) => reader.read::<CreateTtlRequest<'_>>().is_ok(),
            Some(OpCode::Delete) => reader.read::<DeleteRequest<'_>>().is_ok(),
            Some(OpCode::SetData) => reader.read::<SetDataRequest<'_>>().is_ok(),
            Some(OpCode::Check) => reader.read::<CheckVersionRequest<'_>>().is_ok(),
            _ => false,
        };
        if !read {
            break;
        }
        parts += 1;
        assert!(parts <= bytes.len(), "each part takes bytes");
    }
}
