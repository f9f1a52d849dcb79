//! What operators read of a member.

use rookeeper_replica::{DivergenceResponse, MemberEvent, ServerState};
use rookeeper_zab::learner::SyncStart;
use rookeeper_zab::sync::SyncStep;

use crate::measures::Measures;

/// Says what this server is from now on, in the words that Java's log has.
pub(crate) fn tell_state(state: ServerState, measures: &Measures) {
    match state {
        ServerState::Looking => {
            measures.looking();
            tracing::info!("LOOKING");
        }
        ServerState::Leading => tracing::info!("LEADING"),
        ServerState::Following => tracing::info!("FOLLOWING"),
        ServerState::Observing => tracing::info!("OBSERVING"),
        ServerState::ReadOnly => tracing::warn!("no quorum: serving read-only clients only"),
        ServerState::Apart => tracing::warn!("taking no part in the ensemble"),
    }
}

/// Says an event.
pub(crate) fn tell(event: &MemberEvent, measures: &Measures) {
    match event {
        // Counted by the driver, and too many to be said.
        MemberEvent::ObserversTold { .. } => {}
        MemberEvent::Elected { leader, round, took_ms } => {
            measures.elected(*took_ms);
            tracing::info!(%leader, round, took_ms, "elected");
        }
        MemberEvent::Established { epoch, unavailable_ms } => {
            measures.leads(*unavailable_ms);
            tracing::info!(epoch, unavailable_ms, "leading: a quorum has this server's history");
        }
        MemberEvent::Synchronises(SyncStart::Diff) => {
            tracing::info!("getting a diff from the leader");
        }
        MemberEvent::Synchronises(SyncStart::Trunc(zxid)) => {
            tracing::warn!(%zxid, "cutting the log to get in sync with the leader");
        }
        MemberEvent::Synchronises(SyncStart::Snap(zxid)) => {
            tracing::info!(%zxid, "getting a snapshot from the leader");
        }
        MemberEvent::UpToDate { epoch, unavailable_ms, took_ms, observer } => {
            measures.synchronised(*took_ms, *unavailable_ms, *observer);
            tracing::info!(epoch, took_ms, unavailable_ms, "up to date with the leader");
        }
        MemberEvent::LearnerSyncs { step, under_way, begins } => {
            measures.learner_syncs(*step == SyncStep::Snap, *under_way, *begins);
            tracing::debug!(?step, under_way, begins, "a learner synchronises");
        }
        MemberEvent::VoterLeft => measures.voter_left(),
        MemberEvent::LearnerUp { server, observer, .. } => {
            tracing::info!(%server, observer, "a learner is up to date");
        }
        MemberEvent::Gap { last, got, snapshot_wanted: false } => {
            tracing::warn!(%last, %got, "the leader's history leaves something out");
        }
        MemberEvent::Gap { last, got, snapshot_wanted: true } => {
            tracing::error!(
                %last, %got,
                "the leader's log lacks transactions (ZOOKEEPER-2846): a snapshot is asked for; \
                 with -Dzookeeper.snapshotSizeFactor=-1 Java servers do not read that log"
            );
        }
        MemberEvent::LearnerFloods(connection) => {
            let connection = connection.0;
            tracing::warn!(connection, "a learner asks for too much at a time: it has to wait");
        }
        MemberEvent::LinkEnded { connection, reason } => {
            tracing::warn!(connection = connection.0, %reason, "a learner's link was ended");
        }
        MemberEvent::RoleEnded(reason) => tracing::warn!(%reason, "the role has ended"),
        MemberEvent::Reconfigured { version } => {
            tracing::info!(version = format_args!("{version:x}"), "configuration in force");
        }
        MemberEvent::Diverged { zxid, response } => {
            let response = match response {
                DivergenceResponse::Alarm => "nothing is done but this alarm",
                DivergenceResponse::Resynchronise => "it takes a snapshot from the leader",
                DivergenceResponse::Withdraw => {
                    "it has done so before: it stops serving, and discards nothing"
                }
            };
            tracing::error!(%zxid, response, "this server's tree is not its leader's");
        }
        MemberEvent::DiskFull => {
            tracing::error!("the disk is nearly full: the role is given up");
        }
        MemberEvent::DiskRoom => tracing::info!("there is room on the disk again"),
    }
}
