//! This server as follower or observer: between its pipeline and the learner machine.

use std::sync::Arc;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{ServerId, Zxid};
use rookeeper_zab::election::ElectionInput;
use rookeeper_zab::leader::LeaderInput;
use rookeeper_zab::learner::{
    Learner, LearnerConfig, LearnerEffect, LearnerEnd, LearnerInput, SyncStart,
};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{Address, Role};
use rookeeper_zab::observer_master::ObserverMasterInput;
use rookeeper_zab::{EpochKind, Outgoing, Segment};

use super::effect::{MemberEvent, ReplicaEffect, ServerState, StorageCommand};
use super::ending::Barred;
use super::replica::{Context, Learning, Part, Replica, UNKNOWN};
use crate::core::{CoreEffect, CoreInput, CoreRole};

/// What a learner says in the place of its current epoch where it must not be counted.
const UNCOUNTED: i64 = -1;

/// What it says in the place of its last zxid where only a snapshot helps: it stands in no leader's
/// history, and unlike the unknown zxid it does not keep the learner from being counted (Java:
/// `Leader.waitForEpochAck`, `LearnerHandler.syncFollower`).
const SNAPSHOT_WANTED: Zxid = Zxid(-2);

/// After so many histories in a row that leave something out a snapshot is asked for.
const GAPS_MAX: u32 = 3;

/// For how long a leader is tried that takes no learners. Who looks again finds the same one, if
/// it leads by then (Java: five tries, 100 ms apart).
const CONNECT_MS_MAX: u64 = 1000;

/// Or for so many delays between dials, where they are set to be longer.
const CONNECT_TRIES: u64 = 5;

/// What part of that a leader is given that proposes another one while it does not lead yet, in
/// hundredths: by default 300 ms, in which Java's wait for a better vote, 200 ms, is over too.
const WAVERING_PERCENT: u64 = 30;

impl Replica {
    /// Learns from a leader.
    pub(super) fn learn(&mut self, leader: ServerId, role: Role, context: &mut Context<'_>) {
        let member = &self.config.member;
        let barred = self.barred.is_some();
        let config = LearnerConfig {
            me: member.me,
            leader,
            role,
            tick_time_ms: member.tick_time_ms,
            init_limit: member.init_limit,
            sync_limit: member.sync_limit,
            connect_limit: member.connect_limit,
            connect_delay_ms: member.connect_delay_ms,
            config_version: self.ensemble.committed().version(),
            accepted_epoch: self.accepted_epoch,
            current_epoch: if barred { UNCOUNTED } else { self.current_epoch },
            last_zxid: match (barred, self.snapshot_wanted) {
                (true, _) => UNKNOWN,
                (false, true) => SNAPSHOT_WANTED,
                (false, false) => self.last_zxid,
            },
            buffer_len_max: member.packet_len_max,
            rules: member.rules,
        };
        let observer = role == Role::Observer;
        self.part = Part::Learning(Box::new(Learning {
            machine: Learner::new(config, context.now_ms()),
            leader,
            began_ms: context.now_ms(),
            try_until_ms: context.now_ms().saturating_add(self.connect_ms_max()),
            knows_epoch_ms: None,
            observer,
            connection: None,
            dial: None,
            dialled: leader,
            sync: None,
            serving: false,
            master: None,
            leave: None,
        }));
        let state = if observer { ServerState::Observing } else { ServerState::Following };
        self.announce(state, context);
        self.step_learner(LearnerInput::Start, context);
    }

    fn leader_addresses(&self, leader: ServerId) -> Vec<Address> {
        let mut addresses = Vec::new();
        for membership in [self.ensemble.committed(), self.ensemble.last_seen()] {
            for address in membership.member(leader).iter().flat_map(|member| &member.addresses) {
                if !addresses.contains(&address.quorum) {
                    addresses.push(address.quorum.clone());
                }
            }
        }
        addresses
    }

    fn connect_ms_max(&self) -> u64 {
        let delay_ms = self.config.member.connect_delay_ms.unwrap_or(0);
        CONNECT_MS_MAX.max(delay_ms.saturating_mul(CONNECT_TRIES))
    }

