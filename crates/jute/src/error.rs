//! The error codes that clients see (Java: `KeeperException.Code`).

use crate::wire::{Decode, DecodeError, Encode, Reader};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $value:expr),* $(,)?) => {
        /// A result code of the client protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[$meta])* $name = $value),* }
        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];
            /// The code of a number, `None` where Java has none.
            pub fn from_i32(value: i32) -> Option<Self> {
                match value { $($value => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Success.
    Ok = 0,
    /// Only the threshold of system errors; never sent by itself.
    SystemError = -1,
    /// A part of a failed multi that was not tried.
    RuntimeInconsistency = -2,
    /// Data inconsistency.
    DataInconsistency = -3,
    /// The connection was lost (made by clients).
    ConnectionLoss = -4,
    /// A request that cannot be decoded.
    MarshallingError = -5,
    /// An unknown or disabled operation.
    Unimplemented = -6,
    /// A timeout (made by clients).
    OperationTimeout = -7,
    /// Invalid arguments.
    BadArguments = -8,
    /// An unknown session (internal to servers).
    UnknownSession = -12,
    /// No quorum of the new configuration is connected and up to date.
    NewConfigNoQuorum = -13,
    /// Another reconfiguration is in progress.
    ReconfigInProgress = -14,
    /// Only the threshold of API errors; never sent by itself.
    ApiError = -100,
    /// The znode does not exist.
    NoNode = -101,
    /// Not authenticated or not permitted.
    NoAuth = -102,
    /// The version given is not the znode's.
    BadVersion = -103,
    /// Ephemeral znodes have no children.
    NoChildrenForEphemerals = -108,
    /// The znode exists already.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session has expired.
    SessionExpired = -112,
    /// An invalid callback (made by clients).
    InvalidCallback = -113,
    /// An invalid ACL.
    InvalidAcl = -114,
    /// Authentication failed.
    AuthFailed = -115,
    /// The session lives on another connection now.
    SessionMoved = -118,
    /// A write on a read-only server.
    NotReadOnly = -119,
    /// An ephemeral znode on a local session.
    EphemeralOnLocalSession = -120,
    /// No such watch.
    NoWatcher = -121,
    /// A request timed out (made by clients).
    RequestTimeout = -122,
    /// Reconfiguration is disabled.
    ReconfigDisabled = -123,
    /// The session is closed since the server requires SASL authentication.
    SessionClosedRequireSaslAuth = -124,
    /// A quota would be exceeded.
    QuotaExceeded = -125,
    /// The operation was throttled and not executed.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn to_i32(self) -> i32 {
        self as i32
    }
}

impl Encode for ErrorCode {
    fn encode(&self, out: &mut Vec<u8>) {
        self.to_i32().encode(out);
    }
}

impl<'a> Decode<'a> for ErrorCode {
    const MIN_LEN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let value = reader.read::<i32>()?;
        ErrorCode::from_i32(value)
            .ok_or(DecodeError::UnexpectedValue { offset, value: i64::from(value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_number_and_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_i32(code.to_i32()), Some(*code));
        }
        assert_eq!(ErrorCode::from_i32(-126), None);
    }
}
