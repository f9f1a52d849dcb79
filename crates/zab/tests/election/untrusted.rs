//! Whatever bytes peers send: no panic, bounded memory, and the machines go on.

use proptest::prelude::*;
use rookeeper_jute::quorum::{Notification, PeerState};
use rookeeper_jute::{Encode, ServerId, Zxid};
use rookeeper_zab::election::{Election, ElectionConfig, ElectionInput};
use rookeeper_zab::links::{ConnectionId, Links, LinksConfig, LinksInput};
use rookeeper_zab::membership::{Membership, MembershipRules};
use rookeeper_zab::quorum::Ensemble;

const TEXT: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer";

fn edge() -> impl Strategy<Value = i64> {
    prop_oneof![-2..6i64, Just(i64::MIN), Just(i64::MAX), Just(i64::MAX / 2), any::<i64>()]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let states =
        [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing];
    let text = prop_oneof![
        Just(TEXT.to_owned()),
        (0..9i64).prop_map(|version| format!("{TEXT}\nversion={version}")),
        "[ -~\n]{0,40}",
    ];
    let fields = (prop::sample::select(states.to_vec()), edge(), edge(), edge(), edge(), -1..4i32);
    let whole = (fields, text).prop_map(|((state, leader, zxid, round, epoch, version), text)| {
        let mut bytes = Vec::new();
        let notification = Notification {
            state,
            leader: ServerId(leader),
            zxid: Zxid(zxid),
            election_epoch: round,
            peer_epoch: epoch,
            version,
            config: Some(text.as_bytes()),
        };
        notification.encode(&mut bytes);
        bytes
    });
    let whole = whole.boxed();
    prop_oneof![
        4 => whole.clone(),
        1 => (whole, 0..120usize).prop_map(|(mut bytes, len)| {
            bytes.truncate(len);
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn notifications(
        messages in prop::collection::vec((0..7i64, message(), 0..300u64), 0..60),
        me in 1..6i64,
    ) {
        let membership = Membership::parse(TEXT, &MembershipRules::default()).unwrap();
        let ensemble = Ensemble::new(membership.into());
        let mut election = Election::new(ElectionConfig::new(ServerId(me)), ensemble);
        let (mut now_ms, mut effects) = (0, Vec::new());
        let look = ElectionInput::Look { last_zxid: Zxid(5), current_epoch: 0 };
        election.step(now_ms, look.clone(), &mut effects);
        for (from, body, pause_ms) in &messages {
            now_ms += pause_ms;
            let input = ElectionInput::Message { from: ServerId(*from), body };
            election.step(now_ms, input, &mut effects);
            if election.deadline_ms().is_some_and(|deadline_ms| deadline_ms <= now_ms) {
                election.step(now_ms, ElectionInput::Tick, &mut effects);
            }
            if let Some(leader) = election.leader() {
                prop_assert!(election.ensemble().is_voter(leader), "led by {leader}");
                election.step(now_ms, look.clone(), &mut effects);
            }
            prop_assert!(effects.len() < 40, "{} effects of one message", effects.len());
            effects.clear();
        }
    }

    #[test]
    fn streams(
        pieces in prop::collection::vec(
            (0..4u64, prop_oneof![
                2 => prop::collection::vec(any::<u8>(), 0..40),
                1 => edge().prop_map(|word| word.to_be_bytes().to_vec()),
                1 => Just((-65536i64).to_be_bytes().to_vec()),
                1 => (0..4u32).prop_map(|len| len.to_be_bytes().to_vec()),
            ]),
            0..60,
        ),
    ) {
        let mut links = Links::new(LinksConfig {
            me: ServerId(2),
            addresses: Vec::new(),
            multi_address_enabled: false,
            handshake_timeout_ms: 10,
        });
        let mut effects = Vec::new();
        for (at, (connection, bytes)) in pieces.iter().enumerate() {
            let connection = ConnectionId(*connection);
            if at % 7 == 0 {
                links.step(at as u64, LinksInput::Accepted(connection), &mut effects);
            }
            links.step(at as u64, LinksInput::Received { connection, bytes }, &mut effects);
            links.step(at as u64, LinksInput::Tick, &mut effects);
        }
    }
}
