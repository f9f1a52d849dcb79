//! Two kinds of server side by side: the same scenarios in turns, on one machine, equally warm.
//!
//! Servers that are measured in turns run at the same time, and the one that is not asked is idle.
//! The turns alternate, so that a machine that grows slower or faster hits both alike.

mod ensemble;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::error::BenchError;
use crate::fill::{self, FillOptions};
use crate::idle::{self, IdleOptions};
use crate::load::{self, LoadOptions, Mix};
use crate::process;
use crate::report::{format_number, median};
use crate::servers::{Kind, Server};
use crate::storm::{self, StormOptions};
use crate::watch::{self, WatchOptions};

/// All sections.
const SECTIONS: &str = "start,throughput,watch,storm,idle,memory,\
    ensemble,ensemble-start,ensemble-rejoin,ensemble-mixed";

/// What to compare, and for how long.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Command of the server to compare with; its configuration file is appended
    #[arg(long)]
    base: String,
    /// Command of the server under test
    #[arg(long)]
    test: String,
    /// Name of the first
    #[arg(long, default_value = "java")]
    base_name: String,
    /// Name of the second
    #[arg(long, default_value = "rookeeper")]
    test_name: String,
    /// Folder for the servers' data; must be on a real disk, not in memory
    #[arg(long)]
    data_dir: PathBuf,
    /// Turns of each measure
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measure of throughput
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of load on each server before its first measure
    #[arg(long, default_value_t = 20.0)]
    warm_up: f64,
    /// Sessions that watch
    #[arg(long, default_value_t = 5000)]
    watchers: usize,
    /// Idle sessions
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Sessions opened and closed in a turn
    #[arg(long, default_value_t = 10_000)]
    storm: usize,
    /// Znodes of the memory test
    #[arg(long, default_value_t = 1_000_000)]
    znodes: u64,
    /// Sections to run
    #[arg(long, value_delimiter = ',', default_value = SECTIONS)]
    sections: Vec<String>,
}

/// One figure of both servers, by turn.
struct Row {
    key: String,
    label: String,
    unit: &'static str,
    /// What is to be reached.
    goal: Goal,
    values: [Vec<f64>; 2],
}

/// What the server under test is to reach.
#[derive(Clone, Copy)]
enum Goal {
    /// Nothing is asked.
    None,
    /// At least so many times the other's figure.
    TimesAtLeast(f64),
    /// At most this part of the other's figure.
    TimesAtMost(f64),
    /// At most this figure.
    AtMost(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Goal::None => String::new(),
            Goal::TimesAtLeast(times) => format!("≥ {times:.0}x"),
            Goal::TimesAtMost(times) => format!("≤ {times:.2}x"),
            Goal::AtMost(value) => format!("≤ {}", format_number(value)),
        }
    }

    fn reached(self, base: f64, test: f64) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::TimesAtLeast(times) => Some(test >= times * base),
            Goal::TimesAtMost(times) => Some(test <= times * base),
            Goal::AtMost(value) => Some(test <= value),
        }
    }
}

/// The table that grows.
struct Table {
    rows: Vec<Row>,
    names: [String; 2],
}

impl Table {
    fn add(
        &mut self,
        side: usize,
        key: &str,
        label: &str,
        unit: &'static str,
        goal: Goal,
        value: f64,
    ) {
        let name = &self.names[side];
        eprintln!("  {name:>10}  {label}: {} {unit}", format_number(value));
        let at = self.rows.iter().position(|row| row.key == key).unwrap_or_else(|| {
            let (key, label) = (key.to_owned(), label.to_owned());
            self.rows.push(Row { key, label, unit, goal, values: [Vec::new(), Vec::new()] });
            self.rows.len() - 1
        });
        self.rows[at].values[side].push(value);
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let [base, test] = &row.values;
            let reached = row.goal.reached(median(base), median(test));
            json!({
                "key": row.key, "unit": row.unit, "goal": row.goal.text(), "reached": reached,
                &self.names[0]: base, &self.names[1]: test,
                "ratio": median(test) / median(base),
            })
        });
        json!({ "comparison": rows.collect::<Vec<_>>() })
    }

    /// A table in Markdown.
    fn to_table(&self) -> String {
        let [base, test] = &self.names;
        let mut out = format!(
            "| measure (median) | unit | {base} | {test} | {test} / {base} | goal | reached |\n\
             |---|---|---:|---:|---:|---|---|\n"
        );
        for row in &self.rows {
            let [base, test] = [median(&row.values[0]), median(&row.values[1])];
            let reached = match row.goal.reached(base, test) {
                None => "",
                Some(true) => "yes",
                Some(false) => "no",
            };
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {reached} |",
                row.label,
                row.unit,
                format_number(base),
                format_number(test),
                format_number(test / base),
                row.goal.text(),
            )
            .expect("a string takes all");
        }
        out
    }
}

