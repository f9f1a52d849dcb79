//! The note that makes a change of history whole: once it is durable the change will be carried
//! out, by this process or by the next one.
//!
//! It lists the logs and snapshots that are there, with their lengths and times. If a Java server,
//! which does not know the note, used the directory before the change was complete, the files are
//! no longer these: the note is void then, and what that server wrote is the history.

use std::path::{Path, PathBuf};

use rookeeper_jute::Zxid;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::names::{SWITCH_FILE, log_zxid, snapshot_zxid};
use crate::store::Shared;

/// The first line; a later format has another one.
const TITLE: &str = "rookeeper switch 1";

/// No note is longer, in bytes.
const LEN_MAX: u64 = 16 << 20;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Staged files take the place of all logs and snapshots.
    Install {
        /// The name that the snapshot gets.
        snapshot: String,
        /// The names that the logs get, oldest first.
        logs: Vec<String>,
    },
    /// Everything after a transaction goes.
    Truncate {
        /// The last one that stays.
        zxid: Zxid,
    },
}

/// A file that was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OldFile {
    pub(crate) name: String,
    len: u64,
    modified_ms: i64,
}

/// The note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) change: Change,
    pub(crate) old_snapshots: Vec<OldFile>,
    pub(crate) old_logs: Vec<OldFile>,
}

impl Marker {
    /// Of the files that are there, which are synced so that a power loss changes neither length
    /// nor time of any.
    pub(crate) fn of(shared: &Shared, change: Change) -> Result<Marker, StoreError> {
        let old_snapshots = old_files(shared, &shared.snapshot_dir, is_snapshot)?;
        let old_logs = old_files(shared, &shared.log_dir, is_log)?;
        Ok(Marker { change, old_snapshots, old_logs })
    }

    /// Writes the note; the change is certain when this returns.
    pub(crate) fn write(&self, shared: &Shared) -> Result<(), StoreError> {
        let path = path(shared);
        let next = shared.snapshot_dir.join(format!("{SWITCH_FILE}.tmp"));
        let file = shared.disk.create(&next).map_err(StoreError::io("create", &next))?;
        let content = self.encode();
        file.write_at(0, content.as_bytes()).map_err(StoreError::io("write", &next))?;
        file.sync_all().map_err(StoreError::io("sync", &next))?;
        shared.disk.rename(&next, &path).map_err(StoreError::io("rename to", &path))?;
        shared.sync_dir(&shared.snapshot_dir)
    }

    /// The note, if there is one.
    pub(crate) fn read(shared: &Shared) -> Result<Option<Marker>, StoreError> {
        let path = path(shared);
        if shared.disk.info(&path).map_err(StoreError::io("look at", &path))?.is_none() {
            return Ok(None);
        }
        let file = shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
        let content = content_of(&*file, LEN_MAX).map_err(StoreError::io("read", &path))?;
        match Marker::parse(&content) {
            Some(marker) => Ok(Some(marker)),
            None => {
                let reason = "its checksum is wrong or its format unknown".into();
                Err(StoreError::SwitchDamaged { path, reason })
            }
        }
    }

    /// The change is complete.
    pub(crate) fn remove(shared: &Shared) -> Result<(), StoreError> {
        let path = path(shared);
        shared.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
        shared.sync_dir(&shared.snapshot_dir)
    }

