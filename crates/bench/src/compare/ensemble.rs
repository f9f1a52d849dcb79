//! Ensembles of three, side by side: throughput of all members' CPU time together, fail-over, cold
//! start, and how long a member takes to come back. And mixed ensembles beside Java's own.

use std::thread;
use std::time::Duration;

use super::{Comparison, Goal, ms};
use crate::ensemble::{Group, MEMBERS};
use crate::error::BenchError;
use crate::fill::{self, FillOptions};
use crate::load::{self, LoadOptions, Mix};
use crate::storm::{self, StormOptions};

const GET: Mix = Mix([1, 0, 0, 0, 0, 0]);
const SET: Mix = Mix([0, 1, 0, 0, 0, 0]);

/// Which kind each member of a mixed ensemble is. The highest id leads at first and again when its
/// successor is killed; so the outer two are led by one kind, the middle two by both in turns.
const MIXES: [[usize; MEMBERS]; 4] = [[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]];

/// How long an ensemble took no writes.
struct Outage {
    start_ms: f64,
    /// Which member led and was killed each time, and how long until the next write.
    fail_overs_ms: Vec<(usize, f64)>,
}

/// Options of a load that is spread over all members.
fn spread(group: &Group, mix: Mix, depth: usize, seconds: f64, warm_up: f64) -> LoadOptions {
    let addresses = group.addresses();
    LoadOptions {
        address: addresses[0],
        others: addresses[1..].to_vec(),
        pids: group.pids(),
        connections: 50,
        depth,
        threads: 1,
        mix,
        value_len: 100,
        znodes: 1000,
        warm_up: Duration::from_secs_f64(warm_up),
        duration: Duration::from_secs_f64(seconds),
        operations: None,
        root: "/rookeeper-bench".to_owned(),
    }
}

fn sessions(group: &Group, sessions: usize) -> StormOptions {
    let addresses = group.addresses();
    StormOptions {
        address: addresses[0],
        others: addresses[1..].to_vec(),
        pids: group.pids(),
        sessions,
        at_once: 50,
    }
}

