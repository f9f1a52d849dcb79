//! The lines `server.N`, `group.N` and `weight.N`, and the file `myid`: how many servers a
//! configuration names, and the client address that may stand among them (Java:
//! `QuorumPeerConfig.parseDynamicConfig`, `QuorumPeer.QuorumServer`, `setupMyId`).

use std::path::{Path, PathBuf};

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Member, Membership, MembershipError, MembershipRules, Role};

use super::error::{ConfigError, missing};
use super::outside::{Outside, bounded, existing};
use super::settings::{Setting, Settings};

/// Largest server id with `extendedTypesEnabled` (Java: `EphemeralType.MAX_EXTENDED_SERVER_ID`).
const SERVER_ID_MAX_EXTENDED: i64 = 254;

/// The servers that a configuration names.
#[derive(Debug)]
pub struct Servers {
    /// The lines `server.N`.
    pub lines: Vec<(Setting, ServerId, Member)>,
    /// What they are together.
    pub membership: Membership,
    /// How they were read.
    pub rules: MembershipRules,
    /// The configuration file, where there is one.
    pub config_file: Option<PathBuf>,
    /// Whether they stand in that file itself, and not in a dynamic one.
    pub in_config_file: bool,
}

impl Servers {
    /// Whether they are an ensemble (Java: `QuorumPeerConfig.isDistributed`).
    pub fn is_ensemble(&self) -> bool {
        !self.rules.standalone_enabled || self.membership.voters().count() > 1
    }

    /// The line of this server: by `myid`, and on a standalone server without such a file the only
    /// one.
    pub fn mine(&self, my_id: Option<ServerId>) -> Option<&(Setting, ServerId, Member)> {
        match my_id {
            Some(me) => self.lines.iter().find(|(_, id, _)| *id == me),
            None if self.is_ensemble() => None,
            None => self.lines.first(),
        }
    }
}

/// Reads the servers of the configuration file, or of the dynamic file that it names.
///
/// # Errors
/// Lines that Java refuses; too few participants; servers in both files.
pub fn read(
    settings: &mut Settings,
    config_file: Option<PathBuf>,
    place: &str,
    outside: &dyn Outside,
) -> Result<Servers, ConfigError> {
    let flag = |key: &str, default| settings.file(key).map_or(Ok(default), Setting::strict_boolean);
    let multi_address = settings.property("multiAddress.enabled").map(Setting::strict_boolean);
    let rules = MembershipRules {
        standalone_enabled: flag("standaloneEnabled", true)?,
        multi_address_enabled: multi_address.transpose()?.unwrap_or(false),
    };
    let is_server = |setting: &&Setting| {
        ["server.", "group", "weight"].iter().any(|prefix| setting.key.starts_with(prefix))
    };
    let mut lines: Vec<Setting> = settings.file_entries().filter(is_server).cloned().collect();
    let (mut version, mut place) = (None, place.to_owned());
    let dynamic = settings.file("dynamicConfigFile").cloned();
    if let Some(dynamic) = &dynamic {
        if let Some(line) = lines.first() {
            return Err(line.refuse(format!(
                "parameter: {} must be in a separate dynamic config file",
                line.key
            )));
        }
        lines = dynamic_lines(dynamic, outside)?;
        version = version_of(&dynamic.value);
        place = dynamic.value.clone();
    } else {
        // As in the text of a configuration, which may have been copied from its znode.
        lines.extend(settings.file("version").cloned());
    }
    let mut read = Vec::new();
    for line in lines.iter().filter(|line| line.key.starts_with("server.")) {
        let (id, member) = one(line, &rules)?;
        read.push((line.clone(), id, member));
    }
    check_participants(settings, &read, &rules, &place)?;
    let membership = parse(&lines, version, &rules, &place)?;
    let in_config_file = dynamic.is_none();
    Ok(Servers { lines: read, membership, rules, config_file, in_config_file })
}

