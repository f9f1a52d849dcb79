//! A log that a Java server wrote, applied once and applied again.

mod common;

use common::{dump, tree_config};
use rookeeper_jute::txn::TxnDigest;
use rookeeper_jute::{Decode, OpCode};
use rookeeper_tree::{Applied, ChangeLog, Tree};

/// What the log holds beside its transactions with a digest: failed writes.
const ERRORS: usize = 5;

fn log() -> Vec<Vec<u8>> {
    let text = include_str!("data/java-3.8-log.hex");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex is ASCII");
        u8::from_str_radix(pair, 16).expect("two hexadecimal digits")
    };
    lines.map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn apply<'t>(tree: &mut Tree, txn: &'t [u8]) -> Applied<'t> {
    tree.apply(txn, &mut ChangeLog::new()).expect("Java wrote it")
}

#[test]
fn every_digest_that_java_logged_is_ours() {
    let log = log();
    let mut tree = Tree::new(tree_config());
    let mut equal = 0;
    for txn in &log {
        let applied = apply(&mut tree, txn);
        assert!(!applied.digest_mismatch, "{applied:?}");
        if applied.header.txn_type == OpCode::Error.to_i32() {
            continue;
        }
        let digest = TxnDigest::from_bytes(&txn[txn.len() - 12..]).expect("twelve bytes");
        assert_eq!((digest.version, digest.tree_digest), (2, tree.digest()), "{applied:?}");
        equal += 1;
    }
    assert_eq!((equal, log.len()), (84, 84 + ERRORS));
}

#[test]
fn a_replay_over_any_later_state_ends_in_the_same_tree() {
    let log = log();
    let mut want = Tree::new(tree_config());
    for txn in &log {
        apply(&mut want, txn);
    }
    let want = dump(&want);
    for seen in 0..=log.len() {
        for from in (0..=seen).rev().step_by(7) {
            let mut tree = Tree::new(tree_config());
            for txn in &log[..seen] {
                apply(&mut tree, txn);
            }
            for txn in &log[from..] {
                apply(&mut tree, txn);
            }
            assert_eq!(dump(&tree), want, "replayed from {from} over {seen}");
        }
    }
}

#[test]
fn a_snapshot_of_several_moments_is_whole_when_a_digest_says_so_or_somebody_does() {
    let log = log();
    let (seen, from) = (40, 20);
    let mut tree = Tree::new(tree_config());
    for txn in &log[..seen] {
        apply(&mut tree, txn);
    }
    // What a leader sends while it goes on: named after an earlier transaction than it holds.
    tree.begin_overlap();
    for txn in &log[from..seen - 1] {
        assert!(!apply(&mut tree, txn).digest_mismatch, "within the overlap");
    }
    let end = apply(&mut tree, &log[seen - 1]);
    assert!(!end.digest_mismatch);
    assert!(apply(&mut tree, &corrupt_digest(&log[seen])).digest_mismatch, "whole again");
    tree.begin_overlap();
    assert!(!apply(&mut tree, &corrupt_digest(&log[seen + 1])).digest_mismatch);
    tree.end_overlap();
    assert!(apply(&mut tree, &corrupt_digest(&log[seen + 2])).digest_mismatch);
}

fn corrupt_digest(txn: &[u8]) -> Vec<u8> {
    let mut txn = txn.to_vec();
    *txn.last_mut().expect("not empty") ^= 1;
    txn
}

#[test]
fn no_cut_and_no_flipped_byte_makes_apply_panic() {
    for txn in log() {
        for len in 0..txn.len() {
            let mut tree = Tree::new(tree_config());
            tree.look_ahead([&txn[..len]].into_iter());
            let _ = tree.apply(&txn[..len], &mut ChangeLog::new());
        }
        for at in 0..txn.len() {
            let mut tree = Tree::new(tree_config());
            let mut txn = txn.clone();
            txn[at] ^= 0xff;
            tree.look_ahead([&txn[..]].into_iter());
            let _ = tree.apply(&txn, &mut ChangeLog::new());
        }
    }
}
