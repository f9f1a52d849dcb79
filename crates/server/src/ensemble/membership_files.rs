//! The files of a configuration that may change while servers run: `zoo.cfg.dynamic.next` holds
//! the one proposed last, `zoo.cfg.dynamic.<version>` the committed one, and the configuration
//! file points to it (Java: `QuorumPeer.setQuorumVerifier`, `setLastSeenQuorumVerifier`,
//! `QuorumPeerConfig.writeDynamicConfig`, `editStaticConfig`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rookeeper_jute::ServerId;
use rookeeper_store::Disk;
use rookeeper_zab::membership::Membership;

use crate::config::{EnsembleConfig, NEXT_SUFFIX, read_properties};

/// No configuration file is longer, in bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The files beside one configuration file.
pub(crate) struct MembershipFiles {
    disk: Arc<dyn Disk>,
    me: ServerId,
    /// `None` where nothing is written: reconfiguration is off, or there is no file.
    config_file: Option<PathBuf>,
    committed: i64,
    last_seen: i64,
}

impl MembershipFiles {
    /// The files of a configuration, which are on disk from now on: a process that was killed while
    /// it wrote them leaves what the power could still take away. Where servers stand in the file
    /// itself, it is kept as it is beside the one that a reconfiguration writes (`zoo.cfg.bak`).
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn new(disk: Arc<dyn Disk>, config: &EnsembleConfig) -> io::Result<Self> {
        let config_file = config.config_file.clone().filter(|_| config.reconfig_enabled);
        let files = MembershipFiles {
            disk,
            me: config.me,
            config_file,
            committed: config.committed.version(),
            last_seen: config.last_seen.version(),
        };
        if let Some(path) = &files.config_file {
            files.sync(path)?;
            if config.servers_in_config_file {
                let text = files.read(path)?;
                files.replace(&with_suffix(path, ".bak"), &text)?;
            }
        }
        Ok(files)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let next = with_suffix(path, NEXT_SUFFIX);
        for path in [path, &self.dynamic(path, self.committed), &next] {
            if self.disk.info(path)?.is_some() {
                self.disk.open(path)?.sync_all()?;
            }
        }
        self.disk.sync_dir(parent(path))
    }

    fn dynamic(&self, path: &Path, version: i64) -> PathBuf {
        with_suffix(path, &format!(".dynamic.{version:x}"))
    }

    /// Writes a configuration, durably: the committed one, or one that is only proposed.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write(&mut self, membership: &Membership, last_seen: bool) -> io::Result<()> {
        let Some(path) = self.config_file.clone() else { return Ok(()) };
        let version = membership.version();
        let next = with_suffix(&path, NEXT_SUFFIX);
        if last_seen {
            if version != self.last_seen {
                self.replace(&next, text(membership, true).as_bytes())?;
                self.last_seen = version;
            }
            return Ok(());
        }
        if version <= self.committed {
            return Ok(());
        }
        let dynamic = self.dynamic(&path, version);
        self.replace(&dynamic, text(membership, false).as_bytes())?;
        let own = membership.member(self.me);
        let own_client = own.is_some_and(|member| member.client.is_some());
        let edited = edit(&self.read(&path)?, &dynamic, own_client)?;
        self.replace(&path, &edited)?;
        self.committed = version;
        self.last_seen = self.last_seen.max(version);
        if version == self.last_seen && self.disk.info(&next)?.is_some() {
            self.disk.remove(&next)?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path)?;
        let len = file.file_len()?;
        if len > FILE_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "no configuration file"));
        }
        let mut text = vec![0; usize::try_from(len).expect("checked to be short")];
        let read = file.read_at(0, &mut text)?;
        text.truncate(read);
        Ok(text)
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let next = with_suffix(path, ".tmp");
        let file = self.disk.create(&next)?;
        file.write_at(0, text)?;
        file.sync_all()?;
        self.disk.rename(&next, path)?;
        self.disk.sync_dir(parent(path))
    }
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The lines of a dynamic file, sorted as Java sorts them, without a newline at the end.
fn text(membership: &Membership, with_version: bool) -> String {
    let whole = membership.to_string();
    let mut lines: Vec<&str> = whole.lines().collect();
    lines.retain(|line| with_version || !line.starts_with("version"));
    lines.sort_unstable();
    lines.join("\n")
}

/// The configuration file without what stands in the dynamic file, and with a pointer to it. As in
/// Java comments are lost; other than there the order stays.
fn edit(text: &[u8], dynamic: &Path, without_client_port: bool) -> io::Result<Vec<u8>> {
    let properties = read_properties(text).map_err(io::Error::other)?;
    let mut edited = String::new();
    for property in properties {
        let mut dynamic_keys = vec!["server.", "group", "weight", "dynamicConfigFile", "peerType"];
        if without_client_port {
            dynamic_keys.push("clientPort");
        }
        let key = property.key.trim();
        if !dynamic_keys.iter().any(|prefix| key.starts_with(prefix)) {
            edited.push_str(&format!("{key}={}\n", escape(property.value.trim())));
        }
    }
    let dynamic = std::path::absolute(dynamic)?;
    edited.push_str(&format!("dynamicConfigFile={}\n", escape(&dynamic.display().to_string())));
    Ok(edited.into_bytes())
}

