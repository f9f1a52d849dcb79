//! Whether a write stays within its quota (Java: `ZooKeeperServer.checkQuota`).

use std::fmt;

use rookeeper_jute::ErrorCode;

use super::{StatsTrack, limits_path, stats_path};
use crate::tree::Tree;

/// A quota that a write exceeds. Hard limits go before soft ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The subtree.
    pub root: String,
    /// Whether it is about bytes; else about znodes.
    pub is_bytes: bool,
    /// Whether the limit is hard: the write is refused.
    pub is_hard: bool,
    /// What the subtree would have.
    pub current: i64,
    /// What it may have.
    pub limit: i64,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuotaExceeded { root, is_bytes, is_hard, current, limit } = self;
        let unit = if *is_bytes { "bytes" } else { "znodes" };
        let kind = if *is_hard { "hard" } else { "soft" };
        write!(f, "quota on {root} exceeded: {current} {unit}, the {kind} limit is {limit}")
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Within all limits, or without a quota.
    Within,
    /// Beyond one: the first hard one, else the last soft one.
    Exceeded(QuotaExceeded),
}

/// Checks a change of `bytes` and `count` at `path` against the statistics as applied: changes
/// that are pending do not count, so that a burst may overshoot, as in Java.
///
/// # Errors
/// MarshallingError where limits or statistics cannot be read, as in Java.
pub fn check(tree: &Tree, path: &str, bytes: i64, count: i64) -> Result<Verdict, ErrorCode> {
    let Some(root) = tree.quota_roots().longest_above(path) else { return Ok(Verdict::Within) };
    let Some(limits) = read(tree, &limits_path(root))? else { return Ok(Verdict::Within) };
    let counts = count != 0 && (limits.count() > -1 || limits.count_hard_limit() > -1);
    let weighs = bytes != 0 && (limits.bytes() > -1 || limits.bytes_hard_limit() > -1);
    if !counts && !weighs {
        return Ok(Verdict::Within);
    }
    let Some(stats) = read(tree, &stats_path(root))? else { return Ok(Verdict::Within) };
    let mut verdict = Verdict::Within;
    let checks = [
        (counts, false, stats.count(), count, limits.count(), limits.count_hard_limit()),
        (weighs, true, stats.bytes(), bytes, limits.bytes(), limits.bytes_hard_limit()),
    ];
    for (applies, is_bytes, current, change, soft, hard) in checks {
        let is_hard = hard > -1;
        let limit = if is_hard { hard } else { soft };
        let current = current.saturating_add(change);
        if applies && current > limit {
            let root = root.to_owned();
            verdict = Verdict::Exceeded(QuotaExceeded { root, is_bytes, is_hard, current, limit });
            if is_hard {
                break;
            }
        }
    }
    Ok(verdict)
}

fn read(tree: &Tree, path: &str) -> Result<Option<StatsTrack>, ErrorCode> {
    let Some(id) = tree.znodes().lookup(path) else { return Ok(None) };
    match StatsTrack::parse(tree.znodes().data(id)) {
        Some(stats) => Ok(Some(stats)),
        None => Err(ErrorCode::MarshallingError),
    }
}
