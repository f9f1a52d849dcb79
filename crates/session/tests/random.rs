//! Sessions under a server that answers, fires watches and cuts its connections wherever a seed
//! says: what the crate's documentation promises holds in each run.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rookeeper_jute::proto::{ExistsRequest, GetDataRequest, SetWatches, SetWatches2};
use rookeeper_jute::{Decode, Encode, ErrorCode, OpCode, Text};
use rookeeper_session::*;
use support::*;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % sides
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.roll(chances) == 0
    }
}

/// How many requests a run has.
const REQUESTS: u64 = 150;

/// The server's side of all connections of a run.
#[derive(Default)]
struct Server {
    zxid: i64,
    /// Bytes on their way to the session.
    output: VecDeque<u8>,
    is_established: bool,
    is_expiring: bool,
    /// Paths with watches that fire once, of this connection; whether the znode exists.
    once: BTreeMap<String, bool>,
    /// Paths with persistent watches.
    always: BTreeSet<String>,
    /// Each request has a path of its own: none may come twice.
    arrived: BTreeSet<String>,
    /// What the last setWatches asked for, all tables together.
    set_again: Option<BTreeSet<String>>,
}

fn paths(lists: Vec<Option<Vec<Text<'_>>>>) -> BTreeSet<String> {
    let texts = lists.into_iter().flat_map(|list| list.expect("a list"));
    texts.map(|text| text.expect("a path").into_owned()).collect()
}

