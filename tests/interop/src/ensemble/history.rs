//! What sessions asked and were told, and whether it can all be true of one tree.

use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged, at this zxid.
    Done(i64),
    /// The connection ended first: it may have happened, once, or not.
    Unknown,
}

/// A successful conditional set of a shared register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The version that it made.
    pub version: i32,
    /// The value that it wrote.
    pub value: String,
    /// Its zxid.
    pub zxid: i64,
}

/// What a read of a shared register showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The version.
    pub version: i32,
    /// The value.
    pub value: String,
    /// The zxid that set it.
    pub mzxid: i64,
}

/// What one lane did.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Creates of paths that nobody else makes.
    pub creates: BTreeMap<String, Outcome>,
    /// Deletes of such paths.
    pub deletes: BTreeMap<String, Outcome>,
    /// Sets of the lane's own registers, in order.
    pub sets: BTreeMap<String, Vec<(String, Outcome)>>,
    /// Sequential creates: value, outcome, the path where it was told.
    pub sequential: Vec<(String, Outcome, Option<String>)>,
    /// Ephemerals: path, session, outcome.
    pub ephemerals: Vec<(String, i64, Outcome)>,
    /// Conditional sets of shared registers that succeeded.
    pub swaps: BTreeMap<String, Vec<Swap>>,
    /// Values of conditional sets whose end is unknown.
    pub swaps_unknown: BTreeSet<String>,
    /// Reads of shared registers.
    pub seen: BTreeMap<String, BTreeMap<i32, Seen>>,
    /// Sessions that ended.
    pub expired: BTreeSet<i64>,
    /// Connections that took the session up again.
    pub resumed: u64,
    /// Acknowledged writes.
    pub writes: u64,
    /// Answered reads.
    pub reads: u64,
}

impl History {
    /// Judges the lane's own znodes against the final tree.
    ///
    /// # Errors
    /// What cannot be true.
    pub fn judge(&self, tree: &Tree, alive: Option<i64>) -> Result<(), String> {
        self.judge_creates(tree)?;
        self.judge_sets(tree)?;
        self.judge_sequential(tree)?;
        for (path, session, outcome) in &self.ephemerals {
            let znode = tree.get(path);
            let lives = Some(*session) == alive;
            if let Some(znode) = znode {
                if !lives {
                    return Err(format!("{path} outlived its session {session:x}"));
                }
                if znode.ephemeral_owner != *session {
                    return Err(format!("{path} belongs to {:x}", znode.ephemeral_owner));
                }
            } else if lives && matches!(outcome, Outcome::Done(_)) {
                return Err(format!("{path} is gone, its session {session:x} lives"));
            }
        }
        Ok(())
    }

