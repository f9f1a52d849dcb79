//! Where a setting comes from, and why a configuration is refused.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a setting was given; it stands in every message about that setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    File {
        /// The path as it was given.
        path: Arc<str>,
        /// The line, counted from 1.
        line: usize,
    },
    /// A `-Dname=value` on the command line.
    Argument,
    /// A `-Dname=value` in an environment variable.
    Environment(&'static str),
    /// A bare word of the command line (`port datadir [ticktime] [maxcnxns]`).
    Positional,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Argument => f.write_str("command line (-D)"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Positional => f.write_str("command line"),
        }
    }
}

/// Why a configuration is refused. Every text names the place and the key; where Java has words
/// for the case, they are in the text.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file of the configuration cannot be read.
    #[error("Error processing {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the configuration is larger than any configuration.
    #[error("Error processing {path}: larger than {limit} bytes")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file is not a properties file.
    #[error("{origin}: {message}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What is wrong with it.
        message: String,
    },
    /// A value that its key does not take.
    #[error("{origin}: {key}: {message}")]
    Value {
        /// Where it was given.
        origin: Origin,
        /// The key as it was written.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something that must be given is not.
    #[error("{place}: {message}")]
    Missing {
        /// The file or the command line.
        place: String,
        /// What is missing, in Java's words where it has them.
        message: String,
    },
    /// A key asks for what this server does not do yet; to start without it would be worse.
    #[error("{origin}: {key} asks for {asks_for}, which this server does not have yet. {advice}")]
    NotYet {
        /// Where it was given.
        origin: Origin,
        /// The key as it was written.
        key: String,
        /// The feature.
        asks_for: &'static str,
        /// What can be done.
        advice: &'static str,
    },
    /// The file `myid` does not hold a server id.
    #[error("{path}: {message}")]
    MyId {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The words of the command line are not a call of the server.
    #[error("{0}")]
    Invocation(String),
}

/// Level of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeLevel {
    /// For the record.
    Info,
    /// Probably not what was meant.
    Warn,
}

/// Something that the configuration's reader has to say; the binary logs it once logging runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: NoticeLevel,
    /// One line.
    pub text: String,
}

/// A key that has to be set, at a place of the configuration.
pub(super) fn missing(place: &str, message: &str) -> ConfigError {
    ConfigError::Missing { place: place.to_string(), message: message.to_string() }
}
