//! Writes in the order of their zxids, each against the state that it meets; reads against the
//! state at the zxid of their reply.

use rookeeper_jute::{ErrorCode, Zxid};
use rookeeper_session::{Operation, Reply};

use super::answers::{check_read, check_write, is_the_write, predict};
use super::configurations::check_reconfig;
use super::{Committed, Fault};
use crate::history::{History, Record, Returned};
use crate::model::{Model, Replayed};

const CHECK: &str = "linearizable";

/// An error that says nothing of the state: the session is over or elsewhere.
fn is_about_the_session(code: ErrorCode) -> bool {
    use ErrorCode::{ConnectionLoss, SessionExpired, SessionMoved, ThrottledOp};
    matches!(code, ConnectionLoss | SessionExpired | SessionMoved | ThrottledOp)
}

fn fault(record: &Record, returned: &Returned, what: &str) -> Fault {
    let Record { handle, session, operation, .. } = record;
    let zxid = returned.zxid;
    let what = format!("client {handle}, session {session}, {zxid}: {operation:?}: {what}");
    Fault::new(CHECK, what)
}

/// Replays everything.
pub(super) fn check(
    history: &History,
    txns: &[Committed],
) -> Result<(Model, Vec<Replayed>), Fault> {
    let mut writes: Vec<(&Record, &Returned)> = Vec::new();
    let mut reads: Vec<(&Record, &Returned)> = Vec::new();
    for (at, record) in history.records.iter().enumerate() {
        let Some(returned) = record.answer() else { continue };
        if returned.result.as_ref().is_err_and(|code| is_about_the_session(*code)) {
            continue;
        }
        // A server without a leader shows the configuration by which it goes: it may know of a
        // later one than its tree has.
        let is_alone = history.read_only.contains(&(at as u64));
        if is_alone && matches!(record.operation, Operation::GetConfig { .. }) {
            continue;
        }
        if history.branches.contains_key(&returned.zxid) && !record.is_write() {
            read_on_branch(history, record, returned)?;
            continue;
        }
        if record.is_write() { &mut writes } else { &mut reads }.push((record, returned));
    }
    writes.sort_by_key(|(_, returned)| returned.zxid);
    reads.sort_by_key(|(_, returned)| returned.zxid);
    let mut writes = writes.into_iter().peekable();
    let mut reads = reads.into_iter().peekable();
    let mut model = first_state(history);
    let mut replayed = Vec::with_capacity(txns.len());
    let places = txns.iter().map(|(zxid, bytes)| (*zxid, Some(bytes)));
    for (zxid, bytes) in places.chain([(Zxid(i64::MAX), None)]) {
        while let Some((record, returned)) = reads.next_if(|(_, read)| read.zxid < zxid) {
            read(&model, record, returned)?;
        }
        if let Some((record, returned)) = writes.next_if(|(_, write)| write.zxid < zxid) {
            return Err(fault(record, returned, "no transaction has this zxid"));
        }
        let Some(bytes) = bytes else { break };
        let write = writes.next_if(|(_, write)| write.zxid == zxid);
        let step = step(&mut model, bytes, write)?;
        if let Some((record, returned)) = writes.next_if(|(_, write)| write.zxid == zxid) {
            return Err(fault(record, returned, "another write was answered with this zxid"));
        }
        replayed.push(step);
    }
    Ok((model, replayed))
}

fn first_state(history: &History) -> Model {
    let mut model = Model::default();
    if let Some(text) = &history.first {
        model.begin_with(text);
    }
    model
}

fn read(model: &Model, record: &Record, returned: &Returned) -> Result<(), Fault> {
    let last = model.last_zxid();
    if returned.zxid != last && returned.zxid.counter() != 0 {
        let what = format!("answered at a zxid that is not in the history, which has {last}");
        return Err(fault(record, returned, &what));
    }
    check_read(model, &record.operation, record.session, &returned.result)
        .map_err(|what| fault(record, returned, &what))
}

/// A server without a leader may show what was never committed: but not what never was.
fn read_on_branch(history: &History, record: &Record, returned: &Returned) -> Result<(), Fault> {
    let mut model = first_state(history);
    for (_, txn) in &history.branches[&returned.zxid] {
        model.replay(txn).map_err(|what| Fault::new(CHECK, what))?;
    }
    read(&model, record, returned)
}

fn step(
    model: &mut Model,
    bytes: &[u8],
    write: Option<(&Record, &Returned)>,
) -> Result<Replayed, Fault> {
    if let Some((record, returned)) = write
        && matches!(record.operation, Operation::Reconfig { .. })
    {
        return reconfigured(model, bytes, record, returned);
    }
    let prediction = write.map(|(record, _)| predict(model, &record.operation, record.session));
    let replayed = model.replay(bytes).map_err(|what| Fault::new(CHECK, what))?;
    let (Some((record, returned)), Some(prediction)) = (write, prediction) else {
        return Ok(replayed);
    };
    let fault = |what: &str| fault(record, returned, what);
    if replayed.session != record.session {
        return Err(fault(&format!("the transaction is of session {}", replayed.session)));
    }
    match (&prediction, &returned.result) {
        (Err(expected), Err(code)) if expected == code => {
            let same = replayed.err == code.to_i32();
            same.then_some(()).ok_or_else(|| fault("the transaction has another error"))?;
        }
        (Err(expected), Ok(Reply::Multi(parts))) => {
            let blamed = parts.iter().filter_map(|part| part.as_ref().err());
            let mut blamed = blamed
                .filter(|code| !matches!(code, ErrorCode::Ok | ErrorCode::RuntimeInconsistency));
            let same = blamed.next() == Some(expected) && replayed.err == expected.to_i32();
            same.then_some(())
                .ok_or_else(|| fault(&format!("it should fail with {expected:?}")))?;
        }
        (Ok(paths), Ok(reply)) => {
            if !is_the_write(&record.operation, &replayed.written) {
                return Err(fault(&format!("the transaction wrote {:?}", replayed.written)));
            }
            check_write(model, &record.operation, reply, paths).map_err(|what| fault(&what))?;
        }
        (expected, got) => {
            let what = format!("answered {got:?} where the state says {expected:?}");
            return Err(fault(&what));
        }
    }
    Ok(replayed)
}

fn reconfigured(
    model: &mut Model,
    bytes: &[u8],
    record: &Record,
    returned: &Returned,
) -> Result<Replayed, Fault> {
    let before = model.configuration();
    let (before, version) = (before.0.to_owned(), before.1);
    let replayed = model.replay(bytes).map_err(|what| Fault::new(CHECK, what))?;
    if replayed.session != record.session {
        let what = format!("the transaction is of session {}", replayed.session);
        return Err(fault(record, returned, &what));
    }
    check_reconfig((&before, version), model, &record.operation, &returned.result, replayed.err)
        .map_err(|what| fault(record, returned, &what))?;
    Ok(replayed)
}

/// Whether an operation says up to where its session must see afterwards.
pub(super) fn is_sync(operation: &Operation) -> bool {
    matches!(operation, Operation::Sync { .. })
}
