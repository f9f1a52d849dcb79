//! The disk thread of a server: takes all that is queued, writes it, syncs it, says what is
//! durable. What it does takes virtual time, and a crash may come in the middle of it.

use std::collections::VecDeque;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_store::{LogWriter, Store, StoreError};
use rookeeper_zab::segment::Segment;

/// What a lone server's core asks for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Append transactions.
    Append(Arc<Segment>),
    /// End the log file.
    Roll,
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// Everything up to here is durable.
    Durable(Zxid),
}

/// Free bytes below which nothing is written.
const RESERVE: u64 = 32 << 10;

/// A server's disk thread.
pub struct Storage {
    /// The data directory.
    pub store: Arc<Store>,
    writer: LogWriter,
    queue: VecDeque<Command>,
    /// What is being carried out.
    batch: Vec<Command>,
}

impl Storage {
    /// A thread that has nothing to do.
    pub fn new(store: Store) -> Self {
        let writer = store.log_writer();
        let (queue, batch) = Default::default();
        Storage { store: Arc::new(store), writer, queue, batch }
    }

    /// Queues a command; whether the thread was idle and has to start.
    pub fn push(&mut self, command: Command) -> bool {
        self.queue.push_back(command);
        self.batch.is_empty()
    }

    /// Takes all that is queued; `false` if there is nothing.
    pub fn start(&mut self) -> bool {
        assert!(self.batch.is_empty(), "one batch at a time");
        self.batch.extend(self.queue.drain(..));
        !self.batch.is_empty()
    }

    /// Whether a batch is being carried out.
    pub fn is_busy(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether there is room for the batch; while there is not, it waits.
    pub fn has_room(&self) -> bool {
        let len = |command: &Command| match command {
            Command::Append(segment) => segment.bytes_len() as u64,
            Command::Roll => 0,
        };
        let needed = RESERVE + 2 * self.batch.iter().map(len).sum::<u64>();
        self.store.free_space().is_ok_and(|free| free.log_dir >= needed)
    }

    /// Carries the batch out.
    ///
    /// # Errors
    /// The store's; the process has to end.
    pub fn finish(&mut self) -> Result<Vec<Report>, StoreError> {
        let mut reports = Vec::new();
        let mut unsynced = None;
        for command in std::mem::take(&mut self.batch) {
            match command {
                Command::Append(segment) => {
                    for (zxid, txn) in segment.records() {
                        self.writer.append(zxid, txn)?;
                    }
                    unsynced = Some(segment.last_zxid());
                }
                Command::Roll => {
                    self.flush(&mut unsynced, &mut reports)?;
                    self.writer.roll()?;
                }
            }
        }
        self.flush(&mut unsynced, &mut reports)?;
        Ok(reports)
    }

    fn flush(
        &mut self,
        unsynced: &mut Option<Zxid>,
        reports: &mut Vec<Report>,
    ) -> Result<(), StoreError> {
        if let Some(zxid) = unsynced.take() {
            self.writer.flush()?;
            reports.push(Report::Durable(zxid));
        }
        Ok(())
    }
}
