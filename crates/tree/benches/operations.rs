//! Nanoseconds of one thread for preparing, applying and answering, with 800 writes outstanding
//! as 50 connections at depth 16 have them: `cargo bench -p rookeeper-tree --bench operations`.

use rookeeper_jute::proto::{CreateRequest, DeleteRequest, GetDataRequest, SetDataRequest};
use rookeeper_jute::{Acl, Encode, OpCode, SessionId, Xid, Zxid};
use rookeeper_tree::{
    AccessControl, ChangeLog, Identity, Outstanding, PrepareConfig, ReadRequest, Tree, TreeConfig,
    WriteRequest,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of this process so far, in nanoseconds: the machine may have other work.
fn cpu_ns() -> u128 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    let on_cpu = text.split(' ').next().expect("three numbers");
    on_cpu.parse().expect("a number")
}

const ZNODES: usize = 100_000;
const OUTSTANDING: usize = 800;

struct Bench {
    tree: Tree,
    outstanding: Outstanding,
    access: AccessControl,
    changes: ChangeLog,
    identities: Vec<Identity>,
    zxid: Zxid,
}

impl Bench {
    fn new() -> Self {
        let config = TreeConfig { digest_enabled: true, ..TreeConfig::default() };
        Bench {
            tree: Tree::new(config),
            outstanding: Outstanding::new(PrepareConfig::default()),
            access: AccessControl::default(),
            changes: ChangeLog::new(),
            identities: vec![Identity::new("ip", "127.0.0.1")],
            zxid: Zxid::ZERO,
        }
    }

    /// Prepares and applies in batches; nanoseconds of each a write.
    fn writes(&mut self, op: OpCode, bodies: &[Vec<u8>]) -> (f64, f64) {
        let (mut prepare_ns, mut apply_ns) = (0, 0);
        for batch in bodies.chunks(OUTSTANDING) {
            let mut out = Vec::with_capacity(1 << 20);
            let mut ends = Vec::with_capacity(OUTSTANDING);
            let start = cpu_ns();
            for body in batch {
                self.zxid = self.zxid.next();
                let request = WriteRequest {
                    session: SessionId(1),
                    cxid: Xid(1),
                    op,
                    body,
                    identities: &self.identities,
                    zxid: self.zxid,
                    time_ms: 1_700_000_000_000,
                    session_check: Ok(()),
                    ephemeral_check: Ok(()),
                };
                self.outstanding.prepare(&self.tree, &self.access, &request, &mut out);
                ends.push(out.len());
            }
            prepare_ns += cpu_ns() - start;
            let start = cpu_ns();
            let mut from = 0;
            let mut reply = Vec::with_capacity(1 << 20);
            for end in ends {
                let txn = &out[from..end];
                let applied = self.tree.apply(txn, &mut self.changes).expect("our own");
                assert!(!applied.digest_mismatch && applied.reply_error().to_i32() == 0);
                applied.encode_reply(op, &mut reply);
                self.outstanding.applied(applied.header.zxid);
                from = end;
            }
            self.changes.trim(self.changes.position());
            apply_ns += cpu_ns() - start;
        }
        let each = |ns: u128| ns as f64 / bodies.len() as f64;
        (each(prepare_ns), each(apply_ns))
    }

    fn reads(&self, op: OpCode, bodies: &[Vec<u8>]) -> f64 {
        let mut out = Vec::with_capacity(1 << 20);
        let start = cpu_ns();
        for body in bodies {
            let identities = &self.identities;
            let read = ReadRequest { op, body, session: SessionId(1), identities };
            let answer = self.tree.query(&read, &self.access, &mut out);
            assert_eq!(answer.err.to_i32(), 0);
            if out.len() > 1 << 19 {
                out.clear();
            }
        }
        (cpu_ns() - start) as f64 / bodies.len() as f64
    }
}

fn main() {
    let mut bench = Bench::new();
    let data = [b'x'; 100];
    let path = |i: usize| format!("/bench/znode-{i:08}");
    let create = |path: &str| {
        let acl = Some(vec![Acl::open_unsafe()]);
        CreateRequest { path: Some(path.into()), data: Some(&data), acl, flags: 0 }.to_bytes()
    };
    let scattered = |i: usize| path(i * 7919 % ZNODES);
    bench.writes(OpCode::Create, &[create("/bench")]);
    let creates: Vec<_> = (0..ZNODES).map(|i| create(&path(i))).collect();
    let sets = (0..ZNODES).map(|i| {
        let path = scattered(i);
        SetDataRequest { path: Some(path.into()), data: Some(&data), version: -1 }.to_bytes()
    });
    let sets: Vec<_> = sets.collect();
    let gets = (0..ZNODES)
        .map(|i| GetDataRequest { path: Some(scattered(i).into()), watch: false }.to_bytes());
    let gets: Vec<_> = gets.collect();
    let deletes = (0..ZNODES)
        .map(|i| DeleteRequest { path: Some(scattered(i).into()), version: -1 }.to_bytes());
    let deletes: Vec<_> = deletes.collect();
    println!("{ZNODES} znodes of 100 bytes, {OUTSTANDING} writes outstanding, ns each");
    for _ in 0..3 {
        let (prepare, apply) = bench.writes(OpCode::Create, &creates);
        println!("create   prepare {prepare:6.0}  apply {apply:6.0}");
        let (prepare, apply) = bench.writes(OpCode::SetData, &sets);
        println!("setData  prepare {prepare:6.0}  apply {apply:6.0}");
        println!("getData  answer  {:6.0}", bench.reads(OpCode::GetData, &gets));
        println!("exists   answer  {:6.0}", bench.reads(OpCode::Exists, &gets));
        let (prepare, apply) = bench.writes(OpCode::Delete, &deletes);
        println!("delete   prepare {prepare:6.0}  apply {apply:6.0}");
    }
}
