//! What the fuzz targets do with an input. This is not a fuzzer: `fuzz_targets/` binds each module
//! to libFuzzer, and `cargo test` in this folder runs each over its seeds with plain code.
//!
//! Each target takes any bytes, must not panic, and asserts what has to hold for those that parse.
//!
//! # Layout
//! - [`records`]: every record of the client protocol and of the log
//! - [`quorum`]: whatever a peer sends on the learner and election ports
//! - [`samples`]: one sample of each record, the start of the seed corpora

pub mod quorum;
pub mod records;
pub mod samples;

/// What a target does with one input.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[("quorum", quorum::run), ("records", records::run)];

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
