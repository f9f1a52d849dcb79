//! The store's own files: the note of a change of history, and the index of snapshots. The first
//! byte says which, and whether the rest is lines that lack their checksum. What is read is written
//! again, and read as the same.

use rookeeper_store::notes::{Note, sealed};

/// Reads a file.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let note = if kind & 1 == 0 { Note::Switch } else { Note::Snapshots };
    let content = if kind & 2 == 0 {
        bytes.to_vec()
    } else {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        sealed(text).into_bytes()
    };
    if let Some(text) = note.rewritten(&content) {
        assert_eq!(note.rewritten(text.as_bytes()), Some(text));
    }
}
