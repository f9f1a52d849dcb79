//! What a member of an ensemble is told besides what every server is (Java:
//! `QuorumPeerConfig.setupQuorumPeerConfig` and `checkValidity`, `QuorumPeerMain`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Membership, MembershipRules, Role};

use super::error::{ConfigError, missing};
use super::members::{self, Servers};
use super::outside::{Outside, bounded};
use super::settings::{INT_MAX, Setting, Settings};

/// What is behind the name of a configuration that was proposed and not yet committed.
pub const NEXT_SUFFIX: &str = ".dynamic.next";

/// A member of an ensemble.
#[derive(Debug, Clone)]
pub struct EnsembleConfig {
    /// This server (`myid`).
    pub me: ServerId,
    /// The configuration of the file, or of its dynamic file.
    pub committed: Arc<Membership>,
    /// The last configuration proposed (`zoo.cfg.dynamic.next`), else the committed one.
    pub last_seen: Arc<Membership>,
    /// How configurations are read (`standaloneEnabled`, `multiAddress.enabled`).
    pub rules: MembershipRules,
    /// `initLimit`: ticks that connecting and synchronising may take.
    pub init_limit: u32,
    /// `syncLimit`: ticks that a learner may be behind.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`: ticks that connecting may take; `initLimit` where it is 0.
    pub connect_limit: u32,
    /// `leaderServes`: whether a leader takes clients.
    pub leader_serves: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `localSessionsEnabled`.
    pub local_sessions_enabled: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_sessions_upgrading_enabled: bool,
    /// `observerMasterPort`: where a follower takes observers.
    pub observer_master_port: Option<u16>,
    /// `observerMaster.sizeLimit`: bytes of proposals that an observer master keeps.
    pub observer_master_bytes_max: u64,
    /// `observer.reconnectDelayMs`: an observer's pause before it looks for a leader again, at
    /// most.
    pub observer_reconnect_delay_ms: u64,
    /// `observer.election.DelayMs`.
    pub observer_election_delay_ms: u64,
    /// `oraclePath`: a file that begins with `1` where a lone survivor of two may go on.
    pub oracle_path: Option<PathBuf>,
    /// Sockets between servers.
    pub links: PeerLinksConfig,
    /// `leader.maxTimeToWaitForEpoch`; `None` is off.
    pub max_time_to_wait_for_epoch_ms: Option<u64>,
    /// `leader.maxConcurrentSnapSyncs`.
    pub snap_syncs_max: u32,
    /// `leader.maxConcurrentDiffSyncs`.
    pub diff_syncs_max: u32,
    /// `observer.syncEnabled`, else `syncEnabled`: whether an observer keeps log and snapshots.
    pub sync_enabled: bool,
    /// `digest.leaveOnMismatch`, a key of this server's: whether who differs from its leader leaves
    /// and takes a snapshot. Java counts and goes on.
    pub leaves_on_divergence: bool,
    /// `forceSnapshotSync`: learners get a snapshot even where a DIFF would do.
    pub force_snapshot_sync: bool,
    /// `snapshotSizeFactor`: how much log, compared with a snapshot, is sent instead of it;
    /// negative is none.
    pub snapshot_size_factor: f64,
    /// `commitLogCount`: who lacks no more transactions than this gets them, whatever the factor
    /// says.
    pub commit_log_count: u64,
    /// `leaderConnectDelayDuringRetryMs`: between two dials of a leader, in ms; `None` where it is
    /// not set.
    pub connect_delay_ms: Option<u64>,
    /// `leader.ackLoggingFrequency`: of which zxids acknowledgements are timed; 0 of none.
    pub ack_logging_frequency: u32,
    /// The configuration file; reconfigurations are written beside it.
    pub config_file: Option<PathBuf>,
    /// Whether servers stand in that file itself, and not in a dynamic one.
    pub servers_in_config_file: bool,
    /// The last counter of an epoch's zxids, where it is not the protocol's: for tests of the end
    /// of an epoch. No key sets it.
    pub epoch_counter_last: Option<u32>,
}

