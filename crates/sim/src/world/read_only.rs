//! Clients of servers that have no leader, and sessions that one server alone knows.

use std::collections::BTreeMap;

use rookeeper_jute::{CreateMode, ErrorCode, SessionId, Zxid};
use rookeeper_session::{Input, Operation, Reply, State, Token, Write};

use super::{Event, World};
use crate::checks::Fault;
use crate::roles::Upgrading;

/// How long an answer to the word `isro` takes at most, in microseconds.
const PROBE_US: u64 = 30_000;

/// Whether an operation makes an ephemeral.
fn makes_ephemeral(operation: &Operation) -> bool {
    let is_ephemeral =
        |mode| matches!(mode, CreateMode::Ephemeral | CreateMode::EphemeralSequential);
    match operation {
        Operation::Create(create) => is_ephemeral(create.mode),
        Operation::Multi(writes) => writes.iter().any(|write| match write {
            Write::Create(create) => is_ephemeral(create.mode),
            _ => false,
        }),
        _ => false,
    }
}

/// What a server without a leader may answer: to writes and syncs that it does not, and to
/// nothing else that it must not.
///
/// # Errors
/// Where it says otherwise; or where a server that has a leader says that it is read-only.
pub(crate) fn check_read_only(
    is_read_only: bool,
    operation: &Operation,
    is_write: bool,
    result: &Result<Reply, ErrorCode>,
) -> Result<(), Fault> {
    let is_ordered = is_write || matches!(operation, Operation::Sync { .. });
    let refused = *result == Err(ErrorCode::NotReadOnly);
    let lost = matches!(result, Err(ErrorCode::ConnectionLoss | ErrorCode::SessionExpired));
    let what = match (is_read_only, is_ordered) {
        (true, true) if !refused && !lost => "is done without a leader",
        (true, false) if refused => "is refused, and only reads",
        (false, _) if refused => "is refused by a server that has a leader",
        _ => return Ok(()),
    };
    Err(Fault::new("read-only", format!("{operation:?} {what}: {result:?}")))
}

/// Sessions that servers take for their own, and what trees hold: nobody else knows of them, and
/// they own nothing.
///
/// # Errors
/// Where somebody does, or they do.
pub(crate) fn check_local(
    locals: &[(usize, Vec<SessionId>)],
    is_known: impl Fn(SessionId) -> bool,
    owner: impl Fn(SessionId) -> Option<String>,
) -> Result<(), Fault> {
    let mut at: BTreeMap<SessionId, usize> = BTreeMap::new();
    for (server, sessions) in locals {
        for session in sessions {
            let other = at.insert(*session, *server);
            let what = if let Some(other) = other {
                format!("at servers {other} and {server}")
            } else if is_known(*session) {
                format!("at server {server} and in a tree")
            } else if let Some(path) = owner(*session) {
                format!("at server {server} and owns {path}")
            } else {
                continue;
            };
            return Err(Fault::new("local session", format!("{session} is local {what}")));
        }
    }
    Ok(())
}

impl World {
    /// A client asks a server whether it takes writes.
    pub(super) fn probe(&mut self, client: usize, handle: usize, host: usize) {
        let after_us = self.dice.between(200, PROBE_US);
        self.queue.push(after_us, Event::Probed { client, handle, host });
    }

    pub(super) fn probed(&mut self, client: usize, handle: usize, host: usize) {
        let server = self.clients[client].hosts[host];
        let there = self.network.is_reachable(self.machine_of(client), server);
        let machine = &self.machines[server];
        let process = machine.process.as_ref().filter(|_| there && machine.paused.is_none());
        let read_write = process.is_some_and(|process| process.applies_committed());
        self.client_input(client, handle, Input::ProbeAnswered { host, read_write });
    }

    /// Judges an answer that no transaction stands behind. Its zxid is none then.
    pub(super) fn judged_zxid(
        &mut self,
        client: usize,
        token: Token,
        zxid: Zxid,
        result: &Result<Reply, ErrorCode>,
    ) -> Zxid {
        let is_read_only = self.clients[client].told == Some(State::ConnectedReadOnly);
        let record = &self.history.records[token.0 as usize];
        let is_write = record.is_write();
        let refuses = self.plan.roles.local_sessions == Some(Upgrading::Refused);
        let is_refused = *result == Err(ErrorCode::EphemeralOnLocalSession);
        let unjust = is_refused && !(refuses && makes_ephemeral(&record.operation));
        let fair = match unjust {
            true => Err(Fault::new("local session", format!("{:?} is refused", record.operation))),
            false => check_read_only(is_read_only, &record.operation, is_write, result),
        };
        self.note(fair);
        if is_read_only {
            self.history.read_only.insert(token.0);
            self.report.read_only += 1;
        }
        let is_nowhere = is_refused || is_read_only && is_write;
        if is_nowhere { Zxid::NONE } else { zxid }
    }

