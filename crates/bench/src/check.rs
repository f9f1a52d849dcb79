//! What must hold of every reply.

use rookeeper_jute::proto::{
    CreateResponse, ExistsResponse, GetChildrenResponse, GetDataResponse, SetDataResponse,
};
use rookeeper_jute::{Decode, ErrorCode, Stat, Zxid};

use crate::connection::Reply;
use crate::error::BenchError;
use crate::value;

fn wrong(reply: &Reply<'_>, why: impl std::fmt::Display) -> BenchError {
    let Reply { request, header, .. } = reply;
    BenchError::WrongReply(format!(
        "{:?} xid {} zxid {} err {}: {why}",
        request.op, request.xid, header.zxid, header.err
    ))
}

/// The record of a reply that must have succeeded.
///
/// # Errors
/// Another code, or bytes that are not such a record.
pub fn record<'a, T: Decode<'a>>(reply: &Reply<'a>) -> Result<T, BenchError> {
    if reply.header.err != 0 {
        return Err(wrong(reply, format_args!("{:?}", ErrorCode::from_i32(reply.header.err))));
    }
    T::from_bytes(reply.body).map_err(|error| wrong(reply, error))
}

/// A Stat's fields must fit each other and the reply's zxid.
///
/// # Errors
/// Where they do not.
pub fn stat(reply: &Reply<'_>, stat: &Stat) -> Result<(), BenchError> {
    let zxid = reply.header.zxid;
    let sane = stat.czxid > Zxid(0)
        && stat.czxid <= stat.mzxid
        && stat.czxid <= stat.pzxid
        && stat.mzxid <= zxid
        && stat.pzxid <= zxid
        && stat.ctime <= stat.mtime
        && stat.version >= 0
        && stat.cversion >= 0
        && stat.data_length >= 0
        && stat.num_children >= 0;
    if sane { Ok(()) } else { Err(wrong(reply, format_args!("impossible {stat:?}"))) }
}

/// The data of znode `key`.
///
/// # Errors
/// Data of another znode, or torn.
pub fn get(reply: &Reply<'_>, key: u64, len: usize) -> Result<(), BenchError> {
    let response: GetDataResponse<'_> = record(reply)?;
    stat(reply, &response.stat)?;
    let data = response.data.unwrap_or_default();
    if response.stat.data_length as usize != data.len() || !value::is_of(data, key, len) {
        return Err(wrong(reply, format_args!("not the data of znode {key}: {data:?}")));
    }
    Ok(())
}

/// The Stat after a set of `len` bytes.
///
/// # Errors
/// A Stat that cannot be that of a znode just set.
pub fn set(reply: &Reply<'_>, len: usize) -> Result<(), BenchError> {
    let response: SetDataResponse = record(reply)?;
    stat(reply, &response.stat)?;
    if response.stat.version < 1 || response.stat.data_length as usize != len {
        return Err(wrong(reply, format_args!("{:?} after a set", response.stat)));
    }
    Ok(())
}

/// The Stat of a znode of `len` bytes.
///
/// # Errors
/// A Stat that cannot be its.
pub fn exists(reply: &Reply<'_>, len: usize) -> Result<(), BenchError> {
    let response: ExistsResponse = record(reply)?;
    stat(reply, &response.stat)?;
    if response.stat.data_length as usize != len {
        return Err(wrong(reply, format_args!("{:?}", response.stat)));
    }
    Ok(())
}

/// The path of the znode created.
///
/// # Errors
/// Another path.
pub fn create(reply: &Reply<'_>, path: &str) -> Result<(), BenchError> {
    let response: CreateResponse<'_> = record(reply)?;
    if response.path.as_deref() != Some(path) {
        return Err(wrong(reply, format_args!("{:?} for {path}", response.path)));
    }
    Ok(())
}

/// The number of children.
///
/// # Errors
/// Another number.
pub fn children(reply: &Reply<'_>, count: usize) -> Result<(), BenchError> {
    let response: GetChildrenResponse<'_> = record(reply)?;
    let got = response.children.map_or(0, |children| children.len());
    if got != count {
        return Err(wrong(reply, format_args!("{got} children of {count}")));
    }
    Ok(())
}

/// Success without a record.
///
/// # Errors
/// Another code.
pub fn ok(reply: &Reply<'_>) -> Result<(), BenchError> {
    if reply.header.err == 0 { Ok(()) } else { record::<i32>(reply).map(|_| ()) }
}
