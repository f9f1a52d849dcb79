//! The core of one server: puts requests in one order, prepares transactions, waits until they are
//! durable (and, in an ensemble, committed), applies them and answers.
//!
//! # Layout
//! - [`Core`]: what a driver calls
//! - `message`: [`CoreInput`], [`CoreEffect`] and [`CoreRole`]
//! - `admit`: from submissions to the pipeline: handshakes, sessions, throttles, preparation
//! - `pipeline`: what is between taking up a request and answering it
//! - `apply`: committed transactions into the tree, and the answers
//! - `commit`: up to where transactions are durable and committed
//! - `sessions`: who is alive, and until when
//! - `password`: session passwords
//! - `throttle`: connects paid from a bucket of tokens
//! - `snapshots`: when a snapshot is due
//! - `clean_up`: containers and TTL znodes
//! - `outbox`: what is said to each shard
//! - `report`: what four-letter words, admin and metrics ask
//! - `lot`: numbers drawn from the seed

mod admit;
mod apply;
mod clean_up;
mod commit;
mod lot;
mod message;
mod outbox;
mod password;
mod pipeline;
mod report;
mod sessions;
mod snapshots;
mod throttle;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, ApplyError, Outstanding};
use rookeeper_zab::SegmentBuilder;

use crate::close::CloseReason;
use crate::config::CoreConfig;
use crate::ids::{ConnectionKey, Now};
use crate::shared::Shared;

use admit::Backlog;
use clean_up::CleanUp;
use commit::Commit;
use lot::Lot;
pub use message::{CoreEffect, CoreInput, CoreRole};
use outbox::Outbox;
pub(crate) use password::password;
use pipeline::{Item, Segments};
pub use report::CoreReport;
use sessions::Sessions;
use snapshots::Snapshots;
use throttle::ConnectionThrottle;

/// How often [`CoreInput::Tick`] and [`crate::Shard::tick`] should come, in milliseconds.
pub const TICK_INTERVAL_MS: u64 = 100;

/// Why the core does nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HaltReason {
    /// It was asked to, and everything taken up is answered.
    Shutdown,
    /// The process must exit: the log cannot be trusted.
    DiskFailed,
    /// Connections were told to close. When there is room, recover from disk anew, then make a new
    /// core and shared state.
    DiskFull,
    /// The process must exit: a transaction that was prepared here cannot be applied.
    Apply(ApplyError),
}

/// Whether there is more to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyProgress {
    /// A slice is done and more is committed: let readers in, then call again.
    More,
    /// All that is committed is applied.
    Done,
}

/// What recovery left behind for the schedule of snapshots, and what the core is from now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoreStart {
    /// The part that this server plays.
    pub role: CoreRole,
    /// Transactions in the log after the last snapshot.
    pub txns_since_snapshot: u64,
    /// Their bytes in the log.
    pub bytes_since_snapshot: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Serving,
    /// Asked to shut down; what was taken up is still answered.
    Draining,
    Halted,
}

/// The core of one server.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    access: Arc<AccessControl>,
    state: State,
    outstanding: Outstanding,
    sessions: Sessions,
    lot: Lot,
    throttle: ConnectionThrottle,
    snapshots: Snapshots,
    clean_up: CleanUp,
    /// What shards asked for and is not taken up yet.
    backlog: Backlog,
    /// Connections whose further requests are dropped: they are gone, or one was dropped already.
    dropped: BTreeSet<ConnectionKey>,
    pipeline: VecDeque<Item>,
    /// Transactions of the step that goes on.
    building: SegmentBuilder,
    segments: Segments,
    /// The last transaction that was prepared.
    prepared: Zxid,
    commit: Commit,
    /// The driver was asked to apply and has not finished.
    applying: bool,
    outbox: Outbox,
    /// Up to when each shard's touches are known.
    heard_up_to_ms: Vec<u64>,
    digest_mismatches: u64,
    sessions_expired: u64,
    snapshots_begun: u64,
    throttled_ops: u64,
    stale_requests_dropped: u64,
}

