//! Ensembles whose members' disks fail as real ones do: the power is cut for one, some or all of
//! them, or there is no room left. The load and its judgement are `rookeeper-interop`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rookeeper_interop::ensemble::disk::SmallDisk;
use rookeeper_interop::ensemble::harness::{Ensemble, Plan};
use rookeeper_interop::ensemble::load::{Amount, Load, Summary};
use rookeeper_interop::ensemble::network::Network;
use rookeeper_interop::ensemble::program::Program;
use rookeeper_interop::random::Random;

use crate::ext4::Ext4;

/// What to run.
#[derive(Debug, Clone)]
pub struct Cuts {
    /// Our binary.
    pub binary: PathBuf,
    /// Members.
    pub members: usize,
    /// How often the power is cut.
    pub cycles: usize,
    /// Cycles between two judgements.
    pub judged_every: usize,
    /// Draws moments and members.
    pub seed: u64,
    /// Where the file systems are made.
    pub folder: PathBuf,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct CutOutcome {
    /// Cuts of one member, of some, of all.
    pub cuts: [u64; 3],
    /// Acknowledged writes, all found.
    pub writes: u64,
    /// Writes whose end no client learned.
    pub unknown: usize,
    /// Sessions taken up again.
    pub resumed: u64,
}

/// A load that is never without something in flight.
fn load(ensemble: &Ensemble, seed: u64, number: usize) -> Load {
    let root = format!("/load{number}");
    let mut amount = Amount { seed, root, linearizable: true, ..Amount::light() };
    amount.style.pause = Duration::from_millis(1);
    Load::start(&ensemble.addresses(), &amount)
}

fn plan(binary: &Path, members: usize) -> Plan {
    Plan::new(vec![Program::Rookeeper(binary.to_owned()); members]).config("snapCount=2000")
}

/// Cuts the power of members' disks under load, again and again.
///
/// Nobody may make a namespace of mounts meanwhile, as `ip netns exec` does: it keeps the old
/// mount, and a file system that was shut down stays so (EIO) until it is gone.
///
/// # Errors
/// Where file systems cannot be made or mounted.
///
/// # Panics
/// With the first thing that is lost or differs.
pub fn power_cuts(cuts: &Cuts) -> Result<CutOutcome, String> {
    let mut disks = Vec::new();
    for index in 0..cuts.members {
        let folder = cuts.folder.join(format!("disk{index}"));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        disks.push(Ext4::make(&folder, 256)?);
    }
    let directories = disks.iter().map(|disk| disk.mount.join("member")).collect();
    let network = Network::loopback(cuts.members);
    let plan = plan(&cuts.binary, cuts.members);
    let mut ensemble = Ensemble::prepare_in(directories, plan, network);
    for disk in &disks {
        disk.sync()?;
    }
    ensemble.launch_all();
    ensemble.wait_serving();
    let mut random = Random::new(cuts.seed);
    let mut outcome = CutOutcome::default();
    let mut running = None;
    for cycle in 0..cuts.cycles {
        let current = running.get_or_insert_with(|| load(&ensemble, cuts.seed, cycle));
        current.wait_writes(50);
        // The moment of the cut is drawn, it waits for nothing.
        thread::sleep(Duration::from_millis(random.below(700) as u64));
        let chosen = choose(&mut random, cuts.members, ensemble.leader());
        cut(&mut ensemble, &mut disks, &chosen)?;
        let class =
            if chosen.len() == 1 { 0 } else { 1 + usize::from(chosen.len() == cuts.members) };
        outcome.cuts[class] += 1;
        ensemble.wait_serving();
        if (cycle + 1) % cuts.judged_every == 0 || cycle + 1 == cuts.cycles {
            let ended = running.take().expect("a load runs").finish(&mut ensemble);
            outcome.add(&ended);
        }
    }
    drop(ensemble);
    Ok(outcome)
}

impl CutOutcome {
    fn add(&mut self, summary: &Summary) {
        assert_eq!(summary.expired, 0, "sessions expired: {summary:?}");
        self.writes += summary.writes;
        self.unknown += summary.unknown;
        self.resumed += summary.resumed;
    }
}

/// One member (the leader in half of the cases), some, or all.
fn choose(random: &mut Random, members: usize, leader: Option<usize>) -> Vec<usize> {
    match random.below(10) {
        0..=2 => (0..members).collect(),
        3..=4 => {
            let spared = random.below(members);
            (0..members).filter(|index| *index != spared).collect()
        }
        5..=7 => vec![leader.unwrap_or_else(|| random.below(members))],
        _ => vec![random.below(members)],
    }
}

fn cut(ensemble: &mut Ensemble, disks: &mut [Ext4], chosen: &[usize]) -> Result<(), String> {
    for index in chosen {
        disks[*index].cut_power()?;
    }
    // Whatever a member acknowledges from now on would be a lie.
    thread::sleep(Duration::from_millis(20));
    for index in chosen {
        ensemble.members[*index].kill();
    }
    for index in chosen {
        disks[*index].unmount()?;
        disks[*index].mount()?;
        ensemble.launch(*index);
    }
    Ok(())
}

/// Fills the disk of a follower, then of the leader, while the others go on; with room again each
/// comes back. Returns what the load did.
///
/// # Errors
/// Where no small file system can be mounted.
///
/// # Panics
/// With the first thing that is lost or differs, or where the ensemble does not go on.
pub fn full_disks(binary: &Path, folder: &Path) -> Result<Summary, String> {
    let mut disks = Vec::new();
    for index in 0..3 {
        disks.push(SmallDisk::make(&folder.join(format!("tmpfs{index}")), 64)?);
    }
    let directories = disks.iter().map(|disk| disk.mount.join("member")).collect();
    let mut ensemble = Ensemble::prepare_in(directories, plan(binary, 3), Network::loopback(3));
    ensemble.launch_all();
    ensemble.wait_serving();
    let load = load(&ensemble, 1, 0);
    load.wait_writes(200);
    for leads in [false, true] {
        let leader = ensemble.wait_leader();
        let full = if leads { leader } else { (leader + 1) % 3 };
        let ballast = disks[full].mount.join("ballast");
        fill(&ballast)?;
        // The others take writes, whether that member has noticed or not.
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            load.wait_writes(50);
        }
        fs::remove_file(&ballast).map_err(|error| error.to_string())?;
        ensemble.wait_serving();
        load.wait_writes(100);
    }
    let summary = load.finish(&mut ensemble);
    assert_eq!(summary.expired, 0, "sessions expired: {summary:?}");
    drop(ensemble);
    Ok(summary)
}

/// Writes until there is no room.
fn fill(path: &Path) -> Result<(), String> {
    use std::io::Write as _;
    let mut file = fs::File::create(path).map_err(|error| error.to_string())?;
    let chunk = vec![0; 64 << 10];
    while file.write_all(&chunk).is_ok() {}
    Ok(())
}
