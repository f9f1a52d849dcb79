//! Carries out [`StorageCommand`]s strictly in order. Transactions that come together are made
//! durable together; everything else waits for them.
//!
//! What changes the history replaces the tree as well: a cut log is read anew, a leader's snapshot
//! is staged, loaded, and only put in the place of the old history when the member has all of it.

use std::io;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_replica::{Segment, StorageCommand, StorageReport};
use rookeeper_store::{EpochFile, Install, LogWriter, Repair, Store, StoreError};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::EpochKind;
use rookeeper_zab::membership::Membership;

use crate::recovery::{TreeRecovery, Witness};

/// Who lets commands be carried out.
pub trait Host {
    /// Looks on while a history is read.
    type Witness: Witness;
    /// A new witness.
    fn witness(&self) -> Self::Witness;
    /// History was read anew: what was mended in it, and who looked on.
    fn reloaded(&mut self, repairs: &[Repair], witness: Self::Witness);
    /// To be told to the core, in this order.
    fn report(&mut self, report: StorageReport);
    /// Gives up the snapshot that is being written, for its tree goes.
    fn give_up_snapshot(&mut self);
    /// Puts a tree in the place of the present one.
    fn replace_tree(&mut self, tree: Tree);
    /// Writes a configuration down, durably.
    ///
    /// # Errors
    /// The operating system's.
    fn write_membership(&mut self, membership: &Membership, last_seen: bool) -> io::Result<()>;
    /// A log was ended: the next one's file can be prepared.
    fn rolled(&mut self) {}
    /// What the leader wants cannot be done; what is here stays.
    fn refused(&mut self, error: &StoreError) {
        let _ = error;
    }
    /// So many transactions are about to be made durable.
    fn flushing(&mut self) {}
    /// They are.
    fn flushed(&mut self, txns: usize) {
        let _ = txns;
    }
}

/// Why storage cannot go on: what the system still has of the files cannot be trusted, so the
/// process has to end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A configuration cannot be written down.
    #[error("the dynamic configuration cannot be written: {0}")]
    Membership(#[source] io::Error),
}

/// The history of a server, which one thread changes.
pub struct Storage {
    store: Arc<Store>,
    tree: TreeConfig,
    /// `None` while the history changes, and where a leader's snapshot has to come first.
    writer: Option<LogWriter>,
    install: Option<Install>,
    /// The last transaction that was written and not flushed, and how many there are.
    unsynced: Option<(Zxid, usize)>,
}

