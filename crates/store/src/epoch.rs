//! The epoch files of a member of an ensemble: `currentEpoch` and `acceptedEpoch` beside the
//! snapshots, decimal text, replaced atomically (Java: `QuorumPeer.writeLongToFile`,
//! `AtomicFileOutputStream`).

use rookeeper_jute::Zxid;

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

/// Both epochs of a member, as they hold at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// The epoch of the last leader that it synchronised with.
    pub current: i64,
    /// The last epoch that it promised to a leader.
    pub accepted: i64,
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

    /// Reads both epochs at the start of a member whose last transaction is `last`, and writes
    /// those that are missing, as on the way from a standalone server, from that (Java:
    /// `QuorumPeer.loadDataBase`).
    ///
    /// Java refuses where the last transaction is of a later epoch than the current one. A server
    /// that stops between making a leader's transactions durable and writing the current epoch
    /// leaves just that (ZOOKEEPER-2354): it had accepted the leader's epoch before, so up to the
    /// accepted epoch it is legal, and the current epoch stays what it is.
    ///
    /// # Errors
    /// [`StoreError::EpochBehindLog`], [`StoreError::EpochsContradict`],
    /// [`StoreError::EpochDamaged`]; the operating system's.
    pub fn epochs(&self, last: Zxid) -> Result<Epochs, StoreError> {
        let of_last = i64::from(last.max(Zxid::ZERO).epoch());
        let (found_current, found_accepted) =
            (self.epoch(EpochFile::Current)?, self.epoch(EpochFile::Accepted)?);
        let current = found_current.unwrap_or(of_last);
        let accepted = found_accepted.unwrap_or(of_last);
        let directory = || self.shared.snapshot_dir.clone();
        let behind = found_accepted.is_none_or(|accepted| of_last > accepted);
        if of_last > current && behind {
            return Err(StoreError::EpochBehindLog {
                directory: directory(),
                current,
                accepted,
                last,
            });
        }
        if accepted < current {
            return Err(StoreError::EpochsContradict { directory: directory(), current, accepted });
        }
        // The accepted epoch first, so that it is never the lesser one.
        if found_accepted.is_none() {
            self.set_epoch(EpochFile::Accepted, accepted)?;
        }
        if found_current.is_none() {
            self.set_epoch(EpochFile::Current, current)?;
        }
        Ok(Epochs { current, accepted })
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
