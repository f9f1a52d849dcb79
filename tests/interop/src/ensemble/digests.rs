//! Digests of all members, compared, and alarms of members whose trees differ from the leader's.
//!
//! A Java leader sends a snapshot while it goes on applying, so the snapshot holds a part of what
//! the transactions behind it do again; a Java learner then finds its digests wrong until it has
//! passed that overlap, and says so. Seen in ensembles of Java alone. Such alarms, and nothing
//! else, are excused: those of a Java member behind a snapshot from a Java leader.

use super::harness::Ensemble;
use super::member::Member;
use std::collections::BTreeMap;

/// An alarm's line, and the zxid that the member's last snapshot from a leader was announced with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alarm {
    line: String,
    snapshot: Option<String>,
}

fn alarms(log: &str) -> Vec<Alarm> {
    let mut snapshot = None;
    let mut alarms = Vec::new();
    for line in log.lines() {
        if let Some((_, zxid)) = line.split_once("Getting a snapshot from leader 0x") {
            snapshot = Some(zxid.trim().to_owned());
        }
        let alarming = ["Digests are not matching", "First digest mismatch", "digest mismatch"];
        if alarming.iter().any(|words| line.contains(words)) {
            alarms.push(Alarm { line: line.to_owned(), snapshot: snapshot.clone() });
        }
    }
    alarms
}

/// The zxid at the end of an alarm of Java's, which is decimal.
fn alarm_zxid(alarm: &Alarm) -> Option<i64> {
    let (_, value) = alarm.line.rsplit_once("alue:")?;
    value.trim().parse().ok()
}

/// Whether a Java member sent the snapshot that is announced with this zxid.
fn sent_by_java(ensemble: &Ensemble, zxid: &str) -> bool {
    let mut logs = ensemble.members.iter().map(Member::log);
    logs.any(|log| log.contains(&format!("send zxid of db as 0x{zxid},")))
}

/// Digests of equal zxids are equal among all members that run, and no member's log tells of a
/// mismatch that nothing excuses. Returns how many digests were compared.
///
/// # Errors
/// What differs.
pub fn compare(ensemble: &Ensemble) -> Result<usize, String> {
    let mut noted: BTreeMap<i64, (usize, String)> = BTreeMap::new();
    let mut compared = 0;
    for member in ensemble.members.iter().filter(|member| member.program.has_digests()) {
        let from = settled_from(ensemble, member)?;
        for (zxid, digest) in member.digests().range(from..) {
            let id = member.server_id();
            let first = noted.entry(*zxid).or_insert_with(|| (id, digest.clone()));
            compared += usize::from(first.0 != id);
            if first.1 != *digest {
                return Err(format!("digests of 0x{zxid:x}: {first:?}, {id}: {digest}"));
            }
        }
    }
    Ok(compared)
}

/// The zxid from which on the member's digests count: 0 where it never alarmed.
fn settled_from(ensemble: &Ensemble, member: &Member) -> Result<i64, String> {
    let (id, alarms) = (member.server_id(), alarms(&member.log()));
    if alarms.is_empty() {
        return match member.measure("zk_digest_mismatches_count") {
            None | Some(0) => Ok(0),
            Some(count) => Err(format!("member {id} counts {count} digest mismatches")),
        };
    }
    let unexcused = alarms.iter().find(|alarm| {
        let sent = alarm.snapshot.as_ref().is_some_and(|zxid| sent_by_java(ensemble, zxid));
        !member.program.is_java() || !sent
    });
    match unexcused {
        Some(alarm) => Err(format!("member {id} alarms: {alarm:?}")),
        None => Ok(alarms.iter().filter_map(alarm_zxid).max().unwrap_or(0) + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_knows_the_snapshot_before_it_and_its_zxid() {
        let log = "x Digests are not matching. Value is Zxid. Value:7\n\
                   y Getting a snapshot from leader 0x20000000a\n\
                   z [5 times] Message: Digests are not matching. Value is Zxid. Last value:31\n";
        let alarms = alarms(log);
        assert_eq!(alarms.len(), 2);
        assert_eq!((alarms[0].snapshot.as_deref(), alarm_zxid(&alarms[0])), (None, Some(7)));
        assert_eq!(alarms[1].snapshot.as_deref(), Some("20000000a"));
        assert_eq!(alarm_zxid(&alarms[1]), Some(31));
    }
}
