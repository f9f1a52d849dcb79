//! The end of a role: nobody is served any longer, and what is logged is applied, so that the tree
//! is what the log says when the next role begins.

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use super::pipeline::{Item, Reply};
use super::{Core, CoreEffect, CoreRole, CoreStart, HaltReason, State};
use crate::close::CloseReason;
use crate::shared::Shared;

impl Core {
    /// What the core that follows this one, which is retired, goes on from. Where the tree was
    /// loaded anew in between, its driver sets what recovery says instead.
    pub fn successor(&self, role: CoreRole) -> CoreStart {
        let (txns_since_snapshot, bytes_since_snapshot) = self.snapshots.since();
        CoreStart {
            role,
            txns_since_snapshot,
            bytes_since_snapshot,
            snapshot_running: self.snapshots.running,
            next_session: Some(self.sessions.next_id()),
            last_logged: Some(self.last_logged()),
        }
    }

    /// The last transaction that was handed to the log.
    pub fn last_logged(&self) -> Zxid {
        if self.prepared.counter() == 0 { self.logged_before } else { self.prepared }
    }

    /// Closes all clients and forgets whoever waits. All that was appended is history from now on:
    /// whether the next leader keeps it is for the synchronisation with it to say.
    pub(super) fn retire(&mut self, shared: &Shared) {
        if matches!(self.state, State::Retiring | State::Retired) {
            return;
        }
        self.state = State::Retiring;
        self.begin_epoch = None;
        self.forwarded.clear();
        self.outbox.close_all(shared.changes.position(), CloseReason::NotServing, false);
        for item in std::mem::take(&mut self.pipeline) {
            item.release(shared);
            if let Item::Txn { zxid, .. } = item {
                self.pipeline.push_back(Item::Txn { zxid, reply: Reply::None });
            }
        }
        self.learning.release(shared);
        self.commit.retire();
        if mutation::is_on(Mutation::StagesUnjoined) {
            self.pipeline.clear();
            self.prepared = shared.tree.last_processed_zxid();
        }
    }

    /// Ends what was asked to end, once nothing is left to be done before.
    pub(super) fn end_when_drained(&mut self, effects: &mut Vec<CoreEffect>) {
        if !self.pipeline.is_empty() {
            return;
        }
        match self.state {
            State::Draining if self.learning.queued() == 0 => {
                self.halt(HaltReason::Shutdown, effects);
            }
            State::Retiring => {
                self.state = State::Retired;
                effects.push(CoreEffect::Retired { last_zxid: self.last_logged() });
            }
            _ => {}
        }
    }
}
