//! Runs [`rookeeper_fuzz::notes::run`] on the fuzzer's inputs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rookeeper_fuzz::notes::run(input));
