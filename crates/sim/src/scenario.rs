//! A scenario: what is done to a world at which time, as a text that people read, shorten and
//! write. What clients do, and how long everything takes, comes from its seed.
//!
//! ```text
//! # why it is kept
//! members 3
//! seed 17
//! trouble-us 12000000
//! expect truncations 1
//! at 2000000 partial-partition from=leader to=follower for=3000000
//! at 2000010 partial-partition from=leader to=other for=3000000
//! ```
//!
//! Times are virtual microseconds. A server is its number, or `leader`, or `follower` and `other`,
//! which are the first and the second server that do not lead at that time.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use crate::plan::{Setup, Trouble};
use crate::world::Report;

/// A server, or any other number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It.
    Number(i64),
    /// The server that leads.
    Leader,
    /// The first one that does not.
    Follower,
    /// The second one that does not.
    Other,
}

/// One thing that goes wrong, with all that makes it this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    /// Its kind.
    pub trouble: Trouble,
    /// The values of the kind's parameters, in their order.
    pub values: Vec<Value>,
}

impl Mishap {
    /// A mishap with numbers for the kind's parameters, in their order.
    ///
    /// # Panics
    /// If it has more or fewer.
    pub fn new(trouble: Trouble, numbers: &[u64]) -> Self {
        assert_eq!(numbers.len(), trouble.parameters().len(), "{trouble:?}");
        let values = numbers.iter().map(|number| Value::Number(*number as i64)).collect();
        Mishap { trouble, values }
    }
}

/// A run from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// How many voters; 1 is a server that stands alone.
    pub members: usize,
    /// What everything else comes from.
    pub seed: u64,
    /// Virtual time with trouble, in microseconds.
    pub trouble_us: u64,
    /// What goes wrong, and when.
    pub mishaps: Vec<(u64, Mishap)>,
    /// What the run must come to, at least, by name.
    pub expected: Vec<(String, u64)>,
    /// What it must not come to at all.
    pub unwanted: Vec<String>,
}

impl Scenario {
    /// A run without trouble.
    pub fn new(seed: u64, members: usize) -> Self {
        let Setup { trouble_us, .. } = Setup::new(seed, members);
        let (mishaps, expected, unwanted) = (Vec::new(), Vec::new(), Vec::new());
        Scenario { members, seed, trouble_us, mishaps, expected, unwanted }
    }

    /// The run that it asks for.
    pub fn setup(&self) -> Setup {
        Setup {
            trouble_us: self.trouble_us,
            mishaps: Some(self.mishaps.clone()),
            ..Setup::new(self.seed, self.members)
        }
    }

    /// Whether a run came to what is expected.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn check(&self, report: &Report) -> Result<(), String> {
        for name in &self.unwanted {
            if counted(report, name) != Some(0) {
                return Err(format!("{name}, and none are wanted"));
            }
        }
        for (name, least) in &self.expected {
            let found = counted(report, name).ok_or_else(|| format!("{name} is not counted"))?;
            if found < *least {
                return Err(format!("{found} {name}, and {least} are expected"));
            }
        }
        Ok(())
    }
}

/// What a run did, by name.
fn counted(report: &Report, name: &str) -> Option<u64> {
    Some(match name {
        "epochs" => report.epochs,
        "synchronisations" => report.synchronisations,
        "truncations" => report.truncations,
        "snapshots" => report.installs,
        "wiped" => report.wiped,
        "answered" => report.answered,
        "committed" => report.committed,
        _ => return None,
    })
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Leader => f.write_str("leader"),
            Value::Follower => f.write_str("follower"),
            Value::Other => f.write_str("other"),
        }
    }
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Value, String> {
        match text {
            "leader" => Ok(Value::Leader),
            "follower" => Ok(Value::Follower),
            "other" => Ok(Value::Other),
            _ => text.parse().map(Value::Number).map_err(|_| format!("{text:?} is no number")),
        }
    }
}

