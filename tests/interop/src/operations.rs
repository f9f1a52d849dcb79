//! Single requests, chosen at random.

use crate::request::{self, Request, Text, text};
use crate::values::Values;
use crate::wire::{Writer, opcode};

/// What the servers are configured for, as far as the choice of requests depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// TTL znodes are enabled.
    pub extended_types: bool,
}

/// A request that any session may send in the middle of a batch.
pub fn any(values: &mut Values, allowed: Allowed, zxid: i64) -> Request {
    let kind = values.random.weighted(&[28, 7, 13, 34, 5, 2, 12, 4, 12, 3, 5, 1, 2, 3]);
    match kind {
        0 => create(values, allowed),
        1 => request::path_and_version(opcode::DELETE, &values.path(), values.version()),
        2 => {
            let data = values.data();
            request::set_data(&values.path(), data.as_deref(), values.version())
        }
        3 => read(values),
        4 => {
            let acl = values.acl();
            // Java's pending change keeps the old ACL: what follows at once is checked against
            // either.
            request::set_acl(&values.path(), acl.as_deref(), values.version()).last()
        }
        5 => request::path_only(opcode::SYNC, &values.path()),
        6 => multi(values, allowed),
        7 => multi_read(values),
        8 => watch(values),
        9 => set_watches(values, zxid),
        10 => question(values),
        11 => reconfig(values),
        12 => request::path_only(opcode::DELETE_CONTAINER, &values.path_not_null()),
        _ => malformed(values, allowed),
    }
}

/// A read.
pub fn read(values: &mut Values) -> Request {
    let kinds = [opcode::EXISTS, opcode::GET_DATA, opcode::GET_CHILDREN, opcode::GET_CHILDREN2];
    match values.random.weighted(&[30, 30, 15, 15, 10]) {
        4 => request::path_only(opcode::GET_ACL, &values.path()),
        kind => request::read(kinds[kind], &values.path(), values.random.chance(40)),
    }
}

/// Any of the requests that make a znode.
pub fn create(values: &mut Values, allowed: Allowed) -> Request {
    let (path, data, acl) = (values.path(), values.data(), values.acl());
    let (data, acl) = (data.as_deref(), acl.as_deref());
    match values.random.weighted(&[50, 30, 8, 12]) {
        0 => request::create(opcode::CREATE, &path, data, acl, values.flags()),
        1 => request::create(opcode::CREATE2, &path, data, acl, values.flags()),
        2 => {
            let flags = if values.random.chance(85) { 4 } else { values.random.pick(&[0, 5, 9]) };
            request::create(opcode::CREATE_CONTAINER, &path, data, acl, flags)
        }
        _ => create_ttl(values, allowed, &path, data, acl),
    }
}

fn create_ttl(
    values: &mut Values,
    allowed: Allowed,
    path: &Text,
    data: Option<&[u8]>,
    acl: Option<&[request::Acl]>,
) -> Request {
    let flags = values.random.pick(&[5, 5, 5, 6, 6, 0, 2, 7]);
    // Another mode with a negative TTL passes Java's check and then stops its server when it is
    // applied.
    let negative = flags == 5 || flags == 6 || !allowed.extended_types;
    let ttl = match values.random.weighted(&[75, 25]) {
        0 => 3_600_000,
        _ if negative => {
            values.random.pick(&[0, -1, 1, i64::MAX, 1_099_511_627_775, 1_099_511_627_776])
        }
        _ => 0,
    };
    let ttl = if negative || ttl >= 0 { ttl } else { 0 };
    let usable = allowed.extended_types || flags == 5 || flags == 6;
    if usable {
        request::create_ttl(path, data, acl, flags, ttl)
    } else {
        request::create_ttl(path, data, acl, 5, ttl)
    }
}

/// A part of a multi. Wrong arguments that make Java fail outside its own checks end the batch:
/// what they leave behind in its pending changes depends on timing.
fn part(values: &mut Values, allowed: Allowed) -> Request {
    let path = values.path_not_null();
    match values.random.weighted(&[45, 20, 20, 15]) {
        0 => {
            let mut made = create(values, allowed);
            made.ends_batch = true;
            if values.random.chance(92) {
                let data = values.data();
                let acl = request::open_acl();
                let kind = values.random.pick(&[opcode::CREATE, opcode::CREATE2]);
                made = request::create(
                    kind,
                    &path,
                    data.as_deref(),
                    acl.as_deref(),
                    values.random.below(5) as i32,
                );
            }
            made
        }
        1 => request::path_and_version(opcode::DELETE, &path, values.version()),
        2 => {
            let data = values.data();
            request::set_data(&path, data.as_deref(), values.version())
        }
        _ => request::path_and_version(opcode::CHECK, &path, values.version()),
    }
}

/// A multi: plain, nested (parent and child in one), or with kinds that do not belong there.
fn multi(values: &mut Values, allowed: Allowed) -> Request {
    match values.random.weighted(&[70, 24, 6]) {
        0 => {
            let count = values.random.below(5) + usize::from(values.random.chance(95));
            let parts: Vec<Request> = (0..count).map(|_| part(values, allowed)).collect();
            request::multi(opcode::MULTI, &parts)
        }
        1 => nested_multi(values),
        _ => {
            let mut parts = vec![part(values, allowed), foreign_part(values)];
            if values.random.chance(50) {
                parts.swap(0, 1);
            }
            request::multi(opcode::MULTI, &parts).last()
        }
    }
}

