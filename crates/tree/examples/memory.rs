//! What a million znodes cost: bytes of resident memory each, time to load them from a snapshot's
//! records, time of single changes and lookups, and the same after a long churn.
//!
//! `cargo run --release -p rookeeper-tree --example memory [znodes] [bytes]`

use std::error::Error;
use std::time::Instant;

use rookeeper_jute::{StatPersisted, Zxid};
use rookeeper_tree::{AclIndex, NodeId, SnapshotProgress, Tree, TreeConfig, TreeLoader, Znodes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
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

fn measure(shape: &str, count: usize, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let paths = paths(shape, count);
    let before = resident_bytes();
    let start = Instant::now();
    let tree = load(&paths, data)?;
    let elapsed = start.elapsed();
    let fresh = resident_bytes() - before;
    println!(
        "{shape}: loaded {} znodes in {:.0} ms ({:.0} ns each), {:.1} MiB resident, {:.1} B each",
        paths.len(),
        elapsed.as_secs_f64() * 1e3,
        elapsed.as_nanos() as f64 / paths.len() as f64,
        fresh as f64 / 1048576.0,
        fresh as f64 / paths.len() as f64
    );
    lookups(&tree, &paths);
    drop(tree);
    changes(shape, &paths, data);
    Ok(())
}

fn lookups(tree: &Tree, paths: &[String]) {
    let rounds = 2_000_000;
    for (label, range) in [("any of all", paths.len()), ("any of 1,000", 1000.min(paths.len()))] {
        let mut random = Random(42);
        let start = Instant::now();
        let mut bytes = 0;
        for _ in 0..rounds {
            let path = &paths[random.below(range)];
            let id = tree.znodes().lookup(path).expect("loaded");
            let view = tree.znodes().view(id);
            bytes += view.data.map_or(0, <[u8]>::len) + view.stat.version as usize;
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(rounds);
        println!("  lookup, stat and data, {label}: {each:.0} ns ({bytes})");
    }
}

/// Builds the same tree by single changes, then sets, deletes and creates at random.
fn changes(shape: &str, paths: &[String], data: &[u8]) {
    let before = resident_bytes();
    let mut znodes = Znodes::new([5, 6], config().owner_rules(), true);
    let mut longest = 0;
    let start = Instant::now();
    let mut last = start;
    for (number, path) in paths.iter().enumerate().skip(1) {
        insert(&mut znodes, path, data, number as i64);
        let now = Instant::now();
        longest = longest.max((now - last).as_micros());
        last = now;
    }
    let each = start.elapsed().as_nanos() as f64 / paths.len() as f64;
    let fresh = resident_bytes() - before;
    println!("  insert: {each:.0} ns, longest {longest} us; {:.1} MiB", fresh as f64 / 1048576.0);

    let mut random = Random(7);
    let rounds = 3 * paths.len();
    let start = Instant::now();
    for number in 0..rounds {
        let id = znodes.lookup(&paths[random.below(paths.len())]).expect("there");
        let (zxid, time) = (Zxid(0x3_0000_0000 + number as i64), 1_795_100_000_000);
        znodes.set_data(id, Some(data), zxid, time + number as i64, number as i32);
    }
    let each = start.elapsed().as_nanos() as f64 / rounds as f64;
    println!("  set: {each:.0} ns, then {}", grown(fresh, before));

    let leaves: Vec<&String> = paths.iter().filter(|path| path.contains("/n")).collect();
    let start = Instant::now();
    let mut longest = 0;
    for number in 0..rounds {
        let path = leaves[random.below(leaves.len())];
        let id = znodes.lookup(path).expect("there");
        let start = Instant::now();
        znodes.remove(id);
        insert(&mut znodes, path, data, 0x3_0000_0000 + number as i64);
        longest = longest.max(start.elapsed().as_micros());
    }
    let each = start.elapsed().as_nanos() as f64 / rounds as f64;
    println!(
        "  delete and create: {each:.0} ns, longest {longest} us, then {}",
        grown(fresh, before)
    );
    let children = znodes.children(znodes.lookup("/bench").expect("there")).count();
    assert_eq!(children, if shape == "flat" { leaves.len() } else { leaves.len().div_ceil(100) });
    let start = Instant::now();
    for path in &leaves {
        let id = znodes.lookup(path).expect("there");
        znodes.remove(id);
    }
    let each = start.elapsed().as_nanos() as f64 / leaves.len() as f64;
    println!("  delete: {each:.0} ns, then {}", grown(fresh, before));
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

fn snapshot(count: usize, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let paths = paths("directories", count);
    let mut tree = load(&paths, data)?;
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
    let count = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let data_len = arguments.next().map_or(Ok(100), |len| len.parse())?;
    let data = vec![b'x'; data_len];
    for shape in ["directories", "flat"] {
        measure(shape, count, &data)?;
    }
    snapshot(count, &data)
}
