//! A mixed load for a time or a number of operations, from one thread or several.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rookeeper_jute::proto::{
    CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, SetDataRequest,
};
use rookeeper_jute::{Acl, Encode, ErrorCode, OpCode};

use crate::check;
use crate::client::{Client, Scenario};
use crate::connection::{Connection, Reply};
use crate::error::BenchError;
use crate::pipeline::{self, Step, Width};
use crate::process;
use crate::report::Report;
use crate::value;

/// Operations of a mix, in the order of [`Mix`]'s weights.
pub const OPERATIONS: [&str; 6] = ["get", "set", "create", "delete", "exists", "children"];
const GET: usize = 0;
const SET: usize = 1;
const CREATE: usize = 2;
const DELETE: usize = 3;
const EXISTS: usize = 4;

/// Children of the znode that `children` lists.
const LISTED: usize = 10;

/// How often each operation is drawn, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix(pub [u32; 6]);

impl std::str::FromStr for Mix {
    type Err = String;

    /// Reads `get=80,set=20`; a name alone weighs 1.
    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights = [0; 6];
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let at = OPERATIONS.iter().position(|operation| *operation == name.trim());
            let at = at.ok_or(format!("unknown operation {name}: one of {OPERATIONS:?}"))?;
            weights[at] = weight.trim().parse().map_err(|_| format!("bad weight {weight}"))?;
        }
        let sum = weights.iter().try_fold(0u32, |sum, weight| sum.checked_add(*weight));
        match sum {
            Some(0) | None => Err(format!("the weights of {text} have no sum")),
            Some(_) => Ok(Mix(weights)),
        }
    }
}

/// What to load, and how.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The server.
    pub address: SocketAddr,
    /// Other members of its ensemble: connections go to each in turn.
    pub others: Vec<SocketAddr>,
    /// Processes whose CPU time is the server's.
    pub pids: Vec<u32>,
    /// Sessions, each on its own connection.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    /// Threads that share the connections.
    pub threads: usize,
    /// What they ask for.
    pub mix: Mix,
    /// Bytes of data a znode.
    pub value_len: usize,
    /// Znodes that get, set and exists choose from.
    pub znodes: u64,
    /// Load before the measure starts.
    pub warm_up: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Where set, how many operations to measure, however long that takes.
    pub operations: Option<u64>,
    /// The znode under which all others are made.
    pub root: String,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct LoadResult {
    /// Replies within the measure.
    pub operations: u64,
    /// The same by operation.
    pub by_operation: [u64; 6],
    /// How long the measure took.
    pub elapsed: Duration,
    /// CPU time of the server within the measure; zero where no process was named.
    pub server_cpu: Duration,
    /// CPU time of this process within the measure.
    pub client_cpu: Duration,
    /// Nanoseconds from queueing a request to reading its reply.
    pub latency: Histogram<u64>,
    /// The server's memory at the end.
    pub memory: process::Memory,
}

impl LoadResult {
    /// Replies a second.
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// Replies a second of the server's CPU time; 0 where that is unknown.
    pub fn per_cpu_second(&self) -> f64 {
        let cpu = self.server_cpu.as_secs_f64();
        if cpu > 0.0 { self.operations as f64 / cpu } else { 0.0 }
    }

    /// All figures.
    pub fn report(&self, options: &LoadOptions) -> Report {
        let LoadOptions { connections, depth, value_len, .. } = options;
        let mut report = Report::new(format!(
            "load: {connections} connections, depth {depth}, {value_len} bytes"
        ));
        report.add("operations", "operations", self.operations as f64, "");
        report.add("seconds", "measured for", self.elapsed.as_secs_f64(), "s");
        report.add("operations_per_second", "operations a second", self.per_second(), "/s");
        if !options.pids.is_empty() {
            let cpu = self.server_cpu.as_secs_f64();
            report.add("server_cpu_seconds", "CPU time of the server", cpu, "s");
            let per_cpu = self.per_cpu_second();
            report.add("operations_per_cpu_second", "operations a CPU-second", per_cpu, "/s");
            let resident = self.memory.resident as f64;
            report.add("server_resident_mb", "server resident", resident / 1e6, "MB");
        }
        let client_cpu = self.client_cpu.as_secs_f64();
        report.add("client_cpu_seconds", "CPU time of the client", client_cpu, "s");
        for (name, count) in OPERATIONS.iter().zip(self.by_operation) {
            if count > 0 {
                report.add(
                    format!("{name}_operations"),
                    format!("  of them {name}"),
                    count as f64,
                    "",
                );
            }
        }
        for (key, quantile) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)]
        {
            let micros = self.latency.value_at_quantile(quantile) as f64 / 1e3;
            report.add(format!("latency_{key}_us"), format!("latency {key}"), micros, "µs");
        }
        report
    }
}

