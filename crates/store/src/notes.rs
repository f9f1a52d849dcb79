//! Our own files beside Java's: the note of a change of history, and the index of snapshots. Here
//! for whoever wants to try any content on their readers; the store itself needs none of this.

use crate::snapshot::index::SnapshotIndex;
use crate::switch::marker::{self, Marker};

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The note of a change of history (`switch.rookeeper`).
    Switch,
    /// The index of snapshots (`snapshots.rookeeper`).
    Snapshots,
}

impl Note {
    /// Reads a content and writes what it says; `None` where it is no such file.
    pub fn rewritten(self, content: &[u8]) -> Option<String> {
        match self {
            Note::Switch => Marker::parse(content).map(|note| note.encode()),
            Note::Snapshots => SnapshotIndex::parse(content).map(|index| index.encode()),
        }
    }
}

/// Adds the checksum that lines of text need to be one of the files; the text ends with a line.
pub fn sealed(text: String) -> String {
    marker::seal(text)
}
