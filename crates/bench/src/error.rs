//! Why a benchmark stops.

use std::io;

/// Why a benchmark stops: a figure from a server that answers wrongly is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A reply is not what the protocol allows, or not what was stored.
    #[error("wrong reply: {0}")]
    WrongReply(String),
    /// The server closed a connection that it should have kept.
    #[error("the server closed connection {0}")]
    Closed(usize),
    /// Something took longer than the benchmark waits.
    #[error("{0} took too long")]
    Timeout(String),
    /// The options contradict each other.
    #[error("{0}")]
    Usage(String),
}

impl BenchError {
    /// Wraps an I/O error, for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let what = what.into();
        move |source| BenchError::Io { what, source }
    }
}
