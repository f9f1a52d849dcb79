//! The core of one server: puts requests in one order, prepares transactions, waits until they are
//! durable (and, in an ensemble, committed), applies them and answers.
//!
//! # Layout
//! - [`Core`]: what a driver calls
//! - `message`: [`CoreInput`], [`CoreEffect`] and [`CoreRole`]
//! - `admit`: from submissions to the pipeline: handshakes, sessions, throttles, preparation
//! - `reconfig`: changes of the ensemble
//! - `pipeline`: what is between taking up a request and answering it
//! - `apply`: committed transactions into the tree, and the answers
//! - `commit`: up to where transactions are durable and committed
//! - `leading`: what a leader does for its learners: their requests, sessions and syncs
//! - `learning`: what a learner does for its clients: requests forwarded, and matched again
//! - `local`: sessions that only this server knows of, and a server cut off from its ensemble
//! - `retire`: the end of a role
//! - `sessions`: who is alive, and until when
//! - `closed`: who was, where that has to be known
//! - `password`: session passwords
//! - `throttle`: connects paid from a bucket of tokens
//! - `snapshots`: when a snapshot is due
//! - `clean_up`: containers and TTL znodes
//! - `outbox`: what is said to each shard
//! - `figures`: what is counted
//! - `report`: what four-letter words, admin and metrics ask
//! - `lot`: numbers drawn from the seed

mod admit;
mod apply;
mod clean_up;
mod closed;
mod commit;
mod figures;
mod leading;
mod learning;
mod local;
mod lot;
mod message;
mod outbox;
mod password;
mod pipeline;
mod reconfig;
mod report;
mod retire;
mod sessions;
mod snapshots;
mod throttle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{SessionId, Zxid};
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, ApplyError, Outstanding};
use rookeeper_zab::SegmentBuilder;
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::Membership;

use crate::close::CloseReason;
use crate::config::CoreConfig;
use crate::ids::{ConnectionKey, Now};
use crate::shared::Shared;

use admit::Backlog;
use clean_up::CleanUp;
use commit::Commit;
pub use figures::Figures;
use leading::LearnerAsks;
use learning::Learning;
pub(crate) use lot::Lot;
pub use message::{CoreEffect, CoreInput, CoreRole};
use outbox::Outbox;
pub(crate) use password::password;
use pipeline::{Item, Segments};
pub use reconfig::EnsembleView;
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

/// What recovery, or the core before ([`Core::successor`]), left behind, and what the core is from
/// now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoreStart {
    /// The part that this server plays.
    pub role: CoreRole,
    /// Transactions in the log after the last snapshot.
    pub txns_since_snapshot: u64,
    /// Their bytes in the log.
    pub bytes_since_snapshot: u64,
    /// A snapshot is being written; [`CoreInput::SnapshotEnded`] is still to come.
    pub snapshot_running: bool,
    /// The first session id that the core before did not give.
    pub next_session: Option<SessionId>,
    /// The last transaction of the log, where the tree is ahead of it by the start of an epoch in
    /// which nothing was logged. To be `None` after the tree was loaded anew.
    pub last_logged: Option<Zxid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Serving,
    /// Asked to shut down; what was taken up is still answered.
    Draining,
    /// The role has ended; what is logged is still applied.
    Retiring,
    /// The role has ended, and there is nothing left to do for it.
    Retired,
    Halted,
}

