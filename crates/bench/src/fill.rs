//! Fills a server with znodes, many in each multi, and reads its memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rookeeper_jute::multi::{MultiHeader, encode_end, next_part};
use rookeeper_jute::proto::{CreateRequest, CreateResponse};
use rookeeper_jute::{Acl, Encode, ErrorCode, OpCode, Reader};

use crate::connection::Reply;
use crate::error::BenchError;
use crate::load::{accept, create_step};
use crate::pipeline::{self, Step, Width};
use crate::process::{self, Memory};
use crate::report::Report;
use crate::value;

/// What to make.
#[derive(Debug, Clone)]
pub struct FillOptions {
    /// The server.
    pub address: SocketAddr,
    /// Processes whose CPU time and memory are the server's.
    pub pids: Vec<u32>,
    /// Znodes that carry data.
    pub znodes: u64,
    /// Bytes of data in each.
    pub value_len: usize,
    /// Znodes under one parent.
    pub per_parent: u64,
    /// Creates in one multi.
    pub batch: u64,
    /// Connections and multis in flight.
    pub width: Width,
    /// The znode under which all are made.
    pub root: String,
}

impl FillOptions {
    /// What comparisons fill a server with: znodes of 100 bytes, in multis of 100.
    pub fn compared(address: SocketAddr, pids: Vec<u32>, znodes: u64) -> FillOptions {
        FillOptions {
            address,
            pids,
            znodes,
            value_len: 100,
            per_parent: 1000,
            batch: 100,
            width: Width { connections: 4, depth: 4 },
            root: "/rookeeper-fill".to_owned(),
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct FillResult {
    /// Znodes made.
    pub znodes: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// CPU time of the server.
    pub server_cpu: Duration,
    /// Its memory before.
    pub before: Memory,
    /// Its memory after.
    pub after: Memory,
}

impl FillResult {
    /// All figures.
    pub fn report(&self, options: &FillOptions) -> Report {
        let FillOptions { znodes, value_len, .. } = options;
        let mut report = Report::new(format!("fill: {znodes} znodes of {value_len} bytes"));
        let per_second = self.znodes as f64 / self.elapsed.as_secs_f64();
        report.add("seconds", "took", self.elapsed.as_secs_f64(), "s");
        report.add("znodes_per_second", "znodes a second", per_second, "/s");
        if !options.pids.is_empty() {
            let cpu = self.server_cpu.as_secs_f64();
            report.add("server_cpu_seconds", "CPU time of the server", cpu, "s");
            let (before, after) = (self.before.resident as f64, self.after.resident as f64);
            report.add("resident_before_mb", "resident before", before / 1e6, "MB");
            report.add("resident_mb", "resident after", after / 1e6, "MB");
            report.add("peak_mb", "peak", self.after.peak as f64 / 1e6, "MB");
            let each = (after - before) / self.znodes as f64;
            report.add("bytes_per_znode", "a znode", each, "B");
        }
        report
    }
}

/// The path of znode `number`.
pub fn path(options: &FillOptions, number: u64) -> String {
    format!("{}/d{:06}/n{number:09}", options.root, number / options.per_parent)
}

/// Makes all znodes. Where they exist already, it fails.
///
/// # Errors
/// A wrong reply, a connection lost.
pub fn run(options: &FillOptions) -> Result<FillResult, BenchError> {
    if options.per_parent == 0 || options.batch == 0 {
        return Err(BenchError::Usage("a parent and a multi hold at least one znode".to_owned()));
    }
    let before = process::memory_of_all(&options.pids)?;
    let cpu_before = process::cpu_time_of_all(&options.pids)?;
    let start = Instant::now();
    let root = [create_step(&options.root, b"", 0)].into_iter();
    let parents = (0..options.znodes.div_ceil(options.per_parent))
        .map(|number| create_step(&format!("{}/d{number:06}", options.root), b"", 0));
    let one = Width { connections: 1, depth: 128 };
    pipeline::run(options.address, one, &mut root.chain(parents), &mut |reply| {
        accept(reply, &[ErrorCode::NodeExists])
    })?;
    let mut multis = (0..options.znodes).step_by(options.batch as usize).map(|first| Step {
        op: OpCode::Multi,
        tag: first,
        body: multi(options, first..(first + options.batch).min(options.znodes)),
    });
    pipeline::run(options.address, options.width, &mut multis, &mut |reply| {
        let first = reply.request.tag;
        check_multi(reply, options, first..(first + options.batch).min(options.znodes))
    })?;
    Ok(FillResult {
        znodes: options.znodes,
        elapsed: start.elapsed(),
        server_cpu: process::cpu_time_of_all(&options.pids)?.saturating_sub(cpu_before),
        before,
        after: process::memory_of_all(&options.pids)?,
    })
}

fn multi(options: &FillOptions, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut data = Vec::new();
    for number in numbers {
        value::make(number, 0, options.value_len, &mut data);
        MultiHeader::request(OpCode::Create.to_i32()).encode(&mut body);
        CreateRequest {
            path: Some(path(options, number).into()),
            data: Some(&data),
            acl: Some(vec![Acl::open_unsafe()]),
            flags: 0,
        }
        .encode(&mut body);
    }
    encode_end(&mut body);
    body
}

fn check_multi(
    reply: &Reply<'_>,
    options: &FillOptions,
    numbers: std::ops::Range<u64>,
) -> Result<(), BenchError> {
    let wrong = |why: String| BenchError::WrongReply(format!("multi: {why}"));
    if reply.header.err != 0 {
        return Err(wrong(format!("error {}", reply.header.err)));
    }
    let mut reader = Reader::new(reply.body);
    for number in numbers {
        let part = next_part(&mut reader).map_err(|error| wrong(error.to_string()))?;
        if part.is_none_or(|part| part.op != OpCode::Create.to_i32()) {
            return Err(wrong(format!("part {number}: {part:?}")));
        }
        let made: CreateResponse<'_> = reader.read().map_err(|error| wrong(error.to_string()))?;
        if made.path.as_deref() != Some(path(options, number).as_str()) {
            return Err(wrong(format!("part {number}: {made:?}")));
        }
    }
    match next_part(&mut reader) {
        Ok(None) => Ok(()),
        other => Err(wrong(format!("no end: {other:?}"))),
    }
}
