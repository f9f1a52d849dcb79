//! The command line of `rookeeper bench`.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare::{self, CompareArgs};
use crate::error::BenchError;
use crate::fill::{self, FillOptions};
use crate::idle::{self, IdleOptions};
use crate::limit::{self, LimitOptions};
use crate::load::{self, LoadOptions, Mix};
use crate::pipeline::Width;
use crate::report::Report;
use crate::storm::{self, StormOptions};
use crate::watch::{self, WatchOptions};

/// Loads a ZooKeeper server, checks every reply, and says what it takes.
#[derive(Debug, Parser)]
#[command(name = "rookeeper bench")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// A mixed load: operations a second and a CPU-second, latencies
    Load(LoadArgs),
    /// Many sessions watch one znode: how long until the last is told
    Watch(WatchArgs),
    /// Sessions opened and closed: how many a second
    Storm(StormArgs),
    /// Idle sessions: memory each
    Idle(IdleArgs),
    /// Many znodes: memory
    Fill(FillArgs),
    /// What this machine allows: an echo of frames, or a replicated and synced one
    Limit(LimitArgs),
    /// Two kinds of server side by side, on this machine
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The server; load and storm spread over several, separated by commas
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2181", value_delimiter = ',')]
    server: Vec<String>,
    /// A process of the server, for CPU time and memory; may be given more than once
    #[arg(long)]
    pid: Vec<u32>,
}

impl ServerArgs {
    fn address(&self) -> Result<SocketAddr, BenchError> {
        self.server.first().map_or_else(
            || Err(BenchError::Usage("no server is named".to_owned())),
            |name| resolve(name),
        )
    }

    /// All but the first.
    fn others(&self) -> Result<Vec<SocketAddr>, BenchError> {
        self.server.iter().skip(1).map(|name| resolve(name)).collect()
    }
}

fn resolve(name: &str) -> Result<SocketAddr, BenchError> {
    let mut addresses = name.to_socket_addrs().map_err(BenchError::io(name))?;
    addresses.next().ok_or_else(|| BenchError::Usage(format!("{name} has no address")))
}

#[derive(Debug, Args)]
struct LoadArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Sessions, each on its own connection
    #[arg(short, long, default_value_t = 50)]
    connections: usize,
    /// Requests in flight on each connection
    #[arg(short, long, default_value_t = 1)]
    depth: usize,
    /// Threads of the client
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Weights of get, set, create, delete, exists, children
    #[arg(short, long, default_value = "get=80,set=20")]
    mix: Mix,
    /// Bytes of data a znode
    #[arg(long, default_value_t = 100)]
    value_len: usize,
    /// Znodes to choose from
    #[arg(long, default_value_t = 1000)]
    znodes: u64,
    /// Seconds of load before the measure
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Operations to measure, instead of seconds
    #[arg(long)]
    operations: Option<u64>,
    /// The znode to work under; it is deleted at the end
    #[arg(long, default_value = "/rookeeper-bench")]
    root: String,
}

#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Sessions that watch
    #[arg(short, long, default_value_t = 5000)]
    watchers: usize,
    /// How often the znode is set
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Debug, Args)]
struct StormArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Sessions in all
    #[arg(short, long, default_value_t = 10_000)]
    sessions: usize,
    /// Sessions at a time
    #[arg(long, default_value_t = 50)]
    at_once: usize,
}

#[derive(Debug, Args)]
struct IdleArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Sessions
    #[arg(short, long, default_value_t = 5000)]
    sessions: usize,
    /// Seconds that they stay
    #[arg(long, default_value_t = 2.0)]
    hold: f64,
}

#[derive(Debug, Args)]
struct FillArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Znodes to make
    #[arg(short, long, default_value_t = 1_000_000)]
    znodes: u64,
    /// Bytes of data a znode
    #[arg(long, default_value_t = 100)]
    value_len: usize,
    /// Znodes under one parent
    #[arg(long, default_value_t = 1000)]
    per_parent: u64,
    /// Creates in one multi
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Connections
    #[arg(short, long, default_value_t = 4)]
    connections: usize,
    /// Multis in flight on each connection
    #[arg(short, long, default_value_t = 4)]
    depth: usize,
    /// The znode to make them under; it stays
    #[arg(long, default_value = "/rookeeper-fill")]
    root: String,
}

