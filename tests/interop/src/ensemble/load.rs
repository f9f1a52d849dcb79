//! Many lanes at once, and the final comparison of histories and members.

use super::client::Client;
use super::digests;
use super::harness::Ensemble;
use super::history::judge_shared;
use super::lane::{Lane, REGISTERS, Shared, Style, own_paths, register};
use super::tree::{Tree, difference, read_tree};
use crate::request::{self, open_acl, text};
use crate::wire::opcode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much load.
#[derive(Debug, Clone)]
pub struct Amount {
    /// Sessions.
    pub lanes: usize,
    /// How each behaves.
    pub style: Style,
    /// Draws what they do.
    pub seed: u64,
    /// Whether a sync and a read must see every acknowledged write: only our leaders promise that,
    /// so it holds where no Java leads.
    pub linearizable: bool,
    /// The znode above all that it makes; it must not exist.
    pub root: String,
}

impl Amount {
    /// Six lanes, three requests in flight on each, a few milliseconds apart.
    pub fn light() -> Amount {
        let pause = Duration::from_millis(4);
        let style = Style { depth: 3, pause, timeout_ms: 60_000 };
        Amount { lanes: 6, style, seed: 1, linearizable: false, root: "/load".to_owned() }
    }
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Acknowledged writes.
    pub writes: u64,
    /// Checked reads.
    pub reads: u64,
    /// Writes whose end the client never learned.
    pub unknown: usize,
    /// Sessions taken up again after a lost connection.
    pub resumed: u64,
    /// Sessions that expired.
    pub expired: usize,
    /// Znodes at the end.
    pub znodes: usize,
    /// Digests that were compared between members.
    pub digests: usize,
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    /// What lanes tell while they run.
    pub shared: Arc<Shared>,
    began: Instant,
    root: String,
    lanes: Vec<JoinHandle<Lane>>,
}

impl Load {
    /// Makes the shared znodes and starts the lanes.
    ///
    /// # Panics
    /// Where the ensemble does not take the first writes.
    pub fn start(addresses: &[SocketAddr], amount: &Amount) -> Load {
        set_up(addresses, amount);
        let shared = Arc::new(Shared::default());
        shared.sync_is_linearizable.store(amount.linearizable, Ordering::Relaxed);
        let began = Instant::now();
        let lanes = (0..amount.lanes).map(|number| {
            let client = Client::new(addresses, number, amount.style.timeout_ms);
            let mut lane = Lane::new(number, client, amount, began);
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                lane.run(&shared);
                lane
            })
        });
        let lanes = lanes.collect();
        Load { shared, began, root: amount.root.clone(), lanes }
    }

    /// Waits until `count` more writes are acknowledged, with the load going on.
    ///
    /// # Panics
    /// Where that takes longer than anything may.
    pub fn wait_writes(&self, count: u64) {
        let target = self.shared.writes.load(Ordering::Relaxed) + count;
        let deadline = Instant::now() + super::harness::PATIENCE;
        while self.shared.writes.load(Ordering::Relaxed) < target {
            self.check();
            assert!(Instant::now() < deadline, "no {count} writes were acknowledged");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails at once where a lane has seen what must not be.
    ///
    /// # Panics
    /// With the first errors.
    pub fn check(&self) {
        let errors = self.shared.errors.lock().expect("no lane panics with the lock").clone();
        assert!(errors.is_empty(), "{:?}", &errors[..errors.len().min(5)]);
    }

    /// Time since the last acknowledged write.
    pub fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.shared.last_write_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }

    /// Ends the load and judges: all members serve and are equal, every acknowledged write is
    /// there once, ephemerals live exactly as long as their sessions.
    ///
    /// # Panics
    /// With the first thing that is wrong.
    pub fn finish(mut self, ensemble: &mut Ensemble) -> Summary {
        ensemble.wait_serving();
        self.shared.stop.store(true, Ordering::Relaxed);
        let joined = std::mem::take(&mut self.lanes).into_iter().map(JoinHandle::join);
        let mut lanes: Vec<Lane> = joined.map(|lane| lane.expect("no lane panics")).collect();
        // A lane that lost its connection at the end takes its session up again.
        for lane in &mut lanes {
            lane.run(&self.shared);
            if !lane.client.is_connected() {
                lane.connect(&self.shared);
            }
        }
        let errors = self.shared.errors.lock().expect("the lanes have ended").clone();
        assert!(errors.is_empty(), "{:?}", &errors[..errors.len().min(5)]);
        let alive: Vec<Option<i64>> =
            lanes.iter().map(|lane| lane.client.session.as_ref().map(|s| s.id)).collect();
        let tree = kept_alive(&mut lanes, &self.shared, || equal_trees(ensemble));
        judge(&self.root, &lanes, &alive, &tree);
        for lane in &mut lanes {
            lane.close(&self.shared);
        }
        let after = equal_trees(ensemble);
        judge(&self.root, &lanes, &vec![None; lanes.len()], &after);
        if let Some((path, _)) = after.iter().find(|(_, znode)| znode.ephemeral_owner != 0) {
            panic!("{path} outlived all sessions");
        }
        let digests = digests::compare(ensemble).unwrap_or_else(|why| panic!("{why}"));
        summarise(&lanes, tree.len(), digests)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn summarise(lanes: &[Lane], znodes: usize, digests: usize) -> Summary {
    use super::history::Outcome;
    let mut summary = Summary { znodes, digests, ..Summary::default() };
    for Lane { history, .. } in lanes {
        summary.writes += history.writes;
        summary.reads += history.reads;
        summary.resumed += history.resumed;
        summary.expired += history.expired.len();
        let sets = history.sets.values().flatten().map(|(_, outcome)| outcome);
        let creates = history.creates.values().chain(history.deletes.values());
        let sequential = history.sequential.iter().map(|(_, outcome, _)| outcome);
        let ephemerals = history.ephemerals.iter().map(|(.., outcome)| outcome);
        let all = sets.chain(creates).chain(sequential).chain(ephemerals);
        summary.unknown += all.filter(|outcome| **outcome == Outcome::Unknown).count();
        summary.unknown += history.swaps_unknown.len();
    }
    summary
}

fn judge(root: &str, lanes: &[Lane], alive: &[Option<i64>], tree: &Tree) {
    for (number, (lane, alive)) in lanes.iter().zip(alive).enumerate() {
        if let Err(why) = lane.history.judge(tree, *alive) {
            panic!("lane {number}: {why}");
        }
    }
    let histories: Vec<_> = lanes.iter().map(|lane| &lane.history).collect();
    let registers: Vec<String> = (0..REGISTERS).map(|number| register(root, number)).collect();
    let sequential = format!("{root}/seq/");
    judge_shared(&histories, tree, &sequential, &registers).unwrap_or_else(|why| panic!("{why}"));
}

/// Pings all sessions while something takes its time.
fn kept_alive<T>(lanes: &mut [Lane], shared: &Shared, work: impl FnOnce() -> T) -> T {
    let pause = Duration::from_millis(500);
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                lanes.iter_mut().for_each(|lane| lane.ping(shared));
                if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        // Dropped also where the work panics.
        let _done = done;
        work()
    })
}

