//! [`Replica`]: what a driver calls, and how effects of one machine reach the next one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::persistence::RECORD_OVERHEAD;
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::EpochKind;
use rookeeper_zab::election::{Election, ElectionEffect, ElectionInput};
use rookeeper_zab::leader::{Leader, LeaderEffect, LeaderInput};
use rookeeper_zab::learner::{Learner, LearnerEffect, LearnerInput, SyncStart};
use rookeeper_zab::links::{Addresses, ConnectionId, Links, LinksEffect, LinksInput};
use rookeeper_zab::observer_master::{ObserverMaster, ObserverMasterEffect, ObserverMasterInput};
use rookeeper_zab::quorum::{Ensemble, Oracle};
use rookeeper_zab::sync::LogIndex;

use super::config::{Recovered, ReplicaConfig, ReplicaStartError};
use super::configuration::Unshown;
use super::effect::{EndReason, MemberEvent, ReplicaEffect, ServerState, StorageCommand};
use super::ending::{Barred, Ending, Next};
use super::input::ReplicaInput;
use super::looking::Held;
use super::storage::Awaited;
use crate::core::{
    ApplyProgress, Core, CoreEffect, CoreInput, CoreRole, CoreStart, HaltReason, Lot,
    TICK_INTERVAL_MS,
};
use crate::ids::Now;
use crate::shared::Shared;

/// The zxid of a server that does not know what it should hold.
pub(super) const UNKNOWN: Zxid = Zxid(-1);

/// Packets for the leader that follow one another are put together up to this many bytes.
const SENT_ALONG_MAX: usize = 64 << 10;

/// A member of an ensemble: see the module's documentation for its driver's duties.
#[derive(Debug)]
pub struct Replica {
    pub(super) config: ReplicaConfig,
    pub(super) core: Core,
    /// What the core was made for.
    pub(super) core_role: CoreRole,
    pub(super) election: Election,
    pub(super) links: Links,
    pub(super) part: Part,
    pub(super) state: ServerState,
    /// The epochs on disk.
    pub(super) accepted_epoch: i64,
    pub(super) current_epoch: i64,
    /// The end of the log when no role is played.
    pub(super) last_zxid: Zxid,
    pub(super) history: LogIndex,
    pub(super) ensemble: Ensemble,
    pub(super) oracle: Oracle,
    /// Commands that the disk has not answered yet, in order.
    pub(super) awaited: VecDeque<Awaited>,
    /// A snapshot is staged and has not taken the old history's place.
    pub(super) staged: bool,
    pub(super) disk_full: bool,
    /// Effects of the election that wait until an adopted configuration is durable.
    pub(super) deferred: VecDeque<ElectionEffect>,
    /// The last message of each peer that looked for a leader while this server did not.
    pub(super) held: BTreeMap<ServerId, Held>,
    /// Connections of the quorum port that are open.
    pub(super) connections: BTreeSet<ConnectionId>,
    /// Why this server does not vote.
    pub(super) barred: Option<Barred>,
    /// The tree is ahead of the log, which ends where this server was up to date with a leader
    /// (`syncEnabled=false`): only a leader's snapshot makes a log of it again, or the way back to
    /// what is on disk.
    pub(super) unlogged: bool,
    /// An observer that keeps no log was told that it is about to be more: it keeps one.
    pub(super) logs_anyway: bool,
    /// Whether the log cannot be cut where a leader wanted it to be.
    pub(super) snapshot_wanted: bool,
    /// How many leaders' histories in a row have left something out.
    pub(super) gaps: u32,
    /// The highest epoch that another server is known to have accepted.
    pub(super) epoch_elsewhere: i64,
    /// How often in a row this server's part ended as soon as it had begun.
    pub(super) in_vain: u32,
    /// How often the tree was found to differ from the leader's.
    pub(super) divergences: u32,
    /// It serves no more until an operator has looked.
    pub(super) withdrawn: bool,
    /// Since when nobody could be served here, where that is so.
    pub(super) unavailable_since_ms: Option<u64>,
    /// Asked to stop; by when it does.
    pub(super) stop_by_ms: Option<u64>,
    pub(super) ended: bool,
    /// A configuration that the tree does not show yet.
    pub(super) unshown: Option<Unshown>,
    snapshot_running: bool,
    /// The tree was loaded anew since the core was made.
    pub(super) tree_reloaded: bool,
    pub(super) dials: u64,
    cores: u64,
    pub(super) lot: Lot,
    core_ticked_ms: u64,
    pub(super) work: VecDeque<Work>,
    scratch: Scratch,
}