/// Sockets between servers.
#[derive(Debug, Clone)]
pub struct PeerLinksConfig {
    /// `quorumListenOnAllIPs`: listens on every address, not only on the configured ones.
    pub listen_on_all_ips: bool,
    /// `cnxTimeout`: how long a dial may take, in ms.
    pub connect_timeout_ms: u64,
    /// `quorumCnxnTimeoutMs`, else `syncLimit` ticks: how long the other side of an election
    /// connection may take to say who it is, in ms.
    pub handshake_timeout_ms: u64,
    /// `electionPortBindRetry`: how often a port that is taken is tried; `None` for ever.
    pub bind_retries: Option<u32>,
    /// `tcpKeepAlive`: whether the kernel probes idle election connections.
    pub tcp_keep_alive: bool,
    /// `follower.nodelay`, `leader.nodelay`: TCP_NODELAY on quorum connections.
    pub tcp_nodelay: bool,
    /// `fastleader.minNotificationInterval`, in ms.
    pub notification_interval_ms_min: u64,
    /// `fastleader.maxNotificationInterval`, in ms.
    pub notification_interval_ms_max: u64,
}

/// Reads a member's configuration once the servers are known to be an ensemble.
///
/// # Errors
/// No `myid`, or one that is not in the list; limits that are not set; values out of range.
pub fn read(
    settings: &mut Settings,
    servers: Servers,
    my_id: Option<ServerId>,
    tick_time_ms: i32,
    place: &str,
    outside: &dyn Outside,
) -> Result<EnsembleConfig, ConfigError> {
    let limit = |settings: &Settings, key: &str| {
        let limit = settings.file(key).map_or(Ok(0), |s| s.integer(-INT_MAX..=INT_MAX))?;
        Ok::<u32, ConfigError>(u32::try_from(limit).unwrap_or(0))
    };
    let (init_limit, sync_limit) = (limit(settings, "initLimit")?, limit(settings, "syncLimit")?);
    for (name, limit) in [("initLimit", init_limit), ("syncLimit", sync_limit)] {
        if limit == 0 {
            return Err(missing(place, &format!("{name} is not set")));
        }
    }
    let me = my_id.ok_or_else(|| missing(place, "myid file is missing"))?;
    let role = servers
        .membership
        .member(me)
        .ok_or_else(|| missing(place, &format!("My id {me} not in the peer list")))?
        .role;
    warn_of_peer_type(settings, role);
    warn_of_number(settings, servers.membership.voters().count());
    warn_of_ids(settings, &servers.membership);
    let connect_limit = match limit(settings, "connectToLearnerMasterLimit")? {
        0 => init_limit,
        limit => limit,
    };
    let reconfig_enabled = strict(settings, "reconfigEnabled", false)?;
    let committed = Arc::new(servers.membership);
    let last_seen = match (&servers.config_file, servers.in_config_file, reconfig_enabled) {
        (Some(path), false, true) => last_seen(path, &committed, &servers.rules, outside)?,
        _ => Arc::clone(&committed),
    };
    Ok(EnsembleConfig {
        links: links(settings, tick_time_ms, sync_limit)?,
        leader_serves: settings.property("leaderServes").is_none_or(|s| s.value != "no"),
        local_sessions_enabled: strict(settings, "localSessionsEnabled", false)?,
        local_sessions_upgrading_enabled: strict(settings, "localSessionsUpgradingEnabled", false)?,
        observer_master_port: observer_master_port(settings)?,
        observer_master_bytes_max: number(settings, "observerMaster.sizeLimit", 32 << 20)?,
        observer_reconnect_delay_ms: number(settings, "observer.reconnectDelayMs", 0)?,
        observer_election_delay_ms: number(settings, "observer.election.DelayMs", 200)?,
        oracle_path: settings.file("oraclePath").map(|setting| PathBuf::from(&setting.value)),
        max_time_to_wait_for_epoch_ms: max_time_to_wait_for_epoch_ms(settings)?,
        snap_syncs_max: count(settings, "leader.maxConcurrentSnapSyncs", 10)?,
        diff_syncs_max: count(settings, "leader.maxConcurrentDiffSyncs", 100)?,
        sync_enabled: sync_enabled(settings)?,
        leaves_on_divergence: settings.flag("digest.leaveOnMismatch", true)?,
        force_snapshot_sync: settings.flag("forceSnapshotSync", false)?,
        snapshot_size_factor: snapshot_size_factor(settings)?,
        commit_log_count: commit_log_count(settings)?,
        connect_delay_ms: connect_delay_ms(settings)?,
        ack_logging_frequency: ack_logging_frequency(settings)?,
        me,
        committed,
        last_seen,
        rules: servers.rules,
        init_limit,
        sync_limit,
        connect_limit,
        reconfig_enabled,
        config_file: servers.config_file,
        servers_in_config_file: servers.in_config_file,
        epoch_counter_last: None,
    })
}

