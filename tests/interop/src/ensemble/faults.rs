//! A run of random faults under load: kills, pauses, clean stops, lost and full disks, links that
//! are cut, slow or late, each healed after a while, some at the same time. Judged every so often
//! with everything healed.

use super::disk::SmallDisk;
use super::harness::Ensemble;
use super::load::{Amount, Load, Summary};
use super::network::Network;
use super::scenario::plan;
use crate::random::Random;
use crate::server::scratch;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The members, as `scenario::plan` reads them.
    pub letters: String,
    /// How long.
    pub duration: Duration,
    /// How long each load lasts before it is judged.
    pub round: Duration,
    /// Draws faults and load.
    pub seed: u64,
    /// Whether members live in network namespaces, whose links can be cut.
    pub namespaces: bool,
    /// Whether some of these links can be delayed as well.
    pub delays: bool,
    /// Whether every other member's disk is a small one in memory, which can be full.
    pub small_disks: bool,
    /// Sessions that write.
    pub lanes: usize,
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How often each fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// Loads that were judged.
    pub rounds: u64,
    /// Acknowledged writes, all found.
    pub writes: u64,
    /// Checked reads.
    pub reads: u64,
    /// Writes whose end no client learned.
    pub unknown: usize,
    /// Sessions taken up again.
    pub resumed: u64,
    /// Digests compared between members.
    pub digests: usize,
    /// The longest time without an acknowledged write.
    pub silence_max: Duration,
}

/// What ends a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure {
    Launch(usize),
    GoOn(usize),
    Join { from: usize, to: usize },
    Quick(usize),
    Early { one: usize, other: usize },
    Room(usize),
}

struct Faults {
    ensemble: Ensemble,
    random: Random,
    cures: Vec<(Instant, Cure)>,
    report: Report,
    namespaces: bool,
    delays: bool,
    has_tc: bool,
    /// By member; dropped after the ensemble.
    disks: BTreeMap<usize, SmallDisk>,
    _folder: Folder,
}

