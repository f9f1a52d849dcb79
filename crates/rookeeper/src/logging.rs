//! The log: plain lines on standard error, in colours on a terminal.

use std::fmt;
use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// Environment variable with a level (`debug`) or with levels by module
/// (`info,rookeeper_server=trace`); it speaks over the configuration.
pub const VARIABLE: &str = "ROOKEEPER_LOG";

/// Starts the log at the level of the configuration, info by default.
pub fn start(level: Option<&str>) {
    let given = std::env::var(VARIABLE).ok().filter(|directives| !directives.is_empty());
    let directives = given.unwrap_or_else(|| level.unwrap_or("info").to_string());
    let (filter, wrong) = match EnvFilter::try_new(&directives) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A line that cannot be written (a full disk, a reader that has gone) is lost. Telling of
        // it on the same standard error would end the process.
        .log_internal_errors(false)
        .init();
    if let Some(error) = wrong {
        tracing::warn!("{VARIABLE}={directives} is not understood, logging at info: {error}");
    }
}

/// Says something on standard error before the log has begun, or beside it; where that cannot be
/// written, nobody is there to be told.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
