//! Changes of the ensemble that clients ask a leader for (Java: `PrepRequestProcessor`, the case
//! of reconfig).

use std::collections::BTreeSet;
use std::sync::Arc;

use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_jute::{Decode, ErrorCode, OpCode, Reader, ServerId, Zxid};
use rookeeper_tree::{Prepared, WriteRequest};
use rookeeper_zab::membership::{Change, Membership, MembershipRules};

use super::{Core, CoreEffect};
use crate::shared::Shared;

/// What a leader knows of its ensemble when it is asked to change it.
#[derive(Debug, Clone)]
pub struct EnsembleView {
    /// The committed configuration.
    pub committed: Arc<Membership>,
    /// The last one proposed.
    pub last_seen: Arc<Membership>,
    /// Who follows and was heard of in time, this server included.
    pub synced: BTreeSet<ServerId>,
    /// How configurations are read.
    pub rules: MembershipRules,
}

impl EnsembleView {
    fn decide(
        &self,
        request: &ReconfigRequest<'_>,
        zxid: Zxid,
    ) -> Result<Arc<Membership>, ErrorCode> {
        if self.last_seen.version() != self.committed.version() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if request.cur_config_id != -1 && request.cur_config_id != self.last_seen.version() {
            return Err(ErrorCode::BadVersion);
        }
        let change = Change {
            joining: request.joining_servers.as_deref(),
            leaving: request.leaving_servers.as_deref(),
            new_members: request.new_members.as_deref(),
        };
        let changed = self.last_seen.changed(&change, zxid, &self.rules);
        let changed = changed.map_err(|error| match error.is_unreadable() {
            true => ErrorCode::MarshallingError,
            false => ErrorCode::BadArguments,
        })?;
        if !changed.contains_quorum(self.synced.iter().copied()) {
            return Err(ErrorCode::NewConfigNoQuorum);
        }
        Ok(Arc::new(changed))
    }
}

impl Core {
    /// Takes over what is known of the ensemble. What was prepared here and has not come around
    /// counts still.
    pub(super) fn ensemble_is(&mut self, mut view: EnsembleView) {
        if let Some(before) = self.ensemble.take()
            && before.last_seen.version() > view.last_seen.version()
        {
            view.last_seen = before.last_seen;
        }
        self.ensemble = Some(view);
    }

    /// Prepares a reconfig; where it becomes one, the segment is to end with it.
    pub(super) fn prepare_reconfig(
        &mut self,
        request: &WriteRequest<'_>,
        shared: &Shared,
    ) -> Prepared {
        let out = self.building.bytes_mut();
        let Some(view) = &mut self.ensemble else {
            return self.outstanding.prepare(&shared.tree, &self.access, request, out);
        };
        let start = out.len();
        let mut decided = None;
        let mut decide = |asked: &ReconfigRequest<'_>| {
            let membership = view.decide(asked, request.zxid)?;
            let text = membership.to_string().into_bytes();
            decided = Some(membership);
            Ok(text)
        };
        let prepared = self.outstanding.prepare_reconfig(
            &shared.tree,
            &self.access,
            request,
            &mut decide,
            out,
        );
        // Access is checked last: it may have become an error all the same.
        let header = TxnHeader::decode(&mut Reader::new(&out[start..]));
        let changes = header.is_ok_and(|header| header.txn_type == OpCode::Reconfig.to_i32());
        if let Some(membership) = decided.filter(|_| changes) {
            view.last_seen = membership.clone();
            self.reconfigured = Some(membership);
        }
        prepared
    }

    /// Hands over the segment that ends with a change of the ensemble.
    pub(super) fn append_reconfigured(&mut self, zxid: Zxid, effects: &mut Vec<CoreEffect>) {
        if let Some(membership) = self.reconfigured.take() {
            effects.push(CoreEffect::Reconfigured { zxid, membership });
            self.append(effects);
        }
    }
}
