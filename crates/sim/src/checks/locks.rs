//! The lock recipe: who sees itself first holds the lock until its znode is gone.

use std::collections::BTreeMap;
use std::ops::Range;

use rookeeper_jute::Zxid;

use super::Fault;
use crate::history::{Claim, History};
use crate::model::{Replayed, Touch};

/// No two claims overlap in the order of transactions.
pub(super) fn check(history: &History, replayed: &[Replayed]) -> Result<(), Fault> {
    let lives = lives(replayed);
    let mut claims: Vec<&Claim> = history.claims.iter().collect();
    claims.sort_by_key(|claim| claim.zxid);
    let mut held: Option<(&Claim, Life)> = None;
    for claim in claims {
        let mut of_path = lives.get(claim.path.as_str()).into_iter().flatten();
        let Some(life) = of_path.find(|life| life.contains(&claim.zxid)) else {
            let what = format!("{claim:?} holds a znode that is not there");
            return Err(Fault::new("one holder", what));
        };
        if let Some((holder, held)) = &held
            && held.contains(&claim.zxid)
            && (&holder.path, held) != (&claim.path, life)
        {
            let what = format!("{claim:?} while {holder:?} holds it until {}", held.end);
            return Err(Fault::new("one holder", what));
        }
        held = Some((claim, life.clone()));
    }
    Ok(())
}

/// From the transaction that created a znode to the one that deleted it.
type Life = Range<Zxid>;

/// When there was a znode of each path. Sequence numbers begin anew where the lock's own znode was
/// deleted and created again, so that a path may live more than once.
fn lives(replayed: &[Replayed]) -> BTreeMap<&str, Vec<Life>> {
    let mut lives: BTreeMap<&str, Vec<Life>> = BTreeMap::new();
    for txn in replayed {
        for (path, touch) in &txn.touched {
            let of_path = lives.entry(path).or_default();
            match (touch, of_path.last_mut()) {
                (Touch::Created, _) => of_path.push(txn.zxid..Zxid(i64::MAX)),
                (Touch::Deleted, Some(life)) => life.end = txn.zxid,
                _ => {}
            }
        }
    }
    lives
}
