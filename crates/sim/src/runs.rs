//! Many seeds, and what they come to.

use crate::checks::Fault;
use crate::plan::Setup;
use crate::scenario;
use crate::world::{Report, World};

/// What some runs did together.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    /// How many seeds.
    pub seeds: u64,
    /// Fewest operations of a seed.
    pub operations_min: u64,
    /// Their reports, added up.
    pub total: Report,
}

impl Sum {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        let fewest = if self.seeds == 0 { u64::MAX } else { self.operations_min };
        self.operations_min = fewest.min(report.operations);
        self.seeds += 1;
        let total = &mut self.total;
        total.virtual_us += report.virtual_us;
        total.events += report.events;
        total.operations += report.operations;
        total.answered += report.answered;
        total.fired += report.fired;
        total.claims += report.claims;
        total.committed += report.committed;
        total.expired += report.expired;
        total.ghosts += report.ghosts;
        total.read_only += report.read_only;
        total.reconfigured += report.reconfigured;
        total.local_sessions += report.local_sessions;
        total.epochs += report.epochs;
        total.truncations += report.truncations;
        total.snapshots_cut += report.snapshots_cut;
        total.logs_cut += report.logs_cut;
        total.installs += report.installs;
        total.wiped += report.wiped;
        for (reason, count) in &report.endings {
            *total.endings.entry(reason.clone()).or_default() += count;
        }
        for (name, count) in &report.troubles {
            *total.troubles.entry(name).or_default() += count;
        }
    }

    /// The report for people.
    pub fn text(&self, took_ms: u128) -> String {
        let total = &self.total;
        let virtual_s = total.virtual_us / 1_000_000;
        let rate = u128::from(total.virtual_us) / 1000 / took_ms.max(1);
        let troubles: u64 = total.troubles.values().sum();
        let mut text = format!(
            "{} seeds, {virtual_s} virtual seconds ({rate} a second), {} events\n\
             {} operations (at least {} a seed, {} answered), {} committed, {} watch events, \
             {} locks held, {} sessions expired, {} looks at all disks\n\
             {} epochs, {} truncations (of {} snapshots, {} logs), {} snapshots from leaders, \
             {} directories emptied\n\
             {} changes of the ensemble, {} answers without a leader, \
             {} looks at local sessions\n{troubles} troubles:",
            self.seeds,
            total.events,
            total.operations,
            self.operations_min,
            total.answered,
            total.committed,
            total.fired,
            total.claims,
            total.expired,
            total.ghosts,
            total.epochs,
            total.truncations,
            total.snapshots_cut,
            total.logs_cut,
            total.installs,
            total.wiped,
            total.reconfigured,
            total.read_only,
            total.local_sessions
        );
        for (name, count) in &total.troubles {
            text.push_str(&format!(" {name} {count},"));
        }
        text.pop();
        for (reason, count) in &total.endings {
            text.push_str(&format!("\n{count} roles ended: {reason}"));
        }
        text
    }
}

/// What a run did, and what it found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it did.
    pub report: Report,
    /// The first fault, if there was one.
    pub fault: Option<Fault>,
}

/// Runs one seed.
pub fn run(setup: Setup) -> Outcome {
    scenario::begin(&setup);
    // An assertion of the production code is a fault like any other, where it unwinds.
    let ran = std::panic::catch_unwind(|| World::new(setup).run());
    match ran {
        Ok((report, fault)) => Outcome { report, fault },
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            let what = text.unwrap_or_else(|| "a panic".to_owned());
            Outcome { report: Report::default(), fault: Some(Fault::new("assertion", what)) }
        }
    }
}
