//! multi: several writes under one zxid, all or none (Java: `pRequestHelper`).

use rookeeper_jute::txn::ErrorTxn;
use rookeeper_jute::wire::encode_vector_len;
use rookeeper_jute::{Encode, ErrorCode, OpCode};

use super::encode_header;
use super::request::{Write, decode_multi};
use super::step::{Failure, Step};

/// Length of an int in bytes.
const INT_LEN: usize = 4;

impl Step<'_> {
    /// Later parts see what earlier ones will have done. When a part fails, all changes are undone
    /// (sequence numbers included), the part and those after it become error transactions, and
    /// the multi is logged all the same.
    pub(super) fn multi(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let writes = decode_multi(self.request.body)?;
        encode_header(self.request, OpCode::Multi, out);
        encode_vector_len(writes.len(), out);
        self.pending.begin();
        match self.parts(writes, out).and_then(|failed| self.fits(out).map(|()| failed)) {
            Ok(false) => self.pending.commit(),
            Ok(true) => self.pending.roll_back(self.request.zxid),
            Err(failure) => {
                self.pending.roll_back(self.request.zxid);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Appends the parts; whether one has failed.
    fn parts(&mut self, writes: Vec<Write<'_>>, out: &mut Vec<u8>) -> Result<bool, Failure> {
        let mut failed = false;
        for write in writes {
            if failed {
                encode_error(ErrorCode::RuntimeInconsistency, out);
                continue;
            }
            let part_start = out.len();
            write.txn_type().to_i32().encode(out);
            let len_at = out.len();
            0i32.encode(out);
            match self.write(write, out) {
                Ok(()) => {
                    let len = out.len() - len_at - INT_LEN;
                    let len = i32::try_from(len).expect("a part is bounded by the transaction");
                    out[len_at..len_at + INT_LEN].copy_from_slice(&len.to_be_bytes());
                }
                Err(failure @ (Failure::Malformed | Failure::Unreadable)) => return Err(failure),
                Err(Failure::Code(code)) => {
                    out.truncate(part_start);
                    encode_error(code, out);
                    failed = true;
                    if code == ErrorCode::SessionMoved {
                        self.prepared.error = Some(code);
                    }
                }
            }
        }
        Ok(failed)
    }
}

fn encode_error(code: ErrorCode, out: &mut Vec<u8>) {
    OpCode::Error.to_i32().encode(out);
    (INT_LEN as i32).encode(out);
    ErrorTxn { err: code.to_i32() }.encode(out);
}
