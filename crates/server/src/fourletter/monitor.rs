//! The answer of `mntr` (Java: `MonitorCommand`): what this server is, then every metric.

use std::fmt::Write;

use super::facts::{EnsembleFacts, Facts, Mode};
use super::text;

/// Writes the answer.
pub(super) fn write(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "zk_version\t{}", facts.version)?;
    writeln!(out, "zk_server_state\t{}", facts.mode.name())?;
    // A server that is cut off tells nothing of the others (Java: `ReadOnlyZooKeeperServer`).
    let ensemble = facts.ensemble.as_ref().filter(|_| facts.mode != Mode::ReadOnly);
    if let Some(ensemble) = ensemble {
        writeln!(out, "zk_peer_state\t{}", ensemble.peer_state)?;
    }
    write_gauges(facts, out)?;
    if let Some(ensemble) = ensemble {
        write_ensemble(ensemble, out)?;
    }
    facts.metrics.write(out)
}

fn write_ensemble(ensemble: &EnsembleFacts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "zk_quorum_size\t{}", ensemble.voters)?;
    if let Some(observers) = ensemble.synced_observers {
        writeln!(out, "zk_synced_observers\t{observers}")?;
    }
    if let Some(master) = ensemble.observes {
        writeln!(out, "zk_observer_master_id\t{master}")?;
    }
    let Some(leader) = &ensemble.leader else { return Ok(()) };
    writeln!(out, "zk_learners\t{}", leader.learners)?;
    writeln!(out, "zk_synced_followers\t{}", leader.synced_followers)?;
    writeln!(out, "zk_synced_non_voting_followers\t{}", leader.synced_non_voting_followers)?;
    writeln!(out, "zk_pending_syncs\t{}", leader.pending_syncs)?;
    writeln!(out, "zk_leader_uptime\t{}", leader.uptime_ms)?;
    writeln!(out, "zk_last_proposal_size\t{}", leader.proposal_size_last)?;
    writeln!(out, "zk_max_proposal_size\t{}", leader.proposal_size_max)?;
    writeln!(out, "zk_min_proposal_size\t{}", leader.proposal_size_min)
}

fn write_gauges(facts: &Facts, out: &mut String) -> std::fmt::Result {
    let s = &facts.statistics;
    writeln!(out, "zk_avg_latency\t{}", text::double(s.latency_ms.average()))?;
    writeln!(out, "zk_max_latency\t{}", s.latency_ms.max())?;
    writeln!(out, "zk_min_latency\t{}", s.latency_ms.min())?;
    writeln!(out, "zk_packets_received\t{}", s.packets_received)?;
    writeln!(out, "zk_packets_sent\t{}", s.packets_sent)?;
    writeln!(out, "zk_num_alive_connections\t{}", s.connections_alive)?;
    writeln!(out, "zk_outstanding_requests\t{}", s.outstanding_requests)?;
    writeln!(out, "zk_uptime\t{}", s.uptime_ms)?;
    writeln!(out, "zk_znode_count\t{}", s.znode_count)?;
    writeln!(out, "zk_watch_count\t{}", s.watch_count)?;
    writeln!(out, "zk_ephemerals_count\t{}", s.ephemerals_count)?;
    writeln!(out, "zk_approximate_data_size\t{}", s.approximate_data_size)?;
    writeln!(out, "zk_global_sessions\t{}", s.session_count)?;
    writeln!(out, "zk_local_sessions\t{}", s.local_session_count)?;
    writeln!(out, "zk_open_file_descriptor_count\t{}", s.open_file_descriptors)?;
    writeln!(out, "zk_max_file_descriptor_count\t{}", s.max_file_descriptors)?;
    let drop_probability = text::double(s.connection_drop_probability);
    writeln!(out, "zk_connection_drop_probability\t{drop_probability}")?;
    writeln!(out, "zk_last_client_response_size\t{}", s.response_size_last)?;
    writeln!(out, "zk_max_client_response_size\t{}", s.response_size_max)?;
    writeln!(out, "zk_min_client_response_size\t{}", s.response_size_min)?;
    // Nobody shakes hands and no certificate is looked at without TLS.
    writeln!(out, "zk_outstanding_tls_handshake\t0")?;
    writeln!(out, "zk_auth_failed_count\t{}", s.auth_failed_count)?;
    writeln!(out, "zk_non_mtls_remote_conn_count\t0")?;
    writeln!(out, "zk_non_mtls_local_conn_count\t0")?;
    for (name, value) in &s.quota_gauges {
        writeln!(out, "zk_{name}\t{value}")?;
    }
    Ok(())
}