fn dynamic_lines(dynamic: &Setting, outside: &dyn Outside) -> Result<Vec<Setting>, ConfigError> {
    let mut file = Settings::default();
    file.add_file(&dynamic.value, &existing(Path::new(&dynamic.value), outside)?)?;
    for entry in file.file_entries() {
        if entry.key == "version" {
            return Err(entry.refuse("dynamic file shouldn't have version inside"));
        }
        if !["server.", "group", "weight"].iter().any(|prefix| entry.key.starts_with(prefix)) {
            return Err(entry.refuse(format!("Unrecognised parameter: {}", entry.key)));
        }
    }
    Ok(file.file_entries().cloned().collect())
}

/// The version at the end of a dynamic file's name (Java: `getVersionFromFilename`).
fn version_of(name: &str) -> Option<i64> {
    let (_, version) = name.rsplit_once('.')?;
    i64::from_str_radix(version, 16).ok()
}

/// Makes one configuration of lines that are its own.
///
/// # Errors
/// Where Java refuses it too; `place` is what is said to be wrong.
pub fn parse(
    lines: &[Setting],
    version: Option<i64>,
    rules: &MembershipRules,
    place: &str,
) -> Result<Membership, ConfigError> {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let text: String = lines
        .iter()
        .map(|line| format!("{}={}\n", escaped(&line.key), escaped(&line.value)))
        .collect();
    let membership =
        Membership::parse(&text, rules).map_err(|error| missing(place, &error.to_string()))?;
    Ok(match version {
        Some(version) => membership.with_version(version),
        None => membership,
    })
}

/// Reads one line `server.N`.
fn one(line: &Setting, rules: &MembershipRules) -> Result<(ServerId, Member), ConfigError> {
    let number = line.key.strip_prefix("server.").unwrap_or_default();
    let id: i64 = number
        .parse()
        .map_err(|_| line.refuse(format!("\"{number}\" is not the number of a server")))?;
    let member = Member::parse(&line.value, rules.multi_address_enabled);
    let member = member.map_err(|error| {
        line.refuse(match error {
            MembershipError::WrongForm(_) => format!(
                "{} does not have the form server_config or server_config;client_config where \
                 server_config is the pipe separated list of host:port:port or \
                 host:port:port:type and client_config is port or host:port",
                line.value
            ),
            MembershipError::EqualPorts(_) => "Client and election port must be different!".into(),
            MembershipError::UnknownRole(role) => format!("Unrecognised peertype: {role}"),
            MembershipError::DifferentRoles(_) => {
                "Multiple addresses should have similar roles".into()
            }
            MembershipError::MultiAddressDisabled => format!(
                "Multiple address feature is disabled, but multiple addresses were specified for \
                 sid {id}"
            ),
            other => other.to_string(),
        })
    })?;
    Ok((ServerId(id), member))
}

/// Too few participants, in Java's words.
fn check_participants(
    settings: &mut Settings,
    lines: &[(Setting, ServerId, Member)],
    rules: &MembershipRules,
    place: &str,
) -> Result<(), ConfigError> {
    let with = |role| lines.iter().filter(move |(_, _, member)| member.role == role);
    let observer = with(Role::Observer).next_back();
    let words = match (with(Role::Participant).count(), rules.standalone_enabled) {
        (0, false) => {
            let words = "standaloneEnabled = false then number of participants should be >0";
            return Err(missing(place, words));
        }
        (0, true) => "Observers w/o participants is an invalid configuration",
        (1, true) => "Observers w/o quorum is an invalid configuration",
        _ => return Ok(()),
    };
    if let Some((line, _, _)) = observer {
        return Err(line.refuse(words));
    }
    if let Some((line, _, _)) = lines.first() {
        settings.warn(format!(
            "{}: Invalid configuration, only one server specified (ignoring)",
            line.origin
        ));
    }
    Ok(())
}