/// A value as a properties file holds it.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for unit in value.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some('\\') => escaped.push_str("\\\\"),
            Some(c) if c == ' ' || c.is_ascii_graphic() => escaped.push(c),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use rookeeper_store::disk::Chooser;
    use rookeeper_store::{RealDisk, SimulatedDisk};
    use rookeeper_zab::membership::MembershipRules;

    use super::*;
    use crate::config::{self, Invocation};

    const THREE: &str = "server.1=a:1:2:participant;0.0.0.0:2181\n\
                         server.2=b:1:2:participant;0.0.0.0:2182\n\
                         server.3=c:1:2:observer;0.0.0.0:2183\n\
                         server.4=d:1:2:participant;0.0.0.0:2184\n";

    fn membership(version: i64) -> Membership {
        let rules = MembershipRules::default();
        Membership::parse(THREE, &rules).unwrap().with_version(version)
    }

    fn files(path: &Path, reconfig_enabled: bool) -> MembershipFiles {
        MembershipFiles {
            disk: Arc::new(RealDisk),
            me: ServerId(2),
            config_file: Some(path.to_path_buf()).filter(|_| reconfig_enabled),
            committed: 0,
            last_seen: 0,
        }
    }

    #[test]
    fn a_committed_configuration_takes_the_place_of_the_proposed_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zoo.cfg");
        let before = "# mine\ntickTime=2000\ndataDir=/d a\\\\ta\nclientPort=2182\n\
                      peerType=observer\n\
                      server.1=a:1:2\nweight.1=1\ngroup.1=1\n";
        std::fs::write(&path, before).unwrap();
        let mut files = files(&path, true);
        files.write(&membership(0x1_0000_0002), true).unwrap();
        let next = directory.path().join("zoo.cfg.dynamic.next");
        let text = std::fs::read_to_string(&next).unwrap();
        assert_eq!(text, format!("{THREE}version=100000002"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);

        files.write(&membership(0x1_0000_0002), false).unwrap();
        assert!(!next.exists());
        let dynamic = directory.path().join("zoo.cfg.dynamic.100000002");
        assert_eq!(std::fs::read_to_string(&dynamic).unwrap(), THREE.trim_end());
        let expected =
            format!("tickTime=2000\ndataDir=/d a\\\\ta\ndynamicConfigFile={}\n", dynamic.display());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);

        files.write(&membership(0x1_0000_0001), false).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            expected,
            "an older one is not written"
        );
    }

    #[test]
    fn a_client_port_of_the_file_stays_where_the_servers_line_has_none() {
        let edited = edit(b"clientPort=2181\nserver.1=a:1:2\n", Path::new("/x/y.dynamic.1"), false);
        let text = String::from_utf8(edited.unwrap()).unwrap();
        assert_eq!(text, "clientPort=2181\ndynamicConfigFile=/x/y.dynamic.1\n");
    }

    #[test]
    fn without_reconfiguration_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zoo.cfg");
        let mut files = files(&path, false);
        files.write(&membership(5), true).unwrap();
        files.write(&membership(5), false).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    /// What the next start reads from a disk.
    fn load(disk: &SimulatedDisk) -> EnsembleConfig {
        let read = |path: &Path, _: u64| Ok(disk.contents(path));
        let call = Invocation::new(["/conf/zoo.cfg".to_string()], |_| None).unwrap();
        config::load(&call, &read).unwrap().ensemble.unwrap()
    }

    /// The first leader gives the configuration of the file a version; then it is changed.
    const STEPS: [(i64, bool); 4] = [(5, true), (5, false), (9, true), (9, false)];

    #[test]
    fn a_power_cut_at_any_operation_leaves_files_of_one_configuration() {
        let before = SimulatedDisk::new();
        let text = format!(
            "dataDir=/data\ninitLimit=5\nsyncLimit=2\nreconfigEnabled=true\n{}",
            THREE.replace("0.0.0.0:", "")
        );
        before.put(Path::new("/conf/zoo.cfg"), text.as_bytes());
        before.put(Path::new("/data/myid"), b"2");
        for point in 1.. {
            let disk = before.after_kill();
            disk.lose_power_at(disk.operations() + point);
            let done = write_steps(&disk);
            for chooser in [Chooser::Nothing, Chooser::Everything]
                .into_iter()
                .chain((0..16).map(Chooser::Random))
            {
                let context = format!("point {point}, {done} steps done, {chooser:?}");
                let found = load(&disk.after_power_loss(&mut chooser.clone()));
                let versions = (found.committed.version(), found.last_seen.version());
                // What the step that was under way leaves, or what the one before it left.
                // While servers stand in the configuration file, no other file counts, as in Java.
                let wanted = [
                    [(0, 0), (0, 0)],
                    [(0, 0), (5, 5)],
                    [(5, 5), (5, 9)],
                    [(5, 9), (9, 9)],
                    [(9, 9), (9, 9)],
                ][done];
                assert!(wanted.contains(&versions), "{context}: {versions:?}");
                assert_eq!(found.committed.members().count(), 4, "{context}");
                assert_eq!(found.last_seen.members().count(), 4, "{context}");
            }
            // What a start goes by after a kill stays.
            let killed = disk.after_kill();
            let found = load(&killed);
            MembershipFiles::new(Arc::new(killed.clone()), &found).unwrap();
            let again = load(&killed.after_power_loss(&mut Chooser::Nothing));
            let kept = again.committed.version() >= found.committed.version()
                && again.last_seen.version() >= found.last_seen.version();
            assert!(kept, "point {point}, {done} steps done");
            if done == STEPS.len() {
                return;
            }
        }
    }

    /// How many of the steps were done before the power went out.
    fn write_steps(disk: &SimulatedDisk) -> usize {
        let Ok(mut files) = MembershipFiles::new(Arc::new(disk.clone()), &load(disk)) else {
            return 0;
        };
        let mut is_done = |&(version, last_seen): &(i64, bool)| {
            files.write(&membership(version), last_seen).is_ok()
        };
        STEPS.iter().take_while(|step| is_done(step)).count()
    }
}
