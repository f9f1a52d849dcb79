//! The differential run: the same steps to two servers, every line of the outcomes compared.

use crate::generate::{Generator, Profile};
use crate::request;
use crate::server::{Kind, Settings, scratch};
use crate::side::{Outcome, Side};
use crate::step::{Chunks, Handshake, Step};
use std::fmt;
use std::path::Path;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The two servers; the first is the reference.
    pub kinds: [Kind; 2],
    /// Seed of the scenario and of the configuration.
    pub seed: u64,
    /// Number of operations.
    pub operations: usize,
    /// I/O threads of Rookeeper.
    pub io_threads: usize,
    /// At each restart the other side goes on as the other kind of server, on the same files.
    pub alternate: bool,
    /// Prints every step and what it brought.
    pub show: bool,
}

/// The first difference of a run.
#[derive(Debug)]
pub struct Difference {
    /// The steps up to and including the one that differed.
    pub steps: Vec<Step>,
    /// What the reference gave for the last step.
    pub expected: Vec<String>,
    /// What the other gave.
    pub found: Vec<String>,
    /// The end of the other server's log.
    pub log: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.steps.last().map(Step::describe).unwrap_or_default();
        writeln!(out, "step {}: {last}", self.steps.len())?;
        let count = self.expected.len().max(self.found.len());
        let mut shown = 0;
        for index in 0..count {
            let none = "(nothing)".to_owned();
            let expected = self.expected.get(index).unwrap_or(&none);
            let found = self.found.get(index).unwrap_or(&none);
            if expected != found {
                writeln!(out, "  line {index}\n    reference: {expected}\n    other:     {found}")?;
                shown += 1;
            }
            if shown == 6 {
                writeln!(out, "  and more")?;
                break;
            }
        }
        if !self.log.is_empty() {
            writeln!(out, "end of the other server's log:\n{}", self.log)?;
        }
        Ok(())
    }
}

/// Two servers under the same steps.
#[derive(Debug)]
pub struct Pair {
    reference: Side,
    other: Side,
    steps: Vec<Step>,
    directory: std::path::PathBuf,
    /// At each restart the other side goes on as the other kind of server.
    pub alternate: bool,
    /// Prints every step and what it brought.
    pub show: bool,
}

impl Pair {
    /// Starts both servers with empty data directories.
    pub fn start(kinds: [Kind; 2], settings: &Settings, name: &str) -> Pair {
        Pair::start_on(kinds, settings, name, |_| {})
    }

    /// Starts both servers on data directories that `prepare` has filled.
    pub fn start_on(
        kinds: [Kind; 2],
        settings: &Settings,
        name: &str,
        prepare: impl Fn(&Path),
    ) -> Pair {
        let directory = scratch(name);
        for side in ["reference", "other"] {
            prepare(&directory.join(side).join("data"));
        }
        let (reference, other) = std::thread::scope(|scope| {
            let path = directory.join("reference");
            let reference = scope.spawn(move || Side::start(kinds[0], &path, settings));
            let other = Side::start(kinds[1], &directory.join("other"), settings);
            (reference.join().expect("the reference server starts"), other)
        });
        Pair { reference, other, steps: Vec::new(), directory, alternate: false, show: false }
    }

    /// Carries out one step on both; the outcome where they agree.
    pub fn step(&mut self, step: Step) -> Result<Outcome, Box<Difference>> {
        let (expected, found) = std::thread::scope(|scope| {
            let reference = &mut self.reference;
            let expected = scope.spawn(|| reference.execute(&step));
            let found = match (self.alternate, &step) {
                (true, Step::Restart { clean }) => self.other.hand_over(*clean),
                _ => self.other.execute(&step),
            };
            (expected.join().expect("the reference side runs"), found)
        });
        if self.show {
            println!("{}\n      {}", step.describe(), expected.lines.join("\n      "));
        }
        self.steps.push(step);
        if expected.lines == found.lines {
            return Ok(expected);
        }
        let log = self.other.server.log();
        let tail: Vec<&str> = log.lines().rev().take(12).collect();
        Err(Box::new(Difference {
            steps: self.steps.clone(),
            expected: expected.lines,
            found: found.lines,
            log: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
        }))
    }

