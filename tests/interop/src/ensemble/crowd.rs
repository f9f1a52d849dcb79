//! Thousands of sessions, each with an ephemeral znode, in a process of their own: a process may
//! have only so many sockets. They do nothing but stay alive, wherever members serve.

use super::client::{Session, handshake};
use crate::random::Random;
use crate::request::{self, Request, open_acl, text};
use crate::server::own_program;
use crate::wire::{Reader, opcode};
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How a crowd is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Sessions that have a connection now.
    pub up: usize,
    /// Sessions whose znode is there.
    pub made: usize,
    /// How often a session was taken up again.
    pub resumed: usize,
    /// Sessions that were told that they have expired.
    pub expired: usize,
    /// Sessions that were closed as asked.
    pub closed: usize,
}

impl Status {
    /// Both together.
    pub fn plus(self, other: Status) -> Status {
        Status {
            up: self.up + other.up,
            made: self.made + other.made,
            resumed: self.resumed + other.resumed,
            expired: self.expired + other.expired,
            closed: self.closed + other.closed,
        }
    }
}

/// A crowd's process; it ends when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts `count` sessions; their znodes are `{root}/0`, `{root}/1`, ...
    pub fn start(root: &str, count: usize, timeout_ms: i32, members: &[SocketAddr]) -> Crowd {
        let mut command = Command::new(own_program());
        command.args(["crowd", root, &count.to_string(), &timeout_ms.to_string()]);
        command.args(members.iter().map(SocketAddr::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this crate's program can be started");
        let out = BufReader::new(child.stdout.take().expect("its output was asked for"));
        Crowd { child, out }
    }

    /// Closes all sessions, from now on.
    pub fn close(&mut self) {
        self.tell("close");
    }

    fn tell(&mut self, order: &str) {
        let input = self.child.stdin.as_mut().expect("its input was asked for");
        input.write_all(format!("{order}\n").as_bytes()).expect("the crowd's process runs");
    }

    /// How it is now.
    pub fn status(&mut self) -> Status {
        self.tell("status");
        let mut line = String::new();
        self.out.read_line(&mut line).expect("the crowd's process answers");
        let numbers: Vec<usize> =
            line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [up, made, resumed, expired, closed] = numbers[..] else { panic!("said {line}") };
        Status { up, made, resumed, expired, closed }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a member may take to answer a connect request.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a session waits at most before it asks the next member, as Java's client does.
const PAUSE_MS_MAX: usize = 1000;

/// Sessions are shared out to so many threads: beginning a connection may take a while.
const THREADS: usize = 8;

/// Between a thread's turns, each of which asks every socket: 10,000 of them take about a
/// millisecond a thread, and the servers need the processors more than who asks for their answers.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It asked for its session.
    Asking,
    /// It carries it.
    Up,
    /// It asked for its end.
    Closing,
}

struct One {
    path: String,
    session: Option<Session>,
    stream: Option<TcpStream>,
    state: State,
    made: bool,
    closed: bool,
    /// The member that is asked next.
    next: usize,
    unread: Vec<u8>,
    last_zxid: i64,
    spoke: Instant,
    /// No connection is begun before.
    rests_until: Instant,
}

/// The sessions of one thread.
struct Share {
    members: Vec<SocketAddr>,
    timeout_ms: i32,
    closing: Arc<AtomicBool>,
    ones: Vec<One>,
    random: Random,
    status: Arc<Mutex<Status>>,
}

/// The crowd's process: runs until its input ends.
///
/// # Errors
/// What is wrong with an argument.
pub fn serve(arguments: &[String]) -> Result<(), String> {
    let [root, count, timeout_ms, members @ ..] = arguments else {
        return Err("root, count, timeout and members are needed".to_owned());
    };
    let count: usize = count.parse().map_err(|_| "not a count")?;
    let timeout_ms = timeout_ms.parse().map_err(|_| "not a timeout")?;
    let members: Result<Vec<SocketAddr>, _> = members.iter().map(|it| it.parse()).collect();
    let members = members.map_err(|_| "not an address")?;
    let one = |number| One {
        path: format!("{root}/{number}"),
        session: None,
        stream: None,
        state: State::Asking,
        made: false,
        closed: false,
        next: number,
        unread: Vec::new(),
        last_zxid: 0,
        spoke: Instant::now(),
        rests_until: Instant::now(),
    };
    let (closing, mut statuses) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for thread in 0..THREADS {
        let mut share = Share {
            members: members.clone(),
            timeout_ms,
            closing: closing.clone(),
            ones: (thread..count).step_by(THREADS).map(one).collect(),
            random: Random::new(thread as u64),
            status: Arc::default(),
        };
        statuses.push(share.status.clone());
        thread::spawn(move || {
            loop {
                share.turn();
                // The process ends with its input.
                thread::sleep(TURN_PAUSE);
            }
        });
    }
    for line in std::io::stdin().lock().lines() {
        if line.map_err(|error| error.to_string())? == "close" {
            closing.store(true, Ordering::Relaxed);
            continue;
        }
        let statuses = statuses.iter().map(|status| *status.lock().expect("no thread panics"));
        let all = statuses.fold(Status::default(), Status::plus);
        println!("{} {} {} {} {}", all.up, all.made, all.resumed, all.expired, all.closed);
    }
    Ok(())
}

impl Share {
    /// Reads what has come, and does for each session what is due.
    fn turn(&mut self) {
        let third = Duration::from_millis(u64::from(self.timeout_ms.unsigned_abs()) / 3);
        let mut ones = std::mem::take(&mut self.ones);
        for one in ones.iter_mut().filter(|one| !one.closed) {
            if one.stream.is_none() {
                if one.rests_until <= Instant::now() {
                    self.begin(one);
                }
                continue;
            }
            self.read(one);
            match one.state {
                State::Up if self.closing.load(Ordering::Relaxed) => {
                    one.state = State::Closing;
                    one.send(request::close_session().xid(9));
                }
                State::Up if one.spoke.elapsed() > third => one.send(request::ping()),
                State::Asking | State::Closing if one.spoke.elapsed() > PATIENCE => one.lose(),
                _ => {}
            }
        }
        self.ones = ones;
        let mut status = self.status.lock().expect("no thread panics");
        status.up = self.ones.iter().filter(|one| one.state == State::Up).count();
        status.made = self.ones.iter().filter(|one| one.made).count();
    }

    fn begin(&mut self, one: &mut One) {
        let address = self.members[one.next % self.members.len()];
        let pause_ms = self.random.below(PAUSE_MS_MAX) as u64;
        one.next += 1;
        one.rests_until = Instant::now() + Duration::from_millis(pause_ms);
        one.unread.clear();
        let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
            return;
        };
        let _ = (stream.set_nodelay(true), stream.set_nonblocking(true));
        one.stream = Some(stream);
        one.write(&handshake(one.last_zxid, self.timeout_ms, one.session.as_ref()));
    }

    fn read(&self, one: &mut One) {
        let mut chunk = [0; 4096];
        loop {
            let Some(stream) = &mut one.stream else { return };
            match stream.read(&mut chunk) {
                Ok(count @ 1..) => one.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    one.lose();
                    break;
                }
            }
        }
        while let Some(frame) = take_frame(&mut one.unread) {
            self.take(one, &frame);
        }
    }

    fn take(&self, one: &mut One, frame: &[u8]) {
        let mut reader = Reader::new(frame);
        let (Ok(first), Ok(second)) = (reader.int(), reader.int()) else { return };
        let closing = self.closing.load(Ordering::Relaxed);
        let mut status = self.status.lock().expect("no thread panics");
        if one.state == State::Asking {
            // A connect response: protocol, timeout, session, password.
            let (Ok(id), Ok(password)) = (reader.long(), reader.buffer()) else { return };
            if second <= 0 {
                // Gone as asked, where only the answer was lost.
                one.closed = closing;
                status.closed += usize::from(closing);
                status.expired += usize::from(!closing);
                (one.session, one.made) = (None, false);
                return one.lose();
            }
            status.resumed += usize::from(one.session.is_some());
            let password = password.unwrap_or_default().to_vec();
            one.session = Some(Session { id, password });
            one.state = State::Up;
            if !one.made {
                one.send(create(&one.path));
            }
            return;
        }
        let mut reader = Reader::new(frame);
        let (Ok(_), Ok(zxid), Ok(error)) = (reader.int(), reader.long(), reader.int()) else {
            return;
        };
        one.last_zxid = one.last_zxid.max(zxid);
        match first {
            // Made now, or before an answer that was lost.
            1 if [0, -110].contains(&error) => one.made = true,
            9 if error == 0 => {
                one.closed = true;
                one.lose();
                status.closed += 1;
            }
            _ => {}
        }
    }
}

impl One {
    fn send(&mut self, request: Request) {
        self.write(&request.frame());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.spoke = Instant::now();
        let written = self.stream.as_mut().map(|stream| stream.write_all(bytes));
        if written.is_none_or(|written| written.is_err()) {
            self.lose();
        }
    }

    fn lose(&mut self) {
        (self.stream, self.state) = (None, State::Asking);
    }
}

fn create(path: &str) -> Request {
    let acl = open_acl();
    request::create(opcode::CREATE, &text(path), Some(b""), acl.as_deref(), 1).xid(1)
}

fn take_frame(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head = unread.first_chunk::<4>()?;
    let end = 4 + usize::try_from(u32::from_be_bytes(*head)).ok()?;
    let frame = unread.get(4..end)?.to_vec();
    unread.drain(..end);
    Some(frame)
}
