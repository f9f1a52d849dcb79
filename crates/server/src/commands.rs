//! The queue in front of a thread that writes: everything that gathers while one sync runs is taken
//! at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rookeeper_jute::SessionId;

use crate::processors::Processors;
use crate::restraint::Restraint;
use crate::writers::Writers;

/// How flushes are grouped (Java: `SyncRequestProcessor`).
#[derive(Debug, Clone)]
pub(crate) struct FlushPolicy {
    /// How long a flush may wait for further transactions (`zookeeper.flushDelay`); where it is
    /// zero, [`Pace`] says.
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
    /// Whose transactions it brings, in order.
    fn sessions(&self) -> impl Iterator<Item = SessionId>;
    /// Whether nothing may wait once it is there.
    fn is_urgent(&self) -> bool;
    /// Whether the thread ends with it.
    fn is_end(&self) -> bool;
}

/// A wait is at most so many times as long as writing and syncing a batch takes.
const WAIT_FACTOR: u32 = 6;

/// No batch waits longer for its writers.
const WAIT_MAX: Duration = Duration::from_millis(2);

/// Where a batch takes less, nothing is gained by a larger one.
const TAKES_MIN: Duration = Duration::from_micros(50);

/// Transactions that wait for nobody: a sync is shared by enough, and with deep pipelines what
/// follows is worked on meanwhile.
const ENOUGH: usize = 256;

/// When a batch may wait for those who wrote lately, without a setting: while the processors are
/// busy, and as long as it pays.
///
/// Waiting trades time for syncs and wake-ups, which cost nobody anything where processors are
/// idle. It pays where all come, and those who were there wait no longer, taken together, than
/// twice what syncs of their own would take the others.
#[derive(Debug)]
pub(crate) struct Pace {
    processors: Processors,
    /// When the last batch was taken.
    taken: Option<Instant>,
    /// How long batches take, an average that follows the last eight or so.
    takes: Duration,
    /// Whether a larger batch is worth a wait by that, and since the processors are busy.
    is_worthwhile: bool,
    /// Which batches may wait, as long as it pays.
    restraint: Restraint,
}

impl Pace {
    pub(crate) fn new(processors: Processors) -> Self {
        let (taken, takes) = (None, Duration::ZERO);
        Pace { processors, taken, takes, is_worthwhile: false, restraint: Restraint::new() }
    }

    /// The thread asks for a batch: the last one is written. Looks at the machine now and then, so
    /// nobody should wait for what is held.
    fn asked(&mut self, now: Instant) {
        if let Some(taken) = self.taken.take() {
            self.takes = (self.takes * 7 + now.saturating_duration_since(taken)) / 8;
        }
        self.is_worthwhile = self.takes >= TAKES_MIN && self.processors.are_busy(now);
    }

    /// How long the batch that begins may wait for its writers, if it may.
    fn wait(&mut self) -> Option<Duration> {
        if !self.is_worthwhile || !self.restraint.takes() {
            return None;
        }
        Some((self.takes * WAIT_FACTOR).min(WAIT_MAX))
    }

    /// Whether the batch that gathers while the last one is written is likely to wait. Not where
    /// that takes long: others may be quicker.
    fn gathers(&self) -> bool {
        self.is_worthwhile && self.restraint.is_lifted() && self.takes <= WAIT_MAX
    }

    /// A wait has ended.
    fn waited(&mut self, waited: &Waited) {
        let cost = waited.time * u32::try_from(waited.before).unwrap_or(u32::MAX);
        let gain = self.takes * u32::try_from(2 * waited.came).unwrap_or(u32::MAX);
        self.restraint.tried(waited.all_came && cost <= gain);
    }
}

/// What a wait for the writers came to.
struct Waited {
    time: Duration,
    /// Transactions that waited from its beginning.
    before: usize,
    /// Those that came.
    came: usize,
    all_came: bool,
}

/// Commands in order.
#[derive(Debug)]
pub(crate) struct CommandQueue<C> {
    waiting: Mutex<Waiting<C>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Waiting<C> {
    commands: VecDeque<C>,
    writers: Writers,
    /// Transactions among the commands.
    records: usize,
    /// Whether the thread is to have the commands at once.
    is_urgent: bool,
    goal: Goal,
    /// How many transactions are waited for, while those are that wrote lately.
    gathers: Option<usize>,
    /// Whether somebody holds something back until the commands are taken.
    is_awaited: bool,
}

/// What the thread waits for; it is not woken for less.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// A command.
    Any,
    /// So many transactions.
    Records(usize),
    /// A transaction of each writer, or so many.
    Writers(usize),
}

