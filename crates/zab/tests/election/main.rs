//! Elections: single machines against transcripts and recorded Java streams, whole ensembles
//! under faults.

mod links;
mod model;
mod network;
mod replay;
mod scenario;
mod standing;
mod untrusted;