    fn dial_leader(&mut self, context: &mut Context<'_>) {
        let half_ms = self.connect_ms_max() / 2;
        let Part::Learning(learning) = &mut self.part else { return };
        let unknown = learning.machine.epoch().is_none();
        if unknown && context.now_ms() >= learning.try_until_ms {
            return self.abandon("the leader does not lead", context);
        }
        self.dials += 1;
        learning.dial = Some(self.dials);
        let leader = learning.leader;
        let is_late = context.now_ms() >= learning.began_ms.saturating_add(half_ms);
        let master = self.master_in_turn(is_late);
        let (dialled, addresses) =
            master.unwrap_or_else(|| (leader, self.leader_addresses(leader)));
        if let Part::Learning(learning) = &mut self.part {
            learning.dialled = dialled;
        }
        context.push(ReplicaEffect::QuorumDial { dial: self.dials, addresses });
    }

    pub(super) fn dialled(
        &mut self,
        dial: u64,
        connection: ConnectionId,
        context: &mut Context<'_>,
    ) {
        match &mut self.part {
            Part::Learning(learning) if learning.dial == Some(dial) => {
                learning.dial = None;
                learning.connection = Some(connection);
                self.connections.insert(connection);
                self.step_learner(LearnerInput::Connected, context);
            }
            _ => context.push(ReplicaEffect::QuorumClose(connection)),
        }
    }

    pub(super) fn dial_failed(&mut self, dial: u64, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &mut self.part
            && learning.dial == Some(dial)
        {
            learning.dial = None;
            self.step_learner(LearnerInput::ConnectFailed, context);
        }
    }

    /// Bytes of the quorum port, for whichever machine is there.
    pub(super) fn received(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        if self.connections.contains(&connection) {
            self.step_leader(LeaderInput::Received { connection, bytes }, context);
            if self.is_from_observer(connection) {
                self.step_master(ObserverMasterInput::Received { connection, bytes }, context);
            } else {
                self.step_learner(LearnerInput::Received(bytes), context);
            }
        }
    }

    /// A connection of the quorum port has ended by itself.
    pub(super) fn closed(&mut self, connection: ConnectionId, context: &mut Context<'_>) {
        if !self.connections.remove(&connection) {
            return;
        }
        self.step_leader(LeaderInput::Closed(connection), context);
        if let Part::Learning(learning) = &mut self.part
            && learning.connection == Some(connection)
        {
            learning.connection = None;
            self.step_learner(LearnerInput::Closed, context);
        } else {
            self.step_master(ObserverMasterInput::Closed(connection), context);
        }
    }

    /// The election link to a peer is lost. A leader that cannot be connected to either is not
    /// tried for all of `initLimit`.
    pub(super) fn leader_is_unreachable(&mut self, peer: ServerId, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &self.part
            && learning.leader == peer
            && learning.connection.is_none()
        {
            self.abandon("the leader cannot be reached", context);
        }
    }

    /// The leader itself says that it is none. Once it has told its epoch, its connection's end
    /// says all that there is to say.
    pub(super) fn leader_has_left(&mut self, leader: ServerId, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &self.part
            && learning.leader == leader
            && learning.machine.epoch().is_none()
        {
            self.abandon("the leader has changed its mind", context);
        }
    }

    /// The leader proposes another one: it is waited for, but not for long.
    pub(super) fn leader_wavers(&mut self, leader: ServerId, context: &mut Context<'_>) {
        let wait_ms = self.connect_ms_max().saturating_mul(WAVERING_PERCENT) / 100;
        if let Part::Learning(learning) = &mut self.part
            && learning.leader == leader
        {
            let until_ms = context.now_ms().saturating_add(wait_ms);
            learning.try_until_ms = learning.try_until_ms.min(until_ms);
        }
    }

