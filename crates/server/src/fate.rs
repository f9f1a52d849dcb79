//! How the server ends: the first reason given is the one that counts.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rookeeper_replica::HaltReason;
use rookeeper_store::StoreError;

/// Exit codes of the process (Java: `ExitCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Stopped as asked.
    Finished = 0,
    /// Something that must not happen, a failed write of the log among it.
    UnexpectedError = 1,
    /// A snapshot cannot be written (Java: `TXNLOG_ERROR_TAKING_SNAPSHOT`).
    SnapshotFailed = 10,
    /// A member cannot listen for its peers.
    CannotBindQuorumPort = 14,
}

/// Where threads say that the server has to end, and where others wait for it.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    code: Mutex<Option<ExitCode>>,
    decided: Condvar,
    halted: Mutex<bool>,
    core_halted: Condvar,
}

impl Fate {
    /// Ends the server.
    pub(crate) fn decide(&self, code: ExitCode) {
        let mut decided = self.code.lock();
        if decided.is_none() {
            *decided = Some(code);
            self.decided.notify_all();
        }
    }

    /// The core does nothing any more.
    pub(crate) fn halted(&self, reason: HaltReason) {
        match reason {
            HaltReason::Shutdown => {}
            HaltReason::DiskFailed | HaltReason::DiskFull => {
                self.decide(ExitCode::UnexpectedError);
            }
            HaltReason::Apply(error) => {
                tracing::error!(
                    %error,
                    "a transaction cannot be applied that was prepared here: the server ends"
                );
                self.decide(ExitCode::UnexpectedError);
            }
        }
        let mut halted = self.halted.lock();
        *halted = true;
        self.core_halted.notify_all();
    }

    /// Waits until the core does nothing any more; `false` when that takes too long.
    pub(crate) fn wait_halted(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut halted = self.halted.lock();
        while !*halted {
            if self.core_halted.wait_until(&mut halted, deadline).timed_out() {
                return *halted;
            }
        }
        true
    }

    /// Ends the server since the log cannot be written.
    pub(crate) fn log_failed(&self, error: &impl std::fmt::Display) {
        tracing::error!(
            %error,
            "the transaction log cannot be written: the server ends, since nothing further could \
             be promised; what was acknowledged is on disk"
        );
        self.decide(ExitCode::UnexpectedError);
    }

    /// Ends the server since a snapshot cannot be written, as Java does
    /// (`ZooKeeperServer.takeSnapshot`): its disk is not to be trusted. One that is only full is:
    /// the log has its reserve, and the next snapshot is tried when it is due.
    pub(crate) fn snapshot_failed(&self, error: &StoreError) {
        if error.is_disk_full() {
            tracing::error!(
                %error,
                "the snapshot could not be written; the log keeps everything, and the next \
                 snapshot is tried when it is due"
            );
            return;
        }
        tracing::error!(%error, "a snapshot cannot be written: the server ends");
        self.decide(ExitCode::SnapshotFailed);
    }

    /// The reason to end, if there is one yet.
    pub(crate) fn decided(&self) -> Option<ExitCode> {
        *self.code.lock()
    }

    /// Waits until the server has to end.
    pub(crate) fn wait(&self) -> ExitCode {
        let mut decided = self.code.lock();
        loop {
            if let Some(code) = *decided {
                return code;
            }
            self.decided.wait(&mut decided);
        }
    }
}
