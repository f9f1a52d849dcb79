//! One leader against transcripts in plain text (`tests/leader/scenarios/*.txt`).
//!
//! Lines with `>` are inputs, `at` moves time, `<` are the effects that must follow. With
//! `ROOKEEPER_BLESS=1` in the environment the effects are written anew; read the difference.
//! Zxids are written `epoch:counter`. What begins with `c2` concerns connection 2.
//!
//! ```text
//! leader 1 voters 1 2 3 observers 4 [accepted=1 current=1 history 0:0 1:5 [zxid 1:5]]
//! at 0
//! > start
//! > accept c2
//! > c2 follower 2 accepted=1 [config=0]
//! < write accepted 2
//! > written accepted
//! < c2 LeaderInfo 2:0 00010000526f6f6b
//! > c2 ackepoch 1:5 current=1
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rookeeper_jute::quorum::{LearnerInfo, PacketType};
use rookeeper_jute::{Encode, Identity, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::leader::{
    Leader, LeaderConfig, LeaderEffect, LeaderInput, LoadLimits, REVALIDATION_LEN,
};
use rookeeper_zab::links::ConnectionId;
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::{Ensemble, Oracle};
use rookeeper_zab::sync::{LogIndex, SyncRules};
use rookeeper_zab::wire::{self, PacketReader};
use rookeeper_zab::{EpochKind, Forward, Outgoing, Segment, SegmentBuilder};

/// `1:5`, or a number as it stands.
pub fn zxid(text: &str) -> Zxid {
    match text.split_once(':') {
        Some((epoch, counter)) => {
            Zxid::new(epoch.parse().expect("an epoch"), counter.parse().expect("a counter"))
        }
        None => Zxid(text.parse().unwrap_or_else(|_| panic!("no zxid: {text}"))),
    }
}

fn shown(zxid: Zxid) -> String {
    match zxid.0 {
        number @ ..0 => number.to_string(),
        _ => format!("{}:{}", zxid.epoch(), zxid.counter()),
    }
}

/// Consecutive transactions of 8 bytes each.
pub fn segment(first: Zxid, count: u32) -> Arc<Segment> {
    let mut builder = SegmentBuilder::default();
    for at in 0..i64::from(count) {
        builder.push(Zxid(first.0 + at), &(first.0 + at).to_be_bytes());
    }
    builder.freeze()
}

/// `voters 1 2 observers 3 weights 1=0 version 4`, in any order; `at` with a number moves a
/// server's port.
pub fn membership(words: &[&str]) -> Membership {
    let (mut text, mut section) = (String::new(), "");
    let mut voters = Vec::new();
    for word in words {
        let (id, port) = word.split_once('@').unwrap_or((word, "2888"));
        match (*word, section) {
            ("voters" | "observers" | "weights" | "version", _) => section = word,
            (_, "voters") => {
                voters.push(id);
                text += &format!("server.{id}=n{id}:{port}:3888:participant\n");
            }
            (weight, "weights") => text += &format!("weight.{weight}\n"),
            (_, "observers") => text += &format!("server.{id}=n{id}:{port}:3888:observer\n"),
            (version, "version") => text += &format!("version={version}\n"),
            (other, _) => panic!("no part of a configuration: {other}"),
        }
    }
    if text.contains("weight.") {
        text += &format!("group.1={}\n", voters.join(":"));
    }
    let rules = MembershipRules { standalone_enabled: false, multi_address_enabled: true };
    Membership::parse(&text, &rules).expect("a good configuration")
}

fn field(words: &[&str], name: &str) -> Option<i64> {
    let mut fields = words.iter().filter_map(|word| word.split_once('='));
    let value = fields.find(|(key, _)| *key == name)?.1;
    Some(value.parse().unwrap_or_else(|_| panic!("no number: {value}")))
}

/// The words between a word and the next one that begins a part.
fn part<'a>(words: &'a [&'a str], name: &str) -> &'a [&'a str] {
    const PARTS: [&str; 5] = ["members", "history", "zxid", "seen", "limits"];
    let Some(at) = words.iter().position(|word| *word == name) else { return &[] };
    let rest = &words[at + 1..];
    let end = rest.iter().position(|word| PARTS.contains(word)).unwrap_or(rest.len());
    &rest[..end]
}

/// A leader with ticks of 1000 ms, initLimit 10, syncLimit 5.
pub fn config(me: i64, ensemble: Ensemble, last_zxid: Zxid) -> LeaderConfig {
    LeaderConfig {
        me: ServerId(me),
        ensemble,
        tick_time_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        accepted_epoch: i64::from(last_zxid.epoch()),
        current_epoch: i64::from(last_zxid.epoch()),
        last_zxid,
        sync: SyncRules::default(),
        oracle: Oracle::Absent,
        epoch_wait_ms_max: None,
        supporters: Vec::new(),
        snap_syncs_max: 10,
        diff_syncs_max: 100,
        packet_len_max: 1 << 20,
        load: LoadLimits::default(),
        reconfig_enabled: true,
        ack_logging_frequency: 0,
        holds_proposals: false,
    }
}

/// `1 members voters 1 2 3 history 0:0 1:5 zxid 1:5 seen voters 1 2 limits snap=1`
fn leader(words: &[&str]) -> Leader {
    let ensemble = Arc::new(membership(part(words, "members")));
    let ensemble = match part(words, "seen") {
        [] => Ensemble::new(ensemble),
        seen => Ensemble::with_last_seen(ensemble, Arc::new(membership(seen))),
    };
    let history = part(words, "history");
    let mut index = LogIndex::new(history.first().map_or(Zxid::ZERO, |base| zxid(base)));
    for last in history.iter().skip(1).map(|last| zxid(last)) {
        let first = match index.last().epoch() == last.epoch() {
            true => index.last().counter() + 1,
            false => 1,
        };
        for counter in first..=last.counter() {
            index.append(Zxid::new(last.epoch(), counter), 21);
        }
    }
    let last_zxid = part(words, "zxid").first().map_or(index.last(), |last| zxid(last));
    let mut config = config(words[0].parse().expect("an id"), ensemble, last_zxid);
    let limits = part(words, "limits");
    let size = |name, default| field(limits, name).map_or(default, |size| size as usize);
    config.snap_syncs_max = size("snap", 10);
    config.diff_syncs_max = size("diff", 100);
    config.reconfig_enabled = field(limits, "reconfig") != Some(0);
    config.epoch_wait_ms_max = field(limits, "wait").map(|ms| ms as u64);
    config.supporters = vec![ServerId(1), ServerId(2)];
    config.ack_logging_frequency = size("acks", 0) as u32;
    config.holds_proposals = limits.contains(&"holds");
    config.load.requests_max = size("requests", config.load.requests_max);
    if let Some(epoch) = field(limits, "current") {
        config.current_epoch = epoch;
    }
    if let Some(epoch) = field(limits, "accepted") {
        config.accepted_epoch = epoch;
    }
    Leader::new(config, index, 0)
}

/// A request: session, number and operation.
fn forward(words: &[&str]) -> Forward {
    Forward {
        session: SessionId(words[0].parse().expect("a session")),
        cxid: Xid(words[1].parse().expect("a number")),
        op: words[2].parse().expect("an operation"),
        body: b"body".to_vec(),
        identities: Some([Identity::new("ip", "::1")].into()),
    }
}

/// A learner's packet: `follower 2 accepted=1`, `ackepoch 1:5 current=1`, `ack 2:0`, ...
fn packet(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    match words[0] {
        "follower" | "observer" => {
            let info = LearnerInfo {
                server_id: ServerId(words[1].parse().expect("an id")),
                protocol_version: field(words, "protocol").unwrap_or(0x10000) as i32,
                config_version: field(words, "config").unwrap_or(0),
            };
            let epoch = field(words, "accepted").unwrap_or(0);
            wire::learner_info(words[0] == "observer", epoch, &info, &mut out);
        }
        "ackepoch" => {
            let epoch = field(words, "current").expect("an epoch") as i32;
            wire::packet(PacketType::AckEpoch, zxid(words[1]), Some(&epoch.to_bytes()), &mut out);
        }
        "ack" => wire::packet(PacketType::Ack, zxid(words[1]), None, &mut out),
        "acks" => {
            for at in zxid(words[1]).0..=zxid(words[2]).0 {
                wire::packet(PacketType::Ack, Zxid(at), None, &mut out);
            }
        }
        "ping" => {
            let touch = |word: &&str| {
                let (session, timeout) = word.split_once('=').expect("session=timeout");
                let session = SessionId(session.parse().expect("a session"));
                (session, timeout.parse().expect("a timeout"))
            };
            let sessions: Vec<(SessionId, i32)> = words[2..].iter().map(touch).collect();
            wire::touches(zxid(words[1]), &sessions, &mut out);
        }
        "revalidate" => {
            let mut data = SessionId(words[1].parse().expect("a session")).to_bytes();
            words[2].parse::<i32>().expect("a timeout").encode(&mut data);
            wire::packet(PacketType::Revalidate, Zxid::NONE, Some(&data), &mut out);
        }
        "request" => {
            wire::request(&forward(&words[1..]), &mut out);
        }
        "requests" => {
            for cxid in 1..=words[1].parse().expect("a count") {
                wire::request(&forward(&["7", &i32::to_string(&cxid), "1"]), &mut out);
            }
        }
        "type" => {
            let number = words[1].parse().expect("a type");
            let packet_type = PacketType::from_i32(number).expect("a known type");
            wire::packet(packet_type, Zxid(1), Some(&[1, 2, 3]), &mut out);
        }
        "bytes" => out = words[1..].iter().map(|byte| byte.parse().expect("a byte")).collect(),
        other => panic!("no packet {other}"),
    }
    out
}

fn kind(word: &str) -> EpochKind {
    if word == "accepted" { EpochKind::Accepted } else { EpochKind::Current }
}

fn connection(word: &str) -> Option<ConnectionId> {
    word.strip_prefix('c')?.parse().ok().map(ConnectionId)
}

fn input(leader: &mut Leader, now_ms: u64, words: &[&str]) -> Vec<LeaderEffect> {
    let mut effects = Vec::new();
    let peer = || connection(words[1]).expect("a connection");
    let bytes;
    let input = match words[0] {
        "start" => LeaderInput::Start,
        "accept" => LeaderInput::Accepted(peer()),
        "closed" => LeaderInput::Closed(peer()),
        "written" if connection(words[1]).is_some() => LeaderInput::Written(peer()),
        "written" => LeaderInput::EpochWritten(kind(words[1])),
        "failed" => LeaderInput::HistoryFailed {
            connection: peer(),
            unproven: words.get(2).map(|word| zxid(word)),
        },
        "logs-from" => LeaderInput::LogsFrom(zxid(words[1])),
        "done" => {
            let requests = words[2].parse().expect("a count");
            let bytes = requests * forward(&["7", "1", "1"]).held_len();
            LeaderInput::Done { connection: peer(), requests, bytes }
        }
        "answered" => {
            let requests: usize = words[2].parse().expect("a count");
            let bytes = requests * REVALIDATION_LEN;
            LeaderInput::Done { connection: peer(), requests, bytes }
        }
        "tick" => LeaderInput::Tick,
        "stop" => LeaderInput::Stop,
        "left" => LeaderInput::VoterLeft(ServerId(words[1].parse().expect("an id"))),
        "away" => LeaderInput::VoterAway(ServerId(words[1].parse().expect("an id"))),
        "looks" => LeaderInput::VoterLooks(ServerId(words[1].parse().expect("an id"))),
        "propose" => {
            let count = words.get(2).map_or(1, |count| count.parse().expect("a count"));
            LeaderInput::Proposed(segment(zxid(words[1]), count))
        }
        "release" => LeaderInput::Release,
        "durable" => LeaderInput::Durable(zxid(words[1])),
        "sync" => LeaderInput::SyncWanted {
            ticket: words[1].parse().expect("a ticket"),
            connection: words.get(2).and_then(|word| connection(word)),
        },
        "revalidated" => LeaderInput::Revalidated {
            connection: peer(),
            session: SessionId(words[2].parse().expect("a session")),
            valid: words[3] == "valid",
        },
        "reconfigured" => {
            let zxid = zxid(words[1]);
            let membership = Arc::new(membership(&words[2..]).with_version(zxid.0));
            LeaderInput::Reconfigured { zxid, membership }
        }
        "oracle" => LeaderInput::Oracle(match words[1] {
            "grants" => Oracle::Grants,
            _ => Oracle::Refuses,
        }),
        word => {
            let connection = connection(word).unwrap_or_else(|| panic!("no input {word}"));
            bytes = packet(&words[1..]);
            LeaderInput::Received { connection, bytes: &bytes }
        }
    };
    leader.step(now_ms, input, &mut effects);
    effects
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packets as text; a configuration by its version and members.
fn show_packets(bytes: &[u8]) -> Vec<String> {
    let mut reader = PacketReader::new(1 << 20);
    reader.push(bytes);
    let mut lines = Vec::new();
    while let Some(packet) = reader.next_packet().expect("whole packets") {
        let packet_type = PacketType::from_i32(packet.packet_type).expect("a known type");
        let mut line = format!("{packet_type:?} {}", shown(packet.zxid));
        match (packet_type, packet.data) {
            (PacketType::NewLeader, Some(text)) => {
                let text = std::str::from_utf8(text).expect("UTF-8");
                line += &text.lines().last().map_or(String::new(), |last| format!(" {last}"));
            }
            (_, Some(data)) => line += &format!(" {}", hex(data)),
            (_, None) => {}
        }
        lines.push(line);
    }
    assert!(reader.rest().is_empty(), "whole packets");
    lines
}

fn show_item(item: &Outgoing) -> Vec<String> {
    match item {
        Outgoing::Bytes(bytes) => show_packets(bytes),
        Outgoing::Records { segment, range, kind } => {
            let (first, last) = (segment.zxid(range.start), segment.zxid(range.end - 1));
            vec![format!("records {kind:?} {}..{}", shown(first), shown(last))]
        }
        Outgoing::History { after, through } => {
            vec![format!("history after {} through {}", shown(*after), shown(*through))]
        }
        Outgoing::Snapshot { base, through } => {
            vec![format!("snapshot base {} through {}", shown(*base), shown(*through))]
        }
    }
}

pub fn show(effect: &LeaderEffect) -> Vec<String> {
    let line = match effect {
        LeaderEffect::Send { connection, item } => {
            let c = connection.0;
            return show_item(item).into_iter().map(|line| format!("c{c} {line}")).collect();
        }
        LeaderEffect::Close { connection, reason } => {
            format!("close c{}: {reason}", connection.0)
        }
        LeaderEffect::PauseReading(connection) => format!("pause c{}", connection.0),
        LeaderEffect::ResumeReading(connection) => format!("resume c{}", connection.0),
        LeaderEffect::WriteEpoch { kind: EpochKind::Accepted, epoch } => {
            format!("write accepted {epoch}")
        }
        LeaderEffect::WriteEpoch { epoch, .. } => format!("write current {epoch}"),
        LeaderEffect::Established { epoch } => format!("established {epoch}"),
        LeaderEffect::Acknowledged { server, zxid } => {
            format!("acknowledged {server} {}", shown(*zxid))
        }
        LeaderEffect::Held => "held".to_owned(),
        LeaderEffect::Commit(zxid) => format!("commit {}", shown(*zxid)),
        LeaderEffect::Forwarded { connection, learner, request } => {
            let Forward { session, cxid, op, body, identities } = request;
            let body = String::from_utf8_lossy(body);
            let who: Vec<String> = identities
                .iter()
                .flat_map(|all| &**all)
                .map(|Identity { scheme, id }| format!("{scheme}:{id}"))
                .collect();
            let who = who.join(",");
            format!(
                "forwarded c{} server {learner} session={} cxid={cxid} op={op} {body} {who}",
                connection.0, session.0
            )
        }
        LeaderEffect::Touched { connection, sessions } => {
            let sessions: Vec<String> =
                sessions.iter().map(|(session, ms)| format!("{}={ms}", session.0)).collect();
            format!("touched c{} {}", connection.0, sessions.join(" "))
        }
        LeaderEffect::Revalidate { connection, session, timeout_ms } => {
            format!("revalidate c{} {} {timeout_ms}", connection.0, session.0)
        }
        LeaderEffect::SyncConfirmed(ticket) => format!("sync-confirmed {ticket}"),
        LeaderEffect::LearnerUp { connection, server, observer } => {
            let role = if *observer { "observer" } else { "follower" };
            format!("up c{} {role} {server}", connection.0)
        }
        LeaderEffect::Syncs { .. } => return Vec::new(),
        LeaderEffect::LearnerGone(connection) => format!("gone c{}", connection.0),
        LeaderEffect::LastSeen(membership) => {
            format!("last-seen {}", shown(Zxid(membership.version())))
        }
        LeaderEffect::Activate { zxid, membership, designated } => {
            let version = shown(Zxid(membership.version()));
            format!("activate {} version {version} leader {designated}", shown(*zxid))
        }
        LeaderEffect::Stopped => "stopped".to_owned(),
        LeaderEffect::Abandon(end) => format!("abandon: {end}"),
    };
    vec![line]
}

/// The transcript as the machine would write it.
fn run(text: &str) -> String {
    let mut machine: Option<Leader> = None;
    let (mut out, mut now_ms) = (String::new(), 0);
    for line in text.lines().filter(|line| !line.starts_with('<')) {
        writeln!(out, "{line}").expect("strings take all");
        let words: Vec<&str> = line.split_whitespace().collect();
        let effects = match words.first() {
            Some(&"leader") => {
                machine = Some(leader(&words[1..]));
                now_ms = 0;
                continue;
            }
            Some(&"at") => {
                now_ms = words[1].parse().expect("a time");
                continue;
            }
            Some(&">") => input(machine.as_mut().expect("leader comes first"), now_ms, &words[1..]),
            _ => continue,
        };
        for effect in &effects {
            for line in show(effect) {
                writeln!(out, "< {line}").expect("strings take all");
            }
        }
    }
    out
}

/// All scenarios and what they have to be called by, so that none is lost.
#[test]
fn transcripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leader/scenarios");
    let mut scenarios: BTreeMap<String, String> = BTreeMap::new();
    for entry in fs::read_dir(&folder).expect("scenarios can be listed") {
        let path = entry.expect("scenarios can be listed").path();
        let text = fs::read_to_string(&path).expect("a scenario can be read");
        scenarios.insert(path.display().to_string(), text);
    }
    assert!(scenarios.len() >= 14, "{} scenarios", scenarios.len());
    let mut faults = String::new();
    for (path, expected) in scenarios {
        let actual = run(&expected);
        if std::env::var_os("ROOKEEPER_BLESS").is_some() {
            fs::write(&path, &actual).expect("a scenario can be written");
        } else if actual != expected {
            let wrong = actual.lines().zip(expected.lines()).find(|(a, b)| a != b);
            faults += &format!("{path}: {wrong:?}\n");
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