/// Used again for what each machine asks for.
#[derive(Debug, Default)]
struct Scratch {
    core: Vec<CoreEffect>,
    leader: Vec<LeaderEffect>,
    learner: Vec<LearnerEffect>,
}

/// The part that this server plays in its ensemble.
#[derive(Debug)]
pub(super) enum Part {
    /// Elects.
    Looking { since_ms: u64 },
    /// Leads, or is about to.
    Leading(Box<Leading>),
    /// Learns, or is about to.
    Learning(Box<Learning>),
    /// A part has ended; every stage is waited for.
    Ending(Ending),
    /// An observer that lets others go first, or who has tried in vain too often.
    Pausing { until_ms: u64 },
    /// Has joined every stage and takes no part.
    Apart,
}

/// A leader's state.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) machine: Leader,
    pub(super) established: bool,
    /// Leave once this is applied, for what follows.
    pub(super) leave: Option<(Zxid, Next)>,
    /// Leave then at the latest: its machine is done.
    pub(super) leave_by_ms: Option<u64>,
}

impl Leading {
    fn deadline_ms(&self) -> Option<u64> {
        self.leave_by_ms.or(self.machine.deadline_ms())
    }
}

/// A learner's state.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) machine: Learner,
    pub(super) leader: ServerId,
    pub(super) began_ms: u64,
    /// From when on a leader that takes no learners is dialled no more.
    pub(super) try_until_ms: u64,
    /// When the leader's epoch was known.
    pub(super) knows_epoch_ms: Option<u64>,
    pub(super) observer: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) dial: Option<u64>,
    /// Whom the last dial was to: the leader, or who passes on what it says.
    pub(super) dialled: ServerId,
    pub(super) sync: Option<SyncStart>,
    pub(super) serving: bool,
    /// What serves observers here.
    pub(super) master: Option<Box<ObserverMaster>>,
    /// Leave once this is applied, for what follows.
    pub(super) leave: Option<(Zxid, Next)>,
}

impl Learning {
    fn deadline_ms(&self) -> Option<u64> {
        let master_ms = self.master.as_ref().and_then(|master| master.deadline_ms());
        [self.machine.deadline_ms(), master_ms].into_iter().flatten().min()
    }
}

/// An effect on its way to where it is carried out.
#[derive(Debug)]
pub(super) enum Work {
    Core(CoreEffect),
    Leader(LeaderEffect),
    Learner(LearnerEffect),
    Master(ObserverMasterEffect),
    Election(ElectionEffect),
    Link(LinksEffect),
}

/// What a call brings.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) shared: &'a Shared,
    pub(super) effects: &'a mut Vec<ReplicaEffect>,
}

impl Context<'_> {
    pub(super) fn now_ms(&self) -> u64 {
        self.now.monotonic_ms()
    }

    pub(super) fn push(&mut self, effect: ReplicaEffect) {
        self.effects.push(effect);
    }

    /// Something for logs and figures.
    pub(super) fn tell(&mut self, event: MemberEvent) {
        self.push(ReplicaEffect::Event(event));
    }

    /// A learner asks for more than is done for it: it is not read for now.
    pub(super) fn learner_floods(&mut self, connection: ConnectionId) {
        self.tell(MemberEvent::LearnerFloods(connection));
        self.push(ReplicaEffect::QuorumPause(connection));
    }
}