/// Phases of [`Shared`]; it starts in the warm-up, which is 0.
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// What the threads share: written by the main thread, but for the counters.
#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    ready: AtomicUsize,
    done: AtomicU64,
}

/// Runs the load: set-up, warm-up, measure, clean-up.
///
/// # Errors
/// A wrong reply, a connection lost, a process that does not exist.
pub fn run(options: &LoadOptions) -> Result<LoadResult, BenchError> {
    if options.connections == 0 || options.depth == 0 || options.znodes == 0 {
        return Err(BenchError::Usage("connections, depth and znodes start at 1".to_owned()));
    }
    let paths: Vec<String> =
        (0..options.znodes).map(|key| format!("{}/k{key:07}", options.root)).collect();
    set_up(options, &paths)?;
    let threads = options.threads.clamp(1, options.connections);
    let shared = Shared::default();
    let (measured, left) = thread::scope(|scope| {
        let mut workers = Vec::new();
        for index in 0..threads {
            let connections =
                options.connections / threads + usize::from(index < options.connections % threads);
            let (shared, paths) = (&shared, paths.as_slice());
            workers.push(scope.spawn(move || {
                let worker = Worker::new(options, shared, paths, (index, threads));
                let result = worker.run(connections);
                if result.is_err() {
                    shared.phase.store(STOP, Ordering::Relaxed);
                }
                result
            }));
        }
        let finished = || workers.iter().any(thread::ScopedJoinHandle::is_finished);
        let times = time_phases(options, &shared, threads, &finished);
        shared.phase.store(STOP, Ordering::Relaxed);
        let mut all: Vec<Worker<'_>> = Vec::new();
        for worker in workers {
            all.push(worker.join().expect("a worker does not panic")?);
        }
        let (elapsed, server_cpu, client_cpu) = times?;
        let mut result = LoadResult {
            operations: 0,
            by_operation: [0; 6],
            elapsed,
            server_cpu,
            client_cpu,
            latency: new_histogram(),
            memory: process::memory_of_all(&options.pids)?,
        };
        let mut left = Vec::new();
        for worker in all {
            for (sum, count) in result.by_operation.iter_mut().zip(worker.counts) {
                *sum += count;
            }
            result.latency.add(&worker.latency).expect("both have the same bounds");
            left.extend(worker.created.into_iter().flatten());
        }
        result.operations = result.by_operation.iter().sum();
        Ok::<_, BenchError>((result, left))
    })?;
    clean_up(options, &paths, &left)?;
    Ok(measured)
}

/// Waits out warm-up and measure; returns how long the measure took and what CPU time it used.
fn time_phases(
    options: &LoadOptions,
    shared: &Shared,
    threads: usize,
    finished: &dyn Fn() -> bool,
) -> Result<(Duration, Duration, Duration), BenchError> {
    let pause = Duration::from_millis(2);
    while shared.ready.load(Ordering::Relaxed) < threads && !finished() {
        thread::sleep(pause);
    }
    thread::sleep(options.warm_up);
    let this = std::process::id();
    let server_before = process::cpu_time_of_all(&options.pids)?;
    let client_before = process::cpu_time(this)?;
    let start = Instant::now();
    shared.phase.store(MEASURE, Ordering::Relaxed);
    let done = || match options.operations {
        Some(operations) => shared.done.load(Ordering::Relaxed) >= operations,
        None => start.elapsed() >= options.duration,
    };
    while !done() && !finished() {
        thread::sleep(pause);
    }
    shared.phase.store(STOP, Ordering::Relaxed);
    let elapsed = start.elapsed();
    let server_cpu = process::cpu_time_of_all(&options.pids)?.saturating_sub(server_before);
    let client_cpu = process::cpu_time(this)?.saturating_sub(client_before);
    Ok((elapsed, server_cpu, client_cpu))
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("these bounds are sound")
}

