//! Changes of the ensemble: what a client is told of its own, and what anybody reads, is what the
//! transactions say; and each change is the one that was asked for.

use std::collections::BTreeMap;

use rookeeper_jute::{ErrorCode, Zxid};
use rookeeper_session::{Operation, Reply};

use crate::model::{CONFIG, Model, ModelNode};

/// The members of a configuration: ids and all that stands behind them.
pub fn members(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.split(['\n', ',']).map(str::trim);
    lines.filter_map(|line| line.strip_prefix("server.")?.split_once('=')).collect()
}

/// What must come of a change, whether or not it is allowed then.
fn asked_for<'t>(
    before: &'t str,
    operation: &'t Operation,
) -> Option<(BTreeMap<&'t str, &'t str>, i64)> {
    let Operation::Reconfig { joining, leaving, members: whole, from_config } = operation else {
        return None;
    };
    if let Some(whole) = whole {
        return Some((members(whole), *from_config));
    }
    let mut after = members(before);
    for id in leaving.as_deref().unwrap_or_default().split(',') {
        after.remove(id);
    }
    after.extend(members(joining.as_deref().unwrap_or_default()));
    Some((after, *from_config))
}

/// Holds the answer to a change against the configuration before it and the state after it.
///
/// # Errors
/// Says what differs.
pub fn check_reconfig(
    (before, version): (&str, Zxid),
    after: &Model,
    operation: &Operation,
    result: &Result<Reply, ErrorCode>,
    logged: i32,
) -> Result<(), String> {
    let Some((wanted, from)) = asked_for(before, operation) else {
        return Err("it is no change".to_owned());
    };
    let reply = match result {
        Ok(reply) => reply,
        Err(code) if code.to_i32() != logged => {
            return Err(format!("answered {code:?}, and the transaction has {logged}"));
        }
        Err(ErrorCode::BadVersion)
            if from == -1 || version != Zxid::ZERO && Zxid(from) == version =>
        {
            return Err(format!("it is for {from}, and the configuration is of {version}"));
        }
        Err(
            ErrorCode::BadVersion
            | ErrorCode::BadArguments
            | ErrorCode::ReconfigInProgress
            | ErrorCode::NewConfigNoQuorum,
        ) => return Ok(()),
        Err(code) => return Err(format!("answered {code:?}")),
    };
    if logged != 0 {
        return Err(format!("answered with success, and the transaction has {logged}"));
    }
    // The first configuration has a version that no transaction gave it.
    if from != -1 && version != Zxid::ZERO && Zxid(from) != version {
        return Err(format!("it is for {from}, and the configuration was of {version}"));
    }
    let (text, _) = after.configuration();
    if members(text) != wanted {
        return Err(format!("the members are {:?}, not {wanted:?}", members(text)));
    }
    let node = after.node(CONFIG).map(ModelNode::visible);
    match reply {
        Reply::Data { data, stat } if data.as_deref() == Some(text.as_bytes()) => {
            let same = Some(*stat) == node;
            same.then_some(()).ok_or_else(|| format!("the stat is {stat:?}, not {node:?}"))
        }
        _ => Err(format!("answered {reply:?}, and the configuration is {text:?}")),
    }
}

/// Holds what a client reads of the configuration against the state.
///
/// # Errors
/// Says what differs.
pub fn check_configuration(model: &Model, result: &Result<Reply, ErrorCode>) -> Result<(), String> {
    let (text, zxid) = model.configuration();
    let Ok(Reply::Data { data: Some(data), .. }) = result else {
        return Err(format!("answered {result:?}"));
    };
    let shown = String::from_utf8_lossy(data);
    let same = match zxid {
        // Whoever leads first gives it a version.
        Zxid::ZERO => members(&shown) == members(text),
        _ => shown == text,
    };
    same.then_some(()).ok_or_else(|| format!("it shows {shown:?}, and {text:?} is in force"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookeeper_jute::txn::{SetDataTxn, TxnHeader};
    use rookeeper_jute::{Encode, OpCode, SessionId, Xid};

    const BEFORE: &str =
        "server.1=a:1:2:participant;a:3\nserver.2=b:1:2:participant;b:3\nversion=0";
    const AFTER: &str = "server.2=b:1:2:participant;b:3\nserver.3=c:1:2:observer;c:3\nversion=9";

    fn change(from_config: i64) -> Operation {
        Operation::Reconfig {
            joining: Some("server.3=c:1:2:observer;c:3".into()),
            leaving: Some("1".into()),
            members: None,
            from_config,
        }
    }

    fn after(text: &str) -> Model {
        let header = TxnHeader {
            client_id: SessionId(7),
            cxid: Xid(1),
            zxid: Zxid(9),
            time_ms: 5,
            txn_type: OpCode::Reconfig.to_i32(),
        };
        let mut bytes = header.to_bytes();
        let path = Some(CONFIG.into());
        SetDataTxn { path, data: Some(text.as_bytes()), version: -1 }.encode(&mut bytes);
        let mut model = Model::default();
        model.begin_with(BEFORE);
        model.replay(&bytes).unwrap();
        model
    }

    fn reply(text: &str) -> Result<Reply, ErrorCode> {
        let stat = after(text).node(CONFIG).unwrap().visible();
        Ok(Reply::Data { data: Some(text.as_bytes().to_vec()), stat })
    }

    #[test]
    fn each_wrong_answer_to_a_change_is_found() {
        let check =
            |operation: &Operation, text: &str, result: &Result<Reply, ErrorCode>, logged| {
                check_reconfig((BEFORE, Zxid(4)), &after(text), operation, result, logged).is_ok()
            };
        let version = Err(ErrorCode::BadVersion);
        let logged = ErrorCode::BadVersion.to_i32();
        assert!(check(&change(-1), AFTER, &reply(AFTER), 0));
        assert!(check(&change(4), AFTER, &reply(AFTER), 0));
        assert!(check(&change(3), AFTER, &version, logged));
        assert!(!check(&change(3), AFTER, &reply(AFTER), 0), "for another version");
        assert!(!check(&change(4), AFTER, &version, logged), "it was the version");
        assert!(!check(&change(-1), BEFORE, &reply(BEFORE), 0), "nothing changed");
        assert!(!check(&change(-1), AFTER, &reply(BEFORE), 0), "it is told another one");
        assert!(!check(&change(-1), AFTER, &version, 0), "an error that was none");
        assert!(!check(&change(-1), AFTER, &Err(ErrorCode::NoNode), -101), "an error of others");
        let mut wrong = reply(AFTER);
        if let Ok(Reply::Data { stat, .. }) = &mut wrong {
            stat.version = 1;
        }
        assert!(!check(&change(-1), AFTER, &wrong, 0), "another stat");
    }

    #[test]
    fn a_configuration_that_is_not_in_force_is_found() {
        let mut first = Model::default();
        first.begin_with(BEFORE);
        let later = after(AFTER);
        let version = BEFORE.replace("version=0", "version=100000000");
        assert_eq!(check_configuration(&first, &reply(&version)), Ok(()));
        assert_eq!(check_configuration(&later, &reply(AFTER)), Ok(()));
        assert!(check_configuration(&first, &reply(AFTER)).is_err(), "too early");
        assert!(check_configuration(&later, &reply(BEFORE)).is_err(), "too late");
        let version = AFTER.replace("version=9", "version=8");
        assert!(check_configuration(&later, &reply(&version)).is_err(), "another version");
        assert!(check_configuration(&later, &Err(ErrorCode::NoNode)).is_err());
    }
}
