//! What the disk was asked for and has not answered yet.

use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_zab::leader::LeaderInput;
use rookeeper_zab::learner::{LearnerInput, SyncStart};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::observer_master::ObserverMasterInput;
use rookeeper_zab::{EpochKind, Segment};

use super::effect::{EndReason, MemberEvent, ReplicaEffect, StorageCommand};
use super::ending::Next;
use super::input::StorageReport;
use super::replica::{Context, Part, Replica};
use crate::core::{CoreInput, CoreRole};

/// A command that has a report of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Epoch {
        kind: EpochKind,
        epoch: i64,
    },
    Membership,
    /// The election goes on when this configuration is durable.
    Adopted,
    Reloaded,
    Settled,
}

impl Replica {
    /// Gives a command to the disk.
    pub(super) fn store(&mut self, command: StorageCommand, context: &mut Context<'_>) {
        let awaited = match &command {
            StorageCommand::Append(_)
            | StorageCommand::Roll
            | StorageCommand::BeginInstall(_)
            | StorageCommand::InstallBytes(_) => None,
            StorageCommand::WriteEpoch { kind, epoch } => {
                Some(Awaited::Epoch { kind: *kind, epoch: *epoch })
            }
            StorageCommand::WriteMembership { .. } => Some(Awaited::Membership),
            StorageCommand::Truncate(_) | StorageCommand::EndInstall | StorageCommand::Reload => {
                Some(Awaited::Reloaded)
            }
            StorageCommand::Settle => Some(Awaited::Settled),
        };
        self.awaited.extend(awaited);
        context.push(ReplicaEffect::Storage(command));
    }

    /// Appends to the log. An observer that is to keep none takes what it is told for durable, once
    /// it is up to date (Java: `ObserverZooKeeperServer.commitRequest`); what belongs to a snapshot
    /// that is being installed becomes part of it.
    pub(super) fn append(&mut self, segment: Arc<Segment>, context: &mut Context<'_>) {
        let observes = self.core_role == (CoreRole::Learning { observer: true });
        let keeps_none = !self.config.member.sync_enabled && !self.logs_anyway;
        if observes && keeps_none && !self.staged {
            self.unlogged = true;
            self.durable_through(segment.last_zxid(), context);
            return self.join(context);
        }
        assert!(!self.unlogged, "a log goes on where it ended");
        if self.is_held_back() {
            return self.step_core(CoreInput::Durable(segment.last_zxid()), context);
        }
        self.store(StorageCommand::Append(segment.clone()), context);
        self.step_leader(LeaderInput::Proposed(segment), context);
    }

    /// Whether what is appended now is held in memory only: a known bug, put back.
    fn is_held_back(&self) -> bool {
        let Part::Learning(learning) = &self.part else { return false };
        mutation::is_on(Mutation::TruncUnlogged)
            && !learning.serving
            && matches!(learning.sync, Some(SyncStart::Trunc(_)))
    }

    /// Whether this server is more than an observer, or about to be. Who is not in the ensemble
    /// follows without a vote.
    pub(super) fn has_to_log(&self) -> bool {
        !self.ensemble.only_observes(self.config.member.me)
    }

    /// Who votes, or is about to, has on its disk what it says that it has, and keeps a log. What
    /// was in memory alone was never acknowledged by a voter: leaders have it.
    pub(super) fn go_back_to_disk(&mut self, context: &mut Context<'_>) {
        self.logs_anyway = true;
        self.store(StorageCommand::Reload, context);
    }

    fn durable_through(&mut self, zxid: Zxid, context: &mut Context<'_>) {
        // What is committed by it may be the last that this leader proposes, so it is told first.
        self.step_leader(LeaderInput::Durable(zxid), context);
        self.step_core(CoreInput::Durable(zxid), context);
        self.step_learner(LearnerInput::Durable(zxid), context);
        self.step_master(ObserverMasterInput::Durable(zxid), context);
    }