/// How a kind of trouble is written.
fn word(trouble: Trouble) -> String {
    trouble.name().replace(' ', "-")
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&word(self.trouble))?;
        for (name, value) in self.trouble.parameters().iter().zip(&self.values) {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Mishap {
    type Err = String;

    fn from_str(text: &str) -> Result<Mishap, String> {
        let mut words = text.split_whitespace();
        let kind = words.next().ok_or("nothing happens")?;
        let trouble = Trouble::ALL.into_iter().find(|trouble| word(*trouble) == kind);
        let trouble = trouble.ok_or_else(|| format!("{kind:?} is no trouble"))?;
        let mut given: Vec<(&str, Value)> = Vec::new();
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word:?}: no ="))?;
            given.push((name, value.parse()?));
        }
        let names = trouble.parameters();
        if let Some((name, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
            return Err(format!("{kind} has no {name:?}, but {}", names.join(", ")));
        }
        let value = |name: &&str| {
            let found = given.iter().find(|(given, _)| given == name).map(|(_, value)| *value);
            found.ok_or_else(|| format!("{kind} needs {name}"))
        };
        let values = names.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Mishap { trouble, values })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "members {}\nseed {}", self.members, self.seed)?;
        writeln!(f, "trouble-us {}", self.trouble_us)?;
        for (name, least) in &self.expected {
            writeln!(f, "expect {name} {least}")?;
        }
        for name in &self.unwanted {
            writeln!(f, "without {name}")?;
        }
        for (at_us, mishap) in &self.mishaps {
            writeln!(f, "at {at_us} {mishap}")?;
        }
        Ok(())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        let mut scenario = Scenario::new(1, 3);
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                scenario.line(line).map_err(|what| format!("line {}: {what}", at + 1))?;
            }
        }
        scenario.mishaps.sort_by_key(|(at_us, _)| *at_us);
        Ok(scenario)
    }
}

impl Scenario {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).ok_or("a word and its value")?;
        let rest = rest.trim();
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?}: no number"));
        let pair = || rest.split_once(char::is_whitespace).ok_or("something is missing");
        match word {
            "members" => self.members = number(rest)? as usize,
            "seed" => self.seed = number(rest)?,
            "trouble-us" => self.trouble_us = number(rest)?,
            "expect" => {
                let (name, least) = pair()?;
                counted(&Report::default(), name).ok_or(format!("{name} is not counted"))?;
                self.expected.push((name.to_owned(), number(least.trim())?));
            }
            "without" => {
                counted(&Report::default(), rest).ok_or(format!("{rest} is not counted"))?;
                self.unwanted.push(rest.to_owned());
            }
            "at" => {
                let (at_us, mishap) = pair()?;
                self.mishaps.push((number(at_us)?, mishap.parse()?));
            }
            _ => return Err(format!("{word:?} is unknown")),
        }
        Ok(())
    }
}

thread_local! {
    /// What went wrong in the run of this thread, so that it is known even where the run panics.
    static DONE: RefCell<Option<Scenario>> = const { RefCell::new(None) };
}

/// A run begins on this thread.
pub(crate) fn begin(setup: &Setup) {
    let Setup { seed, members, trouble_us, .. } = *setup;
    let scenario = Scenario { trouble_us, ..Scenario::new(seed, members) };
    DONE.with_borrow_mut(|done| *done = Some(scenario));
}

/// Something goes wrong in it.
pub(crate) fn note(at_us: u64, mishap: &Mishap) {
    DONE.with_borrow_mut(|done| {
        if let Some(scenario) = done {
            scenario.mishaps.push((at_us, mishap.clone()));
        }
    });
}

/// What went wrong in the last run of this thread, or in the one that is under way.
pub fn of_this_thread() -> Option<Scenario> {
    DONE.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_what_its_text_says() {
        let text = "members 5\nseed 7\ntrouble-us 9000000\nexpect epochs 2\n\
                    without snapshots\nat 5 kill server=leader\nat 9 clock-jump server=1 ms=-500\n";
        let scenario: Scenario = text.parse().unwrap();
        assert_eq!(scenario.to_string(), text);
        assert_eq!((scenario.members, scenario.seed, scenario.mishaps.len()), (5, 7, 2));
        let report = |epochs| Report { epochs, ..Report::default() };
        assert!(scenario.check(&report(1)).is_err());
        assert_eq!(scenario.check(&report(2)), Ok(()));
        assert!(scenario.check(&Report { installs: 1, ..report(2) }).is_err());
        let shortened = text.replace("at 5", "# at 5");
        assert_eq!(shortened.parse::<Scenario>().unwrap().mishaps.len(), 1);
    }

    #[test]
    fn each_mistake_in_a_text_is_told_with_its_line() {
        for wrong in [
            "seed x",
            "at 5 fire server=1",
            "at 5 kill",
            "at 5 kill server",
            "at 5 kill server=1 for=3",
            "at soon kill server=1",
            "expect miracles 1",
            "without luck",
            "wait 5",
        ] {
            let error = format!("# first\n{wrong}\n").parse::<Scenario>().unwrap_err();
            assert!(error.starts_with("line 2: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn every_kind_of_trouble_can_be_written_and_read() {
        for trouble in Trouble::ALL {
            let numbers: Vec<u64> = (3..).take(trouble.parameters().len()).collect();
            let mishap = Mishap::new(trouble, &numbers);
            assert_eq!(mishap.to_string().parse(), Ok(mishap));
        }
    }
}
