//! Bits that flip, sectors that are zeros, and sectors that are written to a wrong place while a
//! machine is down, and what becomes of its server: what is rotten is refused by name, and whoever
//! runs the server then empties its directory, after which it has to take a snapshot of a leader's
//! before it counts for anything.
//!
//! Who was emptied has no vote until it has a leader's history: so nothing committed is lost
//! however many rot. What a quorum promises beyond that is that things go on, as long as there is
//! one that keeps what it has, in the configuration in force and in each that is on its way. More
//! rot than that is not done. An epoch that becomes another number is beyond Java's format.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rookeeper_jute::{ServerId, Zxid};
use rookeeper_session::Operation;
use rookeeper_store::disk::Chooser;
use rookeeper_store::names::{log_zxid, snapshot_zxid};
use rookeeper_store::{SimulatedDisk, StoreError};
use rookeeper_zab::membership::Membership;

use super::World;
use super::process::server_id;
use crate::checks::Fault;
use crate::dice::Dice;
use crate::machine::Machine;
use crate::recovery::{self, Opened, membership_path};

/// What is rotten on a disk.
#[derive(Debug, Clone)]
pub struct Rot {
    /// The files.
    files: Vec<PathBuf>,
    /// What a start has to find, if it finds anything; `None` once it did.
    had: Option<Zxid>,
}

const CHECK: &str = "rot";
/// How long a request may be on its way to the leader, in microseconds: connections that are cut
/// are mended or closed before.
const ON_ITS_WAY_US: u64 = 16_000_000;

/// What a start with a rotten file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything is there: the file is not needed, or can be done without.
    Harmless,
    /// It was refused, and said why.
    Refused,
}

/// Judges a start: it has everything, or is refused with the name of what is rotten.
fn judge(rot: &Rot, opened: &Result<Opened, StoreError>) -> Result<Outcome, Fault> {
    match opened {
        Ok(opened) => {
            let found = opened.recovered.last_zxid;
            match rot.had {
                Some(had) if found < had => {
                    let (files, repairs) = (&rot.files, &opened.recovered.repairs);
                    let what = format!("{found} is left of {had}: {files:?}, {repairs:?}");
                    Err(Fault::new(CHECK, what))
                }
                _ => Ok(Outcome::Harmless),
            }
        }
        // The disk's own failure says nothing of what is on it.
        Err(StoreError::Io { .. }) => Ok(Outcome::Harmless),
        Err(error) => {
            let text = error.to_string();
            let is_named = |path: &PathBuf| text.contains(&*path.to_string_lossy());
            match rot.files.iter().any(is_named) {
                true => Ok(Outcome::Refused),
                false => Err(Fault::new(CHECK, format!("of {:?} it is said: {text}", rot.files))),
            }
        }
    }
}

/// Whether nothing on a machine is rotten, or was taken away. One that was emptied keeps what it
/// promises again once a leader's epoch is on its disk.
fn is_whole(machine: &Machine) -> bool {
    machine.rot.is_none() && (!machine.is_wiped || machine.epochs[1] > 0)
}

/// What a disk writes at once, in bytes.
const SECTOR_LEN: usize = 512;

/// The files that a server needs, or may need, with what is in them.
fn data_files(disk: &SimulatedDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let is_data = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let is_kept = path.components().any(|part| part.as_os_str() == "quarantine");
        let is_ours = name.ends_with(".rookeeper") || is_epoch(path);
        !is_kept && (is_ours || name.starts_with("log.") || name.starts_with("snapshot."))
    };
    let files = disk.dump().into_iter().filter(|(path, data)| is_data(path) && !data.is_empty());
    files.collect()
}

fn is_epoch(path: &Path) -> bool {
    path.ends_with("currentEpoch") || path.ends_with("acceptedEpoch")
}

/// Lets one of the files rot that is not rotten yet, for what one rot leaves to tell by another
/// may take away; which. Of four numbers two flip a bit, one makes zeros of a sector or
/// eight, one writes a sector where another one belongs.
fn rot_one(
    disk: &SimulatedDisk,
    durable: &SimulatedDisk,
    rotten: &[PathBuf],
    number: u64,
) -> Option<PathBuf> {
    let (mut files, mut dice) = (data_files(disk), Dice::new(number));
    files.retain(|(path, _)| !rotten.contains(path));
    if files.is_empty() {
        return None;
    }
    // Where the log goes on, damage and a torn end are to be told apart.
    let zxid = |path: &Path| log_zxid(&path.file_name()?.to_string_lossy());
    let last_log = files.iter().filter(|(path, _)| zxid(path).is_some());
    let last_log = last_log.max_by_key(|(path, _)| zxid(path)).filter(|_| dice.one_in(3));
    let ends = ends_of_epochs(&files);
    let (path, data) = match last_log {
        // There are few of them.
        _ if !ends.is_empty() && !dice.one_in(3) => dice.pick(&ends),
        Some(last) => last,
        None => dice.pick(&files),
    };
    let sectors = whole_sectors(path, data, durable);
    if number % 2 == 1 || sectors.is_empty() {
        let len = firm_len(path, data, durable);
        flip(disk, path, len, &mut dice);
        return (len > 0).then(|| path.clone());
    }
    let at = sectors.start + dice.index(sectors.len());
    if number.is_multiple_of(4) {
        let len = if dice.one_in(2) { 1 } else { 8 };
        let end = (at + len).min(sectors.end) * SECTOR_LEN;
        let range = at * SECTOR_LEN..end.min(data.len());
        disk.overwrite(path, range.start, &vec![0; range.len()]);
    } else {
        let (_, other) = dice.pick(&files);
        let from = dice.index(other.len().div_ceil(SECTOR_LEN)) * SECTOR_LEN;
        let mut sector = other[from..other.len().min(from + SECTOR_LEN)].to_vec();
        sector.resize(SECTOR_LEN.min(data.len() - at * SECTOR_LEN), 0);
        disk.overwrite(path, at * SECTOR_LEN, &sector);
    }
    Some(path.clone())
}