struct Comparison<'a> {
    args: &'a CompareArgs,
    kinds: [Kind; 2],
    folder: PathBuf,
    table: Table,
}

/// Runs the comparison: the table, or one JSON object.
///
/// # Errors
/// A server that does not start or answers wrongly.
pub fn run(args: &CompareArgs, json: bool) -> Result<String, BenchError> {
    fs::create_dir_all(&args.data_dir).map_err(BenchError::io("the data directory"))?;
    let folder = args.data_dir.canonicalize().map_err(BenchError::io("the data directory"))?;
    let kinds = [kind(&args.base_name, &args.base)?, kind(&args.test_name, &args.test)?];
    let names = [args.base_name.clone(), args.test_name.clone()];
    let table = Table { rows: Vec::new(), names };
    let mut comparison = Comparison { args, kinds, folder, table };
    for section in &args.sections {
        eprintln!("{section}");
        match section.as_str() {
            "start" => comparison.start()?,
            "throughput" | "watch" | "storm" => {}
            "idle" => comparison.idle()?,
            "memory" => comparison.memory()?,
            "ensemble" => comparison.ensemble()?,
            "ensemble-start" => comparison.ensemble_start()?,
            "ensemble-rejoin" => comparison.ensemble_rejoin()?,
            "ensemble-mixed" => comparison.ensemble_mixed()?,
            other => return Err(BenchError::Usage(format!("no section {other}"))),
        }
        if ["throughput", "watch", "storm"].contains(&section.as_str()) {
            comparison.warm(section)?;
        }
    }
    let table = &comparison.table;
    Ok(if json { format!("{}\n", table.to_json()) } else { table.to_table() })
}

/// A command line split at spaces; a program with a path is found from here.
fn kind(name: &str, command: &str) -> Result<Kind, BenchError> {
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let program = words.first_mut().ok_or_else(|| BenchError::Usage("an empty command".into()))?;
    if program.contains('/') {
        let path = Path::new(&*program).canonicalize().map_err(BenchError::io(program.clone()))?;
        *program = path.to_string_lossy().into_owned();
    }
    Ok(Kind { name: name.to_owned(), command: words, environment: Vec::new() })
}

