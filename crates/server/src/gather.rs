//! Gathers what a four-letter word's answer is made of, from shards, core and tree.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use rookeeper_jute::SessionId;
use rookeeper_replica::{
    ConnectionReport, Core, CoreInput, Figures, Latency, MemberReport, Replica, ServerState, Shard,
    ShardCounters, Summary as Tally,
};
use rookeeper_store::Store;
use rookeeper_tree::NamespaceTally;
use rookeeper_zab::leader::LeaderReport;
use rookeeper_zab::membership::Role;

use crate::core_driver::CoreMessage;
use crate::fourletter::{
    ConfigurationFacts, ConnectionFacts, ConnectionSession, EnsembleFacts, Facts, LeaderFacts,
    Metrics, Mode, SizeFacts, StatisticsFacts, Summary, TRACE_MASK_DEFAULT, WatchFacts, Word,
    metrics, quota, render,
};
use crate::inspect::Inspector;

/// Connections that one question to a shard reports on, so that no turn takes long.
const CONNECTIONS_A_QUESTION: usize = 256;

/// Watches that one question to a shard lists.
const WATCHES_A_QUESTION: usize = 2048;

/// Part of a shard's list: from where, of how many places; and where to go on.
type Slice<T> = fn(&Shard, u32, usize) -> (Vec<T>, Option<u32>);

/// Answers words of one server.
pub(crate) struct Answers {
    inspector: Inspector,
    trace_mask: AtomicI64,
}

impl Answers {
    pub(crate) fn new(inspector: Inspector) -> Self {
        Answers { inspector, trace_mask: AtomicI64::new(TRACE_MASK_DEFAULT) }
    }

    /// The whole text that answers a word; nothing where Java says nothing.
    pub(crate) fn answer(&self, word: [u8; 4], argument: Option<i64>) -> Vec<u8> {
        let Some(word) = Word::from_bytes(word) else { return Vec::new() };
        if let Some(refusal) = word.refusal(&self.inspector.config().whitelist) {
            return refusal.into_bytes();
        }
        match (word, argument) {
            (Word::Stmk, Some(mask)) => self.trace_mask.store(mask, Ordering::Relaxed),
            (Word::Crst, _) => {
                self.inspector.shards(|shard| shard.reset_connections());
            }
            (Word::Srst, _) => {
                self.inspector.shards(|shard| shard.reset_counters());
                self.inspector.measures.reset();
                self.inspector.reset_written();
                self.inspector.core.send(CoreMessage::Input(CoreInput::ResetFigures));
            }
            _ => {}
        }
        render(word, &self.facts(word)).into_bytes()
    }
}

impl Answers {
    fn facts(&self, word: Word) -> Facts {
        let counters = self.counters();
        let mut facts = Facts {
            version: self.inspector.config().version.clone(),
            trace_mask: self.trace_mask.load(Ordering::Relaxed),
            environment: match word {
                Word::Envi => self.inspector.config().process.environment(),
                _ => Vec::new(),
            },
            configuration: self.configuration(),
            metrics: metrics_of(&counters),
            ..Facts::default()
        };
        self.inspector.measures.tell(&mut facts.metrics);
        let report = self.inspector.core(|core| core.report());
        facts.serving = report.as_ref().is_some_and(|report| report.serving);
        if let Some(member) = self.inspector.member(Replica::report) {
            // A leader may take no clients (`leaderServes`).
            facts.serving &= member.serving;
            facts.mode = mode(member.state);
            facts.ensemble = self.ensemble(&member);
        }
        facts.statistics = self.statistics(&counters);
        if let Some(report) = report {
            facts.statistics.local_session_count = report.local_sessions as u64;
            facts.statistics.connection_drop_probability = report.connection_drop_chance;
            tell_figures(&report.figures, &mut facts.metrics);
        }
        if word.needs_sizes() {
            facts.sizes = self.inspector.store().map(|store| sizes(&store)).unwrap_or_default();
        }
        if word.needs_connections() {
            let reports = self.connections();
            facts.connection_expiry = self.connection_expiry(&reports);
            facts.connections = reports.iter().map(connection_facts).collect();
        }
        if word.needs_watches() {
            facts.watches = self.watches(word);
        }
        match word {
            Word::Dump => {
                facts.ephemerals = self.ephemerals();
                self.sessions(&mut facts);
            }
            Word::Mntr => {
                let shared = self.inspector.shared();
                facts.statistics.quota_gauges = quota::gauges(&shared.tree);
                for (name, tally) in counters.read_namespaces.iter() {
                    facts.metrics.namespace_read(name, of_namespace(tally));
                }
                for (name, tally) in shared.tree.written_by_namespace().iter() {
                    facts.metrics.namespace_write(name, of_namespace(tally));
                }
            }
            Word::Hash => facts.digest_log = self.inspector.shared().digests.iter().collect(),
            _ => {}
        }
        facts
    }