    /// Takes what the disk says.
    ///
    /// # Panics
    /// Where it answers what it was not asked for, or in another order: the driver's duty 2.
    pub(super) fn storage_reports(&mut self, report: StorageReport, context: &mut Context<'_>) {
        match report {
            // What came while a snapshot was put in place: what came since counts already.
            StorageReport::Durable(_) if self.unlogged => {}
            StorageReport::Durable(zxid) => self.durable_through(zxid, context),
            StorageReport::EpochWritten(kind) => self.epoch_written(kind, context),
            StorageReport::MembershipWritten => match self.awaited.pop_front() {
                Some(Awaited::Membership) => {}
                Some(Awaited::Adopted) => self.go_on_electing(context),
                other => panic!("the disk wrote a configuration where it was asked for {other:?}"),
            },
            StorageReport::Reloaded { last_zxid, history } => {
                self.answered(Awaited::Reloaded);
                let believed = mutation::is_on(Mutation::StagedBelieved)
                    && matches!(self.part, Part::Ending(_));
                if !believed {
                    self.last_zxid = last_zxid;
                    self.history = history;
                }
                self.tree_reloaded = true;
                self.unlogged = false;
                self.show_again(context);
                self.reloaded(context);
            }
            StorageReport::Refused => {
                self.answered(Awaited::Reloaded);
                self.refused(context);
            }
            StorageReport::Settled => {
                self.answered(Awaited::Settled);
                self.settled(context);
            }
            StorageReport::Failed => return self.end(EndReason::DiskFailed, context),
            StorageReport::Full => self.disk_is_full(context),
            StorageReport::Room => self.disk_has_room(context),
            StorageReport::LogsFrom(first) => {
                self.history.forget_before(first);
                self.step_leader(LeaderInput::LogsFrom(first), context);
                self.step_master(ObserverMasterInput::LogsFrom(first), context);
            }
        }
        self.join(context);
    }

    /// The disk did not have what this server thought that it has: what is not proven now is not
    /// in later leaderships either.
    pub(super) fn history_failed(
        &mut self,
        connection: ConnectionId,
        unproven: Option<Zxid>,
        context: &mut Context<'_>,
    ) {
        if !self.connections.contains(&connection) {
            return;
        }
        if let Some(zxid) = unproven {
            self.history.forget_through(zxid.min(self.history.last()));
        }
        self.step_leader(LeaderInput::HistoryFailed { connection, unproven }, context);
        self.step_master(ObserverMasterInput::HistoryFailed { connection, unproven }, context);
    }

    fn answered(&mut self, expected: Awaited) {
        let first = self.awaited.pop_front();
        assert_eq!(first, Some(expected), "the disk answers in the order of its commands");
    }

    fn epoch_written(&mut self, kind: EpochKind, context: &mut Context<'_>) {
        let first = self.awaited.pop_front();
        let Some(Awaited::Epoch { kind: asked, epoch }) = first else {
            panic!("the disk wrote an epoch where it was asked for {first:?}");
        };
        assert_eq!(asked, kind, "the disk answers in the order of its commands");
        match kind {
            EpochKind::Accepted => self.accepted_epoch = epoch,
            EpochKind::Current => self.current_epoch = epoch,
        }
        self.step_leader(LeaderInput::EpochWritten(kind), context);
        self.step_learner(LearnerInput::EpochWritten(kind), context);
    }

    fn disk_is_full(&mut self, context: &mut Context<'_>) {
        if self.disk_full {
            return;
        }
        self.disk_full = true;
        context.tell(MemberEvent::DiskFull);
        if !matches!(self.part, Part::Ending(_)) {
            self.end_part(Next::Look, context);
        }
    }

    fn disk_has_room(&mut self, context: &mut Context<'_>) {
        if !self.disk_full {
            return;
        }
        self.disk_full = false;
        context.tell(MemberEvent::DiskRoom);
        if matches!(self.part, Part::Apart) {
            self.look(context);
        }
    }
}
