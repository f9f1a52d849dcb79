//! Changes of the history that are made wholly or not at all: a leader's history in the place of
//! this one, and the removal of this one's end.
//!
//! First everything that is needed is durable, then a note of what is to be done ([`marker`]); from
//! then on the change is certain. Every step can be repeated, so an interrupted change is completed
//! when the directory is opened again; without a note what was staged is removed, and nothing of
//! the old history was touched. At every step what lies there is also a history that a Java server
//! could go on with: the leader's snapshot comes before its predecessors leave.

pub(crate) mod marker;

use std::path::Path;

use crate::error::StoreError;
use crate::log::truncate::{self, check_interrupted, set_aside};
use crate::names::{STAGED_PREFIX, SWITCH_FILE};
use crate::recovery::Repair;
use crate::store::Shared;

use marker::{Change, Marker};

/// Carries out a change whose note is durable, or what is left of it.
pub(crate) fn complete(shared: &Shared, marker: &Marker) -> Result<(), StoreError> {
    match &marker.change {
        Change::Install { snapshot, logs } => install(shared, marker, snapshot, logs)?,
        Change::Truncate { zxid } => truncate::cut_after(shared, *zxid)?,
    }
    Marker::remove(shared)
}

fn install(
    shared: &Shared,
    marker: &Marker,
    snapshot: &str,
    logs: &[String],
) -> Result<(), StoreError> {
    if put_in_place(shared, &shared.snapshot_dir, snapshot)? {
        shared.sync_dir(&shared.snapshot_dir)?;
    }
    let names = shared.list(&shared.log_dir)?;
    for old in &marker.old_logs {
        let in_place =
            logs.contains(&old.name) && !names.contains(&format!("{STAGED_PREFIX}{}", old.name));
        if names.contains(&old.name) && !in_place {
            set_aside(shared, &shared.log_dir, &old.name)?;
        }
    }
    let names = shared.list(&shared.snapshot_dir)?;
    for old in marker.old_snapshots.iter().filter(|old| old.name != snapshot) {
        if names.contains(&old.name) {
            set_aside(shared, &shared.snapshot_dir, &old.name)?;
        }
    }
    for log in logs {
        put_in_place(shared, &shared.log_dir, log)?;
    }
    shared.sync_dir(&shared.log_dir)
}

/// Gives a staged file its name; `false` if it has it already.
fn put_in_place(shared: &Shared, dir: &Path, name: &str) -> Result<bool, StoreError> {
    let (staged, path) = (dir.join(format!("{STAGED_PREFIX}{name}")), dir.join(name));
    if shared.disk.info(&staged).map_err(StoreError::io("look at", &staged))?.is_none() {
        return Ok(false);
    }
    shared.disk.rename(&staged, &path).map_err(StoreError::io("rename to", &path))?;
    Ok(true)
}

/// Completes a change that was interrupted, or removes what was staged for one that never became
/// certain.
pub(crate) fn resume(shared: &Shared) -> Result<(), StoreError> {
    let Some(marker) = Marker::read(shared)? else {
        return remove_staged(shared);
    };
    let repair = if marker.is_void(shared)? {
        for dir in [&shared.snapshot_dir, &shared.log_dir] {
            for name in shared.list(dir)? {
                if name.starts_with(STAGED_PREFIX) {
                    set_aside(shared, dir, &name)?;
                }
            }
        }
        let kept = set_aside(shared, &shared.snapshot_dir, SWITCH_FILE)?;
        Repair::SwitchVoid { kept }
    } else {
        if let Change::Truncate { zxid } = marker.change {
            check_interrupted(shared, zxid)?;
        }
        complete(shared, &marker)?;
        match marker.change {
            Change::Install { snapshot, .. } => Repair::InstallCompleted { snapshot },
            Change::Truncate { zxid } => Repair::TruncationCompleted { zxid },
        }
    };
    shared.state().repairs.push(repair);
    Ok(())
}

/// Removes files that were staged, and a note that was not finished.
pub(crate) fn remove_staged(shared: &Shared) -> Result<(), StoreError> {
    for dir in [&shared.snapshot_dir, &shared.log_dir] {
        for name in shared.list(dir)? {
            if name.starts_with(STAGED_PREFIX) || name == format!("{SWITCH_FILE}.tmp") {
                let path = dir.join(name);
                shared.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
    }
    Ok(())
}