impl<C: Command> Waiting<C> {
    fn is_reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Any => !self.commands.is_empty(),
            Goal::Records(len) => self.is_urgent || self.records >= len,
            Goal::Writers(len) => self.is_urgent || self.records >= len || self.writers.are_here(),
        }
    }

    fn take(&mut self, batch: &mut VecDeque<C>) -> bool {
        batch.append(&mut self.commands);
        (self.records, self.is_urgent) = (0, false);
        std::mem::take(&mut self.is_awaited)
    }

    fn push(&mut self, command: C) {
        command.sessions().for_each(|session| self.writers.wrote(session));
        self.records += command.records_len();
        self.is_urgent |= command.is_urgent();
        self.commands.push_back(command);
    }
}

impl<C> Default for CommandQueue<C> {
    fn default() -> Self {
        let waiting = Waiting {
            commands: VecDeque::new(),
            writers: Writers::default(),
            records: 0,
            is_urgent: false,
            goal: Goal::Any,
            gathers: None,
            is_awaited: false,
        };
        CommandQueue { waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }
}

impl<C: Command> CommandQueue<C> {
    /// Adds a command.
    pub(crate) fn send(&self, command: C) {
        self.push(&mut self.waiting.lock(), command);
    }

    /// Adds a command; says whether it is to be expected that more gather before the commands are
    /// taken. Whoever waits for that is told by [`CommandQueue::take`], unless a later call says
    /// that all are here.
    pub(crate) fn send_together(&self, command: C) -> bool {
        let mut waiting = self.waiting.lock();
        self.push(&mut waiting, command);
        let goal = waiting.gathers.map(Goal::Writers);
        waiting.is_awaited = goal.is_some_and(|goal| !waiting.is_reached(goal));
        waiting.is_awaited
    }

    fn push(&self, waiting: &mut Waiting<C>, command: C) {
        let was_reached = waiting.is_reached(waiting.goal);
        waiting.push(command);
        if !was_reached && waiting.is_reached(waiting.goal) {
            self.arrived.notify_one();
        }
    }

    /// Waits for commands and takes all of them; with a flush delay, waits on until the delay has
    /// passed or enough transactions are there, and without one as [`Pace`] says for those who
    /// wrote lately. Says whether somebody waits for that ([`CommandQueue::send_together`]).
    pub(crate) fn take(
        &self,
        batch: &mut VecDeque<C>,
        policy: &FlushPolicy,
        pace: &mut Pace,
    ) -> bool {
        pace.asked(Instant::now());
        let mut waiting = self.waiting.lock();
        while waiting.commands.is_empty() {
            self.arrived.wait(&mut waiting);
        }
        if policy.flush_delay.is_zero() {
            self.wait_for_writers(&mut waiting, policy, pace);
        } else {
            self.wait_for(Goal::Records(policy.batch_len_max), policy.flush_delay, &mut waiting);
        }
        let is_awaited = waiting.take(batch);
        waiting.writers.next_batch();
        let gathers = policy.flush_delay.is_zero() && pace.gathers();
        waiting.gathers = gathers.then(|| policy.batch_len_max.min(ENOUGH));
        drop(waiting);
        pace.taken = Some(Instant::now());
        is_awaited
    }

    fn wait_for_writers(
        &self,
        waiting: &mut MutexGuard<'_, Waiting<C>>,
        policy: &FlushPolicy,
        pace: &mut Pace,
    ) {
        let goal = Goal::Writers(policy.batch_len_max.min(ENOUGH));
        if waiting.is_reached(goal) {
            return;
        }
        let (begun, before) = (Instant::now(), waiting.records);
        let Some(wait) = pace.wait() else { return };
        let all_came = self.wait_for(goal, wait, waiting);
        let came = waiting.records - before;
        pace.waited(&Waited { time: begun.elapsed(), before, came, all_came });
    }

