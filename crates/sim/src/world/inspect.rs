//! What is looked at while the world runs, and at its end.

use rookeeper_jute::{SessionId, Zxid};
use rookeeper_store::disk::Chooser;
use rookeeper_store::{EpochFile, Store};
use rookeeper_tree::Tree;
use rookeeper_zab::EpochKind;

use super::process::{Engine, read_ensemble, server_id};
use super::{Event, PEACE_US, Who, World};
use crate::checks::{Fault, judge};
use crate::model::{CONFIG, Model};
use crate::quorums::Ghost;
use crate::recovery::{self, Opened};

/// Virtual time between two looks at what a power loss would leave, in microseconds.
const GHOSTS_US: u64 = 1_500_000;

/// Compares a tree with the model, but for what is each server's own.
///
/// # Errors
/// Says what differs.
pub(crate) fn compare(tree: &Tree, model: &Model) -> Result<(), String> {
    let sessions: Vec<(SessionId, i32)> = tree.sessions().iter().collect();
    let expected: Vec<(SessionId, i32)> =
        model.sessions().iter().map(|(id, timeout_ms)| (*id, *timeout_ms)).collect();
    if sessions != expected {
        return Err(format!("sessions are {sessions:?}, not {expected:?}"));
    }
    // The root has two names in Java's count.
    let count = tree.znode_count() - 1;
    if count != model.nodes().len() {
        return Err(format!("{count} znodes, not {}", model.nodes().len()));
    }
    for (path, node) in model.nodes() {
        let Some(found) = tree.node(path) else { return Err(format!("{path} is missing")) };
        if path == CONFIG && node.stat.mzxid != Zxid::ZERO && found.data() != node.data.as_deref() {
            return Err(format!("{path} holds {:?}, not {:?}", found.data(), node.data));
        }
        if path.starts_with("/zookeeper/") {
            continue;
        }
        let acl = found.acl().map_or(&[][..], |acl| acl.entries());
        let open = acl.is_empty() && node.acl == [rookeeper_jute::Acl::open_unsafe()];
        if !open && acl != node.acl {
            return Err(format!("{path} has the ACL {acl:?}, not {:?}", node.acl));
        }
        if found.data() != node.data.as_deref() {
            return Err(format!("{path} holds {:?}, not {:?}", found.data(), node.data));
        }
        if found.persisted() != node.stat {
            return Err(format!("{path} has {:?}, not {:?}", found.persisted(), node.stat));
        }
        let owner = found.stat().ephemeral_owner;
        if owner != SessionId(0) && tree.sessions().timeout_ms(owner).is_none() {
            return Err(format!("{path} belongs to session {owner}, which is gone"));
        }
    }
    Ok(())
}

impl World {
    /// Whether all clients have all their answers.
    pub(super) fn is_quiet(&self) -> bool {
        let idle = |process: &super::process::Process| {
            process.inbox.is_empty() && !process.storage.is_busy() && !process.apply_scheduled
        };
        let tip = self.lineage.tip();
        let is_up = |process: &super::process::Process| {
            idle(process)
                && self.lineage.resolve(process.shared.tree.last_processed_zxid()) == tip
                && process.applies_committed()
        };
        let is_up = |at: &usize| self.machines[*at].process.as_ref().is_some_and(is_up);
        self.clients.iter().all(|client| client.is_quiet()) && self.members().iter().all(is_up)
    }

    /// Who keeps the world from coming to rest.
    pub(super) fn unrest(&self) -> String {
        let clients = self.clients.iter().enumerate();
        let waiting: Vec<String> = clients
            .filter(|(_, client)| !client.is_quiet())
            .map(|(at, client)| format!("client {at}: {:?}", client.standing()))
            .collect();
        let mut text = format!("no rest at {}; {}", self.lineage.tip(), waiting.join(", "));
        if let Some(membership) = self.lineage.in_force().filter(|it| it.version() != 0) {
            text.push_str(&format!("; in force is {membership}").replace('\n', " "));
        }
        for (server, machine) in self.machines.iter().enumerate() {
            let Some(process) = &machine.process else {
                text.push_str(&format!("; server {server} is down"));
                continue;
            };
            let zxid = process.shared.tree.last_processed_zxid();
            let inbox = process.inbox.len();
            let busy = process.storage.is_busy();
            text.push_str(&format!("; server {server} at {zxid}, inbox {inbox}, disk {busy}"));
            if let Engine::Member(replica) = &process.engine {
                let report = replica.report();
                let (state, serving, leader) = (report.state, report.serving, report.leader);
                let known = [report.committed.version(), report.last_seen.version()];
                text.push_str(&format!(", {state:?} {serving} of {leader:?} by {known:x?}"));
            }
        }
        text
    }

