//! Identifiers as types, so that a zxid is never taken for a session.

use std::fmt;

use crate::wire::{Decode, DecodeError, Encode, Reader};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);
        impl Encode for $name {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) { self.0.encode(out); }
        }
        impl<'a> Decode<'a> for $name {
            const MIN_LEN: usize = size_of::<$inner>();
            #[inline]
            fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok($name(reader.read()?))
            }
        }
    };
}

id! {
    /// A transaction's place in the total order: epoch in the high 32 bits, counter in the low 32
    /// (Java: `ZxidUtils`). Ordered as Java orders it, as a signed 64-bit number.
    Zxid(i64)
}
id! {
    /// A client session. 0 asks for a new session; the high byte is the id of the server that
    /// made it (Java: `SessionTrackerImpl.initializeNextSessionId`).
    SessionId(i64)
}
id! {
    /// A client's request number, unique within its connection; negative ones are special.
    Xid(i32)
}
id! {
    /// A member of the ensemble, the N of `server.N`.
    ServerId(i64)
}

impl Zxid {
    /// The zxid before any transaction.
    pub const ZERO: Zxid = Zxid(0);
    /// The zxid in the header of an event that no transaction caused (Java: `NO_ZXID`).
    pub const NONE: Zxid = Zxid(-1);

    /// Builds a zxid from an epoch and a counter.
    pub fn new(epoch: u32, counter: u32) -> Self {
        Zxid((i64::from(epoch) << 32) | i64::from(counter))
    }

    /// The epoch (the high 32 bits).
    pub fn epoch(self) -> u32 {
        (self.0 as u64 >> 32) as u32
    }

    /// The counter within the epoch (the low 32 bits).
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid that follows.
    ///
    /// # Panics
    /// At the end of the 64-bit space, which no server reaches.
    pub fn next(self) -> Self {
        Zxid(self.0.checked_add(1).expect("zxids end after 2^63 transactions"))
    }
}

impl Xid {
    /// The xid of a watch event.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// The xid of a ping.
    pub const PING: Xid = Xid(-2);
    /// The xid of an auth packet.
    pub const AUTH: Xid = Xid(-4);
    /// The xid of setWatches and setWatches2.
    pub const SET_WATCHES: Xid = Xid(-8);
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_splits_into_epoch_and_counter() {
        let zxid = Zxid::new(3, 0x8000_0007);
        assert_eq!(zxid, Zxid(0x3_8000_0007));
        assert_eq!((zxid.epoch(), zxid.counter()), (3, 0x8000_0007));
        assert_eq!(zxid.to_string(), "0x380000007");
    }
}
