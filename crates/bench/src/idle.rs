//! Idle sessions: what each costs the server in memory.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Scenario};
use crate::error::BenchError;
use crate::process;
use crate::report::Report;

/// How many sessions, for how long.
#[derive(Debug, Clone)]
pub struct IdleOptions {
    /// The server.
    pub address: SocketAddr,
    /// Processes whose memory is the server's.
    pub pids: Vec<u32>,
    /// Sessions.
    pub sessions: usize,
    /// How long they stay before memory is read.
    pub hold: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct IdleResult {
    /// Resident before any session, in bytes.
    pub resident_before: u64,
    /// Resident with all of them.
    pub resident_after: u64,
    /// Sessions.
    pub sessions: usize,
}

impl IdleResult {
    /// Bytes resident a session.
    pub fn bytes_per_session(&self) -> f64 {
        (self.resident_after as f64 - self.resident_before as f64) / self.sessions as f64
    }

    /// All figures.
    pub fn report(&self) -> Report {
        let mut report = Report::new(format!("idle: {} sessions", self.sessions));
        let (before, after) = (self.resident_before as f64, self.resident_after as f64);
        report.add("resident_before_mb", "resident before", before / 1e6, "MB");
        report.add("resident_after_mb", "resident with them", after / 1e6, "MB");
        report.add("bytes_per_session", "a session", self.bytes_per_session(), "B");
        report
    }
}

/// Sessions that ask for nothing.
pub struct Quiet;

impl Scenario for Quiet {}

/// Opens the sessions, lets them ping, and reads memory.
///
/// # Errors
/// A session lost, no process named.
pub fn run(options: &IdleOptions) -> Result<IdleResult, BenchError> {
    if options.pids.is_empty() || options.sessions == 0 {
        return Err(BenchError::Usage("idle needs --pid and at least one session".to_owned()));
    }
    let resident_before = process::memory_of_all(&options.pids)?.resident;
    let mut client = Client::new(options.address)?;
    client.open_all(options.sessions, 256, &mut Quiet)?;
    let start = Instant::now();
    client.ping_all()?;
    client.drain("pings", &mut Quiet, |client| client.in_flight() == 0)?;
    while start.elapsed() < options.hold {
        thread::sleep(Duration::from_millis(100).min(options.hold));
        client.turn(&mut Quiet, Duration::ZERO)?;
        if start.elapsed() > Duration::from_secs(10) {
            client.ping_all()?;
        }
    }
    let resident_after = process::memory_of_all(&options.pids)?.resident;
    client.close_all(&mut Quiet)?;
    Ok(IdleResult { resident_before, resident_after, sessions: options.sessions })
}
