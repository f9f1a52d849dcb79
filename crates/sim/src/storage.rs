//! The disk thread of a server: takes all that is queued, writes it, syncs it, says what is
//! durable. What it does takes virtual time, and a crash may come in the middle of it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rookeeper_archive::{CommandError, Host, Storage as Archive};
use rookeeper_jute::Zxid;
use rookeeper_replica::{StorageCommand, StorageReport};
use rookeeper_store::{Disk, Repair, SimulatedDisk, Store};
use rookeeper_tree::Tree;
use rookeeper_zab::membership::Membership;

use crate::recovery::{DATA_DIR, Onlooker, membership_path, tree_config};

/// What carrying out a batch comes to, in order.
pub enum Done {
    /// To be reported.
    Report(StorageReport),
    /// Another tree takes the place of the present one, before the report that follows.
    Tree(Box<Tree>),
    /// The snapshot that is being written is given up.
    GiveUpSnapshot,
    /// What was read has another digest than it should, from this transaction on.
    Mismatch(Zxid),
}

/// Free bytes below which nothing is written.
const RESERVE: u64 = 32 << 10;

/// A server's disk thread.
pub struct Storage {
    archive: Archive,
    disk: SimulatedDisk,
    queue: VecDeque<StorageCommand>,
    /// What is being carried out.
    batch: VecDeque<StorageCommand>,
    /// Whether it was said that there is no room.
    pub said_full: bool,
    /// The thread has ended: what it is still told is lost on it.
    has_failed: bool,
}

impl Storage {
    /// A thread that has nothing to do.
    ///
    /// Where there is no `history` at all, a leader's snapshot has to come first.
    pub fn new(store: Store, disk: SimulatedDisk, history: bool) -> Self {
        let writer = history.then(|| store.log_writer());
        Storage {
            archive: Archive::new(Arc::new(store), writer, tree_config()),
            disk,
            queue: VecDeque::new(),
            batch: VecDeque::new(),
            said_full: false,
            has_failed: false,
        }
    }

    /// Queues a command; whether the thread was idle and has to start.
    pub fn push(&mut self, command: StorageCommand) -> bool {
        if self.has_failed {
            return false;
        }
        self.queue.push_back(command);
        self.batch.is_empty()
    }

    /// Takes all that is queued; `false` if there is nothing.
    pub fn start(&mut self) -> bool {
        assert!(self.batch.is_empty(), "one batch at a time");
        self.batch.extend(self.queue.drain(..));
        !self.batch.is_empty()
    }

