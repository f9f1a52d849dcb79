//! Long runs: `rookeeper-crash kill --cycles 200`, `rookeeper-crash power-cut --cycles 50`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rookeeper_crash::harness::{Crash, Plan, run};

/// Takes a real server down under write load, again and again, and checks what is left.
#[derive(Debug, Parser)]
struct Cli {
    /// How it goes down
    crash: Kind,
    /// How often
    #[arg(long, default_value_t = 200)]
    cycles: usize,
    /// Draws writes and moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Command of the server; a configuration file is appended
    #[arg(long)]
    server: String,
    /// Sessions that write
    #[arg(long, default_value_t = 4)]
    lanes: usize,
    /// Requests in flight on each
    #[arg(long, default_value_t = 16)]
    depth: usize,
    /// Longest load before a crash, in milliseconds
    #[arg(long, default_value_t = 600)]
    load_ms: u64,
    /// Where data are kept meanwhile
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// SIGKILL
    Kill,
    /// The file system is shut down without a flush
    PowerCut,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let plan = Plan {
        command: cli.server.split_whitespace().map(str::to_owned).collect(),
        crash: match cli.crash {
            Kind::Kill => Crash::Kill,
            Kind::PowerCut => Crash::PowerCut,
        },
        cycles: cli.cycles,
        seed: cli.seed,
        lanes: cli.lanes,
        depth: cli.depth,
        load_max: Duration::from_millis(cli.load_ms),
        folder: cli.folder,
    };
    let start = Instant::now();
    match run(&plan) {
        Ok(outcome) => {
            println!("{:?}: {outcome:?} in {:.0?}", plan.crash, start.elapsed());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{:?}: {why}", plan.crash);
            ExitCode::FAILURE
        }
    }
}
