//! The words of the command line and the `-D` settings around them, as a JVM and
//! `ZooKeeperServerMain` take them.

use super::error::{ConfigError, Origin};

/// Environment variables whose `-D` options are taken, in Java's script's order: a later one
/// speaks over an earlier one, the command line over both.
pub const FLAG_VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

/// A call of the server.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// `[zoo.cfg]` or `port datadir [ticktime] [maxcnxns]`.
    pub words: Vec<String>,
    /// Names and values of `-Dname=value`, with their places; later ones speak over earlier ones.
    pub properties: Vec<(String, String, Origin)>,
}

impl Invocation {
    /// Takes the arguments after `server`, and the environment through `variable`. Other options of
    /// a JVM (`-Xmx1000m`, `-XX:...`) are passed over.
    ///
    /// # Errors
    /// An option that neither a JVM nor this server has.
    pub fn new(
        arguments: impl IntoIterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut call = Invocation::default();
        for name in FLAG_VARIABLES {
            for option in variable(name).unwrap_or_default().split_whitespace() {
                call.take_property(option, &Origin::Environment(name));
            }
        }
        for argument in arguments {
            if call.take_property(&argument, &Origin::Argument) || is_jvm_option(&argument) {
                continue;
            }
            if argument.starts_with('-') && argument.len() > 1 {
                return Err(ConfigError::Invocation(format!("unknown option {argument}")));
            }
            call.words.push(argument);
        }
        Ok(call)
    }

    fn take_property(&mut self, option: &str, origin: &Origin) -> bool {
        let Some(setting) = option.strip_prefix("-D").filter(|setting| !setting.is_empty()) else {
            return false;
        };
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        self.properties.push((name.to_string(), value.to_string(), origin.clone()));
        true
    }
}

fn is_jvm_option(argument: &str) -> bool {
    ["-X", "-server", "-ea", "-javaagent:", "-agentlib:", "-verbose:"]
        .iter()
        .any(|prefix| argument.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
        Invocation::new(arguments.iter().map(|a| a.to_string()), |name| {
            environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn words_and_settings_are_told_apart() {
        let call = call(
            &["-Xmx1g", "zoo.cfg", "-Dzookeeper.snapCount=5", "-Dempty", "-Da=b=c"],
            &[
                ("JVMFLAGS", " -Dzookeeper.snapCount=4  -XX:+UseSerialGC"),
                ("SERVER_JVMFLAGS", "-Xmx1000m -Dzookeeper.snapCount=3"),
            ],
        )
        .unwrap();
        assert_eq!(call.words, ["zoo.cfg"]);
        let all: Vec<_> = call
            .properties
            .iter()
            .map(|(n, v, o)| (n.as_str(), v.as_str(), o.to_string()))
            .collect();
        let line = || "command line (-D)".to_string();
        assert_eq!(
            all,
            [
                ("zookeeper.snapCount", "3", "SERVER_JVMFLAGS".to_string()),
                ("zookeeper.snapCount", "4", "JVMFLAGS".to_string()),
                ("zookeeper.snapCount", "5", line()),
                ("empty", "", line()),
                ("a", "b=c", line()),
            ]
        );
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = call(&["--bogus"], &[]).unwrap_err().to_string();
        assert_eq!(error, "unknown option --bogus");
    }
}
