//! The epoch files of a member of an ensemble: `currentEpoch` and `acceptedEpoch` beside the
//! snapshots, decimal text, replaced atomically (Java: `QuorumPeer.writeLongToFile`,
//! `AtomicFileOutputStream`).

use rookeeper_jute::mutation::{self, Mutation};

use crate::error::StoreError;
use crate::store::Store;

/// Which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochFile {
    /// The epoch of the last leader that this server synchronised with.
    Current,
    /// The last epoch that this server promised to a leader.
    Accepted,
}

impl EpochFile {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            EpochFile::Current => "currentEpoch",
            EpochFile::Accepted => "acceptedEpoch",
        }
    }
}

/// No epoch has more digits.
const CONTENT_LEN_MAX: usize = 64;

/// Reads an epoch file's content: as in Java its first line, a decimal number.
pub fn parse(content: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(content).ok()?;
    let line = text.split(['\n', '\r']).next()?;
    line.parse().ok().filter(|epoch| *epoch >= 0)
}

impl Store {
    /// Reads an epoch; `None` if it was never written.
    ///
    /// # Errors
    /// [`StoreError::EpochDamaged`]; the operating system's.
    pub fn epoch(&self, which: EpochFile) -> Result<Option<i64>, StoreError> {
        let path = self.shared.snapshot_dir.join(which.name());
        let file = match self.shared.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        let mut content = [0; CONTENT_LEN_MAX];
        let len = file.read_at(0, &mut content).map_err(StoreError::io("read", &path))?;
        let content = &content[..len];
        match parse(content) {
            Some(epoch) => Ok(Some(epoch)),
            None => {
                let content = String::from_utf8_lossy(content).into_owned();
                Err(StoreError::EpochDamaged { path, content })
            }
        }
    }

    /// Replaces an epoch; it is durable when this returns.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_epoch(&self, which: EpochFile, epoch: i64) -> Result<(), StoreError> {
        let dir = &self.shared.snapshot_dir;
        let (path, next) = (dir.join(which.name()), dir.join(format!("{}.tmp", which.name())));
        let file = self.shared.disk.create(&next).map_err(StoreError::io("create", &next))?;
        let content = epoch.to_string();
        file.write_at(0, content.as_bytes()).map_err(StoreError::io("write", &next))?;
        if mutation::is_on(Mutation::EpochUnsynced) {
            let renamed = self.shared.disk.rename(&next, &path);
            return renamed.map_err(StoreError::io("rename to", &path));
        }
        file.sync_all().map_err(StoreError::io("sync", &next))?;
        self.shared.disk.rename(&next, &path).map_err(StoreError::io("rename to", &path))?;
        self.shared.sync_dir(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_the_first_line_s_number() {
        assert_eq!(parse(b"3"), Some(3));
        assert_eq!(parse(b"12\n"), Some(12));
        assert_eq!(parse(b"12\r\nrest"), Some(12));
        for damaged in [&b""[..], b" 3", b"x", b"-1", b"99999999999999999999", b"\xff"] {
            assert_eq!(parse(damaged), None, "{damaged:?}");
        }
    }
}
