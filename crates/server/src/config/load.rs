//! From settings to [`ServerConfig`]: defaults, ranges and the checks between keys, in the order
//! of Java's `QuorumPeerConfig.parseProperties` and in its words where it has some.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::Member;

use crate::process::UnknownProcess;

use super::error::{ConfigError, missing};
use super::invocation::Invocation;
use super::members;
use super::outside::{Outside, existing};
use super::settings::{INT_MAX, Setting, Settings, to_usize};
use super::{ListenConfig, ServerConfig, SessionConfig, Whitelist, ensemble, parts, refuse};

/// Port and directory of a start without any configuration.
const EMBEDDED_PORT: u16 = 2181;
const EMBEDDED_DATA_DIR: &str = "./data";
/// Java: `ZooKeeperServer.DEFAULT_TICK_TIME`.
const TICK_TIME_MS_DEFAULT: i32 = 3000;
/// The version of Java's server that clients may take this one for.
const COMPATIBLE_WITH: &str = "3.9.5";
/// Most I/O threads that can be asked for.
const IO_THREADS_MAX: i64 = 256;

/// Reads the configuration of a call of the server.
///
/// # Errors
/// Files that cannot be read, wrong values, keys that ask for what is not there yet, and a call
/// that is none.
pub fn load(call: &Invocation, outside: &dyn Outside) -> Result<ServerConfig, ConfigError> {
    let mut settings = Settings::default();
    for (name, value, origin) in &call.properties {
        settings.add_property(name, value, origin.clone());
    }
    let source = match call.words.as_slice() {
        [] => embedded(&mut settings)?,
        [path] => file(&mut settings, path, outside)?,
        [_, _] | [_, _, _] | [_, _, _, _] => positional(&mut settings, &call.words)?,
        words => {
            return Err(ConfigError::Invocation(format!(
                "Invalid number of arguments:[{}]",
                words.join(", ")
            )));
        }
    };
    refuse::check(&mut settings)?;
    let (place, config_file) = match call.words.as_slice() {
        [path] => (path.clone(), Some(PathBuf::from(path))),
        _ => ("command line".to_string(), None),
    };
    build(settings, source, &place, config_file, outside)
}

/// Java fails without arguments; this server starts with defaults.
fn embedded(settings: &mut Settings) -> Result<String, ConfigError> {
    let defaults = format!("clientPort={EMBEDDED_PORT}\ndataDir={EMBEDDED_DATA_DIR}\n");
    settings.add_file("defaults", defaults.as_bytes())?;
    Ok(format!(
        "no configuration file, so defaults: client port {EMBEDDED_PORT}, data in \
         {EMBEDDED_DATA_DIR} under the current directory"
    ))
}

fn file(settings: &mut Settings, path: &str, outside: &dyn Outside) -> Result<String, ConfigError> {
    settings.add_file(path, &existing(Path::new(path), outside)?)?;
    Ok(format!("configuration from {path}"))
}

/// `port datadir [ticktime] [maxcnxns]` (Java: `ServerConfig.parse`): no limit of connections from
/// one address unless given.
fn positional(settings: &mut Settings, words: &[String]) -> Result<String, ConfigError> {
    const KEYS: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
    let mut words: Vec<String> = words.to_vec();
    if words.len() == 2 {
        words.push(TICK_TIME_MS_DEFAULT.to_string());
    }
    if words.len() == 3 {
        words.push("0".to_string());
    }
    for (key, value) in KEYS.iter().zip(&words) {
        settings.set_positional(key, value);
    }
    Ok(format!("configuration from the command line: {}", words.join(" ")))
}

