//! Operations of the client protocol and of the log (Java: `ZooDefs.OpCode`, `CreateMode`).

macro_rules! ops {
    ($($(#[$meta:meta])* $name:ident = $value:expr),* $(,)?) => {
        /// What a request asks for, and what a transaction in the log did.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum OpCode { $($(#[$meta])* $name = $value),* }
        impl OpCode {
            /// Every operation.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name),*];
            /// The operation of a number, `None` for an unknown one.
            pub fn from_i32(value: i32) -> Option<Self> {
                match value { $($value => Some(OpCode::$name),)* _ => None }
            }
        }
    };
}

ops! {
    /// A watch event; invalid as a request.
    Notification = 0,
    /// Create a znode, answered with its path.
    Create = 1,
    /// Delete a znode.
    Delete = 2,
    /// Stat of a znode, or NoNode.
    Exists = 3,
    /// Data and Stat.
    GetData = 4,
    /// Set data.
    SetData = 5,
    /// ACL and Stat.
    GetAcl = 6,
    /// Set the ACL.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Flush the channel from the leader.
    Sync = 9,
    /// Keep the session alive.
    Ping = 11,
    /// Names of the children and Stat.
    GetChildren2 = 12,
    /// Check a version; only inside multi.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Create a znode, answered with path and Stat.
    Create2 = 15,
    /// Change the ensemble.
    Reconfig = 16,
    /// Ask whether a watch is set.
    CheckWatches = 17,
    /// Remove watches.
    RemoveWatches = 18,
    /// Create a container znode.
    CreateContainer = 19,
    /// Delete an empty container or TTL znode.
    DeleteContainer = 20,
    /// Create a znode with a time to live.
    CreateTtl = 21,
    /// Several reads.
    MultiRead = 22,
    /// Children by page, in order of creation (Helix, LinkedIn's fork).
    GetChildrenPaginated = 71,
    /// Add an identity to the connection.
    Auth = 100,
    /// Set one-shot watches again after a reconnect.
    SetWatches = 101,
    /// A step of a SASL exchange.
    Sasl = 102,
    /// Ephemeral znodes of the caller's session.
    GetEphemerals = 103,
    /// How many descendants a znode has.
    GetAllChildrenNumber = 104,
    /// Set all kinds of watches again after a reconnect.
    SetWatches2 = 105,
    /// Add a persistent or persistent recursive watch.
    AddWatch = 106,
    /// Identities of the connection.
    WhoAmI = 107,
    /// Open a session; internal to servers and the log.
    CreateSession = -10,
    /// Close a session.
    CloseSession = -11,
    /// A failed write in the log.
    Error = -1,
}

impl OpCode {
    /// The number on the wire.
    pub fn to_i32(self) -> i32 {
        self as i32
    }

    /// Whether the request is ordered by the leader and takes a zxid
    /// (Java: `Request.isQuorum`, global sessions).
    pub fn is_quorum(self) -> bool {
        use OpCode::*;
        matches!(
            self,
            Create
                | Create2
                | CreateTtl
                | CreateContainer
                | Delete
                | DeleteContainer
                | SetData
                | SetAcl
                | Check
                | Multi
                | Reconfig
                | CreateSession
                | CloseSession
                | Error
        )
    }
}

/// How a znode is created: the flags of a create request (Java: `CreateMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CreateMode {
    /// Stays until deleted.
    Persistent = 0,
    /// Deleted with its session.
    Ephemeral = 1,
    /// Persistent, with a number appended to its name.
    PersistentSequential = 2,
    /// Ephemeral, with a number appended to its name.
    EphemeralSequential = 3,
    /// Deleted some time after its last child was.
    Container = 4,
    /// Deleted when unchanged and childless for its time to live.
    PersistentWithTtl = 5,
    /// The same, with a number appended to its name.
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// The mode of a request's flags, `None` for what Java refuses with BadArguments.
    pub fn from_flags(flags: i32) -> Option<Self> {
        use CreateMode::*;
        Some(match flags {
            0 => Persistent,
            1 => Ephemeral,
            2 => PersistentSequential,
            3 => EphemeralSequential,
            4 => Container,
            5 => PersistentWithTtl,
            6 => PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// The flags on the wire.
    pub fn to_flags(self) -> i32 {
        self as i32
    }

    /// Whether the znode is owned by a session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether a number is appended to the name.
    pub fn is_sequential(self) -> bool {
        use CreateMode::*;
        matches!(self, PersistentSequential | EphemeralSequential | PersistentSequentialWithTtl)
    }

    /// Whether the znode has a time to live.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_number_and_back() {
        for op in OpCode::ALL {
            assert_eq!(OpCode::from_i32(op.to_i32()), Some(*op));
        }
        assert_eq!(OpCode::from_i32(10), None);
        for flags in 0..=6 {
            assert_eq!(CreateMode::from_flags(flags).map(CreateMode::to_flags), Some(flags));
        }
        assert_eq!(CreateMode::from_flags(7), None);
        assert_eq!(CreateMode::from_flags(-1), None);
    }
}
