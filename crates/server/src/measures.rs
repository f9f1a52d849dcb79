//! What the server's own threads measure of themselves, for `mntr`: the log, snapshots, the start.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rookeeper_jute::ServerId;
use rookeeper_replica::{Latency, Segment};

use crate::fourletter::{Metrics, Summary};
use crate::gather::latency;

/// What a learner's queue was like.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueueFigures {
    /// Packets that waited behind each one when its turn came (`learner_handler_qp_size`).
    pub(crate) size: Summary,
    /// How long some of them waited, in milliseconds (`learner_handler_qp_time_ms`).
    pub(crate) time_ms: Latency,
}

impl QueueFigures {
    /// Takes in those of another time.
    fn merge(&mut self, other: &QueueFigures) {
        self.size.merge(other.size);
        self.time_ms.merge(&other.time_ms);
    }
}

/// Figures since the start, or since they were reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Writing and syncing the log, in milliseconds (`fsynctime`).
    pub(crate) flush_ms: Summary,
    /// Transactions made durable at once (`sync_processor_batch_size`).
    pub(crate) batch_len: Summary,
    /// Transactions given to the log (`sync_processor_request_queued`).
    pub(crate) transactions: u64,
    /// Writing a snapshot, in milliseconds (`snapshottime`).
    pub(crate) snapshot_ms: Summary,
    /// Snapshots that could not be written (`snapshot_error_count`).
    pub(crate) snapshot_errors: u64,
    /// Loading snapshot and log at the start, in milliseconds (`dbinittime`).
    pub(crate) load_ms: Summary,
    /// Transactions replayed at the start (`startup_txns_loaded`).
    pub(crate) replayed: Summary,
    /// How often this server began to look for a leader (`looking_count`).
    pub(crate) lookings: u64,
    /// How long that took, in milliseconds (`election_time`).
    pub(crate) election_ms: Summary,
    /// Transactions that it proposed as a leader, by their length in bytes (`proposal_count`).
    pub(crate) proposals: Summary,
    /// Length of the last of them.
    pub(crate) proposal_len: u64,
    /// Until it served again, in milliseconds (`unavailable_time`).
    pub(crate) unavailable_ms: Summary,
    /// The same of those times when it led then (`leader_unavailable_time`).
    pub(crate) leader_unavailable_ms: Summary,
    /// Synchronising with a leader, in milliseconds (`follower_sync_time`).
    pub(crate) follower_sync_ms: Summary,
    /// The same as an observer (`observer_sync_time`).
    pub(crate) observer_sync_ms: Summary,
    /// Passing a proposal on to observers, in milliseconds (`om_proposal_process_time_ms`).
    pub(crate) master_proposal_ms: Latency,
    /// Passing a commit on to observers, in milliseconds (`om_commit_process_time_ms`).
    pub(crate) master_commit_ms: Latency,
    /// Learners that were sent a DIFF or a TRUNC (`diff_count`).
    pub(crate) diffs: u64,
    /// Learners that were sent a SNAP (`snap_count`).
    pub(crate) snaps: u64,
    /// How many were at it at the beginning and the end of each (`inflight_diff_count`).
    pub(crate) diffs_under_way: Summary,
    /// The same of snapshots (`inflight_snap_count`).
    pub(crate) snaps_under_way: Summary,
    /// Leaderships given up for a voter that left (`quit_leading_due_to_disloyal_voter`).
    pub(crate) voters_left: u64,
    /// Writes refused for a quota, by the first name of its path
    /// (`quota_exceeded_error_per_namespace`).
    pub(crate) quota_refusals: BTreeMap<Box<str>, u64>,
    /// What the queues of learners were like.
    pub(crate) learner_queues: BTreeMap<ServerId, QueueFigures>,
}

/// Figures that several threads write.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    figures: Mutex<Figures>,
    leading_since: Mutex<Option<Instant>>,
}

impl Measures {
    /// Notes one flush of so many transactions.
    pub(crate) fn flushed(&self, took: Duration, transactions: usize) {
        let mut figures = self.figures.lock();
        figures.flush_ms.record(milliseconds(took));
        figures.batch_len.record(transactions as u64);
        figures.transactions += transactions as u64;
    }