fn build(
    mut settings: Settings,
    source: String,
    place: &str,
    config_file: Option<PathBuf>,
    outside: &dyn Outside,
) -> Result<ServerConfig, ConfigError> {
    ensemble::check_values(&mut settings)?;
    let tree = parts::tree_rules(&mut settings)?;
    let storage = parts::storage(&mut settings, place)?;
    let sessions = sessions(&settings)?;
    let servers = members::read(&mut settings, config_file, place, outside)?;
    let my_id = members::my_id(&storage.data_dir, tree.extended_types_enabled, outside)?;
    let mine = servers.mine(my_id).cloned();
    let ensemble = if servers.is_ensemble() {
        let tick_time_ms = sessions.tick_time_ms;
        Some(ensemble::read(&mut settings, servers, my_id, tick_time_ms, place, outside)?)
    } else {
        None
    };
    let listen = listen(&mut settings, mine.as_ref(), outside)?;
    if listen.port.is_none() && ensemble.is_none() {
        return Err(missing(place, "clientPort is not set"));
    }
    let reconfig = settings.file("reconfigEnabled").map(Setting::strict_boolean).transpose()?;
    let auth = parts::auth(&mut settings)?;
    let limits = parts::limits(&settings)?;
    let request_throttle = parts::request_throttle(&mut settings)?;
    let connection_throttle = parts::connection_throttle(&mut settings)?;
    let read_only = settings.bare("readonlymode.enabled").cloned();
    let read_only_mode_enabled = settings.boolean(read_only, false)?;
    let words = settings.property("4lw.commands.whitelist").map(|setting| setting.value.clone());
    let log_level = log_level(&settings)?;
    settings.report(ensemble.is_some());
    let session_server_id = ensemble.as_ref().map_or(ServerId(1), |ensemble| ensemble.me);
    let properties = properties(&settings);
    Ok(ServerConfig {
        source,
        notices: settings.notices,
        my_id,
        session_server_id,
        ensemble,
        reconfig_enabled: reconfig.unwrap_or(false),
        listen,
        sessions,
        storage,
        tree,
        auth,
        limits,
        request_throttle,
        connection_throttle,
        whitelist: Whitelist::new(words.as_deref(), read_only_mode_enabled),
        read_only_mode_enabled,
        log_level,
        version: format!("{COMPATIBLE_WITH}-rookeeper-{}", env!("CARGO_PKG_VERSION")),
        process: Arc::new(UnknownProcess),
        properties,
    })
}

fn sessions(settings: &Settings) -> Result<SessionConfig, ConfigError> {
    let tick = settings.file("tickTime");
    let tick_time = match tick {
        None => i64::from(TICK_TIME_MS_DEFAULT),
        Some(setting) if setting.value.trim_start_matches('0').is_empty() => {
            return Err(setting.refuse("tickTime is not set"));
        }
        Some(setting) => setting.integer(1..=INT_MAX)?,
    };
    let timeout = |key: &str, ticks: i64| -> Result<i64, ConfigError> {
        match settings.file(key).map(|s| s.integer(-1..=INT_MAX)).transpose()? {
            None | Some(-1) => Ok((tick_time * ticks).min(INT_MAX)),
            Some(given) => Ok(given),
        }
    };
    let (min, max) = (timeout("minSessionTimeout", 2)?, timeout("maxSessionTimeout", 20)?);
    if min > max {
        let setting =
            settings.file("minSessionTimeout").or(settings.file("maxSessionTimeout")).or(tick);
        let setting = setting.expect("the defaults are in order");
        return Err(setting.refuse("minSessionTimeout must not be larger than maxSessionTimeout"));
    }
    let to_int = |value: i64| i32::try_from(value).expect("checked to be an int");
    Ok(SessionConfig {
        tick_time_ms: to_int(tick_time),
        timeout_ms_min: to_int(min),
        timeout_ms_max: to_int(max),
    })
}

