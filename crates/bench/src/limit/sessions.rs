//! The limits of a storm of sessions and of telling watchers: the same clients as of
//! [`crate::storm`] and [`crate::watch`], against a bare server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::{Servers, bare, folder_of_its_own, follower, listen};
use crate::error::BenchError;
use crate::storm::{self, StormOptions, StormResult};
use crate::watch::{self, WatchOptions, WatchResult};

/// Opens and closes sessions at a server that does no more than to write two transactions for
/// each and sync them, batch by batch, into a file in `folder`.
///
/// # Errors
/// Sockets or files that fail.
pub fn storm(
    folder: &Path,
    sessions: usize,
    at_once: usize,
) -> Result<(StormOptions, StormResult), BenchError> {
    let folder = folder_of_its_own(folder)?;
    let log = follower::Log::create(&folder.join("log"))?;
    let measured = against(Some(log), "", |address| {
        let options =
            StormOptions { address, others: Vec::new(), pids: Vec::new(), sessions, at_once };
        storm::run(&options).map(|result| (options, result))
    });
    let _ = fs::remove_dir_all(&folder);
    let ((options, mut result), server_cpu) = measured?;
    result.server_cpu = server_cpu;
    Ok((options, result))
}

/// Tells watchers by a server that keeps no tree: one send of the same bytes for each.
///
/// # Errors
/// Sockets that fail.
pub fn watch(watchers: usize, rounds: usize) -> Result<(WatchOptions, WatchResult), BenchError> {
    const PATH: &str = "/rookeeper-bench-watched";
    let measured = against(None, PATH, |address| {
        let pids = Vec::new();
        let options = WatchOptions { address, pids, watchers, rounds, path: PATH.to_owned() };
        watch::run(&options).map(|result| (options, result))
    });
    // The CPU time of the bare server is of its connections' set-up as well.
    measured.map(|(result, _)| result)
}

/// Runs a scenario against a bare server; says what CPU time the server took.
fn against<T>(
    log: Option<follower::Log>,
    path: &str,
    scenario: impl FnOnce(SocketAddr) -> Result<T, BenchError>,
) -> Result<(T, Duration), BenchError> {
    let (listener, address) = listen()?;
    let servers = Servers::default();
    thread::scope(|scope| {
        let server = scope.spawn(|| bare::run(listener, log, path, &servers));
        let result = scenario(address);
        let cpu = servers.threads.cpu_time();
        servers.stop.store(true, Ordering::Relaxed);
        server.join().expect("the server's thread does not panic")?;
        Ok((result?, cpu?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_server_opens_and_closes_sessions() {
        let (_, result) = storm(&std::env::temp_dir(), 60, 7).expect("a storm");
        assert_eq!(result.sessions, 60);
        assert!(result.server_cpu > Duration::ZERO);
    }

    #[test]
    fn a_bare_server_tells_watchers() {
        let (_, result) = watch(30, 2).expect("watchers");
        assert_eq!(result.told_all.len(), 2);
    }
}