#[derive(Debug, Args)]
struct LimitArgs {
    /// Connections
    #[arg(short, long, default_value_t = 50)]
    connections: usize,
    /// Frames in flight on each connection
    #[arg(short, long, default_value_t = 1)]
    depth: usize,
    /// Bytes of a request; the default is a get of the benchmark
    #[arg(long, default_value_t = 42)]
    request_len: usize,
    /// Bytes of a reply; the default is that to a get of 100 bytes
    #[arg(long, default_value_t = 188)]
    reply_len: usize,
    /// A folder for logs: replicate to followers and sync before each reply
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Followers to replicate to, where there is a folder for logs
    #[arg(long, default_value_t = 2)]
    followers: usize,
    /// Instead: open and close so many sessions, 50 at a time, two synced writes each
    #[arg(long, requires = "folder", conflicts_with = "watchers", value_name = "SESSIONS")]
    storm: Option<usize>,
    /// Instead: tell so many watchers of one znode, in 5 rounds
    #[arg(long, conflicts_with = "folder")]
    watchers: Option<usize>,
    /// Seconds of load before the measure
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Runs the command line `arguments`, the first of which is the program's name: 0 on success, 1
/// where the benchmark fails, 2 where the arguments are wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(&cli) {
        Ok(text) => {
            // The reader may have gone (`| head`): then nobody misses it.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rookeeper bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenario: what it found, as text.
fn dispatch(cli: &Cli) -> Result<String, BenchError> {
    let report = match &cli.scenario {
        Scenario::Load(args) => run_load(args)?,
        Scenario::Watch(args) => {
            let options = WatchOptions {
                address: args.server.address()?,
                pids: args.server.pid.clone(),
                watchers: args.watchers,
                rounds: args.rounds.max(1),
                path: "/rookeeper-bench-watched".to_owned(),
            };
            watch::run(&options)?.report(&options)
        }
        Scenario::Storm(args) => {
            let options = StormOptions {
                address: args.server.address()?,
                others: args.server.others()?,
                pids: args.server.pid.clone(),
                sessions: args.sessions,
                at_once: args.at_once.max(1),
            };
            storm::run(&options)?.report(&options)
        }
        Scenario::Idle(args) => {
            let options = IdleOptions {
                address: args.server.address()?,
                pids: args.server.pid.clone(),
                sessions: args.sessions,
                hold: seconds(args.hold)?,
            };
            idle::run(&options)?.report()
        }
        Scenario::Fill(args) => run_fill(args)?,
        Scenario::Limit(args) => run_limit(args)?,
        Scenario::Compare(args) => return compare::run(args, cli.json),
    };
    Ok(if cli.json { format!("{}\n", report.to_json()) } else { report.to_table() })
}

fn run_load(args: &LoadArgs) -> Result<Report, BenchError> {
    let options = LoadOptions {
        address: args.server.address()?,
        others: args.server.others()?,
        pids: args.server.pid.clone(),
        connections: args.connections,
        depth: args.depth,
        threads: args.threads,
        mix: args.mix,
        value_len: args.value_len,
        znodes: args.znodes,
        warm_up: seconds(args.warm_up)?,
        duration: seconds(args.seconds)?,
        operations: args.operations,
        root: args.root.clone(),
    };
    Ok(load::run(&options)?.report(&options))
}

fn run_fill(args: &FillArgs) -> Result<Report, BenchError> {
    let options = FillOptions {
        address: args.server.address()?,
        pids: args.server.pid.clone(),
        znodes: args.znodes,
        value_len: args.value_len,
        per_parent: args.per_parent,
        batch: args.batch,
        width: Width { connections: args.connections.max(1), depth: args.depth.max(1) },
        root: args.root.clone(),
    };
    Ok(fill::run(&options)?.report(&options))
}

/// Sessions at a time, and rounds of telling, as in a comparison.
const STORM_AT_ONCE: usize = 50;
const WATCH_ROUNDS: usize = 5;

fn run_limit(args: &LimitArgs) -> Result<Report, BenchError> {
    if let (Some(sessions), Some(folder)) = (args.storm, &args.folder) {
        let (options, result) = limit::sessions::storm(folder, sessions, STORM_AT_ONCE)?;
        return Ok(result.report(&options));
    }
    if let Some(watchers) = args.watchers {
        let (options, result) = limit::sessions::watch(watchers, WATCH_ROUNDS)?;
        return Ok(result.report(&options));
    }
    let options = LimitOptions {
        connections: args.connections,
        depth: args.depth,
        request_len: args.request_len,
        reply_len: args.reply_len,
        folder: args.folder.clone(),
        followers: args.followers,
        warm_up: seconds(args.warm_up)?,
        duration: seconds(args.seconds)?,
    };
    Ok(limit::run(&options)?.report(&options))
}

fn seconds(value: f64) -> Result<Duration, BenchError> {
    Duration::try_from_secs_f64(value)
        .map_err(|error| BenchError::Usage(format!("{value} seconds: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