    /// Whether the goal was reached in time.
    fn wait_for(
        &self,
        goal: Goal,
        wait: Duration,
        waiting: &mut MutexGuard<'_, Waiting<C>>,
    ) -> bool {
        let deadline = Instant::now() + wait;
        waiting.goal = goal;
        let mut in_time = true;
        while in_time && !waiting.is_reached(goal) {
            in_time = !self.arrived.wait_until(waiting, deadline).timed_out();
        }
        waiting.goal = Goal::Any;
        in_time
    }

    /// Takes what arrives within a time. Says whether somebody waits for that, as
    /// [`CommandQueue::take`] does; nothing gathers from then on.
    pub(crate) fn take_more(&self, batch: &mut VecDeque<C>, wait: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.gathers = None;
        self.arrived.wait_for(&mut waiting, wait);
        waiting.take(batch)
    }
}

/// Bytes that a batch is to write.
pub(crate) fn bytes_len<C: Command>(batch: &VecDeque<C>) -> u64 {
    batch.iter().map(C::bytes_len).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;
    use crate::process::{Process, ProcessorTime};

    /// A session's transaction, or something that nothing may wait behind.
    #[derive(Debug, PartialEq)]
    struct Note(Option<i64>);

    impl Command for Note {
        fn records_len(&self) -> usize {
            usize::from(self.0.is_some())
        }

        fn bytes_len(&self) -> u64 {
            1
        }

        fn sessions(&self) -> impl Iterator<Item = SessionId> {
            self.0.into_iter().map(SessionId)
        }

        fn is_urgent(&self) -> bool {
            self.0.is_none()
        }

        fn is_end(&self) -> bool {
            false
        }
    }

    /// Processors that are at work whenever somebody looks.
    #[derive(Debug, Default)]
    struct Busy(AtomicU64);

    impl Process for Busy {
        fn processor_time(&self) -> Option<ProcessorTime> {
            Some(ProcessorTime { busy: self.0.fetch_add(1, Ordering::Relaxed), idle: 0 })
        }
    }

    fn policy(flush_delay: Duration, batch_len_max: usize) -> FlushPolicy {
        FlushPolicy { flush_delay, batch_len_max, warning_threshold: Duration::MAX }
    }

    fn send(queue: &CommandQueue<Note>, sessions: std::ops::Range<i64>) {
        sessions.for_each(|session| queue.send(Note(Some(session))));
    }

    fn take(queue: &CommandQueue<Note>, policy: &FlushPolicy, pace: &mut Pace) -> usize {
        let mut batch = VecDeque::new();
        queue.take(&mut batch, policy, pace);
        batch.len()
    }

    /// A minute is never waited for: what ends the wait is what is sent.
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_batch_waits_for_those_who_wrote_lately_and_is_woken_by_the_last() {
        let queue = Arc::new(CommandQueue::default());
        send(&queue, 0..20);
        assert_eq!(
            take(&queue, &policy(Duration::ZERO, usize::MAX), &mut pace(Duration::ZERO)),
            20
        );
        send(&queue, 0..5);
        let sender = Arc::clone(&queue);
        let others = thread::spawn(move || send(&sender, 5..20));
        let mut waiting = queue.waiting.lock();
        assert!(queue.wait_for(Goal::Writers(usize::MAX), MINUTE, &mut waiting));
        assert!(waiting.commands.len() >= 18, "nine of ten");
        drop(waiting);
        others.join().unwrap();
    }

    /// A machine whose processors never rest, and whose batches take some time.
    pub(crate) fn pace(takes: Duration) -> Pace {
        let mut pace = Pace { takes, ..Pace::new(Processors::new(Arc::new(Busy::default()))) };
        let start = Instant::now();
        pace.asked(start);
        assert_eq!(pace.wait(), None, "nothing is known of the machine");
        pace.asked(start + MINUTE);
        pace
    }

    fn waited(time: Duration, before: usize, came: usize) -> Waited {
        Waited { time, before, came, all_came: true }
    }

    #[test]
    fn who_does_not_come_is_given_up_and_the_next_batches_wait_for_nobody() {
        let queue = CommandQueue::default();
        let policy = policy(Duration::ZERO, usize::MAX);
        let mut pace = pace(Duration::from_micros(100));
        send(&queue, 0..2);
        assert_eq!(take(&queue, &policy, &mut pace), 2);
        pace.taken = None;
        queue.send(Note(Some(0)));
        assert_eq!(take(&queue, &policy, &mut pace), 1);
        assert!(!pace.restraint.is_lifted());
    }

    #[test]
    fn a_wait_pays_where_those_who_wait_lose_less_than_the_others_gain() {
        let takes = Duration::from_micros(150);
        let pays = |time, before, came| {
            let mut pace = pace(takes);
            pace.waited(&waited(Duration::from_micros(time), before, came));
            pace.restraint.is_lifted()
        };
        assert!(pays(500, 2, 48), "a crowd comes back");
        assert!(pays(290, 1, 1));
        assert!(!pays(310, 1, 1), "a quick writer does not keep pace with a slow one");
        assert!(!pays(500, 40, 10), "most were there already");
    }

    #[test]
    fn nobody_waits_for_a_quick_disk_or_where_processors_rest() {
        assert_eq!(pace(TAKES_MIN / 2).wait(), None);
        let mut slow = pace(Duration::from_micros(200));
        assert_eq!(slow.wait(), Some(Duration::from_micros(1200)));
        slow.processors = Processors::new(Arc::new(crate::process::UnknownProcess));
        slow.asked(Instant::now());
        assert_eq!(slow.wait(), None);
    }

    #[test]
    fn what_batches_take_is_followed() {
        let mut pace = pace(Duration::ZERO);
        let start = Instant::now();
        for _ in 0..100 {
            pace.taken = Some(start);
            pace.asked(start + Duration::from_micros(300));
        }
        let near = Duration::from_micros(290)..=Duration::from_micros(300);
        assert!(near.contains(&pace.takes), "{:?}", pace.takes);
    }

    /// Sends a note of each session; for the last one, whether more is to be expected.
    fn send_together(queue: &CommandQueue<Note>, sessions: std::ops::Range<i64>) -> bool {
        sessions.map(|session| queue.send_together(Note(Some(session)))).last().expect("one")
    }

    #[test]
    fn who_waits_for_others_is_told_that_they_are_here_or_that_all_was_taken() {
        let queue = CommandQueue::default();
        let (policy, takes) = (policy(Duration::ZERO, usize::MAX), Duration::from_micros(100));
        let mut pace = pace(takes);
        assert!(!send_together(&queue, 0..20), "nothing is known of the batches yet");
        let mut batch = VecDeque::new();
        assert!(!queue.take(&mut batch, &policy, &mut pace));
        assert!(send_together(&queue, 0..17));
        assert!(!send_together(&queue, 17..18), "nine of ten");
        assert!(!queue.take(&mut batch, &policy, &mut pace), "nobody waits any more");
        pace.taken = None;
        assert!(send_together(&queue, 0..5));
        assert!(queue.take(&mut batch, &policy, &mut pace), "the others do not come");
        assert!(!send_together(&queue, 0..1), "who waited in vain does not wait again at once");
        assert!(!queue.take(&mut batch, &policy, &mut pace));
        pace.taken = None;
        pace.restraint = Restraint::new();
        assert!(!queue.take_more(&mut batch, Duration::ZERO));
        assert!(!send_together(&queue, 0..1), "nothing gathers on a full disk");
    }

    #[test]
    fn what_takes_long_gathers_without_those_who_may_be_quicker() {
        let mut pace = pace(WAIT_MAX);
        assert!(pace.gathers());
        pace.takes += Duration::from_micros(1);
        assert!(!pace.gathers() && pace.wait().is_some());
    }

    #[test]
    fn what_is_urgent_and_a_full_batch_end_every_wait() {
        let queue = Arc::new(CommandQueue::default());
        send(&queue, 0..3);
        queue.send(Note(None));
        assert_eq!(take(&queue, &policy(MINUTE, usize::MAX), &mut pace(Duration::ZERO)), 4);
        send(&queue, 0..1);
        let sender = Arc::clone(&queue);
        let others = thread::spawn(move || send(&sender, 0..4));
        assert!(take(&queue, &policy(MINUTE, 5), &mut pace(Duration::ZERO)) == 5);
        others.join().unwrap();
        send(&queue, 0..1);
        let sender = Arc::clone(&queue);
        let urgent = thread::spawn(move || sender.send(Note(None)));
        let mut waiting = queue.waiting.lock();
        assert!(queue.wait_for(Goal::Writers(usize::MAX), MINUTE, &mut waiting));
        drop(waiting);
        urgent.join().unwrap();
    }
}
