//! Long runs: `rookeeper-crash kill --cycles 200`, `rookeeper-crash power-cut --cycles 50`,
//! `rookeeper-crash ensemble-power-cut --cycles 100`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rookeeper_crash::ensemble::{Cuts, power_cuts};
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
    /// Members of the ensemble
    #[arg(long, default_value_t = 3)]
    members: usize,
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
    /// The same for one, some or all members of an ensemble
    EnsemblePowerCut,
}

fn ensemble(cli: &Cli) -> ExitCode {
    let binary = cli.server.split_whitespace().next().unwrap_or_default();
    let cuts = Cuts {
        binary: PathBuf::from(binary),
        members: cli.members,
        cycles: cli.cycles,
        judged_every: 10,
        seed: cli.seed,
        folder: cli.folder.clone(),
    };
    let start = Instant::now();
    match power_cuts(&cuts) {
        Ok(outcome) => {
            println!("{outcome:?} in {:.0?}", start.elapsed());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.crash, Kind::EnsemblePowerCut) {
        return ensemble(&cli);
    }
    let plan = Plan {
        command: cli.server.split_whitespace().map(str::to_owned).collect(),
        crash: match cli.crash {
            Kind::Kill => Crash::Kill,
            Kind::PowerCut | Kind::EnsemblePowerCut => Crash::PowerCut,
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