/// Removed at the end, when nothing is mounted in it any more.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("INTEROP_KEEP").is_some() {
            eprintln!("files are kept in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Megabytes of a small disk: room for a run of half an hour of a member that purges.
const SMALL_DISK: u64 = 512;

/// The members' folders; those of every other one, the first among them, on small disks.
fn folders(
    folder: &Path,
    count: usize,
    small_disks: bool,
) -> (Vec<PathBuf>, BTreeMap<usize, SmallDisk>) {
    let mut disks = BTreeMap::new();
    let mut folders = Vec::new();
    for index in 0..count {
        let mount = folder.join(format!("member{}", index + 1));
        if small_disks && index % 2 == 0 && index + 1 < count {
            let disk = SmallDisk::make(&mount, SMALL_DISK);
            disks.insert(index, disk.unwrap_or_else(|why| panic!("no small disk: {why}")));
        }
        folders.push(mount.join("files"));
    }
    (folders, disks)
}

/// Runs it.
///
/// # Panics
/// With the first thing that is wrong.
pub fn run(run: &Run) -> Report {
    let plan = plan(&run.letters).config("syncLimit=6").config("snapCount=3000");
    let count = plan.programs.len();
    let network = match (run.namespaces, run.delays) {
        (true, true) => Network::delayed_namespaces(count).expect("the caller asked for them"),
        (true, false) => Network::namespaces(count).expect("the caller asked for namespaces"),
        (false, _) => Network::loopback(count),
    };
    let folder = Folder(scratch("faults"));
    let (folders, disks) = folders(&folder.0, count, run.small_disks);
    let mut ensemble = Ensemble::prepare_in(folders, plan, network);
    for index in disks.keys() {
        // Members start often here, and purge when they start.
        ensemble.members[*index].config.push("autopurge.purgeInterval=1".to_owned());
    }
    ensemble.launch_all();
    ensemble.wait_serving();
    let has_tc = run.namespaces
        && ensemble.network.slow(0, true).and_then(|()| ensemble.network.slow(0, false)).is_ok();
    let mut faults = Faults {
        ensemble,
        random: Random::new(run.seed),
        cures: Vec::new(),
        report: Report::default(),
        namespaces: run.namespaces,
        delays: run.namespaces && run.delays,
        has_tc,
        disks,
        _folder: folder,
    };
    let end = Instant::now() + run.duration;
    while Instant::now() < end {
        faults.round(run, end);
    }
    faults.report
}

impl Faults {
    /// One load with faults, healed and judged at the end.
    fn round(&mut self, run: &Run, end: Instant) {
        let number = self.report.rounds;
        let amount = Amount {
            lanes: run.lanes,
            seed: run.seed.wrapping_add(number),
            linearizable: !run.letters.contains(['J', 'j']),
            root: format!("/load{number}"),
            ..Amount::light()
        };
        let load = Load::start(&self.ensemble.addresses(), &amount);
        load.wait_writes(50);
        let round_end = (Instant::now() + run.round).min(end);
        while Instant::now() < round_end {
            self.fault();
            let pause = Duration::from_millis(200 + self.random.below(2500) as u64);
            self.pass(pause, &load);
        }
        self.heal_all();
        self.ensemble.wait_serving();
        load.wait_writes(50);
        let summary = load.finish(&mut self.ensemble);
        assert_eq!(summary.expired, 0, "sessions expired: {summary:?}");
        self.add(&summary);
        println!("round {number}: {summary:?} {:?}", self.report.faults);
    }

    fn add(&mut self, summary: &Summary) {
        self.report.rounds += 1;
        self.report.writes += summary.writes;
        self.report.reads += summary.reads;
        self.report.unknown += summary.unknown;
        self.report.resumed += summary.resumed;
        self.report.digests += summary.digests;
    }

    /// Lets time pass, and cures what is due.
    fn pass(&mut self, pause: Duration, load: &Load) {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            load.check();
            self.report.silence_max = self.report.silence_max.max(load.silence());
            self.cure(Instant::now());
            self.reap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn cure(&mut self, now: Instant) {
        let (due, later) =
            std::mem::take(&mut self.cures).into_iter().partition(|(at, _)| *at <= now);
        self.cures = later;
        let due: Vec<(Instant, Cure)> = due;
        for (_, cure) in due {
            match cure {
                Cure::Launch(index) => {
                    // A server that starts needs room.
                    if let Some(disk) = self.disks.get(&index) {
                        disk.fill(false);
                    }
                    self.ensemble.launch(index);
                }
                Cure::GoOn(index) => self.ensemble.members[index].go_on(),
                Cure::Join { from, to } => self.ensemble.network.cut(from, to, false),
                Cure::Quick(index) => {
                    self.ensemble.network.slow(index, false).expect("it was made slow before");
                }
                Cure::Early { one, other } => {
                    self.ensemble.network.delay(one, other, 0);
                }
                Cure::Room(index) => self.disks[&index].fill(false),
            }
        }
    }

    fn heal_all(&mut self) {
        let all = Instant::now() + Duration::from_secs(3600);
        self.cure(all);
        self.reap();
        self.cure(all);
    }

    /// A server whose disk was found full in the middle of a write ends, and is started again. No
    /// other may end by itself.
    fn reap(&mut self) {
        let ended = self.ensemble.ended();
        for index in ended {
            let code = self.ensemble.members[index].exit_code();
            let no_room = self.disks.contains_key(&index) && code == Some(1);
            if !no_room {
                let state = self.ensemble.describe();
                panic!("member {index} ended by itself, with {code:?}\n{state}");
            }
            self.ensemble.members[index].kill();
            self.count("ended, its disk full");
            self.later(2000, Cure::Launch(index));
        }
    }

    fn count(&mut self, fault: &'static str) {
        *self.report.faults.entry(fault).or_default() += 1;
    }

    fn later(&mut self, ms_max: usize, cure: Cure) {
        let after = Duration::from_millis(50 + self.random.below(ms_max) as u64);
        self.cures.push((Instant::now() + after, cure));
    }

    fn cured_later(&self, matches: impl Fn(&Cure) -> bool) -> bool {
        self.cures.iter().any(|(_, cure)| matches(cure))
    }

    /// A member that runs and goes on; the leader in half of the cases.
    fn pick(&mut self) -> Option<usize> {
        let members = &self.ensemble.members;
        let able: Vec<usize> = (0..members.len())
            .filter(|index| members[*index].pid().is_some() && !members[*index].is_paused())
            .collect();
        if able.is_empty() {
            return None;
        }
        if self.random.chance(50)
            && let Some(leader) = self.ensemble.leader()
        {
            return Some(leader);
        }
        Some(self.random.pick(&able))
    }

    fn fault(&mut self) {
        let links = if self.namespaces { 25 } else { 0 };
        let slow = if self.has_tc { 8 } else { 0 };
        let late = if self.delays { 15 } else { 0 };
        let full = if self.disks.is_empty() { 0 } else { 8 };
        match self.random.weighted(&[30, 20, 10, 4, 4, links, slow, late, full]) {
            0 => self.kill(),
            1 => self.pause(),
            2 => self.stop(),
            3 => self.kill_all(),
            4 => self.wipe(),
            5 => self.cut(),
            6 => self.slow(),
            7 => self.delay(),
            _ => self.fill(),
        }
    }

    fn kill(&mut self) {
        let Some(index) = self.pick() else { return };
        self.ensemble.members[index].kill();
        self.count("kill -9");
        self.later(3000, Cure::Launch(index));
    }

    fn stop(&mut self) {
        let Some(index) = self.pick() else { return };
        self.ensemble.members[index].stop();
        self.count("SIGTERM");
        self.later(2000, Cure::Launch(index));
    }

    fn pause(&mut self) {
        let Some(index) = self.pick() else { return };
        self.ensemble.members[index].pause();
        self.count("SIGSTOP");
        self.later(6000, Cure::GoOn(index));
    }

    fn kill_all(&mut self) {
        self.count("kill -9 of all");
        for index in 0..self.ensemble.members.len() {
            if self.ensemble.members[index].pid().is_some() {
                self.ensemble.members[index].kill();
                self.cures.retain(|(_, cure)| *cure != Cure::GoOn(index));
                self.later(1500, Cure::Launch(index));
            }
        }
    }

    /// A disk is lost. All others are well then, and stay so until the member is back: what it had
    /// acknowledged must be on a quorum without it.
    fn wipe(&mut self) {
        self.heal_all();
        self.ensemble.wait_serving();
        let index = self.random.below(self.ensemble.members.len());
        // Kept apart from the load: everything that was acknowledged reaches all members.
        self.ensemble.members[index].stop();
        self.ensemble.members[index].wipe();
        self.ensemble.launch(index);
        self.ensemble.wait_serving();
        self.count("disk lost");
    }

    fn cut(&mut self) {
        let count = self.ensemble.members.len();
        let Some(from) = self.pick() else { return };
        let to = (from + 1 + self.random.below(count - 1)) % count;
        let (kind, pairs): (_, Vec<(usize, usize)>) = match self.random.below(3) {
            0 => ("cut, one way", vec![(from, to)]),
            1 => ("cut, both ways", vec![(from, to), (to, from)]),
            _ => {
                let others = (0..count).filter(|other| *other != from);
                ("cut off from all", others.flat_map(|to| [(from, to), (to, from)]).collect())
            }
        };
        let length = 500 + self.random.below(7000);
        self.count(kind);
        for (from, to) in pairs {
            if !self.cured_later(|cure| *cure == Cure::Join { from, to }) {
                self.ensemble.network.cut(from, to, true);
                let at = Instant::now() + Duration::from_millis(length as u64);
                self.cures.push((at, Cure::Join { from, to }));
            }
        }
    }

    fn slow(&mut self) {
        let index = self.random.below(self.ensemble.members.len());
        if self.cured_later(|cure| *cure == Cure::Quick(index)) {
            return;
        }
        if self.ensemble.network.slow(index, true).is_ok() {
            self.count("slow link");
            self.later(6000, Cure::Quick(index));
        }
    }

    /// One link, or all of a member, become late by up to 200 ms a way.
    fn delay(&mut self) {
        let count = self.ensemble.members.len();
        let Some(one) = self.pick() else { return };
        let delay_ms = 10 + u32::try_from(self.random.below(190)).expect("below 190");
        let only = self.random.chance(50).then(|| self.random.below(count));
        let others = (0..count).filter(|other| *other != one && only.is_none_or(|o| o == *other));
        let mut late = Vec::new();
        for other in others {
            let known = self.cured_later(|cure| match cure {
                Cure::Early { one: a, other: b } => [(*a, *b), (*b, *a)].contains(&(one, other)),
                _ => false,
            });
            if !known && self.ensemble.network.delay(one, other, delay_ms) {
                late.push(other);
            }
        }
        if late.is_empty() {
            return;
        }
        self.count("late link");
        let at = Instant::now() + Duration::from_millis(500 + self.random.below(8000) as u64);
        self.cures.extend(late.into_iter().map(|other| (at, Cure::Early { one, other })));
    }

    /// The disk of a member that runs has no room left.
    fn fill(&mut self) {
        let members = &self.ensemble.members;
        let able: Vec<usize> = self.disks.keys().copied().collect();
        let index = self.random.pick(&able);
        if members[index].pid().is_none() || self.cured_later(|cure| *cure == Cure::Room(index)) {
            return;
        }
        self.disks[&index].fill(true);
        self.count("full disk");
        self.later(5000, Cure::Room(index));
    }
}