impl Replica {
    /// A member over what recovery found; it begins to look for a leader.
    ///
    /// # Errors
    /// Where the epochs on disk and the log contradict each other.
    pub fn new(
        now: Now,
        config: ReplicaConfig,
        recovered: Recovered,
        shared: &mut Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Result<Replica, ReplicaStartError> {
        let epochs = epochs_of(&recovered)?;
        let member = &config.member;
        let ensemble =
            Ensemble::with_last_seen(recovered.committed.clone(), recovered.last_seen.clone());
        let (election, links) = (member.election(), member.links());
        let start = CoreStart {
            role: CoreRole::Waiting,
            txns_since_snapshot: recovered.txns_since_snapshot,
            bytes_since_snapshot: recovered.bytes_since_snapshot,
            ..CoreStart::default()
        };
        let (core, access) = (config.core.clone(), config.access.clone());
        let core = Core::new(now, core, config.prepare, access, shared, start);
        let lot = Lot::new(member.seed);
        let mut replica = Replica {
            core,
            core_role: CoreRole::Waiting,
            election: Election::new(election, ensemble.clone()),
            links: Links::new(links),
            part: Part::Ending(Ending::joined(Next::Look)),
            state: ServerState::Looking,
            accepted_epoch: epochs.accepted,
            current_epoch: epochs.current,
            last_zxid: recovered.last_zxid,
            history: recovered.history,
            ensemble,
            oracle: Oracle::Absent,
            awaited: VecDeque::new(),
            staged: false,
            disk_full: false,
            deferred: VecDeque::new(),
            held: BTreeMap::new(),
            connections: BTreeSet::new(),
            barred: (recovered.last_zxid < Zxid::ZERO).then_some(Barred::Unproven),
            unlogged: false,
            logs_anyway: false,
            snapshot_wanted: false,
            gaps: 0,
            epoch_elsewhere: -1,
            in_vain: 0,
            divergences: 0,
            withdrawn: false,
            unavailable_since_ms: Some(now.monotonic_ms()),
            stop_by_ms: None,
            ended: false,
            unshown: None,
            snapshot_running: false,
            tree_reloaded: false,
            dials: 0,
            cores: 0,
            lot,
            core_ticked_ms: now.monotonic_ms(),
            work: VecDeque::new(),
            scratch: Scratch::default(),
            config,
        };
        replica.unshown = Some(Unshown { membership: recovered.committed, at_once: true });
        replica.show_configuration(now, shared);
        let mut context = Context { now, shared, effects };
        replica.begin(&epochs, &mut context);
        replica.drain(&mut context);
        Ok(replica)
    }

    fn begin(&mut self, epochs: &Epochs, context: &mut Context<'_>) {
        context.push(ReplicaEffect::State(ServerState::Looking));
        context.push(ReplicaEffect::Membership(self.ensemble.committed().clone()));
        if epochs.current_missing {
            let epoch = self.current_epoch;
            self.store(StorageCommand::WriteEpoch { kind: EpochKind::Current, epoch }, context);
        }
        if epochs.accepted_missing {
            let epoch = self.accepted_epoch;
            self.store(StorageCommand::WriteEpoch { kind: EpochKind::Accepted, epoch }, context);
        }
        self.update_addresses(context);
        self.join(context);
    }

    /// Takes one input.
    pub fn step(
        &mut self,
        now: Now,
        input: ReplicaInput<'_>,
        shared: &Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        if self.ended {
            return;
        }
        let mut context = Context { now, shared, effects };
        let context = &mut context;
        match input {
            ReplicaInput::Core(input) => {
                if matches!(input, CoreInput::SnapshotEnded) {
                    self.snapshot_running = false;
                    self.tell_sync_rules(context);
                }
                self.step_core(input, context);
            }
            ReplicaInput::Link(input) => self.step_links(input, context),
            ReplicaInput::QuorumAccepted(connection) => self.accepted(connection, context),
            ReplicaInput::QuorumDialled { dial, connection } => {
                self.dialled(dial, connection, context);
            }
            ReplicaInput::QuorumDialFailed { dial } => self.dial_failed(dial, context),
            ReplicaInput::QuorumReceived { connection, bytes } => {
                self.received(connection, bytes, context);
            }
            ReplicaInput::QuorumClosed(connection) => self.closed(connection, context),
            ReplicaInput::QuorumWritten(connection) => {
                if self.connections.contains(&connection) {
                    self.step_leader(LeaderInput::Written(connection), context);
                    self.step_master(ObserverMasterInput::Written(connection), context);
                }
            }
            ReplicaInput::HistoryFailed { connection, unproven } => {
                self.history_failed(connection, unproven, context);
            }
            ReplicaInput::Storage(report) => self.storage_reports(report, context),
            ReplicaInput::Release => self.step_leader(LeaderInput::Release, context),
            ReplicaInput::Oracle(oracle) => {
                self.oracle = oracle;
                self.step_election(ElectionInput::Oracle(oracle), context);
                self.step_leader(LeaderInput::Oracle(oracle), context);
            }
            ReplicaInput::Tick => self.tick(context),
            ReplicaInput::Stop => self.stop(context),
        }
        self.drain(context);
    }

    /// Applies one slice of what is committed, under the write lock.
    pub fn apply(
        &mut self,
        now: Now,
        shared: &mut Shared,
        effects: &mut Vec<ReplicaEffect>,
    ) -> ApplyProgress {
        if self.ended {
            return ApplyProgress::Done;
        }
        self.show_configuration(now, shared);
        let mut out = std::mem::take(&mut self.scratch.core);
        let progress = self.core.apply(now, shared, &mut out);
        self.work.extend(out.drain(..).map(Work::Core));
        self.scratch.core = out;
        let mut context = Context { now, shared, effects };
        self.drain(&mut context);
        self.leave_if_applied(&mut context);
        self.drain(&mut context);
        if self.ended { ApplyProgress::Done } else { progress }
    }

    /// When [`ReplicaInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        let part_ms = match &self.part {
            Part::Looking { .. } => self.read_only_at_ms(),
            Part::Ending(_) | Part::Apart => None,
            Part::Leading(leading) => leading.deadline_ms(),
            Part::Learning(learning) => learning.deadline_ms(),
            Part::Pausing { until_ms } => Some(*until_ms),
        };
        let due = [
            part_ms,
            self.election.deadline_ms(),
            self.links.deadline_ms(),
            self.stop_by_ms,
            Some(self.core_ticked_ms + TICK_INTERVAL_MS),
        ];
        if self.ended { None } else { due.into_iter().flatten().min() }
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now_ms();
        if now_ms >= self.core_ticked_ms + TICK_INTERVAL_MS {
            self.core_ticked_ms = now_ms;
            self.step_core(CoreInput::Tick, context);
        }
        if self.links.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.step_links(LinksInput::Tick, context);
        }
        if self.election.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.step_election(ElectionInput::Tick, context);
        }
        match &self.part {
            Part::Leading(leading) if leading.leave_by_ms.is_some_and(|due| due <= now_ms) => {
                self.abandon("the disk does not take the end of the epoch", context);
            }
            Part::Leading(leading)
                if leading.machine.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) =>
            {
                self.step_leader(LeaderInput::Tick, context);
                self.tell_ensemble(context);
            }
            Part::Learning(learning)
                if learning.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) =>
            {
                self.step_learner(LearnerInput::Tick, context);
                self.step_master(ObserverMasterInput::Tick, context);
            }
            Part::Pausing { until_ms } if *until_ms <= now_ms => self.look(context),
            Part::Looking { .. } if self.read_only_at_ms().is_some_and(|due| due <= now_ms) => {
                self.begin_read_only(context);
            }
            _ => {}
        }
        if self.stop_by_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.end(EndReason::Stopped, context);
        }
    }

    /// Carries out effects, and those that they have, until none is left.
    fn drain(&mut self, context: &mut Context<'_>) {
        while let Some(work) = self.work.pop_front() {
            if self.ended {
                self.work.clear();
                return;
            }
            match work {
                Work::Core(effect) => self.core_asks(effect, context),
                Work::Leader(effect) => self.leader_asks(effect, context),
                Work::Learner(effect) => self.learner_asks(effect, context),
                Work::Master(effect) => self.master_asks(effect, context),
                Work::Election(effect) => self.election_asks(effect, context),
                Work::Link(effect) => self.links_ask(effect, context),
            }
        }
    }

    pub(super) fn step_core(&mut self, input: CoreInput, context: &mut Context<'_>) {
        let mut out = std::mem::take(&mut self.scratch.core);
        self.core.step(context.now, input, context.shared, &mut out);
        self.work.extend(out.drain(..).map(Work::Core));
        self.scratch.core = out;
    }

    pub(super) fn step_leader(&mut self, input: LeaderInput<'_>, context: &mut Context<'_>) {
        if let Part::Leading(leading) = &mut self.part {
            let mut out = std::mem::take(&mut self.scratch.leader);
            leading.machine.step(context.now_ms(), input, &mut out);
            if out.iter().any(|effect| self.is_left_by(effect)) {
                // Before the requests that came with it: what they become would follow it.
                self.tell_leading_core(CoreInput::Leaving, context);
            }
            self.work.extend(out.drain(..).map(Work::Leader));
            self.scratch.leader = out;
        }
    }

    /// Whether this is the commit of a change that ends its leader's role.
    fn is_left_by(&self, effect: &LeaderEffect) -> bool {
        match effect {
            LeaderEffect::Activate { zxid, membership, designated } => {
                self.next_after(*zxid, membership, Some(*designated)).is_some()
            }
            _ => false,
        }
    }

    pub(super) fn step_learner(&mut self, input: LearnerInput<'_>, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &mut self.part {
            let mut out = std::mem::take(&mut self.scratch.learner);
            learning.machine.step(context.now_ms(), input, &mut out);
            if learning.knows_epoch_ms.is_none() && learning.machine.epoch().is_some() {
                learning.knows_epoch_ms = Some(context.now_ms());
            }
            for effect in out.drain(..) {
                if let Some(effect) = self.not_sent_along(effect) {
                    self.work.push_back(Work::Learner(effect));
                }
            }
            self.scratch.learner = out;
        }
    }

    /// What is sent to the leader right behind something else, and is short, goes along with it.
    fn not_sent_along(&mut self, effect: LearnerEffect) -> Option<LearnerEffect> {
        let Some(Work::Learner(LearnerEffect::Send(before))) = self.work.back_mut() else {
            return Some(effect);
        };
        match effect {
            LearnerEffect::Send(bytes) if before.len() + bytes.len() <= SENT_ALONG_MAX => {
                before.extend_from_slice(&bytes);
                None
            }
            effect => Some(effect),
        }
    }

    pub(super) fn step_election(&mut self, input: ElectionInput<'_>, context: &mut Context<'_>) {
        let mut out = Vec::new();
        self.election.step(context.now_ms(), input, &mut out);
        self.work.extend(out.into_iter().map(Work::Election));
    }

    pub(super) fn step_links(&mut self, input: LinksInput<'_>, context: &mut Context<'_>) {
        let mut out = Vec::new();
        self.links.step(context.now_ms(), input, &mut out);
        self.work.extend(out.into_iter().map(Work::Link));
    }

    /// Tells the links where the others are, and where this server is.
    pub(super) fn update_addresses(&mut self, context: &mut Context<'_>) {
        let addresses = Addresses::of(&self.ensemble, self.config.member.me);
        self.step_links(LinksInput::Addresses(addresses), context);
    }

    /// Puts a core for a role in the place of the present one, which has retired or had none.
    pub(super) fn make_core(&mut self, role: CoreRole, context: &mut Context<'_>) {
        self.cores += 1;
        let mut config = self.config.core.clone();
        config.seed = config.seed.wrapping_add(self.cores);
        let mut start = self.core.successor(role);
        start.snapshot_running = self.snapshot_running;
        if std::mem::take(&mut self.tree_reloaded) {
            start.last_logged = None;
            start.txns_since_snapshot = 0;
            start.bytes_since_snapshot = 0;
        }
        let (prepare, access) = (self.config.prepare, self.config.access.clone());
        let figures = self.core.take_figures();
        self.core = Core::new(context.now, config, prepare, access, context.shared, start);
        self.core.continue_figures(figures);
        self.core_role = role;
    }

    fn core_asks(&mut self, effect: CoreEffect, context: &mut Context<'_>) {
        match effect {
            CoreEffect::Append(segment) => {
                for (zxid, txn) in segment.records() {
                    self.history.append(zxid, (txn.len() + RECORD_OVERHEAD) as u64);
                }
                self.append(segment, context);
            }
            // The staged log is one file, and a snapshot would belong to neither history.
            CoreEffect::Roll if self.staged || self.unlogged => {}
            CoreEffect::Roll => self.store(StorageCommand::Roll, context),
            CoreEffect::BeginSnapshot => self.begin_snapshot(context),
            CoreEffect::Apply
            | CoreEffect::Deliver(_)
            | CoreEffect::Wake(_)
            | CoreEffect::SessionsExpired(_)
            | CoreEffect::QuotaExceeded(_) => context.push(ReplicaEffect::Core(effect)),
            CoreEffect::DigestMismatch(zxid) => {
                context.push(ReplicaEffect::Core(effect));
                self.diverged(zxid, context);
            }
            CoreEffect::ProposalUnreadable(zxid) => {
                self.abandon(&format!("proposal {zxid} cannot be read"), context);
            }
            CoreEffect::Halted(reason) => self.core_halted(reason, context),
            CoreEffect::Retired { last_zxid } => self.retired(last_zxid, context),
            CoreEffect::Forward(_) | CoreEffect::Revalidate { .. } | CoreEffect::Touches(_) => {
                self.core_asks_learner(effect, context);
            }
            CoreEffect::SyncWanted { .. }
            | CoreEffect::Revalidated { .. }
            | CoreEffect::Done { .. }
            | CoreEffect::Reconfigured { .. }
            | CoreEffect::EpochExhausted => self.core_asks_leader(effect, context),
        }
    }

    fn begin_snapshot(&mut self, context: &mut Context<'_>) {
        let no_role = self.is_without_role() || self.is_read_only();
        let history_changes = self.staged || self.unlogged || !self.awaited.is_empty() || no_role;
        if self.snapshot_running || history_changes {
            return self.step_core(CoreInput::SnapshotEnded, context);
        }
        self.snapshot_running = true;
        context.push(ReplicaEffect::Core(CoreEffect::BeginSnapshot));
    }

    /// Whether the core has no role, so that nothing of it has to be retired.
    pub(super) fn is_without_role(&self) -> bool {
        self.core_role == CoreRole::Waiting
    }

    fn core_halted(&mut self, reason: HaltReason, context: &mut Context<'_>) {
        match reason {
            HaltReason::DiskFailed | HaltReason::DiskFull => {
                self.end(EndReason::DiskFailed, context);
            }
            HaltReason::Apply(error) => self.end(EndReason::Apply(error), context),
            HaltReason::Shutdown => {
                self.core_role = CoreRole::Waiting;
                self.drained(context);
            }
        }
    }

    /// This server serves from now on; milliseconds for which it did not (Java:
    /// `QuorumPeer.unavailableStartTime`).
    pub(super) fn is_available(&mut self, now_ms: u64) -> u64 {
        let since_ms = self.unavailable_since_ms.take();
        since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Announces what this server is, where that is news.
    pub(super) fn announce(&mut self, state: ServerState, context: &mut Context<'_>) {
        if self.state != state {
            self.state = state;
            context.push(ReplicaEffect::State(state));
        }
    }
}

