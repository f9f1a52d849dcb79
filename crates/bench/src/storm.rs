//! A storm of connections: sessions are opened and closed as fast as the server can.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rookeeper_jute::OpCode;

use crate::client::{Client, Scenario};
use crate::connection::Connection;
use crate::error::BenchError;
use crate::process;
use crate::report::Report;

/// How many sessions, how many at once.
#[derive(Debug, Clone)]
pub struct StormOptions {
    /// The server.
    pub address: SocketAddr,
    /// Other members of its ensemble: sessions go to each in turn.
    pub others: Vec<SocketAddr>,
    /// Processes whose CPU time is the server's.
    pub pids: Vec<u32>,
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions at a time.
    pub at_once: usize,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct StormResult {
    /// Sessions opened and closed.
    pub sessions: usize,
    /// How long that took.
    pub elapsed: Duration,
    /// CPU time of the server.
    pub server_cpu: Duration,
    /// Nanoseconds from connecting until the session was there.
    pub latency: Histogram<u64>,
}

impl StormResult {
    /// Sessions a second of the server's CPU time; 0 where that is unknown.
    pub fn per_cpu_second(&self) -> f64 {
        let cpu = self.server_cpu.as_secs_f64();
        if cpu > 0.0 { self.sessions as f64 / cpu } else { 0.0 }
    }

    /// All figures.
    pub fn report(&self, options: &StormOptions) -> Report {
        let StormOptions { sessions, at_once, .. } = options;
        let mut report = Report::new(format!("storm: {sessions} sessions, {at_once} at once"));
        let per_second = self.sessions as f64 / self.elapsed.as_secs_f64();
        report.add("sessions_per_second", "sessions a second", per_second, "/s");
        if self.server_cpu > Duration::ZERO {
            let per_cpu = self.per_cpu_second();
            report.add("sessions_per_cpu_second", "sessions a CPU-second", per_cpu, "/s");
        }
        for (key, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let ms = self.latency.value_at_quantile(quantile) as f64 / 1e6;
            report.add(format!("open_{key}_ms"), format!("opened in, {key}"), ms, "ms");
        }
        report
    }
}

struct Storm {
    started: Vec<Instant>,
    finished: usize,
    latency: Histogram<u64>,
}

impl Scenario for Storm {
    fn opened(
        &mut self,
        id: usize,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), BenchError> {
        let took = now.saturating_duration_since(self.started[id]);
        self.latency.saturating_record(took.as_nanos() as u64);
        connection.request_bytes(OpCode::CloseSession, 0, &[], now);
        Ok(())
    }

    fn closed(&mut self, id: usize, orderly: bool) -> Result<(), BenchError> {
        self.finished += 1;
        if orderly { Ok(()) } else { Err(BenchError::Closed(id)) }
    }
}

/// Opens and closes all sessions.
///
/// # Errors
/// A session refused or lost.
pub fn run(options: &StormOptions) -> Result<StormResult, BenchError> {
    let latency = Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("sound bounds");
    let mut storm = Storm { started: Vec::new(), finished: 0, latency };
    let mut client = Client::of_ensemble(options.address, &options.others)?;
    let cpu_before = process::cpu_time_of_all(&options.pids)?;
    let start = Instant::now();
    let mut last_progress = (start, 0);
    let mut opened = 0;
    while storm.finished < options.sessions {
        while opened < options.sessions && client.len() < options.at_once {
            let now = Instant::now();
            let id = client.open()?;
            if storm.started.len() <= id {
                storm.started.resize(id + 1, now);
            }
            storm.started[id] = now;
            opened += 1;
        }
        client.turn(&mut storm, Duration::from_millis(100))?;
        if storm.finished > last_progress.1 {
            last_progress = (Instant::now(), storm.finished);
        } else if last_progress.0.elapsed() > Duration::from_secs(60) {
            return Err(BenchError::Timeout("opening and closing sessions".to_owned()));
        }
    }
    Ok(StormResult {
        sessions: storm.finished,
        elapsed: start.elapsed(),
        server_cpu: process::cpu_time_of_all(&options.pids)?.saturating_sub(cpu_before),
        latency: storm.latency,
    })
}
