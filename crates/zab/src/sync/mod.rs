//! How a leader brings a learner to its own history: by what is missing, by cutting off what was
//! never committed, or by a snapshot.

mod choice;
mod index;
mod stream;

pub use choice::{SyncPlan, SyncRules, SyncStep, choose};
pub use index::{Appended, LogIndex};
pub use stream::{SnapshotFault, SnapshotPiece, SnapshotStream};