impl Storage {
    /// Over a store that was recovered; `writer` is `None` where the directory is no database and
    /// a leader's snapshot has to come first.
    pub fn new(store: Arc<Store>, writer: Option<LogWriter>, tree: TreeConfig) -> Self {
        Storage { store, tree, writer, install: None, unsynced: None }
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Carries out a command. Appended transactions are durable, and reported so, with the next
    /// [`Storage::flush`] or command of another kind.
    ///
    /// # Errors
    /// They are final: nothing may be carried out afterwards.
    ///
    /// # Panics
    /// Where commands come in another order than a core gives them.
    pub fn carry_out(
        &mut self,
        command: StorageCommand,
        host: &mut impl Host,
    ) -> Result<(), CommandError> {
        match command {
            StorageCommand::Append(segment) => Ok(self.append(&segment)?),
            command => {
                self.flush(host)?;
                self.single(command, host)
            }
        }
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// As for [`Storage::carry_out`].
    pub fn flush(&mut self, host: &mut impl Host) -> Result<(), CommandError> {
        let Some((zxid, txns)) = self.unsynced.take() else { return Ok(()) };
        host.flushing();
        self.writer().flush()?;
        host.flushed(txns);
        host.report(StorageReport::Durable(zxid));
        Ok(())
    }

    /// Ends in order. A history that is not whole is not put in place: the next start has the old
    /// one.
    ///
    /// # Errors
    /// The store's.
    pub fn close(self) -> Result<(), StoreError> {
        drop(self.install);
        self.writer.map_or(Ok(()), LogWriter::close)
    }

    fn writer(&mut self) -> &mut LogWriter {
        self.writer.as_mut().expect("nothing is appended while the history changes")
    }

    fn install(&mut self) -> &mut Install {
        self.install.as_mut().expect("a snapshot's bytes follow its beginning")
    }

    fn append(&mut self, segment: &Arc<Segment>) -> Result<(), StoreError> {
        let writer = self.writer();
        for (zxid, txn) in segment.records() {
            writer.append(zxid, txn)?;
        }
        let txns = self.unsynced.map_or(0, |(_, txns)| txns) + segment.len();
        self.unsynced = Some((segment.last_zxid(), txns));
        Ok(())
    }

    fn single(
        &mut self,
        command: StorageCommand,
        host: &mut impl Host,
    ) -> Result<(), CommandError> {
        match command {
            StorageCommand::Append(_) => unreachable!("transactions are appended together"),
            StorageCommand::Roll => {
                self.writer().roll()?;
                host.rolled();
            }
            StorageCommand::WriteEpoch { kind, epoch } => {
                let file = match kind {
                    EpochKind::Accepted => EpochFile::Accepted,
                    EpochKind::Current => EpochFile::Current,
                };
                self.store.set_epoch(file, epoch)?;
                host.report(StorageReport::EpochWritten(kind));
            }
            StorageCommand::WriteMembership { membership, last_seen } => {
                let written = host.write_membership(&membership, last_seen);
                written.map_err(CommandError::Membership)?;
                host.report(StorageReport::MembershipWritten);
            }
            StorageCommand::Truncate(zxid) => self.truncate(zxid, host)?,
            StorageCommand::BeginInstall(zxid) => {
                self.close_log(host)?;
                self.install = Some(self.store.begin_install(zxid)?);
            }
            StorageCommand::InstallBytes(bytes) => self.install().write(&bytes)?,
            StorageCommand::EndInstall => self.end_install(host)?,
            StorageCommand::Settle => {
                if let Some(install) = self.install.take() {
                    install.commit(self.writer())?;
                }
                host.report(StorageReport::Settled);
            }
            StorageCommand::Reload => {
                match self.install.take() {
                    Some(_) => drop(self.writer.take()),
                    None => self.close_log(host)?,
                }
                self.reload(host)?;
            }
        }
        Ok(())
    }

    fn truncate(&mut self, zxid: Zxid, host: &mut impl Host) -> Result<(), StoreError> {
        self.close_log(host)?;
        match self.store.truncate(zxid) {
            Ok(()) => self.reload(host),
            Err(error) if error.is_refusal() => {
                host.refused(&error);
                host.report(StorageReport::Refused);
                self.writer = Some(self.store.log_writer());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the present log, so that the history can change.
    fn close_log(&mut self, host: &mut impl Host) -> Result<(), StoreError> {
        host.give_up_snapshot();
        self.writer.take().map_or(Ok(()), LogWriter::close)
    }

    /// Reads the history from disk anew and puts its tree in place. A directory that is no database
    /// has no log still: a leader's snapshot has to come first.
    fn reload(&mut self, host: &mut impl Host) -> Result<(), StoreError> {
        let mut recovery = TreeRecovery::new(self.tree, host.witness()).with_earlier();
        let recovered = self.store.recover(&mut recovery)?;
        let is_database = recovered.last_zxid >= Zxid::ZERO;
        let writer = is_database.then(|| self.store.log_writer());
        self.put_in_place(recovery, &recovered.repairs, recovered.last_zxid, writer, host);
        Ok(())
    }

    /// Loads the staged snapshot; its log follows. What is no snapshot is refused, and given up by
    /// the `Reload` that follows.
    fn end_install(&mut self, host: &mut impl Host) -> Result<(), StoreError> {
        let mut recovery = TreeRecovery::new(self.tree, host.witness()).with_earlier();
        let install = self.install();
        install.finish_snapshot(None)?;
        match install.load(&mut recovery) {
            Ok(_) => {}
            Err(error) if error.is_refusal() => {
                host.refused(&error);
                host.report(StorageReport::Refused);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let (writer, last_zxid) = (Some(install.log_writer()), install.zxid());
        self.put_in_place(recovery, &[], last_zxid, writer, host);
        Ok(())
    }

    fn put_in_place<H: Host>(
        &mut self,
        recovery: TreeRecovery<H::Witness>,
        repairs: &[Repair],
        last_zxid: Zxid,
        writer: Option<LogWriter>,
        host: &mut H,
    ) {
        let (tree, history, witness) = recovery.finish();
        host.reloaded(repairs, witness);
        host.give_up_snapshot();
        host.replace_tree(tree);
        self.writer = writer;
        host.report(StorageReport::Reloaded { last_zxid, history });
    }
}