    /// The two servers, the reference first.
    pub fn sides(&mut self) -> [&mut Side; 2] {
        [&mut self.reference, &mut self.other]
    }

    /// Compares counts and the whole tree, seen by a fresh session with all rights.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare_everything(&mut self, data_size: bool) -> Result<(), Box<Difference>> {
        let slot = 50;
        self.step(Step::Connect { slot, timeout_ms: 30_000, handshake: Handshake::Usual })?;
        let auth = request::auth(&request::text("digest"), Some(b"super:test"));
        self.step(Step::Batch { slot, requests: vec![auth], chunks: Chunks::Whole })?;
        self.step(Step::Tree { slot })?;
        self.step(Step::Summary { data_size })?;
        self.step(Step::Batch {
            slot,
            requests: vec![request::close_session().xid(1)],
            chunks: Chunks::Whole,
        })?;
        Ok(())
    }

    /// Stops both servers and removes their files.
    pub fn remove(self) {
        self.reference.server.remove();
        self.other.server.remove();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs the scenario of one seed; the number of operations compared.
pub fn run(run: Run) -> Result<usize, Box<Difference>> {
    let profile = Profile::of(run.seed, run.io_threads);
    let mut pair = Pair::start(run.kinds, &profile.settings(), &format!("seed-{}", run.seed));
    pair.alternate = run.alternate;
    pair.show = run.show;
    let result = drive(run, profile, &mut pair);
    pair.remove();
    result
}

fn drive(run: Run, profile: Profile, pair: &mut Pair) -> Result<usize, Box<Difference>> {
    let mut generator = Generator::new(run.seed, profile);
    let mut done = 0;
    while done < run.operations {
        let step = generator.next(done * 1000 / run.operations);
        done += step.operations();
        let outcome = pair.step(step.clone())?;
        generator.learn(&step, &outcome);
    }
    let data_size = !generator.quotas && profile.restarts == 0;
    pair.compare_everything(data_size)?;
    Ok(done)
}

/// Replays recorded steps on fresh servers; the difference where there is one.
pub fn replay(run: Run, steps: &[Step]) -> Option<Box<Difference>> {
    let profile = Profile::of(run.seed, run.io_threads);
    let mut pair = Pair::start(run.kinds, &profile.settings(), &format!("replay-{}", run.seed));
    pair.alternate = run.alternate;
    let found = steps.iter().find_map(|step| pair.step(step.clone()).err());
    pair.remove();
    found
}

/// Leaves out steps, and requests of batches, that the difference does not need; at most `trials`
/// replays.
pub fn minimise(run: Run, difference: Box<Difference>, trials: usize) -> Box<Difference> {
    let mut best = difference;
    let mut left = trials;
    let mut size = best.steps.len() / 2;
    while size > 0 && left > 0 {
        let mut start = 0;
        while start < best.steps.len() && left > 0 {
            let end = (start + size).min(best.steps.len());
            let mut fewer = best.steps.clone();
            fewer.drain(start..end);
            left -= 1;
            match replay(run, &fewer) {
                Some(found) => best = found,
                None => start = end,
            }
        }
        size /= 2;
    }
    for index in (0..best.steps.len()).rev() {
        let mut at = 0;
        while left > 0 {
            let mut fewer = best.steps.clone();
            let Some(Step::Batch { requests, .. }) = fewer.get_mut(index) else {
                break;
            };
            if at >= requests.len() || requests.len() == 1 {
                break;
            }
            requests.remove(at);
            left -= 1;
            match replay(run, &fewer) {
                Some(found) => best = found,
                None => at += 1,
            }
        }
    }
    best
}
