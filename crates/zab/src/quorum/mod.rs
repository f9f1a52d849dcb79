//! What a quorum is: a majority, a hierarchy of weighted groups, two configurations at once, an
//! outside judge between two voters.

mod hierarchy;
mod tally;

pub use hierarchy::{GroupLine, Hierarchy};
pub use tally::{Ensemble, Oracle, Tally};

/// What makes a set of voters a quorum of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumRule {
    /// More than half of the voters (Java: `QuorumMaj`).
    Majority,
    /// Weighted groups (Java: `QuorumHierarchical`).
    Hierarchical(Hierarchy),
}
