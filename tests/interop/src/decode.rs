//! Replies as canonical text: what two servers must agree on. Times become `T`, session ids their
//! index, children and ephemerals are sorted; everything else is shown exactly, unread bytes
//! included.

use crate::wire::{Field, Malformed, Reader, opcode, show};
use std::collections::HashMap;

/// What the text of a reply depends on besides its bytes.
#[derive(Debug, Default)]
pub struct Names {
    /// Index of each session of this server, by its id.
    pub sessions: HashMap<i64, usize>,
    /// Wall clock in milliseconds before which no change can have happened; 0 where unknown.
    pub earliest_ms: i64,
}

impl Names {
    fn owner(&self, owner: i64) -> String {
        match self.sessions.get(&owner) {
            _ if owner == 0 => "0".to_owned(),
            Some(index) => format!("session{index}"),
            None => format!("{owner:#x}"),
        }
    }

    fn time(&self, time_ms: i64) -> String {
        let latest = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(i64::MAX, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        match time_ms {
            0 => "0".to_owned(),
            t if (self.earliest_ms..=latest.saturating_add(1)).contains(&t) => "T".to_owned(),
            t => format!("OUT-OF-RANGE({t})"),
        }
    }

    fn stat(&self, reader: &mut Reader<'_>) -> Field<String> {
        let (czxid, mzxid) = (reader.long()?, reader.long()?);
        let (ctime, mtime) = (reader.long()?, reader.long()?);
        let (version, cversion, aversion) = (reader.int()?, reader.int()?, reader.int()?);
        let owner = reader.long()?;
        let (length, children, pzxid) = (reader.int()?, reader.int()?, reader.long()?);
        Ok(format!(
            "stat{{czxid={czxid:#x} mzxid={mzxid:#x} pzxid={pzxid:#x} ctime={} mtime={}{} \
             version={version} cversion={cversion} aversion={aversion} owner={} \
             length={length} children={children}}}",
            self.time(ctime),
            self.time(mtime),
            if mtime < ctime { "(BEFORE ctime)" } else { "" },
            self.owner(owner),
        ))
    }

    fn acl(&self, reader: &mut Reader<'_>) -> Field<String> {
        let Some(count) = reader.count()? else {
            return Ok("acl=null".to_owned());
        };
        let mut entries = Vec::new();
        for _ in 0..count {
            let perms = reader.int()?;
            let scheme = show(reader.buffer()?);
            entries.push(format!("{perms}:{scheme}:{}", show(reader.buffer()?)));
        }
        // "auth" becomes the identities of the session, which Java holds in a hash set.
        if entries.iter().filter(|entry| entry.contains(":\"digest\":")).count() > 1 {
            entries.sort();
        }
        Ok(format!("acl=[{}]", entries.join(",")))
    }

    /// The text of a reply's body, by the opcode of its request.
    pub fn body(&self, opcode: i32, body: &[u8]) -> String {
        let mut reader = Reader::new(body);
        let shown = self.record(opcode, &mut reader);
        let rest = reader.rest();
        match shown {
            Err(Malformed) => format!("MALFORMED {}", show(Some(body))),
            Ok(text) if rest.is_empty() => text,
            Ok(text) => format!("{text} UNREAD {}", show(Some(rest))),
        }
    }

    fn record(&self, opcode: i32, reader: &mut Reader<'_>) -> Field<String> {
        Ok(match opcode {
            opcode::CREATE | opcode::SYNC => format!("path={}", show(reader.buffer()?)),
            opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
                let path = show(reader.buffer()?);
                format!("path={path} {}", self.stat(reader)?)
            }
            opcode::EXISTS | opcode::SET_DATA | opcode::SET_ACL | opcode::CHECK => {
                self.stat(reader)?
            }
            opcode::GET_DATA | opcode::RECONFIG => {
                let data = show(reader.buffer()?);
                format!("data={data} {}", self.stat(reader)?)
            }
            opcode::GET_ACL => {
                let acl = self.acl(reader)?;
                format!("{acl} {}", self.stat(reader)?)
            }
            opcode::GET_CHILDREN => format!("children={}", string_set(reader)?),
            opcode::GET_CHILDREN2 => {
                let children = string_set(reader)?;
                format!("children={children} {}", self.stat(reader)?)
            }
            opcode::GET_EPHEMERALS => format!("ephemerals={}", string_set(reader)?),
            opcode::GET_ALL_CHILDREN_NUMBER => format!("number={}", reader.int()?),
            opcode::ADD_WATCH => format!("err={}", reader.int()?),
            opcode::WHO_AM_I => client_infos(reader)?,
            opcode::MULTI | opcode::MULTI_READ => self.multi(reader)?,
            _ => String::new(),
        })
    }

    fn multi(&self, reader: &mut Reader<'_>) -> Field<String> {
        let mut results = Vec::new();
        loop {
            let (kind, done, err) = (reader.int()?, reader.byte()?, reader.int()?);
            let head = format!("type={kind} done={done} err={err}");
            if done != 0 {
                results.push(head);
                return Ok(format!("[{}]", results.join("; ")));
            }
            let body = match kind {
                -1 => format!("error={}", reader.int()?),
                opcode::DELETE | opcode::CHECK => String::new(),
                kind => self.record(kind, reader)?,
            };
            results.push(format!("{head} {body}"));
        }
    }
}

fn string_set(reader: &mut Reader<'_>) -> Field<String> {
    let Some(count) = reader.count()? else {
        return Ok("null".to_owned());
    };
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(show(reader.buffer()?));
    }
    values.sort();
    Ok(format!("[{}]", values.join(",")))
}

fn client_infos(reader: &mut Reader<'_>) -> Field<String> {
    let Some(count) = reader.count()? else {
        return Ok("clients=null".to_owned());
    };
    let mut values = Vec::new();
    for _ in 0..count {
        let scheme = show(reader.buffer()?);
        values.push(format!("{scheme}:{}", show(reader.buffer()?)));
    }
    values.sort();
    Ok(format!("clients=[{}]", values.join(",")))
}

/// The text of a watch event's body.
pub fn event(body: &[u8]) -> String {
    let mut reader = Reader::new(body);
    let read = |reader: &mut Reader<'_>| -> Field<String> {
        let (kind, state) = (reader.int()?, reader.int()?);
        Ok(format!("type={kind} state={state} path={}", show(reader.buffer()?)))
    };
    match read(&mut reader) {
        Ok(text) if reader.rest().is_empty() => text,
        _ => format!("MALFORMED {}", show(Some(body))),
    }
}
