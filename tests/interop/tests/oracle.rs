//! The short differential run of `cargo test`: seeded sequences over several sessions, to a Java
//! server and to ours. Long runs are made by the binary of this package.

use rookeeper_interop::oracle::{self, Run};
use rookeeper_interop::server::{Kind, java_wanted};

/// Operations of each seed.
const OPERATIONS: usize = 1_000;

fn compare(seeds: impl Iterator<Item = u64>, io_threads: usize, alternate: bool) {
    if !java_wanted() {
        return;
    }
    for seed in seeds {
        let kinds = [Kind::Java, Kind::Rookeeper];
        let operations = OPERATIONS;
        let run = Run { kinds, seed, operations, io_threads, alternate, show: false };
        if let Err(difference) = oracle::run(run) {
            panic!("seed {seed}, {io_threads} I/O threads, alternate {alternate}: {difference}");
        }
    }
}

#[test]
fn one_io_thread_answers_as_java_does() {
    compare(1..5, 1, false);
}

#[test]
fn four_io_threads_answer_as_java_does() {
    compare(5..9, 4, false);
}

#[test]
fn java_goes_on_with_our_files_and_we_with_javas() {
    compare(20..24, 1, true);
}
