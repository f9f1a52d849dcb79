//! A member that has looked for a leader for a while lets clients read what it has, where that is
//! enabled (Java: `QuorumPeer.run`, `ReadOnlyZooKeeperServer`).

use super::effect::ServerState;
use super::replica::{Context, Part, Replica};
use crate::core::{CoreInput, CoreRole};

impl Replica {
    /// Whether clients that can be read-only are served.
    pub(super) fn is_read_only(&self) -> bool {
        self.core_role == CoreRole::ReadOnly
    }

    /// When that begins, in monotonic milliseconds. A tree that may not be what was committed is
    /// not shown to anybody.
    pub(super) fn read_only_at_ms(&self) -> Option<u64> {
        let Part::Looking { since_ms } = self.part else { return None };
        let after_ms = self.config.member.read_only_after_ms?;
        let can = self.is_without_role() && self.barred.is_none() && self.awaited.is_empty();
        can.then_some(since_ms + after_ms)
    }

    pub(super) fn begin_read_only(&mut self, context: &mut Context<'_>) {
        self.make_core(CoreRole::ReadOnly, context);
        self.announce(ServerState::ReadOnly, context);
    }

    /// A leader is found: whoever reads connects anew. Nothing of it was logged, so the core has
    /// retired as soon as it is told.
    pub(super) fn end_read_only(&mut self, context: &mut Context<'_>) {
        if self.is_read_only() {
            self.step_core(CoreInput::Retire, context);
        }
    }
}
