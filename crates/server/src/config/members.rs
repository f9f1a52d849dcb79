//! The lines `server.N` and the file `myid`: how many servers a configuration names, and the
//! client address that may stand among them (Java: `QuorumPeerConfig.parseDynamicConfig`,
//! `QuorumPeer.QuorumServer`, `QuorumPeerConfig.setupMyId`).

use std::path::Path;

use rookeeper_jute::ServerId;

use super::error::ConfigError;
use super::load::Outside;
use super::refuse;
use super::settings::{Setting, Settings};

/// Largest server id: it is one byte of a session id.
const SERVER_ID_MAX: i64 = 255;
/// Largest server id with `extendedTypesEnabled` (Java: `EphemeralType.MAX_EXTENDED_SERVER_ID`).
const SERVER_ID_MAX_EXTENDED: i64 = 254;

/// One server of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The N of `server.N`.
    pub id: ServerId,
    /// Whether it is an observer.
    pub observer: bool,
    /// Its client address: a host, where one is named, and a port.
    pub client: Option<(Option<String>, u16)>,
}

/// Reads a line `server.N`.
pub fn read(setting: &Setting) -> Result<Member, ConfigError> {
    let number = setting.key.strip_prefix("server.").unwrap_or_default();
    let id: i64 = number
        .parse()
        .map_err(|_| setting.refuse(format!("\"{number}\" is not the number of a server")))?;
    let form = || {
        setting.refuse(format!(
            "{} does not have the form server_config or server_config;client_config where \
             server_config is the pipe separated list of host:port:port or host:port:port:type and \
             client_config is port or host:port",
            setting.value
        ))
    };
    let mut halves = setting.value.split(';');
    let servers = halves.next().unwrap_or_default();
    let client = halves.next();
    if halves.next().is_some() {
        return Err(form());
    }
    let mut observer = None;
    for address in servers.split('|') {
        let parts = split_host(address).ok_or_else(form)?;
        if !(3..=4).contains(&parts.len()) {
            return Err(form());
        }
        let quorum_port = port(setting, &parts[0], &parts[1])?;
        if quorum_port == port(setting, &parts[0], &parts[2])? {
            return Err(setting.refuse("Client and election port must be different!"));
        }
        let role = match parts.get(3).map(|role| role.to_lowercase()).as_deref() {
            None | Some("participant") => false,
            Some("observer") => true,
            Some(_) => return Err(setting.refuse(format!("Unrecognised peertype: {}", parts[3]))),
        };
        if observer.is_some_and(|observer| observer != role) {
            return Err(setting.refuse("Multiple addresses should have similar roles"));
        }
        observer = Some(role);
    }
    let client = match client.map(|client| split_host(client).ok_or_else(form)).transpose()? {
        None => None,
        Some(parts) if parts.len() == 1 => Some((None, port(setting, "", &parts[0])?)),
        Some(parts) if parts.len() == 2 => {
            let port = port(setting, &parts[0], &parts[1])?;
            // Java's default host there; it means every address.
            let host = Some(parts[0].clone()).filter(|host| host != "0.0.0.0");
            Some((host, port))
        }
        Some(_) => return Err(form()),
    };
    Ok(Member { id: ServerId(id), observer: observer.unwrap_or(false), client })
}

fn port(setting: &Setting, host: &str, text: &str) -> Result<u16, ConfigError> {
    text.trim().parse().map_err(|_| setting.refuse(format!("Address unresolved: {host}:{text}")))
}

/// Splits `host:a:b` at colons; an IPv6 host stands in brackets. `None` where a bracket is open.
fn split_host(text: &str) -> Option<Vec<String>> {
    let Some(bracketed) = text.trim().strip_prefix('[') else {
        return Some(text.trim().split(':').map(str::to_string).collect());
    };
    let (host, rest) = bracketed.split_once(']')?;
    let mut parts = vec![host.to_string()];
    match rest.strip_prefix(':') {
        Some(rest) => parts.extend(rest.split(':').map(str::to_string)),
        None if rest.is_empty() => {}
        None => return None,
    }
    Some(parts)
}