    fn sessions(&self, facts: &mut Facts) {
        let expiry = |of: fn(&Core) -> BTreeMap<u64, Vec<SessionId>>| {
            let expiry = self.inspector.core(of).unwrap_or_default();
            let wall = |(at_ms, sessions)| (self.wall_ms(at_ms), sessions);
            expiry.into_iter().map(wall).collect::<Vec<_>>()
        };
        facts.session_expiry = expiry(Core::session_expiry);
        let ensemble = self.inspector.config().ensemble.as_ref();
        if ensemble.is_some_and(|ensemble| ensemble.local_sessions_enabled) {
            facts.local_session_expiry = Some(expiry(Core::local_session_expiry));
        }
        if matches!(facts.mode, Mode::Follower | Mode::Observer | Mode::ReadOnly) {
            let shared = self.inspector.shared();
            facts.global_sessions = Some(shared.tree.sessions().iter().collect());
        }
    }

    fn counters(&self) -> ShardCounters {
        let mut sum = ShardCounters::default();
        for counters in self.inspector.shards(|shard| shard.counters().clone()) {
            sum.merge(&counters);
        }
        sum
    }

    fn statistics(&self, counters: &ShardCounters) -> StatisticsFacts {
        let connections = self.inspector.shards(|shard| shard.connections_len());
        let now = self.inspector.now();
        let sized = |value: u64| {
            if counters.response_size.count == 0 { -1 } else { i64::try_from(value).unwrap_or(-1) }
        };
        let shared = self.inspector.shared();
        StatisticsFacts {
            latency_ms: summary(&counters.latency_ms),
            packets_received: counters.packets_received,
            packets_sent: counters.packets_sent,
            connections_alive: connections.iter().sum::<usize>() as u64,
            outstanding_requests: shared.load.requests() as u64,
            last_processed_zxid: shared.tree.last_processed_zxid(),
            znode_count: shared.tree.znode_count() as u64,
            watch_count: shared.watch_count() as u64,
            ephemerals_count: shared.tree.ephemerals_count() as u64,
            approximate_data_size: shared.tree.approximate_data_size(),
            session_count: shared.tree.sessions().len() as u64,
            local_session_count: 0,
            uptime_ms: now.monotonic_ms(),
            response_size_last: sized(counters.last_response_size),
            response_size_min: sized(counters.response_size.min),
            response_size_max: sized(counters.response_size.max),
            auth_failed_count: counters.auth_failed,
            open_file_descriptors: self.inspector.config().process.open_file_descriptors(),
            max_file_descriptors: self.inspector.config().process.max_file_descriptors(),
            connection_drop_probability: 0.0,
            quota_gauges: Vec::new(),
        }
    }

    fn configuration(&self) -> ConfigurationFacts {
        let config = self.inspector.config();
        let version_2 = |dir: &std::path::Path| {
            let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            absolute.join("version-2").display().to_string()
        };
        ConfigurationFacts {
            client_port: match self.inspector.local_addr().port() {
                0 => -1,
                port => i32::from(port),
            },
            secure_client_port: -1,
            data_dir: version_2(&config.storage.data_dir),
            data_log_dir: version_2(&config.storage.data_log_dir),
            tick_time_ms: config.sessions.tick_time_ms,
            max_connections_per_address: config.listen.max_connections_per_address as i64,
            session_timeout_ms_min: config.sessions.timeout_ms_min,
            session_timeout_ms_max: config.sessions.timeout_ms_max,
            listen_backlog: config.listen.backlog,
            server_id: config.ensemble.as_ref().map_or(0, |ensemble| ensemble.me.0),
        }
    }

