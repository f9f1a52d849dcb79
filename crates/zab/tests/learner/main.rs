//! The learner: transcripts, Java's recorded streams, and leaders that send anything.

mod replay;
mod rules;
mod scenario;
mod snapshot;
mod support;
mod untrusted;