/// Checks the lines `server.N` among `lines`: none or one participant is a standalone server.
/// Gives the one participant.
pub fn standalone(
    settings: &mut Settings,
    lines: &[Setting],
) -> Result<Option<Member>, ConfigError> {
    let mut participants: Vec<(Member, &Setting)> = Vec::new();
    let mut observer: Option<&Setting> = None;
    for line in lines {
        let member = read(line)?;
        if member.observer {
            observer = Some(line);
        } else {
            participants.push((member, line));
        }
    }
    if let Some((_, second)) = participants.get(1) {
        return Err(refuse::ensemble(second));
    }
    let one = participants.pop();
    if let Some(observer) = observer {
        let words = match one {
            None => "Observers w/o participants is an invalid configuration",
            Some(_) => "Observers w/o quorum is an invalid configuration",
        };
        return Err(observer.refuse(words));
    }
    if let Some((_, line)) = &one {
        settings.warn(format!(
            "{}: Invalid configuration, only one server specified (ignoring)",
            line.origin
        ));
    }
    Ok(one.map(|(member, _)| member))
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
    let Some(text) = super::load::bounded(&path, outside)? else { return Ok(None) };
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
    if !(0..=SERVER_ID_MAX).contains(&id) {
        return Err(refuse(format!(
            "serverid {id} is out of range, 0 to {SERVER_ID_MAX} is possible"
        )));
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

    fn member(id: i64, observer: bool, client: Option<(Option<&str>, u16)>) -> Member {
        let client = client.map(|(host, port)| (host.map(str::to_string), port));
        Member { id: ServerId(id), observer, client }
    }

    #[test]
    fn server_lines_are_read() {
        for (value, expected) in [
            ("localhost:2888:3888", member(1, false, None)),
            ("localhost:2888:3888:observer", member(1, true, None)),
            ("localhost:2888:3888:PARTICIPANT;2181", member(1, false, Some((None, 2181)))),
            ("h:2888:3888;0.0.0.0:2181", member(1, false, Some((None, 2181)))),
            ("h:2888:3888;here:2181", member(1, false, Some((Some("here"), 2181)))),
            ("[::1]:2888:3888;[::1]:2181", member(1, false, Some((Some("::1"), 2181)))),
            ("a:2888:3888|b:2889:3889", member(1, false, None)),
        ] {
            assert_eq!(read(&line("1", value)).unwrap(), expected, "{value}");
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
            ("h:x:3888", "Address unresolved: h:x"),
            ("h:2888:70000", "Address unresolved: h:70000"),
            ("h:2888:2888", "must be different"),
            ("h:2888:3888:king", "Unrecognised peertype: king"),
            ("a:1:2:observer|b:1:2:participant", "similar roles"),
        ] {
            let error = read(&line("1", value)).unwrap_err().to_string();
            assert!(error.starts_with("zoo.cfg:3: server.1: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
        assert!(read(&line("one", "h:1:2")).unwrap_err().to_string().contains("\"one\""));
    }

    #[test]
    fn one_participant_is_standalone_and_two_are_refused() {
        let mut settings = Settings::default();
        let one = line("1", "h:1:2;2181");
        assert_eq!(standalone(&mut settings, &[]).unwrap(), None);
        let found = standalone(&mut settings, std::slice::from_ref(&one)).unwrap();
        assert_eq!(found, Some(member(1, false, Some((None, 2181)))));
        assert!(settings.notices[0].text.contains("only one server specified (ignoring)"));
        let two = [one.clone(), line("2", "h:3:4")];
        let error = standalone(&mut settings, &two).unwrap_err().to_string();
        assert!(error.starts_with("zoo.cfg:3: server.2 asks for an ensemble"), "{error}");
        let lone = [line("1", "h:1:2:observer")];
        let error = standalone(&mut settings, &lone).unwrap_err().to_string();
        assert!(error.ends_with("Observers w/o participants is an invalid configuration"));
        let pair = [one, line("2", "h:3:4:observer")];
        let error = standalone(&mut settings, &pair).unwrap_err().to_string();
        assert!(error.ends_with("Observers w/o quorum is an invalid configuration"));
    }
}
