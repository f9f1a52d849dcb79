//! One sample of each record and message, as bytes under a target's name and their own.

use rookeeper_jute::data::Id;
use rookeeper_jute::multi::{MultiHeader, encode_end};
use rookeeper_jute::proto::*;
use rookeeper_jute::quorum::{
    INITIAL_MESSAGE_V2, InitialMessage, LearnerInfo, Notification, PacketType, PeerState,
    QUORUM_AUTH_MAGIC, QuorumAuthPacket, QuorumPacket,
};
use rookeeper_jute::txn::*;
use rookeeper_jute::{Acl, Encode, OpCode, Reader, ServerId, SessionId, Stat, Zxid};

use rookeeper_zab::wire;

use crate::parts::part;

/// A seed: the target, the file's name, the bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// A learner's stream as a Java follower and its leader wrote it.
const LEARNER_STREAMS: [&[u8]; 2] = [
    include_bytes!("../../crates/jute/tests/vectors/learner-from-follower.bin"),
    include_bytes!("../../crates/jute/tests/vectors/learner-from-leader.bin"),
];

/// Such streams of the election's vectors, by name: from a leader, and from a learner.
const FROM_LEADERS: [(&str, &[u8]); 5] = [
    (
        "diff",
        include_bytes!("../../crates/zab/tests/recorded/learner/156.78-ln-srv2-57942-s2c.bin"),
    ),
    (
        "snap",
        include_bytes!("../../crates/zab/tests/recorded/learner/147.28-ln-srv2-39382-s2c.bin"),
    ),
    (
        "trunc",
        include_bytes!("../../crates/zab/tests/recorded/learner/427.91-ln-srv3-56372-s2c.bin"),
    ),
    (
        "inform",
        include_bytes!("../../crates/zab/tests/recorded/learner/150.51-ln-srv2-57926-s2c.bin"),
    ),
    (
        "short",
        include_bytes!("../../crates/zab/tests/recorded/learner/223.91-ln-srv2-51764-s2c.bin"),
    ),
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

/// A log and snapshots as Java wrote them.
const JAVA_LOG: &[u8] = include_bytes!("../../tests/interop/fixtures/n1/version-2/log.100000001");
const JAVA_SNAPSHOTS: [&[u8]; 3] = [
    include_bytes!("../../tests/interop/fixtures/n2/version-2/snapshot.200000001"),
    include_bytes!("../../tests/interop/fixtures/snap-gz/version-2/snapshot.300000007.gz"),
    include_bytes!("../../tests/interop/fixtures/snap-snappy/version-2/snapshot.300000007.snappy"),
];

fn files() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let parsed = rookeeper_store::log::parse(JAVA_LOG);
    let payloads: Vec<&[u8]> = parsed
        .txns
        .iter()
        .map(|(offset, _)| {
            let record = &JAVA_LOG[*offset as usize + 8..];
            let len: i32 = Reader::new(record).read().expect("a record has a length");
            &record[4..4 + len as usize]
        })
        .collect();
    assert!(payloads.len() > 50, "the log has {} transactions", payloads.len());
    for (number, group) in payloads.chunks(16).enumerate() {
        let txns: Vec<u8> = group.iter().flat_map(|txn| part(0, txn)).collect();
        seeds.push(("txns", format!("java-{number}"), txns));
        let header = &JAVA_LOG[..rookeeper_jute::persistence::FILE_HEADER_LEN];
        let mut log = header.to_vec();
        for txn in group {
            rookeeper_store::log::encode_record(txn, &mut log);
        }
        log.resize(log.len() + 64 * (number % 3), 0);
        seeds.push(("log", format!("java-{number}"), log));
    }
    for (kind, bytes) in JAVA_SNAPSHOTS.iter().enumerate() {
        let seed = [&[kind as u8], *bytes].concat();
        seeds.push(("snapshot", format!("java-{kind}"), seed));
    }
    let mut tree = rookeeper_tree::Tree::new(crate::parts::tree_config());
    let small = [vec![0], crate::parts::snapshot_file(&mut tree)].concat();
    seeds.push(("snapshot", "small".to_owned(), small));
    seeds
}

