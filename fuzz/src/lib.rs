//! What the fuzz targets do with an input. This is not a fuzzer: `fuzz_targets/` binds each module
//! to libFuzzer, and `cargo test` in this folder runs each over its seeds with plain code.
//!
//! Each target takes any bytes, must not panic, and asserts what has to hold for those that parse.
//!
//! # Layout
//! - [`records`]: every record of the client protocol and of the log
//! - [`quorum`]: whatever a peer sends on the learner and election ports
//! - [`learner`]: what a leader sends to a learner
//! - [`leader`]: what learners send to a leader
//! - [`clients`]: the bytes of several clients, through shards and core
//! - [`requests`]: requests prepared, applied and answered by the tree
//! - [`txns`]: transactions applied to the tree, and a snapshot of what comes of them
//! - [`log`]: log files
//! - [`snapshot`]: snapshot files, plain, gzip and snappy
//! - [`notes`]: the store's own files beside Java's: the note of a change, the index of snapshots
//! - [`config`]: zoo.cfg and the command line
//! - [`texts`]: epoch files, four-letter words, credentials, ids of access control lists
//! - [`parts`]: how inputs are cut, and snapshots made of trees
//! - [`samples`]: the start of the seed corpora

pub mod clients;
pub mod config;
pub mod leader;
pub mod learner;
pub mod log;
pub mod notes;
pub mod parts;
pub mod quorum;
pub mod records;
pub mod requests;
pub mod samples;
pub mod snapshot;
pub mod texts;
pub mod txns;

/// The server in memory that the scenario tests of `rookeeper-replica` use.
#[path = "../../crates/replica/tests/support/mod.rs"]
mod world;

/// What a target does with one input.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("clients", clients::run),
    ("config", config::run),
    ("leader", leader::run),
    ("learner", learner::run),
    ("log", log::run),
    ("notes", notes::run),
    ("quorum", quorum::run),
    ("records", records::run),
    ("requests", requests::run),
    ("snapshot", snapshot::run),
    ("texts", texts::run),
    ("txns", txns::run),
];

/// Decodes `$bytes` as each type; what decodes encodes to bytes that decode to the same again.
#[macro_export]
macro_rules! round_trip {
    ($bytes:expr, $($ty:ty),+ $(,)?) => {{$({
        if let Ok(value) = <$ty as rookeeper_jute::Decode>::from_bytes($bytes) {
            let once = rookeeper_jute::Encode::to_bytes(&value);
            let again = <$ty as rookeeper_jute::Decode>::from_bytes(&once)
                .expect("what was encoded decodes");
            assert_eq!(rookeeper_jute::Encode::to_bytes(&again), once, stringify!($ty));
        }
    })+}};
}