fn nested_multi(values: &mut Values) -> Request {
    let base = values.plain_path();
    let child = text(&format!("{base}/n"));
    let acl = request::open_acl();
    let base = text(&base);
    let mut parts = vec![
        request::create(opcode::CREATE2, &base, Some(b"p"), acl.as_deref(), 0),
        request::create(
            opcode::CREATE,
            &child,
            None,
            acl.as_deref(),
            values.random.below(4) as i32,
        ),
        request::set_data(&base, Some(b"q"), 0),
        request::path_and_version(opcode::CHECK, &base, 1),
        request::path_and_version(opcode::DELETE, &child, -1),
        request::path_and_version(opcode::DELETE, &base, values.version()),
    ];
    parts.truncate(1 + values.random.below(6));
    if values.random.chance(30) {
        let at = values.random.below(parts.len() + 1);
        parts.insert(at, request::path_and_version(opcode::CHECK, &text("/missing"), -1));
    }
    request::multi(opcode::MULTI, &parts)
}

fn foreign_part(values: &mut Values) -> Request {
    let path = values.path_not_null();
    match values.random.below(5) {
        0 => request::read(opcode::GET_DATA, &path, true),
        1 => request::read(opcode::GET_CHILDREN, &path, false),
        2 => request::read(opcode::EXISTS, &path, false),
        3 => request::path_only(opcode::SYNC, &path),
        _ => request::set_acl(&path, request::open_acl().as_deref(), -1),
    }
}

fn multi_read(values: &mut Values) -> Request {
    let count = values.random.below(5);
    let parts: Vec<Request> = (0..count)
        .map(|_| {
            let kind = values.random.pick(&[opcode::GET_DATA, opcode::GET_CHILDREN]);
            request::read(kind, &values.path_not_null(), values.random.chance(30))
        })
        .collect();
    let mut parts = parts;
    if values.random.chance(8) {
        parts.push(request::path_and_version(opcode::DELETE, &values.path_not_null(), -1));
    }
    request::multi(opcode::MULTI_READ, &parts)
}

fn watch(values: &mut Values) -> Request {
    match values.random.weighted(&[50, 25, 25]) {
        0 => {
            let mode = if values.random.chance(94) { values.random.below(2) as i32 } else { 2 };
            // Java registers a watch of the null path; we refuse it.
            request::watch(opcode::ADD_WATCH, &values.path_not_null(), mode)
        }
        kind => {
            let opcode = if kind == 1 { opcode::CHECK_WATCHES } else { opcode::REMOVE_WATCHES };
            let kind = if values.random.chance(95) { 1 + values.random.below(5) as i32 } else { 0 };
            request::watch(opcode, &values.path(), kind)
        }
    }
}

/// setWatches or setWatches2.
pub fn set_watches(values: &mut Values, zxid: i64) -> Request {
    let count = if values.random.chance(40) { 3 } else { 5 };
    let lists = values.path_lists(count);
    request::set_watches(values.zxid_near(zxid), &lists)
}

/// Questions that are answered without looking at a znode's data.
pub fn question(values: &mut Values) -> Request {
    match values.random.below(4) {
        0 => request::path_only(opcode::GET_EPHEMERALS, &values.path()),
        1 => request::path_only(opcode::GET_ALL_CHILDREN_NUMBER, &values.path()),
        2 => request::who_am_i(),
        _ => request::ping(),
    }
}

fn reconfig(values: &mut Values) -> Request {
    let joining = text("server.5=127.0.0.1:2888:3888;2181");
    let version = if values.random.chance(50) { -1 } else { 0 };
    request::reconfig(&joining, &None, &None, version)
}

/// A request whose body is cut, padded or holds absurd counts.
fn malformed(values: &mut Values, allowed: Allowed) -> Request {
    let mut base = match values.random.below(4) {
        0 => create(values, allowed),
        1 => read(values),
        2 => watch(values),
        _ => {
            let data = values.data();
            request::set_data(&values.path(), data.as_deref(), -1)
        }
    };
    match values.random.below(6) {
        0 => {
            let keep = values.random.below(base.body.len().max(1));
            base.body.truncate(keep);
            base.text = format!("cut to {keep} bytes: {}", base.text);
        }
        1 => {
            base.body.extend_from_slice(b"trailing");
            base.text = format!("with trailing bytes: {}", base.text);
        }
        2 => {
            base.body.clear();
            base.text = format!("without a body: {}", base.text);
        }
        3 => base = absurd_length(values, base.opcode),
        4 => base = absurd_count(values),
        _ => {
            let flag = Writer::new().buffer(Some(b"/a")).raw(&[2]);
            base = Request::new(opcode::EXISTS, flag, "exists /a watch=byte 2".to_owned());
        }
    }
    base
}

fn absurd_length(values: &mut Values, opcode: i32) -> Request {
    let length = values.random.pick(&[-2, -5, i32::MIN, 0x7fff_ffff, 0x0020_0000, 5000]);
    let body = Writer::new().int(length).raw(b"/a");
    Request::new(opcode, body, format!("opcode {opcode} with a path of length {length}"))
}

fn absurd_count(values: &mut Values) -> Request {
    let count = values.random.pick(&[-2, -5, i32::MIN, 0x7fff_ffff, 1000]);
    let body = Writer::new().buffer(Some(b"/a")).buffer(Some(b"x")).int(count);
    let body = if count < 0 { body.int(0) } else { body };
    Request::new(opcode::CREATE, body, format!("create /a with {count} ACL entries"))
}
