//! What one seed does: sizes, speeds, and which kinds of trouble it knows. Each seed enables a
//! random part of them, so that some seeds are full of one kind and free of the others.

use crate::dice::Dice;
use crate::roles::Roles;
use crate::scenario::Mishap;

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A process is killed; what it wrote stays in the system's cache.
    Kill,
    /// A machine loses power: what is unsynced is lost, in part or whole.
    PowerLoss,
    /// All machines lose power at once.
    PowerLossOfAll,
    /// A process is killed or loses power between two effects of one step.
    CrashInStep,
    /// The power goes out again while the server recovers.
    CrashInRecovery,
    /// While an epoch is written, or the history changes, the power goes out, the disk fails, or
    /// the leader dies that asked for it.
    CrashInChange,
    /// A process stands still for a while.
    Pause,
    /// A process's timers are late for a while; everything else of it goes on.
    LateTicks,
    /// Connections are reset.
    Reset,
    /// A connection is gone at one side only.
    HalfOpen,
    /// Machines are split in two sets.
    Partition,
    /// One direction between machines is cut.
    OneWay,
    /// Two machines do not reach one another; everybody else reaches both.
    Partial,
    /// A machine's packets take long; or those between a server and the others alone, until its
    /// clients leave it (`leave`), while what they asked for is on its way still.
    SlowLink,
    /// A disk takes long.
    SlowDisk,
    /// A sync fails.
    FailedSync,
    /// A disk is full for a while.
    FullDisk,
    /// A wall clock jumps.
    ClockJump,
    /// The others lose the leader and it does not notice: clients still reach it, those that only
    /// read or (`writers` 1) all, or (2) all reach nobody else. When its history is cut, something
    /// may happen (`then`).
    Deposed,
    /// A process is killed, and a bit flips on its disk.
    Rot,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Trouble; 20] = [
        Trouble::Kill,
        Trouble::PowerLoss,
        Trouble::PowerLossOfAll,
        Trouble::CrashInStep,
        Trouble::CrashInRecovery,
        Trouble::CrashInChange,
        Trouble::Pause,
        Trouble::Reset,
        Trouble::HalfOpen,
        Trouble::Partition,
        Trouble::OneWay,
        Trouble::Partial,
        Trouble::SlowLink,
        Trouble::SlowDisk,
        Trouble::FailedSync,
        Trouble::FullDisk,
        Trouble::ClockJump,
        Trouble::Deposed,
        Trouble::Rot,
        Trouble::LateTicks,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Kill => "kill",
            Trouble::PowerLoss => "power loss",
            Trouble::PowerLossOfAll => "power loss of all",
            Trouble::CrashInStep => "crash in step",
            Trouble::CrashInRecovery => "crash in recovery",
            Trouble::CrashInChange => "crash in change",
            Trouble::Pause => "pause",
            Trouble::LateTicks => "late ticks",
            Trouble::Reset => "reset",
            Trouble::HalfOpen => "half-open",
            Trouble::Partition => "partition",
            Trouble::OneWay => "one-way cut",
            Trouble::Partial => "partial partition",
            Trouble::SlowLink => "slow link",
            Trouble::SlowDisk => "slow disk",
            Trouble::FailedSync => "failed sync",
            Trouble::FullDisk => "full disk",
            Trouble::ClockJump => "clock jump",
            Trouble::Deposed => "deposed leader",
            Trouble::Rot => "rot",
        }
    }

    /// What has to be known of one: whom it befalls (`server`; `machine`, `from` and `to` count
    /// the clients behind the servers), how long it lasts (`for`) and so on; times are
    /// microseconds. `dice` decides what is not named.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Trouble::Kill | Trouble::PowerLoss => &["server"],
            Trouble::PowerLossOfAll => &[],
            Trouble::CrashInStep => &["server", "after", "power"],
            Trouble::CrashInRecovery => &["server", "after"],
            Trouble::CrashInChange => &["server", "after", "share", "dice"],
            Trouble::Pause => &["server", "for"],
            Trouble::LateTicks => &["server", "late", "for"],
            Trouble::Reset => &["share", "dice"],
            Trouble::HalfOpen => &["dice", "for"],
            Trouble::Partition => &["sides", "for"],
            Trouble::OneWay | Trouble::Partial => &["from", "to", "for"],
            Trouble::SlowLink => &["machine", "delay", "for", "leave"],
            Trouble::SlowDisk => &["server", "sync", "for"],
            Trouble::FailedSync => &["server", "write", "after"],
            Trouble::FullDisk => &["server", "room", "for"],
            Trouble::ClockJump => &["server", "ms"],
            Trouble::Deposed => &["for", "writers", "then"],
            Trouble::Rot => &["server", "dice"],
        }
    }
}

