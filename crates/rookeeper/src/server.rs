//! `rookeeper server`: from the command line to the exit code.

use std::process::ExitCode;
use std::sync::Arc;

use rookeeper_server::config::{self, ConfigError, Invocation, NoticeLevel, ServerConfig};
use rookeeper_server::{Server, StartError};

use crate::{files, logging, version};

/// The forms of the command line.
pub const USAGE: &str =
    "rookeeper server [zoo.cfg | port datadir [ticktime] [maxcnxns]] [-Dname=value]...";

/// Java's `ExitCode.INVALID_INVOCATION`.
const INVALID_INVOCATION: u8 = 2;
/// Java's `ExitCode.UNABLE_TO_ACCESS_DATADIR`.
const UNABLE_TO_ACCESS_DATADIR: u8 = 3;
/// Java's `ExitCode.UNEXPECTED_ERROR`.
const UNEXPECTED_ERROR: u8 = 1;

/// Runs a server until it is told to stop or has to.
pub fn run(arguments: Vec<String>) -> ExitCode {
    files::allow_all_descriptors();
    let config = match configuration(arguments) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    logging::start(config.log_level);
    tracing::info!("rookeeper {}", version::FULL);
    tracing::info!("{}", config.source);
    for notice in &config.notices {
        match notice.level {
            NoticeLevel::Info => tracing::info!("{}", notice.text),
            NoticeLevel::Warn => tracing::warn!("{}", notice.text),
        }
    }
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => return not_started(&error),
    };
    if let Err(error) = server.stop_on_signals() {
        tracing::error!("signals cannot be caught, so the server would not stop well: {error}");
        return ExitCode::from(UNEXPECTED_ERROR);
    }
    let code = server.wait();
    server.stop();
    tracing::info!("stopped");
    ExitCode::from(code as u8)
}

/// Reads the configuration that command line and environment name.
pub fn configuration(arguments: Vec<String>) -> Result<ServerConfig, ConfigError> {
    let call = Invocation::new(arguments, |name| std::env::var(name).ok())?;
    let mut config = config::load(&call, &files::System)?;
    config.version = version::FULL.to_string();
    config.process = Arc::new(files::ThisProcess);
    Ok(config)
}

/// The log has not begun, since its level is part of what could not be read.
fn refuse(error: &ConfigError) -> ExitCode {
    logging::say(error);
    match error {
        ConfigError::Invocation(_) => logging::say(format_args!("Usage: {USAGE}")),
        _ => logging::say("Invalid config, exiting abnormally"),
    }
    ExitCode::from(INVALID_INVOCATION)
}

fn not_started(error: &StartError) -> ExitCode {
    tracing::error!("{error}");
    match error {
        StartError::Store(_) => {
            logging::say("Unable to access datadir, exiting abnormally");
            ExitCode::from(UNABLE_TO_ACCESS_DATADIR)
        }
        StartError::MembershipFiles { .. } => {
            logging::say("Invalid config, exiting abnormally");
            ExitCode::from(INVALID_INVOCATION)
        }
        _ => ExitCode::from(UNEXPECTED_ERROR),
    }
}
