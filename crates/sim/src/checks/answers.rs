//! What an operation must be answered where the state is known.

use rookeeper_jute::{CreateMode, ErrorCode, SessionId, Stat};
use rookeeper_session::{Create, Operation, PartReply, PartResult, Read, Reply, Write};

use super::configurations::check_configuration;
use crate::model::{Model, ModelNode};

/// The path that a create makes at a state.
fn created_path(model: &Model, create: &Create) -> String {
    if !create.mode.is_sequential() {
        return create.path.clone();
    }
    let number = model.node(parent(&create.path)).map_or(0, |node| node.stat.cversion);
    format!("{}{number:010}", create.path)
}

/// The parent's path; that of a sequential znode may end with a slash.
fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn is_ephemeral(mode: CreateMode) -> bool {
    matches!(mode, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
}

fn check_version(expected: i32, version: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == version { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

fn existing<'m>(model: &'m Model, path: &str) -> Result<&'m ModelNode, ErrorCode> {
    model.node(path).ok_or(ErrorCode::NoNode)
}

/// Whether one write succeeds at a state.
fn try_write(model: &Model, write: &Write) -> Result<(), ErrorCode> {
    match write {
        Write::Create(create) => {
            let above = existing(model, parent(&create.path))?;
            if model.node(&created_path(model, create)).is_some() {
                return Err(ErrorCode::NodeExists);
            }
            match above.session() {
                Some(_) => Err(ErrorCode::NoChildrenForEphemerals),
                None => Ok(()),
            }
        }
        Write::Delete(path, version) => {
            let node = existing(model, path)?;
            check_version(*version, node.stat.version)?;
            if node.children.is_empty() { Ok(()) } else { Err(ErrorCode::NotEmpty) }
        }
        Write::SetData(path, _, version) | Write::Check(path, version) => {
            check_version(*version, existing(model, path)?.stat.version)
        }
    }
}

/// What the state must say of a write before it happens: success with the paths that it creates,
/// or the error.
///
/// # Errors
/// The error that it must have.
pub(super) fn predict(
    model: &Model,
    operation: &Operation,
    session: SessionId,
) -> Result<Vec<String>, ErrorCode> {
    match operation {
        Operation::Create(create) => {
            try_write(model, &Write::Create(create.clone()))?;
            Ok(vec![created_path(model, create)])
        }
        Operation::Delete { path, version } => {
            try_write(model, &Write::Delete(path.clone(), *version)).map(|()| Vec::new())
        }
        Operation::DeleteContainer { path } => {
            let node = existing(model, path)?;
            if !node.children.is_empty() {
                return Err(ErrorCode::NotEmpty);
            }
            let is_plain = node.stat.ephemeral_owner == 0 || node.session().is_some();
            if is_plain { Err(ErrorCode::BadVersion) } else { Ok(Vec::new()) }
        }
        Operation::SetData { path, data, version } => {
            let write = Write::SetData(path.clone(), data.clone(), *version);
            try_write(model, &write).map(|()| Vec::new())
        }
        Operation::SetAcl { path, version, .. } => {
            let node = existing(model, path)?;
            check_version(*version, node.stat.aversion).map(|()| Vec::new())
        }
        Operation::Multi(writes) => {
            let mut then = model.clone();
            let mut paths = Vec::new();
            for write in writes {
                try_write(&then, write)?;
                if let Write::Create(create) = write {
                    paths.push(created_path(&then, create));
                }
                then.pretend(write, session, paths.last());
            }
            Ok(paths)
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether the transaction that was committed is the one that was asked for.
pub(super) fn is_the_write(operation: &Operation, written: &[(String, Option<Vec<u8>>)]) -> bool {
    let data: Vec<&Option<Vec<u8>>> = written.iter().map(|(_, data)| data).collect();
    match operation {
        Operation::Create(create) => data == [&create.data],
        Operation::SetData { path, data: set, .. } => {
            data == [set] && written.iter().all(|(at, _)| at == path)
        }
        Operation::Multi(writes) => {
            let wanted: Vec<&Option<Vec<u8>>> = writes
                .iter()
                .filter_map(|write| match write {
                    Write::Create(create) => Some(&create.data),
                    Write::SetData(_, data, _) => Some(data),
                    _ => None,
                })
                .collect();
            data == wanted
        }
        _ => written.is_empty(),
    }
}

fn stat_of(model: &Model, path: &str) -> Result<Stat, String> {
    model.node(path).map(ModelNode::visible).ok_or_else(|| format!("{path} is not there"))
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what} is {got:?}, not {expected:?}")) }
}

/// Holds the answer of a write that succeeded against the state after it.
///
/// # Errors
/// Says what differs.
pub(super) fn check_write(
    model: &Model,
    operation: &Operation,
    reply: &Reply,
    paths: &[String],
) -> Result<(), String> {
    match (operation, reply) {
        (Operation::Create(_), Reply::Created { path, stat }) => {
            equal("the path", &Some(path), &paths.first())?;
            match stat {
                Some(stat) => equal("the stat", stat, &stat_of(model, path)?),
                None => Ok(()),
            }
        }
        (Operation::SetData { path, .. } | Operation::SetAcl { path, .. }, Reply::Stat(stat)) => {
            equal("the stat", stat, &stat_of(model, path)?)
        }
        (Operation::Delete { .. } | Operation::DeleteContainer { .. }, Reply::Done) => Ok(()),
        (Operation::Multi(writes), Reply::Multi(parts)) => {
            equal("the number of results", &parts.len(), &writes.len())?;
            let created = parts.iter().filter_map(|part| match part {
                Ok(PartReply::Created { path, .. }) => Some(path.clone()),
                _ => None,
            });
            equal("the list of paths", &created.collect::<Vec<_>>(), &paths.to_vec())?;
            match parts.iter().find(|part| part.is_err()) {
                Some(part) => Err(format!("a part failed: {part:?}")),
                None => Ok(()),
            }
        }
        _ => Err(format!("{reply:?} does not answer it")),
    }
}

/// Holds the answer of a read against the state.
///
/// # Errors
/// Says what differs.
pub(super) fn check_read(
    model: &Model,
    operation: &Operation,
    session: SessionId,
    result: &Result<Reply, ErrorCode>,
) -> Result<(), String> {
    match operation {
        Operation::Exists { path, .. } => {
            let expected = existing(model, path).map(|node| Reply::Stat(node.visible()));
            equal("the answer", result, &expected)
        }
        Operation::GetData { path, .. } => {
            let expected = existing(model, path)
                .map(|node| Reply::Data { data: node.data.clone(), stat: node.visible() });
            equal("the answer", result, &expected)
        }
        Operation::GetAcl { path } => {
            let expected = existing(model, path)
                .map(|node| Reply::Acl { acl: node.acl.clone(), stat: node.visible() });
            equal("the answer", result, &expected)
        }
        Operation::GetChildren { path, .. } | Operation::GetChildren2 { path, .. } => {
            let expected = existing(model, path).map(|node| {
                let wants_stat = matches!(operation, Operation::GetChildren2 { .. });
                let names = node.children.iter().cloned().collect();
                Reply::Children { names, stat: wants_stat.then(|| node.visible()) }
            });
            equal("the answer", &sorted(result.clone()), &expected)
        }
        Operation::GetAllChildrenNumber { path } => {
            let below = format!("{path}/");
            let count = model.nodes().keys().filter(|at| at.starts_with(&below)).count();
            let expected = existing(model, path).map(|_| Reply::Count(count as i32));
            equal("the answer", result, &expected)
        }
        Operation::GetEphemerals { prefix } => {
            let owned = model.ephemerals(session).into_iter();
            let expected = owned.filter(|path| path.starts_with(prefix)).collect();
            equal("the answer", &sorted(result.clone()), &Ok(Reply::Ephemerals(expected)))
        }
        Operation::GetConfig { .. } => check_configuration(model, result),
        Operation::MultiRead(reads) => {
            let expected = reads.iter().map(|read| part_read(model, read)).collect();
            equal("the answer", &sorted(result.clone()), &Ok(Reply::Multi(expected)))
        }
        _ => Ok(()),
    }
}

fn part_read(model: &Model, read: &Read) -> PartResult {
    match read {
        Read::Data(path) => {
            let node = existing(model, path)?;
            Ok(PartReply::Data { data: node.data.clone(), stat: node.visible() })
        }
        Read::Children(path) => {
            let node = existing(model, path)?;
            Ok(PartReply::Children(node.children.iter().cloned().collect()))
        }
    }
}

/// Lists of names have no order that clients may rely on.
fn sorted(result: Result<Reply, ErrorCode>) -> Result<Reply, ErrorCode> {
    result.map(|reply| match reply {
        Reply::Children { mut names, stat } => {
            names.sort();
            Reply::Children { names, stat }
        }
        Reply::Ephemerals(mut paths) => {
            paths.sort();
            Reply::Ephemerals(paths)
        }
        Reply::Multi(parts) => Reply::Multi(
            parts
                .into_iter()
                .map(|part| match part {
                    Ok(PartReply::Children(mut names)) => {
                        names.sort();
                        Ok(PartReply::Children(names))
                    }
                    part => part,
                })
                .collect(),
        ),
        reply => reply,
    })
}

impl Model {
    /// Does what decides whether later parts of the same multi succeed, and no more.
    fn pretend(&mut self, write: &Write, session: SessionId, created: Option<&String>) {
        match write {
            Write::Create(create) => {
                let path = created.expect("a create was predicted with its path").clone();
                let owner = if is_ephemeral(create.mode) { session.0 } else { 0 };
                self.put(path, create.acl.clone(), owner);
            }
            Write::Delete(path, _) => self.take(path),
            Write::SetData(path, _, _) => self.raise_version(path),
            Write::Check(..) => {}
        }
    }
}
