//! The queue in front of a thread that writes: everything that gathers while one sync runs is taken
//! at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How flushes are grouped (Java: `SyncRequestProcessor`).
#[derive(Debug, Clone)]
pub(crate) struct FlushPolicy {
    /// How long a flush may wait for further transactions (`zookeeper.flushDelay`).
    pub(crate) flush_delay: Duration,
    /// Transactions that end the wait (`zookeeper.maxBatchSize`).
    pub(crate) batch_len_max: usize,
    /// A flush that takes longer is said (`fsync.warningthresholdms`).
    pub(crate) warning_threshold: Duration,
}

/// What such a thread is told.
pub(crate) trait Command {
    /// How many transactions it brings.
    fn records_len(&self) -> usize;
    /// How many bytes are to be written for it.
    fn bytes_len(&self) -> u64;
    /// Whether nothing may wait once it is there.
    fn is_urgent(&self) -> bool;
    /// Whether the thread ends with it.
    fn is_end(&self) -> bool;
}

/// Commands in order.
#[derive(Debug)]
pub(crate) struct CommandQueue<C> {
    commands: Mutex<VecDeque<C>>,
    arrived: Condvar,
}

impl<C> Default for CommandQueue<C> {
    fn default() -> Self {
        CommandQueue { commands: Mutex::default(), arrived: Condvar::new() }
    }
}

impl<C: Command> CommandQueue<C> {
    /// Adds a command.
    pub(crate) fn send(&self, command: C) {
        let mut commands = self.commands.lock();
        commands.push_back(command);
        if commands.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Waits for commands and takes all of them; with a flush delay, waits on until the delay has
    /// passed or enough transactions are there.
    pub(crate) fn take(&self, batch: &mut VecDeque<C>, policy: &FlushPolicy) {
        let mut commands = self.commands.lock();
        while commands.is_empty() {
            self.arrived.wait(&mut commands);
        }
        std::mem::swap(&mut *commands, batch);
        if policy.flush_delay.is_zero() {
            return;
        }
        let deadline = Instant::now() + policy.flush_delay;
        while batch.iter().map(C::records_len).sum::<usize>() < policy.batch_len_max
            && !batch.iter().any(C::is_urgent)
        {
            let waited = self.arrived.wait_until(&mut commands, deadline);
            batch.extend(commands.drain(..));
            if waited.timed_out() {
                return;
            }
        }
    }

    /// Takes what arrives within a time.
    pub(crate) fn take_more(&self, batch: &mut VecDeque<C>, wait: Duration) {
        let mut commands = self.commands.lock();
        self.arrived.wait_for(&mut commands, wait);
        batch.extend(commands.drain(..));
    }
}

/// Bytes that a batch is to write.
pub(crate) fn bytes_len<C: Command>(batch: &VecDeque<C>) -> u64 {
    batch.iter().map(C::bytes_len).sum()
}