    /// What would be left if the power went out everywhere now.
    pub(super) fn look_at_ghosts(&mut self) {
        self.queue.push(GHOSTS_US, Event::Ghosts);
        let (mut ghosts, mut found) = (Vec::new(), Vec::new());
        for server in 0..self.machines.len() {
            let mut chooser = match self.dice.below(3) {
                0 => Chooser::Nothing,
                1 => Chooser::Everything,
                _ => Chooser::Random(self.dice.draw()),
            };
            let ghost = self.machines[server].disk.after_power_loss(&mut chooser);
            self.report.ghosts += 1;
            let may_be_new = !self.machines[server].is_wiped;
            let opened = recovery::open(&ghost, self.machines.len() == 1, may_be_new);
            if self.is_refused_for_rot(server, &opened) {
                continue;
            }
            let opened = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    self.fail("ghost", format!("server {server} would not start: {error}"));
                    return;
                }
            };
            if let Some(zxid) = opened.seen.mismatch {
                self.fail("digest", format!("server {server} would differ at {zxid}"));
            }
            let epochs = self.check_epochs(server, &opened.store);
            let last = opened.recovered.last_zxid;
            found.extend(opened.tree.map(|tree| (format!("the disk of server {server}"), tree)));
            let Some(first) = self.first_of(server) else {
                self.check_lone_ghost(last);
                continue;
            };
            // An empty directory that is no database has no part in elections.
            if last >= Zxid::ZERO {
                let (epoch, ensemble) = (epochs[1], read_ensemble(&ghost, &first));
                ghosts.push(Ghost { server: server_id(server), epoch, last, ensemble });
            }
        }
        self.check_ghosts(&ghosts);
        self.compare_states(&found);
        self.check_local_sessions();
        self.check_configurations();
    }

    pub(super) fn epoch_written(&mut self, server: usize, kind: EpochKind) {
        let Some(process) = &self.machines[server].process else { return };
        let which = match kind {
            EpochKind::Accepted => EpochFile::Accepted,
            EpochKind::Current => EpochFile::Current,
        };
        let epoch = process.storage.store().epoch(which).ok().flatten().unwrap_or(-1);
        let is_staged = process.before_install.is_some();
        let place = usize::from(kind == EpochKind::Current);
        let before = std::mem::replace(&mut self.machines[server].epochs[place], epoch);
        if is_staged && kind == EpochKind::Current {
            self.fail("epochs", format!("server {server} is in {epoch}, its history is staged"));
        }
        if epoch < before {
            self.fail("epochs", format!("server {server}: {kind:?} goes from {before} to {epoch}"));
        }
    }

    /// The epochs on a disk: they never go back, and nobody is in an epoch that it did not accept.
    fn check_epochs(&mut self, server: usize, store: &Store) -> [i64; 2] {
        let read = |which| store.epoch(which).ok().flatten().unwrap_or(-1);
        let found = [read(EpochFile::Accepted), read(EpochFile::Current)];
        let known = self.machines[server].epochs;
        if found[0] < known[0] || found[1] < known[1] {
            self.fail("epochs", format!("server {server} has {found:?}, and had {known:?}"));
        }
        // A server that begins writes both as 0, one after the other.
        if found[1] > found[0].max(0) {
            self.fail("epochs", format!("server {server} accepted less than it is in: {found:?}"));
        }
        found
    }

    /// What a start finds on its disk.
    pub(super) fn check_opened(&mut self, server: usize, opened: &Opened) {
        if let Some(zxid) = opened.seen.mismatch {
            self.fail("digest", format!("server {server} recovers another digest at {zxid}"));
        }
        let recovered = self.lineage.recovered(opened.recovered.last_zxid, &opened.seen.txns);
        self.note(recovered);
        self.check_epochs(server, &opened.store);
        self.check_versions(server);
    }

    /// Sessions end only when nothing was heard of them for their timeout.
    pub(super) fn sessions_expired(&mut self, who: Who, sessions: &[SessionId]) {
        let now_ms = self.server_now(who.server).monotonic_ms();
        self.report.expired += sessions.len() as u64;
        let Some(process) = self.process(who) else { return };
        let since_ms = process.serves_since_ms;
        let tree = &process.shared.tree;
        let early = sessions.iter().find_map(|id| {
            let timeout_ms = tree.sessions().timeout_ms(*id)?;
            (now_ms < since_ms + timeout_ms as u64).then_some((*id, timeout_ms))
        });
        if let Some((id, timeout_ms)) = early {
            let what = format!(
                "server {} serves since {} ms and expires session {id} of {timeout_ms} ms",
                who.server,
                now_ms - since_ms
            );
            self.fail("expired early", what);
        }
    }

    /// The end: all histories are judged, and all servers hold the same.
    pub(super) fn judge(&mut self) {
        self.gather_branches();
        if let Err(fault) = self.judged() {
            self.fault = Some(fault);
        }
    }

    fn judged(&mut self) -> Result<(), Fault> {
        let verdict = judge(&self.history, &self.lineage.committed())?;
        self.nobody_is_read_only()?;
        let tip = self.lineage.tip();
        for server in self.members() {
            let Some(process) = &self.machines[server].process else {
                return Err(Fault::new("rest", format!("server {server} does not run")));
            };
            self.agrees(server)?;
            let tree = &process.shared.tree;
            let last: Zxid = self.lineage.resolve(tree.last_processed_zxid());
            if last != tip {
                let what = format!("server {server} is at {last}, the history at {tip}");
                return Err(Fault::new("rest", what));
            }
            compare(tree, &verdict.model)
                .map_err(|what| Fault::new("equal state", format!("server {server}: {what}")))?;
            let digest = crate::digest::digest(&verdict.model);
            if tree.digest() != digest {
                return Err(Fault::new("digest", format!("server {server} at the end")));
            }
        }
        self.progressed()
    }

    /// Writes go on soon after all trouble has ended.
    fn progressed(&self) -> Result<(), Fault> {
        let limit_us = self.peace_us + PEACE_US;
        let went_on = self.history.answered().any(|(record, returned)| {
            record.is_write()
                && returned.result.is_ok()
                && record.invoked_us > self.peace_us
                && returned.at_us <= limit_us
        });
        match went_on {
            true => Ok(()),
            false => Err(Fault::new("progress", "no write was answered after all trouble ended")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::tree_config;
    use rookeeper_jute::txn::{CreateSessionTxn, CreateTxn, TxnHeader};
    use rookeeper_jute::{Acl, Encode, OpCode, Xid};
    use rookeeper_tree::ChangeLog;

    fn txn(zxid: i64, op: OpCode, record: &impl Encode) -> Vec<u8> {
        let (client_id, cxid, zxid) = (SessionId(7), Xid(1), Zxid(zxid));
        let header = TxnHeader { client_id, cxid, zxid, time_ms: 5, txn_type: op.to_i32() };
        let mut bytes = header.to_bytes();
        record.encode(&mut bytes);
        bytes
    }

    fn create(data: &[u8]) -> Vec<u8> {
        let record = CreateTxn {
            path: Some("/a".into()),
            data: Some(data),
            acl: Some(vec![Acl::open_unsafe()]),
            ephemeral: true,
            parent_cversion: 1,
        };
        txn(2, OpCode::Create, &record)
    }

    #[test]
    fn a_tree_that_holds_something_else_is_found() {
        let session = txn(1, OpCode::CreateSession, &CreateSessionTxn { timeout_ms: 4000 });
        let mut model = Model::default();
        model.replay(&session).unwrap();
        let empty = model.clone();
        model.replay(&create(b"x")).unwrap();
        let tree = |txns: &[&[u8]]| {
            let mut tree = Tree::new(tree_config());
            let mut changes = ChangeLog::default();
            for txn in txns {
                tree.apply(txn, &mut changes).unwrap();
            }
            tree
        };
        let right = tree(&[&session, &create(b"x")]);
        assert_eq!(compare(&right, &model), Ok(()));
        assert_eq!(right.digest(), crate::digest::digest(&model));
        assert!(compare(&right, &empty).is_err(), "a znode too many");
        assert!(compare(&tree(&[&session]), &model).is_err(), "a znode is missing");
        assert!(compare(&tree(&[&session, &create(b"y")]), &model).is_err(), "other data");
        assert!(compare(&tree(&[&create(b"x")]), &model).is_err(), "a session is missing");
    }
}
