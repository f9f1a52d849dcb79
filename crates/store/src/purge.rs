//! Removes old snapshots and logs (Java: `PurgeTxnLog`).
//!
//! Only snapshots that were read to their last seal count as valid (ZOOKEEPER-3231: newer ones that
//! are damaged must not push out the older one that recovery needs). Snapshots go first and oldest
//! first, so that none is ever left without its logs. What recovery and changes of history set
//! aside is emptied at the same time, but for the newest of each kind; and before each of them sets
//! more aside, so that this stays bounded where nobody purges, and all of the last one is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rookeeper_jute::Zxid;

use crate::error::StoreError;
use crate::log::cursor::logs_after;
use crate::names::{QUARANTINE_DIR, logs, snapshot_compression, snapshots};
use crate::recovery::open_snapshot;
use crate::snapshot::{Nowhere, load};
use crate::store::Shared;

/// Java refuses to keep fewer snapshots.
pub const RETAIN_MIN: usize = 3;

/// How many files of each kind stay in the quarantine directory when old ones are removed.
pub const QUARANTINE_RETAIN: usize = 3;

/// A file that was removed, or could not be.
#[derive(Debug)]
pub struct Purged {
    /// The file.
    pub path: PathBuf,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
    /// Why it is still there, if it is.
    pub failure: Option<std::io::Error>,
}

/// What is left after old files were removed.
#[derive(Debug, Default)]
pub struct Purge {
    /// What was removed, or could not be.
    pub files: Vec<Purged>,
    /// The first transaction of the oldest log that is needed, after which nothing was removed;
    /// `None` where that is not known.
    pub logs_from: Option<Zxid>,
}

impl Purged {
    /// The line that Java prints, with the time in UTC.
    pub fn line(&self) -> String {
        let path = self.path.display();
        match &self.failure {
            None => format!("Removing file: {}\t{path}", date_time(self.modified_ms)),
            Some(_) => format!("Failed to remove {path}"),
        }
    }
}

/// A time as Java's `DateFormat.getDateTimeInstance()` writes it in English.
fn date_time(ms: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = (hour + 11) % 12 + 1;
    let month = MONTHS[month as usize];
    format!("{month} {day}, {year}, {hour}:{minute:02}:{second:02} {half}")
}

/// Whether a snapshot can be read from header to last seal; each is read at most once.
pub(crate) fn is_valid(shared: &Shared, zxid: Zxid, name: &str) -> Result<bool, StoreError> {
    let opened = open_snapshot(shared, zxid, name);
    let (info, path, file) = match opened {
        Ok(opened) => opened,
        Err(StoreError::SnapshotDamaged { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let print = (info.len, info.modified_ms);
    if shared.state().verified.get(name) == Some(&print) {
        return Ok(true);
    }
    let compression = snapshot_compression(name);
    match load(&*file, &path, compression, shared.config.record_len_max, &mut Nowhere) {
        Ok(_) => {
            shared.state().verified.insert(name.to_string(), print);
            Ok(true)
        }
        Err(StoreError::SnapshotDamaged { .. } | StoreError::RecordTooLong { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn purge(shared: &Shared, retain: usize) -> Result<Purge, StoreError> {
    assert!(retain >= RETAIN_MIN, "count should be greater than or equal to 3");
    let generation = shared.state().generation;
    let found = snapshots(&shared.list(&shared.snapshot_dir)?);
    let mut valid = 0;
    let mut oldest = None;
    for (zxid, name) in &found {
        if is_valid(shared, *zxid, name)? {
            valid += 1;
            oldest = Some(*zxid);
        }
        if valid == retain {
            break;
        }
    }
    let _files = shared.files();
    if shared.state().generation != generation {
        // Another history took the place of the one that was looked at.
        return Ok(Purge::default());
    }
    let mut purged = purge_quarantine(shared)?;
    let Some(oldest) = oldest else { return Ok(Purge { files: purged, logs_from: None }) };
    let old = found.iter().rev().filter(|(zxid, _)| *zxid < oldest);
    for (_, name) in old {
        purged.push(remove(shared, shared.snapshot_dir.join(name))?);
        shared.state().verified.remove(name);
    }
    shared.sync_dir(&shared.snapshot_dir)?;
    let needed = logs_after(shared, oldest)?;
    let logs_from = needed.first().map(|(first, _)| *first);
    let needed: BTreeSet<PathBuf> = needed.into_iter().map(|(_, path)| path).collect();
    let before = purged.len();
    for (zxid, name) in logs(&shared.list(&shared.log_dir)?) {
        let path = shared.log_dir.join(name);
        if zxid < oldest && !needed.contains(&path) {
            purged.push(remove(shared, path)?);
        }
    }
    if purged.len() > before {
        shared.sync_dir(&shared.log_dir)?;
    }
    Ok(Purge { files: purged, logs_from })
}

/// Makes room for what is about to be set aside. Where that fails there is more than there has to
/// be, and the next time tries again.
pub(crate) fn make_room_in_quarantine(shared: &Shared) {
    let _ = purge_quarantine(shared);
}

/// Removes what was set aside long ago: of each kind (what a name says before its first dot) the
/// files that changed last stay, [`QUARANTINE_RETAIN`] of them.
fn purge_quarantine(shared: &Shared) -> Result<Vec<Purged>, StoreError> {
    let mut dirs = vec![shared.config.data_dir.join(QUARANTINE_DIR)];
    if shared.config.data_log_dir != shared.config.data_dir {
        dirs.push(shared.config.data_log_dir.join(QUARANTINE_DIR));
    }
    let mut purged = Vec::new();
    for dir in dirs {
        if shared.disk.info(&dir).map_err(StoreError::io("look at", &dir))?.is_none() {
            continue;
        }
        let mut kinds: BTreeMap<String, Vec<(i64, PathBuf)>> = BTreeMap::new();
        for name in shared.list(&dir)? {
            let path = dir.join(&name);
            let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
            if let Some(info) = info.filter(|info| !info.is_dir) {
                let kind = name.split('.').next().unwrap_or_default().to_string();
                kinds.entry(kind).or_default().push((info.modified_ms, path));
            }
        }
        let before = purged.len();
        for mut files in kinds.into_values() {
            files.sort();
            let old = files.len().saturating_sub(QUARANTINE_RETAIN);
            for (_, path) in files.into_iter().take(old) {
                purged.push(remove(shared, path)?);
            }
        }
        if purged.len() > before {
            shared.sync_dir(&dir)?;
        }
    }
    Ok(purged)
}

fn remove(shared: &Shared, path: PathBuf) -> Result<Purged, StoreError> {
    let info = shared.disk.info(&path).map_err(StoreError::io("look at", &path))?;
    let modified_ms = info.map_or(0, |info| info.modified_ms);
    let failure = shared.disk.remove(&path).err();
    Ok(Purged { path, modified_ms, failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_java_writes_them() {
        assert_eq!(date_time(0), "Jan 1, 1970, 12:00:00 AM");
        assert_eq!(date_time(951_827_696_000), "Feb 29, 2000, 12:34:56 PM");
        assert_eq!(date_time(1_795_370_400_000), "Nov 22, 2026, 6:00:00 PM");
        assert_eq!(date_time(1_767_225_599_000), "Dec 31, 2025, 11:59:59 PM");
    }
}
