//! A server's machine: its disk, its clocks, its power, and the process that runs on it.

use rookeeper_replica::Now;
use rookeeper_store::SimulatedDisk;

use crate::dice::Dice;
use crate::world::Event;
use crate::world::process::Process;
use crate::world::rot::Rot;

/// A machine's clocks. The monotonic one runs at its own rate; the wall clock jumps.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Microseconds that pass here in a million of the world's.
    rate: u64,
    /// What the wall clock is ahead of the world, in milliseconds.
    pub ahead_ms: i64,
}

/// The wall clock when the world begins, in milliseconds since the Unix epoch.
const WALL_START_MS: i64 = 1_700_000_000_000;
/// The monotonic clocks when the world begins, in microseconds.
const MONOTONIC_START_US: u64 = 5_000_000_000;

impl Clock {
    /// A clock that is a little off.
    pub fn draw(dice: &mut Dice) -> Self {
        let off = if dice.one_in(3) { 400_000 } else { 20_000 };
        let rate = dice.between(1_000_000 - off, 1_000_000 + off);
        Clock { rate, ahead_ms: dice.between(0, 2000) as i64 }
    }

    /// The time here.
    pub fn now(&self, world_us: u64) -> Now {
        let passed_us = (u128::from(world_us) * u128::from(self.rate) / 1_000_000) as u64;
        Now {
            wall_ms: WALL_START_MS + (world_us / 1000) as i64 + self.ahead_ms,
            monotonic_us: MONOTONIC_START_US + passed_us,
        }
    }

    /// When it is so late here, in the world's time.
    pub fn world_us(&self, monotonic_ms: u64) -> u64 {
        let passed_us = (monotonic_ms * 1000).saturating_sub(MONOTONIC_START_US);
        (u128::from(passed_us) * 1_000_000 / u128::from(self.rate)) as u64 + 1
    }
}

/// What trouble waits for.
#[derive(Debug, Clone, Copy)]
pub struct Ambush {
    /// How many changes pass by.
    pub after: u64,
    /// Whether only those of the history count.
    pub only_history: bool,
    /// What happens then: the power goes out (0, 1), the disk fails (2), the leader dies (3).
    pub kind: u64,
}

/// One machine.
pub struct Machine {
    /// What survives a crash.
    pub disk: SimulatedDisk,
    /// Its clocks.
    pub clock: Clock,
    /// The server, while it runs.
    pub process: Option<Process>,
    /// How many processes there were.
    pub generation: u64,
    /// Whether there is power.
    pub has_power: bool,
    /// Whether nobody starts it again.
    pub stays_down: bool,
    /// The version of the committed configuration on disk.
    pub version: i64,
    /// The ports that it listens at, or did when it ran last: quorum and election.
    pub ports: [u16; 2],
    /// Events of a process that stands still.
    pub paused: Option<Vec<Event>>,
    /// Longest time that a sync takes now, in microseconds.
    pub sync_us: u64,
    /// How late its timers are at most, where they are late, in microseconds.
    pub late_us: Option<u64>,
    /// The accepted and the current epoch that the disk said were durable.
    pub epochs: [i64; 2],
    /// What is rotten on the disk.
    pub rot: Option<Rot>,
    /// Whether the directory was emptied since: an empty one is no database from then on.
    pub is_wiped: bool,
    /// Trouble that waits for the disk to be told to do something else than append.
    pub ambush: Option<Ambush>,
    /// Whether the power goes out in the middle of what the disk is doing.
    pub power_loss_in_batch: bool,
    /// Whether the next recovery is cut short by a loss of power, after so many operations.
    pub power_loss_in_recovery: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_here_is_a_time_of_the_world() {
        for seed in 0..50 {
            let clock = Clock::draw(&mut Dice::new(seed));
            let due = clock.now(7_654_321).monotonic_ms() + 250;
            let at_us = clock.world_us(due);
            assert!(clock.now(at_us).monotonic_ms() >= due);
            assert!(clock.now(at_us - 1500).monotonic_ms() < due);
        }
    }
}
