//! Judges of what clients saw. Each takes the history and the committed transactions and finds the
//! first thing that a ZooKeeper must never do.
//!
//! # Layout
//! - `answers`: what each operation must be answered at a state
//! - `configurations`: changes of the ensemble, and what clients read of it
//! - `linear`: writes replayed in zxid order, reads against the state at their zxid
//! - `order`: real time, sessions, sync
//! - `watches`: each event once, before the data that it announces, and none lost
//! - `locks`: one holder

mod answers;
pub mod configurations;
mod linear;
mod locks;
mod order;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use rookeeper_jute::Zxid;

use crate::history::History;
use crate::model::{Model, Replayed};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Fault {
    /// Which check.
    pub check: &'static str,
    /// What it found.
    pub what: String,
}

impl Fault {
    /// A fault that a check found.
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        Fault { check, what: what.into() }
    }
}

/// One committed transaction: its zxid and its bytes.
pub type Committed = (Zxid, Arc<[u8]>);

/// What the judges agree on.
#[derive(Debug)]
pub struct Verdict {
    /// The state after the last transaction.
    pub model: Model,
    /// The transactions, replayed.
    pub replayed: Vec<Replayed>,
}

/// Judges a history.
///
/// # Errors
/// The first fault.
pub fn judge(history: &History, txns: &[Committed]) -> Result<Verdict, Fault> {
    let (model, replayed) = linear::check(history, txns)?;
    order::real_time(history)?;
    order::sessions(history)?;
    order::sync_then_read(history)?;
    order::numbers(history, &replayed)?;
    order::once(history, &replayed)?;
    watches::check(history, &replayed)?;
    locks::check(history, &replayed)?;
    Ok(Verdict { model, replayed })
}