impl Comparison<'_> {
    fn group(&self, side: usize, extra: &[&str]) -> Result<Group, BenchError> {
        Group::prepare([&self.kinds[side]; MEMBERS], &self.folder, extra)
    }

    /// Sets, gets and new sessions of warm ensembles, in turns; the one that is not asked is idle.
    pub(super) fn ensemble(&mut self) -> Result<(), BenchError> {
        let mut groups = [self.group(0, &[])?, self.group(1, &[])?];
        for group in &mut groups {
            group.start()?;
            group.wait_serving()?;
            let part = self.args.warm_up / 4.0;
            for mix in [GET, SET] {
                for depth in [1, 16] {
                    load::run(&spread(group, mix, depth, part, 0.0))?;
                }
            }
            storm::run(&sessions(group, 2000))?;
        }
        for _ in 0..self.args.rounds {
            self.ensemble_loads(&groups)?;
            for (side, group) in groups.iter().enumerate() {
                let value = storm::run(&sessions(group, self.args.storm))?.per_cpu_second();
                let label = "ensemble: new sessions, a CPU-second of all servers";
                let goal = Goal::TimesAtLeast(5.0);
                self.table.add(side, "ensemble_sessions_per_cpu", label, "/s", goal, value);
            }
        }
        Ok(())
    }

    fn ensemble_loads(&mut self, groups: &[Group; 2]) -> Result<(), BenchError> {
        for (name, mix, depth, times) in [
            ("set", SET, 1, 4.0),
            ("set", SET, 16, 8.0),
            ("get", GET, 1, 5.0),
            ("get", GET, 16, 20.0),
        ] {
            for (side, group) in groups.iter().enumerate() {
                let options = spread(group, mix, depth, self.args.seconds, 1.0);
                let result = load::run(&options)?;
                let key = format!("ensemble_{name}_depth_{depth}");
                let label = format!("ensemble: {name}, depth {depth}");
                let per_cpu = format!("{label}, a CPU-second of all servers");
                let (goal, value) = (Goal::TimesAtLeast(times), result.per_cpu_second());
                self.table.add(side, &format!("{key}_per_cpu"), &per_cpu, "/s", goal, value);
                let (goal, value) = (Goal::None, result.per_second());
                let per_second = format!("{label}, a second");
                self.table.add(side, &format!("{key}_per_second"), &per_second, "/s", goal, value);
                let value = result.latency.value_at_quantile(0.99) as f64 / 1e3;
                let p99 = format!("{label}, latency p99");
                self.table.add(side, &format!("{key}_p99"), &p99, "µs", goal, value);
            }
        }
        Ok(())
    }

    /// Cold starts, and leaders killed: until the next write is acknowledged.
    pub(super) fn ensemble_start(&mut self) -> Result<(), BenchError> {
        for _ in 0..self.args.rounds {
            for side in 0..2 {
                let mut group = self.group(side, &[])?;
                let took = ms(group.start()?);
                let label = "ensemble: first write after a cold start";
                let goal = Goal::AtMost(600.0);
                self.table.add(side, "ensemble_start_ms", label, "ms", goal, took);
                group.wait_serving()?;
                // What is warm matters to Java: some load before its leader goes.
                load::run(&spread(&group, SET, 4, self.args.seconds.min(3.0), 0.0))?;
                for _ in 0..3 {
                    let took = ms(group.fail_over()?.1);
                    let label = "ensemble: next write after the leader was killed";
                    let goal = Goal::AtMost(200.0);
                    self.table.add(side, "ensemble_fail_over_ms", label, "ms", goal, took);
                    thread::sleep(Duration::from_millis(500));
                }
            }
        }
        Ok(())
    }

    /// Cold starts and killed leaders of ensembles of both kinds, beside those of the first kind
    /// alone in the same rounds: who stands in for one member may not slow the others down.
    pub(super) fn ensemble_mixed(&mut self) -> Result<(), BenchError> {
        let goal = Goal::TimesAtMost(1.0);
        for _ in 0..self.args.rounds {
            let alone = self.start_and_fail_over([0; MEMBERS])?;
            for sides in MIXES {
                let mix = self.start_and_fail_over(sides)?;
                let name = sides.map(|side| self.kinds[side].name.as_str()).join(", ");
                let key = sides.map(|side| ["b", "t"][side]).concat();
                let label = format!("{name}: first write after a cold start");
                let key_of_start = format!("mixed_{key}_start_ms");
                for (side, took) in [alone.start_ms, mix.start_ms].into_iter().enumerate() {
                    self.table.add(side, &key_of_start, &label, "ms", goal, took);
                }
                for killed in 0..2 {
                    let took =
                        mix.fail_overs_ms.iter().filter(|(index, _)| sides[*index] == killed);
                    let took: Vec<f64> = took.map(|(_, took)| *took).collect();
                    if took.is_empty() {
                        continue;
                    }
                    let leader = &self.kinds[killed].name;
                    let label = format!("{name}: next write after the {leader} leader was killed");
                    let key = format!("mixed_{key}_fail_over_{}_ms", ["base", "test"][killed]);
                    for (_, took) in &alone.fail_overs_ms {
                        self.table.add(0, &key, &label, "ms", goal, *took);
                    }
                    for took in took {
                        self.table.add(1, &key, &label, "ms", goal, took);
                    }
                }
            }
        }
        Ok(())
    }

    /// A fresh ensemble of these kinds, one for each member; its leader is killed four times.
    fn start_and_fail_over(&mut self, sides: [usize; MEMBERS]) -> Result<Outage, BenchError> {
        let kinds = sides.map(|side| &self.kinds[side]);
        let mut group = Group::prepare(kinds, &self.folder, &[])?;
        let start_ms = ms(group.start()?);
        group.wait_serving()?;
        load::run(&spread(&group, SET, 4, self.args.seconds.min(3.0), 0.0))?;
        let mut fail_overs_ms = Vec::new();
        for _ in 0..4 {
            let (leader, took) = group.fail_over()?;
            fail_overs_ms.push((leader, ms(took)));
            thread::sleep(Duration::from_millis(500));
        }
        Ok(Outage { start_ms, fail_overs_ms })
    }

    /// A member comes back to many znodes: with nothing (SNAP), and lacking a little (DIFF).
    pub(super) fn ensemble_rejoin(&mut self) -> Result<(), BenchError> {
        for side in 0..2 {
            let mut group = self.group(side, &[])?;
            group.start()?;
            let leader = group.wait_serving()?;
            let address = group.members[leader].address;
            let options = FillOptions::compared(address, group.pids(), self.args.znodes);
            let result = fill::run(&options)?;
            let per_second = result.znodes as f64 / result.elapsed.as_secs_f64();
            let label = "ensemble: creates in multis of 100";
            let goal = Goal::None;
            self.table.add(side, "ensemble_fill_per_second", label, "/s", goal, per_second);
            for _ in 0..self.args.rounds {
                self.rejoin_once(side, &mut group)?;
            }
        }
        Ok(())
    }

    fn rejoin_once(&mut self, side: usize, group: &mut Group) -> Result<(), BenchError> {
        let leader = group.wait_serving()?;
        let follower = (leader + 1) % group.members.len();
        for (key, label, wiped) in [
            ("snap", "an empty disk (SNAP)", true),
            ("diff", "some hundred writes less (DIFF)", false),
        ] {
            group.members[follower].stop()?;
            if wiped {
                group.wipe(follower)?;
            } else {
                let mut sets = spread(group, SET, 4, 0.0, 0.0);
                sets.address = group.members[leader].address;
                sets.others = Vec::new();
                (sets.znodes, sets.connections, sets.operations) = (50, 4, Some(100));
                load::run(&sets)?;
            }
            let status = group.status(leader);
            let zxid = status.ok_or_else(|| BenchError::Timeout("the leader".to_owned()))?.zxid;
            let took = group.rejoin(follower, zxid)?.as_secs_f64();
            let label = format!("ensemble: rejoin with {label}, {} znodes", self.args.znodes);
            let key = format!("ensemble_rejoin_{key}_s");
            self.table.add(side, &key, &label, "s", Goal::None, took);
        }
        Ok(())
    }
}
