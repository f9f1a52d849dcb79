//! The leader: transcripts in plain text, Java's recorded learners, hostile bytes, and ensembles
//! of leader and learners.

mod ensemble;
mod replay;
mod scenario;
mod untrusted;
