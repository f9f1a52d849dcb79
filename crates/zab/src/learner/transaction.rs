//! Whether a proposal is a transaction that every server can apply. What cannot be decoded would
//! be logged, acknowledged and then in the way for ever, so it is refused as it arrives (Java:
//! `SerializeUtils.deserializeTxn`).

use rookeeper_jute::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, CreateTxnV0,
    DeleteTxn, ErrorTxn, MultiTxn, SetAclTxn, SetDataTxn, TxnHeader,
};
use rookeeper_jute::{Decode, OpCode, Reader, Text, Zxid};

/// What a proposal is, as far as a learner has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Any transaction but a reconfiguration.
    Ordinary,
    /// A reconfiguration, with the text of the new configuration.
    Reconfiguration(&'a [u8]),
}

/// Looks through a proposal; `None` where it is no transaction, or not the one of this zxid.
pub(super) fn inspect(zxid: Zxid, txn: &[u8]) -> Option<Kind<'_>> {
    let mut reader = Reader::with_len_max(txn, txn.len());
    let header: TxnHeader = reader.read().ok()?;
    if header.zxid != zxid {
        return None;
    }
    match OpCode::from_i32(header.txn_type)? {
        OpCode::Reconfig => {
            let SetDataTxn { path, data, .. } = reader.read().ok()?;
            path?;
            return data.map(Kind::Reconfiguration);
        }
        OpCode::CreateSession => {
            reader.read::<CreateSessionTxn>().ok()?;
        }
        // Servers before 3.6 write no record.
        OpCode::CloseSession => {}
        OpCode::SetAcl => has_path(reader.read::<SetAclTxn<'_>>().ok()?.path)?,
        OpCode::Multi => {
            for part in reader.read::<MultiTxn<'_>>().ok()?.txns.unwrap_or_default() {
                let data = part.data.unwrap_or_default();
                let mut reader = Reader::with_len_max(data, data.len());
                is_part(OpCode::from_i32(part.txn_type)?, &mut reader)?;
            }
        }
        op => is_part(op, &mut reader)?,
    }
    Some(Kind::Ordinary)
}

/// A record that may stand in a multi and alone.
fn is_part(op: OpCode, reader: &mut Reader<'_>) -> Option<()> {
    match op {
        OpCode::Create => {
            let start = reader.clone();
            match CreateTxn::decode(reader) {
                Ok(create) => has_path(create.path),
                Err(_) => {
                    *reader = start;
                    has_path(reader.read::<CreateTxnV0<'_>>().ok()?.path)
                }
            }
        }
        OpCode::Create2 => has_path(reader.read::<CreateTxn<'_>>().ok()?.path),
        OpCode::CreateContainer => has_path(reader.read::<CreateContainerTxn<'_>>().ok()?.path),
        OpCode::CreateTtl => has_path(reader.read::<CreateTtlTxn<'_>>().ok()?.path),
        OpCode::Delete | OpCode::DeleteContainer => {
            has_path(reader.read::<DeleteTxn<'_>>().ok()?.path)
        }
        OpCode::SetData => has_path(reader.read::<SetDataTxn<'_>>().ok()?.path),
        OpCode::Check => has_path(reader.read::<CheckVersionTxn<'_>>().ok()?.path),
        OpCode::Error => reader.read::<ErrorTxn>().ok().map(|_| ()),
        _ => None,
    }
}

fn has_path(path: Text<'_>) -> Option<()> {
    path.map(drop)
}

#[cfg(test)]
mod tests {
    use rookeeper_jute::txn::Txn;
    use rookeeper_jute::{Encode, SessionId, Xid};

    use super::*;

    fn txn(op: OpCode, record: &dyn Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = TxnHeader {
            client_id: SessionId(1),
            cxid: Xid(2),
            zxid: Zxid(3),
            time_ms: 4,
            txn_type: op.to_i32(),
        }
        .to_bytes();
        record(&mut bytes);
        bytes
    }

    fn set_data(out: &mut Vec<u8>) {
        SetDataTxn { path: Some("/a".into()), data: Some(b"text"), version: 1 }.encode(out);
    }

    #[test]
    fn a_reconfiguration_shows_its_text_and_everything_else_is_ordinary() {
        let reconfig = txn(OpCode::Reconfig, &set_data);
        assert_eq!(inspect(Zxid(3), &reconfig), Some(Kind::Reconfiguration(b"text")));
        assert_eq!(inspect(Zxid(4), &reconfig), None);
        assert_eq!(inspect(Zxid(3), &txn(OpCode::SetData, &set_data)), Some(Kind::Ordinary));
        assert_eq!(inspect(Zxid(3), &txn(OpCode::CloseSession, &|_| {})), Some(Kind::Ordinary));
    }

    #[test]
    fn what_cannot_be_applied_is_no_transaction() {
        let set = txn(OpCode::SetData, &set_data);
        for end in 0..set.len() {
            assert_eq!(inspect(Zxid(3), &set[..end]), None, "{end} bytes");
        }
        assert_eq!(inspect(Zxid(3), &txn(OpCode::GetData, &set_data)), None);
        let no_path = |out: &mut Vec<u8>| DeleteTxn { path: None }.encode(out);
        assert_eq!(inspect(Zxid(3), &txn(OpCode::Delete, &no_path)), None);
        let part = |op: OpCode, data| {
            let parts = MultiTxn { txns: Some(vec![Txn { txn_type: op.to_i32(), data }]) };
            inspect(Zxid(3), &txn(OpCode::Multi, &|out| parts.encode(out))).is_some()
        };
        let mut record = Vec::new();
        set_data(&mut record);
        assert!(part(OpCode::SetData, Some(&record[..])));
        assert!(!part(OpCode::SetData, None));
        assert!(!part(OpCode::Multi, Some(&record[..])));
    }
}