    pub(super) fn learner_asks(&mut self, effect: LearnerEffect, context: &mut Context<'_>) {
        let Part::Learning(learning) = &mut self.part else { return };
        let connection = learning.connection;
        match effect {
            LearnerEffect::Connect => self.dial_leader(context),
            LearnerEffect::Send(bytes) => {
                let item = Outgoing::Bytes(bytes);
                let send = |connection| ReplicaEffect::QuorumSend { connection, item };
                context.effects.extend(connection.map(send));
            }
            LearnerEffect::Disconnect => {
                learning.dial = None;
                learning.connection = None;
                if let Some(connection) = connection
                    && self.connections.remove(&connection)
                {
                    context.push(ReplicaEffect::QuorumClose(connection));
                }
            }
            LearnerEffect::PauseReading => {
                context.effects.extend(connection.map(ReplicaEffect::QuorumPause));
            }
            LearnerEffect::ResumeReading => {
                context.effects.extend(connection.map(ReplicaEffect::QuorumResume));
            }
            LearnerEffect::WriteEpoch { kind, epoch } => self.write_epoch(kind, epoch, context),
            LearnerEffect::Begin(start) => self.begin_sync(start, context),
            LearnerEffect::SnapshotBytes(bytes) => {
                self.store(StorageCommand::InstallBytes(bytes), context);
            }
            LearnerEffect::SnapshotEnd => self.store(StorageCommand::EndInstall, context),
            LearnerEffect::Settle => self.store(StorageCommand::Settle, context),
            LearnerEffect::LastSeen(membership) => {
                self.last_seen(membership, context);
                self.doubt_the_unlogged(context);
            }
            LearnerEffect::Activate { zxid, membership, designated } => {
                if let Some(designated) = designated {
                    let activated = ObserverMasterInput::Activated { zxid, designated };
                    self.step_master(activated, context);
                }
                self.activate(zxid, membership, designated, context);
            }
            LearnerEffect::Serve { epoch } => self.serve(epoch, context),
            LearnerEffect::Proposals(segment) => self.proposed(segment, context),
            LearnerEffect::Commit(zxid) => {
                self.step_core(CoreInput::Committed(zxid), context);
                self.step_master(ObserverMasterInput::Committed(zxid), context);
            }
            LearnerEffect::Revalidated { session, valid } if self.is_master() => {
                self.step_master(ObserverMasterInput::Revalidated { session, valid }, context);
            }
            LearnerEffect::Revalidated { session, valid } => {
                self.step_core(CoreInput::Revalidated { session, valid }, context);
            }
            LearnerEffect::SyncDone if self.is_master() => {
                self.step_master(ObserverMasterInput::SyncDone, context);
            }
            LearnerEffect::SyncDone => self.step_core(CoreInput::SyncDone, context),
            LearnerEffect::TouchesWanted => self.touches_wanted(context),
            LearnerEffect::Abandon(end) => {
                if let LearnerEnd::Gap { last, got } = end {
                    self.gap(last, got, context);
                }
                self.abandon(&end.to_string(), context);
            }
        }
    }

    /// This server is up to date.
    fn serve(&mut self, epoch: i64, context: &mut Context<'_>) {
        self.logs_anyway &= self.has_to_log();
        let Part::Learning(learning) = &mut self.part else { return };
        learning.serving = true;
        self.gaps = 0;
        let since_ms = learning.knows_epoch_ms.unwrap_or(learning.began_ms);
        let took_ms = context.now_ms().saturating_sub(since_ms);
        let observer = learning.observer;
        self.step_election(ElectionInput::Synchronised { epoch }, context);
        let unavailable_ms = self.is_available(context.now_ms());
        context.tell(MemberEvent::UpToDate { epoch, unavailable_ms, took_ms, observer });
        self.step_core(CoreInput::Serve { epoch }, context);
        self.step_master(ObserverMasterInput::Serve { epoch }, context);
    }

    /// The tree may be at the start of an epoch, where the log ends before: nothing is committed
    /// in between.
    fn proposed(&mut self, segment: Arc<Segment>, context: &mut Context<'_>) {
        let begun = context.shared.tree.last_processed_zxid();
        let first = segment.records().next().map(|(zxid, _)| zxid);
        match first.filter(|zxid| *zxid <= begun) {
            Some(zxid) => self.abandon(&format!("proposal {zxid} after {begun}"), context),
            None => {
                self.step_master(ObserverMasterInput::Proposed(segment.clone()), context);
                self.step_core(CoreInput::Proposals(segment), context);
            }
        }
    }

    /// A leader counts by its id who votes in the change that is pending, also for having the
    /// history of NEWLEADER (Java: `Leader.waitForNewLeaderAck`): who has it in memory only does
    /// not acknowledge it, and comes again with what is on its disk.
    fn doubt_the_unlogged(&mut self, context: &mut Context<'_>) {
        if self.unlogged && self.has_to_log() {
            self.abandon("a pending vote asks for a history on disk", context);
        }
    }

    /// The current epoch on disk says what history is there with it. Java writes it also where the
    /// history is in an observer's memory only, which would stand above who has more on disk once
    /// it votes.
    fn write_epoch(&mut self, kind: EpochKind, epoch: i64, context: &mut Context<'_>) {
        if kind == EpochKind::Current && self.unlogged {
            return self.step_learner(LearnerInput::EpochWritten(kind), context);
        }
        self.store(StorageCommand::WriteEpoch { kind, epoch }, context);
    }

