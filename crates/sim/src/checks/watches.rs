//! Watches that fire once: each at most once, for a change that came after it was left, before any
//! reply that shows that change, and none lost.

use std::collections::BTreeMap;

use rookeeper_jute::{ErrorCode, Zxid};
use rookeeper_session::{EventKind, Operation, WatchToken};

use super::Fault;
use crate::history::{Fired, History, Record, Returned};
use crate::model::{Replayed, Touch};

const CHECK: &str = "watches";

/// What a watch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    /// Left on a znode that was not there.
    Missing,
    Children,
}

struct Left<'h> {
    record: &'h Record,
    returned: &'h Returned,
    path: &'h str,
    kind: Kind,
}

fn left_by<'h>(record: &'h Record, returned: &'h Returned) -> Option<(WatchToken, Left<'h>)> {
    let ok = returned.result.is_ok();
    let (path, watch, kind) = match &record.operation {
        Operation::GetData { path, watch } if ok => (path, watch, Kind::Data),
        Operation::Exists { path, watch } if ok => (path, watch, Kind::Data),
        Operation::Exists { path, watch } if returned.result == Err(ErrorCode::NoNode) => {
            (path, watch, Kind::Missing)
        }
        Operation::GetChildren { path, watch } | Operation::GetChildren2 { path, watch } if ok => {
            (path, watch, Kind::Children)
        }
        _ => return None,
    };
    Some(((*watch)?, Left { record, returned, path, kind }))
}

/// Whether a change concerns a watch.
fn concerns(kind: Kind, touch: Touch) -> bool {
    match kind {
        Kind::Data => matches!(touch, Touch::Changed | Touch::Deleted | Touch::Created),
        Kind::Missing => matches!(touch, Touch::Created | Touch::Changed | Touch::Deleted),
        Kind::Children => matches!(touch, Touch::Children | Touch::Deleted),
    }
}

fn announces(kind: EventKind, touch: Touch) -> bool {
    matches!(
        (kind, touch),
        (EventKind::Created, Touch::Created)
            | (EventKind::Deleted, Touch::Deleted)
            | (EventKind::DataChanged, Touch::Changed)
            | (EventKind::ChildrenChanged, Touch::Children)
    )
}

type Changes<'r> = BTreeMap<&'r str, Vec<(Zxid, Touch)>>;

/// Looks at all one-shot watches.
pub(super) fn check(history: &History, replayed: &[Replayed]) -> Result<(), Fault> {
    let mut changes: Changes<'_> = BTreeMap::new();
    for txn in replayed {
        for (path, touch) in &txn.touched {
            changes.entry(path).or_default().push((txn.zxid, *touch));
        }
    }
    let mut fired: BTreeMap<WatchToken, Vec<&Fired>> = BTreeMap::new();
    for event in &history.fired {
        fired.entry(event.watch).or_default().push(event);
    }
    // By handle: places and zxids of all replies, in order.
    let mut replies: BTreeMap<usize, Vec<(u64, Zxid)>> = BTreeMap::new();
    for (record, returned) in history.answered() {
        replies.entry(record.handle).or_default().push((returned.order, returned.zxid));
    }
    replies.values_mut().for_each(|list| list.sort());
    for (record, returned) in history.answered() {
        let Some((token, left)) = left_by(record, returned) else { continue };
        // It was left on what was never committed: whatever comes next is a change.
        if history.branches.contains_key(&returned.zxid) {
            continue;
        }
        let events = fired.get(&token).map_or(&[][..], Vec::as_slice);
        let seen = &replies[&record.handle];
        let lost = history.lost.get(&record.handle).map_or(&[][..], Vec::as_slice);
        check_one(&left, events, &changes, seen, lost)?;
    }
    Ok(())
}

fn fault(left: &Left<'_>, what: &str) -> Fault {
    let Record { handle, session, .. } = left.record;
    let (path, kind, zxid) = (left.path, left.kind, left.returned.zxid);
    let who =
        format!("client {handle}, session {session}, {kind:?} watch on {path} left at {zxid}");
    Fault::new(CHECK, format!("{who}: {what}"))
}

fn check_one(
    left: &Left<'_>,
    events: &[&Fired],
    changes: &Changes<'_>,
    replies: &[(u64, Zxid)],
    lost: &[u64],
) -> Result<(), Fault> {
    if events.len() > 1 {
        return Err(fault(left, &format!("fired {} times", events.len())));
    }
    let (order, zxid) = (left.returned.order, left.returned.zxid);
    let of_path = changes.get(left.path).map_or(&[][..], Vec::as_slice);
    let mut later = of_path.iter().filter(|(at, touch)| *at > zxid && concerns(left.kind, *touch));
    let event = events.first();
    if let Some(Fired { event, .. }) = event {
        let justified = |(at, touch): &(Zxid, Touch)| {
            announces(event.kind, *touch) && (*at == event.zxid || event.zxid == Zxid::NONE)
                || event.zxid == Zxid::NONE && concerns(left.kind, *touch)
        };
        if !later.clone().any(justified) {
            return Err(fault(left, &format!("{event:?} and no such change since")));
        }
    }
    let Some((first, _)) = later.next() else { return Ok(()) };
    let until = event.map_or(u64::MAX, |fired| fired.order);
    // A znode that came and went while nobody was connected is not noticed, in Java either.
    let unnoticed = left.kind == Kind::Missing && lost.iter().any(|at| (order..until).contains(at));
    if unnoticed {
        return Ok(());
    }
    let start = replies.partition_point(|(at, _)| *at <= order);
    let shown = replies[start..].iter().take_while(|(at, _)| *at < until);
    if let Some((_, shown)) = shown.into_iter().find(|(_, shown)| shown >= first) {
        let what = format!("a reply showed {shown} before an event told of {first}");
        return Err(fault(left, &what));
    }
    Ok(())
}
