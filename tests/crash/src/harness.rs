//! Cycle after cycle: load, crash, start, verification.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rookeeper_bench::servers::{Kind, Server};
use rookeeper_jute::OpCode;

use crate::ext4::Ext4;
use crate::lane::Lane;
use crate::model::Write;
use crate::verify::{verify_digest, verify_lane};
use crate::wire::Wire;

/// How the server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// SIGKILL: what the process wrote to files stays.
    Kill,
    /// The file system loses what had not reached the disk.
    PowerCut,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's command; a configuration file is appended.
    pub command: Vec<String>,
    /// How it goes down.
    pub crash: Crash,
    /// How often.
    pub cycles: usize,
    /// Draws writes and moments.
    pub seed: u64,
    /// Sessions that write.
    pub lanes: usize,
    /// Requests in flight on each.
    pub depth: usize,
    /// Longest load before a crash.
    pub load_max: Duration,
    /// Where data directory and file system are made.
    pub folder: PathBuf,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Crashes after which all was right.
    pub cycles: usize,
    /// Writes acknowledged and found.
    pub acknowledged: u64,
    /// Writes in flight at a crash.
    pub in_flight: u64,
    /// Sessions that were resumed after a crash.
    pub resumed: u64,
    /// The longest start, recovery included.
    pub start_max: Duration,
}

/// Lines of the configuration: small segments and frequent snapshots, so that crashes meet them.
const CONFIGURATION: [&str; 4] = [
    "snapCount=2000",
    "preAllocSize=1024",
    "autopurge.snapRetainCount=3",
    "autopurge.purgeInterval=1",
];

/// Runs all cycles.
///
/// # Errors
/// What is wrong after a crash, with the cycle and the seed; the data directory is kept.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    fs::create_dir_all(&plan.folder).map_err(|error| error.to_string())?;
    let folder = plan.folder.canonicalize().map_err(|error| error.to_string())?;
    let mut ext4 = match plan.crash {
        Crash::Kill => None,
        Crash::PowerCut => Some(Ext4::make(&folder, 512)?),
    };
    let parent = ext4.as_ref().map_or(folder.as_path(), |ext4| ext4.mount.as_path()).to_owned();
    let mut server = prepare(plan, &parent)?;
    if let Some(ext4) = &ext4 {
        ext4.sync()?;
    }
    let mut outcome = Outcome::default();
    let mut lanes: Vec<Lane> = (0..plan.lanes)
        .map(|number| {
            Lane::new(number, plan.seed.wrapping_mul(31).wrapping_add(number as u64 * 7919))
        })
        .collect();
    for cycle in 0..plan.cycles {
        let result =
            run_cycle(plan, &mut server, ext4.as_mut(), &mut lanes, &mut outcome, cycle == 0);
        if let Err(why) = result {
            let kept = keep(&server.folder, &folder);
            return Err(format!("cycle {cycle}, seed {}: {why}; data kept in {kept}", plan.seed));
        }
        outcome.cycles += 1;
    }
    outcome.acknowledged = lanes.iter().map(|lane| lane.acknowledged).sum();
    server.kill();
    drop(server);
    Ok(outcome)
}

fn prepare(plan: &Plan, parent: &Path) -> Result<Server, String> {
    let kind =
        Kind { name: "crash".to_owned(), command: plan.command.clone(), environment: Vec::new() };
    Server::prepare(&kind, parent, &CONFIGURATION).map_err(|error| error.to_string())
}

/// Copies the data directory beside, for whoever looks into the failure.
fn keep(data: &Path, folder: &Path) -> String {
    let target = folder.join("failed");
    let copied = std::process::Command::new("cp").arg("-a").arg(data).arg(&target).status();
    match copied {
        Ok(status) if status.success() => target.display().to_string(),
        _ => data.display().to_string(),
    }
}

fn run_cycle(
    plan: &Plan,
    server: &mut Server,
    ext4: Option<&mut Ext4>,
    lanes: &mut [Lane],
    outcome: &mut Outcome,
    first: bool,
) -> Result<(), String> {
    let took = server.start().map_err(|error| error.to_string())?;
    outcome.start_max = outcome.start_max.max(took);
    if first {
        make_roots(server, lanes)?;
    }
    for lane in lanes.iter_mut() {
        outcome.resumed += u64::from(lane.session.is_some());
        verify_lane(server.address, lane)?;
    }
    let output = server.folder.join("output.txt");
    let output = fs::read(&output).map_err(|error| format!("{}: {error}", output.display()))?;
    verify_digest(server.address, &String::from_utf8_lossy(&output))?;
    load_and_crash(plan, server, ext4, lanes)?;
    outcome.in_flight += lanes.iter().map(|lane| lane.in_flight.len() as u64).sum::<u64>();
    // Every other crash hits a server that has just recovered from one.
    if !first && lanes[0].draw(4) == 0 {
        server.start().map_err(|error| error.to_string())?;
        server.kill();
    }
    Ok(())
}

fn make_roots(server: &Server, lanes: &[Lane]) -> Result<(), String> {
    let mut wire = Wire::connect(server.address, None)
        .map_err(|error| error.to_string())?
        .ok_or("no session")?;
    let paths = std::iter::once("/crash".to_owned()).chain(lanes.iter().map(Lane::root));
    for path in paths {
        let create = Write::Create { path, data: Vec::new(), ephemeral: false };
        let reply = wire.ask(create.op(), &create.body()).map_err(|error| error.to_string())?;
        if reply.err != 0 {
            return Err(format!("{create:?} answers {}", reply.err));
        }
    }
    wire.ask(OpCode::CloseSession, &[]).map_err(|error| error.to_string())?;
    Ok(())
}

/// Lets all lanes write, and takes the server down at a moment that is drawn.
fn load_and_crash(
    plan: &Plan,
    server: &mut Server,
    mut ext4: Option<&mut Ext4>,
    lanes: &mut [Lane],
) -> Result<(), String> {
    let longest = plan.load_max.as_millis() as u64;
    let load = Duration::from_millis(5 + lanes[0].draw(longest.max(1)));
    let (address, stop) = (server.address, AtomicBool::new(false));
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for lane in lanes.iter_mut() {
            let stop = &stop;
            writers.push(scope.spawn(move || lane.run(address, plan.depth, stop)));
        }
        // The moment of the crash is drawn, it waits for nothing.
        thread::sleep(load);
        let cut = match &ext4 {
            Some(ext4) => ext4.cut_power(),
            None => Ok(()),
        };
        if ext4.is_some() {
            // Whatever the server acknowledges from now on would be a lie.
            thread::sleep(Duration::from_millis(20));
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("a lane does not panic")?;
        }
        cut
    })?;
    if let Some(ext4) = ext4.as_mut() {
        ext4.unmount()?;
        ext4.mount()?;
    }
    Ok(())
}
