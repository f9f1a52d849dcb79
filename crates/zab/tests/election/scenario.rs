//! One election machine against transcripts in plain text (`tests/scenarios/*.txt`).
//!
//! Lines with `>` are inputs, `at` moves time, `<` are the effects that must follow. With
//! `ROOKEEPER_BLESS=1` in the environment the effects are written anew; read the difference.
//!
//! ```text
//! server 2 voters 1 2 3 observers 4 [weights 3=0] [version 5]
//! at 0
//! > look zxid=0x5 epoch=1
//! < send 1 looking leader=2 zxid=0x5 round=1 epoch=1 config=0
//! > from 1 looking leader=1 zxid=0x0 round=1 epoch=0 [config=7 voters 1 2] [len=28]
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rookeeper_jute::quorum::{Notification, PeerState};
use rookeeper_jute::{Decode, Encode, Reader, ServerId, Zxid};
use rookeeper_zab::election::{Election, ElectionConfig, ElectionEffect, ElectionInput};
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::{Ensemble, Oracle};

fn state_name(state: PeerState) -> &'static str {
    match state {
        PeerState::Looking => "looking",
        PeerState::Following => "following",
        PeerState::Leading => "leading",
        PeerState::Observing => "observing",
    }
}

fn state_of(name: &str) -> PeerState {
    let states =
        [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing];
    let found = states.into_iter().find(|state| state_name(*state) == name);
    found.unwrap_or_else(|| panic!("no state {name}"))
}

/// A decimal or hexadecimal number, or `none` for what a server without a vote says.
fn number(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        _ if text == "none" => i64::MIN,
        Some(hex) => i64::from_str_radix(hex, 16).expect("a hexadecimal number"),
        None => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
    }
}

fn shown(value: i64, hex: bool) -> String {
    match (value, hex) {
        (i64::MIN, _) => "none".to_owned(),
        (-1, _) => "-1".to_owned(),
        (_, true) => format!("{value:#x}"),
        (_, false) => value.to_string(),
    }
}

