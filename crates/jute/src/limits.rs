//! Every bound on lengths and counts that come from a network or a disk, with Java's property
//! name beside it. Figures are Java 3.9.5's defaults unless a line says otherwise.

/// Largest client request and, by default, largest string or buffer in a record, in bytes
/// (`jute.maxbuffer`).
pub const JUTE_MAXBUFFER_DEFAULT: usize = 0xf_ffff;

/// Smallest slack added to `jute.maxbuffer` for what is read from disk and peers, in bytes
/// (`zookeeper.jute.maxbuffer.extrasize`, default: the value of `jute.maxbuffer`).
pub const JUTE_EXTRASIZE_MIN: usize = 1024;

/// Largest election message, in bytes (Java: `QuorumCnxManager.PACKETMAXSIZE`).
pub const ELECTION_PACKET_MAX: usize = 524_288;

/// Largest address text in an election connection's first message, in bytes
/// (Java: `QuorumCnxManager.maxBuffer`).
pub const ELECTION_ADDRESS_MAX: usize = 2048;

/// Length of a session password, in bytes.
pub const SESSION_PASSWORD_LEN: usize = 16;

/// Identities of one connection (Java has no limit). They are kept with each request that waits,
/// and go with each write to the leader, in one packet.
pub const IDENTITIES_MAX: usize = 1024;

/// All of them together, in bytes as they are encoded; never more than `jute.maxbuffer` allows.
pub const IDENTITIES_LEN_MAX: usize = 64 << 10;

/// Requests in flight over all connections (`zookeeper.globalOutstandingLimit`).
pub const GLOBAL_OUTSTANDING_LIMIT_DEFAULT: usize = 1000;
