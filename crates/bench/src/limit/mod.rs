//! What this machine allows: a server that does nothing but answer frames of the same lengths,
//! and one that first replicates them to two followers and has a quorum's disks sync them. What
//! any ZooKeeper does a CPU-second on this machine is to be held against these figures.
//!
//! Everything runs in this process, over loopback sockets; the CPU time is that of the threads on
//! the servers' side alone.

mod bare;
mod client;
mod echo;
mod follower;
mod sockets;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::report::Report;

pub mod sessions;

/// How long the servers may take to lay out their logs.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Clone)]
pub struct LimitOptions {
    /// Connections.
    pub connections: usize,
    /// Frames in flight on each.
    pub depth: usize,
    /// Length of a request's frame in bytes, without its length prefix.
    pub request_len: usize,
    /// Length of a reply's frame in bytes, likewise.
    pub reply_len: usize,
    /// Where the members keep a log each that is synced before the reply; `None` for a mere echo.
    pub folder: Option<PathBuf>,
    /// Members beside the one that answers, where there are logs: half of them have to sync too.
    pub followers: usize,
    /// Load before the measure.
    pub warm_up: Duration,
    /// How long to measure.
    pub duration: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct LimitResult {
    /// Replies within the measure.
    pub replies: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// CPU time of the servers' threads.
    pub server_cpu: Duration,
}

impl LimitResult {
    /// All figures.
    pub fn report(&self, options: &LimitOptions) -> Report {
        let LimitOptions { connections, depth, followers, .. } = options;
        let kind = match (&options.folder, followers) {
            (None, _) => "echo",
            (Some(_), 0) => "synced echo",
            (Some(_), _) => "replicated, synced echo",
        };
        let mut report =
            Report::new(format!("limit: {kind}, {connections} connections, depth {depth}"));
        let (replies, elapsed) = (self.replies as f64, self.elapsed.as_secs_f64());
        let cpu = self.server_cpu.as_secs_f64();
        report.add("replies", "replies", replies, "");
        report.add("replies_per_second", "replies a second", replies / elapsed, "/s");
        report.add("server_cpu_seconds", "CPU time of the servers", cpu, "s");
        if cpu > 0.0 {
            report.add("replies_per_cpu_second", "replies a CPU-second", replies / cpu, "/s");
        }
        report
    }
}

/// The threads on the servers' side, and when they are to end.
#[derive(Debug, Default)]
struct Servers {
    stop: AtomicBool,
    threads: accounting::Threads,
}

impl Servers {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Kernel ids of threads, for their CPU time.
mod accounting {
    use std::fs;
    use std::sync::Mutex;
    use std::time::Duration;

    use crate::error::BenchError;

    #[derive(Debug, Default)]
    pub(super) struct Threads(Mutex<Vec<i32>>);

    impl Threads {
        /// Counts the calling thread in.
        pub(super) fn enter(&self) {
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            self.0.lock().expect("nobody panics with the list").push(id);
        }

        /// CPU time of all of them, to the nanosecond.
        pub(super) fn cpu_time(&self) -> Result<Duration, BenchError> {
            let mut sum = Duration::ZERO;
            for id in self.0.lock().expect("nobody panics with the list").iter() {
                let path = format!("/proc/self/task/{id}/schedstat");
                let text = fs::read_to_string(&path).map_err(BenchError::io(path))?;
                let nanos = text.split(' ').next().and_then(|field| field.parse().ok());
                sum += Duration::from_nanos(nanos.unwrap_or(0));
            }
            Ok(sum)
        }
    }
}

/// Measures.
///
/// # Errors
/// Sockets or files that fail; a reply of the wrong length.
pub fn run(options: &LimitOptions) -> Result<LimitResult, BenchError> {
    if options.connections == 0 || options.depth == 0 || options.request_len == 0 {
        return Err(BenchError::Usage("connections, depth and lengths start at 1".to_owned()));
    }
    let (listener, address) = listen()?;
    let servers = Arc::new(Servers::default());
    let folder = options.folder.as_deref().map(folder_of_its_own).transpose()?;
    let result = thread::scope(|scope| {
        let mut handles = Vec::new();
        let quorum = match &folder {
            None => None,
            Some(folder) => {
                let mut followers = Vec::new();
                for number in 1..=options.followers {
                    let (listener, address) = listen()?;
                    let (servers, path) = (&servers, folder.join(format!("log-{number}")));
                    followers.push(address);
                    handles.push(scope.spawn(move || follower::run(&listener, &path, servers)));
                }
                Some(echo::Quorum { followers, log: folder.join("log-0") })
            }
        };
        let (shared, reply_len) = (&servers, options.reply_len);
        handles.push(scope.spawn(move || echo::run(listener, quorum, reply_len, shared)));
        let result = measure(options, address, &servers);
        servers.stop.store(true, Ordering::Relaxed);
        for handle in handles {
            handle.join().expect("a server's thread does not panic")?;
        }
        result
    });
    if let Some(folder) = &folder {
        let _ = fs::remove_dir_all(folder);
    }
    result
}

/// A folder of this process in another one.
fn folder_of_its_own(folder: &Path) -> Result<PathBuf, BenchError> {
    let folder = folder.join(format!("limit-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(BenchError::io(folder.display().to_string()))?;
    Ok(folder)
}

fn listen() -> Result<(TcpListener, SocketAddr), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("listen"))?;
    let address = listener.local_addr().map_err(BenchError::io("listen"))?;
    Ok((listener, address))
}

fn measure(
    options: &LimitOptions,
    address: SocketAddr,
    servers: &Servers,
) -> Result<LimitResult, BenchError> {
    let mut client = client::Client::open(options, address)?;
    let patience = Instant::now() + START_PATIENCE;
    while client.run_until(Instant::now() + Duration::from_millis(10))? == 0 {
        if Instant::now() > patience {
            return Err(BenchError::Timeout("the first reply".to_owned()));
        }
    }
    client.run_until(Instant::now() + options.warm_up)?;
    let (cpu, start) = (servers.threads.cpu_time()?, Instant::now());
    let replies = client.run_until(start + options.duration)?;
    let elapsed = start.elapsed();
    let server_cpu = servers.threads.cpu_time()?.saturating_sub(cpu);
    Ok(LimitResult { replies, elapsed, server_cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: Option<PathBuf>) -> LimitOptions {
        LimitOptions {
            connections: 3,
            depth: 4,
            request_len: 40,
            reply_len: 200,
            folder,
            followers: 2,
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(100),
        }
    }

    #[test]
    fn an_echo_answers_and_counts_its_time() {
        let result = run(&options(None)).expect("an echo");
        assert!(result.replies > 0 && result.server_cpu > Duration::ZERO, "{result:?}");
    }

    #[test]
    fn a_replicated_echo_answers_from_synced_logs() {
        let folder = std::env::temp_dir();
        let result = run(&options(Some(folder.clone()))).expect("an echo");
        assert!(result.replies > 0, "{result:?}");
        assert!(!folder.join(format!("limit-{}", std::process::id())).exists());
    }
}
