//! `rookeeper-sim run --seeds N --first S --members 1|3|5`: runs seeds until one finds something.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rookeeper_sim::plan::Setup;
use rookeeper_sim::runs::{Outcome, Sum, run};

struct Options {
    seeds: u64,
    first: u64,
    members: Vec<usize>,
    is_loud: bool,
    keeps_going: bool,
    jobs: u64,
}

const USAGE: &str = "rookeeper-sim run [--seeds N] [--first S] [--members 1,3,5] [--loud]
  --seeds N     how many seeds; 0 runs until stopped (default 100)
  --first S     the first seed (default 1)
  --members L   numbers of servers, in turn (default 3,5)
  --jobs N      threads, each with seeds of its own (default 1)
  --loud        print each event
  --keep-going  count what is found and go on";

fn options(args: &[String]) -> Result<Options, String> {
    let members = vec![3, 5];
    let mut options =
        Options { seeds: 100, first: 1, members, is_loud: false, keeps_going: false, jobs: 1 };
    let mut args = args.iter();
    if args.next().map(String::as_str) != Some("run") {
        return Err(USAGE.to_owned());
    }
    while let Some(flag) = args.next() {
        if flag == "--loud" {
            options.is_loud = true;
            continue;
        }
        if flag == "--keep-going" {
            options.keeps_going = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| format!("{flag}: {text:?} is not a number"))
        };
        match flag.as_str() {
            "--seeds" => options.seeds = number(value)?,
            "--first" => options.first = number(value)?,
            "--jobs" => options.jobs = number(value)?.max(1),
            "--members" => {
                let list = value.split(',').map(|text| number(text).map(|count| count as usize));
                options.members = list.collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("{flag} is unknown\n{USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = match options(&args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let next = AtomicU64::new(options.first);
    let state = Mutex::new((Sum::default(), 0u64));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| run_some(&options, &next, &state));
        }
    });
    let (sum, failed) = state.into_inner().expect("no thread panics while it adds");
    println!("{}", sum.text(begun.elapsed().as_millis()));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds, one after the other, until none is left.
fn run_some(options: &Options, next: &AtomicU64, state: &Mutex<(Sum, u64)>) {
    let end = options.first.saturating_add(options.seeds);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if options.seeds != 0 && seed >= end {
            return;
        }
        let members = options.members[seed as usize % options.members.len()];
        let mut setup = Setup::new(seed, members);
        setup.is_loud = options.is_loud;
        let Outcome { report, fault } = run(setup);
        let (sum, failed) = &mut *state.lock().expect("no thread panics while it adds");
        match fault {
            None => sum.add(&report),
            Some(fault) => {
                *failed += 1;
                let commit = option_env!("ROOKEEPER_COMMIT").unwrap_or("unknown");
                println!("seed {seed}, {members} members, commit {commit}: {fault}");
                println!("trace {:016x} after {} events", report.trace, report.events);
            }
        }
        if *failed > 0 && !options.keeps_going {
            return;
        }
        let done = sum.seeds + *failed;
        if done.is_multiple_of(100) {
            println!("{done} seeds, {failed} failed");
        }
    }
}
