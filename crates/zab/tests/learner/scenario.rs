//! One learner against transcripts in plain text (`tests/learner/transcripts/*.txt`).
//!
//! Lines with `>` are inputs, `at` moves time, `<` are the effects that must follow. With
//! `ROOKEEPER_BLESS=1` in the environment the effects are written anew; read the difference.
//!
//! ```text
//! follower 1 accepted 0 current 0 last 0x0 version 0
//! at 0
//! > start
//! < connect
//! > connected
//! < send FollowerInfo 0x0 0000000000000001000100000000000000000000
//! > from LeaderInfo 0x100000000 00010000, Diff 0x0
//! > from Proposal 0x100000001 txn, Proposal 0x100000002 reconfig 7 1 2
//! > from NewLeader 0x100000000 config 7 1 2, Snap 0x5, snapshot, garbage 00ff
//! > from Inform 0x100000001 txn, InformAndActivate 0x100000002 to 3 reconfig 7 1 2
//! > from CommitAndActivate 0x100000002 to 3
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rookeeper_jute::quorum::{PacketType, QuorumPacket};
use rookeeper_jute::{Decode, Identity, ServerId, SessionId, Xid, Zxid};
use rookeeper_zab::learner::{Learner, LearnerConfig, LearnerEffect, LearnerInput, SyncStart};
use rookeeper_zab::membership::Role;
use rookeeper_zab::{EpochKind, Forward, wire};

use super::snapshot::body;
use super::support::{config, packets};
use super::untrusted::{reconfiguration, txn};

fn number(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).expect("a hexadecimal number"),
        None => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn text_of(words: &[&str]) -> String {
    let mut text = String::new();
    for id in &words[1..] {
        text += &format!("server.{id}=n{id}:2888:3888:participant\n");
    }
    text + &format!("version={}", words[0])
}

/// A packet's data.
fn data(zxid: i64, words: &[&str]) -> Option<Vec<u8>> {
    Some(match *words.first()? {
        "txn" => txn(zxid),
        "reconfig" => reconfiguration(zxid, &text_of(&words[1..])),
        "config" => text_of(&words[1..]).into_bytes(),
        "to" => {
            let mut bytes = number(words[1]).to_be_bytes().to_vec();
            bytes.extend(data(zxid, &words[2..]).unwrap_or_default());
            bytes
        }
        bytes => from_hex(bytes),
    })
}

/// What the leader sends.
fn from_leader(item: &str) -> Vec<u8> {
    let words: Vec<&str> = item.split_whitespace().collect();
    let mut bytes = Vec::new();
    match words[0] {
        "garbage" => return from_hex(words[1]),
        "snapshot" => {
            bytes.extend(body(1, &[1], &["", "/a"]));
            wire::snapshot_end(&mut bytes);
        }
        name => {
            let types = (1..20).filter_map(PacketType::from_i32);
            let packet_type = types.into_iter().find(|found| format!("{found:?}") == name);
            let packet_type = packet_type.unwrap_or_else(|| panic!("no packet {name}"));
            let zxid = number(words[1]);
            let data = data(zxid, &words[2..]);
            wire::packet(packet_type, Zxid(zxid), data.as_deref(), &mut bytes);
        }
    }
    bytes
}

fn input(learner: &mut Learner, now_ms: u64, line: &str) -> Vec<LearnerEffect> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut effects = Vec::new();
    let received: Vec<u8>;
    let input = match words[0] {
        "start" => LearnerInput::Start,
        "connected" => LearnerInput::Connected,
        "connect-failed" => LearnerInput::ConnectFailed,
        "closed" => LearnerInput::Closed,
        "tick" => LearnerInput::Tick,
        "written" if words[1] == "accepted" => LearnerInput::EpochWritten(EpochKind::Accepted),
        "written" => LearnerInput::EpochWritten(EpochKind::Current),
        "ready" => LearnerInput::Ready,
        "settled" => LearnerInput::Settled,
        "durable" => LearnerInput::Durable(Zxid(number(words[1]))),
        "touches" => {
            let touch = |id: &&str| (SessionId(number(id)), 30_000);
            LearnerInput::Touches(words[1..].iter().map(touch).collect())
        }
        "revalidate" => {
            LearnerInput::Revalidate { session: SessionId(number(words[1])), timeout_ms: 30_000 }
        }
        "forward" => LearnerInput::Forward(Forward {
            session: SessionId(number(words[1])),
            cxid: Xid(2),
            op: 1,
            body: b"body".to_vec(),
            identities: Some([Identity::new("ip", "::1")].into()),
        }),
        "from" => {
            received = line["from".len()..].split(',').flat_map(from_leader).collect();
            LearnerInput::Received(&received)
        }
        other => panic!("no input {other}"),
    };
    learner.step(now_ms, input, &mut effects);
    effects
}

