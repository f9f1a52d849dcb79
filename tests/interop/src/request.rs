//! Requests as bytes, with a readable text of each for reports.

use crate::wire::{Writer, frame, opcode, show};

/// A path, scheme or other string of a request: raw bytes, so that invalid UTF-8 and null can be
/// sent.
pub type Text = Option<Vec<u8>>;

/// Makes a [`Text`] of a literal.
pub fn text(value: &str) -> Text {
    Some(value.as_bytes().to_vec())
}

/// One request, ready to be sent on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The xid of the header.
    pub xid: i32,
    /// The opcode of the header.
    pub opcode: i32,
    /// Everything behind the header.
    pub body: Vec<u8>,
    /// What it is, in words.
    pub text: String,
    /// The server closes the connection after the reply.
    pub closes: bool,
    /// Java's outcome for requests pipelined behind it depends on timing, so it ends its batch.
    pub ends_batch: bool,
}

impl Request {
    /// A request with any body.
    pub fn new(opcode: i32, body: Writer, text: String) -> Request {
        Request { xid: 0, opcode, body: body.bytes, text, closes: false, ends_batch: false }
    }

    /// The same, with this xid.
    pub fn xid(mut self, xid: i32) -> Request {
        self.xid = xid;
        self
    }

    /// The same, known to close its connection.
    pub fn closing(mut self) -> Request {
        self.closes = true;
        self.ends_batch = true;
        self
    }

    /// The same, as the last of its batch.
    pub fn last(mut self) -> Request {
        self.ends_batch = true;
        self
    }

    /// The frame that goes on the wire.
    pub fn frame(&self) -> Vec<u8> {
        frame(&Writer::new().int(self.xid).int(self.opcode).raw(&self.body).bytes)
    }
}

/// An ACL entry as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Permission bits, valid or not.
    pub perms: i32,
    /// Scheme.
    pub scheme: Text,
    /// Identity within the scheme.
    pub id: Text,
}

impl Acl {
    /// An entry of literals.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: text(scheme), id: text(id) }
    }
}

/// `world:anyone` with every permission.
pub fn open_acl() -> Option<Vec<Acl>> {
    Some(vec![Acl::new(31, "world", "anyone")])
}

fn acl_vector(mut writer: Writer, acl: Option<&[Acl]>) -> Writer {
    let Some(acl) = acl else {
        return writer.int(-1);
    };
    writer = writer.int(i32::try_from(acl.len()).expect("short list"));
    for entry in acl {
        writer =
            writer.int(entry.perms).buffer(entry.scheme.as_deref()).buffer(entry.id.as_deref());
    }
    writer
}

fn show_acl(acl: Option<&[Acl]>) -> String {
    let Some(acl) = acl else {
        return "null".to_owned();
    };
    let entries: Vec<String> = acl
        .iter()
        .map(|a| format!("{}:{}:{}", a.perms, show(a.scheme.as_deref()), show(a.id.as_deref())))
        .collect();
    format!("[{}]", entries.join(","))
}

/// `create`, `create2` and `createContainer`, which share a record.
pub fn create(
    opcode: i32,
    path: &Text,
    data: Option<&[u8]>,
    acl: Option<&[Acl]>,
    flags: i32,
) -> Request {
    let body = acl_vector(Writer::new().buffer(path.as_deref()).buffer(data), acl).int(flags);
    let name = match opcode {
        opcode::CREATE => "create",
        opcode::CREATE2 => "create2",
        _ => "createContainer",
    };
    let text = format!(
        "{name} {} data={} acl={} flags={flags}",
        show(path.as_deref()),
        show(data),
        show_acl(acl)
    );
    Request::new(opcode, body, text)
}

/// `createTTL`.
pub fn create_ttl(
    path: &Text,
    data: Option<&[u8]>,
    acl: Option<&[Acl]>,
    flags: i32,
    ttl: i64,
) -> Request {
    let body =
        acl_vector(Writer::new().buffer(path.as_deref()).buffer(data), acl).int(flags).long(ttl);
    let text = format!(
        "createTTL {} data={} acl={} flags={flags} ttl={ttl}",
        show(path.as_deref()),
        show(data),
        show_acl(acl)
    );
    Request::new(opcode::CREATE_TTL, body, text)
}

/// `delete` and `check`, which share a shape.
pub fn path_and_version(opcode: i32, path: &Text, version: i32) -> Request {
    let name = if opcode == opcode::DELETE { "delete" } else { "check" };
    let text = format!("{name} {} version={version}", show(path.as_deref()));
    Request::new(opcode, Writer::new().buffer(path.as_deref()).int(version), text)
}

/// `exists`, `getData`, `getChildren` and `getChildren2`, which share a shape.
pub fn read(opcode: i32, path: &Text, watch: bool) -> Request {
    let name = match opcode {
        opcode::EXISTS => "exists",
        opcode::GET_DATA => "getData",
        opcode::GET_CHILDREN => "getChildren",
        _ => "getChildren2",
    };
    let text = format!("{name} {} watch={watch}", show(path.as_deref()));
    Request::new(opcode, Writer::new().buffer(path.as_deref()).bool(watch), text)
}