    /// What a member tells besides.
    fn ensemble(&self, report: &MemberReport) -> Option<EnsembleFacts> {
        let config = self.inspector.config().ensemble.as_ref()?;
        let committed = &report.committed;
        let me = committed.member(config.me).or_else(|| config.committed.member(config.me))?;
        let learners = report.leading.as_ref().map(|leading| &leading.learners[..]);
        let synced_observers = match learners {
            Some(all) => Some(all.iter().filter(|learner| learner.observer && learner.up).count()),
            None => report.observers,
        };
        Some(EnsembleFacts {
            init_limit: config.init_limit,
            sync_limit: config.sync_limit,
            election_ports: me.addresses.iter().map(|address| address.election.port()).collect(),
            quorum_ports: me.addresses.iter().map(|address| address.quorum.port()).collect(),
            // Who is no member any more follows without a vote.
            observer: committed.member(config.me).is_some_and(|it| it.role == Role::Observer),
            membership: committed.to_string(),
            peer_state: peer_state(report),
            voters: committed.voters().count(),
            synced_observers,
            observes: report.observes.map(|server| server.0),
            leader: report.leading.as_ref().map(|leading| self.leader(report, leading)),
        })
    }

    fn leader(&self, report: &MemberReport, leading: &LeaderReport) -> LeaderFacts {
        let followers =
            || leading.learners.iter().filter(|learner| !learner.observer && learner.forwarding);
        let votes = |server| report.committed.is_voter(server);
        let (last, min, max) = self.inspector.measures.proposal_sizes();
        LeaderFacts {
            learners: leading.learners.len(),
            synced_followers: followers().count(),
            synced_non_voting_followers: followers().filter(|f| !votes(f.server)).count(),
            pending_syncs: leading.pending_syncs,
            uptime_ms: self.inspector.measures.role_uptime_ms(),
            proposal_size_last: last,
            proposal_size_min: min,
            proposal_size_max: max,
        }
    }

    /// All connections of all shards, asked for in slices.
    fn connections(&self) -> Vec<ConnectionReport> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let slices =
                self.inspector.shards(move |shard| shard.connections(from, CONNECTIONS_A_QUESTION));
            let mut more = false;
            for (reports, next) in slices {
                all.extend(reports);
                more |= next.is_some();
            }
            if !more {
                return all;
            }
            from += CONNECTIONS_A_QUESTION as u32;
        }
    }

    /// From the monotonic clock to the wall's, in milliseconds.
    fn wall_ms(&self, monotonic_ms: u64) -> i64 {
        let now = self.inspector.now();
        let to_wall = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        now.wall_ms - to_wall(now.monotonic_ms()) + to_wall(monotonic_ms)
    }

    /// When Java would close idle connections, by the wall's clock.
    fn connection_expiry(
        &self,
        reports: &[ConnectionReport],
    ) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)> {
        let sessionless_ms = u64::from(self.inspector.config().listen.sessionless_timeout_ms);
        let buckets = expiry_buckets(reports, sessionless_ms);
        buckets.into_iter().map(|(at_ms, set)| (self.wall_ms(at_ms), set)).collect()
    }

    fn watches(&self, word: Word) -> WatchFacts {
        let mut facts = WatchFacts::default();
        for summary in self.inspector.shards(|shard| shard.watch_summary()) {
            facts.connections_len += summary.connections;
            facts.watches_len += summary.watches;
        }
        match word {
            Word::Wchc => {
                let mut sessions = BTreeMap::<SessionId, Vec<String>>::new();
                self.in_slices(Shard::watchers, |session| {
                    sessions.entry(session).or_default();
                });
                self.in_slices(Shard::watches, |(session, path)| {
                    sessions.entry(session).or_default().push(path);
                });
                facts.by_session = sessions.into_iter().collect();
            }
            Word::Wchs => facts.paths_len = self.watched_paths_len(),
            _ => {
                // Two shards may watch the same path.
                let mut paths = BTreeMap::<String, BTreeSet<SessionId>>::new();
                self.in_slices(Shard::watches, |(session, path)| {
                    paths.entry(path).or_default().insert(session);
                });
                let list = |(path, sessions): (String, BTreeSet<_>)| {
                    (path, sessions.into_iter().collect())
                };
                facts.by_path = paths.into_iter().map(list).collect();
            }
        }
        facts
    }

    /// Asks all shards for a list, a slice at a time, so that no turn of theirs takes long.
    fn in_slices<T: Send + 'static>(&self, slice: Slice<T>, mut take: impl FnMut(T)) {
        let mut from = 0;
        loop {
            let slices = self.inspector.shards(move |shard| slice(shard, from, WATCHES_A_QUESTION));
            let mut more = false;
            for (items, next) in slices {
                items.into_iter().for_each(&mut take);
                more |= next.is_some();
            }
            if !more {
                return;
            }
            from += WATCHES_A_QUESTION as u32;
        }
    }

    /// Paths with data watches. Shards are asked for hashes only: a list of all paths would keep
    /// clients waiting.
    fn watched_paths_len(&self) -> usize {
        let hasher = RandomState::new();
        let hashes = self.inspector.shards(move |shard| shard.watched_path_hashes(&hasher));
        if let [hashes] = &hashes[..] {
            return hashes.len();
        }
        let mut hashes = hashes.concat();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }

    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        let sessions: Vec<_> = self.inspector.shared().tree.ephemeral_owners().collect();
        let paths = |session| self.inspector.shared().tree.ephemerals(session).collect();
        sessions.into_iter().map(|session| (session, paths(session))).collect()
    }
}