fn show(effect: &LearnerEffect) -> String {
    match effect {
        LearnerEffect::Connect => "connect".to_owned(),
        LearnerEffect::Send(bytes) => {
            let shown = packets(bytes).into_iter().map(|sent| {
                let packet = QuorumPacket::from_bytes(&sent.bytes).expect("a packet");
                let data = sent.data.as_deref().map(|data| format!(" {}", hex(data)));
                let ids = packet.auth_info.map(|ids| format!(" {} identities", ids.len()));
                let (data, ids) = (data.unwrap_or_default(), ids.unwrap_or_default());
                format!("{:?} {}{data}{ids}", sent.packet_type, sent.zxid)
            });
            format!("send {}", shown.collect::<Vec<_>>().join(", "))
        }
        LearnerEffect::Disconnect => "disconnect".to_owned(),
        LearnerEffect::PauseReading => "pause".to_owned(),
        LearnerEffect::ResumeReading => "resume".to_owned(),
        LearnerEffect::WriteEpoch { kind, epoch } => format!("write {kind:?} {epoch}"),
        LearnerEffect::Begin(SyncStart::Diff) => "begin diff".to_owned(),
        LearnerEffect::Begin(SyncStart::Trunc(zxid)) => format!("begin trunc {zxid}"),
        LearnerEffect::Begin(SyncStart::Snap(zxid)) => format!("begin snap {zxid}"),
        LearnerEffect::SnapshotBytes(bytes) => format!("snapshot {} bytes", bytes.len()),
        LearnerEffect::SnapshotEnd => "snapshot end".to_owned(),
        LearnerEffect::Proposals(segment) => {
            let zxids = segment.records().map(|(zxid, _)| zxid.to_string());
            format!("proposals {}", zxids.collect::<Vec<_>>().join(" "))
        }
        LearnerEffect::Commit(zxid) => format!("commit {zxid}"),
        LearnerEffect::LastSeen(membership) => format!("last-seen {:x}", membership.version()),
        LearnerEffect::Settle => "settle".to_owned(),
        LearnerEffect::Activate { zxid, membership, designated } => {
            let designated = designated.map(|id| format!(" designated {id}")).unwrap_or_default();
            format!("activate {:x} by {zxid}{designated}", membership.version())
        }
        LearnerEffect::Serve { epoch } => format!("serve {epoch}"),
        LearnerEffect::Revalidated { session, valid } => format!("revalidated {session} {valid}"),
        LearnerEffect::SyncDone => "sync-done".to_owned(),
        LearnerEffect::TouchesWanted => "touches-wanted".to_owned(),
        LearnerEffect::Abandon(end) => format!("abandon: {end}"),
    }
}

fn learner(words: &[&str]) -> Learner {
    let role = if words[0] == "observer" { Role::Observer } else { Role::Participant };
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        at.map_or(0, |at| number(words[at + 1]))
    };
    let config = LearnerConfig {
        accepted_epoch: value("accepted"),
        current_epoch: value("current"),
        last_zxid: Zxid(value("last")),
        config_version: value("version"),
        connect_limit: value("connect-limit") as u32,
        connect_delay_ms: words.contains(&"connect-delay").then(|| value("connect-delay") as u64),
        leader: ServerId(2),
        ..config(number(words[1]), role)
    };
    Learner::new(config, 0)
}

/// The transcript as the machine would write it.
fn run(text: &str) -> String {
    let (mut machine, mut now_ms) = (None, 0);
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with('<')) {
        writeln!(out, "{line}").expect("strings take all");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first() {
            Some(&"follower" | &"observer") => machine = Some(learner(&words)),
            Some(&"at") => now_ms = number(words[1]) as u64,
            Some(&">") => {
                let machine = machine.as_mut().expect("the learner comes first");
                for effect in input(machine, now_ms, &line[2..]) {
                    writeln!(out, "< {}", show(&effect)).expect("strings take all");
                }
                if let Some(deadline_ms) = machine.deadline_ms() {
                    writeln!(out, "< wake {deadline_ms}").expect("strings take all");
                }
            }
            _ => {}
        }
    }
    out
}

#[test]
fn transcripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/learner/transcripts");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("transcripts can be listed")
        .map(|entry| entry.expect("transcripts can be listed").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} transcripts", paths.len());
    let mut faults = String::new();
    for path in paths {
        let expected = fs::read_to_string(&path).expect("a transcript can be read");
        let actual = run(&expected);
        if std::env::var_os("ROOKEEPER_BLESS").is_some() {
            fs::write(&path, &actual).expect("a transcript can be written");
        } else if actual != expected {
            let wrong = actual.lines().zip(expected.lines()).find(|(a, b)| a != b);
            faults += &format!("{}: {wrong:?}\n", path.display());
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
