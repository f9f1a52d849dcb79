//! What a session is made of.

use rookeeper_jute::{SessionId, limits};

use crate::path::Chroot;

/// Settings of a session. [`Config::new`] has Java's defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many servers there are. The session names them by their place in a list that the
    /// caller keeps, and goes through it in order: shuffle it first.
    pub host_count: usize,
    /// The session timeout to ask for, in milliseconds.
    pub timeout_ms: u32,
    /// The path under which the session sees all others.
    pub chroot: Chroot,
    /// Whether a read-only server will do (Java: `canBeReadOnly`).
    pub read_only: ReadOnly,
    /// A session of before to go on with (Java: the constructor with id and password).
    pub resume: Option<(SessionId, Vec<u8>)>,
    /// Longest frame that a server may send, in bytes (`jute.maxbuffer` of the client).
    pub frame_len_max: usize,
    /// Whether watches are set again after a reconnect (`zookeeper.disableAutoWatchReset` says
    /// the opposite).
    pub watch_reset: bool,
    /// Whether requests are numbered from 1 on each connection, as kazoo does, and not through the
    /// session's life, as Java does.
    pub xid_restart: bool,
    /// Where the pauses before reconnects come from: equal seeds make equal sessions.
    pub seed: u64,
}

/// What the client says about read-only servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// A read-only server will not do.
    Refused,
    /// A read-only server will do until there is another.
    Accepted,
    /// Nothing, as clients up to 3.3 do: the byte is left out, and a server takes it for a refusal.
    Unsaid,
}

impl Config {
    /// A session on `host_count` servers with the timeout asked for.
    pub fn new(host_count: usize, timeout_ms: u32, seed: u64) -> Config {
        Config {
            host_count,
            timeout_ms,
            chroot: Chroot::default(),
            read_only: ReadOnly::Refused,
            resume: None,
            frame_len_max: limits::JUTE_MAXBUFFER_DEFAULT,
            watch_reset: true,
            xid_restart: false,
            seed,
        }
    }
}
