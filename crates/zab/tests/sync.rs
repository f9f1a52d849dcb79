//! What a leader sends brings every learner that Zab allows to the leader's history.

use proptest::prelude::*;
use rookeeper_jute::Zxid;
use rookeeper_zab::sync::{LogIndex, SyncPlan, SyncRules, SyncStep, choose};

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn index(base: Zxid, history: &[Zxid]) -> LogIndex {
    let mut index = LogIndex::new(base);
    for zxid in history.iter().filter(|zxid| **zxid > base) {
        index.append(*zxid, 100);
    }
    index
}

fn history(runs: &[(u32, u32)]) -> Vec<Zxid> {
    runs.iter().flat_map(|(epoch, last)| (1..=*last).map(|counter| z(*epoch, counter))).collect()
}

#[test]
fn the_table() {
    use SyncStep::{Diff, Snap, Trunc};
    // The leader has 1:1-9, 2:1-3, 5:1-4, everything after 1:5 in its index, and leads epoch 7.
    let all = history(&[(1, 9), (2, 3), (5, 4)]);
    let index = index(z(1, 5), &all);
    let (last, own) = (z(5, 4), z(7, 0));
    for (peer, step, zxid, after, why) in [
        (own, Diff, own, own, "in step: an empty DIFF"),
        (last, Diff, last, last, "has all"),
        (z(5, 1), Diff, last, z(5, 1), "behind in this epoch"),
        (z(1, 7), Diff, last, z(1, 7), "behind by epochs"),
        (z(1, 5), Diff, last, z(1, 5), "exactly at the base"),
        (z(5, 0), Diff, last, z(5, 0), "led epoch 5 before its first transaction"),
        (z(4, 0), Diff, last, z(4, 0), "led epoch 4, which had no transaction"),
        (z(6, 0), Diff, last, z(6, 0), "led epoch 6, which had no transaction"),
        (z(5, 6), Trunc, last, last, "two proposals too many, in the last epoch"),
        (z(2, 4), Trunc, z(2, 3), z(2, 3), "one too many in an older epoch"),
        (z(1, 12), Trunc, z(1, 9), z(1, 9), "three too many, epochs ago"),
        (z(3, 1), Snap, own, own, "an epoch that left nothing here: TRUNC would cross it"),
        (z(6, 2), Snap, own, own, "the same, after all that is here (Java: TRUNC)"),
        (z(1, 4), Snap, own, own, "older than what is proven"),
        (z(0, 0), Snap, own, own, "empty, and the beginning is not here"),
        (Zxid(-1), Snap, own, own, "does not know what it should have"),
        (Zxid(i64::MIN), Snap, own, own, "nonsense"),
    ] {
        let plan = choose(peer, &index, own, &SyncRules::default());
        assert_eq!(plan, SyncPlan { step, zxid, after }, "{peer}: {why}");
    }
}

#[test]
fn an_empty_learner_gets_a_diff_only_from_the_very_beginning() {
    let whole = index(Zxid::ZERO, &history(&[(1, 3)]));
    let plan = choose(Zxid::ZERO, &whole, z(2, 0), &SyncRules::default());
    assert_eq!(plan, SyncPlan { step: SyncStep::Diff, zxid: z(1, 3), after: Zxid::ZERO });
    // ZOOKEEPER-4352: a leader that was installed from a snapshot and has logged nothing yet.
    let installed = index(z(1, 3), &[]);
    for peer in [Zxid::ZERO, z(1, 1)] {
        let plan = choose(peer, &installed, z(1, 3), &SyncRules::default());
        assert_eq!(plan.step, SyncStep::Snap, "{peer}");
    }
}

#[test]
fn a_hole_in_the_log_is_never_sent_as_a_diff() {
    // The recorded case of ZOOKEEPER-2846: 0x300000007 is followed by 0x500000004.
    let mut log = history(&[(1, 0x52), (3, 7)]);
    log.push(z(5, 4));
    log.push(z(5, 5));
    let index = index(Zxid::ZERO, &log);
    for peer in [z(1, 0x40), z(3, 7), z(5, 2)] {
        let plan = choose(peer, &index, z(6, 0), &SyncRules::default());
        assert_eq!(plan.step, SyncStep::Snap, "{peer}");
    }
    let plan = choose(z(5, 3), &index, z(6, 0), &SyncRules::default());
    assert_eq!(plan, SyncPlan { step: SyncStep::Diff, zxid: z(5, 5), after: z(5, 3) });
}