    /// Notes a snapshot that was written, or could not be.
    pub(crate) fn snapshot(&self, took: Duration, written: bool) {
        let mut figures = self.figures.lock();
        if written {
            figures.snapshot_ms.record(milliseconds(took));
        } else {
            figures.snapshot_errors += 1;
        }
    }

    /// Notes the start.
    pub(crate) fn loaded(&self, took: Duration, replayed: u64) {
        let mut figures = self.figures.lock();
        figures.load_ms.record(milliseconds(took));
        figures.replayed.record(replayed);
    }

    /// Notes that the server looks for a leader.
    pub(crate) fn looking(&self) {
        self.figures.lock().lookings += 1;
    }

    /// Notes that the server leads from now on.
    pub(crate) fn leads(&self, unavailable_ms: u64) {
        let mut figures = self.figures.lock();
        figures.unavailable_ms.record(unavailable_ms);
        figures.leader_unavailable_ms.record(unavailable_ms);
        *self.leading_since.lock() = Some(Instant::now());
    }

    /// Milliseconds since the server leads.
    pub(crate) fn role_uptime_ms(&self) -> u64 {
        self.leading_since.lock().map_or(0, |since| milliseconds(since.elapsed()))
    }

    /// Notes an election.
    pub(crate) fn elected(&self, took_ms: u64) {
        self.figures.lock().election_ms.record(took_ms);
    }

    /// Notes that the server is up to date with its leader.
    pub(crate) fn synchronised(&self, took_ms: u64, unavailable_ms: u64, observer: bool) {
        let mut figures = self.figures.lock();
        figures.unavailable_ms.record(unavailable_ms);
        match observer {
            true => figures.observer_sync_ms.record(took_ms),
            false => figures.follower_sync_ms.record(took_ms),
        }
    }

    /// Notes that a learner is sent a snapshot or log, or has taken it.
    pub(crate) fn learner_syncs(&self, snap: bool, under_way: usize, begins: bool) {
        let figures = &mut *self.figures.lock();
        let (count, all) = match snap {
            true => (&mut figures.snaps, &mut figures.snaps_under_way),
            false => (&mut figures.diffs, &mut figures.diffs_under_way),
        };
        *count += u64::from(begins);
        all.record(under_way as u64);
    }

    /// Notes that so many proposals and commits were passed on to observers, and for how long.
    pub(crate) fn observers_told(&self, took: Duration, proposals: u64, commits: u64) {
        let figures = &mut *self.figures.lock();
        let each = |count| (0..count).map(|_| milliseconds(took));
        figures.master_proposal_ms.extend(each(proposals));
        figures.master_commit_ms.extend(each(commits));
    }

    /// Notes what a learner's queue was like. Servers that come and go under ever other ids are not
    /// all kept.
    pub(crate) fn learner_queue(&self, server: ServerId, of_queue: &QueueFigures) {
        const SERVERS_MAX: usize = 256;
        let queues = &mut self.figures.lock().learner_queues;
        if queues.len() < SERVERS_MAX || queues.contains_key(&server) {
            queues.entry(server).or_default().merge(of_queue);
        }
    }

    /// Notes a write that the hard limit of a quota refused. Quotas are few; those of ever other
    /// names are not all kept.
    pub(crate) fn quota_refused(&self, root: &str) {
        const NAMESPACES_MAX: usize = 1024;
        let Some(namespace) = root.split('/').nth(1) else { return };
        let refusals = &mut self.figures.lock().quota_refusals;
        if refusals.len() < NAMESPACES_MAX || refusals.contains_key(namespace) {
            *refusals.entry(namespace.into()).or_default() += 1;
        }
    }

    /// Notes that a voter left, and the leader with it.
    pub(crate) fn voter_left(&self) {
        self.figures.lock().voters_left += 1;
    }

    /// Notes what is proposed here, on its way to the log.
    pub(crate) fn proposed(&self, segment: &Segment) {
        let mut figures = self.figures.lock();
        for (_, txn) in segment.records() {
            figures.proposals.record(txn.len() as u64);
            figures.proposal_len = txn.len() as u64;
        }
    }

    /// The length of the last, the shortest and the longest proposal in bytes; -1 before the first.
    pub(crate) fn proposal_sizes(&self) -> (i64, i64, i64) {
        let figures = self.figures.lock();
        if figures.proposals.count() == 0 {
            return (-1, -1, -1);
        }
        let len = |len: u64| i64::try_from(len).unwrap_or(i64::MAX);
        (len(figures.proposal_len), len(figures.proposals.min()), len(figures.proposals.max()))
    }

