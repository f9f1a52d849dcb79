//! Long runs by hand, of the oracle and of ensembles under faults:
//!
//! ```text
//! cargo run --release -p rookeeper-interop -- oracle --seeds 50 --operations 2000 --io-threads 1,4
//! ROOKEEPER_BIN=target/release/rookeeper cargo run -p rookeeper-interop -- \
//!     faults --members RRRRR --seconds 1800 --round 120 --namespaces --delays --small-disks
//! ```
//!
//! A run of faults that fails tidies up by unwinding, which a release build does not do: it would
//! leave its members running.
//!
//! `proxy` and `crowd` are processes of runs and tests: see [`delay`] and [`crowd`].

use rookeeper_interop::ensemble::{crowd, delay, faults};
use rookeeper_interop::oracle::{self, Run};
use rookeeper_interop::server::Kind;
use rookeeper_interop::step::Step;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "oracle [--first SEED] [--seeds N] [--operations N] [--io-threads N,N] \
    [--java-java] [--minimise TRIALS] [--keep-going] [--show] [--alternate]";

const FAULTS_USAGE: &str = "faults [--members RRR] [--seconds N] [--round SECONDS] [--seed N] \
    [--lanes N] [--namespaces] [--delays] [--small-disks]";

fn fault_run(arguments: &[String]) -> Option<faults::Run> {
    let mut run = faults::Run {
        letters: "RRR".to_owned(),
        duration: Duration::from_secs(60),
        round: Duration::from_secs(60),
        seed: 1,
        namespaces: false,
        delays: false,
        small_disks: false,
        lanes: 8,
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--members" => run.letters.clone_from(rest.next()?),
            "--seconds" => run.duration = Duration::from_secs(rest.next()?.parse().ok()?),
            "--round" => run.round = Duration::from_secs(rest.next()?.parse().ok()?),
            "--seed" => run.seed = rest.next()?.parse().ok()?,
            "--lanes" => run.lanes = rest.next()?.parse().ok()?,
            "--namespaces" => run.namespaces = true,
            "--delays" => run.delays = true,
            "--small-disks" => run.small_disks = true,
            _ => return None,
        }
    }
    Some(run)
}

struct Options {
    first: u64,
    seeds: u64,
    operations: usize,
    io_threads: Vec<usize>,
    kinds: [Kind; 2],
    minimise: usize,
    keep_going: bool,
    show: bool,
    alternate: bool,
}

fn options(arguments: &[String]) -> Option<Options> {
    let mut options = Options {
        first: 1,
        seeds: 10,
        operations: 2000,
        io_threads: vec![1],
        kinds: [Kind::Java, Kind::Rookeeper],
        minimise: 0,
        keep_going: false,
        show: false,
        alternate: false,
    };
    let mut rest = arguments.iter();
    if rest.next().map(String::as_str) != Some("oracle") {
        return None;
    }
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--first" => options.first = rest.next()?.parse().ok()?,
            "--seeds" => options.seeds = rest.next()?.parse().ok()?,
            "--operations" => options.operations = rest.next()?.parse().ok()?,
            "--io-threads" => {
                let counts: Result<Vec<usize>, _> =
                    rest.next()?.split(',').map(str::parse).collect();
                options.io_threads = counts.ok()?;
            }
            "--minimise" => options.minimise = rest.next()?.parse().ok()?,
            "--java-java" => options.kinds = [Kind::Java, Kind::Java],
            "--alternate" => options.alternate = true,
            "--show" => options.show = true,
            "--keep-going" => options.keep_going = true,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let served = match arguments.first().map(String::as_str) {
        Some("proxy") => Some(delay::serve(&arguments[1..])),
        Some("crowd") => Some(crowd::serve(&arguments[1..])),
        _ => None,
    };
    if let Some(served) = served {
        return match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{}: {why}", arguments[0]);
                ExitCode::FAILURE
            }
        };
    }
    if arguments.first().map(String::as_str) == Some("faults") {
        let Some(run) = fault_run(&arguments[1..]) else {
            eprintln!("usage: {FAULTS_USAGE}");
            return ExitCode::from(2);
        };
        println!("{:?}", faults::run(&run));
        return ExitCode::SUCCESS;
    }
    let Some(options) = options(&arguments) else {
        eprintln!("usage: {USAGE}\n       {FAULTS_USAGE}");
        return ExitCode::from(2);
    };
    let (mut total, mut differences) = (0, 0);
    for seed in options.first..options.first + options.seeds {
        let turn = usize::try_from(seed).unwrap_or(0) % options.io_threads.len().max(1);
        let io_threads = options.io_threads.get(turn).copied().unwrap_or(1);
        let run = Run {
            kinds: options.kinds,
            seed,
            operations: options.operations,
            io_threads,
            show: options.show,
            alternate: options.alternate,
        };
        match oracle::run(run) {
            Ok(count) => {
                total += count;
                println!(
                    "seed {seed} ({io_threads} I/O threads): {count} operations, no difference"
                );
            }
            Err(found) => {
                differences += 1;
                println!("seed {seed} ({io_threads} I/O threads): DIFFERENCE at {found}");
                if options.minimise > 0 {
                    let small = oracle::minimise(run, found, options.minimise);
                    println!("minimised:\n{small}all steps:");
                    small.steps.iter().map(Step::describe).for_each(|text| println!("  {text}"));
                }
                if !options.keep_going {
                    break;
                }
            }
        }
    }
    println!("{total} operations without a difference, {differences} seeds with one");
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