/// One thread's connections.
struct Worker<'a> {
    options: &'a LoadOptions,
    shared: &'a Shared,
    paths: &'a [String],
    random: u64,
    counts: [u64; 6],
    latency: Histogram<u64>,
    /// By connection, the znodes that it made and has not deleted.
    created: Vec<VecDeque<u64>>,
    next_created: u64,
    stride: u64,
    list: String,
    buffer: Vec<u8>,
}

fn created_path(root: &str, number: u64) -> String {
    format!("{root}/c{number:09}")
}

impl<'a> Worker<'a> {
    fn new(
        options: &'a LoadOptions,
        shared: &'a Shared,
        paths: &'a [String],
        (index, threads): (usize, usize),
    ) -> Worker<'a> {
        Worker {
            options,
            shared,
            paths,
            random: (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            counts: [0; 6],
            latency: new_histogram(),
            created: Vec::new(),
            next_created: index as u64,
            stride: threads as u64,
            list: format!("{}/list", options.root),
            buffer: Vec::new(),
        }
    }

    fn run(mut self, connections: usize) -> Result<Worker<'a>, BenchError> {
        let mut client = Client::of_ensemble(self.options.address, &self.options.others)?;
        let opened = client.open_all(connections, connections, &mut self);
        self.shared.ready.fetch_add(1, Ordering::Relaxed);
        opened?;
        while self.shared.phase.load(Ordering::Relaxed) != STOP {
            let before: u64 = self.counts.iter().sum();
            client.turn(&mut self, Duration::from_millis(20))?;
            let gained = self.counts.iter().sum::<u64>() - before;
            self.shared.done.fetch_add(gained, Ordering::Relaxed);
        }
        client.drain("the last replies", &mut self, |client| client.in_flight() == 0)?;
        client.close_all(&mut self)?;
        Ok(self)
    }

    /// xorshift64*: quick, and even enough to choose znodes.
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let mixed = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(mixed) * u128::from(below)) >> 64) as u64
    }

    fn draw_operation(&mut self) -> usize {
        let Mix(weights) = self.options.mix;
        let mut left = self.draw(weights.iter().map(|weight| u64::from(*weight)).sum());
        for (operation, weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return operation,
            }
        }
        GET
    }

    fn send(&mut self, id: usize, connection: &mut Connection, now: Instant) {
        let mut operation = self.draw_operation();
        if self.created.len() <= id {
            self.created.resize(id + 1, VecDeque::new());
        }
        if operation == DELETE && self.created[id].is_empty() {
            operation = CREATE;
        }
        let key = match operation {
            CREATE => {
                self.next_created += self.stride;
                self.next_created
            }
            DELETE => self.created[id].pop_front().unwrap_or_default(),
            _ => self.draw(self.options.znodes),
        };
        let tag = (operation as u64) << 56 | key;
        let path = match operation {
            CREATE | DELETE => Some(Cow::Owned(created_path(&self.options.root, key))),
            GET | SET | EXISTS => Some(Cow::Borrowed(self.paths[key as usize].as_str())),
            _ => Some(Cow::Borrowed(self.list.as_str())),
        };
        let len = self.options.value_len;
        match operation {
            GET => {
                connection.request(
                    OpCode::GetData,
                    tag,
                    &GetDataRequest { path, watch: false },
                    now,
                );
            }
            SET => {
                value::make(key, self.random, len, &mut self.buffer);
                let data = Some(self.buffer.as_slice());
                let record = SetDataRequest { path, data, version: -1 };
                connection.request(OpCode::SetData, tag, &record, now);
            }
            CREATE => {
                value::make(key, 0, len, &mut self.buffer);
                let (data, acl) = (Some(self.buffer.as_slice()), Some(vec![Acl::open_unsafe()]));
                let record = CreateRequest { path, data, acl, flags: 0 };
                connection.request(OpCode::Create, tag, &record, now);
            }
            DELETE => {
                let record = DeleteRequest { path, version: 0 };
                connection.request(OpCode::Delete, tag, &record, now);
            }
            EXISTS => {
                connection.request(OpCode::Exists, tag, &ExistsRequest { path, watch: false }, now);
            }
            _ => {
                let record = GetChildrenRequest { path, watch: false };
                connection.request(OpCode::GetChildren, tag, &record, now);
            }
        }
    }
}