/// `voters 1 2 observers 3 weights 1=0 version 4`, in any order.
fn membership(words: &[&str]) -> Membership {
    let (mut text, mut section, mut voters) = (String::new(), "", Vec::new());
    for word in words {
        match (*word, section) {
            ("voters" | "observers" | "weights" | "version", _) => section = word,
            (id, "voters") => {
                text += &format!("server.{id}=n{id}:2888:3888:participant\n");
                voters.push(id);
            }
            (id, "observers") => text += &format!("server.{id}=n{id}:2888:3888:observer\n"),
            (weight, "weights") => text += &format!("weight.{weight}\n"),
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

struct Scenario {
    election: Election,
    own: Membership,
    now_ms: u64,
}

impl Scenario {
    fn new(words: &[&str]) -> Scenario {
        let own = membership(&words[1..]);
        let config = ElectionConfig::new(ServerId(number(words[0])));
        let election = Election::new(config, Ensemble::new(own.clone().into()));
        Scenario { election, own, now_ms: 0 }
    }

    fn message(&self, words: &[&str]) -> Vec<u8> {
        let config = words.iter().position(|word| word.starts_with("config="));
        let (fields, config) = match config {
            Some(at) => {
                let version = words[at].strip_prefix("config=").expect("just found");
                let others = [&words[at + 1..], &["version", version]].concat();
                (&words[1..at], membership(&others))
            }
            None => (&words[1..], self.own.clone()),
        };
        let fields: BTreeMap<&str, &str> =
            fields.iter().map(|field| field.split_once('=').expect("a field")).collect();
        let text = config.to_string();
        let mut bytes = Vec::new();
        let notification = Notification {
            state: state_of(words[0]),
            leader: ServerId(number(fields["leader"])),
            zxid: Zxid(number(fields["zxid"])),
            election_epoch: number(fields["round"]),
            peer_epoch: number(fields["epoch"]),
            version: 2,
            config: Some(text.as_bytes()),
        };
        notification.encode(&mut bytes);
        if let Some(len) = fields.get("len") {
            bytes.truncate(number(len) as usize);
        }
        bytes
    }

    fn input(&mut self, words: &[&str]) -> Vec<ElectionEffect> {
        let peer = || ServerId(number(words[1]));
        let field = |name: &str| {
            let mut values = words.iter().filter_map(|word| word.split_once('='));
            number(values.find(|(key, _)| *key == name).expect("a field").1)
        };
        let body = if words[0] == "from" { self.message(&words[2..]) } else { Vec::new() };
        let input = match words[0] {
            "look" => {
                let (last_zxid, current_epoch) = (Zxid(field("zxid")), field("epoch"));
                ElectionInput::Look { last_zxid, current_epoch }
            }
            "from" => ElectionInput::Message { from: peer(), body: &body },
            "up" => ElectionInput::PeerUp(peer()),
            "down" => ElectionInput::PeerDown(peer()),
            "tick" => ElectionInput::Tick,
            "synchronised" => ElectionInput::Synchronised { epoch: field("epoch") },
            "designated" => ElectionInput::Designated { leader: peer(), zxid: Zxid(field("zxid")) },
            "oracle" => ElectionInput::Oracle(match words[1] {
                "grants" => Oracle::Grants,
                "refuses" => Oracle::Refuses,
                _ => Oracle::Absent,
            }),
            "proposed" => {
                let next = membership(&words[1..]);
                let ensemble = Ensemble::with_last_seen(self.own.clone().into(), next.into());
                ElectionInput::Ensemble(ensemble)
            }
            "committed" => {
                self.own = membership(&words[1..]);
                ElectionInput::Ensemble(Ensemble::new(self.own.clone().into()))
            }
            other => panic!("no input {other}"),
        };
        let mut effects = Vec::new();
        self.election.step(self.now_ms, input, &mut effects);
        effects
    }
}

fn show(effect: &ElectionEffect) -> String {
    match effect {
        ElectionEffect::Send { to, message } => {
            let sent = Notification::decode(&mut Reader::new(message)).expect("a notification");
            assert_eq!(sent.version, 2);
            let text = std::str::from_utf8(sent.config.expect("a configuration")).expect("UTF-8");
            let version = text.rsplit_once("version=").expect("a version").1;
            let (state, leader) = (state_name(sent.state), shown(sent.leader.0, false));
            let (zxid, epoch) = (shown(sent.zxid.0, true), shown(sent.peer_epoch, false));
            let round = sent.election_epoch;
            format!(
                "send {to} {state} leader={leader} zxid={zxid} round={round} epoch={epoch} \
                 config={version}"
            )
        }
        ElectionEffect::Adopt(membership) => format!("adopt version={:x}", membership.version()),
        ElectionEffect::VoterLooks(id) => format!("voter-looks {id}"),
        ElectionEffect::VoterLeft(id) => format!("voter-left {id}"),
        ElectionEffect::VoterAway(id) => format!("voter-away {id}"),
        ElectionEffect::LeaderLeft(id) => format!("leader-left {id}"),
        ElectionEffect::LeaderWavers(id) => format!("leader-wavers {id}"),
        ElectionEffect::Settled(outcome) => {
            let (state, leader) = (state_name(outcome.state), outcome.vote.leader);
            let supporters: Vec<String> =
                outcome.supporters.iter().map(|id| id.to_string()).collect();
            let supporters = supporters.join(",");
            let joined = if outcome.joined { " joined" } else { "" };
            let round = outcome.round;
            format!("settled {state} leader={leader} round={round} by={supporters}{joined}")
        }
    }
}

/// The transcript as the machine would write it.
fn run(text: &str) -> String {
    let mut scenario: Option<Scenario> = None;
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with('<')) {
        writeln!(out, "{line}").expect("strings take all");
        let words: Vec<&str> = line.split_whitespace().collect();
        let effects = match words.first() {
            Some(&"server") => {
                scenario = Some(Scenario::new(&words[1..]));
                continue;
            }
            Some(&"at") => {
                let scenario = scenario.as_mut().expect("server comes first");
                scenario.now_ms = number(words[1]) as u64;
                continue;
            }
            Some(&">") => scenario.as_mut().expect("server comes first").input(&words[1..]),
            _ => continue,
        };
        for effect in &effects {
            writeln!(out, "< {}", show(effect)).expect("strings take all");
        }
        let election = &scenario.as_ref().expect("server comes first").election;
        if let Some(deadline_ms) = election.deadline_ms() {
            writeln!(out, "< wake {deadline_ms}").expect("strings take all");
        }
    }
    out
}

#[test]
fn transcripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("scenarios can be listed")
        .map(|entry| entry.expect("scenarios can be listed").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} scenarios", paths.len());
    let mut faults = String::new();
    for path in paths {
        let expected = fs::read_to_string(&path).expect("a scenario can be read");
        let actual = run(&expected);
        if std::env::var_os("ROOKEEPER_BLESS").is_some() {
            fs::write(&path, &actual).expect("a scenario can be written");
        } else if actual != expected {
            let wrong = actual.lines().zip(expected.lines()).find(|(a, b)| a != b);
            faults += &format!("{}: {wrong:?}\n", path.display());
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
