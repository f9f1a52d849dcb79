//! A list of requests over several connections: set-up, clean-up, fill.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rookeeper_jute::OpCode;

use crate::client::{Client, Scenario};
use crate::connection::{Connection, Reply};
use crate::error::BenchError;

/// One request of the list.
pub struct Step {
    /// Its operation.
    pub op: OpCode,
    /// Comes back with the reply.
    pub tag: u64,
    /// Its record.
    pub body: Vec<u8>,
}

/// How wide a list is spread.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub depth: usize,
}

struct Pipeline<'a> {
    steps: &'a mut dyn Iterator<Item = Step>,
    check: &'a mut dyn FnMut(&Reply<'_>) -> Result<(), BenchError>,
    depth: usize,
    exhausted: bool,
}

impl Pipeline<'_> {
    fn fill(&mut self, connection: &mut Connection, now: Instant) {
        while connection.in_flight() < self.depth && !self.exhausted {
            match self.steps.next() {
                Some(step) => connection.request_bytes(step.op, step.tag, &step.body, now),
                None => self.exhausted = true,
            }
        }
    }
}

impl Scenario for Pipeline<'_> {
    fn opened(
        &mut self,
        _: usize,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), BenchError> {
        self.fill(connection, now);
        Ok(())
    }

    fn reply(
        &mut self,
        _: usize,
        connection: &mut Connection,
        reply: &Reply<'_>,
        now: Instant,
    ) -> Result<(), BenchError> {
        (self.check)(reply)?;
        self.fill(connection, now);
        Ok(())
    }
}

/// Sends all steps, in order on each connection, and checks each reply with `check`.
///
/// # Errors
/// What `check` says, what the protocol does not allow, or a timeout.
pub fn run(
    address: SocketAddr,
    width: Width,
    steps: &mut dyn Iterator<Item = Step>,
    check: &mut dyn FnMut(&Reply<'_>) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let mut client = Client::new(address)?;
    let mut pipeline = Pipeline { steps, check, depth: width.depth, exhausted: false };
    client.open_all(width.connections, width.connections, &mut pipeline)?;
    let mut last_progress = Instant::now();
    while !(pipeline.exhausted && client.in_flight() == 0) {
        let before = client.in_flight();
        client.turn(&mut pipeline, Duration::from_millis(200))?;
        if client.in_flight() != before || !pipeline.exhausted {
            last_progress = Instant::now();
        }
        if last_progress.elapsed() > Duration::from_secs(60) {
            return Err(BenchError::Timeout("a list of requests".to_owned()));
        }
    }
    client.close_all(&mut pipeline)
}