/// The property where there is one, whatever the file says (Java: `QuorumPeer.getSyncEnabled`).
fn sync_enabled(settings: &mut Settings) -> Result<bool, ConfigError> {
    let by_file = strict(settings, "syncEnabled", true)?;
    settings.flag("observer.syncEnabled", by_file)
}

/// Checks what a server outside of an ensemble, or outside of a JVM, does not use, as Java's parser
/// does.
///
/// # Errors
/// Values that are not of their key's kind.
pub fn check_values(settings: &mut Settings) -> Result<(), ConfigError> {
    for key in [
        "initLimit",
        "syncLimit",
        "connectToLearnerMasterLimit",
        "observerMasterPort",
        "multiAddress.reachabilityCheckTimeoutMs",
        "quorum.cnxn.threads.size",
    ] {
        settings.file(key).map(|setting| setting.integer(-INT_MAX..=INT_MAX)).transpose()?;
    }
    for key in
        ["jvm.pause.info-threshold.ms", "jvm.pause.warn-threshold.ms", "jvm.pause.sleep.time.ms"]
    {
        settings.file(key).map(|setting| setting.integer(i64::MIN..=i64::MAX)).transpose()?;
    }
    for key in [
        "quorumListenOnAllIPs",
        "syncEnabled",
        "localSessionsEnabled",
        "localSessionsUpgradingEnabled",
        "reconfigEnabled",
        "standaloneEnabled",
        "multiAddress.enabled",
        "multiAddress.reachabilityCheckEnabled",
        "sslQuorumReloadCertFiles",
        "jvm.pause.monitor",
    ] {
        settings.file(key).map(Setting::strict_boolean).transpose()?;
    }
    if let Some(setting) = settings.file("electionAlg")
        && setting.integer(-INT_MAX..=INT_MAX)? != 3
    {
        return Err(setting.refuse("Invalid electionAlg value. Only 3 is supported."));
    }
    match settings.file("peerType") {
        Some(setting) if peer_type(&setting.value).is_none() => {
            Err(setting.refuse(format!("Unrecognised peertype: {}", setting.value)))
        }
        _ => Ok(()),
    }
}

fn peer_type(text: &str) -> Option<Role> {
    match text.to_lowercase().as_str() {
        "participant" => Some(Role::Participant),
        "observer" => Some(Role::Observer),
        _ => None,
    }
}

/// Java's default role is a participant's, so an observer has to be called one.
fn warn_of_peer_type(settings: &mut Settings, role: Role) {
    let setting = settings.file("peerType").cloned();
    let given = setting.as_ref().and_then(|setting| peer_type(&setting.value));
    if given.unwrap_or(Role::Participant) != role {
        let place = setting.map_or_else(String::new, |setting| format!("{}: ", setting.origin));
        settings.warn(format!(
            "{place}Peer type from servers list ({role}) doesn't match peerType ({}). Defaulting \
             to servers list.",
            given.unwrap_or(Role::Participant)
        ));
    }
}

fn warn_of_number(settings: &mut Settings, voters: usize) {
    if voters <= 2 {
        settings.warn("No server failure will be tolerated. You need at least 3 servers.".into());
    } else if voters.is_multiple_of(2) {
        settings.warn("Non-optimal configuration, consider an odd number of servers.".into());
    }
}

/// A session's id holds the last byte of its server's: two servers that share one may give out the
/// same ids (Java does not say so).
fn warn_of_ids(settings: &mut Settings, membership: &Membership) {
    let mut seen = BTreeMap::new();
    for (id, _) in membership.members() {
        if let Some(other) = seen.insert(id.0 as u8, id) {
            settings.warn(format!(
                "server.{other} and server.{id} have ids that end with the same byte: the ids of \
                 their sessions may collide"
            ));
        }
    }
}

/// The configuration that was proposed last, where it is newer than the committed one.
fn last_seen(
    config_file: &Path,
    committed: &Arc<Membership>,
    rules: &MembershipRules,
    outside: &dyn Outside,
) -> Result<Arc<Membership>, ConfigError> {
    let mut name = config_file.as_os_str().to_owned();
    name.push(NEXT_SUFFIX);
    let Some(text) = bounded(Path::new(&name), outside)? else {
        return Ok(Arc::clone(committed));
    };
    let shown = Path::new(&name).display().to_string();
    let mut file = Settings::default();
    file.add_file(&shown, &text)?;
    let lines: Vec<Setting> = file.file_entries().cloned().collect();
    let next = members::parse(&lines, None, rules, &shown)?;
    Ok(if next.version() > committed.version() { Arc::new(next) } else { Arc::clone(committed) })
}