/// Java names a server by its role even while it comes up; then it does not serve yet.
fn mode(state: ServerState) -> Mode {
    match state {
        ServerState::Leading => Mode::Leader,
        ServerState::Following => Mode::Follower,
        ServerState::Observing => Mode::Observer,
        ServerState::ReadOnly => Mode::ReadOnly,
        // Nothing is answered that shows this.
        ServerState::Looking | ServerState::Apart => Mode::Standalone,
    }
}

/// Java: `QuorumPeer.getDetailedPeerState`.
fn peer_state(report: &MemberReport) -> &'static str {
    match (report.state, report.serving) {
        (ServerState::Leading, true) => "leading - broadcast",
        (ServerState::Leading, false) => "leading - synchronization",
        (ServerState::Following, true) => "following - broadcast",
        (ServerState::Following, false) => "following - synchronization",
        (ServerState::Observing, true) => "observing - broadcast",
        (ServerState::Observing, false) => "observing - synchronization",
        (ServerState::Looking | ServerState::ReadOnly | ServerState::Apart, _) => "looking",
    }
}

fn of_namespace(tally: &NamespaceTally) -> Summary {
    Summary::from_parts(tally.count, tally.sum, tally.min, tally.max)
}

fn summary(tally: &Tally) -> Summary {
    Summary::from_parts(tally.count, tally.sum, tally.min, tally.max)
}

fn metrics_of(counters: &ShardCounters) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.counter("bytes_received_count", counters.bytes_received);
    metrics.counter("response_bytes", counters.response_bytes);
    metrics.counter("watch_bytes", counters.watch_bytes);
    metrics.counter("connection_drop_count", counters.connection_drops);
    metrics.counter("connection_rejected", counters.connections_rejected);
    metrics.counter("sessionless_connections_expired", counters.sessionless_expired);
    metrics.counter("large_requests_rejected", counters.large_requests_rejected);
    metrics.basic("node_created_watch_count", summary(&counters.node_created_watchers));
    metrics.basic("node_deleted_watch_count", summary(&counters.node_deleted_watchers));
    metrics.basic("node_changed_watch_count", summary(&counters.node_changed_watchers));
    metrics.basic("node_children_watch_count", summary(&counters.node_children_watchers));
    let throttled = counters.connections_rejected;
    let requests = counters.connection_requests.saturating_sub(throttled);
    metrics.counter("connection_request_count", requests);
    metrics.advanced("readlatency", latency(&counters.read_latency_ms));
    metrics.advanced("updatelatency", latency(&counters.update_latency_ms));
    metrics
}