/// Reads the file `myid` of a data directory, where there is one.
///
/// # Errors
/// A file that cannot be read, that holds no number, or one out of range.
pub fn my_id(
    data_dir: &Path,
    extended_types: bool,
    outside: &dyn Outside,
) -> Result<Option<ServerId>, ConfigError> {
    let path = data_dir.join("myid");
    let Some(text) = bounded(&path, outside)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let text = text.lines().next().unwrap_or_default();
    let refuse = |message: String| ConfigError::MyId { path: path.clone(), message };
    let id: i64 = text.parse().map_err(|_| refuse(format!("serverid {text} is not a number")))?;
    if extended_types && id > SERVER_ID_MAX_EXTENDED {
        return Err(refuse(format!(
            "extendedTypesEnabled is true but Server ID is too large. Cannot be larger than \
             {SERVER_ID_MAX_EXTENDED}"
        )));
    }
    // Java takes them, and its other members for observers that want an id.
    if id < 0 {
        return Err(refuse(format!("serverid {id} is negative")));
    }
    Ok(Some(ServerId(id)))
}

#[cfg(test)]
mod tests {
    use super::super::error::Origin;
    use super::*;

    fn line(number: &str, value: &str) -> Setting {
        let origin = Origin::File { path: "zoo.cfg".into(), line: 3 };
        Setting { key: format!("server.{number}"), value: value.into(), origin }
    }

    const MULTI: MembershipRules =
        MembershipRules { standalone_enabled: true, multi_address_enabled: true };

    #[test]
    fn server_lines_are_read() {
        for (value, role, client) in [
            ("localhost:2888:3888", Role::Participant, None),
            ("localhost:2888:3888:observer", Role::Observer, None),
            ("localhost:2888:3888:PARTICIPANT;2181", Role::Participant, Some("0.0.0.0:2181")),
            ("h:2888:3888;here:2181", Role::Participant, Some("here:2181")),
            ("a:2888:3888|b:2889:3889", Role::Participant, None),
        ] {
            let (id, member) = one(&line("7", value), &MULTI).unwrap();
            assert_eq!((id, member.role), (ServerId(7), role), "{value}");
            let shown = member.client.map(|client| client.to_string());
            assert_eq!(shown.as_deref(), client, "{value}");
        }
    }

    #[test]
    fn malformed_server_lines_are_refused_with_javas_words() {
        for (value, words) in [
            ("localhost", "does not have the form"),
            ("localhost:2888", "does not have the form"),
            ("localhost:2888:3888;1;2", "does not have the form"),
            ("localhost:2888:3888;a:b:1", "does not have the form"),
            ("[::1:2888:3888", "does not have the form"),
            ("h:x:3888", "x is not a port"),
            ("h:2888:70000", "70000 is not a port"),
            ("h:2888:2888", "must be different"),
            ("h:2888:3888:king", "Unrecognised peertype: king"),
            ("a:1:2:observer|b:1:2:participant", "similar roles"),
        ] {
            let error = one(&line("1", value), &MULTI).unwrap_err().to_string();
            assert!(error.starts_with("zoo.cfg:3: server.1: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
        let rules = MembershipRules::default();
        assert!(one(&line("one", "h:1:2"), &rules).unwrap_err().to_string().contains("\"one\""));
        let error = one(&line("4", "a:1:2|b:1:2"), &rules).unwrap_err().to_string();
        assert!(error.contains("multiple addresses were specified for sid 4"), "{error}");
    }

    #[test]
    fn the_version_is_the_end_of_the_dynamic_file_s_name() {
        for (name, version) in [
            ("conf/zoo.cfg.dynamic.100000003", Some(0x1_0000_0003)),
            ("conf/zoo.cfg.dynamic.0", Some(0)),
            ("zoo.cfg.dynamic", None),
            ("servers", None),
        ] {
            assert_eq!(version_of(name), version, "{name}");
        }
    }
}
