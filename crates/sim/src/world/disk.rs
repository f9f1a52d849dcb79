//! What the disk thread and the snapshot thread of a server do when it is their turn.

use rookeeper_archive::CommandError;
use rookeeper_jute::Decode;
use rookeeper_jute::txn::TxnHeader;
use rookeeper_replica::{CoreInput, StorageCommand, StorageReport};
use rookeeper_store::names::{log_zxid, snapshot_zxid};
use rookeeper_tree::SnapshotProgress;

use super::process::{Message, SnapshotJob, server_id};
use super::{Event, Who, World};
use crate::recovery::SECTIONS;
use crate::storage::Done;

impl World {
    /// What is on disk from now on.
    fn follow_disk(&mut self, who: Who, report: &StorageReport) {
        match report {
            StorageReport::EpochWritten(kind) => self.epoch_written(who.server, *kind),
            StorageReport::MembershipWritten => self.check_versions(who.server),
            _ => {}
        }
        let Some(process) = self.process(who) else { return };
        match report {
            StorageReport::Durable(zxid) if process.before_install.is_none() => {
                process.durable = *zxid;
                if process.leads == Some(zxid.epoch()) {
                    self.quorums.acknowledged(server_id(who.server), *zxid);
                }
            }
            StorageReport::Reloaded { last_zxid, .. } => {
                let is_cut = process.before_truncate.take().is_some();
                if process.before_install.is_none() {
                    process.durable = *last_zxid;
                    // A snapshot may hold more than the log of an observer that keeps none.
                    if !is_cut {
                        process.last_appended = *last_zxid;
                    }
                }
            }
            // A truncation that is refused changes nothing.
            StorageReport::Refused => {
                let before = process.before_truncate.take();
                process.last_appended = before.unwrap_or(process.last_appended);
            }
            StorageReport::Settled => {
                let end = process.settles.pop_front().expect("it was asked for");
                process.durable = process.durable.max(end);
                process.before_install = None;
            }
            _ => {}
        }
    }

    /// What becomes of the log where a command is carried out.
    fn follow_log(&mut self, who: Who, command: &StorageCommand) {
        if self.setup.is_loud {
            let line = match command {
                StorageCommand::Append(segment) => {
                    let header = |txn: &[u8]| TxnHeader::from_bytes(txn).ok();
                    let headers = segment.records().filter_map(|(_, txn)| header(txn));
                    let headers = headers.map(|header| {
                        let TxnHeader { client_id, cxid, zxid, txn_type, .. } = header;
                        format!(" {zxid} {client_id} {cxid} op {txn_type}")
                    });
                    format!("Append{}", headers.collect::<String>())
                }
                StorageCommand::InstallBytes(bytes) => format!("InstallBytes {}", bytes.len()),
                other => format!("{other:?}"),
            };
            crate::say(&format!("server {}: {line}", who.server));
        }
        let Some(process) = self.process(who) else { return };
        match command {
            StorageCommand::Append(segment) => {
                for (zxid, bytes) in segment.records() {
                    let Some(process) = self.process(who) else { return };
                    let previous = std::mem::replace(&mut process.last_appended, zxid);
                    let appended = self.lineage.append(previous, zxid, bytes);
                    self.note(appended);
                }
            }
            StorageCommand::Truncate(zxid) => {
                let files = self.machines[who.server].disk.dump();
                let names = files.keys().filter_map(|path| path.file_name()?.to_str());
                let later = names.filter_map(snapshot_zxid).filter(|snapshot| snapshot > zxid);
                self.report.snapshots_cut += later.count() as u64;
                let logs = files.keys().filter_map(|path| path.file_name()?.to_str());
                let logs = logs.filter_map(log_zxid).filter(|first| first > zxid).count();
                self.report.logs_cut += logs as u64;
                let Some(process) = self.process(who) else { return };
                process.before_truncate = Some(process.last_appended);
                process.last_appended = *zxid;
                self.report.truncations += 1;
            }
            StorageCommand::WriteMembership { last_seen: false, .. } => self.begins_by_change(who),
            StorageCommand::BeginInstall(zxid) => {
                process.before_install = Some(process.last_appended);
                process.last_appended = *zxid;
                self.report.installs += 1;
            }
            StorageCommand::Settle => {
                process.settles.push_back(process.last_appended);
                self.report.synchronisations += 1;
            }
            // A switch that was asked for before is carried out before: nothing is left to abort.
            StorageCommand::Reload if !process.settles.is_empty() => {}
            StorageCommand::Reload => {
                let before = process.before_install.take();
                process.last_appended = before.unwrap_or(process.last_appended);
            }
            _ => {}
        }
    }

    pub(super) fn command(&mut self, who: Who, command: StorageCommand) {
        self.follow_log(who, &command);
        let Some(process) = self.process(who) else { return };
        if process.storage.push(command) {
            self.start_disk(who);
        }
    }