/// The epochs at the start.
struct Epochs {
    accepted: i64,
    current: i64,
    accepted_missing: bool,
    current_missing: bool,
}

/// A log of an epoch that was accepted and not made current yet is what a crash leaves between
/// the two (Java refuses to start then): the former current epoch is what this server stands for.
fn epochs_of(recovered: &Recovered) -> Result<Epochs, ReplicaStartError> {
    let last_zxid = recovered.last_zxid;
    let of_log = if last_zxid < Zxid::ZERO { 0 } else { i64::from(last_zxid.epoch()) };
    let current_epoch = recovered.current_epoch.unwrap_or(of_log);
    let accepted_epoch = recovered.accepted_epoch.unwrap_or(of_log);
    if accepted_epoch < current_epoch {
        return Err(ReplicaStartError::EpochsContradict { accepted_epoch, current_epoch });
    }
    let is_ahead = of_log > current_epoch && mutation::is_on(Mutation::EpochAheadRefused);
    if of_log > accepted_epoch || is_ahead {
        return Err(ReplicaStartError::LogAfterEpoch { last_zxid, accepted_epoch });
    }
    Ok(Epochs {
        accepted: accepted_epoch,
        current: current_epoch,
        accepted_missing: recovered.accepted_epoch.is_none(),
        current_missing: recovered.current_epoch.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rookeeper_zab::membership::{Membership, MembershipRules};
    use rookeeper_zab::sync::LogIndex;

    use super::*;

    fn epochs(
        last_zxid: Zxid,
        accepted_epoch: Option<i64>,
        current_epoch: Option<i64>,
    ) -> Result<(i64, i64), ReplicaStartError> {
        let text = "server.1=zoo1:2888:3888:participant;2181\nversion=0";
        let membership = Membership::parse(text, &MembershipRules::default()).expect("one server");
        let membership = Arc::new(membership);
        let recovered = Recovered {
            last_zxid,
            accepted_epoch,
            current_epoch,
            history: LogIndex::new(last_zxid),
            committed: membership.clone(),
            last_seen: membership,
            txns_since_snapshot: 0,
            bytes_since_snapshot: 0,
        };
        epochs_of(&recovered).map(|epochs| (epochs.accepted, epochs.current))
    }

    /// Java: `QuorumPeer.loadDataBase`; but ZOOKEEPER-2354, where it refuses to start.
    #[test]
    fn bug_2354_a_log_ahead_of_the_current_epoch_is_legal_up_to_the_accepted_one() {
        let last = Zxid::new(5, 7);
        assert_eq!(epochs(last, Some(5), Some(5)), Ok((5, 5)));
        assert_eq!(epochs(last, Some(5), Some(4)), Ok((5, 4)));
        assert_eq!(epochs(last, Some(9), Some(4)), Ok((9, 4)));
        assert_eq!(epochs(last, None, None), Ok((5, 5)));
        assert_eq!(epochs(Zxid::NONE, None, None), Ok((0, 0)));
        let (last_zxid, accepted_epoch) = (last, 4);
        let after = ReplicaStartError::LogAfterEpoch { last_zxid, accepted_epoch };
        assert_eq!(epochs(last, Some(4), Some(4)), Err(after));
        let (accepted_epoch, current_epoch) = (5, 6);
        let contradict = ReplicaStartError::EpochsContradict { accepted_epoch, current_epoch };
        assert_eq!(epochs(last, Some(5), Some(6)), Err(contradict));
    }
}