/// Logs that a start reads, and that the log of a later epoch follows: the first transaction of an
/// epoch does not say how far the one before it went.
fn ends_of_epochs(files: &[(PathBuf, Vec<u8>)]) -> Vec<&(PathBuf, Vec<u8>)> {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let newest = files.iter().filter_map(|(path, _)| snapshot_zxid(&name(path)?)).max();
    let mut logs: Vec<_> =
        files.iter().filter_map(|file| Some((log_zxid(&name(&file.0)?)?, file))).collect();
    logs.sort_by_key(|(first, _)| *first);
    let followed = logs.windows(2).filter(|pair| {
        let (first, next) = (pair[0].0, pair[1].0);
        next.counter() == 1 && newest.is_some_and(|newest| newest.epoch() <= first.epoch())
    });
    followed.map(|pair| pair[0].1).collect()
}

/// The sectors of a file that nobody may take for something else. In a log that is still written,
/// what lacks a sector of its last write is a write that was torn; a log whose header is zeros is
/// one that was never begun; and an epoch in the place of another is beyond Java's format. Where a
/// write is under way, the power may take away with it what tells the one before from a torn one.
fn whole_sectors(path: &Path, data: &[u8], durable: &SimulatedDisk) -> Range<usize> {
    let all = data.len().div_ceil(SECTOR_LEN);
    if is_epoch(path) {
        return 0..0;
    }
    if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
        return 0..all;
    }
    if durable.contents(path).as_deref() != Some(data) {
        return 0..0;
    }
    match data.get(12..16) {
        Some(b"Roop") => 1..all.max(1),
        Some(b"Rook") => 1..(begin_of_last_write(data) / SECTOR_LEN).min(all).max(1),
        _ => 0..0,
    }
}

/// Where the last write of a log began that ended: its mark says so.
fn begin_of_last_write(data: &[u8]) -> usize {
    let mark = data.windows(32).rev().find(|bytes| bytes.starts_with(b"RookMark"));
    let begun = mark.and_then(|mark| mark[20..28].try_into().ok()).map(u64::from_be_bytes);
    begun.and_then(|offset| usize::try_from(offset).ok()).unwrap_or_default()
}

/// How much of a file may have a bit flipped, in bytes. A write that is under way takes the place
/// of the mark of the one before: what that wrote is a torn write's until this one is on disk.
fn firm_len(path: &Path, data: &[u8], durable: &SimulatedDisk) -> usize {
    let durable = durable.contents(path).unwrap_or_default();
    if data.get(12..16) == Some(b"Rook") && durable != data {
        return begin_of_last_write(&durable);
    }
    // What follows the last record of a log is padding.
    data.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1)
}

/// Flips a bit of the first `len` bytes of a file.
fn flip(disk: &SimulatedDisk, path: &Path, len: usize, dice: &mut Dice) {
    let near = if dice.one_in(2) { 120 } else { len };
    if len == 0 {
        return;
    }
    let offset = len - 1 - dice.index(near.min(len));
    // A digit that becomes another one cannot be told from a right one.
    let bit = if is_epoch(path) { dice.between(6, 7) } else { dice.below(8) };
    disk.flip(path, offset, 1 << bit);
}

impl World {
    /// Whether those that keep what they have are a quorum of every configuration that decides, or
    /// may come to, without this server too.
    fn may_rot(&self, server: usize) -> bool {
        let machines = self.machines.iter().enumerate();
        let whole = machines.filter(|(at, machine)| *at != server && is_whole(machine));
        let whole: Vec<ServerId> = whole.map(|(at, _)| server_id(at)).collect();
        let mut deciding = self.lineage.may_decide().peekable();
        deciding.peek().is_some()
            && deciding
                .all(|membership: &Membership| membership.contains_quorum(whole.iter().copied()))
            && !self.may_change()
    }

    /// Whether a change of the ensemble may be on its way to the leader.
    fn may_change(&self) -> bool {
        let since_us = self.queue.now_us().saturating_sub(ON_ITS_WAY_US);
        let recent = self.history.records.iter().rev();
        recent.take_while(|record| record.invoked_us >= since_us).any(|record| {
            let is_change = matches!(record.operation, Operation::Reconfig { .. });
            is_change && record.answer().is_none()
        })
    }