/// `setData`.
pub fn set_data(path: &Text, data: Option<&[u8]>, version: i32) -> Request {
    let text = format!("setData {} data={} version={version}", show(path.as_deref()), show(data));
    Request::new(
        opcode::SET_DATA,
        Writer::new().buffer(path.as_deref()).buffer(data).int(version),
        text,
    )
}

/// `setACL`.
pub fn set_acl(path: &Text, acl: Option<&[Acl]>, version: i32) -> Request {
    let text = format!("setACL {} acl={} version={version}", show(path.as_deref()), show_acl(acl));
    let body = acl_vector(Writer::new().buffer(path.as_deref()), acl).int(version);
    Request::new(opcode::SET_ACL, body, text)
}

/// The requests whose record is one path: `getACL`, `sync`, `getEphemerals`, `getAllChildrenNumber`
/// and
/// `deleteContainer`.
pub fn path_only(opcode: i32, path: &Text) -> Request {
    let name = match opcode {
        opcode::GET_ACL => "getACL",
        opcode::SYNC => "sync",
        opcode::GET_EPHEMERALS => "getEphemerals",
        opcode::GET_ALL_CHILDREN_NUMBER => "getAllChildrenNumber",
        _ => "deleteContainer",
    };
    let text = format!("{name} {}", show(path.as_deref()));
    Request::new(opcode, Writer::new().buffer(path.as_deref()), text)
}

/// `addWatch`, `checkWatches` and `removeWatches`, which share a shape.
pub fn watch(opcode: i32, path: &Text, kind: i32) -> Request {
    let name = match opcode {
        opcode::ADD_WATCH => "addWatch",
        opcode::CHECK_WATCHES => "checkWatches",
        _ => "removeWatches",
    };
    let text = format!("{name} {} kind={kind}", show(path.as_deref()));
    Request::new(opcode, Writer::new().buffer(path.as_deref()).int(kind), text)
}

/// `setWatches` (three lists) and `setWatches2` (five lists).
pub fn set_watches(relative_zxid: i64, lists: &[Option<Vec<Text>>]) -> Request {
    let (opcode, name) = match lists.len() {
        3 => (opcode::SET_WATCHES, "setWatches"),
        _ => (opcode::SET_WATCHES2, "setWatches2"),
    };
    let mut writer = Writer::new().long(relative_zxid);
    let mut text = format!("{name} zxid={relative_zxid:#x}");
    for list in lists {
        writer = writer.strings(list.as_deref());
        match list {
            None => text.push_str(" null"),
            Some(paths) => {
                let shown: Vec<String> = paths.iter().map(|p| show(p.as_deref())).collect();
                text.push_str(&format!(" [{}]", shown.join(",")));
            }
        }
    }
    Request::new(opcode, writer, text).xid(crate::wire::XID_SET_WATCHES)
}

/// `multi` and `multiRead` of the given requests; their headers' opcodes become the types of the
/// parts.
pub fn multi(opcode: i32, parts: &[Request]) -> Request {
    let mut writer = Writer::new();
    let mut texts = Vec::new();
    let mut ends_batch = false;
    for part in parts {
        writer = writer.int(part.opcode).bool(false).int(-1).raw(&part.body);
        texts.push(part.text.clone());
        ends_batch |= part.ends_batch;
    }
    writer = writer.int(-1).bool(true).int(-1);
    let name = if opcode == opcode::MULTI { "multi" } else { "multiRead" };
    let mut request = Request::new(opcode, writer, format!("{name} {{ {} }}", texts.join("; ")));
    request.ends_batch = ends_batch;
    request
}

/// `auth` packet.
pub fn auth(scheme: &Text, credentials: Option<&[u8]>) -> Request {
    let text = format!("auth {} {}", show(scheme.as_deref()), show(credentials));
    let body = Writer::new().int(0).buffer(scheme.as_deref()).buffer(credentials);
    Request::new(opcode::AUTH, body, text).xid(crate::wire::XID_AUTH).last()
}

/// A ping.
pub fn ping() -> Request {
    Request::new(opcode::PING, Writer::new(), "ping".to_owned()).xid(crate::wire::XID_PING)
}

/// `whoAmI`.
pub fn who_am_i() -> Request {
    Request::new(opcode::WHO_AM_I, Writer::new(), "whoAmI".to_owned())
}

/// `closeSession`.
pub fn close_session() -> Request {
    Request::new(opcode::CLOSE_SESSION, Writer::new(), "closeSession".to_owned()).closing()
}

/// `reconfig`.
pub fn reconfig(joining: &Text, leaving: &Text, members: &Text, version: i64) -> Request {
    let body = Writer::new()
        .buffer(joining.as_deref())
        .buffer(leaving.as_deref())
        .buffer(members.as_deref())
        .long(version);
    Request::new(opcode::RECONFIG, body, format!("reconfig joining={}", show(joining.as_deref())))
}