/// What is asked of a run from outside.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// How many voters; 1 is a server that stands alone.
    pub members: usize,
    /// Virtual time with trouble, in microseconds.
    pub trouble_us: u64,
    /// Whether each event is printed.
    pub is_loud: bool,
    /// What goes wrong, and when, in this order; `None` where the seed decides.
    pub mishaps: Option<Vec<(u64, Mishap)>>,
    /// How many operations all clients ask for in a second, where that is not for the seed to say.
    pub operations_per_s: Option<u64>,
}

impl Setup {
    /// A run of 30 virtual seconds with trouble.
    pub fn new(seed: u64, members: usize) -> Self {
        Setup {
            seed,
            members,
            trouble_us: 30_000_000,
            is_loud: false,
            mishaps: None,
            operations_per_s: None,
        }
    }
}

/// What one seed does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// I/O threads of each server.
    pub shards: u16,
    /// How many clients.
    pub clients: usize,
    /// Operations that a client has in flight at most.
    pub depth: usize,
    /// Longest pause of a client between bursts, in microseconds.
    pub pause_us: u64,
    /// Session timeout that clients ask for, in milliseconds.
    pub session_timeout_ms: u32,
    /// Length of a tick, in milliseconds.
    pub tick_ms: u32,
    /// Transactions between snapshots.
    pub snap_count: u64,
    /// Bytes of a snapshot taken at once.
    pub snapshot_slice: usize,
    /// Longest time of a sync of a healthy disk, in microseconds.
    pub sync_us: u64,
    /// Kinds of trouble that happen.
    pub troubles: Vec<Trouble>,
    /// Longest pause between troubles, in microseconds.
    pub trouble_pause_us: u64,
    /// Who is there beside the voters, and what servers may do.
    pub roles: Roles,
    /// Longest time until the snapshot thread begins what it was asked for, in microseconds.
    pub snapshot_wait_us: u64,
    /// Whether an operator asks for snapshots all the time, in every role.
    pub asks_for_snapshots: bool,
    /// How many clients never write.
    pub readers: usize,
    /// How long a leader holds its proposals at most, in microseconds, where it does.
    pub holds_us: Option<u64>,
}

impl Plan {
    /// Voters alone, and clients that keep up with a rate.
    pub fn keep_pace(&mut self) {
        self.roles = Roles::default();
        (self.depth, self.pause_us, self.readers) = (40, 20_000, 0);
    }

    /// Draws the plan of a seed.
    pub fn draw(dice: &mut Dice) -> Plan {
        let share = dice.between(20, 90);
        let early: Vec<Trouble> =
            Trouble::ALL.into_iter().filter(|kind| *kind != Trouble::LateTicks).collect();
        let mut troubles = early.clone();
        troubles.retain(|_| dice.percent(share));
        if troubles.is_empty() {
            troubles.push(*dice.pick(&early));
        }
        // What a leader logs that is cut off with its clients fills many logs.
        let hoards = troubles.contains(&Trouble::Deposed) && dice.one_in(3);
        let depth = if hoards { 40 } else { *dice.pick(&[1, 4, 16, 40]) };
        // Who has few requests in flight asks more often.
        let hurry = match depth {
            1 => 12,
            4 => 4,
            _ => 1,
        };
        let mut plan = Plan {
            shards: *dice.pick(&[1, 2, 3]),
            clients: dice.between(3, 7) as usize,
            depth,
            pause_us: dice.between(60_000, 250_000) / hurry,
            session_timeout_ms: *dice.pick(&[2000, 4000, 8000]),
            tick_ms: *dice.pick(&[200, 500, 1000]),
            snap_count: if hoards { 8 } else { *dice.pick(&[8, 40, 200, 1000]) },
            snapshot_slice: *dice.pick(&[300, 2000, 64 << 10]),
            sync_us: *dice.pick(&[200, 2000, 10_000]),
            troubles,
            trouble_pause_us: dice.between(800_000, 4_000_000),
            roles: Roles::draw(&mut dice.fork()),
            snapshot_wait_us: *dice.pick(&[0, 20_000, 800_000, 3_000_000]),
            asks_for_snapshots: dice.one_in(2),
            readers: *dice.pick(&[0, 0, 1, 2]),
            holds_us: None,
        };
        // Drawn last: the rest of a plan is what it was before these kinds were known.
        if dice.percent(share) {
            plan.troubles.push(Trouble::LateTicks);
        }
        if dice.one_in(3) {
            plan.holds_us = Some(*dice.pick(&[300, 4000, 100_000]));
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_is_planned_by_some_seed_and_left_out_by_another() {
        let plans: Vec<Plan> = (0..60).map(|seed| Plan::draw(&mut Dice::new(seed))).collect();
        for trouble in Trouble::ALL {
            let count = plans.iter().filter(|plan| plan.troubles.contains(&trouble)).count();
            assert!((1..60).contains(&count), "{trouble:?} in {count} of 60");
        }
    }
}