    /// Whether a batch is being carried out.
    pub fn is_busy(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether the batch does more than append.
    pub fn changes(&self) -> bool {
        let plain = |command: &StorageCommand| {
            matches!(command, StorageCommand::Append(_) | StorageCommand::Roll)
        };
        !self.batch.iter().all(plain)
    }

    /// Whether the batch changes what is history already.
    pub fn changes_history(&self) -> bool {
        let changes = |command: &StorageCommand| {
            matches!(command, StorageCommand::Truncate(_) | StorageCommand::EndInstall)
        };
        self.batch.iter().any(changes)
    }

    /// Where the batch cuts the history, if it does.
    pub fn truncates(&self) -> Option<Zxid> {
        self.batch.iter().find_map(|command| match command {
            StorageCommand::Truncate(zxid) => Some(*zxid),
            _ => None,
        })
    }

    /// Whether the batch has the last of a leader's snapshot, and does not put it in place.
    pub fn ends_install(&self) -> bool {
        let has = |wanted: fn(&StorageCommand) -> bool| self.batch.iter().any(wanted);
        has(|command| matches!(command, StorageCommand::EndInstall))
            && !has(|command| matches!(command, StorageCommand::Settle))
    }

    /// Whether there is room for the batch; while there is not, it waits.
    pub fn has_room(&self) -> bool {
        let len = |command: &StorageCommand| match command {
            StorageCommand::Append(segment) => segment.bytes_len() as u64,
            StorageCommand::InstallBytes(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let needed = RESERVE + 2 * self.batch.iter().map(len).sum::<u64>();
        self.store().free_space().is_ok_and(|free| free.log_dir >= needed)
    }

    /// Carries the batch out.
    ///
    /// # Errors
    /// They are final: the thread has ended, nothing that was queued is carried out any more, and
    /// the process has to end.
    pub fn finish(&mut self) -> Result<Vec<Done>, CommandError> {
        let mut host = WorldHost { disk: &self.disk, done: Vec::new() };
        let mut carried = Ok(());
        while carried.is_ok()
            && let Some(command) = self.batch.pop_front()
        {
            carried = self.archive.carry_out(command, &mut host);
        }
        if let Err(error) = carried.and_then(|()| self.archive.flush(&mut host)) {
            self.batch.clear();
            self.queue.clear();
            self.has_failed = true;
            return Err(error);
        }
        Ok(host.done)
    }

    /// The data directory.
    pub fn store(&self) -> &Arc<Store> {
        self.archive.store()
    }
}

/// What carrying out commands needs of the world.
struct WorldHost<'d> {
    disk: &'d SimulatedDisk,
    done: Vec<Done>,
}

impl Host for WorldHost<'_> {
    type Witness = Onlooker;

    fn witness(&self) -> Onlooker {
        Onlooker::default()
    }

    fn reloaded(&mut self, _repairs: &[Repair], witness: Onlooker) {
        self.done.extend(witness.mismatch.map(Done::Mismatch));
    }

    fn report(&mut self, report: StorageReport) {
        self.done.push(Done::Report(report));
    }

    /// A snapshot goes with its tree.
    fn give_up_snapshot(&mut self) {
        self.done.push(Done::GiveUpSnapshot);
    }

    fn replace_tree(&mut self, tree: Tree) {
        self.done.push(Done::Tree(Box::new(tree)));
    }

    fn write_membership(&mut self, membership: &Membership, last_seen: bool) -> io::Result<()> {
        write_membership(self.disk, membership, last_seen)
    }
}

/// Writes a configuration: the committed one, or the last one proposed.
///
/// # Errors
/// The disk's.
pub fn write_membership(
    disk: &SimulatedDisk,
    membership: &Membership,
    last_seen: bool,
) -> io::Result<()> {
    let path = membership_path(last_seen);
    let next = path.with_extension("tmp");
    let file = disk.create(&next)?;
    file.write_at(0, membership.to_string().as_bytes())?;
    file.sync_all()?;
    disk.rename(&next, &path)?;
    disk.sync_dir(Path::new(DATA_DIR))
}

#[cfg(test)]
mod tests {
    use rookeeper_store::disk::{Fault, FaultKind};
    use rookeeper_zab::EpochKind;

    use super::*;
    use crate::recovery::{self, store_config};

    /// What ends a process leaves behind what was carried out before it, and nothing that was to
    /// follow: the real thread is gone by then (seed 5180 of three).
    #[test]
    fn nothing_is_carried_out_after_a_failure() {
        let disk = SimulatedDisk::new();
        drop(recovery::open(&disk, false, true).unwrap());
        let store = Store::open(Arc::new(disk.clone()), store_config(true)).unwrap();
        let mut storage = Storage::new(store, disk.clone(), false);
        let write = |kind, epoch| StorageCommand::WriteEpoch { kind, epoch };
        assert!(storage.push(write(EpochKind::Accepted, 1)));
        storage.push(write(EpochKind::Current, 1));
        assert!(storage.start());
        storage.push(write(EpochKind::Accepted, 2));
        disk.plan_fault(Fault {
            kind: FaultKind::Sync,
            path_contains: "acceptedEpoch".to_owned(),
            after: 0,
            error: io::ErrorKind::Other,
        });
        assert!(storage.finish().is_err());
        assert!(!storage.is_busy() && !storage.start());
        assert!(!storage.push(write(EpochKind::Current, 1)) && !storage.start());
        let current = Path::new(DATA_DIR).join("version-2").join("currentEpoch");
        assert_eq!(disk.contents(&current), None);
    }
}