/// Where clients are taken: where this server's line says, else where the file does.
fn client_address(
    settings: &Settings,
    mine: Option<&(Setting, ServerId, Member)>,
    outside: &dyn Outside,
) -> Result<(Option<u16>, Option<IpAddr>), ConfigError> {
    let mut address = settings.file("clientPortAddress").cloned();
    if let Some(setting) = address.take_if(|setting| setting.value.is_empty()) {
        return Err(setting.refuse("no address"));
    }
    let key = settings.file("clientPort");
    let port = key.map(|setting| setting.integer(0..=65_535)).transpose()?;
    if let (None, Some(setting)) = (port, &address) {
        return Err(setting.refuse("clientPortAddress is set but clientPort is not set"));
    }
    let port = port.map(|port| u16::try_from(port).expect("checked to be a port"));
    let resolved = address.as_ref().map(|s| resolve(s, &s.value, outside)).transpose()?;
    let of_member = mine.and_then(|(line, _, member)| Some((line, member.client.as_ref()?)));
    let Some((line, client)) = of_member else { return Ok((port, resolved)) };
    if let Some(setting) = key.filter(|_| port.is_some_and(|port| port != client.port())) {
        return Err(setting.refuse(format!(
            "client port {} is different from client port {} of {}",
            setting.value,
            client.port(),
            line.key
        )));
    }
    let of_client = match client.is_wildcard() {
        true => None,
        false => Some(resolve(line, client.host(), outside)?),
    };
    // A named address has to be the same; every address is no contradiction.
    let named = resolved.filter(|address| !address.is_unspecified());
    if let (Some(named), Some(setting)) = (named, address)
        && of_client != Some(named)
    {
        return Err(setting.refuse(format!(
            "client address {named} is different from client address {client} of {}",
            line.key
        )));
    }
    Ok((Some(client.port()), of_client))
}

fn listen(
    settings: &mut Settings,
    mine: Option<&(Setting, ServerId, Member)>,
    outside: &dyn Outside,
) -> Result<ListenConfig, ConfigError> {
    let int = -INT_MAX..=INT_MAX;
    let (port, address) = client_address(settings, mine, outside)?;
    let threads = settings.property("nio.numWorkerThreads");
    let threads = threads.map(|s| s.decoded(0..=IO_THREADS_MAX)).transpose()?;
    let count = |setting: Option<&Setting>, default: i64| -> Result<usize, ConfigError> {
        setting.map_or(Ok(default), |s| s.decoded(int.clone())).map(|value| to_usize(value.max(0)))
    };
    let per_address = settings.file("maxClientCnxns").map_or(Ok(60), |s| s.integer(int.clone()))?;
    let backlog = settings.file("clientPortListenBacklog");
    let backlog = backlog.map_or(Ok(-1), |s| s.integer(int.clone()))?;
    let sessionless = settings.number("nio.sessionlessCnxnTimeout", 10_000, 1..=INT_MAX)?;
    Ok(ListenConfig {
        port,
        address,
        backlog: i32::try_from(backlog).expect("checked to be an int"),
        max_connections_per_address: to_usize(per_address.max(0)),
        max_connections: count(settings.property("maxCnxns"), 0)?,
        tcp_keep_alive: settings.flag("clientTcpKeepAlive", false)?,
        io_threads: threads.map(to_usize).filter(|&threads| threads > 0),
        sessionless_timeout_ms: u32::try_from(sessionless).expect("checked to be an int"),
    })
}

fn resolve(setting: &Setting, host: &str, outside: &dyn Outside) -> Result<IpAddr, ConfigError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    outside
        .resolve(bare)
        .map_err(|error| setting.refuse(format!("the address {host} cannot be resolved: {error}")))
}

/// `zookeeper.console.threshold`, or the older `zookeeper.root.logger=LEVEL,APPENDER`.
fn log_level(settings: &Settings) -> Result<Option<&'static str>, ConfigError> {
    let given = settings.property("console.threshold").or(settings.property("root.logger"));
    let Some(setting) = given else { return Ok(None) };
    let level = setting.value.split(',').next().unwrap_or_default().trim().to_ascii_uppercase();
    Ok(Some(match level.as_str() {
        "ALL" | "TRACE" => "trace",
        "DEBUG" => "debug",
        "INFO" => "info",
        "WARN" => "warn",
        "ERROR" | "FATAL" => "error",
        "OFF" => "off",
        _ => return Err(setting.refuse(format!("\"{level}\" is no level of a log"))),
    }))
}

/// The properties as Java would have them after reading the file.
fn properties(settings: &Settings) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        settings.property_entries().map(|s| (s.key.clone(), s.value.clone())).collect();
    for setting in settings.file_entries() {
        if super::keys::kind_of(&setting.key).is_none_or(|kind| kind.is_property()) {
            all.insert(format!("zookeeper.{}", setting.key), setting.value.clone());
        }
    }
    all
}
