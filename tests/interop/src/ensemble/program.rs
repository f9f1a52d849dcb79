//! What a member runs.

use crate::server::{java_script, rookeeper_binary, short_epochs_binary};
use std::path::PathBuf;
use std::process::Command;

/// A server's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Apache ZooKeeper of this version, run by `scripts/java-zookeeper.sh`.
    Java(&'static str),
    /// Our binary.
    Rookeeper(PathBuf),
    /// Our server, whose epochs end after so many transactions.
    ShortEpochs(u32),
}

/// The Java that everything is compared with.
pub const JAVA: Program = Program::Java("3.9.5");

/// The last release of each earlier minor version, and the 3.8 that Debian ships.
pub const OLD_JAVA: [&str; 4] = ["3.5.10", "3.6.4", "3.7.2", "3.8.0"];

impl Program {
    /// Our binary as `ROOKEEPER_BIN` names it, or as cargo builds it. `INTEROP_MEMBERS=java` puts
    /// Java in its place.
    pub fn ours() -> Program {
        match std::env::var("INTEROP_MEMBERS").as_deref() {
            Ok("java") => JAVA,
            _ => Program::Rookeeper(rookeeper_binary().to_owned()),
        }
    }

    /// True for Apache ZooKeeper.
    pub fn is_java(&self) -> bool {
        matches!(self, Program::Java(_))
    }

    /// True where transactions carry digests: ours, and Java since 3.6.
    pub fn has_digests(&self) -> bool {
        !matches!(self, Program::Java(version) if version.starts_with("3.5."))
    }

    /// The command without its arguments; `server zoo.cfg -Dname=value ...` follow.
    pub fn command(&self) -> Command {
        match self {
            Program::Java(version) => {
                let mut command = Command::new(java_script());
                command.env("ZOOKEEPER_VERSION", version);
                // Tests start many short-lived servers: the first compiler alone starts fastest.
                command.env("JAVA_FLAGS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto");
                command.env("JAVA_HEAP", "192m").env("JAVA_LOG_LEVEL", "INFO");
                command
            }
            Program::Rookeeper(binary) => Command::new(binary),
            Program::ShortEpochs(count) => {
                let mut command = Command::new(short_epochs_binary());
                command.env("SHORT_EPOCHS", count.to_string());
                command
            }
        }
    }

    /// Fetches what is missing. `Err` where it cannot be had.
    ///
    /// # Errors
    /// What the script says.
    pub fn install(&self) -> Result<(), String> {
        let Program::Java(version) = self else { return Ok(()) };
        let output = Command::new(java_script())
            .env("ZOOKEEPER_VERSION", version)
            .arg("install")
            .output()
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
