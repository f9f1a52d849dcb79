//! `rookeeper-sim run --seeds N --first S --members 1|3|5`: runs seeds until one finds something,
//! and writes down what was done to its world; `rookeeper-sim replay FILE` does that again.
//! `rookeeper-sim speed`: how fast virtual time passes.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rookeeper_sim::plan::Setup;
use rookeeper_sim::runs::{Outcome, Sum, run};
use rookeeper_sim::scenario::{self, Scenario};

/// Prints a line, as `println!` does, and ends the process where nobody reads it.
macro_rules! say {
    ($($line:tt)*) => {
        rookeeper_sim::output::print_line(&mut std::io::stdout(), format_args!($($line)*))
    };
}

struct Options {
    seeds: u64,
    first: u64,
    members: Vec<usize>,
    is_loud: bool,
    keeps_going: bool,
    jobs: u64,
    mutation: Option<String>,
    tells_speed: bool,
}

const USAGE: &str = "rookeeper-sim run [--seeds N] [--first S] [--members 1,3,5] [--loud]
  --seeds N     how many seeds; 0 runs until stopped (default 100)
  --first S     the first seed (default 1)
  --members L   numbers of servers, in turn (default 3,5)
  --mutation M  puts a known bug back (with the feature `mutations`); `all` tries each in turn
                and says in how many seeds it is found
  --jobs N      threads, each with seeds of its own (default 1)
  --loud        print each event
  --keep-going  count what is found and go on
What went wrong in a seed that finds something is written to failed-<seed>-of-<members>.txt.

rookeeper-sim replay FILE [--loud] [--mutation M]
  runs a scenario: such a file, or one written by hand

rookeeper-sim speed [--seeds N] [--first S]
  virtual seconds a second of one core, for three members at 200 operations a second with all
  troubles (default 20 seeds)";

/// The load at which speed is told.
const SPEED_OPERATIONS_PER_S: u64 = 200;

fn options(args: &[String]) -> Result<Options, String> {
    let members = vec![3, 5];
    let mut options = Options {
        seeds: 100,
        first: 1,
        members,
        is_loud: false,
        keeps_going: false,
        jobs: 1,
        mutation: None,
        tells_speed: false,
    };
    let mut args = args.iter();
    match args.next().map(String::as_str) {
        Some("run") => {}
        Some("speed") => (options.tells_speed, options.seeds) = (true, 20),
        _ => return Err(USAGE.to_owned()),
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
            "--mutation" => options.mutation = Some(value.clone()),
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
    if let [command, file, flags @ ..] = &args[..]
        && command == "replay"
    {
        if let Some(at) = flags.iter().position(|flag| flag == "--mutation")
            && let Err(what) = put_back(flags.get(at + 1).map_or("", String::as_str))
        {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
        return replay(file, flags.iter().any(|flag| flag == "--loud"));
    }
    let options = match options(&args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if options.tells_speed {
        return speed(&options);
    }
    if let Some(name) = &options.mutation {
        return mutations(&options, name);
    }
    write_down_panics();
    let begun = Instant::now();
    let next = AtomicU64::new(options.first);
    let state = Mutex::new((Sum::default(), 0u64));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| run_some(&options, &next, &state));
        }
    });
    let (sum, failed) = state.into_inner().expect("no thread panics while it adds");
    say!("{}", sum.text(begun.elapsed().as_millis()));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the scenario of this thread's run to a file, and says where.
fn write_down(why: &str) {
    let Some(scenario) = scenario::of_this_thread() else { return };
    let name = format!("failed-{}-of-{}.txt", scenario.seed, scenario.members);
    let why: String = why.lines().map(|line| format!("# {line}\n")).collect();
    match std::fs::write(&name, format!("{why}{scenario}")) {
        Ok(()) => say!("what was done to it: {name}"),
        Err(error) => say!("{name} cannot be written: {error}"),
    }
}

/// An assertion that ends the process leaves its scenario behind too.
fn write_down_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        write_down(&panic.to_string());
    }));
}