    /// Whether some server may have lost what it had: nobody changes the ensemble then.
    pub(super) fn is_some_rotten(&self) -> bool {
        !self.machines.iter().all(is_whole)
    }

    /// Kills a server and lets a file of its rot, where a quorum's promise allows that.
    pub(super) fn rot(&mut self, server: usize, dice: u64) {
        if !self.may_rot(server) {
            return;
        }
        self.crash(server, false);
        let machine = &mut self.machines[server];
        let whole = machine.disk.after_power_loss(&mut Chooser::Nothing);
        let last_of = |disk: &SimulatedDisk| {
            let opened = recovery::open(&disk.after_kill(), false, !machine.is_wiped);
            opened.ok().map(|opened| opened.recovered.last_zxid)
        };
        // A truncation whose note is written and not durable yet is completed or not: either is all
        // that it had.
        let Some(had) = last_of(&whole).zip(last_of(&machine.disk)) else { return };
        let had = Some(had.0.min(had.1));
        let mut files = machine.rot.as_ref().map_or_else(Vec::new, |rot| rot.files.clone());
        let Some(path) = rot_one(&machine.disk, &whole, &files, dice) else { return };
        files.push(path);
        machine.rot = Some(Rot { files, had });
    }

    /// Whether a start is refused for what is rotten, as it should be.
    pub(super) fn is_refused_for_rot(
        &mut self,
        server: usize,
        opened: &Result<Opened, StoreError>,
    ) -> bool {
        let Some(rot) = &self.machines[server].rot else { return false };
        match judge(rot, opened) {
            Ok(outcome) => outcome == Outcome::Refused,
            Err(fault) => {
                let what = format!("server {server}: {}", fault.what);
                self.fail(CHECK, what);
                false
            }
        }
    }

    /// A server has started in spite of it: from now on it may be told to give up its history.
    pub(super) fn forget_what_it_had(&mut self, server: usize) {
        if let Some(rot) = &mut self.machines[server].rot {
            rot.had = None;
        }
    }

    /// Empties the directory of a server that does not start.
    pub(super) fn wipe(&mut self, server: usize) {
        self.report.wiped += 1;
        let machine = &mut self.machines[server];
        let disk = SimulatedDisk::new();
        // Its configuration is no data: in front of a leader it is who it was.
        for path in [membership_path(false), membership_path(true)] {
            if let Some(text) = machine.disk.contents(&path) {
                disk.put(&path, &text);
            }
        }
        machine.disk = disk;
        machine.rot = None;
        machine.is_wiped = true;
        machine.epochs = [-1, -1];
        self.start_later(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (SimulatedDisk, Opened) {
        let disk = SimulatedDisk::new();
        let opened = recovery::open(&disk, false, true).unwrap();
        (disk, opened)
    }

    #[test]
    fn what_is_missing_or_refused_without_a_name_is_found() {
        let file = PathBuf::from("/data/version-2/log.1");
        let rot = |had| Rot { files: vec![file.clone()], had };
        let of = |had| judge(&rot(had), &Ok(opened().1));
        assert_eq!(of(Some(Zxid::ZERO)), Ok(Outcome::Harmless));
        assert_eq!(of(None), Ok(Outcome::Harmless));
        assert!(of(Some(Zxid(1))).is_err(), "a transaction is gone");
        let damaged = |path: &str| {
            Err(StoreError::EpochDamaged { path: path.into(), content: String::new() })
        };
        assert_eq!(judge(&rot(None), &damaged("/data/version-2/log.1")), Ok(Outcome::Refused));
        assert!(judge(&rot(None), &damaged("/data/version-2/log.2")).is_err(), "another file");
    }

    #[test]
    fn logs_that_end_an_epoch_behind_the_newest_snapshot_are_known() {
        let files = |names: &[&str]| -> Vec<(PathBuf, Vec<u8>)> {
            names.iter().map(|name| (Path::new("/data/version-2").join(name), vec![1])).collect()
        };
        let logs =
            ["log.100000001", "log.100000005", "log.200000001", "log.300000001", "log.40000000a"];
        let found = |snapshot| {
            let files = files(&[&logs[..], &[snapshot]].concat());
            let ends = ends_of_epochs(&files);
            ends.iter().map(|(path, _)| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("snapshot.100000003"), [logs[1], logs[2]]);
        assert_eq!(found("snapshot.200000001"), [logs[2]]);
        assert!(found("snapshot.300000000").is_empty());
    }

    #[test]
    fn a_rotten_epoch_is_never_a_number() {
        let (disk, opened) = opened();
        drop(opened);
        for name in ["currentEpoch", "acceptedEpoch"] {
            disk.put(&Path::new("/data/version-2").join(name), b"37");
        }
        let mut rotten = 0;
        for seed in 0..200 {
            let disk = disk.after_kill();
            let path = rot_one(&disk, &disk, &[], seed).expect("there are files");
            if path.to_string_lossy().ends_with("Epoch") {
                rotten += 1;
                let error = recovery::open(&disk, false, true).map(drop).expect_err("refused");
                assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            }
        }
        assert!(rotten > 20, "{rotten}");
    }
}