impl Core {
    /// The core over a recovered (or new) tree. Every session of the tree gets its full timeout.
    pub fn new(
        now: Now,
        config: CoreConfig,
        prepare: PrepareConfig,
        access: Arc<AccessControl>,
        shared: &Shared,
        start: CoreStart,
    ) -> Self {
        let now_ms = now.monotonic_ms();
        let mut sessions = Sessions::new(config.tick_time_ms, config.server_id, now.wall_ms);
        for (id, timeout_ms) in shared.tree.sessions().iter() {
            sessions.track(id, timeout_ms, now_ms);
        }
        let mut lot = Lot::new(config.seed);
        let snapshots = Snapshots::new(
            config.snap_count,
            config.snap_size_limit_bytes,
            start.txns_since_snapshot,
            start.bytes_since_snapshot,
            &mut lot,
        );
        let zxid = shared.tree.last_processed_zxid();
        Core {
            throttle: ConnectionThrottle::new(config.connection_throttle.clone(), now_ms),
            clean_up: CleanUp::new(&config, now),
            heard_up_to_ms: vec![now_ms; usize::from(shared.shards())],
            outbox: Outbox::new(shared.shards()),
            outstanding: Outstanding::new(prepare),
            commit: Commit::new(zxid),
            prepared: zxid,
            config,
            access,
            state: State::Serving,
            sessions,
            lot,
            snapshots,
            backlog: Backlog::default(),
            dropped: BTreeSet::new(),
            pipeline: VecDeque::new(),
            building: SegmentBuilder::default(),
            segments: Segments::default(),
            applying: false,
            digest_mismatches: 0,
            sessions_expired: 0,
            snapshots_begun: 0,
            throttled_ops: 0,
            stale_requests_dropped: 0,
        }
    }

    /// Takes one input.
    pub fn step(
        &mut self,
        now: Now,
        input: CoreInput,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        if self.state == State::Halted {
            return;
        }
        match input {
            CoreInput::Submissions(batch) => self.submitted(now, batch),
            CoreInput::Durable(zxid) => {
                assert!(zxid <= self.prepared, "what becomes durable was appended before");
                self.commit.durable(zxid);
            }
            CoreInput::DiskFailed => return self.halt(HaltReason::DiskFailed, effects),
            CoreInput::DiskFull => {
                let position = shared.changes.position();
                self.outbox.close_all(position, CloseReason::NotServing);
                self.outbox.flush(None, effects);
                return self.halt(HaltReason::DiskFull, effects);
            }
            CoreInput::SnapshotEnded => self.snapshots.running = false,
            CoreInput::TakeSnapshot => self.begin_snapshot(effects),
            CoreInput::Tick => self.tick(now, shared, effects),
            CoreInput::Shutdown => self.state = State::Draining,
            CoreInput::Proposals(_)
            | CoreInput::Committed(_)
            | CoreInput::Serve
            | CoreInput::Forwarded { .. }
            | CoreInput::Touched { .. }
            | CoreInput::Revalidate { .. }
            | CoreInput::LearnerGone(_)
            | CoreInput::SyncConfirmed(_)
            | CoreInput::Revalidated { .. }
            | CoreInput::SyncDone
            | CoreInput::TouchesWanted
            | CoreInput::Retire => unreachable!("a server that stands alone has no peers"),
        }
        self.admit(now, shared, effects);
        self.outbox.flush(None, effects);
        self.ask_to_apply(effects);
        self.halt_when_drained(effects);
    }

    fn tick(&mut self, now: Now, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        if self.state != State::Serving {
            return;
        }
        let heard = &self.heard_up_to_ms;
        let expired = self.sessions.expire(now.monotonic_ms(), |owner| heard[owner.shard.index()]);
        for &session in &expired {
            self.sessions_expired += 1;
            self.close_session(now, session, shared, effects);
        }
        if !expired.is_empty() {
            effects.push(CoreEffect::SessionsExpired(expired));
        }
        for path in self.clean_up.due(now, &shared.tree) {
            self.delete_container(now, &path, shared, effects);
        }
    }

    /// Hands what was prepared to the disk.
    fn append(&mut self, effects: &mut Vec<CoreEffect>) {
        if !self.building.is_empty() {
            let segment = self.building.freeze();
            self.segments.push(segment.clone());
            effects.push(CoreEffect::Append(segment));
        }
    }

    fn begin_snapshot(&mut self, effects: &mut Vec<CoreEffect>) {
        if !self.snapshots.running {
            self.snapshots.running = true;
            self.snapshots_begun += 1;
            effects.push(CoreEffect::BeginSnapshot);
        }
    }

    fn ask_to_apply(&mut self, effects: &mut Vec<CoreEffect>) {
        if !self.applying && self.can_go_on() {
            self.applying = true;
            effects.push(CoreEffect::Apply);
        }
    }

    fn halt(&mut self, reason: HaltReason, effects: &mut Vec<CoreEffect>) {
        self.state = State::Halted;
        effects.push(CoreEffect::Halted(reason));
    }

    fn halt_when_drained(&mut self, effects: &mut Vec<CoreEffect>) {
        if self.state == State::Draining && self.pipeline.is_empty() {
            self.halt(HaltReason::Shutdown, effects);
        }
    }
}