/// The tree that all members that run show.
///
/// # Panics
/// Where two differ, or one cannot be read.
pub fn equal_trees(ensemble: &mut Ensemble) -> Tree {
    let running: Vec<usize> = (0..ensemble.members.len())
        .filter(|index| ensemble.members[*index].pid().is_some())
        .collect();
    let mut first: Option<(usize, Tree)> = None;
    for index in running {
        let address = ensemble.members[index].address;
        let tree = read_tree(address).unwrap_or_else(|why| panic!("member {index}: {why}"));
        match &first {
            None => first = Some((index, tree)),
            Some((other, expected)) => {
                if let Some(difference) = difference(expected, &tree) {
                    panic!("members {other} and {index} differ: {difference}");
                }
            }
        }
    }
    first.expect("an ensemble has members").1
}

fn set_up(addresses: &[SocketAddr], amount: &Amount) {
    let mut client = Client::new(addresses, 0, 30_000);
    let root = &amount.root;
    let mut paths = vec![root.clone(), format!("{root}/seq")];
    paths.extend((0..REGISTERS).map(|number| register(root, number)));
    paths.extend((0..amount.lanes).flat_map(|number| own_paths(root, number)));
    for path in paths {
        create(&mut client, &path, b"0");
    }
    client.ask(request::close_session());
}

/// Makes a znode, whatever happens to connections meanwhile.
///
/// # Panics
/// Where the ensemble refuses it, or does not serve in time.
pub fn create(client: &mut Client, path: &str, data: &[u8]) {
    let deadline = Instant::now() + super::harness::PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "{path} cannot be made");
        if !client.is_connected() && client.connect(deadline).is_err() {
            continue;
        }
        let acl = open_acl();
        let request = request::create(opcode::CREATE, &text(path), Some(data), acl.as_deref(), 0);
        match client.ask(request) {
            // NodeExists: the answer of an earlier try was lost.
            Some(reply) if [0, -110].contains(&reply.error) => return,
            Some(reply) => panic!("create {path} answers {}", reply.error),
            None => {}
        }
    }
}
