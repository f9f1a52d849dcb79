//! The disk's part of the limit: a log that is synced batch by batch, and a follower that keeps
//! one.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::Servers;
use crate::error::BenchError;

/// Bytes of the file, written once before the measure: a sync then writes data alone. What does
/// not fit starts again at its beginning.
const LOG_LEN: u64 = 64 << 20;

/// A file that batches are appended to.
pub(super) struct Log {
    file: File,
    at: u64,
}

impl Log {
    pub(super) fn create(path: &Path) -> Result<Log, BenchError> {
        let failed = || BenchError::io(path.display().to_string());
        let file = File::create(path).map_err(failed())?;
        let zeros = vec![0; 1 << 20];
        for chunk in 0..LOG_LEN / zeros.len() as u64 {
            file.write_all_at(&zeros, chunk * zeros.len() as u64).map_err(failed())?;
        }
        file.sync_all().map_err(failed())?;
        Ok(Log { file, at: 0 })
    }

    /// Writes a batch and syncs it.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<(), BenchError> {
        let failed = || BenchError::io("the log");
        if self.at + batch.len() as u64 > LOG_LEN {
            self.at = 0;
        }
        self.file.write_all_at(batch, self.at).map_err(failed())?;
        self.at += batch.len() as u64;
        self.file.sync_data().map_err(failed())
    }
}

/// Takes batches, each with its length before it, and answers each with one byte once it is synced.
pub(super) fn run(
    listener: &TcpListener,
    path: &Path,
    servers: &Servers,
) -> Result<(), BenchError> {
    let failed = || BenchError::io("a follower's socket");
    let mut log = Log::create(path)?;
    let (mut leader, _) = listener.accept().map_err(failed())?;
    leader.set_nodelay(true).map_err(failed())?;
    leader.set_read_timeout(Some(Duration::from_millis(100))).map_err(failed())?;
    servers.threads.enter();
    let mut input = Vec::new();
    let mut scratch = vec![0; 1 << 20];
    loop {
        match leader.read(&mut scratch) {
            Ok(0) => return Ok(()),
            // The leader has ended and did not read the last answers.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Ok(len) => input.extend_from_slice(&scratch[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if servers.is_stopping() {
                    return Ok(());
                }
            }
            Err(error) => return Err(failed()(error)),
        }
        // Whatever has come is one sync; each of its batches is answered.
        let (mut end, mut batches) = (0, Vec::new());
        while let Some((prefix, rest)) = input[end..].split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*prefix) as usize;
            if rest.len() < len {
                break;
            }
            end += 4 + len;
            batches.push(1);
        }
        if end > 0 {
            log.append(&input[..end])?;
            input.drain(..end);
            match leader.write_all(&batches) {
                Err(_) if servers.is_stopping() => return Ok(()),
                written => written.map_err(failed())?,
            }
        }
    }
}