/// The core of one server.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    access: Arc<AccessControl>,
    state: State,
    role: CoreRole,
    /// Whether the role lets clients in.
    open: bool,
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
    /// The last transaction logged before `prepared` became the start of an epoch.
    logged_before: Zxid,
    commit: Commit,
    /// The epoch's start, until the tree has been told.
    begin_epoch: Option<Zxid>,
    /// Nothing is proposed any more: the epoch has no zxids left, or its leader leaves.
    proposed_last: bool,
    /// What a leader knows of its ensemble.
    ensemble: Option<EnsembleView>,
    /// The change of the ensemble that was just prepared.
    reconfigured: Option<Arc<Membership>>,
    /// What learners ask for and is not taken up yet.
    forwarded: VecDeque<(ConnectionId, LearnerAsks)>,
    /// Requests of learners that are done since it was last said, and their bytes.
    done: BTreeMap<ConnectionId, (usize, usize)>,
    learning: Learning,
    /// How many syncs were numbered.
    syncs_asked: u64,
    /// All syncs up to this one may be answered.
    syncs_done: u64,
    /// The driver was asked to apply and has not finished.
    applying: bool,
    outbox: Outbox,
    /// Up to when each shard's touches are known.
    heard_up_to_ms: Vec<u64>,
    /// After this transaction digests are compared, whatever the tree was loaded from; a learner
    /// knows it when it is synchronised: a leader's snapshot may hold parts of what comes after it,
    /// but of nothing that comes after the synchronisation.
    whole_after: Option<Zxid>,
    figures: Box<Figures>,
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
        let role = start.role;
        let sessions = sessions(now, &config, &start, shared);
        let mut lot = Lot::new(config.seed);
        let mut snapshots = Snapshots::new(
            config.snap_count,
            config.snap_size_limit_bytes,
            start.txns_since_snapshot,
            start.bytes_since_snapshot,
            &mut lot,
        );
        snapshots.running = start.snapshot_running;
        let recovered = shared.tree.last_processed_zxid();
        let epoch = match role {
            CoreRole::Leading { epoch } => {
                let start = Zxid(epoch << 32);
                assert!(start > recovered, "an epoch is later than all that was logged before it");
                Some(start)
            }
            _ => None,
        };
        Core {
            throttle: ConnectionThrottle::new(config.connection_throttle.clone(), now_ms),
            clean_up: CleanUp::new(&config, now),
            heard_up_to_ms: vec![now_ms; usize::from(shared.shards())],
            outbox: Outbox::new(shared.shards()),
            outstanding: Outstanding::new(prepare),
            commit: Commit::new(recovered, role == CoreRole::Alone),
            prepared: epoch.unwrap_or(recovered),
            logged_before: start.last_logged.unwrap_or(recovered),
            begin_epoch: epoch,
            proposed_last: false,
            ensemble: None,
            reconfigured: None,
            forwarded: VecDeque::new(),
            done: BTreeMap::new(),
            learning: Learning::default(),
            syncs_asked: 0,
            syncs_done: 0,
            role,
            open: opens_at_once(role, &config),
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
            whole_after: (!matches!(role, CoreRole::Learning { .. })).then_some(recovered),
            figures: Box::default(),
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
                if zxid > self.prepared && mutation::is_on(Mutation::StagesUnjoined) {
                    return;
                }
                assert!(zxid <= self.prepared, "what becomes durable was appended before");
                self.durable(now, zxid);
            }
            CoreInput::DiskFailed => return self.halt(HaltReason::DiskFailed, effects),
            CoreInput::DiskFull => {
                let position = shared.changes.position();
                self.outbox.close_all(position, CloseReason::NotServing, true);
                self.outbox.flush(None, effects);
                return self.halt(HaltReason::DiskFull, effects);
            }
            CoreInput::SnapshotEnded => self.snapshots.running = false,
            CoreInput::TakeSnapshot if self.is_learning() => self.snapshot_due(effects),
            CoreInput::TakeSnapshot => self.begin_snapshot(effects),
            CoreInput::Tick => self.tick(now, shared, effects),
            CoreInput::Shutdown => self.state = State::Draining,
            CoreInput::Retire => self.retire(shared),
            CoreInput::ResetFigures => self.figures.reset(),
            input => self.told_by_peers(now, input, shared, effects),
        }
        self.admit(now, shared, effects);
        self.outbox.flush(None, effects);
        self.tell_what_is_done(effects);
        self.ask_to_apply(effects);
        self.end_when_drained(effects);
    }

    /// What only members of an ensemble are told; when the role has ended, it means nothing.
    fn told_by_peers(
        &mut self,
        now: Now,
        input: CoreInput,
        shared: &Shared,
        effects: &mut Vec<CoreEffect>,
    ) {
        if matches!(self.state, State::Retiring | State::Retired) {
            return;
        }
        match (self.role, input) {
            (CoreRole::Leading { .. }, input) => self.told_as_leader(now, input),
            (CoreRole::Learning { .. }, input) => self.told_as_learner(now, input, shared, effects),
            (CoreRole::Alone | CoreRole::Waiting | CoreRole::ReadOnly, input) => {
                unreachable!("a server without a leader was told {input:?}")
            }
        }
    }

    /// Whether requests of clients are taken up.
    fn is_open(&self) -> bool {
        self.open && self.state == State::Serving
    }

    fn is_learning(&self) -> bool {
        matches!(self.role, CoreRole::Learning { .. })
    }

    fn tick(&mut self, now: Now, shared: &Shared, effects: &mut Vec<CoreEffect>) {
        let writes = matches!(self.role, CoreRole::Alone | CoreRole::Leading { .. });
        if self.state != State::Serving || self.proposed_last {
            return;
        }
        let heard = &self.heard_up_to_ms;
        let expired = self.sessions.expire(now.monotonic_ms(), |owner| heard[owner.shard.index()]);
        for &session in &expired {
            if self.proposed_last {
                // The next leader expires it.
                break;
            }
            self.figures.sessions_expired += 1;
            if self.sessions.is_local(session) {
                self.end_local(session, shared);
                continue;
            }
            self.close_session(now, session, shared, effects);
        }
        if !expired.is_empty() {
            effects.push(CoreEffect::SessionsExpired(expired));
        }
        if !writes {
            return;
        }
        for path in self.clean_up.due(now, &shared.tree) {
            if self.proposed_last {
                break;
            }
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
            self.figures.snapshots_begun += 1;
            effects.push(CoreEffect::BeginSnapshot);
        }
    }

    fn ask_to_apply(&mut self, effects: &mut Vec<CoreEffect>) {
        if !self.applying && (self.can_go_on() || self.epoch_begins()) {
            self.applying = true;
            effects.push(CoreEffect::Apply);
        }
    }

    fn halt(&mut self, reason: HaltReason, effects: &mut Vec<CoreEffect>) {
        self.state = State::Halted;
        effects.push(CoreEffect::Halted(reason));
    }
}

