//! Where a snapshot on the wire ends, whatever its pieces.

use proptest::prelude::*;
use rookeeper_zab::sync::{SnapshotFault, SnapshotStream};
use rookeeper_zab::wire::snapshot_end;

use super::replay::RECORDED;

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as i32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Sessions, lists with so many entries each, paths.
pub fn body(sessions: usize, acls: &[usize], paths: &[&str]) -> Vec<u8> {
    let mut out = (sessions as i32).to_be_bytes().to_vec();
    out.extend(std::iter::repeat_n(7, 12 * sessions));
    out.extend_from_slice(&(acls.len() as i32).to_be_bytes());
    for entries in acls {
        out.extend_from_slice(&1i64.to_be_bytes());
        out.extend_from_slice(&(*entries as i32).to_be_bytes());
        for _ in 0..*entries {
            out.extend_from_slice(&31i32.to_be_bytes());
            string(b"world", &mut out);
            string(b"anyone", &mut out);
        }
    }
    for path in paths {
        string(path.as_bytes(), &mut out);
        if path.len() % 2 == 0 {
            string(b"BenWasHere", &mut out);
        } else {
            out.extend_from_slice(&(-1i32).to_be_bytes());
        }
        out.extend_from_slice(&[0; 68]);
    }
    string(b"/", &mut out);
    out
}

/// The body's and the whole length, as found in pieces of these lengths, over and over.
fn find(bytes: &[u8], pieces: &[usize]) -> Result<Option<(usize, usize)>, SnapshotFault> {
    let mut stream = SnapshotStream::new(1 << 20);
    let (mut at, mut body, mut turn) = (0, 0, 0);
    while at < bytes.len() {
        let piece = pieces[turn % pieces.len()].clamp(1, bytes.len() - at);
        turn += 1;
        let found = stream.push(&bytes[at..at + piece])?;
        assert!(found.body <= found.taken && found.taken <= piece);
        assert!(found.done || found.taken == piece, "all is taken until the end");
        body += found.body;
        at += found.taken;
        if found.done {
            return Ok(Some((body, at)));
        }
    }
    Ok(None)
}

#[test]
fn a_body_ends_before_its_signature() {
    let bodies = [
        body(0, &[], &[""]),
        body(3, &[1, 0, 2], &["", "/a", "/a/b", "x", "/zookeeper"]),
        body(0, &[0], &[]),
    ];
    for body in bodies {
        let mut bytes = body.clone();
        snapshot_end(&mut bytes);
        let whole = bytes.len();
        bytes.extend_from_slice(b"packets");
        for pieces in [&[1][..], &[3, 4, 5], &[1000]] {
            assert_eq!(find(&bytes, pieces), Ok(Some((body.len(), whole))));
        }
        for end in 0..whole {
            assert_eq!(find(&bytes[..end], &[11]), Ok(None), "{end} of {whole}");
        }
    }
}

#[test]
fn absurd_counts_and_lengths_cost_nothing() {
    // So many sessions that their bytes would never end, lists, and entries of one.
    let mut sessions = i32::MAX.to_be_bytes().to_vec();
    sessions.extend([0; 1000]);
    assert_eq!(find(&sessions, &[100]), Ok(None));
    let mut lists = [0i32.to_be_bytes(), i32::MAX.to_be_bytes()].concat();
    assert_eq!(find(&lists, &[100]), Ok(None));
    lists.extend([0; 8]);
    lists.extend(i32::MAX.to_be_bytes());
    lists.extend([0; 12]);
    assert_eq!(find(&lists, &[100]), Ok(None));
    // Java takes negative counts for none.
    let mut negative = [(-7i32).to_be_bytes(), (-1i32).to_be_bytes()].concat();
    string(b"/", &mut negative);
    snapshot_end(&mut negative);
    assert_eq!(find(&negative, &[2]), Ok(Some((13, negative.len()))));
}

#[test]
fn what_is_no_snapshot_is_told() {
    let start = [0i32.to_be_bytes(), 0i32.to_be_bytes()].concat();
    let with = |rest: &[u8]| find(&[&start[..], rest].concat(), &[5]);
    for len in [-2, (1 << 20) + 1, i32::MIN] {
        assert_eq!(with(&len.to_be_bytes()), Err(SnapshotFault::UnreasonableLength(len)));
    }
    assert_eq!(with(&(-1i32).to_be_bytes()), Err(SnapshotFault::NullPath));
    let mut data = 0i32.to_be_bytes().to_vec();
    data.extend_from_slice(&(-5i32).to_be_bytes());
    assert_eq!(with(&data), Err(SnapshotFault::UnreasonableLength(-5)));
    assert_eq!(with(b"\0\0\0\x01/\0\0\0\x0aBenWasThere"), Err(SnapshotFault::NoSignature));
    assert_eq!(with(b"\0\0\0\x01/\0\0\0\x0b"), Err(SnapshotFault::NoSignature));
    let mut null_acl = [0i32.to_be_bytes(), 1i32.to_be_bytes()].concat();
    null_acl.extend([0; 8]);
    null_acl.extend([0xff; 4]);
    assert_eq!(find(&null_acl, &[3]), Err(SnapshotFault::NullAcl));
}

proptest! {
    #[test]
    fn pieces_make_no_difference(pieces in prop::collection::vec(1usize..600, 1..20)) {
        let snapshots = RECORDED.iter().filter(|recorded| recorded.from_leader[27] == 15);
        prop_assert_eq!(snapshots.clone().count(), 5);
        for recorded in snapshots {
            let bytes = &recorded.from_leader[44..];
            prop_assert_eq!(find(bytes, &pieces), find(bytes, &[bytes.len()]));
            prop_assert!(matches!(find(bytes, &pieces), Ok(Some(_))));
        }
    }

    #[test]
    fn no_bytes_upset_it(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
        let _ = find(&bytes, &[piece]);
    }
}
