//! The lock recipe: who sees itself first holds the lock until its znode is gone.

use std::collections::BTreeMap;

use rookeeper_jute::Zxid;

use super::Fault;
use crate::history::{Claim, History};
use crate::model::{Replayed, Touch};

/// No two claims overlap in the order of transactions.
pub(super) fn check(history: &History, replayed: &[Replayed]) -> Result<(), Fault> {
    let mut deleted: BTreeMap<&str, Zxid> = BTreeMap::new();
    for txn in replayed {
        for (path, touch) in &txn.touched {
            if *touch == Touch::Deleted {
                deleted.insert(path, txn.zxid);
            }
        }
    }
    let mut claims: Vec<&Claim> = history.claims.iter().collect();
    claims.sort_by_key(|claim| claim.zxid);
    let mut held: Option<(&Claim, Zxid)> = None;
    for claim in claims {
        let until = deleted.get(claim.path.as_str()).copied().unwrap_or(Zxid(i64::MAX));
        if let Some((holder, released)) = held
            && claim.zxid < released
            && claim.path != holder.path
        {
            let what = format!("{claim:?} while {holder:?} holds it until {released}");
            return Err(Fault::new("one holder", what));
        }
        if until <= claim.zxid {
            let what = format!("{claim:?} holds a znode that {until} deleted");
            return Err(Fault::new("one holder", what));
        }
        held = Some((claim, until));
    }
    Ok(())
}
