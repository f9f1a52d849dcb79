//! Keys that ask for TLS, SASL or enforced authentication. A server that starts without them would
//! stand open where its owner believes otherwise, so it does not start.

use super::error::ConfigError;
use super::settings::{Setting, Settings};

const TLS: &str = "TLS";
const TLS_ADVICE: &str =
    "Remove the TLS keys, or put a proxy that ends TLS in front of clientPort.";
const SASL: &str = "SASL";
const SASL_ADVICE: &str = "Remove it, or protect znodes with the digest and ip schemes.";
const ENFORCED: &str = "enforced authentication";
const ENFORCED_ADVICE: &str = "Remove it, or protect znodes with ACLs.";

/// Providers that are always there in Java, so naming one asks for nothing more.
const BUILT_IN_PROVIDERS: [&str; 2] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
];

/// The file with the accounts and tickets of SASL, which Java's own libraries read.
const LOGIN_CONFIG: &str = "java.security.auth.login.config";

/// Refuses every key whose value asks for what is not there yet.
///
/// # Errors
/// [`ConfigError::NotYet`] with the first such key, or [`ConfigError::Value`] where it is not a
/// value of its key.
pub fn check(settings: &mut Settings) -> Result<(), ConfigError> {
    sasl_between_servers(settings)?;
    let prefix_of_java = "zookeeper.";
    let from_properties = settings.property_entries().filter_map(|setting| {
        // Keys of the file that Java does not read as properties are reported elsewhere.
        let name = match setting.key.as_str() {
            LOGIN_CONFIG => LOGIN_CONFIG,
            key => key.strip_prefix(prefix_of_java)?,
        };
        let shadowed = settings.file(name).is_some();
        (!is_file_only(name) && !shadowed).then(|| (name.to_string(), setting.clone()))
    });
    let all: Vec<(String, Setting)> = settings
        .file_entries()
        .map(|setting| (setting.key.clone(), setting.clone()))
        .chain(from_properties)
        .collect();
    for (name, setting) in all {
        check_one(settings, &name, &setting)?;
    }
    Ok(())
}

fn is_file_only(name: &str) -> bool {
    let exact = ["secureClientPort", "secureClientPortAddress", "sslQuorum", "portUnification"];
    exact.contains(&name) || name.starts_with("quorum.auth.")
}

fn check_one(settings: &mut Settings, name: &str, setting: &Setting) -> Result<(), ConfigError> {
    match name {
        "secureClientPort" => {
            setting.integer(0..=65_535)?;
            Err(not_yet(setting, TLS, TLS_ADVICE))
        }
        "secureClientPortAddress" => Err(not_yet(setting, TLS, TLS_ADVICE)),
        "sslQuorum" | "portUnification" => {
            refuse_if(setting.strict_boolean()?, setting, TLS, TLS_ADVICE)
        }
        "client.portUnification" => {
            let on = settings.boolean(Some(setting.clone()), false)?;
            refuse_if(on, setting, TLS, TLS_ADVICE)
        }
        "quorum.auth.enableSasl"
        | "quorum.auth.serverRequireSasl"
        | "quorum.auth.learnerRequireSasl" => {
            refuse_if(setting.strict_boolean()?, setting, SASL, SASL_ADVICE)
        }
        "sessionRequireClientSASLAuth" => {
            let on = settings.boolean(Some(setting.clone()), false)?;
            refuse_if(on, setting, SASL, SASL_ADVICE)
        }
        "enforce.auth.enabled" => {
            let on = settings.boolean(Some(setting.clone()), false)?;
            refuse_if(on, setting, ENFORCED, ENFORCED_ADVICE)
        }
        "enforce.auth.schemes" => Ok(()),
        LOGIN_CONFIG => Err(not_yet(setting, SASL, SASL_ADVICE)),
        _ if name.starts_with("ssl.") => Err(not_yet(setting, TLS, TLS_ADVICE)),
        _ if name.starts_with("requireClientAuth") => Err(not_yet(setting, SASL, SASL_ADVICE)),
        _ if name.starts_with("authProvider.") => auth_provider(setting),
        _ => Ok(()),
    }
}

/// The three checks that Java makes of these keys before anything else, in Java's words.
fn sasl_between_servers(settings: &Settings) -> Result<(), ConfigError> {
    let on = |key: &str| settings.file(key).map_or(Ok(false), Setting::strict_boolean);
    let (enable, server, learner) = (
        "quorum.auth.enableSasl",
        "quorum.auth.serverRequireSasl",
        "quorum.auth.learnerRequireSasl",
    );
    let (enabled, server_requires, learner_requires) = (on(enable)?, on(server)?, on(learner)?);
    let missing = if server_requires && !enabled {
        Some((server, enable))
    } else if learner_requires && !enabled {
        Some((learner, enable))
    } else if server_requires && !learner_requires {
        Some((server, learner))
    } else {
        None
    };
    match missing {
        Some((key, needs)) => {
            let setting = settings.file(key).expect("a key that is on was given");
            Err(setting.refuse(format!("{needs} is disabled, so cannot enable {key}")))
        }
        None => Ok(()),
    }
}

