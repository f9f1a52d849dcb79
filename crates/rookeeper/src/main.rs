//! The one binary: `rookeeper server`, `status`, `version` and `bench`. No rule of ZooKeeper lives
//! here; this is where the file system, the environment and the terminal are.
//!
//! # Layout
//! - `files`: reading configuration files and what the system tells of the process
//! - `logging`: the log on standard error
//! - `server`: `rookeeper server`
//! - `status`: `rookeeper status`
//! - `version`: the version as clients and people see it
#![forbid(unsafe_code)]

/// Prints a line, as `println!` does, for a reader who may have gone (`| grep -q`).
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod files;
mod logging;
mod server;
mod status;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server that every ZooKeeper client takes for a ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "rookeeper", version = version::FULL, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server in the foreground until SIGTERM or SIGINT
    ///
    /// Without a word: client port 2181, data in ./data. With one: a zoo.cfg. With more: port
    /// datadir [ticktime] [maxcnxns]. -Dname=value sets a Java system property; those in
    /// SERVER_JVMFLAGS and JVMFLAGS are taken as well.
    #[command(override_usage = server::USAGE)]
    Server {
        /// zoo.cfg | port datadir [ticktime] [maxcnxns], and -Dname=value
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ask the server of a zoo.cfg for its mode, by the four-letter word srvr
    #[command(override_usage = "rookeeper status [zoo.cfg] [-Dname=value]...")]
    Status {
        /// zoo.cfg and -Dname=value
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print the version
    Version,
    /// Load any ZooKeeper server and measure it; `rookeeper bench --help` lists the scenarios
    #[command(disable_help_flag = true)]
    Bench {
        /// See `rookeeper bench --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Server { arguments } => server::run(arguments),
        Command::Status { arguments } => status::run(arguments),
        Command::Version => {
            say!("Rookeeper for Apache ZooKeeper, version {}", version::FULL);
            ExitCode::SUCCESS
        }
        Command::Bench { arguments } => {
            let name = OsString::from("rookeeper bench");
            rookeeper_bench::run(std::iter::once(name).chain(arguments))
        }
    }
}