/// Whether clients are let in from the start: a learner is told later.
fn opens_at_once(role: CoreRole, config: &CoreConfig) -> bool {
    match role {
        CoreRole::Alone | CoreRole::ReadOnly => true,
        CoreRole::Leading { .. } => config.leader_serves,
        CoreRole::Waiting | CoreRole::Learning { .. } => false,
    }
}

/// The sessions that a core starts with.
fn sessions(now: Now, config: &CoreConfig, start: &CoreStart, shared: &Shared) -> Sessions {
    let mut sessions = Sessions::new(config.tick_time_ms, config.server_id, now.wall_ms);
    if let Some(next) = start.next_session {
        sessions.continue_ids(next);
    }
    if matches!(start.role, CoreRole::Leading { .. }) && config.local_sessions_enabled {
        sessions.remember_closed();
    }
    match start.role {
        CoreRole::Alone | CoreRole::Leading { .. } => {
            for (id, timeout_ms) in shared.tree.sessions().iter() {
                let short = mutation::is_on(Mutation::SessionsCutShort);
                let granted_ms = if short { 1 } else { timeout_ms };
                sessions.track(id, granted_ms, now.monotonic_ms());
            }
        }
        CoreRole::Waiting | CoreRole::ReadOnly | CoreRole::Learning { .. } => {
            sessions.do_not_expire();
        }
    }
    sessions
}
