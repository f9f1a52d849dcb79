//! The log: plain lines on standard error, in colours on a terminal.

use std::io::IsTerminal;

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
        .init();
    if let Some(error) = wrong {
        tracing::warn!("{VARIABLE}={directives} is not understood, logging at info: {error}");
    }
}
