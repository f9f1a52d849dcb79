//! The disk thread: takes all transactions that are queued, writes them at once, syncs once and
//! says up to which zxid they are durable. While one sync runs the next batch gathers, so that
//! commits are grouped without a timer (`flushDelay` and `maxBatchSize` are honoured where set).
//!
//! A full disk is refused before it is full: while less than a reserve is free, what is queued
//! waits unwritten and unacknowledged, and is written once there is room. Reads and four-letter
//! words go on meanwhile.
//!
//! A failed write or sync is final: what the kernel holds of the file cannot be trusted any more,
//! so nothing further is written and the process has to end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rookeeper_jute::Zxid;
use rookeeper_replica::Segment;
use rookeeper_store::{LogWriter, StoreError};

use crate::commands::{self, CommandQueue, FlushPolicy, bytes_len};
use crate::measures::Measures;
use crate::room::{self, Room};

/// What the log thread says back.
#[derive(Debug)]
pub(crate) enum DiskReport {
    /// Everything up to this zxid is durable.
    Durable(Zxid),
    /// A write or sync failed; nothing more will be written.
    Failed(StoreError),
}

#[derive(Debug)]
enum Command {
    Append(Arc<Segment>),
    Roll,
    Close,
}

impl commands::Command for Command {
    fn records_len(&self) -> usize {
        match self {
            Command::Append(segment) => segment.len(),
            Command::Roll | Command::Close => 0,
        }
    }

    fn bytes_len(&self) -> u64 {
        match self {
            Command::Append(segment) => segment.bytes_len() as u64,
            Command::Roll | Command::Close => 0,
        }
    }

    fn is_urgent(&self) -> bool {
        self.is_end()
    }

    fn is_end(&self) -> bool {
        matches!(self, Command::Close)
    }
}

/// The sending side of the disk thread's queue. The core bounds what stands in it: it admits
/// requests only within its limits on outstanding requests and bytes.
#[derive(Debug, Clone)]
pub(crate) struct DiskSender {
    queue: Arc<CommandQueue<Command>>,
}

impl DiskSender {
    /// Queues transactions.
    pub(crate) fn append(&self, segment: Arc<Segment>) {
        self.queue.send(Command::Append(segment));
    }

    /// Ends the log file after what is queued.
    pub(crate) fn roll(&self) {
        self.queue.send(Command::Roll);
    }

    /// Ends the thread after what is queued.
    pub(crate) fn close(&self) {
        self.queue.send(Command::Close);
    }
}

/// Starts the disk thread. On it `free` tells how many bytes are free for the log, `rolled` is
/// called after each end of a log file, and `report` after each flush.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    writer: LogWriter,
    policy: FlushPolicy,
    measures: Arc<Measures>,
    free: impl Fn() -> Option<u64> + Send + 'static,
    rolled: impl FnMut() + Send + 'static,
    report: impl FnMut(DiskReport) + Send + 'static,
) -> io::Result<(DiskSender, JoinHandle<()>)> {
    let queue = Arc::new(CommandQueue::default());
    let sender = DiskSender { queue: Arc::clone(&queue) };
    let room = Room::new(free);
    let thread = thread::Builder::new().name("rookeeper-disk".into()).spawn(move || {
        DiskThread { writer, policy, measures, queue, room, rolled, report }.run()
    })?;
    Ok((sender, thread))
}

struct DiskThread<S, R, F> {
    writer: LogWriter,
    policy: FlushPolicy,
    measures: Arc<Measures>,
    queue: Arc<CommandQueue<Command>>,
    room: Room<S>,
    rolled: R,
    report: F,
}

impl<S: Fn() -> Option<u64>, R: FnMut(), F: FnMut(DiskReport)> DiskThread<S, R, F> {
    fn run(mut self) {
        let mut batch = VecDeque::new();
        loop {
            self.queue.take(&mut batch, &self.policy);
            if !self.wait_for_room(&mut batch) {
                break;
            }
            match self.write(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    (self.report)(DiskReport::Failed(error));
                    return;
                }
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "the log's tail could not be truncated at the stop");
        }
    }

    /// Waits while the disk is full; `false` when the thread is to end before there is room. What
    /// was not written then was not acknowledged either.
    fn wait_for_room(&mut self, batch: &mut VecDeque<Command>) -> bool {
        let mut waited = false;
        while !self.room.is_enough_for(bytes_len(batch)) {
            if !waited {
                tracing::error!(
                    reserve = self.room.reserve(),
                    "the disk is full: no write is acknowledged until there is room"
                );
            }
            waited = true;
            self.queue.take_more(batch, room::POLL_INTERVAL);
            if batch.iter().any(commands::Command::is_end) {
                return false;
            }
        }
        if waited {
            tracing::info!("there is room on the disk again");
        }
        true
    }

    /// Writes and syncs a batch; `false` once the thread is to end.
    fn write(&mut self, batch: &mut VecDeque<Command>) -> Result<bool, StoreError> {
        let mut unsynced = None;
        for command in batch.drain(..) {
            match command {
                Command::Append(segment) => {
                    for (zxid, txn) in segment.records() {
                        self.writer.append(zxid, txn)?;
                    }
                    let len = unsynced.map_or(0, |(_, len)| len) + segment.len();
                    unsynced = Some((segment.last_zxid(), len));
                }
                Command::Roll => {
                    self.flush(&mut unsynced)?;
                    self.writer.roll()?;
                    (self.rolled)();
                }
                Command::Close => {
                    self.flush(&mut unsynced)?;
                    return Ok(false);
                }
            }
        }
        self.flush(&mut unsynced)?;
        Ok(true)
    }

    /// Makes what is written durable: up to which zxid that is, and how many transactions.
    fn flush(&mut self, unsynced: &mut Option<(Zxid, usize)>) -> Result<(), StoreError> {
        let Some((zxid, len)) = unsynced.take() else { return Ok(()) };
        let start = Instant::now();
        self.writer.flush()?;
        let took = start.elapsed();
        self.measures.flushed(took, len);
        if took > self.policy.warning_threshold {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(took_ms, "syncing the log took long, which delays every write");
        }
        (self.report)(DiskReport::Durable(zxid));
        Ok(())
    }
}