/// Requests by operation: a tag for the target `requests` is the operation's place in the list.
fn sample_requests() -> Vec<(OpCode, Vec<u8>)> {
    let get = GetDataRequest { path: path(), watch: true }.to_bytes();
    let parent = CreateRequest { path: Some("/a".into()), flags: 0, ..create() };
    vec![
        (OpCode::Create, parent.to_bytes()),
        (OpCode::Create2, create().to_bytes()),
        (OpCode::Create, CreateRequest { flags: 0, ..create() }.to_bytes()),
        (OpCode::SetData, SetDataRequest { path: path(), data: Some(b"x"), version: 0 }.to_bytes()),
        (OpCode::GetData, get.clone()),
        (OpCode::Exists, get.clone()),
        (OpCode::GetChildren2, get),
        (OpCode::SetAcl, SetAclRequest { path: path(), acl: acl(), version: 0 }.to_bytes()),
        (OpCode::GetAcl, GetAclRequest { path: path() }.to_bytes()),
        (OpCode::AddWatch, AddWatchRequest { path: path(), mode: 1 }.to_bytes()),
        (OpCode::Multi, multi()),
        (OpCode::Sync, SyncRequest { path: path() }.to_bytes()),
        (OpCode::WhoAmI, Vec::new()),
        (OpCode::Delete, DeleteRequest { path: path(), version: -1 }.to_bytes()),
        (OpCode::CloseSession, Vec::new()),
    ]
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("seeds are small");
    [&len.to_be_bytes()[..], payload].concat()
}

fn requests_and_clients() -> Vec<Seed> {
    let place = |op: OpCode| {
        let at = OpCode::ALL.iter().position(|known| *known == op).expect("all are known");
        u8::try_from(at).expect("there are few")
    };
    let requests = sample_requests();
    let direct = requests.iter().flat_map(|(op, body)| part(place(*op), body)).collect();
    let connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 10_000,
        session_id: SessionId(0),
        password: Some(&[0; 16]),
        read_only: Some(false),
    };
    let mut one_client = vec![1];
    one_client.extend(part(0, &frame(&connect.to_bytes())));
    let mut two_clients = one_client.clone();
    two_clients.extend(part(1, &frame(&connect.to_bytes())));
    for (xid, (op, body)) in (1..).zip(&requests) {
        let header = RequestHeader { xid: rookeeper_jute::Xid(xid), op: op.to_i32() };
        let request = frame(&[header.to_bytes(), body.clone()].concat());
        one_client.extend(part(0, &request));
        two_clients.extend(part((xid % 2) as u8, &request));
        two_clients.extend(part(4, &[]));
    }
    two_clients.extend(part(3, &[255]));
    vec![
        ("requests", "each".to_owned(), direct),
        ("clients", "one".to_owned(), one_client),
        ("clients", "two".to_owned(), two_clients),
        (
            "clients",
            "word".to_owned(),
            [vec![1], part(0, b"mntr"), part(1, b"stmk\0\0\0\0\0\0\0\x01")].concat(),
        ),
    ]
}

fn texts() -> Vec<Seed> {
    let acl = acl().to_bytes();
    let samples: [(u8, &str, &[u8]); 8] = [
        (0, "epoch", b"42\n"),
        (1, "word", b"srvr"),
        (2, "credentials", b"user:password"),
        (3, "ip", b"10.0.0.7\x0010.0.0.0/8"),
        (3, "ipv6", b"2001:db8:0:0:0:0:0:1\x002001:db8::/32"),
        (3, "digest", b"user:hash=\0user:hash="),
        (4, "acl", &acl),
        (1, "telnet", &[0xff, 0xf4, 0xff, 0xfd]),
    ];
    let seeds = samples
        .iter()
        .map(|(kind, name, bytes)| ("texts", (*name).to_owned(), [&[*kind], *bytes].concat()));
    seeds.collect()
}