    /// A core that has no role yet has heard of nobody.
    fn touches_wanted(&mut self, context: &mut Context<'_>) {
        if self.is_without_role() {
            self.step_learner(LearnerInput::Touches(Vec::new()), context);
        } else {
            self.step_core(CoreInput::TouchesWanted, context);
        }
    }

    fn begin_sync(&mut self, start: SyncStart, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &mut self.part {
            learning.sync = Some(start);
        }
        context.tell(MemberEvent::Synchronises(start));
        match start {
            SyncStart::Diff => self.start_learning(context),
            SyncStart::Trunc(_) if mutation::is_on(Mutation::TruncIgnored) => {
                self.start_learning(context);
            }
            // The point to cut at may be on no disk: a snapshot has to be had.
            SyncStart::Trunc(_) if self.unlogged => self.refused(context),
            SyncStart::Trunc(zxid) => self.store(StorageCommand::Truncate(zxid), context),
            SyncStart::Snap(zxid) => {
                self.staged = true;
                self.store(StorageCommand::BeginInstall(zxid), context);
            }
        }
    }

    /// The tree is where the leader's history goes on.
    fn start_learning(&mut self, context: &mut Context<'_>) {
        let Part::Learning(learning) = &self.part else { return };
        let observer = learning.observer;
        self.make_core(CoreRole::Learning { observer }, context);
        let master = if observer { None } else { self.observer_master(context) };
        if let Part::Learning(learning) = &mut self.part {
            learning.master = master;
        }
        self.step_learner(LearnerInput::Ready, context);
    }

    /// The disk has put another tree in place, as a TRUNC or a SNAP asked for.
    pub(super) fn reloaded(&mut self, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &self.part
            && matches!(learning.sync, Some(SyncStart::Trunc(_) | SyncStart::Snap(_)))
        {
            self.start_learning(context);
        }
    }

    /// The disk cannot do what the leader asked for. Where it cannot cut (a snapshot has taken the
    /// place of the point), the next synchronisation has to be a snapshot: the leader is not told
    /// of the last zxid then. It was known, so this server's word counts as before.
    pub(super) fn refused(&mut self, context: &mut Context<'_>) {
        if let Part::Learning(learning) = &self.part {
            self.snapshot_wanted |= matches!(learning.sync, Some(SyncStart::Trunc(_)));
        }
        self.abandon("the leader's history cannot be taken over in this way", context);
    }

    /// The leader left something out of the history that it gave in place of a snapshot: a Java
    /// leader's log may have holes that it does not know of (ZOOKEEPER-2846). It will send the same
    /// again, so a snapshot is asked for in the end. In elections, and in what it counts for, this
    /// server goes on standing for what is on its disk, which the snapshot replaces as a whole.
    fn gap(&mut self, last: Zxid, got: Zxid, context: &mut Context<'_>) {
        let Part::Learning(learning) = &self.part else { return };
        if learning.serving || matches!(learning.sync, None | Some(SyncStart::Snap(_))) {
            return;
        }
        self.gaps += 1;
        self.snapshot_wanted |= self.gaps >= GAPS_MAX;
        let snapshot_wanted = self.snapshot_wanted;
        context.tell(MemberEvent::Gap { last, got, snapshot_wanted });
    }

    /// The leader's history up to NEWLEADER is this server's.
    pub(super) fn settled(&mut self, context: &mut Context<'_>) {
        let snapshot = std::mem::take(&mut self.staged);
        self.snapshot_wanted &= !snapshot;
        if snapshot || self.barred == Some(Barred::Unproven) {
            self.barred = None;
        }
        self.step_learner(LearnerInput::Settled, context);
    }

    pub(super) fn core_asks_learner(&mut self, mut effect: CoreEffect, context: &mut Context<'_>) {
        self.ask_among_observers(&mut effect, context);
        let input = match effect {
            CoreEffect::Forward(request) => LearnerInput::Forward(request),
            CoreEffect::Revalidate { session, timeout_ms } => {
                LearnerInput::Revalidate { session, timeout_ms }
            }
            CoreEffect::Touches(sessions) => LearnerInput::Touches(sessions),
            _ => unreachable!("nothing else is for the learner machine"),
        };
        self.step_learner(input, context);
    }
}