#[test]
fn rules_prefer_snapshots() {
    let index = index(Zxid::ZERO, &history(&[(1, 5000)]));
    let bounded = SyncRules { diff_len_max: Some(200_000), ..SyncRules::default() };
    assert_eq!(choose(z(1, 10), &index, z(2, 0), &bounded).step, SyncStep::Snap);
    assert_eq!(choose(z(1, 4500), &index, z(2, 0), &bounded).step, SyncStep::Diff);
    let none = SyncRules { diff_len_max: Some(0), ..SyncRules::default() };
    assert_eq!(choose(z(1, 5000), &index, z(2, 0), &none).step, SyncStep::Diff);
    assert_eq!(choose(z(1, 5009), &index, z(2, 0), &none).step, SyncStep::Trunc);
    // The last ones are sent however long they are (commitLogCount).
    let counted = SyncRules { diff_len_max: Some(0), diff_count_min: 600, ..SyncRules::default() };
    assert_eq!(choose(z(1, 4400), &index, z(2, 0), &counted).step, SyncStep::Diff);
    assert_eq!(choose(z(1, 4399), &index, z(2, 0), &counted).step, SyncStep::Snap);
    let forced = SyncRules { force_snapshot: true, ..SyncRules::default() };
    assert_eq!(choose(z(1, 5000), &index, z(1, 5000), &forced).step, SyncStep::Snap);
}

/// Runs of the leader's history: some epochs have no transaction.
fn leader() -> impl Strategy<Value = Vec<Zxid>> {
    prop::collection::vec(prop_oneof![Just(0u32), 1..6u32], 1..7).prop_map(|runs| {
        let runs: Vec<(u32, u32)> =
            runs.iter().enumerate().map(|(at, len)| (at as u32 + 1, *len)).collect();
        history(&runs)
    })
}

/// A learner: a prefix of the leader's history, and perhaps proposals that nobody committed: more
/// of the epoch that the prefix ends in, where the leader has no more of it, or of an epoch of
/// which the leader has nothing.
fn learner(leader: &[Zxid], prefix: usize, tail: u32, foreign: u32) -> (Vec<Zxid>, Zxid) {
    let mut log = leader[..prefix.min(leader.len())].to_vec();
    let last = log.last().copied().unwrap_or(Zxid::ZERO);
    let epochs_end = leader.get(log.len()).is_none_or(|next| next.epoch() > last.epoch());
    if epochs_end && last != Zxid::ZERO {
        log.extend((1..=tail).map(|more| z(last.epoch(), last.counter() + more)));
    }
    let absent = !leader.iter().any(|zxid| zxid.epoch() == foreign);
    if absent && foreign > last.epoch() && tail > 0 {
        log.extend((1..=tail).map(|counter| z(foreign, counter)));
    }
    let zxid = log.last().copied().unwrap_or(Zxid::ZERO);
    (log, zxid)
}

/// What the learner has after the plan was carried out.
fn carry_out(plan: &SyncPlan, mut log: Vec<Zxid>, leader: &[Zxid]) -> Vec<Zxid> {
    match plan.step {
        SyncStep::Diff => {}
        SyncStep::Trunc => {
            assert!(log.contains(&plan.zxid), "cannot cut {log:?} at {}", plan.zxid);
            log.retain(|zxid| *zxid <= plan.zxid);
        }
        SyncStep::Snap => return leader.to_vec(),
    }
    log.extend(leader.iter().filter(|zxid| **zxid > plan.after));
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_learner_ends_with_the_leader_s_history(
        leader in leader(),
        base in 0..20usize,
        (prefix, tail, foreign) in (0..30usize, 0..4u32, 1..9u32),
        established in prop::option::of(1..9u32),
    ) {
        let base = leader.get(base).copied().unwrap_or(Zxid::ZERO);
        let index = index(base, &leader);
        // Who has led, or follows from a leader's first moment, may name its epoch alone.
        let (log, peer) = match established {
            Some(epoch) => {
                let log: Vec<Zxid> =
                    leader.iter().copied().filter(|zxid| zxid.epoch() < epoch).collect();
                (log, z(epoch, 0))
            }
            None => learner(&leader, prefix, tail, foreign),
        };
        let own = z(9, 0);
        let plan = choose(peer, &index, own, &SyncRules::default());
        let ends = carry_out(&plan, log.clone(), &leader);
        prop_assert_eq!(&ends, &leader, "{:?} from {} by {:?}", log, peer, plan);
        let needless = plan.step == SyncStep::Snap && peer >= base && leader.contains(&peer);
        prop_assert!(!needless, "a snapshot for {}, which is after {}", peer, base);
    }
}