    /// Starts anew (four-letter word `srst`). The namespaces and learners that there are figures of
    /// stay, for who watches their series.
    pub(crate) fn reset(&self) {
        let mut figures = self.figures.lock();
        let Figures { mut quota_refusals, mut learner_queues, .. } = std::mem::take(&mut *figures);
        quota_refusals.values_mut().for_each(|refusals| *refusals = 0);
        learner_queues.values_mut().for_each(|queue| *queue = QueueFigures::default());
        *figures = Figures { quota_refusals, learner_queues, ..Figures::default() };
    }

    /// Writes all figures into the answer of `mntr`.
    pub(crate) fn tell(&self, metrics: &mut Metrics) {
        let figures = self.figures.lock().clone();
        metrics.basic("fsynctime", figures.flush_ms);
        metrics.basic("sync_processor_batch_size", figures.batch_len);
        metrics.counter("sync_processor_request_queued", figures.transactions);
        metrics.basic("snapshottime", figures.snapshot_ms);
        metrics.counter("snapshot_error_count", figures.snapshot_errors);
        metrics.basic("dbinittime", figures.load_ms);
        metrics.basic("startup_txns_loaded", figures.replayed);
        metrics.counter("looking_count", figures.lookings);
        metrics.basic("election_time", figures.election_ms);
        metrics.counter("proposal_count", figures.proposals.count());
        metrics.basic("unavailable_time", figures.unavailable_ms);
        metrics.basic("leader_unavailable_time", figures.leader_unavailable_ms);
        metrics.basic("follower_sync_time", figures.follower_sync_ms);
        metrics.basic("observer_sync_time", figures.observer_sync_ms);
        metrics.counter("diff_count", figures.diffs);
        metrics.counter("snap_count", figures.snaps);
        metrics.basic("inflight_diff_count", figures.diffs_under_way);
        metrics.basic("inflight_snap_count", figures.snaps_under_way);
        metrics.advanced("om_proposal_process_time_ms", latency(&figures.master_proposal_ms));
        metrics.advanced("om_commit_process_time_ms", latency(&figures.master_commit_ms));
        metrics.counter("quit_leading_due_to_disloyal_voter", figures.voters_left);
        for (namespace, refusals) in &figures.quota_refusals {
            metrics.quota_refusals(namespace, *refusals);
        }
        for (server, queue) in &figures.learner_queues {
            metrics.learner_queue(*server, queue.size, latency(&queue.time_ms));
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fourletter::{Facts, Word, render};

    #[test]
    fn figures_are_told_and_reset() {
        let measures = Measures::default();
        measures.flushed(Duration::from_millis(3), 20);
        measures.flushed(Duration::from_millis(5), 1);
        measures.snapshot(Duration::from_millis(70), true);
        measures.snapshot(Duration::from_millis(70), false);
        measures.loaded(Duration::from_millis(9), 1000);
        measures.observers_told(Duration::from_millis(2), 3, 0);
        measures.observers_told(Duration::from_millis(6), 0, 1);
        for root in ["/app", "/app/a", "/other"] {
            measures.quota_refused(root);
        }
        let text = || {
            let mut facts = Facts { serving: true, ..Facts::default() };
            measures.tell(&mut facts.metrics);
            render(Word::Mntr, &facts)
        };
        let told = text();
        for line in [
            "zk_avg_fsynctime\t4.0",
            "zk_max_sync_processor_batch_size\t20",
            "zk_sync_processor_request_queued\t21",
            "zk_sum_snapshottime\t70",
            "zk_snapshot_error_count\t1",
            "zk_max_dbinittime\t9",
            "zk_sum_startup_txns_loaded\t1000",
            "zk_sum_om_proposal_process_time_ms\t6",
            "zk_p50_om_commit_process_time_ms\t6",
            "zk_app_quota_exceeded_error_per_namespace\t2",
            "zk_other_quota_exceeded_error_per_namespace\t1",
        ] {
            assert!(told.lines().any(|found| found == line), "{line}");
        }
        measures.reset();
        let told = text();
        for line in ["zk_cnt_fsynctime\t0", "zk_app_quota_exceeded_error_per_namespace\t0"] {
            assert!(told.lines().any(|found| found == line), "{line}");
        }
    }
}