    fn judge_creates(&self, tree: &Tree) -> Result<(), String> {
        for (path, outcome) in &self.creates {
            let znode = tree.get(path);
            let deleted = self.deletes.get(path);
            match (outcome, deleted, znode) {
                (_, Some(Outcome::Done(zxid)), Some(_)) => {
                    return Err(format!("{path}, deleted at 0x{zxid:x}, is there"));
                }
                (Outcome::Done(zxid), None, None) => {
                    return Err(format!("{path}, made at 0x{zxid:x}, is lost"));
                }
                (Outcome::Done(zxid), _, Some(znode)) if znode.czxid != *zxid => {
                    return Err(format!(
                        "{path}, made at 0x{zxid:x}, was made at 0x{:x}",
                        znode.czxid
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn judge_sets(&self, tree: &Tree) -> Result<(), String> {
        for (path, sets) in &self.sets {
            let znode = tree.get(path).ok_or_else(|| format!("{path} is lost"))?;
            let value = String::from_utf8_lossy(znode.data.as_deref().unwrap_or_default());
            let last = sets.iter().rposition(|(_, outcome)| matches!(outcome, Outcome::Done(_)));
            let done = sets.iter().filter(|(_, o)| matches!(o, Outcome::Done(_))).count();
            // From the last acknowledged one on, those of unknown end may have come after it.
            let possible = &sets[last.unwrap_or(0)..];
            let untouched = last.is_none() && value == "0";
            if !untouched && !possible.iter().any(|(written, _)| *written == *value) {
                return Err(format!("{path} is {value:?}; possible: {possible:?}"));
            }
            let version = usize::try_from(znode.version).unwrap_or(0);
            if version < done || version > sets.len() {
                return Err(format!(
                    "{path}: version {version} after {done} acknowledged sets of {}",
                    sets.len()
                ));
            }
        }
        Ok(())
    }

    fn judge_sequential(&self, tree: &Tree) -> Result<(), String> {
        for (value, outcome, path) in &self.sequential {
            let (Outcome::Done(zxid), Some(path)) = (outcome, path) else { continue };
            let znode = tree.get(path).ok_or_else(|| format!("{path} is lost (0x{zxid:x})"))?;
            if znode.data.as_deref() != Some(value.as_bytes()) || znode.czxid != *zxid {
                return Err(format!("{path} is not what {value} made at 0x{zxid:x}: {znode:?}"));
            }
        }
        Ok(())
    }
}

/// Judges what lanes share: sequential creates happen once, versions of a register are made by one
/// lane each and read alike by all.
///
/// # Errors
/// What cannot be true.
pub fn judge_shared(
    histories: &[&History],
    tree: &Tree,
    sequential: &str,
    registers: &[String],
) -> Result<(), String> {
    let mut values = BTreeMap::new();
    for (path, znode) in tree.range(sequential.to_owned()..) {
        if !path.starts_with(sequential) {
            break;
        }
        if let Some(before) = values.insert(znode.data.clone(), path) {
            return Err(format!("one create made both {before} and {path}: {:?}", znode.data));
        }
    }
    let known: BTreeSet<&str> =
        histories.iter().flat_map(|h| &h.sequential).map(|(value, ..)| value.as_str()).collect();
    for (value, path) in &values {
        let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
        if !known.contains(text.as_ref()) {
            return Err(format!("nobody made {path}: {text}"));
        }
    }
    registers.iter().try_for_each(|register| judge_register(histories, tree, register))
}

fn judge_register(histories: &[&History], tree: &Tree, register: &str) -> Result<(), String> {
    let mut made: BTreeMap<i32, (String, i64)> = BTreeMap::new();
    for swap in histories.iter().filter_map(|h| h.swaps.get(register)).flatten() {
        let value = (swap.value.clone(), swap.zxid);
        if let Some(other) = made.insert(swap.version, value) {
            return Err(format!("{register}: {swap:?} and {other:?} both made the version"));
        }
    }
    let unknown: BTreeSet<&String> = histories.iter().flat_map(|h| &h.swaps_unknown).collect();
    let znode = tree.get(register).ok_or_else(|| format!("{register} is lost"))?;
    let last = Seen {
        version: znode.version,
        value: String::from_utf8_lossy(znode.data.as_deref().unwrap_or_default()).into_owned(),
        mzxid: znode.mzxid,
    };
    if let Some((version, acknowledged)) = made.last_key_value()
        && *version > last.version
    {
        return Err(format!("{register}: {acknowledged:?} of version {version} is lost: {last:?}"));
    }
    let reads = histories.iter().filter_map(|h| h.seen.get(register)).flat_map(BTreeMap::values);
    for seen in reads.chain([&last]).filter(|seen| seen.version > 0) {
        match made.get(&seen.version) {
            Some((value, zxid)) if *value == seen.value && *zxid == seen.mzxid => {}
            Some(other) => return Err(format!("{register}: {seen:?} was made as {other:?}")),
            None if unknown.contains(&seen.value) => {
                made.insert(seen.version, (seen.value.clone(), seen.mzxid));
            }
            None => return Err(format!("{register}: nobody wrote {seen:?}")),
        }
    }
    let zxids: Vec<i64> = made.values().map(|(_, zxid)| *zxid).collect();
    if !zxids.is_sorted() {
        return Err(format!("{register}: versions are not in the order of zxids: {made:?}"));
    }
    Ok(())
}