impl Comparison<'_> {
    fn server(&self, side: usize, extra: &[&str]) -> Result<Server, BenchError> {
        Server::prepare(&self.kinds[side], &self.folder, extra)
    }

    /// Cold starts on an empty directory.
    fn start(&mut self) -> Result<(), BenchError> {
        for _ in 0..self.args.rounds {
            for side in 0..2 {
                let mut server = self.server(side, &[])?;
                let took = server.start()?;
                let label = "first answer after a cold start";
                self.table.add(side, "start_ms", label, "ms", Goal::AtMost(50.0), ms(took));
                let label = "CPU time of a cold start";
                let cpu = process::cpu_time_of_all(&server.pids())?;
                self.table.add(side, "start_cpu_ms", label, "ms", Goal::None, ms(cpu));
            }
        }
        Ok(())
    }

    /// Sections that measure warm servers in turns.
    fn warm(&mut self, section: &str) -> Result<(), BenchError> {
        let mut servers = [self.server(0, &[])?, self.server(1, &[])?];
        for server in &mut servers {
            server.start()?;
            self.warm_up(server)?;
        }
        for _ in 0..self.args.rounds {
            match section {
                "throughput" => self.throughput(&servers)?,
                "watch" => self.watch(&servers)?,
                _ => self.storm(&servers)?,
            }
        }
        for server in &mut servers {
            server.stop()?;
        }
        Ok(())
    }

    fn load(
        &self,
        server: &Server,
        mix: Mix,
        depth: usize,
        seconds: f64,
        warm: f64,
    ) -> LoadOptions {
        LoadOptions {
            address: server.address,
            others: Vec::new(),
            pids: server.pids(),
            connections: 50,
            depth,
            threads: 1,
            mix,
            value_len: 100,
            znodes: 1000,
            warm_up: Duration::from_secs_f64(warm),
            duration: Duration::from_secs_f64(seconds),
            operations: None,
            root: "/rookeeper-bench".to_owned(),
        }
    }

    /// Load of the kinds that are measured, so that a JVM has compiled what it will run.
    fn warm_up(&self, server: &Server) -> Result<(), BenchError> {
        let part = self.args.warm_up / 4.0;
        for mix in [Mix([1, 0, 0, 0, 0, 0]), Mix([0, 1, 0, 0, 0, 0])] {
            for depth in [1, 16] {
                load::run(&self.load(server, mix, depth, part, 0.0))?;
            }
        }
        let (address, pids) = (server.address, server.pids());
        storm::run(&StormOptions { address, others: Vec::new(), pids, sessions: 2000, at_once: 50 })
            .map(|_| ())
    }

    fn throughput(&mut self, servers: &[Server; 2]) -> Result<(), BenchError> {
        for (name, mix, depth, times) in [
            ("get", Mix([1, 0, 0, 0, 0, 0]), 1, 5.0),
            ("get", Mix([1, 0, 0, 0, 0, 0]), 16, 20.0),
            ("set", Mix([0, 1, 0, 0, 0, 0]), 1, 4.0),
            ("set", Mix([0, 1, 0, 0, 0, 0]), 16, 8.0),
        ] {
            for (side, server) in servers.iter().enumerate() {
                let result = load::run(&self.load(server, mix, depth, self.args.seconds, 1.0))?;
                let key = format!("{name}_depth_{depth}");
                let label = format!("{name}, depth {depth}");
                let (goal, value) = (Goal::TimesAtLeast(times), result.per_cpu_second());
                let per_cpu = format!("{label}, a server CPU-second");
                self.table.add(side, &format!("{key}_per_cpu"), &per_cpu, "/s", goal, value);
                let per_second = format!("{label}, a second");
                let value = result.per_second();
                self.table.add(
                    side,
                    &format!("{key}_per_second"),
                    &per_second,
                    "/s",
                    Goal::None,
                    value,
                );
                let value = result.latency.value_at_quantile(0.99) as f64 / 1e3;
                let p99 = format!("{label}, latency p99");
                self.table.add(side, &format!("{key}_p99"), &p99, "µs", Goal::None, value);
            }
        }
        Ok(())
    }

    fn watch(&mut self, servers: &[Server; 2]) -> Result<(), BenchError> {
        for (side, server) in servers.iter().enumerate() {
            let options = WatchOptions {
                address: server.address,
                pids: server.pids(),
                watchers: self.args.watchers,
                rounds: 5,
                path: "/rookeeper-bench-watched".to_owned(),
            };
            let result = watch::run(&options)?;
            let label = format!("{} watchers told", options.watchers);
            let goal = Goal::TimesAtMost(1.0 / 3.0);
            self.table.add(side, "watch_ms", &label, "ms", goal, result.told_all_ms());
        }
        Ok(())
    }

    fn storm(&mut self, servers: &[Server; 2]) -> Result<(), BenchError> {
        for (side, server) in servers.iter().enumerate() {
            let options = StormOptions {
                address: server.address,
                others: Vec::new(),
                pids: server.pids(),
                sessions: self.args.storm,
                at_once: 50,
            };
            let value = storm::run(&options)?.per_cpu_second();
            let label = "new sessions, a server CPU-second";
            self.table.add(side, "sessions_per_cpu", label, "/s", Goal::TimesAtLeast(5.0), value);
        }
        Ok(())
    }

    /// Idle sessions of fresh servers, after a few that came and went.
    fn idle(&mut self) -> Result<(), BenchError> {
        for _ in 0..self.args.rounds {
            for side in 0..2 {
                let mut server = self.server(side, &[])?;
                server.start()?;
                let (address, pids) = (server.address, server.pids());
                storm::run(&StormOptions {
                    address,
                    others: Vec::new(),
                    pids,
                    sessions: 500,
                    at_once: 50,
                })?;
                thread::sleep(Duration::from_millis(500));
                let options = IdleOptions {
                    address,
                    pids: server.pids(),
                    sessions: self.args.idle,
                    hold: Duration::from_secs(2),
                };
                let value = idle::run(&options)?.bytes_per_session();
                let label = format!("an idle session ({})", options.sessions);
                self.table.add(side, "idle_bytes", &label, "B", Goal::AtMost(2048.0), value);
                server.stop()?;
            }
        }
        Ok(())
    }

    /// Memory with many znodes, peak while a snapshot is written, restart.
    fn memory(&mut self) -> Result<(), BenchError> {
        for side in 0..2 {
            // Java starts a snapshot after between half of these transactions and all.
            let mut server = self.server(side, &["snapCount=100000"])?;
            server.start()?;
            self.fill(side, &server)?;
            self.snapshot(side, &server)?;
            for _ in 0..self.args.rounds {
                server.stop()?;
                let took = server.start()?.as_secs_f64();
                let label = format!("restart with {} znodes", self.args.znodes);
                self.table.add(side, "restart_s", &label, "s", Goal::AtMost(1.0), took);
                let label = "CPU time of that restart";
                let cpu = process::cpu_time_of_all(&server.pids())?.as_secs_f64();
                self.table.add(side, "restart_cpu_s", label, "s", Goal::None, cpu);
            }
            thread::sleep(Duration::from_secs(1));
            let value = mb(process::memory_of_all(&server.pids())?.resident);
            let label = "resident after the restart";
            self.table.add(side, "restart_resident_mb", label, "MB", Goal::None, value);
            server.stop()?;
        }
        Ok(())
    }

    fn fill(&mut self, side: usize, server: &Server) -> Result<(), BenchError> {
        let options = FillOptions::compared(server.address, server.pids(), self.args.znodes);
        let result = fill::run(&options)?;
        let per_second = result.znodes as f64 / result.elapsed.as_secs_f64();
        self.table.add(
            side,
            "fill_per_second",
            "creates in multis of 100",
            "/s",
            Goal::None,
            per_second,
        );
        thread::sleep(Duration::from_secs(2));
        let value = mb(process::memory_of_all(&server.pids())?.resident);
        let label = format!("{} znodes of 100 bytes, resident", options.znodes);
        self.table.add(side, "znodes_resident_mb", &label, "MB", Goal::AtMost(241.2), value);
        Ok(())
    }

    /// Writes until a snapshot of all znodes starts, and waits until it is whole.
    fn snapshot(&mut self, side: usize, server: &Server) -> Result<(), BenchError> {
        for pid in server.pids() {
            process::reset_peak(pid)?;
        }
        // A path, a StatPersisted and 100 bytes of data each.
        let expected = self.args.znodes * 200;
        let deadline = Instant::now() + Duration::from_secs(180);
        let mut seen = None;
        loop {
            let now = server.largest_snapshot().filter(|(_, len)| *len >= expected);
            if now.is_some() && now == seen {
                break;
            }
            seen = now;
            if Instant::now() > deadline {
                return Err(BenchError::Timeout("a snapshot".to_owned()));
            }
            if seen.is_none() {
                let mut load = self.load(server, Mix([0, 1, 0, 0, 0, 0]), 16, 0.0, 0.0);
                load.operations = Some(20_000);
                load::run(&load)?;
            }
            thread::sleep(Duration::from_secs(1));
        }
        let value = mb(process::memory_of_all(&server.pids())?.peak);
        let label = "peak while a snapshot is written";
        self.table.add(side, "snapshot_peak_mb", label, "MB", Goal::AtMost(289.4), value);
        Ok(())
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_against_the_right_side() {
        assert_eq!(Goal::TimesAtLeast(5.0).reached(10.0, 50.0), Some(true));
        assert_eq!(Goal::TimesAtLeast(5.0).reached(10.0, 49.0), Some(false));
        assert_eq!(Goal::TimesAtMost(0.5).reached(10.0, 5.0), Some(true));
        assert_eq!(Goal::AtMost(3.0).reached(1.0, 3.5), Some(false));
        assert_eq!(Goal::None.reached(1.0, 1.0), None);
    }
}