fn auth_provider(setting: &Setting) -> Result<(), ConfigError> {
    if BUILT_IN_PROVIDERS.contains(&setting.value.as_str()) {
        return Ok(());
    }
    if setting.value.ends_with(".SASLAuthenticationProvider") {
        return Err(not_yet(setting, SASL, SASL_ADVICE));
    }
    if setting.value.ends_with(".X509AuthenticationProvider") {
        return Err(not_yet(setting, TLS, TLS_ADVICE));
    }
    Err(not_yet(setting, "another authentication provider", "Remove it."))
}

fn refuse_if(
    asked: bool,
    setting: &Setting,
    asks_for: &'static str,
    advice: &'static str,
) -> Result<(), ConfigError> {
    if asked { Err(not_yet(setting, asks_for, advice)) } else { Ok(()) }
}

fn not_yet(setting: &Setting, asks_for: &'static str, advice: &'static str) -> ConfigError {
    ConfigError::NotYet {
        origin: setting.origin.clone(),
        key: setting.key.clone(),
        asks_for,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Origin;
    use super::*;

    fn outcome(text: &str) -> Result<(), String> {
        let mut settings = Settings::default();
        settings.add_file("zoo.cfg", text.as_bytes()).unwrap();
        check(&mut settings).map_err(|error| error.to_string())
    }

    #[test]
    fn each_asking_key_is_refused_by_name() {
        for (line, asks_for) in [
            ("secureClientPort=2281", "TLS"),
            ("secureClientPortAddress=localhost", "TLS"),
            ("client.portUnification=true", "TLS"),
            ("sslQuorum=true", "TLS"),
            ("portUnification=true", "TLS"),
            ("ssl.keyStore.location=/k", "TLS"),
            ("ssl.quorum.trustStore.password=p", "TLS"),
            (
                "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
                "TLS",
            ),
            ("quorum.auth.enableSasl=true", "SASL"),
            ("sessionRequireClientSASLAuth=true", "SASL"),
            ("requireClientAuthScheme=sasl", "SASL"),
            ("java.security.auth.login.config=/jaas.conf", "SASL"),
            ("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider", "SASL"),
            ("authProvider.1=com.example.Mine", "another authentication provider"),
            ("enforce.auth.enabled=true", "enforced authentication"),
        ] {
            let key = line.split('=').next().unwrap();
            let error = outcome(&format!("clientPort=1\n{line}\n")).unwrap_err();
            let start = format!("zoo.cfg:2: {key} asks for {asks_for}, ");
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn values_that_ask_for_nothing_are_accepted() {
        for line in [
            "sslQuorum=false",
            "portUnification=False",
            "client.portUnification=false",
            "standaloneEnabled=false",
            "reconfigEnabled=true",
            "group.1=1:2:3",
            "quorum.auth.enableSasl=false",
            "enforce.auth.enabled=false",
            "enforce.auth.schemes=digest",
            "sessionRequireClientSASLAuth=false",
            "authProvider.1=org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
        ] {
            assert_eq!(outcome(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn contradictions_have_javas_words() {
        for (text, words) in [
            (
                "quorum.auth.serverRequireSasl=true",
                "quorum.auth.enableSasl is disabled, \
                 so cannot enable quorum.auth.serverRequireSasl",
            ),
            (
                "quorum.auth.learnerRequireSasl=true",
                "quorum.auth.enableSasl is disabled, \
                 so cannot enable quorum.auth.learnerRequireSasl",
            ),
            (
                "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
                "quorum.auth.learnerRequireSasl is disabled, \
                 so cannot enable quorum.auth.serverRequireSasl",
            ),
        ] {
            let error = outcome(text).unwrap_err();
            assert!(error.ends_with(words), "{error}");
        }
        let error = outcome("sslQuorum=maybe").unwrap_err();
        assert!(error.contains("Choose 'true' or 'false.'"), "{error}");
    }

    #[test]
    fn properties_ask_too_and_the_file_speaks_over_them() {
        let mut settings = Settings::default();
        let origin = Origin::Environment("SERVER_JVMFLAGS");
        settings.add_property("zookeeper.enforce.auth.enabled", "true", origin.clone());
        let error = check(&mut settings).unwrap_err().to_string();
        assert!(
            error.starts_with("SERVER_JVMFLAGS: zookeeper.enforce.auth.enabled asks"),
            "{error}"
        );
        settings.add_file("zoo.cfg", b"enforce.auth.enabled=false").unwrap();
        assert!(check(&mut settings).is_ok());
        settings.add_property("zookeeper.ssl.keyStore.location", "/k", origin.clone());
        assert!(check(&mut settings).is_err());
        let mut settings = Settings::default();
        settings.add_property("java.security.auth.login.config", "/jaas.conf", origin.clone());
        let error = check(&mut settings).unwrap_err().to_string();
        let start = "SERVER_JVMFLAGS: java.security.auth.login.config asks for SASL, ";
        assert!(error.starts_with(start), "{error}");
        // Not a property in Java, so it asks for nothing there.
        let mut settings = Settings::default();
        settings.add_property("zookeeper.secureClientPort", "1", origin);
        assert!(check(&mut settings).is_ok());
    }
}
