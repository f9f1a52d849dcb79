//! Fan-out of watches: many sessions watch one znode, one session sets it, and all are told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rookeeper_jute::proto::{GetDataRequest, SetDataRequest, WatcherEvent};
use rookeeper_jute::{Encode, ErrorCode, OpCode};

use crate::check;
use crate::client::{Client, Scenario};
use crate::connection::{Connection, Reply};
use crate::error::BenchError;
use crate::load::{accept, create_step, delete_step};
use crate::pipeline::{self, Width};
use crate::process;
use crate::report::{Report, median};

/// How many watch, how often they are told.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The server.
    pub address: SocketAddr,
    /// Processes whose CPU time is the server's.
    pub pids: Vec<u32>,
    /// Sessions that watch.
    pub watchers: usize,
    /// How often the znode is set.
    pub rounds: usize,
    /// The znode.
    pub path: String,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct WatchResult {
    /// By round, from sending the set until the last watcher was told.
    pub told_all: Vec<Duration>,
    /// By round, until the first was told.
    pub told_first: Vec<Duration>,
    /// CPU time of the server in all rounds, setting the watches included.
    pub server_cpu: Duration,
}

impl WatchResult {
    /// The median round, in milliseconds.
    pub fn told_all_ms(&self) -> f64 {
        median_ms(&self.told_all)
    }

    /// All figures.
    pub fn report(&self, options: &WatchOptions) -> Report {
        let mut report = Report::new(format!("watch: {} watchers of one znode", options.watchers));
        report.add("told_all_ms", "all told, median", self.told_all_ms(), "ms");
        let worst = self.told_all.iter().max().copied().unwrap_or_default();
        report.add("told_all_max_ms", "all told, worst", worst.as_secs_f64() * 1e3, "ms");
        report.add("told_first_ms", "first told, median", median_ms(&self.told_first), "ms");
        if self.server_cpu > Duration::ZERO {
            let per_round = self.server_cpu.as_secs_f64() * 1e3 / self.told_all.len() as f64;
            report.add("server_cpu_ms", "CPU time of the server a round", per_round, "ms");
        }
        report
    }
}

fn median_ms(rounds: &[Duration]) -> f64 {
    let rounds: Vec<f64> = rounds.iter().map(|round| round.as_secs_f64() * 1e3).collect();
    median(&rounds)
}

struct Watchers<'a> {
    path: &'a str,
    armed: usize,
    told: usize,
    first_told: Option<Instant>,
    last_told: Option<Instant>,
}

impl Scenario for Watchers<'_> {
    fn reply(
        &mut self,
        _: usize,
        _: &mut Connection,
        reply: &Reply<'_>,
        _: Instant,
    ) -> Result<(), BenchError> {
        if reply.request.op == OpCode::GetData {
            self.armed += 1;
        }
        check::ok(reply)
    }

    fn event(
        &mut self,
        id: usize,
        event: &WatcherEvent<'_>,
        now: Instant,
    ) -> Result<(), BenchError> {
        if event.event_type != 3 || event.path.as_deref() != Some(self.path) || self.armed == 0 {
            return Err(BenchError::WrongReply(format!("connection {id}: {event:?}")));
        }
        self.told += 1;
        self.first_told.get_or_insert(now);
        self.last_told = Some(now);
        Ok(())
    }
}

/// Runs all rounds.
///
/// # Errors
/// A wrong event, an event too many, a watcher not told within a minute.
pub fn run(options: &WatchOptions) -> Result<WatchResult, BenchError> {
    let one = Width { connections: 1, depth: 1 };
    let mut create = [create_step(&options.path, b"0", 0)].into_iter();
    pipeline::run(options.address, one, &mut create, &mut |reply| {
        accept(reply, &[ErrorCode::NodeExists])
    })?;
    let mut client = Client::new(options.address)?;
    let mut watchers =
        Watchers { path: &options.path, armed: 0, told: 0, first_told: None, last_told: None };
    client.open_all(options.watchers + 1, 256, &mut watchers)?;
    let cpu_before = process::cpu_time_of_all(&options.pids)?;
    let mut result =
        WatchResult { told_all: Vec::new(), told_first: Vec::new(), server_cpu: Duration::ZERO };
    for round in 0..options.rounds {
        let (all, first) = tell(&mut client, &mut watchers, options.watchers, round)?;
        result.told_all.push(all);
        result.told_first.push(first);
    }
    result.server_cpu = process::cpu_time_of_all(&options.pids)?.saturating_sub(cpu_before);
    client.close_all(&mut watchers)?;
    let mut delete = [delete_step(&options.path)].into_iter();
    pipeline::run(options.address, one, &mut delete, &mut |reply| check::ok(reply))?;
    Ok(result)
}

/// The first connection sets, all others watch.
const SETTER: usize = 0;

fn tell(
    client: &mut Client,
    watchers: &mut Watchers<'_>,
    count: usize,
    round: usize,
) -> Result<(Duration, Duration), BenchError> {
    watchers.armed = 0;
    let path = watchers.path.to_owned();
    let get = GetDataRequest { path: Some(path.as_str().into()), watch: true }.to_bytes();
    let now = Instant::now();
    client.for_each(|id, connection| {
        if id != SETTER {
            connection.request_bytes(OpCode::GetData, 0, &get, now);
        }
        Ok(())
    })?;
    client.drain("setting the watches", watchers, |client| client.in_flight() == 0)?;
    if watchers.armed != count {
        return Err(BenchError::WrongReply(format!("{} watches of {count}", watchers.armed)));
    }
    (watchers.told, watchers.first_told, watchers.last_told) = (0, None, None);
    let data = round.to_string();
    let path = Some(path.as_str().into());
    let set = SetDataRequest { path, data: Some(data.as_bytes()), version: -1 }.to_bytes();
    let start = Instant::now();
    client.for_each(|id, connection| {
        if id == SETTER {
            connection.request_bytes(OpCode::SetData, 0, &set, start);
        }
        Ok(())
    })?;
    let deadline = start + Duration::from_secs(60);
    while watchers.told < count || client.in_flight() > 0 {
        client.turn(watchers, Duration::from_millis(100))?;
        if Instant::now() > deadline {
            let told = watchers.told;
            return Err(BenchError::Timeout(format!("telling {count} watchers ({told} told)")));
        }
    }
    if watchers.told > count {
        return Err(BenchError::WrongReply(format!("{} events for {count}", watchers.told)));
    }
    let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at - start);
    Ok((since(watchers.last_told), since(watchers.first_told)))
}