/// Runs a scenario.
fn replay(file: &str, is_loud: bool) -> ExitCode {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let scenario: Scenario = match text.and_then(|text| text.parse()) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{file}: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let Outcome { report, fault } = run(Setup { is_loud, ..scenario.setup() });
    let mut sum = Sum::default();
    sum.add(&report);
    say!("{}", sum.text(begun.elapsed().as_millis()));
    let missing = scenario.check(&report).err();
    let found = fault.map(|fault| fault.to_string()).or(missing);
    match found {
        None => ExitCode::SUCCESS,
        Some(what) => {
            say!("{file}: {what}\ntrace {:016x}", report.trace);
            ExitCode::FAILURE
        }
    }
}

/// Processor time of the calling thread in nanoseconds, where Linux tells it.
fn processor_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Tells how fast virtual time passes on one core.
fn speed(options: &Options) -> ExitCode {
    let mut sum = Sum::default();
    let (begun, begun_ns) = (Instant::now(), processor_ns());
    for seed in options.first..options.first.saturating_add(options.seeds) {
        let mut setup = Setup::new(seed, 3);
        setup.operations_per_s = Some(SPEED_OPERATIONS_PER_S);
        let Outcome { report, fault } = run(setup);
        if let Some(fault) = fault {
            say!("seed {seed}, 3 members at a fixed rate: {fault}");
            return ExitCode::FAILURE;
        }
        sum.add(&report);
    }
    let took_s = begun.elapsed().as_secs_f64();
    let used = begun_ns.and_then(|from_ns| Some(processor_ns()?.saturating_sub(from_ns)));
    let used_s = used.map_or(took_s, |used_ns| used_ns as f64 / 1e9);
    let virtual_s = sum.total.virtual_us as f64 / 1e6;
    let rate = sum.total.operations as f64 / virtual_s;
    say!("{}", sum.text(begun.elapsed().as_millis()));
    say!(
        "3 members, {rate:.0} operations a second: {virtual_s:.0} virtual seconds in {used_s:.1} s \
         of one core ({took_s:.1} s by the clock), {:.0} a second and core",
        virtual_s / used_s
    );
    ExitCode::SUCCESS
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
                say!("seed {seed}, {members} members, commit {commit}: {fault}");
                say!("trace {:016x} after {} events", report.trace, report.events);
                write_down(&fault.to_string());
            }
        }
        if *failed > 0 && !options.keeps_going {
            return;
        }
        let done = sum.seeds + *failed;
        if done.is_multiple_of(100) {
            say!("{done} seeds, {failed} failed");
        }
    }
}

/// Puts a known bug back.
#[cfg(feature = "mutations")]
fn put_back(name: &str) -> Result<(), String> {
    use rookeeper_jute::mutation::{Mutation, turn_on};
    let mutation = Mutation::ALL.iter().find(|mutation| mutation.name() == name);
    turn_on(Some(*mutation.ok_or_else(|| format!("{name:?} is no known bug"))?));
    Ok(())
}

#[cfg(not(feature = "mutations"))]
fn put_back(_name: &str) -> Result<(), String> {
    Err("this binary was built without the feature `mutations`".to_owned())
}

/// Puts known bugs back, one at a time, and says in how many seeds each is found.
#[cfg(feature = "mutations")]
fn mutations(options: &Options, name: &str) -> ExitCode {
    use rookeeper_jute::mutation::{Mutation, turn_on};
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = 0;
    let wanted = |mutation: &&Mutation| name == "all" || mutation.name() == name;
    for mutation in Mutation::ALL.iter().filter(wanted) {
        turn_on(Some(*mutation));
        let found = (0..options.seeds).find_map(|at| {
            let seed = options.first + at;
            let members = options.members[seed as usize % options.members.len()];
            let fault = run(Setup::new(seed, members)).fault?;
            // What the seed finds without the bug is not found for it.
            turn_on(None);
            let is_of_the_bug = run(Setup::new(seed, members)).fault.is_none();
            turn_on(Some(*mutation));
            is_of_the_bug.then_some((at + 1, seed, fault))
        });
        match found {
            Some((tried, seed, fault)) => {
                let (check, what) = (fault.check, fault.what.replace('\n', " "));
                let what: String = what.chars().take(120).collect();
                say!("| {} | {tried} | {seed} | {check} | {what} |", mutation.name());
            }
            None => {
                missed += 1;
                say!("| {} | not in {} | | | |", mutation.name(), options.seeds);
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutations"))]
fn mutations(_options: &Options, _name: &str) -> ExitCode {
    eprintln!("this binary was built without the feature `mutations`");
    ExitCode::from(2)
}