/// A series as `mntr` shows it.
pub(crate) fn latency(series: &Latency) -> metrics::Percentiles {
    metrics::Percentiles {
        summary: summary(&series.summary),
        at: [500, 950, 990, 999].map(|per_mille| series.at_per_mille(per_mille)),
    }
}

/// What the core has counted.
fn tell_figures(figures: &Figures, metrics: &mut Metrics) {
    for (name, count) in [
        ("digest_mismatches_count", figures.digest_mismatches),
        ("stale_sessions_expired", figures.sessions_expired),
        ("throttled_ops", figures.throttled_ops),
        ("stale_requests_dropped", figures.stale_requests_dropped),
        ("connection_revalidate_count", figures.connections_revalidated),
        ("revalidate_count", figures.revalidated),
        ("commit_count", figures.commits),
        ("learner_proposal_received_count", figures.proposals_received),
        ("learner_commit_received_count", figures.commits_received),
    ] {
        metrics.counter(name, count);
    }
    for (name, series) in [
        ("quorum_ack_latency", &figures.quorum_ack_latency_ms),
        ("proposal_latency", &figures.proposal_latency_ms),
        ("proposal_ack_creation_latency", &figures.ack_latency_ms),
        ("commit_propagation_latency", &figures.commit_latency_ms),
        ("propagation_latency", &figures.propagation_latency_ms),
    ] {
        metrics.advanced(name, latency(series));
    }
    for (server, series) in &figures.ack_latency_by_server_ms {
        metrics.acknowledged(*server, latency(series));
    }
}

/// Connections by when Java would close them if they stayed idle, by the monotonic clock. Its
/// buckets are as long as the time that a connection without a session has (Java:
/// `NIOServerCnxnFactory.cnxnExpiryQueue`).
fn expiry_buckets(
    reports: &[ConnectionReport],
    sessionless_ms: u64,
) -> BTreeMap<u64, Vec<(SocketAddr, SessionId)>> {
    let mut buckets = BTreeMap::<u64, Vec<_>>::new();
    for report in reports {
        let timeout_ms = match u64::try_from(report.timeout_ms) {
            Ok(timeout_ms) if timeout_ms > 0 => timeout_ms,
            _ => sessionless_ms,
        };
        let at_ms = report.touched_ms + timeout_ms;
        let bucket = at_ms.checked_div(sessionless_ms).map_or(at_ms, |n| (n + 1) * sessionless_ms);
        buckets.entry(bucket).or_default().push((report.peer.address, report.session_id));
    }
    buckets
}

fn connection_facts(report: &ConnectionReport) -> ConnectionFacts {
    // The report has the mean, which is all that is shown of sum and number.
    let latency_ms = Summary::from_parts(
        1,
        report.latency_avg_ms,
        u64::from(report.latency_min_ms),
        u64::from(report.latency_max_ms),
    );
    let session = ConnectionSession {
        id: report.session_id,
        last_operation: report.last_operation,
        established_ms: report.established_ms,
        timeout_ms: report.timeout_ms,
        last_cxid: report.last_cxid,
        last_zxid: report.last_zxid,
        last_response_ms: report.last_response_ms,
        last_latency_ms: u64::from(report.last_latency_ms),
        latency_ms,
    };
    ConnectionFacts {
        address: report.peer.address,
        interest: u8::from(report.reading) | (u8::from(report.writing) << 2),
        outstanding_requests: u64::from(report.outstanding),
        packets_received: report.received,
        packets_sent: report.sent,
        session: (report.session_id != SessionId(0)).then_some(session),
    }
}

fn sizes(store: &Store) -> SizeFacts {
    match store.sizes() {
        Ok(sizes) => SizeFacts { data_dir: sizes.snapshot_dir, data_log_dir: sizes.log_dir },
        Err(error) => {
            tracing::warn!(%error, "the data directory's size is not known");
            SizeFacts::default()
        }
    }
}