    /// Whether another used the directory since: a file is new, or an old one was changed.
    pub(crate) fn is_void(&self, shared: &Shared) -> Result<bool, StoreError> {
        for dir in [&shared.snapshot_dir, &shared.log_dir] {
            for name in shared.list(dir)? {
                if !(is_log(&name) || is_snapshot(&name)) || self.may_change(&name) {
                    continue;
                }
                let path = dir.join(&name);
                let mut known = self.old_snapshots.iter().chain(&self.old_logs);
                let Some(old) = known.find(|old| old.name == name) else { return Ok(true) };
                let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
                let same = |len, modified_ms| (len, modified_ms) == (old.len, old.modified_ms);
                if info.is_some_and(|info| !same(info.len, info.modified_ms)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the change itself brings this file, or cuts it.
    fn may_change(&self, name: &str) -> bool {
        match &self.change {
            Change::Install { snapshot, logs } => {
                name == snapshot || logs.iter().any(|log| log == name)
            }
            Change::Truncate { zxid } => log_zxid(name).is_some_and(|first| first <= *zxid),
        }
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        match &self.change {
            Change::Install { snapshot, logs } => {
                text.push_str(&format!("install {snapshot}\n"));
                for log in logs {
                    text.push_str(&format!("log {log}\n"));
                }
            }
            Change::Truncate { zxid } => text.push_str(&format!("truncate {}\n", zxid.0)),
        }
        for (kind, files) in [("old-snapshot", &self.old_snapshots), ("old-log", &self.old_logs)] {
            for OldFile { name, len, modified_ms } in files {
                text.push_str(&format!("{kind} {len} {modified_ms} {name}\n"));
            }
        }
        seal(text)
    }

    pub(crate) fn parse(content: &[u8]) -> Option<Marker> {
        let mut lines = unseal(content)?.split_terminator('\n');
        lines.next().filter(|title| *title == TITLE)?;
        let (kind, value) = lines.next()?.split_once(' ')?;
        let mut change = match kind {
            "install" => Change::Install { snapshot: value.to_string(), logs: Vec::new() },
            "truncate" => Change::Truncate { zxid: Zxid(value.parse().ok()?) },
            _ => return None,
        };
        let (mut old_snapshots, mut old_logs) = (Vec::new(), Vec::new());
        for line in lines {
            match (line.split_once(' ')?, &mut change) {
                (("log", name), Change::Install { logs, .. }) => logs.push(name.to_string()),
                (("old-snapshot", file), _) => old_snapshots.push(OldFile::parse(file)?),
                (("old-log", file), _) => old_logs.push(OldFile::parse(file)?),
                _ => return None,
            }
        }
        Some(Marker { change, old_snapshots, old_logs })
    }
}

impl OldFile {
    fn parse(line: &str) -> Option<OldFile> {
        let mut parts = line.splitn(3, ' ');
        let (len, modified_ms) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(OldFile { name: parts.next()?.to_string(), len, modified_ms })
    }
}

/// Text with its checksum as its last line.
pub(crate) fn seal(mut text: String) -> String {
    let checksum = simd_adler32::adler32(&text.as_bytes());
    text.push_str(&format!("checksum {checksum:08x}\n"));
    text
}

/// The text before the checksum, if that is right.
pub(crate) fn unseal(content: &[u8]) -> Option<&str> {
    let content = std::str::from_utf8(content).ok()?;
    let (text, checksum) = content.strip_suffix('\n')?.rsplit_once('\n')?;
    let text = &content[..text.len() + 1];
    let stored = u32::from_str_radix(checksum.strip_prefix("checksum ")?, 16).ok()?;
    (stored == simd_adler32::adler32(&text.as_bytes())).then_some(text)
}

/// All of a file, or its beginning if it is longer than any of ours.
pub(crate) fn content_of(file: &dyn DiskFile, len_max: u64) -> std::io::Result<Vec<u8>> {
    let len = file.file_len()?.min(len_max);
    let mut content = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(0, &mut content)?;
    content.truncate(read);
    Ok(content)
}

fn path(shared: &Shared) -> PathBuf {
    shared.snapshot_dir.join(SWITCH_FILE)
}

fn is_log(name: &str) -> bool {
    log_zxid(name).is_some()
}

fn is_snapshot(name: &str) -> bool {
    snapshot_zxid(name).is_some()
}

fn old_files(
    shared: &Shared,
    dir: &Path,
    is_ours: fn(&str) -> bool,
) -> Result<Vec<OldFile>, StoreError> {
    let mut files = Vec::new();
    for name in shared.list(dir)?.into_iter().filter(|name| is_ours(name)) {
        let path = dir.join(&name);
        let file = shared.disk.open_for_write(&path).map_err(StoreError::io("open", &path))?;
        file.sync_all().map_err(StoreError::io("sync", &path))?;
        let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
        if let Some(info) = info {
            files.push(OldFile { name, len: info.len, modified_ms: info.modified_ms });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> OldFile {
        OldFile { name: name.into(), len: 17, modified_ms: -5 }
    }

    #[test]
    fn a_note_comes_back_and_no_damaged_one_does() {
        let changes = [
            Change::Truncate { zxid: Zxid::new(3, 7) },
            Change::Install { snapshot: "snapshot.5".into(), logs: vec![] },
            Change::Install {
                snapshot: "snapshot.5.gz".into(),
                logs: vec!["log.6".into(), "log.9".into()],
            },
        ];
        for change in changes {
            let marker = Marker {
                change,
                old_snapshots: vec![file("snapshot.1 of 2")],
                old_logs: vec![file("log.2"), file("log.3")],
            };
            let content = marker.encode().into_bytes();
            assert_eq!(Marker::parse(&content), Some(marker));
            for at in 0..content.len() {
                let mut damaged = content.clone();
                damaged[at] ^= 1;
                assert_eq!(Marker::parse(&damaged), None, "{at}");
                assert_eq!(Marker::parse(&content[..at]), None, "{at}");
            }
        }
    }

    #[test]
    fn a_line_ends_with_a_line_feed_alone() {
        let content = seal(format!("{TITLE}\ninstall snapshot.5\r\r\n"));
        let marker = Marker::parse(content.as_bytes()).expect("a note");
        assert_eq!(marker.encode(), content);
    }

    proptest::proptest! {
        /// With the right checksum, any lines are a note or none.
        #[test]
        fn any_sealed_lines_are_read(
            lines in proptest::collection::vec(
                "(install|truncate|log|old-log|old-snapshot)?( ?[-a-z0-9.]{0,8}){0,4}",
                0..6,
            ),
            titled: bool,
        ) {
            let title = if titled { TITLE } else { "" };
            let content = seal(format!("{title}\n{}\n", lines.join("\n")));
            if let Some(marker) = Marker::parse(content.as_bytes()) {
                assert_eq!(Marker::parse(marker.encode().as_bytes()), Some(marker));
            }
        }
    }
}