    /// What a leader proposes waits a while for more.
    pub(super) fn release_later(&mut self, who: Who) {
        let most_us = self.plan.holds_us.expect("nothing is held otherwise");
        let after_us = self.dice.between(1, most_us);
        let Some(process) = self.process(who) else { return };
        if !process.release_scheduled {
            process.release_scheduled = true;
            self.queue.push(after_us, Event::Release(who));
        }
    }

    pub(super) fn release_turn(&mut self, who: Who) {
        let Some(process) = self.process(who) else { return };
        process.release_scheduled = false;
        self.tell_core(who, Message::Release);
    }

    fn start_disk(&mut self, who: Who) {
        let sync_us = self.machines[who.server].sync_us;
        let after_us = self.dice.between(sync_us / 8 + 20, sync_us + 20);
        let Some(process) = self.process(who) else { return };
        if process.storage.start() {
            let changes = process.storage.changes();
            let changes_history = process.storage.changes_history();
            self.queue.push(after_us, Event::Disk(who));
            if changes {
                self.change_begins(who.server, changes_history);
            }
        }
    }

    pub(super) fn disk_turn(&mut self, who: Who) {
        if self.process(who).is_none() {
            return;
        }
        if std::mem::take(&mut self.machines[who.server].power_loss_in_batch) {
            self.crash(who.server, true);
            return;
        }
        let Some(process) = self.process(who) else { return };
        let has_room = process.storage.has_room();
        let said_full = std::mem::replace(&mut process.storage.said_full, !has_room);
        if said_full == has_room {
            let report = if has_room { StorageReport::Room } else { StorageReport::Full };
            self.tell_core(who, Message::Storage(report));
        }
        if !has_room {
            self.queue.push(200_000, Event::Disk(who));
            return;
        }
        let Some(process) = self.process(who) else { return };
        match process.storage.finish() {
            Ok(done) => {
                for done in done {
                    self.disk_done(who, done);
                }
                self.start_disk(who);
            }
            Err(error) => self.disk_failed(who, &error),
        }
    }

    fn disk_done(&mut self, who: Who, done: Done) {
        match done {
            Done::Report(report) => {
                self.follow_disk(who, &report);
                self.tell_core(who, Message::Storage(report));
            }
            Done::Tree(tree) => {
                let Some(process) = self.process(who) else { return };
                process.shared.replace_tree(*tree);
            }
            Done::GiveUpSnapshot => {
                let Some(process) = self.process(who) else { return };
                if process.snapshot.take().is_some() {
                    process.shared.tree.abort_snapshot();
                    self.tell_core(who, Message::Core(CoreInput::SnapshotEnded));
                }
            }
            Done::Mismatch(zxid) => {
                self.fail(
                    "digest",
                    format!("server {} reads another digest at {zxid}", who.server),
                );
            }
        }
    }

    /// A failed write or sync ends the process, whatever the core still wants.
    fn disk_failed(&mut self, who: Who, error: &CommandError) {
        if self.setup.is_loud {
            crate::say(&format!("server {}: {error}", who.server));
        }
        self.tell_core(who, Message::Storage(StorageReport::Failed));
    }

    pub(super) fn snapshot_turn(&mut self, who: Who, number: u64) {
        let (slice_len, pause_us) = (self.plan.snapshot_slice, self.dice.between(50, 2000));
        let Some(process) = self.process(who) else { return };
        let tree = &mut process.shared.tree;
        if number == 0 {
            let start = tree.begin_snapshot();
            let (zxid, digest) = (start.zxid, start.digest);
            process.snapshots += 1;
            let number = process.snapshots;
            match process.storage.store().snapshot_writer(start.zxid) {
                Ok(writer) => {
                    process.snapshot = Some(SnapshotJob { writer, start, number });
                    self.queue.push(pause_us, Event::Snapshot(who, number));
                }
                Err(_) => self.snapshot_ended(who, false),
            }
            self.shows(&format!("a snapshot of server {}", who.server), zxid, digest);
            return;
        }
        let Some(mut job) = process.snapshot.take_if(|job| job.number == number) else { return };
        let mut slice = Vec::new();
        let progress = tree.continue_snapshot(slice_len, &mut slice);
        let written = job.writer.write(&slice);
        if progress == SnapshotProgress::Running && written.is_ok() {
            process.snapshot = Some(job);
            self.queue.push(pause_us, Event::Snapshot(who, number));
            return;
        }
        let done = written.and_then(|()| SECTIONS.finish(job.writer, job.start)).is_ok();
        self.snapshot_ended(who, done);
    }

    fn snapshot_ended(&mut self, who: Who, is_done: bool) {
        let purges = self.dice.one_in(3);
        let Some(process) = self.process(who) else { return };
        if !is_done {
            process.shared.tree.abort_snapshot();
        } else if purges {
            // A disk that refuses to remove files has another turn.
            let purge = process.storage.store().purge(3).unwrap_or_default();
            if let Some(first) = purge.logs_from {
                process.inbox.push_back(Message::Storage(StorageReport::LogsFrom(first)));
            }
        }
        self.tell_core(who, Message::Core(CoreInput::SnapshotEnded));
    }
}