impl Server {
    fn say(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    fn take(&mut self, frame: &[u8], dice: &mut Dice) {
        if !self.is_established {
            self.is_established = true;
            let (id, timeout_ms) = if self.is_expiring { (0, 0) } else { (7, 4000) };
            self.say(&accepted(id, timeout_ms, Some(false)));
            return;
        }
        let int = |at: usize| i32::from_be_bytes(frame[at..at + 4].try_into().expect("4 bytes"));
        let (xid, op) = (int(0), OpCode::from_i32(int(4)).expect("a known operation"));
        let body = &frame[8..];
        self.zxid += i64::from(dice.one_in(2));
        let is_missing = dice.one_in(3);
        let (err, body) = match op {
            OpCode::Exists => {
                let request = ExistsRequest::from_bytes(body).expect("a request");
                let path = self.arrive(request.path);
                if request.watch {
                    self.once.insert(path, !is_missing);
                }
                let err = if is_missing { ErrorCode::NoNode } else { ErrorCode::Ok };
                (err, stat(1).to_bytes())
            }
            OpCode::GetData => {
                let request = GetDataRequest::from_bytes(body).expect("a request");
                let path = self.arrive(request.path);
                if is_missing {
                    (ErrorCode::NoNode, Vec::new())
                } else {
                    self.once.insert(path, true);
                    (ErrorCode::Ok, [(&b"d"[..]).to_bytes(), stat(1).to_bytes()].concat())
                }
            }
            OpCode::AddWatch => {
                let path: Text<'_> = Text::from_bytes(body).expect("a path");
                let path = self.arrive(path);
                self.always.insert(path);
                (ErrorCode::Ok, 0i32.to_bytes())
            }
            OpCode::SetWatches => {
                let request = SetWatches::from_bytes(body).expect("a request");
                let SetWatches { data_watches, exist_watches, child_watches, .. } = request;
                self.watches_again(vec![data_watches, exist_watches, child_watches], vec![]);
                (ErrorCode::Ok, Vec::new())
            }
            OpCode::SetWatches2 => {
                let request = SetWatches2::from_bytes(body).expect("a request");
                let once = vec![request.data_watches, request.exist_watches, request.child_watches];
                let always = vec![request.persistent_watches, request.persistent_recursive_watches];
                self.watches_again(once, always);
                (ErrorCode::Ok, Vec::new())
            }
            OpCode::Delete => {
                let path: Text<'_> = Text::from_bytes(body).expect("a path");
                self.arrive(path);
                (ErrorCode::Ok, Vec::new())
            }
            OpCode::Ping | OpCode::CloseSession => (ErrorCode::Ok, Vec::new()),
            other => panic!("{other:?} was not submitted"),
        };
        self.say(&reply(xid, self.zxid, err, &body));
    }

    fn arrive(&mut self, path: Text<'_>) -> String {
        let path = path.expect("a path").into_owned();
        assert!(self.arrived.insert(path.clone()), "{path} came twice");
        path
    }

    fn watches_again(
        &mut self,
        once: Vec<Option<Vec<Text<'_>>>>,
        always: Vec<Option<Vec<Text<'_>>>>,
    ) {
        let (once, always) = (paths(once), paths(always));
        self.set_again = Some(once.union(&always).cloned().collect());
        self.once.extend(once.into_iter().map(|path| (path, true)));
        self.always.extend(always);
    }

    /// Something changes at a znode with a watch.
    fn fire(&mut self, dice: &mut Dice) {
        self.zxid += 1;
        if dice.one_in(2) {
            let keys: Vec<String> = self.once.keys().cloned().collect();
            if let Some(path) = keys.get(dice.roll(keys.len().max(1))) {
                let exists = self.once.remove(path).expect("it is there");
                let kind = if exists { EventKind::DataChanged } else { EventKind::Created };
                self.say(&event(kind, path, self.zxid));
            }
        } else if let Some(path) = self.always.iter().nth(dice.roll(self.always.len().max(1))) {
            let bytes = event(EventKind::DataChanged, path, self.zxid);
            self.say(&bytes);
        }
    }

    fn hang_up(&mut self) {
        self.output.clear();
        self.is_established = false;
        self.once.clear();
        self.always.clear();
        self.set_again = None;
    }
}

/// What the application sees of a run.
#[derive(Default)]
struct Application {
    completed: Vec<u64>,
    /// Watches that are kept, by token, with their paths; and whether they fire once.
    kept: BTreeMap<u64, bool>,
    fired: BTreeMap<u64, usize>,
    answered: usize,
    lost: usize,
}

/// The path of a request; a watch has its request's token.
fn path_of(token: u64) -> String {
    format!("/{token:04}")
}

fn operation(token: u64, dice: &mut Dice) -> Operation {
    let (path, watch) = (path_of(token), Some(token));
    match dice.roll(5) {
        0 => exists(&path, watch),
        1 => exists(&path, None),
        2 => get(&path, watch),
        3 => delete(&path),
        _ => Operation::AddWatch { path, is_recursive: dice.one_in(2), watch: WatchToken(token) },
    }
}

/// Whether the operation leaves a watch, and whether one that fires once.
fn watch_left(operation: &Operation, result: &Result<Reply, ErrorCode>) -> Option<bool> {
    match (operation, result) {
        (Operation::Exists { watch: Some(_), .. }, Ok(_) | Err(ErrorCode::NoNode)) => Some(true),
        (Operation::GetData { .. }, Ok(_)) => Some(true),
        (Operation::AddWatch { .. }, Ok(_)) => Some(false),
        _ => None,
    }
}

impl Application {
    fn take(&mut self, effects: Vec<Effect>, operations: &BTreeMap<u64, Operation>) {
        for effect in effects {
            match effect {
                Effect::Completed { token, result, .. } => {
                    let last = self.completed.last();
                    assert!(last.is_none_or(|last| *last < token.0), "out of turn: {token:?}");
                    self.completed.push(token.0);
                    match result {
                        Err(ErrorCode::ConnectionLoss | ErrorCode::SessionExpired) => {
                            self.lost += 1;
                        }
                        _ => self.answered += 1,
                    }
                    let left = operations.get(&token.0).and_then(|op| watch_left(op, &result));
                    self.kept.extend(left.map(|fires_once| (token.0, fires_once)));
                }
                Effect::Watch { event, watchers } => {
                    for WatchToken(token) in watchers {
                        assert_eq!(event.path, path_of(token));
                        let fires_once = *self.kept.get(&token).expect("the watch is kept");
                        if fires_once {
                            self.kept.remove(&token);
                        }
                        *self.fired.entry(token).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
    }
}

struct Run {
    dice: Dice,
    harness: Harness,
    server: Server,
    application: Application,
    operations: BTreeMap<u64, Operation>,
    seen: Option<ConnectionId>,
    cuts: usize,
    sets_checked: usize,
}

impl Run {
    fn new(seed: u64) -> Run {
        let config = Config { xid_restart: seed % 2 == 1, ..Config::new(2, 4000, seed) };
        Run {
            dice: Dice(seed),
            harness: Harness::new(config),
            server: Server::default(),
            application: Application::default(),
            operations: BTreeMap::new(),
            seen: None,
            cuts: 0,
            sets_checked: 0,
        }
    }

    fn note(&mut self) {
        let effects = self.harness.take();
        self.application.take(effects, &self.operations);
        if self.harness.session.state() != Some(State::Connected)
            && self.harness.session.state() != Some(State::Connecting)
        {
            self.server.hang_up();
        }
    }

    /// The server reads all that came, and checks the watches that are set again.
    fn serve(&mut self) {
        for frame in self.harness.frames() {
            self.server.take(&frame, &mut self.dice);
            let Some(set_again) = self.server.set_again.take() else { continue };
            // Nothing can have been told or answered on this connection before.
            let kept: BTreeSet<_> = self.application.kept.keys().map(|at| path_of(*at)).collect();
            assert_eq!(set_again, kept);
            self.sets_checked += 1;
        }
    }

    /// Some bytes reach the session.
    fn deliver(&mut self) {
        let len = self.dice.roll(self.server.output.len().min(60) + 1);
        let bytes: Vec<u8> = self.server.output.drain(..len).collect();
        self.harness.receive(&bytes);
        self.note();
    }

    fn cut(&mut self) {
        self.deliver();
        self.server.hang_up();
        self.harness.disconnect();
        self.cuts += 1;
        self.note();
    }

    fn turn(&mut self, next: &mut u64) {
        match self.dice.roll(12) {
            0..=3 if *next < REQUESTS => {
                let operation = operation(*next, &mut self.dice);
                self.operations.insert(*next, operation.clone());
                self.harness.submit(*next, operation);
                *next += 1;
            }
            4..=5 => self.server.fire(&mut self.dice),
            6 if self.dice.one_in(6) => self.cut(),
            7 => {
                let ms = self.dice.roll(400) as u64;
                self.harness.pass(ms);
            }
            _ => self.deliver(),
        }
        self.note();
        if self.seen != Some(self.harness.connection) {
            self.seen = Some(self.harness.connection);
            self.server.hang_up();
            self.harness.step(Input::Connected { connection: self.harness.connection });
        }
        if self.dice.one_in(2) {
            self.serve();
        }
    }
}

fn run(seed: u64) -> Run {
    let mut run = Run::new(seed);
    let mut next = 0;
    for _ in 0..2000 {
        run.turn(&mut next);
    }
    assert_eq!(next, REQUESTS);
    // One half of the runs is expired, the other closed.
    if run.dice.one_in(2) {
        run.server.is_expiring = true;
        run.cut();
    } else {
        run.harness.step(Input::Close { token: Token(next) });
        next += 1;
    }
    for _ in 0..200 {
        run.harness.pass(100);
        run.note();
        if run.seen != Some(run.harness.connection) {
            run.seen = Some(run.harness.connection);
            run.server.hang_up();
            run.harness.step(Input::Connected { connection: run.harness.connection });
        }
        run.serve();
        run.deliver();
    }
    assert!(!run.harness.session.state().expect("it ran").is_alive());
    let expected: Vec<u64> = (0..next).collect();
    assert_eq!(run.application.completed, expected, "each token exactly once, and in order");
    assert_eq!(run.harness.session.outstanding(), 0);
    run
}

#[test]
fn each_token_comes_back_once_and_each_watch_is_told_as_it_should() {
    let (mut cuts, mut sets, mut lost, mut answered, mut fired) = (0, 0, 0, 0, 0);
    for seed in 0..300 {
        let run = run(seed);
        for (token, count) in &run.application.fired {
            let stays = matches!(run.operations[token], Operation::AddWatch { .. });
            assert!(stays || *count == 1, "seed {seed}: {token} fired {count} times");
        }
        cuts += run.cuts;
        sets += run.sets_checked;
        lost += run.application.lost;
        answered += run.application.answered;
        fired += run.application.fired.values().sum::<usize>();
    }
    // The runs are worth something: all of this happened, and often.
    assert!(cuts > 3000, "{cuts} cuts");
    assert!(sets > 1000, "{sets} times watches were set again");
    assert!(lost > 3000, "{lost} requests lost");
    assert!(answered > 15_000, "{answered} requests answered");
    assert!(fired > 5000, "{fired} watches told");
}

#[test]
fn equal_seeds_make_equal_runs() {
    let facts = |seed| {
        let run = run(seed);
        (run.application.fired, run.application.lost, run.harness.now_ms, run.harness.connection)
    };
    assert_eq!(facts(5), facts(5));
    assert_ne!(facts(5), facts(6));
}
