//! Real time against the order of zxids, each session's own order, sync, and that nothing happens
//! twice.

use std::collections::BTreeMap;

use rookeeper_jute::{OpCode, SessionId, Zxid};

use super::Fault;
use super::linear::is_sync;
use crate::history::{History, Record, Returned};
use crate::model::Replayed;

/// The highest zxid of all writes that had returned at a time.
struct Known {
    /// Times and the highest zxid known from then on.
    steps: Vec<(u64, Zxid)>,
}

impl Known {
    fn new(history: &History) -> Self {
        let writes = history.answered().filter(|(record, _)| record.is_write());
        let mut steps: Vec<(u64, Zxid)> =
            writes.map(|(_, returned)| (returned.at_us, returned.zxid)).collect();
        steps.sort();
        let mut highest = Zxid::ZERO;
        for (_, zxid) in &mut steps {
            highest = highest.max(*zxid);
            *zxid = highest;
        }
        Known { steps }
    }

    /// What had returned before `at_us`.
    fn before(&self, at_us: u64) -> Zxid {
        let count = self.steps.partition_point(|(returned_us, _)| *returned_us < at_us);
        if count == 0 { Zxid::ZERO } else { self.steps[count - 1].1 }
    }
}

fn told(record: &Record, returned: &Returned, what: &str) -> String {
    let Record { handle, session, operation, .. } = record;
    format!("client {handle}, session {session}: {operation:?} at {}: {what}", returned.zxid)
}

/// A write that began after another one had returned comes after it.
pub(super) fn real_time(history: &History) -> Result<(), Fault> {
    let known = Known::new(history);
    for (record, returned) in history.answered().filter(|(record, _)| record.is_write()) {
        let before = known.before(record.invoked_us);
        if returned.zxid <= before {
            let what = format!("began after {before} had been answered");
            return Err(Fault::new("real time", told(record, returned, &what)));
        }
    }
    Ok(())
}

/// What a session is told never goes back, over all its connections.
pub(super) fn sessions(history: &History) -> Result<(), Fault> {
    let mut answers: Vec<(&Record, &Returned)> = history.answered().collect();
    answers.sort_by_key(|(_, returned)| returned.order);
    let mut seen: BTreeMap<(usize, SessionId), Zxid> = BTreeMap::new();
    for (record, returned) in answers {
        let last = seen.entry((record.handle, record.session)).or_insert(Zxid::ZERO);
        if returned.zxid < *last {
            let what = format!("after {last} had been seen");
            return Err(Fault::new("time goes back", told(record, returned, &what)));
        }
        *last = returned.zxid;
    }
    Ok(())
}

/// A read that was sent after a sync sees all that had returned before the sync was sent.
pub(super) fn sync_then_read(history: &History) -> Result<(), Fault> {
    let known = Known::new(history);
    let mut answers: Vec<(&Record, &Returned)> = history.answered().collect();
    answers.sort_by_key(|(_, returned)| returned.order);
    let mut floor: BTreeMap<usize, Zxid> = BTreeMap::new();
    for (record, returned) in answers {
        let least = floor.entry(record.handle).or_insert(Zxid::ZERO);
        if returned.zxid < *least {
            let what = format!("after a sync that began when {least} had been answered");
            return Err(Fault::new("sync and read", told(record, returned, &what)));
        }
        if is_sync(&record.operation) && returned.result.is_ok() {
            *least = (*least).max(known.before(record.invoked_us));
        }
    }
    Ok(())
}

/// The requests of a session are committed in the order of their numbers, but for sessions that
/// moved to a program that begins anew.
pub(super) fn numbers(history: &History, replayed: &[Replayed]) -> Result<(), Fault> {
    let mut last: BTreeMap<SessionId, i32> = BTreeMap::new();
    for txn in replayed {
        // Java looks at no session when a container is deleted.
        let is_request = txn.err == 0
            && txn.op != OpCode::DeleteContainer.to_i32()
            && txn.op != OpCode::Error.to_i32()
            && txn.op != OpCode::CreateSession.to_i32()
            && txn.cxid.0 > 0;
        if !is_request || history.moved.contains(&txn.session) {
            continue;
        }
        let number = last.entry(txn.session).or_insert(0);
        if txn.cxid.0 <= *number {
            let what = format!(
                "request {} of session {} is committed at {} after request {number}",
                txn.cxid, txn.session, txn.zxid
            );
            return Err(Fault::new("session order", what));
        }
        *number = txn.cxid.0;
    }
    Ok(())
}

/// All that clients write is distinct, so what is written twice was done twice; and a write whose
/// outcome its client does not know comes after all that had returned before it began.
pub(super) fn once(history: &History, replayed: &[Replayed]) -> Result<(), Fault> {
    let known = Known::new(history);
    let mut seen: BTreeMap<&[u8], Zxid> = BTreeMap::new();
    for txn in replayed {
        for (path, data) in &txn.written {
            let Some(data) = data.as_deref().filter(|data| !data.is_empty()) else { continue };
            if let Some(before) = seen.insert(data, txn.zxid) {
                let data = String::from_utf8_lossy(data);
                let what = format!("{data:?} is written by {before} and by {} to {path}", txn.zxid);
                return Err(Fault::new("exactly once", what));
            }
            let token = std::str::from_utf8(data).ok().and_then(|text| text.split('.').next());
            let record = token.and_then(|token| history.records.get(token.parse::<usize>().ok()?));
            let Some(record) = record else { continue };
            let before = known.before(record.invoked_us);
            if txn.zxid <= before {
                let what =
                    format!("{:?} began after {before} and is {}", record.operation, txn.zxid);
                return Err(Fault::new("real time", what));
            }
        }
    }
    Ok(())
}