/// Notes and indexes of the store, as lines without their checksum and with it.
fn notes() -> Vec<Seed> {
    let samples = [
        (0, "truncate", "rookeeper switch 1\ntruncate 8589934597\nold-log 4096 17 log.200000001\n"),
        (
            0,
            "install",
            "rookeeper switch 1\ninstall snapshot.300000004\nlog log.300000005\n\
             old-snapshot 900 16 snapshot.0\nold-log 4096 17 log.100000001\n",
        ),
        (
            1,
            "index",
            "rookeeper snapshots 1\n5 105 7 5 60 3 snapshot.5\n9 109 7 12 60 - snapshot.9\n",
        ),
    ];
    let mut seeds = Vec::new();
    for (kind, name, text) in samples {
        let whole = rookeeper_store::notes::sealed(text.to_owned());
        seeds.push(("notes", name.to_owned(), [&[kind | 2], text.as_bytes()].concat()));
        seeds.push(("notes", format!("{name}-sealed"), [&[kind], whole.as_bytes()].concat()));
    }
    seeds
}

fn configs() -> Vec<Seed> {
    let plain = "# a comment\ntickTime=2000\ndataDir=/var/lib/zookeeper\nclientPort=2181\n\
                 maxClientCnxns=60\n4lw.commands.whitelist=*\nautopurge.purgeInterval=1\n\
                 snapshot.compression.method=gz\n";
    let members = "dataDir=/d\nclientPort=2181\ninitLimit=5\nsyncLimit=2\n\
                   server.1=a:2888:3888:participant;2181\nserver.2=[::1]:2888:3888\n";
    let odd = "dataDir = d\\\\e\n\ttickTime : \\u0031000\nminSessionTimeout=9\nunknown.key=1\n";
    let flags = "-Djute.maxbuffer=2097152 -Dzookeeper.extendedTypesEnabled=true";
    let with = |line: &str, file: &str| {
        let len = u8::try_from(line.len()).expect("lines are short");
        [&[len], line.as_bytes(), file.as_bytes()].concat()
    };
    vec![
        ("config", "plain".to_owned(), with("", plain)),
        ("config", "members".to_owned(), with("", members)),
        ("config", "odd".to_owned(), with("", odd)),
        ("config", "flags".to_owned(), with(flags, plain)),
    ]
}

/// What a learner of an empty server says: who it is, its epoch, that it has the history, a ping.
fn learner_says(server: i64, observer: bool) -> Vec<Vec<u8>> {
    let info =
        LearnerInfo { server_id: ServerId(server), protocol_version: 0x10000, config_version: 0 };
    let mut packets = vec![Vec::new(); 4];
    wire::learner_info(observer, 0, &info, &mut packets[0]);
    wire::packet(PacketType::AckEpoch, Zxid(0), Some(&0i32.to_be_bytes()), &mut packets[1]);
    wire::packet(PacketType::Ack, Zxid::new(1, 0), None, &mut packets[2]);
    wire::packet(PacketType::Ping, Zxid::new(1, 0), Some(&[]), &mut packets[3]);
    packets
}

fn peers() -> Vec<Seed> {
    let from_leaders = FROM_LEADERS.iter().flat_map(|(name, stream)| {
        [0u8, 1, 62].map(|draw| ("learner", format!("{name}-{draw}"), [&[draw], *stream].concat()))
    });
    let mut led = Vec::new();
    let learners = [learner_says(1, false), learner_says(2, false), learner_says(4, true)];
    for step in 0..3 {
        for (number, packets) in (0u8..).zip(&learners) {
            led.extend(part(number, &packets[step]));
        }
    }
    let established = led.clone();
    for _ in 0..3 {
        led.extend(part(12 * 16, &[1]));
        let mut ack = Vec::new();
        wire::packet(PacketType::Ack, Zxid::new(1, 1), None, &mut ack);
        led.extend(part(0, &ack));
        led.extend(part(14 * 16, &[]));
        led.extend(part(13 * 16, &[1; 8]));
        led.extend(part(1, &learners[1][3]));
    }
    led.extend(part(15 * 16 + 1, &[]));
    let mut seeds: Vec<Seed> = from_leaders.collect();
    seeds.push(("leader", "established".to_owned(), established));
    seeds.push(("leader", "broadcasting".to_owned(), led));
    seeds
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    [records(), quorum(), files(), requests_and_clients(), texts(), notes(), configs(), peers()]
        .concat()
}
