//! Names of files and directories, as Java gives and sorts them (Java: `persistence.Util`).

use rookeeper_jute::Zxid;

use crate::config::Compression;

/// The directory of Java's format below the data directory and the log directory.
pub const VERSION_DIR: &str = "version-2";
/// What was set aside, beside [`VERSION_DIR`].
pub const QUARANTINE_DIR: &str = "quarantine";
/// Locked by the process that uses a data directory, beside [`VERSION_DIR`].
pub const LOCK_FILE: &str = "rookeeper.lock";
/// Its presence beside the logs' [`VERSION_DIR`] lets an empty database be trusted.
pub const INITIALIZE_FILE: &str = "initialize";
/// The log being prepared; neither Java nor we take it for a log.
pub const NEXT_LOG_FILE: &str = "next-log.tmp";
/// Names of unfinished snapshots start so; neither Java nor we take them for snapshots.
pub const NEXT_SNAPSHOT_PREFIX: &str = "next-snapshot.";

/// Files of a history that is to take another's place start so until it does, followed by the name
/// that they get then; neither Java nor we take them for logs or snapshots.
pub const STAGED_PREFIX: &str = "staged-";
/// Says beside the snapshots that the history is being switched, and how.
pub const SWITCH_FILE: &str = "switch.rookeeper";
/// What is known of our own snapshots, beside their [`VERSION_DIR`].
pub const SNAPSHOT_INDEX_FILE: &str = "snapshots.rookeeper";

/// `log.<zxid of the first transaction in hexadecimal>`.
pub fn log_name(first: Zxid) -> String {
    format!("log.{:x}", first.0)
}

/// `snapshot.<zxid in hexadecimal>` with the compression's suffix.
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.suffix())
}

/// The zxid in a name: the second part between dots, as Java parses it.
fn zxid_of(name: &str, prefix: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let zxid = i64::from_str_radix(parts.next()?, 16).ok()?;
    (zxid >= 0).then_some(Zxid(zxid))
}

/// The zxid of a log's name. Whatever follows a second dot is ignored, as in Java, for which
/// `log.5.old` is a log as well.
pub fn log_zxid(name: &str) -> Option<Zxid> {
    zxid_of(name, "log")
}

/// The zxid of a snapshot's name.
pub fn snapshot_zxid(name: &str) -> Option<Zxid> {
    zxid_of(name, "snapshot")
}

/// How a snapshot of this name is compressed (Java: `SnapStream.getStreamMode`): by its last
/// part, any unknown one being plain.
pub fn snapshot_compression(name: &str) -> Compression {
    match name.rsplit('.').next() {
        Some(suffix) if suffix.eq_ignore_ascii_case("gz") => Compression::Gzip,
        Some(suffix) if suffix.eq_ignore_ascii_case("snappy") => Compression::Snappy,
        _ => Compression::None,
    }
}

/// Logs among names, oldest first; equal zxids in the order of the names.
pub fn logs(names: &[String]) -> Vec<(Zxid, String)> {
    sorted(names, log_zxid)
}

/// Snapshots among names, newest first.
pub fn snapshots(names: &[String]) -> Vec<(Zxid, String)> {
    let mut snapshots = sorted(names, snapshot_zxid);
    snapshots.reverse();
    snapshots
}

fn sorted(names: &[String], zxid: fn(&str) -> Option<Zxid>) -> Vec<(Zxid, String)> {
    let mut found: Vec<(Zxid, String)> =
        names.iter().filter_map(|name| Some((zxid(name)?, name.clone()))).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_java_s() {
        assert_eq!(log_name(Zxid(0x1_0000_0001)), "log.100000001");
        assert_eq!(snapshot_name(Zxid(0), Compression::None), "snapshot.0");
        assert_eq!(snapshot_name(Zxid(0x3_0000_0007), Compression::Gzip), "snapshot.300000007.gz");
        assert_eq!(snapshot_name(Zxid(10), Compression::Snappy), "snapshot.a.snappy");
    }

    #[test]
    fn zxids_are_read_as_java_reads_them() {
        assert_eq!(log_zxid("log.1f"), Some(Zxid(0x1f)));
        assert_eq!(log_zxid("log.1f.old"), Some(Zxid(0x1f)));
        assert_eq!(log_zxid("log"), None);
        assert_eq!(log_zxid("log.xyz"), None);
        assert_eq!(log_zxid("snapshot.1"), None);
        assert_eq!(log_zxid(NEXT_LOG_FILE), None);
        assert_eq!(snapshot_zxid("snapshot.a.gz"), Some(Zxid(10)));
        assert_eq!(snapshot_zxid("next-snapshot.a"), None);
        assert_eq!(log_zxid("log.ffffffffffffffffff"), None);
        assert_eq!(log_zxid("log.-5"), None);
    }

    #[test]
    fn logs_are_sorted_by_number_and_not_by_letter() {
        let names: Vec<String> =
            ["log.10", "log.9", "snapshot.3", "log.100000000"].map(String::from).into();
        let found: Vec<String> = logs(&names).into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, ["log.9", "log.10", "log.100000000"]);
    }
}