impl Scenario for Worker<'_> {
    fn opened(
        &mut self,
        id: usize,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), BenchError> {
        for _ in 0..self.options.depth {
            self.send(id, connection, now);
        }
        Ok(())
    }

    fn reply(
        &mut self,
        id: usize,
        connection: &mut Connection,
        reply: &Reply<'_>,
        now: Instant,
    ) -> Result<(), BenchError> {
        let operation = (reply.request.tag >> 56) as usize;
        let key = reply.request.tag & ((1 << 56) - 1);
        let len = self.options.value_len;
        match operation {
            GET => check::get(reply, key, len)?,
            SET => check::set(reply, len)?,
            CREATE => {
                check::create(reply, &created_path(&self.options.root, key))?;
                self.created[id].push_back(key);
            }
            DELETE => check::ok(reply)?,
            EXISTS => check::exists(reply, len)?,
            _ => check::children(reply, LISTED)?,
        }
        let phase = self.shared.phase.load(Ordering::Relaxed);
        if phase == MEASURE {
            self.counts[operation] += 1;
            self.latency.saturating_record(reply.latency.as_nanos() as u64);
        }
        if phase != STOP {
            self.send(id, connection, now);
        }
        Ok(())
    }
}

/// A create of a persistent znode open to all, as a step.
pub fn create_step(path: &str, data: &[u8], tag: u64) -> Step {
    let record = CreateRequest {
        path: Some(path.into()),
        data: Some(data),
        acl: Some(vec![Acl::open_unsafe()]),
        flags: 0,
    };
    Step { op: OpCode::Create, tag, body: record.to_bytes() }
}

/// A delete of any version, as a step.
pub fn delete_step(path: &str) -> Step {
    let record = DeleteRequest { path: Some(path.into()), version: -1 };
    Step { op: OpCode::Delete, tag: 0, body: record.to_bytes() }
}

/// Success, or one of `accepted`.
pub fn accept(reply: &Reply<'_>, accepted: &[ErrorCode]) -> Result<(), BenchError> {
    if accepted.iter().any(|code| code.to_i32() == reply.header.err) {
        return Ok(());
    }
    check::ok(reply)
}

const SET_UP: Width = Width { connections: 1, depth: 128 };

/// Makes the znodes; what a run before left is written over.
fn set_up(options: &LoadOptions, paths: &[String]) -> Result<(), BenchError> {
    let list = format!("{}/list", options.root);
    let mut parents = vec![create_step(&options.root, b"", 0), create_step(&list, b"", 0)];
    parents.extend((0..LISTED).map(|number| create_step(&format!("{list}/{number}"), b"", 0)));
    let existing = &mut |reply: &Reply<'_>| accept(reply, &[ErrorCode::NodeExists]);
    pipeline::run(options.address, SET_UP, &mut parents.into_iter(), existing)?;
    let mut data = Vec::new();
    let mut steps = paths.iter().enumerate().map(|(key, path)| {
        value::make(key as u64, 0, options.value_len, &mut data);
        create_step(path, &data, 0)
    });
    pipeline::run(options.address, SET_UP, &mut steps, existing)?;
    let mut steps = paths.iter().enumerate().map(|(key, path)| {
        let mut data = Vec::new();
        value::make(key as u64, 1, options.value_len, &mut data);
        let path = Some(path.as_str().into());
        let record = SetDataRequest { path, data: Some(&data), version: -1 };
        Step { op: OpCode::SetData, tag: 0, body: record.to_bytes() }
    });
    let len = options.value_len;
    pipeline::run(options.address, SET_UP, &mut steps, &mut |reply| check::set(reply, len))
}

/// Deletes all that was made.
fn clean_up(options: &LoadOptions, paths: &[String], created: &[u64]) -> Result<(), BenchError> {
    let list = format!("{}/list", options.root);
    let mut all: Vec<String> =
        created.iter().map(|number| created_path(&options.root, *number)).collect();
    all.extend(paths.iter().cloned());
    all.extend((0..LISTED).map(|number| format!("{list}/{number}")));
    all.extend([list, options.root.clone()]);
    let mut steps = all.iter().map(|path| delete_step(path));
    pipeline::run(options.address, SET_UP, &mut steps, &mut |reply| check::ok(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_by_name() {
        assert_eq!("get=80, set=20".parse(), Ok(Mix([80, 20, 0, 0, 0, 0])));
        assert_eq!("children".parse(), Ok(Mix([0, 0, 0, 0, 0, 1])));
        for bad in ["", "read=1", "get=x", "get=0", "get=4294967295,set=1"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }
}
