//! What a million znodes cost: bytes of resident memory each, time to load them from a snapshot's
//! records, time of single changes and lookups, and the same after a long churn.
//!
//! `cargo run --release -p rookeeper-tree --example memory [part] [znodes] [bytes]`, where the part
//! is `load`, `change` or `snapshot`, each `-flat` or not; memory is only right for one part a
//! process.

use std::error::Error;
use std::time::{Duration, Instant};

use rookeeper_jute::{StatPersisted, Zxid};
use rookeeper_tree::{AclIndex, NodeId, SnapshotProgress, Tree, TreeConfig, TreeLoader, Znodes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time of this process on a processor, which a busy machine does not change much.
fn busy() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = schedstat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn each(since: Duration, count: usize) -> f64 {
    (busy() - since).as_nanos() as f64 / count as f64
}

fn config() -> TreeConfig {
    TreeConfig { index_key: [3, 4], digest_enabled: true, ..TreeConfig::default() }
}

fn stat(number: i64) -> StatPersisted {
    let zxid = Zxid(0x1_0000_0000 + number);
    let time = 1_795_000_000_000 + number;
    StatPersisted {
        czxid: zxid,
        mzxid: zxid,
        ctime: time,
        mtime: time,
        pzxid: zxid,
        ..StatPersisted::default()
    }
}

/// Small and fast, good enough to pick znodes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// `(path, position in its directory)` of all znodes, directories included.
fn paths(shape: &str, count: usize) -> Vec<String> {
    let mut paths = vec![String::new(), "/bench".to_owned()];
    let per_directory = if shape == "flat" { usize::MAX } else { 100 };
    for number in 0..count {
        if shape != "flat" && number % per_directory == 0 {
            paths.push(format!("/bench/d{:05}", number / per_directory));
        }
        let path = match shape {
            "flat" => format!("/bench/n{number:07}"),
            _ => format!("/bench/d{:05}/n{number:07}", number / per_directory),
        };
        paths.push(path);
    }
    paths
}

fn load(paths: &[String], data: &[u8]) -> Result<Tree, Box<dyn Error>> {
    let mut loader = TreeLoader::new(config());
    for (number, path) in paths.iter().enumerate() {
        loader.node(path, Some(data), -1, &stat(number as i64))?;
    }
    Ok(loader.finish(Zxid(0x2_0000_0000))?)
}

fn measure_load(paths: &[String], data: &[u8]) -> Result<(), Box<dyn Error>> {
    let before = resident_bytes();
    let start = busy();
    let tree = load(paths, data)?;
    let elapsed = busy() - start;
    let fresh = resident_bytes() - before;
    println!(
        "loaded {} znodes in {:.0} ms ({:.0} ns each), {:.1} MiB resident, {:.1} B each",
        paths.len(),
        elapsed.as_secs_f64() * 1e3,
        elapsed.as_nanos() as f64 / paths.len() as f64,
        fresh as f64 / 1048576.0,
        fresh as f64 / paths.len() as f64
    );
    lookups(&tree, paths);
    Ok(())
}

fn lookups(tree: &Tree, paths: &[String]) {
    let rounds = 2_000_000;
    for (label, range) in [("any of all", paths.len()), ("any of 1,000", 1000.min(paths.len()))] {
        let mut random = Random(42);
        let start = busy();
        let mut bytes = 0;
        for _ in 0..rounds {
            let path = &paths[random.below(range)];
            let id = tree.znodes().lookup(path).expect("loaded");
            let view = tree.znodes().view(id);
            bytes += view.data.map_or(0, <[u8]>::len) + view.stat.version as usize;
        }
        let each = each(start, rounds);
        println!("  lookup, stat and data, {label}: {each:.0} ns ({bytes})");
    }
}

/// Builds the same tree by single changes, then sets, deletes and creates at random.
fn measure_changes(paths: &[String], data: &[u8]) {
    let before = resident_bytes();
    let mut znodes = Znodes::new([5, 6], config().owner_rules(), true);
    let start = busy();
    for (number, path) in paths.iter().enumerate().skip(1) {
        insert(&mut znodes, path, data, number as i64);
    }
    let time = each(start, paths.len());
    let fresh = resident_bytes() - before;
    println!("  insert: {time:.0} ns; {:.1} MiB", fresh as f64 / 1048576.0);

    let mut random = Random(7);
    let rounds = 3 * paths.len();
    let start = busy();
    for number in 0..rounds {
        let id = znodes.lookup(&paths[random.below(paths.len())]).expect("there");
        let (zxid, time) = (Zxid(0x3_0000_0000 + number as i64), 1_795_100_000_000);
        znodes.set_data(id, Some(data), zxid, time + number as i64, number as i32);
    }
    let time = each(start, rounds);
    let hot = busy();
    for number in 0..rounds {
        let id = znodes.lookup(&paths[random.below(1000)]).expect("there");
        let (zxid, time) = (Zxid(0x4_0000_0000 + number as i64), 1_795_200_000_000);
        znodes.set_data(id, Some(data), zxid, time + number as i64, number as i32);
    }
    println!("  set, any of 1,000: {:.0} ns", each(hot, rounds));
    println!("  set: {time:.0} ns, then {}", grown(fresh, before));

    let leaves: Vec<&String> = paths.iter().filter(|path| path.contains("/n")).collect();
    let start = busy();
    for number in 0..rounds {
        let path = leaves[random.below(leaves.len())];
        let id = znodes.lookup(path).expect("there");
        znodes.remove(id);
        insert(&mut znodes, path, data, 0x3_0000_0000 + number as i64);
    }
    let time = each(start, rounds);
    println!("  delete and create: {time:.0} ns, then {}", grown(fresh, before));
    pauses(&mut znodes, &leaves, data);
    let below = znodes.descendants(NodeId::ROOT);
    assert_eq!(below, paths.len() as u64 - 1, "as many as before");
    let start = busy();
    for path in &leaves {
        let id = znodes.lookup(path).expect("there");
        znodes.remove(id);
    }
    let time = each(start, leaves.len());
    println!("  delete: {time:.0} ns, then {}", grown(fresh, before));
}

/// How long single changes take at the worst, but for the rarest, which a busy machine makes long.
fn pauses(znodes: &mut Znodes, leaves: &[&String], data: &[u8]) {
    let mut random = Random(11);
    let mut micros = Vec::with_capacity(leaves.len());
    for number in 0..leaves.len() {
        let path = leaves[random.below(leaves.len())];
        let id = znodes.lookup(path).expect("there");
        let start = Instant::now();
        znodes.remove(id);
        insert(znodes, path, data, 0x4_0000_0000 + number as i64);
        micros.push(start.elapsed().as_micros());
    }
    micros.sort_unstable();
    let at = |part: usize| micros.len().checked_sub(micros.len() / part).map(|at| micros[at - 1]);
    println!(
        "  delete and create, us: {:?} of 99%, {:?} of 99.9%, {:?} of 99.99%, {:?} of 99.999%",
        at(100).unwrap_or(0),
        at(1000).unwrap_or(0),
        at(10_000).unwrap_or(0),
        at(100_000).unwrap_or(0)
    );
}

fn insert(znodes: &mut Znodes, path: &str, data: &[u8], number: i64) {
    let (parent, name) = path.rsplit_once('/').expect("not the root");
    let parent: NodeId = znodes.lookup(parent).expect("parents first");
    znodes.insert(parent, name, Some(data), AclIndex::OPEN, &stat(number));
    let zxid = Zxid(0x1_0000_0000 + number);
    znodes.set_children_stat(parent, number as i32, zxid);
}

fn grown(fresh: u64, before: u64) -> String {
    let now = resident_bytes().saturating_sub(before);
    format!("{:.1} MiB, {:.2} of fresh", now as f64 / 1048576.0, now as f64 / fresh as f64)
}

fn measure_snapshot(paths: &[String], data: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut tree = load(paths, data)?;
    let mut out = Vec::with_capacity(1 << 20);
    let (mut bytes, mut longest) = (0, 0);
    let start = Instant::now();
    tree.begin_snapshot();
    let mut progress = SnapshotProgress::Running;
    while progress == SnapshotProgress::Running {
        out.clear();
        let step = Instant::now();
        progress = tree.continue_snapshot(256 * 1024, &mut out);
        longest = longest.max(step.elapsed().as_micros());
        bytes += out.len();
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "snapshot: {:.0} MiB in {:.0} ms, longest step of 256 KiB {longest} us",
        bytes as f64 / 1048576.0,
        elapsed * 1e3
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let part = arguments.next().unwrap_or_else(|| "load".to_owned());
    let count = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let data_len = arguments.next().map_or(Ok(100), |len| len.parse())?;
    let data = vec![b'x'; data_len];
    let (part, shape) = part.split_once('-').unwrap_or((&part, "directories"));
    let paths = paths(shape, count);
    match part {
        "load" => measure_load(&paths, &data),
        "change" => {
            measure_changes(&paths, &data);
            Ok(())
        }
        "snapshot" => measure_snapshot(&paths, &data),
        _ => Err(format!("no part is called {part}").into()),
    }
}