fn links(
    settings: &mut Settings,
    tick_time_ms: i32,
    sync_limit: u32,
) -> Result<PeerLinksConfig, ConfigError> {
    let of_ticks = u64::from(tick_time_ms.unsigned_abs()) * u64::from(sync_limit);
    let handshake = settings.number("quorumCnxnTimeoutMs", -1, -1..=INT_MAX)?;
    let retries = count(settings, "electionPortBindRetry", 3)?;
    let nodelay = |settings: &mut Settings, key: &str| {
        let setting = settings.bare(key).cloned();
        settings.boolean(setting, true)
    };
    Ok(PeerLinksConfig {
        listen_on_all_ips: strict(settings, "quorumListenOnAllIPs", false)?,
        connect_timeout_ms: number(settings, "cnxTimeout", 5000)?,
        handshake_timeout_ms: u64::try_from(handshake).unwrap_or(of_ticks),
        bind_retries: Some(retries).filter(|retries| *retries > 0),
        tcp_keep_alive: settings.flag("tcpKeepAlive", false)?,
        tcp_nodelay: nodelay(settings, "follower.nodelay")? && nodelay(settings, "leader.nodelay")?,
        notification_interval_ms_min: number(settings, "fastleader.minNotificationInterval", 200)?
            .max(1),
        notification_interval_ms_max: number(
            settings,
            "fastleader.maxNotificationInterval",
            60_000,
        )?
        .max(1),
    })
}

fn observer_master_port(settings: &Settings) -> Result<Option<u16>, ConfigError> {
    let Some(setting) = settings.file("observerMasterPort") else { return Ok(None) };
    let port = setting.integer(-INT_MAX..=65_535)?;
    Ok(u16::try_from(port).ok().filter(|port| *port > 0))
}

fn max_time_to_wait_for_epoch_ms(settings: &Settings) -> Result<Option<u64>, ConfigError> {
    let time_ms = settings.number("leader.maxTimeToWaitForEpoch", -1, -1..=INT_MAX)?;
    Ok(u64::try_from(time_ms).ok())
}

/// Java takes a factor above 1 for its default.
fn snapshot_size_factor(settings: &Settings) -> Result<f64, ConfigError> {
    const DEFAULT: f64 = 0.33;
    let Some(setting) = settings.property("snapshotSizeFactor") else { return Ok(DEFAULT) };
    match setting.value.parse::<f64>() {
        Ok(factor) if factor <= 1.0 => Ok(factor),
        Ok(_) => Ok(DEFAULT),
        Err(_) => Err(setting.refuse(format!("not a number: \"{}\"", setting.value))),
    }
}

/// Java takes what is less for 500 (`ZKDatabase`).
fn commit_log_count(settings: &Settings) -> Result<u64, ConfigError> {
    const LEAST: u64 = 500;
    let count = settings.number("commitLogCount", 500, -INT_MAX..=INT_MAX)?;
    Ok(u64::try_from(count).unwrap_or(LEAST).max(LEAST))
}

fn connect_delay_ms(settings: &Settings) -> Result<Option<u64>, ConfigError> {
    const KEY: &str = "leaderConnectDelayDuringRetryMs";
    let is_set = settings.property(KEY).is_some();
    let delay_ms = number(settings, KEY, 100)?;
    Ok(is_set.then_some(delay_ms))
}

/// Java takes a negative one for none.
fn ack_logging_frequency(settings: &Settings) -> Result<u32, ConfigError> {
    let every = settings.number("leader.ackLoggingFrequency", 1000, -INT_MAX..=INT_MAX)?;
    Ok(u32::try_from(every).unwrap_or(0))
}

fn strict(settings: &Settings, key: &str, default: bool) -> Result<bool, ConfigError> {
    settings.file(key).map_or(Ok(default), Setting::strict_boolean)
}

fn number(settings: &Settings, key: &str, default: i64) -> Result<u64, ConfigError> {
    let number = settings.number(key, default, 0..=INT_MAX)?;
    Ok(u64::try_from(number).expect("checked not to be negative"))
}

fn count(settings: &Settings, key: &str, default: i64) -> Result<u32, ConfigError> {
    let number = settings.number(key, default, 0..=INT_MAX)?;
    Ok(u32::try_from(number).expect("checked to be an int"))
}
