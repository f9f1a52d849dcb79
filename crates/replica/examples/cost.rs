//! What a request costs in shard and core alone, without sockets and disk:
//! `cargo run --release -p rookeeper-replica --example cost`.

use std::sync::Arc;
use std::time::Instant;

use rookeeper_jute::proto::{ConnectRequest, GetDataRequest, RequestHeader, SetDataRequest};
use rookeeper_jute::{Encode, OpCode, SessionId, Xid, Zxid};
use rookeeper_replica::{
    ApplyProgress, ConnectionKey, Core, CoreConfig, CoreEffect, CoreInput, CoreStart, Now, Peer,
    Shard, ShardConfig, ShardEffect, ShardEffects, ShardId, Shared,
};
use rookeeper_tree::prepare::PrepareConfig;
use rookeeper_tree::{AccessControl, Tree, TreeConfig};

const CONNECTIONS: usize = 50;

struct Server {
    shared: Shared,
    core: Core,
    shard: Shard,
    effects: ShardEffects,
    core_effects: Vec<CoreEffect>,
    now: Now,
    sent: usize,
}

impl Server {
    fn new() -> Self {
        let access = Arc::new(AccessControl::default());
        let config = TreeConfig { digest_enabled: true, ..TreeConfig::default() };
        let shared = Shared::new(Tree::new(config), 1);
        let now = Now::default();
        let core = Core::new(
            now,
            CoreConfig::default(),
            PrepareConfig::default(),
            access.clone(),
            &shared,
            CoreStart::default(),
        );
        Server {
            shared,
            core,
            shard: Shard::new(ShardId(0), Arc::new(ShardConfig::default()), access),
            effects: ShardEffects::default(),
            core_effects: Vec::new(),
            now,
            sent: 0,
        }
    }

    fn receive(&mut self, key: ConnectionKey, bytes: &[u8]) {
        self.shard.receive(self.now, key, bytes, &self.shared, &mut self.effects);
    }

    /// Submissions to the core, a disk that is always done, deliveries back, output written.
    fn settle(&mut self) {
        loop {
            let mut inputs = Vec::new();
            if !self.effects.submissions.is_empty() {
                let batch = std::mem::take(&mut self.effects.submissions);
                inputs.push(CoreInput::Submissions(batch));
            }
            for input in inputs {
                self.core.step(self.now, input, &self.shared, &mut self.core_effects);
            }
            while !self.core_effects.is_empty() {
                for effect in std::mem::take(&mut self.core_effects) {
                    self.core_effect(effect);
                }
            }
            self.shard.catch_up(self.now, &self.shared, &mut self.effects);
            for effect in std::mem::take(&mut self.effects.effects) {
                if let ShardEffect::Output(key) = effect {
                    let len = self.shard.output(key).len();
                    self.sent += len;
                    self.shard.written(key, len, &mut self.effects);
                }
            }
            if self.effects.submissions.is_empty() && self.effects.effects.is_empty() {
                return;
            }
        }
    }

    fn core_effect(&mut self, effect: CoreEffect) {
        match effect {
            CoreEffect::Append(segment) => {
                let durable = CoreInput::Durable(segment.last_zxid());
                self.core.step(self.now, durable, &self.shared, &mut self.core_effects);
            }
            CoreEffect::Apply => {
                while self.core.apply(self.now, &mut self.shared, &mut self.core_effects)
                    == ApplyProgress::More
                {}
            }
            CoreEffect::Deliver(batch) => {
                self.shard.deliver(self.now, batch, &self.shared, &mut self.effects);
            }
            _ => {}
        }
    }

    fn connect(&mut self) -> ConnectionKey {
        let address = "127.0.0.1:1".parse().expect("an address");
        let key = self.shard.accept(self.now, Peer { address, secure: false });
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 60_000,
            session_id: SessionId(0),
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        let body = request.to_bytes();
        let mut frame = (body.len() as i32).to_bytes();
        frame.extend(body);
        self.receive(key, &frame);
        self.settle();
        key
    }
}

fn frames(depth: usize, op: OpCode, body: &impl Encode) -> Vec<u8> {
    let mut frames = Vec::new();
    for xid in 1..=depth {
        let mut frame = RequestHeader { xid: Xid(xid as i32), op: op.to_i32() }.to_bytes();
        body.encode(&mut frame);
        (frame.len() as i32).encode(&mut frames);
        frames.extend(frame);
    }
    frames
}

fn measure(name: &str, depth: usize, frames: &[u8], together: usize) {
    let mut server = Server::new();
    let keys: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let create = rookeeper_jute::proto::CreateRequest {
        path: Some("/bench".into()),
        data: Some(&[7; 100]),
        acl: Some(vec![rookeeper_jute::Acl::open_unsafe()]),
        flags: 0,
    };
    server.receive(keys[0], &self::frames(1, OpCode::Create, &create));
    server.settle();
    let rounds = 1_000_000 / (depth * CONNECTIONS);
    let start = Instant::now();
    for _ in 0..rounds {
        for keys in keys.chunks(together) {
            server.now.monotonic_us += 10;
            for key in keys {
                server.receive(*key, frames);
            }
            server.settle();
        }
    }
    let count = rounds * depth * CONNECTIONS;
    let each_ns = start.elapsed().as_nanos() / count as u128;
    println!("{name:24} depth {depth:3}, {together:2} connections a wake-up: {each_ns:5} ns");
    assert!(server.sent > count * 20, "every request was answered");
}

fn main() {
    println!("{} bytes a connection in the shard", Shard::CONNECTION_LEN);
    let path = Some("/bench".into());
    let get = GetDataRequest { path: path.clone(), watch: false };
    let set = SetDataRequest { path, data: Some(&[8; 100]), version: -1 };
    for (depth, together) in [(1, 1), (1, 50), (16, 1), (16, 50)] {
        measure("getData of 100 bytes", depth, &frames(depth, OpCode::GetData, &get), together);
    }
    for (depth, together) in [(1, 1), (1, 50), (16, 1), (16, 50)] {
        measure("setData of 100 bytes", depth, &frames(depth, OpCode::SetData, &set), together);
    }
}