    /// Local sessions are each one server's.
    pub(super) fn check_local_sessions(&mut self) {
        if self.plan.roles.local_sessions.is_none() {
            return;
        }
        let processes = || self.machines.iter().filter_map(|machine| machine.process.as_ref());
        let locals: Vec<(usize, Vec<SessionId>)> = self
            .machines
            .iter()
            .enumerate()
            .filter_map(|(at, machine)| Some((at, machine.process.as_ref()?.local_sessions())))
            .collect();
        let count: usize = locals.iter().map(|(_, sessions)| sessions.len()).sum();
        let is_known = |session: SessionId| {
            processes().any(|process| process.shared.tree.sessions().timeout_ms(session).is_some())
        };
        let owner = |session: SessionId| {
            processes().find_map(|process| {
                process.shared.tree.ephemerals(session).next().map(|path| path.to_string())
            })
        };
        let checked = check_local(&locals, is_known, owner);
        self.report.local_sessions += count as u64;
        self.note(checked);
    }

    /// In the end every client is with a server that takes writes.
    pub(super) fn nobody_is_read_only(&self) -> Result<(), Fault> {
        let states = self.clients.iter().map(|client| client.standing().1);
        match states.into_iter().position(|state| state == Some(State::ConnectedReadOnly)) {
            None => Ok(()),
            Some(client) => {
                let what = format!("client {client} stays with a server without a leader");
                Err(Fault::new("read-only", what))
            }
        }
    }

    /// What reads of servers without a leader are held against, where it was never committed.
    pub(super) fn gather_branches(&mut self) {
        for token in &self.history.read_only {
            let record = &self.history.records[*token as usize];
            let Some(returned) = record.answer() else { continue };
            if let Some(branch) = self.lineage.branch(returned.zxid) {
                self.history.branches.insert(returned.zxid, branch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_without_a_leader_is_caught() {
        let read = Operation::GetAcl { path: "/a".into() };
        let write = Operation::Delete { path: "/a".into(), version: -1 };
        let sync = Operation::Sync { path: "/a".into() };
        let refused = Err(ErrorCode::NotReadOnly);
        let check = |is_read_only, operation: &Operation, result: &Result<Reply, ErrorCode>| {
            let is_write = matches!(operation, Operation::Delete { .. });
            check_read_only(is_read_only, operation, is_write, result).is_ok()
        };
        assert!(check(true, &write, &refused) && check(true, &sync, &refused));
        assert!(check(true, &write, &Err(ErrorCode::ConnectionLoss)));
        assert!(check(true, &read, &Err(ErrorCode::NoNode)));
        assert!(check(false, &write, &Ok(Reply::Done)));
        assert!(!check(true, &write, &Ok(Reply::Done)), "a write");
        assert!(!check(true, &write, &Err(ErrorCode::NoNode)), "an answer of the state");
        assert!(!check(true, &sync, &Ok(Reply::Synced { path: "/a".into() })), "a sync");
        assert!(!check(true, &read, &refused), "a read is refused");
        assert!(!check(false, &write, &refused), "by who has a leader");
    }

    #[test]
    fn a_local_session_that_others_know_is_caught() {
        let (one, two) = (SessionId(1), SessionId(2));
        let locals = [(0, vec![one]), (1, vec![two])];
        let nobody = |_| false;
        let nothing = |_| None;
        assert_eq!(check_local(&locals, nobody, nothing), Ok(()));
        assert!(check_local(&locals, |id| id == two, nothing).is_err(), "in a tree");
        let owner = |id| (id == one).then(|| "/e/0".to_owned());
        assert!(check_local(&locals, nobody, owner).is_err(), "an owner");
        let twice = [(0, vec![one]), (1, vec![one])];
        assert!(check_local(&twice, nobody, nothing).is_err(), "at two servers");
    }
}
