//! One sample of each record and message, as bytes under a target's name and their own.

use rookeeper_jute::data::Id;
use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::proto::*;
use rookeeper_jute::quorum::{
    INITIAL_MESSAGE_V2, InitialMessage, Notification, PeerState, QUORUM_AUTH_MAGIC,
    QuorumAuthPacket, QuorumPacket,
};
use rookeeper_jute::txn::*;
use rookeeper_jute::{Acl, Encode, OpCode, Reader, ServerId, SessionId, Stat, Zxid};

/// A seed: the target, the file's name, the bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// A learner's stream as a Java follower and its leader wrote it.
const LEARNER_STREAMS: [&[u8]; 2] = [
    include_bytes!("../../crates/jute/tests/vectors/learner-from-follower.bin"),
    include_bytes!("../../crates/jute/tests/vectors/learner-from-leader.bin"),
];

fn acl() -> Option<Vec<Acl<'static>>> {
    Some(vec![Acl::open_unsafe(), Acl { perms: 1, id: Id::new("digest", "user:hash=") }])
}

fn path() -> Option<std::borrow::Cow<'static, str>> {
    Some("/a/b".into())
}

/// A create request.
pub fn create() -> CreateRequest<'static> {
    CreateRequest { path: path(), data: Some(b"data"), acl: acl(), flags: 3 }
}

/// A multi request: create, set, check, delete.
pub fn multi() -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = |op: OpCode, record: &dyn Fn(&mut Vec<u8>)| {
        MultiHeader::request(op.to_i32()).encode(&mut out);
        record(&mut out);
    };
    part(OpCode::Create2, &|out| create().encode(out));
    part(OpCode::SetData, &|out| {
        SetDataRequest { path: path(), data: None, version: 0 }.encode(out);
    });
    part(OpCode::Check, &|out| CheckVersionRequest { path: path(), version: 1 }.encode(out));
    part(OpCode::Delete, &|out| DeleteRequest { path: path(), version: -1 }.encode(out));
    encode_end(&mut out);
    out
}

fn record(kind: u8, name: &str, bytes: Vec<u8>) -> Seed {
    ("records", name.to_owned(), [vec![kind], bytes].concat())
}

fn records() -> Vec<Seed> {
    let connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 30_000,
        session_id: SessionId(0),
        password: Some(&[0; 16]),
        read_only: Some(false),
    };
    let watches = SetWatches2 {
        relative_zxid: Zxid(7),
        data_watches: Some(vec![path()]),
        exist_watches: Some(vec![path(), None]),
        child_watches: None,
        persistent_watches: Some(vec![]),
        persistent_recursive_watches: Some(vec![path()]),
    };
    let auth = AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth: Some(b"u:p") };
    let data = GetDataResponse { data: Some(b"data"), stat: Stat::default() };
    let create_txn = CreateTxn {
        path: path(),
        data: Some(b"data"),
        acl: acl(),
        ephemeral: false,
        parent_cversion: 1,
    };
    let part = create_txn.to_bytes();
    let multi_txn = MultiTxn { txns: Some(vec![Txn { txn_type: 1, data: Some(part.as_slice()) }]) };
    vec![
        record(0, "connect", connect.to_bytes()),
        record(1, "header", RequestHeader { xid: rookeeper_jute::Xid(1), op: 4 }.to_bytes()),
        record(2, "create", create().to_bytes()),
        record(3, "create-txn", create_txn.to_bytes()),
        record(4, "set", SetDataRequest { path: path(), data: None, version: 1 }.to_bytes()),
        record(5, "set-watches", watches.to_bytes()),
        record(6, "get", GetDataRequest { path: path(), watch: true }.to_bytes()),
        record(7, "auth", auth.to_bytes()),
        record(8, "data", data.to_bytes()),
        record(9, "multi-txn", multi_txn.to_bytes()),
        record(10, "stat", Stat::default().to_bytes()),
        record(11, "multi", multi()),
    ]
}

fn quorum() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, stream) in ["follower", "leader"].iter().zip(LEARNER_STREAMS) {
        let mut reader = Reader::new(stream);
        let mut number = 0;
        let mut start = 0;
        while number < 24 && reader.read::<QuorumPacket<'_>>().is_ok() {
            let packet = &stream[start..reader.offset()];
            seeds.push(("quorum", format!("{name}-{number:02}"), [&[0], packet].concat()));
            start = reader.offset();
            number += 1;
        }
        assert!(number > 3, "the recorded stream has packets");
    }
    let notification = Notification {
        state: PeerState::Looking,
        leader: ServerId(3),
        zxid: Zxid::new(2, 5),
        election_epoch: 1,
        peer_epoch: 2,
        version: 2,
        config: Some(b"server.1=127.0.0.1:2888:3888:participant\nversion=0"),
    };
    let initial = InitialMessage {
        protocol_version: INITIAL_MESSAGE_V2,
        server_id: ServerId(2),
        addresses: b"127.0.0.1:3888|127.0.0.2:3888",
    };
    let auth = QuorumAuthPacket { magic: QUORUM_AUTH_MAGIC, status: 0, token: Some(b"token") };
    for (kind, name, bytes) in [
        (1, "notification", notification.to_bytes()),
        (2, "initial", initial.to_bytes()),
        (3, "auth", auth.to_bytes()),
    ] {
        seeds.push(("quorum", name.to_owned(), [vec![kind], bytes].concat()));
    }
    seeds
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    [records(), quorum()].concat()
}
