//! File headers (Java: `org.apache.zookeeper.server.persistence`).

record! {
    /// The first record of a log or snapshot.
    #[derive(Copy)]
    pub struct FileHeader {
        /// [`LOG_MAGIC`] or [`SNAPSHOT_MAGIC`].
        magic: i32,
        /// [`VERSION`].
        version: i32,
        /// 0 in logs, -1 in snapshots.
        dbid: i64,
    }
}

/// Length of a [`FileHeader`] in bytes.
pub const FILE_HEADER_LEN: usize = 16;
/// "ZKLG".
pub const LOG_MAGIC: i32 = 0x5a4b_4c47;
/// "ZKSN".
pub const SNAPSHOT_MAGIC: i32 = 0x5a4b_534e;
/// Version of both formats.
pub const VERSION: i32 = 2;
/// Follows every record of a log: 'B'.
pub const END_OF_RECORD: u8 = 0x42;
/// Bytes of a log's record beside its transaction: checksum, length and [`END_OF_RECORD`].
pub const RECORD_OVERHEAD: usize = 8 + 4 + 1;
